/*
 * Codes of values keep the order of their types, and filters keep the keys that
 * a plain evaluation of the conditions keeps.
 */
#include "type/half.h"
#include "unit.h"

#include <math.h>

#include "hnsw/key_filter.h"

/* The order of PostgreSQL's floats. */
static int
compare_floats(double a, double b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) - isnan(b);
	return (a > b) - (a < b);
}

static int
compare_codes(HnswKeyCode a, HnswKeyCode b)
{
	if (a.high != b.high)
		return a.high < b.high ? -1 : 1;
	return (a.low > b.low) - (a.low < b.low);
}

static double
bits_as_double(uint64 bits)
{
	double		value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Any value, or one at which something changes */
static double
random_double(void)
{
	static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1, -1, 5e-324, 1e300, -1e300,
	3.4028234663852886e38, 3.5e38, -3.5e38, 1e-46, 0.1};

	return random_int(0, 1) ? special[random_int(0, lengthof(special) - 1)] :
		random_int(0, 1) ? random_float(-4, 4) : bits_as_double(random_bits());
}

static int64
random_integer(int width)
{
	int64		most = PG_INT64_MAX >> (64 - 8 * width);

	switch (random_int(0, 3))
	{
		case 0:
			return random_int(-3, 3);
		case 1:
			return most - random_int(0, 2);
		case 2:
			return -most - 1 + random_int(0, 2);
		default:
			return (int64) random_bits() >> (64 - 8 * width);
	}
}

static void
test_order(void)
{
	bool		ints = true;
	bool		floats = true;
	bool		doubles = true;
	bool		bytes = true;

	for (int i = 0; i < 200000; i++)
	{
		int			width = 1 << random_int(1, 3);
		int64		a = random_integer(width);
		int64		b = random_integer(width);
		float		f = random_int(0, 1) ? bits_to_float(random_bits()) : (float) random_double();
		float		g = random_int(0, 1) ? bits_to_float(random_bits()) : (float) random_double();
		double		x = random_double();
		double		y = random_double();
		uint8		u[16];
		uint8		v[16];

		for (int j = 0; j < 16; j++)
		{
			u[j] = random_int(0, 255);
			v[j] = random_int(0, 3) ? u[j] : random_int(0, 255);
		}
		ints &= compare_codes(hnsw_code_int(a, width), hnsw_code_int(b, width)) == (a > b) - (a < b);
		floats &= compare_codes(hnsw_code_float4(f), hnsw_code_float4(g)) == compare_floats(f, g);
		doubles &= compare_codes(hnsw_code_float8(x), hnsw_code_float8(y)) == compare_floats(x, y);
		bytes &= compare_codes(hnsw_code_bytes(u), hnsw_code_bytes(v)) ==
			(memcmp(u, v, 16) > 0) - (memcmp(u, v, 16) < 0);
	}
	ok(ints, "integers of 2, 4 and 8 bytes keep their order");
	ok(floats, "float4 values keep their order");
	ok(doubles, "float8 values keep their order");
	ok(bytes, "16 bytes keep their order");
}

/* The columns of the random keys: what a value is, as a double or a set of elements */
enum
{
	INT2_COLUMN, INT8_COLUMN, FLOAT4_COLUMN, BOOL_COLUMN, UUID_COLUMN, ARRAY_COLUMN, NCOLUMNS
};

static const HnswKeyColumns columns = {NCOLUMNS, 1 + 2 + 8 + 4 + 1 + 16 + 16, {
	{2, HNSW_KEY_INT2, 2, 1},
	{3, HNSW_KEY_INT8, 8, 3},
	{4, HNSW_KEY_FLOAT4, 4, 11},
	{5, HNSW_KEY_BOOL, 1, 15},
	{6, HNSW_KEY_UUID, 16, 16},
	{7, HNSW_KEY_INT4_ARRAY, 16, 32},
}};

typedef struct Value
{
	bool		isnull;
	int64		integer;
	double		number;
	uint8		bytes[16];
	uint32		elements;		/* bit i: element i */
} Value;

static void
random_value(int column, bool of_column, Value *value)
{
	memset(value, 0, sizeof(Value));
	value->isnull = random_int(0, 9) == 0;
	switch (column)
	{
		case INT2_COLUMN:
			value->integer = random_integer(of_column ? 2 : 8);
			break;
		case INT8_COLUMN:
			value->integer = random_integer(8);
			break;
		case FLOAT4_COLUMN:
			value->number = of_column ? (float) random_double() : random_double();
			break;
		case BOOL_COLUMN:
			value->integer = random_int(0, 1);
			break;
		case UUID_COLUMN:
			value->bytes[random_int(0, 1) * 15] = random_int(0, 3);
			break;
		default:
			for (int i = random_int(0, 3); i > 0; i--)
				value->elements |= 1 << random_int(0, 9);
	}
}

static int
compare_values(int column, const Value *a, const Value *b)
{
	int			order;

	switch (column)
	{
		case FLOAT4_COLUMN:
			return compare_floats(a->number, b->number);
		case UUID_COLUMN:
			order = memcmp(a->bytes, b->bytes, 16);
			return (order > 0) - (order < 0);
		case ARRAY_COLUMN:
			return a->elements != b->elements;
		default:
			return (a->integer > b->integer) - (a->integer < b->integer);
	}
}

static HnswKeyCode
element_code(int element)
{
	return hnsw_code_element(UINT64CONST(0x9E3779B97F4A7C15) * (element + 1));
}

static HnswKeyCode
signature(uint32 elements)
{
	HnswKeyCode code = {0, 0};

	for (int i = 0; i < 32; i++)
		if (elements & (UINT32_C(1) << i))
			code = hnsw_code_union(code, element_code(i));
	return code;
}

static HnswKeyPlace
place(int column, const Value *value)
{
	switch (column)
	{
		case INT2_COLUMN:
		case INT8_COLUMN:
			return hnsw_place_int(value->integer, columns.columns[column].width);
		case FLOAT4_COLUMN:
			return hnsw_place_float4(value->number);
		case UUID_COLUMN:
			return hnsw_place_of(hnsw_code_bytes(value->bytes));
		case ARRAY_COLUMN:
			return hnsw_place_of(signature(value->elements));
		default:
			return hnsw_place_of(hnsw_code(value->integer));
	}
}

/* A random condition, and whether values satisfy it */
typedef struct Condition
{
	int			column;
	int			strategy;		/* 0: IS NULL, 1: IS NOT NULL */
	int			n;				/* ANY of so many */
	Value		values[20];
} Condition;

static void
random_condition(Condition *condition)
{
	condition->column = random_int(0, NCOLUMNS - 1);
	condition->n = random_int(0, 2) ? 1 : random_int(0, 20);
	condition->strategy = condition->column == ARRAY_COLUMN ?
		random_int(HNSW_EQUAL_STRATEGY, HNSW_EQUAL_STRATEGY + 2) : random_int(HNSW_LESS_STRATEGY, HNSW_GREATER_STRATEGY);
	if (condition->column == ARRAY_COLUMN && condition->strategy > HNSW_EQUAL_STRATEGY)
	{
		condition->strategy += HNSW_OVERLAP_STRATEGY - HNSW_EQUAL_STRATEGY - 1;
		condition->n = 1;
	}
	if (random_int(0, 7) == 0)
		condition->strategy = random_int(0, 1);
	for (int i = 0; i < condition->n; i++)
	{
		random_value(condition->column, false, &condition->values[i]);
		condition->values[i].isnull = false;
	}
}

static void
add_condition(HnswKeyFilter *filter, const Condition *condition)
{
	HnswKeyPlace places[lengthof(condition->values)];
	HnswKeyCode masks[32];
	uint32		elements = condition->values[0].elements;
	int			n = 0;

	switch (condition->strategy)
	{
		case 0:
		case 1:
			hnsw_filter_add_null(filter, condition->column, condition->strategy == 0);
			break;
		case HNSW_OVERLAP_STRATEGY:
			for (int i = 0; i < 32; i++)
				if (elements & (UINT32_C(1) << i))
					masks[n++] = element_code(i);
			hnsw_filter_add_masks(filter, condition->column, masks, n);
			break;
		case HNSW_CONTAINS_STRATEGY:
			masks[0] = signature(elements);
			hnsw_filter_add_masks(filter, condition->column, masks, 1);
			break;
		default:
			for (int i = 0; i < condition->n; i++)
				places[i] = place(condition->column, &condition->values[i]);
			hnsw_filter_add_compare(filter, condition->column, condition->strategy, places, condition->n);
	}
}

static bool
satisfies(const Value *value, const Condition *condition)
{
	if (condition->strategy < HNSW_LESS_STRATEGY || value->isnull)
		return value->isnull ? condition->strategy == 0 : condition->strategy == 1;
	if (condition->strategy == HNSW_OVERLAP_STRATEGY)
		return (value->elements & condition->values[0].elements) != 0;
	if (condition->strategy == HNSW_CONTAINS_STRATEGY)
		return (condition->values[0].elements & ~value->elements) == 0;
	for (int i = 0; i < condition->n; i++)
	{
		int			order = compare_values(condition->column, value, &condition->values[i]);

		if (condition->strategy == HNSW_EQUAL_STRATEGY ? order == 0 :
			condition->strategy == HNSW_LESS_STRATEGY ? order < 0 :
			condition->strategy == HNSW_LESS_EQUAL_STRATEGY ? order <= 0 :
			condition->strategy == HNSW_GREATER_STRATEGY ? order > 0 : order >= 0)
			return true;
	}
	return false;
}

#define KEYS 300
#define FIRST_BYTES 3			/* so that nothing is aligned */

static void
test_filters(void)
{
	static Value values[KEYS][NCOLUMNS];
	uint8		keys[KEYS][sizeof(HnswKeyColumns)];
	uint8	   *pages = palloc(FIRST_BYTES + columns.size * KEYS);
	HnswKeyEntries entries = {KEYS - 5, KEYS, pages + FIRST_BYTES};
	int			missed = 0;
	int			surplus = 0;
	int			passed = 0;
	int			differ = 0;
	int			wrongly_false = 0;

	for (int round = 0; round < 3000; round++)
	{
		HnswKeyFilter *filter = hnsw_filter_begin(&columns);
		Condition	conditions[4];
		int			n = random_int(0, 4);
		uint8		matches[KEYS];
		bool		on_array = false;

		for (int i = 0; i < KEYS; i++)
		{
			uint8	   *key = keys[i];

			memset(key, 0, columns.size);
			for (int c = 0; c < NCOLUMNS; c++)
			{
				const HnswKeyColumn *column = &columns.columns[c];

				random_value(c, true, &values[i][c]);
				if (values[i][c].isnull)
					key[0] |= 1 << c;
				else
					hnsw_code_put(place(c, &values[i][c]).floor, column->width, key + column->offset);
				memcpy(pages + FIRST_BYTES + KEYS * column->offset + i * column->width,
					   key + column->offset, column->width);
			}
			pages[FIRST_BYTES + i] = key[0];
		}
		for (int i = 0; i < n; i++)
		{
			random_condition(&conditions[i]);
			add_condition(filter, &conditions[i]);
			on_array |= conditions[i].column == ARRAY_COLUMN && conditions[i].strategy > 1;
		}
		hnsw_filter_end(filter);
		hnsw_filter_entries(filter, &entries, matches);
		for (int i = 0; i < entries.n; i++)
		{
			bool		truth = true;
			bool		found = hnsw_filter_test(filter, keys[i]);

			for (int j = 0; j < n; j++)
				truth &= satisfies(&values[i][conditions[j].column], &conditions[j]);
			missed += truth && !found;
			surplus += found && !truth && !on_array;
			passed += found;
			differ += found != matches[i];
			wrongly_false += truth && hnsw_filter_is_false(filter);
		}
	}
	ok(missed == 0, "no key is missed (%d)", missed);
	ok(surplus == 0, "without signatures, no key too much passes (%d)", surplus);
	ok(passed > 10000, "keys pass (%d)", passed);
	ok(differ == 0, "entries of a page are tested as keys are (%d)", differ);
	ok(wrongly_false == 0, "filters that are false have no matches (%d)", wrongly_false);
}

/* The share of arrays that seem to contain an element that they lack */
static double
signature_errors(int elements)
{
	int			wrong = 0;
	const int	rounds = 50000;

	for (int i = 0; i < rounds; i++)
	{
		HnswKeyCode array = hnsw_code_null_element();
		HnswKeyCode element = hnsw_code_element(random_bits());

		for (int j = 0; j < elements; j++)
			array = hnsw_code_union(array, hnsw_code_element(random_bits()));
		wrong += compare_codes(hnsw_code_union(array, element), array) == 0;
	}
	return (double) wrong / rounds;
}

static void
test_signatures(void)
{
	double		few = signature_errors(4);
	double		many = signature_errors(16);

	ok(few < 0.01, "4 elements: %.4f of the signatures lie", few);
	ok(many < 0.08, "16 elements: %.4f", many);
	ok(signature_errors(0) == 0, "an empty array contains no element");
}

int
main(void)
{
	test_order();
	test_filters();
	test_signatures();
	return done_testing();
}
