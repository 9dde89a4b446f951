-- bm25 indexes of sparse vectors: the order of scans against that of the table, while rows come and go.
-- In all versions: arithmetic.
SET client_min_messages = warning;
CREATE EXTENSION piramid_bm25;

-- Weights of a kind: 0 positive, 1 of both signs, 2 of all sizes that floats have, 3 few different ones.
CREATE FUNCTION weight(seed int, kind int) RETURNS float4 LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE kind
		WHEN 0 THEN ln(1 + u * 9)
		WHEN 1 THEN (u - 0.5) * exp(4 * v)
		WHEN 2 THEN CASE WHEN v < 0.4 THEN -1 ELSE 1 END * 10 ^ (u * 82 - 44)
		ELSE round(u * 4) - 1.5 END::float4
	FROM (SELECT (hashint4(seed) & 65535) / 65536.0::float8 AS u, (hashint4(-seed) & 65535) / 65536.0::float8 AS v) x
$$;
-- n elements, more often of the first dimensions.
CREATE FUNCTION sparse(seed int, n int, kind int) RETURNS sparsevec LANGUAGE sql IMMUTABLE AS $$
	SELECT ('{' || COALESCE(string_agg(d || ':' || w, ','), '') || '}/400')::sparsevec
	FROM (SELECT d, max(weight(seed * 31 + d, kind)) AS w
		FROM (SELECT exp(5.98 * (hashint4(seed * 1009 + i)::bigint & 1023) / 1024)::int AS d FROM generate_series(1, n) i) x
		GROUP BY d) y WHERE w <> 0
$$;
-- How many of the first k distances of a scan differ from those of the table.
CREATE FUNCTION wrong(rel text, query sparsevec, k int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	sql text := format('SELECT array_agg(s) FROM (SELECT v <#> %L AS s FROM %I ORDER BY v <#> %1$L LIMIT %3$s) x', query, rel, k);
	by_index float8[];
	by_table float8[];
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	EXECUTE sql INTO by_index;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_sort = on;
	SET LOCAL enable_indexscan = off;
	EXECUTE sql INTO by_table;
	RESET enable_indexscan;
	RETURN (SELECT count(*) FROM unnest(by_index, by_table) u (a, b) WHERE a IS DISTINCT FROM b);
END $$;
CREATE VIEW asked AS
SELECT kind, sparse(-i * 7, i * 3 % 40, kind) AS query, (ARRAY[1, 10, 100, 10000])[1 + i % 4] AS k
FROM generate_series(1, 8) i, generate_series(0, 3) kind;

CREATE TABLE d (id int PRIMARY KEY, kind int, v sparsevec(400));
INSERT INTO d SELECT i, kind, CASE WHEN i % 50 > 0 THEN sparse(i * 4 + kind, 1 + i % 40, kind) END
FROM generate_series(0, 3) kind, generate_series(kind * 400 + 1, kind * 400 + 400) i;
INSERT INTO d VALUES (-1, 0, '{}/400'), (-2, 2, '{1:3.4028235e38,2:3.4028235e38,400:1e-45}/400'), (-3, 2, '{1:-3.4028235e38,3:1e-30}/400');
CREATE INDEX d_v ON d USING bm25 (v sparsevec_ip_ops);
SELECT text_config, k1, documents, head_documents, segments, positions FROM piramid_bm25_info('d_v');
SELECT piramid_bm25_check('d_v');
EXPLAIN (COSTS OFF) SELECT id FROM d ORDER BY v <#> '{1:1,9:2}/400' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM d ORDER BY v <#> '{1:1,9:2}/400';
SELECT kind, sum(wrong('d', query, k)) FROM asked GROUP BY kind ORDER BY kind;
-- Of one kind alone, so that pruning is not the others' doing.
CREATE TABLE d0 (v sparsevec(400));
INSERT INTO d0 SELECT sparse(i, 1 + i % 40, 0) FROM generate_series(1, 3000) i;
CREATE INDEX ON d0 USING bm25 (v sparsevec_ip_ops);
CREATE TABLE d1 (v sparsevec(400));
INSERT INTO d1 SELECT sparse(i, 1 + i % 40, 1) FROM generate_series(1, 1000) i;
CREATE INDEX ON d1 USING bm25 (v sparsevec_ip_ops);
SELECT kind, sum(wrong('d' || kind % 2, query, k)) FROM asked GROUP BY kind ORDER BY kind;
-- With any loops.
SET piramid.simd = 'scalar';
SELECT sum(wrong('d' || kind % 2, query, k)) FROM asked;
RESET piramid.simd;
-- Extreme queries: products that no float holds, or that are all too small.
SELECT sum(wrong('d', query::sparsevec, k)) FROM (VALUES ('{1:3.4028235e38,2:3e38}/400'), ('{1:-3.4028235e38,2:3e38}/400'),
	('{1:1e-45,2:-1e-45}/400'), ('{3:1e-45,400:1e-45}/400'), ('{400:3e38}/400'), ('{}/400'), ('{1:1,2:-1,3:1,4:-1,5:1,6:-1}/400')) q (query), unnest(ARRAY[1, 10, 10000]) k;
-- All rows with a vector come, those that share nothing with the query last.
SELECT count(*) FROM (SELECT FROM d ORDER BY v <#> '{399:1}/400' LIMIT 100000) x;
SET enable_seqscan = off;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM d ORDER BY v <#> '{399:1}/400' LIMIT 100000) x;
RESET enable_seqscan;

-- Rows of the head, of segments made of it, updated and deleted ones.
INSERT INTO d SELECT 10000 + i, i % 4, sparse(-i, 1 + i % 60, i % 4) FROM generate_series(1, 60) i;
SELECT kind, sum(wrong('d', query, k)) FROM asked GROUP BY kind ORDER BY kind;
INSERT INTO d SELECT 20000 + i, i % 4, sparse(-i, 1 + i % 60, i % 4) FROM generate_series(1, 1000) i;
SELECT segments > 1 FROM piramid_bm25_info('d_v');
SELECT sum(wrong('d', query, k)) FROM asked;
UPDATE d SET v = sparse(id, 9, kind) WHERE id % 10 = 3;
DELETE FROM d WHERE id % 10 = 4;
SELECT sum(wrong('d', query, k)) FROM asked;
VACUUM d;
SELECT sum(wrong('d', query, k)) FROM asked;
SELECT piramid_bm25_check('d_v') >= (SELECT count(*) FROM d WHERE v IS NOT NULL);
SELECT * FROM piramid_check('d_v', true);
SELECT piramid_bm25_merge('d_v');
SELECT sum(wrong('d', query, k)) FROM asked;
SELECT piramid_bm25_check('d_v') = (SELECT count(*) FROM d WHERE v IS NOT NULL);
-- A vector with more elements than a page of the head has room for.
INSERT INTO d SELECT 0, 0, ('{' || string_agg(i || ':' || i % 7 + 1, ',') || '}/400')::sparsevec FROM generate_series(1, 400) i;
SELECT sum(wrong('d', query, k)) FROM asked;
SELECT * FROM piramid_check('d_v', true);

-- What an index has of each dimension; those of negative weights come last.
CREATE TABLE few (v sparsevec(70000));
INSERT INTO few VALUES ('{1:1,300:-2}/70000'), ('{300:2,70000:1}/70000'), ('{1:3}/70000');
CREATE INDEX few_v ON few USING bm25 (v sparsevec_ip_ops);
SELECT * FROM piramid_bm25_terms('few_v');
INSERT INTO few VALUES ('{1:-1}/70000');
SELECT * FROM piramid_bm25_terms('few_v');
SELECT * FROM piramid_bm25_terms('few_v', '1');

-- Joins, cursors, a query that is NULL.
SET enable_seqscan = off;
SELECT count(x.v) FROM (SELECT NULL::sparsevec AS q OFFSET 0) f, LATERAL (SELECT v FROM few ORDER BY v <#> f.q LIMIT 10) x;
SELECT x.v <#> f.v AS distance FROM few f, LATERAL (SELECT v FROM few ORDER BY v <#> f.v LIMIT 1) x ORDER BY 1;
BEGIN;
DECLARE c CURSOR FOR SELECT v <#> '{300:1}/70000' FROM few ORDER BY v <#> '{300:1}/70000';
FETCH 2 FROM c;
FETCH ALL FROM c;
COMMIT;
RESET enable_seqscan;

-- An index of the same column by another method; an expression; a partitioned table.
CREATE TABLE p (k int, v sparsevec) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
CREATE INDEX ON p USING bm25 ((v::sparsevec(400)) sparsevec_ip_ops);
INSERT INTO p SELECT 1 + i % 2, sparse(i, 20, 0) FROM generate_series(1, 500) i;
SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT k FROM p ORDER BY v::sparsevec(400) <#> '{1:1}/400' LIMIT 5;
WITH best AS MATERIALIZED (SELECT v::sparsevec(400) <#> '{1:1,2:1,5:1}/400' AS s FROM p ORDER BY 1 LIMIT 20)
SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY s) AS n, s FROM best) a
JOIN (SELECT row_number() OVER (ORDER BY s) AS n, s FROM (SELECT v <#> '{1:1,2:1,5:1}/400' AS s FROM p) x) b USING (n, s);
RESET enable_seqscan;
RESET enable_sort;

-- More rows than a search looks at together, of positive weights and of both signs; then some are deleted.
CREATE FUNCTION quick(i int, sign int) RETURNS sparsevec LANGUAGE sql IMMUTABLE AS $$
	SELECT ('{' || 1 + i % 7 || ':' || 0.1 + i * 31 % 997 / 500.0 || ',' || 20 + i * 7 % 89 || ':' || 0.1 + i * 17 % 991 / 400.0
		|| ',' || 150 + i / 11 % 101 || ':' || (0.1 + i * 13 % 983 / 300.0) * CASE WHEN i % 4 = 0 THEN sign ELSE 1 END
		|| ',' || 300 + i * 5 % 3 || ':' || (0.1 + i * 19 % 977 / 900.0) * CASE WHEN i % 9 = 0 THEN sign ELSE 1 END || '}/400')::sparsevec
$$;
CREATE TABLE many_1 AS SELECT i AS id, quick(i, 1)::sparsevec(400) AS v FROM generate_series(1, 70000) i;
ALTER TABLE many_1 ALTER v TYPE sparsevec(400);
CREATE INDEX ON many_1 USING bm25 (v sparsevec_ip_ops);
CREATE TABLE many_2 AS SELECT i AS id, quick(i, -1)::sparsevec(400) AS v FROM generate_series(1, 70000) i;
ALTER TABLE many_2 ALTER v TYPE sparsevec(400);
CREATE INDEX ON many_2 USING bm25 (v sparsevec_ip_ops);
CREATE VIEW asked_many AS
SELECT n, i, k, ('{' || (SELECT string_agg(d || ':' || w, ',') FROM (SELECT d, (0.3 + (hashint4(i * 997 + d) & 255) / 100.0) * CASE WHEN n = 2 AND (i + d) % 5 = 0 THEN -1 ELSE 1 END AS w
	FROM (SELECT DISTINCT (hashint4(i * 101 + j) & 1023) % 320 + 1 AS d FROM generate_series(1, 4 + i * 8) j) x ORDER BY d) y) || '}/400')::sparsevec AS query
FROM generate_series(1, 2) n, generate_series(1, 5) i, unnest(ARRAY[10, 300]) k;
SELECT n, k, sum(wrong('many_' || n, query, k)) FROM asked_many GROUP BY n, k ORDER BY n, k;
DELETE FROM many_1 WHERE id % 8 = 3;
DELETE FROM many_2 WHERE id % 8 = 3;
VACUUM many_1, many_2;
SELECT dead_documents FROM piramid_bm25_info('many_1_v_idx');
SELECT n, k, sum(wrong('many_' || n, query, k)) FROM asked_many GROUP BY n, k ORDER BY n, k;
DROP VIEW asked_many;
DROP TABLE many_1, many_2;
DROP FUNCTION quick;

-- What is not supported.
CREATE INDEX ON d USING bm25 (v);
CREATE INDEX ON d USING bm25 (v sparsevec_l2_ops);
CREATE INDEX ON d USING bm25 (v sparsevec_ip_ops, v sparsevec_ip_ops);
CREATE INDEX ON d USING bm25 (v sparsevec_ip_ops) WITH (k1 = 2);
CREATE INDEX ON d USING bm25 (v sparsevec_ip_ops) WITH (text_config = 'english');
SET enable_seqscan = off;
SELECT id FROM d ORDER BY v <#> '{1:1}/401' LIMIT 1;
RESET enable_seqscan;
EXPLAIN (COSTS OFF) SELECT id FROM d ORDER BY v <=> '{1:1}/400' LIMIT 1;
SELECT 'a' <@> to_bm25query('a', 'd_v');
-- A column that loses its dimensions keeps the index, which takes no others.
ALTER TABLE few ALTER v TYPE sparsevec;
INSERT INTO few VALUES ('{1:1}/2');
INSERT INTO few VALUES ('{1:5}/70000');
SELECT count(*) FROM few;

DROP VIEW asked;
DROP TABLE d, d0, d1, few, p;
DROP FUNCTION weight, sparse, wrong;
DROP EXTENSION piramid_bm25;
