-- hnsw: bit, each operator class
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all

CREATE FUNCTION made(n int, len int DEFAULT 100) RETURNS varbit LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg((sin(n * (i + .37) * 7.13) > .2)::int::text, '' ORDER BY i)::varbit FROM generate_series(1, len) AS i
$$;
CREATE FUNCTION scans(tab regclass, op text, queries int[] DEFAULT '{1,500,-3}') RETURNS TABLE (result text) LANGUAGE sql AS $$
	SELECT check_scan_any(tab, op, made(q)::text) FROM unnest(queries) WITH ORDINALITY AS t (q, n) ORDER BY n
$$;
SET hnsw.ef_search = 1000;

-- each operator class: the order of all rows; NULL is not indexed
CREATE TABLE t (id int PRIMARY KEY, v bit(100), other int);
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1, 500) AS n;
INSERT INTO t VALUES (901, NULL), (902, NULL), (903, 0::bit(100)), (904, 0::bit(100));
CREATE INDEX t_hamming ON t USING hnsw (v bit_hamming_ops);
CREATE INDEX t_jaccard ON t USING hnsw (v bit_jaccard_ops);
SELECT op, scans('t', op) FROM unnest('{<~>,<%>}'::text[]) AS op;
SELECT op, check_scan_any('t', op, '1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000') FROM unnest('{<~>,<%>}'::text[]) AS op;
SELECT i, dimensions, metric, heap_tids, storage_precision FROM unnest('{t_hamming,t_jaccard}'::regclass[]) AS i, piramid_hnsw_info(i);

-- the same where rows came later
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1001, 1450) AS n;
INSERT INTO t VALUES (1901, NULL), (1902, 0::bit(100));
SELECT op, scans('t', op, '{1,1400}') FROM unnest('{<~>,<%>}'::text[]) AS op;

-- after updates, deletes and VACUUM
UPDATE t SET v = made(id + 5000) WHERE id % 4 = 0;
UPDATE t SET other = other + 1;
DELETE FROM t WHERE id % 5 = 0;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<~>,<%>}'::text[]) AS op;
VACUUM t;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<~>,<%>}'::text[]) AS op;
REINDEX TABLE t;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<~>,<%>}'::text[]) AS op;

-- a query that is NULL gives all indexed rows
SET enable_seqscan = off;
SET enable_sort = off;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <~> (SELECT NULL::bit)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <%> (SELECT NULL::bit)) AS x;
-- a query of another length
SELECT id FROM t ORDER BY v <~> B'101' LIMIT 1;
SELECT id FROM t ORDER BY v <%> B'101' LIMIT 1;
-- many at the same distance, and many alike
CREATE TABLE d (id int, v bit(3));
INSERT INTO d SELECT n, (n % 8)::bit(3) FROM generate_series(1, 1000) AS n;
CREATE INDEX ON d USING hnsw (v bit_hamming_ops);
CREATE INDEX ON d USING hnsw (v bit_jaccard_ops);
INSERT INTO d SELECT n, (n % 8)::bit(3) FROM generate_series(1001, 2000) AS n;
SELECT op, check_scan_any('d', op, q), check_scan_any('d', op, q, 300) FROM unnest('{<~>,<%>}'::text[]) AS op, unnest('{000,101}'::text[]) AS q;
SELECT nodes, heap_tids FROM piramid_hnsw_info('d_v_idx');
-- varbit has no length of its own; expressions have
CREATE TABLE x (id int, v varbit(100), e vector(16));
CREATE INDEX ON x USING hnsw (v bit_hamming_ops);
CREATE INDEX ON x USING hnsw ((v::bit) bit_hamming_ops);
CREATE INDEX ON x USING hnsw ((v::bit(100)) bit_hamming_ops);
CREATE INDEX ON x USING hnsw (binary_quantize(e) bit_hamming_ops);
-- the signs of vectors, and their exact order afterwards
INSERT INTO x SELECT n, made(n), array_agg(sin(n * i * 3.7) ORDER BY i)::vector FROM generate_series(1, 500) AS n, generate_series(1, 16) AS i GROUP BY n;
CREATE INDEX ON x USING hnsw ((binary_quantize(e)::bit(16)) bit_hamming_ops);
SELECT e AS e7 FROM x WHERE id = 7 \gset
RESET enable_sort;
EXPLAIN (COSTS OFF) SELECT id FROM (SELECT id, e FROM x ORDER BY binary_quantize(e)::bit(16) <~> binary_quantize('[1,-1,1,1,1,1,-1,1,1,1,1,1,1,1,1,1]'::vector) LIMIT 50) AS y
	ORDER BY e <=> '[1,-1,1,1,1,1,-1,1,1,1,1,1,1,1,1,1]' LIMIT 5;
SELECT (array(SELECT id FROM (SELECT id, e FROM x ORDER BY binary_quantize(e)::bit(16) <~> binary_quantize(:'e7'::vector) LIMIT 50) AS y
	ORDER BY e <=> :'e7' LIMIT 5))[1] AS first;
-- the longest, and longer
CREATE TABLE y (id int, v bit(64000));
INSERT INTO y SELECT n, repeat(made(n)::text, 640)::bit(64000) FROM generate_series(1, 30) AS n;
CREATE INDEX ON y USING hnsw (v bit_hamming_ops);
INSERT INTO y SELECT n, repeat(made(n)::text, 640)::bit(64000) FROM generate_series(31, 40) AS n;
SELECT check_scan_any('y', '<~>', repeat(made(33)::text, 640));
ALTER TABLE y ADD w bit(64001);
CREATE INDEX ON y USING hnsw (w bit_hamming_ops);
DROP TABLE d, x, y;

DROP TABLE t;
DROP FUNCTION scans, made;
