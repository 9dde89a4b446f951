/*-------------------------------------------------------------------------
 *
 * space.c
 *		Free runs of blocks.
 *
 * Whoever holds the maintenance lock loads the list of free runs, takes from it
 * and adds to it in memory, and publishes it together with the metapage.  After a
 * crash or an error the list is as before; blocks that were new are lost, until
 * VACUUM finds that they belong to nobody.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "common/int.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

/* Add a run, to be used when no snapshot is older than xid (0: at once). */
void
bm25_space_add(Bm25Space *space, Bm25Extent run, uint64 xid)
{
	Bm25FreeRun *last = space->nruns > 0 ? &space->runs[space->nruns - 1] : NULL;

	if (run.pages == 0)
		return;
	if (last != NULL && last->xid == xid && last->run.first + last->run.pages == run.first)
	{
		last->run.pages += run.pages;
		return;
	}
	if (space->nruns == space->room)
	{
		space->room = Max(64, space->room * 2);
		space->runs = space->runs == NULL ? palloc(sizeof(Bm25FreeRun) * space->room) :
			repalloc_huge(space->runs, sizeof(Bm25FreeRun) * space->room);
	}
	space->runs[space->nruns++] = (Bm25FreeRun) {run, xid};
}

/*
 * Load the list.  Runs that nobody can come to any more become free for all, and
 * standbys are told.
 */
void
bm25_space_load(Bm25Space *space, Relation rel, Relation heap)
{
	uint64		newest = 0;
	BlockNumber block = InvalidBlockNumber;

	bm25_free_read(rel, space);
	for (int i = 0; i < space->nruns; i++)
	{
		Bm25FreeRun *run = &space->runs[i];

		if (run->xid == 0 ||
			!GlobalVisCheckRemovableFullXid(heap, FullTransactionIdFromU64(run->xid)))
			continue;
		if (run->xid > newest)
		{
			newest = run->xid;
			block = run->run.first;
		}
		run->xid = 0;
	}
	if (newest > 0)
		bm25_log_reuse(rel, block, FullTransactionIdFromU64(newest));
}

/* Take so many pages in a row; unless "exactly", a good part of them will do, too. */
Bm25Extent
bm25_space_take(Bm25Space *space, uint32 pages, bool exactly)
{
	Bm25FreeRun *best = NULL;
	Bm25Extent	taken;

	for (int i = 0; i < space->nruns; i++)
	{
		Bm25FreeRun *run = &space->runs[i];

		if (run->xid != 0 || run->run.pages == 0)
			continue;
		if (run->run.pages >= pages)
		{
			best = run;
			break;
		}
		if (!exactly && run->run.pages >= (pages + 3) / 4 &&
			(best == NULL || run->run.pages > best->run.pages))
			best = run;
	}
	if (best == NULL)
		return (Bm25Extent) {bm25_extend_run(space->rel, pages), pages};
	taken = (Bm25Extent) {best->run.first, Min(pages, best->run.pages)};
	best->run.first += taken.pages;
	best->run.pages -= taken.pages;
	return taken;
}

/* Take up to so many pages of the largest free run, if there is one. */
void
bm25_space_take_largest(Bm25Space *space, uint32 pages, Bm25Extent *taken)
{
	Bm25FreeRun *best = NULL;

	for (int i = 0; i < space->nruns; i++)
		if (space->runs[i].xid == 0 && space->runs[i].run.pages > 0 &&
			(best == NULL || space->runs[i].run.pages > best->run.pages))
			best = &space->runs[i];
	if (best == NULL)
		return;
	*taken = (Bm25Extent) {best->run.first, Min(pages, best->run.pages)};
	best->run.first += taken->pages;
	best->run.pages -= taken->pages;
}

/* Add the blocks of a segment. */
void
bm25_space_drop_segment(Bm25Space *space, const Bm25Segment *segment, uint64 xid)
{
	Bm25Reader *reader = bm25_reader_open(space->rel, segment);

	bm25_space_add(space, (Bm25Extent) {segment->header, 1}, xid);
	for (int i = 0; i < BM25_STREAMS; i++)
		for (uint32 j = 0; j < reader->header->nextents[i]; j++)
			bm25_space_add(space, reader->extents[i][j], xid);
	pfree(reader->header);
	pfree(reader);
}

static int
compare_blocks(const void *a, const void *b)
{
	const Bm25FreeRun *x = a;
	const Bm25FreeRun *y = b;

	return (x->run.first > y->run.first) - (x->run.first < y->run.first);
}

static int
compare_pages_down(const void *a, const void *b)
{
	const Bm25FreeRun *x = a;
	const Bm25FreeRun *y = b;

	return (x->run.pages < y->run.pages) - (x->run.pages > y->run.pages);
}

/*
 * Sort the runs, join neighbours, and keep as many as the list has room for.  VACUUM is
 * to find the others: bm25_publish tells the metapage of them.
 */
void
bm25_space_tidy(Bm25Space *space)
{
	int			n = 0;

	qsort(space->runs, space->nruns, sizeof(Bm25FreeRun), compare_blocks);
	for (int i = 0; i < space->nruns; i++)
	{
		Bm25FreeRun *run = &space->runs[i];
		Bm25FreeRun *last = n > 0 ? &space->runs[n - 1] : NULL;

		if (run->run.pages == 0)
			continue;
		if (last != NULL && last->xid == run->xid &&
			last->run.first + last->run.pages == run->run.first)
			last->run.pages += run->run.pages;
		else
			space->runs[n++] = *run;
	}
	if (n > BM25_MAX_FREE_RUNS)
	{
		qsort(space->runs, n, sizeof(Bm25FreeRun), compare_pages_down);
		n = BM25_MAX_FREE_RUNS;
		space->lost = true;
	}
	space->nruns = n;
}

/* Blocks of the head, those of large records too. */
static void
add_head(Bm25Space *used, const Bm25MetaPageData *meta)
{
	char		copy[BM25_SPACE];
	BlockNumber block = meta->head_first;
	uint64		generation = 0;

	while (block != InvalidBlockNumber)
	{
		Bm25HeadPage head = bm25_head_read(used->rel, block, copy, &generation);
		const Bm25Record *record = bm25_first_record(head);

		CHECK_FOR_INTERRUPTS();
		bm25_space_add(used, (Bm25Extent) {block, 1}, 0);
		for (uint32 i = 0; i < head->nrecords; i++)
		{
			if (record->flags & BM25_RECORD_OVERFLOW)
				pfree(unconstify(char *, bm25_record_terms(used->rel, record, used)));
			record = (const Bm25Record *) ((const char *) record + bm25_record_size(record));
		}
		block = head->next;
	}
}

/*
 * Add blocks that belong to nobody: those of a segment whose writer failed, or of an
 * insert that did not come to link them.  Returns how many.  "meta" was read under the
 * maintenance lock, before.
 */
uint32
bm25_space_find_lost(Bm25Space *space, const Bm25MetaPageData *meta)
{
	Bm25Space	used = {space->rel};
	BlockNumber nblocks = bm25_head_settled_blocks(space->rel);
	BlockNumber next = 0;
	uint64		xid = U64FromFullTransactionId(ReadNextFullTransactionId());
	Bm25MetaPageData now;
	uint32		found = 0;

	/* The head may have grown, and used spare pages for it. */
	bm25_space_add(&used, (Bm25Extent) {BM25_METAPAGE, 2}, 0);
	add_head(&used, meta);
	bm25_meta_read(space->rel, &now);
	for (int i = 0; i < lengthof(meta->spare); i++)
		bm25_space_add(&used, meta->spare[i], 0);
	for (uint32 i = 0; i < now.nsegments; i++)
		bm25_space_drop_segment(&used, &now.segments[i], 0);
	for (int i = 0; i < space->nruns; i++)
		bm25_space_add(&used, space->runs[i].run, 0);
	bm25_space_add(&used, (Bm25Extent) {nblocks, 1}, 0);
	qsort(used.runs, used.nruns, sizeof(Bm25FreeRun), compare_blocks);
	for (int i = 0; i < used.nruns; i++)
	{
		const Bm25Extent *run = &used.runs[i].run;

		if (run->first > next && next < nblocks)
		{
			Bm25Extent	lost = {next, Min(run->first, nblocks) - next};

			bm25_space_add(space, lost, xid);
			found += lost.pages;
		}
		next = Max(next, run->first + run->pages);
	}
	pfree(used.runs);
	return found;
}
