/*-------------------------------------------------------------------------
 *
 * half.h
 *		IEEE 754 binary16, the element of halfvec: conversions of one number.
 *
 * distance.h has conversions in bulk, which give the same bits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HALF_H
#define PIRAMID_HALF_H

#include "c.h"

typedef uint16 half;			/* as raw bits */

static inline float
bits_to_float(uint32 bits)
{
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static inline uint32
float_to_bits(float f)
{
	uint32		bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

#define HALF_IS_INF(h) (((h) & 0x7FFF) == 0x7C00)

/*
 * half_to_float_one
 *		Exact.  A signalling NaN becomes quiet, as the hardware does it.
 */
static inline float
half_to_float_one(half h)
{
	uint32		sign = (uint32) (h & 0x8000) << 16;
	uint32		magnitude = (uint32) (h & 0x7FFF) << 13;

	if (magnitude >= 0x7C00u << 13)
	{
		/* infinity, or NaN with its payload */
		uint32		quiet = (h & 0x3FF) != 0 ? 0x00400000 : 0;

		return bits_to_float(sign | 0x7F800000 | magnitude | quiet);
	}
	if (magnitude < 0x0400u << 13)
	{
		/*
		 * Zero or subnormal, m * 2^-24: put m behind the implicit one of
		 * 2^-14 and subtract that one.
		 */
		float		f = bits_to_float((113u << 23) + magnitude) -
			bits_to_float(113u << 23);

		return bits_to_float(sign | float_to_bits(f));
	}
	return bits_to_float(sign | (magnitude + (112u << 23)));
}

/*
 * float_to_half_one
 *		Rounds to nearest even.  65520 and above become infinity; a NaN keeps
 *		the upper part of its payload and becomes quiet.
 */
static inline half
float_to_half_one(float f)
{
	uint32		bits = float_to_bits(f);
	half		sign = (bits >> 16) & 0x8000;

	bits &= 0x7FFFFFFF;
	if (bits > 0x7F800000)
		return sign | 0x7E00 | ((bits >> 13) & 0x3FF);
	if (bits >= 143u << 23)
		return sign | 0x7C00;
	if (bits < 113u << 23)
	{
		/*
		 * The result is subnormal, a multiple of 2^-24.  That is the unit in
		 * the last place of 0.5, so adding 0.5 rounds in the right place.
		 */
		float		rounded = bits_to_float(bits) + 0.5f;

		return sign | (half) (float_to_bits(rounded) - float_to_bits(0.5f));
	}

	/* Round the 13 dropped bits; a carry may move on to the exponent. */
	bits += 0xFFF + ((bits >> 13) & 1);
	return sign | (half) ((bits >> 13) - (112u << 10));
}

#endif							/* PIRAMID_HALF_H */
