-- vector: distances, functions, arithmetic

-- distances: functions and operators
SELECT l2_distance('[0,0]'::vector, '[3,4]'), '[0,0]'::vector <-> '[3,4]', vector_l2_squared_distance('[0,0]', '[3,4]');
SELECT inner_product('[1,2]'::vector, '[3,4]'), '[1,2]'::vector <#> '[3,4]', vector_negative_inner_product('[1,2]', '[-3,-4]');
SELECT l1_distance('[1,2]'::vector, '[-3,5]'), '[1,2]'::vector <+> '[-3,5]';
SELECT cosine_distance('[1,0]'::vector, '[0,2]'), '[1,0]'::vector <=> '[5,0]', '[1,0]'::vector <=> '[-5,0]';
SELECT vector_spherical_distance('[1,0]', '[0,1]'), vector_spherical_distance('[1,0]', '[1,0]'), vector_spherical_distance('[1,0]', '[-1,0]');

-- overflow gives infinity
SELECT l2_distance('[3e38]'::vector, '[-3e38]'), vector_l2_squared_distance('[1e20]', '[-1e20]'), l1_distance('[3e38]'::vector, '[-3e38]');
SELECT inner_product('[3e38]'::vector, '[3e38]'), inner_product('[3e38]'::vector, '[-3e38]'), '[3e38]'::vector <#> '[3e38]';
SELECT inner_product('[3e38,3e38]'::vector, '[3e38,-3e38]');
SELECT vector_spherical_distance('[3e38]', '[3e38]'), vector_spherical_distance('[3e38,3e38]', '[3e38,-3e38]');

-- the cosine distance of a zero or overflowing vector is NaN, on either side
SELECT a, '[1,2]'::vector <=> a::vector AS right, a::vector <=> '[1,2]' AS left, a::vector <=> a::vector AS self
FROM unnest(ARRAY['[0,0]', '[-0,0]', '[1e-45,1e-45]', '[1e-30,0]', '[1e20,1e20]', '[-3e38,0]']) a;
-- otherwise it stays in [0, 2], whatever the rounding
SELECT min(d) >= 0 AS low, max(d) <= 2 AS high, max(abs(d - expected)) < 1e-6 AS close
FROM (
	SELECT v <=> (v * array_fill(s, ARRAY[n])::vector) AS d, 1 - sign(s) AS expected
	FROM (SELECT n, (SELECT array_agg(sin(i * n))::vector FROM generate_series(1, n) i) AS v FROM generate_series(1, 100) n) t,
		unnest(ARRAY[1, 3, -1, -0.1, 1e-3]::real[]) s
) t;

-- every length, against sums by SQL; small integers, so that the result is exact.
-- Once with the machine's best instructions, once with the scalar code.
CREATE TABLE vector_pairs AS
SELECT n,
	(SELECT array_agg((i * 7 + n) % 19 - 9 ORDER BY i) FROM generate_series(1, n) i) AS a,
	(SELECT array_agg((i * 5 + n) % 23 - 11 ORDER BY i) FROM generate_series(1, n) i) AS b
FROM generate_series(1, 150) n;
CREATE VIEW vector_wrong AS
SELECT n, a, b FROM vector_pairs,
	LATERAL (SELECT sum((x - y) * (x - y))::float8 AS l2, sum(x * y)::float8 AS ip, sum(abs(x - y))::float8 AS l1,
		sum(x * x)::float8 AS aa, sum(y * y)::float8 AS bb FROM unnest(a, b) u(x, y)) s
WHERE vector_l2_squared_distance(a::vector, b::vector) <> l2
	OR l2_distance(a::vector, b::vector) <> sqrt(l2)
	OR inner_product(a::vector, b::vector) <> ip
	OR l1_distance(a::vector, b::vector) <> l1
	OR abs(cosine_distance(a::vector, b::vector) - CASE WHEN aa * bb = 0 THEN 'NaN' ELSE 1 - ip / sqrt(aa * bb) END) > 1e-12;
SELECT count(*) FROM vector_wrong;
SET piramid.simd = scalar;
SELECT piramid_simd();
SELECT count(*) FROM vector_wrong;
RESET piramid.simd;
SHOW piramid.simd;
DROP VIEW vector_wrong;
DROP TABLE vector_pairs;

-- functions
SELECT vector_dims('[1,2,3]'::vector), vector_dims(array_fill(0, ARRAY[16000])::vector);
SELECT vector_norm('[3,4]'), l2_norm('[3,4]'::vector), vector_norm('[0]'), vector_norm('[-0,0]');
SELECT round((vector_norm('[3e37,4e37]') / 1e37)::numeric, 5) AS large, round((vector_norm('[3e-30,4e-30]') / 1e-30)::numeric, 5) AS small;
SELECT l2_normalize('[3,4]'::vector), l2_normalize('[3,0]'::vector), l2_normalize('[-0.1]'::vector);
SELECT l2_normalize('[0,0]'::vector), l2_normalize('[-0,0]'::vector), l2_normalize('[3e38]'::vector), l2_normalize('[1e-45,0]'::vector);
SELECT binary_quantize('[1,0,-1]'::vector), binary_quantize('[0,0.1,-0.2,-0.3,0.4,0.5,0.6,0.7,-0.8,0.9]'::vector);
SELECT binary_quantize('[-0,1e-45,-1e-45]'::vector), length(binary_quantize(array_fill(1, ARRAY[16000])::vector));
SELECT binary_quantize('[1,-1,1,1,-1,1,-1,1]'::vector)::bit(8) = B'10110101' AS whole_byte;

-- subvector: from 1; what lies outside is cut off
SELECT start, count, subvector('[1,2,3,4,5]'::vector, start, count) FROM (VALUES
	(1, 3), (3, 2), (5, 1), (4, 9), (-1, 3), (0, 2), (-10, 2147483647), (3, 2147483647), (1, 2147483647)
) AS t(start, count);
SELECT subvector(v, 1, 15999) || subvector(v, 16000, 1) = v AS same FROM (SELECT array_agg(i)::vector AS v FROM generate_series(1, 16000) i) t;

-- arithmetic
SELECT '[1,2,3]'::vector + '[4,5,6]', '[1,2,3]'::vector - '[4,5,6]', '[1,2,3]'::vector * '[4,5,6]', '[1,2]'::vector || '[3]';
SELECT '[3e38]'::vector + '[-3e38]', '[-0]'::vector + '[-0]', '[0,-0]'::vector * '[5,5]', '[1e-45]'::vector - '[1e-45]';
SELECT '[1e-37]'::vector * '[1e-3]' AS denormal, '[0,1e-30]'::vector * '[1e-30,0]' AS zero;

-- NULL
SELECT NULL::vector <-> '[1]' IS NULL, '[1]'::vector + NULL IS NULL, vector_dims(NULL::vector) IS NULL, subvector('[1]'::vector, NULL, 1) IS NULL;
