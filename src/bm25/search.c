/*-------------------------------------------------------------------------
 *
 * search.c
 *		The state of an index that a query sees, and the weights of its words.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include <math.h>

#include "access/xact.h"
#include "bm25/codec.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Shorter words, and those that occur so often at most, have one byte to tell so (codec.h). */
#define ONE_BYTE 0x7F

/* Keep a copy of a word's positions. */
static void
keep_positions(Bm25Word *to, const Bm25Word *word)
{
	char	   *copy = palloc_extended(word->position_bytes, MCXT_ALLOC_HUGE);

	memcpy(copy, word->positions, word->position_bytes);
	to->positions = copy;
	to->position_bytes = word->position_bytes;
}

/*
 * Which words may be the query's, by their length and first byte: most words of the head
 * are skipped.
 */
typedef struct WordFilter
{
	uint32		first_bytes[ONE_BYTE + 1];	/* of each length: a set of bytes modulo 32 */
	uint8		last_byte;		/* no word of the query begins with one above this */
} WordFilter;

static inline uint32
byte_set(char byte)
{
	return (uint32) 1 << ((uint8) byte & 31);
}

static void
make_filter(const Bm25Search *search, WordFilter *filter)
{
	memset(filter, 0, sizeof(*filter));
	for (int i = 0; i < search->nterms; i++)
	{
		const Bm25Term *term = &search->terms[i];
		uint32		set = term->len == 0 ? PG_UINT32_MAX : byte_set(*term->word);

		filter->last_byte = Max(filter->last_byte,
								term->len == 0 ? PG_UINT8_MAX : (uint8) *term->word);
		for (int len = term->len; len <= ONE_BYTE; len++)
		{
			filter->first_bytes[len] |= set;
			if (!term->prefix)
				break;
		}
	}
}

/*
 * Where the next word begins, if this one can be told not to be the query's without
 * looking closer; else NULL.
 */
static inline const char *
skip_word(const WordFilter *filter, const char *p, const char *end, bool has_positions)
{
	uint8		len = (uint8) *p;
	uint8		tf;

	if (len > ONE_BYTE || end - p < len + 2 ||
		filter->first_bytes[len] & byte_set(p[1]))
		return NULL;
	tf = (uint8) p[len + 1];
	p += len + 2;
	if (tf > ONE_BYTE || !has_positions)
		return tf > ONE_BYTE ? NULL : p;
	return skip_positions(p, end, tf);
}

/* Count the words of a record of the head that the query has. */
static Bm25Word *
count_words(Bm25Search *search, const WordFilter *filter, BlockNumber block,
			const Bm25Record *record, const char *p)
{
	bool		has_positions = (search->meta.flags & BM25_HAS_POSITIONS) != 0;
	const char *end = p + record->bytes;
	Bm25Word   *words = NULL;
	Bm25Word	word;

	while (p < end)
	{
		const char *next;

		/* Words ascend. */
		if ((int8) *p > 0 && p + 1 < end && (uint8) p[1] > filter->last_byte)
			break;
		next = skip_word(filter, p, end, has_positions);
		if (next != NULL)
		{
			p = next;
			continue;
		}
		p = bm25_decode_word(p, end, search->meta.flags, &word);
		if (p == NULL)
			page_report_corrupt(search->rel, block, "a broken record of a document");
		for (int i = 0; i < search->nterms; i++)
		{
			Bm25Term   *term = &search->terms[i];

			if (word.len < term->len || (word.len > term->len && !term->prefix) ||
				memcmp(word.word, term->word, term->len) != 0)
				continue;
			if (words == NULL)
				words = palloc0(sizeof(Bm25Word) * search->nterms);
			if (words[i].tf == 0)
				term->df++;
			words[i].tf += word.tf;
			if (search->positional && !term->prefix)
				keep_positions(&words[i], &word);
		}
	}
	return words;
}

/* Read the head. */
static void
read_head(Bm25Search *search)
{
	BlockNumber block = search->meta.head_first;
	char	   *copy = palloc(BM25_SPACE);
	uint32		room = 256;
	bool		seen_last = false;
	uint64		generation = 0;
	WordFilter	filter;

	make_filter(search, &filter);
	search->head = palloc(sizeof(Bm25HeadDocument) * room);
	while (block != InvalidBlockNumber)
	{
		Bm25HeadPage head = bm25_head_read(search->rel, block, copy, &generation);
		const Bm25Record *record = bm25_first_record(head);

		CHECK_FOR_INTERRUPTS();
		seen_last |= block == search->meta.head_last;
		for (uint32 i = 0; i < head->nrecords; i++)
		{
			const char *terms = bm25_record_terms(search->rel, record, NULL);
			Bm25HeadDocument *document;

			if (search->nhead == room)
				search->head = repalloc_huge(search->head, sizeof(Bm25HeadDocument) * (room *= 2));
			document = &search->head[search->nhead++];
			document->tid = record->tid;
			document->dead = (record->flags & BM25_RECORD_DEAD) != 0;
			document->length = record->length;
			document->words = search->meta.flags & BM25_HAS_IMPACTS ?
				bm25_count_impacts(search, terms, terms + record->bytes) :
				count_words(search, &filter, block, record, terms);
			search->sumlen += record->length;
			if (record->flags & BM25_RECORD_OVERFLOW)
				pfree(unconstify(char *, terms));
			record = (const Bm25Record *) ((const char *) record + bm25_record_size(record));
		}
		/* What comes later is not visible, but for what this very command has inserted. */
		block = head->next;
	}
	if (!seen_last)
		page_report_corrupt(search->rel, search->meta.head_first,
							"a broken chain of new documents");
	search->ndocs += search->nhead;
	pfree(copy);
}

/* Look the terms up in a segment. */
static void
look_up(Bm25Search *search, uint32 segment)
{
	Bm25Reader *reader = bm25_reader_open(search->rel, &search->meta.segments[segment]);

	search->readers[segment] = reader;
	search->entries[segment] = palloc0(sizeof(Bm25Entry) * Max(search->nterms, 1));
	search->prefixes[segment] = palloc0(sizeof(Bm25Cursor *) * Max(search->nterms, 1));
	for (int i = 0; i < search->nterms; i++)
	{
		Bm25Term   *term = &search->terms[i];
		Bm25Entry  *entry = &search->entries[segment][i];

		if (!bm25_may_have_term(search, &reader->segment, term))
			continue;
		if (term->prefix && search->estimated)
			entry->df = Min(bm25_prefix_postings(reader, term->word, term->len),
							reader->segment.ndocs);
		else if (term->prefix)
		{
			Bm25Cursor *cursor = bm25_cursor_of_prefix(reader, term->word, term->len);

			search->prefixes[segment][i] = cursor;
			entry->df = cursor == NULL ? 0 : cursor->df;
		}
		else if (!(reader->segment.flags & BM25_HAS_IMPACTS ?
				   bm25_find_dimension(reader, term->word, entry) :
				   bm25_find_term(reader, term->word, term->len, entry)))
			entry->df = 0;
		term->df += entry->df;
	}
	bm25_reader_release(reader);
	search->ndocs += reader->segment.ndocs;
	search->sumlen += reader->segment.sumlen;
}

/* Read what an index has, as its metapage tells; adds to the terms' counts. */
static void
look_at(Bm25Search *search)
{
	search->readers = palloc(sizeof(Bm25Reader *) * BM25_MAX_SEGMENTS);
	search->entries = palloc(sizeof(Bm25Entry *) * BM25_MAX_SEGMENTS);
	search->prefixes = palloc(sizeof(Bm25Cursor **) * BM25_MAX_SEGMENTS);
	search->ndocs = search->sumlen = 0;
	for (uint32 i = 0; i < search->meta.nsegments; i++)
		look_up(search, i);
	search->nhead = 0;
	read_head(search);
}

/* A term's postings in a segment, from the beginning; NULL if there are none. */
Bm25Cursor *
bm25_search_cursor(Bm25Search *search, uint32 segment, int term)
{
	Bm25Cursor *cursor = search->prefixes[segment][term];

	if (search->entries[segment][term].df == 0)
		return NULL;
	if (cursor != NULL)
	{
		cursor->at = 0;
		return cursor;
	}
	return bm25_cursor_open(search->readers[segment], &search->entries[segment][term]);
}

/* Is "named", or invalid, this index or a partitioned one that it is a partition of? */
bool
bm25_is_named(Oid index, Oid named)
{
	return !OidIsValid(named) || index == named ||
		(get_rel_relkind(named) == RELKIND_PARTITIONED_INDEX &&
		 list_member_oid(get_partition_ancestors(index), named));
}

/* An index with pages: the named one, or some partition of it; invalid if it has none. */
Oid
bm25_any_leaf(Oid named)
{
	ListCell   *cell;

	if (get_rel_relkind(named) != RELKIND_PARTITIONED_INDEX)
		return named;
	foreach(cell, find_all_inheritors(named, AccessShareLock, NULL))
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_INDEX)
			return lfirst_oid(cell);
	return InvalidOid;
}

/*
 * A value may be of any partition, if no scan has found its row.  So these must agree in
 * the options that its score, and with "words" its words, depend on.
 */
void
bm25_check_partitions(const Bm25Search *search, Oid named, bool ordered, bool words)
{
	ListCell   *cell;

	if (named == RelationGetRelid(search->rel))
		return;
	foreach(cell, find_all_inheritors(named, AccessShareLock, NULL))
	{
		Oid			index = lfirst_oid(cell);
		Bm25MetaPageData meta;
		Relation	rel;

		if (index == RelationGetRelid(search->rel) || get_rel_relkind(index) != RELKIND_INDEX)
			continue;
		rel = bm25_open_index(index, AccessShareLock);
		bm25_meta_read(rel, &meta);
		if ((ordered && (meta.k1 != search->meta.k1 || meta.b != search->meta.b)) ||
			(words && bm25_config_oid(&meta) != search->config))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("indexes \"%s\" and \"%s\" of partitions differ in text_config, k1 or b",
							RelationGetRelationName(search->rel), RelationGetRelationName(rel)),
					 errhint("Give both the same options, and REINDEX. Texts in several languages can be indexed as tsvector.")));
		index_close(rel, NoLock);
	}
}

/* Add the statistics of the other partitions of a partitioned index to those of this one. */
static void
add_partitions(Bm25Search *search)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(search->named, AccessShareLock, NULL))
	{
		Oid			index = lfirst_oid(cell);
		Bm25Search	other = *search;

		if (index == RelationGetRelid(search->rel) || get_rel_relkind(index) != RELKIND_INDEX)
			continue;
		other.rel = bm25_open_index(index, AccessShareLock);
		bm25_meta_read(other.rel, &other.meta);
		look_at(&other);
		search->ndocs += other.ndocs;
		search->sumlen += other.sumlen;
		index_close(other.rel, NoLock);
	}
}

/* Compute the weights of the terms.  README.md, "Score". */
static void
compute_weights(Bm25Search *search, Bm25Weights *weights)
{
	float		sum = 0;

	weights->avglen = search->ndocs > 0 ? search->sumlen / search->ndocs : 0;
	weights->norm = bm25_norm(search->meta.k1, search->meta.b, weights->avglen);
	for (int i = 0; i < search->nterms; i++)
	{
		Bm25Term   *term = &search->terms[i];
		double		df = Min(term->df, search->ndocs);
		double		idf = log(1 + (search->ndocs - df + 0.5) / (df + 0.5));

		weights->scaled[i] = (float) idf * (search->meta.k1 + 1) * term->freq;
		sum += weights->scaled[i];
	}
	weights->shift = 31 - (sum > 0 ? (int) ceil(log2(sum)) : 0);
	for (int i = 0; i < search->nterms; i++)
		weights->scaled[i] = ldexpf(weights->scaled[i], weights->shift);
}

/*
 * The weights of the latest queries, so that all that a statement asks of an index
 * gets the same scores, whatever is inserted meanwhile.
 */
#define KEPT 4

typedef struct Kept
{
	Oid			index;
	TimestampTz statement;
	CommandId	command;
	StringInfoData terms;
	Bm25Weights weights;
} Kept;

static Kept kept[KEPT];
static int	next_kept = 0;

static void
describe_terms(Bm25Search *search, StringInfo to)
{
	/* Partitions may differ in these, and bounds are made with a partition's own. */
	appendBinaryStringInfo(to, (char *) &search->meta.k1, sizeof(search->meta.k1));
	appendBinaryStringInfo(to, (char *) &search->meta.b, sizeof(search->meta.b));
	for (int i = 0; i < search->nterms; i++)
	{
		Bm25Term   *term = &search->terms[i];

		appendBinaryStringInfo(to, (char *) &term->len, sizeof(term->len));
		appendBinaryStringInfo(to, term->word, term->len);
		appendBinaryStringInfo(to, (char *) &term->freq, sizeof(term->freq));
		appendStringInfoChar(to, term->prefix);
	}
}

static void
find_weights(Bm25Search *search)
{
	Oid			index = search->named;
	TimestampTz statement = GetCurrentStatementStartTimestamp();
	CommandId	command = GetCurrentCommandId(false);
	StringInfoData terms;
	Kept	   *keep;
	float	   *scaled;

	initStringInfo(&terms);
	describe_terms(search, &terms);
	search->weights = palloc0(sizeof(Bm25Weights));
	search->weights->n = search->nterms;
	search->weights->scaled = palloc(sizeof(float) * Max(search->nterms, 1));
	for (int i = 0; i < KEPT; i++)
	{
		keep = &kept[i];
		if (keep->index != index || keep->statement != statement || keep->command != command ||
			keep->terms.len != terms.len ||
			memcmp(keep->terms.data, terms.data, terms.len) != 0)
			continue;
		scaled = search->weights->scaled;
		memcpy(scaled, keep->weights.scaled, sizeof(float) * search->nterms);
		*search->weights = keep->weights;
		search->weights->scaled = scaled;
		return;
	}
	if (index != RelationGetRelid(search->rel))
		add_partitions(search);
	compute_weights(search, search->weights);

	/* The scaled weights stand behind the terms. */
	keep = &kept[next_kept++ % KEPT];
	keep->index = InvalidOid;
	if (keep->terms.data != NULL)
		pfree(keep->terms.data);
	keep->terms.data = NULL;
	keep->terms.data = MemoryContextAlloc(TopMemoryContext, MAXALIGN(terms.len + 1) +
										  sizeof(float) * search->nterms);
	memcpy(keep->terms.data, terms.data, terms.len);
	keep->terms.len = terms.len;
	keep->weights = *search->weights;
	keep->weights.scaled = (float *) (keep->terms.data + MAXALIGN(terms.len + 1));
	memcpy(keep->weights.scaled, search->weights->scaled, sizeof(float) * search->nterms);
	keep->statement = statement;
	keep->command = command;
	keep->index = index;
}

/* Look at the index: what it had when the search began, and new documents. */
void
bm25_search_open(Bm25Search *search)
{
	for (int i = 0; i < search->nterms; i++)
		search->terms[i].df = 0;
	look_at(search);
	if (search->meta.flags & BM25_HAS_IMPACTS)
		search->weights = bm25_impact_weights(search);
	else
		find_weights(search);
}

/* What users see: negative, so that the best row comes first in ascending order. */
double
bm25_score(const Bm25Weights *weights, uint32 points)
{
	return points == 0 ? 0 : -ldexp(points, -weights->shift);
}

/* The points of a document of the head. */
uint32
bm25_head_points(Bm25Search *search, const Bm25HeadDocument *document)
{
	uint32		points = 0;

	if (document->words == NULL)
		return 0;
	for (int i = 0; i < search->nterms; i++)
	{
		Bm25Weight	weight = bm25_weight(search->weights, i);
		uint32		tf = document->words[i].tf;

		if (search->terms[i].freq == 0 || tf == 0)
			continue;
		points = weight.impact ? bm25_add_impact(points, weight.scaled, tf) :
			points + bm25_points(weight.scaled, weight.norm, tf, document->length);
	}
	return points;
}
