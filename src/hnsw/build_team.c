/*-------------------------------------------------------------------------
 *
 * build_team.c
 *		CREATE INDEX with parallel workers.
 *
 * The leader loads the rows of a chunk into dynamic shared memory; then all
 * members run build_chunk on it.  Members claim ranges of the work from
 * atomic counters and meet at a barrier between its steps, so that the only
 * locks are those of single rows, while leaves merge their candidates.
 * README-build.md has the steps.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"

#include <sys/statvfs.h>

#include "access/genam.h"
#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/barrier.h"
#include "storage/condition_variable.h"
#include "storage/dsm_impl.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

/* Keys of what the workers find in shared memory */
#define KEY_SHARED UINT64CONST(0x7069726100000001)
#define KEY_MEMORY UINT64CONST(0x7069726100000002)

/* Locks of rows, each shared by the rows of one remainder; what pg_stat_activity calls them */
#define ROW_LOCKS 256
#define LOCKS_NAME "PiramidBuildRows"

typedef struct TeamShared
{
	Oid			rel;
	bool		concurrent;
	bool		remote;			/* HnswLayout.remote */
	int			members;
	float		step;
	int			tranche;		/* of the locks */
	/* the chunk at hand */
	bool		done;			/* there is none any more */
	BuildChunk	chunk;			/* without its pointers */
	Size		data_size;
	ConditionVariable changed;	/* "ready" has */
	pg_atomic_uint32 ready;		/* the barrier is */
	Barrier		barrier;
	pg_atomic_uint32 claims[BUILD_TASKS];
	LWLockPadded locks[ROW_LOCKS];
} TeamShared;

struct BuildTeam
{
	ParallelContext *context;	/* NULL in a worker */
	TeamShared *shared;
	char	   *memory;
	Size		memory_size;
	PartitionTeam partition;
};

static uint32
team_claim(void *arg, int task)
{
	return pg_atomic_fetch_add_u32(&((TeamShared *) arg)->claims[task], 1);
}

static void
team_wait(void *arg)
{
	BarrierArriveAndWait(&((TeamShared *) arg)->barrier, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
}

static void
team_lock(void *arg, uint32 row)
{
	LWLockAcquire(&((TeamShared *) arg)->locks[row % ROW_LOCKS].lock, LW_EXCLUSIVE);
}

static void
team_unlock(void *arg, uint32 row)
{
	LWLockRelease(&((TeamShared *) arg)->locks[row % ROW_LOCKS].lock);
}

PartitionTeam *
build_team_partition(BuildTeam *team)
{
	return team != NULL ? &team->partition : NULL;
}

/* Wait until all members are here. */
void
build_wait(BuildState *state)
{
	if (state->team != NULL)
		team_wait(state->team->shared);
}

/* The next range of "size" of a task's "total"; false if there is none. */
bool
build_claim(BuildState *state, int task, uint32 size, uint32 total, uint32 *from, uint32 *to)
{
	uint64		start = state->team != NULL ? team_claim(state->team->shared, task) :
		state->claims[task]++;

	start *= size;
	*from = (uint32) Min(start, total);
	*to = (uint32) Min(start + size, total);
	return *from < *to;
}

static void
init_partition_team(BuildTeam *team, bool leader)
{
	PartitionTeam *partition = &team->partition;

	partition->arg = team->shared;
	partition->members = team->shared->members;
	partition->leader = leader;
	partition->claim = team_claim;
	partition->wait = team_wait;
	partition->lock = team_lock;
	partition->unlock = team_unlock;
}

/*
 * Is there so much shared memory?  Linux has it in a file system of limited
 * size, small in containers.
 */
static bool
has_shared_memory(Size memory)
{
#ifdef USE_DSM_POSIX
	struct statvfs fs;

	if (dynamic_shared_memory_type == DSM_IMPL_POSIX && statvfs("/dev/shm", &fs) == 0 &&
		(double) fs.f_bavail * fs.f_frsize < (double) memory)
	{
		ereport(NOTICE,
				(errmsg("hnsw graph is built without parallel workers"),
				 errdetail("The workers would share %zu MB, but /dev/shm has room for %zu MB.",
						   memory / (1024 * 1024),
						   (Size) ((double) fs.f_bavail * fs.f_frsize / (1024 * 1024))),
				 errhint("Increase the size of /dev/shm to speed up builds.")));
		return false;
	}
#endif
	return true;
}

/* The number of our kind of locks, the same for all builds of a server. */
static int
lock_tranche(void)
{
	bool		found;
	int		   *tranche;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	tranche = ShmemInitStruct("piramid build locks", sizeof(int), &found);
	if (!found)
		*tranche = LWLockNewTrancheId();
	LWLockRelease(AddinShmemInitLock);
	return *tranche;
}

/*
 * Start workers, if there are any, and give them so much memory.  All chunks
 * that follow must fit into it.
 */
void
build_team_start(BuildState *state, Size memory)
{
	BuildTeam  *team;
	TeamShared *shared;
	ParallelContext *context;

	if (state->workers == 0 || !has_shared_memory(memory))
		return;
	EnterParallelMode();
	context = CreateParallelContext("piramid", "hnsw_build_worker", state->workers);
	shm_toc_estimate_chunk(&context->estimator, sizeof(TeamShared));
	shm_toc_estimate_chunk(&context->estimator, memory);
	shm_toc_estimate_keys(&context->estimator, 2);
	InitializeParallelDSM(context);
	if (context->seg == NULL)
	{
		DestroyParallelContext(context);
		ExitParallelMode();
		return;
	}

	team = palloc0(sizeof(BuildTeam));
	team->context = context;
	team->memory_size = memory;
	team->memory = shm_toc_allocate(context->toc, memory);
	team->shared = shared = shm_toc_allocate(context->toc, sizeof(TeamShared));
	memset(shared, 0, sizeof(*shared));
	shared->rel = RelationGetRelid(state->rel);
	shared->concurrent = state->info->ii_Concurrent;
	shared->remote = state->layout.remote;
	shared->step = state->step;
	for (int i = 0; i < BUILD_TASKS; i++)
		pg_atomic_init_u32(&shared->claims[i], 0);
	shared->tranche = lock_tranche();
	LWLockRegisterTranche(shared->tranche, LOCKS_NAME);
	for (int i = 0; i < ROW_LOCKS; i++)
		LWLockInitialize(&shared->locks[i].lock, shared->tranche);
	ConditionVariableInit(&shared->changed);
	pg_atomic_init_u32(&shared->ready, 0);
	shm_toc_insert(context->toc, KEY_SHARED, shared);
	shm_toc_insert(context->toc, KEY_MEMORY, team->memory);
	LaunchParallelWorkers(context);
	state->team = team;
	if (context->nworkers_launched == 0)
	{
		build_team_end(state);
		return;
	}
	shared->members = 1 + context->nworkers_launched;
	BarrierInit(&shared->barrier, shared->members);
	/* Whoever sees that it is ready shall see the barrier, too. */
	pg_write_barrier();
	pg_atomic_write_u32(&shared->ready, 1);
	ConditionVariableBroadcast(&shared->changed);
	WaitForParallelWorkersToAttach(context);
	init_partition_team(team, true);
	piramid_injection_point("hnsw-build-team");
}

/* The next "size" bytes of the team's memory. */
static char *
carve(char **memory, Size size)
{
	char	   *carved = *memory;

	*memory += TYPEALIGN(PARTITION_ALIGN, size);
	return carved;
}

/* Where the team has a chunk's arrays; what is left is the graph's. */
static void
place_chunk(BuildState *state, BuildChunk *chunk, Size data_size)
{
	char	   *memory = state->team->memory;

	chunk->rows = (BuildRow *) carve(&memory, sizeof(BuildRow) * chunk->n);
	chunk->data = carve(&memory, data_size);
	chunk->codes = (int8 *) carve(&memory, ((Size) chunk->n + chunk->nguests) * state->stride);
	chunk->projected = (int8 *) carve(&memory, build_projected_size(state, chunk));
	chunk->times = (float *) carve(&memory, build_times_size(state, chunk));
	if (build_times_size(state, chunk) == 0)
		chunk->times = NULL;
	chunk->guests = (HnswNodeId *) carve(&memory, sizeof(HnswNodeId) * chunk->nguests);
	state->team->partition.memory = memory;
}

/* Bytes of the team's memory that a chunk takes. */
Size
build_team_memory(const BuildState *state, const BuildChunk *chunk, Size data_size)
{
	return sizeof(BuildRow) * chunk->n + data_size + build_chunk_memory(state, chunk) +
		6 * PARTITION_ALIGN;
}

/*
 * Leader: build a chunk of loaded rows with the team.  The values of the rows
 * are freed as soon as the team has them.
 */
void
build_team_chunk(BuildState *state, BuildChunk *chunk, BuildRows *rows)
{
	BuildTeam  *team = state->team;
	TeamShared *shared = team->shared;
	Size		data_size = rows->data_used;
	BuildChunk	own = *chunk;

	Assert(build_team_memory(state, chunk, data_size) <= team->memory_size);
	place_chunk(state, chunk, data_size);
	memcpy(chunk->rows, own.rows, sizeof(BuildRow) * chunk->n);
	memcpy((char *) chunk->data, own.data, data_size);
	if (chunk->coded)
		memcpy(chunk->codes, own.codes, ((Size) chunk->n + chunk->nguests) * state->stride);
	if (chunk->coded && chunk->times != NULL)
		memcpy(chunk->times, own.times, build_times_size(state, chunk));
	if (chunk->coded)
		memcpy(chunk->guests, own.guests, sizeof(HnswNodeId) * chunk->nguests);
	build_rows_free_values(rows);
	if (chunk->coded)
	{
		pfree(own.codes);
		if (own.times != NULL)
			pfree(own.times);
		pfree(own.guests);
	}
	shared->chunk = *chunk;
	shared->data_size = data_size;
	for (int i = 0; i < BUILD_TASKS; i++)
		pg_atomic_write_u32(&shared->claims[i], 0);
	build_wait(state);
	build_chunk(state, chunk);
	chunk->rows = own.rows;
}

/* Leader: let the workers go. */
void
build_team_end(BuildState *state)
{
	BuildTeam  *team = state->team;

	if (team == NULL)
		return;
	if (team->shared->members > 0)
	{
		team->shared->done = true;
		build_wait(state);
	}
	WaitForParallelWorkersToFinish(team->context);
	DestroyParallelContext(team->context);
	ExitParallelMode();
	pfree(team);
	state->team = NULL;
}

/* Entry point of a worker. */
void
hnsw_build_worker(dsm_segment *segment, shm_toc *toc)
{
	BuildState	state = {0};
	BuildTeam	team = {0};

	team.shared = shm_toc_lookup(toc, KEY_SHARED, false);
	team.memory = shm_toc_lookup(toc, KEY_MEMORY, false);
	state.team = &team;
	state.rel = index_open(team.shared->rel,
						   team.shared->concurrent ? RowExclusiveLock : AccessExclusiveLock);
	state.context = CurrentMemoryContext;
	state.row_context = AllocSetContextCreate(CurrentMemoryContext, "hnsw build row",
											  ALLOCSET_DEFAULT_SIZES);
	ConditionVariablePrepareToSleep(&team.shared->changed);
	while (pg_atomic_read_u32(&team.shared->ready) == 0)
		ConditionVariableSleep(&team.shared->changed, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
	ConditionVariableCancelSleep();
	pg_read_barrier();
	LWLockRegisterTranche(team.shared->tranche, LOCKS_NAME);
	build_wait(&state);
	init_partition_team(&team, false);
	state.index = hnsw_open(state.rel);
	state.index->layout.remote = team.shared->remote;
	state.layout = state.index->layout;
	state.stride = build_stride(&state.layout);
	state.step = team.shared->step;
	state.value = hnsw_value_create(&state.layout);
	while (!team.shared->done)
	{
		BuildChunk	chunk = team.shared->chunk;

		place_chunk(&state, &chunk, team.shared->data_size);
		piramid_injection_point("hnsw-build-worker");
		build_chunk(&state, &chunk);
		build_wait(&state);
	}
	index_close(state.rel, team.shared->concurrent ? RowExclusiveLock : AccessExclusiveLock);
}
