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
	uint32		doc;
	uint8	   *dead;			/* bits of all documents; NULL: each is looked up */
	const Bm25HeadDocument *head;	/* instead of a segment's */
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

/* Hand over a document if it lives and matches. */
static void
offer(Matcher *matcher, uint32 doc, const uint64 *mask, uint32 points)
{
	bool		recheck = false;
	bool		dead = matcher->dead != NULL ? matcher->dead[doc / 8] >> (doc % 8) & 1 :
		bm25_is_dead(matcher->search, matcher->segment, doc);

	matcher->doc = doc;
	if (!dead &&
		bm25_matches(matcher->search, mask, &matcher->positions, &recheck))
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
 * The terms that each match has, those with the shortest lists first; returns how many,
 * or -1 if the segment lacks one of them.
 */
static int
required_terms(Matcher *matcher, int *terms)
{
	Bm25Search *search = matcher->search;
	int			n = 0;

	for (int term = 0; term < search->nterms; term++)
	{
		bool		required = false;
		int			i = n;

		for (int m = 0; m < search->nmatches; m++)
			required |= search->matches[m].required != NULL &&
				has_bit(search->matches[m].required, term);
		if (!required)
			continue;
		if (matcher->cursors[term] == NULL)
			return -1;
		for (; i > 0 && matcher->cursors[terms[i - 1]]->df > matcher->cursors[term]->df; i--)
			terms[i] = terms[i - 1];
		terms[i] = term;
		n++;
	}
	return n;
}

/* Find the documents that have all of n terms. */
static void
intersect(Matcher *matcher, const int *terms, int n)
{
	Bm25Search *search = matcher->search;
	Bm25Cursor *first = matcher->cursors[terms[0]];
	uint64	   *mask = palloc(sizeof(uint64) * search->mask_words);
	uint32		doc = 0;

	while (bm25_cursor_seek(first, doc))
	{
		uint32		points = 0;
		int			i = 1;

		CHECK_FOR_INTERRUPTS();
		doc = first->docs[first->at];
		for (; i < n; i++)
		{
			Bm25Cursor *cursor = matcher->cursors[terms[i]];

			if (!bm25_cursor_seek(cursor, doc))
				return;
			if (cursor->docs[cursor->at] > doc)
			{
				doc = cursor->docs[cursor->at];
				break;
			}
		}
		if (i < n)
			continue;
		memset(mask, 0, sizeof(uint64) * search->mask_words);
		for (int term = 0; term < search->nterms; term++)
		{
			Bm25Cursor *cursor = matcher->cursors[term];

			if (cursor == NULL || !bm25_cursor_seek(cursor, doc) ||
				cursor->docs[cursor->at] != doc)
				continue;
			set_bit(mask, term);
			points = add_points(search, points, term, cursor);
		}
		offer(matcher, doc, mask, points);
		doc++;
	}
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

/* Hand over the matching documents of a segment that live. */
void
bm25_match_segment(Bm25Search *search, uint32 segment, Bm25Found found, void *arg)
{
	Matcher		matcher = {{read_positions}, search, segment, .found = found, .arg = arg};
	int		   *terms = palloc(sizeof(int) * Max(search->nterms, 1));
	int			n;

	search->readers[segment]->pins_left = BM25_PINS;
	matcher.cursors = matcher.readers = open_cursors(search, segment);
	n = required_terms(&matcher, terms);
	if (n > 0)
		intersect(&matcher, terms, n);
	else if (n == 0)
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
	pfree(terms);
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
