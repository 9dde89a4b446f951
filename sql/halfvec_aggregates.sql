-- halfvec: avg and sum

SELECT avg(v), sum(v) FROM unnest(ARRAY['[1,2,3]'::halfvec, '[3,5,7]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[1,2,3]'::halfvec, NULL, '[3,5,7]', NULL]) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[5]'::halfvec]) v;
SELECT avg(v) IS NULL AS avg, sum(v) IS NULL AS sum FROM unnest(ARRAY[NULL]::halfvec[]) v;
SELECT avg(v) IS NULL AS avg, sum(v) IS NULL AS sum FROM unnest(ARRAY[]::halfvec[]) v;
-- negative zero is a number like others
SELECT avg(v), sum(v) FROM unnest(ARRAY['[-0,0]'::halfvec]) v;

-- the average is computed in double, the sum in the type
SELECT avg(v) FROM unnest(ARRAY['[65504]'::halfvec, '[65504]', '[-65504]', '[65504]']) v;
SELECT sum(v) FROM unnest(ARRAY['[65504]'::halfvec, '[65504]', '[-65504]', '[65504]']) v;
SELECT sum(v) FROM unnest(ARRAY['[65504]'::halfvec, '[-65504]', '[65504]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[2048]'::halfvec, '[1]', '[1]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[6e-8]'::halfvec, '[6e-8]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[6e-8]'::halfvec, '[0]', '[0]']) v;
SELECT avg(v) FROM unnest(ARRAY['[1,2]'::halfvec, '[3]']) v;
SELECT sum(v) FROM unnest(ARRAY['[1,2]'::halfvec, '[3]']) v;

-- DISTINCT, FILTER, GROUP BY, HAVING, windows
SELECT avg(DISTINCT v), sum(DISTINCT v), sum(v) FILTER (WHERE v > '[1]') FROM unnest(ARRAY['[1]'::halfvec, '[1]', '[4]']) v;
SELECT i % 3 AS g, avg(ARRAY[i, -i]::halfvec), sum(ARRAY[i, -i]::halfvec) FROM generate_series(1, 9) i GROUP BY g HAVING count(*) > 1 ORDER BY g;
SELECT i, avg(ARRAY[i]::halfvec) OVER w AS avg, sum(ARRAY[i]::halfvec) OVER w AS sum, avg(ARRAY[i]::halfvec) OVER (PARTITION BY i % 2) AS half
FROM generate_series(1, 6) i WINDOW w AS (ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) ORDER BY i;
SELECT i, avg(ARRAY[i]::halfvec) OVER (ORDER BY i) AS running FROM generate_series(1, 4) i ORDER BY i;
SELECT g, avg(v), sum(v) FROM (VALUES (1, '[1]'::halfvec), (1, '[2]'), (2, '[4]')) t(g, v) GROUP BY ROLLUP (g) ORDER BY g;

-- the support functions do not change their arguments
SELECT halfvec_accum('{0}', '[1,2]'), halfvec_accum('{1,1,2}', '[1,2]'), halfvec_accum('{1}', '[1]');
SELECT halfvec_accum(s, '[10,20]'), halfvec_combine(s, '{2,3,4}'), halfvec_avg(s), s
FROM (SELECT ARRAY[n, 1, 2]::double precision[] AS s FROM generate_series(1, 1) n OFFSET 0) t;
SELECT halfvec_combine('{0}', '{0}'), halfvec_combine('{0}', '{1,2}'), halfvec_combine('{1,2}', '{0}'), halfvec_combine('{1,2}', '{3,4}');
SELECT halfvec_avg('{0}') IS NULL AS none, halfvec_avg('{0,2,3}') IS NULL AS none_left, halfvec_avg('{2,3,-3}'), halfvec_avg('[0:1]={1,2}');

-- in parallel, also when a worker sees no rows; sums up to 2048 are exact
CREATE TABLE halfvec_parallel AS
SELECT i AS id, ARRAY[(i % 4 = 0)::int, i % 2, -(i % 4 = 0)::int]::halfvec AS v, NULL::halfvec AS n FROM generate_series(1, 4000) i;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v) FROM halfvec_parallel;
SELECT avg(v), sum(v) FROM halfvec_parallel;
SELECT avg(v), sum(v) FROM halfvec_parallel WHERE id = 8;
SELECT avg(n) IS NULL AS avg, sum(n) IS NULL AS sum FROM halfvec_parallel;
SELECT avg(v) IS NULL AS avg, sum(v) IS NULL AS sum FROM halfvec_parallel WHERE id < 0;
SELECT id % 2 AS g, avg(v), count(*) FROM halfvec_parallel GROUP BY g ORDER BY g;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
DROP TABLE halfvec_parallel;

-- aggregates of long vectors
SELECT vector_dims(avg(v)), vector_dims(sum(v)), avg(v) = sum(v) * array_fill(0.5, ARRAY[16000])::halfvec AS same
FROM (VALUES (array_fill(1, ARRAY[16000])::halfvec), (array_fill(3, ARRAY[16000])::halfvec)) t(v);
