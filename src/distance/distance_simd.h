/*-------------------------------------------------------------------------
 *
 * distance_simd.h
 *		Loops of the distance kernels, over vectors of any width (template).
 *
 * A kernel file of an instruction set defines the types and primitives below
 * and includes this file, which then defines the kernels that need nothing
 * else.  Loops keep four independent accumulators, so that loads and not the
 * latency of an addition limit them.
 *
 * Types:
 *		VF				vector of VF_LANES floats
 *		VB				vector of VB_LANES bytes; VB_LANES divides 64
 *		VI				int32 lanes whose total is wanted; of any number
 * Float primitives (a "part" reads n elements, 0 < n < VF_LANES, touches no
 * byte beyond them, and sets the other lanes to zero):
 *		vf_zero() vf_set1(x) vf_add(x, y) vf_sub(x, y) vf_abs(x) vf_sum(x)
 *		vf_fma(x, y, z)		x * y + z
 *		vf_fnma(x, y, z)	z - x * y
 *		vf_load(p) vf_load_half(p) vf_load_i8(p), and each with _part(p, n)
 *		vf_store(p, x) vf_store_half(p, x)
 *		vf_signs(x)			one bit for each lane, its sign bit
 *		vf_flip(x, y)		x with the sign bits of y applied to it
 * Byte primitives:
 *		vi_zero() vi_add(x, y) vi_sum(x)
 *		vi_sum4(w, x, y, z, out)	four totals, to out[0..3]
 *		vb_load(p) vb_load_part(p, n)
 *		vi_dot(acc, x, y) vi_l2sq(acc, x, y) vi_l1(acc, x, y)
 *							acc plus the terms of signed bytes x, y in
 *							[-127, 127], spread over the lanes in any way
 *		vb_xor(x, y) vb_and(x, y) vb_or(x, y)
 *		vi_ones(acc, x)		acc plus the number of bits set in x, likewise
 * FastScan:
 *		fastscan_add(units, codes, low, high, sums, first)
 *							add the sums of one block over at most
 *							FASTSCAN_CHUNK units to sums, or set them
 *
 *-------------------------------------------------------------------------
 */

#define INLINE static inline __attribute__((always_inline))

/*
 * The loops are written once, over "op" and "elem".  Both are constants at
 * every call, and inlining leaves nothing of the tests.
 */
typedef enum Op
{
	OP_L2SQ,
	OP_IP,
	OP_L1,
	OP_XOR,						/* bits set in a xor b; OP_AND, OP_OR alike */
	OP_AND,
	OP_OR
} Op;

typedef enum Elem
{
	ELEM_FLOAT,
	ELEM_HALF,
	ELEM_INT8
} Elem;

INLINE VF
load_elems(Elem elem, const void *p, int i)
{
	switch (elem)
	{
		case ELEM_HALF:
			return vf_load_half((const half *) p + i);
		case ELEM_INT8:
			return vf_load_i8((const int8 *) p + i);
		default:
			return vf_load((const float *) p + i);
	}
}

INLINE VF
load_elems_part(Elem elem, const void *p, int i, int n)
{
	switch (elem)
	{
		case ELEM_HALF:
			return vf_load_half_part((const half *) p + i, n);
		case ELEM_INT8:
			return vf_load_i8_part((const int8 *) p + i, n);
		default:
			return vf_load_part((const float *) p + i, n);
	}
}

/* acc plus the terms of x and scale * y; only halves are scaled. */
INLINE VF
add_terms(Op op, Elem elem, VF acc, VF x, VF y, VF scale)
{
	VF			d;

	if (op == OP_IP)
		return vf_fma(x, y, acc);
	d = (elem == ELEM_HALF) ? vf_fnma(scale, y, x) : vf_sub(x, y);
	return (op == OP_L2SQ) ? vf_fma(d, d, acc) : vf_add(acc, vf_abs(d));
}

/* The sum over all elements of a and scale * b. */
INLINE float
reduce(Op op, Elem elem_a, Elem elem_b, int dim, const void *a, const void *b,
	   float scale)
{
	VF			vscale = vf_set1(scale);
	VF			sum0 = vf_zero();
	VF			sum1 = vf_zero();
	VF			sum2 = vf_zero();
	VF			sum3 = vf_zero();
	int			i = 0;

#define REDUCE_STEP(sum, at) \
	sum = add_terms(op, elem_b, sum, load_elems(elem_a, a, (at)), \
					load_elems(elem_b, b, (at)), vscale)

	for (; i + 4 * VF_LANES <= dim; i += 4 * VF_LANES)
	{
		REDUCE_STEP(sum0, i);
		REDUCE_STEP(sum1, i + VF_LANES);
		REDUCE_STEP(sum2, i + 2 * VF_LANES);
		REDUCE_STEP(sum3, i + 3 * VF_LANES);
	}
	for (; i + VF_LANES <= dim; i += VF_LANES)
		REDUCE_STEP(sum0, i);
#undef REDUCE_STEP

	if (i < dim)
		sum1 = add_terms(op, elem_b, sum1,
						 load_elems_part(elem_a, a, i, dim - i),
						 load_elems_part(elem_b, b, i, dim - i), vscale);
	return vf_sum(vf_add(vf_add(sum0, sum1), vf_add(sum2, sum3)));
}

static float
l2sq(int dim, const float *a, const float *b)
{
	return reduce(OP_L2SQ, ELEM_FLOAT, ELEM_FLOAT, dim, a, b, 1);
}

static float
ip(int dim, const float *a, const float *b)
{
	return reduce(OP_IP, ELEM_FLOAT, ELEM_FLOAT, dim, a, b, 1);
}

static float
l1(int dim, const float *a, const float *b)
{
	return reduce(OP_L1, ELEM_FLOAT, ELEM_FLOAT, dim, a, b, 1);
}

static float
normsq(int dim, const float *a)
{
	return reduce(OP_IP, ELEM_FLOAT, ELEM_FLOAT, dim, a, a, 1);
}

static float
half_l2sq(int dim, const float *q, const half *h, float scale)
{
	return reduce(OP_L2SQ, ELEM_FLOAT, ELEM_HALF, dim, q, h, scale);
}

static float
half_ip(int dim, const float *q, const half *h)
{
	return reduce(OP_IP, ELEM_FLOAT, ELEM_HALF, dim, q, h, 1);
}

static float
half_l1(int dim, const float *q, const half *h, float scale)
{
	return reduce(OP_L1, ELEM_FLOAT, ELEM_HALF, dim, q, h, scale);
}

static float
i8_ip(int dim, const float *q, const int8 *c)
{
	return reduce(OP_IP, ELEM_FLOAT, ELEM_INT8, dim, q, c, 1);
}

static float
halves_l2sq(int dim, const half *a, const half *b)
{
	return reduce(OP_L2SQ, ELEM_HALF, ELEM_HALF, dim, a, b, 1);
}

static float
halves_ip(int dim, const half *a, const half *b)
{
	return reduce(OP_IP, ELEM_HALF, ELEM_HALF, dim, a, b, 1);
}

static float
halves_l1(int dim, const half *a, const half *b)
{
	return reduce(OP_L1, ELEM_HALF, ELEM_HALF, dim, a, b, 1);
}

/* Two accumulators for each of the three sums are enough to hide latency. */
INLINE void
reduce_dot_norms(Elem elem, int dim, const void *a, const void *b,
				 float *dot, float *asq, float *bsq)
{
	VF			ab0 = vf_zero();
	VF			aa0 = vf_zero();
	VF			bb0 = vf_zero();
	VF			ab1 = vf_zero();
	VF			aa1 = vf_zero();
	VF			bb1 = vf_zero();
	int			i = 0;

#define DOT_NORMS_STEP(n, load_a, load_b) \
	do { \
		VF			x = load_a; \
		VF			y = load_b; \
		ab##n = vf_fma(x, y, ab##n); \
		aa##n = vf_fma(x, x, aa##n); \
		bb##n = vf_fma(y, y, bb##n); \
	} while (0)

	for (; i + 2 * VF_LANES <= dim; i += 2 * VF_LANES)
	{
		DOT_NORMS_STEP(0, load_elems(elem, a, i), load_elems(elem, b, i));
		DOT_NORMS_STEP(1, load_elems(elem, a, i + VF_LANES),
					   load_elems(elem, b, i + VF_LANES));
	}
	if (i + VF_LANES <= dim)
	{
		DOT_NORMS_STEP(0, load_elems(elem, a, i), load_elems(elem, b, i));
		i += VF_LANES;
	}
	if (i < dim)
		DOT_NORMS_STEP(1, load_elems_part(elem, a, i, dim - i),
					   load_elems_part(elem, b, i, dim - i));
#undef DOT_NORMS_STEP

	*dot = vf_sum(vf_add(ab0, ab1));
	*asq = vf_sum(vf_add(aa0, aa1));
	*bsq = vf_sum(vf_add(bb0, bb1));
}

static void
dot_norms(int dim, const float *a, const float *b,
		  float *dot, float *asq, float *bsq)
{
	reduce_dot_norms(ELEM_FLOAT, dim, a, b, dot, asq, bsq);
}

static void
halves_dot_norms(int dim, const half *a, const half *b,
				 float *dot, float *asq, float *bsq)
{
	reduce_dot_norms(ELEM_HALF, dim, a, b, dot, asq, bsq);
}

static void
half_to_float(int n, const half *h, float *f)
{
	int			i = 0;

	for (; i + VF_LANES <= n; i += VF_LANES)
		vf_store(f + i, vf_load_half(h + i));
	if (i < n)
	{
		float		rest[VF_LANES];

		vf_store(rest, vf_load_half_part(h + i, n - i));
		memcpy(f + i, rest, (n - i) * sizeof(float));
	}
}

static void
float_to_half(int n, const float *f, half *h)
{
	int			i = 0;

	for (; i + VF_LANES <= n; i += VF_LANES)
		vf_store_half(h + i, vf_load(f + i));
	if (i < n)
	{
		half		rest[VF_LANES];

		vf_store_half(rest, vf_load_part(f + i, n - i));
		memcpy(h + i, rest, (n - i) * sizeof(half));
	}
}

static void
i8_to_float(int n, const int8 *c, float scale, float *f)
{
	VF			vscale = vf_set1(scale);
	int			i = 0;

	for (; i + VF_LANES <= n; i += VF_LANES)
		vf_store(f + i, vf_fma(vscale, vf_load_i8(c + i), vf_zero()));
	if (i < n)
	{
		float		rest[VF_LANES];

		vf_store(rest, vf_fma(vscale, vf_load_i8_part(c + i, n - i), vf_zero()));
		memcpy(f + i, rest, (n - i) * sizeof(float));
	}
}

#include "distance/distance_int4.h"

static void
sign_code(int dim, const float *from, const float *to, uint8 *code, float sums[3])
{
	VF			square = vf_zero();
	VF			size = vf_zero();
	VF			dot = vf_zero();

	for (int i = 0; i < dim; i += 32)
	{
		uint32		signs = 0;

		for (int j = 0; j < 32; j += VF_LANES)
		{
			VF			x = vf_load(from + i + j);
			VF			r = vf_sub(vf_load(to + i + j), x);

			square = vf_fma(r, r, square);
			size = vf_add(size, vf_abs(r));
			dot = vf_add(dot, vf_flip(x, r));
			signs |= (uint32) vf_signs(r) << j;
		}
		signs = ~signs;
		memcpy(code + i / 8, &signs, sizeof(signs));
	}
	sums[0] = vf_sum(square);
	sums[1] = vf_sum(size);
	sums[2] = vf_sum(dot);
}

static void
two_bit_code(int dim, float invstep, const float *from, const float *to, uint8 *code,
			 float sums[2])
{
	VF			with_r = vf_zero();
	VF			with_from = vf_zero();

	for (int i = 0; i < dim; i += 16)
	{
		uint16		negative = 0;
		uint16		small = 0;
		uint16		low;
		uint16		high;

		for (int j = 0; j < 16; j += VF_LANES)
		{
			VF			x = vf_load(from + i + j);
			VF			r = vf_sub(vf_load(to + i + j), x);
			VF			beyond = vf_fma(vf_abs(r), vf_set1(invstep), vf_set1(-1));
			/* 3 or 1, without a branch */
			VF			size = vf_add(vf_set1(2), vf_flip(vf_set1(1), beyond));

			with_r = vf_fma(size, vf_abs(r), with_r);
			with_from = vf_fma(size, vf_flip(x, r), with_from);
			negative |= (uint16) vf_signs(r) << j;
			small |= (uint16) vf_signs(beyond) << j;
		}
		low = ~(negative ^ small);
		high = ~negative;
		memcpy(code + i / 8, &low, sizeof(low));
		memcpy(code + dim / 8 + i / 8, &high, sizeof(high));
	}
	sums[0] = vf_sum(with_r);
	sums[1] = vf_sum(with_from);
}

INLINE VI
add_byte_terms(Op op, VI acc, VB x, VB y)
{
	switch (op)
	{
		case OP_L2SQ:
			return vi_l2sq(acc, x, y);
		case OP_IP:
			return vi_dot(acc, x, y);
		case OP_L1:
			return vi_l1(acc, x, y);
		case OP_XOR:
			return vi_ones(acc, vb_xor(x, y));
		case OP_AND:
			return vi_ones(acc, vb_and(x, y));
		default:
			return vi_ones(acc, vb_or(x, y));
	}
}

INLINE int32
reduce_bytes(Op op, int n, const int8 *a, const int8 *b)
{
	VI			sum0 = vi_zero();
	VI			sum1 = vi_zero();
	VI			sum2 = vi_zero();
	VI			sum3 = vi_zero();
	int			i = 0;

#define REDUCE_STEP(sum, at) \
	sum = add_byte_terms(op, sum, vb_load(a + (at)), vb_load(b + (at)))

	for (; i + 4 * VB_LANES <= n; i += 4 * VB_LANES)
	{
		REDUCE_STEP(sum0, i);
		REDUCE_STEP(sum1, i + VB_LANES);
		REDUCE_STEP(sum2, i + 2 * VB_LANES);
		REDUCE_STEP(sum3, i + 3 * VB_LANES);
	}
	for (; i + VB_LANES <= n; i += VB_LANES)
		REDUCE_STEP(sum0, i);
#undef REDUCE_STEP

	if (i < n)
		sum1 = add_byte_terms(op, sum1, vb_load_part(a + i, n - i),
							vb_load_part(b + i, n - i));
	return vi_sum(vi_add(vi_add(sum0, sum1), vi_add(sum2, sum3)));
}

static int32
i8_dot(int dim, const int8 *a, const int8 *b)
{
	return reduce_bytes(OP_IP, dim, a, b);
}

static int32
i8_l2sq(int dim, const int8 *a, const int8 *b)
{
	return reduce_bytes(OP_L2SQ, dim, a, b);
}

static int32
i8_l1(int dim, const int8 *a, const int8 *b)
{
	return reduce_bytes(OP_L1, dim, a, b);
}

static uint32
hamming(int bytes, const uint8 *a, const uint8 *b)
{
	return reduce_bytes(OP_XOR, bytes, (const int8 *) a, (const int8 *) b);
}

/* Two passes: strings are short, and the second finds them in the cache. */
static void
bit_counts(int bytes, const uint8 *a, const uint8 *b,
		   uint32 *both, uint32 *either)
{
	*both = reduce_bytes(OP_AND, bytes, (const int8 *) a, (const int8 *) b);
	*either = reduce_bytes(OP_OR, bytes, (const int8 *) a, (const int8 *) b);
}

/*
 * All pairs of two rows of a and four rows of b: 8 sums stay in registers,
 * 6 loads serve 8 steps.
 */
INLINE void
matrix_tile(Op op, int dim, const int8 *const a[2], const int8 *const b[4],
			int32 out[2][4])
{
	VI			sum00 = vi_zero();
	VI			sum01 = vi_zero();
	VI			sum02 = vi_zero();
	VI			sum03 = vi_zero();
	VI			sum10 = vi_zero();
	VI			sum11 = vi_zero();
	VI			sum12 = vi_zero();
	VI			sum13 = vi_zero();

	for (int k = 0; k < dim; k += VB_LANES)
	{
		VB			a0 = vb_load(a[0] + k);
		VB			a1 = vb_load(a[1] + k);
		VB			y;

		y = vb_load(b[0] + k);
		sum00 = add_byte_terms(op, sum00, a0, y);
		sum10 = add_byte_terms(op, sum10, a1, y);
		y = vb_load(b[1] + k);
		sum01 = add_byte_terms(op, sum01, a0, y);
		sum11 = add_byte_terms(op, sum11, a1, y);
		y = vb_load(b[2] + k);
		sum02 = add_byte_terms(op, sum02, a0, y);
		sum12 = add_byte_terms(op, sum12, a1, y);
		y = vb_load(b[3] + k);
		sum03 = add_byte_terms(op, sum03, a0, y);
		sum13 = add_byte_terms(op, sum13, a1, y);
	}
	vi_sum4(sum00, sum01, sum02, sum03, out[0]);
	vi_sum4(sum10, sum11, sum12, sum13, out[1]);
}

/*
 * All pairs by tiles.  A tile beyond the edge repeats the last row instead of
 * reading what is not there, and those results are dropped.
 */
INLINE void
matrix(Op op, int dim, ByteRows a, ByteRows b, int32 *out, int ldo)
{
	for (int i = 0; i < a.n; i += 2)
	{
		int			rows = Min(2, a.n - i);
		const int8 *arow[2];

		for (int r = 0; r < 2; r++)
			arow[r] = a.values + (Size) Min(i + r, a.n - 1) * a.stride;

		for (int j = 0; j < b.n; j += 4)
		{
			int			cols = Min(4, b.n - j);
			const int8 *brow[4];
			int32		tile[2][4];

			for (int c = 0; c < 4; c++)
				brow[c] = b.values + (Size) Min(j + c, b.n - 1) * b.stride;
			matrix_tile(op, dim, arow, brow, tile);
			for (int r = 0; r < rows; r++)
				for (int c = 0; c < cols; c++)
					out[(Size) (i + r) * ldo + j + c] = tile[r][c];
		}
	}
}

static void
i8_l1_matrix(int dim, ByteRows a, ByteRows b, int32 *out, int ldo)
{
	matrix(OP_L1, dim, a, b, out, ldo);
}

/*
 * 2 * 128 look-ups of at most 255 fit an unsigned 16-bit sum; after so many
 * units the sums are widened.
 */
#define FASTSCAN_CHUNK 128

static void
fastscan(int units, int nblocks, const uint8 *codes, const uint8 *lut,
		 uint32 *sums)
{
	const uint8 *high_lut = lut + (Size) units * 16;

	if (units == 0)
		memset(sums, 0, sizeof(uint32) * FASTSCAN_BLOCK * nblocks);

	for (int block = 0; block < nblocks; block++)
	{
		for (int t = 0; t < units; t += FASTSCAN_CHUNK)
			fastscan_add(Min(units - t, FASTSCAN_CHUNK),
						 codes + (Size) t * FASTSCAN_BLOCK,
						 lut + t * 16, high_lut + t * 16, sums, t == 0);
		codes += (Size) units * FASTSCAN_BLOCK;
		sums += FASTSCAN_BLOCK;
	}
}
