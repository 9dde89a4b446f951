/*-------------------------------------------------------------------------
 *
 * vacuum.c
 *		Removal of dead rows.
 *
 *	pass 1	take dead heap TIDs out of the nodes; mark nodes that have none
 *			left as dying, and upper nodes with them
 *	pass 2	wait for the inserts that may not have seen the marks; see to it that
 *			searches find what is near dying nodes without these (reachable.c);
 *			then give each node that links to dying ones other links, found in their
 *			neighbourhood (Singh et al., 2021), and drop overflow links from
 *			and to dying ones
 *	pass 3	move the entry point away from a dying node (pass 2 may have), and wait for the
 *			inserts that may still walk through dying nodes
 *	pass 4	see to it that searches find what is left (reachable.c), and free
 *			the dying nodes
 *
 * An interrupted vacuum leaves dying nodes, which still lead searches to their
 * neighbours; the next vacuum takes them up again.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/vacuum.h"

#include "hnsw/hnsw.h"
#include "commands/vacuum.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Width of the local search that replaces a lost link, for each and in all */
#define REPAIR_WIDTH_PER_LINK 3
#define REPAIR_WIDTH 10

/*
 * A link to a dying node leads far away if that is so many times as far as what would take
 * the link's place.
 */
#define FAR_FACTOR 2

/*
 * A search has to find a node that lost one in so many of its links, and the nearest
 * neighbour of one in so many dying nodes; of each, if these are not more than so many.
 */
#define SUSPECT_LINKS 3
#define SUSPECT_SAMPLE 4
#define ALL_SUSPECTED 500

/* If more than one in so many nodes die, searches without these find little. */
#define SECURED_SHARE 4

/* Remember a live node of the highest level: it may have to be the entry point. */
static inline void
note_level(VacuumState *state, HnswNodeId id, const HnswNodeHeaderData *node)
{
	if (node->flags == HNSW_NODE_USED && node->level > state->best_level &&
		node->level <= HNSW_MAX_LEVEL)
	{
		state->best = id;
		state->best_level = node->level;
	}
}

/* Call a function for every node in use of the index. */
static void
for_each_node(VacuumState *state, void (*function) (VacuumState *state, HnswNodeId id))
{
	Relation	rel = state->index->rel;
	HnswNodeId	ids[HNSW_MAX_NODES_PER_PAGE];
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);

	for (BlockNumber block = HNSW_METAPAGE + 1; block < nblocks; block++)
	{
		int			n = hnsw_block_nodes(state->index, block, ids);

		piramid_vacuum_delay();
		if (n < 0)
			hnsw_block_reclaim(state->index, block);
		for (int i = 0; i < n; i++)
			function(state, ids[i]);
	}
}

/* How many node numbers there are by now. */
static uint64
count_ids(const HnswIndex *index)
{
	uint64		nids = (uint64) RelationGetNumberOfBlocks(index->rel) * index->layout.nodes_per_page;

	return Min(nids, (uint64) PG_UINT32_MAX + 1);
}

/* ---------------------------------------------------------------------
 * Pass 1: dead heap TIDs
 * ---------------------------------------------------------------------
 */

/* Which of n TIDs are dead: moves them to the front and counts them.  None in a repair. */
static int
find_dead(VacuumState *state, ItemPointer tids, int n)
{
	int			ndead = 0;

	for (int i = 0; i < n && state->callback != NULL; i++)
		if (state->callback(&tids[i], state->callback_state))
			tids[ndead++] = tids[i];
	return ndead;
}

/*
 * Take dead TIDs out of a node's chunks, and chunks without TIDs off their
 * list; returns how many TIDs are left there.
 *
 * A scan that stands at a chunk which goes finds its place again by the
 * sequence of the one before.  Where that has none, as older libraries made
 * them, only the end of the list can go: there is nothing to find behind it.
 */
static int64
clean_chunks(VacuumState *state, HnswNodeId id, uint32 chunk)
{
	HnswIndex  *index = state->index;
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	int64		left = 0;
	uint64		steps = 0;
	uint32		before = 0;		/* the chunk before this one */
	uint32		last = 0;		/* the last one with TIDs, or the first */
	bool		numbered = true;	/* all chunks so far have a sequence */

	while (chunk != 0)
	{
		uint32		next = chunk;
		int			n;
		int			ndead;

		hnsw_chain_step(index, chunk, &steps);
		n = hnsw_chunk_read(index, id, &next, tids, NULL);
		numbered = numbered && index->chain_sequence != 0;
		ndead = find_dead(state, tids, n);
		piramid_vacuum_delay();
		if (ndead > 0)
		{
			n = hnsw_chunk_remove(index, id, chunk, tids, ndead);
			state->stats->tuples_removed += ndead;
			piramid_injection_point("hnsw-vacuum-chunk");
		}
		left += n;
		if (n > 0 || before == 0 || !numbered || !hnsw_chunk_unlink_next(index, id, before))
		{
			before = chunk;
			if (n > 0 || last == 0)
				last = chunk;
		}
		chunk = next;
	}
	while (last != 0 && hnsw_chunk_unlink_next(index, id, last))
		piramid_vacuum_delay();
	return left;
}

/* Take dead TIDs out of a node, under its lock; returns how many are left. */
static int
remove_tids(const HnswLayout *layout, HnswNodeHeader node, ItemPointer dead, int ndead)
{
	node->ntids = hnsw_tids_remove(layout, HnswNodeTids(layout, node),
								   HnswNodeKeys(layout, node), node->ntids, dead, ndead);
	return node->ntids;
}

/* Remember a dying node, which has no keys. */
static void
note_dying(VacuumState *state, HnswNodeId id, int level)
{
	bitmap_set(&state->dying, id);
	state->ndying++;
	if (level == 0 && state->index->layout.key_size > 0)
		hnsw_key_set(state->index, id, HNSW_KEY_ABSENT, NULL);
}

/* Remember an upper node. */
static void
note_upper(VacuumState *state, HnswNodeId id)
{
	if (state->nupper == state->upper_capacity)
	{
		state->upper_capacity = Max(state->upper_capacity * 2, 1024);
		if (state->upper == NULL)
			state->upper = palloc_extended(sizeof(HnswNodeId) * state->upper_capacity,
										   MCXT_ALLOC_HUGE);
		else
			state->upper = repalloc_huge(state->upper,
										 sizeof(HnswNodeId) * state->upper_capacity);
	}
	state->upper[state->nupper++] = id;
}

/*
 * Let a live node's entry say what keys the node has, unless it does.  An entry that
 * says one key is right; any other may not be any more, now that rows are removed.
 * hnsw_key_page.c tells why the node is read again.
 */
static void
clean_key(HnswIndex *index, HnswNodeId id)
{
	uint8		key[HNSW_MAX_KEY_SIZE];
	HnswKeyState old;

	if (index->layout.key_size == 0)
		return;
	old = hnsw_key_get(index, id, key);
	if (old == HNSW_KEY_ONE || hnsw_node_keys(index, id, key) == old)
		return;
	hnsw_key_set(index, id, HNSW_KEY_UNKNOWN, NULL);
	piramid_injection_point("hnsw-vacuum-key");
	hnsw_key_settle(index, id, hnsw_node_keys(index, id, key), key);
}

static void
clean_node(VacuumState *state, HnswNodeId id)
{
	HnswIndex  *index = state->index;
	const HnswLayout *layout = &index->layout;
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	HnswRead	read;
	HnswWrite	write;
	int			ntids;
	int			ndead;
	uint32		more;
	int64		chunk_left;
	int			flags;
	int			level;
	HnswNodeId	below;
	bool		dies = false;

	hnsw_read(index, id, &read);
	flags = read.node->flags;
	level = read.node->level;
	below = read.node->below;
	ntids = read.node->ntids;
	more = read.node->more_tids;
	memcpy(tids, HnswNodeTids(layout, read.node), sizeof(ItemPointerData) * ntids);
	hnsw_read_end(&read);

	if (!(flags & HNSW_NODE_USED))
		return;
	if (flags & HNSW_NODE_DYING)
	{
		note_dying(state, id, level);
		if (level > 0)
			bitmap_set(&state->entrance, below);
		return;
	}
	if (level > 0)
	{
		note_upper(state, id);
		return;
	}

	chunk_left = clean_chunks(state, id, more);
	ndead = find_dead(state, tids, ntids);
	state->stats->tuples_removed += ndead;
	state->stats->num_index_tuples += chunk_left + ntids - ndead;
	if (ndead == 0 && (ntids > 0 || chunk_left > 0))
	{
		clean_key(index, id);
		return;
	}

	piramid_injection_point("hnsw-vacuum-chunks");
	/* A row inserted since has its TID here or in a new first chunk. */
	hnsw_write(index, id, &write);
	if (remove_tids(layout, write.node, tids, ndead) == 0 && chunk_left == 0 &&
		write.node->more_tids == more && hnsw_chunks_empty(index, id, more))
	{
		write.node->flags |= HNSW_NODE_DYING;
		dies = true;
	}
	hnsw_write_end(index, &write, true);
	piramid_injection_point("hnsw-vacuum-died");
	if (dies)
		note_dying(state, id, level);
	else
		clean_key(index, id);
}

/* Upper nodes die with the node of the same vector below them. */
static void
mark_upper(VacuumState *state)
{
	HnswIndex  *index = state->index;
	bool		again = true;

	/* Upper nodes above upper nodes: at most one round for each level. */
	while (again)
	{
		again = false;
		for (uint32 i = 0; i < state->nupper; i++)
		{
			HnswNodeId	id = state->upper[i];
			HnswRead	read;
			HnswWrite	write;
			HnswNodeId	below;
			bool		dies;

			if (bitmap_get(&state->dying, id))
				continue;
			hnsw_read(index, id, &read);
			below = read.node->below;
			dies = bitmap_get(&state->dying, below);
			hnsw_read_end(&read);
			if (!dies)
				continue;
			bitmap_set(&state->entrance, below);
			hnsw_write(index, id, &write);
			write.node->flags |= HNSW_NODE_DYING;
			hnsw_write_end(index, &write, true);
			bitmap_set(&state->dying, id);
			again = true;
		}
	}
}

/* ---------------------------------------------------------------------
 * Pass 2: links
 * ---------------------------------------------------------------------
 */

/*
 * What is around a node that the finder was asked for, found from the given
 * nodes or, without any, from the entry point.  Sorted by distance.
 */
static int
find_around(VacuumState *state, const HnswNeighbour *self, int level, const HnswNodeId *seeds,
			int nseeds, HnswNeighbour **neighbours)
{
	HnswSearch *search = state->finder->search;

	if (nseeds > 0)
	{
		hnsw_search_reset(search, level, nseeds * REPAIR_WIDTH_PER_LINK + REPAIR_WIDTH);
		for (int i = 0; i < nseeds; i++)
			hnsw_search_seed(search, seeds[i], -HNSW_MAX_KEY);
	}
	else
	{
		HnswMetaPageData meta;

		hnsw_meta_refresh(state->index, &meta);
		hnsw_search_enter(search, &meta, level, state->index->layout.ef_construction);
		*neighbours = NULL;
		if (search->level != level)
			return 0;
	}
	hnsw_search_run(search);
	return hnsw_finder_neighbours(state->finder, self, false, neighbours);
}

/* What the links of a node that is filled up are chosen from */
typedef struct Spares
{
	HnswNeighbour *neighbours;	/* what a search has found */
	int		   *chosen;			/* which of them, the diverse ones first */
	int			nchosen;
	int			nkept;
	int			next;			/* the chosen one that comes next */
	int			nlost;
	HnswNodeId *lost;			/* dying nodes far away, */
	HnswNeighbour *stand_ins;	/* and what takes their place; NULL if there are none */
} Spares;

/*
 * Find the live node nearest to one that dies, of those it links to, but for "self"; false
 * if there is none.
 */
static bool
find_stand_in(VacuumState *state, const HnswNeighbour *lost, int level, HnswNodeId self,
			  HnswNeighbour *nearest)
{
	HnswIndex  *index = state->index;
	HnswNodeId	links[HNSW_MAX_DEGREE];
	HnswRead	read;
	int			n;
	bool		found = false;

	hnsw_read(index, lost->id, &read);
	n = read.node->level == level ? read.node->nlinks : 0;
	memcpy(links, HnswNodeLinks(&index->layout, read.node), sizeof(HnswNodeId) * n);
	hnsw_read_end(&read);
	for (int i = 0; i < n; i++)
	{
		HnswNeighbour other;

		if (links[i] == self || bitmap_get(&state->dying, links[i]))
			continue;
		hnsw_read(index, links[i], &read);
		if (read.node->flags == HNSW_NODE_USED && read.node->level == level)
		{
			hnsw_neighbour_fill(index, links[i], read.node, &other);
			other.distance = hnsw_graph_distance(index, lost->vector, lost->norm,
												 other.vector, other.norm);
			if (!found || other.distance < nearest->distance)
				*nearest = other;
			found = true;
		}
		hnsw_read_end(&read);
	}
	return found;
}

/*
 * Choose among n neighbours, which the finder's search for "self" has found.  A link to
 * a dying node that is much farther than these may be the only one that led there: what is
 * nearest to that node takes its place.
 */
static void
choose_spares(VacuumState *state, const HnswNeighbour *self, int level, HnswNeighbour *neighbours,
			  int n, Spares *spares)
{
	HnswIndex  *index = state->index;
	const HnswSearch *search = state->finder->search;
	float		factor = index->layout.space->euclidean ? FAR_FACTOR * FAR_FACTOR : FAR_FACTOR;
	float		near = 0;

	spares->neighbours = neighbours;
	spares->chosen = palloc(sizeof(int) * index->layout.degree);
	spares->nchosen = hnsw_select(index, neighbours, n, index->layout.degree, spares->chosen,
								  &spares->nkept);
	for (int i = 0; i < n && near == 0; i++)
		if (hnsw_find_link(self->links, self->nlinks, neighbours[i].id) < 0)
			near = neighbours[i].distance;
	for (uint32 i = 0; i < search->nfound && near > 0; i++)
	{
		HnswNeighbour lost = {.id = search->found[i].id, .norm = search->found[i].norm};

		if (!search->found[i].dying || search->found[i].key <= factor * near ||
			hnsw_find_link(self->links, self->nlinks, lost.id) < 0)
			continue;
		lost.vector = search->vectors + (Size) i * hnsw_vector_length(&index->layout);
		if (spares->stand_ins == NULL)
		{
			spares->lost = palloc(sizeof(HnswNodeId) * self->nlinks);
			spares->stand_ins = palloc(sizeof(HnswNeighbour) * self->nlinks);
		}
		spares->lost[spares->nlost] = lost.id;
		spares->nlost += find_stand_in(state, &lost, level, self->id,
									   &spares->stand_ins[spares->nlost]);
	}
}

/* What may become a link of a node, which is locked, in place of one to a dying node; or NULL */
static HnswNeighbour *
next_spare(VacuumState *state, HnswNodeHeader node, Spares *spares, HnswNodeId lost, bool *kept)
{
	const HnswNodeId *links = HnswNodeLinks(&state->index->layout, node);

	*kept = true;
	for (int i = 0; i < spares->nlost; i++)
		if (spares->lost[i] == lost &&
			hnsw_find_link(links, node->nlinks, spares->stand_ins[i].id) < 0)
			return &spares->stand_ins[i];
	while (spares->next < spares->nchosen)
	{
		int			i = spares->next++;
		HnswNeighbour *to = &spares->neighbours[spares->chosen[i]];

		*kept = i < spares->nkept;
		if (!bitmap_get(&state->dying, to->id) &&
			hnsw_find_link(links, node->nlinks, to->id) < 0)
			return to;
	}
	return NULL;
}

/* Let a node, which is locked, link to what next_spare has given. */
static inline void
use_spare(VacuumState *state, HnswNodeHeader node, int position, HnswNeighbour *to, bool kept)
{
	to->rotated = hnsw_rotated(state->index, to->vector);
	hnsw_set_link(state->index, node, position, to, state->finder->query->rotated, kept);
}

/*
 * Fill up a node's links from n neighbours, and replace those to dying nodes, each in
 * its place as long as there are others: a link that moves would be logged, too.  The
 * finder has been asked for the node, and its search has found the neighbours.
 */
void
vacuum_fill_links(VacuumState *state, const HnswNeighbour *self, int level,
				  HnswNeighbour *neighbours, int n)
{
	HnswIndex  *index = state->index;
	const HnswLayout *layout = &index->layout;
	Spares		spares = {0};
	HnswNeighbour *to;
	HnswWrite	write;
	HnswNodeHeader node;
	bool		kept;

	choose_spares(state, self, level, neighbours, n, &spares);
	hnsw_write(index, self->id, &write);
	node = write.node;
	for (int i = 0; i < node->nlinks;)
	{
		HnswNodeId	lost = HnswNodeLinks(layout, node)[i];

		to = bitmap_get(&state->dying, lost) ? next_spare(state, node, &spares, lost, &kept) : NULL;
		if (to != NULL)
			use_spare(state, node, i, to, kept);
		else if (bitmap_get(&state->dying, lost))
		{
			hnsw_remove_link(index, node, i);
			continue;
		}
		i++;
	}
	while (node->nlinks < layout->degree &&
		   (to = next_spare(state, node, &spares, HNSW_NO_NODE, &kept)) != NULL)
		use_spare(state, node, node->nlinks, to, kept);
	hnsw_write_end(index, &write, true);
	pfree(spares.chosen);
}

/*
 * Where a node dies, those around it may be hard to find from now on.  The
 * nearest one stands for them; and as lost nodes come in groups, a sample of
 * the dying is enough where many die.
 */
static void
suspect_nearest(VacuumState *state, HnswNodeId id)
{
	HnswIndex  *index = state->index;
	HnswRead	read;

	/* Rows that go together may be each tenth. */
	if (state->ndying > ALL_SUSPECTED && murmurhash32(id) % SUSPECT_SAMPLE != 0)
		return;
	hnsw_read(index, id, &read);
	for (int i = 0; i < read.node->nlinks; i++)
	{
		HnswNodeId	to = HnswNodeLinks(&index->layout, read.node)[i];

		if (!bitmap_get(&state->dying, to))
		{
			bitmap_set(&state->suspect, to);
			break;
		}
	}
	hnsw_read_end(&read);
}

/* A dying node to which searches came down: they may have come to a whole group by it. */
static void
suspect_group(VacuumState *state, HnswNodeId id)
{
	MemoryContext old = MemoryContextSwitchTo(state->finder->context);
	HnswNeighbour self;
	HnswNeighbour nearest;
	HnswRead	read;
	int			level;

	hnsw_read(state->index, id, &read);
	hnsw_neighbour_fill(state->index, id, read.node, &self);
	level = read.node->level;
	hnsw_read_end(&read);
	if (find_stand_in(state, &self, level, id, &nearest))
		bitmap_set(&state->suspect, nearest.id);
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->finder->context);
}

/* What is around dying nodes is suspect. */
static void
suspect_around(VacuumState *state)
{
	const HnswBitmap *dying = &state->dying;

	for (uint64 id = bitmap_next(dying, 1); id < dying->size; id = bitmap_next(dying, id + 1))
	{
		piramid_vacuum_delay();
		suspect_nearest(state, id);
		if (bitmap_get(&state->entrance, id))
			suspect_group(state, id);
	}
}

/*
 * Give a live node of this level, which lost links to the given nodes, others.  If it
 * lost most, the lost nodes may lead to no live ones: they are looked for from the
 * entry point.  The finder has been asked for the node.
 */
static void
replace_links(VacuumState *state, const HnswNeighbour *self, int level, const HnswNodeId *lost,
			  int nlost)
{
	HnswNeighbour *neighbours;
	int			n;

	if (nlost * SUSPECT_LINKS >= self->nlinks)
		bitmap_set(&state->suspect, self->id);
	n = find_around(state, self, level, lost, nlost * 2 > self->nlinks ? 0 : nlost, &neighbours);
	vacuum_fill_links(state, self, level, neighbours, n);
}

/* Fill up the links of a node, some of which were taken out; another test is a search for it. */
void
vacuum_refill(VacuumState *state, HnswNodeId id)
{
	MemoryContext old = MemoryContextSwitchTo(state->finder->context);
	HnswNeighbour self;
	HnswRead	read;
	int			level;
	bool		live;

	hnsw_read(state->index, id, &read);
	level = read.node->level;
	live = read.node->flags == HNSW_NODE_USED;
	hnsw_finder_ask(state->finder, id, read.node, &self);
	hnsw_read_end(&read);
	if (live)
		replace_links(state, &self, level, NULL, self.nlinks + 1);
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->finder->context);
}

static void
repair_node(VacuumState *state, HnswNodeId id)
{
	HnswIndex  *index = state->index;
	const HnswLayout *layout = &index->layout;
	MemoryContext old;
	HnswRead	read;
	HnswNodeHeaderData header;
	HnswNodeId	lost[HNSW_MAX_DEGREE];
	int			nlost = 0;
	HnswNeighbour self;

	if (bitmap_get(&state->dying, id))
		return;

	hnsw_read(index, id, &read);
	header = *read.node;
	for (int i = 0; i < header.nlinks; i++)
	{
		HnswNodeId	to = HnswNodeLinks(layout, read.node)[i];

		if (bitmap_get(&state->dying, to))
			lost[nlost++] = to;
	}
	note_level(state, id, &header);
	if (header.flags != HNSW_NODE_USED || nlost == 0)
	{
		hnsw_read_end(&read);
		return;
	}

	old = MemoryContextSwitchTo(state->finder->context);
	hnsw_finder_ask(state->finder, id, read.node, &self);
	hnsw_read_end(&read);

	replace_links(state, &self, header.level, lost, nlost);
	piramid_injection_point("hnsw-vacuum-relinked");
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->finder->context);
}

/* Drop overflow links from and to dying nodes. */
static void
clean_overflow(VacuumState *state)
{
	HnswIndex  *index = state->index;
	HnswLink   *links = palloc(sizeof(HnswLink) * index->layout.overflow_links);
	uint32		ngroups = hnsw_overflow_groups(index);
	HnswMetaPageData meta;

	hnsw_meta_refresh(index, &meta);
	for (uint32 group = 0; group < ngroups && index->overflow_pages > 0; group++)
	{
		int			n = hnsw_overflow_load(index, group, links, NULL);
		int			ndead = 0;

		if (n == 0)
			continue;
		piramid_vacuum_delay();
		for (int i = 0; i < n; i++)
		{
			if (bitmap_get(&state->dying, links[i].from) ||
				bitmap_get(&state->dying, links[i].to))
				links[ndead++] = links[i];
		}
		hnsw_overflow_remove(index, group, links, ndead);
		piramid_injection_point("hnsw-vacuum-overflow");
	}
	pfree(links);
}

/* ---------------------------------------------------------------------
 * Pass 3: entry point
 * ---------------------------------------------------------------------
 */

/* Note the first live node of a block; the bitmap says whether more may come there. */
static void
find_best(VacuumState *state, BlockNumber block, HnswBitmap *room)
{
	HnswNodeId	ids[HNSW_MAX_NODES_PER_PAGE];
	int			n = hnsw_block_nodes(state->index, block, ids);

	if (room != NULL && n < state->index->layout.nodes_per_page)
		bitmap_set(room, block);
	for (int i = 0; i < n && state->best == HNSW_NO_NODE; i++)
	{
		HnswRead	read;

		if (bitmap_get(&state->dying, ids[i]))
			continue;
		hnsw_read(state->index, ids[i], &read);
		note_level(state, ids[i], read.node);
		hnsw_read_end(&read);
	}
}

static bool
entry_is_dying(VacuumState *state, HnswMetaPageData *meta)
{
	hnsw_meta_read(state->index->rel, meta);
	return meta->entry != HNSW_NO_NODE && bitmap_get(&state->dying, meta->entry);
}

/*
 * With inserts locked out, move the entry point away from a dying node.  After
 * that nobody but scans can meet a dying node.
 *
 * If all nodes are dying, one that was inserted since has to be found.  Most
 * of that is done before the lock; under it, only the pages are read that had
 * room before, for nobody else frees any, and new ones.
 */
static void
replace_entry(VacuumState *state)
{
	HnswIndex  *index = state->index;
	HnswMetaPageData meta;
	HnswBitmap	room = {0};		/* blocks with room */

	if (entry_is_dying(state, &meta) && state->best == HNSW_NO_NODE)
	{
		room = bitmap_make(RelationGetNumberOfBlocks(index->rel));
		for (BlockNumber block = HNSW_METAPAGE + 1;
			 block < room.size && state->best == HNSW_NO_NODE; block++)
		{
			piramid_vacuum_delay();
			find_best(state, block, &room);
		}
	}

	LockPage(index->rel, HNSW_METAPAGE, ExclusiveLock);
	if (entry_is_dying(state, &meta))
	{
		BlockNumber now = RelationGetNumberOfBlocks(index->rel);

		for (BlockNumber block = HNSW_METAPAGE + 1; block < now && state->best == HNSW_NO_NODE; block++)
		{
			CHECK_FOR_INTERRUPTS();
			if (block >= room.size || bitmap_get(&room, block))
				find_best(state, block, NULL);
		}
		piramid_injection_point("hnsw-vacuum-entry");
		hnsw_entry_update(index, meta.entry, state->best, Max(state->best_level, 0));
	}
	/* What was inserted so far may lead nowhere else: it is to be looked at. */
	bitmap_grow(&state->dying, count_ids(index));
	bitmap_grow(&state->suspect, state->dying.size);
	UnlockPage(index->rel, HNSW_METAPAGE, ExclusiveLock);
}

/*
 * Before links are replaced, see to it that searches find what is around dying nodes without
 * these.  So nothing is lost meanwhile, nor if the vacuum ends early.  Where too many die, or no
 * node can be the entry point by now, the suspects remain for the end.
 */
static void
secure_reach(VacuumState *state)
{
	HnswMetaPageData meta;
	bool		dies = entry_is_dying(state, &meta);

	suspect_around(state);
	if (state->ndying > count_ids(state->index) / SECURED_SHARE)
		return;
	for (uint32 i = 0; i < state->nupper && dies; i++)
	{
		HnswRead	read;

		if (bitmap_get(&state->dying, state->upper[i]))
			continue;
		hnsw_read(state->index, state->upper[i], &read);
		note_level(state, state->upper[i], read.node);
		hnsw_read_end(&read);
	}
	if (dies && state->best == HNSW_NO_NODE)
		return;
	if (dies)
		replace_entry(state);
	vacuum_keep_reach(state);
}

/* Get ready for the passes; what they need lives in the current memory context. */
void
vacuum_begin(VacuumState *state, Relation rel, IndexBulkDeleteResult *stats)
{
	HnswMetaPageData meta;

	state->index = hnsw_open(rel);
	state->finder = hnsw_finder_create(state->index);
	hnsw_meta_refresh(state->index, &meta);
	state->stats = stats;
	state->best_level = -1;
	state->dying = bitmap_make(count_ids(state->index));
	state->suspect = bitmap_make(state->dying.size);
	state->entrance = bitmap_make(state->dying.size);
	stats->num_index_tuples = 0;
}

/* All passes; those after the first only if nodes die, or "always". */
void
vacuum_run(VacuumState *state, bool always)
{
	Relation	rel = state->index->rel;

	for_each_node(state, clean_node);
	piramid_injection_point("hnsw-vacuum-cleaned");
	mark_upper(state);
	piramid_injection_point("hnsw-vacuum-marked");
	if (state->ndying == 0 && !always)
		return;
	LockPage(rel, HNSW_METAPAGE, ExclusiveLock);
	UnlockPage(rel, HNSW_METAPAGE, ExclusiveLock);
	secure_reach(state);
	piramid_injection_point("hnsw-vacuum-secured");
	for_each_node(state, repair_node);
	piramid_injection_point("hnsw-vacuum-repaired");
	clean_overflow(state);
	replace_entry(state);
	vacuum_restore_reach(state);
	piramid_injection_point("hnsw-vacuum-reached");
	for (uint64 id = 1; id < state->dying.size; id++)
	{
		if (bitmap_get(&state->dying, id))
		{
			piramid_vacuum_delay();
			hnsw_release(state->index, id);
			state->nfreed++;
			piramid_injection_point("hnsw-vacuum-released");
		}
	}
}

IndexBulkDeleteResult *
hnsw_bulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
				IndexBulkDeleteCallback callback, void *callback_state)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "hnsw vacuum",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	VacuumState state = {.callback = callback, .callback_state = callback_state};

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));

	old = MemoryContextSwitchTo(context);
	vacuum_begin(&state, info->index, stats);
	state.index->strategy = info->strategy;
	vacuum_run(&state, false);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return stats;
}

/*
 * Without hnsw_bulkdelete nothing has been counted, and nothing has changed.
 * What the server knows of the table would be wrong for an index that has
 * only some of the rows (partial, NULL, zero vectors), so nothing is said.
 */
IndexBulkDeleteResult *
hnsw_vacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	if (info->analyze_only || stats == NULL)
		return stats;
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	return stats;
}
