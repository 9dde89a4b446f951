/*-------------------------------------------------------------------------
 *
 * check_nodes.c
 *		Is a node sound in itself?
 *
 * Nodes are copied under their page's lock, and each of their changes is one record.
 * So what is said here of one copy needs no second look, unless it depends on the
 * size of the table.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "storage/bufmgr.h"
#include "utils/rel.h"

/* Rounding of sums that were computed with other instructions */
#define ROUNDING 1e-4

/* Below this, float32 sums of squares may lose terms to underflow. */
#define SMALL_SQUARE 1e-30

/* Slots of a hash table of links: a power of two, more than there are links */
#define LINK_SLOTS (HNSW_MAX_DEGREE * 2)

/* What is wrong with heap TIDs, the table being as long as it was now; NULL if nothing is. */
const char *
check_tids(HnswCheck *check, const ItemPointerData *tids, int n)
{
	for (int i = 0; i < n; i++)
	{
		BlockNumber block = ItemPointerGetBlockNumberNoCheck(&tids[i]);

		if (!BlockNumberIsValid(block) ||
			!OffsetNumberIsValid(ItemPointerGetOffsetNumberNoCheck(&tids[i])))
			return "an impossible heap TID";
		if (block >= check->heap_blocks)
			check->heap_blocks = RelationGetNumberOfBlocks(check->check->heap);
		if (block >= check->heap_blocks)
			return "a heap TID past the end of the table";
	}
	return NULL;
}

/*
 * What is wrong with the heap TIDs in a node?  A TID past the end of the table that still is
 * there was there while the table was too short.
 */
static const char *
tids_fault(HnswCheck *check, HnswNodeId id, const HnswNodeHeaderData *node)
{
	const HnswLayout *layout = &check->index->layout;
	const char *fault = check_tids(check, HnswNodeTids(layout, node), node->ntids);

	if (fault == NULL || hnsw_node_copy(check->index, id, check->other) != NULL ||
		!hnsw_node_fits(layout, check->other))
		return NULL;
	return check_tids(check, HnswNodeTids(layout, check->other), check->other->ntids);
}

static inline bool
is_size(float x)
{
	return x >= 0 && x <= FLT_MAX;
}

/* Is one length within this distance of another? */
static bool
is_near(double length, double other, double error)
{
	return fabs(length - other) <= error + ROUNDING * Max(length, other);
}

/* Positions of a sparse vector: ascending, and of the column */
static bool
positions_ascend(const HnswLayout *layout, int n, const int32 *indices)
{
	for (int i = 0; i < n; i++)
		if (indices[i] < 0 || indices[i] >= layout->column_dim ||
			(i > 0 && indices[i] <= indices[i - 1]))
			return false;
	return true;
}

/* What is wrong with a node's own vector, or NULL. */
static const char *
own_fault(HnswCheck *check, const HnswNodeHeaderData *node)
{
	const HnswIndex *index = check->index;
	const HnswLayout *layout = &index->layout;
	const uint8 *bytes = (const uint8 *) HnswNodeOwn(layout, node);
	const float *x = check->vector;
	int			n = hnsw_vector_length(layout);
	double		square = 0;

	/* Squares of lengths may be infinite. */
	if (!is_size(node->scale) || !(node->norm >= 0) || !(node->own_norm >= 0) ||
		!is_size(node->error))
		return "an impossible vector";
	if (layout->own_kind == HNSW_OWN_SPARSE)
	{
		if (node->nnz > layout->elements)
			return "an impossible vector";
		n = hnsw_own_sparse(layout, node, check->indices, check->vector);
		if (!positions_ascend(layout, n, check->indices))
			return "a sparse vector with impossible positions";
	}
	else
		hnsw_own_decode(index, node, check->vector);
	for (int i = 0; i < n; i++)
	{
		if (!(fabsf(x[i]) <= FLT_MAX))
			return "a vector with an element that is no number";
		square += (double) x[i] * x[i];
	}
	if (layout->own_kind == HNSW_OWN_BITS && layout->dim % 8 != 0 &&
		(bytes[layout->own_size - 1] & ((1 << (8 - layout->dim % 8)) - 1)) != 0)
		return "bits behind its vector";
	/* Squares that overflow or underflow tell nothing. */
	if (node->error == FLT_MAX || Max(square, node->own_norm) > FLT_MAX / 2 ||
		Max(square, node->own_norm) < SMALL_SQUARE)
		return NULL;
	/* Bits and int8 are exact; of others, own_norm is what the row had. */
	if (!is_near(sqrt(square), sqrt(node->own_norm), layout->own_kind == HNSW_OWN_BITS ||
				 layout->own_kind == HNSW_OWN_INT8 ? 0 : node->error))
		return "a vector of another length than its node says";
	return NULL;
}

/* What is wrong with where links lead, as far as the node tells; NULL if nothing is. */
static const char *
own_links_fault(const HnswLayout *layout, HnswNodeId id, const HnswNodeHeaderData *node)
{
	const HnswNodeId *links = HnswNodeLinks(layout, node);
	HnswNodeId	seen[LINK_SLOTS] = {0};

	for (int i = 0; i < node->nlinks; i++)
	{
		uint32		slot = links[i] * 0x9E3779B1u % LINK_SLOTS;

		if (links[i] == id)
			return "a link from a node to itself";
		if (links[i] == HNSW_NO_NODE)
			return "a link to no node";
		while (seen[slot] != HNSW_NO_NODE)
		{
			if (seen[slot] == links[i])
				return "two links from a node to another";
			slot = (slot + 1) % LINK_SLOTS;
		}
		seen[slot] = links[i];
	}
	return NULL;
}

/* Report what is wrong with a node in use, which is a copy from a page of base or upper nodes. */
void
check_one_node(HnswCheck *check, HnswNodeId id, const HnswNodeHeaderData *node, bool upper)
{
	const HnswLayout *layout = &check->index->layout;
	CheckPlace	place = {HnswNodeBlock(layout, id), HnswNodeSlot(layout, id)};
	const char *fault;

	if ((node->flags & ~(HNSW_NODE_USED | HNSW_NODE_DYING)) != 0 ||
		!hnsw_node_fits(layout, node))
	{
		check_found(check->check, CHECK_REINDEX, place, "an impossible node");
		return;
	}
	if (node->level > HNSW_MAX_LEVEL || (node->level > 0) != upper)
		check_found(check->check, CHECK_REINDEX, place, "a node of level %d on a page of %s nodes",
					node->level, upper ? "upper" : "base");
	else if (upper ? node->ntids != 0 || node->more_tids != 0 || node->below == HNSW_NO_NODE :
			 node->below != HNSW_NO_NODE)
		check_found(check->check, CHECK_REINDEX, place, "an impossible %s node",
					upper ? "upper" : "base");
	check->longest = Max(check->longest, node->norm);
	if ((fault = own_fault(check, node)) != NULL)
		check_found(check->check, CHECK_REINDEX, place, "%s", fault);
	if ((fault = own_links_fault(layout, id, node)) != NULL)
	{
		check_found(check->check, CHECK_REPAIR, place, "%s", fault);
		check_list_add(&check->stale, id);
	}
	if ((fault = tids_fault(check, id, node)) != NULL)
		check_found(check->check, CHECK_REINDEX, place, "%s", fault);
}
