/*-------------------------------------------------------------------------
 *
 * options.c
 *		Options of an hnsw index, and the settings of its scans: where their
 *		values are, and what an operator class says of the column.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "hnsw/options.h"

#include "access/reloptions.h"
#include "utils/guc.h"

/* Under conditions, the share of ef_search that is wide enough, and the least width */
#define MIN_MATCHING_WIDTH 10

typedef enum HnswIterativeScan
{
	ITERATIVE_SCAN_OFF,
	ITERATIVE_SCAN_RELAXED,
	ITERATIVE_SCAN_STRICT
} HnswIterativeScan;

static const struct config_enum_entry iterative_scan_options[] = {
	{"off", ITERATIVE_SCAN_OFF, false},
	{"relaxed_order", ITERATIVE_SCAN_RELAXED, false},
	{"strict_order", ITERATIVE_SCAN_STRICT, false},
	{NULL, 0, false}
};

static relopt_enum_elt_def layout_options[] = {
	{"fast", HNSW_LAYOUT_FAST},
	{"compact", HNSW_LAYOUT_COMPACT},
	{NULL, 0}
};

static int	ef_search;
static double target_recall;
static int	iterative_scan;
static int	max_scan_tuples;
static double scan_mem_multiplier;
static bool settings_taken;		/* see hnsw_setting_is_taken */

static relopt_kind hnsw_relopt_kind;

HnswTrial	hnsw_trial;

/*
 * pgvector's library defines settings of the same names, and PostgreSQL lets
 * no library define one again.  A session that has loaded pgvector's keeps its
 * settings, and piramid reads those.
 */
bool
hnsw_setting_is_taken(const char *name)
{
	return GetConfigOption(name, true, false) != NULL &&
		(GetConfigOptionFlags(name, true) & GUC_CUSTOM_PLACEHOLDER) == 0;
}

/*
 * Settings.  Scans go on for as long as rows are asked for, whatever
 * iterative_scan says: it only lets max_scan_tuples bound them, and
 * relaxed_order lets rows come that are found too late for their place.
 */
static void
define_settings(void)
{
	settings_taken = hnsw_setting_is_taken("hnsw.ef_search");
	if (!settings_taken)
		DefineCustomIntVariable("hnsw.ef_search",
								"Sets the width of the search in hnsw indexes.",
								"Larger values find more of the true neighbours and take longer.",
								&ef_search, HNSW_DEFAULT_EF_SEARCH,
								HNSW_MIN_EF_SEARCH, HNSW_MAX_EF_SEARCH,
								PGC_USERSET, 0, NULL, NULL, NULL);
	if (!hnsw_setting_is_taken("hnsw.iterative_scan"))
		DefineCustomEnumVariable("hnsw.iterative_scan",
								 "Sets how scans of hnsw indexes go on until the query has enough rows.",
								 "Unless it is \"off\", hnsw.max_scan_tuples bounds them. "
								 "Rows that are found too late for their place in the order are left out; with \"relaxed_order\", they come where they are found.",
								 &iterative_scan, ITERATIVE_SCAN_OFF, iterative_scan_options,
								 PGC_USERSET, 0, NULL, NULL, NULL);
	if (!hnsw_setting_is_taken("hnsw.max_scan_tuples"))
		DefineCustomIntVariable("hnsw.max_scan_tuples",
								"Sets about how many index entries a scan may visit before it ends.",
								"It counts unless hnsw.iterative_scan is \"off\". The default stands for no bound.",
								&max_scan_tuples, HNSW_DEFAULT_MAX_SCAN_TUPLES, 1, INT_MAX,
								PGC_USERSET, 0, NULL, NULL, NULL);
	if (!hnsw_setting_is_taken("hnsw.scan_mem_multiplier"))
		DefineCustomRealVariable("hnsw.scan_mem_multiplier",
								 "Has no effect; accepted because pgvector has it.",
								 "The memory of a scan grows with the rows it returns.",
								 &scan_mem_multiplier, HNSW_DEFAULT_SCAN_MEM_MULTIPLIER,
								 HNSW_MIN_SCAN_MEM_MULTIPLIER, HNSW_MAX_SCAN_MEM_MULTIPLIER,
								 PGC_USERSET, 0, NULL, NULL, NULL);
	if (!hnsw_setting_is_taken("hnsw.target_recall"))
		DefineCustomRealVariable("hnsw.target_recall",
								 "Sets the share of the true nearest rows that searches of hnsw indexes shall find.",
								 "Indexes for which piramid_calibrate was called are searched as wide as that takes, whatever hnsw.ef_search is. 0 turns it off.",
								 &target_recall, 0, 0, 1,
								 PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("hnsw");
}

/* Width of the first search of a scan. */
int
hnsw_ef_search(void)
{
	if (hnsw_trial.width > 0)
		return hnsw_trial.width;
	return settings_taken ? atoi(GetConfigOption("hnsw.ef_search", false, false)) : ef_search;
}

/* Which share of the true nearest rows searches shall find; 0: hnsw.ef_search decides. */
double
hnsw_target_recall(void)
{
	return hnsw_trial.width > 0 ? 0 : target_recall;
}

/*
 * Which share of the rows wanted a sweep by sketches may miss, as far as it can tell:
 * half of what the user's target leaves, or the less the wider searches shall be.
 */
double
hnsw_sketch_loss(void)
{
	double		recall = hnsw_target_recall();

	return recall > 0 ? (1 - recall) / 2 :
		HNSW_SKETCH_LOSS * HNSW_DEFAULT_EF_SEARCH / hnsw_ef_search();
}

/*
 * How many times as wide a search has to be as the rows are that it is trusted
 * for, if this share of the nodes meets the conditions on filter columns.  Only these
 * count, and the fewer they are, the more others the search meets on its way.
 * EVIDENCE.md, "Conditions".
 */
double
hnsw_spread(double share)
{
	return Min(1.6 + share, 2.2);
}

/* Width of the first search under such conditions */
double
hnsw_matching_width(double share)
{
	return Max(hnsw_ef_search() * Max(share, hnsw_spread(share) / 4), MIN_MATCHING_WIDTH);
}

/* hnsw.iterative_scan; pgvector's values have the same names. */
static HnswIterativeScan
iterative_scan_mode(void)
{
	const char *name;

	if (!settings_taken)
		return iterative_scan;
	name = GetConfigOption("hnsw.iterative_scan", false, false);
	return strcmp(name, "off") == 0 ? ITERATIVE_SCAN_OFF :
		strcmp(name, "relaxed_order") == 0 ? ITERATIVE_SCAN_RELAXED : ITERATIVE_SCAN_STRICT;
}

/* After about how many nodes a scan ends, though more rows are asked for. */
uint32
hnsw_max_scan_nodes(void)
{
	int			max = settings_taken ?
		atoi(GetConfigOption("hnsw.max_scan_tuples", false, false)) : max_scan_tuples;

	if (max == HNSW_DEFAULT_MAX_SCAN_TUPLES || iterative_scan_mode() == ITERATIVE_SCAN_OFF)
		return PG_UINT32_MAX;
	return max;
}

/* May a scan return rows that it finds too late for their place? */
bool
hnsw_relaxed_order(void)
{
	return iterative_scan_mode() == ITERATIVE_SCAN_RELAXED;
}

/* Add the options of hnsw to a kind of reloptions. */
void
hnsw_add_reloptions(bits32 kind)
{
	add_int_reloption(kind, "m",
					  "Half of the least number of links of each node",
					  HNSW_DEFAULT_M, HNSW_MIN_M, HNSW_MAX_M, AccessExclusiveLock);
	add_int_reloption(kind, "ef_construction",
					  "Number of candidates considered for the links of a row",
					  HNSW_DEFAULT_EF_CONSTRUCTION, HNSW_MIN_EF_CONSTRUCTION,
					  HNSW_MAX_EF_CONSTRUCTION, AccessExclusiveLock);
}

/* Register reloptions and settings; called once, when the library is loaded. */
void
hnsw_options_init(void)
{
	hnsw_relopt_kind = add_reloption_kind();
	hnsw_add_reloptions(hnsw_relopt_kind);
	add_enum_reloption(hnsw_relopt_kind, "layout",
					   "What the index's nodes are made for: speed or size",
					   layout_options, HNSW_LAYOUT_FAST,
					   "Valid values are \"fast\" and \"compact\".", AccessExclusiveLock);
	define_settings();
}

/* Parse the reloptions of an index. */
bytea *
hnsw_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{"m", RELOPT_TYPE_INT, offsetof(HnswOptions, m)},
		{"ef_construction", RELOPT_TYPE_INT, offsetof(HnswOptions, ef_construction)},
		{"layout", RELOPT_TYPE_ENUM, offsetof(HnswOptions, layout)},
	};

	return (bytea *) build_reloptions(reloptions, validate, hnsw_relopt_kind,
									  sizeof(HnswOptions), table, lengthof(table));
}

int
hnsw_m(Relation rel)
{
	HnswOptions *options = (HnswOptions *) rel->rd_options;

	return options ? options->m : HNSW_DEFAULT_M;
}

int
hnsw_ef_construction(Relation rel)
{
	HnswOptions *options = (HnswOptions *) rel->rd_options;

	return options ? options->ef_construction : HNSW_DEFAULT_EF_CONSTRUCTION;
}

/* Shall the index be small rather than fast? */
bool
hnsw_compact(Relation rel)
{
	HnswOptions *options = (HnswOptions *) rel->rd_options;

	return options && options->layout == HNSW_LAYOUT_COMPACT;
}

/* The metric of an index, as its operator class tells. */
HnswMetric
hnsw_metric(Relation rel)
{
	FmgrInfo   *procinfo = index_getprocinfo(rel, hnsw_vector_column(rel), HNSW_METRIC_PROC);

	return (HnswMetric) DatumGetInt32(FunctionCall1(procinfo, PointerGetDatum(NULL)));
}

/* The type of an index's column, as its operator class tells. */
HnswType
hnsw_type(Relation rel)
{
	AttrNumber	column = hnsw_vector_column(rel);

	if (!OidIsValid(index_getprocid(rel, column, HNSW_TYPE_PROC)))
		return HNSW_TYPE_VECTOR;
	return (HnswType) DatumGetInt32(FunctionCall1(index_getprocinfo(rel, column, HNSW_TYPE_PROC),
												  PointerGetDatum(NULL)));
}

/* Dimensions of an index's vector column or expression; below 1 if unknown. */
int
hnsw_column_dimensions(Relation rel)
{
	return TupleDescAttr(RelationGetDescr(rel), hnsw_vector_column(rel) - 1)->atttypmod;
}
