/*-------------------------------------------------------------------------
 *
 * edit_page.c
 *		Small changes of pages, logged as generic WAL records.
 *
 * GenericXLogStart() and its companions copy each page and compare all of it,
 * twice: 5 us for a link of 30 bytes.  Our callers know which part of
 * a page may have changed, so only that is compared, and no page is copied.
 * The records are the same: for each page, fragments of offset, length and
 * bytes, with which the server's own redo function works.
 *
 *-------------------------------------------------------------------------
 */
#include "page/page.h"

#include "access/rmgr.h"
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

/* Before the bytes of a fragment: offset on the page and length, both uint16 */
#define FRAGMENT_HEADER (2 * sizeof(uint16))

/* Report a broken page of an index. */
void
page_report_corrupt(Relation rel, BlockNumber block, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INDEX_CORRUPTED),
			 errmsg("index \"%s\" has %s at block %u",
					RelationGetRelationName(rel), what, block),
			 errhint("Please REINDEX it.")));
}

/*
 * Verify that a heap TID, which an index has at a block, leads to a block of its table, which
 * had so many when it was last asked.  Tables only grow while they are open.  Only of a heap
 * is it known what TIDs mean.
 */
void
page_check_place(Relation index, BlockNumber block, Relation table, const ItemPointerData *tid,
				 BlockNumber *table_blocks)
{
	if (table == NULL || table->rd_tableam != GetHeapamTableAmRoutine())
		return;
	*table_blocks = RelationGetNumberOfBlocks(table);
	if (ItemPointerGetBlockNumber(tid) >= *table_blocks)
		page_report_corrupt(index, block, "a heap TID past the end of the table");
}

#ifdef USE_ASSERT_CHECKING
typedef struct LockedPages
{
	PageFunction function;
	void	   *arg;
} LockedPages;

static void
meet_lock(LWLock *lock, LWLockMode mode, void *arg)
{
	LockedPages *pages = arg;
	BufferDesc *desc = (BufferDesc *) ((char *) lock - offsetof(BufferDesc, content_lock));
	Buffer		buffer;

	if (lock->tranche != LWTRANCHE_BUFFER_CONTENT)
		return;
	buffer = BufferDescriptorGetBuffer(desc);
	if (!PageIsNew(BufferGetPage(buffer)))
		pages->function(BufferGetPage(buffer), BufferGetBlockNumber(buffer), pages->arg);
}

/* Call a function for the pages that we have locked, of whatever relation, but for empty ones. */
void
page_for_each_locked(PageFunction function, void *arg)
{
	LockedPages pages = {function, arg};

	ForEachLWLockHeldByMe(meet_lock, &pages);
}
#endif

/*
 * Append to "delta" what turns an edit's place on the page into its data.
 * Equal bytes that are no more than a header are left within a fragment, so
 * that a delta is at most one header longer than what is compared.
 */
static char *
append_delta(char *delta, const char *page, const PageEdit *edit)
{
	const char *old = page + edit->offset;
	const char *new = edit->data;
	int			i = 0;

	for (;;)
	{
		int			end;
		uint16		header[2];

		while (i + sizeof(uint64) <= edit->size && memcmp(old + i, new + i, sizeof(uint64)) == 0)
			i += sizeof(uint64);
		while (i < edit->size && old[i] == new[i])
			i++;
		if (i >= edit->size)
			return delta;
		end = i + 1;
		for (int j = end; j < edit->size && j - end <= FRAGMENT_HEADER; j++)
			if (old[j] != new[j])
				end = j + 1;
		header[0] = edit->offset + i;
		header[1] = end - i;
		memcpy(delta, header, FRAGMENT_HEADER);
		memcpy(delta + FRAGMENT_HEADER, new + i, end - i);
		delta += FRAGMENT_HEADER + end - i;
		i = end;
	}
}

/*
 * Make changes to pages that are locked exclusively, all in one record.  Edits
 * of one page stand together.  What is the same already is neither written
 * nor logged.
 */
void
page_edit(Relation rel, const PageEdit *edits, int n)
{
	Buffer		buffers[PAGE_MAX_EDITS];
	char	   *deltas[PAGE_MAX_EDITS];
	int			sizes[PAGE_MAX_EDITS];
	int			nbuffers = 0;
	Size		room = 0;
	char	   *delta;
	char	   *start;

	Assert(n <= PAGE_MAX_EDITS);
	for (int i = 0; i < n; i++)
	{
		Assert(page_is_locked_exclusively(edits[i].buffer));
		/* Places come from counts on the page: a broken one must not lead past its end. */
		if (edits[i].offset < 0 || edits[i].size < 0 || edits[i].offset + edits[i].size > BLCKSZ)
			page_report_corrupt(rel, BufferGetBlockNumber(edits[i].buffer),
								"a change past the end of the page");
		room += edits[i].size + FRAGMENT_HEADER;
	}
	start = delta = palloc(room);
	for (int i = 0; i < n;)
	{
		Buffer		buffer = edits[i].buffer;
		char	   *from = delta;

		for (; i < n && edits[i].buffer == buffer; i++)
			delta = append_delta(delta, BufferGetPage(buffer), &edits[i]);
		if (delta > from)
		{
			buffers[nbuffers] = buffer;
			deltas[nbuffers] = from;
			sizes[nbuffers++] = delta - from;
		}
	}

	START_CRIT_SECTION();
	for (int i = 0; i < n; i++)
	{
		Page		page = BufferGetPage(edits[i].buffer);
		LocationIndex lower = ((PageHeader) page)->pd_lower;

		memcpy((char *) page + edits[i].offset, edits[i].data, edits[i].size);
		/* What redo does, too, so that the end of shorter contents is not logged */
		if (((PageHeader) page)->pd_lower < lower)
			memset((char *) page + ((PageHeader) page)->pd_lower, 0,
				   lower - ((PageHeader) page)->pd_lower);
	}
	for (int i = 0; i < nbuffers; i++)
		MarkBufferDirty(buffers[i]);
	if (nbuffers > 0 && RelationNeedsWAL(rel))
	{
		XLogRecPtr	position;

		XLogBeginInsert();
		for (int i = 0; i < nbuffers; i++)
		{
			XLogRegisterBuffer(i, buffers[i], REGBUF_STANDARD);
			XLogRegisterBufData(i, deltas[i], sizes[i]);
		}
		position = XLogInsert(RM_GENERIC_ID, 0);
		for (int i = 0; i < nbuffers; i++)
			PageSetLSN(BufferGetPage(buffers[i]), position);
	}
	END_CRIT_SECTION();
	pfree(start);
}
