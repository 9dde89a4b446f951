/*-------------------------------------------------------------------------
 *
 * target.c
 *		How wide a search is at first: by hnsw.ef_search, or by the recall that
 *		hnsw.target_recall asks for and piramid_calibrate has measured.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/open.h"

#include <math.h>

#include "hnsw/options.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/*
 * Rows as queries are easier than others, though masked (EVIDENCE.md, "Recall"): what
 * widths are multiplied by.
 */
#define MASKED_FACTOR 1.2

/* By how much more the width has to be for an index of twice the nodes */
#define GROWTH 0.1

/* Rows asked for, where the demand is unknown */
#define DEFAULT_ROWS 10

/* The place of a value between two others, from 0 to 1 */
static double
place(double from, double to, double value)
{
	return to > from ? Min(Max((value - from) / (to - from), 0), 1) : 0;
}

/* The least width of a size's points with this recall; the widest if none has it. */
static double
width_of_recall(const HnswRecallPoint *points, double recall)
{
	int			i = 0;

	while (i + 1 < HNSW_RECALL_POINTS && points[i + 1].width != 0 && points[i].recall < recall)
		i++;
	if (i == 0)
		return points[0].width;
	return points[i - 1].width + ((double) points[i].width - points[i - 1].width) *
		place(points[i - 1].recall, points[i].recall, recall);
}

/* What a size's points say of a width. */
static HnswRecallPoint
point_of_width(const HnswRecallPoint *points, double width)
{
	HnswRecallPoint point;
	double		at;
	int			i = 0;

	while (i + 1 < HNSW_RECALL_POINTS && points[i + 1].width != 0 && points[i].width < width)
		i++;
	if (i == 0)
		return points[0];
	at = place(points[i - 1].width, points[i].width, width);
	point.width = (uint32) width;
	point.recall = points[i - 1].recall + at * (points[i].recall - points[i - 1].recall);
	point.error = Max(points[i - 1].error, points[i].error);
	point.nodes = points[i - 1].nodes + at * (points[i].nodes - points[i - 1].nodes);
	return point;
}

/* Which sizes rows are between, and where. */
static int
size_of_rows(double rows, double *at)
{
	double		size = log10(Min(Max(rows, 1), 100));
	int			lower = Min((int) size, HNSW_RECALL_SIZES - 2);

	*at = size - lower;
	return lower;
}

/* How many nodes an index may have, as far as its blocks tell. */
double
hnsw_node_room(Relation rel, const HnswMetaPageData *meta)
{
	return (double) RelationGetNumberOfBlocks(rel) * meta->nodes_per_page / meta->pages_per_node;
}

/* What widths of the table are multiplied by. */
static double
caution(const HnswRecallData *data, double nodes)
{
	double		growth = nodes > data->nodes ? 1 + GROWTH * log2(nodes / data->nodes) : 1;

	return growth * (data->given ? 1 : MASKED_FACTOR);
}

/*
 * How wide a search for so many rows has to be, to find this share of them: a whole
 * number, so that a scan, which takes one, is as wide as piramid_recommend says.
 */
double
hnsw_width_for(const HnswRecallData *data, double nodes, double recall, double rows)
{
	double		at;
	int			size = size_of_rows(rows, &at);
	double		less = width_of_recall(data->points[size], recall);
	double		more = width_of_recall(data->points[size + 1], recall);
	double		width = less * pow(more / less, at) * Max(rows / 100, 1) * caution(data, nodes);

	/* Not a whole one more for what rounding has added */
	return ceil(width * (1 - 1e-9));
}

/* What a search so wide for so many rows can be expected to find, and to read. */
HnswRecallPoint
hnsw_expected(const HnswRecallData *data, double nodes, double width, double rows)
{
	double		at;
	int			size = size_of_rows(rows, &at);
	double		measured = width / Max(rows / 100, 1) / caution(data, nodes);
	HnswRecallPoint less = point_of_width(data->points[size], measured);
	HnswRecallPoint more = point_of_width(data->points[size + 1], measured);

	less.width = (uint32) width;
	less.recall += at * (more.recall - less.recall);
	less.error = Max(less.error, more.error);
	less.nodes = (less.nodes + at * (more.nodes - less.nodes)) * width / measured;
	return less;
}

/* What to run for an index that has no calibration, as one can copy it. */
char *
hnsw_calibrate_hint(Relation rel)
{
	char	   *name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												  RelationGetRelationName(rel));

	return psprintf("Call piramid_calibrate(%s).", quote_literal_cstr(name));
}

/* Warn, once in a session, that an index has no calibration. */
static void
warn_uncalibrated(Relation rel)
{
	static List *warned = NIL;
	MemoryContext old;

	if (list_member_oid(warned, RelationGetRelid(rel)))
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	warned = lappend_oid(warned, RelationGetRelid(rel));
	MemoryContextSwitchTo(old);
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("index \"%s\" is searched by hnsw.ef_search, not by hnsw.target_recall",
					RelationGetRelationName(rel)),
			 errdetail("What recall its searches have is unknown."),
			 errhint("%s", hnsw_calibrate_hint(rel))));
}

/*
 * Width of the first search for so many rows (0: unknown).  Under conditions that
 * this share of the nodes meets (0: there are none), it counts these nodes.
 */
double
hnsw_first_width(Relation rel, const HnswMetaPageData *meta, double rows, double share)
{
	double		recall = hnsw_target_recall();
	HnswRecallData data;

	if (recall > 0)
	{
		if (rows < 1 || isinf(rows))
			rows = DEFAULT_ROWS;
		if (hnsw_recall_read(rel, meta, &data))
		{
			double		nodes = hnsw_node_room(rel, meta);

			/* More than all nodes need no room, however many rows are asked for. */
			return Min(hnsw_width_for(&data, nodes, recall, rows), Max(nodes, HNSW_MAX_EF_SEARCH));
		}
		warn_uncalibrated(rel);
	}
	return share > 0 ? hnsw_matching_width(share) : hnsw_ef_search();
}
