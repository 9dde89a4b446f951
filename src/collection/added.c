/*-------------------------------------------------------------------------
 *
 * added.c
 *		New documents of a collection that is cut later: what an INSERT pays.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "access/xact.h"
#include "commands/async.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "registry.h"
#include "statement/statement.h"

/* New documents that wait together in one row, at most */
#define MOST_KEYS 1000

/* The keys of new documents, and the statement that queues them */
typedef struct Queue
{
	const char *insert;
	Oid			type;			/* of a key */
	Oid			array_type;
	int16		length;
	bool		by_value;
	char		align;
	int			n;
	Datum		keys[MOST_KEYS];
} Queue;

static void
queue_keys(Queue *q)
{
	ParamListInfo params = makeParamList(1);
	ArrayType  *keys = construct_array(q->keys, q->n, q->type, q->length, q->by_value, q->align);

	params->params[0].value = PointerGetDatum(keys);
	params->params[0].isnull = false;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[0].ptype = q->array_type;
	statement_execute(q->insert, params, NULL, STATEMENT_GENERIC);
	q->n = 0;
}

/*
 * Can new documents of this collection be queued as they are?  Not if there is
 * more to test, or if the queue is of keys of another type.
 */
static bool
only_queues(Collection *c, Relation documents, AttrNumber *key, Queue *q)
{
	AttrNumber	queued;

	if (!c->deferred || c->limited || !OidIsValid(c->uncut) || (c->filtered && !c->attached))
		return false;
	*key = get_attnum(RelationGetRelid(documents), c->key_column);
	queued = get_attnum(c->uncut, "documents");
	if (*key == InvalidAttrNumber || queued == InvalidAttrNumber)
		return false;
	q->type = TupleDescAttr(RelationGetDescr(documents), *key - 1)->atttypid;
	q->array_type = get_atttype(c->uncut, queued);
	return get_element_type(q->array_type) == q->type;
}

/* Queue the documents of a statement. */
static void
queue_documents(Collection *c, TriggerData *trigger, AttrNumber key, Queue *q)
{
	Tuplestorestate *added = trigger->tg_newtable;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
	bool		any = false;

	get_typlenbyvalalign(q->type, &q->length, &q->by_value, &q->align);
	q->insert = psprintf("INSERT INTO %s (documents) VALUES ($1)", registry_table_name(c->uncut));
	q->n = 0;
	/* Others read the same rows, each from a place of its own. */
	tuplestore_select_read_pointer(added, tuplestore_alloc_read_pointer(added, EXEC_FLAG_REWIND));
	tuplestore_rescan(added);
	while (tuplestore_gettupleslot(added, true, false, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, key, &isnull);

		q->keys[q->n++] = q->by_value ? value : datumCopy(value, false, q->length);
		any = true;
		if (q->n == MOST_KEYS)
			queue_keys(q);
	}
	if (q->n > 0)
		queue_keys(q);
	ExecDropSingleTupleTableSlot(slot);
	if (any)
		Async_Notify("piramid_job", NULL);
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
	AttrNumber	key;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_newtable == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("piramid.documents_added() is a trigger of INSERT for statements, with a transition table")));

	/* What this transaction has made itself is seen, too. */
	CommandCounterIncrement();
	if (registry_collection(schema, RelationGetRelid(trigger->tg_relation), &c))
	{
		Queue	   *q = palloc(sizeof(Queue));

		if (only_queues(&c, trigger->tg_relation, &key, q))
		{
			queue_documents(&c, trigger, key, q);
			return PointerGetDatum(NULL);
		}
	}
	return call_other(fcinfo, schema);
}
