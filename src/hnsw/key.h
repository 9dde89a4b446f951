/*-------------------------------------------------------------------------
 *
 * key.h
 *		Filter columns: the keys of rows, and conditions on them.
 *
 * An index may have columns besides the vector, by which scans filter.  The
 * values of a row's filter columns, packed, are its key: a byte of null flags
 * (bit i: column i is NULL), then each column's value in a fixed number of
 * bytes.  Numbers become unsigned integers in the order of the type, so that
 * every comparison is one of unsigned integers; text and numeric become hashes;
 * arrays become signatures.  The value of a NULL is zero.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_KEY_H
#define PIRAMID_HNSW_KEY_H

#include "postgres.h"

#include "access/skey.h"
#include "utils/relcache.h"

/* Most filter columns, and most bytes of a key */
#define HNSW_MAX_KEY_COLUMNS 8
#define HNSW_MAX_KEY_SIZE 65

/* Strategy numbers of operator classes; 1 is the order by distance, 2 is reserved. */
#define HNSW_LESS_STRATEGY 3
#define HNSW_LESS_EQUAL_STRATEGY 4
#define HNSW_EQUAL_STRATEGY 5
#define HNSW_GREATER_EQUAL_STRATEGY 6
#define HNSW_GREATER_STRATEGY 7
#define HNSW_OVERLAP_STRATEGY 8		/* arrays: && */
#define HNSW_CONTAINS_STRATEGY 9	/* arrays: @> */
#define HNSW_STRATEGIES 10

/* What support function 4 (HNSW_KEY_PROC) of a filter column's operator class returns */
typedef enum HnswKeyKind
{
	HNSW_KEY_INT2 = 1,
	HNSW_KEY_INT4,
	HNSW_KEY_INT8,
	HNSW_KEY_BOOL,
	HNSW_KEY_CHAR,				/* "char" */
	HNSW_KEY_OID,
	HNSW_KEY_FLOAT4,
	HNSW_KEY_FLOAT8,
	HNSW_KEY_DATE,
	HNSW_KEY_TIME,
	HNSW_KEY_TIMESTAMP,			/* with and without time zone */
	HNSW_KEY_UUID,
	HNSW_KEY_ENUM,				/* = only */
	HNSW_KEY_TEXT,				/* hashed: = only, and text, varchar, bpchar, name alike */
	HNSW_KEY_BPCHAR,
	HNSW_KEY_NAME,
	HNSW_KEY_NUMERIC,			/* hashed */
	HNSW_KEY_INT2_ARRAY,		/* signatures of 16 bytes */
	HNSW_KEY_INT4_ARRAY,
	HNSW_KEY_INT8_ARRAY,
	HNSW_KEY_TEXT_ARRAY,
	HNSW_KEY_UUID_ARRAY
} HnswKeyKind;

typedef struct HnswKeyColumn
{
	AttrNumber	attno;			/* of the index */
	HnswKeyKind kind;
	int			width;			/* bytes of a value */
	int			offset;			/* of the value in the key */
} HnswKeyColumn;

/* The filter columns of an index, in the order of its columns */
typedef struct HnswKeyColumns
{
	int			n;
	int			size;			/* bytes of a key; 0 if there are no filter columns */
	HnswKeyColumn columns[HNSW_MAX_KEY_COLUMNS];
} HnswKeyColumns;

/* The conditions of a scan, compiled */
typedef struct HnswKeyFilter HnswKeyFilter;

/*
 * Entries of a key page, column-wise: null flags of all entries, then the
 * values of the first column of all entries, and so on.  The values of column
 * i start at data + capacity * columns[i].offset (whose first byte of the key
 * is the null flags), and are aligned only if capacity is.
 */
typedef struct HnswKeyEntries
{
	int			n;				/* entries to test */
	int			capacity;		/* entries that there is room for */
	const uint8 *data;
} HnswKeyEntries;

/* functions in key.c */
extern AttrNumber hnsw_vector_column(Relation rel);
extern void hnsw_key_columns(Relation rel, HnswKeyColumns *columns);
extern void hnsw_key_make(const HnswKeyColumns *columns, Relation rel, const Datum *values,
						  const bool *isnull, uint8 *key);
extern HnswKeyFilter *hnsw_filter_create(const HnswKeyColumns *columns, Relation rel,
										 ScanKey keys, int nkeys);
extern bool hnsw_filter_is_false(const HnswKeyFilter *filter);
extern bool hnsw_filter_rechecks(const HnswKeyFilter *filter);
extern bool hnsw_filter_test(const HnswKeyFilter *filter, const uint8 *key);
extern void hnsw_filter_entries(const HnswKeyFilter *filter, const HnswKeyEntries *entries,
								uint8 *restrict matches);

#endif							/* PIRAMID_HNSW_KEY_H */
