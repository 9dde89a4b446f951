/*-------------------------------------------------------------------------
 *
 * trial.c
 *		What scans do for a measurement of recall.
 *
 * A row of the table is a poor query: its own node leads to all of its neighbours.
 * If searches pass over that node, the row tells about as much as a query from
 * outside.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/scan.h"

#include "utils/rel.h"

/* The node that a scan for this value passes over, or NULL.  Takes memory. */
const HnswStored *
hnsw_trial_mask(const HnswIndex *index, const HnswValue *value)
{
	HnswStored *mask;

	if (!hnsw_trial.masked || hnsw_trial.index != RelationGetRelid(index->rel))
		return NULL;
	mask = palloc(sizeof(HnswStored));
	hnsw_stored_make(index, value, hnsw_value_create(&index->layout), mask);
	return mask;
}
