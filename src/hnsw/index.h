/*-------------------------------------------------------------------------
 *
 * index.h
 *		An index as the code sees it: where things are in a node, and how pages
 *		are read and written.  The disk format is in hnsw_page.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_INDEX_H
#define PIRAMID_HNSW_INDEX_H

#include "postgres.h"

#include <float.h>

#include "compat.h"

#include "access/generic_xlog.h"
#include "access/genam.h"
#include "storage/buf.h"
#include "storage/bufmgr.h"
#include "utils/relcache.h"

#include "hnsw/hnsw_page.h"
#include "hnsw/key.h"
#include "hnsw/metric.h"
#include "quant/quant.h"

/* Types of indexed columns; not stored, the operator class tells */
typedef enum HnswType
{
	HNSW_TYPE_VECTOR = 0,
	HNSW_TYPE_HALFVEC = 1,
	HNSW_TYPE_SPARSEVEC = 2,
	HNSW_TYPE_BIT = 3
} HnswType;

/* Most bits of an indexed bit string */
#define HNSW_MAX_BITS 64000

/* Room for elements of sparse vectors that are not known yet */
#define HNSW_DEFAULT_ELEMENTS 192

/* Dimensions of a sparse vector's sketch, and most of one that needs none */
#define HNSW_SKETCH_DIM 512
#define HNSW_SKETCH_EXACT 1024

/* A level has one node in 32 of the level below. */
#define HNSW_LEVEL_RATIO 32
#define HNSW_MAX_LEVEL 7

/* Where things are in a node; follows from the metapage alone. */
typedef struct HnswLayout
{
	HnswType	type;			/* of the column */
	int			column_dim;		/* dimensions of the column */
	int			dim;			/* of the graph: less for long sparse vectors */
	HnswMetric	metric;
	const HnswMetricInfo *space;	/* what the metric asks of the graph */
	HnswOwnKind own_kind;
	bool		remote;			/* a build packs rows as float32; not stored */
	int			elements;		/* sparse: room for elements in the own vector */
	int			index_size;		/* sparse: bytes of a position */
	int			m;
	int			ef_construction;
	int			degree;
	CodeShape	code;			/* units 0: plain links, no codes */
	bool		projected;		/* codes are of projected vectors */
	int			out_dim;		/* of the rotation */
	int			inline_tids;
	int			chunk_tids;		/* most heap TIDs of a chunk */
	int			key_size;		/* bytes of a key; 0: no filter columns */
	int			key_entries;	/* of a key page */
	CodeShape	sketch;			/* units 0: no sketches */
	int			sketch_entries; /* of a sketch page */
	int			own_size;		/* bytes of the own vector */
	int			nodes_per_page;
	int			pages_per_node;
	Size		node_size;
	int			overflow_size;	/* bytes of an overflow link, but for its origin */
	int			overflow_links; /* most of them on a page */
	/* offsets within a node */
	int			tids;
	int			kept;
	int			keys;
	int			links;
	int			factors_a;
	int			factors_b;
	int			own;
	int			codes;
} HnswLayout;

/* What was read of an index */
typedef struct HnswScanCounts
{
	uint64		nodes;			/* expanded, or met in a sweep */
	uint64		estimates;		/* neighbours scored, not all of which were expanded */
	uint64		rejects;		/* rows that conditions on filter columns discarded */
	uint64		key_pages;
	uint64		sketch_pages;
} HnswScanCounts;

/* Where a projection is, what it is called, and how many coordinates it gives */
typedef struct HnswProjectionName
{
	BlockNumber block;
	uint64		seed;			/* random */
	int			dims;
} HnswProjectionName;

/*
 * An index as the code sees it: layout, rotation, mean.  Made by
 * hnsw_open in the current memory context.
 */
typedef struct HnswIndex
{
	Relation	rel;
	uint32		version;		/* of its format; pages but the metapage go by it */
	HnswLayout	layout;
	AttrNumber	vector_column;
	HnswKeyColumns keys;		/* the filter columns */
	Rotation	rotation;
	Projection	projection;		/* if codes are projected */
	Projection	sketches;		/* that of sketches; dims 0 until it is needed */
	HnswProjectionName sketch_name;
	float	   *mean;			/* dim values (zeros if unknown), then out_dim values: it rotated */
	float		norm;			/* typical length of the vectors, 0 if unknown; may grow */
	BlockNumber nblocks;		/* as last seen; grows */
	uint32		overflow_pages; /* as last seen; grows */
	uint32		key_pages;		/* as last seen; grows */
	uint32		sketch_pages;	/* as last seen; grows */
	HnswScanCounts	counts;			/* since hnsw_open, or since a scan has begun */
	char	   *scratch;		/* room for one node, if nodes span pages */
	uint32		chain_sequence; /* of the chunk of heap TIDs that was read last */
	BufferAccessStrategy strategy;	/* for going through all pages, or NULL */
} HnswIndex;

/* Most links of a node; check_meta() sees to it. */
#define HNSW_MAX_DEGREE 256

/* Most overflow links of a node: all on a page, if they have no codes */
#define HNSW_MAX_OVERFLOW (HNSW_PAGE_SPACE / (sizeof(uint16) + offsetof(HnswOverflowLinkData, code)))
#define HNSW_MAX_LINKS (HNSW_MAX_DEGREE + HNSW_MAX_OVERFLOW)

/* Keys are finite, and so are differences of two. */
#define HNSW_MAX_KEY	(FLT_MAX / 4)

/* Parts of a node */
#define HnswNodeTids(layout, node) ((ItemPointer) ((char *) (node) + (layout)->tids))
#define HnswNodeKept(layout, node) ((uint8 *) (node) + (layout)->kept)
#define HnswNodeKeys(layout, node) ((uint8 *) (node) + (layout)->keys)
#define HnswNodeLinks(layout, node) ((HnswNodeId *) ((char *) (node) + (layout)->links))
#define HnswNodeFactorsA(layout, node) ((half *) ((char *) (node) + (layout)->factors_a))
#define HnswNodeFactorsB(layout, node) ((half *) ((char *) (node) + (layout)->factors_b))
#define HnswNodeOwn(layout, node) ((char *) (node) + (layout)->own)
#define HnswNodeCodes(layout, node) ((uint8 *) (node) + (layout)->codes)

#define HnswNodeBlock(layout, id) ((BlockNumber) ((id) / (layout)->nodes_per_page))
#define HnswNodeSlot(layout, id) ((int) ((id) % (layout)->nodes_per_page))
#define HnswNodeGroup(layout, id) (HnswNodeBlock(layout, id) / HNSW_GROUP_BLOCKS)
#define HnswMakeNodeId(layout, block, slot) \
	((HnswNodeId) (block) * (layout)->nodes_per_page + (slot))

/* Are there not more links and heap TIDs in a node than fit?  A copy may be of a damaged page. */
static inline bool
hnsw_node_fits(const HnswLayout *layout, const HnswNodeHeaderData *node)
{
	return node->nlinks <= layout->degree && node->ntids <= layout->inline_tids;
}

/* Are own vectors stored rotated and centred? */
static inline bool
hnsw_own_rotated(const HnswLayout *layout)
{
	return layout->own_kind == HNSW_OWN_INT8 || layout->own_kind == HNSW_OWN_INT4;
}

/* Length of a vector as hnsw_own_decode gives it. */
static inline int
hnsw_vector_length(const HnswLayout *layout)
{
	return hnsw_own_rotated(layout) ? layout->out_dim : layout->dim;
}

/* Length of a rotated vector, with what codes are made of behind it. */
static inline int
hnsw_rotated_length(const HnswLayout *layout)
{
	return layout->out_dim + (layout->projected ? layout->code.dims : 0);
}

/* The part of a rotated vector that codes are made of. */
#define HnswCodedPart(layout, rotated) ((rotated) + ((layout)->projected ? (layout)->out_dim : 0))

static inline bool
hnsw_kept(const uint8 *kept, int i)
{
	return (kept[i / 8] >> (i % 8)) & 1;
}

static inline void
hnsw_set_kept(uint8 *kept, int i, bool value)
{
	kept[i / 8] = (kept[i / 8] & ~(1 << (i % 8))) | ((value ? 1 : 0) << (i % 8));
}

/* Bytes of a sketch with such a code */
static inline int
hnsw_sketch_size(int units)
{
	return offsetof(HnswSketchData, code) + units;
}

/* What a layout is chosen for. */
typedef struct HnswLayoutRequest
{
	HnswType	type;
	int			column_dim;
	HnswMetric	metric;
	int			m;
	int			ef_construction;
	int			elements;		/* sparse vectors: how many a node shall hold */
	int			key_size;
	bool		compact;
	bool		projected;		/* a projection can be learned, and pays */
	bool		remote;			/* rows are far from zero, beside how far they are from each
								 * other */
} HnswLayoutRequest;

/* functions in layout.c */
extern int	hnsw_graph_dim(HnswType type, int column_dim);
extern void hnsw_layout_choose(HnswLayout *layout, const HnswLayoutRequest *request);
extern bool hnsw_layout_projectable(const HnswLayoutRequest *request);
extern void hnsw_layout_set_code_bits(HnswLayout *layout, int bits);
extern bool hnsw_layout_sketchable(const HnswLayout *layout);
extern void hnsw_layout_set_sketch(HnswLayout *layout, int bits);
extern void hnsw_layout_from_meta(HnswLayout *layout, const HnswMetaPageData *meta);
extern void hnsw_layout_to_meta(const HnswLayout *layout, HnswMetaPageData *meta);

#endif							/* PIRAMID_HNSW_INDEX_H */
