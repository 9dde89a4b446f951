/*-------------------------------------------------------------------------
 *
 * vector.c
 *		The vector type: the dense template with float4 elements.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "libpq/pqformat.h"
#include "type/vec_common.h"
#include "type/vector.h"
#include "utils/float.h"

#define VEC_PREFIX vector
#define VEC_STRUCT Vector
#define VEC_ELEMENT float
#define VEC_MAX_DIM VECTOR_MAX_DIM
#define VEC_TO_FLOAT(e) (e)
#define VEC_FROM_FLOAT(f) (f)
#define VEC_GETMSG(buf) pq_getmsgfloat4(buf)
#define VEC_SENDMSG(buf, e) pq_sendfloat4(buf, e)
#include "type/vec_template.h"

/*
 * Combine function of avg, for all vector types: the states do not depend on
 * the element.
 */
PG_FUNCTION_INFO_V1(vector_combine);
Datum
vector_combine(PG_FUNCTION_ARGS)
{
	ArrayType  *a = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *b = PG_GETARG_ARRAYTYPE_P(1);
	int			adim;
	int			bdim;
	float8	   *avalues = vec_avg_state(a, "vector_combine", &adim);
	float8	   *bvalues = vec_avg_state(b, "vector_combine", &bdim);
	ArrayType  *result;
	float8	   *values;

	/* A worker that saw no rows has no dimensions. */
	if (avalues[0] == 0)
		PG_RETURN_ARRAYTYPE_P(b);
	if (bvalues[0] == 0)
		PG_RETURN_ARRAYTYPE_P(a);

	vec_check_expected_dim(adim, bdim, NULL);
	result = vec_avg_state_alloc(adim);
	values = (float8 *) ARR_DATA_PTR(result);
	for (int i = 0; i <= adim; i++)
	{
		values[i] = avalues[i] + bvalues[i];
		if (unlikely(isinf(values[i])))
			float_overflow_error();
	}
	PG_RETURN_ARRAYTYPE_P(result);
}
