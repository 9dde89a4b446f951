/*-------------------------------------------------------------------------
 *
 * writer.c
 *		Writing a segment: first its documents, then its terms, ascending, with
 *		the postings of each.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "bm25/codec.h"
#include "miscadmin.h"

/* A stream takes runs of this part of what it has, so that it has few of them. */
#define RUN_SHARE 4
#define MAX_RUN 1024

/* A stream while it is written */
typedef struct Stream
{
	uint64		bytes;
	char	   *page;			/* the last one, which is not full */
	Bm25Extent *extents;
	int			nextents;
	uint32		pages;			/* written */
	uint32		room;			/* pages of all extents */
} Stream;

struct Bm25Writer
{
	Bm25Space  *space;
	Bm25Segment segment;
	Bm25Norm	norm;
	Stream		streams[BM25_STREAMS];
	Bm25Reader *lengths;		/* reads what has been written of them */
	uint32		documents;
	/* the term in work */
	char		term[BM25_MAX_TERM];
	int			len;
	uint32		df;
	uint32		docs[BM25_BLOCK];
	uint32		tfs[BM25_BLOCK];
	uint32		n;				/* of these */
	uint32		last;			/* the document before these */
	uint64		data;			/* where its blocks begin */
	Bm25BlockHead *heads;
	uint32		nheads;
	uint32		heads_room;
	uint64		positions;		/* where the term's begin */
	uint64		block_positions;	/* and those of the block in work */
	uint32	   *position_bytes; /* of each block */
	uint32	   *greatest;		/* impact of each block */
	/* the leaf in work */
	char		leaf[BM25_SPACE];
	char		before[BM25_MAX_TERM];	/* the term before in it */
	int			before_len;
	char		first[BM25_MAX_TERM];	/* of the leaf */
	int			first_len;
	char		inner[BM25_SPACE];
};

/* Write a page of a stream. */
static void
write_page(Bm25Writer *writer, Bm25Stream number, int size)
{
	Stream	   *stream = &writer->streams[number];
	Bm25Extent *last;

	CHECK_FOR_INTERRUPTS();
	if (stream->pages == stream->room)
	{
		Bm25Extent	run = bm25_space_take(writer->space,
										  Min(MAX_RUN, Max(1, stream->pages / RUN_SHARE)), false);

		last = stream->nextents > 0 ? &stream->extents[stream->nextents - 1] : NULL;
		if (last != NULL && last->first + last->pages == run.first)
			last->pages += run.pages;
		else if (stream->nextents < BM25_MAX_EXTENTS / BM25_STREAMS)
			stream->extents[stream->nextents++] = run;
		else
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("index \"%s\" is too scattered for a segment of this size",
							RelationGetRelationName(writer->space->rel)),
					 errhint("Please REINDEX it.")));
		stream->room += run.pages;
	}
	last = &stream->extents[stream->nextents - 1];
	bm25_write_page(writer->space->rel, last->first + last->pages - (stream->room - stream->pages),
					BM25_PAGE_STREAM + number, writer->segment.generation, stream->page, size);
	stream->pages++;
}

/* Append to a stream. */
static void
append(Bm25Writer *writer, Bm25Stream number, const char *data, Size size)
{
	Stream	   *stream = &writer->streams[number];

	while (size > 0)
	{
		int			start = stream->bytes % BM25_SPACE;
		Size		n = Min(BM25_SPACE - start, size);

		memcpy(stream->page + start, data, n);
		stream->bytes += n;
		data += n;
		size -= n;
		if (start + n == BM25_SPACE)
			write_page(writer, number, BM25_SPACE);
	}
}

/* Write the last page of a stream; what its runs have more goes back. */
static void
end_stream(Bm25Writer *writer, Bm25Stream number)
{
	Stream	   *stream = &writer->streams[number];
	uint32		rest;

	if (stream->bytes % BM25_SPACE > 0)
		write_page(writer, number, stream->bytes % BM25_SPACE);
	rest = stream->room - stream->pages;
	if (rest > 0)
	{
		Bm25Extent *last = &stream->extents[stream->nextents - 1];

		last->pages -= rest;
		stream->room -= rest;
		bm25_space_add(writer->space, (Bm25Extent) {last->first + last->pages, rest}, 0);
	}
	writer->segment.npages += stream->pages;
}

/*
 * Begin a segment of so many documents, lengths and longest document as "sizes"
 * tells; bm25_writer_document is called for each of them, then the terms follow.
 */
Bm25Writer *
bm25_writer_begin(Bm25Space *space, const Bm25MetaPageData *meta, const Bm25Segment *sizes)
{
	Bm25Writer *writer = palloc0(sizeof(Bm25Writer));

	writer->space = space;
	writer->segment.generation = meta->building;
	writer->segment.ndocs = sizes->ndocs;
	writer->segment.sumlen = sizes->sumlen;
	writer->segment.maxlen = sizes->maxlen;
	writer->segment.flags = meta->flags & (BM25_HAS_POSITIONS | BM25_HAS_WEIGHTS | BM25_HAS_IMPACTS);
	writer->segment.width = sizes->maxlen <= PG_UINT8_MAX ? 1 :
		sizes->maxlen <= PG_UINT16_MAX ? 2 : 4;
	writer->segment.avglen = sizes->ndocs == 0 ? 0 : (double) sizes->sumlen / sizes->ndocs;
	writer->norm = bm25_norm(meta->k1, meta->b, writer->segment.avglen);
	for (int i = 0; i < BM25_STREAMS; i++)
	{
		writer->streams[i].page = palloc0(BM25_SPACE);
		writer->streams[i].extents = palloc(sizeof(Bm25Extent) * (BM25_MAX_EXTENTS / BM25_STREAMS));
	}
	((Bm25DictPage) writer->leaf)->used = sizeof(Bm25DictPageData);
	((Bm25DictPage) writer->inner)->used = sizeof(Bm25DictPageData);
	return writer;
}

/* Write a header as far as "streams" go, and read lengths by it. */
static Bm25SegmentHeader *
make_header(Bm25Writer *writer, int streams)
{
	Bm25SegmentHeader *header = palloc0(BM25_SPACE);
	uint32		n = 0;

	for (int i = 0; i < streams; i++)
	{
		Stream	   *stream = &writer->streams[i];

		header->bytes[i] = stream->bytes;
		header->nextents[i] = stream->nextents;
		memcpy(&header->extents[n], stream->extents, sizeof(Bm25Extent) * stream->nextents);
		n += stream->nextents;
	}
	return header;
}

/* Append a document; the last one ends the streams of documents. */
void
bm25_writer_document(Bm25Writer *writer, ItemPointer tid, uint32 length)
{
	uint8		one = length;
	uint16		two = length;
	const void *bytes = writer->segment.width == 1 ? (void *) &one :
		writer->segment.width == 2 ? (void *) &two : (void *) &length;

	StaticAssertStmt(BM25_SPACE % 4 == 0, "a length does not straddle pages");
	append(writer, BM25_LENGTHS, bytes, writer->segment.width);
	append(writer, BM25_TIDS, (char *) tid, sizeof(*tid));
	if (writer->documents++ % 8 == 0)
		append(writer, BM25_DEAD, "", 1);
	if (writer->documents < writer->segment.ndocs)
		return;
	for (int i = BM25_LENGTHS; i <= BM25_DEAD; i++)
		end_stream(writer, i);
	writer->lengths = palloc0(sizeof(Bm25Reader));
	writer->lengths->rel = writer->space->rel;
	writer->lengths->segment = writer->segment;
	writer->lengths->header = make_header(writer, BM25_LENGTHS + 1);
	writer->lengths->extents[BM25_LENGTHS] = writer->lengths->header->extents;
}

/* Write the inner page in work. */
static void
write_inner(Bm25Writer *writer)
{
	Bm25DictPage inner = (Bm25DictPage) writer->inner;

	append(writer, BM25_INNER, writer->inner, BM25_SPACE);
	memset(writer->inner, 0, BM25_SPACE);
	inner->used = sizeof(Bm25DictPageData);
}

/* Write the leaf in work, and an entry of it to the inner page. */
static void
write_leaf(Bm25Writer *writer)
{
	Bm25DictPage leaf = (Bm25DictPage) writer->leaf;
	Bm25DictPage inner = (Bm25DictPage) writer->inner;
	char		entry[MAX_VARINT + BM25_MAX_TERM];
	char	   *end = put_varint(entry, writer->first_len);
	uint16		offset;

	memcpy(end, writer->first, writer->first_len);
	end += writer->first_len;
	if (inner->used + (end - entry) + (inner->count + 1) * sizeof(uint16) > BM25_SPACE)
		write_inner(writer);
	if (inner->count == 0)
		inner->first_leaf = writer->streams[BM25_LEAVES].bytes / BM25_SPACE;
	offset = inner->used;
	memcpy(writer->inner + offset, entry, end - entry);
	inner->used += end - entry;
	inner->count++;
	memcpy(writer->inner + BM25_SPACE - inner->count * sizeof(uint16), &offset, sizeof(offset));

	append(writer, BM25_LEAVES, writer->leaf, BM25_SPACE);
	memset(writer->leaf, 0, BM25_SPACE);
	leaf->used = sizeof(Bm25DictPageData);
	leaf->count = 0;
}

/* Append the entry of the term in work to the dictionary. */
static void
add_entry(Bm25Writer *writer, const char *rest, int rest_size)
{
	Bm25DictPage leaf = (Bm25DictPage) writer->leaf;
	char		entry[3 * MAX_VARINT + BM25_MAX_TERM + 7 * MAX_VARINT + BM25_INLINE];
	char	   *end;

	for (;;)
	{
		bool		restart = leaf->count % BM25_RESTART == 0;
		int			slots = leaf->count / BM25_RESTART + 1;
		int			shared = 0;
		uint16		offset = leaf->used;

		if (!restart)
			while (shared < Min(writer->len, writer->before_len) &&
				   writer->term[shared] == writer->before[shared])
				shared++;
		end = put_varint(entry, shared);
		end = put_varint(end, writer->len - shared);
		memcpy(end, writer->term + shared, writer->len - shared);
		end = put_varint(end + writer->len - shared, writer->df);
		memcpy(end, rest, rest_size);
		end += rest_size;
		if (writer->segment.flags & BM25_HAS_POSITIONS)
		{
			if (restart)
				end = put_varint(end, writer->positions);
			end = put_varint(end, writer->streams[BM25_POSITIONS].bytes - writer->positions);
		}
		if (leaf->used + (end - entry) + slots * sizeof(uint16) > BM25_SPACE)
		{
			write_leaf(writer);
			continue;
		}
		if (restart)
			memcpy(writer->leaf + BM25_SPACE - slots * sizeof(uint16), &offset, sizeof(offset));
		break;
	}
	if (leaf->count == 0)
	{
		memcpy(writer->first, writer->term, writer->len);
		writer->first_len = writer->len;
	}
	memcpy(writer->leaf + leaf->used, entry, end - entry);
	leaf->used += end - entry;
	leaf->count++;
	memcpy(writer->before, writer->term, writer->len);
	writer->before_len = writer->len;
	writer->segment.nterms++;
}

/* Have room for the head of one more block. */
static void
grow_heads(Bm25Writer *writer)
{
	uint32		room = Max(64, writer->heads_room * 2);

	if (writer->nheads < writer->heads_room)
		return;
	if (writer->heads == NULL)
	{
		writer->heads = palloc(sizeof(Bm25BlockHead) * room);
		writer->position_bytes = palloc(sizeof(uint32) * room);
		writer->greatest = palloc(sizeof(uint32) * room);
	}
	else
	{
		writer->heads = repalloc_huge(writer->heads, sizeof(Bm25BlockHead) * room);
		writer->position_bytes = repalloc_huge(writer->position_bytes, sizeof(uint32) * room);
		writer->greatest = repalloc_huge(writer->greatest, sizeof(uint32) * room);
	}
	writer->heads_room = room;
}

/* The bound of the postings in work; of impacts, end_term() sets it. */
static uint8
block_bound(Bm25Writer *writer)
{
	float		best = 0;

	if (writer->segment.flags & BM25_HAS_IMPACTS)
		return 0;
	for (uint32 i = 0; i < writer->n; i++)
		best = Max(best, bm25_part(writer->norm, writer->tfs[i],
								   bm25_length(writer->lengths, writer->docs[i])));
	return (uint8) Min(best * 256, PG_UINT8_MAX);
}

/* Write the postings in work as a block. */
static void
write_block(Bm25Writer *writer)
{
	bool		impacts = (writer->segment.flags & BM25_HAS_IMPACTS) != 0;
	Bm25BlockHead *head;
	uint32		gaps[BM25_BLOCK];
	uint32		all_gaps = 0;
	uint32		all_tfs = 0;
	uint32		least = impacts ? PG_UINT32_MAX : 1;
	uint32		greatest = 0;
	char		data[BM25_BLOCK * sizeof(uint32) + PACK_SLACK];

	grow_heads(writer);
	if (writer->nheads == 0)
	{
		writer->data = writer->streams[BM25_POSTINGS].bytes;
		writer->last = PG_UINT32_MAX;
	}
	writer->position_bytes[writer->nheads] =
		writer->streams[BM25_POSITIONS].bytes - writer->block_positions;
	writer->block_positions = writer->streams[BM25_POSITIONS].bytes;
	for (uint32 i = 0; i < writer->n; i++)
	{
		all_gaps |= gaps[i] = writer->docs[i] - writer->last - 1;
		writer->last = writer->docs[i];
		least = Min(least, writer->tfs[i]);
		greatest = Max(greatest, writer->tfs[i]);
	}
	writer->greatest[writer->nheads] = greatest;
	head = &writer->heads[writer->nheads++];
	head->bound = block_bound(writer);
	for (uint32 i = 0; i < writer->n; i++)
		all_tfs |= writer->tfs[i] -= least;
	head->last = writer->last;
	head->offset = writer->streams[BM25_POSTINGS].bytes - writer->data;
	head->gap_bits = bits_needed(all_gaps);
	head->tf_bits = bits_needed(all_tfs);
	head->count = writer->n - 1;
	if (writer->streams[BM25_POSTINGS].bytes - writer->data > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" has too many documents with one word",
						RelationGetRelationName(writer->space->rel))));
	if (impacts)
	{
		uint16		less_one = least - 1;

		StaticAssertStmt(IMPACT_MOST <= PG_UINT16_MAX, "disk format");
		append(writer, BM25_POSTINGS, (char *) &less_one, BM25_LEAST_BYTES);
	}
	pack(data, gaps, writer->n, head->gap_bits);
	append(writer, BM25_POSTINGS, data, packed_size(writer->n, head->gap_bits));
	pack(data, writer->tfs, writer->n, head->tf_bits);
	append(writer, BM25_POSTINGS, data, packed_size(writer->n, head->tf_bits));
	writer->n = 0;
}

/*
 * Set the bounds of the blocks of impacts, as shares of the list's greatest.  Returns
 * that, also of a list without blocks.
 */
static uint32
bound_impacts(Bm25Writer *writer)
{
	uint32		greatest = 0;
	float		most;

	for (uint32 i = 0; i < writer->nheads; i++)
		greatest = Max(greatest, writer->greatest[i]);
	for (uint32 i = 0; i < writer->n; i++)
		greatest = Max(greatest, writer->tfs[i]);
	most = bm25_impact_half(greatest);
	for (uint32 i = 0; i < writer->nheads; i++)
		writer->heads[i].bound = (uint8) Min(bm25_impact_half(writer->greatest[i]) / most * 256,
											 PG_UINT8_MAX);
	return greatest;
}

/* End the term in work. */
static void
end_term(Bm25Writer *writer)
{
	char		rest[1 + 4 * MAX_VARINT + BM25_INLINE];
	char	   *end = rest;
	uint32		greatest = 0;

	if (writer->df == 0)
		return;
	if (writer->nheads > 0 && writer->n > 0)
		write_block(writer);
	if (writer->segment.flags & BM25_HAS_IMPACTS)
		greatest = bound_impacts(writer);
	if (writer->nheads > 0)
	{
		uint8		bound = 0;

		for (uint32 i = 0; i < writer->nheads; i++)
			bound = Max(bound, writer->heads[i].bound);
		end = put_varint(end, BM25_FORM_BLOCKS);
		end = put_varint(end, writer->streams[BM25_POSTINGS].bytes);
		end = put_varint(end, writer->data);
		end = put_varint(end, bound);
		append(writer, BM25_POSTINGS, (char *) writer->heads,
			   sizeof(Bm25BlockHead) * (Size) writer->nheads);
		if (writer->segment.flags & BM25_HAS_POSITIONS)
			append(writer, BM25_POSITIONS, (char *) writer->position_bytes,
				   sizeof(uint32) * (Size) writer->nheads);
	}
	else
	{
		char		bytes[BM25_BLOCK * 2 * MAX_VARINT];
		char	   *p = bytes;
		uint32		last = PG_UINT32_MAX;

		for (uint32 i = 0; i < writer->n; i++)
		{
			p = put_posting(p, writer->docs[i] - last - 1, writer->tfs[i]);
			last = writer->docs[i];
		}
		if (p - bytes <= BM25_INLINE)
		{
			end = put_varint(end, BM25_FORM_INLINE);
			end = put_varint(end, p - bytes);
			memcpy(end, bytes, p - bytes);
			end += p - bytes;
		}
		else
		{
			end = put_varint(end, BM25_FORM_SHORT);
			end = put_varint(end, writer->streams[BM25_POSTINGS].bytes);
			end = put_varint(end, p - bytes);
			append(writer, BM25_POSTINGS, bytes, p - bytes);
		}
	}
	if (writer->segment.flags & BM25_HAS_IMPACTS)
		end = put_varint(end, greatest);
	add_entry(writer, rest, end - rest);
}

/* Begin a term, above the one before. */
void
bm25_writer_term(Bm25Writer *writer, const char *term, int len)
{
	end_term(writer);
	memcpy(writer->term, term, len);
	writer->len = len;
	if (writer->segment.flags & BM25_HAS_IMPACTS && *term & 0x80)
		writer->segment.flags |= BM25_HAS_NEGATIVE;
	writer->df = 0;
	writer->n = 0;
	writer->nheads = 0;
	writer->positions = writer->block_positions = writer->streams[BM25_POSITIONS].bytes;
}

/* Append a posting of the term, of a document above the one before. */
void
bm25_writer_posting(Bm25Writer *writer, const Bm25Posting *posting)
{
	/* A list of just one block has no blocks. */
	if (writer->n == BM25_BLOCK)
		write_block(writer);
	writer->docs[writer->n] = posting->doc;
	writer->tfs[writer->n++] = posting->tf;
	writer->df++;
	append(writer, BM25_POSITIONS, posting->positions, posting->position_bytes);
}

/* Write what is in work, and the header; tells what the metapage is to say. */
void
bm25_writer_end(Bm25Writer *writer, Bm25Segment *segment)
{
	Bm25SegmentHeader *header;
	Bm25Extent	run;

	end_term(writer);
	bm25_reader_release(writer->lengths);
	if (((Bm25DictPage) writer->leaf)->count > 0)
		write_leaf(writer);
	if (((Bm25DictPage) writer->inner)->count > 0)
		write_inner(writer);
	for (int i = BM25_LEAVES; i < BM25_STREAMS; i++)
		end_stream(writer, i);
	header = make_header(writer, BM25_STREAMS);
	run = bm25_space_take(writer->space, 1, true);
	writer->segment.header = run.first;
	writer->segment.npages++;
	bm25_write_page(writer->space->rel, run.first, BM25_PAGE_SEGMENT, writer->segment.generation,
					(char *) header, BM25_SPACE);
	*segment = writer->segment;
}
