/*-------------------------------------------------------------------------
 *
 * vec_toast.c
 *		Vectors out of TOAST tables, once for a query.
 *
 * "ORDER BY embedding <-> $1 LIMIT k" computes the distance of a row twice:
 * once to put the row in its place, once for the output of the scan, although
 * nobody sees it.  The distance of a vector out of line takes 0.2 us; to fetch
 * it, an index scan of the TOAST table, takes 5.  So the last few values are
 * kept until the query ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "fmgr.h"
#include "type/vec_common.h"
#include "utils/memutils.h"

#define SLOTS 64				/* for each of two arguments */
#define LARGEST (16 * 1024)		/* bytes of a value that is kept */

typedef struct ToastSlot
{
	Oid			relid;			/* TOAST table */
	Oid			valueid;
	struct varlena *value;		/* or NULL */
} ToastSlot;

/*
 * The values belong to a query: both expressions that compute its distances
 * were made in the same context.  A context that outlives the statement does
 * not keep them longer.
 */
static MemoryContext owner = NULL;
static MemoryContext values = NULL; /* child of owner, or NULL */
static TimestampTz statement;
static ToastSlot slots[2][SLOTS];

/* The query has ended. */
static void
forget(void *arg)
{
	owner = values = NULL;
	memset(slots, 0, sizeof(slots));
}

static void
remember_for(MemoryContext context)
{
	MemoryContextCallback *callback;

	if (values != NULL)
		MemoryContextDelete(values);	/* calls forget() */
	values = AllocSetContextCreate(context, "vectors out of line", ALLOCSET_DEFAULT_SIZES);
	owner = context;
	statement = GetCurrentStatementStartTimestamp();
	callback = MemoryContextAlloc(values, sizeof(MemoryContextCallback));
	callback->func = forget;
	callback->arg = NULL;
	MemoryContextRegisterResetCallback(values, callback);
}

/*
 * Argument 0 or 1 of a distance function, detoasted.  Not to be changed or
 * freed, nor used after the function has returned.
 */
struct varlena *
vec_getarg_toasted(FunctionCallInfo fcinfo, int n)
{
	struct varlena *datum = (struct varlena *) PG_GETARG_POINTER(n);
	struct varatt_external pointer;
	ToastSlot  *slot;
	MemoryContext old;

	if (!VARATT_IS_EXTERNAL_ONDISK(datum) || fcinfo->flinfo == NULL)
		return PG_DETOAST_DATUM(PG_GETARG_DATUM(n));
	VARATT_EXTERNAL_GET_POINTER(pointer, datum);
	if (pointer.va_rawsize > LARGEST)
		return PG_DETOAST_DATUM(PG_GETARG_DATUM(n));

	if (owner != fcinfo->flinfo->fn_mcxt || statement != GetCurrentStatementStartTimestamp())
		remember_for(fcinfo->flinfo->fn_mcxt);
	slot = &slots[n][pointer.va_valueid % SLOTS];
	if (slot->value != NULL && slot->valueid == pointer.va_valueid &&
		slot->relid == pointer.va_toastrelid)
		return slot->value;

	if (slot->value != NULL)
		pfree(slot->value);
	slot->value = NULL;
	old = MemoryContextSwitchTo(values);
	slot->value = detoast_attr(datum);
	MemoryContextSwitchTo(old);
	slot->valueid = pointer.va_valueid;
	slot->relid = pointer.va_toastrelid;
	return slot->value;
}
