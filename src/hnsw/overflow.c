/*-------------------------------------------------------------------------
 *
 * overflow.c
 *		Links back to a new row that wait outside their nodes.
 *
 * A new row is linked from some 16 nodes, on about as many pages.  The first
 * change of a page after a checkpoint logs all of it; so such a link goes to
 * the page of overflow links that its group of blocks shares.  When that is
 * full, links move to their nodes, those of one block together.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"

#include "miscadmin.h"
#include "utils/memutils.h"

static inline uint32
group_of(const HnswLayout *layout, HnswNodeId id)
{
	return HnswNodeBlock(layout, id) / HNSW_GROUP_BLOCKS;
}

/* By node, and so by group */
static int
compare_groups(const void *a, const void *b)
{
	HnswNodeId	x = ((const HnswOverflowLink *) a)->from;
	HnswNodeId	y = ((const HnswOverflowLink *) b)->from;

	return (x > y) - (x < y);
}

/* By where they lead */
static int
compare_moves(const void *a, const void *b)
{
	HnswNodeId	x = ((const HnswOverflowLink *) a)->to;
	HnswNodeId	y = ((const HnswOverflowLink *) b)->to;

	return (x > y) - (x < y);
}

/* Fill in a link from a neighbour to a node; its code takes memory. */
void
hnsw_overflow_link(HnswIndex *index, const HnswNeighbour *from, const HnswNeighbour *to,
				   HnswOverflowLink *link)
{
	const HnswLayout *layout = &index->layout;

	*link = (HnswOverflowLink) {0};
	link->from = from->id;
	link->to = to->id;
	link->neighbour = from;
	if (layout->code.units > 0)
	{
		link->code = palloc(layout->code.units);
		hnsw_link_encode(index, from->rotated, to->rotated, link->code, &link->a, &link->b);
	}
}

/* What moving links to their nodes needs besides them */
typedef struct Move
{
	HnswIndex  *index;
	HnswQuery  *query;			/* the node that links lead to */
	HnswNeighbour to;
	bool		usable;			/* it may be linked to */
	HnswNodeId	links[HNSW_MAX_DEGREE];
	MemoryContext of_node;		/* reset for each such node */
	MemoryContext of_link;		/* and for each link */
} Move;

static inline bool
is_live(const HnswNodeHeaderData *node)
{
	return node->flags == HNSW_NODE_USED && node->level == 0;
}

/* Get ready to link others to a node. */
static void
move_to(Move *move, HnswNodeId id)
{
	HnswIndex  *index = move->index;
	const HnswLayout *layout = &index->layout;
	MemoryContext old;
	HnswRead	read;
	float	   *vector;

	MemoryContextReset(move->of_node);
	old = MemoryContextSwitchTo(move->of_node);
	move->to = (HnswNeighbour) {0};
	move->to.id = id;
	vector = palloc(sizeof(float) * hnsw_vector_length(layout));
	hnsw_read(index, id, &read);
	move->usable = is_live(read.node);
	if (move->usable)
	{
		hnsw_own_decode(index, read.node, vector);
		hnsw_query_set_node(index, move->query, read.node, vector);
		move->to.norm = read.node->norm;
		move->to.nlinks = read.node->nlinks;
		memcpy(move->links, HnswNodeLinks(layout, read.node), sizeof(HnswNodeId) * read.node->nlinks);
	}
	hnsw_read_end(&read);
	move->to.vector = vector;
	move->to.rotated = move->query->rotated;
	move->to.links = move->links;
	MemoryContextSwitchTo(old);
}

/*
 * Move one link into its node.  The node may decline, but not the nearest
 * neighbour of the one that the link leads to: so that can still be reached.
 */
static void
move_link(Move *move, HnswNodeId id)
{
	HnswIndex  *index = move->index;
	MemoryContext old;
	HnswRead	read;
	HnswNeighbour from = {0};
	float	   *vector;
	bool		live;

	MemoryContextReset(move->of_link);
	old = MemoryContextSwitchTo(move->of_link);
	vector = palloc(sizeof(float) * hnsw_vector_length(&index->layout));
	hnsw_read(index, id, &read);
	live = is_live(read.node);
	if (live)
	{
		hnsw_own_decode(index, read.node, vector);
		from.norm = read.node->norm;
	}
	hnsw_read_end(&read);
	if (live)
	{
		from.id = id;
		from.vector = vector;
		from.rotated = hnsw_rotated(index, vector);
		move->to.distance = hnsw_graph_distance(index, vector, from.norm, move->to.vector,
												move->to.norm);
		hnsw_add_link(index, move->query, &from, &move->to, 0,
					  move->to.nlinks > 0 && move->links[0] == id);
	}
	MemoryContextSwitchTo(old);
}

/* Move links, n of them, to their nodes, and remove them from their group. */
static void
move_links(HnswInserter *inserter, uint32 group, HnswOverflowLink *links, int n)
{
	Move		move = {0};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw overflow links",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	move.index = inserter->index;
	move.query = hnsw_query_create(inserter->index);
	move.of_node = AllocSetContextCreate(context, "hnsw overflow node", ALLOCSET_DEFAULT_SIZES);
	move.of_link = AllocSetContextCreate(context, "hnsw overflow link", ALLOCSET_DEFAULT_SIZES);
	qsort(links, n, sizeof(HnswOverflowLink), compare_moves);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i == 0 || links[i].to != links[i - 1].to)
			move_to(&move, links[i].to);
		if (move.usable)
			move_link(&move, links[i].from);
	}
	hnsw_overflow_remove(inserter->index, group, links, n);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * Which links of a group to move: those whose pages have been logged anyway,
 * or else those of the block that has most of them.  Puts them in front and
 * counts them.
 */
static int
choose_moves(HnswIndex *index, HnswOverflowLink *links, int n)
{
	const HnswLayout *layout = &index->layout;
	int			counts[HNSW_GROUP_BLOCKS] = {0};
	bool		chosen[HNSW_GROUP_BLOCKS] = {false};
	int			fullest = 0;
	bool		any = false;
	int			moves = 0;

	for (int i = 0; i < n; i++)
	{
		int			block = HnswNodeBlock(layout, links[i].from) % HNSW_GROUP_BLOCKS;
		HnswRead	read;

		if (counts[block]++ > 0)
			continue;
		hnsw_read(index, links[i].from, &read);
		chosen[block] = !hnsw_needs_image(index, read.lsn);
		any |= chosen[block];
		hnsw_read_end(&read);
	}
	for (int block = 1; block < HNSW_GROUP_BLOCKS; block++)
		if (counts[block] > counts[fullest])
			fullest = block;
	if (!any)
		chosen[fullest] = true;
	for (int i = 0; i < n; i++)
	{
		if (chosen[HnswNodeBlock(layout, links[i].from) % HNSW_GROUP_BLOCKS])
		{
			HnswOverflowLink link = links[i];

			links[i] = links[moves];
			links[moves++] = link;
		}
	}
	return moves;
}

/* Move some links of a group to their nodes.  False if somebody else is at it. */
static bool
make_room(HnswInserter *inserter, uint32 group)
{
	HnswIndex  *index = inserter->index;
	HnswOverflowLink *links;
	int			n;

	if (!hnsw_overflow_trylock(index, group))
		return false;
	links = palloc(sizeof(HnswOverflowLink) * index->layout.overflow_links);
	n = hnsw_overflow_list(index, group, links);
	n = choose_moves(index, links, n);
	if (n > 0)
		move_links(inserter, group, links, n);
	pfree(links);
	hnsw_overflow_unlock(index, group);
	return true;
}

/*
 * Store links to the new row, n of them; those for which there is no room
 * are made in their nodes, if these agree.  Returns how many were made.
 */
int
hnsw_overflow_store(HnswInserter *inserter, const HnswNeighbour *to, HnswOverflowLink *links, int n)
{
	HnswIndex  *index = inserter->index;
	int			made = 0;
	int			end;

	qsort(links, n, sizeof(HnswOverflowLink), compare_groups);
	for (int start = 0; start < n; start = end)
	{
		uint32		group = group_of(&index->layout, links[start].from);
		int			done;

		CHECK_FOR_INTERRUPTS();
		for (end = start + 1; end < n && group_of(&index->layout, links[end].from) == group; end++)
			;
		done = start + hnsw_overflow_append(index, links + start, end - start);
		if (done < end && make_room(inserter, group))
			done += hnsw_overflow_append(index, links + done, end - done);
		made += done - start;
		for (; done < end; done++)
		{
			HnswNeighbour self = *to;

			self.distance = links[done].neighbour->distance;
			made += hnsw_add_link(index, inserter->query, links[done].neighbour, &self, 0, false);
		}
	}
	return made;
}

/*
 * Add a base node's overflow links to the n links of the search, with
 * estimates if there are codes.  Returns how many links there are then.
 */
int
hnsw_overflow_offer(HnswSearch *search, HnswNodeId id, float key, int n)
{
	HnswIndex  *index = search->index;
	const HnswLayout *layout = &index->layout;
	Size		size = (Size) layout->code.units * (layout->overflow_links + FASTSCAN_BLOCK);
	int			more;

	if (search->codes_size < size)
	{
		search->codes = MemoryContextAlloc(search->context, size);
		search->codes_size = size;
	}
	more = hnsw_overflow_read(index, id, search->links + n, search->estimates + n,
							  search->lengths + n, search->codes);
	if (more > 0 && layout->code.units > 0)
		hnsw_code_estimates(index, search->query, search->codes, more, key,
							search->estimates + n, search->lengths + n);
	return n + more;
}
