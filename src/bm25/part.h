/*-------------------------------------------------------------------------
 *
 * part.h
 *		What a document gets of a term's weight.  README.md, "Score".
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_BM25_PART_H
#define PIRAMID_BM25_PART_H

#include "c.h"

/* What k1, b and the statistics make of a document's length */
typedef struct Bm25Norm
{
	float		n0;				/* k1 (1 - b) */
	float		n1;				/* k1 b / average length */
} Bm25Norm;

/* A term's weight times 2^shift */
typedef struct Bm25Weight
{
	float		scaled;
	Bm25Norm	norm;
	bool		impact;			/* of sparse vectors: no norm, and no lengths (impact.h) */
} Bm25Weight;

static inline Bm25Norm
bm25_norm(float k1, float b, float avglen)
{
	return (Bm25Norm) {k1 * (1 - b), avglen > 0 ? k1 * b / avglen : 0};
}

/* The part of a term's weight that a document gets */
static inline float
bm25_part(Bm25Norm norm, uint32 tf, uint32 length)
{
	float		n = norm.n1 * (float) length;

	n = norm.n0 + n;
	return (float) tf / ((float) tf + n);
}

/* The points of a posting; at least one, so that a match is told from none. */
static inline uint32
bm25_points(float scaled, Bm25Norm norm, uint32 tf, uint32 length)
{
	uint32		points = (uint32) (scaled * bm25_part(norm, tf, length) + 0.5f);

	return Max(points, 1);
}

#endif							/* PIRAMID_BM25_PART_H */
