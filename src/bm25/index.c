/*-------------------------------------------------------------------------
 *
 * index.c
 *		Opening an index, which has to be one of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/relation.h"
#include "catalog/pg_class.h"

/* Open an index of ours, a partitioned one too. */
Relation
bm25_open_any_index(Oid oid, LOCKMODE lockmode)
{
	Relation	rel = try_relation_open(oid, lockmode);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("index with OID %u does not exist", oid)));
	if (rel->rd_indam == NULL || rel->rd_indam->amoptions != bm25_options)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a bm25 index", RelationGetRelationName(rel))));
	return rel;
}

/* Open an index of ours that has pages. */
Relation
bm25_open_index(Oid oid, LOCKMODE lockmode)
{
	Relation	rel = bm25_open_any_index(oid, lockmode);

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_INDEX)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partitioned index", RelationGetRelationName(rel)),
				 errhint("Name an index of one of its partitions.")));
	return rel;
}
