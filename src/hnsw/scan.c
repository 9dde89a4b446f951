/*-------------------------------------------------------------------------
 *
 * scan.c
 *		Ordered scans.
 *
 * A scan searches as wide as hnsw.ef_search or the plan's demand asks, and
 * hands out the nearer half of the pool's rows by the lower bound of their
 * distance.  If more rows are asked for, the width doubles each time, until
 * reading all nodes once is cheaper; then the scan sweeps over them, so that
 * every row is met once.  Rows whose place is certain are returned as they are;
 * the distances of others are read from the table (lookup.c), and they wait
 * until no nearer one can come.
 *
 * No row comes out of order.  The executor has returned rows up to the highest
 * bound that it was told, the watermark; a row below it that a wider search
 * finds is late.  Late rows are left out and counted, unless
 * hnsw.iterative_scan = relaxed_order lets them come where they are found.
 *
 * A compact index only estimates distances: its rows wait for some more; see
 * "Ranked rows" below.
 *
 * Under conditions on filter columns, only nodes with rows that meet them count
 * for the width; where that costs too much, the scan does without (matching.c).
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/scan_state.h"

#include "access/relscan.h"
#include "access/tableam.h"
#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/spccache.h"

/* Nodes of an index that is too small for a search under conditions */
#define FEW_NODES 2000

/* How far the planner's guess of what filters leave may be off beside a sample */
#define SAMPLE_SLACK 1.25

/*
 * Rows of a compact index that are looked up before the first is returned, beside
 * HNSW_RANKED_ROWS: of a demand for more, its share beyond it; then how many ahead.  Chosen,
 * not measured.
 */
#define RANKED_SHARE 4
#define RANKED_AHEAD 10

/* How many standard deviations an estimate may be off */
#define RANKED_DEVIATIONS 3

/* A sweep of an index that is larger than this share of the buffers has a few of its own. */
#define BULK_SHARE 4

/* Is the table a heap, whose TIDs are places in its blocks? */
static inline bool
has_heap(IndexScanDesc scan)
{
	return scan->heapRelation != NULL &&
		scan->heapRelation->rd_tableam == GetHeapamTableAmRoutine();
}

static int
compare_ranked(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	double		x = ((const HnswRankedRow *) a)->distance;
	double		y = ((const HnswRankedRow *) b)->distance;

	return float8_cmp_internal(y, x);	/* the nearest first, and NaN last, as operators have it */
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
	state->ranked = pairingheap_allocate(compare_ranked, NULL);
	MemoryContextSwitchTo(old);

	scan->opaque = state;
	return scan;
}

/* What a plan's node has done so far, of all its scans. */
void
hnsw_scan_report(IndexScanDesc scan, HnswScanReport *report)
{
	HnswScanState *state = scan->opaque;

	*report = state->total;
	hnsw_report_add(report, &state->report, &state->index->counts);
}

void
hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	HnswScanState *state = scan->opaque;

	if (keys && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, sizeof(ScanKeyData) * scan->numberOfKeys);
	if (orderbys && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, sizeof(ScanKeyData) * scan->numberOfOrderBys);

	if (state->phase != SCAN_START)
		hnsw_report_end(state->index, &state->report, &state->total);
	state->phase = SCAN_START;
	state->ready = 0;
	state->nitems = 0;
	state->sorted = 0;
	state->next_item = 0;
	state->returned = 0;
	state->ntids = 0;
	state->next_tid = 0;
	state->more_tids = 0;
	state->asked = 0;
	state->reads = hnsw_blocks_read();
	while (!pairingheap_is_empty(state->ranked))
		pfree(pairingheap_remove_first(state->ranked));
	state->nlooked_up = 0;
	state->nhanded_out = 0;
	state->squares = 0;
	state->max_error = 0;
}

/* ---------------------------------------------------------------------
 * Searches and sweeps
 * ---------------------------------------------------------------------
 */

/* How many nodes the index may have, as far as was seen. */
static double
count_nodes(const HnswScanState *state)
{
	const HnswLayout *layout = &state->index->layout;

	return (double) state->index->nblocks * layout->nodes_per_page / layout->pages_per_node;
}

/* Compile the conditions; false if no row can meet them. */
static bool
make_filter(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	MemoryContext old;

	state->filter = NULL;
	state->search->filter = NULL;
	if (scan->numberOfKeys == 0)
		return true;
	if (state->filter_context == NULL)
		state->filter_context = AllocSetContextCreate(state->context, "hnsw conditions",
													  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(state->filter_context);
	old = MemoryContextSwitchTo(state->filter_context);
	state->filter = hnsw_filter_create(&state->index->keys, scan->indexRelation, scan->keyData,
									   scan->numberOfKeys);
	MemoryContextSwitchTo(old);
	state->search->filter = state->filter;
	return state->filter == NULL || !hnsw_filter_is_false(state->filter);
}

/* Meet all nodes that the search has not met; under conditions, those that it takes. */
static void
sweep(HnswScanState *state, HnswSweepReason reason)
{
	HnswIndex  *index = state->index;
	bool		more = false;

	if (index->nblocks > NBuffers / BULK_SHARE)
		index->strategy = GetAccessStrategy(BAS_BULKREAD);
	if (state->filter != NULL)
		more = hnsw_matches_sweep(state->matches, state->search);
	else
		hnsw_search_sweep_all(state->search);
	if (index->strategy != NULL)
		FreeAccessStrategy(index->strategy);
	index->strategy = NULL;
	state->report.sweep = reason;
	state->phase = more && state->search->nfound < hnsw_max_scan_nodes() ? SCAN_SWEEP : SCAN_LAST;
	hnsw_items_of_found(state);
	if (state->phase == SCAN_SWEEP)
		hnsw_items_trust(state, state->matches->trusted);
}

/* Would a sweep meet no more nodes than hnsw.max_scan_tuples lets it? */
static bool
sweep_is_allowed(const HnswScanState *state)
{
	double		share = state->filter != NULL ? state->matches->share : 1;

	return share * count_nodes(state) <= hnsw_max_scan_nodes();
}

/* Is a sweep cheaper than a search so wide, and allowed? */
static bool
sweep_pays(const HnswScanState *state, double width)
{
	double		nodes = count_nodes(state);

	if (!sweep_is_allowed(state))
		return false;
	width = hnsw_demand_patience(&state->demand, width);
	if (state->filter != NULL)
		return nodes <= FEW_NODES || hnsw_matches_sweep_pays(state->matches, width);
	return width * (HNSW_SWEPT_PER_CANDIDATE + width / HNSW_WIDTH_PER_SWEPT) >= nodes;
}

/*
 * Start a wider search from what the level above finds near the query, too:
 * rows in groups far from each other have few links between the groups, and
 * the search may have left the nearest of them aside.
 */
static void
seed_from_above(HnswScanState *state, int width)
{
	HnswSearch *upper = state->above;
	int			upper_width = width / HNSW_DESCENT_SHARE;
	HnswMetaPageData meta;

	if (upper_width <= HNSW_DESCENT_WIDTH)
		return;
	hnsw_meta_refresh(state->index, &meta);
	if (meta.entry_level == 0)
		return;
	if (upper == NULL)
		upper = state->above = hnsw_search_create(state->index, state->query);
	hnsw_search_enter(upper, &meta, 1, upper_width);
	hnsw_search_run(upper);
	for (int i = 0; i < upper->pool.n; i++)
	{
		const HnswCandidate *candidate = pool_at(&upper->pool, i);

		hnsw_search_seed(state->search, upper->found[candidate->found].below, candidate->key);
	}
}

/* Can no row from this distance on qualify? */
static inline bool
beyond_limit(const HnswScanState *state, double distance)
{
	return distance > state->demand.limit && state->phase != SCAN_UNORDERED;
}

/* The end of a bounded scan: what was found. */
static void
end_search(HnswScanState *state)
{
	state->phase = SCAN_LAST;
	state->report.bounded = true;
	hnsw_items_of_found(state);
}

/*
 * Search, from the entry point or on from where the last search ended, and
 * collect what it has found.  If it was wide enough for everything that can be
 * reached, the few rows that nothing leads to come in their place, too.
 */
static void
run_search(HnswScanState *state, const HnswMetaPageData *meta, int width)
{
	HnswSearch *search = state->search;

	if (meta != NULL)
		hnsw_search_enter(search, meta, 0, width);
	else
	{
		hnsw_search_widen(search, width);
		seed_from_above(state, width);
	}
	search->budget = state->budget;
	search->grant = state->grant;
	hnsw_search_run(search);
	if (meta != NULL && state->filter != NULL && search->pool.n >= width && search->budget > 0)
		width = hnsw_matches_widen(state->matches, search, meta, state->demand.rows,
								   &state->spread);
	state->budget = search->budget;
	state->report.width = width;
	if (search->budget > 0)
	{
		hnsw_items_of_pool(state);
		/* Less than was asked for will do, if rows that can be trusted are beyond the limit. */
		if (search->pool.n >= width || (state->ready > 0 && !is_compact(state) &&
										beyond_limit(state, state->items[state->ready - 1].lower)))
			return;
	}
	if (sweep_is_allowed(state))
		sweep(state, search->budget > 0 ? HNSW_SWEEP_LATER : HNSW_SWEEP_BUDGET);
	else
		end_search(state);
}

/* Set up the search from the scan's query; the first rows come after it. */
static void
start(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	HnswMetaPageData meta;
	ScanKey		orderby;
	double		ef_search;
	double		width;

	if (scan->numberOfOrderBys == 0)
		elog(ERROR, "cannot scan hnsw index without order");
	if (!IsMVCCSnapshot(scan->xs_snapshot))
		elog(ERROR, "non-MVCC snapshots are not supported with hnsw");
	pgstat_count_index_scan(scan->indexRelation);
	piramid_count_search(scan);

	orderby = &scan->orderByData[0];
	state->watermark = -get_float8_infinity();
	state->max_upper = -get_float8_infinity();
	state->relaxed = hnsw_relaxed_order();
	state->block = HNSW_METAPAGE + 1;
	memset(scan->xs_orderbynulls, 0, sizeof(bool) * scan->numberOfOrderBys);
	scan->xs_orderbynulls[0] = (orderby->sk_flags & SK_ISNULL) != 0;
	if (!make_filter(scan))
	{
		state->phase = SCAN_DONE;
		return;
	}
	if (scan->xs_orderbynulls[0])
	{
		state->phase = SCAN_UNORDERED;
		return;
	}
	hnsw_meta_refresh(state->index, &meta);
	if (meta.entry == HNSW_NO_NODE)
	{
		state->phase = SCAN_DONE;	/* whatever the query is, as for an empty table */
		return;
	}
	hnsw_value_set(&state->index->layout, state->value, orderby->sk_argument, true);
	hnsw_query_set(state->index, state->query, state->value, true);
	state->query->mask = hnsw_trial_mask(state->index, state->value);
	if (state->query->zero)
	{
		state->phase = SCAN_UNORDERED;
		return;
	}

	/*
	 * Half of the pool will be returned: see hnsw_items_of_pool.  If filters will
	 * discard rows, a wider first search has fewer late ones after it; but how
	 * many they discard is a guess, which may cost some width and not more.
	 */
	hnsw_demand_find(scan, &state->demand);
	state->spread = 2;
	state->budget = PG_UINT32_MAX;
	state->grant = 0;
	if (state->filter != NULL)
	{
		state->matches = hnsw_matches_create(state->index, state->filter, count_nodes(state),
											 &state->demand);
		state->report.matching = state->matches->share;
		state->demand.share = Min(SAMPLE_SLACK * state->demand.share / state->matches->share, 1);
		state->spread = hnsw_spread(state->matches->share);
	}
	ef_search = hnsw_first_width(state->index->rel, &meta, state->demand.rows,
								 state->report.matching);
	width = Max(state->spread * state->demand.rows, ef_search);
	if (state->demand.rows > 0)
		width = Max(width, Min(state->spread * state->demand.rows / state->demand.share,
							   HNSW_FILTERED_WIDTH * ef_search));
	state->phase = SCAN_SEARCH;
	if (state->filter != NULL && sweep_is_allowed(state))
		hnsw_matches_budget(state->matches, width, &state->budget, &state->grant);
	state->budget = Min(state->budget, hnsw_max_scan_nodes());
	if (sweep_pays(state, width))
	{
		hnsw_search_reset(state->search, 0, 1);
		sweep(state, HNSW_SWEEP_START);
	}
	else
		run_search(state, &meta, (int) Min(width, Max(hnsw_max_scan_nodes() / 2, ef_search)));
}

/*
 * Widen the search, or meet all nodes that it has not met.  A bounded scan ends
 * with what was found.
 */
static void
continue_search(HnswScanState *state)
{
	double		width = (state->filter != NULL ? 1.5 : 2) * state->search->pool.width;

	if (state->search->nfound >= hnsw_max_scan_nodes())
		end_search(state);
	else if (sweep_pays(state, width))
		sweep(state, HNSW_SWEEP_LATER);
	else
		run_search(state, NULL, (int) width);
}

/* Get more items; false at the end of the scan. */
static bool
refill(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;

	if (state->phase == SCAN_LAST && hnsw_items_sort(state))
		return true;
	state->ready = 0;
	state->next_item = 0;
	state->asked = 0;
	while (state->ready == 0)
	{
		switch (state->phase)
		{
			case SCAN_START:
				start(scan);
				break;
			case SCAN_SEARCH:
				continue_search(state);
				break;
			case SCAN_SWEEP:
				sweep(state, state->report.sweep);
				break;
			case SCAN_LAST:
				state->phase = SCAN_DONE;
				break;
			case SCAN_UNORDERED:
				if (state->block >= RelationGetNumberOfBlocks(scan->indexRelation))
				{
					state->phase = SCAN_DONE;
					break;
				}
				CHECK_FOR_INTERRUPTS();
				hnsw_search_reset(state->search, 0, 1);
				hnsw_search_list(state->search, state->block++);
				hnsw_items_of_found(state);
				break;
			case SCAN_DONE:
				return false;
		}
	}
	return true;
}

/* ---------------------------------------------------------------------
 * Heap TIDs, item by item
 * ---------------------------------------------------------------------
 */

/*
 * If pages are not in memory, ours or since the last row the table's, start to
 * read the table's for the next items: a few at first, as the plan may need
 * fewer rows than it seems.  Only of a heap is it known where rows are.
 */
static void
read_rows_ahead(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	uint32		concurrency;

	if (!has_heap(scan) || (state->search->cold == 0 && state->reads == hnsw_blocks_read()))
		return;
	concurrency = get_tablespace_io_concurrency(scan->heapRelation->rd_rel->reltablespace);
	state->asked = Max(state->asked, state->next_item);
	while (state->asked < state->ready &&
		   state->asked < state->next_item + Min(concurrency, state->next_item + 1))
	{
		const HnswFound *found = &state->search->found[state->items[state->asked++].found];

		if (found->ntids > 0 &&
			ItemPointerGetBlockNumber(&state->search->tids[found->tids]) < state->heap_blocks)
			hnsw_block_read_ahead(scan->heapRelation,
								  ItemPointerGetBlockNumber(&state->search->tids[found->tids]));
	}
}

/*
 * Make the next item current.  Its place is certain if its bounds overlap
 * neither an earlier nor the next item's; then the executor need not compute
 * the distance again.
 */
static void
start_item(HnswScanState *state)
{
	HnswScanItem *item = &state->items[state->next_item++];
	HnswFound  *found = &state->search->found[item->found];

	found->emitted = true;
	state->returned++;
	state->lower = item->lower;
	state->upper = item->upper;
	state->error = found->error;
	state->ntids = found->ntids;
	state->next_tid = 0;
	memcpy(state->tids, state->search->tids + found->tids,
		   sizeof(ItemPointerData) * found->ntids);
	state->owner = found->id;
	state->more_tids = found->more_tids;
	state->chain_steps = 0;
	if (state->phase == SCAN_UNORDERED || is_compact(state))
		return;

	state->doubtful = item->lower < state->watermark && !state->relaxed;
	state->certain = !state->doubtful &&
		(item->lower == item->upper ||
		 (item->lower > state->max_upper && state->next_item < state->nitems &&
		  item->upper < state->items[state->next_item].lower &&
		  (found->error == 0 || (found->ntids == 1 && found->more_tids == 0))));
	state->max_upper = Max(state->max_upper, item->upper);
}

/* Get the heap TIDs of the item's next chunk. */
static void
read_chunk(HnswScanState *state)
{
	uint8		keys[HNSW_CHUNK_TIDS * HNSW_MAX_KEY_SIZE];

	state->ntids = hnsw_chunk_read(state->index, state->owner, &state->more_tids, state->tids,
								   state->filter != NULL ? keys : NULL);
	if (state->filter != NULL)
		state->ntids = hnsw_filter_tids(state->filter, &state->index->layout, state->ntids,
										state->tids, keys, state->tids);
	state->next_tid = 0;
}

/* The next heap TID of an item; false at the end of the scan. */
static bool
next_tid(IndexScanDesc scan, ItemPointer tid)
{
	HnswScanState *state = scan->opaque;

	while (state->next_tid == state->ntids)
	{
		if (state->more_tids != 0)
		{
			CHECK_FOR_INTERRUPTS();
			hnsw_chain_step(state->index, state->more_tids, &state->chain_steps);
			read_chunk(state);
		}
		else if (state->next_item < state->ready || refill(scan))
		{
			if (!is_compact(state) && beyond_limit(state, state->items[state->next_item].lower))
			{
				state->phase = SCAN_DONE;
				state->ready = state->next_item;
				return false;
			}
			read_rows_ahead(scan);
			start_item(state);
		}
		else
			return false;
	}
	*tid = state->tids[state->next_tid++];
	if (ItemPointerGetBlockNumber(tid) >= state->heap_blocks)
		page_check_place(state->index->rel, HnswNodeBlock(&state->index->layout, state->owner),
						 scan->heapRelation, tid, &state->heap_blocks);
	return true;
}

/* The exact distance of a row; false if the scan does not see the row. */
static bool
lookup_distance(IndexScanDesc scan, ItemPointer tid, double *distance)
{
	HnswScanState *state = scan->opaque;

	if (state->lookup == NULL)
		state->lookup = hnsw_lookup_create(scan);
	return hnsw_lookup_distance(state->lookup, tid, distance);
}

/* By a second distance in ORDER BY the index has no order: the executor computes both. */
static void
set_distance(IndexScanDesc scan, double distance)
{
	HnswScanState *state = scan->opaque;

	scan->xs_orderbyvals[0] = Float8GetDatum(distance);
	for (int i = 1; i < scan->numberOfOrderBys; i++)
		scan->xs_orderbyvals[i] = Float8GetDatum(-get_float8_infinity());
	scan->xs_recheckorderby = scan->numberOfOrderBys > 1;
	state->watermark = Max(state->watermark, distance);
}

static void
set_unordered(IndexScanDesc scan, const ItemPointerData *tid)
{
	scan->xs_heaptid = *tid;
	set_distance(scan, get_float8_nan());
}

/* Let a row wait, unless it comes late. */
static void
add_ranked(HnswScanState *state, const ItemPointerData *tid, double distance, double upper)
{
	HnswRankedRow *row;

	if (upper < state->watermark && !state->relaxed)
	{
		state->report.late++;
		return;
	}
	row = palloc(sizeof(HnswRankedRow));
	row->distance = distance;
	row->upper = upper;
	row->tid = *tid;
	pairingheap_add(state->ranked, &row->node);
}

/* Hand out the nearest row that waits; false if none does. */
static bool
take_ranked(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	HnswRankedRow *row;

	if (pairingheap_is_empty(state->ranked))
		return false;
	row = (HnswRankedRow *) pairingheap_remove_first(state->ranked);
	scan->xs_heaptid = row->tid;
	set_distance(scan, row->distance);
	state->watermark = Max(state->watermark, row->upper);
	state->nhanded_out++;
	pfree(row);
	return true;
}

/* Can no row come that is nearer than all that wait? */
static bool
nearest_is_certain(const HnswScanState *state)
{
	return !pairingheap_is_empty(state->ranked) &&
		((const HnswRankedRow *) pairingheap_first(state->ranked))->distance <= state->lower;
}

/*
 * The next row of an index that bounds distances.  A row found later within the
 * interval of a certain row that was handed out is late.
 */
static bool
next_bounded(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	ItemPointerData tid;

	while (!nearest_is_certain(state) && next_tid(scan, &tid))
	{
		double		distance;

		if (state->phase == SCAN_UNORDERED)
		{
			set_unordered(scan, &tid);
			return true;
		}
		CHECK_FOR_INTERRUPTS();
		if (state->certain)
			add_ranked(state, &tid, state->lower, state->upper);
		else if (lookup_distance(scan, &tid, &distance))
			add_ranked(state, &tid, distance, distance);
	}
	return take_ranked(scan);
}

/* ---------------------------------------------------------------------
 * Ranked rows of a compact index
 *
 * Rows come from the index by their estimates, and wait in a heap until it is
 * as good as sure that no nearer one comes after them: the next estimate is
 * further away by three times what the estimates were off so far.  As many
 * rows as the plan surely needs are looked up before the first is returned.
 * ---------------------------------------------------------------------
 */

/* Rows to look up before any is returned */
static double
rows_to_rank(const HnswScanState *state)
{
	double		rows = state->demand.rows;

	return Max(rows + Max(RANKED_AHEAD, rows / RANKED_SHARE), HNSW_RANKED_ROWS);
}

/* How far an estimate may be off; of all rows that a cursor may take, some are off by more. */
static double
estimate_slack(const HnswScanState *state)
{
	return (state->demand.complete ? 2 : 1) * RANKED_DEVIATIONS *
		sqrt(state->squares / Max(state->nlooked_up, 1)) * state->max_error;
}

/* May the nearest ranked row be returned? */
static bool
nearest_is_due(const HnswScanState *state)
{
	const HnswRankedRow *nearest;

	if (pairingheap_is_empty(state->ranked) || state->nlooked_up < rows_to_rank(state))
		return false;
	if (state->nhanded_out < state->demand.rows && state->demand.share >= 1)
		return true;
	nearest = (const HnswRankedRow *) pairingheap_first(state->ranked);
	return state->nlooked_up >= state->nhanded_out + RANKED_AHEAD &&
		nearest->distance <= state->lower - estimate_slack(state);
}

/* Look a row up, and put it among the ranked ones. */
static void
rank_row(IndexScanDesc scan, ItemPointer tid)
{
	HnswScanState *state = scan->opaque;
	double		estimate = state->lower;
	double		distance;

	if (!lookup_distance(scan, tid, &distance))
		return;
	state->nlooked_up++;
	if (isfinite(distance) && isfinite(estimate) && state->error > 0)
	{
		double		error = (distance - estimate) / state->error;

		state->squares += error * error;
	}
	add_ranked(state, tid, distance, distance);
}

static bool
next_ranked(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;
	ItemPointerData tid;

	while (!nearest_is_due(state) && next_tid(scan, &tid))
	{
		CHECK_FOR_INTERRUPTS();
		if (state->phase == SCAN_UNORDERED)
		{
			set_unordered(scan, &tid);
			return true;
		}
		rank_row(scan, &tid);
		/* Enough, if all that comes is too far away. */
		if (beyond_limit(state, state->lower - estimate_slack(state)) &&
			state->nlooked_up >= HNSW_RANKED_ROWS)
		{
			state->phase = SCAN_DONE;
			state->ready = state->next_item;
			state->next_tid = state->ntids;
			state->more_tids = 0;
		}
	}
	return take_ranked(scan);
}

bool
hnsw_gettuple(IndexScanDesc scan, ScanDirection direction)
{
	HnswScanState *state = scan->opaque;
	MemoryContext old = MemoryContextSwitchTo(state->context);
	bool		found;

	Assert(ScanDirectionIsForward(direction));
	found = is_compact(state) ? next_ranked(scan) : next_bounded(scan);
	MemoryContextSwitchTo(old);
	state->report.rows += found;
	scan->xs_recheck = state->filter != NULL && hnsw_filter_rechecks(state->filter);
	state->reads = hnsw_blocks_read();
	return found;
}

void
hnsw_endscan(IndexScanDesc scan)
{
	HnswScanState *state = scan->opaque;

	if (state->phase != SCAN_START)
		hnsw_report_end(state->index, &state->report, &state->total);
	if (state->lookup != NULL)
		hnsw_lookup_end(state->lookup);
	MemoryContextDelete(state->context);
	scan->opaque = NULL;
}
