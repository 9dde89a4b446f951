/*-------------------------------------------------------------------------
 *
 * block_avx512.c
 *		Loops over postings for x86-64 with AVX-512 F, BW, DQ, VL and VBMI.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/block.h"

#ifdef HAVE_X86_BLOCKS

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")
#endif

#define LANES 16

/* Where 16 numbers of so many bits stand in 64 bytes */
typedef struct Places
{
	__m512i		bytes;			/* the four that each number is in */
	__m512i		shift;
	__m512i		mask;
} Places;

static inline Places
find_places(int bits)
{
	__m512i		lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
	__m512i		at = _mm512_mullo_epi32(lane, _mm512_set1_epi32(bits));
	__m512i		byte = _mm512_srli_epi32(at, 3);

	byte = _mm512_mullo_epi32(byte, _mm512_set1_epi32(0x01010101));
	return (Places) {
		_mm512_add_epi32(byte, _mm512_set1_epi32(0x03020100)),
		_mm512_and_si512(at, _mm512_set1_epi32(7)),
		_mm512_set1_epi32(((uint32) 1 << bits) - 1)
	};
}

static inline __m512i
take(const char *from, const Places *places)
{
	__m512i		bytes = _mm512_permutexvar_epi8(places->bytes, _mm512_loadu_si512(from));

	return _mm512_and_si512(_mm512_srlv_epi32(bytes, places->shift), places->mask);
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
		_mm512_storeu_si512(numbers + i, _mm512_add_epi32(take(from + i * bits / 8, &places),
														  _mm512_set1_epi32(plus)));
}

static void
unpack_docs(const char *from, uint32 *docs, int n, int bits, uint32 start)
{
	Places		places;
	__m512i		zero = _mm512_setzero_si512();
	__m512i		before = _mm512_set1_epi32(start - 1);

	places = find_places(bits);
	for (int i = 0; i < n; i += LANES)
	{
		__m512i		x = _mm512_add_epi32(take(from + i * bits / 8, &places),
										 _mm512_set1_epi32(1));

		x = _mm512_add_epi32(x, _mm512_alignr_epi32(x, zero, LANES - 1));
		x = _mm512_add_epi32(x, _mm512_alignr_epi32(x, zero, LANES - 2));
		x = _mm512_add_epi32(x, _mm512_alignr_epi32(x, zero, LANES - 4));
		x = _mm512_add_epi32(x, _mm512_alignr_epi32(x, zero, LANES - 8));
		x = _mm512_add_epi32(x, before);
		_mm512_storeu_si512(docs + i, x);
		before = _mm512_permutexvar_epi32(_mm512_set1_epi32(LANES - 1), x);
	}
}

static uint32
find(const uint32 *docs, uint32 at, uint32 n, uint32 doc)
{
	__m512i		wanted = _mm512_set1_epi32(doc);

	for (; at < n; at += LANES)
	{
		uint32		below = _mm512_cmplt_epu32_mask(_mm512_loadu_si512(docs + at), wanted);

		if (below != 0xFFFF)
		{
			at += __builtin_ctz(~below);
			return Min(at, n);
		}
	}
	return n;
}

static void
compute_points(const Bm25Weight *weight, const Bm25Lengths *lengths, const uint32 *docs,
			   const uint32 *tfs, uint32 n, uint32 *points)
{
	__m512		scaled = _mm512_set1_ps(weight->scaled);
	__m512		n0 = _mm512_set1_ps(weight->norm.n0);
	__m512		n1 = _mm512_set1_ps(weight->norm.n1);
	__m512i		mask = _mm512_set1_epi32(lengths->width == 4 ? -1 : (1 << 8 * lengths->width) - 1);
	__m512i		first = _mm512_set1_epi32(lengths->first);
	__m512i		width = _mm512_set1_epi32(lengths->width);

	for (uint32 i = 0; i < n; i += LANES)
	{
		__mmask16	some = n - i >= LANES ? 0xFFFF : (1u << (n - i)) - 1;
		__m512i		at = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(some, docs + i), first);
		__m512i		length = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some,
														 _mm512_mullo_epi32(at, width),
														 lengths->bytes, 1);
		__m512		norm = _mm512_cvtepu32_ps(_mm512_and_si512(length, mask));
		__m512		tf = _mm512_cvtepu32_ps(_mm512_maskz_loadu_epi32(some, tfs + i));
		__m512		part;
		__m512i		result;

		norm = _mm512_add_ps(n0, _mm512_mul_ps(n1, norm));
		part = _mm512_div_ps(tf, _mm512_add_ps(tf, norm));
		part = _mm512_add_ps(_mm512_mul_ps(scaled, part), _mm512_set1_ps(0.5f));
		result = _mm512_max_epu32(_mm512_cvttps_epu32(part), _mm512_set1_epi32(1));
		_mm512_mask_storeu_epi32(points + i, some, result);
	}
}

static void
compute_impacts(float scaled, const uint32 *impacts, uint32 n, uint32 *points)
{
	__m512i		base = _mm512_set1_epi32(IMPACT_BASE);
	__m512		factor = _mm512_set1_ps(scaled);

	for (uint32 i = 0; i < n; i += LANES)
	{
		__mmask16	some = n - i >= LANES ? 0xFFFF : (1u << (n - i)) - 1;
		__m512i		bits = _mm512_add_epi32(_mm512_maskz_loadu_epi32(some, impacts + i), base);
		__m512		half = _mm512_castsi512_ps(_mm512_slli_epi32(bits, IMPACT_SHIFT));
		__m512i		result = _mm512_cvttps_epu32(_mm512_mul_ps(factor, half));

		_mm512_mask_storeu_epi32(points + i, some,
								 _mm512_add_epi32(result, _mm512_set1_epi32(IMPACT_MARGIN)));
	}
}

/* Which of the first 64 groups are met */
static inline uint64
find_met(const bool *met, int ngroups)
{
	__mmask64	some = ngroups >= 64 ? ~UINT64CONST(0) : (UINT64CONST(1) << ngroups) - 1;
	__m512i		flags = _mm512_maskz_loadu_epi8(some, met);

	return _mm512_test_epi8_mask(flags, flags);
}

/* Add the places of a group that a mask tells. */
static inline uint32
put_places(uint32 *places, uint32 n, int group, __mmask16 best)
{
	__m512i		lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
	__m512i		place = _mm512_add_epi32(lane, _mm512_set1_epi32(group * LANES));

	_mm512_storeu_si512(places + n, _mm512_maskz_compress_epi32(best, place));
	return n + __builtin_popcount(best);
}

/* Which of 64 masks are not empty */
static inline uint64
find_some(const uint16 *masks)
{
	__m512i		low = _mm512_loadu_si512(masks);
	__m512i		high = _mm512_loadu_si512(masks + 32);

	return (uint64) _mm512_test_epi16_mask(high, high) << 32 | _mm512_test_epi16_mask(low, low);
}

/*
 * Where few groups have a number above the bar, they are found first, and only their places
 * are listed; else that takes longer.
 */
static uint32
select_above(const uint32 *numbers, const bool *met, int ngroups, uint32 bar, uint32 *places)
{
	__m512i		level = _mm512_set1_epi32(bar);
	uint16		best[64] = {0};
	bool		rare = true;
	uint32		n = 0;

	for (int start = 0; start < ngroups; start += 64)
	{
		uint64		some = find_met(met + start, ngroups - start);
		int			nmet = __builtin_popcountll(some);
		uint32		before = n;

		if (rare && nmet >= 32)
		{
			uint64		rest = some;

			for (; rest != 0; rest &= rest - 1)
			{
				int			group = __builtin_ctzll(rest);
				const uint32 *from = numbers + (start + group) * LANES;

				best[group] = _mm512_cmpgt_epu32_mask(_mm512_loadu_si512(from), level);
			}
			for (some &= find_some(best); some != 0; some &= some - 1)
			{
				int			group = __builtin_ctzll(some);

				n = put_places(places, n, start + group, best[group]);
			}
		}
		else
			for (; some != 0; some &= some - 1)
			{
				int			group = start + __builtin_ctzll(some);
				__m512i		number = _mm512_loadu_si512(numbers + group * LANES);

				n = put_places(places, n, group, _mm512_cmpgt_epu32_mask(number, level));
			}
		rare = (n - before) * 8 <= nmet;
	}
	return n;
}

static uint32
match_set(const uint32 *docs, uint32 at, uint32 n, uint32 base, const uint32 *set, uint32 *places)
{
	__m512i		lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
	__m512i		first = _mm512_set1_epi32(base);
	__m512i		one = _mm512_set1_epi32(1);
	uint32		found = 0;

	for (; at < n; at += LANES)
	{
		__mmask16	some = n - at >= LANES ? 0xFFFF : (1u << (n - at)) - 1;
		__m512i		bit = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(some, docs + at), first);
		__m512i		word = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some,
													   _mm512_srli_epi32(bit, 5), set, 4);
		__mmask16	in = _mm512_test_epi32_mask(word, _mm512_rolv_epi32(one, bit));

		_mm512_storeu_si512(places + found,
							_mm512_maskz_compress_epi32(in, _mm512_add_epi32(lane, _mm512_set1_epi32(at))));
		found += __builtin_popcount(in);
	}
	return found;
}

static void
clear_met(uint32 *numbers, bool *met, int ngroups)
{
	for (int start = 0; start < ngroups; start += 64)
		for (uint64 some = find_met(met + start, ngroups - start); some != 0; some &= some - 1)
			_mm512_storeu_si512(numbers + (start + __builtin_ctzll(some)) * LANES,
								_mm512_setzero_si512());
	memset(met, 0, ngroups);
}

const Bm25BlockLoops bm25_loops_avx512 = {
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
