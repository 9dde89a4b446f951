/*-------------------------------------------------------------------------
 *
 * inverter.c
 *		Postings collected in memory by term, and written as a run: sorted by
 *		term, in memory or in a temporary file.
 *
 * A run is, for each term, its length (uint16), the term, the number of postings
 * (uint32), and these as postings of a short list.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "bm25/codec.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

/* Bytes of the postings of a term, in pieces that double */
#define FIRST_PIECE 16
#define MAX_PIECE 4096

typedef struct Piece
{
	struct Piece *next;
	uint16		room;
	uint16		used;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} Piece;

/* A term */
typedef struct Term
{
	uint32		hash;
	uint32		n;				/* postings */
	uint32		last;			/* document */
	Piece	   *first;
	Piece	   *piece;			/* the last one */
	uint16		len;
	char		word[FLEXIBLE_ARRAY_MEMBER];
} Term;

struct Bm25Inverter
{
	MemoryContext context;
	Term	  **slots;			/* open addressing; a power of two of them */
	uint32		nslots;
	uint32		nterms;
	Size		size;
};

struct Bm25Run
{
	StringInfoData memory;		/* all of it, without a file */
	BufFile    *file;
	uint64		bytes;
};

/* A run that is read */
typedef struct RunSource
{
	Bm25Source	source;
	Bm25Run    *run;
	uint64		left;			/* to be read from the file */
	char	   *buffer;
	const char *at;
	const char *end;
	uint32		n;				/* postings of the term that are left */
	uint32		last;
	char		term[BM25_MAX_TERM];
} RunSource;

#define READ_SIZE 32768

/* What is read at once is not longer, and stands in the buffer as a whole. */
#define MAX_READ (sizeof(uint16) + BM25_MAX_TERM + sizeof(uint32))

Bm25Inverter *
bm25_inverter_begin(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "bm25 postings",
												  ALLOCSET_DEFAULT_SIZES);
	Bm25Inverter *inverter = MemoryContextAllocZero(context, sizeof(Bm25Inverter));

	inverter->context = context;
	inverter->nslots = 1024;
	inverter->size = sizeof(Term *) * inverter->nslots;
	inverter->slots = MemoryContextAllocZero(context, inverter->size);
	return inverter;
}

/* Bytes in use, about. */
Size
bm25_inverter_size(const Bm25Inverter *inverter)
{
	return inverter->size;
}

static void *
alloc(Bm25Inverter *inverter, Size size)
{
	/* a chunk's header, and what rounding adds on average */
	inverter->size += size + size / 4 + 16;
	return MemoryContextAlloc(inverter->context, size);
}

/* Double the hash table. */
static void
grow(Bm25Inverter *inverter)
{
	uint32		n = inverter->nslots * 2;
	Term	  **slots = MemoryContextAllocExtended(inverter->context, sizeof(Term *) * (Size) n,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	for (uint32 i = 0; i < inverter->nslots; i++)
	{
		uint32		slot;

		if (inverter->slots[i] == NULL)
			continue;
		slot = inverter->slots[i]->hash & (n - 1);
		while (slots[slot] != NULL)
			slot = (slot + 1) & (n - 1);
		slots[slot] = inverter->slots[i];
	}
	pfree(inverter->slots);
	inverter->slots = slots;
	inverter->size += sizeof(Term *) * (n - inverter->nslots);
	inverter->nslots = n;
}

static Term *
find_term(Bm25Inverter *inverter, const char *word, int len)
{
	uint32		hash = hash_bytes((const unsigned char *) word, len);
	uint32		slot;
	Term	   *term;

	if (inverter->nterms >= inverter->nslots / 4 * 3)
		grow(inverter);
	for (slot = hash & (inverter->nslots - 1); (term = inverter->slots[slot]) != NULL;
		 slot = (slot + 1) & (inverter->nslots - 1))
		if (term->hash == hash && term->len == len && memcmp(term->word, word, len) == 0)
			return term;
	term = alloc(inverter, offsetof(Term, word) + len);
	term->hash = hash;
	term->n = 0;
	term->last = PG_UINT32_MAX;
	term->first = term->piece = NULL;
	term->len = len;
	memcpy(term->word, word, len);
	inverter->nterms++;
	return inverter->slots[slot] = term;
}

/* Add a posting; documents ascend. */
void
bm25_inverter_add(Bm25Inverter *inverter, uint32 doc, const char *word, int len, uint32 tf)
{
	Term	   *term = find_term(inverter, word, len);
	char		bytes[2 * MAX_VARINT];
	int			size = put_posting(bytes, doc - term->last - 1, tf) - bytes;

	if (term->piece == NULL || term->piece->used + size > term->piece->room)
	{
		int			room = term->piece == NULL ? FIRST_PIECE :
			Min(MAX_PIECE, term->piece->room * 2);
		Piece	   *piece = alloc(inverter, offsetof(Piece, bytes) + Max(room, size));

		*piece = (Piece) {NULL, Max(room, size), 0};
		if (term->piece == NULL)
			term->first = piece;
		else
			term->piece->next = piece;
		term->piece = piece;
	}
	memcpy(term->piece->bytes + term->piece->used, bytes, size);
	term->piece->used += size;
	term->last = doc;
	term->n++;
}

static int
compare_terms(const void *a, const void *b)
{
	const Term *x = *(Term *const *) a;
	const Term *y = *(Term *const *) b;

	return bm25_compare_terms(x->word, x->len, y->word, y->len);
}

static void
put(Bm25Run *run, const void *bytes, Size size)
{
	if (run->file != NULL)
		BufFileWrite(run->file, unconstify(void *, bytes), size);
	else
	{
		/* As appendBinaryStringInfo, which has a limit of 1 GB, too. */
		appendBinaryStringInfo(&run->memory, bytes, size);
	}
	run->bytes += size;
}

/* Write what has been collected as a run, and free the rest. */
Bm25Run *
bm25_inverter_finish(Bm25Inverter *inverter, bool in_file)
{
	Bm25Run    *run = palloc0(sizeof(Bm25Run));
	uint32		n = 0;

	if (in_file)
		run->file = BufFileCreateTemp(false);
	else
		initStringInfo(&run->memory);
	for (uint32 i = 0; i < inverter->nslots; i++)
		if (inverter->slots[i] != NULL)
			inverter->slots[n++] = inverter->slots[i];
	qsort(inverter->slots, n, sizeof(Term *), compare_terms);
	for (uint32 i = 0; i < n; i++)
	{
		Term	   *term = inverter->slots[i];

		CHECK_FOR_INTERRUPTS();
		put(run, &term->len, sizeof(term->len));
		put(run, term->word, term->len);
		put(run, &term->n, sizeof(term->n));
		for (Piece *piece = term->first; piece != NULL; piece = piece->next)
			put(run, piece->bytes, piece->used);
	}
	MemoryContextDelete(inverter->context);
	return run;
}

/* Have so many bytes in the buffer, or all that there are. */
static void
fill(RunSource *source, Size size)
{
	Size		have = source->end - source->at;
	Size		more;

	if (have >= size || source->left == 0)
		return;
	more = Min(READ_SIZE - have, source->left);
	memmove(source->buffer, source->at, have);
	BufFileReadExact(source->run->file, source->buffer + have, more);
	source->at = source->buffer;
	source->end = source->buffer + have + more;
	source->left -= more;
}

static bool
run_next_posting(Bm25Source *base, uint32 *doc, uint32 *tf)
{
	RunSource  *source = (RunSource *) base;
	uint32		gap = 0;

	if (source->n == 0)
		return false;
	source->n--;
	fill(source, 2 * MAX_VARINT);
	source->at = get_posting(source->at, source->end, &gap, tf);
	Assert(source->at != NULL);
	*doc = source->last += gap + 1;
	return true;
}

static bool
run_next_term(Bm25Source *base)
{
	RunSource  *source = (RunSource *) base;
	uint16		len;

	Assert(source->n == 0);
	fill(source, MAX_READ);
	if (source->at == source->end)
		return false;
	memcpy(&len, source->at, sizeof(len));
	source->at += sizeof(len);
	memcpy(source->term, source->at, len);
	source->at += len;
	memcpy(&source->n, source->at, sizeof(source->n));
	source->at += sizeof(source->n);
	source->last = PG_UINT32_MAX;
	base->term = source->term;
	base->len = len;
	return true;
}

/* Read a run from its beginning. */
Bm25Source *
bm25_run_source(Bm25Run *run)
{
	RunSource  *source = palloc0(sizeof(RunSource));

	source->source.next_term = run_next_term;
	source->source.next_posting = run_next_posting;
	source->run = run;
	if (run->file != NULL)
	{
		source->buffer = palloc(READ_SIZE);
		source->at = source->end = source->buffer;
		source->left = run->bytes;
		if (BufFileSeek(run->file, 0, 0, SEEK_SET) != 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not rewind a temporary file")));
	}
	else
	{
		source->at = run->memory.data;
		source->end = source->at + run->memory.len;
	}
	return &source->source;
}

void
bm25_run_free(Bm25Run *run)
{
	if (run->file != NULL)
		BufFileClose(run->file);
	else
		pfree(run->memory.data);
	pfree(run);
}
