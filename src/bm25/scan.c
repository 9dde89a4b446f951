/*-------------------------------------------------------------------------
 *
 * scan.c
 *		Scans: rows in the order of their scores, rows that match a condition, or
 *		both.
 *
 * A scan is not told how many rows it will be asked for.  So it looks for few of the
 * best at first, or as many as the planner has noted in the query (resolve.c), and for
 * four times as many whenever these have been handed out: no row is lost or comes
 * twice, as the next ones come after the last one in the order of rows, which is total.
 *
 * With a condition, too, the best rows are looked for like this, if all rows with a word
 * of the order's meet it.  Else each row that meets it is looked at, but only the best
 * ones are kept, as many as the planner has noted; all, if there is no note or more are
 * asked for.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "type/sparsevec.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define FIRST_ROWS 16

/* Of sparse vectors, those that may be among the first are more than are asked for. */
#define FIRST_SPARSE_ROWS 24
#define GROWTH 4
#define MAX_ROWS (1 << 24)

/* If more of the rows that meet a condition are asked for, all are looked for at once. */
#define MOST_RANKED 1024

/* So many rows of a condition, which stand near each other, get their TIDs together. */
#define TIDS 32

typedef struct Bm25Scan
{
	MemoryContext context;		/* of what a rescan throws away */
	Bm25Search	search;
	bool		nothing;		/* a NULL was asked for */
	bool		sparse;			/* rows are sparse vectors */
	bool		null_order;		/* all are equally far from NULL */
	bool		started;
	bool		conditional;	/* there are conditions, or rows without any word count, too */
	bool		order_matches;	/* each row with a word of the order's meets them */
	bool		bounded;		/* of those that meet them, only the best ones are kept */
	bool		all;			/* what is handed out are all rows that are left */
	Bm25Top		top;			/* what is handed out */
	int			next;
	ItemPointerData tids[TIDS]; /* of these, from "first_tid" on */
	int			first_tid;
	int			ntids;
	BlockNumber heap_blocks;	/* of the table, as last seen: it only grows */
	Bm25Query	order;			/* with the statement that asks for it */
	TimestampTz statement;
	CommandId	command;
	int			room;			/* of what is handed out, if that is not a heap */
} Bm25Scan;

/* The ordered scan that has handed out a row last */
static IndexScanDesc latest = NULL;

static void
forget_scan(void *scan)
{
	if (latest == scan)
		latest = NULL;
}

IndexScanDesc
bm25_beginscan(Relation rel, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(rel, nkeys, norderbys);
	Bm25Scan  *state = palloc0(sizeof(Bm25Scan));

	state->context = AllocSetContextCreate(CurrentMemoryContext, "bm25 scan",
										   ALLOCSET_DEFAULT_SIZES);
	scan->opaque = state;
	if (norderbys > 0)
	{
		scan->xs_orderbyvals = palloc0(sizeof(Datum) * norderbys);
		scan->xs_orderbynulls = palloc(sizeof(bool) * norderbys);
		memset(scan->xs_orderbynulls, true, sizeof(bool) * norderbys);
	}
	return scan;
}

/* The query of a scan key: it must be for this index, or one that this is a partition of. */
static Bm25Query
get_query(IndexScanDesc scan, ScanKey key)
{
	Bm25Query	query;

	if (key->sk_strategy == BM25_MATCH_TSQUERY)
		return bm25_query_of_tsquery(DatumGetTSQuery(key->sk_argument), InvalidOid);
	query = DatumGetBm25Query(key->sk_argument);
	if (!bm25_is_named(RelationGetRelid(scan->indexRelation), query->index))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("query is for another index than \"%s\"",
						RelationGetRelationName(scan->indexRelation))));
	return query;
}

void
bm25_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	Bm25Scan  *state = scan->opaque;

	if (keys && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, scan->numberOfOrderBys * sizeof(ScanKeyData));
	MemoryContextReset(state->context);
	*state = (Bm25Scan) {state->context,.heap_blocks = state->heap_blocks};
}

/* Note what the scores of an ordered scan are of. */
static void
note_order(IndexScanDesc scan, Bm25Query query)
{
	Bm25Scan  *state = scan->opaque;
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	state->order = palloc(VARSIZE(query));
	memcpy(state->order, query, VARSIZE(query));
	state->statement = GetCurrentStatementStartTimestamp();
	state->command = GetCurrentCommandId(false);
	*callback = (MemoryContextCallback) {forget_scan, scan};
	MemoryContextRegisterResetCallback(state->context, callback);
}

/*
 * The score of a value, if that is the indexed column of the row which a scan for the
 * same query has just handed out.  Then nothing needs to be parsed, which would take
 * most of the time of many queries.
 */
bool
bm25_scanned_score(Datum value, Bm25Query query, double *score)
{
	Bm25Scan  *state = latest == NULL ? NULL : latest->opaque;

	if (state == NULL || !bm25_is_scanned(latest, DatumGetPointer(value)) ||
		!bm25_same_query(query, state->order))
		return false;
	/* A later FETCH has the snapshot of its cursor's scan; other statements, scores of their own. */
	if ((state->statement != GetCurrentStatementStartTimestamp() ||
		 state->command != GetCurrentCommandId(false)) &&
		(!ActiveSnapshotSet() || GetActiveSnapshot() != latest->xs_snapshot))
		return false;
	*score = bm25_score(state->search.weights, state->top.hits[state->next - 1].points);
	return true;
}

/* Take the order of a scan. */
static void
start_order(IndexScanDesc scan, ScanKey key)
{
	Bm25Scan   *state = scan->opaque;
	Bm25Search *search = &state->search;
	Bm25Query	query;

	if (search->meta.flags & BM25_HAS_IMPACTS)
	{
		bm25_search_sparse(search, DatumGetSparseVector(key->sk_argument));
		return;
	}
	query = get_query(scan, key);
	note_order(scan, query);
	bm25_search_order_by(search, query);
}

/* Take the query apart, and look at the index. */
static void
start(IndexScanDesc scan)
{
	Bm25Scan  *state = scan->opaque;
	Bm25Search *search = &state->search;

	state->started = true;
	pgstat_count_index_scan(scan->indexRelation);
	piramid_count_search(scan);
	bm25_search_init(search, scan->indexRelation);
	state->sparse = (search->meta.flags & BM25_HAS_IMPACTS) != 0;
	for (int i = 0; i < scan->numberOfOrderBys; i++)
	{
		if (scan->orderByData[i].sk_flags & SK_ISNULL)
		{
			state->nothing = !state->sparse;
			state->null_order = search->ordered = state->sparse;
		}
		else
			start_order(scan, &scan->orderByData[i]);
	}
	for (int i = 0; i < scan->numberOfKeys; i++)
	{
		if (scan->keyData[i].sk_flags & SK_ISNULL)
			state->nothing = true;
		else
			bm25_search_match(search, get_query(scan, &scan->keyData[i]));
	}
	if (!state->nothing)
		bm25_search_open(search);
	/* A vector has a distance from any other: such a scan ends with all rows. */
	state->conditional = search->nmatches > 0 || state->sparse || bm25_unmatched();
	state->order_matches = search->ordered && bm25_order_matches(search);
}

/* Make room for other rows than those that were handed out, which come after them. */
static void
begin_rows(Bm25Scan *state, int k)
{
	Bm25Top    *top = &state->top;

	if (top->n > 0)
	{
		top->has_after = true;
		top->after = top->hits[top->n - 1];
	}
	if (top->hits != NULL)
		pfree(top->hits);
	top->hits = palloc_extended(sizeof(Bm25Hit) * (Size) k, MCXT_ALLOC_HUGE);
	top->k = k;
	top->n = 0;
	state->room = k;
	state->next = state->ntids = 0;
}

/* Keep a row that conditions let through. */
static void
add_hit(void *arg, uint32 segment, uint32 doc, uint32 points, bool recheck)
{
	Bm25Scan   *state = arg;
	Bm25Top    *top = &state->top;
	Bm25Hit		hit = {points, segment, doc};

	if (state->bounded)
	{
		bm25_top_add(top, &state->search, hit);
		return;
	}
	if (top->has_after && !bm25_hit_before(&top->after, &hit))
		return;
	if (top->n == state->room)
	{
		if (state->room > INT_MAX / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many rows match")));
		state->room *= 2;
		top->hits = repalloc_huge(top->hits, sizeof(Bm25Hit) * state->room);
	}
	top->hits[top->n++] = hit;
}

/*
 * Look at all rows that meet the conditions, for the k best ones, or for all if k is 0;
 * those of equal points stay in the table's order.
 */
static void
find_matches(Bm25Scan *state, int k)
{
	Bm25Search *search = &state->search;

	state->bounded = k > 0;
	begin_rows(state, k > 0 ? k : 1024);
	for (uint32 i = 0; i < search->meta.nsegments; i++)
		bm25_match_segment(search, i, state->bounded ? &state->top : NULL, add_hit, state);
	bm25_match_head(search, add_hit, state);
	state->all = k == 0 || state->top.n < k;
	if (search->ordered)
		bm25_top_sort(&state->top);
}

/* Look for the k next best rows that have a word of the order's. */
static void
find_best(Bm25Scan *state, int k)
{
	Bm25Search *search = &state->search;
	Bm25Top    *top = &state->top;

	begin_rows(state, k);
	for (uint32 i = 0; i < search->meta.nsegments; i++)
		bm25_rank_segment(search, i, top);
	for (uint32 i = 0; i < search->nhead; i++)
	{
		uint32		points = bm25_head_points(search, &search->head[i]);

		if (points > 0 && !search->head[i].dead)
			bm25_top_add(top, search, (Bm25Hit) {points, search->meta.nsegments, i});
	}
	bm25_top_sort(top);
	state->all = !state->conditional && top->n < k;
}

/* Look for the first rows, or for the next ones. */
static void
find_rows(Bm25Scan *state)
{
	Bm25Top    *top = &state->top;
	bool		first = top->k == 0;
	int			noted = state->order != NULL ? bm25_query_rows(state->order) : 0;
	int			least = state->sparse ? FIRST_SPARSE_ROWS : FIRST_ROWS;
	int			k = !first ? Min(top->k * GROWTH, MAX_ROWS) : noted > 0 ? noted : least;

	if (!state->conditional)
		find_best(state, k);
	else if (!state->order_matches)
		find_matches(state, first ? noted : 0);
	/* The rows that meet the conditions without a word of the order's come at the end. */
	else if (first || (top->n == top->k && k <= MOST_RANKED))
		find_best(state, k);
	else
		find_matches(state, 0);
}

/* A block that tells where a row's document is, if it is broken: of its segment, or the head */
static BlockNumber
block_of(const Bm25Search *search, const Bm25Hit *hit)
{
	return hit->segment == search->meta.nsegments ? search->meta.head_first :
		search->readers[hit->segment]->segment.header;
}

/* The heap TID of a row. */
static void
get_tid(Bm25Search *search, const Bm25Hit *hit, ItemPointer tid)
{
	if (hit->segment == search->meta.nsegments)
		*tid = search->head[hit->doc].tid;
	else
		bm25_tid(search->readers[hit->segment], hit->doc, tid);
}

/* The heap TID of the next row */
static ItemPointer
next_tid(IndexScanDesc scan)
{
	Bm25Scan   *state = scan->opaque;
	Bm25Search *search = &state->search;
	int			i = state->next - state->first_tid;

	if (i < 0 || i >= state->ntids)
	{
		state->first_tid = state->next;
		state->ntids = search->ordered ? 1 : Min(TIDS, state->top.n - state->next);
		for (i = 0; i < state->ntids; i++)
			get_tid(search, &state->top.hits[state->next + i], &state->tids[i]);
		for (uint32 segment = 0; segment < search->meta.nsegments; segment++)
			bm25_reader_release(search->readers[segment]);
		i = 0;
	}
	if (ItemPointerGetBlockNumber(&state->tids[i]) >= state->heap_blocks)
		page_check_place(search->rel, block_of(search, &state->top.hits[state->next]),
						 scan->heapRelation, &state->tids[i], &state->heap_blocks);
	return &state->tids[i];
}

/*
 * Tell what the row to be handed out is ordered by: its score; or, of sparse vectors, what
 * its distance is at least, so that the executor computes it and sorts.
 */
static void
tell_order(IndexScanDesc scan, uint32 points)
{
	Bm25Scan   *state = scan->opaque;
	const Bm25Weights *weights = state->search.weights;

	scan->xs_recheckorderby = state->sparse;
	scan->xs_orderbyvals[0] = Float8GetDatum(state->sparse ? bm25_impact_distance(weights, points) :
											 bm25_score(weights, points));
	scan->xs_orderbynulls[0] = state->null_order;
	if (!state->sparse)
		latest = scan;
}

/* Is there a row to hand out? */
static bool
have_row(Bm25Scan *state)
{
	while (state->next == state->top.n && !state->all)
		find_rows(state);
	return state->next < state->top.n;
}

bool
bm25_gettuple(IndexScanDesc scan, ScanDirection direction)
{
	Bm25Scan  *state = scan->opaque;
	MemoryContext old = MemoryContextSwitchTo(state->context);
	bool		found;

	Assert(ScanDirectionIsForward(direction));
	forget_scan(scan);
	/* They do not see the new row of a reused TID. */
	if (!IsMVCCSnapshot(scan->xs_snapshot))
		elog(ERROR, "a bm25 index needs an MVCC snapshot");
	if (!state->started)
		start(scan);
	found = !state->nothing && have_row(state);
	if (found)
	{
		const Bm25Hit *hit = &state->top.hits[state->next];

		scan->xs_heaptid = *next_tid(scan);
		state->next++;
		scan->xs_recheck = state->search.recheck;
		scan->xs_recheckorderby = false;
		if (scan->numberOfOrderBys > 0)
			tell_order(scan, hit->points);
	}
	MemoryContextSwitchTo(old);
	return found;
}

/* What a bitmap scan collects */
typedef struct BitmapState
{
	Bm25Search *search;
	TIDBitmap  *bitmap;
	int64		n;
} BitmapState;

static void
add_to_bitmap(void *arg, uint32 segment, uint32 doc, uint32 points, bool recheck)
{
	BitmapState *state = arg;
	Bm25Hit		hit = {points, segment, doc};
	ItemPointerData tid;

	get_tid(state->search, &hit, &tid);
	/* A block past the table's end is passed over later. */
	if (ItemPointerGetOffsetNumber(&tid) > MaxHeapTuplesPerPage)
		page_report_corrupt(state->search->rel, block_of(state->search, &hit), "an impossible heap TID");
	tbm_add_tuples(state->bitmap, &tid, 1, recheck);
	state->n++;
}

int64
bm25_getbitmap(IndexScanDesc scan, TIDBitmap *bitmap)
{
	Bm25Scan  *state = scan->opaque;
	MemoryContext old = MemoryContextSwitchTo(state->context);
	BitmapState result = {&state->search, bitmap};

	start(scan);
	if (!state->nothing)
	{
		for (uint32 i = 0; i < state->search.meta.nsegments; i++)
			bm25_match_segment(&state->search, i, NULL, add_to_bitmap, &result);
		bm25_match_head(&state->search, add_to_bitmap, &result);
	}
	MemoryContextSwitchTo(old);
	return result.n;
}

void
bm25_endscan(IndexScanDesc scan)
{
	Bm25Scan  *state = scan->opaque;

	MemoryContextDelete(state->context);
	pfree(state);
}
