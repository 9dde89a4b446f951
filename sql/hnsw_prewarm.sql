-- piramid_prewarm: an index into shared buffers.
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all

CREATE TABLE w (id int PRIMARY KEY, v vector(8));
INSERT INTO w SELECT i, ARRAY(SELECT (i * j * 7919 % 1009)::real FROM generate_series(1, 8) j)::vector
FROM generate_series(1, 3000) i;
CREATE INDEX w_v ON w USING hnsw (v vector_l2_ops);
CREATE INDEX w_iv ON w USING ivfflat (v vector_l2_ops);

-- Each block once, upper levels or not.
SELECT piramid_prewarm('w_v') = pg_relation_size('w_v') / current_setting('block_size')::int AS all_blocks;
SELECT piramid_prewarm('w_iv') = pg_relation_size('w_iv') / current_setting('block_size')::int AS all_blocks;
INSERT INTO w SELECT i, ARRAY(SELECT (i * j * 7919 % 1009)::real FROM generate_series(1, 8) j)::vector
FROM generate_series(3001, 3500) i;
SELECT piramid_prewarm('w_v') = pg_relation_size('w_v') / current_setting('block_size')::int AS all_blocks;
SELECT levels > 1 AS several_levels FROM piramid_hnsw_info('w_v');

-- An empty index; a temporary one, which has buffers of its own.
CREATE TABLE e (v vector(3));
CREATE INDEX e_v ON e USING hnsw (v vector_cosine_ops);
SELECT piramid_prewarm('e_v');
CREATE TEMPORARY TABLE l AS SELECT id, v FROM w;
CREATE INDEX l_v ON l USING hnsw (v vector_l1_ops);
SELECT piramid_prewarm('l_v') = pg_relation_size('l_v') / current_setting('block_size')::int AS all_blocks;
-- Nodes that span pages.
CREATE TABLE s (v vector(16000));
INSERT INTO s SELECT array_fill(i::real, ARRAY[16000])::vector FROM generate_series(1, 40) i;
CREATE INDEX s_v ON s USING hnsw (v vector_l1_ops);
SELECT piramid_prewarm('s_v') = pg_relation_size('s_v') / current_setting('block_size')::int AS all_blocks;

-- What is refused.
SELECT piramid_prewarm(NULL) IS NULL AS null;
SELECT error_of('SELECT piramid_prewarm(''w'')');
SELECT error_of('SELECT piramid_prewarm(''w_pkey'')');
SELECT error_of('SELECT piramid_prewarm(''no_such_index'')');
CREATE TABLE p (i int, v vector(3)) PARTITION BY RANGE (i);
CREATE INDEX p_v ON p USING hnsw (v vector_l2_ops);
SELECT error_of('SELECT piramid_prewarm(''p_v'')');
CREATE ROLE regress_prewarm_user;
SET ROLE regress_prewarm_user;
SELECT error_of('SELECT piramid_prewarm(''w_v'')');
RESET ROLE;
GRANT SELECT ON w TO regress_prewarm_user;
SET ROLE regress_prewarm_user;
SELECT piramid_prewarm('w_v') > 0 AS allowed;
RESET ROLE;

DROP TABLE w, e, l, s, p;
DROP ROLE regress_prewarm_user;
