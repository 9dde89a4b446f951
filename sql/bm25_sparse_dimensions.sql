-- Dimensions of sparse vectors in bm25 indexes: queries of others, and columns without any.
-- In all versions: what is an error is decided by the operator and by the types.
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
SET client_min_messages = warning;
CREATE EXTENSION piramid_bm25;

-- How many rows two scans find, of the table and of the index; or their errors.
CREATE FUNCTION scans(rel text, query text, OUT by_table text, OUT by_index text) LANGUAGE plpgsql AS $$
DECLARE
	statement text := format('DO $x$ BEGIN PERFORM FROM %I ORDER BY v <#> %L LIMIT 5; RAISE EXCEPTION USING MESSAGE = (SELECT count(*) || '' rows'' FROM (SELECT FROM %1$I ORDER BY v <#> %2$L LIMIT 5) x); END $x$', rel, query);
BEGIN
	SET LOCAL enable_indexscan = off;
	by_table := error_of(statement);
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	by_index := error_of(statement);
	RESET enable_seqscan;
	RESET enable_sort;
END $$;

-- A query of other dimensions is an error where there is a row to compare it with.
CREATE TABLE e (v sparsevec(3));
CREATE INDEX e_v ON e USING bm25 (v sparsevec_ip_ops);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT FROM e ORDER BY v <#> '{1:1}/2' LIMIT 5;
RESET enable_seqscan;
SELECT * FROM scans('e', '{1:1}/2');
SELECT * FROM scans('e', '{}/4');
SELECT * FROM scans('e', '{9:1,1000000000:-1}/1000000000');
INSERT INTO e VALUES (NULL);
SELECT * FROM scans('e', '{1:1}/2');
INSERT INTO e VALUES ('{1:1,3:-2}/3');
SELECT * FROM scans('e', '{1:1}/2');
SELECT * FROM scans('e', '{}/4');
SELECT * FROM scans('e', '{9:1,1000000000:-1}/1000000000');
SELECT * FROM scans('e', '{1:1}/3');
-- in a segment, too
SELECT piramid_bm25_merge('e_v');
SELECT * FROM scans('e', '{1:1}/2');
SELECT * FROM scans('e', '{9:1,1000000000:-1}/1000000000');
-- deleted, and still in the index; then no longer
DELETE FROM e;
SELECT * FROM scans('e', '{1:1}/2');
VACUUM e;
SELECT * FROM scans('e', '{1:1}/2');
-- an index whose condition holds for no row
CREATE TABLE rest (id int, v sparsevec(3));
INSERT INTO rest SELECT i, format('{1:%s}/3', i)::sparsevec FROM generate_series(1, 10) AS i;
CREATE INDEX ON rest USING bm25 (v sparsevec_ip_ops) WHERE id > 100;
SET enable_seqscan = off;
SELECT id FROM rest WHERE id > 100 ORDER BY v <#> '{1:1}/2' LIMIT 5;
RESET enable_seqscan;
SELECT id FROM rest WHERE id > 100 ORDER BY v <#> '{1:1}/2' LIMIT 5;

-- An index lives on when its column loses its dimensions, and whatever makes it anew can do so.
CREATE TABLE s (id int, v sparsevec(5000));
INSERT INTO s SELECT i, format('{1:%s,%s:1,5000:%s}/5000', i, 2 + i % 4000, i % 7)::sparsevec FROM generate_series(1, 300) AS i;
CREATE INDEX s_v ON s USING bm25 (v sparsevec_ip_ops);
SELECT relfilenode AS file FROM pg_class WHERE relname = 's_v' \gset
ALTER TABLE s ALTER v TYPE sparsevec;
SELECT relfilenode = :file AS same_file FROM pg_class WHERE relname = 's_v';
SELECT error_of('INSERT INTO s VALUES (1002, ''{1:1}/6000'')');
INSERT INTO s VALUES (301, '{1:9.1,4999:1}/5000');
REINDEX INDEX s_v;
SELECT piramid_bm25_check('s_v');
REINDEX INDEX CONCURRENTLY s_v;
VACUUM FULL s;
SELECT * FROM piramid_check('s_v', true);
SELECT * FROM scans('s', '{1:1}/512');
SET enable_seqscan = off;
SELECT id FROM s ORDER BY v <#> '{1:1,5000:100}/5000' LIMIT 3;
RESET enable_seqscan;
SELECT id FROM s ORDER BY v <#> '{1:1,5000:100}/5000' LIMIT 3;
-- Now it takes rows of any dimensions, as the column does.  A scan that does not come to them is no error.
INSERT INTO s VALUES (1002, '{1:1000}/6000');
SELECT * FROM scans('s', '{1:1}/5000');
SELECT * FROM scans('s', '{2:1}/5000');
DELETE FROM s WHERE id = 1002;
SELECT * FROM scans('s', '{1:1}/5000');
TRUNCATE s;
SELECT * FROM scans('s', '{1:1}/2');
INSERT INTO s VALUES (1, '{1:1}/2');
SELECT * FROM scans('s', '{1:1}/2');
-- with dimensions again, it is built anew
ALTER TABLE s ALTER v TYPE sparsevec(2);
SELECT error_of('INSERT INTO s VALUES (2, ''{1:1}/3'')');
SELECT * FROM scans('s', '{1:1}/2');

-- A column that never had dimensions, and a domain, which has none for an index.
CREATE TABLE n (v sparsevec);
CREATE INDEX n_v ON n USING bm25 (v sparsevec_ip_ops);
INSERT INTO n SELECT format('{%s:1}/9', 1 + i % 9)::sparsevec FROM generate_series(1, 300) AS i;
SELECT piramid_bm25_merge('n_v');
SELECT piramid_bm25_check('n_v');
SELECT * FROM scans('n', '{1:1}/9');
SELECT * FROM scans('n', '{1:1}/8');
CREATE DOMAIN nine AS sparsevec(9);
CREATE TABLE o (v nine);
CREATE INDEX ON o USING bm25 (v sparsevec_ip_ops);
INSERT INTO o SELECT v FROM n;
SELECT * FROM scans('o', '{1:1}/9');
SELECT * FROM scans('o', '{1:1}/8');

-- Columns of texts lose their lengths likewise.
CREATE TABLE t (v varchar(20));
INSERT INTO t VALUES ('a short text');
CREATE INDEX t_v ON t USING bm25 (v) WITH (text_config = 'simple');
ALTER TABLE t ALTER v TYPE varchar;
ALTER TABLE t ALTER v TYPE text;
INSERT INTO t VALUES ('a text of more than twenty characters');
REINDEX INDEX t_v;
SELECT piramid_bm25_check('t_v');

DROP TABLE e, rest, s, n, o, t;
DROP DOMAIN nine;
DROP FUNCTION scans;
DROP EXTENSION piramid_bm25;
