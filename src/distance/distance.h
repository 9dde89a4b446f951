/*-------------------------------------------------------------------------
 *
 * distance.h
 *		The only interface to piramid's distance kernels.
 *
 * Kernels are plain C functions without any dependency on the backend, so
 * that unit tests and benchmarks link them alone.  One file per instruction
 * set defines the same set of functions; distance_choose.c picks one set
 * when the library is loaded (or when piramid.simd is set), and everybody
 * else calls through the table "distance".
 *
 * Shapes: "dim" counts elements and may be any value >= 0 unless a comment
 * says otherwise; no pointer needs an alignment.  Accumulation is in float32
 * (as pgvector's), so sums may overflow to infinity; kernels never trap.
 * The error budget of each kernel is stated in distance/README.md.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_DISTANCE_H
#define PIRAMID_DISTANCE_H

#include "c.h"

#include "type/half.h"

/* Neighbours in one FastScan block; see fastscan below. */
#define FASTSCAN_BLOCK 16

/* Instruction sets, in rising order of preference on each architecture. */
typedef enum SimdLevel
{
	SIMD_SCALAR = 0,
	SIMD_NEON,					/* arm64 */
	SIMD_AVX2,					/* x86-64: AVX2 + FMA + F16C */
	SIMD_AVX512					/* x86-64: AVX-512 F, BW, DQ, VL, VBMI, VNNI, VPOPCNTDQ */
} SimdLevel;

/* Rows of int8 values, stride bytes apart */
typedef struct ByteRows
{
	int			n;
	const int8 *values;
	int			stride;
} ByteRows;

typedef struct DistanceKernels
{
	SimdLevel	level;
	const char *name;			/* "scalar", "neon", "avx2", "avx512" */

	/* float32 against float32 */
	float		(*l2sq) (int dim, const float *a, const float *b);	/* sum (a-b)^2 */
	float		(*ip) (int dim, const float *a, const float *b);	/* sum a*b */
	float		(*l1) (int dim, const float *a, const float *b);	/* sum |a-b| */
	float		(*normsq) (int dim, const float *a);	/* sum a*a */
	/* One pass for cosine: dot product and both squared norms. */
	void		(*dot_norms) (int dim, const float *a, const float *b,
							  float *dot, float *asq, float *bsq);

	/* float32 query against a binary16 vector times scale, which is finite */
	float		(*half_l2sq) (int dim, const float *q, const half *h, float scale);
	float		(*half_ip) (int dim, const float *q, const half *h);	/* unscaled */
	float		(*half_l1) (int dim, const float *q, const half *h, float scale);

	/* The same of two binary16 vectors, each element converted exactly */
	float		(*halves_l2sq) (int dim, const half *a, const half *b);
	float		(*halves_ip) (int dim, const half *a, const half *b);
	float		(*halves_l1) (int dim, const half *a, const half *b);
	void		(*halves_dot_norms) (int dim, const half *a, const half *b,
									 float *dot, float *asq, float *bsq);

	/* Conversions round to nearest even; out of range becomes infinity. */
	void		(*half_to_float) (int n, const half *h, float *f);
	void		(*float_to_half) (int n, const float *f, half *h);

	/* f[i] = scale * c[i] */
	void		(*i8_to_float) (int n, const int8 *c, float scale, float *f);

	/*
	 * One-bit code of r = to - from: bit i of code is set where the sign bit
	 * of r[i] is not.  sums gets sum r*r, sum |r| and sum s*from, with s = +1
	 * where the bit is set and -1 elsewhere.  dim is a multiple of 32.
	 */
	void		(*sign_code) (int dim, const float *from, const float *to,
							  uint8 *code, float sums[3]);

	/*
	 * Two-bit code of r = to - from: levels -3, -1, 1 and 3, the sign of r
	 * and whether |r| * invstep is at least 1.  code gets the low bits of
	 * (level + 3) / 2, dim / 8 bytes, then the high ones.  sums gets sum
	 * level*r and sum level*from.  dim is a multiple of 16.
	 */
	void		(*two_bit_code) (int dim, float invstep, const float *from,
								 const float *to, uint8 *code, float sums[2]);

	/* float32 query against int8 codes: sum q*c */
	float		(*i8_ip) (int dim, const float *q, const int8 *c);

	/*
	 * The same with odd numbers c from -15 to 15 in 4 bits, (c + 15) / 2; dim
	 * is a multiple of 32.  Byte j of 16 has coordinate j of 32 in its low
	 * half and coordinate 16 + j in its high half.
	 */
	float		(*i4_ip) (int dim, const float *q, const uint8 *c);
	void		(*i4_to_float) (int n, const uint8 *c, float scale, float *f);

	/*
	 * int8 against int8, exact in int32; values in [-127, 127], dim <= 65536
	 * (i8_l2sq: dim <= 33285, or as many as keep the sum below 2^31).
	 */
	int32		(*i8_dot) (int dim, const int8 *a, const int8 *b);
	int32		(*i8_l2sq) (int dim, const int8 *a, const int8 *b);
	int32		(*i8_l1) (int dim, const int8 *a, const int8 *b);

	/*
	 * Bit strings as bytes, fewer than 2^29 of them (2^32 bits): the bits
	 * that differ; those that both have set, and those that at least one has.
	 */
	uint32		(*hamming) (int bytes, const uint8 *a, const uint8 *b);
	void		(*bit_counts) (int bytes, const uint8 *a, const uint8 *b,
							   uint32 *both, uint32 *either);

	/*
	 * All pairs of rows of a and of b: out[i * ldo + j] is the dot product (or
	 * L1 distance) of a's row i and b's row j.  dim must be a multiple of 64 (pad rows with zeros); values in
	 * [-127, 127].  Register-blocked: this is the inner loop of the index
	 * build.
	 */
	void		(*i8_dot_matrix) (int dim, ByteRows a, ByteRows b, int32 *out, int ldo);
	void		(*i8_l1_matrix) (int dim, ByteRows a, ByteRows b, int32 *out, int ldo);

	/*
	 * FastScan: sums of 4-bit table look-ups for nblocks blocks of 16
	 * neighbours.  Each neighbour has a code of "units" bytes (units is a
	 * multiple of 4).  A block is units * 16 bytes: byte t * 16 + j holds, for
	 * neighbour j, nibble 2t in its low half and nibble 2t+1 in its high half.
	 * lut holds units tables of 16 uint8 for the low nibbles, then units
	 * tables of 16 uint8 for the high nibbles.  sums[block * 16 + j] =
	 * sum over t of lut[t][low nibble] + lut[units + t][high nibble].
	 * units <= 16384, so that a sum fits uint32 with room.
	 */
	void		(*fastscan) (int units, int nblocks, const uint8 *codes,
							 const uint8 *lut, uint32 *sums);
} DistanceKernels;

/* The set in use; never NULL, starts as the best that the machine has. */
extern PGDLLIMPORT const DistanceKernels *distance;

/* The reference, which every build has; others through distance_kernels(). */
extern const DistanceKernels distance_scalar;

/* The best level of this machine; whether it has a given level. */
extern SimdLevel distance_best_level(void);
extern bool distance_has_level(SimdLevel level);

/* Kernels of a level, or NULL if this machine or build lacks it. */
extern const DistanceKernels *distance_kernels(SimdLevel level);

/* Make a level current; false (and no change) if the machine lacks it. */
extern bool distance_use_level(SimdLevel level);

#endif							/* PIRAMID_DISTANCE_H */
