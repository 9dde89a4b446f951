-- hnsw: filter columns of each type, by each operator, against a sequential scan
SET jit = off;
CREATE FUNCTION made(n int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT ARRAY[sin(n * 12.9), sin(n * 78.2), sin(n * 37.7)]::vector
$$;
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all

-- For each condition on table k: is all of it an index condition, how many rows
-- satisfy it by a sequential scan, and in how many rows does the index differ?
CREATE FUNCTION check_conditions(conditions text[]) RETURNS TABLE (condition text, pushed boolean, n int, differ int) LANGUAGE plpgsql AS $$
DECLARE
	line text;
	query text;
	by_index int[];
	by_table int[];
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
	FOREACH condition IN ARRAY conditions LOOP
		query := format('SELECT id FROM k WHERE %s ORDER BY v <-> ''[0.1,0.2,0.3]'' LIMIT 10000', condition);
		pushed := false;
		FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
			pushed := pushed OR line ~ 'Index Cond: ';
			IF line ~ 'Filter: ' THEN
				pushed := false;
				EXIT;
			END IF;
		END LOOP;
		EXECUTE format('SELECT array(%s)', query) INTO by_index;
		EXECUTE format('SELECT array(SELECT id FROM k WHERE (%s) IS TRUE AND random() < 2)', condition) INTO by_table;
		n := cardinality(by_table);
		SELECT count(*) INTO differ FROM ((SELECT unnest(by_index) EXCEPT ALL SELECT unnest(by_table)) UNION ALL
			(SELECT unnest(by_table) EXCEPT ALL SELECT unnest(by_index))) AS x;
		RETURN NEXT;
	END LOOP;
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true);
END $$;

-- The same with a column "k" that has these values, and NULL.
CREATE FUNCTION check_type(type text, column_values text[], conditions text[])
RETURNS TABLE (condition text, pushed boolean, n int, differ int) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE k (id int, v vector(3), k %s)', type);
	EXECUTE format('INSERT INTO k SELECT n, made(n %% 250), $1[1 + n %% (cardinality($1) + 1)]::%s FROM generate_series(1, 300) AS n', type)
		USING column_values;
	CREATE INDEX ON k USING hnsw (v vector_l2_ops, k);
	-- some rows come after the index
	EXECUTE format('INSERT INTO k SELECT n, made(n), $1[1 + n %% (cardinality($1) + 1)]::%s FROM generate_series(301, 400) AS n', type)
		USING column_values;
	RETURN QUERY SELECT * FROM check_conditions(conditions);
	DROP TABLE k;
END $$;

-- integers
SELECT * FROM check_type('smallint', '{-32768,-1,0,1,2,32767}', ARRAY[
	'k < 1', 'k <= 1', 'k = 1::smallint', 'k >= 1', 'k > 1', '1 < k', 'k BETWEEN -1 AND 1', 'k > 5 AND k < 5',
	'k < -32768', 'k > 32767', 'k <= -32768', 'k >= 32767', 'k < 100000', 'k > 100000', 'k = 100000', 'k > -100000', 'k < -100000',
	'k >= 9223372036854775807', 'k > (-9223372036854775807)::bigint', 'k = 1::bigint',
	'k IN (1, 2, 100000)', 'k IN (1, 2) AND k IN (2, 3)', 'k IN (1, 2) AND k > 1', 'k IN (100000, 100001)',
	'k = ANY (''{1,NULL,32767}''::smallint[])', 'k = ANY (array_fill(NULL::int, ARRAY[3]))', 'k = ANY (''{}''::bigint[])',
	'k < ANY (''{-1,1}''::int[])', 'k > ANY (''{-1,1,NULL}''::int[])', 'k = (SELECT NULL::smallint)', 'k < (SELECT 2)',
	'k IS NULL', 'k IS NOT NULL', 'k IS NULL AND k = 1', 'k <> 1', 'k = 1 OR k = 2 OR id = 3']);
SELECT * FROM check_type('integer', '{-2147483648,-1,0,1,2,2147483647}', ARRAY[
	'k < 1', 'k <= 1', 'k = 1', 'k >= 1', 'k > 1', 'k = 1::smallint', 'k < 3000000000', 'k > 3000000000', 'k = 3000000000', 'k > -3000000000',
	'k >= 2147483647', 'k > 2147483647', 'k < -2147483648', 'k <= -2147483648', 'k IN (1, 2)', 'k IN (1, 3000000000)', 'k IS NULL', 'k IS NOT NULL']);
SELECT * FROM check_type('bigint', '{-9223372036854775808,-3000000000,0,1,2,9223372036854775807}', ARRAY[
	'k < 1', 'k <= 1', 'k = 1', 'k >= 1', 'k > 1', 'k = 1::smallint', 'k > 3000000000', 'k = -3000000000',
	'k > 9223372036854775807', 'k >= 9223372036854775807', 'k < (-9223372036854775808)', 'k <= (-9223372036854775808)',
	'k IN (1, 2)', 'k IN (1, -3000000000)', 'k IS NULL', 'k IS NOT NULL']);
CREATE DOMAIN natural_number AS int CHECK (VALUE >= 0);
SELECT * FROM check_type('natural_number', '{0,1,2}', ARRAY['k = 1', 'k > 0', 'k IN (0, 2)', 'k IS NULL']);
SELECT * FROM check_type('oid', '{0,1,2147483648,4294967295}', ARRAY['k < 1', 'k = 4294967295', 'k > 1', 'k >= 2147483648', 'k IN (0, 1)', 'k IS NULL']);

-- boolean, "char"
SELECT * FROM check_type('boolean', '{t,f}', ARRAY[
	'k', 'NOT k', 'k IS TRUE', 'k IS FALSE', 'k = (SELECT true)', 'k < true', 'k >= true', 'k > true', 'k IN (true, false)', 'k IS NULL', 'k IS NOT NULL', 'k IS NOT TRUE']);
SELECT * FROM check_type('"char"', ARRAY['a', 'b', '', '~'], ARRAY['k = ''a''', 'k < ''b''', 'k >= ''b''', 'k IN (''a'', ''~'')', 'k = ''''', 'k IS NULL']);

-- floats: -0 is 0, NaN is the greatest, and a float4 is compared with a float8 as a float8
SELECT * FROM check_type('real', '{0,-0,0.1,-0.1,1,Infinity,-Infinity,NaN,3.4e38,1e-45}', ARRAY[
	'k = 0', 'k < 0', 'k <= 0', 'k > 0', 'k >= ''-0''', 'k = 0.1', 'k < 0.1', 'k <= 0.1', 'k > 0.1', 'k >= 0.1', 'k = 0.1::real', 'k > 0.1::real', 'k = 1::real',
	'k = ''NaN''', 'k < ''NaN''', 'k <= ''NaN''', 'k > ''NaN''', 'k = ''Infinity''::float8', 'k > ''Infinity''::float8', 'k > 1e300', 'k < 1e300', 'k = 1e300', 'k < -1e300',
	'k >= 3.4e38', 'k < 1e-300', 'k IN (0.1, 1)', 'k IN (0.1::real, 1, ''NaN'')', 'k IS NULL']);
SELECT * FROM check_type('double precision', '{0,-0,0.1,-0.1,1,Infinity,-Infinity,NaN,1e300,5e-324}', ARRAY[
	'k = 0', 'k < 0', 'k > 0', 'k = 0.1', 'k = 0.1::real', 'k < 0.1::real', 'k >= 0.1::real', 'k = ''NaN''', 'k < ''NaN''', 'k > ''Infinity''', 'k = ''NaN''::real',
	'k < ''-Infinity''', 'k <= ''-Infinity''::real', 'k IN (0, 1)', 'k IS NULL']);

-- dates and times
SELECT * FROM check_type('date', '{-infinity,2024-01-01,2024-02-29,infinity}', ARRAY[
	'k = ''2024-02-29''', 'k < ''2024-02-29''', 'k <= ''infinity''', 'k > ''infinity''', 'k >= ''2024-01-02''', 'k BETWEEN ''2024-01-01'' AND ''2024-12-31''',
	'k IN (''2024-01-01'', ''infinity'')', 'k IS NULL']);
SELECT * FROM check_type('time', '{00:00,12:30,23:59:59.999999,24:00}', ARRAY['k = ''12:30''', 'k < ''24:00''', 'k >= ''12:30''', 'k IN (''00:00'', ''24:00'')', 'k IS NULL']);
SELECT * FROM check_type('timestamp', '{-infinity,1999-12-31 23:59:59,2024-01-01,infinity}', ARRAY[
	'k = ''2024-01-01''', 'k < ''2024-01-01''', 'k >= ''2000-01-01''', 'k > ''2024-01-01''::timestamp - interval ''30 days''', 'k = ''infinity''', 'k IN (''2024-01-01'', ''-infinity'')', 'k IS NULL']);
SELECT * FROM check_type('timestamptz', '{-infinity,1999-12-31 23:59:59+00,2024-01-01+00,infinity}', ARRAY[
	'k = ''2024-01-01+00''', 'k < ''2024-01-01+00''', 'k > now()', 'k <= now()', 'k IN (''2024-01-01 01:00+01'', ''-infinity'')', 'k IS NULL']);

-- uuid, enumerations
SELECT * FROM check_type('uuid', '{00000000-0000-0000-0000-000000000000,00000000-0000-0000-8000-000000000001,00000000-0000-0001-0000-000000000000,ffffffff-ffff-ffff-ffff-ffffffffffff}', ARRAY[
	'k = ''00000000-0000-0000-8000-000000000001''', 'k < ''00000000-0000-0001-0000-000000000000''', 'k <= ''00000000-0000-0001-0000-000000000000''',
	'k > ''00000000-0000-0000-8000-000000000001''', 'k >= ''ffffffff-ffff-ffff-ffff-ffffffffffff''', 'k > ''ffffffff-ffff-ffff-ffff-ffffffffffff''', 'k < ''00000000-0000-0000-0000-000000000000''',
	'k IN (''00000000-0000-0001-0000-000000000000'', ''ffffffff-ffff-ffff-ffff-ffffffffffff'')', 'k IS NULL']);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
SELECT * FROM check_type('mood', '{sad,ok,happy}', ARRAY['k = ''ok''', 'k IN (''sad'', ''happy'')', 'k IS NULL', 'k IS NOT NULL', 'k > ''sad''']);

-- hashed: text and the like, numeric
SELECT * FROM check_type('text', ARRAY['a', 'A', 'a ', '', repeat('long', 30000)], ARRAY[
	'k = ''a''', 'k = ''''', 'k = ''a ''', 'k = repeat(''long'', 30000)', 'k IN (''a'', ''A'', ''c'')', 'k IN (''c'', ''d'')', 'k = ''a''::name', 'k = (SELECT NULL::text)',
	'k IS NULL', 'k IS NOT NULL', 'k > ''a''', 'k LIKE ''a%''', 'k COLLATE "C" = ''a''']);
SELECT * FROM check_type('varchar(10)', '{a,b,c}', ARRAY['k = ''a''', 'k = ''a''::varchar', 'k IN (''a'', ''b'')', 'k IS NULL']);
SELECT * FROM check_type('character(5)', '{a,b,"c  "}', ARRAY['k = ''a''', 'k = ''c''', 'k = ''c    ''', 'k IN (''a'', ''b '')', 'k IS NULL']);
SELECT * FROM check_type('name', '{a,b,c}', ARRAY['k = ''a''', 'k = ''a''::text', 'k IN (''a'', ''b'')', 'k IS NULL']);
SELECT * FROM check_type('numeric', '{0,1,1.00,-1.5,NaN,Infinity,123456789012345678901234567890.5}', ARRAY[
	'k = 1', 'k = 1.000', 'k = ''NaN''', 'k = ''Infinity''', 'k = 123456789012345678901234567890.50', 'k IN (0.0, -1.5)', 'k IS NULL', 'k > 0']);

-- arrays, by signatures
SELECT * FROM check_type('integer[]', '{"{}","{1}","{1,2}","{NULL}","{1,NULL}","{3,3,4}","[2:3]={1,2}","{{1,2},{3,4}}"}', ARRAY[
	'k && ''{1}''', 'k && ''{2,4}''', 'k && ''{}''', 'k && ''{NULL}''', 'k && ''{NULL,4}''', 'k && ''{99}''', 'k && ''{1}'' AND k && ''{2}''',
	'k @> ''{1}''', 'k @> ''{1,2}''', 'k @> ''{3,3}''', 'k @> ''{}''', 'k @> ''{NULL}''', 'k @> ''{1,NULL}''', 'k @> ''{1}'' AND k && ''{4}''',
	'''{1}'' <@ k', 'k = ''{1,2}''', 'k = ''{}''', 'k = ''{NULL}''', 'k = ''{1,NULL}''', 'k = ''{{1,2},{3,4}}''', 'k && (SELECT NULL::int[])', 'k IS NULL', 'k IS NOT NULL', '1 = ANY (k)', 'k <@ ''{1,2,3}''']);
SELECT * FROM check_type('smallint[]', '{"{}","{1}","{-1,2}"}', ARRAY['k && ''{1,2}''', 'k @> ''{-1}''', 'k = ''{1}''', 'k IS NULL']);
SELECT * FROM check_type('bigint[]', '{"{}","{1}","{-1,9223372036854775807}"}', ARRAY['k && ''{1,2}''', 'k @> ''{-1}''', 'k @> ''{9223372036854775807}''', 'k = ''{1}''', 'k IS NULL']);
SELECT * FROM check_type('text[]', '{"{}","{a}","{a,b}","{A,NULL}"}', ARRAY['k && ''{a,c}''', 'k @> ''{a,b}''', 'k = ''{a}''', 'k = ''{A,NULL}''', 'k IS NULL']);
SELECT * FROM check_type('uuid[]', '{"{}","{00000000-0000-0000-8000-000000000001}"}', ARRAY['k && ''{00000000-0000-0000-8000-000000000001}''', 'k @> ''{}''', 'k IS NULL']);

-- several columns, in any order; an expression
CREATE TABLE k (id int PRIMARY KEY, v vector(3), tenant int NOT NULL, flag boolean, meta jsonb, tags text[]);
INSERT INTO k SELECT n, made(n), n % 7, CASE WHEN n % 5 > 0 THEN n % 2 = 0 END, jsonb_build_object('lang', (ARRAY['en', 'de', 'fr'])[1 + n % 3]), ARRAY['t' || n % 4, 't' || n % 6]
	FROM generate_series(1, 500) AS n;
INSERT INTO k SELECT n, NULL, n % 7, true, NULL, NULL FROM generate_series(501, 520) AS n;
CREATE FUNCTION check_several() RETURNS TABLE (condition text, pushed boolean, n int, differ int) LANGUAGE sql AS $$
	SELECT * FROM check_conditions(ARRAY['tenant = 3 AND v IS NOT NULL', 'tenant IN (1, 2) AND flag AND v IS NOT NULL', 'tenant > 2 AND NOT flag AND v IS NOT NULL',
		'meta->>''lang'' = ''en'' AND flag IS NULL AND v IS NOT NULL', 'tags && ''{t1,t5}'' AND tenant < 3 AND v IS NOT NULL',
		'tenant = 1 AND id > 100 AND v IS NOT NULL', 'tenant = 1 AND meta->>''lang'' IN (''de'', ''fr'') AND tags @> ''{t2}'' AND v IS NOT NULL', 'flag AND v IS NULL'])
$$;
CREATE INDEX k_v ON k USING hnsw (v vector_l2_ops);
SELECT * FROM check_conditions(ARRAY['v IS NOT NULL', 'tenant = 3 AND v IS NOT NULL']);
DROP INDEX k_v;
CREATE INDEX k_v ON k USING hnsw (v vector_l2_ops, tenant, flag, (meta->>'lang'), tags);
SELECT * FROM check_several();
DROP INDEX k_v;
CREATE INDEX k_v ON k USING hnsw (tags, tenant, v vector_l2_ops, (meta->>'lang'), flag);
SELECT * FROM check_several();
UPDATE k SET tenant = (tenant + 1) % 7 WHERE id % 3 = 0;
UPDATE k SET v = made(id + 1000), flag = NOT flag WHERE id % 4 = 0;
DELETE FROM k WHERE id % 10 = 0;
SELECT * FROM check_several();
VACUUM k;
SELECT * FROM check_several();
REINDEX INDEX k_v;
SELECT * FROM check_several();

-- the conditions are those of each execution
SET enable_seqscan = off;
SET enable_sort = off;
SET plan_cache_mode = force_generic_plan;
PREPARE q (int, boolean) AS SELECT count(*), bool_and(tenant = $1 AND flag = $2) FROM
	(SELECT * FROM k WHERE tenant = $1 AND flag = $2 ORDER BY v <-> '[0.1,0.2,0.3]' LIMIT 1000) AS x;
EXECUTE q (1, true);
EXECUTE q (2, false);
EXECUTE q (NULL, true);
EXECUTE q (-1, true);
EXECUTE q (1, true);
SELECT g.tenant, count(x.id), bool_and(x.tenant = g.tenant) FROM generate_series(0, 7) AS g(tenant)
	LEFT JOIN LATERAL (SELECT * FROM k WHERE k.tenant = g.tenant ORDER BY v <-> '[0.1,0.2,0.3]' LIMIT 3) AS x ON true GROUP BY 1 ORDER BY 1;
EXPLAIN (COSTS OFF) SELECT id FROM k WHERE tenant = 3 AND tags && '{t1}' AND id > 5 ORDER BY v <-> '[0.1,0.2,0.3]' LIMIT 3;
RESET plan_cache_mode;

-- conditions of row security are tested first; others that might leak what they see stay behind
CREATE ROLE regress_key_user;
GRANT SELECT ON k TO regress_key_user;
ALTER TABLE k ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON k USING (tenant = current_setting('app.tenant')::int);
SET ROLE regress_key_user;
SET app.tenant = 4;
EXPLAIN (COSTS OFF) SELECT id FROM k WHERE meta->>'lang' = 'en' AND tags && '{t1}' ORDER BY v <-> '[0.1,0.2,0.3]' LIMIT 3;
SELECT count(*), bool_and(tenant = 4) FROM (SELECT * FROM k WHERE flag ORDER BY v <-> '[0.1,0.2,0.3]' LIMIT 1000) AS x;
RESET ROLE;
RESET app.tenant;

-- neither without an order, nor for rows without a vector
CREATE FUNCTION uses_index(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
	uses boolean := false;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		uses := uses OR line ~ 'using k_v';
	END LOOP;
	RETURN uses;
END $$;
SELECT uses_index('SELECT id FROM k WHERE tenant = 1'),
	uses_index('SELECT id FROM k WHERE v IS NULL ORDER BY v <-> ''[0.1,0.2,0.3]'' LIMIT 3'),
	uses_index('SELECT id FROM k WHERE v IS NOT NULL ORDER BY v <-> ''[0.1,0.2,0.3]'' LIMIT 3');
RESET enable_sort;
RESET enable_seqscan;
DROP TABLE k;
DROP ROLE regress_key_user;

-- what cannot be
CREATE TABLE e (id int, v vector(3), w vector(3), a int[], b int[], c int[], d int[], t text, j jsonb);
SELECT error_of('CREATE INDEX ON e USING hnsw (id)');
SELECT error_of('CREATE INDEX ON e USING hnsw (v vector_l2_ops, w vector_l2_ops)');
SELECT error_of('CREATE INDEX ON e USING hnsw (v vector_l2_ops, id, id, id, id, id, id, id, id, id)');
SELECT error_of('CREATE INDEX ON e USING hnsw (v vector_l2_ops, a, b, c, d, id)');
SELECT error_of('CREATE INDEX ON e USING hnsw (v vector_l2_ops) INCLUDE (id)');
SELECT error_of('CREATE INDEX ON e USING hnsw (v vector_l2_ops, j)');
SELECT error_of('CREATE INDEX ON e USING ivfflat (v vector_l2_ops, id)');
CREATE COLLATION regress_no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT error_of('CREATE INDEX ON e USING hnsw (v vector_l2_ops, t COLLATE regress_no_case)');
CREATE INDEX ON e USING hnsw (v vector_l2_ops, a, b, c, d);
CREATE INDEX ON e USING hnsw (v vector_l2_ops, t, id, t, id, t, id, t, id);
DROP TABLE e;
DROP COLLATION regress_no_case;
-- ANY of arrays, of a domain
CREATE DOMAIN tagset AS int[];
CREATE TABLE tagged AS SELECT n AS id, ARRAY[n % 5, n % 7] AS tags, ARRAY[n, 1]::vector(2) AS v FROM generate_series(1, 1000) AS n;
CREATE INDEX ON tagged USING hnsw (v vector_l2_ops, tags);
SET enable_seqscan = off;
SET enable_sort = off;
SELECT (SELECT count(*) FROM tagged WHERE tags && '{1,2}' OR tags && '{3}') AS by_rows,
	(SELECT count(*) FROM (SELECT FROM tagged
	WHERE tags && ANY (ARRAY['{1,2}', '{3}', NULL, '{NULL}']::tagset[]) ORDER BY v <-> '[1,1]') AS x) AS by_index;
SELECT (SELECT count(*) FROM tagged WHERE tags @> '{1,2}' OR tags @> '{3}') AS by_rows,
	(SELECT count(*) FROM (SELECT FROM tagged
	WHERE tags @> ANY (ARRAY['{1,2}', '{3}', NULL, '{NULL}']::tagset[]) ORDER BY v <-> '[1,1]') AS x) AS by_index;

-- under row-level security, these conditions of the query's own are tested on rows (docs/filtering.md)
SELECT string_agg(DISTINCT opfname::text, ' ' ORDER BY opfname::text) AS not_leakproof
FROM pg_amop AS a JOIN pg_opfamily AS f ON f.oid = amopfamily JOIN pg_am AS m ON m.oid = amopmethod
JOIN pg_operator AS o ON o.oid = amopopr JOIN pg_proc AS p ON p.oid = oprcode
WHERE amname = 'hnsw' AND amoppurpose = 's' AND NOT proleakproof;
CREATE TABLE secret AS SELECT n AS id, n % 2 AS tenant, n % 50 AS a, (n % 50)::numeric AS b, made(n)::vector(3) AS v
FROM generate_series(1, 1000) AS n;
CREATE INDEX ON secret USING hnsw (v vector_l2_ops, tenant, a, b);
CREATE ROLE regress_hnsw_reader;
GRANT SELECT ON secret TO regress_hnsw_reader;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY one ON secret USING (tenant = 1);
SET ROLE regress_hnsw_reader;
EXPLAIN (COSTS OFF) SELECT id FROM secret WHERE a = 3 AND b = 3 ORDER BY v <-> '[1,1,1]' LIMIT 5;
RESET ROLE;
DROP TABLE secret;
DROP ROLE regress_hnsw_reader;

-- hnsw.max_scan_tuples bounds scans under conditions, too
CREATE TABLE bounded AS SELECT n AS id, n % 2 AS a, made(n) AS v FROM generate_series(1, 20000) AS n;
ALTER TABLE bounded ALTER v TYPE vector(3);
CREATE INDEX ON bounded USING hnsw (v vector_l2_ops, a);
SET hnsw.iterative_scan = strict_order;
SET hnsw.max_scan_tuples = 100;
SELECT count(*) < 1000 AS bounded FROM (SELECT FROM bounded WHERE a = 1 ORDER BY v <-> made(5)) AS x;
RESET hnsw.max_scan_tuples;
SELECT count(*) FROM (SELECT FROM bounded WHERE a = 1 ORDER BY v <-> made(5)) AS x;
RESET hnsw.iterative_scan;
RESET enable_seqscan;
RESET enable_sort;
DROP TABLE tagged, bounded;
DROP DOMAIN tagset;
DROP TYPE mood;
DROP DOMAIN natural_number;
DROP FUNCTION made, error_of, check_conditions, check_type, check_several, uses_index;
