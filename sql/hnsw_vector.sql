-- hnsw: what a scan returns, for each operator class, and how it follows changes
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all

-- numbers that binary16 does not hold
CREATE FUNCTION made(n int, dim int DEFAULT 8) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(sin(n * (i + .37) * 7.13) + n % 7 * .1 ORDER BY i)::vector FROM generate_series(1, dim) AS i
$$;
CREATE FUNCTION scans(tab regclass, op text, queries int[] DEFAULT '{1,500,-3}') RETURNS TABLE (result text) LANGUAGE sql AS $$
	SELECT check_scan(tab, op, made(q)) FROM unnest(queries) WITH ORDINALITY AS t (q, n) ORDER BY n
$$;
SET hnsw.ef_search = 1000;
SET jit = off;

-- each operator class: the order of all rows; NULL, and zero under <=>, are not indexed
CREATE TABLE t (id int PRIMARY KEY, v vector(8), other int);
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1, 500) AS n;
INSERT INTO t VALUES (901, NULL), (902, NULL), (903, made(0) - made(0)), (904, made(0) - made(0));
CREATE INDEX t_l2 ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_ip ON t USING hnsw (v vector_ip_ops);
CREATE INDEX t_cosine ON t USING hnsw (v vector_cosine_ops);
CREATE INDEX t_l1 ON t USING hnsw (v vector_l1_ops);
SELECT op, scans('t', op) FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT i, metric, heap_tids FROM unnest('{t_l2,t_ip,t_cosine,t_l1}'::regclass[]) AS i, piramid_hnsw_info(i);

-- the same where rows came later
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1001, 1450) AS n;
INSERT INTO t VALUES (1901, NULL), (1902, made(0) - made(0));
SELECT op, scans('t', op, '{1,1400}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
DELETE FROM t WHERE id > 1000;
VACUUM t;

-- a query that is NULL, or zero under <=>, gives all indexed rows
SET enable_seqscan = off;
SET enable_sort = off;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <#> (SELECT NULL::vector)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <=> (SELECT NULL::vector)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <+> (SELECT NULL::vector)) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <=> '[0,0,0,0,0,0,0,0]') AS x;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> '[0,0,0,0,0,0,0,0]' LIMIT 300) AS x;
SELECT check_scan('t', '<->', '[0,0,0,0,0,0,0,0]'), check_scan('t', '<#>', '[0,0,0,0,0,0,0,0]'), check_scan('t', '<+>', '[0,0,0,0,0,0,0,0]');

-- a query of other dimensions
SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 1;
SELECT id FROM t ORDER BY v <=> '[1,2,3,4,5,6,7,8,9]' LIMIT 1;

-- any LIMIT is filled; the first ef_search rows are in order
SET hnsw.ef_search = 10;
SELECT k, count(*), count(DISTINCT id), bool_and(distance >= before OR n > 10) AS ordered
FROM (SELECT k, x.*, lag(distance) OVER (PARTITION BY k ORDER BY n) AS before
	FROM unnest('{1,9,10,11,20,100,400,501,502,5000}'::int[]) AS k, nearest('t', '<->', made(77), k, true) AS x) AS y
GROUP BY k ORDER BY k;
SET hnsw.ef_search = 1;
SELECT op, count(*), count(DISTINCT id), sum(id) = (SELECT sum(id) FROM t WHERE v IS NOT NULL AND (op <> '<=>' OR v <> v - v)) AS all_rows
FROM unnest('{<->,<#>,<=>,<+>}'::text[]) WITH ORDINALITY AS o (op, i), nearest('t', op, made(77), 502, true) AS x GROUP BY i, op ORDER BY i;
-- who asks for all rows gets them in order, whatever hnsw.iterative_scan is
PREPARE late AS SELECT count(*) = 80 * 2006 AS all_rows, count(*) > 80 * 1900 AS most, bool_and(distance >= before) AS ordered
FROM (SELECT x.*, lag(distance) OVER (PARTITION BY op, q ORDER BY n) AS before
	FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op, generate_series(1001, 1080) AS q, nearest('t', op, made(q), 502, true) AS x) AS y;
EXECUTE late;
SET hnsw.iterative_scan = relaxed_order;
EXECUTE late;
SET hnsw.iterative_scan = strict_order;
EXECUTE late;
RESET hnsw.iterative_scan;
DEALLOCATE late;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> made(5) LIMIT 0) AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> made(5) LIMIT 50 OFFSET 100) AS x;
RESET hnsw.ef_search;

-- with the default width, the order of the rows that are returned is exact
SELECT op, bool_and(array(SELECT id FROM nearest('t', op, made(q), 40, true) ORDER BY n)
	= array(SELECT t.id FROM t JOIN nearest('t', op, made(q), 40, true) AS x USING (id), LATERAL (SELECT CASE op
		WHEN '<->' THEN v <-> made(q) WHEN '<#>' THEN v <#> made(q) WHEN '<=>' THEN v <=> made(q) ELSE v <+> made(q) END AS d) AS y ORDER BY d, x.n)) AS exact
FROM unnest('{<->,<#>,<=>,<+>}'::text[]) WITH ORDINALITY AS o (op, i), generate_series(1001, 1010) AS q GROUP BY i, op ORDER BY i;

-- a filter takes no rows from the LIMIT
SELECT count(*), bool_and(id % 50 = 7) FROM (SELECT id FROM t WHERE id % 50 = 7 ORDER BY v <-> made(3) LIMIT 10) AS x;

-- duplicates: all copies are reached, however narrow the search
SET hnsw.ef_search = 1;
CREATE TABLE d (id int, v vector(8));
INSERT INTO d SELECT n, made(1) FROM generate_series(1, 500) AS n;
CREATE INDEX ON d USING hnsw (v vector_l2_ops);
INSERT INTO d SELECT n, made(1) FROM generate_series(501, 1000) AS n;
SELECT check_scan('d', '<->', made(1)), check_scan('d', '<->', made(2)), check_scan('d', '<->', made(1), 1000), check_scan('d', '<->', made(1), 777);
SELECT nodes, heap_tids FROM piramid_hnsw_info('d_v_idx');
-- mixed with others, some very near
INSERT INTO d SELECT n, made(n % 10) FROM generate_series(1001, 1500) AS n;
INSERT INTO d SELECT n, made(1) + (ARRAY[n, 0, 0, 0, 0, 0, 0, 0]::vector * array_fill(1e-5::real, '{8}')::vector) FROM generate_series(1501, 1600) AS n;
SELECT count(*), count(DISTINCT id), max(distance) FROM nearest('d', '<->', made(1), 1050, true);
SELECT count(*), count(DISTINCT id) FROM nearest('d', '<->', made(1), 5000, true);
DELETE FROM d WHERE id % 3 = 0;
SELECT count(*), count(DISTINCT id) FROM nearest('d', '<->', made(1), 5000, true);
VACUUM d;
SELECT count(*), count(DISTINCT id) FROM nearest('d', '<->', made(1), 5000, true);
SELECT heap_tids = (SELECT count(*) FROM d) AS all_tids, dead_nodes FROM piramid_hnsw_info('d_v_idx');
SET hnsw.ef_search = 1000;
DROP TABLE d;

-- LATERAL: the nearest rows of each row
EXPLAIN (COSTS OFF) SELECT n, b.id FROM generate_series(1, 3) AS n, LATERAL (SELECT id FROM t AS b ORDER BY b.v <-> array_fill(n, '{8}')::vector LIMIT 2) AS b;
SELECT count(*), count(*) FILTER (WHERE a.id = b.id) AS itself FROM t AS a,
	LATERAL (SELECT id FROM t AS b ORDER BY b.v <-> a.v LIMIT 2) AS b WHERE a.id BETWEEN 1 AND 99;
-- one of the queries is NULL, another zero
SELECT a.id, count(*) FROM t AS a, LATERAL (SELECT id FROM t AS b ORDER BY b.v <=> a.v LIMIT 45) AS b
WHERE a.id IN (5, 901, 903, 6) GROUP BY a.id ORDER BY a.id;

-- nested loop: the index is scanned again and again
SET enable_material = off;
SELECT count(*), count(DISTINCT x.id) FROM generate_series(1, 20) AS n,
	LATERAL (SELECT id FROM t ORDER BY v <-> made(500) LIMIT 3 + n * 0) AS x;
RESET enable_material;

-- cursors
BEGIN;
DECLARE c CURSOR FOR SELECT id, v <-> made(10) < 1e-6 AS same FROM t ORDER BY v <-> made(10);
DECLARE d SCROLL CURSOR FOR SELECT id FROM t ORDER BY v <-> made(20);
FETCH 1 FROM c;
FETCH 1 FROM d;
MOVE 500 FROM c;
FETCH 5 FROM c;
MOVE 100 FROM d;
FETCH FIRST FROM d;
FETCH BACKWARD 1 FROM c;
ROLLBACK;
-- a cursor sees the rows of its snapshot
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> made(10);
FETCH 1 FROM c;
DELETE FROM t;
INSERT INTO t VALUES (9999, made(10), 0);
MOVE 500 FROM c;
FETCH 5 FROM c;
ROLLBACK;
-- WITH HOLD
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY v <=> made(30) LIMIT 100;
COMMIT;
FETCH 1 FROM c;
MOVE 97 FROM c;
FETCH 5 FROM c;
CLOSE c;

-- prepared statements, with custom and generic plans
PREPARE p (vector, int) AS SELECT id FROM t ORDER BY v <-> $1 LIMIT $2;
EXECUTE p (made(40), 1);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE p (made(40), 1);
EXECUTE p (made(41), 1);
EXECUTE p (made(42), 1);
EXECUTE p (NULL, 0);
EXECUTE p ('[1,2]', 1);
RESET plan_cache_mode;
DEALLOCATE p;

-- UPDATE, of the vector or another column; DELETE; the same again after VACUUM
UPDATE t SET v = made(id + 5000) WHERE id % 4 = 0;
UPDATE t SET other = other + 1;
UPDATE t SET other = other + 1 WHERE id % 2 = 0;
UPDATE t SET v = NULL WHERE id BETWEEN 51 AND 60;
UPDATE t SET v = made(901) WHERE id = 901;
DELETE FROM t WHERE id % 5 = 0;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
VACUUM t;
SELECT op, scans('t', op, '{1,5100}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT i, heap_tids = (SELECT count(*) FROM t WHERE v IS NOT NULL) AS all_tids, dead_nodes
FROM unnest('{t_l2,t_ip,t_l1}'::regclass[]) AS i, piramid_hnsw_info(i);
-- another column alone: no new nodes
SELECT nodes FROM piramid_hnsw_info('t_l2') \gset
UPDATE t SET other = -1;
SELECT nodes = :nodes AS same_nodes FROM piramid_hnsw_info('t_l2');
-- all gone, and back
SELECT pg_relation_size('t_l2') AS size \gset
DELETE FROM t;
SELECT scans('t', '<->', '{1}');
VACUUM t;
SELECT scans('t', '<->', '{1}');
SELECT nodes, dead_nodes, heap_tids, levels, entry_point FROM piramid_hnsw_info('t_l2');
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1, 500) AS n;
SELECT op, scans('t', op, '{1}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT pg_relation_size('t_l2') <= :size * 1.02 AS reused;

-- ROLLBACK, savepoints
BEGIN;
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(2001, 2100) AS n;
SELECT scans('t', '<->', '{2001}');
ROLLBACK;
SELECT scans('t', '<->', '{2001}');
BEGIN;
INSERT INTO t VALUES (2001, made(2001), 0);
SAVEPOINT a;
INSERT INTO t VALUES (2002, made(2002), 0);
DELETE FROM t WHERE id = 7;
SELECT scans('t', '<->', '{2002}');
ROLLBACK TO a;
INSERT INTO t VALUES (2003, made(2003), 0);
SAVEPOINT b;
UPDATE t SET v = made(2004) WHERE id = 8;
RELEASE b;
COMMIT;
SELECT scans('t', '<->', '{2002,2004,7,8}');
SELECT q, x.id FROM unnest('{2001,2003,2004,7}'::int[]) AS q, nearest('t', '<->', made(q), 1, true) AS x;
VACUUM t;
SELECT scans('t', '<->', '{2002,2004,7,8}');

-- TRUNCATE
BEGIN;
TRUNCATE t;
SELECT scans('t', '<->', '{1}');
INSERT INTO t VALUES (1, made(1), 0);
SELECT scans('t', '<->', '{1}');
ROLLBACK;
SELECT scans('t', '<->', '{1}');
TRUNCATE t;
SELECT op, scans('t', op, '{1}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;
SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector);
SELECT nodes, levels, entry_point FROM piramid_hnsw_info('t_l2');
INSERT INTO t SELECT n, made(n), 0 FROM generate_series(1, 100) AS n;
SELECT op, scans('t', op, '{1}') FROM unnest('{<->,<#>,<=>,<+>}'::text[]) AS op;

-- an index without rows, one that never had any, and one with a single row
CREATE TABLE e (id int, v vector(3));
CREATE INDEX ON e USING hnsw (v vector_l2_ops);
SELECT id FROM e ORDER BY v <-> '[1,2,3]';
VACUUM e;
INSERT INTO e VALUES (1, '[1,2,3]');
SELECT id FROM e ORDER BY v <-> '[1,2,3]';
DELETE FROM e;
VACUUM e;
INSERT INTO e VALUES (2, NULL);
SELECT id FROM e ORDER BY v <-> '[1,2,3]';

DROP TABLE t, e;
DROP FUNCTION scans, made;
