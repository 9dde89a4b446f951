/*-------------------------------------------------------------------------
 *
 * partition_prune.c
 *		From candidates to links: the diverse ones, the reverse ones, and
 *		the nearest of the others until the lists are full.
 *
 *-------------------------------------------------------------------------
 */
#include "partition/partition_build.h"

/* Rows whose links a member chooses at a time; then it reports progress. */
#define ROWS_PER_CLAIM 64

/* Rows between two ticks where a member only looks at the links of each. */
#define ROWS_PER_TICK 16384

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
	float		shrink = 1 / build->slack;
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

/* Put the candidates that sketches found in their true order. */
static void
refine_candidates(PartitionBuild *build, uint32 row)
{
	uint64	   *list = ROW_LIST(build, row);
	int			count = build->counts[row];

	for (int i = 0; i < count; i++)
	{
		uint32		other = candidate_row(list[i], row);

		list[i] = candidate_key(partition_distance(build, row, other), row, other);
	}
	sort_keys(list, count);
}

/* The rows of a member's unit when each takes a share of all rows. */
static bool
claim_share(PartitionBuild *build, PartitionTask task, uint32 *from, uint32 *to)
{
	uint32		members = build->team != NULL ? build->team->members : 1;

	return claim_range(build, task, build->n / members + 1, build->n, from, to);
}

/*
 * Count, or write down, the rows that keep those from "from" to "to".
 */
static void
scan_kept(PartitionBuild *build, const uint16 *nkept, uint32 from, uint32 to,
		  uint64 *starts, uint32 *sources)
{
	for (uint32 row = 0; row < build->n; row++)
	{
		for (int i = 0; i < nkept[row]; i++)
		{
			uint32		other = candidate_row(ROW_LIST(build, row)[i], row);

			if (other < from || other >= to)
				continue;
			if (sources == NULL)
				starts[(Size) other + 2]++;
			else
				sources[starts[(Size) other + 1]++] = row;
		}
		if (row % ROWS_PER_TICK == 0)
			partition_tick(build);
	}
}

/*
 * Collect who keeps whom, seen from the kept ones.
 */
static void
reverse_links(PartitionBuild *build, const uint16 *nkept, ReverseLinks *reverse)
{
	Size		n = build->n;
	uint64	   *starts = partition_share(build, sizeof(uint64) * (n + 2));
	uint32		from;
	uint32		to;

	reverse->starts = starts;
	if (is_leader(build))
		memset(starts, 0, sizeof(uint64) * (n + 2));
	wait_for_team(build);
	while (claim_share(build, TASK_COUNT_REVERSE, &from, &to))
		scan_kept(build, nkept, from, to, starts, NULL);
	wait_for_team(build);
	if (is_leader(build))
		for (Size row = 0; row < n; row++)
			starts[row + 2] += starts[row + 1];
	wait_for_team(build);
	reverse->sources = partition_share(build, sizeof(uint32) * starts[n + 1]);
	while (claim_share(build, TASK_FILL_REVERSE, &from, &to))
		scan_kept(build, nkept, from, to, starts, reverse->sources);
	wait_for_team(build);
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
 * Write the links of one row, whose kept candidates are known, and those of
 * the others.
 */
static void
prune_row(PartitionBuild *build, PruneScratch *scratch, PartitionGraph *graph,
		  uint32 row, const ReverseLinks *reverse, uint64 *work)
{
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
	ReverseLinks reverse = {0};
	uint64	   *work;
	Size		nwork = 0;
	uint32		from;
	uint32		to;

	if (is_leader(build))
	{
		memset(graph->nlinks, 0, sizeof(uint16) * (Size) build->n);
		memset(graph->nkept, 0, sizeof(uint16) * (Size) build->n);
	}
	wait_for_team(build);
	while (claim_range(build, TASK_DIVERSE, ROWS_PER_CLAIM, n, &from, &to))
	{
		partition_progress(build, 0.5 * from / n);
		for (uint32 i = from; i < to; i++)
		{
			uint32		row = build->order[i];

			if (build->params->distance != NULL)
				refine_candidates(build, row);
			graph->nkept[row] = select_diverse(build, scratch, row,
											   ROW_LIST(build, row),
											   build->counts[row], build->forward);
		}
	}
	wait_for_team(build);

	reverse_links(build, graph->nkept, &reverse);
	for (uint32 row = 0; row < build->nhome; row++)
		nwork = Max(nwork, reverse.starts[(Size) row + 1] - reverse.starts[row]);
	work = partition_alloc(sizeof(uint64) * nwork);
	while (claim_range(build, TASK_REVERSE, ROWS_PER_CLAIM, n, &from, &to))
	{
		partition_progress(build, 0.5 + 0.5 * from / n);
		for (uint32 i = from; i < to; i++)
			if (build->order[i] < build->nhome)
				prune_row(build, scratch, graph, build->order[i], &reverse, work);
	}
	wait_for_team(build);
	pfree(work);
	partition_unshare(build, reverse.sources);
	partition_unshare(build, reverse.starts);
	prune_free(scratch);
}
