/*-------------------------------------------------------------------------
 *
 * insert.c
 *		INSERT: a record in the head; whoever fills it makes a segment of it.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "nodes/execnodes.h"
#include "type/sparsevec.h"
#include "utils/memutils.h"

/* A head of so many pages becomes a segment. */
#define SEAL_PAGES 16

/* An insert does not merge more pages than these (8 MB). */
#define INSERT_MERGE_PAGES 1024

/* Kept between the rows of a statement */
typedef struct InsertCache
{
	Oid			config;
	uint32		flags;			/* of the metapage */
	uint32		dim;
	MemoryContext context;
} InsertCache;

bool
bm25_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
			Relation heap, IndexUniqueCheck unique, bool unchanged,
			IndexInfo *info)
{
	InsertCache *cache = info->ii_AmCache;
	Bm25Record	record = {.tid = *tid};
	Bm25Document document;
	MemoryContext old;
	uint32		head_pages;
	char	   *terms;

	if (isnull[0])
		return false;
	if (cache == NULL)
	{
		Bm25MetaPageData meta;

		bm25_meta_read(rel, &meta);
		cache = MemoryContextAlloc(info->ii_Context, sizeof(*cache));
		cache->config = bm25_config_oid(&meta);
		cache->flags = meta.flags;
		cache->dim = meta.dim;
		cache->context = AllocSetContextCreate(info->ii_Context, "bm25 insert",
											   ALLOCSET_DEFAULT_SIZES);
		info->ii_AmCache = cache;
	}
	old = MemoryContextSwitchTo(cache->context);
	/* A column may lose its dimensions, and the index stays. */
	if (cache->dim > 0)
		bm25_check_dimensions(DatumGetSparseVector(values[0]), cache->dim);
	bm25_parse_value(rel, cache->config, cache->flags, values[0], &document);
	terms = bm25_encode_words(&document, &record.bytes);
	record.length = document.length;
	record.nterms = document.nwords;
	head_pages = bm25_head_append(rel, &record, terms);
	if (head_pages > SEAL_PAGES && bm25_maintenance_begin(rel, false))
	{
		piramid_injection_point("bm25-insert-full");
		bm25_seal(rel, heap);
		while (bm25_merge_some(rel, heap, INSERT_MERGE_PAGES))
			;
		bm25_maintenance_end(rel);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(cache->context);
	return false;
}
