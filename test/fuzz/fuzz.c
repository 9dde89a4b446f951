/*-------------------------------------------------------------------------
 *
 * fuzz.c
 *		An input of the fuzzer becomes calls of a type's functions.
 *
 * The first byte chooses what the rest is:
 *
 *	t	type modifier (1 byte), text: input function
 *	x	type modifier, count (2 bytes), text "head|part|tail": the input
 *		function, with part as often as count says
 *	r	type modifier, message: receive function
 *	y	array of integers: type modifier input
 *	a	type modifier, array: cast from array
 *	o	two integers (4 bytes each), message, message: functions of one and of
 *		two values
 *	s	array, message: the aggregate's transition and final function
 *	c	array, array: the aggregate's combine function
 *	n	text: number parsing
 *
 * An array is an element type (1 byte), a count of dimensions (2 bits) and
 * whether it has a bitmap of NULLs (1 bit), the dimensions (2 bytes each), the
 * bitmap and as many elements as there are bytes; the rest is zero.
 *
 * Whatever is accepted must be as the type's header says, come out and in
 * again as the same bytes, and survive every function of the type; whatever
 * is refused must be refused with an SQLSTATE of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "fuzz.h"
#include "lib/stringinfo.h"
#include "type/vec_common.h"
#include "utils/fmgrprotos.h"

#define NO_TYPMOD (-1)
#define FEW_ITEMS 300			/* of an array, unless it has the most or one more */
#define MOST_ITEMS 16000

extern Datum vector_combine(PG_FUNCTION_ARGS);
extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

/* What is left of the input. */
static const uint8 *input;
static Size input_size;

void
require_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not true: %s\nlast error: %s\n", file, line,
			condition, last_error.message);
	abort();
}

/* Errors are reported as the server reports them. */
Outcome
checked(Outcome outcome)
{
	if (outcome.failed)
	{
		REQUIRE(last_error.message[0] != '\0');
		REQUIRE(last_error.sqlstate != ERRCODE_INTERNAL_ERROR ||
				strstr(last_error.message, "expected state array") != NULL);
	}
	return outcome;
}

/*
 * Reading the input
 */

/* The next n bytes; zeros after the end. */
static void
take(void *to, Size n)
{
	Size		here = Min(n, input_size);

	memset(to, 0, n);
	memcpy(to, input, here);
	input += here;
	input_size -= here;
}

static uint8
take_byte(void)
{
	uint8		byte;

	take(&byte, sizeof(byte));
	return byte;
}

static uint16
take_uint16(void)
{
	uint16		n;

	take(&n, sizeof(n));
	return n;
}

static int32
take_int32(void)
{
	int32		n;

	take(&n, sizeof(n));
	return n;
}

/* '-' is none, '0' the largest of a dense type, other digits themselves. */
static int32
take_typmod(void)
{
	uint8		byte = take_byte();

	if (byte == '-')
		return NO_TYPMOD;
	return (byte & 15) != 0 ? byte & 15 : 16000;
}

/* The rest as text, without a zero byte but for the end. */
static char *
take_text(void)
{
	char	   *text = palloc(input_size + 1);

	memcpy(text, input, input_size);
	text[input_size] = '\0';
	for (Size i = 0; i < input_size; i++)
	{
		if (text[i] == '\0')
			text[i] = ' ';
	}
	input_size = 0;
	return text;
}

/* The rest as a message, in memory of its size. */
static StringInfoData
take_message(void)
{
	StringInfoData message;

	message.data = palloc(input_size);
	message.len = input_size;
	message.maxlen = input_size;
	message.cursor = 0;
	memcpy(message.data, input, input_size);
	input_size = 0;
	return message;
}

/* A numeric that backend.c understands: digits, perhaps more. */
#define MAX_NUMERIC_SIZE 72
static Size
take_numeric(char *to)
{
	static const char *const special[] = {"NaN", "Infinity", "-Infinity"};
	char		text[64];
	Size		len = 0;
	uint8		form = take_byte();

	if (form < lengthof(special))
		len = strlen(strcpy(text, special[form]));
	else
	{
		if (form & 1)
			text[len++] = '-';
		for (int digits = (form >> 1) % 60; digits >= 0; digits--)
			text[len++] = '0' + take_byte() % 10;
		if (form > 128)
		{
			text[len] = text[len - 1];
			text[len++ - 1] = '.';
		}
		if (text[0] == '.' || text[1] == '.')
			text[0] = '7';
	}
	SET_VARSIZE(to, VARHDRSZ + len);
	memcpy(to + VARHDRSZ, text, len);
	memset(to + VARHDRSZ + len, 0, INTALIGN(len) - len);
	return VARHDRSZ + INTALIGN(len);
}

/* An array such as the server can make, in memory of its size. */
static ArrayType *
take_array(Oid element_type)
{
	static const Oid types[] = {INT4OID, FLOAT4OID, FLOAT8OID, NUMERICOID};
	Oid			type = types[take_byte() % lengthof(types)];
	uint8		shape = take_byte();
	int			ndim = shape & 3;
	int			nitems = ndim == 0 ? 0 : 1;
	int			dims[3];
	Size		overhead;
	Size		data = 0;
	ArrayType  *array;

	if (OidIsValid(element_type))
		type = element_type;
	for (int i = 0; i < ndim; i++)
	{
		dims[i] = take_uint16();
		if (nitems != 1 || (dims[i] != MOST_ITEMS && dims[i] != MOST_ITEMS + 1))
			dims[i] %= FEW_ITEMS / Max(nitems, 1) + 1;
		nitems *= dims[i];
	}
	overhead = (shape & 4) ? ARR_OVERHEAD_WITHNULLS(ndim, nitems) :
		ARR_OVERHEAD_NONULLS(ndim);

	array = palloc0(overhead + (Size) nitems *
					(type == NUMERICOID ? MAX_NUMERIC_SIZE : sizeof(float8)));
	array->ndim = ndim;
	array->dataoffset = (shape & 4) ? overhead : 0;
	array->elemtype = type;
	for (int i = 0; i < ndim; i++)
	{
		ARR_DIMS(array)[i] = dims[i];
		ARR_LBOUND(array)[i] = (int8) take_byte();
	}
	if (shape & 4)
	{
		take(ARR_NULLBITMAP(array), (nitems + 7) / 8);
		for (int i = 0; i < nitems; i++)
		{
			/* NULLs take no space: the simplest is that all or none are. */
			if (shape & 8)
				ARR_NULLBITMAP(array)[i / 8] |= 1 << (i % 8);
		}
	}
	for (int i = 0; i < nitems; i++)
	{
		char	   *p = ARR_DATA_PTR(array) + data;
		Size		size = type == FLOAT8OID ? 8 : 4;

		if (type == NUMERICOID)
			data += take_numeric(p);
		else
		{
			take(p, size);
			data += size;
		}
	}
	SET_VARSIZE(array, overhead + data);
	return repalloc(array, overhead + data);
}

/*
 * Values
 */

/* Bytes of an allocated varlena, which must be as large as it claims. */
static Size
value_size(Datum value)
{
	REQUIRE(allocated_size(DatumGetPointer(value)) ==
			VARSIZE(DatumGetPointer(value)));
	return VARSIZE(DatumGetPointer(value));
}

static void
require_same(Datum a, Outcome b)
{
	REQUIRE(!b.failed && !b.isnull);
	REQUIRE(value_size(a) == value_size(b.value));
	REQUIRE(memcmp(DatumGetPointer(a), DatumGetPointer(b.value),
				   value_size(a)) == 0);
}

/* The value with a short header, as a tuple would hold it, not aligned. */
static Datum
short_copy(Datum value)
{
	Size		size = value_size(value) - VARHDRSZ + VARHDRSZ_SHORT;
	char	   *copy;

	if (size > VARATT_SHORT_MAX)
		return value;
	copy = palloc(size + 1);
	SET_VARSIZE_SHORT(copy + 1, size);
	memcpy(copy + 1 + VARHDRSZ_SHORT, VARDATA(DatumGetPointer(value)),
		   size - VARHDRSZ_SHORT);
	return PointerGetDatum(copy + 1);
}

static StringInfoData
message_of(Datum sent)
{
	StringInfoData message;

	message.len = value_size(sent) - VARHDRSZ;
	message.maxlen = message.len;
	message.data = palloc(message.len);
	message.cursor = 0;
	memcpy(message.data, VARDATA(DatumGetPointer(sent)), message.len);
	return message;
}

/* A value is sound, and comes out and in again as the same. */
void
check_value(Datum value)
{
	const FuzzType *type = &fuzz_type;
	StringInfoData message;
	Outcome		outcome;

	(void) value_size(value);
	type->check(value);
	if (type->out != NULL)
	{
		outcome = CALL1(type->out, value);
		REQUIRE(!outcome.failed);
		require_same(value, CALL3(type->in, outcome.value, 0, NO_TYPMOD));
	}
	if (type->send != NULL)
	{
		outcome = CALL1(type->send, value);
		REQUIRE(!outcome.failed);
		message = message_of(outcome.value);
		require_same(value, CALL3(type->recv, PointerGetDatum(&message), 0,
								  NO_TYPMOD));
		REQUIRE(message.cursor == message.len);
		outcome = CALL1(type->send, short_copy(value));
		message = message_of(outcome.value);
		require_same(value, CALL3(type->recv, PointerGetDatum(&message), 0,
								  NO_TYPMOD));
	}
}

/* A new value, if there is one: returns whether. */
static bool
accepted(Outcome outcome, int32 typmod)
{
	checked(outcome);
	if (outcome.failed)
		return false;
	REQUIRE(!outcome.isnull);
	check_value(outcome.value);
	if (fuzz_type.typmod_cast != NULL)
	{
		Outcome		cast = CALL3(fuzz_type.typmod_cast, outcome.value, typmod, true);

		require_same(outcome.value, cast);
	}
	return true;
}

/* Comparison is a total order, as far as two values can tell. */
static void
check_order(Datum a, Datum b)
{
	const FuzzType *type = &fuzz_type;
	int			order = DatumGetInt32(CALL2(type->cmp, a, b).value);
	bool		expected[6] = {order < 0, order <= 0, order == 0, order != 0,
	order >= 0, order > 0};

	REQUIRE(DatumGetInt32(CALL2(type->cmp, a, a).value) == 0);
	REQUIRE(DatumGetInt32(CALL2(type->cmp, b, a).value) == -order);
	REQUIRE(DatumGetInt32(CALL2(type->cmp, short_copy(a), b).value) == order);
	for (int i = 0; i < lengthof(expected); i++)
		REQUIRE(DatumGetBool(CALL2(type->compare[i], a, b).value) == expected[i]);
}

/*
 * What can be done with an input
 */

/* Input reports the same errors softly, where the server can. */
static void
try_text(char *text, int32 typmod)
{
	Outcome		hard;
	Outcome		soft;
	LastError	error;

	hard = CALL3(fuzz_type.in, CStringGetDatum(text), 0, typmod);
	error = last_error;
	soft_errors = true;
	soft = CALL3(fuzz_type.in, CStringGetDatum(text), 0, typmod);
	soft_errors = false;

	REQUIRE(soft.failed == hard.failed);
	if (!hard.failed)
		require_same(hard.value, soft);
	else
		REQUIRE(error.sqlstate == last_error.sqlstate &&
				strcmp(error.message, last_error.message) == 0);
	accepted(hard, typmod);
}

static void
try_repeated(void)
{
	int32		typmod = take_typmod();
	int			count = take_uint16() % 20000;
	char	   *head = take_text();
	char	   *part = strchr(head, '|');
	char	   *tail = part != NULL ? strchr(part + 1, '|') : NULL;
	Size		part_len;
	char	   *text;
	char	   *p;

	if (tail == NULL)
		return;
	part_len = tail - part - 1;
	if (part_len > 20)
		return;
	text = palloc((part - head) + part_len * count + strlen(tail));
	p = text;
	memcpy(p, head, part - head);
	p += part - head;
	for (int i = 0; i < count; i++, p += part_len)
		memcpy(p, part + 1, part_len);
	strcpy(p, tail + 1);
	try_text(text, typmod);
}

static void
try_message(void)
{
	int32		typmod = take_typmod();
	StringInfoData message = take_message();

	accepted(call(fuzz_type.recv, 3, PointerGetDatum(&message), (Datum) 0,
				  Int32GetDatum(typmod)), typmod);
}

static void
try_typmod(void)
{
	ArrayType  *modifiers = take_array(INT4OID);
	Outcome		outcome;

	if (ARR_NDIM(modifiers) > 1)
		return;
	outcome = CALL1(fuzz_type.typmod_in, modifiers);
	if (!outcome.failed)
		REQUIRE(ARR_DIMS(modifiers)[0] == 1 &&
				DatumGetInt32(outcome.value) >= 1 &&
				DatumGetInt32(outcome.value) == *(int32 *) ARR_DATA_PTR(modifiers));
}

static void
try_array(void)
{
	int32		typmod = take_typmod();
	ArrayType  *array = take_array(InvalidOid);

	accepted(call(fuzz_type.from_array, 3, PointerGetDatum(array),
				  Int32GetDatum(typmod), BoolGetDatum(true)), typmod);
}

static void
try_functions(void)
{
	int32		x = take_int32();
	int32		y = take_int32();
	StringInfoData message = take_message();
	Outcome		a = CALL3(fuzz_type.recv, PointerGetDatum(&message), 0, NO_TYPMOD);
	Outcome		b;

	if (a.failed)
		return;
	fuzz_type.one(a.value, x, y);
	b = CALL3(fuzz_type.recv, PointerGetDatum(&message), 0, NO_TYPMOD);
	if (b.failed)
		b = a;
	if (fuzz_type.cmp != NULL)
		check_order(a.value, b.value);
	fuzz_type.two(a.value, b.value);
}

/* A state of the aggregate is sound enough for the next call. */
static void
check_state(Outcome outcome)
{
	ArrayType  *state;

	if (outcome.failed)
		return;
	REQUIRE(!outcome.isnull);
	state = DatumGetArrayTypeP(outcome.value);
	(void) value_size(outcome.value);
	REQUIRE(ARR_NDIM(state) == 1 && ARR_ELEMTYPE(state) == FLOAT8OID &&
			!ARR_HASNULL(state));
	REQUIRE(ARR_SIZE(state) == ARR_OVERHEAD_NONULLS(1) +
			sizeof(float8) * ARR_DIMS(state)[0]);

	outcome = CALL1(fuzz_type.avg, state);
	if (!outcome.failed && !outcome.isnull)
		check_value(outcome.value);
}

static void
try_state(void)
{
	ArrayType  *state = take_array(FLOAT8OID);
	StringInfoData message = take_message();
	Outcome		value = CALL3(fuzz_type.recv, PointerGetDatum(&message), 0, NO_TYPMOD);
	Outcome		average = CALL1(fuzz_type.avg, state);
	Size		size = ARR_SIZE(state);
	ArrayType  *before = memcpy(palloc(size), state, size);

	if (!average.failed && !average.isnull)
		check_value(average.value);
	if (value.failed)
		return;
	check_state(CALL2(fuzz_type.accum, state, value.value));
	REQUIRE(memcmp(before, state, size) == 0);
	in_aggregate = true;
	check_state(CALL2(fuzz_type.accum, state, value.value));
	in_aggregate = false;
}

static void
try_combine(void)
{
	ArrayType  *a = take_array(FLOAT8OID);
	ArrayType  *b = take_array(FLOAT8OID);

	check_state(CALL2(vector_combine, a, b));
}

/* Numbers are what strtof() makes of them. */
static void
try_number(void)
{
	char	   *text = take_text();
	const char *end = NULL;
	char	   *expected_end;
	float		value;
	float		expected;
	NumberParse parsed = vec_parse_number(text, &value, &end);

	errno = 0;
	expected = strtof(text, &expected_end);
	if (parsed == NUMBER_INVALID)
	{
		REQUIRE(expected_end == text);
		return;
	}
	REQUIRE(end == expected_end && end > text);
	REQUIRE(isnan(value) ? isnan(expected) :
			memcmp(&value, &expected, sizeof(value)) == 0);
	REQUIRE((parsed == NUMBER_OVERFLOW) == (errno == ERANGE && isinf(expected)));
	REQUIRE((parsed == NUMBER_UNDERFLOW) == (errno == ERANGE && expected == 0));
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	const FuzzType *type = &fuzz_type;
	uint8		what;

	input = data;
	input_size = size;
	what = take_byte();
	if (what == 't' && type->in != NULL)
	{
		int32		typmod = take_typmod();

		try_text(take_text(), typmod);
	}
	else if (what == 'x' && type->in != NULL)
		try_repeated();
	else if (what == 'r')
		try_message();
	else if (what == 'y' && type->typmod_in != NULL)
		try_typmod();
	else if (what == 'a' && type->from_array != NULL)
		try_array();
	else if (what == 'o')
		try_functions();
	else if (what == 's' && type->accum != NULL)
		try_state();
	else if (what == 'c' && type->accum != NULL)
		try_combine();
	else if (what == 'n')
		try_number();
	free_everything();
	return 0;
}
