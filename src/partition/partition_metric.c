/*-------------------------------------------------------------------------
 *
 * partition_metric.c
 *		The table of metrics.
 *
 *-------------------------------------------------------------------------
 */
#include "partition/partition_build.h"

/*
 * Means of vectors of 0 and 1 would be 0 or 1 as int8: they are multiplied by
 * the largest one.
 */
const PartitionMetricInfo partition_metrics[] = {
	[PARTITION_L2] = {.euclidean = true, .mean_scale = 1},
	[PARTITION_L1] = {.absolute = true, .mean_scale = 1},
	[PARTITION_JACCARD] = {.flat = true, .mean_scale = PG_INT8_MAX},
};
