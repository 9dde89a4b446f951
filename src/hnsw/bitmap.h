/*-------------------------------------------------------------------------
 *
 * bitmap.h
 *		A bit for each node or block.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_BITMAP_H
#define PIRAMID_HNSW_BITMAP_H

#include "postgres.h"

#include "utils/memutils.h"
#include "utils/palloc.h"

/* Bits from "size" on are 0, and stay so. */
typedef struct HnswBitmap
{
	uint8	   *bytes;
	uint64		size;			/* in bits */
} HnswBitmap;

/* Make a bitmap of zeros in the current memory context. */
static inline HnswBitmap
bitmap_make(uint64 size)
{
	HnswBitmap	map = {
		.bytes = palloc_extended(size / 8 + 1, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO),
		.size = size
	};

	return map;
}

static inline bool
bitmap_get(const HnswBitmap *map, uint64 i)
{
	return i < map->size && (map->bytes[i / 8] >> (i % 8)) & 1;
}

/* The first bit from this one on that is set; map->size if there is none. */
static inline uint64
bitmap_next(const HnswBitmap *map, uint64 i)
{
	for (; i < map->size; i++)
	{
		uint64		word = 1;

		if (i % 64 == 0 && map->size - i >= 64)
			memcpy(&word, map->bytes + i / 8, sizeof(word));
		if (word == 0)
			i |= 63;
		else if (map->bytes[i / 8] == 0)
			i |= 7;
		else if (bitmap_get(map, i))
			return i;
	}
	return map->size;
}

static inline void
bitmap_set(HnswBitmap *map, uint64 i)
{
	if (i < map->size)
		map->bytes[i / 8] |= 1 << (i % 8);
}

static inline void
bitmap_clear(HnswBitmap *map, uint64 i)
{
	if (i < map->size)
		map->bytes[i / 8] &= ~(1 << (i % 8));
}

static inline void
bitmap_clear_all(HnswBitmap *map)
{
	memset(map->bytes, 0, map->size / 8 + 1);
}

/* There are more nodes by now. */
static inline void
bitmap_grow(HnswBitmap *map, uint64 size)
{
	Size		old = map->size / 8 + 1;
	Size		new = size / 8 + 1;

	if (new > old)
	{
		map->bytes = repalloc_huge(map->bytes, new);
		memset(map->bytes + old, 0, new - old);
	}
	map->size = Max(map->size, size);
}

#endif							/* PIRAMID_HNSW_BITMAP_H */
