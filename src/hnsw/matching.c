/*-------------------------------------------------------------------------
 *
 * matching.c
 *		The nodes whose rows meet a scan's conditions on filter columns.
 *
 * There are two ways to the nearest of them:
 *
 * - A search through all nodes.  It costs the more nodes the fewer of them match; how
 *   many more, if these are far from the query, nobody knows.
 * - A sweep.  The pages of keys tell which nodes match.  All of these are read; or, if
 *   that is less, their sketches, and the nodes that seem nearest by them.  It costs
 *   as many pages whatever the query.
 *
 * So a scan samples some pages of keys first and takes what seems cheaper.  A search
 * is given up for a sweep when it finds too few nodes that match for what it costs:
 * it may cost a share of the sweep at once, and the rest by and by as it finds as
 * many as it wants.  As far as the sample is right, the scan costs at most about
 * twice the better way.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/scan.h"

#include <math.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/float.h"

/* Pages of keys in a sample */
#define SAMPLED_PAGES 8

/* The share of a sweep's cost that a search may cost before it finds what matches */
#define FREE_SHARE 0.25

/* Nodes that a search may expand for each that would match if as many did as around the query */
#define WIDENED_HOPS 4

/*
 * A sweep by sketches looks for so many rows at least, and for so many times more when it
 * goes on.  It reads a part of the nodes that it takes typically, and then half as many
 * again as long as rows seem to be missing; but not more than so many times the typical.
 * EVIDENCE.md, "Sketches".
 */
#define SKETCHED_ROWS 10
#define SKETCHED_GROWTH 4
#define SKETCHED_FIRST 0.5
#define SKETCHED_LEAST 100
#define SKETCHED_MOST 4

/* Standard deviations behind which no row is expected */
#define SKETCHED_FARTHEST 4

/*
 * No sketches where fewer nodes than this for each row wanted match for sure: some have only
 * dead rows, so that the scan may need all, and rows found last would be late.
 */
#define SKETCHED_SHARE 4

/* Rows to find for each that is wanted: by default autovacuum waits for a fifth of dead ones. */
#define SKETCHED_SLACK 1.25

/* ---------------------------------------------------------------------
 * What is known of the pages of keys
 * ---------------------------------------------------------------------
 */

/* Take note of the nodes of a page. */
static void
read_page(HnswMatches *matches, uint32 page)
{
	int			n;

	CHECK_FOR_INTERRUPTS();
	if (bitmap_get(&matches->pages, page))
		return;
	n = hnsw_key_page_match(matches->index, page, matches->filter, matches->ids,
							&matches->sure);
	for (int i = 0; i < n; i++)
		bitmap_set(&matches->matching, matches->ids[i]);
	bitmap_set(&matches->pages, page);
	matches->n += n;
	matches->nread++;
}

/* Which share of "entries" that were read matches?  Above 0, as a sample can miss all that do. */
static void
note_share(HnswMatches *matches, double entries)
{
	matches->share = Min((matches->n + 0.5) / Max(entries, 1), 1);
}

/* Read some pages at random, one of each part of the index. */
static void
read_sample(HnswMatches *matches)
{
	uint32		n = Min(matches->npages, SAMPLED_PAGES);

	for (uint32 i = 0; i < n; i++)
	{
		uint32		first = (uint64) i * matches->npages / n;
		uint32		last = (uint64) (i + 1) * matches->npages / n - 1;

		read_page(matches, (uint32) pg_prng_uint64_range(&pg_global_prng_state, first, last));
	}
	note_share(matches, n * (matches->nodes / Max(matches->npages, 1)));
}

/* Read all pages.  Those made since the scan began have no rows that it sees. */
static void
read_all(HnswMatches *matches)
{
	for (uint32 page = 0; page < matches->npages; page++)
		read_page(matches, page);
	note_share(matches, matches->nodes);
}

/*
 * Begin to find out which of an index's nodes meet the conditions.  The result is
 * where the conditions are.  "nodes" is how many there are, about.  For a demand that
 * no row may miss, sketches do not do.
 */
HnswMatches *
hnsw_matches_create(HnswIndex *index, const HnswKeyFilter *filter, double nodes, const HnswDemand *demand)
{
	MemoryContext context = GetMemoryChunkContext(unconstify(HnswKeyFilter *, filter));
	MemoryContext old = MemoryContextSwitchTo(context);
	HnswMatches *matches = palloc0(sizeof(HnswMatches));
	int			capacity = hnsw_key_page_capacity(&index->layout);

	matches->index = index;
	matches->filter = filter;
	matches->nodes = nodes;
	matches->rows = demand->complete ? get_float8_infinity() : Max(demand->rows, SKETCHED_ROWS);
	matches->npages = hnsw_key_pages(index);
	matches->pages = bitmap_make(matches->npages);
	matches->matching = bitmap_make((uint64) matches->npages * capacity);
	matches->ids = palloc(sizeof(HnswNodeId) * capacity);
	MemoryContextSwitchTo(old);
	read_sample(matches);
	/* Rows that are alike were often loaded together: then a sample of pages misses them. */
	matches->share = Min(Max(matches->share, demand->planned / Max(nodes, 1)), 1);
	return matches;
}

/* ---------------------------------------------------------------------
 * What a scan costs, in nodes that a search expands
 * ---------------------------------------------------------------------
 */

/*
 * A page of keys or sketches, which are read in the order of the file, and a sketch there.
 * Measured with 1,000,000 rows in memory; EVIDENCE.md, "Conditions".
 */
#define MAP_PAGE 0.25
#define SKETCH 0.02

/*
 * A node that is read without its links.  Only whether sketches save such nodes goes by this:
 * a search that is given up for less gives up too soon.
 */
#define MATCH 0.33

/*
 * Nodes that have to be read typically, by their sketches, of so many that match, so that
 * nearly all of the nearest rows are among them.  EVIDENCE.md, "Sketches".
 */
double
hnsw_sketched_nodes(double matching, double rows)
{
	return Max(4 * sqrt(matching * Max(rows / 10, 1)), SKETCHED_LEAST);
}

/*
 * Pages of sketches and nodes to read, a node costing so much; infinity if there are no sketches,
 * or all rows are wanted
 */
static double
sketched_cost(const HnswMatches *matches, double node)
{
	const HnswLayout *layout = &matches->index->layout;
	double		n = matches->share * matches->nodes;
	double		sure = n * matches->sure / Max(matches->n, 1);
	double		pages;

	if (layout->sketch.units == 0 || sure < SKETCHED_SHARE * matches->rows)
		return INFINITY;
	/* Few nodes have their sketches on as many pages. */
	pages = matches->nodes / layout->sketch_entries;
	return MAP_PAGE * pages * (1 - exp(-n / pages)) + SKETCH * n +
		node * hnsw_sketched_nodes(n, matches->rows);
}

/* What it costs to go without a search, from what is known on */
static double
sweep_cost(const HnswMatches *matches)
{
	return MAP_PAGE * (matches->npages - matches->nread) +
		Min(matches->share * matches->nodes, sketched_cost(matches, 1));
}

/* Is a sweep cheaper than a search so wide? */
bool
hnsw_matches_sweep_pays(const HnswMatches *matches, double width)
{
	return HNSW_HOPS_PER_MATCH * width / matches->share >= sweep_cost(matches);
}

/* How many nodes a search so wide may expand, and how many more for each that matches */
void
hnsw_matches_budget(const HnswMatches *matches, double width, uint32 *budget, uint32 *grant)
{
	double		cost = sweep_cost(matches);

	*budget = (uint32) ceil(FREE_SHARE * cost);
	*grant = (uint32) ceil((1 - FREE_SHARE) * cost / width);
}

/*
 * A search has found as many nodes that match as it wanted.  Near the query they may be
 * more frequent than elsewhere.  Then it has met few others on its way, so it goes on,
 * as wide as that share needs for so many rows; but not for long where they are rarer
 * again, since it has what it wanted.  Returns the width, and sets what part of it is
 * good (see collect_pool).
 */
int
hnsw_matches_widen(HnswMatches *matches, HnswSearch *search, const HnswMetaPageData *meta,
				   double rows, double *spread)
{
	int			found = search->pool.width;
	uint32		left = search->budget;
	double		share = Max(hnsw_search_share(search), matches->share);
	double		width = Max(hnsw_first_width(matches->index->rel, meta, rows, share),
							hnsw_spread(share) * rows);

	width = Min(width, hnsw_max_scan_nodes() / 2);
	if (width < found + 1)
		return found;
	search->budget = (uint32) Min(WIDENED_HOPS * (width - found) / share, left - 1);
	left -= search->budget;
	search->grant = 0;
	hnsw_search_widen(search, (int) width);
	hnsw_search_run(search);
	if (search->budget > 0 && search->pool.n == search->pool.width)
		*spread = hnsw_spread(share);
	else
		*spread *= search->pool.width / (double) found;
	search->budget += left;
	return search->pool.n;
}

/* ---------------------------------------------------------------------
 * Sweeps
 * ---------------------------------------------------------------------
 */

/* The next node that matches and was not read by the search, from this one on; false if there is none. */
static bool
next_match(const HnswMatches *matches, const HnswSearch *search, uint64 *id)
{
	for (*id = bitmap_next(&matches->matching, *id); *id < matches->matching.size;
		 *id = bitmap_next(&matches->matching, *id + 1))
		if (!pool_was_expanded(&search->pool, (HnswNodeId) *id))
			return true;
	return false;
}

/* Estimate the keys of all matching nodes that were not read. */
static void
estimate_keys(HnswMatches *matches, const HnswSearch *search)
{
	HnswIndex  *index = matches->index;
	uint32		capacity = hnsw_sketch_page_capacity(&index->layout);
	HnswNodeId *ids = palloc(sizeof(HnswNodeId) * capacity);
	float	   *keys = palloc(sizeof(float) * capacity);
	uint64		id = 0;
	bool		more = next_match(matches, search, &id);
	CodeQuery	query;

	hnsw_sketch_query(index, search->query, &query);
	matches->sketched = MemoryContextAllocHuge(GetMemoryChunkContext(matches),
											   sizeof(HnswPoolEntry) * Max(matches->n, 1));
	while (more)
	{
		uint32		ordinal = id / capacity;
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		for (; more && id / capacity == ordinal; id++, more = next_match(matches, search, &id))
			ids[n++] = id;
		hnsw_sketch_page_keys(index, ordinal, ids, n, &query, keys);
		for (int i = 0; i < n; i++)
			heap_push(matches->sketched, matches->nsketched++, (HnswPoolEntry) {keys[i], ids[i]});
	}
	pfree(query.lut);
	pfree(keys);
	pfree(ids);
}

static int
compare_candidates(const void *a, const void *b)
{
	uint32		x = ((const HnswPoolEntry *) a)->candidate;
	uint32		y = ((const HnswPoolEntry *) b)->candidate;

	return (x > y) - (x < y);
}

/*
 * Note what keys the nodes have that were found from a place on, for what sketches told
 * of them.  Both are in the order of ids.
 */
static void
note_keys(HnswMatches *matches, const HnswSearch *search, uint32 first,
		  const HnswPoolEntry *entries, uint32 n)
{
	HnswSketchFit *fit = &matches->fit;
	uint32		at = 0;

	for (uint32 i = first; i < search->nfound; i++)
	{
		double		told;
		double		key = search->found[i].key;

		while (at < n && entries[at].candidate < search->found[i].id)
			at++;
		if (at == n)
			break;
		told = entries[at].key;
		if (entries[at].candidate != search->found[i].id || told <= -HNSW_MAX_KEY)
			continue;
		fit->n++;
		fit->told += told;
		fit->key += key;
		fit->told_told += told * told;
		fit->told_key += told * key;
		fit->key_key += key * key;
	}
}

/* Find the next so many nodes by their sketches, in the order of the file. */
static void
sweep_sketched(HnswMatches *matches, HnswSearch *search, double wanted)
{
	HnswPoolEntry *heap = matches->sketched;
	uint32		n = (uint32) Max(Min(wanted, matches->nsketched), 0);
	uint32		first = search->nfound;
	HnswPoolEntry *entries = palloc_extended(sizeof(HnswPoolEntry) * Max(n, 1), MCXT_ALLOC_HUGE);
	HnswNodeId *ids = palloc_extended(sizeof(HnswNodeId) * Max(n, 1), MCXT_ALLOC_HUGE);

	for (uint32 i = 0; i < n; i++)
	{
		entries[i] = heap[0];
		if (--matches->nsketched > 0)
			heap_replace(heap, matches->nsketched, heap[matches->nsketched]);
	}
	qsort(entries, n, sizeof(HnswPoolEntry), compare_candidates);
	for (uint32 i = 0; i < n; i++)
		ids[i] = entries[i].candidate;
	hnsw_search_fetch(search, ids, n);
	note_keys(matches, search, first, entries, n);
	pfree(entries);
	pfree(ids);
	matches->nswept += n;
}

/* Find all nodes that match. */
static void
sweep_matching(const HnswMatches *matches, HnswSearch *search)
{
	HnswNodeId *ids = palloc_extended(sizeof(HnswNodeId) * Max(matches->n, 1), MCXT_ALLOC_HUGE);
	uint32		n = 0;

	for (uint64 id = 0; next_match(matches, search, &id); id++)
		ids[n++] = (HnswNodeId) id;
	hnsw_search_fetch(search, ids, n);
	pfree(ids);
}

/*
 * How many nodes that a search has met have rows that match; and the key of the last of
 * so many, the nearest, or infinity if they are fewer.
 */
static uint32
count_found(const HnswSearch *search, uint32 rows, double *last)
{
	HnswPoolEntry *nearest = palloc_extended(sizeof(HnswPoolEntry) * Max(Min(rows, search->nfound), 1),
											 MCXT_ALLOC_HUGE);
	uint32		n = 0;

	/* A heap with the farthest of them first */
	for (uint32 i = 0; i < search->nfound; i++)
	{
		HnswPoolEntry entry = {.key = -search->found[i].key};

		if (!hnsw_has_rows(&search->found[i]))
			continue;
		if (n < rows)
			heap_push(nearest, n, entry);
		else if (entry.key > nearest[0].key)
			heap_replace(nearest, rows, entry);
		n++;
	}
	*last = n < rows ? get_float8_infinity() : -nearest[0].key;
	pfree(nearest);
	return n;
}

/*
 * How many nodes that were not read are to be expected before the last of the rows wanted.
 * Of those that were, it is known how keys follow from what sketches tell, and how
 * much they differ from that: a regression, which does not mind that the nodes were
 * chosen by their sketches.
 */
static double
expected_missing(const HnswMatches *matches, double last)
{
	const HnswSketchFit *fit = &matches->fit;
	double		n = Max(fit->n, 1);
	double		told = fit->told / n;
	double		key = fit->key / n;
	double		variance = Max(fit->told_told / n - told * told, 0);
	double		covariance = fit->told_key / n - told * key;
	double		slope = variance > 0 ? Max(covariance / variance, 0) : 0;
	double		spread = sqrt(Max(fit->key_key / n - key * key - slope * covariance, 0));
	double		missing = 0;

	for (uint32 i = 0; i < matches->nsketched; i++)
	{
		double		behind = key + slope * (matches->sketched[i].key - told) - last;

		if (spread == 0)
			missing += behind < 0;
		else if (behind < SKETCHED_FARTHEST * spread)
			missing += 0.5 * erfc(behind / (spread * M_SQRT2));
	}
	return missing;
}

/* Have enough nodes been read by their sketches for the rows that are wanted next? */
static bool
is_settled(const HnswMatches *matches, const HnswSearch *search)
{
	double		most = hnsw_sketched_nodes(matches->n, matches->trusted) * SKETCHED_MOST;
	double		loss = hnsw_sketch_loss();
	double		last;

	if (matches->nsketched == 0 || search->nfound >= hnsw_max_scan_nodes())
		return true;
	if (count_found(search, matches->trusted, &last) < SKETCHED_SLACK * matches->trusted)
		return false;
	/* Who asks for more than by default pays for more, and who asks for all for all. */
	return loss > 0 && (matches->nswept >= most * Max(HNSW_SKETCH_LOSS / loss, 1) ||
						expected_missing(matches, last) <= loss * matches->trusted);
}

/*
 * Find nodes that meet the search's conditions and that it has not met, and their
 * keys: those that seem nearest, or all.  The search cannot go on after that.  True
 * if there are more; then the nearest matches->trusted rows are good, and the next
 * call finds those behind them.  Nodes that key pages take for matches need not be any
 * (HNSW_KEY_SEVERAL), so more are read until there are so many rows.
 */
bool
hnsw_matches_sweep(HnswMatches *matches, HnswSearch *search)
{
	if (matches->sketched == NULL)
	{
		read_all(matches);
		if (sketched_cost(matches, MATCH) < MATCH * matches->n)
			estimate_keys(matches, search);
	}
	if (matches->sketched != NULL)
	{
		double		first = SKETCHED_FIRST * hnsw_sketched_nodes(matches->n, matches->rows);

		matches->trusted = (uint32) Min(matches->rows, PG_UINT32_MAX);
		sweep_sketched(matches, search, Max(first, SKETCHED_LEAST) - matches->nswept);
		while (!is_settled(matches, search))
			sweep_sketched(matches, search, Max(matches->nswept / 2, SKETCHED_LEAST));
		matches->rows *= SKETCHED_GROWTH;
		return matches->nsketched > 0;
	}
	sweep_matching(matches, search);
	return false;
}
