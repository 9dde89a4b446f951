/*-------------------------------------------------------------------------
 *
 * hnsw_tids_page.c
 *		Chunks of further heap TIDs, for nodes with more than fit into them.
 *
 * A node's chunks form a list that starts at the node.  New TIDs go to its
 * first chunk, under the node's lock, or to a new one before that.  Vacuum
 * alone takes chunks off the list, never the first one of a live node, under
 * the locks of their pages; it is the only one to hold two pages of TIDs.  See
 * hnsw_page.c for the order of locks.
 *
 * Scans read a list chunk by chunk and hold nothing in between.  The sequence
 * of chunks goes down along a list.  So who finds that a chunk has gone (it is
 * another node's, or came back to the front of this one's list) goes on at the
 * first chunk with a sequence below that of the last one read: what is before
 * that it has read, or it is newer than its snapshot, and what left the list had
 * only TIDs that are dead to all.
 *
 * Chunks of libraries without sequences have 0.  Behind one of these vacuum cuts
 * off only the end of a list, and a scan that comes there late takes it for the
 * end.  If that chunk has become the start of the same list by then, the scan
 * returns rows twice; after a REINDEX there are no such chunks.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

/* What is before the first chunk of a list */
#define FIRST_SEQUENCE PG_UINT32_MAX

/* How often a list may change while we look for a place in it */
#define MAX_CHAIN_MISSES 1000

static HnswTidChunk
page_chunk(Page page, uint32 chunk_id)
{
	return (HnswTidChunk) PageGetContents(page) + chunk_id % HNSW_CHUNKS_PER_PAGE;
}

/* The keys of a chunk's heap TIDs, behind the room for these */
static uint8 *
chunk_keys(const HnswLayout *layout, HnswTidChunk chunk)
{
	return (uint8 *) &chunk->tids[layout->chunk_tids];
}

static int
chunk_offset(int slot)
{
	return HNSW_PAGE_START + slot * sizeof(HnswTidChunkData);
}

/* The change of a chunk that goes with a node's. */
PageEdit
hnsw_edit_chunk(const HnswWrite *write)
{
	PageEdit	edit = {write->chunk_buffer, chunk_offset(write->chunk_slot),
	sizeof(write->chunk), &write->chunk};

	return edit;
}

/* Lock the page of a chunk whose number comes from a page. */
static Buffer
get_chunk(HnswIndex *index, uint32 chunk_id, int lockmode)
{
	Buffer		buffer = hnsw_get_linked_page(index->rel, chunk_id / HNSW_CHUNKS_PER_PAGE, lockmode,
										 HNSW_PAGE_TIDS);
	HnswTidChunk chunk = page_chunk(BufferGetPage(buffer), chunk_id);

	if (chunk->ntids > index->layout.chunk_tids)
		page_report_corrupt(index->rel, BufferGetBlockNumber(buffer), "an impossible list of TIDs");
	page_check_tids(index->rel, BufferGetBlockNumber(buffer), chunk->tids, chunk->ntids);
	return buffer;
}

/* Copy a chunk; false if it is not this node's (any more). */
static bool
copy_chunk(HnswIndex *index, HnswNodeId owner, uint32 chunk_id, HnswTidChunkData *copy)
{
	Buffer		buffer = get_chunk(index, chunk_id, BUFFER_LOCK_SHARE);

	*copy = *page_chunk(BufferGetPage(buffer), chunk_id);
	UnlockReleaseBuffer(buffer);
	return copy->owner == owner;
}

/*
 * Count a step along a chain of chunks, before it is made: a broken chain may
 * be a circle.  With the first step begins a new chain.
 */
void
hnsw_chain_step(HnswIndex *index, uint32 chunk_id, uint64 *steps)
{
	if (*steps == 0)
		index->chain_sequence = FIRST_SEQUENCE;
	if (++*steps > (uint64) index->nblocks * HNSW_CHUNKS_PER_PAGE)
	{
		index->nblocks = RelationGetNumberOfBlocks(index->rel);
		if (*steps > (uint64) index->nblocks * HNSW_CHUNKS_PER_PAGE)
			page_report_corrupt(index->rel, chunk_id / HNSW_CHUNKS_PER_PAGE, "an endless list of TIDs");
	}
}

/*
 * Free the first chunk of a node that is being removed; its page is locked.
 * False if the chunk is not the node's: then none behind it is.
 */
bool
hnsw_release_chunk(HnswIndex *index, HnswNodeId owner, Buffer buffer, HnswNodeHeader node)
{
	static const HnswTidChunkData none;
	uint32		chunk_id = node->more_tids;
	Buffer		chunk_buffer = get_chunk(index, chunk_id, BUFFER_LOCK_EXCLUSIVE);
	HnswTidChunk chunk = page_chunk(BufferGetPage(chunk_buffer), chunk_id);
	bool		owned = chunk->owner == owner;

	if (owned)
	{
		uint32		next = chunk->next;
		PageEdit	edits[2] = {
			{buffer, (char *) &node->more_tids - (char *) BufferGetPage(buffer), sizeof(next), &next},
			{chunk_buffer, chunk_offset(chunk_id % HNSW_CHUNKS_PER_PAGE), sizeof(none), &none}
		};

		hnsw_free_slot(index, HNSW_FREE_TIDS, chunk_buffer, edits, lengthof(edits));
	}
	UnlockReleaseBuffer(chunk_buffer);
	return owned;
}

/*
 * Free the chunk behind this one, if it has no TIDs, and link to what is
 * behind that; all in one record.  True if there was one.
 */
bool
hnsw_chunk_unlink_next(HnswIndex *index, HnswNodeId owner, uint32 chunk_id)
{
	static const HnswTidChunkData none;
	Buffer		buffer = get_chunk(index, chunk_id, BUFFER_LOCK_EXCLUSIVE);
	HnswTidChunk chunk = page_chunk(BufferGetPage(buffer), chunk_id);
	uint32		next_id = chunk->next;
	Buffer		next_buffer = buffer;
	bool		unlinked = false;

	if (chunk->owner == owner && next_id != 0 && next_id != chunk_id)
	{
		HnswTidChunk next;

		if (next_id / HNSW_CHUNKS_PER_PAGE != chunk_id / HNSW_CHUNKS_PER_PAGE)
			next_buffer = get_chunk(index, next_id, BUFFER_LOCK_EXCLUSIVE);
		next = page_chunk(BufferGetPage(next_buffer), next_id);
		if (next->owner == owner && next->ntids == 0)
		{
			uint32		behind = next->next;
			PageEdit	edits[2] = {
				{buffer, chunk_offset(chunk_id % HNSW_CHUNKS_PER_PAGE) + offsetof(HnswTidChunkData, next),
				sizeof(behind), &behind},
				{next_buffer, chunk_offset(next_id % HNSW_CHUNKS_PER_PAGE), sizeof(none), &none}
			};

			hnsw_free_slot(index, HNSW_FREE_TIDS, next_buffer, edits, lengthof(edits));
			unlinked = true;
		}
	}
	if (next_buffer != buffer)
		UnlockReleaseBuffer(next_buffer);
	UnlockReleaseBuffer(buffer);
	return unlinked;
}

/*
 * Find the first chunk of a node whose sequence is below the given one, and
 * copy it.  False if there is none, or the node is not in use any more.
 */
static bool
find_chunk(HnswIndex *index, HnswNodeId owner, uint32 sequence, HnswTidChunkData *copy)
{
	for (int misses = 0; misses < MAX_CHAIN_MISSES; misses++)
	{
		HnswRead	read;
		uint32		chunk_id = 0;

		CHECK_FOR_INTERRUPTS();
		hnsw_read(index, owner, &read);
		if (read.node->flags == HNSW_NODE_USED && read.node->level == 0)
			chunk_id = read.node->more_tids;
		hnsw_read_end(&read);
		for (uint64 steps = 1;; chunk_id = copy->next)
		{
			if (chunk_id == 0)
				return false;
			CHECK_FOR_INTERRUPTS();
			hnsw_chain_step(index, chunk_id, &steps);
			if (!copy_chunk(index, owner, chunk_id, copy))
				break;			/* gone meanwhile */
			if (copy->sequence < sequence)
				return true;
		}
	}
	page_report_corrupt(index->rel, HnswNodeBlock(&index->layout, owner), "a broken list of TIDs");
}

/*
 * Copy the TIDs of a chunk (and their keys, unless that is NULL) and step to the
 * next; hnsw_chain_step comes before it.  The caller holds no lock, so the chunk may
 * have gone, and with it only dead TIDs: then it is the next one that has not been
 * read.  Behind a chunk without a sequence (made by an older library) vacuum cuts off
 * the end of the list or nothing; so there, what has gone was the end.
 */
int
hnsw_chunk_read(HnswIndex *index, HnswNodeId owner, uint32 *chunk_id, ItemPointer tids,
				uint8 *keys)
{
	HnswTidChunkData chunk;
	uint32		last = index->chain_sequence;

	if (!copy_chunk(index, owner, *chunk_id, &chunk) || (last != 0 && chunk.sequence >= last))
	{
		*chunk_id = 0;
		if (last == 0 || !find_chunk(index, owner, last, &chunk))
			return 0;
	}
	index->chain_sequence = chunk.sequence;
	memcpy(tids, chunk.tids, sizeof(ItemPointerData) * chunk.ntids);
	if (keys != NULL)
		memcpy(keys, chunk_keys(&index->layout, &chunk), index->layout.key_size * chunk.ntids);
	*chunk_id = chunk.next;
	return chunk.ntids;
}

/*
 * Remove dead TIDs out of n, with their keys.  What is left moves to the front,
 * zeros behind it.  Returns how many TIDs are left.
 */
int
hnsw_tids_remove(const HnswLayout *layout, ItemPointer tids, uint8 *keys, int n,
				 const ItemPointerData *dead, int ndead)
{
	int			size = layout->key_size;
	int			left = 0;

	for (int i = 0; i < n; i++)
	{
		bool		keep = true;

		for (int j = 0; j < ndead && keep; j++)
			keep = !ItemPointerEquals(&tids[i], unconstify(ItemPointerData *, &dead[j]));
		if (keep)
		{
			memmove(keys + left * size, keys + i * size, size);
			tids[left++] = tids[i];
		}
	}
	memset(&tids[left], 0, sizeof(ItemPointerData) * (n - left));
	memset(keys + left * size, 0, size * (n - left));
	return left;
}

/* Remove dead TIDs from a chunk.  Returns how many TIDs it has left. */
int
hnsw_chunk_remove(HnswIndex *index, HnswNodeId owner, uint32 chunk_id,
				  ItemPointer dead, int ndead)
{
	Buffer		buffer = get_chunk(index, chunk_id, BUFFER_LOCK_EXCLUSIVE);
	HnswTidChunkData chunk = *page_chunk(BufferGetPage(buffer), chunk_id);
	PageEdit	edit = {buffer, chunk_offset(chunk_id % HNSW_CHUNKS_PER_PAGE), sizeof(chunk), &chunk};
	int			left = 0;

	if (chunk.owner == owner)
	{
		left = hnsw_tids_remove(&index->layout, chunk.tids, chunk_keys(&index->layout, &chunk),
								chunk.ntids, dead, ndead);
		chunk.ntids = left;
		page_edit(index->rel, &edit, 1);
	}
	UnlockReleaseBuffer(buffer);
	return left;
}

/* Take a free chunk for a node, before its first one, which has the given sequence. */
static void
new_chunk(HnswIndex *index, HnswWrite *write, uint32 next_sequence)
{
	Buffer		buffer = hnsw_page_with_room(index, HNSW_FREE_TIDS, HNSW_CHUNKS_PER_PAGE);
	Page		page = BufferGetPage(buffer);
	HnswPageOpaqueData opaque = *HnswPageGetOpaque(page);
	int			slot = opaque.nused;

	if (BufferGetBlockNumber(buffer) > HNSW_MAX_CHUNK_BLOCK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" is full", RelationGetRelationName(index->rel))));
	if (opaque.nfree > 0)
	{
		for (slot = 0; slot < opaque.nused; slot++)
			if (page_chunk(page, slot)->owner == HNSW_NO_NODE)
				break;
		if (slot == opaque.nused)
			page_report_corrupt(index->rel, BufferGetBlockNumber(buffer), "a wrong count of free slots");
		opaque.nfree--;
	}
	else
		opaque.nused++;
	write->chunk_buffer = buffer;
	write->chunk_opaque = opaque;
	write->chunk_slot = slot;
	memset(&write->chunk, 0, sizeof(write->chunk));
	write->chunk.owner = write->id;
	write->chunk.next = write->node->more_tids;
	write->chunk.sequence = next_sequence < FIRST_SEQUENCE - 1 ? next_sequence + 1 : 0;
	write->node->more_tids = BufferGetBlockNumber(buffer) * HNSW_CHUNKS_PER_PAGE + slot;
}

/* Put a heap TID and its key behind the n'th of a node or a chunk. */
static void
put_tid(const HnswLayout *layout, ItemPointer tids, uint8 *keys, int n,
		const ItemPointerData *tid, const uint8 *key)
{
	tids[n] = *tid;
	if (layout->key_size > 0)
		memcpy(keys + n * layout->key_size, key, layout->key_size);
}

/*
 * Add a heap TID, and its key, to a node that is being written: within the node,
 * else in its first chunk, else in a new chunk before that.
 */
void
hnsw_tid_append(HnswIndex *index, HnswWrite *write, const ItemPointerData *tid,
				const uint8 *key)
{
	const HnswLayout *layout = &index->layout;
	HnswNodeHeader node = write->node;
	uint32		sequence = 0;

	if (node->ntids < layout->inline_tids)
	{
		put_tid(layout, HnswNodeTids(layout, node), HnswNodeKeys(layout, node), node->ntids++,
				tid, key);
		return;
	}

	if (node->more_tids != 0)
	{
		Buffer		buffer = get_chunk(index, node->more_tids, BUFFER_LOCK_EXCLUSIVE);
		Page		page = BufferGetPage(buffer);

		write->chunk = *page_chunk(page, node->more_tids);
		if (write->chunk.owner != write->id)
			page_report_corrupt(index->rel, BufferGetBlockNumber(buffer), "TIDs of another node");
		if (write->chunk.ntids < layout->chunk_tids)
		{
			put_tid(layout, write->chunk.tids, chunk_keys(layout, &write->chunk),
					write->chunk.ntids++, tid, key);
			write->chunk_buffer = buffer;
			write->chunk_slot = node->more_tids % HNSW_CHUNKS_PER_PAGE;
			write->chunk_opaque = *HnswPageGetOpaque(page);
			return;
		}
		sequence = write->chunk.sequence;
		UnlockReleaseBuffer(buffer);
	}
	new_chunk(index, write, sequence);
	put_tid(layout, write->chunk.tids, chunk_keys(layout, &write->chunk), write->chunk.ntids++,
			tid, key);
}

/* Are a node's chunks all without TIDs?  The node is locked. */
bool
hnsw_chunks_empty(HnswIndex *index, HnswNodeId owner, uint32 chunk_id)
{
	uint64		steps = 0;

	while (chunk_id != 0)
	{
		HnswTidChunkData chunk;

		hnsw_chain_step(index, chunk_id, &steps);
		if (!copy_chunk(index, owner, chunk_id, &chunk))
			return true;
		if (chunk.ntids > 0)
			return false;
		chunk_id = chunk.next;
	}
	return true;
}
