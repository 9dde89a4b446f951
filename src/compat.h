/*-------------------------------------------------------------------------
 *
 * compat.h
 *		What differs between the PostgreSQL versions that piramid supports.
 *
 * The only file that looks at PG_VERSION_NUM.  Code is written for the newest
 * version; this header gives the older ones the same names.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_COMPAT_H
#define PIRAMID_COMPAT_H

#include "postgres.h"

#include "fmgr.h"

#if PG_VERSION_NUM < 150000
#error "piramid needs PostgreSQL 15 or later"
#endif

/* Soft errors came with 16: before, every input error is thrown. */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#else
#define errsave(context, ...) \
	do { \
		(void) (context); \
		ereport(ERROR, __VA_ARGS__); \
	} while (0)
#endif

/* Scans count their searches for EXPLAIN since 18. */
#if PG_VERSION_NUM >= 180000
#define piramid_count_search(scan) \
	do { \
		if ((scan)->instrument) \
			(scan)->instrument->nsearches++; \
	} while (0)
#else
#define piramid_count_search(scan) ((void) 0)
#endif

/* The delay point of VACUUM tells apart ANALYZE since 18. */
#if PG_VERSION_NUM >= 180000
#define piramid_vacuum_delay() vacuum_delay_point(false)
#else
#define piramid_vacuum_delay() vacuum_delay_point()
#endif

/* Owners are checked by one function for all objects since 16. */
#if PG_VERSION_NUM >= 160000
#define is_relation_owner(oid, role) object_ownercheck(RelationRelationId, oid, role)
#else
#define is_relation_owner(oid, role) pg_class_ownercheck(oid, role)
#endif

/* Relations are located by a RelFileLocator since 16. */
#if PG_VERSION_NUM >= 160000
#define read_recent_buffer(rel, block, hint) \
	ReadRecentBuffer((rel)->rd_locator, MAIN_FORKNUM, block, hint)
#else
#define read_recent_buffer(rel, block, hint) \
	ReadRecentBuffer((rel)->rd_node, MAIN_FORKNUM, block, hint)
#endif

/* What VACUUM reports of buffer hits is counted apart from the others before 18. */
#if PG_VERSION_NUM >= 180000
#define count_vacuum_page_hit() ((void) 0)
#else
#define count_vacuum_page_hit() ((void) VacuumPageHit++)
#endif

/* Disabled paths are counted, whatever they cost, since 18. */
#if PG_VERSION_NUM >= 180000
#define piramid_disable_path(indexpath) ((indexpath)->path.disabled_nodes += 2)
#else
#define piramid_disable_path(indexpath) ((void) 0)
#endif

/* Whether a plan is run once is no longer told since 18. */
#if PG_VERSION_NUM >= 180000
#define EXECUTOR_RUN_ARGS QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define EXECUTOR_RUN_PASS queryDesc, direction, count
#else
#define EXECUTOR_RUN_ARGS QueryDesc *queryDesc, ScanDirection direction, uint64 count, \
	bool execute_once
#define EXECUTOR_RUN_PASS queryDesc, direction, count, execute_once
#endif

/* EXPLAIN lets libraries tell about plan nodes since 18. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain.h"
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#define HAVE_EXPLAIN_PER_NODE_HOOK
#endif

/* Functions that do not return are marked in front since 18. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* Modules tell their name and version since 18. */
#if PG_VERSION_NUM < 180000
#define PG_MODULE_MAGIC_EXT(...) PG_MODULE_MAGIC
#endif

/* Who owns a relation is asked like of other objects since 16. */
#if PG_VERSION_NUM >= 160000
#define owns_relation(oid, user) object_ownercheck(RelationRelationId, oid, user)
#else
#define owns_relation(oid, user) pg_class_ownercheck(oid, user)
#endif

/* Expressions of indexes run with a safe search_path since 17. */
#if PG_VERSION_NUM < 170000
#define RestrictSearchPath() ((void) 0)
#endif

/* Files of zeros are made by one call since 16; before, block by block. */
#if PG_VERSION_NUM >= 160000
#define extend_with_zeros(rel, block, blocks) \
	smgrzeroextend(RelationGetSmgr(rel), MAIN_FORKNUM, block, blocks, false)
#else
#define extend_with_zeros(rel, block, blocks) \
	do { \
		PGAlignedBlock zeros; \
		memset(&zeros, 0, sizeof(zeros)); \
		for (BlockNumber b_ = 0; b_ < (blocks); b_++) \
			smgrextend(RelationGetSmgr(rel), MAIN_FORKNUM, (block) + b_, zeros.data, false); \
	} while (0)
#endif

/* The sequence of a column is asked for by the open table since 17. */
#if PG_VERSION_NUM >= 170000
#define identity_sequence(rel, attnum) getIdentitySequence(rel, attnum, true)
#else
#define identity_sequence(rel, attnum) getIdentitySequence(RelationGetRelid(rel), attnum, true)
#endif

/* Reading a temporary file checks what it got since 16. */
#if PG_VERSION_NUM < 160000
#include "storage/buffile.h"

static inline size_t
BufFileReadMaybeEOF(BufFile *file, void *ptr, size_t size, bool eofOK)
{
	size_t		got = BufFileRead(file, ptr, size);

	if (got != size && !(got == 0 && eofOK))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from temporary file: read only %zu of %zu bytes", got, size)));
	return got;
}

static inline void
BufFileReadExact(BufFile *file, void *ptr, size_t size)
{
	(void) BufFileReadMaybeEOF(file, ptr, size, false);
}
#endif

/* Bad names are soft errors since 16. */
#if PG_VERSION_NUM >= 160000
#define qualified_name(string) stringToQualifiedNameList(string, NULL)
#else
#define qualified_name(string) stringToQualifiedNameList(string)
#endif

/* Columns that a query groups by are an entry of the range table of their own since 18. */
#if PG_VERSION_NUM >= 180000
#define group_expression(rte, column) \
	((rte)->rtekind == RTE_GROUP ? (Node *) list_nth((rte)->groupexprs, (column) - 1) : NULL)
#else
#define group_expression(rte, column) ((Node *) NULL)
#endif

/* The fields of btree's record of a reused page changed with 16. */
#if PG_VERSION_NUM >= 160000
#define set_reuse_record(record, rel, block_, horizon) \
	do { \
		(record)->locator = (rel)->rd_locator; \
		(record)->block = (block_); \
		(record)->snapshotConflictHorizon = (horizon); \
	} while (0)
#else
#define set_reuse_record(record, rel, block_, horizon) \
	do { \
		(record)->node = (rel)->rd_node; \
		(record)->block = (block_); \
		(record)->latestRemovedFullXid = (horizon); \
	} while (0)
#endif

/*
 * A place at which tests stop a backend, or end its statement: between changes that
 * belong together.  Only servers since 17 that were configured with
 * --enable-injection-points have these.
 */
#if defined(USE_INJECTION_POINTS) && PG_VERSION_NUM >= 180000
#include "utils/injection_point.h"
#define piramid_injection_point(name) INJECTION_POINT("piramid-" name, NULL)
#elif defined(USE_INJECTION_POINTS) && PG_VERSION_NUM >= 170000
#include "utils/injection_point.h"
#define piramid_injection_point(name) INJECTION_POINT("piramid-" name)
#else
#define piramid_injection_point(name) ((void) 0)
#endif

#endif							/* PIRAMID_COMPAT_H */
