-- vector: comparison and btree

-- element by element, then by dimensions, as arrays
SELECT a, b, a::vector < b::vector AS lt, a::vector <= b::vector AS le, a::vector = b::vector AS eq,
	a::vector <> b::vector AS ne, a::vector >= b::vector AS ge, a::vector > b::vector AS gt, vector_cmp(a::vector, b::vector) AS cmp
FROM (VALUES ('[1,2,3]', '[1,2,3]'), ('[1,2,3]', '[1,2]'), ('[1,2]', '[1,2,3]'), ('[2]', '[1,2,3]'), ('[1,2,3]', '[2]'),
	('[0]', '[-0]'), ('[-0,1]', '[0]'), ('[-1]', '[1]'), ('[1e-45]', '[0]'), ('[3.4028235e38]', '[-3.4028235e38]'), ('[1,5,0]', '[1,4,9]')
) AS t(a, b);

-- the same as the order of real[]
CREATE TABLE vector_btree AS
SELECT i AS id, (SELECT array_agg((i * j * 7 % 5) - 2 ORDER BY j) FROM generate_series(1, 1 + i % 4) j)::vector AS v
FROM generate_series(1, 300) i;
SELECT count(*) FROM vector_btree a, vector_btree b WHERE sign(vector_cmp(a.v, b.v)) <> btarraycmp(a.v::real[], b.v::real[]);

-- ORDER BY, DISTINCT, GROUP BY
SELECT v, count(*) FROM vector_btree GROUP BY v ORDER BY v LIMIT 5;
SELECT v, count(*) FROM vector_btree GROUP BY v ORDER BY v DESC LIMIT 5;
SELECT count(DISTINCT v), (SELECT count(DISTINCT v::real[]) FROM vector_btree) AS expected FROM vector_btree;

-- index
INSERT INTO vector_btree VALUES (1000, NULL), (1001, '[-0.5,0,7]');
CREATE INDEX vector_btree_v ON vector_btree (v);
ANALYZE vector_btree;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM vector_btree WHERE v = '[-0.5,-0,7]';
SELECT id FROM vector_btree WHERE v = '[-0.5,-0,7]';
SELECT count(*) FROM vector_btree WHERE v < '[0]';
SELECT count(*) FROM vector_btree WHERE v >= '[0]';
SELECT count(*) FROM vector_btree WHERE v > '[0]' AND v <= '[1,1]';
SELECT count(*) FROM vector_btree WHERE v IS NULL;
SELECT v FROM vector_btree ORDER BY v DESC NULLS LAST LIMIT 1;
RESET enable_seqscan;
SELECT count(*) FILTER (WHERE v < '[0]'), count(*) FILTER (WHERE v >= '[0]'), count(*) FILTER (WHERE v > '[0]' AND v <= '[1,1]') FROM vector_btree;

-- UNIQUE and ON CONFLICT: 0 and -0 are the same key
CREATE TABLE vector_unique (v vector PRIMARY KEY);
INSERT INTO vector_unique VALUES ('[1,0]'), ('[1]'), ('[1,0,0]');
INSERT INTO vector_unique VALUES ('[1,-0]');
INSERT INTO vector_unique VALUES ('[1,-0]'), ('[2]') ON CONFLICT DO NOTHING;
SELECT v FROM vector_unique ORDER BY v;

-- joins and sets
SELECT count(*) FROM vector_unique a JOIN vector_unique b ON a.v = b.v;
SELECT v FROM vector_unique WHERE v IN ('[2]', '[1,-0]') EXCEPT SELECT '[2]'::vector;

DROP TABLE vector_btree, vector_unique;
