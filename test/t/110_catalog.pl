# The SQL surface is pgvector's: every object that pgvector 0.8 has is there with
# the same properties, but for the deviations that are listed with their reasons.
#
# By version: the catalogs and settings.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Move;

sub rows
{
	my ($text) = @_;
	return map { [ split /\t/, $_, -1 ] } grep { !/^(#|$)/ } split /\n/, $text;
}

# kind and identity => properties
sub objects
{
	my ($text) = @_;
	return map { ("$_->[0]\t$_->[1]" => $_->[2]) } rows($text);
}

my $node = piramid_node('catalog', conf => 'autovacuum = off');
my %theirs = objects(slurp_file('test/compat/pgvector-0.8.tsv'));
my %ours = objects($node->safe_psql('postgres', slurp_file('test/compat/read-catalog.sql')));
my @deviations = rows(slurp_file('test/compat/deviations.tsv'));

cmp_ok(scalar(keys %theirs), '>', 250, 'the facts about pgvector are read');
cmp_ok(scalar(keys %ours), '>', 50, "piramid's catalog is read");

my %difference;
foreach my $object (keys %theirs)
{
	if (!exists $ours{$object}) { $difference{$object} = 'missing' }
	elsif ($ours{$object} ne $theirs{$object}) { $difference{$object} = 'different' }
}

# Every object that a deviation names must deviate as it says.
foreach my $deviation (@deviations)
{
	my ($what, $kind, $identity, $reason) = @$deviation;
	my $pattern = join('.*', map { quotemeta } split /\*/, $identity, -1);
	my @named = grep { /^\Q$kind\E\t$pattern$/ } sort keys %theirs;
	my @holds = grep { ($difference{$_} // '') eq $what } @named;

	ok(@named > 0 && @holds == @named && length($reason // ''), "$what, as listed: $kind $identity")
	  or diag(@named ? map { "$_ does not deviate so\n" } grep { ($difference{$_} // '') ne $what } @named
		: 'pgvector has nothing of this name');
	delete @difference{@named};
}

my %kinds = map { (/^(.*)\t/ => 1) } keys %theirs;
foreach my $kind (sort keys %kinds)
{
	my @different = grep { /^\Q$kind\E\t/ } sort keys %difference;

	ok(!@different, "$kind: all of pgvector's, with their properties");
	diag("$difference{$_}: $_\n  pgvector: $theirs{$_}\n  piramid:  " . ($ours{$_} // '-')) foreach @different;
}

note("beyond pgvector:\n", map { "  $_\t$ours{$_}\n" } grep { !exists $theirs{$_} } sort keys %ours);

# What a database of an older version has: each of its types, an index of each operator class, and
# objects that depend on operators and functions.
sub fill
{
	my ($database) = @_;

	$node->safe_psql($database, q{
		CREATE TABLE kept (id int PRIMARY KEY, v vector(3));
		INSERT INTO kept SELECT n, format('[%s,%s,%s]', n % 10, n / 10 % 10, n / 100)::vector FROM generate_series(1, 300) AS n;
		DO $$ BEGIN
			IF to_regtype('sparsevec') IS NOT NULL THEN
				ALTER TABLE kept ADD h halfvec(3), ADD s sparsevec(5), ADD b bit(8);
				UPDATE kept SET h = v, s = format('{1:%s,3:%s}/5', id, id % 7 + 1)::sparsevec, b = id::bit(8);
			END IF;
		END $$;
		DO $$ DECLARE c record; BEGIN
			FOR c IN SELECT opcname, attname FROM pg_opclass JOIN pg_am AS a ON a.oid = opcmethod
				JOIN pg_attribute ON attrelid = 'kept'::regclass AND atttypid = opcintype AND attnum > 1 WHERE amname = 'hnsw' LOOP
				EXECUTE format('CREATE INDEX ON kept USING hnsw (%I %I)', c.attname, c.opcname);
			END LOOP;
		END $$;
		CREATE VIEW nearest AS SELECT id FROM kept ORDER BY v <-> '[1,2,1]', id LIMIT 5;
		CREATE FUNCTION far(a vector, b vector) RETURNS boolean IMMUTABLE LANGUAGE sql RETURN l2_distance(a, b) > 3;
		CREATE TABLE checked (v vector(3) DEFAULT '[1,1,1]' CHECK (vector_norm(v) > 0));
		INSERT INTO checked DEFAULT VALUES});
	return answers($database);
}

sub answers
{
	my ($database) = @_;

	my @vectors = split /\n/, $node->safe_psql($database,
		"SELECT attname FROM pg_attribute WHERE attrelid = 'kept'::regclass AND attname IN ('v', 'h', 's')");

	return join "\n", map { $node->safe_psql($database, "SET enable_seqscan = off; SET enable_sort = off; $_") }
		'SELECT count(*) > 1 FROM pg_index WHERE indrelid = \'kept\'::regclass AND indisvalid',
		'SELECT * FROM nearest', 'SELECT count(*) FROM kept WHERE far(v, \'[0,0,0]\')',
		'SELECT v, avg(id) FROM kept GROUP BY v HAVING count(*) > 1 ORDER BY v LIMIT 3', 'SELECT * FROM checked',
		map { "SELECT $_ <-> (SELECT $_ FROM kept WHERE id = 77) FROM kept ORDER BY 1 LIMIT 5" } @vectors;
}

my $add = q{SET enable_seqscan = off; SET enable_sort = off;
	INSERT INTO kept VALUES (1000, '[50,50,50]');
	SELECT (SELECT id FROM kept ORDER BY v <-> '[49,50,50]' LIMIT 1) = 1000,
		NOT EXISTS (SELECT FROM pg_class AS c JOIN pg_am AS a ON a.oid = relam, piramid_check(c.oid, true) WHERE amname = 'hnsw')};

# Whoever updates from a released version has what a new database gets.
my ($newest) = slurp_file('piramid.control') =~ /^default_version = '(.*)'$/m;
my @released = slurp_file('CHANGELOG.md') =~ /^## (\d+\.\d+\.\d+)/mg;
my $members = members($node, 'postgres');
cmp_ok(scalar(@released), '>', 1, 'the released versions are read');
foreach my $version (@released)
{
	my $database = "from_$version" =~ tr/./_/r;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "CREATE EXTENSION piramid VERSION '$version'");
	my $before = fill($database);
	$node->safe_psql($database, 'ALTER EXTENSION piramid UPDATE');
	is(answers($database), $before, "$version: tables, indexes, views and functions answer as before the update");
	is($node->safe_psql($database, $add), 't|t', "$version, updated: rows are added and found, and indexes are sound");
	is($node->safe_psql($database, "SELECT extversion FROM pg_extension WHERE extname = 'piramid'"), $newest, "$version is brought up to date");
	is(members($node, $database), $members, "$version, updated, is a new $newest");
}

# Settings that the applications of pgvector send.
is($node->safe_psql('postgres', 'SET ivfflat.probes = 10; SHOW ivfflat.probes'), 10,
	'ivfflat.probes can be set');
is( $node->safe_psql('postgres', "SET hnsw.iterative_scan = strict_order; SELECT '[1]'::vector; SHOW hnsw.iterative_scan"),
	"[1]\nstrict_order", 'hnsw.iterative_scan set before the library is loaded');
foreach my $case ([ 'iterative_scan = on', qr/invalid value for parameter "hnsw.iterative_scan": "on"/ ],
	[ 'max_scan_tuples = 0', qr/0 is outside the valid range for parameter "hnsw.max_scan_tuples"/ ],
	[ 'scan_mem_multiplier = 0.5', qr/0.5 is outside the valid range for parameter "hnsw.scan_mem_multiplier"/ ],
	[ 'scan_mem_multiplier = 1001', qr/1001 is outside the valid range/ ],
	[ 'max_scan = 1', qr/invalid configuration parameter name "hnsw.max_scan"/ ])
{
	my ($setting, $message) = @$case;
	fails_like($node, "SELECT '[1]'::vector; SET hnsw.$setting", $message, "SET hnsw.$setting");
}

# A scan returns all rows, but in strict order not those that it finds too late;
# max_scan_tuples bounds it, unless iterative_scan is off.
load_slices($node);
$node->safe_psql('postgres', 'CREATE INDEX ON slices USING hnsw (v vector_l2_ops)');
my $all = $node->safe_psql('postgres', 'SELECT count(*) FROM slices');

sub scanned
{
	my ($settings) = @_;
	return $node->safe_psql('postgres', "$settings;" . q{
		SET enable_seqscan = off; SET enable_sort = off;
		SELECT count(*) FROM
			(SELECT FROM slices ORDER BY v <-> (SELECT v FROM queries ORDER BY id LIMIT 1)) AS x});
}
foreach my $scan ('off', 'strict_order', 'relaxed_order')
{
	my $set = "SET hnsw.iterative_scan = $scan";
	my $found = scanned($set);
	if ($scan eq 'strict_order')
	{
		at_least($found, 0.95 * $all, "$scan: nearly all rows");
		at_most($found, $all, "$scan: no row twice");
	}
	else { is($found, $all, "iterative_scan = $scan: all rows") }
	my $rows = scanned("$set; SET hnsw.max_scan_tuples = 500");
	if ($scan eq 'off') { is($rows, $all, 'max_scan_tuples has no effect when iterative_scan is off') }
	else
	{
		at_least($rows, 500, "$scan: rows of a bounded scan");
		at_most($rows, 2000, "$scan: rows of a bounded scan");
	}
}

check_and_stop($node);
done_testing();
