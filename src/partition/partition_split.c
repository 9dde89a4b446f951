/*-------------------------------------------------------------------------
 *
 * partition_split.c
 *		Overlapping partitions of the rows, down to the leaves.
 *
 *-------------------------------------------------------------------------
 */
#include "partition/partition_scan.h"
#include "port/pg_bitutils.h"

/* Partitions of one split; the second and later splits aim at half a leaf. */
#define MAX_PIVOTS 1000

/*
 * The pivots of one split, and room for one block of rows.
 */
typedef struct Split
{
	int			npivots;
	int			nearest;		/* partitions that each row joins */
	int8	   *pivots;
	int32	   *norms;
	int32		limits[CHUNK];	/* what pivots want: nothing */
	int8	   *vectors;		/* a block of rows, gathered */
	int32	   *products;		/* of a block of rows with the pivots */
	int			ldo;
	uint64	   *best;			/* the nearest pivots of one row, ascending */
} Split;

static Size
split_size(const PartitionBuild *build, int npivots, int nearest)
{
	Size		columns = TYPEALIGN(CHUNK, npivots);

	return columns * (build->stride + sizeof(int32) * (1 + PARTITION_BLOCK)) +
		(Size) PARTITION_BLOCK * build->stride + nearest * sizeof(uint64);
}

Size
split_memory(const PartitionBuild *build)
{
	Size		members = (Size) build->n * build->overlap;

	return members * (sizeof(uint32) + sizeof(uint16)) +
		split_size(build, build->pivots, build->overlap) +
		split_size(build, MAX_PIVOTS, 1) +
		leaf_memory(build);
}

/*
 * Choose pivots at random, distinct ones, among "rows" or, if that is NULL,
 * among all distinct rows.
 */
static Split *
split_begin(PartitionBuild *build, const uint32 *rows, Size nrows,
			int npivots, int nearest)
{
	Split	   *split = palloc0(sizeof(Split));
	Size		columns = TYPEALIGN(CHUNK, npivots);
	Size		left = nrows;
	int			chosen = 0;

	split->npivots = npivots;
	split->nearest = Min(nearest, npivots);
	split->ldo = columns;
	split->pivots = partition_alloc(columns * build->stride);
	split->norms = partition_alloc(columns * sizeof(int32));
	memset(split->norms, 0, columns * sizeof(int32));
	split->vectors = partition_alloc((Size) PARTITION_BLOCK * build->stride);
	split->products = partition_alloc(columns * PARTITION_BLOCK * sizeof(int32));
	memset(split->products, 0, columns * PARTITION_BLOCK * sizeof(int32));
	split->best = partition_alloc(split->nearest * sizeof(uint64));

	for (int c = 0; c < CHUNK; c++)
		split->limits[c] = PG_INT32_MIN;

	/* Selection sampling: each row has the same chance. */
	for (uint32 i = 0; chosen < npivots; i++)
	{
		uint32		row = rows != NULL ? rows[i] : i;

		if (rows == NULL && !ROW_IS_DISTINCT(build, row))
			continue;
		if (pg_prng_uint64_range(&build->random, 0, left - 1) <
			(uint64) (npivots - chosen))
		{
			memcpy(split->pivots + (Size) chosen * build->stride,
				   ROW_VECTOR(build, row), build->stride);
			split->norms[chosen] = build->norms[row];
			chosen++;
		}
		left--;
	}
	return split;
}

static void
split_end(Split *split)
{
	pfree(split->pivots);
	pfree(split->norms);
	pfree(split->vectors);
	pfree(split->products);
	pfree(split->best);
	pfree(split);
}

/*
 * Find the nearest pivots of a row, given its products with all of them.
 */
static pg_attribute_always_inline void
nearest_pivots(PartitionBuild *build, Split *split, uint32 row,
			   const int32 *products, PartitionMetric metric)
{
	int32		limit = PG_INT32_MAX;

	for (int i = 0; i < split->nearest; i++)
		split->best[i] = NO_CANDIDATE;
	for (int from = 0; from < split->npivots; from += CHUNK)
	{
		int32		dist[CHUNK];
		uint32		hits = chunk_hits(products + from, split->norms + from,
									  split->limits, build->norms[row], limit,
									  dist, metric);

		if (split->npivots - from < CHUNK)
			hits &= ALL_HITS >> (CHUNK - (split->npivots - from));
		for (; hits != 0; hits &= hits - 1)
		{
			int			c = pg_rightmost_one_pos32(hits);

			if (dist[c] >= limit)
				continue;
			insert_best(split->best, split->nearest,
						candidate_key(dist[c], row, from + c));
			limit = limit_of(split->best[split->nearest - 1]);
		}
	}
}

/*
 * Write the numbers of the nearest pivots of "count" rows to "assigned",
 * split->nearest of each.  "rows" is NULL for the rows from "first" on.
 */
static void
assign_block(PartitionBuild *build, Split *split, const uint32 *rows,
			 uint32 first, int count, uint16 *assigned)
{
	const int8 *vectors = split->vectors;

	if (rows == NULL)
		vectors = ROW_VECTOR(build, first);
	else
		for (int i = 0; i < count; i++)
			memcpy(split->vectors + (Size) i * build->stride,
				   ROW_VECTOR(build, rows[i]), build->stride);
	partition_products(build, count, vectors, split->npivots, split->pivots,
					   split->products, split->ldo);
	for (int i = 0; i < count; i++)
	{
		const int32 *products = split->products + (Size) i * split->ldo;
		uint32		row = rows != NULL ? rows[i] : first + i;

		CALL_FOR_METRIC(build->params->metric, nearest_pivots, build, split, row, products);
		for (int j = 0; j < split->nearest; j++)
			*assigned++ = (uint16) candidate_row(split->best[j], row);
	}
}

/*
 * Reorder the rows of a partition so that the rows nearest to the same one of
 * "npivots" pivots are adjacent; starts[p] becomes where those of p begin.
 */
static void
split_partition(PartitionBuild *build, uint32 *rows, uint32 nrows,
				int npivots, uint32 *starts)
{
	Split	   *split = split_begin(build, rows, nrows, npivots, 1);
	uint16	   *assigned = partition_alloc(sizeof(uint16) * (Size) nrows);
	uint32	   *copy = partition_alloc(sizeof(uint32) * (Size) nrows);

	for (uint32 i = 0; i < nrows; i += PARTITION_BLOCK)
	{
		assign_block(build, split, rows + i, 0, Min(PARTITION_BLOCK, nrows - i),
					 assigned + i);
		partition_tick(build);
	}
	memcpy(copy, rows, sizeof(uint32) * (Size) nrows);
	memset(starts, 0, sizeof(uint32) * (npivots + 1));
	for (uint32 i = 0; i < nrows; i++)
		starts[assigned[i] + 1]++;
	for (int p = 0; p < npivots; p++)
		starts[p + 1] += starts[p];
	for (uint32 i = 0; i < nrows; i++)
		rows[starts[assigned[i]]++] = copy[i];
	memmove(starts + 1, starts, sizeof(uint32) * npivots);
	starts[0] = 0;

	pfree(copy);
	pfree(assigned);
	split_end(split);
}

/*
 * Join the rows of a partition, split further until the parts are leaves.
 * Where splitting by distance fails, as all rows are equally far from each
 * other, cut anywhere.
 */
static void
join_partition(PartitionBuild *build, LeafScratch *leaf, uint32 *rows,
			   uint32 nrows)
{
	int			npivots;
	uint32	   *starts;

	if (nrows <= build->leaf_max)
	{
		if (nrows > 1)
			leaf_join(build, leaf, rows, nrows);
		return;
	}
	npivots = Min(MAX_PIVOTS, nrows / (build->leaf_max / 2));
	starts = palloc(sizeof(uint32) * (npivots + 1));
	split_partition(build, rows, nrows, npivots, starts);
	for (int p = 0; p < npivots; p++)
	{
		uint32		start = starts[p];
		uint32		part = starts[p + 1] - start;

		while (part > nrows - nrows / 16 && part > build->leaf_max)
		{
			join_partition(build, leaf, rows + start, build->leaf_max / 2);
			start += build->leaf_max / 2;
			part -= build->leaf_max / 2;
		}
		join_partition(build, leaf, rows + start, part);
	}
	pfree(starts);
}

/*
 * Assign each distinct row to its nearest pivots.
 */
static uint16 *
assign_rows(PartitionBuild *build, int *nearest)
{
	uint32		from;
	uint32		to;
	Split	   *split = split_begin(build, NULL, build->ndistinct,
									Min(build->pivots, build->ndistinct),
									build->overlap);
	uint16	   *assigned;

	*nearest = split->nearest;
	assigned = partition_share(build, sizeof(uint16) * *nearest * (Size) build->n);
	while (claim_range(build, TASK_ASSIGN, PARTITION_BLOCK, build->n, &from, &to))
	{
		partition_progress(build, 0.2 * from / build->n);
		assign_block(build, split, NULL, from, to - from,
					 assigned + (Size) from * *nearest);
	}
	split_end(split);
	wait_for_team(build);
	return assigned;
}

/*
 * Note an order of the rows in which near ones follow each other: that of
 * their nearest pivots.
 */
static void
order_rows(PartitionBuild *build, const uint16 *assigned, int nearest,
		   int npivots)
{
	uint32	   *starts = palloc0(sizeof(uint32) * (npivots + 1));

	for (uint32 row = 0; row < build->n; row++)
		if (ROW_IS_DISTINCT(build, row))
			starts[assigned[(Size) row * nearest] + 1]++;
	for (int p = 0; p < npivots; p++)
		starts[p + 1] += starts[p];
	for (uint32 row = 0; row < build->n; row++)
		if (ROW_IS_DISTINCT(build, row))
			build->order[starts[assigned[(Size) row * nearest]]++] = row;
	pfree(starts);
}

/*
 * Group the rows by partition: the members of partition p become
 * members[starts[p] .. starts[p + 1]].
 */
static void
group_rows(PartitionBuild *build, const uint16 *assigned, int nearest,
		   int npivots, uint64 *starts, uint32 *members)
{
	memset(starts, 0, sizeof(uint64) * (npivots + 2));
	for (uint32 row = 0; row < build->n; row++)
		if (ROW_IS_DISTINCT(build, row))
			for (int j = 0; j < nearest; j++)
				starts[assigned[(Size) row * nearest + j] + 2]++;
	for (int p = 0; p < npivots; p++)
		starts[p + 2] += starts[p + 1];
	for (uint32 row = 0; row < build->n; row++)
		if (ROW_IS_DISTINCT(build, row))
			for (int j = 0; j < nearest; j++)
				members[starts[assigned[(Size) row * nearest + j] + 1]++] = row;
}

/*
 * Fill the candidate lists: assign the rows to overlapping partitions and
 * join each partition.
 */
void
split_rows(PartitionBuild *build)
{
	int			nearest;
	int			npivots = Min(build->pivots, build->ndistinct);
	uint32		p;
	uint16	   *assigned;
	uint64	   *starts;
	uint32	   *members;
	LeafScratch *leaf;

	for (uint32 row = 0; is_leader(build) && row < build->n; row++)
	{
		build->counts[row] = 0;
		ROW_LIST(build, row)[build->width - 1] = NO_CANDIDATE;
	}
	assigned = assign_rows(build, &nearest);
	starts = partition_share(build, sizeof(uint64) * (npivots + 2));
	members = partition_share(build, sizeof(uint32) * nearest *
							  (Size) build->ndistinct);
	if (is_leader(build))
	{
		order_rows(build, assigned, nearest, npivots);
		group_rows(build, assigned, nearest, npivots, starts, members);
	}
	wait_for_team(build);

	leaf = leaf_scratch(build);
	while ((p = claim(build, TASK_LEAVES)) < npivots)
	{
		partition_progress(build, 0.2 + 0.8 * p / npivots);
		pg_prng_seed(&build->random, build->params->seed + p);
		join_partition(build, leaf, members + starts[p],
					   starts[p + 1] - starts[p]);
	}
	leaf_free(leaf);
	wait_for_team(build);
	partition_unshare(build, members);
	partition_unshare(build, starts);
	partition_unshare(build, assigned);
}
