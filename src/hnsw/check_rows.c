/*-------------------------------------------------------------------------
 *
 * check_rows.c
 *		Nodes against their rows in the table, and against key pages.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* What the rotation rounds, in the lengths of the vectors */
#define ROTATION_ROUNDING 1e-5

/* ---------------------------------------------------------------------
 * Rows of nodes
 * ---------------------------------------------------------------------
 */

/* Called for each heap TID of a node, with its key; false ends it. */
typedef bool (*RowFunction) (HnswCheck *check, CheckPlace place, const ItemPointerData *tid,
							 const uint8 *key);

/*
 * Call a function for the TIDs of a node that is in check->node.  A chain that changes
 * meanwhile is followed as scans do.
 */
static void
for_each_tid(HnswCheck *check, HnswNodeId id, RowFunction function)
{
	HnswIndex  *index = check->index;
	const HnswLayout *layout = &index->layout;
	CheckPlace	place = {HnswNodeBlock(layout, id), HnswNodeSlot(layout, id)};
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	uint8		keys[HNSW_CHUNK_TIDS * HNSW_MAX_KEY_SIZE];
	uint32		chunk = check->node->more_tids;
	uint64		steps = 0;
	int			n = Min(check->node->ntids, layout->inline_tids);

	memcpy(tids, HnswNodeTids(layout, check->node), n * sizeof(ItemPointerData));
	memcpy(keys, HnswNodeKeys(layout, check->node), n * layout->key_size);
	for (;;)
	{
		for (int i = 0; i < n; i++)
			if (!function(check, place, &tids[i], keys + i * layout->key_size))
				return;
		if (chunk == 0)
			return;
		CHECK_FOR_INTERRUPTS();
		hnsw_chain_step(index, chunk, &steps);
		place.block = chunk / HNSW_CHUNKS_PER_PAGE;
		place.slot = chunk % HNSW_CHUNKS_PER_PAGE;
		n = hnsw_chunk_read(index, id, &chunk, tids, keys);
	}
}

static bool
look_for_row(HnswCheck *check, CheckPlace place, const ItemPointerData *tid, const uint8 *key)
{
	check->has_row = check_heap_sees(check->heap, tid);
	return !check->has_row;
}

/* Has a base node a row that the snapshot sees? */
bool
check_has_rows(HnswCheck *check, HnswNodeId id)
{
	check->has_row = false;
	if (hnsw_node_copy(check->index, id, check->node) == NULL &&
		check->node->flags == HNSW_NODE_USED && check->node->level == 0)
		for_each_tid(check, id, look_for_row);
	return check->has_row;
}

/* ---------------------------------------------------------------------
 * Key pages
 * ---------------------------------------------------------------------
 */

/*
 * What is wrong with the entry of a base node, which says one key though the node has
 * others; NULL if nothing is.
 */
const char *
hnsw_key_fault(HnswIndex *index, HnswNodeId id)
{
	uint8		entry[HNSW_MAX_KEY_SIZE];
	uint8		key[HNSW_MAX_KEY_SIZE];
	uint8		again[HNSW_MAX_KEY_SIZE];
	HnswKeyState keys;

	if (hnsw_key_get(index, id, entry) != HNSW_KEY_ONE)
		return NULL;
	keys = hnsw_node_keys(index, id, key);
	if (keys == HNSW_KEY_ABSENT ||
		(keys == HNSW_KEY_ONE && memcmp(entry, key, index->layout.key_size) == 0))
		return NULL;
	/* Unless the node got another key since */
	if (hnsw_key_get(index, id, again) == HNSW_KEY_ONE &&
		memcmp(entry, again, index->layout.key_size) == 0)
		return "a node with other keys than its key page says";
	return NULL;
}

/* Does an entry say that there is no node, though it has rows that scans should find? */
static bool
hides_rows(HnswCheck *check, HnswNodeId id)
{
	uint8		key[HNSW_MAX_KEY_SIZE];

	/* The entry of a row that the older snapshot sees was set before that was taken. */
	return hnsw_key_get(check->index, id, key) == HNSW_KEY_ABSENT && check_has_rows(check, id) &&
		hnsw_key_get(check->index, id, key) == HNSW_KEY_ABSENT;
}

/* Each live base node against its entry. */
void
check_keys(HnswCheck *check)
{
	HnswIndex  *index = check->index;

	if (index->layout.key_size == 0)
		return;
	check_phase(check->check, "keys");
	for (uint64 id = 1; id < check->nids; id++)
	{
		const char *fault;

		if (check->nodes[id] != NODE_USED)
			continue;
		CHECK_FOR_INTERRUPTS();
		fault = hnsw_key_fault(index, id);
		if (fault == NULL && hides_rows(check, id))
			fault = "a node that its key page says there is not";
		if (fault == NULL)
			continue;
		check_found(check->check, CHECK_REPAIR,
					(CheckPlace) {HnswNodeBlock(&index->layout, id), HnswNodeSlot(&index->layout, id)},
					"%s", fault);
		check_list_add(&check->keys, id);
	}
}

/* ---------------------------------------------------------------------
 * The table
 * ---------------------------------------------------------------------
 */

/* Should a row with these values be in the index?  Sets check->value. */
static bool
belongs(void *arg, const Datum *values, const bool *isnull)
{
	HnswCheck  *check = arg;
	const HnswIndex *index = check->index;
	int			column = index->vector_column - 1;

	if (isnull[column])
		return false;
	hnsw_value_set(&index->layout, check->value, values[column], false);
	return hnsw_value_indexable(&index->layout, check->value);
}

/* What is wrong with a row's entry in the node check->node, or NULL; its value is in check->value. */
static const char *
row_fault(HnswCheck *check, const uint8 *key, const Datum *values, const bool *isnull)
{
	HnswIndex  *index = check->index;
	const HnswLayout *layout = &index->layout;
	uint8		wanted[HNSW_MAX_KEY_SIZE];
	double		off;

	if (layout->key_size > 0)
	{
		hnsw_key_make(&index->keys, index->rel, values, isnull, wanted);
		if (memcmp(wanted, key, layout->key_size) != 0)
			return "other keys than the row";
	}
	if (check->node->error == FLT_MAX)
		return NULL;
	off = hnsw_own_distance(index, check->node, check->value);
	if (off > check->node->error * (1 + ROTATION_ROUNDING) +
		ROTATION_ROUNDING * sqrt(Max(check->node->norm, check->node->own_norm)) + FLT_MIN)
		return "another vector than the row";
	return NULL;
}

/* Compare an entry with the row that it leads to. */
static bool
compare_row(HnswCheck *check, CheckPlace place, const ItemPointerData *tid, const uint8 *key)
{
	MemoryContext old = MemoryContextSwitchTo(check->context);
	const Datum *values;
	const bool *isnull;
	CheckRow	row = check_heap_row(check->heap, tid, &values, &isnull);
	const char *fault = NULL;

	if (row == CHECK_ROW_FOREIGN || (row == CHECK_ROW_SEEN && !belongs(check, values, isnull)))
		fault = "an entry of a row that does not belong there";
	else if (row == CHECK_ROW_SEEN)
		fault = row_fault(check, key, values, isnull);
	if (row != CHECK_ROW_UNSEEN)
		check_heap_note(check->heap, tid, place);
	MemoryContextSwitchTo(old);
	if (fault != NULL)
		check_found(check->check, CHECK_REINDEX, place, "%s, which is (%u,%u) of the table", fault,
					ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid));
	MemoryContextReset(check->context);
	return true;
}

/* Note an entry for the table, in a second pass that looks at nothing else. */
static bool
count_row(HnswCheck *check, CheckPlace place, const ItemPointerData *tid, const uint8 *key)
{
	check_heap_note(check->heap, tid, place);
	return true;
}

/* Call a function for all entries. */
static void
for_each_row(HnswCheck *check, RowFunction function)
{
	const HnswLayout *layout = &check->index->layout;

	for (BlockNumber block = HNSW_METAPAGE + 1; block < check->nblocks; block++)
	{
		const HnswPageOpaqueData *opaque;

		CHECK_FOR_INTERRUPTS();
		if (!hnsw_page_copy(check->index, block, check->page) ||
			hnsw_page_fault(check->index->rel, block, check->page, HNSW_PAGE_NODE) != NULL)
			continue;
		opaque = HnswPageGetOpaque(check->page);
		for (int slot = 0; slot < Min(opaque->nused, layout->nodes_per_page) && !opaque->upper; slot++)
		{
			HnswNodeId	id = HnswMakeNodeId(layout, block, slot);

			if (layout->pages_per_node == 1)
				memcpy(check->node, check->page + HNSW_PAGE_START + slot * layout->node_size,
					   layout->node_size);
			else if (hnsw_node_copy(check->index, id, check->node) != NULL)
				continue;
			if ((check->node->flags & HNSW_NODE_USED) && check->node->level == 0)
				for_each_tid(check, id, function);
		}
	}
}

/* All entries against the table, and the table's rows against the entries. */
void
check_rows(HnswCheck *check)
{
	check_phase(check->check, "entries and their rows");
	for_each_row(check, compare_row);
	if (check_heap_again(check->heap))
		for_each_row(check, count_row);
	check_phase(check->check, "rows and their entries");
	check_heap_scan(check->heap, belongs, check);
}
