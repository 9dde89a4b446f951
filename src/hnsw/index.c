/*-------------------------------------------------------------------------
 *
 * index.c
 *		An index as the code sees it: opened from the metapage, once a backend.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "hnsw/open.h"
#include "hnsw/options.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* What hnsw_open keeps in the relcache entry, one chunk. */
typedef struct HnswCache
{
	HnswMetaPageData meta;
	AttrNumber	vector_column;
	HnswKeyColumns keys;
	float		floats[FLEXIBLE_ARRAY_MEMBER];	/* mean, rotated mean, signs */
} HnswCache;

/* Does the metapage describe an index that this code can read, with such filter columns? */
static void
check_meta(Relation rel, const HnswMetaPageData *meta, const HnswKeyColumns *keys)
{
	HnswLayout	layout;
	HnswType	type = hnsw_type(rel);
	int			typmod = hnsw_column_dimensions(rel);

	if (meta->magic != HNSW_MAGIC || meta->version < HNSW_FIRST_VERSION ||
		meta->version > HNSW_VERSION || meta->link_key_bytes != 0)
		page_report_corrupt(rel, HNSW_METAPAGE, "an unknown metapage");
	if (meta->m < HNSW_MIN_M || meta->m > HNSW_MAX_M ||
		meta->ef_construction < HNSW_MIN_EF_CONSTRUCTION ||
		meta->ef_construction > HNSW_MAX_EF_CONSTRUCTION ||
		meta->dim < 1 || (typmod > 0 && meta->dim != hnsw_graph_dim(type, typmod)) ||
		meta->degree < FASTSCAN_BLOCK || meta->degree > HNSW_MAX_DEGREE ||
		meta->degree % FASTSCAN_BLOCK != 0 || meta->code_bits > 4 ||
		meta->code_dims > rotation_out_dim(meta->dim) || meta->code_dims % (meta->code_bits > 1 ? 16 : 32) != 0 ||
		(meta->code_dims > 0) != (meta->code_bits > 0) ||
		!hnsw_metric_exists(meta->metric) || meta->metric != hnsw_metric(rel) ||
		meta->own_kind < HNSW_OWN_HALF || meta->own_kind > HNSW_OWN_INT4 ||
		(meta->own_kind == HNSW_OWN_BITS) != (type == HNSW_TYPE_BIT) ||
		(meta->own_kind == HNSW_OWN_BITS) != hnsw_metric_info(meta->metric)->bits ||
		(meta->own_kind == HNSW_OWN_SPARSE) != (type == HNSW_TYPE_SPARSEVEC) ||
		(type == HNSW_TYPE_SPARSEVEC && meta->index_size != sizeof(uint16) &&
		 meta->index_size != sizeof(int32)) ||
		meta->elements > BLCKSZ ||
		(meta->column_dim != 0 &&
		 (meta->column_dim > MaxAllocSize || meta->dim != hnsw_graph_dim(type, meta->column_dim) ||
		  (meta->index_size == sizeof(uint16) && meta->column_dim > PG_UINT16_MAX + 1))) ||
		((meta->projection != 0 || meta->own_kind == HNSW_OWN_INT4 || meta->overflow_pages != 0) &&
		 meta->version < HNSW_OVERFLOW_VERSION) ||
		(meta->column_dim == 0 && meta->version >= HNSW_KEY_VERSION) ||
		meta->key_columns != keys->n || meta->key_size != keys->size ||
		(meta->key_pages != 0 && meta->key_size == 0) ||
		meta->sketch_bits > Min(HNSW_MAX_SKETCH_BITS, rotation_out_dim(meta->dim)) ||
		meta->sketch_bits % 32 != 0 || (meta->sketch_bits != 0) != (meta->sketch_projection != 0) ||
		(meta->projection != 0 && (meta->code_dims == 0 ||
								   rotation_out_dim(meta->dim) > PROJECTION_MAX_WIDTH)) ||
		meta->rotation != 1 || meta->inline_tids < 1 ||
		meta->nodes_per_page < 1 || meta->pages_per_node < 1)
		page_report_corrupt(rel, HNSW_METAPAGE, "an impossible metapage");
	hnsw_layout_from_meta(&layout, meta);
	if (layout.node_size != meta->node_size ||
		meta->inline_tids > HNSW_CHUNK_TIDS ||
		(hnsw_own_rotated(&layout) && meta->code_bits == 0) ||
		(meta->sketch_bits != 0 && !hnsw_layout_sketchable(&layout)) ||
		(meta->pages_per_node > 1 && meta->nodes_per_page > 1) ||
		layout.node_size * layout.nodes_per_page >
		HNSW_PAGE_SPACE * layout.pages_per_node ||
		layout.node_size <= HNSW_PAGE_SPACE * (layout.pages_per_node - 1))
		page_report_corrupt(rel, HNSW_METAPAGE, "an impossible metapage");
}

/*
 * Open an index.  What never changes is read once per backend and kept in
 * the relcache; the result is a copy of that in the current memory context,
 * since an invalidation may free the relcache's at any time.
 */
HnswIndex *
hnsw_open(Relation rel)
{
	HnswIndex  *index = palloc0(sizeof(HnswIndex));
	HnswCache  *cache = rel->rd_amcache;
	int			dim;
	int			out_dim;
	Size		mean_size;
	Size		signs_size;

	if (cache == NULL)
	{
		HnswMetaPageData meta;
		HnswKeyColumns keys;
		Size		size;

		hnsw_map_forget();

		if (RelationGetNumberOfBlocks(rel) == 0)
			page_report_corrupt(rel, HNSW_METAPAGE, "no metapage");
		hnsw_meta_read(rel, &meta);
		hnsw_key_columns(rel, &keys);
		check_meta(rel, &meta, &keys);
		out_dim = rotation_out_dim(meta.dim);
		mean_size = sizeof(float) * (meta.dim + out_dim);
		size = offsetof(HnswCache, floats) + mean_size + rotation_signs_size(out_dim);
		cache = palloc(size);
		cache->meta = meta;
		cache->vector_column = hnsw_vector_column(rel);
		cache->keys = keys;
		rotation_init(&index->rotation, meta.dim, meta.seed,
					  cache->floats + meta.dim + out_dim);
		memset(cache->floats, 0, sizeof(float) * meta.dim);
		if (meta.mean != InvalidBlockNumber)
			hnsw_read_chain(rel, meta.mean, HNSW_PAGE_MEAN, (char *) cache->floats,
					   sizeof(float) * meta.dim);
		rotation_apply(&index->rotation, cache->floats, cache->floats + meta.dim);
		rel->rd_amcache = MemoryContextAlloc(rel->rd_indexcxt, size);
		memcpy(rel->rd_amcache, cache, size);
	}

	dim = cache->meta.dim;
	out_dim = rotation_out_dim(dim);
	mean_size = sizeof(float) * (dim + out_dim);
	signs_size = rotation_signs_size(out_dim);
	index->rel = rel;
	index->version = cache->meta.version;
	index->vector_column = cache->vector_column;
	index->keys = cache->keys;
	hnsw_layout_from_meta(&index->layout, &cache->meta);
	index->layout.type = hnsw_type(rel);
	if (hnsw_column_dimensions(rel) > 0)
		index->layout.column_dim = hnsw_column_dimensions(rel);
	index->norm = cache->meta.norm;
	index->nblocks = RelationGetNumberOfBlocks(rel);
	page_hints_grow(index->nblocks);
	index->mean = palloc(mean_size + signs_size);
	memcpy(index->mean, cache->floats, mean_size + signs_size);
	rotation_init_copy(&index->rotation, dim, index->mean + dim + out_dim);
	if (index->layout.projected)
	{
		const HnswProjectionName name = {cache->meta.projection, cache->meta.seed,
		cache->meta.code_dims};

		hnsw_projection_open(index, &name, &index->projection);
	}
	index->sketch_name = (HnswProjectionName) {cache->meta.sketch_projection,
	cache->meta.sketch_seed, cache->meta.sketch_bits};
	if (index->layout.pages_per_node > 1)
		index->scratch = palloc(index->layout.node_size);
	if (cache != rel->rd_amcache)
		pfree(cache);
	return index;
}
