/*-------------------------------------------------------------------------
 *
 * hnsw_check_page.c
 *		Copies of pages and their parts, for checks.
 *
 * A damaged page is no error here: the functions say what is wrong with it, as
 * page_report_corrupt would.  Each copy is made under the page's lock, so it is one of
 * a single moment.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "storage/bufmgr.h"
#include "utils/rel.h"

/* Is there such a block, by now? */
static bool
exists(HnswIndex *index, BlockNumber block)
{
	if (block >= index->nblocks)
		index->nblocks = RelationGetNumberOfBlocks(index->rel);
	return block < index->nblocks;
}

/* Copy so many bytes of a page of some kind.  NULL, or what is wrong. */
const char *
hnsw_copy(HnswIndex *index, BlockNumber block, int kind, int offset, Size size, void *copy)
{
	Buffer		buffer;
	const char *fault;

	if (!exists(index, block))
		return "a link past its end";
	buffer = page_read(index->rel, block);
	hnsw_lock_page(buffer, BUFFER_LOCK_SHARE, kind);
	fault = hnsw_page_fault(index->rel, block, BufferGetPage(buffer), kind);
	if (fault == NULL)
		memcpy(copy, (char *) BufferGetPage(buffer) + offset, size);
	UnlockReleaseBuffer(buffer);
	return fault;
}

/* Copy a page, as part of a pass over all blocks; false if it is empty. */
bool
hnsw_page_copy(HnswIndex *index, BlockNumber block, Page copy)
{
	Buffer		buffer;

	buffer = ReadBufferExtended(index->rel, MAIN_FORKNUM, block, RBM_NORMAL, index->strategy);
	hnsw_lock_page(buffer, BUFFER_LOCK_SHARE, 0);
	memcpy(copy, BufferGetPage(buffer), BLCKSZ);
	UnlockReleaseBuffer(buffer);
	return !PageIsNew(copy);
}

/* Copy a node, whether its slot is in use or not.  NULL, or what is wrong. */
const char *
hnsw_node_copy(HnswIndex *index, HnswNodeId id, HnswNodeHeader copy)
{
	const HnswLayout *layout = &index->layout;
	BlockNumber block = HnswNodeBlock(layout, id);
	Buffer		buffer;
	const char *fault;

	if (!exists(index, block) || !exists(index, block + layout->pages_per_node - 1))
		return "a link past its end";
	buffer = page_read(index->rel, block);
	hnsw_lock_page(buffer, BUFFER_LOCK_SHARE, HNSW_PAGE_NODE);
	fault = hnsw_page_fault(index->rel, block, BufferGetPage(buffer), HNSW_PAGE_NODE);
	if (fault == NULL)
		memcpy(copy, (char *) BufferGetPage(buffer) + HNSW_PAGE_START +
			   HnswNodeSlot(layout, id) * layout->node_size, hnsw_part_size(layout, 0));
	for (int i = 1; i < layout->pages_per_node && fault == NULL; i++)
		fault = hnsw_copy(index, block + i, HNSW_PAGE_NODE_PART, HNSW_PAGE_START,
						  hnsw_part_size(layout, i), (char *) copy + i * HNSW_PAGE_SPACE);
	UnlockReleaseBuffer(buffer);
	return fault;
}

/* Copy a chunk of heap TIDs.  NULL, or what is wrong. */
const char *
hnsw_chunk_copy(HnswIndex *index, uint32 chunk_id, HnswTidChunkData *copy)
{
	return hnsw_copy(index, chunk_id / HNSW_CHUNKS_PER_PAGE, HNSW_PAGE_TIDS,
					 HNSW_PAGE_START + chunk_id % HNSW_CHUNKS_PER_PAGE * sizeof(HnswTidChunkData),
					 sizeof(HnswTidChunkData), copy);
}
