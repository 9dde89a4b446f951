/*-------------------------------------------------------------------------
 *
 * clauses.c
 *		Conditions on filter columns that the planner does not push by itself.
 *
 * Up to PostgreSQL 16, the planner makes no ordered path with "= ANY" on a
 * column behind the first, and up to 15 it knows boolean columns only of its own
 * operator families.  Here such conditions become index conditions of a path that
 * was made without them: the plan takes them from the path as it takes the others,
 * and tests on rows only what is not among them.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"
#include "hnsw/key.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"

/* Is "clause" operand = ANY (...), or with another operator, on this column? */
static bool
is_any_of_column(PlannerInfo *root, Node *clause, IndexOptInfo *info, int column)
{
	ScalarArrayOpExpr *any = (ScalarArrayOpExpr *) clause;
	Oid			collation = info->indexcollations[column];

	return IsA(clause, ScalarArrayOpExpr) && any->useOr &&
		match_index_to_operand(linitial(any->args), column, info) &&
		op_in_opfamily(any->opno, info->opfamily[column]) &&
		(!OidIsValid(collation) || collation == any->inputcollid) &&
		!bms_is_member(info->rel->relid, pull_varnos(root, lsecond(any->args))) &&
		!contain_volatile_functions(lsecond(any->args));
}

/* The boolean column, if "clause" tells its value: flag, NOT flag, IS TRUE, IS FALSE. */
static Node *
boolean_of_column(Node *clause, IndexOptInfo *info, int column, bool *value)
{
	Node	   *operand = clause;

	if (!OidIsValid(get_opfamily_member(info->opfamily[column], BOOLOID, BOOLOID,
										HNSW_EQUAL_STRATEGY)))
		return NULL;
	*value = true;
	if (is_notclause(clause))
	{
		operand = (Node *) get_notclausearg(clause);
		*value = false;
	}
	else if (IsA(clause, BooleanTest))
	{
		BooleanTest *test = (BooleanTest *) clause;

		if (test->booltesttype != IS_TRUE && test->booltesttype != IS_FALSE)
			return NULL;
		operand = (Node *) test->arg;
		*value = test->booltesttype == IS_TRUE;
	}
	return match_index_to_operand(operand, column, info) ? operand : NULL;
}

/* What the index tests for a condition, if that is on this column; else NULL. */
static RestrictInfo *
index_condition(PlannerInfo *root, RestrictInfo *condition, IndexOptInfo *info, int column)
{
	Node	   *clause = (Node *) condition->clause;
	bool		value;
	Node	   *boolean;
	Expr	   *equal;

	if (is_any_of_column(root, clause, info, column))
		return condition;
	boolean = boolean_of_column(clause, info, column, &value);
	if (boolean == NULL)
		return NULL;
	equal = make_opclause(BooleanEqualOperator, BOOLOID, false, (Expr *) boolean,
						  (Expr *) makeBoolConst(value, false), InvalidOid, InvalidOid);
	return make_simple_restrictinfo(root, equal);
}

static bool
is_index_clause(IndexPath *path, RestrictInfo *condition)
{
	ListCell   *lc;

	foreach(lc, path->indexclauses)
		if (lfirst_node(IndexClause, lc)->rinfo == condition)
			return true;
	return false;
}

static void
push_condition(PlannerInfo *root, IndexPath *path, RestrictInfo *condition)
{
	IndexOptInfo *info = path->indexinfo;

	for (int column = 0; column < info->nkeycolumns; column++)
	{
		RestrictInfo *qual = index_condition(root, condition, info, column);
		IndexClause *clause;

		if (qual == NULL)
			continue;
		clause = makeNode(IndexClause);
		clause->rinfo = condition;
		clause->indexquals = list_make1(qual);
		clause->lossy = false;
		clause->indexcol = column;
		clause->indexcols = NIL;
		/* Other paths have the same list. */
		path->indexclauses = lappend(list_copy(path->indexclauses), clause);
		return;
	}
}

/* Let the index test what it can; as in the planner, no condition before those of security. */
void
hnsw_push_conditions(PlannerInfo *root, IndexPath *path)
{
	IndexOptInfo *info = path->indexinfo;
	ListCell   *lc;

	if (info->nkeycolumns == 1)
		return;
	foreach(lc, info->indrestrictinfo)
	{
		RestrictInfo *condition = lfirst_node(RestrictInfo, lc);

		if (!condition->pseudoconstant && !is_index_clause(path, condition) &&
			restriction_is_securely_promotable(condition, info->rel))
			push_condition(root, path, condition);
	}
}
