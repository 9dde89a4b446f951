/*-------------------------------------------------------------------------
 *
 * halfvec.c
 *		The halfvec type: the dense template with binary16 elements.
 *
 * Numbers of any kind become float4 first and are then rounded to binary16,
 * so that a value does not depend on the way it came (text, arrays, vector),
 * and is the one that pgvector makes of it.  Decimals within 2^-24 of the
 * middle between two halves may thereby be rounded the other way.  The result
 * of + - * of two halves is rounded right: a float has more than twice the
 * digits of a half, and then the first rounding does not disturb the second.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "type/halfvec.h"

#define VEC_PREFIX halfvec
#define VEC_STRUCT HalfVector
#define VEC_ELEMENT half
#define VEC_MAX_DIM HALFVEC_MAX_DIM
#define VEC_TO_FLOAT(e) half_to_float_one(e)
#define VEC_FROM_FLOAT(f) float_to_half_one(f)
#define VEC_GETMSG(buf) ((half) pq_getmsgint(buf, sizeof(half)))
#define VEC_SENDMSG(buf, e) pq_sendint16(buf, e)
#include "type/vec_template.h"
