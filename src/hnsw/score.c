/*-------------------------------------------------------------------------
 *
 * score.c
 *		Queries, and estimates of keys by codes.
 *
 * An expanded node u gives the exact key of its own (stored) vector (bounds.c)
 * and, from one rotated query, estimates of the keys of its neighbours v.
 * Codes are for Euclidean distances alone; by inner product the key is the
 * product.  With r = x_v - x_u:
 *
 *	|q - x_v|^2 = |q - x_u|^2 + |r|^2 - 2 <q - x_u, r>
 *	-2 <q, x_v> = -2 <q, x_u> - 2 <x_u, r> - 2 <q - x_u, r>
 *
 * and <q - x_u, r> is estimated as f (<c, q> - <c, x_u>) by the code c with
 * factor f of r.  What does not depend on q is stored as the factor a, and
 * b = -2 f, so that estimate = key(u) + a + b <c, q>.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/value.h"

/*
 * The coordinate that inner product adds, so that the graph is one of
 * Euclidean distances: all rows get the same length (Bachrach et al., 2014).
 */
float
hnsw_extra(const HnswIndex *index, float norm)
{
	return index->layout.space->lifted ?
		sqrtf(Max(index->norm * index->norm - norm, 0)) : 0;
}

/* Allocate a query in the current memory context. */
HnswQuery *
hnsw_query_create(HnswIndex *index)
{
	const HnswLayout *layout = &index->layout;
	HnswQuery  *query = palloc0(sizeof(HnswQuery));

	query->x = palloc(sizeof(float) * layout->dim);
	if (layout->code.units > 0)
	{
		query->rotated = palloc(sizeof(float) * hnsw_rotated_length(layout));
		query->code.lut = palloc((Size) layout->code.units * 2 * 16);
	}
	if (layout->own_kind == HNSW_OWN_BITS)
		query->bits = palloc((layout->dim + 7) / 8);
	if (layout->own_kind == HNSW_OWN_SPARSE)
		query->sparse = hnsw_sparse_create(layout);
	return query;
}

/*
 * Bring a vector into the space of the graph: unit length for cosine, itself
 * otherwise.  False if it has no place there: a zero (or overflowing) vector
 * under cosine.
 */
bool
hnsw_prepare(const HnswIndex *index, const float *x, float *out)
{
	int			dim = index->layout.dim;
	double		norm = 0;

	if (!index->layout.space->unit)
	{
		memcpy(out, x, sizeof(float) * dim);
		return true;
	}
	for (int i = 0; i < dim; i++)
		norm += (double) x[i] * x[i];
	norm = sqrt(norm);
	for (int i = 0; i < dim; i++)
		out[i] = norm > 0 ? (float) (x[i] / norm) : 0;
	return norm > 0;
}

/* Rotate and centre a prepared vector: out_dim values. */
void
hnsw_rotate_only(const HnswIndex *index, const float *x, float *rotated)
{
	int			dim = index->layout.dim;
	float	   *centred = palloc(sizeof(float) * dim);

	for (int i = 0; i < dim; i++)
		centred[i] = x[i] - index->mean[i];
	rotation_apply(&index->rotation, centred, rotated);
	pfree(centred);
}

/* Complete a rotated vector by what codes are made of, if that is not itself. */
void
hnsw_project(const HnswIndex *index, float *rotated)
{
	if (index->layout.projected)
		projection_apply(&index->projection, rotated, rotated + index->layout.out_dim);
}

/* Rotate and centre a prepared vector, and project it. */
void
hnsw_rotate(const HnswIndex *index, const float *x, float *rotated)
{
	hnsw_rotate_only(index, x, rotated);
	hnsw_project(index, rotated);
}

/* What goes along with the query's x: rotated, as codes, as bits. */
static void
finish_query(HnswIndex *index, HnswQuery *query)
{
	const HnswLayout *layout = &index->layout;

	if (query->rotated != NULL)
	{
		query->rotated_norm = distance->normsq(layout->out_dim, query->rotated);
		code_query_init(&layout->code, HnswCodedPart(layout, query->rotated), &query->code);
	}
	if (query->bits != NULL)
		hnsw_own_bits(layout, query->x, query->bits);
}

/*
 * Set the query.  "search" is true for a user's query, false for a row to be
 * inserted, whose length matters.
 */
void
hnsw_query_set(HnswIndex *index, HnswQuery *query, const HnswValue *value, bool search)
{
	const HnswLayout *layout = &index->layout;
	double		factor = 1;

	query->length = hnsw_value_length(layout, value);
	(void) hnsw_prepare(index, value->x, query->x);
	query->zero = layout->space->unit && query->length == 0;
	if (search && layout->space->unit)
	{
		float		norm = query->sparse ? (float) (query->length * query->length) :
			distance->normsq(layout->dim, value->x);

		/* As the operator sees it: all distances are NaN. */
		query->zero |= norm == 0 || isinf(norm);
	}
	if (query->zero)
		return;
	query->unscale = 0.5f;

	/*
	 * The order by inner product does not depend on the length of the query,
	 * but the estimates' error does: it is least among the rows.
	 */
	if (layout->space->lifted && search && index->norm > 0 &&
		query->length > 0 && query->length * query->length < FLT_MAX)
	{
		float		to_typical = (float) (index->norm / query->length);

		if (to_typical > FLT_MIN && to_typical < FLT_MAX && 1 / to_typical > FLT_MIN)
		{
			factor = to_typical;
			for (int i = 0; i < layout->dim; i++)
				query->x[i] *= to_typical;
			query->length *= to_typical;
			query->unscale = 0.5f / to_typical;
		}
	}
	query->norm = distance->normsq(layout->dim, query->x);
	if (query->sparse != NULL)
	{
		if (layout->space->unit)
			factor = 1 / query->length;
		hnsw_sparse_set(layout, query->sparse, value, factor);
		if (!layout->space->absolute)
			query->norm = (float) Min(query->sparse->norm, FLT_MAX);
	}
	if (query->rotated != NULL)
		hnsw_rotate(index, query->x, query->rotated);
	finish_query(index, query);
}

/*
 * Make a node the query, as repairs need: vector is what hnsw_own_decode made
 * of it.
 */
void
hnsw_query_set_node(HnswIndex *index, HnswQuery *query, const HnswNodeHeaderData *node,
					const float *vector)
{
	const HnswLayout *layout = &index->layout;

	query->zero = false;
	query->unscale = 0.5f;
	query->norm = node->norm;
	if (hnsw_own_rotated(layout))
	{
		memcpy(query->rotated, vector, sizeof(float) * layout->out_dim);
		hnsw_project(index, query->rotated);
	}
	else
	{
		memcpy(query->x, vector, sizeof(float) * layout->dim);
		if (query->rotated != NULL)
			hnsw_rotate(index, vector, query->rotated);
	}
	if (query->sparse != NULL)
	{
		HnswValue	value;

		value.indices = palloc(sizeof(int32) * Max(layout->elements, 1));
		value.values = palloc(sizeof(float) * Max(layout->elements, 1));
		value.nnz = hnsw_own_elements(layout, node, value.indices, value.values);
		hnsw_sparse_set(layout, query->sparse, &value, 1);
		pfree(value.indices);
		pfree(value.values);
	}
	finish_query(index, query);
}

/* How long a link with this factor b is. */
float
hnsw_code_length(const HnswLayout *layout, float b)
{
	return -0.5f * code_expected_norm(&layout->code) * b;
}

/*
 * How long a coded node's links are; lengths must have room for "degree".
 * Returns how many there are.
 */
int
hnsw_link_lengths(const HnswIndex *index, const HnswNodeHeaderData *node, float *lengths)
{
	const HnswLayout *layout = &index->layout;
	int			n = node->nlinks;

	Assert(n <= layout->degree);
	distance->half_to_float(n, HnswNodeFactorsB(layout, node), lengths);
	for (int i = 0; i < n; i++)
		lengths[i] = hnsw_code_length(layout, lengths[i] * node->scale_b);
	return n;
}

/* Links in FastScan blocks, and what their factors are to be scaled by */
typedef struct CodedLinks
{
	int			n;
	const uint8 *codes;
	float		scale_a;
	float		scale_b;
} CodedLinks;

/*
 * From codes, and factors in estimates and lengths, to the estimates and
 * lengths.  sums is room for whole blocks.
 */
static inline void
estimate(const HnswLayout *layout, const HnswQuery *query, CodedLinks links, float key,
		 float *estimates, float *lengths, uint32 *sums)
{
	float		step = query->code.step;
	float		offset = query->code.offset;
	float		to_length = 0.5f * code_expected_norm(&layout->code);

	distance->fastscan(layout->code.units, (links.n + FASTSCAN_BLOCK - 1) / FASTSCAN_BLOCK,
					   links.codes, query->code.lut, sums);
	for (int i = 0; i < links.n; i++)
	{
		float		b = lengths[i] * links.scale_b;

		estimates[i] = key + estimates[i] * links.scale_a + b * (step * (float) sums[i] + offset);
		lengths[i] = -b * to_length;
	}
}

/*
 * Estimate the keys of n neighbours of a node with this key from codes that are
 * not in the node, as hnsw_node_estimates does from those that are.  Before the
 * call, estimates and lengths hold the factors a and b.
 */
void
hnsw_code_estimates(const HnswIndex *index, const HnswQuery *query, const uint8 *codes, int n,
					float key, float *estimates, float *lengths)
{
	uint32		sums[HNSW_MAX_OVERFLOW + FASTSCAN_BLOCK];

	estimate(&index->layout, query, (CodedLinks) {n, codes, 1, 1}, key, estimates, lengths, sums);
}

/*
 * Estimate the keys of a node's neighbours, given the node's own key.  Also
 * their distances from the node (not squared), as the codes tell them.
 * Returns the number of links; the arrays must have room for "degree".
 */
int
hnsw_node_estimates(const HnswIndex *index, const HnswQuery *query,
					const HnswNodeHeaderData *node, float key, float *estimates,
					float *lengths)
{
	const HnswLayout *layout = &index->layout;
	int			nlinks = node->nlinks;
	int			nblocks = (nlinks + FASTSCAN_BLOCK - 1) / FASTSCAN_BLOCK;
	int			n = nblocks * FASTSCAN_BLOCK;
	uint32		sums[HNSW_MAX_DEGREE];

	Assert(nlinks <= layout->degree);
	distance->half_to_float(n, HnswNodeFactorsA(layout, node), estimates);
	distance->half_to_float(n, HnswNodeFactorsB(layout, node), lengths);
	estimate(layout, query,
			 (CodedLinks) {n, HnswNodeCodes(layout, node), node->scale_a, node->scale_b},
			 key, estimates, lengths, sums);
	return nlinks;
}

/* The query as hnsw_own_decode would give it. */
const float *
hnsw_query_vector(const HnswIndex *index, const HnswQuery *query)
{
	return hnsw_own_rotated(&index->layout) ? query->rotated : query->x;
}

/*
 * Code and factors of the link from one rotated vector to another, both with
 * what codes are made of behind them.
 */
void
hnsw_link_encode(const HnswIndex *index, const float *from, const float *to,
				 uint8 *code, float *a, float *b)
{
	const HnswLayout *layout = &index->layout;
	int			n = layout->out_dim;
	float		rsq;
	float		dot;
	float		factor;

	if (layout->projected)
	{
		float		coded;

		/* What is not projected counts as the rest does: f has the full |r|^2. */
		factor = code_encode(&layout->code, layout->code.dims, from + n, to + n, code,
							 &coded, &dot);
		rsq = distance->l2sq(n, from, to);
		factor = coded > 0 ? factor * (rsq / coded) : 0;
	}
	else
		factor = code_encode(&layout->code, n, from, to, code, &rsq, &dot);

	*b = -2 * factor;
	*a = 2 * factor * dot;
	if (layout->space->lifted)
	{
		/* -2 <x_u, r>, where x_u = from + the rotated mean and r = to - from */
		const float *mean = index->mean + layout->dim;
		float		square;

		*a -= 2 * (distance->ip(n, from, to) - distance->normsq(n, from) +
				   distance->ip(n, mean, to) - distance->ip(n, mean, from));
		/*
		 * <x_u, r> is known, its estimate is not exact, and both errors are alike: so what
		 * the one is off by is taken from the other.  Of an x_u that is much longer than
		 * queries, as much of it as is as long as they.
		 */
		square = distance->normsq(n, from) + 2 * distance->ip(n, mean, from) +
			distance->normsq(n, mean);
		if (index->norm > 0 && square > index->norm * index->norm)
			*a *= index->norm / sqrtf(square);
	}
	else
		*a += rsq;
}
