-- halfvec: casts

-- from arrays, explicitly
SELECT ARRAY[1,2,3]::halfvec, ARRAY[1.5,2]::halfvec, ARRAY[1.5,2]::real[]::halfvec, ARRAY[1.5,2]::double precision[]::halfvec;
SELECT ARRAY[1,2,3]::halfvec(3), '{1}'::numeric(10,3)[]::halfvec;
SELECT ARRAY[2049,65519,-65519,0]::halfvec;
SELECT '{0,-0,1e-45,6e-8,2.9802322e-8,2.9802326e-8,65504,65519.99}'::real[]::halfvec;
SELECT '{1e-46,-1e-46,1e-300,0.1,2049,65504}'::double precision[]::halfvec;
SELECT '{0,0.1,1e-50,-1e-50,2051,65519.9,0.000000000000000000000000000001}'::numeric[]::halfvec;
SELECT ARRAY[('1e-' || 16383)::numeric]::halfvec AS tiny;

-- lower bounds do not matter, nor does a null bitmap without NULLs
SELECT '[5:7]={1,2,3}'::int[]::halfvec, '[-1:0]={1,2}'::real[]::halfvec, '[0:1]={0.5,2}'::numeric[]::halfvec;
SELECT (array_remove(ARRAY[1,NULL,2], NULL))::halfvec;
WITH t AS (SELECT ARRAY[1,NULL,3,4]::real[] AS a) SELECT a[1:1]::halfvec, a[3:4]::halfvec, (a[1:1] || a[3:3])::halfvec FROM t;

-- by assignment
CREATE TABLE halfvec_cast (v halfvec(2));
INSERT INTO halfvec_cast VALUES (ARRAY[1,2]), (ARRAY[1.5,2]), (ARRAY[3,4]::real[]), (ARRAY[5,6]::double precision[]), ('{7,8}'::numeric[]);
INSERT INTO halfvec_cast VALUES (ARRAY[1,2,3]);
INSERT INTO halfvec_cast VALUES ('{1,2}'::text);
TABLE halfvec_cast;
-- comparisons of arrays stay what they were
SELECT ARRAY[1,2,3] = ARRAY[1,2,3], ARRAY[1.5] < ARRAY[2.5], ARRAY[1,2] || ARRAY[3], ARRAY[1]::real[] = ARRAY[1]::real[];

-- to real[], by assignment
SELECT v::real[], array_length(v::real[], 1), array_lower(v::real[], 1) FROM halfvec_cast ORDER BY v LIMIT 1;
SELECT unnest('[1,-0,6e-8,0.1]'::halfvec::real[]);
SELECT '[1,2]'::halfvec = ANY (ARRAY['[1,2]'::halfvec, '[3]']), (v::real[])[2] FROM halfvec_cast ORDER BY v LIMIT 1;
SELECT count(*) FROM halfvec_cast WHERE v::real[]::halfvec <> v;
CREATE TABLE real_cast (a real[]);
INSERT INTO real_cast SELECT v FROM halfvec_cast;
SELECT count(*), sum(cardinality(a)) FROM real_cast;
DROP TABLE real_cast;

-- from vector implicitly, to vector by assignment: exact
SELECT '[1,-0,6e-8,0.1,65504]'::halfvec::vector, '[1,1e-8,-1e-8,0.1,65519]'::vector::halfvec, '[1,2]'::vector::halfvec(2), '[1,2]'::halfvec::vector(2);
SELECT bool_and(v::halfvec::vector::halfvec = v::halfvec), bool_and(v::halfvec::vector::real[] = v::halfvec::real[]), bool_and((v::halfvec)::text = (v::vector::halfvec)::text)
FROM (SELECT (SELECT array_agg(sin(i * n))::vector FROM generate_series(1, n) i) AS v FROM generate_series(1, 150) n) t;
CREATE TABLE vector_cast (v vector(2));
INSERT INTO vector_cast SELECT v FROM halfvec_cast;
INSERT INTO halfvec_cast SELECT v FROM vector_cast;
INSERT INTO vector_cast SELECT v || '[1]' FROM halfvec_cast;
SELECT count(*) FROM vector_cast a JOIN halfvec_cast b ON a.v = b.v;
SELECT count(*) FROM vector_cast a JOIN halfvec_cast b ON a.v::halfvec <-> b.v = 0;
DROP TABLE vector_cast;
-- the casts round alike at every level of instructions
CREATE VIEW halfvec_cast_sum AS
SELECT md5(string_agg(halfvec_send(v::halfvec)::text || vector_send((v::halfvec)::vector)::text, ' ' ORDER BY n))
FROM (SELECT n, (SELECT array_agg(sin(i * n) * 10 ^ (i % 12 - 8))::vector FROM generate_series(1, n) i) AS v FROM generate_series(1, 100) n) t;
SET piramid.simd = scalar;
SELECT md5 AS scalar FROM halfvec_cast_sum \gset
RESET piramid.simd;
SELECT md5 = :'scalar' AS same FROM halfvec_cast_sum;
DROP VIEW halfvec_cast_sum;

-- a halfvec keeps its type modifier through assignment, not through functions
CREATE TABLE halfvec_cast3 (v halfvec(3));
INSERT INTO halfvec_cast3 SELECT v FROM halfvec_cast;
INSERT INTO halfvec_cast3 SELECT v || '[1]' FROM halfvec_cast;
SELECT count(*) FROM halfvec_cast3;

DROP TABLE halfvec_cast, halfvec_cast3;
