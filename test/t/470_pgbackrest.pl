# pgBackRest: a full backup while clients write, an incremental one, recovery to a point in
# time and to the end.  What is restored has the same rows, finds the same nearest ones, and
# works on.
#
# Needs the Debian package pgbackrest.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Kinds;
use Piramid;

plan skip_all => 'pgbackrest is not installed' if system('pgbackrest version >/dev/null 2>&1');

my @kinds = qw(compact keys sparse words);
my $root = PostgreSQL::Test::Utils::tempdir();
my $conf = "$root/pgbackrest.conf";
my @pgbackrest = ('pgbackrest', "--config=$conf", '--stanza=piramid');
my $node = piramid_node('saved', conf => qq{
	autovacuum = off
	wal_level = replica
	max_wal_senders = 4
	archive_mode = on
	archive_command = 'pgbackrest --config=$conf --stanza=piramid archive-push "%p"'
});

mkdir "$root/$_" foreach qw(repo log lock spool);
append_to_file($conf, join "\n", '[global]', "repo1-path=$root/repo", "log-path=$root/log", "lock-path=$root/lock", "spool-path=$root/spool",
	'start-fast=y', 'compress-level=1', '[piramid]', 'pg1-path=' . $node->data_dir, 'pg1-port=' . $node->port,
	'pg1-socket-path=' . $node->host, 'pg1-user=' . (getpwuid($<))[0], '');
create_kinds($node, 100, @kinds);
command_ok([ @pgbackrest, 'stanza-create' ], 'a stanza');

# Changes of all kinds; each call makes others.
my $batch = 0;
sub changes
{
	$batch++;
	return map {
		("UPDATE $_ SET n = n + 5000, v = make_$_(n + 5000) WHERE id % 7 = $batch % 7", "UPDATE $_ SET a = a + 1 WHERE id % 5 = $batch % 5",
			"DELETE FROM $_ WHERE id % 41 = $batch % 41", "VACUUM (INDEX_CLEANUP on) $_", some_rows($_, $_, 1, map { 20_000 + 100 * $batch + $_ } 1 .. 5))
	} @kinds;
}

# The rows, and the nearest of some of them
sub rows_of { my ($server) = @_; return $server->safe_psql('postgres', join ' UNION ALL ', map { "SELECT '$_', count(*), sum(hashint8(id + n * 31 + a))::text FROM $_" } @kinds) }
sub nearest
{
	my ($server) = @_;
	return $server->safe_psql('postgres', 'SET enable_seqscan = off;' . join ';', map {
		my ($op, $own) = ($kind{$_}{op}, "own_$_(q.n)");
		"SELECT '$_', q.id, (SELECT string_agg(x.id || ':' || x.d, ' ') FROM (SELECT y.id, y.v $op $own AS d FROM $_ AS y ORDER BY y.v $op $own LIMIT 10) AS x)
		FROM (SELECT id, n FROM $_ ORDER BY id LIMIT 20) AS q"
	} @kinds);
}

# A server whose files were restored so
sub restored
{
	my ($name, @options) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);

	mkdir $copy->basedir;
	mkdir $copy->data_dir, 0700;
	command_ok([ @pgbackrest, '--pg1-path=' . $copy->data_dir, @options, 'restore' ], "$name: restored");
	$copy->append_conf('postgresql.conf', 'port = ' . $copy->port . "\narchive_mode = off\nunix_socket_directories = '" . $copy->host . "'");
	$copy->start;
	$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no promotion';
	return $copy;
}

sub is_whole
{
	my ($server, $rows, $nearest, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(rows_of($server), $rows, "$name: its rows");
	is(nearest($server), $nearest, "$name: the nearest rows") if defined $nearest;
	is(join('', map { wrong_answers($server, $_, share => 7) } @kinds), '', "$name: its indexes");
}

# Clients write from before the backup begins until after it has ended.
my @output = ('') x 2;
my @clients = map { start_sql($node, join(";\n", map { changes() } 1 .. 150) . ";\n", \$output[$_]) } 0 .. 1;
my $before = $node->lsn('insert');
$node->poll_query_until('postgres', "SELECT pg_current_wal_insert_lsn() > '$before'::pg_lsn + 100000") or die 'nobody writes';
command_ok([ @pgbackrest, '--type=full', 'backup' ], 'a full backup while clients write');
$_->pump_nb foreach grep { $_->pumpable } @clients;
ok((grep { $_->pumpable } @clients) > 0, 'they still do');
$_->kill_kill foreach @clients;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()") or die 'clients are left';

$node->safe_psql('postgres', $_) foreach changes();
my ($rows, $nearest) = (rows_of($node), nearest($node));
$node->safe_psql('postgres', "SELECT pg_create_restore_point('then')");
$node->safe_psql('postgres', $_) foreach changes();
command_ok([ @pgbackrest, '--type=incr', 'backup' ], 'an incremental backup');
$node->safe_psql('postgres', $_) foreach changes();
my ($last_rows, $last_nearest) = (rows_of($node), nearest($node));
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');

my ($sets) = run_command([ @pgbackrest, '--output=json', 'info' ]);
my ($full) = $sets =~ /"label":"(\d{8}-\d{6}F)"/ or die "no full backup: $sets";
my $copy = restored('then', "--set=$full", '--type=name', '--target=then', '--target-action=promote');
is_whole($copy, $rows, $nearest, 'a point in time');
$copy->safe_psql('postgres', $_) foreach changes();
is_whole($copy, rows_of($copy), undef, 'a point in time, changed');
check_and_stop($copy);

$copy = restored('last');
is_whole($copy, $last_rows, $last_nearest, 'to the end');
check_and_stop($copy);
is_whole($node, $last_rows, $last_nearest, 'the server itself');
check_and_stop($node);
done_testing();
