/*-------------------------------------------------------------------------
 *
 * impact.c
 *		Queries of sparse vectors: their terms, weights, and what points tell of the
 *		distance.  README-sparse.md.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/search.h"

#include <float.h>

#include "type/sparsevec.h"
#include "utils/float.h"

/* The sum of the largest points of all lists is less than this power of two. */
#define SUM_BITS 30

/* More than the few roundings between a weight and its points may come to. */
#define SCALE_MARGIN ldexp(1, -21)

/*
 * Rows are ordered by the product with a vector.  If its dimensions are not a row's, the
 * operator says so when PostgreSQL computes the distance; where there is no row, nobody does.
 */
void
bm25_search_sparse(Bm25Search *search, const SparseVector *query)
{
	const float *values = SPARSEVEC_VALUES(query);
	char	   *word = palloc(BM25_DIMENSION_BYTES * 2 * Max(query->nnz, 1));

	search->ordered = true;
	search->terms = palloc(sizeof(Bm25Term) * 2 * Max(query->nnz, 1));
	/* First the lists that are for a row: those of weights of the query's sign. */
	for (int order = 0; order < 4; order++)
	{
		bool		against = order >= 2;
		bool		negative = order % 2;

		for (int i = 0; i < query->nnz; i++)
		{
			if (values[i] == 0 || (against != (values[i] < 0)) != negative)
				continue;
			bm25_put_dimension(word, query->indices[i], negative);
			search->terms[search->nterms++] =
				(Bm25Term) {.word = word,.len = BM25_DIMENSION_BYTES,.freq = 1,
				.weight = against ? -fabsf(values[i]) : fabsf(values[i])};
			word += BM25_DIMENSION_BYTES;
		}
		if (order == 1)
			search->nfor = search->nterms;
	}
	search->mask_words = search->nterms / 64 + 1;
}

/* Are the weights of a term negative? */
static inline bool
is_negative(const Bm25Term *term)
{
	return (*term->word & 0x80) != 0;
}

/* May a segment have a term? */
bool
bm25_may_have_term(const Bm25Search *search, const Bm25Segment *segment, const Bm25Term *term)
{
	return !(search->meta.flags & BM25_HAS_IMPACTS) || segment->flags & BM25_HAS_NEGATIVE ||
		!is_negative(term);
}

/* Look for the terms from "from" to "to" among the words of a record, both of which ascend. */
static Bm25Word *
count_run(Bm25Search *search, const char *p, const char *end, int from, int to, Bm25Word *words)
{
	Bm25Word	word;

	while (p < end && from < to)
	{
		int			cmp = -1;

		p = bm25_decode_word(p, end, search->meta.flags, &word);
		if (p == NULL)
			page_report_corrupt(search->rel, search->meta.head_first,
								"a broken record of a document");
		while (from < to && (cmp = memcmp(search->terms[from].word, word.word, word.len)) < 0)
			from++;
		if (from == to || cmp != 0)
			continue;
		if (words == NULL)
			words = palloc0(sizeof(Bm25Word) * search->nterms);
		words[from].tf = word.tf;
		search->terms[from].df++;
	}
	return words;
}

/* The words of a record of the head that the query has, or NULL */
Bm25Word *
bm25_count_impacts(Bm25Search *search, const char *p, const char *end)
{
	Bm25Word   *words = count_run(search, p, end, 0, search->nfor, NULL);

	return count_run(search, p, end, search->nfor, search->nterms, words);
}

/* The greatest impact of a term */
static uint32
greatest_impact(const Bm25Search *search, int term)
{
	uint32		greatest = 0;

	for (uint32 i = 0; i < search->meta.nsegments; i++)
		if (search->entries[i][term].df > 0)
			greatest = Max(greatest, search->entries[i][term].greatest);
	for (uint32 i = 0; i < search->nhead; i++)
		if (search->head[i].words != NULL)
			greatest = Max(greatest, search->head[i].words[term].tf);
	return greatest;
}

/* Compute the weights of the terms. */
Bm25Weights *
bm25_impact_weights(const Bm25Search *search)
{
	Bm25Weights *weights = palloc0(sizeof(Bm25Weights));
	double		sum = 0;		/* of the greatest products of the lists for a row */
	double		all = 0;		/* and of those against it */
	int			exponent = 0;

	weights->impact = true;
	weights->n = search->nterms;
	weights->scaled = palloc(sizeof(float) * Max(search->nterms, 1));
	for (int i = 0; i < search->nterms; i++)
	{
		uint32		greatest = greatest_impact(search, i);
		double		product;

		if (greatest == 0)
			continue;
		product = 2.0 * fabsf(search->terms[i].weight) * bm25_impact_half(greatest);
		all += product;
		if (i < search->nfor)
			sum += product;
		else
			weights->against = true;
	}
	(void) frexp(sum, &exponent);
	weights->shift = SUM_BITS - exponent;
	for (int i = 0; i < search->nterms; i++)
	{
		double		scaled = ldexp(2.0 * search->terms[i].weight, weights->shift);

		/* A term that nothing has may have too large a weight: it does not count. */
		if (i < search->nfor)
			weights->scaled[i] = (float) Min(FLT_MAX, scaled * (1 + SCALE_MARGIN));
		else
		{
			/* The sign tells that the list is against a row; so little takes no point away. */
			scaled = Min(-FLT_MIN, scaled * (1 - SCALE_MARGIN));
			weights->scaled[i] = (float) Max(-FLT_MAX, scaled);
		}
	}
	/* What the operator may lose when it adds up doubles */
	weights->lost = all * (search->nterms + 8) * DBL_EPSILON;
	return weights;
}

/*
 * What the operator returns at least.  It rounds a sum of doubles to a float, which may be
 * infinite.
 */
double
bm25_impact_distance(const Bm25Weights *weights, uint32 points)
{
	double		product = weights->against ? weights->lost : 0;

	if (points > 0)
		product = ldexp(points, -weights->shift) + weights->lost;
	if (product == 0)
		return 0;
	product = product * (1 + FLT_EPSILON) + ldexp(1, -149);
	return product > FLT_MAX ? -get_float8_infinity() : -product;
}
