/*-------------------------------------------------------------------------
 *
 * distance_tail.h
 *		Reading the last few bytes of an array without reading beyond it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_DISTANCE_TAIL_H
#define PIRAMID_DISTANCE_TAIL_H

/*
 * load_tail
 *		Read n bytes, 0 <= n < 16, into two little-endian words, the rest zero.
 *
 * Two loads that may overlap stand for any length from the size of one to
 * twice that; where they overlap both have the same bits.
 */
static inline void
load_tail(const void *src, int n, uint64 words[2])
{
	const uint8 *p = src;

	words[0] = 0;
	words[1] = 0;
	if (n >= 8)
	{
		memcpy(&words[0], p, 8);
		memcpy(&words[1], p + n - 8, 8);
		/* Drop the bytes that words[0] has; in two steps, as n may be 8. */
		words[1] = words[1] >> (4 * (16 - n)) >> (4 * (16 - n));
	}
	else if (n >= 4)
	{
		uint32		lo;
		uint32		hi;

		memcpy(&lo, p, 4);
		memcpy(&hi, p + n - 4, 4);
		words[0] = lo | (uint64) hi << (8 * (n - 4));
	}
	else if (n > 0)
		words[0] = p[0] | (uint64) p[n / 2] << (8 * (n / 2)) |
			(uint64) p[n - 1] << (8 * (n - 1));
}

#endif							/* PIRAMID_DISTANCE_TAIL_H */
