-- vector: casts

-- from arrays, explicitly
SELECT ARRAY[1,2,3]::vector, ARRAY[1.5,2]::vector, ARRAY[1.5,2]::real[]::vector, ARRAY[1.5,2]::double precision[]::vector;
SELECT ARRAY[1,2,3]::vector(3), '{1}'::numeric(10,3)[]::vector;
SELECT ARRAY[16777217,2147483647,-2147483648,0]::vector;
SELECT '{0,-0,1e-45,3.4028235e38}'::real[]::vector;
SELECT '{1e-46,-1e-46,1e-300,0.1,16777217,3.4028235e38}'::double precision[]::vector;
SELECT '{0,0.1,1e-50,-1e-50,16777217,123456789012345678901234567890,0.000000000000000000000000000001}'::numeric[]::vector;
SELECT ARRAY[('1e-' || 16383)::numeric]::vector AS tiny;

-- lower bounds do not matter, nor does a null bitmap without NULLs
SELECT '[5:7]={1,2,3}'::int[]::vector, '[-1:0]={1,2}'::real[]::vector, '[0:1]={0.5,2}'::numeric[]::vector;
SELECT (array_remove(ARRAY[1,NULL,2], NULL))::vector;
WITH t AS (SELECT ARRAY[1,NULL,3,4]::real[] AS a) SELECT a[1:1]::vector, a[3:4]::vector, (a[1:1] || a[3:3])::vector FROM t;

-- by assignment
CREATE TABLE vector_cast (v vector(2));
INSERT INTO vector_cast VALUES (ARRAY[1,2]), (ARRAY[1.5,2]), (ARRAY[3,4]::real[]), (ARRAY[5,6]::double precision[]), ('{7,8}'::numeric[]);
INSERT INTO vector_cast VALUES (ARRAY[1,2,3]);
INSERT INTO vector_cast VALUES ('{1,2}'::text);
TABLE vector_cast;
-- comparisons of arrays stay what they were
SELECT ARRAY[1,2,3] = ARRAY[1,2,3], ARRAY[1.5] < ARRAY[2.5], ARRAY[1,2] || ARRAY[3], ARRAY[1]::real[] = ARRAY[1]::real[];

-- to real[], implicitly
SELECT v::real[], array_length(v::real[], 1), array_lower(v::real[], 1) FROM vector_cast ORDER BY v LIMIT 1;
SELECT unnest('[1,-0,1e-45]'::vector::real[]);
SELECT '[1,2]'::vector = ANY (ARRAY['[1,2]'::vector, '[3]']), (v::real[])[2] FROM vector_cast ORDER BY v LIMIT 1;
SELECT count(*) FROM vector_cast WHERE v::real[]::vector <> v;
CREATE TABLE real_cast (a real[]);
INSERT INTO real_cast SELECT v FROM vector_cast;
SELECT count(*), sum(cardinality(a)) FROM real_cast;
DROP TABLE real_cast;

-- a vector keeps its type modifier through assignment, not through functions
CREATE TABLE vector_cast3 (v vector(3));
INSERT INTO vector_cast3 SELECT v FROM vector_cast;
INSERT INTO vector_cast3 SELECT v || '[1]' FROM vector_cast;
SELECT count(*) FROM vector_cast3;

DROP TABLE vector_cast, vector_cast3;
