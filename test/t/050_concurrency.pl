# Several clients at once: inserts, deletes, updates, vacuums and searches.
#
# By version: buffers, locks and vacuum.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('concurrency', conf => 'autovacuum = off');
load_slices($node);
$node->safe_psql('postgres', 'CREATE SEQUENCE next; CREATE TABLE source AS
	SELECT row_number() OVER (ORDER BY id)::int AS id, v FROM slices;
	ALTER TABLE source ADD PRIMARY KEY (id)');

my $insert = q{
	SELECT nextval('next') AS n \gset
	INSERT INTO t SELECT * FROM source WHERE id = :n;
};
my $quiet = qr/^(?!.*ERROR)/s;

# Into an empty index, where every insert wants the same few pages.
$node->safe_psql('postgres', 'CREATE TABLE t (id int, v vector(128));
	CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops)');
$node->pgbench('-n -c 10 -j 2 -t 100', 0, [qr/actually processed: 1000\/1000/], [$quiet],
	'ten clients insert', { '050_insert' => $insert });
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 1000, 'all rows are there');
at_most($node->safe_psql('postgres', "SELECT test.lost('t')"), 3, 'of 1000 rows, lost');
is($node->safe_psql('postgres', "SELECT test.reachable('t')"), 1000, 'all rows are reachable');

# The same vector from everybody: every copy is found.
$node->safe_psql('postgres', 'CREATE TABLE same (id serial, v vector(128));
	CREATE INDEX ON same USING hnsw (v vector_l2_ops)');
$node->pgbench('-n -c 10 -j 2 -t 30', 0, [qr/actually processed: 300\/300/], [$quiet],
	'ten clients insert one vector',
	{ '050_same' => 'INSERT INTO same (v) SELECT v FROM source WHERE id = 1;' });
is($node->safe_psql('postgres', "SELECT test.reachable('same')"), 300, 'all copies are reachable');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM test.nearest('same', '<->', (SELECT v FROM source WHERE id = 1), 300, true) WHERE distance = 0"),
	300, 'all copies are the nearest');

# Everything at once.  Rows whose id is a multiple of 10 stay from first to
# last, so searches and the final check can count on them.
$node->safe_psql('postgres', 'CREATE TABLE kept AS SELECT * FROM t WHERE id % 10 = 0');
$node->pgbench(
	'-n -c 6 -j 2 -t 500', 0, [qr/actually processed: 3000\/3000/], [$quiet],
	'inserts, deletes, updates, searches and vacuums',
	{
		'050_mixed_insert@8' => $insert,
		'050_mixed_delete@4' => q{
			\set n random(1, 3000)
			DELETE FROM t WHERE id = :n AND id % 10 <> 0;
		},
		'050_mixed_update@2' => q{
			\set n random(1, 3000)
			\set o random(1, 12000)
			UPDATE t SET v = (SELECT v FROM source WHERE id = :o)
				WHERE ctid = (SELECT ctid FROM t WHERE id = :n AND id % 10 <> 0 LIMIT 1 FOR UPDATE SKIP LOCKED);
		},
		'050_mixed_search@8' => q{
			\set n random(1, 12000)
			SET enable_seqscan = off;
			SELECT 1 / (count(*) = 10)::int FROM (SELECT id FROM t
				ORDER BY v <-> (SELECT v FROM source WHERE id = :n) LIMIT 10) AS x;
		},
		'050_mixed_vacuum@1' => 'VACUUM t;',
	});
is_consistent($node, 't', 'after the mixture');
is($node->safe_psql('postgres', 'SELECT count(*) FROM kept WHERE id NOT IN (SELECT id FROM t)'),
	0, 'rows that nobody deleted are there');
$node->safe_psql('postgres', 'VACUUM t');
is_consistent($node, 't', 'after a last vacuum');

# A build while others write, without blocking them.
my $builder = start_sql($node, 'CREATE INDEX CONCURRENTLY t_concurrently ON t USING hnsw (v vector_l2_ops)');
$node->pgbench('-n -c 2 -j 2 -t 200', 0, [qr/actually processed: 400\/400/], [$quiet],
	'inserts beside CREATE INDEX CONCURRENTLY', { '050_beside' => $insert });
ok($builder->finish, 'CREATE INDEX CONCURRENTLY');
$node->safe_psql('postgres', 'DROP INDEX t_idx');
is_consistent($node, 't', 'the index built concurrently');

check_and_stop($node);
done_testing();
