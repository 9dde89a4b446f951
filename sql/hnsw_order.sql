-- hnsw: no plan sees rows out of order; what the plan asks is known to the scan
SET jit = off;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT setseed(0.7);

-- rows in groups far from each other, and a few that are alike
CREATE TABLE centres AS SELECT k, (SELECT array_agg(random() * 2 - 1) FROM generate_series(1, 16) WHERE k >= 0)::vector AS c
	FROM generate_series(0, 39) AS k;
CREATE TABLE rows (id int PRIMARY KEY, v vector(16), h bit(16));
INSERT INTO rows SELECT i, c + (SELECT array_agg((random() - 0.5) * 0.2) FROM generate_series(1, 16) WHERE i > 0)::vector, (i * 7919 % 65536)::bit(16)
	FROM generate_series(1, 3000) AS i JOIN centres ON k = i % 40;
INSERT INTO rows SELECT 3000 + i, v, h FROM rows, generate_series(1, 30) AS i WHERE id = 7;
CREATE INDEX rows_v ON rows USING hnsw (v vector_l2_ops);
CREATE INDEX rows_h ON rows USING hnsw (h bit_hamming_ops);
ANALYZE rows;

-- rows whose distance is less than the one before it, with a cursor and so without a known LIMIT
CREATE FUNCTION disorder(query text, OUT rows bigint, OUT wrong bigint) LANGUAGE plpgsql AS $$
DECLARE
	d float8;
	most float8 := '-infinity';
BEGIN
	rows := 0;
	wrong := 0;
	FOR d IN EXECUTE query LOOP
		rows := rows + 1;
		wrong := wrong + (d < most)::int;
		most := greatest(most, d);
	END LOOP;
END $$;
CREATE FUNCTION q(n int) RETURNS vector LANGUAGE sql STABLE AS 'SELECT v FROM rows WHERE id = n';

SELECT sum(rows) > 19 * 3030 AS nearly_all, sum(wrong) AS wrong FROM generate_series(1, 1000, 50) AS n,
	disorder(format('SELECT v <-> %L FROM rows ORDER BY v <-> %1$L', q(n)));
SELECT sum(rows) AS rows, sum(wrong) AS wrong FROM generate_series(1, 1000, 50) AS n,
	disorder(format('SELECT v <-> %L FROM rows WHERE id %% 31 = %s ORDER BY v <-> %1$L LIMIT 90', q(n), n % 31));
-- a statement that runs to its end has all rows
SELECT sum(n) AS rows, sum(wrong) AS wrong FROM generate_series(1, 1000, 50) AS i, LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE d < before) AS wrong
	FROM (SELECT d, lag(d) OVER (ORDER BY r) AS before FROM (SELECT d, row_number() OVER () AS r
		FROM (SELECT v <-> q(i) AS d FROM rows ORDER BY d LIMIT 5000) AS a) AS b) AS c) AS x;

-- what the planner builds upon the order
SET enable_sort = off;
SELECT count(*) = count(DISTINCT d) AS once, count(*) = (SELECT count(DISTINCT (v <-> q(5)) + 0) FROM rows) AS all_of_them
	FROM (SELECT DISTINCT ON (v <-> (SELECT q(5))) v <-> (SELECT q(5)) AS d FROM rows ORDER BY v <-> (SELECT q(5))) AS x;
SELECT count(*) AS groups, sum(n) AS rows FROM (SELECT d, count(*) AS n FROM (SELECT v <-> (SELECT q(7)) AS d FROM rows ORDER BY d) AS x GROUP BY d) AS y WHERE n > 30;
SELECT count(*) FILTER (WHERE r <> 1 + smaller) AS wrong_ranks FROM
	(SELECT id, rank() OVER (ORDER BY v <-> (SELECT q(9))) AS r FROM rows) AS a
	JOIN (SELECT id, rank() OVER (ORDER BY (v <-> q(9)) + 0) - 1 AS smaller FROM rows) AS b USING (id);
RESET enable_sort;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT count(*) >= 3030 AS joined FROM (SELECT v <-> (SELECT q(11)) AS d FROM rows ORDER BY d LIMIT 4000) AS a
	JOIN (SELECT (v <-> (SELECT q(11))) + 0 AS d FROM rows) AS b ON a.d = b.d;
RESET enable_hashjoin;
RESET enable_nestloop;

-- two distances
EXPLAIN (COSTS OFF) SELECT id FROM rows ORDER BY h <~> B'1010101010101010', h <~> B'1111111100000000' LIMIT 10;
SELECT bool_and(array(SELECT (h <~> a, h <~> b) FROM rows ORDER BY h <~> a, h <~> b LIMIT 300)
	= array(SELECT (h <~> a, h <~> b) FROM rows ORDER BY (h <~> a) + 0, (h <~> b) + 0 LIMIT 300)) AS equal
FROM (SELECT (n * 12347 % 65536)::bit(16) AS a, (n * 7321 % 65536)::bit(16) AS b FROM generate_series(1, 10) AS n) AS x;
CREATE TABLE dots AS SELECT i AS id, ARRAY[i / 40 % 10, i % 7]::vector(2) AS v FROM generate_series(1, 400) AS i;
CREATE INDEX ON dots USING hnsw (v vector_ip_ops);
SELECT v <#> '[0,0]', v <#> '[1,0]' FROM dots ORDER BY v <#> '[0,0]', v <#> '[1,0]' LIMIT 3;
SELECT v <#> '[0,1]', v <#> '[1,0]' FROM dots ORDER BY v <#> '[0,1]', v <#> '[1,0]' LIMIT 3;
SELECT v <#> (SELECT NULL::vector), v <#> '[1,0]' FROM dots ORDER BY v <#> (SELECT NULL::vector), v <#> '[1,0]' LIMIT 3;
SELECT v <#> '[1,0]', v <#> (SELECT NULL::vector) FROM dots ORDER BY v <#> '[1,0]', v <#> (SELECT NULL::vector) LIMIT 3;

-- a distance from which on no row can qualify ends the scan: all blocks of the index are many more
CREATE FUNCTION blocks(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
	RETURN plan->0->'Plan'->'Plans'->0->'Shared Hit Blocks';
END $$;
SELECT format('SELECT id FROM rows WHERE %%s ORDER BY v <-> %L LIMIT 40', q(2)) AS nearest, format('v <-> %L', q(2)) AS d \gset
SELECT replace(filter, :'d', 'd') AS filter, rows, blocks(format(:'nearest', filter)) < 3000 / 4 AS few
FROM (VALUES (:'d' || ' < 0.01'), (:'d' || ' <= 0'), ('0.01 > ' || :'d'), ('1 - (' || :'d' || ') > 0.99'), ('-(' || :'d' || ') > -0.01'),
	('(' || :'d' || ') * -1 >= -0.01'), (:'d' || ' < 0.01 AND id % 2 = 0')) AS x (filter),
	LATERAL (SELECT count(*) AS rows FROM disorder(format(:'nearest', filter)) AS y, generate_series(1, y.rows)) AS z;
PREPARE within(vector, float8) AS SELECT count(*) FROM (SELECT id FROM rows WHERE v <-> $1 < $2 ORDER BY v <-> $1 LIMIT 500) AS x;
SET plan_cache_mode = force_generic_plan;
SELECT v::text AS v FROM rows WHERE id = 7 \gset
EXECUTE within(:'v', 0.001);
EXECUTE within(:'v', 'infinity');
EXECUTE within(:'v', 'nan');
EXECUTE within(:'v', NULL);
EXECUTE within(:'v', 0);
RESET plan_cache_mode;
-- what is no such limit does not end it
SELECT count(*) FROM (SELECT id FROM rows WHERE v <-> :'v' > 0.5 ORDER BY v <-> :'v' LIMIT 70) AS x;
SELECT count(*) FROM (SELECT id FROM rows WHERE v <-> :'v' < 0.1 OR id % 10 = 0 ORDER BY v <-> :'v' LIMIT 200) AS x;
SELECT count(*) FROM (SELECT id FROM rows WHERE v <#> :'v' < -1 ORDER BY v <-> :'v' LIMIT 70) AS x;
SELECT count(*) FROM (SELECT id FROM rows WHERE (v <-> :'v') * 0 < 1 ORDER BY v <-> :'v' LIMIT 70) AS x;
-- a limit of type real, by the name of the operator's function, with its arguments exchanged
CREATE INDEX rows_ip ON rows USING hnsw (v vector_ip_ops);
CREATE INDEX rows_cosine ON rows USING hnsw (v vector_cosine_ops);
CREATE INDEX rows_l1 ON rows USING hnsw (v vector_l1_ops);
CREATE INDEX rows_half ON rows USING hnsw ((v::halfvec(16)) halfvec_ip_ops);
CREATE INDEX rows_sparse ON rows USING hnsw ((v::sparsevec(16)) sparsevec_ip_ops);
CREATE FUNCTION filled(what text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT replace(replace(replace(what, '$q', format('%L::vector', q(2))), '$p', format('%L::vector', q(3))), '$h', 'B''1010101010101010''')
$$;
-- halfway from the tenth row to the next that is farther
CREATE FUNCTION tenth(distance text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	r float8;
BEGIN
	EXECUTE format('SELECT avg(d) FROM (SELECT DISTINCT (%s) + 0 AS d FROM rows ORDER BY d OFFSET 9 LIMIT 2) AS x', filled(distance)) INTO r;
	RETURN r;
END $$;
CREATE FUNCTION limited(condition text, distance text, OUT all_rows bool, OUT stopped bool) LANGUAGE plpgsql AS $$
DECLARE
	truth bigint;
	rows bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM rows WHERE %s', condition) INTO truth;
	EXECUTE format('SELECT count(*) FROM (SELECT id FROM rows WHERE %s ORDER BY %s LIMIT 40) AS x', condition, distance) INTO rows;
	all_rows := rows = least(truth, 40);
	SELECT nodes < 1500 INTO stopped FROM piramid_last_scan();
END $$;
SELECT filter, d, all_rows, stopped FROM (VALUES
		('v <-> $q < $r', 'v <-> $q'), ('v <-> $q < $r::real', 'v <-> $q'), ('v <-> $q <= $r::real', 'v <-> $q'), ('$r::real > v <-> $q', 'v <-> $q'),
		('$r::real >= v <-> $q', 'v <-> $q'), ('1::real - (v <-> $q) > 1 - $r', 'v <-> $q'),
		('2::real * (v <-> $q) + 1::real < (2 * $r + 1)::real', 'v <-> $q'), ('$q <-> v < $r', 'v <-> $q'), ('v <-> $q < $r', '$q <-> v'),
		('l2_distance(v, $q) < $r', 'v <-> $q'), ('l2_distance($q, v) <= $r::real', 'v <-> $q'), ('cosine_distance(v, $q) < $r', 'v <=> $q'),
		('1 - cosine_distance(v, $q) > 1 - $r', 'v <=> $q'), ('$r > l1_distance(v, $q)', 'v <+> $q'),
		('inner_product(v, $q) > -$r', 'v <#> $q'), ('(-$r)::real <= inner_product($q, v)', 'v <#> $q'),
		('-inner_product(v, $q) < $r', 'v <#> $q'), ('vector_negative_inner_product(v, $q) < $r', 'v <#> $q'),
		('inner_product(v::halfvec(16), $q::halfvec(16)) > -$r', 'v::halfvec(16) <#> $q::halfvec(16)'),
		('inner_product(v::sparsevec(16), $q::sparsevec(16)) > -$r', 'v::sparsevec(16) <#> $q::sparsevec(16)'),
		('hamming_distance(h, $h) < 3::real', 'h <~> $h'),
		-- of another distance, another vector, from the other side
		('inner_product(v, $q) > 1000', 'v <-> $q'), ('l2_distance(v, $q) < -1', 'v <#> $q'), ('l2_distance(v, $p) < 0.4', 'v <-> $q'),
		('inner_product(v, $q) < -3', 'v <#> $q'), ('l2_distance(v, $q) > 4::real', 'v <-> $q')) AS f (filter, d),
	LATERAL replace(filled(filter), '$r', format('(%s)::float8', tenth(d))) AS condition,
	LATERAL limited(condition, filled(d)) AS l;
DROP INDEX rows_ip, rows_cosine, rows_l1, rows_half, rows_sparse;
DROP FUNCTION limited, tenth, filled;
-- a vector that is bound twice, as drivers do; and another one
SELECT q(2)::text AS w \gset
PREPARE twice(vector, vector, float8) AS SELECT count(*) FROM (SELECT id FROM rows WHERE v <-> $1 < $3 ORDER BY v <-> $2 LIMIT 40) AS x;
SET plan_cache_mode = force_generic_plan;
EXECUTE twice(:'v', :'v', 0.001);
SELECT nodes < 1500 AS stopped FROM piramid_last_scan();
EXECUTE twice(:'w', :'v', 0.001);
SELECT nodes < 1500 AS stopped FROM piramid_last_scan();
RESET plan_cache_mode;
DEALLOCATE twice;
-- each row of a nested loop has a limit and a LIMIT of its own
SELECT bool_and(n = least(k, 31)) AS right_number FROM generate_series(1, 60, 7) AS k,
	LATERAL (SELECT count(*) AS n FROM (SELECT id FROM rows WHERE v <-> :'v' < 0.0001 * k ORDER BY v <-> :'v' LIMIT k) AS x) AS y;

-- whoever reads all rows has them all, however the plan comes to it; with a graph that loses many
CREATE TABLE poor AS SELECT i AS id, (SELECT array_agg(random()) FROM generate_series(1, 32) WHERE i > 0)::vector(32) AS v FROM generate_series(1, 3000) AS i;
ALTER TABLE poor ALTER v TYPE vector(32);
CREATE INDEX ON poor USING hnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 8);
ANALYZE poor;
CREATE FUNCTION p() RETURNS vector LANGUAGE sql IMMUTABLE AS 'SELECT v FROM poor WHERE id = 77';
CREATE VIEW nearest AS SELECT id FROM poor ORDER BY v <-> p() OFFSET 0;
SET hnsw.ef_search = 5;
SET enable_sort = off;
SELECT count(*) FROM nearest LIMIT 1;
SELECT count(*) OVER () FROM nearest LIMIT 1;
SELECT (SELECT count(*) FROM nearest);
SELECT count(*) FROM (SELECT id FROM poor EXCEPT SELECT id FROM nearest LIMIT 1000) AS x;
SELECT count(*) FROM (SELECT id FROM poor WHERE id NOT IN (SELECT id FROM nearest) LIMIT 1000) AS x;
CREATE TABLE copied (id int);
WITH x AS (INSERT INTO copied SELECT id FROM nearest RETURNING 1) SELECT 1 AS one;
SELECT count(*) FROM copied;
DO $$ DECLARE n int; BEGIN SELECT count(*) INTO n FROM nearest; RAISE NOTICE '% rows', n; END $$;
SELECT count(*) FROM (SELECT id FROM poor WHERE id % 40 = 3 ORDER BY v <-> p() LIMIT 100) AS x;
-- but max_scan_tuples bounds a scan
SET hnsw.iterative_scan = strict_order;
SET hnsw.max_scan_tuples = 300;
SELECT count(*) BETWEEN 250 AND 900 AS bounded FROM nearest;
RESET hnsw.iterative_scan;
RESET hnsw.max_scan_tuples;
-- a limit that rounding touches
SELECT count(*) FROM (SELECT id FROM poor WHERE ((v <-> p()) + 1e20) - 1e20 < 5 ORDER BY v <-> p() LIMIT 4000) AS x;
DROP VIEW nearest;
DROP TABLE poor, copied;
DROP FUNCTION p;
RESET hnsw.ef_search;
RESET enable_sort;

-- relaxed order has all rows, also of a cursor
SET hnsw.iterative_scan = relaxed_order;
SELECT sum(rows) = 20 * 3030 AS all_rows FROM generate_series(1, 1000, 50) AS n,
	disorder(format('SELECT v <-> %L FROM rows ORDER BY v <-> %1$L', q(n)));
RESET hnsw.iterative_scan;

-- a compact index, which only estimates distances
DROP INDEX rows_v;
CREATE INDEX rows_v ON rows USING hnsw (v vector_l2_ops) WITH (layout = compact);
SELECT sum(rows) AS rows, sum(wrong) AS wrong FROM generate_series(1, 1000, 50) AS n,
	disorder(format('SELECT v <-> %L FROM rows ORDER BY v <-> %1$L LIMIT 400', q(n)));
SELECT sum(rows) > 15 * 3030 AS most, sum(wrong) AS wrong FROM generate_series(1, 1000, 50) AS n,
	disorder(format('SELECT v <-> %L FROM rows ORDER BY v <-> %1$L', q(n)));
SELECT count(*) AS rows, count(*) FILTER (WHERE d < before) AS wrong FROM (SELECT d, lag(d) OVER (ORDER BY r) AS before
	FROM (SELECT d, row_number() OVER () AS r FROM (SELECT v <-> q(3) AS d FROM rows ORDER BY d LIMIT 5000) AS a) AS b) AS c;
SELECT v <-> q(7) AS d1, v <-> q(8) > 0 AS d2 FROM rows ORDER BY v <-> q(7), v <-> q(8) LIMIT 2;
-- a limit, where some rows are stored more coarsely than others
CREATE TABLE coarse AS SELECT i AS id, (SELECT array_agg(CASE WHEN j = 1 AND i % 20 = 0 THEN 50 ELSE random() - 0.5 END)
	FROM generate_series(1, 16) AS j WHERE i > 0)::vector(16) AS v FROM generate_series(1, 2000) AS i;
ALTER TABLE coarse ALTER v TYPE vector(16);
CREATE INDEX ON coarse USING hnsw (v vector_ip_ops) WITH (layout = compact);
SELECT count(*) FILTER (WHERE a < 0.99 * b) AS lost FROM generate_series(1, 1000, 50) AS n, LATERAL (SELECT v AS w FROM coarse WHERE id = n) AS x,
	LATERAL (SELECT percentile_disc(0.1) WITHIN GROUP (ORDER BY v <#> w) AS most FROM coarse) AS y,
	LATERAL (SELECT count(*) AS a FROM (SELECT id FROM coarse WHERE v <#> w < most ORDER BY v <#> w LIMIT 3000) AS z) AS z,
	LATERAL (SELECT count(*) AS b FROM coarse WHERE (v <#> w) + 0 < most) AS t;
DROP TABLE coarse;
-- of an expression, and of rows that this transaction does not see
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE rows SET v = v + v WHERE id % 2 = 0;
DELETE FROM rows WHERE id % 3 = 0;
SELECT sum(rows) AS rows, sum(wrong) AS wrong, sum(seen) AS seen FROM generate_series(1, 100, 9) AS n,
	disorder(format('SELECT v <-> %L FROM rows ORDER BY v <-> %1$L LIMIT 15', q(n))),
	LATERAL (SELECT count(*) AS seen FROM (SELECT id FROM rows ORDER BY v <-> q(n) LIMIT 15) AS x WHERE id % 3 > 0) AS y;
ROLLBACK;
CREATE INDEX rows_sum ON rows USING hnsw (((v + v)::vector(16)) vector_l2_ops) WITH (layout = compact);
SELECT sum(rows) AS rows, sum(wrong) AS wrong FROM generate_series(1, 100, 9) AS n,
	disorder(format('SELECT (v + v)::vector(16) <-> %L FROM rows ORDER BY (v + v)::vector(16) <-> %1$L LIMIT 15', q(n)));

DROP TABLE rows, centres, dots;
DROP FUNCTION disorder, q, blocks;

-- Infinite distances, and those that are no numbers, in the order of the operator's values.
CREATE TABLE t (id int, v vector(3));
INSERT INTO t VALUES (1, '[3e38,3e38,0]'), (2, '[-3e38,-3e38,0]'), (3, '[1,1,0]'), (4, '[3e38,3e38,0]'), (5, '[-3e38,0,0]'), (6, '[-3e38,1,0]');
CREATE INDEX ON t USING hnsw (v vector_ip_ops);
SET enable_seqscan = off;
SELECT v <#> '[10,-10,1]' AS d FROM t ORDER BY v <#> '[10,-10,1]' LIMIT 3;
SELECT v <#> '[10,-10,1]' AS d FROM t ORDER BY v <#> '[10,-10,1]';
RESET enable_seqscan;
DROP TABLE t;
