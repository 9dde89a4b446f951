/*-------------------------------------------------------------------------
 *
 * entries.c
 *		Entries of dimensions in dictionaries, remembered by the backend.
 *
 * A query of sparse vectors has tens of dimensions, many of which earlier queries had,
 * too; to find one in a dictionary takes as long as to add a few hundred postings.
 * Segments do not change, and whatever may give another one the same generation sends an
 * invalidation of the index.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "common/hashfn.h"
#include "utils/inval.h"
#include "utils/memutils.h"

/* So many, whatever indexes they are of, in sets; both are powers of two */
#define REMEMBERED 8192
#define WAYS 4

typedef struct Remembered
{
	Oid			index;			/* or invalid */
	char		term[BM25_DIMENSION_BYTES];
	uint64		generation;		/* of the segment */
	uint64		offset;
	uint64		heads;
	uint32		df;				/* 0: the segment does not have it */
	uint32		greatest;
	uint32		bytes;
	Bm25Form	form;
	char		bytes_inline[BM25_INLINE];
} Remembered;

static Remembered *remembered = NULL;
static uint32 next_way = 0;	/* which one of a set is given up */

/* Indexes that there may be something of: a set of their OIDs modulo 64 */
static uint64 known_indexes = 0;

static inline uint64
index_bit(Oid index)
{
	return UINT64CONST(1) << index % 64;
}

/* An index has been dropped, made again, or something else. */
static void
forget_index(Datum arg, Oid index)
{
	if (known_indexes == 0 || (OidIsValid(index) && !(known_indexes & index_bit(index))))
		return;
	memset(remembered, 0, sizeof(Remembered) * REMEMBERED);
	known_indexes = 0;
}

/* Look a dimension up.  bm25_reader_release() is the caller's. */
bool
bm25_find_dimension(Bm25Reader *reader, const char *term, Bm25Entry *entry)
{
	Oid			index = RelationGetRelid(reader->rel);
	uint64		generation = reader->segment.generation;
	uint32		number;
	Remembered *set;
	Remembered *slot;

	if (remembered == NULL)
	{
		remembered = MemoryContextAllocZero(TopMemoryContext, sizeof(Remembered) * REMEMBERED);
		CacheRegisterRelcacheCallback(forget_index, (Datum) 0);
	}
	memcpy(&number, term, sizeof(number));
	set = &remembered[hash_combine(murmurhash32(number), (uint32) generation + index) &
					  (REMEMBERED - WAYS)];
	for (int i = 0; i < WAYS; i++)
	{
		slot = &set[i];
		if (slot->index != index || slot->generation != generation ||
			memcmp(slot->term, term, sizeof(slot->term)) != 0)
			continue;
		*entry = (Bm25Entry) {.df = slot->df,.form = slot->form,.bound = PG_UINT8_MAX,
			.greatest = slot->greatest,.bytes = slot->bytes,.offset = slot->offset,
			.heads = slot->heads};
		if (entry->form == BM25_FORM_INLINE)
			memcpy(entry->bytes_inline, slot->bytes_inline, entry->bytes);
		return entry->df > 0;
	}
	if (!bm25_find_term(reader, term, sizeof(slot->term), entry))
		*entry = (Bm25Entry) {.df = 0};
	slot = &set[next_way++ % WAYS];
	*slot = (Remembered) {.index = index,.generation = generation,.offset = entry->offset,
		.heads = entry->heads,.df = entry->df,.greatest = entry->greatest,
		.bytes = entry->bytes,.form = entry->form};
	memcpy(slot->term, term, sizeof(slot->term));
	if (entry->form == BM25_FORM_INLINE)
		memcpy(slot->bytes_inline, entry->bytes_inline, entry->bytes);
	known_indexes |= index_bit(index);
	return entry->df > 0;
}
