/*-------------------------------------------------------------------------
 *
 * merge.c
 *		Segments out of the head, and out of segments.
 *
 * Both happen under the maintenance lock: a lock of the metapage's block in the
 * lock manager, which scans and inserts do not take.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/transam.h"
#include "bm25/codec.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

/* Segments of up to 16 pages are of tier 0, each further tier is four times as large. */
#define FIRST_TIER_PAGES 16
#define TIER_FACTOR 4
#define MERGE_AT 4				/* segments of a tier side by side */

/* With so many segments, they are merged whatever their sizes. */
#define TOO_MANY_SEGMENTS 90

/* Free blocks that the head gets with each seal */
#define HEAD_SPARE_PAGES 16

/* A segment with more dead documents than this share is written anew. */
#define MAX_DEAD 0.2

/* A segment that is merged */
typedef struct SegmentSource
{
	Bm25Source	source;
	Bm25Reader *reader;
	Bm25DictWalk walk;
	Bm25Cursor *cursor;
	MemoryContext context;		/* of the cursor */
	uint8	   *dead;
	uint32	   *live_before;	/* each 512th document */
	uint32		live;
	uint32		first;			/* what its first live document is in the new segment */
} SegmentSource;

/* Become the only one to write segments; unless "wait", only if nobody else is at it. */
bool
bm25_maintenance_begin(Relation rel, bool wait)
{
	if (!wait)
		return ConditionalLockPage(rel, BM25_METAPAGE, ExclusiveLock);
	LockPage(rel, BM25_METAPAGE, ExclusiveLock);
	return true;
}

void
bm25_maintenance_end(Relation rel)
{
	UnlockPage(rel, BM25_METAPAGE, ExclusiveLock);
}

static bool
is_dead(const SegmentSource *source, uint32 doc)
{
	return (source->dead[doc / 8] >> (doc % 8)) & 1;
}

/* Live documents among those from "from", a multiple of 8, to "to" */
static uint32
count_live(const SegmentSource *source, uint32 from, uint32 to)
{
	uint32		dead = to / 8 > from / 8 ?
		pg_popcount((const char *) source->dead + from / 8, to / 8 - from / 8) : 0;

	return to - from - dead - pg_number_of_ones[source->dead[to / 8] & ((1 << (to % 8)) - 1)];
}

static bool
segment_next_posting(Bm25Source *base, Bm25Posting *posting)
{
	SegmentSource *source = (SegmentSource *) base;
	Bm25Cursor *cursor = source->cursor;

	for (;;)
	{
		uint32		old;

		if (cursor->at >= cursor->n)
		{
			if (cursor->nblocks == 0 || cursor->block + 1 >= cursor->nblocks)
				return false;
			CHECK_FOR_INTERRUPTS();
			bm25_cursor_load(cursor, cursor->block + 1);
			bm25_cursor_load_tfs(cursor);
		}
		old = cursor->docs[cursor->at];
		if (is_dead(source, old))
		{
			cursor->at++;
			continue;
		}
		posting->doc = source->first + source->live_before[old / 512] +
			count_live(source, old / 512 * 512, old);
		posting->tf = cursor->tfs[cursor->at];
		posting->position_bytes = 0;
		if (source->reader->segment.flags & BM25_HAS_POSITIONS)
			posting->positions = bm25_cursor_positions(cursor, &posting->position_bytes);
		cursor->at++;
		return true;
	}
}

static bool
segment_next_term(Bm25Source *base)
{
	SegmentSource *source = (SegmentSource *) base;
	MemoryContext old;

	if (!bm25_walk_next(&source->walk))
		return false;
	MemoryContextReset(source->context);
	old = MemoryContextSwitchTo(source->context);
	source->cursor = bm25_cursor_open(source->reader, &source->walk.found);
	if (source->cursor->nblocks > 0)
		bm25_cursor_load(source->cursor, 0);
	bm25_cursor_load_tfs(source->cursor);
	MemoryContextSwitchTo(old);
	base->term = source->walk.term;
	base->len = source->walk.len;
	return true;
}

static SegmentSource *
segment_source(Relation rel, const Bm25Segment *segment)
{
	SegmentSource *source = palloc0(sizeof(SegmentSource));

	source->source.next_term = segment_next_term;
	source->source.next_posting = segment_next_posting;
	source->reader = bm25_reader_open(rel, segment);
	source->context = AllocSetContextCreate(CurrentMemoryContext, "bm25 merge",
											ALLOCSET_DEFAULT_SIZES);
	bm25_walk_begin(&source->walk, source->reader, "", 0);
	source->dead = bm25_dead_bits(source->reader);
	source->live_before = palloc_extended(sizeof(uint32) * ((Size) segment->ndocs / 512 + 1),
										  MCXT_ALLOC_HUGE);
	for (uint32 doc = 0; doc < segment->ndocs; doc += 512)
	{
		uint32		end = segment->ndocs - doc > 512 ? doc + 512 : segment->ndocs;

		source->live_before[doc / 512] = source->live;
		source->live += count_live(source, doc, end);
	}
	return source;
}

/* Write the postings of a term in some sources, "next" of which is the next one of each. */
static void
merge_postings(Bm25Writer *writer, Bm25Source **sources, Bm25Posting *next, int n)
{
	while (n > 0)
	{
		int			least = 0;
		uint32		limit = PG_UINT32_MAX;
		bool		more;

		for (int i = 1; i < n; i++)
			if (next[i].doc < next[least].doc)
			{
				limit = next[least].doc;
				least = i;
			}
			else
				limit = Min(limit, next[i].doc);
		/* As long as none of the others comes first */
		do
		{
			bm25_writer_posting(writer, &next[least]);
			more = sources[least]->next_posting(sources[least], &next[least]);
		} while (more && next[least].doc < limit);
		if (!more)
		{
			sources[least] = sources[--n];
			next[least] = next[n];
		}
	}
}

/* Write the terms of sources; then the segment's end is due. */
void
bm25_merge_terms(Bm25Writer *writer, Bm25Source **sources, int n)
{
	bool	   *more = palloc(sizeof(bool) * n);
	bool	   *same = palloc(sizeof(bool) * n);
	Bm25Source **with_term = palloc(sizeof(Bm25Source *) * n);
	Bm25Posting *next = palloc(sizeof(Bm25Posting) * n);

	for (int i = 0; i < n; i++)
		more[i] = sources[i]->next_term(sources[i]);
	for (;;)
	{
		Bm25Source *least = NULL;
		int			m = 0;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			int			cmp = !more[i] ? 1 : least == NULL ? -1 :
				bm25_compare_terms(sources[i]->term, sources[i]->len, least->term, least->len);

			if (cmp < 0)
			{
				least = sources[i];
				memset(same, 0, i);
			}
			same[i] = more[i] && cmp <= 0;
		}
		if (least == NULL)
			break;
		bm25_writer_term(writer, least->term, least->len);
		for (int i = 0; i < n; i++)
			if (same[i] && sources[i]->next_posting(sources[i], &next[m]))
				with_term[m++] = sources[i];
		merge_postings(writer, with_term, next, m);
		for (int i = 0; i < n; i++)
			if (same[i])
				more[i] = sources[i]->next_term(sources[i]);
	}
	pfree(more);
	pfree(same);
	pfree(with_term);
	pfree(next);
}

/* Take a generation for a segment. */
static void
take_generation(Bm25MetaPage meta, void *arg)
{
	/* The one before has not come to its end. */
	if (meta->building != 0)
		meta->flags |= BM25_LOST;
	*(Bm25MetaPageData *) arg = *meta;
	meta->building = meta->next_generation++;
	((Bm25MetaPageData *) arg)->building = meta->building;
}

/* What a new segment replaces */
typedef struct Replacement
{
	Bm25Segment segment;		/* new; of no documents: none */
	uint32		at;				/* where in the metapage's list */
	uint32		removed;		/* segments from there on */
	BlockNumber head_first;		/* or invalid: the head stays */
	uint32		head_removed;	/* pages of the head, those of large records too */
	Bm25Extent	spare[2];		/* for the head, where it has none; of no pages: as it was */
} Replacement;

static void
replace(Bm25MetaPage meta, void *arg)
{
	Replacement *new = arg;
	uint32		added = new->segment.ndocs > 0 ? 1 : 0;

	memmove(&meta->segments[new->at + added], &meta->segments[new->at + new->removed],
			sizeof(Bm25Segment) * (meta->nsegments - new->at - new->removed));
	if (added)
		meta->segments[new->at] = new->segment;
	meta->nsegments += added;
	meta->nsegments -= new->removed;
	memset(&meta->segments[meta->nsegments], 0,
		   sizeof(Bm25Segment) * (BM25_MAX_SEGMENTS - meta->nsegments));
	if (new->head_first != InvalidBlockNumber)
	{
		meta->head_first = new->head_first;
		meta->head_pages -= Min(new->head_removed, meta->head_pages - 1);
	}
	/* Only who has the maintenance lock adds to them, so what was empty is so still. */
	for (int i = 0; i < lengthof(meta->spare); i++)
		if (new->spare[i].pages > 0)
			meta->spare[i] = new->spare[i];
	meta->building = 0;
}

/* Documents of the head while it is sealed */
typedef struct HeadDocument
{
	ItemPointerData tid;
	uint32		length;
} HeadDocument;

/* Read the closed pages of the head; adds their blocks to the free ones. */
static HeadDocument *
read_closed(Bm25Space *space, const Bm25MetaPageData *meta, Replacement *new,
			Bm25Inverter *inverter, uint64 xid)
{
	Relation	rel = space->rel;
	Size		room = 1024;
	HeadDocument *documents = palloc(sizeof(HeadDocument) * room);
	char	   *copy = palloc(BM25_SPACE);
	Bm25Segment *segment = &new->segment;
	uint64		generation = 0;

	new->head_first = meta->head_first;
	for (;;)
	{
		Bm25HeadPage head = bm25_head_read(rel, new->head_first, copy, &generation);
		const Bm25Record *record = bm25_first_record(head);
		Bm25Space	overflow = {rel};

		CHECK_FOR_INTERRUPTS();
		if (head->next == InvalidBlockNumber)
			break;
		for (uint32 i = 0; i < head->nrecords; i++)
		{
			const char *terms = bm25_record_terms(rel, record, &overflow);
			const char *end = terms + record->bytes;
			Bm25Word	word;
			const char *p = terms;

			if (!(record->flags & BM25_RECORD_DEAD))
			{
				while (p < end)
				{
					p = bm25_decode_word(p, end, meta->flags, &word);
					if (p == NULL ||
						word.position_bytes > MAX_POSITION_BYTES * position_count(word.tf))
						page_report_corrupt(rel, new->head_first, "a broken record of a document");
					bm25_inverter_add(inverter, segment->ndocs, &word);
				}
				if (segment->ndocs == room)
					documents = repalloc_huge(documents, sizeof(HeadDocument) * (room *= 2));
				documents[segment->ndocs++] = (HeadDocument) {record->tid, record->length};
				segment->sumlen += record->length;
				segment->maxlen = Max(segment->maxlen, record->length);
			}
			if (record->flags & BM25_RECORD_OVERFLOW)
				pfree(unconstify(char *, terms));
			record = (const Bm25Record *) ((const char *) record + bm25_record_size(record));
		}
		for (int i = 0; i < overflow.nruns; i++)
		{
			bm25_space_add(space, overflow.runs[i].run, xid);
			new->head_removed += overflow.runs[i].run.pages;
		}
		bm25_space_add(space, (Bm25Extent) {new->head_first, 1}, xid);
		new->head_removed++;
		new->head_first = head->next;
	}
	return documents;
}

/* Make a segment out of the head.  The caller holds the maintenance lock. */
void
bm25_seal(Relation rel, Relation heap)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "bm25 seal",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Bm25MetaPageData meta;
	Bm25Space	space;
	Replacement new = {0};
	Bm25Inverter *inverter;
	HeadDocument *documents;
	uint64		xid;

	/* They are merged long before, unless that fails each time. */
	bm25_meta_read(rel, &meta);
	if (meta.nsegments == BM25_MAX_SEGMENTS)
		page_report_corrupt(rel, BM25_METAPAGE, "too many segments");
	bm25_head_close(rel);
	piramid_injection_point("bm25-seal-closed");
	bm25_publish(rel, take_generation, &meta, NULL);
	piramid_injection_point("bm25-seal-begun");
	inverter = bm25_inverter_begin(meta.flags);
	bm25_space_load(&space, rel, heap);
	xid = U64FromFullTransactionId(ReadNextFullTransactionId());
	documents = read_closed(&space, &meta, &new, inverter, xid);
	if (new.segment.ndocs > 0)
	{
		Bm25Source *source = bm25_inverter_source(inverter);
		Bm25Writer *writer = bm25_writer_begin(&space, &meta, &new.segment);

		for (uint32 i = 0; i < new.segment.ndocs; i++)
			bm25_writer_document(writer, &documents[i].tid, documents[i].length);
		bm25_merge_terms(writer, &source, 1);
		bm25_writer_end(writer, &new.segment);
	}
	new.at = meta.nsegments;
	bm25_space_tidy(&space);
	for (int i = 0; i < lengthof(meta.spare); i++)
		if (meta.spare[i].pages == 0)
			bm25_space_take_largest(&space, HEAD_SPARE_PAGES, &new.spare[i]);
	bm25_space_tidy(&space);
	piramid_injection_point("bm25-seal-written");
	bm25_publish(rel, replace, &new, &space);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Replace some segments, which stand side by side, by one without their dead documents. */
static void
merge_segments(Relation rel, Relation heap, uint32 at, uint32 n)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "bm25 merge",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Bm25MetaPageData meta;
	Bm25Space	space;
	Replacement new = {.at = at,.removed = n,.head_first = InvalidBlockNumber};
	Bm25Source **sources = palloc(sizeof(Bm25Source *) * n);
	uint64		xid;

	bm25_publish(rel, take_generation, &meta, NULL);
	piramid_injection_point("bm25-merge-begun");
	bm25_space_load(&space, rel, heap);
	for (uint32 i = 0; i < n; i++)
	{
		SegmentSource *source = segment_source(rel, &meta.segments[at + i]);

		sources[i] = &source->source;
		source->first = new.segment.ndocs;
		new.segment.ndocs += source->live;
		for (uint32 doc = 0; doc < source->reader->segment.ndocs; doc++)
			if (!is_dead(source, doc))
			{
				uint32		length = bm25_length(source->reader, doc);

				new.segment.sumlen += length;
				new.segment.maxlen = Max(new.segment.maxlen, length);
			}
	}
	if (new.segment.ndocs > 0)
	{
		Bm25Writer *writer = bm25_writer_begin(&space, &meta, &new.segment);

		for (uint32 i = 0; i < n; i++)
		{
			SegmentSource *source = (SegmentSource *) sources[i];

			for (uint32 doc = 0; doc < source->reader->segment.ndocs; doc++)
				if (!is_dead(source, doc))
				{
					ItemPointerData tid;

					bm25_tid(source->reader, doc, &tid);
					bm25_writer_document(writer, &tid, bm25_length(source->reader, doc));
				}
		}
		for (uint32 i = 0; i < n; i++)
			bm25_reader_release(((SegmentSource *) sources[i])->reader);
		bm25_merge_terms(writer, sources, n);
		bm25_writer_end(writer, &new.segment);
	}
	xid = U64FromFullTransactionId(ReadNextFullTransactionId());
	for (uint32 i = 0; i < n; i++)
		bm25_space_drop_segment(&space, &meta.segments[at + i], xid);
	bm25_space_tidy(&space);
	piramid_injection_point("bm25-merge-written");
	bm25_publish(rel, replace, &new, &space);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static int
tier(uint32 pages)
{
	int			t = 0;

	for (uint64 size = FIRST_TIER_PAGES; size < pages; size *= TIER_FACTOR)
		t++;
	return t;
}

/*
 * Do one merge, if one is due and its result has not more pages than told; says
 * whether it did.  The caller holds the maintenance lock.
 */
bool
bm25_merge_some(Relation rel, Relation heap, uint32 max_pages)
{
	Bm25MetaPageData meta;
	uint64		pages = 0;
	uint32		n = 0;

	bm25_meta_read(rel, &meta);
	if (meta.nsegments >= TOO_MANY_SEGMENTS)
	{
		/* The newer half: those are small. */
		merge_segments(rel, heap, meta.nsegments / 2, meta.nsegments - meta.nsegments / 2);
		return true;
	}
	for (uint32 i = 0; i < meta.nsegments; i++)
	{
		const Bm25Segment *segment = &meta.segments[i];

		if (segment->ndead > MAX_DEAD * segment->ndocs && segment->npages <= max_pages)
		{
			merge_segments(rel, heap, i, 1);
			return true;
		}
		/* Side by side, and none of a larger tier than the first of them */
		if (n > 0 && tier(segment->npages) > tier(meta.segments[i - n].npages))
			n = pages = 0;
		while (n > 0 && tier(segment->npages) < tier(meta.segments[i - n].npages))
			pages -= meta.segments[i - n--].npages;
		n++;
		pages += segment->npages;
		if (n >= MERGE_AT && pages <= max_pages)
		{
			merge_segments(rel, heap, i + 1 - n, n);
			return true;
		}
	}
	return false;
}

/* Make one segment of all, the head too. */
void
bm25_merge_all(Relation rel, Relation heap)
{
	Bm25MetaPageData meta;

	bm25_maintenance_begin(rel, true);
	bm25_seal(rel, heap);
	bm25_meta_read(rel, &meta);
	if (meta.nsegments > 0)
		merge_segments(rel, heap, 0, meta.nsegments);
	bm25_maintenance_end(rel);
}
