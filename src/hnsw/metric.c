/*-------------------------------------------------------------------------
 *
 * metric.c
 *		The table of metrics, and how operator classes name them.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/metric.h"

#include "distance/distance.h"
#include "fmgr.h"

static float
l2sq(int n, const float *a, const float *b)
{
	return distance->l2sq(n, a, b);
}

static float
l1(int n, const float *a, const float *b)
{
	return distance->l1(n, a, b);
}

/* Of two vectors of 0 and 1 */
static float
jaccard(int n, const float *a, const float *b)
{
	float		both = distance->ip(n, a, b);
	float		either = distance->normsq(n, a) + distance->normsq(n, b) - both;

	return either > 0 ? 1 - both / either : 1;
}

/*
 * Slack: EVIDENCE.md, "Diversity of links".  L1 distances differ less from each
 * other than Euclidean ones, and nearly everything would be dropped.  Jaccard distances of unlike rows
 * are nearly 1, and the few links that lead from one kind of row to another
 * need the room.
 */
static const HnswMetricInfo metrics[] = {
	[HNSW_L2] = {
		.name = "l2", .euclidean = true,
		.slack = PARTITION_SLACK, .partition = PARTITION_L2, .distance = l2sq
	},
	[HNSW_IP] = {
		.name = "ip", .euclidean = true, .lifted = true,
		.slack = PARTITION_SLACK, .partition = PARTITION_L2, .distance = l2sq
	},
	[HNSW_COSINE] = {
		.name = "cosine", .euclidean = true, .unit = true,
		.slack = PARTITION_SLACK, .partition = PARTITION_L2, .distance = l2sq
	},
	[HNSW_L1] = {
		.name = "l1", .absolute = true,
		.slack = 1.4f, .partition = PARTITION_L1, .distance = l1
	},
	[HNSW_HAMMING] = {
		/* of 0 and 1, the squared Euclidean distance is Hamming's */
		.name = "hamming", .bits = true,
		.slack = PARTITION_SLACK, .partition = PARTITION_L2, .distance = l2sq
	},
	[HNSW_JACCARD] = {
		.name = "jaccard", .bits = true,
		.slack = 1, .partition = PARTITION_JACCARD, .distance = jaccard
	},
};

/* Is the number one of a metric?  It may come from a damaged page. */
bool
hnsw_metric_exists(int metric)
{
	return metric >= 0 && metric < lengthof(metrics) && metrics[metric].name != NULL;
}

const HnswMetricInfo *
hnsw_metric_info(HnswMetric metric)
{
	Assert(hnsw_metric_exists(metric));
	return &metrics[metric];
}

/* Support function 2 of the operator classes, one for each metric */
#define METRIC_FUNCTION(name, metric) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		PG_RETURN_INT32(metric); \
	} \
	extern int no_such_variable

METRIC_FUNCTION(hnsw_l2_metric, HNSW_L2);
METRIC_FUNCTION(hnsw_ip_metric, HNSW_IP);
METRIC_FUNCTION(hnsw_cosine_metric, HNSW_COSINE);
METRIC_FUNCTION(hnsw_l1_metric, HNSW_L1);
METRIC_FUNCTION(hnsw_hamming_metric, HNSW_HAMMING);
METRIC_FUNCTION(hnsw_jaccard_metric, HNSW_JACCARD);
