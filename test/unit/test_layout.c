/*-------------------------------------------------------------------------
 *
 * test_layout.c
 *		The layout of hnsw nodes: every shape fits its pages, its parts neither
 *		overlap nor lie unaligned, and the metapage tells all of it.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"
#include "unit.h"

#define MAX_DIM 16000
#define MAX_PARTS 9

typedef struct Part
{
	int			start;
	int			size;
	int			align;
} Part;

static int
own_bytes(const HnswLayout *layout)
{
	switch (layout->own_kind)
	{
		case HNSW_OWN_HALF:
			return layout->dim * sizeof(half);
		case HNSW_OWN_INT8:
			return layout->out_dim;
		case HNSW_OWN_INT4:
			return layout->out_dim / 2;
		case HNSW_OWN_BITS:
			return (layout->dim + 7) / 8;
		case HNSW_OWN_SPARSE:
			return layout->elements * (layout->index_size + sizeof(half));
	}
	return -1;
}

/* Parts follow each other within the node, each aligned for its type. */
static bool
parts_right(const HnswLayout *layout)
{
	bool		codes = layout->code.units > 0;
	const Part	parts[MAX_PARTS] = {
		{0, sizeof(HnswNodeHeaderData), sizeof(uint32)},
		{layout->tids, layout->inline_tids * sizeof(ItemPointerData), sizeof(uint16)},
		{layout->kept, layout->degree / 8, 1},
		{layout->keys, layout->inline_tids * layout->key_size, 1},
		{layout->links, layout->degree * sizeof(HnswNodeId), sizeof(HnswNodeId)},
		{layout->factors_a, codes ? layout->degree * sizeof(half) : 0, sizeof(half)},
		{layout->factors_b, codes ? layout->degree * sizeof(half) : 0, sizeof(half)},
		{layout->own, own_bytes(layout), layout->own_kind == HNSW_OWN_SPARSE ? layout->index_size :
		sizeof(half)},
		{layout->codes, layout->degree * layout->code.units, 1},
	};
	int			end = 0;

	for (int i = 0; i < MAX_PARTS; i++)
	{
		if (parts[i].start < end || parts[i].start % parts[i].align != 0)
			return false;
		end = parts[i].start + parts[i].size;
	}
	return end <= layout->node_size && layout->node_size % MAXIMUM_ALIGNOF == 0 &&
		layout->own_size == parts[7].size;
}

/* As many nodes as told fit the page, or the node fits the pages told. */
static bool
space_right(const HnswLayout *layout)
{
	if (layout->pages_per_node == 1)
		return layout->nodes_per_page >= 1 &&
			layout->nodes_per_page <= HNSW_MAX_NODES_PER_PAGE &&
			layout->nodes_per_page * layout->node_size <= HNSW_PAGE_SPACE;
	return layout->nodes_per_page == 1 && layout->pages_per_node > 1 &&
		layout->node_size <= layout->pages_per_node * HNSW_PAGE_SPACE &&
		layout->node_size > (layout->pages_per_node - 1) * HNSW_PAGE_SPACE;
}

/* Chunks and key pages hold as many keys as told, values of 8 bytes aligned. */
static bool
keys_right(const HnswLayout *layout, int key_size)
{
	int			chunk = layout->chunk_tids * (sizeof(ItemPointerData) + key_size);
	int			page = layout->key_entries * (1 + key_size);

	if (layout->key_size != key_size || layout->chunk_tids < 1 ||
		chunk > HNSW_CHUNK_TIDS * sizeof(ItemPointerData))
		return false;
	if (key_size == 0)
		return layout->chunk_tids == HNSW_CHUNK_TIDS && layout->key_entries == 0;
	return page <= HNSW_PAGE_SPACE && page + 8 * (1 + key_size) > HNSW_PAGE_SPACE &&
		layout->key_entries % 8 == 0 && layout->key_entries <= HNSW_KEY_ENTRIES;
}

static bool
links_right(const HnswLayout *layout, int m)
{
	return layout->degree % FASTSCAN_BLOCK == 0 && layout->degree >= FASTSCAN_BLOCK &&
		layout->degree <= 256 && layout->degree >= 2 * m &&
		layout->inline_tids >= 1;
}

/* Codes cover most of the rotated vector, unless they may be short; some have none. */
static bool
code_right(const HnswLayout *layout, bool compact)
{
	const CodeShape *code = &layout->code;

	if (layout->metric >= HNSW_L1 || layout->type == HNSW_TYPE_SPARSEVEC)
		return code->dims == 0 && code->bits == 0 && code->units == 0 &&
			layout->own_kind == (layout->type == HNSW_TYPE_BIT ? HNSW_OWN_BITS :
								 layout->type == HNSW_TYPE_SPARSEVEC ? HNSW_OWN_SPARSE :
								 HNSW_OWN_HALF);
	return code->dims % (code->bits == 1 ? 32 : 16) == 0 && code->dims <= layout->out_dim &&
		code->dims >= (compact || layout->projected ? 32 : 0.7 * layout->out_dim) &&
		code->bits >= 1 && code->bits <= 4 &&
		(layout->own_kind == HNSW_OWN_INT4) == compact &&
		code->units == code->dims * code->bits / 8 && code->units % 4 == 0 &&
		layout->out_dim >= layout->dim;
}

/* Written to a metapage and read again, it is the same layout. */
static bool
meta_right(const HnswLayout *layout)
{
	HnswMetaPageData meta;
	HnswMetaPageData again;
	HnswLayout	read;

	memset(&meta, 0, sizeof(meta));
	memset(&again, 0, sizeof(again));
	memset(&read, 0xA5, sizeof(read));
	hnsw_layout_to_meta(layout, &meta);
	meta.projection = layout->projected;
	hnsw_layout_from_meta(&read, &meta);
	/* this the index's column tells */
	read.type = layout->type;
	hnsw_layout_to_meta(&read, &again);
	again.projection = meta.projection;
	return memcmp(&read, layout, sizeof(read)) == 0 &&
		memcmp(&meta, &again, sizeof(meta)) == 0 &&
		meta.node_size == layout->node_size;
}

/* The least number of dimensions whose nodes span pages. */
static int
first_spanning(HnswMetric metric, int m)
{
	HnswLayout	layout;

	for (int dim = 1; dim <= MAX_DIM; dim++)
	{
		HnswLayoutRequest request = {HNSW_TYPE_VECTOR, dim, metric, m, 2 * m};

		hnsw_layout_choose(&layout, &request);
		if (layout.pages_per_node > 1)
			return dim;
	}
	return MAX_DIM + 1;
}

/* All dimensions of one type and metric, with one m. */
static void
check_shapes(const char *name, const HnswLayoutRequest *shape, int max_dim)
{
	int			wrong[6] = {0};
	int			first[6] = {0};
	int			m = shape->m;

	for (int dim = 1; dim <= max_dim; dim++)
	{
		HnswLayoutRequest request = *shape;
		HnswLayout	layout;
		bool		right[6];

		request.column_dim = dim;
		request.ef_construction = Max(64, 2 * m);
		hnsw_layout_choose(&layout, &request);
		right[0] = space_right(&layout);
		right[1] = parts_right(&layout);
		right[2] = links_right(&layout, m) && layout.dim == hnsw_graph_dim(request.type, dim) &&
			layout.column_dim == dim && layout.metric == request.metric && layout.m == m;
		right[3] = code_right(&layout, request.compact);
		if (layout.projected)
			for (int bits = 2; bits >= 1; bits--)
			{
				hnsw_layout_set_code_bits(&layout, bits);
				right[3] &= code_right(&layout, request.compact);
			}
		right[4] = meta_right(&layout);
		right[5] = keys_right(&layout, request.key_size);
		for (int j = 0; j < 6; j++)
			if (!right[j] && wrong[j]++ == 0)
				first[j] = dim;
	}
	ok(wrong[0] == 0, "%s, m %d: nodes fit their pages (first wrong: %d)", name, m, first[0]);
	ok(wrong[1] == 0, "%s, m %d: parts are aligned and apart (first wrong: %d)", name, m, first[1]);
	ok(wrong[2] == 0, "%s, m %d: room for links (first wrong: %d)", name, m, first[2]);
	ok(wrong[3] == 0, "%s, m %d: codes cover the vector (first wrong: %d)", name, m, first[3]);
	ok(wrong[4] == 0, "%s, m %d: the metapage tells it (first wrong: %d)", name, m, first[4]);
	ok(wrong[5] == 0, "%s, m %d: room for keys (first wrong: %d)", name, m, first[5]);
}

/* Keys of all sizes, in nodes of all kinds; and short keys make no node larger. */
static void
check_keys(void)
{
	for (int key_size = 2; key_size <= HNSW_MAX_KEY_SIZE; key_size += 9)
	{
		for (int kind = 0; kind < 4; kind++)
		{
			HnswLayoutRequest shape = {.m = 16,.key_size = key_size};
			char		name[64];

			shape.metric = kind == 3 ? HNSW_L1 : HNSW_COSINE;
			shape.projected = kind == 1;
			shape.compact = kind == 2;
			snprintf(name, sizeof(name), "keys of %d bytes, kind %d", key_size, kind);
			check_shapes(name, &shape, MAX_DIM);
		}
	}
	for (int dim = 128; dim <= 384; dim *= 3)
	{
		HnswLayoutRequest request = {.column_dim = dim,.metric = HNSW_L2,.m = 16};
		HnswLayout	without;
		HnswLayout	with;

		hnsw_layout_choose(&without, &request);
		request.key_size = 9;
		hnsw_layout_choose(&with, &request);
		ok(with.nodes_per_page == without.nodes_per_page && with.degree == without.degree &&
		   with.code.dims == without.code.dims,
		   "%d dimensions: keys of two integers find room", dim);
	}
}

int
main(void)
{
	static const char *const names[] = {"", "l2", "ip", "cosine", "l1", "hamming", "jaccard"};
	static const int ms[] = {2, 8, 16, 32, 48, 64, 100};
	bool		fits = true;

	for (int i = 0; i < lengthof(ms); i++)
	{
		HnswLayoutRequest shape = {.m = ms[i]};
		char		name[64];

		for (shape.metric = HNSW_L2; shape.metric <= HNSW_L1; shape.metric++)
		{
			for (int kind = 0; kind < (shape.metric < HNSW_L1 ? 4 : 1); kind++)
			{
				shape.projected = kind % 2 == 1;
				shape.compact = kind / 2 == 1;
				for (shape.type = HNSW_TYPE_VECTOR; shape.type <= HNSW_TYPE_HALFVEC; shape.type++)
				{
					snprintf(name, sizeof(name), "%s%s %s%s", shape.compact ? "compact " : "",
							 shape.type == HNSW_TYPE_HALFVEC ? "halfvec" : "vector",
							 names[shape.metric], shape.projected ? ", projected" : "");
					check_shapes(name, &shape, MAX_DIM);
				}
			}
			shape.projected = shape.compact = false;
			shape.type = HNSW_TYPE_SPARSEVEC;
			for (shape.elements = 1; shape.elements <= MAX_DIM; shape.elements *= 8)
			{
				snprintf(name, sizeof(name), "sparsevec %s, %d elements", names[shape.metric],
						 shape.elements);
				check_shapes(name, &shape, 70000);
			}
		}
		shape.type = HNSW_TYPE_BIT;
		for (shape.metric = HNSW_HAMMING; shape.metric <= HNSW_JACCARD; shape.metric++)
			check_shapes(names[shape.metric], &shape, HNSW_MAX_BITS);
	}

	check_keys();

	/* The last slots that there can be have numbers of 32 bits. */
	for (int slots = 1; slots <= HNSW_MAX_NODES_PER_PAGE; slots++)
	{
		uint64		block = HNSW_MAX_SLOT_BLOCK(slots);
		uint64		last = block * slots + slots - 1;

		fits = fits && block <= MaxBlockNumber && last <= PG_UINT32_MAX &&
			(block == MaxBlockNumber || last + slots > PG_UINT32_MAX);
	}
	ok(fits, "numbers of slots do not wrap");

	/* What users of the default m get. */
	ok(first_spanning(HNSW_L2, 16) > 1536, "1,536 dimensions fit a page");
	ok(first_spanning(HNSW_L1, 16) > 2000, "2,000 dimensions without codes fit a page");
	return done_testing();
}
