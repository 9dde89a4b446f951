/*-------------------------------------------------------------------------
 *
 * prewarm.c
 *		piramid_prewarm: read an index into shared buffers.
 *
 * Every search passes the upper levels, so their pages come first: they are
 * found by walking the links from the entry point.  The other pages follow in
 * the order of the file, as far as there are buffers.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/bitmap.h"
#include "hnsw/hnsw.h"
#include "hnsw/open.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/spccache.h"

/* What is left to all other relations: one buffer in this many. */
#define SPARED_SHARE 8

typedef struct Prewarm
{
	HnswIndex  *index;
	BlockNumber nblocks;
	int64		room;			/* blocks that may still be read */
	int64		blocks;			/* read so far */
	HnswBitmap	read;			/* blocks */
	HnswBitmap	met;			/* upper nodes */
	/* upper nodes to visit */
	HnswNodeId *queue;
	uint64		nqueue;
	uint64		capacity;
} Prewarm;

/* Count a block as read; true if it is new. */
static bool
count_block(Prewarm *prewarm, BlockNumber block)
{
	if (block >= prewarm->nblocks || bitmap_get(&prewarm->read, block))
		return false;
	bitmap_set(&prewarm->read, block);
	prewarm->blocks++;
	prewarm->room--;
	return true;
}

/* Visit an upper node later, unless it is in the queue, and ask for its page. */
static void
enqueue(Prewarm *prewarm, HnswNodeId id)
{
	BlockNumber block = HnswNodeBlock(&prewarm->index->layout, id);

	if (id == HNSW_NO_NODE || block >= prewarm->nblocks || bitmap_get(&prewarm->met, id))
		return;
	bitmap_set(&prewarm->met, id);
	if (prewarm->nqueue == prewarm->capacity)
	{
		prewarm->capacity *= 2;
		prewarm->queue = repalloc_huge(prewarm->queue, sizeof(HnswNodeId) * prewarm->capacity);
	}
	prewarm->queue[prewarm->nqueue++] = id;
	if (!bitmap_get(&prewarm->read, block))
		hnsw_block_read_ahead(prewarm->index->rel, block);
}

/* Read the nodes of all levels above the base, level by level. */
static void
read_upper(Prewarm *prewarm, const HnswMetaPageData *meta)
{
	HnswIndex  *index = prewarm->index;
	HnswNodeId *links = palloc(sizeof(HnswNodeId) * index->layout.degree);

	if (meta->entry_level > 0)
		enqueue(prewarm, meta->entry);
	for (uint64 i = 0; i < prewarm->nqueue && prewarm->room > 0; i++)
	{
		HnswNodeId	id = prewarm->queue[i];
		HnswRead	read;
		HnswNodeId	below = HNSW_NO_NODE;
		int			nlinks = 0;

		CHECK_FOR_INTERRUPTS();
		hnsw_read(index, id, &read);
		if ((read.node->flags & HNSW_NODE_USED) && read.node->level > 0)
		{
			nlinks = read.node->nlinks;
			memcpy(links, HnswNodeLinks(&index->layout, read.node), sizeof(HnswNodeId) * nlinks);
			if (read.node->level > 1)
				below = read.node->below;
		}
		hnsw_read_end(&read);

		for (int part = 0; part < index->layout.pages_per_node; part++)
			count_block(prewarm, HnswNodeBlock(&index->layout, id) + part);
		enqueue(prewarm, below);
		for (int link = 0; link < nlinks; link++)
			enqueue(prewarm, links[link]);
	}
	pfree(links);
}

/* Read the blocks that are left, in order, asking for some ahead. */
static void
read_rest(Prewarm *prewarm)
{
	Relation	rel = prewarm->index->rel;
	BlockNumber ahead = get_tablespace_maintenance_io_concurrency(rel->rd_rel->reltablespace);

	for (BlockNumber block = 0; block < prewarm->nblocks && prewarm->room > 0; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (ahead > 0 && ahead < prewarm->nblocks - block)
			hnsw_block_read_ahead(rel, block + ahead);
		if (count_block(prewarm, block))
			hnsw_load_block(rel, block);
	}
}

/*
 * piramid_prewarm(index regclass): reads the index into shared buffers, and
 * returns how many blocks.  Needs SELECT on the table.
 */
PG_FUNCTION_INFO_V1(piramid_prewarm);
Datum
piramid_prewarm(PG_FUNCTION_ARGS)
{
	Relation	rel = hnsw_open_index(PG_GETARG_OID(0));
	HnswMetaPageData meta;
	Prewarm		prewarm = {0};
	int			buffers;

	/* Opening reads: a temporary index has its local buffers after that. */
	prewarm.index = hnsw_open(rel);
	buffers = RelationUsesLocalBuffers(rel) ? NLocBuffer : NBuffers;
	prewarm.nblocks = RelationGetNumberOfBlocks(rel);
	prewarm.room = buffers - buffers / SPARED_SHARE;
	prewarm.read = bitmap_make(prewarm.nblocks);
	prewarm.met = bitmap_make((uint64) prewarm.nblocks * prewarm.index->layout.nodes_per_page);
	prewarm.capacity = 1024;
	prewarm.queue = palloc(sizeof(HnswNodeId) * prewarm.capacity);
	hnsw_meta_read(rel, &meta);
	read_upper(&prewarm, &meta);
	read_rest(&prewarm);
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(prewarm.blocks);
}
