/*-------------------------------------------------------------------------
 *
 * check.h
 *		Checking and repairing an index: what access methods share.
 *
 * An access method registers a CheckMethod.  piramid_check and piramid_repair
 * open and lock the index and its table, and call the method of the index, which
 * reports what it finds with check_found.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_CHECK_H
#define PIRAMID_CHECK_H

#include "postgres.h"

#include "compat.h"

#include "access/genam.h"
#include "storage/block.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

/* What is to be done about a finding; its severity and hint follow. */
typedef enum CheckRemedy
{
	CHECK_REINDEX,				/* error: the index has to be built again */
	CHECK_REPAIR,				/* error that piramid_repair mends */
	CHECK_TIDY					/* warning: answers are right, piramid_repair helps */
} CheckRemedy;

/* Where something was found */
typedef struct CheckPlace
{
	int64		block;			/* or -1 */
	int			slot;			/* of the block, or -1 */
} CheckPlace;

#define CHECK_NOWHERE ((CheckPlace) {-1, -1})
#define CheckBlock(block) ((CheckPlace) {(block), -1})

/* One run of a check or a repair */
typedef struct Check
{
	Relation	index;
	Relation	heap;
	bool		heapallindexed;
	double		sample;			/* share of the blocks to read */
	uint64		seed;			/* chooses them */
	bool		silent;			/* a repair looks for what it has to do */
	int64		nfound;
	struct ReturnSetInfo *result;
} Check;

typedef struct CheckMethod
{
	bool		(*owns) (Relation index);
	void		(*check) (Check *check);
	void		(*repair) (Check *check);
} CheckMethod;

/* functions in check.c */
extern void check_register(const CheckMethod *method);
extern void check_found(Check *check, CheckRemedy remedy, CheckPlace place,
						const char *format,...) pg_attribute_printf(4, 5);
extern void check_repaired(Check *check, int64 count, const char *what);
extern void check_phase(const Check *check, const char *phase);
extern bool check_guard(Check *check, void (*function) (void *arg), void *arg);
extern bool check_samples(const Check *check, BlockNumber block);

/* What the table has where an entry of the index leads */
typedef enum CheckRow
{
	CHECK_ROW_UNSEEN,			/* no row that the snapshot sees: nothing to compare */
	CHECK_ROW_FOREIGN,			/* a row that the index should not have */
	CHECK_ROW_SEEN
} CheckRow;

/* Comparing an index with its table, by one snapshot */
typedef struct CheckHeap CheckHeap;

/* Has a row with these values, of the index's columns, an entry? */
typedef bool (*CheckBelongs) (void *arg, const Datum *values, const bool *isnull);

/* functions in check_heap.c */
extern CheckHeap *check_heap_begin(Check *check);
extern CheckRow check_heap_row(CheckHeap *heap, const ItemPointerData *tid, const Datum **values,
							   const bool **isnull);
extern bool check_heap_sees(CheckHeap *heap, const ItemPointerData *tid);
extern void check_heap_note(CheckHeap *heap, const ItemPointerData *tid, CheckPlace place);
extern bool check_heap_again(CheckHeap *heap);
extern void check_heap_scan(CheckHeap *heap, CheckBelongs belongs, void *arg);
extern void check_heap_end(CheckHeap *heap);

#endif							/* PIRAMID_CHECK_H */
