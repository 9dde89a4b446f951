/*-------------------------------------------------------------------------
 *
 * unit.c
 *		Helpers of the unit tests: TAP output, random numbers, guarded memory.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int	tests_run;
static int	tests_passed;
static uint64 random_state = UINT64CONST(0x9E3779B97F4A7C15);

bool
ok(bool passed, const char *format,...)
{
	va_list		args;

	tests_run++;
	tests_passed += passed;
	printf("%sok %d - ", passed ? "" : "not ", tests_run);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	return passed;
}

void
skip(const char *format,...)
{
	va_list		args;

	tests_run++;
	tests_passed++;
	printf("ok %d # SKIP ", tests_run);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

void
diag(const char *format,...)
{
	va_list		args;

	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

int
done_testing(void)
{
	printf("1..%d\n", tests_run);
	diag("%d of %d passed", tests_passed, tests_run);
	return tests_passed == tests_run && tests_run > 0 ? 0 : 1;
}

uint64
random_bits(void)
{
	/* splitmix64 */
	uint64		z = (random_state += UINT64CONST(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

int
random_int(int low, int high)
{
	return low + (int) (random_bits() % (uint64) (high - low + 1));
}

float
random_float(float low, float high)
{
	return low + (high - low) * (float) ((random_bits() >> 40) / 16777216.0);
}

Guarded
guarded_alloc(Size bytes)
{
	Size		page = sysconf(_SC_PAGESIZE);
	Size		inner = (bytes + page - 1) / page * page;
	uint8	   *base = mmap(NULL, inner + 2 * page, PROT_READ | PROT_WRITE,
							MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	Guarded		memory;

	if (base == MAP_FAILED ||
		mprotect(base, page, PROT_NONE) != 0 ||
		mprotect(base + page + inner, page, PROT_NONE) != 0)
	{
		perror("guarded_alloc");
		exit(1);
	}
	memory.start = base + page;
	memory.end = base + page + inner;
	return memory;
}

void *
at_end(Guarded memory, Size bytes, Size slack)
{
	if (bytes + slack > (Size) (memory.end - memory.start))
	{
		fprintf(stderr, "at_end: %zu + %zu bytes do not fit\n", bytes, slack);
		exit(1);
	}
	return memory.end - slack - bytes;
}
