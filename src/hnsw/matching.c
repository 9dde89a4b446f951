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
 * Rows that a sweep by sketches looks for at least, and how many times more when it
 * goes on.  How many more nodes it reads if a search found too few: sketches tell
 * less of what is far away.
 */
#define SKETCHED_ROWS 10
#define SKETCHED_GROWTH 4
#define SKETCHED_FAR 1.5

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
 * Nodes to read, by their sketches, of so many that match, so that nearly all of the
 * nearest rows are among them.  EVIDENCE.md, "Sketches".
 */
double
hnsw_sketched_nodes(double matching, double rows)
{
	return Max(4 * sqrt(matching * Max(rows / 10, 1)), 100);
}

/* Pages of sketches and nodes to read; infinity if there are no sketches, or all rows are wanted */
static double
sketched_cost(const HnswMatches *matches)
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
		hnsw_sketched_nodes(n, matches->rows);
}

/* What it costs to go without a search, from what is known on */
static double
sweep_cost(const HnswMatches *matches)
{
	return MAP_PAGE * (matches->npages - matches->nread) +
		Min(matches->share * matches->nodes, sketched_cost(matches));
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
compare_ids(const void *a, const void *b)
{
	HnswNodeId	x = *(const HnswNodeId *) a;
	HnswNodeId	y = *(const HnswNodeId *) b;

	return (x > y) - (x < y);
}

/* Find the next nodes by their sketches, in the order of the file. */
static void
sweep_sketched(HnswMatches *matches, HnswSearch *search)
{
	HnswPoolEntry *heap = matches->sketched;
	double		wanted = hnsw_sketched_nodes(matches->n, matches->rows) *
		(search->pool.ncandidates > 0 ? SKETCHED_FAR : 1) - matches->nswept;
	uint32		n = (uint32) Max(Min(wanted, matches->nsketched), 0);
	HnswNodeId *ids = palloc_extended(sizeof(HnswNodeId) * Max(n, 1), MCXT_ALLOC_HUGE);

	for (uint32 i = 0; i < n; i++)
	{
		ids[i] = heap[0].candidate;
		if (--matches->nsketched > 0)
			heap_replace(heap, matches->nsketched, heap[matches->nsketched]);
	}
	qsort(ids, n, sizeof(HnswNodeId), compare_ids);
	hnsw_search_fetch(search, ids, n);
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

/* How many of the nodes that a search has met have rows that match? */
static uint32
count_found(const HnswSearch *search)
{
	uint32		n = 0;

	for (uint32 i = 0; i < search->nfound; i++)
		n += search->found[i].ntids > 0 || search->found[i].more_tids != 0;
	return n;
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
		if (sketched_cost(matches) < matches->n)
			estimate_keys(matches, search);
	}
	if (matches->sketched != NULL)
	{
		matches->trusted = (uint32) Min(matches->rows, PG_UINT32_MAX);
		do
		{
			sweep_sketched(matches, search);
			matches->rows *= SKETCHED_GROWTH;
		} while (matches->nsketched > 0 &&
				 count_found(search) < SKETCHED_SLACK * matches->trusted &&
				 search->nfound < hnsw_max_scan_nodes());
		return matches->nsketched > 0;
	}
	sweep_matching(matches, search);
	return false;
}
