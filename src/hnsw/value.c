/*-------------------------------------------------------------------------
 *
 * value.c
 *		Values of the indexed types, as the graph sees them.
 *
 * All types become an array of layout.dim floats: vectors as they are, bits
 * as 0 and 1.  A sparse vector of up to HNSW_SKETCH_EXACT dimensions does, too; a
 * longer one is sketched: each position adds its value to one of HNSW_SKETCH_DIM
 * sums, with a sign, both chosen by a hash of the position (Weinberger et al.,
 * "Feature Hashing for Large Scale Multitask Learning", 2009), which preserves
 * inner products in expectation.  The sketch serves to build the graph and to
 * choose links; the distance of a node is computed from the sparse vector.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/value.h"

#include "common/hashfn.h"
#include "type/halfvec.h"
#include "type/sparsevec.h"
#include "type/vector.h"
#include "utils/varbit.h"

/* A packed sparse vector: its values follow the positions, as binary16. */
typedef struct PackedSparse
{
	int32		nnz;
	int32		indices[FLEXIBLE_ARRAY_MEMBER];
} PackedSparse;

#define PACKED_SPARSE_SIZE(nnz) \
	(offsetof(PackedSparse, indices) + (Size) (nnz) * (sizeof(int32) + sizeof(half)))
#define PACKED_SPARSE_VALUES(packed) ((half *) ((packed)->indices + (packed)->nnz))

/* Room for a value, in the current memory context. */
HnswValue *
hnsw_value_create(const HnswLayout *layout)
{
	HnswValue  *value = palloc0(sizeof(HnswValue));

	value->x = palloc(sizeof(float) * layout->dim);
	if (layout->type == HNSW_TYPE_SPARSEVEC)
	{
		value->indices = palloc(sizeof(int32) * SPARSEVEC_MAX_NNZ);
		value->values = palloc(sizeof(float) * SPARSEVEC_MAX_NNZ);
	}
	return value;
}

/* The sketch of a sparse vector, or, if that is short, itself. */
void
hnsw_sketch(const HnswLayout *layout, int nnz, const int32 *indices, const float *values,
			float *x)
{
	memset(x, 0, sizeof(float) * layout->dim);
	if (layout->column_dim <= HNSW_SKETCH_EXACT)
	{
		for (int i = 0; i < nnz; i++)
			x[indices[i]] = values[i];
		return;
	}
	for (int i = 0; i < nnz; i++)
	{
		uint32		hash = murmurhash32((uint32) indices[i]);

		/* Differences of absolute values would not survive a sign. */
		if ((hash & 1) && !layout->space->absolute)
			x[(hash >> 1) % HNSW_SKETCH_DIM] -= values[i];
		else
			x[(hash >> 1) % HNSW_SKETCH_DIM] += values[i];
	}
}

static void
check_dim(const HnswLayout *layout, int dim, bool search)
{
	static const char *const names[] = {"vector", "halfvec", "sparsevec"};

	if (likely(dim == layout->column_dim))
		return;
	if (!search)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", layout->column_dim, dim)));
	if (layout->type == HNSW_TYPE_BIT)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different bit lengths %d and %d", layout->column_dim, dim)));
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("different %s dimensions %d and %d", names[layout->type],
					layout->column_dim, dim)));
}

/* Decode a column's value, or (with "search") a query. */
void
hnsw_value_set(const HnswLayout *layout, HnswValue *value, Datum datum, bool search)
{
	Pointer		detoasted = (Pointer) PG_DETOAST_DATUM(datum);

	switch (layout->type)
	{
		case HNSW_TYPE_VECTOR:
			{
				const Vector *vector = (const Vector *) detoasted;

				check_dim(layout, vector->dim, search);
				memcpy(value->x, vector->x, sizeof(float) * vector->dim);
				break;
			}
		case HNSW_TYPE_HALFVEC:
			{
				const HalfVector *vector = (const HalfVector *) detoasted;

				check_dim(layout, vector->dim, search);
				distance->half_to_float(vector->dim, vector->x, value->x);
				break;
			}
		case HNSW_TYPE_SPARSEVEC:
			{
				const SparseVector *vector = (const SparseVector *) detoasted;

				check_dim(layout, vector->dim, search);
				value->nnz = vector->nnz;
				memcpy(value->indices, vector->indices, sizeof(int32) * vector->nnz);
				memcpy(value->values, SPARSEVEC_VALUES(vector), sizeof(float) * vector->nnz);
				hnsw_sketch(layout, value->nnz, value->indices, value->values, value->x);
				break;
			}
		case HNSW_TYPE_BIT:
			{
				VarBit	   *bit = (VarBit *) detoasted;

				check_dim(layout, VARBITLEN(bit), search);
				for (int i = 0; i < layout->dim; i++)
					value->x[i] = (VARBITS(bit)[i / 8] >> (7 - i % 8)) & 1;
				break;
			}
	}
	if (detoasted != DatumGetPointer(datum))
		pfree(detoasted);
}

/* Length of a vector, in double precision: float32 squares may overflow. */
double
hnsw_value_length(const HnswLayout *layout, const HnswValue *value)
{
	bool		sparse = layout->type == HNSW_TYPE_SPARSEVEC;
	const float *x = sparse ? value->values : value->x;
	int			n = sparse ? value->nnz : layout->dim;
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double) x[i] * x[i];
	return sqrt(sum);
}

/* Has this value a place in the graph?  Zero vectors have no direction. */
bool
hnsw_value_indexable(const HnswLayout *layout, const HnswValue *value)
{
	return !layout->space->unit || hnsw_value_length(layout, value) > 0;
}

/* Bytes that hnsw_value_pack will write, a multiple of 4. */
Size
hnsw_value_pack_size(const HnswLayout *layout, const HnswValue *value)
{
	switch (layout->type)
	{
		case HNSW_TYPE_SPARSEVEC:
			return INTALIGN(PACKED_SPARSE_SIZE(value->nnz));
		case HNSW_TYPE_BIT:
			return INTALIGN((layout->dim + 7) / 8);
		default:
			return INTALIGN((layout->remote ? sizeof(float) : sizeof(half)) * layout->dim);
	}
}

/* How far rounded values, once scaled, are from the exact ones; rounded up. */
static float
rounding_error(const HnswLayout *layout, int n, const float *x, const half *rounded, float scale)
{
	double		sum = 0;

	for (int i = 0; i < n; i += 64)
	{
		float		floats[64];
		int			count = Min(64, n - i);

		distance->half_to_float(count, rounded + i, floats);
		for (int j = 0; j < count; j++)
		{
			double		d = fabs((double) x[i + j] - (double) floats[j] * scale);

			sum += layout->space->absolute ? d : d * d;
		}
	}
	return Min((layout->space->absolute ? sum : sqrt(sum)) * 1.00001, FLT_MAX);
}

/*
 * Pack a value for the time of a build: equal values have equal bytes.
 * Returns how far the packed value is from the value.
 */
float
hnsw_value_pack(const HnswLayout *layout, const HnswValue *value, char *packed, float *scale)
{
	*scale = 1;
	memset(packed, 0, hnsw_value_pack_size(layout, value));
	switch (layout->type)
	{
		case HNSW_TYPE_SPARSEVEC:
			{
				PackedSparse *sparse = (PackedSparse *) packed;

				sparse->nnz = value->nnz;
				memcpy(sparse->indices, value->indices, sizeof(int32) * value->nnz);
				scalar_encode_half(value->nnz, value->values, PACKED_SPARSE_VALUES(sparse), scale);
				return rounding_error(layout, value->nnz, value->values,
									  PACKED_SPARSE_VALUES(sparse), *scale);
			}
		case HNSW_TYPE_BIT:
			hnsw_own_bits(layout, value->x, (uint8 *) packed);
			return 0;
		default:
			if (layout->remote)
			{
				for (int i = 0; i < layout->dim; i++)
					((float *) packed)[i] = value->x[i] + 0.0f;	/* -0 is 0 */
				return 0;
			}
			scalar_encode_half(layout->dim, value->x, (half *) packed, scale);
			return rounding_error(layout, layout->dim, value->x, (half *) packed, *scale);
	}
}

/* A packed sparse vector: returns the number of its elements. */
int
hnsw_packed_sparse(const char *packed, float scale, const int32 **indices, float *values)
{
	const PackedSparse *sparse = (const PackedSparse *) packed;

	int			nnz = sparse->nnz;

	*indices = sparse->indices;
	distance->half_to_float(nnz, PACKED_SPARSE_VALUES(sparse), values);
	for (int i = 0; i < nnz && scale != 1; i++)
		values[i] *= scale;
	return nnz;
}

void
hnsw_value_unpack(const HnswLayout *layout, const char *packed, float scale, HnswValue *value)
{
	switch (layout->type)
	{
		case HNSW_TYPE_SPARSEVEC:
			{
				const int32 *indices;

				value->nnz = hnsw_packed_sparse(packed, scale, &indices, value->values);
				memcpy(value->indices, indices, sizeof(int32) * value->nnz);
				hnsw_sketch(layout, value->nnz, value->indices, value->values, value->x);
				break;
			}
		case HNSW_TYPE_BIT:
			for (int i = 0; i < layout->dim; i++)
				value->x[i] = ((uint8) packed[i / 8] >> (7 - i % 8)) & 1;
			break;
		default:
			if (layout->remote)
			{
				memcpy(value->x, packed, sizeof(float) * layout->dim);
				break;
			}
			distance->half_to_float(layout->dim, (const half *) packed, value->x);
			for (int i = 0; i < layout->dim; i++)
				value->x[i] *= scale;
			break;
	}
}
