/*-------------------------------------------------------------------------
 *
 * search.c
 *		The search loop over one level of the graph.
 *
 * A best-first search with a pool of the best "width" candidates.  Expanding
 * a candidate reads its node, which gives its exact key and, with codes,
 * estimates for its neighbours; with plain links the neighbours are read.
 * If several expanded nodes u give estimates of the same node v, these are
 * averaged, each weighted by the inverse of its variance.  The variance is
 * proportional to |q - u|^2 |v - u|^2.  The mean of two estimates with variances
 * V and W has the variance V W / (V + W).  The search ends when the whole pool is
 * expanded; it can then be resumed with a larger width and does not expand a node again.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/spccache.h"

#define INITIAL_FOUND 128

/* Neighbours whose memory is asked for ahead of the one being read */
#define PREFETCHED_LINKS 4

/* Candidates whose memory is asked for while another one is computed */
#define PREFETCHED_CANDIDATES 2

/* How far to look for them among those that come next */
#define MAX_UPCOMING 64

/* How far ahead a fetch of many nodes asks for their hints and pages, and for their memory */
#define FETCH_HINTED 16
#define FETCH_ASKED 3

/* and by a sweep of all blocks, how many blocks ahead */
#define SWEEP_ASKED 2

/* A seed's key is exact: no estimate changes it. */
#define SEED_VARIANCE 1e-35f
#define MIN_VARIANCE 1e-30f

/* Hops for which pages are asked for ahead, after one that was not in memory */
#define COLD_HOPS 16

/* The largest search that is kept for the next scan, in candidates */
#define SPARE_CANDIDATES 8192

/* The largest vectors of a search that is kept, in bytes */
#define SPARE_VECTORS (1024 * 1024)

/* Room for searches that come one after the other; NULL while one uses it. */
static HnswSearch *spare = NULL;

static HnswSearch *
new_search(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw search",
												  ALLOCSET_DEFAULT_SIZES);
	HnswSearch *search = MemoryContextAllocZero(context, sizeof(HnswSearch));

	search->context = context;
	pool_init(&search->pool, context);
	search->found_capacity = INITIAL_FOUND;
	search->found = MemoryContextAlloc(context, sizeof(HnswFound) * INITIAL_FOUND);
	search->tids_capacity = INITIAL_FOUND;
	search->tids = MemoryContextAlloc(context, sizeof(ItemPointerData) * INITIAL_FOUND);
	search->links = MemoryContextAlloc(context, sizeof(HnswNodeId) * HNSW_MAX_LINKS);
	search->estimates = MemoryContextAlloc(context, sizeof(float) * HNSW_MAX_LINKS);
	search->lengths = MemoryContextAlloc(context, sizeof(float) * HNSW_MAX_LINKS);
	/* Now that nothing can fail: the owner's end decides what becomes of it. */
	MemoryContextSetParent(context, TopMemoryContext);
	return search;
}

/*
 * The owner of a search goes: keep the search's memory for the next one, unless
 * that is much, or an error came in the middle of a search.
 */
static void
release_search(void *arg)
{
	HnswSearch *search = arg;

	if (spare != NULL || search->running || search->vectors_size > SPARE_VECTORS ||
		search->pool.candidates_capacity > SPARE_CANDIDATES ||
		search->found_capacity > SPARE_CANDIDATES || search->tids_capacity > SPARE_CANDIDATES ||
		search->pool.capacity > SPARE_CANDIDATES ||
		search->pool.frontier_capacity > 2 * SPARE_CANDIDATES)
		MemoryContextDelete(search->context);
	else
		spare = search;
}

/*
 * Get a search; hnsw_search_reset makes it ready.  The current memory context
 * owns it: the search is there until that is reset or deleted.
 */
HnswSearch *
hnsw_search_create(HnswIndex *index, HnswQuery *query)
{
	HnswSearch *search = spare != NULL ? spare : new_search();

	spare = NULL;
	search->index = index;
	search->query = query;
	search->filter = NULL;
	search->keep_vectors = false;
	search->lifted = false;
	search->shunned = 0;
	search->running = false;
	search->cold = 0;
	search->end.func = release_search;
	search->end.arg = search;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &search->end);
	return search;
}

/* Forget everything and get ready to search a level.  The pool has a place for a masked node. */
void
hnsw_search_reset(HnswSearch *search, int level, int width)
{
	search->running = true;
	width += search->query->mask != NULL;
	pool_reset(&search->pool, width,
			   width > POOL_MAX_NARROW || (search->filter != NULL && level == 0));
	search->budget = PG_UINT32_MAX;
	search->grant = 0;
	search->level = level;
	search->nfound = 0;
	search->ntids = 0;
}

/*
 * Put a candidate in the pool, if its key is good enough.  It will soon be asked where its page
 * is; not in a wide pool, which takes in nearly all.
 */
static inline void
admit(HnswSearch *search, uint32 candidate, float key)
{
	if (pool_add(&search->pool, candidate, key) && !search->pool.wide)
		hnsw_prefetch_hint(search->index, search->pool.candidates[candidate].id);
}

/*
 * An estimate of a neighbour's key: average it into what is known.  Each of the two is
 * multiplied by its share, since their difference would be too coarse if one is huge.
 * What has the largest variance tells nothing.
 */
static inline void
offer(HnswSearch *search, HnswNodeId id, float estimate, float variance)
{
	HnswPool   *pool = &search->pool;
	bool		is_new;
	uint32		i = pool_candidate_of(pool, id, &is_new);
	HnswCandidate *candidate = &pool->candidates[i];

	if (is_new)
	{
		candidate->variance = variance;
		admit(search, i, estimate);
		return;
	}
	if (!pool_unexpanded(candidate))
		return;
	if (candidate->variance < HNSW_MAX_KEY)
	{
		float		whole = 1 / (candidate->variance + variance);
		float		share = candidate->variance * whole;

		estimate = candidate->key * (variance * whole) + estimate * share;
		variance *= share;
	}
	candidate->variance = variance;
	if (pool_update(pool, i, estimate) && !pool->wide)
		hnsw_prefetch_hint(search->index, id);
}

/* Copy the heap TIDs whose keys meet the conditions; returns how many there are. */
int
hnsw_filter_tids(const HnswKeyFilter *filter, const HnswLayout *layout, int ntids,
				 const ItemPointerData *tids, const uint8 *keys, ItemPointer matching)
{
	int			n = 0;

	for (int i = 0; i < ntids; i++)
		if (hnsw_filter_test(filter, keys + (Size) i * layout->key_size))
			matching[n++] = tids[i];
	return n;
}

/*
 * Is this the node that the search passes over?  The pool has a place for one.  A damaged
 * index has more such nodes: these must not take the places of all others.
 */
static inline bool
is_masked(const HnswSearch *search, const HnswNodeHeaderData *node)
{
	const HnswStored *mask = search->query->mask;

	return unlikely(mask != NULL) && search->pool.width > 1 &&
		hnsw_stored_as(&search->index->layout, node, mask) != NULL;
}

static inline float
node_key(const HnswSearch *search, HnswNodeHeader node, float *l2sq)
{
	return search->lifted ? hnsw_graph_key(search->index, search->query, node, l2sq) :
		hnsw_node_key(search->index, search->query, node, l2sq);
}

/* Does the search begin here?  Where plain links lead, the variance is 0. */
static inline bool
is_seed(const HnswCandidate *candidate)
{
	return candidate->variance > 0 && candidate->variance < MIN_VARIANCE / 1e4f;
}

/* Keep what the caller may need of a node, while it is locked; returns its place in found. */
static uint32
record_found(HnswSearch *search, HnswNodeId id, HnswNodeHeader node, const HnswRead *read, float key)
{
	const HnswLayout *layout = &search->index->layout;
	bool		masked = search->level == 0 && is_masked(search, node);
	int			ntids = masked ? 0 : node->ntids;
	HnswFound  *found;

	Assert(ntids <= layout->inline_tids);
	if (search->nfound == search->found_capacity)
	{
		search->found_capacity *= 2;
		search->found = repalloc_huge(search->found, sizeof(HnswFound) * search->found_capacity);
	}
	found = &search->found[search->nfound++];
	search->index->counts.nodes++;
	found->id = id;
	found->key = key;
	found->error = node->error;
	found->norm = node->norm;
	found->dying = (node->flags & HNSW_NODE_DYING) != 0;
	found->emitted = false;
	found->below = node->below;
	found->more_tids = masked ? 0 : node->more_tids;
	/* Who wants vectors will link to some of the nodes, and asks what a change would log. */
	found->lsn = search->keep_vectors ? hnsw_read_lsn(read) : InvalidXLogRecPtr;
	found->tids = search->ntids;
	found->ntids = ntids;
	if (search->ntids + ntids > search->tids_capacity)
	{
		search->tids_capacity = Max(search->tids_capacity * 2, search->ntids + ntids);
		search->tids = repalloc_huge(search->tids,
									 sizeof(ItemPointerData) * search->tids_capacity);
	}
	if (search->filter != NULL && search->level == 0)
	{
		found->ntids = hnsw_filter_tids(search->filter, layout, ntids, HnswNodeTids(layout, node),
										HnswNodeKeys(layout, node), search->tids + search->ntids);
		search->index->counts.rejects += ntids - found->ntids;
	}
	else
		memcpy(search->tids + search->ntids, HnswNodeTids(layout, node),
			   sizeof(ItemPointerData) * ntids);
	search->ntids += found->ntids;

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
		nlinks = node->nlinks;
	Assert(nlinks <= layout->degree);
	memcpy(search->links, HnswNodeLinks(layout, node), sizeof(HnswNodeId) * nlinks);
	return nlinks;
}

/* Is this node still what links to it meant, and does it count? */
static inline bool
node_usable(const HnswSearch *search, HnswNodeHeader node)
{
	return (node->flags & (HNSW_NODE_USED | search->shunned)) == HNSW_NODE_USED &&
		node->level == search->level;
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

	for (int i = 0; i < 2 * MAX_UPCOMING && concurrency > 0; i++)
	{
		HnswCandidate *candidate = pool_upcoming(&search->pool, i);

		if (candidate == NULL)
			break;
		if (!pool_unexpanded(candidate))
			continue;
		if (candidate->state != HNSW_ASKED_FOR)
			hnsw_read_ahead(search->index, candidate->id);
		candidate->state = HNSW_ASKED_FOR;
		concurrency--;
	}
}

/* After a hop: did it find its pages in memory? */
static inline void
note_reads(HnswSearch *search, int64 reads_before)
{
	if (hnsw_blocks_read() != reads_before)
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
	HnswPool   *pool = &search->pool;
	uint32		fresh[HNSW_MAX_LINKS];
	int			n = 0;
	int			ahead = search->cold > 0 ? io_concurrency(search) : 0;

	for (int i = 0; i < nlinks; i++)
	{
		bool		is_new;
		uint32		ci = pool_candidate_of(pool, search->links[i], &is_new);

		if (!is_new)
			continue;
		hnsw_prefetch_hint(search->index, search->links[i]);
		fresh[n++] = ci;
	}
	for (int i = 0; i < Min(n, ahead); i++)
		hnsw_read_ahead(search->index, pool->candidates[fresh[i]].id);
	for (int i = 0; i < Min(n, PREFETCHED_LINKS); i++)
		hnsw_prefetch(search->index, pool->candidates[fresh[i]].id);

	search->index->counts.estimates += n;
	for (int i = 0; i < n; i++)
	{
		HnswCandidate *candidate = &pool->candidates[fresh[i]];
		HnswRead	read;
		float		l2sq;

		if (ahead > 0 && i + ahead < n)
			hnsw_read_ahead(search->index, pool->candidates[fresh[i + ahead]].id);
		if (i + PREFETCHED_LINKS < n)
			hnsw_prefetch(search->index, pool->candidates[fresh[i + PREFETCHED_LINKS]].id);
		hnsw_read(search->index, candidate->id, &read);
		if (node_usable(search, read.node))
		{
			candidate->key = node_key(search, read.node, &l2sq);
			hnsw_read_end(&read);
			admit(search, fresh[i], candidate->key);
		}
		else
		{
			hnsw_read_end(&read);
			candidate->state = HNSW_GONE;
		}
	}
}

/*
 * Add a base node's overflow links to the n links of the search, with
 * estimates if there are codes.  Returns how many links there are then.
 */
static int
add_overflow(HnswSearch *search, HnswNodeId id, float key, int n)
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

/* May nodes have overflow links, as far as was seen? */
static inline bool
has_overflow(const HnswSearch *search)
{
	return search->index->overflow_pages > 0 && search->level == 0;
}

/* Offer the neighbours that a node's links lead to, by their estimates; l2sq is its distance. */
static inline void
offer_coded(HnswSearch *search, int nlinks, float l2sq)
{
	search->index->counts.estimates += nlinks;
	for (int i = 0; i < nlinks; i++)
	{
		float		estimate = search->estimates[i];
		float		length = search->lengths[i];
		float		variance = l2sq * length * length;

		/* Neither the far ends of float32 nor a duplicate may stop us. */
		if (!(fabsf(estimate) < HNSW_MAX_KEY))
			estimate = variance = HNSW_MAX_KEY;
		else if (!(variance < HNSW_MAX_KEY))
			variance = HNSW_MAX_KEY;
		else if (variance < MIN_VARIANCE)
			variance = MIN_VARIANCE;
		offer(search, search->links[i], estimate, variance);
	}
}

/* Read the node of the candidate that pool_next gave, and offer its neighbours. */
static void
expand(HnswSearch *search, uint32 ci)
{
	HnswPool   *pool = &search->pool;
	HnswCandidate *candidate = &pool->candidates[ci];
	HnswRead	read;
	float		key;
	float		l2sq;
	int			nlinks;
	bool		counts;
	bool		masked;

	hnsw_read(search->index, candidate->id, &read);
	masked = is_masked(search, read.node);
	if (!node_usable(search, read.node) || (masked && !is_seed(candidate)))
	{
		hnsw_read_end(&read);
		candidate->state = HNSW_GONE;
		pool_expanded(pool, ci, HNSW_MAX_KEY, false);
		pool->width -= masked;
		return;
	}
	key = node_key(search, read.node, &l2sq);
	candidate->found = record_found(search, candidate->id, read.node, &read, key);
	candidate->state = HNSW_EXPANDED;
	counts = search->level > 0 || hnsw_has_rows(&search->found[candidate->found]);
	nlinks = copy_links(search, read.node, key);
	hnsw_read_end(&read);
	if (has_overflow(search))
		nlinks = add_overflow(search, candidate->id, key, nlinks);

	if (counts)
		search->budget += search->grant;
	pool_reserve(pool, nlinks);
	pool_expanded(pool, ci, key, counts);
	pool->width -= masked && !counts;
	if (search->index->layout.code.units == 0)
		offer_plain(search, nlinks);
	else
		offer_coded(search, nlinks, l2sq);
}

/* Start from a node, too; key is -HNSW_MAX_KEY if it is unknown. */
void
hnsw_search_seed(HnswSearch *search, HnswNodeId id, float key)
{
	HnswPool   *pool = &search->pool;
	bool		is_new;
	uint32		i;

	Assert(search->running);
	pool_reserve(pool, 1);
	i = pool_candidate_of(pool, id, &is_new);
	if (is_new)
	{
		pool->candidates[i].variance = SEED_VARIANCE;
		admit(search, i, key);
	}
}

/*
 * Ask for the memory of the nodes that come next: all of it at once, and while
 * one is computed that of others comes.
 */
static inline void
prefetch_next(HnswSearch *search)
{
	const HnswPool *pool = &search->pool;
	int			asked = 0;

	for (int i = 0; i < MAX_UPCOMING && asked <= PREFETCHED_CANDIDATES; i++)
	{
		const HnswCandidate *next = pool_upcoming(pool, i);

		if (next == NULL)
			break;
		if (!pool_unexpanded(next))
			continue;
		hnsw_prefetch(search->index, next->id);
		if (has_overflow(search))
			hnsw_overflow_prefetch(search->index, next->id);
		asked++;
	}
}

/* Expand until the whole pool is, or the budget is spent. */
void
hnsw_search_run(HnswSearch *search)
{
	int			next;

	while (search->budget > 0 && (next = pool_next(&search->pool)) >= 0)
	{
		int64		reads = hnsw_blocks_read();

		search->budget--;

		CHECK_FOR_INTERRUPTS();
		if (search->cold > 0)
			read_ahead(search);
		prefetch_next(search);
		expand(search, next);
		note_reads(search, reads);
	}
	pool_finish(&search->pool);
	search->running = false;
}

/*
 * Take up to "width" candidates into the pool, out of all that were met, and
 * get ready to run again.
 */
void
hnsw_search_widen(HnswSearch *search, int width)
{
	HnswPool   *pool = &search->pool;

	Assert(!search->running);
	search->running = true;
	pool_refill(pool, width);
	for (uint32 i = 0; i < pool->ncandidates; i++)
	{
		const HnswCandidate *candidate = &pool->candidates[i];

		if (candidate->state == HNSW_GONE)
			continue;
		if (candidate->state != HNSW_EXPANDED)
			admit(search, i, candidate->key);
		else if (!hnsw_has_rows(&search->found[candidate->found]))
			continue;
		else if (pool->wide)
			pool_count(pool, i, candidate->key);
		else
			(void) pool_insert(pool, i, candidate->key);
	}
	pool->cursor = 0;
}

/* Which share of the nodes that were expanded, and are as near as the pool, is in it? */
double
hnsw_search_share(const HnswSearch *search)
{
	const HnswPool *pool = &search->pool;
	uint32		near = 0;

	for (uint32 i = 0; i < search->nfound; i++)
		near += search->found[i].key <= pool_at(pool, pool->n - 1)->key;
	return Min((double) pool->n / Max(near, 1), 1);
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

	Assert(search->level > 0 && !search->running);
	for (int i = 0; i < search->pool.n && n < HNSW_MAX_SEEDS; i++)
	{
		const HnswCandidate *candidate = pool_at(&search->pool, i);

		if (candidate->state != HNSW_EXPANDED)
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
 * down from the entry point.  Nobody wants the vectors of the levels above.
 */
void
hnsw_search_enter(HnswSearch *search, const HnswMetaPageData *meta, int level, int width)
{
	bool		keep_vectors = search->keep_vectors;

	level = Min(level, meta->entry_level);
	search->keep_vectors = false;
	hnsw_search_reset(search, meta->entry_level, level_width(meta->entry_level - level, width));
	if (meta->entry != HNSW_NO_NODE)
		hnsw_search_seed(search, meta->entry, -HNSW_MAX_KEY);
	while (search->level > level)
	{
		hnsw_search_run(search);
		hnsw_search_down(search, level_width(search->level - 1 - level, width));
	}
	search->keep_vectors = keep_vectors;
}

/* Find a node that the search has not expanded, without its links; it is locked. */
static void
find_unmet(HnswSearch *search, HnswNodeId id, HnswNodeHeader node, const HnswRead *read,
		   const HnswQuery *query)
{
	uint32		found;
	float		l2sq;

	if (!node_usable(search, node) || pool_was_expanded(&search->pool, id))
		return;
	found = record_found(search, id, node, read, 0);
	/* Under conditions most are of no use. */
	if (!hnsw_has_rows(&search->found[found]))
		search->nfound--;
	else if (query != NULL)
		search->found[found].key = hnsw_node_key(search->index, query, node, &l2sq);
}

/* The same for all nodes of a block */
static void
find_block(HnswSearch *search, BlockNumber block, const HnswQuery *query)
{
	HnswIndex  *index = search->index;
	HnswRead	read;
	int			n;

	search->running = true;
	n = hnsw_read_block(index, block, &read);
	for (int slot = 0; slot < n; slot++)
		find_unmet(search, HnswMakeNodeId(&index->layout, block, slot),
				   hnsw_block_node(index, &read, slot), &read, query);
	if (n > 0)
		hnsw_read_end(&read);
	search->running = false;
}

/*
 * Find nodes that the search has not met, in the order of the file, and their keys.
 * There need not be such nodes.  The search cannot go on after that, as it does not
 * know what was found.
 */
void
hnsw_search_fetch(HnswSearch *search, const HnswNodeId *ids, uint32 n)
{
	HnswIndex  *index = search->index;
	uint32		i = 0;

	search->running = true;
	while (i < n)
	{
		BlockNumber block = HnswNodeBlock(&index->layout, ids[i]);
		int64		reads = hnsw_blocks_read();
		HnswRead	read;
		int			nslots;

		CHECK_FOR_INTERRUPTS();
		if (i + FETCH_HINTED < n)
		{
			hnsw_prefetch_hint(index, ids[i + FETCH_HINTED]);
			if (search->cold > 0)
				hnsw_read_ahead(index, ids[i + FETCH_HINTED]);
		}
		if (i + FETCH_ASKED < n)
			hnsw_prefetch(index, ids[i + FETCH_ASKED]);
		nslots = hnsw_read_block(index, block, &read);
		for (; i < n && HnswNodeBlock(&index->layout, ids[i]) == block; i++)
		{
			int			slot = HnswNodeSlot(&index->layout, ids[i]);

			if (slot < nslots)
				find_unmet(search, ids[i], hnsw_block_node(index, &read, slot), &read,
						   search->query);
		}
		if (nslots > 0)
			hnsw_read_end(&read);
		note_reads(search, reads);
	}
	search->running = false;
}

/* The same for all nodes there are. */
void
hnsw_search_sweep_all(HnswSearch *search)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(search->index->rel);

	for (BlockNumber block = HNSW_METAPAGE + 1; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (block + SWEEP_ASKED < nblocks)
			hnsw_prefetch_swept(search->index, block + SWEEP_ASKED);
		find_block(search, block, search->query);
	}
}

/* Find all nodes of a block where there is nothing to search for: they have no keys. */
void
hnsw_search_list(HnswSearch *search, BlockNumber block)
{
	find_block(search, block, NULL);
}
