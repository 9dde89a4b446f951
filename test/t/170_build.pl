# CREATE INDEX by several processes and through temporary files: nothing is
# lost, equal vectors stay together, and whatever ends a build leaves nothing.
#
# By version, on 18: parallel workers and temporary files.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('build', conf => q{
	autovacuum = off
	max_parallel_maintenance_workers = 2
	min_parallel_table_scan_size = 0
	client_min_messages = notice
});
load_slices($node);

# Twice the rows, many of them equal, some NULL: enough for a sample of blocks.
$node->safe_psql('postgres', q{
	CREATE TABLE many (id int, v vector(128));
	INSERT INTO many SELECT id, v FROM slices;
	INSERT INTO many SELECT 100000 + id, v FROM slices;
	INSERT INTO many SELECT 200000 + id, NULL FROM generate_series(1, 100) AS id;
	INSERT INTO many SELECT 300000 + id, (SELECT v FROM slices LIMIT 1) FROM generate_series(1, 3000) AS id;
	VACUUM ANALYZE many});
my $rows = $node->safe_psql('postgres', 'SELECT count(v) FROM many');
my $nodes = $node->safe_psql('postgres', 'SELECT count(DISTINCT v) FROM many');

sub create_index
{
	my ($memory, $workers, $extra) = @_;
	my ($status, $stdout, $stderr) = $node->psql('postgres', qq{
		SET maintenance_work_mem = '$memory';
		SET max_parallel_maintenance_workers = $workers;
		CREATE INDEX many_idx ON many USING hnsw (v vector_l2_ops) @{[ $extra // '' ]}});

	is($status, 0, "CREATE INDEX with $memory and $workers workers");
	return $stderr;
}

sub temporary_files
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()');
}

# In one piece and in parts, by one process and by several
foreach ([ '256MB', 0 ], [ '256MB', 2 ], [ '8MB', 1 ], [ '1MB', 0 ], [ '1MB', 2 ])
{
	my ($memory, $workers) = @$_;
	my $what = "$memory, $workers workers";
	my $notice = create_index($memory, $workers);

	if ($memory eq '256MB') { unlike($notice, qr/built in parts/, "$what: in one piece") }
	else
	{
		like($notice, qr/hnsw graph of about \d+ tuples is built in parts.*Increase maintenance_work_mem to about \d+ MB/s,
			"$what: in parts");
	}
	is($node->safe_psql('postgres', 'SELECT heap_tids FROM piramid_hnsw_info(\'many_idx\')'),
		$rows, "$what: the index has $rows rows");
	is($node->safe_psql('postgres', 'SELECT nodes FROM piramid_hnsw_info(\'many_idx\')'),
		$nodes, "$what: equal vectors are one node");
	is($node->safe_psql('postgres', "SELECT test.reachable('many')"),
		$rows, "$what: a scan returns all");
	at_least($node->safe_psql('postgres', "SELECT test.recall('many', '<->', 'queries')"),
		0.98, "$what: recall\@10");
	$node->safe_psql('postgres', 'DROP INDEX many_idx');
	is(temporary_files(), 0, "$what: no temporary file is left");
}

# What a crash leaves is what was logged.
create_index('1MB', 2);
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "SELECT test.reachable('many')"), $rows, 'after a crash a scan returns all');
$node->safe_psql('postgres', q{
	DELETE FROM many WHERE id % 2 = 0 OR id > 200000;
	VACUUM many;
	INSERT INTO many SELECT id, v FROM slices WHERE id % 2 = 0});
is_consistent($node, 'many', 'after deletes and inserts');
$node->safe_psql('postgres', 'DROP INDEX many_idx');

# Concurrently, and on an expression.
$node->safe_psql('postgres', q{
	SET maintenance_work_mem = '1MB';
	CREATE INDEX CONCURRENTLY many_idx ON many USING hnsw (v vector_cosine_ops);
	REINDEX INDEX CONCURRENTLY many_idx});
at_least($node->safe_psql('postgres', "SELECT test.recall('many', '<=>', 'queries')"), 0.98, 'recall@10, built concurrently');
$node->safe_psql('postgres', q{
	DROP INDEX many_idx;
	SET maintenance_work_mem = '1MB';
	CREATE INDEX many_idx ON many USING hnsw ((v::halfvec(128)) halfvec_l2_ops) WHERE id < 100000});
is($node->safe_psql('postgres', "SELECT heap_tids FROM piramid_hnsw_info('many_idx')"),
	$node->safe_psql('postgres', 'SELECT count(v) FROM many WHERE id < 100000'), 'a partial index on an expression');
$node->safe_psql('postgres', 'DROP INDEX many_idx');

# Too many temporary files for the limit
fails_like($node, q{
	SET temp_file_limit = '2MB';
	SET maintenance_work_mem = '1MB';
	CREATE INDEX many_idx ON many USING hnsw (v vector_l2_ops)},
	qr/temporary file size exceeds "?temp_file_limit/, 'temp_file_limit');
is(temporary_files(), 0, 'temp_file_limit: no temporary file is left');

# A worker is terminated as soon as one is seen; once more, if the build had
# ended before that.
my $failed = '';
wait_until(
	sub {
		my $killer = start_sql($node, q{
			DO $$
			BEGIN
				WHILE pg_try_advisory_lock(7) IS FALSE LOOP
					PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker';
					PERFORM pg_stat_clear_snapshot();
				END LOOP;
			END $$});
		my ($status, $stdout, $stderr) = $node->psql('postgres', q{
			SELECT pg_advisory_lock(7);
			CREATE INDEX many_idx ON many USING hnsw (v vector_l2_ops)});

		$killer->finish;
		$failed = $stderr if $status != 0;
		$node->safe_psql('postgres', 'DROP INDEX many_idx') if $status == 0;
		return $status != 0;
	},
	'a build with a terminated worker');
like($failed, qr/terminat|parallel worker/, 'a terminated worker ends the build');
is(temporary_files(), 0, 'a terminated worker: no temporary file is left');
create_index('256MB', 2);
is_consistent($node, 'many', 'after a terminated worker');

check_and_stop($node);
done_testing();
