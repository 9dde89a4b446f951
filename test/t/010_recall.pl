# Recall at default settings on real vectors, for every metric and both ways
# to fill an index.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('recall', conf => "maintenance_work_mem = '256MB'");
load_slices($node);

# The least shares are what was measured, less what random levels change.
foreach my $case (
	[ 'vector_l2_ops', '<->', 0.985, 0.985 ],
	[ 'vector_ip_ops', '<#>', 0.98, 0.98 ],
	[ 'vector_cosine_ops', '<=>', 0.985, 0.985 ],
	[ 'vector_l1_ops', '<+>', 0.97, 0.98 ])
{
	my ($opclass, $op, $of_ten, $of_hundred) = @$case;
	$node->safe_psql('postgres', "CREATE INDEX i ON slices USING hnsw (v $opclass)");
	like(
		$node->safe_psql('postgres',
			"EXPLAIN SELECT id FROM slices ORDER BY v $op (SELECT v FROM queries LIMIT 1) LIMIT 10"),
		qr/Index Scan using i on slices/,
		"$opclass: the planner uses the index");
	at_least(
		$node->safe_psql('postgres', "SELECT test.recall('slices', '$op', 'queries')"),
		$of_ten, "$opclass: recall\@10 at default settings");
	at_least(
		$node->safe_psql('postgres',
			"SET hnsw.ef_search = 200; SELECT test.recall('slices', '$op', 'queries')"),
		0.99, "$opclass: recall\@10 at ef_search 200");
	is( $node->safe_psql('postgres',
			"SELECT min((SELECT count(*) FROM test.nearest('slices', '$op', v, 100, true))) FROM queries"),
		100, "$opclass: ef_search does not cap the rows");
	at_least(
		$node->safe_psql('postgres',
			"SET hnsw.ef_search = 200; SELECT test.recall('slices', '$op', 'queries', 100)"),
		$of_hundred, "$opclass: recall\@100 at ef_search 200");
	# The second one widens the search many times.
	foreach my $scan ([ 40, 50 ], [ 2, 300 ])
	{
		my ($ef_search, $limit) = @$scan;

		is( $node->safe_psql(
				'postgres', qq{
				SET hnsw.ef_search = $ef_search;
				SELECT count(*) FROM queries q, LATERAL (
					SELECT distance, lag(distance) OVER () AS before
					FROM test.nearest('slices', '$op', q.v, $limit, true)) AS x
				WHERE distance < before}),
			0, "$opclass: rows come in the exact order of their distances, LIMIT $limit at ef_search $ef_search");
	}
	$node->safe_psql('postgres', 'DROP INDEX i');
}

# Inner product with rows of very different lengths: the long ones answer most queries.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE uneven AS
		SELECT id, (v * array_fill(exp(2 * sin(id * 7.13)), ARRAY[128])::vector)::vector(128) AS v FROM slices});
my (undef, undef, $debug) = $node->psql('postgres', q{
	SET client_min_messages = debug1;
	CREATE INDEX ON uneven USING hnsw (v vector_ip_ops)});
at_most(($debug =~ /(\d+) were lost/g)[-1] // 'NaN', 50, 'by inner product, rows are not taken for lost because longer ones are found');
at_least($node->safe_psql('postgres', "SELECT test.recall('uneven', '<#>', 'queries')"),
	0.98, 'recall@10 by inner product of rows of very different lengths');

# The same in an index that was created empty, and has to learn how long rows are.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE uneven_grown (LIKE uneven);
	CREATE INDEX ON uneven_grown USING hnsw (v vector_ip_ops);
	INSERT INTO uneven_grown SELECT * FROM uneven ORDER BY md5(id::text)});
at_least($node->safe_psql('postgres', "SELECT test.recall('uneven_grown', '<#>', 'queries')"),
	0.975, 'recall@10 by inner product of rows of very different lengths, inserted');

# An index that grew by single inserts.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE grown (LIKE slices);
	CREATE INDEX ON grown USING hnsw (v vector_l2_ops);
	INSERT INTO grown SELECT * FROM slices ORDER BY md5(id::text);
});
at_least(
	$node->safe_psql('postgres', "SELECT test.recall('grown', '<->', 'queries')"),
	0.985, 'recall@10 of an index filled by inserts');

# An index that was built, then doubled.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE doubled AS SELECT * FROM slices WHERE id % 2 = 0;
	CREATE INDEX ON doubled USING hnsw (v vector_l2_ops);
	INSERT INTO doubled SELECT * FROM slices WHERE id % 2 = 1;
});
at_least(
	$node->safe_psql('postgres', "SELECT test.recall('doubled', '<->', 'queries')"),
	0.985, 'recall@10 of an index that doubled after its build');

# Text embeddings as they come: 384 dimensions, cosine.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE texts AS SELECT id, v FROM words WHERE id % 40 <> 0;
	CREATE TABLE text_queries AS SELECT id, v FROM words WHERE id % 40 = 0;
	CREATE INDEX ON texts USING hnsw (v vector_cosine_ops);
});
at_least(
	$node->safe_psql('postgres', "SELECT test.recall('texts', '<=>', 'text_queries')"),
	0.99, 'recall@10 of text embeddings');

# Long vectors, whose codes are projected.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE long AS SELECT id, (v || v)::vector(768) AS v FROM texts WHERE id % 4 <> 0;
	CREATE TABLE long_queries AS SELECT id, (v || v)::vector(768) AS v FROM text_queries;
	CREATE INDEX long_idx ON long USING hnsw (v vector_cosine_ops);
});
# 320 bits; 544 of a random rotation
at_most($node->safe_psql('postgres', "SELECT code_bits FROM piramid_hnsw_info('long_idx')"), 400, 'codes are projected: bits');
at_least($node->safe_psql('postgres', "SELECT test.recall('long', '<=>', 'long_queries')"),
	0.985, 'recall@10 with projected codes');
$node->safe_psql('postgres', 'INSERT INTO long SELECT id, (v || v)::vector(768) FROM texts WHERE id % 4 = 0');
at_least($node->safe_psql('postgres', "SELECT test.recall('long', '<=>', 'long_queries')"),
	0.985, 'recall@10 with projected codes after inserts');

# The compact layout.
foreach my $table ('texts', 'long')
{
	my $queries = $table eq 'long' ? 'long_queries' : 'text_queries';

	$node->safe_psql('postgres', "
		DROP INDEX IF EXISTS long_idx, texts_v_idx;
		CREATE INDEX ON $table USING hnsw (v vector_cosine_ops) WITH (layout = compact)");
	at_least($node->safe_psql('postgres', "SET hnsw.ef_search = 100; SELECT test.recall('$table', '<=>', '$queries')"),
		0.985, "recall\@10 of the compact layout on $table");
}

# Sets whose rows differ in kind: bits of which some rows have many and some few,
# and sparse vectors of which a few terms are in nearly all.  Queries are rows that
# are not in the table.
$node->safe_psql(
	'postgres', q{
	SELECT setseed(0.5);
	CREATE TABLE mixed AS
		SELECT n AS id, string_agg((random() < (ARRAY[0.02, 0.05, 0.1, 0.2])[n % 4 + 1])::int::text, '')::bit(256) AS v
		FROM generate_series(1, 5100) AS n, generate_series(1, 256) GROUP BY n;
	CREATE TABLE terms AS
		SELECT n AS id, ('{' || string_agg(i || ':' || x, ',') || '}/30000')::sparsevec(30000) AS v
		FROM (SELECT n, 1 + floor(30000 * random() ^ 3)::int AS i, max(random() + 0.1) AS x
			FROM generate_series(1, 5100) AS n, generate_series(1, 40) GROUP BY 1, 2) AS elements
		GROUP BY n;
});
foreach my $set ([ 'mixed', 'bit_jaccard_ops', '<%>', 0.82 ], [ 'terms', 'sparsevec_cosine_ops', '<=>', 0.75 ])
{
	my ($table, $opclass, $op, $least) = @$set;

	at_least(
		$node->safe_psql(
			'postgres', qq{
			CREATE TABLE ${table}_queries AS SELECT * FROM $table WHERE id > 5000;
			DELETE FROM $table WHERE id > 5000;
			CREATE INDEX ON $table USING hnsw (v $opclass);
			SELECT test.recall('$table', '$op', '${table}_queries')}),
		$least, "$opclass: recall\@10 of rows of different kinds");
}

check_and_stop($node);
done_testing();
