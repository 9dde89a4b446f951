-- Collections: schemas of metadata, changes, vectors that the caller has, searches in batches,
-- documents that are cut later, quotas of tenants, promotion by workers.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION piramid_collections;
CREATE ROLE regress_owner;
CREATE ROLE regress_worker;
CREATE ROLE regress_writer;
GRANT CREATE ON SCHEMA public TO regress_owner;
SET ROLE regress_owner;
SELECT piramid.register_model('three', 'fake', 'm-3', 3, 100);
SELECT piramid.register_model('four', 'fake', 'm-4', 4, 100);

-- What does not fit a schema is refused, and told why.
SELECT f, piramid.schema_error('{"type": "object", "required": ["lang"], "additionalProperties": false, "properties": {
	"lang": {"enum": ["en", "de"]}, "year": {"type": "integer", "minimum": 1900, "maximum": 2100}, "title": {"type": ["string", "null"], "maxLength": 5, "pattern": "^[A-Z]"},
	"tags": {"type": "array", "maxItems": 2, "items": {"type": "string", "minLength": 1}}, "at": {"type": "object", "properties": {"x": {"type": "number"}}}}}', f::jsonb)
FROM unnest(ARRAY['{"lang": "en"}', '{"lang": "fr"}', '{}', '[]', '{"lang": "en", "year": "x"}', '{"lang": "en", "year": 2020.5}', '{"lang": "en", "year": 2020.0}',
	'{"lang": "en", "year": 1800}', '{"lang": "en", "title": null}', '{"lang": "en", "title": "Too long"}', '{"lang": "en", "title": "low"}', '{"lang": "en", "tags": ["a", ""]}',
	'{"lang": "en", "tags": ["a", "b", "c"]}', '{"lang": "en", "tags": "a"}', '{"lang": "en", "at": {"x": "1"}}', '{"lang": "en", "at": {"y": 1}}', '{"lang": "en", "more": 1}', 'null', '{"lang": null}']) AS f;
SELECT piramid.check_schema('{"type": "text"}');
SELECT piramid.check_schema('{"properties": {"a": {"minimun": 1}}}');
SELECT piramid.check_schema('{"properties": {"a": {"pattern": "("}}}');
SELECT piramid.check_schema('{"items": 1}');
SELECT piramid.check_schema('{"required": [1]}');
SELECT piramid.check_schema('{"type": []}');
-- metadata are looked at no deeper than the schema says
SELECT piramid.schema_error('{"required": ["a"], "additionalProperties": true}', (repeat('{"b": ', 3000) || '1' || repeat('}', 3000))::jsonb);
SELECT piramid.create_collection('notes', 'three', metadata_schema => '{"required": ["lang"]}', filter_columns => '{"lang": "text", "year": "integer"}');
SELECT piramid.add_document('notes', 'A first note.', metadata => '{"lang": "en", "year": 2020}', external_id => 'a');
SELECT piramid.add_document('notes', 'A second one.');
UPDATE notes SET metadata = '{}';
SELECT piramid.alter_collection('notes', '{"metadata_schema": {"required": ["lang", "month"]}}');
SELECT piramid.alter_collection('notes', '{"metadata_schema": {"wanted": ["lang", "month"]}}');
SELECT piramid.alter_collection('notes', '{"metadata_schema": null}');
SELECT piramid.add_document('notes', 'A second note.', metadata => '{"year": 2021}', external_id => 'b');
SELECT piramid.alter_collection('notes', '{"distance": "l2"}');
SELECT piramid.alter_collection('notes', '{"auto_promote": 1}');
SELECT piramid.alter_collection('notes', '[]');
SELECT piramid.alter_collection('notes', '{"chunking": {"size": 1, "overlap": 1}}');

-- Another chunking: all is cut again.
SELECT piramid.alter_collection('notes', '{"chunking": {"strategy": "fixed", "size": 8, "overlap": 0}}');
SELECT document_id, text FROM notes_chunk ORDER BY document_id, ordinal;
SELECT piramid.alter_collection('notes', '{"chunking": {}}');

-- Chunks fit the model, or somebody is told.
SELECT piramid.register_model('small', 'fake', 'm-s', 3, 20, price_per_mtok => 2);
SELECT piramid.create_collection('fitted', 'small');
INSERT INTO fitted (body) VALUES (repeat('A few words. ', 20));
SELECT chunking, (SELECT max(length) FROM fitted_chunk) FROM piramid.collection WHERE documents = 'fitted'::regclass;
SELECT piramid.alter_collection('fitted', '{"chunking": {"size": 81}}');
SELECT piramid.alter_collection('fitted', '{"chunking": {"size": 80}}');
SELECT piramid.alter_collection('fitted', '{"chunking": {"unit": "words", "size": 21}}');
SELECT piramid.alter_collection('fitted', '{"chunking": {"unit": "words", "strategy": "sentence"}}');
SELECT chunking FROM piramid.collection WHERE documents = 'fitted'::regclass;
BEGIN;
SELECT piramid.set_model('notes', 'small');
ROLLBACK;
SELECT piramid.alter_collection('fitted', '{"chunking": {}}');
-- what vectors cost
SELECT * FROM piramid.embedding_cost('fitted');
SELECT piramid.import_vectors('fitted', array_agg(text), array_agg('[1,2,3]'::piramid.embedding)) > 0 AS stored FROM fitted_chunk;
SELECT * FROM piramid.embedding_cost('fitted');
SELECT collection, attached, distance, version, model, provider, dims FROM piramid.list_collections();
SELECT piramid.delete_document('fitted', '1'), piramid.delete_document('fitted', '1'), (SELECT count(*) FROM fitted);
SELECT piramid.drop_collection('fitted', keep_documents => false);
SELECT piramid.create_collection('unnamed');

-- Many documents by one statement, and none.
INSERT INTO notes (body, metadata) SELECT format('Note %s.', n), jsonb_build_object('year', n) FROM generate_series(1, 2100) AS n;
INSERT INTO notes (body) SELECT 'x' WHERE false;
INSERT INTO notes (body) VALUES (NULL), ('  ');
SELECT count(*), count(DISTINCT document_id) FROM notes_chunk;
SELECT count(*) FROM notes_job AS j JOIN notes_chunk AS c ON c.id = j.chunk_id AND c.tenant = j.tenant;
DELETE FROM notes WHERE external_id IS NULL;

-- Vectors that the caller has
SELECT piramid.upsert_vectors('notes', '{a,b,c}', '{"[1,0,0]","[0,1,0]","[0,0,1]"}', ARRAY['{"lang": "en"}', '{"lang": "de"}', '{"lang": "de"}']::jsonb[]);
SELECT piramid.upsert_vectors('notes', '{c,d}', '{"[0,1,1]","[1,1,1]"}', texts => ARRAY['The text of c.', NULL]);
SELECT external_id, text, lang, embedding FROM notes JOIN notes_chunk AS c ON document_id = notes.id JOIN notes_v1 USING (lang) WHERE chunk_id = c.id ORDER BY 1;
SELECT external_id, text, v.lang, embedding FROM notes JOIN notes_chunk AS c ON document_id = notes.id JOIN notes_v1 AS v ON chunk_id = c.id ORDER BY 1;
SELECT count(*) FROM notes_job;
SELECT chunk_id IS NOT NULL AS found, text, metadata FROM piramid.search('notes', '[0,1,1]', k => 2);
SELECT piramid.upsert_vectors('notes', '{a,a}', '{"[1,0,0]","[0,1,0]"}');
SELECT piramid.upsert_vectors('notes', '{a,b}', '{"[1,0,0]"}');
SELECT piramid.upsert_vectors('notes', '{a}', '{"[0,0,0]"}');
SELECT piramid.upsert_vectors('notes', '{a}', '{"[1,0]"}');
SELECT piramid.upsert_vectors('notes', '{a}', ARRAY[NULL]::piramid.embedding[]);
SELECT piramid.upsert_vectors('notes', '{a}', '{"[1,0,0]"}', texts => ARRAY[repeat('Many sentences. ', 100)]);
SELECT piramid.upsert_vectors('notes', '{a}', '{"[1,0,0]"}', version => 7);
UPDATE notes SET body = 'The text of d.' WHERE external_id = 'd';
SELECT text, embedding FROM notes JOIN notes_chunk AS c ON document_id = notes.id LEFT JOIN notes_v1 ON chunk_id = c.id WHERE external_id = 'd';
-- cut again, documents without text keep their vectors
SELECT piramid.create_collection('own', 'three');
SELECT piramid.upsert_vectors('own', '{a,b}', '{"[1,0,0]","[0,1,0]"}', texts => '{NULL,A text.}');
SELECT piramid.rechunk_all('own'), piramid.alter_collection('own', '{"chunking": {"size": 500}}');
SELECT external_id, text, embedding FROM own JOIN own_chunk AS c ON document_id = own.id LEFT JOIN own_v1 ON chunk_id = c.id ORDER BY 1;
SELECT piramid.grant_collection('own', 'regress_writer', 'write');
SET ROLE regress_writer;
SELECT piramid.upsert_vectors('own', '{b}', '{"[0,1,0]"}');
SET ROLE regress_owner;
SELECT piramid.grant_collection('own', 'regress_writer', 'work');
SET ROLE regress_writer;
SELECT piramid.upsert_vectors('own', '{b}', '{"[0,1,0]"}');
SET ROLE regress_owner;
-- and only the caller has them for another model
SELECT piramid.set_model('own', 'four'), piramid.queue_missing('own');
SELECT piramid.import_vectors('own', '{A text.}', '{"[0,1,1,1]"}', version => 2);
SELECT piramid.promote('own', 2);
BEGIN;
SELECT piramid.promote('own', 2, most_missing => 1);
SELECT version, state FROM piramid.version WHERE documents = 'own'::regclass ORDER BY 1;
ROLLBACK;
SELECT piramid.upsert_vectors('own', '{a}', '{"[1,1,1,1]"}', version => 2);
SELECT piramid.promote('own', 2);
SELECT piramid.promote('own', 2, most_missing => -1);
SELECT piramid.set_quota('own', max_chunks => 2);
SELECT piramid.upsert_vectors('own', '{c}', '{"[1,0,0,0]"}');
SELECT piramid.drop_collection('own', keep_documents => false);

-- Searches in one call, and filters that columns decide
SELECT query_number, text, vector_rank, text_rank FROM piramid.search_batch('notes', '[{"query": [1, 0, 0], "k": 1}, {"query_text": "note", "filter": {"lang": "de"}},
	{"query": [0, 1, 1], "query_text": "text", "k": 1, "expand": 1}, {"query_text": "nothing", "filter": null, "k": null}]');
SELECT piramid.search_batch('notes', '[{"query": [1, 0, 0]}, {"vector": 1}]');
SELECT piramid.search_batch('notes', '{"query": [1, 0, 0]}');
SELECT piramid.search_batch('notes', '[1]');
SELECT f, c.*, (SELECT count(*) FROM piramid.search('notes', '[1,0,0]', filter => f::jsonb)) AS by_vector,
	(SELECT count(*) FROM piramid.search('notes', query_text => 'note OR text', filter => f::jsonb)) AS by_text
FROM unnest(ARRAY['{}', '{"lang": "de"}', '{"lang": {"$in": ["de", "en"]}}', '{"lang": {"$in": []}}', '{"lang": {"$in": ["de", null]}}', '{"lang": {"$nin": ["de"]}}',
	'{"$and": [{"lang": "de"}, {"year": {"$exists": false}}]}', '{"$or": [{"lang": "de"}]}', '{"lang": {"$gte": "a", "$lt": "e"}}', '{"other": 1}', '{"lang": "x'' OR true --"}']) AS f,
	piramid.collection AS x, piramid.column_filter(x, f::jsonb, 'v') AS c WHERE x.documents = 'notes'::regclass;
\set VERBOSITY terse
SELECT piramid.search('notes', '[1,0,0]', filter => '{"year": {"$in": ["x"]}}');
\set VERBOSITY default
SELECT piramid.search('notes', '[1,0,0]', filter => '{"$and": 1}');

-- Documents that are cut later
SELECT piramid.create_collection('later', 'three', chunking => '{"size": 30, "overlap": 0, "deferred": true}', filter_columns => '{"n": "integer"}');
SELECT piramid.grant_collection('later', 'regress_worker', 'work'), piramid.grant_collection('later', 'regress_writer', 'write');
SET ROLE regress_writer;
INSERT INTO later (body, metadata) SELECT format('One is %s. Two is %s. Three is %1$s.', n, n + 1), jsonb_build_object('n', n) FROM generate_series(1, 3) AS n;
SET ROLE regress_owner;
SELECT chunks, pending, uncut, coverage FROM piramid.collection_status WHERE collection = 'later'::regclass;
SET ROLE regress_worker;
SELECT piramid.cut('later', 2), piramid.cut_documents(), piramid.cut_documents();
SET ROLE regress_owner;
SELECT document_id, ordinal, start, text, n, j.chunk_id IS NOT NULL AS queued FROM later_chunk AS c LEFT JOIN later_job AS j ON j.chunk_id = c.id ORDER BY 1, 2;
SET ROLE regress_writer;
UPDATE later SET body = 'At first. ' || body, metadata = '{"n": 7}' WHERE id = 1;
UPDATE later SET body = replace(body, 'One', 'Another') WHERE id = 2;
UPDATE later SET metadata = '{"n": 8}' WHERE id = 3;
SELECT document_id, start, text, n FROM later_chunk ORDER BY document_id, ordinal;
SELECT document_id FROM later_uncut ORDER BY 1;
DELETE FROM later WHERE id = 2;
SET ROLE regress_worker;
SELECT piramid.cut_documents(), piramid.cut_documents();
SET ROLE regress_owner;
SELECT document_id, start, text, n FROM later_chunk ORDER BY document_id, ordinal;
SELECT count(*) FROM later JOIN later_chunk AS c ON c.document_id = later.id WHERE substr(body, start, length) <> text;
SELECT piramid.rechunk_all('later'), piramid.cut('later', 1), (SELECT count(*) FROM later_uncut);
SELECT piramid.set_quota('later', max_chunks => 1);
SELECT piramid.alter_collection('later', '{"chunking": {}}');
INSERT INTO later (body) VALUES ('At once.');
SELECT count(*), (SELECT count(*) FROM later_uncut) FROM later_chunk WHERE text = 'At once.';

-- what would fail when it is cut fails when it is written
SELECT piramid.alter_collection('later', '{"chunking": {"deferred": true}}');
INSERT INTO later (body, metadata) VALUES ('x', '{"n": "many"}');
UPDATE later SET metadata = '{"n": "many"}' WHERE id = 1;
SELECT piramid.cut('later'), piramid.cut('later');
-- deferred later on: who could work and write still can
SELECT piramid.create_collection('eager', 'three', chunking => '{"size": 30, "overlap": 0}');
SELECT piramid.grant_collection('eager', 'regress_worker', 'work'), piramid.grant_collection('eager', 'regress_writer', 'write');
SELECT piramid.alter_collection('eager', '{"chunking": {"size": 30, "overlap": 0, "deferred": true}}');
SET ROLE regress_writer;
INSERT INTO eager (body) VALUES ('Some text.');
UPDATE eager SET body = 'Some other text.';
SET ROLE regress_worker;
SELECT piramid.cut('eager');
-- a document that cannot be cut waits with its error, and others do not wait for it
SET ROLE regress_owner;
SELECT piramid.create_collection('wide', 'three', chunking => '{"size": 10000000, "overlap": 0, "deferred": true}');
SELECT piramid.grant_collection('wide', 'regress_worker', 'work');
INSERT INTO wide (body) SELECT CASE n WHEN 2 THEN (SELECT string_agg(md5(x::text), ' ') FROM generate_series(1, 40000) AS x) ELSE 'Short.' END FROM generate_series(1, 3) AS n;
SET ROLE regress_worker;
SELECT piramid.cut_documents(), piramid.cut_documents();
SELECT chunks, uncut, failed, last_error FROM piramid.collection_status WHERE collection = 'wide'::regclass;
SELECT piramid.requeue_failed('wide'), piramid.cut('wide');
SET ROLE regress_owner;
UPDATE wide SET body = 'Shorter.' WHERE id = 2;
SELECT piramid.cut('wide');
DELETE FROM wide WHERE id <> 2;
SELECT piramid.alter_collection('wide', '{"chunking": {"size": 10000000, "strategy": "semantic"}}');
UPDATE wide SET body = (SELECT string_agg(md5(x::text), ' ') FROM generate_series(1, 40000) AS x) WHERE id = 2;
SET ROLE regress_worker;
SELECT piramid.heartbeat(collection, lease_token), piramid.complete_document(collection, lease_token, '{1}', '{1300000}') FROM piramid.claim_document();
SELECT count(*) FROM piramid.claim_document();
SET ROLE regress_owner;
-- nor does a collection of which the options are none
UPDATE wide SET body = 'Short.';
UPDATE piramid.collection SET chunking = '{"strategy": "semantic", "size": "many"}' WHERE documents = 'wide'::regclass;
SET ROLE regress_worker;
SELECT count(*) FROM piramid.claim_document();
SET ROLE regress_owner;
SELECT piramid.drop_collection('wide', keep_documents => false);
-- one owner's broken tables stop nobody else's work
SET ROLE regress_owner;
ALTER TABLE eager_job DROP COLUMN tokens;
ALTER TABLE eager_uncut DROP COLUMN document_id;
SET ROLE regress_worker;
SELECT count(*) > 0 AS claimed FROM piramid.claim();
SELECT piramid.cut_documents(), piramid.sweep(), piramid.promote_finished();
SET ROLE regress_owner;
DROP TABLE eager_uncut;
SELECT collection, uncut FROM piramid.collection_status ORDER BY collection::text;
SELECT check_name, detail IS NOT NULL AS told FROM piramid.health() WHERE NOT ok;
SELECT piramid.complete_document('notes', gen_random_uuid(), NULL, NULL), piramid.release_document('notes', NULL);
SELECT piramid.drop_collection('eager', keep_documents => false);
-- a partition as a collection, written by itself or through the whole
CREATE TABLE parted (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
SELECT piramid.attach_collection('parted_1', 'body', 'three');
INSERT INTO parted VALUES (1, 'One.');
INSERT INTO parted_1 VALUES (2, 'Two.');
SELECT document_id, text FROM parted_1_chunk ORDER BY 1;
SELECT piramid.drop_collection('parted_1');
DROP TABLE parted;
-- keys that rows exchange
CREATE TABLE swapped (id int PRIMARY KEY DEFERRABLE, body text, lang char(2));
INSERT INTO swapped VALUES (1, 'One.', 'en'), (2, 'Two.', 'de'), (3, 'Three.', 'fr');
SELECT piramid.attach_collection('swapped', 'body', 'three', filter_columns => '{lang}');
UPDATE swapped SET id = id + 1;
UPDATE swapped SET id = 5 - id WHERE id < 4;
WITH gone AS (DELETE FROM swapped WHERE id = 4) INSERT INTO swapped VALUES (4, 'Four.', 'it');
SELECT d.id, body, d.lang, text, c.lang FROM swapped AS d LEFT JOIN swapped_chunk AS c ON document_id = d.id ORDER BY 1;
SELECT document_id FROM piramid.search('swapped', query_text => 'two or three or four', filter => '{"lang": "de"}');
SELECT piramid.alter_collection('swapped', '{"chunking": {"deferred": true}}'), piramid.cut('swapped');
UPDATE swapped SET id = 5 - id WHERE id < 4;
SELECT d.id, body, text FROM swapped AS d LEFT JOIN swapped_chunk ON document_id = d.id ORDER BY 1;
SELECT piramid.cut('swapped');
SELECT d.id, body, text FROM swapped AS d LEFT JOIN swapped_chunk ON document_id = d.id ORDER BY 1;
SELECT piramid.drop_collection('swapped');
DROP TABLE swapped;
-- Where chunks are in a text that has changed: as strpos() says, in one go
SELECT count(*), bool_and(place = strpos(body, wanted)) AS same, count(*) FILTER (WHERE place > 0) AS found
FROM (SELECT string_agg(CASE n % 7 WHEN 0 THEN 'a' WHEN 3 THEN chr(233) ELSE 'b' || n % 13 END, '') AS body FROM generate_series(1, 300) AS n) AS d,
	LATERAL (SELECT array_agg(CASE n % 3 WHEN 0 THEN translate(t, '5', '6') ELSE t END) AS texts
		FROM generate_series(1, 400) AS n, LATERAL substr(body, n, 1 + n * n % 97) AS t) AS x,
	unnest(texts, piramid.places(body, texts)) AS u(wanted, place);
SELECT piramid.places('', '{a,"",NULL}'), piramid.places('abc', '{abc,abcd,abc,c,NULL,bc}'), piramid.places('aaa', '{}'), piramid.places(NULL, '{a}');
-- a text that is none
CREATE TABLE numbers (id int PRIMARY KEY, body int);
SELECT piramid.attach_collection('numbers', 'body', 'three');
INSERT INTO numbers VALUES (1, 1);
DROP TABLE numbers;
SELECT piramid.create_collection('numbers', 'three', filter_columns => '{"n": "int"}');
INSERT INTO numbers (body, metadata) VALUES ('One.', '{"n": 1}'), ('Two.', '{"n": 2}');
-- numbers that a filter column of integers cannot have
SELECT f, (SELECT count(*) FROM piramid.search('numbers', query_text => 'one OR two', filter => f)) FROM (SELECT jsonb_array_elements(
	'[{"n": 1.0}, {"n": {"$gt": 1.5}}, {"n": {"$lt": 99999999999}}, {"n": {"$in": [2, 2.5]}}, {"n": {"$ne": 1.5}}, {"n": {"$in": [1, 2147483647]}}]') AS f) AS x;
SELECT piramid.drop_collection('numbers', keep_documents => false);
-- types that have a length
SELECT piramid.create_collection('coded', 'three', filter_columns => '{"code": "char(3)"}');
INSERT INTO coded (body, metadata) VALUES ('One.', '{"code": "abc"}'), ('Two.', '{"code": "axy"}');
SELECT piramid.import_vectors('coded', array_agg(text), array_agg('[1,2,3]'::piramid.embedding)) FROM coded_chunk;
SELECT text FROM piramid.search('coded', '[1,2,3]', filter => '{"code": "abc"}');
SELECT text FROM piramid.search('coded', '[1,2,3]', filter => '{"code": {"$ne": "abc"}}');
SELECT piramid.drop_collection('coded', keep_documents => false);
-- documents with a policy of their own: as many rows as there are to see
CREATE TABLE secret (id int PRIMARY KEY, body text, who text);
INSERT INTO secret SELECT n, format('Secret %s.', n), CASE WHEN n > 30 THEN 'regress_writer' ELSE 'nobody' END FROM generate_series(1, 33) AS n;
SELECT piramid.attach_collection('secret', 'body', 'three', filter_columns => '{who}');
CREATE POLICY p ON secret USING (who = current_user);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
SELECT piramid.import_vectors('secret', array_agg(text), array_agg(format('[%s,1,0]', document_id)::piramid.embedding)) FROM secret_chunk;
SELECT piramid.grant_collection('secret', 'regress_writer', 'read');
SET ROLE regress_writer;
SELECT document_id FROM piramid.search('secret', '[1,1,0]', k => 3) ORDER BY 1;
SELECT document_id FROM piramid.search('secret', query_text => 'secret', k => 3) ORDER BY 1;
SET ROLE regress_owner;
SELECT piramid.drop_collection('secret');
DROP TABLE secret;

-- Documents that are cut where their meaning changes: what a worker does
SELECT piramid.alter_collection('later', '{"chunking": {"strategy": "semantic", "size": 40, "percentile": 50}}');
SELECT piramid.cut('later');
SET ROLE regress_worker;
CREATE TEMP TABLE claimed AS SELECT * FROM piramid.claim_document(providers => '{fake}');
SELECT collection, provider, model_id, size, percentile, starts, lengths, sentences FROM claimed;
SELECT piramid.complete_document('later', lease_token, '{1}', '{1000}') FROM claimed;
SELECT piramid.complete_document('later', lease_token, ARRAY[starts[1], starts[3]], ARRAY[lengths[1], lengths[3]]) FROM claimed;
SELECT piramid.complete_document('later', lease_token, starts, lengths) FROM claimed;
SELECT start, length, text FROM later_chunk WHERE document_id = 1 ORDER BY 1;
TRUNCATE claimed;
INSERT INTO claimed SELECT * FROM piramid.claim_document();
SELECT document_id FROM claimed \gset
SET ROLE regress_writer;
UPDATE later SET body = body || ' More.' WHERE id = :document_id;
SET ROLE regress_worker;
SELECT piramid.complete_document('later', lease_token, starts, lengths) FROM claimed;
SELECT piramid.release_document(collection, lease_token) FROM piramid.claim_document();
-- one with which workers die is given up, until it changes or is asked for again
SELECT count(*) AS documents FROM later_uncut WHERE document_id IS NOT NULL \gset
DO $$
DECLARE
	n integer := 0;
BEGIN
	LOOP
		PERFORM FROM piramid.claim_document('-1 s', max_lost => 2);
		EXIT WHEN NOT FOUND;
		n := n + 1;
	END LOOP;
	RAISE WARNING '% leases ended by themselves', n;
END $$;
SELECT :documents AS documents, (SELECT count(*) FROM later_uncut WHERE error IS NULL) AS waiting, failed, last_error
FROM piramid.collection_status WHERE collection = 'later'::regclass;
SELECT piramid.requeue_failed('later') = :documents AS again, (SELECT max(lost) FROM later_uncut);
SELECT piramid.release_document(collection, lease_token, 'no such model') FROM piramid.claim_document();
SELECT count(*) FROM piramid.claim_document();
SELECT uncut, failed, last_error FROM piramid.collection_status WHERE collection = 'later'::regclass;
SELECT piramid.requeue_failed('later');
SELECT count(*) FROM piramid.claim_document(lease => '0 s');
SELECT piramid.pause_provider('fake', 'no', '1 hour');
SELECT count(*) FROM piramid.claim_document();
DELETE FROM piramid.pause;
DROP TABLE claimed;
SET ROLE regress_owner;
SELECT piramid.create_collection('bad', 'three', chunking => '{"strategy": "semantic", "deferred": false}');
SELECT piramid.create_collection('bad', 'three', chunking => '{"percentile": 5}');
SELECT piramid.create_collection('bad', 'three', chunking => '{"deferred": true}', isolation => 'rls');
-- whose code would run when a worker reads documents
CREATE POLICY p ON later USING (body <> '');
ALTER TABLE later ENABLE ROW LEVEL SECURITY;
SET ROLE regress_worker;
SELECT count(*), (SELECT count(*) FROM piramid.claim_document()) FROM piramid.cut_documents() AS n WHERE n > 0;
SET ROLE regress_owner;
SELECT piramid.drop_collection('later', keep_documents => false);

-- Quotas are of each tenant, whoever writes.
SELECT piramid.create_collection('shared', 'three', isolation => 'rls');
SELECT piramid.set_quota('shared', max_documents => 2, max_bytes => 100);
RESET ROLE;
INSERT INTO shared (tenant, body) VALUES ('a', 'One of a.'), ('a', 'Two of a.'), ('b', 'One of b.');
INSERT INTO shared (tenant, body) VALUES ('b', 'Two of b.'), ('a', 'Three of a.');
INSERT INTO shared (tenant, body) VALUES ('c', repeat('Much of c. ', 20));
UPDATE shared SET tenant = 'a' WHERE tenant = 'b';
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO shared (tenant, body) VALUES ('b', 'Two of b.');
ROLLBACK;
SET ROLE regress_owner;
SET piramid.tenant = 'a';
INSERT INTO shared (body) VALUES ('Three of a.');
-- nor is one tenant's part of the documents all of them
SELECT piramid.alter_collection('shared', '{"chunking": {"size": 20, "overlap": 0}}');
SELECT piramid.alter_collection('shared', '{"metadata_schema": {"required": ["a"]}}');
SELECT piramid.alter_collection('shared', '{"metadata_schema": null}');
SELECT piramid.rechunk_all('shared');
-- nor does a tenant see jobs of another
SELECT tenant, count(*) FROM shared_job GROUP BY 1;
SELECT chunks, pending FROM piramid.collection_status WHERE collection = 'shared'::regclass;
SELECT piramid.set_model('shared', 'four');
SELECT piramid.promote('shared', 2);
RESET ROLE;
UPDATE shared SET tenant = 'c' WHERE tenant = 'b';
SELECT tenant, count(*) FROM shared_job GROUP BY 1 ORDER BY 1;
SET ROLE regress_owner;
RESET piramid.tenant;

-- A worker promotes, where the owner has said so, what is complete.
SELECT piramid.grant_collection('shared', 'regress_worker', 'work'), piramid.grant_collection('shared', 'regress_worker', 'work');
SET ROLE regress_worker;
UPDATE piramid.version SET state = 'active' WHERE documents = 'shared'::regclass AND version = 2;
SELECT piramid.sweep(2), piramid.sweep(), piramid.sweep(), piramid.promote_finished();
SET ROLE regress_owner;
SELECT piramid.alter_collection('shared', '{"auto_promote": true}');
SET ROLE regress_worker;
SELECT piramid.promote_finished();
UPDATE piramid.version SET model = 'three' WHERE documents = 'shared'::regclass;
DO $$
DECLARE
	c regclass; token uuid; ids bigint[]; d int;
BEGIN
	LOOP
		SELECT min(collection::oid)::regclass, min(lease_token::text)::uuid, array_agg(chunk_id), min(dims) INTO c, token, ids, d FROM piramid.claim();
		EXIT WHEN ids IS NULL;
		PERFORM piramid.complete(c, token, ids, array_fill(array_to_json(array_fill(1, ARRAY[d]))::text::piramid.embedding, ARRAY[cardinality(ids)]));
	END LOOP;
END $$;
SELECT version, state, coverage FROM piramid.collection_status WHERE collection = 'shared'::regclass ORDER BY 1;
SELECT piramid.promote_finished(), piramid.promote_finished();
SELECT version, state FROM piramid.version WHERE documents = 'shared'::regclass ORDER BY 1;
SET ROLE regress_owner;
SELECT piramid.drop_version('shared', 1);

-- New documents are queued without a statement, and yet with all that an INSERT would do.
SELECT piramid.create_collection('queued', 'three', chunking => '{"deferred": true}', filter_columns => '{"n": "integer", "t": "text"}');
BEGIN;
INSERT INTO queued (body) SELECT 'A text.' FROM generate_series(1, 2500);
INSERT INTO queued (body) SELECT 'A text.' WHERE false;
SELECT id, document_id, cardinality(documents), queued_at = now() AS queued, lease, error FROM queued_uncut ORDER BY 1;
SAVEPOINT one;
INSERT INTO queued (body, metadata) VALUES ('Another text.', '{"n": "five"}');
ROLLBACK TO one;
DELETE FROM queued WHERE id > 2;
SELECT piramid.cut('queued', 10000), piramid.cut('queued');
SELECT count(*) FROM queued_chunk;
ROLLBACK;
GRANT INSERT ON queued TO regress_writer;
SET ROLE regress_writer;
INSERT INTO queued (body) VALUES ('Mine.');
SET ROLE regress_owner;
GRANT INSERT (documents) ON queued_uncut TO regress_writer;
GRANT SELECT ON queued TO regress_writer;
SET ROLE regress_writer;
INSERT INTO queued (body) VALUES ('Mine.');
SET ROLE regress_owner;
GRANT INSERT ON queued_uncut TO regress_writer;
ALTER TABLE queued_uncut ENABLE ROW LEVEL SECURITY;
CREATE POLICY none ON queued_uncut WITH CHECK (false);
SET ROLE regress_writer;
INSERT INTO queued (body) VALUES ('Mine.');
SET ROLE regress_owner;
ALTER TABLE queued_uncut DISABLE ROW LEVEL SECURITY;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'queued'; RETURN NEW; END $$;
CREATE TRIGGER tell BEFORE INSERT ON queued_uncut FOR EACH ROW EXECUTE FUNCTION tell();
INSERT INTO queued (body) VALUES ('Mine.');
DROP TRIGGER tell ON queued_uncut;
ALTER TABLE queued_uncut ADD CHECK (cardinality(documents) < 2);
\set VERBOSITY terse
INSERT INTO queued (body) VALUES ('Mine.'), ('Mine, too.');
\set VERBOSITY default
ALTER TABLE queued_uncut RENAME TO waiting;
INSERT INTO queued (body) VALUES ('Mine.');
SELECT count(*), bool_and(documents <@ ARRAY(SELECT id FROM queued)) FROM waiting;
-- an owner may break it
ALTER TABLE waiting ALTER queued_at DROP DEFAULT, ALTER queued_at TYPE text, ALTER queued_at SET DEFAULT 'now';
INSERT INTO queued (body) VALUES ('Mine.');
SELECT count(*) FILTER (WHERE queued_at = 'now') FROM waiting;
ALTER TABLE waiting ALTER documents TYPE text[];
INSERT INTO queued (body) VALUES ('Mine.');
DROP FUNCTION tell();
-- its default, and its rules
SELECT piramid.create_collection('ruled', 'three', chunking => '{"deferred": true}');
INSERT INTO ruled (body) VALUES ('Mine.');
ALTER TABLE ruled_uncut ALTER queued_at SET DEFAULT '2020-01-01 00:00+00';
INSERT INTO ruled (body) VALUES ('Mine.');
ALTER TABLE ruled_uncut ALTER queued_at SET DEFAULT now();
INSERT INTO ruled (body) VALUES ('Mine.');
CREATE RULE none AS ON INSERT TO ruled_uncut DO INSTEAD NOTHING;
INSERT INTO ruled (body) VALUES ('Mine.');
DROP RULE none ON ruled_uncut;
INSERT INTO ruled (body) VALUES ('Mine.');
SELECT documents, extract(year FROM queued_at AT TIME ZONE 'UTC') = 2020 AS old FROM ruled_uncut ORDER BY id;
SELECT piramid.drop_collection('ruled', keep_documents => false);
-- A key that is NULL, as the owner lets it be, is no document.
CREATE TABLE keyless (id text PRIMARY KEY, body text);
SELECT piramid.attach_collection('keyless', 'body', 'three', chunking => '{"deferred": true}');
ALTER TABLE keyless DROP CONSTRAINT keyless_pkey;
ALTER TABLE keyless ALTER id DROP NOT NULL;
INSERT INTO keyless VALUES (NULL, 'None.');
INSERT INTO keyless VALUES ('a', 'One.'), (NULL, 'None.'), ('b', 'Two.');
SELECT documents FROM keyless_uncut;
-- not its trigger
\set VERBOSITY terse
CREATE TRIGGER other AFTER UPDATE ON keyless FOR EACH STATEMENT EXECUTE FUNCTION piramid.documents_added();
UPDATE keyless SET body = 'Other.' WHERE id = 'a';
DROP TRIGGER other ON keyless;
CREATE TRIGGER other BEFORE INSERT ON keyless FOR EACH ROW EXECUTE FUNCTION piramid.documents_added();
INSERT INTO keyless VALUES ('c', 'Three.');
\set VERBOSITY default
SELECT piramid.drop_collection('keyless');
DROP TABLE keyless;
SELECT piramid.drop_collection('queued', keep_documents => false);

-- Filter columns of several types are tested row by row; who writes need not be able to read.
CREATE DOMAIN year_of AS integer CHECK (VALUE > 1900);
SELECT piramid.create_collection('typed', 'three', chunking => '{"deferred": true}',
	filter_columns => '{"year": "public.year_of", "day": "date", "ok": "boolean", "Odd name": "text", "size": "float8"}');
INSERT INTO typed (body, metadata) VALUES ('a', '{"year": 2000, "day": "2020-02-29", "ok": true, "Odd name": {"a": 1}, "size": 1e3}'), ('b', '{}'), ('c', '{"day": null, "more": []}');
INSERT INTO typed (body, metadata) VALUES ('d', '{"year": 2000}'), ('e', '{"year": 1800}');
INSERT INTO typed (body, metadata) VALUES ('d', '{"year": 2000}'), ('e', '{"day": "2021-02-29"}');
INSERT INTO typed (body, metadata) VALUES ('d', '{"ok": "maybe"}');
INSERT INTO typed (body, metadata) VALUES ('d', '{"size": {}}');
GRANT INSERT ON typed, typed_uncut TO regress_writer;
SET ROLE regress_writer;
INSERT INTO typed (body, metadata) VALUES ('f', '{"size": 2}'), ('g', '{"ok": false}');
SET ROLE regress_owner;
SELECT documents FROM typed_uncut ORDER BY id;
SELECT piramid.cut('typed');
SELECT document_id, year, day, ok, "Odd name", size FROM typed_chunk ORDER BY document_id;
SELECT piramid.drop_collection('typed', keep_documents => false);
DROP DOMAIN year_of;

-- Many documents of a statement: a thousand in a row, whose keys are not compressed
SELECT piramid.create_collection('many', 'three', chunking => '{"deferred": true}');
INSERT INTO many (body) SELECT n FROM generate_series(1, 2500) AS n;
SELECT cardinality(documents), documents[1] AS first, pg_column_compression(documents) FROM many_uncut ORDER BY id;
DELETE FROM many_uncut;
-- of several statements in one, of none, of one that changes what is there
WITH one AS (INSERT INTO many (body) VALUES ('a')), two AS (INSERT INTO many (body) VALUES ('b') RETURNING id) SELECT count(*) FROM two;
INSERT INTO many (body) SELECT 'none' WHERE false;
INSERT INTO many (body, external_id) VALUES ('c', 'x');
INSERT INTO many (body, external_id) VALUES ('d', 'x'), ('e', 'y') ON CONFLICT (tenant, external_id) DO UPDATE SET title = 'kept';
SELECT documents FROM many_uncut ORDER BY id;
DELETE FROM many_uncut;
-- What is undone is not queued, and nothing of it is left for the next statement.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF NEW.body = 'bad' THEN
		RAISE EXCEPTION 'bad';
	ELSIF NEW.body LIKE 'twice%' AND pg_trigger_depth() = 1 THEN
		INSERT INTO many (body) VALUES (NEW.body || ' more');
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER refuse AFTER INSERT ON many FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO many (body) VALUES ('good'), ('bad');
INSERT INTO many (body) VALUES ('after an error');
BEGIN;
INSERT INTO many (body) VALUES ('in a transaction');
SAVEPOINT s;
INSERT INTO many (body) VALUES ('good'), ('bad');
ROLLBACK TO s;
INSERT INTO many (body) VALUES ('after a savepoint');
DO $$ BEGIN
	INSERT INTO many (body) VALUES ('good'), ('bad');
EXCEPTION WHEN raise_exception THEN
	INSERT INTO many (body) VALUES ('after an exception');
END $$;
COMMIT;
-- A trigger adds further ones.
INSERT INTO many (body) VALUES ('twice 1'), ('twice 2');
SELECT d.body, count(*) FROM many_uncut, unnest(documents) AS k LEFT JOIN many AS d ON d.id = k GROUP BY d.id ORDER BY d.id;
SELECT piramid.alter_collection('many', '{"chunking": {}}');
INSERT INTO many (body) SELECT format('cut %s', n) FROM generate_series(1, 1500) AS n UNION ALL SELECT 'twice' ;
SELECT count(*), count(DISTINCT document_id) FROM many_chunk WHERE text LIKE 'cut %' OR text LIKE 'twice%';
SELECT piramid.set_quota('many', max_chunks => 4500);
INSERT INTO many (body) SELECT 'one more' FROM generate_series(1, 1500);
-- A table that is no collection any more
CREATE TABLE unknown (LIKE many);
CREATE TRIGGER a AFTER INSERT ON unknown FOR EACH ROW EXECUTE FUNCTION piramid.documents_added();
INSERT INTO unknown SELECT * FROM many LIMIT 1;
DROP TABLE unknown;
-- A key that has another name
CREATE TABLE renamed (id int PRIMARY KEY, body text);
SELECT piramid.attach_collection('renamed', 'body', 'three');
ALTER TABLE renamed RENAME id TO number;
INSERT INTO renamed VALUES (1, 'One.');
ALTER TABLE renamed RENAME number TO id;
-- A collection that became a partition
CREATE TABLE whole (id int, body text) PARTITION BY RANGE (id);
ALTER TABLE whole ATTACH PARTITION renamed FOR VALUES FROM (0) TO (10);
INSERT INTO renamed VALUES (1, 'One.');
INSERT INTO whole VALUES (2, 'Two.');
SELECT document_id, text FROM renamed_chunk ORDER BY 1;
SELECT piramid.drop_collection('renamed');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'renamed'::regclass;
DROP TABLE whole;
SELECT piramid.drop_collection('many', keep_documents => false);
DROP FUNCTION refuse();

-- A kept plan follows the size of its table: that of one row is read from end to end, and later not.
CREATE TABLE grows (id integer PRIMARY KEY) WITH (autovacuum_enabled = false);
INSERT INTO grows VALUES (1);
ANALYZE grows;
SET statement_timeout = '60s';
DO $$
DECLARE
	scans bigint := 0;
	rounds integer := 0;
BEGIN
	WHILE scans = 0 LOOP
		PERFORM * FROM piramid.query('SELECT count(*) FROM public.grows WHERE id = $1', 1) AS t(n bigint);
		SELECT idx_scan INTO scans FROM pg_stat_xact_user_tables WHERE relname = 'grows';
		IF rounds = 0 AND scans = 0 THEN
			INSERT INTO grows SELECT generate_series(2, 20000);
		END IF;
		rounds := rounds + 1;
	END LOOP;
	RAISE WARNING 'at first by the index: %', rounds = 1;
END
$$;
RESET statement_timeout;
DROP TABLE grows;

-- A search is put together once, and anew after a change of what it is made of: of names, of how words are
-- searched, of who searches, of the collection, of the version.
SELECT piramid.create_collection('kept', 'three', filter_columns => '{"n": "integer"}');
INSERT INTO kept (body, metadata) VALUES ('One is here.', '{"n": 1}'), ('Two is here.', '{"n": 2}');
SELECT piramid.import_vectors('kept', '{One is here.,Two is here.}', '{"[1,0,0]","[0,1,0]"}');
SELECT text FROM piramid.search('kept', '[1,2,0]', 'one', filter => '{"n": {"$lt": 2}}');
ALTER TABLE kept_chunk RENAME TO other_chunk;
SELECT text FROM piramid.search('kept', '[1,2,0]', 'one', filter => '{"n": {"$lt": 2}}');
ALTER TABLE other_chunk DROP COLUMN words;
SELECT text FROM piramid.search('kept', '[1,2,0]', 'one', filter => '{"n": {"$lt": 2}}');
BEGIN;
ALTER TABLE kept RENAME COLUMN id TO key;
UPDATE piramid.collection SET key_column = 'key' WHERE documents = 'kept'::regclass;
SELECT document_id FROM piramid.search('kept', '[1,2,0]', 'one', filter => '{"n": {"$lt": 2}}');
ROLLBACK;
SELECT document_id FROM piramid.search('kept', '[1,2,0]', 'one', filter => '{"n": {"$lt": 2}}');
SELECT piramid.grant_collection('kept', 'regress_writer', 'read');
ALTER TABLE kept ENABLE ROW LEVEL SECURITY;
CREATE POLICY two ON kept USING (body LIKE 'Two%');
SELECT text FROM piramid.search('kept', '[1,2,0]', k => 1);
SELECT text FROM piramid.search('kept', '[2,1,0]', k => 1);
SET ROLE regress_writer;
SELECT text FROM piramid.search('kept', '[1,2,0]', k => 1);
SELECT text FROM piramid.search('kept', '[2,1,0]', k => 1);
SET ROLE regress_owner;
SELECT piramid.set_model('kept', 'four');
SELECT piramid.import_vectors('kept', '{One is here.,Two is here.}', '{"[1,0,0,0]","[0,1,0,0]"}', version => 2);
BEGIN;
SELECT piramid.promote('kept', 2);
SELECT text FROM piramid.search('kept', '[2,1,0,0]', k => 1);
SELECT piramid.drop_version('kept', 1);
SELECT text FROM piramid.search('kept', '[2,1,0,0]', k => 1);
ROLLBACK;
SELECT text FROM piramid.search('kept', '[2,1,0]', k => 1);
SELECT text FROM piramid.search('kept', '[2,1,0,0]', k => 1);
-- a weight is a number, or none
SELECT text FROM piramid.search('kept', '[2,1,0]', 'two', k => 1, weights => '{"vector": "0.5", "text": 2}');
SELECT text FROM piramid.search('kept', '[2,1,0]', 'two', k => 1, weights => '{"vector": null, "text": 0}');
SELECT text FROM piramid.search('kept', '[2,1,0]', 'two', k => 1, weights => '{"vector": [1]}');
SELECT count(*) FROM piramid.search('kept', '[2,1,0]', weights => NULL, filter => NULL, per_document => NULL);
SELECT piramid.search(NULL, '[2,1,0]');
SELECT piramid.search('kept', '[2,1,0]', k => NULL);
-- an owner may break it
BEGIN;
DROP INDEX kept_v1_embedding_n_idx;
ALTER TABLE kept_v1 ALTER embedding TYPE halfvec(3);
SELECT text FROM piramid.search('kept', '[2,1,0]', k => 1);
ROLLBACK;
BEGIN;
ALTER TABLE kept_v1 DROP COLUMN embedding;
\set VERBOSITY terse
SELECT text FROM piramid.search('kept', '[2,1,0]', k => 1);
\set VERBOSITY default
ROLLBACK;
SELECT text FROM piramid.search('kept', '[2,1,0]', k => 1);
SELECT piramid.drop_collection('kept', keep_documents => false);

-- an index that ranks words, by another name
RESET ROLE;
CREATE EXTENSION piramid_bm25;
SELECT piramid.create_collection('ranked', 'three');
INSERT INTO ranked (body) VALUES ('One is here.'), ('Two is here.');
SELECT text FROM piramid.search('ranked', query_text => 'one');
ALTER INDEX ranked_chunk_text_idx RENAME TO words_idx;
SELECT text FROM piramid.search('ranked', query_text => 'one');
SELECT piramid.drop_collection('ranked', keep_documents => false);
-- and both legs together: as piramid_hybrid() has it for a table with texts and vectors
CREATE FUNCTION same_as_hybrid(distance text, weight float8) RETURNS TABLE (found bigint, same bigint, by_words bigint, by_vector bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM piramid.create_collection('fused', 'three', distance => same_as_hybrid.distance);
	INSERT INTO fused (body) SELECT format('word%s term%s', n % 7, n % 11) FROM generate_series(1, 60) AS n;
	PERFORM piramid.import_vectors('fused', array_agg(text), array_agg(format('[%s,%s,%s]', sin(id), cos(2 * id), sin(3 * id))::piramid.embedding)) FROM fused_chunk;
	CREATE TABLE joined AS SELECT id, text, embedding FROM fused_chunk JOIN fused_v1 ON chunk_id = id ORDER BY id;
	CREATE INDEX ON joined USING bm25 (text) WITH (text_config = 'english');
	EXECUTE format('CREATE INDEX ON joined USING hnsw (embedding vector_%s_ops)', same_as_hybrid.distance);
	RETURN QUERY SELECT count(*), count(*) FILTER (WHERE abs(s.score - h.score) < 1e-6 AND abs(s.distance - h.distance) < 1e-6
			AND (s.text_rank, s.vector_rank) IS NOT DISTINCT FROM (h.text_rank, h.vector_rank)), count(h.text_rank), count(h.vector_rank)
		FROM piramid.search('fused', '[1,2,3]', 'word3 OR term5', k => 12, weights => jsonb_build_object('vector', 2 * weight, 'text', 2 * (1 - weight))) AS s
			LEFT JOIN (SELECT y.*, j.id FROM piramid_hybrid('joined', 'text', 'word3 term5', 'embedding', '[1,2,3]', max_rows => 12, weight => same_as_hybrid.weight) AS y
				JOIN joined AS j ON j.ctid = y.tid) AS h ON h.id = s.chunk_id;
	DROP TABLE joined;
	PERFORM piramid.drop_collection('fused', keep_documents => false);
END $$;
-- how many of the rows have which rank depends on the order of equal ones, which is not told
SELECT d, w, found, same, by_words > 0 AND by_vector > 0 AS both_ways FROM unnest(ARRAY['cosine', 'l2', 'ip']) AS d, unnest(ARRAY[0.5, 0.2, 0.05, 1]) AS w, same_as_hybrid(d, w) AS s;
DROP FUNCTION same_as_hybrid;
-- without a vector yet, with a vector of no direction, and with words that are nowhere
SELECT piramid.create_collection('fused', 'three');
INSERT INTO fused (body) VALUES ('One is here.'), ('Two is here.'), ('Three is here, as is one.');
SELECT piramid.import_vectors('fused', '{One is here.,Two is here.}', '{"[1,0,0]","[0,1,0]"}');
SELECT text, round(score::numeric, 3) AS score, vector_rank, text_rank FROM piramid.search('fused', '[1,2,0]', 'one');
SELECT text, round(score::numeric, 3) AS score FROM piramid.search('fused', '[0,0,0]', 'one');
SELECT text, round(score::numeric, 3) AS score FROM piramid.search('fused', '[1,2,0]', 'four', weights => '{"vector": 0, "text": 0}');
SELECT text, round(score::numeric, 3) AS score FROM piramid.search('fused', '[1,2,0]', 'one', min_score => 0.5, per_document => true);
SELECT piramid.drop_collection('fused', keep_documents => false);
DROP EXTENSION piramid_bm25;
SET ROLE regress_owner;

-- Metrics do not read chunks where there are many; what waits is counted all the same.
SELECT piramid.register_model('many', 'alone', 'm-3', 3, 100);
SELECT piramid.create_collection('many', 'many');
INSERT INTO many (body) SELECT repeat('Some words of it. ', 20) || n FROM generate_series(1, 2000) AS n;
-- nor do workers read all that waits
ANALYZE many_job;
BEGIN;
SELECT count(*) FROM piramid.claim(items => 5, providers => '{alone}');
SELECT seq_tup_read + idx_tup_fetch < 100 AS few FROM pg_stat_xact_user_tables WHERE relname = 'many_job';
ROLLBACK;
SELECT piramid.import_vectors('many', array_agg(text), array_agg(format('[1,2,%s]', id)::piramid.embedding)) FROM many_chunk WHERE id > 10;
ANALYZE many_chunk;
BEGIN;
SELECT name, value FROM piramid.metrics WHERE labels ->> 'collection' LIKE '%many' AND name ~ 'chunks|ratio|jobs' ORDER BY name;
SELECT check_name, ok FROM piramid.health('0 s') WHERE check_name IN ('jobs', 'workers');
SELECT count(*) AS scans FROM pg_stat_xact_user_tables WHERE relname IN ('many_chunk', 'many_v1') AND seq_scan + idx_scan > 0;
SELECT chunks, embedded, pending, coverage FROM piramid.collection_status WHERE collection = 'many'::regclass;
SELECT count(*) AS scans FROM pg_stat_xact_user_tables WHERE relname IN ('many_chunk', 'many_v1') AND seq_scan + idx_scan > 0;
COMMIT;
-- A version that is built has chunks without a job: they are counted.
SELECT piramid.set_model('many', 'many');
SELECT name, value FROM piramid.metrics WHERE labels ->> 'collection' LIKE '%many' AND labels ->> 'state' = 'building' AND name ~ 'chunks|ratio|jobs' ORDER BY name;
SELECT piramid.drop_collection('many', keep_documents => false);

SELECT piramid.drop_collection('shared', keep_documents => false), piramid.drop_collection('notes', keep_documents => false);
RESET ROLE;
DELETE FROM piramid.model;
DROP EXTENSION piramid_collections;
DROP SCHEMA piramid;
DROP OWNED BY regress_owner, regress_worker, regress_writer;
DROP ROLE regress_owner, regress_worker, regress_writer;
