/*-------------------------------------------------------------------------
 *
 * items.c
 *		Nodes that a scan has found, in the order of their distances.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/scan_state.h"

#include "utils/float.h"
#include "utils/memutils.h"

/* Items that are put in order at once, at least */
#define SORTED_ITEMS 1000

/* Each item equals itself, even if a broken page made its bound NaN: sort_first counts on it. */
static inline int
compare_items(const HnswScanItem *x, const HnswScanItem *y)
{
	if (x->lower < y->lower)
		return -1;
	if (x->lower > y->lower)
		return 1;
	return (x->found > y->found) - (x->found < y->found);
}

#define ST_SORT sort_items
#define ST_ELEMENT_TYPE HnswScanItem
#define ST_COMPARE(x, y) compare_items(x, y)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * Put at least the k first of n items in order, before all others (Hoare's selection).
 * Returns how many are.
 */
static uint32
sort_first(HnswScanItem *items, uint32 n, uint32 k)
{
	uint32		low = 0;		/* the items from here on are behind those before, */
	uint32		high = n;		/* and those from here on behind them: low < k <= high */

	while (high - low > SORTED_ITEMS)
	{
		HnswScanItem pivot = items[low + (high - low - 1) / 2];
		uint32		i = low;
		uint32		j = high - 1;

		for (;; i++, j--)
		{
			HnswScanItem swapped;

			while (compare_items(&items[i], &pivot) < 0)
				i++;
			while (compare_items(&items[j], &pivot) > 0)
				j--;
			if (i >= j)
				break;
			swapped = items[i];
			items[i] = items[j];
			items[j] = swapped;
		}
		if (k <= j + 1)
			high = j + 1;
		else
			low = j + 1;
	}
	sort_items(items, high);
	return high;
}

/*
 * Put more items in order, if there are such: at first those that the plan asks for.  The
 * last one in order only bounds the one before it, unless it is the last of all.
 */
bool
hnsw_items_sort(HnswScanState *state)
{
	uint32		left = state->nitems - state->sorted;
	double		wanted = Max(state->demand.rows - state->returned, 4.0 * state->sorted);

	if (left == 0)
		return false;
	/* A sweep that goes on does not come back to these. */
	wanted = state->phase == SCAN_LAST ? Max(wanted, SORTED_ITEMS) : left;
	state->sorted += sort_first(state->items + state->sorted, left, (uint32) Min(wanted, left));
	state->ready = state->sorted - (state->sorted < state->nitems);
	return true;
}

/* Add a found node to the items, unless it was returned or comes late. */
static void
add_item(HnswScanState *state, uint32 i)
{
	HnswFound  *found = &state->search->found[i];
	HnswScanItem *item;

	if (found->emitted || (found->ntids == 0 && found->more_tids == 0))
		return;
	if (state->nitems == state->items_capacity)
	{
		state->items_capacity = Max(state->items_capacity * 2, 64);
		if (state->items == NULL)
			state->items = MemoryContextAllocHuge(state->context,
												  sizeof(HnswScanItem) * state->items_capacity);
		else
			state->items = repalloc_huge(state->items,
										 sizeof(HnswScanItem) * state->items_capacity);
	}
	item = &state->items[state->nitems];
	item->found = i;
	item->lower = item->upper = 0;
	if (state->phase != SCAN_UNORDERED)
		hnsw_key_bounds(state->index, state->query, found, &item->lower, &item->upper);
	if (is_compact(state) && isfinite(found->error) && found->error < FLT_MAX)
		state->max_error = Max(state->max_error, found->error);
	if (item->upper < state->watermark && !is_compact(state) && !state->relaxed)
	{
		found->emitted = true;
		state->report.late++;
		return;
	}
	state->nitems++;
}

/* So many of the scan's rows are good: those of the items that were not returned are ready. */
void
hnsw_items_trust(HnswScanState *state, uint32 trusted)
{
	double		bound = -get_float8_infinity();

	state->ready = Min(state->nitems, Max(trusted, state->returned) - state->returned);

	/* For their order the executor needs all whose bounds overlap theirs, and the next one. */
	for (uint32 i = 0; i < state->ready; i++)
		bound = Max(bound, state->items[i].upper);
	while (state->ready > 0 && state->ready < state->nitems &&
		   state->items[state->ready - 1].lower <= bound)
		state->ready++;
}

/*
 * The pool's rows, in order, as far as it can be trusted: a wider search would
 * hardly find more rows in the nearer half of the pool, but many in the rest.
 */
void
hnsw_items_of_pool(HnswScanState *state)
{
	HnswSearch *search = state->search;
	uint32		trusted = (uint32) ceil(search->pool.width / state->spread);

	/* A compact index searches less well, which shows when a scan goes on. */
	if (is_compact(state))
		trusted = Max(state->demand.share < 1 ? trusted / 2 : trusted,
					  Min(search->pool.width, HNSW_RANKED_ROWS));
	state->nitems = 0;
	for (int i = 0; i < search->pool.n; i++)
		add_item(state, pool_at(&search->pool, i)->found);
	sort_items(state->items, state->nitems);
	state->sorted = state->nitems;
	hnsw_items_trust(state, trusted);
}

/* All found rows that were not returned yet, in order. */
void
hnsw_items_of_found(HnswScanState *state)
{
	state->nitems = 0;
	for (uint32 i = 0; i < state->search->nfound; i++)
		add_item(state, i);
	state->sorted = 0;
	state->ready = 0;
	(void) hnsw_items_sort(state);
}
