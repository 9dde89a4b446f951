/*-------------------------------------------------------------------------
 *
 * hnsw_fields.c
 *		Where the fields of an index's pages are, for tests that damage them:
 *		lines of "NAME OFFSET TYPE", TYPE as Perl's pack() has it, or of
 *		"NAME VALUE" for constants.  The argument, if there is one, is the file
 *		of an hnsw index, whose metapage tells where the links of its nodes begin.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25_page.h"
#include "distance/distance.h"
#include "hnsw/index.h"

#undef printf
#undef fprintf

/* metric.c names the kernels, but a layout needs none. */
PGDLLIMPORT const DistanceKernels *distance;

#define FIELD(prefix, type, field) \
	printf("%s.%s %zu %s\n", prefix, #field, offsetof(type, field), \
		   _Generic(((type *) NULL)->field, uint8: "C", uint16: "S", uint32: "L", \
					int32: "l", uint64: "Q", float: "f", ItemPointerData: "a6"))
#define META(field) FIELD("meta", HnswMetaPageData, field)
#define PAGE_END(field) FIELD("opaque", HnswPageOpaqueData, field)
#define NODE(field) FIELD("node", HnswNodeHeaderData, field)
#define CHUNK(field) FIELD("chunk", HnswTidChunkData, field)
#define RECALL(field) FIELD("recall", HnswRecallData, field)
#define BM25(field) FIELD("bm25", Bm25PageOpaqueData, field)
#define BM25_META(field) FIELD("bm25meta", Bm25MetaPageData, field)
#define SEGMENT(field) FIELD("segment", Bm25Segment, field)
#define STREAMS(field) FIELD("streams", Bm25SegmentHeader, field)
#define HEAD(field) FIELD("head", Bm25HeadPageData, field)
#define BLOCK(field) FIELD("block", Bm25BlockHead, field)
#define CONSTANT(name, value) printf("%s %zu\n", name, (Size) (value))

static void
print_fields(void)
{
	META(magic);
	META(version);
	META(dim);
	META(metric);
	META(own_kind);
	META(m);
	META(ef_construction);
	META(degree);
	META(code_dims);
	META(code_bits);
	META(inline_tids);
	META(key_size);
	META(nodes_per_page);
	META(pages_per_node);
	META(index_size);
	META(node_size);
	META(elements);
	META(norm);
	META(mean);
	META(entry);
	META(entry_level);
	META(free_node[0]);
	META(free_node[1]);
	META(free_tids);
	META(column_dim);
	META(key_columns);
	META(key_pages);
	META(sketch_bits);
	META(sketch_projection);
	META(sketch_pages);
	META(projection);
	META(overflow_pages);
	META(link_key_bytes);
	META(recall);
	PAGE_END(magic);
	PAGE_END(version);
	PAGE_END(kind);
	PAGE_END(upper);
	PAGE_END(listed);
	PAGE_END(nfree);
	PAGE_END(nused);
	PAGE_END(next);
	NODE(flags);
	NODE(level);
	NODE(nlinks);
	NODE(ntids);
	NODE(below);
	NODE(more_tids);
	NODE(nnz);
	NODE(scale);
	NODE(norm);
	NODE(own_norm);
	NODE(error);
	NODE(scale_a);
	NODE(scale_b);
	CHUNK(owner);
	CHUNK(next);
	CHUNK(ntids);
	CHUNK(sequence);
	CHUNK(tids[0]);
	RECALL(nodes);
	RECALL(points[0][0].width);
	RECALL(points[0][0].recall);
	RECALL(points[0][1].width);
	BM25(magic);
	BM25(version);
	BM25(kind);
	BM25(generation);
	BM25_META(k1);
	BM25_META(flags);
	BM25_META(head_first);
	BM25_META(head_last);
	BM25_META(nsegments);
	BM25_META(dim);
	BM25_META(spare[0].first);
	BM25_META(spare[0].pages);
	SEGMENT(generation);
	SEGMENT(ndocs);
	SEGMENT(sumlen);
	SEGMENT(ndead);
	SEGMENT(nterms);
	SEGMENT(avglen);
	SEGMENT(width);
	SEGMENT(flags);
	STREAMS(bytes[BM25_LENGTHS]);
	STREAMS(bytes[BM25_LEAVES]);
	STREAMS(bytes[BM25_POSTINGS]);
	STREAMS(nextents[BM25_LENGTHS]);
	HEAD(next);
	HEAD(used);
	FIELD("free", Bm25FreePageData, nruns);
	FIELD("free", Bm25FreePageData, runs[0].run.first);
	FIELD("dictionary", Bm25DictPageData, count);
	FIELD("dictionary", Bm25DictPageData, first_leaf);
	BLOCK(gap_bits);
	BLOCK(bound);
}

static void
print_constants(void)
{
	CONSTANT("PAGE", BLCKSZ);
	CONSTANT("START", HNSW_PAGE_START);
	CONSTANT("SPECIAL", BLCKSZ - MAXALIGN(sizeof(HnswPageOpaqueData)));
	CONSTANT("PD_SPECIAL", offsetof(PageHeaderData, pd_special));
	CONSTANT("PD_LOWER", offsetof(PageHeaderData, pd_lower));
	CONSTANT("MAGIC", HNSW_MAGIC);
	CONSTANT("GROUP_BLOCKS", HNSW_GROUP_BLOCKS);
	CONSTANT("META", sizeof(HnswMetaPageData));
	CONSTANT("OLD_META", hnsw_meta_size(HNSW_KEY_VERSION - 1));
	CONSTANT("OVERFLOW_MAPS", HNSW_MAX_MAPS * sizeof(BlockNumber));
	CONSTANT("BM25_MAGIC", BM25_MAGIC);
	CONSTANT("BM25_SPECIAL", BLCKSZ - MAXALIGN(sizeof(Bm25PageOpaqueData)));
	CONSTANT("BM25_SEGMENTS", offsetof(Bm25MetaPageData, segments));
	CONSTANT("BM25_SPACE", BM25_SPACE);
	CONSTANT("BM25_IMPACTS", BM25_HAS_IMPACTS);
	CONSTANT("BM25_RUNS", offsetof(Bm25FreePageData, runs));
	CONSTANT("BM25_FREE", BM25_PAGE_FREE);
	CONSTANT("BM25_OVERFLOW", BM25_PAGE_OVERFLOW);
	CONSTANT("BM25_HEAD", BM25_PAGE_HEAD);
	CONSTANT("BM25_SEGMENT", BM25_PAGE_SEGMENT);
	CONSTANT("BM25_LENGTHS", BM25_PAGE_STREAM + BM25_LENGTHS);
	CONSTANT("BM25_TIDS", BM25_PAGE_STREAM + BM25_TIDS);
	CONSTANT("BM25_LEAVES", BM25_PAGE_STREAM + BM25_LEAVES);
	CONSTANT("BM25_INNER", BM25_PAGE_STREAM + BM25_INNER);
	CONSTANT("BM25_POSTINGS", BM25_PAGE_STREAM + BM25_POSTINGS);
	CONSTANT("BM25_POSITIONS", BM25_PAGE_STREAM + BM25_POSITIONS);
	CONSTANT("CHUNK", sizeof(HnswTidChunkData));
	CONSTANT("CHUNKS", HNSW_CHUNKS_PER_PAGE);
	CONSTANT("KIND_MEAN", HNSW_PAGE_MEAN);
	CONSTANT("KIND_NODE", HNSW_PAGE_NODE);
	CONSTANT("KIND_PART", HNSW_PAGE_NODE_PART);
	CONSTANT("KIND_TIDS", HNSW_PAGE_TIDS);
	CONSTANT("OVERFLOW_HEAD", offsetof(HnswOverflowLinkData, code));
	CONSTANT("KIND_PROJECTION", HNSW_PAGE_PROJECTION);
	CONSTANT("KIND_OVERFLOW_MAP", HNSW_PAGE_OVERFLOW_MAP);
	CONSTANT("KIND_OVERFLOW", HNSW_PAGE_OVERFLOW);
	CONSTANT("KIND_KEYS", HNSW_PAGE_KEYS);
	CONSTANT("KIND_KEY_MAP", HNSW_PAGE_KEY_MAP);
	CONSTANT("KIND_RECALL", HNSW_PAGE_RECALL);
}

/* What follows from the metapage */
static void
print_layout(Page page)
{
	HnswLayout	layout;

	hnsw_layout_from_meta(&layout, HnswPageGetMeta(page));
	printf("node.tid %d a6\n", layout.tids);
	printf("node.links %d L\n", layout.links);
	printf("node.keys %d C\n", layout.keys);
	printf("node.own %d C\n", layout.own);
	printf("node.codes %d C\n", layout.codes);
	printf("meta.overflow_map %zu L\n",
		   (char *) HnswPageGetMaps(page) - (char *) HnswPageGetMeta(page));
	printf("OWN_SIZE %d\n", layout.own_size);
	printf("OVERFLOW_LINKS %d\n", layout.overflow_links);
	printf("OVERFLOW_SIZE %d\n", layout.overflow_size);
	printf("meta.key_map %zu L\n",
		   (char *) HnswPageGetKeyMaps(page) - (char *) HnswPageGetMeta(page));
	printf("CHUNK_TIDS %d\n", layout.chunk_tids);
	printf("KEY_ENTRIES %d\n", layout.key_entries);
}

int
main(int argc, char **argv)
{
	FILE	   *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
	PGAlignedBlock page;

	if (argc > 2 || (argc == 2 && (file == NULL || fread(page.data, 1, BLCKSZ, file) != BLCKSZ)))
	{
		fprintf(stderr, "usage: hnsw_fields [INDEX-FILE]\n");
		return 1;
	}
	print_fields();
	print_constants();
	if (file != NULL)
		print_layout(page.data);
	return 0;
}
