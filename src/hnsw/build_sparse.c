/*-------------------------------------------------------------------------
 *
 * build_sparse.c
 *		CREATE INDEX: distances of loaded sparse vectors.
 *
 * Sketches say which rows may be near each other, but are too rough to tell
 * the nearest ones in order, or which of them are near each other.  So
 * candidates are compared by their elements: those of one row are spread over
 * a table by position, and the others look up theirs.  In columns of more
 * dimensions than the table has places, positions are hashed: that makes a
 * sketch again, but a hundred times as long.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"

#include "common/hashfn.h"
#include "type/sparsevec.h"

/* Places of the table, a power of two */
#define TABLE_SIZE 65536

/* Greater than any distance that matters; sums of norms stay below 2^31. */
#define MAX_DISTANCE (PG_INT32_MAX / 2)

struct BuildSparse
{
	const HnswLayout *layout;
	const HnswIndex *index;
	const BuildChunk *chunk;
	int			stride;
	double		unit;			/* squared length that codes call 1 */
	/* the row in the table */
	uint32		row;
	int			nnz;
	uint16	   *places;
	float	   *table;
	double		norm;			/* its squared length */
	double		stretch;		/* by so many times it is as long in the graph */
	/* room for another row's values, and for the first one's at its places */
	float	   *values;
	float	   *found;
};

static inline uint16
place_of(const BuildSparse *sparse, int32 index)
{
	return sparse->layout->column_dim <= TABLE_SIZE ? index :
		murmurhash32((uint32) index) & (TABLE_SIZE - 1);
}

/* Decode a row to sparse->values; returns how many there are. */
static inline int
decode(BuildSparse *sparse, uint32 row, const int32 **indices)
{
	const BuildRow *r = &sparse->chunk->rows[row];

	return hnsw_packed_sparse(sparse->chunk->data + r->packed, r->scale, indices, sparse->values);
}

/* Put a row into the table. */
static void
load(BuildSparse *sparse, uint32 row)
{
	const int32 *indices;

	for (int i = 0; i < sparse->nnz; i++)
		sparse->table[sparse->places[i]] = 0;
	sparse->row = row;
	sparse->norm = 0;
	sparse->nnz = decode(sparse, row, &indices);
	for (int i = 0; i < sparse->nnz; i++)
	{
		double		x = sparse->values[i];

		sparse->places[i] = place_of(sparse, indices[i]);
		sparse->table[sparse->places[i]] += sparse->values[i];
		sparse->norm += x * x;
	}
	sparse->stretch = build_stretch(sparse->index, sparse->norm);
}

/* The squared distance of the row in the table from another, as the graph sees it. */
static double
graph_distance(BuildSparse *sparse, uint32 other)
{
	const HnswLayout *layout = sparse->layout;
	const int32 *indices;
	int			n = decode(sparse, other, &indices);
	const float *table = sparse->table;
	float	   *found = sparse->found;
	double		dot;
	double		norm;
	double		stretch;
	double		extra;
	double		squared = sparse->norm * sparse->stretch * sparse->stretch;

	if (layout->column_dim <= TABLE_SIZE)
		for (int i = 0; i < n; i++)
			found[i] = table[indices[i]];
	else
		for (int i = 0; i < n; i++)
			found[i] = table[place_of(sparse, indices[i])];
	dot = distance->ip(n, found, sparse->values);
	norm = distance->normsq(n, sparse->values);
	if (layout->space->unit)
		return 2 - 2 * dot / sqrt(sparse->norm * norm);
	if (!layout->space->lifted)
		return sparse->norm + norm - 2 * dot;
	stretch = build_stretch(sparse->index, norm);
	norm *= stretch * stretch;
	dot *= stretch * sparse->stretch;
	extra = (double) hnsw_extra(sparse->index, squared) - hnsw_extra(sparse->index, norm);
	return squared + norm - 2 * dot + extra * extra;
}

/*
 * The squared distance of two rows in the unit of their codes, for the partition
 * builder.  It is cheap to ask for one "a" with many "b".  Of guests there are
 * only the codes.
 */
int32
build_sparse_distance(void *arg, uint32 a, uint32 b)
{
	BuildSparse *sparse = arg;
	double		d;

	if (a >= sparse->chunk->n || b >= sparse->chunk->n)
	{
		const int8 *va = sparse->chunk->codes + (Size) a * sparse->stride;
		const int8 *vb = sparse->chunk->codes + (Size) b * sparse->stride;

		return distance->i8_l2sq(sparse->stride, va, vb);
	}
	if (a != sparse->row)
		load(sparse, a);
	d = graph_distance(sparse, b) / sparse->unit;
	/* also if it is not a number */
	return d < MAX_DISTANCE ? (int32) Max(d, 0) : MAX_DISTANCE;
}

/*
 * Distances of a chunk's rows; NULL if their codes are as good, or better as by
 * L1, whose sketches have no signs.
 */
BuildSparse *
build_sparse_create(const BuildState *state, const BuildChunk *chunk)
{
	const HnswLayout *layout = &state->layout;
	double		step = state->step;
	BuildSparse *sparse;

	if (layout->type != HNSW_TYPE_SPARSEVEC || layout->dim == layout->column_dim ||
		layout->space->absolute || !(step > 0))
		return NULL;
	sparse = palloc0(sizeof(BuildSparse));
	sparse->layout = layout;
	sparse->index = state->index;
	sparse->chunk = chunk;
	sparse->stride = state->stride;
	sparse->unit = step * step;
	sparse->row = PG_UINT32_MAX;
	sparse->places = palloc(sizeof(uint16) * SPARSEVEC_MAX_NNZ);
	sparse->table = palloc0(sizeof(float) * TABLE_SIZE);
	sparse->values = palloc(sizeof(float) * SPARSEVEC_MAX_NNZ);
	sparse->found = palloc(sizeof(float) * SPARSEVEC_MAX_NNZ);
	return sparse;
}

void
build_sparse_free(BuildSparse *sparse)
{
	if (sparse == NULL)
		return;
	pfree(sparse->places);
	pfree(sparse->table);
	pfree(sparse->values);
	pfree(sparse->found);
	pfree(sparse);
}
