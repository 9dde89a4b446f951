# Conditions on filter columns: a scan returns exactly the rows of a sequential
# scan, in order, whatever the condition, after updates, deletions and vacuums.
# PIRAMID_CONDITION_ROUNDS sets how many random conditions each shape gets (default 12).
#
# By version: which conditions reach the index is the planner's.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $rounds = $ENV{PIRAMID_CONDITION_ROUNDS} || 12;
my $node = piramid_node('conditions', conf => "autovacuum = off");

$node->safe_psql(
	'postgres', q{
	-- A value of each column; and conditions on it.
	CREATE TABLE columns (name text, type text, value text, conditions text[]);
	INSERT INTO columns VALUES
	('a', 'int', 'nullif(floor(random() * 10)::int, 9)',
	 ARRAY['a = 3', 'a < 5', 'a >= 8', 'a <> 2', 'a IN (1, 3, 5)', 'a IS NULL', 'a BETWEEN 2 AND 4',
		'a = 3::int8', 'a > 2::int2', 'a < 100000::int8', 'a = ANY (ARRAY[7, NULL])', 'a = 3 OR a = 4']),
	('b', 'int8', 'floor(random() * 1000)::int8',
	 ARRAY['b = 10', 'b < 500', 'b > 990', 'b BETWEEN 100 AND 200', 'b = 10 AND b = 11', 'b < 10 OR a = 1']),
	('s', 'text', $$nullif('x' || floor(random() * 20)::int, 'x0')$$,
	 ARRAY[$$s = 'x1'$$, $$s IN ('x1', 'x2', 'none')$$, 's IS NULL', $$s LIKE 'x1%'$$]),
	('f', 'float8', $$(ARRAY['NaN', '0', '-0', NULL, 'Infinity', random()::text])[1 + floor(random() * 6)::int]::float8$$,
	 ARRAY['f < 0', $$f >= 'NaN'$$, 'f = 0', 'f > 0.25', 'f = 0.1::float4', $$f < 'Infinity'$$]),
	('g', 'boolean', '(ARRAY[true, false, NULL])[1 + floor(random() * 3)::int]',
	 ARRAY['g', 'NOT g', 'g IS TRUE', 'g IS NULL', 'g IS NOT FALSE']),
	('d', 'date', $$date '2020-01-01' + floor(random() * 30)::int$$,
	 ARRAY[$$d < '2020-01-10'$$, $$d BETWEEN '2020-01-05' AND '2020-01-07'$$, $$d >= '2020-01-28'$$]),
	('r', 'int[]', $$(ARRAY['{}', '{1,2}', '{3}', '{1,NULL,4}', NULL])[1 + floor(random() * 5)::int]::int[]$$,
	 ARRAY['r && ARRAY[1, 2]', 'r @> ARRAY[3]', $$r = '{1,2}'$$, $$r @> '{}'$$, 'r IS NULL', $$r && '{}'$$]);

	CREATE FUNCTION noise(n bigint) RETURNS vector LANGUAGE sql VOLATILE AS
		'SELECT CASE WHEN random() < 0.1 THEN array_fill(0.25, ARRAY[8])::vector
		ELSE (SELECT array_agg(random() - 0.5)::vector FROM generate_series(1, 8) WHERE n IS NOT NULL) END';

	-- Random conditions on the table t; a line for each that is answered wrongly.
	CREATE FUNCTION wrong(op text, rounds int, OUT condition text, OUT expected bigint, OUT got bigint, OUT disorder bigint)
		RETURNS SETOF record LANGUAGE plpgsql AS $$
	DECLARE
		q text;
		rows text;
		wanted int[];
		found int[];
	BEGIN
		FOR i IN 1 .. rounds LOOP
			SELECT string_agg('(' || c.conditions[1 + floor(random() * array_length(c.conditions, 1))::int] || ')', ' AND ')
			INTO condition FROM (SELECT * FROM columns ORDER BY random() LIMIT 1 + floor(random() * 3)::int) AS c;
			q := quote_literal(noise(i)::text);
			rows := format('SELECT id, v %s %s AS d FROM t WHERE %s', op, q, condition);
			SET LOCAL enable_seqscan = on;
			SET LOCAL enable_indexscan = off;
			EXECUTE format('SELECT coalesce(array_agg(id ORDER BY id), %L), count(*) FROM (%s) AS x', '{}', rows) INTO wanted, expected;
			SET LOCAL enable_seqscan = off;
			SET LOCAL enable_indexscan = on;
			SET LOCAL enable_sort = off;
			EXECUTE format('SELECT coalesce(array_agg(id), %L), count(*), count(*) FILTER (WHERE d < before)
				FROM (SELECT id, d, lag(d) OVER () AS before FROM (%s ORDER BY v %s %s) AS y) AS x', '{}', rows, op, q)
				INTO found, got, disorder;
			IF wanted <> (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM unnest(found) AS id) OR disorder > 0 THEN
				RETURN NEXT;
			END IF;
			EXECUTE format('SELECT count(*) FROM (%s ORDER BY v %s %s LIMIT 10) AS x', rows, op, q) INTO got;
			IF got <> least(expected, 10) THEN
				condition := condition || ' LIMIT 10';
				RETURN NEXT;
			END IF;
		END LOOP;
	END $$;
});

my @columns = split /\n/, $node->safe_psql('postgres', q{SELECT name || ' ' || type FROM columns ORDER BY name});
my $values = $node->safe_psql('postgres', q{SELECT string_agg(value, ', ' ORDER BY name) FROM columns});
my $names = join ', ', map { (split / /)[0] } @columns;

sub right
{
	my ($op, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', "SELECT * FROM wrong('$op', $rounds)"), '', $name);
}

my @shapes = (
	[ 'vector(8)', 'vector_l2_ops', '<->', 'built, L2', '' ],
	[ 'vector(8)', 'vector_cosine_ops', '<=>', 'inserted, cosine', '' ],
	[ 'halfvec(8)', 'halfvec_ip_ops', '<#>', 'built, inner product of halfvec', '' ],
	[ 'vector(8)', 'vector_l1_ops', '<+>', 'inserted, L1', '' ],
	[ 'vector(8)', 'vector_l2_ops', '<->', 'built, compact', 'WITH (layout = compact)' ]);

foreach my $shape (@shapes)
{
	my ($type, $class, $op, $name, $with) = @$shape;
	my $index = "CREATE INDEX ON t USING hnsw (a, v $class, b, s, f, g, d, r) $with";
	my $insert = "INSERT INTO t (id, v, $names) SELECT id, noise(id)::$type, $values FROM generate_series(%d, %d) AS id";

	$node->safe_psql('postgres', "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v $type, " . join(', ', @columns) . ')');
	$node->safe_psql('postgres', $index) if $name =~ /inserted/;
	$node->safe_psql('postgres', sprintf($insert, 1, 3000));
	$node->safe_psql('postgres', $index) if $name =~ /built/;
	$node->safe_psql('postgres', 'ANALYZE t');
	like($node->safe_psql('postgres', "SET enable_seqscan = off; EXPLAIN SELECT id FROM t WHERE a = 1 AND b IN (1, 2) AND g ORDER BY v $op '[1,2,3,4,5,6,7,8]' LIMIT 5"),
		qr/Index Cond: .*\(a = 1\)/, "$name: the index has the conditions");
	right($op, $name);
	$node->safe_psql('postgres', 'UPDATE t SET a = (a + 1) % 9, s = NULL WHERE random() < 0.3;
		UPDATE t SET b = b + 1 WHERE random() < 0.3; DELETE FROM t WHERE random() < 0.2');
	right($op, "$name: after updates and deletions");
	$node->safe_psql('postgres', 'VACUUM t');
	right($op, "$name: after a vacuum");
	$node->safe_psql('postgres', 'BEGIN; ' . sprintf($insert, 4001, 4300) . '; UPDATE t SET a = 5 WHERE random() < 0.5; ROLLBACK');
	$node->safe_psql('postgres', sprintf($insert, 5001, 5300));
	right($op, "$name: after inserts, some of them rolled back");
}

check_and_stop($node);
done_testing();
