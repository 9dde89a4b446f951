-- sparsevec: comparison and btree

-- element by element with the zeros between, then by dimensions
SELECT a, b, a::sparsevec < b::sparsevec AS lt, a::sparsevec <= b::sparsevec AS le, a::sparsevec = b::sparsevec AS eq,
	a::sparsevec <> b::sparsevec AS ne, a::sparsevec >= b::sparsevec AS ge, a::sparsevec > b::sparsevec AS gt, sparsevec_cmp(a::sparsevec, b::sparsevec) AS cmp
FROM (VALUES ('{1:1,3:2}/3', '{3:2,1:1}/3'), ('{1:1}/3', '{1:1}/2'), ('{1:1}/2', '{1:1}/3'), ('{1:1}/3', '{2:1}/3'), ('{1:-1}/3', '{2:1}/3'),
	('{2:1}/3', '{}/3'), ('{2:-1}/3', '{}/3'), ('{}/3', '{}/4'), ('{}/3', '{4:-1}/4'), ('{4:-1}/4', '{}/3'), ('{}/3', '{3:-1}/4'),
	('{1:1,5:-7}/9', '{1:1}/4'), ('{1:1,4:-7}/9', '{1:1}/4'), ('{1:1,3:5}/9', '{1:1,4:-7}/9'), ('{1:1}/1000000000', '{1:1}/999999999'),
	('{1000000000:1}/1000000000', '{}/1000000000'), ('{1:1e-45}/1', '{}/1')
) AS t(a, b);

-- the same as the order of real[] and of vector, zeros included
CREATE TABLE sparsevec_btree AS
SELECT i AS id, (SELECT array_agg(greatest((i * j * 7 % 5) - 2, -1) * (i / j % 2) ORDER BY j) FROM generate_series(1, 1 + i % 5) j)::vector AS dense
FROM generate_series(1, 300) i;
ALTER TABLE sparsevec_btree ADD v sparsevec;
UPDATE sparsevec_btree SET v = dense;
SELECT count(*), count(*) FILTER (WHERE a.v = b.v) > 300 AS some_equal FROM sparsevec_btree a, sparsevec_btree b;
SELECT count(*) FROM sparsevec_btree a, sparsevec_btree b WHERE sparsevec_cmp(a.v, b.v) <> btarraycmp(a.dense::real[], b.dense::real[]);
SELECT count(*) FROM sparsevec_btree a, sparsevec_btree b
WHERE (a.v < b.v) <> (a.dense < b.dense) OR (a.v <= b.v) <> (a.dense <= b.dense) OR (a.v = b.v) <> (a.dense = b.dense)
	OR (a.v <> b.v) <> (a.dense <> b.dense) OR (a.v >= b.v) <> (a.dense >= b.dense) OR (a.v > b.v) <> (a.dense > b.dense);

-- ORDER BY, DISTINCT, GROUP BY
SELECT v, count(*) FROM sparsevec_btree GROUP BY v ORDER BY v LIMIT 5;
SELECT v, count(*) FROM sparsevec_btree GROUP BY v ORDER BY v DESC LIMIT 5;
SELECT count(DISTINCT v) = count(DISTINCT dense) AS same FROM sparsevec_btree;

-- index
INSERT INTO sparsevec_btree (id, v) VALUES (1000, NULL), (1001, '{2:-0.5,1000000:7}/1000000');
CREATE INDEX sparsevec_btree_v ON sparsevec_btree (v);
ANALYZE sparsevec_btree;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM sparsevec_btree WHERE v = '{1000000:7,2:-0.5}/1000000';
SELECT id FROM sparsevec_btree WHERE v = '{1000000:7,2:-0.5}/1000000';
SELECT count(*) FROM sparsevec_btree WHERE v < '{}/1';
SELECT count(*) FROM sparsevec_btree WHERE v >= '{}/1';
SELECT count(*) FROM sparsevec_btree WHERE v > '{}/1' AND v <= '{1:1,2:1}/2';
SELECT count(*) FROM sparsevec_btree WHERE v IS NULL;
RESET enable_seqscan;
SELECT count(*) FILTER (WHERE v < '{}/1'), count(*) FILTER (WHERE v >= '{}/1'), count(*) FILTER (WHERE v > '{}/1' AND v <= '{1:1,2:1}/2') FROM sparsevec_btree;

-- UNIQUE and ON CONFLICT: a zero that was written is no difference, dimensions are
CREATE TABLE sparsevec_unique (v sparsevec PRIMARY KEY);
INSERT INTO sparsevec_unique VALUES ('{1:1}/2'), ('{1:1}/1'), ('{1:1}/3');
INSERT INTO sparsevec_unique VALUES ('{1:1,2:0}/2');
INSERT INTO sparsevec_unique VALUES ('{2:-0,1:1}/2'), ('{2:1}/2') ON CONFLICT DO NOTHING;
SELECT v FROM sparsevec_unique ORDER BY v;

-- joins and sets
SELECT count(*) FROM sparsevec_unique a JOIN sparsevec_unique b ON a.v = b.v;
SELECT v FROM sparsevec_unique WHERE v IN ('{2:1}/2', '{1:1}/2') EXCEPT SELECT '{2:1}/2'::sparsevec;

DROP TABLE sparsevec_btree, sparsevec_unique;
