-- halfvec: comparison and btree

-- element by element, then by dimensions, as arrays
SELECT a, b, a::halfvec < b::halfvec AS lt, a::halfvec <= b::halfvec AS le, a::halfvec = b::halfvec AS eq,
	a::halfvec <> b::halfvec AS ne, a::halfvec >= b::halfvec AS ge, a::halfvec > b::halfvec AS gt, halfvec_cmp(a::halfvec, b::halfvec) AS cmp
FROM (VALUES ('[1,2,3]', '[1,2,3]'), ('[1,2,3]', '[1,2]'), ('[1,2]', '[1,2,3]'), ('[2]', '[1,2,3]'), ('[1,2,3]', '[2]'),
	('[0]', '[-0]'), ('[-0,1]', '[0]'), ('[-1]', '[1]'), ('[6e-8]', '[0]'), ('[1e-8]', '[0]'), ('[65504]', '[-65504]'), ('[2049]', '[2048]'), ('[1,5,0]', '[1,4,9]')
) AS t(a, b);

-- the same as the order of real[]
CREATE TABLE halfvec_btree AS
SELECT i AS id, (SELECT array_agg((i * j * 7 % 5) - 2 ORDER BY j) FROM generate_series(1, 1 + i % 4) j)::halfvec AS v
FROM generate_series(1, 300) i;
SELECT count(*) FROM halfvec_btree a, halfvec_btree b WHERE sign(halfvec_cmp(a.v, b.v)) <> btarraycmp(a.v::real[], b.v::real[]);

-- ORDER BY, DISTINCT, GROUP BY
SELECT v, count(*) FROM halfvec_btree GROUP BY v ORDER BY v LIMIT 5;
SELECT v, count(*) FROM halfvec_btree GROUP BY v ORDER BY v DESC LIMIT 5;
SELECT count(DISTINCT v), (SELECT count(DISTINCT v::real[]) FROM halfvec_btree) AS expected FROM halfvec_btree;

-- index
INSERT INTO halfvec_btree VALUES (1000, NULL), (1001, '[-0.5,0,7]');
CREATE INDEX halfvec_btree_v ON halfvec_btree (v);
ANALYZE halfvec_btree;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM halfvec_btree WHERE v = '[-0.5,-0,7]';
SELECT id FROM halfvec_btree WHERE v = '[-0.5,-0,7]';
SELECT count(*) FROM halfvec_btree WHERE v < '[0]';
SELECT count(*) FROM halfvec_btree WHERE v >= '[0]';
SELECT count(*) FROM halfvec_btree WHERE v > '[0]' AND v <= '[1,1]';
SELECT count(*) FROM halfvec_btree WHERE v IS NULL;
SELECT v FROM halfvec_btree ORDER BY v DESC NULLS LAST LIMIT 1;
RESET enable_seqscan;
SELECT count(*) FILTER (WHERE v < '[0]'), count(*) FILTER (WHERE v >= '[0]'), count(*) FILTER (WHERE v > '[0]' AND v <= '[1,1]') FROM halfvec_btree;

-- UNIQUE and ON CONFLICT: 0 and -0 are the same key
CREATE TABLE halfvec_unique (v halfvec PRIMARY KEY);
INSERT INTO halfvec_unique VALUES ('[1,0]'), ('[1]'), ('[1,0,0]');
INSERT INTO halfvec_unique VALUES ('[1,-0]');
INSERT INTO halfvec_unique VALUES ('[1,-0]'), ('[2]') ON CONFLICT DO NOTHING;
SELECT v FROM halfvec_unique ORDER BY v;

-- joins and sets
SELECT count(*) FROM halfvec_unique a JOIN halfvec_unique b ON a.v = b.v;
SELECT v FROM halfvec_unique WHERE v IN ('[2]', '[1,-0]') EXCEPT SELECT '[2]'::halfvec;

DROP TABLE halfvec_btree, halfvec_unique;
