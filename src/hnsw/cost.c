/*-------------------------------------------------------------------------
 *
 * cost.c
 *		Planner cost of a scan ordered by distance.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"
#include "hnsw/scan.h"

#include <math.h>

#include "access/genam.h"
#include "access/table.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/float.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

/*
 * A node met in a sweep, beside its share of a page, and a row that the index returns:
 * fitted to measured plans (EVIDENCE.md, "The planner's cost").
 */
#define SWEPT_NODE_COST (20 * cpu_tuple_cost)
#define RETURNED_ROW_COST (50 * cpu_tuple_cost)

/* Hops for each candidate of the width, each to a page that may not be in memory */
#define HOPS_PER_CANDIDATE 1.2

/* Hops that lead down to the base level: two or four at each of some levels.  Chosen. */
#define DESCENT_HOPS 12

/* A matching node that is read for its key, and a sketch, in nodes of a sweep */
#define SWEPT_PER_MATCH 2
#define SWEPT_PER_SKETCH 0.2

/*
 * Rows that a join is thought to take for each that it returns.  Chosen: how many it
 * discards is not known yet.  Searches cost much the same for each of the first rows;
 * per row a sweep is cheap, but where a join takes that many a sort is better anyway.
 */
#define ROWS_PER_JOINED 10

/* A distance, in operators */
#define DISTANCE_OPERATORS(dimensions) (20 + (dimensions) / 2.0)

/*
 * The pages of the index that are in memory, of those that could be: others need room,
 * too.  Chosen, not measured.
 */
#define CACHED_SHARE 0.75

/* What a scan of an index costs */
typedef struct ScanCosts
{
	double		nodes;
	double		swept;			/* a node in a sweep */
	double		miss;			/* reading a page at random, by how likely that is */
	double		matching;		/* nodes that match the conditions; all, if there are none */
	double		key_pages;		/* how many there are; 0: no conditions */
	double		sketch_pages;
	double		page;			/* one of keys or sketches, which are read in order */
	double		returned;		/* a row: mostly its distance is looked up */
	double		first_width;
} ScanCosts;

static double
search_cost(const ScanCosts *costs, double width)
{
	return width * (HNSW_SWEPT_PER_CANDIDATE + width / HNSW_WIDTH_PER_SWEPT) * costs->swept +
		width * HOPS_PER_CANDIDATE * costs->miss;
}

/* The cost of getting so many rows by searches wider and wider, and then a sweep. */
static double
widening_cost(const ScanCosts *costs, double rows)
{
	const double sweep = costs->nodes * costs->swept;
	double		width = costs->first_width;
	double		cost = search_cost(costs, width);

	while (width < 2 * rows && cost < sweep)
	{
		double		wider = search_cost(costs, width * 2);

		if (wider >= sweep)
			return cost + sweep;
		width *= 2;
		cost = wider;
	}
	return Min(cost, sweep);
}

/* Matching nodes are read, all of them, or those that sketches tell. */
static double
matches_cost(const ScanCosts *costs, double rows)
{
	double		match = costs->swept * SWEPT_PER_MATCH + costs->miss;
	double		all = costs->matching * match;
	double		pages = costs->sketch_pages;

	if (pages == 0)
		return all;
	return Min(all, pages * (1 - exp(-costs->matching / pages)) * costs->page +
			   costs->matching * SWEPT_PER_SKETCH * costs->swept +
			   hnsw_sketched_nodes(costs->matching, rows) * match);
}

/* The cost of getting so many rows that match: by a search, or from the key pages. */
static double
matching_cost(const ScanCosts *costs, double rows)
{
	double		share = costs->matching / costs->nodes;
	double		width = Max(costs->first_width, hnsw_spread(share) * rows);
	double		hops = DESCENT_HOPS + HNSW_HOPS_PER_MATCH * width / share;
	double		hop = costs->swept * HNSW_SWEPT_PER_CANDIDATE / HOPS_PER_CANDIDATE + costs->miss;

	return Min(hops * hop, costs->key_pages * costs->page + matches_cost(costs, rows));
}

static double
rows_cost(const ScanCosts *costs, double rows)
{
	double		index = costs->key_pages > 0 ? matching_cost(costs, rows) :
		widening_cost(costs, rows);

	return index + rows * costs->returned;
}

/*
 * Blocks of vectors that are stored out of line.  A plan that sorts the table
 * has to read them, which PostgreSQL's own costs do not know.
 */
static double
outside_blocks(PlannerInfo *root, IndexOptInfo *info, int vector)
{
	Node	   *column = (Node *) list_nth_node(TargetEntry, info->indextlist, vector)->expr;
	int			dimensions = exprTypmod(column);
	Relation	heap = table_open(planner_rt_fetch(info->rel->relid, root)->relid, NoLock);
	Oid			toast_oid = heap->rd_rel->reltoastrelid;
	double		blocks = 0;

	if (OidIsValid(toast_oid))
	{
		Relation	toast = table_open(toast_oid, AccessShareLock);

		blocks = RelationGetNumberOfBlocks(toast);
		table_close(toast, AccessShareLock);
	}
	table_close(heap, NoLock);
	/* Other columns' values may be there, too. */
	if (dimensions > 0)
		blocks = Min(blocks, ceil(info->rel->tuples * dimensions * sizeof(float) / BLCKSZ) * 2);
	return blocks;
}

/*
 * What it costs to compute a row's distance from the table, where its vector may be out
 * of line, in pages of this cost: PostgreSQL takes that for an operator like others.
 */
static double
distance_cost(IndexOptInfo *info, int vector, double outside, double page_cost)
{
	Node	   *column = (Node *) list_nth_node(TargetEntry, info->indextlist, vector)->expr;

	return cpu_operator_cost * DISTANCE_OPERATORS(Max(exprTypmod(column), 0)) +
		outside * page_cost / Max(info->rel->tuples, 1);
}

/*
 * By how much the cost of a scan counts beside a plan that sorts.  Such a plan computes
 * the distances of all rows that filters leave, which its own cost does not tell.
 */
static double
beside_sort(IndexOptInfo *info, int vector, double outside)
{
	double		known;
	double		seq_cost;

	get_tablespace_page_costs(info->rel->reltablespace, NULL, &seq_cost);
	known = info->rel->pages * seq_cost +
		info->rel->tuples * (cpu_tuple_cost + cpu_operator_cost);
	return known / (known + info->rel->rows * distance_cost(info, vector, outside, seq_cost));
}

/*
 * Rows without a vector are not in the index, and nothing is without an order.  A
 * trial of an index wants no other.
 */
static bool
is_of_use(IndexPath *path)
{
	ListCell   *lc;

	if (path->indexorderbys == NIL ||
		(hnsw_trial.running && hnsw_trial.index != path->indexinfo->indexoid))
		return false;
	foreach(lc, path->indexclauses)
	{
		IndexClause *clause = lfirst_node(IndexClause, lc);
		NullTest   *test = (NullTest *) clause->rinfo->clause;

		if (clause->indexcol == linitial_int(path->indexorderbycols) && IsA(test, NullTest) &&
			test->nulltesttype == IS_NULL)
			return false;
	}
	return true;
}

/* Does the index test a condition on one of its filter columns? */
static bool
has_conditions(IndexPath *path)
{
	ListCell   *lc;

	foreach(lc, path->indexclauses)
		if (lfirst_node(IndexClause, lc)->indexcol != linitial_int(path->indexorderbycols))
			return true;
	return false;
}

/* Bytes of a key, and of a sketch or 0; the planner has locked the index, if there is one. */
static void
entry_sizes(IndexOptInfo *info, int *key_size, int *sketch_size)
{
	HnswMetaPageData meta;
	Relation	rel;

	if (info->hypothetical)
	{
		*key_size = 1 + info->nkeycolumns * sizeof(int32);
		*sketch_size = hnsw_sketch_size(HNSW_MAX_SKETCH_BITS / 8);
		return;
	}
	rel = index_open(info->indexoid, NoLock);
	hnsw_meta_read(rel, &meta);
	index_close(rel, NoLock);
	*key_size = meta.key_size;
	*sketch_size = meta.sketch_bits > 0 ? hnsw_sketch_size(meta.sketch_bits / 8) : 0;
}

/* How wide the scan will search at first for so many rows (0: unknown), under conditions or not. */
static double
first_width(IndexPath *path, double rows, double share)
{
	IndexOptInfo *info = path->indexinfo;
	HnswMetaPageData meta;
	Relation	rel;
	double		width;

	share = has_conditions(path) ? Max(share, DBL_MIN) : 0;
	if (hnsw_target_recall() == 0 || info->hypothetical)
		return share > 0 ? hnsw_matching_width(share) : hnsw_ef_search();
	rel = index_open(info->indexoid, NoLock);
	hnsw_meta_read(rel, &meta);
	width = hnsw_first_width(rel, &meta, rows, share);
	index_close(rel, NoLock);
	return width;
}

static void
set_scan_costs(IndexPath *path, double share, ScanCosts *costs)
{
	IndexOptInfo *info = path->indexinfo;
	double		pages = Max(info->pages, 1);
	double		random_cost;
	double		seq_cost;

	get_tablespace_page_costs(info->reltablespace, &random_cost, &seq_cost);
	costs->nodes = Max(info->tuples, 1.0);
	costs->swept = pages / costs->nodes * seq_cost + SWEPT_NODE_COST;
	costs->miss = random_cost * Max(0, 1 - CACHED_SHARE * effective_cache_size / pages);
	costs->matching = costs->nodes;
	costs->key_pages = 0;
	costs->sketch_pages = 0;
	costs->page = seq_cost;
	if (has_conditions(path))
	{
		int			key_size;
		int			sketch_size;

		entry_sizes(info, &key_size, &sketch_size);
		costs->matching = Max(costs->nodes * share, 1);
		costs->key_pages = costs->nodes * key_size / BLCKSZ;
		costs->sketch_pages = costs->nodes * sketch_size / BLCKSZ;
	}
}

/*
 * The first row costs a search.  The planner charges for a LIMIT the share of
 * its rows in all rows of the path, so the total is made such that this is what
 * the index rows cost that the LIMIT will need, by the planner's own guess of
 * what filters discard.  Without an ordering operator the index is of no use.
 */
void
hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
				  Cost *startup, Cost *total, Selectivity *selectivity,
				  double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	GenericCosts generic;
	ScanCosts	costs;
	double		rows;
	double		wanted;
	double		random_cost;
	double		outside;
	double		beside;
	double		first;
	double		width;
	bool		joins;
	bool		limited;
	int			vector;

	if (!is_of_use(path))
	{
		piramid_disable_path(path);
		*startup = *total = get_float8_infinity();
		*selectivity = 0;
		*correlation = 0;
		*pages = 0;
		return;
	}

	vector = linitial_int(path->indexorderbycols);
	hnsw_push_conditions(root, path);
	MemSet(&generic, 0, sizeof(generic));
	genericcostestimate(root, path, loop_count, &generic);

	set_scan_costs(path, generic.indexSelectivity, &costs);
	get_tablespace_page_costs(info->rel->reltablespace, &random_cost, NULL);
	outside = outside_blocks(root, info, vector);
	costs.returned = RETURNED_ROW_COST + distance_cost(info, vector, outside, random_cost);
	rows = wanted = Min(Max(info->rel->rows, 1), costs.matching);
	joins = bms_membership(root->all_baserels) != BMS_SINGLETON;
	limited = root->limit_tuples > 0 && !joins;
	if (root->limit_tuples > 0 && joins)
		wanted = Min(rows, root->limit_tuples * ROWS_PER_JOINED);
	width = first_width(path, limited ? root->limit_tuples : 0, generic.indexSelectivity);
	costs.first_width = width;
	if (limited)
	{
		wanted = Min(rows, root->limit_tuples);
		if (costs.key_pages == 0)
			costs.first_width = Max(Max(width, 2 * wanted),
									Min(2 * wanted * costs.nodes / rows, HNSW_FILTERED_WIDTH * width));
	}

	beside = beside_sort(info, vector, outside);
	first = rows_cost(&costs, 1);
	*startup = first * beside;
	/* A sort behind a join computes the distances of what the join leaves, which may be few. */
	if (joins)
		beside = 1;
	*total = *startup + costs.matching * cpu_index_tuple_cost +
		(rows_cost(&costs, wanted * costs.matching / rows) - first) * beside * rows / wanted;
	*selectivity = generic.indexSelectivity;
	*correlation = generic.indexCorrelation;
	*pages = generic.numIndexPages;
}
