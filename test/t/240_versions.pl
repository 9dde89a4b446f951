# Indexes of older format versions are read and written as they are; REINDEX
# raises the version.  They are made of new ones, whose file is changed to what an
# older library wrote.  And a page of another block is told from the right one.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Damage;
use Piramid;

my $node = piramid_node('versions', conf => "autovacuum = off\nignore_checksum_failure = on");
load_slices($node);

damage_init($node);
read_fields();

sub index_file
{
	my ($index) = @_;
	return $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$index')");
}

# Let a function change the index's file, while the server is down.
sub change_file
{
	my ($index, $change) = @_;
	my $name = index_file($index);

	$node->stop;
	$file = slurp_file($name);
	$change->();
	write_file($name);
	$node->start;
}

# The versions that pages but the metapage have
sub page_versions
{
	my ($index) = @_;
	$node->safe_psql('postgres', 'CHECKPOINT');
	$file = slurp_file(index_file($index));
	my %versions = map { opaque($_, 'version') => 1 } 1 .. blocks() - 1;
	return join ' ', sort keys %versions;
}

sub version
{
	my ($index) = @_;
	return $node->safe_psql('postgres', "SELECT version FROM piramid_hnsw_info('$index')");
}

sub all_found
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', "SELECT test.reachable('t')"),
		$node->safe_psql('postgres', 'SELECT count(*) FROM t'), "$name returns all rows");
}

# Make the file one of version 1 or 2.
sub make_old
{
	my ($version) = @_;
	my $maps = substr($file, $size{START} + $size{META}, $size{OVERFLOW_MAPS});
	my $room = $size{SPECIAL} - $size{START} - $size{OLD_META};

	foreach my $block (0 .. blocks() - 1)
	{
		opaque($block, 'magic', $size{MAGIC});
		opaque($block, 'version', $block ? 1 : $version);
	}
	meta('version', $version);
	substr($file, $size{START} + $size{OLD_META}, $room) = $maps . "\0" x ($room - length $maps);
}

# Shape, the oldest version that has it, column, and options
foreach my $shape (
	[ 'fast', 1, 'v', '' ],
	[ 'compact', 2, 'v', 'WITH (layout = compact)' ])
{
	my ($name, $version, $column, $options) = @$shape;
	my $answers = q{SELECT q.id, x.id, x.distance FROM queries q, LATERAL test.nearest('t', '<->', q.v, 20, true) AS x};

	$node->safe_psql(
		'postgres', qq{
		DROP TABLE IF EXISTS t;
		CREATE TABLE t (id int PRIMARY KEY, v vector(128));
		INSERT INTO t SELECT * FROM slices WHERE id <= 2000;
		-- Chunks of heap TIDs
		INSERT INTO t SELECT -n, (SELECT v FROM slices WHERE id = 7) FROM generate_series(1, 50) AS n;
		CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops) $options;
	});
	is(version('t_idx'), 3, "$name: new indexes have version 3");
	is(page_versions('t_idx'), 3, "$name: and so have their pages");
	my $before = $node->safe_psql('postgres', $answers);
	change_file('t_idx', sub { make_old($version) });
	is(version('t_idx'), $version, "$name: an old index");
	ok($node->safe_psql('postgres', $answers) eq $before, "$name: an old index gives the same answers");

	fails_like($node, q{SELECT piramid_calibrate('t_idx')}, qr/format version $version.*\n.*REINDEX/,
		"$name: an old index has no place for a calibration");

	# The first changes after a checkpoint become overflow links.
	$node->safe_psql('postgres', q{CHECKPOINT;
		INSERT INTO t SELECT * FROM slices WHERE id BETWEEN 2001 AND 2600;
		INSERT INTO t SELECT -n, (SELECT v FROM slices WHERE id = 8) FROM generate_series(101, 150) AS n});
	at_least($node->safe_psql('postgres', "SELECT piramid_overflow_links('t_idx')"), 1, "$name: overflow links");
	is(version('t_idx'), 2, "$name: an old index with overflow links");
	is(page_versions('t_idx'), 1, "$name: new pages of an old index are old");
	all_found("$name: an old index with new rows");
	$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 3 = 0; VACUUM t;
		INSERT INTO t SELECT * FROM slices WHERE id BETWEEN 2601 AND 2800');
	all_found("$name: an old index after a vacuum");
	is_sound($node, "$name, an old index");

	# Once more as an old file, now with maps
	$before = $node->safe_psql('postgres', $answers);
	$node->safe_psql('postgres', 'REINDEX INDEX t_idx; CHECKPOINT; INSERT INTO t SELECT * FROM slices WHERE id BETWEEN 2801 AND 3000');
	is(version('t_idx'), 3, "$name: REINDEX raises the version");
	my $links = $node->safe_psql('postgres', "SELECT piramid_overflow_links('t_idx')");
	at_least($links, 1, "$name: overflow links of version 3");
	$before = $node->safe_psql('postgres', $answers);
	change_file('t_idx', sub { make_old(2) });
	is($node->safe_psql('postgres', "SELECT piramid_overflow_links('t_idx')"), $links, "$name: maps of version 2");
	ok($node->safe_psql('postgres', $answers) eq $before, "$name: version 2 gives the same answers");
	is_sound($node, "$name, version 2");
}

# A write that went to the wrong block
$node->safe_psql('postgres', 'REINDEX INDEX t_idx');
change_file('t_idx', sub { substr($file, 4 * $size{PAGE}, $size{PAGE}) = substr($file, 3 * $size{PAGE}, $size{PAGE}) });
fails_like($node, "SELECT piramid_hnsw_info('t_idx')", qr/index "t_idx" has a page of block 3 at block 4/,
	'a page of another block');

# A metapage whose parts disagree, and what libraries to come may keep in an index
foreach my $case ([ version => 2 ], [ link_key_bytes => 1 ])
{
	my ($field, $value) = @$case;
	$node->safe_psql('postgres', 'REINDEX INDEX t_idx');
	change_file('t_idx', sub { meta($field, $value) });
	fails_like($node, "SELECT piramid_hnsw_info('t_idx')", qr/index "t_idx" has an unknown metapage at block 0/,
		"metapage: $field");
}

# Indexes of bm25.  Version 2 had no sparse vectors; what it had is as today, so that its pages
# are written on, and new ones are of today's version.
sub bm25 { my ($block, $name, $value) = @_; return field($block * $size{PAGE} + $size{SPECIAL}, "bm25.$name", $value) }

sub bm25_versions
{
	my ($index) = @_;
	$node->safe_psql('postgres', 'CHECKPOINT');
	$file = slurp_file(index_file($index));
	my %versions = map { bm25($_, 'version') => 1 } 0 .. blocks() - 1;
	return join ' ', sort keys %versions;
}

sub bm25_sound
{
	my ($index, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', "SELECT * FROM piramid_check('$index', true)"), '', "$name: whole");
}

$node->safe_psql('postgres', q{
	CREATE EXTENSION piramid_bm25;
	CREATE FUNCTION words(n int) RETURNS text LANGUAGE sql IMMUTABLE AS
		$$ SELECT string_agg('w' || (hashint4(n * 31 + i)::bigint & 1023) % (3 + i * 5), ' ') || ' own' || n FROM generate_series(1, 12) AS i $$;
	CREATE TABLE d (id int, body text, v tsvector, s sparsevec(50));
	CREATE PROCEDURE add_rows(first int, last int) LANGUAGE sql AS
		$$ INSERT INTO d SELECT n, words(n), to_tsvector('simple', words(n)), ('{' || 1 + n % 50 || ':1.5}/50')::sparsevec FROM generate_series(first, last) AS n $$;
	CALL add_rows(1, 3000);
	CREATE INDEX d_places ON d USING bm25 (body) WITH (text_config = 'simple');
	CREATE INDEX d_plain ON d USING bm25 (body) WITH (text_config = 'simple', positions = off);
	CREATE INDEX d_weights ON d USING bm25 (v);
	CREATE INDEX d_sparse ON d USING bm25 (s sparsevec_ip_ops);
	-- a head, and dead documents
	CALL add_rows(3001, 3050);
	DELETE FROM d WHERE id % 50 = 7;
	VACUUM d;
	CALL add_rows(3051, 3080)});
foreach my $index ('d_places', 'd_plain', 'd_weights')
{
	my ($column, $to_query) = $index eq 'd_weights' ? ('v', q{to_tsquery('simple', 'w1 | own77 | own3060')}) : ('body', "to_bm25query('w1 own77 own3060', '$index')");
	my $answers = qq{SET enable_seqscan = off; SET enable_sort = off;
		SELECT id, $column <@> $to_query FROM d ORDER BY $column <@> $to_query LIMIT 60;
		SELECT count(*), sum(id) FROM d WHERE $column @@ to_bm25query('w1 <-> w2 | own5'::tsquery)};
	my $own = sub { my ($n) = @_; return $node->safe_psql('postgres', "SET enable_seqscan = off; SELECT id FROM d ORDER BY $column <@> "
		. ($column eq 'v' ? "'own$n'::tsquery" : "to_bm25query('own$n', '$index')") . ' LIMIT 1') };

	is(bm25_versions($index), 3, "$index: new indexes have version 3");
	my $before = $node->safe_psql('postgres', $answers);
	change_file($index, sub { bm25($_, 'version', 2) foreach 0 .. blocks() - 1 });
	is(bm25_versions($index), 2, "$index: an old index");
	ok($node->safe_psql('postgres', $answers) eq $before, "$index: version 2 gives the same answers");
	bm25_sound($index, "$index, version 2");
	is($own->(3060), 3060, "$index, version 2: a row of the head");

	# Into the old head; then the head becomes a segment, and new pages come.
	$node->safe_psql('postgres', 'CALL add_rows(3081, 3090)');
	is($own->(3085), 3085, "$index, version 2: a new row");
	$node->safe_psql('postgres', 'CALL add_rows(3091, 5000); DELETE FROM d WHERE id % 50 = 8; VACUUM d');
	is($own->($_), $_, "$index, versions 2 and 3: row $_") foreach 77, 3060, 3085, 4999;
	is(bm25_versions($index), '2 3', "$index: new pages have version 3");
	bm25_sound($index, "$index, versions 2 and 3");
	$node->safe_psql('postgres', "SELECT piramid_bm25_merge('$index')");
	bm25_sound($index, "$index, merged");
	$node->safe_psql('postgres', "REINDEX INDEX $index");
	is(bm25_versions($index), 3, "$index: REINDEX raises the version");
	$node->safe_psql('postgres', 'DELETE FROM d WHERE id > 3050; CALL add_rows(3051, 3080)');
}

# Versions that this library does not know: one that was never released, and one to come
foreach my $version (1, 4)
{
	change_file('d_sparse', sub { bm25(0, 'version', $version) });
	fails_like($node, $_, qr/index "d_sparse" has format version $version at block 0, but this library reads versions 2 to 3.*\n.*REINDEX/, "bm25 version $version: $_")
		foreach q{SELECT piramid_bm25_info('d_sparse')}, 'CALL add_rows(6001, 6001)', q{SELECT piramid_bm25_merge('d_sparse')},
		q{SET enable_seqscan = off; SELECT id FROM d ORDER BY s <#> '{1:1}/50' LIMIT 1};
	is($node->safe_psql('postgres', q{SELECT severity FROM piramid_check('d_sparse', true)}), 'error', "bm25 version $version: the check tells");
	$node->safe_psql('postgres', 'REINDEX INDEX d_sparse');
	bm25_sound('d_sparse', "version $version, after REINDEX");
}

# What was damaged above is built again.
$node->safe_psql('postgres', 'REINDEX INDEX t_idx');
check_and_stop($node);
done_testing();
