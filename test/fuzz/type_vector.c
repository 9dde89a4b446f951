/*-------------------------------------------------------------------------
 *
 * type_vector.c
 *		vector under test.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "type/vector.h"

extern Datum vector_to_halfvec(PG_FUNCTION_ARGS);
extern Datum vector_to_sparsevec(PG_FUNCTION_ARGS);

#define DENSE_PREFIX vector
#define DENSE_STRUCT Vector
#define DENSE_MAX_DIM VECTOR_MAX_DIM
#define DENSE_TO_FLOAT(e) (e)
#define DENSE_CASTS {vector_to_halfvec, vector_to_sparsevec}
#include "dense.h"
