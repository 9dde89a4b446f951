/*-------------------------------------------------------------------------
 *
 * hnsw_build_page.c
 *		Bulk writing: CREATE INDEX alone sees the index, and logs it at the
 *		end.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"
#include "utils/rel.h"

/*
 * Append so many empty blocks, which hnsw_build_page fills.
 */
void
hnsw_build_extend(HnswIndex *index, BlockNumber blocks)
{
	BlockNumber first = RelationGetNumberOfBlocks(index->rel);

	/* In steps of at most 512 MB, so that a cancel is heard. */
	for (BlockNumber done = 0; done < blocks;)
	{
		BlockNumber step = Min(blocks - done, 65536);

		CHECK_FOR_INTERRUPTS();
		extend_with_zeros(index->rel, first + done, step);
		done += step;
	}
}

/*
 * Write a page of nodes (or the pages of one node), from the given one on.
 * data has "nodes" nodes, node_size bytes each.
 */
void
hnsw_build_page(HnswIndex *index, HnswNodeId id, bool upper, int nodes, const char *data)
{
	const HnswLayout *layout = &index->layout;

	for (int i = 0; i < layout->pages_per_node; i++)
	{
		Buffer		buffer = ReadBufferExtended(index->rel, MAIN_FORKNUM,
												HnswNodeBlock(layout, id) + i,
												RBM_ZERO_AND_LOCK, NULL);
		Page		page = BufferGetPage(buffer);
		Size		size = layout->pages_per_node > 1 ? hnsw_part_size(layout, i) :
			nodes * layout->node_size;

		hnsw_init_page(page, index->version, BufferGetBlockNumber(buffer),
					   i == 0 ? HNSW_PAGE_NODE : HNSW_PAGE_NODE_PART, upper);
		memcpy(PageGetContents(page), data + i * HNSW_PAGE_SPACE, size);
		if (i == 0)
		{
			HnswPageGetOpaque(page)->nused = nodes;
			hnsw_set_fill(layout, page, nodes);
		}
		hnsw_finish_new_page(buffer, false);
	}
}

/*
 * End a build: set the entry point, log all pages.  Pages that are not full
 * stay off the list of free slots: there is at most one for each chunk.
 */
void
hnsw_build_finish(HnswIndex *index, HnswNodeId entry, int entry_level)
{
	Relation	rel = index->rel;
	Buffer		buffer = hnsw_get_page(rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_META);
	HnswMetaPage meta = HnswPageGetMeta(BufferGetPage(buffer));

	meta->entry = entry;
	meta->entry_level = entry_level;
	hnsw_finish_new_page(buffer, false);
	if (RelationNeedsWAL(rel))
		log_newpage_range(rel, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(rel), true);
}
