-- bm25: phrases and weights, met by positions in the index, beside the server's own.
-- In all versions: the index by itself.
SET client_min_messages = warning;
CREATE EXTENSION piramid_bm25;
SET jit = off;
-- Of few words, so that there are many phrases; words at the same position, weights, lexemes without positions.
CREATE FUNCTION some_text(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(chr(97 + ((hashint4(seed * 1009 + i)::bigint & 1023) ^ 2 / 120000)::int), ' ') FROM generate_series(1, n) i
$$;
CREATE FUNCTION some_query(seed int, depth int, prefixes boolean, weights boolean) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	h int := hashint4(seed * 7919) & 65535;
BEGIN
	IF depth = 0 OR h % 5 = 0 THEN
		RETURN chr(97 + h % 9) || CASE WHEN (prefixes AND h % 7 = 0) OR (weights AND h % 3 = 0) THEN ':' ELSE '' END
			|| CASE WHEN prefixes AND h % 7 = 0 THEN '*' ELSE '' END || CASE WHEN weights AND h % 3 = 0 THEN (ARRAY['A', 'AB', 'D', 'CD'])[1 + h % 4] ELSE '' END;
	END IF;
	RETURN CASE WHEN h % 11 = 1 THEN '!' ELSE '' END || '(' || some_query(seed * 2, depth - 1, prefixes, weights)
		|| (ARRAY[' & ', ' | ', ' <-> ', ' <2> ', ' <-> ', ' & ', ' <0> '])[1 + h % 7] || some_query(seed * 2 + 1, depth - 1, prefixes, weights) || ')';
END $$;
CREATE TABLE t (id int PRIMARY KEY, body text, v tsvector, s tsvector GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED);
CREATE FUNCTION some_vector(seed int, body text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE seed % 4 WHEN 0 THEN to_tsvector('simple', body)
		WHEN 1 THEN setweight(to_tsvector('simple', left(body, 6)), 'A') || setweight(to_tsvector('simple', body), (ARRAY['B', 'C'])[1 + seed % 2]::"char")
		WHEN 2 THEN setweight(to_tsvector('simple', body), 'D', '{a,b}') || 'c:1A,2B,3C,4'::tsvector ELSE strip(to_tsvector('simple', body)) END
$$;
INSERT INTO t SELECT i, b, some_vector(i, b) FROM (SELECT i, some_text(i, 2 + i % 13) AS b FROM generate_series(1, 1500) i) x;
CREATE INDEX t_body ON t USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX t_off ON t USING bm25 (body) WITH (text_config = 'simple', positions = off);
CREATE INDEX t_v ON t USING bm25 (v);
CREATE TABLE q AS SELECT i, some_query(i, 1 + i % 3, false, false)::tsquery AS plain, some_query(i, 1 + i % 3, true, false)::tsquery AS prefix,
	some_query(i, 1 + i % 3, true, true)::tsquery AS weight FROM generate_series(1, 60) i;

-- Rows that one of both says match, and the other not: of a scan of an index, and of a scan of the table.
CREATE FUNCTION differ(by_index boolean) RETURNS TABLE (kind text, queries bigint, matches bigint, wrong bigint) LANGUAGE plpgsql AS $$
DECLARE
	k text;
BEGIN
	PERFORM set_config('enable_seqscan', (NOT by_index)::text, true), set_config('enable_indexscan', by_index::text, true), set_config('enable_bitmapscan', by_index::text, true);
	FOREACH k IN ARRAY ARRAY['body plain', 'body prefix', 'body weight', 'off plain', 'off weight', 'v plain', 'v prefix', 'v weight'] LOOP
		RETURN QUERY EXECUTE format($f$
			SELECT %1$L, count(DISTINCT q.i), count(x.own), count(*) FILTER (WHERE x.own IS DISTINCT FROM x.server)
			FROM q, LATERAL (SELECT a.id AS own, b.id AS server FROM (SELECT id FROM t WHERE %2$s @@ to_bm25query(q.%3$I, %4$L)) a
				FULL JOIN (SELECT id FROM t WHERE %5$s @@ q.%3$I) b USING (id)) x $f$, k, CASE WHEN k ~ '^v' THEN 'v' ELSE 'body' END, split_part(k, ' ', 2),
			't_' || split_part(k, ' ', 1), CASE WHEN k ~ '^v' THEN 'v' ELSE 's' END);
	END LOOP;
END $$;
SELECT * FROM differ(true);
SELECT * FROM differ(false);

-- In the head, in segments made of it, merged, and after rows have gone.
INSERT INTO t SELECT i, b, some_vector(i, b) FROM (SELECT i, some_text(i, 2 + i % 17) AS b FROM generate_series(2001, 2300) i) x;
SELECT sum(wrong) FROM differ(true);
INSERT INTO t SELECT i, b, some_vector(i, b) FROM (SELECT i, some_text(i, 2 + i % 17) AS b FROM generate_series(3001, 6000) i) x;
DELETE FROM t WHERE id % 3 = 0;
SELECT sum(wrong) FROM differ(true);
VACUUM t;
SELECT sum(wrong), sum(wrong) FILTER (WHERE matches = 0) FROM differ(true);
SELECT piramid_bm25_merge('t_body'), piramid_bm25_merge('t_v'), piramid_bm25_merge('t_off');
SELECT sum(wrong) FROM differ(true);
SELECT piramid_bm25_check('t_body') = piramid_bm25_check('t_off'), piramid_bm25_check('t_v') > 0 AS checked;
SELECT * FROM piramid_check('t_body', true) UNION ALL SELECT * FROM piramid_check('t_v', true);
SELECT positions, position_bytes > 0 AS stored FROM piramid_bm25_info('t_body');
SELECT positions, position_bytes FROM piramid_bm25_info('t_off');
SELECT pg_relation_size('t_off') < pg_relation_size('t_body') AS smaller;

-- The text is not parsed again where positions tell.
CREATE FUNCTION matches(q tsquery, index regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true);
	FOR line IN EXECUTE format('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM t WHERE body @@ to_bm25query(%L::tsquery, %L)', q, index) LOOP
		IF line ~ 'Removed by Index Recheck' THEN
			RETURN 'rechecked';
		END IF;
	END LOOP;
	RETURN 'known';
END $$;
SELECT matches('a <-> b', 't_body'), matches('a <-> b', 't_off'), matches('i:* <-> b', 't_body'), matches('a & !(b <-> c)', 't_body');

-- Long documents: more words than positions, and more of a word than a tsvector keeps.
CREATE TABLE long (id int, body text);
INSERT INTO long SELECT 1, repeat('x y ', 300) || 'x z' UNION ALL SELECT 2, repeat('w ', 20000) || 'u v' UNION ALL SELECT 3, repeat('long word ', 20000) || 'end'
	UNION ALL SELECT 4, 'u v' UNION ALL SELECT 5, '' UNION ALL SELECT 6, NULL;
CREATE INDEX long_body ON long USING bm25 (body) WITH (text_config = 'simple');
INSERT INTO long SELECT id + 10, body FROM long;
SET enable_seqscan = off;
SELECT array_agg(id ORDER BY id) FROM long WHERE body @@ to_bm25query('x <-> z'::tsquery);
SELECT array_agg(id ORDER BY id) FROM long WHERE body @@ to_bm25query('u <-> v'::tsquery);
SELECT array_agg(id ORDER BY id) FROM long WHERE body @@ to_bm25query('long <-> word <-> long'::tsquery);
SELECT array_agg(id ORDER BY id) FROM long WHERE body @@ to_bm25query('w & !(w <-> u)'::tsquery);
SET enable_seqscan = on;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT array_agg(id ORDER BY id) FROM long WHERE body @@ to_bm25query('x <-> z'::tsquery);
SELECT array_agg(id ORDER BY id) FROM long WHERE body @@ to_bm25query('u <-> v'::tsquery);
SELECT array_agg(id ORDER BY id) FROM long WHERE body @@ to_bm25query('long <-> word <-> long'::tsquery);
SELECT array_agg(id ORDER BY id) FROM long WHERE body @@ to_bm25query('w & !(w <-> u)'::tsquery);
SELECT piramid_bm25_check('long_body');
SELECT piramid_bm25_merge('long_body');
SELECT piramid_bm25_check('long_body');
DROP TABLE t, q, long;
DROP FUNCTION some_text, some_query, some_vector, differ, matches;
DROP EXTENSION piramid_bm25;
