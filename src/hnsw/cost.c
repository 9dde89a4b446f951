/*-------------------------------------------------------------------------
 *
 * cost.c
 *		Planner cost of a scan ordered by distance.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"

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
 * Share of a hop's page read that is paid on average: the pages near the entry
 * point and those of popular regions stay in memory.
 */
#define COLD_SHARE 0.2

/* Hops from the entry point down through one upper level, and for each candidate of the width. */
#define HOPS_PER_LEVEL 6
#define HOPS_PER_CANDIDATE 1.2

/* What a search of an index costs, and a sweep over all of it */
typedef struct ScanCosts
{
	double		tuples;
	double		hop;
	double		sweep;
} ScanCosts;

/* The cost of getting so many rows from the index; see scan.c. */
static double
rows_cost(const ScanCosts *costs, double rows)
{
	double		width = Max(2 * rows, hnsw_ef_search());
	double		levels = log(costs->tuples) / log(HNSW_LEVEL_RATIO);
	double		hops = Min(costs->tuples, HOPS_PER_CANDIDATE * width + HOPS_PER_LEVEL * levels);

	return Min(costs->hop * hops, costs->sweep);
}

/*
 * Blocks of vectors that are stored out of line.  A plan that sorts the table
 * has to read them, which PostgreSQL's own costs do not know.
 */
static double
outside_blocks(PlannerInfo *root, IndexOptInfo *info)
{
	Node	   *column = (Node *) linitial_node(TargetEntry, info->indextlist)->expr;
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

/* By how much the cost of the cheapest scan counts beside a plan that sorts. */
static double
beside_sort(PlannerInfo *root, IndexOptInfo *info)
{
	double		known;
	double		seq_cost;

	get_tablespace_page_costs(info->rel->reltablespace, NULL, &seq_cost);
	known = info->rel->pages * seq_cost +
		info->rel->tuples * (cpu_tuple_cost + cpu_operator_cost);
	return known / (known + outside_blocks(root, info) * seq_cost);
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
	double		rows = Max(info->rel->rows, 1);
	double		wanted = rows;
	double		first;
	double		random_cost;
	double		seq_cost;

	if (path->indexorderbys == NIL)
	{
		hnsw_disable_path(path);
		*startup = *total = get_float8_infinity();
		*selectivity = 0;
		*correlation = 0;
		*pages = 0;
		return;
	}

	MemSet(&generic, 0, sizeof(generic));
	genericcostestimate(root, path, loop_count, &generic);

	get_tablespace_page_costs(info->reltablespace, &random_cost, &seq_cost);
	costs.tuples = Max(info->tuples, 1.0);
	costs.hop = random_cost * COLD_SHARE + 2 * HNSW_DEFAULT_M * cpu_operator_cost;
	costs.sweep = info->pages * seq_cost + costs.tuples * cpu_tuple_cost;
	rows = Min(rows, costs.tuples);
	if (root->limit_tuples > 0 && bms_membership(root->all_baserels) == BMS_SINGLETON)
		wanted = Min(rows, root->limit_tuples);

	first = rows_cost(&costs, 0);
	*startup = first * beside_sort(root, info);
	*total = *startup + costs.tuples * cpu_index_tuple_cost +
		(rows_cost(&costs, wanted * costs.tuples / rows) - first) * rows / wanted;
	*selectivity = generic.indexSelectivity;
	*correlation = generic.indexCorrelation;
	*pages = generic.numIndexPages;
}
