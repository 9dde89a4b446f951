-- ivfflat: index definitions written for pgvector get an hnsw index.
CREATE TABLE grid (id int PRIMARY KEY, v vector(3), h halfvec(3), b bit(3));
INSERT INTO grid SELECT i, ARRAY[i % 10, i / 10, 1]::vector, ARRAY[i % 10, i / 10, 1]::halfvec, (i % 8)::bit(3)
FROM generate_series(1, 300) AS i;

-- lists has no effect; m and ef_construction have theirs
CREATE INDEX grid_default ON grid USING ivfflat (v) WITH (lists = 20);
CREATE INDEX grid_ip ON grid USING ivfflat (v vector_ip_ops) WITH (lists = 20, m = 8, ef_construction = 40);
CREATE INDEX grid_cosine ON grid USING ivfflat (v vector_cosine_ops);
CREATE INDEX grid_half ON grid USING ivfflat (h halfvec_l2_ops);
CREATE INDEX grid_half_ip ON grid USING ivfflat (h halfvec_ip_ops);
CREATE INDEX grid_half_cosine ON grid USING ivfflat (h halfvec_cosine_ops);
CREATE INDEX grid_bit ON grid USING ivfflat (b bit_hamming_ops);
SELECT indexdef FROM pg_indexes WHERE tablename = 'grid' ORDER BY indexname;
SELECT indexname, (piramid_hnsw_info(indexname::regclass)).nodes FROM pg_indexes
WHERE indexdef LIKE '%ivfflat%' ORDER BY indexname;

-- as pgvector has it: bounds, and what it lacks
CREATE INDEX ON grid USING ivfflat (v) WITH (lists = 0);
CREATE INDEX ON grid USING ivfflat (v) WITH (lists = 32769);
CREATE INDEX ON grid USING ivfflat (v) WITH (list = 1);
CREATE INDEX ON grid USING hnsw (v vector_l2_ops) WITH (lists = 1);
CREATE INDEX ON grid USING ivfflat (v vector_l1_ops);

-- searches
SET enable_seqscan = off;
SET ivfflat.probes = 10;
EXPLAIN (COSTS OFF) SELECT id FROM grid ORDER BY v <-> '[3,4.1,1]' LIMIT 2;
SELECT id FROM grid ORDER BY v <-> '[3,4.1,1]' LIMIT 2;
SELECT id FROM grid ORDER BY v <#> '[1,10,1]' LIMIT 2;
SELECT id FROM grid ORDER BY v <=> '[3.1,4,1]' LIMIT 1;
SELECT id FROM grid ORDER BY h <-> '[3,4.1,1]' LIMIT 2;
SELECT DISTINCT b FROM (SELECT b FROM grid ORDER BY b <~> '101' LIMIT 30) AS near;

-- changes
ALTER INDEX grid_default SET (lists = 30);
REINDEX INDEX grid_default;
INSERT INTO grid (id, v) VALUES (1000, '[3,4.1,1]');
DELETE FROM grid WHERE id = 43;
VACUUM grid;
SELECT id FROM grid ORDER BY v <-> '[3,4.1,1]' LIMIT 2;
RESET enable_seqscan;
DROP TABLE grid;
