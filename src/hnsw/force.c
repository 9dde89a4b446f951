/*-------------------------------------------------------------------------
 *
 * force.c
 *		Links that are made although no node wants them.
 *
 * A row far from all others is nobody's near neighbour: all that it links to
 * have nearer ones.  One of them has to lead to it, in place of another link.
 * If that were the farthest, it would be the one that was made for the last
 * such row, and this one would be lost.  So a spare link gives way: one to
 * what searches reach without it.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

/* A node's links, as they were when it was read. */
typedef struct LinksRead
{
	int			n;
	bool		live;			/* else there are none, or the node is dying */
	HnswNodeId	ids[HNSW_MAX_DEGREE];
	bool		kept[HNSW_MAX_DEGREE];
	float		lengths[HNSW_MAX_DEGREE];	/* plain links have none */
	float		norm;
	float	   *vector;			/* if there is room */
} LinksRead;

/* False, and no links, if the node is not one of the level. */
static bool
read_links(HnswIndex *index, HnswNodeId id, int level, LinksRead *links)
{
	const HnswLayout *layout = &index->layout;
	HnswRead	read;
	bool		used;

	hnsw_read(index, id, &read);
	used = (read.node->flags & HNSW_NODE_USED) && read.node->level == level;
	links->live = used && !(read.node->flags & HNSW_NODE_DYING);
	links->n = 0;
	if (used)
	{
		links->n = read.node->nlinks;
		memcpy(links->ids, HnswNodeLinks(layout, read.node), sizeof(HnswNodeId) * links->n);
		for (int i = 0; i < links->n; i++)
			links->kept[i] = hnsw_kept(HnswNodeKept(layout, read.node), i);
		if (layout->code.units > 0)
			(void) hnsw_link_lengths(index, read.node, links->lengths);
	}
	if (links->vector != NULL)
		hnsw_own_decode(index, read.node, links->vector);
	links->norm = read.node->norm;
	hnsw_read_end(&read);
	return used;
}

/*
 * Which links of a node are spare: those to what another of its live neighbours
 * leads to, and is nearer to.  A search that comes to the node for that row
 * finds it one hop later.
 */
static void
find_spare(HnswIndex *index, LinksRead *from, int level, bool *spare)
{
	bool		plain = index->layout.code.units == 0;
	int			length = hnsw_vector_length(&index->layout);
	float	   *vectors = plain ? palloc(sizeof(float) * length * Max(from->n, 1)) : NULL;
	float		norms[HNSW_MAX_DEGREE];
	LinksRead  *others = palloc(sizeof(LinksRead) * Max(from->n, 1));

	for (int i = 0; i < from->n; i++)
	{
		others[i].vector = plain ? vectors + (Size) i * length : NULL;
		(void) read_links(index, from->ids[i], level, &others[i]);
		norms[i] = others[i].norm;
		if (plain)
			from->lengths[i] = hnsw_graph_distance(index, from->vector, from->norm,
												   others[i].vector, norms[i]);
	}
	memset(spare, false, sizeof(bool) * HNSW_MAX_DEGREE);
	for (int i = 0; i < from->n; i++)
		for (int j = 0; j < others[i].n && others[i].live; j++)
		{
			int			at = hnsw_find_link(from->ids, from->n, others[i].ids[j]);

			if (at < 0)
				continue;
			if (plain)
				others[i].lengths[j] = hnsw_graph_distance(index, others[i].vector, norms[i],
														   others[at].vector, norms[at]);
			spare[at] |= others[i].lengths[j] < from->lengths[at];
		}
	pfree(others);
	if (plain)
		pfree(vectors);
}

/*
 * Is one link of a node spare, the one at a position, which is so long (not squared)?
 * Its target is asked first: a neighbour of both is likely to lead to it, and the
 * others are not looked at.
 */
bool
hnsw_is_spare(HnswIndex *index, const HnswNodeId *links, int n, int at, float length, int level)
{
	bool		plain = index->layout.code.units == 0;
	Size		size = plain ? sizeof(float) * hnsw_vector_length(&index->layout) : 0;
	LinksRead	target = {.vector = plain ? palloc(size) : NULL};
	LinksRead	other = {.vector = plain ? palloc(size) : NULL};
	bool		spare = false;

	(void) read_links(index, links[at], level, &target);
	for (int i = 0; i < target.n && !spare; i++)
	{
		int			back;

		if (hnsw_find_link(links, n, target.ids[i]) < 0 ||
			!read_links(index, target.ids[i], level, &other) || !other.live)
			continue;
		back = hnsw_find_link(other.ids, other.n, links[at]);
		if (back < 0)
			continue;
		if (plain)
		{
			other.lengths[back] = hnsw_graph_distance(index, other.vector, other.norm,
													  target.vector, target.norm);
			if (index->layout.space->euclidean)
				other.lengths[back] = sqrtf(other.lengths[back]);
		}
		spare = other.lengths[back] < length;
	}
	if (plain)
	{
		pfree(target.vector);
		pfree(other.vector);
	}
	return spare;
}

/* Which link goes first, or -1: fillers before diverse ones, then the farthest. */
static int
first_to_go(const LinksRead *links, const bool *may_go)
{
	int			best = -1;

	for (int i = 0; i < links->n; i++)
		if (may_go[i] &&
			(best < 0 || links->kept[i] < links->kept[best] ||
			 (links->kept[i] == links->kept[best] && links->lengths[i] > links->lengths[best])))
			best = i;
	return best;
}

/* Make the link from one node to another, a live one; false if there is none. */
static bool
make_link(HnswIndex *index, HnswNodeId from, HnswNodeId to, int level, HnswLink *link)
{
	Size		size = sizeof(float) * hnsw_vector_length(&index->layout);
	HnswNeighbour ends[2] = {{.id = from}, {.id = to}};

	for (int i = 0; i < 2; i++)
	{
		LinksRead	read;

		read.vector = palloc(size);
		if (!read_links(index, ends[i].id, level, &read) || (i == 1 && !read.live))
			return false;
		ends[i].rotated = hnsw_rotated(index, read.vector);
	}
	hnsw_link_make(index, &ends[0], &ends[1], link);
	return true;
}

/*
 * Link a node that nobody leads to, and whose links therefore nobody needs yet,
 * to what lost its link to it.
 */
static void
adopt(HnswIndex *index, HnswNodeId id, HnswNodeId orphan, int level)
{
	const HnswLayout *layout = &index->layout;
	HnswLink	link;
	HnswWrite	write;
	bool		linked;
	int			position;

	/* Vacuum frees a dying node, and may have been at this one already. */
	if (!make_link(index, id, orphan, level, &link))
		return;
	hnsw_write(index, id, &write);
	linked = hnsw_find_link(HnswNodeLinks(layout, write.node), write.node->nlinks, orphan) >= 0;
	position = write.node->nlinks;
	if (position >= layout->degree)
	{
		position = layout->degree - 1;
		for (int i = 0; i < layout->degree; i++)
			if (!hnsw_kept(HnswNodeKept(layout, write.node), i))
				position = i;
	}
	if (!linked)
		hnsw_put_link(layout, write.node, position, &link, true);
	hnsw_write_end(index, &write, !linked);
}

/*
 * Make a link in place of a spare one; with "any", in place of another one if
 * there is none, which the new neighbour adopts then.  False if no link was made.
 */
static bool
force_link(HnswIndex *index, const HnswLink *link, int level, bool any)
{
	const HnswLayout *layout = &index->layout;
	HnswNodeId	orphan = HNSW_NO_NODE;
	bool		may_go[HNSW_MAX_DEGREE];
	LinksRead	links;
	HnswWrite	write;
	HnswNodeHeader node;
	int			victim;
	int			position;

	links.vector = palloc(sizeof(float) * hnsw_vector_length(layout));
	if (!read_links(index, link->from, level, &links))
		return false;
	find_spare(index, &links, level, may_go);
	victim = first_to_go(&links, may_go);
	if (victim < 0 && any)
	{
		memset(may_go, true, sizeof(may_go));
		victim = first_to_go(&links, may_go);
		orphan = victim >= 0 ? links.ids[victim] : HNSW_NO_NODE;
	}

	hnsw_write(index, link->from, &write);
	node = write.node;
	if (!(node->flags & HNSW_NODE_USED) || node->level != level)
		position = -1;
	else if (hnsw_find_link(HnswNodeLinks(layout, node), node->nlinks, link->to) >= 0)
	{
		/* Somebody else has made it. */
		hnsw_write_end(index, &write, false);
		return true;
	}
	else if (node->nlinks < layout->degree)
	{
		position = node->nlinks;
		orphan = HNSW_NO_NODE;
	}
	else
		position = victim < 0 ? -1 :
			hnsw_find_link(HnswNodeLinks(layout, node), node->nlinks, links.ids[victim]);
	if (position >= 0)
		hnsw_put_link(layout, node, position, link, true);
	hnsw_write_end(index, &write, position >= 0);
	if (position >= 0 && orphan != HNSW_NO_NODE)
	{
		piramid_injection_point("hnsw-force-adopt");
		adopt(index, link->to, orphan, level);
	}
	return position >= 0;
}

/*
 * Make one of the neighbours of a node, which nobody else may lead to, link back
 * to it: one that has a spare link if there is any, or else the first.
 */
void
hnsw_force_back(HnswIndex *index, HnswNodeId id, int level)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw forced link",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	LinksRead	links = {0};
	bool		made = false;

	(void) read_links(index, id, level, &links);
	for (int any = 0; any <= 1; any++)
		for (int i = 0; i < links.n && !made; i++)
		{
			HnswLink	link;

			CHECK_FOR_INTERRUPTS();
			made = make_link(index, links.ids[i], id, level, &link) &&
				force_link(index, &link, level, any == 1);
		}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Make a neighbour of a node that nobody leads to link to it, in place of any link. */
bool
hnsw_force_link(HnswIndex *index, const HnswNeighbour *from, const HnswNeighbour *to, int level)
{
	HnswLink	link;

	hnsw_link_make(index, from, to, &link);
	return force_link(index, &link, level, true);
}
