/*-------------------------------------------------------------------------
 *
 * check.c
 *		piramid_check of an hnsw index: its phases, in order.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "access/amapi.h"
#include "hnsw/scan.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Open the index and make room for what is learned. */
static void
open_index(void *arg)
{
	HnswCheck  *check = arg;
	HnswIndex  *index = hnsw_open(check->check->index);
	uint64		nids;

	hnsw_meta_refresh(index, &check->meta);
	index->strategy = GetAccessStrategy(BAS_BULKREAD);
	check->nblocks = index->nblocks;
	nids = (uint64) check->nblocks * index->layout.nodes_per_page;
	check->nids = Min(nids, (uint64) PG_UINT32_MAX + 1);
	check->nodes = palloc_extended(check->nids, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	check->chunks = bitmap_make((uint64) check->nblocks * HNSW_CHUNKS_PER_PAGE);
	check->chained = bitmap_make(check->chunks.size);
	check->listed = bitmap_make(check->nblocks);
	check->value = hnsw_value_create(&index->layout);
	check->vector = palloc(sizeof(float) * Max(hnsw_vector_length(&index->layout), index->layout.elements));
	check->indices = palloc(sizeof(int32) * Max(index->layout.elements, 1));
	check->page = palloc(BLCKSZ);
	check->node = palloc(MAXALIGN(index->layout.node_size));
	check->other = palloc(MAXALIGN(index->layout.node_size));
	check->index = index;
}

/* What a damaged page ends, piece by piece */
static void
run_pages(void *arg)
{
	HnswCheck  *check = arg;

	check_pages(check);
	check_leaked(check);
}

static void
run_lists(void *arg)
{
	HnswCheck  *check = arg;

	check_lists(check);
	check_maps(check);
}

static void
run_links(void *arg)
{
	check_links(arg);
}

static void
run_graph(void *arg)
{
	check_graph(arg);
}

static void
run_keys(void *arg)
{
	check_keys(arg);
}

static void
run_rows(void *arg)
{
	check_rows(arg);
}

/*
 * Check an index.  What is damaged in one respect is checked in the others all the
 * same.  What was found lives in the current memory context.
 */
HnswCheck *
hnsw_check_run(Check *frame)
{
	HnswCheck  *check = palloc0(sizeof(HnswCheck));

	check->check = frame;
	check->context = AllocSetContextCreate(CurrentMemoryContext, "hnsw check",
										   ALLOCSET_DEFAULT_SIZES);
	/* Older than all that is read of the index */
	check->heap = check_heap_begin(frame);
	if (check_guard(frame, open_index, check))
	{
		check_guard(frame, run_pages, check);
		check_guard(frame, run_lists, check);
		check_guard(frame, run_links, check);
		check_guard(frame, run_graph, check);
		check_guard(frame, run_keys, check);
		if (frame->heapallindexed)
			check_guard(frame, run_rows, check);
	}
	check_heap_end(check->heap);
	return check;
}

static void
hnsw_check(Check *frame)
{
	(void) hnsw_check_run(frame);
}

static bool
owns(Relation index)
{
	return index->rd_indam->ambeginscan == hnsw_beginscan;
}

void
hnsw_check_init(void)
{
	static const CheckMethod method = {
		.owns = owns, .check = hnsw_check, .repair = hnsw_repair
	};

	check_register(&method);
}
