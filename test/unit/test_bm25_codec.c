/*
 * Numbers and positions of a bm25 index come back as they were written, and broken
 * bytes are never read past their end.
 */
#include "bm25/bm25_page.h"
#include "unit.h"

#include "bm25/codec.h"

#define MOST 20000

static void
test_varints(void)
{
	Guarded		memory = guarded_alloc(MAX_VARINT);
	bool		same = true;
	bool		cut = true;

	for (int i = 0; i < 20000; i++)
	{
		uint64		value = random_bits() >> random_int(0, 63);
		char		bytes[MAX_VARINT];
		int			size = put_varint(bytes, value) - bytes;
		char	   *copy = at_end(memory, size, 0);
		uint64		back = ~value;

		memcpy(copy, bytes, size);
		same &= get_varint(copy, copy + size, &back) == copy + size && back == value;
		copy = at_end(memory, size - 1, 0);
		memcpy(copy, bytes, size - 1);
		cut &= get_varint(copy, copy + size - 1, &back) == NULL;
	}
	ok(same, "varints come back");
	ok(cut, "varints that are cut off are broken");
}

static void
test_packing(void)
{
	uint32		numbers[BM25_BLOCK];
	uint32		back[BM25_BLOCK];
	char		bytes[BM25_BLOCK * sizeof(uint32) + PACK_SLACK];
	bool		same = true;

	for (int bits = 0; bits <= 32; bits++)
		for (int n = 1; n <= BM25_BLOCK; n++)
		{
			uint32		all = 0;

			for (int i = 0; i < n; i++)
				all |= numbers[i] = bits == 0 ? 0 : (uint32) random_bits() >> (32 - bits);
			same &= bits_needed(all) <= bits;
			pack(bytes, numbers, n, bits);
			unpack(bytes, back, n, bits);
			same &= memcmp(numbers, back, sizeof(uint32) * n) == 0;
		}
	ok(same, "packed numbers come back");
}

/* Some positions that ascend, a few twice if they have no weights; returns how many. */
static int
make_positions(WordEntryPos *positions, int most, bool weights)
{
	int			position = 0;
	int			n = 0;
	int			step = random_int(1, 300);

	while (n < most)
	{
		position += random_int(weights || n == 0 ? 1 : 0, step);
		if (position > BM25_MAX_POSITIONS)
			break;
		positions[n] = position;
		WEP_SETWEIGHT(positions[n], weights ? random_int(0, 3) : 0);
		n++;
	}
	return n;
}

static void
test_positions(bool weights)
{
	int			weight_bits = weights ? WEIGHT_BITS : 0;
	static WordEntryPos positions[MOST];
	static WordEntryPos back[MOST];
	static char bytes[MOST * MAX_POSITION_BYTES];
	Guarded		memory = guarded_alloc(sizeof(bytes));
	bool		same = true;
	bool		skipped = true;
	bool		cut = true;
	bool		harmless = true;

	for (int i = 0; i < 2000; i++)
	{
		int			n = make_positions(positions, i % 100 == 0 ? MOST : random_int(0, 40), weights);
		uint32		tf = Max(n, 1) + (random_int(0, 3) == 0 ? random_int(0, MOST) : 0);
		int			size = put_positions(bytes, positions, n, tf, weight_bits) - bytes;
		char	   *copy = at_end(memory, size, 0);
		int			different = 0;
		int			found;

		for (int j = 0; j < n; j++)
			if (j == 0 || WEP_GETPOS(positions[j]) != WEP_GETPOS(positions[j - 1]))
				positions[different++] = positions[j];
		memcpy(copy, bytes, size);
		found = get_positions(copy, copy + size, tf, weight_bits, back);
		same &= found == different && memcmp(positions, back, sizeof(WordEntryPos) * found) == 0;
		skipped &= skip_positions(copy, copy + size, tf) == copy + size;
		copy = at_end(memory, size - 1, 0);
		memcpy(copy, bytes, size - 1);
		cut &= get_positions(copy, copy + size - 1, tf, weight_bits, back) < 0 &&
			skip_positions(copy, copy + size - 1, tf) == NULL;
		for (int j = 0; j < size - 1; j++)
			copy[j] = (char) random_bits();
		found = get_positions(copy, copy + size - 1, tf, weight_bits, back);
		for (int j = 0; j < found; j++)
			harmless &= WEP_GETPOS(back[j]) > (j == 0 ? 0 : WEP_GETPOS(back[j - 1]));
	}
	ok(same, "positions %s come back", weights ? "with weights" : "without weights");
	ok(skipped, "they are skipped by their number");
	ok(cut, "positions that are cut off are broken");
	ok(harmless, "any bytes are ascending positions or broken");
}

int
main(void)
{
	test_varints();
	test_packing();
	test_positions(false);
	test_positions(true);
	return done_testing();
}
