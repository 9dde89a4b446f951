/*-------------------------------------------------------------------------
 *
 * hnsw.h
 *		The hnsw access method: shared structures, and the functions of each
 *		file.  The disk format is in hnsw_page.h; hnsw/README.md has the
 *		algorithms, the lock order and the crash story.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_H
#define PIRAMID_HNSW_H

#include "postgres.h"

#include <float.h>
#include <math.h>

#include "compat.h"

#include "access/amapi.h"
#include "access/generic_xlog.h"
#include "access/genam.h"
#include "common/pg_prng.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "storage/buf.h"
#include "storage/bufmgr.h"
#include "utils/relcache.h"

#include "hnsw/hnsw_page.h"
#include "quant/quant.h"

/* Reloptions and settings: default, lowest, highest */
#define HNSW_DEFAULT_M 16
#define HNSW_MIN_M 2
#define HNSW_MAX_M 100
#define HNSW_DEFAULT_EF_CONSTRUCTION 64
#define HNSW_MIN_EF_CONSTRUCTION 4
#define HNSW_MAX_EF_CONSTRUCTION 1000
#define HNSW_DEFAULT_EF_SEARCH 40
#define HNSW_MIN_EF_SEARCH 1
#define HNSW_MAX_EF_SEARCH 1000
#define HNSW_DEFAULT_MAX_SCAN_TUPLES 20000	/* stands for no bound */
#define HNSW_DEFAULT_SCAN_MEM_MULTIPLIER 1
#define HNSW_MIN_SCAN_MEM_MULTIPLIER 1
#define HNSW_MAX_SCAN_MEM_MULTIPLIER 1000

/* A level has one node in 32 of the level below. */
#define HNSW_LEVEL_RATIO 32
#define HNSW_MAX_LEVEL 7

/*
 * Width of the search just above the level that is searched, and seeds from
 * there: a share of that search's, within limits.  And the width further up.
 */
#define HNSW_DESCENT_SHARE 16
#define HNSW_DESCENT_WIDTH 4
#define HNSW_MAX_SEEDS 128
#define HNSW_TOP_WIDTH 2

/* Diversity of links: u-v is kept if no kept w has ALPHA * |v-w| < |u-v|. */
#define HNSW_ALPHA 1.1f

/* Support function numbers of an operator class */
#define HNSW_DISTANCE_PROC 1	/* distance for ordering */
#define HNSW_METRIC_PROC 2		/* internal: which HnswMetric */
#define HNSW_TYPE_PROC 3		/* internal: which HnswType; without it, vector */

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

/* Progress phases of CREATE INDEX */
#define HNSW_PHASE_LOAD		2
#define HNSW_PHASE_GRAPH	3
#define HNSW_PHASE_WRITE	4

typedef enum HnswLayoutOption
{
	HNSW_LAYOUT_FAST,
	HNSW_LAYOUT_COMPACT
} HnswLayoutOption;

typedef struct HnswOptions
{
	int32		vl_len_;		/* varlena header (do not touch directly) */
	int			m;
	int			ef_construction;
	int			layout;			/* HnswLayoutOption */
} HnswOptions;

/* Where things are in a node; follows from the metapage alone. */
typedef struct HnswLayout
{
	HnswType	type;			/* of the column */
	int			column_dim;		/* dimensions of the column */
	int			dim;			/* of the graph: less for long sparse vectors */
	HnswMetric	metric;
	HnswOwnKind own_kind;
	int			elements;		/* sparse: room for elements in the own vector */
	int			index_size;		/* sparse: bytes of a position */
	int			m;
	int			ef_construction;
	int			degree;
	CodeShape	code;			/* units 0: plain links, no codes */
	bool		projected;		/* codes are of projected vectors */
	int			out_dim;		/* of the rotation */
	int			inline_tids;
	int			key_size;
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

/*
 * An index as the code sees it: layout, rotation, calibration.  Made by
 * hnsw_open in the current memory context.
 */
typedef struct HnswIndex
{
	Relation	rel;
	HnswLayout	layout;
	Rotation	rotation;
	Projection	projection;		/* if codes are projected */
	float	   *mean;			/* dim values (zeros if unknown), then out_dim values: it rotated */
	float		norm;			/* typical length of the vectors, 0 if unknown; may grow */
	BlockNumber nblocks;		/* as last seen; grows */
	uint32		overflow_pages; /* as last seen; grows */
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
#define HnswNodeLinks(layout, node) ((HnswNodeId *) ((char *) (node) + (layout)->links))
#define HnswNodeFactorsA(layout, node) ((half *) ((char *) (node) + (layout)->factors_a))
#define HnswNodeFactorsB(layout, node) ((half *) ((char *) (node) + (layout)->factors_b))
#define HnswNodeOwn(layout, node) ((char *) (node) + (layout)->own)
#define HnswNodeCodes(layout, node) ((uint8 *) (node) + (layout)->codes)

#define HnswNodeBlock(layout, id) ((BlockNumber) ((id) / (layout)->nodes_per_page))
#define HnswNodeSlot(layout, id) ((int) ((id) % (layout)->nodes_per_page))
#define HnswMakeNodeId(layout, block, slot) \
	((HnswNodeId) (block) * (layout)->nodes_per_page + (slot))

/* Is the distance a metric itself, not the square of one? */
static inline bool
hnsw_unsquared(const HnswLayout *layout)
{
	return layout->metric >= HNSW_L1;
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

/* A node locked for reading. */
typedef struct HnswRead
{
	HnswNodeHeader node;		/* in the page, or a copy in index->scratch */
	Buffer		buffer;
	XLogRecPtr	lsn;			/* of the page */
} HnswRead;

/*
 * A node locked for writing.  Changes go to copies, and count at commit.
 */
typedef struct HnswWrite
{
	HnswNodeHeader node;
	HnswNodeId	id;
	Buffer		buffer;			/* the (first) page of the node */
	Buffer	   *parts;			/* the other pages, if any */
	HnswPageOpaqueData opaque;	/* of the first page */
	/* a chunk of heap TIDs that changes with the node, and its page */
	Buffer		chunk_buffer;	/* or invalid */
	int			chunk_slot;
	HnswTidChunkData chunk;
	HnswPageOpaqueData chunk_opaque;
} HnswWrite;

/* What a layout is chosen for. */
typedef struct HnswLayoutRequest
{
	HnswType	type;
	int			column_dim;
	HnswMetric	metric;
	int			m;
	int			ef_construction;
	int			elements;		/* sparse vectors: how many a node shall hold */
	bool		compact;
	bool		projected;		/* a projection can be learned, and pays */
} HnswLayoutRequest;

/* functions in layout.c */
extern int	hnsw_graph_dim(HnswType type, int column_dim);
extern void hnsw_layout_choose(HnswLayout *layout, const HnswLayoutRequest *request);
extern bool hnsw_layout_projectable(const HnswLayoutRequest *request);
extern void hnsw_layout_set_code_bits(HnswLayout *layout, int bits);
extern void hnsw_layout_from_meta(HnswLayout *layout, const HnswMetaPageData *meta);
extern void hnsw_layout_to_meta(const HnswLayout *layout, HnswMetaPageData *meta);

/* functions in hnsw_page.c: the file that touches buffers and WAL */
extern HnswIndex *hnsw_open(Relation rel);
extern void hnsw_create(Relation rel, ForkNumber fork, HnswMetaPageData *meta,
						const float *mean, const Projection *projection);
extern void hnsw_meta_init(HnswMetaPageData *meta, const HnswLayout *layout);
extern void hnsw_meta_read(Relation rel, HnswMetaPageData *meta);
extern void hnsw_meta_refresh(HnswIndex *index, HnswMetaPageData *meta);
extern void hnsw_norm_raise(HnswIndex *index, float norm);
extern void hnsw_projection_read(Relation rel, const HnswMetaPageData *meta,
								 HnswProjectionData *data, Size size);
extern bool hnsw_entry_update(HnswIndex *index, HnswNodeId expected, HnswNodeId entry,
							  int level);
extern void hnsw_read(HnswIndex *index, HnswNodeId id, HnswRead *read);
extern void hnsw_prefetch(HnswIndex *index, HnswNodeId id);
extern void hnsw_load_block(Relation rel, BlockNumber block);
extern void hnsw_read_ahead(HnswIndex *index, HnswNodeId id);
extern void hnsw_prefetch_hint(HnswIndex *index, HnswNodeId id);
extern void hnsw_read_end(HnswRead *read);
extern int	hnsw_read_block(HnswIndex *index, BlockNumber block, HnswRead *read);
extern HnswNodeHeader hnsw_block_node(const HnswIndex *index, const HnswRead *read, int slot);
extern void hnsw_write(HnswIndex *index, HnswNodeId id, HnswWrite *write);
extern HnswNodeId hnsw_allocate(HnswIndex *index, bool upper, HnswWrite *write);
extern void hnsw_write_end(HnswIndex *index, HnswWrite *write, bool commit);
extern void hnsw_release(HnswIndex *index, HnswNodeId id);
extern int	hnsw_block_nodes(HnswIndex *index, BlockNumber block, HnswNodeId *ids);
extern void hnsw_block_reclaim(HnswIndex *index, BlockNumber block);

/* Rows to learn a projection from and judge it by */
#define HNSW_PROJECTION_ROWS 2560

/* functions in calibration.c */
extern Projection *hnsw_calibrate(HnswLayout *layout, const HnswLayoutRequest *request,
								  int nrows, int8 *rows, uint64 seed);
extern void hnsw_projection_open(HnswIndex *index, const HnswMetaPageData *meta);
extern void hnsw_project_codes(const Projection *projection, int nrows, const int8 *rows,
							   int stride, float step, int8 *out);

/* functions in hnsw_build_page.c: buffers and WAL too */
extern void hnsw_build_extend(HnswIndex *index, BlockNumber blocks);
extern void hnsw_build_page(HnswIndex *index, HnswNodeId id, bool upper, int nodes,
							const char *data);
extern void hnsw_build_finish(HnswIndex *index, HnswNodeId entry, int entry_level);

/* functions in hnsw_tids_page.c: further heap TIDs, buffers and WAL too */
extern void hnsw_chain_step(HnswIndex *index, uint32 chunk_id, uint64 *steps);
extern int	hnsw_chunk_read(HnswIndex *index, HnswNodeId owner, uint32 *chunk,
							ItemPointer tids);
extern int	hnsw_chunk_remove(HnswIndex *index, HnswNodeId owner, uint32 chunk_id,
							  ItemPointer dead, int ndead);
extern bool hnsw_chunk_unlink_next(HnswIndex *index, HnswNodeId owner, uint32 chunk_id);
extern bool hnsw_chunks_empty(HnswIndex *index, HnswNodeId owner, uint32 chunk_id);
extern void hnsw_tid_append(HnswIndex *index, HnswWrite *write, ItemPointer tid);
extern void hnsw_check_tid(HnswIndex *index, BlockNumber index_block, ItemPointer tid,
						   BlockNumber heap_blocks);

/* A row's value or a query's, decoded. */
typedef struct HnswValue
{
	float	   *x;				/* layout.dim numbers: the vector, bits as 0 and 1, or a
								 * sparse vector's sketch */
	int			nnz;			/* sparse: elements, by position */
	int32	   *indices;
	float	   *values;
} HnswValue;

/* functions in value.c */
extern HnswValue *hnsw_value_create(const HnswLayout *layout);
extern void hnsw_value_set(const HnswLayout *layout, HnswValue *value, Datum datum,
						   bool search);
extern bool hnsw_value_indexable(const HnswLayout *layout, const HnswValue *value);
extern double hnsw_value_length(const HnswLayout *layout, const HnswValue *value);
extern Size hnsw_value_pack_size(const HnswLayout *layout, const HnswValue *value);
extern float hnsw_value_pack(const HnswLayout *layout, const HnswValue *value, char *packed,
							 float *scale);
extern int	hnsw_packed_sparse(const char *packed, float scale, const int32 **indices,
							   float *values);
extern void hnsw_value_unpack(const HnswLayout *layout, const char *packed, float scale,
							  HnswValue *value);
extern void hnsw_sketch(const HnswLayout *layout, int nnz, const int32 *indices,
						const float *values, float *x);

/* Values of a sparse query by position. */
typedef struct HnswSparseQuery
{
	int			nnz;
	int32	   *indices;
	float	   *values;			/* prepared as the query's x is */
	int			capacity;
	float	   *table;			/* by position, if the column has few dimensions */
	uint32	   *slots;			/* else a hash table: 1 + index into indices, or 0 */
	uint32		mask;
	double		norm;			/* sum of squares; L1: of absolute values */
	/* room for a node's elements */
	int32	   *positions;
	float	   *x;
} HnswSparseQuery;

/*
 * A query (or a new row) prepared for searching: the vector in the space of
 * the graph, where all distances are Euclidean but for L1, Hamming and
 * Jaccard.
 */
typedef struct HnswQuery
{
	float	   *x;				/* unit length for cosine; rescaled for inner product */
	float	   *rotated;		/* rotated and centred; NULL with plain links */
	float		norm;			/* squared length of x (sparse: of the vector itself) */
	float		rotated_norm;	/* squared length of rotated */
	double		length;			/* of x */
	float		unscale;		/* inner product: caller's distance = key * unscale */
	bool		zero;			/* zero vector under cosine: has no distances */
	CodeQuery	code;
	uint8	   *bits;			/* own vectors are bits: x as such */
	HnswSparseQuery *sparse;	/* own vectors are sparse */
} HnswQuery;

/* A row's vector as a node will hold it. */
typedef struct HnswOwn
{
	char	   *data;
	int			nnz;
	float		scale;
	float		norm;
	float		own_norm;
	float		error;
} HnswOwn;

/* functions in score_sparse.c */
extern HnswSparseQuery *hnsw_sparse_create(const HnswLayout *layout);
extern void hnsw_sparse_set(const HnswLayout *layout, HnswSparseQuery *sparse,
							const HnswValue *value, double factor);
extern double hnsw_sparse_score(const HnswLayout *layout, const HnswSparseQuery *sparse,
								const HnswNodeHeaderData *node);

/* functions in score.c */
extern HnswQuery *hnsw_query_create(HnswIndex *index);
extern void hnsw_query_set(HnswIndex *index, HnswQuery *query, const HnswValue *value,
						   bool search);
extern void hnsw_query_set_node(HnswIndex *index, HnswQuery *query,
								const HnswNodeHeaderData *node, const float *vector);
extern const float *hnsw_query_vector(const HnswIndex *index, const HnswQuery *query);
extern float hnsw_node_key(const HnswIndex *index, const HnswQuery *query,
						   const HnswNodeHeaderData *node, float *l2sq);
extern int	hnsw_node_estimates(const HnswIndex *index, const HnswQuery *query,
								const HnswNodeHeaderData *node, float key, float *estimates,
								float *lengths);
extern float hnsw_code_length(const HnswLayout *layout, float b);
extern int	hnsw_link_lengths(const HnswIndex *index, const HnswNodeHeaderData *node,
							  float *lengths);
extern void hnsw_code_estimates(const HnswIndex *index, const HnswQuery *query,
								const uint8 *codes, int n, float key, float *estimates,
								float *lengths);
extern bool hnsw_prepare(const HnswIndex *index, const float *x, float *out);
extern void hnsw_rotate(const HnswIndex *index, const float *x, float *rotated);
extern void hnsw_rotate_only(const HnswIndex *index, const float *x, float *rotated);
extern void hnsw_project(const HnswIndex *index, float *rotated);
extern void hnsw_link_encode(const HnswIndex *index, const float *from, const float *to,
							 uint8 *code, float *a, float *b);

/* Beyond these squared lengths, float32 cosine distances are NaN or imprecise. */
#define COSINE_MIN_NORM 1e-30
#define COSINE_MAX_NORM (FLT_MAX / 2)

/* Does the operator compute good cosine distances to a vector of this length? */
static inline bool
hnsw_cosine_is_precise(double length)
{
	return length * length > COSINE_MIN_NORM && length * length < COSINE_MAX_NORM;
}

/* functions in own.c */
extern void hnsw_own_encode(const HnswIndex *index, const HnswValue *value, HnswOwn *own);
extern void hnsw_own_encode_packed(const HnswIndex *index, const char *packed, float scale,
								   float error, HnswValue *value, HnswOwn *own);
extern float hnsw_own_shared_error(const HnswLayout *layout, const HnswNodeHeaderData *node,
								   const HnswOwn *own);
extern void hnsw_own_decode(const HnswIndex *index, const HnswNodeHeaderData *node,
							float *out);
extern void hnsw_own_bits(const HnswLayout *layout, const float *x, uint8 *bits);
extern int	hnsw_own_sparse(const HnswLayout *layout, const HnswNodeHeaderData *node,
							int32 *indices, float *values);
extern const float *hnsw_rotated(const HnswIndex *index, const float *vector);

/* A node met by a search; expanded ones have a HnswFound too. */
typedef struct HnswCandidate
{
	HnswNodeId	id;
	float		key;			/* exact when expanded, else averaged estimate */
	float		variance;		/* of the mean of its estimates, in relative terms */
	int32		found;			/* index into found, or one of those below */
} HnswCandidate;

#define HNSW_GONE			(-1)	/* free, or a node of another level */
#define HNSW_NOT_EXPANDED	(-2)
#define HNSW_ASKED_FOR		(-3)	/* not expanded, but its page is being read */

typedef struct HnswFound
{
	HnswNodeId	id;
	float		key;
	float		error;
	float		norm;
	uint32		tids;			/* index into the search's tids */
	uint16		ntids;
	bool		dying;
	bool		emitted;
	uint32		below;			/* upper: node a level down */
	uint32		more_tids;		/* base: first chunk */
	XLogRecPtr	lsn;			/* of its page */
} HnswFound;

/* functions in bounds.c */
extern void hnsw_key_bounds(const HnswIndex *index, const HnswQuery *query,
							const HnswFound *found, double *lower, double *upper);

typedef struct HnswPoolEntry
{
	float		key;
	uint32		candidate;
} HnswPoolEntry;

/* The state of a search over one level; resumable with a larger width. */
typedef struct HnswSearch
{
	HnswIndex  *index;
	HnswQuery  *query;
	MemoryContext context;
	int			level;
	int			width;			/* ef */
	int			cold;			/* hops for which pages are asked for ahead */
	bool		keep_vectors;	/* inserts: keep each expanded node's decoded vector */
	/* the pool: the best "width" candidates, by key */
	HnswPoolEntry *pool;
	int			npool;
	int			pool_capacity;
	int			cursor;			/* all entries before it are expanded */
	/* all candidates, and a hash table of them by id */
	HnswCandidate *candidates;
	uint32		ncandidates;
	uint32		candidates_capacity;
	uint32	   *table;			/* 1 + index into candidates, or 0 */
	uint32		table_mask;
	HnswFound  *found;
	uint32		nfound;
	uint32		found_capacity;
	ItemPointerData *tids;
	uint32		ntids;
	uint32		tids_capacity;
	float	   *vectors;		/* keep_vectors: nfound * hnsw_vector_length values */
	Size		vectors_size;	/* room for them, in bytes */
	/* room for one node's links */
	HnswNodeId *links;
	float	   *estimates;
	float	   *lengths;
	uint8	   *codes;			/* of its overflow links, in FastScan blocks */
	Size		codes_size;
} HnswSearch;

/* functions in search.c */
extern HnswSearch *hnsw_search_create(HnswIndex *index, HnswQuery *query);
extern void hnsw_search_free(HnswSearch *search);
extern void hnsw_search_reset(HnswSearch *search, int level, int width);
extern void hnsw_search_seed(HnswSearch *search, HnswNodeId id, float key);
extern void hnsw_search_run(HnswSearch *search);
extern void hnsw_search_widen(HnswSearch *search, int width);
extern void hnsw_search_enter(HnswSearch *search, const HnswMetaPageData *meta, int level,
							  int width);
extern void hnsw_search_down(HnswSearch *search, int width);
extern void hnsw_search_sweep(HnswSearch *search, BlockNumber block, bool keyed);

/* A filter by which no row at a larger distance qualifies: slope * distance + offset < value */
typedef struct HnswDistanceLimit
{
	Expr	   *value;
	ExprState  *state;
	double		slope;
	double		offset;
	double		size;			/* what rounding is relative to */
} HnswDistanceLimit;

#define HNSW_DISTANCE_LIMITS 4

/* What the running plan asks of a scan. */
typedef struct HnswDemand
{
	double		rows;			/* at least so many, infinity: all, 0: unknown */
	double		limit;			/* no row at a larger distance can qualify */
	/* found once for each node of a plan */
	IndexScanState *node;
	double		share;			/* of the rows may pass the node's filters */
	int			nlimits;
	HnswDistanceLimit limits[HNSW_DISTANCE_LIMITS];
} HnswDemand;

/* functions in demand.c */
extern void hnsw_demand_init(void);
extern void hnsw_demand_find(IndexScanDesc scan, HnswDemand *demand);

/* functions in lookup.c */
typedef struct HnswLookup HnswLookup;
extern HnswLookup *hnsw_lookup_create(IndexScanDesc scan);
extern bool hnsw_lookup_distance(HnswLookup *lookup, const ItemPointerData *tid, double *distance);
extern void hnsw_lookup_end(HnswLookup *lookup);

/* functions in scan.c */
extern IndexScanDesc hnsw_beginscan(Relation rel, int nkeys, int norderbys);
extern void hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
						int norderbys);
extern bool hnsw_gettuple(IndexScanDesc scan, ScanDirection direction);
extern void hnsw_endscan(IndexScanDesc scan);

/* A possible neighbour of a node: its vector as hnsw_own_decode gives it. */
typedef struct HnswNeighbour
{
	HnswNodeId	id;
	float		distance;		/* from the node; squared unless L1 */
	float		norm;			/* squared length of the row's vector */
	const float *vector;
	const float *rotated;		/* what codes are made from; once it is chosen */
	const HnswNodeId *links;	/* of a node that others shall link to */
	int			nlinks;
	XLogRecPtr	lsn;			/* of the page, as the search found it */
} HnswNeighbour;

/* A coded node that others shall link to: its links, and how long they are */
typedef struct HnswTarget
{
	int			nlinks;
	HnswNodeId *links;
	float	   *lengths;
} HnswTarget;

/* A link that waits outside its node; see overflow.c. */
typedef struct HnswOverflowLink
{
	HnswNodeId	from;
	HnswNodeId	to;
	float		a;				/* factors */
	float		b;
	uint8	   *code;
	const HnswNeighbour *neighbour; /* from, when it is new */
	const HnswTarget *target;	/* to, if it is coded and the link may move to its node */
} HnswOverflowLink;

/* Which of n links leads to a node, or -1. */
static inline int
hnsw_find_link(const HnswNodeId *links, int n, HnswNodeId to)
{
	for (int i = 0; i < n; i++)
		if (links[i] == to)
			return i;
	return -1;
}

/* functions in neighbours.c */
extern float hnsw_extra(const HnswIndex *index, float norm);
extern float hnsw_graph_distance(const HnswIndex *index, const float *a, float norm_a,
								 const float *b, float norm_b);
extern int	hnsw_select(const HnswIndex *index, const HnswNeighbour *neighbours, int n,
						int most, int *chosen, int *nkept);
extern void hnsw_set_link(const HnswIndex *index, HnswNodeHeader node, int i,
						  const HnswNeighbour *to, const float *from, bool kept);
extern void hnsw_remove_link(const HnswIndex *index, HnswNodeHeader node, int i);
extern void hnsw_node_init(const HnswIndex *index, HnswNodeHeader node, int level,
						   const HnswOwn *own);
extern bool hnsw_add_link(HnswIndex *index, const HnswQuery *query, const HnswNeighbour *from,
						  const HnswNeighbour *to, int level, bool force);
extern void hnsw_put_link(const HnswLayout *layout, HnswNodeHeader node, int i,
						  const HnswOverflowLink *link, bool kept);
extern void hnsw_add_waiting(HnswIndex *index, const HnswOverflowLink *links, int n);

/* functions in force.c */
extern void hnsw_force_back(HnswIndex *index, HnswNodeId id, int level);
extern bool hnsw_force_link(HnswIndex *index, const HnswNeighbour *from, const HnswNeighbour *to,
							int level);

/* What inserts need again and again; made once for a statement. */
typedef struct HnswInserter
{
	HnswIndex  *index;
	HnswQuery  *query;
	HnswSearch *search;
	HnswValue  *value;
	MemoryContext context;		/* reset after each row */
	bool		busy;			/* in the middle of a row */
	MemoryContextCallback end;	/* of the statement */
} HnswInserter;

/* functions in insert.c */
extern bool hnsw_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
						Relation heap, IndexUniqueCheck check_unique,
						bool index_unchanged, IndexInfo *index_info);
extern HnswInserter *hnsw_inserter_create(HnswIndex *index);
extern void hnsw_insert_value(HnswInserter *inserter, const HnswValue *value, ItemPointer tid);
extern void hnsw_promote(HnswInserter *inserter, HnswNodeId id);
extern int	hnsw_found_neighbours(HnswInserter *inserter, HnswNodeId self, float norm,
								  HnswNeighbour *neighbours);

/* functions in hnsw_overflow_page.c: buffers and WAL too */
extern void hnsw_overflow_forget(void);
extern int	hnsw_overflow_read(HnswIndex *index, HnswNodeId id, HnswNodeId *links, float *a,
							   float *b, uint8 *codes);
extern void hnsw_overflow_prefetch(HnswIndex *index, HnswNodeId id);
extern int	hnsw_overflow_append(HnswIndex *index, const HnswOverflowLink *links, int n);
extern int	hnsw_overflow_list(HnswIndex *index, uint32 group, HnswOverflowLink *links);
extern int	hnsw_overflow_load(HnswIndex *index, uint32 group, HnswOverflowLink *links,
							   uint8 *codes);
extern void hnsw_overflow_remove(HnswIndex *index, uint32 group, const HnswOverflowLink *links,
								 int n);
extern bool hnsw_overflow_trylock(HnswIndex *index, uint32 group);
extern void hnsw_overflow_unlock(HnswIndex *index, uint32 group);
extern bool hnsw_needs_image(HnswIndex *index, XLogRecPtr lsn);

/* functions in overflow.c */
extern void hnsw_overflow_link(HnswIndex *index, const HnswNeighbour *from,
							   const HnswNeighbour *to, HnswOverflowLink *link);
extern int	hnsw_overflow_store(HnswInserter *inserter, const HnswNeighbour *to,
								HnswOverflowLink *links, int n);
extern int	hnsw_overflow_offer(HnswSearch *search, HnswNodeId id, float key, int n);

/* functions in build.c */
extern IndexBuildResult *hnsw_build(Relation heap, Relation rel, IndexInfo *index_info);
extern void hnsw_buildempty(Relation rel);
extern int	hnsw_random_level(pg_prng_state *random);

/* functions in vacuum.c */
extern IndexBulkDeleteResult *hnsw_bulkdelete(IndexVacuumInfo *info,
											  IndexBulkDeleteResult *stats,
											  IndexBulkDeleteCallback callback, void *state);
extern IndexBulkDeleteResult *hnsw_vacuumcleanup(IndexVacuumInfo *info,
												 IndexBulkDeleteResult *stats);

/* functions in cost.c */
extern void hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
							  Cost *startup, Cost *total, Selectivity *selectivity,
							  double *correlation, double *pages);

/* functions in info.c */
extern Relation hnsw_open_index(Oid oid);

/* functions in ivfflat.c */
extern void ivfflat_init(void);

/* functions in hnsw.c */
extern void hnsw_init(void);
extern void hnsw_add_reloptions(bits32 kind);
extern bool hnsw_setting_is_taken(const char *name);
extern int	hnsw_ef_search(void);
extern uint32 hnsw_max_scan_nodes(void);
extern bool hnsw_relaxed_order(void);
extern HnswMetric hnsw_metric(Relation rel);
extern HnswType hnsw_type(Relation rel);
extern int	hnsw_column_dimensions(Relation rel);
extern int	hnsw_m(Relation rel);
extern int	hnsw_ef_construction(Relation rel);
extern bool hnsw_compact(Relation rel);

#endif							/* PIRAMID_HNSW_H */
