/*-------------------------------------------------------------------------
 *
 * distance_sparse_sql.c
 *		SQL functions for the distances between two sparse vectors.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <math.h>

#include "distance/distance_sparse.h"
#include "type/sparsevec.h"
#include "type/vec_common.h"
#include "utils/float.h"

/* Declares the arguments a and b, which must have the same dimensions. */
#define SPARSEVEC_ARGS(a, b) \
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0); \
	SparseVector *b = PG_GETARG_SPARSEVEC_P(1); \
\
	vec_check_same_dim(a->dim, b->dim, "sparsevec")

/* A kernel's arguments. */
#define SPARSEVEC_PARTS(v) (v)->nnz, (v)->indices, SPARSEVEC_VALUES(v)

/* Euclidean distance. */
PG_FUNCTION_INFO_V1(sparsevec_l2_distance);
Datum
sparsevec_l2_distance(PG_FUNCTION_ARGS)
{
	SPARSEVEC_ARGS(a, b);

	PG_RETURN_FLOAT8(sqrt((double) sparse_l2sq(SPARSEVEC_PARTS(a), SPARSEVEC_PARTS(b))));
}

/* Square of the Euclidean distance, which orders rows alike. */
PG_FUNCTION_INFO_V1(sparsevec_l2_squared_distance);
Datum
sparsevec_l2_squared_distance(PG_FUNCTION_ARGS)
{
	SPARSEVEC_ARGS(a, b);

	PG_RETURN_FLOAT8((double) sparse_l2sq(SPARSEVEC_PARTS(a), SPARSEVEC_PARTS(b)));
}

/* Inner product. */
PG_FUNCTION_INFO_V1(sparsevec_inner_product);
Datum
sparsevec_inner_product(PG_FUNCTION_ARGS)
{
	SPARSEVEC_ARGS(a, b);

	PG_RETURN_FLOAT8((double) sparse_ip(SPARSEVEC_PARTS(a), SPARSEVEC_PARTS(b)));
}

/* Negative inner product, so that the nearest come first. */
PG_FUNCTION_INFO_V1(sparsevec_negative_inner_product);
Datum
sparsevec_negative_inner_product(PG_FUNCTION_ARGS)
{
	SPARSEVEC_ARGS(a, b);

	PG_RETURN_FLOAT8(-(double) sparse_ip(SPARSEVEC_PARTS(a), SPARSEVEC_PARTS(b)));
}

/*
 * Cosine distance, 1 - cos(a, b).  NaN if a vector is zero, or so small or
 * large that its squared norm is zero or infinite, as for dense vectors.
 */
PG_FUNCTION_INFO_V1(sparsevec_cosine_distance);
Datum
sparsevec_cosine_distance(PG_FUNCTION_ARGS)
{
	float		asq;
	float		bsq;
	double		cosine;
	SPARSEVEC_ARGS(a, b);

	asq = sparse_normsq(a->nnz, SPARSEVEC_VALUES(a));
	bsq = sparse_normsq(b->nnz, SPARSEVEC_VALUES(b));
	if (asq == 0 || bsq == 0 || isinf(asq) || isinf(bsq))
		PG_RETURN_FLOAT8(get_float8_nan());
	cosine = sparse_ip(SPARSEVEC_PARTS(a), SPARSEVEC_PARTS(b)) /
		sqrt((double) asq * (double) bsq);
	/* Rounding may have left the range of a cosine. */
	PG_RETURN_FLOAT8(1 - Min(Max(cosine, -1), 1));
}

/* Taxicab distance. */
PG_FUNCTION_INFO_V1(sparsevec_l1_distance);
Datum
sparsevec_l1_distance(PG_FUNCTION_ARGS)
{
	SPARSEVEC_ARGS(a, b);

	PG_RETURN_FLOAT8((double) sparse_l1(SPARSEVEC_PARTS(a), SPARSEVEC_PARTS(b)));
}
