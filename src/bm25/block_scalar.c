/*-------------------------------------------------------------------------
 *
 * block_scalar.c
 *		Loops over postings for any processor; what the others have to equal.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/block.h"

#include "bm25/codec.h"

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

static uint32
select_above(const uint32 *numbers, const bool *met, int ngroups, uint32 bar, uint32 *places)
{
	uint32		n = 0;

	for (int group = 0; group < ngroups; group++)
	{
		if (!met[group])
			continue;
		for (int i = group * BLOCK_LANES; i < (group + 1) * BLOCK_LANES; i++)
		{
			places[n] = i;
			n += numbers[i] > bar;
		}
	}
	return n;
}

static void
clear_met(uint32 *numbers, bool *met, int ngroups)
{
	for (int group = 0; group < ngroups; group++)
		if (met[group])
			memset(numbers + group * BLOCK_LANES, 0, sizeof(uint32) * BLOCK_LANES);
	memset(met, 0, ngroups);
}

const Bm25BlockLoops bm25_loops_scalar = {
	unpack_plus,
	unpack_docs,
	find,
	compute_points,
	select_above,
	clear_met,
};
