/*-------------------------------------------------------------------------
 *
 * partition_pivots.c
 *		A rough division of the space, for rows that do not fit into memory
 *		together: k-means of a sample.
 *
 *-------------------------------------------------------------------------
 */
#include <float.h>
#include <math.h>

#include "distance/distance.h"
#include "partition/partition_build.h"

/* Rounds of Lloyd's algorithm; the cells hardly change after these. */
#define ROUNDS 8

/* Products of some rows with all pivots, or their L1 distances. */
static void
multiply(const PartitionPivots *pivots, int count, const int8 *vectors)
{
	ByteRows	rows = {count, vectors, pivots->stride};
	ByteRows	all = {pivots->n, pivots->vectors, pivots->stride};

	if (partition_metrics[pivots->metric].absolute)
		distance->i8_l1_matrix(pivots->stride, rows, all, pivots->products, pivots->n);
	else
		distance->i8_dot_matrix(pivots->stride, rows, all, pivots->products, pivots->n);
}

static void
compute_pivot_norms(PartitionPivots *pivots)
{
	for (int p = 0; p < pivots->n; p++)
	{
		const int8 *v = pivots->vectors + (Size) p * pivots->stride;

		pivots->norms[p] = distance->i8_dot(pivots->stride, v, v);
	}
}

/*
 * Find the "nearest" nearest pivots of each of at most PARTITION_BLOCK rows.
 * The margin of one is how much further it is than the first: of Euclidean
 * distances, that from the plane between them.
 */
void
partition_nearest(PartitionPivots *pivots, int count, const int8 *vectors, int nearest,
				  uint16 *which, float *margins)
{
	bool		euclidean = partition_metrics[pivots->metric].euclidean;
	int32		best[PARTITION_NEAREST];

	Assert(count <= PARTITION_BLOCK && nearest <= PARTITION_NEAREST && nearest <= pivots->n);
	multiply(pivots, count, vectors);
	for (int i = 0; i < count; i++, which += nearest, margins += nearest)
	{
		const int32 *products = pivots->products + (Size) i * pivots->n;
		const int8 *v = vectors + (Size) i * pivots->stride;
		int32		norm = distance->i8_dot(pivots->stride, v, v);
		int			found = 0;

		for (int p = 0; p < pivots->n; p++)
		{
			int32		dist = mean_distance(pivots->metric, products[p], norm, pivots->norms[p]);
			int			at;

			if (found == nearest && dist >= best[nearest - 1])
				continue;
			at = found < nearest ? found++ : nearest - 1;
			for (; at > 0 && best[at - 1] > dist; at--)
			{
				best[at] = best[at - 1];
				which[at] = which[at - 1];
			}
			best[at] = dist;
			which[at] = p;
		}
		for (int j = 0; j < nearest; j++)
		{
			margins[j] = (float) best[j] - best[0];
			if (euclidean && j > 0)
				margins[j] /= 2 * sqrtf(1.0f + distance->i8_l2sq(pivots->stride,
																 pivots->vectors + (Size) which[0] * pivots->stride,
																 pivots->vectors + (Size) which[j] * pivots->stride));
		}
	}
}

/* Move each pivot to the mean of its rows. */
static void
move_pivots(PartitionPivots *pivots, const double *sums, const uint32 *counts)
{
	int			scale = partition_metrics[pivots->metric].mean_scale;

	for (int p = 0; p < pivots->n; p++)
		for (int j = 0; j < pivots->stride && counts[p] > 0; j++)
			pivots->vectors[(Size) p * pivots->stride + j] =
				(int8) rint(sums[(Size) p * pivots->stride + j] * scale / counts[p]);
	compute_pivot_norms(pivots);
}

/*
 * Divide a sample of n rows, at least npivots of them, by k-means.
 */
PartitionPivots *
partition_pivots(uint32 n, const int8 *vectors, int stride, const PartitionParams *params,
				 int npivots)
{
	PartitionPivots *pivots = palloc0(sizeof(PartitionPivots));
	double	   *sums = partition_alloc(sizeof(double) * npivots * stride);
	uint32	   *counts = palloc(sizeof(uint32) * npivots);

	Assert(npivots >= 1 && npivots <= n);
	pivots->n = npivots;
	pivots->stride = stride;
	pivots->metric = params->metric;
	pivots->vectors = partition_alloc((Size) npivots * stride);
	pivots->norms = palloc(sizeof(int32) * npivots);
	pivots->products = partition_alloc(sizeof(int32) * npivots * PARTITION_BLOCK);
	for (int p = 0; p < npivots; p++)
		for (int j = 0; j < stride; j++)
			pivots->vectors[(Size) p * stride + j] =
				vectors[(Size) p * n / npivots * stride + j] *
				partition_metrics[params->metric].mean_scale;
	compute_pivot_norms(pivots);

	for (int round = 0; round < ROUNDS; round++)
	{
		memset(sums, 0, sizeof(double) * npivots * stride);
		memset(counts, 0, sizeof(uint32) * npivots);
		for (uint32 start = 0; start < n; start += PARTITION_BLOCK)
		{
			int			count = Min(PARTITION_BLOCK, n - start);
			uint16		which[PARTITION_BLOCK];
			float		margins[PARTITION_BLOCK];

			if (params->progress != NULL)
				params->progress(params->progress_arg, 0);
			partition_nearest(pivots, count, vectors + (Size) start * stride, 1, which, margins);
			for (int i = 0; i < count; i++)
			{
				const int8 *v = vectors + (Size) (start + i) * stride;
				double	   *sum = sums + (Size) which[i] * stride;

				counts[which[i]]++;
				for (int j = 0; j < stride; j++)
					sum[j] += v[j];
			}
		}
		move_pivots(pivots, sums, counts);
	}
	pfree(sums);
	pfree(counts);
	return pivots;
}

void
partition_pivots_free(PartitionPivots *pivots)
{
	pfree(pivots->vectors);
	pfree(pivots->norms);
	pfree(pivots->products);
	pfree(pivots);
}
