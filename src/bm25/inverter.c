/*-------------------------------------------------------------------------
 *
 * inverter.c
 *		Postings collected in memory by term, and read in the order of terms: from
 *		there, or from a run in a temporary file.
 *
 * A run is, for each term, its length (uint16), the term, the number of postings
 * (uint32), and these as postings of a short list, each followed by its positions if
 * the index has them.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "bm25/codec.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

/*
 * Bytes of the postings of a term, in pieces that double.  Their sizes with their heads
 * are powers of two: others would be rounded up to that when they are allocated.
 */
#define FIRST_PIECE 32
#define MAX_PIECE 4096
#define MAX_MEMORY_BLOCK (128 * 1024)

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
	uint32		flags;			/* the index's */
	Term	  **slots;			/* open addressing; a power of two of them */
	uint32		nslots;
	uint32		nterms;
};

/* A run that is read */
typedef struct RunSource
{
	Bm25Source	source;
	bool		has_positions;
	BufFile    *file;			/* NULL: "buffer" has all that is left */
	const Bm25Piece *pieces;	/* NULL: documents keep their numbers */
	int			npieces;
	int			piece;			/* of the last document */
	char	   *buffer;
	const char *at;
	const char *end;
	uint32		n;				/* postings of the term that are left */
	uint32		last;
	char		term[BM25_MAX_TERM];
} RunSource;

#define READ_SIZE 65536

/* What is read at once is not longer, and stands in the buffer as a whole. */
#define MAX_READ (sizeof(uint16) + BM25_MAX_TERM + sizeof(uint32))

StaticAssertDecl(BM25_MAX_POSITIONS * MAX_POSITION_BYTES < READ_SIZE, "nor a posting's positions");

Bm25Inverter *
bm25_inverter_begin(uint32 flags)
{
	/* Small blocks, as the whole of one counts as taken. */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "bm25 postings",
												  ALLOCSET_DEFAULT_MINSIZE,
												  ALLOCSET_DEFAULT_INITSIZE, MAX_MEMORY_BLOCK);
	Bm25Inverter *inverter = MemoryContextAllocZero(context, sizeof(Bm25Inverter));

	inverter->context = context;
	inverter->flags = flags;
	inverter->nslots = 1024;
	inverter->slots = MemoryContextAllocZero(context, sizeof(Term *) * inverter->nslots);
	return inverter;
}

/* Bytes that it has taken of memory */
Size
bm25_inverter_size(const Bm25Inverter *inverter)
{
	return MemoryContextMemAllocated(inverter->context, false);
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
	term = MemoryContextAlloc(inverter->context, offsetof(Term, word) + len);
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
bm25_inverter_add(Bm25Inverter *inverter, uint32 doc, const Bm25Word *word)
{
	Term	   *term = find_term(inverter, word->word, word->len);
	char		bytes[2 * MAX_VARINT];
	int			size = put_posting(bytes, doc - term->last - 1, word->tf) - bytes;
	int			all = size + word->position_bytes;
	char	   *to;

	if (term->piece == NULL || term->piece->used + all > term->piece->room)
	{
		int			head = offsetof(Piece, bytes);
		int			size_with_head = term->piece == NULL ? FIRST_PIECE :
			Min(MAX_PIECE, (term->piece->room + head) * 2);
		int			room = Max(size_with_head - head, all);
		Piece	   *piece = MemoryContextAlloc(inverter->context, head + room);

		*piece = (Piece) {NULL, room, 0};
		if (term->piece == NULL)
			term->first = piece;
		else
			term->piece->next = piece;
		term->piece = piece;
	}
	to = term->piece->bytes + term->piece->used;
	memcpy(to, bytes, size);
	if (word->position_bytes > 0)
		memcpy(to + size, word->positions, word->position_bytes);
	term->piece->used += all;
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

/* Where a run is written to: a file, or memory */
typedef struct RunTarget
{
	BufFile    *file;
	char	   *memory;
	Size		used;
	Size		room;
} RunTarget;

static void
put(RunTarget *run, const void *bytes, Size size)
{
	if (run->file != NULL)
	{
		BufFileWrite(run->file, unconstify(void *, bytes), size);
		return;
	}
	if (size > run->room - run->used)
	{
		run->room = Max(run->room * 2, run->used + size);
		run->memory = repalloc_huge(run->memory, run->room);
	}
	memcpy(run->memory + run->used, bytes, size);
	run->used += size;
}

/* Write what has been collected as a run, and free it. */
static void
write_run(Bm25Inverter *inverter, RunTarget *run)
{
	uint32		n = 0;

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
}

/* Write what has been collected to a file, and free it. */
void
bm25_inverter_write(Bm25Inverter *inverter, BufFile *file)
{
	write_run(inverter, &(RunTarget) {file});
}

/* Have so many bytes in the buffer, or all that there are. */
static void
fill(RunSource *source, Size size)
{
	Size		have = source->end - source->at;
	Size		more;

	if (have >= size || source->file == NULL)
		return;
	memmove(source->buffer, source->at, have);
	more = BufFileRead(source->file, source->buffer + have, READ_SIZE - have);
	source->at = source->buffer;
	source->end = source->buffer + have + more;
	if (more < READ_SIZE - have)
		source->file = NULL;
}

/* The number in the segment of a document, which is not before the last one of its term. */
static uint32
global_number(RunSource *source, uint32 doc)
{
	int			high = source->npieces;

	if (source->pieces == NULL)
		return doc;
	while (source->piece + 1 < high && source->pieces[source->piece + 1].local <= doc)
	{
		int			middle = (source->piece + 1 + high) / 2;

		if (source->pieces[middle].local <= doc)
			source->piece = middle;
		else
			high = middle;
	}
	return doc - source->pieces[source->piece].local + source->pieces[source->piece].global;
}

static bool
run_next_posting(Bm25Source *base, Bm25Posting *posting)
{
	RunSource  *source = (RunSource *) base;
	uint32		gap = 0;

	if (source->n == 0)
		return false;
	source->n--;
	fill(source, 2 * MAX_VARINT);
	source->at = get_posting(source->at, source->end, &gap, &posting->tf);
	if (source->at == NULL)
		elog(ERROR, "run of postings ends early");
	source->last += gap + 1;
	posting->doc = global_number(source, source->last);
	posting->position_bytes = 0;
	if (source->has_positions)
	{
		fill(source, position_count(posting->tf) * MAX_POSITION_BYTES);
		posting->positions = source->at;
		source->at = skip_positions(source->at, source->end, posting->tf);
		if (source->at == NULL)
			elog(ERROR, "run of postings ends early");
		posting->position_bytes = source->at - posting->positions;
	}
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
	source->piece = 0;
	base->term = source->term;
	base->len = len;
	return true;
}

static RunSource *
new_source(uint32 flags)
{
	RunSource  *source = palloc0(sizeof(RunSource));

	source->source.next_term = run_next_term;
	source->source.next_posting = run_next_posting;
	source->has_positions = (flags & BM25_HAS_POSITIONS) != 0;
	return source;
}

/* Read what has been collected, which is freed. */
Bm25Source *
bm25_inverter_source(Bm25Inverter *inverter)
{
	RunSource  *source = new_source(inverter->flags);
	RunTarget	run = {.memory = palloc(READ_SIZE),.room = READ_SIZE};

	write_run(inverter, &run);
	source->at = source->buffer = run.memory;
	source->end = source->at + run.used;
	return &source->source;
}

/* Read a run of an index with these flags from a file. */
Bm25Source *
bm25_run_source(BufFile *file, uint32 flags, const Bm25Piece *pieces, int npieces)
{
	RunSource  *source = new_source(flags);

	source->file = file;
	source->pieces = pieces;
	source->npieces = npieces;
	source->buffer = palloc(READ_SIZE);
	source->at = source->end = source->buffer;
	return &source->source;
}
