/*-------------------------------------------------------------------------
 *
 * added.c
 *		New documents of a collection that is cut later: what an INSERT pays.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/params.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "kept.h"
#include "queue.h"
#include "registry.h"
#include "statement/statement.h"

/* New documents that wait together in one row, at most */
#define MOST_KEYS 1000

/* The keys of new documents */
typedef struct Keys
{
	Oid			type;
	int16		length;
	bool		by_value;
	char		align;
	const char *check;			/* or NULL */
	int			n;
	Datum		values[MOST_KEYS];
} Keys;

/* Can new documents of this collection be queued as they are?  Not if there is more to test. */
static bool
only_queues(Collection *c)
{
	return c->deferred && !c->limited && OidIsValid(c->uncut);
}

/*
 * The statement that fails if documents ($1) do not fit the filter columns; NULL if there is nothing
 * to test.  Columns of an attached table have their types.
 */
static const char *
check_of(Oid schema, Collection *c)
{
	StringInfoData key;
	const char *sql;

	if (c->attached || !c->filtered)
		return NULL;
	initStringInfo(&key);
	appendStringInfoChar(&key, 'f');
	appendBinaryStringInfo(&key, (char *) &schema, sizeof(Oid));
	appendBinaryStringInfo(&key, VARDATA(c->row), VARSIZE(c->row) - VARHDRSZ);
	sql = kept_statement(&key);
	if (sql == NULL)
	{
		Oid			type = REGCLASSOID;
		Datum		value = ObjectIdGetDatum(c->documents);
		Oid			tables[KEPT_TABLES] = {c->documents};

		sql = make_statement(psprintf("SELECT %s.filter_check($1)", quote_identifier(get_namespace_name(schema))),
							 1, &type, &value, NULL);
		keep_statement(&key, tables, sql);
	}
	return sql[0] == '\0' ? NULL : sql;
}

static void
check_keys(const char *check, Oid array_type, Datum array)
{
	ParamListInfo params = makeParamList(1);

	params->params[0].value = array;
	params->params[0].isnull = false;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[0].ptype = array_type;
	statement_execute(check, params, NULL, STATEMENT_GENERIC | STATEMENT_FIXED_PATH);
}

static void
queue_keys(Queue *queue, Keys *keys)
{
	ArrayType  *array = construct_array(keys->values, keys->n, keys->type, keys->length, keys->by_value, keys->align);

	if (keys->check != NULL)
		check_keys(keys->check, queue->array_type, PointerGetDatum(array));
	queue_insert(queue, PointerGetDatum(array));
	/* A statement may have millions. */
	for (int i = 0; i < keys->n && !keys->by_value; i++)
		pfree(DatumGetPointer(keys->values[i]));
	pfree(array);
	keys->n = 0;
}

/* Queue the documents of a statement, by the column that is their key. */
static void
queue_documents(TriggerData *trigger, AttrNumber key, Queue *queue, Keys *keys)
{
	Tuplestorestate *added = trigger->tg_newtable;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
	bool		any = false;

	keys->n = 0;
	get_typlenbyvalalign(keys->type, &keys->length, &keys->by_value, &keys->align);
	/* Others read the same rows, each from a place of its own. */
	tuplestore_select_read_pointer(added, tuplestore_alloc_read_pointer(added, EXEC_FLAG_REWIND));
	tuplestore_rescan(added);
	while (tuplestore_gettupleslot(added, true, false, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, key, &isnull);

		/* The owner of an attached table may have dropped its key.  There is nothing to cut. */
		if (isnull)
			continue;
		keys->values[keys->n++] = keys->by_value ? value : datumCopy(value, false, keys->length);
		any = true;
		if (keys->n == MOST_KEYS)
			queue_keys(queue, keys);
	}
	if (keys->n > 0)
		queue_keys(queue, keys);
	ExecDropSingleTupleTableSlot(slot);
	if (any)
		Async_Notify("piramid_job", NULL);
}

/* Queue the documents, unless there is more to do, or the queue is of keys of another type. */
static bool
queue_added(Oid schema, Collection *c, TriggerData *trigger)
{
	AttrNumber	key = get_attnum(c->documents, c->key_column);
	Keys	   *keys = palloc(sizeof(Keys));
	Queue		queue;
	bool		done = false;

	if (!only_queues(c) || key == InvalidAttrNumber || !queue_open(&queue, c->uncut))
		return false;
	keys->type = TupleDescAttr(RelationGetDescr(trigger->tg_relation), key - 1)->atttypid;
	if (get_element_type(queue.array_type) == keys->type)
	{
		keys->check = check_of(schema, c);
		queue_documents(trigger, key, &queue, keys);
		done = true;
	}
	queue_close(&queue);
	return done;
}

/* Let piramid.cut_added() do it, with the same rows. */
static Datum
call_other(FunctionCallInfo fcinfo, Oid schema)
{
	LOCAL_FCINFO(call, 0);
	FmgrInfo	function;
	List	   *name = list_make2(makeString(get_namespace_name(schema)), makeString(pstrdup("cut_added")));

	fmgr_info(LookupFuncName(name, 0, NULL, false), &function);
	InitFunctionCallInfoData(*call, &function, 0, InvalidOid, fcinfo->context, NULL);
	return FunctionCallInvoke(call);
}

/*
 * Trigger of INSERT, once for a statement
 */
PG_FUNCTION_INFO_V1(piramid_documents_added);
Datum
piramid_documents_added(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	Collection	c;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) || trigger->tg_newtable == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("piramid.documents_added() is a trigger of INSERT for statements, with a transition table")));

	/* What this transaction has made itself is seen, too. */
	CommandCounterIncrement();
	if (registry_collection(schema, RelationGetRelid(trigger->tg_relation), &c) && queue_added(schema, &c, trigger))
		return PointerGetDatum(NULL);
	return call_other(fcinfo, schema);
}
