/*-------------------------------------------------------------------------
 *
 * hybrid.c
 *		piramid_hybrid(): the rows of the statement that piramid_hybrid_statement()
 *		puts together.
 *
 * Planning it takes longer than executing it.  So its plan is kept for the session, for
 * any query and embedding.
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
#include "utils/builtins.h"
#include "utils/lsyscache.h"

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
	statement = make_statement(fcinfo);
	dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult,
									rsinfo->econtext->ecxt_per_query_memory, false,
									rsinfo->setDesc, NULL);
	statement_execute(statement, params, dest, STATEMENT_GENERIC | STATEMENT_READ_ONLY);
	dest->rDestroy(dest);
	return (Datum) 0;
}
