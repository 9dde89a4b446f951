/*-------------------------------------------------------------------------
 *
 * page.h
 *		Pages of an index, whichever access method it is of: small logged changes,
 *		and reports of what is broken.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_PAGE_H
#define PIRAMID_PAGE_H

#include "compat.h"

#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "storage/off.h"
#include "utils/rel.h"
#include "utils/relcache.h"

/* New contents for a part of a page that is locked exclusively */
typedef struct PageEdit
{
	Buffer		buffer;
	int			offset;			/* from the start of the page */
	int			size;
	const void *data;
} PageEdit;

/* At most so many of them in one record, on at most MAX_GENERIC_XLOG_PAGES pages */
#define PAGE_MAX_EDITS 64

/* Does this backend hold a lock of the page?  Local buffers have none. */
static inline bool
page_is_locked(Buffer buffer)
{
	return !BufferIsLocal(buffer) &&
		LWLockHeldByMe(BufferDescriptorGetContentLock(GetBufferDescriptor(buffer - 1)));
}

/* May a heap TID of a page be one? */
static inline bool
page_tid_is_possible(const ItemPointerData *tid)
{
	return BlockNumberIsValid(ItemPointerGetBlockNumberNoCheck(tid)) &&
		OffsetNumberIsValid(ItemPointerGetOffsetNumberNoCheck(tid));
}

#ifdef USE_ASSERT_CHECKING
/* Does this backend hold the page's exclusive lock?  Local buffers have none. */
static inline bool
page_is_locked_exclusively(Buffer buffer)
{
	return BufferIsLocal(buffer) ||
		LWLockHeldByMeInMode(BufferDescriptorGetContentLock(GetBufferDescriptor(buffer - 1)),
							 LW_EXCLUSIVE);
}

/* Called for a page that is locked */
typedef void (*PageFunction) (Page page, BlockNumber block, void *arg);
#endif

/* functions in hint_page.c */
extern Buffer *page_hint_table;
extern uint32 page_hint_slots;
extern void page_hints_grow(BlockNumber nblocks);
extern Buffer page_read(Relation rel, BlockNumber block);

/* Where a block was last, if it was there; NULL: there are no hints. */
static inline Buffer *
page_hint(Relation rel, BlockNumber block)
{
	if (page_hint_slots == 0 || RelationUsesLocalBuffers(rel))
		return NULL;
	return &page_hint_table[(block + RelationGetRelid(rel) * 0x9E3779B1u) & (page_hint_slots - 1)];
}

/* functions in edit_page.c */
pg_noreturn extern void page_report_corrupt(Relation rel, BlockNumber block, const char *what);
#ifdef USE_ASSERT_CHECKING
extern void page_for_each_locked(PageFunction function, void *arg);
#endif
extern void page_edit(Relation rel, const PageEdit *edits, int n);
extern void page_check_place(Relation index, BlockNumber block, Relation table,
							 const ItemPointerData *tid, BlockNumber *table_blocks);

/*
 * Verify heap TIDs of a page: the table's pages are read by them.  Whether the
 * table has such a block is page_check_place's to tell.
 */
static inline void
page_check_tids(Relation rel, BlockNumber block, const ItemPointerData *tids, int n)
{
	for (int i = 0; i < n; i++)
		if (unlikely(!page_tid_is_possible(&tids[i])))
			page_report_corrupt(rel, block, "an impossible heap TID");
}

#endif							/* PIRAMID_PAGE_H */
