/*-------------------------------------------------------------------------
 *
 * distance_avx2.c
 *		Distance kernels for x86-64 with AVX2, FMA and F16C.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance_internal.h"

#ifdef HAVE_X86_KERNELS

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

#define VF __m256
#define VF_LANES 8
#define VB __m256i
#define VB_LANES 32
#define VI __m256i
#define VI_LANES 8

#define vf_zero() _mm256_setzero_ps()
#define vf_set1(x) _mm256_set1_ps(x)
#define vf_add(x, y) _mm256_add_ps(x, y)
#define vf_sub(x, y) _mm256_sub_ps(x, y)
#define vf_abs(x) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x)
#define vf_signs(x) _mm256_movemask_ps(x)
#define vf_flip(x, y) \
	_mm256_xor_ps(x, _mm256_and_ps(y, _mm256_set1_ps(-0.0f)))
#define vf_fma(x, y, z) _mm256_fmadd_ps(x, y, z)
#define vf_fnma(x, y, z) _mm256_fnmadd_ps(x, y, z)
#define vf_load(p) _mm256_loadu_ps(p)
#define vf_load_half(p) \
	_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (p)))
#define vf_load_i8(p) \
	i8_lanes(_mm_loadl_epi64((const __m128i *) (p)))
#define vf_load_half_part(p, n) \
	_mm256_cvtph_ps(load_bytes(p, (n) * sizeof(half)))
#define vf_load_i8_part(p, n) i8_lanes(load_bytes(p, n))
#define vf_store(p, x) _mm256_storeu_ps(p, x)
#define vf_store_half(p, x) \
	_mm_storeu_si128((__m128i *) (p), \
					 _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT))

#define vi_zero() _mm256_setzero_si256()
#define vi_set1(x) _mm256_set1_epi32(x)
#define vi_add(x, y) _mm256_add_epi32(x, y)
#define vi_sub(x, y) _mm256_sub_epi32(x, y)
#define vi_load(p) _mm256_loadu_si256((const __m256i *) (p))
#define vi_store(p, x) _mm256_storeu_si256((__m256i *) (p), x)
#define vb_load(p) _mm256_loadu_si256((const __m256i *) (p))

#define vb_xor(x, y) _mm256_xor_si256(x, y)
#define vb_and(x, y) _mm256_and_si256(x, y)
#define vb_or(x, y) _mm256_or_si256(x, y)

#include "distance/distance_tail.h"

static inline __m128i
load_bytes(const void *p, int n)
{
	uint64		words[2];

	load_tail(p, n, words);
	return _mm_set_epi64x(words[1], words[0]);
}

static inline __m256
vf_load_part(const float *p, int n)
{
	static const int32 mask[2 * VF_LANES] =
	{-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

	return _mm256_maskload_ps(p, vi_load(mask + VF_LANES - n));
}

static inline __m256
i8_lanes(__m128i bytes)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

static inline float
vf_sum(__m256 x)
{
	__m128		sum = _mm_add_ps(_mm256_castps256_ps128(x),
								 _mm256_extractf128_ps(x, 1));

	sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
	sum = _mm_add_ss(sum, _mm_movehdup_ps(sum));
	return _mm_cvtss_f32(sum);
}

static inline int32
vi_sum(__m256i x)
{
	__m128i		sum = _mm_add_epi32(_mm256_castsi256_si128(x),
									_mm256_extracti128_si256(x, 1));

	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
	return _mm_cvtsi128_si32(sum);
}

static inline void
vi_sum4(__m256i w, __m256i x, __m256i y, __m256i z, int32 *out)
{
	__m256i		sum = _mm256_hadd_epi32(_mm256_hadd_epi32(w, x),
										_mm256_hadd_epi32(y, z));

	_mm_storeu_si128((__m128i *) out,
					 _mm_add_epi32(_mm256_castsi256_si128(sum),
								   _mm256_extracti128_si256(sum, 1)));
}

static inline __m256i
vb_load_part(const int8 *p, int n)
{
	if (n < 16)
		return _mm256_zextsi128_si256(load_bytes(p, n));
	return _mm256_set_m128i(load_bytes(p + 16, n - 16),
							_mm_loadu_si128((const __m128i *) p));
}

/*
 * The multiply-add of bytes wants one side unsigned: |x| times y with the
 * sign of x.  Two products sum to at most 2 * 127 * 127, which fits 16 bits.
 */
static inline __m256i
vi_dot(__m256i acc, __m256i x, __m256i y)
{
	__m256i		pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x),
											 _mm256_sign_epi8(y, x));

	return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* |x - y| fits an unsigned byte, its square is taken in 16 bits. */
static inline __m256i
vi_l2sq(__m256i acc, __m256i x, __m256i y)
{
	__m256i		zero = _mm256_setzero_si256();
	__m256i		diff = _mm256_sub_epi8(_mm256_max_epi8(x, y),
									   _mm256_min_epi8(x, y));
	__m256i		lo = _mm256_unpacklo_epi8(diff, zero);
	__m256i		hi = _mm256_unpackhi_epi8(diff, zero);

	acc = _mm256_add_epi32(acc, _mm256_madd_epi16(lo, lo));
	return _mm256_add_epi32(acc, _mm256_madd_epi16(hi, hi));
}

/* Sums of absolute differences exist for unsigned bytes: move the zero. */
static inline __m256i
vi_l1(__m256i acc, __m256i x, __m256i y)
{
	__m256i		sign = _mm256_set1_epi8(-128);

	return _mm256_add_epi32(acc, _mm256_sad_epu8(_mm256_xor_si256(x, sign),
												 _mm256_xor_si256(y, sign)));
}

/* A byte shuffle looks up the number of ones in each nibble. */
static inline __m256i
vi_ones(__m256i acc, __m256i x)
{
	const __m256i nibble = _mm256_set1_epi8(15);
	const __m256i ones = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3,
										  1, 2, 2, 3, 2, 3, 3, 4,
										  0, 1, 1, 2, 1, 2, 2, 3,
										  1, 2, 2, 3, 2, 3, 3, 4);
	__m256i		lo = _mm256_shuffle_epi8(ones, _mm256_and_si256(x, nibble));
	__m256i		hi = _mm256_shuffle_epi8(ones,
										 _mm256_and_si256(_mm256_srli_epi16(x, 4),
														  nibble));

	return _mm256_add_epi32(acc, _mm256_sad_epu8(_mm256_add_epi8(lo, hi),
												 _mm256_setzero_si256()));
}

/*
 * One vector holds the codes of two units.  Look-ups are bytes of 16
 * neighbours; summed as 16-bit numbers they give even + 256 * odd neighbours
 * modulo 65536.  The odd sums are kept apart and taken out at the end.
 */
static inline void
fastscan_add(int units, const uint8 *codes, const uint8 *low, const uint8 *high,
			 uint32 *sums, bool first)
{
	const __m256i nibble = _mm256_set1_epi8(15);
	__m256i		both0 = _mm256_setzero_si256();
	__m256i		both1 = _mm256_setzero_si256();
	__m256i		odd0 = _mm256_setzero_si256();
	__m256i		odd1 = _mm256_setzero_si256();
	__m256i		even0;
	__m128i		even;
	__m128i		odd;

	for (int t = 0; t < units; t += 2)
	{
		__m256i		code = vb_load(codes + t * 16);
		__m256i		x = _mm256_shuffle_epi8(vb_load(low + t * 16),
											_mm256_and_si256(code, nibble));
		__m256i		y = _mm256_shuffle_epi8(vb_load(high + t * 16),
											_mm256_and_si256(_mm256_srli_epi16(code, 4),
															 nibble));

		both0 = _mm256_add_epi16(both0, x);
		both1 = _mm256_add_epi16(both1, y);
		odd0 = _mm256_add_epi16(odd0, _mm256_srli_epi16(x, 8));
		odd1 = _mm256_add_epi16(odd1, _mm256_srli_epi16(y, 8));
	}

	odd0 = _mm256_add_epi16(odd0, odd1);
	even0 = _mm256_sub_epi16(_mm256_add_epi16(both0, both1),
							 _mm256_slli_epi16(odd0, 8));
	even = _mm_add_epi16(_mm256_castsi256_si128(even0),
						 _mm256_extracti128_si256(even0, 1));
	odd = _mm_add_epi16(_mm256_castsi256_si128(odd0),
						_mm256_extracti128_si256(odd0, 1));

	for (int half8 = 0; half8 < 2; half8++)
	{
		__m256i		sum = _mm256_cvtepu16_epi32(half8 == 0 ?
												_mm_unpacklo_epi16(even, odd) :
												_mm_unpackhi_epi16(even, odd));

		if (!first)
			sum = _mm256_add_epi32(sum, vi_load(sums + half8 * 8));
		vi_store(sums + half8 * 8, sum);
	}
}

#include "distance/distance_simd.h"

/* i8_dot_matrix: pairs of int16. */
#define PACK_BYTES 2
#define PACK_DIM 256
#define PACK_COLS 128

#define vi_madd(acc, row, col) \
	_mm256_add_epi32(acc, _mm256_madd_epi16(row, col))

static inline uint32
pack_word(const int8 *p)
{
	return (uint16) p[0] | (uint32) (uint16) p[1] << 16;
}

static inline const void *
prepare_row(int n, const int8 *row, int16 *buffer, int32 *correction)
{
	for (int k = 0; k < n; k += 16)
		vi_store(buffer + k,
				 _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *) (row + k))));
	*correction = 0;
	return buffer;
}

#include "distance/distance_packed.h"

const DistanceKernels distance_avx2 = DISTANCE_TABLE(SIMD_AVX2, "avx2");

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* HAVE_X86_KERNELS */
