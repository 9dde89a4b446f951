/*-------------------------------------------------------------------------
 *
 * hnsw_repair_page.c
 *		Changes that only repairs make.
 *
 * The caller keeps vacuum out (by the table's lock), so nothing is freed meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

/* Keep inserts out: the lock that they share (README, "Locks"). */
void
hnsw_lock_updates(HnswIndex *index)
{
	LockPage(index->rel, HNSW_METAPAGE, ExclusiveLock);
}

void
hnsw_unlock_updates(HnswIndex *index)
{
	UnlockPage(index->rel, HNSW_METAPAGE, ExclusiveLock);
}

/* Make the lists of free slots empty ones; inserts are kept out. */
void
hnsw_lists_clear(HnswIndex *index)
{
	Buffer		buffer = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
									   HNSW_PAGE_META);
	GenericXLogState *xlog = GenericXLogStart(index->rel);
	HnswMetaPage meta = HnswPageGetMeta(GenericXLogRegisterBuffer(xlog, buffer, 0));

	meta->free_node[0] = InvalidBlockNumber;
	meta->free_node[1] = InvalidBlockNumber;
	meta->free_tids = InvalidBlockNumber;
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
}

/* How many slots in use by the page's count are free: nodes, or chunks of TIDs? */
static int
count_free(const HnswLayout *layout, Page page)
{
	HnswPageOpaque opaque = HnswPageGetOpaque(page);
	bool		tids = opaque->kind == HNSW_PAGE_TIDS;
	Size		size = tids ? sizeof(HnswTidChunkData) : layout->node_size;
	int			n = 0;

	for (int slot = 0; slot < opaque->nused; slot++)
	{
		const char *start = (const char *) page + HNSW_PAGE_START + slot * size;

		n += tids ? ((const HnswTidChunkData *) start)->owner == HNSW_NO_NODE :
			!(((const HnswNodeHeaderData *) start)->flags & HNSW_NODE_USED);
	}
	return n;
}

/*
 * Count a page's free slots, and put it on its list if it has room; it was on none.
 * Inserts are kept out.
 */
void
hnsw_relist(HnswIndex *index, BlockNumber block)
{
	const HnswLayout *layout = &index->layout;
	Buffer		buffer = page_read(index->rel, block);
	Page		page = BufferGetPage(buffer);
	HnswPageOpaqueData opaque;
	bool		tids;

	hnsw_lock_page(buffer, BUFFER_LOCK_EXCLUSIVE, 0);
	if (hnsw_page_fault(index->rel, block, page, 0) == NULL &&
		((tids = HnswPageGetOpaque(page)->kind == HNSW_PAGE_TIDS) ||
		 HnswPageGetOpaque(page)->kind == HNSW_PAGE_NODE))
	{
		int			slots = tids ? HNSW_CHUNKS_PER_PAGE : layout->nodes_per_page;
		Buffer		metabuf = InvalidBuffer;
		PageEdit	edits[2];
		int			n = 0;

		opaque = *HnswPageGetOpaque(page);
		if (opaque.nused > slots)
			page_report_corrupt(index->rel, block, "a wrong count of free slots");
		opaque.nfree = count_free(layout, page);
		opaque.listed = opaque.nfree > 0 || opaque.nused < slots;
		opaque.next = InvalidBlockNumber;
		edits[n++] = hnsw_edit_opaque(buffer, &opaque);
		if (opaque.listed)
		{
			HnswMetaPage meta;
			BlockNumber *head;

			metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
									HNSW_PAGE_META);
			meta = HnswPageGetMeta(BufferGetPage(metabuf));
			head = tids ? &meta->free_tids : &meta->free_node[opaque.upper];
			opaque.next = *head;
			edits[n++] = (PageEdit) {metabuf, (char *) head - (char *) BufferGetPage(metabuf),
			sizeof(block), &block};
		}
		page_edit(index->rel, edits, n);
		if (BufferIsValid(metabuf))
			UnlockReleaseBuffer(metabuf);
	}
	UnlockReleaseBuffer(buffer);
}

/* Free a chunk that no chain leads to; false if it is free. */
bool
hnsw_chunk_free(HnswIndex *index, uint32 chunk_id)
{
	static const HnswTidChunkData none;
	int			offset = HNSW_PAGE_START +
		chunk_id % HNSW_CHUNKS_PER_PAGE * sizeof(HnswTidChunkData);
	Buffer		buffer = hnsw_get_page(index->rel, chunk_id / HNSW_CHUNKS_PER_PAGE,
									   BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_TIDS);
	PageEdit	edit = {buffer, offset, sizeof(none), &none};
	bool		used = ((HnswTidChunk) ((char *) BufferGetPage(buffer) + offset))->owner != HNSW_NO_NODE;

	if (used)
		hnsw_free_slot(index, HNSW_FREE_TIDS, buffer, &edit, 1);
	UnlockReleaseBuffer(buffer);
	return used;
}
