/*-------------------------------------------------------------------------
 *
 * build.c
 *		CREATE INDEX: postings are collected in memory, written as sorted runs
 *		when that is full, and merged into one segment.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/build.h"

#include "catalog/index.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/memutils.h"

/* What a member has left in its files, while the leader reads it */
typedef struct Part
{
	BufFile    *documents;
	uint32		ndocs;
	uint32		next;			/* number of the document in "document" */
	BuildDocument document;
	Bm25Piece  *pieces;
	int			npieces;
	int			room;
	BufFile   **runs;
	int			nruns;
} Part;

/* A temporary file; those of a team have names, by which the leader finds them. */
BufFile *
bm25_build_file(BuildState *state, const char *what, int number)
{
	if (state->files == NULL)
		return BufFileCreateTemp(false);
	return BufFileCreateFileSet(&state->files->fs, psprintf("%s-%d-%d", what, state->member, number));
}

static void
write_run(BuildState *state, bool more)
{
	BufFile    *file = bm25_build_file(state, "run", list_length(state->runs));

	bm25_inverter_write(state->inverter, file);
	state->runs = lappend(state->runs, file);
	state->inverter = more ? bm25_inverter_begin(state->flags) : NULL;
}

/* Take a row of the table. */
static void
build_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *arg)
{
	BuildState *state = arg;
	Bm25Segment *sizes = &state->part.sizes;
	Bm25Document document;
	BuildDocument stored = {*tid};
	MemoryContext old;

	if (isnull[0])
		return;
	if (sizes->ndocs == PG_UINT32_MAX - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" would have too many rows", RelationGetRelationName(rel)),
				 errhint("Partition the table.")));
	old = MemoryContextSwitchTo(state->context);
	bm25_parse_value(rel, state->config, state->flags, values[0], &document);
	for (int i = 0; i < document.nwords; i++)
		bm25_inverter_add(state->inverter, sizes->ndocs, &document.words[i]);
	stored.length = document.length;
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->context);
	BufFileWrite(state->documents, &stored, sizeof(stored));
	sizes->ndocs++;
	sizes->sumlen += stored.length;
	sizes->maxlen = Max(sizes->maxlen, stored.length);
	if (bm25_inverter_size(state->inverter) > state->memory)
		write_run(state, true);
}

/* Read rows of the table: those of "scan", or all. */
void
bm25_build_collect(BuildState *state, TableScanDesc scan)
{
	state->documents = bm25_build_file(state, "documents", 0);
	state->inverter = bm25_inverter_begin(state->flags);
	state->context = AllocSetContextCreate(CurrentMemoryContext, "bm25 row",
										   ALLOCSET_DEFAULT_SIZES);
	/*
	 * From the table's first row on: documents are numbered in the order of the table.  A
	 * team's scan was begun so; of others it has to be asked for.
	 */
	state->part.heap_rows = table_index_build_scan(state->heap, state->rel, state->info,
												   scan != NULL, state->member == 0, build_row,
												   state, scan);
	write_run(state, false);
	state->part.nruns = list_length(state->runs);
	state->part.broken_hot_chain = state->info->ii_BrokenHotChain;
}

static void
read_document(Part *part)
{
	BufFileReadExact(part->documents, &part->document, sizeof(part->document));
}

/* The part whose next document is the first one in the table; NULL if there is none. */
static Part *
first_part(Part *parts, int nparts)
{
	Part	   *first = NULL;

	/* No two of them have rows of the same block. */
	for (int i = 0; i < nparts; i++)
		if (parts[i].next < parts[i].ndocs &&
			(first == NULL || ItemPointerGetBlockNumber(&parts[i].document.tid) <
			 ItemPointerGetBlockNumber(&first->document.tid)))
			first = &parts[i];
	return first;
}

/* Write all documents in the order of the table; notes which numbers those of each part get. */
static void
write_documents(Bm25Writer *writer, Part *parts, int nparts)
{
	Part	   *last = NULL;
	Part	   *part;

	for (int i = 0; i < nparts; i++)
		if (parts[i].ndocs > 0)
			read_document(&parts[i]);
	for (uint32 doc = 0; (part = first_part(parts, nparts)) != NULL; doc++)
	{
		if (part != last)
		{
			if (part->npieces == part->room)
			{
				part->room = Max(64, part->room * 2);
				part->pieces = part->pieces == NULL ? palloc(sizeof(Bm25Piece) * part->room) :
					repalloc_huge(part->pieces, sizeof(Bm25Piece) * part->room);
			}
			part->pieces[part->npieces++] = (Bm25Piece) {part->next, doc};
		}
		last = part;
		bm25_writer_document(writer, &part->document.tid, part->document.length);
		if (++part->next < part->ndocs)
			read_document(part);
	}
}

/* The metapage's change at the end of a build */
static void
add_segment(Bm25MetaPage meta, void *arg)
{
	meta->segments[meta->nsegments++] = *(Bm25Segment *) arg;
	meta->next_generation++;
}

/* Write the segment of all rows. */
static void
write_segment(BuildState *state, const Bm25Segment *sizes, Part *parts, int nparts)
{
	Bm25MetaPageData meta;
	Bm25Space	space = {state->rel};
	Bm25Source **sources;
	int			n = 0;
	Bm25Segment segment;
	Bm25Writer *writer;

	bm25_meta_read(state->rel, &meta);
	meta.building = meta.next_generation;
	writer = bm25_writer_begin(&space, &meta, sizes);
	write_documents(writer, parts, nparts);
	for (int i = 0; i < nparts; i++)
		n += parts[i].nruns;
	sources = palloc(sizeof(Bm25Source *) * n);
	n = 0;
	for (int i = 0; i < nparts; i++)
		for (int j = 0; j < parts[i].nruns; j++)
			sources[n++] = bm25_run_source(parts[i].runs[j], state->flags, parts[i].pieces,
										   parts[i].npieces);
	bm25_merge_terms(writer, sources, n);
	bm25_writer_end(writer, &segment);
	bm25_space_tidy(&space);
	piramid_injection_point("bm25-build-written");
	bm25_publish(state->rel, add_segment, &segment, &space);
}

/* A file from its beginning */
static BufFile *
rewound(BufFile *file)
{
	if (BufFileSeek(file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind a temporary file")));
	return file;
}

/* The files of a member: this process alone, or one of a team. */
static void
open_part(BuildState *state, BuildTeam *team, int member, Part *part)
{
	const BuildPart *collected = team == NULL ? &state->part : bm25_team_part(team, member);

	*part = (Part) {.ndocs = collected->sizes.ndocs,.nruns = collected->nruns};
	part->documents = team == NULL ? rewound(state->documents) :
		bm25_team_open(team, member, "documents", 0);
	part->runs = palloc(sizeof(BufFile *) * Max(part->nruns, 1));
	for (int i = 0; i < part->nruns; i++)
		part->runs[i] = team == NULL ? rewound(list_nth(state->runs, i)) :
			bm25_team_open(team, member, "run", i);
}

/* Collect rows, alone or with a team, and write them. */
static void
build_all(BuildState *state, IndexBuildResult *result)
{
	BuildTeam  *team = bm25_team_start(state);
	Bm25Segment sizes = {0};
	int			nparts = 1;
	uint64		ndocs = 0;
	Part	   *parts;

	if (team != NULL)
		nparts = bm25_team_collect(team, state);
	else
		bm25_build_collect(state, NULL);
	parts = palloc(sizeof(Part) * nparts);
	for (int i = 0; i < nparts; i++)
	{
		const BuildPart *part = team == NULL ? &state->part : bm25_team_part(team, i);

		ndocs += part->sizes.ndocs;
		sizes.sumlen += part->sizes.sumlen;
		sizes.maxlen = Max(sizes.maxlen, part->sizes.maxlen);
		result->heap_tuples += part->heap_rows;
		state->info->ii_BrokenHotChain |= part->broken_hot_chain;
		open_part(state, team, i, &parts[i]);
	}
	if (ndocs >= PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" would have too many rows",
						RelationGetRelationName(state->rel)),
				 errhint("Partition the table.")));
	sizes.ndocs = ndocs;
	piramid_injection_point("bm25-build-collected");
	if (ndocs > 0)
		write_segment(state, &sizes, parts, nparts);
	for (int i = 0; i < nparts; i++)
	{
		for (int j = 0; j < parts[i].nruns; j++)
			BufFileClose(parts[i].runs[j]);
		BufFileClose(parts[i].documents);
	}
	if (team != NULL)
		bm25_team_end(team);
	result->index_tuples = ndocs;
}

IndexBuildResult *
bm25_build(Relation heap, Relation rel, IndexInfo *info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	BuildState	state = {heap, rel, info};
	Bm25MetaPageData meta;

	if (RelationGetNumberOfBlocks(rel) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(rel));
	bm25_meta_init(rel, &meta);
	bm25_create(rel, MAIN_FORKNUM, &meta);
	state.config = bm25_config_oid(&meta);
	state.flags = meta.flags;
	state.memory = (Size) maintenance_work_mem * 1024;
	build_all(&state, result);
	return result;
}

void
bm25_buildempty(Relation rel)
{
	Bm25MetaPageData meta;

	bm25_meta_init(rel, &meta);
	bm25_create(rel, INIT_FORKNUM, &meta);
}
