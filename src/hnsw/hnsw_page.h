/*-------------------------------------------------------------------------
 *
 * hnsw_page.h
 *		The hnsw index on disk.
 *
 * Nothing here depends on how the index is searched; inspection tools can
 * include this header alone.  The format's history:
 *
 *	version 1	first version
 *	version 2	a projection (its pages, and codes of fewer, projected
 *				coordinates), own vectors in 4 bits, overflow links; indexes
 *				that have none of these are still version 1
 *	version 3	filter columns: keys in nodes and chunks of heap TIDs, key pages, sketch
 *				pages; a longer metapage; each page knows its block; what recall
 *				was measured.  Every new index
 *
 * An index keeps its version until it is rebuilt, but that overflow links make
 * version 1 version 2.  The metapage tells the version.  All other pages have 1
 * in an index of version 1 or 2, and 3 in one of version 3.
 *
 * Spare bytes of versions 1 and 2 that the first libraries left zero and do not
 * look at: column_dim in the metapage (a column can lose its declared dimensions by
 * ALTER TABLE and keep the index), and sequence in chunks of heap TIDs.
 *
 * "None" is InvalidBlockNumber for the mean and the lists of free slots, and
 * 0 for projections, recall, maps, pages of overflow links, keys and sketches, below and
 * more_tids.
 *
 * An index is a metapage (block 0), pages of the mean, node pages, pages of heap
 * TIDs, of overflow links, keys and sketches, and a page of recall, in any order.
 * Every page has a standard header, no line pointers, and 16 bytes of special space:
 *
 *	   0  PageHeaderData; pd_lower is the end of the contents
 *	  24  contents, by kind
 *	8176  HnswPageOpaqueData
 *
 * Node pages.  All nodes of an index have the same size.  Small nodes stand
 * in fixed slots, several to a page:
 *
 *	  24  node 0 | node 1 | ... | node (nodes_per_page - 1)
 *
 * A node too large for a page takes pages_per_node consecutive blocks; the
 * first carries the start of the node and kind HNSW_PAGE_NODE, the others the
 * rest, 8,152 bytes each, and kind HNSW_PAGE_NODE_PART.
 *
 * A node (see HnswLayout in hnsw.h for the offsets, which follow from the
 * metapage alone):
 *
 *	   0  HnswNodeHeaderData
 *	  40  heap TIDs				inline_tids * 6
 *		  kept flags			degree / 8			bit set: a diverse link
 *		  keys					inline_tids * key_size	one of each heap TID
 *		  links					degree * 4			node numbers
 *		  factors a				degree * 2			binary16, times scale_a
 *		  factors b				degree * 2			binary16, times scale_b
 *		  own vector			dim * 2, or out_dim (of the rotation) * 1 or
 *								1/2, or bits, or elements * (index_size + 2)
 *		  codes					degree * units		FastScan blocks of 16 links
 *
 * A node number is block * nodes_per_page + slot, or the first block when a
 * node spans pages.  Number 0 would lie in the metapage and means "none".
 *
 * Overflow links are links of base nodes that do not stand in the nodes.
 * Each HNSW_GROUP_BLOCKS blocks have at most one page of them; its opaque has
 * the number of links (nused) and the group (next):
 *
 *	  24  origins				capacity * 2		nodes of the group: (block
 *													modulo HNSW_GROUP_BLOCKS) *
 *													nodes_per_page + slot
 *		  links					capacity * overflow_size	HnswOverflowLinkData
 *
 * Keys are the packed values of filter columns (key.h).  A key page repeats those
 * of its nodes column by column, for scans that look for nodes by their keys; its
 * opaque has its ordinal (next) and how many entries were ever in use (nused).
 * Page i has the entries of nodes from i * capacity on:
 *
 *	  24  states				capacity			HnswKeyState
 *		  null flags			capacity			the first byte of keys
 *		  values				capacity * width	of each column in turn
 *
 * where capacity = HNSW_PAGE_SPACE / (1 + key_size), rounded down to a multiple of 8.
 *
 * Sketches are short codes of base nodes' vectors.  A sketch page has an entry for each
 * node number, as key pages have, of HnswSketchData and sketch_bits / 8 bytes of code.
 * An index has sketches if it has filter columns, and rows enough were there when it was
 * built.
 *
 * The metapage has the blocks of maps, which have the blocks of pages of overflow
 * links (by group), of key pages and of sketch pages (by ordinal):
 *
 *	  24  HnswMetaPageData		88, since version 3 128
 *		  maps					HNSW_MAX_MAPS * 4
 *		  maps of key pages		HNSW_MAX_KEY_MAPS * 4	since version 3
 *		  maps of sketch pages	HNSW_MAX_SKETCH_MAPS * 4	since version 3
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_PAGE_H
#define PIRAMID_HNSW_PAGE_H

#include "postgres.h"

#include "storage/block.h"
#include "storage/bufpage.h"
#include "storage/itemptr.h"

#define HNSW_MAGIC			0x504D5248	/* "HRMP" in memory */
#define HNSW_VERSION		3		/* newest that this library reads; that of new indexes */
#define HNSW_FIRST_VERSION	1		/* oldest */
#define HNSW_OVERFLOW_VERSION 2		/* first one with overflow links */
#define HNSW_KEY_VERSION	3		/* first one with keys, and magic numbers by block */
#define HNSW_METAPAGE		0

typedef uint32 HnswNodeId;

/*
 * Numbers of nodes and of chunks are 32 bits, and so the blocks that can hold
 * them are limited: the last one of which all slots have a number.
 */
#define HNSW_MAX_SLOT_BLOCK(slots) \
	(Min(MaxBlockNumber, (BlockNumber) (PG_UINT32_MAX - ((slots) - 1)) / (slots)))
#define HNSW_MAX_NODE_BLOCK(layout) HNSW_MAX_SLOT_BLOCK((layout)->nodes_per_page)

#define HNSW_NO_NODE		((HnswNodeId) 0)

/* Kinds of pages */
#define HNSW_PAGE_META			1
#define HNSW_PAGE_MEAN			2	/* the mean vector, as float32 */
#define HNSW_PAGE_NODE			3
#define HNSW_PAGE_NODE_PART		4	/* continuation of a node */
#define HNSW_PAGE_TIDS			5	/* further heap TIDs of nodes */
#define HNSW_PAGE_PROJECTION	6	/* HnswProjectionData and its matrix */
#define HNSW_PAGE_OVERFLOW_MAP	7	/* which pages have a group's overflow links */
#define HNSW_PAGE_OVERFLOW		8	/* overflow links of a group */
#define HNSW_PAGE_KEYS			9	/* keys of nodes, by node number */
#define HNSW_PAGE_KEY_MAP		10	/* which pages have the keys of which nodes */
#define HNSW_PAGE_SKETCHES		11	/* sketches of nodes, by node number */
#define HNSW_PAGE_RECALL		12	/* HnswRecallData */
#define HNSW_PAGE_SKETCH_MAP	13	/* which pages have the sketches of which nodes */

typedef struct HnswPageOpaqueData
{
	uint32		magic;			/* HNSW_MAGIC; since version 3 plus the page's block */
	uint8		version;
	uint8		kind;
	uint8		upper;			/* node page: 1 if it holds upper-level nodes */
	uint8		listed;			/* 1 while in the list of pages with free slots */
	uint16		nfree;			/* slots (nodes, TID chunks) freed since first used */
	uint16		nused;			/* slots ever used; those beyond are virgin */
	BlockNumber next;			/* next page of that list, or of the mean;
								 * overflow links: their group; keys and
								 * sketches: ordinal */
} HnswPageOpaqueData;

typedef HnswPageOpaqueData *HnswPageOpaque;

StaticAssertDecl(sizeof(HnswPageOpaqueData) == 16, "format of hnsw pages is fixed");

#define HnswPageGetOpaque(page) \
	((HnswPageOpaque) ((char *) (page) + BLCKSZ - MAXALIGN(sizeof(HnswPageOpaqueData))))
#define HNSW_PAGE_START		MAXALIGN(SizeOfPageHeaderData)
#define HNSW_PAGE_SPACE		(BLCKSZ - HNSW_PAGE_START - MAXALIGN(sizeof(HnswPageOpaqueData)))

/* What the distance between a query and a row is. */
typedef enum HnswMetric
{
	HNSW_L2 = 1,
	HNSW_IP = 2,
	HNSW_COSINE = 3,
	HNSW_L1 = 4,
	HNSW_HAMMING = 5,
	HNSW_JACCARD = 6
} HnswMetric;

/* How a node stores its own vector. */
typedef enum HnswOwnKind
{
	HNSW_OWN_HALF = 1,			/* binary16 of the vector, times scale */
	HNSW_OWN_INT8 = 2,			/* int8 of the centred, rotated vector, times scale */
	HNSW_OWN_BITS = 3,			/* the bits, first one highest */
	HNSW_OWN_SPARSE = 4,		/* positions, then values as binary16, times scale */
	HNSW_OWN_INT4 = 5			/* like int8, as odd numbers from -15 to 15 */
} HnswOwnKind;

typedef struct HnswMetaPageData
{
	uint32		magic;
	uint32		version;
	/* fixed when the index is built */
	uint16		dim;			/* of the graph: a sparse vector's sketch */
	uint8		metric;			/* HnswMetric */
	uint8		own_kind;		/* HnswOwnKind */
	uint16		m;
	uint16		ef_construction;
	uint16		degree;			/* room for links in each node, a multiple of 16 */
	uint16		code_dims;		/* rotated (or projected) coordinates in a code; 0:
								 * plain links */
	uint8		code_bits;		/* bits per coordinate; 0: plain links */
	uint8		rotation;		/* 1: seeded Hadamard rotation */
	uint16		inline_tids;	/* heap TIDs within a node */
	uint16		key_size;		/* bytes of a key; 0: no filter columns */
	uint16		nodes_per_page; /* 1 when a node spans pages */
	uint16		pages_per_node;
	uint16		index_size;		/* sparse: bytes of a position, 2 or 4 */
	uint32		node_size;
	uint32		elements;		/* sparse: room for elements in the own vector */
	uint64		seed;			/* of the rotation */
	float		norm;			/* typical length of the vectors, 0 if unknown; by inner
								 * product it grows in an index created empty */
	BlockNumber mean;			/* first page of the mean, or InvalidBlockNumber */
	/* changing */
	HnswNodeId	entry;			/* entry point, or HNSW_NO_NODE when empty */
	int32		entry_level;
	BlockNumber free_node[2];	/* first page with free slots: base, upper */
	BlockNumber free_tids;
	BlockNumber projection;		/* its first page, or 0 if codes are not projected */
	uint32		overflow_pages; /* pages of overflow links; never shrinks */
	uint32		column_dim;		/* of the column as it was declared; 0: unknown */
	/* since version 3 */
	uint8		key_columns;	/* filter columns */
	uint8		sketch_bits;	/* of the rows' sketches; 0: none */
	uint8		link_key_bytes;	/* 0; room for a byte of the key for each link */
	uint8		unused;
	uint32		key_pages;		/* never shrinks */
	uint64		sketch_seed;	/* random: the name of the sketches' projection */
	BlockNumber sketch_projection;	/* its first page, or 0 */
	uint32		sketch_pages;	/* never shrinks */
	uint32		spare[3];		/* 0 */
	BlockNumber recall;			/* the page of measured recall, or 0 */
} HnswMetaPageData;

typedef HnswMetaPageData *HnswMetaPage;

StaticAssertDecl(offsetof(HnswMetaPageData, seed) == 40, "format of the metapage is fixed");
StaticAssertDecl(offsetof(HnswMetaPageData, entry) == 56, "format of the metapage is fixed");
StaticAssertDecl(offsetof(HnswMetaPageData, overflow_pages) == 80,
				 "format of the metapage is fixed");
StaticAssertDecl(offsetof(HnswMetaPageData, key_columns) == 88, "format of the metapage is fixed");
StaticAssertDecl(offsetof(HnswMetaPageData, key_pages) == 92, "format of the metapage is fixed");
StaticAssertDecl(offsetof(HnswMetaPageData, recall) == 124, "format of the metapage is fixed");
StaticAssertDecl(offsetof(HnswMetaPageData, sketch_seed) == 96,
				 "format of the metapage is fixed");
StaticAssertDecl(sizeof(HnswMetaPageData) == 128, "format of the metapage is fixed");

/* Bytes of the metapage's data in an index of this version */
static inline Size
hnsw_meta_size(uint32 version)
{
	return version < HNSW_KEY_VERSION ? offsetof(HnswMetaPageData, key_columns) :
		sizeof(HnswMetaPageData);
}

/*
 * Where the rows' energy is: codes are made of matrix * rotated vector * step.
 * Fixed when the index is built; the seed in the metapage is then random, so
 * that it tells this projection from others.
 */
typedef struct HnswProjectionData
{
	float		step;
	uint32		dims;			/* rows of the matrix: code_dims */
	uint32		stride;			/* bytes of a row: out_dim, padded with zeros */
	float		range;			/* largest projected coordinate of a sample */
	int8		matrix[FLEXIBLE_ARRAY_MEMBER];
} HnswProjectionData;

StaticAssertDecl(offsetof(HnswProjectionData, matrix) == 16, "format of projections is fixed");

/* What searches of one width found, on average */
typedef struct HnswRecallPoint
{
	uint32		width;			/* 0: none from here on */
	float		recall;
	float		error;			/* its standard error */
	float		nodes;			/* read by a search */
} HnswRecallPoint;

#define HNSW_RECALL_SIZES		3	/* rows asked for: 1, 10 and 100 */
#define HNSW_RECALL_POINTS		12

/* What recall was measured by piramid_calibrate, by width, which ascends */
typedef struct HnswRecallData
{
	uint32		nodes;			/* that the index had room for then */
	uint32		queries;
	uint32		given;			/* 1: queries of a user; 0: rows, their own nodes masked */
	float		node_ms;		/* milliseconds of a search for each node that it read */
	HnswRecallPoint points[HNSW_RECALL_SIZES][HNSW_RECALL_POINTS];
} HnswRecallData;

StaticAssertDecl(sizeof(HnswRecallData) == 592, "format of measured recall is fixed");

#define HnswPageGetRecall(page) ((HnswRecallData *) PageGetContents(page))

#define HnswPageGetMeta(page) ((HnswMetaPage) PageGetContents(page))

/* Blocks whose nodes share a page of overflow links */
#define HNSW_GROUP_BLOCKS		16

/*
 * Pages of a map; maps of overflow links (34 million blocks), of key pages (at least
 * 150 million nodes) and of sketch pages (as many).  Their blocks follow the metapage's
 * data.
 */
#define HNSW_MAP_PAGES			(HNSW_PAGE_SPACE / sizeof(BlockNumber))
#define HNSW_MAX_MAPS			1024
#define HNSW_MAX_KEY_MAPS		640
#define HNSW_MAX_SKETCH_MAPS	320

static inline BlockNumber *
HnswPageGetMaps(Page page)
{
	return (BlockNumber *) ((char *) HnswPageGetMeta(page) +
							hnsw_meta_size(HnswPageGetMeta(page)->version));
}

#define HnswPageGetKeyMaps(page) (HnswPageGetMaps(page) + HNSW_MAX_MAPS)
#define HnswPageGetSketchMaps(page) (HnswPageGetKeyMaps(page) + HNSW_MAX_KEY_MAPS)

StaticAssertDecl(sizeof(HnswMetaPageData) +
				 (HNSW_MAX_MAPS + HNSW_MAX_KEY_MAPS + HNSW_MAX_SKETCH_MAPS) * sizeof(BlockNumber) <=
				 HNSW_PAGE_SPACE, "maps fit the metapage");

/*
 * What an entry of a key page says of its node.  It says HNSW_KEY_ONE only while
 * the node has exactly this key.
 */
typedef enum HnswKeyState
{
	HNSW_KEY_UNKNOWN = 0,		/* the node has to be read */
	HNSW_KEY_ONE = 1,			/* all heap TIDs have the key that is here */
	HNSW_KEY_SEVERAL = 2,		/* the node has to be read */
	HNSW_KEY_ABSENT = 3			/* there is no such base node, or it has no heap TIDs */
} HnswKeyState;

/* Most entries of a key page: of keys of two bytes */
#define HNSW_KEY_ENTRIES		(HNSW_PAGE_SPACE / 3)

/* What a sketch page has of a node: see sketch.c.  All zeros: unknown. */
typedef struct HnswSketchData
{
	uint16		a;				/* upper halves of float32 */
	uint16		b;
	uint8		code[FLEXIBLE_ARRAY_MEMBER];
} HnswSketchData;

StaticAssertDecl(offsetof(HnswSketchData, code) == 4, "format of sketches is fixed");

#define HNSW_MAX_SKETCH_BITS	128

/* A link from the node that its origin tells */
typedef struct HnswOverflowLinkData
{
	HnswNodeId	to;
	float		a;				/* factors; 0 for plain links */
	float		b;
	uint8		code[FLEXIBLE_ARRAY_MEMBER];
} HnswOverflowLinkData;

StaticAssertDecl(offsetof(HnswOverflowLinkData, code) == 12, "format of overflow links is fixed");

/* A node is at least a header, a TID and 16 links */
#define HNSW_MAX_NODES_PER_PAGE	(HNSW_PAGE_SPACE / 104)

/* Node flags */
#define HNSW_NODE_USED		0x01	/* the slot holds a node */
#define HNSW_NODE_DYING		0x02	/* being removed: navigate, but never link to it */

typedef struct HnswNodeHeaderData
{
	uint8		flags;
	uint8		level;			/* 0 is the base level, which has every row */
	uint16		nlinks;			/* links in use, from the front */
	uint16		ntids;			/* heap TIDs in this node */
	uint16		nnz;			/* sparse: elements in the own vector */
	uint32		below;			/* upper: the same vector's node a level down */
	uint32		more_tids;		/* base: first chunk of further heap TIDs, or 0 */
	float		scale;			/* of the own vector */
	float		norm;			/* squared length of the vector */
	float		own_norm;		/* squared length of the own vector as it is stored */
	float		error;			/* bound of |x - stored x|; see README, "Exact order" */
	float		scale_a;		/* of the factors */
	float		scale_b;
} HnswNodeHeaderData;

typedef HnswNodeHeaderData *HnswNodeHeader;

StaticAssertDecl(sizeof(HnswNodeHeaderData) == 40, "format of hnsw nodes is fixed");

/*
 * Chunks of further heap TIDs, 63 to a page of kind HNSW_PAGE_TIDS.  A chunk
 * number is block * HNSW_CHUNKS_PER_PAGE + slot.  The owner lets a reader see
 * that a chunk was given to another node meanwhile; the sequence, that it came
 * back to the same one, since along a list it goes down.  With keys there are
 * fewer TIDs in a chunk (HnswLayout.chunk_tids), and their keys behind them.
 */
#define HNSW_CHUNK_TIDS			19
#define HNSW_CHUNKS_PER_PAGE	63
#define HNSW_MAX_CHUNK_BLOCK	HNSW_MAX_SLOT_BLOCK(HNSW_CHUNKS_PER_PAGE)

typedef struct HnswTidChunkData
{
	HnswNodeId	owner;			/* HNSW_NO_NODE if free */
	uint32		next;			/* next chunk of the same node, or 0 */
	uint16		ntids;
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	uint32		sequence;		/* one more than that of the next chunk; 0: unknown */
} HnswTidChunkData;

typedef HnswTidChunkData *HnswTidChunk;

StaticAssertDecl(sizeof(HnswTidChunkData) == 128, "format of TID chunks is fixed");
StaticAssertDecl(offsetof(HnswTidChunkData, tids) == 10, "format of TID chunks is fixed");
StaticAssertDecl(sizeof(HnswTidChunkData) * HNSW_CHUNKS_PER_PAGE <= HNSW_PAGE_SPACE,
				 "TID chunks fit a page");

#endif							/* PIRAMID_HNSW_PAGE_H */
