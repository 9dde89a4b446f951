/*-------------------------------------------------------------------------
 *
 * check.c
 *		piramid_check and piramid_repair: opening an index, findings as rows,
 *		errors of damaged pages as findings.
 *
 *-------------------------------------------------------------------------
 */
#include "check/check.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#define MAX_METHODS 4

/* Of a thoroughly broken index, so many findings tell enough. */
#define MAX_FOUND 10000

static const CheckMethod *methods[MAX_METHODS];
static int	nmethods = 0;

/* Called by an access method when the library is loaded. */
void
check_register(const CheckMethod *method)
{
	Assert(nmethods < MAX_METHODS);
	methods[nmethods++] = method;
}

/* ---------------------------------------------------------------------
 * What is found
 * ---------------------------------------------------------------------
 */

/* What to run, as one can copy it. */
static char *
remedy_hint(const Check *check, CheckRemedy remedy)
{
	char	   *name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(check->index)),
												  RelationGetRelationName(check->index));

	if (remedy == CHECK_REINDEX)
		return psprintf("Run REINDEX INDEX CONCURRENTLY %s.", name);
	return psprintf("Run SELECT * FROM piramid_repair(%s).", quote_literal_cstr(name));
}

static void
put_finding(Check *check, const char *severity, CheckPlace place, const char *what,
			const char *hint)
{
	Datum		values[5] = {CStringGetTextDatum(severity), Int64GetDatum(place.block),
	Int32GetDatum(place.slot), CStringGetTextDatum(what)};
	bool		nulls[5] = {false, place.block < 0, place.slot < 0, false, hint == NULL};

	if (hint != NULL)
		values[4] = CStringGetTextDatum(hint);
	tuplestore_putvalues(check->result->setResult, check->result->setDesc, values, nulls);
}

/* Report a finding; one row of piramid_check. */
void
check_found(Check *check, CheckRemedy remedy, CheckPlace place, const char *format,...)
{
	StringInfoData what;
	int			needed;

	check->nfound++;
	if (check->silent || check->nfound > MAX_FOUND)
		return;
	initStringInfo(&what);
	for (;;)
	{
		va_list		args;

		va_start(args, format);
		needed = appendStringInfoVA(&what, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&what, needed);
	}
	put_finding(check, remedy == CHECK_TIDY ? "warning" : "error", place, what.data,
				remedy_hint(check, remedy));
	pfree(what.data);
}

/* Report what a repair has done so many times; one row of piramid_repair. */
void
check_repaired(Check *check, int64 count, const char *what)
{
	Datum		values[2] = {CStringGetTextDatum(what), Int64GetDatum(count)};
	bool		nulls[2] = {false};

	if (count > 0)
		tuplestore_putvalues(check->result->setResult, check->result->setDesc, values, nulls);
}

/* Tell what comes next.  PostgreSQL has no progress view for an extension's commands. */
void
check_phase(const Check *check, const char *phase)
{
	ereport(DEBUG1,
			(errmsg_internal("%s of index \"%s\": %s", check->silent ? "repair" : "check",
							 RelationGetRelationName(check->index), phase)));
}

/* Is this block among those to be read? */
bool
check_samples(const Check *check, BlockNumber block)
{
	return check->sample >= 1 ||
		hash_bytes_uint32_extended(block, check->seed) < check->sample * (double) PG_UINT64_MAX;
}

/* The block that the message of a damaged page names, or -1. */
static int64
block_of_message(const char *message)
{
	const char *at = strstr(message, " at block ");
	unsigned int block;

	return at != NULL && sscanf(at, " at block %u", &block) == 1 ? (int64) block : -1;
}

/*
 * Call a function that may meet damaged pages.  If one of them is reported as an
 * error, that becomes a finding, and the function's work is left at that.  False
 * then.
 */
bool
check_guard(Check *check, void (*function) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		function(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error == NULL)
		return true;
	/* The last: a page of a later version */
	if (error->sqlerrcode != ERRCODE_INDEX_CORRUPTED &&
		error->sqlerrcode != ERRCODE_DATA_CORRUPTED &&
		error->sqlerrcode != ERRCODE_FEATURE_NOT_SUPPORTED)
		ReThrowError(error);
	check_found(check, CHECK_REINDEX, CheckBlock(block_of_message(error->message)), "%s",
				error->message);
	return false;
}

/* ---------------------------------------------------------------------
 * SQL functions
 * ---------------------------------------------------------------------
 */

/* The method of an index, or an error. */
static const CheckMethod *
method_of(Relation rel)
{
	for (int i = 0; i < nmethods; i++)
		if (methods[i]->owns(rel))
			return methods[i];
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not an index of piramid", RelationGetRelationName(rel))));
}

/*
 * Lock the table, then the index, as PostgreSQL does; the index has to be a valid
 * one of ours.  Repairs are the owner's.
 */
static const CheckMethod *
open_index(Check *check, Oid oid, LOCKMODE heap_lock, LOCKMODE index_lock, bool owner)
{
	Oid			table = IndexGetRelation(oid, true);
	char	   *name = get_rel_name(oid);
	const CheckMethod *method;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", oid)));
	if (!OidIsValid(table) || get_rel_relkind(oid) != RELKIND_INDEX)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not an index of piramid", name),
				 get_rel_relkind(oid) == RELKIND_PARTITIONED_INDEX ?
				 errhint("Name the indexes of its partitions.") : 0));
	if (owner && !owns_relation(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, name);
	check->heap = try_relation_open(table, heap_lock);
	check->index = check->heap != NULL ? try_relation_open(oid, index_lock) : NULL;
	if (check->index == NULL || check->index->rd_index->indrelid != table)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", oid)));
	method = method_of(check->index);
	if (RELATION_IS_OTHER_TEMP(check->index))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot access temporary tables of other sessions")));
	if (!check->index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid", name),
				 errdetail("It is still being built, or its concurrent build has failed."),
				 errhint("If that has failed, REINDEX or drop it.")));
	return method;
}

/*
 * Do it as the table's owner: expressions and conditions of the index are evaluated,
 * and may call functions of that user.
 */
static void
run_as_owner(Check *check, void (*function) (Check *check))
{
	Oid			user;
	int			context;
	int			level = NewGUCNestLevel();

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(check->heap->rd_rel->relowner,
						   context | SECURITY_RESTRICTED_OPERATION);
	RestrictSearchPath();
	function(check);
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, context);
}

/* An unlogged index has no pages on a standby. */
static bool
has_pages(const Check *check)
{
	if (RecoveryInProgress() && !RelationIsPermanent(check->index))
	{
		ereport(NOTICE,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot check unlogged index \"%s\" during recovery, skipping",
						RelationGetRelationName(check->index))));
		return false;
	}
	return true;
}

/*
 * piramid_check(index regclass, heapallindexed boolean, sample float8): one row for
 * each thing that is wrong.
 */
PG_FUNCTION_INFO_V1(piramid_check);
Datum
piramid_check(PG_FUNCTION_ARGS)
{
	Check		check = {
		.heapallindexed = PG_GETARG_BOOL(1),
		.sample = PG_GETARG_FLOAT8(2),
		.seed = pg_prng_uint64(&pg_global_prng_state)
	};
	const CheckMethod *method;

	if (!(check.sample > 0 && check.sample <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample must be greater than 0 and at most 1")));
	if (check.heapallindexed && check.sample < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("heapallindexed needs all blocks: sample must be 1")));
	method = open_index(&check, PG_GETARG_OID(0), AccessShareLock, AccessShareLock, false);
	InitMaterializedSRF(fcinfo, 0);
	check.result = (ReturnSetInfo *) fcinfo->resultinfo;
	if (has_pages(&check))
		run_as_owner(&check, method->check);
	if (check.nfound > MAX_FOUND)
		put_finding(&check, "error", CHECK_NOWHERE,
					psprintf(INT64_FORMAT " further findings are left out", check.nfound - MAX_FOUND),
					remedy_hint(&check, CHECK_REINDEX));
	relation_close(check.index, AccessShareLock);
	relation_close(check.heap, AccessShareLock);
	return (Datum) 0;
}

/*
 * piramid_repair(index regclass): mend what needs no REINDEX; one row for each kind
 * of thing done.  Keeps VACUUM and DDL out, as VACUUM does.
 */
PG_FUNCTION_INFO_V1(piramid_repair);
Datum
piramid_repair(PG_FUNCTION_ARGS)
{
	Check		check = {.sample = 1, .silent = true};
	const CheckMethod *method;

	PreventCommandDuringRecovery("piramid_repair()");
	PreventCommandIfReadOnly("piramid_repair()");
	method = open_index(&check, PG_GETARG_OID(0), ShareUpdateExclusiveLock, RowExclusiveLock, true);
	InitMaterializedSRF(fcinfo, 0);
	check.result = (ReturnSetInfo *) fcinfo->resultinfo;
	run_as_owner(&check, method->repair);
	relation_close(check.index, RowExclusiveLock);
	relation_close(check.heap, ShareUpdateExclusiveLock);
	return (Datum) 0;
}
