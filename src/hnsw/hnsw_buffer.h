/*-------------------------------------------------------------------------
 *
 * hnsw_buffer.h
 *		What the files that touch buffers and WAL (*_page.c) share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_BUFFER_H
#define PIRAMID_HNSW_BUFFER_H

#include "hnsw/hnsw.h"

/* functions in hnsw_page.c */
pg_noreturn extern void hnsw_report_corrupt(Relation rel, BlockNumber block,
											const char *what);
extern Buffer hnsw_get_page(Relation rel, BlockNumber block, int lockmode, int kind);
extern Buffer hnsw_get_linked_page(Relation rel, BlockNumber block, int lockmode, int kind);
extern void hnsw_list_page(HnswIndex *index, Buffer buffer, bool push, int init_kind,
						   bool upper);
extern Buffer hnsw_page_with_room(HnswIndex *index, int kind, bool upper, int slots);

/* functions in hnsw_tids_page.c */
extern void hnsw_release_chunks(HnswIndex *index, HnswNodeId owner, uint32 chunk_id);

#endif							/* PIRAMID_HNSW_BUFFER_H */
