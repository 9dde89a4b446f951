/*-------------------------------------------------------------------------
 *
 * codec.h
 *		Numbers as bytes: varints, arrays of equally many bits a number, positions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_BM25_CODEC_H
#define PIRAMID_BM25_CODEC_H

#include "postgres.h"

#include "bm25/bm25_page.h"
#include "port/pg_bitutils.h"

#define MAX_VARINT 10

/* Seven bits a byte, the lowest first; the top bit says that more follow. */
static inline char *
put_varint(char *p, uint64 value)
{
	while (value >= 0x80)
	{
		*p++ = (char) (value | 0x80);
		value >>= 7;
	}
	*p++ = (char) value;
	return p;
}

/* Read one before "end"; NULL if it is broken. */
static inline const char *
get_varint(const char *p, const char *end, uint64 *value)
{
	uint64		result = 0;

	for (int shift = 0; p < end && shift < 64; shift += 7)
	{
		uint8		byte = (uint8) *p++;

		result |= (uint64) (byte & 0x7F) << shift;
		if (byte < 0x80)
		{
			*value = result;
			return p;
		}
	}
	return NULL;
}

/* Bits that the largest of some numbers needs */
static inline int
bits_needed(uint32 or_of_all)
{
	return or_of_all == 0 ? 0 : pg_leftmost_one_pos32(or_of_all) + 1;
}

static inline int
packed_size(int n, int bits)
{
	return (n * bits + 7) / 8;
}

/* After packed numbers, so many bytes must be readable. */
#define PACK_SLACK 8

/* Pack n numbers; "to" has packed_size() and PACK_SLACK bytes. */
static inline void
pack(char *to, const uint32 *numbers, int n, int bits)
{
	memset(to, 0, packed_size(n, bits) + PACK_SLACK);
	for (int i = 0; i < n; i++)
	{
		uint64		word;
		int			at = i * bits;

		memcpy(&word, to + (at >> 3), sizeof(word));
		word |= (uint64) numbers[i] << (at & 7);
		memcpy(to + (at >> 3), &word, sizeof(word));
	}
}

static inline void
unpack(const char *from, uint32 *numbers, int n, int bits)
{
	uint64		mask = ((uint64) 1 << bits) - 1;

	for (int i = 0; i < n; i++)
	{
		uint64		word;
		int			at = i * bits;

		memcpy(&word, from + (at >> 3), sizeof(word));
		numbers[i] = (uint32) (word >> (at & 7) & mask);
	}
}

/*
 * A posting of a short list: the gap to the document before, less one, with a
 * bit that tells whether the word occurs more than once; then how often, less two.
 */
static inline char *
put_posting(char *p, uint32 gap, uint32 tf)
{
	p = put_varint(p, (uint64) gap << 1 | (tf > 1));
	return tf > 1 ? put_varint(p, tf - 2) : p;
}

static inline const char *
get_posting(const char *p, const char *end, uint32 *gap, uint32 *tf)
{
	uint64		value;
	uint64		more = 0;

	p = get_varint(p, end, &value);
	if (p == NULL || value >> 1 > PG_UINT32_MAX)
		return NULL;
	*gap = (uint32) (value >> 1);
	*tf = 1;
	if (value & 1)
	{
		p = get_varint(p, end, &more);
		if (p == NULL || more > PG_UINT32_MAX - 2)
			return NULL;
		*tf = (uint32) more + 2;
	}
	return p;
}

/* The most bytes that a position has */
#define MAX_POSITION_BYTES 3

/* Weights of positions take two bits. */
#define WEIGHT_BITS 2

/* How many positions stand with a word that occurs so often */
static inline uint32
position_count(uint32 tf)
{
	return Min(tf, BM25_MAX_POSITIONS);
}

/* Where n varints end; NULL if they are broken.  Most have one byte: eight are counted at once. */
static inline const char *
skip_varints(const char *p, const char *end, uint64 n)
{
	while (n >= 8 && end - p >= 8)
	{
		uint64		word;

		memcpy(&word, p, sizeof(word));
		word = ~word >> 7 & UINT64CONST(0x0101010101010101);
		n -= word * UINT64CONST(0x0101010101010101) >> 56;
		p += 8;
	}
	for (; n > 0; n--)
	{
		while (p < end && *p & 0x80)
			p++;
		if (p++ >= end)
			return NULL;
	}
	return p;
}

/* Where the positions of a posting end; NULL if they are broken. */
static inline const char *
skip_positions(const char *p, const char *end, uint32 tf)
{
	return skip_varints(p, end, position_count(tf));
}

/*
 * Write the positions of a word that occurs "tf" times; n of them are given, ascending.
 * "to" has MAX_POSITION_BYTES for each of position_count(tf).
 */
static inline char *
put_positions(char *to, const WordEntryPos *positions, uint32 n, uint32 tf, int weight_bits)
{
	uint32		left = position_count(tf);
	int			last = 0;

	for (uint32 i = 0; i < n && left > 0; i++)
	{
		int			position = WEP_GETPOS(positions[i]);

		if (position == last)
			continue;
		to = put_varint(to, (position - last) << weight_bits |
						(weight_bits > 0 ? WEP_GETWEIGHT(positions[i]) : 0));
		last = position;
		left--;
	}
	memset(to, 0, left);
	return to + left;
}

/*
 * Read the positions of a word that occurs "tf" times; "positions" has room for
 * position_count(tf).  Returns how many there are, or -1: they are broken.
 */
static inline int
get_positions(const char *p, const char *end, uint32 tf, int weight_bits, WordEntryPos *positions)
{
	uint32		last = 0;
	int			found = 0;

	for (uint32 n = position_count(tf); n > 0; n--)
	{
		uint64		value;

		p = get_varint(p, end, &value);
		if (p == NULL || value >> weight_bits > BM25_MAX_POSITIONS - last)
			return -1;
		if (value >> weight_bits == 0)
			continue;
		last += value >> weight_bits;
		positions[found] = last;
		if (weight_bits > 0)
			WEP_SETWEIGHT(positions[found], value & 3);
		found++;
	}
	return p == end ? found : -1;
}

#endif							/* PIRAMID_BM25_CODEC_H */
