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

/* The function that puts an index into a query whose words are not known yet */
#define FOR_INDEX "bm25query_for_index"

/* More than these are not worth looking for at once. */
#define MOST_ROWS 10000

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

/* A query, and the one around it */
typedef struct Level
{
	Query	   *query;
	struct Level *up;
} Level;

static Oid	resolve(Level *at, Node *arg);

/* The index that a column of a query is about; of UNION and the like, the first that has one. */
static Oid
resolve_column(Level *at, Node *operation, AttrNumber column)
{
	Query	   *own = at->query;
	TargetEntry *entry;
	Node	   *expression;

	check_stack_depth();
	if (operation != NULL && IsA(operation, SetOperationStmt))
	{
		Oid			index = resolve_column(at, ((SetOperationStmt *) operation)->larg, column);

		return OidIsValid(index) ? index :
			resolve_column(at, ((SetOperationStmt *) operation)->rarg, column);
	}
	if (operation != NULL)
	{
		Query	   *query = rt_fetch(((RangeTblRef *) operation)->rtindex, own->rtable)->subquery;

		return query == NULL ? InvalidOid :
			resolve_column(&(Level) {query, at}, query->setOperations, column);
	}
	/* Of INSERT, UPDATE and DELETE in a CTE, the target list is what they write. */
	entry = get_tle_by_resno(own->commandType == CMD_SELECT ? own->targetList :
							 own->returningList, column);
	if (entry == NULL)
		return InvalidOid;
	expression = (Node *) entry->expr;
	/* As the index's expression and those of queries in planning are */
	if (!IsA(expression, Var))
		expression = eval_const_expressions(NULL, copyObject(expression));
	return resolve(at, expression);
}

/* The query of a CTE; *at becomes the query whose it is.  NULL: none to look into. */
static Query *
find_cte(const RangeTblEntry *rte, Level **at)
{
	ListCell   *cell;

	for (Index i = 0; i < rte->ctelevelsup && *at != NULL; i++)
		*at = (*at)->up;
	if (*at == NULL || rte->self_reference)
		return NULL;
	foreach(cell, (*at)->query->cteList)
	{
		CommonTableExpr *cte = lfirst(cell);

		if (strcmp(cte->ctename, rte->ctename) == 0 && IsA(cte->ctequery, Query))
			return (Query *) cte->ctequery;
	}
	return NULL;
}

/* The index that an expression is about, which is so many levels below the query. */
static Oid
resolve_at(Level *at, Node *arg, int level)
{
	Bitmapset  *varnos;
	int			varno;
	RangeTblEntry *rte;
	AttrNumber	column;
	Query	   *inner = NULL;
	Node	   *expression = NULL;

	while (IsA(arg, RelabelType) || IsA(arg, PlaceHolderVar))
		arg = IsA(arg, RelabelType) ? (Node *) ((RelabelType *) arg)->arg :
			(Node *) ((PlaceHolderVar *) arg)->phexpr;
	varnos = pull_varnos_of_level(NULL, arg, level);
	if (!bms_get_singleton_member(varnos, &varno) || varno > list_length(at->query->rtable))
		return InvalidOid;
	rte = rt_fetch(varno, at->query->rtable);
	if (rte->rtekind == RTE_RELATION)
		return find_index(rte->relid, arg, varno, level);
	/* A column that is a column or expression elsewhere */
	if (!IsA(arg, Var) || ((Var *) arg)->varattno <= 0)
		return InvalidOid;
	column = ((Var *) arg)->varattno;
	if (rte->rtekind == RTE_JOIN)
		expression = list_nth(rte->joinaliasvars, column - 1);
	else
		expression = group_expression(rte, column);
	if (expression != NULL)
		return resolve(at, expression);
	if (rte->rtekind == RTE_SUBQUERY)
		inner = rte->subquery;
	else if (rte->rtekind == RTE_CTE)
		inner = find_cte(rte, &at);
	return inner == NULL ? InvalidOid :
		resolve_column(&(Level) {inner, at}, inner->setOperations, column);
}

/* The index that an expression in a query is about, which may be of a query around this one. */
static Oid
resolve(Level *at, Node *arg)
{
	Oid			index = InvalidOid;
	int			level = 0;

	check_stack_depth();
	for (; at != NULL && !OidIsValid(index); at = at->up)
		index = resolve_at(at, arg, level++);
	return index;
}

/* The same in a query that is being planned */
static Oid
resolve_planned(PlannerInfo *root, Node *arg)
{
	int			n = 0;
	Level	   *levels;

	for (PlannerInfo *up = root; up != NULL; up = up->parent_root)
		n++;
	levels = palloc(sizeof(Level) * n);
	for (int i = 0; i < n; i++, root = root->parent_root)
		levels[i] = (Level) {root->parse, i + 1 < n ? &levels[i + 1] : NULL};
	return resolve(levels, arg);
}

/* The OID of a function beside another one, in the same schema. */
static Oid
function_beside(Oid function, const char *name, int nargs, const Oid *types)
{
	char	   *schema = get_namespace_name(get_func_namespace(function));

	return LookupFuncName(list_make2(makeString(schema), makeString(pstrdup(name))), nargs, types,
						  false);
}

/* The value of LIMIT or OFFSET, as far as it is known; else, or if there is none, -1 */
static int64
get_limit(PlannerInfo *root, Node *clause)
{
	Node	   *value = clause == NULL ? NULL : estimate_expression_value(root, clause);

	return value == NULL || !IsA(value, Const) || ((Const *) value)->constisnull ? -1 :
		DatumGetInt64(((Const *) value)->constvalue);
}

/*
 * How many rows a scan in the order of the query will be asked for, as far as LIMIT tells;
 * 0 if it does not.  That is a hint: a scan returns as many as it has.
 */
static int
guess_rows(PlannerInfo *root)
{
	Query	   *query = root->parse;
	int64		limit = get_limit(root, query->limitCount);
	int64		offset = get_limit(root, query->limitOffset);

	if (limit <= 0 || limit > MOST_ROWS || offset > MOST_ROWS || query->hasAggs ||
		query->hasWindowFuncs || query->hasTargetSRFs || query->groupClause != NIL ||
		query->groupingSets != NIL || query->distinctClause != NIL ||
		query->setOperations != NULL || query->limitOption != LIMIT_OPTION_COUNT)
		return 0;
	limit += Max(offset, 0);
	/* Conditions and joins may discard some; rows of the same score are sorted. */
	if (query->jointree->quals != NULL || list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef) ||
		list_length(query->sortClause) != 1)
		limit = Max(16, limit + limit / 2 + 1);
	return Min(limit, MOST_ROWS);
}

/* Is it a call of a function of ours beside another one, of this name and so many arguments? */
static bool
is_call(Node *node, const char *name, int nargs, Oid beside)
{
	FuncExpr   *call = (FuncExpr *) node;

	return IsA(node, FuncExpr) && list_length(call->args) == nargs &&
		get_func_namespace(call->funcid) == get_func_namespace(beside) &&
		strcmp(get_func_name(call->funcid), name) == 0;
}

/* The query with the index in it; NULL if that is there already. */
static Expr *
query_with_index(PlannerInfo *root, FuncExpr *call, Oid query_type, Oid index)
{
	Node	   *arg = lsecond(call->args);
	Oid			types[] = {query_type, REGCLASSOID, INT4OID};
	int			rows = call->funcresulttype != BOOLOID ? guess_rows(root) : 0;
	bool		is_text = exprType(arg) == TEXTOID;
	List	   *args;

	/* It has one, or names one itself. */
	if (is_call(arg, "to_bm25query", 2, call->funcid) || is_call(arg, FOR_INDEX, 2, call->funcid) ||
		is_call(arg, FOR_INDEX, 3, call->funcid))
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
			Bm25Query	old = DatumGetStoredBm25Query(((Const *) arg)->constvalue);

			/* A name that is no index's yet counts, too. */
			if (OidIsValid(old->index) || old->name_size > 0)
				return NULL;
			query = bm25_make_query(bm25_query_kind(old), index, old->data,
									bm25_query_size(old));
		}
		query->kind_rows |= (uint32) rows << BM25_ROWS_SHIFT;
		return (Expr *) makeConst(query_type, -1, InvalidOid, -1, PointerGetDatum(query), false,
								  false);
	}
	if (is_text)
		arg = (Node *) makeFuncExpr(function_beside(call->funcid, "to_bm25query", 1,
													(Oid[]) {TEXTOID}),
									query_type, list_make1(arg), InvalidOid,
									exprCollation(arg), COERCE_EXPLICIT_CALL);
	args = list_make2(arg, makeConst(REGCLASSOID, -1, InvalidOid, sizeof(Oid),
									 ObjectIdGetDatum(index), false, true));
	if (rows > 0)
		args = lappend(args, makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
									   Int32GetDatum(rows), false, true));
	return (Expr *) makeFuncExpr(function_beside(call->funcid, FOR_INDEX, list_length(args), types),
								 query_type, args, InvalidOid, InvalidOid, COERCE_SQL_SYNTAX);
}

/* Planner support of the operators' functions. */
PG_FUNCTION_INFO_V1(bm25_support);
Datum
bm25_support(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = (SupportRequestSimplify *) PG_GETARG_POINTER(0);
	FuncExpr   *call;
	char	   *schema;
	char	   *name;
	Oid			query_type;
	Oid			index;
	Oid			left;
	Oid			operator;
	Expr	   *query;

	if (!IsA(request, SupportRequestSimplify) || request->root == NULL)
		PG_RETURN_POINTER(NULL);
	call = request->fcall;
	schema = get_namespace_name(get_func_namespace(call->funcid));
	query_type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("bm25query"),
								 ObjectIdGetDatum(get_func_namespace(call->funcid)));
	index = resolve_planned(request->root, linitial(call->args));
	if (!OidIsValid(index))
		PG_RETURN_POINTER(NULL);
	query = query_with_index(request->root, call, query_type, index);
	if (query == NULL)
		PG_RETURN_POINTER(NULL);
	left = getBaseType(exprType(linitial(call->args))) != TSVECTOROID ? TEXTOID :
		call->funcresulttype == BOOLOID ? ANYNONARRAYOID : TSVECTOROID;
	name = pstrdup(call->funcresulttype == BOOLOID ? "@@" : "<@>");
	operator = OpernameGetOprid(list_make2(makeString(schema), makeString(name)), left, query_type);
	PG_RETURN_POINTER(make_opclause(operator, call->funcresulttype, false, linitial(call->args),
									query, InvalidOid, call->inputcollid));
}
