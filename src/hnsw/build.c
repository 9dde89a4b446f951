/*-------------------------------------------------------------------------
 *
 * build.c
 *		CREATE INDEX.
 *
 * Rows are loaded into memory, the graph of each level is made by partitions
 * (partition.h), and the pages are written in order and logged at the end.
 * Rows that do not fit maintenance_work_mem are inserted one by one after
 * that, as later rows are.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"

#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "hnsw/partition.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Rows to learn the mean and the scale of int8 vectors from, and how few do */
#define CALIBRATION_ROWS 10000
#define MIN_CALIBRATION_ROWS 100

/* Rows whose squared length is so many times the median do not count there */
#define OUTLIER_NORM 16

/* Share of rows of which the int8 scale clips nothing */
#define UNCLIPPED_SHARE 0.9

/* Rows that are loaded whatever maintenance_work_mem says */
#define MIN_ROWS 64

/* Room for elements of sparse vectors that are not known yet */
#define DEFAULT_ELEMENTS 192

/* Share of the sparse vectors that are stored with all elements */
#define WHOLE_SHARE 0.95

/* A loaded row; equal vectors are one row with several heap TIDs. */
typedef struct BuildRow
{
	ItemPointerData tid;
	uint8		level;
	float		scale;			/* of the packed value */
	float		error;			/* of the packed value */
	uint32		more;			/* 1 + index of a further TID, or 0 */
	uint32		next;			/* 1 + index of the next row of the same hash, or 0 */
	Size		packed;			/* where the packed value is in "data" */
} BuildRow;

typedef struct BuildTid
{
	ItemPointerData tid;
	uint32		next;
} BuildTid;

/* The graph of one level: which rows it has, and where they are written. */
typedef struct BuildLevel
{
	uint32		n;
	uint32	   *rows;			/* NULL for the base level: all */
	PartitionGraph *graph;
	HnswNodeId	first;			/* node number of the first row */
} BuildLevel;

typedef struct BuildState
{
	Relation	rel;
	HnswIndex  *index;
	HnswLayout	layout;
	MemoryContext context;		/* of the loaded rows */
	MemoryContext row_context;	/* reset after each row */
	double		indtuples;
	double		reltuples;
	/* loading */
	uint32		n;
	uint32		capacity;
	Size		row_memory;		/* bytes per row, but for its packed value */
	BuildRow   *rows;
	char	   *data;			/* packed values */
	Size		data_used;
	Size		data_capacity;
	uint32	   *buckets;		/* 1 + index of the first row with a hash */
	uint32		nbuckets;
	BuildTid   *tids;			/* of duplicates */
	uint32		ntids;
	uint32		tids_capacity;
	HnswValue  *value;			/* room for the value at hand */
	/* graph */
	int8	   *codes;			/* n * stride */
	int			stride;
	float		step;			/* of the codes */
	bool		written;		/* later rows are inserted */
	HnswInserter *inserter;
	MemoryContext inserter_context;
} BuildState;

/* Bytes per row while the graph is made, but for its packed value. */
static Size
row_memory(const BuildState *state)
{
	PartitionParams params = {0};
	uint32		n = 1000000;

	params.degree = state->layout.degree;
	params.quality = state->layout.ef_construction;
	params.metric = state->layout.metric == HNSW_L1 ? PARTITION_L1 : PARTITION_L2;
	return sizeof(BuildRow) + sizeof(uint32) * 2 + state->stride +
		partition_memory(n, state->stride, &params) / n;
}

/* Is there no room for one more row? */
static bool
memory_full(const BuildState *state)
{
	return state->n >= PG_INT32_MAX / 2 ||
		(state->n >= MIN_ROWS &&
		 state->data_used + state->row_memory * state->n > (Size) maintenance_work_mem * 1024);
}

static uint32
packed_hash(const BuildState *state, uint32 i)
{
	const char *packed = state->data + state->rows[i].packed;
	Size		end = i + 1 < state->n ? state->rows[i + 1].packed : state->data_used;

	return hash_bytes((const unsigned char *) packed, end - state->rows[i].packed);
}

static void
grow_rows(BuildState *state)
{
	state->capacity = Max(state->capacity, 512) * 2;
	if (state->rows == NULL)
		state->rows = MemoryContextAllocHuge(state->context, sizeof(BuildRow) * state->capacity);
	else
	{
		state->rows = repalloc_huge(state->rows, sizeof(BuildRow) * state->capacity);
		pfree(state->buckets);
	}

	state->nbuckets = 1;
	while (state->nbuckets < state->capacity)
		state->nbuckets *= 2;
	state->buckets = MemoryContextAllocExtended(state->context,
												sizeof(uint32) * state->nbuckets,
												MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < state->n; i++)
	{
		uint32	   *bucket = &state->buckets[packed_hash(state, i) & (state->nbuckets - 1)];

		state->rows[i].next = *bucket;
		*bucket = i + 1;
	}
}

/* Make room for so many bytes: twice what there was, or a quarter of the memory more. */
static void
grow_data(BuildState *state, Size need)
{
	Size		size = Max(state->data_capacity, 65536);

	if (state->data_used + need <= state->data_capacity)
		return;
	size += Min(size, Max((Size) maintenance_work_mem * 256, size / 8));
	state->data_capacity = Max(size, state->data_used + need);
	if (state->data == NULL)
		state->data = MemoryContextAllocHuge(state->context, state->data_capacity);
	else
		state->data = repalloc_huge(state->data, state->data_capacity);
}

/* Add a heap TID to a row that has the same vector. */
static void
add_duplicate(BuildState *state, BuildRow *row, ItemPointer tid, float error)
{
	if (state->ntids == state->tids_capacity)
	{
		state->tids_capacity = Max(state->tids_capacity * 2, 64);
		if (state->tids == NULL)
			state->tids = MemoryContextAllocHuge(state->context,
												 sizeof(BuildTid) * state->tids_capacity);
		else
			state->tids = repalloc_huge(state->tids, sizeof(BuildTid) * state->tids_capacity);
	}
	state->tids[state->ntids].tid = *tid;
	state->tids[state->ntids].next = row->more;
	row->more = ++state->ntids;
	row->error = Max(row->error, error);
}

/* A random level: each has one in HNSW_LEVEL_RATIO of the level below. */
int
hnsw_random_level(void)
{
	int			level = 0;

	while (level < HNSW_MAX_LEVEL &&
		   pg_prng_uint64_range(&pg_global_prng_state, 0, HNSW_LEVEL_RATIO - 1) == 0)
		level++;
	return level;
}

/* Load one row, whose value is state->value, into memory. */
static void
load_row(BuildState *state, ItemPointer tid)
{
	Size		size = hnsw_value_pack_size(&state->layout, state->value);
	char	   *packed;
	float		scale;
	float		error;
	uint32	   *bucket;
	BuildRow   *row;

	if (state->n == state->capacity)
		grow_rows(state);
	grow_data(state, size);
	packed = state->data + state->data_used;
	error = hnsw_value_pack(&state->layout, state->value, packed, &scale);

	bucket = &state->buckets[hash_bytes((unsigned char *) packed, size) & (state->nbuckets - 1)];
	for (uint32 i = *bucket; i != 0; i = state->rows[i - 1].next)
	{
		Size		end = i < state->n ? state->rows[i].packed : state->data_used;

		row = &state->rows[i - 1];
		if (row->scale == scale && end - row->packed == size &&
			memcmp(state->data + row->packed, packed, size) == 0)
		{
			add_duplicate(state, row, tid, error);
			return;
		}
	}

	row = &state->rows[state->n];
	row->tid = *tid;
	row->scale = scale;
	row->error = error;
	row->more = 0;
	row->next = *bucket;
	row->level = hnsw_random_level();
	row->packed = state->data_used;
	state->data_used += size;
	*bucket = ++state->n;
}

/* A loaded row's value, as the column has it but for rounding to half. */
static const HnswValue *
get_row(const BuildState *state, uint32 i)
{
	const BuildRow *row = &state->rows[i];

	hnsw_value_unpack(&state->layout, state->data + row->packed, row->scale, state->value);
	return state->value;
}

static int
compare_floats(const void *a, const void *b)
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

/*
 * Room for elements in each node of an index of sparse vectors: enough for
 * most rows.
 */
static int
sparse_elements(BuildState *state)
{
	int			nsample = Min(state->n, CALIBRATION_ROWS);
	int		   *nnz = palloc(sizeof(int) * Max(nsample, 1));
	int			elements = DEFAULT_ELEMENTS;

	if (nsample < MIN_CALIBRATION_ROWS)
		return elements;
	for (int i = 0; i < nsample; i++)
		nnz[i] = get_row(state, (uint64) i * state->n / nsample)->nnz;
	qsort(nnz, nsample, sizeof(int), compare_ints);
	elements = Max(nnz[(int) (nsample * WHOLE_SHARE)], 1);
	pfree(nnz);
	return (elements + 1) / 2 * 2;
}

/*
 * Learn the mean of the rows (for codes, in the space of the graph), their
 * typical length, and write metapage and calibration.  Rows that are much
 * longer than the others would spoil both and are left out; a few rows say
 * nothing about those to come.
 */
static void
create_index(BuildState *state)
{
	HnswLayout *layout = &state->layout;
	HnswIndex	shape = {0};
	HnswMetaPageData meta;
	float	   *prepared = palloc(sizeof(float) * layout->dim);
	float	   *mean = palloc(sizeof(float) * layout->dim);
	double	   *sum = palloc0(sizeof(double) * layout->dim);
	int			nsample = Min(state->n, CALIBRATION_ROWS);
	float	   *norms = palloc(sizeof(float) * Max(nsample, 1));
	float	   *sorted = palloc(sizeof(float) * Max(nsample, 1));
	double		norm = 0;
	double		largest = 0;
	int			used = 0;

	if (layout->type == HNSW_TYPE_SPARSEVEC)
		hnsw_layout_choose(layout, layout->type, layout->column_dim, layout->metric, layout->m,
						   layout->ef_construction, sparse_elements(state));
	shape.layout = *layout;
	for (int i = 0; i < nsample; i++)
	{
		(void) hnsw_prepare(&shape, get_row(state, (uint64) i * state->n / nsample)->x, prepared);
		norms[i] = sorted[i] = distance->normsq(layout->dim, prepared);
	}
	qsort(sorted, nsample, sizeof(float), compare_floats);
	for (int i = 0; i < nsample; i++)
	{
		if (!(norms[i] <= sorted[nsample / 2] * OUTLIER_NORM))
			continue;
		(void) hnsw_prepare(&shape, get_row(state, (uint64) i * state->n / nsample)->x, prepared);
		for (int j = 0; j < layout->dim; j++)
			sum[j] += prepared[j];
		norm += norms[i];
		largest = Max(largest, norms[i]);
		used++;
	}
	for (int j = 0; j < layout->dim; j++)
		mean[j] = used > 0 ? (float) (sum[j] / used) : 0;

	if (used < MIN_CALIBRATION_ROWS)
		used = 0;
	hnsw_meta_init(&meta, layout);
	if (used > 0)
		meta.norm = (float) sqrt(Min(largest, 4 * norm / used));
	hnsw_create(state->rel, MAIN_FORKNUM, &meta, used > 0 && layout->code.units > 0 ? mean : NULL);
	state->index = hnsw_open(state->rel);
}

/* Neighbours by cosine are much the same as by Jaccard distance. */
static void
normalize(int n, float *x)
{
	float		norm = sqrtf(distance->normsq(n, x));

	for (int i = 0; i < n && norm > 0; i++)
		x[i] /= norm;
}

/* A row as the graph's int8 codes will hold it, before scaling. */
static void
graph_vector(BuildState *state, uint32 i, float *prepared, float *out)
{
	const HnswLayout *layout = &state->layout;
	int			n = layout->code.units > 0 ? layout->out_dim : layout->dim;

	(void) hnsw_prepare(state->index, get_row(state, i)->x, prepared);
	memset(out, 0, sizeof(float) * state->stride);
	if (layout->code.units > 0)
		hnsw_rotate(state->index, prepared, out);
	else
		memcpy(out, prepared, sizeof(float) * n);
	if (layout->metric == HNSW_JACCARD)
		normalize(n, out);
	if (layout->metric == HNSW_IP)
		out[n] = hnsw_extra(state->index, distance->normsq(layout->dim, prepared));
}

/*
 * Make the int8 codes of all rows, with one scale, which clips the largest
 * values of a few rows.
 */
static void
make_codes(BuildState *state)
{
	int			stride = state->stride;
	float	   *prepared = palloc(sizeof(float) * state->layout.dim);
	float	   *out = palloc(sizeof(float) * stride);
	int			nsample = Min(state->n, CALIBRATION_ROWS);
	float	   *largest = palloc0(sizeof(float) * Max(nsample, 1));
	float		inverse;

	for (int i = 0; i < nsample; i++)
	{
		graph_vector(state, (uint64) i * state->n / nsample, prepared, out);
		for (int j = 0; j < stride; j++)
			largest[i] = Max(largest[i], fabsf(out[j]));
	}
	qsort(largest, nsample, sizeof(float), compare_floats);
	state->step = nsample > 0 ? largest[(int) ((nsample - 1) * UNCLIPPED_SHARE)] / 127 : 0;
	if (state->step == 0 && nsample > 0)
		state->step = largest[nsample - 1] / 127;
	pfree(largest);
	inverse = state->step > 0 ? 1 / state->step : 0;
	if (!(inverse < FLT_MAX))
		inverse = 0;

	state->codes = MemoryContextAllocHuge(state->context, (Size) Max(state->n, 1) * stride);
	for (uint32 i = 0; i < state->n; i++)
	{
		int8	   *code = state->codes + (Size) i * stride;

		CHECK_FOR_INTERRUPTS();
		graph_vector(state, i, prepared, out);
		for (int j = 0; j < stride; j++)
			code[j] = (int8) rintf(Min(Max(out[j] * inverse, -127.0f), 127.0f));
	}
	pfree(prepared);
	pfree(out);
}

static void
report_progress(void *arg, double fraction)
{
	BuildState *state = arg;

	CHECK_FOR_INTERRUPTS();
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) (fraction * state->n));
}

static void
start_phase(BuildState *state, int phase, int64 total)
{
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, phase);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, 0);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, total);
}

/* The rows of a level above the base, and their graph. */
static void
make_level(BuildState *state, BuildLevel *levels, int at)
{
	BuildLevel *level = &levels[at];
	PartitionParams params = {0};
	int8	   *codes = state->codes;

	params.metric = state->layout.metric == HNSW_L1 ? PARTITION_L1 : PARTITION_L2;
	params.degree = state->layout.degree;
	params.quality = state->layout.ef_construction;
	params.seed = at + 1;
	level->n = state->n;
	if (at == 0)
	{
		params.progress = report_progress;
		params.progress_arg = state;
	}
	else
	{
		uint32		n = 0;

		for (uint32 i = 0; i < state->n; i++)
			n += state->rows[i].level >= at;
		level->n = n;
		level->rows = palloc_extended(sizeof(uint32) * Max(n, 1), MCXT_ALLOC_HUGE);
		codes = palloc_extended((Size) Max(n, 1) * state->stride, MCXT_ALLOC_HUGE);
		n = 0;
		for (uint32 i = 0; i < state->n; i++)
		{
			if (state->rows[i].level < at)
				continue;
			memcpy(codes + (Size) n * state->stride, state->codes + (Size) i * state->stride,
				   state->stride);
			level->rows[n++] = i;
		}
	}
	level->graph = partition_build(level->n, codes, state->stride, &params);
	if (codes != state->codes)
		pfree(codes);
}

/* Number of a level's i'th node, when they are written one after another. */
static HnswNodeId
nth_node(const HnswLayout *layout, HnswNodeId first, uint32 i)
{
	return first + (layout->pages_per_node > 1 ? i * layout->pages_per_node : i);
}

/* A row's rotated vector, out of the int8 codes. */
static void
link_vector(const BuildState *state, uint32 row, float *out)
{
	const int8 *code = state->codes + (Size) row * state->stride;

	distance->i8_to_float(state->layout.out_dim, code, state->step, out);
}

static int
compare_rows(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return (x > y) - (x < y);
}

/* Make the image of a level's i'th node. */
static void
make_node(BuildState *state, BuildLevel *levels, int at, uint32 i, HnswOwn *own,
		  float *vectors, HnswNodeHeader node)
{
	const HnswLayout *layout = &state->layout;
	BuildLevel *level = &levels[at];
	PartitionGraph *graph = level->graph;
	uint32		row = level->rows ? level->rows[i] : i;
	float	   *from = vectors;
	float	   *rotated = vectors + layout->out_dim;
	int			nlinks = graph->nlinks[i];
	double		error = state->rows[row].error;

	hnsw_own_encode(state->index, get_row(state, row), own);
	if (layout->metric == HNSW_COSINE)
		error /= hnsw_value_length(layout, state->value);
	own->error = Min(own->error + error, FLT_MAX);
	hnsw_node_init(state->index, node, at, own);

	if (layout->code.units > 0)
		link_vector(state, row, from);
	for (int j = 0; j < nlinks; j++)
	{
		uint32		other = graph->links[(Size) i * graph->degree + j];
		HnswNeighbour to = {0};

		to.id = nth_node(layout, level->first, other);
		to.rotated = rotated;
		if (layout->code.units > 0)
			link_vector(state, level->rows ? level->rows[other] : other, rotated);
		hnsw_set_link(state->index, node, j, &to, from, j < graph->nkept[i]);
	}
	node->nlinks = nlinks;
	if (at == 0)
	{
		HnswNodeTids(layout, node)[0] = state->rows[row].tid;
		node->ntids = 1;
	}
	else if (at == 1)
		node->below = nth_node(layout, levels[0].first, row);
	else
	{
		/* Both levels' rows are sorted. */
		uint32	   *below = bsearch(&row, levels[at - 1].rows, levels[at - 1].n,
									sizeof(uint32), compare_rows);

		node->below = nth_node(layout, levels[at - 1].first, below - levels[at - 1].rows);
	}
}

/* Write the pages of all levels. */
static void
write_nodes(BuildState *state, BuildLevel *levels, int nlevels)
{
	const HnswLayout *layout = &state->layout;
	int			per_page = layout->nodes_per_page;
	char	   *page = palloc((Size) layout->node_size * per_page);
	float	   *vectors = palloc(sizeof(float) * 2 * Max(layout->out_dim, layout->dim));
	HnswOwn		own = {0};
	uint32		done = 0;

	own.data = palloc(layout->own_size);
	for (int at = 0; at < nlevels; at++)
	{
		for (uint32 i = 0; i < levels[at].n; i += per_page)
		{
			int			n = Min(per_page, levels[at].n - i);

			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(state->row_context);
			for (int j = 0; j < n; j++)
			{
				MemoryContext old = MemoryContextSwitchTo(state->row_context);

				make_node(state, levels, at, i + j, &own, vectors,
						  (HnswNodeHeader) (page + j * layout->node_size));
				MemoryContextSwitchTo(old);
			}
			hnsw_append_nodes(state->index, at > 0, n, page);
			done += n;
			if (at == 0 && done % 1024 < per_page)
				pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, done);
		}
	}
}

/* Add the further TIDs of rows with duplicates. */
static void
write_duplicates(BuildState *state, HnswNodeId first)
{
	for (uint32 i = 0; i < state->n; i++)
	{
		for (uint32 more = state->rows[i].more; more != 0; more = state->tids[more - 1].next)
		{
			HnswWrite	write;

			CHECK_FOR_INTERRUPTS();
			hnsw_write(state->index, nth_node(&state->layout, first, i), &write);
			hnsw_tid_append(state->index, &write, &state->tids[more - 1].tid);
			hnsw_write_end(state->index, &write, true);
		}
	}
}

/* Make the graph of the loaded rows and write the index. */
static void
write_index(BuildState *state)
{
	MemoryContext old = MemoryContextSwitchTo(state->context);
	const HnswLayout *layout = &state->layout;
	BuildLevel	levels[HNSW_MAX_LEVEL + 1] = {{0}};
	int			nlevels = 1;
	BlockNumber block;
	HnswNodeId	entry = HNSW_NO_NODE;

	create_index(state);
	start_phase(state, HNSW_PHASE_GRAPH, state->n);
	make_codes(state);
	for (uint32 i = 0; i < state->n; i++)
		nlevels = Max(nlevels, state->rows[i].level + 1);
	block = RelationGetNumberOfBlocks(state->rel);
	for (int at = 0; at < nlevels; at++)
	{
		uint32		pages;

		make_level(state, levels, at);
		levels[at].first = HnswMakeNodeId(layout, block, 0);
		pages = (levels[at].n + layout->nodes_per_page - 1) / layout->nodes_per_page;
		block += pages * layout->pages_per_node;
	}

	start_phase(state, HNSW_PHASE_WRITE, state->n);
	write_nodes(state, levels, nlevels);
	if (state->n > 0)
		entry = levels[nlevels - 1].first;
	hnsw_append_finish(state->index, entry, nlevels - 1);
	write_duplicates(state, levels[0].first);
	MemoryContextSwitchTo(old);
}

/* Write what was loaded, and insert all rows from now on. */
static void
start_inserting(BuildState *state)
{
	MemoryContext old;

	ereport(NOTICE,
			(errmsg("hnsw graph no longer fits into maintenance_work_mem after %u tuples",
					state->n),
			 errdetail("Building will take significantly more time."),
			 errhint("Increase maintenance_work_mem to speed up builds.")));
	write_index(state);
	MemoryContextDelete(state->context);
	state->context = NULL;
	state->written = true;
	old = MemoryContextSwitchTo(state->inserter_context);
	state->index = hnsw_open(state->rel);
	state->inserter = hnsw_inserter_create(state->index);
	MemoryContextSwitchTo(old);
	start_phase(state, HNSW_PHASE_INSERT, 0);
}

/* table_index_build_scan callback */
static void
build_callback(Relation rel, ItemPointer tid, Datum *values, bool *isnull,
			   bool tuple_is_alive, void *arg)
{
	BuildState *state = arg;
	MemoryContext old;

	if (isnull[0])
		return;

	old = MemoryContextSwitchTo(state->row_context);
	if (!state->written && memory_full(state))
		start_inserting(state);
	hnsw_value_set(&state->layout, state->value, values[0], false);
	if (hnsw_value_indexable(&state->layout, state->value))
	{
		if (state->written)
			hnsw_insert_value(state->inserter, state->value, tid);
		else
			load_row(state, tid);
		state->indtuples++;
		if ((int64) state->indtuples % 1024 == 0)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE,
										 (int64) state->indtuples);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->row_context);
}

/*
 * Dimensions of the indexed column or expression; an error if they are unknown
 * or too many.
 */
static int
column_dimensions(Relation rel, HnswType type)
{
	static const char *const names[] = {"vector", "halfvec", "sparsevec", "bit"};
	int			dim = hnsw_column_dimensions(rel);

	if (TupleDescAttr(RelationGetDescr(rel), 0)->atttypid == VARBITOID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("type not supported for hnsw index"),
				 errhint("Index an expression such as (column::bit(n)).")));
	if (dim < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column does not have dimensions"),
				 errhint("Declare the column as %s(n), or index an expression such as (column::%s(n)).",
						 names[type], names[type])));
	if (type == HNSW_TYPE_BIT && dim > HNSW_MAX_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column cannot have more than %d dimensions for hnsw index",
						HNSW_MAX_BITS)));
	return dim;
}

/* The layout that the definition of an index asks for. */
static void
choose_layout(Relation rel, HnswLayout *layout)
{
	int			m = hnsw_m(rel);
	int			ef_construction = hnsw_ef_construction(rel);
	HnswType	type = hnsw_type(rel);

	if (ef_construction < 2 * m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	hnsw_layout_choose(layout, type, column_dimensions(rel, type), hnsw_metric(rel), m,
					   ef_construction, DEFAULT_ELEMENTS);
}

IndexBuildResult *
hnsw_build(Relation heap, Relation rel, IndexInfo *index_info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	BuildState	state = {0};
	MemoryContext row_context;

	if (RelationGetNumberOfBlocks(rel) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(rel));

	state.rel = rel;
	choose_layout(rel, &state.layout);
	state.context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build",
										  ALLOCSET_DEFAULT_SIZES);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build row",
										ALLOCSET_DEFAULT_SIZES);
	state.row_context = row_context;
	state.inserter_context = CurrentMemoryContext;
	state.value = hnsw_value_create(&state.layout);
	state.stride = state.layout.code.units > 0 ? state.layout.out_dim : state.layout.dim;
	state.stride += state.layout.metric == HNSW_IP;
	state.stride = (state.stride + 63) / 64 * 64;
	state.row_memory = row_memory(&state);

	start_phase(&state, HNSW_PHASE_LOAD, 0);
	state.reltuples = table_index_build_scan(heap, rel, index_info, true, true,
											 build_callback, &state, NULL);
	if (!state.written)
	{
		write_index(&state);
		MemoryContextDelete(state.context);
	}
	MemoryContextDelete(row_context);

	result->heap_tuples = state.reltuples;
	result->index_tuples = state.indtuples;
	return result;
}

/* An unlogged index's initial state, for its init fork. */
void
hnsw_buildempty(Relation rel)
{
	HnswLayout	layout;
	HnswMetaPageData meta;

	choose_layout(rel, &layout);
	hnsw_meta_init(&meta, &layout);
	hnsw_create(rel, INIT_FORKNUM, &meta, NULL);
}
