/*-------------------------------------------------------------------------
 *
 * distance_neon.c
 *		Distance kernels for arm64 with NEON, which every arm64 machine has.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance_internal.h"

#ifdef HAVE_NEON_KERNELS

#include <arm_neon.h>

#include "distance/distance_tail.h"

#define VF float32x4_t
#define VF_LANES 4
#define VB int8x16_t
#define VB_LANES 16
#define VI int32x4_t

#define vf_zero() vdupq_n_f32(0)
#define vf_set1(x) vdupq_n_f32(x)
#define vf_add(x, y) vaddq_f32(x, y)
#define vf_sub(x, y) vsubq_f32(x, y)
#define vf_abs(x) vabsq_f32(x)
#define vf_flip(x, y) \
	vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), \
									vandq_u32(vreinterpretq_u32_f32(y), \
											  vdupq_n_u32(0x80000000))))
#define vf_sum(x) vaddvq_f32(x)
#define vf_fma(x, y, z) vfmaq_f32(z, x, y)
#define vf_fnma(x, y, z) vfmsq_f32(z, x, y)
#define vf_load(p) vreinterpretq_f32_u8(vld1q_u8((const uint8 *) (p)))
#define vf_load_part(p, n) \
	vreinterpretq_f32_s8(load_bytes(p, (n) * sizeof(float)))
#define vf_load_half(p) half_lanes(vld1_u8((const uint8 *) (p)))
#define vf_load_half_part(p, n) \
	half_lanes(vget_low_u8(vreinterpretq_u8_s8(load_bytes(p, (n) * sizeof(half)))))
#define vf_load_i8(p) vf_load_i8_part(p, 4)
#define vf_load_i8_part(p, n) \
	i8_lanes(vget_low_s8(load_bytes(p, n)))
#define vf_store(p, x) vst1q_u8((uint8 *) (p), vreinterpretq_u8_f32(x))
#define vf_store_half(p, x) \
	vst1_u8((uint8 *) (p), vreinterpret_u8_f16(vcvt_f16_f32(x)))

#define vi_zero() vdupq_n_s32(0)
#define vi_add(x, y) vaddq_s32(x, y)
#define vi_sum(x) vaddvq_s32(x)
#define vb_load(p) vld1q_s8(p)
#define vb_load_part(p, n) load_bytes(p, n)

#define vb_xor(x, y) veorq_s8(x, y)
#define vb_and(x, y) vandq_s8(x, y)
#define vb_or(x, y) vorrq_s8(x, y)

static inline int8x16_t
load_bytes(const void *p, int n)
{
	uint64		words[2];

	load_tail(p, n, words);
	return vreinterpretq_s8_u64(vcombine_u64(vcreate_u64(words[0]),
											 vcreate_u64(words[1])));
}

static inline uint32
vf_signs(float32x4_t x)
{
	static const int32 position[4] = {0, 1, 2, 3};

	return vaddvq_u32(vshlq_u32(vshrq_n_u32(vreinterpretq_u32_f32(x), 31),
								vld1q_s32(position)));
}

static inline float32x4_t
half_lanes(uint8x8_t bytes)
{
	return vcvt_f32_f16(vreinterpret_f16_u8(bytes));
}

static inline float32x4_t
i8_lanes(int8x8_t bytes)
{
	return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}

static inline void
vi_sum4(int32x4_t w, int32x4_t x, int32x4_t y, int32x4_t z, int32 *out)
{
	vst1q_s32(out, vpaddq_s32(vpaddq_s32(w, x), vpaddq_s32(y, z)));
}

/* Two products sum to at most 2 * 127 * 127, which fits 16 bits. */
static inline int32x4_t
vi_dot(int32x4_t acc, int8x16_t x, int8x16_t y)
{
	int16x8_t	pairs = vmull_s8(vget_low_s8(x), vget_low_s8(y));

	return vpadalq_s16(acc, vmlal_high_s8(pairs, x, y));
}

/* |x - y| and its square are unsigned, of 8 and 16 bits. */
static inline int32x4_t
vi_l2sq(int32x4_t acc, int8x16_t x, int8x16_t y)
{
	uint8x16_t	diff = vreinterpretq_u8_s8(vabdq_s8(x, y));
	uint32x4_t	sum = vreinterpretq_u32_s32(acc);

	sum = vpadalq_u16(sum, vmull_u8(vget_low_u8(diff), vget_low_u8(diff)));
	sum = vpadalq_u16(sum, vmull_high_u8(diff, diff));
	return vreinterpretq_s32_u32(sum);
}

static inline int32x4_t
vi_l1(int32x4_t acc, int8x16_t x, int8x16_t y)
{
	uint16x8_t	pairs = vpaddlq_u8(vreinterpretq_u8_s8(vabdq_s8(x, y)));

	return vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(acc), pairs));
}

static inline int32x4_t
vi_ones(int32x4_t acc, int8x16_t x)
{
	uint16x8_t	pairs = vpaddlq_u8(vreinterpretq_u8_s8(vcntq_s8(x)));

	return vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(acc), pairs));
}

/* Set sums to, or add to it, eight 16-bit numbers. */
static inline void
store_sums(uint32 *sums, uint16x8_t x, bool first)
{
	uint32x4_t	lo = vmovl_u16(vget_low_u16(x));
	uint32x4_t	hi = vmovl_high_u16(x);

	if (!first)
	{
		lo = vaddq_u32(lo, vld1q_u32(sums));
		hi = vaddq_u32(hi, vld1q_u32(sums + 4));
	}
	vst1q_u32(sums, lo);
	vst1q_u32(sums + 4, hi);
}

/* One vector holds the codes of one unit. */
static inline void
fastscan_add(int units, const uint8 *codes, const uint8 *low, const uint8 *high,
			 uint32 *sums, bool first)
{
	uint16x8_t	sum_lo = vdupq_n_u16(0);
	uint16x8_t	sum_hi = vdupq_n_u16(0);

	for (int t = 0; t < units; t++)
	{
		uint8x16_t	code = vld1q_u8(codes + t * 16);
		uint8x16_t	x = vqtbl1q_u8(vld1q_u8(low + t * 16),
								   vandq_u8(code, vdupq_n_u8(15)));
		uint8x16_t	y = vqtbl1q_u8(vld1q_u8(high + t * 16),
								   vshrq_n_u8(code, 4));

		sum_lo = vaddq_u16(sum_lo, vaddl_u8(vget_low_u8(x), vget_low_u8(y)));
		sum_hi = vaddq_u16(sum_hi, vaddl_high_u8(x, y));
	}
	store_sums(sums, sum_lo, first);
	store_sums(sums + 8, sum_hi, first);
}

#include "distance/distance_simd.h"

static void
i8_dot_matrix(int dim, ByteRows a, ByteRows b, int32 *out, int ldo)
{
	matrix(OP_IP, dim, a, b, out, ldo);
}

const DistanceKernels distance_neon = DISTANCE_TABLE(SIMD_NEON, "neon");

#endif							/* HAVE_NEON_KERNELS */
