/*-------------------------------------------------------------------------
 *
 * paths.h
 *		Which nodes paths of links lead to, for vacuum and checks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_PATHS_H
#define PIRAMID_PATHS_H

#include "postgres.h"

#include "hnsw/bitmap.h"
#include "hnsw/pages.h"

typedef struct HnswPaths
{
	HnswIndex  *index;
	const HnswBitmap *shunned;	/* no path leads through these nodes; NULL: there are none */
	HnswBitmap	reached;		/* there is a path from the entry point */
	HnswBitmap	expanded;		/* and its links have been followed */
	bool		pending;		/* some are reached, but not expanded */
	/* overflow links of the group that was asked for last */
	uint32		group;
	int			noverflow;
	HnswLink   *overflow;
} HnswPaths;

/* functions in paths.c */
extern HnswPaths *hnsw_paths_create(HnswIndex *index, uint64 nids, const HnswBitmap *shunned);
extern void hnsw_paths_follow(HnswPaths *paths, HnswNodeId entry);

#endif							/* PIRAMID_PATHS_H */
