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
#include "type/sparsevec.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* The text search configuration of an index, by its stored name; of sparse vectors: none. */
Oid
bm25_config_oid(const Bm25MetaPageData *meta)
{
	List	   *name;
	Oid			config;

	if (meta->flags & BM25_HAS_IMPACTS)
		return InvalidOid;
	name = list_make2(makeString(pstrdup(NameStr(meta->config_schema))),
					  makeString(pstrdup(NameStr(meta->config_name))));
	config = get_ts_config_oid(name, true);
	if (!OidIsValid(config))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the index's text search configuration \"%s.%s\" does not exist any more",
						NameStr(meta->config_schema), NameStr(meta->config_name)),
				 errhint("Create it again, or drop the index and create it with another.")));
	list_free_deep(name);
	return config;
}

/* Words are not empty, and most begin differently. */
static inline int
compare_words(const Bm25Word *a, const Bm25Word *b)
{
	int			cmp = (uint8) *a->word - (uint8) *b->word;

	if (cmp == 0)
		cmp = bm25_compare_terms(a->word, a->len, b->word, b->len);
	return cmp != 0 ? cmp : (int) a->position - (int) b->position;
}

#define ST_SORT sort_words
#define ST_ELEMENT_TYPE Bm25Word
#define ST_COMPARE(a, b) compare_words(a, b)
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* Encode positions of a word to a buffer; returns the rest of that. */
static char *
encode_positions(Bm25Word *word, const WordEntryPos *positions, int n, int weight_bits, char *to)
{
	char	   *end = put_positions(to, positions, n, word->tf, weight_bits);

	word->positions = to;
	word->position_bytes = end - to;
	return end;
}

/* Sort the words of a text, and count equal ones once. */
static void
collect(Bm25Document *document, bool has_positions)
{
	Bm25Word   *words = document->words;
	Size		all = document->nwords;
	WordEntryPos *positions = NULL;
	char	   *to = NULL;
	int			n = 0;

	if (document->nwords > 1)
		sort_words(words, document->nwords);
	if (has_positions)
	{
		positions = palloc_extended(sizeof(WordEntryPos) * Max(all, 1), MCXT_ALLOC_HUGE);
		to = palloc_extended(Max(all, 1) * MAX_POSITION_BYTES, MCXT_ALLOC_HUGE);
	}
	for (Size i = 0; i < all;)
	{
		Bm25Word	word = words[i];

		word.tf = 0;
		for (; i < all && words[i].len == word.len &&
			 memcmp(words[i].word, word.word, word.len) == 0; i++)
		{
			if (has_positions)
				positions[word.tf] = words[i].position;
			word.tf++;
		}
		if (has_positions)
			to = encode_positions(&word, positions, word.tf, 0, to);
		words[n++] = word;
	}
	document->nwords = n;
}

/*
 * The words of a text, as a text search configuration makes them.  "flags" are the
 * index's: they tell whether positions are wanted.
 */
void
bm25_parse_text(Oid config, const char *text, int len, uint32 flags, Bm25Document *document)
{
	ParsedText	parsed = {0};

	/* as to_tsvector guesses */
	parsed.lenwords = Min(Max(len / 6, 2), BM25_MOST_WORDS);
	parsed.words = palloc(sizeof(ParsedWord) * parsed.lenwords);
	bm25_parse_words(config, &parsed, unconstify(char *, text), len);
	document->words = palloc_extended(sizeof(Bm25Word) * Max(parsed.curwords, 1), MCXT_ALLOC_HUGE);
	document->nwords = 0;
	for (int i = 0; i < parsed.curwords; i++)
		if (parsed.words[i].len > 0 && parsed.words[i].len <= BM25_MAX_TERM)
			document->words[document->nwords++] =
				(Bm25Word) {parsed.words[i].word, parsed.words[i].len, 1, parsed.words[i].pos.pos};
	document->length = document->nwords;
	collect(document, (flags & BM25_HAS_POSITIONS) != 0);
	pfree(parsed.words);
}

StaticAssertDecl(BM25_MAX_TERM >= MAXSTRLEN, "a lexeme of a tsvector is a term");

/* The words of a tsvector: each as often as it has positions, or once. */
void
bm25_parse_tsvector(TSVector vector, uint32 flags, Bm25Document *document)
{
	WordEntry  *entries = ARRPTR(vector);
	bool		has_positions = (flags & BM25_HAS_POSITIONS) != 0;
	char	   *to = NULL;

	document->words = palloc(sizeof(Bm25Word) * Max(vector->size, 1));
	document->nwords = 0;
	document->length = 0;
	if (has_positions)
		to = palloc_extended((Size) VARSIZE(vector) * MAX_POSITION_BYTES, MCXT_ALLOC_HUGE);
	for (int i = 0; i < vector->size; i++)
	{
		int			n = entries[i].haspos ? POSDATALEN(vector, &entries[i]) : 0;
		Bm25Word   *word = &document->words[document->nwords];

		if (entries[i].len == 0)
			continue;
		*word = (Bm25Word) {STRPTR(vector) + entries[i].pos, entries[i].len, Max(n, 1)};
		if (has_positions)
			to = encode_positions(word, n == 0 ? NULL : POSDATAPTR(vector, &entries[i]), n,
								  WEIGHT_BITS, to);
		document->nwords++;
		document->length += word->tf;
	}
	/* A tsvector's order is by length first. */
	if (document->nwords > 1)
		sort_words(document->words, document->nwords);
}

/* The words of a value of an index's column; "config" and "flags" are the index's. */
void
bm25_parse_value(Relation rel, Oid config, uint32 flags, Datum value, Bm25Document *document)
{
	text	   *t;

	if (flags & BM25_HAS_IMPACTS)
	{
		bm25_parse_sparse(DatumGetSparseVector(value), document);
		return;
	}
	if (rel->rd_opcintype[0] == TSVECTOROID)
	{
		bm25_parse_tsvector(DatumGetTSVector(value), flags, document);
		return;
	}
	t = DatumGetTextPP(value);
	bm25_parse_text(config, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), flags, document);
}

/* The words of a document as bytes of a record. */
char *
bm25_encode_words(const Bm25Document *document, uint32 *bytes)
{
	Size		room = 0;
	char	   *start;
	char	   *p;

	for (int i = 0; i < document->nwords; i++)
		room += document->words[i].len + 2 * MAX_VARINT + document->words[i].position_bytes;
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
		if (word->position_bytes > 0)
			memcpy(p, word->positions, word->position_bytes);
		p += word->position_bytes;
	}
	*bytes = p - start;
	return start;
}

/* Read one word of an index with these flags; NULL if it is broken. */
const char *
bm25_decode_word(const char *p, const char *end, uint32 flags, Bm25Word *word)
{
	uint64		value;

	p = get_varint(p, end, &value);
	if (p == NULL || value > BM25_MAX_TERM || value > end - p)
		return NULL;
	word->word = unconstify(char *, p);
	word->len = (int) value;
	p = get_varint(p + value, end, &value);
	if (p == NULL || (uint32) value == 0)
		return NULL;
	word->tf = (uint32) value;
	word->positions = p;
	word->position_bytes = 0;
	if (flags & BM25_HAS_POSITIONS)
	{
		p = skip_positions(p, end, word->tf);
		if (p != NULL)
			word->position_bytes = p - word->positions;
	}
	else if (flags & BM25_HAS_IMPACTS &&
			 (word->len != BM25_DIMENSION_BYTES || word->tf > IMPACT_MOST))
		return NULL;
	return p;
}
