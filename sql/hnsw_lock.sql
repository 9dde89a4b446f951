-- Rows keep their places in the table, and can be locked, whether the index knows their
-- distances exactly or not.
CREATE TABLE t (id int PRIMARY KEY, v vector(8));
INSERT INTO t SELECT n, ARRAY(SELECT sin(n * i * 0.7) FROM generate_series(1, 8) AS i)::vector FROM generate_series(1, 2000) AS n;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
SET enable_seqscan = off;
SET enable_sort = off;
\set nearest 'FROM t ORDER BY v <-> \'[1,0,1,0,1,0,1,0]\''

SELECT count(*) FROM (SELECT ctid AS place, id :nearest LIMIT 500) AS near JOIN t USING (id) WHERE t.ctid = place;
SELECT count(*) FROM (SELECT id :nearest LIMIT 100 FOR UPDATE) AS locked;
SELECT count(*) FROM (SELECT id :nearest LIMIT 100 FOR UPDATE SKIP LOCKED) AS locked;
WITH near AS (SELECT id :nearest LIMIT 50 FOR UPDATE), updated AS (
	UPDATE t SET v = v FROM near WHERE t.id = near.id RETURNING t.id)
SELECT count(*) FROM updated;
DELETE FROM t WHERE ctid = ANY (ARRAY(SELECT ctid :nearest LIMIT 20));
SELECT count(*) FROM t;
SELECT count(*) FROM (SELECT tableoid::regclass, xmin, id :nearest LIMIT 100) AS x;
DROP TABLE t;
