-- All rows up to a distance, by the index
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
SELECT setseed(0.75);
CREATE TABLE t (id int PRIMARY KEY, bucket int, v vector(8), h halfvec(8), s sparsevec(8), b bit(16));
INSERT INTO t (id, bucket, v)
SELECT n, n % 10, ARRAY(SELECT random() - 0.5 FROM generate_series(1, 8) WHERE n > 0)::vector FROM generate_series(1, 4000) AS n;
UPDATE t SET h = v::halfvec, s = v::sparsevec, b = (id * 7919 % 65536)::bit(16);
-- rows that have moved on their pages
UPDATE t SET bucket = bucket WHERE id % 3 = 0;

-- of every type and metric: as many as the distance says, of which one can be missed, and nothing else
CREATE FUNCTION compared(indexed text, op text, query text, rows int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	EXECUTE 'CREATE INDEX one ON t USING hnsw ' || indexed;
	EXECUTE format($q$
		WITH truth AS MATERIALIZED (SELECT id, %1$s %2$s %3$s AS d FROM t ORDER BY d LIMIT %4$s),
		found AS MATERIALIZED (SELECT t.id, w.distance AS d, %1$s %2$s %3$s AS exact
			FROM piramid_within('one', %3$s, (SELECT max(d) FROM truth)) AS w JOIN t ON t.ctid = w.tid)
		SELECT format('missing %%s, false %%s, distances %%s', (SELECT count(*) > 1 FROM truth WHERE id NOT IN (SELECT id FROM found)),
			(SELECT count(*) FROM found WHERE d > (SELECT max(d) FROM truth)), (SELECT bool_and(d = exact) FROM found))$q$,
		substr(split_part(indexed, ' ', 1), 2), op, query, rows) INTO said;
	DROP INDEX one;
	RETURN said;
END $$;
SELECT indexed, rows, compared('(' || indexed || ')', op, query, rows) FROM (VALUES
	('v vector_l2_ops', '<->', '''[1,1,0,0,0,0,0,0]''::vector'), ('v vector_ip_ops', '<#>', '''[1,1,0,0,0,0,0,0]''::vector'),
	('v vector_cosine_ops', '<=>', '''[1,1,0,0,0,0,0,0]''::vector'), ('v vector_l1_ops', '<+>', '''[1,1,0,0,0,0,0,0]''::vector'),
	('h halfvec_l2_ops', '<->', '''[1,1,0,0,0,0,0,0]''::halfvec'), ('s sparsevec_cosine_ops', '<=>', '''{1:1,2:1}/8''::sparsevec'),
	('b bit_hamming_ops', '<~>', '''1010101010101010''::bit(16)')) AS i(indexed, op, query), (VALUES (3), (300)) AS r(rows);

CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, bucket);
VACUUM ANALYZE t;
-- a search, as long as the distance is short
SELECT count(*) FROM piramid_within('t_v', (SELECT v FROM t WHERE id = 7), 0);
SELECT nodes < 1000 AS few, exact_pass FROM piramid_last_scan();
SELECT count(*) FROM piramid_within('t_v', '[9,9,9,9,9,9,9,9]'::vector, 1);
SELECT nodes < 1000 AS few, exact_pass FROM piramid_last_scan();
SELECT count(*) FROM piramid_within('t_v', '[9,9,9,9,9,9,9,9]'::vector, 'infinity');
SELECT count(*) FROM piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, 100);
SELECT count(*) FROM piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, -1);
-- whatever bounds other scans
SET hnsw.iterative_scan = strict_order;
SET hnsw.max_scan_tuples = 10;
SELECT count(*) FROM piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, 100);
SELECT current_setting('hnsw.iterative_scan'), current_setting('hnsw.max_scan_tuples');
RESET hnsw.iterative_scan;
RESET hnsw.max_scan_tuples;
-- filters
SELECT count(*), min(bucket), max(bucket) FROM piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, 100, 'bucket IN (3, 4)') JOIN t ON ctid = tid;
SELECT count(*) FROM piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, 100, 'false');
SELECT error_of($$SELECT piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, 1, 'true) OR (true')$$);
-- rows of this transaction, and dead ones
BEGIN;
DELETE FROM t WHERE id = 7;
SELECT count(*) FROM piramid_within('t_v', (SELECT v FROM t WHERE id = 8), 0) JOIN t ON ctid = tid;
INSERT INTO t (id, bucket, v) SELECT 5000, 1, v FROM t WHERE id = 8;
SELECT count(*) FROM piramid_within('t_v', (SELECT v FROM t WHERE id = 8), 0) JOIN t ON ctid = tid;
ROLLBACK;
-- another search for each row, and after an error
SELECT sum(n) FROM t, LATERAL (SELECT count(*) AS n FROM piramid_within('t_v', v, 0)) AS w WHERE id < 10;
SELECT error_of($$SELECT piramid_within('t_v', '[0,0]'::vector, 1)$$);
SELECT error_of($$SELECT piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::halfvec, 1)$$);
SELECT error_of($$SELECT piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, 'NaN')$$);
SELECT error_of($$SELECT piramid_within('t_pkey', '[0,0,0,0,0,0,0,0]'::vector, 1)$$);
SELECT count(*) FROM piramid_within('t_v', NULL::vector, 1);
SELECT count(*) FROM piramid_within('t_v', (SELECT v FROM t WHERE id = 8), NULL);
SELECT id FROM t WHERE id = 8;

-- row-level security
CREATE ROLE regress_within_user;
SET ROLE regress_within_user;
SELECT error_of($$SELECT piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, 1)$$);
RESET ROLE;
GRANT SELECT ON t TO regress_within_user;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY one ON t USING (bucket = 1);
SET ROLE regress_within_user;
SELECT count(*) FROM piramid_within('t_v', '[0,0,0,0,0,0,0,0]'::vector, 100);
RESET ROLE;

DROP FUNCTION compared;
DROP TABLE t;
DROP ROLE regress_within_user;
