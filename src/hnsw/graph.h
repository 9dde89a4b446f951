/*-------------------------------------------------------------------------
 *
 * graph.h
 *		The graph: searching it, choosing neighbours, putting links.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_GRAPH_H
#define PIRAMID_HNSW_GRAPH_H

#include "postgres.h"

#include "common/pg_prng.h"

#include "hnsw/value.h"

/*
 * Width of the search just above the level that is searched, and seeds from
 * there: a share of that search's, within limits.  And the width further up.
 */
#define HNSW_DESCENT_SHARE 16
#define HNSW_DESCENT_WIDTH 4
#define HNSW_MAX_SEEDS 128
#define HNSW_TOP_WIDTH 2

/* Diversity of links: u-v is kept if no kept w has ALPHA * |v-w| < |u-v|. */
#define HNSW_ALPHA 1.1f

/* A node met by a search; expanded ones have a HnswFound too. */
typedef struct HnswCandidate
{
	HnswNodeId	id;
	float		key;			/* exact when expanded, else averaged estimate */
	float		variance;		/* of the mean of its estimates, in relative terms */
	int32		found;			/* index into found, or one of those below */
} HnswCandidate;

#define HNSW_GONE			(-1)	/* free, or a node of another level */
#define HNSW_NOT_EXPANDED	(-2)
#define HNSW_ASKED_FOR		(-3)	/* not expanded, but its page is being read */

typedef struct HnswFound
{
	HnswNodeId	id;
	float		key;
	float		error;
	float		norm;
	uint32		tids;			/* index into the search's tids */
	uint16		ntids;
	bool		dying;
	bool		emitted;
	uint32		below;			/* upper: node a level down */
	uint32		more_tids;		/* base: first chunk */
	XLogRecPtr	lsn;			/* of its page */
} HnswFound;

/* functions in bounds.c */
extern void hnsw_key_bounds(const HnswIndex *index, const HnswQuery *query,
							const HnswFound *found, double *lower, double *upper);

typedef struct HnswPoolEntry
{
	float		key;
	uint32		candidate;
} HnswPoolEntry;

/* The state of a search over one level; resumable with a larger width. */
typedef struct HnswSearch
{
	HnswIndex  *index;
	HnswQuery  *query;
	MemoryContext context;
	int			level;
	int			width;			/* ef */
	int			cold;			/* hops for which pages are asked for ahead */
	bool		keep_vectors;	/* inserts: keep each expanded node's decoded vector */
	/* the pool: the best "width" candidates, by key */
	HnswPoolEntry *pool;
	int			npool;
	int			pool_capacity;
	int			cursor;			/* all entries before it are expanded */
	/* all candidates, and a hash table of them by id */
	HnswCandidate *candidates;
	uint32		ncandidates;
	uint32		candidates_capacity;
	uint32	   *table;			/* 1 + index into candidates, or 0 */
	uint32		table_mask;
	HnswFound  *found;
	uint32		nfound;
	uint32		found_capacity;
	ItemPointerData *tids;
	uint32		ntids;
	uint32		tids_capacity;
	float	   *vectors;		/* keep_vectors: nfound * hnsw_vector_length values */
	Size		vectors_size;	/* room for them, in bytes */
	/* room for one node's links */
	HnswNodeId *links;
	float	   *estimates;
	float	   *lengths;
	uint8	   *codes;			/* of its overflow links, in FastScan blocks */
	Size		codes_size;
} HnswSearch;

/* functions in search.c */
extern HnswSearch *hnsw_search_create(HnswIndex *index, HnswQuery *query);
extern void hnsw_search_free(HnswSearch *search);
extern void hnsw_search_reset(HnswSearch *search, int level, int width);
extern void hnsw_search_seed(HnswSearch *search, HnswNodeId id, float key);
extern void hnsw_search_run(HnswSearch *search);
extern void hnsw_search_widen(HnswSearch *search, int width);
extern void hnsw_search_enter(HnswSearch *search, const HnswMetaPageData *meta, int level,
							  int width);
extern void hnsw_search_down(HnswSearch *search, int width);
extern void hnsw_search_sweep(HnswSearch *search, BlockNumber block, bool keyed);

/* A possible neighbour of a node: its vector as hnsw_own_decode gives it. */
typedef struct HnswNeighbour
{
	HnswNodeId	id;
	float		distance;		/* from the node; squared unless L1 */
	float		norm;			/* squared length of the row's vector */
	const float *vector;
	const float *rotated;		/* what codes are made from; once it is chosen */
	const HnswNodeId *links;	/* of a node that others shall link to */
	int			nlinks;
	XLogRecPtr	lsn;			/* of the page, as the search found it */
} HnswNeighbour;

/* A coded node that others shall link to: its links, and how long they are */
typedef struct HnswTarget
{
	int			nlinks;
	HnswNodeId *links;
	float	   *lengths;
} HnswTarget;

/* Which of n links leads to a node, or -1. */
static inline int
hnsw_find_link(const HnswNodeId *links, int n, HnswNodeId to)
{
	for (int i = 0; i < n; i++)
		if (links[i] == to)
			return i;
	return -1;
}

/* functions in neighbours.c */
extern float hnsw_extra(const HnswIndex *index, float norm);
extern float hnsw_graph_distance(const HnswIndex *index, const float *a, float norm_a,
								 const float *b, float norm_b);
extern int	hnsw_select(const HnswIndex *index, const HnswNeighbour *neighbours, int n,
						int most, int *chosen, int *nkept);
extern void hnsw_set_link(const HnswIndex *index, HnswNodeHeader node, int i,
						  const HnswNeighbour *to, const float *from, bool kept);
extern void hnsw_remove_link(const HnswIndex *index, HnswNodeHeader node, int i);
extern void hnsw_node_init(const HnswIndex *index, HnswNodeHeader node, int level,
						   const HnswOwn *own);
extern int	hnsw_random_level(pg_prng_state *random);
extern bool hnsw_add_link(HnswIndex *index, const HnswQuery *query, const HnswNeighbour *from,
						  const HnswNeighbour *to, int level, bool force);
extern void hnsw_link_make(HnswIndex *index, const HnswNeighbour *from,
							   const HnswNeighbour *to, HnswLink *link);
extern void hnsw_put_link(const HnswLayout *layout, HnswNodeHeader node, int i,
						  const HnswLink *link, bool kept);
extern void hnsw_add_waiting(HnswIndex *index, const HnswLink *links, int n);

/* functions in force.c */
extern void hnsw_force_back(HnswIndex *index, HnswNodeId id, int level);
extern bool hnsw_force_link(HnswIndex *index, const HnswNeighbour *from, const HnswNeighbour *to,
							int level);

/* What inserts need again and again; made once for a statement. */
typedef struct HnswInserter
{
	HnswIndex  *index;
	HnswQuery  *query;
	HnswSearch *search;
	HnswValue  *value;
	MemoryContext context;		/* reset after each row */
	bool		busy;			/* in the middle of a row */
	MemoryContextCallback end;	/* of the statement */
} HnswInserter;

/* functions in insert.c */
extern HnswInserter *hnsw_inserter_create(HnswIndex *index);
extern void hnsw_insert_value(HnswInserter *inserter, const HnswValue *value, ItemPointer tid);
extern void hnsw_promote(HnswInserter *inserter, HnswNodeId id);
extern int	hnsw_found_neighbours(HnswInserter *inserter, HnswNodeId self, float norm,
								  HnswNeighbour *neighbours);

/* functions in overflow.c */
extern int	hnsw_overflow_store(HnswInserter *inserter, const HnswNeighbour *to,
								HnswLink *links, int n);

#endif							/* PIRAMID_HNSW_GRAPH_H */
