-- What VACUUM says of an index that has only some of the table's rows
CREATE TABLE t (id int, tenant int, v vector(4), u vector(4)) WITH (autovacuum_enabled = off);
INSERT INTO t SELECT i, i % 200, ARRAY[sin(i), sin(i * 78.2), sin(i * 37.7), sin(i * 3.1)],
	CASE WHEN i % 100 = 0 THEN ARRAY[sin(i), sin(i * 78.2), sin(i * 37.7), sin(i * 3.1)] END
FROM generate_series(1, 20000) AS i;
CREATE INDEX t_partial ON t USING hnsw (v vector_l2_ops) WHERE tenant = 7;
CREATE INDEX t_null ON t USING hnsw (u vector_l2_ops);
CREATE INDEX t_zero ON t USING hnsw ((CASE WHEN id % 50 = 0 THEN v ELSE '[0,0,0,0]' END::vector(4)) vector_cosine_ops);
CREATE INDEX t_all ON t USING hnsw ((v::halfvec(4)) halfvec_l2_ops);
CREATE VIEW counts AS SELECT relname, reltuples FROM pg_class WHERE relname ~ '^t_' AND relkind = 'i' ORDER BY relname;
TABLE counts;
-- nothing is dead
VACUUM t;
TABLE counts;
VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) t;
TABLE counts;
VACUUM (INDEX_CLEANUP off) t;
TABLE counts;
SET min_parallel_index_scan_size = 0;
VACUUM (PARALLEL 2) t;
TABLE counts;
-- ANALYZE tells what it has sampled, but does not know of NULL and zero vectors
VACUUM (ANALYZE) t;
SELECT * FROM counts WHERE relname IN ('t_partial', 't_all');
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE tenant = 7 ORDER BY v <-> '[0,0,0,0]' LIMIT 10;
-- a tenth is dead: not looked at, and then taken out
DELETE FROM t WHERE id / 1000 IN (3, 13);
VACUUM (INDEX_CLEANUP off) t;
SELECT * FROM counts WHERE relname IN ('t_partial', 't_all');
UPDATE t SET tenant = tenant WHERE id <= 10;
VACUUM (INDEX_CLEANUP on, PARALLEL 0) t;
TABLE counts;
DELETE FROM t WHERE id / 1000 IN (4, 14);
VACUUM (INDEX_CLEANUP on, PARALLEL 2) t;
TABLE counts;
VACUUM t;
TABLE counts;
RESET min_parallel_index_scan_size;
VACUUM FULL t;
TABLE counts;
-- all are dead
DELETE FROM t;
VACUUM (INDEX_CLEANUP on) t;
TABLE counts;
INSERT INTO t VALUES (1, 7, '[1,2,3,4]', '[1,2,3,4]');
SET enable_seqscan = off;
SELECT id FROM t WHERE tenant = 7 ORDER BY v <-> '[0,0,0,0]' LIMIT 10;
SELECT id FROM t ORDER BY u <-> '[0,0,0,0]' LIMIT 10;
DROP VIEW counts;
DROP TABLE t;
