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

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/params.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Plans that a session keeps; the one that was used last the longest ago goes first. */
#define MOST_STATEMENTS 50

/*
 * Age of a plan, in microseconds, from which on it is made anew.  Tables grow
 * without telling: one that was empty was best read from end to end.
 */
#define MOST_AGE USECS_PER_SEC

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
 * The plan of this text with arguments of these types.  NULL if a statement
 * that is running has the same hash by chance.
 */
static Statement *
find_statement(const char *text, int nargs, Oid *types)
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

		if (same && (statement->running > 0 || GetCurrentTimestamp() - statement->planned < MOST_AGE))
			return statement;
		if (statement->running > 0)
			return NULL;
		forget(statement);
	}
	else if (hash_get_num_entries(statements) >= MOST_STATEMENTS)
		forget_oldest();

	/* What may fail comes first: then the entry is complete. */
	plan = SPI_prepare(text, nargs, types);
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
	return statement;
}

/* The arguments behind the text, as parameters of a statement */
static ParamListInfo
read_arguments(FunctionCallInfo fcinfo, Oid *types)
{
	int			nargs = PG_NARGS() - 1;
	ParamListInfo params = makeParamList(nargs);

	if (get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("arguments of a statement are given one by one, not as an array")));
	for (int i = 0; i < nargs; i++)
	{
		types[i] = get_fn_expr_argtype(fcinfo->flinfo, i + 1);
		if (!OidIsValid(types[i]) || types[i] == UNKNOWNOID)
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("argument %d of the statement has no type", i + 1),
					 errhint("Write a cast.")));
		params->params[i].value = PG_ARGISNULL(i + 1) ? (Datum) 0 : PG_GETARG_DATUM(i + 1);
		params->params[i].isnull = PG_ARGISNULL(i + 1);
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
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

/* Execute the statement of a call; rows go to "dest", which may be NULL.  Returns their number. */
static uint64
execute(FunctionCallInfo fcinfo, DestReceiver *dest)
{
	Oid			types[FUNC_MAX_ARGS];
	SPIExecuteOptions options = {.params = read_arguments(fcinfo, types),.dest = dest,
	.must_return_tuples = dest != NULL};
	Statement  *statement;
	char	   *sql;
	int			result;
	uint64		rows;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a statement is not NULL")));
	sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	SPI_connect();
	statement = find_statement(sql, PG_NARGS() - 1, types);
	result = statement != NULL ? run_kept(statement, &options) :
		SPI_execute_plan_extended(SPI_prepare(sql, PG_NARGS() - 1, types), &options);
	if (result == SPI_ERROR_TRANSACTION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("such a statement cannot begin or end a transaction")));
	if (result < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));
	rows = SPI_processed;
	SPI_finish();
	return rows;
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
