-- bm25: which index a query is about, wherever it stands.
CREATE EXTENSION piramid_bm25;
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE d (id int PRIMARY KEY, topic int, body text);
INSERT INTO d SELECT i, i % 4, 'word' || i % 10 || ' term' || i FROM generate_series(1, 200) i;
INSERT INTO d VALUES (1001, 1, 'word1 rare'), (1002, 2, 'rare'), (1003, 1, 'word2 rare rare');
CREATE INDEX d_body ON d USING bm25 (body) WITH (text_config = 'simple');
ANALYZE d;

-- Select list, WHERE, joins, subqueries, CTEs.
EXPLAIN (COSTS OFF) SELECT id, body <@> 'rare' AS score FROM d ORDER BY body <@> 'rare' LIMIT 3;
SELECT id, round((body <@> 'rare')::numeric, 4) AS score FROM d ORDER BY body <@> 'rare' LIMIT 3;
SELECT id FROM d WHERE topic = 1 ORDER BY body <@> 'rare word1' LIMIT 3;
SELECT id FROM d WHERE body <@> 'rare' < 0 ORDER BY id;
SELECT id FROM (SELECT * FROM d WHERE id > 1000) x ORDER BY body <@> 'rare' LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM (SELECT * FROM d WHERE id > 1000) x ORDER BY body <@> 'rare' LIMIT 2;
WITH x AS MATERIALIZED (SELECT id, body FROM d ORDER BY body <@> 'rare' LIMIT 2)
SELECT id, body <@> 'rare' < 0 AS scored FROM x ORDER BY id;
SELECT x.id, y.id FROM d x, LATERAL (SELECT id FROM d ORDER BY d.body <@> x.body LIMIT 2) y WHERE x.id IN (1001, 7) ORDER BY 1, 2;
SELECT a.id FROM d a JOIN d b ON b.id = a.id WHERE a.topic < 3 ORDER BY a.body <@> 'rare' LIMIT 3;
SELECT id, (SELECT body <@> 'rare' < 0), (SELECT count(*) FROM unnest(ARRAY['word1', 'rare', 'no']) q WHERE d.body <@> q < 0) AS words
FROM d WHERE id IN (1, 1001) ORDER BY id;
-- Ties in the table's order, and sorted further.
SELECT id FROM d ORDER BY body <@> 'word3' LIMIT 5;
SET enable_sort = on;
SELECT id FROM d ORDER BY body <@> 'word3', id DESC LIMIT 5;
SET enable_sort = off;

-- Statements that change rows; PL/pgSQL; prepared statements; cursors; views.
UPDATE d SET topic = 9 WHERE id IN (SELECT id FROM d ORDER BY body <@> 'rare' LIMIT 2);
SELECT id FROM d WHERE topic = 9 ORDER BY id;
DELETE FROM d WHERE id = (SELECT id FROM d ORDER BY body <@> 'term17' LIMIT 1) RETURNING id;
INSERT INTO d SELECT id + 10000, topic, body FROM d ORDER BY body <@> 'rare' LIMIT 1 RETURNING id;
CREATE FUNCTION best(q text) RETURNS SETOF int LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT id FROM d ORDER BY body <@> q LIMIT 2 LOOP
		RETURN NEXT r.id;
	END LOOP;
END $$;
SELECT best('rare'), best('term5 term6');
SELECT best(q) FROM unnest(ARRAY['term1', 'term2', 'term3', 'term4', 'term5', 'term6', 'term7']) q;
PREPARE p(text) AS SELECT id, body <@> $1 < 0 AS scored FROM d ORDER BY body <@> $1 LIMIT 2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE p('rare');
EXECUTE p('rare');
EXECUTE p('term9 term8');
EXECUTE p(NULL);
RESET plan_cache_mode;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM d ORDER BY body <@> 'word4';
FETCH 3 FROM c;
INSERT INTO d VALUES (2001, 0, 'word4');
FETCH 16 FROM c;
FETCH 100 FROM c;
ROLLBACK;
CREATE VIEW v AS SELECT id, body, body <@> 'rare' AS score FROM d;
SELECT id FROM v ORDER BY score LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM v ORDER BY body <@> 'rare' LIMIT 2;

-- Columns of other queries: UNION, joins, groups, CTEs, recursion.
CREATE TABLE d2 AS SELECT id + 5000 AS id, body FROM d WHERE id < 20;
INSERT INTO d2 VALUES (7001, 'rare word1'), (7002, 'rarer');
SELECT id, round((body <@> 'rare')::numeric, 4) AS score FROM (SELECT id, body FROM d UNION ALL SELECT id, body FROM d2) x ORDER BY body <@> 'rare', id LIMIT 4;
SELECT id FROM (SELECT id, body FROM d2 UNION ALL SELECT id, body FROM d) x ORDER BY body <@> 'rare', id LIMIT 4;
SELECT id FROM (SELECT 1 AS id, 'rare'::text AS body UNION SELECT id, body FROM d) x ORDER BY body <@> 'rare', id LIMIT 2;
SELECT id FROM (SELECT id, body FROM d EXCEPT SELECT id, body FROM d2) x WHERE body @@ to_bm25query('rare') ORDER BY id;
SELECT id FROM (SELECT j.id, j.body FROM (d JOIN (SELECT id, topic AS t FROM d) e USING (id)) AS j OFFSET 0) x ORDER BY body <@> 'rare', id LIMIT 2;
SELECT body, count(*) FROM (SELECT body FROM d GROUP BY body OFFSET 0) x GROUP BY body ORDER BY body <@> 'rare' LIMIT 2;
WITH x AS MATERIALIZED (SELECT id, body FROM d) SELECT (SELECT round(min(body <@> 'rare')::numeric, 4) FROM x), count(*) FROM x;
WITH RECURSIVE x AS (SELECT id, body, 1 AS n FROM d WHERE id > 1000 UNION ALL SELECT id, body, n + 1 FROM x WHERE n < 3)
	SELECT id, n FROM x ORDER BY body <@> 'rare', id, n LIMIT 4;
SELECT (SELECT a.id FROM (SELECT id, body FROM d WHERE topic = o.topic OFFSET 0) a ORDER BY a.body <@> 'rare' LIMIT 1) FROM (VALUES (1), (2)) o (topic);
SELECT id FROM d o WHERE EXISTS (SELECT FROM (SELECT o.body AS b OFFSET 0) i WHERE i.b <@> 'rare' < 0) ORDER BY id;
BEGIN;
WITH x AS (DELETE FROM d WHERE id > 1000 RETURNING topic, id, body AS b) SELECT id, b <@> 'rare' < 0 AS rare FROM x WHERE b @@ to_bm25query('rare');
WITH x AS (UPDATE d SET topic = topic WHERE id < 3 RETURNING id AS i, body AS b) SELECT i, b <@> 'rare' AS score FROM x ORDER BY i;
ROLLBACK;
CREATE INDEX d_upper ON d USING bm25 (upper(body || ' x')) WITH (text_config = 'simple');
SELECT id FROM (SELECT id, upper(body || ' x') AS u FROM d OFFSET 0) x ORDER BY u <@> 'RARE' LIMIT 1;
DROP INDEX d_upper;
DROP TABLE d2;

-- The index goes away, and comes back: plans follow.
DROP INDEX d_body;
EXECUTE p('rare');
CREATE INDEX d_again ON d USING bm25 (body) WITH (text_config = 'simple');
EXECUTE p('rare');
-- Of two indexes the older one; the other one by its name.
CREATE INDEX d_english ON d USING bm25 (body) WITH (text_config = 'english');
EXPLAIN (COSTS OFF) SELECT id FROM d ORDER BY body <@> 'rare' LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM d ORDER BY body <@> to_bm25query('rare', 'd_english') LIMIT 1;
SELECT id FROM d ORDER BY body <@> to_bm25query('words1', 'd_english') LIMIT 1;
-- Of an array, too, the index that the queries name.
SELECT count(*) FROM d WHERE body @@ ANY (ARRAY[to_bm25query('rare', 'd_again'), to_bm25query('word1', 'd_again')]);
SELECT count(*) FROM d WHERE body @@ ANY (ARRAY[to_bm25query('rare', 'd_english'), to_bm25query('word1', 'd_english')]);
-- two names: no index serves (a bitmap scan of one counts as enabled from PostgreSQL 18 on)
SET enable_seqscan = on;
SELECT count(*) FROM d WHERE body @@ ANY (ARRAY[to_bm25query('rare', 'd_again'), to_bm25query('word1', 'd_english')]);
SET enable_seqscan = off;
SELECT count(*) FROM d WHERE body @@ ANY ('{d_english:rare,d_english:word1,NULL}'::bm25query[]);
SELECT count(*) FROM d o WHERE body @@ ANY (ARRAY[to_bm25query('rare', 'd_again'), to_bm25query(o.topic::text, 'd_again')]);
-- no names: an index scan takes them for its own, but nothing else knows one
SELECT count(*) FROM d WHERE body @@ ANY (ARRAY[to_bm25query('rare'), to_bm25query('word1')]);
SET enable_seqscan = on;
SET enable_bitmapscan = off;
SET enable_indexscan = off;
SELECT count(*) FROM d WHERE body @@ ANY (ARRAY[to_bm25query('rare'), to_bm25query('word1')]);
SELECT count(*) FROM d WHERE body @@ ALL ('{rare,word1}'::bm25query[]);
RESET enable_bitmapscan;
RESET enable_indexscan;
SET enable_seqscan = off;
DROP VIEW v;
DROP FUNCTION best;
DROP TABLE d;

-- Partitions: statistics of all of them, so that the scores are those of one table.
CREATE TABLE one (id int, body text);
INSERT INTO one SELECT i, 'w' || i % 7 || repeat(' x', i % 5) || CASE WHEN i < 40 THEN ' early' ELSE '' END FROM generate_series(1, 300) i;
CREATE TABLE parted (id int, body text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (1000);
INSERT INTO parted SELECT * FROM one;
CREATE INDEX one_body ON one USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX parted_body ON parted USING bm25 (body) WITH (text_config = 'simple');
EXPLAIN (COSTS OFF) SELECT id FROM parted ORDER BY body <@> 'early w3' LIMIT 5;
SELECT array_agg(s) = (SELECT array_agg(s) FROM (SELECT body <@> 'early w3' AS s FROM one ORDER BY body <@> 'early w3' LIMIT 60) x) AS same
FROM (SELECT body <@> 'early w3' AS s FROM parted ORDER BY body <@> 'early w3' LIMIT 60) x;
SELECT id FROM parted_2 ORDER BY body <@> 'w3' LIMIT 2;
SELECT id FROM parted WHERE id < 50 ORDER BY body <@> 'w3 early' LIMIT 2;
-- Indexes of partitions that differ in options: a scan ranks by those of its partition, whichever was
-- scanned before.  Without a scan it is not known which count.
DROP INDEX parted_body;
CREATE INDEX parted_body ON ONLY parted USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX parted_1_body ON parted_1 USING bm25 (body) WITH (text_config = 'simple', k1 = 0.1, b = 0);
CREATE INDEX parted_2_body ON parted_2 USING bm25 (body) WITH (text_config = 'simple', k1 = 9, b = 1);
ALTER INDEX parted_body ATTACH PARTITION parted_1_body;
ALTER INDEX parted_body ATTACH PARTITION parted_2_body;
SELECT part, count(*), (SELECT array_agg(s) FROM (
		SELECT body <@> to_bm25query('x w3', 'parted_body') AS s FROM parted_2 ORDER BY body <@> to_bm25query('x w3', 'parted_body')) own)
	= array_agg(x.s ORDER BY x.s) AS second
FROM (SELECT tableoid::regclass AS part, body <@> 'x w3' AS s FROM parted ORDER BY body <@> 'x w3') x GROUP BY part ORDER BY part::text;
SET enable_seqscan = on;
SET enable_sort = on;
SET enable_bitmapscan = off;
SET enable_indexscan = off;
-- The error of a parallel worker would have a line more.
SET max_parallel_workers_per_gather = 0;
SELECT id FROM parted ORDER BY body <@> 'x w3' LIMIT 1;
SELECT count(*) FROM parted WHERE body <@> 'x w3' < 0;
-- Conditions do not depend on k1 and b.
SELECT count(*) FROM parted WHERE body @@ to_bm25query('early');
DROP INDEX parted_body;
CREATE INDEX parted_body ON ONLY parted USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX parted_1_body ON parted_1 USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX parted_2_body ON parted_2 USING bm25 (body) WITH (text_config = 'english');
ALTER INDEX parted_body ATTACH PARTITION parted_1_body;
ALTER INDEX parted_body ATTACH PARTITION parted_2_body;
SELECT count(*) FROM parted WHERE body @@ to_bm25query('early');
RESET max_parallel_workers_per_gather;
SET enable_seqscan = off;
SET enable_sort = off;
RESET enable_bitmapscan;
RESET enable_indexscan;
SELECT count(*) FROM parted WHERE body @@ to_bm25query('early');
DROP TABLE one, parted;

-- Of two indexes on a column, the one that the query is for, also if its words are known later.
CREATE TABLE two (id int, body text);
INSERT INTO two SELECT i, concat_ws(' ', 'common', 'word' || i) FROM generate_series(1, 300) i;
CREATE INDEX two_a ON two USING bm25 (body) WITH (text_config = 'simple');
CREATE INDEX two_b ON two USING bm25 (body) WITH (text_config = 'simple');
SELECT (SELECT id FROM two ORDER BY body <@> (SELECT 'word7'::text) LIMIT 1),
	(SELECT id FROM two WHERE body @@ (SELECT 'word8'::text::bm25query));
SELECT x.id, y.id FROM two AS x, LATERAL (SELECT id FROM two ORDER BY body <@> ('word' || x.id) LIMIT 1) AS y WHERE x.id < 3;
SELECT x.id, y.id FROM two AS x, LATERAL (SELECT id FROM two ORDER BY body <@> to_bm25query('word' || x.id, 'two_a') LIMIT 1) AS y,
	LATERAL (SELECT id FROM two ORDER BY body <@> to_bm25query('word' || x.id, 'two_b') LIMIT 1) AS z WHERE x.id < 3 AND y.id = z.id;
DROP INDEX two_a;
CREATE INDEX two_a ON two USING bm25 (body) WITH (text_config = 'simple');
SELECT x.id, y.id FROM two AS x, LATERAL (SELECT id FROM two ORDER BY body <@> ('word' || x.id) LIMIT 1) AS y WHERE x.id < 3;
PREPARE words(text) AS SELECT id FROM two ORDER BY body <@> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
EXECUTE words('word9');
RESET plan_cache_mode;
-- A function of two arguments need not name an index.
CREATE FUNCTION joined(a text, b text) RETURNS bm25query LANGUAGE sql STABLE AS $$ SELECT to_bm25query(a || b) $$;
CREATE FUNCTION joined_slowly(a text, b text) RETURNS bm25query LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN to_bm25query(a || b); END $$;
SELECT id FROM two ORDER BY body <@> joined('wo', 'rd9') LIMIT 1;
SELECT id FROM two ORDER BY body <@> joined_slowly('wo', 'rd9') LIMIT 1;
SELECT id FROM two WHERE body @@ joined_slowly('word', id::text) AND id < 3 ORDER BY id;
DROP FUNCTION joined, joined_slowly;
DROP TABLE two;

-- Words of conditions: @@, beside the server's own.
CREATE TABLE m (id int PRIMARY KEY, body text);
INSERT INTO m SELECT i, concat_ws(' ', CASE WHEN i % 2 = 0 THEN 'two' END, CASE WHEN i % 3 = 0 THEN 'three' END,
	CASE WHEN i % 5 = 0 THEN 'five' END, CASE WHEN i % 7 = 0 THEN 'seven' END, 'thread' || i % 11) FROM generate_series(1, 700) i;
CREATE INDEX m_body ON m USING bm25 (body) WITH (text_config = 'simple');
INSERT INTO m SELECT i, concat_ws(' ', CASE WHEN i % 3 = 0 THEN 'three' END, CASE WHEN i % 2 = 0 THEN 'two' END) FROM generate_series(701, 800) i;
CREATE TABLE q AS SELECT q::tsquery FROM unnest(ARRAY['two & three', 'two | five', '!two', 'two & !three', 'two <-> three', 'three <-> two',
	'two <2> five', 'thr:*', 'two & thr:*', '!thr:*', 'two:A', '!(two | three)', '(two | three) & (five | seven)', 'two & two', 'nothing', 'two & !nothing',
	'!two <-> five', 'two <-> (three | five)', 'thread1 | thread10']) q;
SELECT q, count(*), count(*) FILTER (WHERE right_id IS DISTINCT FROM id) AS wrong FROM q, LATERAL (
	SELECT a.id, b.id AS right_id
	FROM (SELECT id FROM m WHERE body @@ to_bm25query(q, 'm_body')) a
	FULL JOIN (SELECT id FROM m WHERE to_tsvector('simple', body) @@ q) b USING (id)) x GROUP BY q ORDER BY q::text COLLATE "C";
EXPLAIN (COSTS OFF) SELECT count(*) FROM m WHERE body @@ to_bm25query('two & three'::tsquery);
SET enable_indexscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM m WHERE body @@ to_bm25query('two <-> three'::tsquery);
SELECT count(*) FROM m WHERE body @@ to_bm25query('two <-> three'::tsquery);
SELECT count(*) FROM m WHERE body @@ to_bm25query('two three');
RESET enable_indexscan;
-- Both at once, and ranked by a tsquery.
EXPLAIN (COSTS OFF) SELECT id FROM m WHERE body @@ to_bm25query('two <-> three'::tsquery) ORDER BY body <@> 'seven five' LIMIT 3;
SELECT id FROM m WHERE body @@ to_bm25query('two <-> three'::tsquery) ORDER BY body <@> 'seven five' LIMIT 3;
SELECT id FROM m ORDER BY body <@> to_bm25query('seven & five & !two'::tsquery) LIMIT 3;
SELECT id FROM m ORDER BY body <@> to_bm25query('thr:* | nothing'::tsquery) LIMIT 3;
DROP TABLE m, q;
DROP EXTENSION piramid_bm25;
