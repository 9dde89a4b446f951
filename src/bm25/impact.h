/*-------------------------------------------------------------------------
 *
 * impact.h
 *		Weights of sparse vectors as impacts: small numbers in the place of a word's
 *		frequency.  README-sparse.md.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_BM25_IMPACT_H
#define PIRAMID_BM25_IMPACT_H

#include "c.h"

#include <math.h>

/*
 * An impact is the upper end of a float4: its exponent and IMPACT_BITS bits of its
 * fraction, rounded up, counted from 2^-96, which stands for all that is smaller, too.
 * So no weight is above its impact's, and each but the least is above the one before's.
 */
#define IMPACT_BITS 5
#define IMPACT_SHIFT (23 - IMPACT_BITS)
#define IMPACT_LEAST ((uint32) (127 - 96) << IMPACT_BITS)

/* Above the largest float: there is no larger impact. */
#define IMPACT_MOST (((uint32) 255 << IMPACT_BITS) - IMPACT_LEAST + 1)

/* Halves of weights are what is computed with: that of the largest impact is finite. */
#define IMPACT_BASE (IMPACT_LEAST - 1 - ((uint32) 1 << IMPACT_BITS))

/* Truncation may take one point, and what is too small for a float another. */
#define IMPACT_MARGIN 2

static inline uint32
bm25_impact_of(float weight)
{
	uint32		bits;

	weight = fabsf(weight);
	memcpy(&bits, &weight, sizeof(bits));
	bits = (bits + ((uint32) 1 << IMPACT_SHIFT) - 1) >> IMPACT_SHIFT;
	return bits > IMPACT_LEAST ? bits - IMPACT_LEAST + 1 : 1;
}

/* Half of the weight that an impact stands for */
static inline float
bm25_impact_half(uint32 impact)
{
	uint32		bits = (impact + IMPACT_BASE) << IMPACT_SHIFT;
	float		half;

	memcpy(&half, &bits, sizeof(half));
	return half;
}

/* Points that no weight of an impact comes above; "scaled" is the query's for halves. */
static inline uint32
bm25_impact_points(float scaled, uint32 impact)
{
	return (uint32) (scaled * bm25_impact_half(impact)) + IMPACT_MARGIN;
}

/* Points that each weight of an impact comes up to */
static inline uint32
bm25_impact_least_points(float scaled, uint32 impact)
{
	float		points = impact > 1 ? scaled * bm25_impact_half(impact - 1) : 0;

	if (points < IMPACT_MARGIN)
		return 0;
	return points < 2147483648.0f ? (uint32) points - IMPACT_MARGIN : PG_INT32_MAX;
}

/*
 * Add what an impact makes of a row's points.  A negative weight takes some away, but
 * leaves the row with at least one: it has a term of the query's.  So it does not matter
 * in which order they come, as long as those that are for the row come first.
 */
static inline uint32
bm25_add_impact(uint32 points, float scaled, uint32 impact)
{
	uint32		less;

	if (scaled >= 0)
		return points + bm25_impact_points(scaled, impact);
	less = bm25_impact_least_points(-scaled, impact);
	return points > less ? points - less : Min(points, 1);
}

#endif							/* PIRAMID_BM25_IMPACT_H */
