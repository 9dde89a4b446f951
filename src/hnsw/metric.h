/*-------------------------------------------------------------------------
 *
 * metric.h
 *		The table of metrics: what each asks of the graph.
 *
 * To add a metric: a value of HnswMetric (hnsw_page.h), a row here (metric.c),
 * its keys and their bounds (bounds.c).  The switches there have no default, so
 * that the compiler names each that lacks the new metric.  Nobody else asks
 * which metric it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_METRIC_H
#define PIRAMID_HNSW_METRIC_H

#include "postgres.h"

#include "hnsw/hnsw_page.h"
#include "partition/partition.h"

typedef struct HnswMetricInfo
{
	const char *name;			/* as piramid_hnsw_info tells it */
	bool		bits;			/* of bit strings; else of vectors of numbers */
	bool		euclidean;		/* the graph's distances are Euclidean, and squared: nodes
								 * may have codes, and vectors may be rotated */
	bool		unit;			/* rows count at unit length; zero vectors have no place */
	bool		lifted;			/* the graph's space has one more coordinate, see
								 * hnsw_extra; distances may be negative */
	bool		absolute;		/* lengths and errors are sums of absolute values; else
								 * Euclidean */

	/*
	 * Diversity of links: u-v is dropped if a kept w has slack * d(v, w) <
	 * d(u, v), with d as the graph has it.
	 */
	float		slack;
	PartitionMetric partition;	/* of rows as int8, for CREATE INDEX */
	/* The graph's distance of two vectors of n numbers, but for "lifted" */
	float		(*distance) (int n, const float *a, const float *b);
} HnswMetricInfo;

/* functions in metric.c */
extern bool hnsw_metric_exists(int metric);
extern const HnswMetricInfo *hnsw_metric_info(HnswMetric metric);

#endif							/* PIRAMID_HNSW_METRIC_H */
