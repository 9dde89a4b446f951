/*-------------------------------------------------------------------------
 *
 * search.c
 *		The search loop over one level of the graph.
 *
 * A best-first search with a pool of the best "width" candidates.  Expanding
 * a candidate reads its node, which gives its exact key and, with codes,
 * estimates for its neighbours; with plain links the neighbours are read.
 * Estimates of one node from several expanded neighbours are averaged, each
 * weighted by the inverse of its variance, which is proportional to
 * |q - u|^2 |v - u|^2: two with variances V and v make one with
 * V v / (V + v).  The search ends when the whole pool is expanded; it can then
 * be resumed with a larger width and does not expand a node again.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"

#include "executor/instrument.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/spccache.h"

#define INITIAL_CANDIDATES 1024
#define INITIAL_FOUND 128

/* Widths up to which a pool is better filled by insertion than by sorting */
#define MAX_INSERTED_WIDTH 1000

/* Neighbours whose memory is asked for ahead of the one being read */
#define PREFETCHED_LINKS 4

/* Candidates whose memory is asked for while another one is computed */
#define PREFETCHED_CANDIDATES 2

/* A seed's key is exact: no estimate changes it. */
#define SEED_VARIANCE 1e-35f
#define MIN_VARIANCE 1e-30f

/* Hops for which pages are asked for ahead, after one that was not in memory */
#define COLD_HOPS 16

/* The largest search that is kept for the next scan, in candidates */
#define SPARE_CANDIDATES 8192

/* and the vectors of one, in bytes */
#define SPARE_VECTORS (1024 * 1024)

/* Room for scans that come one after the other; NULL while one uses it. */
static HnswSearch *spare = NULL;

/* Allocate a search; hnsw_search_reset makes it ready. */
HnswSearch *
hnsw_search_create(HnswIndex *index, HnswQuery *query)
{
	MemoryContext context;
	HnswSearch *search;

	if (spare != NULL)
	{
		search = spare;
		spare = NULL;
		MemoryContextSetParent(search->context, CurrentMemoryContext);
		search->index = index;
		search->query = query;
		search->keep_vectors = false;
		search->cold = 0;
		return search;
	}

	context = AllocSetContextCreate(CurrentMemoryContext, "hnsw search", ALLOCSET_DEFAULT_SIZES);
	search = MemoryContextAllocZero(context, sizeof(HnswSearch));
	search->index = index;
	search->query = query;
	search->context = context;
	search->candidates_capacity = INITIAL_CANDIDATES;
	search->candidates = MemoryContextAlloc(context, sizeof(HnswCandidate) * INITIAL_CANDIDATES);
	search->table_mask = 4 * INITIAL_CANDIDATES - 1;
	search->table = MemoryContextAllocZero(context, sizeof(uint32) * 4 * INITIAL_CANDIDATES);
	search->found_capacity = INITIAL_FOUND;
	search->found = MemoryContextAlloc(context, sizeof(HnswFound) * INITIAL_FOUND);
	search->tids_capacity = INITIAL_FOUND;
	search->tids = MemoryContextAlloc(context, sizeof(ItemPointerData) * INITIAL_FOUND);
	search->links = MemoryContextAlloc(context, sizeof(HnswNodeId) * HNSW_MAX_LINKS);
	search->estimates = MemoryContextAlloc(context, sizeof(float) * HNSW_MAX_LINKS);
	search->lengths = MemoryContextAlloc(context, sizeof(float) * HNSW_MAX_LINKS);
	return search;
}

/*
 * Free a search, or keep its memory for the next one.  One that an error
 * leaves behind goes with the context that it was made in.
 */
void
hnsw_search_free(HnswSearch *search)
{
	if (spare != NULL || search->vectors_size > SPARE_VECTORS ||
		search->candidates_capacity > SPARE_CANDIDATES ||
		search->found_capacity > SPARE_CANDIDATES || search->tids_capacity > SPARE_CANDIDATES ||
		search->pool_capacity > SPARE_CANDIDATES)
	{
		MemoryContextDelete(search->context);
		return;
	}
	MemoryContextSetParent(search->context, TopMemoryContext);
	spare = search;
}

static inline uint32
hash_id(HnswNodeId id)
{
	uint32		h = id * 0x9E3779B1u;

	return h ^ (h >> 15);
}

/*
 * Empty the hash table.  When it has few entries they are taken out one by
 * one, the last one first, so that no probe sequence breaks meanwhile.
 */
static void
clear_table(HnswSearch *search)
{
	if (search->ncandidates > search->table_mask / 16)
	{
		memset(search->table, 0, sizeof(uint32) * ((Size) search->table_mask + 1));
		return;
	}
	for (uint32 i = search->ncandidates; i > 0; i--)
	{
		uint32		slot = hash_id(search->candidates[i - 1].id) & search->table_mask;

		while (search->table[slot] != i)
			slot = (slot + 1) & search->table_mask;
		search->table[slot] = 0;
	}
}

/* Forget everything and get ready to search a level. */
void
hnsw_search_reset(HnswSearch *search, int level, int width)
{
	clear_table(search);
	search->level = level;
	search->ncandidates = 0;
	search->nfound = 0;
	search->ntids = 0;
	search->npool = 0;
	search->cursor = 0;
	search->width = width;
	if (search->pool_capacity < width)
	{
		if (search->pool != NULL)
			pfree(search->pool);
		search->pool = MemoryContextAllocHuge(search->context, sizeof(HnswPoolEntry) * width);
		search->pool_capacity = width;
	}
}

/* Twice the candidates, and a hash table to match. */
static void
grow_candidates(HnswSearch *search)
{
	uint32		capacity = search->candidates_capacity * 2;
	Size		slots = (Size) capacity * 4;

	search->candidates = repalloc_huge(search->candidates, sizeof(HnswCandidate) * capacity);
	search->candidates_capacity = capacity;
	pfree(search->table);
	search->table = MemoryContextAllocExtended(search->context, sizeof(uint32) * slots,
											   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	search->table_mask = slots - 1;
	for (uint32 i = 0; i < search->ncandidates; i++)
	{
		uint32		slot = hash_id(search->candidates[i].id) & search->table_mask;

		while (search->table[slot] != 0)
			slot = (slot + 1) & search->table_mask;
		search->table[slot] = i + 1;
	}
}

/* The candidate of a node, new if need be (then without a key). */
static inline uint32
candidate_of(HnswSearch *search, HnswNodeId id, bool *is_new)
{
	uint32		slot = hash_id(id) & search->table_mask;
	HnswCandidate *candidate;
	uint32		i;

	while ((i = search->table[slot]) != 0)
	{
		if (search->candidates[i - 1].id == id)
		{
			*is_new = false;
			return i - 1;
		}
		slot = (slot + 1) & search->table_mask;
	}

	i = search->ncandidates++;
	search->table[slot] = i + 1;
	candidate = &search->candidates[i];
	candidate->id = id;
	candidate->key = HNSW_MAX_KEY;
	candidate->variance = 0;
	candidate->found = HNSW_NOT_EXPANDED;
	*is_new = true;
	return i;
}

/* Is the node of this candidate still to be read? */
static inline bool
unexpanded(const HnswCandidate *candidate)
{
	return candidate->found <= HNSW_NOT_EXPANDED;
}

/* First entry of the pool whose key is not less; no branch depends on keys. */
static inline int
pool_lower_bound(const HnswSearch *search, float key)
{
	const HnswPoolEntry *base = search->pool;
	int			n = search->npool;

	while (n > 0)
	{
		int			half = (n + 1) / 2;

		base += (base[half - 1].key < key) ? half : 0;
		n -= half;
	}
	return base - search->pool;
}

/* Where a candidate with this key is in the pool, or -1. */
static inline int
pool_find(const HnswSearch *search, uint32 candidate, float key)
{
	if (search->npool == 0 || key > search->pool[search->npool - 1].key)
		return -1;
	for (int i = pool_lower_bound(search, key);
		 i < search->npool && search->pool[i].key == key; i++)
		if (search->pool[i].candidate == candidate)
			return i;
	return -1;
}

static inline void
pool_remove(HnswSearch *search, int position)
{
	search->npool--;
	memmove(&search->pool[position], &search->pool[position + 1],
			sizeof(HnswPoolEntry) * (search->npool - position));
	if (position < search->cursor)
		search->cursor--;
}

/* Put a candidate in the pool, if its key is good enough. */
static inline void
pool_insert(HnswSearch *search, uint32 candidate, float key)
{
	int			position;

	if (search->npool == search->width)
	{
		if (key >= search->pool[search->npool - 1].key)
			return;
		search->npool--;
		if (search->cursor > search->npool)
			search->cursor = search->npool;
	}
	position = pool_lower_bound(search, key);
	memmove(&search->pool[position + 1], &search->pool[position],
			sizeof(HnswPoolEntry) * (search->npool - position));
	search->pool[position].key = key;
	search->pool[position].candidate = candidate;
	search->npool++;
	if (unexpanded(&search->candidates[candidate]))
	{
		if (position <= search->cursor)
			search->cursor = position;
		hnsw_prefetch_hint(search->index, search->candidates[candidate].id);
	}
	else if (position < search->cursor)
		search->cursor++;
}

/* Change a candidate's key, wherever it is. */
static inline void
set_key(HnswSearch *search, uint32 i, float key)
{
	HnswCandidate *candidate = &search->candidates[i];
	int			position = pool_find(search, i, candidate->key);

	if (position >= 0)
	{
		candidate->key = key;
		/* Often it may stay where it is. */
		if ((position == 0 || search->pool[position - 1].key <= key) &&
			(position == search->npool - 1 || key <= search->pool[position + 1].key))
		{
			search->pool[position].key = key;
			if (position < search->cursor && unexpanded(candidate))
				search->cursor = position;
			return;
		}
		pool_remove(search, position);
	}
	candidate->key = key;
	pool_insert(search, i, key);
}

/* An estimate of a neighbour's key: average it into what is known. */
static inline void
offer(HnswSearch *search, HnswNodeId id, float estimate, float variance)
{
	bool		is_new;
	uint32		i = candidate_of(search, id, &is_new);
	HnswCandidate *candidate = &search->candidates[i];
	float		share;

	if (is_new)
	{
		candidate->variance = variance;
		candidate->key = estimate;
		pool_insert(search, i, estimate);
		return;
	}
	if (!unexpanded(candidate))
		return;
	share = candidate->variance / (candidate->variance + variance);
	candidate->variance = variance * share;
	set_key(search, i, candidate->key + (estimate - candidate->key) * share);
}

/* Keep what the caller may need of a node, while it is locked; returns its place in found. */
static int32
record_found(HnswSearch *search, HnswNodeId id, HnswNodeHeader node, XLogRecPtr lsn, float key)
{
	const HnswLayout *layout = &search->index->layout;
	int			ntids = Min(node->ntids, layout->inline_tids);
	HnswFound  *found;

	if (search->nfound == search->found_capacity)
	{
		search->found_capacity *= 2;
		search->found = repalloc_huge(search->found, sizeof(HnswFound) * search->found_capacity);
	}
	found = &search->found[search->nfound++];
	found->id = id;
	found->key = key;
	found->error = node->error;
	found->norm = node->norm;
	found->dying = (node->flags & HNSW_NODE_DYING) != 0;
	found->emitted = false;
	found->below = node->below;
	found->more_tids = node->more_tids;
	found->lsn = lsn;
	found->tids = search->ntids;
	found->ntids = ntids;
	if (search->ntids + ntids > search->tids_capacity)
	{
		search->tids_capacity = Max(search->tids_capacity * 2, search->ntids + ntids);
		search->tids = repalloc_huge(search->tids,
									 sizeof(ItemPointerData) * search->tids_capacity);
	}
	memcpy(search->tids + search->ntids, HnswNodeTids(layout, node),
		   sizeof(ItemPointerData) * ntids);
	search->ntids += ntids;

	if (search->keep_vectors)
	{
		int			length = hnsw_vector_length(layout);
		Size		size = sizeof(float) * search->found_capacity * length;

		if (search->vectors_size < size)
		{
			search->vectors = search->vectors == NULL ?
				MemoryContextAllocHuge(search->context, size) : repalloc_huge(search->vectors, size);
			search->vectors_size = size;
		}
		hnsw_own_decode(search->index, node,
						search->vectors + (Size) (search->nfound - 1) * length);
	}
	return search->nfound - 1;
}

/*
 * The links of a locked node, into search->links, with estimates if there
 * are codes.  Returns their number.
 */
static int
copy_links(HnswSearch *search, HnswNodeHeader node, float key)
{
	const HnswLayout *layout = &search->index->layout;
	int			nlinks;

	if (layout->code.units > 0)
		nlinks = hnsw_node_estimates(search->index, search->query, node, key,
									 search->estimates, search->lengths);
	else
		nlinks = Min(node->nlinks, layout->degree);
	memcpy(search->links, HnswNodeLinks(layout, node), sizeof(HnswNodeId) * nlinks);
	return nlinks;
}

/* Is this node still what links to it meant? */
static inline bool
node_usable(const HnswSearch *search, HnswNodeHeader node)
{
	return (node->flags & HNSW_NODE_USED) && node->level == search->level;
}

/* How many reads to have under way at a time. */
static int
io_concurrency(const HnswSearch *search)
{
	return get_tablespace_io_concurrency(search->index->rel->rd_rel->reltablespace);
}

/*
 * Some pages are not in memory: start to read those of the candidates that
 * come next, unless that was done.
 */
static void
read_ahead(HnswSearch *search)
{
	int			concurrency = io_concurrency(search);

	for (int i = search->cursor; i < search->npool && concurrency > 0; i++)
	{
		HnswCandidate *candidate = &search->candidates[search->pool[i].candidate];

		if (!unexpanded(candidate))
			continue;
		if (candidate->found != HNSW_ASKED_FOR)
			hnsw_read_ahead(search->index, candidate->id);
		candidate->found = HNSW_ASKED_FOR;
		concurrency--;
	}
}

/* After a hop: did it find its pages in memory? */
static inline void
note_reads(HnswSearch *search, int64 reads_before)
{
	if (pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read != reads_before)
		search->cold = COLD_HOPS;
	else if (search->cold > 0)
		search->cold--;
}

/*
 * Plain links: read each new neighbour for its key, with the memory of some
 * on its way while one is computed.
 */
static void
offer_plain(HnswSearch *search, int nlinks)
{
	uint32		fresh[HNSW_MAX_LINKS];
	int			n = 0;
	int			ahead = search->cold > 0 ? io_concurrency(search) : 0;

	for (int i = 0; i < nlinks; i++)
	{
		bool		is_new;
		uint32		ci = candidate_of(search, search->links[i], &is_new);

		if (!is_new)
			continue;
		hnsw_prefetch_hint(search->index, search->links[i]);
		fresh[n++] = ci;
	}
	for (int i = 0; i < Min(n, ahead); i++)
		hnsw_read_ahead(search->index, search->candidates[fresh[i]].id);
	for (int i = 0; i < Min(n, PREFETCHED_LINKS); i++)
		hnsw_prefetch(search->index, search->candidates[fresh[i]].id);

	for (int i = 0; i < n; i++)
	{
		HnswCandidate *candidate = &search->candidates[fresh[i]];
		HnswRead	read;
		float		l2sq;

		if (ahead > 0 && i + ahead < n)
			hnsw_read_ahead(search->index, search->candidates[fresh[i + ahead]].id);
		if (i + PREFETCHED_LINKS < n)
			hnsw_prefetch(search->index, search->candidates[fresh[i + PREFETCHED_LINKS]].id);
		hnsw_read(search->index, candidate->id, &read);
		if (node_usable(search, read.node))
		{
			candidate->key = hnsw_node_key(search->index, search->query, read.node, &l2sq);
			hnsw_read_end(&read);
			pool_insert(search, fresh[i], candidate->key);
		}
		else
		{
			hnsw_read_end(&read);
			candidate->found = HNSW_GONE;
		}
	}
}

/*
 * Add a base node's overflow links to the n links of the search, with
 * estimates if there are codes.  Returns how many links there are then.
 */
static int
offer_overflow(HnswSearch *search, HnswNodeId id, float key, int n)
{
	HnswIndex  *index = search->index;
	const HnswLayout *layout = &index->layout;
	Size		size = (Size) layout->code.units * (layout->overflow_links + FASTSCAN_BLOCK);
	int			more;

	if (search->codes_size < size)
	{
		search->codes = MemoryContextAlloc(search->context, size);
		search->codes_size = size;
	}
	more = hnsw_overflow_read(index, id, search->links + n, search->estimates + n,
							  search->lengths + n, search->codes);
	if (more > 0 && layout->code.units > 0)
		hnsw_code_estimates(index, search->query, search->codes, more, key,
							search->estimates + n, search->lengths + n);
	return n + more;
}

/* Read the node of pool entry "position" and offer its neighbours. */
static void
expand(HnswSearch *search, int position)
{
	uint32		ci = search->pool[position].candidate;
	HnswCandidate *candidate = &search->candidates[ci];
	HnswRead	read;
	float		key;
	float		l2sq;
	int			nlinks;
	bool		live;

	hnsw_read(search->index, candidate->id, &read);
	if (!node_usable(search, read.node))
	{
		hnsw_read_end(&read);
		candidate->found = HNSW_GONE;
		pool_remove(search, position);
		return;
	}
	key = hnsw_node_key(search->index, search->query, read.node, &l2sq);
	candidate->found = record_found(search, candidate->id, read.node, read.lsn, key);
	live = read.node->ntids > 0 || read.node->more_tids != 0 || search->level > 0;
	nlinks = copy_links(search, read.node, key);
	hnsw_read_end(&read);
	if (search->index->overflow_pages > 0 && search->level == 0)
		nlinks = offer_overflow(search, candidate->id, key, nlinks);

	if (search->ncandidates + nlinks > search->candidates_capacity)
		grow_candidates(search);
	if (live)
		set_key(search, ci, key);
	else
		pool_remove(search, position);

	if (search->index->layout.code.units == 0)
		offer_plain(search, nlinks);
	else
	{
		for (int i = 0; i < nlinks; i++)
		{
			float		estimate = search->estimates[i];
			float		length = search->lengths[i];
			float		variance = l2sq * length * length;

			/* Neither the far ends of float32 nor a duplicate may stop us. */
			if (!(estimate < HNSW_MAX_KEY && estimate > -HNSW_MAX_KEY))
				estimate = HNSW_MAX_KEY;
			if (!(variance < HNSW_MAX_KEY))
				variance = HNSW_MAX_KEY;
			else if (variance < MIN_VARIANCE)
				variance = MIN_VARIANCE;
			offer(search, search->links[i], estimate, variance);
		}
	}
}

/* Start from a node, too; key is -HNSW_MAX_KEY if it is unknown. */
void
hnsw_search_seed(HnswSearch *search, HnswNodeId id, float key)
{
	bool		is_new;
	uint32		i;

	if (search->ncandidates == search->candidates_capacity)
		grow_candidates(search);
	i = candidate_of(search, id, &is_new);
	if (is_new)
	{
		search->candidates[i].key = key;
		search->candidates[i].variance = SEED_VARIANCE;
		pool_insert(search, i, key);
	}
}

/* Expand until the whole pool is. */
void
hnsw_search_run(HnswSearch *search)
{
	for (;;)
	{
		int64		reads = pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read;
		int			ahead = 0;

		while (search->cursor < search->npool &&
			   !unexpanded(&search->candidates[search->pool[search->cursor].candidate]))
			search->cursor++;
		if (search->cursor == search->npool)
			break;
		CHECK_FOR_INTERRUPTS();

		/*
		 * All of the node's memory at once; and the next ones' comes while this
		 * one is computed.
		 */
		if (search->cold > 0)
			read_ahead(search);
		for (int i = search->cursor; i < search->npool && ahead <= PREFETCHED_CANDIDATES; i++)
		{
			const HnswCandidate *next = &search->candidates[search->pool[i].candidate];

			if (unexpanded(next))
			{
				hnsw_prefetch(search->index, next->id);
				if (search->index->overflow_pages > 0 && search->level == 0)
					hnsw_overflow_prefetch(search->index, next->id);
				ahead++;
			}
		}
		expand(search, search->cursor);
		note_reads(search, reads);
	}
}

static int
compare_pool(const void *a, const void *b)
{
	float		x = ((const HnswPoolEntry *) a)->key;
	float		y = ((const HnswPoolEntry *) b)->key;

	return (x > y) - (x < y);
}

/* May a candidate be in the pool?  Not if it is gone, or all its rows are. */
static inline bool
candidate_counts(const HnswSearch *search, const HnswCandidate *candidate)
{
	const HnswFound *found;

	if (candidate->found < 0)
		return unexpanded(candidate);
	found = &search->found[candidate->found];
	return found->ntids > 0 || found->more_tids != 0;
}

/*
 * Take up to "width" candidates into the pool, out of all that were met, and
 * get ready to run again.
 */
void
hnsw_search_widen(HnswSearch *search, int width)
{
	Size		capacity = Max((Size) search->ncandidates, (Size) width);
	int			n = 0;

	if (search->pool_capacity < capacity)
	{
		pfree(search->pool);
		search->pool = MemoryContextAllocHuge(search->context, sizeof(HnswPoolEntry) * capacity);
		search->pool_capacity = capacity;
	}
	search->width = width;
	search->npool = 0;
	search->cursor = 0;

	/* Most candidates are not good enough: no need to sort them, if few are. */
	if (width <= MAX_INSERTED_WIDTH)
	{
		for (uint32 i = 0; i < search->ncandidates; i++)
			if (candidate_counts(search, &search->candidates[i]))
				pool_insert(search, i, search->candidates[i].key);
		search->cursor = 0;
		return;
	}
	for (uint32 i = 0; i < search->ncandidates; i++)
	{
		if (!candidate_counts(search, &search->candidates[i]))
			continue;
		search->pool[n].key = search->candidates[i].key;
		search->pool[n].candidate = i;
		n++;
	}
	qsort(search->pool, n, sizeof(HnswPoolEntry), compare_pool);
	search->npool = Min(n, width);
}

/*
 * Go down one level: start a search there from the best nodes found here,
 * whose keys are known, since they are the same vectors.
 */
void
hnsw_search_down(HnswSearch *search, int width)
{
	HnswNodeId	ids[HNSW_MAX_SEEDS];
	float		keys[HNSW_MAX_SEEDS];
	int			n = 0;

	for (int i = 0; i < search->npool && n < HNSW_MAX_SEEDS; i++)
	{
		const HnswCandidate *candidate = &search->candidates[search->pool[i].candidate];

		if (candidate->found < 0)
			continue;
		ids[n] = search->found[candidate->found].below;
		keys[n++] = candidate->key;
	}
	hnsw_search_reset(search, search->level - 1, width);
	for (int i = 0; i < n; i++)
		hnsw_search_seed(search, ids[i], keys[i]);
}

/* Width of a search that is so many levels above the one that matters. */
static int
level_width(int above, int width)
{
	if (above == 0)
		return width;
	if (above > 1)
		return HNSW_TOP_WIDTH;
	return Min(Max(width / HNSW_DESCENT_SHARE, HNSW_DESCENT_WIDTH), HNSW_MAX_SEEDS);
}

/*
 * Get ready to search a level, or the entry point's if that is lower, coming
 * down from the entry point.
 */
void
hnsw_search_enter(HnswSearch *search, const HnswMetaPageData *meta, int level, int width)
{
	level = Min(level, meta->entry_level);
	hnsw_search_reset(search, meta->entry_level, level_width(meta->entry_level - level, width));
	if (meta->entry != HNSW_NO_NODE)
		hnsw_search_seed(search, meta->entry, -HNSW_MAX_KEY);
	while (search->level > level)
	{
		hnsw_search_run(search);
		hnsw_search_down(search, level_width(search->level - 1 - level, width));
	}
}

/* Has the search read this node? */
static bool
was_met(const HnswSearch *search, HnswNodeId id)
{
	uint32		i;

	for (uint32 slot = hash_id(id) & search->table_mask; (i = search->table[slot]) != 0;
		 slot = (slot + 1) & search->table_mask)
		if (search->candidates[i - 1].id == id)
			return search->candidates[i - 1].found >= 0;
	return false;
}

/*
 * Find the base nodes of a block that the search has not expanded, without
 * their links.  "keyed" is false if there is no query to compute keys for.
 * The search cannot go on after that, as it does not know what was found.
 */
void
hnsw_search_sweep(HnswSearch *search, BlockNumber block, bool keyed)
{
	HnswIndex  *index = search->index;
	HnswRead	read;
	int			n = hnsw_read_block(index, block, &read);

	for (int slot = 0; slot < n; slot++)
	{
		HnswNodeHeader node = hnsw_block_node(index, &read, slot);
		HnswNodeId	id = HnswMakeNodeId(&index->layout, block, slot);
		float		key = 0;
		float		l2sq;

		if (!node_usable(search, node) || was_met(search, id))
			continue;
		if (keyed)
			key = hnsw_node_key(index, search->query, node, &l2sq);
		(void) record_found(search, id, node, read.lsn, key);
	}
	if (n > 0)
		hnsw_read_end(&read);
}
