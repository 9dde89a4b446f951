-- Functions about an index: what they say of one that they cannot read
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
CREATE VIEW functions AS SELECT * FROM unnest(ARRAY['piramid_hnsw_info', 'piramid_hnsw_keys', 'piramid_prewarm', 'piramid_overflow_links']) AS name;
CREATE TABLE t (id int PRIMARY KEY, v vector);
INSERT INTO t VALUES (1, '[1,2,3]'), (2, '[1,2,3,4]');

-- a concurrent build that fails, and is repaired
\set VERBOSITY terse
CREATE INDEX CONCURRENTLY t_v ON t USING hnsw ((v::vector(3)) vector_l2_ops);
\set VERBOSITY default
SELECT indisvalid FROM pg_index WHERE indexrelid = 't_v'::regclass;
SELECT name, error_of(format('SELECT %s(''t_v'')', name)) FROM functions;
DELETE FROM t WHERE id = 2;
REINDEX INDEX CONCURRENTLY t_v;
SELECT name, error_of(format('SELECT %s(''t_v'')', name)) FROM functions;

-- filter columns
SELECT * FROM piramid_hnsw_keys('t_v');
CREATE INDEX t_filter ON t USING hnsw (id, (v::vector(3)) vector_l2_ops);
INSERT INTO t VALUES (3, '[1,2,3]'), (4, '[3,2,1]');
SELECT key_columns, key_size, key_pages, exact, several, unknown FROM piramid_hnsw_keys('t_filter');
SELECT version, nodes, heap_tids FROM piramid_hnsw_info('t_filter');
DROP INDEX t_filter;

-- what does not exist, and what is something else
SELECT name, error_of(format('SELECT %s(4294967295::oid::regclass)', name)) FROM functions;
SELECT name, error_of(format('SELECT %s(''t'')', name)) FROM functions;
SELECT name, error_of(format('SELECT %s(''t_pkey'')', name)) FROM functions;
SELECT name, error_of(format('SELECT %s(''functions'')', name)) FROM functions;

-- a user without the privilege
CREATE ROLE regress_info_user;
GRANT SELECT ON functions TO regress_info_user;
SET ROLE regress_info_user;
SELECT name, error_of(format('SELECT %s(''t_v'')', name)) FROM functions;
RESET ROLE;
GRANT SELECT ON t TO regress_info_user;
SET ROLE regress_info_user;
SELECT name, error_of(format('SELECT %s(''t_v'')', name)) FROM functions;
RESET ROLE;

-- operator classes that cannot work
CREATE OPERATOR CLASS sorted_otherwise FOR TYPE vector USING hnsw AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY integer_ops,
	FUNCTION 1 l2_distance(vector, vector), FUNCTION 2 hnsw_l2_metric(internal);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'sorted_otherwise';
CREATE OPERATOR FAMILY f USING hnsw;
CREATE OPERATOR CLASS of_another_type FOR TYPE vector USING hnsw FAMILY f AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 l2_distance(vector, vector), FUNCTION 2 hnsw_l2_metric(internal);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'of_another_type';
DROP OPERATOR FAMILY f USING hnsw CASCADE;
DROP OPERATOR FAMILY sorted_otherwise USING hnsw CASCADE;

DROP VIEW functions;
DROP TABLE t;
DROP ROLE regress_info_user;

-- rows that are equal to those of a build share their nodes, however nodes store vectors
SELECT setseed(0.1);
CREATE TABLE e (v vector(70));
INSERT INTO e SELECT (SELECT array_agg(random() * i * (x > 0)::int) FROM generate_series(1, 70) AS x)::vector FROM generate_series(1, 300) AS i;
CREATE INDEX e_l2 ON e USING hnsw (v vector_l2_ops);
CREATE INDEX e_l1 ON e USING hnsw (v vector_l1_ops);
CREATE INDEX e_cosine ON e USING hnsw (v vector_cosine_ops);
CREATE INDEX e_compact ON e USING hnsw (v vector_cosine_ops) WITH (layout = compact);
CREATE INDEX e_half ON e USING hnsw ((v::halfvec(70)) halfvec_cosine_ops);
CREATE INDEX e_sparse ON e USING hnsw ((v::sparsevec(70)) sparsevec_cosine_ops);
INSERT INTO e SELECT v FROM e;
SELECT relname, nodes, heap_tids FROM pg_class, piramid_hnsw_info(oid) WHERE relname ~ '^e_' ORDER BY 1;
DROP TABLE e;
