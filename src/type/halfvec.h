/*-------------------------------------------------------------------------
 *
 * halfvec.h
 *		The halfvec type: binary16 elements in one varlena.
 *
 * The layout is pgvector's, byte for byte, so that stored columns can be
 * taken over in place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HALFVEC_H
#define PIRAMID_HALFVEC_H

#include "fmgr.h"

#include "type/half.h"

#define HALFVEC_MAX_DIM 16000

typedef struct HalfVector
{
	int32		vl_len_;		/* varlena header (do not touch directly) */
	int16		dim;			/* number of dimensions, 1..HALFVEC_MAX_DIM */
	int16		unused;			/* reserved, always zero */
	half		x[FLEXIBLE_ARRAY_MEMBER];
} HalfVector;

StaticAssertDecl(offsetof(HalfVector, dim) == 4, "layout of halfvec is fixed");
StaticAssertDecl(offsetof(HalfVector, x) == 8, "layout of halfvec is fixed");

#define DatumGetHalfVector(datum) ((HalfVector *) PG_DETOAST_DATUM(datum))
#define PG_GETARG_HALFVEC_P(n) DatumGetHalfVector(PG_GETARG_DATUM(n))

/* functions in halfvec.c */
extern HalfVector *halfvec_alloc(int dim);

#endif							/* PIRAMID_HALFVEC_H */
