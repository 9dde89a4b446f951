/*-------------------------------------------------------------------------
 *
 * distance_avx512.c
 *		Distance kernels for x86-64 with AVX-512 F, BW, DQ, VL, VBMI, VNNI and
 *		VPOPCNTDQ (Ice Lake, Zen 4 and later).
 *
 * Masked loads read the tails: lanes that are masked out are zero and touch
 * no memory.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance_internal.h"

#ifdef HAVE_X86_KERNELS

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq")
#endif

#define VF __m512
#define VF_LANES 16
#define VB __m512i
#define VB_LANES 64
#define VI __m512i
#define VI_LANES 16

#define LANES_MASK(n) ((__mmask16) ((1u << (n)) - 1))

#define vf_zero() _mm512_setzero_ps()
#define vf_set1(x) _mm512_set1_ps(x)
#define vf_add(x, y) _mm512_add_ps(x, y)
#define vf_sub(x, y) _mm512_sub_ps(x, y)
#define vf_abs(x) _mm512_abs_ps(x)
#define vf_signs(x) _mm512_movepi32_mask(_mm512_castps_si512(x))
#define vf_flip(x, y) \
	_mm512_xor_ps(x, _mm512_and_ps(y, _mm512_set1_ps(-0.0f)))
#define vf_sum(x) _mm512_reduce_add_ps(x)
#define vf_fma(x, y, z) _mm512_fmadd_ps(x, y, z)
#define vf_fnma(x, y, z) _mm512_fnmadd_ps(x, y, z)
#define vf_load(p) _mm512_loadu_ps(p)
#define vf_load_half(p) \
	_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) (p)))
#define vf_load_i8(p) \
	i8_lanes(_mm_loadu_si128((const __m128i *) (p)))
#define vf_load_part(p, n) _mm512_maskz_loadu_ps(LANES_MASK(n), p)
#define vf_load_half_part(p, n) \
	_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(LANES_MASK(n), p))
#define vf_load_i8_part(p, n) \
	i8_lanes(_mm_maskz_loadu_epi8(LANES_MASK(n), p))
#define vf_store(p, x) _mm512_storeu_ps(p, x)
#define vf_store_half(p, x) \
	_mm256_storeu_si256((__m256i *) (p), \
						_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT))

#define vi_zero() _mm512_setzero_si512()
#define vi_set1(x) _mm512_set1_epi32(x)
#define vi_add(x, y) _mm512_add_epi32(x, y)
#define vi_sub(x, y) _mm512_sub_epi32(x, y)
#define vi_sum(x) _mm512_reduce_add_epi32(x)
#define vi_load(p) _mm512_loadu_si512(p)
#define vi_store(p, x) _mm512_storeu_si512(p, x)
#define vb_load(p) _mm512_loadu_si512(p)
#define vb_load_part(p, n) \
	_mm512_maskz_loadu_epi8(((__mmask64) 1 << (n)) - 1, p)

#define vb_xor(x, y) _mm512_xor_si512(x, y)
#define vb_and(x, y) _mm512_and_si512(x, y)
#define vb_or(x, y) _mm512_or_si512(x, y)
#define vi_ones(acc, x) _mm512_add_epi32(acc, _mm512_popcnt_epi32(x))

static inline __m512
i8_lanes(__m128i bytes)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

static inline __m512i
move_zero(__m512i x)
{
	return _mm512_xor_si512(x, _mm512_set1_epi8(-128));
}

/*
 * The multiply-add of bytes wants one side unsigned: (x + 128) y - 128 y.
 */
static inline __m512i
vi_dot(__m512i acc, __m512i x, __m512i y)
{
	__m512i		minus_y = _mm512_sub_epi8(_mm512_setzero_si512(), y);

	acc = _mm512_dpbusd_epi32(acc, move_zero(x), y);
	return _mm512_dpbusd_epi32(acc, _mm512_set1_epi8(-128), minus_y);
}

/* |x - y| fits an unsigned byte, its square is taken in 16 bits. */
static inline __m512i
vi_l2sq(__m512i acc, __m512i x, __m512i y)
{
	__m512i		zero = _mm512_setzero_si512();
	__m512i		diff = _mm512_sub_epi8(_mm512_max_epi8(x, y),
									   _mm512_min_epi8(x, y));
	__m512i		lo = _mm512_unpacklo_epi8(diff, zero);
	__m512i		hi = _mm512_unpackhi_epi8(diff, zero);

	acc = _mm512_dpwssd_epi32(acc, lo, lo);
	return _mm512_dpwssd_epi32(acc, hi, hi);
}

/* Sums of absolute differences exist for unsigned bytes: move the zero. */
static inline __m512i
vi_l1(__m512i acc, __m512i x, __m512i y)
{
	return _mm512_add_epi32(acc, _mm512_sad_epu8(move_zero(x), move_zero(y)));
}

static inline __m256i
fold_256(__m512i x)
{
	return _mm256_add_epi32(_mm512_castsi512_si256(x),
							_mm512_extracti64x4_epi64(x, 1));
}

static inline void
vi_sum4(__m512i w, __m512i x, __m512i y, __m512i z, int32 *out)
{
	__m256i		sum = _mm256_hadd_epi32(_mm256_hadd_epi32(fold_256(w), fold_256(x)),
										_mm256_hadd_epi32(fold_256(y), fold_256(z)));

	_mm_storeu_si128((__m128i *) out,
					 _mm_add_epi32(_mm256_castsi256_si128(sum),
								   _mm256_extracti128_si256(sum, 1)));
}

/*
 * One vector holds the codes of four units.  The look-ups of one neighbour
 * are brought together and summed by the multiply-add of four bytes.
 */
static inline void
fastscan_add(int units, const uint8 *codes, const uint8 *low, const uint8 *high,
			 uint32 *sums, bool first)
{
#define NEIGHBOUR(j) (j), 16 + (j), 32 + (j), 48 + (j)
	static const uint8 by_neighbour[64] = {
		NEIGHBOUR(0), NEIGHBOUR(1), NEIGHBOUR(2), NEIGHBOUR(3),
		NEIGHBOUR(4), NEIGHBOUR(5), NEIGHBOUR(6), NEIGHBOUR(7),
		NEIGHBOUR(8), NEIGHBOUR(9), NEIGHBOUR(10), NEIGHBOUR(11),
		NEIGHBOUR(12), NEIGHBOUR(13), NEIGHBOUR(14), NEIGHBOUR(15)
	};
#undef NEIGHBOUR
	const __m512i order = vb_load(by_neighbour);
	const __m512i nibble = _mm512_set1_epi8(15);
	const __m512i ones = _mm512_set1_epi8(1);
	__m512i		sum0 = first ? vi_zero() : vi_load(sums);
	__m512i		sum1 = vi_zero();

	for (int t = 0; t < units; t += 4)
	{
		__m512i		code = vb_load(codes + t * 16);
		__m512i		x = _mm512_shuffle_epi8(vb_load(low + t * 16),
											_mm512_and_si512(code, nibble));
		__m512i		y = _mm512_shuffle_epi8(vb_load(high + t * 16),
											_mm512_and_si512(_mm512_srli_epi16(code, 4),
															 nibble));

		sum0 = _mm512_dpbusd_epi32(sum0, _mm512_permutexvar_epi8(order, x), ones);
		sum1 = _mm512_dpbusd_epi32(sum1, _mm512_permutexvar_epi8(order, y), ones);
	}
	vi_store(sums, vi_add(sum0, sum1));
}

#include "distance/distance_simd.h"

/* i8_dot_matrix: groups of four bytes, the columns unsigned (moved by 128). */
#define PACK_BYTES 4
#define PACK_DIM 512
#define PACK_COLS 128

#define vi_madd(acc, row, col) _mm512_dpbusd_epi32(acc, col, row)

static inline uint32
pack_word(const int8 *p)
{
	uint32		word;

	memcpy(&word, p, sizeof(word));
	return word ^ 0x80808080;
}

/* The row stays where it is; 128 times its sum is to be subtracted. */
static inline const void *
prepare_row(int n, const int8 *row, int16 *buffer, int32 *correction)
{
	__m512i		sum = _mm512_setzero_si512();

	for (int k = 0; k < n; k += VB_LANES)
		sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), vb_load(row + k));
	*correction = vi_sum(sum);
	return row;
}

#include "distance/distance_packed.h"

const DistanceKernels distance_avx512 = DISTANCE_TABLE(SIMD_AVX512, "avx512");

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* HAVE_X86_KERNELS */
