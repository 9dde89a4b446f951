/*-------------------------------------------------------------------------
 *
 * hnsw_tids_page.c
 *		Chunks of further heap TIDs, for nodes with more than fit into them.
 *
 * A node's chunks form a list that starts at the node and is guarded by its
 * lock.  See hnsw_page.c for the order of locks.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "storage/bufmgr.h"

static HnswTidChunk
page_chunk(Page page, uint32 chunk_id)
{
	return (HnswTidChunk) PageGetContents(page) + chunk_id % HNSW_CHUNKS_PER_PAGE;
}

static int
chunk_offset(int slot)
{
	return HNSW_PAGE_START + slot * sizeof(HnswTidChunkData);
}

/* The change of a chunk that goes with a node's. */
HnswEdit
hnsw_edit_chunk(const HnswWrite *write)
{
	HnswEdit	edit = {write->chunk_buffer, chunk_offset(write->chunk_slot),
	sizeof(write->chunk), &write->chunk};

	return edit;
}

/* Lock the page of a chunk whose number comes from a page. */
static Buffer
get_chunk(HnswIndex *index, uint32 chunk_id, int lockmode)
{
	Buffer		buffer = hnsw_get_linked_page(index->rel, chunk_id / HNSW_CHUNKS_PER_PAGE, lockmode,
										 HNSW_PAGE_TIDS);

	if (page_chunk(BufferGetPage(buffer), chunk_id)->ntids > HNSW_CHUNK_TIDS)
		hnsw_report_corrupt(index->rel, BufferGetBlockNumber(buffer), "an impossible list of TIDs");
	return buffer;
}

/*
 * Count a step along a chain of chunks: a broken one may be a circle.
 */
void
hnsw_chain_step(HnswIndex *index, uint32 chunk_id, uint64 *steps)
{
	if (++*steps > (uint64) index->nblocks * HNSW_CHUNKS_PER_PAGE)
	{
		index->nblocks = RelationGetNumberOfBlocks(index->rel);
		if (*steps > (uint64) index->nblocks * HNSW_CHUNKS_PER_PAGE)
			hnsw_report_corrupt(index->rel, chunk_id / HNSW_CHUNKS_PER_PAGE, "an endless list of TIDs");
	}
}

/*
 * The chunks of a node that is about to be freed, back to their pages.
 */
void
hnsw_release_chunks(HnswIndex *index, HnswNodeId owner, uint32 chunk_id)
{
	static const HnswTidChunkData none;

	while (chunk_id != 0)
	{
		Buffer		buffer = get_chunk(index, chunk_id, BUFFER_LOCK_EXCLUSIVE);
		Page		page = BufferGetPage(buffer);
		HnswTidChunk chunk = page_chunk(page, chunk_id);
		HnswPageOpaqueData opaque = *HnswPageGetOpaque(page);
		HnswEdit	edits[2] = {
			{buffer, chunk_offset(chunk_id % HNSW_CHUNKS_PER_PAGE), sizeof(none), &none},
			hnsw_edit_opaque(buffer, &opaque)
		};

		if (chunk->owner != owner)
		{
			UnlockReleaseBuffer(buffer);
			return;
		}
		chunk_id = chunk->next;
		opaque.nfree++;
		hnsw_edit_pages(index->rel, edits, lengthof(edits));
		hnsw_list_if_unlisted(index, buffer);
		UnlockReleaseBuffer(buffer);
	}
}

/*
 * Copy the TIDs of a chunk and step to the next.  If the chunk meanwhile went
 * to another node, then all TIDs of the old owner were dead: the chain ends.
 */
int
hnsw_chunk_read(HnswIndex *index, HnswNodeId owner, uint32 *chunk_id, ItemPointer tids)
{
	Buffer		buffer = get_chunk(index, *chunk_id, BUFFER_LOCK_SHARE);
	HnswTidChunk chunk = page_chunk(BufferGetPage(buffer), *chunk_id);
	int			n = 0;

	*chunk_id = 0;
	if (chunk->owner == owner)
	{
		n = Min(chunk->ntids, HNSW_CHUNK_TIDS);
		memcpy(tids, chunk->tids, sizeof(ItemPointerData) * n);
		*chunk_id = chunk->next;
	}
	UnlockReleaseBuffer(buffer);
	return n;
}

/*
 * Remove dead TIDs from a chunk and step to the next.  Returns how many TIDs
 * the chunk has left.
 */
int
hnsw_chunk_remove(HnswIndex *index, HnswNodeId owner, uint32 *chunk_id,
				  ItemPointer dead, int ndead)
{
	Buffer		buffer = get_chunk(index, *chunk_id, BUFFER_LOCK_EXCLUSIVE);
	HnswTidChunkData chunk = *page_chunk(BufferGetPage(buffer), *chunk_id);
	HnswEdit	edit = {buffer, chunk_offset(*chunk_id % HNSW_CHUNKS_PER_PAGE), sizeof(chunk), &chunk};
	int			left = 0;

	*chunk_id = 0;
	if (chunk.owner == owner)
	{
		for (int i = 0; i < chunk.ntids; i++)
		{
			bool		keep = true;

			for (int j = 0; j < ndead && keep; j++)
				keep = !ItemPointerEquals(&chunk.tids[i], &dead[j]);
			if (keep)
				chunk.tids[left++] = chunk.tids[i];
		}
		chunk.ntids = left;
		*chunk_id = chunk.next;
		hnsw_edit_pages(index->rel, &edit, 1);
	}
	UnlockReleaseBuffer(buffer);
	return left;
}

/*
 * Add a heap TID to a node that is being written: within the node, else in
 * its first chunk, else in a new chunk before that.
 */
void
hnsw_tid_append(HnswIndex *index, HnswWrite *write, ItemPointer tid)
{
	const HnswLayout *layout = &index->layout;
	HnswNodeHeader node = write->node;
	Buffer		buffer;
	Page		page;
	int			slot;

	if (node->ntids < layout->inline_tids)
	{
		HnswNodeTids(layout, node)[node->ntids++] = *tid;
		return;
	}

	if (node->more_tids != 0)
	{
		buffer = get_chunk(index, node->more_tids, BUFFER_LOCK_EXCLUSIVE);
		page = BufferGetPage(buffer);
		write->chunk = *page_chunk(page, node->more_tids);
		if (write->chunk.owner != write->id)
			hnsw_report_corrupt(index->rel, BufferGetBlockNumber(buffer), "TIDs of another node");
		if (write->chunk.ntids < HNSW_CHUNK_TIDS)
		{
			write->chunk.tids[write->chunk.ntids++] = *tid;
			write->chunk_buffer = buffer;
			write->chunk_slot = node->more_tids % HNSW_CHUNKS_PER_PAGE;
			write->chunk_opaque = *HnswPageGetOpaque(page);
			return;
		}
		UnlockReleaseBuffer(buffer);
	}

	buffer = hnsw_page_with_room(index, HNSW_PAGE_TIDS, false, HNSW_CHUNKS_PER_PAGE);
	page = BufferGetPage(buffer);
	write->chunk_buffer = buffer;
	write->chunk_opaque = *HnswPageGetOpaque(page);
	for (slot = 0; slot < write->chunk_opaque.nused; slot++)
		if (page_chunk(page, slot)->owner == HNSW_NO_NODE)
			break;
	if (slot == write->chunk_opaque.nused)
		write->chunk_opaque.nused++;
	else
		write->chunk_opaque.nfree--;
	write->chunk_slot = slot;
	memset(&write->chunk, 0, sizeof(write->chunk));
	write->chunk.owner = write->id;
	write->chunk.next = node->more_tids;
	write->chunk.tids[write->chunk.ntids++] = *tid;
	node->more_tids = BufferGetBlockNumber(buffer) * HNSW_CHUNKS_PER_PAGE + slot;
}

/* Are a node's chunks all without TIDs?  The node is locked. */
bool
hnsw_chunks_empty(HnswIndex *index, HnswNodeId owner, uint32 chunk_id)
{
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	uint64		steps = 0;

	while (chunk_id != 0)
	{
		hnsw_chain_step(index, chunk_id, &steps);
		if (hnsw_chunk_read(index, owner, &chunk_id, tids) > 0)
			return false;
	}
	return true;
}
