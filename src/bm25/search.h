/*-------------------------------------------------------------------------
 *
 * search.h
 *		A query, and what it finds in an index.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_BM25_SEARCH_H
#define PIRAMID_BM25_SEARCH_H

#include "bm25/bm25.h"

/* Lists may have so many pages pinned: a backend finds eight pins fast. */
#define BM25_PINS 6

/* The SQL type bm25query */
typedef struct Bm25QueryData
{
	int32		vl_len_;		/* varlena header */
	uint32		kind_rows;		/* a Bm25QueryKind; shifted, how many rows a plan asks for, or 0 */
	Oid			index;			/* or invalid: whichever the table has */
	uint32		name_size;		/* of the name of an index that there was none of yet, or 0 */
	char		data[FLEXIBLE_ARRAY_MEMBER];	/* text, or a whole tsquery; behind the name */
} Bm25QueryData;

typedef Bm25QueryData *Bm25Query;

typedef enum Bm25QueryKind
{
	BM25_QUERY_TEXT,
	BM25_QUERY_TSQUERY
} Bm25QueryKind;

#define BM25_ROWS_SHIFT 16
#define bm25_query_kind(query) ((Bm25QueryKind) ((query)->kind_rows & ((1 << BM25_ROWS_SHIFT) - 1)))
#define bm25_query_rows(query) ((int) ((query)->kind_rows >> BM25_ROWS_SHIFT))

/* Are two queries the same, however many rows are asked for? */
static inline bool
bm25_same_query(const Bm25QueryData *a, const Bm25QueryData *b)
{
	return VARSIZE(a) == VARSIZE(b) && bm25_query_kind(a) == bm25_query_kind(b) &&
		memcmp(&a->index, &b->index, VARSIZE(a) - offsetof(Bm25QueryData, index)) == 0;
}

/* As it is stored, and with the index that it names */
#define DatumGetStoredBm25Query(datum) ((Bm25Query) PG_DETOAST_DATUM(datum))
#define DatumGetBm25Query(datum) bm25_find_named(DatumGetStoredBm25Query(datum))
#define PG_GETARG_BM25QUERY(n) DatumGetBm25Query(PG_GETARG_DATUM(n))
#define bm25_query_size(query) (VARSIZE(query) - offsetof(Bm25QueryData, data))

/* A word of a query */
typedef struct Bm25Term
{
	const char *word;
	int			len;
	bool		prefix;
	uint32		freq;			/* how often the order asks for it; 0: only a condition does */
	float		weight;			/* of a sparse vector; negative: the list is against a row */
	uint32		df;
} Bm25Term;

/* What documents must match: a tsquery, or any of some words */
typedef struct Bm25Match
{
	TSQuery		tree;			/* or NULL: any word will do */
	bool		plain;			/* all of some words, and phrases of words */
	int		   *terms;			/* of the tree's items */
	uint64	   *any;			/* without a tree: set of terms */
	uint64	   *required;		/* a document without one of these does not match */
	bool		matches_nothing;	/* would a document without any of the words match? */
} Bm25Match;

/* A document of the head */
typedef struct Bm25HeadDocument
{
	ItemPointerData tid;
	bool		dead;
	uint32		length;
	Bm25Word   *words;			/* of each term, or NULL: none occurs */
} Bm25HeadDocument;

/*
 * Tells where words of a document stand.  "read" returns the positions of a term that
 * the document has, palloc'd, or sets *n to -1: they are not known.
 */
typedef struct Bm25Positions
{
	WordEntryPos *(*read) (struct Bm25Positions *positions, int term, int *n);
} Bm25Positions;

/* What statistics make of the words that the order asks for */
typedef struct Bm25Weights
{
	Bm25Norm	norm;
	float		avglen;
	int			shift;			/* points are scores times 2^shift */
	int			n;
	float	   *scaled;			/* a term's weight times 2^shift */
	/* of sparse vectors */
	bool		impact;
	bool		against;		/* some lists make rows worse: their weights are negative */
	double		lost;			/* that much a product may be above what points tell */
} Bm25Weights;

/* A query and the state of the index that it is asked about */
typedef struct Bm25Search
{
	Relation	rel;
	Oid			named;			/* whose statistics count: rel, or a partitioned index */
	Oid			config;
	Bm25Term   *terms;
	int			nterms;
	int			nfor;			/* of a sparse vector: the others are against a row */
	int			room;
	int		   *places;			/* a hash table of their numbers, of twice the room */
	int			mask_words;		/* of a set of terms */
	Bm25Match  *matches;		/* all of them must match */
	int			nmatches;
	bool		ordered;
	bool		estimated;		/* only counts of postings are asked for, about */
	bool		positional;		/* does a match depend on positions? */
	bool		recheck;		/* do matches need the text itself? */
	MemoryContext scratch;		/* of one document */
	/* since bm25_search_open */
	Bm25MetaPageData meta;
	Bm25Reader **readers;
	Bm25Entry **entries;		/* of each segment, of each term; df 0: it is not there */
	Bm25Cursor ***prefixes;		/* of each segment, of each term: lists of prefixes */
	Bm25HeadDocument *head;
	uint32		nhead;
	double		ndocs;
	double		sumlen;
	Bm25Weights *weights;
} Bm25Search;

/* A row that is found; segment is meta.nsegments for the head */
typedef struct Bm25Hit
{
	uint32		points;
	uint32		segment;
	uint32		doc;
} Bm25Hit;

/* The best k rows that come after a given one */
typedef struct Bm25Top
{
	Bm25Hit    *hits;			/* a heap, the last in order on top */
	int			n;
	int			k;
	bool		has_after;
	Bm25Hit		after;
} Bm25Top;

/* Does a come before b in the order of rows? */
static inline bool
bm25_hit_before(const Bm25Hit *a, const Bm25Hit *b)
{
	if (a->points != b->points)
		return a->points > b->points;
	if (a->segment != b->segment)
		return a->segment < b->segment;
	return a->doc < b->doc;
}

/* A posting with as many points counts if none is better: what is not above this does not. */
static inline int64
bm25_top_threshold(const Bm25Top *top)
{
	return top->n < top->k ? -1 : (int64) top->hits[0].points;
}

/* The weight of a term */
static inline Bm25Weight
bm25_weight(const Bm25Weights *weights, int term)
{
	return (Bm25Weight) {weights->scaled[term], weights->norm, weights->impact};
}

/* What the posting at which a cursor stands makes of its document's points */
static inline uint32
bm25_add_posting(uint32 points, const Bm25Weight *weight, Bm25Cursor *cursor)
{
	uint32		tf = bm25_cursor_tf(cursor);

	if (weight->impact)
		return bm25_add_impact(points, weight->scaled, tf);
	return points + bm25_points(weight->scaled, weight->norm, tf,
								bm25_length(cursor->reader, cursor->docs[cursor->at]));
}

/* functions in query.c */
extern void bm25_search_init(Bm25Search *search, Relation rel);
extern void bm25_search_order_by(Bm25Search *search, Bm25Query query);
extern void bm25_search_match(Bm25Search *search, Bm25Query query);
extern bool bm25_order_matches(Bm25Search *search);
extern bool bm25_matches(Bm25Search *search, const uint64 *mask, Bm25Positions *positions,
						 bool *recheck);
extern Bm25Query bm25_find_named(Bm25Query query);
extern Bm25Query bm25_make_query(Bm25QueryKind kind, Oid index, const char *data, Size size);
extern Bm25Query bm25_query_of_tsquery(TSQuery tree, Oid index);

/* functions in impact.c */
extern void bm25_search_sparse(Bm25Search *search, const struct SparseVector *query);
extern bool bm25_may_have_term(const Bm25Search *search, const Bm25Segment *segment,
							   const Bm25Term *term);
extern Bm25Word *bm25_count_impacts(Bm25Search *search, const char *p, const char *end);
extern Bm25Weights *bm25_impact_weights(const Bm25Search *search);
extern double bm25_impact_distance(const Bm25Weights *weights, uint32 points);

/* functions in search.c */
extern bool bm25_is_named(Oid index, Oid named);
extern Oid	bm25_any_leaf(Oid named);
extern void bm25_check_partitions(const Bm25Search *search, Oid named, bool ordered, bool words);
extern void bm25_search_open(Bm25Search *search);
extern Bm25Cursor *bm25_search_cursor(Bm25Search *search, uint32 segment, int term);
extern double bm25_score(const Bm25Weights *weights, uint32 points);
extern uint32 bm25_head_points(Bm25Search *search, const Bm25HeadDocument *document);

/* functions in engine.c */
extern bool bm25_is_dead(Bm25Search *search, uint32 segment, uint32 doc);
extern void bm25_top_add(Bm25Top *top, Bm25Search *search, Bm25Hit hit);
extern void bm25_top_sort(Bm25Top *top);
extern void bm25_rank_segment(Bm25Search *search, uint32 segment, Bm25Top *top);

/* functions in boolean.c */
typedef void (*Bm25Found) (void *arg, uint32 segment, uint32 doc, uint32 points, bool recheck);
extern void bm25_match_segment(Bm25Search *search, uint32 segment, const Bm25Top *top,
							   Bm25Found found, void *arg);
extern void bm25_match_head(Bm25Search *search, Bm25Found found, void *arg);

/* functions in scan.c */
extern bool bm25_scanned_score(Datum value, Bm25Query query, double *score);

#endif							/* PIRAMID_BM25_SEARCH_H */
