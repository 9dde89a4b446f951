/*-------------------------------------------------------------------------
 *
 * build.h
 *		What the files of CREATE INDEX share; nobody else includes it.
 *
 * A chunk is a set of rows of one level whose graph is made in one go, in
 * memory, by one process or by a team of them.  Without a shortage of memory
 * each level is one chunk.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_BUILD_H
#define PIRAMID_HNSW_BUILD_H

#include "hnsw/graph.h"
#include "hnsw/options.h"
#include "partition/partition.h"
#include "storage/buffile.h"
#include "storage/shm_toc.h"

/* A loaded row; equal vectors are one row with several heap TIDs. */
typedef struct BuildRow
{
	ItemPointerData tid;
	uint8		level;
	float		scale;			/* of the packed value */
	float		error;			/* of the packed value */
	uint32		more;			/* 1 + index of a further TID, or 0 */
	uint32		next;			/* 1 + index of the next row of the same hash, or 0 */
	HnswNodeId	below;			/* above the base: its node a level down */
	Size		packed;			/* where the packed value is in "data", the row's key before it */
} BuildRow;

typedef struct BuildTid
{
	ItemPointerData tid;
	uint32		next;
} BuildTid;

/* Rows as they are loaded: arrays that grow, and a hash table of the values. */
typedef struct BuildRows
{
	MemoryContext context;
	uint32		n;
	uint32		capacity;
	BuildRow   *rows;
	Size		key_room;		/* see build_key_room */
	char	   *data;			/* keys and packed values */
	Size		data_used;
	Size		data_capacity;
	uint32	   *buckets;		/* 1 + index of the first row with a hash */
	uint32		nbuckets;
	BuildTid   *tids;			/* of duplicates */
	uint32		ntids;
	uint8	   *tid_keys;		/* keys of these, key_room bytes each */
	uint32		tids_capacity;
} BuildRows;

/*
 * Bytes that a row's key takes, aligned for the packed value behind it.  So wherever a
 * packed value is handed on, the key is in front of it.
 */
static inline Size
build_key_room(const HnswLayout *layout)
{
	return INTALIGN(layout->key_size);
}

typedef struct BuildChunk
{
	int			level;
	uint32		n;				/* rows that become nodes */
	uint32		nguests;		/* rows of other chunks, to link to */
	HnswNodeId	first;			/* node number of the first row */
	BuildRow   *rows;			/* n */
	const char *data;			/* keys and packed values of the rows */
	int8	   *codes;			/* of rows and guests, each "stride" bytes */
	float	   *times;			/* inner product: how many times as long as their codes
								 * rows and guests are; NULL: once */
	bool		coded;			/* codes and times are there already */
	int8	   *projected;		/* of rows and guests, if links' codes are projected */
	HnswNodeId *guests;			/* their node numbers */
} BuildChunk;

/* Tasks of a team besides those of the partition builder */
#define BUILD_TASK_CODES	PARTITION_TASKS
#define BUILD_TASK_PROJECT	(PARTITION_TASKS + 1)
#define BUILD_TASK_WRITE	(PARTITION_TASKS + 2)
#define BUILD_TASKS			(PARTITION_TASKS + 3)

typedef struct BuildTeam BuildTeam;
typedef struct BuildSpill BuildSpill;
typedef struct BuildSparse BuildSparse;

typedef struct BuildState
{
	Relation	heap;			/* NULL in a worker */
	Relation	rel;
	IndexInfo  *info;
	HnswIndex  *index;			/* once the metapage is written */
	HnswLayout	layout;
	HnswLayoutRequest request;	/* what it was chosen for */
	AttrNumber	vector_column;
	HnswKeyColumns keys;		/* the filter columns */
	MemoryContext context;		/* of everything that lives until the end */
	MemoryContext row_context;	/* reset after each row */
	HnswValue  *value;			/* room for the value at hand */
	double		indtuples;
	Size		memory;			/* maintenance_work_mem in bytes */
	BufFile    *duplicates;		/* nodes' further heap TIDs; NULL: none */
	Size		row_memory;		/* bytes per row, but for its packed value */
	int			workers;		/* that may help */
	bool		sampling;		/* loading a sample, not all rows */
	bool		blurred;		/* rows are only counted, to be inserted later */
	BuildRows	rows;			/* loaded, or a sample of them */
	int			stride;			/* of the int8 codes */
	float		step;			/* of the int8 codes */
	const float *mean;			/* of the rows, if the index has it */
	float	   *projected_mean; /* the same, rotated and projected, or NULL */
	BuildTeam  *team;			/* NULL: this process alone */
	uint32		claims[BUILD_TASKS];	/* without a team */
	BuildSpill *spill;			/* NULL: all rows are in memory */
	/* progress */
	double		total;			/* rows of the chunks of the base level */
	double		done;			/* of these, in chunks that are finished */
	double		share;			/* rows of the chunk at hand */
} BuildState;

/* functions in build.c */
extern void build_phase(BuildState *state, const BuildChunk *chunk, int phase);
extern void build_rewind(BufFile *file);
extern void build_loaded(BuildState *state, BuildChunk *chunk, BuildRows *rows);
extern void build_progress(BuildState *state, double fraction);

/* functions in build_rows.c */
extern void build_rows_init(BuildRows *rows, MemoryContext parent, Size key_room);
extern void build_rows_free(BuildRows *rows);
extern void build_rows_free_values(BuildRows *rows);
extern bool build_rows_add(BuildRows *rows, const BuildRow *row, const char *packed, Size size);
extern void build_rows_copy(BuildRows *rows, const BuildRow *row, const char *packed, Size size);
extern Size build_row_size(const BuildRows *rows, uint32 i);
extern const HnswValue *build_row_value(BuildState *state, uint32 i);

/* functions in build_learn.c */
extern int	build_compare_floats(const void *a, const void *b);
extern bool build_is_remote(BuildState *state);
extern void build_create_index(BuildState *state);
extern void build_learn_step(BuildState *state);
extern bool build_is_blurred(BuildState *state, double total);
extern int	build_stride(const HnswLayout *layout);
extern float build_stretch(const HnswIndex *index, float norm);
extern float build_encode(BuildState *state, const HnswValue *value, float *room, int8 *code);
extern Size build_encode_room(const BuildState *state);
extern Size build_projected_size(const BuildState *state, const BuildChunk *chunk);

/* Rows to learn a projection from and judge it by */
#define BUILD_PROJECTION_ROWS 2560

/* functions in build_projection.c */
extern Projection *build_learn_projection(HnswLayout *layout, const HnswLayoutRequest *request,
										  int nrows, int8 *rows, uint64 seed);
extern Projection *build_learn_sketches(const HnswLayout *layout, int nrows, const int8 *rows,
										uint64 seed);
extern void build_project_codes(const Projection *projection, int nrows, const int8 *rows,
								int stride, float step, int8 *out);

/* functions in build_chunk.c */
extern PartitionParams build_partition_params(const BuildState *state, const BuildChunk *chunk);
extern Size build_chunk_memory(const BuildState *state, const BuildChunk *chunk);
extern HnswNodeId build_nth_node(const HnswLayout *layout, HnswNodeId first, uint32 i);
extern BlockNumber build_chunk_blocks(const HnswLayout *layout, const BuildChunk *chunk);
extern Size build_times_size(const BuildState *state, const BuildChunk *chunk);
extern float *build_times_alloc(MemoryContext context, const BuildState *state,
								const BuildChunk *chunk);
extern void build_rotated(const BuildState *state, const BuildChunk *chunk, uint32 row, float *out);
extern void build_chunk(BuildState *state, BuildChunk *chunk);

/* functions in build_sparse.c */
extern BuildSparse *build_sparse_create(const BuildState *state, const BuildChunk *chunk);
extern int32 build_sparse_distance(void *arg, uint32 a, uint32 b);
extern void build_sparse_free(BuildSparse *sparse);

/* functions in build_insert.c */
extern bool build_finds_rows(BuildState *state, HnswNodeId first);
extern void build_insert(BuildState *state, const char *why);

/* functions in build_spill.c */
extern void build_spill_start(BuildState *state, double rows);
extern void build_spill_add(BuildState *state, const BuildRow *row, const char *packed, Size size);
extern void build_spill_number(BuildState *state, HnswNodeId first, BuildRows *upper);
extern Size build_spill_memory(BuildState *state, BlockNumber *blocks);
extern void build_spill_build(BuildState *state);

/* functions in build_team.c */
extern void build_team_start(BuildState *state, Size memory);
extern Size build_team_memory(const BuildState *state, const BuildChunk *chunk, Size data_size);
extern void build_team_chunk(BuildState *state, BuildChunk *chunk, BuildRows *rows);
extern void build_team_end(BuildState *state);
extern PartitionTeam *build_team_partition(BuildTeam *team);
extern void build_wait(BuildState *state);
extern bool build_claim(BuildState *state, int task, uint32 size, uint32 total,
						uint32 *from, uint32 *to);
extern PGDLLEXPORT void hnsw_build_worker(dsm_segment *segment, shm_toc *toc);

#endif							/* PIRAMID_HNSW_BUILD_H */
