/*-------------------------------------------------------------------------
 *
 * distance_scalar.c
 *		Distance kernels in plain C: the reference for the others, and what
 *		a machine without a supported instruction set runs.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance_internal.h"

#include <math.h>

/*
 * Callers may pass pointers of any alignment.  These types tell the compiler
 * so; through plain float or half pointers it could vectorize a loop in a way
 * that faults.
 */
typedef float any_float __attribute__((aligned(1), may_alias));
typedef half any_half __attribute__((aligned(1), may_alias));

#define FLOAT_AT(p, i) (((const any_float *) (p))[i])
#define HALF_AT(p, i) (half_to_float_one(((const any_half *) (p))[i]))

static float
l2sq(int dim, const float *a, const float *b)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
	{
		float		d = FLOAT_AT(a, i) - FLOAT_AT(b, i);

		sum += d * d;
	}
	return sum;
}

static float
ip(int dim, const float *a, const float *b)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += FLOAT_AT(a, i) * FLOAT_AT(b, i);
	return sum;
}

static float
l1(int dim, const float *a, const float *b)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += fabsf(FLOAT_AT(a, i) - FLOAT_AT(b, i));
	return sum;
}

static float
normsq(int dim, const float *a)
{
	return ip(dim, a, a);
}

static void
dot_norms(int dim, const float *a, const float *b,
		  float *dot, float *asq, float *bsq)
{
	float		sum_ab = 0;
	float		sum_aa = 0;
	float		sum_bb = 0;

	for (int i = 0; i < dim; i++)
	{
		float		x = FLOAT_AT(a, i);
		float		y = FLOAT_AT(b, i);

		sum_ab += x * y;
		sum_aa += x * x;
		sum_bb += y * y;
	}
	*dot = sum_ab;
	*asq = sum_aa;
	*bsq = sum_bb;
}

static float
half_l2sq(int dim, const float *q, const half *h, float scale)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
	{
		float		d = FLOAT_AT(q, i) - scale * HALF_AT(h, i);

		sum += d * d;
	}
	return sum;
}

static float
half_ip(int dim, const float *q, const half *h)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += FLOAT_AT(q, i) * HALF_AT(h, i);
	return sum;
}

static float
half_l1(int dim, const float *q, const half *h, float scale)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += fabsf(FLOAT_AT(q, i) - scale * HALF_AT(h, i));
	return sum;
}

static float
halves_l2sq(int dim, const half *a, const half *b)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
	{
		float		d = HALF_AT(a, i) - HALF_AT(b, i);

		sum += d * d;
	}
	return sum;
}

static float
halves_ip(int dim, const half *a, const half *b)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += HALF_AT(a, i) * HALF_AT(b, i);
	return sum;
}

static float
halves_l1(int dim, const half *a, const half *b)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += fabsf(HALF_AT(a, i) - HALF_AT(b, i));
	return sum;
}

static void
halves_dot_norms(int dim, const half *a, const half *b,
				 float *dot, float *asq, float *bsq)
{
	*dot = halves_ip(dim, a, b);
	*asq = halves_ip(dim, a, a);
	*bsq = halves_ip(dim, b, b);
}

static void
half_to_float(int n, const half *h, float *f)
{
	for (int i = 0; i < n; i++)
		((any_float *) f)[i] = HALF_AT(h, i);
}

static void
float_to_half(int n, const float *f, half *h)
{
	for (int i = 0; i < n; i++)
		((any_half *) h)[i] = float_to_half_one(FLOAT_AT(f, i));
}

static void
i8_to_float(int n, const int8 *c, float scale, float *f)
{
	for (int i = 0; i < n; i++)
		f[i] = scale * c[i];
}

static void
sign_code(int dim, const float *from, const float *to, uint8 *code, float sums[3])
{
	sums[0] = sums[1] = sums[2] = 0;
	memset(code, 0, dim / 8);
	for (int i = 0; i < dim; i++)
	{
		float		r = to[i] - from[i];
		bool		positive = !signbit(r);

		sums[0] += r * r;
		sums[1] += fabsf(r);
		sums[2] += positive ? from[i] : -from[i];
		code[i / 8] |= positive << (i % 8);
	}
}

static void
two_bit_code(int dim, float invstep, const float *from, const float *to, uint8 *code,
			 float sums[2])
{
	sums[0] = sums[1] = 0;
	memset(code, 0, dim / 8 * 2);
	for (int i = 0; i < dim; i++)
	{
		float		r = to[i] - from[i];
		bool		positive = !signbit(r);
		bool		large = fabsf(r) * invstep >= 1;
		float		size = large ? 3 : 1;

		sums[0] += size * fabsf(r);
		sums[1] += positive ? size * from[i] : -size * from[i];
		code[i / 8] |= (positive == large) << (i % 8);
		code[dim / 8 + i / 8] |= positive << (i % 8);
	}
}

static float
i8_ip(int dim, const float *q, const int8 *c)
{
	float		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += FLOAT_AT(q, i) * c[i];
	return sum;
}

#include "distance/distance_int4.h"

static int32
i8_dot(int dim, const int8 *a, const int8 *b)
{
	int32		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += a[i] * b[i];
	return sum;
}

static int32
i8_l2sq(int dim, const int8 *a, const int8 *b)
{
	int32		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sum;
}

static int32
i8_l1(int dim, const int8 *a, const int8 *b)
{
	int32		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += abs(a[i] - b[i]);
	return sum;
}

static uint32
hamming(int bytes, const uint8 *a, const uint8 *b)
{
	uint32		sum = 0;

	for (int i = 0; i < bytes; i++)
		sum += __builtin_popcount(a[i] ^ b[i]);
	return sum;
}

static void
bit_counts(int bytes, const uint8 *a, const uint8 *b,
		   uint32 *both, uint32 *either)
{
	*both = 0;
	*either = 0;
	for (int i = 0; i < bytes; i++)
	{
		*both += __builtin_popcount(a[i] & b[i]);
		*either += __builtin_popcount(a[i] | b[i]);
	}
}

static void
i8_dot_matrix(int dim, ByteRows a, ByteRows b, int32 *out, int ldo)
{
	for (int i = 0; i < a.n; i++)
		for (int j = 0; j < b.n; j++)
			out[(Size) i * ldo + j] =
				i8_dot(dim, a.values + (Size) i * a.stride, b.values + (Size) j * b.stride);
}

static void
i8_l1_matrix(int dim, ByteRows a, ByteRows b, int32 *out, int ldo)
{
	for (int i = 0; i < a.n; i++)
		for (int j = 0; j < b.n; j++)
			out[(Size) i * ldo + j] =
				i8_l1(dim, a.values + (Size) i * a.stride, b.values + (Size) j * b.stride);
}

static void
fastscan(int units, int nblocks, const uint8 *codes, const uint8 *lut,
		 uint32 *sums)
{
	const uint8 *high_lut = lut + (Size) units * 16;

	for (int block = 0; block < nblocks; block++)
	{
		uint32		sum[FASTSCAN_BLOCK] = {0};

		for (int t = 0; t < units; t++)
		{
			for (int j = 0; j < FASTSCAN_BLOCK; j++)
				sum[j] += lut[t * 16 + (codes[j] & 15)] +
					high_lut[t * 16 + (codes[j] >> 4)];
			codes += FASTSCAN_BLOCK;
		}
		memcpy(sums, sum, sizeof(sum));
		sums += FASTSCAN_BLOCK;
	}
}

const DistanceKernels distance_scalar = DISTANCE_TABLE(SIMD_SCALAR, "scalar");
