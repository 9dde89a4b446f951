/*-------------------------------------------------------------------------
 *
 * check_heap.c
 *		Comparing an index with its table.
 *
 * One snapshot serves all of it.  A row that the snapshot sees was inserted, into
 * the index too, before the snapshot was taken, and cannot be vacuumed while it is
 * held: such a row has its entry all the time, in the same place, and a second one
 * never.  So what is concluded about rows that are seen needs no second look.
 *
 * Entries go into a Bloom filter, by heap TID; then the table is scanned for rows
 * that it lacks.  A false positive can hide a missing row, but not invent one.  The
 * filter also tells which TIDs may be there twice.  These are counted exactly when
 * the access method goes through its entries once more.
 *
 *-------------------------------------------------------------------------
 */
#include "check/check.h"

#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "lib/bloomfilter.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Rows of a table without statistics, for the size of the filter */
#define ROWS_PER_BLOCK 16

/* A TID that may have two entries */
typedef struct Doubtful
{
	ItemPointerData tid;
	int			count;
} Doubtful;

struct CheckHeap
{
	Check	   *check;
	Snapshot	snapshot;
	IndexInfo  *info;
	EState	   *estate;
	ExprState  *predicate;
	TupleTableSlot *slot;
	IndexFetchTableData *fetch;
	BlockNumber nblocks;		/* rows that the snapshot sees are below */
	bloom_filter *filter;		/* NULL unless heapallindexed */
	HTAB	   *doubtful;		/* NULL as long as there are none */
	bool		counting;
	CheckBelongs belongs;
	void	   *arg;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
};

/* Take a snapshot and, to compare all rows, a filter. */
CheckHeap *
check_heap_begin(Check *check)
{
	CheckHeap  *heap = palloc0(sizeof(CheckHeap));
	Relation	rel = check->heap;
	heap->check = check;
	heap->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	heap->nblocks = RelationGetNumberOfBlocks(rel);

	/* An old snapshot may see what a later HOT chain hides; as for amcheck. */
	if (IsolationUsesXactSnapshot() && check->index->rd_index->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(check->index->rd_indextuple->t_data),
							   heap->snapshot->xmin))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("index \"%s\" cannot be verified using transaction snapshot",
						RelationGetRelationName(check->index))));
	heap->info = BuildIndexInfo(check->index);
	heap->estate = CreateExecutorState();
	heap->predicate = ExecPrepareQual(heap->info->ii_Predicate, heap->estate);
	heap->slot = table_slot_create(rel, NULL);
	heap->fetch = table_index_fetch_begin(rel);
	GetPerTupleExprContext(heap->estate)->ecxt_scantuple = heap->slot;
	if (check->heapallindexed)
		heap->filter = bloom_create((int64) Max(rel->rd_rel->reltuples, heap->nblocks * ROWS_PER_BLOCK),
									maintenance_work_mem, check->seed);
	return heap;
}

/*
 * The row that an entry leads to, with the values of the index's columns; they last
 * until the next call.
 */
CheckRow
check_heap_row(CheckHeap *heap, const ItemPointerData *tid, const Datum **values,
			   const bool **isnull)
{
	ExprContext *econtext = GetPerTupleExprContext(heap->estate);
	MemoryContext old;
	CheckRow	result = CHECK_ROW_SEEN;

	ResetExprContext(econtext);
	if (!check_heap_sees(heap, tid))
		return CHECK_ROW_UNSEEN;
	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	if (heap->predicate != NULL && !ExecQual(heap->predicate, econtext))
		result = CHECK_ROW_FOREIGN;
	else
		FormIndexDatum(heap->info, heap->slot, heap->estate, heap->values, heap->isnull);
	MemoryContextSwitchTo(old);
	*values = heap->values;
	*isnull = heap->isnull;
	return result;
}

/*
 * Does the snapshot see a row there?  The TID may be of a broken page.  No page stays
 * pinned: what comes next may end with an error that is caught (check_guard).
 */
bool
check_heap_sees(CheckHeap *heap, const ItemPointerData *tid)
{
	ItemPointerData at = *tid;	/* becomes the visible version's */
	bool		call_again = false;
	bool		seen;

	if (ItemPointerGetBlockNumberNoCheck(&at) >= heap->nblocks ||
		ItemPointerGetOffsetNumberNoCheck(&at) == InvalidOffsetNumber)
		return false;
	seen = table_index_fetch_tuple(heap->fetch, &at, heap->snapshot, heap->slot, &call_again,
								   NULL);
	if (seen)
		ExecMaterializeSlot(heap->slot);
	table_index_fetch_reset(heap->fetch);
	return seen;
}

/* An entry that leads to a row which the snapshot sees */
void
check_heap_note(CheckHeap *heap, const ItemPointerData *tid, CheckPlace place)
{
	unsigned char *bytes = (unsigned char *) unconstify(ItemPointerData *, tid);

	if (heap->counting)
	{
		Doubtful   *doubtful = hash_search(heap->doubtful, tid, HASH_FIND, NULL);

		if (doubtful != NULL && ++doubtful->count > 1)
			check_found(heap->check, CHECK_REINDEX, place, "the row (%u,%u) of the table a second time",
						ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid));
		return;
	}
	if (bloom_lacks_element(heap->filter, bytes, sizeof(ItemPointerData)))
	{
		bloom_add_element(heap->filter, bytes, sizeof(ItemPointerData));
		return;
	}
	if (heap->doubtful == NULL)
	{
		HASHCTL		control = {
			.keysize = sizeof(ItemPointerData), .entrysize = sizeof(Doubtful),
			.hcxt = GetMemoryChunkContext(heap)	/* callers reset theirs */
		};

		heap->doubtful = hash_create("piramid_check TIDs", 1024, &control,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	((Doubtful *) hash_search(heap->doubtful, tid, HASH_ENTER, NULL))->count = 0;
}

/* Have all entries to be noted once more?  Only those of doubtful TIDs count then. */
bool
check_heap_again(CheckHeap *heap)
{
	if (heap->counting || heap->doubtful == NULL)
		return false;
	heap->counting = true;
	return true;
}

static void
scanned_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	CheckHeap  *heap = arg;

	CHECK_FOR_INTERRUPTS();
	if (bloom_lacks_element(heap->filter, (unsigned char *) tid, sizeof(ItemPointerData)) &&
		heap->belongs(heap->arg, values, isnull))
		check_found(heap->check, CHECK_REINDEX, CHECK_NOWHERE,
					"the row (%u,%u) of the table is not in the index",
					ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid));
}

/* Look for rows of the table that should have an entry, and have none. */
void
check_heap_scan(CheckHeap *heap, CheckBelongs belongs, void *arg)
{
	Relation	rel = heap->check->heap;
	IndexInfo  *info = BuildIndexInfo(heap->check->index);
	TableScanDesc scan = table_beginscan_strat(rel, heap->snapshot, 0, NULL, true, true);

	heap->belongs = belongs;
	heap->arg = arg;
	/* Rows as the snapshot sees them, as when an index is built beside writers */
	info->ii_Concurrent = true;
	table_index_build_scan(rel, heap->check->index, info, true, false, scanned_row, heap, scan);
}

void
check_heap_end(CheckHeap *heap)
{
	table_index_fetch_end(heap->fetch);
	ExecDropSingleTupleTableSlot(heap->slot);
	FreeExecutorState(heap->estate);
	if (heap->filter != NULL)
		bloom_free(heap->filter);
	UnregisterSnapshot(heap->snapshot);
}
