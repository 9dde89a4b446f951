/*-------------------------------------------------------------------------
 *
 * build_insert.c
 *		CREATE INDEX: whether a graph made by partitions is a good one, and
 *		what is done if not: rows are inserted one by one.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"

#include "access/tableam.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "catalog/storage.h"
#include "commands/progress.h"
#include "common/pg_prng.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"

/* Rows from which on it is told that they are inserted */
#define NOTICE_ROWS 10000

/* Each of so many rows is looked for, which takes less than 0.1 s */
#define ALL_CHECKED 2000
/* Of more, one in so many, but at least and at most so many */
#define ROWS_PER_CHECK 100
#define MIN_CHECKS 400
#define MAX_CHECKS 1000

/*
 * Widths of these searches.  A row that the third finds belongs to no lost group:
 * from there on, only its own links are few.  The first is hnsw.ef_search's default.
 * If it misses a row, that says little, unless it went astray.
 */
static const int check_widths[] = {40, 100, 200};

/*
 * How often rows are looked for, each time twice as many, while a lost group may be
 * among those missed, or so much less is missed than before; the share that is not worth
 * a third round; and the shares that may be missed so that it pays to mend the graph,
 * and in the last round
 */
#define CHECK_ROUNDS 4
#define HELPED_SHARE 0.75
#define SMALL_SHARE 0.001
#define MENDED_SHARE 0.005
#define MISSED_SHARE 0.002

/* What looking for some rows has come to; each counts once. */
typedef struct RowsSought
{
	int			astray;			/* found after the first search went astray */
	int			alone;			/* not found at once, but half of what is nearest to it */
	int			missed;			/* by all searches, with most of what is nearest to it */
} RowsSought;

/* Rows that are nodes of the next level now */
static inline int
rows_promoted(const RowsSought *sought)
{
	return sought->astray + sought->missed;
}

/*
 * Is so much missed that the graph is better thrown away?  Where there is no structure,
 * searches miss rows in any graph, but most of them alone.
 */
static inline bool
misses_many(const RowsSought *sought, int checks)
{
	return sought->missed > sought->alone && sought->missed > checks * MENDED_SHARE;
}

/*
 * Look for a base node, and count what comes of it.  The last page of a part may have
 * slots without a node, for which nobody searches.
 */
static void
look_for(HnswFinder *finder, const HnswMetaPageData *meta, HnswNodeId id, RowsSought *sought)
{
	switch (hnsw_finder_look(finder, meta, id, check_widths, lengthof(check_widths)))
	{
		case HNSW_LOOK_FOUND:
			break;
		case HNSW_LOOK_ASTRAY:
			sought->astray++;
			break;
		case HNSW_LOOK_ALONE:
			sought->alone++;
			break;
		case HNSW_LOOK_LOST:
			sought->missed++;
			break;
	}
}

/*
 * Do searches find the rows, whose base nodes are from "first" on?  Some are
 * looked for.  Where one is missed, a whole group may be, to which no links lead
 * and in which no row has an upper node: so it gets one, and others are looked
 * for, as long as that helps.  Many that are missed are more than that can mend.  By
 * inner product, something better than the row will do.
 */
bool
build_finds_rows(BuildState *state, HnswNodeId first)
{
	uint32		n = (uint32) state->done;
	bool		all = n <= ALL_CHECKED;
	int			checks = all ? n : Max(MIN_CHECKS, Min(n / ROWS_PER_CHECK, MAX_CHECKS));
	RowsSought	sought = {0};
	double		share = 1;
	bool		many = false;
	bool		few = true;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build check",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	HnswFinder *finder = hnsw_finder_create(state->index);
	HnswMetaPageData meta;
	pg_prng_state random;

	finder->search->lifted = false;		/* as queries search, of which each row is one */
	pg_prng_seed(&random, n);
	hnsw_meta_read(state->rel, &meta);
	for (int round = 0; round < CHECK_ROUNDS && meta.entry != HNSW_NO_NODE; round++)
	{
		double		before = share;

		sought = (RowsSought) {0};
		checks *= round > 0 && !all ? 2 : 1;
		for (int i = 0; i < checks && !misses_many(&sought, checks); i++)
		{
			uint32		row = all ? i : (uint32) pg_prng_uint64_range(&random, 0, n - 1);
			HnswNodeId	id = build_nth_node(&state->layout, first, row);
			int			promoted = rows_promoted(&sought);

			finder->search->keep_vectors = false;
			look_for(finder, &meta, id, &sought);
			if (rows_promoted(&sought) == promoted)
				continue;
			finder->search->keep_vectors = true;
			hnsw_promote(finder, id);
		}
		elog(DEBUG1, "hnsw build: of %d vectors, %d were not found, %d alone, %d astray",
			 checks, sought.missed, sought.alone, sought.astray);
		many = misses_many(&sought, checks);
		few = sought.missed <= Max(Max(1, checks * MISSED_SHARE), sought.alone);
		share = (double) rows_promoted(&sought) / checks;
		if (many || share == 0 ||
			(few && (share > before * HELPED_SHARE || (round > 0 && share <= SMALL_SHARE))))
			break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return !many && few;
}

/* Rows on their way into an order that is not the table's */
typedef struct Shuffle
{
	Tuplesortstate *sort;		/* a random number, the heap TID, the index's columns */
	TupleTableSlot *slot;
	int			columns;		/* of the index */
	int			vector;			/* which of them, from 0 */
} Shuffle;

/* What stands before the index's columns */
#define SHUFFLE_COLUMNS 2

/*
 * table_index_build_scan callback.  A value that lies outside the table's row is
 * read now: a row that is dying may be gone when the sort comes to it.
 */
static void
shuffle_callback(Relation rel, ItemPointer tid, Datum *values, bool *isnull,
				 bool tuple_is_alive, void *arg)
{
	Shuffle    *shuffle = arg;
	TupleTableSlot *slot = shuffle->slot;
	Datum		value;

	if (isnull[shuffle->vector])
		return;
	value = PointerGetDatum(PG_DETOAST_DATUM(values[shuffle->vector]));
	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, sizeof(bool) * SHUFFLE_COLUMNS);
	slot->tts_values[0] = Int32GetDatum((int32) pg_prng_uint32(&pg_global_prng_state));
	slot->tts_values[1] = PointerGetDatum(tid);
	memcpy(slot->tts_values + SHUFFLE_COLUMNS, values, sizeof(Datum) * shuffle->columns);
	memcpy(slot->tts_isnull + SHUFFLE_COLUMNS, isnull, sizeof(bool) * shuffle->columns);
	slot->tts_values[SHUFFLE_COLUMNS + shuffle->vector] = value;
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(shuffle->sort, slot);
	if (DatumGetPointer(value) != DatumGetPointer(values[shuffle->vector]))
		pfree(DatumGetPointer(value));
}

/*
 * Sort the rows of the table at random: where near rows lie together, and
 * their groups far from each other, inserts in the table's order would lose
 * some of these.
 */
static void
shuffle_start(BuildState *state, Shuffle *shuffle)
{
	TupleDesc	index_desc = RelationGetDescr(state->rel);
	TupleDesc	desc = CreateTemplateTupleDesc(SHUFFLE_COLUMNS + index_desc->natts);
	AttrNumber	key = 1;
	Oid			operator = Int4LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	TupleDescInitEntry(desc, 1, "place", INT4OID, -1, 0);
	TupleDescInitEntry(desc, 2, "tid", TIDOID, -1, 0);
	for (int i = 0; i < index_desc->natts; i++)
		TupleDescInitEntry(desc, SHUFFLE_COLUMNS + 1 + i, NameStr(TupleDescAttr(index_desc, i)->attname),
						   TupleDescAttr(index_desc, i)->atttypid, -1, 0);
	shuffle->columns = index_desc->natts;
	shuffle->vector = state->vector_column - 1;
	shuffle->sort = tuplesort_begin_heap(desc, 1, &key, &operator, &collation, &nulls_first,
										 maintenance_work_mem, NULL, TUPLESORT_NONE);
	shuffle->slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	(void) table_index_build_scan(state->heap, state->rel, state->info, true, false,
								  shuffle_callback, shuffle, NULL);
	tuplesort_performsort(shuffle->sort);
	ExecDropSingleTupleTableSlot(shuffle->slot);
	shuffle->slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
}

static void
insert_shuffled(BuildState *state, Shuffle *shuffle)
{
	while (tuplesort_gettupleslot(shuffle->sort, true, false, shuffle->slot, NULL))
	{
		MemoryContext old = MemoryContextSwitchTo(state->row_context);
		TupleTableSlot *slot = shuffle->slot;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		hnsw_insert(state->rel, slot->tts_values + SHUFFLE_COLUMNS, slot->tts_isnull + SHUFFLE_COLUMNS,
					(ItemPointer) DatumGetPointer(slot->tts_values[1]), state->heap,
					UNIQUE_CHECK_NO, false, state->info);
		MemoryContextSwitchTo(old);
		MemoryContextReset(state->row_context);
		state->done++;
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) state->done);
	}
	ExecDropSingleTupleTableSlot(shuffle->slot);
	tuplesort_end(shuffle->sort);
}

/*
 * Insert all rows of the table one by one, in any order, into an index as if it
 * had been created empty: what was learned from the rows may not fit most.  Where
 * remote rows are is no matter of most: without their mean, int8 would tell nothing.
 */
void
build_insert(BuildState *state, const char *why)
{
	HnswMetaPageData meta;
	Shuffle		shuffle;

	/* A small one takes no time in any case. */
	ereport(state->indtuples >= NOTICE_ROWS ? NOTICE : DEBUG1,
			(errmsg("hnsw graph of %.0f tuples is built tuple by tuple, which takes longer",
					state->indtuples),
			 errdetail_internal("%s", why)));
	if (state->duplicates != NULL)
		BufFileClose(state->duplicates);
	RelationTruncate(state->rel, 0);
	state->request.projected = false;
	hnsw_layout_choose(&state->layout, &state->request);
	hnsw_meta_init(&meta, &state->layout);
	hnsw_create(state->rel, MAIN_FORKNUM, &meta, state->request.remote ? state->mean : NULL, NULL, NULL);
	hnsw_build_finish(hnsw_open(state->rel), HNSW_NO_NODE, 0);
	piramid_injection_point("hnsw-build-again");

	state->done = 0;
	state->total = state->indtuples;
	build_phase(state, NULL, HNSW_PHASE_GRAPH);
	shuffle_start(state, &shuffle);
	insert_shuffled(state, &shuffle);
}
