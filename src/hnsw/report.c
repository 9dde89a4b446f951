/*-------------------------------------------------------------------------
 *
 * report.c
 *		What scans did: piramid_last_scan, and lines of EXPLAIN.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/scan.h"

#include "access/htup_details.h"
#include "access/relscan.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/rel.h"

/* What this backend's last scan did */
static HnswScanReport last;

/* Add what a scan did, and what it has read, to what others did before. */
void
hnsw_report_add(HnswScanReport *sum, const HnswScanReport *report, const HnswScanCounts *counts)
{
	sum->counts.nodes += counts->nodes;
	sum->counts.estimates += counts->estimates;
	sum->counts.rejects += counts->rejects;
	sum->counts.key_pages += counts->key_pages;
	sum->counts.sketch_pages += counts->sketch_pages;
	sum->width = Max(sum->width, report->width);
	sum->sweep = Max(sum->sweep, report->sweep);
	sum->matching = Max(sum->matching, report->matching);
	sum->rows += report->rows;
	sum->late += report->late;
	sum->bounded |= report->bounded;
}

/* A scan has ended: it is the last one, and one more of its plan's node, which may start again. */
void
hnsw_report_end(HnswIndex *index, HnswScanReport *report, HnswScanReport *total)
{
	if (report->late > 0)
		elog(DEBUG1, "scan of index \"%s\" left out " UINT64_FORMAT " rows that it found too late for their place",
			 RelationGetRelationName(index->rel), report->late);
	last = *report;
	last.index = RelationGetRelid(index->rel);
	last.counts = index->counts;
	hnsw_report_add(total, report, &index->counts);
	memset(report, 0, sizeof(*report));
	memset(&index->counts, 0, sizeof(index->counts));
}

/* What the last scan did. */
const HnswScanReport *
hnsw_last_report(void)
{
	return &last;
}

/* As if there had been no scan */
void
hnsw_forget_report(void)
{
	memset(&last, 0, sizeof(last));
}

static const char *
sweep_name(HnswSweepReason reason)
{
	switch (reason)
	{
		case HNSW_SWEEP_NONE:
			return "none";
		case HNSW_SWEEP_START:
			return "start";
		case HNSW_SWEEP_BUDGET:
			return "budget";
		case HNSW_SWEEP_LATER:
			return "later";
	}
	return "unknown";
}

/*
 * piramid_last_scan(): one row about this backend's last scan of an hnsw index that
 * has ended; none, if there was none.
 */
PG_FUNCTION_INFO_V1(piramid_last_scan);
Datum
piramid_last_scan(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[12];
	bool		nulls[12] = {false};
	int			i = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (!OidIsValid(last.index))
		return (Datum) 0;
	values[i++] = ObjectIdGetDatum(last.index);
	values[i++] = Int64GetDatum((int64) last.counts.nodes);
	values[i++] = Int64GetDatum((int64) last.counts.estimates);
	values[i++] = Int64GetDatum((int64) last.counts.rejects);
	nulls[i] = last.width == 0;
	values[i++] = Int32GetDatum(last.width);
	values[i++] = Int64GetDatum((int64) last.counts.key_pages);
	values[i++] = Int64GetDatum((int64) last.counts.sketch_pages);
	values[i++] = CStringGetTextDatum(sweep_name(last.sweep));
	nulls[i] = last.matching == 0;
	values[i++] = Float8GetDatum(last.matching);
	values[i++] = Int64GetDatum((int64) last.rows);
	values[i++] = Int64GetDatum((int64) last.late);
	values[i++] = BoolGetDatum(last.bounded);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}

#ifdef HAVE_EXPLAIN_PER_NODE_HOOK

static explain_per_node_hook_type next_explain_hook = NULL;

/* A count, which is left out of text if it is 0. */
static void
explain_count(const char *label, uint64 count, ExplainState *es)
{
	if (count > 0 || es->format != EXPLAIN_FORMAT_TEXT)
		ExplainPropertyInteger(label, NULL, (int64) count, es);
}

static void
explain_report(const HnswScanReport *report, ExplainState *es)
{
	explain_count("Nodes Visited", report->counts.nodes, es);
	explain_count("Estimates", report->counts.estimates, es);
	explain_count("Index Filter Rejects", report->counts.rejects, es);
	explain_count("Width Reached", report->width, es);
	explain_count("Key Pages", report->counts.key_pages, es);
	explain_count("Sketch Pages", report->counts.sketch_pages, es);
	if (report->sweep != HNSW_SWEEP_NONE || es->format != EXPLAIN_FORMAT_TEXT)
		ExplainPropertyText("Exact Pass", sweep_name(report->sweep), es);
	if (report->matching > 0)
		ExplainPropertyFloat("Sampled Selectivity", NULL, report->matching, 6, es);
	explain_count("Late Rows", report->late, es);
	if (report->bounded || es->format != EXPLAIN_FORMAT_TEXT)
		ExplainPropertyBool("Bounded", report->bounded, es);
}

/* Tell what an hnsw scan did, in EXPLAIN (ANALYZE). */
static void
explain_node(PlanState *state, List *ancestors, const char *relationship, const char *plan_name,
			 ExplainState *es)
{
	HnswScanReport report;
	IndexScanDesc scan;

	if (next_explain_hook != NULL)
		next_explain_hook(state, ancestors, relationship, plan_name, es);
	if (!es->analyze || !IsA(state, IndexScanState))
		return;
	scan = ((IndexScanState *) state)->iss_ScanDesc;
	if (scan == NULL || scan->indexRelation->rd_indam->ambeginscan != hnsw_beginscan)
		return;
	hnsw_scan_report(scan, &report);
	explain_report(&report, es);
}

/* Called once, when the library is loaded. */
void
hnsw_report_init(void)
{
	next_explain_hook = explain_per_node_hook;
	explain_per_node_hook = explain_node;
}

#else

void
hnsw_report_init(void)
{
}

#endif
