# Sketches: where many nodes match, a scan reads those that seem nearest, and finds
# the nearest rows; whoever goes on gets all, in order.  After all kinds of builds,
# inserts, vacuums, a crash, and on a standby.
# By version, on 18: WAL, replay and parallel workers.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('sketches', init => [ allows_streaming => 1 ],
	conf => "autovacuum = off\nwal_consistency_checking = 'generic'\nmin_parallel_table_scan_size = 0");
$node->safe_psql(
	'postgres', q{
	-- 64 coordinates, of which the first vary most, in 50 groups
	CREATE FUNCTION point(n int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
		SELECT array_agg((sin(n % 50 * i * 0.37 + i * i) + sin(n * 12.9898 + i * (n % 97 + 1)) * 0.7) / sqrt(i))::vector
		FROM generate_series(1, 64) AS i $$;
	CREATE TABLE t (id int PRIMARY KEY, v vector(64), a int, b int);
	INSERT INTO t SELECT n, point(n), n % 10, nullif(n % 3, 0) FROM generate_series(1, 6000) AS n;
	INSERT INTO t SELECT 10000 + n, point(n), n % 10, 7 FROM generate_series(1, 6000, 50) AS n;

	-- Share of the ten nearest that scans find, and what the last of them did
	CREATE FUNCTION found(op text, condition text, OUT recall float, OUT sketched bool, OUT few bool)
	LANGUAGE plpgsql AS $$
	DECLARE
		sql text;
		farthest float;
		n int;
		total int := 0;
	BEGIN
		FOR i IN 1 .. 30 LOOP
			sql := format('SELECT v %s %L AS d FROM t WHERE %s ORDER BY 1 LIMIT 10', op, point(100000 + i * 37), condition);
			SET LOCAL enable_indexscan = off;
			SET LOCAL enable_seqscan = on;
			EXECUTE format('SELECT max(d) FROM (%s) AS x', sql) INTO farthest;
			SET LOCAL enable_indexscan = on;
			SET LOCAL enable_seqscan = off;
			SET LOCAL enable_sort = off;
			EXECUTE format('SELECT count(*) FROM (%s) AS x WHERE d <= %s + 1e-6 * abs(%s)', sql, farthest, farthest) INTO n;
			total := total + n;
		END LOOP;
		recall := total / 300.0;
		SELECT sketch_pages > 0, nodes < 1500 INTO sketched, few FROM piramid_last_scan();
	END $$;
});

sub index_with
{
	my ($columns, $settings) = @_;
	my ($status, $stdout, $stderr) = $node->psql('postgres',
		"DROP INDEX IF EXISTS t_idx; $settings; CREATE INDEX t_idx ON t USING hnsw ($columns); ANALYZE t");
	return $stderr;
}

sub counted
{
	my ($server) = @_;
	return $server->safe_psql('postgres', "SELECT sketch_bits, sketches FROM piramid_hnsw_keys('t_idx')");
}

# Sketches of all nodes, and what they are good for
sub sketches_right
{
	my ($op, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(counted($node), '64|' . $node->safe_psql('postgres', 'SELECT count(DISTINCT v) FROM t'), "$name: every node has one");
	my ($recall, $sketched, $few) = split /\|/, $node->safe_psql('postgres', "SELECT * FROM found('$op', 'a = 3')");
	cmp_ok($recall, '>=', 0.94, "$name: recall");
	is("$sketched|$few", 't|t', "$name: scans use them");
}

index_with('v vector_l2_ops, a, b', 'SET max_parallel_maintenance_workers = 0');
sketches_right('<->', 'built by one process');
like(index_with('a, v vector_l2_ops, b', "SET maintenance_work_mem = '1MB'"), qr/built in parts/, 'an index is built in parts');
sketches_right('<->', 'built in parts');
index_with('v vector_ip_ops, a', '');
sketches_right('<#>', 'inner product');
index_with('v vector_cosine_ops, a, b', 'SET max_parallel_maintenance_workers = 2');
sketches_right('<=>', 'built by a team, cosine');

# All rows, in order, by a scan that goes on
is($node->safe_psql('postgres', q{
	SET enable_seqscan = off;
	SET enable_sort = off;
	CREATE TEMP TABLE got (n serial, id int, d float);
	DO $$
	DECLARE
		r record;
	BEGIN
		FOR r IN SELECT id, v <=> point(99) AS d FROM t WHERE a = 4 AND b IS NOT NULL ORDER BY v <=> point(99) LOOP
			INSERT INTO got (id, d) VALUES (r.id, r.d);
		END LOOP;
	END $$;
	SELECT count(*) = (SELECT count(*) FROM t WHERE a = 4 AND b IS NOT NULL), count(DISTINCT id) = count(*),
		count(*) FILTER (WHERE d < before) FROM (SELECT *, lag(d) OVER (ORDER BY n) AS before FROM got) AS x}),
	't|t|0', 'a cursor gets all rows in order');

# A standby from here on
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

# Slots that are given to other vectors
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 4 = 0');
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) t');
sketches_right('<=>', 'after deletes');
$node->safe_psql('postgres', q{
	INSERT INTO t SELECT 20000 + n, point(n), n % 10, 5 FROM generate_series(20000, 21999) AS n;
	UPDATE t SET a = 3 WHERE id % 100 = 1;
	BEGIN; INSERT INTO t SELECT -n, point(-n), 3, 3 FROM generate_series(1, 200) AS n; ROLLBACK});
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) t');
sketches_right('<=>', 'after inserts into freed slots');
is($node->safe_psql('postgres', q{
	SET enable_seqscan = off;
	SET enable_sort = off;
	SELECT count(*) FROM generate_series(20003, 21999, 50) AS n, LATERAL
		(SELECT id FROM t WHERE a = 3 ORDER BY v <=> point(n) LIMIT 1) AS nearest WHERE id = 20000 + n}),
	'40', 'what was inserted is found by its own vector');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(counted($standby), counted($node), 'the standby counts the same');
is($standby->safe_psql('postgres', "SELECT sketched FROM found('<=>', 'a = 3')"), 't', 'the standby uses them');
$standby->stop;

# A crash among inserts
my @clients = map { start_sql($node, join '', map { "INSERT INTO t VALUES ($_, point($_), 3, 1);\n" } 30000 + $_ * 5000 .. 34000 + $_ * 5000) } 0 .. 1;
$node->poll_query_until('postgres', 'SELECT count(*) > 300 FROM t WHERE id >= 30000') or die 'timed out waiting for the clients';
crash($node, @clients);
$node->safe_psql('postgres', 'BEGIN; DELETE FROM t; ROLLBACK; VACUUM (INDEX_CLEANUP on) t');
sketches_right('<=>', 'killed, and vacuumed');
is($node->safe_psql('postgres', q{SELECT count(*) FROM piramid_check('t_idx', true)}), 0, 'piramid_check finds nothing');

# Too few rows to learn from when the index was made
$node->safe_psql('postgres', q{
	CREATE TABLE later (id int, v vector(64), a int);
	CREATE INDEX later_idx ON later USING hnsw (v vector_l2_ops, a);
	INSERT INTO later SELECT id, v, a FROM t WHERE id < 3000});
is($node->safe_psql('postgres', "SELECT sketch_bits, sketches FROM piramid_hnsw_keys('later_idx')"), '0|0', 'made empty: none');
$node->safe_psql('postgres', 'REINDEX INDEX later_idx');
is($node->safe_psql('postgres', "SELECT sketch_bits, sketches = (SELECT count(DISTINCT v) FROM later) FROM piramid_hnsw_keys('later_idx')"),
	'64|t', 'REINDEX makes them');

check_and_stop($node);
done_testing();
