/*-------------------------------------------------------------------------
 *
 * distance_internal.h
 *		What the kernel files share; not for users of the kernels.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_DISTANCE_INTERNAL_H
#define PIRAMID_DISTANCE_INTERNAL_H

#include "distance/distance.h"

/* Instruction sets that this build has. */
#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_X86_KERNELS
extern const DistanceKernels distance_avx2;
extern const DistanceKernels distance_avx512;
#elif defined(__aarch64__) && defined(__GNUC__)
#define HAVE_NEON_KERNELS
extern const DistanceKernels distance_neon;
#endif

/*
 * Every kernel file defines static functions of these names and ends with
 *		const DistanceKernels distance_X = DISTANCE_TABLE(SIMD_X, "x");
 * A new kernel is one more line here, and the compiler names the files that
 * lack it.
 */
#define DISTANCE_TABLE(simd_level, simd_name) { \
	.level = (simd_level), \
	.name = (simd_name), \
	.l2sq = l2sq, \
	.ip = ip, \
	.l1 = l1, \
	.normsq = normsq, \
	.dot_norms = dot_norms, \
	.half_l2sq = half_l2sq, \
	.half_ip = half_ip, \
	.half_l1 = half_l1, \
	.halves_l2sq = halves_l2sq, \
	.halves_ip = halves_ip, \
	.halves_l1 = halves_l1, \
	.halves_dot_norms = halves_dot_norms, \
	.half_to_float = half_to_float, \
	.float_to_half = float_to_half, \
	.i8_to_float = i8_to_float, \
	.sign_code = sign_code, \
	.two_bit_code = two_bit_code, \
	.i8_ip = i8_ip, \
	.i4_ip = i4_ip, \
	.i4_to_float = i4_to_float, \
	.i8_dot = i8_dot, \
	.i8_l2sq = i8_l2sq, \
	.i8_l1 = i8_l1, \
	.hamming = hamming, \
	.bit_counts = bit_counts, \
	.i8_dot_matrix = i8_dot_matrix, \
	.i8_l1_matrix = i8_l1_matrix, \
	.fastscan = fastscan \
}

#endif							/* PIRAMID_DISTANCE_INTERNAL_H */
