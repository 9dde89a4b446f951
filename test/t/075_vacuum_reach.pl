# After a vacuum, searches find what is left: where rows lie in groups far from
# each other, where most rows are gone, at all levels, and beside inserts.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

# Levels are random, and rows inserted last may be lost one by one; groups are
# lost by twenty and more.
use constant FEW => 5;

my $node = piramid_node('vacuum_reach', conf => 'autovacuum = off');
$node->append_conf('postgresql.conf', 'hnsw.ef_search = 100');
$node->reload;

# Rows first .. last, each near one of the centres.
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION test.gauss() RETURNS float8 LANGUAGE sql VOLATILE AS
		'SELECT sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())';
	CREATE TABLE centres (part int PRIMARY KEY, x float8[]);
	CREATE FUNCTION test.scatter(tab regclass, first int, last int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		parts int := (SELECT count(*) FROM centres);
		part int;
	BEGIN
		FOR n IN first .. last LOOP
			part := floor(random() * parts);
			EXECUTE format('INSERT INTO %s SELECT %s, array_agg(c + 0.05 * test.gauss())::vector
				FROM (SELECT unnest(x) AS c FROM centres WHERE part = %s) AS x', tab, n, part);
		END LOOP;
	END $$;
});

# A table of 1,500 rows in groups, inserted into its index.
sub scattered
{
	my ($table, $seed, $groups, $dim) = @_;

	$node->safe_psql(
		'postgres', qq{
		SELECT setseed($seed / 1000.0);
		TRUNCATE centres;
		INSERT INTO centres SELECT part, array_agg(test.gauss())
			FROM generate_series(0, $groups - 1) AS part, generate_series(1, $dim) GROUP BY part;
		DROP TABLE IF EXISTS $table;
		CREATE TABLE $table (id int, v vector($dim));
		CREATE INDEX ${table}_idx ON $table USING hnsw (v vector_l2_ops);
		SELECT test.scatter('$table', 1, 1500);
	});
}

sub lost { return $node->safe_psql('postgres', "SELECT test.lost('$_[0]', k => 1)") }

# Whole groups lost the rows that led to them.
foreach my $seed (1 .. 4)
{
	my $dim = $seed % 2 ? 8 : 32;

	scattered('g', $seed, 30, $dim);
	$node->safe_psql('postgres', 'DELETE FROM g WHERE id <= 900; VACUUM g');
	at_most(lost('g'), FEW, "30 groups in $dim dimensions, the oldest of each deleted: lost");
}

# Rounds of it, with new rows in between; the entry point goes, too.
scattered('r', 7, 10, 8);
foreach my $round (1 .. 4)
{
	my $first = 1501 + ($round - 1) * 600;
	my $last = $first + 599;

	$node->safe_psql('postgres', "DELETE FROM r WHERE id < $first - 900; VACUUM r;
		SELECT test.scatter('r', $first, $last)");
	at_most(lost('r'), FEW, "round $round: lost");
}

# Two places far from each other: whatever led from one to the other is deleted.
scattered('b', 8, 2, 8);
$node->safe_psql('postgres', 'UPDATE centres SET x = (SELECT array_agg(10 + c) FROM unnest(x) AS c);
	SELECT test.scatter(\'b\', 1501, 1800);
	DELETE FROM b WHERE id <= 1400; VACUUM b');
at_most(lost('b'), FEW, 'two far places: lost');
is($node->safe_psql('postgres', "SELECT test.reachable('b')"), 400, 'all are returned');

# Plain links.
scattered('p', 9, 30, 8);
$node->safe_psql('postgres', q{
	DROP INDEX p_idx;
	CREATE TABLE old AS TABLE p;
	TRUNCATE p;
	CREATE INDEX p_idx ON p USING hnsw (v vector_l1_ops);
	INSERT INTO p SELECT * FROM old ORDER BY id;
	DELETE FROM p WHERE id <= 900;
	VACUUM p;
});
at_most($node->safe_psql('postgres', "SELECT test.lost('p', '<+>', 1)"), FEW, 'plain links: lost');

# Real vectors and more levels: two thirds of the rows go, at once and by and by.
load_slices($node);
foreach my $rounds (1, 5)
{
	$node->safe_psql('postgres', 'DROP TABLE IF EXISTS t; CREATE TABLE t AS TABLE slices;
		CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops)');
	my $levels = $node->safe_psql('postgres', "SELECT levels FROM piramid_hnsw_info('t_idx')");
	foreach my $round (1 .. $rounds)
	{
		$node->safe_psql('postgres', "DELETE FROM t WHERE id < 8200 * $round / $rounds; VACUUM t");
	}
	my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM t');
	is($node->safe_psql('postgres', "SELECT test.reachable('t')"), $rows,
		"$rounds rounds, $levels levels: all $rows rows are returned");
	at_most(lost('t'), int($rows / 1000), "$rounds rounds: lost");
}

# Inserts while a vacuum runs: what is new is found, and what is old.
scattered('c', 10, 30, 8);
$node->safe_psql('postgres', 'CREATE SEQUENCE next START 1501');
foreach my $round (1, 2)
{
	$node->safe_psql('postgres', "DELETE FROM c WHERE id IN
		(SELECT id FROM c ORDER BY id LIMIT (SELECT count(*) * 6 / 10 FROM c))");
	$node->pgbench(
		'-n -c 4 -j 2 -t 150', 0, [qr/actually processed: 600\/600/], [qr/^(?!.*ERROR)/s],
		'inserts beside vacuums',
		{
			"075_insert_$round\@60" => q{
				SELECT nextval('next') AS n \gset
				SELECT test.scatter('c', :n, :n);
			},
			"075_vacuum_$round\@1" => 'VACUUM c;',
		});
	my $rows = $node->safe_psql('postgres', 'VACUUM c; SELECT count(*) FROM c');
	is($node->safe_psql('postgres', "SELECT test.reachable('c')"), $rows, "all $rows rows are returned");
	at_most(lost('c'), FEW, 'inserts beside vacuums: lost');
}

check_and_stop($node);
done_testing();
