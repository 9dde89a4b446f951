/*-------------------------------------------------------------------------
 *
 * sparse.c
 *		Sparse vectors as documents: a dimension is a term, an impact its frequency.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "port/pg_bswap.h"
#include "type/sparsevec.h"

/* Support function 1 of an operator class: its values are sparse vectors. */
PG_FUNCTION_INFO_V1(bm25_sparsevec_type);
Datum
bm25_sparsevec_type(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(NULL);
}

/* An error like that of the operator. */
void
bm25_check_dimensions(const SparseVector *vector, uint32 dim)
{
	if (vector->dim != dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different sparsevec dimensions %d and %u", vector->dim, dim)));
}

/* The term of an element's dimension, of weights of one sign. */
void
bm25_put_dimension(char *to, uint32 dimension, bool negative)
{
	uint32		term = pg_hton32(dimension | (negative ? BM25_NEGATIVE_TERM : 0));

	memcpy(to, &term, sizeof(term));
}

/* The elements of a vector as words of a document, ascending: the negative ones come last. */
void
bm25_parse_sparse(const SparseVector *vector, Bm25Document *document)
{
	const float *values = SPARSEVEC_VALUES(vector);
	char	   *term = palloc(BM25_DIMENSION_BYTES * Max(vector->nnz, 1));

	document->words = palloc(sizeof(Bm25Word) * Max(vector->nnz, 1));
	document->nwords = 0;
	for (int negative = 0; negative <= 1; negative++)
		for (int i = 0; i < vector->nnz; i++)
		{
			if (values[i] == 0 || (values[i] < 0) != negative)
				continue;
			bm25_put_dimension(term, vector->indices[i], negative);
			document->words[document->nwords++] =
				(Bm25Word) {term, BM25_DIMENSION_BYTES, bm25_impact_of(values[i])};
			term += BM25_DIMENSION_BYTES;
		}
	document->length = document->nwords;
}
