/*-------------------------------------------------------------------------
 *
 * hint_page.c
 *		Where blocks of indexes were found in shared buffers last time.
 *
 * A look-up in the buffer table costs several cache misses; a hint costs one, and
 * ReadRecentBuffer verifies it.  Slots are shared by whatever blocks hash to them.
 * That a page is in use is told to the replacement strategy here.
 *
 *-------------------------------------------------------------------------
 */
#include "page/page.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "utils/memutils.h"

#define MIN_HINTS 1024
#define MAX_HINTS (1 << 20)

Buffer	   *page_hint_table = NULL;
uint32		page_hint_slots = 0;

/* Have a hint for each block of an index, up to a limit. */
void
page_hints_grow(BlockNumber nblocks)
{
	uint32		n = Max(page_hint_slots, MIN_HINTS);
	Buffer	   *larger;

	while (n < nblocks && n < MAX_HINTS)
		n *= 2;
	if (n == page_hint_slots)
		return;
	larger = MemoryContextAllocZero(TopMemoryContext, sizeof(Buffer) * n);
	if (page_hint_table != NULL)
		pfree(page_hint_table);
	page_hint_table = larger;
	page_hint_slots = n;
}

/* What ReadBuffer counts of a hit for VACUUM and its cost limit */
static inline void
count_vacuum_hit(void)
{
	count_vacuum_page_hit();
	if (VacuumCostActive)
		VacuumCostBalance += VacuumCostPageHit;
}

/*
 * Tell the replacement strategy that a pinned buffer is in use, as ReadBuffer does and
 * ReadRecentBuffer does not.  VACUUM reads all pages, and shall not push others out.  Who
 * has locked the buffer's header writes the whole word.
 */
static inline void
count_use(Buffer buffer)
{
	BufferDesc *descriptor = GetBufferDescriptor(buffer - 1);
	uint32		state = pg_atomic_read_u32(&descriptor->state);

	if ((MyProc->statusFlags & PROC_IN_VACUUM) == 0 &&
		(state & BM_LOCKED) == 0 && BUF_STATE_GET_USAGECOUNT(state) < BM_MAX_USAGE_COUNT)
		(void) pg_atomic_compare_exchange_u32(&descriptor->state, &state, state + BUF_USAGECOUNT_ONE);
}

/* ReadBuffer, with a hint */
Buffer
page_read(Relation rel, BlockNumber block)
{
	Buffer	   *hint = page_hint(rel, block);

	if (hint == NULL)
		return ReadBuffer(rel, block);
	if (*hint != InvalidBuffer && read_recent_buffer(rel, block, *hint))
	{
		count_use(*hint);
		pgstat_count_buffer_read(rel);
		pgstat_count_buffer_hit(rel);
		count_vacuum_hit();
		return *hint;
	}
	return *hint = ReadBuffer(rel, block);
}
