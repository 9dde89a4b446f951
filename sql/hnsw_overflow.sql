-- Overflow links: what an insert after a checkpoint leaves outside the nodes
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all
SET enable_seqscan = off;
SET hnsw.ef_search = 100;
SET client_min_messages = warning;

-- 400 rows by a build, and more by inserts, in a way of its own for each type.
CREATE FUNCTION some_vector(i integer, n integer) RETURNS real[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	$$ SELECT array_agg((hashint4extended(i, d) % 1000)::real / 1000 + (i % 7 = d % 7)::integer ORDER BY d) FROM generate_series(1, n) d $$;

CREATE TABLE t_vector (id integer, v vector(24));
CREATE TABLE t_half (id integer, v halfvec(24));
CREATE TABLE t_l1 (id integer, v vector(24));
CREATE TABLE t_bit (id integer, v bit(64));
CREATE TABLE t_sparse (id integer, v sparsevec(24));
CREATE TABLE t_compact (id integer, v vector(128));
CREATE TABLE t_large (id integer, v vector(3072));
CREATE FUNCTION add_rows(a integer, b integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO t_vector SELECT i, some_vector(i, 24) FROM generate_series(a, b) i;
	INSERT INTO t_half SELECT i, some_vector(i, 24)::vector FROM generate_series(a, b) i;
	INSERT INTO t_l1 SELECT i, some_vector(i, 24) FROM generate_series(a, b) i;
	INSERT INTO t_bit SELECT i, hashint8extended(i, 1)::bit(64) FROM generate_series(a, b) i;
	INSERT INTO t_sparse SELECT i, some_vector(i, 24)::vector::sparsevec FROM generate_series(a, b) i;
	INSERT INTO t_compact SELECT i, some_vector(i, 128) FROM generate_series(a, b) i;
	INSERT INTO t_large SELECT i, some_vector(i, 3072) FROM generate_series(a, least(b, a + 99)) i;
$$;
SELECT add_rows(1, 400);
CREATE INDEX i_vector ON t_vector USING hnsw (v vector_l2_ops);
CREATE INDEX i_half ON t_half USING hnsw (v halfvec_cosine_ops);
CREATE INDEX i_l1 ON t_l1 USING hnsw (v vector_l1_ops);
CREATE INDEX i_bit ON t_bit USING hnsw (v bit_hamming_ops);
CREATE INDEX i_sparse ON t_sparse USING hnsw (v sparsevec_l2_ops);
CREATE INDEX i_compact ON t_compact USING hnsw (v vector_l2_ops) WITH (layout = compact);
CREATE INDEX i_large ON t_large USING hnsw (v vector_l2_ops);
SELECT sum(piramid_overflow_links(i)) FROM unnest('{i_vector,i_half,i_l1,i_bit,i_sparse,i_compact,i_large}'::regclass[]) AS i;
SELECT nodes_per_page < 1 AS spans FROM piramid_hnsw_info('i_large');

-- After a checkpoint, links back wait.
CHECKPOINT;
SELECT add_rows(401, 500);
SELECT i, version, piramid_overflow_links(i) > 0 AS overflow FROM unnest('{i_vector,i_half,i_l1,i_bit,i_sparse,i_compact,i_large}'::regclass[]) AS i, piramid_hnsw_info(i);
SELECT found_themselves('t_vector', '<->', 'id BETWEEN 401 AND 500') AS vector, found_themselves('t_half', '<=>', 'id BETWEEN 401 AND 500') AS half, found_themselves('t_l1', '<+>', 'id BETWEEN 401 AND 500') AS l1,
	found_themselves('t_bit', '<~>', 'id BETWEEN 401 AND 500') AS bit, found_themselves('t_sparse', '<->', 'id BETWEEN 401 AND 500') AS sparse, found_themselves('t_compact', '<->', 'id BETWEEN 401 AND 500') AS compact,
	found_themselves('t_large', '<->', 'id BETWEEN 401 AND 500') AS large;

-- Where there is no room for more, they move to their nodes, and no row is lost.
CHECKPOINT;
SELECT add_rows(501, 1400);
SELECT i, piramid_overflow_links(i) > 0 AS overflow FROM unnest('{i_vector,i_half,i_l1,i_bit,i_sparse,i_compact,i_large}'::regclass[]) AS i;
SELECT found_themselves('t_vector', '<->', 'id BETWEEN 1 AND 1400') AS vector, found_themselves('t_half', '<=>', 'id BETWEEN 1 AND 1400') AS half, found_themselves('t_l1', '<+>', 'id BETWEEN 1 AND 1400') AS l1,
	found_themselves('t_bit', '<~>', 'id BETWEEN 1 AND 1400') AS bit, found_themselves('t_sparse', '<->', 'id BETWEEN 1 AND 1400') AS sparse, found_themselves('t_compact', '<->', 'id BETWEEN 1 AND 1400') AS compact,
	found_themselves('t_large', '<->', 'id BETWEEN 1 AND 1400') AS large;

-- Vacuum drops those from and to dead rows.
SELECT sum(piramid_overflow_links(i)) AS before FROM unnest('{i_vector,i_half,i_l1,i_bit,i_sparse,i_compact,i_large}'::regclass[]) AS i \gset
DO $$ BEGIN
	DELETE FROM t_vector WHERE id % 3 = 0; DELETE FROM t_half WHERE id % 3 = 0; DELETE FROM t_l1 WHERE id % 3 = 0;
	DELETE FROM t_bit WHERE id % 3 = 0; DELETE FROM t_sparse WHERE id % 3 = 0; DELETE FROM t_compact WHERE id % 3 = 0;
	DELETE FROM t_large WHERE id % 3 = 0;
END $$;
VACUUM t_vector, t_half, t_l1, t_bit, t_sparse, t_compact, t_large;
SELECT sum(piramid_overflow_links(i)) < :before AS fewer, sum(dead_nodes) AS dead
FROM unnest('{i_vector,i_half,i_l1,i_bit,i_sparse,i_compact,i_large}'::regclass[]) AS i, piramid_hnsw_info(i);
SELECT found_themselves('t_vector', '<->', 'id BETWEEN 1 AND 1400') AS vector, found_themselves('t_half', '<=>', 'id BETWEEN 1 AND 1400') AS half, found_themselves('t_l1', '<+>', 'id BETWEEN 1 AND 1400') AS l1,
	found_themselves('t_bit', '<~>', 'id BETWEEN 1 AND 1400') AS bit, found_themselves('t_sparse', '<->', 'id BETWEEN 1 AND 1400') AS sparse, found_themselves('t_compact', '<->', 'id BETWEEN 1 AND 1400') AS compact,
	found_themselves('t_large', '<->', 'id BETWEEN 1 AND 1400') AS large;
-- Rows in the freed places are not what the old links meant.
CHECKPOINT;
SELECT add_rows(1401, 1600);
SELECT found_themselves('t_vector', '<->', 'id BETWEEN 1 AND 1600') AS vector, found_themselves('t_half', '<=>', 'id BETWEEN 1 AND 1600') AS half, found_themselves('t_l1', '<+>', 'id BETWEEN 1 AND 1600') AS l1,
	found_themselves('t_bit', '<~>', 'id BETWEEN 1 AND 1600') AS bit, found_themselves('t_sparse', '<->', 'id BETWEEN 1 AND 1600') AS sparse, found_themselves('t_compact', '<->', 'id BETWEEN 1 AND 1600') AS compact,
	found_themselves('t_large', '<->', 'id BETWEEN 1 AND 1600') AS large;
SELECT count(*) = (SELECT count(*) FROM t_vector) AS all_rows FROM (SELECT id FROM t_vector ORDER BY v <-> (SELECT v FROM t_vector LIMIT 1)) s;

-- Without WAL there is no reason to wait.
CREATE UNLOGGED TABLE u (id integer, v vector(24));
INSERT INTO u SELECT * FROM t_vector;
CREATE INDEX i_u ON u USING hnsw (v vector_l2_ops);
CHECKPOINT;
INSERT INTO u SELECT -i, some_vector(-i, 24) FROM generate_series(1, 100) i;
SELECT version, piramid_overflow_links('i_u') FROM piramid_hnsw_info('i_u');
CREATE TEMPORARY TABLE temp AS SELECT * FROM t_vector;
CREATE INDEX i_temp ON temp USING hnsw (v vector_l2_ops);
CHECKPOINT;
INSERT INTO temp SELECT -i, some_vector(-i, 24) FROM generate_series(1, 100) i;
SELECT version, piramid_overflow_links('i_temp') FROM piramid_hnsw_info('i_temp');

-- What has none, or is no such index
SELECT piramid_overflow_links('pg_class');
SELECT piramid_overflow_links(NULL) IS NULL AS null;

-- A new index has none.
REINDEX INDEX i_vector;
SELECT version, piramid_overflow_links('i_vector') FROM piramid_hnsw_info('i_vector');
TRUNCATE t_half;
SELECT version, piramid_overflow_links('i_half') FROM piramid_hnsw_info('i_half');
SELECT count(*) FROM (SELECT id FROM t_half ORDER BY v <=> some_vector(1, 24)::vector::halfvec) s;

DROP TABLE t_vector, t_half, t_l1, t_bit, t_sparse, t_compact, t_large, u, temp;
DROP FUNCTION some_vector, add_rows;
