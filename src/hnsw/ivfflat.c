/*-------------------------------------------------------------------------
 *
 * ivfflat.c
 *		The access method ivfflat: pgvector's index definitions, served by hnsw.
 *
 * Dumps, migrations and frameworks that were written for pgvector create
 * ivfflat indexes.  They get an hnsw index: the same pages, searches and
 * settings, under the name that was asked for.  The option "lists" is accepted
 * and has no effect; "m" and "ef_construction" have theirs.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "hnsw/hnsw.h"

#include "access/reloptions.h"

/* pgvector's default and limits of "lists" */
#define IVFFLAT_DEFAULT_LISTS 100
#define IVFFLAT_MIN_LISTS 1
#define IVFFLAT_MAX_LISTS 32768

/* What hnsw reads goes first. */
typedef struct IvfflatOptions
{
	HnswOptions hnsw;
	int			lists;			/* no effect */
} IvfflatOptions;

static relopt_kind ivfflat_relopt_kind;

/* Register reloptions; called once, when the library is loaded. */
void
ivfflat_init(void)
{
	ivfflat_relopt_kind = add_reloption_kind();
	hnsw_add_reloptions(ivfflat_relopt_kind);
	add_int_reloption(ivfflat_relopt_kind, "lists",
					  "Has no effect; accepted because pgvector has it",
					  IVFFLAT_DEFAULT_LISTS, IVFFLAT_MIN_LISTS, IVFFLAT_MAX_LISTS,
					  AccessExclusiveLock);
}

static bytea *
ivfflat_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{"m", RELOPT_TYPE_INT, offsetof(IvfflatOptions, hnsw.m)},
		{"ef_construction", RELOPT_TYPE_INT, offsetof(IvfflatOptions, hnsw.ef_construction)},
		{"lists", RELOPT_TYPE_INT, offsetof(IvfflatOptions, lists)},
	};

	return (bytea *) build_reloptions(reloptions, validate, ivfflat_relopt_kind,
									  sizeof(IvfflatOptions), table, lengthof(table));
}

static IndexBuildResult *
ivfflat_build(Relation heap, Relation index, IndexInfo *index_info)
{
	ereport(NOTICE,
			(errmsg("ivfflat index \"%s\" is built as an hnsw index",
					RelationGetRelationName(index)),
			 errdetail("The option \"lists\" and the setting \"ivfflat.probes\" have no effect.")));
	return hnsw_build(heap, index, index_info);
}

extern PGDLLEXPORT Datum hnsw_handler(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(ivfflat_handler);
Datum
ivfflat_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = (IndexAmRoutine *) DatumGetPointer(hnsw_handler(fcinfo));

	am->amoptions = ivfflat_options;
	am->ambuild = ivfflat_build;
	PG_RETURN_POINTER(am);
}
