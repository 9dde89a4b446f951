/*-------------------------------------------------------------------------
 *
 * engine.c
 *		The best rows of a segment: MaxScore in windows with the bounds of blocks.
 *
 * README.md, "Search", explains it.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#define WINDOW 8192
#define MIN_WINDOW 64

/* Of impacts, few windows can be skipped: they are as long as caches allow. */
#define IMPACT_WINDOW 65536

/* Looking a document up in a list takes as long as adding so many postings. */
#define LOOKUP_POSTINGS 4

/* Or as comparing so many postings of impacts with a set of documents */
#define IMPACT_LOOKUP_POSTINGS 64

/*
 * A document's points in the lists that are dear to leave out tell whether it may be one
 * of the best, if the others' bounds add up to no more than this share of all.
 */
#define SEED_SHARE 0.15

/* One more list is added at once if it has at most this part of the postings before. */
#define ONE_MORE_SHARE 4

/* A search for more rows begins without a threshold. */
#define MAX_SEEDS 1024

/* Lists of a query that are read as a whole have so many bytes kept for them. */
#define LISTS_ROOM (1024 * 1024)

/* Bounds, made with one average length, are held against parts made with another. */
#define ROUNDING 0.99999f

/* A longer drift would make any bound one that no posting comes above. */
#define MAX_DRIFT 256

/* Points of impacts are products of floats. */
#define IMPACT_ROUNDING 1e-6

/* So many windows are watched before they are made longer. */
#define WATCHED 16
#define SHORT_WINDOW 256

/* A term's postings */
typedef struct RankList
{
	Bm25Cursor *cursor;
	Bm25Weight	weight;
	double		most;			/* points that a bound of 256 stands for */
	double		per_bound;		/* points for each 1/256 of a bound, and a little more */
	int64		list_bound;		/* points that no posting is above */
	double		price;			/* of leaving it out of the essential ones: the bound, or that per posting */
	int64		bound;			/* nor one in the window */
	uint32		block;			/* in which the window begins */
	uint32		nblocks;		/* that it meets */
} RankList;

typedef struct Engine
{
	Bm25Search *search;
	Bm25Reader *reader;
	uint32		segment;
	const Bm25BlockLoops *loops;
	Bm25Top    *top;
	int64		floor;			/* as many rows as are asked for have more points */
	int			ties;			/* 1: of equal points, not all that come later have been met later */
	RankList   *lists;			/* ascending by price */
	int			n;
	RankList   *against;		/* lists that take points away */
	int			nagainst;
	RankList  **order;			/* of words, ascending by bound; else as "lists" */
	int64	   *rest;			/* the sum of the bounds in "order" before this one */
	uint32	   *points;			/* of a window's documents; all zero between windows */
	bool	   *met;			/* which groups of them are not */
	uint32	   *places;			/* documents that may be among the best */
	uint32	   *wanted;			/* those that are looked up, as a set of bits; empty between windows */
} Engine;

/*
 * These arrays; a backend keeps them, as clearing them would take long.  Who asks for room for
 * lists asks for the longest window, too.
 */
typedef struct Space
{
	uint32		window;			/* so many documents they are for */
	bool		in_use;			/* after an error, they are not clear */
	uint32	   *places;
	bool	   *met;
	uint32	   *wanted;
	char	   *lists;			/* what has been read of lists of impacts */
	uint32		points[FLEXIBLE_ARRAY_MEMBER];
} Space;

static Space *
take_space(uint32 window, Size lists)
{
	static Space *space = NULL;

	if (space != NULL && (space->in_use || space->window < window))
	{
		pfree(space);
		space = NULL;
	}
	if (space == NULL)
	{
		Size		cleared = offsetof(Space, points) + sizeof(uint32) * window +
			window / BLOCK_LANES + window / 8;

		space = MemoryContextAlloc(TopMemoryContext, MAXALIGN(cleared) +
								   sizeof(uint32) * (window + BLOCK_LANES) + lists);
		memset(space, 0, cleared);
		space->window = window;
		space->met = (bool *) (space->points + window);
		space->wanted = (uint32 *) (space->met + window / BLOCK_LANES);
		space->places = (uint32 *) ((char *) space + MAXALIGN(cleared));
		space->lists = (char *) (space->places + window + BLOCK_LANES);
	}
	space->in_use = true;
	return space;
}

/* Points that no posting is above whose bound is "bound" */
static inline int64
points_of_bound(const RankList *list, uint8 bound)
{
	return (int64) (list->per_bound * (bound + 1)) + 2;
}

/* What a document's points must be above to be among the best */
static inline int64
get_threshold(const Engine *engine)
{
	return Max(bm25_top_threshold(engine->top), engine->floor) - engine->ties;
}

/* Sift the last hit up, or the first one down. */
static void
sift_up(Bm25Top *top, int i)
{
	Bm25Hit		hit = top->hits[i];

	while (i > 0 && bm25_hit_before(&top->hits[(i - 1) / 2], &hit))
	{
		top->hits[i] = top->hits[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	top->hits[i] = hit;
}

static void
sift_down(Bm25Top *top)
{
	Bm25Hit		hit = top->hits[0];
	int			i = 0;

	for (;;)
	{
		int			child = 2 * i + 1;

		if (child >= top->n)
			break;
		if (child + 1 < top->n && bm25_hit_before(&top->hits[child], &top->hits[child + 1]))
			child++;
		if (!bm25_hit_before(&hit, &top->hits[child]))
			break;
		top->hits[i] = top->hits[child];
		i = child;
	}
	top->hits[i] = hit;
}

/* Put a hit among the best, if it is one. */
static void
put_hit(Bm25Top *top, Bm25Hit hit)
{
	if (top->n < top->k)
	{
		top->hits[top->n] = hit;
		sift_up(top, top->n++);
	}
	else if (bm25_hit_before(&hit, &top->hits[0]))
	{
		top->hits[0] = hit;
		sift_down(top);
	}
}

/* Is a document dead?  Of the head's, the caller knows. */
bool
bm25_is_dead(Bm25Search *search, uint32 segment, uint32 doc)
{
	char		byte;

	if (segment == search->meta.nsegments || search->meta.segments[segment].ndead == 0)
		return false;
	bm25_stream_read(search->readers[segment], BM25_DEAD, doc / 8, 1, &byte);
	return byte >> (doc % 8) & 1;
}

/* Take a row if it is among the best, comes after the given one, and lives. */
void
bm25_top_add(Bm25Top *top, Bm25Search *search, Bm25Hit hit)
{
	if (top->n == top->k && !bm25_hit_before(&hit, &top->hits[0]))
		return;
	if (top->has_after && !bm25_hit_before(&top->after, &hit))
		return;
	if (bm25_is_dead(search, hit.segment, hit.doc))
		return;
	put_hit(top, hit);
}

static int
compare_hits(const void *a, const void *b)
{
	return bm25_hit_before(a, b) ? -1 : bm25_hit_before(b, a) ? 1 : 0;
}

/* Bring the rows into their order; that ends the heap. */
void
bm25_top_sort(Bm25Top *top)
{
	qsort(top->hits, top->n, sizeof(Bm25Hit), compare_hits);
}

/* The first document that a list may have at "doc" or after it; ndocs if there is none. */
static uint32
next_document(RankList *list, uint32 doc)
{
	Bm25Cursor *cursor = list->cursor;
	uint32		first;

	if (cursor->nblocks == 0)
		return bm25_cursor_seek(cursor, doc) ? cursor->docs[cursor->at] :
			cursor->reader->segment.ndocs;
	while (list->block < cursor->nblocks && cursor->heads[list->block].last < doc)
		list->block++;
	if (list->block == cursor->nblocks)
		return cursor->reader->segment.ndocs;
	if (cursor->block == list->block)
	{
		(void) bm25_cursor_seek(cursor, doc);
		return cursor->docs[cursor->at];
	}
	first = list->block == 0 ? 0 : cursor->heads[list->block - 1].last + 1;
	return Max(first, doc);
}

/* Set the bound of a list in a window; its "block" holds the window's first document. */
static void
set_bound(RankList *list, uint32 base, uint32 end)
{
	const Bm25Cursor *cursor = list->cursor;
	uint8		bound = 0;
	uint32		block;

	list->nblocks = 0;
	if (cursor->nblocks == 0)
	{
		list->bound = cursor->at < cursor->n && cursor->docs[cursor->n - 1] >= base ?
			list->list_bound : 0;
		return;
	}
	while (list->block < cursor->nblocks && cursor->heads[list->block].last < base)
		list->block++;
	for (block = list->block; block < cursor->nblocks; block++)
	{
		if (block > 0 && cursor->heads[block - 1].last >= end)
			break;
		bound = Max(bound, cursor->heads[block].bound);
	}
	list->nblocks = block - list->block;
	list->bound = list->nblocks > 0 ? points_of_bound(list, bound) : 0;
}

/* A document's points without what lists take away that are against it */
static uint32
take_away(Engine *engine, uint32 doc, uint32 points)
{
	for (int i = 0; i < engine->nagainst; i++)
	{
		RankList   *list = &engine->against[i];
		Bm25Cursor *cursor = list->cursor;

		if (bm25_cursor_seek(cursor, doc) && cursor->docs[cursor->at] == doc)
			points = bm25_add_posting(points, &list->weight, cursor);
	}
	return points;
}

/* Look a document up in the lists before the i'th, as long as it may be one of the best. */
static void
finish(Engine *engine, int i, uint32 doc, uint32 points)
{
	Bm25Top    *top = engine->top;
	int64		threshold = get_threshold(engine);

	while (--i >= 0)
	{
		RankList   *list = engine->order[i];
		Bm25Cursor *cursor = list->cursor;

		if ((int64) points + engine->rest[i + 1] <= threshold)
			return;
		if (list->bound == 0 || !bm25_cursor_seek(cursor, doc) || cursor->docs[cursor->at] != doc)
			continue;
		points = bm25_add_posting(points, &list->weight, cursor);
	}
	if ((int64) points <= threshold)
		return;
	if (engine->nagainst > 0)
		points = take_away(engine, doc, points);
	bm25_top_add(top, engine->search, (Bm25Hit) {points, engine->segment, doc});
}

/* Postings of a window, as many as a block has */
typedef struct Postings
{
	const uint32 *docs;
	uint32		n;
	uint32		points[BM25_BLOCK];
} Postings;

/*
 * The postings of a list from "doc" to "end" that stand in one block, and what they are
 * worth.  Returns where the next ones may begin; after "end", if there are none.
 */
static uint32
next_postings(Engine *engine, RankList *list, uint32 doc, uint32 end, Postings *postings)
{
	Bm25Cursor *cursor = list->cursor;
	uint32		at;

	postings->n = 0;
	if (doc > end || !bm25_cursor_seek(cursor, doc) || cursor->docs[cursor->at] > end)
		return end + 1;
	at = cursor->at;
	/* Most often, a window ends where a block does. */
	cursor->at = cursor->docs[cursor->n - 1] <= end ? cursor->n :
		cursor->loops->find(cursor->docs, at, cursor->n, end + 1);
	cursor->at = Min(cursor->at, at + BM25_BLOCK);
	postings->docs = cursor->docs + at;
	postings->n = cursor->at - at;
	bm25_cursor_load_tfs(cursor);
	if (list->weight.impact)
		engine->loops->impacts(list->weight.scaled, cursor->tfs + at, postings->n,
							   postings->points);
	else
	{
		bm25_have_length(engine->reader, doc);
		engine->loops->points(&list->weight, &engine->reader->lengths, postings->docs,
							  cursor->tfs + at, postings->n, postings->points);
	}
	return postings->docs[postings->n - 1] + 1;
}

/* Add up the points that a list gives to the documents of a window; returns to how many. */
static uint32
accumulate(Engine *engine, RankList *list, uint32 base, uint32 end)
{
	Postings	postings;
	uint32		n = 0;

	for (uint32 doc = base; doc <= end;)
	{
		doc = next_postings(engine, list, doc, end, &postings);
		for (uint32 i = 0; i < postings.n; i++)
		{
			uint32		slot = postings.docs[i] - base;

			engine->points[slot] += postings.points[i];
			engine->met[slot / BLOCK_LANES] = true;
		}
		n += postings.n;
	}
	return n;
}

/* What the points of the lists from "first" on must be above, so that a document counts */
static inline uint32
get_bar(const Engine *engine, int first)
{
	int64		bar = get_threshold(engine) - engine->rest[first];

	return bar > 0 ? (uint32) Min(bar, PG_UINT32_MAX) : 0;
}

/* Search a window in which only one list is essential. */
static void
search_list(Engine *engine, int first, uint32 base, uint32 end)
{
	static const bool all[BM25_BLOCK / BLOCK_LANES] = {1, 1, 1, 1, 1, 1, 1, 1};
	Postings	postings;
	uint32		found;

	for (uint32 doc = base; doc <= end;)
	{
		doc = next_postings(engine, engine->order[first], doc, end, &postings);
		memset(postings.points + postings.n, 0, sizeof(uint32) * (BM25_BLOCK - postings.n));
		found = engine->loops->select(postings.points, all, lengthof(all),
									  get_bar(engine, first), engine->places);
		for (uint32 i = 0; i < found; i++)
		{
			uint32		place = engine->places[i];

			if (postings.points[place] > get_bar(engine, first))
				finish(engine, first, postings.docs[place], postings.points[place]);
		}
	}
}

/* How many postings a list has in a window, roughly */
static double
guess_postings(const RankList *list, uint32 base, uint32 end)
{
	const Bm25Cursor *cursor = list->cursor;
	uint32		from;

	if (cursor->nblocks == 0)
		return cursor->n - cursor->at;
	if (list->nblocks != 1)
		return (double) list->nblocks * BM25_BLOCK;
	from = list->block == 0 ? 0 : cursor->heads[list->block - 1].last + 1;
	return BM25_BLOCK * (end - base + 1.0) / (cursor->heads[list->block].last - from + 1.0);
}

/*
 * Add lists before "first" as long as that is faster than looking documents up in them.
 * Returns how many documents are left; "first" is the first list that has been added.
 */
static uint32
narrow_down(Engine *engine, int *first, uint32 base, uint32 end, uint32 added)
{
	int			groups = (end - base) / BLOCK_LANES + 1;
	uint32		found;

	/* Many documents are not looked up one by one, if the next list can be added. */
	while (*first > 0 && guess_postings(engine->order[*first - 1], base, end) < added)
		added += accumulate(engine, engine->order[--*first], base, end);
	while ((found = engine->loops->select(engine->points, engine->met, groups,
										  get_bar(engine, *first), engine->places)) > 0 &&
		   *first > 0 && guess_postings(engine->order[*first - 1], base, end) <
		   (double) found * LOOKUP_POSTINGS)
		(void) accumulate(engine, engine->order[--*first], base, end);
	return found;
}

/* Search a window, with the lists from "first" on in "order" essential. */
static void
search_window(Engine *engine, int first, uint32 base, uint32 end)
{
	uint32		added = 0;
	uint32		found;

	for (int i = first; i < engine->n; i++)
		added += accumulate(engine, engine->order[i], base, end);
	found = narrow_down(engine, &first, base, end, added);
	for (uint32 i = 0; i < found; i++)
	{
		uint32		place = engine->places[i];

		if (engine->points[place] > get_bar(engine, first))
			finish(engine, first, base + place, engine->points[place]);
	}
	engine->loops->clear(engine->points, engine->met, (end - base) / BLOCK_LANES + 1);
}

/* Sort "order" by bound; few lists, mostly in order. */
static void
sort_order(Engine *engine)
{
	for (int i = 1; i < engine->n; i++)
	{
		RankList   *list = engine->order[i];
		int			j = i;

		for (; j > 0 && engine->order[j - 1]->bound > list->bound; j--)
			engine->order[j] = engine->order[j - 1];
		engine->order[j] = list;
	}
}

/* Have the bounds of the lists in a window. */
static void
set_bounds(Engine *engine, uint32 base, uint32 end)
{
	for (int i = 0; i < engine->n; i++)
		set_bound(&engine->lists[i], base, end);
	/* Lists of impacts stay as they are. */
	if (!engine->search->weights->impact)
		sort_order(engine);
	engine->rest[0] = 0;
	for (int i = 0; i < engine->n; i++)
		engine->rest[i + 1] = engine->rest[i] + engine->order[i]->bound;
}

/* Set the bound of a list of impacts. */
static void
bound_impacts(RankList *list, const Bm25Entry *entry)
{
	list->most = (double) list->weight.scaled * bm25_impact_half(entry->greatest);
	list->per_bound = list->most * (1 + IMPACT_ROUNDING) / 256;
	list->list_bound = points_of_bound(list, PG_UINT8_MAX);
}

/* Set the bound of a list of words. */
static void
bound_words(RankList *list, float drift)
{
	const Bm25Cursor *cursor = list->cursor;

	list->most = list->weight.scaled;
	list->per_bound = (double) list->weight.scaled * drift / 256;
	list->list_bound = points_of_bound(list, cursor->bound);
	if (cursor->nblocks == 0)
	{
		uint32		most = 0;

		for (uint32 k = 0; k < cursor->n; k++)
			most = Max(most, cursor->tfs[k]);
		list->list_bound = (int64) (list->weight.scaled *
									bm25_part(list->weight.norm, most, 1)) + 2;
	}
}

/* Open the lists of the segment; those that are cheapest to leave out come first. */
static void
open_lists(Engine *engine)
{
	Bm25Search *search = engine->search;
	Bm25Weights *weights = search->weights;
	float		drift = 1;

	if (engine->reader->segment.avglen > 0)
		drift = Min(Max(1, weights->avglen / engine->reader->segment.avglen / ROUNDING), MAX_DRIFT);
	for (int i = 0; i < search->nterms; i++)
		bm25_cursor_prefetch(engine->reader, &search->entries[engine->segment][i]);
	engine->lists = palloc(sizeof(RankList) * Max(search->nterms, 1));
	if (weights->against)
		engine->against = palloc(sizeof(RankList) * search->nterms);
	for (int i = 0; i < search->nterms; i++)
	{
		RankList	list = {NULL, bm25_weight(weights, i)};
		int			j = engine->n;

		if (search->terms[i].freq == 0 ||
			(list.cursor = bm25_search_cursor(search, engine->segment, i)) == NULL)
			continue;
		if (list.weight.scaled < 0)
		{
			engine->against[engine->nagainst++] = list;
			continue;
		}
		if (weights->impact)
			bound_impacts(&list, &search->entries[engine->segment][i]);
		else
			bound_words(&list, drift);
		list.price = (double) list.list_bound / (weights->impact ? list.cursor->df : 1);
		for (; j > 0 && engine->lists[j - 1].price > list.price; j--)
			engine->lists[j] = engine->lists[j - 1];
		engine->lists[j] = list;
		engine->n++;
	}
}

/*
 * Each block has a posting that comes up to its bound.  So if k blocks of a list have at
 * least some bound, k documents have the points of it, and no search is needed to know.
 */
static void
set_floor(Engine *engine)
{
	Bm25Search *search = engine->search;
	const Bm25Segment *segment = &engine->reader->segment;
	double		drift = 1;

	/* Rows that are dead, or were handed out before, do not count; points may be taken away. */
	if (engine->top->has_after || search->meta.segments[engine->segment].ndead > 0 ||
		segment->avglen <= 0 || engine->nagainst > 0)
		return;
	/* Parts are smaller, at most by this factor, if the average length has become less. */
	if (!search->weights->impact)
		drift = Min(1, search->weights->avglen / segment->avglen);
	for (int i = 0; i < engine->n; i++)
	{
		const Bm25Cursor *cursor = engine->lists[i].cursor;
		uint32		blocks[PG_UINT8_MAX + 1] = {0};
		uint32		above = 0;
		int			bound = PG_UINT8_MAX;

		if (cursor->nblocks < engine->top->k)
			continue;
		for (uint32 block = 0; block < cursor->nblocks; block++)
			blocks[cursor->heads[block].bound]++;
		while ((above += blocks[bound]) < engine->top->k)
			bound--;
		engine->floor = Max(engine->floor, (int64) (engine->lists[i].most * drift * ROUNDING *
													bound / 256) - 2);
	}
}

/*
 * The end of a window that begins at "base": of a block, or some more, but within a page
 * of lengths.
 */
static uint32
window_end(Engine *engine, int first, uint32 base, uint32 shortest)
{
	uint32		end = engine->reader->segment.ndocs - 1;

	for (int i = first; i < engine->n; i++)
	{
		RankList   *list = &engine->lists[i];

		if (list->cursor->nblocks > 0 && list->block < list->cursor->nblocks)
			end = Min(end, list->cursor->heads[list->block].last);
	}
	if (end - base < shortest)
		end = base + shortest - 1;
	if (end - base >= WINDOW)
		end = base + WINDOW - 1;
	return Min(end, bm25_last_length(engine->reader, base));
}

/* How many lists are not essential in a window: they cannot lift a document to the best. */
static int
count_inessential(const Engine *engine)
{
	int64		threshold = get_threshold(engine);
	int			first = 0;

	while (first < engine->n && engine->rest[first + 1] <= threshold)
		first++;
	return first;
}

/* Where the next window begins; the lists from "first" on can bring one. */
static uint32
begin_window(Engine *engine, uint32 doc, int *first)
{
	int64		threshold = get_threshold(engine);
	int64		sum = 0;
	uint32		base = engine->reader->segment.ndocs;

	CHECK_FOR_INTERRUPTS();
	for (*first = 0; *first < engine->n; (*first)++)
		if ((sum += engine->lists[*first].list_bound) > threshold)
			break;
	for (int i = *first; i < engine->n; i++)
		base = Min(base, next_document(&engine->lists[i], doc));
	return base;
}

/* Bring a list back to the beginning of a window. */
static void
rewind_list(RankList *list)
{
	Bm25Cursor *cursor = list->cursor;

	if (cursor->nblocks > 0 && cursor->block != PG_UINT32_MAX &&
		cursor->block != list->block && list->block < cursor->nblocks)
		bm25_cursor_load(cursor, list->block);
	cursor->at = 0;
}

static int
compare_docs(const void *a, const void *b)
{
	uint32		x = ((const Bm25Hit *) a)->doc;
	uint32		y = ((const Bm25Hit *) b)->doc;

	return x < y ? -1 : x > y;
}

/*
 * Add the points of a list to those of the documents of a window that are wanted: "n" of them,
 * in "places".
 */
static void
look_up(Engine *engine, RankList *list, uint32 base, uint32 end, uint32 n)
{
	Bm25Cursor *cursor = list->cursor;
	bool		few = guess_postings(list, base, end) > (double) n * IMPACT_LOOKUP_POSTINGS;
	uint32		hits[BM25_BLOCK + BLOCK_LANES];

	for (uint32 i = 0; few && i < n; i++)
	{
		uint32		place = engine->places[i];

		if (!bm25_cursor_seek(cursor, base + place))
			return;
		if (cursor->docs[cursor->at] == base + place)
			engine->points[place] = bm25_add_posting(engine->points[place], &list->weight, cursor);
	}
	for (uint32 doc = base; !few && doc <= end;)
	{
		uint32		to;
		uint32		found;

		if (!bm25_cursor_seek(cursor, doc) || cursor->docs[cursor->at] > end)
			return;
		to = cursor->docs[cursor->n - 1] <= end ? cursor->n :
			cursor->loops->find(cursor->docs, cursor->at, cursor->n, end + 1);
		found = engine->loops->match(cursor->docs, cursor->at, to, base, engine->wanted, hits);
		for (uint32 i = 0; i < found; i++)
		{
			uint32	   *points = &engine->points[cursor->docs[hits[i]] - base];

			cursor->at = hits[i];
			*points = bm25_add_posting(*points, &list->weight, cursor);
		}
		doc = cursor->docs[to - 1] + 1;
		cursor->at = to;
	}
}

/* Want some documents of a window, or no longer. */
static void
set_wanted(Engine *engine, uint32 n, bool wanted)
{
	for (uint32 i = 0; i < n; i++)
	{
		uint32		place = engine->places[i];
		uint32		bit = (uint32) 1 << place % 32;

		if (wanted)
			engine->wanted[place / 32] |= bit;
		else
			engine->wanted[place / 32] &= ~bit;
	}
}

/* Take a document of a window whose points from all lists are known, if it is one of the best. */
static void
take_document(Engine *engine, uint32 doc, uint32 points)
{
	if ((int64) points <= get_threshold(engine))
		return;
	if (engine->nagainst > 0)
		points = take_away(engine, doc, points);
	bm25_top_add(engine->top, engine->search, (Bm25Hit) {points, engine->segment, doc});
}

/*
 * So that there is a threshold: look at the documents of a window that have the most
 * points in the lists from "first" on.  Leaves them in "seeds", ascending.
 */
static void
plant_seeds(Engine *engine, int first, uint32 base, uint32 end, Bm25Top *seeds)
{
	for (uint32 from = base; from <= end; from += WINDOW)
	{
		int			groups = (Min(WINDOW - 1, end - from)) / BLOCK_LANES + 1;
		uint32		start = from - base;
		uint32		found = engine->loops->select(engine->points + start,
												  engine->met + start / BLOCK_LANES, groups,
												  Max(bm25_top_threshold(seeds), 0), engine->places);

		for (uint32 i = 0; i < found; i++)
			put_hit(seeds, (Bm25Hit) {engine->points[start + engine->places[i]], engine->segment,
					from + engine->places[i]});
	}
	qsort(seeds->hits, seeds->n, sizeof(Bm25Hit), compare_docs);
	for (int i = 0; i < seeds->n; i++)
		engine->places[i] = seeds->hits[i].doc - base;
	set_wanted(engine, seeds->n, true);
	for (int i = first; --i >= 0;)
	{
		look_up(engine, engine->order[i], base, end, seeds->n);
		rewind_list(engine->order[i]);
	}
	set_wanted(engine, seeds->n, false);
	for (int i = 0; i < seeds->n; i++)
		take_document(engine, seeds->hits[i].doc, engine->points[engine->places[i]]);
	for (int i = 0; i < engine->nagainst; i++)
		rewind_list(&engine->against[i]);
}

/* Take the seeds away from documents that are to be looked at. */
static uint32
drop_seeds(Engine *engine, const Bm25Top *seeds, uint32 base, uint32 found)
{
	uint32		kept = 0;
	int			seed = 0;

	for (uint32 i = 0; i < found; i++)
	{
		uint32		place = engine->places[i];

		while (seed < seeds->n && seeds->hits[seed].doc < base + place)
			seed++;
		if (seed == seeds->n || seeds->hits[seed].doc != base + place)
			engine->places[kept++] = place;
	}
	return kept;
}

/* Of some documents, keep those that may be among the best; the others are not wanted. */
static uint32
keep_above(Engine *engine, int first, uint32 found)
{
	uint32		bar = get_bar(engine, first);
	uint32		kept = 0;

	for (uint32 i = 0; i < found; i++)
	{
		uint32		place = engine->places[i];
		uint32		below = engine->points[place] <= bar;

		engine->wanted[place / 32] &= ~(below << place % 32);
		engine->places[kept] = place;
		kept += !below;
	}
	return kept;
}

/* Search a window of lists of impacts. */
static void
search_impacts(Engine *engine, uint32 base, uint32 end)
{
	Bm25Top    *top = engine->top;
	Bm25Top		seeds = {.k = top->k};
	int			first = count_inessential(engine);
	int			added = engine->n;
	uint32		n = 0;
	uint32		found;

	/* Some may be dead, or have been handed out before. */
	if (top->has_after || engine->search->meta.segments[engine->segment].ndead > 0)
		seeds.k += top->k / 2 + 8;
	if (top->n < top->k && seeds.k <= MAX_SEEDS)
	{
		seeds.hits = palloc(sizeof(Bm25Hit) * seeds.k);
		while (added > first && engine->rest[added] > engine->rest[engine->n] * SEED_SHARE)
			n += accumulate(engine, engine->order[--added], base, end);
		plant_seeds(engine, added, base, end, &seeds);
		engine->ties = 1;
		first = count_inessential(engine);
	}
	while (added > first)
		n += accumulate(engine, engine->order[--added], base, end);
	/* Of many documents, few are left with one more list: these need not be found. */
	if (added > 0 && guess_postings(engine->order[added - 1], base, end) < n / ONE_MORE_SHARE)
		(void) accumulate(engine, engine->order[--added], base, end);
	first = added;
	while ((found = engine->loops->select(engine->points, engine->met,
										  (end - base) / BLOCK_LANES + 1,
										  get_bar(engine, first), engine->places)) > 0 &&
		   first > 0 && guess_postings(engine->order[first - 1], base, end) < found)
		(void) accumulate(engine, engine->order[--first], base, end);
	found = drop_seeds(engine, &seeds, base, found);
	set_wanted(engine, found, true);
	while (first > 0 && found > 0)
	{
		look_up(engine, engine->order[--first], base, end, found);
		found = keep_above(engine, first, found);
	}
	set_wanted(engine, found, false);
	for (uint32 i = 0; i < found; i++)
		take_document(engine, base + engine->places[i], engine->points[engine->places[i]]);
	engine->loops->clear(engine->points, engine->met, (end - base) / BLOCK_LANES + 1);
	engine->ties = 0;
	if (seeds.hits != NULL)
		pfree(seeds.hits);
}

/* Search a segment of an index of sparse vectors. */
static void
rank_impacts(Engine *engine)
{
	uint32		ndocs = engine->reader->segment.ndocs;

	for (uint32 doc = 0; doc < ndocs;)
	{
		int			first;
		uint32		base = begin_window(engine, doc, &first);
		uint32		end;

		if (base >= ndocs)
			break;
		end = base + Min(ndocs - base, IMPACT_WINDOW) - 1;
		set_bounds(engine, base, end);
		search_impacts(engine, base, end);
		doc = end + 1;
	}
}

/* Search a segment in windows. */
static void
rank_words(Engine *engine)
{
	uint32		ndocs = engine->reader->segment.ndocs;
	uint32		shortest = 1;
	uint32		windows = 0;
	uint32		skipped = 0;
	uint64		covered = 0;

	for (uint32 doc = 0; doc < ndocs;)
	{
		int			first;
		uint32		base = begin_window(engine, doc, &first);
		uint32		end;

		if (base >= ndocs)
			break;
		end = window_end(engine, first, base, shortest);
		set_bounds(engine, base, end);
		first = count_inessential(engine);
		if (first == engine->n - 1)
			search_list(engine, first, base, end);
		else if (first < engine->n)
			search_window(engine, first, base, end);
		else
			skipped++;
		covered += end - base + 1;
		doc = end + 1;
		if (++windows == WATCHED)
		{
			if (skipped < WATCHED / 4 && covered < WATCHED * SHORT_WINDOW)
				shortest = Min(WINDOW, Max(MIN_WINDOW, shortest * 4));
			windows = skipped = covered = 0;
		}
	}
}

/* Add the best rows of a segment to those of the segments before. */
void
bm25_rank_segment(Bm25Search *search, uint32 segment, Bm25Top *top)
{
	Engine	   *engine = palloc0(sizeof(Engine));
	bool		impact = search->weights->impact;
	Space	   *space = impact ? take_space(IMPACT_WINDOW, LISTS_ROOM) : take_space(WINDOW, 0);
	double		postings = 0;

	engine->search = search;
	engine->reader = search->readers[segment];
	engine->segment = segment;
	engine->loops = bm25_loops();
	engine->points = space->points;
	engine->met = space->met;
	engine->places = space->places;
	engine->wanted = space->wanted;
	engine->top = top;
	engine->reader->room = space->lists;
	engine->reader->room_left = impact ? LISTS_ROOM : 0;
	engine->reader->pins_left = impact ? BM25_PINS : 0;
	open_lists(engine);
	for (int i = 0; i < engine->n; i++)
		postings += engine->lists[i].cursor->df;
	if (engine->n > 0 && !impact)
		bm25_keep_lengths(engine->reader, postings);
	engine->floor = -1;
	if (!impact)
		set_floor(engine);
	engine->order = palloc(sizeof(RankList *) * Max(engine->n, 1));
	engine->rest = palloc(sizeof(int64) * (engine->n + 1));
	for (int i = 0; i < engine->n; i++)
		engine->order[i] = &engine->lists[i];
	if (impact)
		rank_impacts(engine);
	else
		rank_words(engine);
	for (int i = 0; i < engine->n; i++)
		bm25_unpin(&engine->lists[i].cursor->data_page.buffer);
	for (int i = 0; i < engine->nagainst; i++)
		bm25_unpin(&engine->against[i].cursor->data_page.buffer);
	engine->reader->room_left = 0;
	engine->reader->pins_left = 0;
	bm25_reader_release(engine->reader);
	space->in_use = false;
	pfree(engine);
}
