/*-------------------------------------------------------------------------
 *
 * check_graph.c
 *		The entry point, and what can be reached from it.
 *
 * Links move while they are followed: from a page of overflow links to a node, say,
 * after the node was read and before the page is.  So a node counts as unreached if
 * several walks miss it.  And only if it has a row that a snapshot sees which is
 * older than the walks: nodes of inserts that are not done, or never will be, may
 * have no links to them yet.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "hnsw/graph.h"
#include "hnsw/options.h"
#include "hnsw/paths.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/float.h"
#include "utils/memutils.h"

/* Walks that have to miss a node */
#define WALKS 3

/* Unreached nodes that are searched for */
#define MAX_SEARCHED 100

/*
 * Nodes at random that are looked for as queries do, at least and at most, and one in so
 * many; the widths of these searches.  Those that are missed with what is near them, or
 * found by the second search, elsewhere than where the first was, are reported if they are
 * so large a share.
 */
#define MIN_LOOKED_FOR 400
#define MAX_LOOKED_FOR 1000
#define NODES_PER_LOOK 100
#define LOST_SHARE 0.005
static const int look_widths[] = {100, 200};

/* Looks that have to find the entry point wrong */
#define LOOKS 3

/* What is wrong with the entry point, or NULL. */
static const char *
entry_fault(HnswCheck *check)
{
	const char *fault;

	hnsw_meta_refresh(check->index, &check->meta);
	if (check->meta.entry == HNSW_NO_NODE)
		return NULL;
	fault = hnsw_node_copy(check->index, check->meta.entry, check->other);
	if (fault != NULL)
		return psprintf("an entry point that is no node: %s", fault);
	if (!(check->other->flags & HNSW_NODE_USED))
		return "an entry point that is no node";
	if (check->other->level != check->meta.entry_level)
		return "an entry point of another level than its node";
	return NULL;
}

/* Is there a row that no search comes to, as the index has no entry point? */
static bool
lacks_entry(HnswCheck *check)
{
	if (check->meta.entry != HNSW_NO_NODE)
		return false;
	for (uint64 id = 1; id < check->nids; id++)
		if (check->nodes[id] == NODE_USED && check_has_rows(check, id))
			return true;
	return false;
}

static void
check_entry(HnswCheck *check)
{
	const char *fault = NULL;

	for (int i = 0; i < LOOKS; i++)
		if ((fault = entry_fault(check)) == NULL)
			break;
	if (fault == NULL && lacks_entry(check))
		fault = "no entry point";
	if (fault == NULL)
		return;
	check_found(check->check, CHECK_REPAIR, CheckBlock(HNSW_METAPAGE), "%s", fault);
	check->entry_broken = true;
}

/* Live base nodes that no walk has come to, as far as known */
static HnswBitmap
find_unreached(HnswCheck *check)
{
	HnswPaths  *paths = hnsw_paths_create(check->index, check->nids, NULL);
	HnswBitmap	unreached = bitmap_make(check->nids);
	bool		any = true;

	for (uint64 id = 1; id < check->nids; id++)
		if (check->nodes[id] == NODE_USED)
			bitmap_set(&unreached, id);
	for (int i = 0; i < WALKS && any; i++)
	{
		hnsw_meta_refresh(check->index, &check->meta);
		hnsw_paths_follow(paths, check->meta.entry);
		any = false;
		for (uint64 byte = 0; byte <= check->nids / 8; byte++)
		{
			unreached.bytes[byte] &= ~paths->reached.bytes[byte];
			any |= unreached.bytes[byte] != 0;
		}
	}
	return unreached;
}

/* Does a search as wide as a scan's find a node? */
static bool
search_finds(HnswCheck *check, HnswFinder *finder, HnswNodeId id)
{
	static const int width = HNSW_DEFAULT_EF_SEARCH;
	const HnswSought sought = {id, 0, -get_float4_infinity()};
	MemoryContext old = MemoryContextSwitchTo(finder->context);
	HnswNeighbour self;
	bool		found;

	finder->search->keep_vectors = false;
	hnsw_finder_ask(finder, id, check->other, &self);
	found = hnsw_finder_misses(finder, &check->meta, &sought, &width, 1) == 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(finder->context);
	return found;
}

static void
check_reach(HnswCheck *check)
{
	HnswBitmap	unreached = find_unreached(check);
	HnswFinder *finder = hnsw_finder_create(check->index);
	HnswNodeId	first = HNSW_NO_NODE;
	int64		n = 0;
	int			searched = 0;
	int			found = 0;

	for (uint64 id = 1; id < check->nids; id++)
	{
		if (!bitmap_get(&unreached, id))
			continue;
		CHECK_FOR_INTERRUPTS();
		if (!check_has_rows(check, id))
			continue;
		if (n++ == 0)
			first = id;
		if (searched < MAX_SEARCHED && hnsw_node_copy(check->index, id, check->other) == NULL &&
			hnsw_node_fits(&check->index->layout, check->other))
		{
			searched++;
			found += search_finds(check, finder, id);
		}
	}
	if (n > 0)
		check_found(check->check, CHECK_TIDY,
					(CheckPlace) {HnswNodeBlock(&check->index->layout, first),
					HnswNodeSlot(&check->index->layout, first)},
					INT64_FORMAT " of " INT64_FORMAT " nodes, this one first, cannot be reached from the entry point; "
					"searches of width %d find %d of %d of them",
					n, check->nlive, HNSW_DEFAULT_EF_SEARCH, found, searched);
}

/* A base node at random in use, or HNSW_NO_NODE after some tries */
static HnswNodeId
random_node(HnswCheck *check)
{
	for (int i = 0; i < MAX_LOOKED_FOR; i++)
	{
		uint64		id = pg_prng_uint64_range(&pg_global_prng_state, 1, check->nids - 1);

		if (check->nodes[id] == NODE_USED)
			return (HnswNodeId) id;
	}
	return HNSW_NO_NODE;
}

/*
 * Paths lead to a node, but do searches follow them?  Some nodes are looked for.  Where
 * there is no structure, searches miss nodes in any graph, but most of them alone.
 */
static void
check_searches(HnswCheck *check)
{
	HnswFinder *finder = hnsw_finder_create(check->index);
	int			n = (int) Min(check->nlive, Max(MIN_LOOKED_FOR, Min(check->nlive / NODES_PER_LOOK,
																	MAX_LOOKED_FOR)));
	int			nlost = 0;
	int			nalone = 0;
	HnswNodeId	first = HNSW_NO_NODE;

	/* A search so wide meets all that paths lead to. */
	if (check->nlive <= look_widths[0])
		return;
	finder->search->keep_vectors = false;
	finder->search->lifted = false; /* as queries search */
	for (int i = 0; i < n; i++)
	{
		HnswNodeId	id = random_node(check);
		HnswLook	look;

		CHECK_FOR_INTERRUPTS();
		if (id == HNSW_NO_NODE || !check_has_rows(check, id))
			continue;
		hnsw_meta_refresh(check->index, &check->meta);
		look = hnsw_finder_look(finder, &check->meta, id, look_widths, lengthof(look_widths));
		nalone += look == HNSW_LOOK_ALONE;
		if (look != HNSW_LOOK_ASTRAY && look != HNSW_LOOK_LOST)
			continue;
		check_list_add(&check->lost, id);
		if (nlost++ == 0)
			first = id;
	}
	if (nlost > Max(nalone, n * LOST_SHARE))
		check_found(check->check, CHECK_TIDY,
					(CheckPlace) {HnswNodeBlock(&check->index->layout, first),
					HnswNodeSlot(&check->index->layout, first)},
					"searches of width %d miss %d of %d nodes at random, this one first, and what is near them",
					look_widths[0], nlost, n);
}

/* Needs to know all nodes, and meets them as searches do. */
void
check_graph(HnswCheck *check)
{
	check_phase(check->check, "graph");
	check_entry(check);
	if (check->check->sample >= 1 && !check->entry_broken && check->meta.entry != HNSW_NO_NODE)
	{
		check_reach(check);
		check_searches(check);
	}
}
