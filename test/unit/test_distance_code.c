/*-------------------------------------------------------------------------
 *
 * test_distance_code.c
 *		The kernels that make codes: sign_code, two_bit_code and i8_to_float, every
 *		level against the definition.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <float.h>
#include <math.h>

#include "distance/distance.h"

#define MAX_DIM 16000

/* Relative to the sum of the terms' sizes; see distance/README.md. */
#define BUDGET(dim) ((16 + (dim) / 4) * (double) FLT_EPSILON)

static Guarded from_memory;
static Guarded to_memory;
static Guarded code_memory;
static Guarded i8_memory;

static bool
sign_code_right(const DistanceKernels *k, int dim, Size slack, float low, float high)
{
	float	   *from = at_end(from_memory, sizeof(float) * dim, slack);
	float	   *to = at_end(to_memory, sizeof(float) * dim, slack);
	uint8	   *code = at_end(code_memory, dim / 8, slack);
	float		sums[3];
	long double square = 0;
	long double size = 0;
	long double dot = 0;
	long double dot_size = 0;
	bool		right = true;

	for (int i = 0; i < dim; i++)
	{
		from[i] = random_float(low, high);
		to[i] = random_int(0, 9) == 0 ? from[i] : random_float(low, high);
	}
	k->sign_code(dim, from, to, code, sums);
	for (int i = 0; i < dim; i++)
	{
		float		r = to[i] - from[i];
		bool		bit = (code[i / 8] >> (i % 8)) & 1;

		right &= bit == !signbit(r);
		square += (long double) r * r;
		size += fabsf(r);
		dot += bit ? from[i] : -from[i];
		dot_size += fabsf(from[i]);
	}
	return right &&
		fabsl(sums[0] - square) <= BUDGET(dim) * square + FLT_MIN &&
		fabsl(sums[1] - size) <= BUDGET(dim) * size + FLT_MIN &&
		fabsl(sums[2] - dot) <= BUDGET(dim) * dot_size + FLT_MIN;
}

static bool
two_bit_code_right(const DistanceKernels *k, int dim, Size slack, float low, float high)
{
	float	   *from = at_end(from_memory, sizeof(float) * dim, slack);
	float	   *to = at_end(to_memory, sizeof(float) * dim, slack);
	uint8	   *code = at_end(code_memory, dim / 4, slack);
	float		invstep = 4 / (high - low);
	float		sums[2];
	long double with_r = 0;
	long double with_from = 0;
	long double size = 0;
	bool		right = true;

	for (int i = 0; i < dim; i++)
	{
		from[i] = random_float(low, high);
		to[i] = random_int(0, 9) == 0 ? from[i] : random_float(low, high);
	}
	k->two_bit_code(dim, invstep, from, to, code, sums);
	for (int i = 0; i < dim; i++)
	{
		float		r = to[i] - from[i];
		int			bits = ((code[i / 8] >> (i % 8)) & 1) +
			2 * ((code[dim / 8 + i / 8] >> (i % 8)) & 1);
		int			level = 2 * bits - 3;

		right &= (level > 0) == !signbit(r);
		/* At the border either will do. */
		if (fabsf(fabsf(r) * invstep - 1) > 1e-6f)
			right &= (abs(level) == 3) == (fabsf(r) * invstep > 1);
		with_r += (long double) level * r;
		with_from += (long double) level * from[i];
		size += 3 * fabsf(from[i]);
	}
	return right &&
		fabsl(sums[0] - with_r) <= BUDGET(dim) * with_r + FLT_MIN &&
		fabsl(sums[1] - with_from) <= BUDGET(dim) * size + FLT_MIN;
}

static bool
i8_to_float_right(const DistanceKernels *k, int dim, Size slack)
{
	float	   *out = at_end(to_memory, sizeof(float) * dim, slack);
	int8	   *c = at_end(i8_memory, dim, slack);
	float		scale = random_float(1e-3f, 10);

	for (int i = 0; i < dim; i++)
		c[i] = random_int(-127, 127);
	k->i8_to_float(dim, c, scale, out);
	for (int i = 0; i < dim; i++)
		if (out[i] != scale * c[i])
			return false;
	return true;
}

int
main(void)
{
	from_memory = guarded_alloc(sizeof(float) * MAX_DIM + 8);
	to_memory = guarded_alloc(sizeof(float) * MAX_DIM + 8);
	code_memory = guarded_alloc(MAX_DIM + 8);
	i8_memory = guarded_alloc(MAX_DIM + 8);

	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		const DistanceKernels *k = distance_kernels(level);
		int			wrong[6] = {0};

		if (k == NULL)
			continue;
		for (int dim = 32; dim <= MAX_DIM; dim += dim < 2048 ? 32 : 992)
		{
			wrong[0] += !sign_code_right(k, dim, 0, -1, 1);
			wrong[1] += !sign_code_right(k, dim, 4, 1000, 1001);
			wrong[2] += !sign_code_right(k, dim, 4, -1e-39f, 1e-39f);
		}
		for (int dim = 16; dim <= MAX_DIM; dim += dim < 2048 ? 16 : 992)
		{
			wrong[4] += !two_bit_code_right(k, dim, 0, -1, 1);
			wrong[5] += !two_bit_code_right(k, dim, 4, 1000, 1001);
		}
		for (int dim = 0; dim <= 1100; dim++)
			wrong[3] += !i8_to_float_right(k, dim, dim % 4);
		ok(wrong[0] == 0, "%s: sign_code around zero", k->name);
		ok(wrong[1] == 0, "%s: sign_code of close vectors", k->name);
		ok(wrong[2] == 0, "%s: sign_code of subnormals", k->name);
		ok(wrong[3] == 0, "%s: i8_to_float, exactly", k->name);
		ok(wrong[4] == 0, "%s: two_bit_code around zero", k->name);
		ok(wrong[5] == 0, "%s: two_bit_code of close vectors", k->name);
	}
	return done_testing();
}
