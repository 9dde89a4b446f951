/*-------------------------------------------------------------------------
 *
 * added.c
 *		New documents of a collection that is cut later: what an INSERT pays.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "filters.h"
#include "kept.h"
#include "queue.h"
#include "registry.h"

/* New documents that wait together in one row, at most */
#define MOST_KEYS 1000

/*
 * New documents of a statement, until the trigger of the statement comes: so much is kept of each row
 * as is needed.  (A transition table has whole rows, and large ones go to disk.)  What a
 * subtransaction has added goes with it.
 */
typedef struct Added
{
	MemoryContext context;		/* of all this */
	Oid			table;
	SubTransactionId subxact;
	Collection	c;
	AttrNumber	key;
	Oid			type;			/* of the key */
	int16		length;
	bool		by_value;
	char		align;
	Filters    *filters;		/* to be tested, or NULL: what cuts or queues tests them itself */
	int			n;
	int			allocated;
	Datum	   *values;
	struct Added *next;
} Added;

static Added *all_added = NULL;

static void
unlink_added(void *arg)
{
	for (Added **p = &all_added; *p != NULL; p = &(*p)->next)
	{
		if (*p == arg)
		{
			*p = (*p)->next;
			return;
		}
	}
}

/* A statement does all that it does in one subtransaction. */
static Added *
find_added(Oid table)
{
	for (Added *added = all_added; added != NULL; added = added->next)
	{
		if (added->table == table && added->subxact == GetCurrentSubTransactionId())
			return added;
	}
	return NULL;
}

/* Has the collection of this table, or of one that it is a partition of, changed since the transaction's snapshot? */
static void
check_snapshot(Oid schema, Oid table, bool begun)
{
	ListCell   *ancestor;

	registry_check_snapshot(schema, table, begun);
	if (IsolationUsesXactSnapshot() && get_rel_relispartition(table))
	{
		foreach(ancestor, get_partition_ancestors(table))
			registry_check_snapshot(schema, lfirst_oid(ancestor), begun);
	}
}

/* The collection of this table, or of one that it is a partition of; an error if there is none */
static void
find_collection(Oid schema, Oid table, Collection *c)
{
	ListCell   *ancestor;
	Oid			type = REGCLASSOID;
	Datum		value = ObjectIdGetDatum(table);

	/* What this transaction has made itself is seen, too. */
	CommandCounterIncrement();
	check_snapshot(schema, table, false);
	if (registry_collection(schema, table, c))
		return;
	if (get_rel_relispartition(table))
	{
		foreach(ancestor, get_partition_ancestors(table))
		{
			if (registry_collection(schema, lfirst_oid(ancestor), c))
				return;
		}
	}
	make_statement(psprintf("SELECT documents::text FROM %s.collection_of($1)", quote_identifier(get_namespace_name(schema))),
				   1, &type, &value, NULL);
	elog(ERROR, "the collection of table %u is not known", table);
}

/* Can new documents of this collection be queued as they are?  Not if there is more to test. */
static bool
only_queues(Collection *c)
{
	return c->deferred && !c->limited && OidIsValid(c->uncut);
}

static Added *
start_added(Oid schema, Relation rel)
{
	MemoryContext context = AllocSetContextCreate(CurTransactionContext, "new documents", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	Added	   *added = palloc0(sizeof(Added));

	added->context = context;
	added->table = RelationGetRelid(rel);
	added->subxact = GetCurrentSubTransactionId();
	find_collection(schema, added->table, &added->c);
	added->key = get_attnum(added->table, added->c.key_column);
	if (added->key == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist", added->c.key_column, RelationGetRelationName(rel)),
				 errdetail("It is the key of a collection.")));
	/* The queue and the chunks have keys without the constraints of a domain. */
	added->type = getBaseType(TupleDescAttr(RelationGetDescr(rel), added->key - 1)->atttypid);
	get_typlenbyvalalign(added->type, &added->length, &added->by_value, &added->align);
	added->filters = only_queues(&added->c) ? filters_start(&added->c, rel) : NULL;
	added->allocated = 8;
	added->values = palloc(added->allocated * sizeof(Datum));
	callback->func = unlink_added;
	callback->arg = added;
	MemoryContextRegisterResetCallback(context, callback);
	added->next = all_added;
	all_added = added;
	MemoryContextSwitchTo(caller);
	return added;
}

/* Queue the documents, unless there is more to do, or the queue is of keys of another type. */
static bool
queue_keys(Added *added)
{
	Queue		queue;
	bool		fits;

	if (!only_queues(&added->c) || !queue_open(&queue, added->c.uncut))
		return false;
	fits = get_element_type(queue.array_type) == added->type;
	if (fits)
	{
		Datum		array = PointerGetDatum(construct_array(added->values, added->n, added->type,
															added->length, added->by_value, added->align));

		queue_insert(&queue, array);
		Async_Notify("piramid_job", NULL);
	}
	queue_close(&queue);
	return fits;
}

/* Let piramid.cut_added() do it. */
static void
cut_keys(Oid schema, Added *added)
{
	List	   *name = list_make2(makeString(get_namespace_name(schema)), makeString(pstrdup("cut_added")));
	Oid			types[] = {REGCLASSOID, TEXTARRAYOID};
	Datum	   *texts = palloc(added->n * sizeof(Datum));
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(added->type, &output, &is_varlena);
	for (int i = 0; i < added->n; i++)
		texts[i] = CStringGetTextDatum(OidOutputFunctionCall(output, added->values[i]));
	OidFunctionCall2(LookupFuncName(name, lengthof(types), types, false), ObjectIdGetDatum(added->table),
					 PointerGetDatum(construct_array(texts, added->n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* Queue or cut what there is.  What that adds in turn is kept apart. */
static void
end_added(Oid schema, Added *added)
{
	unlink_added(added);
	if (added->filters != NULL)
		filters_end(added->filters);
	if (added->n > 0 && !queue_keys(added))
		cut_keys(schema, added);
	MemoryContextDelete(added->context);
}

static void
add_row(Oid schema, TriggerData *trigger)
{
	Added	   *added = find_added(RelationGetRelid(trigger->tg_relation));
	bool		isnull;
	Datum		value;

	if (added == NULL)
		added = start_added(schema, trigger->tg_relation);
	value = slot_getattr(trigger->tg_trigslot, added->key, &isnull);
	/* The owner of an attached table may have dropped its key.  There is nothing to cut. */
	if (isnull)
		return;
	if (added->filters != NULL)
		filters_check(added->filters, trigger->tg_trigslot);
	if (added->n == added->allocated)
	{
		added->allocated *= 2;
		added->values = repalloc(added->values, added->allocated * sizeof(Datum));
	}
	if (!added->by_value)
	{
		MemoryContext caller = MemoryContextSwitchTo(added->context);

		value = datumCopy(value, false, added->length);
		MemoryContextSwitchTo(caller);
	}
	added->values[added->n++] = value;
	/* A statement that names the whole calls no trigger of the statement for a partition. */
	if (added->n == MOST_KEYS || trigger->tg_relation->rd_rel->relispartition)
		end_added(schema, added);
}

/*
 * Trigger of INSERT, for each row and then for the statement
 */
PG_FUNCTION_INFO_V1(piramid_documents_added);
Datum
piramid_documents_added(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("piramid.documents_added() is a trigger AFTER INSERT")));
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		add_row(schema, trigger);
	else
	{
		Added	   *added = find_added(RelationGetRelid(trigger->tg_relation));

		if (added != NULL)
			end_added(schema, added);
	}
	return PointerGetDatum(NULL);
}

/*
 * piramid.check_snapshot(tab, begun): fails if a collection has changed since the snapshot that the transaction keeps,
 * or a version was begun, if that is asked
 */
PG_FUNCTION_INFO_V1(piramid_check_snapshot);
Datum
piramid_check_snapshot(PG_FUNCTION_ARGS)
{
	check_snapshot(get_func_namespace(fcinfo->flinfo->fn_oid), PG_GETARG_OID(0), PG_GETARG_BOOL(1));
	PG_RETURN_VOID();
}
