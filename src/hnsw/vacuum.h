/*-------------------------------------------------------------------------
 *
 * vacuum.h
 *		What vacuum.c and reachable.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_VACUUM_H
#define PIRAMID_VACUUM_H

#include "hnsw/graph.h"
#include "hnsw/hnsw.h"

/*
 * A vacuum of one index.  The bitmaps have a bit for each node that there was
 * when it began.
 */
typedef struct VacuumState
{
	HnswIndex  *index;
	HnswInserter *inserter;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void	   *callback_state;
	uint64		nids;			/* size of the bitmaps, in bits */
	uint8	   *dying;
	uint8	   *suspect;		/* searches may not find these any more */
	bool		any_dying;
	HnswNodeId *upper;			/* upper nodes of pass 1 */
	uint32		nupper;
	uint32		upper_capacity;
	HnswNodeId	best;			/* a live node of the highest level */
	int			best_level;
} VacuumState;

static inline bool
get_bit(const VacuumState *state, const uint8 *bits, HnswNodeId id)
{
	return id < state->nids && (bits[id / 8] >> (id % 8)) & 1;
}

static inline void
set_bit(const VacuumState *state, uint8 *bits, HnswNodeId id)
{
	if (id < state->nids)
		bits[id / 8] |= 1 << (id % 8);
}

static inline uint8 *
make_bitmap(const VacuumState *state)
{
	return palloc_extended(state->nids / 8 + 1, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* There are more nodes by now. */
static inline void
vacuum_grow_bitmaps(VacuumState *state, uint64 nids)
{
	Size		old = state->nids / 8 + 1;
	Size		new = nids / 8 + 1;

	if (new > old)
	{
		state->dying = repalloc_huge(state->dying, new);
		memset(state->dying + old, 0, new - old);
		state->suspect = repalloc_huge(state->suspect, new);
		memset(state->suspect + old, 0, new - old);
	}
	state->nids = Max(state->nids, nids);
}

/* functions in reachable.c */
extern void vacuum_restore_reach(VacuumState *state);

#endif							/* PIRAMID_VACUUM_H */
