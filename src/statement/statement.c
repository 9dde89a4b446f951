/*-------------------------------------------------------------------------
 *
 * statement.c
 *		SQL that a function puts together, planned once in a session.
 *
 * EXECUTE of PL/pgSQL parses and plans its string each time, which takes
 * longer than most statements of a collection do.  Here the string is the key
 * of a plan that is kept.  PostgreSQL plans anew by itself when tables, the
 * search path or row level security have changed.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/params.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "statement.h"

/* Plans that a session keeps; the one that was used last the longest ago goes first. */
#define MOST_STATEMENTS 50

/*
 * Tables grow without telling: one that was empty was best read from end to
 * end.  So a plan is made anew when its tables have half as many pages again,
 * or half as many, which is looked at once in so many microseconds.
 */
#define LOOK_AFTER USECS_PER_SEC

/* So old a plan is made anew in any case: settings of the planner may have changed. */
#define MOST_AGE USECS_PER_MINUTE

typedef struct Statement
{
	uint64		key;			/* a hash of the text and the types */
	SPIPlanPtr	plan;
	char	   *text;
	int			nargs;
	Oid		   *types;
	int			running;		/* how often it is being executed now */
	uint64		used;			/* when, as a number of uses */
	TimestampTz planned;
	TimestampTz looked;			/* when the tables were looked at */
	BlockNumber pages;			/* that they had */
} Statement;

static HTAB *statements = NULL;
static uint64 uses = 0;

static void
forget(Statement *statement)
{
	SPI_freeplan(statement->plan);
	pfree(statement->text);
	pfree(statement->types);
	hash_search(statements, &statement->key, HASH_REMOVE, NULL);
}

/* Make room for one more.  A statement that is running stays. */
static void
forget_oldest(void)
{
	HASH_SEQ_STATUS scan;
	Statement  *s;
	Statement  *oldest = NULL;

	hash_seq_init(&scan, statements);
	while ((s = hash_seq_search(&scan)) != NULL)
	{
		if (s->running == 0 && (oldest == NULL || s->used < oldest->used))
			oldest = s;
	}
	if (oldest != NULL)
		forget(oldest);
}

/*
 * Does the plan name a table?  A rule DO INSTEAD NOTHING leaves none, and then PostgreSQL does not tell
 * the plan that the rule is gone.
 */
static bool
has_tables(SPIPlanPtr plan)
{
	ListCell   *source;

	foreach(source, SPI_plan_get_plan_sources(plan))
	{
		if (((CachedPlanSource *) lfirst(source))->relationOids != NIL)
			return true;
	}
	return false;
}

/*
 * The pages of the tables that a plan reads; InvalidBlockNumber if some are of tables that the
 * statement does not name.  What is gone makes no difference: the plan is invalid.
 */
static BlockNumber
count_pages(SPIPlanPtr plan)
{
	BlockNumber pages = 0;
	bool		named = true;
	ListCell   *source;
	ListCell   *table;

	foreach(source, SPI_plan_get_plan_sources(plan))
	{
		foreach(table, ((CachedPlanSource *) lfirst(source))->relationOids)
		{
			Relation	rel = try_relation_open(lfirst_oid(table), AccessShareLock);

			if (rel == NULL)
				continue;
			named &= !rel->rd_rel->relhassubclass;
			if (RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
				pages += RelationGetNumberOfBlocks(rel);
			relation_close(rel, AccessShareLock);
		}
	}
	return named ? pages : InvalidBlockNumber;
}

/* Were the tables of about this size when it was planned? */
static bool
is_fresh(Statement *statement)
{
	TimestampTz now = GetCurrentTimestamp();
	BlockNumber pages;

	if (!has_tables(statement->plan))
		return false;
	if (now - statement->looked < LOOK_AFTER)
		return true;
	if (now - statement->planned > MOST_AGE)
		return false;
	pages = count_pages(statement->plan);
	if (pages == InvalidBlockNumber || pages > statement->pages + statement->pages / 2 || pages < statement->pages / 2)
		return false;
	statement->looked = now;
	return true;
}

/*
 * The plan of this text with arguments of these types.  NULL if a statement
 * that is running has the same hash by chance.
 */
static Statement *
find_statement(const char *text, int nargs, Oid *types, int flags)
{
	Size		size = strlen(text);
	uint64		key = hash_bytes_extended((const unsigned char *) text, size, 0);
	Statement  *statement;
	SPIPlanPtr	plan;

	key = hash_bytes_extended((const unsigned char *) types, nargs * sizeof(Oid), key);
	if (statements == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(uint64),.entrysize = sizeof(Statement)};

		statements = hash_create("piramid statements", MOST_STATEMENTS, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	statement = hash_search(statements, &key, HASH_FIND, NULL);
	if (statement != NULL)
	{
		bool		same = statement->nargs == nargs && strcmp(statement->text, text) == 0 &&
			memcmp(statement->types, types, nargs * sizeof(Oid)) == 0;

		if (same && (statement->running > 0 || is_fresh(statement)))
			return statement;
		if (statement->running > 0)
			return NULL;
		forget(statement);
	}
	else if (hash_get_num_entries(statements) >= MOST_STATEMENTS)
		forget_oldest();

	/* What may fail comes first: then the entry is complete. */
	plan = SPI_prepare_cursor(text, nargs, types, (flags & STATEMENT_GENERIC) ? CURSOR_OPT_GENERIC_PLAN : 0);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	text = MemoryContextStrdup(TopMemoryContext, text);
	types = memcpy(MemoryContextAlloc(TopMemoryContext, Max(nargs, 1) * sizeof(Oid)),
				   types, nargs * sizeof(Oid));
	statement = hash_search(statements, &key, HASH_ENTER, NULL);
	statement->plan = plan;
	statement->text = unconstify(char *, text);
	statement->nargs = nargs;
	statement->types = types;
	statement->running = 0;
	statement->planned = GetCurrentTimestamp();
	statement->looked = statement->planned;
	statement->pages = count_pages(plan);
	return statement;
}

/* The arguments behind the text, as parameters of a statement */
static ParamListInfo
read_arguments(FunctionCallInfo fcinfo)
{
	int			nargs = PG_NARGS() - 1;
	ParamListInfo params = makeParamList(nargs);

	if (get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("arguments of a statement are given one by one, not as an array")));
	for (int i = 0; i < nargs; i++)
	{
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, i + 1);

		if (!OidIsValid(type) || type == UNKNOWNOID)
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("argument %d of the statement has no type", i + 1),
					 errhint("Write a cast.")));
		params->params[i].value = PG_ARGISNULL(i + 1) ? (Datum) 0 : PG_GETARG_DATUM(i + 1);
		params->params[i].isnull = PG_ARGISNULL(i + 1);
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = type;
	}
	return params;
}

/* Execute a statement that is kept; one that is running is not forgotten. */
static pg_noinline int
run_kept(Statement *statement, SPIExecuteOptions *options)
{
	int			result;

	statement->used = ++uses;
	statement->running++;
	PG_TRY();
	{
		result = SPI_execute_plan_extended(statement->plan, options);
	}
	PG_FINALLY();
	{
		statement->running--;
	}
	PG_END_TRY();
	return result;
}

/*
 * Execute a statement, whose plan is kept; rows go to "dest", which may be
 * NULL.  Returns their number.
 */
uint64
statement_execute(const char *sql, ParamListInfo params, DestReceiver *dest, int flags)
{
	Oid			types[FUNC_MAX_ARGS];
	SPIExecuteOptions options = {.params = params,.dest = dest,.must_return_tuples = dest != NULL,
		.read_only = (flags & STATEMENT_READ_ONLY) != 0};
	Statement  *statement;
	int			result;
	uint64		rows;
	int			settings = (flags & STATEMENT_FIXED_PATH) ? NewGUCNestLevel() : 0;

	/* An error undoes it, too. */
	if (settings > 0)
		(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	for (int i = 0; i < params->numParams; i++)
		types[i] = params->params[i].ptype;
	SPI_connect();
	statement = find_statement(sql, params->numParams, types, flags);
	result = statement != NULL ? run_kept(statement, &options) :
		SPI_execute_plan_extended(SPI_prepare(sql, params->numParams, types), &options);
	if (result == SPI_ERROR_TRANSACTION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("such a statement cannot begin or end a transaction")));
	if (result < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));
	rows = SPI_processed;
	SPI_finish();
	if (settings > 0)
		AtEOXact_GUC(true, settings);
	return rows;
}

/* Execute the statement of a call */
static uint64
execute(FunctionCallInfo fcinfo, DestReceiver *dest)
{
	ParamListInfo params = read_arguments(fcinfo);

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a statement is not NULL")));
	return statement_execute(text_to_cstring(PG_GETARG_TEXT_PP(0)), params, dest, 0);
}

/*
 * piramid.query(statement, arguments...): its rows, as EXECUTE would return them.
 */
PG_FUNCTION_INFO_V1(piramid_statement_query);
Datum
piramid_statement_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DestReceiver *dest;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult,
									rsinfo->econtext->ecxt_per_query_memory, false, rsinfo->setDesc,
									"the statement returns other columns than are expected");
	execute(fcinfo, dest);
	dest->rDestroy(dest);
	return (Datum) 0;
}

/*
 * piramid.execute(statement, arguments...): the number of its rows.
 */
PG_FUNCTION_INFO_V1(piramid_statement_execute);
Datum
piramid_statement_execute(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(execute(fcinfo, NULL));
}
