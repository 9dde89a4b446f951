-- Collections: documents, their chunks and jobs, vectors, search, versions.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION piramid_collections;
CREATE ROLE regress_collections;
GRANT CREATE ON SCHEMA public TO regress_collections;
SET ROLE regress_collections;

SELECT piramid.register_model('three', 'fake', 'm-3', 3, 100, document_prefix => 'passage: ');
SELECT piramid.register_model('four', 'other', 'm-4', 4, 100);
SELECT piramid.create_collection('docs', 'three', chunking => '{"size": 50, "overlap": 0}',
	filter_columns => '{"lang": "text", "year": "integer"}');

-- A document becomes chunks, and chunks become jobs.
SELECT piramid.add_document('docs', 'One thing is here. Another thing is there. And a third one is nowhere at all. The end.', 'Things',
	metadata => '{"lang": "en", "year": 2020, "tags": ["a", "b"]}', external_id => 'x');
SELECT piramid.add_document('docs', 'Ein Ding ist hier. Noch ein Ding ist dort.', metadata => '{"lang": "de", "year": 2021}');
SELECT id, document_id, ordinal, start, length, text, lang, year FROM docs_chunk ORDER BY id;
SELECT chunk_id, version, tokens, attempts, failed FROM docs_job ORDER BY 1;

-- What a worker does.
CREATE TEMP TABLE batch AS SELECT * FROM piramid.claim(items => 2);
SELECT collection, version, provider, model_id, dims, chunk_id, text FROM batch;
SELECT count(*) FROM piramid.claim(items => 2);
SELECT piramid.complete('docs', lease_token, array_agg(chunk_id ORDER BY chunk_id), '{"[1,0,0]", "[0,1,0]"}') FROM batch GROUP BY lease_token;
SELECT piramid.complete('docs', lease_token, array_agg(chunk_id ORDER BY chunk_id), '{"[1,0,0]", "[0,1,0]"}') FROM batch GROUP BY lease_token;
SELECT v.chunk_id, v.lang, v.year, v.embedding FROM docs_v1 AS v ORDER BY 1;
-- the third is still leased; a lease may be given up, and ends by itself
SELECT lease AS token FROM docs_job WHERE lease IS NOT NULL \gset
SELECT piramid.heartbeat('docs', :'token', '-1 s');
SELECT count(*) FROM piramid.claim();
SELECT count(*), piramid.complete('docs', :'token', '{3}', '{"[0,0,1]"}') AS stored FROM docs_v1;
SELECT lease AS token FROM docs_job WHERE lease IS NOT NULL \gset
-- vectors that no search would find, or that do not fit
SELECT piramid.complete('docs', :'token', '{3}', '{"[0,0,0]"}');
SELECT piramid.complete('docs', :'token', '{3}', '{"[0,0,1,1]"}');
SELECT piramid.complete('docs', NULL, '{3}', '{"[0,0,NaN]"}');
SELECT piramid.complete('docs', :'token', '{3}', '{}');
SELECT piramid.complete('docs', :'token', '{3,1,99}', '{"[0,0,1]", "[1,1,1]", "[1,1,1]"}');
SELECT count(*) FROM docs_v1;
SELECT collection, version, state, chunks, embedded, coverage, pending, leased, failed FROM piramid.collection_status;

-- Search: by vector, by words, by both; filters; neighbours.
SELECT document_id, chunk_id, round(score::numeric, 3) AS score, vector_rank, text_rank, text, metadata ->> 'lang' AS lang FROM piramid.search('docs', '[1,0.2,0]');
SELECT chunk_id, text_rank, text, before, after FROM piramid.search('docs', query_text => 'third', expand => 1);
SELECT chunk_id, round(score::numeric, 4) AS score, vector_rank, text_rank FROM piramid.search('docs', '[0,0,1]', 'thing');
SELECT chunk_id FROM piramid.search('docs', '[1,0.2,0]', filter => '{"lang": "de"}');
SELECT chunk_id FROM piramid.search('docs', '[1,0.2,0]', filter => '{"lang": "de", "year": {"$lt": 2021}}');
SELECT chunk_id, document_id FROM piramid.search('docs', '[1,0.2,0]', per_document => true);
SELECT chunk_id FROM piramid.search('docs', '[1,0.2,0]', k => 1);
SELECT chunk_id FROM piramid.search('docs', '[1,0.2,0]', min_score => 0.5);
SELECT piramid.search('docs');
SELECT piramid.search('docs', '[1,0,0]', mode => 'text');
SELECT piramid.search('docs', '[1,0,0]', k => -1);
SELECT piramid.search('docs', '[1,0]');
SELECT piramid.search('pg_class', '[1,0]');

-- Filters: each operator, and what is none.
CREATE FUNCTION passing(filter jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r text;
BEGIN
	EXECUTE 'SELECT string_agg(d.id::text, '','' ORDER BY d.id) FROM docs AS d WHERE ' || piramid.filter_sql('docs', filter) INTO r;
	RETURN coalesce(r, '-');
END $$;
SELECT f, passing(f::jsonb) FROM unnest(ARRAY['{}', '{"lang": "en"}', '{"lang": {"$ne": "en"}}', '{"year": {"$gte": 2020, "$lte": 2020}}',
	'{"year": {"$gt": 2020}}', '{"year": {"$in": [2021, 3]}}', '{"lang": {"$nin": ["en"]}}', '{"tags": {"$contains": "a"}}', '{"lang": {"$contains": "e"}}',
	'{"tags": {"$exists": false}}', '{"tags": null}', '{"$or": [{"lang": "de"}, {"year": 2020}]}', '{"$and": [{"lang": "de"}, {"year": 2020}]}',
	'{"$not": {"lang": "de"}}', '{"lang": "x'' OR true --"}', '{"x'') OR true --": 1}', '{"tags": ["a", "b"]}', '{"lang": {"$gt": "df"}}']) AS f;
SELECT passing('{"lang": {"$where": "true"}}');
SELECT passing('{"$or": []}');
SELECT passing('[]');
SELECT passing('{"year": "x"}');

-- A change of the text keeps the chunks that are still there, and their vectors;
-- a change of the filter columns reaches them.
SELECT piramid.add_document('docs', 'New beginning of it all. One thing is here. Another thing is there. And a third one is nowhere at all. The end.', 'Things',
	metadata => '{"lang": "en", "year": 2030}', external_id => 'x');
SELECT c.id, ordinal, start, text, c.year, v.year AS vector_year, j.chunk_id IS NOT NULL AS queued
FROM docs_chunk AS c LEFT JOIN docs_v1 AS v ON v.chunk_id = c.id LEFT JOIN docs_job AS j ON j.chunk_id = c.id WHERE document_id = 1 ORDER BY ordinal;
UPDATE docs_chunk SET text = 'stale';
SELECT piramid.add_document('docs', 'Same. Same.', external_id => 'y'), piramid.add_document('docs', NULL);
DELETE FROM docs WHERE id = 2;
SELECT count(*) FROM docs_chunk WHERE document_id = 2;

-- Failures: a provider's, a batch's, an item's.
CREATE TEMP TABLE lost AS SELECT * FROM piramid.claim();
SELECT count(*), piramid.fail('docs', min(lease_token::text)::uuid, '429', 'provider', retry_after => '1 hour') FROM lost;
SELECT provider, until > now() + interval '50 min' AS paused, error FROM piramid.paused;
SELECT count(*) FROM piramid.claim();
SELECT check_name, ok FROM piramid.health();
DELETE FROM piramid.pause;
SELECT attempts, error FROM docs_job LIMIT 1;
DO $$
DECLARE
	token uuid;
BEGIN
	FOR i IN 1 .. 5 LOOP
		SELECT lease_token INTO token FROM piramid.claim() LIMIT 1;
		PERFORM piramid.fail('docs', token, 'too long', 'item', retry_after => '-1 s');
	END LOOP;
END $$;
SELECT attempts, failed, error FROM docs_job;
SELECT count(*) FROM piramid.claim();
SELECT check_name, ok, regexp_replace(detail, '\d+ given', 'n given') FROM piramid.health() WHERE NOT ok;
SELECT piramid.requeue_failed('docs') > 0 AS again;
SELECT piramid.fail('docs', gen_random_uuid(), 'x', 'everything');

-- A text on which workers die: after two leases that ended by themselves it comes alone, after five it is given
-- up.  What came with it is still embedded, and what is new comes in batches.
CREATE TEMP TABLE tries (try serial, texts bigint, first bigint);
DO $$
BEGIN
	FOR i IN 1 .. 7 LOOP
		INSERT INTO tries (texts, first) SELECT count(*), min(chunk_id) - (SELECT min(chunk_id) FROM docs_job) FROM piramid.claim(lease => '-1 s');
	END LOOP;
END $$;
TABLE tries;
SELECT count(*), sum(attempts) AS attempts, lost, failed, error FROM docs_job GROUP BY lost, failed, error ORDER BY lost DESC;
SELECT check_name, ok FROM piramid.health() WHERE NOT ok;
SELECT count(*), piramid.complete('docs', min(lease_token::text)::uuid, array_agg(chunk_id), array_agg('[1,1,1]'::piramid.embedding)) AS stored FROM piramid.claim();
SELECT piramid.fail('docs', lease_token, 'a bad moment', 'provider', retry_after => '-1 s') FROM piramid.claim();
SELECT max(attempts) AS attempts, max(lost) AS lost FROM docs_job WHERE NOT failed;
INSERT INTO docs (id, body) OVERRIDING SYSTEM VALUE VALUES (100, 'Something new is said here, and at length. Something that is newer comes after it.');
UPDATE docs_job AS j SET due = '2000-01-01' FROM docs_chunk AS c WHERE c.id = chunk_id AND document_id = 100;
SELECT count(*) FROM piramid.claim(items => 2);
DELETE FROM docs WHERE id = 100;
SELECT piramid.requeue_failed('docs');
SELECT max(lost) < 5 AS again, count(*) FILTER (WHERE failed) AS failed FROM docs_job;
DELETE FROM piramid.pause;
DROP TABLE tries;
-- However many were given up, or are to be tried again later, a claim reads none of them.
CREATE FUNCTION reads(tab regclass) RETURNS bigint LANGUAGE sql AS $$
	SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = tab $$;
SELECT piramid.create_collection('many', 'three', chunking => '{"strategy": "sentence", "size": 100, "overlap": 0}');
INSERT INTO many (body) SELECT 'Text ' || n FROM generate_series(1, 1000) AS n;
UPDATE many_job SET failed = chunk_id % 2 = 0, due = CASE chunk_id % 2 WHEN 1 THEN 'tomorrow' ELSE due END WHERE chunk_id <= 990;
UPDATE docs_job SET due = 'tomorrow';
ANALYZE many_job;
BEGIN;
SELECT reads('many_job') AS before \gset
SELECT count(*) FROM piramid.claim(items => 5);
SELECT reads('many_job') - :before <= 50 AS few;
ROLLBACK;
UPDATE docs_job SET due = now();

-- Chunks of a tenant with a quota are counted without those of others.
INSERT INTO many (tenant, body) VALUES ('small', 'Text one.'), ('small', 'Text two.');
ANALYZE many, many_chunk;
SELECT piramid.set_quota('many', max_chunks => 3);
BEGIN;
SELECT reads('many_chunk') AS before \gset
INSERT INTO many (tenant, body) VALUES ('small', 'Text three.');
SELECT reads('many_chunk') - :before <= 50 AS few;
INSERT INTO many (tenant, body) VALUES ('small', 'Text four.');
ROLLBACK;
SELECT piramid.drop_collection('many', keep_documents => false);
DROP FUNCTION reads;

-- Another model, while the old one answers.
SELECT piramid.set_model('docs', 'four');
SELECT version, state, pending FROM piramid.collection_status ORDER BY 1;
SELECT piramid.promote('docs', 2);
SELECT piramid.import_vectors('docs', array_agg(text), array_agg('[1,2,3,4]'::piramid.embedding), 2) FROM docs_chunk;
SELECT piramid.promote('docs', 2);
SELECT count(*) FROM piramid.search('docs', '[1,2,3,4]');
SELECT count(*) FROM piramid.search('docs', '[1,2,3]');
SELECT piramid.drop_version('docs', 2);
SELECT piramid.drop_version('docs', 1);
SELECT name, value FROM piramid.metrics WHERE name ~ 'chunks|ratio|index' ORDER BY 1;

DELETE FROM piramid.model WHERE name = 'four';

-- Quotas
SELECT piramid.set_quota('docs', max_documents => 2);
SELECT piramid.add_document('docs', 'One too many.');
SELECT piramid.set_quota('docs');

-- A table that exists
CREATE TABLE items (code text PRIMARY KEY, "Body" text, price numeric, colour text);
INSERT INTO items VALUES ('a', 'A red thing.', 3.50, 'red'), ('b', 'A blue thing.', 4, 'blue');
SELECT piramid.attach_collection('items', 'Body', 'three', metadata_columns => '{colour}', filter_columns => '{price}');
INSERT INTO items VALUES ('c', 'A green thing.', 5, 'green');
UPDATE items SET price = price + 1 WHERE code = 'a';
UPDATE items SET colour = 'azure' WHERE code = 'b';
UPDATE items SET code = 'd' WHERE code = 'c';
SELECT document_id, text, price FROM items_chunk ORDER BY 1;
SELECT document_id, text, metadata FROM piramid.search('items', query_text => 'thing', filter => '{"price": {"$gte": 4.5}}');
SELECT document_id FROM piramid.search('items', query_text => 'thing', filter => '{"colour": "azure"}');
SELECT document_id FROM piramid.search('items', query_text => 'thing', filter => '{"code": "a"}');
DELETE FROM items WHERE code = 'a';
SELECT count(*) FROM items_chunk;
TRUNCATE items;
SELECT count(*) FROM items_chunk;
SELECT piramid.add_document('items', 'x');
SELECT piramid.attach_collection('items', 'body', 'three');
SELECT piramid.attach_collection('batch', 'text', 'three');

-- What is refused at the beginning
CREATE FUNCTION refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN NULL;
EXCEPTION WHEN others THEN
	RETURN format('%s: %s', SQLSTATE, SQLERRM);
END $$;
SELECT piramid.create_collection('bad', 'none');
SELECT piramid.create_collection('bad', 'three', distance => 'far');
SELECT piramid.create_collection('bad', 'three', chunking => '{"strategy": "x"}');
SELECT piramid.create_collection('bad', 'three', chunking => '{"tokens": 1}');
SELECT piramid.create_collection('bad', 'three', filter_columns => '{"text": "text"}');
SELECT piramid.create_collection('bad', 'three', index_options => '{"m); DROP TABLE docs; --": 1}');
SELECT bad.options, bad.column_types, refused(format('SELECT piramid.create_collection(''bad'', ''three'', chunking => %L, filter_columns => %L)', options, column_types))
FROM (VALUES ('[]', '{}'), ('{"size": "big"}', '{}'), ('{"size": 10.5}', '{}'), ('{"size": 1e30}', '{}'), ('{"overlap": -1}', '{}'), ('null', '{}'), (NULL, '{}'),
	('{}', '[]'), ('{}', '"x"'), ('{}', '{"a": 16}'), ('{}', '{"a": null}'), ('{}', '{"a": "16"}'), ('{}', '{"a": "nothing"}'), ('{}', '{"": "text"}'),
	('{}', '{"a": "int); DROP TABLE docs; --"}'), ('{}', '{"a\" int); DROP TABLE docs; --": "none"}'), ('{}', NULL)) AS bad(options, column_types);
SELECT name, refused(format('SELECT piramid.create_collection(%L, ''three'')', name)) FROM unnest(ARRAY['', NULL]) AS name;
SELECT refused('SELECT piramid.create_collection(''bad'', ''three'', index_options => ''[]'')');
SELECT refused('SELECT piramid.set_quota(''docs'', max_chunks => -1)');
-- a filter that is none must not pass everything, or nothing: delete_documents() takes it, too
SELECT f, refused(format('SELECT piramid.delete_documents(''docs'', %L)', f)), refused(format('SELECT * FROM piramid.search(''docs'', ''[1,2,3,4]'', filter => %L)', f))
FROM unnest(ARRAY['{"$ne": 1}', '{"$gt": 1}', '{"$exists": true}', '{"year": {}}', '{"$and": [{"year": {}}]}', '{"$not": null}', '{"$or": {}}', '{"year": {"a": 1}}', '5']) AS f;
SELECT w, refused(format('SELECT * FROM piramid.search(''docs'', ''[1,2,3,4]'', ''thing'', weights => %L)', w)) FROM unnest(ARRAY['{"words": 1}', '{"text": 1, "vectors": 1}', '[1]', '1', '{"text": []}', '{"text": "x"}']) AS w;
SELECT count(*) > 0 AS found FROM piramid.search('docs', '[1,2,3,4]', 'thing', weights => '{"text": 2, "vector": null}');
SELECT piramid.create_collection('bad"; DROP TABLE docs; --', 'three');
SELECT piramid.add_document('"bad""; DROP TABLE docs; --"', 'It is a name.') AS id, count(*) FROM docs;

CREATE TEMP TABLE passing_by (id int PRIMARY KEY, body text);
SELECT piramid.attach_collection('passing_by', 'body', 'three');
DROP TABLE passing_by;

-- Partitions
CREATE TABLE parted (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
SELECT piramid.attach_collection('parted', 'body', 'three');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
INSERT INTO parted VALUES (1, 'One.'), (11, 'Eleven.');
INSERT INTO parted_2 VALUES (12, 'Twelve.');
UPDATE parted SET id = 2, body = 'Two.' WHERE id = 12;
DELETE FROM parted_1 WHERE id = 1;
SELECT document_id, text FROM parted_chunk ORDER BY 1;
TRUNCATE parted_2;		-- which calls no trigger of the whole
SELECT piramid.rechunk_all('parted'), count(*) FROM parted_chunk;
SELECT count(*) FROM parted_chunk;
SELECT piramid.drop_collection('parted');
SELECT tgname FROM pg_trigger WHERE tgrelid IN ('parted'::regclass, 'parted_1'::regclass) AND NOT tgisinternal;
DROP TABLE parted;

-- Tables that go without drop_collection()
SELECT piramid.create_collection('gone', 'three');
DROP TABLE gone CASCADE;
DROP TABLE gone_chunk CASCADE;
DROP TABLE gone_job, gone_v1;
SELECT count(*) FROM piramid.claim() WHERE provider = 'none';
SELECT count(*) FROM piramid.collection_status WHERE model = 'none';
SELECT check_name, ok FROM piramid.health() WHERE check_name = 'tables';
DELETE FROM piramid.version AS v WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = v.documents);
DELETE FROM piramid.collection AS c WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = c.documents);

-- What must not happen: a model in use changes, vectors that nothing finds, all documents by mistake
SELECT piramid.create_collection('üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü', 'three');
UPDATE piramid.model SET model_id = 'another' WHERE name = 'three';
UPDATE piramid.model SET name = 'another' WHERE name = 'three';
UPDATE piramid.model SET price_per_mtok = 1 WHERE name = 'three';
SELECT piramid.add_document('üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü', 'A text.');
SELECT piramid.import_vectors('üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü', '{A text.}', '{"[0,0,0]"}');
SELECT piramid.delete_documents('üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü', NULL);
SELECT piramid.drop_collection('üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü', keep_documents => false);

-- Markdown: parents and headings
SELECT piramid.create_collection('guide', 'three', chunking => '{"strategy": "markdown", "size": 100, "overlap": 0}', distance => 'l2');
SELECT piramid.add_document('guide', E'# Pump\n\nA pump.\n\n## Repair\n\nOpen the valve.\n');
SELECT chunk_id, heading_path, parent_id FROM piramid.search('guide', query_text => 'valve');
SELECT jsonb_array_length(piramid.get_document('guide', '1', true) -> 'chunks'), piramid.get_document('guide', '2');
SELECT piramid.delete_documents('guide', '{"lang": "en"}'), piramid.delete_documents('guide', '{}');

SELECT piramid.drop_collection('guide', keep_documents => false), piramid.drop_collection('items'), piramid.drop_collection('docs');
SELECT piramid.drop_collection('"bad""; DROP TABLE docs; --"');
SELECT count(*) FROM piramid.collection;
DROP TABLE docs, items, "bad""; DROP TABLE docs; --";
DROP FUNCTION passing, refused;
DROP TABLE batch, lost;
RESET ROLE;
DELETE FROM piramid.model;
DROP EXTENSION piramid_collections;
DROP SCHEMA piramid;
REVOKE CREATE ON SCHEMA public FROM regress_collections;
DROP ROLE regress_collections;
