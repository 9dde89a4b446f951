/*-------------------------------------------------------------------------
 *
 * partition_build.h
 *		What the files of the partition builder share; nobody else includes it.
 *
 * A candidate is one uint64, its distance above and a scrambled row number
 * below, so that candidates of one row are ordered by one comparison, equal
 * distances fall in an order that differs from row to row (or else all rows
 * would link to the same few of many equidistant ones), and the same
 * neighbour found in two leaves gives the same key twice.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_PARTITION_BUILD_H
#define PIRAMID_PARTITION_BUILD_H

#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "common/pg_prng.h"
#include "partition/partition.h"
#include "partition/partition_metric.h"

typedef struct PartitionBuild
{
	const PartitionParams *params;
	const PartitionMetricInfo *metric;
	uint32		n;
	const int8 *vectors;
	int			stride;

	/* How much work to do, derived from the parameters. */
	int			degree;
	float		slack;			/* of params, or its default */
	int			overlap;		/* partitions that each row joins */
	int			pivots;			/* partitions of the first split */
	int			leaf_max;		/* rows in a leaf */
	int			leaf_best;		/* candidates that each row takes from a leaf */
	int			width;			/* candidates kept per row */
	int			forward;		/* diverse links per row before reverse ones */

	int32	   *norms;			/* squared norm of each row */
	uint32	   *same_as;		/* first row with the same vector; NULL if all
								 * differ */
	uint32		ndistinct;		/* rows that are their own same_as */
	uint32		nhome;			/* rows that are not guests */
	uint32	   *order;			/* these rows, near ones together */
	uint64	   *lists;			/* n * width candidates, ascending */
	uint16	   *counts;			/* used candidates of each row */

	pg_prng_state random;
	PartitionTeam *team;
	Size		used;			/* bytes of the team's memory */
	uint32		claims[PARTITION_TASKS];	/* without a team */

	double		progress_base;	/* fraction done before the current phase */
	double		progress_span;	/* fraction that the current phase takes */
	double		progress_done;	/* part of the current phase that is done */
} PartitionBuild;

/* Rows between two progress reports, where little is done for each */
#define ROWS_PER_REPORT 1024

/* Is this row built into the graph, not a copy of an earlier one? */
#define ROW_IS_DISTINCT(build, row) \
	((build)->same_as == NULL || (build)->same_as[row] == (row))

#define ROW_VECTOR(build, row) \
	((build)->vectors + (Size) (row) * (build)->stride)
#define ROW_LIST(build, row) \
	((build)->lists + (Size) (row) * (build)->width)

/* The row's links are written over its candidates; see prune_rows. */
#define ROW_LINKS(build, row) ((uint32 *) ROW_LIST(build, row))

/* Multiplication by an odd number is a bijection of uint32; so is its undoing. */
#define SCRAMBLE 0x9E3779B1U
#define UNSCRAMBLE 0x0E8B2F51U

StaticAssertDecl((uint32) (SCRAMBLE * UNSCRAMBLE) == 1,
				 "scrambling can be undone");

static inline uint32
row_mask(uint32 row)
{
	uint32		h = row * 0x85EBCA6BU;

	return h ^ (h >> 15);
}

/* The candidate "neighbour" of "row". */
static inline uint64
candidate_key(int32 dist, uint32 row, uint32 neighbour)
{
	return ((uint64) dist << 32) |
		(uint32) ((neighbour ^ row_mask(row)) * SCRAMBLE);
}

static inline uint32
candidate_row(uint64 key, uint32 row)
{
	return (uint32) ((uint32) key * UNSCRAMBLE) ^ row_mask(row);
}

static inline int32
candidate_dist(uint64 key)
{
	return (int32) (key >> 32);
}

/* What members do together; each phase has its own. */
typedef enum PartitionTask
{
	TASK_NORMS,
	TASK_ASSIGN,
	TASK_LEAVES,
	TASK_DIVERSE,
	TASK_COUNT_REVERSE,
	TASK_FILL_REVERSE,
	TASK_REVERSE,
	TASK_HUBS
} PartitionTask;

StaticAssertDecl(TASK_HUBS < PARTITION_TASKS, "a team has enough tasks");

/* Does this process do what only one must? */
static inline bool
is_leader(const PartitionBuild *build)
{
	return build->team == NULL || build->team->leader;
}

/* The next unit of a task. */
static inline uint32
claim(PartitionBuild *build, PartitionTask task)
{
	if (build->team == NULL)
		return build->claims[task]++;
	return build->team->claim(build->team->arg, task);
}

/* Units of "size" of a task over "total": false at the end. */
static inline bool
claim_range(PartitionBuild *build, PartitionTask task, uint32 size, uint32 total,
			uint32 *from, uint32 *to)
{
	uint64		start = (uint64) claim(build, task) * size;

	*from = (uint32) Min(start, total);
	*to = (uint32) Min(start + size, total);
	return *from < *to;
}

/* Wait for the whole team. */
static inline void
wait_for_team(PartitionBuild *build)
{
	if (build->team != NULL)
		build->team->wait(build->team->arg);
}

/* functions in partition.c */
extern void *partition_alloc(Size size);
extern void *partition_share(PartitionBuild *build, Size size);
extern void partition_unshare(PartitionBuild *build, void *memory);
extern void partition_progress(PartitionBuild *build, double fraction);
extern void partition_tick(PartitionBuild *build);
extern int32 partition_distance(PartitionBuild *build, uint32 a, uint32 b);
extern void partition_products(PartitionBuild *build, int na, const int8 *a,
							   int nb, const int8 *b, int32 *out, int ldo);

/* functions in partition_leaf.c */
typedef struct LeafScratch LeafScratch;
extern Size leaf_memory(const PartitionBuild *build);
extern LeafScratch *leaf_scratch(PartitionBuild *build);
extern void leaf_free(LeafScratch *scratch);
extern void leaf_join(PartitionBuild *build, LeafScratch *scratch,
					  const uint32 *rows, int nrows);

/* functions in partition_split.c */
extern Size split_memory(const PartitionBuild *build);
extern void split_rows(PartitionBuild *build);

/* functions in partition_prune.c */
extern Size prune_memory(const PartitionBuild *build);
extern void prune_rows(PartitionBuild *build, PartitionGraph *graph);

/* functions in partition_hubs.c */
extern Size hubs_memory(const PartitionBuild *build);
extern void link_hubs(PartitionBuild *build, PartitionGraph *graph);

/* functions in partition_connect.c */
extern Size connect_memory(const PartitionBuild *build);
extern void connect_rows(PartitionBuild *build, PartitionGraph *graph);

#endif							/* PIRAMID_PARTITION_BUILD_H */
