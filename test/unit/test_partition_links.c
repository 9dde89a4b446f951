/*-------------------------------------------------------------------------
 *
 * test_partition_links.c
 *		The partition builder: links to rows that are not like the others: guests,
 *		long rows by inner product, rows of which only sketches are at hand.
 *
 *-------------------------------------------------------------------------
 */
#include "partition_fixture.h"

#include "distance/distance.h"

/* How many rows link to the best of the long rows, of which one in 40 is, from "first" on? */
static uint32
linked_to_best(const PartitionGraph *graph, uint32 n, const int8 *vectors, uint32 first)
{
	uint32		linked = 0;

	for (uint32 row = 0; row < n; row++)
	{
		uint32		best = 0;
		int32		most = PG_INT32_MIN;

		for (uint32 hub = first; hub < n; hub += 40)
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
	return linked;
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
		uint32		linked;

		/* One row in 40 keeps its length, and has nothing to add. */
		for (uint32 row = 0; row < n; row++)
			for (int i = 0; i < 64 && spread; i++)
				vectors[row * 64 + i] = row % 40 == 0 ? (i == 63 ? 0 : vectors[row * 64 + i]) :
					(i == 63 ? 120 : vectors[row * 64 + i] / 3);
		graph = build(n, vectors, 64, &params);
		ok(lists_are_sound(graph), "hubs, spread %d: lists are full and sound", spread);
		ok(count_reachable(graph) == n, "hubs, spread %d: every row is reachable", spread);
		linked = linked_to_best(graph, n, vectors, 0);
		ok(spread ? linked > n * 9 / 10 : linked < n / 2,
		   "hubs, spread %d: %u of %u rows link to the best long row", spread, linked, n);
		ok(team_agrees(n, vectors, 64, &params, graph, 3),
		   "hubs, spread %d: 3 processes build the same graph", spread);
		partition_free(graph);
	}
	free(vectors);
}

/*
 * Vectors of equal lengths may be those of rows of other lengths.  Of two rows that have
 * one vector, the second one is long here: a copy, which others link to all the same.
 */
static void
test_times(void)
{
	const uint32 n = 4000;
	float	   *times = malloc(sizeof(float) * n);
	PartitionParams params = {.degree = 16, .quality = 64, .seed = 1, .extra = 64, .times = times};
	int8	   *vectors = clustered(n, 64, 63, 20, 60, 30);
	PartitionGraph *graph;
	uint32		linked;

	for (uint32 row = 0; row < n; row++)
	{
		vectors[row * 64 + 63] = 0;
		times[row] = row % 40 == 1 ? 10 : 1;
		if (row % 40 == 1)
			memcpy(vectors + row * 64, vectors + (row - 1) * 64, 64);
	}
	graph = build(n, vectors, 64, &params);
	ok(lists_are_sound(graph), "times: lists are full and sound");
	ok(count_reachable(graph) == n, "times: every row is reachable");
	linked = linked_to_best(graph, n, vectors, 1);
	ok(linked > n * 9 / 10, "times: %u of %u rows link to the best long row", linked, n);
	ok(team_agrees(n, vectors, 64, &params, graph, 3), "times: 3 processes build the same graph");
	partition_free(graph);
	free(vectors);
	free(times);
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

int
main(void)
{
	test_guests();
	test_hubs();
	test_times();
	test_sketches();
	return done_testing();
}
