# bm25 indexes: writers, readers and vacuums side by side, killed servers, a standby
# that reads while pages are reused, damaged pages.
#
# By version: WAL, recovery, conflicts on standbys.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Damage;
use Piramid;

my $node = piramid_node('bm25',
	init => [ allows_streaming => 1 ],
	# Replay compares every page with the primary's, and stops if they differ.
	conf => "wal_consistency_checking = 'all'\nwal_keep_size = '1GB'\nautovacuum = off\nrestart_after_crash = on");

# "answers" are the ids and scores of some queries; "lies" counts the queries of which an
# index scan and a scan of the table tell different scores.
$node->safe_psql('postgres', q{
	CREATE EXTENSION piramid_bm25;
	CREATE FUNCTION words(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
		SELECT string_agg('w' || exp(6.5 * (hashint4(seed * 1009 + i)::bigint & 1023) / 1023)::int, ' ')
		FROM generate_series(1, n) i $$;
	CREATE FUNCTION answers(by_index boolean, q text) RETURNS json LANGUAGE plpgsql AS $$
	DECLARE
		result json;
	BEGIN
		PERFORM set_config('enable_seqscan', (NOT by_index)::text, true),
			set_config('enable_indexscan', by_index::text, true);
		EXECUTE format('SELECT json_agg(s) FROM (SELECT body <@> %1$L AS s FROM t ORDER BY body <@> %1$L LIMIT 60) x
			WHERE s < 0', q) INTO result;
		RETURN result;
	END $$;
	CREATE FUNCTION sparse(seed int, n int) RETURNS sparsevec LANGUAGE sql IMMUTABLE AS $$
		SELECT ('{' || string_agg(d || ':' || (hashint4(seed * 31 + d) & 255) - 60.5, ',') || '}/700')::public.sparsevec
		FROM (SELECT DISTINCT exp(6.5 * (hashint4(seed * 1009 + i)::bigint & 1023) / 1023)::int AS d
			FROM generate_series(1, n) i) x $$;
	CREATE FUNCTION near(by_index boolean, q sparsevec) RETURNS json LANGUAGE plpgsql AS $$
	DECLARE
		result json;
	BEGIN
		PERFORM set_config('enable_seqscan', (NOT by_index)::text, true),
			set_config('enable_indexscan', by_index::text, true);
		EXECUTE format('SELECT json_agg(s) FROM (SELECT v <#> %1$L AS s FROM t ORDER BY v <#> %1$L LIMIT 60) x', q) INTO result;
		RETURN result;
	END $$;
	CREATE FUNCTION lies() RETURNS numeric LANGUAGE sql AS $$
		SELECT sum(n) FROM (SELECT count(*) AS n FROM (SELECT words(-i, 1 + i % 4) AS q FROM generate_series(1, 6) i) x
		WHERE answers(true, q)::text IS DISTINCT FROM answers(false, q)::text
		UNION ALL SELECT count(*) FROM (SELECT sparse(-i, 3 + i * 2) AS q FROM generate_series(1, 4) i) x
		WHERE near(true, q)::text IS DISTINCT FROM near(false, q)::text) y $$;
	CREATE TABLE t (id int PRIMARY KEY, body text, v sparsevec(700) GENERATED ALWAYS AS (sparse(id, 1 + abs(id) % 30)) STORED);
	INSERT INTO t SELECT i, words(i, 1 + i % 23) FROM generate_series(1, 3000) i;
	CREATE INDEX t_body ON t USING bm25 (body) WITH (text_config = 'simple');
	CREATE INDEX t_v ON t USING bm25 (v sparsevec_ip_ops);
	CREATE SEQUENCE next START 3001;
});

sub is_right
{
	my ($server, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($server->safe_psql('postgres', 'SELECT lies()'), 0, "$name: index and table tell the same");
	at_least($server->safe_psql('postgres', "SELECT piramid_bm25_check('t_body')"),
		$server->safe_psql('postgres', 'SELECT count(*) FROM t'), "$name: the index is whole");
	is($server->safe_psql('postgres', "SELECT * FROM piramid_check('t_body', true)"), '', "$name: each row is in it");
	is($server->safe_psql('postgres', "SELECT * FROM piramid_check('t_v', true)"), '', "$name: and in that of vectors");
}
is_right($node, 'built');

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('bm25_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = '0'\nhot_standby_feedback = off");
$standby->start;

# Writers, a vacuum and readers side by side, all killed at once.  A writer deletes only
# rows that no other one deletes: two that take the same rows in unlike orders would deadlock.
sub writes
{
	my ($writer) = @_;
	return join('', map {
		"INSERT INTO t SELECT i, words(i, 1 + i % 61) FROM (SELECT nextval('next')::int AS i FROM generate_series(1, 20)) x;\n"
		. ($_ % 5 ? '' : "DELETE FROM t WHERE id % 7 = $_ % 7 AND id % 3 = $_ % 3 AND id % 2 = $writer;\n") } 1 .. 400);
}
foreach my $round (1 .. 2)
{
	my @output = ('') x 3;
	my $before = $node->safe_psql('postgres', "SELECT last_value FROM next");
	my @clients = map { start_sql($node, writes($_), \$output[$_]) } 0 .. 1;
	push @clients, start_sql($node, "VACUUM t;\nSELECT FROM generate_series(1, 20) i, answers(true, words(-i, 3)), near(true, sparse(-i, 9));\n" x 50, \$output[2]);
	$node->poll_query_until('postgres', "SELECT last_value > $before + 3000 FROM next") or die 'no rows';
	$node->safe_psql('postgres', 'CHECKPOINT') if $round % 2;
	crash($node, @clients);
	# Not even the servers' end is told as an error of ours.
	unlike($_, qr/ERROR/, "round $round: no error") foreach @output;
	is_right($node, "killed, round $round");
	$node->safe_psql('postgres', 'VACUUM t');
	is_right($node, "vacuumed, round $round");
}

# Merges that are cancelled leave blocks that belong to nobody, until VACUUM.  Whoever
# cancels looks for a merge again and again, and lets some looks go by.
$node->safe_psql('postgres', 'CREATE TABLE enough ()');
my $canceller = start_sql($node, q{DO $$
	DECLARE
		merger int;
	BEGIN
		WHILE NOT EXISTS (SELECT FROM enough) LOOP
			PERFORM pg_stat_clear_snapshot();
			SELECT pid INTO merger FROM pg_stat_activity
			WHERE application_name = 'merges' AND state = 'active' AND query LIKE 'SELECT piramid_bm25_merge%';
			IF FOUND AND random() < 0.03 THEN
				PERFORM pg_cancel_backend(merger);
			END IF;
		END LOOP;
	END $$});
my ($merges, $cancelled) = (0, 0);
while ($cancelled < 4 && $merges++ < 200)
{
	my ($status, $stdout, $stderr) = $node->psql('postgres', q{SET application_name = 'merges';
		UPDATE t SET body = body WHERE id % 50 = 0; SELECT piramid_bm25_merge('t_body')});
	$cancelled++ if $stderr =~ /canceling statement due to user request/;
}
$node->safe_psql('postgres', 'INSERT INTO enough DEFAULT VALUES');
$canceller->finish;
is($cancelled, 4, "merges cancelled, of $merges");
$node->safe_psql('postgres', "SELECT piramid_bm25_merge('t_body')");
is_right($node, 'merges cancelled');
$node->safe_psql('postgres', 'VACUUM t');
is_right($node, 'merges cancelled, vacuumed');

# Blocks are used again: the same rows over and over do not let the index grow.
my @sizes = map {
	$node->safe_psql('postgres', q{
		UPDATE t SET body = body;
		VACUUM t;
		SELECT pg_relation_size('t_body')}) } 1 .. 7;
at_most($sizes[6], int(1.25 * $sizes[3]), 'size after updates of all rows: ' . join(', ', @sizes));

# A standby: the same answers, and a query that holds an old state of the index
# either goes on rightly or is told of a conflict.
sub same_answers
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $query = 'SELECT i, answers(true, words(-i, 2)), near(true, sparse(-i, 9)) FROM generate_series(1, 8) i';
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	is($standby->safe_psql('postgres', $query), $node->safe_psql('postgres', $query), "$name: the standby tells the same");
}
same_answers('after crashes');
my $reader = $standby->background_psql('postgres', on_error_stop => 0);
$reader->query_safe(q{BEGIN ISOLATION LEVEL REPEATABLE READ});
$reader->query_safe(q{DECLARE c CURSOR FOR SELECT id FROM t ORDER BY body <@> 'w1 w2 w3'});
$reader->query_safe('FETCH 3 FROM c');
$node->safe_psql('postgres', $_) foreach ('UPDATE t SET body = body', 'VACUUM t') x 3;
same_answers('with a reader');
# When the connection has been ended by a conflict, psql is gone, too.
eval { $reader->query('FETCH ALL FROM c') };
unlike($reader->{stderr}, qr/ERROR(?!.*conflict with recovery)/, 'a query with an old state ends by a conflict or goes on');
eval { $reader->quit };
is_right($standby, 'the standby');

# The standby becomes a primary.
$node->stop;
$standby->promote;
$standby->safe_psql('postgres', 'INSERT INTO t SELECT i, words(i, 9) FROM generate_series(-3000, -1) i; VACUUM t');
is_right($standby, 'promoted');

# Unlogged: empty after a crash.
$standby->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE u AS SELECT * FROM t;
	CREATE INDEX u_body ON u USING bm25 (body)});
$standby->stop('immediate');
$standby->start;
is($standby->safe_psql('postgres', q{
	SELECT count(*) FROM u;
	INSERT INTO u VALUES (1, 'fresh');
	SET enable_seqscan = off;
	SELECT id FROM u ORDER BY body <@> 'fresh'}), "0\n1", 'unlogged: empty after a crash, then in use');

# Queries that a dump holds, in tables and views, mean the same where it is restored: they come
# before the indexes that they name.
$standby->safe_psql('postgres', q{
	CREATE SCHEMA "Odd: schema";
	CREATE TABLE "Odd: schema".o (body text);
	INSERT INTO "Odd: schema".o VALUES ('one two'), ('two three'), ('@@ four: five');
	CREATE INDEX "in:de""x" ON "Odd: schema".o USING bm25 (body) WITH (text_config = 'simple');
	CREATE TABLE queries AS SELECT n, q FROM unnest(ARRAY['two', 'u_body: x', ':x', '@@ four: five', 'four: five', E'back\\slash:\ttab', '"x":y', '', '\N', 'u_body::z']) WITH ORDINALITY w (w, n),
		LATERAL (VALUES (to_bm25query(w)), (to_bm25query(w, '"Odd: schema"."in:de""x"')), (to_bm25query(w, 'u_body')), (to_bm25query(plainto_tsquery('simple', w || ' b'), 'u_body'))) v (q);
	CREATE VIEW found AS SELECT body FROM "Odd: schema".o WHERE body <@> '"Odd: schema"."in:de""x"::@@ four'::bm25query < 0});
my $told = q{SET search_path = 'pg_catalog'; SELECT n, q FROM public.queries ORDER BY n, q::text COLLATE "C"; TABLE public.found; SELECT count(*) FROM "Odd: schema".o, public.queries
	WHERE q::text LIKE '"Odd%' AND body OPERATOR(public.<@>) q < 0};
$standby->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_dump', '-f', "$PostgreSQL::Test::Utils::tmp_check/bm25.sql", $standby->connstr('postgres') ], 'pg_dump');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', "$PostgreSQL::Test::Utils::tmp_check/bm25.sql", $standby->connstr('restored') ], 'restored');
is($standby->safe_psql('restored', $told), $standby->safe_psql('postgres', $told), 'queries in a dump stay what they are');

# A damaged page of each kind is reported with index and block.
my $path = $standby->data_dir . '/' . $standby->safe_psql('postgres', "VACUUM t; SELECT pg_relation_filepath('t_body')");
$standby->safe_psql('postgres', 'INSERT INTO t SELECT -9999, string_agg(md5(i::text), \' \') FROM generate_series(1, 300) i');
$standby->stop;
damage_init($standby);
read_fields();
my $good = $file = slurp_file($path);
sub bm25_field { my ($block, $name, $value) = @_; return field($block * $size{PAGE} + $size{SPECIAL}, "bm25.$name", $value) }
$standby->append_conf('postgresql.conf', 'ignore_checksum_failure = on');
my (%block, %newest);
for my $i (0 .. blocks() - 1)
{
	my ($kind, $generation) = map { bm25_field($i, $_) } 'kind', 'generation';
	# Of free blocks, nobody reads what is in them.
	next if $i == 1 || ($newest{$kind} // -1) >= $generation;
	($block{$kind}, $newest{$kind}) = ($i, $generation);
}
at_least(scalar(keys %block), 10, 'kinds of pages');
foreach my $kind (sort { $a <=> $b } keys %block)
{
	$file = $good;
	bm25_field($block{$kind}, 'magic', unpack('L', 'oops'));
	write_file($path);
	$standby->start;
	fails_like($standby, "SELECT piramid_bm25_check('t_body')",
		qr/index "t_body" has a foreign page at block $block{$kind}\b/, "a page of kind $kind");
	like($standby->safe_psql('postgres', "SELECT * FROM piramid_check('t_body')"),
		qr/^error\|.*foreign page/, "a page of kind $kind, as a finding") if $kind != 0;
	$standby->stop;
}
$standby->start;
$standby->safe_psql('postgres', 'REINDEX INDEX t_body');
is_right($standby, 'REINDEX');
check_and_stop($standby);
done_testing();
