/*-------------------------------------------------------------------------
 *
 * options.h
 *		What PostgreSQL knows by name or number: reloptions and settings, support
 *		functions, progress phases.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_HNSW_OPTIONS_H
#define PIRAMID_HNSW_OPTIONS_H

#include "postgres.h"

#include "compat.h"

#include "hnsw/index.h"

/* Reloptions and settings: default, lowest, highest */
#define HNSW_DEFAULT_M 16
#define HNSW_MIN_M 2
#define HNSW_MAX_M 100
#define HNSW_DEFAULT_EF_CONSTRUCTION 64
#define HNSW_MIN_EF_CONSTRUCTION 4
#define HNSW_MAX_EF_CONSTRUCTION 1000
#define HNSW_DEFAULT_EF_SEARCH 40

/* Share of the rows wanted that a sweep by sketches may miss; EVIDENCE.md, "Sketches" */
#define HNSW_SKETCH_LOSS 0.02
#define HNSW_MIN_EF_SEARCH 1
#define HNSW_MAX_EF_SEARCH 1000
#define HNSW_DEFAULT_MAX_SCAN_TUPLES 20000	/* stands for no bound */
#define HNSW_DEFAULT_SCAN_MEM_MULTIPLIER 1
#define HNSW_MIN_SCAN_MEM_MULTIPLIER 1
#define HNSW_MAX_SCAN_MEM_MULTIPLIER 1000

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
extern double hnsw_sketch_loss(void);
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

#endif							/* PIRAMID_HNSW_OPTIONS_H */
