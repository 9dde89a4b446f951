/*-------------------------------------------------------------------------
 *
 * hnsw_buffer.h
 *		What the files that touch buffers and WAL (*_page.c) share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_BUFFER_H
#define PIRAMID_HNSW_BUFFER_H

#include "postgres.h"

#include "hnsw/pages.h"
#include "page/page.h"

/*
 * A node, its page's counts and fill, and the same of a page of heap TIDs; or an entry
 * of a key page: state, null flags, values, and the page's counts
 */
#define HNSW_MAX_EDITS (3 + HNSW_MAX_KEY_COLUMNS)
StaticAssertDecl(HNSW_MAX_EDITS <= PAGE_MAX_EDITS, "edits of one record");

/* The lists of pages with free slots; whoever works with one says which. */
typedef enum HnswFreeList
{
	HNSW_FREE_BASE,
	HNSW_FREE_UPPER,
	HNSW_FREE_TIDS
} HnswFreeList;

/* Bytes of a node that spans pages on its i'th page */
static inline Size
hnsw_part_size(const HnswLayout *layout, int i)
{
	return Min(HNSW_PAGE_SPACE, layout->node_size - i * HNSW_PAGE_SPACE);
}

/* functions in hnsw_page.c */
extern void hnsw_init_page(Page page, uint32 version, BlockNumber block, int kind, bool upper);
extern void hnsw_set_fill(const HnswLayout *layout, Page page, int nodes);
extern void hnsw_finish_new_page(Buffer buffer, bool log);
extern Buffer hnsw_extend(Relation rel, ForkNumber fork);
extern void hnsw_prefetch_block(Relation rel, BlockNumber block, Size size);
extern void hnsw_lock_page(Buffer buffer, int lockmode, int kind);
extern void hnsw_check_block(HnswIndex *index, BlockNumber block);
extern Buffer hnsw_get_page(Relation rel, BlockNumber block, int lockmode, int kind);
extern Buffer hnsw_get_linked_page(Relation rel, BlockNumber block, int lockmode, int kind);
extern void hnsw_read_chain(Relation rel, BlockNumber block, int kind, char *data, Size size);
extern PageEdit hnsw_edit_opaque(Buffer buffer, const HnswPageOpaqueData *opaque);

/* functions in hnsw_free_page.c */
extern void hnsw_free_push(HnswIndex *index, HnswFreeList list, Buffer buffer);
extern void hnsw_free_slot(HnswIndex *index, HnswFreeList list, Buffer buffer,
						   const PageEdit *edits, int n);
extern Buffer hnsw_page_with_room(HnswIndex *index, HnswFreeList list, int slots);

/* Pages that are found by a number */
typedef enum HnswMapList
{
	HNSW_MAP_OVERFLOW,			/* by group */
	HNSW_MAP_KEYS,				/* by ordinal */
	HNSW_MAP_SKETCHES			/* by ordinal */
} HnswMapList;

#define HNSW_MAP_LISTS 3

/* functions in hnsw_map_page.c */
extern BlockNumber hnsw_map_find(HnswIndex *index, HnswMapList list, uint32 number);
extern Buffer hnsw_map_get_page(HnswIndex *index, HnswMapList list, BlockNumber block,
								uint32 number, int lockmode);
extern BlockNumber hnsw_map_recall(HnswIndex *index, HnswMapList list, uint32 number);
extern BlockNumber hnsw_map_make(HnswIndex *index, HnswMapList list, uint32 number,
								 void (*init) (const HnswLayout *layout, Page page));
extern void hnsw_map_build(HnswIndex *index, HnswMapList list, uint32 first, uint32 last,
						   void (*init) (const HnswLayout *layout, Page page));

/* functions in hnsw_tids_page.c */
extern PageEdit hnsw_edit_chunk(const HnswWrite *write);
extern bool hnsw_release_chunk(HnswIndex *index, HnswNodeId owner, Buffer buffer,
							   HnswNodeHeader node);

/*
 * Verify heap TIDs of a page: the table's pages are read by them.  Whether the
 * table has such a block is hnsw_check_tid's to tell.
 */
static inline void
hnsw_check_tids(Relation rel, BlockNumber block, const ItemPointerData *tids, int n)
{
	for (int i = 0; i < n; i++)
		if (unlikely(!page_tid_is_possible(&tids[i])))
			page_report_corrupt(rel, block, "an impossible heap TID");
}

#endif							/* PIRAMID_HNSW_BUFFER_H */
