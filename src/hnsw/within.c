/*-------------------------------------------------------------------------
 *
 * within.c
 *		piramid_within: all rows up to a distance, by the index.
 *
 * A condition on a distance alone never makes the planner use an index, and must not:
 * its answer would no longer be exact.  Whoever calls this function accepts that.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/measure.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Rows that are fetched at a time */
#define FETCHED_ROWS 1000

/* Store the rows that a statement gives, with their distances; returns how many. */
static uint64
return_rows(Portal portal, ReturnSetInfo *result)
{
	uint64		rows = 0;
	uint64		fetched;

	do
	{
		SPI_cursor_fetch(portal, true, FETCHED_ROWS);
		fetched = SPI_processed;
		rows += fetched;
		for (uint64 i = 0; i < fetched; i++)
		{
			Datum		values[2];
			bool		nulls[2];

			for (int column = 0; column < 2; column++)
				values[column] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
											   column + 1, &nulls[column]);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (fetched > 0);
	return rows;
}

/* piramid_within(index, query, radius, filter): runs as its caller. */
PG_FUNCTION_INFO_V1(piramid_within);
Datum
piramid_within(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	HnswMeasure *measure;
	Datum		arguments[2];
	double		radius;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	radius = PG_GETARG_FLOAT8(2);
	if (isnan(radius))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("radius must not be NaN"),
				 errhint("The radius is a distance by the operator of the index's operator class.")));

	SPI_connect();
	measure = hnsw_measure_open(PG_GETARG_OID(0),
								PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	hnsw_measure_check_type(measure, type);
	arguments[0] = PG_GETARG_DATUM(1);
	arguments[1] = Float8GetDatum(radius);
	hnsw_measure_range(measure, arguments, return_rows, (ReturnSetInfo *) fcinfo->resultinfo);
	hnsw_measure_close(measure);
	SPI_finish();
	return (Datum) 0;
}
