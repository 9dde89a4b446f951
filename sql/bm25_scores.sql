-- bm25: scores and ranks against BM25 computed in SQL, while rows come and go.
-- In all versions: arithmetic.
\getenv abs_srcdir PG_ABS_SRCDIR
\set brute :abs_srcdir '/sql/include/bm25_brute.sql'
SET client_min_messages = warning;
CREATE EXTENSION piramid_bm25;
\set ECHO none
\i :brute
\set ECHO all

-- Words of a skewed distribution, documents of very different lengths.
CREATE FUNCTION words(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg('w' || exp(6.5 * (hashint4(seed * 1009 + i)::bigint & 1023) / 1023)::int, ' ')
	FROM generate_series(1, n) i
$$;
CREATE TABLE d (id int PRIMARY KEY, body text);
INSERT INTO d SELECT i, words(i, 1 + i % 23 + CASE WHEN i % 97 = 0 THEN 500 ELSE 0 END)
FROM generate_series(1, 3000) i;
CREATE INDEX d_body ON d USING bm25 (body) WITH (text_config = 'english');
CREATE VIEW asked AS
SELECT words(-i * 7, 1 + i % 9) AS query, (ARRAY[1, 10, 100, 10000])[1 + i % 4] AS k FROM generate_series(1, 12) i;

SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;
-- Rows of the head, and of a segment made of it.
INSERT INTO d SELECT i, words(i, 1 + i % 23) FROM generate_series(3001, 3200) i;
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;
INSERT INTO d SELECT i, words(i, 1 + i % 31) FROM generate_series(3201, 6000) i;
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;
-- Deleted rows count until VACUUM; afterwards nothing of them is left.
DELETE FROM d WHERE id % 2 = 0 OR id % 97 = 0;
VACUUM d;
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;
INSERT INTO d SELECT i, words(i, 1 + i % 23) FROM generate_series(2, 3000, 2) i WHERE i % 97 <> 0;
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;
-- All words with a prefix are as one word.
SET enable_seqscan = off;
SELECT count(*) AS rows, count(*) FILTER (WHERE score < before) AS wrong, count(DISTINCT score) > 1000 AS spread FROM (
	SELECT score, lag(score) OVER () AS before FROM (
		SELECT body <@> to_bm25query('w1:* | w2:*'::tsquery) AS score FROM d ORDER BY body <@> to_bm25query('w1:* | w2:*'::tsquery)) x) y;
SELECT count(*) - (SELECT count(*) FROM d WHERE body ~ '\mw[12]') AS missing FROM d WHERE body @@ to_bm25query('w1:* | w2:*'::tsquery);
-- Few postings with the prefix, and many.
SELECT prefix, (SELECT count(*) FROM d WHERE body ~ ('\m' || prefix)) - (SELECT count(*) FROM d WHERE body @@ to_bm25query((prefix || ':*')::tsquery, 'd_body')) AS missing,
	(SELECT count(*) FROM (SELECT id, body <@> to_bm25query((prefix || ':*')::tsquery, 'd_body') AS score FROM d ORDER BY body <@> to_bm25query((prefix || ':*')::tsquery, 'd_body')) x
		WHERE round(score::numeric, 4) <> round(('' || (SELECT body FROM d WHERE d.id = x.id) <@> to_bm25query((prefix || ':*')::tsquery, 'd_body'))::numeric, 4)) AS wrong
FROM unnest(ARRAY['w', 'w4', 'w66', 'w665', 'w9999']) prefix;
-- To plan it, the lists are not read.
CREATE FUNCTION planned_blocks() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	FOR i IN 1 .. 2 LOOP
		EXECUTE $q$EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT count(*) FROM d WHERE body @@ to_bm25query('w:*'::tsquery)$q$ INTO plan;
	END LOOP;
	RETURN (plan -> 0 -> 'Planning' ->> 'Shared Hit Blocks')::int;
END $$;
SELECT planned_blocks() < 200 AS few;
DROP FUNCTION planned_blocks;
RESET enable_seqscan;
-- A word in each document, many times in the query; a long document.
UPDATE d SET body = body || ' every' ;
INSERT INTO d SELECT 10000, words(10000, 900);
VACUUM d;
SELECT learn('d');
SELECT wrong('d', 'every w1 w1 w1 w2', 100), wrong('d', 'every', 10);

-- A cursor's scores are those of its scan, whatever is inserted between its rows; other statements
-- have newer ones.
CREATE TABLE counted (id int, body text);
INSERT INTO counted SELECT i, 'w' || i % 5 || repeat(' x', i % 17) FROM generate_series(1, 2000) i;
CREATE INDEX counted_body ON counted USING bm25 (body) WITH (text_config = 'simple');
CREATE TABLE fetched (n serial, id int, score float8, other float8);
CREATE FUNCTION fetch_scores() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT c.id, c.body, body <@> 'w1' AS score FROM counted c WHERE body <@> 'w1' < 0 ORDER BY body <@> 'w1' LOOP
		INSERT INTO fetched (id, score, other) SELECT r.id, r.score, body <@> 'w1' FROM counted WHERE id = r.id;
		INSERT INTO counted SELECT i, 'w1' FROM generate_series(-100, 0) i;
	END LOOP;
END $$;
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE at_once AS SELECT id, body <@> 'w1' AS score FROM counted WHERE body <@> 'w1' < 0;
SELECT fetch_scores();
SELECT count(*) AS rows, count(*) FILTER (WHERE score < before) AS unordered, count(*) FILTER (WHERE score <> once) AS others, count(*) FILTER (WHERE other <> score) > 300 AS newer
FROM (SELECT n, f.score, other, lag(f.score) OVER (ORDER BY n) AS before, a.score AS once FROM fetched f JOIN at_once a USING (id)) x;
RESET enable_seqscan;
RESET enable_sort;
DROP TABLE counted, fetched, at_once;
DROP FUNCTION fetch_scores;

-- The score of a row that a scan has just found is not computed again: beside those that are.
CREATE TABLE h (id int, n int, body text, other text, v tsvector) WITH (fillfactor = 50);
INSERT INTO h SELECT i, 0, words(i, CASE WHEN i % 50 = 0 THEN 1500 ELSE 9 END), words(i + 7, 9), to_tsvector('simple', words(i, 9)) FROM generate_series(1, 1500) i;
CREATE TEMP TABLE temporary AS TABLE h;
CREATE INDEX h_body ON h USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX h_v ON h USING bm25 (v);
CREATE INDEX temporary_body ON temporary USING bm25 (body) WITH (text_config = 'simple');
UPDATE h SET n = 1 WHERE id % 3 = 0;
CREATE VIEW scored AS
	SELECT 'row ' || id AS what, body <@> 'w1 w5 w9' AS score, other <@> to_bm25query('w1 w5 w9', 'h_body') AS other, body <@> 'w1' AS fewer, (id + n)::float8 AS more
	FROM (SELECT * FROM h ORDER BY body <@> 'w1 w5 w9' LIMIT 2000) x
	UNION ALL SELECT 'tsvector ' || id, v <@> 'w1 w5 w9', v <@> to_bm25query('w1', 'h_v'), NULL, NULL
	FROM (SELECT * FROM h ORDER BY v <@> 'w1 w5 w9' LIMIT 2000) x
	UNION ALL SELECT 'temporary ' || id, body <@> 'w1 w5 w9', other <@> to_bm25query('w1 w5 w9', 'temporary_body'), NULL, NULL
	FROM (SELECT * FROM temporary ORDER BY body <@> 'w1 w5 w9' LIMIT 2000) x
	UNION ALL SELECT 'pair ' || h.id || ' ' || x.id, h.body <@> 'w1 w5 w9', x.body <@> to_bm25query('w9', 'h_body'), x.body <@> 'w7', h.body <@> 'w9'
	FROM (SELECT * FROM h ORDER BY body <@> 'w1 w5 w9' LIMIT 20) h, LATERAL (SELECT * FROM h i WHERE h.id <> i.id AND i.body <@> 'w9' < 0 ORDER BY body <@> 'w7', id LIMIT 5) x;
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE scanned AS SELECT * FROM scored WHERE score < 0;
SET enable_indexscan = off;
CREATE TABLE computed AS SELECT * FROM scored WHERE score < 0;
RESET enable_indexscan;
RESET enable_sort;
RESET enable_seqscan;
SELECT split_part(what, ' ', 1) AS kind, count(*) > 99 AS enough, count(*) FILTER (WHERE s IS DISTINCT FROM c) AS wrong
FROM scanned s FULL JOIN computed c USING (what, score) GROUP BY 1 ORDER BY 1;
-- Another column, in the place of the indexed one, through a subquery; as the plain operator says.
SELECT count(*) AS rows, count(*) FILTER (WHERE score IS DISTINCT FROM body || '' <@> to_bm25query('w1 w5 w9', 'h_body')) AS wrong,
	count(*) FILTER (WHERE others IS DISTINCT FROM other || '' <@> to_bm25query('w1 w5 w9', 'h_body')) AS others_wrong
FROM (SELECT a, b, body, other <@> to_bm25query('w1 w5 w9', 'h_body') AS others, body <@> 'w1 w5 w9' AS score, other
	FROM (SELECT id AS a, n AS b, other, body FROM h ORDER BY body <@> 'w1 w5 w9' LIMIT 50) x) y;
DROP VIEW scored;
DROP TABLE h, temporary, scanned, computed;

-- However many rows LIMIT asks for, they are the first ones.
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE whole AS SELECT row_number() OVER () AS n, id FROM (SELECT id FROM d ORDER BY body <@> 'w1 w5 w9' OFFSET 0) x;
CREATE FUNCTION rows_of(query text) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	result int[];
BEGIN
	EXECUTE 'SELECT array_agg(x.id) FROM (' || query || ') x' INTO result;
	RETURN result;
END $$;
SELECT what, count(*) AS asked, count(*) FILTER (WHERE rows_of(got || bounds) IS DISTINCT FROM rows_of(wanted || bounds)) AS wrong
FROM (VALUES
	('plain', $$SELECT id FROM d ORDER BY body <@> 'w1 w5 w9'$$, 'SELECT id FROM whole ORDER BY n'),
	('filter', $$SELECT id FROM d WHERE id % 7 = 0 ORDER BY body <@> 'w1 w5 w9'$$, 'SELECT id FROM whole WHERE id % 7 = 0 ORDER BY n'),
	('join', $$SELECT d.id FROM d JOIN whole w ON w.id = d.id AND w.id % 7 = 0 ORDER BY body <@> 'w1 w5 w9'$$, 'SELECT id FROM whole WHERE id % 7 = 0 ORDER BY n'),
	('subquery', $$SELECT id FROM (SELECT * FROM d ORDER BY body <@> 'w1 w5 w9' LIMIT 3) x ORDER BY body <@> 'w1 w5 w9'$$, 'SELECT id FROM whole WHERE n <= 3 ORDER BY n')
) f (what, got, wanted),
	(SELECT format(' LIMIT %s OFFSET %s', rows, past) AS bounds FROM unnest('{0,1,9,10,11,17,100,2000,20000}'::int[]) rows, unnest('{0,1,50}'::int[]) past UNION ALL SELECT ' LIMIT NULL') b
GROUP BY 1 ORDER BY 1;
-- With conditions: those that each row with a word of the order's meets, and others; rows without any
-- such word come at the end.  Words are compared with the server's own.
SET enable_seqscan = on;
SET enable_indexscan = off;
CREATE TABLE scored AS SELECT id, body <@> 'w1 w5 w9' AS score, to_tsvector('english', body) AS v FROM d;
RESET enable_indexscan;
SET enable_seqscan = off;
SELECT kind, count(*) AS asked, count(*) FILTER (WHERE rows_of(got || bounds) IS DISTINCT FROM rows_of(wanted || bounds)) AS wrong
FROM (SELECT kind || ', by id' AS kind, format('SELECT id FROM d WHERE %s ORDER BY body <@> ''w1 w5 w9'', id', own) AS got,
		format('SELECT id FROM scored WHERE %s ORDER BY score, id', server) AS wanted FROM (VALUES
			('any', $$body @@ to_bm25query('w1 w5 w9')$$, $$v @@ 'w1 | w5 | w9'$$),
			('more than any', $$body @@ to_bm25query('w1 | (w2 | w5) | w9 | w1'::tsquery)$$, $$v @@ 'w1 | w2 | w5 | w9'$$),
			('some', $$body @@ to_bm25query('w1 w2')$$, $$v @@ 'w1 | w2'$$),
			('all', $$body @@ to_bm25query('w1 & w5 & w9'::tsquery)$$, $$v @@ 'w1 & w5 & w9'$$),
			('both', $$body @@ to_bm25query('w1 w5 w9') AND body @@ to_bm25query('!w3'::tsquery)$$, $$v @@ '(w1 | w5 | w9) & !w3'$$),
			('phrase', $$body @@ to_bm25query('w1 <-> w5 | w9'::tsquery)$$, $$v @@ 'w1 <-> w5 | w9'$$),
			('prefix', $$body @@ to_bm25query('w1:* | w5 | w9'::tsquery)$$, $$v @@ 'w1:* | w5 | w9'$$),
			('not', $$body @@ to_bm25query('!w1'::tsquery)$$, $$v @@ '!w1'$$),
			('no word', $$body @@ to_bm25query('the')$$, 'false')) c (kind, own, server)
	UNION ALL SELECT 'any, in the order of the table', $$SELECT id FROM d WHERE body @@ to_bm25query('w1 w5 w9') ORDER BY body <@> 'w1 w5 w9'$$, 'SELECT id FROM whole ORDER BY n'
	UNION ALL SELECT 'any, half of them', $$SELECT id FROM d WHERE body @@ to_bm25query('w1 w5 w9') AND id % 2 = 1 ORDER BY body <@> 'w1 w5 w9'$$, 'SELECT id FROM whole WHERE id % 2 = 1 ORDER BY n'
	UNION ALL SELECT 'all, in the order of the table', $$SELECT id FROM d WHERE body @@ to_bm25query('w1 & w5'::tsquery) ORDER BY body <@> 'w1 w5 w9'$$,
		$$SELECT id FROM whole JOIN scored USING (id) WHERE v @@ 'w1 & w5' ORDER BY n$$) f,
	(SELECT format(' LIMIT %s OFFSET %s', rows, past) AS bounds FROM unnest('{1,10,17,100,2000,20000}'::int[]) rows, unnest('{0,50}'::int[]) past UNION ALL SELECT ' LIMIT NULL') b
GROUP BY 1 ORDER BY kind COLLATE "C";
SET bm25.unmatched = on;
SELECT count(*) AS asked, count(*) FILTER (WHERE rows_of('SELECT id FROM d ORDER BY body <@> ''w1 w5 w9'', id' || bounds) IS DISTINCT FROM rows_of('SELECT id FROM scored ORDER BY score, id' || bounds)) AS wrong
FROM unnest(ARRAY[' LIMIT 10', ' LIMIT 20000', ' LIMIT NULL']) bounds;
RESET bm25.unmatched;
DROP TABLE scored;
RESET enable_sort;
RESET enable_seqscan;
DROP TABLE whole;
DROP FUNCTION rows_of;

DROP VIEW asked;
DROP TABLE d;
DROP TABLE brute_word, brute_length;
DROP FUNCTION words, learn, brute, wrong;
DROP EXTENSION piramid_bm25;
