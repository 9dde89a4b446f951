/*-------------------------------------------------------------------------
 *
 * pool.c
 *		The nodes that a search has met: what is done seldom.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/pool.h"

#include "utils/memutils.h"

#define INITIAL_CANDIDATES 1024

StaticAssertDecl(HNSW_MAX_LINKS <= INITIAL_CANDIDATES,
				 "twice the room is enough for a node's links");

/* Slots of the hash table for each candidate that there is room for */
#define SLOTS_PER_CANDIDATE 4

/* Make a pool, which lives in this context; pool_reset makes it ready. */
void
pool_init(HnswPool *pool, MemoryContext context)
{
	uint32		slots = SLOTS_PER_CANDIDATE * INITIAL_CANDIDATES;

	memset(pool, 0, sizeof(*pool));
	pool->context = context;
	pool->candidates_capacity = INITIAL_CANDIDATES;
	pool->candidates = MemoryContextAlloc(context, sizeof(HnswCandidate) * INITIAL_CANDIDATES);
	pool->table_mask = slots - 1;
	pool->table = MemoryContextAllocZero(context, sizeof(uint32) * slots);
}

/*
 * Empty the hash table.  When it has few entries they are taken out one by
 * one, the last one first, so that no probe sequence breaks meanwhile.
 */
static void
clear_table(HnswPool *pool)
{
	if (pool->ncandidates > pool->table_mask / 16)
	{
		memset(pool->table, 0, sizeof(uint32) * ((Size) pool->table_mask + 1));
		return;
	}
	for (uint32 i = pool->ncandidates; i > 0; i--)
	{
		uint32		slot = pool_hash(pool->candidates[i - 1].id) & pool->table_mask;

		while (pool->table[slot] != i)
			slot = (slot + 1) & pool->table_mask;
		pool->table[slot] = 0;
	}
}

/* Take all entries out, and have room for so many. */
static void
empty(HnswPool *pool, int width, Size capacity)
{
	pool->width = width;
	pool->n = 0;
	pool->cursor = 0;
	for (int i = 0; i < pool->nfrontier; i++)
		pool->candidates[pool->frontier[i].candidate].place = 0;
	pool->nfrontier = 0;
	if (pool->capacity < capacity)
	{
		if (pool->entries != NULL)
			pfree(pool->entries);
		pool->entries = MemoryContextAllocHuge(pool->context, sizeof(HnswPoolEntry) * capacity);
		pool->capacity = capacity;
	}
}

/* Forget all candidates. */
void
pool_reset(HnswPool *pool, int width, bool wide)
{
	clear_table(pool);
	pool->ncandidates = 0;
	pool->wide = wide;
	empty(pool, width, width);
}

/* Twice the candidates, and a hash table to match. */
void
pool_grow_candidates(HnswPool *pool)
{
	uint32		capacity = pool->candidates_capacity * 2;
	Size		slots = (Size) capacity * SLOTS_PER_CANDIDATE;

	if (capacity > POOL_MAX_CANDIDATES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a search of an hnsw index met more than %d nodes", POOL_MAX_CANDIDATES)));
	pool->candidates = repalloc_huge(pool->candidates, sizeof(HnswCandidate) * capacity);
	pool->candidates_capacity = capacity;
	pfree(pool->table);
	pool->table = MemoryContextAllocExtended(pool->context, sizeof(uint32) * slots,
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	pool->table_mask = slots - 1;
	for (uint32 i = 0; i < pool->ncandidates; i++)
	{
		uint32		slot = pool_hash(pool->candidates[i].id) & pool->table_mask;

		while (pool->table[slot] != 0)
			slot = (slot + 1) & pool->table_mask;
		pool->table[slot] = i + 1;
	}
}

/* Take all entries out, to choose from the candidates again. */
void
pool_refill(HnswPool *pool, int width)
{
	pool->wide |= width > POOL_MAX_NARROW;
	empty(pool, width, width);
}

/* May a candidate with this key be among the best? */
static inline bool
is_good(const HnswPool *pool, float key)
{
	return pool->n < pool->width || key < -pool->entries[0].key;
}

/*
 * Put a candidate, whose key this is, into the frontier of a wide pool, or where it belongs
 * there now.  Not if it was expanded, and only if it is good enough; false if it is not put.
 */
bool
pool_push(HnswPool *pool, uint32 candidate, float key)
{
	HnswPoolEntry entry = {key, candidate};
	uint32		place = pool->candidates[candidate].place;

	if (place > 0)
	{
		if (key < pool->frontier[place - 1].key)
			heap_rise(pool->frontier, pool->candidates, place - 1, entry);
		else
			heap_sink(pool->frontier, pool->candidates, pool->nfrontier, place - 1, entry);
		return true;
	}
	if (!pool_unexpanded(&pool->candidates[candidate]) || !is_good(pool, key))
		return false;
	if (pool->nfrontier == pool->frontier_capacity)
	{
		int			capacity = Max(pool->frontier_capacity * 2, INITIAL_CANDIDATES);
		Size		size = sizeof(HnswPoolEntry) * capacity;

		pool->frontier = pool->frontier == NULL ? MemoryContextAllocHuge(pool->context, size) :
			repalloc_huge(pool->frontier, size);
		pool->frontier_capacity = capacity;
	}
	heap_rise(pool->frontier, pool->candidates, pool->nfrontier++, entry);
	return true;
}

/* Take the nearest out of the frontier of a wide pool; -1 if none is good enough. */
int
pool_pop(HnswPool *pool)
{
	HnswPoolEntry nearest;

	if (pool->nfrontier == 0 || !is_good(pool, pool->frontier[0].key))
		return -1;
	nearest = pool->frontier[0];
	pool->nfrontier--;
	if (pool->nfrontier > 0)
		heap_sink(pool->frontier, pool->candidates, pool->nfrontier, 0,
				  pool->frontier[pool->nfrontier]);
	pool->candidates[nearest.candidate].place = 0;
	return (int) nearest.candidate;
}

/* An expanded candidate of a wide pool counts. */
void
pool_count(HnswPool *pool, uint32 candidate, float key)
{
	HnswPoolEntry entry = {-key, candidate};

	if (pool->n < pool->width)
		heap_push(pool->entries, pool->n++, entry);
	else if (is_good(pool, key))
		heap_replace(pool->entries, pool->n, entry);
}

static int
compare_entries(const void *a, const void *b)
{
	float		x = ((const HnswPoolEntry *) a)->key;
	float		y = ((const HnswPoolEntry *) b)->key;

	return (x > y) - (x < y);
}

/* The search is over: the entries come in order. */
void
pool_finish(HnswPool *pool)
{
	if (!pool->wide)
		return;
	for (int i = 0; i < pool->n; i++)
		pool->entries[i].key = -pool->entries[i].key;
	qsort(pool->entries, pool->n, sizeof(HnswPoolEntry), compare_entries);
}
