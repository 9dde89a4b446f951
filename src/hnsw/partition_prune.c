/*-------------------------------------------------------------------------
 *
 * partition_prune.c
 *		From candidates to links: the diverse ones, the reverse ones, and
 *		the nearest of the others until the lists are full.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "hnsw/partition_build.h"

/*
 * A candidate c is dropped if a kept one is nearer to it than d(c, row) / ALPHA.
 * For L2 the distances are squared, and so is ALPHA.
 */
#define ALPHA 1.1f

/*
 * Distances by L1 differ less from each other, and nearly everything would be
 * dropped.
 */
#define ALPHA_L1 1.4f

/* Rows between two progress reports. */
#define ROWS_PER_REPORT 16

#define ST_SORT sort_keys
#define ST_ELEMENT_TYPE uint64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * The candidates of one row while they are chosen from.
 */
typedef struct PruneScratch
{
	int			capacity;		/* candidates considered at a time */
	uint32	   *kept;			/* rows of the kept candidates */
	bool	   *kept_forward;	/* were they kept before? */
	uint64	   *keys;			/* forward and reverse candidates */
	bool	   *forward;		/* which of these were kept before */
	uint64	   *dropped;		/* the ones not kept, ascending */
} PruneScratch;

/*
 * The reverse links: sources[starts[y] .. starts[y + 1]] are the rows that
 * keep y.
 */
typedef struct ReverseLinks
{
	uint64	   *starts;
	uint32	   *sources;
	uint32		most;			/* sources of the row that has most */
} ReverseLinks;

static int
prune_capacity(const PartitionBuild *build)
{
	return build->forward + 2 * build->width;
}

Size
prune_memory(const PartitionBuild *build)
{
	Size		capacity = prune_capacity(build);
	Size		n = build->n;

	return (n + 2) * sizeof(uint64) + n * build->forward * sizeof(uint32) +
		n * sizeof(uint64) +	/* a row that all others keep */
		capacity * (sizeof(uint32) + 2 * sizeof(bool) + 2 * sizeof(uint64));
}

static PruneScratch *
prune_scratch(PartitionBuild *build)
{
	PruneScratch *scratch = palloc0(sizeof(PruneScratch));
	Size		capacity = prune_capacity(build);

	scratch->capacity = capacity;
	scratch->kept = palloc(capacity * sizeof(uint32));
	scratch->kept_forward = palloc(capacity * sizeof(bool));
	scratch->forward = palloc0(capacity * sizeof(bool));
	scratch->keys = palloc(capacity * sizeof(uint64));
	scratch->dropped = palloc(capacity * sizeof(uint64));
	return scratch;
}

static void
prune_free(PruneScratch *scratch)
{
	pfree(scratch->kept);
	pfree(scratch->kept_forward);
	pfree(scratch->forward);
	pfree(scratch->keys);
	pfree(scratch->dropped);
	pfree(scratch);
}

/*
 * Choose among ascending candidates of a row at most "most" such that no two
 * of them lie in the same direction.  The chosen ones come first, the others
 * after them, both ascending.  Returns how many were chosen.
 *
 * Two candidates that were chosen together before, scratch->forward, need no
 * second test.
 */
static int
select_diverse(PartitionBuild *build, PruneScratch *scratch, uint32 row,
			   uint64 *keys, int count, int most)
{
	bool		l2 = build->params->metric == PARTITION_L2;
	float		shrink = l2 ? 1 / (ALPHA * ALPHA) : 1 / ALPHA_L1;
	uint32	   *kept = scratch->kept;
	int			nkept = 0;
	int			ndropped = 0;

	for (int c = 0; c < count; c++)
	{
		uint32		other = candidate_row(keys[c], row);
		int32		limit = (int32) (candidate_dist(keys[c]) * shrink);
		bool		occluded = nkept == most;

		for (int s = 0; s < nkept && !occluded; s++)
			if (!(scratch->forward[c] && scratch->kept_forward[s]))
				occluded = partition_distance(build, other, kept[s]) <= limit;
		if (occluded)
			scratch->dropped[ndropped++] = keys[c];
		else
		{
			kept[nkept] = other;
			scratch->kept_forward[nkept] = scratch->forward[c];
			keys[nkept++] = keys[c];
		}
	}
	memcpy(keys + nkept, scratch->dropped, ndropped * sizeof(uint64));
	return nkept;
}

/*
 * Collect who keeps whom, seen from the kept ones.
 */
static ReverseLinks *
reverse_links(PartitionBuild *build, const uint16 *nkept)
{
	ReverseLinks *reverse = palloc0(sizeof(ReverseLinks));
	uint32		n = build->n;
	uint64	   *starts = partition_alloc(sizeof(uint64) * ((Size) n + 2));

	memset(starts, 0, sizeof(uint64) * ((Size) n + 2));
	for (uint32 row = 0; row < n; row++)
		for (int i = 0; i < nkept[row]; i++)
			starts[(Size) candidate_row(ROW_LIST(build, row)[i], row) + 2]++;
	for (uint32 row = 0; row < n; row++)
	{
		reverse->most = Max(reverse->most, starts[(Size) row + 2]);
		starts[(Size) row + 2] += starts[(Size) row + 1];
	}
	partition_tick(build);
	reverse->starts = starts;
	reverse->sources = partition_alloc(sizeof(uint32) * starts[(Size) n + 1]);
	for (uint32 row = 0; row < n; row++)
		for (int i = 0; i < nkept[row]; i++)
		{
			uint32		other = candidate_row(ROW_LIST(build, row)[i], row);

			reverse->sources[starts[(Size) other + 1]++] = row;
		}
	partition_tick(build);
	return reverse;
}

/*
 * Merge a row's kept candidates with the rows that keep it, or the nearest of
 * these if there are very many, into scratch->keys.  "work" has room for all
 * the latter.  Returns how many there are.
 */
static int
merge_reverse(PartitionBuild *build, PruneScratch *scratch,
			  const ReverseLinks *reverse, uint32 row, int nforward,
			  uint64 *work)
{
	const uint32 *sources = reverse->sources + reverse->starts[row];
	const uint64 *list = ROW_LIST(build, row);
	Size		nsources = reverse->starts[(Size) row + 1] -
		reverse->starts[row];
	int			count = 0;
	int			a = 0;
	Size		b = 0;

	for (Size i = 0; i < nsources; i++)
		work[i] = candidate_key(partition_distance(build, row, sources[i]),
								row, sources[i]);
	sort_keys(work, nsources);
	while (count < scratch->capacity && (a < nforward || b < nsources))
	{
		bool		forward = b == nsources ||
			(a < nforward && list[a] <= work[b]);
		uint64		key = forward ? list[a++] : work[b++];

		if (b < nsources && work[b] == key)
			b++;
		scratch->forward[count] = forward;
		scratch->keys[count++] = key;
	}
	return count;
}

/* Is the key among ascending ones?  Skips those that are smaller. */
static inline bool
skip_to(const uint64 **keys, const uint64 *end, uint64 key)
{
	while (*keys < end && **keys < key)
		(*keys)++;
	return *keys < end && **keys == key;
}

/*
 * Write a row's links over its candidates: the kept ones of scratch->keys, the
 * others there, then the nearest of "ndropped" candidates that were dropped
 * before the reverse links came.  Returns their number.
 */
static int
write_links(PartitionBuild *build, PruneScratch *scratch, uint32 row,
			int nkept, int count, int ndropped)
{
	uint32	   *links = ROW_LINKS(build, row);
	const uint64 *kept = scratch->keys;
	const uint64 *others = scratch->keys + nkept;
	const uint64 *end = scratch->keys + count;
	int			nlinks = Min(count, build->degree);

	for (int i = 0; i < nlinks; i++)
		links[i] = candidate_row(scratch->keys[i], row);
	for (int i = 0; i < ndropped && nlinks < build->degree; i++)
	{
		uint64		key = scratch->dropped[i];

		if (!skip_to(&kept, scratch->keys + nkept, key) &&
			!skip_to(&others, end, key))
			links[nlinks++] = candidate_row(key, row);
	}
	return nlinks;
}

/*
 * Turn the candidate lists into links, in place.  Rows with too few candidates
 * get short lists; connect_rows fills them.
 */
void
prune_rows(PartitionBuild *build, PartitionGraph *graph)
{
	PruneScratch *scratch = prune_scratch(build);
	uint32		n = build->ndistinct;
	ReverseLinks *reverse;
	uint64	   *work;

	memset(graph->nlinks, 0, sizeof(uint16) * (Size) build->n);
	memset(graph->nkept, 0, sizeof(uint16) * (Size) build->n);
	for (uint32 i = 0; i < n; i++)
	{
		uint32		row = build->order[i];

		graph->nkept[row] = select_diverse(build, scratch, row,
										   ROW_LIST(build, row),
										   build->counts[row], build->forward);
		if (i % ROWS_PER_REPORT == 0)
			partition_progress(build, 0.5 * i / n);
	}

	reverse = reverse_links(build, graph->nkept);
	work = partition_alloc(sizeof(uint64) * reverse->most);
	for (uint32 i = 0; i < n; i++)
	{
		uint32		row = build->order[i];
		uint64	   *list = ROW_LIST(build, row);
		int			nforward = graph->nkept[row];
		int			ndropped = build->counts[row] - nforward;
		int			count;

		count = merge_reverse(build, scratch, reverse, row, nforward, work);
		graph->nkept[row] = select_diverse(build, scratch, row, scratch->keys,
										   count, build->degree);
		memcpy(scratch->dropped, list + nforward, ndropped * sizeof(uint64));
		graph->nlinks[row] = write_links(build, scratch, row,
										 graph->nkept[row], count, ndropped);
		if (i % ROWS_PER_REPORT == 0)
			partition_progress(build, 0.5 + 0.5 * i / n);
	}
	pfree(work);
	pfree(reverse->starts);
	pfree(reverse->sources);
	pfree(reverse);
	prune_free(scratch);
}
