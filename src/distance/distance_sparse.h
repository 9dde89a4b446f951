/*-------------------------------------------------------------------------
 *
 * distance_sparse.h
 *		Distances between two sparse vectors.
 *
 * A sparse vector is n indices, ascending and different, and as many values;
 * all elements at other indices are zero.  Sums are taken in double and
 * rounded to float once, so that a distance beyond float is infinite, as with
 * the dense kernels.  Like those, the functions are plain C without any
 * dependency on the backend.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_DISTANCE_SPARSE_H
#define PIRAMID_DISTANCE_SPARSE_H

#include "c.h"

/* functions in distance_sparse.c */
extern float sparse_l2sq(int an, const int32 *aindices, const float *avalues,
						 int bn, const int32 *bindices, const float *bvalues);	/* sum (a-b)^2 */
extern float sparse_ip(int an, const int32 *aindices, const float *avalues,
					   int bn, const int32 *bindices, const float *bvalues);	/* sum a*b */
extern float sparse_l1(int an, const int32 *aindices, const float *avalues,
					   int bn, const int32 *bindices, const float *bvalues);	/* sum |a-b| */
extern float sparse_normsq(int n, const float *values); /* sum a*a */

#endif							/* PIRAMID_DISTANCE_SPARSE_H */
