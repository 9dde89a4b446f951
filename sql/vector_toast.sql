-- Distances of vectors out of line, whose values are kept while a query runs.
CREATE TABLE t (id int PRIMARY KEY, v vector(3000));
-- More rows than values are kept.
INSERT INTO t SELECT i, ARRAY(SELECT ((i * 37 + j * 11) % 101)::real FROM generate_series(1, 3000) j)::vector
FROM generate_series(1, 150) i;
SELECT count(*) > 0 AS out_of_line FROM pg_class
WHERE oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 't'::regclass) AND pg_relation_size(oid) > 150 * 8192;
-- In line: the same values with nothing to fetch.
CREATE TABLE u AS SELECT id, v::real[] AS a FROM t;

-- Both arguments out of line, all pairs, in two orders.
SELECT count(*), count(*) FILTER (WHERE x.v <-> y.v IS DISTINCT FROM a.a::vector <-> b.a::vector) AS wrong
FROM t x, t y, u a, u b WHERE a.id = x.id AND b.id = y.id AND (x.id * 7 + y.id) % 5 = 0;
SELECT count(*), count(*) FILTER (WHERE y.v <=> x.v IS DISTINCT FROM b.a::vector <=> a.a::vector) AS wrong
FROM t y, t x, u a, u b WHERE a.id = x.id AND b.id = y.id AND (x.id + y.id * 3) % 5 = 0;
-- The same value for both arguments, and twice in a row.
SELECT count(*) FILTER (WHERE v <-> v <> 0) AS wrong, count(*) FILTER (WHERE (v <#> v) <> (v <#> v)) AS unlike FROM t;

-- A new value in the same row, within one statement's function and one transaction.
CREATE FUNCTION moved(n int) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE d float8;
BEGIN
	FOR i IN 1..3 LOOP
		SELECT v <-> array_fill(i, ARRAY[3000])::vector INTO d FROM t WHERE id = n;
		IF i > 1 AND d <> 0 THEN RETURN d; END IF;
		UPDATE t SET v = array_fill(i + 1, ARRAY[3000])::vector WHERE id = n;
		SELECT v <-> array_fill(i + 1, ARRAY[3000])::vector INTO d FROM t WHERE id = n;
		IF d <> 0 THEN RETURN d; END IF;
	END LOOP;
	RETURN 0;
END $$;
SELECT moved(1);
-- Two queries that take turns, one of them after a change that it must not see.
BEGIN;
DECLARE c1 CURSOR FOR SELECT id, round((v <-> array_fill(4, ARRAY[3000])::vector)::numeric, 3) FROM t WHERE id IN (1, 2) ORDER BY id DESC;
DECLARE c2 CURSOR FOR SELECT id, round((v <-> array_fill(0, ARRAY[3000])::vector)::numeric, 3) FROM t WHERE id IN (1, 2) ORDER BY id DESC;
FETCH c1;
FETCH c2;
UPDATE t SET v = array_fill(9, ARRAY[3000])::vector WHERE id = 1;
FETCH c1;
FETCH c2;
COMMIT;
-- An error between two calls.
SELECT v <-> '[1,2]' FROM t WHERE id = 2;
SELECT v <-> array_fill(9, ARRAY[3000])::vector AS d FROM t WHERE id = 1;
-- As an index scan computes it: in place, and once more for the output.
CREATE INDEX ON t USING hnsw (v vector_l2_ops);
SET enable_seqscan = off;
SELECT count(*), count(*) FILTER (WHERE d IS DISTINCT FROM t.v::real[]::vector <-> (SELECT a::vector FROM u WHERE id = 20)) AS wrong
FROM (SELECT id, v <-> (SELECT a::vector FROM u WHERE id = 20) AS d FROM t ORDER BY v <-> (SELECT a::vector FROM u WHERE id = 20) LIMIT 100) s
JOIN t USING (id);
DROP TABLE t, u;
DROP FUNCTION moved;
