/*-------------------------------------------------------------------------
 *
 * check_lists.c
 *		Lists of pages with free slots, the chain of pages of the mean, and maps.
 *
 * Inserts take pages off a list, vacuum puts some on it, while we walk.  So a fault
 * counts if it is met in each of several walks.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "miscadmin.h"
#include "utils/rel.h"

/* Walks that have to meet a fault */
#define WALKS 5

#define OPAQUE_OFFSET (BLCKSZ - MAXALIGN(sizeof(HnswPageOpaqueData)))

/* A fault, and the page */
typedef struct ListFault
{
	const char *what;			/* NULL if there is none */
	BlockNumber block;
} ListFault;

/* Lists: of base nodes, upper nodes, TIDs */
#define LISTS 3

static BlockNumber
first_of(const HnswMetaPageData *meta, int list)
{
	return list < 2 ? meta->free_node[list] : meta->free_tids;
}

/* Walk a list of free slots, and note its pages. */
static ListFault
walk(HnswCheck *check, int list, HnswBitmap *met)
{
	HnswMetaPageData meta;
	HnswPageOpaqueData opaque;
	BlockNumber block;

	hnsw_meta_read(check->index->rel, &meta);
	for (block = first_of(&meta, list); block != InvalidBlockNumber; block = opaque.next)
	{
		const char *fault = hnsw_copy(check->index, block, list < 2 ? HNSW_PAGE_NODE : HNSW_PAGE_TIDS,
									  OPAQUE_OFFSET, sizeof(opaque), &opaque);

		CHECK_FOR_INTERRUPTS();
		if (fault == NULL && opaque.upper != (list == 1))
			fault = "a page on the wrong list of free slots";
		if (fault == NULL && opaque.listed != 1)
			fault = "a page on a list of free slots that does not say so";
		if (fault == NULL && bitmap_get(met, block))
			fault = "a list of free slots that comes back to a page";
		if (fault != NULL)
			return (ListFault) {psprintf("a broken list of free slots: %s", fault), block};
		bitmap_set(met, block);
	}
	return (ListFault) {NULL, 0};
}

/* Which page says that it is on a list, and is on none? */
static ListFault
find_lost(HnswCheck *check, const HnswBitmap *met)
{
	HnswPageOpaqueData opaque;

	for (uint64 byte = 0; byte <= check->listed.size / 8; byte++)
	{
		uint8		bits = check->listed.bytes[byte] & ~met->bytes[byte];

		for (int bit = 0; bits != 0; bit++, bits >>= 1)
			if ((bits & 1) &&
				hnsw_copy(check->index, byte * 8 + bit, 0, OPAQUE_OFFSET, sizeof(opaque), &opaque) == NULL &&
				opaque.listed == 1)
				return (ListFault) {"free slots on no list", byte * 8 + bit};
	}
	return (ListFault) {NULL, 0};
}

/* Each page that says that it is on a list of free slots is on one, once. */
static void
check_free_lists(HnswCheck *check)
{
	ListFault	fault = {NULL, 0};

	for (int i = 0; i < WALKS; i++)
	{
		HnswBitmap	met = bitmap_make(check->nblocks);

		fault = (ListFault) {NULL, 0};
		for (int list = 0; list < LISTS && fault.what == NULL; list++)
			fault = walk(check, list, &met);
		if (fault.what == NULL)
			fault = find_lost(check, &met);
		pfree(met.bytes);
		if (fault.what == NULL)
			return;
	}
	check_found(check->check, CHECK_REPAIR, CheckBlock(fault.block), "%s", fault.what);
	check->lists_broken = true;
}

/* Pages of the mean, or of a projection: fixed when the index was built. */
static void
check_fixed_chain(HnswCheck *check, BlockNumber first, int kind)
{
	HnswPageOpaqueData opaque;
	uint32		steps = 0;

	for (BlockNumber block = first; block != InvalidBlockNumber; block = opaque.next)
	{
		const char *fault = hnsw_copy(check->index, block, kind, OPAQUE_OFFSET, sizeof(opaque), &opaque);

		if (fault == NULL && ++steps > check->nblocks)
			fault = "an endless chain of pages";
		if (fault != NULL)
		{
			check_found(check->check, CHECK_REINDEX, CheckBlock(block), "%s", fault);
			return;
		}
	}
}

void
check_lists(HnswCheck *check)
{
	check_phase(check->check, "lists of free slots");
	check_free_lists(check);
	check_fixed_chain(check, check->meta.mean, HNSW_PAGE_MEAN);
	if (check->meta.projection != 0)
		check_fixed_chain(check, check->meta.projection, HNSW_PAGE_PROJECTION);
	if (check->meta.recall != 0)
		check_fixed_chain(check, check->meta.recall, HNSW_PAGE_RECALL);
	if (check->meta.sketch_projection != 0)
		check_fixed_chain(check, check->meta.sketch_projection, HNSW_PAGE_PROJECTION);
}

/* ---------------------------------------------------------------------
 * Maps
 * ---------------------------------------------------------------------
 */

/*
 * Check the pages that a map lists, by their numbers from the first on.  Pages and
 * their places in maps stay, and are made in one record: no second look.  Returns how
 * many there are.
 */
static uint32
check_map(HnswCheck *check, BlockNumber map, int map_kind, int page_kind, uint32 first)
{
	const BlockNumber *entries = (const BlockNumber *) PageGetContents(check->page);
	uint32		n = 0;
	const char *fault = hnsw_copy(check->index, map, map_kind, 0, BLCKSZ, check->page);

	if (fault != NULL)
		check_found(check->check, CHECK_REINDEX, CheckBlock(map), "%s, where a map should be", fault);
	for (uint32 i = 0; i < HNSW_MAP_PAGES && fault == NULL; i++)
	{
		HnswPageOpaqueData opaque;
		const char *wrong = NULL;

		if (entries[i] == 0)
			continue;
		n++;
		CHECK_FOR_INTERRUPTS();
		if (!check_samples(check->check, entries[i]))
			continue;
		wrong = hnsw_copy(check->index, entries[i], page_kind, OPAQUE_OFFSET, sizeof(opaque), &opaque);
		if (wrong == NULL && opaque.next != first + i)
			wrong = "a page of another number";
		if (wrong != NULL)
			check_found(check->check, CHECK_REINDEX, CheckBlock(map), "a map that leads to block %u: %s",
						entries[i], wrong);
	}
	return n;
}

/* A list of maps in the metapage */
typedef struct MapList
{
	const BlockNumber *maps;
	int			nmaps;
	int			map_kind;
	int			page_kind;
	const char *what;			/* is on the pages */
} MapList;

/* Maps, and how many pages the metapage counts before and after we do: "pages" is where. */
static void
check_map_list(HnswCheck *check, const MapList *list, Size pages)
{
	HnswMetaPageData after;
	uint32		n = 0;

	for (int i = 0; i < list->nmaps; i++)
		if (list->maps[i] != 0)
			n += check_map(check, list->maps[i], list->map_kind, list->page_kind, i * HNSW_MAP_PAGES);
	hnsw_meta_read(check->index->rel, &after);
	if (n < *(uint32 *) ((char *) &check->meta + pages) || n > *(uint32 *) ((char *) &after + pages))
		check_found(check->check, CHECK_REINDEX, CheckBlock(HNSW_METAPAGE),
					"a wrong count of pages of %s", list->what);
}

void
check_maps(HnswCheck *check)
{
	PGAlignedBlock metapage;
	Page		page = (Page) metapage.data;
	MapList		overflow;
	MapList		keys;
	MapList		sketches;

	check_phase(check->check, "maps");
	if (hnsw_copy(check->index, HNSW_METAPAGE, HNSW_PAGE_META, 0, BLCKSZ, page) != NULL)
		return;					/* somebody else has reported it */
	overflow = (MapList) {HnswPageGetMaps(page), HNSW_MAX_MAPS, HNSW_PAGE_OVERFLOW_MAP,
	HNSW_PAGE_OVERFLOW, "overflow links"};
	keys = (MapList) {HnswPageGetKeyMaps(page), HNSW_MAX_KEY_MAPS, HNSW_PAGE_KEY_MAP,
	HNSW_PAGE_KEYS, "keys"};
	sketches = (MapList) {HnswPageGetSketchMaps(page), HNSW_MAX_SKETCH_MAPS, HNSW_PAGE_SKETCH_MAP,
	HNSW_PAGE_SKETCHES, "sketches"};
	check_map_list(check, &overflow, offsetof(HnswMetaPageData, overflow_pages));
	if (HnswPageGetMeta(page)->version < HNSW_KEY_VERSION)
		return;
	check_map_list(check, &keys, offsetof(HnswMetaPageData, key_pages));
	check_map_list(check, &sketches, offsetof(HnswMetaPageData, sketch_pages));
}
