/*-------------------------------------------------------------------------
 *
 * hnsw.c
 *		Handler of the hnsw access method and its operator classes.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "hnsw/check.h"
#include "hnsw/hnsw.h"
#include "hnsw/key.h"
#include "hnsw/scan.h"

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

/* Called once, when the library is loaded. */
void
hnsw_init(void)
{
	hnsw_options_init();
	ivfflat_init();
	hnsw_demand_init();
	hnsw_report_init();
	hnsw_check_init();
}

/* Support function 3, one for each type but vector. */
PG_FUNCTION_INFO_V1(hnsw_halfvec_type);
Datum
hnsw_halfvec_type(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(HNSW_TYPE_HALFVEC);
}

PG_FUNCTION_INFO_V1(hnsw_sparsevec_type);
Datum
hnsw_sparsevec_type(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(HNSW_TYPE_SPARSEVEC);
}

PG_FUNCTION_INFO_V1(hnsw_bit_type);
Datum
hnsw_bit_type(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(HNSW_TYPE_BIT);
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
		default:
			return NULL;
	}
}

/* Report what is wrong with an operator class or its family. */
#define report_invalid(...) \
	ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION), errmsg(__VA_ARGS__)))

/* Check the support functions of an operator class, and say which there are (bits). */
static bool
validate_functions(Form_pg_opclass opclass, int *seen)
{
	CatCList   *procs = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(opclass->opcfamily));
	bool		result = true;

	*seen = 0;
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
			report_invalid("hnsw operator family contains function %s with wrong signature for support number %d",
						   format_procedure(proc->amproc), proc->amprocnum);
			result = false;
		}
		*seen |= 1 << proc->amprocnum;
	}
	ReleaseCatCacheList(procs);
	return result;
}

/* Is this an operator as its family needs it: of a vector, or of a filter column? */
static bool
is_valid_operator(Form_pg_amop op, bool of_vector)
{
	if (of_vector)
		return op->amopstrategy == 1 && op->amoppurpose == AMOP_ORDER &&
			op->amoplefttype == op->amoprighttype &&
			check_amop_signature(op->amopopr, FLOAT8OID, op->amoplefttype, op->amoprighttype) &&
			opfamily_can_sort_type(op->amopsortfamily, FLOAT8OID);
	return op->amopstrategy >= HNSW_LESS_STRATEGY && op->amopstrategy <= HNSW_CONTAINS_STRATEGY &&
		op->amoppurpose == AMOP_SEARCH &&
		check_amop_signature(op->amopopr, BOOLOID, op->amoplefttype, op->amoprighttype);
}

/* Check the operators of a family; an operator class for a vector needs the one that orders. */
static bool
validate_operators(Form_pg_opclass opclass, bool of_vector)
{
	CatCList   *operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(opclass->opcfamily));
	bool		result = true;
	bool		ordered = false;

	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop op = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		ordered |= op->amoplefttype == opclass->opcintype && op->amopstrategy == 1;
		if (!is_valid_operator(op, of_vector))
		{
			report_invalid("hnsw operator family contains invalid operator %s",
						   format_operator(op->amopopr));
			result = false;
		}
	}
	if (of_vector && !ordered)
	{
		report_invalid("hnsw operator class \"%s\" is missing its ordering operator",
					   NameStr(opclass->opcname));
		result = false;
	}
	ReleaseCatCacheList(operators);
	return result;
}

/*
 * An operator class for vectors needs ordering operator 1 on its type, returning
 * double precision and sorted as such, and support functions 1 (distance) and 2
 * (metric); 3 (type) unless it is for vector.  One for filter columns has support
 * function 4 (kind of key) and operators that return boolean.
 */
static bool
hnsw_validate(Oid opclassoid)
{
	const int	for_vector = 1 << HNSW_DISTANCE_PROC | 1 << HNSW_METRIC_PROC;
	const int	for_filter = 1 << HNSW_KEY_PROC;
	HeapTuple	classtup;
	Form_pg_opclass opclass;
	int			seen;
	bool		result;

	classtup = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclassoid));
	if (!HeapTupleIsValid(classtup))
		elog(ERROR, "cache lookup failed for operator class %u", opclassoid);
	opclass = (Form_pg_opclass) GETSTRUCT(classtup);

	result = validate_functions(opclass, &seen);
	if ((seen & for_vector) != for_vector && seen != for_filter)
	{
		report_invalid("hnsw operator class \"%s\" is missing support functions",
					   NameStr(opclass->opcname));
		result = false;
	}
	if (!validate_operators(opclass, (seen & for_filter) == 0))
		result = false;
	ReleaseSysCache(classtup);
	return result;
}

PG_FUNCTION_INFO_V1(hnsw_handler);
Datum
hnsw_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = HNSW_STRATEGIES;
	am->amsupport = HNSW_KEY_PROC;
	am->amcanorderbyop = true;
	am->amcanmulticol = true;
	am->amoptionalkey = true;
	am->amsearcharray = true;
	am->amsearchnulls = true;
	/* so that hnsw_key_columns can say what to do instead */
	am->amcaninclude = true;
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
