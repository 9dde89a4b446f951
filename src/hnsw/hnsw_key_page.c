/*-------------------------------------------------------------------------
 *
 * hnsw_key_page.c
 *		Key pages: the keys of base nodes once more, by node number and column by
 *		column, for scans that look for nodes by their keys.
 *
 * A node's number tells its entry, which has a state and a key.  An entry says
 * HNSW_KEY_ONE only while its node has exactly that key:
 *
 * - The entry of a new node is set after the node is written and before any link
 *   leads there.  Until then it says that there is no node, which is true for all
 *   but the row's own transaction, and that one is not done yet.
 * - An insert into a node with another key says HNSW_KEY_SEVERAL before and after
 *   (hnsw_key_note).
 * - Vacuum says HNSW_KEY_UNKNOWN, then reads the node, and then says what it saw
 *   if the entry still is unknown (hnsw_key_settle).  An insert that it did not
 *   see is not done, and will set the entry after that.
 * - Vacuum says HNSW_KEY_ABSENT when a node becomes dying, and free slots stay so.
 *
 * A crash in between leaves an entry for which the node is read, or a dead row.
 * Nobody holds a node's lock while it has a key page locked.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

/* Where the values of a part of the keys begin: its offset in a key tells. */
static inline int
part_offset(const HnswLayout *layout, int offset)
{
	return HNSW_PAGE_START + layout->key_entries * (1 + offset);
}

static inline uint8 *
page_states(Page page)
{
	return (uint8 *) PageGetContents(page);
}

/* Entries that a key page has room for. */
int
hnsw_key_page_capacity(const HnswLayout *layout)
{
	return layout->key_entries;
}

/*
 * How many key pages there are for the nodes that the index has room for by now.  The
 * caller has looked at the metapage.
 */
uint32
hnsw_key_pages(HnswIndex *index)
{
	uint64		ids = (uint64) RelationGetNumberOfBlocks(index->rel) * index->layout.nodes_per_page;

	if (index->key_pages == 0 || index->layout.key_size == 0)
		return 0;
	return (uint32) ((Min(ids, PG_UINT32_MAX) - 1) / index->layout.key_entries + 1);
}

/* The contents of a new page: no nodes. */
static void
init_page(const HnswLayout *layout, Page page)
{
	memset(page_states(page), HNSW_KEY_ABSENT, layout->key_entries);
}

/* Lock the page of a node's entry for a change; it is made if there is none. */
static Buffer
lock_entry(HnswIndex *index, HnswNodeId id)
{
	uint32		ordinal = id / index->layout.key_entries;
	BlockNumber block = hnsw_map_find(index, HNSW_MAP_KEYS, ordinal);

	if (block == 0)
		block = hnsw_map_make(index, HNSW_MAP_KEYS, ordinal, init_page);
	return hnsw_map_get_page(index, HNSW_MAP_KEYS, block, ordinal, BUFFER_LOCK_EXCLUSIVE);
}

/* Copy the key of the i'th entry of a page. */
static void
copy_key(const HnswIndex *index, Page page, int i, uint8 *key)
{
	key[0] = ((uint8 *) page)[part_offset(&index->layout, 0) + i];
	for (int c = 0; c < index->keys.n; c++)
	{
		const HnswKeyColumn *column = &index->keys.columns[c];

		memcpy(key + column->offset,
			   (char *) page + part_offset(&index->layout, column->offset) + i * column->width,
			   column->width);
	}
}

/* The changes that make an entry of a locked page this state and, unless it is NULL, key. */
static int
entry_edits(const HnswIndex *index, Buffer buffer, int i, const uint8 *state, const uint8 *key,
			PageEdit *edits)
{
	const HnswLayout *layout = &index->layout;
	int			n = 0;

	edits[n++] = (PageEdit) {buffer, HNSW_PAGE_START + i, 1, state};
	if (key == NULL)
		return n;
	edits[n++] = (PageEdit) {buffer, part_offset(layout, 0) + i, 1, key};
	for (int c = 0; c < index->keys.n; c++)
	{
		const HnswKeyColumn *column = &index->keys.columns[c];

		edits[n++] = (PageEdit) {buffer, part_offset(layout, column->offset) + i * column->width,
		column->width, key + column->offset};
	}
	return n;
}

/* Change an entry of a locked page. */
static void
write_entry(const HnswIndex *index, Buffer buffer, int i, HnswKeyState new_state, const uint8 *key)
{
	PageEdit	edits[HNSW_MAX_EDITS];
	HnswPageOpaqueData opaque = *HnswPageGetOpaque(BufferGetPage(buffer));
	uint8		state = new_state;
	int			n = entry_edits(index, buffer, i, &state, key, edits);

	opaque.nused = Max(opaque.nused, i + 1);
	edits[n++] = hnsw_edit_opaque(buffer, &opaque);
	page_edit(index->rel, edits, n);
}

/* Set an entry; the key may be NULL unless the state is HNSW_KEY_ONE. */
void
hnsw_key_set(HnswIndex *index, HnswNodeId id, HnswKeyState state, const uint8 *key)
{
	Buffer		buffer = lock_entry(index, id);

	Assert(key != NULL || state != HNSW_KEY_ONE);
	write_entry(index, buffer, id % index->layout.key_entries, state, key);
	UnlockReleaseBuffer(buffer);
}

/*
 * A node that had rows gets a heap TID with this key, or got one: both has to be
 * said.  The entry is right if it says that the node has this key alone, or that
 * it has to be read; that there is no node says vacuum of one that is dying.
 */
void
hnsw_key_note(HnswIndex *index, HnswNodeId id, const uint8 *key)
{
	Buffer		buffer = lock_entry(index, id);
	int			i = id % index->layout.key_entries;
	HnswKeyState state = page_states(BufferGetPage(buffer))[i];
	uint8		old[HNSW_MAX_KEY_SIZE];

	copy_key(index, BufferGetPage(buffer), i, old);
	if (state == HNSW_KEY_UNKNOWN ||
		(state == HNSW_KEY_ONE && memcmp(old, key, index->layout.key_size) != 0))
		write_entry(index, buffer, i, HNSW_KEY_SEVERAL, NULL);
	UnlockReleaseBuffer(buffer);
}

/* Say what a node has, unless its entry is not HNSW_KEY_UNKNOWN any more. */
void
hnsw_key_settle(HnswIndex *index, HnswNodeId id, HnswKeyState state, const uint8 *key)
{
	Buffer		buffer = lock_entry(index, id);
	int			i = id % index->layout.key_entries;

	if (page_states(BufferGetPage(buffer))[i] == HNSW_KEY_UNKNOWN)
		write_entry(index, buffer, i, state, key);
	UnlockReleaseBuffer(buffer);
}

/* Read an entry, its key into room for one. */
HnswKeyState
hnsw_key_get(HnswIndex *index, HnswNodeId id, uint8 *key)
{
	uint32		ordinal = id / index->layout.key_entries;
	int			i = id % index->layout.key_entries;
	BlockNumber block = hnsw_map_find(index, HNSW_MAP_KEYS, ordinal);
	Buffer		buffer;
	HnswKeyState state;

	if (block == 0)
		return HNSW_KEY_ABSENT;
	buffer = hnsw_map_get_page(index, HNSW_MAP_KEYS, block, ordinal, BUFFER_LOCK_SHARE);
	state = page_states(BufferGetPage(buffer))[i];
	copy_key(index, BufferGetPage(buffer), i, key);
	UnlockReleaseBuffer(buffer);
	return state;
}

/*
 * What keys does a base node have?  None (HNSW_KEY_ABSENT), several, or one, which
 * is copied.
 */
HnswKeyState
hnsw_node_keys(HnswIndex *index, HnswNodeId id, uint8 *key)
{
	const HnswLayout *layout = &index->layout;
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	uint8		keys[HNSW_CHUNK_TIDS * HNSW_MAX_KEY_SIZE];
	HnswKeyState result = HNSW_KEY_ABSENT;
	HnswRead	read;
	uint32		chunk;
	uint64		steps = 0;
	int			n;

	hnsw_read(index, id, &read);
	n = read.node->ntids;
	memcpy(keys, HnswNodeKeys(layout, read.node), n * layout->key_size);
	chunk = read.node->more_tids;
	hnsw_read_end(&read);
	for (;;)
	{
		for (int i = 0; i < n; i++)
		{
			const uint8 *other = keys + i * layout->key_size;

			if (result == HNSW_KEY_ABSENT)
				memcpy(key, other, layout->key_size);
			else if (memcmp(key, other, layout->key_size) != 0)
				return HNSW_KEY_SEVERAL;
			result = HNSW_KEY_ONE;
		}
		if (chunk == 0)
			return result;
		CHECK_FOR_INTERRUPTS();
		hnsw_chain_step(index, chunk, &steps);
		n = hnsw_chunk_read(index, id, &chunk, tids, keys);
	}
}

/*
 * Which of eight entries have nodes that match, for sure or maybe, given the bytes of
 * their states and of what the filter says?  A byte each: 1 or 0.
 */
static inline uint64
wanted_entries(const uint8 *states, const uint8 *matches)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);
	uint64		state;
	uint64		match;

	StaticAssertStmt(HNSW_KEY_UNKNOWN == 0 && HNSW_KEY_ONE == 1 && HNSW_KEY_SEVERAL == 2 &&
					 HNSW_KEY_ABSENT == 3, "the low bit says that the node need not be read");
	memcpy(&state, states, sizeof(state));
	memcpy(&match, matches, sizeof(match));
	return (~state | (match & ~(state >> 1))) & ones;
}

/*
 * The nodes with entries on a key page whose keys match, for sure or maybe.  ids
 * must have room for as many as the page has.  Returns how many, and adds to "sure"
 * those whose only key matches; 0 if there is no such page, for then there are no nodes.
 */
int
hnsw_key_page_match(HnswIndex *index, uint32 ordinal, const HnswKeyFilter *filter,
					HnswNodeId *ids, uint32 *sure)
{
	const HnswLayout *layout = &index->layout;
	BlockNumber block = hnsw_map_find(index, HNSW_MAP_KEYS, ordinal);
	HnswNodeId	first = ordinal * layout->key_entries;
	uint8		matches[HNSW_KEY_ENTRIES + sizeof(uint64)];
	HnswKeyEntries entries = {.capacity = layout->key_entries};
	Buffer		buffer;
	Page		page;
	int			n = 0;

	if (block == 0)
		return 0;
	buffer = hnsw_map_get_page(index, HNSW_MAP_KEYS, block, ordinal, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	entries.n = HnswPageGetOpaque(page)->nused;
	entries.data = (uint8 *) page + part_offset(layout, 0);
	hnsw_filter_entries(filter, &entries, matches);
	memset(matches + entries.n, 0, sizeof(uint64));
	/* A page has room for a multiple of eight entries. */
	for (int i = 0; i < entries.n; i += sizeof(uint64))
	{
		uint64		wanted = wanted_entries(page_states(page) + i, matches + i);

		if (wanted == 0)
			continue;
		for (int j = i; j < Min(i + (int) sizeof(uint64), entries.n); j++)
			if (((uint8 *) &wanted)[j - i])
			{
				ids[n++] = first + j;
				*sure += page_states(page)[j] == HNSW_KEY_ONE;
			}
	}
	UnlockReleaseBuffer(buffer);
	index->counts.key_pages++;
	return n;
}

/* Count the entries of a key page by state; returns how many were ever in use. */
int
hnsw_key_page_count(HnswIndex *index, uint32 ordinal, int64 *counts)
{
	BlockNumber block = hnsw_map_find(index, HNSW_MAP_KEYS, ordinal);
	Buffer		buffer;
	int			n;

	if (block == 0)
		return 0;
	buffer = hnsw_map_get_page(index, HNSW_MAP_KEYS, block, ordinal, BUFFER_LOCK_SHARE);
	n = HnswPageGetOpaque(BufferGetPage(buffer))->nused;
	for (int i = 0; i < n; i++)
		counts[Min(page_states(BufferGetPage(buffer))[i], HNSW_KEY_ABSENT)]++;
	UnlockReleaseBuffer(buffer);
	return n;
}

/* Make the key pages of a new index, whose base nodes will have these numbers; not logged. */
void
hnsw_build_key_pages(HnswIndex *index, HnswNodeId first, HnswNodeId last)
{
	hnsw_map_build(index, HNSW_MAP_KEYS, first / index->layout.key_entries,
				   last / index->layout.key_entries, init_page);
}

/* Set an entry of such a page; not logged. */
void
hnsw_build_key(HnswIndex *index, HnswNodeId id, HnswKeyState new_state, const uint8 *key)
{
	Buffer		buffer = lock_entry(index, id);
	Page		page = BufferGetPage(buffer);
	PageEdit	edits[HNSW_MAX_EDITS];
	int			i = id % index->layout.key_entries;
	uint8		state = new_state;
	int			n = entry_edits(index, buffer, i, &state, key, edits);

	START_CRIT_SECTION();
	for (int j = 0; j < n; j++)
		memcpy((char *) page + edits[j].offset, edits[j].data, edits[j].size);
	HnswPageGetOpaque(page)->nused = Max(HnswPageGetOpaque(page)->nused, i + 1);
	MarkBufferDirty(buffer);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}
