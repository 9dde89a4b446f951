-- piramid_check and piramid_repair: who may, of what, and a sound index
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
CREATE TABLE t (id int PRIMARY KEY, v vector(3), tenant int);
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, tenant);
SELECT * FROM piramid_check('t_v', true);
SELECT * FROM piramid_repair('t_v');
INSERT INTO t SELECT n, ARRAY[n % 10, n / 10 % 10, n / 100], n % 7 FROM generate_series(1, 1500) AS n;
INSERT INTO t VALUES (-1, NULL, 1), (-2, '[0,0,0]', NULL);
SELECT * FROM piramid_check('t_v', true);
DELETE FROM t WHERE id % 3 = 0;
UPDATE t SET tenant = 8 WHERE id % 5 = 0;
VACUUM t;
SELECT * FROM piramid_check('t_v', heapallindexed => true);
SELECT * FROM piramid_check('t_v', sample => 0.5);
SELECT * FROM piramid_repair('t_v');

-- partial, of an expression, of zero vectors, as another access method
CREATE INDEX t_part ON t USING hnsw (((v + '[1,0,0]')::vector(3)) vector_cosine_ops) WHERE id % 2 = 0;
CREATE INDEX t_ivf ON t USING ivfflat (v vector_cosine_ops);
SELECT * FROM piramid_check('t_part', true);
SELECT * FROM piramid_check('t_ivf', true);
-- rows that are not committed, and a snapshot that does not see them
BEGIN;
INSERT INTO t SELECT n, ARRAY[n, n, n], 1 FROM generate_series(2001, 2100) AS n;
SELECT * FROM piramid_check('t_v', true);
ROLLBACK;
SELECT * FROM piramid_check('t_v', true);
CREATE TEMP TABLE own AS TABLE t;
CREATE INDEX own_v ON own USING hnsw (v vector_ip_ops);
SELECT * FROM piramid_check('own_v', true);
CREATE UNLOGGED TABLE unlogged AS TABLE t;
CREATE INDEX unlogged_v ON unlogged USING hnsw (v vector_l1_ops);
SELECT * FROM piramid_check('unlogged_v', true);

-- what cannot be checked
CREATE TABLE parts (id int, v vector(3)) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE INDEX parts_v ON parts USING hnsw (v vector_l2_ops);
\set VERBOSITY terse
CREATE VIEW functions AS SELECT * FROM unnest(ARRAY['piramid_check', 'piramid_repair']) AS name;
SELECT name, error_of(format('SELECT * FROM %s(4294967295::oid::regclass)', name)) FROM functions;
SELECT name, error_of(format('SELECT * FROM %s(''t'')', name)) FROM functions;
SELECT name, error_of(format('SELECT * FROM %s(''t_pkey'')', name)) FROM functions;
SELECT name, error_of(format('SELECT * FROM %s(''functions'')', name)) FROM functions;
SELECT name, error_of(format('SELECT * FROM %s(''parts_v'')', name)) FROM functions;
SELECT * FROM piramid_check('part_v_idx', true);
SELECT error_of($$SELECT * FROM piramid_check('t_v', sample => 0)$$), error_of($$SELECT * FROM piramid_check('t_v', sample => 'NaN')$$),
	error_of($$SELECT * FROM piramid_check('t_v', true, 0.5)$$);
SELECT * FROM piramid_check(NULL);
BEGIN READ ONLY;
SELECT * FROM piramid_check('t_v', true);
SELECT * FROM piramid_repair('t_v');
ROLLBACK;

-- who may
CREATE ROLE regress_check_user;
GRANT SELECT ON functions TO regress_check_user;
SET ROLE regress_check_user;
SELECT name, error_of(format('SELECT * FROM %s(''t_v'')', name)) FROM functions;
RESET ROLE;
GRANT EXECUTE ON FUNCTION piramid_check, piramid_repair TO regress_check_user;
SET ROLE regress_check_user;
SELECT name, error_of(format('SELECT * FROM %s(''t_v'')', name)) FROM functions;
RESET ROLE;

-- a function in an index runs as the table's owner, whoever checks
CREATE FUNCTION shift(v vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE NOTICE 'as %', current_user;
	IF current_setting('test.fails', true) THEN
		RAISE 'it fails';
	END IF;
	RETURN v;
END $$;
CREATE TABLE theirs AS SELECT id, v FROM t WHERE id = 1;
ALTER TABLE theirs OWNER TO regress_check_user;
CREATE INDEX theirs_v ON theirs USING hnsw ((shift(v)::vector(3)) vector_l2_ops);
SELECT * FROM piramid_check('theirs_v', true);
-- its error is one, and can be caught
SET test.fails = on;
SELECT * FROM piramid_check('theirs_v', true);
BEGIN;
SELECT error_of($$SELECT * FROM piramid_check('theirs_v', true)$$);
SELECT count(*) FROM theirs;
COMMIT;

DROP VIEW functions;
DROP TABLE theirs, parts, own, unlogged, t;
DROP FUNCTION shift(vector);
REVOKE ALL ON FUNCTION piramid_check, piramid_repair FROM regress_check_user;
DROP ROLE regress_check_user;
