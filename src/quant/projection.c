/*-------------------------------------------------------------------------
 *
 * projection.c
 *		Where the rows' energy is: a projection learned from a sample.
 *
 * Rows of real embeddings vary in fewer directions than they have
 * coordinates.  A code of the leading principal components, randomly mixed
 * among themselves, tells more of a residual than one of as many coordinates
 * of a random rotation.
 *
 * The subspace comes from a randomized power iteration (Halko, Martinsson &
 * Tropp, 2011), whose products are int8 matrix products: their rounding acts
 * like a little noise in the sample.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>

#include "quant/quant.h"

/* Multiplications by the covariance; the first one starts at random. */
#define POWER_PASSES 3

/* Rounds of random signs and Hadamard transforms that mix the components. */
#define MIXING_ROUNDS 3

/* Values that loops of a fixed length take at once; divides any stride. */
#define CHUNK 16

int
projection_stride(int width)
{
	return (width + 63) / 64 * 64;
}

Size
projection_size(int dims, int width)
{
	return (Size) dims * projection_stride(width);
}

/* Parts of the room that projection_learn needs. */
typedef struct Work
{
	int			dims;
	int			nrows;
	int			stride;
	int			row_stride;		/* nrows, rounded up */
	int8	   *columns;		/* stride * row_stride: the rows, transposed */
	int8	   *scores;			/* dims * row_stride */
	int32	   *products;		/* dims * the larger of both strides */
	float	   *basis;			/* dims * stride */
} Work;

Size
projection_work_size(int dims, int width, int nrows)
{
	Size		stride = projection_stride(width);
	Size		row_stride = projection_stride(nrows);

	return stride * row_stride + dims * row_stride +
		sizeof(int32) * dims * Max(stride, row_stride) + sizeof(float) * dims * stride;
}

static void
init_work(Work *work, int dims, int width, ByteRows rows, void *room)
{
	work->dims = dims;
	work->nrows = rows.n;
	work->stride = projection_stride(width);
	work->row_stride = projection_stride(rows.n);
	work->products = room;
	work->basis = (float *) (work->products + (Size) dims * Max(work->stride, work->row_stride));
	work->columns = (int8 *) (work->basis + (Size) dims * work->stride);
	work->scores = work->columns + (Size) work->stride * work->row_stride;
	memset(work->columns, 0, (Size) work->stride * work->row_stride);
	memset(work->scores, 0, (Size) dims * work->row_stride);
	for (int i = 0; i < rows.n; i++)
		for (int j = 0; j < work->stride; j++)
			work->columns[(Size) j * work->row_stride + i] = rows.values[(Size) i * work->stride + j];
}

/* y -= c * x */
static void
subtract(int n, float c, const float *restrict x, float *restrict y)
{
	for (int i = 0; i < n; i += CHUNK)
		for (int j = i; j < i + CHUNK; j++)
			y[j] -= c * x[j];
}

/* Gram-Schmidt, twice: once loses orthogonality among rows nearly alike. */
static void
orthonormalize(int dims, int n, float *basis)
{
	for (int i = 0; i < dims; i++)
	{
		float	   *row = basis + (Size) i * n;
		float		norm;

		for (int pass = 0; pass < 2; pass++)
		{
			norm = sqrtf(distance->normsq(n, row));
			for (int j = 0; j < n; j++)
				row[j] = norm > 0 ? row[j] / norm : 0;
			for (int j = 0; j < i; j++)
			{
				const float *other = basis + (Size) j * n;

				subtract(n, distance->ip(n, other, row), other, row);
			}
		}
		norm = sqrtf(distance->normsq(n, row));

		/* What is left of a dependent row is rounding. */
		for (int j = 0; j < n; j++)
			row[j] = norm > 1e-3f ? row[j] / norm : 0;
	}
}

/* Mix the rows: an orthogonal transform of every column. */
static void
mix(int dims, int n, float *basis, uint64 *random)
{
	int			block = 1;
	float		unit;

	while (block * 2 <= dims)
		block *= 2;
	unit = 1 / sqrtf((float) block);
	for (int round = 0; round < MIXING_ROUNDS; round++)
	{
		float	   *start = basis + (Size) (round % 2 == 0 ? 0 : dims - block) * n;

		for (int i = 0; i < dims; i++)
			if (quant_random(random) >> 63)
				for (int j = 0; j < n; j++)
					basis[(Size) i * n + j] *= -1;
		for (int h = 1; h < block; h *= 2)
			for (int i = 0; i < block; i++)
			{
				float	   *a = start + (Size) i * n;
				float	   *b = a + (Size) h * n;

				if (i & h)
					continue;
				for (int j = 0; j < n; j++)
				{
					float		sum = a[j] + b[j];

					b[j] = a[j] - b[j];
					a[j] = sum;
				}
			}
		for (Size i = 0; i < (Size) block * n; i++)
			start[i] *= unit;
	}
}

/* int8 of n int32 values, scaled to use the whole range. */
static void
shrink(int n, const int32 *values, int8 *out)
{
	int32		largest = 1;
	float		factor;

	for (int i = 0; i < n; i++)
		largest = Max(largest, values[i] < 0 ? -values[i] : values[i]);
	factor = 127.0f / largest;
	for (int i = 0; i < n; i++)
		out[i] = (int8) rintf(values[i] * factor);
}

/* int8 of the basis; each row with a step of its own, or one step for all. */
static float
quantize_basis(const Work *work, bool one_step, int8 *matrix)
{
	int			n = work->stride;
	int			count = one_step ? work->dims * n : n;
	float		step = 0;

	for (Size start = 0; start < (Size) work->dims * n; start += count)
		scalar_encode_int8(count, work->basis + start, matrix + start, &step);
	return step;
}

/*
 * Learn the leading "dims" components of rows of "width" int8 values (of the
 * centred, rotated vectors; projection_stride(width) bytes apart, the rest
 * zero), randomly mixed.  matrix is room for projection_size() bytes, and
 * "room" for projection_work_size().
 */
void
projection_learn(Projection *projection, int dims, int width, ByteRows rows, uint64 seed,
				 int8 *matrix, void *room)
{
	Work		work;
	int			stride = projection_stride(width);

	init_work(&work, dims, width, rows, room);
	for (Size i = 0; i < (Size) dims * stride; i++)
		matrix[i] = (i % stride < width) ? ((quant_random(&seed) >> 63) ? 1 : -1) : 0;
	for (int pass = 0; pass < POWER_PASSES; pass++)
	{
		distance->i8_dot_matrix(stride, (ByteRows) {dims, matrix, stride}, rows,
								work.products, work.row_stride);
		for (int i = 0; i < dims; i++)
			shrink(rows.n, work.products + (Size) i * work.row_stride,
				   work.scores + (Size) i * work.row_stride);
		distance->i8_dot_matrix(work.row_stride, (ByteRows) {dims, work.scores, work.row_stride},
								(ByteRows) {stride, work.columns, work.row_stride},
								work.products, stride);
		for (Size i = 0; i < (Size) dims * stride; i++)
			work.basis[i] = work.products[i];
		orthonormalize(dims, stride, work.basis);
		if (pass < POWER_PASSES - 1)
			(void) quantize_basis(&work, false, matrix);
	}
	mix(dims, stride, work.basis, &seed);
	projection->dims = dims;
	projection->width = width;
	projection->step = quantize_basis(&work, true, matrix);
	projection->matrix = matrix;
}

/*
 * Project a rotated vector: dims values.  It is rounded to int8 for that, as
 * the matrix is: an error of a hundredth of its length at most, spread over
 * all coordinates, and a product several times faster.
 */
void
projection_apply(const Projection *projection, const float *x, float *out)
{
	int			stride = projection_stride(projection->width);
	int8		rounded[PROJECTION_MAX_WIDTH];
	float		step;

	scalar_encode_int8(projection->width, x, rounded, &step);
	step *= projection->step;
	for (int i = 0; i < projection->dims; i++)
		out[i] = step * distance->i8_dot(projection->width, rounded,
										 projection->matrix + (Size) i * stride);
}

/*
 * Project rows of int8 values, stride bytes apart: dims int32 values each.
 * Times the steps of projection and rows they are the coordinates.
 */
void
projection_apply_rows(const Projection *projection, int nrows, const int8 *rows, int stride,
					  int32 *out)
{
	int			padded = projection_stride(projection->width);

	distance->i8_dot_matrix(padded, (ByteRows) {nrows, rows, stride},
							(ByteRows) {projection->dims, projection->matrix, padded},
							out, projection->dims);
}
