/*-------------------------------------------------------------------------
 *
 * bm25_page.c
 *		Pages of a bm25 index, and the two fixed ones.  Only the *_page.c files
 *		touch buffers and WAL.
 *
 * Lock order: the last page of the head, then the metapage, then the list of
 * free runs or a new page.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/generic_xlog.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/nbtxlog.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/spccache.h"

/* What prewarming leaves to all other relations: one buffer in this many. */
#define SPARED_SHARE 8

void
bm25_init_page(Page page, int kind, uint64 generation)
{
	Bm25PageOpaque opaque;

	PageInit(page, BLCKSZ, sizeof(Bm25PageOpaqueData));
	opaque = Bm25PageGetOpaque(page);
	opaque->magic = BM25_MAGIC;
	opaque->version = BM25_VERSION;
	opaque->kind = kind;
	opaque->generation = generation;
}

/* Note how many bytes of a page's contents are in use: the others are not logged. */
void
bm25_set_used(Page page, int used)
{
	((PageHeader) page)->pd_lower = (PageGetContents(page) - page) + used;
}

/* Verify that a locked page is one of ours, of this kind and (unless 0) this generation. */
static void
check_page(Relation rel, BlockNumber block, Page page, int kind, uint64 generation)
{
	Bm25PageOpaque opaque;

	if (PageIsNew(page))
		page_report_corrupt(rel, block, "an empty page");
	if (PageGetSpecialSize(page) != MAXALIGN(sizeof(Bm25PageOpaqueData)) ||
		Bm25PageGetOpaque(page)->magic != BM25_MAGIC)
		page_report_corrupt(rel, block, "a foreign page");
	opaque = Bm25PageGetOpaque(page);
	if (opaque->version < BM25_OLDEST_VERSION || opaque->version > BM25_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("index \"%s\" has format version %d at block %u, but this library reads versions %d to %d",
						RelationGetRelationName(rel), opaque->version, block,
						BM25_OLDEST_VERSION, BM25_VERSION),
				 errhint("Please REINDEX it.")));
	if (opaque->kind == kind && (generation == 0 || opaque->generation == generation))
		return;
	/* A standby that replays what reuses the page first ends the queries that could come here. */
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("canceling statement due to conflict with recovery"),
				 errdetail("Block %u of index \"%s\" has been reused meanwhile.",
						   block, RelationGetRelationName(rel))));
	page_report_corrupt(rel, block, opaque->kind == kind ?
						"a page of another generation" : "a page of the wrong kind");
}

#ifdef USE_ASSERT_CHECKING
/* May a page of a kind be locked while we have this one locked?  The order is the README's. */
static void
assert_order(Page page, BlockNumber block, void *arg)
{
	int			kind = *(int *) arg;
	int			held;

	if (PageGetSpecialSize(page) != MAXALIGN(sizeof(Bm25PageOpaqueData)) ||
		Bm25PageGetOpaque(page)->magic != BM25_MAGIC)
		return;
	held = Bm25PageGetOpaque(page)->kind;
	Assert((held == BM25_PAGE_HEAD && kind == BM25_PAGE_META) ||
		   (held == BM25_PAGE_META && kind == BM25_PAGE_FREE));
}
#endif

/* Lock a page of this kind, or with -1 of any: then no other may be locked. */
static void
lock_page(Buffer buffer, int lockmode, int kind)
{
#ifdef USE_ASSERT_CHECKING
	page_for_each_locked(assert_order, &kind);
#endif
	LockBuffer(buffer, lockmode);
}

/*
 * Verify that a block number which comes from a page, and may be broken, is one of the index,
 * which becomes no shorter: what the storage manager knew last will mostly do.
 */
static inline void
check_block(Relation rel, BlockNumber block)
{
	BlockNumber known = RelationGetSmgr(rel)->smgr_cached_nblocks[MAIN_FORKNUM];

	if ((known == InvalidBlockNumber || block >= known) && block >= RelationGetNumberOfBlocks(rel))
		page_report_corrupt(rel, block, "a link past its end");
}

/*
 * Read a block and lock it; verifies that it is there, and what it is.  Locks and pins are
 * the caller's.
 */
Buffer
bm25_get_page(Relation rel, BlockNumber block, int lockmode, int kind, uint64 generation)
{
	Buffer		buffer;

	check_block(rel, block);
	buffer = page_read(rel, block);
	lock_page(buffer, lockmode, kind);
	check_page(rel, block, BufferGetPage(buffer), kind, generation);
	return buffer;
}

/* May a block that nobody owns be what an interrupted insert has left? */
bool
bm25_is_leftover(Relation rel, BlockNumber block)
{
	Buffer		buffer = ReadBuffer(rel, block);
	Page		page = BufferGetPage(buffer);
	bool		leftover;

	lock_page(buffer, BUFFER_LOCK_SHARE, -1);
	leftover = PageIsNew(page) ||
		(PageGetSpecialSize(page) == MAXALIGN(sizeof(Bm25PageOpaqueData)) &&
		 Bm25PageGetOpaque(page)->kind == BM25_PAGE_OVERFLOW);
	UnlockReleaseBuffer(buffer);
	return leftover;
}

/*
 * Is a value the indexed column of the row that a scan has fetched last?  The row's page
 * is still pinned, so that the place of a value tells whose it is.
 */
bool
bm25_is_scanned(IndexScanDesc scan, const char *value)
{
	IndexFetchHeapData *fetched = (IndexFetchHeapData *) scan->xs_heapfetch;
	AttrNumber	column = scan->indexRelation->rd_index->indkey.values[0];
	HeapTupleData row;
	Page		page;
	ItemId		item;
	bool		is_null;
	Datum		own;

	if (column == 0 || fetched == NULL ||
		scan->heapRelation->rd_tableam != GetHeapamTableAmRoutine() ||
		!BufferIsValid(fetched->xs_cbuf) ||
		BufferGetBlockNumber(fetched->xs_cbuf) != ItemPointerGetBlockNumber(&scan->xs_heaptid))
		return false;
	page = BufferGetPage(fetched->xs_cbuf);
	if (value < (char *) page || value >= (char *) page + BLCKSZ)
		return false;
	item = PageGetItemId(page, ItemPointerGetOffsetNumber(&scan->xs_heaptid));
	row.t_data = (HeapTupleHeader) PageGetItem(page, item);
	row.t_len = ItemIdGetLength(item);
	own = heap_getattr(&row, column, RelationGetDescr(scan->heapRelation), &is_null);
	return !is_null && DatumGetPointer(own) == value;
}

/* A new block at the end, exclusively locked. */
Buffer
bm25_extend(Relation rel)
{
	Buffer		buffer;

	LockRelationForExtension(rel, ExclusiveLock);
	buffer = ReadBufferExtended(rel, MAIN_FORKNUM, P_NEW, RBM_ZERO_AND_LOCK, NULL);
	UnlockRelationForExtension(rel, ExclusiveLock);
	return buffer;
}

/* So many new blocks at the end, empty.  Returns the first one. */
BlockNumber
bm25_extend_run(Relation rel, uint32 pages)
{
	BlockNumber first;

	LockRelationForExtension(rel, ExclusiveLock);
	first = RelationGetNumberOfBlocks(rel);
	if (pages > MaxBlockNumber - first)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" would be too large", RelationGetRelationName(rel))));
	extend_with_zeros(rel, first, pages);
	UnlockRelationForExtension(rel, ExclusiveLock);
	return first;
}

/* Write a whole page that nobody else can see yet. */
void
bm25_write_page(Relation rel, BlockNumber block, int kind, uint64 generation,
				const char *data, int size)
{
	Buffer		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_ZERO_AND_LOCK, NULL);
	Page		page = BufferGetPage(buffer);

	START_CRIT_SECTION();
	bm25_init_page(page, kind, generation);
	memcpy(PageGetContents(page), data, size);
	bm25_set_used(page, size);
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(rel))
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/* Write the first pages: metapage, free runs (none), a page of the head (empty). */
void
bm25_create(Relation rel, ForkNumber fork, const Bm25MetaPageData *meta)
{
	Bm25FreePageData none = {0};
	Bm25HeadPageData head = {InvalidBlockNumber, sizeof(Bm25HeadPageData)};
	const struct
	{
		int			kind;
		uint64		generation;
		const void *data;
		int			size;
	}			pages[] = {
		{BM25_PAGE_META, 0, meta, sizeof(*meta)},
		{BM25_PAGE_FREE, 0, &none, offsetof(Bm25FreePageData, runs)},
		{BM25_PAGE_HEAD, meta->next_generation - 1, &head, sizeof(head)},
	};

	for (int i = 0; i < lengthof(pages); i++)
	{
		Buffer		buffer;
		Page		page;

		LockRelationForExtension(rel, ExclusiveLock);
		buffer = ReadBufferExtended(rel, fork, P_NEW, RBM_ZERO_AND_LOCK, NULL);
		UnlockRelationForExtension(rel, ExclusiveLock);
		page = BufferGetPage(buffer);
		Assert(BufferGetBlockNumber(buffer) == i);
		START_CRIT_SECTION();
		bm25_init_page(page, pages[i].kind, pages[i].generation);
		memcpy(PageGetContents(page), pages[i].data, pages[i].size);
		bm25_set_used(page, pages[i].size);
		MarkBufferDirty(buffer);
		if (RelationNeedsWAL(rel) || fork == INIT_FORKNUM)
			log_newpage_buffer(buffer, true);
		END_CRIT_SECTION();
		UnlockReleaseBuffer(buffer);
	}
}

/* May an index of this column's type have these flags? */
static bool
flags_fit(Relation rel, uint32 flags)
{
	if (bm25_is_sparse(rel))
		return (flags & (BM25_HAS_POSITIONS | BM25_HAS_WEIGHTS | BM25_HAS_IMPACTS)) == BM25_HAS_IMPACTS;
	return !(flags & BM25_HAS_IMPACTS) && ((flags & BM25_HAS_WEIGHTS) != 0) ==
		(rel->rd_opcintype[0] == TSVECTOROID && (flags & BM25_HAS_POSITIONS));
}

/* Does what a segment says of its documents' lengths agree?  bm25_writer_begin() computes it. */
static bool
lengths_agree(const Bm25Segment *segment)
{
	float4		avglen = (double) segment->sumlen / segment->ndocs;

	return segment->avglen == avglen &&
		segment->sumlen <= (uint64) segment->ndocs * segment->maxlen;
}

/* Verify what later steps rely on. */
static void
check_meta(Relation rel, const Bm25MetaPageData *meta)
{
	int32		typmod = TupleDescAttr(RelationGetDescr(rel), 0)->atttypmod;

	if (meta->nsegments > BM25_MAX_SEGMENTS)
		page_report_corrupt(rel, BM25_METAPAGE, "a wrong number of segments");
	/* NaN is not between two numbers. */
	if (!(meta->k1 >= 0 && meta->k1 <= 10) || !(meta->b >= 0 && meta->b <= 1) ||
		meta->head_first < BM25_FIRST_HEAD || meta->head_first == InvalidBlockNumber ||
		meta->head_last < BM25_FIRST_HEAD || meta->head_last == InvalidBlockNumber ||
		memchr(NameStr(meta->config_schema), '\0', NAMEDATALEN) == NULL ||
		memchr(NameStr(meta->config_name), '\0', NAMEDATALEN) == NULL ||
		!flags_fit(rel, meta->flags) ||
		(meta->dim != 0 && (!(meta->flags & BM25_HAS_IMPACTS) ||
							(typmod > 0 && meta->dim != typmod))))
		page_report_corrupt(rel, BM25_METAPAGE, "an impossible value");
	for (uint32 i = 0; i < meta->nsegments; i++)
	{
		const Bm25Segment *segment = &meta->segments[i];

		if (segment->ndocs == 0 || segment->ndocs == PG_UINT32_MAX ||
			segment->ndead > segment->ndocs || segment->generation >= meta->next_generation ||
			!lengths_agree(segment) ||
			(segment->width != 1 && segment->width != 2 && segment->width != 4) ||
			(segment->flags & ~BM25_HAS_NEGATIVE) !=
			(meta->flags & (BM25_HAS_POSITIONS | BM25_HAS_WEIGHTS | BM25_HAS_IMPACTS)))
			page_report_corrupt(rel, BM25_METAPAGE, "an impossible segment");
	}
}

/* Copy the metapage. */
void
bm25_meta_read(Relation rel, Bm25MetaPageData *meta)
{
	Buffer		buffer = bm25_get_page(rel, BM25_METAPAGE, BUFFER_LOCK_SHARE, BM25_PAGE_META, 0);

	memcpy(meta, PageGetContents(BufferGetPage(buffer)), sizeof(*meta));
	UnlockReleaseBuffer(buffer);
	check_meta(rel, meta);
}

/* Copy the list of free runs.  Who means to change it holds the maintenance lock. */
void
bm25_free_read(Relation rel, Bm25Space *space)
{
	Buffer		buffer = bm25_get_page(rel, BM25_FREEPAGE, BUFFER_LOCK_SHARE, BM25_PAGE_FREE, 0);
	Bm25FreePageData *list = (Bm25FreePageData *) PageGetContents(BufferGetPage(buffer));
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);

	if (list->nruns > BM25_MAX_FREE_RUNS)
		page_report_corrupt(rel, BM25_FREEPAGE, "a wrong number of free runs");
	for (uint32 i = 0; i < list->nruns; i++)
	{
		const Bm25Extent *run = &list->runs[i].run;

		if (run->first < BM25_FIRST_HEAD || run->first > nblocks ||
			run->pages > nblocks - run->first)
			page_report_corrupt(rel, BM25_FREEPAGE, "a link past its end");
	}
	space->rel = rel;
	space->lost = false;
	space->nruns = list->nruns;
	space->room = BM25_MAX_FREE_RUNS * 2;
	space->runs = palloc(sizeof(Bm25FreeRun) * space->room);
	memcpy(space->runs, list->runs, sizeof(Bm25FreeRun) * list->nruns);
	UnlockReleaseBuffer(buffer);
}

/*
 * Change the metapage, and with "space" the list of free runs, all in one record.
 * If the list had no room for some, the metapage has VACUUM look for them.  The caller
 * holds the maintenance lock.
 */
void
bm25_publish(Relation rel, Bm25MetaChange change, void *arg, const Bm25Space *space)
{
	Buffer		metabuf = bm25_get_page(rel, BM25_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
										BM25_PAGE_META, 0);
	Page		metapage = BufferGetPage(metabuf);
	int			start = PageGetContents(metapage) - metapage;
	Bm25MetaPageData meta;
	PageEdit	edits[3];
	int			n = 0;
	Buffer		freebuf = InvalidBuffer;
	char		list[BM25_SPACE];
	LocationIndex lower;

	memcpy(&meta, PageGetContents(metapage), sizeof(meta));
	change(&meta, arg);
	if (space != NULL && space->lost)
		meta.flags |= BM25_LOST;
	edits[n++] = (PageEdit) {metabuf, start, sizeof(meta), &meta};
	if (space != NULL)
	{
		Bm25FreePageData *page = (Bm25FreePageData *) list;
		int			size = offsetof(Bm25FreePageData, runs) + sizeof(Bm25FreeRun) * space->nruns;

		Assert(space->nruns <= BM25_MAX_FREE_RUNS);
		freebuf = bm25_get_page(rel, BM25_FREEPAGE, BUFFER_LOCK_EXCLUSIVE, BM25_PAGE_FREE, 0);
		page->nruns = space->nruns;
		page->reserved = 0;
		memcpy(page->runs, space->runs, sizeof(Bm25FreeRun) * space->nruns);
		lower = start + size;
		edits[n++] = (PageEdit) {freebuf, offsetof(PageHeaderData, pd_lower), sizeof(lower),
		&lower};
		edits[n++] = (PageEdit) {freebuf, start, size, list};
	}
	page_edit(rel, edits, n);
	if (BufferIsValid(freebuf))
		UnlockReleaseBuffer(freebuf);
	UnlockReleaseBuffer(metabuf);
}

/*
 * Before blocks are used again that queries older than the horizon may come to:
 * have standbys end those queries.  No record of ours could do so without a
 * resource manager, but the one of btree, whose redo does nothing else.
 */
void
bm25_log_reuse(Relation rel, BlockNumber block, FullTransactionId horizon)
{
	xl_btree_reuse_page record;

	if (!RelationNeedsWAL(rel) || !XLogStandbyInfoActive())
		return;
	memset(&record, 0, sizeof(record));
	set_reuse_record(&record, rel, block, horizon);
	XLogBeginInsert();
	XLogRegisterData((char *) &record, SizeOfBtreeReusePage);
	XLogInsert(RM_BTREE_ID, XLOG_BTREE_REUSE_PAGE);
}

/* Read an index into shared buffers, as far as others are left some; returns how many blocks. */
int64
bm25_prewarm(Relation rel)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	BlockNumber ahead = get_tablespace_maintenance_io_concurrency(rel->rd_rel->reltablespace);
	int			buffers;

	/* A temporary index has its local buffers when it has been read from. */
	ReleaseBuffer(ReadBuffer(rel, BM25_METAPAGE));
	buffers = RelationUsesLocalBuffers(rel) ? NLocBuffer : NBuffers;
	nblocks = Min(nblocks, buffers - buffers / SPARED_SHARE);
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (ahead > 0 && ahead < nblocks - block)
			(void) PrefetchBuffer(rel, MAIN_FORKNUM, block + ahead);
		ReleaseBuffer(ReadBuffer(rel, block));
	}
	return nblocks;
}
