/*-------------------------------------------------------------------------
 *
 * bm25.c
 *		Handler of the bm25 access method.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

/* Called once, when the library is loaded. */
void
bm25_init(void)
{
	bm25_options_init();
	bm25_check_init();
}

/* The operators of a class return what the scan makes of them. */
static bool
bm25_validate(Oid opclassoid)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclassoid));
	Form_pg_opclass opclass;
	CatCList   *operators;
	bool		result = true;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclassoid);
	opclass = (Form_pg_opclass) GETSTRUCT(tuple);
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(opclass->opcfamily));
	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop op = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);
		bool		ordering = op->amopstrategy == BM25_ORDER && op->amoppurpose == AMOP_ORDER &&
			get_op_rettype(op->amopopr) == FLOAT8OID &&
			opfamily_can_sort_type(op->amopsortfamily, FLOAT8OID);
		bool		search = op->amoppurpose == AMOP_SEARCH && op->amopstrategy > BM25_ORDER &&
			(op->amopstrategy == BM25_MATCH_TSQUERY) == (op->amoprighttype == TSQUERYOID) &&
			get_op_rettype(op->amopopr) == BOOLOID;

		if (!ordering && !search)
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("bm25 operator family contains invalid operator %s",
							format_operator(op->amopopr))));
			result = false;
		}
	}
	ReleaseCatCacheList(operators);
	ReleaseSysCache(tuple);
	return result;
}

PG_FUNCTION_INFO_V1(bm25_handler);
Datum
bm25_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = BM25_STRATEGIES;
	am->amsupport = BM25_PROCS;
	am->amcanorderbyop = true;
	am->amoptionalkey = true;
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
	am->amkeytype = InvalidOid;

	am->ambuild = bm25_build;
	am->ambuildempty = bm25_buildempty;
	am->aminsert = bm25_insert;
	am->ambulkdelete = bm25_bulkdelete;
	am->amvacuumcleanup = bm25_vacuumcleanup;
	am->amcostestimate = bm25_costestimate;
	am->amoptions = bm25_options;
	am->amvalidate = bm25_validate;
	am->ambeginscan = bm25_beginscan;
	am->amrescan = bm25_rescan;
	am->amgettuple = bm25_gettuple;
	am->amgetbitmap = bm25_getbitmap;
	am->amendscan = bm25_endscan;

	PG_RETURN_POINTER(am);
}
