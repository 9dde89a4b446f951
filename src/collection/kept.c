/*-------------------------------------------------------------------------
 *
 * kept.c
 *		Statements of collections, kept for the next call of the same kind.
 *
 * To put a statement together takes longer than to execute it.  It depends on
 * the collection's row and on some arguments, which are the key; on tables
 * and their indexes, and on names, whose changes invalidate what is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "kept.h"

/* Statements that a session keeps.  If there are more, all go. */
#define MOST_KEPT 50

typedef struct Kept
{
	uint64		hash;			/* of the key */
	char	   *key;
	int			length;
	char	   *sql;
	Oid			tables[KEPT_TABLES];
	bool		valid;
} Kept;

static HTAB *kept = NULL;
static uint64 changes = 0;		/* how many there were */
static uint64 changes_before = 0;	/* when a statement was looked for in vain */

/* Something about a table has changed: its indexes, its name, or the like. */
static void
table_changed(Datum arg, Oid table)
{
	HASH_SEQ_STATUS scan;
	Kept	   *k;

	changes++;
	hash_seq_init(&scan, kept);
	while ((k = hash_seq_search(&scan)) != NULL)
	{
		for (int i = 0; i < KEPT_TABLES; i++)
		{
			if (!OidIsValid(table) || k->tables[i] == table)
				k->valid = false;
		}
	}
}

/* The name of a schema, a type or a configuration of words may have changed. */
static void
name_changed(Datum arg, int cache, uint32 hash)
{
	table_changed(arg, InvalidOid);
}

static uint64
hash_of(StringInfo key)
{
	return hash_bytes_extended((const unsigned char *) key->data, key->len, 0);
}

static void
forget(Kept *k)
{
	pfree(k->key);
	pfree(k->sql);
	hash_search(kept, &k->hash, HASH_REMOVE, NULL);
}

static void
forget_all(void)
{
	HASH_SEQ_STATUS scan;
	Kept	   *k;

	hash_seq_init(&scan, kept);
	while ((k = hash_seq_search(&scan)) != NULL)
		forget(k);
}

static void
make_table(void)
{
	HASHCTL		ctl = {.keysize = sizeof(uint64),.entrysize = sizeof(Kept)};

	kept = hash_create("piramid kept statements", MOST_KEPT, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, name_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, name_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TSCONFIGOID, name_changed, (Datum) 0);
	/* A new version of the extension has other functions that put statements together. */
	CacheRegisterSyscacheCallback(PROCOID, name_changed, (Datum) 0);
}

/* The statement of a key, or NULL */
const char *
kept_statement(StringInfo key)
{
	uint64		hash = hash_of(key);
	Kept	   *k;

	if (kept == NULL)
		make_table();
	k = hash_search(kept, &hash, HASH_FIND, NULL);
	if (k != NULL && k->valid && k->length == key->len && memcmp(k->key, key->data, key->len) == 0)
		return pstrdup(k->sql);
	changes_before = changes;
	return NULL;
}

/* Keep a statement that was put together because there was none, unless something has changed since. */
void
keep_statement(StringInfo key, Oid *tables, const char *sql)
{
	uint64		hash = hash_of(key);
	Kept	   *k;
	char	   *key_copy;
	char	   *sql_copy;

	if (changes != changes_before)
		return;
	k = hash_search(kept, &hash, HASH_FIND, NULL);
	if (k != NULL)
		forget(k);
	else if (hash_get_num_entries(kept) >= MOST_KEPT)
		forget_all();
	key_copy = memcpy(MemoryContextAlloc(TopMemoryContext, key->len), key->data, key->len);
	sql_copy = MemoryContextStrdup(TopMemoryContext, sql);
	k = hash_search(kept, &hash, HASH_ENTER, NULL);
	k->key = key_copy;
	k->length = key->len;
	k->sql = sql_copy;
	memcpy(k->tables, tables, sizeof(k->tables));
	k->valid = true;
}

/* The text of a statement that a function in SQL puts together */
const char *
make_statement(const char *question, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *sql;

	SPI_connect();
	if (SPI_execute_with_args(question, nargs, types, values, nulls, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "no statement was put together");
	sql = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	sql = MemoryContextStrdup(context, sql == NULL ? "" : sql);
	SPI_finish();
	return sql;
}
