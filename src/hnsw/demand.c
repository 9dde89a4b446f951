/*-------------------------------------------------------------------------
 *
 * demand.c
 *		What the running plan asks of a scan.
 *
 * An access method is told neither the LIMIT nor the filters above its scan.
 * But the executor's state of the running query is at hand: which statement
 * runs is noted around ExecutorRun, and the scan finds its own node in the
 * tree of plan states.  On the way down from the root, a LIMIT tells how many
 * rows will be asked for; without one, a statement that runs to its end asks
 * for all rows.  The node's filters tell from which distance on no row can
 * qualify.
 *
 * What is found here decides how wide a scan searches at once and when it
 * stops, never which rows are right: where nothing is known, a scan goes on
 * for as long as it is asked.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/scan.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "tcop/pquery.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

/*
 * For a cursor, how many times the cost of a search a sweep may have.  A row that the
 * search misses is late when the cursor goes on; after a sweep none is.  Chosen; with it
 * no row was late (EVIDENCE.md, "Late rows").
 */
#define CURSOR_PATIENCE 25

/* The statement that runs, innermost, and whether it will run to its end. */
static QueryDesc *running = NULL;
static bool to_the_end = false;

static ExecutorRun_hook_type next_run_hook = NULL;
static ExecutorFinish_hook_type next_finish_hook = NULL;

static void
note_run(EXECUTOR_RUN_ARGS)
{
	QueryDesc  *outer = running;
	bool		outer_to_the_end = to_the_end;

	running = queryDesc;
	to_the_end = count == 0;
	PG_TRY();
	{
		if (next_run_hook != NULL)
			next_run_hook(EXECUTOR_RUN_PASS);
		else
			standard_ExecutorRun(EXECUTOR_RUN_PASS);
	}
	PG_FINALLY();
	{
		running = outer;
		to_the_end = outer_to_the_end;
	}
	PG_END_TRY();
}

/* Statements within WITH that change rows are run to their end here. */
static void
note_finish(QueryDesc *queryDesc)
{
	QueryDesc  *outer = running;
	bool		outer_to_the_end = to_the_end;

	running = queryDesc;
	to_the_end = true;
	PG_TRY();
	{
		if (next_finish_hook != NULL)
			next_finish_hook(queryDesc);
		else
			standard_ExecutorFinish(queryDesc);
	}
	PG_FINALLY();
	{
		running = outer;
		to_the_end = outer_to_the_end;
	}
	PG_END_TRY();
}

/* Called once, when the library is loaded. */
void
hnsw_demand_init(void)
{
	next_run_hook = ExecutorRun_hook;
	ExecutorRun_hook = note_run;
	next_finish_hook = ExecutorFinish_hook;
	ExecutorFinish_hook = note_finish;
}

/* The way down to the plan node of a scan: so far to the parent */
typedef struct Descent
{
	IndexScanDesc scan;
	PlanState  *parent;
	double		rows;			/* that it is asked for, at least; 0: unknown */
	bool		limited;		/* by a LIMIT above */
	IndexScanState *found;
} Descent;

/* The subplan of a node whose tree this is, or NULL. */
static const SubPlan *
find_subplan(const PlanState *parent, const PlanState *child)
{
	List	   *lists[2] = {parent->initPlan, parent->subPlan};

	for (int i = 0; i < 2; i++)
	{
		ListCell   *lc;

		foreach(lc, lists[i])
			if (((SubPlanState *) lfirst(lc))->planstate == child)
				return ((SubPlanState *) lfirst(lc))->subplan;
	}
	return NULL;
}

/*
 * How many rows a subplan is asked for at least.  One that looks for a value may
 * end early, but has to be sure where it finds none.
 */
static double
subplan_rows(const SubPlan *subplan)
{
	switch (subplan->subLinkType)
	{
		case EXISTS_SUBLINK:
		case EXPR_SUBLINK:
		case MULTIEXPR_SUBLINK:
		case ROWCOMPARE_SUBLINK:
			return 1;
		default:
			return get_float8_infinity();
	}
}

/* Does a window need all rows before it returns one? */
static bool
needs_all(const WindowAgg *window)
{
	return window->ordNumCols == 0 ||
		(window->frameOptions & FRAMEOPTION_END_UNBOUNDED_FOLLOWING) != 0;
}

/* How many rows a node asks its child for, at least, if it is asked for some itself. */
static double
child_rows(const PlanState *state, const PlanState *child, double rows)
{
	const LimitState *limit = (const LimitState *) state;
	const double all = get_float8_infinity();

	switch (nodeTag(state))
	{
		case T_LimitState:
			if (!limit->noCount)
				rows = rows > 0 ? Min(rows, limit->count) : limit->count;
			return rows > 0 ? rows + limit->offset : 0;

			/* no more rows than the child's */
		case T_ResultState:
		case T_SubqueryScanState:
		case T_LockRowsState:
		case T_MaterialState:
		case T_AppendState:
		case T_IncrementalSortState:
		case T_UniqueState:
		case T_GroupState:
			return rows;
		case T_MergeAppendState:
			return rows / ((const MergeAppendState *) state)->ms_nplans;
		case T_AggState:
			return ((const AggState *) state)->aggstrategy == AGG_SORTED ? rows : all;
		case T_WindowAggState:
			if (needs_all((const WindowAgg *) state->plan))
				return all;
			/* may stop at some rank */
			return ((const WindowAggState *) state)->runcondition == NULL ? rows : 0;

			/*
			 * All of the child's before the first row, or all in the end; and a
			 * join that is lost where a row is missing
			 */
		case T_SortState:
		case T_HashState:
		case T_SetOpState:
		case T_ModifyTableState:
		case T_MergeJoinState:
			return all;
		case T_NestLoopState:
			return child == innerPlanState(state) || isinf(rows) ? all : 0;

			/* other joins and whatever there is: who knows */
		default:
			return isinf(rows) ? rows : 0;
	}
}

/* Look for the scan's node in a plan's tree; its rows are then those asked of it. */
static bool
descend(PlanState *state, void *context)
{
	Descent    *descent = context;
	Descent		outer = *descent;

	if (descent->parent != NULL)
	{
		const SubPlan *subplan = find_subplan(descent->parent, state);

		descent->rows = subplan != NULL ? subplan_rows(subplan) :
			child_rows(descent->parent, state, descent->rows);
		descent->limited |= IsA(descent->parent, LimitState) &&
			!((LimitState *) descent->parent)->noCount;
	}
	if (IsA(state, IndexScanState) && ((IndexScanState *) state)->iss_ScanDesc == descent->scan)
	{
		descent->found = (IndexScanState *) state;
		return true;
	}
	descent->parent = state;
	if (planstate_tree_walker(state, descend, context))
		return true;
	*descent = outer;
	return false;
}

/* A numeric expression as slope * distance + offset */
typedef struct Line
{
	double		slope;
	double		offset;
	double		size;			/* of the constants, as they are rounded */
} Line;

static bool
constant_value(Node *node, double *value)
{
	Const	   *constant = (Const *) node;

	if (!IsA(node, Const) || constant->constisnull)
		return false;
	if (constant->consttype == FLOAT8OID)
		*value = DatumGetFloat8(constant->constvalue);
	else if (constant->consttype == FLOAT4OID)
		*value = DatumGetFloat4(constant->constvalue);
	else
		return false;
	return true;
}

/*
 * A copy of an expression with the values that the statement's parameters have in this
 * execution.  Drivers pass a vector twice, as $1 of the filter and $2 of ORDER BY.
 */
static Node *
bind_parameters(Node *node, void *context)
{
	ParamListInfo params = context;
	Param	   *param = (Param *) node;
	ParamExternData *value;
	ParamExternData buffer;
	int16		length;
	bool		by_value;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Param) || param->paramkind != PARAM_EXTERN ||
		param->paramid < 1 || param->paramid > params->numParams)
		return expression_tree_mutator(node, bind_parameters, context);
	value = params->paramFetch != NULL ? params->paramFetch(params, param->paramid, true, &buffer) :
		&params->params[param->paramid - 1];
	if (value->ptype != param->paramtype)
		return (Node *) copyObject(param);
	get_typlenbyval(param->paramtype, &length, &by_value);
	return (Node *) makeConst(param->paramtype, param->paramtypmod, param->paramcollid, length,
							  value->value, value->isnull, by_value);
}

/* Are these the arguments of a distance, in either order?  All distances are symmetric. */
static bool
same_arguments(const List *args, const List *distance_args)
{
	if (list_length(args) != 2)
		return false;
	return equal(args, distance_args) ||
		(equal(linitial(args), lsecond(distance_args)) &&
		 equal(lsecond(args), linitial(distance_args)));
}

/*
 * Is a function the inner product of which an operator's function is the negative?  Both
 * are found by their names, beside each other: PREFIX_negative_inner_product implements
 * the operator.
 */
static bool
is_negated(Oid function, Oid of_operator)
{
	static const char suffix[] = "_negative_inner_product";
	const char *name = get_func_name(function);
	const char *operator_name = get_func_name(of_operator);
	const size_t size = operator_name == NULL ? 0 : strlen(operator_name);

	return name != NULL && strcmp(name, "inner_product") == 0 &&
		size >= sizeof(suffix) && strcmp(operator_name + size - (sizeof(suffix) - 1), suffix) == 0 &&
		get_func_namespace(function) == get_func_namespace(of_operator);
}

/*
 * Is an expression the distance itself, or the negative one?  It may name the operator
 * or its function, and the arguments in either order.
 */
static bool
as_distance(Node *node, OpExpr *distance, Line *line)
{
	Oid			function;
	List	   *args;

	if (IsA(node, OpExpr))
	{
		function = ((OpExpr *) node)->opfuncid;
		args = ((OpExpr *) node)->args;
	}
	else if (IsA(node, FuncExpr))
	{
		function = ((FuncExpr *) node)->funcid;
		args = ((FuncExpr *) node)->args;
	}
	else
		return false;
	if (!same_arguments(args, distance->args))
		return false;
	if (function == distance->opfuncid)
		*line = (Line) {1, 0, 0};
	else if (is_negated(function, distance->opfuncid))
		*line = (Line) {-1, 0, 0};
	else
		return false;
	return true;
}

/*
 * Is an expression a linear one of the distance?  People write thresholds of
 * 1 - distance (cosine similarity), and of -1 * distance (inner product).
 */
static bool
as_line(Node *node, OpExpr *distance, Line *line)
{
	OpExpr	   *op = (OpExpr *) node;
	Node	   *left;
	Node	   *right;
	double		c;

	if (as_distance(node, distance, line))
		return true;
	if (!IsA(node, OpExpr))
		return false;
	left = linitial(op->args);
	right = llast(op->args);
	switch (op->opfuncid)
	{
		case F_FLOAT8UM:
			if (!as_line(left, distance, line))
				return false;
			*line = (Line) {-line->slope, -line->offset, line->size};
			return true;
		case F_FLOAT8PL:
		case F_FLOAT84PL:
		case F_FLOAT48PL:
			if (constant_value(left, &c) ? !as_line(right, distance, line) :
				!constant_value(right, &c) || !as_line(left, distance, line))
				return false;
			line->offset += c;
			line->size += fabs(c);
			return true;
		case F_FLOAT8MI:
		case F_FLOAT84MI:
		case F_FLOAT48MI:
			if (constant_value(right, &c))
			{
				if (!as_line(left, distance, line))
					return false;
				line->offset -= c;
				line->size += fabs(c);
				return true;
			}
			if (!constant_value(left, &c) || !as_line(right, distance, line))
				return false;
			*line = (Line) {-line->slope, c - line->offset, line->size + fabs(c)};
			return true;
		case F_FLOAT8MUL:
		case F_FLOAT84MUL:
		case F_FLOAT48MUL:
			if (constant_value(left, &c) ? !as_line(right, distance, line) :
				!constant_value(right, &c) || !as_line(left, distance, line))
				return false;
			*line = (Line) {line->slope * c, line->offset * c, line->size * fabs(c)};
			return true;
		default:
			return false;
	}
}

/*
 * Does a filter keep only rows below some distance?  The limit is an
 * expression that does not depend on the row.  "bound" is the filter with the values of
 * parameters, which may live shorter than the scan.
 */
static bool
as_limit(Node *filter, Node *bound, OpExpr *distance, HnswDistanceLimit *limit)
{
	OpExpr	   *op = (OpExpr *) filter;
	bool		less;
	Line		line;

	if (!IsA(filter, OpExpr))
		return false;
	switch (op->opfuncid)
	{
		case F_FLOAT8LT:
		case F_FLOAT84LT:
		case F_FLOAT48LT:
		case F_FLOAT8LE:
		case F_FLOAT84LE:
		case F_FLOAT48LE:
			less = true;
			break;
		case F_FLOAT8GT:
		case F_FLOAT84GT:
		case F_FLOAT48GT:
		case F_FLOAT8GE:
		case F_FLOAT84GE:
		case F_FLOAT48GE:
			less = false;
			break;
		default:
			return false;
	}
	for (int i = 0; i < 2; i++)
	{
		Node	   *side = list_nth(((OpExpr *) bound)->args, i);
		Node	   *value = list_nth(op->args, 1 - i);

		/* "less": is the side of the distance the lesser one? */
		if (as_line(side, distance, &line) && (less == (i == 0)) == (line.slope > 0) &&
			isfinite(1 / line.slope) && isfinite(line.size) && !contain_var_clause(value) &&
			!contain_volatile_functions(value) && !contain_subplans(value))
		{
			/* as the operators between the two types do, and exact */
			if (exprType(value) == FLOAT4OID)
				value = (Node *) makeFuncExpr(F_FLOAT8_FLOAT4, FLOAT8OID, list_make1(value),
											  InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
			limit->value = (Expr *) value;
			limit->slope = line.slope;
			limit->offset = line.offset;
			limit->size = line.size;
			return true;
		}
	}
	return false;
}

/* What the filters of a scan's node tell. */
static void
read_filters(HnswDemand *demand, IndexScanState *node)
{
	Node	   *distance = linitial(((IndexScan *) node->ss.ps.plan)->indexorderbyorig);
	ParamListInfo params = node->ss.ps.state->es_param_list_info;
	double		total = node->ss.ss_currentRelation->rd_rel->reltuples;
	ListCell   *lc;

	if (params != NULL && node->ss.ps.plan->qual != NIL)
		distance = bind_parameters(distance, params);
	demand->nlimits = 0;
	foreach(lc, node->ss.ps.plan->qual)
	{
		Node	   *filter = lfirst(lc);
		Node	   *bound = filter;
		HnswDistanceLimit *limit = &demand->limits[demand->nlimits];

		if (demand->nlimits == HNSW_DISTANCE_LIMITS)
			break;
		if (params != NULL && IsA(filter, OpExpr))
			bound = bind_parameters(filter, params);
		if (!as_limit(filter, bound, (OpExpr *) distance, limit))
			continue;
		limit->state = ExecInitExpr(limit->value, &node->ss.ps);
		demand->nlimits++;
	}
	demand->node = node;
	demand->planned = node->ss.ps.plan->plan_rows;

	/* The planner's guess of what the filters let pass */
	demand->share = 1;
	if (demand->nlimits < list_length(node->ss.ps.plan->qual) && total > 0)
		demand->share = Min(Max(node->ss.ps.plan->plan_rows / total, 1e-9), 1);
}

/*
 * From which distance on no row can qualify: infinity if there is no such
 * distance.  The filter itself decides about rows; rounding must not.
 */
static double
distance_limit(HnswDemand *demand, IndexScanState *node)
{
	double		most = get_float8_infinity();

	for (int i = 0; i < demand->nlimits; i++)
	{
		HnswDistanceLimit *limit = &demand->limits[i];
		bool		isnull;
		Datum		datum = ExecEvalExprSwitchContext(limit->state, node->ss.ps.ps_ExprContext,
													  &isnull);
		double		value = isnull ? get_float8_nan() : DatumGetFloat8(datum);
		double		slack = 16 * DBL_EPSILON * (fabs(value) + limit->size);

		/* NULL keeps no row, and NaN is larger than any distance. */
		if (isnull)
			return -get_float8_infinity();
		if (!isnan(value))
			most = Min(most, (value - limit->offset) / limit->slope + slack / fabs(limit->slope));
	}
	return most;
}

/* Does a cursor take the rows of the running statement, so many at a time? */
static bool
is_cursor(void)
{
	return !to_the_end && ActivePortal != NULL && ActivePortal->queryDesc == running;
}

/*
 * The width of a search whose cost a sweep may have in the place of one of this width.
 * A cursor may take all rows; one that has taken some may ask for all others now.
 */
double
hnsw_demand_patience(const HnswDemand *demand, double width)
{
	if (!demand->complete)
		return width;
	return running != NULL && to_the_end ? get_float8_infinity() :
		CURSOR_PATIENCE * Max(width, HNSW_DEFAULT_EF_SEARCH);
}

/*
 * What the running plan asks of a scan that starts.  Allocates in the current
 * memory context, once for all restarts of the scan.
 */
void
hnsw_demand_find(IndexScanDesc scan, HnswDemand *demand)
{
	Descent		descent = {.scan = scan};

	demand->rows = 0;
	demand->complete = false;
	demand->limit = get_float8_infinity();
	if (running == NULL || running->planstate == NULL)
		return;
	descent.rows = to_the_end ? get_float8_infinity() : 0;
	if (!descend(running->planstate, &descent))
		return;
	demand->rows = descent.rows;
	demand->complete = demand->rows == 0 && !descent.limited && is_cursor() && !hnsw_relaxed_order();
	if (demand->node != descent.found)
		read_filters(demand, descent.found);
	demand->limit = distance_limit(demand, descent.found);

	/* The search widens until it is beyond the distance. */
	if (hnsw_trial.range && isfinite(demand->limit))
		demand->rows = 0;

	/* More than there are by the planner's guess: then the scan goes to its end. */
	if (demand->share < 1 && demand->rows >= descent.found->ss.ps.plan->plan_rows)
		demand->rows = get_float8_infinity();
}
