# Rows inserted in an order that is hard for a graph: each is found by its own
# vector.  Levels are random, so each order is tried more than once.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('inserts', conf => 'autovacuum = off');

# How many rows do not have a row as near as themselves among the first three?
sub lost
{
	my ($table, $op) = @_;
	return $node->safe_psql(
		'postgres', qq{
		SET enable_seqscan = off;
		SET hnsw.ef_search = 100;
		SELECT count(*) FROM $table AS a, LATERAL (
			SELECT min(d) AS nearest FROM (
				SELECT b.v $op a.v AS d FROM $table AS b ORDER BY b.v $op a.v LIMIT 3) AS x) AS y
		WHERE nearest > a.v $op a.v});
}

# Each row is longer than the last and on an axis of its own: all others are
# nearest to the same few.  In two parts: links back to the second one wait
# outside their nodes, and then move there.
sub growing
{
	my ($type, $class, $op, $rows) = @_;
	my $half = $rows / 2;

	$node->safe_psql(
		'postgres', qq{
		DROP TABLE IF EXISTS growing;
		CREATE TABLE growing (id int, v $type(200));
		CREATE INDEX ON growing USING hnsw (v $class);
		CREATE TEMP VIEW source AS SELECT n AS id,
			format('{%s:%s,200:%s}/200', 1 + n % 197, n + 1, n % 7 + 1)::sparsevec::$type(200) AS v
			FROM generate_series(1, $rows) AS n;
		INSERT INTO growing SELECT * FROM source WHERE id <= $half;
		CHECKPOINT;
		INSERT INTO growing SELECT * FROM source WHERE id > $half});
	return lost('growing', $op);
}

foreach my $try (1 .. 3)
{
	is(growing('vector', 'vector_l2_ops', '<->', 150), 0, "growing dense rows, try $try");
	is(growing('sparsevec', 'sparsevec_l2_ops', '<->', 150), 0, "growing sparse rows, try $try");
	at_most(growing('vector', 'vector_l2_ops', '<->', 1000), 5, "more growing rows, try $try");
	at_most(growing('vector', 'vector_l1_ops', '<+>', 1000), 5, "growing rows by L1, try $try");
}

# Uniform rows, each twice, built in parts: some are missed by a narrow search,
# but none of them is in a group that searches lose.
$node->safe_psql(
	'postgres', q{
	SELECT setseed(0.3);
	CREATE TABLE uniform (id int, v vector(64));
	INSERT INTO uniform SELECT n, (SELECT array_agg(random() * 100) FROM generate_series(1, 64)
		WHERE n > 0)::vector(64) FROM generate_series(1, 6000) AS n;
	INSERT INTO uniform SELECT * FROM uniform});
foreach my $try (1 .. 2)
{
	my ($status, $stdout, $stderr) = $node->psql(
		'postgres', q{
		SET client_min_messages = notice;
		SET maintenance_work_mem = '2MB';
		SET max_parallel_maintenance_workers = 0;
		CREATE INDEX ON uniform USING hnsw (v vector_l2_ops)});

	like($stderr, qr/is built in parts/, "a build in parts, try $try");
	unlike($stderr, qr/tuple by tuple/, "it is not thrown away, try $try");
}

done_testing();
