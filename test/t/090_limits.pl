# Every option and setting at its limits and beyond, and extreme inputs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('limits', conf => 'autovacuum = off');
load_words($node);
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT id, (v::real[])[1:50]::vector(50) AS v FROM words WHERE id <= 500');

sub index_with
{
	my ($with) = @_;
	return "CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops) WITH ($with)";
}

# Index options.
foreach my $with ('m = 1', 'm = 101', 'm = 0', 'm = -1', 'ef_construction = 3', 'ef_construction = 1001')
{
	fails_like($node, index_with($with), qr/value -?\d+ out of bounds for option "(m|ef_construction)"/, $with);
}
foreach my $with ('m = 16, ef_construction = 31', 'm = 100, ef_construction = 199', 'm = 33', 'ef_construction = 4')
{
	fails_like($node, index_with($with), qr/ef_construction must be greater than or equal to 2 \* m/, $with);
}
fails_like($node, index_with('lists = 10'), qr/unrecognized parameter "lists"/, 'an unknown option');
foreach my $with ('m = 2, ef_construction = 4', 'm = 2', 'm = 16, ef_construction = 32',
	'm = 100, ef_construction = 200', 'm = 100, ef_construction = 1000', 'm = 2, ef_construction = 1000')
{
	$node->safe_psql('postgres', index_with($with));
	is($node->safe_psql('postgres', "SELECT test.reachable('t')"), 500, "$with: built");
	$node->safe_psql('postgres', 'INSERT INTO t SELECT id + 500, (v::real[])[51:100]::vector(50) FROM words WHERE id <= 500');
	is($node->safe_psql('postgres', "SELECT test.reachable('t')"), 1000, "$with: inserted");
	$node->safe_psql('postgres', 'DELETE FROM t WHERE id > 500; VACUUM t');
	is($node->safe_psql('postgres', "SELECT test.reachable('t')"), 500, "$with: vacuumed");
	$node->safe_psql('postgres', 'DROP INDEX t_idx');
}

# Settings.  The library is loaded by the first use of the type.
my %setting = ('hnsw.ef_search' => [ [ 1, 1000 ], [ 0, 1001, -1 ] ]);
$node->safe_psql('postgres', index_with('m = 16'));
foreach my $name (sort keys %setting)
{
	my ($good, $bad) = @{ $setting{$name} };
	foreach my $value (@$bad)
	{
		fails_like($node, "SELECT '[1]'::vector; SET $name = $value",
			qr/$value is outside the valid range for parameter "$name"/, "$name = $value");
	}
	foreach my $value (@$good)
	{
		is( $node->safe_psql(
				'postgres', qq{
				SET $name = $value;
				SET enable_seqscan = off;
				SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 1}),
			7, "$name = $value");
	}
}
is( $node->safe_psql(
		'postgres', q{
		SET hnsw.ef_search = 1;
		SELECT count(*) FROM test.nearest('t', '<->', (SELECT v FROM t WHERE id = 7), 300, true)}),
	300, 'ef_search 1 does not cap LIMIT 300');
is( $node->safe_psql(
		'postgres', q{
		SET enable_seqscan = off;
		SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 0}),
	'', 'LIMIT 0');

# What an index cannot be.
foreach my $case (
	[ 'CREATE UNIQUE INDEX ON t USING hnsw (v vector_l2_ops)', qr/does not support unique indexes/ ],
	[ 'CREATE INDEX ON t USING hnsw (v vector_l2_ops, v vector_l2_ops)', qr/has more than one vector column/ ],
	[ 'CREATE INDEX ON t USING hnsw (v vector_l2_ops) INCLUDE (id)', qr/cannot have included columns/ ],
	[ 'CREATE INDEX ON t USING hnsw (v vector_l2_ops DESC)', qr/does not support ASC\/DESC options/ ],
	[ 'CREATE INDEX ON t USING hnsw (v)', qr/has no default operator class/ ],
	[ 'CREATE INDEX ON t USING hnsw (id vector_l2_ops)', qr/does not accept data type integer/ ],
	[ 'CREATE TABLE loose (v vector); CREATE INDEX ON loose USING hnsw (v vector_l2_ops)', qr/column does not have dimensions/ ],
	[ 'INSERT INTO t VALUES (0, \'[1,2,3]\')', qr/expected 50 dimensions, not 3/ ],
	[ 'SET enable_seqscan = off; SELECT id FROM t ORDER BY v <-> \'[1,2]\' LIMIT 1', qr/different vector dimensions/ ])
{
	fails_like($node, $case->[0], $case->[1], $case->[0]);
}

# Dimensions, from the fewest to the most.
foreach my $dim (1, 2, 63, 64, 65, 1999, 2001, 4000, 16000)
{
	$node->safe_psql(
		'postgres', qq{
		CREATE TABLE d (id int, v vector($dim));
		INSERT INTO d SELECT n, (SELECT array_agg(sin(n * 1.7 + i * (n % 13 + 1)) + n * 0.01)
			FROM generate_series(1, $dim) AS i)::vector FROM generate_series(1, 60) AS n;
		CREATE INDEX ON d USING hnsw (v vector_l2_ops);
		INSERT INTO d SELECT n, (SELECT array_agg(cos(n * 1.3 + i * (n % 11 + 1)) - n * 0.01)
			FROM generate_series(1, $dim) AS i)::vector FROM generate_series(61, 80) AS n});
	is_consistent($node, 'd', "$dim dimensions");
	$node->safe_psql('postgres', 'DELETE FROM d WHERE id % 2 = 0; VACUUM d');
	is_consistent($node, 'd', "$dim dimensions, vacuumed");
	$node->safe_psql('postgres', 'DROP TABLE d');
}
$node->safe_psql(
	'postgres', q{
	CREATE TABLE d (id int, v vector(16000));
	INSERT INTO d SELECT n, array_fill(n::real, ARRAY[16000])::vector FROM generate_series(1, 250) AS n;
	CREATE INDEX ON d USING hnsw (v vector_l2_ops) WITH (m = 100, ef_construction = 200);
	INSERT INTO d SELECT n, array_fill(n::real, ARRAY[16000])::vector FROM generate_series(251, 300) AS n});
is_consistent($node, 'd', 'm 100 and 16,000 dimensions');
fails_like($node, 'CREATE TABLE e (v vector(16001))', qr/dimensions for type vector cannot exceed 16000/, '16,001 dimensions');

# Inputs without information, and without measure.
my %rows = (
	'no row'       => q{SELECT 1, '[1,2,3]'::vector WHERE false},
	'one row'      => q{SELECT 1, '[1,2,3]'::vector},
	'equal rows'   => q{SELECT n, '[1,2,3]'::vector FROM generate_series(1, 3000) AS n},
	'zeros'        => q{SELECT n, '[0,0,0]'::vector FROM generate_series(1, 200) AS n},
	'huge values'  => q{SELECT n, ARRAY[3e38, -3e38, n * 1e36]::real[]::vector FROM generate_series(1, 200) AS n},
	'tiny values'  => q{SELECT n, ARRAY[1e-45, n * 1e-44, -1e-40]::real[]::vector FROM generate_series(1, 200) AS n},
	'mixed scales' => q{SELECT n, ARRAY[10.0 ^ (n % 70 - 35), 1, -(10.0 ^ (n % 31))]::real[]::vector FROM generate_series(1, 300) AS n},
	'a line'       => q{SELECT n, ARRAY[n, n, n]::real[]::vector FROM generate_series(1, 1000) AS n});
foreach my $name (sort keys %rows)
{
	foreach my $opclass ('vector_l2_ops', 'vector_ip_ops', 'vector_cosine_ops', 'vector_l1_ops')
	{
		my %op = (vector_l2_ops => '<->', vector_ip_ops => '<#>', vector_cosine_ops => '<=>', vector_l1_ops => '<+>');
		my $op = $op{$opclass};
		# Zero vectors have no direction: cosine does not index them.
		my $indexed = $opclass eq 'vector_cosine_ops' && $name eq 'zeros' ? 0 : 1;
		$node->safe_psql('postgres', qq{
			CREATE TABLE x (id int, v vector(3));
			INSERT INTO x $rows{$name};
			INSERT INTO x VALUES (-1, NULL);
			CREATE INDEX ON x USING hnsw (v $opclass)});
		my $rows = $node->safe_psql('postgres', 'SELECT count(v) FROM x');
		is($node->safe_psql('postgres', "SELECT test.reachable('x', '$op')"),
			$indexed * $rows, "$name, $opclass: built");
		$node->safe_psql('postgres', qq{
			DELETE FROM x WHERE id > 0;
			VACUUM x;
			INSERT INTO x $rows{$name};
			INSERT INTO x VALUES (-2, NULL)});
		is($node->safe_psql('postgres', "SELECT test.reachable('x', '$op')"),
			$indexed * $rows, "$name, $opclass: inserted");
		$node->safe_psql('postgres', 'DROP TABLE x');
	}
}

# NULL as the query: every indexed row, in any order.
is( $node->safe_psql(
		'postgres', q{
		SET enable_seqscan = off;
		SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector)) AS x}),
	500, 'NULL as the query');

check_and_stop($node);
done_testing();
