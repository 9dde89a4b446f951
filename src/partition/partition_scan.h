/*-------------------------------------------------------------------------
 *
 * partition_scan.h
 *		Finding the few near pairs among many: inner loops of the builder.
 *
 * Distances are tested in chunks, of which most contain nothing that is
 * wanted.  Reading beyond the end of a row up to a whole chunk must be
 * possible; the caller masks those hits out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_PARTITION_SCAN_H
#define PIRAMID_PARTITION_SCAN_H

#include "partition/partition_build.h"

/* Pairs tested together. */
#define CHUNK 16
#define ALL_HITS 0xFFFFU

/* No candidate: greater than every key. */
#define NO_CANDIDATE PG_UINT64_MAX

/*
 * Distances below this may enter a list that ends with this key.  An equal one
 * may too, as equal distances are in scrambled order.
 */
static inline int32
limit_of(uint64 key)
{
	return key == NO_CANDIDATE ? PG_INT32_MAX : candidate_dist(key) + 1;
}

/*
 * Put a key in its place among ascending ones; the last one drops out, perhaps
 * the new one itself.  Where it belongs is unpredictable, so every place is
 * written, with conditional moves instead of a branch.
 */
static inline void
insert_best(uint64 *best, int nbest, uint64 key)
{
	uint64		here = best[nbest - 1];

	for (int pos = nbest - 1; pos > 0; pos--)
	{
		uint64		before = best[pos - 1];

		here = key < here ? key : here;
		best[pos] = key < before ? before : here;
		here = before;
	}
	best[0] = key < here ? key : here;
}

/*
 * Compute the distances of one row to a chunk of others from their products.
 * Returns a bit for each that is wanted by the row or by the other.
 */
static pg_attribute_always_inline uint32
chunk_hits(const int32 *products, const int32 *norms, const int32 *limits,
		   int32 norm, int32 limit, int32 *dist, PartitionMetric metric)
{
#ifdef __SSE2__
	__m128i		hit[CHUNK / 4];

	for (int c = 0; c < CHUNK / 4; c++)
	{
		__m128i		other = _mm_loadu_si128((const __m128i *) limits + c);
		__m128i		d = product_distances(metric, _mm_loadu_si128((const __m128i *) products + c),
										  _mm_loadu_si128((const __m128i *) norms + c),
										  _mm_set1_epi32(norm));

		_mm_storeu_si128((__m128i *) dist + c, d);
		hit[c] = _mm_or_si128(_mm_cmplt_epi32(d, other),
							  _mm_cmplt_epi32(d, _mm_set1_epi32(limit)));
	}
	return _mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(hit[0], hit[1]),
											 _mm_packs_epi32(hit[2], hit[3])));
#else
	uint32		hits = 0;

	for (int c = 0; c < CHUNK; c++)
	{
		dist[c] = product_distance(metric, products[c], norm, norms[c]);
		hits |= (uint32) ((dist[c] < limits[c]) | (dist[c] < limit)) << c;
	}
	return hits;
#endif
}

#endif							/* PIRAMID_PARTITION_SCAN_H */
