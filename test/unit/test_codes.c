/*-------------------------------------------------------------------------
 *
 * test_codes.c
 *		Rotation, RaBitQ codes and scalar quantization against what
 *		quant/README.md says of them, on random and on real vectors.
 *
 * VECTORS names a file of float32 values, REAL_DIM to a vector.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "quant/quant.h"

#define MAX_DIM 16000
#define REAL_DIM 384

/*
 * Error of an estimate of <r, y> in units of |r| |y'| / sqrt(dims), by bits.
 * One bit: sqrt(pi/2 - 1).  More: sqrt(D / (1 - D)), D the distortion of the
 * best uniform quantizer of a normal variable (Max, 1960).
 */
static const double code_error[] = {0, 0.7555, 0.3665, 0.1972, 0.1081};

static float *
floats(int n)
{
	float	   *x = calloc(Max(n, 1), sizeof(float));

	if (x == NULL)
		abort();
	return x;
}

/* About normal, by the sum of twelve. */
static float
random_normal(void)
{
	float		sum = -6;

	for (int i = 0; i < 12; i++)
		sum += random_float(0, 1);
	return sum;
}

static void
fill_normal(int n, float *x)
{
	for (int i = 0; i < n; i++)
		x[i] = random_normal();
}

static double
product(int n, const float *a, const float *b)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double) a[i] * b[i];
	return sum;
}

static CodeShape
shape_of(int dims, int bits)
{
	CodeShape	shape = {dims, bits, dims * bits / 8};

	return shape;
}

/* ---- rotation ---- */

/* Lengths and products stay, to 1e-5; one coordinate spreads over all. */
static void
test_rotation(int dim)
{
	int			out_dim = rotation_out_dim(dim);
	float	   *signs = floats(ROTATION_ROUNDS * out_dim);
	float	   *x = floats(dim);
	float	   *y = floats(dim);
	float	   *rx = floats(out_dim);
	float	   *ry = floats(out_dim);
	Rotation	rotation;
	Rotation	copy;
	double		worst = 0;
	float		largest = 0;
	bool		same = true;

	for (uint64 seed = 0; seed < 20; seed++)
	{
		double		size;

		rotation_init(&rotation, dim, seed * 1000 + dim, signs);
		rotation_init_copy(&copy, dim, signs);
		fill_normal(dim, x);
		fill_normal(dim, y);
		rotation_apply(&rotation, x, rx);
		rotation_apply(&rotation, y, ry);
		size = sqrt(product(dim, x, x) * product(dim, y, y));
		worst = Max(worst, fabs(product(out_dim, rx, ry) - product(dim, x, y)) / size);
		worst = Max(worst, fabs(product(out_dim, rx, rx) / product(dim, x, x) - 1));
		rotation_apply(&copy, y, rx);
		same &= memcmp(rx, ry, sizeof(float) * out_dim) == 0;

		memset(x, 0, sizeof(float) * dim);
		x[random_int(0, dim - 1)] = 1;
		rotation_apply(&rotation, x, rx);
		for (int i = 0; i < out_dim; i++)
			largest = Max(largest, fabsf(rx[i]));
	}
	ok(out_dim >= 64 && out_dim >= dim && out_dim % 32 == 0,
	   "rotation of %d dimensions: length %d", dim, out_dim);
	ok(worst < 1e-5, "rotation of %d dimensions: lengths and products stay (%.1e)", dim, worst);
	ok(largest < 7 / sqrt(out_dim), "rotation of %d dimensions: one coordinate spreads (%.2f of %.2f)",
	   dim, largest * sqrt(out_dim), 7.0);
	ok(same, "rotation of %d dimensions: the same from copied signs", dim);
	free(signs);
	free(x);
	free(y);
	free(rx);
	free(ry);
}

/* What a seed means is part of the disk format. */
static void
test_rotation_pinned(void)
{
	static const int dims[] = {64, 96};
	static const float expected[][4] = {
		{43.125f, -22.875f, 18.75f, -67.1875f},
		{-14.5625f, -55.4375f, -70.5625f, 123.375f}
	};
	float		signs[ROTATION_ROUNDS * 96];
	float		x[96];
	float		out[96];
	Rotation	rotation;

	for (int i = 0; i < lengthof(dims); i++)
	{
		static const int at[] = {0, 1, 31, 63};
		bool		right = true;

		for (int j = 0; j < dims[i]; j++)
			x[j] = j + 1;
		rotation_init(&rotation, dims[i], UINT64CONST(0x1234567890ABCDEF), signs);
		rotation_apply(&rotation, x, out);
		for (int j = 0; j < lengthof(at); j++)
			right &= fabsf(out[at[j]] - expected[i][j]) < 1e-3;
		if (!ok(right, "rotation of %d dimensions: what stored codes rely on", dims[i]))
			diag("%.4f %.4f %.4f %.4f", out[0], out[1], out[31], out[63]);
	}
}

/* ---- estimates ---- */

/* Errors of estimates, each divided by what it should be on average. */
typedef struct Errors
{
	int			n;
	double		sum;
	double		squares;
	int			within1;		/* 1 standard deviation */
	int			within2;		/* 1.9 */
	int			within3;		/* 3 */
} Errors;

/* Room for the parts of an estimate in rotated space. */
typedef struct Estimator
{
	Rotation	rotation;
	CodeShape	shape;
	float	   *signs;
	float	   *from;
	float	   *to;
	float	   *query;
	uint8	   *code;
} Estimator;

static void
estimator_init(Estimator *e, int dim, int dims, int bits)
{
	int			out_dim = rotation_out_dim(dim);

	e->shape = shape_of(dims, bits);
	e->signs = floats(ROTATION_ROUNDS * out_dim);
	e->from = floats(out_dim);
	e->to = floats(out_dim);
	e->query = floats(out_dim);
	e->code = calloc(e->shape.units, 1);
	rotation_init(&e->rotation, dim, random_bits(), e->signs);
}

static void
estimator_free(Estimator *e)
{
	free(e->signs);
	free(e->from);
	free(e->to);
	free(e->query);
	free(e->code);
}

/* Estimate <v - u, q - u> from the code of v at u. */
static void
estimate(Estimator *e, const float *u, const float *v, const float *q, Errors *errors)
{
	int			n = e->rotation.out_dim;
	float		rsq;
	float		dot;
	float		factor;
	double		ry = 0;
	double		rr = 0;
	double		yy = 0;
	double		sd;
	double		error;

	rotation_apply(&e->rotation, u, e->from);
	rotation_apply(&e->rotation, v, e->to);
	rotation_apply(&e->rotation, q, e->query);
	factor = code_encode(&e->shape, n, e->from, e->to, e->code, &rsq, &dot);
	for (int i = 0; i < n; i++)
	{
		double		r = e->to[i] - e->from[i];
		double		y = e->query[i] - e->from[i];

		ry += r * y;
		rr += r * r;
		yy += y * y;
	}
	if (rr == 0 || yy - ry * ry / rr <= 1e-9 * yy)
		return;

	/* <c, y> = <c, q> - <c, u>, as an index computes it */
	error = factor * ((double) code_dot(&e->shape, e->code, e->query) - dot) - ry;
	sd = sqrt(rr * (yy - ry * ry / rr) / e->shape.dims) * code_error[e->shape.bits];
	error /= sd;
	errors->n++;
	errors->sum += error;
	errors->squares += error * error;
	errors->within1 += fabs(error) <= 1;
	errors->within2 += fabs(error) <= 1.9;
	errors->within3 += fabs(error) <= 3;
}

/*
 * Unbiased; as large as stated, neither more nor much less; and with
 * normal tails.
 */
static void
check_errors(const char *what, const Errors *errors)
{
	double		n = errors->n;
	double		mean = errors->sum / n;
	double		sd = sqrt(errors->squares / n);

	ok(n >= 1000 && fabs(mean) < 4.5 * sd / sqrt(n), "%s: unbiased (mean %.3f of %.0f)", what, mean, n);
	ok(sd > 0.8 && sd < 1.15, "%s: error as stated (%.2f times)", what, sd);
	ok(errors->within1 > 0.6 * n && errors->within2 >= 0.9 * n && errors->within3 >= 0.99 * n,
	   "%s: %.1f%% within 1 sd, %.1f%% within 1.9, %.2f%% within 3", what,
	   100 * errors->within1 / n, 100 * errors->within2 / n, 100 * errors->within3 / n);
}

/* Many rotations of a few fixed vectors, such that one coordinate dominates. */
static void
test_estimates(int dim, int bits, int trials)
{
	char		what[100];
	float	   *x = floats(3 * dim);
	Errors		errors = {0};

	for (int i = 0; i < trials; i++)
	{
		Estimator	e;

		estimator_init(&e, dim, rotation_out_dim(dim), bits);
		if (i % 100 == 0)
		{
			fill_normal(3 * dim, x);
			x[0] = 3 * sqrt(dim);
			/* A query towards v: <r, y> is far from zero. */
			for (int j = 0; j < dim; j++)
				x[2 * dim + j] += x[dim + j];
		}
		estimate(&e, x, x + dim, x + 2 * dim, &errors);
		estimator_free(&e);
	}
	snprintf(what, sizeof(what), "%d dimensions, %d bit(s)", dim, bits);
	check_errors(what, &errors);
	free(x);
}

/* A code that leaves out the last coordinates stays unbiased. */
static void
test_partial(int dim, int dims)
{
	char		what[100];
	float	   *x = floats(3 * dim);
	Errors		errors = {0};

	for (int i = 0; i < 4000; i++)
	{
		Estimator	e;

		estimator_init(&e, dim, dims, 1);
		if (i % 100 == 0)
			fill_normal(3 * dim, x);
		estimate(&e, x, x + dim, x + 2 * dim, &errors);
		estimator_free(&e);
	}
	snprintf(what, sizeof(what), "%d of %d dimensions coded", dims, dim);
	check_errors(what, &errors);
	free(x);
}

static void
test_real(const float *vectors, int n, int dim, int bits)
{
	char		what[100];
	Errors		errors = {0};
	Estimator	e;

	/* The last dim of REAL_DIM values; a few rotations. */
	for (int i = 0; i < 20000; i++)
	{
		const float *x[3];

		if (i % 1000 == 0)
			estimator_init(&e, dim, rotation_out_dim(dim), bits);
		for (int j = 0; j < 3; j++)
			x[j] = vectors + (Size) random_int(0, n - 1) * REAL_DIM + REAL_DIM - dim;
		estimate(&e, x[0], x[1], x[2], &errors);
		if (i % 1000 == 999)
			estimator_free(&e);
	}
	snprintf(what, sizeof(what), "real vectors of %d dimensions, %d bit(s)", dim, bits);
	check_errors(what, &errors);
}

/* ---- codes ---- */

/* Factor, length and product that come with a code, against the definition. */
static void
test_encode(int n, int dims, int bits)
{
	CodeShape	shape = shape_of(dims, bits);
	float	   *from = floats(n);
	float	   *to = floats(n);
	uint8	   *code = calloc(shape.units, 1);
	int			top = (1 << bits) - 1;
	int			wrong_sign = 0;
	double		worst = 0;
	double		length = 0;
	float		rsq;
	float		dot;

	for (int trial = 0; trial < 50; trial++)
	{
		double		real_rsq = 0;
		double		real_dot = 0;
		double		cr = 0;
		double		size = 0;
		float		factor;

		fill_normal(n, from);
		fill_normal(n, to);
		memset(code, 0xA5, shape.units);
		factor = code_encode(&shape, n, from, to, code, &rsq, &dot);
		for (int i = 0; i < n; i++)
		{
			double		r = to[i] - from[i];
			int			c = 0;

			real_rsq += r * r;
			if (i >= dims)
				continue;
			for (int plane = 0; plane < bits; plane++)
				c += ((code[(plane * dims + i) / 8] >> (i % 8)) & 1) << plane;
			c = 2 * c - top;
			wrong_sign += (r > 0) != (c > 0);
			cr += c * r;
			real_dot += c * (double) from[i];
			size += fabs(c * (double) from[i]);
		}
		worst = Max(worst, fabs(rsq / real_rsq - 1));
		worst = Max(worst, fabs(factor * cr / real_rsq - 1));
		worst = Max(worst, fabs(dot - real_dot) / size);
		worst = Max(worst, fabs(code_dot(&shape, code, from) - real_dot) / size);
		length += factor * code_expected_norm(&shape) / sqrt(real_rsq) / 50;
	}
	ok(wrong_sign == 0, "code of %d bit(s), %d of %d: signs", bits, dims, n);
	ok(worst < 1e-4, "code of %d bit(s), %d of %d: factor, length and product (%.1e)",
	   bits, dims, n, worst);
	ok(fabs(length * sqrt((double) dims / n) - 1) < 0.05,
	   "code of %d bit(s), %d of %d: lengths from factors (%.3f)", bits, dims, n, length);
	ok(code_encode(&shape, n, from, from, code, &rsq, &dot) == 0 && rsq == 0,
	   "code of %d bit(s), %d of %d: nothing is left of equal vectors", bits, dims, n);
	free(from);
	free(to);
	free(code);
}

/* Codes packed in any order come out of their places, and nothing else changed. */
static void
test_pack(const CodeShape *shape)
{
	enum
	{
		CODES = 5 * FASTSCAN_BLOCK
	};
	Size		size = (Size) CODES * shape->units;
	uint8	   *codes = malloc(size);
	uint8	   *blocks = malloc(size);
	bool		right = true;

	for (Size i = 0; i < size; i++)
		codes[i] = (uint8) random_bits();
	memset(blocks, 0x5A, size);
	for (int i = 0; i < CODES; i++)
	{
		int			position = (i * 37 + 11) % CODES;

		/* One place stays as it was. */
		if (position != 20)
			code_pack(shape, codes + (Size) position * shape->units, blocks, position);
	}
	for (int position = 0; position < CODES; position++)
		for (int t = 0; t < shape->units; t++)
			right &= blocks[((Size) position / FASTSCAN_BLOCK * shape->units + t) * FASTSCAN_BLOCK +
							position % FASTSCAN_BLOCK] ==
				(position == 20 ? 0x5A : codes[(Size) position * shape->units + t]);
	ok(right, "%d bytes per code: what is packed is there", shape->units);
	free(codes);
	free(blocks);
}

/* One query's tables and FastScan, against code_dot; returns |y| in *length. */
static void
scan_once(const DistanceKernels *kernels, const CodeShape *shape, float spread,
		  int ncodes, double *errors, float *step, double *length)
{
	int			dims = shape->dims;
	float	   *y = floats(dims);
	uint8	   *codes = malloc((Size) ncodes * shape->units);
	uint8	   *blocks = malloc((Size) ncodes * shape->units);
	uint32	   *sums = malloc(sizeof(uint32) * ncodes);
	CodeQuery	query;

	query.lut = malloc((Size) shape->units * 2 * 16);
	fill_normal(dims, y);
	for (int i = 0; i < 4; i++)
		y[i] *= spread;
	for (Size i = 0; i < (Size) ncodes * shape->units; i++)
		codes[i] = (uint8) random_bits();
	for (int i = 0; i < ncodes; i++)
		code_pack(shape, codes + (Size) i * shape->units, blocks, i);
	code_query_init(shape, y, &query);
	kernels->fastscan(shape->units, ncodes / FASTSCAN_BLOCK, blocks, query.lut, sums);
	for (int i = 0; i < ncodes; i++)
		errors[i] = (query.step * (double) sums[i] + query.offset -
					 code_dot(shape, codes + (Size) i * shape->units, y)) / query.step;
	*step = query.step;
	*length = sqrt(product(dims, y, y));
	free(y);
	free(codes);
	free(blocks);
	free(sums);
	free(query.lut);
}

/*
 * An entry of a table is off by half a step at most, so a sum by half a step
 * for each table, and on average by step * sqrt(tables / 12).  "spread": one
 * group of coordinates is so many times larger than the others, whose tables
 * then are all rounded the same way.
 */
static void
test_tables(const DistanceKernels *kernels, int dims, int bits, float spread)
{
	enum
	{
		QUERIES = 20,
		CODES = 3 * FASTSCAN_BLOCK
	};
	CodeShape	shape = shape_of(dims, bits);
	double		tables = 2 * shape.units;
	double		worst = 0;
	double		squares = 0;
	double		share = 0;		/* of the codes' own error in <c, y> */

	for (int i = 0; i < QUERIES; i++)
	{
		double		errors[CODES];
		double		sum = 0;
		double		length;
		float		step;

		scan_once(kernels, &shape, spread, CODES, errors, &step, &length);
		for (int j = 0; j < CODES; j++)
		{
			worst = Max(worst, fabs(errors[j]));
			sum += errors[j] * errors[j] / CODES;
		}
		squares += sum / QUERIES;
		share = Max(share, step * sqrt(sum) * sqrt(dims) /
					(length * code_error[bits] * code_expected_norm(&shape)));
	}
	ok(worst <= tables * 0.5 + 0.1, "%s: %d x %d bits, spread %g: at most %.2f steps off",
	   kernels->name, dims, bits, spread, worst);
	if (spread == 1)
	{
		ok(sqrt(squares) <= 1.3 * sqrt(tables / 12), "%s: %d x %d bits: %.2f steps off on average",
		   kernels->name, dims, bits, sqrt(squares));
		ok(share < (bits == 1 && dims >= 64 ? 0.1 : 1), "%s: %d x %d bits: %.3f of the codes' own error",
		   kernels->name, dims, bits, share);
	}
}

/* Queries without length, and near the ends of float32. */
static void
test_table_ends(void)
{
	static const float values[] = {0, 1e-45f, 1e-38f, 1e36f};
	CodeShape	shape = shape_of(64, 1);
	uint8		lut[2 * 8 * 16];
	uint8		code[8];
	uint8		blocks[8 * FASTSCAN_BLOCK];
	uint32		sums[FASTSCAN_BLOCK];
	CodeQuery	query = {lut, 0, 0};

	for (int i = 0; i < lengthof(values); i++)
	{
		float		y[64];
		double		got;
		double		expected;

		for (int j = 0; j < 64; j++)
			y[j] = j % 2 ? values[i] : -values[i];
		memset(code, 0xB7, sizeof(code));
		memset(blocks, 0, sizeof(blocks));
		code_pack(&shape, code, blocks, 0);
		code_query_init(&shape, y, &query);
		distance->fastscan(shape.units, 1, blocks, lut, sums);
		got = query.step * (double) sums[0] + query.offset;
		expected = code_dot(&shape, code, y);
		ok(isfinite(query.step) && fabs(got - expected) <= query.step * 8.1 + 1e-43,
		   "tables of a query of %g (%g, not %g)", values[i], got, expected);
	}
}

/* ---- scalar quantization ---- */

/* Rounded to 11 bits, or to the least multiple that binary16 has. */
static bool
half_right(int dim, const float *x)
{
	half	   *h = malloc(sizeof(half) * dim);
	float		scale;
	bool		right;

	scalar_encode_half(dim, x, h, &scale);
	right = isfinite(scale) && scale > 0;
	for (int i = 0; i < dim; i++)
	{
		double		stored = (double) scale * half_to_float_one(h[i]);

		right &= isfinite((float) stored) &&
			fabs(stored - x[i]) <= Max(fabs((double) x[i]) * 0x1p-11, scale * 0x1p-25);
	}
	free(h);
	return right;
}

/* Rounded to a 127th of the largest; below 4e-37 nothing may be left. */
static bool
int8_right(int dim, const float *x)
{
	int8	   *c = malloc(dim);
	float		scale;
	double		largest = 0;
	bool		right;

	scalar_encode_int8(dim, x, c, &scale);
	for (int i = 0; i < dim; i++)
		largest = Max(largest, fabs((double) x[i]));
	right = isfinite(scale) && scale >= 0 && scale <= largest / 127 * (1 + 1e-6) + 1e-44;
	for (int i = 0; i < dim; i++)
		right &= c[i] >= -127 && isfinite(scale * c[i]) &&
			fabs((double) scale * c[i] - x[i]) <= Max(scale * 0.5001, largest < 4e-37 ? largest : 0);
	free(c);
	return right;
}

static void
test_scalar(void)
{
	static const float sizes[] = {1, 1e-3f, 1e5f, 1e-20f, 1e-30f, 1e-36f, 1e-38f, 1e-40f, 1e-44f,
	1e20f, 1e38f, FLT_MAX};
	float	   *x = floats(MAX_DIM);

	for (int s = 0; s < lengthof(sizes); s++)
	{
		int			wrong_half = 0;
		int			wrong_int8 = 0;

		for (int trial = 0; trial < 300; trial++)
		{
			int			dim = trial == 0 ? MAX_DIM : random_int(1, 300);

			for (int i = 0; i < dim; i++)
				x[i] = random_float(-1, 1) * sizes[s];
			/* Some vectors have small values beside large ones, zeros and ends. */
			if (trial % 3 == 1)
				for (int i = 0; i < dim; i += 2)
					x[i] *= random_int(0, 3) * 1e-5f;
			if (trial % 5 == 1)
				x[random_int(0, dim - 1)] = trial % 2 ? sizes[s] : -sizes[s];
			wrong_half += !half_right(dim, x);
			wrong_int8 += !int8_right(dim, x);
		}
		ok(wrong_half == 0, "binary16 of vectors up to %g (%d wrong)", sizes[s], wrong_half);
		ok(wrong_int8 == 0, "int8 of vectors up to %g (%d wrong)", sizes[s], wrong_int8);
	}
	memset(x, 0, sizeof(float) * MAX_DIM);
	ok(half_right(MAX_DIM, x) && int8_right(MAX_DIM, x), "vectors of zeros");
	free(x);
}

/* Integers up to 2048 times any power of two come back as they were. */
static void
test_exact(void)
{
	int			wrong = 0;

	for (int exponent = -149; exponent <= 116; exponent++)
	{
		float		x[100];
		half		h[100];
		float		scale;

		for (int i = 0; i < 100; i++)
			x[i] = ldexpf((float) random_int(-2048, 2048), exponent);
		scalar_encode_half(100, x, h, &scale);
		for (int i = 0; i < 100; i++)
			wrong += scale * half_to_float_one(h[i]) != x[i];
	}
	ok(wrong == 0, "binary16 keeps what it can hold (%d wrong)", wrong);
}

/* Real vectors, quantized: nothing is off by more than stated. */
static void
test_scalar_real(const float *vectors, int n)
{
	int			wrong = 0;

	for (int i = 0; i < n; i++)
		wrong += !half_right(REAL_DIM, vectors + (Size) i * REAL_DIM) +
			!int8_right(REAL_DIM, vectors + (Size) i * REAL_DIM);
	ok(wrong == 0, "%d real vectors in binary16 and int8", n);
}

static float *
read_vectors(int *n)
{
	FILE	   *file = fopen(VECTORS, "rb");
	float	   *vectors = floats(10000 * REAL_DIM);

	*n = 0;
	if (file != NULL)
	{
		*n = (int) fread(vectors, sizeof(float) * REAL_DIM, 10000, file);
		fclose(file);
	}
	return vectors;
}

int
main(void)
{
	static const int rotated[] = {1, 2, 3, 63, 64, 65, 96, 100, 128, 160, 384, 1000, 1536, 8191, 16000};
	static const int coded[] = {64, 96, 128, 384, 1000, 1536};
	static const int scanned[] = {32, 64, 96, 384, 1536, 16000};
	int			n;
	float	   *vectors = read_vectors(&n);

	for (int i = 0; i < lengthof(rotated); i++)
		test_rotation(rotated[i]);
	test_rotation_pinned();

	for (int i = 0; i < lengthof(coded); i++)
		test_estimates(coded[i], 1, coded[i] < 1000 ? 10000 : 3000);
	for (int bits = 2; bits <= 4; bits++)
	{
		test_estimates(64, bits, 10000);
		test_estimates(384, bits, 4000);
	}
	test_partial(384, 352);
	test_partial(1536, 1408);

	for (int bits = 1; bits <= 4; bits++)
	{
		CodeShape	shape = shape_of(96, bits);

		test_encode(64, 64, bits);
		test_encode(384, 352, bits);
		test_encode(16000, 16000, bits);
		test_pack(&shape);
	}

	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		const DistanceKernels *kernels = distance_kernels(level);

		if (kernels == NULL)
			continue;
		for (int i = 0; i < lengthof(scanned); i++)
		{
			for (int bits = 1; bits <= 4; bits++)
			{
				if (scanned[i] * bits > 16000)
					continue;
				test_tables(kernels, scanned[i], bits, 1);
				test_tables(kernels, scanned[i], bits, 1000);
			}
		}
	}
	test_table_ends();
	test_scalar();
	test_exact();

	if (ok(n > 4000, "%d real vectors", n))
	{
		test_real(vectors, n, 384, 1);
		test_real(vectors, n, 128, 1);
		test_real(vectors, n, 64, 2);
		test_real(vectors, n, 384, 3);
		test_scalar_real(vectors, n);
	}
	free(vectors);
	return done_testing();
}
