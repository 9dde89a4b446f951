/*-------------------------------------------------------------------------
 *
 * parse.c
 *		Words of documents and queries, and documents as bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "bm25/codec.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/value.h"
#include "tsearch/ts_cache.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* The text search configuration of an index, by its stored name. */
Oid
bm25_config_oid(const Bm25MetaPageData *meta)
{
	List	   *name = list_make2(makeString(pstrdup(NameStr(meta->config_schema))),
								  makeString(pstrdup(NameStr(meta->config_name))));
	Oid			config = get_ts_config_oid(name, true);

	if (!OidIsValid(config))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the index's text search configuration \"%s.%s\" does not exist any more",
						NameStr(meta->config_schema), NameStr(meta->config_name)),
				 errhint("Create it again, or drop the index and create it with another.")));
	list_free_deep(name);
	return config;
}

static int
compare_words(const void *a, const void *b)
{
	const Bm25Word *x = a;
	const Bm25Word *y = b;

	return bm25_compare_terms(x->word, x->len, y->word, y->len);
}

/* Sort the words of a document, and count equal ones once. */
static void
collect(Bm25Document *document)
{
	int			n = 0;

	if (document->nwords > 1)
		qsort(document->words, document->nwords, sizeof(Bm25Word), compare_words);
	for (int i = 0; i < document->nwords; i++)
	{
		Bm25Word   *word = &document->words[i];

		if (n > 0 && compare_words(word, &document->words[n - 1]) == 0)
			document->words[n - 1].tf += word->tf;
		else
			document->words[n++] = *word;
	}
	document->nwords = n;
}

/* The words of a text, as a text search configuration makes them. */
void
bm25_parse_text(Oid config, const char *text, int len, Bm25Document *document)
{
	ParsedText	parsed = {0};

	/* as to_tsvector guesses */
	parsed.lenwords = Min(Max(len / 6, 2), MaxAllocSize / (int) sizeof(ParsedWord));
	parsed.words = palloc(sizeof(ParsedWord) * parsed.lenwords);
	parsetext(config, &parsed, unconstify(char *, text), len);
	document->words = palloc_extended(sizeof(Bm25Word) * Max(parsed.curwords, 1), MCXT_ALLOC_HUGE);
	document->nwords = 0;
	for (int i = 0; i < parsed.curwords; i++)
		if (parsed.words[i].len > 0 && parsed.words[i].len <= BM25_MAX_TERM)
			document->words[document->nwords++] =
				(Bm25Word) {parsed.words[i].word, parsed.words[i].len, 1};
	document->length = document->nwords;
	collect(document);
	pfree(parsed.words);
}

/* The words of a tsvector: each as often as it has positions, or once. */
void
bm25_parse_tsvector(TSVector vector, Bm25Document *document)
{
	WordEntry  *entries = ARRPTR(vector);

	document->words = palloc(sizeof(Bm25Word) * Max(vector->size, 1));
	document->nwords = 0;
	document->length = 0;
	for (int i = 0; i < vector->size; i++)
	{
		uint32		tf = entries[i].haspos ? Max(POSDATALEN(vector, &entries[i]), 1) : 1;

		if (entries[i].len == 0)
			continue;
		document->words[document->nwords++] =
			(Bm25Word) {STRPTR(vector) + entries[i].pos, entries[i].len, tf};
		document->length += tf;
	}
	/* A tsvector's order is by length first. */
	collect(document);
}

/* The words of a value of an index's column; "config" is the index's. */
void
bm25_parse_value(Relation rel, Oid config, Datum value, Bm25Document *document)
{
	text	   *t;

	if (rel->rd_opcintype[0] == TSVECTOROID)
	{
		bm25_parse_tsvector(DatumGetTSVector(value), document);
		return;
	}
	t = DatumGetTextPP(value);
	bm25_parse_text(config, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), document);
}

/* The words of a document as bytes of a record. */
char *
bm25_encode_words(const Bm25Document *document, uint32 *bytes)
{
	Size		room = 0;
	char	   *start;
	char	   *p;

	for (int i = 0; i < document->nwords; i++)
		room += document->words[i].len + 2 * MAX_VARINT;
	if (room > PG_UINT32_MAX / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("document is too large for a bm25 index")));
	p = start = palloc_extended(room + 1, MCXT_ALLOC_HUGE);
	for (int i = 0; i < document->nwords; i++)
	{
		const Bm25Word *word = &document->words[i];

		p = put_varint(p, word->len);
		memcpy(p, word->word, word->len);
		p = put_varint(p + word->len, word->tf);
	}
	*bytes = p - start;
	return start;
}

/* Read one word; NULL if it is broken. */
const char *
bm25_decode_word(const char *p, const char *end, Bm25Word *word)
{
	uint64		value;

	p = get_varint(p, end, &value);
	if (p == NULL || value > BM25_MAX_TERM || value > end - p)
		return NULL;
	word->word = unconstify(char *, p);
	word->len = (int) value;
	p = get_varint(p + value, end, &value);
	word->tf = (uint32) value;
	return p;
}
