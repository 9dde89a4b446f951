/*-------------------------------------------------------------------------
 *
 * hnsw_overflow_page.c
 *		Pages of overflow links.
 *
 * A group of blocks has at most one page of overflow links, which is made
 * when it is first needed and stays (hnsw_map_page.c).  Nobody holds a node's
 * lock while it has one of these pages locked.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "access/xlog.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

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

/* Where the overflow links of a group are, 0 if there are none. */
static BlockNumber
find_page(HnswIndex *index, uint32 group)
{
	return hnsw_map_find(index, HNSW_MAP_OVERFLOW, group);
}

/* The contents of a new page. */
static void
init_page(const HnswLayout *layout, Page page)
{
	((PageHeader) page)->pd_lower = link_offset(layout, 0);
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
	buffer = hnsw_map_get_page(index, HNSW_MAP_OVERFLOW, block, group, BUFFER_LOCK_SHARE);
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
	BlockNumber block = hnsw_map_recall(index, HNSW_MAP_OVERFLOW, group);

	if (block != 0)
		hnsw_prefetch_block(index->rel, block, index->layout.overflow_links * sizeof(uint16));
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

	if (group / HNSW_MAP_PAGES >= HNSW_MAX_MAPS)
		return 0;
	block = find_page(index, group);
	if (block == 0)
		block = hnsw_map_make(index, HNSW_MAP_OVERFLOW, group, init_page);
	buffer = hnsw_map_get_page(index, HNSW_MAP_OVERFLOW, block, group, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	opaque = *HnswPageGetOpaque(page);
	n = Min(n, layout->overflow_links - opaque.nused);
	if (n > 0)
	{
		PageEdit	edits[4];

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
		edits[0] = (PageEdit) {buffer, offsetof(PageHeaderData, pd_lower), sizeof(lower), &lower};
		edits[1] = (PageEdit) {buffer, HNSW_PAGE_START + opaque.nused * sizeof(uint16),
		n * sizeof(uint16), origins};
		edits[2] = (PageEdit) {buffer, link_offset(layout, opaque.nused), n * layout->overflow_size, data};
		opaque.nused += n;
		edits[3] = hnsw_edit_opaque(buffer, &opaque);
		page_edit(index->rel, edits, lengthof(edits));
		pfree(data);
	}
	UnlockReleaseBuffer(buffer);
	return n;
}

/* The links of a page, as hnsw_overflow_load gives them; their count has been verified. */
int
hnsw_overflow_unpack(HnswIndex *index, Page page, HnswLink *links, uint8 *codes)
{
	const HnswLayout *layout = &index->layout;
	uint32		group = HnswPageGetOpaque(page)->next;
	int			n = HnswPageGetOpaque(page)->nused;

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
	BlockNumber block = find_page(index, group);
	Buffer		buffer;
	int			n;

	if (block == 0)
		return 0;
	buffer = hnsw_map_get_page(index, HNSW_MAP_OVERFLOW, block, group, BUFFER_LOCK_SHARE);
	n = hnsw_overflow_unpack(index, BufferGetPage(buffer), links, codes);
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
	buffer = hnsw_map_get_page(index, HNSW_MAP_OVERFLOW, block, group, BUFFER_LOCK_EXCLUSIVE);
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
		PageEdit	edits[4] = {
			{buffer, HNSW_PAGE_START, old * sizeof(uint16), page_origins(copy.data)},
			{buffer, link_offset(layout, 0), opaque->nused * layout->overflow_size,
			page_link(layout, copy.data, 0)},
			hnsw_edit_opaque(buffer, opaque),
			{buffer, offsetof(PageHeaderData, pd_lower), sizeof(LocationIndex),
			&((PageHeader) copy.data)->pd_lower}
		};

		page_edit(index->rel, edits, lengthof(edits));
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
