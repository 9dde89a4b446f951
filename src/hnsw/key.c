/*-------------------------------------------------------------------------
 *
 * key.c
 *		Filter columns of an index: which there are, the keys of rows, and the
 *		conditions of a scan.
 *
 * Everything that knows of the columns' types is here; key_filter.c does the
 * rest with codes.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "hnsw/key_filter.h"
#include "hnsw/options.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Support function 4, one for each kind. */
#define KEY_KIND(name, kind) \
	PG_FUNCTION_INFO_V1(hnsw_##name##_key); \
	Datum \
	hnsw_##name##_key(PG_FUNCTION_ARGS) \
	{ \
		PG_RETURN_INT32(kind); \
	}

KEY_KIND(int2, HNSW_KEY_INT2)
KEY_KIND(int4, HNSW_KEY_INT4)
KEY_KIND(int8, HNSW_KEY_INT8)
KEY_KIND(bool, HNSW_KEY_BOOL)
KEY_KIND(char, HNSW_KEY_CHAR)
KEY_KIND(oid, HNSW_KEY_OID)
KEY_KIND(float4, HNSW_KEY_FLOAT4)
KEY_KIND(float8, HNSW_KEY_FLOAT8)
KEY_KIND(date, HNSW_KEY_DATE)
KEY_KIND(time, HNSW_KEY_TIME)
KEY_KIND(timestamp, HNSW_KEY_TIMESTAMP)
KEY_KIND(uuid, HNSW_KEY_UUID)
KEY_KIND(enum, HNSW_KEY_ENUM)
KEY_KIND(text, HNSW_KEY_TEXT)
KEY_KIND(bpchar, HNSW_KEY_BPCHAR)
KEY_KIND(name, HNSW_KEY_NAME)
KEY_KIND(numeric, HNSW_KEY_NUMERIC)
KEY_KIND(int2_array, HNSW_KEY_INT2_ARRAY)
KEY_KIND(int4_array, HNSW_KEY_INT4_ARRAY)
KEY_KIND(int8_array, HNSW_KEY_INT8_ARRAY)
KEY_KIND(text_array, HNSW_KEY_TEXT_ARRAY)
KEY_KIND(uuid_array, HNSW_KEY_UUID_ARRAY)

/* ---------------------------------------------------------------------
 * Columns
 * ---------------------------------------------------------------------
 */

static inline bool
is_vector_column(Relation rel, AttrNumber attno)
{
	return OidIsValid(index_getprocid(rel, attno, HNSW_METRIC_PROC));
}

/* The first column with an operator class for distances. */
AttrNumber
hnsw_vector_column(Relation rel)
{
	int			n = IndexRelationGetNumberOfKeyAttributes(rel);

	for (AttrNumber attno = 1; attno <= n; attno++)
		if (is_vector_column(rel, attno))
			return attno;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("index \"%s\" has no vector column", RelationGetRelationName(rel)),
			 errhint("One column of an hnsw index has an operator class for a distance, such as vector_cosine_ops. For filters alone, use a btree index.")));
	return InvalidAttrNumber;
}

/* Bytes of a value. */
static int
key_width(HnswKeyKind kind)
{
	switch (kind)
	{
		case HNSW_KEY_BOOL:
		case HNSW_KEY_CHAR:
			return 1;
		case HNSW_KEY_INT2:
			return 2;
		case HNSW_KEY_INT4:
		case HNSW_KEY_OID:
		case HNSW_KEY_FLOAT4:
		case HNSW_KEY_DATE:
		case HNSW_KEY_ENUM:
			return 4;
		case HNSW_KEY_INT8:
		case HNSW_KEY_FLOAT8:
		case HNSW_KEY_TIME:
		case HNSW_KEY_TIMESTAMP:
		case HNSW_KEY_TEXT:
		case HNSW_KEY_BPCHAR:
		case HNSW_KEY_NAME:
		case HNSW_KEY_NUMERIC:
			return 8;
		case HNSW_KEY_UUID:
		case HNSW_KEY_INT2_ARRAY:
		case HNSW_KEY_INT4_ARRAY:
		case HNSW_KEY_INT8_ARRAY:
		case HNSW_KEY_TEXT_ARRAY:
		case HNSW_KEY_UUID_ARRAY:
			return 16;
	}
	elog(ERROR, "unrecognized kind of filter column: %d", (int) kind);
	return 0;
}

static inline bool
is_array(HnswKeyKind kind)
{
	return kind >= HNSW_KEY_INT2_ARRAY;
}

/* Are the bytes of the value hashed, so that equal values have to have equal bytes? */
static inline bool
hashes_text(HnswKeyKind kind)
{
	return kind == HNSW_KEY_TEXT || kind == HNSW_KEY_BPCHAR || kind == HNSW_KEY_NAME ||
		kind == HNSW_KEY_TEXT_ARRAY;
}

/* Does a code not tell the value? */
static inline bool
is_lossy(HnswKeyKind kind)
{
	return hashes_text(kind) || kind == HNSW_KEY_NUMERIC || is_array(kind);
}

static void
check_column(Relation rel, AttrNumber attno, HnswKeyKind kind)
{
	Oid			collation = rel->rd_indcollation[attno - 1];

	if (hashes_text(kind) && OidIsValid(collation) && !get_collation_isdeterministic(collation))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("filter column \"%s\" of index \"%s\" has a nondeterministic collation",
						NameStr(TupleDescAttr(RelationGetDescr(rel), attno - 1)->attname),
						RelationGetRelationName(rel)),
				 errhint("Give the column of the index a deterministic collation, such as COLLATE \"C\", or index an expression that is equal for equal values.")));
}

/* Report what no index may have. */
static void
check_columns(Relation rel, int nfilters, int size)
{
	const char *name = RelationGetRelationName(rel);

	if (IndexRelationGetNumberOfAttributes(rel) > IndexRelationGetNumberOfKeyAttributes(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("hnsw index \"%s\" cannot have included columns", name),
				 errhint("To filter by a column, make it a key column: USING hnsw (embedding vector_cosine_ops, tenant_id).")));
	if (nfilters > HNSW_MAX_KEY_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("index \"%s\" has more than %d filter columns", name, HNSW_MAX_KEY_COLUMNS),
				 errhint("Leave out columns by which queries filter seldom, or which few rows fail: the query tests these on the rows.")));
	if (size > HNSW_MAX_KEY_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("filter columns of index \"%s\" take %d bytes, more than %d", name,
						size - 1, HNSW_MAX_KEY_SIZE - 1),
				 errhint("Arrays and uuids take 16 bytes each, text and numeric 8. Leave out columns by which queries filter seldom.")));
}

/* The filter columns of an index, or an error if it cannot have these. */
void
hnsw_key_columns(Relation rel, HnswKeyColumns *columns)
{
	AttrNumber	vector = hnsw_vector_column(rel);
	int			natts = IndexRelationGetNumberOfKeyAttributes(rel);
	int			size = 1;		/* null flags */

	memset(columns, 0, sizeof(HnswKeyColumns));
	for (AttrNumber attno = 1; attno <= natts; attno++)
	{
		HnswKeyKind kind;
		int			width;

		if (attno == vector)
			continue;
		if (is_vector_column(rel, attno))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("index \"%s\" has more than one vector column",
							RelationGetRelationName(rel)),
					 errhint("Create an index for each.")));
		kind = (HnswKeyKind)
			DatumGetInt32(FunctionCall1(index_getprocinfo(rel, attno, HNSW_KEY_PROC),
										PointerGetDatum(NULL)));
		check_column(rel, attno, kind);
		width = key_width(kind);
		if (columns->n < HNSW_MAX_KEY_COLUMNS)
			columns->columns[columns->n] = (HnswKeyColumn) {attno, kind, width, size};
		columns->n++;
		size += width;
	}
	check_columns(rel, columns->n, size);
	if (columns->n > 0)
		columns->size = size;
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

static HnswKeyCode
hash_code(const char *bytes, int length)
{
	return hnsw_code(hash_bytes_extended((const unsigned char *) bytes, length, 0));
}

static HnswKeyCode
text_code(Datum value, bool blanks_count)
{
	text	   *string = PG_DETOAST_DATUM_PACKED(value);
	int			length = VARSIZE_ANY_EXHDR(string);
	HnswKeyCode code;

	if (!blanks_count)
		length = bpchartruelen(VARDATA_ANY(string), length);
	code = hash_code(VARDATA_ANY(string), length);
	if ((Pointer) string != DatumGetPointer(value))
		pfree(string);
	return code;
}

static HnswKeyCode
numeric_code(Datum value)
{
	return hnsw_code(DatumGetUInt64(DirectFunctionCall2(hash_numeric_extended, value,
														Int64GetDatum(0))));
}

/* The hash of an element of an array. */
static uint64
element_hash(HnswKeyKind kind, Datum element)
{
	int64		number;

	switch (kind)
	{
		case HNSW_KEY_INT2_ARRAY:
			number = DatumGetInt16(element);
			break;
		case HNSW_KEY_INT4_ARRAY:
			number = DatumGetInt32(element);
			break;
		case HNSW_KEY_INT8_ARRAY:
			number = DatumGetInt64(element);
			break;
		case HNSW_KEY_UUID_ARRAY:
			return hash_code((char *) DatumGetUUIDP(element)->data, UUID_LEN).low;
		default:
			return text_code(element, true).low;
	}
	return hash_code((char *) &number, sizeof(number)).low;
}

/* The elements of an array: a signature for each but the NULLs.  Returns how many. */
static int
array_elements(HnswKeyKind kind, Datum value, HnswKeyCode **signatures, bool *has_nulls)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int			kept = 0;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &elements, &nulls, &n);
	*signatures = palloc(sizeof(HnswKeyCode) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			(*signatures)[kept++] = hnsw_code_element(element_hash(kind, elements[i]));
	*has_nulls = kept < n;
	pfree(elements);
	pfree(nulls);
	if ((Pointer) array != DatumGetPointer(value))
		pfree(array);
	return kept;
}

static HnswKeyCode
unite(const HnswKeyCode *signatures, int n)
{
	HnswKeyCode code = {0, 0};

	for (int i = 0; i < n; i++)
		code = hnsw_code_union(code, signatures[i]);
	return code;
}

static HnswKeyCode
array_code(HnswKeyKind kind, Datum value)
{
	HnswKeyCode *signatures;
	bool		has_nulls;
	int			n = array_elements(kind, value, &signatures, &has_nulls);
	HnswKeyCode code = unite(signatures, n);

	if (has_nulls)
		code = hnsw_code_union(code, hnsw_code_null_element());
	pfree(signatures);
	return code;
}

/* The code of a value of the column's type. */
static HnswKeyCode
value_code(HnswKeyKind kind, Datum value)
{
	switch (kind)
	{
		case HNSW_KEY_INT2:
			return hnsw_code_int(DatumGetInt16(value), 2);
		case HNSW_KEY_INT4:
			return hnsw_code_int(DatumGetInt32(value), 4);
		case HNSW_KEY_INT8:
			return hnsw_code_int(DatumGetInt64(value), 8);
		case HNSW_KEY_BOOL:
			return hnsw_code(DatumGetBool(value));
		case HNSW_KEY_CHAR:
			return hnsw_code((uint8) DatumGetChar(value));
		case HNSW_KEY_OID:
		case HNSW_KEY_ENUM:
			return hnsw_code(DatumGetObjectId(value));
		case HNSW_KEY_FLOAT4:
			return hnsw_code_float4(DatumGetFloat4(value));
		case HNSW_KEY_FLOAT8:
			return hnsw_code_float8(DatumGetFloat8(value));
		case HNSW_KEY_DATE:
			return hnsw_code_int(DatumGetDateADT(value), 4);
		case HNSW_KEY_TIME:
			return hnsw_code_int(DatumGetTimeADT(value), 8);
		case HNSW_KEY_TIMESTAMP:
			return hnsw_code_int(DatumGetTimestamp(value), 8);
		case HNSW_KEY_UUID:
			return hnsw_code_bytes(DatumGetUUIDP(value)->data);
		case HNSW_KEY_TEXT:
			return text_code(value, true);
		case HNSW_KEY_BPCHAR:
			return text_code(value, false);
		case HNSW_KEY_NAME:
			return hash_code(NameStr(*DatumGetName(value)), strlen(NameStr(*DatumGetName(value))));
		case HNSW_KEY_NUMERIC:
			return numeric_code(value);
		case HNSW_KEY_INT2_ARRAY:
		case HNSW_KEY_INT4_ARRAY:
		case HNSW_KEY_INT8_ARRAY:
		case HNSW_KEY_TEXT_ARRAY:
		case HNSW_KEY_UUID_ARRAY:
			return array_code(kind, value);
	}
	elog(ERROR, "unrecognized kind of filter column: %d", (int) kind);
	return hnsw_code(0);
}

/* Write the key of a row: columns->size bytes. */
void
hnsw_key_make(const HnswKeyColumns *columns, Relation rel, const Datum *values,
			  const bool *isnull, uint8 *key)
{
	memset(key, 0, columns->size);
	for (int i = 0; i < columns->n; i++)
	{
		const HnswKeyColumn *column = &columns->columns[i];

		if (isnull[column->attno - 1])
			key[0] |= 1 << i;
		else
			hnsw_code_put(value_code(column->kind, values[column->attno - 1]), column->width,
						  key + column->offset);
	}
}

/* ---------------------------------------------------------------------
 * Conditions
 * ---------------------------------------------------------------------
 */

static int64
integer_value(Oid type, Datum value)
{
	switch (type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

/* Where a value stands that a condition names, which may be of another type of the family. */
static HnswKeyPlace
value_place(const HnswKeyColumn *column, Oid type, Datum value)
{
	switch (column->kind)
	{
		case HNSW_KEY_INT2:
		case HNSW_KEY_INT4:
		case HNSW_KEY_INT8:
			return hnsw_place_int(integer_value(type, value), column->width);
		case HNSW_KEY_FLOAT4:
			if (type == FLOAT8OID)
				return hnsw_place_float4(DatumGetFloat8(value));
			break;
		case HNSW_KEY_FLOAT8:
			if (type == FLOAT4OID)
				return hnsw_place_of(hnsw_code_float8(DatumGetFloat4(value)));
			break;
		case HNSW_KEY_TEXT:
		case HNSW_KEY_NAME:
			return hnsw_place_of(value_code(type == NAMEOID ? HNSW_KEY_NAME : HNSW_KEY_TEXT, value));
		default:
			break;
	}
	return hnsw_place_of(value_code(column->kind, value));
}

/* The values that are not NULL of column OPERATOR ANY (values), or the one of column OPERATOR value */
static int
condition_values(ScanKey key, Datum **values)
{
	ArrayType  *array;
	int16		length;
	bool		by_value;
	char		align;
	bool	   *nulls;
	int			n;
	int			kept = 0;

	if ((key->sk_flags & SK_SEARCHARRAY) == 0)
	{
		*values = palloc(sizeof(Datum));
		(*values)[0] = key->sk_argument;
		return 1;
	}
	array = DatumGetArrayTypeP(key->sk_argument);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, values, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			(*values)[kept++] = (*values)[i];
	return kept;
}

/*
 * && or @>: a row matches if its signature has one of the masks.  Arrays of
 * arrays, as in column && ANY (arrays), are of a domain.
 */
static void
add_array_condition(HnswKeyFilter *filter, int c, HnswKeyKind kind, ScanKey key)
{
	Datum	   *arrays;
	int			narrays = condition_values(key, &arrays);
	HnswKeyCode *masks = NULL;
	int			nmasks = 0;

	for (int i = 0; i < narrays; i++)
	{
		HnswKeyCode *signatures;
		bool		has_nulls;
		int			n = array_elements(kind, arrays[i], &signatures, &has_nulls);

		if (key->sk_strategy == HNSW_CONTAINS_STRATEGY)
		{
			/* A NULL is contained in nothing. */
			if (has_nulls)
				continue;
			signatures[0] = unite(signatures, n);
			n = 1;
		}
		if (n == 0)
			continue;
		if (masks == NULL)
			masks = palloc(sizeof(HnswKeyCode) * n);
		else
			masks = repalloc(masks, sizeof(HnswKeyCode) * (nmasks + n));
		memcpy(masks + nmasks, signatures, sizeof(HnswKeyCode) * n);
		nmasks += n;
	}
	if (nmasks == 0)
		hnsw_filter_add_false(filter);
	else
		hnsw_filter_add_masks(filter, c, masks, nmasks);
}

/* column OPERATOR value, or column OPERATOR ANY (values) */
static void
add_compare_condition(HnswKeyFilter *filter, int c, const HnswKeyColumn *column, Oid type,
					  ScanKey key)
{
	Datum	   *values;
	int			n = condition_values(key, &values);
	HnswKeyPlace *places = palloc(sizeof(HnswKeyPlace) * Max(n, 1));

	for (int i = 0; i < n; i++)
		places[i] = value_place(column, type, values[i]);
	hnsw_filter_add_compare(filter, c, key->sk_strategy, places, n);
}

static void
add_condition(HnswKeyFilter *filter, const HnswKeyColumns *columns, Relation rel, ScanKey key)
{
	const HnswKeyColumn *column = columns->columns;
	Oid			type = key->sk_subtype;
	int			c = 0;

	/* Rows without a vector are not in the index. */
	if (key->sk_attno == hnsw_vector_column(rel) && (key->sk_flags & SK_SEARCHNULL))
	{
		hnsw_filter_add_false(filter);
		return;
	}
	while (c < columns->n && column->attno != key->sk_attno)
	{
		column++;
		c++;
	}
	if (c == columns->n)
		elog(ERROR, "index \"%s\" has no filter column %d", RelationGetRelationName(rel),
			 key->sk_attno);

	if (key->sk_flags & (SK_SEARCHNULL | SK_SEARCHNOTNULL))
	{
		hnsw_filter_add_null(filter, c, (key->sk_flags & SK_SEARCHNULL) != 0);
		return;
	}
	/* All operators are strict. */
	if (key->sk_flags & SK_ISNULL)
	{
		hnsw_filter_add_false(filter);
		return;
	}
	if (is_lossy(column->kind))
		hnsw_filter_add_recheck(filter);
	if (!OidIsValid(type))
		type = rel->rd_opcintype[column->attno - 1];
	if (key->sk_strategy == HNSW_OVERLAP_STRATEGY || key->sk_strategy == HNSW_CONTAINS_STRATEGY)
		add_array_condition(filter, c, column->kind, key);
	else
		add_compare_condition(filter, c, column, type, key);
}

/*
 * Compile the conditions of a scan, in the current memory context.  NULL if there
 * are none on filter columns: that the vector is not NULL holds for all rows.
 */
HnswKeyFilter *
hnsw_filter_create(const HnswKeyColumns *columns, Relation rel, ScanKey keys, int nkeys)
{
	HnswKeyFilter *filter = hnsw_filter_begin(columns);
	AttrNumber	vector = hnsw_vector_column(rel);
	bool		any = false;

	for (int i = 0; i < nkeys; i++)
	{
		if (keys[i].sk_attno == vector && (keys[i].sk_flags & SK_SEARCHNOTNULL))
			continue;
		add_condition(filter, columns, rel, &keys[i]);
		any = true;
	}
	hnsw_filter_end(filter);
	return any ? filter : NULL;
}
