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
#include "utils/float.h"
#include "utils/memutils.h"

/* Width of the search that shall find a node: that of a scan by default */
static const int verify_width = HNSW_DEFAULT_EF_SEARCH;

/* Nodes that shall link to a lost one, and those asked for it */
#define ENTRANCES 2
#define ENTRANCES_ASKED 8

/* Links of one node may have given way for those of another. */
#define MAX_ROUNDS 3

typedef struct Reach
{
	VacuumState *state;
	HnswMetaPageData meta;
	HnswBitmap	reached;		/* there is a path from the entry point */
	HnswBitmap	expanded;		/* and its links have been followed */
	HnswBitmap	checked;		/* a search looked for it */
	bool		pending;		/* some are reached, but not expanded */
	bool		forced;			/* a link had to give way */
	int64		nlost;
	int64		nchecked;
	/* overflow links of the group that was asked for last */
	uint32		group;
	int			noverflow;
	HnswLink   *overflow;
} Reach;

/* ---------------------------------------------------------------------
 * Paths
 * ---------------------------------------------------------------------
 */

static void
reach_node(Reach *reach, HnswNodeId id)
{
	if (!bitmap_get(&reach->reached, id))
	{
		bitmap_set(&reach->reached, id);
		reach->pending = true;
	}
}

/* Mark the nodes that a base node's overflow links lead to. */
static void
reach_overflow(Reach *reach, HnswNodeId id)
{
	HnswIndex  *index = reach->state->index;
	uint32		group = HnswNodeGroup(&index->layout, id);

	if (group != reach->group)
	{
		reach->noverflow = hnsw_overflow_load(index, group, reach->overflow, NULL);
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

	bitmap_set(&reach->expanded, id);
	hnsw_read(index, id, &read);
	base = read.node->level == 0;
	if (read.node->flags & HNSW_NODE_USED)
	{
		for (int i = 0; i < read.node->nlinks; i++)
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
	while (reach->pending)
	{
		reach->pending = false;
		for (uint64 byte = 0; byte <= reach->reached.size / 8; byte++)
		{
			if (reach->reached.bytes[byte] == reach->expanded.bytes[byte])
				continue;
			hnsw_vacuum_delay();
			for (uint64 id = byte * 8; id < Min(byte * 8 + 8, reach->reached.size); id++)
				if (bitmap_get(&reach->reached, id) && !bitmap_get(&reach->expanded, id))
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

	bitmap_clear_all(&reach->reached);
	bitmap_clear_all(&reach->expanded);
	reach->group = PG_UINT32_MAX;
	entry = reach->meta.entry;
	reach_node(reach, entry);
	/* One that was inserted meanwhile has no bit. */
	while (entry != HNSW_NO_NODE && entry >= reach->reached.size)
		entry = expand_node(reach, entry);
	follow_links(reach);

	for (BlockNumber block = HNSW_METAPAGE + 1; block < reach->reached.size / per_page; block++)
	{
		HnswNodeId	ids[HNSW_MAX_NODES_PER_PAGE];
		bool		all = true;
		int			n;

		for (int slot = 0; slot < per_page && all; slot++)
			all = bitmap_get(&reach->reached, HnswMakeNodeId(&index->layout, block, slot)) ||
				bitmap_get(&state->dying, HnswMakeNodeId(&index->layout, block, slot));
		if (all)
			continue;
		hnsw_vacuum_delay();
		n = hnsw_block_nodes(index, block, ids);
		for (int i = 0; i < n; i++)
			if (!bitmap_get(&reach->reached, ids[i]) && !bitmap_get(&state->dying, ids[i]))
				bitmap_set(&state->suspect, ids[i]);
	}
}

/* ---------------------------------------------------------------------
 * Searches
 * ---------------------------------------------------------------------
 */

/* Make the nearest nodes that a search for this one has found link to it. */
static void
link_lost(Reach *reach, const HnswNeighbour *self, int level)
{
	VacuumState *state = reach->state;
	HnswNeighbour *neighbours;
	int			n = hnsw_finder_neighbours(state->finder, self, &neighbours);
	int			made = 0;

	for (int i = 0; i < Min(n, ENTRANCES_ASKED) && made < ENTRANCES; i++)
		made += hnsw_link_back(state->finder, self, &neighbours[i], level, HNSW_LINK_IF_WANTED);
	for (int i = 0; i < n && made == 0; i++)
	{
		made += hnsw_link_back(state->finder, self, &neighbours[i], level, HNSW_LINK_ANYWAY);
		reach->forced = true;
	}
	for (int i = 0; i < self->nlinks; i++)
		bitmap_set(&state->suspect, self->links[i]);
	pfree(neighbours);
}

/* Do searches miss the node that the finder was asked for? */
static bool
is_missed(Reach *reach, HnswNodeId id, int level)
{
	const HnswSought sought = {id, level, -get_float4_infinity()};

	return hnsw_finder_misses(reach->state->finder, &reach->meta, &sought, &verify_width, 1) > 0;
}

/* Look for a suspect of the base or of the levels above; link it if it is lost. */
static void
check_suspect(Reach *reach, HnswNodeId id, bool upper)
{
	VacuumState *state = reach->state;
	HnswIndex  *index = state->index;
	HnswFinder *finder = state->finder;
	HnswNeighbour self;
	MemoryContext old;
	HnswRead	read;
	int			level;
	bool		lost;

	hnsw_read(index, id, &read);
	level = read.node->level;
	if ((level > 0) != upper)
	{
		hnsw_read_end(&read);
		return;
	}
	bitmap_clear(&state->suspect, id);
	if (read.node->flags != HNSW_NODE_USED || bitmap_get(&reach->checked, id))
	{
		hnsw_read_end(&read);
		return;
	}
	bitmap_set(&reach->checked, id);

	old = MemoryContextSwitchTo(finder->context);
	hnsw_finder_ask(finder, id, read.node, &self);
	hnsw_read_end(&read);

	/* Keeping the vectors of what a search meets takes time: only if they are needed. */
	reach->nchecked++;
	finder->search->keep_vectors = false;
	lost = is_missed(reach, id, level);
	finder->search->keep_vectors = true;
	if (lost && is_missed(reach, id, level))
	{
		reach->nlost++;
		link_lost(reach, &self, level);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(finder->context);
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
		for (uint64 byte = 0; byte <= state->suspect.size / 8; byte++)
		{
			if (state->suspect.bytes[byte] == 0)
				continue;
			for (uint64 id = byte * 8; id < Min(byte * 8 + 8, state->suspect.size); id++)
			{
				if (!bitmap_get(&state->suspect, id))
					continue;
				hnsw_vacuum_delay();
				check_suspect(reach, id, upper);
				again |= !bitmap_get(&state->suspect, id);
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
	reach.reached = bitmap_make(state->dying.size);
	reach.expanded = bitmap_make(state->dying.size);
	reach.checked = bitmap_make(state->dying.size);
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
		bitmap_clear_all(&reach.checked);
	}
}
