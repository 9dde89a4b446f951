/*-------------------------------------------------------------------------
 *
 * places.c
 *		Where in a text each of many texts begins.
 *
 * A changed document has as many chunks as its length says, so to look for one after the other would
 * take the square of that.  Texts of about one length are looked for together, by a hash of as many
 * bytes as the shortest of them may have, which moves along the text (Karp and Rabin).
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define FACTOR UINT64CONST(0x9E3779B97F4A7C15)

typedef struct Wanted
{
	const char *text;
	int			length;			/* in bytes */
	int			place;			/* in characters, from 1; 0: not found */
	uint64		hash;			/* of its first bytes */
	int			next;			/* with a hash in the same bucket, or -1 */
} Wanted;

static uint64
hash_bytes_of(const char *bytes, int length)
{
	uint64		hash = 0;

	for (int i = 0; i < length; i++)
		hash = hash * FACTOR + (unsigned char) bytes[i];
	return hash;
}

/* Which of a bucket begin at "at", with this hash, where character "place" is? */
static void
compare(Wanted *wanted, int *bucket, uint64 hash, const char *at, int left, int place)
{
	while (*bucket >= 0)
	{
		Wanted	   *w = &wanted[*bucket];

		if (w->hash == hash && w->length <= left && memcmp(w->text, at, w->length) == 0)
		{
			w->place = place;
			*bucket = w->next;
		}
		else
			bucket = &w->next;
	}
}

/* Find those of at least "window" bytes, and of less than twice as many. */
static void
find_class(Wanted *wanted, int n, int window, const char *body, int length)
{
	int			nbuckets = pg_nextpower2_32(Max(n, 16));
	int			shift = 64 - pg_leftmost_one_pos32(nbuckets);
	int		   *buckets = palloc_extended(nbuckets * sizeof(int), MCXT_ALLOC_HUGE);
	uint64		hash;
	uint64		leaving = 1;	/* the factor of the byte that leaves the window */
	int			place = 1;
	bool		any = false;

	memset(buckets, -1, nbuckets * sizeof(int));
	for (int i = n - 1; i >= 0; i--)
	{
		if (wanted[i].length >= window && wanted[i].length / 2 < window)
		{
			int		   *bucket;

			wanted[i].hash = hash_bytes_of(wanted[i].text, window);
			bucket = &buckets[(wanted[i].hash * FACTOR) >> shift];
			wanted[i].next = *bucket;
			*bucket = i;
			any = true;
		}
	}
	if (any && window <= length)
	{
		for (int i = 1; i < window; i++)
			leaving *= FACTOR;
		hash = hash_bytes_of(body, window);
		for (int at = 0; at + window <= length;)
		{
			int			step = pg_mblen(body + at);

			compare(wanted, &buckets[(hash * FACTOR) >> shift], hash, body + at, length - at, place++);
			for (; step > 0 && at + window < length; step--, at++)
				hash = (hash - leaving * (unsigned char) body[at]) * FACTOR + (unsigned char) body[at + window];
			if (step > 0)
				break;
			if (place % 65536 == 0)
				CHECK_FOR_INTERRUPTS();
		}
	}
	pfree(buckets);
}

/*
 * piramid.places(body, texts): where each of these texts first begins, in characters; 0 where it does not
 */
PG_FUNCTION_INFO_V1(piramid_places);
Datum
piramid_places(PG_FUNCTION_ARGS)
{
	text	   *body = PG_GETARG_TEXT_PP(0);
	Datum	   *texts;
	bool	   *nulls;
	int			n;
	Wanted	   *wanted;
	int			longest = 0;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &n);
	wanted = palloc_extended(Max(n, 1) * sizeof(Wanted), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		text	   *t = nulls[i] ? NULL : DatumGetTextPP(texts[i]);

		wanted[i].text = t == NULL ? "" : VARDATA_ANY(t);
		wanted[i].length = t == NULL ? 0 : VARSIZE_ANY_EXHDR(t);
		wanted[i].place = t != NULL && wanted[i].length == 0 ? 1 : 0;
		longest = Max(longest, wanted[i].length);
	}
	for (int window = 1; window <= longest; window *= 2)
	{
		find_class(wanted, n, window, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));
		if (window > longest / 2)
			break;
	}
	for (int i = 0; i < n; i++)
		texts[i] = Int32GetDatum(wanted[i].place);
	PG_RETURN_ARRAYTYPE_P(construct_array(texts, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}
