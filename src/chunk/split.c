/*-------------------------------------------------------------------------
 *
 * split.c
 *		From boundaries to pieces that are short enough.
 *
 * A piece that is too long is cut at the boundary with the highest rank, and
 * both parts are looked at again: the pieces are the leaves of a tree whose
 * shape depends on ranks alone.  An edit changes the ranks near it, so pieces
 * elsewhere stay what they are.  (Filling pieces one after the other would move
 * every boundary behind the edit.)
 *
 * The highest rank between two boundaries comes from a tree of maxima over
 * them, so the time is linear but for the depth of that tree, which is small.
 *
 *-------------------------------------------------------------------------
 */
#include "chunk/chunk.h"

#include "miscadmin.h"

/* A piece takes at least this share of the limit, if the boundaries allow it. */
#define LEAST_SHARE 4

/* Inside words, only candidates are looked at, but for short pieces. */
#define LEAST_DISTANCE 8		/* bytes between two candidates */
#define THINNING_FROM 128		/* units of a piece */

/* The boundaries of a piece, both ends included, and the tree of maxima */
typedef struct Boundaries
{
	ChunkBoundary *at;
	int			n;
	int			allocated;
	int		   *tree;			/* leaf i is at n + i; 1 is the root */
} Boundaries;

static void
add_boundary(Boundaries *list, const ChunkBoundary *boundary)
{
	if (list->n == list->allocated)
	{
		list->allocated *= 2;
		list->at = repalloc_huge(list->at, list->allocated * sizeof(ChunkBoundary));
	}
	list->at[list->n++] = *boundary;
}

/* Of two boundaries the one to take: the higher rank, then the earlier */
static inline int
better(const Boundaries *list, int a, int b)
{
	uint32		rank_a = list->at[a].rank;
	uint32		rank_b = list->at[b].rank;

	if (rank_a != rank_b)
		return rank_a > rank_b ? a : b;
	return Min(a, b);
}

/* Collect the boundaries behind "from" and before "to" of at least this level. */
static void
collect(Boundaries *list, const ChunkText *text, const ChunkBoundary *from, uint32 to,
		ChunkLevel least, uint32 limit)
{
	ChunkScan	scan;
	ChunkBoundary next;
	uint32		last = from->pos;

	list->allocated = 64;
	list->at = MemoryContextAllocHuge(CurrentMemoryContext, list->allocated * sizeof(ChunkBoundary));
	list->n = 0;
	add_boundary(list, from);
	chunk_scan_start(&scan, text, from, to, least);
	while (chunk_scan_next(&scan, &next))
	{
		if (next.level == CHUNK_CHAR && limit >= THINNING_FROM &&
			(next.pos - last < LEAST_DISTANCE || !chunk_is_candidate(text, &next)))
			continue;
		next.rank = chunk_rank(text, &next);
		last = next.pos;
		add_boundary(list, &next);
	}
	chunk_scan_to_end(&scan, &next);
	add_boundary(list, &next);

	list->tree = MemoryContextAllocHuge(CurrentMemoryContext, 2 * (Size) list->n * sizeof(int));
	for (int i = 0; i < list->n; i++)
		list->tree[list->n + i] = i;
	for (int i = list->n - 1; i > 0; i--)
		list->tree[i] = better(list, list->tree[2 * i], list->tree[2 * i + 1]);
}

/* The best of the boundaries from first to last, or -1 if there is none */
static int
best_between(const Boundaries *list, int first, int last)
{
	int			best = -1;

	for (int low = first + list->n, high = last + list->n + 1; low < high; low /= 2, high /= 2)
	{
		if (low % 2 == 1)
		{
			best = best < 0 ? list->tree[low] : better(list, best, list->tree[low]);
			low++;
		}
		if (high % 2 == 1)
		{
			high--;
			best = best < 0 ? list->tree[high] : better(list, best, list->tree[high]);
		}
	}
	return best;
}

/* The first boundary between i and j with at least so many units before it */
static int
first_with(const Boundaries *list, int i, int j, uint32 units)
{
	while (i < j)
	{
		int			middle = i + (j - i) / 2;

		if (list->at[middle].unit < units)
			i = middle + 1;
		else
			j = middle;
	}
	return i;
}

/*
 * Where to cut what stands between boundaries i and j, or -1.  Only if no part
 * may be as long as the least share are shorter ones taken.  Of equal
 * boundaries in a row, the piece before takes as many as fit.
 */
static int
choose(const Boundaries *list, int i, int j, uint32 limit)
{
	const ChunkBoundary *at = list->at;
	uint32		share = limit / LEAST_SHARE;
	uint32		from = at[i].unit + share;
	uint32		until = at[j].end - share;
	int			first = first_with(list, i + 1, j, from);
	int			last = first_with(list, i + 1, j, until + 1) - 1;
	int			best = best_between(list, first, last);

	if (best < 0)
	{
		last = j - 1;
		best = best_between(list, i + 1, last);
	}
	if (best >= 0)
	{
		while (best < last && at[best + 1].rank == at[best].rank &&
			   at[best + 1].end - at[i].unit <= limit)
			best++;
	}
	return best;
}

static void
add_core(ChunkCores *cores, const ChunkBoundary *from, int section)
{
	ChunkCore  *core;

	if (cores->n == cores->allocated)
	{
		cores->allocated = Max(64, 2 * cores->allocated);
		if (cores->core == NULL)
			cores->core = MemoryContextAllocHuge(CurrentMemoryContext,
												 cores->allocated * sizeof(ChunkCore));
		else
			cores->core = repalloc_huge(cores->core, cores->allocated * sizeof(ChunkCore));
	}
	core = &cores->core[cores->n++];
	core->pos = from->pos;
	core->unit = from->unit;
	core->section = section;
}

/* Nothing but units tells where to cut between two places. */
static void
split_exactly(const ChunkText *text, const ChunkBoundary *from, uint32 to, uint32 limit,
			  int section, ChunkCores *cores)
{
	ChunkBoundary at = *from;

	while (at.pos < to)
	{
		add_core(cores, &at, section);
		at = chunk_exact(text, &at, limit, to);
	}
}

/*
 * Cut what stands between two places at boundaries of at least this level.
 * What has none is looked at with weaker ones.
 */
static void
split_at(const ChunkText *text, const ChunkBoundary *from, uint32 to, uint32 limit,
		 ChunkLevel least, int section, ChunkCores *cores)
{
	Boundaries	list;
	int		   *ends;			/* where the pieces that wait end, the next one last */
	int			n = 0;
	int			allocated = 64;
	int			i = 0;

	collect(&list, text, from, to, least, limit);
	ends = palloc(allocated * sizeof(int));
	ends[n++] = list.n - 1;
	while (n > 0)
	{
		int			j = ends[n - 1];
		int			cut;

		CHECK_FOR_INTERRUPTS();
		if (list.at[j].end - list.at[i].unit <= limit)
		{
			add_core(cores, &list.at[i], section);
			i = ends[--n];
			continue;
		}
		cut = choose(&list, i, j, limit);
		if (cut >= 0)
		{
			if (n == allocated)
			{
				allocated *= 2;
				ends = repalloc_huge(ends, allocated * sizeof(int));
			}
			ends[n++] = cut;
			continue;
		}
		if (least > CHUNK_WORD)
			split_at(text, &list.at[i], list.at[j].pos, limit, CHUNK_WORD, section, cores);
		else if (least > CHUNK_CHAR && text->unit != CHUNK_WORDS)
			split_at(text, &list.at[i], list.at[j].pos, limit, CHUNK_CHAR, section, cores);
		else
			split_exactly(text, &list.at[i], list.at[j].pos, limit, section, cores);
		i = ends[--n];
	}
	pfree(ends);
	pfree(list.tree);
	pfree(list.at);
}

/*
 * Cut what stands between two places into pieces of at most limit units.
 */
void
chunk_split(const ChunkText *text, const ChunkBoundary *from, uint32 to, uint32 limit,
			int section, ChunkCores *cores)
{
	split_at(text, from, to, limit, CHUNK_LINE, section, cores);
}

/*
 * The same, but each sentence and each item of a list is a piece.
 */
void
chunk_split_sentences(const ChunkText *text, const ChunkBoundary *from, uint32 to,
					  uint32 limit, ChunkCores *cores)
{
	ChunkScan	scan;
	ChunkBoundary start = *from;
	ChunkBoundary next;

	chunk_scan_start(&scan, text, from, to, CHUNK_SENTENCE);
	while (chunk_scan_next(&scan, &next))
	{
		if (next.end - start.unit <= limit)
			add_core(cores, &start, -1);
		else
			chunk_split(text, &start, next.pos, limit, -1, cores);
		start = next;
	}
	chunk_split(text, &start, to, limit, -1, cores);
}

/*
 * The same, but the pieces are as long as can be: the first has at most "first"
 * units, the others have at most limit.
 */
void
chunk_split_fixed(const ChunkText *text, const ChunkBoundary *from, uint32 to,
				  uint32 first, uint32 limit, ChunkCores *cores)
{
	ChunkBoundary next = chunk_exact(text, from, first, to);

	add_core(cores, from, -1);
	split_exactly(text, &next, to, limit, -1, cores);
}
