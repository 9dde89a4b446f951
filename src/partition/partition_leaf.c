/*-------------------------------------------------------------------------
 *
 * partition_leaf.c
 *		The leaves of the partitions: all pairs, the best of which become
 *		candidates.
 *
 * A leaf is the unit of work: a list of row numbers.  Everything before
 * merge_candidates touches only the leaf's own scratch memory, so leaves can
 * be taken in any order and by several members of a team; whatever the order,
 * the lists end up the same.
 *
 *-------------------------------------------------------------------------
 */
#include "partition/partition_scan.h"
#include "port/pg_bitutils.h"

/*
 * The rows of one leaf.  Arrays of leaf_max are rounded up to whole chunks.
 */
struct LeafScratch
{
	int			nrows;
	int			nbest;			/* leaf_best */
	const uint32 *rows;
	int8	   *vectors;		/* leaf_max rows, gathered */
	int32	   *norms;
	int32	   *limits;			/* only nearer candidates than this are wanted */
	int32	   *products;		/* of PARTITION_BLOCK rows with all */
	int			ldo;
	uint64	   *best;			/* leaf_best candidates per row, ascending */
	uint64	   *merged;			/* a copy of one candidate list */
};

static int
leaf_columns(const PartitionBuild *build)
{
	return TYPEALIGN(CHUNK, build->leaf_max);
}

Size
leaf_memory(const PartitionBuild *build)
{
	Size		columns = leaf_columns(build);

	return columns * (build->stride + 2 * sizeof(int32) +
					  PARTITION_BLOCK * sizeof(int32) +
					  build->leaf_best * sizeof(uint64)) +
		build->width * sizeof(uint64);
}

LeafScratch *
leaf_scratch(PartitionBuild *build)
{
	LeafScratch *leaf = palloc0(sizeof(LeafScratch));
	Size		columns = leaf_columns(build);

	leaf->nbest = build->leaf_best;
	leaf->ldo = columns;
	leaf->vectors = partition_alloc(columns * build->stride);
	leaf->norms = partition_alloc(columns * sizeof(int32));
	memset(leaf->norms, 0, columns * sizeof(int32));
	leaf->limits = partition_alloc(columns * sizeof(int32));
	memset(leaf->limits, 0, columns * sizeof(int32));
	leaf->products = partition_alloc(columns * PARTITION_BLOCK * sizeof(int32));
	memset(leaf->products, 0, columns * PARTITION_BLOCK * sizeof(int32));
	leaf->best = partition_alloc(columns * build->leaf_best * sizeof(uint64));
	leaf->merged = partition_alloc(build->width * sizeof(uint64));
	return leaf;
}

void
leaf_free(LeafScratch *leaf)
{
	pfree(leaf->vectors);
	pfree(leaf->norms);
	pfree(leaf->limits);
	pfree(leaf->products);
	pfree(leaf->best);
	pfree(leaf->merged);
	pfree(leaf);
}

/*
 * Make row j a candidate of row i.
 */
static inline void
offer(LeafScratch *leaf, int i, int j, int32 dist)
{
	uint64	   *best = leaf->best + (Size) i * leaf->nbest;

	insert_best(best, leaf->nbest,
				candidate_key(dist, leaf->rows[i], leaf->rows[j]));
	leaf->limits[i] = Min(leaf->limits[i], limit_of(best[leaf->nbest - 1]));
}

/*
 * Offer row i and the rows after it to each other.  Most pairs are further
 * apart than what either wants.
 */
static pg_attribute_always_inline void
scan_row(LeafScratch *leaf, int i, const int32 *products, PartitionMetric metric)
{
	int			from = (i + 1) / CHUNK * CHUNK;
	uint32		valid = ALL_HITS << (i + 1 - from);

	for (; from < leaf->nrows; from += CHUNK, valid = ALL_HITS)
	{
		int32		dist[CHUNK];
		uint32		hits = chunk_hits(products + from, leaf->norms + from,
									  leaf->limits + from, leaf->norms[i],
									  leaf->limits[i], dist, metric);

		if (leaf->nrows - from < CHUNK)
			valid &= ALL_HITS >> (CHUNK - (leaf->nrows - from));
		for (hits &= valid; hits != 0; hits &= hits - 1)
		{
			int			c = pg_rightmost_one_pos32(hits);
			int			j = from + c;

			if (dist[c] < leaf->limits[i])
				offer(leaf, i, j, dist[c]);
			if (dist[c] < leaf->limits[j])
				offer(leaf, j, i, dist[c]);
		}
	}
}

/*
 * Gather the rows of a leaf.  A row with a full list wants only candidates
 * that would enter it.
 */
static void
load_leaf(PartitionBuild *build, LeafScratch *leaf,
		  const uint32 *rows, int nrows)
{
	leaf->rows = rows;
	leaf->nrows = nrows;
	for (int i = 0; i < nrows; i++)
	{
		uint32		row = rows[i];

		memcpy(leaf->vectors + (Size) i * build->stride,
			   ROW_VECTOR(build, row), build->stride);
		leaf->norms[i] = build->norms[row];
		/* Another member may change it now; it only ever decreases. */
		leaf->limits[i] = limit_of(ROW_LIST(build, row)[build->width - 1]);
	}
	for (Size i = 0; i < (Size) nrows * build->leaf_best; i++)
		leaf->best[i] = NO_CANDIDATE;
}

/* The lists of a leaf's rows are far apart in memory. */
static inline void
prefetch_list(PartitionBuild *build, uint32 row)
{
	const char *list = (const char *) ROW_LIST(build, row);

	for (int i = 0; i < build->counts[row] * (int) sizeof(uint64);
		 i += PG_CACHE_LINE_SIZE / 2)
		__builtin_prefetch(list + i, 1);
}

/*
 * Merge ascending candidates into the row's own list.  This is the only place
 * that writes what leaves share.
 */
static void
merge_candidates(PartitionBuild *build, uint32 row, const uint64 *best,
				 int nbest, uint64 *merged)
{
	PartitionTeam *team = build->team;
	uint64	   *list = ROW_LIST(build, row);
	int			count;
	int			a = 0;
	int			b = 0;
	int			out = 0;

	if (team != NULL)
		team->lock(team->arg, row);
	count = build->counts[row];
	memcpy(merged, list, count * sizeof(uint64));
	while (out < build->width && (a < count || b < nbest))
	{
		uint64		key;

		if (b >= nbest || (a < count && merged[a] <= best[b]))
			key = merged[a++];
		else
			key = best[b++];
		if (b < nbest && best[b] == key)
			b++;
		list[out++] = key;
	}
	build->counts[row] = out;
	if (team != NULL)
		team->unlock(team->arg, row);
}

/*
 * Compare all pairs of the leaf's rows, and give each row its best ones.
 */
void
leaf_join(PartitionBuild *build, LeafScratch *leaf, const uint32 *rows,
		  int nrows)
{
	load_leaf(build, leaf, rows, nrows);
	for (int start = 0; start < nrows; start += PARTITION_BLOCK)
	{
		int			count = Min(PARTITION_BLOCK, nrows - start);

		partition_products(build,
						   count, leaf->vectors + (Size) start * build->stride,
						   nrows - start,
						   leaf->vectors + (Size) start * build->stride,
						   leaf->products + start, leaf->ldo);
		for (int i = 0; i < count; i++)
		{
			const int32 *products = leaf->products + (Size) i * leaf->ldo;

			CALL_FOR_METRIC(build->params->metric, scan_row, leaf, start + i, products);
		}
		partition_tick(build);
	}
	for (int i = 0; i < nrows; i++)
	{
		uint64	   *best = leaf->best + (Size) i * build->leaf_best;
		int			nbest = build->leaf_best;

		if (i + 2 < nrows)
			prefetch_list(build, rows[i + 2]);
		while (nbest > 0 && best[nbest - 1] == NO_CANDIDATE)
			nbest--;
		merge_candidates(build, rows[i], best, nbest, leaf->merged);
	}
}
