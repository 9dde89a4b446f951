/*-------------------------------------------------------------------------
 *
 * reachable.c
 *		After a vacuum: do searches from the entry point still find what is
 *		left?
 *
 * A node can lose all paths that lead to it, or all but those that no search
 * takes: one whose nearest other nodes do not know it is not found, although
 * somebody far away links to it.  So there are two tests.  The exact one
 * follows all links from the entry point.  The other one is a search for the
 * node, which only those have to pass that the first one missed, and those
 * that lost much to the vacuum (suspects).  A node that is not found is linked
 * from the nearest ones that are; then a search that comes there finds it.
 * Nodes seldom get lost alone: the neighbours of each become suspects.
 *
 * Rows that are inserted meanwhile do no harm: they link and are linked like
 * others, and nobody is taken for lost before a search says so.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/vacuum.h"

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"

/* Width of the search that shall find a node: that of a scan by default */
#define VERIFY_WIDTH HNSW_DEFAULT_EF_SEARCH

/* Nodes that shall link to a lost one, and those asked for it */
#define ENTRANCES 2
#define ENTRANCES_ASKED 8

/* Links of one node may have given way for those of another. */
#define MAX_ROUNDS 3

typedef struct Reach
{
	VacuumState *state;
	HnswMetaPageData meta;
	uint8	   *reached;		/* there is a path from the entry point */
	uint8	   *expanded;		/* and its links have been followed */
	uint8	   *checked;		/* a search looked for it */
	bool		pending;		/* some are reached, but not expanded */
	bool		forced;			/* a link had to give way */
	int64		nlost;
	int64		nchecked;
	/* overflow links of the group that was asked for last */
	uint32		group;
	int			noverflow;
	HnswLink *overflow;
} Reach;

/* ---------------------------------------------------------------------
 * Paths
 * ---------------------------------------------------------------------
 */

static void
reach_node(Reach *reach, HnswNodeId id)
{
	if (!get_bit(reach->state, reach->reached, id))
	{
		set_bit(reach->state, reach->reached, id);
		reach->pending = true;
	}
}

/* Mark the nodes that a base node's overflow links lead to. */
static void
reach_overflow(Reach *reach, HnswNodeId id)
{
	HnswIndex  *index = reach->state->index;
	uint32		group = HnswNodeBlock(&index->layout, id) / HNSW_GROUP_BLOCKS;

	if (group != reach->group)
	{
		reach->noverflow = hnsw_overflow_list(index, group, reach->overflow);
		reach->group = group;
	}
	for (int i = 0; i < reach->noverflow; i++)
		if (reach->overflow[i].from == id)
			reach_node(reach, reach->overflow[i].to);
}

/* Mark the nodes that a node leads to; returns the one below it, if any. */
static HnswNodeId
expand_node(Reach *reach, HnswNodeId id)
{
	HnswIndex  *index = reach->state->index;
	HnswRead	read;
	HnswNodeId	below = HNSW_NO_NODE;
	bool		base;

	set_bit(reach->state, reach->expanded, id);
	hnsw_read(index, id, &read);
	base = read.node->level == 0;
	if (read.node->flags & HNSW_NODE_USED)
	{
		for (int i = 0; i < Min(read.node->nlinks, index->layout.degree); i++)
			reach_node(reach, HnswNodeLinks(&index->layout, read.node)[i]);
		if (!base)
		{
			below = read.node->below;
			reach_node(reach, below);
		}
	}
	hnsw_read_end(&read);
	if (base && index->overflow_pages > 0)
		reach_overflow(reach, id);
	return below;
}

/*
 * Follow all links.  Going through the index in the order of its pages reads
 * each node once, and after few rounds nothing is left.
 */
static void
follow_links(Reach *reach)
{
	VacuumState *state = reach->state;

	while (reach->pending)
	{
		reach->pending = false;
		for (uint64 byte = 0; byte <= state->nids / 8; byte++)
		{
			if (reach->reached[byte] == reach->expanded[byte])
				continue;
			hnsw_vacuum_delay();
			for (uint64 id = byte * 8; id < Min(byte * 8 + 8, state->nids); id++)
				if (get_bit(state, reach->reached, id) && !get_bit(state, reach->expanded, id))
					expand_node(reach, id);
		}
	}
}

/* From the entry point, what can be reached?  What cannot is suspect. */
static void
find_unreached(Reach *reach)
{
	VacuumState *state = reach->state;
	HnswIndex  *index = state->index;
	int			per_page = index->layout.nodes_per_page;
	HnswNodeId	entry;

	memset(reach->reached, 0, state->nids / 8 + 1);
	memset(reach->expanded, 0, state->nids / 8 + 1);
	reach->group = PG_UINT32_MAX;
	entry = reach->meta.entry;
	reach_node(reach, entry);
	/* One that was inserted meanwhile has no bit. */
	while (entry != HNSW_NO_NODE && entry >= state->nids)
		entry = expand_node(reach, entry);
	follow_links(reach);

	for (BlockNumber block = HNSW_METAPAGE + 1; block < state->nids / per_page; block++)
	{
		HnswNodeId	ids[HNSW_MAX_NODES_PER_PAGE];
		bool		all = true;
		int			n;

		for (int slot = 0; slot < per_page && all; slot++)
			all = get_bit(state, reach->reached, HnswMakeNodeId(&index->layout, block, slot)) ||
				get_bit(state, state->dying, HnswMakeNodeId(&index->layout, block, slot));
		if (all)
			continue;
		hnsw_vacuum_delay();
		n = hnsw_block_nodes(index, block, ids);
		for (int i = 0; i < n; i++)
			if (!get_bit(state, reach->reached, ids[i]) && !get_bit(state, state->dying, ids[i]))
				set_bit(state, state->suspect, ids[i]);
	}
}

/* ---------------------------------------------------------------------
 * Searches
 * ---------------------------------------------------------------------
 */

/*
 * Search for a node from the entry point, and tell whether that meets it.
 * Keeping the vectors of what it meets takes time.
 */
static bool
search_finds(Reach *reach, HnswNodeId id, int level, bool keep_vectors)
{
	HnswSearch *search = reach->state->inserter->search;

	search->keep_vectors = false;
	hnsw_search_enter(search, &reach->meta, level, VERIFY_WIDTH);
	search->keep_vectors = keep_vectors;
	if (search->level != level)
		return true;			/* above the entry point: nobody looks there */
	hnsw_search_run(search);
	for (uint32 i = 0; i < search->nfound; i++)
		if (search->found[i].id == id)
			return true;
	return false;
}

/* Make the nearest nodes that a search for this one has found link to it. */
static void
link_lost(Reach *reach, HnswNeighbour *self, int level)
{
	VacuumState *state = reach->state;
	HnswIndex  *index = state->index;
	HnswSearch *search = state->inserter->search;
	HnswNeighbour *neighbours = palloc(sizeof(HnswNeighbour) * Max(search->nfound, 1));
	int			n = hnsw_found_neighbours(state->inserter, self->id, self->norm, neighbours);
	int			made = 0;

	for (int i = 0; i < Min(n, ENTRANCES_ASKED) && made < ENTRANCES; i++)
	{
		self->distance = neighbours[i].distance;
		neighbours[i].rotated = hnsw_rotated(index, neighbours[i].vector);
		made += hnsw_add_link(index, state->inserter->query, &neighbours[i], self, level, false);
	}
	for (int i = 0; i < n && made == 0; i++)
	{
		self->distance = neighbours[i].distance;
		neighbours[i].rotated = hnsw_rotated(index, neighbours[i].vector);
		made += hnsw_add_link(index, state->inserter->query, &neighbours[i], self, level, true);
		reach->forced = true;
	}
	for (int i = 0; i < self->nlinks; i++)
		set_bit(state, state->suspect, self->links[i]);
	pfree(neighbours);
}

/* Look for a suspect of the base or of the levels above; link it if it is lost. */
static void
check_suspect(Reach *reach, HnswNodeId id, bool upper)
{
	VacuumState *state = reach->state;
	HnswIndex  *index = state->index;
	const HnswLayout *layout = &index->layout;
	HnswQuery  *query = state->inserter->query;
	HnswNeighbour self = {0};
	HnswNodeId	links[HNSW_MAX_DEGREE];
	MemoryContext old;
	HnswRead	read;
	float	   *vector;
	int			level;

	hnsw_read(index, id, &read);
	level = read.node->level;
	if ((level > 0) != upper)
	{
		hnsw_read_end(&read);
		return;
	}
	state->suspect[id / 8] &= ~(1 << (id % 8));
	if (read.node->flags != HNSW_NODE_USED || get_bit(state, reach->checked, id))
	{
		hnsw_read_end(&read);
		return;
	}
	set_bit(state, reach->checked, id);

	old = MemoryContextSwitchTo(state->inserter->context);
	vector = palloc(sizeof(float) * hnsw_vector_length(layout));
	hnsw_own_decode(index, read.node, vector);
	hnsw_query_set_node(index, query, read.node, vector);
	self.id = id;
	self.norm = read.node->norm;
	self.vector = vector;
	self.rotated = query->rotated;
	self.links = links;
	self.nlinks = Min(read.node->nlinks, layout->degree);
	memcpy(links, HnswNodeLinks(layout, read.node), sizeof(HnswNodeId) * self.nlinks);
	hnsw_read_end(&read);

	reach->nchecked++;
	if (!search_finds(reach, id, level, false) && !search_finds(reach, id, level, true))
	{
		reach->nlost++;
		link_lost(reach, &self, level);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->inserter->context);
}

/* Check the suspects until there are no new ones. */
static void
check_suspects(Reach *reach, bool upper)
{
	VacuumState *state = reach->state;
	bool		again = true;

	while (again)
	{
		again = false;
		for (uint64 byte = 0; byte <= state->nids / 8; byte++)
		{
			if (state->suspect[byte] == 0)
				continue;
			for (uint64 id = byte * 8; id < Min(byte * 8 + 8, state->nids); id++)
			{
				if (!get_bit(state, state->suspect, id))
					continue;
				hnsw_vacuum_delay();
				check_suspect(reach, id, upper);
				again |= !get_bit(state, state->suspect, id);
			}
		}
	}
}

/*
 * See to it that searches find what is left, as far as can be known.  The
 * entry point is alive, and no live node links to a dying one.
 */
void
vacuum_restore_reach(VacuumState *state)
{
	Reach		reach = {0};

	hnsw_meta_refresh(state->index, &reach.meta);
	if (reach.meta.entry == HNSW_NO_NODE)
		return;
	reach.state = state;
	reach.reached = make_bitmap(state);
	reach.expanded = make_bitmap(state);
	reach.checked = make_bitmap(state);
	reach.overflow = palloc(sizeof(HnswLink) * state->index->layout.overflow_links);

	for (int round = 0; round < MAX_ROUNDS; round++)
	{
		find_unreached(&reach);
		reach.forced = false;
		check_suspects(&reach, true);
		check_suspects(&reach, false);
		ereport(DEBUG1,
				(errmsg_internal("hnsw vacuum: searched for " INT64_FORMAT " nodes, " INT64_FORMAT " were lost",
								 reach.nchecked, reach.nlost)));
		if (!reach.forced)
			break;
		memset(reach.checked, 0, state->nids / 8 + 1);
	}
}
