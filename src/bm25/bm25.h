/*-------------------------------------------------------------------------
 *
 * bm25.h
 *		The map of the bm25 access method: what its files share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_BM25_H
#define PIRAMID_BM25_H

#include "compat.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/transam.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"
#include "nodes/tidbitmap.h"
#include "tsearch/ts_utils.h"
#include "utils/rel.h"

#include "bm25/block.h"
#include "bm25/bm25_page.h"
#include "page/page.h"

/* Strategies of operator classes: <@>, by which rows are ordered, @@, and a tsvector's own @@ */
#define BM25_ORDER 1
#define BM25_MATCH 2
#define BM25_MATCH_TSQUERY 3
#define BM25_STRATEGIES 3

/* The support function of operator classes of sparse vectors, whose <#> is BM25_ORDER */
#define BM25_SPARSEVEC_PROC 1
#define BM25_PROCS 1

#define BM25_DEFAULT_K1 1.2
#define BM25_DEFAULT_B 0.75

/* A word of a document or of a query */
typedef struct Bm25Word
{
	char	   *word;
	int			len;
	uint32		tf;
	WordEntryPos position;		/* of an occurrence, while a text is parsed */
	uint32		position_bytes;
	const char *positions;		/* as they are stored; NULL: not known */
} Bm25Word;

/* A text has at most so many words, repeated ones too. */
#define BM25_MOST_WORDS ((int) (MaxAllocSize / sizeof(ParsedWord)))

/* A document: its different words, ascending */
typedef struct Bm25Document
{
	Bm25Word   *words;
	int			nwords;
	uint32		length;			/* of all words, repeated ones too */
} Bm25Document;

/* What has been read of a page of a stream: the whole of one that is asked for again */
typedef struct Bm25Kept
{
	uint32		number;			/* of the page, plus 1 */
	bool		whole;
	char	   *bytes;
	bool		pins;			/* the page itself, instead of a copy of it */
	Buffer		buffer;
	const char *page;
} Bm25Kept;

/* A segment that is being read */
typedef struct Bm25Reader
{
	Relation	rel;
	Bm25Segment segment;
	Bm25SegmentHeader *header;
	const Bm25Extent *extents[BM25_STREAMS];
	/* so many lengths of documents, in a pinned page or kept by the backend */
	Buffer		lengths_buffer;
	Bm25Lengths lengths;
	uint32		nlengths;
	/* heap TIDs, and an inner page of the dictionary, likewise */
	Buffer		tids_buffer;
	uint32		tids_page;
	Buffer		inner_buffer;
	uint32		inner_page;
	const char *inner;
	/* for lists that are read as a whole, as long as a search lasts; else they are palloc'd */
	char	   *room;
	Size		room_left;
	int			pins_left;		/* so many long lists may have a page pinned meanwhile */
} Bm25Reader;

/* Where a term's postings stand */
typedef struct Bm25Entry
{
	uint32		df;
	Bm25Form	form;
	uint8		bound;			/* of a list of blocks */
	uint32		greatest;		/* impact, if the index has them */
	uint32		bytes;			/* of a list without */
	uint64		offset;			/* of these, or of the blocks' data */
	uint64		heads;
	uint64		positions;		/* where they begin, if the index has them */
	uint64		position_bytes;
	char		bytes_inline[BM25_INLINE];
} Bm25Entry;

/* A walk through the dictionary of a segment */
typedef struct Bm25DictWalk
{
	Bm25Reader *reader;
	uint32		leaf;			/* the page in "page" */
	uint32		nleaves;
	int			entry;			/* the next one in it */
	const char *next;
	const char *page;			/* a copy, or pinned */
	Buffer		buffer;
	bool		pinned;
	uint64		positions;		/* where those of the next term begin */
	char		term[BM25_MAX_TERM];
	int			len;
	Bm25Entry	found;
} Bm25DictWalk;

/* Postings of a term in a segment, met in the order of documents */
typedef struct Bm25Cursor
{
	Bm25Reader *reader;
	const Bm25BlockLoops *loops;
	uint32		df;
	uint32		nblocks;		/* 0: docs and tfs are the whole list */
	Bm25BlockHead *heads;
	uint64		data;			/* of the blocks, in the stream of postings */
	uint32		block;			/* that docs and tfs hold */
	uint32		n;				/* of these */
	uint32		at;
	uint32	   *docs;
	uint32	   *tfs;
	uint8		bound;			/* as in a block's head */
	bool		has_tfs;		/* of the block */
	Bm25Kept	data_page;
	char	   *all;			/* the blocks' data, if they were read at once; not as allocated */
	Size		all_size;
	const char *packed;			/* the block's bytes */
	uint32		least;			/* what its frequencies are counted from */
	/* positions; read when somebody asks for them */
	uint64		positions;		/* where the list's begin */
	uint64		position_bytes;
	uint64	   *position_starts;	/* where those of each block begin, and the last end */
	const char *position_data;	/* of a block, or of a list without */
	Bm25Kept	position_page;
	Size		position_room;		/* in its bytes */
	uint32		position_block; /* which one; PG_UINT32_MAX: none */
	uint32		position_size;
	uint32		position_at;	/* the posting whose positions are the next ones in it */
	uint32		position_next;
} Bm25Cursor;

/* Free runs of blocks, by first block; whoever holds the maintenance lock has one */
typedef struct Bm25Space
{
	Relation	rel;
	Bm25FreeRun *runs;
	int			nruns;
	int			room;
	bool		lost;			/* the list has no room for some */
} Bm25Space;

/* A posting on its way into a segment */
typedef struct Bm25Posting
{
	uint32		doc;
	uint32		tf;
	const char *positions;		/* as they are stored */
	uint32		position_bytes;	/* 0: the index has none */
} Bm25Posting;

/* Postings term by term, in ascending order of terms and documents */
typedef struct Bm25Source
{
	bool		(*next_term) (struct Bm25Source *source);
	bool		(*next_posting) (struct Bm25Source *source, Bm25Posting *posting);
	const char *term;
	int			len;
} Bm25Source;

static inline int
bm25_compare_terms(const char *a, int alen, const char *b, int blen)
{
	int			cmp = memcmp(a, b, Min(alen, blen));

	return cmp != 0 ? cmp : (alen > blen) - (alen < blen);
}

/* functions in bm25_page.c */
extern void bm25_init_page(Page page, int kind, uint64 generation);
extern void bm25_set_used(Page page, int used);
extern bool bm25_is_leftover(Relation rel, BlockNumber block);
extern Buffer bm25_get_page(Relation rel, BlockNumber block, int lockmode, int kind,
							uint64 generation);
extern Buffer bm25_extend(Relation rel);
extern void bm25_write_page(Relation rel, BlockNumber block, int kind, uint64 generation,
							const char *data, int size);
extern bool bm25_is_scanned(IndexScanDesc scan, const char *value);
extern BlockNumber bm25_extend_run(Relation rel, uint32 pages);
extern void bm25_create(Relation rel, ForkNumber fork, const Bm25MetaPageData *meta);
extern void bm25_meta_read(Relation rel, Bm25MetaPageData *meta);
extern void bm25_free_read(Relation rel, Bm25Space *space);
typedef void (*Bm25MetaChange) (Bm25MetaPage meta, void *arg);
extern void bm25_publish(Relation rel, Bm25MetaChange change, void *arg, const Bm25Space *space);
extern int64 bm25_prewarm(Relation rel);
extern void bm25_log_reuse(Relation rel, BlockNumber block, FullTransactionId horizon);

/* functions in bm25_head_page.c */
extern uint32 bm25_head_append(Relation rel, Bm25Record *record, const char *terms);
extern void bm25_head_close(Relation rel);
extern Bm25HeadPage bm25_head_read(Relation rel, BlockNumber block, char *copy,
								   uint64 *generation);
extern char *bm25_overflow_read(Relation rel, BlockNumber block, uint32 bytes,
								Bm25Space *pages);
extern const char *bm25_record_terms(Relation rel, const Bm25Record *record, Bm25Space *pages);
extern uint32 bm25_head_delete(Relation rel, BlockNumber *block, uint64 *generation,
							   IndexBulkDeleteCallback callback, void *state, uint32 *live);
extern BlockNumber bm25_head_settled_blocks(Relation rel);

/* functions in bm25_segment_page.c */
extern Bm25Reader *bm25_reader_open(Relation rel, const Bm25Segment *segment);
extern void bm25_stream_prefetch(Bm25Reader *reader, Bm25Stream stream, uint64 offset, uint64 size);
extern void bm25_stream_page(Bm25Reader *reader, Bm25Stream stream, uint32 number, char *copy);
extern const char *bm25_stream_pin(Bm25Reader *reader, Bm25Stream stream, uint32 number,
								   Buffer *buffer);
extern void bm25_unpin(Buffer *buffer);
extern void bm25_stream_read(Bm25Reader *reader, Bm25Stream stream, uint64 offset, Size size,
							 char *to);
extern const char *bm25_stream_near(Bm25Reader *reader, Bm25Stream stream, uint64 offset, int size,
									Bm25Kept *kept);
extern void bm25_tids(Bm25Reader *reader, uint32 first, int n, ItemPointer tids);
extern void bm25_tid(Bm25Reader *reader, uint32 doc, ItemPointer tid);
extern void bm25_pin_lengths(Bm25Reader *reader, uint32 doc);
extern void bm25_keep_lengths(Bm25Reader *reader, double postings);
extern void bm25_reader_release(Bm25Reader *reader);
extern void bm25_set_dead(Bm25Reader *reader, uint32 page, const char *bits);

/* The last document whose length is at hand with this one's */
static inline uint32
bm25_last_length(const Bm25Reader *reader, uint32 doc)
{
	uint32		per_page = BM25_SPACE / reader->segment.width;

	if (reader->nlengths >= reader->segment.ndocs)
		return reader->segment.ndocs - 1;
	return Min(reader->segment.ndocs - doc, per_page - doc % per_page) + doc - 1;
}

/* Have the length of a document at hand, until bm25_reader_release(). */
static inline void
bm25_have_length(Bm25Reader *reader, uint32 doc)
{
	if (doc - reader->lengths.first >= reader->nlengths)
		bm25_pin_lengths(reader, doc);
}

/* The length of a document; it stays at hand likewise. */
static inline uint32
bm25_length(Bm25Reader *reader, uint32 doc)
{
	const char *from;
	uint16		two;
	uint32		four;

	bm25_have_length(reader, doc);
	from = reader->lengths.bytes + (Size) (doc - reader->lengths.first) * reader->segment.width;
	switch (reader->segment.width)
	{
		case 1:
			return (uint8) *from;
		case 2:
			memcpy(&two, from, sizeof(two));
			return two;
		default:
			memcpy(&four, from, sizeof(four));
			return four;
	}
}

/* A record of a page of the head */
#define bm25_first_record(page) ((const Bm25Record *) ((char *) (page) + sizeof(Bm25HeadPageData)))
static inline Size
bm25_record_size(const Bm25Record *record)
{
	return MAXALIGN(sizeof(Bm25Record) +
					(record->flags & BM25_RECORD_OVERFLOW ? sizeof(BlockNumber) : record->bytes));
}

/* functions in space.c */
extern void bm25_space_load(Bm25Space *space, Relation rel, Relation heap);
extern void bm25_space_add(Bm25Space *space, Bm25Extent run, uint64 xid);
extern Bm25Extent bm25_space_take(Bm25Space *space, uint32 pages, bool exactly);
extern void bm25_space_take_largest(Bm25Space *space, uint32 pages, Bm25Extent *taken);
extern void bm25_space_drop_segment(Bm25Space *space, const Bm25Segment *segment, uint64 xid);
extern uint32 bm25_space_find_lost(Bm25Space *space, const Bm25MetaPageData *meta);
extern void bm25_space_tidy(Bm25Space *space);

/* functions in reader.c */
extern bool bm25_find_term(Bm25Reader *reader, const char *term, int len, Bm25Entry *entry);
extern void bm25_walk_begin(Bm25DictWalk *walk, Bm25Reader *reader, const char *from, int len);
extern bool bm25_walk_next(Bm25DictWalk *walk);
extern void bm25_cursor_prefetch(Bm25Reader *reader, const Bm25Entry *entry);
extern Bm25Cursor *bm25_cursor_open(Bm25Reader *reader, const Bm25Entry *entry);
extern uint64 bm25_prefix_postings(Bm25Reader *reader, const char *prefix, int len);
extern Bm25Cursor *bm25_cursor_of_prefix(Bm25Reader *reader, const char *prefix, int len);
extern void bm25_cursor_load(Bm25Cursor *cursor, uint32 block);
extern void bm25_cursor_load_tfs(Bm25Cursor *cursor);
extern uint32 bm25_cursor_tf(const Bm25Cursor *cursor);
extern bool bm25_cursor_seek(Bm25Cursor *cursor, uint32 doc);
extern uint8 *bm25_dead_bits(Bm25Reader *reader);

/* functions in entries.c */
extern bool bm25_find_dimension(Bm25Reader *reader, const char *term, Bm25Entry *entry);

/* functions in positions.c */
extern const char *bm25_cursor_positions(Bm25Cursor *cursor, uint32 *bytes);
extern WordEntryPos *bm25_decode_positions(const char *bytes, uint32 size, uint32 tf, uint32 flags,
										   int *n);

/* functions in writer.c */
typedef struct Bm25Writer Bm25Writer;
extern Bm25Writer *bm25_writer_begin(Bm25Space *space, const Bm25MetaPageData *meta,
									 const Bm25Segment *sizes);
extern void bm25_writer_document(Bm25Writer *writer, ItemPointer tid, uint32 length);
extern void bm25_writer_term(Bm25Writer *writer, const char *term, int len);
extern void bm25_writer_posting(Bm25Writer *writer, const Bm25Posting *posting);
extern void bm25_writer_end(Bm25Writer *writer, Bm25Segment *segment);

/* Documents of a run from "local" on have numbers from "global" on in the segment. */
typedef struct Bm25Piece
{
	uint32		local;
	uint32		global;
} Bm25Piece;

/* functions in inverter.c */
typedef struct Bm25Inverter Bm25Inverter;
struct BufFile;
extern Bm25Inverter *bm25_inverter_begin(uint32 flags);
extern void bm25_inverter_add(Bm25Inverter *inverter, uint32 doc, const Bm25Word *word);
extern Size bm25_inverter_size(const Bm25Inverter *inverter);
extern Bm25Source *bm25_inverter_source(Bm25Inverter *inverter);
extern void bm25_inverter_write(Bm25Inverter *inverter, struct BufFile *file);
extern Bm25Source *bm25_run_source(struct BufFile *file, uint32 flags, const Bm25Piece *pieces,
								   int npieces);

/* functions in merge.c */
extern void bm25_merge_terms(Bm25Writer *writer, Bm25Source **sources, int n);
extern bool bm25_maintenance_begin(Relation rel, bool wait);
extern void bm25_maintenance_end(Relation rel);
extern void bm25_seal(Relation rel, Relation heap);
extern bool bm25_merge_some(Relation rel, Relation heap, uint32 max_pages);
extern void bm25_merge_all(Relation rel, Relation heap);

/* functions in lexemes.c */
extern void bm25_parse_words(Oid config_oid, ParsedText *parsed, char *text, int len);

/* functions in parse.c */
extern Oid	bm25_config_oid(const Bm25MetaPageData *meta);
extern void bm25_parse_text(Oid config, const char *text, int len, uint32 flags,
							Bm25Document *document);
extern void bm25_parse_tsvector(TSVector vector, uint32 flags, Bm25Document *document);
extern void bm25_parse_value(Relation rel, Oid config, uint32 flags, Datum value,
							 Bm25Document *document);
extern char *bm25_encode_words(const Bm25Document *document, uint32 *bytes);
extern const char *bm25_decode_word(const char *p, const char *end, uint32 flags, Bm25Word *word);

/* functions in sparse.c */
struct SparseVector;
extern void bm25_check_dimensions(const struct SparseVector *vector, uint32 dim);
extern void bm25_put_dimension(char *to, uint32 dimension, bool negative);
extern void bm25_parse_sparse(const struct SparseVector *vector, Bm25Document *document);

/* functions in insert.c */
extern bool bm25_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
						Relation heap, IndexUniqueCheck unique, bool unchanged,
						IndexInfo *info);

/* functions in build.c */
extern IndexBuildResult *bm25_build(Relation heap, Relation rel, IndexInfo *info);
extern void bm25_buildempty(Relation rel);

/* functions in vacuum.c */
extern IndexBulkDeleteResult *bm25_bulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
											  IndexBulkDeleteCallback callback, void *state);
extern IndexBulkDeleteResult *bm25_vacuumcleanup(IndexVacuumInfo *info,
												 IndexBulkDeleteResult *stats);

extern uint32 bm25_recover_lost(Relation rel);

/* functions in check.c */
extern void bm25_check_init(void);

/* functions in options.c */
extern bytea *bm25_options(Datum reloptions, bool validate);
extern void bm25_options_init(void);
extern void bm25_meta_init(Relation rel, Bm25MetaPageData *meta);
extern bool bm25_unmatched(void);
extern bool bm25_is_sparse(Relation rel);

/* functions in scan.c */
extern IndexScanDesc bm25_beginscan(Relation rel, int nkeys, int norderbys);
extern void bm25_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
						int norderbys);
extern bool bm25_gettuple(IndexScanDesc scan, ScanDirection direction);
extern int64 bm25_getbitmap(IndexScanDesc scan, TIDBitmap *bitmap);
extern void bm25_endscan(IndexScanDesc scan);

/* functions in cost.c */
struct PlannerInfo;
struct IndexPath;
extern void bm25_costestimate(struct PlannerInfo *root, struct IndexPath *path, double loop_count,
							  Cost *startup, Cost *total, Selectivity *selectivity,
							  double *correlation, double *pages);

/* functions in info.c */
extern Relation bm25_open_readable(Oid oid);

/* functions in index.c */
extern Relation bm25_open_any_index(Oid oid, LOCKMODE lockmode);
extern Relation bm25_open_index(Oid oid, LOCKMODE lockmode);

/* functions in bm25.c */
extern void bm25_init(void);

#endif							/* PIRAMID_BM25_H */
