/*-------------------------------------------------------------------------
 *
 * cost.c
 *		Planner cost of a scan ordered by distance.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw.h"

#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

/*
 * Share of a hop's page read that is paid on average: the pages near the entry
 * point and those of popular regions stay in memory.
 */
#define COLD_SHARE 0.3

/* Hops from the entry point down through one upper level. */
#define HOPS_PER_LEVEL 6

/*
 * The first rows, up to ef_search, cost a search; each further row
 * costs about a hop.  Without an ordering operator the index is of no use.
 */
void
hnsw_costestimate(PlannerInfo *root, IndexPath *path, double loop_count,
				  Cost *startup, Cost *total, Selectivity *selectivity,
				  double *correlation, double *pages)
{
	GenericCosts costs;
	double		tuples = Max(path->indexinfo->tuples, 1.0);
	double		first = Min(tuples, (double) hnsw_ef_search());
	double		levels = log(tuples) / log(HNSW_LEVEL_RATIO);
	double		random_cost;
	double		hop_cost;

	if (path->indexorderbys == NIL)
	{
		hnsw_disable_path(path);
		*startup = *total = get_float8_infinity();
		*selectivity = 0;
		*correlation = 0;
		*pages = 0;
		return;
	}

	MemSet(&costs, 0, sizeof(costs));
	genericcostestimate(root, path, loop_count, &costs);

	get_tablespace_page_costs(path->indexinfo->reltablespace, &random_cost, NULL);
	hop_cost = random_cost * COLD_SHARE + 2 * HNSW_DEFAULT_M * cpu_operator_cost;

	*startup = hop_cost * Min(tuples, 1.2 * first + HOPS_PER_LEVEL * levels);
	*total = *startup + hop_cost * (tuples - first) + tuples * cpu_index_tuple_cost;
	*selectivity = costs.indexSelectivity;
	*correlation = costs.indexCorrelation;
	*pages = costs.numIndexPages;
}
