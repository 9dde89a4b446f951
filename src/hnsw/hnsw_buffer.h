/*-------------------------------------------------------------------------
 *
 * hnsw_buffer.h
 *		What the files that touch buffers and WAL (*_page.c, hnsw_edit_page.c) share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_BUFFER_H
#define PIRAMID_HNSW_BUFFER_H

#include "hnsw/hnsw.h"

/* New contents for a part of a page that is locked exclusively */
typedef struct HnswEdit
{
	Buffer		buffer;
	int			offset;			/* from the start of the page */
	int			size;
	const void *data;
} HnswEdit;

/* A node, its page's counts and fill, and the same of a page of heap TIDs */
#define HNSW_MAX_EDITS 6

/* Bytes of a node that spans pages on its i'th page */
static inline Size
hnsw_part_size(const HnswLayout *layout, int i)
{
	return Min(HNSW_PAGE_SPACE, layout->node_size - i * HNSW_PAGE_SPACE);
}

/* functions in hnsw_page.c */
pg_noreturn extern void hnsw_report_corrupt(Relation rel, BlockNumber block,
											const char *what);
extern void hnsw_init_page(Page page, int kind, bool upper);
extern void hnsw_set_fill(const HnswLayout *layout, Page page, int nodes);
extern void hnsw_finish_new_page(Buffer buffer, bool log);
extern Buffer hnsw_extend(Relation rel, ForkNumber fork);
extern void hnsw_prefetch_block(Relation rel, BlockNumber block, Size size);
extern void hnsw_check_block(HnswIndex *index, BlockNumber block);
extern Buffer hnsw_get_page(Relation rel, BlockNumber block, int lockmode, int kind);
extern Buffer hnsw_get_linked_page(Relation rel, BlockNumber block, int lockmode, int kind);
extern void hnsw_list_page(HnswIndex *index, Buffer buffer, bool push, int init_kind,
						   bool upper);
extern void hnsw_list_if_unlisted(HnswIndex *index, Buffer buffer);
extern HnswEdit hnsw_edit_opaque(Buffer buffer, const HnswPageOpaqueData *opaque);
extern Buffer hnsw_page_with_room(HnswIndex *index, int kind, bool upper, int slots);

/* functions in hnsw_edit_page.c */
extern void hnsw_edit_pages(Relation rel, const HnswEdit *edits, int n);

/* functions in hnsw_tids_page.c */
extern HnswEdit hnsw_edit_chunk(const HnswWrite *write);
extern void hnsw_release_chunks(HnswIndex *index, HnswNodeId owner, uint32 chunk_id);

#endif							/* PIRAMID_HNSW_BUFFER_H */
