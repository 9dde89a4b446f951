# Collections that another server follows by logical replication: by the recipe of
# docs/collections.md, whose statements are taken from there.  Nothing is embedded twice,
# and where the worker goes on at the subscriber, all goes on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Library;
use Piramid;
use Worker;

my $publisher = piramid_node('publisher', init => [ allows_streaming => 'logical' ]);
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->append_conf('postgresql.conf', 'jit = off');
$subscriber->start;

my ($recipe) = slurp_file('docs/collections.md') =~ /^## Logical replication\n(.*?)(?=^## |\z)/ms;
my ($publication) = $recipe =~ /^ +(CREATE PUBLICATION .*;)$/m;
my ($subscription) = $recipe =~ /^ +(CREATE SUBSCRIPTION .*;)$/m;
my ($refresh) = $recipe =~ /^ +(ALTER SUBSCRIPTION .* REFRESH .*;)$/m;
my ($promotion) = $recipe =~ /^( +ALTER SUBSCRIPTION library DISABLE;\n.*?END \$\$;)$/ms;
ok($publication && $subscription && $refresh && $promotion, 'the recipe is there');
my $from = $publisher->connstr('library');
$subscription =~ s/'host=publisher dbname=library'/\$conn\$$from\$conn\$/;

# Definitions, of the database or of one table, go the way of the recipe.
sub copy_definitions
{
	my ($what, @options) = @_;
	my ($definitions, $error) = run_command([ 'pg_dump', '--schema-only', @options, $publisher->connstr('library') ]);
	is($error, '', "definitions of $what");
	$subscriber->safe_psql('library', $definitions);
}

sub caught_up
{
	$publisher->wait_for_catchup('library');
}

create_library($publisher);
$publisher->safe_psql('library', q{
	SELECT piramid.create_collection('shared', 'three', isolation => 'rls');
	SET piramid.tenant = 'acme';
	SELECT piramid.add_document('shared', 'What acme knows.')});
$subscriber->safe_psql('postgres', 'CREATE DATABASE library TEMPLATE template0');
copy_definitions('all');
$publisher->safe_psql('library', $publication);
$subscriber->safe_psql('library', $subscription);
$subscriber->wait_for_subscription_sync($publisher, 'library', 'library');
is($subscriber->safe_psql('library', $registry), $publisher->safe_psql('library', $registry), 'the registry, and what waits');
is($subscriber->safe_psql('library', $searches), $publisher->safe_psql('library', $searches), 'searches');

# Documents come, change and go, and the publisher's worker embeds them.
$publisher->safe_psql('library', q{
	INSERT INTO docs (body, metadata) SELECT format('This is another document, %s. It has two sentences.', n), '{"lang": 7}' FROM generate_series(1, 20) AS n;
	UPDATE docs SET body = replace(body, 'short', 'long'), metadata = '{"lang": 8}' WHERE id BETWEEN 5 AND 9;
	DELETE FROM docs WHERE id BETWEEN 10 AND 12;
	UPDATE items SET body = 'A fifth item.' WHERE id = 3;
	TRUNCATE ranked CASCADE;
	INSERT INTO ranked (body) VALUES ('The only document that is ranked.');
	INSERT INTO items VALUES (5, 'One more.');
	SELECT piramid.cut_documents();
	CALL work();
	INSERT INTO docs (body) VALUES ('One text that waits still.')});
caught_up();
is($subscriber->safe_psql('library', $registry), $publisher->safe_psql('library', $registry), 'what changes, is embedded or waits');
is($subscriber->safe_psql('library', $searches), $publisher->safe_psql('library', $searches), 'and is found');
is($subscriber->safe_psql('library', q{SELECT count(*) FROM docs_chunk JOIN docs_v1 ON chunk_id = id WHERE embedding::text <> embed(text)}), 0, 'vectors are of their texts');

# Another version, and another collection: replication waits for their tables.
$publisher->safe_psql('library', q{
	SELECT piramid.register_model('another', 'fake', 'm-3b', 3, 100);
	SELECT piramid.set_model('docs', 'another');
	SELECT piramid.queue_missing('docs');
	SELECT piramid.create_collection('later_made', 'three');
	INSERT INTO later_made (body) VALUES ('A document of a new collection.');
	CALL work()});
copy_definitions('a version', '-t', 'docs_v2');
copy_definitions('a collection', '-t', 'later_made', '-t', 'later_made_*');
$subscriber->safe_psql('library', $refresh);
$subscriber->wait_for_subscription_sync($publisher, 'library', 'library');
caught_up();
is($subscriber->safe_psql('library', $registry), $publisher->safe_psql('library', $registry), 'another version, and another collection');
is($subscriber->safe_psql('library', q{SELECT count(*) FROM docs_chunk JOIN docs_v2 ON chunk_id = id WHERE embedding::text <> embed(text)
	UNION ALL SELECT count(*) - count(chunk_id) FROM docs_chunk LEFT JOIN docs_v2 ON chunk_id = id}), "0\n0", 'its vectors');

# The subscriber goes on, after the publisher is lost: with the lease that the old worker has.
$publisher->stop('immediate');
$subscriber->safe_psql('library', $promotion);
my @said = split /\n/, $subscriber->safe_psql('library', $life);
my @expected = split /\n/, $lived;
is($said[0], 1, 'the lease of the old worker is completed');
is($said[1], '0|0', 'nothing waits to be cut, or has no job');
is($said[2], 't', 'all is embedded');
my ($asked, $different) = split /\|/, $said[3];
at_least($asked, 150, 'texts that a worker has asked for');
is($different, $asked, 'and none of them twice, at one server or the other');
is(join("\n", @said[4 .. $#said]), join("\n", @expected[4 .. $#expected]), 'vectors are of their texts, and what is new is found');
is($subscriber->safe_psql('library', q{SELECT piramid.promote('docs', 2); SELECT bool_and(coverage = 1) FROM piramid.collection_status; SELECT count(*) FROM piramid.search('docs', '[9,9,9]')}), "\nt\n10", 'the other version is promoted there');
$subscriber->safe_psql('library', "SET piramid.tenant = 'acme'; SELECT piramid.add_document('shared', 'And more.')");

# A subscriber of the documents alone, in another database, embeds by itself what rechunk_all() finds.
$subscriber->safe_psql('library', q{CREATE PUBLICATION texts FOR TABLE docs; SELECT pg_create_logical_replication_slot('texts', 'pgoutput')});
$subscriber->safe_psql('postgres', 'CREATE DATABASE own TEMPLATE template0');
$subscriber->safe_psql('own', qq{
	CREATE EXTENSION piramid;
	CREATE EXTENSION piramid_collections;
	SELECT piramid.register_model('own', 'fake', 'm', 3, 100);
	SELECT piramid.create_collection('docs', 'own', chunking => '{"size": 30, "overlap": 0}');
	$worker
	CREATE SUBSCRIPTION texts CONNECTION \$\$} . $subscriber->connstr('library') . q{$$ PUBLICATION texts WITH (create_slot = false, slot_name = 'texts')});
$subscriber->wait_for_subscription_sync($subscriber, 'texts', 'own');
my $catch_up = q{SELECT piramid.rechunk_all('docs') > 0; CALL work(); SELECT count(*) FROM asked;
	SELECT count(*) > 0, count(*) FILTER (WHERE embedding::text IS DISTINCT FROM embed(text) OR substr(body, start, length) IS DISTINCT FROM text)
	FROM docs_chunk AS c LEFT JOIN docs_v1 ON chunk_id = c.id LEFT JOIN docs AS d ON d.id = document_id};
my (undef, $first, $good) = split /\n/, $subscriber->safe_psql('own', $catch_up);
is($good, 't|0', 'a subscriber with a model of its own: all is embedded');
$subscriber->safe_psql('library', q{
	UPDATE docs SET body = body || ' And so on.' WHERE id = 5;
	DELETE FROM docs WHERE id IN (6, 7);
	INSERT INTO docs (body) VALUES ('A last one.')});
$subscriber->wait_for_catchup('texts');
(undef, my $second, $good) = split /\n/, $subscriber->safe_psql('own', $catch_up);
is($good, 't|0', 'and what has changed, come or gone');
at_most($second - $first, 3, 'texts embedded again, and the new one');
$subscriber->safe_psql('own', 'DROP SUBSCRIPTION texts');
check_and_stop($subscriber);
done_testing();
