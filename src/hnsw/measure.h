/*-------------------------------------------------------------------------
 *
 * measure.h
 *		Measuring what scans of an index find.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_MEASURE_H
#define PIRAMID_HNSW_MEASURE_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/portal.h"

#include "hnsw/scan.h"

/* Most queries, and most rows that each may ask for */
#define HNSW_MEASURED_QUERIES 10000
#define HNSW_MEASURED_ROWS 10000

/* Queries of an index, and the true answers.  Lives in SPI's memory. */
typedef struct HnswMeasure
{
	Relation	rel;
	HnswIndex  *index;
	HnswValue  *value;
	Oid			type;			/* of the indexed values */
	FmgrInfo	distance;
	/* parts of SQL statements */
	const char *table;
	const char *vector;
	const char *ordering;		/* the distance from $1 */
	const char *condition;
	/* queries */
	bool		masked;			/* they are rows of the table: searches pass over their nodes */
	int			n;
	Datum	   *queries;
	HnswOwn    *own;			/* masked: what the index stores of them */
	/* the true answers: distances, ascending */
	int			k;
	double	   *truth;			/* k for each query, */
	int		   *ntruth;			/* of which there are so many */
} HnswMeasure;

/* What one search found */
typedef struct HnswTrialResult
{
	double		recall;			/* NaN: there is nothing to be found */
	double		ms;
	double		nodes;			/* read */
	double		width;			/* 0: all nodes were read */
} HnswTrialResult;

/* functions in measure.c */
extern HnswMeasure *hnsw_measure_open(Oid index, const char *filter);
extern void hnsw_measure_close(HnswMeasure *measure);
extern void hnsw_measure_rows(HnswMeasure *measure, int n);
extern void hnsw_measure_check_type(const HnswMeasure *measure, Oid type);
extern void hnsw_measure_queries(HnswMeasure *measure, ArrayType *queries);
extern void hnsw_measure_truth(HnswMeasure *measure, int k);
extern void hnsw_measure_search(HnswMeasure *measure, int k, int width, int n,
								HnswTrialResult *results);
extern void hnsw_measure_range(HnswMeasure *measure, Datum *arguments,
							   uint64 (*give) (Portal portal, ReturnSetInfo *result),
							   ReturnSetInfo *result);
extern double hnsw_measure_exact(HnswMeasure *measure, int k);

#endif							/* PIRAMID_HNSW_MEASURE_H */
