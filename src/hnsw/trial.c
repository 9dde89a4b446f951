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
const HnswMask *
hnsw_trial_mask(const HnswIndex *index, const HnswValue *value)
{
	const HnswLayout *layout = &index->layout;
	HnswValue  *unpacked;
	HnswMask   *mask;
	char	   *packed;
	float		scale;
	float		error;

	if (!hnsw_trial.masked || hnsw_trial.index != RelationGetRelid(index->rel))
		return NULL;
	mask = palloc0(sizeof(HnswMask));
	mask->inserted.data = palloc0(layout->own_size);
	hnsw_own_encode(index, value, &mask->inserted);
	packed = palloc0(hnsw_value_pack_size(layout, value));
	error = hnsw_value_pack(layout, value, packed, &scale);
	unpacked = hnsw_value_create(layout);
	mask->built.data = palloc0(layout->own_size);
	hnsw_own_encode_packed(index, packed, scale, error, unpacked, &mask->built);
	return mask;
}
