/*-------------------------------------------------------------------------
 *
 * test_partition.c
 *		The partition builder: what partition.h promises, on easy and on
 *		hostile input.
 *
 * palloc and the server's random numbers are replaced by functions of this
 * file, so that the test can tell what was allocated and links without the
 * server's libraries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/pg_prng.h"
#include "distance/distance.h"
#include "partition/partition.h"
#include "unit.h"

/* ---- memory, counted ---- */

/* Before each allocation; keeps it aligned. */
typedef union Header
{
	Size		size;
	max_align_t align;
} Header;

static Size live_bytes;
static Size peak_bytes;

void *
palloc_extended(Size size, int flags)
{
	Header	   *header = malloc(sizeof(Header) + size);

	if (header == NULL)
		abort();
	/* Nobody may rely on zeros that were not asked for. */
	memset(header + 1, (flags & MCXT_ALLOC_ZERO) ? 0 : 0xA5, size);
	header->size = size;
	live_bytes += size;
	peak_bytes = Max(peak_bytes, live_bytes);
	return header + 1;
}

void *
palloc(Size size)
{
	return palloc_extended(size, 0);
}

void *
palloc0(Size size)
{
	return palloc_extended(size, MCXT_ALLOC_ZERO);
}

void
pfree(void *pointer)
{
	Header	   *header = (Header *) pointer - 1;

	live_bytes -= header->size;
	free(header);
}

void *
repalloc(void *pointer, Size size)
{
	Header	   *header = (Header *) pointer - 1;

	live_bytes += size - header->size;
	peak_bytes = Max(peak_bytes, live_bytes);
	header = realloc(header, sizeof(Header) + size);
	if (header == NULL)
		abort();
	header->size = size;
	return header + 1;
}

/* ---- random numbers ---- */

void
pg_prng_seed(pg_prng_state *state, uint64 seed)
{
	state->s0 = seed;
}

uint64
pg_prng_uint64_range(pg_prng_state *state, uint64 rmin, uint64 rmax)
{
	uint64		x = (state->s0 += UINT64CONST(0x9E3779B97F4A7C15));

	x = (x ^ (x >> 32)) * UINT64CONST(0xD6E8FEB86659FD93);
	return rmin + (x ^ (x >> 32)) % (rmax - rmin + 1);
}

/* ---- one build and what must hold after it ---- */

static double last_fraction;
static bool progress_is_monotone;
static int	progress_calls;
static int	progress_throws_at;
static jmp_buf thrown;

static void
progress(void *arg, double fraction)
{
	if (fraction < last_fraction - 1e-9 || fraction > 1 + 1e-9)
		progress_is_monotone = false;
	last_fraction = fraction;
	progress_calls++;
	if (progress_throws_at > 0 && progress_calls == progress_throws_at)
		longjmp(thrown, 1);
}

static PartitionGraph *
build(uint32 n, const int8 *vectors, int stride, PartitionParams *params)
{
	params->progress = progress;
	last_fraction = 0;
	progress_is_monotone = true;
	progress_calls = 0;
	return partition_build(n, vectors, stride, params);
}

/* No self link, no duplicate, no wild number, lists full. */
static bool
lists_are_sound(const PartitionGraph *graph)
{
	uint32	   *seen = calloc(graph->n + 1, sizeof(uint32));
	bool		sound = true;

	for (uint32 row = 0; row < graph->n; row++)
	{
		const uint32 *links = graph->links + (Size) row * graph->degree;

		if (graph->nlinks[row] != Min(graph->degree, graph->n - 1) ||
			graph->nkept[row] > graph->nlinks[row])
			sound = false;
		for (int i = 0; sound && i < graph->nlinks[row]; i++)
		{
			sound = links[i] < graph->n && links[i] != row &&
				seen[links[i]] != row + 1;
			if (sound)
				seen[links[i]] = row + 1;
		}
	}
	free(seen);
	return sound;
}

static uint32
count_reachable(const PartitionGraph *graph)
{
	bool	   *seen = calloc(graph->n + 1, sizeof(bool));
	uint32	   *queue = malloc(sizeof(uint32) * (graph->n + 1));
	uint32		count = 0;

	if (graph->n > 0)
	{
		seen[0] = true;
		queue[count++] = 0;
	}
	for (uint32 next = 0; next < count; next++)
		for (int i = 0; i < graph->nlinks[queue[next]]; i++)
		{
			uint32		to = graph->links[(Size) queue[next] * graph->degree + i];

			if (!seen[to])
				queue[count++] = to;
			seen[to] = true;
		}
	free(seen);
	free(queue);
	return count;
}

/* The fewest and the most links that lead to one row. */
static void
count_incoming(const PartitionGraph *graph, uint32 *fewest, uint32 *most)
{
	uint32	   *incoming = calloc(graph->n + 1, sizeof(uint32));

	for (uint32 row = 0; row < graph->n; row++)
		for (int i = 0; i < graph->nlinks[row]; i++)
			incoming[graph->links[(Size) row * graph->degree + i]]++;
	*fewest = PG_UINT32_MAX;
	*most = 0;
	for (uint32 row = 0; row < graph->n; row++)
	{
		*fewest = Min(*fewest, incoming[row]);
		*most = Max(*most, incoming[row]);
	}
	free(incoming);
}

/*
 * Build, check, free.  Returns the most links that lead to one row.
 */
static uint32
check_build(const char *name, uint32 n, const int8 *vectors, int stride,
			PartitionParams *params)
{
	Size		before = live_bytes;
	Size		promised = partition_memory(n, stride, params);
	PartitionGraph *graph;
	uint32		fewest;
	uint32		most;

	peak_bytes = before;
	graph = build(n, vectors, stride, params);
	ok(graph->n == n && graph->degree == params->degree,
	   "%s: %u rows of %d links", name, n, params->degree);
	ok(lists_are_sound(graph), "%s: lists are full and sound", name);
	ok(count_reachable(graph) == n, "%s: every row is reachable", name);
	count_incoming(graph, &fewest, &most);
	ok(n < 2 || fewest > 0, "%s: every row has an incoming link", name);
	ok(progress_is_monotone && progress_calls >= n / 2000,
	   "%s: %d progress reports, ascending", name, progress_calls);
	ok(peak_bytes - before <= promised,
	   "%s: %zu bytes at most, %zu promised", name, peak_bytes - before,
	   promised);
	partition_free(graph);
	ok(live_bytes == before, "%s: no memory left", name);
	return most;
}

/* ---- data ---- */

/* Gaussian enough: a sum of uniform numbers. */
static int
noise(int size)
{
	return (random_int(-size, size) + random_int(-size, size) +
			random_int(-size, size)) / 3;
}

static int8
clip(int x)
{
	return Max(-127, Min(127, x));
}

/*
 * Clusters whose centres differ by "spread" and whose members differ by
 * "size" in each of the first "dim" elements.
 */
static int8 *
clustered(uint32 n, int stride, int dim, int clusters, int spread, int size)
{
	int8	   *vectors = calloc(Max(n, 1), stride);
	int8	   *centres = calloc(clusters, stride);

	for (int c = 0; c < clusters; c++)
		for (int i = 0; i < dim; i++)
			centres[c * stride + i] = clip(noise(spread));
	for (uint32 row = 0; row < n; row++)
	{
		int			c = random_int(0, clusters - 1);

		for (int i = 0; i < dim; i++)
			vectors[(Size) row * stride + i] =
				clip(centres[c * stride + i] + noise(size));
	}
	free(centres);
	return vectors;
}

/*
 * Clusters of vectors of 0 and 1, some with few ones and some with many; of a
 * cluster's ones each row has most, and a few others.
 */
static int8 *
clustered_bits(uint32 n, int stride, int clusters)
{
	static const int percents[] = {5, 10, 30, 60};
	int8	   *vectors = calloc(Max(n, 1), stride);
	int8	   *centres = calloc(clusters, stride);

	for (int c = 0; c < clusters; c++)
		for (int i = 0; i < stride; i++)
			centres[c * stride + i] = random_int(1, 100) <= percents[c % lengthof(percents)];
	for (uint32 row = 0; row < n; row++)
	{
		const int8 *centre = centres + random_int(0, clusters - 1) * stride;

		for (int i = 0; i < stride; i++)
			vectors[(Size) row * stride + i] =
				random_int(1, 100) <= (centre[i] ? 80 : 2);
	}
	free(centres);
	return vectors;
}

/* Tanimoto's distance, which of vectors of 0 and 1 is Jaccard's. */
static double
tanimoto(int n, const int8 *a, double scale_a, const int8 *b, double scale_b)
{
	double		both = 0;
	double		either = 0;

	for (int i = 0; i < n; i++)
	{
		double		x = a[i] * scale_a;
		double		y = b[i] * scale_b;

		both += x * y;
		either += x * x + y * y - x * y;
	}
	return either > 0 ? 1 - both / either : 0;
}

static int32
row_distance(PartitionMetric metric, int stride, const int8 *a, const int8 *b)
{
	if (metric == PARTITION_JACCARD)
		return (int32) rint(tanimoto(stride, a, 1, b, 1) * 1e6);
	return metric == PARTITION_L2 ? distance->i8_l2sq(stride, a, b) :
		distance->i8_l1(stride, a, b);
}

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

/*
 * How many rows link first to their nearest row, and have their diverse links
 * in ascending order.
 */
static double
nearest_first(const PartitionGraph *graph, const int8 *vectors, int stride,
			  PartitionMetric metric)
{
	int			good = 0;

	for (uint32 row = 0; row < graph->n; row++)
	{
		const int8 *v = vectors + (Size) row * stride;
		const uint32 *links = graph->links + (Size) row * graph->degree;
		int32		nearest = PG_INT32_MAX;
		int32		last = -1;
		bool		ascending = true;

		for (uint32 other = 0; other < graph->n; other++)
			if (other != row)
				nearest = Min(nearest,
							  row_distance(metric, stride, v,
										   vectors + (Size) other * stride));
		for (int i = 0; i < graph->nkept[row]; i++)
		{
			int32		dist = row_distance(metric, stride, v,
											vectors + (Size) links[i] * stride);

			if (i == 0 && dist > nearest)
				ascending = false;
			if (dist < last)
				ascending = false;
			last = dist;
		}
		good += ascending && graph->nkept[row] > 0;
	}
	return (double) good / graph->n;
}

static void
test_quality(PartitionMetric metric)
{
	static const char *const names[] = {"L2", "L1", "Jaccard"};
	const char *name = names[metric];
	const uint32 n = 4000;
	const int	stride = metric == PARTITION_JACCARD ? 256 : 64;
	const int	nqueries = 100;
	PartitionParams params = {.metric = metric, .degree = 32, .quality = 64};
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
		PartitionParams params = {.metric = PARTITION_JACCARD, .degree = degrees[i],.quality = qualities[i]};

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

/* ---- several processes ---- */

/* What the members of a team share besides the graph. */
typedef struct TeamState
{
	pthread_barrier_t barrier;
	uint32		claims[PARTITION_TASKS];
	uint32		locks[64];
} TeamState;

static uint32
team_claim(void *arg, int task)
{
	return __atomic_fetch_add(&((TeamState *) arg)->claims[task], 1, __ATOMIC_SEQ_CST);
}

static void
team_wait(void *arg)
{
	pthread_barrier_wait(&((TeamState *) arg)->barrier);
}

static void
team_lock(void *arg, uint32 row)
{
	while (__atomic_exchange_n(&((TeamState *) arg)->locks[row % 64], 1, __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

static void
team_unlock(void *arg, uint32 row)
{
	__atomic_store_n(&((TeamState *) arg)->locks[row % 64], 0, __ATOMIC_RELEASE);
}

static void *
map_shared(Size size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/*
 * Build with so many processes; true if the graph is the one that a single
 * process made, and what they share took no more memory than promised.
 */
static bool
team_agrees(uint32 n, const int8 *vectors, int stride, PartitionParams *params,
			const PartitionGraph *expected, int members)
{
	const Size	guard = 4096;
	Size		promised = partition_memory(n, stride, params);
	TeamState  *state = map_shared(sizeof(TeamState));
	PartitionTeam team = {state, members, true, map_shared(promised + guard), team_claim, team_wait, team_lock, team_unlock};
	pthread_barrierattr_t shared;
	PartitionGraph *graph;
	bool		same;

	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&state->barrier, &shared, members);
	memset(team.memory, 0xA5, promised + guard);
	params->team = &team;
	fflush(stdout);
	for (int i = 1; i < members; i++)
		if (fork() == 0)
		{
			team.leader = false;
			partition_build(n, vectors, stride, params);
			_exit(0);
		}
	graph = build(n, vectors, stride, params);
	same = graph->n == expected->n &&
		memcmp(graph->links, expected->links, sizeof(uint32) * graph->n * graph->degree) == 0 &&
		memcmp(graph->nlinks, expected->nlinks, sizeof(uint16) * graph->n) == 0 &&
		memcmp(graph->nkept, expected->nkept, sizeof(uint16) * graph->n) == 0;
	for (int i = 1; i < members; i++)
	{
		int			status;

		same &= wait(&status) > 0 && status == 0;
	}
	for (Size i = 0; i < guard; i++)
		same &= (unsigned char) team.memory[promised + i] == 0xA5;
	params->team = NULL;
	munmap(team.memory, promised + guard);
	munmap(state, sizeof(TeamState));
	return same;
}

static void
test_teams(void)
{
	const uint32 sizes[] = {0, 1, 2, 500, 5000};

	for (int i = 0; i < lengthof(sizes); i++)
	{
		uint32		n = sizes[i];
		PartitionParams params = {.degree = 16, .quality = 64, .seed = 3};
		int8	   *vectors = clustered(Max(n, 1), 64, 64, 20, 60, 30);
		PartitionGraph *alone;

		/* Some copies, in one place and far apart */
		for (uint32 row = 0; row < n / 10; row++)
			memcpy(vectors + (n - 1 - row) * 64, vectors + row / 4 * 64, 64);
		for (int guests = 0; guests <= 1; guests++)
		{
			params.nguests = guests * (n / 3);
			alone = build(n, vectors, 64, &params);
			for (int members = 1; members <= 4; members += 3)
				ok(team_agrees(n, vectors, 64, &params, alone, members),
				   "%u rows, %u guests: %d processes build the same graph", n, params.nguests, members);
			partition_free(alone);
		}
		free(vectors);
	}
}

/*
 * By inner product, rows link to the long rows with which theirs is largest;
 * unless all rows are about equally long.
 */
static void
test_hubs(void)
{
	const uint32 n = 4000;
	PartitionParams params = {.degree = 16, .quality = 64, .seed = 1, .extra = 64};
	int8	   *vectors = clustered(n, 64, 63, 20, 60, 30);
	PartitionGraph *graph;

	for (int spread = 0; spread <= 1; spread++)
	{
		uint32		linked = 0;

		/* One row in 40 keeps its length, and has nothing to add. */
		for (uint32 row = 0; row < n; row++)
			for (int i = 0; i < 64 && spread; i++)
				vectors[row * 64 + i] = row % 40 == 0 ? (i == 63 ? 0 : vectors[row * 64 + i]) :
					(i == 63 ? 120 : vectors[row * 64 + i] / 3);
		graph = build(n, vectors, 64, &params);
		ok(lists_are_sound(graph), "hubs, spread %d: lists are full and sound", spread);
		ok(count_reachable(graph) == n, "hubs, spread %d: every row is reachable", spread);
		for (uint32 row = 0; row < n; row++)
		{
			uint32		best = 0;
			int32		most = PG_INT32_MIN;

			for (uint32 hub = 0; hub < n; hub += 40)
			{
				int32		product = distance->i8_dot(64, vectors + row * 64, vectors + hub * 64);

				if (hub != row && product > most)
				{
					most = product;
					best = hub;
				}
			}
			for (int i = 0; i < graph->nlinks[row]; i++)
				linked += graph->links[row * 16 + i] == best;
		}
		ok(spread ? linked > n * 9 / 10 : linked < n / 2,
		   "hubs, spread %d: %u of %u rows link to the best long row", spread, linked, n);
		ok(team_agrees(n, vectors, 64, &params, graph, 3),
		   "hubs, spread %d: 3 processes build the same graph", spread);
		partition_free(graph);
	}
	free(vectors);
}

/*
 * Guests get no links, but are linked to; the others are reachable without
 * them, and have links among themselves.  Returns how many links lead to guests.
 */
static uint32
check_guests(const char *name, uint32 n, uint32 home, const int8 *vectors)
{
	const int	degree = 16;
	PartitionParams params = {.degree = degree, .quality = 64, .seed = 1, .nguests = n - home};
	PartitionGraph *graph = build(n, vectors, 64, &params);
	uint32		to_guests = 0;
	uint32		fewest;
	uint32		most;
	bool		sound = true;

	ok(graph->n == home, "%s: guests are not in the graph", name);
	for (uint32 row = 0; row < graph->n; row++)
	{
		uint32	   *links = graph->links + (Size) row * degree;
		int			nlinks = 0;

		sound &= graph->nlinks[row] == degree;
		for (int i = 0; i < graph->nlinks[row]; i++)
		{
			sound &= links[i] < n && links[i] != row;
			if (links[i] < home)
				links[nlinks++] = links[i];
			else
				to_guests++;
		}
		graph->nlinks[row] = nlinks;
	}
	ok(sound, "%s: lists are full and sound", name);
	ok(count_reachable(graph) == home, "%s: every row is reachable without guests", name);
	count_incoming(graph, &fewest, &most);
	ok(fewest > 0, "%s: a row that is no guest links to every one", name);
	partition_free(graph);
	return to_guests;
}

static void
test_guests(void)
{
	const uint32 n = 6000;
	int8	   *vectors = clustered(n, 64, 64, 20, 60, 30);
	uint32		to_guests = check_guests("some guests", n, 4000, vectors);

	ok(to_guests > 4000, "some guests: %u links lead to them", to_guests);

	/* All links lead to guests, but for those that make the rows reachable. */
	to_guests = check_guests("nearly all are guests", n, 20, vectors);
	ok(to_guests > 20 * 12, "nearly all are guests: %u links lead to them", to_guests);
	to_guests = check_guests("two rows and guests", n, 2, vectors);
	ok(to_guests == 2 * 16 - 2, "two rows and guests: %u links lead to guests", to_guests);
	free(vectors);
}

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

/* True vectors, of which the builder has sketches, and the calls for them */
typedef struct Truth
{
	const int8 *vectors;
	int			stride;
	uint32		last;
	uint32		calls;
	uint32		changes;		/* of the first row */
} Truth;

static int32
true_distance(void *arg, uint32 a, uint32 b)
{
	Truth	   *truth = arg;

	truth->calls++;
	truth->changes += a != truth->last;
	truth->last = a;
	return distance->i8_l2sq(truth->stride, truth->vectors + (Size) a * truth->stride,
							 truth->vectors + (Size) b * truth->stride);
}

/* Links are chosen by the true distance, where the vectors are only sketches. */
static void
test_sketches(void)
{
	const uint32 n = 4000;
	const int	stride = 256;
	int8	   *vectors = clustered(n, stride, stride, 60, 40, 40);
	int8	   *sketches = calloc(n, 64);
	Truth		truth = {vectors, stride};
	PartitionParams params = {.degree = 32, .quality = 64, .seed = 1};

	for (uint32 row = 0; row < n; row++)
		for (int i = 0; i < 64; i++)
		{
			const int8 *v = vectors + (Size) row * stride + i;

			sketches[row * 64 + i] = clip((v[0] + v[64] - v[128] - v[192]) / 2);
		}
	for (int exact = 0; exact <= 1; exact++)
	{
		PartitionGraph *graph;
		double		nearest;

		params.distance = exact ? true_distance : NULL;
		params.distance_arg = &truth;
		graph = build(n, sketches, 64, &params);
		nearest = nearest_first(graph, vectors, stride, PARTITION_L2);
		ok(exact ? nearest > 0.7 : nearest < 0.3,
		   "sketches, exact %d: the nearest row is the first link of %.3f", exact, nearest);
		if (exact)
			ok(team_agrees(n, sketches, 64, &params, graph, 3),
			   "sketches: 3 processes build the same graph");
		partition_free(graph);
	}
	ok(truth.calls > 5 * truth.changes, "sketches: %u distances from %u rows", truth.calls, truth.changes);
	check_build("sketches", n, sketches, 64, &params);
	free(vectors);
	free(sketches);
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
	test_teams();
	test_guests();
	test_hubs();
	test_sketches();
	test_pivots();
	test_interrupts();
	return done_testing();
}
