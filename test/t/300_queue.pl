# Embeddings are never stale: workers are killed, the server is killed, while
# documents come, change and go.  In the end every chunk has a vector, every vector
# is the one of its chunk's text, and every chunk is a part of its document.
#
# PIRAMID_QUEUE_ROUNDS is the number of rounds.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $rounds = $ENV{PIRAMID_QUEUE_ROUNDS} // 6;
my $node = piramid_node('queue', conf => "autovacuum_naptime = 1s\nrestart_after_crash = on");

$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION piramid_collections;
	SELECT piramid.register_model('three', 'fake', 'm-3', 3, 100, batch_items => 7),
		piramid.register_model('four', 'other', 'm-4', 4, 100, batch_tokens => 60);
	SELECT piramid.create_collection('docs', 'three', chunking => '{"size": 60, "overlap": 10}', filter_columns => '{"n": "integer"}');
	CREATE TABLE items (id int PRIMARY KEY, body text);
	SELECT piramid.attach_collection('items', 'body', 'three', chunking => '{"size": 60, "overlap": 0}');
	SELECT piramid.create_collection('later', 'three', chunking => '{"size": 60, "overlap": 0, "deferred": true}');

	-- A vector that tells of which text, and of which model, it is.
	CREATE FUNCTION embed(text text, dims int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
		SELECT '[' || string_agg((1 + get_byte(sha256(convert_to(text, 'UTF8')), i))::text, ',' ORDER BY i) || ']' FROM generate_series(1, dims) AS i $$;

	-- A worker: what it does between the transactions takes a while.
	CREATE PROCEDURE work(batches int, lease interval) LANGUAGE plpgsql AS $$
	DECLARE
		c regclass; token uuid; ids bigint[]; texts text[]; d int;
	BEGIN
		FOR i IN 1 .. batches LOOP
			PERFORM piramid.cut_documents(3);
			COMMIT;
			SELECT min(collection::oid)::regclass, min(lease_token::text)::uuid, array_agg(chunk_id), array_agg(text), min(dims) INTO c, token, ids, texts, d
			FROM piramid.claim(lease => lease, max_lost => 1000000);
			COMMIT;
			EXIT WHEN ids IS NULL AND batches > 1000 AND NOT EXISTS (SELECT FROM later_uncut);
			CONTINUE WHEN ids IS NULL;
			-- set_model() locks a table for a moment: the lease of what is not stored then ends by itself.
			BEGIN
				IF random() < 0.1 THEN
					PERFORM piramid.fail(c, token, 'a bad moment', (ARRAY['batch', 'item'])[1 + floor(random() * 2)], ids[1:2], retry_after => '0 s', max_attempts => 1000000);
				END IF;
			EXCEPTION WHEN lock_not_available THEN
			END;
			COMMIT;
			PERFORM count(*) FROM (SELECT sha256(convert_to(n::text, 'UTF8')) FROM generate_series(1, floor(random() * 5000)::int) AS n OFFSET 0) AS x;
			BEGIN
				PERFORM piramid.complete(c, token, ids, ARRAY(SELECT embed(t, d)::piramid.embedding FROM unnest(texts) WITH ORDINALITY AS u(t, n) ORDER BY n));
			EXCEPTION WHEN lock_not_available THEN
			END;
			COMMIT;
		END LOOP;
	END $$;

	-- A writer: documents of sentences, some of which stay.
	CREATE FUNCTION sentences() RETURNS text LANGUAGE sql VOLATILE AS $$
		SELECT string_agg(format('Sentence %s says nothing new.', floor(random() * 40)), CASE WHEN random() < 0.3 THEN E'\n\n' ELSE ' ' END) FROM generate_series(1, 1 + (random() * 8)::int) $$;
	CREATE PROCEDURE write(changes int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. changes LOOP
			CASE floor(random() * 11)
				WHEN 0, 1 THEN PERFORM piramid.add_document('docs', sentences(), metadata => jsonb_build_object('n', floor(random() * 5)), external_id => floor(random() * 30)::text);
				WHEN 2 THEN UPDATE docs SET body = body || ' ' || sentences() WHERE external_id = floor(random() * 30)::text AND length(body) < 2000;
				WHEN 3 THEN UPDATE docs SET metadata = jsonb_build_object('n', floor(random() * 5)) WHERE external_id = floor(random() * 30)::text;
				WHEN 4 THEN DELETE FROM docs WHERE external_id = floor(random() * 30)::text;
				WHEN 5 THEN INSERT INTO items VALUES (floor(random() * 30), sentences()) ON CONFLICT (id) DO UPDATE SET body = excluded.body;
				WHEN 6 THEN DELETE FROM items WHERE id = floor(random() * 30);
				WHEN 7, 8 THEN PERFORM piramid.add_document('later', sentences(), external_id => floor(random() * 30)::text);
				WHEN 9 THEN DELETE FROM later WHERE external_id = floor(random() * 30)::text;
				ELSE IF random() < 0.1 THEN TRUNCATE items; END IF;
			END CASE;
			IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
		END LOOP;
	END $$;

	-- What must not be: for each version of each collection.
	CREATE FUNCTION wrong() RETURNS TABLE (what text, n bigint) LANGUAGE plpgsql AS $$
	DECLARE
		v record;
	BEGIN
		FOR v IN SELECT c.*, x.vectors, x.version, m.dims FROM piramid.collection AS c JOIN piramid.version AS x USING (documents) JOIN piramid.model AS m ON m.name = x.model LOOP
			RETURN QUERY EXECUTE format('
				SELECT ''without vector'', count(*) FROM %1$s LEFT JOIN %2$s ON chunk_id = id WHERE chunk_id IS NULL
				UNION ALL SELECT ''stale'', count(*) FROM %1$s JOIN %2$s ON chunk_id = id WHERE embedding::text <> embed(text, %3$s)
				UNION ALL SELECT ''orphans'', count(*) FROM %2$s LEFT JOIN %1$s ON chunk_id = id WHERE id IS NULL
				UNION ALL SELECT ''jobs'', count(*) FROM %4$s WHERE version = %8$s
				UNION ALL SELECT ''not of a document'', count(*) FROM %1$s AS c LEFT JOIN %5$s AS d ON d.id = c.document_id
					WHERE substr(d.%6$I, c.start, c.length) IS DISTINCT FROM c.text
				UNION ALL SELECT ''not as cut'', count(*) FROM (SELECT d.id, x.ordinal, x.text FROM %5$s AS d,
						piramid_chunk(d.%6$I, NULL, (%7$L::jsonb ->> ''size'')::int, (%7$L::jsonb ->> ''overlap'')::int) AS x
					EXCEPT ALL SELECT document_id, ordinal, text FROM %1$s) AS y',
				v.chunks, v.vectors, v.dims, v.jobs, v.documents, v.text_column, v.chunking, v.version);
		END LOOP;
		RETURN QUERY SELECT 'filter column', count(*) FROM docs JOIN docs_chunk AS c ON c.document_id = docs.id JOIN docs_v1 AS e ON e.chunk_id = c.id
			WHERE (metadata ->> 'n')::int IS DISTINCT FROM c.n OR c.n IS DISTINCT FROM e.n;
	END $$});

my $answer = '';
foreach my $round (1 .. $rounds)
{
	my @output = map { my $text = ''; \$text } 1 .. 4;
	my @workers = map { start_sql($node, "SET application_name = worker; CALL work(60, '1 s')", $output[$_]) } 0 .. 1;
	my @writers = map { start_sql($node, 'SET application_name = writer; CALL write(60)', $output[$_]) } 2 .. 3;

	# Another model, in the middle of it.
	$node->safe_psql('postgres', "SELECT piramid.set_model('docs', 'four')") if $round == 2;
	# Kill workers as they come, until the writers have done their work or the server dies.
	my $kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'worker' AND random() < 0.5";
	if ($round % 3 == 0)
	{
		$node->poll_query_until('postgres', 'SELECT sum(embedded) > 5 FROM piramid.collection_status') or die 'timed out waiting for some vectors';
		crash($node, @workers, @writers);
	}
	else
	{
		$node->safe_psql('postgres', $kill);
		$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'writer'});
		$node->safe_psql('postgres', $kill);
		$_->finish foreach @workers, @writers;
		$answer .= ${$output[$_]} foreach 0 .. 3;
	}
}
is(join(' ', grep { !/administrator command/ } $answer =~ /(?:ERROR|FATAL): .*/g), '', 'nobody waits for each other in a circle, or fails');

# In the end what was lost is found again, when its lease has ended.
$node->safe_psql('postgres', 'CALL write(200)');
$node->safe_psql('postgres', 'SELECT piramid.sweep(1000000)');
wait_until(sub { $node->safe_psql('postgres', q{CALL work(100000, '1 min'); SELECT bool_and(coverage = 1 AND uncut = 0) FROM piramid.collection_status}) eq 't' }, 'a vector for every chunk');
at_least($node->safe_psql('postgres', 'SELECT count(*) FROM docs_chunk'), 5, 'chunks');
is($node->safe_psql('postgres', 'SELECT what, n FROM wrong() WHERE n > 0'), '', 'no vector is missing, stale, an orphan or a duplicate');
$node->safe_psql('postgres', "SELECT piramid.promote('docs', 2)") if $rounds >= 2;
is($node->safe_psql('postgres', q{SELECT count(*) = least(10, (SELECT count(*) FROM docs_chunk)) FROM piramid.search('docs', '[1,2,3,4]')}), 't', 'and the new model answers');

check_and_stop($node);
done_testing();
