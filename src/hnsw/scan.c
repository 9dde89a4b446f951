/*-------------------------------------------------------------------------
 *
 * scan.c
 *		Ordered scans.
 *
 * A scan searches with width ef_search and hands out the nearer half of the
 * pool's rows by the lower bound of their distance.  Whoever asks for more gets
 * a wider search, twice as wide each time, and in the end a sweep over all
 * nodes, so that every row comes out once.  Rows whose place is certain are returned as
 * they are; for the others the executor computes the exact distance and
 * reorders.
 *
 * A wider search may find a row that belongs before rows already returned.
 * Such late rows come at the very end, so that nothing is lost; or, as
 * hnsw.iterative_scan = strict_order demands, not at all.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"

#include "access/relscan.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/spccache.h"

/* A share of the nodes beyond which a sweep is cheaper than a search. */
#define SWEEP_SHARE 4

/* Rows of a compact index that the executor puts in order before it returns any. */
#define RERANKED_ROWS 20

typedef enum HnswScanPhase
{
	SCAN_START,
	SCAN_SEARCH,				/* the pool's rows, wider and wider */
	SCAN_SWEPT,					/* all nodes were met; late rows are left */
	SCAN_UNORDERED,				/* no distances: block by block */
	SCAN_DONE
} HnswScanPhase;

/* A found node waiting to be returned. */
typedef struct HnswScanItem
{
	double		lower;			/* bounds of its distance */
	double		upper;
	uint32		found;
} HnswScanItem;

typedef struct HnswScanState
{
	MemoryContext context;
	HnswIndex  *index;
	HnswValue  *value;
	HnswQuery  *query;
	HnswSearch *search;
	HnswScanPhase phase;
	BlockNumber block;			/* next one of an unordered scan */
	HnswScanItem *items;
	uint32		nitems;			/* those to return before anything else is tried */
	uint32		nsorted;		/* all, of which the others only bound them */
	uint32		items_capacity;
	uint32		next_item;
	uint32		returned;		/* items so far */
	double		last_lower;		/* no item below it can come in its place */
	double		max_upper;		/* of all items returned */
	bool		late;			/* items are late rows */
	/* the item being returned: its heap TIDs */
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	int			ntids;
	int			next_tid;
	HnswNodeId	owner;
	uint32		more_tids;
	uint64		chain_steps;
	/* rows of the table that are read ahead */
	int64		reads;			/* blocks that this backend had read when it left us */
	uint32		asked;			/* items before it are asked for */
} HnswScanState;

/* Blocks that this backend has read from outside shared buffers. */
static inline int64
blocks_read(void)
{
	return pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read;
}

IndexScanDesc
hnsw_beginscan(Relation rel, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(rel, nkeys, norderbys);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw scan",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	HnswScanState *state;

	if (norderbys > 0)
	{
		scan->xs_orderbyvals = palloc0(sizeof(Datum) * norderbys);
		scan->xs_orderbynulls = palloc0(sizeof(bool) * norderbys);
	}

	old = MemoryContextSwitchTo(context);
	state = palloc0(sizeof(HnswScanState));
	state->context = context;
	state->index = hnsw_open(rel);
	state->value = hnsw_value_create(&state->index->layout);
	state->query = hnsw_query_create(state->index);
	state->search = hnsw_search_create(state->index, state->query);
	MemoryContextSwitchTo(old);

	scan->opaque = state;
	return scan;
}

void
hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	HnswScanState *state = scan->opaque;

	if (keys && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, sizeof(ScanKeyData) * scan->numberOfKeys);
	if (orderbys && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, sizeof(ScanKeyData) * scan->numberOfOrderBys);

	state->phase = SCAN_START;
	state->nitems = 0;
	state->nsorted = 0;
	state->next_item = 0;
	state->returned = 0;
	state->ntids = 0;
	state->next_tid = 0;
	state->more_tids = 0;
	state->late = false;
	state->asked = 0;
	state->reads = blocks_read();
}

static int
compare_items(const void *a, const void *b)
{
	const HnswScanItem *x = a;
	const HnswScanItem *y = b;

	if (x->lower != y->lower)
		return x->lower < y->lower ? -1 : 1;
	return (x->found > y->found) - (x->found < y->found);
}

/* Add a found node to the items, unless it was returned or comes late. */
static void
add_item(HnswScanState *state, uint32 i, bool late)
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
	{
		hnsw_key_bounds(state->index, state->query, found, &item->lower, &item->upper);
		if (!late && item->lower < state->last_lower)
			return;
	}
	state->nitems++;
}

/* Does the index only estimate distances? */
static bool
is_compact(const HnswScanState *state)
{
	return state->index->layout.own_kind == HNSW_OWN_INT4;
}

/*
 * The pool's rows, in order, as far as it can be trusted: a wider search would
 * hardly find more rows in the nearer half of the pool, but many in the rest.
 */
static void
collect_pool(HnswScanState *state)
{
	HnswSearch *search = state->search;
	uint32		trusted = (search->width + 1) / 2;
	double		bound = -get_float8_infinity();

	if (is_compact(state))
		trusted = Max(trusted, Min(search->width, RERANKED_ROWS));
	for (int i = 0; i < search->npool; i++)
		add_item(state, search->candidates[search->pool[i].candidate].found, false);
	qsort(state->items, state->nitems, sizeof(HnswScanItem), compare_items);
	state->nsorted = state->nitems;
	state->nitems = Min(state->nitems, Max(trusted, state->returned) - state->returned);

	/* The executor needs more rows to be sure of the order of these. */
	for (uint32 i = 0; i < state->nitems; i++)
		bound = Max(bound, state->items[i].upper);
	while (state->nitems > 0 && state->nitems < state->nsorted &&
		   state->items[state->nitems].lower <= bound)
		state->nitems++;
}

/* All found rows that were not returned yet, in order. */
static void
collect_found(HnswScanState *state, bool late)
{
	for (uint32 i = 0; i < state->search->nfound; i++)
		add_item(state, i, late);
	qsort(state->items, state->nitems, sizeof(HnswScanItem), compare_items);
	state->nsorted = state->nitems;
}

/* Meet all nodes that the search has not met. */
static void
sweep(HnswScanState *state)
{
	for (BlockNumber block = HNSW_METAPAGE + 1;
		 block < RelationGetNumberOfBlocks(state->index->rel); block++)
	{
		CHECK_FOR_INTERRUPTS();
		hnsw_search_sweep(state->search, block, true);
	}
	state->phase = SCAN_SWEPT;
	collect_found(state, false);
}

/*
 * What a search has found.  If it was wide enough for everything that can be
 * reached, the few rows that nothing leads to come in their place, too.
 */
static void
collect(HnswScanState *state)
{
	if (state->search->npool < state->search->width)
		sweep(state);
	else
		collect_pool(state);
}

/* Set up the search from the scan's query; the first rows come after it. */
static void
start(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	HnswMetaPageData meta;
	ScanKey		orderby;

	if (scan->numberOfOrderBys == 0)
		elog(ERROR, "cannot scan hnsw index without order");
	if (!IsMVCCSnapshot(scan->xs_snapshot))
		elog(ERROR, "non-MVCC snapshots are not supported with hnsw");
	pgstat_count_index_scan(scan->indexRelation);
	hnsw_count_search(scan);

	orderby = &scan->orderByData[0];
	state->last_lower = -get_float8_infinity();
	state->max_upper = -get_float8_infinity();
	state->block = HNSW_METAPAGE + 1;
	scan->xs_orderbynulls[0] = (orderby->sk_flags & SK_ISNULL) != 0;
	if (scan->xs_orderbynulls[0])
	{
		state->phase = SCAN_UNORDERED;
		return;
	}
	hnsw_meta_refresh(state->index, &meta);
	hnsw_value_set(&state->index->layout, state->value, orderby->sk_argument, true);
	hnsw_query_set(state->index, state->query, state->value, true);
	if (state->query->zero)
	{
		state->phase = SCAN_UNORDERED;
		return;
	}

	state->phase = SCAN_SEARCH;
	hnsw_search_enter(state->search, &meta, 0, hnsw_ef_search());
	hnsw_search_run(state->search);
	collect(state);
}

/*
 * Widen the search, or meet all nodes that it has not met.  A bounded scan ends
 * with what was found.
 */
static void
continue_search(HnswScanState *state)
{
	HnswSearch *search = state->search;
	double		nodes = (double) RelationGetNumberOfBlocks(state->index->rel) *
		state->index->layout.nodes_per_page / state->index->layout.pages_per_node;
	bool		exhausted = search->npool < search->width;
	bool		bounded = search->nfound >= hnsw_max_scan_nodes();

	if (!bounded && !exhausted && search->width < nodes / SWEEP_SHARE)
	{
		hnsw_search_widen(search, search->width * 2);
		hnsw_search_run(search);
		collect_pool(state);
		return;
	}
	for (BlockNumber block = HNSW_METAPAGE + 1;
		 !bounded && block < RelationGetNumberOfBlocks(state->index->rel); block++)
	{
		CHECK_FOR_INTERRUPTS();
		hnsw_search_sweep(search, block, true);
	}
	state->phase = SCAN_SWEPT;
	collect_found(state, false);
}

/* Get more items; false at the end of the scan. */
static bool
refill(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;

	state->nitems = 0;
	state->next_item = 0;
	state->asked = 0;
	while (state->nitems == 0)
	{
		switch (state->phase)
		{
			case SCAN_START:
				start(scan);
				break;
			case SCAN_SEARCH:
				continue_search(state);
				break;
			case SCAN_SWEPT:
				state->phase = SCAN_DONE;
				if (hnsw_strict_order())
					break;
				state->late = true;
				collect_found(state, true);
				break;
			case SCAN_UNORDERED:
				if (state->block >= RelationGetNumberOfBlocks(scan->indexRelation))
				{
					state->phase = SCAN_DONE;
					break;
				}
				CHECK_FOR_INTERRUPTS();
				hnsw_search_reset(state->search, 0, 1);
				hnsw_search_sweep(state->search, state->block++, false);
				collect_found(state, false);
				break;
			case SCAN_DONE:
				return false;
		}
	}
	return true;
}

/*
 * If pages are not in memory, ours or since the last row the table's, start to
 * read the table's for the next items: a few at first, as nobody says how many
 * rows will be fetched.
 */
static void
read_rows_ahead(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	uint32		concurrency;

	if (scan->heapRelation == NULL ||
		(state->search->cold == 0 && state->reads == blocks_read()))
		return;
	concurrency = get_tablespace_io_concurrency(scan->heapRelation->rd_rel->reltablespace);
	state->asked = Max(state->asked, state->next_item);
	while (state->asked < state->nitems &&
		   state->asked < state->next_item + Min(concurrency, state->next_item + 1))
	{
		const HnswFound *found = &state->search->found[state->items[state->asked++].found];

		if (found->ntids > 0)
			PrefetchBuffer(scan->heapRelation, MAIN_FORKNUM,
						   ItemPointerGetBlockNumber(&state->search->tids[found->tids]));
	}
}

/*
 * Make the next item current.  Its place is certain if its bounds overlap
 * neither an earlier nor the next item's; then the executor need not compute
 * the distance again.
 */
static void
start_item(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	HnswScanItem *item = &state->items[state->next_item++];
	HnswFound  *found = &state->search->found[item->found];
	bool		certain;

	found->emitted = true;
	state->returned++;
	state->ntids = found->ntids;
	state->next_tid = 0;
	memcpy(state->tids, state->search->tids + found->tids,
		   sizeof(ItemPointerData) * found->ntids);
	state->owner = found->id;
	state->more_tids = found->more_tids;
	state->chain_steps = 0;

	if (state->phase == SCAN_UNORDERED || scan->xs_orderbynulls[0] || state->query->zero)
	{
		scan->xs_recheckorderby = false;
		scan->xs_orderbyvals[0] = Float8GetDatum(get_float8_nan());
		return;
	}

	if (is_compact(state))
	{
		/*
		 * True bounds would be useless.  The executor computes the distances of
		 * as many rows as it takes to have the nearest ones among them; then the
		 * estimate of one row stands in for its distance, and so releases the
		 * rows before it.
		 */
		bool		release = state->next_item % RERANKED_ROWS == 0 ||
			state->next_item == state->nitems;

		scan->xs_recheckorderby = !release;
		scan->xs_orderbyvals[0] =
			Float8GetDatum(release ? item->lower : -get_float8_infinity());
		return;
	}

	certain = item->lower == item->upper ||
		(!state->late && item->lower > state->max_upper &&
		 state->next_item < state->nsorted &&
		 item->upper < state->items[state->next_item].lower &&
		 (found->error == 0 || (found->ntids == 1 && found->more_tids == 0)));
	scan->xs_recheckorderby = !certain;
	scan->xs_orderbyvals[0] = Float8GetDatum(item->lower);
	if (!state->late)
	{
		/*
		 * The executor returns a certain row at once, so a row that a wider
		 * search finds within its interval is late.
		 */
		state->last_lower = certain ? item->upper : item->lower;
		state->max_upper = Max(state->max_upper, item->upper);
	}
}

bool
hnsw_gettuple(IndexScanDesc scan, ScanDirection direction)
{
	HnswScanState *state = scan->opaque;
	MemoryContext old = MemoryContextSwitchTo(state->context);

	Assert(ScanDirectionIsForward(direction));
	while (state->next_tid == state->ntids)
	{
		if (state->more_tids != 0)
		{
			CHECK_FOR_INTERRUPTS();
			hnsw_chain_step(state->index, state->more_tids, &state->chain_steps);
			state->ntids = hnsw_chunk_read(state->index, state->owner, &state->more_tids,
										   state->tids);
			state->next_tid = 0;
		}
		else if (state->next_item < state->nitems || refill(scan))
		{
			read_rows_ahead(scan);
			start_item(scan);
		}
		else
		{
			MemoryContextSwitchTo(old);
			return false;
		}
	}
	MemoryContextSwitchTo(old);

	scan->xs_heaptid = state->tids[state->next_tid++];
	scan->xs_recheck = false;
	state->reads = blocks_read();
	return true;
}

void
hnsw_endscan(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;

	hnsw_search_free(state->search);
	MemoryContextDelete(state->context);
	scan->opaque = NULL;
}
