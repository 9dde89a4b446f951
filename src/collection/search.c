/*-------------------------------------------------------------------------
 *
 * search.c
 *		piramid.search(): which statement it is, and its execution.
 *
 * What a search is, in SQL, piramid.search_sql() says.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "kept.h"
#include "registry.h"
#include "statement/statement.h"
#include "type/vector.h"

/* Arguments of piramid.search() */
enum
{
	ARG_COLLECTION,
	ARG_QUERY,
	ARG_QUERY_TEXT,
	ARG_MODE,
	ARG_K,
	ARG_FILTER,
	ARG_MIN_SCORE,
	ARG_WEIGHTS,
	ARG_EXPAND,
	ARG_PER_DOCUMENT
};

/* What is known of a search before its statement */
typedef struct Search
{
	Oid			schema;
	Collection	collection;
	Oid			vectors;
} Search;

/* The collection's row, which says what the statement is made of */
static void
open_collection(Search *search, Oid documents)
{
	if (!registry_collection(search->schema, documents, &search->collection))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("\"%s\" is no collection",
						DatumGetCString(DirectFunctionCall1(regclassout, ObjectIdGetDatum(documents)))),
				 errhint("piramid.create_collection() and piramid.attach_collection() make one.")));
}

/*
 * The tables that a search reads are locked in the order in which writers do it: documents, chunks,
 * vectors.  Then it is said again that these are the active vectors: so a version that is retired
 * and dropped meanwhile makes no search fail.
 */
static void
open_tables(Search *search)
{
	Oid			documents = search->collection.documents;

	LockRelationOid(documents, AccessShareLock);
	LockRelationOid(search->collection.chunks, AccessShareLock);
	search->vectors = registry_active_vectors(search->schema, documents);
	while (OidIsValid(search->vectors))
	{
		Oid			vectors = search->vectors;

		LockRelationOid(vectors, AccessShareLock);
		search->vectors = registry_active_vectors(search->schema, documents);
		if (search->vectors == vectors)
			return;
		UnlockRelationOid(vectors, AccessShareLock);
	}
	/* If all of it was dropped, this says so. */
	open_collection(search, documents);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("collection \"%s\" has no active version", registry_table_name(documents))));
}

/*
 * Another owner's view would run code of that owner, also with the rights of a
 * superuser, or while it is planned, before rights are tested.  The lock that is held keeps a table one.
 */
static void
check_table(Oid table, bool may_have_partitions)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Form_pg_class form;
	bool		runs_code;

	if (!HeapTupleIsValid(tuple))
		(void) registry_table_name(table);	/* which says so */
	form = (Form_pg_class) GETSTRUCT(tuple);
	runs_code = form->relowner != GetUserId() && form->relkind != RELKIND_RELATION &&
		!(may_have_partitions && form->relkind == RELKIND_PARTITIONED_TABLE);
	ReleaseSysCache(tuple);
	if (runs_code)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" may run code of its owner", registry_table_name(table)),
				 errhint("It has a trigger, policy, check, default or index that piramid did not make. "
						 "Let the owner do this.")));
}

static void
append_argument(StringInfo key, FunctionCallInfo fcinfo, int i)
{
	appendStringInfoChar(key, PG_ARGISNULL(i) ? 'n' : 'v');
	if (PG_ARGISNULL(i))
		return;
	if (i == ARG_MODE || i == ARG_FILTER)
	{
		bytea	   *value = PG_GETARG_BYTEA_PP(i);
		int			length = VARSIZE_ANY_EXHDR(value);

		appendBinaryStringInfo(key, (char *) &length, sizeof(length));
		appendBinaryStringInfo(key, VARDATA_ANY(value), length);
	}
	else if (i != ARG_QUERY && i != ARG_QUERY_TEXT && i != ARG_MIN_SCORE && i != ARG_WEIGHTS)
	{
		Datum		value = PG_GETARG_DATUM(i);

		appendBinaryStringInfo(key, (char *) &value, sizeof(value));
	}
}

/* All that the statement depends on, but for names and indexes */
static void
make_key(StringInfo key, FunctionCallInfo fcinfo, Search *search)
{
	Oid			documents = search->collection.documents;

	initStringInfo(key);
	appendStringInfoChar(key, 's');
	appendBinaryStringInfo(key, (char *) &search->schema, sizeof(Oid));
	appendBinaryStringInfo(key, (char *) &search->vectors, sizeof(Oid));
	appendStringInfoChar(key, check_enable_rls(documents, InvalidOid, true) == RLS_ENABLED);
	for (int i = 0; i < PG_NARGS(); i++)
		append_argument(key, fcinfo, i);
	appendBinaryStringInfo(key, VARDATA(search->collection.row), VARSIZE(search->collection.row) - VARHDRSZ);
}

/* Let piramid.search_sql() put the statement together. */
static const char *
put_together(FunctionCallInfo fcinfo, Search *search)
{
	Oid			types[] = {REGCLASSOID, REGCLASSOID, BOOLOID, BOOLOID, TEXTOID, INT4OID, JSONBOID, BOOLOID, INT4OID, BOOLOID};
	int			arguments[] = {ARG_COLLECTION, -1, ARG_QUERY, ARG_QUERY_TEXT, ARG_MODE, ARG_K, ARG_FILTER,
	ARG_MIN_SCORE, ARG_EXPAND, ARG_PER_DOCUMENT};
	Datum		values[lengthof(types)];
	char		nulls[lengthof(types)];

	for (int i = 0; i < lengthof(types); i++)
	{
		bool		given = arguments[i] < 0 || !PG_ARGISNULL(arguments[i]);
		bool		whether = arguments[i] == ARG_QUERY || arguments[i] == ARG_QUERY_TEXT || arguments[i] == ARG_MIN_SCORE;

		nulls[i] = given || whether ? ' ' : 'n';
		values[i] = whether ? BoolGetDatum(given) : arguments[i] < 0 ? ObjectIdGetDatum(search->vectors) :
			PG_GETARG_DATUM(arguments[i]);
	}
	return make_statement(psprintf("SELECT %s.search_sql($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
								   quote_identifier(get_namespace_name(search->schema))),
						  lengthof(types), types, values, nulls);
}

static bool
is_name(JsonbValue *v, const char *name)
{
	return v->val.string.len == (int) strlen(name) && memcmp(v->val.string.val, name, v->val.string.len) == 0;
}

/* How much a leg of a hybrid counts */
static double
weight_of(FunctionCallInfo fcinfo, const char *leg)
{
	JsonbValue *value = PG_ARGISNULL(ARG_WEIGHTS) ? NULL : registry_find_value(PG_GETARG_JSONB_P(ARG_WEIGHTS), leg);
	char	   *text;

	if (value == NULL || value->type == jbvNull)
		return 1;
	if (value->type == jbvNumeric)
		return DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(value->val.numeric)));
	if (value->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a weight is a number")));
	text = pnstrdup(value->val.string.val, value->val.string.len);
	return DatumGetFloat8(DirectFunctionCall1(float8in, CStringGetDatum(text)));
}

/* A name of another leg would be passed over, and so the weight. */
static void
check_weights(FunctionCallInfo fcinfo)
{
	Jsonb	   *weights;
	JsonbIterator *next;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (PG_ARGISNULL(ARG_WEIGHTS))
		return;
	weights = PG_GETARG_JSONB_P(ARG_WEIGHTS);
	next = JsonbIteratorInit(&weights->root);
	token = JsonbIteratorNext(&next, &v, true);
	while (token == WJB_BEGIN_OBJECT || token == WJB_KEY || token == WJB_VALUE)
	{
		if (token == WJB_KEY && !is_name(&v, "vector") && !is_name(&v, "text"))
			break;
		token = JsonbIteratorNext(&next, &v, true);
	}
	if (token != WJB_END_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weights are of the legs \"vector\" and \"text\""),
				 errhint("For example {\"vector\": 1, \"text\": 0.5}.")));
}

static void
set_parameter(ParamExternData *param, Oid type, Datum value, bool isnull)
{
	param->ptype = type;
	param->value = value;
	param->isnull = isnull;
	param->pflags = PARAM_FLAG_CONST;
}

/* The parameters $1 to $6 of the statement */
static ParamListInfo
make_parameters(FunctionCallInfo fcinfo, Search *search)
{
	ParamListInfo params = makeParamList(6);
	ParamExternData *p = params->params;
	Oid		   *types;
	int			ntypes;

	/* The type of the argument is a domain. */
	get_func_signature(fcinfo->flinfo->fn_oid, &types, &ntypes);
	set_parameter(&p[0], getBaseType(types[ARG_QUERY]), PG_ARGISNULL(ARG_QUERY) ? (Datum) 0 : PG_GETARG_DATUM(ARG_QUERY),
				  PG_ARGISNULL(ARG_QUERY));
	set_parameter(&p[1], TEXTOID, PG_ARGISNULL(ARG_QUERY_TEXT) ? (Datum) 0 : PG_GETARG_DATUM(ARG_QUERY_TEXT),
				  PG_ARGISNULL(ARG_QUERY_TEXT));
	set_parameter(&p[2], FLOAT8OID, Float8GetDatum(weight_of(fcinfo, "vector")), false);
	set_parameter(&p[3], FLOAT8OID, Float8GetDatum(weight_of(fcinfo, "text")), false);
	set_parameter(&p[4], FLOAT8OID, PG_ARGISNULL(ARG_MIN_SCORE) ? (Datum) 0 : PG_GETARG_DATUM(ARG_MIN_SCORE),
				  PG_ARGISNULL(ARG_MIN_SCORE));
	set_parameter(&p[5], INT4OID, PG_ARGISNULL(ARG_EXPAND) ? (Datum) 0 : PG_GETARG_DATUM(ARG_EXPAND), PG_ARGISNULL(ARG_EXPAND));
	return params;
}

/* Vectors of another length are those of another model. */
static void
check_dimensions(FunctionCallInfo fcinfo, Search *search)
{
	Oid			type;
	Oid			collation;
	int32		dimensions;
	Vector	   *query;

	if (PG_ARGISNULL(ARG_QUERY))
		return;
	query = (Vector *) PG_DETOAST_DATUM(PG_GETARG_DATUM(ARG_QUERY));
	/* An owner may have changed the column: then the statement fails, or does not. */
	if (get_attnum(search->vectors, "embedding") == InvalidAttrNumber)
		return;
	get_atttypetypmodcoll(search->vectors, get_attnum(search->vectors, "embedding"), &type, &dimensions, &collation);
	if (dimensions > 0 && query->dim != dimensions)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the query has %d dimensions, and the vectors of \"%s\" have %d", query->dim,
						registry_table_name(search->collection.documents), dimensions),
				 errhint("Embed it with the model of the active version.")));
}

/*
 * piramid.search()
 */
PG_FUNCTION_INFO_V1(piramid_collection_search);
Datum
piramid_collection_search(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Search		search = {.schema = get_func_namespace(fcinfo->flinfo->fn_oid)};
	Oid			documents = PG_ARGISNULL(ARG_COLLECTION) ? InvalidOid : PG_GETARG_OID(ARG_COLLECTION);
	StringInfoData key;
	const char *sql;
	ParamListInfo params;
	DestReceiver *dest;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	/* What this transaction has made itself is seen, too. */
	CommandCounterIncrement();
	open_collection(&search, documents);
	open_tables(&search);
	check_table(documents, true);
	check_table(search.collection.chunks, false);
	check_table(search.vectors, false);
	make_key(&key, fcinfo, &search);
	sql = kept_statement(&key);
	if (sql == NULL)
	{
		Oid			tables[KEPT_TABLES] = {documents, search.collection.chunks, search.vectors};

		sql = put_together(fcinfo, &search);
		keep_statement(&key, tables, sql);
	}
	check_dimensions(fcinfo, &search);
	check_weights(fcinfo);

	params = make_parameters(fcinfo, &search);
	dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult,
									rsinfo->econtext->ecxt_per_query_memory, false, rsinfo->setDesc,
									"the statement of a search returns other columns than are expected");
	/* The best plan for words depends on them; where vectors are near, it does not. */
	statement_execute(sql, params, dest, PG_ARGISNULL(ARG_QUERY_TEXT) ? STATEMENT_GENERIC : 0);
	dest->rDestroy(dest);
	return (Datum) 0;
}
