# Dumps go from pgvector to piramid and back: changed in one word, or unchanged
# with the extension "vector" that is piramid.

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
sub control { return -e "$files/vector.control" ? slurp_file("$files/vector.control") : 'none' }

is(control(), 'none', 'make install brings no extension "vector"');
append_to_file("$files/vector.control", "module_pathname = '\$libdir/vector'\n");
append_to_file("$files/vector--0.8.0.sql", "-- theirs\n");
my ($ok, $output) = follow('install-compat', %make);
ok(!$ok, 'files of another package: refused');
like($output, qr/vector\.control is of another package.*FORCE=1/s, 'and told how to force it');
like(control(), qr/libdir.vector/, 'they stay');
($ok) = follow('install-compat', %make, FORCE => 1);
ok($ok, 'FORCE=1 replaces them');
like(control(), qr/libdir.piramid/, 'by ours');
($ok) = follow('install-compat', %make);
ok($ok, 'installing again needs no force');
system_or_bail('env', "DESTDIR=$destdir", 'make', '-s', 'PG_CONFIG=pg_config', 'uninstall-vector-compat');
like(control(), qr/libdir.vector/, 'uninstalled: theirs are back');
is(slurp_file("$files/vector--0.8.0.sql"), "-- theirs\n", 'with their scripts');
is_deeply([ grep { !m{/vector(--0\.8\.0\.sql|\.control)$} } glob "$files/vector*" ], [], 'and none of ours remain');
unlink "$files/vector.control", "$files/vector--0.8.0.sql";
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

fresh($new, 'form');
$new->safe_psql('form', q{CREATE ROLE maker LOGIN; GRANT ALL ON DATABASE form TO maker; GRANT ALL ON SCHEMA public TO maker});
is($new->safe_psql('form', q{SET ROLE maker; CREATE EXTENSION vector; SELECT '[1]'::vector}), '[1]',
	'whoever may create in the database may create it');

# The name alone, beside piramid.
fresh($new, 'pair');
is($new->safe_psql('pair', q{CREATE EXTENSION piramid; CREATE EXTENSION IF NOT EXISTS vector; SELECT '[1]'::vector}), '[1]',
	'beside the extension piramid');
foreach my $time ('again', 'and again')
{
	($ok) = follow('name', DB => $new->connstr('pair'));
	ok($ok, "the documented statement, $time");
}
my ($status, undef, $error) = $new->psql('pair', 'DROP EXTENSION piramid');
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

	# What pgvector's databases must not do with these files.
	my $conf = compat_conf($old, $destdir);
	$old->append_conf('postgresql.conf', $conf);
	$old->restart;
	($status, undef, $error) = $old->psql('shop', "ALTER EXTENSION vector UPDATE TO '0.7.4'");
	like($error, qr/extension "vector" of this database is pgvector/, 'ALTER EXTENSION UPDATE of a pgvector database');
	is(contents($old, 'shop'), $contents, 'which goes on');
}

$old->stop;
$new->stop;
done_testing();
