-- An index lives on when its column loses its number of dimensions.
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE s (id int, v sparsevec(5000), n sparsevec(600));
INSERT INTO s SELECT i, format('{1:%s,%s:1,5000:%s}/5000', i, 2 + i % 4000, i % 7)::sparsevec,
	format('{1:%s,%s:1}/600', i, 2 + i % 500)::sparsevec FROM generate_series(1, 300) AS i;
CREATE INDEX s_v ON s USING hnsw (v sparsevec_l2_ops);
CREATE INDEX s_n ON s USING hnsw (n sparsevec_l1_ops);
SELECT relfilenode AS file FROM pg_class WHERE relname = 's_v' \gset
ALTER TABLE s ALTER v TYPE sparsevec, ALTER n TYPE sparsevec;
SELECT relfilenode = :file AS same_file FROM pg_class WHERE relname = 's_v';
SELECT dimensions FROM piramid_hnsw_info('s_v');
SELECT dimensions FROM piramid_hnsw_info('s_n');
SELECT id FROM s ORDER BY v <-> '{1:9.1,11:1,5000:2}/5000' LIMIT 3;
SELECT id FROM s ORDER BY n <+> '{1:9.1,11:1}/600' LIMIT 3;
INSERT INTO s VALUES (1001, '{1:9.1,4999:1}/5000', '{1:9.1,599:1}/600');
SELECT id FROM s ORDER BY v <-> '{1:9.1,4999:1}/5000' LIMIT 1;
SELECT id FROM s ORDER BY n <+> '{1:9.1,599:1}/600' LIMIT 1;
SELECT error_of('INSERT INTO s VALUES (1002, ''{1:1}/6000'', NULL)');
SELECT error_of('SELECT id FROM s ORDER BY v <-> ''{1:1}/512'' LIMIT 1');
DELETE FROM s WHERE id < 100;
VACUUM (INDEX_CLEANUP on) s;
SELECT count(*) FROM (SELECT id FROM s ORDER BY v <-> '{1:9.1}/5000' LIMIT 1000) AS x;
SELECT error_of('REINDEX INDEX s_v');
-- with the number again, it is built anew
ALTER TABLE s ALTER v TYPE sparsevec(5000), ALTER n TYPE sparsevec(600);
SELECT id FROM s ORDER BY v <-> '{1:109.1}/5000' LIMIT 1;
DROP TABLE s;

-- the same of the other types
CREATE TABLE d (v vector(3), h halfvec(3));
INSERT INTO d SELECT ARRAY[i, 0, 1]::vector, ARRAY[i, 0, 1]::halfvec FROM generate_series(1, 20) AS i;
CREATE INDEX d_v ON d USING hnsw (v vector_l2_ops);
CREATE INDEX d_h ON d USING hnsw (h halfvec_l2_ops);
ALTER TABLE d ALTER v TYPE vector, ALTER h TYPE halfvec;
INSERT INTO d VALUES ('[9,9,9]', '[9,9,9]');
SELECT v FROM d ORDER BY v <-> '[9,9,9]' LIMIT 1;
SELECT h FROM d ORDER BY h <-> '[9,9,9]' LIMIT 1;
SELECT error_of('INSERT INTO d VALUES (''[1,2]'', NULL)');
SELECT error_of('INSERT INTO d VALUES (NULL, ''[1,2]'')');
DROP TABLE d;
