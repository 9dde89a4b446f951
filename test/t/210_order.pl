# No plan sees rows out of order: random statements over many shapes of data.
# PIRAMID_ORDER_STATEMENTS sets how many statements each shape gets (default 12).
#
# By version: the planner and executor.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $statements = $ENV{PIRAMID_ORDER_STATEMENTS} || 12;
my $node = piramid_node('order', conf => "autovacuum = off");

$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION noise(dim int) RETURNS float8[] LANGUAGE sql VOLATILE AS
		'SELECT array_agg(random() - 0.5) FROM generate_series(1, dim)';
	CREATE FUNCTION times(a float8[], b float8) RETURNS vector LANGUAGE sql IMMUTABLE AS
		'SELECT array_agg(x * b)::vector FROM unnest(a) AS x';
	CREATE TABLE centres AS SELECT k, times(noise(16), 1) AS c FROM generate_series(0, 29) AS k;

	-- Rows of a cursor, of which no LIMIT is known: how many, and how many are nearer than one before.
	CREATE FUNCTION disorder(query text, OUT n bigint, OUT wrong bigint) LANGUAGE plpgsql AS $$
	DECLARE
		d float8;
		most float8 := '-infinity';
	BEGIN
		n := 0;
		wrong := 0;
		FOR d IN EXECUTE query LOOP
			n := n + 1;
			wrong := wrong + (d < most)::int;
			most := greatest(most, d);
		END LOOP;
	END $$;

	-- One random statement over the table t; how many rows or ranks are wrong.
	CREATE FUNCTION statement(op text, form int) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		q text := (SELECT v::text FROM t WHERE v IS NOT NULL ORDER BY random() LIMIT 1);
		d text := format('(v %s %L)', op, q);
		most int := (ARRAY[5, 10, 20, 50, 200, 5000])[1 + floor(random() * 6)::int];
		modulus int := (ARRAY[1, 3, 10, 50])[1 + floor(random() * 4)::int];
		filter text := format('id %% %s = %s', modulus, floor(random() * modulus)::int);
		wrong bigint;
	BEGIN
		PERFORM set_config('enable_seqscan', 'off', true);
		CASE form
		WHEN 0 THEN
			EXECUTE format('SELECT count(*) FILTER (WHERE d < before) FROM (SELECT d, lag(d) OVER (ORDER BY r) AS before
				FROM (SELECT d, row_number() OVER () AS r FROM (SELECT %s AS d FROM t WHERE %s ORDER BY d LIMIT %s) AS a) AS b) AS c',
				d, filter, most) INTO wrong;
		WHEN 1 THEN
			wrong := (SELECT x.wrong FROM disorder(format('SELECT %s FROM t WHERE %s ORDER BY %1$s', d, filter)) AS x);
		WHEN 2 THEN		-- rank() over the index's order
			PERFORM set_config('enable_sort', 'off', true);
			EXECUTE format('CREATE TEMP TABLE ranks ON COMMIT DROP AS SELECT id, rank() OVER (ORDER BY %s) AS r FROM t WHERE v IS NOT NULL', d);
			PERFORM set_config('enable_sort', 'on', true);
			EXECUTE format('SELECT count(*) FILTER (WHERE a.r <> b.r) FROM ranks AS a
				JOIN (SELECT id, rank() OVER (ORDER BY %s + 0) AS r FROM t WHERE v IS NOT NULL) AS b USING (id)', d) INTO wrong;
			DROP TABLE ranks;
		WHEN 3 THEN		-- DISTINCT ON and GROUP BY: no distance twice
			PERFORM set_config('enable_sort', 'off', true), set_config('enable_hashagg', 'off', true);
			EXECUTE format('SELECT count(*) - count(DISTINCT d) FROM (SELECT DISTINCT ON (%1$s) %1$s AS d FROM t ORDER BY %1$s) AS x', d) INTO wrong;
			PERFORM set_config('enable_sort', 'on', true), set_config('enable_hashagg', 'on', true);
		WHEN 4 THEN		-- a merge join finds each row
			PERFORM set_config('enable_hashjoin', 'off', true), set_config('enable_nestloop', 'off', true);
			EXECUTE format('SELECT count(*) FROM (SELECT %1$s AS d FROM t ORDER BY d LIMIT 100000) AS a
				JOIN (SELECT id, %1$s + 0 AS d FROM t WHERE v IS NOT NULL AND id %% 7 = 0) AS b ON a.d = b.d', d) INTO wrong;
			EXECUTE format('SELECT greatest(count(*) - $1, 0) FROM t WHERE %s IS NOT NULL AND id %% 7 = 0', d) INTO wrong USING wrong;
			PERFORM set_config('enable_hashjoin', 'on', true), set_config('enable_nestloop', 'on', true);
		ELSE			-- two distances
			EXECUTE format('SELECT count(*) FILTER (WHERE (d, e) < (d0, e0)) FROM (SELECT d, e, lag(d) OVER (ORDER BY r) AS d0, lag(e) OVER (ORDER BY r) AS e0
				FROM (SELECT d, e, row_number() OVER () AS r FROM (SELECT %s AS d, v %s %L AS e FROM t ORDER BY %1$s, v %2$s %3$L LIMIT %4$s) AS a) AS b) AS c',
				d, op, (SELECT v::text FROM t WHERE v IS NOT NULL ORDER BY random() LIMIT 1), least(most, 200)) INTO wrong;
		END CASE;
		RETURN wrong;
	END $$;
});

# What rows there are, how they came into the index, and by which operator class.
my $groups = 'SELECT i, c + times(noise(16), 0.1) FROM generate_series(1, N) AS i JOIN centres ON k = i % 30';
my $uniform = 'SELECT i, times(noise(16), 1) FROM generate_series(1, N) AS i';
my $lengths = 'SELECT i, times(noise(16), 10 ^ (random() * 6 - 3)) FROM generate_series(1, N) AS i';
my $copies = "SELECT i, CASE WHEN i % 9 = 0 THEN times(noise(16), 0) WHEN i % 10 = 1 THEN NULL ELSE c END
	FROM generate_series(1, N) AS i JOIN centres ON k = i % 30";
my $tiny = 'SELECT i, times(noise(16), 10 ^ (-random() * 34)) FROM generate_series(1, N) AS i';
my @shapes = (
	[ 'groups, built', 'vector(16)', 'vector_l2_ops', '<->', $groups, 'build' ],
	[ 'groups, inserted', 'vector(16)', 'vector_l2_ops', '<->', $groups, 'insert' ],
	[ 'groups by cosine, overflow links', 'vector(16)', 'vector_cosine_ops', '<=>', $groups, 'grow' ],
	[ 'groups by L1', 'vector(16)', 'vector_l1_ops', '<+>', $groups, 'build' ],
	[ 'groups after churn', 'vector(16)', 'vector_l2_ops', '<->', $groups, 'churn' ],
	[ 'uniform', 'vector(16)', 'vector_l2_ops', '<->', $uniform, 'build' ],
	[ 'uniform by cosine, few dimensions', 'vector(3)', 'vector_cosine_ops', '<=>',
		'SELECT i, times(noise(3), 1) FROM generate_series(1, N) AS i', 'build' ],
	[ 'lengths by inner product', 'vector(16)', 'vector_ip_ops', '<#>', $lengths, 'build' ],
	[ 'lengths by inner product, inserted', 'halfvec(16)', 'halfvec_ip_ops', '<#>', $lengths, 'insert' ],
	[ 'lengths', 'vector(16)', 'vector_l2_ops', '<->', $lengths, 'insert' ],
	[ 'tiny lengths by inner product', 'vector(16)', 'vector_ip_ops', '<#>', $tiny, 'build' ],
	[ 'tiny lengths by cosine', 'vector(16)', 'vector_cosine_ops', '<=>', $tiny, 'insert' ],
	[ 'copies, zero vectors and NULLs', 'vector(16)', 'vector_l2_ops', '<->', $copies, 'build' ],
	[ 'copies, zero vectors and NULLs by cosine', 'vector(16)', 'vector_cosine_ops', '<=>', $copies, 'grow' ],
	[ 'sparse', 'sparsevec(16)', 'sparsevec_l2_ops', '<->', $groups, 'build' ],
	[ 'bits', 'bit(16)', 'bit_hamming_ops', '<~>', 'SELECT i, (i * 7919 % 65536)::bit(16) FROM generate_series(1, N) AS i', 'churn' ],
	[ 'bits by Jaccard', 'bit(16)', 'bit_jaccard_ops', '<%>', 'SELECT i, (i * 7919 % 65536)::bit(16) FROM generate_series(1, N) AS i', 'insert' ],
	[ 'compact', 'vector(16)', 'vector_l2_ops', '<->', $groups, 'build', 'WITH (layout = compact)' ],
	[ 'compact by cosine', 'halfvec(16)', 'halfvec_cosine_ops', '<=>', $uniform, 'churn', 'WITH (layout = compact)' ],
	[ 'compact by inner product', 'vector(16)', 'vector_ip_ops', '<#>', $lengths, 'grow', 'WITH (layout = compact)' ]);

foreach my $shape (@shapes)
{
	my ($name, $type, $class, $op, $source, $way, $with) = @$shape;
	my $index = "CREATE INDEX ON t USING hnsw (v $class) " . ($with // '');
	my $fill = sub {
		my ($from, $to) = @_;
		(my $rows = $source) =~ s/\bN\b/$to/;
		return "INSERT INTO t SELECT id, v::$type FROM ($rows) AS x (id, v) WHERE id >= $from";
	};
	my %steps = (
		build  => [ $fill->(1, 1500), $index ],
		insert => [ $index, $fill->(1, 1500) ],
		grow   => [ $fill->(1, 1000), $index, 'CHECKPOINT', $fill->(1001, 1500) ],
		churn  => [ $fill->(1, 1500), $index, 'DELETE FROM t WHERE id % 3 = 0', 'VACUUM t', $fill->(1501, 2000), 'UPDATE t SET id = id WHERE id % 5 = 0' ]);

	$node->safe_psql('postgres', 'SET client_min_messages = error; DROP TABLE IF EXISTS t');
	$node->safe_psql('postgres', "CREATE TABLE t (id int, v $type)");
	$node->safe_psql('postgres', $_) foreach @{ $steps{$way} };
	$node->safe_psql('postgres', 'ANALYZE t');
	my ($status, $stdout, $stderr) = $node->psql(
		'postgres', join("\n", map { "SELECT $_, statement('$op', $_ % 6);" } 0 .. $statements - 1));
	is($stderr, '', "$name: no error");
	is(join(' ', grep { !/\|0$/ } split(/\n/, $stdout)), '', "$name: order");
}

check_and_stop($node);
done_testing();
