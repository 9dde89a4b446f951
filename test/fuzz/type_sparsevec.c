/*-------------------------------------------------------------------------
 *
 * type_sparsevec.c
 *		sparsevec under test.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include <math.h>

#include "fuzz.h"
#include "type/halfvec.h"
#include "type/sparsevec.h"
#include "type/vector.h"

#define DECLARE(name) extern Datum name(PG_FUNCTION_ARGS)

DECLARE(sparsevec_in);
DECLARE(sparsevec_out);
DECLARE(sparsevec_recv);
DECLARE(sparsevec_send);
DECLARE(sparsevec_typmod_in);
DECLARE(sparsevec_typmod_cast);
DECLARE(sparsevec_from_array);
DECLARE(sparsevec_to_vector);
DECLARE(sparsevec_to_halfvec);
DECLARE(vector_to_sparsevec);
DECLARE(vector_cmp);
DECLARE(halfvec_to_sparsevec);
DECLARE(sparsevec_l2_norm);
DECLARE(sparsevec_l2_normalize);
DECLARE(sparsevec_lt);
DECLARE(sparsevec_le);
DECLARE(sparsevec_eq);
DECLARE(sparsevec_ne);
DECLARE(sparsevec_ge);
DECLARE(sparsevec_gt);
DECLARE(sparsevec_cmp);
DECLARE(sparsevec_l2_distance);
DECLARE(sparsevec_l2_squared_distance);
DECLARE(sparsevec_inner_product);
DECLARE(sparsevec_negative_inner_product);
DECLARE(sparsevec_cosine_distance);
DECLARE(sparsevec_l1_distance);

static SparseVector *
sparsevec_of(Datum value)
{
	return (SparseVector *) DatumGetPointer(value);
}

static void
check(Datum value)
{
	SparseVector *a = sparsevec_of(value);

	REQUIRE(a->dim >= 1 && a->dim <= SPARSEVEC_MAX_DIM);
	REQUIRE(a->nnz >= 0 && a->nnz <= SPARSEVEC_MAX_NNZ && a->nnz <= a->dim);
	REQUIRE(a->unused == 0);
	REQUIRE(VARSIZE(a) == SPARSEVEC_SIZE(a->nnz));
	for (int i = 0; i < a->nnz; i++)
	{
		REQUIRE(a->indices[i] > (i > 0 ? a->indices[i - 1] : -1));
		REQUIRE(a->indices[i] < a->dim);
		REQUIRE(isfinite(SPARSEVEC_VALUES(a)[i]) && SPARSEVEC_VALUES(a)[i] != 0);
	}
}

static void
one(Datum value, int32 x, int32 y)
{
	Outcome		outcome;

	REQUIRE(isfinite(DatumGetFloat8(CALL1(sparsevec_l2_norm, value).value)));
	check_value(CALL1(sparsevec_l2_normalize, value).value);

	REQUIRE(CALL3(sparsevec_to_vector, value, sparsevec_of(value)->dim + 1, true).failed);
	outcome = CALL3(sparsevec_to_vector, value, -1, true);
	REQUIRE(outcome.failed == (sparsevec_of(value)->dim > VECTOR_MAX_DIM));
	if (!outcome.failed)
	{
		outcome = CALL3(vector_to_sparsevec, outcome.value, -1, true);
		REQUIRE(DatumGetInt32(CALL2(sparsevec_cmp, outcome.value, value).value) == 0);
		check_value(outcome.value);
	}
	outcome = CALL3(sparsevec_to_halfvec, value, -1, true);
	if (!outcome.failed)
		check_value(CALL3(halfvec_to_sparsevec, outcome.value, -1, true).value);
}

/* Sparse vectors are ordered as the dense ones. */
static void
check_dense_order(Datum a, Datum b)
{
	Outcome		x = CALL3(sparsevec_to_vector, a, -1, true);
	Outcome		y = CALL3(sparsevec_to_vector, b, -1, true);

	if (!x.failed && !y.failed)
		REQUIRE(DatumGetInt32(CALL2(vector_cmp, x.value, y.value).value) ==
				DatumGetInt32(CALL2(sparsevec_cmp, a, b).value));
}

/* The element at an index, found without any cleverness. */
static double
element(const SparseVector *a, int index)
{
	for (int i = 0; i < a->nnz; i++)
	{
		if (a->indices[i] == index)
			return SPARSEVEC_VALUES(a)[i];
	}
	return 0;
}

/* Distances are the sums over all indices, but for rounding. */
static void
check_distances(Datum a, Datum b)
{
	const SparseVector *x = sparsevec_of(a);
	const SparseVector *y = sparsevec_of(b);
	double		l2sq = 0;
	double		l1 = 0;
	double		ip = 0;
	double		size = 0;

	for (int side = 0; side < 2; side++)
	{
		const SparseVector *v = side == 0 ? x : y;

		for (int i = 0; i < v->nnz; i++)
		{
			double		p = element(x, v->indices[i]);
			double		q = element(y, v->indices[i]);

			if (side == 1 && p != 0)
				continue;		/* seen on the other side */
			l2sq += (p - q) * (p - q);
			l1 += fabs(p - q);
			ip += p * q;
			size += fabs(p * q);
		}
	}
	/* Beyond float the distances are infinite; near its ends, anything. */
	if (l2sq < 1e37)
		REQUIRE(fabs(DatumGetFloat8(CALL2(sparsevec_l2_squared_distance, a, b).value) - l2sq) <=
				1e-6 * l2sq + 1e-44);
	if (l1 < 1e37)
		REQUIRE(fabs(DatumGetFloat8(CALL2(sparsevec_l1_distance, a, b).value) - l1) <=
				1e-6 * l1 + 1e-44);
	if (size < 1e37)
		REQUIRE(fabs(DatumGetFloat8(CALL2(sparsevec_inner_product, a, b).value) - ip) <=
				1e-6 * size + 1e-44);
}

static void
two(Datum a, Datum b)
{
	static const PGFunction distances[] = {
		sparsevec_l2_distance, sparsevec_l2_squared_distance,
		sparsevec_l1_distance, sparsevec_inner_product,
		sparsevec_negative_inner_product, sparsevec_cosine_distance
	};

	check_dense_order(a, b);
	if (sparsevec_of(a)->dim == sparsevec_of(b)->dim)
		check_distances(a, b);
	for (int i = 0; i < lengthof(distances); i++)
	{
		Outcome		outcome = CALL2(distances[i], a, b);
		double		d = DatumGetFloat8(outcome.value);

		REQUIRE(outcome.failed == (sparsevec_of(a)->dim != sparsevec_of(b)->dim));
		if (outcome.failed)
			continue;
		REQUIRE(!isnan(d) || distances[i] == sparsevec_cosine_distance);
		if (i < 3)
			REQUIRE(d >= 0);
		if (distances[i] == sparsevec_cosine_distance)
			REQUIRE(isnan(d) || (d >= 0 && d <= 2));
	}
}

const FuzzType fuzz_type = {
	.name = "sparsevec",
	.in = sparsevec_in,
	.out = sparsevec_out,
	.recv = sparsevec_recv,
	.send = sparsevec_send,
	.typmod_in = sparsevec_typmod_in,
	.typmod_cast = sparsevec_typmod_cast,
	.from_array = sparsevec_from_array,
	.cmp = sparsevec_cmp,
	.compare = {sparsevec_lt, sparsevec_le, sparsevec_eq, sparsevec_ne,
	sparsevec_ge, sparsevec_gt},
	.check = check,
	.one = one,
	.two = two
};
