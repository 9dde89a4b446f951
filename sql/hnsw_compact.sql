-- Projected codes and the compact layout.
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all
SET enable_seqscan = off;

-- Rows that vary in 40 of 128 directions, but for some noise.
CREATE TABLE low_rank (id int, v vector(128));
INSERT INTO low_rank
SELECT id, array_agg(0.2 * sin(id * 12.9898 + d * 78.233)
	+ sin(id * (1 + d % 40) * 0.7391) * cos(d * 1.7) ORDER BY d)::vector
FROM generate_series(1, 1500) AS id, generate_series(1, 128) AS d GROUP BY id;

-- Whose nearest rows are looked for
\set some 'id % 101 = 1'

-- The default: so short vectors are not projected.
CREATE INDEX low_rank_i ON low_rank USING hnsw (v vector_l2_ops);
SELECT version, storage_precision, code_bits FROM piramid_hnsw_info('low_rank_i');
SELECT found('low_rank', '<->', :'some', 0.99);
INSERT INTO low_rank SELECT id + 10000, v FROM low_rank WHERE id % 3 = 0;
DELETE FROM low_rank WHERE id <= 1500 AND id % 3 = 0;
VACUUM low_rank;
SELECT found('low_rank', '<->', :'some', 0.99);
SELECT count(*) FROM (SELECT id FROM low_rank ORDER BY v <-> (SELECT v FROM low_rank WHERE id = 1)) AS x;
DROP INDEX low_rank_i;

-- Compact, every metric that has it.
CREATE INDEX low_rank_i ON low_rank USING hnsw (v vector_l2_ops) WITH (layout = compact);
SELECT version, storage_precision, code_bits < 128 AS short FROM piramid_hnsw_info('low_rank_i');
SELECT found('low_rank', '<->', :'some', 0.99);
-- all rows, each once
SELECT count(*), count(DISTINCT id) FROM
	(SELECT id FROM low_rank ORDER BY v <-> (SELECT v FROM low_rank WHERE id = 1)) AS x;
-- the executor orders the nearest rows
SELECT count(*) FROM (SELECT d, lag(d) OVER () AS before FROM
	(SELECT v <-> (SELECT v FROM low_rank WHERE id = 1) AS d FROM low_rank
	 ORDER BY v <-> (SELECT v FROM low_rank WHERE id = 1) LIMIT 10) AS x) AS y
WHERE d < before;
INSERT INTO low_rank SELECT id + 20000, v FROM low_rank WHERE id > 10000;
SELECT found('low_rank', '<->', :'some', 0.99);
DELETE FROM low_rank WHERE id > 20000;
VACUUM low_rank;
SELECT found('low_rank', '<->', :'some', 0.99);
DROP INDEX low_rank_i;
CREATE INDEX low_rank_i ON low_rank USING hnsw (v vector_ip_ops) WITH (layout = compact);
-- (wider, and many queries, because one that goes astray finds none of its rows)
SET hnsw.ef_search = 100;
SELECT found('low_rank', '<#>', 'id % 11 = 1', 0.98);
DROP INDEX low_rank_i;
CREATE INDEX low_rank_i ON low_rank USING hnsw (v vector_cosine_ops) WITH (layout = compact);
SELECT found('low_rank', '<=>', 'id % 11 = 1', 0.98);
DROP INDEX low_rank_i;
CREATE INDEX low_rank_i ON low_rank USING hnsw ((v::halfvec(128)) halfvec_l2_ops) WITH (layout = 'compact', m = 20);
SELECT storage_precision, degree FROM piramid_hnsw_info('low_rank_i');
SELECT count(*) FROM (SELECT id FROM low_rank ORDER BY v::halfvec(128) <-> (SELECT v::halfvec(128) FROM low_rank WHERE id = 1) LIMIT 10) AS x;

RESET hnsw.ef_search;

-- The option is kept, and dumped.
SELECT reloptions FROM pg_class WHERE relname = 'low_rank_i';
SELECT pg_get_indexdef('low_rank_i'::regclass);
-- It counts from the next REINDEX on.
ALTER INDEX low_rank_i SET (layout = fast);
SELECT storage_precision FROM piramid_hnsw_info('low_rank_i');
REINDEX INDEX low_rank_i;
SELECT storage_precision FROM piramid_hnsw_info('low_rank_i');

-- An empty index, filled later; no projection.
CREATE TABLE empty_at_first (id int, v vector(128));
CREATE INDEX empty_i ON empty_at_first USING hnsw (v vector_l2_ops) WITH (layout = compact);
INSERT INTO empty_at_first SELECT * FROM low_rank WHERE id < 500;
SELECT count(*) FROM (SELECT id FROM empty_at_first ORDER BY v <-> (SELECT v FROM low_rank WHERE id = 1)) AS x;

-- Errors.
CREATE INDEX ON low_rank USING hnsw (v vector_l2_ops) WITH (layout = small);
CREATE INDEX ON low_rank USING hnsw (v vector_l1_ops) WITH (layout = compact);
CREATE TABLE bits (b bit(64));
CREATE INDEX ON bits USING hnsw (b bit_hamming_ops) WITH (layout = compact);

DROP TABLE low_rank, empty_at_first, bits;
