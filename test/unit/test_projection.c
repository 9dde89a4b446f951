/*-------------------------------------------------------------------------
 *
 * test_projection.c
 *		Learning where the energy of rows is, against double precision and
 *		against what is known of how the rows were made.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"
#include "quant/quant.h"

#include <math.h>
#include <stdlib.h>

typedef struct Rows
{
	int			n;
	int			width;
	int			stride;
	int8	   *values;
} Rows;

/*
 * Rows that lie in a random subspace of so many dimensions, its directions
 * weaker and weaker, but for a little noise.
 */
static Rows
make_rows(int n, int width, int rank, float noise)
{
	Rows		rows = {n, width, projection_stride(width), NULL};
	float	   *basis = malloc(sizeof(float) * rank * width);

	rows.values = calloc(n, rows.stride);
	for (int i = 0; i < rank * width; i++)
		basis[i] = random_float(-1, 1);
	for (int i = 0; i < n; i++)
	{
		float	   *x = calloc(width, sizeof(float));

		for (int r = 0; r < rank; r++)
		{
			float		weight = random_float(-1, 1) / sqrtf(1 + r);

			for (int j = 0; j < width; j++)
				x[j] += weight * basis[r * width + j];
		}
		for (int j = 0; j < width; j++)
			rows.values[(Size) i * rows.stride + j] =
				(int8) rintf(fmaxf(fminf((x[j] + noise * random_float(-1, 1)) * 40, 127), -127));
		free(x);
	}
	free(basis);
	return rows;
}

static Projection
learn(const Rows *rows, int dims, int first, int n)
{
	Projection	projection;
	void	   *room = malloc(projection_work_size(dims, rows->width, n));

	projection_learn(&projection, dims, rows->width,
					 (ByteRows) {n, rows->values + (Size) first * rows->stride, rows->stride}, 1,
					 malloc(projection_size(dims, rows->width)), room);
	free(room);
	return projection;
}

/* Share of the energy of rows from "first" on. */
static double
share(const Projection *projection, const Rows *rows, int first)
{
	double		kept = 0;
	double		all = 0;
	int32	   *out = malloc(sizeof(int32) * projection->dims);

	for (int i = first; i < rows->n; i++)
	{
		const int8 *row = rows->values + (Size) i * rows->stride;

		projection_apply_rows(projection, 1, row, rows->stride, out);
		for (int j = 0; j < projection->dims; j++)
			kept += pow((double) projection->step * out[j], 2);
		for (int j = 0; j < rows->width; j++)
			all += (double) row[j] * row[j];
	}
	free(out);
	return kept / all;
}

/* Largest deviation of the matrix' rows from orthogonal ones of length 1. */
static double
deviation(const Projection *projection)
{
	int			stride = projection_stride(projection->width);
	double		worst = 0;

	for (int i = 0; i < projection->dims; i++)
		for (int j = 0; j <= i; j++)
		{
			double		sum = 0;

			for (int k = 0; k < stride; k++)
				sum += (double) projection->matrix[(Size) i * stride + k] *
					projection->matrix[(Size) j * stride + k];
			sum *= (double) projection->step * projection->step;
			worst = fmax(worst, fabs(sum - (i == j)));
		}
	return worst;
}

/* How evenly the energy of the rows is spread over the coordinates: the largest share. */
static double
largest_share(const Projection *projection, const Rows *rows)
{
	double	   *energy = calloc(projection->dims, sizeof(double));
	int32	   *out = malloc(sizeof(int32) * projection->dims);
	double		all = 0;
	double		largest = 0;

	for (int i = 0; i < rows->n; i++)
	{
		projection_apply_rows(projection, 1, rows->values + (Size) i * rows->stride, rows->stride,
							  out);
		for (int j = 0; j < projection->dims; j++)
		{
			energy[j] += (double) out[j] * out[j];
			all += (double) out[j] * out[j];
		}
	}
	for (int j = 0; j < projection->dims; j++)
		largest = fmax(largest, energy[j] / all);
	free(energy);
	free(out);
	return largest;
}

/* projection_apply against the sums in double precision. */
static double
apply_error(const Projection *projection)
{
	int			stride = projection_stride(projection->width);
	float	   *x = malloc(sizeof(float) * projection->width);
	float	   *out = malloc(sizeof(float) * projection->dims);
	double		worst = 0;
	double		norm = 0;

	for (int i = 0; i < projection->width; i++)
	{
		x[i] = random_float(-1, 1) * 1e-3f;
		norm += (double) x[i] * x[i];
	}
	projection_apply(projection, x, out);
	for (int i = 0; i < projection->dims; i++)
	{
		double		sum = 0;

		for (int j = 0; j < projection->width; j++)
			sum += (double) projection->step * projection->matrix[(Size) i * stride + j] * x[j];
		worst = fmax(worst, fabs(out[i] - sum) / sqrt(norm));
	}
	free(x);
	free(out);
	return worst;
}

static void
test_learn(int n, int width, int rank, int dims)
{
	Rows		rows = make_rows(n, width, rank, 0.3f);
	Projection	projection = learn(&rows, dims, 0, n / 2);
	double		kept = share(&projection, &rows, n / 2);

	/* What is noise: 0.3^2 / 3 for each coordinate, and rounding. */
	ok(kept > 0.9, "%d of %d dimensions, rank %d: %.4f of the energy of other rows",
	   dims, width, rank, kept);
	ok(deviation(&projection) < 0.05, "%d of %d: orthonormal but for %.3f", dims, width,
	   deviation(&projection));
	ok(largest_share(&projection, &rows) < 8.0 / dims, "%d of %d: the first components are mixed (%.3f)",
	   dims, width, largest_share(&projection, &rows));
	ok(apply_error(&projection) < 0.001, "%d of %d: projected to %.5f of the length", dims, width,
	   apply_error(&projection));
	free(rows.values);
	free((void *) projection.matrix);
}

/* Rows without any structure keep their share, no more. */
static void
test_noise(void)
{
	Rows		rows = make_rows(3000, 256, 0, 3);
	Projection	projection = learn(&rows, 64, 0, 2000);
	double		kept = share(&projection, &rows, 2000);

	ok(kept > 0.2 && kept < 0.35, "noise: 64 of 256 dimensions keep %.3f", kept);
	free(rows.values);
	free((void *) projection.matrix);
}

/* Nothing to learn from: nothing is divided by zero. */
static void
test_nothing(void)
{
	Rows		rows = {100, 96, projection_stride(96), calloc(100, projection_stride(96))};
	Projection	zero = learn(&rows, 32, 0, 100);
	Projection	one;
	float		x[96] = {1};
	float		out[32];
	bool		finite = true;

	ok(zero.step == 0, "rows of zeros: step %g", zero.step);
	rows.values[5] = 100;
	one = learn(&rows, 32, 0, 100);
	projection_apply(&one, x, out);
	for (int i = 0; i < 32; i++)
		finite &= isfinite(out[i]);
	ok(finite, "rows of rank one: finite coordinates");
	ok(share(&one, &rows, 0) > 0.98, "rows of rank one: all of them kept (%.3f)", share(&one, &rows, 0));
	free(rows.values);
	free((void *) zero.matrix);
	free((void *) one.matrix);
}

int
main(void)
{
	test_learn(2000, 128, 20, 64);
	test_learn(2000, 384, 100, 224);
	test_learn(3000, 768, 100, 160);
	test_learn(1000, 1536, 100, 272);
	test_noise();
	test_nothing();
	return done_testing();
}
