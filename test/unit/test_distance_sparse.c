/*-------------------------------------------------------------------------
 *
 * test_distance_sparse.c
 *		Distances of sparse vectors against sums over dense ones in double.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"
#include "distance/distance_sparse.h"

#include <float.h>
#include <math.h>

#define MAX_NNZ 16000
#define MAX_DIM 1000000000

typedef struct Sparse
{
	int			n;
	int32	   *indices;		/* both end right before untouchable memory */
	float	   *values;
} Sparse;

/* How the indices of b are related to those of a. */
typedef enum Relation
{
	INDEPENDENT,				/* each index with the same chance in both */
	DENSE,						/* nearly all indices in both */
	IDENTICAL,					/* the same indices, other values */
	DISJOINT,					/* even and odd */
	APART,						/* all of b after all of a */
	SUBSET,						/* b's indices are some of a's */
	HIGHEST,					/* up to the last index that there is */
	NUM_RELATIONS
} Relation;

static const char *const relation_names[NUM_RELATIONS] = {
	"independent", "dense", "identical indices", "disjoint", "one after the other",
	"subset", "highest indices"
};

typedef float (*Kernel) (int an, const int32 *aindices, const float *avalues,
						 int bn, const int32 *bindices, const float *bvalues);

static const struct
{
	const char *name;
	Kernel		kernel;
}			kernels[] = {{"l2sq", sparse_l2sq}, {"ip", sparse_ip}, {"l1", sparse_l1}};

static Guarded memory[4];
static bool integers;			/* small whole values: sums are exact */

static void
make(Sparse *v, int n, bool second)
{
	v->n = n;
	v->indices = at_end(memory[second ? 2 : 0], n * sizeof(int32), 0);
	v->values = at_end(memory[second ? 3 : 1], n * sizeof(float), 0);
	for (int i = 0; i < n; i++)
	{
		do
			v->values[i] = integers ? random_int(-9, 9) : random_float(-3, 3);
		while (v->values[i] == 0);
	}
}

/* Ascending, each at most "gap" after the one before. */
static void
spread(Sparse *v, int first, int gap, int factor, int offset)
{
	int			index = first - 1;

	for (int i = 0; i < v->n; i++)
	{
		index += random_int(1, gap);
		v->indices[i] = index * factor + offset;
	}
}

static void
make_pair(Sparse *a, Sparse *b, int an, int bn, Relation relation)
{
	/* Gaps that make the two about equally long. */
	int			agap = 2 + 6 * Max(bn, 1) / Max(an, 1);
	int			bgap = 2 + 6 * Max(an, 1) / Max(bn, 1);

	make(a, an, false);
	make(b, bn, true);
	spread(a, 0, relation == DENSE ? 1 + agap / 8 : agap, 1, 0);
	spread(b, random_int(0, 3), relation == DENSE ? 1 + bgap / 8 : bgap, 1, 0);
	switch (relation)
	{
		case IDENTICAL:
		case SUBSET:
			b->n = Min(an, bn);
			b->indices += bn - b->n;
			b->values += bn - b->n;
			/* The smallest, the greatest, or some between */
			for (int i = 0, j = 0; j < b->n; i++)
				if (relation == IDENTICAL || an - i == b->n - j || random_int(0, 1))
					b->indices[j++] = a->indices[i];
			break;
		case DISJOINT:
			spread(a, 0, agap, 2, 0);
			spread(b, 0, bgap, 2, 1);
			break;
		case APART:
			spread(b, an > 0 ? a->indices[an - 1] + 1 : 0, bgap, 1, 0);
			break;
		case HIGHEST:
			for (int i = 0; i < an; i++)
				a->indices[i] += MAX_DIM - 1 - a->indices[an - 1];
			for (int i = 0; i < bn; i++)
				b->indices[i] += MAX_DIM - 1 - b->indices[bn - 1];
			break;
		default:
			break;
	}
}

/* sums of (a-b)^2, a*b and |a-b|, and of the sizes of their terms */
static void
reference(const Sparse *a, const Sparse *b, double sums[3], double sizes[3])
{
	int			i = 0;
	int			j = 0;

	for (int k = 0; k < 3; k++)
		sums[k] = sizes[k] = 0;
	while (i < a->n || j < b->n)
	{
		int32		aindex = i < a->n ? a->indices[i] : PG_INT32_MAX;
		int32		bindex = j < b->n ? b->indices[j] : PG_INT32_MAX;
		double		x = aindex <= bindex ? a->values[i++] : 0;
		double		y = bindex <= aindex ? b->values[j++] : 0;

		sums[0] += (x - y) * (x - y);
		sums[1] += x * y;
		sums[2] += fabs(x - y);
		sizes[1] += fabs(x * y);
	}
	sizes[0] = sums[0];
	sizes[2] = sums[2];
}

/* One rounding to float, and those of at most n + 8 additions in double. */
static bool
close_enough(float got, double want, double size, int n)
{
	return fabs(got - want) <=
		fabs(want) * FLT_EPSILON / 2 + (n + 8) * DBL_EPSILON * size;
}

static bool
pair_right(int an, int bn, Relation relation)
{
	Sparse		a;
	Sparse		b;
	double		sums[3];
	double		sizes[3];
	bool		right = true;

	make_pair(&a, &b, an, bn, relation);
	reference(&a, &b, sums, sizes);
	for (int k = 0; k < 3; k++)
	{
		float		ab = kernels[k].kernel(a.n, a.indices, a.values, b.n, b.indices, b.values);
		float		ba = kernels[k].kernel(b.n, b.indices, b.values, a.n, a.indices, a.values);

		if (integers ? ab != (float) sums[k] || ba != ab :
			!close_enough(ab, sums[k], sizes[k], a.n + b.n) ||
			!close_enough(ba, sums[k], sizes[k], a.n + b.n))
		{
			if (right)
				diag("%s of %d and %d: %.9g, %.9g, not %.9g", kernels[k].name,
					 a.n, b.n, ab, ba, sums[k]);
			right = false;
		}
	}
	return right;
}

static void
test_pairs(Relation relation)
{
	static const int lengths[] = {40, 63, 120, 333, 1000, 4001, MAX_NNZ};
	int			failures = 0;

	for (int whole = 0; whole < 2; whole++)
	{
		integers = whole;
		/* every short pair: all tails of blocks */
		for (int an = 0; an <= 21; an++)
			for (int bn = 0; bn <= 21; bn++)
				for (int round = 0; round < 4; round++)
					failures += !pair_right(an, bn, relation);
		for (int i = 0; i < lengthof(lengths); i++)
			for (int j = 0; j < lengthof(lengths); j++)
				failures += !pair_right(lengths[i], lengths[j], relation);
		/* much longer: the lookup, from either side, and around its start */
		for (int an = 0; an <= 12; an++)
			for (int bn = 48 * an - 2; bn <= 48 * an + 2; bn++)
				failures += bn >= 0 && !pair_right(an, bn, relation);
		for (int an = 1; an < 250; an += 13)
			failures += !pair_right(an, MAX_NNZ, relation);
	}
	ok(failures == 0, "l2sq, ip, l1: %s", relation_names[relation]);
}

static void
test_itself(void)
{
	bool		right = true;

	integers = false;
	for (int n = 0; n <= 1000; n++)
	{
		Sparse		a;
		double		norm = 0;

		make(&a, n, false);
		spread(&a, 0, 9, 1, 0);
		for (int i = 0; i < n; i++)
			norm += (double) a.values[i] * a.values[i];
		right &= sparse_l2sq(n, a.indices, a.values, n, a.indices, a.values) == 0;
		right &= sparse_l1(n, a.indices, a.values, n, a.indices, a.values) == 0;
		right &= close_enough(sparse_normsq(n, a.values), norm, norm, n);
		right &= close_enough(sparse_ip(n, a.indices, a.values, n, a.indices, a.values),
							  norm, norm, n);
	}
	ok(right, "a vector and itself: l2sq and l1 are zero, ip is the squared norm");
}

/* Four elements, so that they go through a block, and one, which does not. */
static void
test_extremes(int n)
{
	static const int32 indices[] = {0, 7, 1000, MAX_DIM - 1};
	static const float large[] = {3e38f, 3e38f, 3e38f, 3e38f};
	static const float negative[] = {-3e38f, -3e38f, -3e38f, -3e38f};
	static const float mixed[] = {3e38f, -3e38f, 3e38f, -3e38f};
	static const float small[] = {1e-45f, 1e-45f, 1e-45f, 1e-45f};
	static const float zeros[] = {0, -0.0f, 0, -0.0f};

	ok(isinf(sparse_l2sq(n, indices, large, n, indices, negative)) &&
	   isinf(sparse_l1(n, indices, large, n, indices, negative)) &&
	   sparse_ip(n, indices, large, n, indices, large) == INFINITY &&
	   sparse_ip(n, indices, large, n, indices, negative) == -INFINITY &&
	   isinf(sparse_normsq(n, large)),
	   "%d elements: beyond float is infinite", n);
	ok(sparse_l2sq(n, indices, large, n, indices, large) == 0 &&
	   (n == 1 || sparse_ip(n, indices, large, n, indices, mixed) == 0),
	   "%d elements: what is beyond float on the way is not", n);
	ok(sparse_ip(n, indices, small, n, indices, small) == 0 &&
	   sparse_l2sq(n, indices, small, 0, NULL, NULL) == 0 &&
	   sparse_l1(n, indices, small, 0, NULL, NULL) == n * 1e-45f &&
	   sparse_ip(n, indices, small, n, indices, large) == (float) (n * (double) 1e-45f * 3e38f),
	   "%d elements: denormals", n);
	ok(sparse_l2sq(n, indices, zeros, n, indices, large) == sparse_l2sq(0, NULL, NULL, n, indices, large) &&
	   sparse_l1(n, indices, large, n, indices, zeros) == sparse_l1(0, NULL, NULL, n, indices, large) &&
	   sparse_ip(n, indices, zeros, n, indices, large) == 0,
	   "%d elements: zeros that are spelled out", n);
}

int
main(void)
{
	for (int i = 0; i < lengthof(memory); i++)
		memory[i] = guarded_alloc(MAX_NNZ * sizeof(int32));

	for (Relation relation = 0; relation < NUM_RELATIONS; relation++)
		test_pairs(relation);
	test_itself();
	test_extremes(1);
	test_extremes(4);
	return done_testing();
}
