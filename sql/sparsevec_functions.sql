-- sparsevec: distances, functions, casts

-- distances: functions and operators
SELECT l2_distance('{}/2'::sparsevec, '{1:3,2:4}/2'), '{1:3}/9'::sparsevec <-> '{9:4}/9', sparsevec_l2_squared_distance('{1:3,2:1}/3', '{2:1,3:4}/3');
SELECT inner_product('{1:1,2:2}/3'::sparsevec, '{2:3,3:4}/3'), '{1:1,2:2}/3'::sparsevec <#> '{2:3,3:4}/3', sparsevec_negative_inner_product('{1:1}/1', '{1:-3}/1');
SELECT l1_distance('{1:1,2:-1}/3'::sparsevec, '{2:3,3:4}/3'), '{1:1,2:-1}/3'::sparsevec <+> '{2:3,3:4}/3';
SELECT cosine_distance('{1:1}/3'::sparsevec, '{3:2}/3'), '{1:1}/3'::sparsevec <=> '{1:5}/3', '{1:1}/3'::sparsevec <=> '{1:-5}/3';

-- without elements
SELECT '{}/3'::sparsevec <-> '{}/3', '{}/3'::sparsevec <#> '{}/3', '{}/3'::sparsevec <+> '{}/3', '{}/3'::sparsevec <=> '{}/3', inner_product('{}/3'::sparsevec, '{1:1}/3');

-- overflow gives infinity
SELECT l2_distance('{1:3e38}/1'::sparsevec, '{1:-3e38}/1'), sparsevec_l2_squared_distance('{1:1e20}/2', '{2:1e20}/2'), l1_distance('{1:3e38}/2'::sparsevec, '{2:3e38}/2');
SELECT inner_product('{1:3e38}/1'::sparsevec, '{1:3e38}/1'), inner_product('{1:3e38}/1'::sparsevec, '{1:-3e38}/1'), '{1:3e38}/1'::sparsevec <#> '{1:3e38}/1';

-- the cosine distance of a zero or overflowing vector is NaN, on either side
SELECT a, '{1:1,2:2}/2'::sparsevec <=> a::sparsevec AS right, a::sparsevec <=> '{1:1,2:2}/2' AS left, a::sparsevec <=> a::sparsevec AS self
FROM unnest(ARRAY['{}/2', '{1:1e-45,2:1e-45}/2', '{1:1e-30}/2', '{1:1e20,2:1e20}/2', '{1:-3e38}/2']) a;
-- otherwise it stays in [0, 2], whatever the rounding
SELECT min(d) >= 0 AS low, max(d) <= 2 AS high, max(abs(d - expected)) < 1e-6 AS close
FROM (
	SELECT v::sparsevec <=> (v * array_fill(s, ARRAY[n])::vector)::sparsevec AS d, 1 - sign(s) AS expected
	FROM (SELECT n, (SELECT array_agg(sin(i * n))::vector FROM generate_series(1, n) i) AS v FROM generate_series(1, 100) n) t,
		unnest(ARRAY[1, 3, -1, -0.1, 1e-3]::real[]) s
) t;

-- the same as the dense distances; small integers, so that the result is
-- exact, of all densities on either side
CREATE TABLE sparsevec_pairs AS
SELECT n, x, y,
	(SELECT array_agg(CASE WHEN i * 7919 % 101 <= 100 / x THEN (i * 7 + n) % 19 - 9 ELSE 0 END ORDER BY i) FROM generate_series(1, n) i)::vector AS a,
	(SELECT array_agg(CASE WHEN i * 5471 % 103 <= 102 / y THEN (i * 5 + n) % 23 - 11 ELSE 0 END ORDER BY i) FROM generate_series(1, n) i)::vector AS b
FROM unnest(ARRAY[1, 2, 3, 8, 15, 16, 17, 50, 100, 333, 1000]) n, unnest(ARRAY[1, 2, 3, 17, 61]) x, unnest(ARRAY[1, 2, 7, 41]) y;
CREATE VIEW sparsevec_wrong AS
SELECT * FROM sparsevec_pairs, LATERAL (SELECT a::sparsevec AS s, b::sparsevec AS t) sparse
WHERE s <-> t <> a <-> b OR s <#> t <> a <#> b OR s <+> t <> a <+> b OR s <=> t <> a <=> b
	OR sparsevec_l2_squared_distance(s, t) <> vector_l2_squared_distance(a, b) OR l2_norm(s) <> l2_norm(a) OR s::vector <> a OR t::vector <> b;
SELECT count(*), count(DISTINCT a <-> b), count(*) FILTER (WHERE a <=> b = 'NaN') AS zeros, count(*) FILTER (WHERE a <#> b <> 0) AS common FROM sparsevec_pairs;
SELECT count(*) FROM sparsevec_wrong;
SET piramid.simd = scalar;
SELECT count(*) FROM sparsevec_wrong;
RESET piramid.simd;
DROP VIEW sparsevec_wrong;
DROP TABLE sparsevec_pairs;

-- norm
SELECT l2_norm('{1:3,9:4}/9'::sparsevec), l2_norm('{}/9'::sparsevec);
SELECT round((l2_norm('{1:3e37,2:4e37}/2'::sparsevec) / 1e37)::numeric, 5) AS large, round((l2_norm('{1:3e-30,2:4e-30}/2'::sparsevec) / 1e-30)::numeric, 5) AS small;
-- normalizing drops what becomes zero
SELECT l2_normalize('{1:3,9:4}/9'::sparsevec), l2_normalize('{2:-0.1}/3'::sparsevec), l2_normalize('{}/9'::sparsevec);
SELECT l2_normalize('{1:3e38}/1'::sparsevec), l2_normalize('{1:1e-45}/1'::sparsevec), l2_normalize('{1:1e-45,2:1e30,3:-1e-45}/3'::sparsevec);

-- casts from arrays, explicit or by assignment
SELECT ARRAY[1,0,3]::sparsevec, ARRAY[1.5,0]::sparsevec, ARRAY[0,-0,2]::real[]::sparsevec, ARRAY[0,1.5]::double precision[]::sparsevec(2);
SELECT ARRAY[0,0]::sparsevec, ARRAY[16777217,2147483647]::sparsevec, '{1e-50,1,-1e-50}'::double precision[]::sparsevec, '{1e-50,0.1}'::numeric[]::sparsevec;
SELECT '[5:7]={1,0,3}'::int[]::sparsevec, (array_remove(ARRAY[1,NULL,2], NULL))::sparsevec;
SELECT (array_fill(0, ARRAY[100000]) || 1)::sparsevec, length(array_fill(1, ARRAY[16000])::sparsevec::text);
CREATE TABLE sparsevec_cast (v sparsevec(2));
INSERT INTO sparsevec_cast VALUES (ARRAY[1,2]), (ARRAY[1.5,0]), (ARRAY[3,4]::real[]), (ARRAY[0,6]::double precision[]), ('{7,8}'::numeric[]);
INSERT INTO sparsevec_cast VALUES (ARRAY[1,2,3]);
TABLE sparsevec_cast;

-- to and from the dense types; they become sparsevec implicitly
SELECT '{1:1.5,3:2}/5'::sparsevec::vector, '{}/3'::sparsevec::vector(3), '{1:1e-45,2:-1}/2'::sparsevec::vector;
SELECT '{1:1.5,3:2}/5'::sparsevec::halfvec, '{}/3'::sparsevec::halfvec(3), '{1:65519,2:1e-10,3:0.1}/3'::sparsevec::halfvec;
SELECT '[1,0,-0,3]'::vector::sparsevec, '[0,0]'::vector::sparsevec(2), '[1,0,-0,0.1]'::halfvec::sparsevec, '[0]'::halfvec::sparsevec;
SELECT '[1,0,3]'::vector <-> '{2:2}/3'::sparsevec, '{2:2}/3'::sparsevec <#> '[1,1,3]'::halfvec, '[1,0]'::vector = '{1:1}/2'::sparsevec;
INSERT INTO sparsevec_cast VALUES ('[1,0]'::vector), ('[0,1]'::halfvec);
CREATE TABLE dense_cast (v vector(2), h halfvec(2));
INSERT INTO dense_cast SELECT v, v FROM sparsevec_cast;
SELECT count(*) FROM dense_cast WHERE v::sparsevec NOT IN (SELECT v FROM sparsevec_cast) OR h::sparsevec <> v;
SELECT v::sparsevec::vector = v AS same, length(v::sparsevec::text) FROM (SELECT array_agg(i)::vector AS v FROM generate_series(1, 16000) i) t;
DROP TABLE sparsevec_cast, dense_cast;

-- NULL
SELECT NULL::sparsevec <-> '{}/1' IS NULL, l2_norm(NULL::sparsevec) IS NULL, l2_normalize(NULL::sparsevec) IS NULL, NULL::sparsevec::vector IS NULL;
