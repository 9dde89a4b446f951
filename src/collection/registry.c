/*-------------------------------------------------------------------------
 *
 * registry.c
 *		Rows of the registry of collections, read without a statement.
 *
 * They are tables that piramid_collections makes, and are read by the index
 * of their key: a row costs a tenth of what a query does.  So
 * nothing of them is kept, and nothing can be out of date.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "registry.h"

/* Columns of piramid.collection; later versions put theirs behind them. */
enum
{
	COLLECTION_DOCUMENTS = 1,
	COLLECTION_CHUNKS,
	COLLECTION_JOBS,
	COLLECTION_ATTACHED,
	COLLECTION_KEY_COLUMN,
	COLLECTION_TEXT_COLUMN,
	COLLECTION_METADATA_COLUMNS,
	COLLECTION_DISTANCE,
	COLLECTION_CHUNKING,
	COLLECTION_FILTER_COLUMNS,
	COLLECTION_TEXT_CONFIG,
	COLLECTION_INDEX_OPTIONS,
	COLLECTION_ISOLATION,
	COLLECTION_METADATA_SCHEMA,
	COLLECTION_AUTO_PROMOTE,
	COLLECTION_UNCUT,
	COLLECTION_MAX_DOCUMENTS,
	COLLECTION_MAX_CHUNKS,
	COLLECTION_MAX_BYTES,
	COLLECTION_COLUMNS = COLLECTION_MAX_BYTES
};

/* Columns of piramid.version */
#define VERSION_DOCUMENTS 1
#define VERSION_NUMBER 2
#define VERSION_VECTORS 3

/* A value of an object, or NULL */
JsonbValue *
registry_find_value(Jsonb *object, const char *key)
{
	JsonbValue	name = {.type = jbvString};

	name.val.string.val = unconstify(char *, key);
	name.val.string.len = strlen(key);
	return findJsonbValueFromContainer(&object->root, JB_FOBJECT, &name);
}

/* As piramid.is_deferred() has it */
static bool
is_deferred(Jsonb *chunking)
{
	JsonbValue *deferred = registry_find_value(chunking, "deferred");
	JsonbValue *strategy;

	if (deferred != NULL && deferred->type == jbvBool)
		return deferred->val.boolean;
	strategy = registry_find_value(chunking, "strategy");
	return strategy != NULL && strategy->type == jbvString &&
		strategy->val.string.len == strlen("semantic") &&
		memcmp(strategy->val.string.val, "semantic", strategy->val.string.len) == 0;
}

static void
read_collection(HeapTuple tuple, TupleDesc desc, Collection *c)
{
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];

	if (desc->natts < COLLECTION_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the registry of collections is of another version than the library")));
	heap_deform_tuple(tuple, desc, values, nulls);
#define COLUMN(name) values[COLLECTION_##name - 1]
#define IS_NULL(name) nulls[COLLECTION_##name - 1]
	c->documents = DatumGetObjectId(COLUMN(DOCUMENTS));
	c->chunks = DatumGetObjectId(COLUMN(CHUNKS));
	c->jobs = DatumGetObjectId(COLUMN(JOBS));
	c->uncut = IS_NULL(UNCUT) ? InvalidOid : DatumGetObjectId(COLUMN(UNCUT));
	c->attached = DatumGetBool(COLUMN(ATTACHED));
	c->limited = !IS_NULL(MAX_DOCUMENTS) || !IS_NULL(MAX_CHUNKS) || !IS_NULL(MAX_BYTES);
	c->filters = JB_ROOT_COUNT(DatumGetJsonbP(COLUMN(FILTER_COLUMNS))) > 0 ? DatumGetJsonbPCopy(COLUMN(FILTER_COLUMNS)) : NULL;
	c->deferred = is_deferred(DatumGetJsonbP(COLUMN(CHUNKING)));
	c->row = palloc(VARHDRSZ + tuple->t_len - tuple->t_data->t_hoff);
	SET_VARSIZE(c->row, VARHDRSZ + tuple->t_len - tuple->t_data->t_hoff);
	memcpy(VARDATA(c->row), (char *) tuple->t_data + tuple->t_data->t_hoff, tuple->t_len - tuple->t_data->t_hoff);
	c->key_column = pstrdup(NameStr(*DatumGetName(COLUMN(KEY_COLUMN))));
#undef COLUMN
#undef IS_NULL
}

/*
 * The collection of a table of documents, as the newest snapshot of the
 * transaction shows it.  "schema" is that of the registry.
 */
bool
registry_collection(Oid schema, Oid documents, Collection *c)
{
	Relation	registry = table_open(get_relname_relid("collection", schema), AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, COLLECTION_DOCUMENTS, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(documents));
	PushActiveSnapshot(GetTransactionSnapshot());
	scan = systable_beginscan(registry, get_relname_relid("collection_pkey", schema), true,
							  GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		read_collection(tuple, RelationGetDescr(registry), c);
	systable_endscan(scan);
	PopActiveSnapshot();
	table_close(registry, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* The vectors of the version that searches use, or InvalidOid */
Oid
registry_active_vectors(Oid schema, Oid documents)
{
	Relation	registry = table_open(get_relname_relid("version", schema), AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			vectors = InvalidOid;

	ScanKeyInit(&key, VERSION_DOCUMENTS, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(documents));
	PushActiveSnapshot(GetTransactionSnapshot());
	/* This index has the rows of active versions only. */
	scan = systable_beginscan(registry, get_relname_relid("version_active", schema), true,
							  GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		vectors = DatumGetObjectId(heap_getattr(tuple, VERSION_VECTORS, RelationGetDescr(registry), &isnull));
	}
	systable_endscan(scan);
	PopActiveSnapshot();
	table_close(registry, AccessShareLock);
	return vectors;
}

/*
 * The rows of a table of the registry that a snapshot shows, and that begin with this OID: where they are, or what
 * they have in a column that is an integer
 */
static void
find_rows(Relation rel, Oid index, Oid value, AttrNumber column, Snapshot snapshot, StringInfo found)
{
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	PushActiveSnapshot(snapshot);
	scan = systable_beginscan(rel, index, true, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		int32		number;

		if (column == InvalidAttrNumber)
			appendBinaryStringInfo(found, (char *) &tuple->t_self, sizeof(ItemPointerData));
		else
		{
			number = DatumGetInt32(heap_getattr(tuple, column, RelationGetDescr(rel), &isnull));
			appendBinaryStringInfo(found, (char *) &number, sizeof(number));
		}
	}
	systable_endscan(scan);
	PopActiveSnapshot();
}

/* What the snapshot of the transaction shows, and what there is now */
static void
find_then_and_now(Oid schema, const char *table, const char *index, Oid documents, AttrNumber column,
				  StringInfo then, StringInfo now)
{
	Relation	rel = table_open(get_relname_relid(table, schema), AccessShareLock);
	Oid			index_oid = get_relname_relid(index, schema);

	initStringInfo(then);
	initStringInfo(now);
	find_rows(rel, index_oid, documents, column, GetTransactionSnapshot(), then);
	find_rows(rel, index_oid, documents, column, GetLatestSnapshot(), now);
	table_close(rel, AccessShareLock);
}

/* A row that was changed is elsewhere. */
static bool
collection_changed(Oid schema, Oid documents)
{
	StringInfoData then;
	StringInfoData now;

	find_then_and_now(schema, "collection", "collection_pkey", documents, InvalidAttrNumber, &then, &now);
	return then.len != now.len || memcmp(then.data, now.data, now.len) != 0;
}

/* Of versions, what is gone matters, and what was begun to who writes vectors; else that is queued later. */
static bool
versions_changed(Oid schema, Oid documents, bool begun)
{
	StringInfoData then;
	StringInfoData now;
	int			kept = 0;

	/* both in the order of the index */
	find_then_and_now(schema, "version", "version_pkey", documents, VERSION_NUMBER, &then, &now);
	for (int i = 0; i < now.len && kept < then.len; i += sizeof(int32))
	{
		if (memcmp(now.data + i, then.data + kept, sizeof(int32)) == 0)
			kept += sizeof(int32);
	}
	return kept < then.len || (begun && now.len > then.len);
}

/*
 * Fails if this collection has changed since the snapshot of a transaction that keeps one: it would cut documents
 * by the old rule, or not see the chunks that there are, or write to a version that is gone, or not to one that was
 * begun.  The caller has locked a table that whoever changes the collection locks, too.
 */
void
registry_check_snapshot(Oid schema, Oid documents, bool begun)
{
	if (IsolationUsesXactSnapshot() &&
		(collection_changed(schema, documents) || versions_changed(schema, documents, begun)))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to a change of the collection"),
				 errhint("The transaction might succeed if retried.")));
}

/* The name of a table, quoted, with its schema */
char *
registry_table_name(Oid table)
{
	char	   *name = get_rel_name(table);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("a table of the collection is gone"),
				 errhint("piramid.health() tells which.")));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), name);
}
