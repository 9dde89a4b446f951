/*-------------------------------------------------------------------------
 *
 * value.h
 *		What is indexed and searched for: values, queries, own vectors, keys.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_VALUE_H
#define PIRAMID_HNSW_VALUE_H

#include "postgres.h"

#include <math.h>

#include "hnsw/open.h"

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
	float	   *found;			/* the query's values at those positions */
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
	const struct HnswStored *mask;	/* a node that searches pass over, or NULL */
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

/* A value as an insert stores it, and as a build does, which packs it first */
typedef struct HnswStored
{
	HnswOwn		inserted;
	HnswOwn		built;
} HnswStored;

/* functions in score_sparse.c */
extern HnswSparseQuery *hnsw_sparse_create(const HnswLayout *layout);
extern void hnsw_sparse_set(const HnswLayout *layout, HnswSparseQuery *sparse,
							const HnswValue *value, double factor);
extern double hnsw_sparse_ip(const HnswLayout *layout, const HnswSparseQuery *sparse,
							 const HnswNodeHeaderData *node);
extern double hnsw_sparse_l2sq(const HnswLayout *layout, const HnswSparseQuery *sparse,
							   const HnswNodeHeaderData *node);
extern double hnsw_sparse_l1(const HnswLayout *layout, const HnswSparseQuery *sparse,
							 const HnswNodeHeaderData *node);

/* functions in score.c */
extern float hnsw_extra(const HnswIndex *index, float norm);
extern HnswQuery *hnsw_query_create(HnswIndex *index);
extern void hnsw_query_set(HnswIndex *index, HnswQuery *query, const HnswValue *value,
						   bool search);
extern void hnsw_query_set_node(HnswIndex *index, HnswQuery *query,
								const HnswNodeHeaderData *node, const float *vector);
extern const float *hnsw_query_vector(const HnswIndex *index, const HnswQuery *query);
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

/* What a search keeps of a node that it has expanded. */
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

/* Has an expanded base node rows to return?  Not if they are dead, or the filter has none of them. */
static inline bool
hnsw_has_rows(const HnswFound *found)
{
	return found->ntids > 0 || found->more_tids != 0;
}

/* functions in bounds.c */
extern float hnsw_node_key(const HnswIndex *index, const HnswQuery *query,
						   const HnswNodeHeaderData *node, float *l2sq);
extern float hnsw_graph_key(const HnswIndex *index, const HnswQuery *query,
							const HnswNodeHeaderData *node, float *l2sq);
extern void hnsw_key_bounds(const HnswIndex *index, const HnswQuery *query,
							const HnswFound *found, double *lower, double *upper);

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
extern void hnsw_stored_make(const HnswIndex *index, const HnswValue *value,
							 HnswValue *unpacked, HnswStored *stored);
extern const HnswOwn *hnsw_stored_as(const HnswLayout *layout, const HnswNodeHeaderData *node,
									 const HnswStored *stored);
extern double hnsw_own_distance(const HnswIndex *index, const HnswNodeHeaderData *node,
								const HnswValue *value);
extern void hnsw_own_decode(const HnswIndex *index, const HnswNodeHeaderData *node,
							float *out);
extern void hnsw_own_bits(const HnswLayout *layout, const float *x, uint8 *bits);
extern int	hnsw_own_sparse(const HnswLayout *layout, const HnswNodeHeaderData *node,
							int32 *indices, float *values);
extern int	hnsw_own_elements(const HnswLayout *layout, const HnswNodeHeaderData *node,
							  int32 *indices, float *values);
extern const float *hnsw_rotated(const HnswIndex *index, const float *vector);

/* Room for a sketch */
typedef union HnswSketchRoom
{
	HnswSketchData sketch;
	char		bytes[offsetof(HnswSketchData, code) + HNSW_MAX_SKETCH_BITS / 8];
} HnswSketchRoom;

/* functions in sketch.c */
extern void hnsw_sketch_make(HnswIndex *index, const float *rotated, HnswSketchData *sketch);
extern void hnsw_sketch_query(HnswIndex *index, const HnswQuery *query, CodeQuery *code);

#endif							/* PIRAMID_HNSW_VALUE_H */
