/*-------------------------------------------------------------------------
 *
 * lengths.c
 *		Lengths of documents, kept by the backend from one search to the next.
 *
 * A search asks for lengths all over a segment, and most of its time would go to
 * finding and pinning their pages.  Segments do not change, so what is kept is right as
 * long as the index has the segment; what nobody asks for any more is thrown away first.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "lib/ilist.h"
#include "utils/inval.h"
#include "utils/memutils.h"

/* Of all indexes together, at most so much; larger segments are read page by page. */
#define KEPT_BYTES (8 * 1024 * 1024)
#define KEPT_SEGMENTS 128

/* Fewer postings for each page of lengths are not worth reading them all. */
#define POSTINGS_PER_PAGE 1

typedef struct KeptLengths
{
	dlist_node	node;
	Oid			index;
	bool		stale;			/* the index has changed since */
	uint64		generation;		/* of the segment */
	Size		size;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} KeptLengths;

/* Those used last come first. */
static dlist_head kept = DLIST_STATIC_INIT(kept);
static Size kept_bytes = 0;
static int	kept_segments = 0;
static MemoryContext kept_context = NULL;

/* An index has been dropped, made again, or something else.  Somebody may read just now. */
static void
forget_index(Datum arg, Oid index)
{
	dlist_iter	iter;

	dlist_foreach(iter, &kept)
	{
		KeptLengths *lengths = dlist_container(KeptLengths, node, iter.cur);

		if (!OidIsValid(index) || lengths->index == index)
			lengths->stale = true;
	}
}

static void
forget(KeptLengths *lengths)
{
	dlist_delete(&lengths->node);
	kept_bytes -= lengths->size;
	kept_segments--;
	pfree(lengths);
}

/* What is kept of a segment, or NULL. */
static KeptLengths *
find_kept(Oid index, uint64 generation)
{
	KeptLengths *found = NULL;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &kept)
	{
		KeptLengths *lengths = dlist_container(KeptLengths, node, iter.cur);

		if (lengths->stale)
			forget(lengths);
		else if (lengths->index == index && lengths->generation == generation)
			found = lengths;
	}
	return found;
}

/* Read all lengths of a segment. */
static KeptLengths *
read_lengths(Bm25Reader *reader, Size size)
{
	KeptLengths *lengths;

	if (kept_context == NULL)
	{
		kept_context = AllocSetContextCreate(TopMemoryContext, "bm25 lengths",
											 ALLOCSET_DEFAULT_SIZES);
		CacheRegisterRelcacheCallback(forget_index, (Datum) 0);
	}
	while (kept_bytes + size > KEPT_BYTES || kept_segments >= KEPT_SEGMENTS)
		forget(dlist_tail_element(KeptLengths, node, &kept));
	/* Loops read whole words. */
	lengths = MemoryContextAlloc(kept_context, offsetof(KeptLengths, bytes) + size +
								 sizeof(uint32));
	PG_TRY();
	{
		bm25_stream_read(reader, BM25_LENGTHS, 0, size, lengths->bytes);
	}
	PG_CATCH();
	{
		pfree(lengths);
		PG_RE_THROW();
	}
	PG_END_TRY();
	lengths->index = RelationGetRelid(reader->rel);
	lengths->stale = false;
	lengths->generation = reader->segment.generation;
	lengths->size = size;
	dlist_push_head(&kept, &lengths->node);
	kept_bytes += size;
	kept_segments++;
	return lengths;
}

/*
 * Have all lengths of a segment at hand until bm25_reader_release(), if they are kept, or
 * are worth it to a search that meets so many postings.  Of all readers of the backend,
 * only one may have them at a time.
 */
void
bm25_keep_lengths(Bm25Reader *reader, double postings)
{
	Size		size = (Size) reader->segment.ndocs * reader->segment.width;
	KeptLengths *lengths = find_kept(RelationGetRelid(reader->rel), reader->segment.generation);

	if (lengths == NULL && size <= KEPT_BYTES &&
		postings >= (double) size / BM25_SPACE * POSTINGS_PER_PAGE)
		lengths = read_lengths(reader, size);
	if (lengths == NULL || lengths->size != size)
		return;
	dlist_move_head(&kept, &lengths->node);
	bm25_reader_release(reader);
	reader->lengths = (Bm25Lengths) {lengths->bytes, reader->segment.width, 0};
	reader->nlengths = reader->segment.ndocs;
}
