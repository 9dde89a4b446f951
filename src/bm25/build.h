/*-------------------------------------------------------------------------
 *
 * build.h
 *		What the files of CREATE INDEX share; nobody else includes it.
 *
 * A member is a process that reads rows: the leader alone, or workers, too.  It
 * numbers the documents that it meets.  Its documents and its runs of postings are
 * temporary files.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_BM25_BUILD_H
#define PIRAMID_BM25_BUILD_H

#include "bm25/bm25.h"

#include "access/tableam.h"
#include "storage/buffile.h"
#include "storage/sharedfileset.h"
#include "storage/shm_toc.h"

/* A document, in a member's file of them */
typedef struct BuildDocument
{
	ItemPointerData tid;
	uint32		length;
} BuildDocument;

/* What a member has collected */
typedef struct BuildPart
{
	Bm25Segment sizes;			/* number and lengths of documents */
	uint32		nruns;
	double		heap_rows;		/* that it has read */
	bool		broken_hot_chain;	/* as of IndexInfo: old snapshots must not use the index */
} BuildPart;

typedef struct BuildState
{
	Relation	heap;
	Relation	rel;
	IndexInfo  *info;
	Oid			config;
	uint32		flags;			/* of the metapage */
	Size		memory;			/* for postings */
	SharedFileSet *files;		/* of a team, or NULL */
	int			member;			/* 0: the leader */
	BuildPart	part;
	BufFile    *documents;
	List	   *runs;			/* a BufFile for each */
	Bm25Inverter *inverter;
	MemoryContext context;		/* of a row */
} BuildState;

typedef struct BuildTeam BuildTeam;

/* functions in build.c */
extern void bm25_build_collect(BuildState *state, TableScanDesc scan);
extern BufFile *bm25_build_file(BuildState *state, const char *what, int number);

/* functions in build_team.c */
extern BuildTeam *bm25_team_start(BuildState *state);
extern int	bm25_team_collect(BuildTeam *team, BuildState *state);
extern const BuildPart *bm25_team_part(BuildTeam *team, int member);
extern BufFile *bm25_team_open(BuildTeam *team, int member, const char *what, int number);
extern void bm25_team_end(BuildTeam *team);
extern PGDLLEXPORT void bm25_build_worker(dsm_segment *segment, shm_toc *toc);

#endif							/* PIRAMID_BM25_BUILD_H */
