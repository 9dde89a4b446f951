/*
 * Loops over the postings of a block: each instruction set gives the bits of the scalar
 * loops, which give those of the plain definitions, and reads no further than it may.
 */
#include "bm25/block.h"

#include <float.h>

#include "bm25/codec.h"
#include "unit.h"

#define BYTES (BM25_BLOCK * sizeof(uint32) + BLOCK_SLACK)

static uint32
random_number(int bits)
{
	return bits == 0 ? 0 : (uint32) random_bits() >> (32 - bits);
}

static void
test_unpacking(const Bm25BlockLoops *loops, const char *name)
{
	Guarded		memory = guarded_alloc(BYTES);
	uint32		numbers[BM25_BLOCK];
	uint32		back[BM25_BLOCK];
	char		bytes[BYTES];
	bool		same = true;
	bool		documents = true;

	for (int bits = 0; bits <= 32; bits++)
		for (int n = 1; n <= BM25_BLOCK; n++)
		{
			int			size = packed_size(n, bits);
			char	   *copy = at_end(memory, size + BLOCK_SLACK, 0);
			uint32		start = random_number(30);
			uint32		doc = start;

			for (int i = 0; i < n; i++)
				numbers[i] = random_number(bits);
			pack(bytes, numbers, n, bits);
			memcpy(copy, bytes, size);
			loops->unpack(copy, back, n, bits, 7);
			for (int i = 0; i < n; i++)
				same &= back[i] == numbers[i] + 7;
			if (bits > BLOCK_MAX_BITS)
				continue;
			loops->unpack_docs(copy, back, n, bits, start);
			for (int i = 0; i < n; i++)
			{
				doc += numbers[i];
				documents &= back[i] == doc++;
			}
		}
	ok(same, "%s: packed numbers come back", name);
	ok(documents, "%s: gaps become documents", name);
}

static void
test_find(const Bm25BlockLoops *loops, const char *name)
{
	bool		same = true;

	for (int i = 0; i < 20000; i++)
	{
		uint32		docs[BM25_BLOCK + BLOCK_LANES];
		uint32		n = random_int(1, BM25_BLOCK);
		uint32		doc = random_number(i % 2 == 0 ? 8 : 32) / 2;
		uint32		step = i % 2 == 0 ? 4 : 10000000;
		uint32		at = random_int(0, n);
		uint32		wanted;
		uint32		expected = at;

		for (uint32 j = 0; j < lengthof(docs); j++)
			docs[j] = j < n ? doc += random_int(1, step) : (uint32) random_bits();
		wanted = docs[random_int(0, n - 1)] + random_int(-2, 2);
		while (expected < n && docs[expected] < wanted)
			expected++;
		same &= loops->find(docs, at, n, wanted) == expected;
	}
	ok(same, "%s: the first document that is not below one", name);
}

static void
test_points(const Bm25BlockLoops *loops, const char *name)
{
	Guarded		memory = guarded_alloc(5000 * sizeof(uint32));
	bool		same = true;
	bool		in_place = true;

	for (int i = 0; i < 5000; i++)
	{
		int			width = 1 << i % 3;
		uint32		first = i % 2 == 0 ? 0 : random_number(31);
		int			ndocs = random_int(BM25_BLOCK, 1000);
		char	   *bytes = at_end(memory, ndocs * width + 3, 0);
		Bm25Lengths lengths = {bytes, width, first};
		Bm25Weight	weight = {
			i % 10 == 0 ? 2147483648.0f : random_float(0, 2147483648.0f),
			bm25_norm(i % 50 == 0 ? 0 : random_float(0, 3), random_float(0, 1),
					  random_float(1, 300))
		};
		uint32		n = random_int(1, BM25_BLOCK);
		uint32		docs[BM25_BLOCK];
		uint32		tfs[BM25_BLOCK];
		uint32		points[BM25_BLOCK + 1];
		int			doc = 0;

		for (int j = 0; j < ndocs; j++)
		{
			uint32		length = random_number(random_int(1, width == 4 ? 31 : 8 * width));

			memcpy(bytes + j * width, &length, width);
		}
		for (uint32 j = 0; j < n; j++)
		{
			doc = j + 1 == n ? ndocs - 1 : random_int(doc, ndocs - 1);
			docs[j] = first + doc;
			tfs[j] = 1 + random_number(random_int(0, i % 20 == 0 ? 31 : 5));
		}
		points[n] = 12345;
		loops->points(&weight, &lengths, docs, tfs, n, points);
		in_place &= points[n] == 12345;
		for (uint32 j = 0; j < n; j++)
		{
			uint32		length = 0;

			memcpy(&length, bytes + (docs[j] - first) * width, width);
			same &= points[j] == bm25_points(weight.scaled, weight.norm, tfs[j], length);
		}
	}
	ok(same, "%s: points to the bit", name);
	ok(in_place, "%s: points of no more postings than asked for", name);
}

static float
random_weight(void)
{
	uint32		bits = random_number(31);
	float		weight;

	memcpy(&weight, &bits, sizeof(weight));
	return isfinite(weight) && weight > 0 ? weight : FLT_MAX;
}

/* No weight is above its impact, nor as small as the one before. */
static void
test_impact(void)
{
	bool		above = true;
	bool		tight = true;
	bool		bounded = true;

	for (int i = 0; i < 200000; i++)
	{
		float		weight = i == 0 ? FLT_MAX : i == 1 ? FLT_MIN : i == 2 ? 0x1p-96f : random_weight();
		uint32		impact = bm25_impact_of(i % 2 ? weight : -weight);
		double		factor;
		float		scaled;

		above &= impact >= 1 && impact <= IMPACT_MOST && 2.0 * bm25_impact_half(impact) >= weight;
		tight &= impact == 1 ? weight <= 0x1p-96f : 2.0 * bm25_impact_half(impact - 1) < weight;
		/* A query's weight, so that no product is above 2^30, as a search has it */
		factor = ldexp(random_float(0.5f, 1), random_int(-40, 30)) / Max(weight, 0x1p-96f);
		scaled = (float) (2 * factor * (1 + 0x1p-21));
		bounded &= bm25_impact_points(scaled, impact) >= factor * weight;
		scaled = (float) (2 * factor * (1 - 0x1p-21));
		bounded &= bm25_impact_least_points(scaled, impact) <= factor * weight;
	}
	ok(above, "impacts are not below weights");
	ok(tight, "impacts are the least that are not");
	ok(bounded, "points are bounds of products");
}

static void
test_impacts(const Bm25BlockLoops *loops, const char *name)
{
	bool		same = true;
	bool		in_place = true;

	for (int i = 0; i < 5000; i++)
	{
		uint32		n = random_int(1, BM25_BLOCK);
		uint32		impacts[BM25_BLOCK];
		uint32		points[BM25_BLOCK + 1];
		uint32		greatest = 1;
		float		scaled;

		for (uint32 j = 0; j < n; j++)
		{
			impacts[j] = i % 2 ? bm25_impact_of(random_weight()) : bm25_impact_of(random_float(0, 4));
			greatest = Max(greatest, impacts[j]);
		}
		scaled = (float) Min(ldexp(1, 30) / bm25_impact_half(greatest), FLT_MAX) *
			(i % 3 ? 1 : random_float(0, 1));
		points[n] = 12345;
		loops->impacts(scaled, impacts, n, points);
		in_place &= points[n] == 12345;
		for (uint32 j = 0; j < n; j++)
			same &= points[j] == bm25_impact_points(scaled, impacts[j]);
	}
	ok(same, "%s: points of impacts to the bit", name);
	ok(in_place, "%s: points of no more impacts than asked for", name);
}

static void
test_select(const Bm25BlockLoops *loops, const char *name)
{
	enum
	{
		GROUPS = 150
	};
	bool		same = true;
	bool		clear = true;

	for (int i = 0; i < 2000; i++)
	{
		static uint32 numbers[GROUPS * BLOCK_LANES];
		static uint32 places[(GROUPS + 1) * BLOCK_LANES];
		bool		met[GROUPS + 1];
		int			ngroups = random_int(1, GROUPS);
		uint32		bar = i % 3 == 0 ? 0 : random_number(32);
		uint32		n;
		uint32		expected = 0;

		for (int j = 0; j < GROUPS; j++)
			met[j] = random_int(0, 3) == 0;
		met[GROUPS] = true;
		for (int j = 0; j < lengthof(numbers); j++)
			numbers[j] = random_int(0, 2) == 0 ? 0 : random_number(32);
		n = loops->select(numbers, met, ngroups, bar, places);
		for (int j = 0; j < ngroups * BLOCK_LANES; j++)
			if (met[j / BLOCK_LANES] && numbers[j] > bar)
				same &= expected < n && places[expected++] == j;
		same &= expected == n;
		loops->clear(numbers, met, ngroups);
		for (int j = 0; j < ngroups; j++)
			clear &= !met[j];
		n = loops->select(numbers, met, ngroups, 0, places);
		clear &= n == 0 && met[GROUPS];
	}
	ok(same, "%s: numbers above a bar", name);
	ok(clear, "%s: no group is met when all are clear", name);
}

/* Documents that are in a set of bits, of which those outside of the block are not read. */
static void
test_match(const Bm25BlockLoops *loops, const char *name)
{
	enum
	{
		BITS = 4096
	};
	Guarded		memory = guarded_alloc(BITS / 8);
	bool		same = true;

	for (int i = 0; i < 5000; i++)
	{
		int			bytes = random_int(1, BITS / 32) * 4;
		char	   *set = at_end(memory, bytes, 0);
		uint32		base = i % 2 ? 0 : random_number(31);
		uint32		docs[BM25_BLOCK + BLOCK_LANES];
		uint32		places[BM25_BLOCK + BLOCK_LANES];
		uint32		n = 0;
		uint32		at;
		uint32		found;
		uint32		expected = 0;

		for (int j = 0; j < bytes; j++)
			set[j] = i % 5 == 0 ? -1 : (char) random_number(random_int(0, 8));
		for (uint32 bit = random_int(0, 10); bit < bytes * 8 && n < BM25_BLOCK; bit += random_int(1, 1 + i % 100))
			docs[n++] = base + bit;
		if (n == 0)
			docs[n++] = base + bytes * 8 - 1;
		/* What stands behind may be anything. */
		for (int j = n; j < lengthof(docs); j++)
			docs[j] = (uint32) random_bits();
		at = random_int(0, n);
		found = loops->match(docs, at, n, base, (const uint32 *) set, places);
		for (uint32 j = at; j < n; j++)
		{
			uint32		bit = docs[j] - base;
			uint32		word;

			memcpy(&word, set + bit / 32 * 4, sizeof(word));
			if (word >> bit % 32 & 1)
				same &= expected < found && places[expected++] == j;
		}
		same &= expected == found;
	}
	ok(same, "%s: documents that are in a set", name);
}

/* What is cleared is zero, and nothing else. */
static void
test_clear(const Bm25BlockLoops *loops, const char *name)
{
	uint32		numbers[4 * BLOCK_LANES];
	bool		met[] = {false, true, false, true};
	bool		right = true;

	memset(numbers, 0xFF, sizeof(numbers));
	loops->clear(numbers, met, 3);
	for (int i = 0; i < lengthof(numbers); i++)
		right &= numbers[i] == (i / BLOCK_LANES == 1 ? 0 : PG_UINT32_MAX);
	ok(right && met[3], "%s: groups that are met are cleared", name);
}

static void
test_loops(const Bm25BlockLoops *loops, SimdLevel level, const char *name)
{
	if (!distance_has_level(level))
	{
		skip("%s: not on this machine", name);
		return;
	}
	test_unpacking(loops, name);
	test_find(loops, name);
	test_points(loops, name);
	test_impacts(loops, name);
	test_select(loops, name);
	test_clear(loops, name);
	test_match(loops, name);
}

int
main(void)
{
	test_impact();
	test_loops(&bm25_loops_scalar, SIMD_SCALAR, "scalar");
#ifdef HAVE_X86_BLOCKS
	test_loops(&bm25_loops_avx2, SIMD_AVX2, "avx2");
	test_loops(&bm25_loops_avx512, SIMD_AVX512, "avx512");
#endif
	return done_testing();
}
