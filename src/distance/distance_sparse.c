/*-------------------------------------------------------------------------
 *
 * distance_sparse.c
 *		Distances between two sparse vectors.
 *
 * The indices that both vectors have are found block by block: four indices
 * of one are compared with four of the other at once, and whichever block
 * ends first is left behind.  No branch depends on the data until a common
 * index is found, and in the inner product none does at all; a plain merge
 * costs a misprediction every few elements.  Four lanes are what every x86-64
 * and arm64 processor has.  Wider ones would gain little: a step waits for
 * the one before, whatever it compares.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance_sparse.h"

#include <math.h>

#define SQUARE(x) ((x) * (x))

/*
 * How many times longer than the other a vector must be so that looking up
 * each index of the short one in the long one is faster.
 */
#define LOOKUP_RATIO 48

#define BLOCK 4

/*
 * Primitives
 *
 *	Lanes			four floats
 *	common_lanes	for each of four indices of a, b's value there if it is one
 *					of four indices of b, else zero
 *	lanes_any		is one of them not zero?
 *	Sums			sums in double, of which sums_total makes one
 *	sums_add		adds the products of four values and four lanes
 */
#if defined(__x86_64__) && defined(__GNUC__)
#include <emmintrin.h>

typedef __m128 Lanes;
typedef struct Sums
{
	__m128d		low;
	__m128d		high;
} Sums;

#define ROTATION_1 0x39			/* lanes 1, 2, 3, 0 */
#define ROTATION_2 0x4E
#define ROTATION_3 0x93
#define ROTATED_MATCHES(rotation) \
	_mm_and_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(x, _mm_shuffle_epi32(y, rotation))), \
			   _mm_shuffle_ps(values, values, rotation))

static inline Lanes
common_lanes(const int32 *a, const int32 *b, const float *bvalues)
{
	__m128i		x = _mm_loadu_si128((const __m128i *) a);
	__m128i		y = _mm_loadu_si128((const __m128i *) b);
	__m128		values = _mm_loadu_ps(bvalues);
	__m128		m0 = _mm_and_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(x, y)), values);
	__m128		m1 = ROTATED_MATCHES(ROTATION_1);
	__m128		m2 = ROTATED_MATCHES(ROTATION_2);
	__m128		m3 = ROTATED_MATCHES(ROTATION_3);

	return _mm_or_ps(_mm_or_ps(m0, m1), _mm_or_ps(m2, m3));
}

static inline bool
lanes_any(Lanes x)
{
	return _mm_movemask_ps(_mm_cmpneq_ps(x, _mm_setzero_ps())) != 0;
}

static inline Sums
sums_zero(void)
{
	return (Sums) {_mm_setzero_pd(), _mm_setzero_pd()};
}

static inline void
sums_add(Sums *sums, const float *values, Lanes x)
{
	__m128		y = _mm_loadu_ps(values);
	__m128d		low = _mm_mul_pd(_mm_cvtps_pd(x), _mm_cvtps_pd(y));
	__m128d		high = _mm_mul_pd(_mm_cvtps_pd(_mm_movehl_ps(x, x)),
								  _mm_cvtps_pd(_mm_movehl_ps(y, y)));

	sums->low = _mm_add_pd(sums->low, low);
	sums->high = _mm_add_pd(sums->high, high);
}

static inline double
sums_total(Sums sums)
{
	__m128d		sum = _mm_add_pd(sums.low, sums.high);

	return _mm_cvtsd_f64(sum) + _mm_cvtsd_f64(_mm_unpackhi_pd(sum, sum));
}

#elif defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>

typedef float32x4_t Lanes;
typedef struct Sums
{
	float64x2_t low;
	float64x2_t high;
} Sums;

#define MATCHES(y, values) \
	vandq_u32(vceqq_s32(x, y), vreinterpretq_u32_f32(values))
#define ROTATED_MATCHES(n) \
	MATCHES(vextq_s32(y, y, n), vextq_f32(values, values, n))

static inline Lanes
common_lanes(const int32 *a, const int32 *b, const float *bvalues)
{
	int32x4_t	x = vld1q_s32(a);
	int32x4_t	y = vld1q_s32(b);
	float32x4_t values = vld1q_f32(bvalues);
	uint32x4_t	m01 = vorrq_u32(MATCHES(y, values), ROTATED_MATCHES(1));
	uint32x4_t	m23 = vorrq_u32(ROTATED_MATCHES(2), ROTATED_MATCHES(3));

	return vreinterpretq_f32_u32(vorrq_u32(m01, m23));
}

static inline bool
lanes_any(Lanes x)
{
	return vminvq_u32(vceqzq_f32(x)) == 0;
}

static inline Sums
sums_zero(void)
{
	return (Sums) {vdupq_n_f64(0), vdupq_n_f64(0)};
}

static inline void
sums_add(Sums *sums, const float *values, Lanes x)
{
	float32x4_t y = vld1q_f32(values);

	sums->low = vfmaq_f64(sums->low, vcvt_f64_f32(vget_low_f32(x)),
						  vcvt_f64_f32(vget_low_f32(y)));
	sums->high = vfmaq_f64(sums->high, vcvt_high_f64_f32(x), vcvt_high_f64_f32(y));
}

static inline double
sums_total(Sums sums)
{
	return vaddvq_f64(vaddq_f64(sums.low, sums.high));
}

#else

typedef struct Lanes
{
	float		x[BLOCK];
} Lanes;
typedef double Sums;

static inline Lanes
common_lanes(const int32 *a, const int32 *b, const float *bvalues)
{
	Lanes		result = {{0}};

	for (int i = 0; i < BLOCK; i++)
		for (int j = 0; j < BLOCK; j++)
			result.x[i] = a[i] == b[j] ? bvalues[j] : result.x[i];
	return result;
}

static inline bool
lanes_any(Lanes x)
{
	return x.x[0] != 0 || x.x[1] != 0 || x.x[2] != 0 || x.x[3] != 0;
}

static inline Sums
sums_zero(void)
{
	return 0;
}

static inline void
sums_add(Sums *sums, const float *values, Lanes x)
{
	for (int i = 0; i < BLOCK; i++)
		*sums += (double) values[i] * x.x[i];
}

static inline double
sums_total(Sums sums)
{
	return sums;
}

#endif

/* Leaves behind the block that ends first, or both if they end alike. */
static inline void
next_block(const int32 *a, int *i, const int32 *b, int *j)
{
	int32		alast = a[*i + BLOCK - 1];
	int32		blast = b[*j + BLOCK - 1];

	*i += BLOCK * (alast <= blast);
	*j += BLOCK * (blast <= alast);
}

/* The first of the ascending indices, from start on, that is not below x. */
static inline int
lower_bound(const int32 *indices, int start, int n, int32 x)
{
	const int32 *base = indices + start;

	for (int length = n - start; length > 0;)
	{
		int			half = (length + 1) / 2;

		base = base[half - 1] < x ? base + half : base;
		length -= half;
	}
	return base - indices;
}

/* The inner product, by looking up every index of a in b. */
static float
ip_by_lookup(int an, const int32 *aindices, const float *avalues,
			 int bn, const int32 *bindices, const float *bvalues)
{
	double		sum = 0;

	for (int i = 0, j = 0; i < an; i++)
	{
		j = lower_bound(bindices, j, bn, aindices[i]);
		if (j == bn)
			break;
		if (bindices[j] == aindices[i])
			sum += (double) avalues[i] * bvalues[j];
	}
	return (float) sum;
}

/*
 * sparse_ip
 *		Inner product: sum of a*b.
 */
float
sparse_ip(int an, const int32 *aindices, const float *avalues,
		  int bn, const int32 *bindices, const float *bvalues)
{
	Sums		sums = sums_zero();
	double		sum;
	int			i = 0;
	int			j = 0;

	if (an > (int64) LOOKUP_RATIO * bn)
		return ip_by_lookup(bn, bindices, bvalues, an, aindices, avalues);
	if (bn > (int64) LOOKUP_RATIO * an)
		return ip_by_lookup(an, aindices, avalues, bn, bindices, bvalues);

	while (i + BLOCK <= an && j + BLOCK <= bn)
	{
		sums_add(&sums, avalues + i,
				 common_lanes(aindices + i, bindices + j, bvalues + j));
		next_block(aindices, &i, bindices, &j);
	}
	sum = sums_total(sums);
	while (i < an && j < bn)
	{
		int32		x = aindices[i];
		int32		y = bindices[j];

		if (x == y)
			sum += (double) avalues[i] * bvalues[j];
		i += (x <= y);
		j += (y <= x);
	}
	return (float) sum;
}

/* Two vectors and how far a walk along their common indices has come. */
typedef struct Walk
{
	int			an;
	const int32 *a;
	int			bn;
	const int32 *b;
	const float *bvalues;
	int			i;
	int			j;
} Walk;

/*
 * Moves i and j on to the next index that both have (one where b is zero may
 * be left out); false, and both at the end, if there is none.
 */
static inline bool
next_common(Walk *w)
{
	while (w->i + BLOCK <= w->an && w->j + BLOCK <= w->bn &&
		   !lanes_any(common_lanes(w->a + w->i, w->b + w->j, w->bvalues + w->j)))
		next_block(w->a, &w->i, w->b, &w->j);

	while (w->i < w->an && w->j < w->bn)
	{
		int32		x = w->a[w->i];
		int32		y = w->b[w->j];

		if (x == y)
			return true;
		w->i += (x < y);
		w->j += (y < x);
	}
	w->i = w->an;
	w->j = w->bn;
	return false;
}

/*
 * A sum over all indices of term(d), d the difference of a and b.  What lies
 * between two common indices belongs to one vector only.  Three sums, so that
 * none waits for the others.
 */
#define SPARSE_SUM(name, term) \
float \
name(int an, const int32 *aindices, const float *avalues, \
	 int bn, const int32 *bindices, const float *bvalues) \
{ \
	Walk		w = {an, aindices, bn, bindices, bvalues, 0, 0}; \
	int			i = 0; \
	int			j = 0; \
	double		asum = 0; \
	double		bsum = 0; \
	double		common_sum = 0; \
	bool		common; \
\
	do \
	{ \
		common = next_common(&w); \
		for (; i < w.i; i++) \
			asum += term((double) avalues[i]); \
		for (; j < w.j; j++) \
			bsum += term((double) bvalues[j]); \
		if (common) \
		{ \
			common_sum += term((double) avalues[i] - bvalues[j]); \
			w.i = ++i; \
			w.j = ++j; \
		} \
	} while (common); \
	return (float) (common_sum + (asum + bsum)); \
}

/*
 * sparse_l2sq
 *		Square of the Euclidean distance: sum of (a-b)^2.
 * sparse_l1
 *		Taxicab distance: sum of |a-b|.
 */
SPARSE_SUM(sparse_l2sq, SQUARE)
SPARSE_SUM(sparse_l1, fabs)

/*
 * sparse_normsq
 *		Square of the Euclidean norm: sum of a^2.
 */
float
sparse_normsq(int n, const float *values)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += SQUARE((double) values[i]);
	return (float) sum;
}
