/*-------------------------------------------------------------------------
 *
 * vector.h
 *		The vector type: float32 elements in one varlena.
 *
 * The layout is pgvector's, byte for byte, so that stored columns can be
 * taken over in place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_VECTOR_H
#define PIRAMID_VECTOR_H

#include "fmgr.h"

#define VECTOR_MAX_DIM 16000

typedef struct Vector
{
	int32		vl_len_;		/* varlena header (do not touch directly) */
	int16		dim;			/* number of dimensions, 1..VECTOR_MAX_DIM */
	int16		unused;			/* reserved, always zero */
	float		x[FLEXIBLE_ARRAY_MEMBER];
} Vector;

StaticAssertDecl(offsetof(Vector, dim) == 4, "layout of vector is fixed");
StaticAssertDecl(offsetof(Vector, x) == 8, "layout of vector is fixed");

#define VECTOR_SIZE(dim) (offsetof(Vector, x) + sizeof(float) * (dim))

#define DatumGetVector(datum) ((Vector *) PG_DETOAST_DATUM(datum))
#define PG_GETARG_VECTOR_P(n) DatumGetVector(PG_GETARG_DATUM(n))
#define PG_RETURN_VECTOR_P(v) PG_RETURN_POINTER(v)

/* functions in vector.c */
extern Vector *vector_alloc(int dim);

#endif							/* PIRAMID_VECTOR_H */
