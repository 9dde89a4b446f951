/*-------------------------------------------------------------------------
 *
 * pool.h
 *		The nodes that a search has met, and a pool of the best of them.
 *
 * Nothing here reads the index.  What a search does for each link is inline;
 * the rest is in pool.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_POOL_H
#define PIRAMID_HNSW_POOL_H

#include "postgres.h"

#include "hnsw/index.h"

typedef enum HnswCandidateState
{
	HNSW_MET,					/* links led to it; its node is still to be read */
	HNSW_ASKED_FOR,				/* so too, and its page is on its way into memory */
	HNSW_EXPANDED,
	HNSW_GONE					/* free, or a node of another level */
} HnswCandidateState;

/* A node met by a search */
typedef struct HnswCandidate
{
	HnswNodeId	id;
	float		key;			/* exact when expanded, else averaged estimate */
	union
	{
		float		variance;	/* until then: of the mean of its estimates, relative */
		uint32		found;		/* expanded: its place in the search's found */
	};
	uint32		state : 2;		/* HnswCandidateState */
	uint32		place : 30;		/* in the frontier of a wide pool, from 1; 0: it is not there */
} HnswCandidate;

/* So many have places. */
#define POOL_MAX_CANDIDATES (1 << 29)

typedef struct HnswPoolEntry
{
	float		key;
	uint32		candidate;
} HnswPoolEntry;

typedef struct HnswPool
{
	MemoryContext context;
	/* all candidates, and a hash table of them by id */
	HnswCandidate *candidates;
	uint32		ncandidates;
	uint32		candidates_capacity;
	uint32	   *table;			/* 1 + index into candidates, or 0 */
	uint32		table_mask;
	/* the pool: the best "width" of them, by key; see below for a wide one */
	HnswPoolEntry *entries;
	int			n;
	int			capacity;
	int			width;			/* ef */
	int			cursor;			/* all entries before it are expanded */
	bool		wide;
	HnswPoolEntry *frontier;
	int			nfrontier;
	int			frontier_capacity;
} HnswPool;

/*
 * A pool is an array in order, into which an entry is put by moving those behind
 * it.  A wide one would move too many, and one under conditions must not count
 * what does not meet them.  Such a pool has two heaps: the frontier has what
 * is to be read, the nearest first, each candidate once; "entries" has the best
 * of the expanded candidates that count, the farthest first (their keys are
 * negated), until pool_finish sorts them.
 */
#define POOL_MAX_NARROW 256

/* functions in pool.c */
extern void pool_init(HnswPool *pool, MemoryContext context);
extern void pool_reset(HnswPool *pool, int width, bool wide);
extern void pool_grow_candidates(HnswPool *pool);
extern void pool_refill(HnswPool *pool, int width);
extern void pool_finish(HnswPool *pool);
extern bool pool_push(HnswPool *pool, uint32 candidate, float key);
extern int	pool_pop(HnswPool *pool);
extern void pool_count(HnswPool *pool, uint32 candidate, float key);

/* ---------------------------------------------------------------------
 * Heaps
 * ---------------------------------------------------------------------
 */

/*
 * A heap has its least key first.  If candidates are given, each of its entries' knows
 * where its entry is.
 */
static inline void
heap_set(HnswPoolEntry *heap, HnswCandidate *candidates, int at, HnswPoolEntry entry)
{
	heap[at] = entry;
	if (candidates != NULL)
		candidates[entry.candidate].place = at + 1;
}

/* Put an entry at a place of a heap, or before it: what is there is overwritten. */
static inline void
heap_rise(HnswPoolEntry *heap, HnswCandidate *candidates, int at, HnswPoolEntry entry)
{
	while (at > 0 && heap[(at - 1) / 2].key > entry.key)
	{
		heap_set(heap, candidates, at, heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_set(heap, candidates, at, entry);
}

/* Put an entry at a place of a heap of n, or behind it. */
static inline void
heap_sink(HnswPoolEntry *heap, HnswCandidate *candidates, int n, int at, HnswPoolEntry entry)
{
	for (;;)
	{
		int			child = 2 * at + 1;

		if (child >= n)
			break;
		child += child + 1 < n && heap[child + 1].key < heap[child].key;
		if (heap[child].key >= entry.key)
			break;
		heap_set(heap, candidates, at, heap[child]);
		at = child;
	}
	heap_set(heap, candidates, at, entry);
}

/* Put an entry into a heap of n whose entries need not know their places. */
static inline void
heap_push(HnswPoolEntry *heap, int n, HnswPoolEntry entry)
{
	heap_rise(heap, NULL, n, entry);
}

/* Put an entry in the place of the first of such a heap of n. */
static inline void
heap_replace(HnswPoolEntry *heap, int n, HnswPoolEntry entry)
{
	heap_sink(heap, NULL, n, 0, entry);
}

/* ---------------------------------------------------------------------
 * Candidates
 * ---------------------------------------------------------------------
 */

/* Is the node of this candidate still to be read? */
static inline bool
pool_unexpanded(const HnswCandidate *candidate)
{
	return candidate->state <= HNSW_ASKED_FOR;
}

static inline uint32
pool_hash(HnswNodeId id)
{
	uint32		h = id * 0x9E3779B1u;

	return h ^ (h >> 15);
}

/* Have room for so many more candidates: those of one node's links at most. */
static inline void
pool_reserve(HnswPool *pool, uint32 n)
{
	if (pool->ncandidates + n > pool->candidates_capacity)
		pool_grow_candidates(pool);
}

/* The candidate of a node, new if need be (then without a key). */
static inline uint32
pool_candidate_of(HnswPool *pool, HnswNodeId id, bool *is_new)
{
	uint32		slot = pool_hash(id) & pool->table_mask;
	HnswCandidate *candidate;
	uint32		i;

	while ((i = pool->table[slot]) != 0)
	{
		if (pool->candidates[i - 1].id == id)
		{
			*is_new = false;
			return i - 1;
		}
		slot = (slot + 1) & pool->table_mask;
	}

	Assert(pool->ncandidates < pool->candidates_capacity);
	i = pool->ncandidates++;
	pool->table[slot] = i + 1;
	candidate = &pool->candidates[i];
	candidate->id = id;
	candidate->key = HNSW_MAX_KEY;
	candidate->variance = 0;
	candidate->state = HNSW_MET;
	candidate->place = 0;
	*is_new = true;
	return i;
}

/* Was this node expanded? */
static inline bool
pool_was_expanded(const HnswPool *pool, HnswNodeId id)
{
	uint32		i;

	for (uint32 slot = pool_hash(id) & pool->table_mask; (i = pool->table[slot]) != 0;
		 slot = (slot + 1) & pool->table_mask)
		if (pool->candidates[i - 1].id == id)
			return pool->candidates[i - 1].state == HNSW_EXPANDED;
	return false;
}

/* ---------------------------------------------------------------------
 * The best of them
 * ---------------------------------------------------------------------
 */

/* The candidate at a place of the pool; the nearest is at 0. */
static inline HnswCandidate *
pool_at(const HnswPool *pool, int position)
{
	return &pool->candidates[pool->entries[position].candidate];
}

/* First entry of the pool whose key is not less; no branch depends on keys. */
static inline int
pool_lower_bound(const HnswPool *pool, float key)
{
	const HnswPoolEntry *base = pool->entries;
	uint32		n = pool->n;

	if (n == 0)
		return 0;
	while (n > 1)
	{
		uint32		half = n / 2;

		base += (base[half - 1].key < key) ? half : 0;
		n -= half;
	}
	return base - pool->entries + (base->key < key);
}

/* Where a candidate with this key is in the pool, or -1. */
static inline int
pool_find(const HnswPool *pool, uint32 candidate, float key)
{
	if (pool->n == 0 || key > pool->entries[pool->n - 1].key)
		return -1;
	for (int i = pool_lower_bound(pool, key); i < pool->n && pool->entries[i].key == key; i++)
		if (pool->entries[i].candidate == candidate)
			return i;
	return -1;
}

static inline void
pool_remove(HnswPool *pool, int position)
{
	pool->n--;
	memmove(&pool->entries[position], &pool->entries[position + 1],
			sizeof(HnswPoolEntry) * (pool->n - position));
	if (position < pool->cursor)
		pool->cursor--;
}

/*
 * Put a candidate in the pool, if its key is good enough.  True if it is there
 * now and its node is still to be read.
 */
static inline bool
pool_insert(HnswPool *pool, uint32 candidate, float key)
{
	int			position;

	if (pool->n == pool->width)
	{
		if (key >= pool->entries[pool->n - 1].key)
			return false;
		pool->n--;
		if (pool->cursor > pool->n)
			pool->cursor = pool->n;
	}
	position = pool_lower_bound(pool, key);
	memmove(&pool->entries[position + 1], &pool->entries[position],
			sizeof(HnswPoolEntry) * (pool->n - position));
	pool->entries[position].key = key;
	pool->entries[position].candidate = candidate;
	pool->n++;
	if (pool_unexpanded(&pool->candidates[candidate]))
	{
		if (position <= pool->cursor)
			pool->cursor = position;
		return true;
	}
	if (position < pool->cursor)
		pool->cursor++;
	return false;
}

/*
 * Change a candidate's key, wherever it is.  True if that puts it at a place of
 * the pool where it was not, and its node is still to be read.
 */
static inline bool
pool_set_key(HnswPool *pool, uint32 i, float key)
{
	HnswCandidate *candidate = &pool->candidates[i];
	int			position = pool_find(pool, i, candidate->key);

	if (position >= 0)
	{
		candidate->key = key;
		/* Often it may stay where it is. */
		if ((position == 0 || pool->entries[position - 1].key <= key) &&
			(position == pool->n - 1 || key <= pool->entries[position + 1].key))
		{
			pool->entries[position].key = key;
			if (position < pool->cursor && pool_unexpanded(candidate))
				pool->cursor = position;
			return false;
		}
		pool_remove(pool, position);
	}
	candidate->key = key;
	return pool_insert(pool, i, key);
}

/* ---------------------------------------------------------------------
 * What a search calls, for both kinds of pool
 * ---------------------------------------------------------------------
 */

/*
 * A candidate was met.  True if it is in the pool now and its node is still to
 * be read.
 */
static inline bool
pool_add(HnswPool *pool, uint32 candidate, float key)
{
	pool->candidates[candidate].key = key;
	return pool->wide ? pool_push(pool, candidate, key) : pool_insert(pool, candidate, key);
}

/* The estimate of a candidate's key has changed; returns what pool_add does. */
static inline bool
pool_update(HnswPool *pool, uint32 i, float key)
{
	HnswCandidate *candidate = &pool->candidates[i];

	if (pool->wide)
	{
		candidate->key = key;
		return pool_push(pool, i, key);
	}
	/* Most are farther than the whole pool, and stay so. */
	if (pool->n == pool->width && candidate->key > pool->entries[pool->n - 1].key &&
		key >= pool->entries[pool->n - 1].key)
	{
		candidate->key = key;
		return false;
	}
	return pool_set_key(pool, i, key);
}

/* The candidate to expand now, or -1 if the pool has none. */
static inline int
pool_next(HnswPool *pool)
{
	if (pool->wide)
		return pool_pop(pool);
	while (pool->cursor < pool->n && !pool_unexpanded(pool_at(pool, pool->cursor)))
		pool->cursor++;
	return pool->cursor < pool->n ? (int) pool->entries[pool->cursor].candidate : -1;
}

/* The candidate that pool_next gave was expanded, and has an exact key. */
static inline void
pool_expanded(HnswPool *pool, uint32 candidate, float key, bool counts)
{
	if (pool->wide)
	{
		pool->candidates[candidate].key = key;
		if (counts)
			pool_count(pool, candidate, key);
	}
	else if (counts)
		(void) pool_set_key(pool, candidate, key);
	else
		pool_remove(pool, pool->cursor);
}

/*
 * The i'th of those that will be expanded next, about; NULL if there are no
 * more.  It may have been expanded, or be gone.
 */
static inline HnswCandidate *
pool_upcoming(const HnswPool *pool, int i)
{
	if (pool->wide)
		return i < pool->nfrontier ? &pool->candidates[pool->frontier[i].candidate] : NULL;
	return pool->cursor + i < pool->n ? pool_at(pool, pool->cursor + i) : NULL;
}

#endif							/* PIRAMID_HNSW_POOL_H */
