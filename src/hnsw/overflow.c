/*-------------------------------------------------------------------------
 *
 * overflow.c
 *		Overflow links: links back to a new row that stand outside their nodes.
 *
 * A new row is linked from some 16 nodes, on about as many pages.  The first
 * change of a page after a checkpoint logs all of it; so such a link goes to
 * the page of overflow links that its group of blocks shares.  When that is
 * full, links move to their nodes, those of one block together.
 *
 * Nobody holds a page when a function of this file is called, or afterwards.
 * While links move, the lock of their group's page (a heavyweight one) keeps
 * others from moving them, too.  A backend that does not get this lock writes its
 * links into their nodes.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* By node, and so by group */
static int
compare_groups(const void *a, const void *b)
{
	HnswNodeId	x = ((const HnswLink *) a)->from;
	HnswNodeId	y = ((const HnswLink *) b)->from;

	return (x > y) - (x < y);
}

/* By where they lead */
static int
compare_targets(const void *a, const void *b)
{
	HnswNodeId	x = ((const HnswLink *) a)->to;
	HnswNodeId	y = ((const HnswLink *) b)->to;

	return (x > y) - (x < y);
}

static inline bool
is_live(const HnswNodeHeaderData *node)
{
	return node->flags == HNSW_NODE_USED && node->level == 0;
}

/* Read a coded node that links lead to; NULL if it may not be linked to. */
static HnswTarget *
read_target(HnswIndex *index, HnswNodeId id)
{
	const HnswLayout *layout = &index->layout;
	HnswTarget *target = NULL;
	HnswRead	read;

	hnsw_read(index, id, &read);
	if (is_live(read.node))
	{
		target = palloc(sizeof(HnswTarget));
		target->links = palloc(sizeof(HnswNodeId) * layout->degree);
		target->lengths = palloc(sizeof(float) * layout->degree);
		target->nlinks = hnsw_link_lengths(index, read.node, target->lengths);
		memcpy(target->links, HnswNodeLinks(layout, read.node), sizeof(HnswNodeId) * target->nlinks);
	}
	hnsw_read_end(&read);
	return target;
}

/* Move coded links to their nodes; each of these is changed once. */
static void
move_coded(HnswIndex *index, HnswLink *links, int n)
{
	int			end;

	qsort(links, n, sizeof(HnswLink), compare_targets);
	for (int i = 0; i < n; i++)
		links[i].target = i > 0 && links[i].to == links[i - 1].to ? links[i - 1].target :
			read_target(index, links[i].to);
	qsort(links, n, sizeof(HnswLink), compare_groups);
	for (int i = 0; i < n; i = end)
	{
		CHECK_FOR_INTERRUPTS();
		for (end = i + 1; end < n && links[end].from == links[i].from; end++)
			;
		hnsw_add_overflow(index, links + i, end - i);
		piramid_injection_point("hnsw-overflow-moving");
	}
}

/* A live base node as a neighbour; false if it is none. */
static bool
read_neighbour(HnswIndex *index, HnswNodeId id, HnswNeighbour *neighbour)
{
	HnswRead	read;
	bool		live;

	hnsw_read(index, id, &read);
	live = is_live(read.node);
	if (live)
		hnsw_neighbour_fill(index, id, read.node, neighbour);
	hnsw_read_end(&read);
	return live;
}

/*
 * Move plain links to their nodes.  A node may decline, but not the nearest
 * neighbour of the one that the link leads to: so that can still be reached.
 */
static void
move_plain(HnswIndex *index, const HnswLink *links, int n)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw overflow link",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int i = 0; i < n; i++)
	{
		HnswNeighbour from;
		HnswNeighbour to;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		if (!read_neighbour(index, links[i].from, &from) ||
			!read_neighbour(index, links[i].to, &to))
			continue;
		to.distance = hnsw_graph_distance(index, from.vector, from.norm, to.vector, to.norm);
		if (!hnsw_add_link(index, NULL, &from, &to, 0) && to.nlinks > 0 &&
			to.links[0] == from.id)
			hnsw_force_back(index, to.id, 0);
		piramid_injection_point("hnsw-overflow-moving");
	}
	MemoryContextSwitchTo(old);
}

/*
 * Move links, n of them, to their nodes, and remove them from their group, whose
 * lock the caller holds.
 */
static void
move_links(HnswIndex *index, uint32 group, HnswLink *links, int n)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw overflow links",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	if (index->layout.code.units > 0)
		move_coded(index, links, n);
	else
		move_plain(index, links, n);
	piramid_injection_point("hnsw-overflow-moved");
	hnsw_overflow_remove(index, group, links, n);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * Which links of a group to move: those whose pages have been logged anyway,
 * or else those of the block that has most of them.  Puts them in front and
 * counts them.
 */
static int
choose_moves(HnswIndex *index, HnswLink *links, int n)
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
		chosen[block] = !hnsw_needs_image(index, hnsw_read_lsn(&read));
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
			HnswLink	link = links[i];

			links[i] = links[moves];
			links[moves++] = link;
		}
	}
	return moves;
}

/* Move some links of a group to their nodes.  False if somebody else is at it. */
static bool
make_room(HnswIndex *index, uint32 group)
{
	const HnswLayout *layout = &index->layout;
	HnswLink   *links;
	uint8	   *codes;
	int			n;

	if (!hnsw_overflow_trylock(index, group))
		return false;
	links = palloc(sizeof(HnswLink) * layout->overflow_links);
	codes = palloc((Size) layout->code.units * layout->overflow_links);
	n = hnsw_overflow_load(index, group, links, codes);
	n = choose_moves(index, links, n);
	if (n > 0)
		move_links(index, group, links, n);
	pfree(codes);
	pfree(links);
	hnsw_overflow_unlock(index, group);
	return true;
}

/*
 * Store links to the new row, n of them; those for which there is no room
 * are made in their nodes, if these agree.  Returns how many were made.
 */
int
hnsw_overflow_store(HnswFinder *finder, const HnswNeighbour *to, HnswLink *links, int n)
{
	HnswIndex  *index = finder->index;
	const HnswLayout *layout = &index->layout;
	int			made = 0;
	int			end;

	qsort(links, n, sizeof(HnswLink), compare_groups);
	for (int start = 0; start < n; start = end)
	{
		uint32		group = HnswNodeGroup(layout, links[start].from);
		int			done;

		CHECK_FOR_INTERRUPTS();
		for (end = start + 1; end < n && HnswNodeGroup(layout, links[end].from) == group; end++)
			;
		done = start + hnsw_overflow_append(index, links + start, end - start);
		if (done < end && make_room(index, group))
			done += hnsw_overflow_append(index, links + done, end - done);
		made += done - start;
		for (; done < end; done++)
			made += hnsw_link_back(finder, to, links[done].neighbour, 0, HNSW_LINK_IF_WANTED);
		piramid_injection_point("hnsw-overflow-stored");
	}
	return made;
}
