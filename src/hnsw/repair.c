/*-------------------------------------------------------------------------
 *
 * repair.c
 *		piramid_repair of an hnsw index: what needs no REINDEX.
 *
 * A check says what is to be done.  The table's lock keeps vacuum out, so no node is
 * freed but here; inserts go on, and are locked out only where it is said.  After
 * the repairs follow the passes of a vacuum that finds no dead row: they finish what
 * an interrupted one has left, and link what searches do not find.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "hnsw/vacuum.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

/* Make the lists of free slots anew, with inserts locked out. */
static void
remake_lists(HnswCheck *check)
{
	HnswIndex  *index = check->index;
	int64		n = 0;

	hnsw_lock_updates(index);
	hnsw_lists_clear(index);
	piramid_injection_point("hnsw-repair-cleared");
	for (BlockNumber block = HNSW_METAPAGE + 1; block < RelationGetNumberOfBlocks(index->rel); block++)
	{
		CHECK_FOR_INTERRUPTS();
		hnsw_relist(index, block);
		piramid_injection_point("hnsw-repair-relisted");
		n++;
	}
	hnsw_unlock_updates(index);
	check_repaired(check->check, n, "pages whose free slots were counted and listed anew");
}

/* Free chunks that no node's chain leads to. */
static void
free_leaked(HnswCheck *check)
{
	int64		n = 0;

	for (uint32 i = 0; i < check->leaked.n; i++)
		n += hnsw_chunk_free(check->index, check->leaked.items[i]);
	check_repaired(check->check, n, "chunks of heap TIDs freed that no node had");
}

/* Is there a node of this level, or a page of which nobody knows? */
static bool
may_stay(HnswCheck *check, HnswNodeId id, int level)
{
	if (hnsw_node_copy(check->index, id, check->other) != NULL)
		return true;
	return (check->other->flags & HNSW_NODE_USED) && check->other->level == level;
}

/* Take the links out of a node that lead nowhere, to itself or twice to another; counts them. */
static int
remove_stale(HnswCheck *check, HnswNodeId id)
{
	HnswIndex  *index = check->index;
	const HnswLayout *layout = &index->layout;
	HnswNodeId	bad[HNSW_MAX_DEGREE];
	int			nbad = 0;
	int			removed = 0;
	HnswWrite	write;
	HnswNodeId *links;

	/* Nobody holds two nodes: so first those to which there should be no link */
	if (hnsw_node_copy(index, id, check->node) != NULL || !hnsw_node_fits(layout, check->node))
		return 0;
	links = HnswNodeLinks(layout, check->node);
	for (int i = 0; i < check->node->nlinks; i++)
		if (links[i] == id || links[i] == HNSW_NO_NODE ||
			!may_stay(check, links[i], check->node->level))
			bad[nbad++] = links[i];
	hnsw_write(index, id, &write);
	links = HnswNodeLinks(layout, write.node);
	for (int i = write.node->nlinks - 1; i >= 0; i--)
		if (hnsw_find_link(bad, nbad, links[i]) >= 0 || hnsw_find_link(links, i, links[i]) >= 0)
		{
			hnsw_remove_link(index, write.node, i);
			removed++;
		}
	hnsw_write_end(index, &write, removed > 0);
	return removed;
}

static void
remove_links(HnswCheck *check, VacuumState *state)
{
	int64		n = 0;

	for (uint32 i = 0; i < check->stale.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		n += remove_stale(check, check->stale.items[i]);
		piramid_injection_point("hnsw-repair-stale");
	}
	for (uint32 i = 0; i < check->stale.n; i++)
		vacuum_refill(state, check->stale.items[i]);
	check_repaired(check->check, n, "links removed that led nowhere, back or twice to the same node");
}

/* Remove overflow links that lead nowhere, or do not belong where they are. */
static void
remove_overflow(HnswCheck *check)
{
	HnswIndex  *index = check->index;
	HnswLink   *links = palloc(sizeof(HnswLink) * index->layout.overflow_links);
	int64		removed = 0;

	for (uint32 i = 0; i < check->groups.n; i++)
	{
		uint32		group = check->groups.items[i];
		int			n = hnsw_overflow_load(index, group, links, NULL);
		int			nbad = 0;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < n; j++)
		{
			bool		twice = false;

			for (int k = 0; k < j && !twice; k++)
				twice = links[k].from == links[j].from && links[k].to == links[j].to;
			if (twice || links[j].from == links[j].to ||
				HnswNodeGroup(&index->layout, links[j].from) != group ||
				!may_stay(check, links[j].from, 0) || !may_stay(check, links[j].to, 0))
			{
				HnswLink	link = links[j];

				links[j] = links[nbad];
				links[nbad++] = link;
			}
		}
		hnsw_overflow_remove(index, group, links, nbad);
		piramid_injection_point("hnsw-repair-overflow");
		removed += nbad;
	}
	check_repaired(check->check, removed, "overflow links removed that led nowhere");
	pfree(links);
}

/* Upper nodes without a node below begin to die; the passes do the rest. */
static void
remove_orphans(HnswCheck *check)
{
	for (uint32 i = 0; i < check->orphans.n; i++)
	{
		HnswWrite	write;

		hnsw_write(check->index, check->orphans.items[i], &write);
		write.node->flags |= HNSW_NODE_DYING;
		hnsw_write_end(check->index, &write, true);
		piramid_injection_point("hnsw-repair-orphan");
	}
	check_repaired(check->check, check->orphans.n, "upper nodes removed that had no node below");
}

/* Let an entry of a key page say what its node has; README-keys tells why it is unknown before. */
static void
mend_key(HnswCheck *check, HnswNodeId id)
{
	HnswIndex  *index = check->index;
	uint8		key[HNSW_MAX_KEY_SIZE];

	/* A slot that is free now may be an insert's by the time that its entry is changed. */
	hnsw_lock_updates(index);
	if (hnsw_node_copy(index, id, check->node) != NULL || check->node->flags != HNSW_NODE_USED ||
		check->node->level > 0)
		hnsw_key_set(index, id, HNSW_KEY_ABSENT, NULL);
	else
		hnsw_key_set(index, id, HNSW_KEY_UNKNOWN, NULL);
	hnsw_unlock_updates(index);
	piramid_injection_point("hnsw-repair-key");
	hnsw_key_settle(index, id, hnsw_node_keys(index, id, key), key);
}

static void
mend_keys(HnswCheck *check)
{
	for (uint32 i = 0; i < check->keys.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mend_key(check, check->keys.items[i]);
	}
	check_repaired(check->check, check->keys.n, "entries of key pages set right");
}

/* Make the live node of the highest level the entry point. */
static void
choose_entry(HnswCheck *check)
{
	HnswIndex  *index = check->index;
	HnswNodeId	best = HNSW_NO_NODE;

	hnsw_lock_updates(index);
	hnsw_meta_read(index->rel, &check->meta);
	for (uint64 id = 1; id < check->nids; id++)
		if ((check->nodes[id] & NODE_USED) &&
			(best == HNSW_NO_NODE || check->nodes[id] > check->nodes[best]) &&
			hnsw_node_copy(index, id, check->other) == NULL &&
			check->other->flags == HNSW_NODE_USED &&
			check->other->level == (check->nodes[id] & NODE_LEVEL))
			best = id;
	piramid_injection_point("hnsw-repair-entry");
	hnsw_entry_update(index, check->meta.entry, best,
					  best != HNSW_NO_NODE ? check->nodes[best] & NODE_LEVEL : 0);
	hnsw_unlock_updates(index);
	check_repaired(check->check, 1, "entry point chosen");
}

void
hnsw_repair(Check *frame)
{
	HnswCheck  *check = hnsw_check_run(frame);
	IndexBulkDeleteResult stats = {0};
	VacuumState state = {0};

	/* If the metapage is broken, this says so. */
	vacuum_begin(&state, frame->index, &stats);
	if (check->lists_broken)
		remake_lists(check);
	if (check->entry_broken)
		choose_entry(check);
	free_leaked(check);
	remove_orphans(check);
	remove_overflow(check);
	remove_links(check, &state);
	mend_keys(check);
	for (uint32 i = 0; i < check->lost.n; i++)
		bitmap_set(&state.suspect, check->lost.items[i]);
	check_phase(frame, "vacuum");
	state.repairs = true;
	vacuum_run(&state, true);
	check_repaired(frame, state.nlost, "nodes linked that searches did not find");
	check_repaired(frame, state.nfreed, "nodes freed that had no rows");
}
