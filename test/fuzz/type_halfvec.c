/*-------------------------------------------------------------------------
 *
 * type_halfvec.c
 *		halfvec under test.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "type/halfvec.h"

extern Datum halfvec_to_vector(PG_FUNCTION_ARGS);
extern Datum halfvec_to_sparsevec(PG_FUNCTION_ARGS);

#define DENSE_PREFIX halfvec
#define DENSE_STRUCT HalfVector
#define DENSE_MAX_DIM HALFVEC_MAX_DIM
#define DENSE_TO_FLOAT(e) half_to_float_one(e)
#define DENSE_CASTS {halfvec_to_vector, halfvec_to_sparsevec}
#include "dense.h"
