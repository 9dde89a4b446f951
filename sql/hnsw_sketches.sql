-- Sketches: a LIMIT beyond what matches returns all that does, also where nodes that
-- seem to match have dead rows or other keys
SELECT setseed(0.1);
CREATE TABLE t (id int, f int, v vector(64));
INSERT INTO t
SELECT n, random() * 100, ARRAY(SELECT random() - 0.5 + CASE WHEN n % 8 < 4 THEN n % 8 ELSE 0 END FROM generate_series(1, 64))::vector
FROM generate_series(1, 3000) AS n;
INSERT INTO t SELECT n, random() * 100, (SELECT v FROM t WHERE id = 7) FROM generate_series(3001, 3300) AS n;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, f);
DELETE FROM t WHERE id % 5 = 0;
VACUUM (INDEX_CLEANUP on) t;
INSERT INTO t
SELECT n, random() * 100, ARRAY(SELECT random() - 0.5 FROM generate_series(1, 64) WHERE n > 0)::vector
FROM generate_series(3301, 3900) AS n;
-- equal vectors with other keys
INSERT INTO t SELECT 10000 + id, 1000 + id % 5, v FROM t WHERE id % 5 = 1 AND id < 3000;
UPDATE t SET f = f + 1 WHERE id % 9 = 0;
ANALYZE t;
CREATE TABLE wanted AS
SELECT f, count(*) AS n, count(*) + more AS rows FROM t CROSS JOIN (VALUES (3), (30)) AS m (more)
WHERE f < 1000 GROUP BY f, more;
CREATE FUNCTION incomplete() RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_sort = off AS $$
DECLARE
	w record;
	q vector;
	found bigint;
	bad bigint := 0;
BEGIN
	FOR w IN SELECT * FROM wanted LOOP
		FOR q IN SELECT v FROM t WHERE id IN (7, 8, 9, 13) LOOP
			EXECUTE format('SELECT count(*) FROM (SELECT id FROM t WHERE f = %s ORDER BY v <-> %L LIMIT %s) AS x',
				w.f, q, w.rows) INTO found;
			bad := bad + (found <> w.n)::int;
		END LOOP;
	END LOOP;
	RETURN bad;
END $$;
SELECT incomplete();
SELECT sketches > 2000 AS sketches, several > 200 AS several FROM piramid_hnsw_keys('t_v');
DROP FUNCTION incomplete;
DROP TABLE t, wanted;

-- Where all that matches is about equally far, more nodes are read than where it is near, and
-- the more, the better the answer shall be
SELECT setseed(0.7);
CREATE TABLE centres AS
SELECT c, ARRAY(SELECT random() - 0.5 FROM generate_series(1, 64) WHERE c >= 0)::vector AS v FROM generate_series(0, 39) AS c;
CREATE TABLE t (f int, v vector(64));
INSERT INTO t
SELECT c % 10, v + ARRAY(SELECT (random() - 0.5) * 0.6 FROM generate_series(1, 64) WHERE n > 0)::vector
FROM generate_series(1, 20000) AS n JOIN centres ON c = n % 40;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, f);
ANALYZE t;
CREATE FUNCTION far_recall(OUT recall float8, OUT nodes bigint) LANGUAGE plpgsql AS $$
BEGIN
	SELECT r.recall INTO recall FROM piramid_recall('t_v', ARRAY(SELECT v FROM centres WHERE c % 10 <> 1), 10, 'f = 1') AS r;
	nodes := (SELECT s.nodes FROM piramid_last_scan() AS s);
END $$;
CREATE TABLE seen AS SELECT 40 AS ef, * FROM far_recall();
SET hnsw.ef_search = 1000;
INSERT INTO seen SELECT 1000, * FROM far_recall();
RESET hnsw.ef_search;
SELECT a.recall >= 0.9 AS recall, b.recall >= 0.98 AND b.recall >= a.recall AS wider, b.nodes > 1.5 * a.nodes AS nodes
FROM seen AS a, seen AS b WHERE a.ef = 40 AND b.ef = 1000;
-- rows loaded together: a sample of pages finds too few, the planner knows better
CREATE TABLE sorted AS SELECT f, v FROM t ORDER BY f;
CREATE INDEX sorted_v ON sorted USING hnsw (v vector_l2_ops, f);
ANALYZE sorted;
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT f FROM sorted WHERE f = 1 ORDER BY v <-> (SELECT v FROM centres WHERE c = 1) LIMIT 10) AS x;
SELECT selectivity > 0.08 AS selectivity FROM piramid_last_scan();
RESET enable_seqscan;
DROP FUNCTION far_recall;
DROP TABLE centres, t, seen, sorted;
