/*-------------------------------------------------------------------------
 *
 * hnsw_sketch_page.c
 *		Sketch pages: short codes of base nodes' vectors, by node number, for scans
 *		that choose among many nodes that match.
 *
 * A node's number tells its entry.  The entry of a new node is set after the node
 * is written and before the key page says that the node exists; nobody looks at
 * the entries of others.  A node keeps its vector, so an entry changes only when
 * its slot is given to a new node.  A crash in between leaves an entry of a node
 * that no key page knows.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

static inline char *
page_entry(const HnswLayout *layout, Page page, int i)
{
	return (char *) PageGetContents(page) + i * hnsw_sketch_size(layout->sketch.units);
}

/* The contents of a new page: all sketches are unknown. */
static void
init_page(const HnswLayout *layout, Page page)
{
	memset(page_entry(layout, page, 0), 0,
		   layout->sketch_entries * hnsw_sketch_size(layout->sketch.units));
}

/* Lock the page of a node's entry for a change; it is made if there is none. */
static Buffer
lock_entry(HnswIndex *index, HnswNodeId id)
{
	uint32		ordinal = id / index->layout.sketch_entries;
	BlockNumber block = hnsw_map_find(index, HNSW_MAP_SKETCHES, ordinal);

	if (block == 0)
		block = hnsw_map_make(index, HNSW_MAP_SKETCHES, ordinal, init_page);
	return hnsw_map_get_page(index, HNSW_MAP_SKETCHES, block, ordinal, BUFFER_LOCK_EXCLUSIVE);
}

/* Set an entry. */
void
hnsw_sketch_set(HnswIndex *index, HnswNodeId id, const HnswSketchData *sketch)
{
	const HnswLayout *layout = &index->layout;
	Buffer		buffer = lock_entry(index, id);
	Page		page = BufferGetPage(buffer);
	HnswPageOpaqueData opaque = *HnswPageGetOpaque(page);
	int			i = id % layout->sketch_entries;
	PageEdit	edits[2];

	opaque.nused = Max(opaque.nused, i + 1);
	edits[0] = (PageEdit) {buffer, page_entry(layout, page, i) - (char *) page,
	hnsw_sketch_size(layout->sketch.units), sketch};
	edits[1] = hnsw_edit_opaque(buffer, &opaque);
	page_edit(index->rel, edits, 2);
	UnlockReleaseBuffer(buffer);
}

/* How many sketches a page has room for */
int
hnsw_sketch_page_capacity(const HnswLayout *layout)
{
	return layout->sketch_entries;
}

/*
 * Estimate keys, by sketches of n nodes, whose entries are all on a page.  What
 * is not known is nearest, so that the node is read.
 */
void
hnsw_sketch_page_keys(HnswIndex *index, uint32 ordinal, const HnswNodeId *ids, int n,
					  const CodeQuery *query, float *keys)
{
	const HnswLayout *layout = &index->layout;
	BlockNumber block = hnsw_map_find(index, HNSW_MAP_SKETCHES, ordinal);
	Buffer		buffer;
	Page		page;

	if (block == 0)
	{
		for (int i = 0; i < n; i++)
			keys[i] = -HNSW_MAX_KEY;
		return;
	}
	buffer = hnsw_map_get_page(index, HNSW_MAP_SKETCHES, block, ordinal, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	/* The sketches lie far apart: ask for all before the first is needed. */
	for (int i = 0; i < n; i++)
		__builtin_prefetch(page_entry(layout, page, ids[i] % layout->sketch_entries));
	for (int i = 0; i < n; i++)
		keys[i] = hnsw_sketch_key(&layout->sketch, query, (const HnswSketchData *)
								  page_entry(layout, page, ids[i] % layout->sketch_entries));
	UnlockReleaseBuffer(buffer);
	index->counts.sketch_pages++;
}

/* Is there a sketch of this node? */
bool
hnsw_sketch_is_known(HnswIndex *index, HnswNodeId id)
{
	const HnswLayout *layout = &index->layout;
	uint32		ordinal = id / layout->sketch_entries;
	BlockNumber block = hnsw_map_find(index, HNSW_MAP_SKETCHES, ordinal);
	Buffer		buffer;
	const HnswSketchData *sketch;
	bool		known;

	if (block == 0)
		return false;
	buffer = hnsw_map_get_page(index, HNSW_MAP_SKETCHES, block, ordinal, BUFFER_LOCK_SHARE);
	sketch = (const HnswSketchData *) page_entry(layout, BufferGetPage(buffer),
												 id % layout->sketch_entries);
	known = sketch->b != 0;
	UnlockReleaseBuffer(buffer);
	return known;
}

/* Make the sketch pages of a new index, whose base nodes will have these numbers; not logged. */
void
hnsw_build_sketch_pages(HnswIndex *index, HnswNodeId first, HnswNodeId last)
{
	hnsw_map_build(index, HNSW_MAP_SKETCHES, first / index->layout.sketch_entries,
				   last / index->layout.sketch_entries, init_page);
}

/* Set an entry of such a page; not logged. */
void
hnsw_build_sketch(HnswIndex *index, HnswNodeId id, const HnswSketchData *sketch)
{
	const HnswLayout *layout = &index->layout;
	Buffer		buffer = lock_entry(index, id);
	Page		page = BufferGetPage(buffer);
	int			i = id % layout->sketch_entries;

	START_CRIT_SECTION();
	memcpy(page_entry(layout, page, i), sketch, hnsw_sketch_size(layout->sketch.units));
	HnswPageGetOpaque(page)->nused = Max(HnswPageGetOpaque(page)->nused, i + 1);
	MarkBufferDirty(buffer);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}
