/*-------------------------------------------------------------------------
 *
 * test_partition.c
 *		The partition builder: the graph that partition.h promises, on easy and on
 *		hostile input.
 *
 *-------------------------------------------------------------------------
 */
#include "partition_fixture.h"

/* ---- quality ---- */

#define K 10
#define EF 40

typedef struct Found
{
	int32		dist;
	uint32		row;
	bool		expanded;
} Found;

/* Put a row into an ascending array that ends at "most". */
static int
insert_found(Found *found, int count, int most, uint32 row, int32 dist)
{
	int			pos = count;

	if (count == most && dist >= found[count - 1].dist)
		return count;
	for (; pos > 0 && found[pos - 1].dist > dist; pos--)
		found[pos] = found[pos - 1];
	found[pos].dist = dist;
	found[pos].row = row;
	found[pos].expanded = false;
	return Min(count + 1, most);
}

/*
 * The part of the K nearest rows that a beam search over the graph finds,
 * entering at the nearest of every 32nd row.
 */
static double
recall(const PartitionGraph *graph, const int8 *vectors, int stride,
	   PartitionMetric metric, const int8 *queries, int nqueries)
{
	uint32		n = graph->n;
	uint32	   *visited = calloc(n, sizeof(uint32));
	int			hits = 0;

	for (int q = 0; q < nqueries; q++)
	{
		const int8 *query = queries + (Size) q * stride;
		Found		truth[K + 1];
		Found		beam[EF + 1];
		int			ntruth = 0;
		int			count = 0;
		int			next = 0;

		for (uint32 row = 0; row < n; row++)
		{
			int32		dist = row_distance(metric, stride, query,
											vectors + (Size) row * stride);

			ntruth = insert_found(truth, ntruth, K, row, dist);
			if (row % 32 == 0)
				count = insert_found(beam, count, 1, row, dist);
		}
		while (next < count)
		{
			uint32		row = beam[next].row;

			beam[next].expanded = true;
			for (int i = 0; i < graph->nlinks[row]; i++)
			{
				uint32		to = graph->links[(Size) row * graph->degree + i];

				if (visited[to] == q + 1)
					continue;
				visited[to] = q + 1;
				count = insert_found(beam, count, EF, to,
									 row_distance(metric, stride, query,
												  vectors + (Size) to * stride));
			}
			for (next = 0; next < count && beam[next].expanded;)
				next++;
		}
		for (int i = 0; i < Min(K, count); i++)
			hits += beam[i].dist <= truth[K - 1].dist;
	}
	free(visited);
	return (double) hits / (nqueries * K);
}

static void
test_quality(PartitionMetric metric)
{
	static const char *const names[] = {"L2", "L1", "Jaccard"};
	static const float slacks[] = {PARTITION_SLACK, 1.4f, 1};
	const char *name = names[metric];
	const uint32 n = 4000;
	const int	stride = metric == PARTITION_JACCARD ? 256 : 64;
	const int	nqueries = 100;
	PartitionParams params = {.metric = metric, .slack = slacks[metric], .degree = 32, .quality = 64};
	int8	   *vectors = metric == PARTITION_JACCARD ? clustered_bits(n + nqueries, stride, 200) :
		clustered(n + nqueries, stride, 50, 60, 60, 40);
	const int8 *queries = vectors + (Size) n * stride;
	PartitionGraph *graph = build(n, vectors, stride, &params);
	double		found = recall(graph, vectors, stride, metric, queries,
							   nqueries);
	double		nearest = nearest_first(graph, vectors, stride, metric);

	ok(found >= 0.97, "%s: a beam search finds %.3f", name, found);
	ok(nearest >= 0.95, "%s: the nearest row is the first link of %.3f", name,
	   nearest);
	partition_free(graph);
	free(vectors);
}

/* ---- the cases ---- */

static void
test_sizes(void)
{
	static const uint32 sizes[] = {0, 1, 2, 3, 31, 32, 33, 34, 999, 1000, 1001,
	1100, 5000};
	int8	   *vectors = clustered(5000, 64, 20, 10, 60, 30);

	for (int i = 0; i < lengthof(sizes); i++)
	{
		PartitionParams params = {.degree = 32, .quality = 64, .seed = i};

		check_build("size", sizes[i], vectors, 64, &params);
	}
	free(vectors);
}

static void
test_parameters(void)
{
	static const int degrees[] = {2, 4, 33, 200};
	static const int qualities[] = {4, 16, 200, 1000};
	int8	   *vectors = clustered(2500, 128, 100, 20, 60, 30);

	for (int i = 0; i < lengthof(degrees); i++)
	{
		PartitionParams params = {.degree = degrees[i], .quality = 64};

		check_build("degree", 2500, vectors, 128, &params);
	}
	for (int i = 0; i < lengthof(qualities); i++)
	{
		PartitionParams params = {.degree = 16, .quality = qualities[i]};

		check_build("quality", 2500, vectors, 128, &params);
		params.metric = PARTITION_L1;
		check_build("quality, L1", 2500, vectors, 128, &params);
	}
	free(vectors);

	vectors = clustered_bits(2500, 128, 50);
	for (int i = 0; i < lengthof(qualities); i++)
	{
		PartitionParams params = {.metric = PARTITION_JACCARD, .slack = 1, .degree = degrees[i],
			.quality = qualities[i]};

		check_build("quality, Jaccard", 2500, vectors, 128, &params);
	}
	free(vectors);
}

static void
test_wide(void)
{
	const int	stride = 16000;
	PartitionParams params = {.degree = 16, .quality = 64};
	int8	   *vectors = calloc(200, stride);

	/* The largest distances there can be. */
	for (int row = 0; row < 200; row++)
		for (int i = 0; i < stride; i++)
			vectors[row * stride + i] = random_int(0, 1) ? 127 : -127;
	memset(vectors, 127, stride);
	memset(vectors + stride, -127, stride);
	check_build("16,000 dimensions", 200, vectors, stride, &params);
	free(vectors);
}

static void
test_copies(void)
{
	const uint32 n = 3000;
	PartitionParams params = {.degree = 32, .quality = 64};
	int8	   *vectors = clustered(n, 64, 64, 10, 60, 30);
	uint32		most;

	for (uint32 row = 0; row < n; row += 2)
		memcpy(vectors + row * 64, vectors, 64);
	check_build("half are copies", n, vectors, 64, &params);
	for (uint32 row = 10; row < n; row++)
		memcpy(vectors + row * 64, vectors + row % 10 * 64, 64);
	check_build("ten vectors", n, vectors, 64, &params);
	check_build("ten vectors, few rows", 40, vectors, 64, &params);
	params.degree = 2;
	check_build("ten vectors, two links", n, vectors, 64, &params);
	params.degree = 32;
	for (uint32 row = 0; row < n; row++)
		memset(vectors + row * 64, 0, 64);
	most = check_build("all zero", n, vectors, 64, &params);
	ok(most < 8 * params.degree, "all zero: at most %u links to one row", most);
	vectors[(n - 1) * 64] = 127;
	check_build("all but one are zero", n, vectors, 64, &params);
	free(vectors);
}

static void
test_ties(void)
{
	const uint32 n = 1500;
	const int	stride = 1536;
	PartitionParams params = {.degree = 32, .quality = 64};
	int8	   *vectors = calloc(n, stride);
	uint32		most;

	/* All rows are equally far from each other. */
	for (uint32 row = 0; row < n; row++)
		vectors[row * stride + row] = 100;
	most = check_build("equidistant", n, vectors, stride, &params);
	ok(most < 8 * params.degree, "equidistant: at most %u links to one row",
	   most);

	/* Also where they have nothing in common, and one has nothing at all. */
	params.metric = PARTITION_JACCARD;
	for (uint32 row = 0; row < n; row++)
		vectors[row * stride + row] = row > 0;
	most = check_build("disjoint", n, vectors, stride, &params);
	ok(most < 8 * params.degree, "disjoint: at most %u links to one row", most);
	free(vectors);
}

static void
test_clusters(void)
{
	const uint32 n = 6000;
	PartitionParams params = {.degree = 16, .quality = 64};
	int8	   *vectors;

	vectors = clustered(n, 64, 64, 3, 120, 2);
	check_build("three far clusters", n, vectors, 64, &params);
	free(vectors);

	vectors = clustered(n, 64, 64, n / 8, 120, 1);
	check_build("many tiny clusters", n, vectors, 64, &params);
	free(vectors);

	vectors = clustered(n, 64, 64, 1, 1, 3);
	for (uint32 row = 0; row < n; row += 100)
		vectors[row * 64 + row / 100] = 127;
	check_build("one cluster and outliers", n, vectors, 64, &params);
	free(vectors);

	vectors = clustered(n, 64, 1, 1, 1, 127);
	check_build("one dimension", n, vectors, 64, &params);
	free(vectors);

	vectors = clustered(n, 64, 2, 1, 1, 127);
	check_build("two dimensions", n, vectors, 64, &params);
	free(vectors);
}

static void
test_determinism(void)
{
	const uint32 n = 3000;
	const int	degree = 16;
	Size		size = sizeof(uint32) * n * degree;
	PartitionParams params = {.degree = degree, .quality = 64, .seed = 1};
	int8	   *vectors = clustered(n, 64, 64, 20, 60, 30);
	PartitionGraph *a = build(n, vectors, 64, &params);
	PartitionGraph *b = build(n, vectors, 64, &params);
	PartitionGraph *c;

	params.seed = 2;
	c = build(n, vectors, 64, &params);
	ok(memcmp(a->links, b->links, size) == 0, "same seed, same graph");
	ok(memcmp(a->links, c->links, size) != 0, "another seed, another graph");
	partition_free(a);
	partition_free(b);
	partition_free(c);
	free(vectors);
}

/* An error in the callback may end a build anywhere. */
static void
test_interrupts(void)
{
	const uint32 n = 3000;
	PartitionParams params = {.degree = 16, .quality = 16};
	int8	   *vectors = clustered(n, 64, 64, 20, 60, 30);
	volatile int last = 0;
	volatile int thrown_count = 0;

	for (volatile int at = 1; at < 10000; at += 7)
	{
		progress_throws_at = at;
		if (setjmp(thrown) == 0)
		{
			partition_free(build(n, vectors, 64, &params));
			last = progress_calls;
			break;
		}
		thrown_count++;
	}
	progress_throws_at = 0;
	ok(thrown_count > 5 && last > 0,
	   "interrupted at %d places, then done", thrown_count);
	free(vectors);
}

int
main(void)
{
	test_quality(PARTITION_L2);
	test_quality(PARTITION_L1);
	test_quality(PARTITION_JACCARD);
	test_sizes();
	test_parameters();
	test_wide();
	test_copies();
	test_ties();
	test_clusters();
	test_determinism();
	test_interrupts();
	return done_testing();
}
