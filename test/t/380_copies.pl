# Copies of a server have the same indexes: recovered to a point in time, put together
# from incremental backups, rewound, replicated row by row, and upgraded by pg_upgrade.
# PIRAMID_OLD_BINDIR names the programs of an older server that has the extension, to
# upgrade from; else pg_upgrade is given two servers of one version.  Collections go with
# pg_upgrade, too: with what is embedded, and what still waits.
#
# By version, on 17: incremental backups, pg_upgrade from 15.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Kinds;
use Library;

my @kinds = qw(bits compact keys sparse wide words);
my $primary = piramid_node('copied',
	init => [ allows_streaming => 'logical', has_archiving => 1 ],
	conf => "autovacuum = off\nwal_log_hints = on\nwal_keep_size = '1GB'");
my $version = $primary->pg_version;

$primary->append_conf('postgresql.conf', 'summarize_wal = on'), $primary->reload if $version >= 17;
create_kinds($primary, 100, @kinds);

# Changes of all kinds; each call makes others.
my $batch = 0;
sub change
{
	my ($node) = @_;
	$batch++;
	$node->safe_psql('postgres', $_) foreach map {
		("UPDATE $_ SET n = n + 5000, v = make_$_(n + 5000) WHERE id % 7 = $batch", "UPDATE $_ SET a = a + 1 WHERE id % 5 = $batch",
			"DELETE FROM $_ WHERE id % 11 = $batch", "VACUUM (INDEX_CLEANUP on) $_",
			some_rows($_, $_, 1, map { 20_000 + 100 * $batch + $_ } 1 .. 20))
	} @kinds;
}

sub rows_of { my ($node) = @_; return $node->safe_psql('postgres', join ' UNION ALL ', map { "SELECT '$_', count(*), sum(hashint8(id + n * 31 + a))::text FROM $_" } @kinds) }

sub is_whole
{
	my ($node, $rows, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(rows_of($node), $rows, "$name: its rows");
	is(join('', map { wrong_answers($node, $_) } @kinds), '', "$name: its indexes");
}

$primary->backup('full');
change($primary);
my $then = rows_of($primary);
$primary->safe_psql('postgres', "SELECT pg_create_restore_point('then')");
change($primary);

# A point in time, between two batches
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
my $copy = PostgreSQL::Test::Cluster->new('then');
$copy->init_from_backup($primary, 'full', has_restoring => 1);
$copy->append_conf('postgresql.conf', "recovery_target_name = 'then'\nrecovery_target_action = 'promote'");
$copy->start;
$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no promotion';
is_whole($copy, $then, 'a point in time');
change($copy);
is_whole($copy, rows_of($copy), 'a point in time, changed');
check_and_stop($copy);

# An incremental backup holds the blocks that WAL summaries name.
SKIP:
{
	skip "incremental backups need PostgreSQL 17, this is $version", 2 if $version < 17;
	$primary->backup('more', backup_options => [ '--incremental', $primary->backup_dir . '/full/backup_manifest' ]);
	$copy = PostgreSQL::Test::Cluster->new('combined');
	$copy->init_from_backup($primary, 'more', combine_with_prior => ['full']);
	$copy->start;
	is_whole($copy, rows_of($primary), 'an incremental backup');
	$copy->stop;
}

# The standby becomes the primary while the old one goes on; then that is rewound.
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'full', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
$standby->promote;
change($standby);
change($primary);
change($primary);
$primary->stop;
my $conf = $primary->data_dir . '/postgresql.conf';
my $kept = slurp_file($conf);
$standby->safe_psql('postgres', 'CHECKPOINT');
command_ok([ 'pg_rewind', '--no-sync', '--source-server', $standby->connstr('postgres'), '--target-pgdata', $primary->data_dir ], 'pg_rewind');
unlink $conf;
append_to_file($conf, $kept);
$primary->enable_streaming($standby);
$primary->start;
$standby->wait_for_catchup($primary, 'replay', $standby->lsn('insert'));
is_whole($primary, rows_of($standby), 'rewound');
$primary->stop;

# Rows replicated one by one, into indexes that are there, in another database of the
# same server
$standby->safe_psql('postgres', $_) foreach 'CREATE PUBLICATION all_kinds FOR TABLE ' . join(', ', @kinds), 'CREATE DATABASE subscriber TEMPLATE template0';
my ($definitions) = run_command([ 'pg_dump', '--schema-only', '--no-publications', $standby->connstr('postgres') ]);
$standby->safe_psql('subscriber', $definitions);
$standby->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('all_kinds', 'pgoutput')");
$standby->safe_psql('subscriber', "CREATE SUBSCRIPTION s CONNECTION \$\$" . $standby->connstr('postgres') . "\$\$ PUBLICATION all_kinds WITH (create_slot = false, slot_name = 'all_kinds')");
$standby->wait_for_subscription_sync($standby, 's', 'subscriber');
change($standby);
$standby->wait_for_catchup('s');
is(rows_of($standby), $standby->safe_psql('subscriber', join ' UNION ALL ', map { "SELECT '$_', count(*), sum(hashint8(id + n * 31 + a))::text FROM $_" } @kinds), 'replicated rows');
is(join('', map { wrong_answers($standby, $_, database => 'subscriber') } @kinds), '', 'replicated: indexes');
$standby->safe_psql('subscriber', 'DROP SUBSCRIPTION s');

# pg_upgrade, from another version where there is one
SKIP:
{
	my ($bindir, $libdir) = map { $primary->config_data($_) } qw(--bindir --pkglibdir);
	skip 'pg_upgrade of 18 and later looks for libraries in the system alone', 8
	  if $version >= 18 && !-e "$libdir/piramid.so";
	my $old = $standby;
	my $old_bindir = $ENV{PIRAMID_OLD_BINDIR};
	if ($old_bindir)
	{
		$old = PostgreSQL::Test::Cluster->new('old', install_path => "$old_bindir/..");
		local $ENV{TEMP_CONFIG};	# settings for the new one
		$old->init(extra => $version >= 18 ? [ '--data-checksums' ] : []);	# as the new one is
		$old->start;
		create_kinds($old, 100, @kinds);
		change($old);
	}
	my $rows = rows_of($old);
	create_library($old);
	my ($registered, $found) = map { $old->safe_psql('library', $_) } $registry, $searches;
	my $new = PostgreSQL::Test::Cluster->new('new');
	$new->init;
	$old->stop;
	command_ok([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old_bindir // $bindir, '-B', $bindir,
			'-p', $old->port, '-P', $new->port, '-s', $new->host, '-U', $ENV{PGUSER} // (getpwuid($<))[0] ],
		'pg_upgrade ' . ($old_bindir ? "from $old_bindir" : 'of one version'));
	$new->start;
	is_whole($new, $rows, 'upgraded');
	change($new);
	is_whole($new, rows_of($new), 'upgraded, changed');
	is($new->safe_psql('library', $registry), $registered, 'upgraded: collections');
	is($new->safe_psql('library', $searches), $found, 'upgraded: their searches');
	is($new->safe_psql('library', $life), $lived, 'upgraded: their queue and triggers go on, and nothing is embedded twice');
	check_and_stop($new);
}
done_testing();
