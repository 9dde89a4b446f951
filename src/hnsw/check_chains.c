/*-------------------------------------------------------------------------
 *
 * check_chains.c
 *		Chains of chunks of heap TIDs: their owners, order and ends.
 *
 * A chain changes while it is walked: inserts put chunks in front, vacuum takes
 * chunks off.  So a fault counts if several walks in a row meet the same.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "miscadmin.h"

/* Walks that have to meet a fault */
#define WALKS 3

/* A fault, and the chunk */
typedef struct ChainFault
{
	const char *what;			/* NULL if there is none */
	uint32		chunk;
} ChainFault;

/*
 * Walk a node's chain, and note its chunks.  *found says whether the wanted one is
 * among them.
 */
static ChainFault
walk(HnswCheck *check, HnswNodeId id, uint32 wanted, bool *found)
{
	HnswTidChunkData chunk;
	uint32		chunk_id;
	uint32		last = PG_UINT32_MAX;
	uint64		steps = 0;

	*found = false;
	if (hnsw_node_copy(check->index, id, check->other) != NULL ||
		!(check->other->flags & HNSW_NODE_USED) || check->other->level > 0)
		return (ChainFault) {NULL, 0};
	for (chunk_id = check->other->more_tids; chunk_id != 0; chunk_id = chunk.next)
	{
		const char *fault = hnsw_chunk_copy(check->index, chunk_id, &chunk);

		CHECK_FOR_INTERRUPTS();
		if (fault == NULL && chunk.owner != id)
			fault = "TIDs of another node in a node's chain";
		if (fault == NULL && chunk.ntids > check->index->layout.chunk_tids)
			fault = "an impossible list of TIDs";
		if (fault == NULL && last != 0 && chunk.sequence >= last)
			fault = "a list of TIDs in the wrong order";
		if (fault == NULL && ++steps > (uint64) check->nblocks * HNSW_CHUNKS_PER_PAGE)
			fault = "an endless list of TIDs";
		if (fault == NULL)
			fault = check_tids(check, chunk.tids, chunk.ntids);
		if (fault != NULL)
			return (ChainFault) {fault, chunk_id};
		last = chunk.sequence;
		bitmap_set(&check->chained, chunk_id);
		*found |= chunk_id == wanted;
	}
	return (ChainFault) {NULL, 0};
}

/* Check the chain of a base node; is the wanted chunk on it? */
bool
check_chain(HnswCheck *check, HnswNodeId id, uint32 wanted)
{
	ChainFault	fault = {NULL, 0};
	bool		found;

	for (int i = 0; i < WALKS; i++)
	{
		ChainFault	again = walk(check, id, wanted, &found);

		if (again.what == NULL || (i > 0 && again.chunk != fault.chunk))
			return found || again.what != NULL;
		fault = again;
	}
	check_found(check->check, CHECK_REINDEX,
				(CheckPlace) {fault.chunk / HNSW_CHUNKS_PER_PAGE, fault.chunk % HNSW_CHUNKS_PER_PAGE},
				"%s", fault.what);
	return true;
}

/* Is a chunk given to a node whose chain does not lead to it? */
static bool
is_leaked(HnswCheck *check, uint32 chunk_id)
{
	HnswTidChunkData chunk;

	for (int i = 0; i < WALKS; i++)
	{
		if (hnsw_chunk_copy(check->index, chunk_id, &chunk) != NULL ||
			chunk.owner == HNSW_NO_NODE || check_chain(check, chunk.owner, chunk_id))
			return false;
	}
	return true;
}

/* Report chunks in use that no chain leads to. */
void
check_leaked(HnswCheck *check)
{
	check_phase(check->check, "lists of heap TIDs");
	for (uint64 byte = 0; byte <= check->chunks.size / 8; byte++)
	{
		uint8		bits = check->chunks.bytes[byte] & ~check->chained.bytes[byte];

		CHECK_FOR_INTERRUPTS();
		for (int bit = 0; bits != 0; bit++, bits >>= 1)
		{
			uint32		chunk_id = byte * 8 + bit;

			if (!(bits & 1) || !is_leaked(check, chunk_id))
				continue;
			check_found(check->check, CHECK_TIDY,
						(CheckPlace) {chunk_id / HNSW_CHUNKS_PER_PAGE, chunk_id % HNSW_CHUNKS_PER_PAGE},
						"a chunk of heap TIDs that no node has");
			check_list_add(&check->leaked, chunk_id);
		}
	}
}
