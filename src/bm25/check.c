/*-------------------------------------------------------------------------
 *
 * check.c
 *		Reads a whole index and verifies what its pages say, for
 *		piramid_bm25_check() and piramid_check().
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"
#include "check/check.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/*
 * What a document has is compared with its row by sums of hashes: of its words with how
 * often they occur, and of where they stand.  The dictionary is gone through word by word,
 * so that the prints of many documents grow at once.
 */
typedef struct Print
{
	uint64		words;
	uint64		places;
} Print;

static void
add_to_print(Print *print, const char *term, int len, uint32 tf, const char *positions, uint32 size)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) term, len, tf);

	print->words += hash;
	print->places += hash_bytes_extended((const unsigned char *) positions, size, hash);
}

/* A segment that is verified, with prints of its documents "first" to "first + n - 1", or none */
typedef struct SegmentCheck
{
	Bm25Reader *reader;
	Bm25Norm	norm;
	uint32		first;
	uint32		n;
	Print	   *prints;
} SegmentCheck;

/* Verify the positions of the posting at which a cursor stands; returns them. */
static const char *
check_positions(Bm25Cursor *cursor, uint32 *size)
{
	const char *bytes = bm25_cursor_positions(cursor, size);
	int			n;
	WordEntryPos *positions = bm25_decode_positions(bytes, *size, cursor->tfs[cursor->at],
													cursor->reader->segment.flags, &n);

	if (positions == NULL)
		page_report_corrupt(cursor->reader->rel, cursor->reader->segment.header,
							"broken positions of words");
	pfree(positions);
	return bytes;
}

/* The share of what its bound is one of that a posting has; verifies its frequency. */
static float
posting_share(const SegmentCheck *check, const Bm25Entry *entry, uint32 tf, uint32 length)
{
	Bm25Reader *reader = check->reader;

	if (reader->segment.flags & BM25_HAS_IMPACTS)
	{
		if (tf == 0 || tf > entry->greatest || length == 0)
			page_report_corrupt(reader->rel, reader->segment.header, "a broken impact");
		return bm25_impact_half(tf) / bm25_impact_half(entry->greatest);
	}
	if (tf == 0 || tf > length)
		page_report_corrupt(reader->rel, reader->segment.header,
							"a posting that its document is too short for");
	return bm25_part(check->norm, tf, length);
}

/* Verify the posting at which a cursor stands; returns the bytes of its positions. */
static uint32
check_posting(SegmentCheck *check, Bm25Cursor *cursor, const Bm25DictWalk *walk)
{
	Bm25Reader *reader = check->reader;
	uint32		doc = cursor->docs[cursor->at];
	uint32		tf = cursor->tfs[cursor->at];
	float		share;
	const char *positions = NULL;
	uint32		size = 0;

	if (doc >= reader->segment.ndocs)
		page_report_corrupt(reader->rel, reader->segment.header, "a posting of no document");
	share = posting_share(check, &walk->found, tf, bm25_length(reader, doc));
	if (cursor->nblocks > 0 &&
		(share * 256 > cursor->heads[cursor->block].bound + 1 ||
		 cursor->heads[cursor->block].bound > walk->found.bound))
		page_report_corrupt(reader->rel, reader->segment.header, "a wrong bound of a block");
	if (reader->segment.flags & BM25_HAS_POSITIONS)
		positions = check_positions(cursor, &size);
	if (check->prints != NULL && doc - check->first < check->n)
		add_to_print(&check->prints[doc - check->first], walk->term, walk->len, tf, positions, size);
	return size;
}

/*
 * Verify a term's postings: their number and order, the bounds of their blocks, their
 * positions.
 */
static void
check_postings(SegmentCheck *check, const Bm25DictWalk *walk)
{
	Bm25Reader *reader = check->reader;
	Bm25Cursor *cursor = bm25_cursor_open(reader, &walk->found);
	uint64		position_bytes = sizeof(uint32) * (uint64) cursor->nblocks;
	uint64		n = 0;
	uint32		greatest = 0;

	for (uint32 block = 0; block < Max(cursor->nblocks, 1); block++)
	{
		if (cursor->nblocks > 0)
			bm25_cursor_load(cursor, block);
		bm25_cursor_load_tfs(cursor);
		for (uint32 i = 0; i < cursor->n; i++)
		{
			greatest = Max(greatest, cursor->tfs[i]);
			cursor->at = i;
			position_bytes += check_posting(check, cursor, walk);
		}
		n += cursor->n;
	}
	if (reader->segment.flags & BM25_HAS_POSITIONS && position_bytes != walk->found.position_bytes)
		page_report_corrupt(reader->rel, reader->segment.header, "broken positions of words");
	if (reader->segment.flags & BM25_HAS_IMPACTS && greatest != walk->found.greatest)
		page_report_corrupt(reader->rel, reader->segment.header, "a wrong bound of a list");
	if (n != walk->found.df)
		page_report_corrupt(reader->rel, reader->segment.header, "a wrong number of postings");
}

/* Verify all terms of a segment, and their postings. */
static void
check_terms(SegmentCheck *check)
{
	Bm25Reader *reader = check->reader;
	const Bm25Segment *segment = &reader->segment;
	Bm25DictWalk *walk = palloc(sizeof(Bm25DictWalk));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "bm25 check",
												  ALLOCSET_DEFAULT_SIZES);
	char		last[BM25_MAX_TERM];
	int			last_len = -1;
	uint32		nterms = 0;
	uint64		positions = 0;

	bm25_walk_begin(walk, reader, "", 0);
	while (bm25_walk_next(walk))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Bm25Entry	entry;

		if (last_len >= 0 && bm25_compare_terms(last, last_len, walk->term, walk->len) >= 0)
			page_report_corrupt(reader->rel, segment->header, "terms out of order");
		memcpy(last, walk->term, walk->len);
		last_len = walk->len;
		nterms++;
		if (!bm25_find_term(reader, walk->term, walk->len, &entry) || entry.df != walk->found.df)
			page_report_corrupt(reader->rel, segment->header, "a term that is not found");
		if (segment->flags & BM25_HAS_POSITIONS && entry.positions != positions)
			page_report_corrupt(reader->rel, segment->header, "broken positions of words");
		positions += entry.position_bytes;
		check_postings(check, walk);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	pfree(walk);
	if (nterms != segment->nterms)
		page_report_corrupt(reader->rel, segment->header, "a wrong number of terms");
	if (segment->flags & BM25_HAS_POSITIONS && positions != reader->header->bytes[BM25_POSITIONS])
		page_report_corrupt(reader->rel, segment->header, "broken positions of words");
}

/* Called for each document that lives */
typedef void (*EachDocument) (void *arg, const ItemPointerData *tid, uint32 length,
							  const Print *print);

/* Prints that maintenance_work_mem has room for */
#define PRINTS_AT_ONCE \
	((uint32) Min((uint64) maintenance_work_mem * 1024 / sizeof(Print), PG_UINT32_MAX))

/* Verify the terms of a segment; call "each" for its documents, as many at once as have room. */
static void
check_documents(SegmentCheck *check, const uint8 *dead, EachDocument each, void *arg)
{
	uint32		ndocs = check->reader->segment.ndocs;

	check->n = Min(ndocs, PRINTS_AT_ONCE);
	check->prints = palloc_extended(sizeof(Print) * check->n, MCXT_ALLOC_HUGE);
	while (check->first < ndocs)
	{
		check->n = Min(check->n, ndocs - check->first);
		memset(check->prints, 0, sizeof(Print) * check->n);
		check_terms(check);
		for (uint32 i = 0; i < check->n; i++)
		{
			uint32		doc = check->first + i;
			ItemPointerData tid;

			CHECK_FOR_INTERRUPTS();
			if (dead[doc / 8] >> (doc % 8) & 1)
				continue;
			bm25_tid(check->reader, doc, &tid);
			each(arg, &tid, bm25_length(check->reader, doc), &check->prints[i]);
		}
		check->first += check->n;
	}
	pfree(check->prints);
}

static void
check_segment(Relation rel, const Bm25MetaPageData *meta, const Bm25Segment *segment,
			  EachDocument each, void *arg)
{
	SegmentCheck check = {bm25_reader_open(rel, segment)};
	Bm25Reader *reader = check.reader;
	uint32		ndead = 0;
	uint64		sumlen = 0;
	uint8	   *dead = bm25_dead_bits(reader);

	check.norm = bm25_norm(meta->k1, meta->b, segment->avglen);
	for (uint32 doc = 0; doc < segment->ndocs; doc++)
	{
		ItemPointerData tid;

		if (doc % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		ndead += dead[doc / 8] >> (doc % 8) & 1;
		sumlen += bm25_length(reader, doc);
		bm25_tid(reader, doc, &tid);
	}
	if (sumlen != segment->sumlen)
		page_report_corrupt(rel, segment->header, "wrong lengths of documents");
	/* VACUUM marks documents first, and counts them then. */
	if (ndead < segment->ndead)
		page_report_corrupt(rel, segment->header, "a wrong number of dead documents");
	/* Then scans take them all for living; rows of documents that are dead nobody sees. */
	if (segment->ndead == 0)
		memset(dead, 0, ((Size) segment->ndocs + 7) / 8);
	if (each == NULL)
		check_terms(&check);
	else
		check_documents(&check, dead, each, arg);
	bm25_reader_release(reader);
}

/* Verify a record of the head: its words and their positions. */
static Print
check_record(Relation rel, const Bm25MetaPageData *meta, BlockNumber block,
			 const Bm25Record *record)
{
	const char *terms = bm25_record_terms(rel, record, NULL);
	const char *end = terms + record->bytes;
	const char *p = terms;
	Bm25Word	word;
	Print		print = {0};
	uint32		nterms = 0;
	uint64		length = 0;

	while (p != NULL && p < end)
	{
		p = bm25_decode_word(p, end, meta->flags, &word);
		if (p != NULL && meta->flags & BM25_HAS_POSITIONS)
		{
			int			n;
			WordEntryPos *positions = bm25_decode_positions(word.positions,
															word.position_bytes, word.tf,
															meta->flags, &n);

			if (positions == NULL)
				page_report_corrupt(rel, block, "broken positions of words");
			pfree(positions);
		}
		if (p != NULL)
			add_to_print(&print, word.word, word.len, word.tf, word.positions, word.position_bytes);
		nterms++;
		length += meta->flags & BM25_HAS_IMPACTS ? 1 : word.tf;
	}
	if (p == NULL || nterms != record->nterms || length != record->length)
		page_report_corrupt(rel, block, "a broken record of a document");
	if (record->flags & BM25_RECORD_OVERFLOW)
		pfree(unconstify(char *, terms));
	return print;
}

/*
 * Verify that each block belongs to one owner.  An insert that was interrupted may leave
 * empty blocks, and overflow pages that it did not come to link: these are VACUUM's.
 */
static void
check_space(Relation rel, const Bm25MetaPageData *meta)
{
	Bm25Space	space;
	int			before;

	bm25_free_read(rel, &space);
	before = space.nruns;
	(void) bm25_space_find_lost(&space, meta);
	if (meta->building != 0 || meta->flags & BM25_LOST)
		return;
	for (int i = before; i < space.nruns; i++)
	{
		const Bm25Extent *run = &space.runs[i].run;

		for (uint32 j = 0; j < run->pages; j++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!bm25_is_leftover(rel, run->first + j))
				page_report_corrupt(rel, run->first + j, "a lost page");
		}
	}
}

/*
 * Verify an index, and call "each", unless NULL, for its documents.  Returns how many
 * it has.  Whatever is wrong is reported as corruption.
 */
static int64
check_index(Relation rel, EachDocument each, void *arg)
{
	bool		primary = !RecoveryInProgress();
	Bm25MetaPageData meta;
	BlockNumber block;
	int64		documents = 0;
	uint64		generation = 0;
	char		copy[BM25_SPACE];

	/* So that no segment is replaced meanwhile; a standby has no such locks. */
	if (primary)
		bm25_maintenance_begin(rel, true);
	bm25_meta_read(rel, &meta);
	for (uint32 i = 0; i < meta.nsegments; i++)
	{
		check_segment(rel, &meta, &meta.segments[i], each, arg);
		documents += meta.segments[i].ndocs;
	}
	for (block = meta.head_first; block != InvalidBlockNumber;)
	{
		Bm25HeadPage head = bm25_head_read(rel, block, copy, &generation);
		const Bm25Record *record = bm25_first_record(head);

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < head->nrecords; i++)
		{
			Print		print = check_record(rel, &meta, block, record);

			if (each != NULL && !(record->flags & BM25_RECORD_DEAD))
				each(arg, &record->tid, record->length, &print);
			record = (const Bm25Record *) ((const char *) record + bm25_record_size(record));
		}
		documents += head->nrecords;
		block = head->next;
	}
	if (primary)
	{
		check_space(rel, &meta);
		bm25_maintenance_end(rel);
	}
	return documents;
}

PG_FUNCTION_INFO_V1(piramid_bm25_check);
Datum
piramid_bm25_check(PG_FUNCTION_ARGS)
{
	Relation	rel = bm25_open_readable(PG_GETARG_OID(0));
	int64		documents = check_index(rel, NULL, NULL);

	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(documents);
}

/* A run of piramid_check() */
typedef struct CheckRun
{
	Check	   *check;
	CheckHeap  *heap;			/* or NULL: rows are not compared */
	MemoryContext context;		/* for the words of a row */
	Oid			config;
	uint32		flags;			/* of the metapage */
} CheckRun;

/* What the index should have of a row; returns the length. */
static uint32
expect_document(CheckRun *run, Datum value, Print *print)
{
	MemoryContext old = MemoryContextSwitchTo(run->context);
	Bm25Document document;

	bm25_parse_value(run->check->index, run->config, run->flags, value, &document);
	for (int i = 0; i < document.nwords; i++)
	{
		const Bm25Word *word = &document.words[i];

		add_to_print(print, word->word, word->len, word->tf, word->positions, word->position_bytes);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(run->context);
	return document.length;
}

/* Compare a document with its row. */
static void
check_document(void *arg, const ItemPointerData *tid, uint32 length, const Print *print)
{
	CheckRun   *run = arg;
	const Datum *values;
	const bool *isnull;
	CheckRow	row = check_heap_row(run->heap, tid, &values, &isnull);
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);
	Print		expected = {0};
	uint32		expected_length;

	if (row == CHECK_ROW_FOREIGN || (row == CHECK_ROW_SEEN && isnull[0]))
		check_found(run->check, CHECK_REINDEX, CHECK_NOWHERE,
					"a document for row (%u,%u), which should have none", block, offset);
	if (row != CHECK_ROW_SEEN || isnull[0])
		return;
	check_heap_note(run->heap, tid, CHECK_NOWHERE);
	expected_length = expect_document(run, values[0], &expected);
	if (length != expected_length)
		check_found(run->check, CHECK_REINDEX, CHECK_NOWHERE,
					"a document of %u words for row (%u,%u), which has %u",
					length, block, offset, expected_length);
	if (print->words != expected.words)
		check_found(run->check, CHECK_REINDEX, CHECK_NOWHERE,
					"other words than row (%u,%u) has, or not as often", block, offset);
	else if (print->places != expected.places)
		check_found(run->check, CHECK_REINDEX, CHECK_NOWHERE,
					"words in other places than in row (%u,%u)", block, offset);
}

static void
note_document(void *arg, const ItemPointerData *tid, uint32 length, const Print *print)
{
	CheckRun   *run = arg;

	if (check_heap_sees(run->heap, tid))
		check_heap_note(run->heap, tid, CHECK_NOWHERE);
}

static bool
belongs(void *arg, const Datum *values, const bool *isnull)
{
	return !isnull[0];
}

static void
run_check(void *arg)
{
	CheckRun   *run = arg;
	Bm25MetaPageData meta;

	if (run->heap != NULL)
	{
		bm25_meta_read(run->check->index, &meta);
		run->flags = meta.flags;
		run->config = run->check->index->rd_opcintype[0] == TEXTOID ? bm25_config_oid(&meta) :
			InvalidOid;
	}
	check_index(run->check->index, run->heap == NULL ? NULL : check_document, run);
}

/* Count documents of rows that may have two. */
static void
recount(void *arg)
{
	check_index(((CheckRun *) arg)->check->index, note_document, arg);
}

static void
run_scan(void *arg)
{
	check_heap_scan(((CheckRun *) arg)->heap, belongs, arg);
}

/* piramid_check() of an index of ours: stops at the first broken page. */
static void
check_method(Check *check)
{
	CheckRun	run = {check, check->heapallindexed ? check_heap_begin(check) : NULL};

	run.context = AllocSetContextCreate(CurrentMemoryContext, "bm25 words of a row",
										ALLOCSET_DEFAULT_SIZES);
	check_phase(check, "words and documents");
	if (check_guard(check, run_check, &run) && run.heap != NULL)
	{
		if (check_heap_again(run.heap))
			check_guard(check, recount, &run);
		check_guard(check, run_scan, &run);
	}
	if (run.heap != NULL)
		check_heap_end(run.heap);
}

/* piramid_repair(): what VACUUM would do about blocks that failed writers have left. */
static void
repair_method(Check *check)
{
	bm25_maintenance_begin(check->index, true);
	check_repaired(check, bm25_recover_lost(check->index), "blocks that nobody owned are free");
	bm25_maintenance_end(check->index);
}

static bool
owns(Relation index)
{
	return index->rd_indam->ambuild == bm25_build;
}

/* Called once, when the library is loaded. */
void
bm25_check_init(void)
{
	static const CheckMethod method = {.owns = owns,.check = check_method,.repair = repair_method};

	check_register(&method);
}
