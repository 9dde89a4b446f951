/*-------------------------------------------------------------------------
 *
 * bench_kernels.c
 *		Time of the distance kernels, level by level, operands in the cache.
 *
 * Prints one line per kernel and size: nanoseconds per call for each level
 * and, after it, how many times faster than scalar that is.  The best of
 * several short rounds is shown: other work on the machine only adds time.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The server's headers replace these by functions of its own. */
#undef printf

#define MAX_DIM 1536
#define MATRIX_ROWS 500
#define ROUNDS 9
#define ROUND_NS 1e6

typedef struct Operands
{
	int			dim;
	int			blocks;
	float	   *a;
	float	   *b;
	half	   *g;
	half	   *h;
	int8	   *x;
	int8	   *y;
	uint8	   *codes;
	uint8	   *lut;
	int32	   *out;
	uint32	   *sums;
} Operands;

static volatile float float_sink;
static volatile int32 int_sink;

#define FLOAT_CASE(kernel, ...) \
	static void \
	run_##kernel(const DistanceKernels *k, const Operands *o) \
	{ \
		float_sink = k->kernel(o->dim, __VA_ARGS__); \
	}
#define INT_CASE(kernel) \
	static void \
	run_##kernel(const DistanceKernels *k, const Operands *o) \
	{ \
		int_sink = k->kernel(o->dim, o->x, o->y); \
	}
#define MATRIX_CASE(kernel) \
	static void \
	run_##kernel(const DistanceKernels *k, const Operands *o) \
	{ \
		k->kernel(o->dim, (ByteRows) {MATRIX_ROWS, o->x, o->dim}, \
				  (ByteRows) {MATRIX_ROWS, o->y, o->dim}, o->out, MATRIX_ROWS); \
	}

FLOAT_CASE(l2sq, o->a, o->b)
FLOAT_CASE(ip, o->a, o->b)
FLOAT_CASE(l1, o->a, o->b)
FLOAT_CASE(normsq, o->a)
FLOAT_CASE(half_l2sq, o->a, o->h, 0.5f)
FLOAT_CASE(half_ip, o->a, o->h)
FLOAT_CASE(half_l1, o->a, o->h, 0.5f)
FLOAT_CASE(halves_l2sq, o->g, o->h)
FLOAT_CASE(halves_ip, o->g, o->h)
FLOAT_CASE(halves_l1, o->g, o->h)
FLOAT_CASE(i8_ip, o->a, o->x)
INT_CASE(i8_dot)
INT_CASE(i8_l2sq)
INT_CASE(i8_l1)
MATRIX_CASE(i8_dot_matrix)
MATRIX_CASE(i8_l1_matrix)

static void
run_dot_norms(const DistanceKernels *k, const Operands *o)
{
	float		dot;
	float		asq;
	float		bsq;

	k->dot_norms(o->dim, o->a, o->b, &dot, &asq, &bsq);
	float_sink = dot + asq + bsq;
}

static void
run_halves_dot_norms(const DistanceKernels *k, const Operands *o)
{
	float		dot;
	float		asq;
	float		bsq;

	k->halves_dot_norms(o->dim, o->g, o->h, &dot, &asq, &bsq);
	float_sink = dot + asq + bsq;
}

/* As many bits as dimensions. */
static void
run_hamming(const DistanceKernels *k, const Operands *o)
{
	int_sink = k->hamming(o->dim / 8, o->codes, o->lut);
}

static void
run_bit_counts(const DistanceKernels *k, const Operands *o)
{
	uint32		both;
	uint32		either;

	k->bit_counts(o->dim / 8, o->codes, o->lut, &both, &either);
	int_sink = both + either;
}

static void
run_half_to_float(const DistanceKernels *k, const Operands *o)
{
	k->half_to_float(o->dim, o->h, o->b);
}

static void
run_float_to_half(const DistanceKernels *k, const Operands *o)
{
	k->float_to_half(o->dim, o->a, o->h);
}

/* One sign bit per dimension: 8 in a unit. */
static void
run_fastscan(const DistanceKernels *k, const Operands *o)
{
	k->fastscan((o->dim / 8 + 3) / 4 * 4, o->blocks, o->codes, o->lut, o->sums);
}

typedef void (*Run) (const DistanceKernels *k, const Operands *o);

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Nanoseconds per call, the best of ROUNDS rounds. */
static double
measure(Run run, const DistanceKernels *k, const Operands *o)
{
	double		best = 1e30;
	int			calls = 1;

	for (int round = 0; round < ROUNDS;)
	{
		double		start = now_ns();
		double		elapsed;

		for (int i = 0; i < calls; i++)
			run(k, o);
		elapsed = now_ns() - start;
		if (elapsed < ROUND_NS)
		{
			calls *= 2;
			continue;
		}
		best = Min(best, elapsed / calls);
		round++;
	}
	return best;
}

static void
report(const char *name, Run run, const Operands *o, double per_call_multiply_adds)
{
	double		scalar = 0;

	printf("%-18s %6d", name, o->dim);
	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		const DistanceKernels *k = distance_kernels(level);
		double		ns;

		if (k == NULL)
			continue;
		ns = measure(run, k, o);
		if (level == SIMD_SCALAR)
			scalar = ns;
		printf(ns < 1e5 ? "  %10.1f" : "  %10.0f", ns);
		printf(" %6.1fx", scalar / ns);
		if (per_call_multiply_adds > 0)
			printf(" %5.1fG", per_call_multiply_adds / ns);
	}
	printf("\n");
	fflush(stdout);
}

static void
report_all(const char *only, Operands *o)
{
#define CASE(kernel) {#kernel, run_##kernel}
	static const struct
	{
		const char *name;
		Run			run;
	}			cases[] =
	{
		CASE(l2sq), CASE(ip), CASE(l1), CASE(normsq), CASE(dot_norms),
		CASE(half_l2sq), CASE(half_ip), CASE(half_l1),
		CASE(halves_l2sq), CASE(halves_ip), CASE(halves_l1),
		CASE(halves_dot_norms), CASE(half_to_float), CASE(float_to_half),
		CASE(i8_ip), CASE(i8_dot), CASE(i8_l2sq), CASE(i8_l1),
		CASE(hamming), CASE(bit_counts)
	};
	static const int dims[] = {8, 32, 128, 384, 768, 1536};

	for (int c = 0; c < lengthof(cases); c++)
		for (int d = 0; d < lengthof(dims); d++)
		{
			o->dim = dims[d];
			if (only == NULL || strcmp(only, cases[c].name) == 0)
				report(cases[c].name, cases[c].run, o, 0);
		}

	for (o->blocks = 1; o->blocks <= 4; o->blocks++)
		for (int d = 2; d < lengthof(dims); d++)
		{
			char		name[32] = "fastscan x1";

			name[10] = '0' + o->blocks;
			o->dim = dims[d];
			if (only == NULL || strcmp(only, "fastscan") == 0)
				report(name, run_fastscan, o, 0);
		}

	for (int d = 2; d < 4; d++)
	{
		double		work = (double) MATRIX_ROWS * MATRIX_ROWS * dims[d];

		o->dim = dims[d];
		if (only == NULL || strcmp(only, "i8_dot_matrix") == 0)
			report("i8_dot_matrix", run_i8_dot_matrix, o, work);
		if (only == NULL || strcmp(only, "i8_l1_matrix") == 0)
			report("i8_l1_matrix", run_i8_l1_matrix, o, work);
	}
}

int
main(int argc, char **argv)
{
	Operands	o;
	Size		matrix_bytes = (Size) MATRIX_ROWS * MAX_DIM;

	o.a = malloc(sizeof(float) * MAX_DIM);
	o.b = malloc(sizeof(float) * MAX_DIM);
	o.g = malloc(sizeof(half) * MAX_DIM);
	o.h = malloc(sizeof(half) * MAX_DIM);
	o.x = malloc(matrix_bytes);
	o.y = malloc(matrix_bytes);
	o.codes = malloc(MAX_DIM / 8 * FASTSCAN_BLOCK * 4);
	o.lut = malloc(MAX_DIM / 8 * 32);
	o.out = malloc(sizeof(int32) * MATRIX_ROWS * MATRIX_ROWS);
	o.sums = malloc(sizeof(uint32) * FASTSCAN_BLOCK * 4);

	for (int i = 0; i < MAX_DIM; i++)
	{
		o.a[i] = rand() / (float) RAND_MAX - 0.5f;
		o.b[i] = rand() / (float) RAND_MAX - 0.5f;
		o.g[i] = float_to_half_one(o.b[i]);
		o.h[i] = float_to_half_one(o.a[i]);
	}
	for (Size i = 0; i < matrix_bytes; i++)
	{
		o.x[i] = rand() % 255 - 127;
		o.y[i] = rand() % 255 - 127;
	}
	for (int i = 0; i < MAX_DIM / 8 * FASTSCAN_BLOCK * 4; i++)
		o.codes[i] = rand();
	for (int i = 0; i < MAX_DIM / 8 * 32; i++)
		o.lut[i] = rand();

	printf("ns per call and times faster than scalar; matrices %d x %d also in 10^9 multiply-adds/s\n",
		   MATRIX_ROWS, MATRIX_ROWS);
	printf("%-18s %6s", "kernel", "dim");
	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
		if (distance_has_level(level))
			printf("  %18s", distance_kernels(level)->name);
	printf("\n");
	report_all(argc > 1 ? argv[1] : NULL, &o);
	return 0;
}
