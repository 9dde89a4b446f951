/*-------------------------------------------------------------------------
 *
 * build_rows.c
 *		CREATE INDEX: rows in memory.  Equal vectors become one row.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

void
build_rows_init(BuildRows *rows, MemoryContext parent, Size key_room)
{
	memset(rows, 0, sizeof(*rows));
	rows->key_room = key_room;
	rows->context = AllocSetContextCreate(parent, "hnsw build rows", ALLOCSET_DEFAULT_SIZES);
}

void
build_rows_free(BuildRows *rows)
{
	if (rows->context != NULL)
		MemoryContextDelete(rows->context);
	memset(rows, 0, sizeof(*rows));
}

/* Free all but the rows and the TIDs of duplicates. */
void
build_rows_free_values(BuildRows *rows)
{
	if (rows->data != NULL)
		pfree(rows->data);
	if (rows->buckets != NULL)
		pfree(rows->buckets);
	rows->data = NULL;
	rows->data_used = rows->data_capacity = 0;
	rows->buckets = NULL;
	rows->nbuckets = 0;
}

/* An array that may exceed 1 GB, grown or new. */
static void *
grow(BuildRows *rows, void *array, Size size)
{
	if (array == NULL)
		return MemoryContextAllocHuge(rows->context, size);
	return repalloc_huge(array, size);
}

/* Bytes of a row's packed value. */
Size
build_row_size(const BuildRows *rows, uint32 i)
{
	Size		end = i + 1 < rows->n ? rows->rows[i + 1].packed - rows->key_room : rows->data_used;

	return end - rows->rows[i].packed;
}

static uint32 *
bucket_of(const BuildRows *rows, const char *packed, Size size)
{
	return &rows->buckets[hash_bytes((const unsigned char *) packed, size) & (rows->nbuckets - 1)];
}

static void
grow_buckets(BuildRows *rows)
{
	if (rows->buckets != NULL)
		pfree(rows->buckets);
	rows->nbuckets = 1;
	while (rows->nbuckets < rows->capacity)
		rows->nbuckets *= 2;
	rows->buckets = MemoryContextAllocExtended(rows->context, sizeof(uint32) * rows->nbuckets,
											   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < rows->n; i++)
	{
		uint32	   *bucket = bucket_of(rows, rows->data + rows->rows[i].packed,
									   build_row_size(rows, i));

		rows->rows[i].next = *bucket;
		*bucket = i + 1;
	}
}

/* Make room for one row more: bytes by a quarter of the memory at most. */
static void
grow_rows(BuildRows *rows, Size size)
{
	Size		room = Max(rows->data_capacity, 65536);

	if (rows->n == rows->capacity)
	{
		rows->capacity = Max(rows->capacity, 512) * 2;
		rows->rows = grow(rows, rows->rows, sizeof(BuildRow) * rows->capacity);
	}
	if (rows->data_used + size <= rows->data_capacity)
		return;
	room += Min(room, Max((Size) maintenance_work_mem * 256, room / 8));
	rows->data_capacity = Max(room, rows->data_used + size);
	rows->data = grow(rows, rows->data, rows->data_capacity);
}

/* Add a heap TID and its key to a row that has the same vector. */
static void
add_duplicate(BuildRows *rows, BuildRow *row, const BuildRow *duplicate, const char *packed)
{
	if (rows->ntids == rows->tids_capacity)
	{
		rows->tids_capacity = Max(rows->tids_capacity * 2, 64);
		rows->tids = grow(rows, rows->tids, sizeof(BuildTid) * rows->tids_capacity);
		if (rows->key_room > 0)
			rows->tid_keys = grow(rows, rows->tid_keys, rows->key_room * rows->tids_capacity);
	}
	if (rows->key_room > 0)
		memcpy(rows->tid_keys + rows->ntids * rows->key_room, packed - rows->key_room, rows->key_room);
	rows->tids[rows->ntids].tid = duplicate->tid;
	rows->tids[rows->ntids].next = row->more;
	row->more = ++rows->ntids;
	row->error = Max(row->error, duplicate->error);
}

/* Add a row as it is, but for where its key and value lie. */
void
build_rows_copy(BuildRows *rows, const BuildRow *row, const char *packed, Size size)
{
	BuildRow   *added;

	grow_rows(rows, rows->key_room + size);
	added = &rows->rows[rows->n++];
	*added = *row;
	added->packed = rows->data_used + rows->key_room;
	memcpy(rows->data + rows->data_used, packed - rows->key_room, rows->key_room + size);
	rows->data_used += rows->key_room + size;
}

/* Add a row, or its TID to the row with the same value; was it a new row? */
bool
build_rows_add(BuildRows *rows, const BuildRow *row, const char *packed, Size size)
{
	uint32	   *bucket;

	if (rows->nbuckets == 0 || rows->n == rows->nbuckets)
	{
		grow_rows(rows, rows->key_room + size);
		grow_buckets(rows);
	}
	bucket = bucket_of(rows, packed, size);
	for (uint32 i = *bucket; i != 0; i = rows->rows[i - 1].next)
	{
		BuildRow   *other = &rows->rows[i - 1];

		if (other->scale == row->scale && build_row_size(rows, i - 1) == size &&
			memcmp(rows->data + other->packed, packed, size) == 0)
		{
			add_duplicate(rows, other, row, packed);
			return false;
		}
	}
	build_rows_copy(rows, row, packed, size);
	rows->rows[rows->n - 1].more = 0;
	rows->rows[rows->n - 1].next = *bucket;
	*bucket = rows->n;
	return true;
}

/* A loaded row's value, as the column has it but for rounding to half. */
const HnswValue *
build_row_value(BuildState *state, uint32 i)
{
	const BuildRow *row = &state->rows.rows[i];

	hnsw_value_unpack(&state->layout, state->rows.data + row->packed, row->scale, state->value);
	return state->value;
}
