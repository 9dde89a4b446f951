/*-------------------------------------------------------------------------
 *
 * backend.c
 *		What the types need of the server, made to find mistakes.
 *
 * - Memory comes from malloc() in exactly the size asked for, so that the
 *	 address sanitizer sees any access beyond it, and filled with rubbish.
 * - Messages are read with the server's own checks of their length.
 * - An error ends the call() that led to it.  Messages are formatted by the
 *	 server's own printf, so that their arguments are read too.
 * - A numeric is a varlena that holds its text.
 *
 * Everything else is PostgreSQL's: the headers, libpgcommon and libpgport.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <setjmp.h>

#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "fuzz.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "type/vec_common.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

/*
 * Memory
 */

typedef struct Allocation
{
	void	   *memory;
	Size		size;
} Allocation;

static Allocation *allocations;
static int	nallocations;
static int	max_allocations;

void *
palloc(Size size)
{
	void	   *memory;

	if (!AllocSizeIsValid(size))
		elog(ERROR, "invalid memory alloc request size %zu", size);
	memory = malloc(size);
	REQUIRE(memory != NULL);
	memset(memory, 0xA5, size);

	if (nallocations == max_allocations)
	{
		max_allocations = Max(max_allocations * 2, 1024);
		allocations = realloc(allocations, sizeof(Allocation) * max_allocations);
		REQUIRE(allocations != NULL);
	}
	allocations[nallocations++] = (Allocation) {memory, size};
	return memory;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

/* Index of what palloc() returned; the newest are asked for first. */
static int
find_allocation(const void *memory)
{
	for (int i = nallocations - 1; i >= 0; i--)
	{
		if (allocations[i].memory == memory)
			return i;
	}
	require_failed("memory of palloc()", __FILE__, __LINE__);
}

Size
allocated_size(const void *memory)
{
	return allocations[find_allocation(memory)].size;
}

void
pfree(void *memory)
{
	allocations[find_allocation(memory)] = allocations[nallocations - 1];
	nallocations--;
	free(memory);
}

void *
repalloc(void *memory, Size size)
{
	void	   *result = palloc(size);

	memcpy(result, memory, Min(size, allocated_size(memory)));
	pfree(memory);
	return result;
}

void
free_everything(void)
{
	while (nallocations > 0)
		free(allocations[--nallocations].memory);
}

/*
 * Errors and calls
 */

LastError	last_error;
bool		in_aggregate;		/* what AggCheckCallContext() says */
bool		soft_errors;		/* input functions are to report softly */

static sigjmp_buf *error_handler;

Outcome
call(PGFunction function, int nargs,...)
{
	LOCAL_FCINFO(fcinfo, 4);
	sigjmp_buf	handler;
	Outcome		outcome = {true, false, (Datum) 0};
	va_list		args;
#ifdef errsave_domain
	ErrorSaveContext escontext = {T_ErrorSaveContext};
	Node	   *context = soft_errors ? (Node *) &escontext : NULL;
#else
	Node	   *context = NULL;
#endif

	InitFunctionCallInfoData(*fcinfo, NULL, nargs, InvalidOid, context, NULL);
	va_start(args, nargs);
	for (int i = 0; i < nargs; i++)
		fcinfo->args[i] = (NullableDatum) {va_arg(args, Datum), false};
	va_end(args);

	if (sigsetjmp(handler, 0) == 0)
	{
		Datum		value;

		error_handler = &handler;
		value = function(fcinfo);
		outcome = (Outcome) {false, fcinfo->isnull, value};
#ifdef errsave_domain
		outcome.failed = escontext.error_occurred;
#endif
	}
	error_handler = NULL;
	return outcome;
}

bool
errstart(int elevel, const char *domain)
{
	if (elevel < ERROR)
		return false;
	last_error = (LastError) {ERRCODE_INTERNAL_ERROR, ""};
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	REQUIRE(error_handler != NULL);
	siglongjmp(*error_handler, 1);
}

#ifdef errsave_domain
bool
errsave_start(struct Node *context, const char *domain)
{
	if (context == NULL)
		return errstart(ERROR, domain);
	((ErrorSaveContext *) context)->error_occurred = true;
	return errstart(ERROR, domain);
}

void
errsave_finish(struct Node *context, const char *filename, int lineno,
			   const char *funcname)
{
	if (context == NULL)
		errfinish(filename, lineno, funcname);
}
#endif

int
errcode(int sqlerrcode)
{
	last_error.sqlstate = sqlerrcode;
	return 0;
}

int
errmsg(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	vsnprintf(last_error.message, sizeof(last_error.message), fmt, args);
	va_end(args);
	return 0;
}

int
errmsg_internal(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	vsnprintf(last_error.message, sizeof(last_error.message), fmt, args);
	va_end(args);
	return 0;
}

int
errdetail(const char *fmt,...)
{
	char		detail[256];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	return 0;
}

void
float_overflow_error(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("value out of range: overflow")));
}

void
float_underflow_error(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("value out of range: underflow")));
}

/* Nobody cancels a query here: it is only linked. */
volatile sig_atomic_t InterruptPending = false;

void
ProcessInterrupts(void)
{
	REQUIRE(false);
}

/*
 * Functions
 */

Datum
DirectFunctionCall1Coll(PGFunction function, Oid collation, Datum arg)
{
	LOCAL_FCINFO(fcinfo, 1);

	InitFunctionCallInfoData(*fcinfo, NULL, 1, collation, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {arg, false};
	return function(fcinfo);
}

int
AggCheckCallContext(FunctionCallInfo fcinfo, MemoryContext *aggcontext)
{
	return in_aggregate ? AGG_CONTEXT_AGGREGATE : 0;
}

/* Values here are never toasted, but may have a short header. */
struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	struct varlena *result;
	Size		size;

	if (!VARATT_IS_SHORT(datum))
		return datum;
	size = VARSIZE_SHORT(datum) - VARHDRSZ_SHORT + VARHDRSZ;
	result = palloc(size);
	SET_VARSIZE(result, size);
	memcpy(VARDATA(result), VARDATA_SHORT(datum), size - VARHDRSZ);
	return result;
}

/* Of vec_toast.c. */
struct varlena *
vec_getarg_toasted(FunctionCallInfo fcinfo, int n)
{
	return PG_DETOAST_DATUM(PG_GETARG_DATUM(n));
}

/* Writes the digits, no zero byte; returns how many. */
int
pg_ultoa_n(uint32 value, char *a)
{
	char		digits[16];
	int			n = snprintf(digits, sizeof(digits), "%u", value);

	memcpy(a, digits, n);
	return n;
}

/*
 * Messages
 */

static void
copy_message(StringInfo msg, void *to, int n)
{
	if (n < 0 || n > msg->len - msg->cursor)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("insufficient data left in message")));
	memcpy(to, msg->data + msg->cursor, n);
	msg->cursor += n;
}

unsigned int
pq_getmsgint(StringInfo msg, int b)
{
	uint16		n16;
	uint32		n32;

	if (b == sizeof(n16))
	{
		copy_message(msg, &n16, b);
		return pg_ntoh16(n16);
	}
	REQUIRE(b == sizeof(n32));
	copy_message(msg, &n32, b);
	return pg_ntoh32(n32);
}

float4
pq_getmsgfloat4(StringInfo msg)
{
	uint32		bits = pq_getmsgint(msg, sizeof(bits));
	float4		result;

	memcpy(&result, &bits, sizeof(result));
	return result;
}

void
initStringInfo(StringInfo str)
{
	str->maxlen = 16;
	str->data = palloc(str->maxlen);
	str->len = 0;
	str->cursor = 0;
	str->data[0] = '\0';
}

void
enlargeStringInfo(StringInfo str, int needed)
{
	REQUIRE(needed >= 0 && (Size) needed < MaxAllocSize - str->len);
	if (str->len + needed + 1 > str->maxlen)
	{
		str->maxlen = (str->len + needed + 1) * 2;
		str->data = repalloc(str->data, str->maxlen);
	}
}

void
pq_begintypsend(StringInfo buf)
{
	initStringInfo(buf);
	enlargeStringInfo(buf, VARHDRSZ);
	memset(buf->data, 0, VARHDRSZ);
	buf->len = VARHDRSZ;
}

void
pq_sendfloat4(StringInfo buf, float4 f)
{
	uint32		bits;

	memcpy(&bits, &f, sizeof(bits));
	pq_sendint32(buf, bits);
}

/* Unlike the server's, of exactly the size that its header says. */
bytea *
pq_endtypsend(StringInfo buf)
{
	bytea	   *result = palloc(buf->len);

	memcpy(result, buf->data, buf->len);
	SET_VARSIZE(result, buf->len);
	pfree(buf->data);
	return result;
}

/*
 * Arrays
 */

bool
array_contains_nulls(ArrayType *array)
{
	int			nitems = 1;

	for (int i = 0; i < ARR_NDIM(array); i++)
		nitems *= ARR_DIMS(array)[i];
	if (!ARR_HASNULL(array) || ARR_NDIM(array) == 0)
		return false;
	for (int i = 0; i < nitems; i++)
	{
		if (att_isnull(i, ARR_NULLBITMAP(array)))
			return true;
	}
	return false;
}

void
deconstruct_array(ArrayType *array, Oid elmtype, int elmlen, bool elmbyval,
				  char elmalign, Datum **elemsp, bool **nullsp, int *nelemsp)
{
	int			nelems = 1;
	char	   *p = ARR_DATA_PTR(array);
	Datum	   *elems;

	REQUIRE(ARR_ELEMTYPE(array) == elmtype && nullsp == NULL);
	for (int i = 0; i < ARR_NDIM(array); i++)
		nelems *= ARR_DIMS(array)[i];
	if (ARR_NDIM(array) == 0)
		nelems = 0;
	elems = palloc(sizeof(Datum) * nelems);
	for (int i = 0; i < nelems; i++)
	{
		elems[i] = fetch_att(p, elmbyval, elmlen);
		p = att_addlength_pointer(p, elmlen, p);
		p = (char *) att_align_nominal(p, elmalign);
	}
	*elemsp = elems;
	*nelemsp = nelems;
}

/* Here the modifiers come as an array of integers. */
int32 *
ArrayGetIntegerTypmods(ArrayType *array, int *n)
{
	int32	   *result;

	*n = ARR_NDIM(array) == 0 ? 0 : ARR_DIMS(array)[0];
	result = palloc(sizeof(int32) * *n);
	memcpy(result, ARR_DATA_PTR(array), sizeof(int32) * *n);
	return result;
}

Datum
numeric_out(PG_FUNCTION_ARGS)
{
	struct varlena *numeric = PG_DETOAST_DATUM(PG_GETARG_DATUM(0));
	Size		len = VARSIZE(numeric) - VARHDRSZ;
	char	   *result = palloc(len + 1);

	memcpy(result, VARDATA(numeric), len);
	result[len] = '\0';
	PG_RETURN_CSTRING(result);
}
