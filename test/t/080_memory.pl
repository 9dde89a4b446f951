# Memory and interruption: rescans leak nothing, small memory settings work,
# and a cancelled statement leaves everything usable.
#
# By version, on 18: memory contexts and interrupts.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('memory', conf => "autovacuum = off\nmaintenance_work_mem = '64MB'");
load_slices($node);
$node->safe_psql('postgres', 'CREATE INDEX s_idx ON slices USING hnsw (v vector_l2_ops)');

# What the backend has allocated, looked at after each rescan: all queries,
# and then all of them again, which must not need more.
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION allocated() RETURNS bigint LANGUAGE sql VOLATILE AS
		'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
	CREATE TABLE twice AS
		SELECT v, round FROM queries, generate_series(1, 2) AS round ORDER BY round, id;
	ANALYZE twice});
my $rescans = q{
	FROM twice q, LATERAL (
		SELECT count(*) AS n FROM (SELECT FROM slices ORDER BY v <-> q.v LIMIT 20) AS x) AS y
	WHERE n = 20};
like($node->safe_psql('postgres', "SET enable_seqscan = off; EXPLAIN SELECT n $rescans"),
	qr/Index Scan using s_idx/, 'the rescans use the index');
my ($early, $late) = split /\n/, $node->safe_psql(
	'postgres', qq{
	SET enable_seqscan = off;
	WITH rescans AS MATERIALIZED (SELECT round, n, allocated() AS bytes $rescans)
	SELECT max(bytes) FROM rescans GROUP BY round ORDER BY round});
at_most($late - $early, 65536, 'bytes more when the same queries are asked again');

# The same statement after each other: nothing outlives it.
my @bytes = split /\n/, $node->safe_psql(
	'postgres', q{
	SET enable_seqscan = off;
} . q{
	SELECT count(*) FROM (SELECT FROM slices ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 100) AS x;
	SELECT allocated();
} x 30);
is($bytes[0], 100, 'rows of one statement');
at_most($bytes[59] - $bytes[9], 65536, 'bytes more after 25 statements');

# Inserts by one statement, which takes note when it reads certain rows.
my @bytes_inserting = split /\n/, $node->safe_psql(
	'postgres', q{
	CREATE TABLE notes (id int, bytes bigint);
	CREATE FUNCTION note(id int) RETURNS boolean LANGUAGE sql VOLATILE AS
		'INSERT INTO notes SELECT $1, allocated() RETURNING true';
	CREATE TABLE filled (LIKE slices);
	CREATE INDEX ON filled USING hnsw (v vector_l2_ops);
	INSERT INTO filled SELECT * FROM slices
		WHERE CASE WHEN id IN (4001, 12001) THEN note(id) ELSE true END;
	SELECT bytes FROM notes ORDER BY id});
# What a search remembers may grow with the index, but no vector may be left behind.
at_most(($bytes_inserting[1] - $bytes_inserting[0]) / 8000, 64, 'bytes more per row inserted by one statement');
$node->safe_psql('postgres', 'DELETE FROM filled WHERE id > 3000; VACUUM filled');

# The smallest memory that the server allows, alone and in parallel.
my $smallest = $node->safe_psql('postgres',
	"SELECT min_val || unit FROM pg_settings WHERE name = 'maintenance_work_mem'");
foreach my $workers (0, 2)
{
	$node->safe_psql(
		'postgres', qq{
		DROP INDEX s_idx;
		SET client_min_messages = warning;
		SET maintenance_work_mem = '$smallest';
		SET max_parallel_maintenance_workers = $workers;
		SET min_parallel_table_scan_size = 0;
		CREATE INDEX s_idx ON slices USING hnsw (v vector_l2_ops)});
	at_least($node->safe_psql('postgres', "SELECT test.recall('slices', '<->', 'queries')"),
		0.98, "recall\@10, $workers workers, maintenance_work_mem $smallest");
	is_consistent($node, 'slices', "$workers workers, maintenance_work_mem $smallest");
}
is( $node->safe_psql(
		'postgres', q{
		SET work_mem = '64kB';
		SELECT count(*) FROM test.nearest('slices', '<->', (SELECT v FROM queries LIMIT 1), 5000, true)}),
	5000, 'work_mem 64kB, LIMIT 5000');
$node->safe_psql('postgres', q{
	SET work_mem = '64kB';
	SET maintenance_work_mem = '1MB';
	DELETE FROM filled WHERE id % 3 = 0;
	VACUUM filled});
is_consistent($node, 'filled', 'vacuum with maintenance_work_mem 1MB');

# A statement cancels itself when it meets a row: in the middle, whatever the
# machine.
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION cancelling(v vector, id int) RETURNS vector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
	BEGIN
		IF id = 11001 THEN
			PERFORM pg_cancel_backend(pg_backend_pid());
		END IF;
		RETURN v;
	END $$});

# Cancelled once by itself; then after 1, 2, 4, ... ms, wherever it is then, as
# long as that does cancel it; then it may finish.
sub cancelled
{
	my ($settings, $cancelling, $statement, $name) = @_;

	fails_like($node, "$settings; $cancelling", qr/canceling statement due to user request/, "$name, cancelled in the middle")
	  if $cancelling;
	foreach my $ms (map { 2 ** $_ } 0 .. 10)
	{
		my ($status, $stdout, $stderr) =
		  $node->psql('postgres', "$settings; SET statement_timeout = $ms; $statement");
		return pass("$name finishes within $ms ms") if $status == 0;
		like($stderr, qr/canceling statement due to statement timeout/, "$name, cancelled after $ms ms");
	}
	$node->safe_psql('postgres', "$settings; $statement");
}

foreach my $workers (0, 2)
{
	$node->safe_psql('postgres', 'DROP INDEX s_idx');
	cancelled("SET min_parallel_table_scan_size = 0; SET max_parallel_maintenance_workers = $workers",
		'CREATE INDEX s_idx ON slices USING hnsw ((cancelling(v, id)::vector(128)) vector_l2_ops)',
		'CREATE INDEX s_idx ON slices USING hnsw (v vector_l2_ops)', "build, $workers workers");
	is_consistent($node, 'slices', "after cancelled builds, $workers workers");
}
my $scan = 'SELECT count(*) FROM (SELECT id FROM slices %s ORDER BY v <-> (SELECT v FROM queries LIMIT 1)) AS x';
cancelled('SET enable_seqscan = off; SET enable_sort = off',
	sprintf($scan, 'WHERE cancelling(v, id) IS NOT NULL'), sprintf($scan, ''), 'scan');
is_consistent($node, 'slices', 'after cancelled scans');
cancelled('SELECT 1', 'INSERT INTO filled SELECT id + 100000, cancelling(v, id) FROM slices WHERE id > 10000',
	'INSERT INTO filled SELECT id + 100000, v FROM slices WHERE id > 10000', 'insert');
is_consistent($node, 'filled', 'after cancelled inserts');

# A session keeps the memory of one search for the next one, but not what an error
# in the middle of a search left.
{
	my ($status, $stdout, $stderr) = $node->psql(
		'postgres', 'SET enable_seqscan = off; SET enable_sort = off;'
		. (sprintf($scan, 'WHERE cancelling(v, id) IS NOT NULL')
		. '; INSERT INTO filled SELECT id + 200000, cancelling(v, id) FROM slices WHERE id > 10000;') x 3
		. q{
		SELECT 'recall ' || test.recall('slices', '<->', 'queries');
		SELECT 'searches ' || count(*) FROM pg_backend_memory_contexts WHERE name = 'hnsw search'},
		on_error_stop => 0);
	my $errors = () = $stderr =~ /canceling statement due to user request/g;
	is($errors, 6, 'statements of one session are cancelled');
	my ($recall) = $stdout =~ /^recall (.*)$/m;
	at_least($recall // 0, 0.95, 'recall@10 after them');
	my ($searches) = $stdout =~ /^searches (.*)$/m;
	is($searches, 1, 'searches that it keeps the memory of');
}

# A vacuum is cancelled when it is seen in the index; it is made slow for that.
$node->safe_psql('postgres', 'DELETE FROM filled WHERE id % 2 = 0');
my $vacuum = start_sql($node, "SET vacuum_cost_delay = '20ms'; SET vacuum_cost_limit = 20; VACUUM filled", \my $said);
$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_progress_vacuum WHERE phase = 'vacuuming indexes'")
  or die 'no vacuum has begun';
is($node->safe_psql('postgres', 'SELECT pg_cancel_backend(pid) FROM pg_stat_progress_vacuum'), 't', 'a vacuum is cancelled');
$vacuum->finish;
like($said, qr/canceling statement due to user request/, 'vacuum, cancelled in the middle');
cancelled('SELECT 1', '', 'VACUUM filled', 'vacuum');
is_consistent($node, 'filled', 'after cancelled vacuums');

# Terminated instead, in the middle of a scan whose cursor stays open.
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe('BEGIN');
$session->query_safe('SET LOCAL enable_seqscan = off');
$session->query_safe('DECLARE c CURSOR FOR SELECT id FROM slices ORDER BY v <-> (SELECT v FROM queries LIMIT 1)');
is(scalar(split /\n/, $session->query_safe('FETCH 50 FROM c')), 50, 'a cursor is open');
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"), 't', 'its session is terminated');
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
eval { $session->quit };
$node->safe_psql('postgres', 'DELETE FROM slices WHERE id % 7 = 0; VACUUM slices');
is_consistent($node, 'slices', 'after the session was terminated');

# Words that a bm25 index remembers need no dictionary.  Others leave nothing more behind,
# but for what they become; that takes as much room in either case without a locale.
SKIP:
{
	skip 'only Linux tells how much memory a process has had', 1 if !-e '/proc/self/status';
	$node->safe_psql('postgres', q{CREATE DATABASE words LOCALE 'C' TEMPLATE template0});
	$node->safe_psql('words', q{
		CREATE EXTENSION piramid_bm25 CASCADE;
		CREATE FUNCTION most() RETURNS bigint LANGUAGE sql VOLATILE AS
			$$ SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+)')::bigint $$;
		CREATE TABLE t (different boolean, body text);
		INSERT INTO t SELECT different,
			string_agg('w' || lpad((CASE WHEN different THEN i ELSE i % 100 END)::text, 6, '0') || 'q', ' ')
		FROM generate_series(1, 400000) i, unnest('{false,true}'::boolean[]) different GROUP BY different;
		CREATE INDEX e ON t USING bm25 (body) WITH (text_config = 'english') WHERE body IS NULL});
	my ($before, $equal, $different) = $node->safe_psql('words', q{
		SELECT FROM t WHERE length(body || '') = 0;
		SELECT 'kB ' || most();
		SELECT count(body <@> to_bm25query('word', 'e')) FROM t WHERE NOT different;
		SELECT 'kB ' || most();
		SELECT count(body <@> to_bm25query('word', 'e')) FROM t WHERE different;
		SELECT 'kB ' || most()}) =~ /^kB (\d+)$/mg;
	at_most(($different - $before) / ($equal - $before), 1.25, 'memory for different words by that for equal ones');
}

check_and_stop($node);
done_testing();
