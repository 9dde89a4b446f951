/*-------------------------------------------------------------------------
 *
 * hnsw.h
 *		What only the access method's handler, and SQL functions, call.  README.md
 *		has the algorithms, the lock order and the crash story.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_H
#define PIRAMID_HNSW_H

#include "postgres.h"

#include "access/amapi.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"

#include "hnsw/options.h"

/* functions in hnsw.c */
extern void hnsw_init(void);

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

/* functions in cost.c */
extern void hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
							  Cost *startup, Cost *total, Selectivity *selectivity,
							  double *correlation, double *pages);

/* functions in info.c */
extern Relation hnsw_open_index(Oid oid);

/* functions in ivfflat.c */
extern void ivfflat_init(void);

#endif							/* PIRAMID_HNSW_H */
