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
CREATE TABLE t (id int PRIMARY KEY, body text, v tsvector, s tsvector GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED,
	w tsvector GENERATED ALWAYS AS (v) STORED);
CREATE FUNCTION some_vector(seed int, body text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE seed % 4 WHEN 0 THEN to_tsvector('simple', body)
		WHEN 1 THEN setweight(to_tsvector('simple', left(body, 6)), 'A') || setweight(to_tsvector('simple', body), (ARRAY['B', 'C'])[1 + seed % 2]::"char")
		WHEN 2 THEN setweight(to_tsvector('simple', body), 'D', '{a,b}') || 'c:1A,2B,3C,4'::tsvector ELSE strip(to_tsvector('simple', body)) END
$$;
INSERT INTO t SELECT i, b, some_vector(i, b) FROM (SELECT i, some_text(i, 2 + i % 13) AS b FROM generate_series(1, 1500) i) x;
CREATE INDEX t_body ON t USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX t_off ON t USING bm25 (body) WITH (text_config = 'simple', positions = off);
CREATE INDEX t_v ON t USING bm25 (v);
CREATE INDEX t_w ON t USING bm25 (w) WITH (positions = off);
INSERT INTO t VALUES (1501, '', ''), (1502, 'a b', NULL), (1503, NULL, 'a:1A b:2');
CREATE TABLE q AS SELECT i, some_query(i, 1 + i % 3, false, false)::tsquery AS plain, some_query(i, 1 + i % 3, true, false)::tsquery AS prefix,
	some_query(i, 1 + i % 3, true, true)::tsquery AS weight FROM generate_series(1, 60) i;

-- Rows that one of both says match, and the other not: of a scan of an index, in either form, and of a
-- scan of the table.  The server's function, called as such, uses no index; its operator, "core", does.
CREATE FUNCTION differ(way text, most int DEFAULT 60) RETURNS TABLE (kind text, queries bigint, matches bigint, wrong bigint) LANGUAGE plpgsql AS $$
DECLARE
	k text;
	queries text;
	condition text;
BEGIN
	PERFORM set_config('enable_seqscan', (way = 'table')::text, true), set_config('enable_indexscan', (way = 'index')::text, true), set_config('enable_bitmapscan', (way = 'bitmap')::text, true);
	FOREACH k IN ARRAY ARRAY['body plain', 'body prefix', 'body weight', 'off plain', 'off weight', 'v plain', 'v prefix', 'v weight',
		'core plain', 'core prefix', 'core weight', 'core_off plain', 'core_off prefix', 'core_off weight'] LOOP
		queries := split_part(k, ' ', 2);
		condition := CASE WHEN k ~ '^core ' THEN 'v @@ q.%2$I' WHEN k ~ '^core_off' THEN 'w @@ q.%2$I' WHEN k ~ '^v' THEN 'v @@ to_bm25query(q.%2$I, %1$L)'
			ELSE 'body @@ to_bm25query(q.%2$I, %1$L)' END;
		RETURN QUERY EXECUTE format($f$
			SELECT %1$L, count(DISTINCT q.i), count(x.own), count(*) FILTER (WHERE x.own IS DISTINCT FROM x.server)
			FROM (SELECT * FROM q WHERE i <= $1) q, LATERAL (SELECT a.id AS own, b.id AS server FROM (SELECT id FROM t WHERE %2$s) a
				FULL JOIN (SELECT id FROM t WHERE ts_match_vq(%3$I, q.%4$I)) b USING (id)) x $f$,
			k, format(condition, 't_' || split_part(k, ' ', 1), queries), CASE WHEN k ~ '^(v|core)' THEN 'v' ELSE 's' END, queries) USING most;
	END LOOP;
END $$;
SELECT * FROM differ('index');
SELECT * FROM differ('bitmap', 20);
SELECT * FROM differ('table');

-- The best rows that match have the scores of all that match, sorted.
CREATE FUNCTION best_differ() RETURNS TABLE (queries bigint, rows bigint, wrong bigint) LANGUAGE sql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
	SELECT count(*), sum(cardinality(best)), count(*) FILTER (WHERE best IS DISTINCT FROM every[:10])
	FROM (SELECT plain AS q FROM q UNION ALL SELECT unnest(ARRAY['a <-> b', 'b <-> a <-> a', 'a <-> b & c', 'a <2> a', 'c <-> b <3> a']::tsquery[])) q,
	LATERAL (SELECT array_agg(score ORDER BY score) AS best FROM (SELECT body <@> to_bm25query(q) AS score FROM t WHERE body @@ to_bm25query(q)
		ORDER BY body <@> to_bm25query(q) LIMIT 10) x) b,
	LATERAL (SELECT array_agg(score ORDER BY score) AS every FROM (SELECT body <@> to_bm25query(q) AS score FROM t WHERE body @@ to_bm25query(q) OFFSET 0) x) e
$$;
SELECT * FROM best_differ();

-- In the head, in segments made of it, merged, and after rows have gone.
INSERT INTO t SELECT i, b, some_vector(i, b) FROM (SELECT i, some_text(i, 2 + i % 17) AS b FROM generate_series(2001, 2300) i) x;
SELECT sum(i.wrong), sum(b.wrong) FROM differ('index') i JOIN differ('bitmap', 20) b USING (kind);
INSERT INTO t SELECT i, b, some_vector(i, b) FROM (SELECT i, some_text(i, 2 + i % 17) AS b FROM generate_series(3001, 6000) i) x;
DELETE FROM t WHERE id % 3 = 0;
SELECT * FROM best_differ();
SELECT sum(i.wrong), sum(b.wrong) FROM differ('index') i JOIN differ('bitmap', 20) b USING (kind);
VACUUM t;
SELECT sum(i.wrong), sum(b.wrong), sum(i.wrong) FILTER (WHERE i.matches = 0) FROM differ('index') i JOIN differ('bitmap', 20) b USING (kind);
SELECT piramid_bm25_merge('t_body'), piramid_bm25_merge('t_v'), piramid_bm25_merge('t_off');
SELECT * FROM best_differ();
SELECT sum(i.wrong), sum(b.wrong) FROM differ('index') i JOIN differ('bitmap', 20) b USING (kind);
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

-- A tsvector's own @@ uses the index as it uses GIN: both ways round, as an array, of an expression, with
-- a literal, in generic plans; the lines of the plan that tell, and whether the rows are those of no index.
CREATE INDEX t_expression ON t USING bm25 (to_tsvector('simple', body || ' z'));
CREATE FUNCTION planned(condition text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	way text;
	rows numeric[];
BEGIN
	FOREACH way IN ARRAY ARRAY['index', 'bitmap', 'table'] LOOP
		PERFORM set_config('enable_seqscan', (way = 'table')::text, true), set_config('enable_indexscan', (way = 'index')::text, true), set_config('enable_bitmapscan', (way = 'bitmap')::text, true);
		FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) SELECT id FROM t WHERE ' || condition LOOP
			IF line ~ 'Index Cond|Scan (on|using) t_' THEN
				RETURN NEXT trim(line, ' ->');
			END IF;
		END LOOP;
		EXECUTE 'SELECT $1 || sum(id::bigint * id) FROM t WHERE ' || condition INTO rows USING rows;
	END LOOP;
	RETURN NEXT CASE WHEN rows[1] = rows[2] AND rows[1] = rows[3] AND rows[1] > 0 THEN 'same rows' ELSE rows::text END;
END $$;
SELECT planned($$v @@ to_tsquery('simple', 'a <-> b:A')$$);
SELECT planned($$to_tsquery('simple', 'a & !b') @@ v$$);
SELECT planned($$v @@ 'a & c'$$);
SELECT planned($$w @@ websearch_to_tsquery('simple', '"a b" -c')$$);
SELECT planned($$to_tsvector('simple', body || ' z') @@ to_tsquery('simple', 'i | h')$$);
SELECT planned($$v @@ ANY (ARRAY['i & h', 'h & g']::tsquery[])$$);
SELECT planned($$v @@ to_bm25query('a h')$$);
SELECT planned($$v @@ '!x'$$);
PREPARE core(tsquery) AS SELECT count(*) FROM t WHERE v @@ $1;
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_indexscan = off;
EXPLAIN (COSTS OFF) EXECUTE core('a & h');
EXECUTE core('a & h');
EXECUTE core('');
EXECUTE core(NULL);
RESET enable_indexscan;
RESET enable_seqscan;
RESET plan_cache_mode;
SELECT count(*) FROM t WHERE ts_match_vq(v, 'a & h');
-- Without settings: the index is worth it for few rows, not for all of them.
ANALYZE t;
CREATE FUNCTION uses_index(condition text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT id FROM t WHERE ' || condition INTO plan;
	RETURN plan::text ~ 'Index Scan';
END $$;
INSERT INTO t VALUES (9001, NULL, 'rare:1 word:2');
SELECT uses_index($$v @@ 'rare & word'$$) AS rare, uses_index($$v @@ 'a | !a'$$) AS "all";
SELECT uses_index($$'rare & word' @@ v$$) AS rare, uses_index($$'a | !a' @@ v$$) AS "all";
-- Both together: the best of the rows that match, by the index alone.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v @@ 'a <-> b' ORDER BY v <@> 'h i' LIMIT 3;
RESET enable_bitmapscan;
RESET enable_seqscan;
-- What is no text and no tsvector has no words.
SELECT id FROM t WHERE id @@ to_bm25query('a');

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
DROP FUNCTION some_text, some_query, some_vector, differ, best_differ, matches, planned, uses_index;
DROP EXTENSION piramid_bm25;
