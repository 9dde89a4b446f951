/*-------------------------------------------------------------------------
 *
 * bm25_segment_page.c
 *		Reading the streams of a segment, and marking its documents dead.
 *
 * What is read is copied, but for lengths, heap TIDs and blocks of some lists: of each, a
 * page stays pinned until the caller releases it.  No lock or pin is held between calls of a scan.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "storage/bufmgr.h"

#define CACHE_LINE 64

/* Open a segment: reads its header page. */
Bm25Reader *
bm25_reader_open(Relation rel, const Bm25Segment *segment)
{
	Bm25Reader *reader = palloc0(sizeof(Bm25Reader));
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	const Bm25Extent *extent;
	const Bm25SegmentHeader *header;
	uint32		total = 0;
	Buffer		buffer;

	page_hints_grow(nblocks);
	reader->rel = rel;
	reader->segment = *segment;
	reader->header = palloc(BM25_SPACE);
	buffer = bm25_get_page(rel, segment->header, BUFFER_LOCK_SHARE, BM25_PAGE_SEGMENT,
						   segment->generation);
	header = (Bm25SegmentHeader *) PageGetContents(BufferGetPage(buffer));
	/* Most segments have few extents. */
	for (int i = 0; i < BM25_STREAMS; i++)
		total += Min(header->nextents[i], BM25_MAX_EXTENTS);
	memcpy(reader->header, header, Min(BM25_SPACE, offsetof(Bm25SegmentHeader, extents) +
									   sizeof(Bm25Extent) * (Size) total));
	UnlockReleaseBuffer(buffer);

	total = 0;
	extent = reader->header->extents;
	for (int i = 0; i < BM25_STREAMS; i++)
	{
		uint64		pages = 0;

		reader->extents[i] = extent;
		total += reader->header->nextents[i];
		if (reader->header->nextents[i] > BM25_MAX_EXTENTS || total > BM25_MAX_EXTENTS)
			page_report_corrupt(rel, segment->header, "a broken list of blocks");
		for (uint32 j = 0; j < reader->header->nextents[i]; j++, extent++)
		{
			if (extent->first >= nblocks || extent->pages > nblocks - extent->first)
				page_report_corrupt(rel, segment->header, "a link past its end");
			pages += extent->pages;
		}
		if (reader->header->bytes[i] > pages * BM25_SPACE)
			page_report_corrupt(rel, segment->header, "a broken list of blocks");
	}
	if (reader->header->bytes[BM25_LENGTHS] != (uint64) segment->ndocs * segment->width ||
		reader->header->bytes[BM25_TIDS] != (uint64) segment->ndocs * sizeof(ItemPointerData) ||
		reader->header->bytes[BM25_DEAD] != ((uint64) segment->ndocs + 7) / 8)
		page_report_corrupt(rel, segment->header, "a stream of the wrong size");
	return reader;
}

/* The block of a page of a stream. */
static BlockNumber
find_block(Bm25Reader *reader, Bm25Stream stream, uint32 number)
{
	const Bm25Extent *extent = reader->extents[stream];

	for (uint32 i = 0; i < reader->header->nextents[stream]; i++, extent++)
	{
		if (number < extent->pages)
			return extent->first + number;
		number -= extent->pages;
	}
	page_report_corrupt(reader->rel, reader->segment.header, "a stream that is too short");
}

static Buffer
get_stream_page(Bm25Reader *reader, Bm25Stream stream, uint32 number, int lockmode)
{
	return bm25_get_page(reader->rel, find_block(reader, stream, number), lockmode,
						 BM25_PAGE_STREAM + stream, reader->segment.generation);
}

/*
 * Ask the processor for the memory of a part of a stream that will be read soon, if a hint
 * tells where it is: up to the end of its page.
 */
void
bm25_stream_prefetch(Bm25Reader *reader, Bm25Stream stream, uint64 offset, uint64 size)
{
	uint32		number = offset / BM25_SPACE;
	Size		start = MAXALIGN(SizeOfPageHeaderData) + offset % BM25_SPACE;
	Buffer	   *hint;
	char	   *page;

	if (number >= reader->header->bytes[stream] / BM25_SPACE)
		return;
	hint = page_hint(reader->rel, find_block(reader, stream, number));
	if (hint == NULL || *hint == InvalidBuffer)
		return;
	page = (char *) BufferGetPage(*hint);
	__builtin_prefetch(GetBufferDescriptor(*hint - 1), 1);
	__builtin_prefetch(page);
	__builtin_prefetch(page + BLCKSZ - sizeof(Bm25PageOpaqueData));
	for (Size at = start; at < Min(start + size, BLCKSZ); at += CACHE_LINE)
		__builtin_prefetch(page + at);
}

/* Copy a page of a stream: BM25_SPACE bytes. */
void
bm25_stream_page(Bm25Reader *reader, Bm25Stream stream, uint32 number, char *copy)
{
	Buffer		buffer = get_stream_page(reader, stream, number, BUFFER_LOCK_SHARE);

	memcpy(copy, PageGetContents(BufferGetPage(buffer)), BM25_SPACE);
	UnlockReleaseBuffer(buffer);
}

void
bm25_unpin(Buffer *buffer)
{
	if (BufferIsValid(*buffer))
		ReleaseBuffer(*buffer);
	*buffer = InvalidBuffer;
}

/*
 * A page of a stream in place, instead of what *buffer has pinned.  It stays pinned, but
 * not locked: pages of segments are not written to as long as somebody may read them.
 */
const char *
bm25_stream_pin(Bm25Reader *reader, Bm25Stream stream, uint32 number, Buffer *buffer)
{
	bm25_unpin(buffer);
	*buffer = get_stream_page(reader, stream, number, BUFFER_LOCK_SHARE);
	LockBuffer(*buffer, BUFFER_LOCK_UNLOCK);
	return PageGetContents(BufferGetPage(*buffer));
}

/* Copy a part of a stream. */
void
bm25_stream_read(Bm25Reader *reader, Bm25Stream stream, uint64 offset, Size size, char *to)
{
	uint64		bytes = reader->header->bytes[stream];

	if (offset > bytes || size > bytes - offset)
		page_report_corrupt(reader->rel, reader->segment.header,
							"a place past the end of a stream");
	while (size > 0)
	{
		int			start = offset % BM25_SPACE;
		Size		n = Min(BM25_SPACE - start, size);
		Buffer		buffer = get_stream_page(reader, stream, offset / BM25_SPACE,
											 BUFFER_LOCK_SHARE);

		memcpy(to, PageGetContents(BufferGetPage(buffer)) + start, n);
		UnlockReleaseBuffer(buffer);
		to += n;
		offset += n;
		size -= n;
	}
}

/*
 * A part of a stream.  Of a page that was asked for the last time, too, a copy is kept; or
 * the page stays pinned, until the caller calls bm25_unpin(), if "kept->pins" tells so.
 * "kept->bytes" has room for a page, and BLOCK_SLACK bytes that may be read behind.
 */
const char *
bm25_stream_near(Bm25Reader *reader, Bm25Stream stream, uint64 offset, int size, Bm25Kept *kept)
{
	uint32		number = offset / BM25_SPACE;
	int			start = offset % BM25_SPACE;

	if (kept->pins && start + size + BLOCK_SLACK <= BM25_SPACE &&
		offset + size <= reader->header->bytes[stream])
	{
		if (number + 1 != kept->number)
			kept->page = bm25_stream_pin(reader, stream, number, &kept->buffer);
		kept->number = number + 1;
		return kept->page + start;
	}
	if (kept->pins)
	{
		bm25_stream_read(reader, stream, offset, size, kept->bytes);
		return kept->bytes;
	}
	if (number + 1 == kept->number && start + size <= BM25_SPACE &&
		offset + size <= reader->header->bytes[stream])
	{
		if (!kept->whole)
			bm25_stream_page(reader, stream, number, kept->bytes);
		kept->whole = true;
		return kept->bytes + start;
	}
	kept->number = 0;
	bm25_stream_read(reader, stream, offset, size, kept->bytes);
	kept->number = number + 1;
	kept->whole = false;
	return kept->bytes;
}

/* Have the lengths around a document where bm25_length() finds them, in a pinned page. */
void
bm25_pin_lengths(Bm25Reader *reader, uint32 doc)
{
	uint32		per_page = BM25_SPACE / reader->segment.width;
	uint32		number = doc / per_page;

	const char *page;

	reader->nlengths = 0;
	page = bm25_stream_pin(reader, BM25_LENGTHS, number, &reader->lengths_buffer);
	reader->lengths = (Bm25Lengths) {page, reader->segment.width, number * per_page};
	reader->nlengths = per_page;
}

static void
check_tid(const Bm25Reader *reader, const ItemPointerData *tid)
{
	if (unlikely(!page_tid_is_possible(tid)))
		page_report_corrupt(reader->rel, reader->segment.header, "an impossible heap TID");
}

/* The heap TIDs of n documents, from the first one on. */
void
bm25_tids(Bm25Reader *reader, uint32 first, int n, ItemPointer tids)
{
	bm25_stream_read(reader, BM25_TIDS, (uint64) first * sizeof(ItemPointerData),
					 n * sizeof(ItemPointerData), (char *) tids);
	for (int i = 0; i < n; i++)
		check_tid(reader, &tids[i]);
}

/* The heap TID of a document, out of a page that stays pinned likewise. */
void
bm25_tid(Bm25Reader *reader, uint32 doc, ItemPointer tid)
{
	uint64		offset = (uint64) doc * sizeof(ItemPointerData);
	uint32		number = offset / BM25_SPACE;
	int			start = offset % BM25_SPACE;

	if (start + sizeof(ItemPointerData) > BM25_SPACE)
	{
		bm25_tids(reader, doc, 1, tid);
		return;
	}
	if (!BufferIsValid(reader->tids_buffer) || reader->tids_page != number)
	{
		(void) bm25_stream_pin(reader, BM25_TIDS, number, &reader->tids_buffer);
		reader->tids_page = number;
	}
	memcpy(tid, PageGetContents(BufferGetPage(reader->tids_buffer)) + start,
		   sizeof(ItemPointerData));
	check_tid(reader, tid);
}

/* Let go of what bm25_length(), bm25_tid() and bm25_find_term() have pinned. */
void
bm25_reader_release(Bm25Reader *reader)
{
	bm25_unpin(&reader->lengths_buffer);
	reader->nlengths = 0;
	bm25_unpin(&reader->tids_buffer);
	bm25_unpin(&reader->inner_buffer);
}

/* Replace a page of the bits of dead documents. */
void
bm25_set_dead(Bm25Reader *reader, uint32 number, const char *bits)
{
	Buffer		buffer = get_stream_page(reader, BM25_DEAD, number, BUFFER_LOCK_EXCLUSIVE);
	Page		page = BufferGetPage(buffer);
	uint64		bytes = reader->header->bytes[BM25_DEAD] - (uint64) number * BM25_SPACE;

	page_edit(reader->rel, &(PageEdit) {buffer, PageGetContents(page) - page,
			  Min(BM25_SPACE, bytes), bits}, 1);
	UnlockReleaseBuffer(buffer);
}
