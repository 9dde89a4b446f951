/*-------------------------------------------------------------------------
 *
 * boolean.c
 *		All rows that match conditions, in the order of the table.
 *
 * If each match has certain words, the lists of these are intersected.  Else the
 * postings of all words are met in windows.  Either way each document gets the set of
 * its words, and its points.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#define WINDOW 4096

/* Two lists are met as sets of bits of so many documents, */
#define SET_DOCS 8192

/* where at least so many of the shorter one's are; else documents are looked up. */
#define SET_POSTINGS 4

/* The documents of a window */
typedef struct Window
{
	uint32		points[WINDOW];
	uint64		touched[WINDOW / 64];
	uint64	   *masks;			/* mask_words for each; 0 outside of use */
} Window;

/* A segment in which documents are looked for, or the head */
typedef struct Matcher
{
	Bm25Positions positions;	/* of the document in work */
	Bm25Search *search;
	uint32		segment;
	Bm25Cursor **cursors;		/* of each term, or NULL */
	Bm25Cursor **readers;		/* the same lists, where positions are read */
	int		   *terms;			/* those that each match has, and then the others */
	int			nrequired;
	uint32		doc;
	uint8	   *dead;			/* bits of all documents; NULL: each is looked up */
	const Bm25HeadDocument *head;	/* instead of a segment's */
	const Bm25Top *top;			/* only what is among these is asked for; NULL: all */
	Bm25Found	found;
	void	   *arg;
} Matcher;

/* The positions of a term in the document in work */
static WordEntryPos *
read_positions(Bm25Positions *base, int term, int *n)
{
	Matcher    *matcher = (Matcher *) base;
	Bm25Search *search = matcher->search;
	Bm25Cursor *cursor;
	Bm25Word	word;
	WordEntryPos *positions;

	*n = -1;
	if (search->terms[term].prefix || !(search->meta.flags & BM25_HAS_POSITIONS))
		return NULL;
	if (matcher->head != NULL)
		word = matcher->head->words[term];
	else
	{
		cursor = matcher->readers[term];
		(void) bm25_cursor_seek(cursor, matcher->doc);
		word.positions = bm25_cursor_positions(cursor, &word.position_bytes);
		word.tf = cursor->tfs[cursor->at];
	}
	positions = bm25_decode_positions(word.positions, word.position_bytes, word.tf,
									  search->meta.flags, n);
	if (positions == NULL)
		page_report_corrupt(search->rel, matcher->head != NULL ? search->meta.head_first :
							search->meta.segments[matcher->segment].header,
							"broken positions of words");
	return positions;
}

/* Does a document live and match? */
static bool
is_match(Matcher *matcher, uint32 doc, const uint64 *mask, bool *recheck)
{
	matcher->doc = doc;
	if (!bm25_matches(matcher->search, mask, &matcher->positions, recheck))
		return false;
	return matcher->dead != NULL ? !(matcher->dead[doc / 8] >> (doc % 8) & 1) :
		!bm25_is_dead(matcher->search, matcher->segment, doc);
}

/* Are only the best asked for, and are there as many already? */
static inline bool
is_full(const Matcher *matcher)
{
	return matcher->top != NULL && matcher->top->n == matcher->top->k;
}

/* Then a document with so many points may be too many. */
static inline bool
is_late(const Matcher *matcher, uint32 doc, uint32 points)
{
	Bm25Hit		hit = {points, matcher->segment, doc};

	return is_full(matcher) && !bm25_hit_before(&hit, &matcher->top->hits[0]);
}

/* Hand over a document if it lives and matches. */
static void
offer(Matcher *matcher, uint32 doc, const uint64 *mask, uint32 points)
{
	bool		recheck = false;

	if (!is_late(matcher, doc, points) && is_match(matcher, doc, mask, &recheck))
		matcher->found(matcher->arg, matcher->segment, doc, points, recheck);
}

static inline void
set_bit(uint64 *set, int i)
{
	set[i / 64] |= UINT64CONST(1) << (i % 64);
}

static inline bool
has_bit(const uint64 *set, int i)
{
	return set[i / 64] >> (i % 64) & 1;
}

/* The points of the document at which a term's list stands, with what the term makes of them */
static inline uint32
add_points(Bm25Search *search, uint32 points, int term, Bm25Cursor *cursor)
{
	Bm25Weight	weight = bm25_weight(search->weights, term);

	return search->terms[term].freq == 0 ? points : bm25_add_posting(points, &weight, cursor);
}

/*
 * Find the terms that each match has, those with the shortest lists first; false if the
 * segment lacks one of them.
 */
static bool
find_required(Matcher *matcher)
{
	Bm25Search *search = matcher->search;
	int		   *terms = matcher->terms;
	int			nothers = 0;

	for (int term = 0; term < search->nterms; term++)
	{
		bool		required = false;
		int			i = matcher->nrequired;

		for (int m = 0; m < search->nmatches; m++)
			required |= search->matches[m].required != NULL &&
				has_bit(search->matches[m].required, term);
		if (!required)
		{
			terms[search->nterms - ++nothers] = term;
			continue;
		}
		if (matcher->cursors[term] == NULL)
			return false;
		for (; i > 0 && matcher->cursors[terms[i - 1]]->df > matcher->cursors[term]->df; i--)
			terms[i] = terms[i - 1];
		terms[i] = term;
		matcher->nrequired++;
	}
	return true;
}

/* The points of a document whose terms "mask" tells, at which their lists stand */
static uint32
get_points(Matcher *matcher, const uint64 *mask)
{
	Bm25Search *search = matcher->search;
	uint32		points = 0;

	for (int term = 0; term < search->nterms; term++)
		if (has_bit(mask, term))
			points = add_points(search, points, term, matcher->cursors[term]);
	return points;
}

/*
 * Offer a document that has all required terms; "mask" is their set.  To compute points is
 * faster than to look for a phrase, but tells nothing before there are as many rows as are
 * asked for.
 */
static void
offer_common(Matcher *matcher, uint32 doc, uint64 *mask)
{
	Bm25Search *search = matcher->search;
	bool		recheck = false;
	bool		full = is_full(matcher);

	for (int i = matcher->nrequired; i < search->nterms; i++)
	{
		int			term = matcher->terms[i];
		Bm25Cursor *cursor = matcher->cursors[term];

		mask[term / 64] &= ~(UINT64CONST(1) << (term % 64));
		if (cursor != NULL && bm25_cursor_seek(cursor, doc) && cursor->docs[cursor->at] == doc)
			set_bit(mask, term);
	}
	if (full)
		offer(matcher, doc, mask, get_points(matcher, mask));
	else if (is_match(matcher, doc, mask, &recheck))
		matcher->found(matcher->arg, matcher->segment, doc, get_points(matcher, mask), recheck);
}

/*
 * Look a document up in the lists of the required terms, from the i'th on.  Returns it, or
 * the next one that may be in all of them.
 */
static uint32
look_up(Matcher *matcher, int i, uint32 doc)
{
	for (; i < matcher->nrequired; i++)
	{
		Bm25Cursor *cursor = matcher->cursors[matcher->terms[i]];

		if (!bm25_cursor_seek(cursor, doc))
			return PG_UINT32_MAX;
		if (cursor->docs[cursor->at] > doc)
			return cursor->docs[cursor->at];
	}
	return doc;
}

/*
 * Offer the documents that two lists have from the ones on at which they stand up to the
 * end of either's block, if they are many.  Returns where to go on.  "set" is empty between
 * calls.
 */
static uint32
meet(Matcher *matcher, Bm25Cursor *first, Bm25Cursor *second, uint32 *set, uint64 *mask)
{
	uint32		places[BM25_BLOCK + BLOCK_LANES];
	uint32		base = second->docs[second->at];
	uint32		to = Min(second->n, second->at + BM25_BLOCK);
	uint32		end = Min(first->docs[first->n - 1], second->docs[to - 1]);
	uint32		next = base;
	uint32		from;
	uint32		upto;
	uint32		found;

	if (end < base)
		return base;
	if (end - base >= SET_DOCS)
		end = base + SET_DOCS - 1;
	from = first->loops->find(first->docs, first->at, first->n, base);
	upto = first->loops->find(first->docs, from, first->n, end + 1);
	if (upto - from < SET_POSTINGS)
		return base;
	for (uint32 i = from; i < upto; i++)
		set[(first->docs[i] - base) / 32] |= (uint32) 1 << (first->docs[i] - base) % 32;
	to = second->loops->find(second->docs, second->at, to, end + 1);
	found = second->loops->match(second->docs, second->at, to, base, set, places);
	for (uint32 i = from; i < upto; i++)
		set[(first->docs[i] - base) / 32] = 0;
	for (uint32 i = 0; i < found; i++)
	{
		uint32		doc = second->docs[places[i]];

		if (doc < next)
			continue;
		second->at = places[i];
		(void) bm25_cursor_seek(first, doc);
		next = look_up(matcher, 2, doc);
		if (next == doc)
			offer_common(matcher, next++, mask);
	}
	return Max(next, end + 1);
}

/* Find the documents that have all required terms. */
static void
intersect(Matcher *matcher)
{
	Bm25Search *search = matcher->search;
	Bm25Cursor *first = matcher->cursors[matcher->terms[0]];
	Bm25Cursor *second = matcher->nrequired > 1 ? matcher->cursors[matcher->terms[1]] : NULL;
	uint64	   *mask = palloc0(sizeof(uint64) * search->mask_words);
	uint32	   *set = palloc0(SET_DOCS / 8);
	uint32		doc = 0;

	for (int i = 0; i < matcher->nrequired; i++)
		set_bit(mask, matcher->terms[i]);
	if (search->ordered)
		bm25_keep_lengths(search->readers[matcher->segment], first->df);
	while (bm25_cursor_seek(first, doc))
	{
		uint32		next;

		CHECK_FOR_INTERRUPTS();
		doc = first->docs[first->at];
		if (second != NULL)
		{
			if (!bm25_cursor_seek(second, doc))
				break;
			doc = second->docs[second->at];
			next = meet(matcher, first, second, set, mask);
			if (next > doc)
			{
				doc = next;
				continue;
			}
		}
		next = look_up(matcher, 0, doc);
		if (next == doc)
			offer_common(matcher, next++, mask);
		doc = next;
	}
	pfree(set);
}

/* Note a term's documents in a window. */
static void
note_term(Bm25Search *search, Window *window, Bm25Cursor *cursor, int term, uint32 base,
		  uint32 end)
{
	for (bool more = bm25_cursor_seek(cursor, base); more && cursor->docs[cursor->at] < end;
		 more = bm25_cursor_seek(cursor, cursor->docs[cursor->at] + 1))
	{
		uint32		slot = cursor->docs[cursor->at] - base;

		set_bit(&window->masks[(Size) slot * search->mask_words], term);
		set_bit(window->touched, slot);
		window->points[slot] = add_points(search, window->points[slot], term, cursor);
	}
}

/* Offer the documents of a window, and leave it empty. */
static void
offer_window(Matcher *matcher, Window *window, uint32 base, uint32 end)
{
	int			words = matcher->search->mask_words;

	for (uint32 first = 0; first < end - base; first += 64)
	{
		uint64		touched = window->touched[first / 64];

		window->touched[first / 64] = 0;
		for (; touched != 0; touched &= touched - 1)
		{
			uint32		slot = first + pg_rightmost_one_pos64(touched);

			if (slot >= end - base)
				break;
			offer(matcher, base + slot, &window->masks[(Size) slot * words],
				  window->points[slot]);
			memset(&window->masks[(Size) slot * words], 0, sizeof(uint64) * words);
			window->points[slot] = 0;
		}
	}
}

/* Find documents in windows; "all": also those without any of the words. */
static void
go_through(Matcher *matcher, bool all)
{
	Bm25Search *search = matcher->search;
	uint32		ndocs = search->readers[matcher->segment]->segment.ndocs;
	Window	   *window = palloc0(sizeof(Window));
	uint64		next = 0;

	if (search->meta.segments[matcher->segment].ndead > 0)
		matcher->dead = bm25_dead_bits(search->readers[matcher->segment]);
	window->masks = palloc_extended(sizeof(uint64) * search->mask_words * WINDOW,
									MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (;;)
	{
		uint64		base = all ? next : ndocs;
		uint32		end;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < search->nterms && !all; i++)
			if (matcher->cursors[i] != NULL && bm25_cursor_seek(matcher->cursors[i], next))
				base = Min(base, matcher->cursors[i]->docs[matcher->cursors[i]->at]);
		if (base >= ndocs)
			break;
		end = Min(base + WINDOW, (uint64) bm25_last_length(search->readers[matcher->segment], base) + 1);
		if (all)
			memset(window->touched, 0xFF, sizeof(window->touched));
		for (int i = 0; i < search->nterms; i++)
			if (matcher->cursors[i] != NULL)
				note_term(search, window, matcher->cursors[i], i, base, end);
		offer_window(matcher, window, base, end);
		next = end;
	}
	pfree(window->masks);
	pfree(window);
}

/* Does a document without any of the words match? */
static bool
matches_without_words(Bm25Search *search)
{
	for (int i = 0; i < search->nmatches; i++)
		if (!search->matches[i].matches_nothing)
			return false;
	return true;
}

static Bm25Cursor **
open_cursors(Bm25Search *search, uint32 segment)
{
	Bm25Cursor **cursors = palloc(sizeof(Bm25Cursor *) * Max(search->nterms, 1));

	for (int i = 0; i < search->nterms; i++)
		cursors[i] = bm25_search_cursor(search, segment, i);
	return cursors;
}

/* Let go of pages that lists have pinned. */
static void
unpin_cursors(Bm25Search *search, Bm25Cursor **cursors)
{
	for (int i = 0; i < search->nterms; i++)
	{
		if (cursors[i] == NULL)
			continue;
		bm25_unpin(&cursors[i]->data_page.buffer);
		bm25_unpin(&cursors[i]->position_page.buffer);
	}
}

/*
 * Hand over the matching documents of a segment that live; those that are not among the best
 * need not be, if "top" holds these.
 */
void
bm25_match_segment(Bm25Search *search, uint32 segment, const Bm25Top *top, Bm25Found found,
				   void *arg)
{
	Matcher		matcher = {{read_positions}, search, segment, .top = top, .found = found,
	.arg = arg};
	bool		possible;

	search->readers[segment]->pins_left = BM25_PINS;
	matcher.cursors = matcher.readers = open_cursors(search, segment);
	matcher.terms = palloc(sizeof(int) * Max(search->nterms, 1));
	possible = find_required(&matcher);
	if (possible && matcher.nrequired > 0)
		intersect(&matcher);
	else if (possible)
	{
		/* At the end of a window, its lists have passed the documents in work. */
		if (search->positional)
			matcher.readers = open_cursors(search, segment);
		go_through(&matcher, matches_without_words(search));
	}
	search->readers[segment]->pins_left = 0;
	unpin_cursors(search, matcher.cursors);
	if (matcher.readers != matcher.cursors)
		unpin_cursors(search, matcher.readers);
	bm25_reader_release(search->readers[segment]);
	pfree(matcher.terms);
}

/* The same for the head. */
void
bm25_match_head(Bm25Search *search, Bm25Found found, void *arg)
{
	Matcher		matcher = {{read_positions}, search, search->meta.nsegments,.found = found,.arg = arg};
	uint64	   *mask = palloc(sizeof(uint64) * search->mask_words);

	for (uint32 i = 0; i < search->nhead; i++)
	{
		matcher.head = &search->head[i];
		if (matcher.head->dead)
			continue;
		memset(mask, 0, sizeof(uint64) * search->mask_words);
		if (matcher.head->words != NULL)
			for (int j = 0; j < search->nterms; j++)
				if (matcher.head->words[j].tf > 0)
					set_bit(mask, j);
		offer(&matcher, i, mask, bm25_head_points(search, matcher.head));
	}
	pfree(mask);
}
