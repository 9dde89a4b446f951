/*-------------------------------------------------------------------------
 *
 * build_team.c
 *		CREATE INDEX with parallel workers: each member takes ranges of the table's
 *		blocks, in ascending order, and collects their rows as one process would.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/build.h"

#include "access/genam.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/snapmgr.h"

/* Keys of what the workers find in shared memory */
#define KEY_SHARED UINT64CONST(0x626D323500000001)
#define KEY_SCAN UINT64CONST(0x626D323500000002)

typedef struct TeamShared
{
	Oid			heap;
	Oid			rel;
	bool		concurrent;
	Size		memory;			/* of each member */
	SharedFileSet files;
	BuildPart	parts[FLEXIBLE_ARRAY_MEMBER];	/* of the leader, then of each worker */
} TeamShared;

struct BuildTeam
{
	ParallelContext *context;
	TeamShared *shared;
	ParallelTableScanDesc scan;
	Snapshot	snapshot;		/* registered, or SnapshotAny */
};

/* Start workers; NULL if there are none to help. */
BuildTeam *
bm25_team_start(BuildState *state)
{
	int			workers = plan_create_index_workers(RelationGetRelid(state->heap),
													RelationGetRelid(state->rel));
	BuildTeam  *team;
	Size		shared_size = offsetof(TeamShared, parts) + sizeof(BuildPart) * (workers + 1);
	Size		scan_size;

	if (workers == 0)
		return NULL;
	team = palloc0(sizeof(BuildTeam));
	EnterParallelMode();
	team->context = CreateParallelContext("piramid", "bm25_build_worker", workers);
	/* As for a B-tree: CREATE INDEX CONCURRENTLY reads what a snapshot sees. */
	team->snapshot = state->info->ii_Concurrent ?
		RegisterSnapshot(GetTransactionSnapshot()) : SnapshotAny;
	scan_size = table_parallelscan_estimate(state->heap, team->snapshot);
	shm_toc_estimate_chunk(&team->context->estimator, shared_size);
	shm_toc_estimate_chunk(&team->context->estimator, scan_size);
	shm_toc_estimate_keys(&team->context->estimator, 2);
	InitializeParallelDSM(team->context);
	if (team->context->seg == NULL)
	{
		bm25_team_end(team);
		return NULL;
	}
	team->shared = shm_toc_allocate(team->context->toc, shared_size);
	memset(team->shared, 0, shared_size);
	team->shared->heap = RelationGetRelid(state->heap);
	team->shared->rel = RelationGetRelid(state->rel);
	team->shared->concurrent = state->info->ii_Concurrent;
	team->shared->memory = state->memory / (workers + 1);
	SharedFileSetInit(&team->shared->files, team->context->seg);
	team->scan = shm_toc_allocate(team->context->toc, scan_size);
	table_parallelscan_initialize(state->heap, team->scan, team->snapshot);
	/* From the table's first block on: each member's documents are in the table's order. */
	team->scan->phs_syncscan = false;
	shm_toc_insert(team->context->toc, KEY_SHARED, team->shared);
	shm_toc_insert(team->context->toc, KEY_SCAN, team->scan);
	LaunchParallelWorkers(team->context);
	return team;
}

/* Collect rows as a member of a team. */
static void
collect(BuildState *state, TeamShared *shared, ParallelTableScanDesc scan, int member)
{
	ListCell   *cell;

	state->member = member;
	state->files = &shared->files;
	state->memory = shared->memory;
	bm25_build_collect(state, table_beginscan_parallel(state->heap, scan));
	foreach(cell, state->runs)
	{
		BufFileExportFileSet(lfirst(cell));
		BufFileClose(lfirst(cell));
	}
	BufFileExportFileSet(state->documents);
	BufFileClose(state->documents);
	shared->parts[member] = state->part;
}

/* Collect rows with all members; returns how many these are. */
int
bm25_team_collect(BuildTeam *team, BuildState *state)
{
	if (team->context->nworkers_launched > 0)
		WaitForParallelWorkersToAttach(team->context);
	collect(state, team->shared, team->scan, 0);
	WaitForParallelWorkersToFinish(team->context);
	return 1 + team->context->nworkers_launched;
}

const BuildPart *
bm25_team_part(BuildTeam *team, int member)
{
	return &team->shared->parts[member];
}

/* Open a file of a member that has collected all of its rows. */
BufFile *
bm25_team_open(BuildTeam *team, int member, const char *what, int number)
{
	return BufFileOpenFileSet(&team->shared->files.fs, psprintf("%s-%d-%d", what, member, number),
							  O_RDONLY, false);
}

/* Let the workers go, and their files. */
void
bm25_team_end(BuildTeam *team)
{
	WaitForParallelWorkersToFinish(team->context);
	if (IsMVCCSnapshot(team->snapshot))
		UnregisterSnapshot(team->snapshot);
	DestroyParallelContext(team->context);
	ExitParallelMode();
	pfree(team);
}

/* Entry point of a worker. */
void
bm25_build_worker(dsm_segment *segment, shm_toc *toc)
{
	TeamShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	ParallelTableScanDesc scan = shm_toc_lookup(toc, KEY_SCAN, false);
	LOCKMODE	heap_lock = shared->concurrent ? ShareUpdateExclusiveLock : ShareLock;
	LOCKMODE	index_lock = shared->concurrent ? RowExclusiveLock : AccessExclusiveLock;
	BuildState	state = {0};
	Bm25MetaPageData meta;

	SharedFileSetAttach(&shared->files, segment);
	state.heap = table_open(shared->heap, heap_lock);
	state.rel = index_open(shared->rel, index_lock);
	state.info = BuildIndexInfo(state.rel);
	state.info->ii_Concurrent = shared->concurrent;
	bm25_meta_read(state.rel, &meta);
	state.config = bm25_config_oid(&meta);
	state.flags = meta.flags;
	piramid_injection_point("bm25-build-worker");
	collect(&state, shared, scan, ParallelWorkerNumber + 1);
	index_close(state.rel, index_lock);
	table_close(state.heap, heap_lock);
}
