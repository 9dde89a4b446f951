/*-------------------------------------------------------------------------
 *
 * measure.c
 *		Build time and graph quality of the partition builder, alone.
 *
 * usage: measure FILE DEGREE QUALITY [SEED [SIMD_LEVEL]]
 *
 * FILE comes from quantize.py.  Quality is how many nodes a beam search with
 * exact int8 distances expands until it finds the ten nearest rows (by int8
 * distance) with a given recall.  It enters at the nearest row of a random
 * sample of one in 32, as if the upper levels were perfect.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <time.h>

#include "common/pg_prng.h"
#include "distance/distance.h"
#include "partition/partition.h"

#define K 10
#define MAX_QUERIES 1000
#define MAX_EF 1000

static uint32 n;
static uint32 nqueries;
static uint32 stride;
static int8 *vectors;
static int8 *queries;
static PartitionGraph *graph;

/* Distance of the K-th nearest row, and where the search enters. */
static int32 kth[MAX_QUERIES];
static uint32 entries[MAX_QUERIES];

/* CPU time until each of these fractions was reported; see partition_build. */
static const struct
{
	double		fraction;
	const char *name;
}			phases[] =
{
	{0.02, "norms, copies"}, {0.136, "assign"}, {0.60, "leaves"},
	{0.775, "diverse"}, {0.95, "reverse"}, {2, "connect"}
};
static double phase_times[lengthof(phases)];
static double last_time;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void
progress(void *arg, double fraction)
{
	int			phase = 0;
	double		time = now();

	while (fraction > phases[phase].fraction)
		phase++;
	phase_times[phase] += time - last_time;
	last_time = time;
}

static void
read_file(const char *path)
{
	uint32		header[3];
	FILE	   *file = fopen(path, "rb");

	if (file == NULL || fread(header, sizeof(header), 1, file) != 1)
	{
		perror(path);
		exit(1);
	}
	n = header[0];
	nqueries = Min(header[1], MAX_QUERIES);
	stride = header[2];
	vectors = aligned_alloc(64, (Size) n * stride);
	queries = aligned_alloc(64, (Size) nqueries * stride);
	if (fread(vectors, stride, n, file) != n ||
		fread(queries, stride, nqueries, file) != nqueries)
	{
		fprintf(stderr, "%s is too short\n", path);
		exit(1);
	}
	fclose(file);
}

static void
find_truth(uint64 seed)
{
	pg_prng_state random;
	int32	   *products = malloc(sizeof(int32) * nqueries * 1024);
	int32		(*best)[K] = malloc(sizeof(int32) * nqueries * K);
	int32	   *entry_dist = malloc(sizeof(int32) * nqueries);
	int32	   *query_norms = malloc(sizeof(int32) * nqueries);

	pg_prng_seed(&random, seed);
	for (uint32 q = 0; q < nqueries; q++)
	{
		for (int i = 0; i < K; i++)
			best[q][i] = PG_INT32_MAX;
		entry_dist[q] = PG_INT32_MAX;
		query_norms[q] = distance->i8_dot(stride, queries + q * stride,
										  queries + q * stride);
	}
	for (uint32 start = 0; start < n; start += 1024)
	{
		int			count = Min(1024, n - start);

		distance->i8_dot_matrix(stride, (ByteRows) {nqueries, queries, stride},
								(ByteRows) {count, vectors + (Size) start * stride, stride},
								products, 1024);
		for (int j = 0; j < count; j++)
		{
			const int8 *v = vectors + (Size) (start + j) * stride;
			int32		norm = distance->i8_dot(stride, v, v);
			bool		sampled = start + j == 0 ||
				pg_prng_uint64_range(&random, 0, 31) == 0;

			for (uint32 q = 0; q < nqueries; q++)
			{
				int32		dist = norm + query_norms[q] -
					2 * products[q * 1024 + j];
				int			pos = K - 1;

				if (sampled && dist < entry_dist[q])
				{
					entry_dist[q] = dist;
					entries[q] = start + j;
				}
				if (dist >= best[q][pos])
					continue;
				for (; pos > 0 && best[q][pos - 1] > dist; pos--)
					best[q][pos] = best[q][pos - 1];
				best[q][pos] = dist;
			}
		}
	}
	for (uint32 q = 0; q < nqueries; q++)
		kth[q] = best[q][K - 1];
	free(products);
	free(best);
	free(entry_dist);
	free(query_norms);
}

typedef struct BeamEntry
{
	int32		dist;
	uint32		row;
	bool		expanded;
} BeamEntry;

/*
 * Returns how many of the K nearest were found; counts expanded nodes.
 */
static int
beam_search(uint32 q, int ef, uint32 *visited, uint32 stamp, uint64 *hops)
{
	BeamEntry	beam[MAX_EF + 1];
	int			count = 1;
	int			next = 0;
	int			found = 0;
	const int8 *query = queries + (Size) q * stride;

	beam[0].row = entries[q];
	beam[0].dist = distance->i8_l2sq(stride, query,
									 vectors + (Size) entries[q] * stride);
	beam[0].expanded = false;
	visited[entries[q]] = stamp;
	while (next < count)
	{
		const uint32 *links = graph->links +
			(Size) beam[next].row * graph->degree;
		int			nlinks = graph->nlinks[beam[next].row];

		beam[next].expanded = true;
		(*hops)++;
		for (int i = 0; i < nlinks; i++)
		{
			BeamEntry	new = {0, links[i], false};
			int			pos = count;

			if (visited[new.row] == stamp)
				continue;
			visited[new.row] = stamp;
			new.dist = distance->i8_l2sq(stride, query,
										 vectors + (Size) new.row * stride);
			if (count == ef && new.dist >= beam[count - 1].dist)
				continue;
			for (; pos > 0 && beam[pos - 1].dist > new.dist; pos--)
				beam[pos] = beam[pos - 1];
			beam[pos] = new;
			count = Min(count + 1, ef);
			next = Min(next, pos);
		}
		while (next < count && beam[next].expanded)
			next++;
	}
	for (int i = 0; i < Min(count, K); i++)
		found += beam[i].dist <= kth[q];
	return found;
}

/*
 * Widen the beam until the recall is reached; interpolate between widths.
 */
static void
measure_hops(void)
{
	const double targets[] = {0.90, 0.95, 0.98, 0.99};
	int			target = 0;
	double		last_recall = 0;
	double		last_hops = 0;
	uint32	   *visited = calloc(n, sizeof(uint32));
	uint32		stamp = 0;

	for (int ef = K; ef <= MAX_EF && target < lengthof(targets);
		 ef = ef + Max(1, ef / 8))
	{
		uint64		hops = 0;
		uint64		found = 0;
		double		recall;
		double		mean;

		for (uint32 q = 0; q < nqueries; q++)
			found += beam_search(q, ef, visited, ++stamp, &hops);
		recall = (double) found / (nqueries * K);
		mean = (double) hops / nqueries;
		while (target < lengthof(targets) && recall >= targets[target])
		{
			double		part = (targets[target] - last_recall) /
				(recall - last_recall);

			printf("  %.2f: %.1f", targets[target],
				   last_hops + part * (mean - last_hops));
			target++;
		}
		last_recall = recall;
		last_hops = mean;
	}
	printf("  (widest: %.4f, %.1f hops)\n", last_recall, last_hops);
	free(visited);
}

int
main(int argc, char **argv)
{
	PartitionParams params = {.metric = PARTITION_L2, .progress = progress};
	double		start;
	double		took;
	uint64		kept = 0;
	uint64		last_kept = 0;

	if (argc < 4)
	{
		fprintf(stderr, "usage: %s FILE DEGREE QUALITY [SEED [SIMD_LEVEL]]\n", argv[0]);
		return 1;
	}
	read_file(argv[1]);
	params.degree = atoi(argv[2]);
	params.quality = atoi(argv[3]);
	params.seed = argc > 4 ? atoi(argv[4]) : 1;
	if (argc > 5 && !distance_use_level(atoi(argv[5])))
	{
		fprintf(stderr, "no SIMD level %s here\n", argv[5]);
		return 1;
	}

	start = last_time = now();
	graph = partition_build(n, vectors, stride, &params);
	took = now() - start;
	phase_times[lengthof(phases) - 1] += now() - last_time;
	for (uint32 row = 0; row < n; row++)
	{
		kept += graph->nkept[row];
		last_kept += graph->nkept[row] == graph->degree;
	}
	printf("%u x %u, degree %d, quality %d, %s: %.0f vectors/s, %.0f bytes/row,"
		   " %.1f kept (%.0f%% all)\n",
		   n, stride, params.degree, params.quality, distance->name, n / took,
		   (double) partition_memory(n, stride, &params) / n,
		   (double) kept / n, 100.0 * last_kept / n);
	printf("  us/vector:");
	for (int i = 0; i < lengthof(phases); i++)
		printf(" %s %.2f;", phases[i].name, phase_times[i] / n * 1e6);
	printf("\n  hops at recall");
	find_truth(params.seed);
	measure_hops();
	return 0;
}
