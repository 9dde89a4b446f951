/*-------------------------------------------------------------------------
 *
 * cost.c
 *		Planner cost of a scan.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "type/sparsevec.h"
#include "utils/array.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

/* Of a query that is not known yet: its words, and how many rows have one of them */
#define UNKNOWN_WORDS 3
#define UNKNOWN_SHARE 0.01

/* A posting, in operators; pages read for a word, of which most are in memory */
#define POSTING_COST (0.25 * cpu_operator_cost)
#define WORD_PAGES 3
#define MISS_SHARE 0.1

/*
 * Queries of sparse vectors have so many elements, if it is not known.  They ask for
 * dimensions that many rows have, more than the mean by this factor.
 */
#define UNKNOWN_ELEMENTS 40
#define COMMON_FACTOR 8

/* A row of them: after the first ones, the next are looked for again, and then all are. */
#define SPARSE_ROW_COST (20 * cpu_index_tuple_cost)

/* What is known of a scan's queries */
typedef struct Estimate
{
	double		words;
	double		postings;
	double		matches;		/* rows */
	Cost		row_cost;
	bool		other_index;	/* a query names another one */
} Estimate;

/*
 * The index that a query is for, by to_bm25query() or by the planner (resolve.c), if only
 * its words are known later; else invalid.
 */
static Oid
named_index(Node *arg)
{
	FuncExpr   *call = (FuncExpr *) arg;
	const char *name;
	Const	   *index;

	if (!IsA(arg, FuncExpr) || list_length(call->args) < 2)
		return InvalidOid;
	index = lsecond(call->args);
	if (!IsA(index, Const) || index->constisnull || index->consttype != REGCLASSOID)
		return InvalidOid;
	name = get_func_name(call->funcid);
	if (strcmp(name, "to_bm25query") != 0 && strcmp(name, "bm25query_for_index") != 0)
		return InvalidOid;
	return DatumGetObjectId(index->constvalue);
}

/* The elements of a constant array */
static List *
array_constants(const Const *constant)
{
	Oid			type = get_element_type(constant->consttype);
	List	   *result = NIL;
	int16		len;
	bool		by_value;
	char		align;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	get_typlenbyvalalign(type, &len, &by_value, &align);
	deconstruct_array(DatumGetArrayTypeP(constant->constvalue), type, len, by_value, align,
					  &values, &nulls, &n);
	for (int i = 0; i < n; i++)
		result = lappend(result, makeConst(type, -1, InvalidOid, len, values[i], nulls[i],
										   by_value));
	return result;
}

/* The query of a constant, which may be a tsquery */
static Bm25Query
constant_query(const Const *constant)
{
	return constant->consttype == TSQUERYOID ?
		bm25_query_of_tsquery(DatumGetTSQuery(constant->constvalue), InvalidOid) :
		DatumGetBm25Query(constant->constvalue);
}

/* Does a query, or one of an array of them, name another index? */
static bool
names_other(Relation rel, Node *arg)
{
	List	   *queries = IsA(arg, ArrayExpr) ? ((ArrayExpr *) arg)->elements : NIL;
	Oid			named = named_index(arg);
	ListCell   *cell;

	if (IsA(arg, Const) && !((Const *) arg)->constisnull)
	{
		Const	   *constant = (Const *) arg;

		if (OidIsValid(get_element_type(constant->consttype)))
			queries = array_constants(constant);
		else
			named = constant_query(constant)->index;
	}
	foreach(cell, queries)
		if (names_other(rel, lfirst(cell)))
			return true;
	return !bm25_is_named(RelationGetRelid(rel), named);
}

/* Look at one query; "condition" tells whether rows must match it. */
static void
estimate_query(Relation rel, Node *arg, bool condition, double ntuples, Estimate *estimate)
{
	Bm25Query	query;
	Bm25Search	search;
	double		sum = 0;
	double		least = ntuples;

	estimate->other_index |= names_other(rel, arg);
	if (estimate->other_index)
		return;
	/* An order is not worth a look: a scan is nearly always the best plan. */
	if (!condition || !IsA(arg, Const) || ((Const *) arg)->constisnull ||
		OidIsValid(get_element_type(((Const *) arg)->consttype)))
	{
		estimate->words += UNKNOWN_WORDS;
		estimate->postings += UNKNOWN_WORDS * UNKNOWN_SHARE * ntuples;
		estimate->matches = Min(estimate->matches, UNKNOWN_SHARE * ntuples);
		return;
	}
	query = constant_query((Const *) arg);
	bm25_search_init(&search, rel);
	search.estimated = true;
	bm25_search_match(&search, query);
	bm25_search_open(&search);
	for (int i = 0; i < search.nterms; i++)
	{
		sum += search.terms[i].df;
		if (search.matches[0].tree != NULL &&
			search.matches[0].required[i / 64] >> (i % 64) & 1)
			least = Min(least, search.terms[i].df);
	}
	estimate->matches = Min(estimate->matches, search.matches[0].matches_nothing ? ntuples :
							Min(least, sum));
	estimate->words += search.nterms;
	estimate->postings += sum;
}

/* Look at the order of an index of sparse vectors. */
static void
estimate_sparse(const Bm25MetaPageData *meta, Node *arg, double ntuples, Estimate *estimate)
{
	double		elements = 0;
	double		dimensions = 1;
	double		share;

	estimate->words = UNKNOWN_ELEMENTS;
	if (IsA(arg, Const) && !((Const *) arg)->constisnull)
		estimate->words = DatumGetSparseVector(((Const *) arg)->constvalue)->nnz;
	for (uint32 i = 0; i < meta->nsegments; i++)
	{
		elements += meta->segments[i].sumlen;
		dimensions = Max(dimensions, meta->segments[i].nterms);
	}
	share = Min(1, COMMON_FACTOR / dimensions *
				elements / Max(ntuples, 1));
	estimate->postings = estimate->words * share * ntuples;
	estimate->row_cost = SPARSE_ROW_COST;
}

void
bm25_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
				  Cost *startup, Cost *total, Selectivity *selectivity,
				  double *correlation, double *pages)
{
	double		ntuples = Max(path->indexinfo->rel->tuples, 1);
	Estimate	estimate = {.matches = ntuples,.row_cost = cpu_index_tuple_cost};
	Relation	rel;
	Bm25MetaPageData meta;
	double		page_cost;
	ListCell   *cell;

	*correlation = 0;
	*pages = path->indexinfo->pages;
	*selectivity = 1;
	*startup = *total = get_float8_infinity();
	/* It has an order or a condition to begin with, and only one order. */
	if ((path->indexorderbys == NIL && path->indexclauses == NIL) ||
		list_length(path->indexorderbys) > 1)
	{
		piramid_disable_path(path);
		return;
	}
	rel = index_open(path->indexinfo->indexoid, NoLock);
	if (bm25_is_sparse(rel))
		bm25_meta_read(rel, &meta);
	foreach(cell, path->indexorderbys)
	{
		Node	   *arg = estimate_expression_value(root, get_rightop(lfirst(cell)));

		if (bm25_is_sparse(rel))
			estimate_sparse(&meta, arg, ntuples, &estimate);
		else
			estimate_query(rel, arg, false, ntuples, &estimate);
	}
	foreach(cell, path->indexclauses)
	{
		IndexClause *clause = lfirst(cell);
		/* Not as it was written: "tsquery @@ tsvector" is turned round for the index. */
		Node	   *arg = (Node *) linitial_node(RestrictInfo, clause->indexquals)->clause;

		/* Of "@@ ANY (array)", the executor asks one query after the other. */
		arg = IsA(arg, ScalarArrayOpExpr) ? lsecond(((ScalarArrayOpExpr *) arg)->args) :
			get_rightop((Expr *) arg);
		estimate_query(rel, estimate_expression_value(root, arg), true, ntuples, &estimate);
	}
	index_close(rel, NoLock);
	if (estimate.other_index)
	{
		piramid_disable_path(path);
		return;
	}
	get_tablespace_page_costs(path->indexinfo->reltablespace, &page_cost, NULL);
	*startup = estimate.words * WORD_PAGES * MISS_SHARE * page_cost +
		estimate.postings * POSTING_COST;
	*total = *startup + estimate.matches * estimate.row_cost;
	/* A bitmap of rows by their order alone would leave out those without any word. */
	if (path->indexclauses != NIL)
		*selectivity = Min(1, Max(estimate.matches, 1) / ntuples);
}
