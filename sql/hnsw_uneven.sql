-- Rows that cannot be told apart at one scale for all: most are much shorter
-- than others, or they lie in dense groups.  See README-build.md.
-- In all versions: arithmetic and the graph.
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all
SET max_parallel_maintenance_workers = 0;

-- Whose nearest rows are looked for; none of them is deleted below.
\set some 'id IN (SELECT i * 37 + 1 - i * 37 % 3 FROM generate_series(1, 50) AS i)'

CREATE FUNCTION noise(seed int, n int) RETURNS float8[] LANGUAGE sql AS $$
	SELECT array_agg(((hashint8extended(i, seed) >> 11) / 4503599627370496.0)::float8 ORDER BY i) FROM generate_series(1, n) AS i
$$;

-- lengths from 0.001 to 1000
CREATE TABLE lengths AS SELECT n AS id, (SELECT array_agg(x * 10 ^ (n * 7919 % 6001 / 1000.0 - 3)) FROM unnest(noise(n, 32)) AS x)::vector(32) AS v
	FROM generate_series(1, 2000) AS n;
CREATE INDEX lengths_l2 ON lengths USING hnsw (v vector_l2_ops);
SELECT found('lengths', '<->', :'some', 0.95);
DROP INDEX lengths_l2;
CREATE INDEX lengths_ip ON lengths USING hnsw (v vector_ip_ops);
SELECT found('lengths', '<#>', :'some', 0.98);
DROP INDEX lengths_ip;
-- only directions count here
CREATE INDEX lengths_cosine ON lengths USING hnsw (v vector_cosine_ops);
SELECT found('lengths', '<=>', :'some', 0.99);
DROP INDEX lengths_cosine;

-- so in parts, too
SET maintenance_work_mem = '1MB';
CREATE INDEX lengths_parts ON lengths USING hnsw (v vector_l2_ops);
RESET maintenance_work_mem;
SELECT found('lengths', '<->', :'some', 0.955);

-- it is an index like any other
DELETE FROM lengths WHERE id % 3 = 0;
VACUUM lengths;
INSERT INTO lengths SELECT id + 10000, v * array_fill(2, '{32}')::vector FROM lengths;
SELECT count(*), count(DISTINCT id) FROM nearest_any('lengths', '<->', (SELECT v::text FROM lengths WHERE id = 1), 100000, true);
SELECT found('lengths', '<->', :'some', 0.975);
SELECT dead_nodes, heap_tids FROM piramid_hnsw_info('lengths_parts');
DROP TABLE lengths;

-- 20 groups of 100 rows, a hundredth of the distance between groups wide; and in more dimensions a thirtieth,
-- where the groups differ in a few directions and the rows of a group in all
CREATE FUNCTION groups(tab text, dim int, n int, width float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %1$s (id int, v vector(%2$s))', tab, dim);
	EXECUTE format('INSERT INTO %1$s SELECT n, (SELECT array_agg(a + $1 * b) FROM unnest(noise(-1 - n %% %3$s, %2$s), noise(n, %2$s)) AS x(a, b))::vector
		FROM generate_series(1, 2000) AS n', tab, dim, n) USING width;
END $$;
SELECT groups('dense', 128, 20, 0.005);
CREATE INDEX dense_v ON dense USING hnsw (v vector_l2_ops);
SELECT found('dense', '<->', :'some', 0.875);
DROP TABLE dense;
SELECT groups('wide', 768, 20, 0.03);
CREATE INDEX wide_v ON wide USING hnsw (v vector_l2_ops);
SELECT found('wide', '<->', :'some', 0.95);
SELECT code_bits FROM piramid_hnsw_info('wide_v');
DROP TABLE wide;

-- 200 groups of 10 rows, so that most have no row at a higher level
SELECT groups('far', 16, 200, 0.02);
CREATE INDEX far_v ON far USING hnsw (v vector_l2_ops);
SELECT found('far', '<->', :'some', 0.99);
DROP TABLE far;

-- By inner product, some rows are the answer to all queries: a hundredth of the rows, ten times as long as others
-- (before they had links from all rows, 0.13 of the nearest were found), or three of 3,000.
CREATE TABLE mixed AS SELECT n AS id, (SELECT array_agg(x * CASE WHEN n % 100 = 7 THEN 10 ELSE 1 END) FROM unnest(noise(n, 64)) AS x)::vector(64) AS v
	FROM generate_series(1, 3000) AS n;
CREATE INDEX mixed_v ON mixed USING hnsw (v vector_ip_ops);
SELECT found('mixed', '<#>', :'some', 0.99);
DROP INDEX mixed_v;
CREATE INDEX mixed_compact ON mixed USING hnsw (v vector_ip_ops) WITH (layout = compact);
SELECT found('mixed', '<#>', :'some', 0.9);
DROP INDEX mixed_compact;
SET maintenance_work_mem = '1MB';
SET client_min_messages = warning;
CREATE INDEX mixed_parts ON mixed USING hnsw (v vector_ip_ops);
RESET client_min_messages;
RESET maintenance_work_mem;
SELECT found('mixed', '<#>', :'some', 0.97);
DROP INDEX mixed_parts;
UPDATE mixed SET v = v * array_fill(0.1, '{64}')::vector WHERE id % 100 = 7 AND id % 1000 <> 7;
CREATE INDEX mixed_few ON mixed USING hnsw (v vector_ip_ops);
SELECT found('mixed', '<#>', :'some', 0.9, 3);
SELECT * FROM piramid_check('mixed_few', true);
DROP TABLE mixed;

-- Lengths that differ by factors of thousands, in few directions
CREATE TABLE rays AS SELECT n AS id, (SELECT array_agg(x * exp(2 * (SELECT sum(y) FROM unnest(noise(-n, 12)) AS y) * 0.3)) FROM unnest(noise(n % 60, 32)) AS x)::vector(32) AS v
	FROM generate_series(1, 3000) AS n;
CREATE INDEX rays_v ON rays USING hnsw (v vector_ip_ops);
SELECT found('rays', '<#>', :'some', 0.97);
SELECT * FROM piramid_check('rays_v', true);
DROP TABLE rays;

-- over twenty decades, most of them much shorter than the longest
CREATE TABLE decades AS SELECT n AS id, (SELECT array_agg(x * 10 ^ (n * 7919 % 2001 / 100.0 - 10)) FROM unnest(noise(n, 32)) AS x)::vector(32) AS v
	FROM generate_series(1, 3000) AS n;
CREATE INDEX decades_v ON decades USING hnsw (v vector_ip_ops);
SELECT found('decades', '<#>', :'some', 0.98);
DROP TABLE decades;

-- By inner product the longest rows are nearest to few others, but a narrow search comes to them:
-- of 300, some 16 are missed, and would be 70 if no more of them had nodes at higher levels than of others.
CREATE TABLE tails (id int, v vector(64));
CREATE INDEX tails_v ON tails USING hnsw (v vector_ip_ops);
INSERT INTO tails SELECT n, (SELECT array_agg(x * exp((SELECT sum(y) FROM unnest(noise(-n, 12)) AS y) * 0.3)) FROM unnest(noise(n, 64)) AS x)::vector
	FROM generate_series(1, 6000) AS n;
CREATE TABLE longest AS SELECT q.v, min(tails.v <#> q.v) AS least
	FROM (SELECT v FROM tails ORDER BY l2_norm(v) DESC LIMIT 300) AS q, tails GROUP BY q.v;
SET hnsw.ef_search = 4;
SELECT count(*), count(*) FILTER (WHERE distance > least) < 40 AS found
	FROM longest AS q, nearest_any('tails', '<#>', q.v::text, 1, true);
RESET hnsw.ef_search;
DROP TABLE tails, longest;

-- Rows far from zero, and near each other: points of a map, and times beside numbers near zero.  What
-- binary16 makes of them are few rows, and the index has int8 of how they differ from their mean.
CREATE FUNCTION spot(n int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT ARRAY[500000 + 8000 * x[1], 5820000 + 8000 * x[2], 100 + 60 * x[3]]::vector FROM noise(n, 3) AS x
$$;
CREATE TABLE points AS SELECT n AS id, spot(n)::vector(3) AS v FROM generate_series(1, 3000) AS n;
CREATE INDEX points_v ON points USING hnsw (v vector_l2_ops);
SELECT storage_precision, upper_nodes < nodes / 10 AS few_above FROM piramid_hnsw_info('points_v');
SELECT found('points', '<->', :'some', 0.99);
SELECT check_scan('points', '<->', spot(-7));
-- equal rows share a node, and others come and go
INSERT INTO points SELECT 10000 + n, spot(n) FROM generate_series(1, 500) AS n;
SELECT nodes, heap_tids FROM piramid_hnsw_info('points_v');
DELETE FROM points WHERE id % 3 = 0;
VACUUM points;
INSERT INTO points SELECT n, spot(n) FROM generate_series(20001, 20500) AS n;
SELECT found('points', '<->', :'some', 0.99);
SELECT check_scan('points', '<->', spot(-7));
DROP INDEX points_v;
-- in parts; compact; by several processes
SET maintenance_work_mem = '1MB';
SET client_min_messages = warning;
CREATE INDEX points_v ON points USING hnsw (v vector_l2_ops) WITH (layout = compact);
RESET maintenance_work_mem;
RESET client_min_messages;
SELECT found('points', '<->', :'some', 0.95);
DROP INDEX points_v;
INSERT INTO points SELECT n, spot(n) FROM generate_series(30001, 40000) AS n;
SET max_parallel_maintenance_workers = 2;
SET min_parallel_table_scan_size = 0;
CREATE INDEX points_v ON points USING hnsw (v vector_l2_ops);
RESET max_parallel_maintenance_workers;
RESET min_parallel_table_scan_size;
SELECT found('points', '<->', :'some', 0.99);
SELECT unsound('points');
-- fewer rows than a mean takes elsewhere
TRUNCATE points;
INSERT INTO points SELECT n, spot(n) FROM generate_series(1, 20) AS n;
REINDEX INDEX points_v;
INSERT INTO points SELECT n, spot(n) FROM generate_series(21, 2000) AS n;
SELECT storage_precision FROM piramid_hnsw_info('points_v');
SELECT found('points', '<->', :'some', 0.99);
-- an index that was made empty knows no mean, but is not slow to make
TRUNCATE points;
INSERT INTO points SELECT n, spot(n) FROM generate_series(1, 2000) AS n;
SELECT storage_precision, upper_nodes < nodes / 5 AS few_above FROM piramid_hnsw_info('points_v');
SELECT check_scan('points', '<->', spot(-7));
DROP TABLE points;
CREATE TABLE times AS SELECT n AS id, (1700000000 + 15000000 * x[1] || x[2:16])::vector(16) AS v
	FROM generate_series(1, 2000) AS n, noise(n, 16) AS x;
CREATE INDEX times_v ON times USING hnsw (v vector_l2_ops);
SELECT found('times', '<->', :'some', 0.9);
DROP TABLE times;

DROP FUNCTION noise, groups, spot;
