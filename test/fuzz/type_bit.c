/*-------------------------------------------------------------------------
 *
 * type_bit.c
 *		The distances between bit strings under test; the type is the server's.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "distance/distance.h"
#include "fuzz.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/varbit.h"

extern Datum hamming_distance(PG_FUNCTION_ARGS);
extern Datum jaccard_distance(PG_FUNCTION_ARGS);

/* As bit_recv() makes a value: the bits after the last one are zero. */
static Datum
receive_bits(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			bits = pq_getmsgint(buf, sizeof(uint16));
	VarBit	   *result = palloc0(VARBITTOTALLEN(bits));

	SET_VARSIZE(result, VARBITTOTALLEN(bits));
	VARBITLEN(result) = bits;
	for (int i = 0; i < VARBITBYTES(result) && buf->cursor < buf->len; i++)
		VARBITS(result)[i] = buf->data[buf->cursor++];
	if (bits % BITS_PER_BYTE != 0)
		VARBITS(result)[VARBITBYTES(result) - 1] &= 0xFF << (8 - bits % 8);
	PG_RETURN_VARBIT_P(result);
}

static void
check(Datum value)
{
}

static void
one(Datum value, int32 x, int32 y)
{
}

static void
two(Datum a, Datum b)
{
	VarBit	   *abits = (VarBit *) DatumGetPointer(a);
	VarBit	   *bbits = (VarBit *) DatumGetPointer(b);
	int			differ = 0;
	int			both = 0;
	int			either = 0;

	if (VARBITLEN(abits) != VARBITLEN(bbits))
	{
		REQUIRE(CALL2(hamming_distance, a, b).failed);
		REQUIRE(CALL2(jaccard_distance, a, b).failed);
		return;
	}
	for (int i = 0; i < VARBITBYTES(abits); i++)
	{
		differ += __builtin_popcount(VARBITS(abits)[i] ^ VARBITS(bbits)[i]);
		both += __builtin_popcount(VARBITS(abits)[i] & VARBITS(bbits)[i]);
		either += __builtin_popcount(VARBITS(abits)[i] | VARBITS(bbits)[i]);
	}
	for (int level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		if (!distance_use_level(level))
			continue;
		REQUIRE(DatumGetFloat8(CALL2(hamming_distance, a, b).value) == differ);
		REQUIRE(DatumGetFloat8(CALL2(jaccard_distance, a, b).value) ==
				(both == 0 ? 1 : 1 - (double) both / either));
	}
}

const FuzzType fuzz_type = {
	.name = "bit",
	.recv = receive_bits,
	.check = check,
	.one = one,
	.two = two
};
