/*-------------------------------------------------------------------------
 *
 * pages.h
 *		Nodes, links and the metapage as they are read and written: what the
 *		*_page.c files offer, which alone touch buffers and WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_PAGES_H
#define PIRAMID_HNSW_PAGES_H

#include "postgres.h"

#include "executor/instrument.h"

#include "hnsw/index.h"
#include "page/page.h"

/* A node locked for reading. */
typedef struct HnswRead
{
	HnswNodeHeader node;		/* in the page, or a copy in index->scratch */
	Buffer		buffer;			/* its (first) page */
} HnswRead;

/*
 * A node locked for writing.  Changes go to copies, and count at commit.
 */
typedef struct HnswWrite
{
	HnswNodeHeader node;
	HnswNodeId	id;
	Buffer		buffer;			/* the (first) page of the node */
	Buffer	   *parts;			/* the other pages, if any */
	HnswPageOpaqueData opaque;	/* of the first page */
	/* a chunk of heap TIDs that changes with the node, and its page */
	Buffer		chunk_buffer;	/* or invalid */
	int			chunk_slot;
	HnswTidChunkData chunk;
	HnswPageOpaqueData chunk_opaque;
} HnswWrite;

/* A link that does not stand in its node: an overflow link, or one to be made. */
typedef struct HnswLink
{
	HnswNodeId	from;
	HnswNodeId	to;
	float		a;				/* factors */
	float		b;
	uint8	   *code;
	const struct HnswNeighbour *neighbour; /* from, when it is new */
	const struct HnswTarget *target;	/* to, if it is coded and the link may move to its node */
} HnswLink;

/* Blocks that this backend has read from outside shared buffers. */
static inline int64
hnsw_blocks_read(void)
{
	return pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read;
}

/* functions in hnsw_page.c: the file that touches buffers and WAL */
extern const char *hnsw_page_fault(Relation rel, BlockNumber block, Page page, int kind);
extern void hnsw_create(Relation rel, ForkNumber fork, HnswMetaPageData *meta,
						const float *mean, const Projection *projection,
						const Projection *sketches);
extern void hnsw_meta_init(HnswMetaPageData *meta, const HnswLayout *layout);
extern void hnsw_meta_read(Relation rel, HnswMetaPageData *meta);
extern void hnsw_meta_refresh(HnswIndex *index, HnswMetaPageData *meta);
extern void hnsw_norm_change(HnswIndex *index, float expected, float norm);
extern void hnsw_projection_read(Relation rel, const HnswProjectionName *name, int width,
								 HnswProjectionData *data, Size size);
extern bool hnsw_entry_update(HnswIndex *index, HnswNodeId expected, HnswNodeId entry,
							  int level);
extern void hnsw_read(HnswIndex *index, HnswNodeId id, HnswRead *read);
extern void hnsw_prefetch(HnswIndex *index, HnswNodeId id);
extern void hnsw_prefetch_swept(HnswIndex *index, BlockNumber block);
extern void hnsw_load_block(Relation rel, BlockNumber block);
extern void hnsw_block_read_ahead(Relation rel, BlockNumber block);
extern void hnsw_read_ahead(HnswIndex *index, HnswNodeId id);
extern void hnsw_prefetch_hint(HnswIndex *index, HnswNodeId id);
extern XLogRecPtr hnsw_read_lsn(const HnswRead *read);
extern void hnsw_read_end(HnswRead *read);
extern int	hnsw_read_block(HnswIndex *index, BlockNumber block, HnswRead *read);
extern HnswNodeHeader hnsw_block_node(const HnswIndex *index, const HnswRead *read, int slot);
extern void hnsw_write(HnswIndex *index, HnswNodeId id, HnswWrite *write);
extern HnswNodeId hnsw_allocate(HnswIndex *index, bool upper, HnswWrite *write);
extern void hnsw_write_end(HnswIndex *index, HnswWrite *write, bool commit);
extern void hnsw_release(HnswIndex *index, HnswNodeId id);
extern int	hnsw_block_nodes(HnswIndex *index, BlockNumber block, HnswNodeId *ids);
extern void hnsw_block_reclaim(HnswIndex *index, BlockNumber block);

/* functions in hnsw_check_page.c: copies for checks */
extern const char *hnsw_copy(HnswIndex *index, BlockNumber block, int kind, int offset, Size size,
							 void *copy);
extern bool hnsw_page_copy(HnswIndex *index, BlockNumber block, Page copy);
extern const char *hnsw_node_copy(HnswIndex *index, HnswNodeId id, HnswNodeHeader copy);
extern const char *hnsw_chunk_copy(HnswIndex *index, uint32 chunk_id, HnswTidChunkData *copy);

/* functions in hnsw_repair_page.c: buffers and WAL too */
extern void hnsw_lists_clear(HnswIndex *index);
extern void hnsw_relist(HnswIndex *index, BlockNumber block);
extern bool hnsw_chunk_free(HnswIndex *index, uint32 chunk_id);
extern void hnsw_lock_updates(HnswIndex *index);
extern void hnsw_unlock_updates(HnswIndex *index);

/* functions in hnsw_recall_page.c: buffers and WAL too */
extern const char *hnsw_recall_fault(const HnswRecallData *data);
extern bool hnsw_recall_read(Relation rel, const HnswMetaPageData *meta, HnswRecallData *data);
extern void hnsw_recall_write(HnswIndex *index, const HnswRecallData *data);

/* functions in hnsw_build_page.c: buffers and WAL too */
extern void hnsw_build_extend(HnswIndex *index, BlockNumber blocks);
extern void hnsw_build_page(HnswIndex *index, HnswNodeId id, bool upper, int nodes,
							const char *data);
extern void hnsw_build_finish(HnswIndex *index, HnswNodeId entry, int entry_level);

/* functions in hnsw_tids_page.c: further heap TIDs, buffers and WAL too */
extern void hnsw_chain_step(HnswIndex *index, uint32 chunk_id, uint64 *steps);
extern int	hnsw_chunk_read(HnswIndex *index, HnswNodeId owner, uint32 *chunk,
							ItemPointer tids, uint8 *keys);
extern int	hnsw_tids_remove(const HnswLayout *layout, ItemPointer tids, uint8 *keys, int n,
							 const ItemPointerData *dead, int ndead);
extern int	hnsw_chunk_remove(HnswIndex *index, HnswNodeId owner, uint32 chunk_id,
							  ItemPointer dead, int ndead);
extern bool hnsw_chunk_unlink_next(HnswIndex *index, HnswNodeId owner, uint32 chunk_id);
extern bool hnsw_chunks_empty(HnswIndex *index, HnswNodeId owner, uint32 chunk_id);
extern void hnsw_tid_append(HnswIndex *index, HnswWrite *write, const ItemPointerData *tid,
							const uint8 *key);

/* functions in hnsw_map_page.c: buffers and WAL too */
extern void hnsw_map_forget(void);
extern BlockNumber hnsw_map_block(HnswIndex *index, int kind, uint32 number);

/* functions in hnsw_overflow_page.c: buffers and WAL too */
extern uint32 hnsw_overflow_groups(const HnswIndex *index);
extern int	hnsw_overflow_read(HnswIndex *index, HnswNodeId id, HnswNodeId *links, float *a,
							   float *b, uint8 *codes);
extern void hnsw_overflow_prefetch(HnswIndex *index, HnswNodeId id);
extern int	hnsw_overflow_append(HnswIndex *index, const HnswLink *links, int n);
extern int	hnsw_overflow_unpack(HnswIndex *index, Page page, HnswLink *links, uint8 *codes);
extern int	hnsw_overflow_load(HnswIndex *index, uint32 group, HnswLink *links,
							   uint8 *codes);
extern void hnsw_overflow_remove(HnswIndex *index, uint32 group, const HnswLink *links,
								 int n);
extern bool hnsw_overflow_trylock(HnswIndex *index, uint32 group);
extern void hnsw_overflow_unlock(HnswIndex *index, uint32 group);
extern bool hnsw_needs_image(HnswIndex *index, XLogRecPtr lsn);

/* functions in hnsw_key_page.c: keys by node number, buffers and WAL too */
extern int	hnsw_key_page_capacity(const HnswLayout *layout);
extern uint32 hnsw_key_pages(HnswIndex *index);
extern int	hnsw_key_page_match(HnswIndex *index, uint32 ordinal, const HnswKeyFilter *filter,
								HnswNodeId *ids, uint32 *sure);
extern int	hnsw_key_page_count(HnswIndex *index, uint32 ordinal, int64 *counts);
extern HnswKeyState hnsw_node_keys(HnswIndex *index, HnswNodeId id, uint8 *key);
extern HnswKeyState hnsw_key_get(HnswIndex *index, HnswNodeId id, uint8 *key);
extern void hnsw_key_set(HnswIndex *index, HnswNodeId id, HnswKeyState state, const uint8 *key);
extern void hnsw_key_note(HnswIndex *index, HnswNodeId id, const uint8 *key);
extern void hnsw_key_settle(HnswIndex *index, HnswNodeId id, HnswKeyState state,
							const uint8 *key);
extern void hnsw_build_key_pages(HnswIndex *index, HnswNodeId first, HnswNodeId last);
extern void hnsw_build_key(HnswIndex *index, HnswNodeId id, HnswKeyState state,
						   const uint8 *key);

/* The key that a sketch tells, but for a constant */
static inline float
hnsw_sketch_key(const CodeShape *shape, const CodeQuery *query, const HnswSketchData *sketch)
{
	uint32		a_bits = (uint32) sketch->a << 16;
	uint32		b_bits = (uint32) sketch->b << 16;
	int			sum = 0;
	float		a;
	float		b;

	if (sketch->b == 0)
		return -HNSW_MAX_KEY;
	memcpy(&a, &a_bits, sizeof(a));
	memcpy(&b, &b_bits, sizeof(b));
	for (int i = 0; i < shape->units; i++)
		sum += query->lut[i * 16 + (sketch->code[i] & 15)] +
			query->lut[(i + shape->units) * 16 + (sketch->code[i] >> 4)];
	return a + b * (query->step * sum + query->offset);
}

/* functions in hnsw_sketch_page.c: sketches by node number, buffers and WAL too */
extern int	hnsw_sketch_page_capacity(const HnswLayout *layout);
extern void hnsw_sketch_page_keys(HnswIndex *index, uint32 ordinal, const HnswNodeId *ids,
								  int n, const CodeQuery *query, float *keys);
extern bool hnsw_sketch_is_known(HnswIndex *index, HnswNodeId id);
extern void hnsw_sketch_set(HnswIndex *index, HnswNodeId id, const HnswSketchData *sketch);
extern void hnsw_build_sketch_pages(HnswIndex *index, HnswNodeId first, HnswNodeId last);
extern void hnsw_build_sketch(HnswIndex *index, HnswNodeId id, const HnswSketchData *sketch);

#endif							/* PIRAMID_HNSW_PAGES_H */
