/*-------------------------------------------------------------------------
 *
 * scalar.c
 *		Scalar quantization of a node's own vector.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <float.h>
#include <math.h>

#include "quant/quant.h"

/*
 * x as binary16 times a power of two, chosen so that the largest element uses
 * the top of the range.  Whatever binary16 can hold stays exact.
 */
void
scalar_encode_half(int dim, const float *x, half *h, float *scale)
{
	float		largest = 0;
	int			exponent;
	float		factor;
	float		top;

	for (int i = 0; i < dim; i++)
		largest = Max(largest, fabsf(x[i]));

	/* largest = f * 2^exponent with f in [0.5, 1); 2^15 stays below 65504 */
	(void) frexpf(largest, &exponent);
	exponent = largest > 0 ? exponent - 15 : 0;
	exponent = Max(exponent, -126);
	*scale = ldexpf(1.0f, exponent);
	factor = ldexpf(1.0f, -exponent);

	/* Rounding must not make 2^128 out of what is just below. */
	top = exponent > 127 - 15 ? 32752 : 32768;

	for (int i = 0; i < dim; i += 64)
	{
		float		scaled[64];
		int			n = Min(64, dim - i);

		for (int j = 0; j < n; j++)
			scaled[j] = Min(Max(x[i + j] * factor, -top), top);
		distance->float_to_half(n, scaled, h + i);
	}
}

/* x as int8 times a scale that maps the largest element to 127. */
void
scalar_encode_int8(int dim, const float *x, int8 *c, float *scale)
{
	float		largest = 0;
	float		factor;

	for (int i = 0; i < dim; i++)
		largest = Max(largest, fabsf(x[i]));
	/* 127 times the scale must not round to infinity. */
	*scale = Min(largest, FLT_MAX * (1 - 4 * FLT_EPSILON)) / 127;
	factor = *scale > 0 ? 1 / *scale : 0;
	if (isinf(factor))
		factor = 0;
	for (int i = 0; i < dim; i++)
		c[i] = (int8) rintf(Min(Max(x[i] * factor, -127.0f), 127.0f));
}

/* Best step of a uniform quantizer of 16 levels for a unit normal (Max, 1960) */
#define INT4_STEP 0.3352f

/*
 * x (dim values, a multiple of 32) as odd numbers from -15 to 15 in 4 bits;
 * see i4_ip for their places.  Returns the scale by which products with other vectors
 * are unbiased over random rotations: |x|^2 / <c, x>.
 */
float
scalar_encode_int4(int dim, const float *x, uint8 *c)
{
	float		largest = 0;
	double		square = 0;
	double		product = 0;
	float		cells;

	for (int i = 0; i < dim; i++)
		largest = Max(largest, fabsf(x[i]));
	memset(c, 0, (uint32) dim / 2);
	if (!(largest > 0 && largest <= FLT_MAX))
		return 0;

	/* in units of the largest element: nothing overflows */
	for (int i = 0; i < dim; i++)
		square += (double) (x[i] / largest) * (x[i] / largest);
	cells = (float) (1 / (INT4_STEP * sqrt(square / dim)));
	for (int i = 0; i < dim; i++)
	{
		float		size = fabsf(x[i] / largest);
		int			magnitude = (int) Min(size * cells, 7.0f);
		int			level = x[i] > 0 ? 8 + magnitude : 7 - magnitude;

		product += size * (2 * magnitude + 1);
		c[i / 32 * 16 + i % 16] |= level << (i % 32 < 16 ? 0 : 4);
	}
	return (float) Min(largest * (square / product), FLT_MAX / 16);
}
