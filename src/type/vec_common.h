/*-------------------------------------------------------------------------
 *
 * vec_common.h
 *		What all vector types share: checks, number parsing, array access and
 *		the state of avg().
 *
 * "type" is the SQL name of the type, for messages.  Functions that take an
 * escontext report through errsave() and return false if it caught the error;
 * with a NULL escontext they throw.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_VEC_COMMON_H
#define PIRAMID_VEC_COMMON_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/nodes.h"
#include "utils/array.h"

typedef enum NumberParse
{
	NUMBER_OK,					/* NaN and infinity, if spelled out, included */
	NUMBER_INVALID,				/* no number here */
	NUMBER_OVERFLOW,			/* a number beyond float4 */
	NUMBER_UNDERFLOW			/* too small for float4: the value is zero */
} NumberParse;

/* checks */
extern bool vec_check_dim(int dim, int max_dim, const char *type,
						  Node *escontext);
extern bool vec_check_expected_dim(int32 expected, int dim, Node *escontext);
extern bool vec_check_element(float value, const char *type, Node *escontext);
extern void vec_different_dims(int a, int b, const char *type);

/* text */
extern NumberParse vec_parse_number(const char *str, float *value,
									const char **end);
extern void vec_syntax_error(const char *str, const char *detail,
							 const char *type, Node *escontext);
extern void vec_range_error(const char *number, int len, const char *type,
							Node *escontext);
extern void vec_float_range_error(float value, const char *type,
								  Node *escontext);
extern int32 vec_typmod_in(ArrayType *modifiers, int max_dim,
						   const char *type);

/* arrays */
extern float *vec_floats_from_array(ArrayType *array, int max_dim,
									const char *type, int *dim);
extern ArrayType *vec_array_alloc(Oid element_type, int element_size, int n);

/* values out of line: functions in vec_toast.c */
extern struct varlena *vec_getarg_toasted(FunctionCallInfo fcinfo, int n);

/* state of avg() */
extern float8 *vec_avg_state(ArrayType *state, const char *caller, int *dim);
extern ArrayType *vec_avg_state_alloc(int dim);

/* Errors unless two vectors have the same number of dimensions. */
static inline void
vec_check_same_dim(int a, int b, const char *type)
{
	if (unlikely(a != b))
		vec_different_dims(a, b, type);
}

/* White space as the array and float parsers know it, in any locale. */
static inline bool
vec_isspace(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline const char *
vec_skip_space(const char *str)
{
	while (vec_isspace(*str))
		str++;
	return str;
}

#endif							/* PIRAMID_VEC_COMMON_H */
