/*-------------------------------------------------------------------------
 *
 * distance_mmr_sql.c
 *		piramid_mmr(): results that are near the query and unlike each other.
 *
 * Maximal marginal relevance (Carbonell and Goldstein, 1998) takes, one after
 * another, the candidate with the greatest
 *
 *	lambda * cos(query, candidate) - (1 - lambda) * max cos(candidate, taken)
 *
 * where the maximum is 0 as long as none is taken.  Of equal ones, the first in
 * the array is taken.  That is one cosine for each candidate and each that is
 * taken: O(candidates * k) in all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#define RESULT_COLUMNS 2

typedef struct Candidate
{
	Datum		value;			/* detoasted */
	bool		open;			/* not NULL, and not taken */
	double		relevance;		/* cosine to the query */
	double		likeness;		/* greatest cosine to one that is taken */
} Candidate;

/* The candidates and how they compare */
typedef struct Pool
{
	int			n;
	Candidate  *candidate;
	double		lambda;
	int			taken;
	PGFunction	cosine_distance;
} Pool;

/* Like nothing: where there is no angle, as for a zero vector, its cosine counts as 0. */
static double
cosine(const Pool *pool, Datum a, Datum b)
{
	double		distance = DatumGetFloat8(DirectFunctionCall2(pool->cosine_distance, a, b));

	return isnan(distance) ? 0 : 1 - distance;
}

static double
marginal_relevance(const Pool *pool, const Candidate *candidate)
{
	double		likeness = pool->taken > 0 ? candidate->likeness : 0;

	return pool->lambda * candidate->relevance - (1 - pool->lambda) * likeness;
}

static void
fill_pool(Pool *pool, Datum query, ArrayType *array)
{
	Oid			type = ARR_ELEMTYPE(array);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *values;
	bool	   *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("candidates must be an array of one dimension"),
				 errhint("array_agg(embedding) makes one.")));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &values, &nulls, &pool->n);
	pool->candidate = palloc(sizeof(Candidate) * Max(pool->n, 1));
	for (int i = 0; i < pool->n; i++)
	{
		Candidate  *candidate = &pool->candidate[i];

		CHECK_FOR_INTERRUPTS();
		*candidate = (Candidate) {.open = !nulls[i], .likeness = -INFINITY};
		if (nulls[i])
			continue;
		candidate->value = PointerGetDatum(PG_DETOAST_DATUM(values[i]));
		candidate->relevance = cosine(pool, query, candidate->value);
	}
}

/* Take the best candidate; -1 if none is left. */
static int
take(Pool *pool, double *score)
{
	int			best = -1;

	for (int i = 0; i < pool->n; i++)
	{
		double		mine;

		if (!pool->candidate[i].open)
			continue;
		mine = marginal_relevance(pool, &pool->candidate[i]);
		if (best < 0 || mine > *score)
		{
			best = i;
			*score = mine;
		}
	}
	if (best < 0)
		return best;
	pool->candidate[best].open = false;
	pool->taken++;
	for (int i = 0; i < pool->n; i++)
	{
		Candidate  *candidate = &pool->candidate[i];

		CHECK_FOR_INTERRUPTS();
		if (candidate->open)
			candidate->likeness = Max(candidate->likeness,
									  cosine(pool, candidate->value, pool->candidate[best].value));
	}
	return best;
}

/*
 * piramid_mmr(query, candidates, k, lambda): rows (place, score), the places
 * in the array (from 1) of up to k candidates in the order in which they are taken.
 * NULL candidates are never taken; lambda is from 0, all unlike, to 1, all near.
 */
static Datum
mmr(FunctionCallInfo fcinfo, PGFunction cosine_distance)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			k = PG_GETARG_INT32(2);
	Pool		pool = {.lambda = PG_GETARG_FLOAT8(3), .cosine_distance = cosine_distance};
	double		score;
	int			best;

	if (k < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of results must not be negative"),
				 errhint("k rows are taken, or all candidates if there are fewer.")));
	if (!(pool.lambda >= 0 && pool.lambda <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lambda must be between 0 and 1"),
				 errhint("1 takes the nearest candidates, 0 those that are least like each other.")));
	InitMaterializedSRF(fcinfo, 0);
	fill_pool(&pool, PointerGetDatum(PG_DETOAST_DATUM(PG_GETARG_DATUM(0))), PG_GETARG_ARRAYTYPE_P(1));
	while (pool.taken < k && (best = take(&pool, &score)) >= 0)
	{
		Datum		values[RESULT_COLUMNS] = {Int32GetDatum(best + 1), Float8GetDatum(score)};
		bool		nulls[RESULT_COLUMNS] = {false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

#define MMR(type) \
	extern Datum type##_cosine_distance(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(type##_mmr); \
	Datum type##_mmr(PG_FUNCTION_ARGS) { return mmr(fcinfo, type##_cosine_distance); }

MMR(vector)
MMR(halfvec)
MMR(sparsevec)
