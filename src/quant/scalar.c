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
