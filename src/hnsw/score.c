/*-------------------------------------------------------------------------
 *
 * score.c
 *		Keys, estimates and bounds: everything that depends on the metric.
 *
 * A search orders nodes by key, smaller is nearer:
 *
 *	L2		|q - x|^2
 *	cosine	|q - x|^2 with both of unit length (= 2 * cosine distance)
 *	IP		-2 <q, x>, with q rescaled to the typical length of the rows
 *	L1		sum |q - x|
 *
 * An expanded node u gives the exact key of its own (stored) vector and, from
 * one rotated query, estimates of the keys of its neighbours v.  With
 * r = x_v - x_u:
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
#include "hnsw/hnsw.h"

#include "utils/float.h"

/* Relative rounding error that two float32 sums of dim terms may differ by. */
#define ROUNDING(dim) ((16 + sqrt((double) (dim))) / 4194304.0)

/* Absolute error of two such sums whose terms are denormal. */
#define UNDERFLOW(dim) ((double) (dim) * 4e-45)

/* Beyond these squared lengths, float32 cosine distances are NaN or imprecise. */
#define COSINE_MIN_NORM 1e-30
#define COSINE_MAX_NORM (FLT_MAX / 2)

/* Allocate a query in the current memory context. */
HnswQuery *
hnsw_query_create(HnswIndex *index)
{
	const HnswLayout *layout = &index->layout;
	HnswQuery  *query = palloc0(sizeof(HnswQuery));

	query->x = palloc(sizeof(float) * layout->dim);
	if (layout->code.units > 0)
	{
		query->rotated = palloc(sizeof(float) * layout->out_dim);
		query->code.lut = palloc((Size) layout->code.units * 2 * 16);
	}
	return query;
}

/* Length of a vector, in double precision: float32 squares may overflow. */
static double
length_of(int dim, const float *x)
{
	double		sum = 0;

	for (int i = 0; i < dim; i++)
		sum += (double) x[i] * x[i];
	return sqrt(sum);
}

/* Does the operator compute good cosine distances to a vector of this length? */
static inline bool
cosine_is_precise(double length)
{
	return length * length > COSINE_MIN_NORM && length * length < COSINE_MAX_NORM;
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

	if (index->layout.metric != HNSW_COSINE)
	{
		memcpy(out, x, sizeof(float) * dim);
		return true;
	}
	for (int i = 0; i < dim; i++)
		norm += (double) x[i] * x[i];
	norm = sqrt(norm);
	if (norm == 0)
		return false;
	for (int i = 0; i < dim; i++)
		out[i] = (float) (x[i] / norm);
	return true;
}

/* Rotate and centre a prepared vector. */
static void
rotate(const HnswIndex *index, const float *x, float *rotated)
{
	int			dim = index->layout.dim;
	float	   *centred = palloc(sizeof(float) * dim);

	for (int i = 0; i < dim; i++)
		centred[i] = x[i] - index->mean[i];
	rotation_apply(&index->rotation, centred, rotated);
	pfree(centred);
}

/*
 * Set the query vector x (dim values).  "search" is true for a user's query,
 * false when x is a row to be inserted, whose length matters.
 */
void
hnsw_query_set(HnswIndex *index, HnswQuery *query, const float *x, bool search)
{
	const HnswLayout *layout = &index->layout;

	query->zero = !hnsw_prepare(index, x, query->x);
	if (search && layout->metric == HNSW_COSINE)
	{
		float		norm = distance->normsq(layout->dim, x);

		/* As the operator sees it: all distances are NaN. */
		query->zero |= norm == 0 || isinf(norm);
	}
	if (query->zero)
		return;
	query->unscale = 0.5f;
	query->norm = distance->normsq(layout->dim, query->x);

	/*
	 * The order by inner product does not depend on the length of the query,
	 * but the estimates' error does: it is least among the rows.
	 */
	if (layout->metric == HNSW_IP && search && index->norm > 0 &&
		query->norm > 0 && query->norm < FLT_MAX)
	{
		float		factor = index->norm / sqrtf(query->norm);

		if (factor > FLT_MIN && factor < FLT_MAX && 1 / factor > FLT_MIN)
		{
			for (int i = 0; i < layout->dim; i++)
				query->x[i] *= factor;
			query->norm = distance->normsq(layout->dim, query->x);
			query->unscale = 0.5f / factor;
		}
	}
	query->length = length_of(layout->dim, layout->metric == HNSW_COSINE ? x : query->x);
	if (query->rotated != NULL)
	{
		rotate(index, query->x, query->rotated);
		query->rotated_norm = distance->normsq(layout->out_dim, query->rotated);
		code_query_init(&layout->code, query->rotated, &query->code);
	}
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
	if (layout->own_kind == HNSW_OWN_HALF)
		memcpy(query->x, vector, sizeof(float) * layout->dim);
	if (query->rotated != NULL)
	{
		if (layout->own_kind == HNSW_OWN_INT8)
			memcpy(query->rotated, vector, sizeof(float) * layout->out_dim);
		else
			rotate(index, vector, query->rotated);
		query->rotated_norm = distance->normsq(layout->out_dim, query->rotated);
		code_query_init(&layout->code, query->rotated, &query->code);
	}
}

static inline float
finite_key(float key)
{
	if (key <= -HNSW_MAX_KEY)
		return -HNSW_MAX_KEY;
	return (key < HNSW_MAX_KEY) ? key : HNSW_MAX_KEY;	/* also if NaN */
}

/*
 * The key of a node's own vector.  *l2sq gets the squared Euclidean distance
 * (for L1: the key).  Both are finite.
 */
float
hnsw_node_key(const HnswIndex *index, const HnswQuery *query,
			  const HnswNodeHeaderData *node, float *l2sq)
{
	const HnswLayout *layout = &index->layout;
	const char *own = HnswNodeOwn(layout, node);
	float		key;

	if (layout->own_kind == HNSW_OWN_INT8)
	{
		float		dot = node->scale * distance->i8_ip(layout->out_dim, query->rotated,
														 (const int8 *) own);

		*l2sq = Max(query->rotated_norm + node->own_norm - 2 * dot, 0);
		key = (layout->metric == HNSW_IP) ? *l2sq - query->norm - node->norm : *l2sq;
	}
	else
	{
		const half *h = (const half *) own;

		switch (layout->metric)
		{
			case HNSW_L2:
				key = *l2sq = distance->half_l2sq(layout->dim, query->x, h, node->scale);
				break;
			case HNSW_COSINE:
				key = *l2sq = Max(2 - 2 * node->scale *
								  distance->half_ip(layout->dim, query->x, h), 0);
				break;
			case HNSW_IP:
				key = -2 * node->scale * distance->half_ip(layout->dim, query->x, h);
				*l2sq = Max(query->norm + node->norm + key, 0);
				break;
			default:
				key = *l2sq = distance->half_l1(layout->dim, query->x, h, node->scale);
				break;
		}
	}
	*l2sq = finite_key(*l2sq);
	return finite_key(key);
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
	int			nlinks = Min(node->nlinks, layout->degree);
	int			nblocks = (nlinks + FASTSCAN_BLOCK - 1) / FASTSCAN_BLOCK;
	int			n = nblocks * FASTSCAN_BLOCK;
	uint32		sums[256];
	float		step = query->code.step;
	float		offset = query->code.offset;
	float		scale_a = node->scale_a;
	float		scale_b = node->scale_b;
	float		to_length = 0.5f * code_expected_norm(&layout->code);

	distance->fastscan(layout->code.units, nblocks, HnswNodeCodes(layout, node),
					   query->code.lut, sums);
	distance->half_to_float(n, HnswNodeFactorsA(layout, node), estimates);
	distance->half_to_float(n, HnswNodeFactorsB(layout, node), lengths);
	for (int i = 0; i < n; i++)
	{
		float		b = lengths[i] * scale_b;

		estimates[i] = key + estimates[i] * scale_a + b * (step * (float) sums[i] + offset);
		lengths[i] = -b * to_length;
	}
	return nlinks;
}

/*
 * Bounds of the distance that the operator computes, from what a search found:
 * the truth is between them, rounding of float32 sums included.
 */
void
hnsw_key_bounds(const HnswIndex *index, const HnswQuery *query, const HnswFound *found,
				double *lower, double *upper)
{
	const HnswLayout *layout = &index->layout;
	bool		int8_own = layout->own_kind == HNSW_OWN_INT8;
	double		rounding = ROUNDING(layout->dim);
	double		underflow = UNDERFLOW(layout->dim);
	double		key = found->key;
	double		error = found->error;
	double		norm = found->norm;
	double		d;
	double		e;

	switch (layout->metric)
	{
		case HNSW_L2:
			/* int8 keys come from a difference of squares around the mean */
			e = underflow + (int8_own ? query->rotated_norm * 4 * rounding : 0);
			*lower = sqrt(Max(key - e, 0.0)) * (1 - rounding) - error;
			*upper = sqrt(key + e) * (1 + rounding) + error;
			break;
		case HNSW_COSINE:

			/*
			 * The key is a squared distance of unit vectors.  With half own
			 * vectors the inner product of the stored one is off by at most
			 * the error; with int8 the Euclidean distance is.
			 */
			if (int8_own)
			{
				d = Max(sqrt(Max(key - 16 * rounding, 0.0)) - error, 0);
				*lower = d * d / 2 - 2 * rounding;
				d = sqrt(key + 16 * rounding) + error;
				*upper = d * d / 2 + 2 * rounding;
			}
			else
			{
				*lower = key / 2 - error - 4 * rounding;
				*upper = key / 2 + error + 4 * rounding;
			}
			break;
		case HNSW_IP:
			d = key * query->unscale;
			if (query->length == 0)
				e = 0;
			else if (int8_own)
			{
				/* | |q-x|^2 - |q-stored x|^2 |, and the sums around the mean */
				double		squares = query->length * query->length + norm;

				e = query->unscale *
					(2 * sqrt(Max(key + squares, 0)) * error + 2 * error * error +
					 16 * rounding * (squares + (double) index->norm * index->norm) + underflow);
			}
			else
				e = query->unscale * (2 * query->length * (error + 2 * rounding * sqrt(norm)) +
									  underflow);
			e += underflow;
			if (query->length == 0)
				d = e = 0;
			*lower = d - e;
			*upper = d + e;
			break;
		default:
			*lower = key * (1 - rounding) - error;
			*upper = key * (1 + rounding) + error;
			break;
	}

	if (layout->metric == HNSW_COSINE && !cosine_is_precise(query->length))
		*lower = 0, *upper = get_float8_infinity();
	if (layout->metric != HNSW_IP)
		*lower = Max(*lower, 0);
	else if (isnan(*lower) || (fabs(key) >= HNSW_MAX_KEY && query->length > 0))
		*lower = -get_float8_infinity();
	if (isnan(*upper) || fabs(key) >= HNSW_MAX_KEY)
		*upper = get_float8_infinity();
}

/* How far the stored vector is from x, in the metric's norm, rounded up. */
static float
own_error(HnswMetric metric, int dim, const float *x, const float *stored)
{
	double		sum = 0;

	for (int i = 0; i < dim; i++)
	{
		double		d = (double) x[i] - stored[i];

		sum += (metric == HNSW_L1) ? fabs(d) : d * d;
	}
	if (metric != HNSW_L1)
		sum = sqrt(sum);
	return (float) (sum * 1.000001);
}

/*
 * Encode a row's vector (as the column has it) for its node.  own->data must
 * have room for own_size bytes.
 */
void
hnsw_own_encode(const HnswIndex *index, const float *x, HnswOwn *own)
{
	const HnswLayout *layout = &index->layout;
	int			dim = layout->dim;
	float	   *prepared = palloc(sizeof(float) * dim);
	int			n;
	float	   *target;
	float	   *stored;

	(void) hnsw_prepare(index, x, prepared);
	own->norm = distance->normsq(dim, prepared);

	if (layout->own_kind == HNSW_OWN_INT8)
	{
		n = layout->out_dim;
		target = palloc(sizeof(float) * n);
		stored = palloc(sizeof(float) * n);
		rotate(index, prepared, target);
		scalar_encode_int8(n, target, (int8 *) own->data, &own->scale);
		distance->i8_to_float(n, (int8 *) own->data, own->scale, stored);
		own->own_norm = distance->normsq(n, stored);
	}
	else
	{
		float		length = 1;

		/*
		 * For cosine the vector itself is stored, and its length goes into
		 * the scale: what binary16 holds exactly then stays exact.
		 */
		n = dim;
		target = palloc(sizeof(float) * n);
		stored = palloc(sizeof(float) * n);
		memcpy(target, prepared, sizeof(float) * n);
		scalar_encode_half(n, x, (half *) own->data, &own->scale);
		if (layout->metric == HNSW_COSINE)
		{
			double		norm = 0;

			for (int i = 0; i < n; i++)
				norm += (double) x[i] * x[i];
			length = (float) sqrt(norm);
		}
		own->scale /= length;
		distance->half_to_float(n, (half *) own->data, stored);
		for (int i = 0; i < n; i++)
			stored[i] *= own->scale;
		own->own_norm = own->norm;
		if (layout->metric == HNSW_COSINE)
		{
			/* the rounding of prepared itself is not the stored vector's fault */
			for (int i = 0; i < n; i++)
				target[i] = x[i] / length;
		}
	}
	own->error = own_error(layout->metric, n, target, stored);
	if (layout->metric == HNSW_COSINE)
	{
		if (!cosine_is_precise(length_of(dim, x)))
			own->error = FLT_MAX;
	}
	if (!(own->error < FLT_MAX))
		own->error = FLT_MAX;

	pfree(target);
	pfree(stored);
	pfree(prepared);
}

/*
 * A node's own vector as floats: int8 ones are rotated and centred (out_dim
 * values), others are as they are (dim values).
 */
void
hnsw_own_decode(const HnswIndex *index, const HnswNodeHeaderData *node, float *out)
{
	const HnswLayout *layout = &index->layout;
	const char *own = HnswNodeOwn(layout, node);

	if (layout->own_kind == HNSW_OWN_INT8)
		distance->i8_to_float(layout->out_dim, (const int8 *) own, node->scale, out);
	else
	{
		distance->half_to_float(layout->dim, (const half *) own, out);
		for (int i = 0; i < layout->dim; i++)
			out[i] *= node->scale;
	}
}

/*
 * A decoded vector rotated and centred, as codes are made from it; itself if
 * it is that already, or if the index has no codes.
 */
const float *
hnsw_rotated(const HnswIndex *index, const float *vector)
{
	float	   *rotated;

	if (index->layout.own_kind == HNSW_OWN_INT8 || index->layout.code.units == 0)
		return vector;
	rotated = palloc(sizeof(float) * index->layout.out_dim);
	rotate(index, vector, rotated);
	return rotated;
}

/* The query as hnsw_own_decode would give it. */
const float *
hnsw_query_vector(const HnswIndex *index, const HnswQuery *query)
{
	return index->layout.own_kind == HNSW_OWN_INT8 ? query->rotated : query->x;
}

/*
 * Code and factors of the link from one rotated vector to another; both are
 * out_dim long.
 */
void
hnsw_link_encode(const HnswIndex *index, const float *from, const float *to,
				 uint8 *code, float *a, float *b)
{
	const HnswLayout *layout = &index->layout;
	int			n = layout->out_dim;
	float		rsq;
	float		dot;
	float		factor = code_encode(&layout->code, n, from, to, code, &rsq, &dot);

	*b = -2 * factor;
	*a = 2 * factor * dot;
	if (layout->metric == HNSW_IP)
	{
		/* -2 <x_u, r>, where x_u = from + the rotated mean and r = to - from */
		const float *mean = index->mean + layout->dim;

		*a -= 2 * (distance->ip(n, from, to) - distance->normsq(n, from) +
				   distance->ip(n, mean, to) - distance->ip(n, mean, from));
	}
	else
		*a += rsq;
}
