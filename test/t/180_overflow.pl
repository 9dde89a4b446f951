# Overflow links, which inserts make after a checkpoint: with several clients,
# on a standby, after crashes.  Checkpoints come all the time.
#
# By version: WAL, replay and checkpoints.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $primary = piramid_node('primary',
	init => [ allows_streaming => 1 ],
	conf => "autovacuum = off\nwal_keep_size = '1GB'\nwal_consistency_checking = 'generic'");
load_slices($primary);
$primary->safe_psql(
	'postgres', q{
	CREATE SEQUENCE next START 1501;
	CREATE TABLE source AS SELECT row_number() OVER (ORDER BY id)::int AS id, v FROM slices;
	ALTER TABLE source ADD PRIMARY KEY (id);
	CREATE TABLE t (id int PRIMARY KEY, v vector(128));
	INSERT INTO t SELECT * FROM source WHERE id <= 1500;
	CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops);
	CREATE TABLE kept AS SELECT id FROM t WHERE id % 10 = 0;
	-- L1 has no codes: other links, other code for moving them.
	CREATE TABLE plain (id int PRIMARY KEY, v vector(128));
	INSERT INTO plain SELECT * FROM source WHERE id <= 300;
	CREATE INDEX plain_idx ON plain USING hnsw (v vector_l1_ops);
});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my $insert = q{
	SELECT nextval('next') AS n \gset
	INSERT INTO t SELECT * FROM source WHERE id = :n;
	INSERT INTO plain SELECT * FROM source WHERE id = :n;
};
my $search = q{
	\set n random(1, 12000)
	SET enable_seqscan = off;
	SELECT 1 / (count(*) = 10)::int FROM (SELECT id FROM t
		ORDER BY v <-> (SELECT v FROM source WHERE id = :n) LIMIT 10) AS x;
};
my $quiet = qr/^(?!.*ERROR)/s;

sub overflow_links
{
	my ($node, $index) = @_;
	return $node->safe_psql('postgres', "SELECT piramid_overflow_links('$index')");
}

# Both servers give the same rows, at the same distances, from the same pages.
sub same_answers
{
	my ($name) = @_;
	my $answers = join ' UNION ALL ', map {
		"SELECT q.id, x.id, x.distance FROM queries q, LATERAL
		 test.nearest('$_->[0]', '$_->[1]', q.v, 20, true) AS x"
	} [ 't', '<->' ], [ 'plain', '<+>' ];

	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	ok($primary->safe_psql('postgres', $answers) eq $standby->safe_psql('postgres', $answers),
		"$name: the standby's answers");
	is(overflow_links($standby, $_), overflow_links($primary, $_), "$name: the standby's links of $_")
	  foreach 't_idx', 'plain_idx';
}

sub all_found
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM plain');

	is_consistent($node, 't', "$name, codes");
	is($node->safe_psql('postgres', "SELECT test.reachable('plain', '<+>')"),
		$rows, "$name, plain links: the index returns all $rows rows");
	at_most($node->safe_psql('postgres', "SELECT test.lost('plain', '<+>')"),
		int(0.003 * $rows), "$name, plain links: rows that their own vector does not find");
}

# A new row's links back wait, and lead to it.
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->pgbench('-n -t 20', 0, [qr/actually processed: 20\/20/], [$quiet],
	'after a checkpoint', { '180_first' => $insert });
cmp_ok(overflow_links($primary, 't_idx'), '>', 100, 'links of t wait');
cmp_ok(overflow_links($primary, 'plain_idx'), '>', 100, 'links of plain wait');
is( $primary->safe_psql('postgres',
		"SELECT count(*) FROM t WHERE id > 1500 AND id IN (SELECT x.id FROM test.nearest('t', '<->', t.v, 10, true) AS x)"),
	20, 'they lead to the new rows');
same_answers('first links');

# Everything at once, and searches on the standby meanwhile.
my $reader = IPC::Run::start(
	[ 'pgbench', '-n', '-t', '1500', '-f', do {
		my $file = PostgreSQL::Test::Utils::tempdir() . '/search.sql';
		append_to_file($file, $search);
		$file
	}, $standby->connstr('postgres') ], '>', \my $reader_out, '2>', \my $reader_err);
$primary->pgbench(
	'-n -c 5 -j 2 -t 300', 0, [qr/actually processed: 1500\/1500/], [$quiet],
	'inserts, deletes, updates, searches, vacuums and checkpoints',
	{
		'180_mixed_insert@20' => $insert,
		'180_mixed_rollback@2' => "BEGIN; $insert ROLLBACK;",
		'180_mixed_delete@8' => q{
			\set n random(1, 2500)
			DELETE FROM t WHERE id = :n AND id % 10 <> 0;
			DELETE FROM plain WHERE id = :n AND id % 10 <> 0;
		},
		'180_mixed_update@4' => q{
			\set n random(1, 2500)
			\set o random(1, 12000)
			UPDATE t SET v = (SELECT v FROM source WHERE id = :o) WHERE id = :n AND id % 10 <> 0;
		},
		'180_mixed_search@8' => $search,
		'180_mixed_vacuum@1' => 'VACUUM (INDEX_CLEANUP ON) t, plain;',
		'180_mixed_checkpoint@2' => 'CHECKPOINT;',
	});
ok($reader->finish, 'searches on the standby') or diag($reader_err);
all_found($primary, 'after the mixture');
is($primary->safe_psql('postgres', 'SELECT count(*) FROM kept WHERE id NOT IN (SELECT id FROM t)'),
	0, 'rows that nobody deleted are there');
same_answers('after the mixture');

$primary->safe_psql('postgres', 'CHECKPOINT; DELETE FROM t WHERE id % 4 = 1; DELETE FROM plain WHERE id % 4 = 1');
$primary->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t, plain');
is( $primary->safe_psql('postgres',
		"SELECT sum(dead_nodes) FROM unnest('{t_idx,plain_idx}'::regclass[]) AS i, piramid_hnsw_info(i)"),
	0, 'a vacuum leaves no dead node');
all_found($primary, 'after a vacuum');
same_answers('after a vacuum');

# In the middle of inserts, when links wait, and in a vacuum that drops them.
my $script = join '', map { $insert . ($_ % 40 ? '' : "CHECKPOINT;\n") } 1 .. 2000;
$script =~ s/:n/(SELECT currval('next'))/g;
$script =~ s/SELECT nextval\('next'\) AS n \\gset/SELECT nextval('next');/g;
foreach my $round (1, 2)
{
	my $before = $primary->safe_psql('postgres', 'SELECT count(*) FROM t');
	my @clients = map { start_sql($primary, $script) } 1, 2;
	$primary->poll_query_until('postgres', "SELECT count(*) > $before + 100 FROM t")
	  or die 'timed out waiting for inserts';
	if ($round == 2)
	{
		$primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 3 = 0');
		push @clients, start_sql($primary,
			"SET vacuum_cost_delay = '20ms'; SET vacuum_cost_limit = 20; VACUUM (INDEX_CLEANUP ON) t");
		$primary->poll_query_until('postgres',
			"SELECT count(*) > 0 FROM pg_stat_progress_vacuum WHERE phase = 'vacuuming indexes'")
		  or die 'timed out waiting for a vacuum';
	}
	crash($primary, @clients);
	all_found($primary, "killed, round $round");
	same_answers("killed, round $round");
}
$primary->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t, plain');
same_answers('the vacuum after the crashes');

# An index that is truncated in place, in the transaction that made it, has
# other pages than this backend knows.
is( $primary->safe_psql(
		'postgres', q{
		BEGIN;
		CREATE TABLE young (id int, v vector(128));
		INSERT INTO young SELECT * FROM source WHERE id <= 1000;
		CREATE INDEX young_idx ON young USING hnsw (v vector_l2_ops);
		CHECKPOINT;
		INSERT INTO young SELECT * FROM source WHERE id BETWEEN 1001 AND 1100;
		TRUNCATE young;
		INSERT INTO young SELECT * FROM source WHERE id <= 200;
		CHECKPOINT;
		INSERT INTO young SELECT * FROM source WHERE id BETWEEN 201 AND 300;
		COMMIT;
		SELECT piramid_overflow_links('young_idx') > 0;
	}), 't', 'truncated in its transaction');
is_consistent($primary, 'young', 'truncated in its transaction');

# The standby becomes a primary, with links that wait.
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->pgbench('-n -t 20', 0, [qr/actually processed: 20\/20/], [$quiet],
	'before promotion', { '180_last' => $insert });
cmp_ok(overflow_links($primary, 't_idx'), '>', 0, 'links of t wait');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
check_and_stop($primary);
$standby->promote;
$standby->safe_psql('postgres', 'CHECKPOINT');
$standby->pgbench('-n -c 4 -j 2 -t 100', 0, [qr/actually processed: 400\/400/], [$quiet],
	'inserts after promotion', { '180_promoted' => $insert });
all_found($standby, 'after promotion');

check_and_stop($standby);
done_testing();
