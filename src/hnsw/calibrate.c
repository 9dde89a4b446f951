/*-------------------------------------------------------------------------
 *
 * calibrate.c
 *		piramid_calibrate: which recall searches of an index have, by their width;
 *		and what follows from it: piramid_recommend.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"
#include "hnsw/measure.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Rows that are asked with, and for a hundred nearest rows, which tell more, fewer */
#define CALIBRATION_QUERIES 200
#define FEWER_QUERIES 4

/* No wider search is tried after this recall. */
#define ENOUGH_RECALL 0.999

/* A calibration is old when the index has so many times the nodes. */
#define OLD_GROWTH 2

/* Rows asked for, and the widths that are tried; a search is at least twice as wide. */
static const int sizes[HNSW_RECALL_SIZES] = {1, 10, 100};
static const int widths[HNSW_RECALL_SIZES][HNSW_RECALL_POINTS] = {
	{2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100, 200},
	{20, 24, 28, 34, 40, 50, 64, 80, 110, 160, 250, 500},
	{200, 240, 280, 340, 400, 500, 640, 800, 1000, 1400, 2000, 3000}
};

/* The mean recall of n searches, its standard error, and the mean of the nodes read */
static bool
average(const HnswTrialResult *results, int n, HnswRecallPoint *point)
{
	double		sum = 0;
	double		squares = 0;
	double		nodes = 0;
	int			count = 0;

	for (int i = 0; i < n; i++)
	{
		if (isnan(results[i].recall))
			continue;
		sum += results[i].recall;
		squares += results[i].recall * results[i].recall;
		nodes += results[i].nodes;
		count++;
	}
	if (count == 0)
		return false;
	point->recall = (float) Min(sum / count, 1);
	point->error = (float) sqrt(Max(squares / count - (sum / count) * (sum / count), 0) / count);
	point->nodes = (float) (nodes / count);
	return true;
}

/* Search for so many rows, wider and wider. */
static void
calibrate_size(HnswMeasure *measure, int size, HnswRecallData *data)
{
	int			n = sizes[size] < 100 ? measure->n : (measure->n + FEWER_QUERIES - 1) / FEWER_QUERIES;
	HnswTrialResult *results = palloc0(sizeof(HnswTrialResult) * n);
	HnswRecallPoint *points = data->points[size];
	double		ms = 0;
	double		nodes = 0;

	for (int i = 0; i < HNSW_RECALL_POINTS; i++)
	{
		hnsw_measure_search(measure, sizes[size], widths[size][i], n, results);
		if (!average(results, n, &points[i]))
			ereport(ERROR,
					(errcode(ERRCODE_NO_DATA_FOUND),
					 errmsg("there is nothing for index \"%s\" to find",
							RelationGetRelationName(measure->rel)),
					 errdetail("All rows that it has are equal, or have no distance.")));
		points[i].width = widths[size][i];
		for (int j = 0; j < n; j++)
		{
			ms += isnan(results[j].recall) ? 0 : results[j].ms;
			nodes += isnan(results[j].recall) ? 0 : results[j].nodes;
		}
		if (points[i].recall >= ENOUGH_RECALL)
			break;
	}
	if (sizes[size] == 10)
		data->node_ms = (float) (ms / Max(nodes, 1));
	pfree(results);
}

/* Only the owner may change an index; and calibrate it where it can be changed. */
static void
check_may_calibrate(Oid oid)
{
	PreventCommandIfReadOnly("piramid_calibrate()");
	PreventCommandDuringRecovery("piramid_calibrate()");
	relation_close(hnsw_open_index(oid), NoLock);
	if (!is_relation_owner(oid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, get_rel_name(oid));
}

/* Measure an index, with rows (queries NULL) or given queries, and store what was found. */
static void
calibrate(Oid oid, ArrayType *queries, HnswRecallData *data)
{
	HnswMeasure *measure;
	HnswMetaPageData meta;
	int			level = NewGUCNestLevel();

	SPI_connect();
	/* Neither bounds the searches. */
	(void) set_config_option("hnsw.iterative_scan", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	measure = hnsw_measure_open(oid, NULL);
	if (measure->index->version < HNSW_KEY_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" has format version %u, which has no place for a calibration",
						RelationGetRelationName(measure->rel), measure->index->version),
				 errhint("REINDEX it.")));
	hnsw_meta_read(measure->rel, &meta);
	memset(data, 0, sizeof(*data));
	data->nodes = (uint32) Max(hnsw_node_room(measure->rel, &meta), 1);
	data->given = queries != NULL;
	if (queries == NULL)
		hnsw_measure_rows(measure, CALIBRATION_QUERIES);
	else
		hnsw_measure_queries(measure, queries);
	data->queries = measure->n;
	hnsw_measure_truth(measure, sizes[HNSW_RECALL_SIZES - 1]);
	for (int size = 0; size < HNSW_RECALL_SIZES; size++)
		calibrate_size(measure, size, data);
	hnsw_recall_write(measure->index, data);
	hnsw_measure_close(measure);
	SPI_finish();
	AtEOXact_GUC(false, level);
}

/* Return the points of a calibration, row by row. */
static void
return_points(FunctionCallInfo fcinfo, const HnswRecallData *data)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	for (int size = 0; size < HNSW_RECALL_SIZES; size++)
		for (int i = 0; i < HNSW_RECALL_POINTS && data->points[size][i].width != 0; i++)
		{
			const HnswRecallPoint *point = &data->points[size][i];
			Datum		values[5];
			bool		nulls[5] = {false};

			values[0] = Int32GetDatum(sizes[size]);
			values[1] = Int32GetDatum((int32) point->width);
			values[2] = Float4GetDatum(point->recall);
			values[3] = Float4GetDatum(point->error);
			values[4] = Float4GetDatum(point->nodes);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
}

/* piramid_calibrate(index): needs to own the index. */
PG_FUNCTION_INFO_V1(piramid_calibrate_rows);
Datum
piramid_calibrate_rows(PG_FUNCTION_ARGS)
{
	HnswRecallData data;

	InitMaterializedSRF(fcinfo, 0);
	check_may_calibrate(PG_GETARG_OID(0));
	calibrate(PG_GETARG_OID(0), NULL, &data);
	return_points(fcinfo, &data);
	return (Datum) 0;
}

/* piramid_calibrate(index, queries) */
PG_FUNCTION_INFO_V1(piramid_calibrate_queries);
Datum
piramid_calibrate_queries(PG_FUNCTION_ARGS)
{
	HnswRecallData data;

	InitMaterializedSRF(fcinfo, 0);
	check_may_calibrate(PG_GETARG_OID(0));
	calibrate(PG_GETARG_OID(0), PG_GETARG_ARRAYTYPE_P(1), &data);
	return_points(fcinfo, &data);
	return (Datum) 0;
}

/* Read the calibration of an index; false if it has none. */
static bool
read_calibration(Relation rel, HnswRecallData *data, double *nodes)
{
	HnswMetaPageData meta;

	hnsw_meta_read(rel, &meta);
	*nodes = hnsw_node_room(rel, &meta);
	return hnsw_recall_read(rel, &meta, data);
}

/* piramid_calibration(index): what piramid_calibrate has found; no row without it. */
PG_FUNCTION_INFO_V1(piramid_calibration);
Datum
piramid_calibration(PG_FUNCTION_ARGS)
{
	Relation	rel;
	HnswRecallData data;
	double		nodes;

	InitMaterializedSRF(fcinfo, 0);
	rel = hnsw_open_index(PG_GETARG_OID(0));
	if (read_calibration(rel, &data, &nodes))
		return_points(fcinfo, &data);
	relation_close(rel, AccessShareLock);
	return (Datum) 0;
}

/* What there is to say of a recommendation, or NULL */
static const char *
remark(const HnswRecallData *data, double nodes, double width, const HnswRecallPoint *point,
	   double target)
{
	if (nodes >= OLD_GROWTH * (double) data->nodes)
		return "The index has grown since it was calibrated: call piramid_calibrate again.";
	if (point->recall < target)
		return psprintf("The widest search that was measured has a recall of %.4f.", point->recall);
	if (width > HNSW_MAX_EF_SEARCH)
		return "hnsw.ef_search cannot be as large; hnsw.target_recall searches as wide.";
	return NULL;
}

/* piramid_recommend(index, target, k): how wide to search, and what that costs */
PG_FUNCTION_INFO_V1(piramid_recommend);
Datum
piramid_recommend(PG_FUNCTION_ARGS)
{
	double		target = PG_GETARG_FLOAT8(1);
	int			k = PG_GETARG_INT32(2);
	Relation	rel;
	TupleDesc	desc;
	Datum		values[6];
	bool		nulls[6] = {false};
	HnswRecallData data;
	HnswRecallPoint point;
	const char *note;
	double		nodes;
	double		width;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	if (!(target > 0 && target <= 1) || k < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("target must be above 0 and at most 1, and k at least 1"),
				 errhint("target is the recall to reach, such as 0.95, and k the LIMIT of the searches.")));
	rel = hnsw_open_index(PG_GETARG_OID(0));
	if (!read_calibration(rel, &data, &nodes))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not calibrated", RelationGetRelationName(rel)),
				 errhint("%s", hnsw_calibrate_hint(rel))));

	width = Max(hnsw_width_for(&data, nodes, target, k), 2.0 * k);
	point = hnsw_expected(&data, nodes, width, k);
	note = remark(&data, nodes, width, &point, target);
	values[0] = Int32GetDatum((int32) Min(width, PG_INT32_MAX));
	values[1] = Float8GetDatum(point.recall);
	values[2] = Float8GetDatum(point.nodes);
	values[3] = Float8GetDatum(point.nodes * data.node_ms);
	values[4] = Int64GetDatum((int64) RelationGetNumberOfBlocks(rel) * BLCKSZ);
	relation_close(rel, AccessShareLock);
	nulls[5] = note == NULL;
	values[5] = note == NULL ? (Datum) 0 : CStringGetTextDatum(note);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
