/*-------------------------------------------------------------------------
 *
 * partition.c
 *		The build's neighbour graph: parameters, memory, order of the phases.
 *
 * See README.md for the algorithm.
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>

#include "distance/distance.h"
#include "partition/partition_build.h"

/*
 * The phases' shares of the time, for reports of progress: most sets take three
 * quarters for partitions and leaves, those with many links more for pruning
 * (EVIDENCE.md, "Measurements").
 */
#define NORMS_SHARE 0.01
#define COPIES_SHARE 0.01
#define SPLIT_SHARE 0.58
#define PRUNE_SHARE 0.35
#define CONNECT_SHARE 0.05

/* Arrays that partition_memory counts together, at most */
#define MAX_SHARED 16

/* Candidates of each row where one leaf holds all rows. */
#define ONE_LEAF_WIDTH 200

/* What an empty slot of the hash table of vectors holds. */
#define NO_ROW PG_UINT32_MAX

/*
 * All memory comes from here: an array may exceed 1 GB.
 */
void *
partition_alloc(Size size)
{
	return palloc_extended(Max(size, 1), MCXT_ALLOC_HUGE);
}

/*
 * Memory that all members of the team see; each must ask for the same in the
 * same order.
 */
void *
partition_share(PartitionBuild *build, Size size)
{
	char	   *memory;

	if (build->team == NULL)
		return partition_alloc(size);
	memory = build->team->memory + build->used;
	build->used += TYPEALIGN(PARTITION_ALIGN, size);
	return memory;
}

/*
 * Give it back, the last one first.
 */
void
partition_unshare(PartitionBuild *build, void *memory)
{
	if (build->team == NULL)
		pfree(memory);
	else
		build->used = (char *) memory - build->team->memory;
}

/*
 * Report how much of the current phase is done.  The callback may not return.
 */
void
partition_progress(PartitionBuild *build, double fraction)
{
	build->progress_done = fraction;
	partition_tick(build);
}

/*
 * Report the same progress again, in a loop that does not know how much of the
 * phase it is: so that the callback is called often.
 */
void
partition_tick(PartitionBuild *build)
{
	const PartitionParams *params = build->params;

	if (params->progress != NULL)
		params->progress(params->progress_arg, build->progress_base +
						 build->progress_span * build->progress_done);
}

static void
begin_phase(PartitionBuild *build, double span)
{
	build->progress_base += build->progress_span;
	build->progress_span = span;
	partition_progress(build, 0);
}

/*
 * Dot products (L1 distances) of all pairs of two sets of adjacent rows.
 */
void
partition_products(PartitionBuild *build, int na, const int8 *a,
				   int nb, const int8 *b, int32 *out, int ldo)
{
	ByteRows	arows = {na, a, build->stride};
	ByteRows	brows = {nb, b, build->stride};

	if (build->metric->absolute)
		distance->i8_l1_matrix(build->stride, arows, brows, out, ldo);
	else
		distance->i8_dot_matrix(build->stride, arows, brows, out, ldo);
}

/*
 * Distance of two rows; squared for L2.
 */
int32
partition_distance(PartitionBuild *build, uint32 a, uint32 b)
{
	const int8 *va = ROW_VECTOR(build, a);
	const int8 *vb = ROW_VECTOR(build, b);

	if (build->params->distance != NULL)
		return build->params->distance(build->params->distance_arg, a, b);
	if (build->metric->absolute)
		return distance->i8_l1(build->stride, va, vb);
	return product_distance(build->params->metric, distance->i8_dot(build->stride, va, vb),
							build->norms[a], build->norms[b]);
}

/*
 * Choose how much work to do.  EVIDENCE.md has the measurements.
 */
static void
set_parameters(PartitionBuild *build, uint32 n, int stride,
			   const PartitionParams *params)
{
	double		overlap = 1.25 * sqrt((double) params->quality);

	build->params = params;
	build->metric = &partition_metrics[params->metric];
	build->team = params->team;
	build->n = n;
	build->nhome = n - params->nguests;
	build->stride = stride;
	build->degree = params->degree;
	build->slack = params->slack > 0 ? params->slack : PARTITION_SLACK;
	build->overlap = (int) Max(4, Min(32, rint(overlap)));
	build->leaf_max = 1000;
	build->leaf_best = Max(8, Min(20, params->degree / 6));
	build->forward = Max(2, params->degree * 7 / 10 + 1);
	build->width = Max((params->degree + 1) / 2,
					   Min(params->degree + 16,
						   build->overlap * build->leaf_best));

	/* Unlike rows are all nearly equally far: more candidates for the few links between them. */
	if (build->metric->flat)
	{
		build->leaf_best *= 2;
		build->width = Max(build->width,
						   Min(params->degree + 48, build->overlap * build->leaf_best));
	}

	/*
	 * Enough partitions that few need a second split, which separates
	 * neighbours, but not so many that choosing them costs more than the
	 * leaves do.
	 */
	build->pivots = (int) Min(1000.0, (double) n * build->overlap / 500 + 1);

	/*
	 * One leaf then holds everything, and its answer is exact.  The nearest
	 * rows alone lead nowhere else: more candidates give longer links, too.
	 */
	if (n <= build->leaf_max)
	{
		build->overlap = 1;
		build->pivots = 1;
		build->width = Max(build->width, Min((int) n - 1, ONE_LEAF_WIDTH));
		build->leaf_best = build->width;
	}
}

/*
 * Peak bytes of a build, for maintenance_work_mem.
 */
Size
partition_memory(uint32 n, int stride, const PartitionParams *params)
{
	PartitionBuild build = {0};
	Size		rows = n;
	Size		whole = MAX_SHARED * PARTITION_ALIGN;
	Size		phase;

	set_parameters(&build, n, stride, params);
	whole += rows * (sizeof(int32) +		/* norms */
					2 * sizeof(uint32) +	/* same_as, order */
					sizeof(uint64) * build.width +	/* lists */
					3 * sizeof(uint16));	/* counts, nlinks, nkept */
	phase = Max(split_memory(&build), prune_memory(&build));
	phase = Max(phase, Max(hubs_memory(&build), connect_memory(&build)));
	return whole + phase;
}

static void
compute_norms(PartitionBuild *build)
{
	uint32		from;
	uint32		to;

	build->norms = partition_share(build, sizeof(int32) * (Size) build->n);
	while (claim_range(build, TASK_NORMS, ROWS_PER_REPORT, build->n, &from, &to))
	{
		partition_progress(build, (double) from / build->n);
		for (uint32 row = from; row < to; row++)
		{
			const int8 *v = ROW_VECTOR(build, row);

			build->norms[row] = distance->i8_dot(build->stride, v, v);
		}
	}
}

/* A hash of a whole vector; only equality matters, not the byte order. */
static uint64
hash_vector(const int8 *v, int stride)
{
	uint64		h = 0;

	for (int i = 0; i < stride; i += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, v + i, sizeof(word));
		h = (h ^ word) * UINT64CONST(0x9E3779B97F4A7C15);
		h ^= h >> 29;
	}
	return h;
}

/*
 * Find rows that repeat an earlier one.  They stay out of the partitions: a
 * vector repeated more often than a candidate list is long would otherwise
 * fill the lists of all its copies, which then lead nowhere else.
 */
static void
find_copies(PartitionBuild *build, uint32 *ndistinct)
{
	Size		size = 16;
	uint32	   *table;

	while (size < build->n * (Size) 3 / 2)
		size *= 2;
	table = partition_alloc(sizeof(uint32) * size);
	memset(table, 0xFF, sizeof(uint32) * size);
	*ndistinct = 0;

	for (uint32 row = 0; row < build->n; row++)
	{
		const int8 *v = ROW_VECTOR(build, row);
		Size		slot = hash_vector(v, build->stride) & (size - 1);

		while (table[slot] != NO_ROW &&
			   memcmp(ROW_VECTOR(build, table[slot]), v, build->stride) != 0)
			slot = (slot + 1) & (size - 1);
		if (table[slot] == NO_ROW)
		{
			table[slot] = row;
			(*ndistinct)++;
		}
		build->same_as[row] = table[slot];
		if (row % ROWS_PER_REPORT == 0)
			partition_progress(build, (double) row / build->n);
	}
	pfree(table);
}

/*
 * Move the links, which lie where the candidates were, together.
 */
static uint32 *
compact_links(PartitionBuild *build)
{
	Size		size = sizeof(uint32) * build->degree;
	char	   *links = (char *) build->lists;

	if (is_leader(build))
		for (uint32 row = 0; row < build->nhome; row++)
			memmove(links + size * row, ROW_LINKS(build, row), size);
	build->lists = NULL;
	if (build->team != NULL)
		return (uint32 *) links;
	size = Max(size * build->nhome, 1);
#ifdef FRONTEND
	return repalloc(links, size);
#else
	return repalloc_huge(links, size);
#endif
}

/*
 * Build the neighbour graph; see partition.h for what it promises.
 */
PartitionGraph *
partition_build(uint32 n, const int8 *vectors, int stride,
				const PartitionParams *params)
{
	PartitionBuild build = {0};
	PartitionGraph *graph = palloc0(sizeof(PartitionGraph));
	uint32	   *same_as;
	uint32	   *ndistinct;

	Assert(params->nguests <= n);
	Assert(stride > 0 && stride % 64 == 0);
	Assert(params->degree >= 2 && params->degree <= PG_UINT16_MAX);

	set_parameters(&build, n, stride, params);
	build.vectors = vectors;
	pg_prng_seed(&build.random, params->seed);

	begin_phase(&build, NORMS_SHARE);
	compute_norms(&build);
	begin_phase(&build, COPIES_SHARE);
	build.same_as = same_as = partition_share(&build, sizeof(uint32) * (Size) n);
	ndistinct = partition_share(&build, sizeof(uint32));
	if (is_leader(&build))
		find_copies(&build, ndistinct);
	build.lists = partition_share(&build, sizeof(uint64) * build.width * (Size) n);
	build.counts = partition_share(&build, sizeof(uint16) * (Size) n);
	wait_for_team(&build);
	build.ndistinct = *ndistinct;
	if (build.ndistinct == n)
		build.same_as = NULL;

	begin_phase(&build, SPLIT_SHARE);
	build.order = partition_share(&build, sizeof(uint32) * (Size) build.ndistinct);
	split_rows(&build);

	graph->n = build.nhome;
	graph->degree = params->degree;
	graph->nlinks = partition_share(&build, sizeof(uint16) * (Size) n);
	graph->nkept = partition_share(&build, sizeof(uint16) * (Size) n);
	begin_phase(&build, PRUNE_SHARE);
	prune_rows(&build, graph);
	link_hubs(&build, graph);

	begin_phase(&build, CONNECT_SHARE);
	graph->links = compact_links(&build);
	if (is_leader(&build))
		connect_rows(&build, graph);
	wait_for_team(&build);
	if (build.team == NULL)
	{
		pfree(build.order);
		pfree(build.counts);
		pfree(build.norms);
		pfree(same_as);
		pfree(ndistinct);
	}
	return graph;
}

/*
 * Free the result of partition_build without a team.
 */
void
partition_free(PartitionGraph *graph)
{
	pfree(graph->links);
	pfree(graph->nlinks);
	pfree(graph->nkept);
	pfree(graph);
}
