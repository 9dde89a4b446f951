/*-------------------------------------------------------------------------
 *
 * build_chunk.c
 *		CREATE INDEX: the graph of a chunk, and its pages.
 *
 * All members of a team run build_chunk with the same chunk and share the
 * work by claiming ranges of it.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* Rows, or pages, that a member claims at a time */
#define CODE_ROWS 1024
#define WRITE_PAGES 32

/*
 * The slack of distances of sparse vectors' elements, which mostly have few in common
 * (EVIDENCE.md, "Diversity of links").  Sketches, as inserts compare them, have that of
 * the metric.
 */
#define SPARSE_SLACK 1.39f

/* What the partition builder is asked for. */
PartitionParams
build_partition_params(const BuildState *state, const BuildChunk *chunk)
{
	PartitionParams params = {0};

	params.metric = state->layout.space->partition;
	params.slack = state->layout.space->slack;
	params.degree = state->layout.degree;
	params.quality = state->layout.ef_construction;
	params.seed = chunk->level + 1;
	params.nguests = chunk->nguests;
	/* See graph_vector. */
	if (state->layout.space->lifted)
		params.extra = 1 + (state->layout.code.units > 0 ? state->layout.out_dim : state->layout.dim);
	return params;
}

/* Bytes of the times of a chunk. */
Size
build_times_size(const BuildState *state, const BuildChunk *chunk)
{
	return state->layout.space->lifted ? sizeof(float) * ((Size) chunk->n + chunk->nguests) : 0;
}

/* Room for them, or NULL if there are none. */
float *
build_times_alloc(MemoryContext context, const BuildState *state, const BuildChunk *chunk)
{
	Size		size = build_times_size(state, chunk);

	return size > 0 ? MemoryContextAllocHuge(context, size) : NULL;
}

/* Bytes that a chunk needs besides its rows and their packed values. */
Size
build_chunk_memory(const BuildState *state, const BuildChunk *chunk)
{
	PartitionParams params = build_partition_params(state, chunk);
	Size		n = (Size) chunk->n + chunk->nguests;

	return n * state->stride + build_projected_size(state, chunk) + build_times_size(state, chunk) +
		chunk->nguests * sizeof(HnswNodeId) +
		partition_memory(n, state->stride, &params);
}

/* Number of the i'th node of those that are written one after another. */
HnswNodeId
build_nth_node(const HnswLayout *layout, HnswNodeId first, uint32 i)
{
	return first + (layout->pages_per_node > 1 ? i * layout->pages_per_node : i);
}

/* Blocks that a chunk's nodes take. */
BlockNumber
build_chunk_blocks(const HnswLayout *layout, const BuildChunk *chunk)
{
	return (chunk->n + layout->nodes_per_page - 1) / layout->nodes_per_page *
		layout->pages_per_node;
}

static void
fill_codes(BuildState *state, BuildChunk *chunk)
{
	float	   *room = palloc(build_encode_room(state));
	uint32		from;
	uint32		to;

	while (!chunk->coded &&
		   build_claim(state, BUILD_TASK_CODES, CODE_ROWS, chunk->n, &from, &to))
	{
		CHECK_FOR_INTERRUPTS();
		for (uint32 i = from; i < to; i++)
		{
			const BuildRow *row = &chunk->rows[i];
			float		times;

			hnsw_value_unpack(&state->layout, chunk->data + row->packed, row->scale, state->value);
			times = build_encode(state, state->value, room, chunk->codes + (Size) i * state->stride);
			if (chunk->times != NULL)
				chunk->times[i] = times;
		}
	}
	pfree(room);
	build_wait(state);
}

/* Project the codes of all rows and guests. */
static void
fill_projected(BuildState *state, BuildChunk *chunk)
{
	int			dims = state->layout.code.dims;
	uint32		from;
	uint32		to;

	if (!state->layout.projected)
		return;
	if (chunk->projected == NULL)
		chunk->projected = palloc_extended(Max(build_projected_size(state, chunk), 1),
										   MCXT_ALLOC_HUGE);
	while (build_claim(state, BUILD_TASK_PROJECT, CODE_ROWS, chunk->n + chunk->nguests,
					   &from, &to))
	{
		CHECK_FOR_INTERRUPTS();
		build_project_codes(&state->index->projection, to - from,
							chunk->codes + (Size) from * state->stride, state->stride,
							state->step, chunk->projected + (Size) from * dims);
	}
	build_wait(state);
}

/* How many times as long as its code is a row? */
static inline float
row_times(const BuildChunk *chunk, uint32 row)
{
	return chunk->times != NULL ? chunk->times[row] : 1;
}

/*
 * A row's rotated and centred vector, out of the int8 codes.  Codes are centred, too, so
 * a row that is so many times as long is not so many times its code.
 */
void
build_rotated(const BuildState *state, const BuildChunk *chunk, uint32 row, float *out)
{
	float		times = row_times(chunk, row);

	distance->i8_to_float(state->layout.out_dim, chunk->codes + (Size) row * state->stride,
						  state->step * times, out);
	for (int i = 0; i < state->layout.out_dim && times != 1; i++)
		out[i] += (times - 1) * state->index->mean[state->layout.dim + i];
}

/* The same, and what codes are made of behind it. */
static void
link_vector(const BuildState *state, const BuildChunk *chunk, uint32 row, float *out)
{
	float		times = row_times(chunk, row);
	float	   *projected = out + state->layout.out_dim;

	build_rotated(state, chunk, row, out);
	if (!state->layout.projected)
		return;
	distance->i8_to_float(state->layout.code.dims,
						  chunk->projected + (Size) row * state->layout.code.dims,
						  projection_range_step(&state->index->projection) * times, projected);
	for (int i = 0; i < state->layout.code.dims && times != 1; i++)
		projected[i] += (times - 1) * state->projected_mean[i];
}

/* Make the image of a chunk's i'th node. */
static void
make_node(BuildState *state, const BuildChunk *chunk, const PartitionGraph *graph, uint32 i,
		  HnswOwn *own, float *vectors, HnswNodeHeader node)
{
	const HnswLayout *layout = &state->layout;
	const BuildRow *row = &chunk->rows[i];
	float	   *from = vectors;
	float	   *rotated = vectors + hnsw_rotated_length(layout);
	int			nlinks = graph->nlinks[i];

	hnsw_own_encode_packed(state->index, chunk->data + row->packed, row->scale, row->error,
						   state->value, own);
	hnsw_node_init(state->index, node, chunk->level, own);

	/* The neighbours' codes are far apart in memory. */
	for (int j = 0; j < nlinks && layout->code.units > 0; j++)
	{
		const int8 *code = chunk->codes + (Size) graph->links[(Size) i * graph->degree + j] * state->stride;

		for (int k = 0; k < state->stride; k += PG_CACHE_LINE_SIZE / 2)
			__builtin_prefetch(code + k);
	}
	if (layout->code.units > 0)
		link_vector(state, chunk, i, from);
	for (int j = 0; j < nlinks; j++)
	{
		uint32		other = graph->links[(Size) i * graph->degree + j];
		HnswNeighbour to = {0};

		if (other < chunk->n)
			to.id = build_nth_node(layout, chunk->first, other);
		else
			to.id = chunk->guests[other - chunk->n];
		to.rotated = rotated;
		if (layout->code.units > 0)
			link_vector(state, chunk, other, rotated);
		hnsw_set_link(state->index, node, j, &to, from, j < graph->nkept[i]);
	}
	node->nlinks = nlinks;
	if (chunk->level == 0)
	{
		HnswNodeTids(layout, node)[0] = row->tid;
		memcpy(HnswNodeKeys(layout, node), chunk->data + row->packed - build_key_room(layout),
			   layout->key_size);
		node->ntids = 1;
	}
	else
		node->below = row->below;
}

/* Write the chunk's pages, which exist already. */
static void
write_nodes(BuildState *state, const BuildChunk *chunk, const PartitionGraph *graph)
{
	const HnswLayout *layout = &state->layout;
	int			per_page = layout->nodes_per_page;
	uint32		pages = (chunk->n + per_page - 1) / per_page;
	char	   *image = palloc((Size) layout->node_size * per_page);
	float	   *vectors = palloc(sizeof(float) * 2 * Max(hnsw_rotated_length(layout), layout->dim));
	HnswOwn		own = {0};
	uint32		from;
	uint32		to;

	own.data = palloc(layout->own_size);
	while (build_claim(state, BUILD_TASK_WRITE, WRITE_PAGES, pages, &from, &to))
	{
		build_progress(state, (double) from / pages);
		for (uint32 page = from; page < to; page++)
		{
			uint32		start = page * per_page;
			int			n = Min(per_page, chunk->n - start);
			MemoryContext old = MemoryContextSwitchTo(state->row_context);

			for (int j = 0; j < n; j++)
				make_node(state, chunk, graph, start + j, &own, vectors,
						  (HnswNodeHeader) (image + j * layout->node_size));
			MemoryContextSwitchTo(old);
			MemoryContextReset(state->row_context);
			hnsw_build_page(state->index, build_nth_node(layout, chunk->first, start),
							chunk->level > 0, n, image);
			piramid_injection_point("hnsw-build-page");
		}
	}
	pfree(image);
	pfree(vectors);
	pfree(own.data);
	build_wait(state);
}

static void
graph_progress(void *arg, double fraction)
{
	piramid_injection_point("hnsw-build-graph");
	build_progress(arg, fraction);
}

/* Make the graph of a chunk and write its nodes. */
void
build_chunk(BuildState *state, BuildChunk *chunk)
{
	PartitionParams params = build_partition_params(state, chunk);
	BuildSparse *sparse = build_sparse_create(state, chunk);
	PartitionGraph *graph;

	if (sparse != NULL)
	{
		params.distance = build_sparse_distance;
		params.slack = SPARSE_SLACK;
		params.distance_arg = sparse;
	}
	params.times = chunk->times;
	params.progress = graph_progress;
	params.progress_arg = state;
	params.team = build_team_partition(state->team);
	memset(state->claims, 0, sizeof(state->claims));
	build_phase(state, chunk, HNSW_PHASE_GRAPH);
	fill_codes(state, chunk);
	fill_projected(state, chunk);
	if (state->layout.projected && chunk->times != NULL)
	{
		state->projected_mean = palloc(sizeof(float) * state->layout.code.dims);
		projection_apply(&state->index->projection, state->index->mean + state->layout.dim,
						 state->projected_mean);
	}
	graph = partition_build(chunk->n + chunk->nguests, chunk->codes, state->stride, &params);
	build_sparse_free(sparse);
	build_phase(state, chunk, HNSW_PHASE_WRITE);
	write_nodes(state, chunk, graph);
	if (params.team == NULL)
		partition_free(graph);
	else
		pfree(graph);
}
