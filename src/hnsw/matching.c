/*-------------------------------------------------------------------------
 *
 * matching.c
 *		The nodes whose rows meet a scan's conditions on filter columns.
 *
 * The pages of keys tell which nodes may have such rows.  Reading these pages
 * and then the nodes is exact, and costs as many pages whatever the query.  A
 * search costs the more nodes the fewer of them meet the conditions; how many
 * more, if these are far from the query, nobody knows.  So a scan samples some
 * pages of keys first and takes what seems cheaper, and a search that has cost
 * as much as the other way would have is given up: as far as the sample is right,
 * the scan costs at most twice the better way.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/scan.h"

#include "common/pg_prng.h"
#include "miscadmin.h"

/* Pages of keys in a sample */
#define SAMPLED_PAGES 8

/*
 * Estimate which share of an index's nodes meets the conditions.
 * Above 0, as a sample can miss all that do.
 */
double
hnsw_sample_matching(HnswIndex *index, const HnswKeyFilter *filter, uint32 npages, double nodes)
{
	HnswNodeId *ids = palloc(sizeof(HnswNodeId) * hnsw_key_page_capacity(&index->layout));
	double		entries = nodes / Max(npages, 1);
	int			sampled = Min(npages, SAMPLED_PAGES);
	double		matches = 0;

	for (int i = 0; i < sampled; i++)
	{
		/* one at random of each part of the index */
		uint32		first = (uint64) i * npages / sampled;
		uint32		last = (uint64) (i + 1) * npages / sampled - 1;
		uint32		page = (uint32) pg_prng_uint64_range(&pg_global_prng_state, first, last);

		CHECK_FOR_INTERRUPTS();
		matches += hnsw_key_page_match(index, page, filter, ids);
	}
	pfree(ids);
	return Min((matches + 0.5) / Max(sampled * entries, 1), 1);
}

/*
 * Find all nodes that meet the search's conditions and that it has not met,
 * and their keys.  The search cannot go on after that.  Key pages made since the
 * scan began have no rows that it sees.
 */
void
hnsw_sweep_matching(HnswSearch *search, uint32 npages)
{
	HnswIndex  *index = search->index;
	HnswNodeId *ids = palloc(sizeof(HnswNodeId) * hnsw_key_page_capacity(&index->layout));
	BlockNumber last = HNSW_METAPAGE;

	for (uint32 page = 0; page < npages; page++)
	{
		int			n = hnsw_key_page_match(index, page, search->filter, ids);

		for (int i = 0; i < n; i++)
		{
			BlockNumber block = HnswNodeBlock(&index->layout, ids[i]);

			CHECK_FOR_INTERRUPTS();
			if (block != last)
				hnsw_search_sweep(search, block);
			last = block;
		}
	}
	pfree(ids);
}
