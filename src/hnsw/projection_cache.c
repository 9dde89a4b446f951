/*-------------------------------------------------------------------------
 *
 * projection_cache.c
 *		The projections that this backend has at hand.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/open.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

/* Bytes of projections that no open index uses and are kept all the same */
#define KEPT_BYTES (32 * 1024 * 1024)

/* A projection in this backend's memory. */
typedef struct CachedProjection
{
	dlist_node	node;
	uint64		seed;			/* of the index: random, so it is a name */
	int			users;			/* open indexes */
	Size		size;
	HnswProjectionData *data;
} CachedProjection;

static dlist_head cached = DLIST_STATIC_INIT(cached);

/* Forget projections that nobody uses, oldest first, while there are too many. */
static void
trim_cache(void)
{
	dlist_mutable_iter iter;
	Size		size = 0;

	dlist_foreach_modify(iter, &cached)
	{
		CachedProjection *entry = dlist_container(CachedProjection, node, iter.cur);

		size += entry->size;
		if (size <= KEPT_BYTES || entry->users > 0)
			continue;
		size -= entry->size;
		dlist_delete(&entry->node);
		pfree(entry->data);
		pfree(entry);
	}
}

/* Called when the memory of an open index goes. */
static void
release_projection(void *arg)
{
	((CachedProjection *) arg)->users--;
}

static CachedProjection *
load_projection(Relation rel, const HnswProjectionName *name, int width)
{
	Size		size = offsetof(HnswProjectionData, matrix) + projection_size(name->dims, width);
	HnswProjectionData *data = palloc(size);
	CachedProjection *entry;

	hnsw_projection_read(rel, name, width, data, size);
	trim_cache();
	entry = MemoryContextAllocZero(TopMemoryContext, sizeof(CachedProjection));
	entry->seed = name->seed;
	entry->size = size;
	entry->data = MemoryContextAlloc(TopMemoryContext, size);
	memcpy(entry->data, data, size);
	dlist_push_head(&cached, &entry->node);
	pfree(data);
	return entry;
}

/*
 * Get a projection of an index.  It stays until the current memory context
 * goes.
 */
void
hnsw_projection_open(HnswIndex *index, const HnswProjectionName *name, Projection *projection)
{
	CachedProjection *entry = NULL;
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	dlist_iter	iter;

	dlist_foreach(iter, &cached)
	{
		CachedProjection *other = dlist_container(CachedProjection, node, iter.cur);

		if (other->seed == name->seed && other->data->dims == name->dims &&
			other->data->stride == projection_stride(index->layout.out_dim))
		{
			entry = other;
			break;
		}
	}
	if (entry == NULL)
		entry = load_projection(index->rel, name, index->layout.out_dim);
	else
		dlist_move_head(&cached, &entry->node);
	entry->users++;
	callback->func = release_projection;
	callback->arg = entry;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);

	projection->width = index->layout.out_dim;
	projection->step = entry->data->step;
	projection->range = entry->data->range;
	projection->matrix = entry->data->matrix;
	projection->dims = entry->data->dims;
}
