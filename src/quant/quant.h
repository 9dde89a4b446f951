/*-------------------------------------------------------------------------
 *
 * quant.h
 *		Rotation, RaBitQ codes and scalar quantization.
 *
 * Like the distance kernels, everything here is plain C that unit tests link
 * without a server.  See quant/README.md for the estimates and their bounds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_QUANT_H
#define PIRAMID_QUANT_H

#include "c.h"
#include "distance/distance.h"

/*
 * A random rotation of R^dim into R^out_dim (zero-padded): rounds of random
 * signs and fast Hadamard transforms.  Deterministic for a seed; pinned by
 * the format version, since stored codes depend on it.
 */
#define ROTATION_ROUNDS 4

typedef struct Rotation
{
	int			dim;			/* length of the input */
	int			out_dim;		/* length of the output, a multiple of 32 */
	int			block;			/* largest power of two <= out_dim */
	int			rounds;
	float	   *signs;			/* rounds * out_dim, each +-1/sqrt(block) or +-1 */
} Rotation;

/* functions in rotation.c */
extern int	rotation_out_dim(int dim);
extern Size rotation_signs_size(int out_dim);
extern void rotation_init(Rotation *rotation, int dim, uint64 seed, float *signs);
extern void rotation_init_copy(Rotation *rotation, int dim, float *signs);
extern void rotation_apply(const Rotation *rotation, const float *x, float *out);

/*
 * A RaBitQ code of a residual r: for each of "dims" rotated coordinates an odd
 * integer in [-(2^bits - 1), 2^bits - 1], stored as bit planes, the lowest
 * first.  <r, y> is estimated by factor * <c, y>.
 */
typedef struct CodeShape
{
	int			dims;			/* coordinates coded, a multiple of 32 */
	int			bits;			/* bits per coordinate, 1..4 */
	int			units;			/* bytes per code: dims * bits / 8 */
} CodeShape;

/* A query prepared for FastScan: look-up tables and how to read their sums. */
typedef struct CodeQuery
{
	uint8	   *lut;			/* 2 * units tables of 16 bytes */
	float		step;			/* <c, y> = step * sum + offset */
	float		offset;
} CodeQuery;

/* functions in rabitq.c */
extern float code_encode(const CodeShape *shape, int n, const float *from, const float *to,
						 uint8 *code, float *rsq, float *dot);
extern float code_dot(const CodeShape *shape, const uint8 *code, const float *y);
extern float code_expected_norm(const CodeShape *shape);
extern void code_pack(const CodeShape *shape, const uint8 *code, uint8 *blocks, int position);
extern void code_unpack(const CodeShape *shape, const uint8 *blocks, int position, uint8 *code);
extern void code_query_init(const CodeShape *shape, const float *y, CodeQuery *query);

/*
 * A projection of rotated vectors to fewer coordinates: step times an int8
 * matrix of "dims" rows, each padded to a multiple of 64.
 */
#define PROJECTION_MAX_WIDTH 4096

typedef struct Projection
{
	int			dims;
	int			width;			/* length of the input, at most PROJECTION_MAX_WIDTH */
	float		step;
	float		range;			/* largest projected coordinate of a sample */
	const int8 *matrix;
} Projection;

/* Step of int8 codes of projected vectors, a little beyond the sample's range. */
static inline float
projection_range_step(const Projection *projection)
{
	return projection->range * 1.2f / 127;
}

/* functions in projection.c */
extern int	projection_stride(int width);
extern Size projection_size(int dims, int width);
extern Size projection_work_size(int dims, int width, int nrows);
extern void projection_learn(Projection *projection, int dims, int width, ByteRows rows,
							 uint64 seed, int8 *matrix, void *room);
extern void projection_apply(const Projection *projection, const float *x, float *out);
extern void projection_apply_rows(const Projection *projection, int nrows, const int8 *rows,
								  int stride, int32 *out);

/* functions in scalar.c */
extern void scalar_encode_half(int dim, const float *x, half *h, float *scale);
extern void scalar_encode_int8(int dim, const float *x, int8 *c, float *scale);
extern float scalar_encode_int4(int dim, const float *x, uint8 *c);

/* The next of a sequence that a seed gives on every machine: splitmix64 (Steele, Lea & Flood, 2014) */
static inline uint64
quant_random(uint64 *state)
{
	uint64		z = (*state += UINT64CONST(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

#endif							/* PIRAMID_QUANT_H */
