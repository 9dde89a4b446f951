/*-------------------------------------------------------------------------
 *
 * score.c
 *		The operators <@> and @@ where no index is scanned: a text's own words, with
 *		the statistics of the index.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include "access/genam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Kept from one call to the next */
typedef struct ScoreState
{
	Bm25Query	query;
	TimestampTz statement;
	CommandId	command;
	MemoryContext context;		/* of all the rest */
	MemoryContext scratch;		/* of a call */
	Oid			config;
	Bm25Search	search;
} ScoreState;

/*
 * A query that names no index reaches an operator only if the planner found none.  Of
 * ANY and ALL, the planner does not ask.
 */
pg_noreturn static void
report_no_index(FunctionCallInfo fcinfo)
{
	Node	   *call = fcinfo->flinfo->fn_expr;
	bool		of_array = call != NULL && IsA(call, ScalarArrayOpExpr);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("no bm25 index is known for the left side of the operator"),
			 of_array ?
			 errhint("Let each query of ANY or ALL name its index: to_bm25query('words', 'index_name').") :
			 errhint("Create one on this column, or name one: to_bm25query('words', 'index_name').")));
}

/*
 * What is known about a query, which most often is the one of the last call.  It is asked
 * about a text, or a tsvector.
 */
static ScoreState *
get_state(FunctionCallInfo fcinfo, Bm25Query query, bool ordered, bool is_text)
{
	ScoreState *state = fcinfo->flinfo->fn_extra;
	Oid			index;
	Relation	rel;
	MemoryContext old;

	if (!OidIsValid(query->index))
		report_no_index(fcinfo);
	if (state != NULL && state->statement == GetCurrentStatementStartTimestamp() &&
		state->command == GetCurrentCommandId(false) &&
		bm25_same_query(state->query, query))
	{
		MemoryContextReset(state->scratch);
		return state;
	}
	if (state != NULL)
	{
		fcinfo->flinfo->fn_extra = NULL;
		MemoryContextDelete(state->context);
	}
	index = bm25_any_leaf(query->index);
	if (!OidIsValid(index))
		report_no_index(fcinfo);
	rel = bm25_open_index(index, AccessShareLock);
	old = MemoryContextSwitchTo(AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "bm25 score",
													  ALLOCSET_DEFAULT_SIZES));
	state = palloc0(sizeof(ScoreState));
	state->context = CurrentMemoryContext;
	state->scratch = AllocSetContextCreate(state->context, "bm25 score call",
										   ALLOCSET_DEFAULT_SIZES);
	state->query = palloc(VARSIZE(query));
	memcpy(state->query, query, VARSIZE(query));
	state->statement = GetCurrentStatementStartTimestamp();
	state->command = GetCurrentCommandId(false);
	bm25_search_init(&state->search, rel);
	state->config = state->search.config;
	bm25_check_partitions(&state->search, query->index, ordered,
						  is_text || bm25_query_kind(query) == BM25_QUERY_TEXT);
	if (ordered)
	{
		bm25_search_order_by(&state->search, state->query);
		bm25_search_open(&state->search);
	}
	else
		bm25_search_match(&state->search, state->query);
	MemoryContextSwitchTo(old);
	index_close(rel, AccessShareLock);
	fcinfo->flinfo->fn_extra = state;
	return state;
}

/* The words of a document that a query's word stands for: one, or some with a prefix */
static const Bm25Word *
find_words(const Bm25Document *document, const Bm25Term *term, int *n)
{
	int			low = 0;
	int			high = document->nwords;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		const Bm25Word *word = &document->words[middle];

		if (bm25_compare_terms(word->word, word->len, term->word, term->len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (*n = 0; low + *n < document->nwords; (*n)++)
	{
		const Bm25Word *word = &document->words[low + *n];

		if (word->len < term->len || (word->len > term->len && !term->prefix) ||
			memcmp(word->word, term->word, term->len) != 0)
			break;
	}
	return &document->words[low];
}

/* How often a query's word occurs in a document */
static uint32
count_word(const Bm25Document *document, const Bm25Term *term)
{
	int			n;
	const Bm25Word *words = find_words(document, term, &n);
	uint32		tf = 0;

	for (int i = 0; i < n; i++)
		tf += words[i].tf;
	return tf;
}

static Datum
score_document(ScoreState *state, const Bm25Document *document)
{
	const Bm25Weights *weights = state->search.weights;
	uint32		points = 0;

	for (int i = 0; i < state->search.nterms; i++)
	{
		uint32		tf = state->search.terms[i].freq == 0 ? 0 :
			count_word(document, &state->search.terms[i]);

		if (tf > 0)
			points += bm25_points(weights->scaled[i], weights->norm, tf, document->length);
	}
	return Float8GetDatum(bm25_score(weights, points));
}

/* The score of the left side, a text or a tsvector, for a query */
static Datum
score_value(FunctionCallInfo fcinfo, bool is_text)
{
	Bm25Query	query = PG_GETARG_BM25QUERY(1);
	ScoreState *state;
	MemoryContext old;
	Bm25Document document;
	Datum		score;
	double		known;

	if (bm25_scanned_score(PG_GETARG_DATUM(0), query, &known))
		PG_RETURN_FLOAT8(known);
	state = get_state(fcinfo, query, true, is_text);
	old = MemoryContextSwitchTo(state->scratch);
	if (is_text)
	{
		text	   *t = PG_GETARG_TEXT_PP(0);

		bm25_parse_text(state->config, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), 0, &document);
	}
	else
		bm25_parse_tsvector(PG_GETARG_TSVECTOR(0), 0, &document);
	score = score_document(state, &document);
	MemoryContextSwitchTo(old);
	return score;
}

/* text <@> bm25query */
PG_FUNCTION_INFO_V1(bm25_text_score);
Datum
bm25_text_score(PG_FUNCTION_ARGS)
{
	return score_value(fcinfo, true);
}

/* tsvector <@> bm25query */
PG_FUNCTION_INFO_V1(bm25_tsvector_score);
Datum
bm25_tsvector_score(PG_FUNCTION_ARGS)
{
	return score_value(fcinfo, false);
}

/* text <@> text and tsvector <@> text, which the planner replaces when there is an index */
PG_FUNCTION_INFO_V1(bm25_unresolved_score);
Datum
bm25_unresolved_score(PG_FUNCTION_ARGS)
{
	report_no_index(fcinfo);
}

/* A text that is met without the index */
typedef struct TextPositions
{
	Bm25Positions base;
	Bm25Search *search;
	const Bm25Document *document;
} TextPositions;

static WordEntryPos *
read_positions(Bm25Positions *base, int term, int *n)
{
	TextPositions *text = (TextPositions *) base;
	int			nwords;
	const Bm25Word *words = find_words(text->document, &text->search->terms[term], &nwords);
	Size		all = 0;
	WordEntryPos *result;
	int			kept = 0;

	for (int i = 0; i < nwords; i++)
		all += words[i].tf;
	result = palloc_extended(sizeof(WordEntryPos) * Max(all, 1), MCXT_ALLOC_HUGE);
	all = 0;
	for (int i = 0; i < nwords; i++)
	{
		WordEntryPos *positions = bm25_decode_positions(words[i].positions,
														words[i].position_bytes, words[i].tf,
														BM25_HAS_POSITIONS, n);

		memcpy(result + all, positions, sizeof(WordEntryPos) * *n);
		all += *n;
	}
	/* Of words with a prefix, they are brought into order. */
	if (nwords > 1)
		qsort(result, all, sizeof(WordEntryPos), compareWordEntryPos);
	for (Size i = 0; i < all; i++)
		if (kept == 0 || result[kept - 1] != result[i])
			result[kept++] = result[i];
	*n = kept;
	return result;
}

/*
 * Does a document match?  "positions" may be NULL; sets *recheck if only positions can
 * tell then.
 */
static bool
match_document(ScoreState *state, const Bm25Document *document, Bm25Positions *positions,
			   bool *recheck)
{
	Bm25Search *search = &state->search;
	uint64	   *mask = palloc0(sizeof(uint64) * search->mask_words);

	for (int i = 0; i < search->nterms; i++)
		if (count_word(document, &search->terms[i]) > 0)
			mask[i / 64] |= UINT64CONST(1) << (i % 64);
	return bm25_matches(search, mask, positions, recheck);
}

/* text @@ bm25query */
PG_FUNCTION_INFO_V1(bm25_text_match);
Datum
bm25_text_match(PG_FUNCTION_ARGS)
{
	text	   *t = PG_GETARG_TEXT_PP(0);
	ScoreState *state = get_state(fcinfo, PG_GETARG_BM25QUERY(1), false, true);
	MemoryContext old = MemoryContextSwitchTo(state->scratch);
	Bm25Document document;
	TextPositions positions = {{read_positions}, &state->search, &document};
	bool		recheck = false;
	bool		result;

	bm25_parse_text(state->config, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t),
					state->search.positional ? BM25_HAS_POSITIONS : 0, &document);
	result = match_document(state, &document, &positions.base, &recheck);
	MemoryContextSwitchTo(old);
	PG_RETURN_BOOL(result);
}

/* tsvector @@ bm25query; what else may stand on the left side is none of ours. */
PG_FUNCTION_INFO_V1(bm25_tsvector_match);
Datum
bm25_tsvector_match(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	TSVector	vector;
	ScoreState *state;
	MemoryContext old;
	Bm25Document document;
	bool		recheck = false;
	bool		result;

	if (!OidIsValid(type) || getBaseType(type) != TSVECTOROID)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("a bm25query is about a text or a tsvector, not %s", format_type_be(type))));
	vector = PG_GETARG_TSVECTOR(0);
	state = get_state(fcinfo, PG_GETARG_BM25QUERY(1), false, false);
	old = MemoryContextSwitchTo(state->scratch);
	bm25_parse_tsvector(vector, 0, &document);
	result = match_document(state, &document, NULL, &recheck);
	if (recheck)
		result = DatumGetBool(DirectFunctionCall2(ts_match_vq, PointerGetDatum(vector),
												  PointerGetDatum(state->query->data)));
	MemoryContextSwitchTo(old);
	PG_RETURN_BOOL(result);
}
