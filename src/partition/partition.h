/*-------------------------------------------------------------------------
 *
 * partition.h
 *		The build's neighbour graph, made by overlapping partitions.
 *
 * Input: n vectors as int8 (one common scale), rows "stride" bytes apart,
 * stride a multiple of 64, padding zero.  Output: for every vector a full list
 * of neighbours, the diverse ones first.  See README.md.
 *
 * The functions use palloc, and elog/CHECK_FOR_INTERRUPTS only through the
 * callback, so that a unit test can link them outside the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_PARTITION_H
#define PIRAMID_PARTITION_H

#include "c.h"

typedef enum PartitionMetric
{
	PARTITION_L2,
	PARTITION_L1,
	PARTITION_JACCARD			/* of vectors of 0 and 1 */
} PartitionMetric;

/*
 * Several processes that build one graph together.  All call partition_build
 * with the same arguments, and all but their own scratch memory is in "memory",
 * which all have: partition_memory() bytes, at an address of each one's own.
 */
typedef struct PartitionTeam
{
	void	   *arg;
	int			members;
	bool		leader;			/* one of them */
	char	   *memory;
	/* Number of calls for this task by all members before this one */
	uint32		(*claim) (void *arg, int task);
	/* Returns when all members have called it; may throw (longjmp). */
	void		(*wait) (void *arg);
	/* Protects what belongs to a row; held for less than a microsecond. */
	void		(*lock) (void *arg, uint32 row);
	void		(*unlock) (void *arg, uint32 row);
} PartitionTeam;

/* What is shared begins at multiples of this: no two members write into one cache line. */
#define PARTITION_ALIGN 64

/* Tasks that a team claims, numbered from 0 */
#define PARTITION_TASKS 8

/* Of squared Euclidean distances: 1.1 for true ones, as Vamana's alpha */
#define PARTITION_SLACK 1.21f

typedef struct PartitionParams
{
	PartitionMetric metric;
	int			degree;			/* links per node, at least 2; every list has
								 * min(degree, n - 1) */
	int			quality;		/* ef_construction: more is better and slower */
	float		slack;			/* a candidate c is dropped if slack * d(c, kept) < d(c, row),
								 * with d squared for L2; at least 1, 0 for PARTITION_SLACK */
	uint64		seed;
	int			extra;			/* inner product: 1 + the coordinate that makes all rows
								 * equally long; 0: none */
	const float *times;			/* inner product: how many times as long as its vector
								 * each row is, for hubs alone; NULL: once */
	uint32		nguests;		/* the last so many rows get no links of their own */
	/* Called often with the fraction done, 0..1; may throw (longjmp). */
	void		(*progress) (void *arg, double fraction);
	void	   *progress_arg;
	PartitionTeam *team;		/* NULL: this process alone */

	/*
	 * If the vectors are only sketches (PARTITION_L2): the true squared
	 * distance of two rows in the same unit, by which candidates are chosen
	 * from.  Many calls with the same "a" come one after another.
	 */
	int32		(*distance) (void *arg, uint32 a, uint32 b);
	void	   *distance_arg;
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
 * the same graph, whatever the team.  Works for any n >= 0, any duplicates.
 * Every row but guests has at least one incoming link if there are two such
 * rows, and can be reached from row 0 by links among them.  A guest may have
 * none: it has its place in a graph of its own.
 *
 * All members of a team return the same graph, in the team's memory.
 */
extern PartitionGraph *partition_build(uint32 n, const int8 *vectors, int stride,
									   const PartitionParams *params);
extern void partition_free(PartitionGraph *graph);

/*
 * Rows that the matrix kernel multiplies with others in one call.  It packs the
 * others' columns each time, which is then a small part of the work.
 */
#define PARTITION_BLOCK 128

/* A division of the space into the cells of pivots; see partition_pivots.c. */
typedef struct PartitionPivots
{
	int			n;
	int			stride;
	PartitionMetric metric;
	int8	   *vectors;
	int32	   *norms;
	int32	   *products;		/* room: of PARTITION_BLOCK rows with all */
} PartitionPivots;

/* Pivots of each row in one call of partition_nearest */
#define PARTITION_NEAREST 3

extern PartitionPivots *partition_pivots(uint32 n, const int8 *vectors, int stride,
										 const PartitionParams *params, int npivots);
extern void partition_nearest(PartitionPivots *pivots, int count, const int8 *vectors,
							  int nearest, uint16 *which, float *margins);
extern void partition_pivots_free(PartitionPivots *pivots);

#endif							/* PIRAMID_PARTITION_H */
