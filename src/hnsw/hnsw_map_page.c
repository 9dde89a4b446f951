/*-------------------------------------------------------------------------
 *
 * hnsw_map_page.c
 *		Maps: where the pages are that are found by a number, that is pages of
 *		overflow links (by group), key pages and sketch pages (by ordinal).
 *
 * Such a page is made when it is first needed and stays.  The metapage lists the
 * maps, and a map the pages of so many numbers.  Backends remember where pages
 * are; the metapage counts them, so that backends know when to look again for one
 * that did not exist.  Lock order: a map, the page, the metapage; nobody holds a
 * node's lock meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/*
 * Where a page was found to be, or that there was none.  File numbers alone are
 * unique only within a tablespace, OIDs in the database.
 */
typedef struct PageHint
{
	Oid			index;
	Oid			file;			/* of the index */
	uint32		number;
	BlockNumber block;			/* 0: none, when there were so many pages */
	uint32		pages;
} PageHint;

#define PAGE_HINTS (1 << 14)

static PageHint *page_hints[HNSW_MAP_LISTS];

/* The place of a page's hint. */
static inline PageHint *
hint_slot(const HnswIndex *index, HnswMapList list, uint32 number)
{
	return &page_hints[list][(number + index->rel->rd_rel->relfilenode * 0x9E3779B1u) &
							 (PAGE_HINTS - 1)];
}

static inline bool
hint_is_for(const PageHint *hint, const HnswIndex *index, uint32 number)
{
	return hint->number == number && hint->index == RelationGetRelid(index->rel) &&
		hint->file == index->rel->rd_rel->relfilenode;
}

/* Maps, and kinds of pages, by list */
static const struct
{
	uint32		most;			/* maps that there may be */
	int			map_kind;
	int			page_kind;
	const char *broken;
} lists[HNSW_MAP_LISTS] = {
	{HNSW_MAX_MAPS, HNSW_PAGE_OVERFLOW_MAP, HNSW_PAGE_OVERFLOW, "impossible overflow links"},
	{HNSW_MAX_KEY_MAPS, HNSW_PAGE_KEY_MAP, HNSW_PAGE_KEYS, "impossible keys"},
	{HNSW_MAX_SKETCH_MAPS, HNSW_PAGE_SKETCH_MAP, HNSW_PAGE_SKETCHES, "impossible sketches"},
};

/* How many pages that a list's maps name there are, as far as we know. */
static inline uint32 *
known_pages(HnswIndex *index, HnswMapList list)
{
	uint32	   *counts[] = {&index->overflow_pages, &index->key_pages, &index->sketch_pages};

	return counts[list];
}

/* The metapage's count of pages that a list's maps name. */
static uint32 *
counted_pages(Page metapage, HnswMapList list)
{
	HnswMetaPage meta = HnswPageGetMeta(metapage);
	uint32	   *counts[] = {&meta->overflow_pages, &meta->key_pages, &meta->sketch_pages};

	return counts[list];
}

/* The maps of a list in the metapage. */
static BlockNumber *
maps_of(Page metapage, HnswMapList list)
{
	switch (list)
	{
		case HNSW_MAP_OVERFLOW:
			return HnswPageGetMaps(metapage);
		case HNSW_MAP_KEYS:
			return HnswPageGetKeyMaps(metapage);
		case HNSW_MAP_SKETCHES:
			return HnswPageGetSketchMaps(metapage);
	}
	pg_unreachable();
}

/*
 * Lock a page of a list, and verify that it is the one of this number and has no
 * more entries than it has room for.
 */
Buffer
hnsw_map_get_page(HnswIndex *index, HnswMapList list, BlockNumber block, uint32 number,
				  int lockmode)
{
	const HnswLayout *layout = &index->layout;
	int			most[] = {layout->overflow_links, layout->key_entries, layout->sketch_entries};
	Buffer		buffer;
	HnswPageOpaque opaque;

	hnsw_check_block(index, block);
	buffer = hnsw_get_page(index->rel, block, lockmode, lists[list].page_kind);
	opaque = HnswPageGetOpaque(BufferGetPage(buffer));
	if (opaque->next != number || opaque->nused > most[list])
		page_report_corrupt(index->rel, block, lists[list].broken);
	return buffer;
}

static BlockNumber *
map_entry(Page map, uint32 number)
{
	return (BlockNumber *) PageGetContents(map) + number % HNSW_MAP_PAGES;
}

/* The map of a page, or 0 if there is none; as for numbers beyond what maps can tell. */
static BlockNumber
find_map(HnswIndex *index, HnswMapList list, uint32 number)
{
	Buffer		buffer;
	BlockNumber map;

	if (number / HNSW_MAP_PAGES >= lists[list].most)
		return 0;
	buffer = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_SHARE, HNSW_PAGE_META);
	map = maps_of(BufferGetPage(buffer), list)[number / HNSW_MAP_PAGES];
	UnlockReleaseBuffer(buffer);
	return map;
}

/*
 * Forget where pages were, since an index got a new relcache entry: a TRUNCATE
 * in the transaction that made the table leaves it another index in the same file.
 */
void
hnsw_map_forget(void)
{
	for (int list = 0; list < HNSW_MAP_LISTS; list++)
		if (page_hints[list] != NULL)
			memset(page_hints[list], 0, sizeof(PageHint) * PAGE_HINTS);
}

/* Where the maps say that a page is, 0 if nowhere. */
static BlockNumber
map_block(HnswIndex *index, HnswMapList list, uint32 number)
{
	BlockNumber map = find_map(index, list, number);
	BlockNumber block = 0;

	if (map != 0)
	{
		Buffer		buffer = hnsw_get_linked_page(index->rel, map, BUFFER_LOCK_SHARE,
											  lists[list].map_kind);

		block = *map_entry(BufferGetPage(buffer), number);
		UnlockReleaseBuffer(buffer);
	}
	return block;
}

/* Where a page is, 0 if there is none. */
BlockNumber
hnsw_map_find(HnswIndex *index, HnswMapList list, uint32 number)
{
	PageHint   *hint;

	if (page_hints[list] == NULL)
		page_hints[list] = MemoryContextAllocZero(TopMemoryContext, sizeof(PageHint) * PAGE_HINTS);
	hint = hint_slot(index, list, number);
	if (hint_is_for(hint, index, number) &&
		(hint->block != 0 || hint->pages == *known_pages(index, list)))
		return hint->block;

	hint->index = InvalidOid;
	hint->block = 0;
	hint->block = map_block(index, list, number);
	hint->pages = *known_pages(index, list);
	hint->number = number;
	hint->file = index->rel->rd_rel->relfilenode;
	hint->index = RelationGetRelid(index->rel);
	return hint->block;
}

/* Where a page was when we last looked; 0: unknown, or there was none. */
BlockNumber
hnsw_map_recall(HnswIndex *index, HnswMapList list, uint32 number)
{
	const PageHint *hint;

	if (page_hints[list] == NULL)
		return 0;
	hint = hint_slot(index, list, number);
	return hint_is_for(hint, index, number) ? hint->block : 0;
}

/* A new page, empty and locked. */
static Buffer
new_page(HnswIndex *index)
{
	Buffer		buffer;

	LockRelationForExtension(index->rel, ExclusiveLock);
	buffer = hnsw_extend(index->rel, MAIN_FORKNUM);
	UnlockRelationForExtension(index->rel, ExclusiveLock);
	return buffer;
}

/* Report that an index has more pages than maps can tell. */
static void
check_number(HnswIndex *index, HnswMapList list, uint32 number)
{
	if (number / HNSW_MAP_PAGES >= lists[list].most)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" is full", RelationGetRelationName(index->rel))));
}

/* Make the map of a page, unless somebody did meanwhile. */
static void
make_map(HnswIndex *index, HnswMapList list, uint32 number)
{
	Buffer		buffer = new_page(index);
	Buffer		metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
										HNSW_PAGE_META);

	if (maps_of(BufferGetPage(metabuf), list)[number / HNSW_MAP_PAGES] == 0)
	{
		GenericXLogState *xlog = GenericXLogStart(index->rel);
		Page		page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
		Page		metapage = GenericXLogRegisterBuffer(xlog, metabuf, 0);

		hnsw_init_page(page, index->version, BufferGetBlockNumber(buffer), lists[list].map_kind, false);
		maps_of(metapage, list)[number / HNSW_MAP_PAGES] = BufferGetBlockNumber(buffer);
		GenericXLogFinish(xlog);
	}
	UnlockReleaseBuffer(metabuf);
	UnlockReleaseBuffer(buffer);
}

/*
 * Make a page, unless somebody did meanwhile; "init" fills its contents.  The
 * first page of overflow links raises the version of an old index.  Returns where
 * the page is.
 */
BlockNumber
hnsw_map_make(HnswIndex *index, HnswMapList list, uint32 number,
			  void (*init) (const HnswLayout *layout, Page page))
{
	BlockNumber map = find_map(index, list, number);
	Buffer		mapbuf;

	check_number(index, list, number);
	if (map == 0)
	{
		make_map(index, list, number);
		piramid_injection_point("hnsw-map-made");
		map = find_map(index, list, number);
	}
	mapbuf = hnsw_get_linked_page(index->rel, map, BUFFER_LOCK_EXCLUSIVE, lists[list].map_kind);
	if (*map_entry(BufferGetPage(mapbuf), number) == 0)
	{
		Buffer		buffer = new_page(index);
		Buffer		metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
											HNSW_PAGE_META);
		GenericXLogState *xlog = GenericXLogStart(index->rel);
		Page		page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
		Page		map_page = GenericXLogRegisterBuffer(xlog, mapbuf, 0);
		Page		metapage = GenericXLogRegisterBuffer(xlog, metabuf, 0);

		hnsw_init_page(page, index->version, BufferGetBlockNumber(buffer), lists[list].page_kind, false);
		HnswPageGetOpaque(page)->next = number;
		init(&index->layout, page);
		*map_entry(map_page, number) = BufferGetBlockNumber(buffer);
		*known_pages(index, list) = ++*counted_pages(metapage, list);
		if (index->version < HNSW_OVERFLOW_VERSION)
		{
			HnswPageGetMeta(metapage)->version = HNSW_OVERFLOW_VERSION;
			HnswPageGetOpaque(metapage)->version = HNSW_OVERFLOW_VERSION;
		}
		GenericXLogFinish(xlog);
		UnlockReleaseBuffer(metabuf);
		UnlockReleaseBuffer(buffer);
	}
	else
	{
		/*
		 * Somebody else made it, so there are more pages than we know of.  A hint
		 * that there is none, as of the number that we know, holds no longer.
		 */
		(*known_pages(index, list))++;
	}
	UnlockReleaseBuffer(mapbuf);
	return hnsw_map_find(index, list, number);
}

/*
 * Make the pages of these numbers, and their maps, in an index that is being built
 * and has none of them.  The caller logs all of the index.
 */
void
hnsw_map_build(HnswIndex *index, HnswMapList list, uint32 first, uint32 last,
			   void (*init) (const HnswLayout *layout, Page page))
{
	Buffer		mapbuf = InvalidBuffer;
	Buffer		metabuf;

	check_number(index, list, last);
	for (uint32 number = first; number <= last; number++)
	{
		Buffer		buffer;
		Page		page;

		if (mapbuf == InvalidBuffer)
		{
			CHECK_FOR_INTERRUPTS();
			mapbuf = new_page(index);
			hnsw_init_page(BufferGetPage(mapbuf), index->version, BufferGetBlockNumber(mapbuf),
						   lists[list].map_kind, false);
			metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_META);
			maps_of(BufferGetPage(metabuf), list)[number / HNSW_MAP_PAGES] = BufferGetBlockNumber(mapbuf);
			hnsw_finish_new_page(metabuf, false);
		}
		buffer = new_page(index);
		page = BufferGetPage(buffer);
		hnsw_init_page(page, index->version, BufferGetBlockNumber(buffer), lists[list].page_kind, false);
		HnswPageGetOpaque(page)->next = number;
		init(&index->layout, page);
		*map_entry(BufferGetPage(mapbuf), number) = BufferGetBlockNumber(buffer);
		hnsw_finish_new_page(buffer, false);
		if (number == last || number % HNSW_MAP_PAGES == HNSW_MAP_PAGES - 1)
		{
			hnsw_finish_new_page(mapbuf, false);
			mapbuf = InvalidBuffer;
		}
	}
	metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_META);
	*counted_pages(BufferGetPage(metabuf), list) = *known_pages(index, list) = last - first + 1;
	hnsw_finish_new_page(metabuf, false);
}

/* Where a page of this kind is; what a backend remembers does not count. */
BlockNumber
hnsw_map_block(HnswIndex *index, int kind, uint32 number)
{
	for (int list = 0; list < HNSW_MAP_LISTS; list++)
		if (lists[list].page_kind == kind)
			return map_block(index, (HnswMapList) list, number);
	pg_unreachable();
}
