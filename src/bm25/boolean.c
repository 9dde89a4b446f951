/*-------------------------------------------------------------------------
 *
 * boolean.c
 *		All rows that match conditions, in the order of the table.
 *
 * Postings of all words are met in windows: each document gets the set of its words,
 * and its points.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include "miscadmin.h"

#define WINDOW 4096

/* The documents of a window */
typedef struct Window
{
	uint32		points[WINDOW];
	bool		touched[WINDOW];
	uint64	   *masks;			/* mask_words for each */
} Window;

/* Does a document without any of the words match? */
static bool
matches_without_words(Bm25Search *search)
{
	for (int i = 0; i < search->nmatches; i++)
		if (!search->matches[i].matches_nothing)
			return false;
	return true;
}

/* Note a word's documents in a window. */
static void
note_term(Bm25Search *search, Window *window, Bm25Cursor *cursor, int term, uint32 base,
		  uint32 end)
{
	float		scaled = search->weights->scaled[term];
	bool		weighs = search->terms[term].freq > 0;
	int			words = search->mask_words;

	for (bool more = bm25_cursor_seek(cursor, base); more && cursor->docs[cursor->at] < end;
		 more = bm25_cursor_seek(cursor, cursor->docs[cursor->at] + 1))
	{
		uint32		doc = cursor->docs[cursor->at];
		uint32		slot = doc - base;

		window->masks[slot * words + term / 64] |= UINT64CONST(1) << (term % 64);
		window->touched[slot] = true;
		if (weighs)
		{
			bm25_cursor_load_tfs(cursor);
			window->points[slot] += bm25_points(scaled, search->weights->norm,
												cursor->tfs[cursor->at],
												bm25_length(cursor->reader, doc));
		}
	}
}

/* Hand over the matching documents of a segment that live. */
void
bm25_match_segment(Bm25Search *search, uint32 segment, Bm25Found found, void *arg)
{
	Bm25Reader *reader = search->readers[segment];
	uint32		ndocs = reader->segment.ndocs;
	int			words = search->mask_words;
	bool		all = matches_without_words(search);
	Bm25Cursor **cursors = palloc(sizeof(Bm25Cursor *) * Max(search->nterms, 1));
	Window	   *window = palloc_extended(sizeof(Window), MCXT_ALLOC_HUGE);
	uint8	   *dead = bm25_dead_bits(reader);

	window->masks = palloc_extended(sizeof(uint64) * words * WINDOW, MCXT_ALLOC_HUGE);
	for (int i = 0; i < search->nterms; i++)
		cursors[i] = bm25_search_cursor(search, segment, i);
	for (uint64 base = 0; base < ndocs; base += WINDOW)
	{
		uint32		end = Min(base + WINDOW, ndocs);

		CHECK_FOR_INTERRUPTS();
		memset(window->points, 0, sizeof(window->points));
		memset(window->touched, all, sizeof(window->touched));
		memset(window->masks, 0, sizeof(uint64) * words * WINDOW);
		for (int i = 0; i < search->nterms; i++)
			if (cursors[i] != NULL)
				note_term(search, window, cursors[i], i, base, end);
		for (uint32 doc = base; doc < end; doc++)
		{
			uint32		slot = doc - base;
			bool		recheck = false;

			if (window->touched[slot] && !(dead[doc / 8] >> (doc % 8) & 1) &&
				bm25_matches(search, &window->masks[slot * words], &recheck))
				found(arg, segment, doc, window->points[slot], recheck);
		}
	}
	pfree(window->masks);
	pfree(window);
	pfree(dead);
}

/* The same for the head. */
void
bm25_match_head(Bm25Search *search, Bm25Found found, void *arg)
{
	uint64	   *mask = palloc(sizeof(uint64) * search->mask_words);

	for (uint32 i = 0; i < search->nhead; i++)
	{
		const Bm25HeadDocument *document = &search->head[i];
		bool		recheck = false;

		if (document->dead)
			continue;
		memset(mask, 0, sizeof(uint64) * search->mask_words);
		if (document->tfs != NULL)
			for (int j = 0; j < search->nterms; j++)
				if (document->tfs[j] > 0)
					mask[j / 64] |= UINT64CONST(1) << (j % 64);
		if (bm25_matches(search, mask, &recheck))
			found(arg, search->meta.nsegments, i, bm25_head_points(search, document), recheck);
	}
	pfree(mask);
}
