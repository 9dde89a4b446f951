# Vacuum keeps recall, frees places, and reuses them.
#
# By version: the server's part of vacuum.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('vacuum', conf => 'autovacuum = off');
load_slices($node);
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT * FROM slices WHERE id < 8000;
	CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops)');

sub recall { return $node->safe_psql('postgres', "SELECT test.recall('t', '<->', 'queries')") }
sub size { return $node->safe_psql('postgres', "SELECT pg_relation_size('t_idx')") }

my $before = recall();
at_least($before, 0.98, 'recall@10 before');

# Dead rows are not returned before the vacuum, and are gone after it.
foreach my $share (10, 5, 2)
{
	$node->safe_psql('postgres', "DELETE FROM t WHERE id % $share = 1");
	at_least(recall(), $before - 0.02, "recall\@10, one of $share deleted, before vacuum");
	$node->safe_psql('postgres', 'VACUUM t');
	at_least(recall(), $before - 0.02, "recall\@10, one of $share deleted, after vacuum");
	is_consistent($node, 't', "one of $share deleted");
}

# The node that searches start from goes, whichever it is: delete the rows in
# halves until none is left.
foreach my $round (1 .. 12)
{
	$node->safe_psql('postgres', 'DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY md5(id::text)
		LIMIT (SELECT (count(*) + 1) / 2 FROM t)); VACUUM t');
	my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM t');
	is($node->safe_psql('postgres', "SELECT test.reachable('t')"), $rows, "halved $round times: $rows rows");
}
is($node->safe_psql('postgres', 'DELETE FROM t; SELECT count(*) FROM t'), 0, 'all deleted');
$node->safe_psql('postgres', 'VACUUM t');
is($node->safe_psql('postgres', "SELECT test.reachable('t')"), 0, 'nothing is left');

$node->safe_psql('postgres', 'INSERT INTO t SELECT * FROM slices WHERE id < 8000');
is_consistent($node, 't', 'all rows are back');
at_least(recall(), $before - 0.02, 'recall@10, all rows are back');

# Delete all, vacuum, insert again: places are reused.
$node->safe_psql('postgres', 'REINDEX INDEX t_idx');
my $size = size();
foreach my $round (1 .. 3)
{
	$node->safe_psql('postgres', 'DELETE FROM t');
	$node->safe_psql('postgres', 'VACUUM t');
	$node->safe_psql('postgres', 'INSERT INTO t SELECT * FROM slices WHERE id < 8000');
	at_most(size() / $size, 1.02, "size after round $round, compared with the build's");
}
at_least(recall(), $before - 0.02, 'recall@10 after three rounds');

# VACUUM reports what it did: the last one, that nothing was left.
is($node->safe_psql('postgres', "SELECT reltuples FROM pg_class WHERE relname = 't_idx'"),
	0, 'reltuples after the vacuum of an empty table');
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 2 = 0; VACUUM t');
is( $node->safe_psql('postgres', "SELECT reltuples = (SELECT count(*) FROM t) FROM pg_class WHERE relname = 't_idx'"),
	't', 'reltuples after a vacuum');

# Updates that leave the vector alone, and those that do not.
sub shape { return split /\|/, $node->safe_psql('postgres', "SELECT nodes, heap_tids FROM piramid_hnsw_info('t_idx')") }
my ($nodes, $tids) = shape();
$node->safe_psql('postgres', 'CREATE INDEX t_id ON t (id)');	# so that no update is a HOT one
$node->safe_psql('postgres', 'UPDATE t SET id = id + 100000');
my ($nodes_after, $tids_after) = shape();
is($tids_after, 2 * $tids, 'an update that leaves the vector alone adds a heap TID');
at_most($nodes_after, int(1.003 * $nodes), 'it adds no node');
$node->safe_psql('postgres', 'UPDATE t SET v = v WHERE id % 3 = 0; VACUUM t');
is((shape())[1], $tids, 'vacuum takes the old heap TIDs out');
is_consistent($node, 't', 'after updates');
$node->safe_psql('postgres', 'VACUUM FULL t');
is_consistent($node, 't', 'after VACUUM FULL');

# A row that is updated often, alone or among rows with the same vector, costs
# a search no more than before. (Its neighbours are no measure: the buffers of
# two searches of one graph differ by a fifth.)
$node->safe_psql('postgres', q{
	CREATE TABLE hot (id int PRIMARY KEY, n int, v vector(8)) WITH (fillfactor = 50);
	INSERT INTO hot SELECT i, 0, ARRAY(SELECT sin(i * (j * 7.3 + 0.1)) FROM generate_series(1, 8) AS j)::vector
	FROM generate_series(1, 1000) AS i;
	INSERT INTO hot SELECT i, 0, array_fill(3, ARRAY[8])::vector FROM generate_series(1001, 1060) AS i;
	CREATE INDEX hot_idx ON hot USING hnsw (v vector_l2_ops);
	CREATE INDEX hot_n ON hot (n);
	CREATE PROCEDURE churn(times int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. times LOOP
			UPDATE hot SET n = n + 1 WHERE id IN (500, 1030);
			COMMIT;
		END LOOP;
	END $$;
	CREATE FUNCTION buffers(which int, rows int) RETURNS int LANGUAGE plpgsql SET enable_seqscan = off SET enable_sort = off AS $$
	DECLARE
		plan json;
	BEGIN
		EXECUTE format('EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT id FROM hot ORDER BY v <-> %L LIMIT %s',
			(SELECT v FROM hot WHERE id = which), rows) INTO plan;
		RETURN (plan->0->'Plan'->>'Shared Hit Blocks')::int + (plan->0->'Plan'->>'Shared Read Blocks')::int;
	END $$;
});
sub buffers { return $node->safe_psql('postgres', "SELECT buffers($_[0], $_[1])") }
my ($of_one, $of_sixty) = (buffers(500, 2), buffers(1001, 60));
my $hot_size;
foreach my $round (1 .. 4)
{
	$node->safe_psql('postgres', 'SET synchronous_commit = off; CALL churn(1000)');
	$node->safe_psql('postgres', 'VACUUM hot');
	my $new_size = $node->safe_psql('postgres', "SELECT pg_relation_size('hot_idx')");
	is($new_size, $hot_size // $new_size, "round $round: chunks of heap TIDs are reused");
	$hot_size = $new_size;
}
at_most(buffers(500, 2), 1.2 * $of_one, 'buffers of a search for a row updated 4,000 times');
at_most(buffers(1001, 60), 1.2 * $of_sixty, 'buffers of a search for sixty equal rows, one of them updated 4,000 times');
is($node->safe_psql('postgres', "SELECT heap_tids FROM piramid_hnsw_info('hot_idx')"), 1060, 'no heap TID is left over');

# VACUUM counts all of its buffer hits, on which its delays depend.
$node->safe_psql('postgres', "DELETE FROM hot WHERE id % 5 = 0; SELECT pg_stat_reset_single_table_counters('hot_idx'::regclass)");
my ($status, $stdout, $stderr) = $node->psql('postgres', 'VACUUM (VERBOSE, INDEX_CLEANUP on) hot');
my ($hits) = $stderr =~ /"?\w*\.?public\.hot".*?buffer usage: (\d+) hits/s;
at_least($hits, $node->safe_psql('postgres', "SELECT idx_blks_hit FROM pg_statio_user_indexes WHERE indexrelname = 'hot_idx'"),
	'buffer hits of a vacuum');

check_and_stop($node);
done_testing();
