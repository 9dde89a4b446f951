/*-------------------------------------------------------------------------
 *
 * reachable.c
 *		Before a vacuum replaces links, and after it: do searches from the entry
 *		point still find what is left?
 *
 * A node can lose all paths that lead to it, or all but those that no search
 * takes: one whose nearest other nodes do not know it is not found, although
 * somebody far away links to it.  So there are two tests.  The exact one
 * follows all links from the entry point (paths.c).  The other one is a search for the
 * node, which only those have to pass that the first one missed, those that
 * lost much to the vacuum, and some at random (suspects).  A node that is not found is linked
 * from the nearest ones that are; then a search that comes there finds it.
 * Nodes seldom get lost alone: the neighbours of each become suspects.
 *
 * A row that was inserted while nearly all others were dying has few links, and few
 * lead to it.  It is linked as if it were inserted now.
 *
 * Rows that are inserted meanwhile do no harm: they link and are linked like
 * others, and nobody is taken for lost before a search says so.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/vacuum.h"

#include "commands/vacuum.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/float.h"
#include "utils/memutils.h"

/* Width of the search that shall find a node: that of a scan by default */
static const int verify_width = HNSW_DEFAULT_EF_SEARCH;

/*
 * Nodes that shall link to a lost one: two, as one link may give way again; and those
 * asked for it.  Both chosen, not measured.
 */
#define ENTRANCES 2
#define ENTRANCES_ASKED 8

/* A node has few links if it has less than this share of what there is room for. */
#define FEW_LINKS_SHARE 4

/*
 * Nodes at random that are looked for: the only link to a group may have been one of a node
 * that is nowhere near it, or have given way to one of a new node.
 */
#define SAMPLE 200

/*
 * Links of one node may have given way for those of another.  A round in which nothing
 * was lost is the last; this only bounds the time, and is chosen, not measured.
 */
#define MAX_ROUNDS 6

typedef struct Reach
{
	VacuumState *state;
	HnswMetaPageData meta;
	HnswPaths  *paths;
	HnswBitmap	checked;		/* a search looked for it */
	HnswBitmap *around;			/* gets the neighbours of lost nodes */
	int64		nchecked;
} Reach;

/* From the entry point, what can be reached?  What cannot is suspect. */
static void
find_unreached(Reach *reach)
{
	VacuumState *state = reach->state;
	HnswIndex  *index = state->index;
	const HnswBitmap *reached = &reach->paths->reached;
	int			per_page = index->layout.nodes_per_page;

	hnsw_paths_follow(reach->paths, reach->meta.entry);
	for (BlockNumber block = HNSW_METAPAGE + 1; block < reached->size / per_page; block++)
	{
		HnswNodeId	ids[HNSW_MAX_NODES_PER_PAGE];
		bool		all = true;
		int			n;

		for (int slot = 0; slot < per_page && all; slot++)
			all = bitmap_get(reached, HnswMakeNodeId(&index->layout, block, slot)) ||
				bitmap_get(&state->dying, HnswMakeNodeId(&index->layout, block, slot));
		if (all)
			continue;
		piramid_vacuum_delay();
		n = hnsw_block_nodes(index, block, ids);
		for (int i = 0; i < n; i++)
			if (!bitmap_get(reached, ids[i]) && !bitmap_get(&state->dying, ids[i]))
				bitmap_set(&state->suspect, ids[i]);
	}
}

/*
 * Some nodes at random are suspect, too; in a repair, for which nodes need not die, in each
 * round.  By inner product, queries come to nodes which a search by the graph's distance
 * misses: there are no such suspects there.
 */
static void
suspect_some(VacuumState *state)
{
	HnswIndex  *index = state->index;
	BlockNumber last = HnswNodeBlock(&index->layout, state->suspect.size - 1);

	if (index->layout.space->lifted)
		return;
	for (int i = 0; i < SAMPLE && last > HNSW_METAPAGE; i++)
	{
		BlockNumber block = (BlockNumber) pg_prng_uint64_range(&pg_global_prng_state,
															   HNSW_METAPAGE + 1, last);
		HnswNodeId	ids[HNSW_MAX_NODES_PER_PAGE];
		int			found = hnsw_block_nodes(index, block, ids);

		piramid_vacuum_delay();
		if (found > 0)
			bitmap_set(&state->suspect, ids[pg_prng_uint64_range(&pg_global_prng_state, 0, found - 1)]);
	}
}

/* ---------------------------------------------------------------------
 * Searches
 * ---------------------------------------------------------------------
 */

/* Has a node few links of its own? */
static inline bool
has_few_links(const Reach *reach, const HnswNeighbour *self)
{
	return self->nlinks * FEW_LINKS_SHARE < reach->state->index->layout.degree;
}

/* Make the nearest nodes that a search for this one has found link to it. */
static void
link_lost(Reach *reach, const HnswNeighbour *self, int level)
{
	VacuumState *state = reach->state;
	int			degree = state->index->layout.degree;
	int			entrances = has_few_links(reach, self) ? degree / 2 : ENTRANCES;
	HnswNeighbour *neighbours;
	int			n = hnsw_finder_neighbours(state->finder, self, false, &neighbours);
	int			made = 0;

	if (has_few_links(reach, self))
		vacuum_fill_links(state, self, level, neighbours, n);
	for (int i = 0; i < Min(n, Max(ENTRANCES_ASKED, entrances)) && made < entrances; i++)
		made += hnsw_link_back(state->finder, self, &neighbours[i], level, HNSW_LINK_IF_WANTED);
	for (int i = 0; i < n && made == 0; i++)
		made += hnsw_link_back(state->finder, self, &neighbours[i], level, HNSW_LINK_ANYWAY);
	piramid_injection_point("hnsw-vacuum-lost");
	for (int i = 0; i < self->nlinks; i++)
		bitmap_set(reach->around, self->links[i]);
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
		state->nlost++;
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
				piramid_vacuum_delay();
				check_suspect(reach, id, upper);
				again |= !bitmap_get(&state->suspect, id);
			}
		}
	}
}

/*
 * See to it that searches find the suspects, and what no other path leads to, by way of nodes
 * that do not die.  These have yet to get links in place of those to dying nodes, by which
 * searches find more.  So what is around lost nodes remains suspect until then: now, too many
 * others would seem lost.
 */
void
vacuum_keep_reach(VacuumState *state)
{
	HnswBitmap	around;
	Reach		reach = {.state = state, .around = &around};

	hnsw_meta_refresh(state->index, &reach.meta);
	if (reach.meta.entry == HNSW_NO_NODE)
		return;
	around = bitmap_make(state->suspect.size);
	reach.checked = bitmap_make(state->suspect.size);
	reach.paths = hnsw_paths_create(state->index, state->dying.size, &state->dying);
	find_unreached(&reach);
	state->finder->search->shunned = HNSW_NODE_DYING;
	check_suspects(&reach, true);
	check_suspects(&reach, false);
	state->finder->search->shunned = 0;
	for (uint64 id = bitmap_next(&around, 0); id < around.size; id = bitmap_next(&around, id + 1))
		bitmap_set(&state->suspect, id);
	pfree(around.bytes);
	pfree(reach.checked.bytes);
	ereport(DEBUG1,
			(errmsg_internal("hnsw vacuum: searched for " INT64_FORMAT " nodes near dying ones, " INT64_FORMAT " would be lost",
							 reach.nchecked, state->nlost)));
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
	reach.around = &state->suspect;
	reach.paths = hnsw_paths_create(state->index, state->dying.size, NULL);
	reach.checked = bitmap_make(state->dying.size);

	for (int round = 0; round < MAX_ROUNDS; round++)
	{
		int64		before = state->nlost;

		find_unreached(&reach);
		if (round == 0 || state->repairs)
			suspect_some(state);
		check_suspects(&reach, true);
		check_suspects(&reach, false);
		ereport(DEBUG1,
				(errmsg_internal("hnsw vacuum: searched for " INT64_FORMAT " nodes, " INT64_FORMAT " were lost",
								 reach.nchecked, state->nlost)));
		if (state->nlost == before)
			break;
		bitmap_clear_all(&reach.checked);
	}
}
