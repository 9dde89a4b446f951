/*-------------------------------------------------------------------------
 *
 * hnsw.h
 *		The hnsw access method as PostgreSQL sees it: entry points, options and
 *		settings.  README.md has the algorithms, the lock order and the crash story.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_H
#define PIRAMID_HNSW_H

#include "postgres.h"

#include "compat.h"

#include "access/amapi.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"

#include "hnsw/index.h"

/* Reloptions and settings: default, lowest, highest */
#define HNSW_DEFAULT_M 16
#define HNSW_MIN_M 2
#define HNSW_MAX_M 100
#define HNSW_DEFAULT_EF_CONSTRUCTION 64
#define HNSW_MIN_EF_CONSTRUCTION 4
#define HNSW_MAX_EF_CONSTRUCTION 1000
#define HNSW_DEFAULT_EF_SEARCH 40
#define HNSW_MIN_EF_SEARCH 1
#define HNSW_MAX_EF_SEARCH 1000
#define HNSW_DEFAULT_MAX_SCAN_TUPLES 20000	/* stands for no bound */
#define HNSW_DEFAULT_SCAN_MEM_MULTIPLIER 1
#define HNSW_MIN_SCAN_MEM_MULTIPLIER 1
#define HNSW_MAX_SCAN_MEM_MULTIPLIER 1000

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

/* Support function numbers of an operator class */
#define HNSW_DISTANCE_PROC 1	/* distance for ordering */
#define HNSW_METRIC_PROC 2		/* internal: which HnswMetric */
#define HNSW_TYPE_PROC 3		/* internal: which HnswType; without it, vector */
#define HNSW_KEY_PROC 4			/* internal, filter columns only: which HnswKeyKind */

/* Progress phases of CREATE INDEX */
#define HNSW_PHASE_LOAD		2
#define HNSW_PHASE_GRAPH	3
#define HNSW_PHASE_WRITE	4

typedef enum HnswLayoutOption
{
	HNSW_LAYOUT_FAST,
	HNSW_LAYOUT_COMPACT
} HnswLayoutOption;

typedef struct HnswOptions
{
	int32		vl_len_;		/* varlena header (do not touch directly) */
	int			m;
	int			ef_construction;
	int			layout;			/* HnswLayoutOption */
} HnswOptions;

/*
 * What a measurement of recall makes of plans and searches, while it runs: of all
 * hnsw indexes plans use this one only, as wide as it says.
 */
typedef struct HnswTrial
{
	bool		running;
	Oid			index;			/* InvalidOid: none */
	bool		masked;			/* searches pass over the node of their query */
	bool		range;			/* rows up to a distance are asked for, not all */
	int			width;			/* in place of hnsw.ef_search; 0: that */
} HnswTrial;

extern HnswTrial hnsw_trial;

/* functions in options.c */
extern void hnsw_options_init(void);
extern bytea *hnsw_options(Datum reloptions, bool validate);
extern void hnsw_add_reloptions(bits32 kind);
extern bool hnsw_setting_is_taken(const char *name);
extern int	hnsw_ef_search(void);
extern double hnsw_target_recall(void);
extern double hnsw_spread(double share);
extern double hnsw_matching_width(double share);
extern uint32 hnsw_max_scan_nodes(void);
extern bool hnsw_relaxed_order(void);
extern HnswMetric hnsw_metric(Relation rel);
extern HnswType hnsw_type(Relation rel);
extern int	hnsw_column_dimensions(Relation rel);
extern int	hnsw_m(Relation rel);
extern int	hnsw_ef_construction(Relation rel);
extern bool hnsw_compact(Relation rel);

/* functions in target.c */
extern double hnsw_node_room(Relation rel, const HnswMetaPageData *meta);
extern char *hnsw_calibrate_hint(Relation rel);
extern double hnsw_width_for(const HnswRecallData *data, double nodes, double recall, double rows);
extern HnswRecallPoint hnsw_expected(const HnswRecallData *data, double nodes, double width,
									 double rows);
extern double hnsw_first_width(Relation rel, const HnswMetaPageData *meta, double rows,
							   double share);

/* functions in hnsw.c */
extern void hnsw_init(void);

/* functions in scan.c */
extern IndexScanDesc hnsw_beginscan(Relation rel, int nkeys, int norderbys);
extern void hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
						int norderbys);
extern bool hnsw_gettuple(IndexScanDesc scan, ScanDirection direction);
extern void hnsw_endscan(IndexScanDesc scan);

/* functions in demand.c */
extern void hnsw_demand_init(void);

/* functions in insert.c */
extern bool hnsw_insert(Relation rel, Datum *values, bool *isnull, ItemPointer tid,
						Relation heap, IndexUniqueCheck check_unique,
						bool index_unchanged, IndexInfo *index_info);

/* functions in build.c */
extern IndexBuildResult *hnsw_build(Relation heap, Relation rel, IndexInfo *index_info);
extern void hnsw_buildempty(Relation rel);

/* functions in vacuum.c */
extern IndexBulkDeleteResult *hnsw_bulkdelete(IndexVacuumInfo *info,
											  IndexBulkDeleteResult *stats,
											  IndexBulkDeleteCallback callback, void *state);
extern IndexBulkDeleteResult *hnsw_vacuumcleanup(IndexVacuumInfo *info,
												 IndexBulkDeleteResult *stats);

/* functions in clauses.c */
extern void hnsw_push_conditions(PlannerInfo *root, IndexPath *path);

/* functions in matching.c */
extern double hnsw_sketched_nodes(double matching, double rows);

/* functions in cost.c */
extern void hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
							  Cost *startup, Cost *total, Selectivity *selectivity,
							  double *correlation, double *pages);

/* functions in info.c */
extern Relation hnsw_open_index(Oid oid);

/* functions in ivfflat.c */
extern void ivfflat_init(void);

#endif							/* PIRAMID_HNSW_H */
