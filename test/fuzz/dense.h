/*-------------------------------------------------------------------------
 *
 * dense.h
 *		A dense vector type under test: instantiate by defining the parameters
 *		below and including this file.
 *
 *	DENSE_PREFIX		the type's name
 *	DENSE_STRUCT		its struct
 *	DENSE_MAX_DIM		most dimensions of a value
 *	DENSE_TO_FLOAT(e)	element to float
 *	DENSE_CASTS			functions of casts to other types, in braces
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <math.h>

#include "distance/distance.h"
#include "fuzz.h"
#include "utils/array.h"
#include "utils/varbit.h"

#define DENSE_CONCAT_(a, b) a##_##b
#define DENSE_CONCAT(a, b) DENSE_CONCAT_(a, b)
#define DENSE_FN(name) DENSE_CONCAT(DENSE_PREFIX, name)
#define DENSE_STRING_(a) #a
#define DENSE_STRING(a) DENSE_STRING_(a)

#define DECLARE(name) extern Datum DENSE_FN(name) (PG_FUNCTION_ARGS)

DECLARE(in);
DECLARE(out);
DECLARE(recv);
DECLARE(send);
DECLARE(typmod_in);
DECLARE(typmod_cast);
DECLARE(from_array);
DECLARE(to_float4_array);
DECLARE(dims);
DECLARE(norm);
DECLARE(l2_normalize);
DECLARE(binary_quantize);
DECLARE(subvector);
DECLARE(concat);
DECLARE(add);
DECLARE(sub);
DECLARE(mul);
DECLARE(lt);
DECLARE(le);
DECLARE(eq);
DECLARE(ne);
DECLARE(ge);
DECLARE(gt);
DECLARE(cmp);
DECLARE(accum);
DECLARE(avg);
DECLARE(l2_distance);
DECLARE(l2_squared_distance);
DECLARE(inner_product);
DECLARE(negative_inner_product);
DECLARE(cosine_distance);
DECLARE(spherical_distance);
DECLARE(l1_distance);

static void
check(Datum value)
{
	DENSE_STRUCT *a = (DENSE_STRUCT *) DatumGetPointer(value);

	REQUIRE(a->dim >= 1 && a->dim <= DENSE_MAX_DIM);
	REQUIRE(a->unused == 0);
	REQUIRE(VARSIZE(a) == offsetof(DENSE_STRUCT, x) + sizeof(a->x[0]) * a->dim);
	for (int i = 0; i < a->dim; i++)
		REQUIRE(isfinite(DENSE_TO_FLOAT(a->x[i])));
}

static int
dims_of(Datum value)
{
	return ((DENSE_STRUCT *) DatumGetPointer(value))->dim;
}

static void
one(Datum value, int32 x, int32 y)
{
	static const PGFunction casts[] = DENSE_CASTS;
	int			dim = dims_of(value);
	Outcome		outcome = CALL1(DENSE_FN(to_float4_array), value);

	REQUIRE(ARR_DIMS(DatumGetArrayTypeP(outcome.value))[0] == dim);
	outcome = CALL3(DENSE_FN(from_array), outcome.value, dim, true);
	REQUIRE(!outcome.failed);
	REQUIRE(DatumGetInt32(CALL2(DENSE_FN(cmp), outcome.value, value).value) == 0);

	REQUIRE(DatumGetInt32(CALL1(DENSE_FN(dims), value).value) == dim);
	REQUIRE(isfinite(DatumGetFloat8(CALL1(DENSE_FN(norm), value).value)));
	check_value(CALL1(DENSE_FN(l2_normalize), value).value);

	outcome = CALL1(DENSE_FN(binary_quantize), value);
	REQUIRE(VARBITLEN(DatumGetPointer(outcome.value)) == dim);
	REQUIRE(allocated_size(DatumGetPointer(outcome.value)) == VARBITTOTALLEN(dim));

	outcome = CALL3(DENSE_FN(subvector), value, x, y);
	if (!outcome.failed)
		check_value(outcome.value);
	outcome = CALL3(DENSE_FN(subvector), value, x % (dim + 2), y % (dim + 2));
	if (!outcome.failed)
		check_value(outcome.value);

	/* Casts may fail, but only as they should; sparsevec's program goes back. */
	for (int i = 0; i < lengthof(casts); i++)
		CALL3(casts[i], value, -1, true);
	REQUIRE(CALL3(casts[0], value, dim + 1, true).failed);
}

static void
two(Datum a, Datum b)
{
	static const PGFunction distances[] = {
		DENSE_FN(l2_distance), DENSE_FN(l2_squared_distance), DENSE_FN(l1_distance),
		DENSE_FN(inner_product), DENSE_FN(negative_inner_product),
		DENSE_FN(cosine_distance), DENSE_FN(spherical_distance)
	};
	static const PGFunction arithmetic[] = {
		DENSE_FN(add), DENSE_FN(sub), DENSE_FN(mul), DENSE_FN(concat)
	};
	bool		same_dim = dims_of(a) == dims_of(b);

	for (int i = 0; i < lengthof(arithmetic); i++)
	{
		Outcome		outcome = CALL2(arithmetic[i], a, b);

		if (!outcome.failed)
			check_value(outcome.value);
	}
	for (int level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		if (!distance_use_level(level))
			continue;
		for (int i = 0; i < lengthof(distances); i++)
		{
			Outcome		outcome = CALL2(distances[i], a, b);
			double		d = DatumGetFloat8(outcome.value);

			REQUIRE(outcome.failed == !same_dim);
			if (outcome.failed)
				continue;
			if (i < 3)
				REQUIRE(d >= 0);
			else if (distances[i] == DENSE_FN(cosine_distance))
				REQUIRE(isnan(d) || (d >= 0 && d <= 2));
			else if (distances[i] == DENSE_FN(spherical_distance))
				REQUIRE(isnan(d) || (d >= 0 && d <= 1));
		}
	}
	distance_use_level(distance_best_level());
}

const FuzzType fuzz_type = {
	.name = DENSE_STRING(DENSE_PREFIX),
	.in = DENSE_FN(in),
	.out = DENSE_FN(out),
	.recv = DENSE_FN(recv),
	.send = DENSE_FN(send),
	.typmod_in = DENSE_FN(typmod_in),
	.typmod_cast = DENSE_FN(typmod_cast),
	.from_array = DENSE_FN(from_array),
	.accum = DENSE_FN(accum),
	.avg = DENSE_FN(avg),
	.cmp = DENSE_FN(cmp),
	.compare = {DENSE_FN(lt), DENSE_FN(le), DENSE_FN(eq), DENSE_FN(ne),
	DENSE_FN(ge), DENSE_FN(gt)},
	.check = check,
	.one = one,
	.two = two
};
