/*-------------------------------------------------------------------------
 *
 * vec_template.h
 *		A dense vector type: instantiate by defining the parameters below and
 *		including this file (as with PostgreSQL's lib/simplehash.h).
 *
 * Parameters, all undefined again at the end:
 *
 *	VEC_PREFIX			start of every function name, and the SQL type's name
 *	VEC_STRUCT			struct of the type: vl_len_, int16 dim, int16 unused
 *						(zero), VEC_ELEMENT x[]
 *	VEC_ELEMENT			type of an element
 *	VEC_MAX_DIM			most dimensions of a value
 *	VEC_TO_FLOAT(e)		element to float, exactly
 *	VEC_FROM_FLOAT(f)	float to element, to nearest; too large gives infinity
 *	VEC_GETMSG(buf)		an element from a binary message
 *	VEC_SENDMSG(buf, e)	an element to a binary message
 *
 * Everything computes in float (sums over many elements in double) and goes
 * through VEC_TO_FLOAT and VEC_FROM_FLOAT, which cost nothing for float4.
 *
 * A value has 1 to VEC_MAX_DIM finite elements.  Whoever makes one (input,
 * receive, casts, arithmetic, avg) ensures it; whoever reads one relies on it.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "type/vec_common.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/varbit.h"

#define VEC_CONCAT_(a, b) a##_##b
#define VEC_CONCAT(a, b) VEC_CONCAT_(a, b)
#define VEC_FN(name) VEC_CONCAT(VEC_PREFIX, name)
#define VEC_STRING_(a) #a
#define VEC_STRING(a) VEC_STRING_(a)
#define VEC_NAME VEC_STRING(VEC_PREFIX)
#define VEC_SIZE(dim) (offsetof(VEC_STRUCT, x) + sizeof(VEC_ELEMENT) * (dim))
#define VEC_GETARG(n) ((VEC_STRUCT *) PG_DETOAST_DATUM(PG_GETARG_DATUM(n)))

/* A new vector of zeros; the caller has checked dim. */
VEC_STRUCT *
VEC_FN(alloc) (int dim)
{
	VEC_STRUCT *result = palloc0(VEC_SIZE(dim));

	Assert(dim >= 1 && dim <= VEC_MAX_DIM);
	SET_VARSIZE(result, VEC_SIZE(dim));
	result->dim = dim;
	return result;
}

/* Errors if some result was too large for the type. */
static void
VEC_FN(check_overflow) (const VEC_STRUCT *a)
{
	for (int i = 0; i < a->dim; i++)
	{
		if (unlikely(isinf(VEC_TO_FLOAT(a->x[i]))))
			float_overflow_error();
	}
}

/* Sets element i from a float, checking that the type can hold it. */
static inline bool
VEC_FN(set) (VEC_STRUCT *a, int i, float value, Node *escontext)
{
	a->x[i] = VEC_FROM_FLOAT(value);
	if (likely(isfinite(VEC_TO_FLOAT(a->x[i]))))
		return true;
	if (isfinite(value))
	{
		vec_float_range_error(value, VEC_NAME, escontext);
		return false;
	}
	return vec_check_element(value, VEC_NAME, escontext);
}

/*
 * Input and output
 */

/* Parses the number at p as element i; returns its end or NULL on error. */
static const char *
VEC_FN(in_element) (VEC_STRUCT *a, int i, const char *p, const char *str,
					Node *escontext)
{
	float		value;
	const char *end;
	NumberParse parsed;

	p = vec_skip_space(p);
	parsed = vec_parse_number(p, &value, &end);
	if (parsed == NUMBER_INVALID)
	{
		vec_syntax_error(str, NULL, VEC_NAME, escontext);
		return NULL;
	}
	if (parsed == NUMBER_OVERFLOW ||
		(isinf(VEC_TO_FLOAT(VEC_FROM_FLOAT(value))) && !isinf(value)))
	{
		vec_range_error(p, end - p, VEC_NAME, escontext);
		return NULL;
	}
	return VEC_FN(set) (a, i, value, escontext) ? end : NULL;
}

/* Input function: "[1,2,3]", white space allowed between the tokens. */
PG_FUNCTION_INFO_V1(VEC_FN(in));
Datum
VEC_FN(in) (PG_FUNCTION_ARGS)
{
	const char *str = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	Node	   *escontext = fcinfo->context;
	const char *p = vec_skip_space(str);
	int			dim = 1;
	VEC_STRUCT *result;

	if (*p != '[')
	{
		vec_syntax_error(str, "Vector contents must start with \"[\".",
						 VEC_NAME, escontext);
		PG_RETURN_NULL();
	}
	p = vec_skip_space(p + 1);

	/* The commas tell the dimensions, and so the memory that it takes. */
	if (*p == ']')
		dim = 0;
	for (const char *c = p; *c != '\0' && *c != ']'; c++)
		dim += (*c == ',');
	if (!vec_check_dim(dim, VEC_MAX_DIM, VEC_NAME, escontext))
		PG_RETURN_NULL();
	result = VEC_FN(alloc) (dim);

	for (int i = 0; i < dim; i++)
	{
		p = VEC_FN(in_element) (result, i, p, str, escontext);
		if (p == NULL)
			PG_RETURN_NULL();
		p = vec_skip_space(p);
		if (*p != (i < dim - 1 ? ',' : ']'))
		{
			vec_syntax_error(str, NULL, VEC_NAME, escontext);
			PG_RETURN_NULL();
		}
		p++;
	}

	if (*vec_skip_space(p) != '\0')
	{
		vec_syntax_error(str, "Junk after closing right brace.",
						 VEC_NAME, escontext);
		PG_RETURN_NULL();
	}
	if (!vec_check_expected_dim(typmod, dim, escontext))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(result);
}

/* Output function: the shortest numbers that read back as the same. */
PG_FUNCTION_INFO_V1(VEC_FN(out));
Datum
VEC_FN(out) (PG_FUNCTION_ARGS)
{
	VEC_STRUCT *a = VEC_GETARG(0);
	char	   *result = palloc(a->dim * FLOAT_SHORTEST_DECIMAL_LEN + 3);
	char	   *p = result;

	*p++ = '[';
	for (int i = 0; i < a->dim; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += float_to_shortest_decimal_bufn(VEC_TO_FLOAT(a->x[i]), p);
	}
	*p++ = ']';
	*p = '\0';
	PG_FREE_IF_COPY(a, 0);
	PG_RETURN_CSTRING(result);
}

/* Type modifier: the number of dimensions. */
PG_FUNCTION_INFO_V1(VEC_FN(typmod_in));
Datum
VEC_FN(typmod_in) (PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(vec_typmod_in(PG_GETARG_ARRAYTYPE_P(0), VEC_MAX_DIM,
								  VEC_NAME));
}

/* Binary input: int16 dim, int16 zero, then the elements. */
PG_FUNCTION_INFO_V1(VEC_FN(recv));
Datum
VEC_FN(recv) (PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int16		dim = (int16) pq_getmsgint(buf, sizeof(int16));
	int16		unused = (int16) pq_getmsgint(buf, sizeof(int16));
	VEC_STRUCT *result;

	vec_check_dim(dim, VEC_MAX_DIM, VEC_NAME, NULL);
	vec_check_expected_dim(typmod, dim, NULL);
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));

	result = VEC_FN(alloc) (dim);
	for (int i = 0; i < dim; i++)
	{
		result->x[i] = VEC_GETMSG(buf);
		vec_check_element(VEC_TO_FLOAT(result->x[i]), VEC_NAME, NULL);
	}
	PG_RETURN_POINTER(result);
}

/* Binary output: what the binary input reads. */
PG_FUNCTION_INFO_V1(VEC_FN(send));
Datum
VEC_FN(send) (PG_FUNCTION_ARGS)
{
	VEC_STRUCT *a = VEC_GETARG(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint16(&buf, a->dim);
	pq_sendint16(&buf, a->unused);
	for (int i = 0; i < a->dim; i++)
		VEC_SENDMSG(&buf, a->x[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * Casts
 */

/* Applies a type modifier to a value of the type itself. */
PG_FUNCTION_INFO_V1(VEC_FN(typmod_cast));
Datum
VEC_FN(typmod_cast) (PG_FUNCTION_ARGS)
{
	VEC_STRUCT *a = VEC_GETARG(0);

	vec_check_expected_dim(PG_GETARG_INT32(1), a->dim, NULL);
	PG_RETURN_POINTER(a);
}

/* From an array of integer, real, double precision or numeric. */
PG_FUNCTION_INFO_V1(VEC_FN(from_array));
Datum
VEC_FN(from_array) (PG_FUNCTION_ARGS)
{
	int			dim;
	float	   *values = vec_floats_from_array(PG_GETARG_ARRAYTYPE_P(0),
											   VEC_MAX_DIM, VEC_NAME, &dim);
	VEC_STRUCT *result;

	vec_check_expected_dim(PG_GETARG_INT32(1), dim, NULL);
	result = VEC_FN(alloc) (dim);
	for (int i = 0; i < dim; i++)
		VEC_FN(set) (result, i, values[i], NULL);
	pfree(values);
	PG_RETURN_POINTER(result);
}

/* To an array of real. */
PG_FUNCTION_INFO_V1(VEC_FN(to_float4_array));
Datum
VEC_FN(to_float4_array) (PG_FUNCTION_ARGS)
{
	VEC_STRUCT *a = VEC_GETARG(0);
	ArrayType  *result = vec_array_alloc(FLOAT4OID, sizeof(float4), a->dim);
	float4	   *values = (float4 *) ARR_DATA_PTR(result);

	for (int i = 0; i < a->dim; i++)
		values[i] = VEC_TO_FLOAT(a->x[i]);
	PG_RETURN_ARRAYTYPE_P(result);
}

/*
 * Functions
 */

/* Number of dimensions. */
PG_FUNCTION_INFO_V1(VEC_FN(dims));
Datum
VEC_FN(dims) (PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(VEC_GETARG(0)->dim);
}

/* Euclidean norm; in double, so that it cannot overflow. */
static double
VEC_FN(norm_internal) (const VEC_STRUCT *a)
{
	double		sum = 0;

	for (int i = 0; i < a->dim; i++)
	{
		double		x = VEC_TO_FLOAT(a->x[i]);

		sum += x * x;
	}
	return sqrt(sum);
}

PG_FUNCTION_INFO_V1(VEC_FN(norm));
Datum
VEC_FN(norm) (PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(VEC_FN(norm_internal) (VEC_GETARG(0)));
}

/* The vector divided by its norm; zero stays zero. */
PG_FUNCTION_INFO_V1(VEC_FN(l2_normalize));
Datum
VEC_FN(l2_normalize) (PG_FUNCTION_ARGS)
{
	VEC_STRUCT *a = VEC_GETARG(0);
	VEC_STRUCT *result = VEC_FN(alloc) (a->dim);
	double		norm = VEC_FN(norm_internal) (a);

	if (norm > 0)
	{
		for (int i = 0; i < a->dim; i++)
			result->x[i] = VEC_FROM_FLOAT((float) (VEC_TO_FLOAT(a->x[i]) / norm));
	}
	PG_RETURN_POINTER(result);
}

/* One bit per dimension: whether the element is greater than zero. */
PG_FUNCTION_INFO_V1(VEC_FN(binary_quantize));
Datum
VEC_FN(binary_quantize) (PG_FUNCTION_ARGS)
{
	VEC_STRUCT *a = VEC_GETARG(0);
	VarBit	   *result = palloc0(VARBITTOTALLEN(a->dim));
	bits8	   *bits = VARBITS(result);

	SET_VARSIZE(result, VARBITTOTALLEN(a->dim));
	VARBITLEN(result) = a->dim;
	for (int i = 0; i < a->dim; i++)
		bits[i / 8] |= (VEC_TO_FLOAT(a->x[i]) > 0) << (7 - i % 8);
	PG_RETURN_VARBIT_P(result);
}

/* count elements from the 1-based start; what lies outside is cut off. */
PG_FUNCTION_INFO_V1(VEC_FN(subvector));
Datum
VEC_FN(subvector) (PG_FUNCTION_ARGS)
{
	VEC_STRUCT *a = VEC_GETARG(0);
	int64		first = PG_GETARG_INT32(1);
	int64		end = first + PG_GETARG_INT32(2);	/* exclusive */
	VEC_STRUCT *result;

	first = Max(first, 1);
	end = Min(end, a->dim + 1);
	vec_check_dim(end > first ? end - first : 0, VEC_MAX_DIM, VEC_NAME, NULL);
	result = VEC_FN(alloc) (end - first);
	memcpy(result->x, a->x + first - 1, sizeof(VEC_ELEMENT) * result->dim);
	PG_RETURN_POINTER(result);
}

/* One vector after the other. */
PG_FUNCTION_INFO_V1(VEC_FN(concat));
Datum
VEC_FN(concat) (PG_FUNCTION_ARGS)
{
	VEC_STRUCT *a = VEC_GETARG(0);
	VEC_STRUCT *b = VEC_GETARG(1);
	VEC_STRUCT *result;

	vec_check_dim(a->dim + b->dim, VEC_MAX_DIM, VEC_NAME, NULL);
	result = VEC_FN(alloc) (a->dim + b->dim);
	memcpy(result->x, a->x, sizeof(VEC_ELEMENT) * a->dim);
	memcpy(result->x + a->dim, b->x, sizeof(VEC_ELEMENT) * b->dim);
	PG_RETURN_POINTER(result);
}

/* A product of numbers other than zero must not vanish. */
static void
VEC_FN(check_underflow) (const VEC_STRUCT *a, const VEC_STRUCT *b,
						 const VEC_STRUCT *product)
{
	for (int i = 0; i < product->dim; i++)
	{
		if (unlikely(VEC_TO_FLOAT(product->x[i]) == 0) &&
			VEC_TO_FLOAT(a->x[i]) != 0 && VEC_TO_FLOAT(b->x[i]) != 0)
			float_underflow_error();
	}
}

/* Element by element: a op b. */
#define VEC_ARITHMETIC(name, op, can_underflow) \
PG_FUNCTION_INFO_V1(VEC_FN(name)); \
Datum \
VEC_FN(name) (PG_FUNCTION_ARGS) \
{ \
	VEC_STRUCT *a = VEC_GETARG(0); \
	VEC_STRUCT *b = VEC_GETARG(1); \
	VEC_STRUCT *result; \
\
	vec_check_same_dim(a->dim, b->dim, VEC_NAME); \
	result = VEC_FN(alloc) (a->dim); \
	for (int i = 0; i < a->dim; i++) \
		result->x[i] = VEC_FROM_FLOAT(VEC_TO_FLOAT(a->x[i]) op \
									  VEC_TO_FLOAT(b->x[i])); \
	VEC_FN(check_overflow) (result); \
	if (can_underflow) \
		VEC_FN(check_underflow) (a, b, result); \
	PG_RETURN_POINTER(result); \
}

VEC_ARITHMETIC(add, +, false)
VEC_ARITHMETIC(sub, -, false)
VEC_ARITHMETIC(mul, *, true)

/*
 * Comparison
 */

/*
 * Compares element by element, then by dimensions, as arrays are compared.
 * Frees what it detoasts: btree code calls it in contexts that live long.
 */
static int
VEC_FN(compare_args) (FunctionCallInfo fcinfo)
{
	VEC_STRUCT *a = VEC_GETARG(0);
	VEC_STRUCT *b = VEC_GETARG(1);
	int			dim = Min(a->dim, b->dim);
	int			result = (a->dim > b->dim) - (a->dim < b->dim);

	for (int i = 0; i < dim; i++)
	{
		float		x = VEC_TO_FLOAT(a->x[i]);
		float		y = VEC_TO_FLOAT(b->x[i]);

		if (x != y)
		{
			result = x < y ? -1 : 1;
			break;
		}
	}
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

#define VEC_COMPARISON(name, op) \
PG_FUNCTION_INFO_V1(VEC_FN(name)); \
Datum \
VEC_FN(name) (PG_FUNCTION_ARGS) \
{ \
	PG_RETURN_BOOL(VEC_FN(compare_args) (fcinfo) op 0); \
}

VEC_COMPARISON(lt, <)
VEC_COMPARISON(le, <=)
VEC_COMPARISON(eq, ==)
VEC_COMPARISON(ne, !=)
VEC_COMPARISON(ge, >=)
VEC_COMPARISON(gt, >)

PG_FUNCTION_INFO_V1(VEC_FN(cmp));
Datum
VEC_FN(cmp) (PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(VEC_FN(compare_args) (fcinfo));
}

/*
 * Aggregates (sum is VEC_FN(add); the state of avg is in vec_common.c)
 */

/* Transition function of avg: adds a vector to the state. */
PG_FUNCTION_INFO_V1(VEC_FN(accum));
Datum
VEC_FN(accum) (PG_FUNCTION_ARGS)
{
	ArrayType  *state = PG_GETARG_ARRAYTYPE_P(0);
	VEC_STRUCT *a = VEC_GETARG(1);
	int			dim;
	float8	   *old = vec_avg_state(state, VEC_NAME "_accum", &dim);
	float8	   *values = old;

	if (dim > 0)
		vec_check_expected_dim(dim, a->dim, NULL);

	/* An aggregate's own state may be changed in place. */
	if (dim == 0 || !AggCheckCallContext(fcinfo, NULL))
	{
		state = vec_avg_state_alloc(a->dim);
		values = (float8 *) ARR_DATA_PTR(state);
		memcpy(values, old, sizeof(float8) * (dim + 1));

		/* What any number is added to unchanged: 0 + -0 would be 0. */
		for (int i = dim; i < a->dim; i++)
			values[i + 1] = -0.0;
	}

	values[0] += 1;
	for (int i = 0; i < a->dim; i++)
	{
		values[i + 1] += VEC_TO_FLOAT(a->x[i]);
		if (unlikely(isinf(values[i + 1])))
			float_overflow_error();
	}
	PG_RETURN_ARRAYTYPE_P(state);
}

/* Final function of avg: NULL for no rows. */
PG_FUNCTION_INFO_V1(VEC_FN(avg));
Datum
VEC_FN(avg) (PG_FUNCTION_ARGS)
{
	int			dim;
	float8	   *values = vec_avg_state(PG_GETARG_ARRAYTYPE_P(0),
									   VEC_NAME "_avg", &dim);
	VEC_STRUCT *result;

	if (values[0] == 0)
		PG_RETURN_NULL();
	vec_check_dim(dim, VEC_MAX_DIM, VEC_NAME, NULL);
	result = VEC_FN(alloc) (dim);
	for (int i = 0; i < dim; i++)
		VEC_FN(set) (result, i, (float) (values[i + 1] / values[0]), NULL);
	PG_RETURN_POINTER(result);
}

#undef VEC_CONCAT_
#undef VEC_CONCAT
#undef VEC_FN
#undef VEC_STRING_
#undef VEC_STRING
#undef VEC_NAME
#undef VEC_SIZE
#undef VEC_GETARG
#undef VEC_ARITHMETIC
#undef VEC_COMPARISON
#undef VEC_PREFIX
#undef VEC_STRUCT
#undef VEC_ELEMENT
#undef VEC_MAX_DIM
#undef VEC_TO_FLOAT
#undef VEC_FROM_FLOAT
#undef VEC_GETMSG
#undef VEC_SENDMSG
