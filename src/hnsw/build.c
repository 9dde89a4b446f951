/*-------------------------------------------------------------------------
 *
 * build.c
 *		CREATE INDEX: order of the steps, progress.
 *
 * Rows are loaded into memory, or into temporary files if they are too many
 * (build_spill.c).  The graph of each level is made by partitions
 * (partition.h), chunk by chunk, by all members of a team (build_team.c,
 * build_chunk.c), and the pages are logged at the end.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"
#include "hnsw/hnsw.h"
#include "hnsw/vacuum.h"

#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "storage/bufmgr.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Rows that are loaded whatever maintenance_work_mem says */
#define MIN_ROWS 64

/* A sample is taken of larger tables: so many blocks at a time, rows in all */
#define SAMPLE_BLOCKS 64
#define SAMPLE_ROUNDS 16
#define SAMPLE_ROWS 10000

/* Rows that make it worth while to start workers */
#define MIN_TEAM_ROWS 10000

/* A duplicate's heap TID, in the file of them, followed by its key */
typedef struct DuplicateTid
{
	HnswNodeId	id;
	ItemPointerData tid;
} DuplicateTid;

/* ---------------------------------------------------------------------
 * Progress
 * ---------------------------------------------------------------------
 */

/* Start a phase of a chunk (or of all, if chunk is NULL). */
void
build_phase(BuildState *state, const BuildChunk *chunk, int phase)
{
	if (state->heap == NULL || (chunk != NULL && chunk->level > 0))
		return;
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, phase);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, (int64) state->total);
	state->share = chunk != NULL ? chunk->n : 0;
	build_progress(state, 0);
}

/* So much of the phase of the chunk at hand is done. */
void
build_progress(BuildState *state, double fraction)
{
	CHECK_FOR_INTERRUPTS();
	if (state->heap != NULL && state->share > 0)
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE,
									 (int64) (state->done + fraction * state->share));
}

/* ---------------------------------------------------------------------
 * Loading
 * ---------------------------------------------------------------------
 */

/* Width of an int8 code of the graph's builder. */
int
build_stride(const HnswLayout *layout)
{
	int			stride = layout->code.units > 0 ? layout->out_dim : layout->dim;

	stride += layout->space->lifted;
	return (stride + 63) / 64 * 64;
}

/* Bytes per row while the graph is made, but for its packed value. */
static Size
row_memory(const BuildState *state)
{
	BuildChunk	chunk = {.n = 1000000};

	return sizeof(BuildRow) + sizeof(uint32) * 2 + build_chunk_memory(state, &chunk) / chunk.n;
}

/* Would so many rows with so many bytes of values be too many? */
static bool
memory_full(const BuildState *state, double rows, double data)
{
	return rows >= PG_INT32_MAX / 2 ||
		(rows >= MIN_ROWS && data + state->row_memory * rows > state->memory);
}

/*
 * Learn from the loaded rows, out of so many.  True if they cannot be built
 * into a graph by their int8 codes; then they are forgotten.
 */
static bool
learn_rows(BuildState *state, double rows)
{
	build_create_index(state);
	build_learn_step(state);
	state->blurred = build_is_blurred(state, rows);
	if (state->blurred)
		build_rows_free(&state->rows);
	return state->blurred;
}

/* Learn from the loaded rows, and spill them and those to come. */
static void
start_spill(BuildState *state, double rows, bool keep)
{
	BuildRows	loaded = state->rows;
	MemoryContext old = MemoryContextSwitchTo(state->context);

	if (learn_rows(state, rows))
	{
		MemoryContextSwitchTo(old);
		return;
	}
	ereport(NOTICE,
			(errmsg("hnsw graph of about %.0f tuples is built in parts, as maintenance_work_mem is %d MB",
					rows, maintenance_work_mem / 1024),
			 errdetail("Parts go through temporary files, and building takes up to twice the time."),
			 errhint("Increase maintenance_work_mem to about %.0f MB to build it in one piece.",
					 ceil(rows * (state->row_memory + loaded.data_used / Max(loaded.n, 1)) / (1024 * 1024)))));
	build_spill_start(state, rows);
	MemoryContextSwitchTo(old);
	build_rows_init(&state->rows, state->context, loaded.key_room);
	for (uint32 i = 0; i < loaded.n && keep; i++)
	{
		BuildRow	row = loaded.rows[i];

		CHECK_FOR_INTERRUPTS();
		build_spill_add(state, &row, loaded.data + row.packed, build_row_size(&loaded, i));
		for (uint32 more = row.more; more != 0; more = loaded.tids[more - 1].next)
		{
			row.tid = loaded.tids[more - 1].tid;
			/* With its own key before the value */
			memcpy(loaded.data + row.packed - loaded.key_room,
				   loaded.tid_keys + (more - 1) * loaded.key_room, loaded.key_room);
			build_spill_add(state, &row, loaded.data + row.packed, build_row_size(&loaded, i));
		}
	}
	build_rows_free(&loaded);
}

/* How many rows the table has, if it goes on as up to this row. */
static double
extrapolate(const BuildState *state, ItemPointer tid)
{
	double		blocks = RelationGetNumberOfBlocks(state->heap);

	return state->indtuples * Max(blocks / (ItemPointerGetBlockNumber(tid) + 1.0), 1);
}

/* table_index_build_scan callback */
static void
build_callback(Relation rel, ItemPointer tid, Datum *values, bool *isnull,
			   bool tuple_is_alive, void *arg)
{
	BuildState *state = arg;
	int			column = state->vector_column - 1;
	MemoryContext old;

	if (isnull[column])
		return;

	old = MemoryContextSwitchTo(state->row_context);
	hnsw_value_set(&state->layout, state->value, values[column], false);
	if (hnsw_value_indexable(&state->layout, state->value))
	{
		Size		size = hnsw_value_pack_size(&state->layout, state->value);
		Size		key_room = build_key_room(&state->layout);
		char	   *packed = (char *) palloc0(key_room + size) + key_room;
		BuildRow	row = {0};

		hnsw_key_make(&state->keys, state->rel, values, isnull, (uint8 *) packed - key_room);
		row.tid = *tid;
		row.error = hnsw_value_pack(&state->layout, state->value, packed, &row.scale);
		state->indtuples++;
		if (state->spill == NULL && !state->sampling && !state->blurred &&
			memory_full(state, state->rows.n, state->rows.data_used))
			start_spill(state, extrapolate(state, tid), true);
		if (state->spill != NULL)
			build_spill_add(state, &row, packed, size);
		else if (!state->blurred)
		{
			row.level = hnsw_random_level(&pg_global_prng_state);
			build_rows_add(&state->rows, &row, packed, size);
		}
		if ((int64) state->indtuples % 1024 == 0)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE,
										 (int64) state->indtuples);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->row_context);
}

/*
 * Load rows of some blocks all over a larger table, to know before the scan
 * whether its rows will fit into memory.  Most tables that do not fit are
 * spilled from the first row on then, with pivots for all of the table.
 */
static void
sample_table(BuildState *state)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(state->heap);
	BlockNumber sampled = 0;
	double		rows;
	double		data;

	/* Other access methods may have rows where no block of that number is. */
	if (blocks < SAMPLE_BLOCKS * SAMPLE_ROUNDS ||
		state->heap->rd_tableam != GetHeapamTableAmRoutine())
		return;
	state->sampling = true;
	for (int round = 0; round < SAMPLE_ROUNDS && state->indtuples < SAMPLE_ROWS; round++)
		for (int i = 0; i < SAMPLE_BLOCKS &&
			 !memory_full(state, state->rows.n, state->rows.data_used); i++)
		{
			double		at = i + (double) (round * 7 % SAMPLE_ROUNDS) / SAMPLE_ROUNDS;

			CHECK_FOR_INTERRUPTS();
			table_index_build_range_scan(state->heap, state->rel, state->info, false, false, false,
										 (BlockNumber) (at * blocks / SAMPLE_BLOCKS), 1,
										 build_callback, state, NULL);
			sampled++;
		}
	state->sampling = false;
	rows = state->indtuples * blocks / sampled;
	data = (double) state->rows.data_used * blocks / sampled;
	state->indtuples = 0;
	if (state->rows.n >= MIN_ROWS && memory_full(state, rows, data))
		start_spill(state, rows, false);
	else
	{
		build_rows_free(&state->rows);
		build_rows_init(&state->rows, state->context, build_key_room(&state->layout));
	}
}

/* ---------------------------------------------------------------------
 * Building
 * ---------------------------------------------------------------------
 */

/* Note further TIDs of a chunk's rows; they are added at the end. */
static void
note_duplicates(BuildState *state, const BuildChunk *chunk, const BuildRows *rows)
{
	for (uint32 i = 0; i < chunk->n && rows->ntids > 0; i++)
		for (uint32 more = rows->rows[i].more; more != 0; more = rows->tids[more - 1].next)
		{
			DuplicateTid duplicate = {0};

			if (state->duplicates == NULL)
				state->duplicates = BufFileCreateTemp(false);
			duplicate.id = build_nth_node(&state->layout, chunk->first, i);
			duplicate.tid = rows->tids[more - 1].tid;
			BufFileWrite(state->duplicates, &duplicate, sizeof(duplicate));
			if (rows->key_room > 0)
				BufFileWrite(state->duplicates, rows->tid_keys + (more - 1) * rows->key_room,
							 rows->key_room);
		}
}

/* Start reading a file from its beginning. */
void
build_rewind(BufFile *file)
{
	if (BufFileSeek(file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind temporary file of an hnsw build: %m")));
}

/* Add the further TIDs to the finished index. */
static void
write_duplicates(BuildState *state)
{
	DuplicateTid duplicate;
	Size		key_room = build_key_room(&state->layout);
	uint8		key[INTALIGN(HNSW_MAX_KEY_SIZE)];

	if (state->duplicates == NULL)
		return;
	build_rewind(state->duplicates);
	while (BufFileReadMaybeEOF(state->duplicates, &duplicate, sizeof(duplicate), true) > 0)
	{
		HnswWrite	write;

		piramid_injection_point("hnsw-build-duplicate");
		CHECK_FOR_INTERRUPTS();
		if (key_room > 0)
			BufFileReadExact(state->duplicates, key, key_room);
		hnsw_write(state->index, duplicate.id, &write);
		hnsw_tid_append(state->index, &write, &duplicate.tid, key);
		hnsw_write_end(state->index, &write, true);
	}
	BufFileClose(state->duplicates);
}

/* Set the entries of a chunk's nodes in the key pages. */
static void
write_keys(BuildState *state, const BuildChunk *chunk, const BuildRows *rows)
{
	const HnswLayout *layout = &state->layout;

	for (uint32 i = 0; i < chunk->n && layout->key_size > 0; i++)
	{
		const uint8 *key = (const uint8 *) chunk->data + chunk->rows[i].packed - rows->key_room;
		HnswKeyState key_state = HNSW_KEY_ONE;

		CHECK_FOR_INTERRUPTS();
		for (uint32 more = chunk->rows[i].more; more != 0; more = rows->tids[more - 1].next)
			if (memcmp(rows->tid_keys + (more - 1) * rows->key_room, key, layout->key_size) != 0)
				key_state = HNSW_KEY_SEVERAL;
		hnsw_build_key(state->index, build_nth_node(layout, chunk->first, i), key_state, key);
	}
}

/* Set the entries of a chunk's nodes in the sketch pages. */
static void
write_sketches(BuildState *state, const BuildChunk *chunk)
{
	const HnswLayout *layout = &state->layout;
	float	   *rotated = palloc(sizeof(float) * layout->out_dim);
	HnswSketchRoom room;

	for (uint32 i = 0; i < chunk->n && layout->sketch.units > 0; i++)
	{
		CHECK_FOR_INTERRUPTS();
		build_rotated(state, chunk, i, rotated);
		hnsw_sketch_make(state->index, rotated, &room.sketch);
		hnsw_build_sketch(state->index, build_nth_node(layout, chunk->first, i), &room.sketch);
	}
	pfree(rotated);
}

/* Build a chunk of loaded rows, which are used up. */
void
build_loaded(BuildState *state, BuildChunk *chunk, BuildRows *rows)
{
	MemoryContext context = AllocSetContextCreate(rows->context, "hnsw build chunk",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	chunk->rows = rows->rows;
	chunk->data = rows->data;
	if (state->team != NULL)
		build_team_chunk(state, chunk, rows);
	else
	{
		if (!chunk->coded)
		{
			chunk->codes = MemoryContextAllocHuge(context, (Size) Max(chunk->n, 1) * state->stride);
			chunk->times = build_times_alloc(context, state, chunk);
		}
		build_chunk(state, chunk);
	}
	MemoryContextSwitchTo(old);
	if (chunk->level == 0)
	{
		write_keys(state, chunk, rows);
		write_sketches(state, chunk);
		note_duplicates(state, chunk, rows);
		state->done += chunk->n;
	}
	MemoryContextDelete(context);
}

/* The rows of a level that also have the next one. */
static void
collect_upper(BuildState *state, const BuildRows *rows, int level, HnswNodeId first,
			  BuildRows *upper)
{
	for (uint32 i = 0; i < rows->n; i++)
	{
		BuildRow	row = rows->rows[i];

		if (row.level <= level)
			continue;
		row.below = build_nth_node(&state->layout, first, i);
		build_rows_copy(upper, &row, rows->data + row.packed, build_row_size(rows, i));
	}
}

/* Make the graphs of all levels and write the index. */
static void
build_levels(BuildState *state)
{
	const HnswLayout *layout = &state->layout;
	BuildRows	levels[HNSW_MAX_LEVEL + 1] = {{0}};
	BuildChunk	chunks[HNSW_MAX_LEVEL + 1] = {{0}};
	int			nlevels = 1;
	BlockNumber block;
	BlockNumber blocks;
	BlockNumber base_blocks;
	Size		memory;
	HnswNodeId	entry;
	HnswNodeId	end;

	if (state->spill == NULL)
		state->total = state->rows.n;
	levels[0] = state->rows;
	for (int at = 0; at <= HNSW_MAX_LEVEL; at++)
	{
		if (at > 0)
			build_rows_init(&levels[at], state->context, build_key_room(layout));
		chunks[at].level = at;
	}

	/* Where each level begins, and which of its rows have the next one. */
	block = RelationGetNumberOfBlocks(state->rel);
	chunks[0].first = HnswMakeNodeId(layout, block, 0);
	if (state->spill != NULL)
	{
		build_spill_number(state, chunks[0].first, &levels[1]);
		memory = build_spill_memory(state, &blocks);
	}
	else
	{
		chunks[0].n = levels[0].n;
		memory = build_team_memory(state, &chunks[0], levels[0].data_used);
		blocks = build_chunk_blocks(layout, &chunks[0]);
		collect_upper(state, &levels[0], 0, chunks[0].first, &levels[1]);
	}
	base_blocks = blocks;
	for (int at = 1; at <= HNSW_MAX_LEVEL && levels[at].n > 0; at++)
	{
		chunks[at].first = HnswMakeNodeId(layout, block + blocks, 0);
		chunks[at].n = levels[at].n;
		blocks += build_chunk_blocks(layout, &chunks[at]);
		memory = Max(memory, build_team_memory(state, &chunks[at], levels[at].data_used));
		if (at < HNSW_MAX_LEVEL)
			collect_upper(state, &levels[at], at, chunks[at].first, &levels[at + 1]);
		nlevels = at + 1;
	}
	if ((double) block + blocks > HNSW_MAX_NODE_BLOCK(layout))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" would have too many nodes", RelationGetRelationName(state->rel))));

	hnsw_build_extend(state->index, blocks);
	end = HnswMakeNodeId(layout, block + base_blocks, 0);
	if (layout->key_size > 0 && base_blocks > 0)
		hnsw_build_key_pages(state->index, chunks[0].first, end - 1);
	if (layout->sketch.units > 0 && base_blocks > 0)
		hnsw_build_sketch_pages(state->index, chunks[0].first, end - 1);
	if (state->total >= MIN_TEAM_ROWS)
		build_team_start(state, memory);
	if (state->spill != NULL)
		build_spill_build(state);
	else
		build_loaded(state, &chunks[0], &levels[0]);
	for (int at = 1; at < nlevels; at++)
		build_loaded(state, &chunks[at], &levels[at]);
	build_team_end(state);
	entry = state->total > 0 ? chunks[nlevels - 1].first : HNSW_NO_NODE;
	piramid_injection_point("hnsw-build-written");
	hnsw_build_finish(state->index, entry, nlevels - 1);
	piramid_injection_point("hnsw-build-logged");
	if (build_finds_rows(state, chunks[0].first))
		write_duplicates(state);
	else
		build_insert(state, "Searches would miss many vectors, which are in groups far from each other.");
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

	if (TupleDescAttr(RelationGetDescr(rel), hnsw_vector_column(rel) - 1)->atttypid == VARBITOID)
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

/* The layout that the definition of an index asks for, as long as its rows are unknown. */
static void
choose_layout(Relation rel, HnswLayout *layout, HnswLayoutRequest *request)
{
	HnswKeyColumns keys;

	hnsw_key_columns(rel, &keys);
	memset(request, 0, sizeof(*request));
	request->type = hnsw_type(rel);
	request->column_dim = column_dimensions(rel, request->type);
	request->metric = hnsw_metric(rel);
	request->m = hnsw_m(rel);
	request->ef_construction = hnsw_ef_construction(rel);
	request->elements = HNSW_DEFAULT_ELEMENTS;
	request->key_size = keys.size;
	request->compact = hnsw_compact(rel);
	if (request->ef_construction < 2 * request->m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ef_construction must be greater than or equal to 2 * m")));
	hnsw_layout_choose(layout, request);
	if (request->compact && layout->code.units == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this operator class has no compact layout"),
				 errhint("Operator classes of vector and halfvec for <->, <#> and <=> do.")));
}

/* Parallel workers that may help, by the same rules as for a B-tree. */
static int
plan_workers(const BuildState *state)
{
	return plan_create_index_workers(RelationGetRelid(state->heap), RelationGetRelid(state->rel));
}

/*
 * Lead to the nodes that no path of links comes to: a row may be nobody's near
 * neighbour, or links to it gave way for others.
 */
static void
link_unreached(Relation rel)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build reach",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	IndexBulkDeleteResult stats = {0};
	VacuumState vacuum = {0};

	vacuum_begin(&vacuum, rel, &stats);
	vacuum_restore_reach(&vacuum);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

IndexBuildResult *
hnsw_build(Relation heap, Relation rel, IndexInfo *index_info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	BuildState	state = {0};
	MemoryContext old;

	if (RelationGetNumberOfBlocks(rel) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(rel));

	state.heap = heap;
	state.rel = rel;
	state.info = index_info;
	state.memory = (Size) maintenance_work_mem * 1024;
	state.vector_column = hnsw_vector_column(rel);
	hnsw_key_columns(rel, &state.keys);
	choose_layout(rel, &state.layout, &state.request);

	state.context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build",
										  ALLOCSET_DEFAULT_SIZES);
	state.row_context = AllocSetContextCreate(state.context, "hnsw build row",
											  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(state.context);
	state.value = hnsw_value_create(&state.layout);
	state.request.remote = build_is_remote(&state);
	/* Memory is planned for the layout with more links. */
	state.request.projected = true;
	hnsw_layout_choose(&state.layout, &state.request);
	state.stride = build_stride(&state.layout);
	state.row_memory = row_memory(&state);
	state.workers = plan_workers(&state);
	build_rows_init(&state.rows, state.context, build_key_room(&state.layout));
	MemoryContextSwitchTo(old);

	build_phase(&state, NULL, HNSW_PHASE_LOAD);
	sample_table(&state);
	/* From the first block on, so that the last one tells how much is left. */
	result->heap_tuples = table_index_build_scan(heap, rel, index_info, false, true,
												 build_callback, &state, NULL);
	result->index_tuples = state.indtuples;
	piramid_injection_point("hnsw-build-loaded");
	MemoryContextSwitchTo(state.context);
	if (state.blurred || (state.spill == NULL && learn_rows(&state, state.rows.n)))
		build_insert(&state, "Most vectors are much shorter than others, or in groups that are very dense.");
	else
		build_levels(&state);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(state.context);
	piramid_injection_point("hnsw-build-reach");
	link_unreached(rel);
	return result;
}

/* An unlogged index's initial state, for its init fork. */
void
hnsw_buildempty(Relation rel)
{
	HnswLayout	layout;
	HnswLayoutRequest request;
	HnswMetaPageData meta;

	choose_layout(rel, &layout, &request);
	hnsw_meta_init(&meta, &layout);
	hnsw_create(rel, INIT_FORKNUM, &meta, NULL, NULL, NULL);
}
