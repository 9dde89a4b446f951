# Filters above a scan: near rows come in their place, also where the index's bounds of distances
# are wide against the gaps between rows; and the planner takes the index where it is cheaper.
#
# By version: the planner.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('filters', conf => "autovacuum = off\nmaintenance_work_mem = '128MB'");

$node->safe_psql(
	'postgres', q{
	SELECT setseed(0.2);
	CREATE TABLE t (id int, v vector(3));
	INSERT INTO t SELECT i, ARRAY[random(), random(), random()]::vector FROM generate_series(1, 30000) AS i;
	CREATE INDEX ON t USING hnsw (v vector_cosine_ops);
	ANALYZE t;
	CREATE TABLE queries AS SELECT i AS id, ARRAY[random(), random(), random()]::vector AS v FROM generate_series(1, 20) AS i});
foreach my $case (
	[ 'id % 50 = 0', 20, 'a filter that one row in 50 passes' ],
	[ 'id % 50 = 0', 500, 'many of these rows' ],
	[ 'id % 5 = 0', 20, 'a filter that one row in 5 passes' ],
	[ 'true', 1000, '1,000 rows without a filter' ])
{
	my ($filter, $most, $what) = @$case;
	at_least($node->safe_psql('postgres', "SELECT test.recall('t', '<=>', 'queries', $most, '$filter')"), 0.99, "recall of $what");
}

# Vectors out of line: a plan that sorts has to read them, which its cost does not tell.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE wide (id int, v vector(1536));
	INSERT INTO wide SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 1536) WHERE i > 0)::vector FROM generate_series(1, 1000) AS i;
	CREATE INDEX ON wide USING hnsw (v vector_l2_ops);
	ANALYZE wide});
like($node->safe_psql('postgres', 'EXPLAIN SELECT id FROM wide ORDER BY v <-> (SELECT v FROM wide LIMIT 1) LIMIT 10'),
	qr/Index Scan using wide_v_idx/, 'the index is cheaper than reading all vectors out of line');
unlike($node->safe_psql('postgres', 'EXPLAIN SELECT id FROM wide ORDER BY v <-> (SELECT v FROM wide LIMIT 1)'),
	qr/Index Scan using wide_v_idx on wide /, 'but not for all rows');
like($node->safe_psql('postgres', 'CREATE INDEX ON t (id); EXPLAIN SELECT id FROM t WHERE id < 20 ORDER BY v <=> (SELECT v FROM queries LIMIT 1) LIMIT 10'),
	qr/t_id_idx/, 'a filter that few rows pass has a better index');

# Pages between requests, as docs/results.md has them: by the index on each version, and every row
# once, also where rows that are equally far lie on both sides of a page's end.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE pages (id int PRIMARY KEY, v vector(3));
	INSERT INTO pages SELECT i, v FROM (SELECT i, ARRAY[sin(i / 7), cos(i / 7), sin(3 * (i / 7))]::vector AS v
		FROM generate_series(1, 20000) AS i) AS x ORDER BY hashint4(i);
	CREATE INDEX pages_v ON pages USING hnsw (v vector_cosine_ops);
	ANALYZE pages});
my $nearest = q{SELECT id, v <=> $1 AS distance FROM pages WHERE (v <=> $1, id) > ($2, $3) ORDER BY v <=> $1};
my $pages = qq{
	PREPARE page(vector, float8, int) AS
		SELECT id, distance FROM ($nearest FETCH FIRST 10 ROWS WITH TIES) AS nearest ORDER BY distance, id LIMIT 10;
	PREPARE at_once(vector, float8, int) AS $nearest, id LIMIT 10;};
like($node->safe_psql('postgres', "$pages EXPLAIN EXECUTE page('[1,2,3]', 0, 0)"), qr/Index Scan using pages_v/,
	'a page between requests uses the index');
like($node->safe_psql('postgres', "$pages SET plan_cache_mode = force_generic_plan; EXPLAIN EXECUTE page('[1,2,3]', 0, 0)"),
	qr/Index Scan using pages_v/, 'and with a generic plan');
my $at_once = $node->safe_psql('postgres', "$pages EXPLAIN EXECUTE at_once('[1,2,3]', 0, 0)");
if ($node->safe_psql('postgres', 'SHOW server_version_num') >= 170000)
{
	like($at_once, qr/Index Scan using pages_v/, 'as does one query with both keys');
}
else
{
	unlike($at_once, qr/Index Scan using pages_v/, 'one query with both keys does not before PostgreSQL 17');
}
my ($distance, $id, @shown) = ('-infinity', 0);
foreach my $page (1 .. 12)
{
	my @rows = split /\n/, $node->safe_psql('postgres', "$pages EXECUTE page('[1,2,3]', '$distance', $id)");
	push @shown, map { (split /\|/)[0] } @rows;
	($id, $distance) = split /\|/, $rows[-1];
}
is("@shown", $node->safe_psql('postgres',
		q{SET enable_indexscan = off; SELECT string_agg(id::text, ' ' ORDER BY place) FROM (
		SELECT id, row_number() OVER (ORDER BY v <=> '[1,2,3]', id) AS place FROM pages) AS x WHERE place <= 120}),
	'page after page, every row comes once, in its order');

check_and_stop($node);
done_testing();
