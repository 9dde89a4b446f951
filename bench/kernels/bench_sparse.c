/*-------------------------------------------------------------------------
 *
 * bench_sparse.c
 *		Time of the sparse distances beside a plain merge.
 *
 * Prints nanoseconds per call for pairs of vectors drawn from the same
 * uneven distribution of indices, as terms of texts are.  Many pairs take
 * turns, so that the processor cannot learn the outcome of the comparisons.
 * The best of several rounds is shown: other work only adds time.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance_sparse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The server's headers replace these by functions of its own. */
#undef printf
#undef qsort

#define VECTORS 500
#define TERMS 30000
#define ROUNDS 9

typedef struct Sparse
{
	int			n;
	int32	   *indices;
	float	   *values;
} Sparse;

typedef float (*Kernel) (int an, const int32 *aindices, const float *avalues,
						 int bn, const int32 *bindices, const float *bvalues);

static volatile float sink;

/* What the sparse inner product is compared with. */
static float
merge_ip(int an, const int32 *aindices, const float *avalues,
		 int bn, const int32 *bindices, const float *bvalues)
{
	double		sum = 0;
	int			i = 0;
	int			j = 0;

	while (i < an && j < bn)
	{
		if (aindices[i] == bindices[j])
			sum += (double) avalues[i++] * bvalues[j++];
		else if (aindices[i] < bindices[j])
			i++;
		else
			j++;
	}
	return (float) sum;
}

static int
compare(const void *a, const void *b)
{
	return *(const int32 *) a - *(const int32 *) b;
}

static Sparse
make(int n)
{
	static char seen[TERMS];
	Sparse		v = {n, malloc(n * sizeof(int32)), malloc(n * sizeof(float))};

	for (int i = 0; i < n;)
	{
		double		u = drand48();
		int			term = (int) (TERMS * u * u * u);

		if (seen[term])
			continue;
		seen[term] = 1;
		v.indices[i] = term;
		v.values[i++] = drand48();
	}
	for (int i = 0; i < n; i++)
		seen[v.indices[i]] = 0;
	qsort(v.indices, n, sizeof(int32), compare);
	return v;
}

static double
measure(Kernel kernel, const Sparse *a, const Sparse *b)
{
	double		best = INFINITY;

	for (int round = 0; round < ROUNDS; round++)
	{
		struct timespec start;
		struct timespec end;
		double		elapsed;

		clock_gettime(CLOCK_MONOTONIC, &start);
		for (int i = 0; i < VECTORS; i++)
		{
			const Sparse *x = &a[(i * 7 + round) % VECTORS];

			sink = kernel(x->n, x->indices, x->values, b[i].n, b[i].indices, b[i].values);
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		elapsed = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
		best = Min(best, elapsed);
	}
	return best / VECTORS;
}

int
main(void)
{
	static const int sizes[][2] = {
		{8, 8}, {40, 40}, {40, 120}, {120, 120}, {200, 200}, {1000, 1000},
		{10, 400}, {10, 500}, {10, 2000}, {40, 1800}, {40, 2000}, {40, 10000}
	};

	printf("%6s %6s %10s %10s %10s %10s\n", "a", "b", "merge", "ip", "l2sq", "l1");
	for (int s = 0; s < lengthof(sizes); s++)
	{
		Sparse		a[VECTORS];
		Sparse		b[VECTORS];

		for (int i = 0; i < VECTORS; i++)
		{
			a[i] = make(sizes[s][0]);
			b[i] = make(sizes[s][1]);
		}
		printf("%6d %6d %10.1f %10.1f %10.1f %10.1f\n", sizes[s][0], sizes[s][1],
			   measure(merge_ip, a, b), measure(sparse_ip, a, b),
			   measure(sparse_l2sq, a, b), measure(sparse_l1, a, b));
		for (int i = 0; i < VECTORS; i++)
		{
			free(a[i].indices);
			free(a[i].values);
			free(b[i].indices);
			free(b[i].values);
		}
	}
	return 0;
}
