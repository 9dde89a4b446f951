/*-------------------------------------------------------------------------
 *
 * recall.c
 *		piramid_recall: which share of the true answers an index finds.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/measure.h"

#include "access/htup_details.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"

/* Resamples of the queries, and the share of their means that each bound leaves out */
#define RESAMPLES 1000
#define LEFT_OUT 0.025

/* The seed of resampling: the same queries give the same interval. */
#define RESAMPLING_SEED 42

/* The columns of piramid_recall */
typedef struct Recall
{
	double		mean;
	double		low;
	double		high;
	double		ms_index;
	double		ms_exact;
	double		width;
} Recall;

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* The value that half of n are below; sorts them. */
static double
median(double *values, int n)
{
	qsort(values, n, sizeof(double), compare_doubles);
	return values[n / 2];
}

/* Bounds of the mean of n values, 95% sure: by means of as many of them, drawn at random. */
static void
bootstrap(const double *values, int n, double *low, double *high)
{
	double	   *means = palloc0(sizeof(double) * RESAMPLES);
	pg_prng_state random;

	pg_prng_seed(&random, RESAMPLING_SEED);
	for (int i = 0; i < RESAMPLES; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < n; j++)
			means[i] += values[pg_prng_uint64_range(&random, 0, n - 1)];
		means[i] /= n;
	}
	qsort(means, RESAMPLES, sizeof(double), compare_doubles);
	*low = means[(int) (RESAMPLES * LEFT_OUT)];
	*high = means[RESAMPLES - 1 - (int) (RESAMPLES * LEFT_OUT)];
	pfree(means);
}

/* Ask for k rows by the index and without it. */
static void
measure_recall(HnswMeasure *measure, int k, Recall *recall)
{
	HnswTrialResult *results = palloc0(sizeof(HnswTrialResult) * measure->n);
	double	   *recalls = palloc(sizeof(double) * measure->n);
	double	   *ms = palloc(sizeof(double) * measure->n);
	double	   *widths = palloc(sizeof(double) * measure->n);
	double		sum = 0;
	int			n = 0;

	hnsw_measure_truth(measure, k);
	hnsw_measure_search(measure, k, 0, measure->n, results);
	for (int i = 0; i < measure->n; i++)
	{
		if (isnan(results[i].recall))
			continue;
		recalls[n] = results[i].recall;
		ms[n] = results[i].ms;
		widths[n] = results[i].width;
		sum += recalls[n++];
	}
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is nothing for index \"%s\" to find",
						RelationGetRelationName(measure->rel)),
				 errdetail("No row, but equal ones, passes the filter and has a distance.")));
	recall->mean = sum / n;
	bootstrap(recalls, n, &recall->low, &recall->high);
	recall->ms_index = median(ms, n);
	recall->width = median(widths, n);
	recall->ms_exact = hnsw_measure_exact(measure, k);
}

/* An argument that has to be from 1 to a limit. */
static int
positive_argument(FunctionCallInfo fcinfo, int i, const char *name, int most, const char *hint)
{
	int			value = PG_GETARG_INT32(i);

	if (value < 1 || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 1 and %d", name, most),
				 errhint("%s", hint)));
	return value;
}

/*
 * piramid_recall(index, queries, k, filter): queries are a number of rows to sample,
 * or an array of vectors.
 */
static Datum
recall_of(FunctionCallInfo fcinfo, bool sampled)
{
	TupleDesc	desc;
	Datum		values[6];
	bool		nulls[6] = {false};
	Recall		recall;
	HnswMeasure *measure;
	int			k;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	k = positive_argument(fcinfo, 2, "k", HNSW_MEASURED_ROWS,
						  "k is the LIMIT of the searches whose recall is measured.");

	SPI_connect();
	measure = hnsw_measure_open(PG_GETARG_OID(0),
								PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	if (sampled)
		hnsw_measure_rows(measure,
						  positive_argument(fcinfo, 1, "queries", HNSW_MEASURED_QUERIES,
											"So many rows are taken as queries; 100 is the default."));
	else
		hnsw_measure_queries(measure, PG_GETARG_ARRAYTYPE_P(1));
	measure_recall(measure, k, &recall);
	hnsw_measure_close(measure);
	SPI_finish();

	values[0] = Float8GetDatum(recall.mean);
	values[1] = Float8GetDatum(recall.low);
	values[2] = Float8GetDatum(recall.high);
	values[3] = Float8GetDatum(recall.ms_index);
	values[4] = Float8GetDatum(recall.ms_exact);
	nulls[5] = recall.width == 0;
	values[5] = Int32GetDatum((int32) recall.width);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

PG_FUNCTION_INFO_V1(piramid_recall_rows);
Datum
piramid_recall_rows(PG_FUNCTION_ARGS)
{
	return recall_of(fcinfo, true);
}

PG_FUNCTION_INFO_V1(piramid_recall_queries);
Datum
piramid_recall_queries(PG_FUNCTION_ARGS)
{
	return recall_of(fcinfo, false);
}
