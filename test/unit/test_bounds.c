/*-------------------------------------------------------------------------
 *
 * test_bounds.c
 *		What hnsw_key_bounds promises: the value that the operator computes lies
 *		between the bounds, for every metric, type, own vector and level of
 *		kernels, and for vectors of any kind and length.
 *
 * Rows and queries go through the functions of the index; operators' values
 * come from the kernels, as the SQL functions use them.  The kernels' sums are
 * compared with long double, by the budgets of distance/README.md.
 *
 * PIRAMID_BOUNDS_PAIRS sets how many pairs each combination gets.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"

#include <stdlib.h>

#include "distance/distance_sparse.h"
#include "type/sparsevec.h"
#include "unit.h"
#include "utils/float.h"

#define DEFAULT_PAIRS 100000
#define ROWS_PER_QUERY 8
#define MAX_DIM 16000

static const int dims[] = {1, 2, 3, 7, 16, 33, 128, 384, 1000, 1536, 16000};

/* A value of any type: dense numbers, or a sparse vector's elements. */
typedef struct Sample
{
	int			n;
	float		x[MAX_DIM];
	half		h[MAX_DIM];
	int32		indices[MAX_DIM];
} Sample;

/* One way that rows come into an index. */
typedef struct Combination
{
	HnswMetric	metric;
	HnswType	type;
	HnswOwnKind own_kind;
	bool		built;			/* by CREATE INDEX, not by INSERT */
} Combination;

/* An index without pages, and room for one node. */
typedef struct Bench
{
	HnswIndex	index;
	HnswQuery  *query;
	HnswValue  *value;
	HnswNodeHeader node;
	HnswOwn		own;			/* its data are the node's */
	HnswOwn		other;			/* of a row that may be equal as stored */
	char	   *packed;
	int			n;				/* elements of its samples */
} Bench;

/* What a combination came to. */
typedef struct Outcome
{
	long		pairs;
	long		outside;		/* of the bounds */
	long		shared;			/* pairs with a node of another row */
	long		over_budget;	/* the kernels' sums */
	double		used;			/* most of the bounds' half width that was needed */
	double		used_exact;		/* the same of rows that are stored exactly */
} Outcome;

static Sample query_sample;
static Sample row_sample;
static uint8 query_bits[MAX_DIM];
static uint8 row_bits[MAX_DIM];

/* ---- samples ---- */

static float
to_float(double x)
{
	return (float) Max(Min(x, FLT_MAX), -FLT_MAX);
}

static float
unit(void)
{
	return random_float(-1, 1);
}

/* Ten to a power between these. */
static double
magnitude(double low, double high)
{
	return pow(10, low + (high - low) * random_float(0, 1));
}

/* Independent of anything: one of several kinds of vector. */
static void
random_sample(Sample *sample)
{
	int			n = sample->n;
	float	   *x = sample->x;
	int			kind = random_int(0, 11);
	double		scale = kind == 1 ? magnitude(-37, 18) : kind == 2 ? magnitude(-24, -18) :
		kind == 3 ? magnitude(16, 37) : 1;
	double		low = magnitude(-37, 18);

	for (int i = 0; i < n; i++)
	{
		switch (kind)
		{
			case 4:				/* bytes */
				x[i] = (float) random_int(0, 255);
				break;
			case 5:				/* every element of another size */
				x[i] = to_float(unit() * magnitude(-37, 18));
				break;
			case 6:				/* denormal */
				x[i] = (float) random_int(-300, 300) * 1.4e-45f;
				break;
			case 7:				/* mostly zero */
				x[i] = random_int(0, 7) == 0 ? unit() : 0;
				break;
			case 8:				/* far from the origin */
				x[i] = 1000 + unit() / 1000;
				break;
			case 9:				/* two sizes */
				x[i] = to_float(unit() * (random_int(0, 1) == 0 ? low : 1));
				break;
			default:
				x[i] = to_float(unit() * scale);
				break;
		}
	}
	if (kind == 10)				/* one large element */
		x[random_int(0, n - 1)] = to_float(unit() * magnitude(0, 18));
	if (kind == 11)				/* one axis */
	{
		float		kept = x[0];

		memset(x, 0, sizeof(float) * n);
		x[random_int(0, n - 1)] = kept;
	}
}

/* Something near the other, or along it. */
static void
related_sample(const Sample *other, Sample *sample)
{
	int			n = sample->n;
	float	   *x = sample->x;
	int			kind = random_int(0, 8);
	double		factor = kind == 5 ? magnitude(-12, 12) : magnitude(-3, 3);
	float		steps = (float) random_int(1, 100) * FLT_EPSILON;
	double		far = magnitude(-20, 0);

	for (int i = 0; i < n; i++)
	{
		float		y = other->x[i];

		switch (kind)
		{
			case 0:				/* itself */
				x[i] = y;
				break;
			case 1:				/* a few steps of float away */
				x[i] = to_float(y * (1.0 + (double) steps * unit()));
				break;
			case 2:				/* near */
				x[i] = to_float(y * (1 + far * unit()));
				break;
			case 3:				/* opposite */
				x[i] = -y;
				break;
			case 4:
			case 5:				/* parallel, either way */
				x[i] = to_float((steps > 5e-6f ? factor : -factor) * y);
				break;
			case 6:				/* half of it */
				x[i] = i % 2 == 0 ? y : 0;
				break;
			case 7:				/* the same with other signs: terms cancel */
				x[i] = i % 2 == 0 ? y : -y;
				break;
			default:
				x[i] = y;
				break;
		}
	}
	if (kind == 8)				/* one element more or less */
		x[random_int(0, n - 1)] = to_float(other->x[0] * factor + far * unit());
}

static int
compare_ints(const void *a, const void *b)
{
	return (*(const int32 *) a > *(const int32 *) b) - (*(const int32 *) a < *(const int32 *) b);
}

/* Positions for a sparse sample; its zeros are left out. */
static void
place(Sample *sample, int column_dim, const Sample *other)
{
	int			n = 0;

	if (other != NULL)
		memcpy(sample->indices, other->indices, sizeof(int32) * sample->n);
	else
	{
		for (int i = 0; i < sample->n; i++)
			sample->indices[i] = random_int(0, column_dim - 1);
		qsort(sample->indices, sample->n, sizeof(int32), compare_ints);
	}
	for (int i = 0; i < sample->n; i++)
	{
		if (sample->x[i] == 0 || (n > 0 && sample->indices[n - 1] == sample->indices[i]))
			continue;
		sample->x[n] = sample->x[i];
		sample->indices[n++] = sample->indices[i];
	}
	sample->n = n;
}

/* Make a sample what the type can hold. */
static void
fit_type(const Bench *bench, Sample *sample, const Sample *same_places)
{
	switch (bench->index.layout.type)
	{
		case HNSW_TYPE_HALFVEC:
			for (int i = 0; i < sample->n; i++)
				sample->h[i] = float_to_half_one(Max(Min(sample->x[i], 65504), -65504));
			distance_scalar.half_to_float(sample->n, sample->h, sample->x);
			break;
		case HNSW_TYPE_SPARSEVEC:
			place(sample, bench->index.layout.column_dim, same_places);
			break;
		case HNSW_TYPE_BIT:
			for (int i = 0; i < sample->n; i++)
				sample->x[i] = sample->x[i] > 0;
			break;
		default:
			break;
	}
}

/* ---- the index ---- */

static void
set_value(const Bench *bench, const Sample *sample)
{
	const HnswLayout *layout = &bench->index.layout;

	if (layout->type != HNSW_TYPE_SPARSEVEC)
	{
		memcpy(bench->value->x, sample->x, sizeof(float) * layout->dim);
		return;
	}
	bench->value->nnz = sample->n;
	memcpy(bench->value->indices, sample->indices, sizeof(int32) * sample->n);
	memcpy(bench->value->values, sample->x, sizeof(float) * sample->n);
	hnsw_sketch(layout, sample->n, sample->indices, sample->x, bench->value->x);
}

static Bench *
bench_create(const Combination *c, int n)
{
	Bench	   *bench = palloc0(sizeof(Bench));
	HnswIndex  *index = &bench->index;
	HnswLayout *layout = &index->layout;
	HnswLayoutRequest request = {0};
	bool		sparse = c->type == HNSW_TYPE_SPARSEVEC;

	request.type = c->type;
	request.column_dim = sparse ? (n <= 384 ? 2 * n : n == 1000 ? 60000 : 1000000) : n;
	request.metric = c->metric;
	request.m = 16;
	request.ef_construction = 64;
	request.elements = Max(n / 2, 2);
	hnsw_layout_choose(layout, &request);
	layout->own_kind = c->own_kind;
	if (c->own_kind == HNSW_OWN_INT8)
		rotation_init(&index->rotation, layout->dim, random_bits(),
					  palloc(rotation_signs_size(layout->out_dim)));
	else
		layout->code.units = 0;
	layout->own_size = c->own_kind == HNSW_OWN_INT8 ? layout->out_dim :
		c->own_kind == HNSW_OWN_HALF ? layout->dim * (int) sizeof(half) : layout->own_size;
	layout->own = sizeof(HnswNodeHeaderData);
	index->mean = palloc0(sizeof(float) * (layout->dim + layout->out_dim));

	bench->n = n;
	bench->query = hnsw_query_create(index);
	bench->value = hnsw_value_create(layout);
	bench->node = palloc0(sizeof(HnswNodeHeaderData) + layout->own_size);
	bench->own.data = HnswNodeOwn(layout, bench->node);
	bench->other.data = palloc0(layout->own_size);
	bench->packed = palloc(sizeof(int32) * 2 + MAX_DIM * (sizeof(int32) + sizeof(half)));
	return bench;
}

/* What a build learns of its rows: here, of one that is like the query. */
static void
learn(Bench *bench, const Sample *sample)
{
	HnswIndex  *index = &bench->index;
	double		length;

	set_value(bench, sample);
	length = hnsw_value_length(&index->layout, bench->value);
	index->norm = random_int(0, 3) == 0 ? 0 : to_float(length * magnitude(-2, 2));
	if (random_int(0, 3) == 0)
		index->norm = to_float(magnitude(-37, 18));
	if (bench->index.layout.own_kind != HNSW_OWN_INT8)
		return;
	(void) hnsw_prepare(index, bench->value->x, index->mean);
	for (int i = 0; i < index->layout.dim; i++)
		index->mean[i] *= random_int(0, 7) == 0 ? 0 : random_float(0.9f, 1.1f);
	if (random_int(0, 1) == 0)
		memset(index->mean, 0, sizeof(float) * index->layout.dim);
}

/* Encode a row; false if it has no place in the index. */
static bool
encode(Bench *bench, bool built, HnswFound *found)
{
	HnswIndex  *index = &bench->index;
	HnswNodeHeader node = bench->node;
	HnswOwn    *own = &bench->own;
	float		l2sq;

	if (!hnsw_value_indexable(&index->layout, bench->value))
		return false;
	if (built)
	{
		float		scale;
		float		error = hnsw_value_pack(&index->layout, bench->value, bench->packed, &scale);

		hnsw_own_encode_packed(index, bench->packed, scale, error, bench->value, own);
	}
	else
		hnsw_own_encode(index, bench->value, own);
	node->nnz = own->nnz;
	node->scale = own->scale;
	node->norm = own->norm;
	node->own_norm = own->own_norm;
	node->error = own->error;

	memset(found, 0, sizeof(*found));
	found->key = hnsw_node_key(index, bench->query, node, &l2sq);
	found->error = node->error;
	found->norm = node->norm;
	return true;
}

/* ---- operators ---- */

/* A kernel's sum against the true one: sizes is the sum of the terms' sizes. */
static bool
within_budget(const Bench *bench, bool two_chains, double sum, long double truth,
			  long double sizes)
{
	int			n = bench->n;
	double		u = 1.0 / 16777216;
	double		roundings = distance->level == SIMD_SCALAR ? n + 4 :
		(two_chains && distance->level == SIMD_NEON ? n / 8.0 : n / 16.0) + 16;

	if (sizes >= FLT_MAX * (1 - 1e-6L))
		return true;
	if (bench->index.layout.type == HNSW_TYPE_SPARSEVEC)
		return fabsl(sum - truth) <= u * fabsl(truth) + (2 * n + 8) * DBL_EPSILON * sizes + 1.5e-45;
	return fabsl(sum - truth) <= roundings * u * sizes + n * 1.5e-45;
}

static double
clamp_cosine(double cosine)
{
	return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
}

/* A dense distance as its SQL function computes it. */
static double
dense_operator(Bench *bench, Outcome *outcome)
{
	const HnswLayout *layout = &bench->index.layout;
	bool		halves = layout->type == HNSW_TYPE_HALFVEC;
	const Sample *q = &query_sample;
	const Sample *x = &row_sample;
	int			n = layout->dim;
	long double truth[3] = {0};
	long double size = 0;
	float		sum;
	float		asq;
	float		bsq;
	bool		good;

	for (int i = 0; i < n; i++)
	{
		long double a = q->x[i];
		long double b = x->x[i];

		if (layout->metric == HNSW_L2)
			truth[0] += (a - b) * (a - b);
		else if (layout->metric == HNSW_L1)
			truth[0] += fabsl(a - b);
		else
		{
			truth[0] += a * b;
			size += fabsl(a * b);
			truth[1] += a * a;
			truth[2] += b * b;
		}
	}
	switch (layout->metric)
	{
		case HNSW_L2:
			sum = halves ? distance->halves_l2sq(n, q->h, x->h) : distance->l2sq(n, q->x, x->x);
			outcome->over_budget += !within_budget(bench, false, sum, truth[0], truth[0]);
			return sqrt((double) sum);
		case HNSW_L1:
			sum = halves ? distance->halves_l1(n, q->h, x->h) : distance->l1(n, q->x, x->x);
			outcome->over_budget += !within_budget(bench, false, sum, truth[0], truth[0]);
			return (double) sum;
		case HNSW_IP:
			sum = halves ? distance->halves_ip(n, q->h, x->h) : distance->ip(n, q->x, x->x);
			outcome->over_budget += !within_budget(bench, false, sum, truth[0], size);
			return -(double) sum;
		default:
			if (halves)
				distance->halves_dot_norms(n, q->h, x->h, &sum, &asq, &bsq);
			else
				distance->dot_norms(n, q->x, x->x, &sum, &asq, &bsq);
			good = within_budget(bench, true, sum, truth[0], size) &&
				within_budget(bench, true, asq, truth[1], truth[1]) &&
				within_budget(bench, true, bsq, truth[2], truth[2]);
			outcome->over_budget += !good;
			if (asq == 0 || bsq == 0 || isinf(asq) || isinf(bsq))
				return get_float8_nan();
			return 1 - clamp_cosine(sum / sqrt((double) asq * (double) bsq));
	}
}

#define PARTS(s) (s)->n, (s)->indices, (s)->x

static double
sparse_operator(Bench *bench, Outcome *outcome)
{
	const Sample *q = &query_sample;
	const Sample *x = &row_sample;
	long double truth = 0;
	long double size = 0;
	float		sum;
	float		asq;
	float		bsq;

	for (int i = 0, j = 0; i < q->n || j < x->n;)
	{
		int64		at_q = i < q->n ? q->indices[i] : PG_INT32_MAX;
		int64		at_x = j < x->n ? x->indices[j] : PG_INT32_MAX;
		long double a = at_q <= at_x ? q->x[i++] : 0;
		long double b = at_x <= at_q ? x->x[j++] : 0;

		switch (bench->index.layout.metric)
		{
			case HNSW_L2:
				truth += (a - b) * (a - b);
				break;
			case HNSW_L1:
				truth += fabsl(a - b);
				break;
			default:
				truth += a * b;
				size += fabsl(a * b);
				break;
		}
	}
	switch (bench->index.layout.metric)
	{
		case HNSW_L2:
			sum = sparse_l2sq(PARTS(q), PARTS(x));
			outcome->over_budget += !within_budget(bench, false, sum, truth, truth);
			return sqrt((double) sum);
		case HNSW_L1:
			sum = sparse_l1(PARTS(q), PARTS(x));
			outcome->over_budget += !within_budget(bench, false, sum, truth, truth);
			return (double) sum;
		case HNSW_IP:
			sum = sparse_ip(PARTS(q), PARTS(x));
			outcome->over_budget += !within_budget(bench, false, sum, truth, size);
			return -(double) sum;
		default:
			asq = sparse_normsq(q->n, q->x);
			bsq = sparse_normsq(x->n, x->x);
			if (asq == 0 || bsq == 0 || isinf(asq) || isinf(bsq))
				return get_float8_nan();
			sum = sparse_ip(PARTS(q), PARTS(x));
			return 1 - clamp_cosine(sum / sqrt((double) asq * (double) bsq));
	}
}

static double
bit_operator(const Bench *bench)
{
	const HnswLayout *layout = &bench->index.layout;
	int			bytes = (layout->dim + 7) / 8;
	uint32		both;
	uint32		either;

	hnsw_own_bits(layout, query_sample.x, query_bits);
	hnsw_own_bits(layout, row_sample.x, row_bits);
	if (layout->metric == HNSW_HAMMING)
		return distance->hamming(bytes, query_bits, row_bits);
	distance->bit_counts(bytes, query_bits, row_bits, &both, &either);
	return both == 0 ? 1 : 1 - (double) both / either;
}

/* ---- pairs ---- */

static const char *const metrics[] = {"", "l2", "ip", "cosine", "l1", "hamming", "jaccard"};
static const char *const types[] = {"vector", "halfvec", "sparsevec", "bit"};
static const char *const kinds[] = {"", "half", "int8", "bits", "sparse"};

static void
report(const Bench *bench, const HnswFound *found, double value, double lower, double upper)
{
	diag("dim %d: %.17g is not within %.17g .. %.17g; key %.9g, error %.9g, norm %.9g, typical %.9g",
		 bench->n, value, lower, upper, found->key, found->error, found->norm, bench->index.norm);
	for (int i = 0; i < Min(bench->n, 4); i++)
		diag("  q %.9g, x %.9g", query_sample.x[i], row_sample.x[i]);
}

static void
check_pair(Bench *bench, const HnswFound *found, Outcome *outcome)
{
	const HnswLayout *layout = &bench->index.layout;
	double		lower;
	double		upper;
	double		value;
	bool		inside;

	hnsw_key_bounds(&bench->index, bench->query, found, &lower, &upper);
	value = layout->type == HNSW_TYPE_BIT ? bit_operator(bench) :
		layout->type == HNSW_TYPE_SPARSEVEC ? sparse_operator(bench, outcome) :
		dense_operator(bench, outcome);

	/* NaN comes last: nothing is above it. */
	inside = isnan(value) ? isinf(upper) && !isnan(lower) : lower <= value && value <= upper;
	outcome->pairs++;
	if (!inside && outcome->outside++ < 3)
		report(bench, found, value, lower, upper);
	if (upper > lower && !isinf(upper) && !isinf(lower) && inside && !isnan(value))
	{
		double		half_width = (upper - lower) / 2;
		double		used = fabs(value - (upper + lower) / 2) / half_width;

		/* where the lower bound is cut off at zero, only the upper one tells */
		if (lower > 0 || layout->metric == HNSW_IP)
			outcome->used = Max(outcome->used, used);
		if ((lower > 0 || layout->metric == HNSW_IP) && found->error == 0)
			outcome->used_exact = Max(outcome->used_exact, used);
	}
}

/*
 * A row that differs a little from the node's joins it, if it is the same as
 * stored: the bounds hold for both.
 */
static void
check_shared(Bench *bench, HnswFound *found, Outcome *outcome)
{
	const HnswLayout *layout = &bench->index.layout;
	HnswNodeHeader node = bench->node;
	double		range = magnitude(-7, -2);

	for (int i = 0; i < row_sample.n; i++)
		if (random_int(0, 1) == 0)
			row_sample.x[i] *= (float) (1 - range * random_float(0, 1));
	fit_type(bench, &row_sample, &row_sample);
	set_value(bench, &row_sample);
	if (!hnsw_value_indexable(layout, bench->value))
		return;
	hnsw_own_encode(&bench->index, bench->value, &bench->other);
	if (bench->other.scale != node->scale ||
		memcmp(bench->other.data, bench->own.data, layout->own_size) != 0)
		return;
	found->error = node->error = hnsw_own_shared_error(layout, node, &bench->other);
	outcome->shared++;
	check_pair(bench, found, outcome);
}

/* One query and some rows. */
static void
check_query(const Combination *c, Bench *bench, Outcome *outcome)
{
	HnswFound	found;

	query_sample.n = bench->n;
	random_sample(&query_sample);
	fit_type(bench, &query_sample, NULL);
	learn(bench, &query_sample);
	set_value(bench, &query_sample);
	hnsw_query_set(&bench->index, bench->query, bench->value, true);
	if (bench->query->zero)
		return;
	for (int i = 0; i < ROWS_PER_QUERY; i++)
	{
		bool		related = random_int(0, 3) != 0;

		row_sample.n = bench->n;
		if (related && query_sample.n > 0)
		{
			row_sample.n = query_sample.n;
			related_sample(&query_sample, &row_sample);
		}
		else
			random_sample(&row_sample);
		fit_type(bench, &row_sample, related && query_sample.n > 0 ? &query_sample : NULL);
		set_value(bench, &row_sample);
		if (!encode(bench, c->built, &found))
			continue;
		check_pair(bench, &found, outcome);
		if (i % 4 == 0 && c->type != HNSW_TYPE_BIT)
			check_shared(bench, &found, outcome);
	}
}

static void
check_combination(const Combination *c, long pairs)
{
	Bench	   *benches[lengthof(dims)];
	Outcome		outcome = {0};
	double		weights[lengthof(dims)];
	double		total = 0;

	for (int i = 0; i < lengthof(dims); i++)
	{
		benches[i] = bench_create(c, dims[i]);
		weights[i] = 1.0 / (dims[i] + 40) / (dims[i] > 200 ? 2 : 1);
		total += weights[i];
	}
	/* Each length gets some pairs, and short ones most. */
	for (long tries = 0; outcome.pairs < pairs && tries < pairs; tries++)
	{
		double		at = random_float(0, 1) * total;
		int			i = 0;

		while (i < lengthof(dims) - 1 && at >= weights[i])
			at -= weights[i++];
		if (tries < 2 * lengthof(dims))
			i = tries % lengthof(dims);
		check_query(c, benches[i], &outcome);
	}
	ok(outcome.outside == 0 && outcome.over_budget == 0 && outcome.pairs >= pairs,
	   "%s, %s, %s, %s, %s: %ld of %ld pairs outside the bounds, %ld sums outside their budget",
	   metrics[c->metric], types[c->type], kinds[c->own_kind], c->built ? "built" : "inserted",
	   distance->name, outcome.outside, outcome.pairs, outcome.over_budget);
	diag("%.4f of the bounds' width was needed, %.4f where rows are stored exactly; %ld shared nodes",
		 outcome.used, outcome.used_exact, outcome.shared);
}

/* All own vectors that a metric and a type have, both ways into the index. */
static void
check_kinds(HnswMetric metric, HnswType type, long pairs)
{
	Combination c = {metric, type, HNSW_OWN_HALF, false};

	c.own_kind = type == HNSW_TYPE_BIT ? HNSW_OWN_BITS :
		type == HNSW_TYPE_SPARSEVEC ? HNSW_OWN_SPARSE : HNSW_OWN_HALF;
	for (int built = 0; built <= 1; built++)
	{
		c.built = built == 1;
		check_combination(&c, pairs);
	}
	if (c.own_kind != HNSW_OWN_HALF || metric == HNSW_L1)
		return;
	c.own_kind = HNSW_OWN_INT8;
	for (int built = 0; built <= 1; built++)
	{
		c.built = built == 1;
		check_combination(&c, pairs);
	}
}

int
main(void)
{
	const char *setting = getenv("PIRAMID_BOUNDS_PAIRS");
	long		pairs = setting != NULL ? atol(setting) : DEFAULT_PAIRS;

	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		if (!distance_use_level(level))
			continue;
		for (HnswMetric metric = HNSW_L2; metric <= HNSW_L1; metric++)
			for (HnswType type = HNSW_TYPE_VECTOR; type <= HNSW_TYPE_SPARSEVEC; type++)
				check_kinds(metric, type, pairs);
		check_kinds(HNSW_HAMMING, HNSW_TYPE_BIT, pairs);
		check_kinds(HNSW_JACCARD, HNSW_TYPE_BIT, pairs);
	}
	return done_testing();
}
