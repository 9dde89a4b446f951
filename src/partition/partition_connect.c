/*-------------------------------------------------------------------------
 *
 * partition_connect.c
 *		The last repairs of the graph: full lists, copies of a vector, rows
 *		that no path reaches.
 *
 *-------------------------------------------------------------------------
 */
#include "partition/partition_build.h"

/* Copies that each copy of a vector links to. */
#define COPY_FANOUT 4

/* So many copies of a vector get the links of the first one. */
#define COPIES_WITH_LINKS 64

/* Random rows tried before all rows are, to fill or to connect. */
#define RANDOM_TRIES 256

/* Instead of a parent: not reached so far; a guest, which has no links */
#define NOT_REACHED PG_UINT32_MAX
#define OUTSIDE (PG_UINT32_MAX - 1)

#define GRAPH_LINKS(graph, row) \
	((graph)->links + (Size) (row) * (graph)->degree)

/*
 * The rows that can be reached from row 0.  The links from parents to their
 * rows are a tree, and are never replaced.  Guests are no part of it.
 */
typedef struct Reach
{
	uint32	   *parents;		/* NOT_REACHED if not; OUTSIDE for guests */
	uint32	   *rows;			/* the reached ones, in order of discovery */
	uint32		count;
} Reach;

Size
connect_memory(const PartitionBuild *build)
{
	return (Size) build->n * 2 * sizeof(uint32) +
		build->degree * sizeof(uint32);
}

static bool
has_link(const PartitionGraph *graph, uint32 row, uint32 other)
{
	const uint32 *links = GRAPH_LINKS(graph, row);

	for (int i = 0; i < graph->nlinks[row]; i++)
		if (links[i] == other)
			return true;
	return false;
}

/*
 * Add a link unless it would be one to itself, a second one, or one too many.
 */
static void
add_link(PartitionGraph *graph, uint32 row, uint32 other)
{
	if (other != row && graph->nlinks[row] < graph->degree &&
		!has_link(graph, row, other))
		GRAPH_LINKS(graph, row)[graph->nlinks[row]++] = other;
}

/*
 * Add the links of a row's neighbours, of the nearest first, then those of
 * theirs.
 */
static void
fill_from_neighbours(PartitionGraph *graph, uint32 row)
{
	for (int hop = 0; hop < graph->nlinks[row]; hop++)
	{
		uint32		neighbour = GRAPH_LINKS(graph, row)[hop];

		for (int i = 0; i < graph->nlinks[neighbour]; i++)
		{
			if (graph->nlinks[row] == graph->degree)
				return;
			add_link(graph, row, GRAPH_LINKS(graph, neighbour)[i]);
		}
	}
}

/*
 * Fill what is left of a row's list with any rows.
 */
static void
fill_at_random(PartitionBuild *build, PartitionGraph *graph, uint32 row)
{
	int			full = Min(graph->degree, graph->n - 1);

	for (int i = 0; i < RANDOM_TRIES && graph->nlinks[row] < full; i++)
		add_link(graph, row,
				 pg_prng_uint64_range(&build->random, 0, graph->n - 1));
	for (uint32 other = 0; graph->nlinks[row] < full; other++)
		add_link(graph, row, other);
}

/* Take "other" out of the links of a row, if it is there. */
static void
drop_link(PartitionGraph *graph, uint32 row, uint32 other)
{
	uint32	   *links = GRAPH_LINKS(graph, row);
	int			at = 0;

	while (at < graph->nlinks[row] && links[at] != other)
		at++;
	if (at == graph->nlinks[row])
		return;
	graph->nlinks[row]--;
	graph->nkept[row] -= at < graph->nkept[row];
	memmove(links + at, links + at + 1, sizeof(uint32) * (graph->nlinks[row] - at));
}

/*
 * Put "other" before the links of a row, which loses its last one if the list
 * is full.
 */
static void
push_link(PartitionGraph *graph, uint32 row, uint32 other)
{
	uint32	   *links = GRAPH_LINKS(graph, row);
	int			keep;

	drop_link(graph, row, other);
	keep = Min(graph->nlinks[row], graph->degree - 1);
	memmove(links + 1, links, keep * sizeof(uint32));
	links[0] = other;
	graph->nlinks[row] = keep + 1;
	graph->nkept[row] = Min(graph->nkept[row] + 1, graph->nlinks[row]);
}

/*
 * Link the rows of "group", which have the same vector, as a tree; the first
 * is the root and has its links to other vectors already.  Some copies share
 * these links, but not all, or else the few rows that they lead to would get
 * links from all of a large group; the others lead to more copies instead.
 */
static void
link_group(PartitionBuild *build, PartitionGraph *graph, const uint32 *group,
		   uint32 count)
{
	uint32		first = group[0];
	uint32		fanout = Min(COPY_FANOUT, graph->degree / 2);

	/* The first row comes last, because the others copy its links. */
	for (uint32 i = count; i-- > 0;)
	{
		uint32		row = group[i];

		if (i > 0)
		{
			if (i < COPIES_WITH_LINKS)
			{
				memcpy(GRAPH_LINKS(graph, row), GRAPH_LINKS(graph, first),
					   graph->nlinks[first] * sizeof(uint32));
				graph->nlinks[row] = graph->nlinks[first];
				graph->nkept[row] = graph->nkept[first];
				/* A copy may be a hub. */
				drop_link(graph, row, row);
			}
			push_link(graph, row, group[(i - 1) / fanout]);
		}
		for (uint32 j = 1; j <= fanout; j++)
			if ((uint64) i * fanout + j < count)
				push_link(graph, row, group[i * fanout + j]);
		if (i >= COPIES_WITH_LINKS)
			for (int j = 0; j < graph->degree; j++)
				add_link(graph, row,
						 group[pg_prng_uint64_range(&build->random, 0,
													count - 1)]);
	}
}

/*
 * Attach the copies of vectors to the graph of the distinct ones.
 */
static void
link_copies(PartitionBuild *build, PartitionGraph *graph)
{
	uint32		n = graph->n;
	uint32	   *ends = partition_alloc(sizeof(uint32) * ((Size) n + 1));
	uint32	   *copies = partition_alloc(sizeof(uint32) * (Size) n);

	/* Sort the rows by vector: those of x are copies[ends[x - 1] .. ends[x]]. */
	memset(ends, 0, sizeof(uint32) * ((Size) n + 1));
	for (uint32 row = 0; row < n; row++)
		ends[build->same_as[row] + 1]++;
	for (uint32 row = 0; row < n; row++)
		ends[row + 1] += ends[row];
	for (uint32 row = 0; row < n; row++)
		copies[ends[build->same_as[row]]++] = row;
	partition_tick(build);

	for (uint32 first = 0; first < n; first++)
	{
		uint32		begin = first == 0 ? 0 : ends[first - 1];

		if (ends[first] - begin > 1)
			link_group(build, graph, copies + begin, ends[first] - begin);
		if (first % ROWS_PER_REPORT == 0)
			partition_tick(build);
	}
	pfree(copies);
	pfree(ends);
}

/*
 * Mark everything that can be reached from a row as reached.
 */
static void
reach(PartitionBuild *build, const PartitionGraph *graph, Reach *reached,
	  uint32 root, uint32 parent)
{
	uint32		next = reached->count;

	reached->parents[root] = parent;
	reached->rows[reached->count++] = root;
	while (next < reached->count)
	{
		uint32		row = reached->rows[next++];
		const uint32 *links = GRAPH_LINKS(graph, row);

		for (int i = 0; i < graph->nlinks[row]; i++)
			if (reached->parents[links[i]] == NOT_REACHED)
			{
				reached->parents[links[i]] = row;
				reached->rows[reached->count++] = links[i];
			}
		if (next % ROWS_PER_REPORT == 0)
			partition_progress(build, 0.5 + 0.5 * next / graph->n);
	}
}

/*
 * Replace a link of a reached row by one to "other".  A diverse link is only
 * replaced if "diverse" is set, a link of the tree never.
 */
static bool
replace_link(PartitionGraph *graph, const Reach *reached, uint32 row,
			 uint32 other, bool diverse)
{
	uint32	   *links = GRAPH_LINKS(graph, row);
	int			first = diverse ? 0 : graph->nkept[row];

	if (row == other || row >= graph->n || reached->parents[row] == NOT_REACHED)
		return false;
	for (int i = graph->nlinks[row] - 1; i >= first; i--)
		if (reached->parents[links[i]] != row)
		{
			links[i] = other;
			return true;
		}
	return false;
}

/*
 * Give "other" a link from a reached row, and return that row: one of its own
 * neighbours, or else the nearest of some reached rows, or else any.
 */
static uint32
link_to(PartitionBuild *build, PartitionGraph *graph, const Reach *reached,
		uint32 other)
{
	const uint32 *links = GRAPH_LINKS(graph, other);
	uint32		nearest = 0;
	int32		nearest_dist = PG_INT32_MAX;

	for (int diverse = 0; diverse <= 1; diverse++)
	{
		for (int i = 0; i < graph->nlinks[other]; i++)
			if (replace_link(graph, reached, links[i], other, diverse))
				return links[i];
	}
	for (int i = 0; i < RANDOM_TRIES; i++)
	{
		uint64		at = pg_prng_uint64_range(&build->random, 0,
											  reached->count - 1);
		uint32		row = reached->rows[at];
		int32		dist = partition_distance(build, row, other);

		if (dist < nearest_dist)
		{
			nearest = row;
			nearest_dist = dist;
		}
	}
	if (replace_link(graph, reached, nearest, other, true))
		return nearest;

	/*
	 * Each of r rows has a link, and the tree has r - 1 of them.  If "other" is
	 * its root, its own links do not count, but one of them is the tree's.
	 */
	for (uint32 i = 0; i < reached->count; i++)
		if (replace_link(graph, reached, reached->rows[i], other, true))
			return reached->rows[i];
	Assert(false);
	return 0;
}

static bool
has_incoming(const PartitionGraph *graph, uint32 row)
{
	for (uint32 other = 0; other < graph->n; other++)
		if (has_link(graph, other, row))
			return true;
	return false;
}

/*
 * Fill all lists, and see to it that every row (but guests) can be reached
 * from row 0 and has an incoming link.
 */
void
connect_rows(PartitionBuild *build, PartitionGraph *graph)
{
	uint32		n = graph->n;
	Reach		reached = {0};

	pg_prng_seed(&build->random, build->params->seed);
	for (uint32 row = 0; row < n; row++)
	{
		if (ROW_IS_DISTINCT(build, row))
			fill_from_neighbours(graph, row);
		if (row % ROWS_PER_REPORT == 0)
			partition_progress(build, 0.3 * row / n);
	}
	if (build->same_as != NULL)
		link_copies(build, graph);
	for (uint32 row = 0; row < n; row++)
	{
		fill_at_random(build, graph, row);
		if (row % ROWS_PER_REPORT == 0)
			partition_progress(build, 0.3 + 0.2 * row / n);
	}
	if (n < 2)
		return;

	reached.parents = partition_alloc(sizeof(uint32) * (Size) build->n);
	for (uint32 row = 0; row < build->n; row++)
		reached.parents[row] = row < n ? NOT_REACHED : OUTSIDE;
	reached.rows = partition_alloc(sizeof(uint32) * (Size) n);
	reach(build, graph, &reached, 0, 0);
	for (uint32 row = 1; row < n; row++)
		if (reached.parents[row] == NOT_REACHED)
			reach(build, graph, &reached, row,
				  link_to(build, graph, &reached, row));
	if (!has_incoming(graph, 0))
		link_to(build, graph, &reached, 0);
	pfree(reached.parents);
	pfree(reached.rows);
}
