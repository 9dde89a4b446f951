-- Which recall searches have by their width, and widths by the recall that is asked for
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
SELECT setseed(0.25);
CREATE TABLE t (id int PRIMARY KEY, bucket int, v vector(16));
INSERT INTO t
SELECT n, n % 50, ARRAY(SELECT random() - 0.5 FROM generate_series(1, 16) WHERE n > 0)::vector FROM generate_series(1, 5000) AS n;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, bucket);
VACUUM ANALYZE t;
CREATE VIEW queries AS SELECT v + ('[' || repeat('0.01,', 15) || '0.01]')::vector AS v FROM t WHERE id <= 50;
CREATE FUNCTION searched(k int, filter text DEFAULT 'true') RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
	EXECUTE format('SELECT id FROM t WHERE %s ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT %s', filter, k);
	RETURN (SELECT s.width FROM piramid_last_scan() AS s);
END $$;

-- without a calibration, hnsw.ef_search decides, with a warning that comes once
SELECT * FROM piramid_calibration('t_v');
SELECT error_of($$SELECT piramid_recommend('t_v', 0.9)$$);
SET hnsw.target_recall = 0.9;
SELECT searched(10);
SELECT searched(10);
RESET hnsw.target_recall;
-- the hint can be copied, whatever the index is called
ALTER INDEX t_v RENAME TO "it's T";
SELECT error_of($$SELECT piramid_recommend('"it''s T"', 0.9)$$);
ALTER INDEX "it's T" RENAME TO t_v;

-- a calibration
SELECT k, width > 0 AS width, recall BETWEEN 0 AND 1 AS recall, error BETWEEN 0 AND 0.1 AS error, nodes > 0 AS nodes
FROM piramid_calibrate('t_v') GROUP BY 1, 2, 3, 4, 5 ORDER BY 1;
CREATE TABLE points AS SELECT * FROM piramid_calibration('t_v');
SELECT k, min(width) = 2 * k AS first, max(recall) > 0.99 AS last FROM points GROUP BY 1 ORDER BY 1;
-- a wider search reads more, and finds more but for what the queries leave to chance
SELECT bool_and(nodes > least_nodes) AS nodes, least(min(recall - best), -0.02) AS recall FROM (
	SELECT *, lag(nodes) OVER w AS least_nodes, max(recall) OVER w AS best FROM points WINDOW w AS (PARTITION BY k ORDER BY width)) AS p;

-- a target decides, whatever hnsw.ef_search is; never less than the LIMIT needs
SET hnsw.ef_search = 1;
SET hnsw.target_recall = 0.5;
CREATE TABLE low AS SELECT searched(1) AS one, searched(10) AS ten, searched(50) AS fifty, searched(300) AS more;
SET hnsw.target_recall = 0.999;
SET hnsw.ef_search = 1000;
SELECT searched(1) BETWEEN one + 1 AND 999 AS one, searched(10) BETWEEN ten + 1 AND 999 AS ten FROM low;
SELECT one >= 2 AS one, ten >= 20 AS ten, fifty >= 100 AS fifty, more IS NULL OR more >= 600 AS more FROM low;
-- under conditions it counts the rows that meet them
SELECT searched(10, 'bucket < 25') >= searched(10) AS conditions;
RESET hnsw.ef_search;
SET hnsw.target_recall = 0.9;
SELECT least(recall, 0.88) AS reached FROM piramid_recall('t_v', 100);
SET hnsw.target_recall = 0.99;
SELECT least(recall, 0.97) AS reached FROM piramid_recall('t_v', 100);
-- nor is a search wider than the index, however many rows are asked for, if it may not read all
SET hnsw.iterative_scan = strict_order;
SET hnsw.max_scan_tuples = 100;
SELECT count(*) BETWEEN 50 AND 5000 AS rows FROM (
	SELECT id FROM t ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 2000000000) AS x;
RESET hnsw.max_scan_tuples;
RESET hnsw.iterative_scan;
RESET hnsw.target_recall;

-- recommendations
SELECT ef_search BETWEEN 20 AND 1000 AS ef_search, least(recall, 0.95) AS recall, nodes > 20 AS nodes, ms > 0 AS ms,
	bytes = pg_relation_size('t_v') AS bytes, note
FROM piramid_recommend('t_v', 0.95);
SELECT more.ef_search > less.ef_search AS wider, more.nodes > less.nodes AS nodes
FROM piramid_recommend('t_v', 0.995, 1) AS more, piramid_recommend('t_v', 0.7, 1) AS less;
-- searches are as wide as recommended
CREATE FUNCTION searched_for(target float8, k int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('hnsw.target_recall', target::text, true);
	RETURN searched(k);
END $$;
SELECT bool_and(searched_for(target, k) = ef_search) AS as_recommended
FROM (VALUES (0.5), (0.9), (0.97), (0.99)) AS t(target), (VALUES (1), (4), (10), (30)) AS r(k),
	piramid_recommend('t_v', target, k);
SELECT ef_search >= 2000 AS ef_search, note FROM piramid_recommend('t_v', 0.9, 1000);
SELECT piramid_recommend('t_v', NULL);
SELECT error_of(format('SELECT piramid_recommend(''t_v'', %s)', arguments)) FROM (VALUES
	('0'), ('-1'), ('1.1'), ('''NaN'''), ('0.9, 0')) AS a(arguments);
INSERT INTO t SELECT n, n % 50, ARRAY(SELECT random() - 0.5 FROM generate_series(1, 16) WHERE n > 0)::vector FROM generate_series(5001, 10500) AS n;
SELECT note FROM piramid_recommend('t_v', 0.9);

-- given queries, which need no caution
SELECT count(*) >= 3 AS points FROM piramid_calibrate('t_v', ARRAY(SELECT v FROM queries));
SELECT note FROM piramid_recommend('t_v', 0.9);
SELECT error_of($$SELECT piramid_calibrate('t_v', ARRAY[NULL::vector])$$);
SELECT error_of($$SELECT piramid_calibrate('t_v', ARRAY[1.5])$$);
SELECT count(*) >= 3 AS stays FROM piramid_calibration('t_v');
REINDEX INDEX t_v;
SELECT count(*) AS gone FROM piramid_calibration('t_v');

-- what cannot be calibrated, and who may not
CREATE TABLE e (v vector(3));
CREATE INDEX e_v ON e USING hnsw (v vector_l2_ops);
SELECT error_of($$SELECT piramid_calibrate('e_v')$$);
INSERT INTO e VALUES ('[1,2,3]');
SELECT error_of($$SELECT piramid_calibrate('e_v')$$);
INSERT INTO e VALUES ('[1,2,4]');
-- a scan reads more than the two nodes of the base if both happen to have one above
SELECT k, width, recall, error, nodes >= 2 AS nodes FROM piramid_calibrate('e_v');
SELECT error_of($$SELECT piramid_calibrate('e')$$);
BEGIN READ ONLY;
SELECT error_of($$SELECT piramid_calibrate('e_v')$$);
COMMIT;
CREATE ROLE regress_calibrate_user;
GRANT SELECT ON t, e TO regress_calibrate_user;
SET ROLE regress_calibrate_user;
SELECT error_of($$SELECT piramid_calibrate('e_v')$$);
SELECT error_of($$SELECT piramid_calibration('e_v')$$), error_of($$SELECT piramid_recommend('e_v', 0.9)$$);
RESET ROLE;
-- unlogged and temporary indexes
CREATE UNLOGGED TABLE u AS SELECT id, v FROM t WHERE id < 50;
CREATE INDEX u_v ON u USING hnsw (v vector_l2_ops);
CREATE TEMP TABLE x AS TABLE u;
CREATE INDEX x_v ON x USING hnsw (v vector_l2_ops);
SELECT max(recall) FROM piramid_calibrate('u_v') UNION ALL SELECT max(recall) FROM piramid_calibrate('x_v');
SELECT count(*) >= 3 AS points FROM piramid_calibration('x_v');
SELECT error_of('SET hnsw.target_recall = 1.5'), error_of('SET hnsw.target_recall = -1'), error_of('SET hnsw.target_recall = 1');

DROP VIEW queries;
DROP TABLE t, e, u, x, points, low;
DROP FUNCTION searched, searched_for;
DROP ROLE regress_calibrate_user;
