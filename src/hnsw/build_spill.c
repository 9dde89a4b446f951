/*-------------------------------------------------------------------------
 *
 * build_spill.c
 *		CREATE INDEX with more rows than maintenance_work_mem holds.
 *
 * The rows go to temporary files, one for each chunk: the cell of a pivot.
 * Rows near the border of a cell are guests of the neighbouring one or two:
 * they get no links there, but others link to them.  Numbered steps:
 *
 * 1. build_spill_add: a row goes to the file of its chunk.
 * 2. build_spill_number: each chunk in turn is read, equal vectors become one
 *    row, rows get node numbers, and guests are announced to their hosts.
 * 3. build_spill_build: each chunk is read again with its guests, and built.
 *
 * README-build.md tells what that costs.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* Chunks that a row is a guest of, at most */
#define MAX_HOSTS (PARTITION_NEAREST - 1)

/* Guests that all chunks have, as a share of the rows */
#define GUEST_SHARE 1.0

/* Cells differ in size: memory must hold one that is so many times the mean. */
#define CELL_SLACK 1.5

/* Most chunks; each has a file with a buffer of 8 kB. */
#define MAX_CHUNKS 2000

/* Sampled rows that a pivot needs to be in the right place */
#define ROWS_PER_PIVOT 4

#define NO_HOST PG_UINT16_MAX

/* A row in a chunk's file, followed by its key, its packed value and its code */
typedef struct SpillRow
{
	BuildRow	row;
	float		times;			/* how many times as long as its code it is */
	uint32		size;			/* of the packed value */
	uint16		hosts[MAX_HOSTS];	/* NO_HOST: none */
} SpillRow;

typedef struct SpillChunk
{
	BufFile    *rows;
	BufFile    *guests;			/* node number, times and code of each */
	uint32		nguests;
	HnswNodeId	first;
	uint32		n;
	Size		memory;			/* that the team needs for it */
} SpillChunk;

struct BuildSpill
{
	MemoryContext context;
	int			nchunks;
	SpillChunk *chunks;
	PartitionPivots *pivots;
	float		margin;			/* guests are nearer to the border than this */
	/* rows that wait for their pivots */
	int			nwaiting;
	SpillRow	waiting[PARTITION_BLOCK];
	char	   *packed[PARTITION_BLOCK];	/* keys and packed values */
	int8	   *codes;
	float	   *room;
};

static int
nearest_pivots(const BuildSpill *spill)
{
	return Min(PARTITION_NEAREST, spill->nchunks);
}

/* Codes of the loaded rows, which are a sample. */
static int8 *
encode_sample(BuildState *state, BuildSpill *spill)
{
	Size		size = (Size) Max(state->rows.n, PARTITION_BLOCK) * state->stride;
	int8	   *codes = MemoryContextAllocHuge(spill->context, size);

	for (uint32 i = 0; i < state->rows.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) build_encode(state, build_row_value(state, i), spill->room,
							codes + (Size) i * state->stride);
	}
	return codes;
}

/* How near to a border are the nearest GUEST_SHARE of all rows? */
static float
guest_margin(BuildSpill *spill, const int8 *codes, uint32 n, int stride)
{
	int			nearest = nearest_pivots(spill);
	float	   *all = MemoryContextAllocHuge(spill->context, sizeof(float) * n * MAX_HOSTS);
	Size		count = 0;
	Size		wanted;
	float		margin;

	for (uint32 start = 0; start < n; start += PARTITION_BLOCK)
	{
		uint16		which[PARTITION_BLOCK * PARTITION_NEAREST];
		float		margins[PARTITION_BLOCK * PARTITION_NEAREST];
		int			rows = Min(PARTITION_BLOCK, n - start);

		partition_nearest(spill->pivots, rows, codes + (Size) start * stride, nearest,
						  which, margins);
		for (int i = 0; i < rows; i++)
			for (int j = 1; j < nearest; j++)
				all[count++] = margins[i * nearest + j];
	}
	wanted = (Size) (GUEST_SHARE * n);
	qsort(all, count, sizeof(float), build_compare_floats);
	margin = wanted < count ? all[wanted] : FLT_MAX;
	pfree(all);
	return margin;
}

/*
 * Spill from now on, about so many rows.  The loaded ones are a sample of them
 * and stay the caller's.
 */
void
build_spill_start(BuildState *state, double rows)
{
	MemoryContext context = AllocSetContextCreate(state->context, "hnsw build spill",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	BuildSpill *spill = palloc0(sizeof(BuildSpill));
	BuildChunk	sample = {.n = state->rows.n};
	PartitionParams params = build_partition_params(state, &sample);
	double		row_bytes = state->row_memory + state->rows.data_used / Max(state->rows.n, 1);
	double		chunks = ceil(rows * (1 + GUEST_SHARE) * row_bytes * CELL_SLACK / state->memory);
	int8	   *codes;

	spill->context = context;
	spill->nchunks = (int) Max(2, Min(chunks, Min(MAX_CHUNKS, state->rows.n / ROWS_PER_PIVOT)));
	spill->room = palloc(build_encode_room(state));
	codes = encode_sample(state, spill);
	spill->pivots = partition_pivots(state->rows.n, codes, state->stride, &params, spill->nchunks);
	spill->margin = guest_margin(spill, codes, state->rows.n, state->stride);
	pfree(codes);
	spill->codes = palloc((Size) PARTITION_BLOCK * state->stride);
	spill->chunks = palloc0(sizeof(SpillChunk) * spill->nchunks);
	for (int c = 0; c < spill->nchunks; c++)
	{
		spill->chunks[c].rows = BufFileCreateTemp(false);
		spill->chunks[c].guests = BufFileCreateTemp(false);
	}
	state->spill = spill;
	MemoryContextSwitchTo(old);
}

/* Write the waiting rows to their chunks. */
static void
flush_waiting(BuildState *state)
{
	BuildSpill *spill = state->spill;
	int			nearest = nearest_pivots(spill);
	uint16		which[PARTITION_BLOCK * PARTITION_NEAREST];
	float		margins[PARTITION_BLOCK * PARTITION_NEAREST];

	partition_nearest(spill->pivots, spill->nwaiting, spill->codes, nearest, which, margins);
	for (int i = 0; i < spill->nwaiting; i++)
	{
		SpillRow   *row = &spill->waiting[i];
		BufFile    *file = spill->chunks[which[i * nearest]].rows;

		for (int j = 0; j < MAX_HOSTS; j++)
			row->hosts[j] = j + 1 < nearest && margins[i * nearest + j + 1] < spill->margin ?
				which[i * nearest + j + 1] : NO_HOST;
		BufFileWrite(file, row, sizeof(*row));
		BufFileWrite(file, spill->packed[i], build_key_room(&state->layout) + row->size);
		BufFileWrite(file, spill->codes + (Size) i * state->stride, state->stride);
		pfree(spill->packed[i]);
	}
	spill->nwaiting = 0;
}

/* Take a row whose packed value this is. */
void
build_spill_add(BuildState *state, const BuildRow *row, const char *packed, Size size)
{
	BuildSpill *spill = state->spill;
	Size		key_room = build_key_room(&state->layout);
	int			i = spill->nwaiting++;

	hnsw_value_unpack(&state->layout, packed, row->scale, state->value);
	spill->waiting[i].times = build_encode(state, state->value, spill->room,
										   spill->codes + (Size) i * state->stride);
	spill->waiting[i].row = *row;
	spill->waiting[i].size = size;
	spill->packed[i] = MemoryContextAlloc(spill->context, key_room + size);
	memcpy(spill->packed[i], packed - key_room, key_room + size);
	if (spill->nwaiting == PARTITION_BLOCK)
		flush_waiting(state);
}

/*
 * Read the next row of a file, its key and value to *data and its code to "code";
 * false at the end.
 */
static bool
read_row(BuildState *state, BufFile *file, SpillRow *row, char **data, int8 *code)
{
	Size		size;

	if (BufFileReadMaybeEOF(file, row, sizeof(*row), true) == 0)
		return false;
	size = build_key_room(&state->layout) + row->size;
	*data = palloc(size);
	BufFileReadExact(file, *data, size);
	BufFileReadExact(file, code, state->stride);
	return true;
}

/*
 * Load a chunk's rows.  The levels come from a seed of the chunk's own, so that
 * loading it again gives the same rows.  "built" gets the code of each row, if
 * it is not NULL; with "announce", the hosts of each row hear of it.
 */
static void
load_chunk(BuildState *state, int c, BuildRows *rows, BuildChunk *built, bool announce)
{
	BuildSpill *spill = state->spill;
	SpillChunk *chunk = &spill->chunks[c];
	int8	   *code = palloc(state->stride);
	pg_prng_state random;
	SpillRow	row;
	char	   *data;

	pg_prng_seed(&random, c + 1);
	build_rewind(chunk->rows);
	while (read_row(state, chunk->rows, &row, &data, code))
	{
		CHECK_FOR_INTERRUPTS();
		if (build_rows_add(rows, &row.row, data + build_key_room(&state->layout), row.size))
		{
			uint32		i = rows->n - 1;
			HnswNodeId	id = build_nth_node(&state->layout, chunk->first, i);

			rows->rows[i].level = hnsw_random_level(&random);
			if (built != NULL)
				memcpy(built->codes + (Size) i * state->stride, code, state->stride);
			if (built != NULL && built->times != NULL)
				built->times[i] = row.times;
			for (int j = 0; j < MAX_HOSTS && announce; j++)
			{
				SpillChunk *host;

				if (row.hosts[j] == NO_HOST)
					continue;
				host = &spill->chunks[row.hosts[j]];
				BufFileWrite(host->guests, &id, sizeof(id));
				BufFileWrite(host->guests, &row.times, sizeof(row.times));
				BufFileWrite(host->guests, code, state->stride);
				host->nguests++;
			}
		}
		pfree(data);
	}
	pfree(code);
}

/*
 * Number the nodes of all chunks, from "first" on; rows of higher levels go to
 * "upper", too.
 */
void
build_spill_number(BuildState *state, HnswNodeId first, BuildRows *upper)
{
	BuildSpill *spill = state->spill;

	flush_waiting(state);
	state->total = 0;
	for (int c = 0; c < spill->nchunks; c++)
	{
		SpillChunk *chunk = &spill->chunks[c];
		BuildChunk	shape = {0};
		BuildRows	rows;

		chunk->first = first;
		build_rows_init(&rows, spill->context, build_key_room(&state->layout));
		load_chunk(state, c, &rows, NULL, true);
		chunk->n = rows.n;
		for (uint32 i = 0; i < rows.n; i++)
			if (rows.rows[i].level > 0)
			{
				BuildRow	row = rows.rows[i];

				row.below = build_nth_node(&state->layout, first, i);
				build_rows_copy(upper, &row, rows.data + row.packed, build_row_size(&rows, i));
			}
		shape.n = rows.n;
		chunk->memory = build_team_memory(state, &shape, rows.data_used);
		first += build_chunk_blocks(&state->layout, &shape) * state->layout.nodes_per_page;
		state->total += rows.n;
		build_rows_free(&rows);
	}
}

/* Shared memory that the largest chunk needs, and the blocks of all. */
Size
build_spill_memory(BuildState *state, BlockNumber *blocks)
{
	Size		most = 0;

	*blocks = 0;
	for (int c = 0; c < state->spill->nchunks; c++)
	{
		SpillChunk *chunk = &state->spill->chunks[c];
		BuildChunk	shape = {.n = chunk->n,.nguests = chunk->nguests};
		BuildChunk	home = {.n = chunk->n};

		most = Max(most, chunk->memory + build_chunk_memory(state, &shape) -
				   build_chunk_memory(state, &home));
		*blocks += build_chunk_blocks(&state->layout, &home);
	}
	return most;
}

/* Load a chunk's guests after its rows. */
static void
load_guests(BuildState *state, SpillChunk *spilled, BuildChunk *chunk)
{
	build_rewind(spilled->guests);
	for (uint32 i = 0; i < chunk->nguests; i++)
	{
		float		times;

		CHECK_FOR_INTERRUPTS();
		BufFileReadExact(spilled->guests, &chunk->guests[i], sizeof(HnswNodeId));
		BufFileReadExact(spilled->guests, &times, sizeof(times));
		if (chunk->times != NULL)
			chunk->times[chunk->n + i] = times;
		BufFileReadExact(spilled->guests, chunk->codes + ((Size) chunk->n + i) * state->stride,
						 state->stride);
	}
}

/* Build the chunks one after another. */
void
build_spill_build(BuildState *state)
{
	BuildSpill *spill = state->spill;

	for (int c = 0; c < spill->nchunks; c++)
	{
		SpillChunk *spilled = &spill->chunks[c];
		BuildChunk	chunk = {.n = spilled->n,.nguests = spilled->nguests,.first = spilled->first};
		Size		n = (Size) chunk.n + chunk.nguests;
		BuildRows	rows;

		build_rows_init(&rows, spill->context, build_key_room(&state->layout));
		chunk.coded = true;
		chunk.codes = MemoryContextAllocHuge(rows.context, Max(n, 1) * state->stride);
		chunk.times = build_times_alloc(rows.context, state, &chunk);
		chunk.guests = MemoryContextAllocHuge(rows.context, sizeof(HnswNodeId) * Max(chunk.nguests, 1));
		load_chunk(state, c, &rows, &chunk, false);
		load_guests(state, spilled, &chunk);
		BufFileClose(spilled->rows);
		BufFileClose(spilled->guests);
		build_loaded(state, &chunk, &rows);
		build_rows_free(&rows);
	}
}
