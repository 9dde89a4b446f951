-- hnsw: bounds of distances hold where float32 and binary16 are at their ends.
-- A lower bound above the distance stops a scan: "index returned tuples in wrong order".
-- In all versions: arithmetic.
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all

-- Do scans of an index give the rows in order, for each query?  Made by CREATE INDEX, and by INSERT.
CREATE FUNCTION check_queries(type text, opclasses text[], rows text, queries text)
RETURNS TABLE (opclass text, result text) LANGUAGE plpgsql AS $$
DECLARE
	op text;
	made text;
	q text;
	n int;
	answer text;
	bad int;
	good int;
BEGIN
	PERFORM set_config('hnsw.ef_search', '1000', true);
	FOREACH opclass IN ARRAY opclasses LOOP
		op := CASE opclass WHEN 'l2' THEN '<->' WHEN 'ip' THEN '<#>' WHEN 'cosine' THEN '<=>' ELSE '<+>' END;
		bad := 0;
		good := 0;
		FOREACH made IN ARRAY ARRAY['built', 'inserted'] LOOP
			EXECUTE format('CREATE TABLE x (id int, v %s)', type);
			IF made = 'built' THEN
				EXECUTE 'INSERT INTO x ' || rows;
			END IF;
			EXECUTE format('CREATE INDEX ON x USING hnsw (v %s_%s_ops)', split_part(type, '(', 1), opclass);
			IF made = 'inserted' THEN
				EXECUTE 'INSERT INTO x ' || rows;
			END IF;
			FOR q IN EXECUTE queries LOOP
				answer := check_scan_any('x', op, q);
				IF answer LIKE '% as expected' THEN
					good := good + 1;
				ELSE
					bad := bad + 1;
					result := format('%s, query %s: %s', made, left(q, 40), answer);
				END IF;
			END LOOP;
			DROP TABLE x;
		END LOOP;
		result := CASE bad WHEN 0 THEN good || ' scans in order' ELSE format('%s of %s fail; %s', bad, good + bad, result) END;
		RETURN NEXT;
	END LOOP;
END $$;

-- rows that differ by far less than their length
SELECT * FROM check_queries('sparsevec(4)', '{l2,l1,ip,cosine}',
	$$SELECT 1, '{1:1000}/4'::sparsevec UNION ALL SELECT 2, '{1:1000,3:0.00001}/4' UNION ALL SELECT 3, '{1:1000,4:0.00001}/4'
	UNION ALL SELECT n + 3, ARRAY[n, n, 0, 0]::vector::sparsevec FROM generate_series(1, 51) AS n$$,
	$$SELECT format('{1:1000,2:%s}/4', n * 0.00008) FROM generate_series(1, 20) AS n
	UNION ALL SELECT format('{1:%s}/4', 1000 + n * 0.00006103515625) FROM generate_series(0, 20) AS n$$);
SELECT * FROM check_queries('sparsevec(4)', '{l2,l1}',
	$$SELECT 1, '{1:32768}/4'::sparsevec UNION ALL SELECT 2, '{1:32768,2:0.0004}/4' UNION ALL SELECT 3, '{1:32768,3:0.0004}/4'$$,
	$$SELECT format('{1:32768,4:%s}/4', n * 0.0001) FROM generate_series(1, 20) AS n$$);
SELECT * FROM check_queries('vector(4)', '{l2,l1,ip,cosine}',
	$$SELECT 1, '[1000,0,0,0]'::vector UNION ALL SELECT 2, '[1000,0,0.00001,0]' UNION ALL SELECT 3, '[1000,0,0,0.00001]'
	UNION ALL SELECT n + 3, ARRAY[n, n, 0, 0]::vector FROM generate_series(1, 51) AS n$$,
	$$SELECT format('[1000,%s,0,0]', n * 0.0001) FROM generate_series(1, 10) AS n
	UNION ALL SELECT format('[%s,0,0,0]', 1000 + n * 0.00006103515625) FROM generate_series(0, 10) AS n$$);
SELECT * FROM check_queries('halfvec(4)', '{l2,l1,ip,cosine}',
	$$SELECT 1, '[1000,0,0,0]'::halfvec UNION ALL SELECT 2, '[1000,0,0.00001,0]' UNION ALL SELECT 3, '[1000,0,0,0.00001]'
	UNION ALL SELECT n + 3, ARRAY[n, n, 0, 0]::real[]::halfvec FROM generate_series(1, 51) AS n$$,
	$$SELECT format('[1000,%s,0,0]', n * 0.0001) FROM generate_series(1, 10) AS n$$);

-- lengths over 34 orders of magnitude, within a vector and between vectors
SELECT setseed(0.02);
CREATE TABLE mixed AS SELECT i AS id, (SELECT array_agg(CASE WHEN random() < 0.1 THEN 0
	ELSE ((random() - 0.5) * 10 ^ (-34 + 34 * random()))::real END) FROM generate_series(1, 3) WHERE i > 0)::vector(3) AS v
	FROM generate_series(1, 60) AS i;
SELECT max(vector_norm(v)) < 1, min(vector_norm(v)) < 1e-32 FROM mixed;
SELECT * FROM check_queries('vector(3)', '{l2,ip,cosine,l1}', 'SELECT * FROM mixed',
	$$SELECT '[-0.033933267,-1.7413123e-17,2.9513478e-22]' UNION ALL SELECT v::text FROM mixed$$);
SELECT * FROM check_queries('sparsevec(3)', '{l2,ip,cosine,l1}', 'SELECT id, v::sparsevec FROM mixed',
	'SELECT v::sparsevec::text FROM mixed');
SELECT * FROM check_queries('halfvec(3)', '{l2,ip,cosine,l1}', 'SELECT id, v::halfvec FROM mixed',
	'SELECT v::halfvec::text FROM mixed WHERE id % 3 = 0');
DROP TABLE mixed;

-- one dimension: 1e-37, 1e-36, ... 1e18
SELECT * FROM check_queries('vector(1)', '{l2,ip,cosine,l1}',
	'SELECT i, ARRAY[10::float8 ^ i]::vector FROM generate_series(-37, 18) AS i',
	$$VALUES ('[-9e-5]'), ('[9e-5]'), ('[1e-37]'), ('[1e18]'), ('[-3e-30]'), ('[7e-19]')$$);
SELECT * FROM check_queries('sparsevec(1)', '{l2,ip,cosine,l1}',
	$$SELECT i, format('{1:1e%s}/1', i)::sparsevec FROM generate_series(-37, 18) AS i$$,
	$$VALUES ('{1:-9e-5}/1'), ('{1:9e-5}/1'), ('{1:1e-37}/1'), ('{1:1e18}/1'), ('{1:-3e-30}/1')$$);
SELECT * FROM check_queries('halfvec(1)', '{l2,ip,cosine,l1}',
	$$SELECT i, ARRAY[2::float8 ^ i]::real[]::halfvec FROM generate_series(-24, 15) AS i$$,
	$$VALUES ('[-9e-5]'), ('[9e-5]'), ('[6e-8]'), ('[65504]')$$);

-- long vectors, stored as int8: a squared length beyond float32 is not the nearest
SELECT * FROM check_queries('vector(3072)', '{l2,ip,cosine}',
	$$SELECT n, array_fill((n * 10 ^ (n % 4 * 6.5))::real, ARRAY[3072])::vector FROM generate_series(1, 20) AS n$$,
	$$SELECT array_fill((n * 3.7)::real, ARRAY[3072])::vector::text FROM generate_series(1, 3) AS n
	UNION ALL SELECT array_fill(1e-30::real, ARRAY[3072])::vector::text$$);

DROP FUNCTION check_queries;
