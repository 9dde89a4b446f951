/*-------------------------------------------------------------------------
 *
 * check_links.c
 *		The second pass: does each link lead to a node of its level, and does its
 *		code fit?
 *
 * A link is made while its target is in use, and goes before that is freed.  What the
 * first pass knows of nodes may be outdated.  So a link that seems to lead nowhere is
 * looked at again: if it stands there before and after its target was found not to
 * exist, several times, it is wrong.  For each of these the slot would have to be
 * given to a new node and be freed again by a whole vacuum.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

#include "common/hashfn.h"
#include "miscadmin.h"

/* Looks that have to find a link wrong */
#define LOOKS 3

/*
 * Comparisons of codes: as many as take about a second, in multiplications; in larger
 * indexes, a share of the links.  A rotation, or what of a projection takes as long.
 */
#define MAX_WORK 5e8
#define ROTATION_WORK 16
#define PROJECTION_SPEED 16

/* What a copied node is. */
static uint8
what_is(const HnswNodeHeaderData *node)
{
	if (!(node->flags & HNSW_NODE_USED))
		return NODE_NONE;
	return Min(node->level, NODE_LEVEL) |
		(node->flags & HNSW_NODE_DYING ? NODE_DYING : NODE_USED);
}

/*
 * Is there, by now, a node of this level?  Copies it to check->other; page_lost says
 * whether there is no page of nodes.
 */
static bool
exists(HnswCheck *check, HnswNodeId id, int level)
{
	const char *fault = hnsw_node_copy(check->index, id, check->other);
	uint8		what = fault != NULL ? NODE_NONE : what_is(check->other);

	check->page_lost = fault != NULL;
	if (id < check->nids)
		check->nodes[id] = what;
	return what != NODE_NONE && (what & NODE_LEVEL) == level;
}

/* Does a node of this level exist?  Its page is copied only if we do not know yet. */
static inline bool
leads_on(HnswCheck *check, HnswNodeId id, int level)
{
	uint8		what = id < check->nids ? check->nodes[id] : 0;

	if ((what & (NODE_USED | NODE_DYING)) != 0 && (what & NODE_LEVEL) == level)
		return true;
	return exists(check, id, level);
}

/*
 * Does a live node have this link, by now?  "below" counts as one for a level less.  The
 * links of a dying node stay while vacuum frees what they lead to, and for longer if that
 * is interrupted; then others may be given these slots.
 */
static bool
has_link(HnswCheck *check, HnswNodeId id, HnswNodeId to, int level)
{
	const HnswNodeHeaderData *node = check->other;

	if (hnsw_node_copy(check->index, id, check->other) != NULL ||
		node->flags != HNSW_NODE_USED || !hnsw_node_fits(&check->index->layout, node))
		return false;
	if (node->level == level + 1)
		return node->below == to;
	if (node->level != level)
		return false;
	for (int i = 0; i < node->nlinks; i++)
		if (HnswNodeLinks(&check->index->layout, node)[i] == to)
			return true;
	return false;
}

/* Does a node's link to a node of some level lead nowhere? */
static bool
is_stale(HnswCheck *check, HnswNodeId id, HnswNodeId to, int level)
{
	if (leads_on(check, to, level))
		return false;
	for (int i = 0; i < LOOKS; i++)
		if (!has_link(check, id, to, level) || exists(check, to, level) ||
			!has_link(check, id, to, level))
			return false;
	return true;
}

/* Compare the codes of some links of a node, which is in check->node. */
static void
check_codes(HnswCheck *check, HnswNodeId id)
{
	const HnswLayout *layout = &check->index->layout;
	const HnswNodeHeaderData *node = check->node;
	MemoryContext old = MemoryContextSwitchTo(check->context);
	const float *rotated = NULL;
	HnswLink	link = {.from = id};

	/* After a crash, a node that spans pages may have codes of former links. */
	for (int i = murmurhash32(id ^ (uint32) check->check->seed) % check->codes;
		 i < node->nlinks && layout->pages_per_node == 1; i += check->codes)
	{
		const char *fault;

		if (!exists(check, HnswNodeLinks(layout, node)[i], node->level))
			continue;
		if (rotated == NULL)
		{
			float	   *vector = palloc(sizeof(float) * hnsw_vector_length(layout));

			hnsw_own_decode(check->index, node, vector);
			rotated = hnsw_rotated(check->index, vector);
			link.code = palloc(layout->code.units);
		}
		link.to = HnswNodeLinks(layout, node)[i];
		code_unpack(&layout->code, HnswNodeCodes(layout, node), i, link.code);
		link.a = half_to_float_one(HnswNodeFactorsA(layout, node)[i]) * node->scale_a;
		link.b = half_to_float_one(HnswNodeFactorsB(layout, node)[i]) * node->scale_b;
		fault = check_code(check, node, rotated, &link);
		/* Unless the target has become another node since: then the link has gone. */
		if (fault != NULL && has_link(check, id, link.to, node->level))
			check_found(check->check, CHECK_REINDEX,
						(CheckPlace) {HnswNodeBlock(layout, id), HnswNodeSlot(layout, id)}, "%s", fault);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(check->context);
}

/*
 * Report a link that leads nowhere.  A repair removes it, unless there has to be a page
 * of nodes which is not there: with the link, a trace of lost rows would go.
 */
static void
stale_found(HnswCheck *check, CheckPlace place, const char *what, CheckList *list, uint32 item)
{
	check_found(check->check, check->page_lost ? CHECK_REINDEX : CHECK_REPAIR, place, "%s", what);
	if (!check->page_lost)
		check_list_add(list, item);
}

static void
check_node_links(HnswCheck *check, HnswNodeId id)
{
	const HnswLayout *layout = &check->index->layout;
	const HnswNodeHeaderData *node = check->node;
	CheckPlace	place = {HnswNodeBlock(layout, id), HnswNodeSlot(layout, id)};
	const HnswNodeId *links = HnswNodeLinks(layout, node);

	if (!hnsw_node_fits(layout, node) || node->level > HNSW_MAX_LEVEL)
		return;					/* check_node has reported it */
	for (int i = 0; i < node->nlinks; i++)
	{
		if (links[i] == HNSW_NO_NODE || !is_stale(check, id, links[i], node->level))
			continue;
		stale_found(check, place, psprintf("a link to node %u, where there is no node of its level", links[i]),
					&check->stale, id);
	}
	if (node->level > 0)
	{
		HnswNodeId	below = node->below;

		if (is_stale(check, id, below, node->level - 1))
			stale_found(check, place, "an upper node without a node below", &check->orphans, id);
		else if (exists(check, below, node->level - 1) &&
				 memcmp(HnswNodeOwn(layout, node), HnswNodeOwn(layout, check->other), layout->own_size) != 0 &&
				 has_link(check, id, below, node->level - 1))
			check_found(check->check, CHECK_REINDEX, place, "an upper node of another vector than the node below");
	}
	if (layout->code.units > 0)
		check_codes(check, id);
}

/* Links of the nodes of a block that is in check->page */
static void
check_block_links(HnswCheck *check, BlockNumber block)
{
	const HnswLayout *layout = &check->index->layout;
	int			slots = Min(HnswPageGetOpaque(check->page)->nused, layout->nodes_per_page);

	for (int slot = 0; slot < slots; slot++)
	{
		HnswNodeId	id = HnswMakeNodeId(layout, block, slot);

		if (layout->pages_per_node > 1)
		{
			if (hnsw_node_copy(check->index, id, check->node) != NULL)
				continue;
		}
		else
			memcpy(check->node, check->page + HNSW_PAGE_START + slot * layout->node_size,
				   layout->node_size);
		if (check->node->flags & HNSW_NODE_USED)
			check_node_links(check, id);
	}
}

static int
compare_links(const void *a, const void *b)
{
	const HnswLink *x = a;
	const HnswLink *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->to > y->to) - (x->to < y->to);
}

/* Does a page of overflow links have this one, by now? */
static bool
has_overflow(HnswCheck *check, BlockNumber block, const HnswLink *link)
{
	HnswLink   *links = palloc(sizeof(HnswLink) * check->index->layout.overflow_links);
	PGAlignedBlock page;
	bool		found = false;

	if (hnsw_copy(check->index, block, HNSW_PAGE_OVERFLOW, 0, BLCKSZ, page.data) == NULL &&
		HnswPageGetOpaque(page.data)->nused <= check->index->layout.overflow_links)
	{
		int			n = hnsw_overflow_unpack(check->index, page.data, links, NULL);

		for (int i = 0; i < n && !found; i++)
			found = links[i].from == link->from && links[i].to == link->to;
	}
	pfree(links);
	return found;
}

/* Does one of the ends of an overflow link not exist, while the link does? */
static bool
is_stale_overflow(HnswCheck *check, BlockNumber block, const HnswLink *link)
{
	if (leads_on(check, link->from, 0) && leads_on(check, link->to, 0))
		return false;
	for (int i = 0; i < LOOKS; i++)
		if (!has_overflow(check, block, link) ||
			(exists(check, link->from, 0) && exists(check, link->to, 0)) ||
			!has_overflow(check, block, link))
			return false;
	return true;
}

/* Overflow links of a page that is in check->page; those of one node are met together. */
static void
check_overflow_links(HnswCheck *check, BlockNumber block)
{
	const HnswLayout *layout = &check->index->layout;
	uint32		group = HnswPageGetOpaque(check->page)->next;
	HnswLink   *links;
	int			n;

	if (HnswPageGetOpaque(check->page)->nused > layout->overflow_links)
		return;
	links = palloc(sizeof(HnswLink) * layout->overflow_links);
	n = hnsw_overflow_unpack(check->index, check->page, links, NULL);
	qsort(links, n, sizeof(HnswLink), compare_links);
	for (int i = 0; i < n; i++)
	{
		const char *fault = NULL;

		check->page_lost = false;
		if (HnswNodeGroup(layout, links[i].from) != group)
			fault = "an overflow link of another group";
		else if (links[i].from == links[i].to)
			fault = "an overflow link from a node to itself";
		else if (i > 0 && compare_links(&links[i], &links[i - 1]) == 0)
			fault = "two overflow links from a node to another";
		else if (is_stale_overflow(check, block, &links[i]))
			fault = "an overflow link from or to what is no base node";
		if (fault == NULL)
			continue;
		stale_found(check, CheckBlock(block), fault, &check->groups, group);
	}
	pfree(links);
}

void
check_links(HnswCheck *check)
{
	const HnswLayout *layout = &check->index->layout;
	double		links = (double) check->nlive * layout->degree;
	double		work = (double) layout->out_dim *
		(ROTATION_WORK + (layout->projected ? layout->code.dims / PROJECTION_SPEED : 0));

	check_phase(check->check, "links");
	check->longest_reach = sqrt(check->longest) +
		sqrt(distance->normsq(layout->dim, check->index->mean));
	check->codes = (uint32) Max(ceil(links * work / MAX_WORK), 1);
	for (BlockNumber block = HNSW_METAPAGE + 1; block < check->nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!check_samples(check->check, block) ||
			!hnsw_page_copy(check->index, block, check->page) ||
			hnsw_page_fault(check->index->rel, block, check->page, 0) != NULL)
			continue;
		switch (HnswPageGetOpaque(check->page)->kind)
		{
			case HNSW_PAGE_NODE:
				check_block_links(check, block);
				break;
			case HNSW_PAGE_OVERFLOW:
				check_overflow_links(check, block);
				break;
			default:
				break;
		}
	}
}
