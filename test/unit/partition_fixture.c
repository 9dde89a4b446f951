/*-------------------------------------------------------------------------
 *
 * partition_fixture.c
 *		What the tests of the partition builder share.
 *
 * palloc and the server's random numbers are replaced by functions of this
 * file, so that the tests can tell what was allocated and link without the
 * server's libraries.
 *
 *-------------------------------------------------------------------------
 */
#include "partition_fixture.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/pg_prng.h"
#include "distance/distance.h"

/* ---- memory, counted ---- */

/* Before each allocation; keeps it aligned. */
typedef union Header
{
	Size		size;
	max_align_t align;
} Header;

Size live_bytes;
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
int	progress_calls;
int	progress_throws_at;
jmp_buf thrown;

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

PartitionGraph *
build(uint32 n, const int8 *vectors, int stride, PartitionParams *params)
{
	params->progress = progress;
	last_fraction = 0;
	progress_is_monotone = true;
	progress_calls = 0;
	return partition_build(n, vectors, stride, params);
}

/* No self link, no duplicate, no wild number, lists full. */
bool
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

uint32
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
void
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
uint32
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

int8
clip(int x)
{
	return Max(-127, Min(127, x));
}

/*
 * Clusters whose centres differ by "spread" and whose members differ by
 * "size" in each of the first "dim" elements.
 */
int8 *
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
int8 *
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
double
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

int32
row_distance(PartitionMetric metric, int stride, const int8 *a, const int8 *b)
{
	if (metric == PARTITION_JACCARD)
		return (int32) rint(tanimoto(stride, a, 1, b, 1) * 1e6);
	return metric == PARTITION_L2 ? distance->i8_l2sq(stride, a, b) :
		distance->i8_l1(stride, a, b);
}

/*
 * How many rows link first to their nearest row, and have their diverse links
 * in ascending order.
 */
double
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
bool
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
