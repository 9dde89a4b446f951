/*-------------------------------------------------------------------------
 *
 * insert.c
 *		Insertion of one row into the page graph.
 *
 * Inserts hold the update lock of the index in share mode, and vacuum takes
 * it exclusively between marking nodes and freeing them: so a node that an
 * insert has seen alive is not reused before the insert is done.  Functions of
 * this file lock one node at a time, and none when they return.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Nearest nodes that are looked at for an equal vector */
#define DUPLICATE_CANDIDATES 4

/*
 * Neighbours that link back to a new node, at the base.  At the levels above, which are
 * one in 32 of all nodes, all do: what searches miss there, they miss whole groups of.
 */
#define BACK_LINKS(degree) ((degree) / 2)

/*
 * Widths of the search at the levels above the base, in that of the search there: of
 * rows that have a node there by chance, and of those that are promoted.
 */
#define UPPER_WIDTH 4
#define PROMOTED_WIDTH 16

/*
 * Where more than one in so many rows of a statement seems an outlier, few of them begin
 * a group, and the levels above are not searched that wide for them.
 */
#define OUTLIER_ROWS 4

/* Width of the search for an equal vector, which comes first; by inner product */
#define DUPLICATE_WIDTH 8
#define NEAR_WIDTH 16

/*
 * By inner product, a row whose extra coordinate is at most this share of the rows'
 * length has the same nearest nodes in the graph.
 */
#define EXTRA_SHARE 0.1f

/* By inner product, the width of the search of a level for something as good as a row */
#define LENGTH_WIDTH 4

/*
 * The length that rows are taken for, where inserts learn it: one in so many rows is
 * longer.  A step is NORM_GAIN by the number of rows, at most NORM_STEP, in parts of
 * that length.  See EVIDENCE.md, "Inner product".
 */
#define NORM_ROWS 100
#define NORM_GAIN 25
#define NORM_STEP 0.1f

/*
 * A row is an outlier if it is so many times as far from the nearest node as
 * that is from so many of those that are found near it; the width of its
 * search, in that of others.
 */
#define OUTLIER_FACTOR 2
#define OUTLIER_RANK 3
#define OUTLIER_SAMPLE 32
#define OUTLIER_WIDTH 4

/* A row to insert */
typedef struct InsertRow
{
	HnswStored	stored;
	ItemPointerData tid;
	uint8		key[HNSW_MAX_KEY_SIZE];	/* of its filter columns */
} InsertRow;

/* The nodes that are new at one level, and their links to be. */
typedef struct InsertLevel
{
	int			n;
	HnswNeighbour *neighbours;	/* n chosen ones, and behind them dying ones */
	int			nkept;
	int			ndying;
	HnswNodeId	id;
} InsertLevel;

/* How a node stores the row's vector, as far as the index can tell; NULL if it has another */
static inline const HnswOwn *
same_vector(const HnswLayout *layout, const HnswNodeHeaderData *node, const InsertRow *row)
{
	return node->flags == HNSW_NODE_USED && node->level == 0 ?
		hnsw_stored_as(layout, node, &row->stored) : NULL;
}

/* If a node has the same vector, then the row is only one more heap TID of it. */
static bool
add_to_node(HnswFinder *finder, const InsertRow *row, HnswNodeId id)
{
	HnswIndex  *index = finder->index;
	const HnswLayout *layout = &index->layout;
	HnswRead	read;
	HnswWrite	write;
	const HnswOwn *same;

	hnsw_read(index, id, &read);
	same = same_vector(layout, read.node, row);
	hnsw_read_end(&read);
	if (same == NULL)
		return false;

	if (layout->key_size > 0)
		hnsw_key_note(index, id, row->key);
	piramid_injection_point("hnsw-insert-noted");
	hnsw_write(index, id, &write);
	same = same_vector(layout, write.node, row);
	if (same != NULL)
	{
		write.node->error = hnsw_own_shared_error(layout, write.node, same);
		hnsw_tid_append(index, &write, &row->tid, row->key);
	}
	hnsw_write_end(index, &write, same != NULL);
	piramid_injection_point("hnsw-insert-added");
	if (same != NULL && layout->key_size > 0)
		hnsw_key_note(index, id, row->key);
	return same != NULL;
}

/* Add the row to an equal one, if that is among the best that the search has found. */
static bool
insert_duplicate(HnswFinder *finder, const InsertRow *row)
{
	HnswSearch *search = finder->search;

	for (int i = 0; i < Min(search->pool.n, DUPLICATE_CANDIDATES); i++)
		if (add_to_node(finder, row, pool_at(&search->pool, i)->id))
			return true;
	return false;
}

/* Keep a neighbour that becomes one of the row. */
static void
keep_neighbour(const HnswIndex *index, const HnswNeighbour *found, HnswNeighbour *kept)
{
	hnsw_neighbour_keep(index, found, kept);
	kept->rotated = hnsw_rotated(index, kept->vector);
}

/*
 * Choose the links of the new row at a level, from what the search found.
 *
 * While vacuum removes most rows, few nodes near the row may be alive.  Nodes that
 * die are not linked to, but until they are freed they lead searches, of scans and
 * of inserts: so the nearest of them shall lead to the row.
 */
static void
choose_links(HnswFinder *finder, const HnswNeighbour *self, const HnswNeighbour *neighbours, int n,
			 InsertLevel *level)
{
	HnswIndex  *index = finder->index;
	const HnswLayout *layout = &index->layout;
	int		   *chosen = palloc(sizeof(int) * layout->degree);
	int			most = BACK_LINKS(layout->degree);

	level->n = hnsw_select(index, neighbours, n, layout->degree, chosen, &level->nkept);
	level->ndying = 0;
	level->neighbours = palloc(sizeof(HnswNeighbour) * Max(level->n, most));
	for (int i = 0; i < level->n; i++)
		keep_neighbour(index, &neighbours[chosen[i]], &level->neighbours[i]);
	if (level->n < most)
	{
		HnswNeighbour *dying;

		level->ndying = hnsw_finder_neighbours(finder, self, true, &dying);
		level->ndying = Min(level->ndying, most - level->n);
		for (int i = 0; i < level->ndying; i++)
			keep_neighbour(index, &dying[i], &level->neighbours[level->n + i]);
		pfree(dying);
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

/*
 * Let the neighbours of the new node of a level link back to it.  What they are is
 * known from an earlier look: they may have changed since.
 */
static void
link_back(HnswFinder *finder, const HnswNeighbour *self, const InsertLevel *level, int at)
{
	HnswIndex  *index = finder->index;
	const HnswLayout *layout = &index->layout;
	HnswLink	overflow[BACK_LINKS(HNSW_MAX_DEGREE)];
	int			noverflow = 0;
	int			nback = 0;
	int			enough = at > 0 ? layout->degree : BACK_LINKS(layout->degree);
	int			asked = at > 0 ? level->n : Max(level->nkept, layout->degree / 2);

	/*
	 * At the base the nearest and the diverse neighbours are asked to link back, until
	 * enough do; the others only if they have room: each costs a record, and
	 * after a checkpoint a page in WAL.
	 */
	for (int i = 0; i < level->n && nback + noverflow < enough; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (at == 0 && hnsw_needs_image(index, level->neighbours[i].lsn))
		{
			hnsw_link_make(index, &level->neighbours[i], self, &overflow[noverflow++]);
			continue;
		}
		if (i >= asked && !has_room(index, level->neighbours[i].id))
			continue;
		nback += hnsw_link_back(finder, self, &level->neighbours[i], at, HNSW_LINK_IF_WANTED);
		piramid_injection_point("hnsw-insert-linked");
	}
	if (noverflow > 0)
		nback += hnsw_overflow_store(finder, self, overflow, noverflow);
	/* Nobody else leads to a row that none of its neighbours wanted. */
	if (nback == 0)
		hnsw_force_back(index, self->id, at);

	for (int i = 0; i < level->ndying; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) hnsw_link_back(finder, self, &level->neighbours[level->n + i], at,
							  i == 0 ? HNSW_LINK_ANYWAY : HNSW_LINK_IF_WANTED);
	}
}

/* Write the new node of a level, and link its neighbours to it. */
static void
write_level(HnswFinder *finder, const InsertRow *row, InsertLevel *levels, int at)
{
	HnswIndex  *index = finder->index;
	const HnswLayout *layout = &index->layout;
	InsertLevel *level = &levels[at];
	const HnswOwn *own = &row->stored.inserted;
	HnswWrite	write;
	HnswNeighbour self = {0};
	HnswNodeId	links[HNSW_MAX_DEGREE];

	self.norm = own->norm;
	self.vector = hnsw_query_vector(index, finder->query);
	self.rotated = finder->query->rotated;
	level->id = hnsw_allocate(index, at > 0, &write);
	hnsw_node_init(index, write.node, at, own);
	if (at == 0)
		hnsw_tid_append(index, &write, &row->tid, row->key);
	else
		write.node->below = levels[at - 1].id;
	for (int i = 0; i < level->n; i++)
		hnsw_set_link(index, write.node, i, &level->neighbours[i], self.rotated, i < level->nkept);
	hnsw_write_end(index, &write, true);
	piramid_injection_point("hnsw-insert-node");
	if (at == 0 && layout->sketch.units > 0)
	{
		HnswSketchRoom room;

		hnsw_sketch_make(index, self.rotated, &room.sketch);
		hnsw_sketch_set(index, level->id, &room.sketch);
	}
	if (at == 0 && layout->key_size > 0)
		hnsw_key_set(index, level->id, HNSW_KEY_ONE, row->key);
	piramid_injection_point("hnsw-insert-unlinked");

	self.id = level->id;
	self.links = links;
	self.nlinks = level->n;
	for (int i = 0; i < level->n; i++)
		links[i] = level->neighbours[i].id;
	link_back(finder, &self, level, at);
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

/* Width of a search above the base: so many times as wide, or where many rows are outliers */
static int
upper_width(const HnswFinder *finder, int times, int times_of_many)
{
	bool		many = finder->outliers * OUTLIER_ROWS > finder->inserted;

	return (many ? times_of_many : times) * search_width(&finder->index->layout);
}

static HnswNodeId
nearest_found(const HnswSearch *search)
{
	return search->pool.n > 0 ? pool_at(&search->pool, 0)->id : HNSW_NO_NODE;
}

/*
 * Is the row far from all that the search has found, compared with how near
 * the nearest of these is to others of them?  The first row of a group is, and
 * one whose group the search has missed.
 */
static bool
is_outlier(const HnswIndex *index, const HnswNeighbour *neighbours, int n)
{
	float		factor = index->layout.space->euclidean ?
		OUTLIER_FACTOR * OUTLIER_FACTOR : OUTLIER_FACTOR;
	int			nearer = 0;

	for (int i = 1; i < Min(n, OUTLIER_SAMPLE) && nearer < OUTLIER_RANK; i++)
		nearer += factor * hnsw_graph_distance(index, neighbours[0].vector, neighbours[0].norm,
											   neighbours[i].vector, neighbours[i].norm) <
			neighbours[0].distance;
	return nearer == OUTLIER_RANK;
}

/* Choose the links of what is promoted to a level. */
static void
link_promoted(HnswFinder *finder, const HnswMetaPageData *meta, const HnswNeighbour *self,
			  InsertLevel *levels, int at)
{
	HnswNeighbour *neighbours;
	int			n;

	hnsw_search_enter(finder->search, meta, at,
					  upper_width(finder, PROMOTED_WIDTH, UPPER_WIDTH));
	hnsw_search_run(finder->search);
	n = hnsw_finder_neighbours(finder, self, false, &neighbours);
	choose_links(finder, self, neighbours, n, &levels[at]);
	pfree(neighbours);
}

/* What searching the levels came to */
typedef enum InsertFound
{
	FOUND_EQUAL,				/* the row was added to an equal one */
	FOUND_NEAR,
	FOUND_FAR					/* the row is an outlier */
} InsertFound;

/*
 * By inner product, the nodes with the least keys are the longest ones in the row's
 * direction.  Queries come to the row by way of these, but a scan of more than a few
 * rows, and an equal row, also by way of the nearest ones in the graph, which are as
 * long as the row.  So both are looked for.  True if the row was added to an equal one.
 */
static bool
find_near(HnswFinder *finder, const InsertRow *row, const HnswMetaPageData *meta,
		  HnswNeighbours *near)
{
	HnswIndex  *index = finder->index;
	HnswSearch *search = finder->search;
	const HnswNeighbour self = {.norm = row->stored.inserted.norm};
	HnswNeighbour *neighbours;
	bool		added;

	if (!index->layout.space->lifted ||
		hnsw_extra(index, self.norm) <= EXTRA_SHARE * index->norm)
		return false;
	search->query = finder->query;
	search->lifted = true;
	hnsw_search_enter(search, meta, 0, NEAR_WIDTH);
	hnsw_search_run(search);
	added = insert_duplicate(finder, row);
	if (!added)
	{
		int			n = hnsw_finder_neighbours(finder, &self, false, &neighbours);

		hnsw_neighbours_keep(index, neighbours, n, near);
		pfree(neighbours);
	}
	return added;
}

/*
 * By inner product, a row that is much longer than others is the answer to many
 * queries, but the nearest node of hardly any other one, so few links lead to it.  If a
 * search of a level for its direction finds nothing as good, it gets a node there, by
 * way of which queries in that direction come down.  Returns the highest such level, or
 * "top".
 */
static int
level_by_length(HnswFinder *finder, const InsertRow *row, const HnswMetaPageData *meta, int top)
{
	HnswIndex  *index = finder->index;
	HnswSearch *search = finder->search;
	HnswQuery  *asked = finder->asked;
	float		norm = row->stored.inserted.norm;

	if (!index->layout.space->lifted || meta->entry_level <= top || index->norm == 0 ||
		norm <= index->norm * index->norm)
		return top;
	search->query = asked;
	search->lifted = false;
	hnsw_search_enter(search, meta, meta->entry_level, LENGTH_WIDTH);
	for (int at = meta->entry_level; at > top; at--)
	{
		hnsw_search_run(search);
		if (search->pool.n == 0 ||
			pool_at(&search->pool, 0)->key > -2 * sqrtf(norm) * asked->length)
			return at;
		if (at - 1 > top)
			hnsw_search_down(search, LENGTH_WIDTH);
	}
	return top;
}

/*
 * Search the levels from the entry point down with some width, choosing links
 * for those at which the row gets a node; at the base also from the near ones.
 */
static InsertFound
search_levels(HnswFinder *finder, const InsertRow *row, const HnswMetaPageData *meta,
			  HnswNeighbours *near, InsertLevel *levels, int top, int width)
{
	HnswSearch *search = finder->search;
	const HnswNeighbour self = {.norm = row->stored.inserted.norm};
	int			upper = upper_width(finder, UPPER_WIDTH, 1);
	bool		outlier = false;

	search->query = finder->asked;
	search->lifted = false;
	hnsw_search_enter(search, meta, top, top > 0 ? upper : DUPLICATE_WIDTH);
	for (int at = search->level; at >= 0; at--)
	{
		HnswNeighbour *neighbours;
		int			n;

		hnsw_search_run(search);
		if (at == 0)
		{
			HnswNodeId	nearest = nearest_found(search);

			/* An equal row is met early: most updates end here. */
			if (insert_duplicate(finder, row))
				return FOUND_EQUAL;
			hnsw_search_widen(search, width);
			hnsw_search_run(search);
			if (nearest_found(search) != nearest && insert_duplicate(finder, row))
				return FOUND_EQUAL;
		}
		n = hnsw_finder_neighbours(finder, &self, false, &neighbours);
		outlier = is_outlier(finder->index, neighbours, n);
		if (at == 0 && near->n > 0)
		{
			hnsw_neighbours_keep(finder->index, neighbours, n, near);
			choose_links(finder, &self, near->all, near->n, &levels[at]);
		}
		else
			choose_links(finder, &self, neighbours, n, &levels[at]);
		pfree(neighbours);
		if (at > 0)
			hnsw_search_down(search, at > 1 ? upper : DUPLICATE_WIDTH);
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
find_links(HnswFinder *finder, const InsertRow *row, const HnswMetaPageData *meta,
		   InsertLevel *levels, int *top)
{
	int			width = search_width(&finder->index->layout);
	int			above;
	const HnswNeighbour self = {.norm = row->stored.inserted.norm};
	HnswNeighbours near = {0};
	InsertFound found;

	if (find_near(finder, row, meta, &near))
		return true;
	*top = level_by_length(finder, row, meta, *top);
	above = Max(*top, 1);
	found = search_levels(finder, row, meta, &near, levels, *top, width);
	finder->inserted++;
	if (found == FOUND_FAR)
	{
		finder->outliers++;
		found = search_levels(finder, row, meta, &near, levels, above, OUTLIER_WIDTH * width);
		if (found == FOUND_FAR && above > *top && above <= meta->entry_level)
			link_promoted(finder, meta, &self, levels, above);
		if (found == FOUND_FAR)
			*top = above;
	}
	return found == FOUND_EQUAL;
}

/*
 * By inner product, the graph takes rows for as long as the typical one (see
 * hnsw_extra).  A build measures how long that is; an index that was created
 * empty learns it, so that one row in some is longer (Robbins and Monro, 1951).  The
 * steps become smaller with the number of rows, so that neither a single row nor the
 * order in which rows come decides it.
 */
static void
learn_norm(HnswIndex *index, const HnswMetaPageData *meta, float norm)
{
	float		length = sqrtf(norm);
	float		step;
	bool		is_longer = length > meta->norm;

	if (!index->layout.space->lifted || index->layout.code.units == 0 ||
		meta->mean != InvalidBlockNumber || !(length < HNSW_MAX_KEY) ||
		(!is_longer && pg_prng_uint64_range(&pg_global_prng_state, 1, NORM_ROWS) > 1))
		return;
	step = 1 + Min(NORM_STEP, NORM_GAIN / ((float) RelationGetNumberOfBlocks(index->rel) *
										   index->layout.nodes_per_page));
	if (is_longer)
		hnsw_norm_change(index, meta->norm,
						 meta->norm > 0 ? Min(length, step * meta->norm) : length);
	else if (length < meta->norm / step)
		hnsw_norm_change(index, meta->norm, meta->norm / step);
}

/*
 * Insert a row with this value, as the column has it.  Takes the update lock, and
 * frees it at the end.
 *
 * What is looked for is the vector that the node will have.  Where binary16 takes a row
 * farther than other rows are from each other, the row itself is far from all nodes, and
 * a search for it would expand most of them.
 */
static void
insert_row(HnswFinder *finder, const HnswValue *value, InsertRow *row)
{
	HnswIndex  *index = finder->index;
	const HnswLayout *layout = &index->layout;
	MemoryContext old = MemoryContextSwitchTo(finder->context);
	HnswMetaPageData meta;
	InsertLevel levels[HNSW_MAX_LEVEL + 1] = {{0}};
	int			top = hnsw_random_level(&pg_global_prng_state);

	hnsw_stored_make(index, value, finder->unpacked, &row->stored);
	if (layout->own_kind == HNSW_OWN_HALF)
		value = finder->unpacked;
	hnsw_query_set(index, finder->query, value, false);
	if (finder->asked != finder->query)
		hnsw_query_set(index, finder->asked, value, true);

	LockPage(index->rel, HNSW_METAPAGE, ShareLock);
	for (;;)
	{
		hnsw_meta_refresh(index, &meta);
		learn_norm(index, &meta, row->stored.inserted.norm);
		if (meta.entry == HNSW_NO_NODE)
			top = 0;
		else if (find_links(finder, row, &meta, levels, &top))
			break;
		for (int at = 0; at <= top; at++)
		{
			if (at > 0)
				piramid_injection_point("hnsw-insert-upper");
			write_level(finder, row, levels, at);
		}
		/* While most of what is near dies, dying nodes lead to the others, and not the row. */
		if (meta.entry != HNSW_NO_NODE && (top <= meta.entry_level || levels[0].ndying > 0))
			break;
		piramid_injection_point("hnsw-insert-entry");
		if (hnsw_entry_update(index, meta.entry, levels[top].id, top))
			break;

		/*
		 * Somebody else changed the entry point.  A higher level than mine
		 * does not know mine, but the row can be found at those below.  Into
		 * an empty index, the row has to be linked.
		 */
		if (meta.entry != HNSW_NO_NODE)
			break;
		piramid_injection_point("hnsw-insert-again");
		if (layout->key_size > 0)
			hnsw_key_set(index, levels[0].id, HNSW_KEY_ABSENT, NULL);
		hnsw_release(index, levels[0].id);
	}
	UnlockPage(index->rel, HNSW_METAPAGE, ShareLock);

	MemoryContextSwitchTo(old);
	MemoryContextReset(finder->context);
}

/*
 * Give a base node, to which searches do not come, a node at the level above.
 * Nothing happens if the index has no such level.  The finder's query becomes
 * the node.  Takes no update lock: the index is one that is being built.
 */
void
hnsw_promote(HnswFinder *finder, HnswNodeId id)
{
	HnswIndex  *index = finder->index;
	const HnswLayout *layout = &index->layout;
	MemoryContext old = MemoryContextSwitchTo(finder->context);
	InsertLevel levels[2] = {{.id = id}};
	HnswNeighbour self;
	HnswMetaPageData meta;
	InsertRow	row = {0};
	HnswOwn    *own = &row.stored.inserted;
	HnswRead	read;

	hnsw_read(index, id, &read);
	own->data = palloc(layout->own_size);
	memcpy(own->data, HnswNodeOwn(layout, read.node), layout->own_size);
	own->nnz = read.node->nnz;
	own->scale = read.node->scale;
	own->norm = read.node->norm;
	own->own_norm = read.node->own_norm;
	own->error = read.node->error;
	hnsw_finder_ask(finder, id, read.node, &self);
	hnsw_read_end(&read);

	hnsw_meta_refresh(index, &meta);
	if (meta.entry_level > 0)
	{
		link_promoted(finder, &meta, &self, levels, 1);
		write_level(finder, &row, levels, 1);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(finder->context);
}

/* aminsert */
bool
hnsw_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
			Relation heap, IndexUniqueCheck check_unique,
			bool index_unchanged, IndexInfo *index_info)
{
	HnswFinder *finder = index_info->ii_AmCache;
	const HnswLayout *layout;
	int			column;
	InsertRow	row = {.tid = *tid};

	if (finder == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(index_info->ii_Context);

		finder = hnsw_finder_create(hnsw_open(rel));
		index_info->ii_AmCache = finder;
		MemoryContextSwitchTo(old);
	}

	layout = &finder->index->layout;
	column = finder->index->vector_column - 1;
	if (isnull[column])
		return false;
	hnsw_value_set(layout, finder->value, values[column], false);
	if (hnsw_value_indexable(layout, finder->value))
	{
		hnsw_key_make(&finder->index->keys, rel, values, isnull, row.key);
		insert_row(finder, finder->value, &row);
	}
	return false;
}
