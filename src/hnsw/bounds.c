/*-------------------------------------------------------------------------
 *
 * bounds.c
 *		Keys of nodes, and bounds of what an operator computes for a node's rows:
 *		everything that differs by metric.
 *
 * A search orders nodes by key, smaller is nearer:
 *
 *	L2		|q - x|^2
 *	cosine	|q - x|^2 with both of unit length (= 2 * cosine distance)
 *	IP		-2 <q, x>, with q rescaled to the typical length of the rows
 *	L1		sum |q - x|
 *	Hamming	number of bits that differ
 *	Jaccard	1 - common bits / bits of either
 *
 * Key and node tell bounds of the operator's value.  Promise: lower <= value <=
 * upper, whatever the lengths, dimensions and instruction set.  What can differ,
 * and is added up for each metric:
 *
 *	operator	its float32 sums, by the budget in distance/README.md
 *	key			the sums of which the key is made, by the same budget
 *	error		what the node stores of the row, |x - stored x| (own.c)
 *	query		its rounding: to unit length, to typical length, by the rotation
 *
 * Key and operator are computed in one session, so both have the budget of its
 * instruction set.  Sums that a node keeps (norm, own_norm) are rounded once.
 * Older libraries kept the kernels' sums: these are covered if the same kind of
 * instructions (scalar or not) made them.  What a rotation (int8) is off by
 * counts here and not in the node's error, as old nodes have it, too.
 *
 * Letters in the derivations: q the query, x the row, s what the node stores,
 * Q, X, S their lengths; D = |q - x| and D' = |q - s| in the metric's norm,
 * so that |D - D'| <= E by the triangle inequality; g and a the relative and
 * the absolute budget of a sum; u = 2^-24.  "+-" is "off by at most".
 *
 * Constants exceed what the derivation needs by one or two u: that covers
 * products of errors, and the rounding of the bounds themselves in double.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/value.h"

#include "type/sparsevec.h"
#include "utils/float.h"

static inline float
finite_key(float key)
{
	if (key <= -HNSW_MAX_KEY)
		return -HNSW_MAX_KEY;
	return (key < HNSW_MAX_KEY) ? key : HNSW_MAX_KEY;	/* also if NaN */
}

static inline float
rotated_key(const HnswLayout *layout, const HnswQuery *query, const HnswNodeHeaderData *node,
			float *l2sq)
{
	const char *own = HnswNodeOwn(layout, node);
	float		dot = node->scale *
		(layout->own_kind == HNSW_OWN_INT8 ?
		 distance->i8_ip(layout->out_dim, query->rotated, (const int8 *) own) :
		 distance->i4_ip(layout->out_dim, query->rotated, (const uint8 *) own));

	/* NaN, as infinite lengths give it, must not become the nearest. */
	*l2sq = query->rotated_norm + node->own_norm - 2 * dot;
	if (*l2sq < 0)
		*l2sq = 0;
	return layout->space->lifted ? *l2sq - query->norm - node->norm : *l2sq;
}

static inline float
half_key(const HnswLayout *layout, const HnswQuery *query, const HnswNodeHeaderData *node,
		 float *l2sq)
{
	const half *h = (const half *) HnswNodeOwn(layout, node);
	float		key;

	switch (layout->metric)
	{
		case HNSW_L2:
			return *l2sq = distance->half_l2sq(layout->dim, query->x, h, node->scale);
		case HNSW_COSINE:
			return *l2sq = Max(2 - 2 * node->scale *
							   distance->half_ip(layout->dim, query->x, h), 0);
		case HNSW_IP:
			key = -2 * node->scale * distance->half_ip(layout->dim, query->x, h);
			*l2sq = Max(query->norm + node->norm + key, 0);
			return key;
		case HNSW_L1:
			return *l2sq = distance->half_l1(layout->dim, query->x, h, node->scale);
		case HNSW_HAMMING:
		case HNSW_JACCARD:
			break;
	}
	pg_unreachable();
}

static inline float
bits_key(const HnswLayout *layout, const HnswQuery *query, const HnswNodeHeaderData *node)
{
	const uint8 *own = (const uint8 *) HnswNodeOwn(layout, node);
	int			bytes = (layout->dim + 7) / 8;
	uint32		both;
	uint32		either;

	switch (layout->metric)
	{
		case HNSW_HAMMING:
			return (float) distance->hamming(bytes, query->bits, own);
		case HNSW_JACCARD:
			distance->bit_counts(bytes, query->bits, own, &both, &either);
			return either == 0 ? 1 : (float) (1 - (double) both / (double) either);
		case HNSW_L2:
		case HNSW_IP:
		case HNSW_COSINE:
		case HNSW_L1:
			break;
	}
	pg_unreachable();
}

static inline float
sparse_key(const HnswLayout *layout, const HnswQuery *query, const HnswNodeHeaderData *node,
		   float *l2sq)
{
	HnswSparseQuery *sparse = query->sparse;
	double		dot;

	switch (layout->metric)
	{
		case HNSW_L2:
			return *l2sq = (float) hnsw_sparse_l2sq(layout, sparse, node);
		case HNSW_L1:
			return *l2sq = (float) hnsw_sparse_l1(layout, sparse, node);
		case HNSW_COSINE:
			return *l2sq = (float) Max(2 - 2 * hnsw_sparse_ip(layout, sparse, node), 0);
		case HNSW_IP:
			dot = hnsw_sparse_ip(layout, sparse, node);
			*l2sq = (float) Max(query->norm + node->norm - 2 * dot, 0);
			return (float) (-2 * dot);
		case HNSW_HAMMING:
		case HNSW_JACCARD:
			break;
	}
	pg_unreachable();
}

/*
 * The key of a node's own vector.  *l2sq gets the squared Euclidean distance
 * (unless distances are unsquared: the key).  Both are finite.
 */
float
hnsw_node_key(const HnswIndex *index, const HnswQuery *query,
			  const HnswNodeHeaderData *node, float *l2sq)
{
	const HnswLayout *layout = &index->layout;
	float		key;

	switch (layout->own_kind)
	{
		case HNSW_OWN_INT8:
		case HNSW_OWN_INT4:
			key = rotated_key(layout, query, node, l2sq);
			break;
		case HNSW_OWN_BITS:
			key = *l2sq = bits_key(layout, query, node);
			break;
		case HNSW_OWN_SPARSE:
			key = sparse_key(layout, query, node, l2sq);
			break;
		default:
			key = half_key(layout, query, node, l2sq);
			break;
	}
	*l2sq = finite_key(*l2sq);
	return finite_key(key);
}

/*
 * The distance of a row that is the query from a node, as the graph sees it, squared
 * if Euclidean.  It is the key but for inner product.
 */
float
hnsw_graph_key(const HnswIndex *index, const HnswQuery *query,
			   const HnswNodeHeaderData *node, float *l2sq)
{
	float		key = hnsw_node_key(index, query, node, l2sq);
	float		extra;

	if (!index->layout.space->lifted)
		return key;
	extra = hnsw_extra(index, query->norm) - hnsw_extra(index, node->norm);
	return finite_key(*l2sq + extra * extra);
}

/* Rounding of a float, and of a double (relative); what underflow can take. */
#define FLOAT_UNIT (1.0 / 16777216)
#define DOUBLE_UNIT (DBL_EPSILON / 2)
#define FLOAT_TINY (FLT_MIN * (double) FLT_EPSILON)

/* Sums that come so near to FLT_MAX may be infinite. */
#define FLOAT_TOP (FLT_MAX * (1 - 1e-6))

/* The budget of a sum: value +- (relative * sum of sizes + absolute) */
typedef struct Budget
{
	double		relative;
	double		absolute;
} Budget;

/*
 * A float32 sum of n terms.  "chains" are the sums that a kernel adds up side
 * by side, with the narrowest vectors.
 */
static inline Budget
float_sum(int n, int chains)
{
	double		roundings = distance->level == SIMD_SCALAR ? n + 4.0 : (double) n / chains + 16;

	return (Budget) {roundings * FLOAT_UNIT, n * FLOAT_TINY};
}

/* A sum in double, of which a float is made. */
static inline Budget
double_sum(int n)
{
	return (Budget) {FLOAT_UNIT + (n + 8) * 2 * DOUBLE_UNIT, FLOAT_TINY};
}

/* Elements that a sum over a sparse query and a node can have. */
static inline int
sparse_terms(const HnswLayout *layout, const HnswQuery *query)
{
	return Max(query->sparse->nnz, layout->elements);
}

/* The operator's sums; of those of cosine, NEON has half as many chains. */
static Budget
operator_budget(const HnswLayout *layout, const HnswQuery *query)
{
	if (layout->type == HNSW_TYPE_SPARSEVEC)
		return double_sum(query->sparse->nnz + SPARSEVEC_MAX_NNZ);
	if (layout->space->unit && distance->level == SIMD_NEON)
		return float_sum(layout->dim, 8);
	return float_sum(layout->dim, 16);
}

/*
 * |x - stored x|: the node's error, and what may be lost where elements are
 * denormal numbers (in the packed value, in the stored one, in the error).
 */
static inline double
found_error(const HnswLayout *layout, const HnswFound *found)
{
	int			n = layout->own_kind == HNSW_OWN_SPARSE ? SPARSEVEC_MAX_NNZ : layout->dim;

	return found->error + n * FLOAT_TINY;
}

/*
 * At least the length of any row of the node, and of what it stores.  The norm
 * may be that of the row before or after its rounding, or of another row with
 * the same stored vector: twice the error covers both.  A squared length that
 * is too small for a float is zero.
 */
static double
found_length(const HnswLayout *layout, const HnswFound *found)
{
	Budget		sum = float_sum(layout->dim, 16);

	if (!(found->norm < FLT_MAX))
		return get_float8_infinity();
	return sqrt(found->norm * (1 + 2 * sum.relative) + 2 * sum.absolute + FLOAT_TINY) +
		2 * found_error(layout, found);
}

/*
 * What is known of rotated and centred vectors: rq the query's, as float32, and
 * scale * c the node's, off by "error" from a rotation of q - x.
 */
typedef struct Rotated
{
	double		error;
	double		squares;		/* computed |rq - scale c|^2 +- this */
} Rotated;

/*
 * The rotation is orthogonal, but for rounding: each round multiplies by a
 * sign times a constant (off by 2 u, and u for the product) and adds log2(block)
 * times, each time with an error of u times the length; centring has one more.
 * Let A = |rq|, S = |scale c|; both lengths before the rotation are the same
 * within that, as is |R(x - mean)| <= S + E.
 *
 *	|rq - scale c|^2 = fl(A^2) + fl(S^2) - 2 fl(<rq, c>) scale
 *
 * has two kernel sums, +- g A^2 and +- 2 g A S, the node's sum (+- g S^2 if it
 * was a kernel's, too), and five roundings: together (g + 8 u)(A + S)^2.
 *
 * S is not known: S <= A + D', and D'^2 <= l2sq + (g + 8 u)(A + S)^2.  With
 * h = sqrt(g + 8 u), S <= A + sqrt(l2sq) + h (A + S).
 */
static Rotated
rotated_errors(const HnswIndex *index, const HnswQuery *query, const HnswFound *found, double l2sq)
{
	const HnswLayout *layout = &index->layout;
	const Rotation *rotation = &index->rotation;
	Budget		sum = float_sum(layout->out_dim, 16);
	double		g = sum.relative + 8 * FLOAT_UNIT;
	double		h = sqrt(g);
	double		a = sqrt((query->rotated_norm + sum.absolute) * (1 + 2 * sum.relative));
	double		s = (a * (1 + h) + sqrt(l2sq) + sqrt(8 * sum.absolute)) / (1 - h);
	double		error = found_error(layout, found);
	double		turned = (rotation->rounds * (log2(rotation->block) + 4) + 1) * FLOAT_UNIT;

	return (Rotated) {
		error + 1.01 * turned * (a + s + error) + 2 * FLOAT_UNIT * s + 16 * sum.absolute,
		g * (a + s) * (a + s) + 8 * sum.absolute
	};
}

/*
 * Euclidean distance: the operator computes the root of D^2 (1 +- g) +- a.
 *
 *	half	key = D'^2 (1 +- g) +- a, as binary16 times a power of two is exact
 *	int8	key = D'^2 +- squares
 *	sparse	key = Q^2 + sum of s (s - 2 q) in double: n + 4 roundings relative to
 *			Q^2 + S^2 + 2 Q S = (Q + S)^2 <= (2 Q + D')^2, and one to float
 */
static void
l2_bounds(const HnswIndex *index, const HnswQuery *query, const HnswFound *found,
		  double *lower, double *upper)
{
	const HnswLayout *layout = &index->layout;
	Budget		op = operator_budget(layout, query);
	Budget		sum = op;
	double		key = Max(found->key, 0);
	double		error = found_error(layout, found);
	double		d;

	if (layout->own_kind == HNSW_OWN_INT8)
	{
		Rotated		rotated = rotated_errors(index, query, found, key);

		sum = (Budget) {0, rotated.squares};
		error = rotated.error;
	}
	else if (layout->own_kind == HNSW_OWN_SPARSE)
	{
		d = 2 * sqrt(query->sparse->norm) + sqrt(key);
		sum.relative = 2 * FLOAT_UNIT;
		sum.absolute += (sparse_terms(layout, query) + 8) * DOUBLE_UNIT * d * d;
	}
	d = sqrt(Max(key - sum.absolute, 0) / (1 + sum.relative)) - error;
	*lower = sqrt(Max(Max(d, 0) * Max(d, 0) * (1 - op.relative) - op.absolute, 0));
	d = sqrt((key + sum.absolute) / (1 - sum.relative)) + error;
	d = d * d * (1 + op.relative) + op.absolute;
	*upper = d < FLOAT_TOP ? sqrt(d) : get_float8_infinity();
}

/*
 * Taxicab distance: the operator computes D (1 +- g), the norm being a sum.
 *
 *	half	key = D' (1 +- g)
 *	sparse	key = Q + sum of |q - s| - |q| in double: n + 4 roundings relative
 *			to Q + S <= 2 Q + D', and one to float
 */
static void
l1_bounds(const HnswIndex *index, const HnswQuery *query, const HnswFound *found,
		  double *lower, double *upper)
{
	const HnswLayout *layout = &index->layout;
	Budget		op = operator_budget(layout, query);
	Budget		sum = op;
	double		key = Max(found->key, 0);
	double		error = found_error(layout, found);
	double		d;

	if (layout->own_kind == HNSW_OWN_SPARSE)
	{
		sum.relative = 2 * FLOAT_UNIT;
		sum.absolute += (sparse_terms(layout, query) + 8) * DOUBLE_UNIT *
			(2 * query->sparse->norm + key);
	}
	d = Max(key - sum.absolute, 0) / (1 + sum.relative) - error;
	*lower = d * (1 - op.relative) - op.absolute;
	d = (key + sum.absolute) / (1 - sum.relative) + error;
	d = d * (1 + op.relative) + op.absolute;
	*upper = d < FLOAT_TOP ? d : get_float8_infinity();
}

/*
 * Cosine distance.  The operator computes 1 - fl(<q,x>) / sqrt(fl(Q^2) fl(X^2)).
 * With g the budget of each sum (relative to Q X, Q^2 and X^2, which are large
 * enough that "absolute" counts little) the cosine is within
 * (|cos| + g) / (1 - g) - |cos| <= 2 g / (1 - g).
 *
 * The query and the row are taken to unit length: q, x and s here.  Each
 * element of q is rounded once; own.c rounds what it compares by 3 u; and the
 * error of a row that was packed for a build, divided by its packed length, may
 * be too small by 2^-11 of itself.
 *
 *	half, sparse	key/2 = 1 - <q,s>, and |<q,s> - <q,x>| <= E; the sum is
 *					+- g (1 + E), q's rounding and the product's u (1 + E) each,
 *					the difference's u (2 + E)
 *	int8			1 - <q,x> = D^2 / 2, D = D' +- E, with q and x off by u each
 */
static void
cosine_bounds(const HnswIndex *index, const HnswQuery *query, const HnswFound *found,
			  double *lower, double *upper)
{
	const HnswLayout *layout = &index->layout;
	Budget		op = operator_budget(layout, query);
	double		key = found->key;
	double		error = found_error(layout, found) * (1 + 1.0 / 2048) + 4 * FLOAT_UNIT;
	double		e;

	if (!hnsw_cosine_is_precise(query->length) || !(found->error < FLT_MAX))
	{
		*lower = 0;
		*upper = get_float8_infinity();
		return;
	}
	op.relative += op.absolute / (COSINE_MIN_NORM / 2);
	op.relative = 2 * op.relative / (1 - op.relative);
	if (layout->own_kind == HNSW_OWN_INT8)
	{
		Rotated		rotated = rotated_errors(index, query, found, key);
		double		d;

		error = rotated.error * (1 + 1.0 / 2048) + 4 * FLOAT_UNIT;
		d = Max(sqrt(Max(key - rotated.squares, 0)) - error, 0);
		*lower = d * d / 2 - op.relative;
		d = sqrt(key + rotated.squares) + error;
		*upper = d * d / 2 + op.relative;
		return;
	}
	if (layout->own_kind == HNSW_OWN_SPARSE)
		e = (sparse_terms(layout, query) + 8) * DOUBLE_UNIT;
	else
		e = float_sum(layout->dim, 16).relative;
	e = error + (e + 5 * FLOAT_UNIT) * (1 + error) + op.relative;
	*lower = key / 2 - e;
	*upper = key / 2 + e;
}

/*
 * The key's error by inner product with int8, in the key's unit.  With t the
 * factor that brings the query to the typical length, and q' = t q as rounded,
 *
 *	-2 <q', x> = |q' - x|^2 - |q'|^2 - X^2
 *	key        = l2sq - query's norm - node's norm
 *
 *	l2sq	D'^2 +- squares, and |D^2 - D'^2| <= 2 D' E + E^2
 *	norms	+- g |q'|^2 + a; the node's +- g X^2 + a, and of another vector: by
 *			builds of the row rounded to binary16, off by 2 X min(E, X / 2000); by
 *			inserts of an equal node, off by 2 E^2 with the E of the row (insert.c)
 *	two differences: 2 u (l2sq + |q'|^2 + X^2)
 */
static double
int8_ip_error(const HnswIndex *index, const HnswQuery *query, const HnswFound *found, double x)
{
	const HnswLayout *layout = &index->layout;
	Budget		sum = float_sum(layout->dim, 16);
	double		error = found_error(layout, found);
	double		norms = query->length * query->length + x * x;
	double		l2sq = Max((double) found->key + query->norm + found->norm, 0) +
		8 * FLOAT_UNIT * norms;
	Rotated		rotated = rotated_errors(index, query, found, l2sq);

	return 2 * sqrt(l2sq + rotated.squares) * rotated.error + 4 * rotated.error * rotated.error +
		2 * x * Min(error, x / 2000) +
		rotated.squares + (sum.relative + 8 * FLOAT_UNIT) * (norms + l2sq) + 4 * sum.absolute;
}

/*
 * Inner product.  The operator computes -(<q,x> +- (g Q X + a)); sums of terms of
 * both signs may overflow on their way, to either side.
 *
 * The key is of q' = t q, rounded: u relative to t Q, or sqrt(n) tiny where its
 * elements are denormal; unscale = 1/2t is off by 2 u.
 *
 *	half	key = -2 scale (<q',h> +- (g |q'| |h| + a)), s = scale h, and one
 *			rounding; scale <= 2^-14 S, unless it is 2^-126 (scalar_encode_half)
 *	sparse	key = -2 (<q',s> +- (n + 2) roundings of double), and one rounding
 */
static void
ip_bounds(const HnswIndex *index, const HnswQuery *query, const HnswFound *found,
		  double *lower, double *upper)
{
	const HnswLayout *layout = &index->layout;
	Budget		op = operator_budget(layout, query);
	double		error = found_error(layout, found);
	double		x = found_length(layout, found);
	double		to_caller = 2.0 * query->unscale * (1 + 8 * FLOAT_UNIT);
	double		q = query->length * to_caller;
	double		d = (double) found->key * query->unscale;
	double		tiny;
	double		e;

	/* All products are zero. */
	if (query->length == 0)
	{
		*lower = *upper = 0;
		return;
	}
	if (layout->own_kind == HNSW_OWN_SPARSE)
		tiny = sqrt(sparse_terms(layout, query)) * x + 1;
	else
		tiny = sqrt(layout->dim) * x + 1 + layout->dim * (x / 16384 + FLT_MIN);
	tiny *= FLOAT_TINY * to_caller;
	if (layout->own_kind == HNSW_OWN_INT8)
		e = int8_ip_error(index, query, found, x) * to_caller / 2;
	else
		e = q * (error + x * (op.relative + 8 * FLOAT_UNIT));
	e += q * x * (op.relative + 8 * FLOAT_UNIT) + op.absolute + tiny;

	if (!(e < FLT_MAX) || !(found->error < FLT_MAX) || q * x >= FLT_MAX / 2)
		e = get_float8_infinity();
	*lower = d - e;
	*upper = d + e;
}

/*
 * 1 - both / either of counts up to 64,000: the operator's double, of which the
 * key is the float.  0 and 1 are themselves.
 */
static void
jaccard_bounds(const HnswFound *found, double *lower, double *upper)
{
	double		e = found->key < 1 ? 2 * FLOAT_UNIT * found->key : 0;

	*lower = found->key - e;
	*upper = found->key + e;
}

/*
 * What tells nothing: a key that may stand for anything (see finite_key), and
 * numbers that became NaN on the way.  Keys of half and of sparse vectors are sums of
 * sizes by L2 and L1, so that one beyond the largest key is at least that.
 */
static void
drop_unknown(const HnswLayout *layout, const HnswFound *found, double *lower, double *upper)
{
	double		least = layout->space->lifted ? -get_float8_infinity() : 0;
	bool		sizes = !layout->space->lifted && !layout->space->unit &&
		layout->own_kind != HNSW_OWN_INT8;
	bool		unknown = fabsf(found->key) >= HNSW_MAX_KEY;

	if (isnan(*lower) || (unknown && !sizes))
		*lower = least;
	if (isnan(*upper) || unknown)
		*upper = get_float8_infinity();
	*lower = Max(*lower, least);
}

/* The operator's distance, if the key were exact */
static double
estimated_distance(const HnswLayout *layout, const HnswQuery *query, double key)
{
	switch (layout->metric)
	{
		case HNSW_L2:
			return sqrt(Max(key, 0));
		case HNSW_COSINE:
			return key / 2;
		case HNSW_IP:
			return key * query->unscale;
		case HNSW_L1:
		case HNSW_HAMMING:
		case HNSW_JACCARD:
			return key;
	}
	pg_unreachable();
}

/*
 * Bounds of the distance that the operator computes, from what a search found.
 * Of 4-bit own vectors, whose bounds say nothing, both are the estimate.
 */
void
hnsw_key_bounds(const HnswIndex *index, const HnswQuery *query, const HnswFound *found,
				double *lower, double *upper)
{
	const HnswLayout *layout = &index->layout;

	if (layout->own_kind == HNSW_OWN_INT4)
	{
		*lower = *upper = estimated_distance(layout, query, found->key);
		return;
	}
	switch (layout->metric)
	{
		case HNSW_L2:
			l2_bounds(index, query, found, lower, upper);
			break;
		case HNSW_IP:
			ip_bounds(index, query, found, lower, upper);
			if (query->length == 0)
				return;
			break;
		case HNSW_COSINE:
			cosine_bounds(index, query, found, lower, upper);
			break;
		case HNSW_L1:
			l1_bounds(index, query, found, lower, upper);
			break;
		case HNSW_HAMMING:
			/* a count, which a float holds */
			*lower = *upper = found->key;
			return;
		case HNSW_JACCARD:
			jaccard_bounds(found, lower, upper);
			return;
	}
	drop_unknown(layout, found, lower, upper);
}
