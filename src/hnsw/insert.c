/*-------------------------------------------------------------------------
 *
 * insert.c
 *		Insertion of one row into the page graph.
 *
 * Inserts hold the update lock of the index in share mode, and vacuum takes
 * it exclusively between marking nodes and freeing them: so a node that an
 * insert has seen alive is not reused before the insert is done.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"
#include "hnsw/hnsw.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Nearest nodes that are looked at for an equal vector */
#define DUPLICATE_CANDIDATES 4

/* Neighbours that link back to a new node */
#define BACK_LINKS(degree) ((degree) / 2)

/* Width of the search for an equal vector, which comes first */
#define DUPLICATE_WIDTH 8

/*
 * A row is an outlier if it is so many times as far from the nearest node as
 * that is from so many of those that are found near it; the width of its
 * search, in that of others.
 */
#define OUTLIER_FACTOR 2
#define OUTLIER_RANK 3
#define OUTLIER_SAMPLE 32
#define OUTLIER_WIDTH 4

/* The nodes that are new at one level, and their links to be. */
typedef struct InsertLevel
{
	int			n;
	HnswNeighbour *neighbours;	/* n chosen ones */
	int			nkept;
	HnswNodeId	id;
} InsertLevel;

/* Make an inserter in the current memory context. */
HnswInserter *
hnsw_inserter_create(HnswIndex *index)
{
	HnswInserter *inserter = palloc0(sizeof(HnswInserter));

	inserter->index = index;
	inserter->query = hnsw_query_create(index);
	inserter->value = hnsw_value_create(&index->layout);
	inserter->search = hnsw_search_create(index, inserter->query);
	inserter->search->keep_vectors = true;
	inserter->context = AllocSetContextCreate(CurrentMemoryContext, "hnsw insert",
											  ALLOCSET_DEFAULT_SIZES);
	return inserter;
}

/*
 * At the end of the statement, keep the memory of its search for the next one;
 * but not after an error in the middle of it.
 */
static void
end_inserts(void *arg)
{
	HnswInserter *inserter = arg;

	if (inserter->busy)
		MemoryContextDelete(inserter->search->context);
	else
		hnsw_search_free(inserter->search);
}

static inline int
compare_neighbours(const HnswNeighbour *x, const HnswNeighbour *y)
{
	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

#define ST_SORT sort_neighbours
#define ST_ELEMENT_TYPE HnswNeighbour
#define ST_COMPARE(x, y) compare_neighbours(x, y)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * What the search has found, as possible neighbours sorted by distance from
 * the query; "self" and dying nodes are left out.  neighbours must have room
 * for search->nfound.
 */
int
hnsw_found_neighbours(HnswInserter *inserter, HnswNodeId self, float norm,
					  HnswNeighbour *neighbours)
{
	HnswSearch *search = inserter->search;
	const HnswIndex *index = inserter->index;
	int			length = hnsw_vector_length(&index->layout);
	int			n = 0;

	for (uint32 i = 0; i < search->nfound; i++)
	{
		const HnswFound *found = &search->found[i];
		HnswNeighbour *neighbour = &neighbours[n];

		if (found->dying || found->id == self)
			continue;
		neighbour->id = found->id;
		neighbour->norm = found->norm;
		neighbour->vector = search->vectors + (Size) i * length;
		neighbour->lsn = found->lsn;
		neighbour->distance = found->key;
		if (index->layout.metric == HNSW_IP)
		{
			float		extra = hnsw_extra(index, norm) - hnsw_extra(index, found->norm);

			neighbour->distance = Max(norm + found->norm + found->key, 0) + extra * extra;
		}
		n++;
	}
	sort_neighbours(neighbours, n);
	return n;
}

/* Does a node hold this vector, as far as the index can tell? */
static inline bool
same_vector(const HnswLayout *layout, const HnswNodeHeaderData *node, const HnswOwn *own)
{
	return node->flags == HNSW_NODE_USED && node->level == 0 && node->scale == own->scale &&
		memcmp(HnswNodeOwn(layout, node), own->data, layout->own_size) == 0;
}

/* If a node has the same vector, then the row is only one more heap TID of it. */
static bool
add_to_node(HnswInserter *inserter, const HnswOwn *own, HnswNodeId id, ItemPointer tid)
{
	HnswIndex  *index = inserter->index;
	const HnswLayout *layout = &index->layout;
	HnswRead	read;
	HnswWrite	write;
	bool		same;

	hnsw_read(index, id, &read);
	same = same_vector(layout, read.node, own);
	hnsw_read_end(&read);
	if (!same)
		return false;

	hnsw_write(index, id, &write);
	same = same_vector(layout, write.node, own);
	if (same)
	{
		write.node->error = hnsw_own_shared_error(layout, write.node, own);
		hnsw_tid_append(index, &write, tid);
	}
	hnsw_write_end(index, &write, same);
	return same;
}

/* Add the row to an equal one, if that is among the best that the search has found. */
static bool
insert_duplicate(HnswInserter *inserter, const HnswOwn *own, ItemPointer tid)
{
	HnswSearch *search = inserter->search;

	for (int i = 0; i < Min(search->npool, DUPLICATE_CANDIDATES); i++)
		if (add_to_node(inserter, own, search->candidates[search->pool[i].candidate].id, tid))
			return true;
	return false;
}

/* Choose the links of the new row at a level, from what the search found. */
static void
choose_links(HnswInserter *inserter, const HnswNeighbour *neighbours, int n, InsertLevel *level)
{
	const HnswLayout *layout = &inserter->index->layout;
	int			length = hnsw_vector_length(layout);
	int		   *chosen = palloc(sizeof(int) * layout->degree);

	level->n = hnsw_select(inserter->index, neighbours, n, layout->degree, chosen,
						   &level->nkept);
	level->neighbours = palloc(sizeof(HnswNeighbour) * Max(level->n, 1));
	for (int i = 0; i < level->n; i++)
	{
		float	   *vector = palloc(sizeof(float) * length);

		/* The search's vectors do not outlive the next level's search. */
		memcpy(vector, neighbours[chosen[i]].vector, sizeof(float) * length);
		level->neighbours[i] = neighbours[chosen[i]];
		level->neighbours[i].vector = vector;
		level->neighbours[i].rotated = hnsw_rotated(inserter->index, vector);
	}
	pfree(chosen);
}

static bool
has_room(HnswIndex *index, HnswNodeId id)
{
	HnswRead	read;
	bool		result;

	hnsw_read(index, id, &read);
	result = read.node->nlinks < index->layout.degree;
	hnsw_read_end(&read);
	return result;
}

/* Write the new node of a level, and link its neighbours to it. */
static void
write_level(HnswInserter *inserter, const HnswOwn *own, ItemPointer tid, InsertLevel *levels,
			int at)
{
	HnswIndex  *index = inserter->index;
	const HnswLayout *layout = &index->layout;
	InsertLevel *level = &levels[at];
	HnswWrite	write;
	HnswNeighbour self = {0};
	HnswNodeId	links[HNSW_MAX_DEGREE];
	HnswLink later[BACK_LINKS(HNSW_MAX_DEGREE)];
	int			nlater = 0;
	int			nback = 0;

	self.norm = own->norm;
	self.vector = hnsw_query_vector(index, inserter->query);
	self.rotated = inserter->query->rotated;
	level->id = hnsw_allocate(index, at > 0, &write);
	hnsw_node_init(index, write.node, at, own);
	if (at == 0)
		hnsw_tid_append(index, &write, tid);
	else
		write.node->below = levels[at - 1].id;
	for (int i = 0; i < level->n; i++)
		hnsw_set_link(index, write.node, i, &level->neighbours[i], self.rotated, i < level->nkept);
	hnsw_write_end(index, &write, true);

	self.id = level->id;
	self.links = links;
	self.nlinks = level->n;
	for (int i = 0; i < level->n; i++)
		links[i] = level->neighbours[i].id;

	/*
	 * The nearest and the diverse neighbours are asked to link back, until
	 * enough do; the others only if they have room: each costs a record, and
	 * after a checkpoint a page in WAL.
	 */
	for (int i = 0; i < level->n && nback + nlater < BACK_LINKS(layout->degree); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (at == 0 && hnsw_needs_image(index, level->neighbours[i].lsn))
		{
			hnsw_link_make(index, &level->neighbours[i], &self, &later[nlater++]);
			continue;
		}
		if (i >= Max(level->nkept, layout->degree / 2) && !has_room(index, level->neighbours[i].id))
			continue;
		self.distance = level->neighbours[i].distance;
		nback += hnsw_add_link(index, inserter->query, &level->neighbours[i], &self, at, false);
	}
	if (nlater > 0)
		nback += hnsw_overflow_store(inserter, &self, later, nlater);
	/* Nobody else leads to a row that none of its neighbours wanted. */
	if (nback == 0)
		hnsw_force_back(index, self.id, at);
}

/*
 * Width of the search for neighbours.  With codes, less than ef_construction
 * is enough, since all that were expanded on the way are possible neighbours,
 * too; see README, "Insert".
 */
static int
search_width(const HnswLayout *layout)
{
	return layout->code.units > 0 ? Max(layout->ef_construction / 2, layout->degree) :
		layout->ef_construction;
}

static HnswNodeId
nearest_found(const HnswSearch *search)
{
	return search->npool > 0 ? search->candidates[search->pool[0].candidate].id : HNSW_NO_NODE;
}

/*
 * Is the row far from all that the search has found, compared with how near
 * the nearest of these is to others of them?  The first row of a group is, and
 * one whose group the search has missed.
 */
static bool
is_outlier(const HnswIndex *index, const HnswNeighbour *neighbours, int n)
{
	float		factor = hnsw_unsquared(&index->layout) ? OUTLIER_FACTOR :
		OUTLIER_FACTOR * OUTLIER_FACTOR;
	int			nearer = 0;

	for (int i = 1; i < Min(n, OUTLIER_SAMPLE) && nearer < OUTLIER_RANK; i++)
		nearer += factor * hnsw_graph_distance(index, neighbours[0].vector, neighbours[0].norm,
											   neighbours[i].vector, neighbours[i].norm) <
			neighbours[0].distance;
	return nearer == OUTLIER_RANK;
}

/* What searching the levels came to */
typedef enum InsertFound
{
	FOUND_EQUAL,				/* the row was added to an equal one */
	FOUND_NEAR,
	FOUND_FAR					/* the row is an outlier */
} InsertFound;

/*
 * Search the levels from the entry point down with some width, choosing links
 * for those at which the row gets a node.
 */
static InsertFound
search_levels(HnswInserter *inserter, const HnswOwn *own, const HnswMetaPageData *meta,
			  ItemPointer tid, InsertLevel *levels, int top, int width)
{
	HnswSearch *search = inserter->search;
	bool		outlier = false;

	search->keep_vectors = false;
	hnsw_search_enter(search, meta, top, top > 0 ? width : DUPLICATE_WIDTH);
	search->keep_vectors = true;
	for (int at = search->level; at >= 0; at--)
	{
		HnswNeighbour *neighbours;
		int			n;

		hnsw_search_run(search);
		if (at == 0)
		{
			HnswNodeId	nearest = nearest_found(search);

			/* An equal row is met early: most updates end here. */
			if (insert_duplicate(inserter, own, tid))
				return FOUND_EQUAL;
			hnsw_search_widen(search, width);
			hnsw_search_run(search);
			if (nearest_found(search) != nearest && insert_duplicate(inserter, own, tid))
				return FOUND_EQUAL;
		}
		neighbours = palloc(sizeof(HnswNeighbour) * Max(search->nfound, 1));
		n = hnsw_found_neighbours(inserter, HNSW_NO_NODE, own->norm, neighbours);
		choose_links(inserter, neighbours, n, &levels[at]);
		outlier = is_outlier(inserter->index, neighbours, n);
		pfree(neighbours);
		if (at > 0)
			hnsw_search_down(search, at > 1 ? width : DUPLICATE_WIDTH);
	}
	return outlier ? FOUND_FAR : FOUND_NEAR;
}

/*
 * Find the links of a new row with a node at each level up to *top.  True if
 * the row was added to an equal one.
 *
 * What is far from all that was found is looked for once more, wider and from
 * more of the level above.  If it then still is, a group begins with it, to
 * which few links will lead; so the row gets a node at the level above, from
 * which searches come to the group.
 */
static bool
find_links(HnswInserter *inserter, const HnswOwn *own, const HnswMetaPageData *meta,
		   ItemPointer tid, InsertLevel *levels, int *top)
{
	int			width = search_width(&inserter->index->layout);
	int			above = Max(*top, 1);
	InsertFound found = search_levels(inserter, own, meta, tid, levels, *top, width);

	if (found == FOUND_FAR)
	{
		found = search_levels(inserter, own, meta, tid, levels, above, OUTLIER_WIDTH * width);
		if (found == FOUND_FAR)
			*top = above;
	}
	return found == FOUND_EQUAL;
}

/*
 * By inner product, the graph takes rows for as long as the typical one (see
 * hnsw_extra).  A build measures how long that is; an index that was created
 * empty learns it from its longest rows, each of which raises it by a tenth at
 * most, so that a single one does not decide it.
 */
static void
learn_norm(HnswIndex *index, const HnswMetaPageData *meta, float norm)
{
	float		length = sqrtf(norm);

	if (index->layout.metric != HNSW_IP || index->layout.code.units == 0 ||
		meta->calibration != InvalidBlockNumber || !(length > meta->norm && length < HNSW_MAX_KEY))
		return;
	hnsw_norm_raise(index, meta->norm > 0 ? Min(length, 1.1f * meta->norm) : length);
}

/* Insert one value, as the column has it, under a heap TID. */
void
hnsw_insert_value(HnswInserter *inserter, const HnswValue *value, ItemPointer tid)
{
	HnswIndex  *index = inserter->index;
	const HnswLayout *layout = &index->layout;
	MemoryContext old = MemoryContextSwitchTo(inserter->context);
	HnswMetaPageData meta;
	InsertLevel levels[HNSW_MAX_LEVEL + 1] = {{0}};
	HnswOwn		own = {0};
	int			top = hnsw_random_level(&pg_global_prng_state);

	inserter->busy = true;
	own.data = palloc(layout->own_size);
	hnsw_own_encode(index, value, &own);
	hnsw_query_set(index, inserter->query, value, false);

	LockPage(index->rel, HNSW_METAPAGE, ShareLock);
	for (;;)
	{
		hnsw_meta_refresh(index, &meta);
		learn_norm(index, &meta, own.norm);
		if (meta.entry == HNSW_NO_NODE)
			top = 0;
		else if (find_links(inserter, &own, &meta, tid, levels, &top))
			break;
		for (int at = 0; at <= top; at++)
			write_level(inserter, &own, tid, levels, at);
		if (meta.entry != HNSW_NO_NODE && top <= meta.entry_level)
			break;
		if (hnsw_entry_update(index, meta.entry, levels[top].id, top))
			break;

		/*
		 * Somebody else changed the entry point.  A higher level than mine
		 * does not know mine, but the row can be found at those below.  Into
		 * an empty index, the row has to be linked.
		 */
		if (meta.entry != HNSW_NO_NODE)
			break;
		hnsw_release(index, levels[0].id);
	}
	UnlockPage(index->rel, HNSW_METAPAGE, ShareLock);

	MemoryContextSwitchTo(old);
	MemoryContextReset(inserter->context);
	inserter->busy = false;
}

/*
 * Give a base node, to which searches do not come, a node at the level above.
 * Nothing happens if the index has no such level.  The inserter's query becomes
 * the node.
 */
void
hnsw_promote(HnswInserter *inserter, HnswNodeId id)
{
	HnswIndex  *index = inserter->index;
	const HnswLayout *layout = &index->layout;
	MemoryContext old = MemoryContextSwitchTo(inserter->context);
	float	   *vector = palloc(sizeof(float) * hnsw_vector_length(layout));
	InsertLevel levels[2] = {{.id = id}};
	HnswMetaPageData meta;
	HnswOwn		own = {0};
	HnswRead	read;

	hnsw_read(index, id, &read);
	own.data = palloc(layout->own_size);
	memcpy(own.data, HnswNodeOwn(layout, read.node), layout->own_size);
	own.nnz = read.node->nnz;
	own.scale = read.node->scale;
	own.norm = read.node->norm;
	own.own_norm = read.node->own_norm;
	own.error = read.node->error;
	hnsw_own_decode(index, read.node, vector);
	hnsw_query_set_node(index, inserter->query, read.node, vector);
	hnsw_read_end(&read);

	hnsw_meta_refresh(index, &meta);
	if (meta.entry_level > 0)
	{
		HnswNeighbour *neighbours;
		int			n;

		hnsw_search_enter(inserter->search, &meta, 1, OUTLIER_WIDTH * search_width(layout));
		hnsw_search_run(inserter->search);
		neighbours = palloc(sizeof(HnswNeighbour) * Max(inserter->search->nfound, 1));
		n = hnsw_found_neighbours(inserter, HNSW_NO_NODE, own.norm, neighbours);
		choose_links(inserter, neighbours, n, &levels[1]);
		write_level(inserter, &own, NULL, levels, 1);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(inserter->context);
}

/* aminsert */
bool
hnsw_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
			Relation heap, IndexUniqueCheck check_unique,
			bool index_unchanged, IndexInfo *index_info)
{
	HnswInserter *inserter = index_info->ii_AmCache;
	const HnswLayout *layout;

	if (isnull[0])
		return false;
	if (inserter == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(index_info->ii_Context);

		inserter = hnsw_inserter_create(hnsw_open(rel));
		inserter->end.func = end_inserts;
		inserter->end.arg = inserter;
		MemoryContextSetParent(inserter->search->context, TopMemoryContext);
		MemoryContextRegisterResetCallback(CurrentMemoryContext, &inserter->end);
		index_info->ii_AmCache = inserter;
		MemoryContextSwitchTo(old);
	}

	layout = &inserter->index->layout;
	hnsw_value_set(layout, inserter->value, values[0], false);
	if (hnsw_value_indexable(layout, inserter->value))
		hnsw_insert_value(inserter, inserter->value, tid);
	return false;
}
