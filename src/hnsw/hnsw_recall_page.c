/*-------------------------------------------------------------------------
 *
 * hnsw_recall_page.c
 *		The page of measured recall: one, made by the first piramid_calibrate.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/hnsw_buffer.h"

#include "access/xlog.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

/* Can these be points of one size?  Else a damaged page would say how wide to search. */
static bool
points_are_possible(const HnswRecallPoint *points)
{
	uint32		last = 0;

	for (int i = 0; i < HNSW_RECALL_POINTS && points[i].width != 0; i++)
	{
		if (points[i].width <= last || points[i].width > PG_INT16_MAX ||
			!(points[i].recall >= 0 && points[i].recall <= 1) ||
			!(points[i].error >= 0 && points[i].error <= 1) ||
			!(points[i].nodes >= 0 && points[i].nodes < FLT_MAX))
			return false;
		last = points[i].width;
	}
	return last > 0;
}

/* What is wrong with measured recall, or NULL */
const char *
hnsw_recall_fault(const HnswRecallData *data)
{
	for (int i = 0; i < HNSW_RECALL_SIZES; i++)
		if (!points_are_possible(data->points[i]))
			return "an impossible recall";
	if (data->nodes == 0 || !(data->node_ms >= 0 && data->node_ms < FLT_MAX))
		return "an impossible recall";
	return NULL;
}

/* Read what recall was measured of an index; false if none was. */
bool
hnsw_recall_read(Relation rel, const HnswMetaPageData *meta, HnswRecallData *data)
{
	const char *fault;
	Buffer		buffer;

	if (meta->recall == 0)
		return false;
	buffer = hnsw_get_linked_page(rel, meta->recall, BUFFER_LOCK_SHARE, HNSW_PAGE_RECALL);
	memcpy(data, HnswPageGetRecall(BufferGetPage(buffer)), sizeof(*data));
	UnlockReleaseBuffer(buffer);
	fault = hnsw_recall_fault(data);
	if (fault != NULL)
		page_report_corrupt(rel, meta->recall, fault);
	return true;
}

/* Put it on its page, a new one if there is none.  In one record with the metapage. */
void
hnsw_recall_write(HnswIndex *index, const HnswRecallData *data)
{
	Relation	rel = index->rel;
	GenericXLogState *xlog;
	Buffer		buffer = InvalidBuffer;
	Buffer		metabuf = hnsw_get_page(rel, HNSW_METAPAGE, BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_META);
	BlockNumber block = HnswPageGetMeta(BufferGetPage(metabuf))->recall;
	XLogRecPtr	lsn;
	Page		page;

	if (block != 0)
	{
		UnlockReleaseBuffer(metabuf);
		metabuf = InvalidBuffer;
		buffer = hnsw_get_linked_page(rel, block, BUFFER_LOCK_EXCLUSIVE, HNSW_PAGE_RECALL);
	}
	else
	{
		LockRelationForExtension(rel, ExclusiveLock);
		buffer = hnsw_extend(rel, MAIN_FORKNUM);
		UnlockRelationForExtension(rel, ExclusiveLock);
	}
	xlog = GenericXLogStart(rel);
	page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
	hnsw_init_page(page, index->version, BufferGetBlockNumber(buffer), HNSW_PAGE_RECALL, false);
	memcpy(HnswPageGetRecall(page), data, sizeof(*data));
	if (BufferIsValid(metabuf))
		HnswPageGetMeta(GenericXLogRegisterBuffer(xlog, metabuf, 0))->recall =
			BufferGetBlockNumber(buffer);
	lsn = GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
	if (BufferIsValid(metabuf))
		UnlockReleaseBuffer(metabuf);
	/* No row changes, so the end of the transaction would not wait for that. */
	if (RelationNeedsWAL(rel))
		XLogFlush(lsn);
}
