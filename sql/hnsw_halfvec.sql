-- hnsw: halfvec, each operator class
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all

-- numbers that binary16 holds only in part: halfvec rounds them, the index need not
CREATE FUNCTION made(n int, dim int DEFAULT 8) RETURNS halfvec LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(sin(n * (i + .37) * 7.13) + n % 7 * .1 ORDER BY i)::halfvec FROM generate_series(1, dim) AS i
$$;
CREATE FUNCTION scans(tab regclass, op text, queries int[] DEFAULT '{1,500,-3}') RETURNS TABLE (result text) LANGUAGE sql AS $$
	SELECT check_scan_any(tab, op, made(q)::text) FROM unnest(queries) WITH ORDINALITY AS t (q, n) ORDER BY n
$$;
SET hnsw.ef_search = 1000;

-- each operator class: the order of all rows; NULL is not indexed, nor zero under <=>
CREATE TABLE t (id int PRIMARY KEY, v halfvec(8), other int);
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1, 500) AS n;
INSERT INTO t VALUES (901, NULL), (902, NULL), (903, made(0) - made(0)), (904, made(0) - made(0));
CREATE INDEX t_l2 ON t USING hnsw (v halfvec_l2_ops);
CREATE INDEX t_ip ON t USING hnsw (v halfvec_ip_ops);
CREATE INDEX t_cosine ON t USING hnsw (v halfvec_cosine_ops);
CREATE INDEX t_l1 ON t USING hnsw (v halfvec_l1_ops);
SELECT op, scans('t', op) FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT op, check_scan_any('t', op, '[0,0,0,0,0,0,0,1]') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT i, dimensions, metric, heap_tids, storage_precision FROM unnest('{t_l2,t_ip,t_cosine,t_l1}'::regclass[]) AS i, piramid_hnsw_info(i);

-- the same where rows came later
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1001, 1450) AS n;
INSERT INTO t VALUES (1901, NULL), (1902, made(0) - made(0));
SELECT op, scans('t', op, '{1,1400}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;

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
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::halfvec)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <#> (SELECT NULL::halfvec)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <=> (SELECT NULL::halfvec)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <+> (SELECT NULL::halfvec)) AS x;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> '[0,0,0,0,0,0,0,0]') AS x;
-- a query of other dimensions
SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 1;
-- binary16 is stored as it is: no distance needs a second look, and the ends of its range are no trouble
CREATE TABLE e (id int, v halfvec(3));
INSERT INTO e VALUES (1, '[65504,-65504,65504]'), (2, '[6e-8,0,-6e-8]'), (3, '[0,0,0]'), (4, '[65504,65504,65504]'), (5, '[1,6e-8,65504]');
CREATE INDEX ON e USING hnsw (v halfvec_l2_ops);
CREATE INDEX ON e USING hnsw (v halfvec_ip_ops);
CREATE INDEX ON e USING hnsw (v halfvec_cosine_ops);
CREATE INDEX ON e USING hnsw (v halfvec_l1_ops);
SELECT op, check_scan_any('e', op, q) FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op, unnest('{"[65504,65504,65504]","[6e-8,6e-8,6e-8]"}'::text[]) AS q;
-- an index on vectors rounded to halfvec, and one with more dimensions than pgvector takes
CREATE TABLE x (id int, v vector(8));
INSERT INTO x SELECT n, made(n) FROM generate_series(1, 300) AS n;
CREATE INDEX ON x USING hnsw ((v::halfvec(8)) halfvec_cosine_ops);
EXPLAIN (COSTS OFF) SELECT id FROM x ORDER BY v::halfvec(8) <=> '[1,2,3,4,5,6,7,8]' LIMIT 5;
SELECT array(SELECT id FROM x ORDER BY v::halfvec(8) <=> '[1,2,3,4,5,6,7,8]' LIMIT 5)
	= array(SELECT id FROM (SELECT id, v::halfvec(8) <=> '[1,2,3,4,5,6,7,8]' AS d FROM x OFFSET 0) AS y ORDER BY d LIMIT 5) AS same;
CREATE INDEX ON x USING hnsw ((v::halfvec) halfvec_l2_ops);
CREATE TABLE y (id int, v halfvec(16000));
INSERT INTO y SELECT n, made(n, 16000) FROM generate_series(1, 20) AS n;
CREATE INDEX ON y USING hnsw (v halfvec_l2_ops);
SELECT check_scan_any('y', '<->', made(3, 16000)::text);
DROP TABLE e, x, y;

DROP TABLE t;
DROP FUNCTION scans, made;
