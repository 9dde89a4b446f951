/*-------------------------------------------------------------------------
 *
 * neighbours.c
 *		Which links a node has, and writing them.
 *
 * Functions that change a HnswNodeHeader get an HnswWrite's, and leave its lock
 * to the caller.  hnsw_add_link and hnsw_add_overflow lock nodes themselves, one
 * at a time: the caller holds no page, and holds none afterwards.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/graph.h"

#include "miscadmin.h"

/*
 * The typical factor as it is stored, the smallest and the largest.  binary16 ends at
 * 65504, and has fewer bits below 2^-14: so factors may be 4,000 times as large as the
 * typical one and 1,600 times as small.
 */
#define FACTOR_TYPICAL 16.0f
#define FACTOR_SMALL 0.01f
#define FACTOR_LIMIT 65000.0f

/* Distance of two vectors as the graph sees it; squared for some metrics. */
float
hnsw_graph_distance(const HnswIndex *index, const float *a, float norm_a,
					const float *b, float norm_b)
{
	const HnswMetricInfo *space = index->layout.space;
	float		d = space->distance(hnsw_vector_length(&index->layout), a, b);

	if (space->lifted)
	{
		float		extra = hnsw_extra(index, norm_a) - hnsw_extra(index, norm_b);

		d += extra * extra;
	}
	return d;
}

/*
 * Choose up to "most" of n neighbours, which are sorted by distance.  First
 * come the diverse ones (none of them is much closer to a chosen one than to
 * the node; Malkov & Yashunin, algorithm 4), then the nearest of the others.
 * chosen gets their positions; returns how many there are, *nkept of them
 * diverse.
 */
int
hnsw_select(const HnswIndex *index, const HnswNeighbour *neighbours, int n, int most,
			int *chosen, int *nkept)
{
	float		slack = index->layout.space->slack;
	bool	   *kept = palloc0(sizeof(bool) * Max(n, 1));
	int			count = 0;

	for (int i = 0; i < n && count < most; i++)
	{
		bool		diverse = true;

		for (int j = 0; j < count && diverse; j++)
		{
			const HnswNeighbour *other = &neighbours[chosen[j]];

			diverse = slack * hnsw_graph_distance(index, neighbours[i].vector, neighbours[i].norm,
												  other->vector, other->norm) >= neighbours[i].distance;
		}
		if (diverse)
		{
			kept[i] = true;
			chosen[count++] = i;
		}
	}
	*nkept = count;
	for (int i = 0; i < n && count < most; i++)
		if (!kept[i])
			chosen[count++] = i;
	pfree(kept);
	return count;
}

static int
compare_floats(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return (x > y) - (x < y);
}

/* Can a factor be stored with this scale, neither cut off nor blurred? */
static inline bool
fits_scale(float value, float scale)
{
	float		size = fabsf(value);

	return scale > 0 ? size <= scale * FACTOR_LIMIT && (size == 0 || size >= scale * FACTOR_SMALL) :
		size == 0;
}

/* The scale that is made for the typical one of n factors */
static float
typical_scale(const float *values, int n)
{
	float		sizes[HNSW_MAX_DEGREE];

	for (int i = 0; i < n; i++)
		sizes[i] = fabsf(values[i]);
	qsort(sizes, n, sizeof(float), compare_floats);
	return (sizes[(n - 1) / 2] > 0 ? sizes[(n - 1) / 2] : sizes[n - 1]) / FACTOR_TYPICAL;
}

/* Which share of a factor can be stored with this scale? */
static inline float
stored_share(float value, float scale)
{
	float		limit = scale * FACTOR_LIMIT;

	return fabsf(value) > limit ? limit / fabsf(value) : 1;
}

static inline half
scaled_factor(float value, float scale)
{
	return scale > 0 ? float_to_half_one(Min(Max(value / scale, -FACTOR_LIMIT), FACTOR_LIMIT)) : 0;
}

/*
 * Store both factors of link i.  What is too large for its scale is cut off, and the
 * other factor by as much: so the neighbour is estimated between the node and its
 * place.  If only one were cut off, it would attract searches to which it is far.
 */
static void
store_factors(const HnswLayout *layout, HnswNodeHeader node, int i, float a, float b)
{
	float		share = Min(stored_share(a, node->scale_a), stored_share(b, node->scale_b));

	HnswNodeFactorsA(layout, node)[i] = scaled_factor(a * share, node->scale_a);
	HnswNodeFactorsB(layout, node)[i] = scaled_factor(b * share, node->scale_b);
}

static inline float
finite_factor(float value)
{
	if (fabsf(value) < FLT_MAX)
		return value;
	return value < 0 ? -FLT_MAX : FLT_MAX;
}

/*
 * Set the factors of link i of the n.  All share two scales, made for the typical
 * link: one that is thousands of times as long is cut off, and estimated too near,
 * but does not blur the others.
 */
static void
set_factors(const HnswLayout *layout, HnswNodeHeader node, int n, int i, float a, float b)
{
	half	   *factors_a = HnswNodeFactorsA(layout, node);
	half	   *factors_b = HnswNodeFactorsB(layout, node);

	a = finite_factor(a);
	b = finite_factor(b);
	if (!fits_scale(a, node->scale_a) || !fits_scale(b, node->scale_b))
	{
		float		as[HNSW_MAX_DEGREE] = {0};
		float		bs[HNSW_MAX_DEGREE] = {0};

		for (int j = 0; j < n; j++)
		{
			as[j] = j == i ? a : half_to_float_one(factors_a[j]) * node->scale_a;
			bs[j] = j == i ? b : half_to_float_one(factors_b[j]) * node->scale_b;
		}
		if (!fits_scale(a, node->scale_a))
			node->scale_a = typical_scale(as, n);
		if (!fits_scale(b, node->scale_b))
			node->scale_b = typical_scale(bs, n);
		for (int j = 0; j < n; j++)
			store_factors(layout, node, j, as[j], bs[j]);
	}
	else
		store_factors(layout, node, i, a, b);
}

/* Put a link at a position of a node: number, diversity, code and factors. */
void
hnsw_put_link(const HnswLayout *layout, HnswNodeHeader node, int i, const HnswLink *link,
			  bool kept)
{
	int			n = Max(node->nlinks, i + 1);

	Assert(i >= 0 && i <= node->nlinks && i < layout->degree);
	HnswNodeLinks(layout, node)[i] = link->to;
	hnsw_set_kept(HnswNodeKept(layout, node), i, kept);
	if (layout->code.units > 0)
	{
		code_pack(&layout->code, link->code, HnswNodeCodes(layout, node), i);
		set_factors(layout, node, n, i, link->a, link->b);
	}
	node->nlinks = n;
}

/* Put a link at a position of a node; "from" is the node's vector, rotated. */
void
hnsw_set_link(const HnswIndex *index, HnswNodeHeader node, int i, const HnswNeighbour *to,
			  const float *from, bool kept)
{
	const HnswLayout *layout = &index->layout;
	uint8		buffer[2048];
	HnswLink	link = {0};

	link.to = to->id;
	link.code = layout->code.units <= lengthof(buffer) ? buffer : palloc(layout->code.units);
	if (layout->code.units > 0)
		hnsw_link_encode(index, from, to->rotated, link.code, &link.a, &link.b);
	hnsw_put_link(layout, node, i, &link, kept);
	if (link.code != buffer)
		pfree(link.code);
}

/* Fill in a new node but for its links. */
void
hnsw_node_init(const HnswIndex *index, HnswNodeHeader node, int level, const HnswOwn *own)
{
	const HnswLayout *layout = &index->layout;

	memset(node, 0, layout->node_size);
	node->flags = HNSW_NODE_USED;
	node->level = level;
	node->nnz = own->nnz;
	node->scale = own->scale;
	node->norm = own->norm;
	node->own_norm = own->own_norm;
	node->error = own->error;
	memcpy(HnswNodeOwn(layout, node), own->data, layout->own_size);
}

/*
 * What a node has to know to choose among its links and a new neighbour.
 * Distances are not squared.
 */
typedef struct Distances
{
	float		length;			/* of the new link */
	float		lengths[HNSW_MAX_DEGREE];	/* of the links */
	float		estimates[HNSW_MAX_DEGREE]; /* from the links to the new neighbour */
	bool		may_go[HNSW_MAX_DEGREE];	/* see find_replaceable() */
} Distances;

/* Links of a full node that are looked at whether they are spare */
#define SPARE_TRIES 8

/*
 * A full node that has refused a new neighbour, and the links that would give way if
 * searches reach what they lead to without them, which only other nodes can tell.
 */
typedef struct Refusal
{
	bool		diverse;		/* the new neighbour is */
	int			nlinks;
	HnswNodeId	links[HNSW_MAX_DEGREE]; /* of the node */
	int			nvictims;
	int			victims[SPARE_TRIES];	/* their positions, the first to go first */
	float		lengths[SPARE_TRIES];
} Refusal;

/*
 * The farthest of a node's links among those that may go and have a kept flag,
 * or -1.
 */
static int
farthest(const HnswLayout *layout, HnswNodeHeader node, const Distances *d, bool kept)
{
	int			best = -1;

	for (int i = 0; i < node->nlinks; i++)
		if (d->may_go[i] && hnsw_kept(HnswNodeKept(layout, node), i) == kept &&
			(best < 0 || d->lengths[i] > d->lengths[best]))
			best = i;
	return best;
}

/* The metric's slack for Distances, which are not squared */
static inline float
plain_slack(const HnswLayout *layout)
{
	return layout->space->euclidean ? sqrtf(layout->space->slack) : layout->space->slack;
}

/*
 * Which link of a full node gives way to a new one, or -1 if none should.
 * Links that only fill the node give way first.  A new neighbour that a
 * diverse link occludes only fills, too.  Else the farthest diverse link that
 * the new neighbour occludes goes, or the farthest of all if it is farther.
 */
static int
choose_victim(const HnswLayout *layout, HnswNodeHeader node, const Distances *d, bool diverse)
{
	float		slack = plain_slack(layout);
	int			filler = farthest(layout, node, d, false);
	int			best = -1;

	if (filler >= 0 && (diverse || d->lengths[filler] > d->length))
		return filler;
	if (!diverse)
		return -1;
	for (int i = 0; i < node->nlinks; i++)
		if (d->may_go[i] && d->lengths[i] > d->length &&
			slack * d->estimates[i] < d->lengths[i] &&
			(best < 0 || d->lengths[i] > d->lengths[best]))
			best = i;
	if (best >= 0)
		return best;
	best = farthest(layout, node, d, true);
	return (best >= 0 && d->lengths[best] > d->length) ? best : -1;
}

/*
 * A link that only fills the node may give way to the new neighbour, and so may
 * one to what that links to itself: then whatever could be reached through the
 * node still can, one hop later.
 */
static void
find_replaceable(const HnswLayout *layout, HnswNodeHeader node, const HnswNeighbour *to,
				 Distances *d)
{
	for (int i = 0; i < node->nlinks; i++)
		d->may_go[i] = !hnsw_kept(HnswNodeKept(layout, node), i) ||
			hnsw_find_link(to->links, to->nlinks, HnswNodeLinks(layout, node)[i]) >= 0;
}

/* Distances of a coded node, which may be locked; the query is the new neighbour. */
static void
coded_distances(const HnswIndex *index, const HnswQuery *query, HnswNodeHeader node,
				Distances *d)
{
	float		l2sq;
	float		key = hnsw_graph_key(index, query, node, &l2sq);
	int			n = hnsw_node_estimates(index, query, node, key, d->estimates, d->lengths);

	d->length = sqrtf(key);
	for (int i = 0; i < n; i++)
		d->estimates[i] = sqrtf(Max(d->estimates[i], 0));
}

/*
 * Distances of a node with plain links, which have to be read.  The node must not be
 * locked; links[] is what it had.
 */
static void
plain_distances(HnswIndex *index, const HnswNodeId *links, int nlinks,
				const HnswNeighbour *from, const HnswNeighbour *to, Distances *d)
{
	bool		squared = index->layout.space->euclidean;
	float	   *x = palloc(sizeof(float) * index->layout.dim);

	d->length = squared ? sqrtf(to->distance) : to->distance;
	for (int i = 0; i < nlinks; i++)
	{
		HnswRead	read;
		float		norm;

		hnsw_read(index, links[i], &read);
		hnsw_own_decode(index, read.node, x);
		norm = read.node->norm;
		hnsw_read_end(&read);
		d->lengths[i] = hnsw_graph_distance(index, from->vector, from->norm, x, norm);
		d->estimates[i] = hnsw_graph_distance(index, to->vector, to->norm, x, norm);
		if (squared)
		{
			d->lengths[i] = sqrtf(d->lengths[i]);
			d->estimates[i] = sqrtf(d->estimates[i]);
		}
	}
	pfree(x);
}

/* Does a diverse link of the node occlude the new neighbour? */
static bool
is_diverse(const HnswLayout *layout, HnswNodeHeader node, const Distances *d)
{
	float		slack = plain_slack(layout);

	for (int i = 0; i < node->nlinks; i++)
		if (d->lengths[i] < d->length && slack * d->estimates[i] < d->length &&
			hnsw_kept(HnswNodeKept(layout, node), i))
			return false;
	return true;
}

/*
 * Where a link to a new neighbour goes, or -1: if there is no room, and no link
 * that should give way.
 */
static int
find_place(const HnswLayout *layout, HnswNodeHeader node, const Distances *d, bool *diverse)
{
	*diverse = is_diverse(layout, node, d);
	return node->nlinks < layout->degree ? node->nlinks :
		choose_victim(layout, node, d, *diverse);
}

/* Note what a node that refuses a new neighbour could still give up for it. */
static void
note_refusal(const HnswLayout *layout, HnswNodeHeader node, Distances *d, bool diverse,
			 Refusal *refusal)
{
	refusal->diverse = diverse;
	refusal->nlinks = node->nlinks;
	memcpy(refusal->links, HnswNodeLinks(layout, node), sizeof(HnswNodeId) * node->nlinks);
	memset(d->may_go, true, sizeof(d->may_go));
	for (refusal->nvictims = 0; refusal->nvictims < SPARE_TRIES; refusal->nvictims++)
	{
		int			victim = choose_victim(layout, node, d, diverse);

		if (victim < 0)
			break;
		d->may_go[victim] = false;
		refusal->victims[refusal->nvictims] = victim;
		refusal->lengths[refusal->nvictims] = d->lengths[victim];
	}
}

/*
 * Lock a node that has refused the new neighbour "to", if one of its links is spare.
 * Returns the position of that link; -1, and nothing is locked, if there is none or
 * the node has changed.
 */
static int
open_spare(HnswIndex *index, HnswNodeId from, HnswNodeId to, int level, const Refusal *refusal,
		   HnswWrite *write)
{
	const HnswLayout *layout = &index->layout;

	for (int i = 0; i < refusal->nvictims; i++)
	{
		int			at = refusal->victims[i];
		const HnswNodeId *links;

		CHECK_FOR_INTERRUPTS();
		if (!hnsw_is_spare(index, refusal->links, refusal->nlinks, at, refusal->lengths[i], level))
			continue;
		hnsw_write(index, from, write);
		links = HnswNodeLinks(layout, write->node);
		if ((write->node->flags & HNSW_NODE_USED) && write->node->level == level &&
			write->node->nlinks == refusal->nlinks && links[at] == refusal->links[at] &&
			hnsw_find_link(links, refusal->nlinks, to) < 0)
			return at;
		hnsw_write_end(index, write, false);
		return -1;
	}
	return -1;
}

/*
 * Link "from", which may be dying, to "to", whose query is given unless links are
 * plain, if "from" has room or a link that should give way.  Only one page is locked
 * at a time.  False if no link was made.
 */
bool
hnsw_add_link(HnswIndex *index, const HnswQuery *query, const HnswNeighbour *from,
			  const HnswNeighbour *to, int level)
{
	const HnswLayout *layout = &index->layout;
	bool		coded = layout->code.units > 0;
	HnswNodeId	links[HNSW_MAX_DEGREE];
	int			nlinks = 0;
	Distances	d;
	Refusal		refusal;
	HnswWrite	write;
	HnswNodeHeader node;
	bool		usable;
	bool		diverse;
	int			position;

	if (!coded)
	{
		HnswRead	read;

		hnsw_read(index, from->id, &read);
		nlinks = read.node->nlinks;
		memcpy(links, HnswNodeLinks(layout, read.node), sizeof(HnswNodeId) * nlinks);
		hnsw_read_end(&read);
		plain_distances(index, links, nlinks, from, to, &d);
	}

	hnsw_write(index, from->id, &write);
	node = write.node;
	usable = (node->flags & HNSW_NODE_USED) && node->level == level;
	if (!usable || hnsw_find_link(HnswNodeLinks(layout, node), node->nlinks, to->id) >= 0)
	{
		hnsw_write_end(index, &write, false);
		return usable;
	}
	if (coded)
		coded_distances(index, query, node, &d);
	else if (node->nlinks != nlinks ||
			 memcmp(links, HnswNodeLinks(layout, node), sizeof(HnswNodeId) * nlinks) != 0)
	{
		/* Somebody changed it meanwhile: once more. */
		hnsw_write_end(index, &write, false);
		CHECK_FOR_INTERRUPTS();
		return hnsw_add_link(index, query, from, to, level);
	}

	find_replaceable(layout, node, to, &d);
	position = find_place(layout, node, &d, &diverse);
	if (position < 0)
	{
		note_refusal(layout, node, &d, diverse, &refusal);
		hnsw_write_end(index, &write, false);
		position = open_spare(index, from->id, to->id, level, &refusal, &write);
		if (position < 0)
			return false;
	}
	hnsw_set_link(index, write.node, position, to, from->rotated, diverse);
	hnsw_write_end(index, &write, true);
	return true;
}

/*
 * Distances of a coded node for an overflow link of it, without the vectors:
 * how far the new neighbour's links are from it is known, and others count as
 * far from it.
 */
static void
overflow_distances(const HnswIndex *index, HnswNodeHeader node, const HnswLink *link,
				   Distances *d)
{
	const HnswTarget *target = link->target;
	int			n = hnsw_link_lengths(index, node, d->lengths);

	d->length = hnsw_code_length(&index->layout, link->b);
	for (int i = 0; i < n; i++)
	{
		int			at = hnsw_find_link(target->links, target->nlinks,
								   HnswNodeLinks(&index->layout, node)[i]);

		d->may_go[i] = at >= 0;
		d->estimates[i] = at >= 0 ? target->lengths[at] : FLT_MAX;
	}
}

/*
 * Move overflow links of a coded base node into the node, n of them, in one
 * change; those without a target are left out.  The node may decline, but not the
 * nearest neighbour of the one that the link leads to: so that can still be
 * reached.
 */
void
hnsw_add_overflow(HnswIndex *index, const HnswLink *links, int n)
{
	const HnswLayout *layout = &index->layout;
	bool	   *declined = palloc0(sizeof(bool) * n);
	bool		changed = false;
	HnswWrite	write;
	HnswNodeHeader node;

	Assert(n > 0 && links[0].from == links[n - 1].from);
	hnsw_write(index, links[0].from, &write);
	node = write.node;
	if (node->flags != HNSW_NODE_USED || node->level != 0)
		n = 0;
	for (int i = 0; i < n; i++)
	{
		Distances	d;
		bool		diverse;
		int			position;

		if (links[i].target == NULL ||
			hnsw_find_link(HnswNodeLinks(layout, node), node->nlinks, links[i].to) >= 0)
			continue;
		overflow_distances(index, node, &links[i], &d);
		position = find_place(layout, node, &d, &diverse);
		declined[i] = position < 0;
		if (position < 0)
			continue;
		hnsw_put_link(layout, node, position, &links[i], diverse);
		changed = true;
	}
	hnsw_write_end(index, &write, changed);
	for (int i = 0; i < n; i++)
		if (declined[i] && links[i].target->nlinks > 0 && links[i].target->links[0] == links[i].from)
			hnsw_force_back(index, links[i].to, 0);
	pfree(declined);
}

/* Take a link out of a node; the last one takes its place. */
void
hnsw_remove_link(const HnswIndex *index, HnswNodeHeader node, int i)
{
	const HnswLayout *layout = &index->layout;
	int			last = --node->nlinks;
	int			units = layout->code.units;

	Assert(i >= 0 && i <= last);
	if (i < last)
	{
		HnswNodeLinks(layout, node)[i] = HnswNodeLinks(layout, node)[last];
		hnsw_set_kept(HnswNodeKept(layout, node), i,
					  hnsw_kept(HnswNodeKept(layout, node), last));
		if (units > 0)
		{
			uint8	   *blocks = HnswNodeCodes(layout, node);
			uint8	   *to = blocks + (i / FASTSCAN_BLOCK) * units * FASTSCAN_BLOCK +
				i % FASTSCAN_BLOCK;
			uint8	   *from = blocks + (last / FASTSCAN_BLOCK) * units * FASTSCAN_BLOCK +
				last % FASTSCAN_BLOCK;

			for (int t = 0; t < units; t++)
				to[t * FASTSCAN_BLOCK] = from[t * FASTSCAN_BLOCK];
			HnswNodeFactorsA(layout, node)[i] = HnswNodeFactorsA(layout, node)[last];
			HnswNodeFactorsB(layout, node)[i] = HnswNodeFactorsB(layout, node)[last];
		}
	}
	HnswNodeLinks(layout, node)[last] = HNSW_NO_NODE;
}

/* A random level: each has one in HNSW_LEVEL_RATIO of the level below. */
int
hnsw_random_level(pg_prng_state *random)
{
	int			level = 0;

	while (level < HNSW_MAX_LEVEL &&
		   pg_prng_uint64_range(random, 0, HNSW_LEVEL_RATIO - 1) == 0)
		level++;
	return level;
}

/* Fill in a link from a neighbour to a node; its code takes memory. */
void
hnsw_link_make(HnswIndex *index, const HnswNeighbour *from, const HnswNeighbour *to,
			   HnswLink *link)
{
	const HnswLayout *layout = &index->layout;

	*link = (HnswLink) {0};
	link->from = from->id;
	link->to = to->id;
	link->neighbour = from;
	if (layout->code.units > 0)
	{
		link->code = palloc(layout->code.units);
		hnsw_link_encode(index, from->rotated, to->rotated, link->code, &link->a, &link->b);
	}
}
