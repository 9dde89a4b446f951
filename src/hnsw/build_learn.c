/*-------------------------------------------------------------------------
 *
 * build_learn.c
 *		CREATE INDEX: what is learned from a sample of the rows before the
 *		first node is made, and the int8 codes of the graph's builder.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"

#include "access/tableam.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Rows to learn the mean and the scale of int8 vectors from, and how few do */
#define SAMPLE_ROWS 10000
#define MIN_SAMPLE_ROWS 100

/*
 * Rows whose squared length is so many times the median, so four times as long, do not
 * count there.  Chosen, not measured: of log-normal lengths (sigma 1) it is a twelfth.
 */
#define OUTLIER_NORM 16

/* Share of rows of which the int8 scale clips nothing; long rows matter to inner product */
#define UNCLIPPED_SHARE 0.9
#define UNCLIPPED_SHARE_IP 0.999

/*
 * Inner product: keys are differences of squared lengths (bounds.c), so that a float must
 * hold the product of the longest row with a query of the index's length beside them.
 */
#define LEAST_OF_LONGEST 1e-4f

/* Inner product: rows are at least so long in the graph, as a part of the index's length. */
#define SHORTEST 0.25f

/* Share of the sparse vectors that are stored with all elements */
#define WHOLE_SHARE 0.95

/*
 * To see whether int8 tells rows apart, the codes of some rows are compared with
 * those of more: how many, at most in bytes, and what share of the table.
 */
#define PROBES 128
#define PROBED_ROWS 4096
#define PROBED_BYTES (8 * 1024 * 1024)
#define PROBED_SHARE 16

/*
 * Two rows whose codes differ by a squared length of less than this for each
 * coordinate are as near as rounding makes them: see README-build.md.
 */
#define ROUNDING_LIMIT (4.0 / 3)

/* Share of rows with too many others so near, from which on codes are no use */
#define BLURRED_SHARE 0.1

/*
 * Blocks of the table whose rows tell whether they are remote: so many times as far from
 * zero as from their mean.  Then binary16 of a row is off by more than int8 of what it
 * differs from the mean: by 2^-12 of the former or less, and some 1/130 of the latter.
 */
#define REMOTE_BLOCKS 32
#define REMOTE_FACTOR 128

/* For qsort: ascending */
int
build_compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return (x > y) - (x < y);
}

static int
compare_ints(const void *a, const void *b)
{
	int			x = *(const int *) a;
	int			y = *(const int *) b;

	return (x > y) - (x < y);
}

/* Sums over rows, as they differ from the first one */
typedef struct RowSums
{
	BuildState *state;
	double		n;
	float	   *first;
	double	   *sums;
	double		squares;
} RowSums;

/* table_index_build_scan callback */
static void
add_to_sums(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool tuple_is_alive,
			void *arg)
{
	RowSums    *rows = arg;
	BuildState *state = rows->state;
	int			column = state->vector_column - 1;
	MemoryContext old;

	if (isnull[column])
		return;
	old = MemoryContextSwitchTo(state->row_context);
	hnsw_value_set(&state->layout, state->value, values[column], false);
	if (rows->n++ == 0)
		memcpy(rows->first, state->value->x, sizeof(float) * state->layout.dim);
	for (int i = 0; i < state->layout.dim; i++)
	{
		double		d = (double) state->value->x[i] - rows->first[i];

		rows->sums[i] += d;
		rows->squares += d * d;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->row_context);
}

/*
 * Are the rows remote?  Some blocks of the table tell, before it is loaded: by then it
 * has to be known how values are packed.  Values of type halfvec are as exact as
 * binary16 is.
 */
bool
build_is_remote(BuildState *state)
{
	const HnswLayout *layout = &state->layout;
	BlockNumber blocks = RelationGetNumberOfBlocks(state->heap);
	RowSums		rows = {.state = state};
	double		from_zero = 0;
	double		from_mean;

	if (layout->type != HNSW_TYPE_VECTOR || !layout->space->euclidean || layout->space->unit ||
		layout->space->lifted || state->heap->rd_tableam != GetHeapamTableAmRoutine())
		return false;
	rows.first = palloc(sizeof(float) * layout->dim);
	rows.sums = palloc0(sizeof(double) * layout->dim);
	for (BlockNumber i = 0; i < Min(blocks, REMOTE_BLOCKS); i++)
	{
		CHECK_FOR_INTERRUPTS();
		table_index_build_range_scan(state->heap, state->rel, state->info, false, false, false,
									 (BlockNumber) ((uint64) i * blocks / Min(blocks, REMOTE_BLOCKS)),
									 1, add_to_sums, &rows, NULL);
	}
	from_mean = rows.squares / Max(rows.n, 1);
	for (int i = 0; i < layout->dim && rows.n > 0; i++)
	{
		double		mean = rows.sums[i] / rows.n;

		from_mean -= mean * mean;
		from_zero += (rows.first[i] + mean) * (rows.first[i] + mean);
	}
	pfree(rows.first);
	pfree(rows.sums);
	return from_mean > 0 && from_zero > (double) REMOTE_FACTOR * REMOTE_FACTOR * from_mean;
}

/* The i'th of "n" rows that stand for all loaded ones. */
static const HnswValue *
sample_row(BuildState *state, int i, int n)
{
	return build_row_value(state, (uint64) i * state->rows.n / n);
}

/*
 * Room for elements in each node of an index of sparse vectors: enough for
 * most rows.
 */
static int
sparse_elements(BuildState *state)
{
	int			nsample = Min(state->rows.n, SAMPLE_ROWS);
	int		   *nnz = palloc(sizeof(int) * Max(nsample, 1));
	int			elements = HNSW_DEFAULT_ELEMENTS;

	if (nsample < MIN_SAMPLE_ROWS)
		return elements;
	for (int i = 0; i < nsample; i++)
		nnz[i] = sample_row(state, i, nsample)->nnz;
	qsort(nnz, nsample, sizeof(int), compare_ints);
	elements = Max(nnz[(int) (nsample * WHOLE_SHARE)], 1);
	pfree(nnz);
	return (elements + 1) / 2 * 2;
}

/* Rows to learn projections from: int8 of rotated vectors, and their step */
typedef struct SampleRows
{
	int			n;
	int8	   *rows;			/* projection_stride(out_dim) bytes each */
	float		step;
} SampleRows;

/* Rows rotated by this seed; those that are longer than "longest" are zero. */
static SampleRows
rotate_sample(BuildState *state, const float *mean, float longest, uint64 seed)
{
	const HnswLayout *layout = &state->layout;
	int			n = Min(state->rows.n, BUILD_PROJECTION_ROWS);
	int			stride = projection_stride(layout->out_dim);
	HnswIndex	shape = {0};
	float	   *prepared = palloc(sizeof(float) * layout->dim);
	float	   *rotated = palloc0(sizeof(float) * (Size) n * layout->out_dim);
	int8	   *rows = palloc0((Size) n * stride);
	float		largest = 0;

	shape.layout = *layout;
	shape.mean = unconstify(float *, mean);
	rotation_init(&shape.rotation, layout->dim, seed,
				  palloc(rotation_signs_size(layout->out_dim)));
	for (int i = 0; i < n; i++)
	{
		/* in an order that is not the table's; the multiplier is prime */
		uint64		place = (uint64) i * 7919 % n;
		float	   *row = rotated + (Size) i * layout->out_dim;

		(void) hnsw_prepare(&shape, sample_row(state, place, n)->x, prepared);
		if (!(distance->normsq(layout->dim, prepared) <= longest))
			continue;
		hnsw_rotate_only(&shape, prepared, row);
		for (int j = 0; j < layout->out_dim; j++)
			largest = Max(largest, fabsf(row[j]));
	}
	for (int i = 0; i < n && largest > FLT_MIN * 127 && largest < FLT_MAX; i++)
		for (int j = 0; j < layout->out_dim; j++)
			rows[(Size) i * stride + j] =
				(int8) rintf(rotated[(Size) i * layout->out_dim + j] / largest * 127);
	pfree(rotated);
	return (SampleRows) {n, rows, largest / 127};
}

/*
 * Learn where the energy of the rows is: projections for the codes of links, by
 * which the layout is chosen, and for sketches.  Each may be NULL.
 */
static void
learn_projections(BuildState *state, HnswMetaPageData *meta, const float *mean, float longest,
				  Projection **codes, Projection **sketches)
{
	HnswLayout *layout = &state->layout;
	bool		projectable = hnsw_layout_projectable(&state->request);
	uint64		seed = projectable ? pg_prng_uint64(&pg_global_prng_state) : meta->seed;
	SampleRows	sample;

	*codes = *sketches = NULL;
	if (!projectable && !hnsw_layout_sketchable(layout))
		return;
	sample = rotate_sample(state, mean, longest, seed);
	if (projectable)
		*codes = build_learn_projection(layout, &state->request, sample.n, sample.rows, seed);
	if (*codes != NULL)
		(*codes)->range *= sample.step;
	if (longest > 0)
		*sketches = build_learn_sketches(layout, sample.n, sample.rows, meta->sketch_seed);
	if (*codes != NULL || *sketches != NULL)
		meta->seed = seed;
	hnsw_layout_set_sketch(layout, *sketches != NULL ? (*sketches)->dims : 0);
	pfree(sample.rows);
}

/*
 * Learn the mean of the rows (for codes, in the space of the graph), their
 * typical length, and write metapage and mean.  Rows that are much
 * longer than the others would spoil both and are left out; a few rows say
 * nothing about those to come.
 */
void
build_create_index(BuildState *state)
{
	HnswLayout *layout = &state->layout;
	HnswIndex	shape = {0};
	HnswMetaPageData meta;
	float	   *prepared = palloc(sizeof(float) * layout->dim);
	float	   *mean = palloc(sizeof(float) * layout->dim);
	double	   *sum = palloc0(sizeof(double) * layout->dim);
	int			nsample = Min(state->rows.n, SAMPLE_ROWS);
	float	   *norms = palloc(sizeof(float) * Max(nsample, 1));
	float	   *sorted = palloc(sizeof(float) * Max(nsample, 1));
	double		norm = 0;
	double		largest = 0;
	int			used = 0;
	Projection *projection;
	Projection *sketches;

	if (layout->type == HNSW_TYPE_SPARSEVEC)
	{
		state->request.elements = sparse_elements(state);
		hnsw_layout_choose(layout, &state->request);
	}
	shape.layout = *layout;
	for (int i = 0; i < nsample; i++)
	{
		(void) hnsw_prepare(&shape, sample_row(state, i, nsample)->x, prepared);
		norms[i] = sorted[i] = distance->normsq(layout->dim, prepared);
	}
	qsort(sorted, nsample, sizeof(float), build_compare_floats);
	for (int i = 0; i < nsample; i++)
	{
		if (!(norms[i] <= sorted[nsample / 2] * OUTLIER_NORM))
			continue;
		(void) hnsw_prepare(&shape, sample_row(state, i, nsample)->x, prepared);
		for (int j = 0; j < layout->dim; j++)
			sum[j] += prepared[j];
		norm += norms[i];
		largest = Max(largest, norms[i]);
		used++;
	}
	for (int j = 0; j < layout->dim; j++)
		mean[j] = used > 0 ? (float) (sum[j] / used) : 0;

	if (used < (layout->remote ? 1 : MIN_SAMPLE_ROWS))
		used = 0;
	state->mean = used > 0 && layout->code.units > 0 ? mean : NULL;
	hnsw_meta_init(&meta, layout);
	meta.sketch_seed = pg_prng_uint64(&pg_global_prng_state);
	learn_projections(state, &meta, mean, used > 0 ? sorted[nsample / 2] * OUTLIER_NORM : 0,
					  &projection, &sketches);
	hnsw_layout_to_meta(layout, &meta);
	if (used > 0)
		meta.norm = (float) sqrt(Min(largest, 4 * norm / used));
	if (used > 0 && layout->space->lifted && sorted[nsample - 1] < FLT_MAX)
		meta.norm = Max(meta.norm, LEAST_OF_LONGEST * sqrtf(sorted[nsample - 1]));
	hnsw_create(state->rel, MAIN_FORKNUM, &meta, state->mean, projection, sketches);
	state->index = hnsw_open(state->rel);
	state->index->layout.remote = layout->remote;
}

/*
 * By inner product, a row of this squared length is by so many times as long in the
 * graph.  Codes that had to tell the longest rows and the shortest ones would tell
 * neither.  A row beyond the index's length is as good by direction alone, as it has no
 * further coordinate (hnsw_extra); hubs and links know how long it is.
 */
float
build_stretch(const HnswIndex *index, float norm)
{
	float		length = sqrtf(norm);
	float		least = SHORTEST * index->norm;
	float		stretch = 1;

	if (!index->layout.space->lifted || !(norm > FLT_MIN && norm < FLT_MAX))
		return 1;
	if (length > index->norm)
		stretch = index->norm / length;
	else if (length < least)
		stretch = least / length;
	/* Its inverse must be a number, too. */
	return stretch > FLT_MIN && stretch < 1 / FLT_MIN ? stretch : 1;
}

/*
 * A value as the graph's int8 codes will hold it, before scaling.  Returns by how many
 * times it is stretched.
 */
static float
graph_vector(const BuildState *state, const HnswValue *value, float *prepared, float *out)
{
	const HnswLayout *layout = &state->layout;
	int			n = layout->code.units > 0 ? layout->out_dim : layout->dim;
	float		norm = 0;
	float		stretch = 1;

	(void) hnsw_prepare(state->index, value->x, prepared);
	if (layout->space->lifted)
	{
		norm = distance->normsq(layout->dim, prepared);
		stretch = build_stretch(state->index, norm);
	}
	for (int i = 0; i < layout->dim && stretch != 1; i++)
		prepared[i] *= stretch;
	memset(out, 0, sizeof(float) * state->stride);
	if (layout->code.units > 0)
		hnsw_rotate_only(state->index, prepared, out);
	else
		memcpy(out, prepared, sizeof(float) * n);
	if (layout->space->lifted)
		out[n] = hnsw_extra(state->index, norm * stretch * stretch);
	return stretch;
}

/* Bytes of room that build_encode wants. */
Size
build_encode_room(const BuildState *state)
{
	return sizeof(float) * (state->stride + state->layout.dim);
}

/* The int8 code of a value.  Returns how many times as long as the code the value is. */
float
build_encode(BuildState *state, const HnswValue *value, float *room, int8 *code)
{
	float		inverse = state->step > 0 ? 1 / state->step : 0;
	float		stretch;

	if (!(inverse < FLT_MAX))
		inverse = 0;
	stretch = graph_vector(state, value, room + state->stride, room);
	for (int j = 0; j < state->stride; j++)
		code[j] = (int8) rintf(Min(Max(room[j] * inverse, -127.0f), 127.0f));
	return 1 / stretch;
}

/* Bytes of the projected codes of a chunk. */
Size
build_projected_size(const BuildState *state, const BuildChunk *chunk)
{
	return state->layout.projected ?
		((Size) chunk->n + chunk->nguests) * state->layout.code.dims : 0;
}

/* Learn the scale of the int8 codes, which clips the largest values of a few rows. */
void
build_learn_step(BuildState *state)
{
	float	   *room = palloc(build_encode_room(state));
	double		share = state->layout.space->lifted ? UNCLIPPED_SHARE_IP : UNCLIPPED_SHARE;
	int			nsample = Min(state->rows.n, SAMPLE_ROWS);
	float	   *largest = palloc0(sizeof(float) * Max(nsample, 1));

	for (int i = 0; i < nsample; i++)
	{
		(void) graph_vector(state, sample_row(state, i, nsample), room + state->stride, room);
		for (int j = 0; j < state->stride; j++)
			largest[i] = Max(largest[i], fabsf(room[j]));
	}
	qsort(largest, nsample, sizeof(float), build_compare_floats);
	state->step = nsample > 0 ? largest[(int) ((nsample - 1) * share)] / 127 : 0;
	if (state->step == 0 && nsample > 0)
		state->step = largest[nsample - 1] / 127;
	/* 0 and 1 stay what they are; see partition_build.h. */
	if (state->layout.space->bits)
		state->step = 1;
	pfree(largest);
	pfree(room);
}

/* Codes of n loaded rows that stand for all of them. */
static int8 *
sample_codes(BuildState *state, int n)
{
	float	   *room = palloc(build_encode_room(state));
	int8	   *codes = palloc((Size) n * state->stride);

	for (int i = 0; i < n; i++)
		(void) build_encode(state, sample_row(state, i, n), room, codes + (Size) i * state->stride);
	pfree(room);
	return codes;
}

/*
 * Is one int8 scale for all rows too coarse?  It is if, for more than a tenth
 * of the rows, more neighbours are within the rounding error than a node has
 * links.  Such rows are much shorter than others, or lie in very dense groups.
 * "total" is the number of rows in the table; some or all of them are loaded.
 */
bool
build_is_blurred(BuildState *state, double total)
{
	int			stride = state->stride;
	int			most = Max(PROBED_ROWS, Min(PROBED_BYTES / stride, (int) (total / PROBED_SHARE)));
	int			n = Min(state->rows.n, most);
	int			nprobes = Min(n, PROBES);
	int			limit = (int) (ROUNDING_LIMIT * state->layout.dim);
	double		enough = Max(state->layout.degree * n / Max(total, 1), 2);
	int			blurred = 0;
	int8	   *codes;

	/* Sketches and sets are compared by what they stand for. */
	if (state->layout.space->bits || state->layout.dim != state->layout.column_dim || n < MIN_SAMPLE_ROWS)
		return false;
	codes = sample_codes(state, n);
	for (int i = 0; i < nprobes; i++)
	{
		const int8 *probe = codes + (Size) ((uint64) i * n / nprobes) * stride;
		int			near = 0;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < n && near <= enough; j++)
			near += distance->i8_l2sq(stride, probe, codes + (Size) j * stride) <= limit;
		/* One of them is the probe itself. */
		blurred += near > enough;
	}
	pfree(codes);
	return blurred > nprobes * BLURRED_SHARE;
}
