-- Collections: tables that go without drop_collection(), tables with partitions, and tables of unusual kinds.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION piramid_collections;
CREATE ROLE regress_owner;
GRANT CREATE ON SCHEMA public TO regress_owner;
SET ROLE regress_owner;
SELECT piramid.register_model('three', 'fake', 'm-3', 3, 100);
-- Chunks of a collection, with a filter column and the vector of each
CREATE FUNCTION chunks(collection text, filtered text DEFAULT 'NULL') RETURNS TABLE (document text, ordinal int, text text, filter text, vector text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT c.document_id::text, c.ordinal, c.text, c.f, v.embedding::text || coalesce(nullif(format('' %%s'', v.f), '' ''), '''')
		FROM (SELECT *, %3$s::text AS f FROM %1$s) AS c LEFT JOIN (SELECT *, %3$s::text AS f FROM %2$s) AS v ON v.chunk_id = c.id ORDER BY (c.document_id::text) COLLATE "C", 2',
		collection || '_chunk', collection || '_v1', filtered);
END $$;
-- What a worker does: the vector tells the length of the text
CREATE FUNCTION embed(collection text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	PERFORM piramid.cut(collection);
	EXECUTE format('SELECT piramid.import_vectors(%1$L, array_agg(text), array_agg(format(''[1,0,%%s]'', length(text))::piramid.embedding)) FROM %2$s', collection, collection || '_chunk') INTO n;
	RETURN n;
END $$;

-- Documents that are dropped by hand leave tables.  A collection of the same name drops them.
SELECT piramid.create_collection('docs', 'three', chunking => '{"deferred": true}');
INSERT INTO docs (body) VALUES ('A text.');
SELECT embed('docs');
DROP TABLE docs CASCADE;
SELECT ok, regexp_replace(detail, '\d+', 'n', 'g') AS detail FROM piramid.health() WHERE check_name = 'tables';
SELECT piramid.create_collection('docs', 'three');
INSERT INTO docs (body) VALUES ('Another text.');
SELECT * FROM chunks('docs');
SELECT count(*) FROM piramid.collection;
-- but not if they are of others,
DROP TABLE docs CASCADE;
RESET ROLE;
SELECT count(*) FROM piramid.version AS v, pg_class AS c WHERE c.oid = v.vectors;
ALTER TABLE docs_chunk OWNER TO CURRENT_USER;
SET ROLE regress_owner;
SELECT piramid.create_collection('docs', 'three');
RESET ROLE;
ALTER TABLE docs_chunk OWNER TO regress_owner;
SET ROLE regress_owner;
SELECT piramid.create_collection('docs', 'three');
-- nor what remains of a table of the user, whose rows may come again
CREATE TABLE items (id int PRIMARY KEY, body text);
SELECT piramid.attach_collection('items', 'body', 'three');
INSERT INTO items VALUES (1, 'An item.');
DROP TABLE items;
CREATE TABLE items (id int PRIMARY KEY, body text);
\set VERBOSITY terse
SELECT piramid.attach_collection('items', 'body', 'three');
\set VERBOSITY default
SELECT piramid.drop_collection(documents::oid) FROM piramid.collection WHERE attached;
SELECT piramid.attach_collection('items', 'body', 'three');
-- A table beside that has nothing to do with it
CREATE TABLE other_job ();
SELECT piramid.create_collection('other', 'three');
DROP TABLE other_job;
-- Chunks that are dropped by hand
DROP TABLE items_chunk CASCADE;
INSERT INTO items VALUES (1, 'An item.');
SELECT piramid.drop_collection('items'), piramid.drop_collection('docs', keep_documents => false);
INSERT INTO items VALUES (1, 'An item.');
SELECT count(*) FROM piramid.collection;
SELECT ok FROM piramid.health() WHERE check_name = 'tables';
-- A registry that has lost a collection, as in a dump of one schema
SELECT piramid.attach_collection('items', 'body', 'three');
DELETE FROM piramid.version;
DELETE FROM piramid.collection;
INSERT INTO items VALUES (2, 'Another item.');
SELECT piramid.attach_collection('items', 'body', 'three');
DROP TABLE items_v1, items_job, items_chunk;
SELECT piramid.attach_collection('items', 'body', 'three');
INSERT INTO items VALUES (2, 'Another item.');
SELECT * FROM chunks('items');
SELECT piramid.drop_collection('items');
DROP TABLE items;

-- Rows that move to another partition, whose triggers change them; the key is the partition key.
CREATE TABLE parts (id int PRIMARY KEY, k int, body text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
CREATE TABLE parts_21 (k int, dropped int, body text, id int NOT NULL);
ALTER TABLE parts_21 DROP dropped;
ALTER TABLE parts_2 ATTACH PARTITION parts_21 FOR VALUES FROM (10) TO (20);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.body := NEW.body || ' Moved.'; NEW.k := NEW.k + 100; RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON parts_21 FOR EACH ROW EXECUTE FUNCTION stamp();
INSERT INTO parts VALUES (1, 1, 'One.'), (2, 2, 'Two.'), (3, 3, 'Three.'), (4, 4, 'Four.');
SELECT piramid.attach_collection('parts', 'body', 'three', filter_columns => '{k}', chunking => '{"strategy": "sentence", "size": 12, "overlap": 0}');
SELECT embed('parts');
UPDATE parts SET id = 11 WHERE id = 1;
UPDATE parts_1 SET id = id + 1 WHERE id = 4;
UPDATE parts SET id = 12, body = 'Two again.' WHERE id = 2;
WITH gone AS (DELETE FROM parts WHERE id = 3 RETURNING *) INSERT INTO parts SELECT 13, k, body FROM gone;
INSERT INTO parts VALUES (5, 50, 'Five.') ON CONFLICT (id) DO UPDATE SET k = excluded.k;
MERGE INTO parts USING (VALUES (5), (6)) AS x(i) ON id = i WHEN MATCHED THEN UPDATE SET k = 51 WHEN NOT MATCHED THEN INSERT VALUES (i, i, 'Six.');
SELECT * FROM chunks('parts', 'k');
SELECT embed('parts');
UPDATE parts SET id = id - 10 WHERE id = 12;
UPDATE parts SET id = CASE id WHEN 2 THEN 14 WHEN 11 THEN 1 ELSE id END WHERE id IN (2, 11);
SELECT * FROM chunks('parts', 'k');
-- The same where documents are cut later
SELECT piramid.alter_collection('parts', '{"chunking": {"strategy": "sentence", "size": 12, "overlap": 0, "deferred": true}}');
SELECT embed('parts');
UPDATE parts SET id = id + 10 WHERE id < 10;
UPDATE parts SET id = 2, k = 2 WHERE id = 13;
SELECT * FROM chunks('parts', 'k');
SELECT embed('parts');
SELECT * FROM chunks('parts', 'k');
SELECT id, k, body FROM parts ORDER BY id;
-- A part of a collection is none by itself, nor is what it is a part of.
SELECT piramid.attach_collection('parts', 'body', 'three');
SELECT piramid.attach_collection('parts_21', 'body', 'three');
SELECT piramid.drop_collection('parts');
-- Partitions that are collections by themselves, where the key is not the partition key
CREATE TABLE lists (id int, k int, body text) PARTITION BY LIST (k);
CREATE TABLE lists_1 PARTITION OF lists (PRIMARY KEY (id)) FOR VALUES IN (1);
CREATE TABLE lists_2 PARTITION OF lists (PRIMARY KEY (id)) FOR VALUES IN (2);
CREATE TABLE lists_3 PARTITION OF lists FOR VALUES IN (3);
SELECT piramid.attach_collection('lists_1', 'body', 'three', filter_columns => '{k}');
SELECT piramid.attach_collection('lists_2', 'body', 'three', filter_columns => '{k}', chunking => '{"deferred": true}');
SELECT piramid.attach_collection('lists', 'body', 'three');
INSERT INTO lists VALUES (1, 1, 'One.'), (2, 2, 'Two.'), (3, 3, 'Three.'), (4, 1, 'Four.');
SELECT embed('lists_1'), embed('lists_2');
UPDATE lists SET k = 2, body = 'One moves.' WHERE id = 1;
UPDATE lists SET k = 1 WHERE id = 2;
UPDATE lists SET k = 2 WHERE id = 3;
UPDATE lists SET k = 3 WHERE id = 4;
SELECT * FROM chunks('lists_1', 'k');
SELECT * FROM chunks('lists_2', 'k');
SELECT embed('lists_1'), embed('lists_2');
SELECT * FROM chunks('lists_1', 'k');
SELECT * FROM chunks('lists_2', 'k');
SELECT piramid.drop_collection('lists_1'), piramid.drop_collection('lists_2');
DROP TABLE lists, parts;
DROP FUNCTION stamp;

-- Keys and texts of any type: the chunks follow, cut at once and later.
CREATE DOMAIN positive AS int NOT NULL CHECK (VALUE > 0);
CREATE TYPE colour AS ENUM ('red', 'green', 'blue');
CREATE FUNCTION follows(key_type text, keys text[], text_type text DEFAULT 'text', texts text[] DEFAULT '{One. Two.,Three.}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	deferred boolean;
	wrong bigint;
BEGIN
	FOREACH deferred IN ARRAY ARRAY[true, false] LOOP
		EXECUTE format('CREATE TABLE kinds (id %s PRIMARY KEY, k int, body %s)', key_type, text_type);
		PERFORM piramid.attach_collection('kinds', 'body', 'three', filter_columns => '{k}', chunking => jsonb_build_object('deferred', deferred));
		EXECUTE format('INSERT INTO kinds VALUES (%1$L, 1, %3$L), (%2$L, 2, %3$L)', keys[1], keys[2], texts[1]);
		EXECUTE format('INSERT INTO kinds VALUES (%1$L, 1, %2$L) ON CONFLICT (id) DO UPDATE SET body = excluded.body, k = 3', keys[1], texts[2]);
		EXECUTE format('UPDATE kinds SET id = %2$L WHERE id = %1$L', keys[2], keys[3]);
		UPDATE kinds SET k = 4 WHERE k = 2;
		PERFORM embed('kinds');
		EXECUTE 'SELECT count(*) FROM ((SELECT id, body::text, k FROM kinds EXCEPT SELECT c.document_id, text, v.k FROM kinds_chunk AS c JOIN kinds_v1 AS v ON v.chunk_id = c.id)
			UNION ALL (SELECT document_id, text, k FROM kinds_chunk EXCEPT SELECT id, body::text, k FROM kinds)) AS x' INTO wrong;
		IF wrong > 0 OR (SELECT count(*) FROM piramid.search('kinds', '[1,0,0]', filter => '{"k": {"$gt": 2}}')) <> 2 THEN
			RETURN 'wrong';
		END IF;
		EXECUTE format('DELETE FROM kinds WHERE id = %1$L', keys[1]);
		PERFORM embed('kinds');
		TRUNCATE kinds;
		EXECUTE 'SELECT count(*) FROM kinds_chunk' INTO wrong;
		PERFORM piramid.drop_collection('kinds');
		DROP TABLE kinds;
	END LOOP;
	RETURN CASE WHEN wrong = 0 THEN 'follows' ELSE 'wrong' END;
END $$;
SELECT key_type, follows(key_type, keys) FROM (VALUES ('bigint', '{1,2,3}'::text[]), ('positive', '{1,2,3}'), ('colour', '{red,green,blue}'), ('varchar(3)', '{a,b,c}'), ('name', '{a,b,c}'),
	('char(3)', '{a,b,c}'), ('uuid', '{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002,00000000-0000-0000-0000-000000000003}'),
	('timestamptz', '{2020-01-01,2020-01-02,2020-01-03}'), ('numeric(5,2)', '{1,2,3.5}'), ('jsonb', '{1,2,"{\"a\": 1}"}'), ('bytea', '{a,b,c}'), ('inet', '{1.1.1.1,2.2.2.2,3.3.3.3}')) AS t(key_type, keys);
CREATE DOMAIN words AS text NOT NULL CHECK (VALUE <> '');
SELECT text_type, follows('int', '{1,2,3}', text_type) FROM unnest(ARRAY['varchar(20)', 'name', 'char(10)', 'words']) AS text_type;
SELECT follows('int[]', '{1,2,3}');
DROP TABLE kinds;
SELECT follows('int', '{1,2,3}', text_type) FROM unnest(ARRAY['xml']) AS text_type;
SELECT follows('int', '{1,2,3}', 'json', '{1,2}');
DROP FUNCTION follows;
-- Domains that take no NULL, where the queue of documents is filled by a statement, and a worker of another role cuts
CREATE TABLE kinds (id positive PRIMARY KEY, k positive, body words);
SELECT piramid.attach_collection('kinds', 'body', 'three', filter_columns => '{k}', chunking => '{"deferred": true}');
SELECT piramid.set_quota('kinds', max_documents => 2);
INSERT INTO kinds VALUES (1, 1, 'One.'), (2, 2, 'Two.');
BEGIN ISOLATION LEVEL READ UNCOMMITTED;
INSERT INTO kinds VALUES (3, 3, 'Three.');
ROLLBACK;
SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'kinds_v1'::regclass AND attname = 'k';
SELECT piramid.is_plain('kinds_v1'), piramid.is_plain('kinds_chunk'), piramid.is_plain('kinds_uncut');
SELECT embed('kinds');
SELECT * FROM chunks('kinds', 'k');
SELECT piramid.drop_collection('kinds');
DROP TABLE kinds;
DROP DOMAIN positive, words;
DROP TYPE colour;

-- What is not followed is refused.
CREATE TABLE parent (id int PRIMARY KEY, body text);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
SELECT piramid.attach_collection('parent', 'body', 'three');
CREATE VIEW seen AS SELECT * FROM child;
SELECT piramid.attach_collection('seen', 'body', 'three');
CREATE TABLE pairs (a int, b int, body text, PRIMARY KEY (a, b));
SELECT piramid.attach_collection('pairs', 'body', 'three');
-- but a child, and what is generated
SELECT piramid.attach_collection('child', 'body', 'three');
INSERT INTO child VALUES (1, 'A child.');
UPDATE parent SET body = 'A child that has changed.';
SELECT * FROM chunks('child');
ALTER TABLE pairs DROP CONSTRAINT pairs_pkey, DROP body, ADD id text GENERATED ALWAYS AS (a::text || '/' || b::text) STORED PRIMARY KEY, ADD title text,
	ADD body text GENERATED ALWAYS AS ('About ' || title) STORED, ADD c int GENERATED ALWAYS AS (a * 2) STORED;
SELECT piramid.attach_collection('pairs', 'body', 'three', filter_columns => '{c}');
INSERT INTO pairs (a, b, title) VALUES (1, 1, 'pumps'), (1, 2, 'lids');
SELECT embed('pairs');
UPDATE pairs SET title = 'valves' WHERE b = 1;
UPDATE pairs SET a = 2 WHERE b = 1;
SELECT * FROM chunks('pairs', 'c');
SELECT piramid.drop_collection('child'), piramid.drop_collection('pairs');
DROP VIEW seen;
DROP TABLE parent, child, pairs;

-- Columns that are renamed or dropped, and triggers that are gone, are told.
CREATE TABLE named (id int PRIMARY KEY, body text, price int, colour text);
SELECT piramid.attach_collection('named', 'body', 'three', filter_columns => '{price}', metadata_columns => '{colour}');
INSERT INTO named VALUES (1, 'One.', 10, 'red');
SELECT embed('named');
ALTER TABLE named RENAME body TO content;
INSERT INTO named VALUES (2, 'Two.', 20, 'red');
UPDATE named SET content = 'One has changed.';
SELECT check_name, detail FROM piramid.health() WHERE NOT ok;
UPDATE piramid.collection SET text_column = 'content' WHERE documents = 'named'::regclass;
UPDATE named SET content = 'One has changed.';
ALTER TABLE named RENAME id TO number;
DELETE FROM named;
INSERT INTO named VALUES (2, 'Two.', 20, 'red');
ALTER TABLE named RENAME number TO id;
ALTER TABLE named RENAME price TO cost;
INSERT INTO named VALUES (2, 'Two.', 20, 'red');
UPDATE named SET cost = 1;
ALTER TABLE named RENAME cost TO price;
ALTER TABLE named DROP colour;
INSERT INTO named VALUES (2, 'Two.', 20);
SELECT check_name, detail FROM piramid.health() WHERE NOT ok;
ALTER TABLE named DISABLE TRIGGER piramid_insert;
ALTER TABLE named DROP price CASCADE;
SELECT check_name, detail FROM piramid.health() WHERE NOT ok AND check_name <> 'jobs' ORDER BY 1;
SELECT * FROM chunks('named', 'price');
SELECT piramid.drop_collection('named');
DROP TABLE named;

-- A model of a role that was dropped is the database owner's.
RESET ROLE;
CREATE ROLE regress_gone;
SET ROLE regress_gone;
SELECT piramid.register_model('gone', 'fake', 'm', 3, 100);
RESET ROLE;
DROP ROLE regress_gone;
SET ROLE regress_owner;
DELETE FROM piramid.model WHERE name = 'gone';
RESET ROLE;
UPDATE piramid.model SET owner = 'regress_owner' WHERE name = 'gone';
SET ROLE regress_owner;
DELETE FROM piramid.model WHERE name = 'gone';

DROP FUNCTION chunks, embed;
RESET ROLE;
DELETE FROM piramid.model;
DROP EXTENSION piramid_collections;
DROP SCHEMA piramid;
REVOKE CREATE ON SCHEMA public FROM regress_owner;
DROP ROLE regress_owner;
