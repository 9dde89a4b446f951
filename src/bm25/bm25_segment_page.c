/*-------------------------------------------------------------------------
 *
 * bm25_segment_page.c
 *		Reading the streams of a segment, and marking its documents dead.
 *
 * What is read is copied, so that no lock or pin is held between calls.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "storage/bufmgr.h"

/* Open a segment: reads its header page. */
Bm25Reader *
bm25_reader_open(Relation rel, const Bm25Segment *segment)
{
	Bm25Reader *reader = palloc0(sizeof(Bm25Reader));
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	const Bm25Extent *extent;
	uint32		total = 0;
	Buffer		buffer;

	if (segment->header >= nblocks)
		page_report_corrupt(rel, BM25_METAPAGE, "a link past its end");
	reader->rel = rel;
	reader->segment = *segment;
	reader->header = palloc(BM25_SPACE);
	buffer = bm25_get_page(rel, segment->header, BUFFER_LOCK_SHARE, BM25_PAGE_SEGMENT,
						   segment->generation);
	memcpy(reader->header, PageGetContents(BufferGetPage(buffer)), BM25_SPACE);
	UnlockReleaseBuffer(buffer);

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

/* Copy a page of a stream: BM25_SPACE bytes. */
void
bm25_stream_page(Bm25Reader *reader, Bm25Stream stream, uint32 number, char *copy)
{
	Buffer		buffer = get_stream_page(reader, stream, number, BUFFER_LOCK_SHARE);

	memcpy(copy, PageGetContents(BufferGetPage(buffer)), BM25_SPACE);
	UnlockReleaseBuffer(buffer);
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
