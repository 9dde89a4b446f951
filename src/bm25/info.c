/*-------------------------------------------------------------------------
 *
 * info.c
 *		Functions that tell about an index, and the one that merges it.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

/* Open an index whose table the user may read. */
Relation
bm25_open_readable(Oid oid)
{
	Relation	rel = bm25_open_index(oid, AccessShareLock);
	Oid			table = rel->rd_index->indrelid;

	if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(table));
	return rel;
}

/* piramid_bm25_info(regclass): one row */
PG_FUNCTION_INFO_V1(piramid_bm25_info);
Datum
piramid_bm25_info(PG_FUNCTION_ARGS)
{
	Relation	rel = bm25_open_readable(PG_GETARG_OID(0));
	Bm25MetaPageData meta;
	char		copy[BM25_SPACE];
	TupleDesc	desc;
	Bm25Space	space;
	Datum		values[13];
	bool		nulls[13] = {0};
	int64		documents = 0;
	int64		dead = 0;
	int64		free_pages = 0;
	int64		head = 0;
	double		sumlen = 0;
	uint64		positions = 0;
	uint64		generation = 0;
	BlockNumber block;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	bm25_meta_read(rel, &meta);
	for (uint32 i = 0; i < meta.nsegments; i++)
	{
		documents += meta.segments[i].ndocs;
		dead += meta.segments[i].ndead;
		sumlen += meta.segments[i].sumlen;
		positions += bm25_reader_open(rel, &meta.segments[i])->header->bytes[BM25_POSITIONS];
	}
	for (block = meta.head_first; block != InvalidBlockNumber;)
	{
		Bm25HeadPage page = bm25_head_read(rel, block, copy, &generation);
		const Bm25Record *record = bm25_first_record(page);

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < page->nrecords; i++)
		{
			dead += (record->flags & BM25_RECORD_DEAD) != 0;
			sumlen += record->length;
			record = (const Bm25Record *) ((const char *) record + bm25_record_size(record));
		}
		head += page->nrecords;
		block = page->next;
	}
	documents += head;
	/* Options of words */
	nulls[0] = nulls[1] = nulls[2] = (meta.flags & BM25_HAS_IMPACTS) != 0;
	values[0] = CStringGetTextDatum(quote_qualified_identifier(NameStr(meta.config_schema),
															   NameStr(meta.config_name)));
	values[1] = Float4GetDatum(meta.k1);
	values[2] = Float4GetDatum(meta.b);
	values[3] = Int64GetDatum(documents);
	values[4] = Int64GetDatum(dead);
	values[5] = Int64GetDatum(head);
	values[6] = Float8GetDatum(documents > 0 ? sumlen / documents : 0);
	values[7] = Int32GetDatum(meta.nsegments);
	values[8] = Int64GetDatum(meta.head_pages);
	values[9] = Int64GetDatum(RelationGetNumberOfBlocks(rel));
	values[10] = BoolGetDatum((meta.flags & BM25_HAS_POSITIONS) != 0);
	values[11] = Int64GetDatum(positions);
	bm25_free_read(rel, &space);
	for (int i = 0; i < space.nruns; i++)
		free_pages += space.runs[i].run.pages;
	values[12] = Int64GetDatum(free_pages);
	relation_close(rel, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* piramid_bm25_prewarm(regclass): read an index into shared buffers; returns how many blocks */
PG_FUNCTION_INFO_V1(piramid_bm25_prewarm);
Datum
piramid_bm25_prewarm(PG_FUNCTION_ARGS)
{
	Relation	rel = bm25_open_readable(PG_GETARG_OID(0));
	int64		blocks = bm25_prewarm(rel);

	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(blocks);
}

/* piramid_bm25_merge(regclass): make one segment of the whole index */
PG_FUNCTION_INFO_V1(piramid_bm25_merge);
Datum
piramid_bm25_merge(PG_FUNCTION_ARGS)
{
	Oid			oid = PG_GETARG_OID(0);
	Relation	rel;
	Relation	heap;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errhint("Merge the index on the primary server.")));
	rel = bm25_open_index(oid, RowExclusiveLock);
	if (!owns_relation(oid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(rel));
	heap = table_open(rel->rd_index->indrelid, AccessShareLock);
	bm25_merge_all(rel, heap);
	table_close(heap, AccessShareLock);
	relation_close(rel, RowExclusiveLock);
	PG_RETURN_VOID();
}
