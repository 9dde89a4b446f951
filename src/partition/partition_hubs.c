/*-------------------------------------------------------------------------
 *
 * partition_hubs.c
 *		Inner product: links to the rows that answer most queries.
 *
 * By inner product the long rows are near to every query, but hardly any row
 * has them among its neighbours in the space of the graph.  Where some rows are
 * longer than others, each row therefore links to the "hubs" with which its inner
 * product is largest, as it would in a graph made by inner product (ip-NSW,
 * Morozov & Babenko, 2018).
 *
 *-------------------------------------------------------------------------
 */
#include <float.h>

#include "distance/distance.h"
#include "partition/partition_build.h"

/*
 * Hubs are rows of so many times the median length: the longest half of all rows, so
 * many at most.  Copies count, too: rows of one direction may have one int8 vector.
 */
#define SPREAD 1.1f
#define HUB_SHARE 2
#define MAX_HUBS 4096

/* A row has at most this part of its links to hubs. */
#define LINK_SHARE 2

/* Rows multiplied with all hubs in one call: their products are 512 kB at most. */
#define HUB_BLOCK 32

#define ST_SORT sort_lengths
#define ST_ELEMENT_TYPE float
#define ST_COMPARE(a, b) (*(a) > *(b) ? -1 : *(a) < *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

typedef struct Hub
{
	float		product;
	uint32		number;			/* among hubs; PG_UINT32_MAX: none */
} Hub;

/* What a member needs to find the best hubs of some rows. */
typedef struct HubScratch
{
	int8	   *hubs;
	float	   *times;			/* as long as its vector a hub is */
	int8	   *vectors;
	int32	   *products;
	Hub		   *best;			/* of the row at hand */
	float	   *link_products;	/* of its links */
} HubScratch;

static float
row_times(const PartitionBuild *build, uint32 row)
{
	return build->params->times != NULL ? build->params->times[row] : 1;
}

/* A row's squared length without the coordinate that inner product adds. */
static float
row_length(const PartitionBuild *build, uint32 row)
{
	int32		extra = ROW_VECTOR(build, row)[build->params->extra - 1];

	return (float) (build->norms[row] - extra * extra) * row_times(build, row) *
		row_times(build, row);
}

static int
hub_links(const PartitionBuild *build)
{
	return build->degree / LINK_SHARE;
}

Size
hubs_memory(const PartitionBuild *build)
{
	return build->params->extra > 0 ?
		(Size) build->n * sizeof(float) +
		(MAX_HUBS + HUB_BLOCK) * ((Size) build->stride + sizeof(uint32) + sizeof(float)) +
		MAX_HUBS * HUB_BLOCK * sizeof(int32) : 0;
}

/*
 * Choose the hubs, none if the rows are about equally long: the leader's task.
 */
static uint32
choose_hubs(PartitionBuild *build, uint32 *hubs)
{
	float	   *lengths = partition_alloc(sizeof(float) * (Size) build->n);
	uint32		most = Min(build->n / HUB_SHARE, MAX_HUBS);
	uint32		count = 0;
	float		least;

	for (uint32 row = 0; row < build->n; row++)
		lengths[row] = row_length(build, row);
	sort_lengths(lengths, build->n);
	least = Max(lengths[most], SPREAD * SPREAD * lengths[build->n / 2]);
	for (uint32 row = 0; row < build->n && count < most; row++)
		if (row_length(build, row) >= least)
			hubs[count++] = row;
	pfree(lengths);
	return count;
}

/* How good is each link of a row as an answer to it? */
static void
link_products(const PartitionBuild *build, const PartitionGraph *graph, uint32 row, float *products)
{
	const int8 *vector = ROW_VECTOR(build, row);
	int			extra = build->params->extra - 1;

	for (int i = 0; i < graph->nlinks[row]; i++)
	{
		uint32		other = ROW_LINKS(build, row)[i];
		const int8 *to = ROW_VECTOR(build, other);

		products[i] = (float) (distance->i8_dot(build->stride, vector, to) -
							   (int32) vector[extra] * to[extra]) * row_times(build, other);
	}
}

/*
 * The first so many of a row's best hubs that are, among these and its links, of the
 * best that there is room for.  Where hubs are few, and not much longer than other
 * rows, links to near rows are better.
 */
static int
good_hubs(const Hub *best, const float *products, int nlinks, int room)
{
	for (int n = 0; n < room; n++)
	{
		int			better = n;

		if (best[n].number == PG_UINT32_MAX)
			return n;
		for (int i = 0; i < nlinks; i++)
			better += products[i] > best[n].product;
		if (better >= room)
			return n;
	}
	return room;
}

/*
 * Put the good hubs of a row, the best first, after its kept links; the last of
 * the others give way.
 */
static void
insert_hubs(PartitionBuild *build, PartitionGraph *graph, uint32 row, const HubScratch *scratch,
			const uint32 *hubs)
{
	uint32	   *links = ROW_LINKS(build, row);
	int			room = hub_links(build);
	int			good;
	int			nkept = Min(graph->nkept[row], build->degree - room);
	int			nlinks = graph->nlinks[row];

	link_products(build, graph, row, scratch->link_products);
	good = good_hubs(scratch->best, scratch->link_products, nlinks, room);
	for (int i = 0; i < good; i++)
	{
		uint32		hub = hubs[scratch->best[i].number];
		int			at = 0;

		while (at < nlinks && links[at] != hub)
			at++;
		if (hub == row || at < nkept)
			continue;
		if (at == nlinks)
		{
			at = Min(nlinks, build->degree - 1);
			nlinks = at + 1;
		}
		memmove(links + nkept + 1, links + nkept, sizeof(uint32) * (at - nkept));
		links[nkept++] = hub;
	}
	graph->nlinks[row] = nlinks;
	graph->nkept[row] = nkept;
}

/* Link the rows of one block of the order to their hubs. */
static void
link_block(PartitionBuild *build, PartitionGraph *graph, HubScratch *scratch,
		   const uint32 *hubs, uint32 nhubs, const uint32 *rows, int count)
{
	int			room = hub_links(build);

	for (int i = 0; i < count; i++)
		memcpy(scratch->vectors + (Size) i * build->stride, ROW_VECTOR(build, rows[i]),
			   build->stride);
	distance->i8_dot_matrix(build->stride, (ByteRows) {count, scratch->vectors, build->stride},
							(ByteRows) {nhubs, scratch->hubs, build->stride},
							scratch->products, nhubs);
	for (int i = 0; i < count; i++)
	{
		const int32 *products = scratch->products + (Size) i * nhubs;

		if (rows[i] >= build->nhome)
			continue;
		for (int j = 0; j < room; j++)
			scratch->best[j] = (Hub) {-FLT_MAX, PG_UINT32_MAX};
		/* The largest products; of equal ones, the first. */
		for (uint32 h = 0; h < nhubs; h++)
		{
			float		product = (float) products[h] * scratch->times[h];
			int			at = room - 1;

			if (!(product > scratch->best[at].product))
				continue;
			for (; at > 0 && scratch->best[at - 1].product < product; at--)
				scratch->best[at] = scratch->best[at - 1];
			scratch->best[at] = (Hub) {product, h};
		}
		insert_hubs(build, graph, rows[i], scratch, hubs);
	}
}

/*
 * Give each row links to its hubs.  Its links lie where its candidates were.
 */
void
link_hubs(PartitionBuild *build, PartitionGraph *graph)
{
	uint32	   *shared;
	uint32	   *hubs;
	uint32		nhubs;
	HubScratch	scratch;
	uint32		from;
	uint32		to;

	if (build->params->extra == 0 || !build->metric->euclidean || build->n < 2 * HUB_SHARE ||
		hub_links(build) == 0)
		return;
	shared = partition_share(build, sizeof(uint32) * (MAX_HUBS + 1));
	hubs = shared + 1;
	if (is_leader(build))
		shared[0] = choose_hubs(build, hubs);
	wait_for_team(build);
	nhubs = shared[0];
	if (nhubs > 0)
	{
		scratch.hubs = partition_alloc((Size) nhubs * build->stride);
		scratch.vectors = partition_alloc((Size) HUB_BLOCK * build->stride);
		scratch.products = partition_alloc(sizeof(int32) * nhubs * HUB_BLOCK);
		scratch.times = partition_alloc(sizeof(float) * nhubs);
		scratch.best = partition_alloc(sizeof(Hub) * hub_links(build));
		scratch.link_products = partition_alloc(sizeof(float) * build->degree);
		for (uint32 h = 0; h < nhubs; h++)
		{
			int8	   *hub = scratch.hubs + (Size) h * build->stride;

			memcpy(hub, ROW_VECTOR(build, hubs[h]), build->stride);
			hub[build->params->extra - 1] = 0;
			scratch.times[h] = row_times(build, hubs[h]);
		}
		while (claim_range(build, TASK_HUBS, HUB_BLOCK, build->ndistinct, &from, &to))
		{
			partition_tick(build);
			link_block(build, graph, &scratch, hubs, nhubs, build->order + from, to - from);
		}
		pfree(scratch.hubs);
		pfree(scratch.times);
		pfree(scratch.vectors);
		pfree(scratch.products);
		pfree(scratch.best);
		pfree(scratch.link_products);
	}
	wait_for_team(build);
	partition_unshare(build, shared);
}
