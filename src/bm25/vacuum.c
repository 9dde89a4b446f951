/*-------------------------------------------------------------------------
 *
 * vacuum.c
 *		VACUUM: marks documents dead, then merges.
 *
 * Each step holds the maintenance lock, so that no segment is written from others
 * while bits of those change.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/amapi.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "storage/lmgr.h"

/* How many documents of each segment are dead now, for the metapage */
typedef struct DeadCounts
{
	uint32		n;
	uint64		generations[BM25_MAX_SEGMENTS];
	uint32		ndead[BM25_MAX_SEGMENTS];
} DeadCounts;

static void
set_counts(Bm25MetaPage meta, void *arg)
{
	DeadCounts *counts = arg;

	for (uint32 i = 0; i < meta->nsegments; i++)
		for (uint32 j = 0; j < counts->n; j++)
			if (meta->segments[i].generation == counts->generations[j])
				meta->segments[i].ndead = counts->ndead[j];
}

/* Documents whose heap TIDs are asked about at once */
#define CHUNK (BM25_SPACE * 8)

/* Mark documents of a segment dead that the callback wants to be; returns how many are. */
static uint32
delete_in_segment(Bm25Reader *reader, IndexBulkDeleteCallback callback, void *state,
				  uint32 *deleted)
{
	char	   *bits = palloc(BM25_SPACE);
	ItemPointerData tids[512];
	uint32		ndead = 0;

	for (uint32 number = 0; (uint64) number * CHUNK < reader->segment.ndocs; number++)
	{
		uint32		first = number * CHUNK;
		uint32		n = Min(CHUNK, reader->segment.ndocs - first);
		bool		changed = false;

		bm25_stream_page(reader, BM25_DEAD, number, bits);
		for (uint32 i = 0; i < n; i++)
		{
			if (i % lengthof(tids) == 0)
			{
				piramid_vacuum_delay();
				bm25_tids(reader, first + i, Min(lengthof(tids), n - i), tids);
			}
			if (!(bits[i / 8] >> (i % 8) & 1) && callback(&tids[i % lengthof(tids)], state))
			{
				bits[i / 8] |= 1 << (i % 8);
				changed = true;
				(*deleted)++;
			}
			ndead += bits[i / 8] >> (i % 8) & 1;
		}
		if (changed)
		{
			bm25_set_dead(reader, number, bits);
			piramid_injection_point("bm25-vacuum-marked");
		}
	}
	pfree(bits);
	return ndead;
}

IndexBulkDeleteResult *
bm25_bulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
				IndexBulkDeleteCallback callback, void *state)
{
	Relation	rel = info->index;
	Bm25MetaPageData meta;
	DeadCounts	counts = {0};
	uint32		deleted = 0;
	uint32		live = 0;
	bool		miscounted = false;
	BlockNumber block;
	uint64		generation = 0;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	bm25_maintenance_begin(rel, true);
	bm25_meta_read(rel, &meta);
	for (uint32 i = 0; i < meta.nsegments; i++)
	{
		Bm25Reader *reader = bm25_reader_open(rel, &meta.segments[i]);

		counts.generations[counts.n] = meta.segments[i].generation;
		counts.ndead[counts.n] = delete_in_segment(reader, callback, state, &deleted);
		/* A VACUUM that was interrupted has marked documents, too. */
		miscounted |= counts.ndead[counts.n] != meta.segments[i].ndead;
		live += meta.segments[i].ndocs - counts.ndead[counts.n++];
		pfree(reader->header);
		pfree(reader);
	}
	block = meta.head_first;
	while (block != InvalidBlockNumber)
	{
		piramid_vacuum_delay();
		deleted += bm25_head_delete(rel, &block, &generation, callback, state, &live);
	}
	piramid_injection_point("bm25-vacuum-counted");
	if (miscounted)
		bm25_publish(rel, set_counts, &counts, NULL);
	bm25_maintenance_end(rel);
	stats->tuples_removed += deleted;
	stats->num_index_tuples = live;
	return stats;
}

static void
clear_lost(Bm25MetaPage meta, void *arg)
{
	meta->building = 0;
	meta->flags &= ~BM25_LOST;
}

/*
 * Free blocks that failed writers and inserts have left; returns how many.  The caller
 * holds the maintenance lock.
 */
uint32
bm25_recover_lost(Relation rel)
{
	Bm25MetaPageData meta;
	Bm25Space	space;
	uint32		found;

	bm25_meta_read(rel, &meta);
	bm25_space_load(&space, rel, NULL);
	found = bm25_space_find_lost(&space, &meta);
	if (found == 0 && meta.building == 0 && !(meta.flags & BM25_LOST))
		return 0;
	bm25_space_tidy(&space);
	piramid_injection_point("bm25-vacuum-recovered");
	bm25_publish(rel, clear_lost, NULL, &space);
	return found;
}

IndexBulkDeleteResult *
bm25_vacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	Relation	rel = info->index;
	Bm25MetaPageData meta;

	if (info->analyze_only)
		return stats;
	if (stats == NULL)
	{
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->num_index_tuples = info->num_heap_tuples;
		stats->estimated_count = info->estimated_count;
	}
	bm25_maintenance_begin(rel, true);
	(void) bm25_recover_lost(rel);
	bm25_meta_read(rel, &meta);
	if (meta.head_pages > 1)
		bm25_seal(rel, NULL);
	while (bm25_merge_some(rel, NULL, PG_UINT32_MAX))
		piramid_vacuum_delay();
	bm25_maintenance_end(rel);
	stats->num_pages = RelationGetNumberOfBlocks(rel);
	return stats;
}
