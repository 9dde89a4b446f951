/*-------------------------------------------------------------------------
 *
 * measure.c
 *		Measuring what scans of an index find: queries, true answers, trials.
 *
 * All rows are read by SQL statements of the caller: his privileges, the
 * table's policies and the snapshot apply as to any other statement of his.  All
 * statements have the same snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"
#include "hnsw/measure.h"

#include "access/relation.h"
#include "catalog/index.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Rows of the table that are fetched at a time */
#define FETCHED_ROWS 1000

/* Distances that are kept in memory: 80 MB */
#define MOST_ANSWERS 1e7

/* Exact answers that are timed */
#define TIMED_ANSWERS 3

#define fetched_datum(i, isnull) \
	SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, isnull)

/* ---------------------------------------------------------------------
 * Statements
 * ---------------------------------------------------------------------
 */

static SPIPlanPtr
prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, nargs, types, CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	return plan;
}

/* Does a SELECT consist of FROM and WHERE alone? */
static bool
only_selects(const SelectStmt *select)
{
	return select->whereClause != NULL && select->op == SETOP_NONE && select->targetList == NIL &&
		select->distinctClause == NIL && select->intoClause == NULL && select->groupClause == NIL &&
		select->havingClause == NULL && select->windowClause == NIL && select->valuesLists == NIL &&
		select->sortClause == NIL && select->limitOffset == NULL && select->limitCount == NULL &&
		select->lockingClause == NIL && select->withClause == NULL;
}

/*
 * Verify that a user's text is a condition on the table's rows and nothing more, so
 * that it is one in parentheses, too.
 */
static void
check_filter(const HnswMeasure *measure, const char *filter)
{
	SPIPlanPtr	plan = prepare(psprintf("SELECT FROM %s WHERE %s", measure->table, filter), 0, NULL);
	List	   *sources = SPI_plan_get_plan_sources(plan);
	bool		good = list_length(sources) == 1;

	if (good)
	{
		Node	   *statement = ((CachedPlanSource *) linitial(sources))->raw_parse_tree->stmt;

		good = IsA(statement, SelectStmt) && only_selects((SelectStmt *) statement);
	}
	SPI_freeplan(plan);
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("filter is not a condition"),
				 errhint("Write it as behind WHERE: \"tenant_id = 7\".")));
}

/* The predicate of a partial index; NULL if it has all rows. */
static const char *
index_predicate(Relation rel)
{
	bool		isnull;
	Datum		predicate = SysCacheGetAttr(INDEXRELID, rel->rd_indextuple, Anum_pg_index_indpred,
											&isnull);

	if (isnull)
		return NULL;
	return TextDatumGetCString(DirectFunctionCall2(pg_get_expr, predicate,
												   ObjectIdGetDatum(rel->rd_index->indrelid)));
}

/*
 * Open an index to measure it among the rows that pass a filter (NULL: all).  SPI
 * is connected; the index stays locked until the end of the transaction.
 */
HnswMeasure *
hnsw_measure_open(Oid oid, const char *filter)
{
	HnswMeasure *measure = palloc0(sizeof(HnswMeasure));
	Relation	rel = hnsw_open_index(oid);
	AttrNumber	column = hnsw_vector_column(rel);
	const char *predicate = index_predicate(rel);
	StringInfoData distance;
	Oid			operator;
	Oid			table;

	measure->rel = rel;
	measure->index = hnsw_open(rel);
	measure->value = hnsw_value_create(&measure->index->layout);
	measure->type = rel->rd_opcintype[column - 1];
	operator = get_opfamily_member(rel->rd_opfamily[column - 1], measure->type, measure->type, 1);
	fmgr_info(get_opcode(operator), &measure->distance);
	table = rel->rd_index->indrelid;
	measure->table = psprintf("ONLY %s",
							  quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
														 get_rel_name(table)));
	measure->vector = TextDatumGetCString(DirectFunctionCall3(pg_get_indexdef_ext,
															  ObjectIdGetDatum(oid),
															  Int32GetDatum(column),
															  BoolGetDatum(false)));
	measure->vector = psprintf("(%s)", measure->vector);
	initStringInfo(&distance);
	generate_operator_clause(&distance, measure->vector, measure->type, operator, "$1",
							 measure->type);
	measure->ordering = distance.data;
	if (filter != NULL)
		check_filter(measure, filter);
	/* A comment may end the user's line. */
	measure->condition = psprintf("%s IS NOT NULL AND (%s) AND (%s\n)", measure->vector,
								  predicate != NULL ? predicate : "true",
								  filter != NULL ? filter : "true");
	return measure;
}

/* Close the index; it stays locked, as its table does. */
void
hnsw_measure_close(HnswMeasure *measure)
{
	relation_close(measure->rel, NoLock);
}

/* ---------------------------------------------------------------------
 * Queries
 * ---------------------------------------------------------------------
 */

/* What the index stores of a value; takes memory. */
static HnswOwn
own_of(HnswMeasure *measure, Datum datum)
{
	HnswOwn		own = {0};

	own.data = palloc0(measure->index->layout.own_size);
	hnsw_value_set(&measure->index->layout, measure->value, datum, true);
	hnsw_own_encode(measure->index, measure->value, &own);
	return own;
}

/* Take a value as a query, unless it has no distances. */
static void
add_query(HnswMeasure *measure, Datum datum)
{
	datum = PointerGetDatum(PG_DETOAST_DATUM_COPY(datum));
	hnsw_value_set(&measure->index->layout, measure->value, datum, true);
	if (!hnsw_value_indexable(&measure->index->layout, measure->value))
		return;
	if (measure->masked)
		measure->own[measure->n] = own_of(measure, datum);
	measure->queries[measure->n++] = datum;
}

static void
check_queries(const HnswMeasure *measure)
{
	if (measure->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is nothing to measure index \"%s\" with",
						RelationGetRelationName(measure->rel)),
				 errdetail("No row that it has passes the filter, or no query has distances."),
				 errhint("Measure an index of a table that has rows, with a filter that some of them pass.")));
}

/* Take rows at random, which pass the filter, as queries. */
void
hnsw_measure_rows(HnswMeasure *measure, int n)
{
	const char *sql = psprintf("SELECT %s FROM %s WHERE %s ORDER BY pg_catalog.random() LIMIT %d",
							   measure->vector, measure->table, measure->condition, n);

	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not sample rows");
	measure->masked = true;
	measure->queries = palloc(sizeof(Datum) * n);
	measure->own = palloc(sizeof(HnswOwn) * n);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		datum = fetched_datum(i, &isnull);

		if (!isnull)
			add_query(measure, datum);
	}
	SPI_freetuptable(SPI_tuptable);
	check_queries(measure);
}

/* Verify that queries of a type can be asked. */
void
hnsw_measure_check_type(const HnswMeasure *measure, Oid type)
{
	if (getBaseType(type) != measure->type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("queries of index \"%s\" are of type %s, not %s",
						RelationGetRelationName(measure->rel), format_type_be(measure->type),
						format_type_be(type)),
				 errhint("Cast them to %s.", format_type_be(measure->type))));
}

/* Take given queries, an array of the type of the indexed values. */
void
hnsw_measure_queries(HnswMeasure *measure, ArrayType *queries)
{
	Oid			type = ARR_ELEMTYPE(queries);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *datums;
	bool	   *nulls;
	int			n;

	hnsw_measure_check_type(measure, type);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(queries, type, length, by_value, align, &datums, &nulls, &n);
	if (n > HNSW_MEASURED_QUERIES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("there are more than %d queries", HNSW_MEASURED_QUERIES)));
	measure->queries = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a query is NULL")));
		add_query(measure, datums[i]);
	}
	check_queries(measure);
}

/* ---------------------------------------------------------------------
 * The truth
 * ---------------------------------------------------------------------
 */

/*
 * Offer a row to a query's nearest ones.  A row that the index stores as it does the
 * query has no node of its own.  "own" is made when it is needed.
 */
static void
offer_row(HnswMeasure *measure, int query, double distance, Datum datum, HnswOwn *own)
{
	double	   *nearest = measure->truth + (Size) query * measure->k;
	int		   *n = &measure->ntruth[query];
	int			at;

	if (isnan(distance) || (*n == measure->k && distance >= nearest[*n - 1]))
		return;
	if (measure->masked)
	{
		if (own->data == NULL)
			*own = own_of(measure, datum);
		if (own->scale == measure->own[query].scale &&
			memcmp(own->data, measure->own[query].data, measure->index->layout.own_size) == 0)
			return;
	}
	if (*n < measure->k)
		(*n)++;
	for (at = *n - 1; at > 0 && nearest[at - 1] > distance; at--)
		nearest[at] = nearest[at - 1];
	nearest[at] = distance;
}

/* Read all rows, and find the k nearest ones of each query: their distances. */
void
hnsw_measure_truth(HnswMeasure *measure, int k)
{
	Oid			collation = measure->rel->rd_indcollation[hnsw_vector_column(measure->rel) - 1];
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "hnsw measured row",
													  ALLOCSET_DEFAULT_SIZES);
	SPIPlanPtr	plan = prepare(psprintf("SELECT %s FROM %s WHERE %s", measure->vector,
										measure->table, measure->condition), 0, NULL);
	Portal		portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	uint64		fetched;

	if ((double) measure->n * k > MOST_ANSWERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%d queries for %d rows each are too many", measure->n, k)));
	measure->k = k;
	measure->truth = MemoryContextAllocHuge(CurrentMemoryContext,
											sizeof(double) * measure->n * k);
	measure->ntruth = palloc0(sizeof(int) * measure->n);
	do
	{
		SPI_cursor_fetch(portal, true, FETCHED_ROWS);
		fetched = SPI_processed;
		for (uint64 i = 0; i < fetched; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row_context);
			bool		isnull;
			Datum		datum = fetched_datum(i, &isnull);
			HnswOwn		own = {0};

			CHECK_FOR_INTERRUPTS();
			datum = PointerGetDatum(PG_DETOAST_DATUM(datum));
			for (int query = 0; query < measure->n; query++)
				offer_row(measure, query,
						  DatumGetFloat8(FunctionCall2Coll(&measure->distance, collation, datum,
														   measure->queries[query])),
						  datum, &own);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (fetched > 0);
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	MemoryContextDelete(row_context);
}

/* ---------------------------------------------------------------------
 * Trials
 * ---------------------------------------------------------------------
 */

static SPIPlanPtr
prepare_search(HnswMeasure *measure, int k)
{
	return prepare(psprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d", measure->ordering,
							measure->table, measure->condition, measure->ordering, k),
				   1, &measure->type);
}

/* Run a query; returns its milliseconds.  SPI has its rows. */
static double
ask(SPIPlanPtr plan, Datum query)
{
	instr_time	start;
	instr_time	end;

	CHECK_FOR_INTERRUPTS();
	INSTR_TIME_SET_CURRENT(start);
	if (SPI_execute_plan(plan, &query, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute a query of a trial");
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	return INSTR_TIME_GET_MILLISEC(end);
}

/* How many of so many true answers to a query are among the rows that SPI has? */
static double
share_found(const HnswMeasure *measure, int query, int wanted)
{
	double		worst = measure->truth[(Size) query * measure->k + wanted - 1];
	int			found = 0;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		datum = fetched_datum(i, &isnull);

		found += !isnull && DatumGetFloat8(datum) <= worst;
	}
	return (double) Min(found, wanted) / wanted;
}

/* Verify that the last query has scanned the index. */
static void
check_used(const HnswMeasure *measure)
{
	if (hnsw_last_report()->index != RelationGetRelid(measure->rel))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queries do not use index \"%s\"", RelationGetRelationName(measure->rel)),
				 errdetail("The planner has no scan of it that is ordered by distance.")));
}

static void
try_queries(HnswMeasure *measure, SPIPlanPtr plan, int k, int n, HnswTrialResult *results)
{
	for (int i = 0; i < n; i++)
	{
		HnswTrialResult *result = &results[i];
		int			wanted = Min(k, measure->ntruth[i]);

		result->recall = get_float8_nan();
		if (wanted == 0)
			continue;
		hnsw_forget_report();
		result->ms = ask(plan, measure->queries[i]);
		check_used(measure);
		result->nodes = hnsw_last_report()->counts.nodes;
		result->width = hnsw_last_report()->width;
		result->recall = share_found(measure, i, wanted);
		SPI_freetuptable(SPI_tuptable);
	}
}

/* Until the transaction ends or AtEOXact_GUC ends the level */
static void
set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/* Start to use the index alone.  Returns the level that AtEOXact_GUC ends. */
static int
start_trial(const HnswMeasure *measure)
{
	int			level = NewGUCNestLevel();

	set_locally("enable_indexscan", "on");
	set_locally("enable_seqscan", "off");
	set_locally("enable_bitmapscan", "off");
	set_locally("enable_sort", "off");
	set_locally("max_parallel_workers_per_gather", "0");
	hnsw_trial = (HnswTrial) {
		.running = true,.index = RelationGetRelid(measure->rel),.masked = measure->masked
	};
	return level;
}

/* Ask the first n queries for k rows by the index, searched so wide; 0: as settings say. */
void
hnsw_measure_search(HnswMeasure *measure, int k, int width, int n, HnswTrialResult *results)
{
	HnswTrial	outer = hnsw_trial;
	volatile int level = 0;

	PG_TRY();
	{
		SPIPlanPtr	plan;

		level = start_trial(measure);
		hnsw_trial.width = width;
		plan = prepare_search(measure, k);
		try_queries(measure, plan, k, n, results);
		SPI_freeplan(plan);
	}
	PG_FINALLY();
	{
		hnsw_trial = outer;
	}
	PG_END_TRY();
	AtEOXact_GUC(false, level);
}

/* Milliseconds of an answer to each of the first n queries, on average */
static double
time_queries(HnswMeasure *measure, int k, int n)
{
	SPIPlanPtr	plan = prepare_search(measure, k);
	double		ms = 0;

	for (int i = 0; i < n; i++)
	{
		ms += ask(plan, measure->queries[i]);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freeplan(plan);
	return ms / n;
}

/* Milliseconds of an exact answer, without any hnsw index: the mean of a few */
double
hnsw_measure_exact(HnswMeasure *measure, int k)
{
	HnswTrial	outer = hnsw_trial;
	volatile double ms = 0;

	PG_TRY();
	{
		hnsw_trial.running = true;
		hnsw_trial.index = InvalidOid;
		ms = time_queries(measure, k, Min(measure->n, TIMED_ANSWERS));
	}
	PG_FINALLY();
	{
		hnsw_trial = outer;
	}
	PG_END_TRY();
	return ms;
}

/*
 * Give all rows up to a distance, as the index finds them, to a function: arguments
 * are the query and the distance.  A row that comes late comes, too.
 */
void
hnsw_measure_range(HnswMeasure *measure, Datum *arguments,
				   uint64 (*give) (Portal portal, ReturnSetInfo *result), ReturnSetInfo *result)
{
	HnswTrial	outer = hnsw_trial;
	volatile int level = 0;
	Oid			types[2] = {measure->type, FLOAT8OID};

	PG_TRY();
	{
		SPIPlanPtr	plan;
		Portal		portal;
		uint64		rows;

		level = start_trial(measure);
		hnsw_trial.range = true;
		set_locally("hnsw.iterative_scan", "relaxed_order");
		set_locally("hnsw.max_scan_tuples", CppAsString2(HNSW_DEFAULT_MAX_SCAN_TUPLES));
		plan = prepare(psprintf("SELECT ctid, %s FROM %s WHERE %s AND %s OPERATOR(pg_catalog.<=) $2 ORDER BY %s",
								measure->ordering, measure->table, measure->condition,
								measure->ordering, measure->ordering), 2, types);
		hnsw_forget_report();
		portal = SPI_cursor_open(NULL, plan, arguments, NULL, true);
		rows = give(portal, result);
		SPI_cursor_close(portal);
		/* A filter that is never true needs no scan. */
		if (rows > 0)
			check_used(measure);
		SPI_freeplan(plan);
	}
	PG_FINALLY();
	{
		hnsw_trial = outer;
	}
	PG_END_TRY();
	AtEOXact_GUC(false, level);
}
