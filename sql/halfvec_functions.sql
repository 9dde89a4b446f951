-- halfvec: distances, functions, arithmetic

-- distances: functions and operators
SELECT l2_distance('[0,0]'::halfvec, '[3,4]'), '[0,0]'::halfvec <-> '[3,4]', halfvec_l2_squared_distance('[0,0]', '[3,4]');
SELECT inner_product('[1,2]'::halfvec, '[3,4]'), '[1,2]'::halfvec <#> '[3,4]', halfvec_negative_inner_product('[1,2]', '[-3,-4]');
SELECT l1_distance('[1,2]'::halfvec, '[-3,5]'), '[1,2]'::halfvec <+> '[-3,5]';
SELECT cosine_distance('[1,0]'::halfvec, '[0,2]'), '[1,0]'::halfvec <=> '[5,0]', '[1,0]'::halfvec <=> '[-5,0]';
SELECT halfvec_spherical_distance('[1,0]', '[0,1]'), halfvec_spherical_distance('[1,0]', '[1,0]'), halfvec_spherical_distance('[1,0]', '[-1,0]');

-- computed in float: what would overflow a half does not
SELECT l2_distance('[65504]'::halfvec, '[-65504]'), halfvec_l2_squared_distance('[65504]', '[-65504]'), l1_distance('[65504]'::halfvec, '[-65504]');
SELECT inner_product('[65504]'::halfvec, '[65504]'), '[65504]'::halfvec <#> '[65504]', inner_product('[65504,65504]'::halfvec, '[65504,-65504]');
SELECT l2_distance('[6e-8]'::halfvec, '[0]'), inner_product('[6e-8]'::halfvec, '[6e-8]');
SELECT abs(l2_distance(v, v - v) / sqrt(16000 * 65504::float8 * 65504) - 1) < 1e-6 AS long FROM (SELECT array_fill(65504, ARRAY[16000])::halfvec AS v) t;

-- a vector beside a halfvec becomes one
SELECT '[1.0001,2]'::vector <-> '[1,2]'::halfvec, '[1.0001,2]'::vector <-> '[1,2]'::vector > 0 AS differs;

-- the cosine distance of a zero vector is NaN, on either side; no other is too small or too large
SELECT a, '[1,2]'::halfvec <=> a::halfvec AS right, a::halfvec <=> '[1,2]' AS left, a::halfvec <=> a::halfvec AS self
FROM unnest(ARRAY['[0,0]', '[-0,0]', '[6e-8,6e-8]', '[65504,65504]', '[-65504,0]']) a;
-- otherwise it stays in [0, 2], whatever the rounding
SELECT min(d) >= 0 AS low, max(d) <= 2 AS high, max(abs(d - expected)) < 1e-3 AS close
FROM (
	SELECT v <=> (v * array_fill(s, ARRAY[n])::halfvec) AS d, 1 - sign(s) AS expected
	FROM (SELECT n, (SELECT array_agg(sin(i * n))::halfvec FROM generate_series(1, n) i) AS v FROM generate_series(1, 100) n) t,
		unnest(ARRAY[1, 4, -1, -0.125, 0.0625]::real[]) s
) t;

-- every length, against sums by SQL; small integers, so that the result is exact.
-- Once with the machine's best instructions, once with the scalar code.
CREATE TABLE halfvec_pairs AS
SELECT n,
	(SELECT array_agg((i * 7 + n) % 19 - 9 ORDER BY i) FROM generate_series(1, n) i) AS a,
	(SELECT array_agg((i * 5 + n) % 23 - 11 ORDER BY i) FROM generate_series(1, n) i) AS b
FROM generate_series(1, 150) n;
CREATE VIEW halfvec_wrong AS
SELECT n, a, b FROM halfvec_pairs,
	LATERAL (SELECT sum((x - y) * (x - y))::float8 AS l2, sum(x * y)::float8 AS ip, sum(abs(x - y))::float8 AS l1,
		sum(x * x)::float8 AS aa, sum(y * y)::float8 AS bb FROM unnest(a, b) u(x, y)) s
WHERE halfvec_l2_squared_distance(a::halfvec, b::halfvec) <> l2
	OR l2_distance(a::halfvec, b::halfvec) <> sqrt(l2)
	OR inner_product(a::halfvec, b::halfvec) <> ip
	OR l1_distance(a::halfvec, b::halfvec) <> l1
	OR abs(cosine_distance(a::halfvec, b::halfvec) - CASE WHEN aa * bb = 0 THEN 'NaN' ELSE 1 - ip / sqrt(aa * bb) END) > 1e-12;
SELECT count(*) FROM halfvec_wrong;
SET piramid.simd = scalar;
SELECT piramid_simd();
SELECT count(*) FROM halfvec_wrong;
RESET piramid.simd;
DROP VIEW halfvec_wrong;
DROP TABLE halfvec_pairs;

-- functions
SELECT vector_dims('[1,2,3]'::halfvec), vector_dims(array_fill(0, ARRAY[16000])::halfvec);
SELECT l2_norm('[3,4]'::halfvec), l2_norm('[0]'::halfvec), l2_norm('[-0,0]'::halfvec), l2_norm('[65504,65504]'::halfvec) = sqrt(2 * 65504::float8 * 65504) AS large, l2_norm('[6e-8]'::halfvec) = 2 ^ (-24) AS small;
SELECT l2_normalize('[3,4]'::halfvec), l2_normalize('[3,0]'::halfvec), l2_normalize('[-0.1]'::halfvec);
SELECT l2_normalize('[0,0]'::halfvec), l2_normalize('[-0,0]'::halfvec), l2_normalize('[65504]'::halfvec), l2_normalize('[6e-8,0]'::halfvec), l2_normalize('[65504,6e-8]'::halfvec);
SELECT binary_quantize('[1,0,-1]'::halfvec), binary_quantize('[0,0.1,-0.2,-0.3,0.4,0.5,0.6,0.7,-0.8,0.9]'::halfvec);
SELECT binary_quantize('[-0,6e-8,-6e-8,1e-8]'::halfvec), length(binary_quantize(array_fill(1, ARRAY[16000])::halfvec));
SELECT binary_quantize('[1,-1,1,1,-1,1,-1,1]'::halfvec)::bit(8) = B'10110101' AS whole_byte;

-- subvector: from 1; what lies outside is cut off
SELECT start, count, subvector('[1,2,3,4,5]'::halfvec, start, count) FROM (VALUES
	(1, 3), (3, 2), (5, 1), (4, 9), (-1, 3), (0, 2), (-10, 2147483647), (3, 2147483647), (1, 2147483647)
) AS t(start, count);
SELECT subvector(v, 1, 15999) || subvector(v, 16000, 1) = v AS same FROM (SELECT array_agg(i % 2048)::halfvec AS v FROM generate_series(1, 16000) i) t;

-- arithmetic, rounded to the nearest half
SELECT '[1,2,3]'::halfvec + '[4,5,6]', '[1,2,3]'::halfvec - '[4,5,6]', '[1,2,3]'::halfvec * '[4,5,6]', '[1,2]'::halfvec || '[3]';
SELECT '[65504]'::halfvec + '[-65504]', '[-0]'::halfvec + '[-0]', '[0,-0]'::halfvec * '[5,5]', '[6e-8]'::halfvec - '[6e-8]';
SELECT '[2048,2050]'::halfvec + '[1,1]' AS ties, '[65504]'::halfvec + '[15.9]' AS limit, '[0.1]'::halfvec * '[0.1]' AS product, '[1,1]'::halfvec - '[6e-8,0.0005]' AS difference;
SELECT '[6e-5]'::halfvec * '[0.1]' AS denormal, '[0,1e-4]'::halfvec * '[1e-4,0]' AS zero;
-- against numeric arithmetic, in which products and sums are exact
SELECT count(*), count(*) FILTER (WHERE v + w <> ARRAY[a + b]::halfvec) AS sums, count(*) FILTER (WHERE v - w <> ARRAY[a - b]::halfvec) AS differences,
	count(*) FILTER (WHERE v * w <> ARRAY[a * b]::halfvec) AS products
FROM (SELECT ((v::real[])[1]::float8)::numeric AS a, ((w::real[])[1]::float8)::numeric AS b, v, w
	FROM (SELECT ARRAY[sin(i) * 10 ^ (i % 5 - 2)]::halfvec AS v, ARRAY[cos(i * 3) * 10 ^ (i % 3 - 1)]::halfvec AS w FROM generate_series(1, 2000) i) t) t;

-- NULL
SELECT NULL::halfvec <-> '[1]' IS NULL, '[1]'::halfvec + NULL IS NULL, vector_dims(NULL::halfvec) IS NULL, subvector('[1]'::halfvec, NULL, 1) IS NULL;
