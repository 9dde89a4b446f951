/*-------------------------------------------------------------------------
 *
 * block_avx2.c
 *		Loops over postings for x86-64 with AVX2.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/block.h"

#ifdef HAVE_X86_BLOCKS

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,popcnt")
#endif

#define LANES 8

/* Where 8 numbers of so many bits stand: the last four, in the 16 bytes from "high" on */
typedef struct Places
{
	int			high;
	__m256i		bytes;			/* the four that each number is in */
	__m256i		shift;
	__m256i		mask;
} Places;

static inline Places
find_places(int bits)
{
	__m256i		lane = _mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3);
	__m256i		at = _mm256_mullo_epi32(lane, _mm256_set1_epi32(bits));
	int			rest = 4 * bits % 8;
	__m256i		byte;

	at = _mm256_add_epi32(at, _mm256_setr_epi32(0, 0, 0, 0, rest, rest, rest, rest));
	byte = _mm256_mullo_epi32(_mm256_srli_epi32(at, 3), _mm256_set1_epi32(0x01010101));
	return (Places) {
		4 * bits / 8,
		_mm256_add_epi32(byte, _mm256_set1_epi32(0x03020100)),
		_mm256_and_si256(at, _mm256_set1_epi32(7)),
		_mm256_set1_epi32(((uint32) 1 << bits) - 1)
	};
}

static inline __m256i
take(const char *from, const Places *places)
{
	__m128i		low = _mm_loadu_si128((const __m128i *) from);
	__m128i		high = _mm_loadu_si128((const __m128i *) (from + places->high));
	__m256i		bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);

	bytes = _mm256_shuffle_epi8(bytes, places->bytes);
	return _mm256_and_si256(_mm256_srlv_epi32(bytes, places->shift), places->mask);
}

static void
unpack_plus(const char *from, uint32 *numbers, int n, int bits, uint32 plus)
{
	Places		places;

	if (bits > BLOCK_MAX_BITS)
	{
		bm25_loops_scalar.unpack(from, numbers, n, bits, plus);
		return;
	}
	places = find_places(bits);
	for (int i = 0; i < n; i += LANES)
		_mm256_storeu_si256((__m256i *) (numbers + i),
							_mm256_add_epi32(take(from + i / 8 * bits, &places),
											 _mm256_set1_epi32(plus)));
}

static void
unpack_docs(const char *from, uint32 *docs, int n, int bits, uint32 start)
{
	Places		places;
	__m256i		before = _mm256_set1_epi32(start - 1);

	places = find_places(bits);
	for (int i = 0; i < n; i += LANES)
	{
		__m256i		x = _mm256_add_epi32(take(from + i / 8 * bits, &places),
										 _mm256_set1_epi32(1));
		__m256i		low;

		x = _mm256_add_epi32(x, _mm256_slli_si256(x, 4));
		x = _mm256_add_epi32(x, _mm256_slli_si256(x, 8));
		/* The sum of the lower four belongs to the upper ones, too. */
		low = _mm256_permutevar8x32_epi32(x, _mm256_set1_epi32(3));
		x = _mm256_add_epi32(x, _mm256_blend_epi32(_mm256_setzero_si256(), low, 0xF0));
		x = _mm256_add_epi32(x, before);
		_mm256_storeu_si256((__m256i *) (docs + i), x);
		before = _mm256_permutevar8x32_epi32(x, _mm256_set1_epi32(LANES - 1));
	}
}

static uint32
find(const uint32 *docs, uint32 at, uint32 n, uint32 doc)
{
	/* There are no comparisons of unsigned numbers but for equality. */
	__m256i		sign = _mm256_set1_epi32(PG_INT32_MIN);
	__m256i		wanted = _mm256_xor_si256(_mm256_set1_epi32(doc), sign);

	for (; at < n; at += LANES)
	{
		__m256i		some = _mm256_loadu_si256((const __m256i *) (docs + at));
		__m256i		below = _mm256_cmpgt_epi32(wanted, _mm256_xor_si256(some, sign));
		uint32		mask = _mm256_movemask_ps(_mm256_castsi256_ps(below));

		if (mask != 0xFF)
		{
			at += __builtin_ctz(~mask);
			return Min(at, n);
		}
	}
	return n;
}

/* Frequencies and lengths are below 2^31, points at most 2^31, which overflows to itself. */
static void
compute_points(const Bm25Weight *weight, const Bm25Lengths *lengths, const uint32 *docs,
			   const uint32 *tfs, uint32 n, uint32 *points)
{
	__m256		scaled = _mm256_set1_ps(weight->scaled);
	__m256		n0 = _mm256_set1_ps(weight->norm.n0);
	__m256		n1 = _mm256_set1_ps(weight->norm.n1);
	__m256i		mask = _mm256_set1_epi32(lengths->width == 4 ? -1 : (1 << 8 * lengths->width) - 1);
	__m256i		first = _mm256_set1_epi32(lengths->first);
	__m256i		width = _mm256_set1_epi32(lengths->width);
	uint32		i;

	for (i = 0; i + LANES <= n; i += LANES)
	{
		__m256i		at = _mm256_sub_epi32(_mm256_loadu_si256((const __m256i *) (docs + i)), first);
		__m256i		length = _mm256_i32gather_epi32((const int *) lengths->bytes,
													_mm256_mullo_epi32(at, width), 1);
		__m256		norm = _mm256_cvtepi32_ps(_mm256_and_si256(length, mask));
		__m256		tf = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *) (tfs + i)));
		__m256		part;
		__m256i		result;

		norm = _mm256_add_ps(n0, _mm256_mul_ps(n1, norm));
		part = _mm256_div_ps(tf, _mm256_add_ps(tf, norm));
		part = _mm256_add_ps(_mm256_mul_ps(scaled, part), _mm256_set1_ps(0.5f));
		result = _mm256_max_epu32(_mm256_cvttps_epi32(part), _mm256_set1_epi32(1));
		_mm256_storeu_si256((__m256i *) (points + i), result);
	}
	bm25_loops_scalar.points(weight, lengths, docs + i, tfs + i, n - i, points + i);
}

static void
compute_impacts(float scaled, const uint32 *impacts, uint32 n, uint32 *points)
{
	__m256i		base = _mm256_set1_epi32(IMPACT_BASE);
	__m256		factor = _mm256_set1_ps(scaled);
	uint32		i;

	for (i = 0; i + LANES <= n; i += LANES)
	{
		__m256i		bits = _mm256_add_epi32(_mm256_loadu_si256((const __m256i *) (impacts + i)), base);
		__m256		half = _mm256_castsi256_ps(_mm256_slli_epi32(bits, IMPACT_SHIFT));
		__m256i		result = _mm256_cvttps_epi32(_mm256_mul_ps(factor, half));

		_mm256_storeu_si256((__m256i *) (points + i),
							_mm256_add_epi32(result, _mm256_set1_epi32(IMPACT_MARGIN)));
	}
	bm25_loops_scalar.impacts(scaled, impacts + i, n - i, points + i);
}

/* Which of the first 32 groups are met */
static inline uint32
find_met(const bool *met, int ngroups)
{
	__m256i		flags;
	bool		rest[32] = {0};

	if (ngroups < 32)
	{
		memcpy(rest, met, ngroups);
		met = rest;
	}
	flags = _mm256_loadu_si256((const __m256i *) met);
	return ~_mm256_movemask_epi8(_mm256_cmpeq_epi8(flags, _mm256_setzero_si256()));
}

/* The lanes of a mask, one after the other */
static uint8 lanes_of[1 << LANES][LANES];

static void __attribute__((constructor))
list_lanes(void)
{
	for (int mask = 0; mask < 1 << LANES; mask++)
	{
		int			n = 0;

		for (int lane = 0; lane < LANES; lane++)
			if (mask >> lane & 1)
				lanes_of[mask][n++] = lane;
	}
}

static uint32
select_above(const uint32 *numbers, const bool *met, int ngroups, uint32 bar, uint32 *places)
{
	__m256i		sign = _mm256_set1_epi32(PG_INT32_MIN);
	__m256i		level = _mm256_xor_si256(_mm256_set1_epi32(bar), sign);
	uint32		n = 0;

	for (int start = 0; start < ngroups; start += 32)
		for (uint32 some = find_met(met + start, ngroups - start); some != 0; some &= some - 1)
		{
			uint32		first = (start + __builtin_ctz(some)) * BLOCK_LANES;

			for (int half = 0; half < BLOCK_LANES; half += LANES)
			{
				__m256i		number = _mm256_loadu_si256((const __m256i *) (numbers + first + half));
				__m256i		more = _mm256_cmpgt_epi32(_mm256_xor_si256(number, sign), level);
				uint32		best = _mm256_movemask_ps(_mm256_castsi256_ps(more));
				__m128i		lanes = _mm_loadl_epi64((const __m128i *) lanes_of[best]);
				__m256i		place = _mm256_add_epi32(_mm256_cvtepu8_epi32(lanes),
													 _mm256_set1_epi32(first + half));

				_mm256_storeu_si256((__m256i *) (places + n), place);
				n += __builtin_popcount(best);
			}
		}
	return n;
}

/* Bits are fetched one by one: a gather of eight is not faster. */
static uint32
match_set(const uint32 *docs, uint32 at, uint32 n, uint32 base, const uint32 *set, uint32 *places)
{
	return bm25_loops_scalar.match(docs, at, n, base, set, places);
}

static void
clear_met(uint32 *numbers, bool *met, int ngroups)
{
	for (int start = 0; start < ngroups; start += 32)
		for (uint32 some = find_met(met + start, ngroups - start); some != 0; some &= some - 1)
		{
			uint32	   *from = numbers + (start + __builtin_ctz(some)) * BLOCK_LANES;

			_mm256_storeu_si256((__m256i *) from, _mm256_setzero_si256());
			_mm256_storeu_si256((__m256i *) (from + LANES), _mm256_setzero_si256());
		}
	memset(met, 0, ngroups);
}

const Bm25BlockLoops bm25_loops_avx2 = {
	unpack_plus,
	unpack_docs,
	find,
	compute_points,
	compute_impacts,
	select_above,
	match_set,
	clear_met,
};

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif							/* HAVE_X86_BLOCKS */
