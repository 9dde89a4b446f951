/*-------------------------------------------------------------------------
 *
 * layout.c
 *		Which node an index of a given shape gets, and where its parts are.
 *
 * A search reads one node per hop, so the fastest index has few, large nodes;
 * its size is bounded by what pgvector needs for the same rows, which is
 * what users compare with.  See hnsw/README.md, "Choosing the layout".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "hnsw/index.h"

/*
 * Largest size per row, relative to pgvector's, where nodes share a page:
 * short vectors, long ones, and the compact layout.
 */
#define SIZE_BUDGET 1.45
#define LONG_SIZE_BUDGET 1.05
#define COMPACT_SIZE_BUDGET 0.30
#define LONG_DIM 640

/* A slot that is half empty gets further links, up to this degree. */
#define MAX_FILL_DEGREE 64

/* Share of the rotated coordinates that a code must have. */
#define MIN_CODED_SHARE 0.7

/*
 * Bytes of a code of projected vectors for which further links are given up: about
 * those of the best shapes of 768 and 1,536 dimensions (EVIDENCE.md, "Choosing the
 * layout").
 */
#define PROJECTED_BYTES(dim) Min(12 + (dim) / 128 * 4, 64)

/* Coordinates in a code of a compact node that no page holds */
#define SPANNING_COMPACT_DIMS 512

/* Least bytes of a code in the compact layout */
#define COMPACT_BYTES(dim) ((dim) <= 256 ? 8 : 12)

/* Dimensions from which on there are sketches */
#define MIN_SKETCHED_DIM 64

/* Most heap TIDs within a node. */
#define MAX_INLINE_TIDS 4

/* Most bytes for the elements of a sparse vector. */
#define MAX_ELEMENT_BYTES 6144

/* Dimensions of the graph for a column of such a type. */
int
hnsw_graph_dim(HnswType type, int column_dim)
{
	return (type == HNSW_TYPE_SPARSEVEC && column_dim > HNSW_SKETCH_EXACT) ? HNSW_SKETCH_DIM : column_dim;
}

/* Compute offsets and size from degree, code, own kind and inline_tids. */
static void
layout_offsets(HnswLayout *layout)
{
	int			offset = sizeof(HnswNodeHeaderData);

	switch (layout->own_kind)
	{
		case HNSW_OWN_HALF:
			layout->own_size = layout->dim * (int) sizeof(half);
			break;
		case HNSW_OWN_INT8:
			layout->own_size = layout->out_dim;
			break;
		case HNSW_OWN_INT4:
			layout->own_size = layout->out_dim / 2;
			break;
		case HNSW_OWN_BITS:
			layout->own_size = (layout->dim + 7) / 8;
			break;
		case HNSW_OWN_SPARSE:
			layout->own_size = layout->elements * (layout->index_size + (int) sizeof(half));
			break;
	}
	layout->tids = offset;
	offset += layout->inline_tids * sizeof(ItemPointerData);
	layout->kept = offset;
	offset += layout->degree / 8;
	layout->keys = offset;
	offset = INTALIGN(offset + layout->inline_tids * layout->key_size);
	layout->links = offset;
	offset += layout->degree * sizeof(HnswNodeId);
	layout->factors_a = offset;
	layout->factors_b = offset;
	if (layout->code.units > 0)
	{
		offset += layout->degree * sizeof(half);
		layout->factors_b = offset;
		offset += layout->degree * sizeof(half);
	}
	layout->own = offset;
	offset = INTALIGN(offset + layout->own_size);
	layout->codes = offset;
	offset += layout->degree * layout->code.units;
	layout->node_size = MAXALIGN(offset);
	layout->overflow_size = INTALIGN(offsetof(HnswOverflowLinkData, code) + layout->code.units);

	layout->chunk_tids = HNSW_CHUNK_TIDS * sizeof(ItemPointerData) /
		(sizeof(ItemPointerData) + layout->key_size);

	/* A multiple of 8, so that values of 8 bytes are aligned */
	if (layout->key_size > 0)
		layout->key_entries = HNSW_PAGE_SPACE / (1 + layout->key_size) & ~7;
	layout->sketch_entries = HNSW_PAGE_SPACE / hnsw_sketch_size(layout->sketch.units);

	/* An even number, so that the links behind the origins are aligned */
	layout->overflow_links = HNSW_PAGE_SPACE / (sizeof(uint16) + layout->overflow_size) & ~1;
}

/* Bytes that pgvector spends on a row of such an index, page ends included. */
static double
peer_bytes(const HnswLayout *layout)
{
	static const double element_size[] = {4, 2, 8, 1.0 / 8};
	int			elements = layout->type == HNSW_TYPE_SPARSEVEC ? layout->elements : layout->dim;
	double		row = element_size[layout->type] * elements + 104 + 12.0 * layout->m + 16;

	return (row > HNSW_PAGE_SPACE / 2) ? BLCKSZ * Max(1.0, row / HNSW_PAGE_SPACE) :
		BLCKSZ / floor(HNSW_PAGE_SPACE / row);
}

/*
 * Try one precision of the own vector in a slot of the given size, coding
 * fewer coordinates if only a little is missing.
 */
static bool
layout_fits(HnswLayout *layout, HnswOwnKind own_kind, Size slot)
{
	int			full = layout->code.bits ? layout->out_dim : 0;

	layout->own_kind = own_kind;
	for (layout->code.dims = full;; layout->code.dims -= 32)
	{
		layout->code.units = layout->code.dims * layout->code.bits / 8;
		layout_offsets(layout);
		if (layout->node_size <= slot)
			return true;
		if (layout->code.dims - 32 < full * MIN_CODED_SHARE || full == 0)
			return false;
	}
}

/*
 * Most precise kind of own vector, and the one if that takes too much space.  Of remote
 * rows binary16 tells less than int8, which are of the centred vector.
 */
static HnswOwnKind
own_kind(const HnswLayout *layout, bool smaller)
{
	switch (layout->type)
	{
		case HNSW_TYPE_BIT:
			return HNSW_OWN_BITS;
		case HNSW_TYPE_SPARSEVEC:
			return HNSW_OWN_SPARSE;
		default:
			return (smaller || layout->remote) && layout->space->euclidean ?
				HNSW_OWN_INT8 : HNSW_OWN_HALF;
	}
}

/* Bits per coordinate of a code; 0: plain links. */
static int
code_bits(const HnswLayout *layout)
{
	if (!layout->space->euclidean || layout->type == HNSW_TYPE_SPARSEVEC)
		return 0;
	return layout->out_dim <= 64 ? 2 : 1;
}

/* Does a slot hold a node with such own vectors, links and codes? */
static bool
node_fits(HnswLayout *layout, HnswOwnKind own_kind, int degree, int units, Size slot)
{
	layout->own_kind = own_kind;
	layout->degree = degree;
	layout->code.units = units;
	layout_offsets(layout);
	return layout->node_size <= slot;
}

/*
 * Nodes with codes of any length, which are made of projected vectors, or are
 * as short as the compact layout wants: codes of at least "units" bytes that
 * fill the slot.  Where vectors are long, so that reading a node costs more
 * than scoring its neighbours, as many links as leave room for such codes.
 */
static bool
short_codes_fit(HnswLayout *layout, HnswOwnKind own_kind, int degree, int units, Size slot)
{
	bool		more_links = own_kind != HNSW_OWN_INT4 && layout->projected &&
		layout->dim >= LONG_DIM;
	int			most = more_links ? MAX_FILL_DEGREE : degree;
	int			full = layout->out_dim / 8 * (layout->projected ? 1 : layout->code.bits);

	units = Min(units, full);
	most = Max(most / FASTSCAN_BLOCK * FASTSCAN_BLOCK, degree);
	while (most > degree && !node_fits(layout, own_kind, most, units, slot))
		most -= FASTSCAN_BLOCK;
	if (!node_fits(layout, own_kind, most, units, slot))
		return false;
	while (units + 4 <= full && node_fits(layout, own_kind, most, units + 4, slot))
		units += 4;
	(void) node_fits(layout, own_kind, most, units, slot);
	return true;
}

/*
 * Make the codes one of so many bits for each coordinate, of as many
 * coordinates as fill their bytes.
 */
void
hnsw_layout_set_code_bits(HnswLayout *layout, int bits)
{
	layout->code.bits = bits;
	layout->code.dims = Min(layout->code.units * 8 / bits, layout->out_dim);
}

/* Fill what is left of a slot with links (unless codes do that) and heap TIDs. */
static void
fill_slot(HnswLayout *layout, bool links)
{
	Size		slot;

	/* As small as the nodes came out, more may fit a page. */
	layout->nodes_per_page = Min(HNSW_PAGE_SPACE / layout->node_size,
								 HNSW_MAX_NODES_PER_PAGE);
	slot = MAXALIGN_DOWN(HNSW_PAGE_SPACE / layout->nodes_per_page);
	while (links && layout->degree + FASTSCAN_BLOCK <= MAX_FILL_DEGREE)
	{
		layout->degree += FASTSCAN_BLOCK;
		layout_offsets(layout);
		if (layout->node_size > slot)
		{
			layout->degree -= FASTSCAN_BLOCK;
			break;
		}
	}
	layout_offsets(layout);
	while (layout->inline_tids < MAX_INLINE_TIDS)
	{
		layout->inline_tids++;
		layout_offsets(layout);
		if (layout->node_size > slot)
		{
			layout->inline_tids--;
			break;
		}
	}
	layout_offsets(layout);
}

/* What the request says, and what follows from it alone. */
static void
init_layout(HnswLayout *layout, const HnswLayoutRequest *request)
{
	HnswType	type = request->type;

	memset(layout, 0, sizeof(*layout));
	layout->type = type;
	layout->column_dim = request->column_dim;
	layout->dim = hnsw_graph_dim(type, request->column_dim);
	layout->metric = request->metric;
	layout->remote = request->remote;
	layout->space = hnsw_metric_info(request->metric);
	layout->m = request->m;
	layout->ef_construction = request->ef_construction;
	layout->degree = (2 * request->m + FASTSCAN_BLOCK - 1) / FASTSCAN_BLOCK * FASTSCAN_BLOCK;
	layout->out_dim = rotation_out_dim(layout->dim);
	layout->code.bits = code_bits(layout);
	layout->key_size = request->key_size;
	/* With keys, only as many as there is room for; see fill_slot */
	layout->inline_tids = request->compact || layout->key_size > 0 ? 1 : 2;
	layout->pages_per_node = 1;
	if (type == HNSW_TYPE_SPARSEVEC)
	{
		layout->index_size = request->column_dim <= 65536 ? sizeof(uint16) : sizeof(int32);
		layout->elements = Min(request->elements, MAX_ELEMENT_BYTES /
							   (layout->index_size + (int) sizeof(half)));
	}
}

/* Do the rows of such an index have codes, which can be projected? */
bool
hnsw_layout_projectable(const HnswLayoutRequest *request)
{
	HnswLayout	layout;

	init_layout(&layout, request);
	return layout.code.bits == 1 && layout.out_dim <= PROJECTION_MAX_WIDTH &&
		(layout.dim >= LONG_DIM || request->compact);
}

/* Can such an index have sketches?  Of few dimensions they tell too little. */
bool
hnsw_layout_sketchable(const HnswLayout *layout)
{
	return layout->key_size > 0 && layout->code.units > 0 && layout->dim >= MIN_SKETCHED_DIM &&
		layout->out_dim <= PROJECTION_MAX_WIDTH;
}

/* The index has sketches of so many bits, or none. */
void
hnsw_layout_set_sketch(HnswLayout *layout, int bits)
{
	layout->sketch = (CodeShape) {.dims = bits,.bits = bits > 0,.units = bits / 8};
	layout_offsets(layout);
}

/* Own vectors in 4 bits, short codes, many nodes to a page. */
static bool
choose_compact(HnswLayout *layout)
{
	int			degree = layout->degree;
	int			per_page = (int) ceil(BLCKSZ / (peer_bytes(layout) * COMPACT_SIZE_BUDGET));

	for (per_page = Min(per_page, HNSW_MAX_NODES_PER_PAGE); per_page >= 1; per_page--)
	{
		layout->nodes_per_page = per_page;
		if (short_codes_fit(layout, HNSW_OWN_INT4, degree, COMPACT_BYTES(layout->dim),
							MAXALIGN_DOWN(HNSW_PAGE_SPACE / per_page)))
			return true;
		layout->degree = degree;
	}
	return false;
}

/* As few nodes to a page as the size allows, exact own vectors if they fit. */
static bool
choose_fast(HnswLayout *layout)
{
	int			degree = layout->degree;
	double		budget = layout->dim < LONG_DIM ? SIZE_BUDGET : LONG_SIZE_BUDGET;
	int			per_page = (int) ceil(BLCKSZ / (peer_bytes(layout) * budget));

	for (per_page = Min(per_page, HNSW_MAX_NODES_PER_PAGE); per_page >= 1; per_page--)
	{
		Size		slot = MAXALIGN_DOWN(HNSW_PAGE_SPACE / per_page);

		layout->nodes_per_page = per_page;
		for (int smaller = 0; smaller <= 1; smaller++)
		{
			HnswOwnKind kind = own_kind(layout, smaller == 1);

			if (layout->projected ?
				short_codes_fit(layout, kind, degree, PROJECTED_BYTES(layout->dim), slot) :
				layout_fits(layout, kind, slot))
				return true;
			layout->degree = degree;
		}
	}
	return false;
}

/*
 * Choose the layout of a new index.  The column's dimensions and m decide:
 * m asks for at least 2 * m links, as in other HNSW indexes; what space is
 * left in the slot holds more links, or longer codes.  With projected vectors
 * codes can be short; hnsw_layout_set_code_bits says later what they hold.
 * Operator classes without codes have no compact layout.
 */
void
hnsw_layout_choose(HnswLayout *layout, const HnswLayoutRequest *request)
{
	bool		fits;
	bool		compact;

	init_layout(layout, request);
	compact = request->compact && layout->code.bits > 0;
	layout->projected = request->projected && hnsw_layout_projectable(request);
	fits = compact ? choose_compact(layout) : choose_fast(layout);
	if (fits)
	{
		if (layout->projected || compact)
			hnsw_layout_set_code_bits(layout, layout->code.bits);
		fill_slot(layout, !layout->projected && !compact);
		return;
	}

	/* No page holds one node: span as few as possible. */
	layout->projected = false;
	layout->own_kind = compact ? HNSW_OWN_INT4 : own_kind(layout, true);
	layout->code.dims = layout->code.bits ? layout->out_dim : 0;
	if (compact)
		layout->code.dims = Min(layout->code.dims, SPANNING_COMPACT_DIMS);
	layout->code.units = layout->code.dims * layout->code.bits / 8;
	layout->nodes_per_page = 1;
	layout_offsets(layout);
	layout->pages_per_node = (layout->node_size + HNSW_PAGE_SPACE - 1) / HNSW_PAGE_SPACE;
}

void
hnsw_layout_from_meta(HnswLayout *layout, const HnswMetaPageData *meta)
{
	memset(layout, 0, sizeof(*layout));
	layout->dim = meta->dim;
	layout->column_dim = meta->column_dim != 0 ? meta->column_dim : meta->dim;
	layout->elements = meta->elements;
	layout->index_size = meta->index_size;
	layout->metric = (HnswMetric) meta->metric;
	layout->space = hnsw_metric_info(layout->metric);
	layout->own_kind = (HnswOwnKind) meta->own_kind;
	layout->m = meta->m;
	layout->ef_construction = meta->ef_construction;
	layout->degree = meta->degree;
	layout->code.dims = meta->code_dims;
	layout->code.bits = meta->code_bits;
	layout->code.units = meta->code_dims * meta->code_bits / 8;
	layout->out_dim = rotation_out_dim(meta->dim);
	layout->inline_tids = meta->inline_tids;
	layout->key_size = meta->key_size;
	layout->nodes_per_page = meta->nodes_per_page;
	layout->pages_per_node = meta->pages_per_node;
	layout->projected = meta->projection != 0;
	hnsw_layout_set_sketch(layout, meta->sketch_bits);
}

void
hnsw_layout_to_meta(const HnswLayout *layout, HnswMetaPageData *meta)
{
	meta->dim = layout->dim;
	meta->column_dim = layout->column_dim;
	meta->elements = layout->elements;
	meta->index_size = layout->index_size;
	meta->metric = layout->metric;
	meta->own_kind = layout->own_kind;
	meta->m = layout->m;
	meta->ef_construction = layout->ef_construction;
	meta->degree = layout->degree;
	meta->code_dims = layout->code.dims;
	meta->code_bits = layout->code.bits;
	meta->rotation = 1;
	meta->inline_tids = layout->inline_tids;
	meta->key_size = layout->key_size;
	meta->nodes_per_page = layout->nodes_per_page;
	meta->pages_per_node = layout->pages_per_node;
	meta->node_size = layout->node_size;
	meta->sketch_bits = layout->sketch.dims;
}
