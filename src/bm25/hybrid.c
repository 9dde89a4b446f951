/*-------------------------------------------------------------------------
 *
 * hybrid.c
 *		piramid_hybrid(): the rows of the statement that piramid_hybrid_statement()
 *		puts together.
 *
 * Planning it takes longer than executing it.  So its plan is kept for the session, for
 * any query and embedding; and so is its text, which takes some queries to catalogs.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "catalog/pg_type.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "nodes/params.h"
#include "parser/parse_func.h"
#include "statement/statement.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* The arguments that are no part of the statement, but its parameters */
#define QUERY 2
#define EMBEDDING 4

/* piramid_hybrid_statement(), in the schema of the function that is called */
static Oid
find_statement_function(Oid called)
{
	static const Oid types[] = {REGCLASSOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, FLOAT8OID,
	INT4OID, TEXTOID, INT4OID, INT4OID};
	char	   *schema = get_namespace_name(get_func_namespace(called));

	return LookupFuncName(list_make2(makeString(schema), makeString("piramid_hybrid_statement")),
						  lengthof(types), types, false);
}

/* The statement for all other arguments */
static char *
make_statement(FunctionCallInfo fcinfo)
{
	LOCAL_FCINFO(call, FUNC_MAX_ARGS);
	FmgrInfo	function;
	Datum		statement;
	int			n = 0;

	fmgr_info(find_statement_function(fcinfo->flinfo->fn_oid), &function);
	for (int i = 0; i < PG_NARGS(); i++)
		if (i != QUERY && i != EMBEDDING)
			call->args[n++] = fcinfo->args[i];
	InitFunctionCallInfoData(*call, &function, n, PG_GET_COLLATION(), NULL, NULL);
	statement = FunctionCallInvoke(call);
	if (call->isnull)
		elog(ERROR, "piramid_hybrid_statement() returned NULL");
	return TextDatumGetCString(statement);
}

/* The latest statements, with the arguments that they were made for */
#define KEPT 8

typedef struct Kept
{
	bool		valid;
	Oid			table;
	StringInfoData arguments;
	char	   *statement;
} Kept;

static Kept kept[KEPT];
static int	next_kept = 0;
static uint64 changes = 0;		/* of which the catalogs have told */

static void
forget_table(Datum arg, Oid table)
{
	changes++;
	for (int i = 0; i < KEPT; i++)
		if (!OidIsValid(table) || kept[i].table == table)
			kept[i].valid = false;
}

static void
forget_all(Datum arg, int cache, uint32 hash)
{
	forget_table(arg, InvalidOid);
}

/* Names of tables, columns, types and operators stand in a statement, and what indexes there are. */
static void
watch_catalogs(void)
{
	static const int caches[] = {NAMESPACEOID, TYPEOID, OPEROID, PROCOID};
	static bool watching = false;

	if (watching)
		return;
	CacheRegisterRelcacheCallback(forget_table, (Datum) 0);
	for (int i = 0; i < lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], forget_all, (Datum) 0);
	watching = true;
}

/* All arguments but the query and the embedding, as a string of bytes */
static void
describe_arguments(FunctionCallInfo fcinfo, const Oid *types, StringInfo to)
{
	appendBinaryStringInfo(to, (char *) &fcinfo->flinfo->fn_oid, sizeof(Oid));
	for (int i = 0; i < PG_NARGS(); i++)
	{
		if (i == QUERY || i == EMBEDDING)
			continue;
		appendStringInfoChar(to, PG_ARGISNULL(i));
		if (PG_ARGISNULL(i))
			continue;
		if (types[i] == TEXTOID)
		{
			text	   *t = PG_GETARG_TEXT_PP(i);
			int			size = VARSIZE_ANY_EXHDR(t);

			appendBinaryStringInfo(to, (char *) &size, sizeof(size));
			appendBinaryStringInfo(to, VARDATA_ANY(t), size);
		}
		else
			appendBinaryStringInfo(to, (char *) &fcinfo->args[i].value, sizeof(Datum));
	}
}

/* The statement for these arguments, made or kept */
static char *
find_statement(FunctionCallInfo fcinfo, const Oid *types)
{
	StringInfoData arguments;
	Kept	   *keep;
	char	   *statement;
	uint64		changes_before;

	watch_catalogs();
	/* With the lock comes what others have changed; nobody changes it before the text is planned. */
	if (!PG_ARGISNULL(0))
		LockRelationOid(PG_GETARG_OID(0), AccessShareLock);
	initStringInfo(&arguments);
	describe_arguments(fcinfo, types, &arguments);
	for (int i = 0; i < KEPT; i++)
		if (kept[i].valid && kept[i].arguments.len == arguments.len &&
			memcmp(kept[i].arguments.data, arguments.data, arguments.len) == 0)
			return pstrdup(kept[i].statement);
	changes_before = changes;
	statement = make_statement(fcinfo);
	if (changes != changes_before)
		return statement;
	keep = &kept[next_kept++ % KEPT];
	keep->valid = false;
	if (keep->statement != NULL)
		pfree(keep->statement);
	keep->statement = NULL;
	/* The arguments stand behind it. */
	keep->statement = MemoryContextAlloc(TopMemoryContext, strlen(statement) + 1 + arguments.len);
	strcpy(keep->statement, statement);
	keep->arguments.data = keep->statement + strlen(statement) + 1;
	keep->arguments.len = arguments.len;
	memcpy(keep->arguments.data, arguments.data, arguments.len);
	keep->table = PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0);
	keep->valid = true;
	return statement;
}

PG_FUNCTION_INFO_V1(piramid_hybrid);
Datum
piramid_hybrid(PG_FUNCTION_ARGS)
{
	static const int places[] = {QUERY, EMBEDDING};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ParamListInfo params = makeParamList(lengthof(places));
	DestReceiver *dest;
	char	   *statement;
	Oid		   *types;
	int			ntypes;

	InitMaterializedSRF(fcinfo, 0);
	(void) get_func_signature(fcinfo->flinfo->fn_oid, &types, &ntypes);
	for (int i = 0; i < lengthof(places); i++)
	{
		params->params[i].value = fcinfo->args[places[i]].value;
		params->params[i].isnull = fcinfo->args[places[i]].isnull;
		params->params[i].ptype = types[places[i]];
	}
	statement = find_statement(fcinfo, types);
	dest = CreateDestReceiver(DestTuplestore);
	/* A filter that closes the parenthesis around it may make other columns of the rest. */
	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult,
									rsinfo->econtext->ecxt_per_query_memory, false,
									rsinfo->setDesc, "the filter is no condition");
	statement_execute(statement, params, dest, STATEMENT_GENERIC | STATEMENT_READ_ONLY);
	dest->rDestroy(dest);
	return (Datum) 0;
}
