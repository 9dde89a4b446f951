/*-------------------------------------------------------------------------
 *
 * query.c
 *		The type bm25query, and queries taken apart into words and conditions.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "tsearch/ts_utils.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"

/* So many rows can be noted in a query. */
#define MAX_ROWS 0xFFFF

/* In text, a tsquery has this in front. */
#define TSQUERY_MARK "@@ "

/* Make a bm25query. */
Bm25Query
bm25_make_query(Bm25QueryKind kind, Oid index, const char *data, Size size)
{
	Bm25Query	query = palloc0(offsetof(Bm25QueryData, data) + size);

	SET_VARSIZE(query, offsetof(Bm25QueryData, data) + size);
	query->kind_rows = kind;
	query->index = index;
	memcpy(query->data, data, size);
	return query;
}

/* A query of a tsquery; the index may be invalid. */
Bm25Query
bm25_query_of_tsquery(TSQuery tree, Oid index)
{
	return bm25_make_query(BM25_QUERY_TSQUERY, index, (char *) tree, VARSIZE(tree));
}

/* May the user read all columns that an index is made of? */
static bool
may_read(Relation rel)
{
	Oid			table = rel->rd_index->indrelid;
	AttrNumber	column = rel->rd_index->indkey.values[0];
	Bitmapset  *columns = NULL;
	int			i = -1;

	if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return true;
	if (column != 0)
		columns = bms_make_singleton(column - FirstLowInvalidHeapAttributeNumber);
	pull_varattnos((Node *) RelationGetIndexExpressions(rel), 1, &columns);
	pull_varattnos((Node *) RelationGetIndexPredicate(rel), 1, &columns);
	while ((i = bms_next_member(columns, i)) >= 0)
		if (pg_attribute_aclcheck(table, i + FirstLowInvalidHeapAttributeNumber, GetUserId(),
								  ACL_SELECT) != ACLCHECK_OK)
			return false;
	return !bms_is_empty(columns);
}

/* Statistics of an index tell of rows: who names one must be allowed to read them. */
static void
check_index(Oid index)
{
	Relation	rel = bm25_open_any_index(index, AccessShareLock);

	if (!may_read(rel))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(rel->rd_index->indrelid));
	relation_close(rel, AccessShareLock);
}

/* The end of a name, which may be quoted, at the beginning of a string; NULL if there is none. */
static char *
end_of_name(char *p)
{
	if (*p == '"' && p[1] != '"')
	{
		/* A quote in the name is doubled. */
		for (p++; *p != '\0'; p++)
			if (*p == '"' && *++p != '"')
				return p;
		return NULL;
	}
	if (!isalpha((unsigned char) *p) && !IS_HIGHBIT_SET(*p) && *p != '_')
		return NULL;
	while (isalnum((unsigned char) *p) || IS_HIGHBIT_SET(*p) || *p == '_' || *p == '$')
		p++;
	return p;
}

/* The end of the name of an index, with its schema or without, before a colon; else NULL. */
static char *
end_of_index(char *string)
{
	char	   *end = end_of_name(string);

	if (end != NULL && *end == '.')
		end = end_of_name(end + 1);
	return end != NULL && *end == ':' ? end : NULL;
}

/* The index of a name, which the user must be allowed to ask; invalid if there is none. */
static Oid
look_up_index(const char *name)
{
	RangeVar   *range = makeRangeVarFromNameList(qualified_name(name));
	Oid			index = RangeVarGetRelid(range, NoLock, true);

	if (!OidIsValid(index) || (get_rel_relkind(index) != RELKIND_INDEX &&
							   get_rel_relkind(index) != RELKIND_PARTITIONED_INDEX))
		return InvalidOid;
	check_index(index);
	return index;
}

/* A query with the index that it names, which must be there by now. */
Bm25Query
bm25_find_named(Bm25Query query)
{
	Oid			index;

	if (query->name_size == 0)
		return query;
	/*
	 * A query of ours has an index or a name, not both.  The planner hook of
	 * pg_textsearch, which knows types by their names alone, makes others.
	 */
	if (OidIsValid(query->index))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a bm25query was made by another extension"),
				 errhint("As long as pg_textsearch is in shared_preload_libraries, it changes queries of all databases.")));
	index = look_up_index(query->data);
	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("index \"%s\" does not exist", query->data),
				 errhint("A query begins with an index's name and a colon. With a colon in front, all of it are words.")));
	return bm25_make_query(bm25_query_kind(query), index, query->data + query->name_size,
						   bm25_query_size(query) - query->name_size);
}

/*
 * A query as text: the name of an index and a colon, or nothing; then TSQUERY_MARK and
 * a tsquery, or words, or a colon and words that would be taken for something else.
 * Whether there is such an index does not change what the text means: a query may be
 * restored before its index is.
 */
PG_FUNCTION_INFO_V1(bm25query_in);
Datum
bm25query_in(PG_FUNCTION_ARGS)
{
	char	   *rest = PG_GETARG_CSTRING(0);
	char	   *end = end_of_index(rest);
	char	   *name = NULL;
	Oid			index = InvalidOid;
	Bm25QueryKind kind = BM25_QUERY_TEXT;
	const char *data;
	Size		size;
	Size		name_size = 0;
	Bm25Query	query;

	if (end != NULL)
	{
		name = pnstrdup(rest, end - rest);
		rest = end + 1;
		index = look_up_index(name);
		if (!OidIsValid(index))
			name_size = MAXALIGN(strlen(name) + 1);
	}
	if (strncmp(rest, TSQUERY_MARK, strlen(TSQUERY_MARK)) == 0)
	{
		Datum		string = CStringGetDatum(rest + strlen(TSQUERY_MARK));
		TSQuery		tree = DatumGetTSQuery(DirectFunctionCall1(tsqueryin, string));

		kind = BM25_QUERY_TSQUERY;
		data = (char *) tree;
		size = VARSIZE(tree);
	}
	else
	{
		data = *rest == ':' ? rest + 1 : rest;
		size = strlen(data);
	}
	query = palloc0(offsetof(Bm25QueryData, data) + name_size + size);
	SET_VARSIZE(query, offsetof(Bm25QueryData, data) + name_size + size);
	query->kind_rows = kind;
	query->index = index;
	query->name_size = name_size;
	if (name_size > 0)
		strcpy(query->data, name);
	memcpy(query->data + name_size, data, size);
	PG_RETURN_POINTER(query);
}

/* Append the name of the index of a query, and a colon. */
static void
put_index(StringInfo string, const Bm25QueryData *query)
{
	char	   *name = get_rel_name(query->index);

	if (query->name_size > 0)
		appendStringInfo(string, "%s:", query->data);
	else if (!OidIsValid(query->index))
		return;
	else if (name == NULL)
		appendStringInfo(string, "\"%u\":", query->index);
	else if (RelationIsVisible(query->index))
		appendStringInfo(string, "%s:", quote_identifier(name));
	else
		appendStringInfo(string, "%s:",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(query->index)),
													name));
}

PG_FUNCTION_INFO_V1(bm25query_out);
Datum
bm25query_out(PG_FUNCTION_ARGS)
{
	Bm25Query	query = DatumGetStoredBm25Query(PG_GETARG_DATUM(0));
	const char *data = query->data + query->name_size;
	StringInfoData string;

	initStringInfo(&string);
	put_index(&string, query);
	if (bm25_query_kind(query) == BM25_QUERY_TSQUERY)
		appendStringInfo(&string, TSQUERY_MARK "%s",
						 DatumGetCString(DirectFunctionCall1(tsqueryout, PointerGetDatum(data))));
	else
	{
		char	   *words = pnstrdup(data, bm25_query_size(query) - query->name_size);

		if (*words == ':' || strncmp(words, TSQUERY_MARK, strlen(TSQUERY_MARK)) == 0 ||
			(string.len == 0 && end_of_index(words) != NULL))
			appendStringInfoChar(&string, ':');
		appendStringInfoString(&string, words);
	}
	PG_RETURN_CSTRING(string.data);
}

/* to_bm25query(text [, regclass]) */
PG_FUNCTION_INFO_V1(bm25query_from_text);
Datum
bm25query_from_text(PG_FUNCTION_ARGS)
{
	text	   *t = PG_GETARG_TEXT_PP(0);
	Oid			index = PG_NARGS() > 1 ? PG_GETARG_OID(1) : InvalidOid;

	if (OidIsValid(index))
		check_index(index);
	PG_RETURN_POINTER(bm25_make_query(BM25_QUERY_TEXT, index, VARDATA_ANY(t),
									  VARSIZE_ANY_EXHDR(t)));
}

/* to_bm25query(tsquery [, regclass]), and the cast */
PG_FUNCTION_INFO_V1(bm25query_from_tsquery);
Datum
bm25query_from_tsquery(PG_FUNCTION_ARGS)
{
	Oid			index = PG_NARGS() > 1 ? PG_GETARG_OID(1) : InvalidOid;

	if (OidIsValid(index))
		check_index(index);
	PG_RETURN_POINTER(bm25_query_of_tsquery(PG_GETARG_TSQUERY(0), index));
}

/*
 * The same query for a given index; what the planner puts where a query names
 * none.  The executor checks the rights for the table that it belongs to, which
 * may be those of a view's owner.  Calls that the planner did not make, of which
 * COERCE_SQL_SYNTAX tells, get no index that the user may not read.  They do not
 * fail: the planner's estimates call functions in a form of their own.
 */
PG_FUNCTION_INFO_V1(bm25query_for_index);
Datum
bm25query_for_index(PG_FUNCTION_ARGS)
{
	Bm25Query	query = DatumGetStoredBm25Query(PG_GETARG_DATUM(0));
	Oid			index = PG_GETARG_OID(1);
	FuncExpr   *call = (FuncExpr *) fcinfo->flinfo->fn_expr;
	Bm25Query	copy;

	if (OidIsValid(query->index) || query->name_size > 0)
		PG_RETURN_POINTER(query);
	if (call == NULL || !IsA(call, FuncExpr) || call->funcformat != COERCE_SQL_SYNTAX)
	{
		Relation	rel = bm25_open_any_index(index, AccessShareLock);
		bool		allowed = may_read(rel);

		relation_close(rel, AccessShareLock);
		if (!allowed)
			PG_RETURN_POINTER(query);
	}
	copy = palloc(VARSIZE(query));
	memcpy(copy, query, VARSIZE(query));
	copy->index = index;
	if (PG_NARGS() > 2)
		copy->kind_rows = bm25_query_kind(query) |
			(uint32) Max(0, Min(PG_GETARG_INT32(2), MAX_ROWS)) << BM25_ROWS_SHIFT;
	PG_RETURN_POINTER(copy);
}

/* Begin a search of an index. */
void
bm25_search_init(Bm25Search *search, Relation rel)
{
	memset(search, 0, sizeof(*search));
	search->rel = rel;
	search->named = RelationGetRelid(rel);
	bm25_meta_read(rel, &search->meta);
	search->config = bm25_config_oid(&search->meta);
	search->mask_words = 1;
}

/* Words are looked for in texts. */
static void
check_words(const Bm25Search *search)
{
	if (search->meta.flags & BM25_HAS_IMPACTS)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("index \"%s\" is one of sparse vectors, and has no words",
						RelationGetRelationName(search->rel)),
				 errhint("Name an index of texts.")));
}

/* Where the hash table has a term, or room for it: numbers of terms, or -1 */
static int *
find_place(Bm25Search *search, const char *word, int len, bool prefix)
{
	uint32		mask = search->room * 2 - 1;
	uint32		place = hash_bytes((const unsigned char *) word, len) + prefix;

	for (;; place++)
	{
		int		   *number = &search->places[place & mask];
		const Bm25Term *term;

		if (*number < 0)
			return number;
		term = &search->terms[*number];
		if (term->len == len && term->prefix == prefix && memcmp(term->word, word, len) == 0)
			return number;
	}
}

/* Have room for twice as many terms, 8 at first. */
static void
grow_terms(Bm25Search *search)
{
	search->room = Max(8, search->room * 2);
	search->terms = search->terms == NULL ? palloc(sizeof(Bm25Term) * search->room) :
		repalloc(search->terms, sizeof(Bm25Term) * search->room);
	if (search->places != NULL)
		pfree(search->places);
	search->places = palloc(sizeof(int) * search->room * 2);
	memset(search->places, 0xFF, sizeof(int) * search->room * 2);
	for (int i = 0; i < search->nterms; i++)
	{
		Bm25Term   *term = &search->terms[i];

		*find_place(search, term->word, term->len, term->prefix) = i;
	}
}

/* The number of a term, which is added if it is new. */
static int
add_term(Bm25Search *search, const char *word, int len, bool prefix)
{
	int		   *number;

	if (search->nterms == search->room)
		grow_terms(search);
	number = find_place(search, word, len, prefix);
	if (*number >= 0)
		return *number;
	search->terms[search->nterms] = (Bm25Term) {word, len, prefix};
	search->mask_words = search->nterms / 64 + 1;
	return *number = search->nterms++;
}

/* Count the words of a tsquery that a document is better for. */
static void
count_tree(Bm25Search *search, TSQuery tree, QueryItem *item, bool negated)
{
	check_stack_depth();
	if (item->type == QI_VAL)
	{
		QueryOperand *operand = &item->qoperand;
		int			term = add_term(search, GETOPERAND(tree) + operand->distance,
									operand->length, operand->prefix);

		if (!negated)
			search->terms[term].freq++;
		return;
	}
	if (item->qoperator.oper == OP_NOT)
	{
		count_tree(search, tree, item + 1, !negated);
		return;
	}
	count_tree(search, tree, item + 1, negated);
	count_tree(search, tree, item + item->qoperator.left, negated);
}

/* Collect the words that every match has; "set" is a set of terms. */
static void
find_required(Bm25Search *search, TSQuery tree, QueryItem *item, uint64 *set)
{
	check_stack_depth();
	if (item->type == QI_VAL)
	{
		QueryOperand *operand = &item->qoperand;
		int			term = add_term(search, GETOPERAND(tree) + operand->distance,
									operand->length, operand->prefix);

		set[term / 64] |= UINT64CONST(1) << (term % 64);
	}
	else if (item->qoperator.oper == OP_AND || item->qoperator.oper == OP_PHRASE)
	{
		find_required(search, tree, item + 1, set);
		find_required(search, tree, item + item->qoperator.left, set);
	}
}

/* A term of a condition, as TS_execute asks for it */
typedef struct MatchState
{
	Bm25Match  *match;
	const uint64 *mask;
	Bm25Positions *positions;	/* or NULL: not asked for */
} MatchState;

/* As the server's own function of a tsvector does. */
static TSTernaryValue
check_term(void *arg, QueryOperand *operand, ExecPhraseData *data)
{
	MatchState *state = arg;
	int			term = state->match->terms[(QueryItem *) operand - GETQUERY(state->match->tree)];
	WordEntryPos *positions = NULL;
	int			n = -1;
	int			kept = 0;

	if (!(state->mask[term / 64] >> (term % 64) & 1))
		return TS_NO;
	if (data == NULL && operand->weight == 0)
		return TS_YES;
	if (state->positions != NULL)
		positions = state->positions->read(state->positions, term, &n);
	if (n < 0)
		return TS_MAYBE;
	/* A tsvector without positions has all weights. */
	if (n == 0)
		return data != NULL ? TS_MAYBE : TS_YES;
	for (int i = 0; i < n; i++)
		if (operand->weight == 0 || operand->weight & 1 << WEP_GETWEIGHT(positions[i]))
			positions[kept++] = WEP_GETPOS(positions[i]);
	if (kept == 0)
		return TS_NO;
	if (data != NULL)
	{
		data->pos = positions;
		data->npos = kept;
		data->allocated = true;
	}
	return TS_YES;
}

/* Of places where a phrase may end, keep those before which a word stands; returns how many. */
static int
keep_ends(WordEntryPos *ends, int nends, const WordEntryPos *found, int n, int distance)
{
	int			kept = 0;
	int			j = 0;

	for (int i = 0; i < nends; i++)
	{
		int			wanted = WEP_GETPOS(ends[i]) - distance;

		while (j < n && WEP_GETPOS(found[j]) < wanted)
			j++;
		if (j < n && WEP_GETPOS(found[j]) == wanted)
			ends[kept++] = ends[i];
	}
	return kept;
}

/* Does a document have a phrase, all of whose words it has? */
static TSTernaryValue
match_phrase(Bm25Match *match, QueryItem *item, Bm25Positions *positions)
{
	WordEntryPos *ends = NULL;
	int			nends = 0;
	int			distance = 0;

	for (;;)
	{
		QueryItem  *word = item->type == QI_VAL ? item : item + 1;
		int			n;
		WordEntryPos *found = positions->read(positions,
											  match->terms[word - GETQUERY(match->tree)], &n);

		if (n <= 0)
			return TS_MAYBE;
		nends = ends == NULL ? n : keep_ends(ends, nends, found, n, distance);
		if (nends == 0)
			return TS_NO;
		if (item->type == QI_VAL)
			return TS_YES;
		if (ends == NULL)
			ends = found;
		distance += item->qoperator.distance;
		item += item->qoperator.left;
	}
}

/*
 * Does a document match a plain tsquery, all of whose words it has?  As the server tells,
 * but in a tenth of the time; TS_MAYBE if not all positions are known.
 */
static TSTernaryValue
match_plain(Bm25Match *match, QueryItem *item, Bm25Positions *positions)
{
	TSTernaryValue left;
	TSTernaryValue right;

	check_stack_depth();
	if (item->type == QI_VAL)
		return TS_YES;
	if (item->qoperator.oper == OP_PHRASE)
		return positions == NULL ? TS_MAYBE : match_phrase(match, item, positions);
	right = match_plain(match, item + 1, positions);
	if (right == TS_NO)
		return TS_NO;
	left = match_plain(match, item + item->qoperator.left, positions);
	return left == TS_YES ? right : left;
}

/* Is a tsquery plain?  In a phrase, one word follows the others. */
static bool
is_plain(QueryItem *item, bool in_phrase)
{
	QueryItem  *left;

	check_stack_depth();
	if (item->type == QI_VAL)
		return item->qoperand.weight == 0 && !(in_phrase && item->qoperand.prefix);
	left = item + item->qoperator.left;
	if (item->qoperator.oper == OP_PHRASE)
		return item[1].type == QI_VAL && is_plain(item + 1, true) &&
			(left->type == QI_VAL || left->qoperator.oper == OP_PHRASE) && is_plain(left, true);
	return item->qoperator.oper == OP_AND && is_plain(item + 1, false) && is_plain(left, false);
}

/* Ask the server about a tsquery. */
static TSTernaryValue
ask_server(Bm25Search *search, Bm25Match *match, const uint64 *mask, Bm25Positions *positions,
		   bool maybe)
{
	MatchState	state = {match, mask, positions};

	return TS_execute_ternary(GETQUERY(match->tree), &state,
							  maybe ? TS_EXEC_PHRASE_NO_POS : TS_EXEC_EMPTY, check_term);
}

/*
 * Does a document match a tsquery, whose required words it has?  Its words alone most often
 * tell; if they do not, its positions do.
 */
static TSTernaryValue
match_tree(Bm25Search *search, Bm25Match *match, const uint64 *mask, Bm25Positions *positions)
{
	TSTernaryValue result = match->plain ? match_plain(match, GETQUERY(match->tree), NULL) :
		ask_server(search, match, mask, NULL, true);
	MemoryContext old;

	if (result != TS_MAYBE || positions == NULL)
		return result;
	if (search->scratch == NULL)
		search->scratch = AllocSetContextCreate(GetMemoryChunkContext(search->matches),
												"bm25 match", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(search->scratch);
	if (match->plain)
		result = match_plain(match, GETQUERY(match->tree), positions);
	/* If not all are known, a phrase may still match; else it does not without positions. */
	if (result == TS_MAYBE)
		result = ask_server(search, match, mask, positions, search->recheck);
	MemoryContextSwitchTo(old);
	MemoryContextReset(search->scratch);
	return result;
}

/*
 * Does a document with these words match?  "positions" may be NULL.  Sets *recheck if
 * only its text can tell.
 */
bool
bm25_matches(Bm25Search *search, const uint64 *mask, Bm25Positions *positions, bool *recheck)
{
	for (int i = 0; i < search->nmatches; i++)
	{
		Bm25Match  *match = &search->matches[i];
		TSTernaryValue result;

		if (match->tree == NULL)
		{
			bool		any = false;

			for (int j = 0; j < search->mask_words; j++)
				any |= (mask[j] & match->any[j]) != 0;
			if (!any)
				return false;
			continue;
		}
		for (int j = 0; j < search->mask_words; j++)
			if ((mask[j] & match->required[j]) != match->required[j])
				return false;
		result = match_tree(search, match, mask, positions);
		if (result == TS_NO)
			return false;
		*recheck |= result == TS_MAYBE;
	}
	return true;
}

/* Room for sets of all terms that a query may add */
static uint64 *
new_set(Bm25Search *search)
{
	return palloc0(sizeof(uint64) * search->mask_words);
}

/* Let each set have as many words as there are now; "old" had fewer. */
static void
widen_sets(Bm25Search *search, int old_words)
{
	for (int i = 0; i < search->nmatches; i++)
	{
		uint64	  **sets[] = {&search->matches[i].any, &search->matches[i].required};

		for (int j = 0; j < lengthof(sets); j++)
		{
			uint64	   *set = new_set(search);

			if (*sets[j] == NULL)
				continue;
			memcpy(set, *sets[j], sizeof(uint64) * old_words);
			*sets[j] = set;
		}
	}
}

/* See whether words are asked for with weights or in phrases, which prefixes make lossy. */
static void
find_positional(Bm25Search *search, TSQuery tree, QueryItem *item, bool in_phrase)
{
	check_stack_depth();
	if (item->type == QI_VAL)
	{
		bool		positional = in_phrase || item->qoperand.weight != 0;

		search->positional |= positional;
		search->recheck |= positional && (item->qoperand.prefix ||
										  !(search->meta.flags & BM25_HAS_POSITIONS));
		return;
	}
	in_phrase |= item->qoperator.oper == OP_PHRASE;
	find_positional(search, tree, item + 1, in_phrase);
	if (item->qoperator.oper != OP_NOT)
		find_positional(search, tree, item + item->qoperator.left, in_phrase);
}

/* Is a tsquery any of some words, and nothing else?  They come into "words", a set of terms. */
static bool
is_any(const Bm25Match *match, QueryItem *item, uint64 *words)
{
	check_stack_depth();
	if (item->type == QI_VAL)
	{
		int			term = match->terms[item - GETQUERY(match->tree)];

		words[term / 64] |= UINT64CONST(1) << (term % 64);
		return item->qoperand.weight == 0;
	}
	return item->qoperator.oper == OP_OR && is_any(match, item + 1, words) &&
		is_any(match, item + item->qoperator.left, words);
}

/* Rows match this tsquery. */
static void
add_tree(Bm25Search *search, TSQuery tree)
{
	int			old_words = search->mask_words;
	Bm25Match  *match;
	uint64	   *nothing;

	search->matches = search->matches == NULL ? palloc(sizeof(Bm25Match)) :
		repalloc(search->matches, sizeof(Bm25Match) * (search->nmatches + 1));
	match = &search->matches[search->nmatches];
	*match = (Bm25Match) {tree};
	match->terms = palloc0(sizeof(int) * tree->size);
	for (int i = 0; i < tree->size; i++)
	{
		QueryItem  *item = &GETQUERY(tree)[i];

		if (item->type != QI_VAL)
			continue;
		match->terms[i] = add_term(search, GETOPERAND(tree) + item->qoperand.distance,
								   item->qoperand.length, item->qoperand.prefix);
	}
	find_positional(search, tree, GETQUERY(tree), false);
	widen_sets(search, old_words);
	match->required = new_set(search);
	find_required(search, tree, GETQUERY(tree), match->required);
	search->nmatches++;
	/* Then each row with a word of it matches, and need not be asked about. */
	match->any = new_set(search);
	if (is_any(match, GETQUERY(tree), match->any))
	{
		match->tree = NULL;
		return;
	}
	match->any = NULL;
	/* Does it match without any word? */
	nothing = new_set(search);
	match->matches_nothing = match_tree(search, match, nothing, NULL) != TS_NO;
	match->plain = is_plain(GETQUERY(tree), false);
}

/* The tsquery of a query; NULL if it has no words. */
static TSQuery
query_tree(Bm25Query query)
{
	TSQuery		tree = (TSQuery) query->data;

	return tree->size == 0 ? NULL : tree;
}

/* Rows come in the order of this query. */
void
bm25_search_order_by(Bm25Search *search, Bm25Query query)
{
	int			old_words = search->mask_words;

	check_words(search);
	search->ordered = true;
	if (OidIsValid(query->index))
		search->named = query->index;
	if (bm25_query_kind(query) == BM25_QUERY_TSQUERY)
	{
		TSQuery		tree = query_tree(query);

		if (tree != NULL)
			count_tree(search, tree, GETQUERY(tree), false);
	}
	else
	{
		Bm25Document words;

		bm25_parse_text(search->config, query->data, bm25_query_size(query), 0, &words);
		for (int i = 0; i < words.nwords; i++)
		{
			int			term = add_term(search, words.words[i].word, words.words[i].len, false);

			search->terms[term].freq += words.words[i].tf;
		}
	}
	widen_sets(search, old_words);
}

/* Rows match this query. */
void
bm25_search_match(Bm25Search *search, Bm25Query query)
{
	int			old_words = search->mask_words;
	Bm25Document words = {0};
	int		   *terms;

	check_words(search);
	if (bm25_query_kind(query) == BM25_QUERY_TSQUERY && query_tree(query) != NULL)
	{
		add_tree(search, query_tree(query));
		return;
	}
	/* A text, of which any word will do; or a tsquery without words, which nothing matches */
	if (bm25_query_kind(query) == BM25_QUERY_TEXT)
		bm25_parse_text(search->config, query->data, bm25_query_size(query), 0, &words);
	terms = palloc(sizeof(int) * Max(words.nwords, 1));
	for (int i = 0; i < words.nwords; i++)
		terms[i] = add_term(search, words.words[i].word, words.words[i].len, false);
	search->matches = search->matches == NULL ? palloc(sizeof(Bm25Match)) :
		repalloc(search->matches, sizeof(Bm25Match) * (search->nmatches + 1));
	search->matches[search->nmatches] = (Bm25Match) {NULL};
	widen_sets(search, old_words);
	search->matches[search->nmatches].any = new_set(search);
	for (int i = 0; i < words.nwords; i++)
		search->matches[search->nmatches].any[terms[i] / 64] |= UINT64CONST(1) << (terms[i] % 64);
	search->nmatches++;
}

/* Does each document match that has any of the words that the order asks for? */
bool
bm25_order_matches(Bm25Search *search)
{
	for (int i = 0; i < search->nmatches; i++)
	{
		const Bm25Match *match = &search->matches[i];
		const uint64 *words = match->any;

		if (match->tree != NULL)
			return false;
		for (int term = 0; term < search->nterms; term++)
			if (search->terms[term].freq > 0 && !(words[term / 64] >> (term % 64) & 1))
				return false;
	}
	return true;
}
