/*-------------------------------------------------------------------------
 *
 * scan_state.h
 *		What a scan remembers: shared by scan.c and items.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_SCAN_STATE_H
#define PIRAMID_HNSW_SCAN_STATE_H

#include "postgres.h"

#include "hnsw/scan.h"
#include "lib/pairingheap.h"

/*
 * Rows of a compact index that are looked up before the first is returned: EVIDENCE.md,
 * "Compact", has what that finds.
 */
#define HNSW_RANKED_ROWS 20

typedef enum HnswScanPhase
{
	SCAN_START,
	SCAN_SEARCH,				/* the pool's rows, wider and wider */
	SCAN_SWEEP,					/* rows of what matches, those that seem nearest first */
	SCAN_LAST,					/* no further search: what was found ends the scan */
	SCAN_UNORDERED,				/* no distances: block by block */
	SCAN_DONE
} HnswScanPhase;

/* A found node waiting to be returned. */
typedef struct HnswScanItem
{
	double		lower;			/* bounds of its distance; compact: the estimate */
	double		upper;
	uint32		found;
} HnswScanItem;

/* A row that waits until no nearer one can come */
typedef struct HnswRankedRow
{
	pairingheap_node node;
	double		distance;		/* the exact one, or of a certain row a lower bound */
	double		upper;			/* and the upper one */
	ItemPointerData tid;
} HnswRankedRow;

typedef struct HnswScanState
{
	MemoryContext context;
	HnswIndex  *index;
	HnswValue  *value;
	HnswQuery  *query;
	HnswSearch *search;
	HnswSearch *above;			/* of the level above, for a scan that goes on */
	HnswDemand	demand;
	HnswKeyFilter *filter;		/* conditions on filter columns, or NULL */
	MemoryContext filter_context;
	HnswMatches *matches;		/* nodes that meet them, as far as it is known */
	double		spread;			/* how many times as wide as the rows it is trusted for */
	uint32		budget;			/* nodes that the search may expand, of all widths */
	uint32		grant;			/* more of them for each that matches */
	HnswLookup *lookup;			/* NULL until it is needed */
	HnswScanPhase phase;
	BlockNumber block;			/* next one of an unordered scan */
	HnswScanItem *items;
	uint32		nitems;
	uint32		items_capacity;
	uint32		ready;			/* those to return before anything else is tried; the
								 * others only bound them */
	uint32		sorted;			/* so many are in order, and no other one is before them */
	uint32		next_item;
	uint32		returned;		/* items so far */
	bool		relaxed;		/* late rows may come */
	double		watermark;		/* the executor may have returned rows up to here */
	double		max_upper;		/* of all items returned */
	HnswScanReport report;
	HnswScanReport total;		/* of the scans before, as a plan starts one again */
	/* the item being returned: its heap TIDs */
	double		lower;			/* its bounds */
	double		upper;
	double		error;			/* of its stored vector */
	bool		doubtful;		/* its rows may be late */
	bool		certain;		/* its place is */
	ItemPointerData tids[HNSW_CHUNK_TIDS];
	int			ntids;
	int			next_tid;
	HnswNodeId	owner;
	uint32		more_tids;
	uint64		chain_steps;
	pairingheap *ranked;		/* rows that wait */
	/* rows of a compact index */
	uint64		nlooked_up;
	uint64		nhanded_out;
	double		squares;		/* sum of squared errors of the estimates, each by the
								 * bound of its row's */
	double		max_error;		/* the largest of these bounds */
	BlockNumber heap_blocks;	/* of the table, as last seen: it only grows */
	/* rows of the table that are read ahead */
	int64		reads;			/* blocks that this backend had read when it left us */
	uint32		asked;			/* items before it are asked for */
} HnswScanState;

/* Does the index only estimate distances? */
static inline bool
is_compact(const HnswScanState *state)
{
	return state->index->layout.own_kind == HNSW_OWN_INT4;
}

/* functions in items.c */
extern void hnsw_items_of_pool(HnswScanState *state);
extern void hnsw_items_of_found(HnswScanState *state);
extern void hnsw_items_trust(HnswScanState *state, uint32 trusted);
extern bool hnsw_items_sort(HnswScanState *state);

#endif							/* PIRAMID_HNSW_SCAN_STATE_H */
