/*-------------------------------------------------------------------------
 *
 * resolve.c
 *		Which index is a query about?  The planner asks when it simplifies
 *		expressions, and puts the index into the query.
 *
 * That is before paths are made, and the same for each place where the expression
 * stands: a select list and an ORDER BY stay equal.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* Is it an index of ours on this column or expression, for all rows? */
static bool
index_fits(Oid oid, Node *arg, int varno, int level)
{
	Relation	rel = index_open(oid, AccessShareLock);
	bool		fits = false;

	if (rel->rd_indam != NULL && rel->rd_indam->ambuild == bm25_build &&
		rel->rd_index->indisvalid && RelationGetIndexPredicate(rel) == NIL)
	{
		AttrNumber	column = rel->rd_index->indkey.values[0];

		if (column != 0)
			fits = IsA(arg, Var) && ((Var *) arg)->varattno == column;
		else
		{
			Node	   *expression = copyObject(linitial(RelationGetIndexExpressions(rel)));

			ChangeVarNodes(expression, 1, varno, 0);
			IncrementVarSublevelsUp(expression, level, 0);
			while (IsA(expression, RelabelType))
				expression = (Node *) ((RelabelType *) expression)->arg;
			fits = equal(expression, arg);
		}
	}
	index_close(rel, AccessShareLock);
	return fits;
}

/* The first index of a table that fits; invalid if there is none. */
static Oid
find_index(Oid table, Node *arg, int varno, int level)
{
	Relation	rel = table_open(table, AccessShareLock);
	List	   *indexes = RelationGetIndexList(rel);
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Oid			index = lfirst_oid(cell);

		if ((!OidIsValid(found) || index < found) && index_fits(index, arg, varno, level))
			found = index;
	}
	list_free(indexes);
	table_close(rel, AccessShareLock);
	return found;
}

/* The index that an expression is about, in a query that is so many levels up. */
static Oid
resolve(Query *query, Node *arg, int level)
{
	Bitmapset  *varnos;
	int			varno;
	RangeTblEntry *rte;

	check_stack_depth();
	while (IsA(arg, RelabelType))
		arg = (Node *) ((RelabelType *) arg)->arg;
	varnos = pull_varnos_of_level(NULL, arg, level);
	if (!bms_get_singleton_member(varnos, &varno) || varno > list_length(query->rtable))
		return InvalidOid;
	rte = rt_fetch(varno, query->rtable);
	if (rte->rtekind == RTE_RELATION)
		return find_index(rte->relid, arg, varno, level);
	/* A column of a subquery that is a column or expression there */
	if (IsA(arg, Var))
	{
		Query	   *inner = rte->rtekind == RTE_SUBQUERY ? rte->subquery : NULL;
		TargetEntry *entry;
		ListCell   *cell;

		if (rte->rtekind == RTE_CTE && rte->ctelevelsup == 0 && !rte->self_reference)
			foreach(cell, query->cteList)
			{
				CommonTableExpr *cte = lfirst(cell);

				if (strcmp(cte->ctename, rte->ctename) == 0 && IsA(cte->ctequery, Query))
					inner = (Query *) cte->ctequery;
			}
		if (inner == NULL || inner->setOperations != NULL)
			return InvalidOid;
		entry = get_tle_by_resno(inner->targetList, ((Var *) arg)->varattno);
		return entry == NULL ? InvalidOid : resolve(inner, (Node *) entry->expr, 0);
	}
	return InvalidOid;
}

/* The OID of a function beside another one, in the same schema. */
static Oid
function_beside(Oid function, const char *name, int nargs, const Oid *types)
{
	char	   *schema = get_namespace_name(get_func_namespace(function));

	return LookupFuncName(list_make2(makeString(schema), makeString(pstrdup(name))), nargs, types,
						  false);
}

/* The query with the index in it; NULL if that is there already. */
static Expr *
query_with_index(FuncExpr *call, Oid query_type, Oid index)
{
	Node	   *arg = lsecond(call->args);
	Oid			types[] = {query_type, REGCLASSOID};
	Oid			for_index = function_beside(call->funcid, "bm25query_for_index", 2, types);
	bool		is_text = exprType(arg) == TEXTOID;

	/* It has one, or names one itself. */
	if (IsA(arg, FuncExpr) &&
		(((FuncExpr *) arg)->funcid == for_index ||
		 (exprType(arg) == query_type && list_length(((FuncExpr *) arg)->args) == 2)))
		return NULL;
	if (IsA(arg, Const) && ((Const *) arg)->constisnull)
		return NULL;
	if (IsA(arg, Const))
	{
		Bm25Query	query;

		if (is_text)
		{
			text	   *t = DatumGetTextPP(((Const *) arg)->constvalue);

			query = bm25_make_query(BM25_QUERY_TEXT, index, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
		}
		else
		{
			Bm25Query	old = DatumGetBm25Query(((Const *) arg)->constvalue);

			if (OidIsValid(old->index))
				return NULL;
			query = bm25_make_query((Bm25QueryKind) old->kind, index, old->data,
									bm25_query_size(old));
		}
		return (Expr *) makeConst(query_type, -1, InvalidOid, -1, PointerGetDatum(query), false,
								  false);
	}
	if (is_text)
		arg = (Node *) makeFuncExpr(function_beside(call->funcid, "to_bm25query", 1,
													(Oid[]) {TEXTOID}),
									query_type, list_make1(arg), InvalidOid,
									exprCollation(arg), COERCE_EXPLICIT_CALL);
	return (Expr *) makeFuncExpr(for_index, query_type,
								 list_make2(arg, makeConst(REGCLASSOID, -1, InvalidOid, sizeof(Oid),
														   ObjectIdGetDatum(index), false, true)),
								 InvalidOid, InvalidOid, COERCE_SQL_SYNTAX);
}

/* Planner support of the operators' functions. */
PG_FUNCTION_INFO_V1(bm25_support);
Datum
bm25_support(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = (SupportRequestSimplify *) PG_GETARG_POINTER(0);
	int			level = 0;
	FuncExpr   *call;
	char	   *schema;
	char	   *name;
	Oid			query_type;
	Oid			index = InvalidOid;
	Oid			left;
	Oid			operator;
	Expr	   *query;

	if (!IsA(request, SupportRequestSimplify) || request->root == NULL)
		PG_RETURN_POINTER(NULL);
	call = request->fcall;
	schema = get_namespace_name(get_func_namespace(call->funcid));
	query_type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("bm25query"),
								 ObjectIdGetDatum(get_func_namespace(call->funcid)));
	/* The left side may be of a query around this one. */
	for (PlannerInfo *root = request->root; root != NULL && !OidIsValid(index);
		 root = root->parent_root)
		index = resolve(root->parse, linitial(call->args), level++);
	if (!OidIsValid(index))
		PG_RETURN_POINTER(NULL);
	query = query_with_index(call, query_type, index);
	if (query == NULL)
		PG_RETURN_POINTER(NULL);
	left = exprType(linitial(call->args)) == TSVECTOROID ? TSVECTOROID : TEXTOID;
	name = pstrdup(call->funcresulttype == BOOLOID ? "@@" : "<@>");
	operator = OpernameGetOprid(list_make2(makeString(schema), makeString(name)), left, query_type);
	PG_RETURN_POINTER(make_opclause(operator, call->funcresulttype, false, linitial(call->args),
									query, InvalidOid, call->inputcollid));
}
