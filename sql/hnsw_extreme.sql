-- hnsw: values at the ends of float32, and mixtures of scales
-- In all versions: arithmetic and the graph.
\getenv abs_srcdir PG_ABS_SRCDIR
\set check :abs_srcdir '/sql/include/hnsw_check.sql'
\set ECHO none
\i :check
\set ECHO all

-- For each operator class: an index of the given rows, made by CREATE INDEX, by
-- INSERT, and half by either.  With a search as wide as the table every scan
-- must be exact.
CREATE FUNCTION check_rows(dim int, rows text, queries text[])
RETURNS TABLE (op text, result text) LANGUAGE plpgsql AS $$
DECLARE
	opclass text;
	made text;
	q text;
	n int;
	answer text;
BEGIN
	PERFORM set_config('hnsw.ef_search', '1000', true);
	FOR op, opclass IN VALUES ('<->', 'l2'), ('<#>', 'ip'), ('<=>', 'cosine'), ('<+>', 'l1') LOOP
		result := '';
		FOREACH made IN ARRAY ARRAY['built', 'inserted', 'half inserted'] LOOP
			EXECUTE format('CREATE TABLE x (id int, v vector(%s))', dim);
			IF made = 'built' THEN
				EXECUTE 'INSERT INTO x ' || rows;
			ELSIF made = 'half inserted' THEN
				EXECUTE 'INSERT INTO x SELECT * FROM (' || rows || ') AS r (id, v) WHERE id % 2 = 0';
			END IF;
			EXECUTE format('CREATE INDEX ON x USING hnsw (v vector_%s_ops)', opclass);
			IF made = 'inserted' THEN
				EXECUTE 'INSERT INTO x ' || rows;
			ELSIF made = 'half inserted' THEN
				EXECUTE 'INSERT INTO x SELECT * FROM (' || rows || ') AS r (id, v) WHERE id % 2 = 1';
			END IF;
			SELECT count(*) INTO n FROM x;
			FOREACH q IN ARRAY queries LOOP
				answer := check_scan('x', op, q::vector, seen => q <> queries[1]);
				IF answer <> n || ' rows as expected' THEN
					result := result || format(E'%s, query %s: %s\n', made, q, answer);
				END IF;
			END LOOP;
			DROP TABLE x;
		END LOOP;
		result := coalesce(nullif(result, ''), 'exact');
		RETURN NEXT;
	END LOOP;
END $$;

-- plain values, for comparison
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[sin(n * 12.9), sin(n * 78.2), sin(n * 37.7)]::vector
	FROM generate_series(1, 500) AS n$$, '{"[0,0,0]","[0.1,0.2,0.3]","[-5,3,1]","[1e-3,0,0]"}');

-- small values: squares are denormal, or zero
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[sin(n * 12.9) * 1e-18, sin(n * 78.2) * 1e-18, sin(n * 37.7) * 1e-18]::real[]::vector
	FROM generate_series(1, 300) AS n$$, '{"[0,0,0]","[1e-18,2e-18,3e-21]","[1,1,1]","[1e38,1e38,1e38]"}');
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[sin(n * 12.9) * 1e-20, sin(n * 78.2) * 1e-20, sin(n * 37.7) * 1e-20]::real[]::vector
	FROM generate_series(1, 300) AS n$$, '{"[0,0,0]","[1e-20,2e-20,3e-21]","[1,1,1]","[1e38,1e38,1e38]"}');
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[sin(n * 12.9) * 1e-22, sin(n * 78.2) * 1e-22, sin(n * 37.7) * 1e-22]::real[]::vector
	FROM generate_series(1, 300) AS n$$, '{"[0,0,0]","[1e-22,2e-22,3e-21]","[1,1,1]"}');
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[n * 1.4e-45, sin(n * 78.2) * 1e-40, sin(n * 37.7) * 1e-42]::real[]::vector
	FROM generate_series(1, 300) AS n$$, '{"[0,0,0]","[1e-40,2e-40,3e-40]","[1,1,1]"}');

-- large values: squares, then sums, are infinite
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[sin(n * 12.9) * 1e18, sin(n * 78.2) * 1e18, sin(n * 37.7) * 1e18]::real[]::vector
	FROM generate_series(1, 300) AS n$$, '{"[0,0,0]","[1e18,2e18,3e18]","[1,1,1]","[1e-3,1e-3,1]"}');
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[sin(n * 12.9) * 1e30, sin(n * 78.2) * 1e30, sin(n * 37.7) * 1e30]::real[]::vector
	FROM generate_series(1, 300) AS n$$, '{"[0,0,0]","[1e30,2e30,3e30]","[1,1,1]","[1e-3,1e-3,1]"}');
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[sin(n * 12.9) * 3e38, sin(n * 78.2) * 3e38, sin(n * 37.7) * 3e38]::real[]::vector
	FROM generate_series(1, 300) AS n$$, '{"[0,0,0]","[1e38,2e38,3e38]","[1,1,1]","[1e-3,1e-3,1]"}');
-- the same, exact in 11 bits
SELECT * FROM check_rows(2, $$SELECT n, ARRAY[n * 2.0 ^ 118, 0]::real[]::vector
	FROM generate_series(1, 300) AS n$$, '{"[0,0]","[3e38,3e38]","[1,1]","[-1,1]"}');

-- one row far from all others
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[sin(n * 12.9), sin(n * 78.2), sin(n * 37.7)]::vector
	FROM generate_series(1, 300) AS n UNION ALL SELECT 301, '[1e30,-1e30,1e30]'$$,
	'{"[0,0,0]","[0.1,0.2,0.3]","[1e30,1e30,0]","[1,1,0]"}');
SELECT * FROM check_rows(3, $$SELECT 301, '[1e6,-1e6,1e6]'::vector UNION ALL
	SELECT n, ARRAY[sin(n * 12.9), sin(n * 78.2), sin(n * 37.7)]::vector FROM generate_series(1, 300) AS n$$,
	'{"[0,0,0]","[0.1,0.2,0.3]","[1e6,1e6,0]","[1,1,0]"}');

-- two small clusters far apart
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[n % 2 * 1e6 + sin(n * 12.9) * 1e-3, sin(n * 78.2) * 1e-3, sin(n * 37.7) * 1e-3]::real[]::vector
	FROM generate_series(1, 600) AS n$$, '{"[0,0,0]","[1e6,0,0]","[5e5,0,0]","[1000000.06,0.001,0]"}');

-- lengths over thirteen orders of magnitude, all directions
SELECT * FROM check_rows(8, $$SELECT n, (SELECT array_agg(sin(n * (i + .37) * 7.13) * 10.0 ^ (n % 13 - 6))
	FROM generate_series(1, 8) AS i)::vector FROM generate_series(1, 600) AS n$$,
	'{"[0,0,0,0,0,0,0,0]","[1,1,1,1,1,1,1,1]","[1,-1,1,-1,1,-1,1,-1]","[1e6,1,1,1,1,1,1,1]","[1e-6,0,0,0,0,0,0,0]"}');

-- products that cancel
SELECT * FROM check_rows(4, $$SELECT n, ARRAY[n % 7 * 1e4 + 0.1, n % 7 * -1e4 + 0.3, sin(n), cos(n)]::vector
	FROM generate_series(1, 600) AS n$$, '{"[1,1,1,1]","[1,1,0,0]","[1e4,1e4,0.1,0.1]"}');

-- a difference in the last bit only, and none
SELECT * FROM check_rows(4, $$SELECT n, ARRAY[1 + n * 2.0 ^ -23, 1, 1, 1]::real[]::vector
	FROM generate_series(1, 600) AS n$$, '{"[1,1,1,1]","[1.00003,1,1,1]","[2,2,2,2]","[0,0,0,0]"}');
SELECT * FROM check_rows(4, $$SELECT n, ARRAY[1.1, 2.3, 3.7, 0]::real[]::vector
	FROM generate_series(1, 5000) AS n$$, '{"[1,1,1,1]","[2,2,2,2]","[0,0,0,0]"}');

-- all on a line, all on a circle, all zero but one
SELECT * FROM check_rows(3, $$SELECT n, ARRAY[n, n, n]::real[]::vector
	FROM generate_series(1, 900) AS n$$, '{"[0,0,0]","[450,450,450]","[-1,2,-1]"}');
SELECT * FROM check_rows(2, $$SELECT n, ARRAY[sin(n), cos(n)]::real[]::vector
	FROM generate_series(1, 900) AS n$$, '{"[0,0]","[1,0]","[1,1]"}');
SELECT * FROM check_rows(100, $$SELECT n, ('[' || repeat('0,', n % 100) || n || repeat(',0', 99 - n % 100) || ']')::vector
	FROM generate_series(1, 900) AS n$$, ARRAY[array_fill(0, '{100}')::vector::text, array_fill(1, '{100}')::vector::text]);

-- One row far away does not matter to the others: of 25 rows, nearly
-- all find their ten nearest neighbours.
CREATE TABLE plain AS SELECT n AS id, (SELECT array_agg(sin(n * (i + .37) * 7.13) + cos(n % 40 * i))
	FROM generate_series(1, 32) AS i)::vector(32) AS v FROM generate_series(1, 1000) AS n;
CREATE FUNCTION found_beside(outlier real) RETURNS TABLE (op text, built text, inserted text) LANGUAGE plpgsql AS $$
DECLARE
	opclass text;
	share numeric;
BEGIN
	FOR op, opclass, share IN VALUES ('<->', 'l2', 0.985), ('<#>', 'ip', 0.945), ('<=>', 'cosine', 0.99), ('<+>', 'l1', 0.99) LOOP
		CREATE TABLE x (id int, v vector(32));
		INSERT INTO x VALUES (0, array_fill(outlier, '{32}')::vector);
		EXECUTE format('CREATE INDEX x_v_idx ON x USING hnsw (v vector_%s_ops)', opclass);
		-- Searches are to begin with it.
		WHILE (SELECT levels < 2 FROM piramid_hnsw_info('x_v_idx')) LOOP
			REINDEX INDEX x_v_idx;
		END LOOP;
		INSERT INTO x SELECT * FROM plain;
		inserted := found('x', op, 'id BETWEEN 1 AND 25', share);
		REINDEX INDEX x_v_idx;
		built := found('x', op, 'id BETWEEN 1 AND 25', share);
		RETURN NEXT;
		DROP TABLE x;
	END LOOP;
END $$;
SELECT outlier, r.* FROM unnest(ARRAY[1, 1e4, 1e8, 3e38]) AS outlier, found_beside(outlier::real) AS r;

-- inner products that overflow, and an element that outweighs the others, so that rounding it changes the length
CREATE TABLE long (id int, v vector(3), s sparsevec(3));
INSERT INTO long SELECT n, v, v FROM generate_series(1, 60) AS n, LATERAL (VALUES (ARRAY[n, 30 - n, n % 7] :: vector * '[1e10,1e10,1e10]')) AS x(v);
CREATE INDEX ON long USING hnsw (v vector_ip_ops);
CREATE INDEX ON long USING hnsw (s sparsevec_ip_ops);
CREATE TABLE uneven AS SELECT n AS id, (array_fill(n / 1000.0, ARRAY[n % 64]) || ARRAY[n * 333.3] || array_fill(n / 1000.0, ARRAY[63 - n % 64]))::real[]::vector(64) AS v FROM generate_series(1, 60) AS n;
CREATE INDEX ON uneven USING hnsw (v vector_ip_ops);
SET enable_seqscan = off;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM long ORDER BY v <#> '[3e38,1,0]') AS x;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM long ORDER BY s <#> '{1:3e38,2:1}/3') AS x;
SELECT v <#> '[3e38,-1,0]' AS distance FROM long ORDER BY v <#> '[3e38,-1,0]' LIMIT 1;
SET hnsw.ef_search = 1;
SELECT count(*) FROM uneven AS a, LATERAL (SELECT id FROM uneven AS b ORDER BY b.v <#> a.v LIMIT 3) AS x;
RESET enable_seqscan;
RESET hnsw.ef_search;
DROP TABLE long, uneven;

DROP TABLE plain;
DROP FUNCTION check_rows, found_beside;
