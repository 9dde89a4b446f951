# Servers and backends killed in the middle of builds, inserts and vacuums.
# Afterwards every committed row is found through the index, without REINDEX.
#
# By version: WAL, recovery and vacuum.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('crash',
	conf => "maintenance_work_mem = '128MB'\ncheckpoint_timeout = '30s'\nautovacuum = off\nrestart_after_crash = on");
load_slices($node);
create_pause($node, 6001);

sub wait_for
{
	my ($query) = @_;
	$node->poll_query_until('postgres', $query) or die "timed out waiting for: $query";
}

# In the middle of a build: it waits for a lock that we hold.
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(1)');
my $builder = start_sql($node,
	'CREATE INDEX halfway ON slices USING hnsw ((pause(v, id)::vector(128)) vector_l2_ops)');
wait_for("SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
$node->safe_psql('postgres', 'INSERT INTO queries SELECT 1000000, v FROM queries LIMIT 1');
crash($node, $builder);
eval { $holder->quit };
is($node->safe_psql('postgres', "SELECT to_regclass('halfway') IS NULL"),
	't', 'killed in a build: there is no index');
is($node->safe_psql('postgres', 'DELETE FROM queries WHERE id = 1000000 RETURNING 1'),
	1, 'killed in a build: other transactions stay');

# Right after the build's commit, without a checkpoint: from WAL alone.
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres',
	'CREATE TABLE t AS SELECT * FROM slices WHERE id < 4000;
	CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops)');
crash($node);
is_consistent($node, 't', 'killed after a build');

# In the middle of inserts, again and again.  Each client commits its rows one
# at a time, and an open transaction leaves rows that nobody may see.
$node->safe_psql('postgres', 'CREATE SEQUENCE next START 4000');
my $insert = join('', map {
		"INSERT INTO t SELECT id, v FROM slices WHERE id = (SELECT nextval('next'));\n"
} 1 .. 3000);
foreach my $round (1 .. 4)
{
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM t');
	my @clients = map { start_sql($node, $insert) } 1 .. 2;
	my $open = start_sql($node,
		"BEGIN; INSERT INTO t SELECT -id, v FROM slices WHERE id BETWEEN 20 AND 120;\n$insert");
	wait_for("SELECT count(*) > $before + 150 FROM t");
	$node->safe_psql('postgres', 'CHECKPOINT') if $round % 2;
	if ($round == 4)
	{
		# Not the server but a backend: the server restarts itself.
		my $pid = $node->safe_psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE query LIKE 'INSERT INTO t%' LIMIT 1");
		kill 'KILL', $pid;
		$_->finish foreach @clients, $open;
		wait_for_server($node);
	}
	else
	{
		crash($node, @clients, $open);
	}
	is($node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE id < 0'),
		0, "killed in inserts, round $round: the open transaction left nothing");
	is_consistent($node, 't', "killed in inserts, round $round");
}

# In the middle of a vacuum, made slow so that it can be met at work.
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 3 = 0');
foreach my $round (1 .. 2)
{
	my $vacuum = start_sql($node,
		"SET vacuum_cost_delay = '20ms'; SET vacuum_cost_limit = 20; VACUUM t");
	wait_for("SELECT count(*) > 0 FROM pg_stat_progress_vacuum WHERE phase = 'vacuuming indexes'");
	if ($round == 1)
	{
		crash($node, $vacuum);
	}
	else
	{
		$node->stop('immediate');
		$vacuum->finish;
		$node->start;
	}
	is_consistent($node, 't', "killed in a vacuum, round $round");
}
$node->safe_psql('postgres', 'VACUUM t');
is_consistent($node, 't', 'after the vacuum that was killed twice');

# Rows come back into the freed places.
$node->safe_psql('postgres', 'INSERT INTO t SELECT * FROM slices WHERE id % 3 = 0 AND id < 4000');
crash($node);
is_consistent($node, 't', 'killed after reuse');

check_and_stop($node);
done_testing();
