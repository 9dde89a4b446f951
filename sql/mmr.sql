-- Maximal marginal relevance: chosen as by its definition, written in SQL.
CREATE FUNCTION mmr(query vector, candidates vector[], k int, lambda float8) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	taken int[] := '{}';
	best int;
BEGIN
	WHILE cardinality(taken) < k LOOP
		SELECT n INTO best FROM unnest(candidates) WITH ORDINALITY AS c(v, n)
		WHERE n <> ALL (taken) AND v IS NOT NULL
		ORDER BY lambda * (1 - (query <=> v)) - (1 - lambda)
			* coalesce((SELECT max(1 - (v <=> candidates[t])) FROM unnest(taken) AS t), 0) DESC, n LIMIT 1;
		EXIT WHEN NOT FOUND;
		taken := taken || best;
	END LOOP;
	RETURN taken;
END $$;

CREATE TABLE pool AS
SELECT set, array_agg(ARRAY[sin(n * set), cos(3 * n + set), sin(7 * n), cos(n * n)]::vector ORDER BY n) AS vs,
	ARRAY[sin(set), 1, -1, 0.5]::vector AS q
FROM generate_series(1, 20) AS set, generate_series(1, 40) AS n GROUP BY set;
SELECT lambda, k, count(*) FILTER (WHERE mmr(q, vs, k, lambda) =
	(SELECT array_agg(place ORDER BY n) FROM piramid_mmr(q, vs, k, lambda) WITH ORDINALITY AS x(place, score, n)))
FROM pool, unnest('{0,0.3,0.7,1}'::float8[]) AS lambda, unnest('{1,5,40,50}'::int[]) AS k GROUP BY lambda, k ORDER BY lambda, k;

-- The other types see the same.
SELECT place, round(score::numeric, 3) FROM piramid_mmr('[3,1]'::halfvec, ARRAY['[3,1]', '[3,1]', '[1,3]']::halfvec[], 2, 0.4);
SELECT place, round(score::numeric, 3) FROM piramid_mmr('{1:3,2:1}/2'::sparsevec, ARRAY['{1:3,2:1}/2', '{1:3,2:1}/2', '{1:1,2:3}/2']::sparsevec[], 2, 0.4);

-- NULL, zero, none.
SELECT place, round(score::numeric, 3) FROM piramid_mmr('[1,1]'::vector, ARRAY[NULL, '[0,0]', '[1,0]', NULL, '[1,1]']::vector[], 10, 0.4);
SELECT * FROM piramid_mmr('[0,0]'::vector, ARRAY['[1,0]', '[0,1]']::vector[]);
SELECT * FROM piramid_mmr('[1,1]'::vector, '{}'::vector[]);
SELECT * FROM piramid_mmr('[1,1]'::vector, '{NULL}'::vector[]);
SELECT * FROM piramid_mmr(NULL::vector, '{}'::vector[]);
SELECT * FROM piramid_mmr('[1,1]'::vector, '{"[1,1]"}'::vector[], 0);

-- Errors.
SELECT * FROM piramid_mmr('[1,1]'::vector, '{"[1,1,1]"}'::vector[]);
SELECT * FROM piramid_mmr('[1,1]'::vector, '{{"[1,1]"},{"[1,2]"}}'::vector[]);
SELECT * FROM piramid_mmr('[1,1]'::vector, '{"[1,1]"}'::vector[], -1);
SELECT * FROM piramid_mmr('[1,1]'::vector, '{"[1,1]"}'::vector[], 1, 1.5);
SELECT * FROM piramid_mmr('[1,1]'::vector, '{"[1,1]"}'::vector[], 1, 'NaN');
DROP TABLE pool;
DROP FUNCTION mmr;
