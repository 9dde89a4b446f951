-- hnsw: sparsevec, each operator class
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all

-- few elements among many positions, several of them shared by many rows
CREATE FUNCTION made(n int, dim int DEFAULT 20000) RETURNS sparsevec LANGUAGE sql IMMUTABLE AS $$
	SELECT ('{' || string_agg(k || ':' || (sin(n * (i + .37) * 7.13) + 1.1)::numeric(8, 5), ',') || '}/' || dim)::sparsevec
	FROM (SELECT DISTINCT ON (k) k, i FROM generate_series(1, 10 + abs(n) % 20) AS i,
		LATERAL (SELECT 1 + (CASE WHEN i % 3 = 0 THEN i ELSE abs(n) * 31 + i * i * 7 END) % dim AS k) AS y ORDER BY k, i) AS x
$$;
CREATE FUNCTION scans(tab regclass, op text, queries int[] DEFAULT '{1,300,-3}') RETURNS TABLE (result text) LANGUAGE sql AS $$
	SELECT check_scan_any(tab, op, made(q)::text) FROM unnest(queries) WITH ORDINALITY AS t (q, n) ORDER BY n
$$;
SET hnsw.ef_search = 1000;

-- each operator class: the order of all rows; NULL is not indexed, nor zero under <=>
CREATE TABLE t (id int PRIMARY KEY, v sparsevec(20000), other int);
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1, 300) AS n;
INSERT INTO t VALUES (901, NULL), (902, NULL), (903, '{}/20000'), (904, '{}/20000');
CREATE INDEX t_l2 ON t USING hnsw (v sparsevec_l2_ops);
CREATE INDEX t_ip ON t USING hnsw (v sparsevec_ip_ops);
CREATE INDEX t_cosine ON t USING hnsw (v sparsevec_cosine_ops);
CREATE INDEX t_l1 ON t USING hnsw (v sparsevec_l1_ops);
SELECT op, scans('t', op) FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT op, check_scan_any('t', op, '{1:1,20000:-1}/20000') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT i, dimensions, metric, heap_tids, storage_precision FROM unnest('{t_l2,t_ip,t_cosine,t_l1}'::regclass[]) AS i, piramid_hnsw_info(i);

-- the same where rows came later
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1001, 1100) AS n;
INSERT INTO t VALUES (1901, NULL), (1902, '{}/20000');
SELECT op, scans('t', op, '{1,1050}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;

-- after updates, deletes and VACUUM
UPDATE t SET v = made(id + 5000) WHERE id % 4 = 0;
UPDATE t SET other = other + 1;
DELETE FROM t WHERE id % 5 = 0;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
VACUUM t;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
REINDEX TABLE t;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;

-- a query that is NULL gives all indexed rows
SET enable_seqscan = off;
SET enable_sort = off;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::sparsevec)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <#> (SELECT NULL::sparsevec)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <=> (SELECT NULL::sparsevec)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <+> (SELECT NULL::sparsevec)) AS x;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> '{}/20000') AS x;
SELECT check_scan_any('t', '<->', '{}/20000'), check_scan_any('t', '<+>', '{}/20000');
-- a query of other dimensions
SELECT id FROM t ORDER BY v <-> '{1:1}/5' LIMIT 1;
-- a row with more elements than a node has room for keeps the largest; its distance is exact all the same
INSERT INTO t SELECT 3000, ('{' || string_agg(i || ':' || (1 + sin(i))::numeric(8, 5) + .001, ',') || '}/20000')::sparsevec FROM generate_series(1, 16000) AS i;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT check_scan_any('t', op, (SELECT v::text FROM t WHERE id = 3000)) FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
REINDEX INDEX t_l2;
SELECT scans('t', '<->', '{1,5100}');
-- few dimensions, which need no sketch, and as many as there may be
CREATE TABLE e (id int, v sparsevec(3));
INSERT INTO e SELECT n, ('{1:' || n % 10 + 1 || ',' || 2 + n % 2 || ':' || n / 10.0 || '}/3')::sparsevec FROM generate_series(1, 200) AS n;
INSERT INTO e VALUES (0, '{}/3');
CREATE INDEX ON e USING hnsw (v sparsevec_l2_ops);
CREATE INDEX ON e USING hnsw (v sparsevec_ip_ops);
CREATE INDEX ON e USING hnsw (v sparsevec_cosine_ops);
CREATE INDEX ON e USING hnsw (v sparsevec_l1_ops);
SELECT op, check_scan_any('e', op, q) FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op, unnest('{"{1:3,2:-7.5}/3","{3:1}/3"}'::text[]) AS q;
CREATE TABLE y (id int, v sparsevec(1000000000));
INSERT INTO y SELECT n, made(n, 1000000000) FROM generate_series(1, 300) AS n;
CREATE INDEX ON y USING hnsw (v sparsevec_l2_ops);
CREATE INDEX ON y USING hnsw (v sparsevec_ip_ops);
INSERT INTO y SELECT n, made(n, 1000000000) FROM generate_series(301, 400) AS n;
INSERT INTO y VALUES (999, '{999999999:1,1000000000:2}/1000000000');
SELECT op, check_scan_any('y', op, q) FROM unnest('{<->,<#>}'::text[]) AS op, unnest(array['{1000000000:3}/1000000000', made(333, 1000000000)::text]) AS q;
DROP TABLE e, y;

DROP TABLE t;
DROP FUNCTION scans, made;
