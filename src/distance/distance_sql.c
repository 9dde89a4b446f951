/*-------------------------------------------------------------------------
 *
 * distance_sql.c
 *		SQL functions for the distances between two vectors.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <math.h>

#include "distance/distance.h"
#include "type/vec_common.h"
#include "type/vector.h"
#include "utils/float.h"

/* Declares the arguments a and b, which must have the same dimensions. */
#define VECTOR_ARGS(a, b) \
	Vector	   *a = PG_GETARG_VECTOR_P(0); \
	Vector	   *b = PG_GETARG_VECTOR_P(1); \
\
	vec_check_same_dim(a->dim, b->dim, "vector")

/* Euclidean distance. */
PG_FUNCTION_INFO_V1(vector_l2_distance);
Datum
vector_l2_distance(PG_FUNCTION_ARGS)
{
	VECTOR_ARGS(a, b);

	PG_RETURN_FLOAT8(sqrt((double) distance->l2sq(a->dim, a->x, b->x)));
}

/* Square of the Euclidean distance, which orders rows alike. */
PG_FUNCTION_INFO_V1(vector_l2_squared_distance);
Datum
vector_l2_squared_distance(PG_FUNCTION_ARGS)
{
	VECTOR_ARGS(a, b);

	PG_RETURN_FLOAT8((double) distance->l2sq(a->dim, a->x, b->x));
}

/* Inner product. */
PG_FUNCTION_INFO_V1(vector_inner_product);
Datum
vector_inner_product(PG_FUNCTION_ARGS)
{
	VECTOR_ARGS(a, b);

	PG_RETURN_FLOAT8((double) distance->ip(a->dim, a->x, b->x));
}

/* Negative inner product, so that the nearest come first. */
PG_FUNCTION_INFO_V1(vector_negative_inner_product);
Datum
vector_negative_inner_product(PG_FUNCTION_ARGS)
{
	VECTOR_ARGS(a, b);

	PG_RETURN_FLOAT8(-(double) distance->ip(a->dim, a->x, b->x));
}

/* A cosine computed with rounding errors, back in its range; NaN stays. */
static double
clamp_cosine(double cosine)
{
	if (cosine > 1)
		return 1;
	if (cosine < -1)
		return -1;
	return cosine;
}

/*
 * Cosine distance, 1 - cos(a, b).  NaN if a vector is zero, or so small or
 * large that its squared norm is zero or infinite: there is no true answer
 * then, and NaN sorts last.
 */
PG_FUNCTION_INFO_V1(vector_cosine_distance);
Datum
vector_cosine_distance(PG_FUNCTION_ARGS)
{
	float		dot;
	float		asq;
	float		bsq;
	VECTOR_ARGS(a, b);

	distance->dot_norms(a->dim, a->x, b->x, &dot, &asq, &bsq);
	if (asq == 0 || bsq == 0 || isinf(asq) || isinf(bsq))
		PG_RETURN_FLOAT8(get_float8_nan());
	/* The product of two floats never overflows a double. */
	PG_RETURN_FLOAT8(1 - clamp_cosine(dot / sqrt((double) asq * (double) bsq)));
}

/*
 * Angle between two vectors of norm 1, divided by pi.  Unlike the cosine
 * distance it satisfies the triangle inequality.
 */
PG_FUNCTION_INFO_V1(vector_spherical_distance);
Datum
vector_spherical_distance(PG_FUNCTION_ARGS)
{
	VECTOR_ARGS(a, b);

	PG_RETURN_FLOAT8(acos(clamp_cosine(distance->ip(a->dim, a->x, b->x))) / M_PI);
}

/* Manhattan distance. */
PG_FUNCTION_INFO_V1(vector_l1_distance);
Datum
vector_l1_distance(PG_FUNCTION_ARGS)
{
	VECTOR_ARGS(a, b);

	PG_RETURN_FLOAT8((double) distance->l1(a->dim, a->x, b->x));
}
