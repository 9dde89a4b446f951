/*-------------------------------------------------------------------------
 *
 * sparsevec.c
 *		The sparsevec type: the non-zero elements of a vector, with their
 *		positions.
 *
 * A value has 1 to SPARSEVEC_MAX_DIM dimensions and 0 to SPARSEVEC_MAX_NNZ
 * elements, finite and not zero, by ascending index.  Whoever makes one
 * (input, receive, casts, l2_normalize) ensures it; whoever reads one relies
 * on it.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "type/halfvec.h"
#include "type/sparsevec.h"
#include "type/vec_common.h"
#include "type/vector.h"
#include "utils/builtins.h"

#define SPARSEVEC_NAME "sparsevec"

/* An element of the text form; index as stored, from 0. */
typedef struct SparseElement
{
	int32		index;
	float		value;
} SparseElement;

/* A new vector, indices and values zero; the caller has checked dim and nnz. */
SparseVector *
sparsevec_alloc(int dim, int nnz)
{
	SparseVector *result = palloc0(SPARSEVEC_SIZE(nnz));

	Assert(dim >= 1 && dim <= SPARSEVEC_MAX_DIM);
	Assert(nnz >= 0 && nnz <= SPARSEVEC_MAX_NNZ);
	SET_VARSIZE(result, SPARSEVEC_SIZE(nnz));
	result->dim = dim;
	result->nnz = nnz;
	return result;
}

/*
 * Checks
 */

static bool
check_nnz(int nnz, Node *escontext)
{
	if (unlikely(nnz > SPARSEVEC_MAX_NNZ))
	{
		errsave(escontext,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more than %d non-zero elements",
						SPARSEVEC_MAX_NNZ)));
		return false;
	}
	return true;
}

/* previous is the index before it, or -1. */
static bool
check_index(int32 index, int32 previous, int dim, Node *escontext)
{
	if (unlikely(index < 0 || index >= dim))
	{
		errsave(escontext,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec index out of bounds")));
		return false;
	}
	if (unlikely(index == previous))
	{
		errsave(escontext,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec indices must not contain duplicates")));
		return false;
	}
	if (unlikely(index < previous))
	{
		errsave(escontext,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec indices must be in ascending order")));
		return false;
	}
	return true;
}

/*
 * Text input
 */

static int
compare_elements(const void *a, const void *b)
{
	int32		x = ((const SparseElement *) a)->index;
	int32		y = ((const SparseElement *) b)->index;

	return (x > y) - (x < y);
}

/* Parses a decimal integer, cut to int32; returns its end, NULL if none. */
static const char *
parse_integer(const char *p, int32 *value)
{
	char	   *end;
	long		number = strtol(p, &end, 10);

	if (end == p)
		return NULL;
	*value = (int32) Min(Max(number, PG_INT32_MIN), PG_INT32_MAX);
	return end;
}

/* Parses "index:value" at p; returns its end or NULL on error. */
static const char *
parse_element(const char *p, SparseElement *element, const char *str,
			  Node *escontext)
{
	int32		position;
	NumberParse parsed;
	const char *end = parse_integer(p, &position);

	if (end != NULL)
		end = vec_skip_space(end);
	if (end == NULL || *end != ':')
	{
		vec_syntax_error(str, NULL, SPARSEVEC_NAME, escontext);
		return NULL;
	}

	p = vec_skip_space(end + 1);
	parsed = vec_parse_number(p, &element->value, &end);
	if (parsed == NUMBER_INVALID)
	{
		vec_syntax_error(str, NULL, SPARSEVEC_NAME, escontext);
		return NULL;
	}
	/* A zero would not be stored, so that a value would vanish silently. */
	if (parsed == NUMBER_OVERFLOW || parsed == NUMBER_UNDERFLOW)
	{
		vec_range_error(p, end - p, SPARSEVEC_NAME, escontext);
		return NULL;
	}
	if (!vec_check_element(element->value, SPARSEVEC_NAME, escontext))
		return NULL;

	/* The lowest int32 has no predecessor; all below 1 are out of bounds. */
	element->index = Max(position, 0) - 1;
	return end;
}

/*
 * Parses "{index:value,...}" at p into elements, room for as many as there
 * are commas and one more.  Zeros are left out.  Returns its end or NULL on
 * error.
 */
static const char *
parse_elements(const char *p, SparseElement *elements, int *nnz,
			   const char *str, Node *escontext)
{
	*nnz = 0;
	p = vec_skip_space(p + 1);
	if (*p == '}')
		return p + 1;

	for (;;)
	{
		p = parse_element(p, &elements[*nnz], str, escontext);
		if (p == NULL)
			return NULL;
		*nnz += (elements[*nnz].value != 0);
		p = vec_skip_space(p);
		if (*p == '}')
			return p + 1;
		if (*p != ',')
		{
			vec_syntax_error(str, NULL, SPARSEVEC_NAME, escontext);
			return NULL;
		}
		p++;
	}
}

/* Parses "/dimensions" at p, the last part; false on error. */
static bool
parse_dim(const char *p, int32 *dim, const char *str, Node *escontext)
{
	p = vec_skip_space(p);
	if (*p != '/')
	{
		vec_syntax_error(str, "Unexpected end of input.", SPARSEVEC_NAME,
						 escontext);
		return false;
	}
	p = parse_integer(p + 1, dim);
	if (p == NULL)
	{
		vec_syntax_error(str, NULL, SPARSEVEC_NAME, escontext);
		return false;
	}
	if (*vec_skip_space(p) != '\0')
	{
		vec_syntax_error(str, "Junk after closing.", SPARSEVEC_NAME,
						 escontext);
		return false;
	}
	return true;
}

/* A vector of elements in any order; NULL on error. */
static SparseVector *
from_elements(int dim, int nnz, SparseElement *elements, Node *escontext)
{
	SparseVector *result = sparsevec_alloc(dim, nnz);
	float	   *values = SPARSEVEC_VALUES(result);

	for (int i = 1; i < nnz; i++)
	{
		if (elements[i].index < elements[i - 1].index)
		{
			qsort(elements, nnz, sizeof(SparseElement), compare_elements);
			break;
		}
	}
	for (int i = 0; i < nnz; i++)
	{
		if (!check_index(elements[i].index,
						 i > 0 ? elements[i - 1].index : -1, dim, escontext))
			return NULL;
		result->indices[i] = elements[i].index;
		values[i] = elements[i].value;
	}
	return result;
}

/*
 * Input function: "{1:1.5,3:2}/5", positions from 1 in any order, then the
 * dimensions; white space allowed between the tokens.
 */
PG_FUNCTION_INFO_V1(sparsevec_in);
Datum
sparsevec_in(PG_FUNCTION_ARGS)
{
	const char *str = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	Node	   *escontext = fcinfo->context;
	const char *p = vec_skip_space(str);
	int			room = 1;
	int			nnz;
	int32		dim;
	SparseElement *elements;
	SparseVector *result;

	if (*p != '{')
	{
		vec_syntax_error(str, "Vector contents must start with \"{\".",
						 SPARSEVEC_NAME, escontext);
		PG_RETURN_NULL();
	}
	/* The commas tell how many elements there can be. */
	for (const char *c = p; *c != '\0' && *c != '}'; c++)
		room += (*c == ',');
	if (!check_nnz(room, escontext))
		PG_RETURN_NULL();
	elements = palloc(sizeof(SparseElement) * room);

	p = parse_elements(p, elements, &nnz, str, escontext);
	if (p == NULL ||
		!parse_dim(p, &dim, str, escontext) ||
		!vec_check_dim(dim, SPARSEVEC_MAX_DIM, SPARSEVEC_NAME, escontext) ||
		!vec_check_expected_dim(typmod, dim, escontext))
		PG_RETURN_NULL();
	result = from_elements(dim, nnz, elements, escontext);
	pfree(elements);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(result);
}

/* Output function: the shortest numbers that read back as the same. */
PG_FUNCTION_INFO_V1(sparsevec_out);
Datum
sparsevec_out(PG_FUNCTION_ARGS)
{
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0);
	float	   *values = SPARSEVEC_VALUES(a);

	/* "index:value," each, and "{}/dimensions" */
	char	   *result = palloc(a->nnz * (FLOAT_SHORTEST_DECIMAL_LEN + 12) + 15);
	char	   *p = result;

	*p++ = '{';
	for (int i = 0; i < a->nnz; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += pg_ultoa_n(a->indices[i] + 1, p);
		*p++ = ':';
		p += float_to_shortest_decimal_bufn(values[i], p);
	}
	*p++ = '}';
	*p++ = '/';
	p += pg_ultoa_n(a->dim, p);
	*p = '\0';
	PG_FREE_IF_COPY(a, 0);
	PG_RETURN_CSTRING(result);
}

/* Type modifier: the number of dimensions. */
PG_FUNCTION_INFO_V1(sparsevec_typmod_in);
Datum
sparsevec_typmod_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(vec_typmod_in(PG_GETARG_ARRAYTYPE_P(0), SPARSEVEC_MAX_DIM,
								  SPARSEVEC_NAME));
}

/*
 * Binary input: int32 dim, int32 nnz, int32 zero, then nnz indices from 0 and
 * as many values.  Memory is allocated for at most SPARSEVEC_MAX_NNZ
 * elements, whatever the message says.
 */
PG_FUNCTION_INFO_V1(sparsevec_recv);
Datum
sparsevec_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int32		dim = (int32) pq_getmsgint(buf, sizeof(int32));
	int32		nnz = (int32) pq_getmsgint(buf, sizeof(int32));
	int32		unused = (int32) pq_getmsgint(buf, sizeof(int32));
	SparseVector *result;
	float	   *values;

	vec_check_dim(dim, SPARSEVEC_MAX_DIM, SPARSEVEC_NAME, NULL);
	if (nnz < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec cannot have negative number of elements")));
	check_nnz(nnz, NULL);
	if (nnz > dim)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more elements than dimensions")));
	vec_check_expected_dim(typmod, dim, NULL);
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));

	result = sparsevec_alloc(dim, nnz);
	values = SPARSEVEC_VALUES(result);
	for (int i = 0; i < nnz; i++)
	{
		result->indices[i] = (int32) pq_getmsgint(buf, sizeof(int32));
		check_index(result->indices[i], i > 0 ? result->indices[i - 1] : -1,
					dim, NULL);
	}
	for (int i = 0; i < nnz; i++)
	{
		values[i] = pq_getmsgfloat4(buf);
		vec_check_element(values[i], SPARSEVEC_NAME, NULL);
		if (values[i] == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("binary representation of sparsevec cannot contain zero values")));
	}
	PG_RETURN_POINTER(result);
}

/* Binary output: what the binary input reads. */
PG_FUNCTION_INFO_V1(sparsevec_send);
Datum
sparsevec_send(PG_FUNCTION_ARGS)
{
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0);
	float	   *values = SPARSEVEC_VALUES(a);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint32(&buf, a->dim);
	pq_sendint32(&buf, a->nnz);
	pq_sendint32(&buf, a->unused);
	for (int i = 0; i < a->nnz; i++)
		pq_sendint32(&buf, a->indices[i]);
	for (int i = 0; i < a->nnz; i++)
		pq_sendfloat4(&buf, values[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * Casts
 */

/* Applies a type modifier to a value of the type itself. */
PG_FUNCTION_INFO_V1(sparsevec_typmod_cast);
Datum
sparsevec_typmod_cast(PG_FUNCTION_ARGS)
{
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0);

	vec_check_expected_dim(PG_GETARG_INT32(1), a->dim, NULL);
	PG_RETURN_POINTER(a);
}

/* Those of dim elements that are not zero. */
static SparseVector *
from_floats(int dim, const float *x)
{
	int			nnz = 0;
	SparseVector *result;
	float	   *values;

	for (int i = 0; i < dim; i++)
		nnz += (x[i] != 0);
	check_nnz(nnz, NULL);

	result = sparsevec_alloc(dim, nnz);
	values = SPARSEVEC_VALUES(result);
	for (int i = 0, n = 0; n < nnz; i++)
	{
		if (x[i] == 0)
			continue;
		vec_check_element(x[i], SPARSEVEC_NAME, NULL);
		result->indices[n] = i;
		values[n++] = x[i];
	}
	return result;
}

/* From an array of integer, real, double precision or numeric. */
PG_FUNCTION_INFO_V1(sparsevec_from_array);
Datum
sparsevec_from_array(PG_FUNCTION_ARGS)
{
	int			dim;
	float	   *x = vec_floats_from_array(PG_GETARG_ARRAYTYPE_P(0),
										  SPARSEVEC_MAX_DIM, SPARSEVEC_NAME,
										  &dim);
	SparseVector *result;

	vec_check_expected_dim(PG_GETARG_INT32(1), dim, NULL);
	result = from_floats(dim, x);
	pfree(x);
	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(vector_to_sparsevec);
Datum
vector_to_sparsevec(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);

	vec_check_expected_dim(PG_GETARG_INT32(1), a->dim, NULL);
	PG_RETURN_POINTER(from_floats(a->dim, a->x));
}

PG_FUNCTION_INFO_V1(sparsevec_to_vector);
Datum
sparsevec_to_vector(PG_FUNCTION_ARGS)
{
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0);
	float	   *values = SPARSEVEC_VALUES(a);
	Vector	   *result;

	vec_check_dim(a->dim, VECTOR_MAX_DIM, "vector", NULL);
	vec_check_expected_dim(PG_GETARG_INT32(1), a->dim, NULL);
	result = vector_alloc(a->dim);
	for (int i = 0; i < a->nnz; i++)
		result->x[a->indices[i]] = values[i];
	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(halfvec_to_sparsevec);
Datum
halfvec_to_sparsevec(PG_FUNCTION_ARGS)
{
	HalfVector *a = PG_GETARG_HALFVEC_P(0);
	float	   *x = palloc(sizeof(float) * a->dim);
	SparseVector *result;

	vec_check_expected_dim(PG_GETARG_INT32(1), a->dim, NULL);
	for (int i = 0; i < a->dim; i++)
		x[i] = half_to_float_one(a->x[i]);
	result = from_floats(a->dim, x);
	pfree(x);
	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(sparsevec_to_halfvec);
Datum
sparsevec_to_halfvec(PG_FUNCTION_ARGS)
{
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0);
	float	   *values = SPARSEVEC_VALUES(a);
	HalfVector *result;

	vec_check_dim(a->dim, HALFVEC_MAX_DIM, "halfvec", NULL);
	vec_check_expected_dim(PG_GETARG_INT32(1), a->dim, NULL);
	result = halfvec_alloc(a->dim);
	for (int i = 0; i < a->nnz; i++)
	{
		half		h = float_to_half_one(values[i]);

		if (unlikely(HALF_IS_INF(h)))
			vec_float_range_error(values[i], "halfvec", NULL);
		result->x[a->indices[i]] = h;
	}
	PG_RETURN_POINTER(result);
}

/*
 * Functions
 */

/* Euclidean norm; in double, so that it cannot overflow. */
static double
norm(const SparseVector *a)
{
	float	   *values = SPARSEVEC_VALUES(a);
	double		sum = 0;

	for (int i = 0; i < a->nnz; i++)
		sum += (double) values[i] * values[i];
	return sqrt(sum);
}

PG_FUNCTION_INFO_V1(sparsevec_l2_norm);
Datum
sparsevec_l2_norm(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(norm(PG_GETARG_SPARSEVEC_P(0)));
}

/* The vector divided by its norm, without what becomes zero. */
PG_FUNCTION_INFO_V1(sparsevec_l2_normalize);
Datum
sparsevec_l2_normalize(PG_FUNCTION_ARGS)
{
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0);
	float	   *values = SPARSEVEC_VALUES(a);
	double		length = norm(a);
	int			nnz = 0;
	SparseVector *result;

	for (int i = 0; i < a->nnz; i++)
		nnz += ((float) (values[i] / length) != 0);

	result = sparsevec_alloc(a->dim, nnz);
	for (int i = 0, n = 0; n < nnz; i++)
	{
		float		value = (float) (values[i] / length);

		if (value == 0)
			continue;
		result->indices[n] = a->indices[i];
		SPARSEVEC_VALUES(result)[n++] = value;
	}
	PG_RETURN_POINTER(result);
}

/*
 * Comparison
 */

/*
 * Compares element by element, then by dimensions, as the dense vectors are
 * compared.  Only the first element that is in one of them and not equal in
 * the other matters.
 */
static int
compare(const SparseVector *a, const SparseVector *b)
{
	const float *x = SPARSEVEC_VALUES(a);
	const float *y = SPARSEVEC_VALUES(b);
	int			i = 0;
	int			aindex;
	int			bindex;
	int			index;

	while (i < a->nnz && i < b->nnz &&
		   a->indices[i] == b->indices[i] && x[i] == y[i])
		i++;

	aindex = i < a->nnz ? a->indices[i] : SPARSEVEC_MAX_DIM;
	bindex = i < b->nnz ? b->indices[i] : SPARSEVEC_MAX_DIM;
	index = Min(aindex, bindex);
	if (index < a->dim && index < b->dim)
	{
		float		avalue = aindex == index ? x[i] : 0;
		float		bvalue = bindex == index ? y[i] : 0;

		return avalue < bvalue ? -1 : 1;
	}
	return (a->dim > b->dim) - (a->dim < b->dim);
}

/* Frees what it detoasts: btree code calls it in contexts that live long. */
static int
compare_args(FunctionCallInfo fcinfo)
{
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0);
	SparseVector *b = PG_GETARG_SPARSEVEC_P(1);
	int			result = compare(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

#define SPARSEVEC_COMPARISON(name, op) \
PG_FUNCTION_INFO_V1(name); \
Datum \
name(PG_FUNCTION_ARGS) \
{ \
	PG_RETURN_BOOL(compare_args(fcinfo) op 0); \
}

SPARSEVEC_COMPARISON(sparsevec_lt, <)
SPARSEVEC_COMPARISON(sparsevec_le, <=)
SPARSEVEC_COMPARISON(sparsevec_eq, ==)
SPARSEVEC_COMPARISON(sparsevec_ne, !=)
SPARSEVEC_COMPARISON(sparsevec_ge, >=)
SPARSEVEC_COMPARISON(sparsevec_gt, >)

PG_FUNCTION_INFO_V1(sparsevec_cmp);
Datum
sparsevec_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}
