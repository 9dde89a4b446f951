/*-------------------------------------------------------------------------
 *
 * partition_metric.h
 *		What differs by metric: distances made of products, and a table of the
 *		rest.
 *
 * To add a metric: a value of PartitionMetric (partition.h), a row in
 * partition_metric.c, and its cases here.  The switches have no default, so
 * that the compiler names each that lacks the new metric.  Nobody else asks
 * which metric it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_PARTITION_METRIC_H
#define PIRAMID_PARTITION_METRIC_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "partition/partition.h"

typedef struct PartitionMetricInfo
{
	bool		euclidean;		/* distances are Euclidean, and squared */
	bool		absolute;		/* the matrix kernel gives the distances, as sums of
								 * absolute values; else dot products */
	bool		flat;			/* unlike rows are all nearly equally far */
	int			mean_scale;		/* what elements of means are multiplied by */
} PartitionMetricInfo;

/* in partition_metric.c, by PartitionMetric */
extern const PartitionMetricInfo partition_metrics[];

/*
 * Candidates have integer distances: Jaccard's, from 0 to 1, in units that
 * float32 holds exactly.
 */
#define JACCARD_ONE 16777216.0f

/*
 * The distance of two rows from their product, as the matrix kernel gives it,
 * and their squared norms.
 */
static pg_attribute_always_inline int32
product_distance(PartitionMetric metric, int32 product, int32 norm_a, int32 norm_b)
{
	int32		differing = norm_a + norm_b - 2 * product;

	switch (metric)
	{
		case PARTITION_L2:
			return differing;
		case PARTITION_L1:
			return product;
		case PARTITION_JACCARD:
			return (int32) ((float) differing / Max((float) (differing + product), 1.0f) *
							JACCARD_ONE);
	}
	pg_unreachable();
}

#ifdef __SSE2__
/* Four such distances at once */
static pg_attribute_always_inline __m128i
product_distances(PartitionMetric metric, __m128i products, __m128i norms_a, __m128i norms_b)
{
	__m128i		differing = _mm_sub_epi32(_mm_add_epi32(norms_a, norms_b),
										  _mm_add_epi32(products, products));
	__m128		either;

	switch (metric)
	{
		case PARTITION_L2:
			return differing;
		case PARTITION_L1:
			return products;
		case PARTITION_JACCARD:
			either = _mm_max_ps(_mm_cvtepi32_ps(_mm_add_epi32(differing, products)),
								_mm_set1_ps(1));
			return _mm_cvttps_epi32(_mm_mul_ps(_mm_div_ps(_mm_cvtepi32_ps(differing), either),
											   _mm_set1_ps(JACCARD_ONE)));
	}
	pg_unreachable();
}
#endif

/*
 * The distance of a row from a mean of rows, whose elements are multiplied by
 * mean_scale, less what all means have in common.  Jaccard's is of vectors that
 * need not be 0 and 1 (Tanimoto's).
 */
static pg_attribute_always_inline int32
mean_distance(PartitionMetric metric, int32 product, int32 norm, int32 mean_norm)
{
	int			scale = partition_metrics[metric].mean_scale;
	float		scaled;
	float		norms;

	switch (metric)
	{
		case PARTITION_L2:
			return mean_norm - 2 * product;
		case PARTITION_L1:
			return product;
		case PARTITION_JACCARD:
			scaled = (float) product / scale;
			norms = norm + (float) mean_norm / (scale * scale);
			return (int32) ((norms - 2 * scaled) / Max(norms - scaled, 1.0f) * JACCARD_ONE);
	}
	pg_unreachable();
}

/*
 * Call an inline function whose last argument is a metric with a constant, so
 * that its loop is compiled for each.
 */
#define CALL_FOR_METRIC(metric, function, ...) \
	do { \
		switch (metric) \
		{ \
			case PARTITION_L2: \
				function(__VA_ARGS__, PARTITION_L2); \
				break; \
			case PARTITION_L1: \
				function(__VA_ARGS__, PARTITION_L1); \
				break; \
			case PARTITION_JACCARD: \
				function(__VA_ARGS__, PARTITION_JACCARD); \
				break; \
		} \
	} while (0)

#endif							/* PIRAMID_PARTITION_METRIC_H */
