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

DROP FUNCTION chunks, embed;
RESET ROLE;
DELETE FROM piramid.model;
DROP EXTENSION piramid_collections;
DROP SCHEMA piramid;
REVOKE CREATE ON SCHEMA public FROM regress_owner;
DROP ROLE regress_owner;
