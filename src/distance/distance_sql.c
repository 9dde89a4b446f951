/*-------------------------------------------------------------------------
 *
 * distance_sql.c
 *		SQL functions for the distances between two vectors or bit strings,
 *		and the casts between dense types.
 *
 * The casts are here because they use the kernels that convert in bulk.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <math.h>

#include "distance/distance.h"
#include "type/halfvec.h"
#include "type/vec_common.h"
#include "type/vector.h"
#include "utils/float.h"
#include "utils/varbit.h"

/*
 * Dense vectors
 */

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

#define DIST_PREFIX vector
#define DIST_STRUCT Vector
#define DIST_KERNEL(name) distance->name
#include "distance/distance_sql_template.h"

#define DIST_PREFIX halfvec
#define DIST_STRUCT HalfVector
#define DIST_KERNEL(name) distance->halves_##name
#include "distance/distance_sql_template.h"

/* Cast from halfvec to vector: every half is a float. */
PG_FUNCTION_INFO_V1(halfvec_to_vector);
Datum
halfvec_to_vector(PG_FUNCTION_ARGS)
{
	HalfVector *a = PG_GETARG_HALFVEC_P(0);
	Vector	   *result;

	vec_check_expected_dim(PG_GETARG_INT32(1), a->dim, NULL);
	result = vector_alloc(a->dim);
	distance->half_to_float(a->dim, a->x, result->x);
	PG_RETURN_POINTER(result);
}

/* Cast from vector to halfvec: errors if an element is too large. */
PG_FUNCTION_INFO_V1(vector_to_halfvec);
Datum
vector_to_halfvec(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	HalfVector *result;

	vec_check_expected_dim(PG_GETARG_INT32(1), a->dim, NULL);
	result = halfvec_alloc(a->dim);
	distance->float_to_half(a->dim, a->x, result->x);
	for (int i = 0; i < a->dim; i++)
	{
		if (unlikely(HALF_IS_INF(result->x[i])))
			vec_float_range_error(a->x[i], "halfvec", NULL);
	}
	PG_RETURN_POINTER(result);
}

/*
 * Bit strings
 */

/* Declares the arguments a and b, which must have the same length. */
#define BIT_ARGS(a, b) \
	VarBit	   *a = PG_GETARG_VARBIT_P(0); \
	VarBit	   *b = PG_GETARG_VARBIT_P(1); \
\
	if (unlikely(VARBITLEN(a) != VARBITLEN(b))) \
		ereport(ERROR, \
				(errcode(ERRCODE_DATA_EXCEPTION), \
				 errmsg("different bit lengths %d and %d", \
						VARBITLEN(a), VARBITLEN(b))))

/* Number of bits that differ. */
PG_FUNCTION_INFO_V1(hamming_distance);
Datum
hamming_distance(PG_FUNCTION_ARGS)
{
	BIT_ARGS(a, b);

	PG_RETURN_FLOAT8(distance->hamming(VARBITBYTES(a), VARBITS(a), VARBITS(b)));
}

/*
 * One minus the share of the bits set in both among those set in either; 1 if
 * they have none in common, even if no bit is set at all.
 */
PG_FUNCTION_INFO_V1(jaccard_distance);
Datum
jaccard_distance(PG_FUNCTION_ARGS)
{
	uint32		both;
	uint32		either;
	BIT_ARGS(a, b);

	distance->bit_counts(VARBITBYTES(a), VARBITS(a), VARBITS(b), &both, &either);
	PG_RETURN_FLOAT8(both == 0 ? 1 : 1 - (double) both / either);
}
