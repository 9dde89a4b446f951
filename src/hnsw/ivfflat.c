/*-------------------------------------------------------------------------
 *
 * ivfflat.c
 *		The access method ivfflat: pgvector's index definitions, served by hnsw.
 *
 * Dumps, migrations and frameworks that were written for pgvector create
 * ivfflat indexes.  They get an hnsw index: the same pages, searches and
 * settings, under the name that was asked for.  The option "lists" and the
 * settings "ivfflat.*" are accepted and have no effect; "m" and
 * "ef_construction" have theirs.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "hnsw/hnsw.h"

#include "access/reloptions.h"
#include "utils/guc.h"

/* pgvector's default and limits of "lists" */
#define IVFFLAT_DEFAULT_LISTS 100
#define IVFFLAT_MIN_LISTS 1
#define IVFFLAT_MAX_LISTS 32768

/* pgvector's values of ivfflat.iterative_scan */
static const struct config_enum_entry iterative_scan_options[] = {
	{"off", 0, false},
	{"relaxed_order", 1, false},
	{NULL, 0, false}
};

/* Settings without an effect. */
static int	probes;
static int	iterative_scan;
static int	max_probes;

/* What hnsw reads goes first. */
typedef struct IvfflatOptions
{
	HnswOptions hnsw;
	int			lists;			/* no effect */
} IvfflatOptions;

static relopt_kind ivfflat_relopt_kind;

/*
 * pgvector's settings, with its types, defaults and ranges.  PostgreSQL takes
 * a setting that no library defines, too, but lets only superusers store one
 * with a function or a role, and lets SHOW and typing errors go wrong.
 */
static void
define_settings(void)
{
	if (!hnsw_setting_is_taken("ivfflat.probes"))
		DefineCustomIntVariable("ivfflat.probes",
								"Has no effect; accepted because pgvector has it.",
								"hnsw.ef_search sets the width of searches in ivfflat indexes, too.",
								&probes, 1, IVFFLAT_MIN_LISTS, IVFFLAT_MAX_LISTS,
								PGC_USERSET, 0, NULL, NULL, NULL);
	if (!hnsw_setting_is_taken("ivfflat.iterative_scan"))
		DefineCustomEnumVariable("ivfflat.iterative_scan",
								 "Has no effect; accepted because pgvector has it.",
								 "hnsw.iterative_scan works on ivfflat indexes, too.",
								 &iterative_scan, 0, iterative_scan_options,
								 PGC_USERSET, 0, NULL, NULL, NULL);
	if (!hnsw_setting_is_taken("ivfflat.max_probes"))
		DefineCustomIntVariable("ivfflat.max_probes",
								"Has no effect; accepted because pgvector has it.",
								"hnsw.max_scan_tuples works on ivfflat indexes, too.",
								&max_probes, IVFFLAT_MAX_LISTS, IVFFLAT_MIN_LISTS, IVFFLAT_MAX_LISTS,
								PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("ivfflat");
}

/* Register reloptions and settings; called once, when the library is loaded. */
void
ivfflat_init(void)
{
	ivfflat_relopt_kind = add_reloption_kind();
	hnsw_add_reloptions(ivfflat_relopt_kind);
	add_int_reloption(ivfflat_relopt_kind, "lists",
					  "Has no effect; accepted because pgvector has it",
					  IVFFLAT_DEFAULT_LISTS, IVFFLAT_MIN_LISTS, IVFFLAT_MAX_LISTS,
					  AccessExclusiveLock);
	define_settings();
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

/* Support functions that an operator class may have */
#define IVFFLAT_SUPPORT 5

extern PGDLLEXPORT Datum hnsw_handler(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(ivfflat_handler);
Datum
ivfflat_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = (IndexAmRoutine *) DatumGetPointer(hnsw_handler(fcinfo));

	/* as in pgvector, whose operator classes have five support functions; no filter columns */
	am->amsupport = IVFFLAT_SUPPORT;
	am->amcanmulticol = false;
	am->amsearcharray = false;
	am->amsearchnulls = false;
	am->amcaninclude = false;
	am->amoptions = ivfflat_options;
	am->ambuild = ivfflat_build;
	PG_RETURN_POINTER(am);
}
