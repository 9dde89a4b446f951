/*-------------------------------------------------------------------------
 *
 * half.h
 *		IEEE 754 binary16, the element of halfvec.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HALF_H
#define PIRAMID_HALF_H

#include "c.h"

typedef uint16 half;			/* as raw bits */

/* Single-value conversions, for code that is not hot. */
extern float half_to_float_one(half h);
extern half float_to_half_one(float f);

#endif							/* PIRAMID_HALF_H */
