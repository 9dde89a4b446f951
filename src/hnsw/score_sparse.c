/*-------------------------------------------------------------------------
 *
 * score_sparse.c
 *		Distances of a sparse query from nodes' sparse vectors.
 *
 * A query looks up its value at each position of the node's vector: in an
 * array over all positions if the column has few dimensions, else in a hash
 * table.  Positions that only the query has come in through its norm:
 *
 *	sum (q - x)^2 = sum q^2 + sum over the node's elements of x (x - 2 q)
 *	sum |q - x|   = sum |q| + sum over the node's elements of |q - x| - |q|
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/value.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

/* Columns of at most so many dimensions get an array over all positions. */
#define MAX_TABLE 65536

HnswSparseQuery *
hnsw_sparse_create(const HnswLayout *layout)
{
	HnswSparseQuery *sparse = palloc0(sizeof(HnswSparseQuery));

	sparse->positions = palloc(sizeof(int32) * Max(layout->elements, 1));
	sparse->x = palloc(sizeof(float) * Max(layout->elements, 1));
	sparse->found = palloc(sizeof(float) * Max(layout->elements, 1));
	if (layout->column_dim <= MAX_TABLE)
		sparse->table = palloc0(sizeof(float) * layout->column_dim);
	return sparse;
}

static void
reserve(HnswSparseQuery *sparse, int nnz)
{
	MemoryContext context = GetMemoryChunkContext(sparse);

	if (nnz <= sparse->capacity)
		return;
	/* Queries of a nested loop may be longer and longer: double it. */
	sparse->capacity = Max(Max(nnz, 256), Min(sparse->capacity, PG_INT32_MAX / 8) * 2);
	if (sparse->indices != NULL)
		pfree(sparse->indices);
	if (sparse->values != NULL)
		pfree(sparse->values);
	sparse->indices = MemoryContextAlloc(context, sizeof(int32) * sparse->capacity);
	sparse->values = MemoryContextAlloc(context, sizeof(float) * sparse->capacity);
	if (sparse->table == NULL)
	{
		uint32		size = 1;

		while (size < 4 * (uint32) sparse->capacity)
			size *= 2;
		if (sparse->slots != NULL)
			pfree(sparse->slots);
		sparse->slots = MemoryContextAlloc(context, sizeof(uint32) * size);
		sparse->mask = size - 1;
	}
}

/* Set the query: its elements, times a factor. */
void
hnsw_sparse_set(const HnswLayout *layout, HnswSparseQuery *sparse, const HnswValue *value,
				double factor)
{
	for (int i = 0; i < sparse->nnz && sparse->table != NULL; i++)
		sparse->table[sparse->indices[i]] = 0;
	reserve(sparse, value->nnz);
	if (sparse->slots != NULL)
		memset(sparse->slots, 0, sizeof(uint32) * (sparse->mask + 1));

	sparse->nnz = value->nnz;
	sparse->norm = 0;
	for (int i = 0; i < value->nnz; i++)
	{
		int32		index = value->indices[i];
		float		x = (float) (value->values[i] * factor);

		sparse->indices[i] = index;
		sparse->values[i] = x;
		sparse->norm += layout->space->absolute ? fabs(x) : (double) x * x;
		if (sparse->table != NULL)
			sparse->table[index] = x;
		else
		{
			uint32		slot = murmurhash32(index) & sparse->mask;

			while (sparse->slots[slot] != 0)
				slot = (slot + 1) & sparse->mask;
			sparse->slots[slot] = i + 1;
		}
	}
}

/* The query's value at a position. */
static inline float
value_at(const HnswSparseQuery *sparse, int32 index)
{
	if (sparse->slots == NULL)
		return 0;
	for (uint32 slot = murmurhash32(index) & sparse->mask; sparse->slots[slot] != 0;
		 slot = (slot + 1) & sparse->mask)
	{
		uint32		i = sparse->slots[slot] - 1;

		if (sparse->indices[i] == index)
			return sparse->values[i];
	}
	return 0;
}

/* The node's elements, and the query's value at the position of each */
static inline int
node_elements(const HnswLayout *layout, const HnswSparseQuery *sparse,
			  const HnswNodeHeaderData *node)
{
	int			n = hnsw_own_sparse(layout, node, sparse->positions, sparse->x);

	for (int i = 0; i < n; i++)
	{
		uint32		index = (uint32) sparse->positions[i];

		if (sparse->table == NULL)
			sparse->found[i] = value_at(sparse, (int32) index);
		else
			sparse->found[i] = index < (uint32) layout->column_dim ? sparse->table[index] : 0;
	}
	return n;
}

/* The inner product with a node's vector. */
double
hnsw_sparse_ip(const HnswLayout *layout, const HnswSparseQuery *sparse,
			   const HnswNodeHeaderData *node)
{
	int			n = node_elements(layout, sparse, node);
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double) sparse->found[i] * sparse->x[i];
	return sum;
}

/* The squared Euclidean distance to a node's vector. */
double
hnsw_sparse_l2sq(const HnswLayout *layout, const HnswSparseQuery *sparse,
				 const HnswNodeHeaderData *node)
{
	int			n = node_elements(layout, sparse, node);
	double		sum = 0;

	for (int i = 0; i < n; i++)
	{
		double		x = sparse->x[i];

		sum += x * (x - 2 * (double) sparse->found[i]);
	}
	return Max(sum + sparse->norm, 0);
}

/* The L1 distance to a node's vector. */
double
hnsw_sparse_l1(const HnswLayout *layout, const HnswSparseQuery *sparse,
			   const HnswNodeHeaderData *node)
{
	int			n = node_elements(layout, sparse, node);
	double		sum = 0;

	for (int i = 0; i < n; i++)
	{
		double		q = sparse->found[i];

		sum += fabs(q - sparse->x[i]) - fabs(q);
	}
	return Max(sum + sparse->norm, 0);
}
