/*-------------------------------------------------------------------------
 *
 * paths.c
 *		Which nodes paths of links lead to from the entry point.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/paths.h"

#include "compat.h"

#include "commands/vacuum.h"
#include "miscadmin.h"

/* Nothing is reached yet, of so many node numbers. */
HnswPaths *
hnsw_paths_create(HnswIndex *index, uint64 nids, const HnswBitmap *shunned)
{
	HnswPaths  *paths = palloc0(sizeof(HnswPaths));

	paths->index = index;
	paths->shunned = shunned;
	paths->reached = bitmap_make(nids);
	paths->expanded = bitmap_make(nids);
	paths->overflow = palloc(sizeof(HnswLink) * index->layout.overflow_links);
	return paths;
}

static void
reach_node(HnswPaths *paths, HnswNodeId id)
{
	if (!bitmap_get(&paths->reached, id) &&
		(paths->shunned == NULL || !bitmap_get(paths->shunned, id)))
	{
		bitmap_set(&paths->reached, id);
		paths->pending = true;
	}
}

/* Mark the nodes that a base node's overflow links lead to. */
static void
reach_overflow(HnswPaths *paths, HnswNodeId id)
{
	HnswIndex  *index = paths->index;
	uint32		group = HnswNodeGroup(&index->layout, id);

	if (group != paths->group)
	{
		paths->noverflow = hnsw_overflow_load(index, group, paths->overflow, NULL);
		paths->group = group;
	}
	for (int i = 0; i < paths->noverflow; i++)
		if (paths->overflow[i].from == id)
			reach_node(paths, paths->overflow[i].to);
}

/* Mark the nodes that a node leads to; returns the one below it, if any. */
static HnswNodeId
expand_node(HnswPaths *paths, HnswNodeId id)
{
	HnswIndex  *index = paths->index;
	HnswRead	read;
	HnswNodeId	below = HNSW_NO_NODE;
	bool		base;

	bitmap_set(&paths->expanded, id);
	hnsw_read(index, id, &read);
	base = read.node->level == 0;
	if (read.node->flags & HNSW_NODE_USED)
	{
		for (int i = 0; i < read.node->nlinks; i++)
			reach_node(paths, HnswNodeLinks(&index->layout, read.node)[i]);
		if (!base)
		{
			below = read.node->below;
			reach_node(paths, below);
		}
	}
	hnsw_read_end(&read);
	if (base && index->overflow_pages > 0)
		reach_overflow(paths, id);
	return below;
}

/*
 * Follow all links.  Going through the index in the order of its pages reads
 * each node once, and after few rounds nothing is left.
 */
static void
follow_links(HnswPaths *paths)
{
	while (paths->pending)
	{
		paths->pending = false;
		for (uint64 byte = 0; byte <= paths->reached.size / 8; byte++)
		{
			if (paths->reached.bytes[byte] == paths->expanded.bytes[byte])
				continue;
			piramid_vacuum_delay();
			for (uint64 id = byte * 8; id < Min(byte * 8 + 8, paths->reached.size); id++)
				if (bitmap_get(&paths->reached, id) && !bitmap_get(&paths->expanded, id))
					expand_node(paths, id);
		}
	}
}

/* Find what paths lead to from the entry point. */
void
hnsw_paths_follow(HnswPaths *paths, HnswNodeId entry)
{
	bitmap_clear_all(&paths->reached);
	bitmap_clear_all(&paths->expanded);
	paths->group = PG_UINT32_MAX;
	reach_node(paths, entry);
	/* One that was inserted meanwhile has no bit. */
	for (int level = 0; level <= HNSW_MAX_LEVEL && entry >= paths->reached.size; level++)
		entry = expand_node(paths, entry);
	follow_links(paths);
}
