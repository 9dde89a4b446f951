-- bm25: what can be indexed, options, and what is refused.
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
CREATE EXTENSION piramid_bm25;

CREATE TABLE d (id int PRIMARY KEY, body text, short varchar(40), n int);
INSERT INTO d VALUES (1, 'The quick brown fox', 'fox', 1), (2, 'lazy dogs and foxes', 'dog', 2),
	(3, NULL, NULL, 3), (4, '', '', 4), (5, 'the of and', 'the', 5);
CREATE INDEX d_body ON d USING bm25 (body) WITH (text_config = 'english', k1 = 1.5, b = 0.5);
CREATE INDEX d_short ON d USING bm25 (short) WITH (text_config = 'pg_catalog.simple');
SELECT piramid_bm25_info('d_body');
SELECT text_config, documents FROM piramid_bm25_info('d_short');
SELECT piramid_bm25_check('d_body'), piramid_bm25_check('d_short');

-- Scores of k1 = 1.5, b = 0.5 (N = 4, average length 6 / 4); no row of index scans lacks all words.
SET enable_seqscan = off;
SELECT id, body <@> 'fox' AS score,
	abs((body <@> 'fox') / (-ln(1 + (4 - 2 + 0.5) / (2 + 0.5)) * 2.5 / (1 + 1.5 * (0.5 + 0.5 * 3 / 1.5))) - 1) < 1e-6 AS ok
FROM d ORDER BY body <@> 'fox';
SELECT id FROM d ORDER BY short <@> 'the';
SET bm25.unmatched = on;
SELECT id, body <@> 'fox' < 0 AS matches FROM d ORDER BY body <@> 'fox';
RESET bm25.unmatched;
SELECT id FROM d ORDER BY body <@> 'the';
SELECT id FROM d ORDER BY body <@> 'unicorn';
SELECT id FROM d ORDER BY body <@> '';
SELECT id FROM d ORDER BY body <@> NULL::text LIMIT 0;
SELECT id, body <@> NULL::text AS score FROM d WHERE id = 1;
RESET enable_seqscan;
-- A scan of the table has all rows, those without any word at the end with 0.
SET enable_indexscan = off;
SELECT id, body <@> 'fox' < 0 AS matches FROM d ORDER BY body <@> 'fox', id;
RESET enable_indexscan;

-- Options and columns.
SELECT error_of('CREATE INDEX ON d USING bm25 (body) WITH (text_config = ''klingon'')');
SELECT error_of('CREATE INDEX ON d USING bm25 (body) WITH (k1 = -1)');
SELECT error_of('CREATE INDEX ON d USING bm25 (body) WITH (b = 2)');
SELECT error_of('CREATE INDEX ON d USING bm25 (body, short)');
SELECT error_of('CREATE INDEX ON d USING bm25 (body) INCLUDE (n)');
SELECT error_of('CREATE UNIQUE INDEX ON d USING bm25 (body)');
SELECT error_of('CREATE INDEX ON d USING bm25 (n)');
-- The configuration that was the default at CREATE INDEX stays the index's.
SET default_text_search_config = 'simple';
CREATE INDEX d_simple ON d USING bm25 (body);
SET default_text_search_config = 'english';
INSERT INTO d VALUES (6, 'the foxes');
SELECT text_config FROM piramid_bm25_info('d_simple');
SELECT id FROM d WHERE body <@> to_bm25query('the', 'd_simple') < 0 ORDER BY body <@> to_bm25query('the', 'd_simple');
DROP INDEX d_simple;
CREATE TEXT SEARCH CONFIGURATION mine (COPY = pg_catalog.simple);
CREATE INDEX d_mine ON d USING bm25 (body) WITH (text_config = 'public.mine');
DROP TEXT SEARCH CONFIGURATION mine;
SELECT error_of('INSERT INTO d VALUES (7, ''words'')');
DROP INDEX d_mine;

-- Expressions, partial indexes, tsvectors.
CREATE INDEX d_both ON d USING bm25 ((short || ' ' || body)) WITH (text_config = 'english');
SELECT id FROM d ORDER BY (short || ' ' || body) <@> 'dog' LIMIT 1;
ALTER TABLE d ADD v tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED;
CREATE INDEX d_v ON d USING bm25 (v) WITH (text_config = 'english');
CREATE INDEX d_partial ON d USING bm25 (body) WITH (text_config = 'english') WHERE n > 1;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM d ORDER BY v <@> 'fox';
SELECT id FROM d WHERE v <@> 'fox' < 0 ORDER BY v <@> 'fox', id;
SELECT id FROM d WHERE v @@ to_bm25query('fox & !lazi'::tsquery) ORDER BY id;
EXPLAIN (COSTS OFF) SELECT id FROM d WHERE n > 1 ORDER BY body <@> to_bm25query('fox', 'd_partial');
SELECT id FROM d WHERE n > 1 ORDER BY body <@> to_bm25query('fox', 'd_partial');
RESET enable_seqscan;

-- Queries as text, and what names no index.
SELECT 'free words'::bm25query, to_bm25query('fox & dog'::tsquery), 'd_body:fox'::bm25query, 'a: b'::bm25query,
	'd_body:@@ fox & dog'::bm25query;
SELECT 'a"b:c'::bm25query, '"x:y'::bm25query, ':x'::bm25query, '.:x'::bm25query, '"d_body":x'::bm25query, 'public.d_body:x'::bm25query, '"":x'::bm25query;
-- Whatever the words are, a query's text is the same query again.
CREATE TABLE hostile AS SELECT words FROM unnest(ARRAY['d_body:fox', '"d_body":fox', 'public.d_body:fox', 'd_body::fox', 'd_body:@@ fox', 'none:fox', ':x', '::x', ':', '@@ x', '@@ x & ',
	'@@x', '@@', ':@@ x', 'a: b', '"a:b":c', '"a""b":c', '"x:y', '', ' ', ' d_body:x', '"":x', 'a.b.c:x', '1a:x', 'a$b:c', E'tab\there:\n', '\:x', '\\', '''', 'DROP:x', U&'\00E9:x']) words;
SELECT words, q FROM hostile, LATERAL (VALUES (to_bm25query(words)), (to_bm25query(words, 'd_body')), (to_bm25query(plainto_tsquery('simple', words))),
	(to_bm25query(plainto_tsquery('simple', words), 'd_body'))) v (q) WHERE numnode(plainto_tsquery('simple', words)) > 0 AND NOT (SELECT x FROM (VALUES (q::text::bm25query)) x) *= (SELECT x FROM (VALUES (q)) x);
SELECT words, to_bm25query(words) AS alone, to_bm25query(words, 'd_body') AS named FROM hostile WHERE words ~ '^(d_body|:|@@ |a: )';
DROP TABLE hostile;
-- A query may be there before its index.
CREATE TABLE early AS SELECT 'soon:fox'::bm25query AS q;
SELECT q FROM early;
SELECT error_of($$SELECT body <@> q FROM d, early$$);
CREATE INDEX soon ON d USING bm25 (body) WITH (text_config = 'english');
SELECT id FROM d, early WHERE body <@> q < 0 ORDER BY body <@> q, id;
SELECT id FROM d ORDER BY body <@> 'public.soon:fox'::bm25query, id LIMIT 1;
DROP INDEX soon;
DROP TABLE early;
SELECT error_of($$SELECT 'x' <@> 'y'$$);
SELECT error_of($$SELECT n::text <@> 'y' FROM d$$);
SELECT error_of($$SELECT 'x' <@> to_bm25query('y')$$);
SELECT error_of($$SELECT 'x' <@> to_bm25query('y', 'd_pkey')$$);
SELECT error_of($$SELECT 'x' <@> 'd:y'::bm25query$$);
SELECT error_of($$SELECT 'd_pkey:y'::bm25query$$);
SELECT 'fox fox' <@> to_bm25query('fox', 'd_body') < 0 AS any_text;
CREATE ROLE regress_bm25_user;
SET ROLE regress_bm25_user;
SELECT error_of($$SELECT 'x' <@> to_bm25query('x', 'd_body')$$);
SELECT error_of($$SELECT 'd_body:x'::bm25query$$);
SELECT error_of($$SELECT piramid_bm25_merge('d_body')$$);
SELECT error_of($$SELECT piramid_bm25_info('d_body')$$);
SELECT error_of($$SELECT 'x' <@> bm25query_for_index('x', 'd_body')$$);
-- Another column does not do; a view does with its owner's rights.
RESET ROLE;
GRANT SELECT (n) ON d TO regress_bm25_user;
CREATE VIEW v AS SELECT body FROM d;
GRANT SELECT ON v TO regress_bm25_user;
SET ROLE regress_bm25_user;
SELECT error_of($$SELECT 'x' <@> to_bm25query('x', 'd_body')$$);
SELECT count(*) > 0 AS found FROM (SELECT 'fox'::text AS q OFFSET 0) AS x, v WHERE v.body <@> x.q < 0;
RESET ROLE;
GRANT SELECT (body) ON d TO regress_bm25_user;
SET ROLE regress_bm25_user;
SELECT 'fox' <@> to_bm25query('fox', 'd_body') < 0 AS allowed, 'fox' <@> bm25query_for_index('fox', 'd_body') < 0 AS also;
RESET ROLE;
DROP VIEW v;
REVOKE ALL ON d FROM regress_bm25_user;
DROP ROLE regress_bm25_user;

-- Nothing, unlogged, temporary; rewritten.
CREATE TABLE e (body text);
CREATE INDEX e_body ON e USING bm25 (body);
SELECT * FROM e ORDER BY body <@> 'x';
VACUUM e;
INSERT INTO e VALUES ('x');
SET enable_seqscan = off;
SELECT * FROM e ORDER BY body <@> 'x';
CREATE UNLOGGED TABLE u AS SELECT * FROM d;
CREATE INDEX ON u USING bm25 (body);
SELECT id FROM u ORDER BY body <@> 'quick';
CREATE TEMPORARY TABLE t AS SELECT * FROM d;
CREATE INDEX ON t USING bm25 (body);
INSERT INTO t SELECT i, 'filler ' || i FROM generate_series(10, 3000) i;
SELECT id FROM t ORDER BY body <@> 'quick 2999';
REINDEX INDEX d_body;
REINDEX INDEX CONCURRENTLY d_body;
VACUUM FULL d;
TRUNCATE e;
SELECT * FROM e ORDER BY body <@> 'x';
SELECT id FROM d ORDER BY body <@> to_bm25query('quick', 'd_body');

-- Merged into one segment.
INSERT INTO e SELECT 'word' || i % 7 || ' number' || i FROM generate_series(1, 4000) i;
SELECT segments, documents, head_documents > 0 AS head FROM piramid_bm25_info('e_body');
SELECT piramid_bm25_merge('e_body');
SELECT segments, documents, head_documents FROM piramid_bm25_info('e_body');
SELECT piramid_bm25_check('e_body');
SELECT error_of('SELECT piramid_bm25_merge(''d_pkey'')');

-- Its words, of segments and of the head, and how many documents have each.
INSERT INTO e VALUES ('word1 word1 fresh'), ('fresh wordy'), (repeat('fresh ', 9000) || 'Zebra');
SELECT * FROM piramid_bm25_terms('e_body') WHERE term !~ '^number';
SELECT * FROM piramid_bm25_terms('e_body', 'number399');
SELECT count(*), sum(df) FROM piramid_bm25_terms('e_body', 'number');
SELECT count(*) FROM piramid_bm25_terms('e_body', 'nothing');
SELECT count(*) AS terms, count(*) FILTER (WHERE df IS DISTINCT FROM ndoc) AS wrong FROM piramid_bm25_terms('e_body')
	FULL JOIN ts_stat($$SELECT to_tsvector('english', body) FROM e$$) ON term = word;
VACUUM e;
SELECT count(*) AS terms, count(*) FILTER (WHERE df IS DISTINCT FROM ndoc) AS wrong FROM piramid_bm25_terms('e_body')
	FULL JOIN ts_stat($$SELECT to_tsvector('english', body) FROM e$$) ON term = word;
SELECT * FROM piramid_bm25_terms('d_v', 'fo');
SELECT error_of('SELECT piramid_bm25_terms(''d_pkey'')');
SELECT piramid_bm25_prewarm('e_body') = pg_relation_size('e_body') / current_setting('block_size')::int AS all_blocks,
	piramid_bm25_prewarm('u_body_idx') > 0 AS unlogged, piramid_bm25_prewarm('t_body_idx') > 0 AS temporary;
SELECT error_of('SELECT piramid_bm25_prewarm(''e'')');
-- Words tell of rows: not to those who may not read all of them.
CREATE ROLE regress_bm25_user;
SET ROLE regress_bm25_user;
SELECT error_of('SELECT piramid_bm25_terms(''e_body'')');
SELECT error_of('SELECT piramid_bm25_prewarm(''e_body'')');
RESET ROLE;
GRANT SELECT ON e TO regress_bm25_user;
SET ROLE regress_bm25_user;
SELECT count(*) > 0 AS allowed FROM piramid_bm25_terms('e_body');
RESET ROLE;
ALTER TABLE e ENABLE ROW LEVEL SECURITY;
SET ROLE regress_bm25_user;
SELECT error_of('SELECT piramid_bm25_terms(''e_body'')');
RESET ROLE;
ALTER TABLE e DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON e FROM regress_bm25_user;
DROP ROLE regress_bm25_user;
DELETE FROM e WHERE body ~ 'fresh';
VACUUM e;

-- piramid_check and piramid_repair know bm25, too.
SELECT * FROM piramid_check('e_body', true);
DELETE FROM e WHERE body LIKE 'word1%';
SELECT * FROM piramid_check('d_body', true) UNION ALL SELECT * FROM piramid_check('d_v', true) UNION ALL SELECT * FROM piramid_check('d_partial', true);
VACUUM e;
SELECT * FROM piramid_check('e_body', true);
SELECT * FROM piramid_repair('e_body');
UPDATE pg_index SET indisready = false WHERE indexrelid = 'e_body'::regclass;
INSERT INTO e VALUES ('not in the index');
UPDATE pg_index SET indisready = true WHERE indexrelid = 'e_body'::regclass;
SELECT severity, what, hint FROM piramid_check('e_body', true);
REINDEX INDEX e_body;
SELECT * FROM piramid_check('e_body', true);

-- With workers and little memory, so that each writes several runs, the index is the same.
CREATE TABLE p (id int, body text) WITH (parallel_workers = 2, fillfactor = 50);
INSERT INTO p SELECT i, 'all ' || i % 10 || ' w' || i % 997 || ' u' || i || repeat(' x', i % 9) FROM generate_series(1, 9000) i;
SET maintenance_work_mem = '1MB';
CREATE INDEX p_team ON p USING bm25 (body) WITH (text_config = 'simple');
SET max_parallel_maintenance_workers = 0;
CREATE INDEX p_alone ON p USING bm25 (body) WITH (text_config = 'simple');
RESET max_parallel_maintenance_workers;
SELECT piramid_bm25_check('p_team'), piramid_bm25_info('p_team')::text = piramid_bm25_info('p_alone')::text AS same;
SELECT q, count(*), count(*) FILTER (WHERE own IS DISTINCT FROM id) AS wrong FROM unnest(ARRAY['all <-> 3', 'w1 <-> u998', 'x <7> x', '7 <-> !w7', 'u12:*']) q,
	LATERAL (SELECT a.id AS own, b.id FROM (SELECT id FROM p WHERE body @@ to_bm25query(q::tsquery, 'p_team')) a
		FULL JOIN (SELECT id FROM p WHERE to_tsvector('simple', body) @@ q::tsquery) b USING (id)) x GROUP BY q ORDER BY q COLLATE "C";
RESET maintenance_work_mem;
DROP INDEX p_team, p_alone;
-- Whichever process meets a row of which only an old version is in the index's order, old snapshots do not use it.
CREATE FUNCTION broken_chain() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	UPDATE p SET body = 'new' WHERE id = 4500;
	CREATE INDEX p_body ON p USING bm25 (body) WITH (text_config = 'simple');
	RAISE EXCEPTION '%', (SELECT indcheckxmin FROM pg_index WHERE indexrelid = 'p_body'::regclass);
EXCEPTION WHEN raise_exception THEN
	RETURN SQLERRM;
END $$;
SELECT count(*), bool_and(broken_chain()) AS all FROM generate_series(1, 12);
DROP FUNCTION broken_chain;

-- More free runs of blocks than are listed: VACUUM finds the others.
TRUNCATE p;
INSERT INTO p VALUES (1, 'some words');
CREATE INDEX p_body ON p USING bm25 (body) WITH (text_config = 'simple');
DO $$
BEGIN
	FOR i IN 1 .. 560 LOOP
		BEGIN
			INSERT INTO p VALUES (i, 'word' || i);
			PERFORM piramid_bm25_merge('p_body');
		EXCEPTION WHEN division_by_zero THEN
		END;
	END LOOP;
END $$;
SELECT piramid_bm25_check('p_body');
VACUUM p;
SELECT piramid_bm25_check('p_body');
DROP TABLE p;

-- A second access method of this name is refused.
DROP TABLE d, e, u, t;
SELECT error_of('CREATE ACCESS METHOD bm25 TYPE INDEX HANDLER bm25_handler');
DROP EXTENSION piramid_bm25;
CREATE FUNCTION foreign_handler(internal) RETURNS index_am_handler AS '$libdir/piramid', 'bm25_handler' LANGUAGE C;
CREATE ACCESS METHOD bm25 TYPE INDEX HANDLER foreign_handler;
SELECT error_of('CREATE EXTENSION piramid_bm25');
-- As if another extension had it.
ALTER EXTENSION piramid ADD ACCESS METHOD bm25;
SELECT error_of('CREATE EXTENSION piramid_bm25');
ALTER EXTENSION piramid DROP ACCESS METHOD bm25;
DROP ACCESS METHOD bm25;
DROP FUNCTION foreign_handler;
