/*-------------------------------------------------------------------------
 *
 * vacuum.h
 *		What vacuum.c and reachable.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_VACUUM_H
#define PIRAMID_VACUUM_H

#include "hnsw/bitmap.h"
#include "hnsw/graph.h"
#include "hnsw/hnsw.h"

/*
 * A vacuum of one index.  The bitmaps have a bit for each node that there was
 * when it began, and from its third pass on for those inserted meanwhile.
 */
typedef struct VacuumState
{
	HnswIndex  *index;
	HnswFinder *finder;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void	   *callback_state;
	HnswBitmap	dying;
	HnswBitmap	suspect;		/* searches may not find these any more */
	bool		any_dying;
	HnswNodeId *upper;			/* upper nodes of pass 1 */
	uint32		nupper;
	uint32		upper_capacity;
	HnswNodeId	best;			/* a live node of the highest level */
	int			best_level;
} VacuumState;

/* functions in reachable.c */
extern void vacuum_restore_reach(VacuumState *state);

#endif							/* PIRAMID_VACUUM_H */
