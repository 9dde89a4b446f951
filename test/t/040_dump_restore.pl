# Dumps, plain and custom, and binary COPY bring back the same rows and a
# working index.
#
# By version: the catalogs and pg_dump.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('dump');
load_words($node);
$node->safe_psql(
	'postgres', q{
	CREATE INDEX words_v_idx ON words USING hnsw (v vector_cosine_ops) WITH (m = 24, ef_construction = 100);
	CREATE TABLE odd (id int, v vector);
	INSERT INTO odd VALUES (1, '[1]'), (2, NULL), (3, '[1e-45,-0,3.4028235e38]'), (4, '[0.1,0.2]');
	ALTER TABLE words ADD COLUMN nothing vector(3) DEFAULT '[1,2,3]';
});

my $contents = q{
	SELECT md5(string_agg(words::text, E'\n' ORDER BY id)), count(*) FROM words
	UNION ALL SELECT md5(string_agg(odd::text, E'\n' ORDER BY id)), count(*) FROM odd};
my $indexes = q{SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1};
my $search = q{
	SET enable_seqscan = off;
	SELECT id FROM words ORDER BY v <=> (SELECT v FROM words WHERE id = 17) LIMIT 5};
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", '-d', $node->connstr('postgres') ], 'plain dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", '-d', $node->connstr('postgres') ], 'custom dump');
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(plain custom copied);
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $node->connstr('plain') ],
	'plain restore');
$node->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', $node->connstr('custom'), "$dir/custom" ],
	'custom restore, two jobs');

foreach my $database (qw(plain custom))
{
	is($node->safe_psql($database, $contents), $node->safe_psql('postgres', $contents),
		"$database: same rows");
	is($node->safe_psql($database, $indexes), $node->safe_psql('postgres', $indexes),
		"$database: same index definitions");
	is($node->safe_psql($database, $search), $node->safe_psql('postgres', $search),
		"$database: the index answers");
	is($node->safe_psql($database, "SELECT test.reachable('words', '<=>')"),
		4106, "$database: the index is whole");
}

$node->safe_psql('postgres', "COPY odd TO '$dir/odd' (FORMAT binary)");
$node->safe_psql(
	'copied', qq{
	CREATE EXTENSION piramid;
	CREATE TABLE odd (id int, v vector);
	COPY odd FROM '$dir/odd' (FORMAT binary)});
is($node->safe_psql('copied', 'SELECT * FROM odd ORDER BY id'),
	$node->safe_psql('postgres', 'SELECT * FROM odd ORDER BY id'),
	'binary COPY: same rows');

# The extension goes, and takes its columns and indexes with it.
fails_like($node, 'DROP EXTENSION piramid', qr/other objects depend on it/, 'DROP EXTENSION is refused');
$node->safe_psql('postgres', 'DROP EXTENSION piramid CASCADE');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_am WHERE amname = 'hnsw'"), 0, 'DROP EXTENSION CASCADE');
is($node->safe_psql('postgres', 'SELECT count(*), count(lexname) FROM words'), '4106|4106', 'the rest of the table stays');

check_and_stop($node);
done_testing();
