/*-------------------------------------------------------------------------
 *
 * reader.c
 *		A segment's documents, dictionary and lists of postings.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "bm25/codec.h"
#include "miscadmin.h"

/* Lists of impacts of at most so many bytes are read as a whole. */
#define WHOLE_LIST 32768

pg_noreturn static void
report_stream(Bm25Reader *reader, const char *what)
{
	page_report_corrupt(reader->rel, reader->segment.header, what);
}

/* The bits of dead documents, all of them. */
uint8 *
bm25_dead_bits(Bm25Reader *reader)
{
	Size		size = ((Size) reader->segment.ndocs + 7) / 8;
	uint8	   *bits = palloc_extended(size + 8, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	bm25_stream_read(reader, BM25_DEAD, 0, size, (char *) bits);
	return bits;
}

/* Verify the counts of a page of the dictionary; "slot" is what an entry has at the end. */
static const Bm25DictPageData *
check_dict(Bm25Reader *reader, const char *page, int slots)
{
	const Bm25DictPageData *dict = (const Bm25DictPageData *) page;

	if (dict->used < sizeof(*dict) || dict->used + slots * sizeof(uint16) > BM25_SPACE ||
		dict->count == 0)
		report_stream(reader, "a broken page of terms");
	return dict;
}

static inline uint16
slot_offset(Bm25Reader *reader, const char *page, int slot)
{
	uint16		offset;

	memcpy(&offset, page + BM25_SPACE - (slot + 1) * sizeof(uint16), sizeof(offset));
	if (offset >= BM25_SPACE)
		report_stream(reader, "a broken page of terms");
	return offset;
}

/* Compare a term with the first one of an inner page's entry. */
static int
compare_inner(Bm25Reader *reader, const char *page, int slot, const char *term, int len)
{
	const char *p = page + slot_offset(reader, page, slot);
	uint64		n;

	p = get_varint(p, page + BM25_SPACE, &n);
	if (p == NULL || n > page + BM25_SPACE - p)
		report_stream(reader, "a broken page of terms");
	return bm25_compare_terms(term, len, p, (int) n);
}

/* An inner page, in place.  Terms that are looked up one after the other mostly need the same. */
static const char *
get_inner(Bm25Reader *reader, uint32 number)
{
	if (!BufferIsValid(reader->inner_buffer) || reader->inner_page != number)
	{
		reader->inner = bm25_stream_pin(reader, BM25_INNER, number, &reader->inner_buffer);
		reader->inner_page = number;
	}
	return reader->inner;
}

/* The leaf in which a term stands if it is there. */
static uint32
find_leaf(Bm25Reader *reader, const char *term, int len)
{
	uint32		low = 0;
	uint32		high = reader->header->bytes[BM25_INNER] / BM25_SPACE;
	const char *page;
	const Bm25DictPageData *dict;
	uint32		leaf;

	/* the last inner page that does not begin after the term */
	while (high - low > 1)
	{
		uint32		middle = (low + high) / 2;

		page = get_inner(reader, middle);
		check_dict(reader, page, 1);
		if (compare_inner(reader, page, 0, term, len) < 0)
			high = middle;
		else
			low = middle;
	}
	page = get_inner(reader, low);
	dict = check_dict(reader, page, ((const Bm25DictPageData *) page)->count);
	leaf = dict->first_leaf;
	low = 0;
	high = dict->count;
	while (high - low > 1)
	{
		uint32		middle = (low + high) / 2;

		if (compare_inner(reader, page, middle, term, len) < 0)
			high = middle;
		else
			low = middle;
	}
	return leaf + low;
}

/*
 * Read a leaf, and stand before its entry "restart", which has its whole term.  Whoever
 * looks up just one term has the leaf pinned.
 */
static void
walk_to(Bm25DictWalk *walk, uint32 leaf, int restart)
{
	if (walk->leaf != leaf)
	{
		const Bm25DictPageData *dict;

		if (walk->pinned)
			walk->page = bm25_stream_pin(walk->reader, BM25_LEAVES, leaf, &walk->buffer);
		else
		{
			if (walk->page == NULL)
				walk->page = palloc(BM25_SPACE);
			bm25_stream_page(walk->reader, BM25_LEAVES, leaf, unconstify(char *, walk->page));
		}
		dict = (const Bm25DictPageData *) walk->page;
		check_dict(walk->reader, walk->page, (dict->count + BM25_RESTART - 1) / BM25_RESTART);
		walk->leaf = leaf;
	}
	walk->entry = restart * BM25_RESTART;
	walk->next = walk->page + slot_offset(walk->reader, walk->page, restart);
}

/* The next varint of the page */
static uint64
take(Bm25DictWalk *walk)
{
	uint64		value;

	walk->next = get_varint(walk->next, walk->page + BM25_SPACE, &value);
	if (walk->next == NULL)
		report_stream(walk->reader, "a broken page of terms");
	return value;
}

/* Read the next term and its entry; false at the end. */
bool
bm25_walk_next(Bm25DictWalk *walk)
{
	Bm25Entry  *found = &walk->found;
	const char *end;
	uint64		shared;
	uint64		more;

	if (walk->leaf >= walk->nleaves)
		return false;
	if (walk->entry >= ((Bm25DictPageData *) walk->page)->count)
	{
		if (walk->leaf + 1 >= walk->nleaves)
			return false;
		CHECK_FOR_INTERRUPTS();
		walk_to(walk, walk->leaf + 1, 0);
	}
	end = walk->page + BM25_SPACE;
	shared = take(walk);
	more = take(walk);
	if (shared > walk->len || shared + more > BM25_MAX_TERM || more > end - walk->next)
		report_stream(walk->reader, "a broken page of terms");
	memcpy(walk->term + shared, walk->next, more);
	walk->next += more;
	walk->len = shared + more;
	found->df = take(walk);
	found->form = (Bm25Form) take(walk);
	if (found->df == 0 || found->df > walk->reader->segment.ndocs)
		report_stream(walk->reader, "a wrong number of postings");
	switch (found->form)
	{
		case BM25_FORM_INLINE:
			found->bytes = take(walk);
			if (found->bytes > BM25_INLINE || found->bytes > end - walk->next)
				report_stream(walk->reader, "a broken page of terms");
			memcpy(found->bytes_inline, walk->next, found->bytes);
			walk->next += found->bytes;
			break;
		case BM25_FORM_SHORT:
			found->offset = take(walk);
			found->bytes = take(walk);
			break;
		case BM25_FORM_BLOCKS:
			found->heads = take(walk);
			found->offset = take(walk);
			found->bound = (uint8) take(walk);
			break;
		default:
			report_stream(walk->reader, "a broken page of terms");
	}
	if (walk->reader->segment.flags & BM25_HAS_IMPACTS)
	{
		found->bound = PG_UINT8_MAX;
		found->greatest = (uint32) take(walk);
		if (found->greatest == 0 || found->greatest > IMPACT_MOST ||
			walk->len != BM25_DIMENSION_BYTES)
			report_stream(walk->reader, "a broken page of terms");
	}
	if (walk->reader->segment.flags & BM25_HAS_POSITIONS)
	{
		if (walk->entry % BM25_RESTART == 0)
			walk->positions = take(walk);
		found->positions = walk->positions;
		found->position_bytes = take(walk);
		walk->positions += found->position_bytes;
	}
	walk->entry++;
	return true;
}

/* Bring a walk before the last restart that is not after "from"; false if there are no terms. */
static bool
walk_near(Bm25DictWalk *walk, const char *from, int len)
{
	Bm25Reader *reader = walk->reader;
	Bm25DictPageData *dict;
	uint32		leaf;
	int			low = 0;
	int			high;

	walk->nleaves = reader->header->bytes[BM25_LEAVES] / BM25_SPACE;
	walk->leaf = walk->nleaves;
	if (walk->nleaves == 0)
		return false;
	leaf = find_leaf(reader, from, len);
	if (leaf >= walk->nleaves)
		report_stream(reader, "a broken page of terms");
	walk_to(walk, leaf, 0);
	dict = (Bm25DictPageData *) walk->page;
	high = (dict->count + BM25_RESTART - 1) / BM25_RESTART;
	while (high - low > 1)
	{
		int			middle = (low + high) / 2;
		uint64		shared;
		uint64		n;
		const char *end = walk->page + BM25_SPACE;
		const char *p = walk->page + slot_offset(reader, walk->page, middle);

		p = get_varint(p, end, &shared);
		p = p == NULL ? NULL : get_varint(p, end, &n);
		if (p == NULL || n > end - p)
			report_stream(reader, "a broken page of terms");
		if (bm25_compare_terms(from, len, p, (int) n) < 0)
			high = middle;
		else
			low = middle;
	}
	walk_to(walk, walk->leaf, low);
	return true;
}

/* Bring a walk to the first term that is not below "from". */
static void
walk_from(Bm25DictWalk *walk, const char *from, int len)
{
	if (!walk_near(walk, from, len))
		return;
	for (;;)
	{
		const char *next = walk->next;
		int			entry = walk->entry;
		uint32		leaf = walk->leaf;
		uint64		positions = walk->positions;
		char		before[BM25_MAX_TERM];
		int			before_len = walk->len;

		memcpy(before, walk->term, before_len);
		if (!bm25_walk_next(walk))
			return;
		if (bm25_compare_terms(walk->term, walk->len, from, len) < 0)
			continue;
		/* Stand before it again. */
		if (walk->leaf != leaf)
			walk_to(walk, walk->leaf, 0);
		else
		{
			walk->next = next;
			walk->entry = entry;
			walk->positions = positions;
		}
		memcpy(walk->term, before, before_len);
		walk->len = before_len;
		return;
	}
}

/* Begin a walk at the first term that is not below "from". */
void
bm25_walk_begin(Bm25DictWalk *walk, Bm25Reader *reader, const char *from, int len)
{
	memset(walk, 0, offsetof(Bm25DictWalk, term));
	walk->reader = reader;
	walk->len = 0;
	walk_from(walk, from, len);
	bm25_unpin(&reader->inner_buffer);
}

/* Look a term up.  bm25_reader_release() is the caller's. */
bool
bm25_find_term(Bm25Reader *reader, const char *term, int len, Bm25Entry *entry)
{
	Bm25DictWalk walk;
	int			order = -1;

	memset(&walk, 0, offsetof(Bm25DictWalk, term));
	walk.reader = reader;
	walk.pinned = true;
	walk.len = 0;
	if (walk_near(&walk, term, len))
		while (order < 0 && bm25_walk_next(&walk))
			order = bm25_compare_terms(walk.term, walk.len, term, len);
	if (order == 0)
		*entry = walk.found;
	bm25_unpin(&walk.buffer);
	return order == 0;
}

/* Decode a list without blocks. */
static void
decode_short(Bm25Cursor *cursor, const char *bytes, uint32 size)
{
	const char *end = bytes + size;
	uint32		doc = PG_UINT32_MAX;

	for (uint32 i = 0; i < cursor->n; i++)
	{
		uint32		gap;

		bytes = get_posting(bytes, end, &gap, &cursor->tfs[i]);
		doc += gap + 1;
		if (bytes == NULL || doc >= cursor->reader->segment.ndocs ||
			(i > 0 && doc <= cursor->docs[i - 1]))
			report_stream(cursor->reader, "a broken list of postings");
		cursor->docs[i] = doc;
	}
}

/* Memory for a cursor, or for what it reads */
static char *
take_room(Bm25Reader *reader, Size size)
{
	char	   *room = reader->room;

	size = MAXALIGN(size);
	if (size > reader->room_left)
		return palloc_extended(size, MCXT_ALLOC_HUGE);
	reader->room += size;
	reader->room_left -= size;
	return room;
}

/*
 * Read the heads of a list's blocks.  A search for a sparse vector has many lists, of which
 * few are skipped: short ones are read at once, with their data, which stand before.
 */
static void
read_heads(Bm25Cursor *cursor, const Bm25Entry *entry)
{
	Size		size = sizeof(Bm25BlockHead) * cursor->nblocks;
	uint64		data = entry->heads - entry->offset;

	if (entry->heads < entry->offset)
		report_stream(cursor->reader, "a broken list of postings");
	if (!(cursor->reader->segment.flags & BM25_HAS_IMPACTS) || data > WHOLE_LIST)
	{
		cursor->heads = (Bm25BlockHead *) take_room(cursor->reader, size);
		bm25_stream_read(cursor->reader, BM25_POSTINGS, entry->heads, size, (char *) cursor->heads);
		cursor->data_page.bytes = take_room(cursor->reader, BM25_SPACE + BLOCK_SLACK);
		cursor->data_page.pins = cursor->reader->pins_left-- > 0;
		return;
	}
	cursor->all = take_room(cursor->reader, data + size + sizeof(uint32) + BLOCK_SLACK);
	/* so that the heads are aligned */
	cursor->all += TYPEALIGN(sizeof(uint32), data) - data;
	bm25_stream_read(cursor->reader, BM25_POSTINGS, entry->offset, data + size, cursor->all);
	cursor->all_size = data;
	cursor->heads = (Bm25BlockHead *) (cursor->all + data);
}

/* Ask for the memory of what bm25_cursor_open() will read first. */
void
bm25_cursor_prefetch(Bm25Reader *reader, const Bm25Entry *entry)
{
	if (entry->df == 0 || entry->form == BM25_FORM_INLINE)
		return;
	if (entry->form == BM25_FORM_SHORT)
		bm25_stream_prefetch(reader, BM25_POSTINGS, entry->offset, entry->bytes);
	else if (entry->heads > entry->offset && entry->heads - entry->offset <= WHOLE_LIST)
		bm25_stream_prefetch(reader, BM25_POSTINGS, entry->offset, entry->heads - entry->offset);
	else
		bm25_stream_prefetch(reader, BM25_POSTINGS, entry->heads, 256);
}

/* Open the postings of a term; it stands at the first one, of which blocks are not loaded yet. */
Bm25Cursor *
bm25_cursor_open(Bm25Reader *reader, const Bm25Entry *entry)
{
	Bm25Cursor *cursor = (Bm25Cursor *) take_room(reader, sizeof(Bm25Cursor));
	char		bytes[BM25_BLOCK * 2 * MAX_VARINT];

	memset(cursor, 0, sizeof(*cursor));

	cursor->reader = reader;
	cursor->loops = bm25_loops();
	cursor->least = 1;
	cursor->df = entry->df;
	cursor->positions = entry->positions;
	cursor->position_bytes = entry->position_bytes;
	cursor->position_block = PG_UINT32_MAX;
	cursor->docs = (uint32 *) take_room(reader, sizeof(uint32) * (BM25_BLOCK * 2 + BLOCK_LANES));
	cursor->tfs = cursor->docs + BM25_BLOCK;
	cursor->bound = PG_UINT8_MAX;
	if (entry->form == BM25_FORM_BLOCKS)
	{
		cursor->nblocks = (entry->df + BM25_BLOCK - 1) / BM25_BLOCK;
		cursor->bound = entry->bound;
		cursor->data = entry->offset;
		read_heads(cursor, entry);
		for (uint32 i = 0; i < cursor->nblocks; i++)
			if (cursor->heads[i].last >= reader->segment.ndocs ||
				(i > 0 && cursor->heads[i].last <= cursor->heads[i - 1].last) ||
				cursor->heads[i].count + 1 != Min(entry->df - i * BM25_BLOCK, BM25_BLOCK) ||
				cursor->heads[i].gap_bits > 32 || cursor->heads[i].tf_bits > 32)
				report_stream(reader, "a broken list of postings");
		cursor->block = PG_UINT32_MAX;
		return cursor;
	}
	if (entry->df > BM25_BLOCK || entry->bytes > sizeof(bytes))
		report_stream(reader, "a broken list of postings");
	cursor->n = entry->df;
	cursor->has_tfs = true;
	if (entry->form == BM25_FORM_INLINE)
		memcpy(bytes, entry->bytes_inline, entry->bytes);
	else
		bm25_stream_read(reader, BM25_POSTINGS, entry->offset, entry->bytes, bytes);
	decode_short(cursor, bytes, entry->bytes);
	return cursor;
}

/* Let go of a cursor of which no positions have been read. */
static void
close_cursor(Bm25Cursor *cursor)
{
	if (cursor->nblocks > 0)
	{
		pfree(cursor->heads);
		pfree(cursor->data_page.bytes);
	}
	pfree(cursor->docs);
	pfree(cursor);
}

/* Load a block: its documents.  bm25_cursor_load_tfs does the rest. */
void
bm25_cursor_load(Bm25Cursor *cursor, uint32 block)
{
	const Bm25BlockHead *head = &cursor->heads[block];
	int			n = head->count + 1;
	bool		impacts = (cursor->reader->segment.flags & BM25_HAS_IMPACTS) != 0;
	int			size = packed_size(n, head->gap_bits) + packed_size(n, head->tf_bits) +
		(impacts ? BM25_LEAST_BYTES : 0);
	uint64		doc = block == 0 ? 0 : (uint64) cursor->heads[block - 1].last + 1;

	if (cursor->all == NULL)
		cursor->packed = bm25_stream_near(cursor->reader, BM25_POSTINGS,
										  cursor->data + head->offset, size, &cursor->data_page);
	else if (head->offset <= cursor->all_size && size <= cursor->all_size - head->offset)
		cursor->packed = cursor->all + head->offset;
	else
		report_stream(cursor->reader, "a broken list of postings");
	if (impacts)
	{
		uint16		less_one;

		memcpy(&less_one, cursor->packed, sizeof(less_one));
		cursor->packed += BM25_LEAST_BYTES;
		cursor->least = (uint32) less_one + 1;
	}
	/* Small gaps cannot overflow and still end at the last document. */
	if (head->gap_bits <= BLOCK_MAX_BITS)
	{
		cursor->loops->unpack_docs(cursor->packed, cursor->docs, n, head->gap_bits, doc);
		doc = (uint64) cursor->docs[n - 1] + 1;
	}
	else
	{
		unpack(cursor->packed, cursor->docs, n, head->gap_bits);
		for (int i = 0; i < n; i++)
		{
			doc += cursor->docs[i];
			cursor->docs[i] = doc++;
		}
	}
	if (doc != (uint64) head->last + 1)
		report_stream(cursor->reader, "a broken list of postings");
	cursor->block = block;
	cursor->n = n;
	cursor->at = 0;
	cursor->has_tfs = false;
}

/* Have the frequencies of the loaded block. */
void
bm25_cursor_load_tfs(Bm25Cursor *cursor)
{
	const Bm25BlockHead *head;

	if (cursor->has_tfs)
		return;
	head = &cursor->heads[cursor->block];
	cursor->loops->unpack(cursor->packed + packed_size(cursor->n, head->gap_bits), cursor->tfs,
						  cursor->n, head->tf_bits, cursor->least);
	cursor->has_tfs = true;
}

/* The frequency of the posting at which a cursor stands, without those of the whole block */
uint32
bm25_cursor_tf(const Bm25Cursor *cursor)
{
	const Bm25BlockHead *head;
	uint64		word;
	uint32		bit;

	if (cursor->has_tfs)
		return cursor->tfs[cursor->at];
	head = &cursor->heads[cursor->block];
	bit = cursor->at * head->tf_bits;
	memcpy(&word, cursor->packed + packed_size(cursor->n, head->gap_bits) + bit / 8, sizeof(word));
	return (uint32) (word >> bit % 8 & (((uint64) 1 << head->tf_bits) - 1)) + cursor->least;
}

/* Go on to the first posting at "doc" or after it; false if there is none. */
bool
bm25_cursor_seek(Bm25Cursor *cursor, uint32 doc)
{
	if (cursor->nblocks > 0)
	{
		uint32		block = cursor->block == PG_UINT32_MAX ? 0 : cursor->block;

		while (block < cursor->nblocks && cursor->heads[block].last < doc)
			block++;
		if (block == cursor->nblocks)
		{
			if (cursor->block != PG_UINT32_MAX)
				cursor->at = cursor->n;
			return false;
		}
		if (block != cursor->block)
			bm25_cursor_load(cursor, block);
	}
	/* Often it is the next one. */
	if (cursor->at < cursor->n && cursor->docs[cursor->at] < doc &&
		++cursor->at < cursor->n && cursor->docs[cursor->at] < doc)
		cursor->at = cursor->loops->find(cursor->docs, cursor->at + 1, cursor->n, doc);
	return cursor->at < cursor->n;
}

/* A posting of several terms: the document, shifted, and how often they occur in it */
#define ST_SORT sort_postings
#define ST_ELEMENT_TYPE uint64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* With more than this share of the documents, postings are counted, not sorted. */
#define COUNTED_SHARE 16

/* Go on to the next term with a prefix; at the end, what the walk holds is let go. */
static bool
next_with_prefix(Bm25DictWalk *walk, const char *prefix, int len)
{
	CHECK_FOR_INTERRUPTS();
	if (bm25_walk_next(walk) && walk->len >= len && memcmp(walk->term, prefix, len) == 0)
		return true;
	if (walk->page != NULL)
		pfree(unconstify(char *, walk->page));
	return false;
}

/* How many postings all terms with a prefix have; documents with several count several times. */
uint64
bm25_prefix_postings(Bm25Reader *reader, const char *prefix, int len)
{
	Bm25DictWalk walk;
	uint64		n = 0;

	bm25_walk_begin(&walk, reader, prefix, len);
	while (next_with_prefix(&walk, prefix, len))
		n += walk.found.df;
	return n;
}

/*
 * Read the postings of all terms with a prefix: into "counts", by document, or into
 * "items", which has room for n.
 */
static void
read_prefix(Bm25Reader *reader, const char *prefix, int len, uint32 *counts, uint64 *items,
			uint64 n)
{
	Bm25DictWalk walk;

	bm25_walk_begin(&walk, reader, prefix, len);
	while (next_with_prefix(&walk, prefix, len))
	{
		Bm25Cursor *cursor = bm25_cursor_open(reader, &walk.found);

		for (bool more = bm25_cursor_seek(cursor, 0); more;
			 more = bm25_cursor_seek(cursor, cursor->docs[cursor->at] + 1))
		{
			bm25_cursor_load_tfs(cursor);
			if (n-- == 0)
				report_stream(reader, "a broken dictionary");
			if (counts != NULL)
				counts[cursor->docs[cursor->at]] += cursor->tfs[cursor->at];
			else
				*items++ = (uint64) cursor->docs[cursor->at] << 32 | cursor->tfs[cursor->at];
		}
		close_cursor(cursor);
	}
}

/* Take the documents that occur, with their counts; returns how many. */
static Size
take_counted(const uint32 *counts, uint32 ndocs, uint32 *docs, uint32 *tfs)
{
	Size		n = 0;

	for (uint32 doc = 0; doc < ndocs; doc++)
		if (counts[doc] > 0)
		{
			docs[n] = doc;
			tfs[n++] = counts[doc];
		}
	return n;
}

/* Take each document of sorted postings once, with the sum of its counts; returns how many. */
static Size
take_sorted(const uint64 *items, uint64 nitems, uint32 *docs, uint32 *tfs)
{
	Size		n = 0;

	for (uint64 i = 0; i < nitems; i++)
	{
		uint32		doc = (uint32) (items[i] >> 32);

		if (n == 0 || docs[n - 1] != doc)
		{
			docs[n] = doc;
			tfs[n++] = 0;
		}
		tfs[n - 1] += (uint32) items[i];
	}
	return n;
}

/* The postings of all terms with a prefix, as of one term; NULL if there are none. */
Bm25Cursor *
bm25_cursor_of_prefix(Bm25Reader *reader, const char *prefix, int len)
{
	uint32		ndocs = reader->segment.ndocs;
	uint64		n = bm25_prefix_postings(reader, prefix, len);
	bool		counted = n > ndocs / COUNTED_SHARE;
	Size		room = Min(n, ndocs);
	Bm25Cursor *cursor;
	void	   *found;

	if (n == 0)
		return NULL;
	found = palloc_extended(counted ? sizeof(uint32) * (Size) ndocs : sizeof(uint64) * n,
							MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	read_prefix(reader, prefix, len, counted ? found : NULL, found, n);
	cursor = palloc0(sizeof(Bm25Cursor));
	cursor->reader = reader;
	cursor->loops = bm25_loops();
	cursor->least = 1;
	cursor->docs = palloc_extended(sizeof(uint32) * (room * 2 + BLOCK_LANES), MCXT_ALLOC_HUGE);
	cursor->tfs = cursor->docs + room;
	if (!counted)
		sort_postings(found, n);
	cursor->df = cursor->n = counted ? take_counted(found, ndocs, cursor->docs, cursor->tfs) :
		take_sorted(found, n, cursor->docs, cursor->tfs);
	pfree(found);
	cursor->bound = PG_UINT8_MAX;
	cursor->has_tfs = true;
	return cursor;
}
