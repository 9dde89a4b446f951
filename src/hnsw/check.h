/*-------------------------------------------------------------------------
 *
 * check.h
 *		What the files that check and repair an hnsw index share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_CHECK_H
#define PIRAMID_HNSW_CHECK_H

#include "postgres.h"

#include "check/check.h"
#include "hnsw/bitmap.h"
#include "hnsw/pages.h"
#include "hnsw/value.h"
#include "utils/palloc.h"

/* What is known of a node number: 0 if nothing is, a level with one of these flags, or NONE */
#define NODE_LEVEL 0x07
#define NODE_USED 0x08
#define NODE_DYING 0x10
#define NODE_NONE 0x20

StaticAssertDecl(HNSW_MAX_LEVEL <= NODE_LEVEL, "levels fit what is known of a node");

/* A set of numbers that is seldom large */
typedef struct CheckList
{
	uint32	   *items;
	uint32		n;
	uint32		capacity;
} CheckList;

/* Add an item, unless it was the last one added. */
static inline void
check_list_add(CheckList *list, uint32 item)
{
	if (list->n > 0 && list->items[list->n - 1] == item)
		return;
	if (list->n == list->capacity)
	{
		list->capacity = Max(list->capacity * 2, 64);
		list->items = list->items == NULL ? palloc(sizeof(uint32) * list->capacity) :
			repalloc_huge(list->items, sizeof(uint32) * list->capacity);
	}
	list->items[list->n++] = item;
}

/* A check of one index, and what it leaves to a repair */
typedef struct HnswCheck
{
	Check	   *check;
	HnswIndex  *index;
	HnswMetaPageData meta;
	BlockNumber nblocks;		/* when the check began */
	uint64		nids;			/* numbers of nodes in these blocks */
	uint8	   *nodes;			/* what is known of each */
	HnswBitmap	chunks;			/* chunks in use, by number */
	HnswBitmap	chained;		/* chunks that a node's chain leads to */
	HnswBitmap	listed;			/* blocks that say they are on a list of free slots */
	int64		nlive;			/* nodes of the base, not dying */
	double		longest;		/* squared length of the longest vector */
	double		longest_reach;	/* how far one can be from the mean */
	uint32		codes;			/* one link's code in so many is compared */
	CheckHeap  *heap;			/* the table, as a snapshot sees it that is older than all this */
	BlockNumber heap_blocks;	/* of the table, as last seen */
	HnswValue  *value;			/* of a row */
	bool		page_lost;		/* a link leads to what is no page of nodes */
	bool		has_row;			/* a node has a row that the snapshot sees */
	MemoryContext context;		/* for one node or row */
	float	   *vector;			/* room for a node's own vector, and a sparse one's positions */
	int32	   *indices;
	char	   *page;			/* copies: a page, and two nodes */
	HnswNodeHeader node;
	HnswNodeHeader other;
	/* for a repair */
	CheckList	stale;			/* nodes with links that lead nowhere */
	CheckList	groups;			/* groups with such overflow links */
	CheckList	orphans;		/* upper nodes without a node below */
	CheckList	leaked;			/* chunks that no node has */
	CheckList	keys;			/* nodes with a wrong entry of a key page */
	CheckList	lost;			/* nodes that searches miss with what is near them */
	bool		lists_broken;	/* the lists of free slots have to be made anew */
	bool		entry_broken;
} HnswCheck;

/* functions in check_nodes.c */
extern void check_one_node(HnswCheck *check, HnswNodeId id, const HnswNodeHeaderData *node, bool upper);
extern const char *check_tids(HnswCheck *check, const ItemPointerData *tids, int n);

/* functions in check_chains.c */
extern bool check_chain(HnswCheck *check, HnswNodeId id, uint32 wanted);
extern void check_leaked(HnswCheck *check);

/* functions in check_pages.c */
extern void check_pages(HnswCheck *check);

/* functions in check_lists.c */
extern void check_lists(HnswCheck *check);
extern void check_maps(HnswCheck *check);

/* functions in check_links.c */
extern void check_links(HnswCheck *check);

/* functions in check_codes.c */
extern const char *check_code(HnswCheck *check, const HnswNodeHeaderData *from,
							  const float *rotated, const HnswLink *link);

/* functions in check_graph.c */
extern void check_graph(HnswCheck *check);

/* functions in check_rows.c */
extern const char *hnsw_key_fault(HnswIndex *index, HnswNodeId id);
extern bool check_has_rows(HnswCheck *check, HnswNodeId id);
extern void check_keys(HnswCheck *check);
extern void check_rows(HnswCheck *check);

/* functions in check.c */
extern HnswCheck *hnsw_check_run(Check *frame);
extern void hnsw_check_init(void);

/* functions in repair.c */
extern void hnsw_repair(Check *frame);

#endif							/* PIRAMID_HNSW_CHECK_H */
