# A live database moves from pgvector to piramid and back, without a dump, by
# the commands of the documentation.
#
# By version, on 18: the catalogs; pgvector is packaged from 17 on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Move;

my $node = without_extension('live', "maintenance_work_mem = '256MB'\nrestart_after_crash = on");
plan skip_all => 'this server has no pgvector 0.7 or later' unless pgvector_version($node);

create_shop($node, 'shop');
$node->safe_psql('postgres', 'CREATE DATABASE other TEMPLATE shop');
$node->safe_psql('postgres', 'CREATE DATABASE fresh_pgvector');
$node->safe_psql('fresh_pgvector', 'CREATE EXTENSION vector');
$node->safe_psql('postgres', 'CREATE DATABASE fresh_piramid');
$node->safe_psql('fresh_piramid', 'CREATE EXTENSION piramid');
my $contents = contents($node, 'shop');
my $indexes = index_definitions($node, 'shop');
my $oids = q{SELECT string_agg(attrelid || ' ' || atttypid, ',' ORDER BY attrelid, attnum) FROM pg_attribute WHERE attrelid IN ('words'::regclass, 'parts'::regclass, 'far'::regclass)};
my $types = $node->safe_psql('shop', $oids);
my %at = (DB => $node->connstr('shop'));
my ($ok, $output);

sub refuses
{
	my ($target, $before, $message, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $plan = "SELECT string_agg(object, E'\n') FROM piramid_move.plan('$target') WHERE action = 'refuse'";

	like($node->safe_psql('shop', "BEGIN; $before; $plan; ROLLBACK"), $message, "$name: in the dry run");
	my ($status, undef, $error) = $node->psql('shop', "BEGIN; $before; SELECT piramid_move.move('$target')");
	like($error, qr/this database cannot be moved to $target/, "$name: refused");
	like($error, $message, "$name: and why");
}

($ok) = follow('prepare', %at);
ok($ok, 'CREATE EXTENSION piramid_move');

# The dry run.
my $state = $node->safe_psql('shop', 'SELECT max(xmin::text::bigint) FROM pg_depend') . members($node, 'shop');
($ok, $output) = follow('plan', %at);
ok($ok, 'dry run');
like($output, qr/keep +\| type vector\n/, 'it lists what stays');
like($output, qr/replace +\| function l2_distance\(vector,vector\)\n/, 'what is replaced');
like($output, qr/create +\| function piramid_version\(\)/, 'what is new');
like($output, qr/drop +\| function hnswhandler\(internal\)\n/, 'what goes');
like($output, qr/rebuild +\| index public\.by_lists using ivfflat\n/, 'and what is to be rebuilt');
like($output, qr/rebuild +\|.*drop +\|.*create +\|.*replace +\|.*keep +\|/s, 'what matters most comes first');
unlike($output, qr/refuse/, 'nothing stands in the way');
is($node->safe_psql('shop', 'SELECT max(xmin::text::bigint) FROM pg_depend') . members($node, 'shop'), $state,
	'the dry run changes nothing');

# What it refuses.
refuses('piramid', 'CREATE FUNCTION l2_norm(vector) RETURNS float8 LANGUAGE sql AS $$SELECT 1.0::float8$$',
	qr/function l2_norm\(vector\) is there, but not part of extension vector/, 'a function of the user');
refuses('piramid', "UPDATE pg_extension SET extversion = '0.4.4' WHERE extname = 'vector'",
	qr/version 0\.4\.4 of pgvector is not known/, 'an unknown version');
refuses('piramid', 'CREATE OPERATOR CLASS mine FOR TYPE vector USING hnsw AS OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops, FUNCTION 1 vector_l2_squared_distance(vector, vector)',
	qr/operator class public\.mine for access method hnsw, of no extension/, 'an operator class of the user');
refuses('pgvector', '', qr/piramid is not in this database/, 'the wrong way');
my ($status, $stdout, $error) = $node->psql('shop', "SELECT * FROM piramid_move.plan('nothing')");
like($error, qr/the target is 'piramid' or 'pgvector'/, 'an unknown target');
($status, $stdout, $error) = $node->psql('shop',
	q{CREATE ROLE someone; SET ROLE someone; SELECT piramid_move.move('piramid')});
like($error, qr/permission denied/, 'not everybody may');
my $holder = $node->background_psql('shop');
$holder->query_safe('BEGIN; SELECT count(*) FROM words');
($status, $stdout, $error) = $node->psql('shop', q{SET lock_timeout = '50ms'; SELECT piramid_move.move('piramid')});
like($error, qr/lock timeout/, 'a busy table: it gives up');
$holder->query_safe('COMMIT');
is(members($node, 'shop'), members($node, 'fresh_pgvector'), 'and nothing has changed');

# The move, seen from a session that has pgvector's library and caches.
my $nearest = 'SELECT nearest(v) FROM words WHERE id = 99';
is($holder->query_safe($nearest), 99, 'a session that uses pgvector');
($ok, $output) = follow('move', %at);
ok($ok, 'the move');
like($output, qr/INFO:  this database has piramid now; 11 indexes have to be rebuilt\nHINT:  .*piramid_move\.reindex/,
	'it says what comes next');
is($holder->query_safe($nearest), 99, 'that session goes on');
is(members($node, 'shop'), members($node, 'fresh_piramid'), 'everything is as CREATE EXTENSION piramid makes it');
is($node->safe_psql('shop', $oids), $types, 'columns keep their types');
is(contents($node, 'shop'), $contents, 'rows stay');
is(index_definitions($node, 'shop'), $indexes, 'index definitions stay');
my $pending = "SELECT count(*) FROM piramid_move.reindex";
is($node->safe_psql('shop', $pending), 11, 'all vector indexes wait for REINDEX');
is($node->safe_psql('shop', "SET enable_seqscan = off; $nearest"), 99, 'searches do without them');
$node->safe_psql('shop', 'INSERT INTO words (id, v) SELECT id + 10000, v FROM words WHERE id <= 20');

# A crash before anything was rebuilt.
crash($node);
eval { $holder->quit };
is($node->safe_psql('shop', 'DELETE FROM words WHERE id > 10000 RETURNING 1') =~ tr/1//, 20, 'after a crash: rows are there');
is($node->safe_psql('shop', $pending), 11, 'after a crash: the list is there');

# A file of pgvector's is never taken for one of ours.
foreach my $sql ('SET enable_seqscan = off; SET enable_sort = off; SELECT id FROM words ORDER BY v <=> (SELECT v FROM words WHERE id = 1) LIMIT 1',
	'INSERT INTO words (id, v) SELECT 20000, v FROM words WHERE id = 1')
{
	($status, $stdout, $error) = $node->psql('shop', "BEGIN;
		UPDATE pg_index SET indisvalid = true, indisready = true WHERE indexrelid = 'by_cosine'::regclass; $sql");
	like($error, qr/index "by_cosine" has a foreign page.*REINDEX/s, 'an index that was not rebuilt');
}

# Rebuilding beside a writer.
my $writer = start_sql($node, join('', map {
		"\\c shop\nUPDATE words SET lexname = lexname || '' WHERE id = $_;\nINSERT INTO words (id, v) SELECT 30000 + id, v FROM words WHERE id = $_;\nDELETE FROM words WHERE id = 30000 + $_;\n"
} 1 .. 60));
($ok) = follow('rebuild', %at);
ok($ok, 'rebuilt');
ok($writer->finish, 'beside a writer');
is($node->safe_psql('shop', $pending), 0, 'nothing remains');
($ok, $output) = follow('check', %at);
ok($ok, 'check');
like($output, qr/piramid +\| \d+\.\d+\.\d+.*\n not_usable \n-+\n\(0 rows\)/s, 'piramid, and all indexes usable');
is(contents($node, 'shop'), $contents, 'rows stay');
answers_well($node, 'shop', 'moved');
is_sound($node, 'moved');
($ok, $output) = follow('leftover', %at);
is($output, "0\n", 'nothing of pgvector is left');
is($node->safe_psql('shop', "SELECT (piramid_hnsw_info('by_lists')).nodes"), 2000, 'an ivfflat index is an hnsw index');

# The other database has not noticed.
is(members($node, 'other'), members($node, 'fresh_pgvector'), 'another database keeps pgvector');
answers_well($node, 'other', 'another database');

# Back, also in a session that has loaded piramid's library: on PostgreSQL 18 every session
# is one, because to plan a comparison of integers the server asks each access method that
# has it in an operator family.
($status, $stdout, $error) = $node->psql('shop', q{BEGIN; SELECT '[1]'::vector; SET search_path = piramid_move;
	SELECT move('pgvector'); ROLLBACK});
is($status, 0, 'back in a session with the library') or diag($error);
answers_well($node, 'shop', 'still moved');
refuses('pgvector', 'CREATE VIEW norms AS SELECT l2_norm(v) FROM words',
	qr/rule _RETURN on view norms depends on function l2_norm\(vector\), which pgvector lacks/, 'a view on what pgvector lacks');
$node->safe_psql('shop', q{CREATE TABLE large (v vector(3000)); CREATE INDEX ON large USING hnsw (v vector_l2_ops)});
refuses('pgvector', '', qr/index public\.large_v_idx has 3000 dimensions, and pgvector indexes at most 2000 of vector/, 'dimensions');
$node->safe_psql('shop', 'DROP TABLE large');
($ok) = follow('back', %at);
ok($ok, 'back');
is(members($node, 'shop'), members($node, 'fresh_pgvector'), 'back: everything is as CREATE EXTENSION vector makes it');
is(contents($node, 'shop'), $contents, 'back: rows stay');
is(index_definitions($node, 'shop'), $indexes, 'back: index definitions stay');
is($node->safe_psql('shop', $pending), 0, 'back: nothing remains');
answers_well($node, 'shop', 'back');

check_and_stop($node);
done_testing();
