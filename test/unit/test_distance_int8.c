/*-------------------------------------------------------------------------
 *
 * test_distance_int8.c
 *		Kernels with an int32 result, of every level: they must be exact.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"
#include "distance/distance.h"

#include <stdlib.h>

#define MAX_DIM 65536
#define LAST_LENGTH 1100

/* The largest number of squares of 254 that fit an int32. */
#define MAX_L2SQ_DIM 33285

static Guarded a_memory;
static Guarded b_memory;

/* What the operands are filled with. */
typedef enum Values
{
	RANDOM,
	ALL_SAME,					/* 127 and 127 */
	ALL_OPPOSITE,				/* 127 and -127 */
	ALL_LOW,					/* -127 and -127 */
	ONLY_EXTREMES,				/* -127, 0 or 127 */
	NUM_VALUES
} Values;

static const char *const value_names[NUM_VALUES] = {
	"random values", "127 and 127", "127 and -127", "-127 and -127",
	"-127, 0 or 127"
};

static void
fill(Values values, int n, int8 *p, bool second)
{
	for (int i = 0; i < n; i++)
		p[i] = values == RANDOM ? random_int(-127, 127) :
			values == ONLY_EXTREMES ? 127 * random_int(-1, 1) :
			values == ALL_LOW || (values == ALL_OPPOSITE && second) ? -127 : 127;
}

static void
reference(int dim, const int8 *a, const int8 *b, int64 *dot, int64 *l2sq, int64 *l1)
{
	*dot = *l2sq = *l1 = 0;
	for (int i = 0; i < dim; i++)
	{
		*dot += a[i] * b[i];
		*l2sq += (a[i] - b[i]) * (a[i] - b[i]);
		*l1 += abs(a[i] - b[i]);
	}
}

static void
test_pairs(const DistanceKernels *k, Values values)
{
	static const int long_dims[] = {16000, MAX_L2SQ_DIM, MAX_DIM - 1, MAX_DIM};
	int			failures = 0;

	for (int length = 0; length <= LAST_LENGTH + lengthof(long_dims); length++)
	{
		int			dim = length <= LAST_LENGTH ? length :
			long_dims[length - LAST_LENGTH - 1];
		int8	   *a = at_end(a_memory, dim, length % 3);
		int8	   *b = at_end(b_memory, dim, length % 2);
		int64		dot;
		int64		l2sq;
		int64		l1;

		fill(values, dim, a, false);
		fill(values, dim, b, true);
		reference(dim, a, b, &dot, &l2sq, &l1);
		if (k->i8_dot(dim, a, b) != dot || k->i8_l1(dim, a, b) != l1 ||
			(dim <= MAX_L2SQ_DIM && k->i8_l2sq(dim, a, b) != l2sq))
		{
			if (failures++ == 0)
				diag("%s: wrong at dim %d", k->name, dim);
		}
	}
	ok(failures == 0, "%s i8_dot, i8_l2sq, i8_l1: %s", k->name, value_names[values]);
}

/*
 * One matrix; rows of a end right before untouchable memory, out has columns
 * that must stay as they are.
 */
static bool
matrix_right(const DistanceKernels *k, Values values, int dim, int na, int nb)
{
	int			lda = dim + 64 * (na % 3) + nb % 2;
	int			ldb = dim + 64 * (nb % 2) + na % 2;
	int			ldo = nb + na % 4;
	Size		a_size = (Size) Max(na - 1, 0) * lda + (na > 0 ? dim : 0);
	Size		b_size = (Size) Max(nb - 1, 0) * ldb + (nb > 0 ? dim : 0);
	int8	   *a = at_end(a_memory, a_size, 0);
	int8	   *b = at_end(b_memory, b_size, 0);
	Size		out_size = (Size) na * ldo + 1;
	int32	   *dots = malloc(sizeof(int32) * out_size);
	int32	   *l1s = malloc(sizeof(int32) * out_size);
	bool		right = true;

	fill(values, a_size, a, false);
	fill(values, b_size, b, true);
	for (Size i = 0; i < out_size; i++)
		dots[i] = l1s[i] = -77;

	k->i8_dot_matrix(dim, (ByteRows) {na, a, lda}, (ByteRows) {nb, b, ldb}, dots, ldo);
	k->i8_l1_matrix(dim, (ByteRows) {na, a, lda}, (ByteRows) {nb, b, ldb}, l1s, ldo);

	for (int i = 0; i < na; i++)
		for (int j = 0; j < ldo; j++)
		{
			int64		dot = -77;
			int64		l2sq;
			int64		l1 = -77;

			if (j < nb)
				reference(dim, a + (Size) i * lda, b + (Size) j * ldb,
						  &dot, &l2sq, &l1);
			right &= dots[(Size) i * ldo + j] == dot && l1s[(Size) i * ldo + j] == l1;
		}
	right &= dots[out_size - 1] == -77 && l1s[out_size - 1] == -77;
	free(dots);
	free(l1s);
	return right;
}

static void
test_matrix(const DistanceKernels *k, Values values)
{
	static const int dims[] = {0, 64, 128, 192, 256, 320, 512, 576, 1088};
	static const int counts[] = {0, 1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33};
	int			failures = 0;

	for (int d = 0; d < lengthof(dims); d++)
		for (int i = 0; i < lengthof(counts); i++)
			for (int j = 0; j < lengthof(counts); j++)
				if (!matrix_right(k, values, dims[d], counts[i], counts[j]) &&
					failures++ == 0)
					diag("%s: wrong at dim %d, %d x %d", k->name, dims[d],
						 counts[i], counts[j]);
	ok(failures == 0, "%s matrices, every edge: %s", k->name, value_names[values]);

	ok(matrix_right(k, values, 192, 3, 391) && matrix_right(k, values, 64, 391, 129) &&
	   matrix_right(k, values, 64, 20, 128) && matrix_right(k, values, 16000, 3, 5),
	   "%s matrices, many columns, many rows, long rows: %s", k->name,
	   value_names[values]);
}

int
main(void)
{
	a_memory = guarded_alloc(128 * 1024);
	b_memory = guarded_alloc(128 * 1024);

	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		if (!distance_has_level(level))
		{
			skip("level %d is not on this machine", level);
			continue;
		}
		for (Values values = 0; values < NUM_VALUES; values++)
		{
			test_pairs(distance_kernels(level), values);
			test_matrix(distance_kernels(level), values);
		}
	}
	return done_testing();
}
