/*-------------------------------------------------------------------------
 *
 * test_distance_bits.c
 *		Kernels that count bits, of every level: they must be exact.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"
#include "distance/distance.h"

#define LAST_LENGTH 1100
#define MAX_BYTES 2000000

static Guarded a_memory;
static Guarded b_memory;

/* What the operands are filled with. */
typedef enum Bits
{
	RANDOM,
	SAME,						/* random, twice the same */
	OPPOSITE,					/* random and its complement */
	ALL_SET,
	ALL_CLEAR,
	ONE_DIFFERS,				/* all set but for one bit of b */
	NUM_BITS
} Bits;

static const char *const bits_names[NUM_BITS] = {
	"random bits", "the same bits", "opposite bits", "all set", "all clear",
	"one bit differs"
};

static void
fill(Bits bits, int n, uint8 *a, uint8 *b)
{
	for (int i = 0; i < n; i++)
	{
		a[i] = bits == ALL_CLEAR ? 0 : bits >= ALL_SET ? 0xFF : random_bits() & 0xFF;
		b[i] = bits == RANDOM ? random_bits() & 0xFF :
			bits == OPPOSITE ? ~a[i] : a[i];
	}
	if (bits == ONE_DIFFERS && n > 0)
		b[random_int(0, n - 1)] ^= 1 << random_int(0, 7);
}

static uint32
count(uint8 byte)
{
	uint32		ones = 0;

	for (int bit = 0; bit < 8; bit++)
		ones += byte >> bit & 1;
	return ones;
}

static bool
counts_right(const DistanceKernels *k, int bytes, const uint8 *a, const uint8 *b)
{
	uint32		differ = 0;
	uint32		both = 0;
	uint32		either = 0;
	uint32		both_result = 77;
	uint32		either_result = 77;

	for (int i = 0; i < bytes; i++)
	{
		differ += count(a[i] ^ b[i]);
		both += count(a[i] & b[i]);
		either += count(a[i] | b[i]);
	}
	k->bit_counts(bytes, a, b, &both_result, &either_result);
	return k->hamming(bytes, a, b) == differ && both_result == both &&
		either_result == either;
}

/* Every length, operands that end right before untouchable memory or not. */
static void
test_lengths(const DistanceKernels *k, Bits bits)
{
	int			failures = 0;

	for (int length = 0; length <= LAST_LENGTH + 1; length++)
	{
		int			bytes = length <= LAST_LENGTH ? length : MAX_BYTES;
		uint8	   *a = at_end(a_memory, bytes, length % 3);
		uint8	   *b = at_end(b_memory, bytes, length % 2);

		fill(bits, bytes, a, b);
		if (!counts_right(k, bytes, a, b) && failures++ == 0)
			diag("%s: wrong at %d bytes", k->name, bytes);
	}
	ok(failures == 0, "%s hamming, bit_counts: %s", k->name, bits_names[bits]);
}

/* Each bit counts, wherever it is. */
static void
test_each_bit(const DistanceKernels *k)
{
	int			failures = 0;

	for (int bytes = 1; bytes <= 200; bytes++)
	{
		uint8	   *a = at_end(a_memory, bytes, 0);
		uint8	   *b = at_end(b_memory, bytes, 0);
		uint32		both;
		uint32		either;

		memset(a, 0, bytes);
		memset(b, 0, bytes);
		for (int bit = 0; bit < 8 * bytes; bit++)
		{
			a[bit / 8] = 1 << bit % 8;
			k->bit_counts(bytes, a, b, &both, &either);
			failures += k->hamming(bytes, a, b) != 1 || both != 0 || either != 1;
			b[bit / 8] = 1 << bit % 8;
			k->bit_counts(bytes, a, b, &both, &either);
			failures += k->hamming(bytes, a, b) != 0 || both != 1 || either != 1;
			a[bit / 8] = b[bit / 8] = 0;
		}
	}
	ok(failures == 0, "%s hamming, bit_counts: each bit alone", k->name);
}

int
main(void)
{
	a_memory = guarded_alloc(MAX_BYTES + 8);
	b_memory = guarded_alloc(MAX_BYTES + 8);

	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		const DistanceKernels *k = distance_kernels(level);

		if (k == NULL)
		{
			skip("level %d is not on this machine", level);
			continue;
		}
		for (Bits bits = 0; bits < NUM_BITS; bits++)
			test_lengths(k, bits);
		test_each_bit(k);
	}
	return done_testing();
}
