/*-------------------------------------------------------------------------
 *
 * queue.c
 *		Rows of new documents in the table of those that wait to be cut.
 *
 * A table that is as piramid made it is written without a statement, as the
 * apply worker of logical replication writes: of what an INSERT takes, half is
 * to prepare it.  Where there is more to it, as triggers or row level
 * security, or rights of columns alone, it is an INSERT.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "nodes/primnodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

#include "queue.h"
#include "registry.h"
#include "statement/statement.h"

/* The columns that make_uncut() makes */
enum
{
	QUEUE_ID = 1,
	QUEUE_DOCUMENT_ID,
	QUEUE_DOCUMENTS,
	QUEUE_QUEUED_AT,
	QUEUE_LEASE,
	QUEUE_LEASE_UNTIL,
	QUEUE_ERROR,
	QUEUE_LOST,
	QUEUE_COLUMNS = QUEUE_LOST
};

/* The sequence that was looked for last, by a scan of a catalog; InvalidOid if the table needs an INSERT */
static Oid	known_table = InvalidOid;
static Oid	known_sequence = InvalidOid;

static void
table_changed(Datum arg, Oid table)
{
	if (!OidIsValid(table) || table == known_table)
		known_table = InvalidOid;
}

/* Is the default of this column now(), as it was made? */
static bool
defaults_to_now(Relation rel, AttrNumber attnum)
{
	AttrDefault *defaults = RelationGetDescr(rel)->constr->defval;
	Node	   *expression = stringToNode(defaults[0].adbin);

	return defaults[0].adnum == attnum && IsA(expression, FuncExpr) && ((FuncExpr *) expression)->funcid == F_NOW;
}

static Oid
sequence_of(Relation rel)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
	registered = true;
	if (known_table != RelationGetRelid(rel))
	{
		known_sequence = defaults_to_now(rel, QUEUE_QUEUED_AT) ? identity_sequence(rel, QUEUE_ID) : InvalidOid;
		known_table = RelationGetRelid(rel);
	}
	return known_sequence;
}

/* Is it a table without anything that an INSERT would do besides? */
static bool
is_as_made(Relation rel)
{
	Form_pg_class form = rel->rd_rel;
	TupleDesc	desc = RelationGetDescr(rel);

	return form->relkind == RELKIND_RELATION && !form->relhasrules && !form->relrowsecurity && !form->relispartition &&
		rel->trigdesc == NULL && desc->natts == QUEUE_COLUMNS &&
		desc->constr != NULL && desc->constr->num_check == 0 && desc->constr->num_defval == 1 &&
		!desc->constr->has_generated_stored &&
		strcmp(NameStr(TupleDescAttr(desc, QUEUE_DOCUMENTS - 1)->attname), "documents") == 0 &&
		TupleDescAttr(desc, QUEUE_ID - 1)->atttypid == INT8OID &&
		TupleDescAttr(desc, QUEUE_QUEUED_AT - 1)->atttypid == TIMESTAMPTZOID &&
		TupleDescAttr(desc, QUEUE_QUEUED_AT - 1)->atthasdef;
}

/* Open it.  False if it has no column for documents. */
bool
queue_open(Queue *queue, Oid table)
{
	Relation	rel = try_table_open(table, RowExclusiveLock);
	TupleDesc	desc = rel == NULL ? NULL : RelationGetDescr(rel);

	if (rel == NULL || desc->natts < QUEUE_DOCUMENTS)
	{
		if (rel != NULL)
			table_close(rel, NoLock);
		return false;
	}
	queue->rel = rel;
	queue->array_type = TupleDescAttr(desc, QUEUE_DOCUMENTS - 1)->atttypid;
	queue->sequence = InvalidOid;
	queue->estate = NULL;
	if (is_as_made(rel) && pg_class_aclcheck(table, GetUserId(), ACL_INSERT) == ACLCHECK_OK)
		queue->sequence = sequence_of(rel);
	return true;
}

static void
execute_insert(Queue *queue, Datum documents)
{
	ParamListInfo params = makeParamList(1);

	params->params[0].value = documents;
	params->params[0].isnull = false;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[0].ptype = queue->array_type;
	statement_execute(psprintf("INSERT INTO %s (documents) VALUES ($1)", registry_table_name(RelationGetRelid(queue->rel))),
					  params, NULL, STATEMENT_GENERIC | STATEMENT_FIXED_PATH);
}

/* A row for an array of new documents */
void
queue_insert(Queue *queue, Datum documents)
{
	TupleTableSlot *slot;

	if (!OidIsValid(queue->sequence))
	{
		execute_insert(queue, documents);
		return;
	}
	if (queue->estate == NULL)
	{
		queue->estate = CreateExecutorState();
		queue->estate->es_output_cid = GetCurrentCommandId(true);
		queue->result = makeNode(ResultRelInfo);
		InitResultRelInfo(queue->result, queue->rel, 0, NULL, 0);
		ExecOpenIndices(queue->result, false);
		queue->slot = MakeSingleTupleTableSlot(RelationGetDescr(queue->rel), &TTSOpsHeapTuple);
	}
	slot = queue->slot;
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, QUEUE_COLUMNS * sizeof(bool));
	slot->tts_values[QUEUE_ID - 1] = Int64GetDatum(nextval_internal(queue->sequence, false));
	slot->tts_isnull[QUEUE_ID - 1] = false;
	slot->tts_values[QUEUE_DOCUMENTS - 1] = documents;
	slot->tts_isnull[QUEUE_DOCUMENTS - 1] = false;
	slot->tts_values[QUEUE_QUEUED_AT - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	slot->tts_isnull[QUEUE_QUEUED_AT - 1] = false;
	ExecStoreVirtualTuple(slot);
	ExecSimpleRelationInsert(queue->result, queue->estate, slot);
}

void
queue_close(Queue *queue)
{
	if (queue->estate != NULL)
	{
		ExecCloseIndices(queue->result);
		ExecDropSingleTupleTableSlot(queue->slot);
		FreeExecutorState(queue->estate);
	}
	table_close(queue->rel, NoLock);
}
