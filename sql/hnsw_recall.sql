-- What an index finds of the truth: piramid_recall
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
CREATE TABLE t (id int PRIMARY KEY, bucket int, v vector(12), h halfvec(12), s sparsevec(12), b bit(12));
INSERT INTO t (id, bucket, v)
SELECT n, n % 50, ARRAY(SELECT sin(n * i * i + i) FROM generate_series(1, 12) AS i)::vector
FROM generate_series(1, 2000) AS n;
UPDATE t SET h = v::halfvec, s = v::sparsevec, b = (id * 7919 % 4096)::bit(12);
VACUUM ANALYZE t;
-- recall of an index, as far as it is the same in each run; below 0.9 it is told
CREATE FUNCTION seen(index regclass, queries int, k int, filter text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT format('found %s, interval %s, timed %s, searched %s', least(recall, 0.9), low <= recall AND recall <= high AND high <= 1,
		ms_index > 0 AND ms_exact > 0, width >= 2 * k)
	FROM piramid_recall(index, queries, k, filter)
$$;

-- every type and metric, partial, with filter columns, of an expression, compact
CREATE FUNCTION all_indexes() RETURNS TABLE (definition text, said text) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH definition IN ARRAY ARRAY[
		'(v vector_l2_ops)', '(v vector_ip_ops)', '(v vector_cosine_ops)', '(v vector_l1_ops)',
		'(h halfvec_l2_ops)', '(h halfvec_ip_ops)', '(h halfvec_cosine_ops)', '(h halfvec_l1_ops)',
		'(s sparsevec_l2_ops)', '(s sparsevec_ip_ops)', '(s sparsevec_cosine_ops)', '(s sparsevec_l1_ops)',
		'(b bit_hamming_ops)', '(b bit_jaccard_ops)', '(v vector_cosine_ops) WITH (layout = compact)',
		'(bucket, v vector_l2_ops, id)', '((v::halfvec(12)) halfvec_l2_ops)', '(v vector_l2_ops) WHERE bucket <> 3',
		'((binary_quantize(v)::bit(12)) bit_hamming_ops)'] LOOP
		EXECUTE 'CREATE INDEX one ON t USING hnsw ' || definition;
		SET LOCAL hnsw.ef_search = 60;
		said := seen('one', 25, 5);
		RETURN NEXT;
		DROP INDEX one;
	END LOOP;
END $$;
SELECT * FROM all_indexes();

-- another index of the same column does not help
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, bucket);
CREATE INDEX other ON t USING hnsw (v vector_l2_ops);
SELECT seen('t_v', 20, 10), (SELECT index FROM piramid_last_scan());
SELECT seen('other', 20, 10), (SELECT index FROM piramid_last_scan());
DROP INDEX other;

-- filters
SELECT seen('t_v', 20, 10, 'bucket < 25');
SELECT seen('t_v', 20, 10, 'id % 2 = 0 AND t.bucket IN (SELECT n FROM generate_series(1, 40) AS n) -- all of them');
SELECT recall, width FROM piramid_recall('t_v', 20, 100, 'bucket = 7');
-- a row's own node is neither searched nor returned: there is nothing else
SELECT error_of($$SELECT piramid_recall('t_v', filter => 'id = 7')$$);
INSERT INTO t (id, bucket, v) SELECT 5000, 7, v FROM t WHERE id = 7;
SELECT error_of($$SELECT piramid_recall('t_v', filter => 'id IN (7, 5000)')$$);
SELECT recall FROM piramid_recall('t_v', filter => 'id IN (8, 9)');
SELECT rows FROM piramid_last_scan();

-- queries from outside
SELECT least(recall, 0.9) AS found, width FROM piramid_recall('t_v', ARRAY(SELECT v + v FROM t WHERE id < 30), 5);
SELECT recall FROM piramid_recall('t_v', ARRAY(SELECT v FROM t WHERE id = 7), 1, 'id = 7');
SELECT error_of(format('SELECT piramid_recall(''t_v'', %s)', queries)) FROM (VALUES
	('ARRAY[]::vector[]'), ('ARRAY[NULL]::vector[]'), ('ARRAY[''[1,2]'']::vector[]'), ('ARRAY[1.5]'),
	('ARRAY(SELECT v::halfvec FROM t)')) AS q(queries);

-- what is no condition, or none of these rows
SELECT filter, error_of(format('SELECT piramid_recall(''t_v'', 10, 10, %L)', filter)) FROM (VALUES
	(''), ('bucket'), ('true; DROP TABLE t'), ('true) OR (true'), ('true LIMIT 1'), ('true UNION SELECT'), ('true ORDER BY id'),
	('true GROUP BY ()'), ('true FOR UPDATE'), ('nothing = 1'), ('v <-> $1 < 2'), ('false'), ('NULL'), ('1 / (id - id) > 0')) AS f(filter);
SELECT error_of(call) FROM (VALUES ($$SELECT piramid_recall('t_v', 0)$$), ($$SELECT piramid_recall('t_v', 10001)$$),
	($$SELECT piramid_recall('t_v', 10, 0)$$), ($$SELECT piramid_recall('t_v', 10, 10001)$$)) AS c(call);
SELECT piramid_recall('t_v', NULL::int), piramid_recall(NULL, 10), piramid_recall('t_v', 10, NULL);

-- what cannot be measured
CREATE TABLE p (id int, v vector(3)) PARTITION BY HASH (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE INDEX p_v ON p USING hnsw (v vector_l2_ops);
SELECT error_of($$SELECT piramid_recall('p_v')$$);
SELECT error_of($$SELECT piramid_recall('p1_v_idx')$$);
INSERT INTO p VALUES (1, '[1,2,3]'), (2, '[1,2,4]');
SELECT recall FROM piramid_recall('p1_v_idx');
CREATE TABLE z (v vector(3));
INSERT INTO z VALUES ('[0,0,0]'), (NULL);
CREATE INDEX z_v ON z USING hnsw (v vector_cosine_ops);
SELECT error_of($$SELECT piramid_recall('z_v')$$);
DROP TABLE p, z;

-- settings come back, also after an error, and are of no use to it
SET enable_indexscan = off;
SELECT seen('t_v', 10, 10);
SELECT error_of($$SELECT piramid_recall('t_v', 10, 10, '1 / (id - 100) > -1')$$);
SELECT current_setting('enable_indexscan'), current_setting('enable_seqscan'), current_setting('enable_sort');
RESET enable_indexscan;

-- row-level security, and no privilege at all
CREATE ROLE regress_recall_user;
SET ROLE regress_recall_user;
SELECT error_of($$SELECT piramid_recall('t_v')$$);
RESET ROLE;
GRANT SELECT ON t TO regress_recall_user;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY none ON t USING (id BETWEEN 7 AND 8);
SET ROLE regress_recall_user;
SELECT recall FROM piramid_recall('t_v', 10, 1);
SELECT error_of($$SELECT piramid_recall('t_v', filter => 'id > 8')$$);
RESET ROLE;

DROP FUNCTION seen, all_indexes;
DROP TABLE t;
DROP ROLE regress_recall_user;
