-- piramid_hybrid: words and vectors in one statement, beside the same in SQL.
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
CREATE EXTENSION piramid_bm25;
CREATE TABLE d (id int PRIMARY KEY, topic int, body text, v vector(3), h halfvec(3));
INSERT INTO d SELECT i, i % 5, 'word' || i % 17 || ' term' || i % 29 || ' x' || i % 3, ARRAY[sin(i), cos(i), sin(3 * i)]::vector,
	ARRAY[sin(i), cos(i), sin(3 * i)]::halfvec FROM generate_series(1, 400) i;
INSERT INTO d VALUES (1001, 1, 'word3 without a vector', NULL, NULL), (1002, 1, NULL, '[1,2,3]', '[1,2,3]');
CREATE INDEX d_body ON d USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX d_v ON d USING hnsw (v vector_cosine_ops);
CREATE INDEX d_h ON d USING hnsw (h halfvec_l2_ops);
ANALYZE d;

SELECT id, round(h.score::numeric, 4) AS score, round(text_score::numeric, 3) AS text_score,
	round(distance::numeric, 4) AS distance, text_rank, vector_rank, part
FROM piramid_hybrid('d', 'body', 'word3 term5', 'v', '[1,2,3]', max_rows => 6) h JOIN d ON d.ctid = h.tid ORDER BY h.score DESC, id;

-- Each method against SQL over the same pools.
CREATE TABLE truth AS
WITH t AS (SELECT id, row_number() OVER (ORDER BY s, ctid) AS tr FROM (SELECT ctid, id, body <@> 'word3 term5' AS s FROM d WHERE topic < 3 AND body IS NOT NULL) x
	WHERE s < 0 ORDER BY s, ctid LIMIT 30),
v AS (SELECT id, row_number() OVER (ORDER BY dist, ctid) AS vr FROM (SELECT ctid, id, v <=> '[1,2,3]' AS dist FROM d WHERE topic < 3 AND v IS NOT NULL) x
	ORDER BY dist, ctid LIMIT 30),
u AS (SELECT id, tr, vr, -coalesce(body <@> 'word3 term5', 0) AS s, 1 - (v <=> '[1,2,3]') AS c FROM t FULL JOIN v USING (id) JOIN d USING (id))
SELECT id, s / max(s) OVER () * 0.5 + coalesce(c, 0) * 0.5 AS score,
	0.5 * coalesce(1.0 / (60 + tr), 0) + 0.5 * coalesce(1.0 / (60 + vr), 0) AS rrf,
	0.5 * (s - min(s) OVER ()) / (max(s) OVER () - min(s) OVER ()) + 0.5 * coalesce((c - min(c) OVER ()) / (max(c) OVER () - min(c) OVER ()), 0) AS minmax,
	0.5 * (s - avg(s) OVER ()) / stddev_pop(s) OVER () + 0.5 * coalesce((c - avg(c) OVER ()) / stddev_pop(c) OVER (), 0) AS zscore,
	0.5 * (0.5 + (s - avg(s) OVER ()) / (6 * stddev_pop(s) OVER ())) + 0.5 * coalesce(0.5 + (c - avg(c) OVER ()) / (6 * stddev_pop(c) OVER ()), 0) AS dbsf
FROM u;
SELECT m, count(*), count(*) FILTER (WHERE abs(h.score - (to_jsonb(truth) ->> m)::float8) < 1e-6) AS same
FROM unnest(ARRAY['score', 'rrf', 'minmax', 'zscore', 'dbsf']) m,
	LATERAL piramid_hybrid('d', 'body', 'word3 term5', 'v', '[1,2,3]', 20, m, filter => 'topic < 3 -- a remark', pool => 30) h
	JOIN d ON d.ctid = h.tid JOIN truth USING (id) GROUP BY m ORDER BY m;

-- Further pages, weights, other types, empty legs.
SELECT (SELECT array_agg(tid) FROM piramid_hybrid('d', 'body', 'word3', 'v', '[1,2,3]', 10, pool => 40))
	= (SELECT array_agg(tid) FROM piramid_hybrid('d', 'body', 'word3', 'v', '[1,2,3]', 5, pool => 40))
	|| (SELECT array_agg(tid) FROM piramid_hybrid('d', 'body', 'word3', 'v', '[1,2,3]', 5, pool => 40, skip => 5)) AS pages;
SELECT id FROM piramid_hybrid('d', 'body', 'word3', 'v', '[1,2,3]', 2, weight => 0) h JOIN d ON d.ctid = tid ORDER BY h.score DESC, id;
SELECT id FROM piramid_hybrid('d', 'body', 'word3', 'v', '[1,2,3]', 1, weight => 1) JOIN d ON d.ctid = tid;
SELECT count(*) FROM piramid_hybrid('d', 'body', 'word3', 'h', '[1,2,3]');
SELECT count(*), count(text_rank) FROM piramid_hybrid('d', 'body', 'nothing', 'v', '[1,2,3]');
SELECT count(*), count(vector_rank) FROM piramid_hybrid('d', 'body', 'word3', 'v', NULL);
SELECT count(*) FROM piramid_hybrid('d', 'body', 'word3', 'v', '[1,2,3]', filter => 'false');
SET enable_seqscan = off;
SELECT line FROM piramid_hybrid_explain('d', 'body', 'word3', 'v', '[1,2,3]') line WHERE line ~ 'Index Scan|Order By|Tid Scan|TID Cond';
-- With ANALYZE, each leg tells its time and rows.
SELECT regexp_replace(trim(line), 'actual time=[0-9.]+ rows=([0-9]+)(\.00)?', 'actual time rows=\1') AS line
FROM piramid_hybrid_explain('d', 'body', 'word3', 'v', '[1,2,3]', options => 'ANALYZE, COSTS OFF') line WHERE line ~ '(CTE|Index Scan using|WindowAgg)' AND line !~ 'CTE Scan';
RESET enable_seqscan;

-- A kept statement follows what changes: operators of new indexes, columns, names of schemas.
CREATE SCHEMA first;
CREATE TABLE first.k (id int, body text, v vector(3));
INSERT INTO first.k SELECT id, body, v FROM d WHERE v IS NOT NULL;
CREATE INDEX ON first.k USING bm25 (body) WITH (text_config = 'simple');
CREATE FUNCTION kept() RETURNS TABLE (distance numeric, true_cosine boolean, true_l2 boolean) LANGUAGE plpgsql AS $$
DECLARE
	k regclass := (SELECT oid FROM pg_class WHERE relname = 'k');
BEGIN
	FOR i IN 1 .. 2 LOOP
		RETURN QUERY EXECUTE format('SELECT round(h.distance::numeric, 4), abs(h.distance - (v <=> ''[1,2,4]'')) < 1e-6, abs(h.distance - (v <-> ''[1,2,4]'')) < 1e-6
			FROM piramid_hybrid(%L, ''body'', ''word3'', ''v'', ''[1,2,4]'', 1, weight => 1) h JOIN %s ON ctid = tid', k, k);
	END LOOP;
END $$;
SELECT * FROM kept();
CREATE INDEX k_v ON first.k USING hnsw (v vector_l2_ops);
SELECT * FROM kept();
ALTER SCHEMA first RENAME TO second;
SELECT * FROM kept();
DROP INDEX second.k_v;
SELECT * FROM kept();
ALTER TABLE second.k ALTER v TYPE halfvec(3);
SELECT round(distance::numeric, 3) FROM piramid_hybrid('second.k', 'body', 'word3', 'v', '[1,2,4]', 1, weight => 1);
SET search_path = pg_catalog;
SELECT round(distance::numeric, 3) FROM public.piramid_hybrid('second.k', 'body', 'word3', 'v', '[1,2,4]', 1, weight => 1);
RESET search_path;
DROP FUNCTION kept;
DROP TABLE second.k;
DROP SCHEMA second;

-- Partitions, rights, and what is refused.
CREATE TABLE p (LIKE d) PARTITION BY RANGE (id);
CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (200);
CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (200) TO (2000);
INSERT INTO p SELECT * FROM d;
CREATE INDEX p_body ON p USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX p_v ON p USING hnsw (v vector_cosine_ops);
SELECT array_agg(round(score::numeric, 5)) = (SELECT array_agg(round(score::numeric, 5)) FROM piramid_hybrid('d', 'body', 'word3 term5', 'v', '[1,2,3]', pool => 500)) AS same
FROM piramid_hybrid('p', 'body', 'word3 term5', 'v', '[1,2,3]', pool => 500);
SELECT error_of($$SELECT piramid_hybrid('d', 'body', 'x', 'body', '[1,2,3]')$$);
SELECT error_of($$SELECT piramid_hybrid('d', 'nothing', 'x', 'v', '[1,2,3]')$$);
CREATE VIEW seen AS SELECT * FROM d;
SELECT error_of($$SELECT piramid_hybrid('seen', 'body', 'x', 'v', '[1,2,3]')$$);
DROP VIEW seen;
SELECT error_of($$SELECT piramid_hybrid('d', 'body', 'x', 'v', '[1,2,3]', method => 'best')$$);
SELECT error_of($$SELECT piramid_hybrid('d', 'body', 'x', 'v', '[1,2,3]', weight => 2)$$);
SELECT error_of($$SELECT piramid_hybrid('d', 'body', 'x', 'v', '[1,2,3]', max_rows => -1)$$);
SELECT error_of($$SELECT piramid_hybrid('d', 'body', 'x', 'v', '[1,2]')$$);
-- the detail is PostgreSQL's, and not the same in all versions
SELECT split_part(error_of(format('SELECT piramid_hybrid(''d'', ''body'', ''x'', ''v'', ''[1,2,3]'', method => ''rrf'', filter => %L)',
	'true)) x), y AS (SELECT $q$), vectors AS MATERIALIZED (SELECT tableoid AS part, ctid AS tid, d, 1::bigint AS vector_rank FROM (SELECT tableoid, ctid, 1.0 AS d, v FROM d WHERE (true')), ' | ', 1);
CREATE ROLE regress_hybrid_user;
SET ROLE regress_hybrid_user;
SELECT error_of($$SELECT piramid_hybrid('d', 'body', 'x', 'v', '[1,2,3]')$$);
RESET ROLE;
GRANT SELECT ON d TO regress_hybrid_user;
ALTER TABLE d ENABLE ROW LEVEL SECURITY;
CREATE POLICY first_topic ON d USING (topic = 1);
SET ROLE regress_hybrid_user;
SELECT count(*), count(*) FILTER (WHERE topic <> 1) AS foreign FROM piramid_hybrid('d', 'body', 'word3', 'v', '[1,2,3]') JOIN d ON d.ctid = tid;
RESET ROLE;

-- Names that the statement has, too; the extension in a schema that no path names; products that
-- are negative, a vector of length zero, and no row that has the words.
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.words (tid int, part text, s text, d vector(2));
INSERT INTO elsewhere.words VALUES (1, 'one', 'apple', '[-1,0]'), (2, 'two', 'pear', '[-2,0]'), (3, 'three', 'pear', '[0,0]');
CREATE INDEX ON elsewhere.words USING bm25 (s) WITH (text_config = 'simple');
CREATE TABLE elsewhere.vectors AS SELECT * FROM elsewhere.words;
CREATE INDEX ON elsewhere.vectors USING bm25 (s) WITH (text_config = 'simple');
CREATE INDEX ON elsewhere.vectors USING hnsw (d vector_ip_ops);
ALTER EXTENSION piramid_bm25 SET SCHEMA elsewhere;
SELECT w.tid, h.text_score, h.distance FROM elsewhere.piramid_hybrid('elsewhere.words', 's', 'plum', 'd', '[-1,0]') h
	JOIN elsewhere.words w ON w.ctid = h.tid ORDER BY h.score DESC, w.tid;
SELECT w.tid, h.score FROM elsewhere.piramid_hybrid('elsewhere.vectors', 's', 'plum', 'd', '[1,0]', max_rows => 2147483647) h
	JOIN elsewhere.vectors w ON w.ctid = h.tid ORDER BY h.score DESC, w.tid;
-- Distances that are all zero, or infinite: the nearest rows have the best scores.
CREATE TABLE elsewhere.far (id int, body text, v vector(2));
INSERT INTO elsewhere.far VALUES (1, 'apple', '[3e38,3e38]'), (2, 'apple', '[-3e38,-3e38]'), (3, 'apple', '[1,2]'), (4, 'pear', NULL);
CREATE INDEX ON elsewhere.far USING bm25 (body) WITH (text_config = 'simple');
CREATE FUNCTION far(operators text, query text, asked vector, method text, condition text) RETURNS TABLE (id int, score numeric, distance float8) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE INDEX far_v ON elsewhere.far USING hnsw (v %I)', operators);
	RETURN QUERY SELECT f.id, round(h.score::numeric, 4), h.distance FROM elsewhere.piramid_hybrid('elsewhere.far', 'body', query, 'v', asked, method => method, filter => condition) h
		JOIN elsewhere.far f ON f.ctid = h.tid ORDER BY h.score DESC, f.id;
	DROP INDEX elsewhere.far_v;
END $$;
SELECT * FROM far('vector_l2_ops', 'apple pear', '[3e38,3e38]', 'score', NULL);
SELECT * FROM far('vector_l2_ops', 'apple', '[3e38,3e38]', 'minmax', NULL);
SELECT * FROM far('vector_l2_ops', 'apple', '[3e38,3e38]', 'zscore', NULL);
SELECT * FROM far('vector_l2_ops', 'apple', '[3e38,3e38]', 'dbsf', NULL);
SELECT * FROM far('vector_ip_ops', 'apple', '[3e38,3e38]', 'score', NULL);
SELECT * FROM far('vector_l2_ops', 'apple pear', '[1,2]', 'score', 'id > 2');
DROP FUNCTION far;
DROP TABLE elsewhere.far;
SELECT count(*) > 0 AS explained FROM elsewhere.piramid_hybrid_explain('elsewhere.words', 's', 'plum', 'd', '[-1,0]');
DROP TABLE d, p, truth, elsewhere.words, elsewhere.vectors;
DROP ROLE regress_hybrid_user;
DROP EXTENSION piramid_bm25;
DROP SCHEMA elsewhere;
