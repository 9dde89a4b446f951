-- hnsw: when the planner uses an index
CREATE FUNCTION made(n int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT ARRAY[sin(n * 12.9), sin(n * 78.2), sin(n * 37.7)]::vector
$$;
-- The indexes that a query uses, where the whole plan depends on the version.
CREATE FUNCTION indexes_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		result := concat_ws(' ', nullif(result, ''), substring(line FROM 'Scan using (\S+)'));
	END LOOP;
	RETURN result;
END $$;
CREATE TABLE t (id int PRIMARY KEY, v vector(3), few int, half int, category int);
INSERT INTO t SELECT n, made(n), n % 1000, n % 2, n % 10 FROM generate_series(1, 10000) AS n;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_few ON t (few);
CREATE INDEX t_half ON t (half);
CREATE TABLE names (category int PRIMARY KEY, name text);
INSERT INTO names SELECT n, 'name ' || n FROM generate_series(0, 9) AS n;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
VACUUM ANALYZE t, names;

-- the nearest rows
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY '[1,2,3]' <-> v LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id, v <-> '[1,2,3]' AS d FROM t ORDER BY d LIMIT 10 OFFSET 10;
SELECT indexes_of('SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 1) LIMIT 10');
-- also with a narrow and with a wide search
SET hnsw.ef_search = 1;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 10;
SET hnsw.ef_search = 200;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 10;
RESET hnsw.ef_search;

-- not without LIMIT, without ORDER BY, in the other direction, for another distance, or sorted by more
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]';
EXPLAIN (COSTS OFF) SELECT id FROM t LIMIT 10;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v <-> '[1,2,3]' < 1;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v <-> '[1,2,3]' < 1 LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v = '[1,2,3]';
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v IS NULL;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' DESC LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <=> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY -(v <-> '[1,2,3]') LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY (v <-> '[1,2,3]') + 1 LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> v LIMIT 10;
-- most of the table
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 9999;

-- an attribute: a btree where it leaves few rows, else the index
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE few = 1 ORDER BY v <-> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE id = 1 ORDER BY v <-> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE half = 1 ORDER BY v <-> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE category <> 1 ORDER BY v <-> '[1,2,3]' LIMIT 10;

-- a distance filter
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v <-> '[1,2,3]' < 1 ORDER BY v <-> '[1,2,3]' LIMIT 10;
-- joins
EXPLAIN (COSTS OFF) SELECT t.id, name FROM t JOIN names USING (category) ORDER BY v <-> '[1,2,3]' LIMIT 10;
SELECT indexes_of('SELECT n.category, x.id FROM names AS n, LATERAL (SELECT id FROM t ORDER BY v <-> made(n.category) LIMIT 3) AS x');
-- a subquery, re-ranked
EXPLAIN (COSTS OFF) SELECT id FROM (SELECT id, v FROM t ORDER BY v <-> '[1,2,3]' LIMIT 50) AS x ORDER BY v <=> '[1,2,3]' LIMIT 10;

-- a partial index wins where it matches, and is not used where it does not
CREATE INDEX t_partial ON t USING hnsw (v vector_l2_ops) WHERE category = 3;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE category = 3 ORDER BY v <-> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE category = 4 ORDER BY v <-> '[1,2,3]' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 10;
DROP INDEX t_partial;

-- the operator class decides
CREATE INDEX t_cosine ON t USING hnsw (v vector_cosine_ops);
CREATE INDEX t_ip ON t USING hnsw (v vector_ip_ops);
CREATE INDEX t_l1 ON t USING hnsw (v vector_l1_ops);
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <=> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <#> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <+> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY cosine_distance(v, '[1,2,3]') LIMIT 10;

-- enable_seqscan = off forces it where it can serve, also without LIMIT
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]';
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 9999;
SELECT indexes_of('SELECT v FROM t');
SELECT indexes_of($$SELECT v FROM t WHERE v <-> '[1,2,3]' < 1$$);
SELECT indexes_of($$SELECT v FROM t ORDER BY v <-> '[1,2,3]' DESC LIMIT 10$$);
RESET enable_seqscan;
-- enable_indexscan = off keeps it away
SET enable_indexscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 10;
RESET enable_indexscan;

-- a cursor that is to be read backwards
EXPLAIN (COSTS OFF) DECLARE c SCROLL CURSOR FOR SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 10;

-- a table of a few rows is sorted
CREATE TABLE small AS SELECT * FROM t LIMIT 20;
CREATE INDEX ON small USING hnsw (v vector_l2_ops);
ANALYZE small;
EXPLAIN (COSTS OFF) SELECT id FROM small ORDER BY v <-> '[1,2,3]' LIMIT 10;

-- a sort reads vectors that are stored out of line, and computes all distances
CREATE TABLE wide (id int, half int, v vector(1000));
INSERT INTO wide SELECT n, n % 2, (SELECT array_agg(sin(n * i)) FROM generate_series(1, 1000) AS i)::vector
FROM generate_series(1, 1500) AS n;
CREATE INDEX wide_v ON wide USING hnsw (v vector_l2_ops, half);
VACUUM ANALYZE wide;
SELECT limit_rows, indexes_of(format('SELECT id FROM wide WHERE half = 1 ORDER BY v <-> %L LIMIT %s',
		(SELECT v FROM wide WHERE id = 1), limit_rows)) FROM unnest(ARRAY[10, 100]) AS limit_rows;

-- pages of keys are read in order, and cost little: rather those than a btree on one of two columns
CREATE TABLE keyed (id int, v vector(3), few int, kind int);
INSERT INTO keyed SELECT n, made(n), n % 1000, n % 14 FROM generate_series(1, 10000) AS n;
CREATE INDEX keyed_v ON keyed USING hnsw (v vector_l2_ops, few, kind);
CREATE INDEX keyed_few ON keyed (few);
VACUUM ANALYZE keyed;
SELECT indexes_of($$SELECT id FROM keyed WHERE few < 100 AND kind = 3 ORDER BY v <-> '[1,2,3]' LIMIT 10$$);

-- a join that keeps a row in two, and one in fifty, for which a search would have to be wide
CREATE TABLE joined (id int, few int, v vector(64));
INSERT INTO joined SELECT n, n % 1000, (SELECT array_agg(hashint4(n * 64 + i) % 1000) FROM generate_series(1, 64) AS i)::vector
FROM generate_series(1, 20000) AS n;
CREATE INDEX joined_v ON joined USING hnsw (v vector_l2_ops);
CREATE TABLE one_in_2 AS SELECT n AS few FROM generate_series(1, 500) AS n;
CREATE TABLE one_in_50 AS SELECT n AS few FROM generate_series(1, 20) AS n;
VACUUM ANALYZE joined, one_in_2, one_in_50;
SELECT name, indexes_of(format('SELECT joined.id FROM joined JOIN %I USING (few) ORDER BY v <-> %L LIMIT 10', name,
	(SELECT v FROM joined WHERE id = 1))) FROM unnest(ARRAY['one_in_2', 'one_in_50']) AS name;

DROP TABLE t, names, small, wide, keyed, joined, one_in_2, one_in_50;
DROP FUNCTION made, indexes_of;
