/*-------------------------------------------------------------------------
 *
 * partition_leaf.c
 *		The leaves of the partitions: all pairs, the best of which become
 *		candidates.
 *
 * A leaf is the unit of work: a list of row numbers.  Everything before
 * merge_candidates touches only the leaf's own scratch memory, so leaves can
 * be taken in any order and by several workers.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "hnsw/partition_build.h"

/* Rows of the leaf that are multiplied with the others in one call. */
#define BLOCK 64

/* Pairs tested together; the compiler turns the test into vector code. */
#define CHUNK 16

/* No candidate: greater than every key. */
#define NO_CANDIDATE PG_UINT64_MAX

/*
 * The rows of one leaf.  Arrays of leaf_max are rounded up to whole chunks.
 */
struct LeafScratch
{
	int			nrows;
	const uint32 *rows;
	int8	   *vectors;		/* leaf_max rows, gathered */
	int32	   *norms;
	int32	   *limits;			/* no candidate beyond this distance is wanted */
	int32	   *products;		/* of BLOCK rows with all */
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
					  BLOCK * sizeof(int32) +
					  build->leaf_best * sizeof(uint64)) +
		build->width * sizeof(uint64);
}

LeafScratch *
leaf_scratch(PartitionBuild *build)
{
	LeafScratch *leaf = palloc0(sizeof(LeafScratch));
	Size		columns = leaf_columns(build);

	leaf->ldo = columns;
	leaf->vectors = partition_alloc(columns * build->stride);
	leaf->norms = partition_alloc(columns * sizeof(int32));
	leaf->limits = partition_alloc(columns * sizeof(int32));
	leaf->products = partition_alloc(columns * BLOCK * sizeof(int32));
	memset(leaf->products, 0, columns * BLOCK * sizeof(int32));
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
 * Put a candidate in its place among the best of row i, if it belongs there.
 */
static inline void
offer(PartitionBuild *build, LeafScratch *leaf, int i, int j, int32 dist)
{
	int			pos = build->leaf_best - 1;
	uint64	   *best = leaf->best + (Size) i * build->leaf_best;
	uint64		key = candidate_key(dist, leaf->rows[i], leaf->rows[j]);

	if (key >= best[pos])
		return;
	while (pos > 0 && best[pos - 1] > key)
	{
		best[pos] = best[pos - 1];
		pos--;
	}
	best[pos] = key;
	pos = build->leaf_best - 1;
	if (best[pos] != NO_CANDIDATE)
		leaf->limits[i] = Min(leaf->limits[i], candidate_dist(best[pos]));
}

/*
 * Offer row i and the rows after it to each other.  Most pairs are further
 * apart than the worst candidate of either, so test whole chunks for that.
 */
static pg_attribute_always_inline void
scan_row(PartitionBuild *build, LeafScratch *leaf, int i,
		 const int32 *products, bool l2)
{
	const int32 *norms = leaf->norms;
	const int32 *limits = leaf->limits;
	int32		norm = norms[i];

	for (int from = (i + 1) / CHUNK * CHUNK; from < leaf->nrows; from += CHUNK)
	{
		int32		dist[CHUNK];
		int32		limit = limits[i];
		int32		hit = 0;

		for (int c = 0; c < CHUNK; c++)
		{
			dist[c] = products[from + c];
			if (l2)
				dist[c] = norm + norms[from + c] - 2 * dist[c];
			hit |= (dist[c] <= limit) | (dist[c] <= limits[from + c]);
		}
		if (!hit)
			continue;
		for (int c = 0; c < CHUNK; c++)
		{
			int			j = from + c;

			if (j <= i || j >= leaf->nrows)
				continue;
			if (dist[c] <= limits[i])
				offer(build, leaf, i, j, dist[c]);
			if (dist[c] <= limits[j])
				offer(build, leaf, j, i, dist[c]);
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
		leaf->limits[i] = PG_INT32_MAX;
		if (build->counts[row] == build->width)
			leaf->limits[i] =
				candidate_dist(ROW_LIST(build, row)[build->width - 1]);
	}
	for (int i = nrows; i % CHUNK != 0; i++)
	{
		leaf->norms[i] = 0;
		leaf->limits[i] = -1;
	}
	for (Size i = 0; i < (Size) nrows * build->leaf_best; i++)
		leaf->best[i] = NO_CANDIDATE;
}

/*
 * Merge ascending candidates into the row's own list.  This is the only place
 * that writes what leaves share.
 */
static void
merge_candidates(PartitionBuild *build, uint32 row, const uint64 *best,
				 int nbest, uint64 *merged)
{
	uint64	   *list = ROW_LIST(build, row);
	int			count = build->counts[row];
	int			a = 0;
	int			b = 0;
	int			out = 0;

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
}

/*
 * Compare all pairs of the leaf's rows, and give each row its best ones.
 */
void
leaf_join(PartitionBuild *build, LeafScratch *leaf, const uint32 *rows,
		  int nrows)
{
	load_leaf(build, leaf, rows, nrows);
	for (int start = 0; start < nrows; start += BLOCK)
	{
		int			count = Min(BLOCK, nrows - start);

		partition_products(build,
						   count, leaf->vectors + (Size) start * build->stride,
						   nrows - start,
						   leaf->vectors + (Size) start * build->stride,
						   leaf->products + start, leaf->ldo);
		for (int i = 0; i < count; i++)
		{
			const int32 *products = leaf->products + (Size) i * leaf->ldo;

			if (build->params->metric == PARTITION_L2)
				scan_row(build, leaf, start + i, products, true);
			else
				scan_row(build, leaf, start + i, products, false);
		}
		partition_tick(build);
	}
	for (int i = 0; i < nrows; i++)
	{
		uint64	   *best = leaf->best + (Size) i * build->leaf_best;
		int			nbest = build->leaf_best;

		while (nbest > 0 && best[nbest - 1] == NO_CANDIDATE)
			nbest--;
		merge_candidates(build, rows[i], best, nbest, leaf->merged);
	}
}
