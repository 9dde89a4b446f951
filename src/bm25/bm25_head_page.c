/*-------------------------------------------------------------------------
 *
 * bm25_head_page.c
 *		The head: a chain of pages with the newest documents, as records.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/generic_xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

/* A record as it goes to a page: its struct, then terms or the first overflow page */
typedef struct NewRecord
{
	const Bm25Record *record;
	const char *rest;
	Size		rest_size;
	Size		size;			/* with padding */
} NewRecord;

/* Write the terms of a large record to so many pages of their own; returns the first one. */
static BlockNumber
write_overflow(Relation rel, const char *terms, uint32 bytes, uint32 pages)
{
	BlockNumber next = InvalidBlockNumber;
	BlockNumber first = bm25_extend_run(rel, pages);
	char		data[BM25_SPACE];

	for (uint32 i = 0; i < pages; i++)
	{
		Bm25OverflowPageData *page = (Bm25OverflowPageData *) data;
		uint32		start = i * BM25_OVERFLOW_SPACE;

		next = i + 1 < pages ? first + i + 1 : InvalidBlockNumber;
		page->next = next;
		page->bytes = Min(BM25_OVERFLOW_SPACE, bytes - start);
		memcpy(data + sizeof(*page), terms + start, page->bytes);
		bm25_write_page(rel, first + i, BM25_PAGE_OVERFLOW, 0, data, sizeof(*page) + page->bytes);
	}
	return first;
}

static void
put_item(char *to, const NewRecord *item)
{
	memset(to, 0, item->size);
	memcpy(to, item->record, sizeof(Bm25Record));
	memcpy(to + sizeof(Bm25Record), item->rest, item->rest_size);
}

/*
 * Link a new page behind the last one, which is locked exclusively, with a record, which
 * may have overflow pages, or without; one WAL record for both and the metapage.  Returns
 * how many pages the head has now.
 */
static uint32
add_page(Relation rel, Buffer last, const NewRecord *item, uint32 overflow_pages)
{
	Buffer		metabuf = bm25_get_page(rel, BM25_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
										BM25_PAGE_META, 0);
	Bm25MetaPage meta = (Bm25MetaPage) PageGetContents(BufferGetPage(metabuf));
	int			spare = meta->spare[0].pages > 0 ? 0 : 1;
	bool		extend = meta->spare[spare].pages == 0;
	BlockNumber block = meta->spare[spare].first;
	GenericXLogState *xlog;
	Buffer		buffer;
	Page		page;
	Bm25HeadPage head;
	uint32		head_pages;

	if (!extend && (block < BM25_FIRST_HEAD || block >= RelationGetNumberOfBlocks(rel)))
		page_report_corrupt(rel, BM25_METAPAGE, "a link past its end");
	/* We would wait for ourselves. */
	if (!extend && block == BufferGetBlockNumber(last))
		page_report_corrupt(rel, BM25_METAPAGE, "a free page that is in use");
	buffer = extend ? bm25_extend(rel) :
		ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_ZERO_AND_LOCK, NULL);
	piramid_injection_point("bm25-insert-extended");
	xlog = GenericXLogStart(rel);
	page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
	head = (Bm25HeadPage) PageGetContents(page);
	meta = (Bm25MetaPage) PageGetContents(GenericXLogRegisterBuffer(xlog, metabuf, 0));
	bm25_init_page(page, BM25_PAGE_HEAD, meta->next_generation++);
	*head = (Bm25HeadPageData) {InvalidBlockNumber, sizeof(*head)};
	if (item != NULL)
	{
		put_item((char *) head + head->used, item);
		head->used += item->size;
		head->nrecords = 1;
	}
	bm25_set_used(page, head->used);
	if (!extend)
	{
		meta->spare[spare].first++;
		meta->spare[spare].pages--;
	}
	meta->head_last = BufferGetBlockNumber(buffer);
	meta->head_pages += 1 + overflow_pages;
	page = GenericXLogRegisterBuffer(xlog, last, 0);
	((Bm25HeadPage) PageGetContents(page))->next = BufferGetBlockNumber(buffer);
	head_pages = meta->head_pages;
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(metabuf);
	return head_pages;
}

/*
 * Verify the counts of a locked page of the head.  *generation is the one of the page
 * before, or 0, and becomes this one's: it is later, so that no chain is a circle.
 */
static Bm25HeadPage
check_head(Relation rel, Buffer buffer, uint64 *generation)
{
	Bm25HeadPage head = (Bm25HeadPage) PageGetContents(BufferGetPage(buffer));
	uint64		this = Bm25PageGetOpaque(BufferGetPage(buffer))->generation;

	if (this <= *generation)
		page_report_corrupt(rel, BufferGetBlockNumber(buffer),
							"a broken chain of new documents");
	*generation = this;
	if (head->used < sizeof(*head) || head->used > BM25_SPACE ||
		head->nrecords > (head->used - sizeof(*head)) / sizeof(Bm25Record) ||
		(head->next != InvalidBlockNumber && head->next >= RelationGetNumberOfBlocks(rel)))
		page_report_corrupt(rel, BufferGetBlockNumber(buffer), "a broken page of new documents");
	return head;
}

/* The last page of the head, exclusively locked. */
static Buffer
lock_last(Relation rel)
{
	Bm25MetaPageData meta;
	BlockNumber block;
	uint64		generation = 0;

	bm25_meta_read(rel, &meta);
	block = meta.head_last;
	for (;;)
	{
		Buffer		buffer = bm25_get_page(rel, block, BUFFER_LOCK_EXCLUSIVE, BM25_PAGE_HEAD, 0);
		Bm25HeadPage head = check_head(rel, buffer, &generation);

		if (head->next == InvalidBlockNumber)
			return buffer;
		/* Closed since; whoever closed it has linked the next page. */
		block = head->next;
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Write a record behind those of the last page, which is locked and has room for it. */
static void
add_record(Relation rel, Buffer last, const NewRecord *item, Buffer metabuf, uint32 head_pages)
{
	Page		page = BufferGetPage(last);
	Bm25HeadPageData head = *(Bm25HeadPage) PageGetContents(page);
	char		data[MAXALIGN(BM25_MAX_RECORD)];
	int			start = PageGetContents(page) - page;
	LocationIndex lower = start + head.used + item->size;
	PageEdit	edits[4];
	int			n = 0;

	put_item(data, item);
	edits[n++] = (PageEdit) {last, offsetof(PageHeaderData, pd_lower), sizeof(lower), &lower};
	edits[n++] = (PageEdit) {last, start + head.used, item->size, data};
	head.used += item->size;
	head.nrecords++;
	edits[n++] = (PageEdit) {last, start, sizeof(head), &head};
	if (BufferIsValid(metabuf))
		edits[n++] = (PageEdit) {metabuf, start + offsetof(Bm25MetaPageData, head_pages),
		sizeof(head_pages), &head_pages};
	page_edit(rel, edits, n);
}

/*
 * Append a record to the head.  If that added pages, returns how many pages the head has
 * now, those of large records too, else 0.
 */
uint32
bm25_head_append(Relation rel, Bm25Record *record, const char *terms)
{
	Buffer		buffer = lock_last(rel);
	Bm25HeadPage head = (Bm25HeadPage) PageGetContents(BufferGetPage(buffer));
	BlockNumber overflow;
	uint32		overflow_pages = 0;
	NewRecord	item = {record, terms, record->bytes};
	uint32		head_pages = 0;

	if (sizeof(Bm25Record) + record->bytes > BM25_MAX_RECORD)
	{
		overflow_pages = (record->bytes + BM25_OVERFLOW_SPACE - 1) / BM25_OVERFLOW_SPACE;
		overflow = write_overflow(rel, terms, record->bytes, overflow_pages);
		piramid_injection_point("bm25-insert-overflow");
		record->flags |= BM25_RECORD_OVERFLOW;
		item.rest = (const char *) &overflow;
		item.rest_size = sizeof(overflow);
	}
	item.size = bm25_record_size(record);
	if (head->used + item.size > BM25_SPACE)
		head_pages = add_page(rel, buffer, &item, overflow_pages);
	else if (overflow_pages > 0)
	{
		Buffer		metabuf = bm25_get_page(rel, BM25_METAPAGE, BUFFER_LOCK_EXCLUSIVE,
											BM25_PAGE_META, 0);
		Bm25MetaPage meta = (Bm25MetaPage) PageGetContents(BufferGetPage(metabuf));

		head_pages = meta->head_pages + overflow_pages;
		add_record(rel, buffer, &item, metabuf, head_pages);
		UnlockReleaseBuffer(metabuf);
	}
	else
		add_record(rel, buffer, &item, InvalidBuffer, 0);
	UnlockReleaseBuffer(buffer);
	return head_pages;
}

/* Let further records go to a new page. */
void
bm25_head_close(Relation rel)
{
	Buffer		buffer = lock_last(rel);

	add_page(rel, buffer, NULL, 0);
	UnlockReleaseBuffer(buffer);
}

/*
 * Copy a page of the head; "copy" has BM25_SPACE bytes.  *generation is 0 for the first
 * page, and then handed on from page to page.
 */
Bm25HeadPage
bm25_head_read(Relation rel, BlockNumber block, char *copy, uint64 *generation)
{
	Buffer		buffer = bm25_get_page(rel, block, BUFFER_LOCK_SHARE, BM25_PAGE_HEAD, 0);
	Bm25HeadPage head = check_head(rel, buffer, generation);
	const Bm25Record *record;
	char	   *end = copy + head->used;

	memcpy(copy, head, head->used);
	UnlockReleaseBuffer(buffer);
	head = (Bm25HeadPage) copy;
	record = bm25_first_record(head);
	for (uint32 i = 0; i < head->nrecords; i++)
	{
		if ((char *) record + sizeof(Bm25Record) > end ||
			bm25_record_size(record) > end - (char *) record ||
			!page_tid_is_possible(&record->tid))
			page_report_corrupt(rel, block, "a broken record of a document");
		record = (const Bm25Record *) ((char *) record + bm25_record_size(record));
	}
	return head;
}

/* Read the terms of a large record; "pages", unless NULL, takes down where they stand. */
char *
bm25_overflow_read(Relation rel, BlockNumber block, uint32 bytes, Bm25Space *pages)
{
	char	   *terms;
	uint32		got = 0;

	if (bytes / BM25_OVERFLOW_SPACE > RelationGetNumberOfBlocks(rel))
		page_report_corrupt(rel, block, "a broken record of a document");
	terms = palloc_extended(bytes + 1, MCXT_ALLOC_HUGE);
	while (got < bytes)
	{
		Buffer		buffer;
		Bm25OverflowPageData *page;

		CHECK_FOR_INTERRUPTS();
		buffer = bm25_get_page(rel, block, BUFFER_LOCK_SHARE, BM25_PAGE_OVERFLOW, 0);
		page = (Bm25OverflowPageData *) PageGetContents(BufferGetPage(buffer));
		if (page->bytes != Min(BM25_OVERFLOW_SPACE, bytes - got))
			page_report_corrupt(rel, block, "a broken record of a document");
		memcpy(terms + got, (char *) page + sizeof(*page), page->bytes);
		got += page->bytes;
		if (pages != NULL)
			bm25_space_add(pages, (Bm25Extent) {block, 1}, 0);
		block = page->next;
		UnlockReleaseBuffer(buffer);
	}
	return terms;
}

/* The terms of a record in a copy of its page: there, or read from overflow pages. */
const char *
bm25_record_terms(Relation rel, const Bm25Record *record, Bm25Space *pages)
{
	const char *rest = (const char *) record + sizeof(Bm25Record);
	BlockNumber block;

	if (!(record->flags & BM25_RECORD_OVERFLOW))
		return rest;
	memcpy(&block, rest, sizeof(block));
	return bm25_overflow_read(rel, block, record->bytes, pages);
}

/*
 * Mark the records of a page dead that the callback wants to be; returns how many,
 * and adds those that live to *live.  *block becomes the next page.
 */
uint32
bm25_head_delete(Relation rel, BlockNumber *block, uint64 *generation,
				 IndexBulkDeleteCallback callback, void *state, uint32 *live)
{
	char		copy[BM25_SPACE];
	Bm25HeadPage head;
	uint32		deleted = 0;
	uint32		offset = sizeof(*head);
	Buffer		buffer;
	Page		page;

	/* Records do not move, so the callback is asked without a lock. */
	head = bm25_head_read(rel, *block, copy, generation);
	for (uint32 i = 0; i < head->nrecords; i++)
	{
		Bm25Record *record = (Bm25Record *) (copy + offset);

		offset += bm25_record_size(record);
		if (record->flags & BM25_RECORD_DEAD)
			continue;
		if (callback(&record->tid, state))
		{
			record->flags |= BM25_RECORD_DEAD;
			deleted++;
		}
		else
			(*live)++;
	}
	if (deleted > 0)
	{
		buffer = bm25_get_page(rel, *block, BUFFER_LOCK_EXCLUSIVE, BM25_PAGE_HEAD, 0);
		page = BufferGetPage(buffer);
		/* After the page's header: that may have changed. */
		page_edit(rel, &(PageEdit) {buffer, PageGetContents(page) - page + sizeof(*head),
				  offset - sizeof(*head), copy + sizeof(*head)}, 1);
		UnlockReleaseBuffer(buffer);
	}
	/* If a page has been linked since, its rows are too new to be gone. */
	*block = head->next;
	return deleted;
}

/*
 * The blocks of the index at a moment when all of the head's are linked: whoever
 * adds some holds the last page's lock meanwhile.
 */
BlockNumber
bm25_head_settled_blocks(Relation rel)
{
	Buffer		buffer = lock_last(rel);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);

	UnlockReleaseBuffer(buffer);
	return blocks;
}
