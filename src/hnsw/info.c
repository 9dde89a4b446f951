/*-------------------------------------------------------------------------
 *
 * info.c
 *		SQL functions that tell about an index.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"
#include "hnsw/hnsw.h"
#include "hnsw/scan.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Counts over all nodes of an index. */
typedef struct HnswCounts
{
	int64		nodes;			/* base nodes with heap TIDs */
	int64		dead;			/* dying nodes, all levels */
	int64		upper;			/* upper nodes */
	int64		tids;
} HnswCounts;

static const char *
own_name(HnswOwnKind kind)
{
	switch (kind)
	{
		case HNSW_OWN_HALF:
			return "half";
		case HNSW_OWN_INT8:
			return "int8";
		case HNSW_OWN_BITS:
			return "bit";
		case HNSW_OWN_SPARSE:
			return "sparse half";
		case HNSW_OWN_INT4:
			return "int4";
	}
	return "unknown";
}

pg_noreturn static void
report_missing(Oid oid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation with OID %u does not exist", oid)));
}

pg_noreturn static void
report_not_hnsw(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not an hnsw index of piramid", name)));
}

/*
 * Open an hnsw index that the user may read, or report an error.  Nothing is
 * locked for a user without the privilege.
 */
Relation
hnsw_open_index(Oid oid)
{
	Relation	rel;
	Oid			table = IndexGetRelation(oid, true);

	if (!OidIsValid(table))
	{
		char	   *name = get_rel_name(oid);

		if (name == NULL)
			report_missing(oid);
		report_not_hnsw(name);
	}
	if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_INDEX, get_rel_name(oid));

	rel = try_relation_open(oid, AccessShareLock);
	if (rel == NULL)
		report_missing(oid);
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_INDEX)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("index \"%s\" is partitioned", RelationGetRelationName(rel)),
				 errhint("Each partition has an index of its own: see pg_partition_tree.")));
	if (rel->rd_rel->relkind != RELKIND_INDEX || rel->rd_indam->ambeginscan != hnsw_beginscan)
		report_not_hnsw(RelationGetRelationName(rel));
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
	if (!rel->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid", RelationGetRelationName(rel)),
				 errdetail("It is still being built, or its concurrent build has failed."),
				 errhint("If that has failed, REINDEX or drop it.")));
	return rel;
}

/* Look at all nodes of an index. */
static void
for_each_node(HnswIndex *index, void (*look) (HnswIndex *index, HnswNodeId id, void *arg), void *arg)
{
	HnswNodeId	ids[HNSW_MAX_NODES_PER_PAGE];
	BlockNumber nblocks = RelationGetNumberOfBlocks(index->rel);

	for (BlockNumber block = HNSW_METAPAGE + 1; block < nblocks; block++)
	{
		int			n = hnsw_block_nodes(index, block, ids);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			look(index, ids[i], arg);
	}
}

static void
count_node(HnswIndex *index, HnswNodeId id, void *arg)
{
	HnswCounts *counts = arg;
	HnswRead	read;
	uint32		chunk;
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	uint64		steps = 0;

	hnsw_read(index, id, &read);
	chunk = read.node->more_tids;
	if (read.node->flags & HNSW_NODE_DYING)
		counts->dead++;
	else if (read.node->level > 0)
		counts->upper++;
	else if (read.node->flags & HNSW_NODE_USED)
	{
		counts->nodes++;
		counts->tids += read.node->ntids;
	}
	hnsw_read_end(&read);
	while (chunk != 0)
	{
		CHECK_FOR_INTERRUPTS();
		hnsw_chain_step(index, chunk, &steps);
		counts->tids += hnsw_chunk_read(index, id, &chunk, tids, NULL);
	}
}

/*
 * piramid_hnsw_info(index regclass): one row about an index.  Reads all of its
 * pages.  Needs SELECT on the table.
 */
PG_FUNCTION_INFO_V1(piramid_hnsw_info);
Datum
piramid_hnsw_info(PG_FUNCTION_ARGS)
{
	Relation	rel = hnsw_open_index(PG_GETARG_OID(0));
	TupleDesc	desc;
	Datum		values[17];
	bool		nulls[17] = {false};
	HnswIndex  *index;
	const HnswLayout *layout;
	HnswMetaPageData meta;
	HnswCounts	counts = {0};
	int			i = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);

	index = hnsw_open(rel);
	layout = &index->layout;
	hnsw_meta_read(rel, &meta);
	for_each_node(index, count_node, &counts);

	values[i++] = Int32GetDatum((int32) meta.version);
	values[i++] = Int32GetDatum(layout->column_dim);
	values[i++] = CStringGetTextDatum(layout->space->name);
	values[i++] = Int32GetDatum(layout->m);
	values[i++] = Int32GetDatum(layout->ef_construction);
	values[i++] = Int32GetDatum(meta.entry != HNSW_NO_NODE ? meta.entry_level + 1 : 0);
	nulls[i] = (meta.entry == HNSW_NO_NODE);
	values[i++] = Int64GetDatum((int64) meta.entry);
	values[i++] = Int64GetDatum(counts.nodes);
	values[i++] = Int64GetDatum(counts.dead);
	values[i++] = Int64GetDatum(counts.upper);
	values[i++] = Int64GetDatum(counts.tids);
	values[i++] = Int64GetDatum((int64) RelationGetNumberOfBlocks(rel));
	values[i++] = Int32GetDatum(layout->degree);
	values[i++] = Int32GetDatum((int32) layout->node_size);
	values[i++] = Float4GetDatum((float4) layout->nodes_per_page / layout->pages_per_node);
	values[i++] = CStringGetTextDatum(own_name(layout->own_kind));
	values[i++] = Int32GetDatum(layout->code.dims * layout->code.bits);

	relation_close(rel, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * piramid_overflow_links(index regclass): how many overflow links there are
 * (overflow.c).  Needs SELECT on the table.
 */
PG_FUNCTION_INFO_V1(piramid_overflow_links);
Datum
piramid_overflow_links(PG_FUNCTION_ARGS)
{
	Relation	rel = hnsw_open_index(PG_GETARG_OID(0));
	HnswIndex  *index = hnsw_open(rel);
	HnswLink   *links = palloc(sizeof(HnswLink) * index->layout.overflow_links);
	uint32		ngroups = hnsw_overflow_groups(index);
	HnswMetaPageData meta;
	int64		count = 0;

	hnsw_meta_refresh(index, &meta);
	for (uint32 group = 0; group < ngroups && index->overflow_pages > 0; group++)
	{
		CHECK_FOR_INTERRUPTS();
		count += hnsw_overflow_load(index, group, links, NULL);
	}
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(count);
}

/* Report a base node whose entry says one key, if the node has others; and count sketches. */
static void
check_key(HnswIndex *index, HnswNodeId id, void *arg)
{
	uint8		key[HNSW_MAX_KEY_SIZE];
	const char *fault = hnsw_key_fault(index, id);

	if (index->layout.sketch.units > 0 && hnsw_key_get(index, id, key) != HNSW_KEY_ABSENT)
		*(int64 *) arg += hnsw_sketch_is_known(index, id);
	if (fault != NULL)
		page_report_corrupt(index->rel, HnswNodeBlock(&index->layout, id), fault);
}

/*
 * piramid_hnsw_keys(index regclass): one row about the filter columns of an index
 * and its key pages.  Reads all pages, and checks that the key pages say what the
 * nodes have.  Needs SELECT on the table.
 */
PG_FUNCTION_INFO_V1(piramid_hnsw_keys);
Datum
piramid_hnsw_keys(PG_FUNCTION_ARGS)
{
	Relation	rel = hnsw_open_index(PG_GETARG_OID(0));
	TupleDesc	desc;
	Datum		values[10];
	bool		nulls[10] = {false};
	HnswIndex  *index;
	HnswMetaPageData meta;
	uint32		pages;
	int64		sketches = 0;
	int64		entries = 0;
	int64		states[HNSW_KEY_ABSENT + 1] = {0};
	int			i = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);

	index = hnsw_open(rel);
	hnsw_meta_refresh(index, &meta);
	pages = hnsw_key_pages(index);
	if (pages > 0)
		for_each_node(index, check_key, &sketches);
	for (uint32 ordinal = 0; ordinal < pages; ordinal++)
	{
		CHECK_FOR_INTERRUPTS();
		entries += hnsw_key_page_count(index, ordinal, states);
	}

	values[i++] = Int32GetDatum(index->keys.n);
	values[i++] = Int32GetDatum(index->keys.size);
	values[i++] = Int64GetDatum(index->key_pages);
	values[i++] = Int64GetDatum(entries);
	values[i++] = Int64GetDatum(states[HNSW_KEY_ONE]);
	values[i++] = Int64GetDatum(states[HNSW_KEY_SEVERAL]);
	values[i++] = Int64GetDatum(states[HNSW_KEY_UNKNOWN]);
	values[i++] = Int64GetDatum(states[HNSW_KEY_ABSENT]);
	values[i++] = Int32GetDatum(index->layout.sketch.dims);
	values[i++] = Int64GetDatum(sketches);

	relation_close(rel, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
