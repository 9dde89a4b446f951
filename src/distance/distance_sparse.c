/*-------------------------------------------------------------------------
 *
 * distance_sparse.c
 *		Distances between two sparse vectors.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance_sparse.h"

#include <math.h>

float
sparse_ip(int an, const int32 *aindices, const float *avalues,
		  int bn, const int32 *bindices, const float *bvalues)
{
	double		sum = 0;

	for (int i = 0, j = 0; i < an && j < bn;)
	{
		int32		x = aindices[i];
		int32		y = bindices[j];

		if (x == y)
			sum += (double) avalues[i] * bvalues[j];
		i += (x <= y);
		j += (y <= x);
	}
	return (float) sum;
}

#define SPARSE_SUM(name, term) \
float \
name(int an, const int32 *aindices, const float *avalues, \
	 int bn, const int32 *bindices, const float *bvalues) \
{ \
	double		sum = 0; \
	double		d; \
	int			i = 0; \
	int			j = 0; \
\
	while (i < an && j < bn) \
	{ \
		int32		x = aindices[i]; \
		int32		y = bindices[j]; \
\
		d = (x <= y ? (double) avalues[i] : 0) - (y <= x ? (double) bvalues[j] : 0); \
		sum += term; \
		i += (x <= y); \
		j += (y <= x); \
	} \
	for (; i < an; i++) \
	{ \
		d = avalues[i]; \
		sum += term; \
	} \
	for (; j < bn; j++) \
	{ \
		d = bvalues[j]; \
		sum += term; \
	} \
	return (float) sum; \
}

SPARSE_SUM(sparse_l2sq, d * d)
SPARSE_SUM(sparse_l1, fabs(d))

float
sparse_normsq(int n, const float *values)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double) values[i] * values[i];
	return (float) sum;
}
