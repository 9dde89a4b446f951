/*-------------------------------------------------------------------------
 *
 * test_distance_half.c
 *		Conversions between float and half: every level gives the same bits,
 *		and they are the right ones.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"
#include "distance/distance.h"

#include <math.h>

#define NUM_HALFS 65536
#define RANDOM_FLOATS 1000000

static uint32
float_bits(float f)
{
	uint32		bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static float
float_from_bits(uint32 bits)
{
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* The definition of binary16; for a NaN quiet, payload kept. */
static float
expected_float(half h)
{
	int			exponent = h >> 10 & 31;
	int			fraction = h & 1023;
	double		sign = h & 0x8000 ? -1 : 1;

	if (exponent == 31 && fraction != 0)
		return float_from_bits((uint32) (h & 0x8000) << 16 | 0x7FC00000 |
							   (uint32) fraction << 13);
	if (exponent == 31)
		return sign * INFINITY;
	if (exponent == 0)
		return sign * ldexp(fraction, -24);
	return sign * ldexp(1024 + fraction, exponent - 25);
}

/* Round to a multiple of the unit in the last place, ties to even. */
static half
expected_half(float f)
{
	uint32		bits = float_bits(f);
	half		sign = bits >> 16 & 0x8000;
	double		size = fabs((double) f);
	int			exponent;
	double		units;

	if (isnan(f))
		return sign | 0x7E00 | (bits >> 13 & 0x3FF);
	if (size >= 65520)
		return sign | 0x7C00;
	if (size < ldexp(1, -14))
		return sign | (half) rint(ldexp(size, 24));
	frexp(size, &exponent);		/* size in [2^(exponent-1), 2^exponent) */
	units = rint(ldexp(size, 11 - exponent));	/* 1024..2048 */
	return sign | (half) (((exponent + 14) << 10) + (int) units - 1024);
}

static void
test_all_halfs(const DistanceKernels *k)
{
	static half h[NUM_HALFS];
	static float f[NUM_HALFS];
	int			failures = 0;
	int			back_failures = 0;

	for (int i = 0; i < NUM_HALFS; i++)
		h[i] = i;
	k->half_to_float(NUM_HALFS, h, f);
	for (int i = 0; i < NUM_HALFS; i++)
		failures += float_bits(f[i]) != float_bits(expected_float(i)) ||
			float_bits(half_to_float_one(i)) != float_bits(f[i]);
	ok(failures == 0, "%s half_to_float: all 65536 halfs", k->name);

	k->float_to_half(NUM_HALFS, f, h);
	for (int i = 0; i < NUM_HALFS; i++)
	{
		/* A signalling NaN came out quiet. */
		bool		nan = (i & 0x7C00) == 0x7C00 && (i & 0x3FF) != 0;

		back_failures += h[i] != (nan ? i | 0x200 : i);
	}
	ok(back_failures == 0, "%s float_to_half: all 65536 halfs and back", k->name);
}

/*
 * Compare n floats, on the kernel of a level and on the single conversion;
 * the number of differences, the first of which is shown.
 */
static int
count_wrong(const DistanceKernels *k, int n, const float *f)
{
	static bool shown = false;
	half		h[64];
	int			wrong = 0;

	k->float_to_half(n, f, h);
	for (int i = 0; i < n; i++)
		if (h[i] != expected_half(f[i]) || h[i] != float_to_half_one(f[i]))
		{
			wrong++;
			if (!shown)
				diag("%s: %a (%08X) gives %04X, not %04X", k->name, f[i],
					 float_bits(f[i]), h[i], expected_half(f[i]));
			shown = true;
		}
	return wrong;
}

/* Around the middle between each half and the next, where rounding turns. */
static void
test_ties(const DistanceKernels *k)
{
	int			failures = 0;

	for (int i = 0; i < 0x7C00; i++)
	{
		/* Beyond the largest half comes 65536, which rounding sees. */
		float		low = expected_float(i);
		float		high = i == 0x7BFF ? 65536 : expected_float(i + 1);
		uint32		middle = float_bits((low + high) / 2);
		float		f[8];

		for (int j = 0; j < 8; j++)
			f[j] = float_from_bits((middle - 1 + j % 4) | (j < 4 ? 0 : 0x80000000));
		failures += count_wrong(k, 8, f);
	}
	ok(failures == 0, "%s float_to_half: ties to even, both sides of each", k->name);
}

static void
test_floats(const DistanceKernels *k)
{
	static const uint32 special[] = {
		0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000,
		0x32FFFFFF, 0x33000000, 0x33000001, 0x337FFFFF, 0x33800000, 0x387FDFFF,
		0x387FE000, 0x387FFFFF, 0x38800000, 0x477FE000, 0x477FEFFF, 0x477FF000,
		0x47800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001, 0x7FBFFFFF,
		0x7FC00000, 0xFFC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC01FFF, 0x7FC02000
	};
	float		f[64];
	int			failures = 0;

	for (int i = 0; i < lengthof(special); i++)
		f[i] = float_from_bits(special[i]);
	ok(count_wrong(k, lengthof(special), f) == 0,
	   "%s float_to_half: subnormals, limits, infinities, NaNs", k->name);

	for (int i = 0; i < RANDOM_FLOATS; i += 64)
	{
		for (int j = 0; j < 64; j++)
		{
			uint32		bits = random_bits();

			/* Every other one near the range of a half. */
			if (j % 2)
				bits = (bits & 0x8FFFFFFF) | 0x30000000;
			f[j] = float_from_bits(bits);
		}
		failures += count_wrong(k, 64, f);
	}
	ok(failures == 0, "%s float_to_half: %d random floats", k->name, RANDOM_FLOATS);
}

/* Every length, pointers of any alignment, nothing written beyond. */
static void
test_lengths(const DistanceKernels *k)
{
	Guarded		half_memory = guarded_alloc(4096);
	Guarded		float_memory = guarded_alloc(4096);
	int			failures = 0;

	for (int n = 0; n <= 300; n++)
		for (int slack = 0; slack < 4; slack++)
		{
			char	   *h = at_end(half_memory, sizeof(half) * n, slack);
			char	   *f = at_end(float_memory, sizeof(float) * n, slack);

			for (int i = 0; i < n; i++)
				memcpy(h + 2 * i, &(half) {0x3C00 + i}, 2);
			memset(f - 4, 0x55, 4);
			memset(f + 4 * n, 0x55, slack);
			k->half_to_float(n, (half *) h, (float *) f);
			for (int i = 0; i < n; i++)
				failures += memcmp(f + 4 * i, &(float) {expected_float(0x3C00 + i)}, 4) != 0;
			failures += memcmp(f - 4, "\x55\x55\x55\x55", 4) != 0 ||
				memcmp(f + 4 * n, "\x55\x55\x55\x55", slack) != 0;

			memset(h - 2, 0x55, 2 * n + 2 + slack);
			k->float_to_half(n, (float *) f, (half *) h);
			for (int i = 0; i < n; i++)
				failures += memcmp(h + 2 * i, &(half) {0x3C00 + i}, 2) != 0;
			failures += memcmp(h - 2, "\x55\x55", 2) != 0 ||
				memcmp(h + 2 * n, "\x55\x55\x55\x55", slack) != 0;
		}
	ok(failures == 0, "%s conversions: every length from 0 to 300", k->name);
}

int
main(void)
{
	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		const DistanceKernels *k = distance_kernels(level);

		if (k == NULL)
		{
			skip("level %d is not on this machine", level);
			continue;
		}
		test_all_halfs(k);
		test_ties(k);
		test_floats(k);
		test_lengths(k);
	}
	return done_testing();
}
