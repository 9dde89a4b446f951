/*-------------------------------------------------------------------------
 *
 * test_partition_pivots.c
 *		The partition builder: pivots, which divide rows by distance.
 *
 *-------------------------------------------------------------------------
 */
#include "partition_fixture.h"

/* Pivots divide rows by distance, and know how near the border each is. */
static void
test_pivots(void)
{
	const uint32 n = 3000;
	const int	npivots = 10;
	PartitionParams params = {.degree = 16, .quality = 64};
	int8	   *vectors = clustered(n, 64, 64, 20, 60, 30);

	for (int metric = PARTITION_L2; metric <= PARTITION_JACCARD; metric++)
	{
		PartitionPivots *pivots;
		Size		before = live_bytes;
		int			wrong = 0;
		int			unordered = 0;

		if (metric == PARTITION_JACCARD)
		{
			free(vectors);
			vectors = clustered_bits(n, 64, 20);
		}
		params.metric = metric;
		pivots = partition_pivots(n, vectors, 64, &params, npivots);
		for (uint32 row = 0; row < n; row++)
		{
			const int8 *v = vectors + row * 64;
			uint16		which[PARTITION_NEAREST];
			float		margins[PARTITION_NEAREST];
			double		dist[10];

			partition_nearest(pivots, 1, v, PARTITION_NEAREST, which, margins);
			for (int p = 0; p < npivots; p++)
				dist[p] = metric == PARTITION_JACCARD ?
					tanimoto(64, v, 1, pivots->vectors + p * 64, 1.0 / PG_INT8_MAX) :
					row_distance(metric, 64, v, pivots->vectors + p * 64);
			for (int p = 0; p < npivots; p++)
				wrong += p != which[0] && p != which[1] && p != which[2] &&
					dist[p] < dist[which[2]] - 1e-6;
			unordered += dist[which[0]] > dist[which[1]] + 1e-6 ||
				dist[which[1]] > dist[which[2]] + 1e-6 ||
				margins[0] != 0 || margins[1] < 0 || margins[2] < 0;
			if (metric == PARTITION_L1)
				unordered += margins[1] != dist[which[1]] - dist[which[0]];
		}
		ok(wrong == 0, "metric %d: the nearest pivots of all rows", metric);
		ok(unordered == 0, "metric %d: in order, with margins", metric);
		partition_pivots_free(pivots);
		ok(live_bytes == before, "metric %d: pivots leave no memory", metric);
	}
	free(vectors);
}

int
main(void)
{
	test_pivots();
	return done_testing();
}
