/*-------------------------------------------------------------------------
 *
 * key_filter.h
 *		Codes of values, and conditions on codes: what key.c makes filters of.
 *
 * Nothing here knows of relations or of the server's types.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_KEY_FILTER_H
#define PIRAMID_HNSW_KEY_FILTER_H

#include "hnsw/key.h"

/* A value as an unsigned integer of up to 16 bytes */
typedef struct HnswKeyCode
{
	uint64		high;
	uint64		low;
} HnswKeyCode;

/*
 * Where the value that a condition names stands among a column's values.  It may
 * be of another type, and then lie between two of them or outside.
 */
typedef struct HnswKeyPlace
{
	bool		below;			/* less than all of the column's values */
	bool		exact;			/* "floor" is the code of an equal value */
	HnswKeyCode floor;			/* of the largest value that is not greater */
} HnswKeyPlace;

/* The bit of a signature that stands for NULL elements; an empty array has no bit. */
#define HNSW_SIGNATURE_BITS 127

/* functions in key_filter.c: codes */
extern HnswKeyCode hnsw_code(uint64 low);
extern HnswKeyCode hnsw_code_int(int64 value, int width);
extern HnswKeyCode hnsw_code_float4(float4 value);
extern HnswKeyCode hnsw_code_float8(float8 value);
extern HnswKeyCode hnsw_code_bytes(const uint8 *bytes);
extern HnswKeyCode hnsw_code_element(uint64 hash);
extern HnswKeyCode hnsw_code_null_element(void);
extern HnswKeyCode hnsw_code_union(HnswKeyCode a, HnswKeyCode b);
extern HnswKeyPlace hnsw_place_of(HnswKeyCode code);
extern HnswKeyPlace hnsw_place_int(int64 value, int width);
extern HnswKeyPlace hnsw_place_float4(float8 value);
extern void hnsw_code_put(HnswKeyCode code, int width, uint8 *to);

/* functions in key_filter.c: filters */
extern HnswKeyFilter *hnsw_filter_begin(const HnswKeyColumns *columns);
extern void hnsw_filter_add_false(HnswKeyFilter *filter);
extern void hnsw_filter_add_null(HnswKeyFilter *filter, int column, bool isnull);
extern void hnsw_filter_add_compare(HnswKeyFilter *filter, int column, int strategy,
									const HnswKeyPlace *places, int n);
extern void hnsw_filter_add_masks(HnswKeyFilter *filter, int column, const HnswKeyCode *masks,
								  int n);
extern void hnsw_filter_add_recheck(HnswKeyFilter *filter);
extern void hnsw_filter_end(HnswKeyFilter *filter);

#endif							/* PIRAMID_HNSW_KEY_FILTER_H */
