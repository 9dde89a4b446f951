/*-------------------------------------------------------------------------
 *
 * test_distance_fastscan.c
 *		FastScan of every level against its definition: it must be exact.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"
#include "distance/distance.h"

#define MAX_UNITS 16384
#define MAX_BLOCKS 5

static Guarded code_memory;
static Guarded lut_memory;
static Guarded sum_memory;

typedef enum Fill
{
	RANDOM,
	ALL_ONES,					/* every look-up gives 255 */
	ODD_NEIGHBOURS,				/* 255 for odd neighbours, 0 for even ones */
	EVEN_NEIGHBOURS,
	NUM_FILLS
} Fill;

static const char *const fill_names[NUM_FILLS] = {
	"random codes and tables", "all look-ups 255", "odd neighbours 255",
	"even neighbours 255"
};

static void
fill_operands(Fill fill, int units, int nblocks, uint8 *codes, uint8 *lut)
{
	for (int i = 0; i < units * nblocks * FASTSCAN_BLOCK; i++)
		codes[i] = fill == RANDOM ? random_bits() :
			fill == ALL_ONES || i % 2 == (fill == ODD_NEIGHBOURS) ? 0xFF : 0;
	for (int i = 0; i < units * 32; i++)
		lut[i] = fill == RANDOM ? random_bits() :
			fill == ALL_ONES || i % 16 == 15 ? 255 : 0;
}

/* The definition, word for word. */
static uint32
expected_sum(int units, const uint8 *block, const uint8 *lut, int j)
{
	uint32		sum = 0;

	for (int t = 0; t < units; t++)
	{
		uint8		code = block[t * 16 + j];

		sum += lut[t * 16 + (code & 15)] + lut[(units + t) * 16 + (code >> 4)];
	}
	return sum;
}

static bool
fastscan_right(const DistanceKernels *k, Fill fill, int units, int nblocks)
{
	uint8	   *codes = at_end(code_memory, units * nblocks * FASTSCAN_BLOCK, 0);
	uint8	   *lut = at_end(lut_memory, units * 32, 0);
	int			nsums = nblocks * FASTSCAN_BLOCK;
	uint32	   *sums = at_end(sum_memory, nsums * sizeof(uint32), 0);

	fill_operands(fill, units, nblocks, codes, lut);
	memset(sums, 0xAA, nsums * sizeof(uint32));
	sums[-1] = 0x12345678;
	k->fastscan(units, nblocks, codes, lut, sums);

	for (int i = 0; i < nsums; i++)
		if (sums[i] != expected_sum(units, codes + i / 16 * units * 16, lut, i % 16))
		{
			diag("%s: units %d, neighbour %d of %d: %u", k->name, units, i,
				 nsums, sums[i]);
			return false;
		}
	return sums[-1] == 0x12345678;
}

static void
test_level(const DistanceKernels *k)
{
	for (Fill fill = 0; fill < NUM_FILLS; fill++)
	{
		bool		right = true;

		for (int units = 0; units <= 2000 && right; units += 4)
			right = fastscan_right(k, fill, units, units / 4 % (MAX_BLOCKS + 1));
		ok(right, "%s fastscan, units 0 to 2000: %s", k->name, fill_names[fill]);

		right = true;
		for (int units = 4; units <= 264 && right; units += 4)
			for (int nblocks = 0; nblocks <= MAX_BLOCKS && right; nblocks++)
				right = fastscan_right(k, fill, units, nblocks);
		ok(right, "%s fastscan, any number of blocks: %s", k->name, fill_names[fill]);

		ok(fastscan_right(k, fill, MAX_UNITS, 2), "%s fastscan, units %d: %s",
		   k->name, MAX_UNITS, fill_names[fill]);
	}
}

int
main(void)
{
	code_memory = guarded_alloc(MAX_UNITS * 2 * FASTSCAN_BLOCK);
	lut_memory = guarded_alloc(MAX_UNITS * 32);
	sum_memory = guarded_alloc(4096);

	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		if (distance_has_level(level))
			test_level(distance_kernels(level));
		else
			skip("level %d is not on this machine", level);
	}
	return done_testing();
}
