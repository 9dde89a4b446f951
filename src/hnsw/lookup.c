/*-------------------------------------------------------------------------
 *
 * lookup.c
 *		Exact distances of rows, read from the table.
 *
 * Where the index cannot tell whether a row still comes in its place, the scan
 * asks the table.  A row is read as the executor would read it, by the scan's
 * snapshot, and its distance is what the operator computes.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/scan.h"

#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/float.h"

struct HnswLookup
{
	IndexScanDesc scan;
	IndexInfo  *info;
	EState	   *estate;
	TupleTableSlot *slot;
	IndexFetchTableData *fetch;
};

/* Allocates in the current memory context; hnsw_lookup_end lets go of the rest. */
HnswLookup *
hnsw_lookup_create(IndexScanDesc scan)
{
	HnswLookup *lookup = palloc(sizeof(HnswLookup));

	lookup->scan = scan;
	lookup->info = BuildIndexInfo(scan->indexRelation);
	lookup->estate = CreateExecutorState();
	lookup->slot = table_slot_create(scan->heapRelation, NULL);
	lookup->fetch = table_index_fetch_begin(scan->heapRelation);
	GetPerTupleExprContext(lookup->estate)->ecxt_scantuple = lookup->slot;
	return lookup;
}

/*
 * The distance of a row from the scan's query; false if the scan does not see
 * the row.  A distance that is NaN, which sorts last, comes as infinity.
 */
bool
hnsw_lookup_distance(HnswLookup *lookup, const ItemPointerData *tid, double *distance)
{
	ScanKey		orderby = &lookup->scan->orderByData[0];
	ExprContext *econtext = GetPerTupleExprContext(lookup->estate);
	ItemPointerData at = *tid;	/* becomes the visible version's */
	bool		call_again = false;
	bool		visible;

	visible = table_index_fetch_tuple(lookup->fetch, &at, lookup->scan->xs_snapshot, lookup->slot,
									  &call_again, NULL);
	if (visible)
	{
		MemoryContext old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];
		int			column = orderby->sk_attno - 1;

		FormIndexDatum(lookup->info, lookup->slot, lookup->estate, values, isnull);
		*distance = isnull[column] ? get_float8_nan() :
			DatumGetFloat8(FunctionCall2Coll(&orderby->sk_func, orderby->sk_collation,
											 values[column], orderby->sk_argument));
		MemoryContextSwitchTo(old);
		ResetExprContext(econtext);
	}
	/* No page stays pinned between rows. */
	ExecClearTuple(lookup->slot);
	table_index_fetch_reset(lookup->fetch);
	return visible;
}

void
hnsw_lookup_end(HnswLookup *lookup)
{
	table_index_fetch_end(lookup->fetch);
	ExecDropSingleTupleTableSlot(lookup->slot);
	FreeExecutorState(lookup->estate);
}
