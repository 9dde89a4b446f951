-- hnsw: every kind of index, its options and its errors
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :check
\i :error_of
\set ECHO all
CREATE FUNCTION made(n int, dim int DEFAULT 3) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(sin(n * (i + .37) * 7.13) + n % 7 * .1 ORDER BY i)::vector FROM generate_series(1, dim) AS i
$$;
SET hnsw.ef_search = 1000;
SET max_parallel_maintenance_workers = 0;
SET jit = off;
CREATE TABLE t (id int PRIMARY KEY, v vector(3), part int DEFAULT 1, free vector, a real[]);
INSERT INTO t SELECT n, made(n), n % 3, made(n, 5), made(n)::real[] FROM generate_series(1, 300) AS n;
INSERT INTO t VALUES (301, NULL);

-- what cannot be indexed
SELECT error_of('CREATE INDEX ON t USING hnsw (v)');
SELECT error_of('CREATE INDEX ON t USING hnsw (free vector_l2_ops)');
SELECT error_of('CREATE INDEX ON t USING hnsw ((v + v) vector_l2_ops)');
SELECT error_of('CREATE INDEX ON t USING hnsw (subvector(v, 1, 2) vector_l2_ops)');
SELECT error_of('CREATE INDEX ON t USING hnsw (v vector_l2_ops, v vector_l2_ops)');
SELECT error_of('CREATE INDEX ON t USING hnsw (id)');
SELECT error_of('CREATE UNIQUE INDEX ON t USING hnsw (v vector_l2_ops)');
SELECT error_of('CREATE INDEX ON t USING hnsw (v vector_l2_ops) INCLUDE (id)');
SELECT error_of('CREATE INDEX ON t USING hnsw (id vector_l2_ops)');
SELECT error_of('CREATE INDEX ON t USING hnsw (a vector_l2_ops)');
SELECT error_of('CREATE INDEX ON t USING hnsw (v vector_ops)');
SELECT error_of('CREATE INDEX ON t USING hnsw (v vector_l2_ops DESC)');
SELECT error_of('CREATE INDEX ON t USING hnsw (v vector_l2_ops NULLS FIRST)');
SELECT error_of('CREATE INDEX ON t USING btree (v vector_l2_ops)');

-- options
SELECT option, error_of(format('CREATE INDEX t_o ON t USING hnsw (v vector_l2_ops) WITH (%s)', option)) FROM unnest(ARRAY[
	'm = 1', 'm = 101', 'm = -1', 'm = 2147483648', 'm = x', 'm',
	'ef_construction = 3', 'ef_construction = 1001', 'ef_construction = 31', 'ef_construction = 4',
	'm = 33', 'm = 100', 'm = 100, ef_construction = 199', 'm = 3, ef_construction = 5',
	'lists = 100', 'fillfactor = 70', 'm = 4, m = 5'
]) WITH ORDINALITY AS t (option, n) ORDER BY n;
CREATE FUNCTION with_options(option text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('CREATE INDEX t_o ON t USING hnsw (v vector_l2_ops) WITH (%s)', option);
	SELECT format('m %s, ef_construction %s, enough links: %s', m, ef_construction, degree >= 2 * m)
	INTO result FROM piramid_hnsw_info('t_o');
	result := result || ', ' || check_scan('t', '<->', '[1,2,3]');
	DROP INDEX t_o;
	RETURN result;
END $$;
SELECT option, with_options(option) FROM unnest(ARRAY[
	'm = 16', 'm = 2', 'm = 2, ef_construction = 4', 'm = 3, ef_construction = 6', 'm = 8', 'm = 32', 'm = 48, ef_construction = 96',
	'm = 64, ef_construction = 128', 'm = 100, ef_construction = 200', 'm = 100, ef_construction = 1000', 'ef_construction = 32'
]) WITH ORDINALITY AS t (option, n) ORDER BY n;
CREATE INDEX t_o ON t USING hnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 40);
SELECT reloptions FROM pg_class WHERE relname = 't_o';
-- new options take effect when the index is built again
ALTER INDEX t_o SET (m = 10);
SELECT m, ef_construction FROM piramid_hnsw_info('t_o');
REINDEX INDEX t_o;
SELECT m, ef_construction FROM piramid_hnsw_info('t_o');
ALTER INDEX t_o RESET (m, ef_construction);
REINDEX INDEX t_o;
SELECT m, ef_construction FROM piramid_hnsw_info('t_o');
ALTER INDEX t_o SET (m = 200);
DROP INDEX t_o;

-- settings
SHOW hnsw.ef_search;
SELECT set_config('hnsw.ef_search', '1', false), set_config('hnsw.ef_search', '1000', false);
SELECT error_of('SET hnsw.ef_search = 0'), error_of('SET hnsw.ef_search = 1001');
SELECT boot_val, min_val, max_val FROM pg_settings WHERE name = 'hnsw.ef_search';

-- operator classes
SELECT opcname, opcdefault, amvalidate(pg_opclass.oid), opcintype::regtype
FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod WHERE amname = 'hnsw' AND opcname LIKE 'vector%' ORDER BY opcname;
SELECT pg_indexam_has_property(oid, p) AS index, p FROM pg_am, unnest('{can_order,can_unique,can_multi_col,can_exclude,can_include}'::text[]) AS p WHERE amname = 'hnsw';
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
SELECT p, pg_index_column_has_property('t_v', 1, p) FROM unnest('{asc,desc,orderable,returnable,search_array,search_nulls}'::text[]) AS p;
SELECT p, pg_index_has_property('t_v', p) FROM unnest('{clusterable,index_scan,bitmap_scan,backward_scan}'::text[]) AS p;
SELECT error_of('CLUSTER t USING t_v');

-- REINDEX, also concurrently, of the table too
REINDEX INDEX t_v;
SELECT check_scan('t', '<->', '[1,2,3]');
REINDEX INDEX CONCURRENTLY t_v;
REINDEX TABLE CONCURRENTLY t;
SELECT check_scan('t', '<->', '[1,2,3]');
DROP INDEX t_v;
CREATE INDEX CONCURRENTLY t_v ON t USING hnsw (v vector_l2_ops);
SELECT check_scan('t', '<->', '[1,2,3]'), indisvalid FROM pg_index WHERE indexrelid = 't_v'::regclass;
VACUUM FULL t;
SELECT check_scan('t', '<->', '[1,2,3]');
ALTER INDEX t_v RENAME TO t_w;
ALTER TABLE t RENAME COLUMN id TO number;
ALTER TABLE t RENAME COLUMN number TO id;
SELECT check_scan('t', '<->', '[1,2,3]');

-- ALTER TYPE rewrites
ALTER TABLE t ALTER v TYPE vector(2) USING subvector(v, 1, 2)::vector(2);
SELECT dimensions FROM piramid_hnsw_info('t_w');
SELECT check_scan('t', '<->', '[1,2]');
ALTER TABLE t ALTER v TYPE vector(3) USING (v || '[1]')::vector(3);
SELECT dimensions FROM piramid_hnsw_info('t_w');
SELECT error_of('ALTER TABLE t ALTER v TYPE real[]');
UPDATE t SET v = made(id) WHERE id <= 300;
SELECT check_scan('t', '<->', '[1,2,3]');
-- a column that loses its dimensions keeps the index, which takes no others
ALTER TABLE t ALTER v TYPE vector;
INSERT INTO t (id, v) VALUES (302, '[1,2,4]');
SELECT error_of('INSERT INTO t (id, v) VALUES (303, ''[1,2]'')');
SELECT error_of('INSERT INTO t (id, v) VALUES (303, ''[1,2,3,4]'')');
SELECT check_scan('t', '<->', '[1,2,3]');
SELECT error_of('REINDEX INDEX t_w');
DROP INDEX t_w;
DELETE FROM t WHERE id = 302;
ALTER TABLE t ALTER v TYPE vector(3);

-- partial
CREATE INDEX t_part ON t USING hnsw (v vector_l2_ops) WHERE part = 1;
SELECT heap_tids FROM piramid_hnsw_info('t_part');
INSERT INTO t SELECT n, made(n), n % 3 FROM generate_series(401, 460) AS n;
UPDATE t SET part = 1 WHERE id % 3 = 2;
UPDATE t SET part = 0 WHERE id % 30 = 1;
SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE part = 1 ORDER BY v <-> '[1,2,3]';
SELECT count(*), count(DISTINCT id), bool_and(part = 1) FROM (SELECT * FROM t WHERE part = 1 ORDER BY v <-> '[1,2,3]') AS x;
RESET enable_seqscan;
RESET enable_sort;
SELECT count(*) FROM t WHERE part = 1 AND v IS NOT NULL;
DROP INDEX t_part;

-- expressions
CREATE INDEX t_cast ON t USING hnsw ((free::vector(5)) vector_cosine_ops);
CREATE INDEX t_sub ON t USING hnsw ((subvector(free, 2, 2)::vector(2)) vector_l2_ops);
CREATE INDEX t_array ON t USING hnsw ((a::vector(3)) vector_ip_ops);
SELECT i, dimensions, heap_tids FROM unnest('{t_cast,t_sub,t_array}'::regclass[]) AS i, piramid_hnsw_info(i);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY free::vector(5) <=> '[1,2,3,4,5]' LIMIT 3;
SELECT id FROM t ORDER BY free::vector(5) <=> made(9, 5) LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY subvector(free, 2, 2)::vector(2) <-> '[1,2]' LIMIT 1;
SELECT id FROM t ORDER BY subvector(free, 2, 2)::vector(2) <-> subvector(made(9, 5), 2, 2) LIMIT 1;
SELECT (SELECT id FROM t ORDER BY a::vector(3) <#> '[1,1,1]' LIMIT 1) =
	(SELECT id FROM t WHERE a IS NOT NULL ORDER BY (a::vector <#> '[1,1,1]') + 0 LIMIT 1) AS same;
RESET enable_seqscan;
-- a value of other dimensions
SELECT error_of('INSERT INTO t (id, free) VALUES (500, ''[1,2]'')');
SELECT error_of('INSERT INTO t (id, v) VALUES (500, ''[1,2]'')');
INSERT INTO t (id, free) VALUES (501, made(501, 5));
DROP TABLE t;
CREATE TABLE mixed (id int, v vector);
INSERT INTO mixed VALUES (1, '[1,2]'), (2, '[1,2,3]');
SELECT error_of('CREATE INDEX ON mixed USING hnsw ((v::vector(3)) vector_l2_ops)');
CREATE INDEX ON mixed USING hnsw ((v::vector(3)) vector_l2_ops) WHERE vector_dims(v) = 3;
CREATE INDEX ON mixed USING hnsw ((v::vector(2)) vector_l2_ops) WHERE vector_dims(v) = 2;
INSERT INTO mixed VALUES (3, '[2,3]'), (4, '[2,3,4]'), (5, '[1]');
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM mixed WHERE vector_dims(v) = 2 ORDER BY v::vector(2) <-> '[0,0]';
SELECT id FROM mixed WHERE vector_dims(v) = 2 ORDER BY v::vector(2) <-> '[0,0]';
SELECT id FROM mixed WHERE vector_dims(v) = 3 ORDER BY v::vector(3) <-> '[2,2,3]';
RESET enable_seqscan;
DROP TABLE mixed;

-- unlogged, and back
CREATE UNLOGGED TABLE u (id int, v vector(3));
CREATE INDEX u_v ON u USING hnsw (v vector_l2_ops);
SELECT pg_relation_size('u_v', 'init') > 0 AS has_init_fork;
INSERT INTO u SELECT n, made(n) FROM generate_series(1, 100) AS n;
SELECT check_scan('u', '<->', '[1,2,3]');
ALTER TABLE u SET LOGGED;
SELECT check_scan('u', '<->', '[1,2,3]');
ALTER TABLE u SET UNLOGGED;
SELECT check_scan('u', '<->', '[1,2,3]');
DROP TABLE u;

-- temporary
CREATE TEMP TABLE tmp (id int, v vector(3));
CREATE INDEX ON tmp USING hnsw (v vector_l2_ops);
INSERT INTO tmp SELECT n, made(n) FROM generate_series(1, 100) AS n;
SELECT check_scan('tmp', '<->', '[1,2,3]');
DELETE FROM tmp WHERE id < 50;
VACUUM tmp;
SELECT check_scan('tmp', '<->', '[1,2,3]');
DROP TABLE tmp;
CREATE TEMP TABLE tmp (id int, v vector(3)) ON COMMIT DELETE ROWS;
CREATE INDEX ON tmp USING hnsw (v vector_l2_ops);
BEGIN;
INSERT INTO tmp SELECT n, made(n) FROM generate_series(1, 100) AS n;
SELECT check_scan('tmp', '<->', '[1,2,3]');
COMMIT;
SELECT check_scan('tmp', '<->', '[1,2,3]');
BEGIN;
INSERT INTO tmp SELECT n, made(n) FROM generate_series(1, 10) AS n;
SELECT check_scan('tmp', '<->', '[1,2,3]');
COMMIT;
DROP TABLE tmp;

-- in a tablespace
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE hnsw_space LOCATION '';
CREATE TABLE s (id int, v vector(3));
INSERT INTO s SELECT n, made(n) FROM generate_series(1, 100) AS n;
CREATE INDEX s_v ON s USING hnsw (v vector_l2_ops) TABLESPACE hnsw_space;
SELECT check_scan('s', '<->', '[1,2,3]');
ALTER INDEX s_v SET TABLESPACE pg_default;
INSERT INTO s SELECT n, made(n) FROM generate_series(101, 200) AS n;
SELECT check_scan('s', '<->', '[1,2,3]');
REINDEX (TABLESPACE hnsw_space) INDEX s_v;
SELECT check_scan('s', '<->', '[1,2,3]');
DROP TABLE s;
DROP TABLESPACE hnsw_space;

-- partitioned
CREATE TABLE p (id int, v vector(3)) PARTITION BY LIST (id);
CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0);
INSERT INTO p SELECT 0, made(n) FROM generate_series(1, 200) AS n;
CREATE INDEX p_v ON p USING hnsw (v vector_l2_ops) WITH (m = 12);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
INSERT INTO p SELECT n % 2, made(n) FROM generate_series(201, 500) AS n;
CREATE TABLE p2 (id int, v vector(3));
INSERT INTO p2 SELECT 2, made(n) FROM generate_series(501, 550) AS n;
CREATE INDEX p2_other ON p2 USING hnsw (v vector_l2_ops) WITH (m = 12);
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
SELECT relid, parentrelid, isleaf FROM pg_partition_tree('p_v') ORDER BY relid::text;
SELECT m, heap_tids FROM piramid_hnsw_info('p1_v_idx');
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM p ORDER BY v <-> '[1,2,3]' LIMIT 5;
SELECT count(*), bool_and(d >= before) FROM (SELECT d, lag(d, 1, 0) OVER (ORDER BY n) AS before FROM
	(SELECT row_number() OVER () AS n, d FROM (SELECT v <-> '[1,2,3]' AS d FROM p ORDER BY v <-> '[1,2,3]' LIMIT 550) AS x) AS y) AS z;
RESET enable_seqscan;
SELECT error_of('SELECT piramid_hnsw_info(''p_v'')');
ALTER TABLE p DETACH PARTITION p2;
DROP TABLE p, p2;

-- materialized view
CREATE TABLE base AS SELECT n AS id, made(n)::vector(3) AS v FROM generate_series(1, 100) AS n;
CREATE MATERIALIZED VIEW mv AS SELECT * FROM base;
CREATE INDEX ON mv USING hnsw (v vector_l2_ops);
CREATE UNIQUE INDEX ON mv (id);
INSERT INTO base VALUES (101, '[1,2,3]');
REFRESH MATERIALIZED VIEW mv;
DELETE FROM base WHERE id < 20;
REFRESH MATERIALIZED VIEW CONCURRENTLY mv;
SELECT check_scan('mv', '<->', '[1,2,3]');
DROP MATERIALIZED VIEW mv;
DROP TABLE base;

-- dimensions: nodes that share a page, fill one, or span several
CREATE FUNCTION check_shape(dim int, rows int, opclass text, op text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	results text[];
	q vector := made(-1, dim);
	info record;
BEGIN
	EXECUTE format('CREATE TABLE x (id int PRIMARY KEY, v vector(%s))', dim);
	ALTER TABLE x ALTER v SET STORAGE EXTERNAL;
	INSERT INTO x SELECT n, made(n, dim) FROM generate_series(1, rows) AS n;
	EXECUTE format('CREATE INDEX x_v ON x USING hnsw (v %s)', opclass);
	results := results || check_scan('x', op, q);
	INSERT INTO x SELECT n, made(n, dim) FROM generate_series(rows + 1, rows * 2) AS n;
	results := results || check_scan('x', op, q);
	UPDATE x SET v = made(id + 1000, dim) WHERE id % 4 = 1;
	DELETE FROM x WHERE id % 4 = 2;
	results := results || check_scan('x', op, q);
	SELECT * INTO info FROM piramid_hnsw_info('x_v');
	IF info.dimensions <> dim OR info.heap_tids < rows OR info.degree < 32 OR info.nodes > info.heap_tids OR
		info.pages < info.nodes / info.nodes_per_page OR info.levels < 1 OR info.version <> 3 THEN
		results := results || info::text;
	END IF;
	RETURN array_to_string(results, ', ') || ', ' || info.storage_precision || ', ' || info.code_bits || ' bits';
END $$;
SELECT check_shape(1, 30, 'vector_l2_ops', '<->');
VACUUM x;
SELECT check_scan('x', '<->', '[0.5]');
DROP TABLE x;
CREATE FUNCTION check_shapes(opclass text, op text, dims int[]) RETURNS TABLE (dim int, result text) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH dim IN ARRAY dims LOOP
		result := check_shape(dim, 30, opclass, op);
		RETURN NEXT;
		DROP TABLE x;
	END LOOP;
END $$;
SELECT * FROM check_shapes('vector_l2_ops', '<->', '{1,2,3,63,64,65,100,768,1536,1600}');
SELECT * FROM check_shapes('vector_cosine_ops', '<=>', '{1,2,64,65,768,1600}');
SELECT * FROM check_shapes('vector_ip_ops', '<#>', '{1,2,64,65,768,1600}');
SELECT * FROM check_shapes('vector_l1_ops', '<+>', '{1,2,64,65,768,1600}');
-- and after VACUUM, where freed nodes are used again
SELECT check_shape(3072, 20, 'vector_l2_ops', '<->');
VACUUM x;
SELECT check_scan('x', '<->', made(1, 3072));
SELECT pages FROM piramid_hnsw_info('x_v') \gset
INSERT INTO x SELECT n, made(n, 3072) FROM generate_series(101, 110) AS n;
SELECT check_scan('x', '<->', made(1, 3072));
-- few new pages: only a rare node of an upper level needs some
SELECT pages < :pages + 12 AS reused, nodes, heap_tids, dead_nodes, nodes_per_page FROM piramid_hnsw_info('x_v');
DROP TABLE x;
SELECT check_shape(16000, 10, 'vector_cosine_ops', '<=>');
VACUUM x;
SELECT check_scan('x', '<=>', made(1, 16000));
SELECT pages FROM piramid_hnsw_info('x_v') \gset
INSERT INTO x SELECT n, made(n, 16000) FROM generate_series(101, 105) AS n;
SELECT check_scan('x', '<=>', made(1, 16000));
SELECT pages < :pages + 44 AS reused, nodes, heap_tids, dead_nodes, nodes_per_page < 1 AS spans FROM piramid_hnsw_info('x_v');
DROP TABLE x;
SELECT check_shape(16000, 6, 'vector_l1_ops', '<+>');
DROP TABLE x;

-- piramid_hnsw_info, and who may call it
CREATE TABLE i (id int PRIMARY KEY, v vector(3));
CREATE INDEX i_v ON i USING hnsw (v vector_cosine_ops) WITH (m = 5, ef_construction = 20);
SELECT version, dimensions, metric, m, ef_construction, levels, entry_point, nodes, dead_nodes, upper_nodes, heap_tids, pages FROM piramid_hnsw_info('i_v');
INSERT INTO i VALUES (1, '[1,2,3]'), (2, '[2,4,6]'), (3, '[1,1,1]'), (4, NULL), (5, '[0,0,0]');
SELECT nodes + upper_nodes > 0 AS some, heap_tids FROM piramid_hnsw_info('i_v');
SELECT piramid_hnsw_info(NULL) IS NULL AS null;
SELECT error_of('SELECT piramid_hnsw_info(''i'')');
SELECT error_of('SELECT piramid_hnsw_info(''i_pkey'')');
SELECT error_of('SELECT piramid_hnsw_info(''pg_stats'')');
SELECT error_of('SELECT piramid_hnsw_info(''no_such_index'')');
SELECT error_of('SELECT piramid_hnsw_info(0)') ~ 'does not exist' AS no_relation;
CREATE ROLE regress_hnsw_user;
SET ROLE regress_hnsw_user;
SELECT error_of('SELECT piramid_hnsw_info(''i_v'')');
RESET ROLE;
GRANT SELECT ON i TO regress_hnsw_user;
SET ROLE regress_hnsw_user;
SELECT metric FROM piramid_hnsw_info('i_v');
RESET ROLE;
DROP TABLE i;
DROP ROLE regress_hnsw_user;

DROP FUNCTION made, with_options, check_shape, check_shapes;
