/*-------------------------------------------------------------------------
 *
 * test_distance_int4.c
 *		4-bit codes: kernels of every level against double precision, and the
 *		codes of scalar_encode_int4.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"
#include "quant/quant.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define MAX_DIM 16000

static Guarded code_memory;
static Guarded query_memory;

/* Coordinate i of a code. */
static int
coordinate(const uint8 *c, int i)
{
	int			byte = c[i / 32 * 16 + i % 16];

	return 2 * (i % 32 < 16 ? byte & 15 : byte >> 4) - 15;
}

static void
test_kernels(const DistanceKernels *k)
{
	int			wrong_ip = 0;
	int			wrong_floats = 0;
	float	   *out = malloc(sizeof(float) * MAX_DIM);

	for (int dim = 32; dim <= MAX_DIM; dim += dim < 1200 ? 32 : 1600)
	{
		uint8	   *c = at_end(code_memory, dim / 2, 0);
		float	   *q = at_end(query_memory, dim * sizeof(float), 0);
		double		sum = 0;
		double		size = 0;

		for (int i = 0; i < dim / 2; i++)
			c[i] = random_int(0, 255);
		for (int i = 0; i < dim; i++)
		{
			q[i] = random_float(-1, 1);
			sum += (double) q[i] * coordinate(c, i);
			size += fabs((double) q[i] * coordinate(c, i));
		}
		wrong_ip += !(fabs(k->i4_ip(dim, q, c) - sum) <= size * 1e-6);
		k->i4_to_float(dim, c, 0.25f, out);
		for (int i = 0; i < dim; i++)
			wrong_floats += out[i] != 0.25f * coordinate(c, i);
	}
	ok(wrong_ip == 0, "%s: i4_ip (%d wrong)", k->name, wrong_ip);
	ok(wrong_floats == 0, "%s: i4_to_float (%d wrong)", k->name, wrong_floats);
	free(out);
}

/*
 * Products with the code, times the scale, are those with the vector, within
 * the error of 4 bits; the product with the vector itself is exact.
 */
static void
test_encode(int dim, float size)
{
	float	   *x = malloc(sizeof(float) * dim);
	float	   *y = malloc(sizeof(float) * dim);
	uint8	   *c = malloc(dim / 2);
	double		square = 0;
	double		bias = 0;
	double		worst = 0;
	int			wrong = 0;

	for (int trial = 0; trial < 200; trial++)
	{
		double		own = 0;
		double		norm = 0;
		double		other = 0;
		double		truth = 0;
		double		estimate = 0;
		float		scale;

		for (int i = 0; i < dim; i++)
		{
			/* the sum of uniform ones is nearly normal */
			x[i] = (random_float(-1, 1) + random_float(-1, 1) + random_float(-1, 1)) * size;
			y[i] = random_float(-1, 1) + random_float(-1, 1) + random_float(-1, 1);
		}
		scale = scalar_encode_int4(dim, x, c);
		for (int i = 0; i < dim; i++)
		{
			own += (double) scale * coordinate(c, i) * (x[i] / size);
			norm += (double) x[i] * (x[i] / size);
			other += (double) y[i] * y[i];
			truth += (double) x[i] / size * y[i];
			estimate += (double) scale / size * coordinate(c, i) * y[i];
			wrong += (coordinate(c, i) > 0) != (x[i] > 0);
		}
		worst = fmax(worst, fabs(own / norm - 1));
		estimate = (estimate - truth) / sqrt(norm / size * other / dim);
		bias += estimate / 200;
		square += estimate * estimate / 200;
	}
	ok(wrong == 0, "%d dimensions up to %g: signs are right", dim, size);
	ok(worst < 1e-5, "%d dimensions up to %g: the product with itself is exact (%g)", dim, size, worst);
	ok(sqrt(square) < 0.14 && fabs(bias) < 0.04,
	   "%d dimensions up to %g: products within 0.14 |x| |y| / sqrt(dim) (%.3f, mean %.3f)",
	   dim, size, sqrt(square), bias);
	free(x);
	free(y);
	free(c);
}

static void
test_ends(void)
{
	static const float sizes[] = {0, 1e-45f, 1e-38f, 1e19f, FLT_MAX, INFINITY};
	float		x[64];
	uint8		c[32];

	for (int s = 0; s < lengthof(sizes); s++)
	{
		float		scale;

		for (int i = 0; i < 64; i++)
			x[i] = i % 2 ? sizes[s] : -sizes[s] / 3;
		scale = scalar_encode_int4(64, x, c);
		ok(scale >= 0 && scale * 15 <= FLT_MAX, "values of %g: a finite scale (%g)", sizes[s], scale);
	}
}

int
main(void)
{
	code_memory = guarded_alloc(MAX_DIM / 2);
	query_memory = guarded_alloc(MAX_DIM * sizeof(float));
	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
		if (distance_kernels(level) != NULL)
			test_kernels(distance_kernels(level));
	test_encode(64, 1);
	test_encode(768, 1);
	test_encode(768, 1e-30f);
	test_encode(1536, 1e30f);
	test_ends();
	return done_testing();
}
