/*-------------------------------------------------------------------------
 *
 * vacuum.h
 *		What vacuum.c, reachable.c and repair.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_VACUUM_H
#define PIRAMID_VACUUM_H

#include "hnsw/bitmap.h"
#include "hnsw/graph.h"
#include "hnsw/options.h"
#include "hnsw/paths.h"

/*
 * A vacuum of one index.  The bitmaps have a bit for each node that there was
 * when it began, and once the entry point is alive for those inserted meanwhile.
 */
typedef struct VacuumState
{
	HnswIndex  *index;
	HnswFinder *finder;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;	/* NULL: no row is dead */
	void	   *callback_state;
	HnswBitmap	dying;
	HnswBitmap	suspect;		/* searches may not find these any more */
	HnswBitmap	entrance;		/* dying nodes from which searches came down */
	int64		ndying;
	bool		repairs;		/* nodes may be lost although none dies */
	HnswNodeId *upper;			/* upper nodes of pass 1 */
	uint32		nupper;
	uint32		upper_capacity;
	int64		nlost;			/* nodes that searches missed */
	int64		nfreed;			/* nodes freed */
	HnswNodeId	best;			/* a live node of the highest level */
	int			best_level;
} VacuumState;

/* functions in vacuum.c */
extern void vacuum_begin(VacuumState *state, Relation rel, IndexBulkDeleteResult *stats);
extern void vacuum_fill_links(VacuumState *state, const HnswNeighbour *self,
							  int level, HnswNeighbour *neighbours, int n);
extern void vacuum_refill(VacuumState *state, HnswNodeId id);
extern void vacuum_run(VacuumState *state, bool always);

/* functions in reachable.c */
extern void vacuum_keep_reach(VacuumState *state);
extern void vacuum_restore_reach(VacuumState *state);

#endif							/* PIRAMID_VACUUM_H */
