/*-------------------------------------------------------------------------
 *
 * test_partition_teams.c
 *		The partition builder: several processes build the graph that one builds.
 *
 *-------------------------------------------------------------------------
 */
#include "partition_fixture.h"

static void
test_teams(void)
{
	const uint32 sizes[] = {0, 1, 2, 500, 5000};

	for (int i = 0; i < lengthof(sizes); i++)
	{
		uint32		n = sizes[i];
		PartitionParams params = {.degree = 16, .quality = 64, .seed = 3};
		int8	   *vectors = clustered(Max(n, 1), 64, 64, 20, 60, 30);
		PartitionGraph *alone;

		/* Some copies, in one place and far apart */
		for (uint32 row = 0; row < n / 10; row++)
			memcpy(vectors + (n - 1 - row) * 64, vectors + row / 4 * 64, 64);
		for (int guests = 0; guests <= 1; guests++)
		{
			params.nguests = guests * (n / 3);
			alone = build(n, vectors, 64, &params);
			for (int members = 1; members <= 4; members += 3)
				ok(team_agrees(n, vectors, 64, &params, alone, members),
				   "%u rows, %u guests: %d processes build the same graph", n, params.nguests, members);
			partition_free(alone);
		}
		free(vectors);
	}
}

int
main(void)
{
	test_teams();
	return done_testing();
}
