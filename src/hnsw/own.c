/*-------------------------------------------------------------------------
 *
 * own.c
 *		A node's own vector: what is stored of a row's value.
 *
 * Each kind bounds how far the stored vector is from the true one, in the
 * space of the graph and the metric's norm; from this the scan tells which
 * rows' places are certain.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/value.h"

/* Rounding of sums in double, and of the float that own_error compares. */
#define ERROR_SLACK 1.000001

/* A bound of this as a float: not below it, and FLT_MAX if there is none. */
static float
round_up(double bound)
{
	float		result = (float) Min(bound, FLT_MAX);

	if (!(bound < FLT_MAX))
		return FLT_MAX;
	return result < bound ? nextafterf(result, FLT_MAX) : result;
}

/* How far the stored vector is from x, in the metric's norm, rounded up. */
static float
own_error(const HnswLayout *layout, int n, const float *x, const float *stored)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
	{
		double		d = (double) x[i] - stored[i];

		sum += layout->space->absolute ? fabs(d) : d * d;
	}
	if (!layout->space->absolute)
		sum = sqrt(sum);
	return round_up(sum * ERROR_SLACK);
}

/*
 * Scale int8 components, whose squared length this is, to the length of x.  By inner
 * product the key is the difference of a squared distance and squared lengths.  Of a row
 * that is much longer than queries, it would be mostly the difference of its length and
 * that of the stored vector.
 */
static void
keep_length(int n, const float *x, double square, float *scale)
{
	double		norm = 0;
	float		kept;

	for (int i = 0; i < n; i++)
		norm += (double) x[i] * x[i];
	kept = square > 0 ? (float) sqrt(norm / square) : 0;
	if (kept > FLT_MIN && kept < FLT_MAX / 128)
		*scale = kept;
}

/*
 * int8 of the rotated, centred vector.  The error is from the rotated vector as
 * float32; what its rotation is off by, bounds.c adds.  own_norm goes into keys
 * as it is, so it is a sum without rounding.
 */
static void
encode_int8(const HnswIndex *index, const float *prepared, HnswOwn *own)
{
	int			n = index->layout.out_dim;
	float	   *target = palloc(sizeof(float) * n);
	float	   *stored = palloc(sizeof(float) * n);
	double		square;

	hnsw_rotate_only(index, prepared, target);
	scalar_encode_int8(n, target, (int8 *) own->data, &own->scale);
	square = distance->i8_dot(n, (int8 *) own->data, (int8 *) own->data);
	if (index->layout.space->lifted)
		keep_length(n, target, square, &own->scale);
	distance->i8_to_float(n, (int8 *) own->data, own->scale, stored);
	own->own_norm = (float) ((double) own->scale * own->scale * square);
	own->error = own_error(&index->layout, n, target, stored);
	pfree(target);
	pfree(stored);
}

/*
 * Four bits of the rotated, centred vector, scaled so that products with it
 * are unbiased (RaBitQ's estimate): own_norm is the true squared length, as if
 * it were stored.  The error bound is of the stored vector nevertheless.
 */
static void
encode_int4(const HnswIndex *index, const float *prepared, HnswOwn *own)
{
	int			n = index->layout.out_dim;
	float	   *target = palloc(sizeof(float) * n);
	float	   *stored = palloc(sizeof(float) * n);

	hnsw_rotate_only(index, prepared, target);
	own->scale = scalar_encode_int4(n, target, (uint8 *) own->data);
	distance->i4_to_float(n, (uint8 *) own->data, own->scale, stored);
	own->own_norm = distance->normsq(n, target);
	own->error = own_error(&index->layout, n, target, stored);
	pfree(target);
	pfree(stored);
}

/*
 * binary16 of n values.  For cosine the values themselves are stored, and
 * their length goes into the scale: what binary16 holds exactly then stays
 * exact.  So the error is counted from these values, not from the prepared
 * vector, which was rounded itself.
 */
static void
encode_half(const HnswIndex *index, int n, const float *x, float length, half *h, HnswOwn *own)
{
	float	   *target = palloc(sizeof(float) * n);
	float	   *stored = palloc(sizeof(float) * n);

	scalar_encode_half(n, x, h, &own->scale);
	own->scale /= length;
	distance->half_to_float(n, h, stored);
	for (int i = 0; i < n; i++)
	{
		stored[i] *= own->scale;
		target[i] = x[i] / length;
	}
	own->own_norm = own->norm;
	own->error = own_error(&index->layout, n, target, stored);
	pfree(target);
	pfree(stored);
}

/* Bits of a vector of 0 and 1, the first one highest, as in type bit. */
void
hnsw_own_bits(const HnswLayout *layout, const float *x, uint8 *bits)
{
	memset(bits, 0, (layout->dim + 7) / 8);
	for (int i = 0; i < layout->dim; i++)
		bits[i / 8] |= (x[i] != 0) << (7 - i % 8);
}

typedef struct Element
{
	int32		index;
	float		value;
} Element;

static int
compare_sizes(const void *a, const void *b)
{
	const Element *x = a;
	const Element *y = b;

	if (fabsf(x->value) != fabsf(y->value))
		return fabsf(x->value) > fabsf(y->value) ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static int
compare_positions(const void *a, const void *b)
{
	const Element *x = a;
	const Element *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

/*
 * The largest elements of a sparse vector, as many as there is room for, by
 * position.  The others count as error.
 */
static void
encode_sparse(const HnswIndex *index, const HnswValue *value, float length, HnswOwn *own)
{
	const HnswLayout *layout = &index->layout;
	int			n = Min(value->nnz, layout->elements);
	Element    *elements = palloc(sizeof(Element) * Max(value->nnz, 1));
	float	   *values = palloc(sizeof(float) * Max(n, 1));
	half	   *h = (half *) (own->data + layout->elements * layout->index_size);
	double		rest = 0;

	for (int i = 0; i < value->nnz; i++)
	{
		elements[i].index = value->indices[i];
		elements[i].value = value->values[i];
	}
	if (n < value->nnz)
	{
		qsort(elements, value->nnz, sizeof(Element), compare_sizes);
		for (int i = n; i < value->nnz; i++)
		{
			double		x = fabs((double) elements[i].value / length);

			rest += layout->space->absolute ? x : x * x;
		}
		qsort(elements, n, sizeof(Element), compare_positions);
	}

	memset(own->data, 0, layout->own_size);
	for (int i = 0; i < n; i++)
	{
		if (layout->index_size == sizeof(uint16))
			((uint16 *) own->data)[i] = (uint16) elements[i].index;
		else
			((int32 *) own->data)[i] = elements[i].index;
		values[i] = elements[i].value;
	}
	own->nnz = n;
	encode_half(index, n, values, length, h, own);
	if (layout->space->absolute)
		own->error = round_up((own->error + rest) * ERROR_SLACK);
	else
		own->error = round_up(sqrt((double) own->error * own->error + rest) * ERROR_SLACK);
	pfree(elements);
	pfree(values);
}

/*
 * Encode a row's value (as the column has it) for its node.  own->data must
 * have room for own_size bytes.
 */
void
hnsw_own_encode(const HnswIndex *index, const HnswValue *value, HnswOwn *own)
{
	const HnswLayout *layout = &index->layout;
	bool		unit = layout->space->unit;
	float	   *prepared = palloc(sizeof(float) * layout->dim);
	double		length = hnsw_value_length(layout, value);
	float		divisor = unit ? (float) length : 1;

	own->nnz = 0;
	(void) hnsw_prepare(index, value->x, prepared);
	own->norm = unit ? distance->normsq(layout->dim, prepared) : (float) (length * length);
	switch (layout->own_kind)
	{
		case HNSW_OWN_INT8:
			encode_int8(index, prepared, own);
			break;
		case HNSW_OWN_INT4:
			encode_int4(index, prepared, own);
			break;
		case HNSW_OWN_HALF:
			encode_half(index, layout->dim, value->x, divisor, (half *) own->data, own);
			break;
		case HNSW_OWN_BITS:
			hnsw_own_bits(layout, value->x, (uint8 *) own->data);
			own->scale = 1;
			own->own_norm = own->norm;
			own->error = 0;
			break;
		case HNSW_OWN_SPARSE:
			own->norm = unit ? 1 : (float) Min(length * length, FLT_MAX);
			encode_sparse(index, value, divisor, own);
			break;
	}
	if (unit && !hnsw_cosine_is_precise(length))
		own->error = FLT_MAX;
	if (!(own->error < FLT_MAX))
		own->error = FLT_MAX;
	pfree(prepared);
}

/*
 * Encode the own vector of a row that a build packed.  error is how far the packed
 * value is from the row's.
 */
void
hnsw_own_encode_packed(const HnswIndex *index, const char *packed, float scale, float error,
					   HnswValue *value, HnswOwn *own)
{
	double		more = error;

	hnsw_value_unpack(&index->layout, packed, scale, value);
	hnsw_own_encode(index, value, own);
	if (index->layout.space->unit)
		more /= hnsw_value_length(&index->layout, value);
	own->error = round_up(own->error + more);
}

/*
 * The error of a node that takes one more row, with the same stored vector.
 * int8 keys by inner product have the node's norm in them, which is another
 * row's: twice the square of the error covers that, too (bounds.c).
 */
float
hnsw_own_shared_error(const HnswLayout *layout, const HnswNodeHeaderData *node,
					  const HnswOwn *own)
{
	double		error = own->error;

	if (layout->own_kind == HNSW_OWN_INT8)
		error = Max(error, sqrt((error * error + fabs((double) own->norm - node->norm)) / 2));
	return Max(node->error, round_up(error));
}

/*
 * Encode a row's value in both ways in which nodes may have it.  "unpacked" is room
 * for a value; takes memory for the result.
 */
void
hnsw_stored_make(const HnswIndex *index, const HnswValue *value, HnswValue *unpacked,
				 HnswStored *stored)
{
	const HnswLayout *layout = &index->layout;
	char	   *packed = palloc(hnsw_value_pack_size(layout, value));
	float		scale;
	float		error;

	stored->inserted.data = palloc0(layout->own_size);
	hnsw_own_encode(index, value, &stored->inserted);
	error = hnsw_value_pack(layout, value, packed, &scale);
	stored->built.data = palloc0(layout->own_size);
	hnsw_own_encode_packed(index, packed, scale, error, unpacked, &stored->built);
	pfree(packed);
}

/* Is this the node's own vector? */
static inline bool
is_own(const HnswLayout *layout, const HnswNodeHeaderData *node, const HnswOwn *own)
{
	return node->scale == own->scale &&
		memcmp(HnswNodeOwn(layout, node), own->data, layout->own_size) == 0;
}

/* In which way has the node a row's value as its own vector?  NULL: it has another. */
const HnswOwn *
hnsw_stored_as(const HnswLayout *layout, const HnswNodeHeaderData *node, const HnswStored *stored)
{
	if (is_own(layout, node, &stored->inserted))
		return &stored->inserted;
	return is_own(layout, node, &stored->built) ? &stored->built : NULL;
}

/* The elements of a node's sparse vector; returns how many. */
int
hnsw_own_sparse(const HnswLayout *layout, const HnswNodeHeaderData *node, int32 *indices,
				float *values)
{
	const char *own = HnswNodeOwn(layout, node);
	int			n = Min(node->nnz, layout->elements);

	if (layout->index_size == sizeof(uint16))
		for (int i = 0; i < n; i++)
			indices[i] = ((const uint16 *) own)[i];
	else
		memcpy(indices, own, sizeof(int32) * n);
	distance->half_to_float(n, (const half *) (own + layout->elements * layout->index_size), values);
	for (int i = 0; i < n; i++)
		values[i] *= node->scale;
	return n;
}

/* The same; no position is outside of the column's, whatever a damaged page says. */
int
hnsw_own_elements(const HnswLayout *layout, const HnswNodeHeaderData *node, int32 *indices,
				  float *values)
{
	int			n = hnsw_own_sparse(layout, node, indices, values);

	for (int i = 0; i < n; i++)
		if (indices[i] < 0 || indices[i] >= layout->column_dim)
			indices[i] = 0;
	return n;
}

/*
 * A node's own vector as floats: int8 and 4-bit ones are rotated and centred
 * (out_dim values), others are as they are, or sketched (dim values).
 */
void
hnsw_own_decode(const HnswIndex *index, const HnswNodeHeaderData *node, float *out)
{
	const HnswLayout *layout = &index->layout;
	const char *own = HnswNodeOwn(layout, node);

	switch (layout->own_kind)
	{
		case HNSW_OWN_INT8:
			distance->i8_to_float(layout->out_dim, (const int8 *) own, node->scale, out);
			break;
		case HNSW_OWN_INT4:
			distance->i4_to_float(layout->out_dim, (const uint8 *) own, node->scale, out);
			break;
		case HNSW_OWN_HALF:
			distance->half_to_float(layout->dim, (const half *) own, out);
			for (int i = 0; i < layout->dim; i++)
				out[i] *= node->scale;
			break;
		case HNSW_OWN_BITS:
			for (int i = 0; i < layout->dim; i++)
				out[i] = ((uint8) own[i / 8] >> (7 - i % 8)) & 1;
			break;
		case HNSW_OWN_SPARSE:
			{
				int32	   *indices = palloc(sizeof(int32) * Max(layout->elements, 1));
				float	   *values = palloc(sizeof(float) * Max(layout->elements, 1));
				int			n = hnsw_own_elements(layout, node, indices, values);

				hnsw_sketch(layout, n, indices, values, out);
				pfree(indices);
				pfree(values);
				break;
			}
	}
}

/*
 * A decoded vector rotated and centred (and projected), as codes are made from
 * it; itself if it is that already, or if the index has no codes.
 */
const float *
hnsw_rotated(const HnswIndex *index, const float *vector)
{
	const HnswLayout *layout = &index->layout;
	float	   *rotated;

	if (layout->code.units == 0 || (hnsw_own_rotated(layout) && !layout->projected))
		return vector;
	rotated = palloc(sizeof(float) * hnsw_rotated_length(layout));
	if (hnsw_own_rotated(layout))
	{
		memcpy(rotated, vector, sizeof(float) * layout->out_dim);
		hnsw_project(index, rotated);
	}
	else
		hnsw_rotate(index, vector, rotated);
	return rotated;
}

/*
 * How far a sparse value is from a node's own vector: elements that are not stored count,
 * too.
 */
static double
sparse_distance(const HnswLayout *layout, const HnswNodeHeaderData *node, const HnswValue *value,
				double length)
{
	int32	   *indices = palloc(sizeof(int32) * Max(layout->elements, 1));
	float	   *values = palloc(sizeof(float) * Max(layout->elements, 1));
	int			n = hnsw_own_sparse(layout, node, indices, values);
	double		sum = 0;

	for (int i = 0, j = 0; i < value->nnz || j < n;)
	{
		double		d = 0;
		int32		at = Min(i < value->nnz ? value->indices[i] : PG_INT32_MAX,
							 j < n ? indices[j] : PG_INT32_MAX);

		if (i < value->nnz && value->indices[i] == at)
			d += value->values[i++] / (float) length;
		if (j < n && indices[j] == at)
			d -= values[j++];
		sum += layout->space->absolute ? fabs(d) : d * d;
	}
	pfree(indices);
	pfree(values);
	return layout->space->absolute ? sum : sqrt(sum);
}

/*
 * How far a node's own vector is from a row's value, in the norm of the node's error
 * bound.
 */
double
hnsw_own_distance(const HnswIndex *index, const HnswNodeHeaderData *node, const HnswValue *value)
{
	const HnswLayout *layout = &index->layout;
	double		length = layout->space->unit ? hnsw_value_length(layout, value) : 1;
	int			n = hnsw_vector_length(layout);
	float	   *target = palloc(sizeof(float) * n);
	float	   *stored = palloc(sizeof(float) * n);
	double		result;

	hnsw_own_decode(index, node, stored);
	if (layout->own_kind == HNSW_OWN_SPARSE)
		result = sparse_distance(layout, node, value, length);
	else
	{
		if (hnsw_own_rotated(layout))
		{
			float	   *prepared = palloc(sizeof(float) * layout->dim);

			(void) hnsw_prepare(index, value->x, prepared);
			hnsw_rotate_only(index, prepared, target);
			pfree(prepared);
		}
		else
			for (int i = 0; i < n; i++)
				target[i] = value->x[i] / (float) length;
		result = own_error(layout, n, target, stored);
	}
	pfree(target);
	pfree(stored);
	return result;
}
