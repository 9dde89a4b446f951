/*-------------------------------------------------------------------------
 *
 * finder.c
 *		Looking for a node or a new row: what is near it, whether searches find
 *		it, and asking what is near to link to it.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"

#include <math.h>

#include "utils/float.h"
#include "utils/memutils.h"

/* A search went astray if a wider one finds so many nodes nearer than all that it met. */
#define ASTRAY 10

/* So many of the nearest nodes that a search has met tell where it was. */
#define NEAR 10

/* Make a finder, which lives in the current memory context.  Its searches are the graph's. */
HnswFinder *
hnsw_finder_create(HnswIndex *index)
{
	HnswFinder *finder = palloc0(sizeof(HnswFinder));

	finder->index = index;
	finder->query = hnsw_query_create(index);
	finder->asked = index->layout.space->lifted ? hnsw_query_create(index) : finder->query;
	finder->value = hnsw_value_create(&index->layout);
	finder->unpacked = hnsw_value_create(&index->layout);
	finder->search = hnsw_search_create(index, finder->query);
	finder->search->keep_vectors = true;
	finder->search->lifted = index->layout.space->lifted;
	finder->context = AllocSetContextCreate(CurrentMemoryContext, "hnsw finder",
											ALLOCSET_DEFAULT_SIZES);
	return finder;
}

/* A locked node as one that links lead to, but for its rotated vector; takes memory. */
void
hnsw_neighbour_fill(const HnswIndex *index, HnswNodeId id, const HnswNodeHeaderData *node,
					HnswNeighbour *neighbour)
{
	const HnswLayout *layout = &index->layout;
	float	   *vector = palloc(sizeof(float) * hnsw_vector_length(layout));
	HnswNodeId *links = palloc(sizeof(HnswNodeId) * layout->degree);

	hnsw_own_decode(index, node, vector);
	memcpy(links, HnswNodeLinks(layout, node), sizeof(HnswNodeId) * node->nlinks);
	*neighbour = (HnswNeighbour) {0};
	neighbour->id = id;
	neighbour->norm = node->norm;
	neighbour->vector = vector;
	neighbour->links = links;
	neighbour->nlinks = node->nlinks;
}

/*
 * Get ready to look for a locked node: the query becomes the node, and self what
 * others shall link to.  Takes memory.
 */
void
hnsw_finder_ask(HnswFinder *finder, HnswNodeId id, const HnswNodeHeaderData *node,
				HnswNeighbour *self)
{
	hnsw_neighbour_fill(finder->index, id, node, self);
	hnsw_query_set_node(finder->index, finder->query, node, self->vector);
	self->rotated = finder->query->rotated;
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
 * What the search has found, as possible neighbours of self, of which only id
 * and norm matter: live nodes, or dying ones.  Sorted by distance, without self.
 * Their vectors are the search's, until that goes on.  Returns how many.
 */
int
hnsw_finder_neighbours(HnswFinder *finder, const HnswNeighbour *self, bool dying,
					   HnswNeighbour **neighbours)
{
	HnswSearch *search = finder->search;
	const HnswIndex *index = finder->index;
	int			length = hnsw_vector_length(&index->layout);
	int			n = 0;

	Assert(search->keep_vectors && !search->running);
	*neighbours = palloc(sizeof(HnswNeighbour) * Max(search->nfound, 1));
	for (uint32 i = 0; i < search->nfound; i++)
	{
		const HnswFound *found = &search->found[i];
		HnswNeighbour *neighbour = &(*neighbours)[n];

		if (found->dying != dying || found->id == self->id)
			continue;
		neighbour->id = found->id;
		neighbour->norm = found->norm;
		neighbour->vector = search->vectors + (Size) i * length;
		neighbour->rotated = NULL;
		neighbour->lsn = found->lsn;
		neighbour->distance = found->key;
		if (index->layout.space->lifted && !search->lifted)
		{
			float		key = 2 * search->query->unscale * found->key;
			float		extra = hnsw_extra(index, self->norm) - hnsw_extra(index, found->norm);

			neighbour->distance = Max(self->norm + found->norm + key, 0) + extra * extra;
		}
		n++;
	}
	sort_neighbours(*neighbours, n);
	return n;
}

/* Keep a neighbour that a search has found: the search's vectors do not outlive the next one. */
void
hnsw_neighbour_keep(const HnswIndex *index, const HnswNeighbour *found, HnswNeighbour *kept)
{
	Size		size = sizeof(float) * hnsw_vector_length(&index->layout);

	*kept = *found;
	kept->vector = memcpy(palloc(size), found->vector, size);
}

/* Keep those of n neighbours that a search has found which are not among the "kept" ones. */
void
hnsw_neighbours_keep(const HnswIndex *index, const HnswNeighbour *neighbours, int n,
					 HnswNeighbours *kept)
{
	int			before = kept->n;

	kept->all = kept->all == NULL ? palloc(sizeof(HnswNeighbour) * Max(n, 1)) :
		repalloc(kept->all, sizeof(HnswNeighbour) * Max(before + n, 1));
	for (int i = 0; i < n; i++)
	{
		bool		is_new = true;

		for (int j = 0; j < before && is_new; j++)
			is_new = kept->all[j].id != neighbours[i].id;
		if (is_new)
			hnsw_neighbour_keep(index, &neighbours[i], &kept->all[kept->n++]);
	}
	sort_neighbours(kept->all, kept->n);
}

/* Has the finder's last search met what is sought? */
bool
hnsw_finder_met(const HnswFinder *finder, const HnswSought *sought)
{
	const HnswSearch *search = finder->search;

	for (uint32 i = 0; i < search->nfound; i++)
		if (search->found[i].id == sought->id || search->found[i].key <= sought->key)
			return true;
	return false;
}

static float
nearest_key(const HnswSearch *search)
{
	float		nearest = INFINITY;

	for (uint32 i = 0; i < search->nfound; i++)
		nearest = Min(nearest, search->found[i].key);
	return nearest;
}

/*
 * Search from the entry point for what the finder was asked for, wider and wider.
 * Returns how many of the n widths miss it; finder->astray tells how many nodes a
 * wider search found nearer than all that the first one met.
 */
int
hnsw_finder_misses(HnswFinder *finder, const HnswMetaPageData *meta, const HnswSought *sought,
				   const int *widths, int n)
{
	HnswSearch *search = finder->search;
	float		nearest = INFINITY;

	finder->astray = 0;
	hnsw_search_enter(search, meta, sought->level, widths[0]);
	if (search->level != sought->level)
		return 0;				/* above the entry point: nobody looks there */
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			hnsw_search_widen(search, widths[i]);
		hnsw_search_run(search);
		if (i == 0)
			nearest = nearest_key(search);
		if (hnsw_finder_met(finder, sought))
		{
			for (uint32 f = 0; f < search->nfound; f++)
				finder->astray += search->found[f].key < nearest;
			return i;
		}
	}
	return n;
}

/* How near is the NEAR-th nearest of what the search has met? */
static float
near_key(const HnswSearch *search)
{
	float		keys[NEAR];

	for (int i = 0; i < NEAR; i++)
		keys[i] = INFINITY;
	for (uint32 f = 0; f < search->nfound; f++)
	{
		float		key = search->found[f].key;
		int			i;

		if (!(key < keys[NEAR - 1]))
			continue;
		for (i = NEAR - 1; i > 0 && key < keys[i - 1]; i--)
			keys[i] = keys[i - 1];
		keys[i] = key;
	}
	return keys[NEAR - 1];
}

/*
 * Was the search that missed a node in the right place?  Then it has met the nearest node
 * that this links to, or one as near, and half of those that are nearer than most that the
 * search has met: a group that is lost may come again by new rows, which are apart from it.
 */
static bool
was_near(HnswFinder *finder, const HnswNeighbour *self)
{
	const float limit = near_key(finder->search);
	int			nnear = 0;
	int			nmet = 0;

	for (int i = 0; i < self->nlinks; i++)
	{
		HnswSought	link = {.id = self->links[i]};
		HnswRead	read;
		float		l2sq;
		bool		near;

		hnsw_read(finder->index, link.id, &read);
		link.key = hnsw_node_key(finder->index, finder->query, read.node, &l2sq);
		hnsw_read_end(&read);
		if (i == 0 && !hnsw_finder_met(finder, &link))
			return false;
		near = link.key < limit;
		link.key = -get_float4_infinity();	/* itself, not another one as near */
		nnear += near;
		nmet += near && hnsw_finder_met(finder, &link);
	}
	return self->nlinks > 0 && 2 * nmet >= nnear;
}

/*
 * Look for a base node, or another one that is as near, as queries do, wider and wider.  Is
 * it found by a search of the first width; if not, is it missed alone, or with what is near
 * it?
 */
HnswLook
hnsw_finder_look(HnswFinder *finder, const HnswMetaPageData *meta, HnswNodeId id, const int *widths,
				 int n)
{
	HnswIndex  *index = finder->index;
	MemoryContext old = MemoryContextSwitchTo(finder->context);
	HnswSought	node = {.id = id};
	HnswNeighbour self;
	HnswRead	read;
	float		l2sq;
	int			misses = 0;
	bool		used;
	HnswLook	look = HNSW_LOOK_FOUND;

	hnsw_read(index, id, &read);
	used = read.node->flags & HNSW_NODE_USED;
	if (used)
	{
		hnsw_finder_ask(finder, id, read.node, &self);
		node.key = hnsw_node_key(index, finder->query, read.node, &l2sq);
	}
	hnsw_read_end(&read);
	if (used)
		misses = hnsw_finder_misses(finder, meta, &node, widths, n);
	if (misses == n)
		look = was_near(finder, &self) ? HNSW_LOOK_ALONE : HNSW_LOOK_LOST;
	else if (misses > 0 && finder->astray >= ASTRAY)
		look = HNSW_LOOK_ASTRAY;
	else if (misses > 1)
		look = HNSW_LOOK_ALONE;
	MemoryContextSwitchTo(old);
	MemoryContextReset(finder->context);
	return look;
}

/*
 * Link a node that a search has found to what the finder was asked for, which
 * is as far away as the search says.  False if no link was made.
 */
bool
hnsw_link_back(HnswFinder *finder, const HnswNeighbour *self, const HnswNeighbour *neighbour,
			   int level, HnswLinkMode mode)
{
	HnswIndex  *index = finder->index;
	HnswNeighbour from = *neighbour;
	HnswNeighbour to = *self;

	to.distance = from.distance;
	if (from.rotated == NULL)
		from.rotated = hnsw_rotated(index, from.vector);
	return hnsw_add_link(index, finder->query, &from, &to, level) ||
		(mode == HNSW_LINK_ANYWAY && hnsw_force_link(index, &from, &to, level));
}
