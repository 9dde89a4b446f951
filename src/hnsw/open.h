/*-------------------------------------------------------------------------
 *
 * open.h
 *		Opening an index, and what is found there for its searches.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_OPEN_H
#define PIRAMID_HNSW_OPEN_H

#include "postgres.h"

#include "hnsw/pages.h"

/* functions in projection_cache.c */
extern void hnsw_projection_open(HnswIndex *index, const HnswProjectionName *name,
								 Projection *projection);

/* functions in index.c */
extern HnswIndex *hnsw_open(Relation rel);

/* functions in target.c */
extern double hnsw_node_room(Relation rel, const HnswMetaPageData *meta);
extern char *hnsw_calibrate_hint(Relation rel);
extern double hnsw_width_for(const HnswRecallData *data, double nodes, double recall, double rows);
extern HnswRecallPoint hnsw_expected(const HnswRecallData *data, double nodes, double width,
									 double rows);
extern double hnsw_first_width(Relation rel, const HnswMetaPageData *meta, double rows,
							   double share);

#endif							/* PIRAMID_HNSW_OPEN_H */
