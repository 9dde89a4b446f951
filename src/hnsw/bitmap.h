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

#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/palloc.h"

/* Bits from "size" on are 0, and stay so. */
typedef struct HnswBitmap
{
	uint8	   *bytes;
	uint64		size;			/* in bits */
} HnswBitmap;

/* Room for so many bits, in bytes: whole words, see bitmap_next() */
static inline Size
bitmap_room(uint64 size)
{
	return (size / 64 + 1) * sizeof(uint64);
}

/* Make a bitmap of zeros in the current memory context. */
static inline HnswBitmap
bitmap_make(uint64 size)
{
	HnswBitmap	map = {
		.bytes = palloc_extended(bitmap_room(size), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO),
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
	for (; i < map->size; i = (i | 63) + 1)
	{
		uint64		word;

		memcpy(&word, map->bytes + i / 64 * sizeof(word), sizeof(word));
#ifdef WORDS_BIGENDIAN
		word = pg_bswap64(word);
#endif
		word &= PG_UINT64_MAX << (i % 64);
		if (word != 0)
			return (i & ~UINT64CONST(63)) + pg_rightmost_one_pos64(word);
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
	memset(map->bytes, 0, bitmap_room(map->size));
}

/* There are more nodes by now. */
static inline void
bitmap_grow(HnswBitmap *map, uint64 size)
{
	Size		old = bitmap_room(map->size);
	Size		new = bitmap_room(size);

	if (new > old)
	{
		map->bytes = repalloc_huge(map->bytes, new);
		memset(map->bytes + old, 0, new - old);
	}
	map->size = Max(map->size, size);
}

#endif							/* PIRAMID_HNSW_BITMAP_H */
