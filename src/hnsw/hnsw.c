/*-------------------------------------------------------------------------
 *
 * hnsw.c
 *		Handler of the hnsw access method, its options and settings.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "hnsw/hnsw.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

int			hnsw_ef_search;

static relopt_kind hnsw_relopt_kind;

/* Register reloptions and settings; called once, when the library is loaded. */
void
hnsw_init(void)
{
	hnsw_relopt_kind = add_reloption_kind();
	add_int_reloption(hnsw_relopt_kind, "m",
					  "Half of the least number of links of each node",
					  HNSW_DEFAULT_M, HNSW_MIN_M, HNSW_MAX_M, AccessExclusiveLock);
	add_int_reloption(hnsw_relopt_kind, "ef_construction",
					  "Number of candidates considered for the links of a row",
					  HNSW_DEFAULT_EF_CONSTRUCTION, HNSW_MIN_EF_CONSTRUCTION,
					  HNSW_MAX_EF_CONSTRUCTION, AccessExclusiveLock);

	DefineCustomIntVariable("hnsw.ef_search",
							"Sets the width of the search in hnsw indexes.",
							"Larger values find more of the true neighbours and take longer.",
							&hnsw_ef_search,
							HNSW_DEFAULT_EF_SEARCH, HNSW_MIN_EF_SEARCH, HNSW_MAX_EF_SEARCH,
							PGC_USERSET, 0, NULL, NULL, NULL);
}

static bytea *
hnsw_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{"m", RELOPT_TYPE_INT, offsetof(HnswOptions, m)},
		{"ef_construction", RELOPT_TYPE_INT, offsetof(HnswOptions, ef_construction)},
	};

	return (bytea *) build_reloptions(reloptions, validate, hnsw_relopt_kind,
									  sizeof(HnswOptions), table, lengthof(table));
}

int
hnsw_m(Relation rel)
{
	HnswOptions *options = (HnswOptions *) rel->rd_options;

	return options ? options->m : HNSW_DEFAULT_M;
}

int
hnsw_ef_construction(Relation rel)
{
	HnswOptions *options = (HnswOptions *) rel->rd_options;

	return options ? options->ef_construction : HNSW_DEFAULT_EF_CONSTRUCTION;
}

/* The metric of an index, as its operator class tells. */
HnswMetric
hnsw_metric(Relation rel)
{
	FmgrInfo   *procinfo = index_getprocinfo(rel, 1, HNSW_METRIC_PROC);

	return (HnswMetric) DatumGetInt32(FunctionCall1Coll(procinfo, rel->rd_indcollation[0],
														PointerGetDatum(NULL)));
}

/* Support function 2 of the operator classes, one for each metric. */
PG_FUNCTION_INFO_V1(hnsw_l2_metric);
Datum
hnsw_l2_metric(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(HNSW_L2);
}

PG_FUNCTION_INFO_V1(hnsw_ip_metric);
Datum
hnsw_ip_metric(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(HNSW_IP);
}

PG_FUNCTION_INFO_V1(hnsw_cosine_metric);
Datum
hnsw_cosine_metric(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(HNSW_COSINE);
}

PG_FUNCTION_INFO_V1(hnsw_l1_metric);
Datum
hnsw_l1_metric(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(HNSW_L1);
}

static char *
hnsw_buildphasename(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case HNSW_PHASE_LOAD:
			return "loading tuples";
		case HNSW_PHASE_GRAPH:
			return "building graph";
		case HNSW_PHASE_WRITE:
			return "writing pages";
		case HNSW_PHASE_INSERT:
			return "inserting remaining tuples";
		default:
			return NULL;
	}
}

/*
 * An operator class needs ordering operator 1, returning double precision,
 * and support functions 1 (distance) and 2 (metric).
 */
static bool
hnsw_validate(Oid opclassoid)
{
	HeapTuple	classtup;
	Form_pg_opclass opclass;
	CatCList   *operators;
	CatCList   *procs;
	bool		result = true;
	int			seen = 0;

	classtup = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclassoid));
	if (!HeapTupleIsValid(classtup))
		elog(ERROR, "cache lookup failed for operator class %u", opclassoid);
	opclass = (Form_pg_opclass) GETSTRUCT(classtup);

	procs = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(opclass->opcfamily));
	for (int i = 0; i < procs->n_members; i++)
	{
		Form_pg_amproc proc = (Form_pg_amproc) GETSTRUCT(&procs->members[i]->tuple);
		bool		ok;

		if (proc->amproclefttype != opclass->opcintype)
			continue;
		if (proc->amprocnum == HNSW_DISTANCE_PROC)
			ok = check_amproc_signature(proc->amproc, FLOAT8OID, true, 2, 2,
										opclass->opcintype, opclass->opcintype);
		else
			ok = check_amproc_signature(proc->amproc, INT4OID, true, 1, 1, INTERNALOID);
		if (!ok)
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("hnsw operator family contains function %s with wrong signature for support number %d",
							format_procedure(proc->amproc), proc->amprocnum)));
			result = false;
		}
		seen |= 1 << proc->amprocnum;
	}
	if ((seen & 6) != 6)
	{
		ereport(INFO,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("hnsw operator class \"%s\" is missing support functions",
						NameStr(opclass->opcname))));
		result = false;
	}

	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(opclass->opcfamily));
	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop op = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (op->amopstrategy != 1 || op->amoppurpose != AMOP_ORDER ||
			!check_amop_signature(op->amopopr, FLOAT8OID, op->amoplefttype, op->amoprighttype))
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("hnsw operator family contains invalid operator %s",
							format_operator(op->amopopr))));
			result = false;
		}
	}

	ReleaseCatCacheList(procs);
	ReleaseCatCacheList(operators);
	ReleaseSysCache(classtup);
	return result;
}

PG_FUNCTION_INFO_V1(hnsw_handler);
Datum
hnsw_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = 1;
	am->amsupport = 2;
	am->amcanorderbyop = true;
	am->amoptionalkey = true;
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
	am->amkeytype = InvalidOid;

	am->ambuild = hnsw_build;
	am->ambuildempty = hnsw_buildempty;
	am->aminsert = hnsw_insert;
	am->ambulkdelete = hnsw_bulkdelete;
	am->amvacuumcleanup = hnsw_vacuumcleanup;
	am->amcostestimate = hnsw_costestimate;
	am->amoptions = hnsw_options;
	am->ambuildphasename = hnsw_buildphasename;
	am->amvalidate = hnsw_validate;
	am->ambeginscan = hnsw_beginscan;
	am->amrescan = hnsw_rescan;
	am->amgettuple = hnsw_gettuple;
	am->amendscan = hnsw_endscan;

	PG_RETURN_POINTER(am);
}
