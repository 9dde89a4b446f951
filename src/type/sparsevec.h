/*-------------------------------------------------------------------------
 *
 * sparsevec.h
 *		The sparsevec type: the non-zero elements of a vector, with their
 *		positions.
 *
 * The layout is pgvector's, byte for byte, so that stored columns can be
 * taken over in place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_SPARSEVEC_H
#define PIRAMID_SPARSEVEC_H

#include "fmgr.h"

#define SPARSEVEC_MAX_DIM 1000000000
#define SPARSEVEC_MAX_NNZ 16000

/* The nnz values (float4) follow the indices. */
typedef struct SparseVector
{
	int32		vl_len_;		/* varlena header (do not touch directly) */
	int32		dim;			/* number of dimensions, 1..SPARSEVEC_MAX_DIM */
	int32		nnz;			/* non-zero elements, 0..SPARSEVEC_MAX_NNZ */
	int32		unused;			/* reserved, always zero */
	int32		indices[FLEXIBLE_ARRAY_MEMBER];	/* from 0, ascending */
} SparseVector;

StaticAssertDecl(offsetof(SparseVector, dim) == 4, "layout of sparsevec is fixed");
StaticAssertDecl(offsetof(SparseVector, indices) == 16, "layout of sparsevec is fixed");

#define SPARSEVEC_SIZE(nnz) \
	(offsetof(SparseVector, indices) + (nnz) * (sizeof(int32) + sizeof(float)))
#define SPARSEVEC_VALUES(v) ((float *) ((v)->indices + (v)->nnz))

#define DatumGetSparseVector(datum) ((SparseVector *) PG_DETOAST_DATUM(datum))
#define PG_GETARG_SPARSEVEC_P(n) DatumGetSparseVector(PG_GETARG_DATUM(n))

/* functions in sparsevec.c */
extern SparseVector *sparsevec_alloc(int dim, int nnz);

#endif							/* PIRAMID_SPARSEVEC_H */
