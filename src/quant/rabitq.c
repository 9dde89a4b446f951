/*-------------------------------------------------------------------------
 *
 * rabitq.c
 *		RaBitQ codes of residuals (Gao & Long, SIGMOD 2024; multi-bit codes
 *		SIGMOD 2025) and the look-up tables that score them.
 *
 * With r a rotated residual and c its code, <r, y> is estimated by
 * (|r|^2 / <c, r>) * <c, y>.  Over random rotations this is unbiased and its
 * error is about |r| |y| / sqrt(dims) for one bit.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>

#include "quant/quant.h"

/* Smallest sum of four coordinates that tables tell from zero */
#define MIN_TABLE_RANGE 1e-35f

/* Best step of a uniform quantizer for a unit normal, by bits (Max, 1960). */
static const float quantizer_step[] = {0, 0, 0.9957f, 0.5860f, 0.3352f};

/* Bit "plane" of 8 bytes, as the bits of one. */
static inline uint8
gather_plane(const uint8 levels[8], int plane)
{
	uint8		byte = 0;

	for (int i = 0; i < 8; i++)
		byte |= ((levels[i] >> plane) & 1) << i;
	return byte;
}

/*
 * Code r = to - from with several bits per coordinate; returns <c, r>, and
 * <c, from> in *dot.  rsq is the squared length of the coded coordinates.
 */
static float
encode_levels(const CodeShape *shape, const float *from, const float *to, float rsq,
			  uint8 *code, float *dot)
{
	int			dims = shape->dims;
	int			top = (1 << shape->bits) - 1;
	float		most = (float) (top / 2);
	float		invstep = 1.0f / (quantizer_step[shape->bits] * sqrtf(rsq / dims));
	float		sums[2];
	float		with_r[8] = {0};
	float		with_from[8] = {0};
	float		code_dot_r = 0;

	if (!(invstep < FLT_MAX))
		invstep = 0;
	if (shape->bits == 2)
	{
		distance->two_bit_code(dims, invstep, from, to, code, sums);
		*dot = sums[1];
		return sums[0];
	}
	*dot = 0;
	for (int i = 0; i < dims; i += 8)
	{
		uint8		levels[8];

		/* eight at a time, for the compiler to do at once */
		for (int j = 0; j < 8; j++)
		{
			float		r = to[i + j] - from[i + j];
			float		cell = fabsf(r) * invstep;
			int			size = 2 * (int) (cell < most ? cell : most) + 1;
			int			c = r > 0 ? size : -size;

			with_r[j] += c * r;
			with_from[j] += c * from[i + j];
			levels[j] = (uint8) ((c + top) / 2);
		}
		for (int plane = 0; plane < shape->bits; plane++)
			code[(plane * dims + i) / 8] = gather_plane(levels, plane);
	}
	for (int j = 0; j < 8; j++)
	{
		code_dot_r += with_r[j];
		*dot += with_from[j];
	}
	return code_dot_r;
}

/*
 * Code the residual r = to - from, both of n >= shape->dims coordinates.
 * Returns the factor |r|^2 / <c, r>, or 0 for a zero residual; *rsq gets |r|^2
 * and *dot <c, from>.
 */
float
code_encode(const CodeShape *shape, int n, const float *from, const float *to,
			uint8 *code, float *rsq, float *dot)
{
	int			dims = shape->dims;
	float		code_dot_r;

	*rsq = 0;
	if (n > dims)
		*rsq = distance->l2sq(n - dims, from + dims, to + dims);
	if (shape->bits == 1)
	{
		float		sums[3];

		distance->sign_code(dims, from, to, code, sums);
		*rsq += sums[0];
		code_dot_r = sums[1];
		*dot = sums[2];
	}
	else
	{
		float		coded = distance->l2sq(dims, from, to);

		*rsq += coded;
		code_dot_r = encode_levels(shape, from, to, coded, code, dot);
	}
	return code_dot_r > 0 ? *rsq / code_dot_r : 0;
}

/* <c, y> for one code, exactly. */
float
code_dot(const CodeShape *shape, const uint8 *code, const float *y)
{
	int			dims = shape->dims;
	float		sum = 0;
	float		total = 0;

	for (int plane = 0; plane < shape->bits; plane++)
	{
		const uint8 *bits = code + plane * dims / 8;
		float		plane_sum = 0;

		for (int i = 0; i < dims; i += 8)
		{
			unsigned	byte = bits[i / 8];

			for (int j = 0; j < 8; j++)
				plane_sum += ((byte >> j) & 1) ? y[i + j] : 0;
		}
		sum += plane_sum * (1 << plane);
	}
	for (int i = 0; i < dims; i++)
		total += y[i];
	return 2 * sum - ((1 << shape->bits) - 1) * total;
}

/*
 * What <c, r/|r|> is on average: |r| is about factor times this.  Lets a
 * reader recover the length of a residual from its factor alone.
 */
float
code_expected_norm(const CodeShape *shape)
{
	static const float mean_abs[] = {0, 0.79788f, 1.7692f, 3.2909f, 5.9040f};

	/* E[c * |g|] for a unit normal g, by bits */
	return mean_abs[shape->bits] * sqrtf((float) shape->dims);
}

/* Put one code at a position of a node's FastScan blocks. */
void
code_pack(const CodeShape *shape, const uint8 *code, uint8 *blocks, int position)
{
	uint8	   *out = blocks + (Size) (position / FASTSCAN_BLOCK) * shape->units * FASTSCAN_BLOCK
		+ position % FASTSCAN_BLOCK;

	for (int t = 0; t < shape->units; t++)
		out[t * FASTSCAN_BLOCK] = code[t];
}

/* The code at a position of FastScan blocks */
void
code_unpack(const CodeShape *shape, const uint8 *blocks, int position, uint8 *code)
{
	const uint8 *in = blocks + (Size) (position / FASTSCAN_BLOCK) * shape->units * FASTSCAN_BLOCK
		+ position % FASTSCAN_BLOCK;

	for (int t = 0; t < shape->units; t++)
		code[t] = in[t * FASTSCAN_BLOCK];
}

/*
 * Prepare a rotated query for FastScan.  query->lut must have room for
 * 2 * units * 16 bytes.
 */
void
code_query_init(const CodeShape *shape, const float *y, CodeQuery *query)
{
	int			groups = shape->dims / 4;
	int			top = (1 << shape->bits) - 1;
	int			weight = 1 << (shape->bits - 1);
	float		range = 0;
	float		inverse;
	float		floor_sum = 0;
	float		total = 0;

	/* One step for all tables: the widest one uses all of its 8 bits. */
	for (int g = 0; g < groups; g++)
	{
		const float *v = y + 4 * g;

		range = Max(range, fabsf(v[0]) + fabsf(v[1]) + fabsf(v[2]) + fabsf(v[3]));
		total += v[0] + v[1] + v[2] + v[3];
	}
	range *= weight;

	/* Numbers near the ends of float32 count as zero: nothing may be infinite. */
	if (!(range > MIN_TABLE_RANGE) || isinf(range))
		range = 1;
	query->step = range / 255;
	inverse = 255 / range;

	for (int plane = 0; plane < shape->bits; plane++)
	{
		float		scale = inverse * (1 << plane);

		for (int g = 0; g < groups; g++)
		{
			int			nibble = plane * groups + g;
			uint8	   *table = query->lut + ((nibble / 2) + (nibble % 2) * shape->units) * 16;
			const float *v = y + 4 * g;
			float		sums[16];
			float		low = 0;

			sums[0] = 0;
			for (int i = 0; i < 4; i++)
			{
				float		term = v[i] * scale;

				low += Min(term, 0);
				for (int j = 0; j < (1 << i); j++)
					sums[(1 << i) + j] = sums[j] + term;
			}
			floor_sum += low;
			for (int j = 0; j < 16; j++)
				table[j] = (uint8) Min(Max(sums[j] - low + 0.5f, 0.0f), 255.0f);
		}
	}

	/* <c, y> = 2 sum(bits * 2^plane * y) - top * sum(y) */
	query->offset = 2 * query->step * floor_sum - top * total;
	query->step *= 2;
}
