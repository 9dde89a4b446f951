# Piramid.pm: what the TAP tests share: servers with the extension, real
# vectors, and SQL functions that compare an index with the truth.
#
# Every table that those functions look at has the columns "id int" and "v", of
# any indexed type.

package Piramid;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use IO::Uncompress::Gunzip qw($GunzipError);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  piramid_node load_words load_slices create_pause
  start_sql wait_until wait_for_server crash fails_like is_consistent is_sound check_and_stop
  at_least at_most $check_all $not_found
);

my $source = abs_path(dirname(__FILE__) . '/../..');
my $demo = "$source/bench/data/wordnet-demo.tsv.gz";

# Functions of the schema "test".  "nearest" asks with or without an index;
# answers are compared by distance, so that ties do no harm.
my $functions = <<'SQL';
CREATE SCHEMA test;

CREATE FUNCTION test.use_index(yes boolean) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('enable_indexscan', yes::text, true),
		set_config('enable_seqscan', (NOT yes)::text, true),
		set_config('enable_bitmapscan', 'off', true),
		set_config('enable_sort', (NOT yes)::text, true)
$$;

CREATE FUNCTION test.nearest(tab regclass, op text, q anyelement, k int, use_index boolean, filter text DEFAULT 'true')
RETURNS TABLE (id int, distance float8) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM test.use_index(use_index);
	RETURN QUERY EXECUTE format(
		'SELECT id, (v %1$s $1)::float8 FROM %2$s WHERE %3$s ORDER BY v %1$s $1 LIMIT $2', op, tab, filter)
		USING q, k;
END $$;

-- Mean recall@k of the queries (id, v) in "queries", among the rows that pass the
-- filter.
CREATE FUNCTION test.recall(tab regclass, op text, queries regclass, k int DEFAULT 10, filter text DEFAULT 'true')
RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	nearest text := format('SELECT id, (v %1$s q.v)::float8 AS distance FROM %2$s WHERE %3$s ORDER BY v %1$s q.v LIMIT %4$s',
		op, tab, filter, k);
	worst float8[];
	recall numeric;
BEGIN
	PERFORM test.use_index(false);
	EXECUTE format('SELECT array_agg((SELECT max(distance) FROM (%s) AS x) ORDER BY id) FROM %s AS q', nearest, queries)
		INTO worst;
	PERFORM test.use_index(true);
	EXECUTE format('SELECT round(sum(least(hits, $1)) / (count(*) * $1), 4)
		FROM (SELECT v, $2[row_number() OVER (ORDER BY id)] AS worst FROM %s) AS q,
			LATERAL (SELECT count(DISTINCT id) AS hits FROM (%s) AS x WHERE distance <= worst) AS y', queries, nearest)
		INTO recall USING k, worst;
	RETURN recall;
END $$;

-- How many rows are not among the k nearest of their own vector.
CREATE FUNCTION test.lost(tab regclass, op text DEFAULT '<->', k int DEFAULT 10)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	PERFORM test.use_index(true);
	EXECUTE format('SELECT count(*) FROM %1$s AS q WHERE NOT EXISTS (
		SELECT FROM (SELECT id FROM %1$s ORDER BY v %2$s q.v LIMIT %3$s) AS x WHERE x.id = q.id)', tab, op, k)
		INTO n;
	RETURN n;
END $$;

-- How many different rows a scan without a limit returns.
CREATE FUNCTION test.reachable(tab regclass, op text DEFAULT '<->')
RETURNS int LANGUAGE sql AS $$
	SELECT count(DISTINCT id)::int
	FROM test.nearest(tab, op, (SELECT array_fill(1.0, ARRAY[atttypmod])::vector
		FROM pg_attribute WHERE attrelid = tab AND attname = 'v'), 2147483647, true)
$$;
SQL

# A running server with the extension and the functions above.  Parameters:
# conf, lines for postgresql.conf; init, arguments for init().
sub piramid_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(@{ $params{init} // [] });
	# Cluster.pm writes nothing to disk by force; crashes of the server are
	# not crashes of the machine, so that is as good here.  A disabled plan node
	# counts as dear, and nearly every query of the tests would be compiled.
	$node->append_conf('postgresql.conf', 'jit = off');
	$node->append_conf('postgresql.conf', $params{conf}) if $params{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION piramid');
	$node->safe_psql('postgres', $functions);
	return $node;
}

# Table words (id, lexname, v vector(384)): 4,106 rows of unit length.
sub load_words
{
	my ($node, $database) = @_;
	my $gz = IO::Uncompress::Gunzip->new($demo, MultiStream => 1)
	  or die "cannot read $demo: $GunzipError";
	my $copy = "CREATE TABLE words (id int PRIMARY KEY, lexname text, v vector(384));\n"
	  . "COPY words FROM STDIN;\n";
	my $id = 0;

	while (my $line = $gz->getline)
	{
		chomp $line;
		my @column = split /\t/, $line;
		$copy .= join("\t", ++$id, $column[1], $column[4]) . "\n";
	}
	run_sql($node, $copy . "\\.\nVACUUM ANALYZE words;\n", $database);
}

# Tables slices (id, v vector(128)), 12,195 rows, and queries, 123 others: each
# embedding cut in three.  Real, clustered, and not of unit length.
sub load_slices
{
	my ($node) = @_;
	load_words($node);
	$node->safe_psql(
		'postgres', q{
		CREATE TABLE slices (id int PRIMARY KEY, v vector(128));
		CREATE TABLE queries (LIKE slices);
		INSERT INTO slices
			SELECT 3 * id + part, (v::real[])[part * 128 + 1 : part * 128 + 128]::vector(128)
			FROM words, generate_series(0, 2) AS part;
		WITH q AS (DELETE FROM slices WHERE id % 100 = 0 RETURNING *)
			INSERT INTO queries SELECT * FROM q;
		VACUUM ANALYZE slices;
		VACUUM ANALYZE queries;
	});
}

# A function pause(v, id) that returns v, but waits for whoever holds the
# advisory lock 1 when it meets the given id: it stops a build in the middle.
sub create_pause
{
	my ($node, $id) = @_;
	$node->safe_psql(
		'postgres', qq{
		CREATE FUNCTION pause(v vector, id int) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS \$\$
		BEGIN
			IF id = $id THEN
				PERFORM pg_advisory_xact_lock_shared(1);
			END IF;
			RETURN v;
		END \$\$;
	});
}

sub psql_command
{
	my ($node, $database) = @_;
	return ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database // 'postgres'));
}

# Until a server that was killed takes connections again.  Not by poll_query_until: it writes
# the query to psql, and dies if psql was turned away and is gone.
sub wait_for_server
{
	my ($node) = @_;
	wait_until(sub { return IPC::Run::run([ psql_command($node), '-c', 'SELECT 1' ], '<', '/dev/null', '>', '/dev/null', '2>', '/dev/null') },
		'the server to take connections');
}

sub run_sql
{
	my ($node, $sql, $database) = @_;
	my $output = '';

	IPC::Run::run([ psql_command($node, $database) ], '<', \$sql, '>&', \$output)
	  or die "psql failed: $output";
	return $output;
}

# Start a script that is not waited for.  Returns a handle of IPC::Run; finish
# it with $handle->finish, whatever became of the server; $$output is then what
# it has printed.
sub start_sql
{
	my ($node, $sql, $output) = @_;
	# From a file: IPC::Run would feed a string only while it is being pumped.
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';

	append_to_file($file, $sql);
	return IPC::Run::start([ psql_command($node), '-f', $file ], '>', $output // '/dev/null', '2>&1');
}

# For what no query of poll_query_until tells.
sub wait_until
{
	my ($condition, $what) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->())
	{
		die "timed out waiting for $what" if time > $end;
		usleep(100_000);
	}
}

# Kill every process of the server at once, and start it again.  Handles are
# those of start_sql.
sub crash
{
	my ($node, @handles) = @_;
	my $server = $node->{_pid};

	# A stopped server makes no process while its processes are listed.  One that is
	# left alive may wait for ever for a lock of one that is killed.
	kill 'STOP', $server;
	my @pids = map { slurp_stat($_) =~ /^(\d+) \(.*\) \S $server / ? $1 : () } glob '/proc/[0-9]*/stat';
	# The server last: a process that sees it gone runs code of PostgreSQL's for that.
	kill 'KILL', @pids;
	$node->kill9;
	$_->finish foreach @handles;
	# The new server wants the old one's shared memory to be unused.
	wait_until(sub { !kill 0, @pids }, 'the end of killed processes');
	wait_until(sub { $node->start(fail_ok => 1) }, 'the end of the old server');
}

# What the system tells of a process; nothing once it has ended.
sub slurp_stat
{
	my ($file) = @_;

	open my $stat, '<', $file or return '';
	return scalar(<$stat>) // '';
}

# The statement fails with this message, and the server lives on.
sub fails_like
{
	my ($node, $sql, $message, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($status, $stdout, $stderr) = $node->psql('postgres', $sql);

	if ($status == 3) { like($stderr, $message, $name) }
	else { fail("$name: exit status $status, $stderr") }
}

sub at_least
{
	my ($got, $least, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok($got, '>=', $least, "$name: $got");
}

sub at_most
{
	my ($got, $most, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok($got, '<=', $most, "$name: $got");
}

# The index of a table returns every row of it and nothing else, and (but for
# 3 in 1000) every row for its own vector.
sub is_consistent
{
	my ($node, $table, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $rows = $node->safe_psql('postgres', "SELECT count(*) FROM $table");

	is($node->safe_psql('postgres', "SELECT test.reachable('$table')"),
		$rows, "$name: the index returns all $rows rows");
	at_most($node->safe_psql('postgres', "SELECT test.lost('$table')"),
		int(0.003 * $rows), "$name: rows that their own vector does not find");
}

# The query of docs/durability.md: what is wrong with all indexes of a database.
our ($check_all) = slurp_file("$source/docs/durability.md") =~ /^(WITH indexes AS .*?);\n```$/ms
  or die 'docs/durability.md has no query over all indexes';

# What the check says of nodes that no link leads to, or no search: inserts may leave some
# behind, which scans of all rows find.
our $not_found = qr/cannot be reached|nodes at random/;

# Nothing is wrong with the indexes of any database.  Such nodes are noted only.
sub is_sound
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $databases = $node->safe_psql('postgres', 'SELECT datname FROM pg_database WHERE datallowconn');

	foreach my $database (split /\n/, $databases)
	{
		next unless $node->safe_psql($database, "SELECT to_regproc('piramid_check')");
		my @found = split /\n/, $node->safe_psql($database, $check_all);

		note("$database: $_") foreach grep { /$not_found/ } @found;
		is(join("\n", grep { !/$not_found/ } @found), '', "$name: indexes of $database are sound");
	}
}

# The end of a test: whatever it did, the indexes are sound.
sub check_and_stop
{
	my ($node) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_sound($node, 'at the end');
	$node->stop;
}

1;
