/*-------------------------------------------------------------------------
 *
 * partition.h
 *		The build's neighbour graph, made by overlapping partitions.
 *
 * Input: n vectors as int8 (one common scale), rows "stride" bytes apart,
 * stride a multiple of 64, padding zero.  Output: for every vector a full list
 * of neighbours, the diverse ones first.  See README-build.md.
 *
 * The functions use palloc, and elog/CHECK_FOR_INTERRUPTS only through the
 * callback, so that a unit test can link them outside the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_PARTITION_H
#define PIRAMID_HNSW_PARTITION_H

#include "c.h"

typedef enum PartitionMetric
{
	PARTITION_L2,
	PARTITION_L1
} PartitionMetric;

typedef struct PartitionParams
{
	PartitionMetric metric;
	int			degree;			/* links per node, at least 2; every list has
								 * min(degree, n - 1) */
	int			quality;		/* ef_construction: more is better and slower */
	uint64		seed;
	/* Called often with the fraction done, 0..1; may throw (longjmp). */
	void		(*progress) (void *arg, double fraction);
	void	   *progress_arg;
} PartitionParams;

typedef struct PartitionGraph
{
	uint32		n;
	int			degree;
	uint32	   *links;			/* n * degree row numbers; unused ones at the end */
	uint16	   *nlinks;			/* used links of each row */
	uint16	   *nkept;			/* of these, the first so many are diverse,
								 * nearest first; the others may be replaced */
} PartitionGraph;

/*
 * Peak bytes that partition_build will allocate, result included.  The lists
 * of candidates grow with the degree, the partitions with the quality: about
 * 510 bytes per row for 32 links, 680 for 48.
 */
extern Size partition_memory(uint32 n, int stride, const PartitionParams *params);

/*
 * Build the graph.  Everything is allocated in CurrentMemoryContext; all but
 * the result is freed, unless progress throws.  The same input and seed give
 * the same graph.  Works for any n >= 0, any duplicates.  Every node has
 * at least one incoming link if n > 1, and the graph is strongly navigable:
 * every node can be reached from node 0.
 */
extern PartitionGraph *partition_build(uint32 n, const int8 *vectors, int stride,
									   const PartitionParams *params);
extern void partition_free(PartitionGraph *graph);

#endif							/* PIRAMID_HNSW_PARTITION_H */
