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

#include "access/genam.h"
#include "common/pg_prng.h"
#include "nodes/execnodes.h"

#include "hnsw/key.h"
#include "hnsw/pool.h"
#include "hnsw/value.h"

/*
 * Width of the search just above the level that is searched, and seeds from
 * there: a share of that search's, within limits.  And the width further up.
 */
#define HNSW_DESCENT_SHARE 16
#define HNSW_DESCENT_WIDTH 4
#define HNSW_MAX_SEEDS 128
#define HNSW_TOP_WIDTH 2

/* The state of a search over one level; resumable with a larger width. */
typedef struct HnswSearch
{
	HnswIndex  *index;
	HnswQuery  *query;
	MemoryContext context;
	int			level;
	int			cold;			/* hops for which pages are asked for ahead */
	bool		keep_vectors;	/* finders: keep each expanded node's decoded vector */
	bool		lifted;			/* finders: by distances of the graph, not of the query */
	uint16		shunned;		/* finders: nodes with these flags do not count */
	const HnswKeyFilter *filter;	/* conditions that rows must meet, or NULL */
	uint32		budget;			/* nodes that the search may still expand */
	uint32		grant;			/* more of them for each base node that counts */
	bool		running;		/* what an error leaves now may be broken */
	MemoryContextCallback end;	/* of the owner */
	HnswPool	pool;
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
extern void hnsw_search_reset(HnswSearch *search, int level, int width);
extern void hnsw_search_seed(HnswSearch *search, HnswNodeId id, float key);
extern void hnsw_search_run(HnswSearch *search);
extern void hnsw_search_widen(HnswSearch *search, int width);
extern void hnsw_search_enter(HnswSearch *search, const HnswMetaPageData *meta, int level,
							  int width);
extern void hnsw_search_down(HnswSearch *search, int width);
extern int	hnsw_filter_tids(const HnswKeyFilter *filter, const HnswLayout *layout, int ntids,
							 const ItemPointerData *tids, const uint8 *keys,
							 ItemPointer matching);
extern double hnsw_search_share(const HnswSearch *search);
extern void hnsw_search_fetch(HnswSearch *search, const HnswNodeId *ids, uint32 n);
extern void hnsw_search_sweep_all(HnswSearch *search);
extern void hnsw_search_list(HnswSearch *search, BlockNumber block);

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

/* Several of them */
typedef struct HnswNeighbours
{
	int			n;
	HnswNeighbour *all;			/* sorted by distance */
} HnswNeighbours;

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
						  const HnswNeighbour *to, int level);
extern void hnsw_link_make(HnswIndex *index, const HnswNeighbour *from,
						   const HnswNeighbour *to, HnswLink *link);
extern void hnsw_put_link(const HnswLayout *layout, HnswNodeHeader node, int i,
						  const HnswLink *link, bool kept);
extern void hnsw_add_overflow(HnswIndex *index, const HnswLink *links, int n);

/* functions in force.c */
extern bool hnsw_is_spare(HnswIndex *index, const HnswNodeId *links, int n, int at, float length,
						  int level);
extern void hnsw_force_back(HnswIndex *index, HnswNodeId id, int level);
extern bool hnsw_force_link(HnswIndex *index, const HnswNeighbour *from, const HnswNeighbour *to,
							int level);

/* What looks for rows and nodes, and for their neighbours; made once for a statement. */
typedef struct HnswFinder
{
	HnswIndex  *index;
	HnswQuery  *query;			/* the row */
	HnswQuery  *asked;			/* inner product: the row as a user's query */
	HnswSearch *search;			/* keeps vectors */
	HnswValue  *value;
	HnswValue  *unpacked;		/* room for what a build would make of it */
	MemoryContext context;		/* reset after each row */
	int			astray;			/* by hnsw_finder_misses */
	int64		inserted;		/* rows, by this statement */
	int64		outliers;		/* of them, as it seemed */
} HnswFinder;

/* What a search for a node has to meet: the node, or anything with as small a key */
typedef struct HnswSought
{
	HnswNodeId	id;
	int			level;
	float		key;			/* -infinity: nothing but the node */
} HnswSought;

/* What looking for a base node has come to */
typedef enum HnswLook
{
	HNSW_LOOK_FOUND,			/* soon enough */
	HNSW_LOOK_ASTRAY,			/* the first search looked elsewhere */
	HNSW_LOOK_ALONE,			/* not at once, or not at all, but what is nearest to it */
	HNSW_LOOK_LOST				/* not even that */
} HnswLook;

typedef enum HnswLinkMode
{
	HNSW_LINK_IF_WANTED,
	HNSW_LINK_ANYWAY			/* another link gives way */
} HnswLinkMode;

/* functions in finder.c */
extern HnswFinder *hnsw_finder_create(HnswIndex *index);
extern void hnsw_neighbour_fill(const HnswIndex *index, HnswNodeId id,
								const HnswNodeHeaderData *node, HnswNeighbour *neighbour);
extern void hnsw_finder_ask(HnswFinder *finder, HnswNodeId id, const HnswNodeHeaderData *node,
							HnswNeighbour *self);
extern int	hnsw_finder_neighbours(HnswFinder *finder, const HnswNeighbour *self, bool dying,
								   HnswNeighbour **neighbours);
extern void hnsw_neighbour_keep(const HnswIndex *index, const HnswNeighbour *found,
								HnswNeighbour *kept);
extern void hnsw_neighbours_keep(const HnswIndex *index, const HnswNeighbour *neighbours, int n,
								 HnswNeighbours *kept);
extern bool hnsw_finder_met(const HnswFinder *finder, const HnswSought *sought);
extern int	hnsw_finder_misses(HnswFinder *finder, const HnswMetaPageData *meta,
							   const HnswSought *sought, const int *widths, int n);
extern HnswLook hnsw_finder_look(HnswFinder *finder, const HnswMetaPageData *meta, HnswNodeId id,
								 const int *widths, int n);
extern bool hnsw_link_back(HnswFinder *finder, const HnswNeighbour *self,
						   const HnswNeighbour *neighbour, int level, HnswLinkMode mode);

/* functions in overflow.c */
extern int	hnsw_overflow_store(HnswFinder *finder, const HnswNeighbour *to, HnswLink *links,
								int n);

/* functions in insert.c */
extern bool hnsw_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
						Relation heap, IndexUniqueCheck check_unique,
						bool index_unchanged, IndexInfo *index_info);
extern void hnsw_promote(HnswFinder *finder, HnswNodeId id);

#endif							/* PIRAMID_HNSW_GRAPH_H */
