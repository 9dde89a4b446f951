/*-------------------------------------------------------------------------
 *
 * hnsw_page.c
 *		Nodes and the metapage: their buffers, locks and WAL.  Only the *_page.c
 *		files touch these.
 *
 * Lock order: a node's pages (first to last), then a page of heap TIDs, then
 * the metapage; pages of overflow links and keys are locked without a node.  Nobody
 * holds two nodes at a time, and only vacuum two pages of TIDs.  Every
 * change is one generic WAL record, except that a node which spans pages has
 * one record for each page changed, its first page (header, links, factors)
 * last; see README, "Crashes".
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "access/xloginsert.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Longer runs are left to the processor's own prefetching. */
#define PREFETCH_BYTES 1536
#define CACHE_LINE 64

/* The magic number of a page, which tells its block, too. */
static inline uint32
page_magic(int version, BlockNumber block)
{
	return version < HNSW_KEY_VERSION ? HNSW_MAGIC : HNSW_MAGIC + block;
}

/*
 * What a page has in common with all of ours.  A hop does not read the page's header: it would
 * have to wait for its memory.
 */
static inline bool
is_ours(Page page, BlockNumber block)
{
	HnswPageOpaque opaque = HnswPageGetOpaque(page);

	return opaque->magic == page_magic(opaque->version, block) && opaque->upper <= 1;
}

/*
 * What is wrong with a page, which is not one of this block and of this kind (0: any)
 * that this library reads; NULL if nothing is.
 */
const char *
hnsw_page_fault(Relation rel, BlockNumber block, Page page, int kind)
{
	HnswPageOpaque opaque;
	BlockNumber other;

	if (PageIsNew(page))
		return "an empty page";
	if (PageGetSpecialSize(page) != MAXALIGN(sizeof(HnswPageOpaqueData)))
		return "a foreign page";
	opaque = HnswPageGetOpaque(page);
	other = opaque->magic - HNSW_MAGIC;
	if (opaque->magic != page_magic(opaque->version, block) &&
		opaque->version >= HNSW_KEY_VERSION && opaque->version <= HNSW_VERSION &&
		other < RelationGetNumberOfBlocks(rel))
		return psprintf("a page of block %u", other);
	if (!is_ours(page, block))
		return "a foreign page";
	if (opaque->version < HNSW_FIRST_VERSION || opaque->version > HNSW_VERSION)
		return psprintf("format version %d", opaque->version);
	return kind != 0 && opaque->kind != kind ? "a page of the wrong kind" : NULL;
}

/* Verify that a locked page is one of this block of an index of ours. */
static inline void
check_foreign(Relation rel, BlockNumber block, Page page)
{
	if (unlikely(!is_ours(page, block)))
		page_report_corrupt(rel, block, hnsw_page_fault(rel, block, page, 0));
}

/*
 * Verify that a locked page is one of ours and of the expected kind.  Who changes it logs what
 * its header says is in use.
 */
static void
check_page(Relation rel, BlockNumber block, Page page, int lockmode, int kind)
{
	HnswPageOpaque opaque = HnswPageGetOpaque(page);

	check_foreign(rel, block, page);
	if (lockmode == BUFFER_LOCK_EXCLUSIVE &&
		PageGetSpecialSize(page) != MAXALIGN(sizeof(HnswPageOpaqueData)))
		page_report_corrupt(rel, block, "a foreign page");
	if (opaque->version < HNSW_FIRST_VERSION || opaque->version > HNSW_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("index \"%s\" has format version %d at block %u, but this library reads versions up to %d",
						RelationGetRelationName(rel), opaque->version, block, HNSW_VERSION),
				 errhint("Please REINDEX it.")));
	if (opaque->kind != kind)
		page_report_corrupt(rel, block, "a page of the wrong kind");
}

/* Start to read a block, of the index or its table, into shared buffers. */
void
hnsw_block_read_ahead(Relation rel, BlockNumber block)
{
	PrefetchBuffer(rel, MAIN_FORKNUM, block);
}

/* Read a block into shared buffers. */
void
hnsw_load_block(Relation rel, BlockNumber block)
{
	ReleaseBuffer(ReadBuffer(rel, block));
}

#ifdef USE_ASSERT_CHECKING
typedef struct PageWanted
{
	BlockNumber block;
	int			kind;
} PageWanted;

/* Places of kinds in one of the two orders; 0: such a page, or one of any kind, is locked alone. */
static const int node_order[] = {
	[HNSW_PAGE_NODE] = 1,[HNSW_PAGE_NODE_PART] = 1,[HNSW_PAGE_TIDS] = 2,
	[HNSW_PAGE_META] = 3,[HNSW_PAGE_SKETCH_MAP] = 0
};
static const int map_order[] = {
	[HNSW_PAGE_OVERFLOW_MAP] = 1,[HNSW_PAGE_KEY_MAP] = 1,[HNSW_PAGE_SKETCH_MAP] = 1,
	[HNSW_PAGE_OVERFLOW] = 2,[HNSW_PAGE_KEYS] = 2,[HNSW_PAGE_SKETCHES] = 2,
	[HNSW_PAGE_META] = 3
};

static bool
comes_later(const int *order, int held, int wanted)
{
	return order[held] > 0 && order[held] < order[wanted];
}

/* May a page be locked while we have this one locked?  The orders are the README's. */
static void
assert_order(Page page, BlockNumber block, void *arg)
{
	const PageWanted *wanted = arg;
	int			held;

	if (!is_ours(page, block))
		return;
	held = HnswPageGetOpaque(page)->kind;
	if (held < HNSW_PAGE_META || held > HNSW_PAGE_SKETCH_MAP)
		return;
	Assert(comes_later(node_order, held, wanted->kind) ||
		   comes_later(map_order, held, wanted->kind) ||
		   (wanted->kind == HNSW_PAGE_NODE_PART && node_order[held] == 1 && block < wanted->block) ||
		   (wanted->kind == HNSW_PAGE_TIDS && held == HNSW_PAGE_TIDS));
}
#endif

/* Lock a page of this kind, or with 0 of any: then no other may be locked. */
static inline void
lock_page(Buffer buffer, int lockmode, int kind)
{
#ifdef USE_ASSERT_CHECKING
	PageWanted	wanted = {BufferGetBlockNumber(buffer), kind};

	page_for_each_locked(assert_order, &wanted);
#endif
	LockBuffer(buffer, lockmode);
}

/* The same for files of their own.  No page is locked in another way, but new ones. */
void
hnsw_lock_page(Buffer buffer, int lockmode, int kind)
{
	lock_page(buffer, lockmode, kind);
}

/* Read a block and lock it; verifies its kind.  Locks and pins are the caller's. */
Buffer
hnsw_get_page(Relation rel, BlockNumber block, int lockmode, int kind)
{
	Buffer		buffer = page_read(rel, block);

	lock_page(buffer, lockmode, kind);
	check_page(rel, block, BufferGetPage(buffer), lockmode, kind);
	return buffer;
}

/* Verify that a block number which comes from a page, and may be broken, is one of the index. */
void
hnsw_check_block(HnswIndex *index, BlockNumber block)
{
	if (block < index->nblocks)
		return;
	index->nblocks = RelationGetNumberOfBlocks(index->rel);
	if (block >= index->nblocks)
		page_report_corrupt(index->rel, block, "a link past its end");
}

/*
 * Read and lock a page whose block number comes from a page, and may be broken: it may
 * be one that we have locked, and would wait for without end.
 */
Buffer
hnsw_get_linked_page(Relation rel, BlockNumber block, int lockmode, int kind)
{
	Buffer		buffer;

	if (block >= RelationGetNumberOfBlocks(rel))
		page_report_corrupt(rel, block, "a link past its end");
	buffer = page_read(rel, block);
	if (page_is_locked(buffer))
		page_report_corrupt(rel, block, "a link that comes back to it");
	lock_page(buffer, lockmode, kind);
	check_page(rel, block, BufferGetPage(buffer), lockmode, kind);
	return buffer;
}

/* Make a page an empty one, of an index of the given version. */
void
hnsw_init_page(Page page, uint32 version, BlockNumber block, int kind, bool upper)
{
	HnswPageOpaque opaque;

	PageInit(page, BLCKSZ, sizeof(HnswPageOpaqueData));
	opaque = HnswPageGetOpaque(page);
	opaque->version = version < HNSW_KEY_VERSION && kind != HNSW_PAGE_META ?
		HNSW_FIRST_VERSION : version;
	opaque->magic = page_magic(opaque->version, block);
	opaque->kind = kind;
	opaque->upper = upper;
	opaque->next = InvalidBlockNumber;

	/* Parts are written at any time: let all of the page count as in use. */
	((PageHeader) page)->pd_lower = ((PageHeader) page)->pd_upper;
}

/*
 * Where slots of nodes are used from the front, what is behind them needs no
 * place in WAL.
 */
void
hnsw_set_fill(const HnswLayout *layout, Page page, int nodes)
{
	if (layout->pages_per_node == 1)
		((PageHeader) page)->pd_lower = HNSW_PAGE_START + nodes * layout->node_size;
}

/*
 * Extend the relation by one page, pinned and exclusively locked: from the
 * start, or else a vacuum could take it for one that nobody has any use for.
 */
Buffer
hnsw_extend(Relation rel, ForkNumber fork)
{
	Buffer		buffer = ReadBufferExtended(rel, fork, P_NEW, RBM_ZERO_AND_LOCK, NULL);

	piramid_injection_point("hnsw-extended");
	return buffer;
}

/* ---------------------------------------------------------------------
 * Metapage and mean
 * ---------------------------------------------------------------------
 */

void
hnsw_meta_init(HnswMetaPageData *meta, const HnswLayout *layout)
{
	memset(meta, 0, sizeof(*meta));
	meta->magic = HNSW_MAGIC;
	meta->version = HNSW_VERSION;
	hnsw_layout_to_meta(layout, meta);
	meta->seed = UINT64CONST(0x70697261);
	meta->mean = InvalidBlockNumber;
	meta->entry = HNSW_NO_NODE;
	meta->free_node[0] = InvalidBlockNumber;
	meta->free_node[1] = InvalidBlockNumber;
	meta->free_tids = InvalidBlockNumber;
}

/* Finish a page made outside generic WAL: dirty it, log it if asked. */
void
hnsw_finish_new_page(Buffer buffer, bool log)
{
	START_CRIT_SECTION();
	MarkBufferDirty(buffer);
	if (log)
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/* Write so many bytes to a chain of new pages; returns the first one. */
static BlockNumber
write_chain(Relation rel, ForkNumber fork, int kind, const char *data, Size size)
{
	BlockNumber first = InvalidBlockNumber;

	for (Size start = 0; start < size; start += HNSW_PAGE_SPACE)
	{
		Buffer		buffer = hnsw_extend(rel, fork);
		Page		page = BufferGetPage(buffer);
		Size		n = Min(HNSW_PAGE_SPACE, size - start);

		hnsw_init_page(page, HNSW_VERSION, BufferGetBlockNumber(buffer), kind, false);
		memcpy(PageGetContents(page), data + start, n);
		if (start == 0)
			first = BufferGetBlockNumber(buffer);
		if (start + n < size)
			HnswPageGetOpaque(page)->next = BufferGetBlockNumber(buffer) + 1;
		hnsw_finish_new_page(buffer, fork == INIT_FORKNUM);
	}
	return first;
}

/* Read them again. */
void
hnsw_read_chain(Relation rel, BlockNumber block, int kind, char *data, Size size)
{
	BlockNumber first = block;

	for (Size start = 0; start < size; start += HNSW_PAGE_SPACE)
	{
		Buffer		buffer = hnsw_get_linked_page(rel, block, BUFFER_LOCK_SHARE, kind);
		Page		page = BufferGetPage(buffer);

		memcpy(data + start, PageGetContents(page), Min(HNSW_PAGE_SPACE, size - start));
		block = HnswPageGetOpaque(page)->next;
		UnlockReleaseBuffer(buffer);
		if (block == InvalidBlockNumber && start + HNSW_PAGE_SPACE < size)
			page_report_corrupt(rel, first, "an incomplete mean");
	}
}

static BlockNumber
write_projection(Relation rel, ForkNumber fork, const Projection *projection)
{
	Size		matrix_size = projection_size(projection->dims, projection->width);
	Size		size = offsetof(HnswProjectionData, matrix) + matrix_size;
	HnswProjectionData *data = palloc0(size);
	BlockNumber first;

	data->step = projection->step;
	data->range = projection->range;
	data->dims = projection->dims;
	data->stride = projection_stride(projection->width);
	memcpy(data->matrix, projection->matrix, matrix_size);
	first = write_chain(rel, fork, HNSW_PAGE_PROJECTION, (char *) data, size);
	pfree(data);
	return first;
}

/*
 * Write the metapage and, if they are given, the pages of mean and projection
 * of a new index.  Init forks are WAL-logged here; the main fork is the
 * caller's to log.
 */
void
hnsw_create(Relation rel, ForkNumber fork, HnswMetaPageData *meta, const float *mean,
			const Projection *projection, const Projection *sketches)
{
	Buffer		metabuf;
	HnswKeyColumns keys;

	hnsw_key_columns(rel, &keys);
	Assert(keys.size == meta->key_size);
	meta->key_columns = keys.n;
	/* What hnsw_open knew of an index that was in this file before */
	if (rel->rd_amcache != NULL)
		pfree(rel->rd_amcache);
	rel->rd_amcache = NULL;
	LockRelationForExtension(rel, ExclusiveLock);
	metabuf = hnsw_extend(rel, fork);
	if (mean != NULL)
		meta->mean = write_chain(rel, fork, HNSW_PAGE_MEAN, (const char *) mean,
										sizeof(float) * meta->dim);
	if (projection != NULL)
		meta->projection = write_projection(rel, fork, projection);
	if (sketches != NULL)
		meta->sketch_projection = write_projection(rel, fork, sketches);
	hnsw_init_page(BufferGetPage(metabuf), HNSW_VERSION, HNSW_METAPAGE, HNSW_PAGE_META, false);
	memcpy(HnswPageGetMeta(BufferGetPage(metabuf)), meta, sizeof(*meta));
	hnsw_finish_new_page(metabuf, fork == INIT_FORKNUM);
	UnlockRelationForExtension(rel, ExclusiveLock);
}

/* Copy the metapage. */
void
hnsw_meta_read(Relation rel, HnswMetaPageData *meta)
{
	Buffer		buffer = hnsw_get_page(rel, HNSW_METAPAGE, BUFFER_LOCK_SHARE, HNSW_PAGE_META);
	Page		page = BufferGetPage(buffer);
	Size		size = hnsw_meta_size(HnswPageGetMeta(page)->version);

	if (HnswPageGetMeta(page)->version != HnswPageGetOpaque(page)->version)
		page_report_corrupt(rel, HNSW_METAPAGE, "an unknown metapage");
	memcpy(meta, HnswPageGetMeta(page), size);
	/* What it is too old to have is 0. */
	memset((char *) meta + size, 0, sizeof(*meta) - size);
	UnlockReleaseBuffer(buffer);
	/* What is fixed is looked at when an index is opened. */
	if (meta->entry_level < 0 || meta->entry_level > HNSW_MAX_LEVEL)
		page_report_corrupt(rel, HNSW_METAPAGE, "an impossible metapage");
}

/* Copy the metapage, and take over what of it changes. */
void
hnsw_meta_refresh(HnswIndex *index, HnswMetaPageData *meta)
{
	hnsw_meta_read(index->rel, meta);
	index->norm = meta->norm;
	index->overflow_pages = meta->overflow_pages;
	index->key_pages = meta->key_pages;
	index->sketch_pages = meta->sketch_pages;
}

/* Change the typical length of vectors, if it is still the one that was expected. */
void
hnsw_norm_change(HnswIndex *index, float expected, float norm)
{
	Buffer		buffer = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
									   HNSW_PAGE_META);

	if (HnswPageGetMeta(BufferGetPage(buffer))->norm == expected)
	{
		GenericXLogState *xlog = GenericXLogStart(index->rel);

		HnswPageGetMeta(GenericXLogRegisterBuffer(xlog, buffer, 0))->norm = norm;
		GenericXLogFinish(xlog);
		index->norm = norm;
	}
	UnlockReleaseBuffer(buffer);
}

/* Read a projection, which takes so many bytes. */
void
hnsw_projection_read(Relation rel, const HnswProjectionName *name, int width,
					 HnswProjectionData *data, Size size)
{
	hnsw_read_chain(rel, name->block, HNSW_PAGE_PROJECTION, (char *) data, size);
	if (data->dims != name->dims || data->stride != projection_stride(width) ||
		!(data->step > 0 && data->step <= 1) || !(data->range > 0))
		page_report_corrupt(rel, name->block, "an impossible projection");
}

/*
 * Change the entry point if it still is "expected"; false if it is not.
 */
bool
hnsw_entry_update(HnswIndex *index, HnswNodeId expected, HnswNodeId entry, int level)
{
	Buffer		buffer = hnsw_get_page(index->rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
								  HNSW_PAGE_META);
	bool		changed = false;

	if (HnswPageGetMeta(BufferGetPage(buffer))->entry == expected)
	{
		GenericXLogState *xlog = GenericXLogStart(index->rel);
		Page		page = GenericXLogRegisterBuffer(xlog, buffer, 0);

		HnswPageGetMeta(page)->entry = entry;
		HnswPageGetMeta(page)->entry_level = level;
		GenericXLogFinish(xlog);
		changed = true;
	}
	UnlockReleaseBuffer(buffer);
	return changed;
}

/* ---------------------------------------------------------------------
 * Nodes
 * ---------------------------------------------------------------------
 */

/* The block of a node number that may come from a broken page. */
static BlockNumber
node_block(HnswIndex *index, HnswNodeId id)
{
	BlockNumber block = HnswNodeBlock(&index->layout, id);
	BlockNumber last = block + index->layout.pages_per_node - 1;

	hnsw_check_block(index, last < block ? InvalidBlockNumber : last);
	return block;
}

static inline HnswNodeHeader
page_node(const HnswLayout *layout, Page page, int slot)
{
	return (HnswNodeHeader) ((char *) page + HNSW_PAGE_START + slot * layout->node_size);
}

/*
 * All nodes that hnsw_read, hnsw_block_node and hnsw_write give out come through
 * here: other code trusts that there are not more links and heap TIDs than fit,
 * and that the TIDs can be some.  Nothing else is checked; see hnsw_own_sparse.
 */
static inline void
check_node(const HnswIndex *index, const HnswNodeHeaderData *node, BlockNumber block)
{
	if (unlikely(!hnsw_node_fits(&index->layout, node)))
		page_report_corrupt(index->rel, block, "an impossible node");
	page_check_tids(index->rel, block, HnswNodeTids(&index->layout, node), node->ntids);
}

/*
 * Ask the processor for the memory of a node that will be read soon, if a hint
 * tells where it is.  Nothing happens if the hint is wrong.
 */
void
hnsw_prefetch(HnswIndex *index, HnswNodeId id)
{
	const HnswLayout *layout = &index->layout;
	Buffer	   *hint = page_hint(index->rel, HnswNodeBlock(layout, id));
	char	   *page;
	char	   *node;

	if (hint == NULL || *hint == InvalidBuffer)
		return;
	page = (char *) BufferGetPage(*hint);
	node = (char *) page_node(layout, (Page) page, HnswNodeSlot(layout, id));
	__builtin_prefetch(GetBufferDescriptor(*hint - 1), 1);
	__builtin_prefetch(page + BLCKSZ - sizeof(HnswPageOpaqueData));
	for (int i = 0; i < Min(layout->node_size, PREFETCH_BYTES); i += CACHE_LINE)
		__builtin_prefetch(node + i);
}

/* The same for what a sweep reads of the nodes of a block: headers, heap TIDs and own vectors */
void
hnsw_prefetch_swept(HnswIndex *index, BlockNumber block)
{
	const HnswLayout *layout = &index->layout;
	Buffer	   *hint = page_hint(index->rel, block);
	char	   *page;

	if (hint == NULL || *hint == InvalidBuffer || layout->pages_per_node > 1)
		return;
	page = (char *) BufferGetPage(*hint);
	__builtin_prefetch(GetBufferDescriptor(*hint - 1), 1);
	__builtin_prefetch(page + BLCKSZ - sizeof(HnswPageOpaqueData));
	for (int slot = 0; slot < layout->nodes_per_page; slot++)
	{
		char	   *node = (char *) page_node(layout, (Page) page, slot);

		__builtin_prefetch(node);
		__builtin_prefetch(node + CACHE_LINE);
		for (int i = 0; i < Min(layout->own_size, PREFETCH_BYTES); i += CACHE_LINE)
			__builtin_prefetch(node + layout->own + i);
	}
}

/* Ask the processor for the start of a page, and its end, if a hint tells where it is. */
void
hnsw_prefetch_block(Relation rel, BlockNumber block, Size size)
{
	Buffer	   *hint = page_hint(rel, block);
	char	   *page;

	if (hint == NULL || *hint == InvalidBuffer)
		return;
	page = (char *) BufferGetPage(*hint);
	__builtin_prefetch(GetBufferDescriptor(*hint - 1), 1);
	__builtin_prefetch(page + BLCKSZ - sizeof(HnswPageOpaqueData));
	for (Size i = 0; i < HNSW_PAGE_START + size; i += CACHE_LINE)
		__builtin_prefetch(page + i);
}

/*
 * Start to read a node's pages into memory, if they are not in shared buffers.
 */
void
hnsw_read_ahead(HnswIndex *index, HnswNodeId id)
{
	BlockNumber block = HnswNodeBlock(&index->layout, id);

	for (int i = 0; i < index->layout.pages_per_node; i++)
	{
		PrefetchBufferResult result;
		Buffer	   *hint;

		if (block + i >= index->nblocks)
			return;				/* hnsw_read knows what to make of it */
		result = PrefetchBuffer(index->rel, MAIN_FORKNUM, block + i);
		hint = page_hint(index->rel, block + i);
		if (BufferIsValid(result.recent_buffer) && hint != NULL)
			*hint = result.recent_buffer;
	}
}

/* Ask for the hint that the next prefetch of this node will need. */
void
hnsw_prefetch_hint(HnswIndex *index, HnswNodeId id)
{
	__builtin_prefetch(page_hint(index->rel, HnswNodeBlock(&index->layout, id)));
}

/* Lock a node for reading; hnsw_read_end must follow soon. */
void
hnsw_read(HnswIndex *index, HnswNodeId id, HnswRead *read)
{
	const HnswLayout *layout = &index->layout;
	BlockNumber block = node_block(index, id);

	read->buffer = hnsw_get_page(index->rel, block, BUFFER_LOCK_SHARE, HNSW_PAGE_NODE);
	if (layout->pages_per_node == 1)
	{
		read->node = page_node(layout, BufferGetPage(read->buffer), HnswNodeSlot(layout, id));
		check_node(index, read->node, block);
		return;
	}

	memcpy(index->scratch, PageGetContents(BufferGetPage(read->buffer)), HNSW_PAGE_SPACE);
	for (int i = 1; i < layout->pages_per_node; i++)
	{
		Buffer		part = hnsw_get_page(index->rel, block + i, BUFFER_LOCK_SHARE,
									HNSW_PAGE_NODE_PART);

		memcpy(index->scratch + i * HNSW_PAGE_SPACE,
			   PageGetContents(BufferGetPage(part)), hnsw_part_size(layout, i));
		UnlockReleaseBuffer(part);
	}
	read->node = (HnswNodeHeader) index->scratch;
	check_node(index, read->node, block);
}

/* Where the record of the last change of a node's page is, while the node is locked */
XLogRecPtr
hnsw_read_lsn(const HnswRead *read)
{
	return PageGetLSN(BufferGetPage(read->buffer));
}

void
hnsw_read_end(HnswRead *read)
{
	UnlockReleaseBuffer(read->buffer);
}

/*
 * Lock a block for reading, as part of a pass over all blocks.  Returns how many
 * slots of nodes it uses: 0 if it holds no nodes, -1 if it is empty.
 */
static int
lock_block(HnswIndex *index, BlockNumber block, Buffer *buffer)
{
	Page		page;
	HnswPageOpaque opaque;

	*buffer = index->strategy == NULL ? page_read(index->rel, block) :
		ReadBufferExtended(index->rel, MAIN_FORKNUM, block, RBM_NORMAL, index->strategy);
	page = BufferGetPage(*buffer);
	lock_page(*buffer, BUFFER_LOCK_SHARE, 0);
	if (PageIsNew(page))
		return -1;
	check_foreign(index->rel, block, page);
	opaque = HnswPageGetOpaque(page);
	if (opaque->kind != HNSW_PAGE_NODE || block > HNSW_MAX_NODE_BLOCK(&index->layout))
		return 0;
	return Min(opaque->nused, index->layout.nodes_per_page);
}

/*
 * Lock a block's nodes for reading; returns how many slots it uses.  If that is
 * 0, the block holds no nodes, and nothing is locked.  Else hnsw_read_end must
 * follow soon.
 */
int
hnsw_read_block(HnswIndex *index, BlockNumber block, HnswRead *read)
{
	int			n = lock_block(index, block, &read->buffer);

	if (n > 0 && index->layout.pages_per_node == 1)
		return n;
	UnlockReleaseBuffer(read->buffer);
	if (n > 0)
		hnsw_read(index, HnswMakeNodeId(&index->layout, block, 0), read);
	return Max(n, 0);
}

/* A node of a block that is locked so. */
HnswNodeHeader
hnsw_block_node(const HnswIndex *index, const HnswRead *read, int slot)
{
	HnswNodeHeader node = read->node;

	if (index->layout.pages_per_node == 1)
	{
		node = page_node(&index->layout, BufferGetPage(read->buffer), slot);
		check_node(index, node, BufferGetBlockNumber(read->buffer));
	}
	return node;
}

/* Start a change of a node whose first page is locked exclusively. */
static void
write_start(HnswIndex *index, HnswNodeId id, Buffer buffer, HnswWrite *write)
{
	const HnswLayout *layout = &index->layout;
	Page		page = BufferGetPage(buffer);

	Assert(page_is_locked_exclusively(buffer));
	memset(write, 0, sizeof(*write));
	write->id = id;
	write->buffer = buffer;
	write->chunk_buffer = InvalidBuffer;
	write->opaque = *HnswPageGetOpaque(page);
	write->node = palloc_extended(layout->node_size, 0);
	memcpy(write->node, page_node(layout, page, HnswNodeSlot(layout, id)), hnsw_part_size(layout, 0));
	if (layout->pages_per_node > 1)
		write->parts = palloc(sizeof(Buffer) * layout->pages_per_node);
	for (int i = 1; i < layout->pages_per_node; i++)
	{
		write->parts[i] = hnsw_get_page(index->rel, BufferGetBlockNumber(buffer) + i,
								   BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_NODE_PART);
		memcpy((char *) write->node + i * HNSW_PAGE_SPACE,
			   PageGetContents(BufferGetPage(write->parts[i])), hnsw_part_size(layout, i));
	}
	check_node(index, write->node, BufferGetBlockNumber(buffer));
}

/* Lock a node for a change; hnsw_write_end must follow soon. */
void
hnsw_write(HnswIndex *index, HnswNodeId id, HnswWrite *write)
{
	Buffer		buffer = hnsw_get_page(index->rel, node_block(index, id),
								  BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_NODE);

	write_start(index, id, buffer, write);
}

PageEdit
hnsw_edit_opaque(Buffer buffer, const HnswPageOpaqueData *opaque)
{
	PageEdit	edit = {buffer, BLCKSZ - MAXALIGN(sizeof(*opaque)), sizeof(*opaque), opaque};

	return edit;
}

/* Log the change of a node, its first page last, with what belongs to it. */
static void
write_commit(HnswIndex *index, HnswWrite *write)
{
	const HnswLayout *layout = &index->layout;
	Page		page = BufferGetPage(write->buffer);
	LocationIndex start = (char *) page_node(layout, page, HnswNodeSlot(layout, write->id)) -
		(char *) page;
	LocationIndex lower = Max(((PageHeader) page)->pd_lower, start + hnsw_part_size(layout, 0));
	PageEdit	edits[HNSW_MAX_EDITS] = {
		{write->buffer, offsetof(PageHeaderData, pd_lower), sizeof(lower), &lower},
		{write->buffer, start, hnsw_part_size(layout, 0), write->node},
		hnsw_edit_opaque(write->buffer, &write->opaque)
	};
	int			n = 3;

	for (int i = layout->pages_per_node - 1; i > 0; i--)
	{
		PageEdit	part = {write->parts[i], HNSW_PAGE_START, hnsw_part_size(layout, i),
		(char *) write->node + i * HNSW_PAGE_SPACE};

		page_edit(index->rel, &part, 1);
		piramid_injection_point("hnsw-node-part");
	}
	if (BufferIsValid(write->chunk_buffer))
	{
		edits[n++] = hnsw_edit_chunk(write);
		edits[n++] = hnsw_edit_opaque(write->chunk_buffer, &write->chunk_opaque);
	}
	page_edit(index->rel, edits, n);
}

/* End a change: make it durable, or forget it. */
void
hnsw_write_end(HnswIndex *index, HnswWrite *write, bool commit)
{
	if (commit)
		write_commit(index, write);
	for (int i = index->layout.pages_per_node - 1; i > 0; i--)
		UnlockReleaseBuffer(write->parts[i]);
	if (write->parts != NULL)
		pfree(write->parts);
	pfree(write->node);
	if (BufferIsValid(write->chunk_buffer))
		UnlockReleaseBuffer(write->chunk_buffer);
	UnlockReleaseBuffer(write->buffer);
}

/*
 * Take a free slot for a new node.  The node is all zero but for its flags;
 * the caller fills it in and ends the write.
 */
HnswNodeId
hnsw_allocate(HnswIndex *index, bool upper, HnswWrite *write)
{
	const HnswLayout *layout = &index->layout;
	Buffer		buffer = hnsw_page_with_room(index, upper ? HNSW_FREE_UPPER : HNSW_FREE_BASE,
											 layout->nodes_per_page);
	Page		page = BufferGetPage(buffer);
	HnswPageOpaque opaque = HnswPageGetOpaque(page);
	int			slot = opaque->nused;
	bool		reuse = opaque->nfree > 0;

	if (reuse)
	{
		for (slot = 0; slot < opaque->nused; slot++)
			if (!(page_node(layout, page, slot)->flags & HNSW_NODE_USED))
				break;
		if (slot == opaque->nused)
			page_report_corrupt(index->rel, BufferGetBlockNumber(buffer), "a wrong count of free slots");
	}

	if (HNSW_MAX_NODE_BLOCK(layout) < BufferGetBlockNumber(buffer))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" is full", RelationGetRelationName(index->rel))));
	hnsw_check_block(index, BufferGetBlockNumber(buffer) + layout->pages_per_node - 1);
	write_start(index, HnswMakeNodeId(layout, BufferGetBlockNumber(buffer), slot), buffer, write);
	if (reuse)
		write->opaque.nfree--;
	else
		write->opaque.nused++;
	memset(write->node, 0, layout->node_size);
	write->node->flags = HNSW_NODE_USED;
	return write->id;
}

/*
 * Free a node's slot, and before it its chunks of TIDs, for reuse.  Its lock
 * is free in between: nobody wants any of them, and they may be many.
 */
void
hnsw_release(HnswIndex *index, HnswNodeId id)
{
	static const HnswNodeHeaderData none;
	const HnswLayout *layout = &index->layout;

	for (;;)
	{
		Buffer		buffer = hnsw_get_page(index->rel, node_block(index, id),
										   BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_NODE);
		Page		page = BufferGetPage(buffer);
		HnswNodeHeader node = page_node(layout, page, HnswNodeSlot(layout, id));
		bool		more = node->more_tids != 0 && hnsw_release_chunk(index, id, buffer, node);

		if (!more)
		{
			PageEdit	edit = {buffer, (char *) node - (char *) page, sizeof(none), &none};

			hnsw_free_slot(index, node->level > 0 ? HNSW_FREE_UPPER : HNSW_FREE_BASE, buffer,
						   &edit, 1);
		}
		UnlockReleaseBuffer(buffer);
		if (!more)
			return;
		piramid_injection_point("hnsw-release-chunk");
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * The numbers of the nodes in use on a block, none if it holds no nodes; -1
 * if it is empty.  ids must have room for nodes_per_page.
 */
int
hnsw_block_nodes(HnswIndex *index, BlockNumber block, HnswNodeId *ids)
{
	const HnswLayout *layout = &index->layout;
	Buffer		buffer;
	int			slots = lock_block(index, block, &buffer);
	int			n = 0;

	for (int slot = 0; slot < slots; slot++)
		if (page_node(layout, BufferGetPage(buffer), slot)->flags & HNSW_NODE_USED)
			ids[n++] = HnswMakeNodeId(layout, block, slot);
	UnlockReleaseBuffer(buffer);
	return slots < 0 ? -1 : n;
}

/*
 * Put a page to use that an interrupted extension left empty.  Nodes that
 * span pages need several at once: such a page stays as it is, and so does
 * one whose nodes could have no numbers.
 */
void
hnsw_block_reclaim(HnswIndex *index, BlockNumber block)
{
	Buffer		buffer;

	if (index->layout.pages_per_node > 1 || block > HNSW_MAX_NODE_BLOCK(&index->layout))
		return;
	buffer = ReadBufferExtended(index->rel, MAIN_FORKNUM, block, RBM_NORMAL, index->strategy);
	lock_page(buffer, BUFFER_LOCK_EXCLUSIVE, 0);
	if (PageIsNew(BufferGetPage(buffer)))
		hnsw_free_push(index, HNSW_FREE_BASE, buffer);
	UnlockReleaseBuffer(buffer);
}
