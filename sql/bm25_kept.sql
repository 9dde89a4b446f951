-- bm25: what a backend keeps from one statement to the next does not become wrong, and
-- instruction sets do not differ.
\getenv abs_srcdir PG_ABS_SRCDIR
\set brute :abs_srcdir '/sql/include/bm25_brute.sql'
SET client_min_messages = warning;
CREATE EXTENSION piramid_bm25;
\set ECHO none
\i :brute
\set ECHO all

CREATE FUNCTION words(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg('w' || exp(7.5 * (hashint4(seed * 1009 + i)::bigint & 1023) / 1023)::int, ' ')
	FROM generate_series(1, n) i
$$;
-- Two pages of lengths.
CREATE TABLE d (id int PRIMARY KEY, body text);
INSERT INTO d SELECT i, words(i, 1 + i % 13) FROM generate_series(1, 9000) i;
CREATE INDEX d_body ON d USING bm25 (body) WITH (text_config = 'english');
CREATE VIEW asked AS
SELECT words(-i * 7, 1 + i % 9) AS query, (ARRAY[1, 10, 100, 1000])[1 + i % 4] AS k FROM generate_series(1, 12) i;
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;

-- The same rows and scores by each instruction set
CREATE TABLE found (level text, query text, rows text);
DO $$
BEGIN
	SET LOCAL enable_seqscan = off;
	FOR i IN 0 .. 3 LOOP
		BEGIN
			PERFORM set_config('piramid.simd', (ARRAY['scalar', 'neon', 'avx2', 'avx512'])[i + 1], true);
		EXCEPTION WHEN OTHERS THEN
			CONTINUE;
		END;
		INSERT INTO found SELECT current_setting('piramid.simd'), query,
			(SELECT string_agg(x::text, ' ') FROM (SELECT id, body <@> query FROM d ORDER BY body <@> query LIMIT k) x)
		FROM asked;
	END LOOP;
END $$;
SELECT count(*) = count(DISTINCT level) * 12 AS all, bool_or(level = 'scalar') AS scalar, count(DISTINCT (query, rows)) FROM found;

-- Words between those of the dictionary, also after the last one of each of its pages
CREATE TABLE e (body text);
INSERT INTO e SELECT string_agg('x' || i * 20 + j, ' ') FROM generate_series(1, 200) i, generate_series(1, 20) j GROUP BY i;
CREATE INDEX ON e USING bm25 (body) WITH (text_config = 'simple');
SET enable_seqscan = off;
SELECT count(*) FROM e WHERE body @@ (SELECT to_bm25query(string_agg('x' || i || 'y', ' ')) FROM generate_series(21, 4020) i);
SELECT count(*) FROM e WHERE body @@ (SELECT to_bm25query(string_agg('x' || i, ' ')) FROM generate_series(21, 4020, 20) i);
RESET enable_seqscan;
DROP TABLE e;

-- Lengths: the index is made again, under the same name, and under the same OID.
UPDATE d SET body = words(id + 1, 1 + id % 7);
DROP INDEX d_body;
CREATE INDEX d_body ON d USING bm25 (body) WITH (text_config = 'english');
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;
UPDATE d SET body = words(id + 2, 1 + id % 11);
REINDEX INDEX d_body;
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;
-- What is undone counts as little.
BEGIN;
TRUNCATE d;
INSERT INTO d SELECT i, words(i + 3, 1 + i % 17) FROM generate_series(1, 9000) i;
REINDEX INDEX d_body;
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;
ROLLBACK;
SELECT learn('d');
SELECT sum(wrong('d', query, k)) FROM asked;

-- Words: as to_tsvector() has them, those that the backend has met before, too.
CREATE TEXT SEARCH CONFIGURATION kept (COPY = english);
CREATE TABLE t (id serial PRIMARY KEY, body text);
CREATE INDEX t_body ON t USING bm25 (body) WITH (text_config = 'public.kept');
INSERT INTO t (body) SELECT 'running ' || i % 3 || ' the well-known-cases ' || repeat('walked http://example.org/walks?' || i || ' a.b@example.org -1.5e3 ', 5)
FROM generate_series(1, 60) i;
CREATE FUNCTION differing(config regconfig) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM t, unnest(to_tsvector(config, body)) w
	WHERE NOT body @@ to_bm25query(replace(quote_literal(w.lexeme), '\', '\\')::tsquery, 't_body')
$$;
SELECT differing('kept');
SELECT count(*) FROM t WHERE body @@ to_bm25query('run'::tsquery, 't_body');
SELECT count(*) FROM t WHERE body @@ to_bm25query('walk <-> ''example.org/walks?7'''::tsquery, 't_body');
SELECT count(*) FROM t WHERE body @@ to_bm25query('run <2> ''well-known-cas'''::tsquery, 't_body');
SELECT count(*) FROM t WHERE body @@ to_bm25query('run <3> ''well-known-cas'''::tsquery, 't_body');
-- Another dictionary, in the same session
ALTER TEXT SEARCH CONFIGURATION kept ALTER MAPPING REPLACE english_stem WITH simple;
INSERT INTO t (body) VALUES ('running the well-known-cases');
SELECT count(*) AS old_words FROM t WHERE body @@ to_bm25query('run'::tsquery, 't_body') AND id = 61;
SET enable_seqscan = off;
SELECT id FROM t WHERE body @@ to_bm25query('running & the'::tsquery, 't_body');
RESET enable_seqscan;
SELECT differing('kept');
-- Dictionaries of phrases are asked as the server does it.
CREATE TEXT SEARCH DICTIONARY kept_phrases (TEMPLATE = thesaurus, DictFile = thesaurus_sample, Dictionary = english_stem);
ALTER TEXT SEARCH CONFIGURATION kept ALTER MAPPING FOR asciiword WITH kept_phrases, english_stem;
INSERT INTO t (body) VALUES ('many supernovae stars were running'), ('supernovae were running');
SELECT id, to_tsvector('kept', body) FROM t WHERE id > 61 ORDER BY id;
SELECT id FROM t WHERE body @@ to_bm25query('sn'::tsquery, 't_body') ORDER BY id;
SELECT differing('kept') = 0 AS same;

DROP VIEW asked;
DROP TABLE d, t, found;
DROP TEXT SEARCH CONFIGURATION kept;
DROP TEXT SEARCH DICTIONARY kept_phrases;
DROP TABLE brute_word, brute_length;
DROP FUNCTION words, learn, brute, wrong, differing;
DROP EXTENSION piramid_bm25;
