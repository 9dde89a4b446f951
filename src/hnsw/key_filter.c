/*-------------------------------------------------------------------------
 *
 * key_filter.c
 *		Conditions on keys, compiled.
 *
 * All conditions on a column come down to a range of codes, a sorted set of
 * codes within the range (IN), and masks for signatures.  So a key is tested
 * without knowing types, and a page of keys by loops without branches.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/key_filter.h"

#include <math.h>

/* Conditions on signatures: some mask's bits must all be there.  One for each && and @>. */
typedef struct KeyMasks
{
	struct KeyMasks *next;
	int			n;
	HnswKeyCode *masks;
} KeyMasks;

typedef struct KeyCondition
{
	bool		ranged;
	HnswKeyCode least;
	HnswKeyCode greatest;
	HnswKeyCode *set;			/* NULL: the whole range */
	int			nset;
	KeyMasks   *masks;
} KeyCondition;

struct HnswKeyFilter
{
	HnswKeyColumns columns;
	bool		is_false;
	bool		rechecks;
	uint8		null_mask;		/* null flags that are tested */
	uint8		null_flags;		/* and what they have to be */
	KeyCondition conditions[HNSW_MAX_KEY_COLUMNS];
};

static const HnswKeyCode least_code = {0, 0};
static const HnswKeyCode greatest_code = {PG_UINT64_MAX, PG_UINT64_MAX};

/* ---------------------------------------------------------------------
 * Codes
 * ---------------------------------------------------------------------
 */

static inline int
compare_codes(HnswKeyCode a, HnswKeyCode b)
{
	if (a.high != b.high)
		return a.high < b.high ? -1 : 1;
	return (a.low > b.low) - (a.low < b.low);
}

static inline bool
equal_codes(HnswKeyCode a, HnswKeyCode b)
{
	return a.high == b.high && a.low == b.low;
}

/* A number that is unsigned in its type, or a hash */
HnswKeyCode
hnsw_code(uint64 low)
{
	return (HnswKeyCode) {0, low};
}

/* A signed integer of so many bytes */
HnswKeyCode
hnsw_code_int(int64 value, int width)
{
	return hnsw_code((uint64) value + (UINT64CONST(1) << (8 * width - 1)));
}

/* -0 equals 0, and NaN is greater than all numbers, as in btree. */
HnswKeyCode
hnsw_code_float4(float4 value)
{
	uint32		bits;

	if (isnan(value))
		return hnsw_code(PG_UINT32_MAX);
	value += 0.0f;
	memcpy(&bits, &value, sizeof(bits));
	return hnsw_code(bits >> 31 ? (uint32) ~bits : bits | UINT32_C(0x80000000));
}

HnswKeyCode
hnsw_code_float8(float8 value)
{
	uint64		bits;

	if (isnan(value))
		return hnsw_code(PG_UINT64_MAX);
	value += 0.0;
	memcpy(&bits, &value, sizeof(bits));
	return hnsw_code(bits >> 63 ? ~bits : bits | UINT64CONST(0x8000000000000000));
}

/* 16 bytes that compare as by memcmp */
HnswKeyCode
hnsw_code_bytes(const uint8 *bytes)
{
	HnswKeyCode code = {0, 0};

	for (int i = 0; i < 8; i++)
	{
		code.high = code.high << 8 | bytes[i];
		code.low = code.low << 8 | bytes[8 + i];
	}
	return code;
}

static void
set_bit(HnswKeyCode *code, int bit)
{
	if (bit < 64)
		code->low |= UINT64CONST(1) << bit;
	else
		code->high |= UINT64CONST(1) << (bit - 64);
}

/* The signature of an array with one element, by a hash of the element */
HnswKeyCode
hnsw_code_element(uint64 hash)
{
	HnswKeyCode code = {0, 0};

	set_bit(&code, (uint32) hash % HNSW_SIGNATURE_BITS);
	set_bit(&code, (uint32) (hash >> 32) % HNSW_SIGNATURE_BITS);
	return code;
}

HnswKeyCode
hnsw_code_null_element(void)
{
	HnswKeyCode code = {0, 0};

	set_bit(&code, HNSW_SIGNATURE_BITS);
	return code;
}

HnswKeyCode
hnsw_code_union(HnswKeyCode a, HnswKeyCode b)
{
	return (HnswKeyCode) {a.high | b.high, a.low | b.low};
}

/* A value of the column's own type */
HnswKeyPlace
hnsw_place_of(HnswKeyCode code)
{
	return (HnswKeyPlace) {false, true, code};
}

/* Any integer among those of so many bytes */
HnswKeyPlace
hnsw_place_int(int64 value, int width)
{
	int64		most = PG_INT64_MAX >> (64 - 8 * width);

	if (value < -most - 1)
		return (HnswKeyPlace) {.below = true};
	if (value > most)
		return (HnswKeyPlace) {false, false, hnsw_code_int(most, width)};
	return hnsw_place_of(hnsw_code_int(value, width));
}

/* A float8 among the float4s, which PostgreSQL compares as float8s */
HnswKeyPlace
hnsw_place_float4(float8 value)
{
	float4		floor = (float4) value;

	if (isnan(value) || (float8) floor == value)
		return hnsw_place_of(hnsw_code_float4(floor));
	if ((float8) floor > value)
		floor = nextafterf(floor, -INFINITY);
	return (HnswKeyPlace) {false, false, hnsw_code_float4(floor)};
}

/* Write a code as a value of so many bytes; see get_code. */
void
hnsw_code_put(HnswKeyCode code, int width, uint8 *to)
{
	uint16		two = (uint16) code.low;
	uint32		four = (uint32) code.low;

	switch (width)
	{
		case 1:
			*to = (uint8) code.low;
			break;
		case 2:
			memcpy(to, &two, sizeof(two));
			break;
		case 4:
			memcpy(to, &four, sizeof(four));
			break;
		case 8:
			memcpy(to, &code.low, sizeof(code.low));
			break;
		default:
			Assert(width == sizeof(code));
			memcpy(to, &code, sizeof(code));
			break;
	}
}

static HnswKeyCode
get_code(const uint8 *from, int width)
{
	HnswKeyCode code = {0, 0};
	uint16		two;
	uint32		four;

	switch (width)
	{
		case 1:
			code.low = *from;
			break;
		case 2:
			memcpy(&two, from, sizeof(two));
			code.low = two;
			break;
		case 4:
			memcpy(&four, from, sizeof(four));
			code.low = four;
			break;
		case 8:
			memcpy(&code.low, from, sizeof(code.low));
			break;
		default:
			Assert(width == sizeof(code));
			memcpy(&code, from, sizeof(code));
			break;
	}
	return code;
}

/* ---------------------------------------------------------------------
 * Compiling
 * ---------------------------------------------------------------------
 */

/* A filter that lets everything pass, in the current memory context */
HnswKeyFilter *
hnsw_filter_begin(const HnswKeyColumns *columns)
{
	HnswKeyFilter *filter = palloc0(sizeof(HnswKeyFilter));

	filter->columns = *columns;
	for (int i = 0; i < columns->n; i++)
		filter->conditions[i].greatest = greatest_code;
	return filter;
}

void
hnsw_filter_add_false(HnswKeyFilter *filter)
{
	filter->is_false = true;
}

/* Keys that pass are only candidates: the row itself has to be tested. */
void
hnsw_filter_add_recheck(HnswKeyFilter *filter)
{
	filter->rechecks = true;
}

/* IS NULL, or IS NOT NULL, which every other condition implies */
void
hnsw_filter_add_null(HnswKeyFilter *filter, int column, bool isnull)
{
	uint8		bit = 1 << column;

	if ((filter->null_mask & bit) && ((filter->null_flags & bit) != 0) != isnull)
		filter->is_false = true;
	filter->null_mask |= bit;
	if (isnull)
		filter->null_flags |= bit;
}

/* Codes that satisfy "value OPERATOR place"; false if there are none. */
static bool
compare_range(int strategy, const HnswKeyPlace *place, HnswKeyCode *least, HnswKeyCode *greatest)
{
	*least = least_code;
	*greatest = greatest_code;
	switch (strategy)
	{
		case HNSW_LESS_STRATEGY:
		case HNSW_LESS_EQUAL_STRATEGY:
			*greatest = place->floor;
			if (place->below)
				return false;
			if (strategy == HNSW_LESS_EQUAL_STRATEGY || !place->exact)
				return true;
			if (equal_codes(*greatest, least_code))
				return false;
			greatest->high -= greatest->low == 0;
			greatest->low--;
			return true;
		case HNSW_EQUAL_STRATEGY:
			*least = *greatest = place->floor;
			return place->exact;
		case HNSW_GREATER_EQUAL_STRATEGY:
		case HNSW_GREATER_STRATEGY:
			if (place->below)
				return true;
			*least = place->floor;
			if (strategy == HNSW_GREATER_EQUAL_STRATEGY && place->exact)
				return true;
			if (equal_codes(*least, greatest_code))
				return false;
			least->low++;
			least->high += least->low == 0;
			return true;
		default:
			elog(ERROR, "unrecognized strategy number: %d", strategy);
	}
	return false;
}

static int
compare_code_pointers(const void *a, const void *b)
{
	return compare_codes(*(const HnswKeyCode *) a, *(const HnswKeyCode *) b);
}

static bool
is_in_set(const KeyCondition *condition, HnswKeyCode code)
{
	return bsearch(&code, condition->set, condition->nset, sizeof(HnswKeyCode),
				   compare_code_pointers) != NULL;
}

/* The column's value must be one of these, and of those that were named before. */
static void
intersect_set(KeyCondition *condition, HnswKeyCode *codes, int n)
{
	int			kept = 0;

	qsort(codes, n, sizeof(HnswKeyCode), compare_code_pointers);
	for (int i = 0; i < n; i++)
	{
		if (kept > 0 && equal_codes(codes[kept - 1], codes[i]))
			continue;
		if (condition->set == NULL || is_in_set(condition, codes[i]))
			codes[kept++] = codes[i];
	}
	condition->set = codes;
	condition->nset = kept;
}

/* value OPERATOR ANY (places) */
void
hnsw_filter_add_compare(HnswKeyFilter *filter, int column, int strategy,
						const HnswKeyPlace *places, int n)
{
	KeyCondition *condition = &filter->conditions[column];
	HnswKeyCode *equals = palloc(sizeof(HnswKeyCode) * Max(n, 1));
	HnswKeyCode least = greatest_code;
	HnswKeyCode greatest = least_code;
	int			found = 0;

	hnsw_filter_add_null(filter, column, false);
	for (int i = 0; i < n; i++)
	{
		HnswKeyCode from;
		HnswKeyCode to;

		if (!compare_range(strategy, &places[i], &from, &to))
			continue;
		equals[found++] = from;
		if (compare_codes(from, least) < 0)
			least = from;
		if (compare_codes(to, greatest) > 0)
			greatest = to;
	}
	if (found == 0)
	{
		filter->is_false = true;
		return;
	}
	/* Ranges to one side unite to a range, points to a set. */
	if (strategy == HNSW_EQUAL_STRATEGY && found > 1)
		intersect_set(condition, equals, found);
	condition->ranged = true;
	if (compare_codes(least, condition->least) > 0)
		condition->least = least;
	if (compare_codes(greatest, condition->greatest) < 0)
		condition->greatest = greatest;
}

/* A signature has all bits of one of these masks. */
void
hnsw_filter_add_masks(HnswKeyFilter *filter, int column, const HnswKeyCode *masks, int n)
{
	KeyCondition *condition = &filter->conditions[column];
	KeyMasks   *added = palloc(sizeof(KeyMasks));

	hnsw_filter_add_null(filter, column, false);
	if (n == 0)
		filter->is_false = true;
	added->n = n;
	added->masks = palloc(sizeof(HnswKeyCode) * Max(n, 1));
	memcpy(added->masks, masks, sizeof(HnswKeyCode) * n);
	added->next = condition->masks;
	condition->masks = added;
}

/* The greatest code of so many bytes */
static HnswKeyCode
greatest_of_width(int width)
{
	if (width > sizeof(uint64))
		return greatest_code;
	return hnsw_code(PG_UINT64_MAX >> (64 - 8 * width));
}

/* All conditions are there: see what contradicts, and make ranges as narrow as can be. */
void
hnsw_filter_end(HnswKeyFilter *filter)
{
	for (int i = 0; i < filter->columns.n; i++)
	{
		KeyCondition *condition = &filter->conditions[i];
		HnswKeyCode end = greatest_of_width(filter->columns.columns[i].width);

		if (compare_codes(condition->greatest, end) > 0)
			condition->greatest = end;
		if (condition->set != NULL)
		{
			int			kept = 0;

			for (int j = 0; j < condition->nset; j++)
				if (compare_codes(condition->set[j], condition->least) >= 0 &&
					compare_codes(condition->set[j], condition->greatest) <= 0)
					condition->set[kept++] = condition->set[j];
			condition->nset = kept;
			if (kept == 0)
			{
				filter->is_false = true;
				continue;
			}
			condition->least = condition->set[0];
			condition->greatest = condition->set[kept - 1];
			if (kept == 1)
				condition->set = NULL;
		}
		if (compare_codes(condition->least, condition->greatest) > 0)
			filter->is_false = true;
	}
}

/* ---------------------------------------------------------------------
 * Testing
 * ---------------------------------------------------------------------
 */

/* Can no key pass? */
bool
hnsw_filter_is_false(const HnswKeyFilter *filter)
{
	return filter->is_false;
}

/* Do keys pass whose rows may not satisfy the conditions? */
bool
hnsw_filter_rechecks(const HnswKeyFilter *filter)
{
	return filter->rechecks;
}

static bool
has_masks(const KeyMasks *masks, HnswKeyCode code)
{
	for (; masks != NULL; masks = masks->next)
	{
		bool		found = false;

		for (int i = 0; i < masks->n && !found; i++)
			found = equal_codes(hnsw_code_union(code, masks->masks[i]), code);
		if (!found)
			return false;
	}
	return true;
}

static bool
test_value(const KeyCondition *condition, const uint8 *value, int width)
{
	HnswKeyCode code = get_code(value, width);

	return compare_codes(code, condition->least) >= 0 &&
		compare_codes(code, condition->greatest) <= 0 &&
		(condition->set == NULL || is_in_set(condition, code)) &&
		has_masks(condition->masks, code);
}

/* Does a key pass? */
bool
hnsw_filter_test(const HnswKeyFilter *filter, const uint8 *key)
{
	if (filter->is_false || (key[0] & filter->null_mask) != filter->null_flags)
		return false;
	for (int i = 0; i < filter->columns.n; i++)
	{
		const HnswKeyColumn *column = &filter->columns.columns[i];
		const KeyCondition *condition = &filter->conditions[i];

		if ((condition->ranged || condition->masks != NULL) &&
			!test_value(condition, key + column->offset, column->width))
			return false;
	}
	return true;
}

/*
 * Strike the entries out whose values are not in a range.  Nothing branches, so
 * that the compiler makes vectors of it (see Makefile): an entry costs a fraction
 * of a nanosecond whether it matches or not.
 */
#define STRIKE_OUT_OF_RANGE(type) \
	do { \
		const type least = (type) condition->least.low; \
		const type span = (type) (condition->greatest.low - least); \
		for (int i = 0; i < n; i++) \
		{ \
			type		value; \
			memcpy(&value, values + sizeof(type) * i, sizeof(type)); \
			matches[i] = matches[i] & (uint8) ((type) (value - least) <= span); \
		} \
	} while (0)

static void
strike_out_of_range(const KeyCondition *condition, const uint8 *values, int width, int n,
					uint8 *restrict matches)
{
	switch (width)
	{
		case 1:
			STRIKE_OUT_OF_RANGE(uint8);
			break;
		case 2:
			STRIKE_OUT_OF_RANGE(uint16);
			break;
		case 4:
			STRIKE_OUT_OF_RANGE(uint32);
			break;
		case 8:
			STRIKE_OUT_OF_RANGE(uint64);
			break;
		default:
			break;
	}
}

/* Which entries of a key page pass, all of the entries being known keys?  1 or 0 for each. */
void
hnsw_filter_entries(const HnswKeyFilter *filter, const HnswKeyEntries *entries,
					uint8 *restrict matches)
{
	const uint8 *flags = entries->data;
	const uint8 mask = filter->null_mask;
	const uint8 wanted = filter->null_flags;

	memset(matches, 0, entries->n);
	if (filter->is_false)
		return;
	for (int i = 0; i < entries->n; i++)
		matches[i] = (flags[i] & mask) == wanted;
	for (int c = 0; c < filter->columns.n; c++)
	{
		const HnswKeyColumn *column = &filter->columns.columns[c];
		const KeyCondition *condition = &filter->conditions[c];
		const uint8 *values = entries->data + (Size) entries->capacity * column->offset;

		if (!condition->ranged && condition->masks == NULL)
			continue;
		strike_out_of_range(condition, values, column->width, entries->n, matches);
		if (condition->set == NULL && condition->masks == NULL &&
			column->width <= sizeof(uint64))
			continue;
		for (int i = 0; i < entries->n; i++)
			if (matches[i])
				matches[i] = test_value(condition, values + column->width * i, column->width);
	}
}
