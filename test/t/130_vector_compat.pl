# Dumps go from pgvector to piramid and back: changed in one word, or unchanged
# with the extension "vector" that is piramid.
#
# By version, on 18: where a server finds extensions; pgvector is packaged from 17 on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Move;

my $old = without_extension('old', "maintenance_work_mem = '256MB'");
my ($destdir, $files) = compat_directory($old);
plan skip_all => 'extensions cannot be installed for one server only' unless $destdir;
my $pgvector = pgvector_version($old);
my $dumps = PostgreSQL::Test::Utils::tempdir;

# The files: beside nothing, in the place of pgvector's, and away again.

my %make = (DESTDIR => $destdir, PG_CONFIG => 'pg_config', FORCE => '');
my $library = $destdir . $old->config_data('--pkglibdir') . '/vector.so';
sub control { return -e "$files/vector.control" ? slurp_file("$files/vector.control") : 'none' }

is(control(), 'none', 'make install brings no extension "vector"');
append_to_file("$files/vector.control", "module_pathname = '\$libdir/vector'\n");
append_to_file("$files/vector--0.8.0.sql", "-- theirs\n");
append_to_file($library, "theirs\n");
my ($ok, $output) = follow('install-compat', %make);
ok(!$ok, 'files of another package: refused');
like($output, qr/vector\.control is of another package.*FORCE=1/s, 'and told how to force it');
like(control(), qr/libdir.vector/, 'they stay');
($ok, $output) = follow('install-compat', %make, FORCE => 1);
ok($ok, 'FORCE=1 replaces them');
like(control(), qr/libdir.piramid/, 'by ours');
like($output, qr/vector\.so stays/, 'but not their library');
is(slurp_file($library), "theirs\n", 'which databases with pgvector need');
($ok) = follow('install-compat', %make);
ok($ok, 'installing again needs no force');
my @uninstall = ('env', "DESTDIR=$destdir", 'make', '-s', 'PG_CONFIG=pg_config', 'uninstall-vector-compat');
system_or_bail(@uninstall);
like(control(), qr/libdir.vector/, 'uninstalled: theirs are back');
is(slurp_file("$files/vector--0.8.0.sql"), "-- theirs\n", 'with their scripts');
is_deeply([ grep { !m{/vector(--0\.8\.0\.sql|\.control)$} } glob "$files/vector*" ], [], 'and none of ours remain');
is(slurp_file($library), "theirs\n", 'their library has stayed');
unlink "$files/vector.control", "$files/vector--0.8.0.sql", $library;
foreach my $time ('first', 'second')
{
	($ok, $output) = follow('install-compat', %make);
	ok($ok, "install, the $time time");
	unlike($output, qr/stays/, 'without a remark');
	is(readlink($library), 'piramid.so', 'the library is a link to ours');
}
system_or_bail(@uninstall);
ok(!-l $library, 'uninstalled: the link is gone');
($ok) = follow('install-compat', %make);
ok($ok, 'install');

# CREATE EXTENSION in every form that dumps, migrations and frameworks use.

my $new = without_extension('new', "maintenance_work_mem = '256MB'\n" . compat_conf($old, $destdir));

sub fresh
{
	my ($node, $database) = @_;
	$node->safe_psql('postgres', "DROP DATABASE IF EXISTS $database");
	$node->safe_psql('postgres', "CREATE DATABASE $database");
}

my %forms = (
	'CREATE EXTENSION vector' => 'public',
	'CREATE EXTENSION IF NOT EXISTS vector' => 'public',
	'CREATE EXTENSION IF NOT EXISTS "vector" WITH SCHEMA public' => 'public',
	'CREATE EXTENSION vector CASCADE' => 'public',
	'CREATE SCHEMA x; CREATE EXTENSION vector SCHEMA x' => 'x',
	"CREATE EXTENSION vector VERSION '0.8.0'" => 'public',
	"CREATE EXTENSION vector VERSION '0.7.4'" => 'public',
	"CREATE EXTENSION vector VERSION '0.8.6'; ALTER EXTENSION vector UPDATE" => 'public');
foreach my $form (sort keys %forms)
{
	fresh($new, 'form');
	is($new->safe_psql('form', "$form; SELECT '[1,2]'::$forms{$form}.vector OPERATOR($forms{$form}.<->) '[1,3]', $forms{$form}.piramid_version() <> ''"),
		'1|t', $form);
}
is($new->safe_psql('form', "CREATE EXTENSION IF NOT EXISTS vector;
	ALTER EXTENSION vector SET SCHEMA pg_catalog; SELECT '[1]'::pg_catalog.vector"), '[1]', 'SET SCHEMA moves the types');

my ($status, $error);
fresh($new, 'form');
$new->safe_psql('form', q{CREATE ROLE maker LOGIN; GRANT ALL ON DATABASE form TO maker; GRANT ALL ON SCHEMA public TO maker});
is($new->safe_psql('form', q{SET ROLE maker; CREATE EXTENSION vector; SELECT '[1]'::vector}), '[1]',
	'whoever may create in the database may create it');

# The objects of the same names, under the other name.
($status, undef, $error) = $new->psql('form', 'CREATE EXTENSION piramid');
like($error, qr/ERROR:  this database has piramid already, as extension "vector"/, 'CREATE EXTENSION piramid beside it');
$new->safe_psql('form', 'CREATE EXTENSION piramid_move');
is($new->safe_psql('form', q{SELECT count(*) FROM piramid_move.statements('piramid') WHERE statement LIKE 'DO %'}), 0,
	'the move leaves that check out');
is($new->safe_psql('form', q{SELECT count(*) > 200 FROM piramid_move.statements('piramid')}), 't', 'and nothing else');
$new->safe_psql('form', 'DROP EXTENSION piramid_move');

# Deployments name pgvector's library where settings are wanted before the first
# use.  Both names are one library, which a session loads once.
my $use = q{SELECT '[1]'::vector <-> '[2]'; SHOW hnsw.ef_search; SHOW ivfflat.probes;};
is($new->safe_psql('form', "LOAD 'vector'; SHOW ivfflat.probes; LOAD 'piramid'; $use LOAD 'vector'"), "1\n1\n40\n1",
	'LOAD, then the extension');
is($new->safe_psql('form', "$use LOAD 'piramid'; LOAD 'vector'; $use"), "1\n40\n1\n1\n40\n1", 'the extension, then LOAD');
$new->safe_psql('form', 'GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE ROLE plain LOGIN');
my $define = q{SET ROLE plain; CREATE FUNCTION probe() RETURNS text LANGUAGE sql
	SET ivfflat.probes = 10 SET hnsw.ef_search = 20 AS $$ SELECT current_setting('ivfflat.probes') $$;
	ALTER ROLE plain SET hnsw.ef_search = 30; SELECT probe(); DROP FUNCTION probe();};
($status, undef, $error) = $new->psql('form', $define);
like($error, qr/permission denied to set parameter "ivfflat.probes"/, 'before the library is loaded, only superusers store settings');
foreach my $setting (qw(session_preload_libraries shared_preload_libraries))
{
	foreach my $name (qw(vector piramid vector,piramid))
	{
		$new->append_conf('postgresql.conf', "$setting = '$name'");
		$new->restart;
		is($new->safe_psql('form', $define), 10, "$setting = '$name': everybody stores them");
		($ok, $output) = follow('preload', DB => $new->connstr('form'));
		like($output, $name =~ /vector/ ? qr/$setting *\| \Q$name\E/ : qr/\(0 rows\)/, 'the documented look at it');
		is($new->safe_psql('form', "SHOW hnsw.ef_search; $use"), "40\n1\n40\n1", 'and the extension works');
		is($new->safe_psql('form', q{CREATE TABLE t AS SELECT ARRAY[i, i * i]::vector(2) AS v FROM generate_series(1, 2000) AS i;
			SET maintenance_work_mem = '64MB'; SET min_parallel_table_scan_size = 0; ALTER TABLE t SET (parallel_workers = 1);
			CREATE INDEX ON t USING hnsw (v vector_l2_ops);
			SET enable_seqscan = off; SELECT v FROM t ORDER BY v <-> '[3,9]' LIMIT 1; DROP TABLE t}), '[3,9]', 'with an index');
	}
	$new->append_conf('postgresql.conf', "$setting = ''");
}
$new->restart;

# The name alone, beside piramid.
fresh($new, 'pair');
is($new->safe_psql('pair', q{CREATE EXTENSION piramid; CREATE EXTENSION IF NOT EXISTS vector; SELECT '[1]'::vector}), '[1]',
	'beside the extension piramid');
foreach my $time ('again', 'and again')
{
	($ok) = follow('name', DB => $new->connstr('pair'));
	ok($ok, "the documented statement, $time");
}
($status, undef, $error) = $new->psql('pair', 'DROP EXTENSION piramid');
like($error, qr/extension vector depends on extension piramid/, 'which stays while the name is there');
($status, undef, $error) = $new->psql('pair',
	'DROP EXTENSION vector; CREATE SCHEMA y; CREATE EXTENSION vector SCHEMA y');
like($error, qr/WARNING:  the types of extension "vector" are those of extension "piramid" in schema public/,
	'another schema: a warning');
$new->command_ok([ 'pg_dump', '-Fc', '-f', "$dumps/pair", '-d', $new->connstr('pair') ], 'dump of both');
fresh($new, 'pair_back');
$new->command_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('pair_back'), "$dumps/pair" ], 'restore of both');
is($new->safe_psql('pair_back', q{SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension}), 'piramid plpgsql vector',
	'both are there');

SKIP:
{
	skip 'this server has no pgvector 0.7 or later', 1 unless $pgvector;
	create_shop($old, 'shop');
	($status, undef, $error) = $old->psql('shop', 'CREATE SCHEMA other; CREATE EXTENSION piramid SCHEMA other');
	like($error, qr/ERROR:  this database has pgvector, .*HINT:  .*migrate-from-pgvector/s,
		'CREATE EXTENSION piramid beside pgvector');
	$old->safe_psql('shop', 'DROP SCHEMA other');
	my $contents = contents($old, 'shop');
	my $indexes = index_definitions($old, 'shop');
	my %at = (directory => $dumps, OLD => $old->connstr('shop'), NEW => $new->connstr('moved'), BACK => $old->connstr('back'));

	my $same = sub {
		my ($node, $database, $library, $name) = @_;
		is(contents($node, $database), $contents, "$name: same rows");
		is(index_definitions($node, $database), $indexes, "$name: same indexes");
		is($node->safe_psql($database, q{SELECT probin FROM pg_proc WHERE proname = 'vector_in'}),
			"\$libdir/$library", "$name: the library");
		answers_well($node, $database, $name) if $library eq 'piramid';
	};

	# What \dx says of an extension, and what its control file does.
	my $description = sub {
		my ($node, $database) = @_;
		return $node->safe_psql($database, q{SELECT description FROM pg_description
			JOIN pg_extension e ON classoid = 'pg_extension'::regclass AND objoid = e.oid WHERE extname IN ('vector', 'piramid')});
	};

	foreach my $way ([ 'unchanged', 'restore-unchanged', 'restore-back' ], [ 'changed in one word', 'dump', 'dump-back' ])
	{
		my ($name, $there, $back) = @$way;

		fresh($new, 'moved');
		fresh($old, 'back');
		($ok) = follow($there, %at);
		ok($ok, "$name: commands");
		($ok) = follow('restore', %at) if $there eq 'dump';
		ok($ok, "$name: restored");
		$same->($new, 'moved', 'piramid', "$name, there");
		follow('comment', %at) if $there eq 'restore-unchanged';
		my ($says) = slurp_file($there eq 'dump' ? 'piramid.control' : 'compat/vector.control') =~ /^comment = '(.*)'$/m;
		is($description->($new, 'moved'), $says, "$name: the description of the extension");
		($ok) = follow($back, %at);
		ok($ok, "$name: back");
		$same->($old, 'back', 'vector', "$name, back");
	}

	# A plain dump, unchanged, that creates the database itself, from template0.
	$old->command_ok([ 'pg_dump', '-C', '-f', "$dumps/plain.sql", '-d', $old->connstr('shop') ], 'plain dump');
	$new->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $new->connstr('postgres'), '-f', "$dumps/plain.sql" ],
		'plain restore');
	is(contents($new, 'shop'), $contents, 'plain: same rows');
	is(index_definitions($new, 'shop'), $indexes, 'plain: same indexes');

	# What pgvector's databases must not do with these files.  (Where pgvector's
	# library is in the same directory, the link was not made.)
	unlink $library;
	my $conf = compat_conf($old, $destdir);
	$old->append_conf('postgresql.conf', $conf);
	$old->restart;
	($status, undef, $error) = $old->psql('shop', "ALTER EXTENSION vector UPDATE TO '0.7.4'");
	like($error, qr/extension "vector" of this database is pgvector/, 'ALTER EXTENSION UPDATE of a pgvector database');
	is(contents($old, 'shop'), $contents, 'which goes on');
}

check_and_stop($old);
check_and_stop($new);
done_testing();
