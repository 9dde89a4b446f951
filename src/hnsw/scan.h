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

#include "hnsw/bitmap.h"
#include "hnsw/graph.h"
#include "hnsw/options.h"

/*
 * What a scan does, and the planner expects of it.  A search takes the time of
 * so many nodes of a sweep for each candidate of its width, and of one more for
 * each so many of the width, as its memory is met at random: 200,000 x 128 took
 * 119 ms for a sweep, 7 ms for width 1,000, as long as the sweep for 10,000.
 * Filters may widen the first search that many times.  Under conditions on
 * filter columns, a search expands so many nodes for each that it wants to match.
 */
#define HNSW_SWEPT_PER_CANDIDATE 10
#define HNSW_WIDTH_PER_SWEPT 1000
#define HNSW_FILTERED_WIDTH 4
#define HNSW_HOPS_PER_MATCH 1.5

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
	bool		complete;		/* a cursor may take all rows, so none shall be late */
	/* found once for each node of a plan */
	IndexScanState *node;
	double		planned;		/* rows that the planner expects of the node */
	double		share;			/* of the rows may pass the node's filters */
	int			nlimits;
	HnswDistanceLimit limits[HNSW_DISTANCE_LIMITS];
} HnswDemand;

/* Why a scan read all nodes, or all that meet its conditions */
typedef enum HnswSweepReason
{
	HNSW_SWEEP_NONE,			/* it did not */
	HNSW_SWEEP_START,			/* cheaper than a search */
	HNSW_SWEEP_BUDGET,			/* a search under conditions has cost as much */
	HNSW_SWEEP_LATER			/* more rows were asked for than a search finds as cheaply */
} HnswSweepReason;

/* What a scan did, for those who want to know */
typedef struct HnswScanReport
{
	Oid			index;			/* InvalidOid: there was no scan */
	HnswScanCounts	counts;
	int			width;			/* of the last search; 0: none */
	HnswSweepReason sweep;
	double		matching;		/* share of the nodes that meets the conditions, as sampled, or 0 */
	uint64		rows;			/* returned */
	uint64		late;			/* left out, as they were found too late for their place */
	bool		bounded;		/* hnsw.max_scan_tuples ended it */
} HnswScanReport;

/* functions in report.c */
extern void hnsw_report_init(void);
extern void hnsw_report_add(HnswScanReport *sum, const HnswScanReport *report,
							const HnswScanCounts *counts);
extern void hnsw_report_end(HnswIndex *index, HnswScanReport *report, HnswScanReport *total);
extern const HnswScanReport *hnsw_last_report(void);
extern void hnsw_forget_report(void);

/* functions in trial.c */
extern const HnswStored *hnsw_trial_mask(const HnswIndex *index, const HnswValue *value);

/* functions in scan.c */
extern IndexScanDesc hnsw_beginscan(Relation rel, int nkeys, int norderbys);
extern void hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
						int norderbys);
extern bool hnsw_gettuple(IndexScanDesc scan, ScanDirection direction);
extern void hnsw_endscan(IndexScanDesc scan);
extern void hnsw_scan_report(IndexScanDesc scan, HnswScanReport *report);

/* functions in demand.c */
extern void hnsw_demand_init(void);
extern void hnsw_demand_find(IndexScanDesc scan, HnswDemand *demand);
extern double hnsw_demand_patience(const HnswDemand *demand, double width);

/* functions in lookup.c */
typedef struct HnswLookup HnswLookup;
extern HnswLookup *hnsw_lookup_create(IndexScanDesc scan);
extern bool hnsw_lookup_distance(HnswLookup *lookup, const ItemPointerData *tid, double *distance);
extern void hnsw_lookup_end(HnswLookup *lookup);

/* Of nodes that were read, what sketches told of their keys, and these: how many, and sums */
typedef struct HnswSketchFit
{
	double		n;
	double		told;
	double		key;
	double		told_told;
	double		told_key;
	double		key_key;
} HnswSketchFit;

/* The nodes that meet a scan's conditions, or may, as far as key pages were read */
typedef struct HnswMatches
{
	HnswIndex  *index;
	const HnswKeyFilter *filter;
	double		nodes;			/* of the index, about */
	double		rows;			/* wanted, of the nearest */
	uint32		npages;			/* key pages of the index when the scan began */
	uint32		nread;
	HnswBitmap	pages;			/* which were read */
	HnswBitmap	matching;		/* nodes that match; later those that were not read */
	uint64		n;				/* of them, on the pages that were read */
	uint32		sure;			/* of these, with no other key */
	double		share;			/* of all nodes match, as far as is known */
	HnswNodeId *ids;			/* room for those of a page */
	/* those to read, by the keys that sketches tell: a heap, or NULL */
	HnswPoolEntry *sketched;
	uint32		nsketched;
	uint32		nswept;			/* nodes that were read from it */
	uint32		trusted;		/* rows that are good after that */
	HnswSketchFit fit;
} HnswMatches;

/* functions in matching.c */
extern double hnsw_sketched_nodes(double matching, double rows);
extern HnswMatches *hnsw_matches_create(HnswIndex *index, const HnswKeyFilter *filter,
										double nodes, const HnswDemand *demand);
extern bool hnsw_matches_sweep_pays(const HnswMatches *matches, double width);
extern void hnsw_matches_budget(const HnswMatches *matches, double width, uint32 *budget,
								uint32 *grant);
extern int	hnsw_matches_widen(HnswMatches *matches, HnswSearch *search,
							   const HnswMetaPageData *meta, double rows, double *spread);
extern bool hnsw_matches_sweep(HnswMatches *matches, HnswSearch *search);

#endif							/* PIRAMID_HNSW_SCAN_H */
