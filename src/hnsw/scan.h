/*-------------------------------------------------------------------------
 *
 * scan.h
 *		What a scan knows of its plan and of the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_SCAN_H
#define PIRAMID_HNSW_SCAN_H

#include "postgres.h"

#include "hnsw/graph.h"
#include "hnsw/hnsw.h"

/* A filter by which no row at a larger distance qualifies: slope * distance + offset < value */
typedef struct HnswDistanceLimit
{
	Expr	   *value;
	ExprState  *state;
	double		slope;
	double		offset;
	double		size;			/* what rounding is relative to */
} HnswDistanceLimit;

#define HNSW_DISTANCE_LIMITS 4

/* What the running plan asks of a scan. */
typedef struct HnswDemand
{
	double		rows;			/* at least so many, infinity: all, 0: unknown */
	double		limit;			/* no row at a larger distance can qualify */
	/* found once for each node of a plan */
	IndexScanState *node;
	double		share;			/* of the rows may pass the node's filters */
	int			nlimits;
	HnswDistanceLimit limits[HNSW_DISTANCE_LIMITS];
} HnswDemand;

/* functions in demand.c */
extern void hnsw_demand_find(IndexScanDesc scan, HnswDemand *demand);

/* functions in lookup.c */
typedef struct HnswLookup HnswLookup;
extern HnswLookup *hnsw_lookup_create(IndexScanDesc scan);
extern bool hnsw_lookup_distance(HnswLookup *lookup, const ItemPointerData *tid, double *distance);
extern void hnsw_lookup_end(HnswLookup *lookup);

/* functions in matching.c */
extern double hnsw_sample_matching(HnswIndex *index, const HnswKeyFilter *filter, uint32 npages,
								   double nodes);
extern void hnsw_sweep_matching(HnswSearch *search, uint32 npages);

#endif							/* PIRAMID_HNSW_SCAN_H */
