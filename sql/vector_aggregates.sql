-- vector: avg and sum

SELECT avg(v), sum(v) FROM unnest(ARRAY['[1,2,3]'::vector, '[3,5,7]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[1,2,3]'::vector, NULL, '[3,5,7]', NULL]) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[5]'::vector]) v;
SELECT avg(v) IS NULL AS avg, sum(v) IS NULL AS sum FROM unnest(ARRAY[NULL]::vector[]) v;
SELECT avg(v) IS NULL AS avg, sum(v) IS NULL AS sum FROM unnest(ARRAY[]::vector[]) v;
-- negative zero is a number like others
SELECT avg(v), sum(v) FROM unnest(ARRAY['[-0,0]'::vector]) v;

-- the average is computed in double, the sum in the type
SELECT avg(v) FROM unnest(ARRAY['[3e38]'::vector, '[3e38]', '[-3e38]', '[3e38]']) v;
SELECT sum(v) FROM unnest(ARRAY['[3e38]'::vector, '[3e38]', '[-3e38]', '[3e38]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[16777216]'::vector, '[1]', '[1]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[1e-45]'::vector, '[1e-45]']) v;
SELECT avg(v) FROM unnest(ARRAY['[1,2]'::vector, '[3]']) v;
SELECT sum(v) FROM unnest(ARRAY['[1,2]'::vector, '[3]']) v;

-- DISTINCT, FILTER, GROUP BY, HAVING, windows
SELECT avg(DISTINCT v), sum(DISTINCT v), sum(v) FILTER (WHERE v > '[1]') FROM unnest(ARRAY['[1]'::vector, '[1]', '[4]']) v;
SELECT i % 3 AS g, avg(ARRAY[i, -i]::vector), sum(ARRAY[i, -i]::vector) FROM generate_series(1, 9) i GROUP BY g HAVING count(*) > 1 ORDER BY g;
SELECT i, avg(ARRAY[i]::vector) OVER w AS avg, sum(ARRAY[i]::vector) OVER w AS sum, avg(ARRAY[i]::vector) OVER (PARTITION BY i % 2) AS half
FROM generate_series(1, 6) i WINDOW w AS (ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) ORDER BY i;
SELECT i, avg(ARRAY[i]::vector) OVER (ORDER BY i) AS running FROM generate_series(1, 4) i ORDER BY i;
SELECT g, avg(v), sum(v) FROM (VALUES (1, '[1]'::vector), (1, '[2]'), (2, '[4]')) t(g, v) GROUP BY ROLLUP (g) ORDER BY g;

-- the support functions do not change their arguments
SELECT vector_accum('{0}', '[1,2]'), vector_accum('{1,1,2}', '[1,2]'), vector_accum('{1}', '[1]');
SELECT vector_accum(s, '[10,20]'), vector_combine(s, '{2,3,4}'), vector_avg(s), s
FROM (SELECT ARRAY[n, 1, 2]::double precision[] AS s FROM generate_series(1, 1) n OFFSET 0) t;
SELECT vector_combine('{0}', '{0}'), vector_combine('{0}', '{1,2}'), vector_combine('{1,2}', '{0}'), vector_combine('{1,2}', '{3,4}');
SELECT vector_avg('{0}') IS NULL AS none, vector_avg('{0,2,3}') IS NULL AS none_left, vector_avg('{2,3,-3}'), vector_avg('[0:1]={1,2}');

-- in parallel, also when a worker sees no rows
CREATE TABLE vector_parallel AS
SELECT i AS id, ARRAY[i, i % 2, -i]::vector AS v, NULL::vector AS n FROM generate_series(1, 4000) i;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v) FROM vector_parallel;
SELECT avg(v), sum(v) FROM vector_parallel;
SELECT avg(v), sum(v) FROM vector_parallel WHERE id = 7;
SELECT avg(n) IS NULL AS avg, sum(n) IS NULL AS sum FROM vector_parallel;
SELECT avg(v) IS NULL AS avg, sum(v) IS NULL AS sum FROM vector_parallel WHERE id < 0;
SELECT id % 2 AS g, avg(v), count(*) FROM vector_parallel GROUP BY g ORDER BY g;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
DROP TABLE vector_parallel;

-- aggregates of long vectors
SELECT vector_dims(avg(v)), vector_dims(sum(v)), avg(v) = sum(v) * array_fill(0.5, ARRAY[16000])::vector AS same
FROM (VALUES (array_fill(1, ARRAY[16000])::vector), (array_fill(3, ARRAY[16000])::vector)) t(v);
