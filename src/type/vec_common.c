/*-------------------------------------------------------------------------
 *
 * vec_common.c
 *		What all vector types share.  See vec_common.h for the conventions.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "type/vec_common.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/*
 * Checks
 */

/* A vector has between 1 and max_dim dimensions. */
bool
vec_check_dim(int dim, int max_dim, const char *type, Node *escontext)
{
	if (unlikely(dim < 1))
	{
		errsave(escontext,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("%s must have at least 1 dimension", type)));
		return false;
	}
	if (unlikely(dim > max_dim))
	{
		errsave(escontext,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s cannot have more than %d dimensions", type, max_dim)));
		return false;
	}
	return true;
}

/* The dimensions must be those of the type modifier, if there is one. */
bool
vec_check_expected_dim(int32 expected, int dim, Node *escontext)
{
	if (unlikely(expected != -1 && expected != dim))
	{
		errsave(escontext,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", expected, dim)));
		return false;
	}
	return true;
}

/* Elements are finite numbers. */
bool
vec_check_element(float value, const char *type, Node *escontext)
{
	if (unlikely(isnan(value)))
	{
		errsave(escontext,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("NaN not allowed in %s", type)));
		return false;
	}
	if (unlikely(isinf(value)))
	{
		errsave(escontext,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("infinite value not allowed in %s", type)));
		return false;
	}
	return true;
}

/* Reports that two operands have different dimensions. */
void
vec_different_dims(int a, int b, const char *type)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("different %s dimensions %d and %d", type, a, b)));
}

/*
 * Text
 */

/*
 * Parses an ordinary decimal number ("-0.125", "1e-3") that a double can
 * hold nearly exactly, at a fraction of the cost of strtof().  Returns false,
 * touching nothing, for all others.
 *
 * Up to 19 digits fit a uint64, and powers of ten up to 22 are exact doubles,
 * so that value = digits * 10^exponent takes two roundings: the double is
 * less than two units in the last place off.  Rounding it to float is right
 * unless a midpoint between two floats lies within that error, which the low
 * 29 bits of the fraction tell: the value is zero or at least 1e-22, so that
 * the float is never denormal.
 */
static bool
parse_decimal(const char *str, float *value, const char **end)
{
	static const double powers[] = {
		1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
		1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
	};
	const char *p = str;
	bool		negative = (*p == '-');
	uint64		digits = 0;
	int			ndigits = 0;
	int			exponent = 0;
	double		d;
	uint64		bits;
	int			from_midpoint;

	if (*p == '-' || *p == '+')
		p++;
	for (; *p >= '0' && *p <= '9'; p++, ndigits++)
		digits = digits * 10 + (*p - '0');
	if (*p == '.')
	{
		p++;
		for (; *p >= '0' && *p <= '9'; p++, ndigits++, exponent--)
			digits = digits * 10 + (*p - '0');
	}
	if (ndigits == 0 || ndigits > 19 || *p == 'x' || *p == 'X')
		return false;
	if (*p == 'e' || *p == 'E')
	{
		const char *start;
		bool		shrink;
		int			e = 0;

		p++;
		shrink = (*p == '-');
		if (*p == '-' || *p == '+')
			p++;
		start = p;
		for (; *p >= '0' && *p <= '9'; p++)
		{
			if (p - start >= 3)
				return false;
			e = e * 10 + (*p - '0');
		}
		if (p == start)
			return false;
		exponent += shrink ? -e : e;
	}
	if (exponent < -22 || exponent > 22)
		return false;

	d = (double) digits;
	d = exponent < 0 ? d / powers[-exponent] : d * powers[exponent];
	if (d > FLT_MAX)
		return false;
	memcpy(&bits, &d, sizeof(bits));
	from_midpoint = (int) (bits & 0x1FFFFFFF) - 0x10000000;
	if (from_midpoint >= -2 && from_midpoint <= 2)
		return false;

	*value = (float) (negative ? -d : d);
	*end = p;
	return true;
}

/*
 * Parses the number at str, which strtof() understands, as float.  What is
 * too small becomes zero of the same sign.  *end is set to the end of the
 * number unless the result is NUMBER_INVALID.
 */
NumberParse
vec_parse_number(const char *str, float *value, const char **end)
{
	char	   *stop;

	/* The short cut counts on doubles that are rounded as doubles. */
	if (FLT_EVAL_METHOD == 0 && parse_decimal(str, value, end))
		return NUMBER_OK;

	errno = 0;
	*value = strtof(str, &stop);
	if (stop == str)
		return NUMBER_INVALID;
	*end = stop;
	if (errno == ERANGE && isinf(*value))
		return NUMBER_OVERFLOW;
	if (errno == ERANGE && *value == 0)
		return NUMBER_UNDERFLOW;
	return NUMBER_OK;
}

/* Reports that str is no text form of the type; detail may be NULL. */
void
vec_syntax_error(const char *str, const char *detail, const char *type,
				 Node *escontext)
{
	errsave(escontext,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"", type, str),
			 detail ? errdetail("%s", detail) : 0));
}

/* Reports that a number, len bytes long, is out of the type's range. */
void
vec_range_error(const char *number, int len, const char *type,
				Node *escontext)
{
	errsave(escontext,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("\"%.*s\" is out of range for type %s", len, number, type)));
}

/* The same for a number that did not come as text. */
void
vec_float_range_error(float value, const char *type, Node *escontext)
{
	char		number[FLOAT_SHORTEST_DECIMAL_LEN];

	vec_range_error(number, float_to_shortest_decimal_bufn(value, number),
					type, escontext);
}

/* The type modifier is the number of dimensions. */
int32
vec_typmod_in(ArrayType *modifiers, int max_dim, const char *type)
{
	int			n;
	int32	   *typmods = ArrayGetIntegerTypmods(modifiers, &n);

	if (n != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid type modifier")));
	if (typmods[0] < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s must be at least 1", type)));
	if (typmods[0] > max_dim)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s cannot exceed %d", type, max_dim)));
	return typmods[0];
}

/*
 * Arrays
 */

/*
 * A numeric goes through its text, so that it is rounded once and out of
 * range like the same number in the type's own input.
 */
static float
float_from_numeric(Datum numeric, const char *type)
{
	char	   *str = DatumGetCString(DirectFunctionCall1(numeric_out, numeric));
	const char *end;
	float		value;

	if (vec_parse_number(str, &value, &end) == NUMBER_OVERFLOW)
		vec_range_error(str, strlen(str), type, NULL);
	pfree(str);
	return value;
}

/*
 * The elements of an array of integer, real, double precision or numeric as
 * floats in new memory.  The array must be one-dimensional, without NULLs and
 * of 1 to max_dim elements; the elements themselves are not checked.
 */
float *
vec_floats_from_array(ArrayType *array, int max_dim, const char *type,
					  int *dim)
{
	float	   *values;
	int			n;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("array must be 1-D")));
	if (ARR_HASNULL(array) && array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("array must not contain nulls")));

	n = ARR_NDIM(array) == 0 ? 0 : ARR_DIMS(array)[0];
	vec_check_dim(n, max_dim, type, NULL);
	values = palloc(sizeof(float) * n);

	switch (ARR_ELEMTYPE(array))
	{
		case INT4OID:
			for (int i = 0; i < n; i++)
				values[i] = (float) ((int32 *) ARR_DATA_PTR(array))[i];
			break;
		case FLOAT4OID:
			memcpy(values, ARR_DATA_PTR(array), sizeof(float) * n);
			break;
		case FLOAT8OID:
			for (int i = 0; i < n; i++)
				values[i] = (float) ((float8 *) ARR_DATA_PTR(array))[i];
			break;
		case NUMERICOID:
			{
				Datum	   *numerics;

				deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT,
								  &numerics, NULL, &n);
				for (int i = 0; i < n; i++)
				{
					/* A numeric may have thousands of digits. */
					CHECK_FOR_INTERRUPTS();
					values[i] = float_from_numeric(numerics[i], type);
				}
				pfree(numerics);
				break;
			}
		default:
			elog(ERROR, "unsupported element type %u", ARR_ELEMTYPE(array));
	}

	*dim = n;
	return values;
}

/* A one-dimensional array of n zeros of a fixed-length type. */
ArrayType *
vec_array_alloc(Oid element_type, int element_size, int n)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + (Size) element_size * n;
	ArrayType  *array = palloc0(size);

	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;		/* no NULLs */
	array->elemtype = element_type;
	ARR_DIMS(array)[0] = n;
	ARR_LBOUND(array)[0] = 1;
	return array;
}

/*
 * State of avg()
 *
 * An array of double precision: the number of rows, then the sum of each
 * dimension (none before the first row).  The type is an SQL type and not
 * internal so that it needs no serialization functions; therefore anybody
 * can call the support functions with any array, and they trust nothing.
 */

/* The state's numbers and dimensions; errors if it is not a state. */
float8 *
vec_avg_state(ArrayType *state, const char *caller, int *dim)
{
	float8	   *values = (float8 *) ARR_DATA_PTR(state);

	if (ARR_NDIM(state) != 1 ||
		ARR_DIMS(state)[0] < 1 ||
		ARR_HASNULL(state) ||
		ARR_ELEMTYPE(state) != FLOAT8OID ||
		!(values[0] >= 0 && values[0] <= DBL_MAX))
		elog(ERROR, "%s: expected state array", caller);
	*dim = ARR_DIMS(state)[0] - 1;
	return values;
}

/* A state of no rows with room for dim sums. */
ArrayType *
vec_avg_state_alloc(int dim)
{
	return vec_array_alloc(FLOAT8OID, sizeof(float8), dim + 1);
}
