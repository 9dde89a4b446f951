/*-------------------------------------------------------------------------
 *
 * block_scalar.c
 *		Loops over postings for any processor; what the others have to equal.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/block.h"

#include "bm25/codec.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"

static void
unpack_plus(const char *from, uint32 *numbers, int n, int bits, uint32 plus)
{
	unpack(from, numbers, n, bits);
	for (int i = 0; i < n; i++)
		numbers[i] += plus;
}

static void
unpack_docs(const char *from, uint32 *docs, int n, int bits, uint32 start)
{
	unpack(from, docs, n, bits);
	for (int i = 0; i < n; i++)
	{
		start += docs[i];
		docs[i] = start++;
	}
}

static uint32
find(const uint32 *docs, uint32 at, uint32 n, uint32 doc)
{
	while (at < n && docs[at] < doc)
		at++;
	return at;
}

static inline uint32
get_length(const Bm25Lengths *lengths, uint32 doc)
{
	const char *from = lengths->bytes + (Size) (doc - lengths->first) * lengths->width;
	uint16		two;
	uint32		four;

	if (lengths->width == 1)
		return (uint8) *from;
	if (lengths->width == 2)
	{
		memcpy(&two, from, sizeof(two));
		return two;
	}
	memcpy(&four, from, sizeof(four));
	return four;
}

static void
compute_points(const Bm25Weight *weight, const Bm25Lengths *lengths, const uint32 *docs,
			   const uint32 *tfs, uint32 n, uint32 *points)
{
	for (uint32 i = 0; i < n; i++)
		points[i] = bm25_points(weight->scaled, weight->norm, tfs[i],
								get_length(lengths, docs[i]));
}

static void
compute_impacts(float scaled, const uint32 *impacts, uint32 n, uint32 *points)
{
	for (uint32 i = 0; i < n; i++)
		points[i] = bm25_impact_points(scaled, impacts[i]);
}

/* Which of the next 8 groups are met: a byte of a number for each, the lowest one first */
static inline uint64
find_met(const bool *met, int ngroups)
{
	uint64		some = 0;

	memcpy(&some, met, Min(ngroups, sizeof(some)));
#ifdef WORDS_BIGENDIAN
	some = pg_bswap64(some);
#endif
	return some;
}

static uint32
select_above(const uint32 *numbers, const bool *met, int ngroups, uint32 bar, uint32 *places)
{
	uint32		n = 0;

	/* Without branches, which nobody could foresee */
	for (int start = 0; start < ngroups; start += sizeof(uint64))
		for (uint64 some = find_met(met + start, ngroups - start); some != 0; some &= some - 1)
		{
			uint32		first = (start + pg_rightmost_one_pos64(some) / 8) * BLOCK_LANES;
			const uint32 *from = numbers + first;

#pragma GCC unroll 16
			for (int i = 0; i < BLOCK_LANES; i++)
			{
				places[n] = first + i;
				n += from[i] > bar;
			}
		}
	return n;
}

static uint32
match_set(const uint32 *docs, uint32 at, uint32 n, uint32 base, const uint32 *set, uint32 *places)
{
	uint32		found = 0;

	for (; at < n; at++)
	{
		uint32		bit = docs[at] - base;

		places[found] = at;
		found += set[bit / 32] >> (bit % 32) & 1;
	}
	return found;
}

static void
clear_met(uint32 *numbers, bool *met, int ngroups)
{
	for (int start = 0; start < ngroups; start += sizeof(uint64))
		for (uint64 some = find_met(met + start, ngroups - start); some != 0; some &= some - 1)
		{
			uint32	   *from = numbers + (start + pg_rightmost_one_pos64(some) / 8) * BLOCK_LANES;

			for (int i = 0; i < BLOCK_LANES; i += 4)
				memset(from + i, 0, 4 * sizeof(uint32));
		}
	memset(met, 0, ngroups);
}

const Bm25BlockLoops bm25_loops_scalar = {
	unpack_plus,
	unpack_docs,
	find,
	compute_points,
	compute_impacts,
	select_above,
	match_set,
	clear_met,
};
