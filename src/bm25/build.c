/*-------------------------------------------------------------------------
 *
 * build.c
 *		CREATE INDEX: postings are collected in memory, written as sorted runs
 *		when that is full, and merged into one segment.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/tableam.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "pgstat.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

typedef struct BuildState
{
	Relation	rel;
	Oid			config;
	Bm25Inverter *inverter;
	BufFile    *documents;		/* a BuildDocument for each */
	List	   *runs;
	Bm25Segment sizes;
	MemoryContext context;		/* of a row */
	double		rows;
} BuildState;

typedef struct BuildDocument
{
	ItemPointerData tid;
	uint32		length;
} BuildDocument;

static void
write_run(BuildState *build, bool more)
{
	build->runs = lappend(build->runs, bm25_inverter_finish(build->inverter, true));
	build->inverter = more ? bm25_inverter_begin() : NULL;
}

/* Take a row of the table. */
static void
build_row(Relation rel, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	BuildState *build = state;
	Bm25Segment *sizes = &build->sizes;
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
	old = MemoryContextSwitchTo(build->context);
	bm25_parse_value(rel, build->config, values[0], &document);
	for (int i = 0; i < document.nwords; i++)
		bm25_inverter_add(build->inverter, sizes->ndocs, document.words[i].word,
						  document.words[i].len, document.words[i].tf);
	stored.length = document.length;
	MemoryContextSwitchTo(old);
	MemoryContextReset(build->context);
	BufFileWrite(build->documents, &stored, sizeof(stored));
	sizes->ndocs++;
	sizes->sumlen += stored.length;
	sizes->maxlen = Max(sizes->maxlen, stored.length);
	build->rows++;
	if (bm25_inverter_size(build->inverter) > (Size) maintenance_work_mem * 1024)
		write_run(build, true);
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
write_segment(BuildState *build)
{
	Bm25MetaPageData meta;
	Bm25Space	space = {build->rel};
	int			n = list_length(build->runs);
	Bm25Source **sources = palloc(sizeof(Bm25Source *) * n);
	Bm25Segment segment;
	Bm25Writer *writer;

	bm25_meta_read(build->rel, &meta);
	meta.building = meta.next_generation;
	for (int i = 0; i < n; i++)
		sources[i] = bm25_run_source(list_nth(build->runs, i));
	writer = bm25_writer_begin(&space, &meta, &build->sizes);
	if (BufFileSeek(build->documents, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind a temporary file")));
	for (uint32 i = 0; i < build->sizes.ndocs; i++)
	{
		BuildDocument document;

		BufFileReadExact(build->documents, &document, sizeof(document));
		bm25_writer_document(writer, &document.tid, document.length);
	}
	bm25_merge_terms(writer, sources, n);
	bm25_writer_end(writer, &segment);
	bm25_space_tidy(&space);
	bm25_publish(build->rel, add_segment, &segment, &space);
}

IndexBuildResult *
bm25_build(Relation heap, Relation rel, IndexInfo *info)
{
	IndexBuildResult *result = palloc(sizeof(IndexBuildResult));
	BuildState	build = {rel};
	Bm25MetaPageData meta;
	ListCell   *cell;

	if (RelationGetNumberOfBlocks(rel) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(rel));
	bm25_meta_init(rel, &meta);
	bm25_create(rel, MAIN_FORKNUM, &meta);

	build.config = bm25_config_oid(&meta);
	build.documents = BufFileCreateTemp(false);
	build.inverter = bm25_inverter_begin();
	build.context = AllocSetContextCreate(CurrentMemoryContext, "bm25 row",
										  ALLOCSET_DEFAULT_SIZES);
	result->heap_tuples = table_index_build_scan(heap, rel, info, true, true, build_row, &build,
												 NULL);
	write_run(&build, false);
	if (build.sizes.ndocs > 0)
		write_segment(&build);
	foreach(cell, build.runs)
		bm25_run_free(lfirst(cell));
	BufFileClose(build.documents);
	result->index_tuples = build.rows;
	return result;
}

void
bm25_buildempty(Relation rel)
{
	Bm25MetaPageData meta;

	bm25_meta_init(rel, &meta);
	bm25_create(rel, INIT_FORKNUM, &meta);
}
