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
use Worker;

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

# Collections in a database of their own: words by full text search, with a configuration
# of a user, and by bm25; chunks that wait, that a worker has, documents that are to be cut.
sub create_library
{
	my ($node) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE library TEMPLATE template0');
	$node->safe_psql('library', q{
		CREATE EXTENSION piramid;
		CREATE EXTENSION piramid_collections;
		CREATE TEXT SEARCH CONFIGURATION public."Plain" (COPY = simple);
		SELECT piramid.register_model('three', 'fake', 'm-3', 3, 100);
		SELECT piramid.create_collection('docs', 'three', text_config => 'public."Plain"', filter_columns => '{"lang": "text"}', chunking => '{"size": 40, "overlap": 0}');
		CREATE EXTENSION piramid_bm25;
		SELECT piramid.create_collection('ranked', 'three');
		SELECT piramid.create_collection('late', 'three', chunking => '{"deferred": true}');
		CREATE TABLE items (id int PRIMARY KEY, body text);
		SELECT piramid.attach_collection('items', 'body', 'three');
		INSERT INTO docs (body, metadata) SELECT format('This is document %s. It is short. It has three sentences.', n), jsonb_build_object('lang', n % 3) FROM generate_series(1, 20) AS n;
		INSERT INTO ranked (body) SELECT format('This is document %s.', n) FROM generate_series(1, 20) AS n;
		INSERT INTO items SELECT n, format('This is item %s.', n) FROM generate_series(1, 3) AS n;} . $worker . q{
		CALL work();
		INSERT INTO docs (body) VALUES ('This text is leased.');
		CREATE TABLE leased AS SELECT * FROM piramid.claim(lease => '1 day');
		INSERT INTO asked SELECT collection, version, chunk_id FROM leased;
		INSERT INTO docs (body) VALUES ('This text waits.');
		INSERT INTO late (body) VALUES ('This document is to be cut.')});
}

my $registry = q{
	SELECT to_jsonb(c)::text FROM piramid.collection AS c UNION ALL SELECT to_jsonb(v)::text FROM piramid.version AS v UNION ALL SELECT to_jsonb(m)::text FROM piramid.model AS m
	UNION ALL SELECT to_jsonb(s)::text FROM (SELECT collection, chunks, embedded, pending, leased, uncut, index_valid FROM piramid.collection_status) AS s ORDER BY 1};
my $searches = q{
	SELECT 'vector', string_agg(chunk_id::text, ' ') FROM piramid.search('docs', '[9,9,9]', filter => '{"lang": 1}')
	UNION ALL SELECT 'words', string_agg(chunk_id::text, ' ') FROM piramid.search('docs', query_text => 'document')
	UNION ALL SELECT 'both', string_agg(chunk_id::text, ' ') FROM piramid.search('docs', '[9,9,9]', 'document', filter => '{"lang": 1}')
	UNION ALL SELECT 'bm25', string_agg(chunk_id::text, ' ') FROM piramid.search('ranked', query_text => 'document')
	UNION ALL SELECT 'both, by bm25', string_agg(chunk_id::text, ' ') FROM piramid.search('ranked', '[9,9,9]', 'document')
	UNION ALL SELECT 'items', string_agg(document_id::text, ' ') FROM piramid.search('items', '[9,9,9]')};

# The old server's lease is completed; documents change, come and go, and are cut.
my $life = q{
	SELECT piramid.complete(collection, lease_token, ARRAY[chunk_id], ARRAY[embed(text)::piramid.embedding]) FROM leased;
	UPDATE docs SET body = body || ' And a fourth.' WHERE id = 3;
	DELETE FROM docs WHERE id = 4;
	INSERT INTO ranked (body) VALUES ('A novel document.');
	UPDATE items SET body = 'This is another item.' WHERE id = 1;
	DELETE FROM items WHERE id = 2;
	SELECT piramid.cut_documents(), piramid.sweep();
	CALL work();
	SELECT bool_and(coverage = 1 AND uncut = 0) FROM piramid.collection_status;
	SELECT count(*), count(DISTINCT (collection, version, chunk_id)) FROM asked;
	SELECT count(*) FROM (SELECT id, text, embedding FROM docs_chunk LEFT JOIN docs_v1 ON chunk_id = id UNION ALL SELECT id, text, embedding FROM ranked_chunk LEFT JOIN ranked_v1 ON chunk_id = id
		UNION ALL SELECT id, text, embedding FROM items_chunk LEFT JOIN items_v1 ON chunk_id = id UNION ALL SELECT id, text, embedding FROM late_chunk LEFT JOIN late_v1 ON chunk_id = id) AS x
		WHERE embedding::text IS DISTINCT FROM embed(text);
	SELECT text FROM piramid.search('docs', query_text => 'fourth') UNION ALL SELECT text FROM piramid.search('late', query_text => 'cut')
		UNION ALL SELECT text FROM piramid.search('ranked', query_text => 'novel') UNION ALL SELECT text FROM piramid.search('items', query_text => 'another')};

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
	is($new->safe_psql('library', $life), "1\n1|0\nt\n70|70\n0\nIt has three sentences. And a fourth.\nThis document is to be cut.\nA novel document.\nThis is another item.", 'upgraded: their queue and triggers go on, and nothing is embedded twice');
	check_and_stop($new);
}
done_testing();
