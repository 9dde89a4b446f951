-- An index that holds no rows gives none, whatever the dimensions of the query,
-- as a scan of the table does.
CREATE TABLE nothing (v vector(3), h halfvec(3), s sparsevec(3), b bit(3));
CREATE INDEX ON nothing USING hnsw (v vector_l2_ops);
CREATE INDEX ON nothing USING hnsw (v vector_ip_ops);
CREATE INDEX ON nothing USING hnsw (v vector_cosine_ops);
CREATE INDEX ON nothing USING hnsw (v vector_l1_ops);
CREATE INDEX ON nothing USING hnsw (h halfvec_l2_ops);
CREATE INDEX ON nothing USING hnsw (s sparsevec_l2_ops);
CREATE INDEX ON nothing USING hnsw (b bit_hamming_ops);
CREATE INDEX ON nothing USING hnsw (b bit_jaccard_ops);

-- All scans of a table: the distances of every operator.
CREATE FUNCTION scans(seqscan text) RETURNS TABLE (distance text, n bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_seqscan', seqscan, true);
	FOREACH distance IN ARRAY ARRAY['v <-> ''[1,2]''', 'v <#> ''[1,2]''', 'v <=> ''[1,2]''', 'v <+> ''[1,2]''',
		'h <-> ''[1,2]''', 's <-> ''{1:1}/2''', 'b <~> B''10''', 'b <%> B''10'''] LOOP
		EXECUTE format('SELECT count(*) FROM (SELECT FROM nothing ORDER BY %s LIMIT 5) AS t', distance) INTO n;
		RETURN NEXT;
	END LOOP;
END $$;

-- never filled
SELECT * FROM scans('on');
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT FROM nothing ORDER BY v <-> '[1,2]' LIMIT 5;
SELECT * FROM scans('off');

-- a row: both are errors, of one message
INSERT INTO nothing VALUES ('[1,2,3]', '[1,2,3]', '{1:1}/3', B'101');
SELECT FROM nothing ORDER BY v <-> '[1,2]' LIMIT 5;
SELECT FROM nothing ORDER BY h <-> '[1,2]' LIMIT 5;
SELECT FROM nothing ORDER BY s <-> '{1:1}/2' LIMIT 5;
SELECT FROM nothing ORDER BY b <~> B'10' LIMIT 5;
SET enable_seqscan = on;
SET enable_indexscan = off;
SELECT FROM nothing ORDER BY v <-> '[1,2]' LIMIT 5;
SELECT FROM nothing ORDER BY h <-> '[1,2]' LIMIT 5;
SELECT FROM nothing ORDER BY s <-> '{1:1}/2' LIMIT 5;
SELECT FROM nothing ORDER BY b <~> B'10' LIMIT 5;
RESET enable_indexscan;

-- emptied again: once vacuum has taken the row out of the index
DELETE FROM nothing;
VACUUM nothing;
SELECT * FROM scans('on');
SET enable_seqscan = off;
SELECT * FROM scans('off');

-- an index whose condition holds for no row
CREATE TABLE rest (id int, v vector(3));
INSERT INTO rest SELECT i, ARRAY[i, 1, 1] FROM generate_series(1, 10) AS i;
CREATE INDEX ON rest USING hnsw (v vector_l2_ops) WHERE id > 100;
SELECT id FROM rest WHERE id > 100 ORDER BY v <-> '[1,2]' LIMIT 5;
RESET enable_seqscan;
SELECT id FROM rest WHERE id > 100 ORDER BY v <-> '[1,2]' LIMIT 5;
DROP TABLE nothing, rest;
DROP FUNCTION scans;
