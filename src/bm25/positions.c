/*-------------------------------------------------------------------------
 *
 * positions.c
 *		Where words stand in the documents of a segment.
 *
 * Only phrases, weights and merges ask for it, so nothing is read before.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "bm25/codec.h"
#include "utils/memutils.h"

pg_noreturn static void
report_positions(Bm25Cursor *cursor)
{
	page_report_corrupt(cursor->reader->rel, cursor->reader->segment.header,
						"broken positions of words");
}

/* Find where the positions of each block begin. */
static void
find_starts(Bm25Cursor *cursor)
{
	Size		size = sizeof(uint32) * (Size) cursor->nblocks;
	uint64		end = cursor->positions + cursor->position_bytes;
	uint64		at = cursor->positions;
	MemoryContext context = GetMemoryChunkContext(cursor);
	uint32	   *bytes;

	if (cursor->position_bytes < size)
		report_positions(cursor);
	bytes = MemoryContextAllocExtended(context, size, MCXT_ALLOC_HUGE);
	bm25_stream_read(cursor->reader, BM25_POSITIONS, end - size, size, (char *) bytes);
	cursor->position_starts = MemoryContextAllocExtended(context, sizeof(uint64) *
														 ((Size) cursor->nblocks + 1),
														 MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < cursor->nblocks; i++)
	{
		cursor->position_starts[i] = at;
		at += bytes[i];
	}
	cursor->position_starts[cursor->nblocks] = at;
	if (at != end - size)
		report_positions(cursor);
	pfree(bytes);
}

/* Read the positions of the block in which the cursor stands, or of the whole list. */
static void
load_positions(Bm25Cursor *cursor)
{
	uint64		all = cursor->reader->header->bytes[BM25_POSITIONS];
	uint64		start = cursor->positions;
	uint64		size = cursor->position_bytes;

	if (start > all || size > all - start)
		report_positions(cursor);
	if (cursor->nblocks > 0)
	{
		if (cursor->position_starts == NULL)
			find_starts(cursor);
		start = cursor->position_starts[cursor->block];
		size = cursor->position_starts[cursor->block + 1] - start;
	}
	if (size > (uint64) cursor->n * BM25_MAX_POSITIONS * MAX_POSITION_BYTES)
		report_positions(cursor);
	if (cursor->position_page.bytes == NULL)
		cursor->position_page.pins = cursor->reader->pins_left-- > 0;
	if (cursor->position_page.bytes == NULL || size > cursor->position_room)
	{
		if (cursor->position_page.bytes != NULL)
			pfree(cursor->position_page.bytes);
		cursor->position_room = size * 2;
		cursor->position_page.bytes = MemoryContextAllocExtended(GetMemoryChunkContext(cursor),
																 cursor->position_room,
																 MCXT_ALLOC_HUGE);
	}
	if (cursor->position_page.pins)
		cursor->position_data = bm25_stream_near(cursor->reader, BM25_POSITIONS, start, size,
												 &cursor->position_page);
	else
	{
		bm25_stream_read(cursor->reader, BM25_POSITIONS, start, size, cursor->position_page.bytes);
		cursor->position_data = cursor->position_page.bytes;
	}
	cursor->position_block = cursor->block;
	cursor->position_size = size;
	cursor->position_at = cursor->position_next = 0;
}

/*
 * The positions of the posting at which the cursor stands, as they are stored.  They
 * stay there until the next call for this cursor.
 */
const char *
bm25_cursor_positions(Bm25Cursor *cursor, uint32 *bytes)
{
	const char *data;
	const char *start;
	const char *end;
	uint64		n = 0;

	bm25_cursor_load_tfs(cursor);
	if (cursor->position_block != cursor->block)
		load_positions(cursor);
	if (cursor->position_at > cursor->at)
		cursor->position_at = cursor->position_next = 0;
	data = cursor->position_data;
	end = data + cursor->position_size;
	while (cursor->position_at < cursor->at)
		n += position_count(cursor->tfs[cursor->position_at++]);
	start = skip_varints(data + cursor->position_next, end, n);
	if (start == NULL)
		report_positions(cursor);
	cursor->position_next = start - data;
	end = skip_positions(start, end, cursor->tfs[cursor->at]);
	if (end == NULL)
		report_positions(cursor);
	*bytes = end - start;
	return start;
}

/* Positions, and with the flag for it their weights; NULL if they are broken. */
WordEntryPos *
bm25_decode_positions(const char *bytes, uint32 size, uint32 tf, uint32 flags, int *n)
{
	WordEntryPos *positions = palloc(sizeof(WordEntryPos) * Max(position_count(tf), 1));

	*n = get_positions(bytes, bytes + size, tf, flags & BM25_HAS_WEIGHTS ? WEIGHT_BITS : 0,
					   positions);
	return *n < 0 ? NULL : positions;
}
