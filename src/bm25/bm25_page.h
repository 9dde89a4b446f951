/*-------------------------------------------------------------------------
 *
 * bm25_page.h
 *		The disk format of a bm25 index.
 *
 * Block 0 is the metapage, block 1 the list of free runs of blocks.  All other
 * pages belong to the head (records of the newest documents, a chain) or to a
 * segment (immutable but for its bits of dead documents).  A segment's header
 * page lists the runs of blocks ("extents") of its streams; a stream is an
 * array of bytes, cut into pages of BM25_SPACE bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_BM25_PAGE_H
#define PIRAMID_BM25_PAGE_H

#include "postgres.h"

#include "storage/block.h"
#include "storage/bufpage.h"
#include "storage/itemptr.h"
#include "tsearch/ts_type.h"

#define BM25_MAGIC 0x35324D42	/* "BM25" */
#define BM25_VERSION 3			/* 3: impacts; 2: positions; 1 was never released */
#define BM25_OLDEST_VERSION 2	/* its pages are as today's, and are written on */

#define BM25_METAPAGE 0
#define BM25_FREEPAGE 1
#define BM25_FIRST_HEAD 2

/* Kinds of pages; stored, so they keep their numbers */
typedef enum Bm25PageKind
{
	BM25_PAGE_META = 0,
	BM25_PAGE_FREE = 1,
	BM25_PAGE_HEAD = 2,
	BM25_PAGE_OVERFLOW = 3,		/* a record of the head that needs pages of its own */
	BM25_PAGE_SEGMENT = 4,		/* header of a segment */
	BM25_PAGE_STREAM = 8		/* and the number of the stream */
} Bm25PageKind;

/* The end of each page */
typedef struct Bm25PageOpaqueData
{
	uint32		magic;
	uint16		version;
	uint16		kind;
	uint64		generation;		/* of the segment or page of the head; 0 in the fixed pages */
} Bm25PageOpaqueData;

typedef Bm25PageOpaqueData *Bm25PageOpaque;

StaticAssertDecl(sizeof(Bm25PageOpaqueData) == 16, "disk format");

#define BM25_SPACE \
	((int) (BLCKSZ - MAXALIGN(SizeOfPageHeaderData) - MAXALIGN(sizeof(Bm25PageOpaqueData))))
#define Bm25PageGetOpaque(page) ((Bm25PageOpaque) PageGetSpecialPointer(page))

/* The streams of a segment; stored, so they keep their numbers */
typedef enum Bm25Stream
{
	BM25_LENGTHS = 0,			/* of each document, width bytes */
	BM25_TIDS = 1,				/* of each document, 6 bytes */
	BM25_DEAD = 2,				/* a bit for each document */
	BM25_LEAVES = 3,			/* dictionary: pages of terms */
	BM25_INNER = 4,				/* the first term of each leaf */
	BM25_POSTINGS = 5,
	BM25_POSITIONS = 6				/* of words in documents; only phrases ask for them */
} Bm25Stream;

#define BM25_STREAMS 7

/* A run of blocks */
typedef struct Bm25Extent
{
	BlockNumber first;
	uint32		pages;
} Bm25Extent;

/* A segment, as the metapage describes it */
typedef struct Bm25Segment
{
	uint64		generation;
	BlockNumber header;
	uint32		ndocs;			/* dead ones included */
	uint64		sumlen;			/* of the lengths of all of them */
	uint32		ndead;
	uint32		nterms;
	uint32		npages;			/* header included */
	float4		avglen;			/* that the bounds in the postings were made with */
	uint32		maxlen;
	uint8		width;			/* bytes of a length: 1, 2 or 4 */
	uint8		flags;			/* BM25_HAS_... */
	uint8		reserved[18];	/* 0 */
} Bm25Segment;

StaticAssertDecl(sizeof(Bm25Segment) == 64, "disk format");

#define BM25_MAX_SEGMENTS 100

/* Flags of the metapage.  Blocks may belong to nobody, as a writer failed or the list was full: */
#define BM25_LOST 1
/* it is known where words stand in documents; flags of segments, too */
#define BM25_HAS_POSITIONS 2
#define BM25_HAS_WEIGHTS 4		/* and with which weight, as in a tsvector */
/* Documents are sparse vectors: terms are dimensions, frequencies are impacts (impact.h) */
#define BM25_HAS_IMPACTS 8
#define BM25_HAS_NEGATIVE 16	/* of segments alone: some weights are negative */

typedef struct Bm25MetaPageData
{
	float4		k1;
	float4		b;
	uint32		flags;
	NameData	config_schema;	/* the text search configuration's name */
	NameData	config_name;
	uint64		next_generation;	/* pages linked since have this or a later one */
	uint64		building;		/* generation of a segment that is being written, or 0 */
	BlockNumber head_first;
	BlockNumber head_last;		/* inserts begin here */
	uint32		head_pages;		/* those of large records too */
	Bm25Extent	spare[2];		/* free blocks for the head, taken in this order */
	uint32		nsegments;
	uint32		dim;			/* of all documents, if they are sparse vectors; 0: of any */
	uint32		reserved[14];	/* 0 */
	Bm25Segment segments[BM25_MAX_SEGMENTS];	/* in the order of their documents */
} Bm25MetaPageData;

typedef Bm25MetaPageData *Bm25MetaPage;

StaticAssertDecl(sizeof(Bm25MetaPageData) <= BLCKSZ - 64, "the metapage is one page");

/* A free run; until no snapshot is older than xid, readers may still come to it */
typedef struct Bm25FreeRun
{
	Bm25Extent	run;
	uint64		xid;			/* a FullTransactionId, or 0: free for all */
} Bm25FreeRun;

StaticAssertDecl(sizeof(Bm25FreeRun) == 16, "disk format");

typedef struct Bm25FreePageData
{
	uint32		nruns;
	uint32		reserved;
	Bm25FreeRun runs[FLEXIBLE_ARRAY_MEMBER];
} Bm25FreePageData;

#define BM25_MAX_FREE_RUNS \
	((int) ((BM25_SPACE - offsetof(Bm25FreePageData, runs)) / sizeof(Bm25FreeRun)))

/* The header page of a segment */
typedef struct Bm25SegmentHeader
{
	uint64		bytes[BM25_STREAMS];
	uint32		nextents[BM25_STREAMS]; /* those of the first stream stand first */
	Bm25Extent	extents[FLEXIBLE_ARRAY_MEMBER];
} Bm25SegmentHeader;

#define BM25_MAX_EXTENTS \
	((int) ((BM25_SPACE - offsetof(Bm25SegmentHeader, extents)) / sizeof(Bm25Extent)))

/* The beginning of a page of the head; records follow, each MAXALIGNed */
typedef struct Bm25HeadPageData
{
	BlockNumber next;			/* a page with a next page takes no more records */
	uint32		used;			/* bytes, this header included */
	uint32		nrecords;
	uint32		reserved;
} Bm25HeadPageData;

typedef Bm25HeadPageData *Bm25HeadPage;

#define BM25_RECORD_DEAD 1
#define BM25_RECORD_OVERFLOW 2	/* the terms stand in overflow pages, of which it has the first */

/*
 * A document in the head.  Then its terms, ascending: length of the word (varint),
 * the word, how often it occurs (varint), its positions if the
 * index has them.
 */
typedef struct Bm25Record
{
	ItemPointerData tid;
	uint16		flags;
	uint32		length;
	uint32		nterms;
	uint32		bytes;			/* of the terms */
} Bm25Record;

StaticAssertDecl(sizeof(Bm25Record) == 20, "disk format");

/* A larger record has pages of its own. */
#define BM25_MAX_RECORD 2000

/* The beginning of an overflow page */
typedef struct Bm25OverflowPageData
{
	BlockNumber next;
	uint32		bytes;			/* that follow */
} Bm25OverflowPageData;

#define BM25_OVERFLOW_SPACE ((int) (BM25_SPACE - sizeof(Bm25OverflowPageData)))

/*
 * The positions of a posting: for each occurrence, but at most BM25_MAX_POSITIONS of
 * them, how much further the word stands than the time before (varint; with weights,
 * times 4 plus the weight).  Zeros at the end are occurrences that stand nowhere else,
 * or, in a tsvector without positions, nowhere at all.
 *
 * A term has those of its postings, one after the other.  Those of a list of blocks
 * end with an array: how many bytes of them each block has (uint32).
 */
#define BM25_MAX_POSITIONS (MAXENTRYPOS - 1)

/* Postings of a longer list stand in blocks of so many. */
#define BM25_BLOCK 128

/* A shorter list of at most so many bytes stands in the dictionary. */
#define BM25_INLINE 96

/* Where the postings of a term stand; stored */
typedef enum Bm25Form
{
	BM25_FORM_INLINE = 0,		/* bytes, in the dictionary */
	BM25_FORM_SHORT = 1,		/* bytes, in the stream of postings */
	BM25_FORM_BLOCKS = 2		/* heads of blocks and blocks there */
} Bm25Form;

/* The head of a block of postings */
typedef struct Bm25BlockHead
{
	uint32		last;			/* its last document */
	uint32		offset;			/* of its data, from the list's data */
	uint8		gap_bits;
	uint8		tf_bits;
	uint8		bound;			/* no part of a score is above (bound + 1) / 256; no weight, times the list's greatest */
	uint8		count;			/* of postings, less 1 */
} Bm25BlockHead;

StaticAssertDecl(sizeof(Bm25BlockHead) == 12, "disk format");

/*
 * A leaf of the dictionary: this header, entries, and at the end of the page,
 * downward, the offset of each 16th entry, which has its whole term.  An entry:
 * bytes shared with the term before (varint), further bytes (varint, then they),
 * documents (varint), form (1 byte); then inline: bytes (varint, then they);
 * short: offset, bytes (varints); blocks: offset of the heads, offset of the
 * data, the list's bound (varints).  If the index has impacts: the list's greatest
 * (varint).  If the index has positions: where the term's begin (varint; only with
 * each 16th entry, as the others follow), and how many bytes they have (varint).
 *
 * An inner page: this header, the first leaf's number, entries of length (varint)
 * and term, and the offset of each.
 */
typedef struct Bm25DictPageData
{
	uint16		count;
	uint16		used;			/* bytes, this header included */
	uint32		first_leaf;		/* inner pages only */
} Bm25DictPageData;

typedef Bm25DictPageData *Bm25DictPage;

#define BM25_RESTART 16

/*
 * With impacts, a term is a number of four bytes, the highest one first: the dimension,
 * from 0, and this bit for its negative weights, which have a list of their own.  A
 * document's length is the number of its elements.  A block's data begin with its least
 * impact, less one (uint16), and its impacts are counted from there.
 */
#define BM25_NEGATIVE_TERM UINT32_C(0x80000000)
#define BM25_DIMENSION_BYTES 4
#define BM25_LEAST_BYTES 2
#define BM25_MAX_TERM 2047		/* as lexemes of a tsvector */

#endif							/* PIRAMID_BM25_PAGE_H */
