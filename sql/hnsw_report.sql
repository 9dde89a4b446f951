-- What scans say they did
SELECT count(*) FROM piramid_last_scan();
CREATE TABLE t (id int PRIMARY KEY, bucket int, v vector(8));
INSERT INTO t
SELECT n, n % 100, ARRAY(SELECT sin(n * i + i * i) FROM generate_series(1, 8) AS i)::vector
FROM generate_series(1, 10000) AS n;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, bucket);
CREATE INDEX t_plain ON t USING hnsw (v vector_cosine_ops);
VACUUM ANALYZE t;
SET enable_seqscan = off;
SET enable_sort = off;
\set q '''[1,0,0,0,0,0,0,0]'''

-- a search
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> :q LIMIT 10) AS n;
SELECT index, nodes BETWEEN 40 AND 1000 AS nodes, estimates > nodes AS estimates, filter_rejects, width, key_pages,
	exact_pass, selectivity, rows >= 10 AS rows, late_rows, bounded
FROM piramid_last_scan();
-- wider: half of the pool is returned
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> :q LIMIT 100) AS n;
SELECT width, exact_pass, rows >= 100 AS rows FROM piramid_last_scan();
-- of another index
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> :q LIMIT 10) AS n;
SELECT index, width, rows >= 10 AS rows FROM piramid_last_scan();
-- all rows
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <=> :q) AS n;
SELECT nodes >= rows AS nodes, width, exact_pass, rows, bounded FROM piramid_last_scan();

-- conditions: a search, and a sweep over the matches
SELECT count(*) FROM (SELECT id FROM t WHERE bucket < 50 ORDER BY v <-> :q LIMIT 10) AS n;
SELECT nodes < 1000 AS nodes, filter_rejects BETWEEN 1 AND nodes AS rejects, width > 0 AS searched, key_pages,
	exact_pass, selectivity BETWEEN 0.4 AND 0.6 AS selectivity, rows >= 10 AS rows
FROM piramid_last_scan();
SELECT count(*) FROM (SELECT id FROM t WHERE bucket = 7 ORDER BY v <-> :q LIMIT 10) AS n;
SELECT nodes >= 100 AS nodes, width, key_pages = (SELECT key_pages FROM piramid_hnsw_keys('t_v')) AS all_key_pages, exact_pass,
	selectivity BETWEEN 0.001 AND 0.1 AS selectivity, rows >= 10 AS rows
FROM piramid_last_scan();
-- as many matches, but all of them around the query: as wide as without a condition
CREATE TABLE around AS SELECT v, (row_number() OVER (ORDER BY v <-> :q) <= 2000)::int AS near, id % 5 AS part FROM t;
SET client_min_messages = warning;
CREATE INDEX around_v ON around USING hnsw (v vector_l2_ops, near, part);
RESET client_min_messages;
SELECT count(*) FROM (SELECT 1 FROM around WHERE part = 1 ORDER BY v <-> :q LIMIT 10) AS n;
SELECT width BETWEEN 16 AND 30 AS narrow, exact_pass FROM piramid_last_scan();
SELECT count(*) FROM (SELECT 1 FROM around WHERE near = 1 ORDER BY v <-> :q LIMIT 10) AS n;
SELECT width BETWEEN 38 AND 40 AS wide, exact_pass FROM piramid_last_scan();
DROP TABLE around;
-- nothing can match
SELECT count(*) FROM (SELECT id FROM t WHERE bucket < 5 AND bucket > 50 ORDER BY v <-> :q LIMIT 10) AS n;
SELECT nodes, width, exact_pass, rows FROM piramid_last_scan();

-- hnsw.max_scan_tuples
SET hnsw.iterative_scan = strict_order;
SET hnsw.max_scan_tuples = 100;
SELECT count(*) < 1000 AS few FROM (SELECT id FROM t WHERE id % 100 = 0 ORDER BY v <-> :q LIMIT 100) AS n;
SELECT bounded FROM piramid_last_scan();
RESET hnsw.max_scan_tuples;
RESET hnsw.iterative_scan;

-- the last of several scans; a cursor counts when it is closed
SELECT count(*) FROM (VALUES (1), (2)) AS k(k)
CROSS JOIN LATERAL (SELECT id FROM t WHERE bucket = k ORDER BY v <-> :q LIMIT 5) AS n;
SELECT rows BETWEEN 5 AND 100 AS rows FROM piramid_last_scan();
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> :q;
MOVE 3 FROM c;
SELECT rows BETWEEN 5 AND 100 AS rows FROM piramid_last_scan();
CLOSE c;
SELECT rows BETWEEN 3 AND 1000 AS rows FROM piramid_last_scan();
COMMIT;
-- a scan that fails has no end
SELECT id FROM t ORDER BY v <-> :q, 1 / (id - id) LIMIT 3;
DROP INDEX t_plain;
SELECT count(*) FROM piramid_last_scan();

-- plain links
CREATE TABLE b (id int, v bit(16));
INSERT INTO b SELECT n, n::bit(16) FROM generate_series(1, 3000) AS n;
CREATE INDEX ON b USING hnsw (v bit_hamming_ops);
SELECT count(*) FROM (SELECT id FROM b ORDER BY v <~> '1010101010101010' LIMIT 5) AS n;
SELECT index, nodes > 0 AS nodes, estimates > 0 AS estimates, rows >= 5 AS rows FROM piramid_last_scan();
DROP TABLE t, b;
-- of an index that is gone
SELECT index::text ~ '^\d+$' AS gone FROM piramid_last_scan();
