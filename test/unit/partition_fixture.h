/*-------------------------------------------------------------------------
 *
 * partition_fixture.h
 *		What the tests of the partition builder share: counted memory, data,
 *		builds by one process and by several, and what must hold after them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_PARTITION_FIXTURE_H
#define PIRAMID_PARTITION_FIXTURE_H

#include "postgres_fe.h"

#include <setjmp.h>

#include "partition/partition.h"
#include "unit.h"

/* What is allocated now */
extern Size live_bytes;

/* Calls of the progress callback in the last build; the one that throws, or 0 */
extern int	progress_calls;
extern int	progress_throws_at;
extern jmp_buf thrown;

extern PartitionGraph *build(uint32 n, const int8 *vectors, int stride, PartitionParams *params);
extern bool lists_are_sound(const PartitionGraph *graph);
extern uint32 count_reachable(const PartitionGraph *graph);
extern void count_incoming(const PartitionGraph *graph, uint32 *fewest, uint32 *most);
extern uint32 check_build(const char *name, uint32 n, const int8 *vectors, int stride, PartitionParams *params);
extern int8 clip(int x);
extern int8 *clustered(uint32 n, int stride, int dim, int clusters, int spread, int size);
extern int8 *clustered_bits(uint32 n, int stride, int clusters);
extern double tanimoto(int n, const int8 *a, double scale_a, const int8 *b, double scale_b);
extern int32 row_distance(PartitionMetric metric, int stride, const int8 *a, const int8 *b);
extern double nearest_first(const PartitionGraph *graph, const int8 *vectors, int stride, PartitionMetric metric);
extern bool team_agrees(uint32 n, const int8 *vectors, int stride, PartitionParams *params, const PartitionGraph *expected, int members);

#endif							/* PIRAMID_PARTITION_FIXTURE_H */
