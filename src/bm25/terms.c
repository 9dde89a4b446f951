/*-------------------------------------------------------------------------
 *
 * terms.c
 *		piramid_bm25_terms(): the words of an index, and how many documents have each.
 *
 * Each segment has them in order, those of the head are sorted: they are merged.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/relation.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/rls.h"
#include "utils/tuplestore.h"

/* Words of which each has its prefix, ascending; their "tf" is how many documents have it. */
typedef struct HeadWords
{
	Bm25Word   *words;
	int			n;
	int			room;
} HeadWords;

static bool
has_prefix(const char *word, int len, const text *prefix)
{
	int			prefix_len = VARSIZE_ANY_EXHDR(prefix);

	return len >= prefix_len && memcmp(word, VARDATA_ANY(prefix), prefix_len) == 0;
}

static int
compare_words(const void *a, const void *b)
{
	const Bm25Word *left = a;
	const Bm25Word *right = b;

	return bm25_compare_terms(left->word, left->len, right->word, right->len);
}

/* May a term be shown to users?  A damaged one may be no text of the database's encoding. */
static bool
is_term(uint32 flags, const char *term, int len)
{
	return flags & BM25_HAS_IMPACTS || pg_verifymbstr(term, len, true);
}

/* Take the words of a record of the head; false if it is broken. */
static bool
take_record(HeadWords *head, const char *p, const char *end, uint32 flags, const text *prefix)
{
	Bm25Word	word;

	while (p < end)
	{
		p = bm25_decode_word(p, end, flags, &word);
		if (p == NULL || !is_term(flags, word.word, word.len))
			return false;
		if (!has_prefix(word.word, word.len, prefix))
			continue;
		if (head->n == head->room)
			head->words = repalloc_huge(head->words, sizeof(Bm25Word) * (head->room *= 2));
		/* Dimensions of sparse vectors have bytes of 0. */
		word.word = memcpy(palloc(word.len), word.word, word.len);
		word.tf = 1;
		head->words[head->n++] = word;
	}
	return true;
}

/* The words of the head */
static void
read_head(HeadWords *head, Relation rel, const Bm25MetaPageData *meta, const text *prefix)
{
	char		copy[BM25_SPACE];
	uint64		generation = 0;
	int			kept = 0;

	head->n = 0;
	head->room = 1024;
	head->words = palloc(sizeof(Bm25Word) * head->room);
	for (BlockNumber block = meta->head_first; block != InvalidBlockNumber;)
	{
		Bm25HeadPage page = bm25_head_read(rel, block, copy, &generation);
		const Bm25Record *record = bm25_first_record(page);

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < page->nrecords; i++)
		{
			const char *terms = bm25_record_terms(rel, record, NULL);

			if (!take_record(head, terms, terms + record->bytes, meta->flags, prefix))
				page_report_corrupt(rel, block, "a broken record of a document");
			if (record->flags & BM25_RECORD_OVERFLOW)
				pfree(unconstify(char *, terms));
			record = (const Bm25Record *) ((const char *) record + bm25_record_size(record));
		}
		block = page->next;
	}
	if (head->n > 1)
		qsort(head->words, head->n, sizeof(Bm25Word), compare_words);
	for (int i = 0; i < head->n; i++)
	{
		if (kept > 0 && compare_words(&head->words[kept - 1], &head->words[i]) == 0)
			head->words[kept - 1].tf++;
		else
			head->words[kept++] = head->words[i];
	}
	head->n = kept;
}

/* Go on to the next word of a segment, if it has the prefix; else there are no more. */
static bool
next_word(Bm25DictWalk *walk, const text *prefix)
{
	const Bm25Segment *segment = &walk->reader->segment;

	if (!bm25_walk_next(walk) || !has_prefix(walk->term, walk->len, prefix))
		return false;
	if (!is_term(segment->flags, walk->term, walk->len))
		page_report_corrupt(walk->reader->rel, segment->header, "a broken page of terms");
	return true;
}

/* How users call a term: a word; of sparse vectors, its dimension, and a sign if weights are negative. */
static text *
name_term(const Bm25MetaPageData *meta, const char *word, int len)
{
	uint32		term;
	char		name[16];

	if (!(meta->flags & BM25_HAS_IMPACTS))
		return cstring_to_text_with_len(word, len);
	memcpy(&term, word, sizeof(term));
	term = pg_ntoh32(term);
	snprintf(name, sizeof(name), "%s%u", term & BM25_NEGATIVE_TERM ? "-" : "",
			 (term & ~BM25_NEGATIVE_TERM) + 1);
	return cstring_to_text(name);
}

/* Merge the words of segments and of the head into the result. */
static void
merge_words(ReturnSetInfo *result, Relation rel, const Bm25MetaPageData *meta, const text *prefix)
{
	Bm25DictWalk *walks = palloc(sizeof(Bm25DictWalk) * BM25_MAX_SEGMENTS);
	bool		more[BM25_MAX_SEGMENTS];
	HeadWords	head;
	int			next = 0;

	for (uint32 i = 0; i < meta->nsegments; i++)
	{
		bm25_walk_begin(&walks[i], bm25_reader_open(rel, &meta->segments[i]),
						VARDATA_ANY(prefix), VARSIZE_ANY_EXHDR(prefix));
		more[i] = next_word(&walks[i], prefix);
	}
	read_head(&head, rel, meta, prefix);
	for (;;)
	{
		char		word[BM25_MAX_TERM];
		int			len = -1;
		int64		documents = 0;
		bool		in_head = next < head.n;
		Datum		values[2];
		bool		nulls[2] = {0};

		CHECK_FOR_INTERRUPTS();
		if (in_head)
			memcpy(word, head.words[next].word, len = head.words[next].len);
		for (uint32 i = 0; i < meta->nsegments; i++)
			if (more[i] && (len < 0 || bm25_compare_terms(walks[i].term, walks[i].len, word, len) < 0))
				memcpy(word, walks[i].term, len = walks[i].len);
		if (len < 0)
			break;
		if (in_head && bm25_compare_terms(head.words[next].word, head.words[next].len, word, len) == 0)
			documents += head.words[next++].tf;
		for (uint32 i = 0; i < meta->nsegments; i++)
		{
			if (!more[i] || bm25_compare_terms(walks[i].term, walks[i].len, word, len) != 0)
				continue;
			documents += walks[i].found.df;
			more[i] = next_word(&walks[i], prefix);
		}
		values[0] = PointerGetDatum(name_term(meta, word, len));
		values[1] = Int64GetDatum(documents);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		pfree(DatumGetPointer(values[0]));
	}
}

/*
 * piramid_bm25_terms(index, prefix): rows of a word and a number, ascending by the bytes
 * of the word.  Words tell of rows: who may not see all of them gets none.
 */
PG_FUNCTION_INFO_V1(piramid_bm25_terms);
Datum
piramid_bm25_terms(PG_FUNCTION_ARGS)
{
	Relation	rel = bm25_open_readable(PG_GETARG_OID(0));
	Bm25MetaPageData meta;

	if (check_enable_rls(rel->rd_index->indrelid, InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("index \"%s\" has words of rows that row level security hides",
						RelationGetRelationName(rel))));
	InitMaterializedSRF(fcinfo, 0);
	bm25_meta_read(rel, &meta);
	if (meta.flags & BM25_HAS_IMPACTS && VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("dimensions of sparse vectors are not looked for by a prefix"),
				 errhint("Leave the prefix out.")));
	merge_words((ReturnSetInfo *) fcinfo->resultinfo, rel, &meta, PG_GETARG_TEXT_PP(1));
	relation_close(rel, AccessShareLock);
	return (Datum) 0;
}
