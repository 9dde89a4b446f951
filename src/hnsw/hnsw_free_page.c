/*-------------------------------------------------------------------------
 *
 * hnsw_free_page.c
 *		The lists of pages with free slots: for nodes of the base, for upper
 *		nodes, for chunks of heap TIDs.
 *
 * A list begins in the metapage and goes through the pages' "next".  Which
 * list a page is on is known from where it was found or from what is freed
 * there, never from what the page says: it may be broken.  See hnsw_page.c for
 * the order of locks.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

/* How often a page may have left the list of free slots when we come for it */
#define MAX_LIST_MISSES 1000

/* Where a list begins. */
static BlockNumber *
first_of_list(HnswMetaPage meta, HnswFreeList list)
{
	return list == HNSW_FREE_TIDS ? &meta->free_tids : &meta->free_node[list];
}

static int
kind_of_list(HnswFreeList list)
{
	return list == HNSW_FREE_TIDS ? HNSW_PAGE_TIDS : HNSW_PAGE_NODE;
}

/*
 * Make a page, exclusively locked, an empty one and put it at the head of a
 * list, in one record.
 */
void
hnsw_free_push(HnswIndex *index, HnswFreeList list, Buffer buffer)
{
	Buffer		metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
										HNSW_PAGE_META);
	GenericXLogState *xlog = GenericXLogStart(index->rel);
	Page		page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
	BlockNumber *head = first_of_list(HnswPageGetMeta(GenericXLogRegisterBuffer(xlog, metabuf, 0)), list);

	hnsw_init_page(page, index->version, BufferGetBlockNumber(buffer), kind_of_list(list),
				   list == HNSW_FREE_UPPER);
	if (list != HNSW_FREE_TIDS)
		hnsw_set_fill(&index->layout, page, 0);
	HnswPageGetOpaque(page)->next = *head;
	HnswPageGetOpaque(page)->listed = 1;
	*head = BufferGetBlockNumber(buffer);
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(metabuf);
}

/* Take a page, exclusively locked, off a list; false if it is not its head. */
static bool
pop(HnswIndex *index, HnswFreeList list, Buffer buffer)
{
	Buffer		metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
										HNSW_PAGE_META);
	Page		metapage = BufferGetPage(metabuf);
	BlockNumber *head = first_of_list(HnswPageGetMeta(metapage), list);
	bool		popped = *head == BufferGetBlockNumber(buffer);

	if (popped)
	{
		HnswPageOpaqueData opaque = *HnswPageGetOpaque(BufferGetPage(buffer));
		BlockNumber next = opaque.next;
		PageEdit	edits[2];

		opaque.next = InvalidBlockNumber;
		opaque.listed = 0;
		edits[0] = hnsw_edit_opaque(buffer, &opaque);
		edits[1] = (PageEdit) {metabuf, (char *) head - (char *) metapage, sizeof(next), &next};
		page_edit(index->rel, edits, lengthof(edits));
	}
	UnlockReleaseBuffer(metabuf);
	return popped;
}

/*
 * Free a slot of a page that is locked exclusively: the given edits, the last
 * of them of this page, and one more free slot; the page joins its list unless
 * it is on it.  All of it is one record, so that a crash loses no slot.
 */
void
hnsw_free_slot(HnswIndex *index, HnswFreeList list, Buffer buffer, const PageEdit *edits, int n)
{
	HnswPageOpaqueData opaque = *HnswPageGetOpaque(BufferGetPage(buffer));
	BlockNumber block = BufferGetBlockNumber(buffer);
	Buffer		metabuf = InvalidBuffer;
	PageEdit	all[HNSW_MAX_EDITS];

	Assert(n <= HNSW_MAX_EDITS - 2);
	if (opaque.nfree >= opaque.nused)
		page_report_corrupt(index->rel, block, "a wrong count of free slots");
	memcpy(all, edits, sizeof(PageEdit) * n);
	opaque.nfree++;
	all[n++] = hnsw_edit_opaque(buffer, &opaque);
	if (!opaque.listed)
	{
		Page		metapage;
		BlockNumber *head;

		metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_META);
		metapage = BufferGetPage(metabuf);
		head = first_of_list(HnswPageGetMeta(metapage), list);
		opaque.next = *head;
		opaque.listed = 1;
		all[n++] = (PageEdit) {metabuf, (char *) head - (char *) metapage, sizeof(block), &block};
	}
	page_edit(index->rel, all, n);
	if (BufferIsValid(metabuf))
		UnlockReleaseBuffer(metabuf);
}

/*
 * Make a new page for a list (with its parts, for nodes that span pages), put
 * it there, and return it locked.
 */
static Buffer
new_listed_page(HnswIndex *index, HnswFreeList list)
{
	int			parts = list == HNSW_FREE_TIDS ? 0 : index->layout.pages_per_node - 1;
	Buffer		buffer;

	LockRelationForExtension(index->rel, ExclusiveLock);
	buffer = hnsw_extend(index->rel, MAIN_FORKNUM);
	for (int i = 0; i < parts; i++)
	{
		Buffer		part = hnsw_extend(index->rel, MAIN_FORKNUM);
		GenericXLogState *xlog = GenericXLogStart(index->rel);

		hnsw_init_page(GenericXLogRegisterBuffer(xlog, part, GENERIC_XLOG_FULL_IMAGE),
					   index->version, BufferGetBlockNumber(part), HNSW_PAGE_NODE_PART,
					   list == HNSW_FREE_UPPER);
		GenericXLogFinish(xlog);
		UnlockReleaseBuffer(part);
	}
	UnlockRelationForExtension(index->rel, ExclusiveLock);
	hnsw_free_push(index, list, buffer);
	return buffer;
}

/*
 * A page of a list with a free slot, exclusively locked; pages found full
 * leave the list on the way.  Each page leaves it once, so that ends; and a
 * page that is not on it any more is met again and again only if the list is
 * broken.
 */
Buffer
hnsw_page_with_room(HnswIndex *index, HnswFreeList list, int slots)
{
	int			misses = 0;

	for (;;)
	{
		HnswMetaPageData meta;
		BlockNumber block;
		Buffer		buffer;
		HnswPageOpaque opaque;

		hnsw_meta_read(index->rel, &meta);
		block = *first_of_list(&meta, list);
		if (block == InvalidBlockNumber)
			return new_listed_page(index, list);
		CHECK_FOR_INTERRUPTS();
		buffer = hnsw_get_linked_page(index->rel, block, BUFFER_LOCK_EXCLUSIVE, kind_of_list(list));
		opaque = HnswPageGetOpaque(BufferGetPage(buffer));
		if (opaque->nused > slots || opaque->nfree > opaque->nused)
			page_report_corrupt(index->rel, block, "a wrong count of free slots");
		if (opaque->upper != (list == HNSW_FREE_UPPER))
			page_report_corrupt(index->rel, block, "a page on the wrong list of free slots");
		if (opaque->listed && (opaque->nfree > 0 || opaque->nused < slots))
			return buffer;
		if (!opaque->listed || !pop(index, list, buffer))
		{
			/* Taken off meanwhile; but not again and again. */
			if (++misses > MAX_LIST_MISSES)
				page_report_corrupt(index->rel, block, "a broken list of free slots");
		}
		UnlockReleaseBuffer(buffer);
	}
}
