/*-------------------------------------------------------------------------
 *
 * check_pages.c
 *		The first pass over all blocks: headers, counts, and what is on each page,
 *		as far as a page alone tells.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "miscadmin.h"
#include "utils/rel.h"

static void
page_found(HnswCheck *check, CheckRemedy remedy, BlockNumber block, const char *what)
{
	check_found(check->check, remedy, CheckBlock(block), "%s", what);
}

/* Check counts that a page keeps of its slots, and whether it says that it is on a list. */
static void
check_counts(HnswCheck *check, BlockNumber block, int nfree)
{
	const HnswPageOpaqueData *opaque = HnswPageGetOpaque(check->page);

	if (opaque->listed > 1)
		page_found(check, CHECK_REPAIR, block, "a wrong mark of a list of free slots");
	else if (opaque->nfree != nfree)
		check_found(check->check, CHECK_REPAIR, CheckBlock(block),
					"%d free slots where the page counts %d", nfree, opaque->nfree);
	else if (nfree > 0 && !opaque->listed)
		page_found(check, CHECK_TIDY, block, "free slots on no list");
	else
	{
		if (opaque->listed)
			bitmap_set(&check->listed, block);
		return;
	}
	check->lists_broken = true;
}

/* Slots of nodes; those behind the ones in use are free of nodes. */
static void
check_node_page(HnswCheck *check, BlockNumber block)
{
	const HnswLayout *layout = &check->index->layout;
	const HnswPageOpaqueData *opaque = HnswPageGetOpaque(check->page);
	int			slots = layout->nodes_per_page;
	int			nfree = 0;

	if (block > HNSW_MAX_NODE_BLOCK(layout))
		slots = 0;
	if (opaque->nused > slots)
	{
		page_found(check, CHECK_REINDEX, block, "a wrong count of slots");
		return;
	}
	if (layout->pages_per_node == 1 &&
		((PageHeader) check->page)->pd_lower < HNSW_PAGE_START + opaque->nused * layout->node_size)
		page_found(check, CHECK_REINDEX, block, "nodes behind the end of the page");
	for (int slot = 0; slot < slots; slot++)
	{
		HnswNodeId	id = HnswMakeNodeId(layout, block, slot);
		HnswNodeHeader node = (HnswNodeHeader) (check->page + HNSW_PAGE_START +
												slot * layout->node_size);
		bool		used = node->flags & HNSW_NODE_USED;

		if (slot >= opaque->nused && node->flags != 0)
			check_found(check->check, CHECK_REINDEX, (CheckPlace) {block, slot},
						"a node behind those in use");
		nfree += slot < opaque->nused && !used;
		if (slot >= opaque->nused || !used)
			continue;
		if (layout->pages_per_node > 1)
		{
			const char *fault = hnsw_node_copy(check->index, id, check->node);

			node = check->node;
			if (fault != NULL)
				page_found(check, CHECK_REINDEX, block,
						   psprintf("a node whose pages are not there: %s", fault));
			if (fault != NULL || !(node->flags & HNSW_NODE_USED))
				continue;
		}
		check->nodes[id] = Min(node->level, NODE_LEVEL) |
			(node->flags & HNSW_NODE_DYING ? NODE_DYING : NODE_USED);
		check->nlive += node->level == 0 && !(node->flags & HNSW_NODE_DYING);
		check_one_node(check, id, node, opaque->upper);
		if (node->level == 0 && node->more_tids != 0)
			check_chain(check, id, 0);
	}
	check_counts(check, block, nfree);
}

static void
check_tids_page(HnswCheck *check, BlockNumber block)
{
	const HnswPageOpaqueData *opaque = HnswPageGetOpaque(check->page);
	const HnswTidChunkData *chunks = (const HnswTidChunkData *) PageGetContents(check->page);
	int			nfree = 0;

	if (opaque->nused > HNSW_CHUNKS_PER_PAGE || block > HNSW_MAX_CHUNK_BLOCK)
	{
		page_found(check, CHECK_REINDEX, block, "a wrong count of slots");
		return;
	}
	for (int slot = 0; slot < opaque->nused; slot++)
	{
		if (chunks[slot].owner == HNSW_NO_NODE)
			nfree++;
		else
			bitmap_set(&check->chunks, (uint64) block * HNSW_CHUNKS_PER_PAGE + slot);
	}
	check_counts(check, block, nfree);
}

/* A page that maps lead to by its number */
static void
check_numbered_page(HnswCheck *check, BlockNumber block, int most)
{
	const HnswPageOpaqueData *opaque = HnswPageGetOpaque(check->page);

	if (opaque->nused > most)
		page_found(check, CHECK_REINDEX, block, "a wrong count of entries");
	else if (hnsw_map_block(check->index, opaque->kind, opaque->next) != block)
		page_found(check, CHECK_REINDEX, block, "a page that no map leads to");
	else if (opaque->kind == HNSW_PAGE_KEYS)
	{
		const uint8 *states = (const uint8 *) PageGetContents(check->page);

		for (int i = 0; i < most; i++)
			if (states[i] > HNSW_KEY_ABSENT || (i >= opaque->nused && states[i] != HNSW_KEY_ABSENT))
			{
				check_found(check->check, CHECK_REPAIR, (CheckPlace) {block, i},
							"an impossible entry of a key page");
				check_list_add(&check->keys, opaque->next * check->index->layout.key_entries + i);
			}
	}
}

/* The page of measured recall, which may be new */
static void
check_recall_page(HnswCheck *check, BlockNumber block)
{
	const char *fault = hnsw_recall_fault(HnswPageGetRecall(check->page));
	HnswMetaPageData meta;

	hnsw_meta_read(check->index->rel, &meta);
	if (meta.recall != block)
		fault = "a page that nothing leads to";
	if (fault != NULL)
		page_found(check, CHECK_REINDEX, block, fault);
}

/* Headers: the kind of page, and a version that goes with the index's */
static const char *
header_fault(HnswCheck *check, BlockNumber block)
{
	const PageHeaderData *header = (PageHeader) check->page;
	const HnswPageOpaqueData *opaque;
	const char *fault = hnsw_page_fault(check->index->rel, block, check->page, 0);

	if (fault != NULL)
		return fault;
	opaque = HnswPageGetOpaque(check->page);
	if (opaque->kind <= HNSW_PAGE_META || opaque->kind > HNSW_PAGE_SKETCH_MAP)
		return "a page of an unknown kind";
	if (opaque->version != (check->index->version < HNSW_KEY_VERSION ? HNSW_FIRST_VERSION :
							check->index->version))
		return "a page of another version than the index";
	if (header->pd_lower < HNSW_PAGE_START || header->pd_lower > header->pd_upper ||
		header->pd_upper != header->pd_special)
		return "an impossible page header";
	if (opaque->kind == HNSW_PAGE_NODE_PART ? check->index->layout.pages_per_node == 1 :
		opaque->kind != HNSW_PAGE_NODE && opaque->upper != 0)
		return "an impossible page header";
	return NULL;
}

static void
check_page(HnswCheck *check, BlockNumber block)
{
	const char *fault;

	/* An interrupted extension leaves empty pages; what leads to one is found there. */
	if (!hnsw_page_copy(check->index, block, check->page))
		return;
	fault = header_fault(check, block);
	if (fault != NULL)
	{
		page_found(check, CHECK_REINDEX, block, fault);
		return;
	}
	switch (HnswPageGetOpaque(check->page)->kind)
	{
		case HNSW_PAGE_NODE:
			check_node_page(check, block);
			break;
		case HNSW_PAGE_TIDS:
			check_tids_page(check, block);
			break;
		case HNSW_PAGE_OVERFLOW:
			check_numbered_page(check, block, check->index->layout.overflow_links);
			break;
		case HNSW_PAGE_KEYS:
			check_numbered_page(check, block, check->index->layout.key_entries);
			break;
		case HNSW_PAGE_RECALL:
			check_recall_page(check, block);
			break;
		case HNSW_PAGE_SKETCHES:
			check_numbered_page(check, block, check->index->layout.sketch_entries);
			break;
		default:
			break;
	}
}

void
check_pages(HnswCheck *check)
{
	check_phase(check->check, "pages");
	for (BlockNumber block = HNSW_METAPAGE + 1; block < check->nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (check_samples(check->check, block))
			check_page(check, block);
	}
}
