/*-------------------------------------------------------------------------
 *
 * hnsw_overflow_page.c
 *		Pages of overflow links, and the maps that lead to them.
 *
 * A group of blocks has at most one page of overflow links, which is made
 * when it is first needed and stays.  Backends remember where these pages are;
 * the metapage counts them, so that they know when to look again for one
 * that did not exist.  Lock order: a map, the page, the metapage; nobody holds
 * a node's lock meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "access/xlog.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/*
 * Where the page of a group was found to be, or that there was none.  File
 * numbers alone are unique only within a tablespace, OIDs in the database.
 */
typedef struct GroupHint
{
	Oid			index;
	Oid			file;			/* of the index */
	uint32		group;
	BlockNumber block;			/* 0: none, when there were so many pages */
	uint32		pages;
} GroupHint;

#define GROUP_HINTS (1 << 14)

static GroupHint *group_hints = NULL;

/* The place of a group's hint. */
static inline GroupHint *
hint_slot(const HnswIndex *index, uint32 group)
{
	return &group_hints[(group + index->rel->rd_rel->relfilenode * 0x9E3779B1u) & (GROUP_HINTS - 1)];
}

static inline bool
hint_is_for(const GroupHint *hint, const HnswIndex *index, uint32 group)
{
	return hint->group == group && hint->index == RelationGetRelid(index->rel) &&
		hint->file == index->rel->rd_rel->relfilenode;
}

/* A node within its group, and back */
static inline uint16
node_origin(const HnswLayout *layout, HnswNodeId id)
{
	return HnswNodeBlock(layout, id) % HNSW_GROUP_BLOCKS * layout->nodes_per_page +
		HnswNodeSlot(layout, id);
}

static inline HnswNodeId
origin_node(const HnswLayout *layout, uint32 group, uint16 origin)
{
	return HnswMakeNodeId(layout,
						  group * HNSW_GROUP_BLOCKS + origin / layout->nodes_per_page,
						  origin % layout->nodes_per_page);
}

static inline uint16 *
page_origins(Page page)
{
	return (uint16 *) PageGetContents(page);
}

static inline int
link_offset(const HnswLayout *layout, int i)
{
	return HNSW_PAGE_START + layout->overflow_links * sizeof(uint16) + i * layout->overflow_size;
}

static inline HnswOverflowLinkData *
page_link(const HnswLayout *layout, Page page, int i)
{
	return (HnswOverflowLinkData *) ((char *) page + link_offset(layout, i));
}

/* How many groups the index has; most have no overflow links. */
uint32
hnsw_overflow_groups(const HnswIndex *index)
{
	return RelationGetNumberOfBlocks(index->rel) / HNSW_GROUP_BLOCKS + 1;
}

/* ---------------------------------------------------------------------
 * Maps
 * ---------------------------------------------------------------------
 */

/* The map of a group, or 0 if there is none; as for blocks beyond what maps can tell. */
static BlockNumber
find_map(HnswIndex *index, uint32 group)
{
	Buffer		buffer;
	BlockNumber map;

	if (group / HNSW_MAP_GROUPS >= HNSW_MAX_MAPS)
		return 0;
	buffer = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_SHARE, HNSW_PAGE_META);
	map = HnswPageGetMaps(BufferGetPage(buffer))[group / HNSW_MAP_GROUPS];
	UnlockReleaseBuffer(buffer);
	return map;
}

/*
 * Forget where pages were, since an index got a new relcache entry: a TRUNCATE
 * in the transaction that made the table leaves it another index in the same file.
 */
void
hnsw_overflow_forget(void)
{
	if (group_hints != NULL)
		memset(group_hints, 0, sizeof(GroupHint) * GROUP_HINTS);
}

/* Where the overflow links of a group are, 0 if there are none. */
static BlockNumber
find_page(HnswIndex *index, uint32 group)
{
	GroupHint  *hint;
	BlockNumber map;

	if (group_hints == NULL)
		group_hints = MemoryContextAllocZero(TopMemoryContext, sizeof(GroupHint) * GROUP_HINTS);
	hint = hint_slot(index, group);
	if (hint_is_for(hint, index, group) &&
		(hint->block != 0 || hint->pages == index->overflow_pages))
		return hint->block;

	hint->index = InvalidOid;
	hint->block = 0;
	map = find_map(index, group);
	if (map != 0)
	{
		Buffer		buffer = hnsw_get_linked_page(index->rel, map, BUFFER_LOCK_SHARE,
										 HNSW_PAGE_OVERFLOW_MAP);

		hint->block = ((BlockNumber *) PageGetContents(BufferGetPage(buffer)))[group % HNSW_MAP_GROUPS];
		UnlockReleaseBuffer(buffer);
	}
	hint->pages = index->overflow_pages;
	hint->group = group;
	hint->file = index->rel->rd_rel->relfilenode;
	hint->index = RelationGetRelid(index->rel);
	return hint->block;
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

/* Make the map of a group, unless somebody did meanwhile. */
static void
make_map(HnswIndex *index, uint32 group)
{
	Buffer		buffer = new_page(index);
	Buffer		metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
										HNSW_PAGE_META);

	if (HnswPageGetMaps(BufferGetPage(metabuf))[group / HNSW_MAP_GROUPS] == 0)
	{
		GenericXLogState *xlog = GenericXLogStart(index->rel);
		Page		page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
		Page		metapage = GenericXLogRegisterBuffer(xlog, metabuf, 0);

		hnsw_init_page(page, HNSW_PAGE_OVERFLOW_MAP, false);
		HnswPageGetMaps(metapage)[group / HNSW_MAP_GROUPS] = BufferGetBlockNumber(buffer);
		GenericXLogFinish(xlog);
	}
	UnlockReleaseBuffer(metabuf);
	UnlockReleaseBuffer(buffer);
}

/*
 * Make the page of a group's overflow links, unless somebody did meanwhile.
 * Indexes that have one are of a later version.
 */
static void
make_page(HnswIndex *index, uint32 group)
{
	BlockNumber map = find_map(index, group);
	BlockNumber *mapped;
	Buffer		mapbuf;
	Buffer		buffer;
	Buffer		metabuf;

	if (map == 0)
	{
		make_map(index, group);
		map = find_map(index, group);
	}
	mapbuf = hnsw_get_linked_page(index->rel, map, BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_OVERFLOW_MAP);
	mapped = (BlockNumber *) PageGetContents(BufferGetPage(mapbuf)) + group % HNSW_MAP_GROUPS;
	if (*mapped == 0)
	{
		GenericXLogState *xlog = GenericXLogStart(index->rel);
		Page		page;
		Page		map_page;
		Page		metapage;

		buffer = new_page(index);
		metabuf = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_META);

		page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
		hnsw_init_page(page, HNSW_PAGE_OVERFLOW, false);
		((PageHeader) page)->pd_lower = link_offset(&index->layout, 0);
		HnswPageGetOpaque(page)->next = group;
		map_page = GenericXLogRegisterBuffer(xlog, mapbuf, 0);
		((BlockNumber *) PageGetContents(map_page))[group % HNSW_MAP_GROUPS] =
			BufferGetBlockNumber(buffer);
		metapage = GenericXLogRegisterBuffer(xlog, metabuf, 0);
		index->overflow_pages = ++HnswPageGetMeta(metapage)->overflow_pages;
		HnswPageGetMeta(metapage)->version = HNSW_VERSION;
		HnswPageGetOpaque(metapage)->version = HNSW_VERSION;
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
		index->overflow_pages++;
	}
	UnlockReleaseBuffer(mapbuf);
}

/* ---------------------------------------------------------------------
 * Pages
 * ---------------------------------------------------------------------
 */

/* Lock the page of a group's overflow links. */
static Buffer
get_page(HnswIndex *index, BlockNumber block, uint32 group, int lockmode)
{
	Buffer		buffer;
	HnswPageOpaque opaque;

	hnsw_check_block(index, block);
	buffer = hnsw_get_page(index->rel, block, lockmode, HNSW_PAGE_OVERFLOW);
	opaque = HnswPageGetOpaque(BufferGetPage(buffer));
	if (opaque->next != group || opaque->nused > index->layout.overflow_links)
		hnsw_report_corrupt(index->rel, block, "impossible overflow links");
	return buffer;
}

/* The next of n origins that is this one, from the given place on; n if there is none. */
static inline int
next_of_origin(const uint16 *origins, int n, int i, uint16 origin)
{
	const uint64 ones = UINT64CONST(0x0001000100010001);

	for (; i < n && (i % 4 != 0 || n - i < 4); i++)
		if (origins[i] == origin)
			return i;
	for (; n - i >= 4; i += 4)
	{
		uint64		four;

		/* One of them is zero if subtracting 1 from each borrows (Mycroft, 1987). */
		memcpy(&four, origins + i, sizeof(four));
		four ^= origin * ones;
		if (((four - ones) & ~four & (ones << 15)) != 0)
			break;
	}
	for (; i < n; i++)
		if (origins[i] == origin)
			return i;
	return n;
}

/*
 * Copy the overflow links of a base node: where they lead, their factors and,
 * in FastScan blocks, their codes.  Returns how many there are.
 */
int
hnsw_overflow_read(HnswIndex *index, HnswNodeId id, HnswNodeId *links, float *a, float *b,
				   uint8 *codes)
{
	const HnswLayout *layout = &index->layout;
	uint32		group = HnswNodeGroup(layout, id);
	uint16		origin = node_origin(layout, id);
	BlockNumber block = find_page(index, group);
	Buffer		buffer;
	Page		page;
	const uint16 *origins;
	int			nused;
	int			n = 0;

	if (block == 0)
		return 0;
	buffer = get_page(index, block, group, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	origins = page_origins(page);
	nused = HnswPageGetOpaque(page)->nused;
	/* Ask for the memory of all of them first: they are anywhere on the page. */
	for (int i = 0; (i = next_of_origin(origins, nused, i, origin)) < nused; i++)
	{
		__builtin_prefetch(page_link(layout, page, i));
		links[n++] = i;
	}
	for (int i = 0; i < n; i++)
	{
		const HnswOverflowLinkData *link = page_link(layout, page, links[i]);

		links[i] = link->to;
		a[i] = link->a;
		b[i] = link->b;
		code_pack(&layout->code, link->code, codes, i);
	}
	UnlockReleaseBuffer(buffer);
	return n;
}

/* Ask the processor for the start of the page that hnsw_overflow_read will need, if it is known. */
void
hnsw_overflow_prefetch(HnswIndex *index, HnswNodeId id)
{
	uint32		group = HnswNodeGroup(&index->layout, id);
	const GroupHint *hint;

	if (group_hints == NULL)
		return;
	hint = hint_slot(index, group);
	if (hint_is_for(hint, index, group) && hint->block != 0)
		hnsw_prefetch_block(index->rel, hint->block,
							index->layout.overflow_links * sizeof(uint16));
}

/*
 * Add links of nodes of one group, n of them, as many as there is room for.
 * Returns how many.
 */
int
hnsw_overflow_append(HnswIndex *index, const HnswLink *links, int n)
{
	const HnswLayout *layout = &index->layout;
	uint32		group = HnswNodeGroup(layout, links[0].from);
	BlockNumber block;
	Buffer		buffer;
	Page		page;
	HnswPageOpaqueData opaque;
	uint16		origins[HNSW_MAX_OVERFLOW];
	char	   *data;
	LocationIndex lower;

	if (group / HNSW_MAP_GROUPS >= HNSW_MAX_MAPS)
		return 0;
	block = find_page(index, group);
	if (block == 0)
	{
		make_page(index, group);
		block = find_page(index, group);
	}
	buffer = get_page(index, block, group, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	opaque = *HnswPageGetOpaque(page);
	n = Min(n, layout->overflow_links - opaque.nused);
	if (n > 0)
	{
		HnswEdit	edits[4];

		data = palloc0((Size) n * layout->overflow_size);
		for (int i = 0; i < n; i++)
		{
			HnswOverflowLinkData *link = (HnswOverflowLinkData *) (data + i * layout->overflow_size);

			Assert(HnswNodeGroup(layout, links[i].from) == group);
			origins[i] = node_origin(layout, links[i].from);
			link->to = links[i].to;
			link->a = links[i].a;
			link->b = links[i].b;
			if (layout->code.units > 0)
				memcpy(link->code, links[i].code, layout->code.units);
		}
		lower = link_offset(layout, opaque.nused + n);
		edits[0] = (HnswEdit) {buffer, offsetof(PageHeaderData, pd_lower), sizeof(lower), &lower};
		edits[1] = (HnswEdit) {buffer, HNSW_PAGE_START + opaque.nused * sizeof(uint16),
		n * sizeof(uint16), origins};
		edits[2] = (HnswEdit) {buffer, link_offset(layout, opaque.nused), n * layout->overflow_size, data};
		opaque.nused += n;
		edits[3] = hnsw_edit_opaque(buffer, &opaque);
		hnsw_edit_pages(index->rel, edits, lengthof(edits));
		pfree(data);
	}
	UnlockReleaseBuffer(buffer);
	return n;
}

/*
 * The overflow links of a group with their factors and, unless codes is NULL,
 * copies of their codes there.  Both arrays must have room for overflow_links.
 * Returns how many there are.
 */
int
hnsw_overflow_load(HnswIndex *index, uint32 group, HnswLink *links, uint8 *codes)
{
	const HnswLayout *layout = &index->layout;
	BlockNumber block = find_page(index, group);
	Buffer		buffer;
	Page		page;
	int			n;

	if (block == 0)
		return 0;
	buffer = get_page(index, block, group, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	n = HnswPageGetOpaque(page)->nused;
	for (int i = 0; i < n; i++)
	{
		const HnswOverflowLinkData *link = page_link(layout, page, i);

		links[i] = (HnswLink) {0};
		links[i].from = origin_node(layout, group, page_origins(page)[i]);
		links[i].to = link->to;
		links[i].a = link->a;
		links[i].b = link->b;
		if (codes != NULL)
		{
			links[i].code = codes + (Size) i * layout->code.units;
			memcpy(links[i].code, link->code, layout->code.units);
		}
	}
	UnlockReleaseBuffer(buffer);
	return n;
}

static bool
is_among(HnswNodeId from, HnswNodeId to, const HnswLink *links, int n)
{
	for (int i = 0; i < n; i++)
		if (links[i].from == from && links[i].to == to)
			return true;
	return false;
}

/*
 * Remove these links of a group, n of them.  The caller keeps others from moving
 * them (hnsw_overflow_trylock), or is a vacuum.  The last ones move to where they
 * were, so that not much is logged.
 */
void
hnsw_overflow_remove(HnswIndex *index, uint32 group, const HnswLink *links, int n)
{
	const HnswLayout *layout = &index->layout;
	BlockNumber block = find_page(index, group);
	Buffer		buffer;
	PGAlignedBlock copy;
	HnswPageOpaque opaque;
	int			old;

	if (block == 0 || n == 0)
		return;
	buffer = get_page(index, block, group, BUFFER_LOCK_EXCLUSIVE);
	memcpy(copy.data, BufferGetPage(buffer), BLCKSZ);
	opaque = HnswPageGetOpaque(copy.data);
	old = opaque->nused;
	for (int i = old - 1; i >= 0; i--)
	{
		int			last = opaque->nused - 1;

		if (!is_among(origin_node(layout, group, page_origins(copy.data)[i]),
					  page_link(layout, copy.data, i)->to, links, n))
			continue;
		page_origins(copy.data)[i] = page_origins(copy.data)[last];
		page_origins(copy.data)[last] = 0;
		memmove(page_link(layout, copy.data, i), page_link(layout, copy.data, last),
				layout->overflow_size);
		opaque->nused--;
	}
	((PageHeader) copy.data)->pd_lower = link_offset(layout, opaque->nused);
	if (opaque->nused < old)
	{
		HnswEdit	edits[4] = {
			{buffer, HNSW_PAGE_START, old * sizeof(uint16), page_origins(copy.data)},
			{buffer, link_offset(layout, 0), opaque->nused * layout->overflow_size,
			page_link(layout, copy.data, 0)},
			hnsw_edit_opaque(buffer, opaque),
			{buffer, offsetof(PageHeaderData, pd_lower), sizeof(LocationIndex),
			&((PageHeader) copy.data)->pd_lower}
		};

		hnsw_edit_pages(index->rel, edits, lengthof(edits));
	}
	UnlockReleaseBuffer(buffer);
}

/*
 * Keep others from moving a group's overflow links to their nodes; false if
 * somebody is at it.
 */
bool
hnsw_overflow_trylock(HnswIndex *index, uint32 group)
{
	BlockNumber block = find_page(index, group);

	return block != 0 && ConditionalLockPage(index->rel, block, ExclusiveLock);
}

void
hnsw_overflow_unlock(HnswIndex *index, uint32 group)
{
	UnlockPage(index->rel, find_page(index, group), ExclusiveLock);
}

/*
 * Would a change of a page with this LSN log the whole page, as the first one
 * since a checkpoint does?
 */
bool
hnsw_needs_image(HnswIndex *index, XLogRecPtr lsn)
{
	XLogRecPtr	redo;
	bool		full_page_writes;

	if (!RelationNeedsWAL(index->rel))
		return false;
	GetFullPageWriteInfo(&redo, &full_page_writes);
	return full_page_writes && lsn <= redo;
}
