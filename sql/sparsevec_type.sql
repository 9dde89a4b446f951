-- sparsevec: text form, type modifier, storage

-- text: positions from 1, in any order; white space around every token
SELECT '{1:1.5,3:2}/5'::sparsevec;
SELECT '{3:2,1:1.5}/5'::sparsevec, '{5:5,4:4,3:3,2:2,1:1}/5'::sparsevec;
SELECT E' \t{ 1\n: 1.5 ,\r 3\f:2 \x0b} / 5 '::sparsevec;
SELECT '{}/5'::sparsevec, '{ }/5'::sparsevec, '{}/1000000000'::sparsevec, '{1000000000:1}/1000000000'::sparsevec;
SELECT '{+1:+1,02:.5,3:5.,4:1E2,5:1e-2,6:0x10}/+07'::sparsevec;
SELECT '{1:0.1,2:0.10000000149011612,3:-1.23456789,4:123456789}/4'::sparsevec;

-- zeros are not stored, wherever they stand; denormals and limits are
SELECT '{1:0,2:-0,3:1,4:0e999,5:0e-999}/5'::sparsevec, '{1:0}/1'::sparsevec;
SELECT '{1:0,1:1}/5'::sparsevec, '{1:1,1:0}/5'::sparsevec, '{0:0,6:0,3:1}/5'::sparsevec;
SELECT '{1:1e-45,2:-1.4e-45,3:3.4028235e38,4:-3.4028235e38}/4'::sparsevec;

-- output ignores extra_float_digits
SET extra_float_digits = -3;
SELECT '{1:0.1234567891,2:1e38}/2'::sparsevec;
RESET extra_float_digits;

-- as many elements as it can hold, shuffled
SELECT length(v::text), v = (SELECT ('{' || string_agg(i * 62500 || ':' || i, ',') || '}/1000000000')::sparsevec FROM generate_series(1, 16000) i) AS same
FROM (SELECT ('{' || string_agg(i * 62500 || ':' || i, ',' ORDER BY i * 7919 % 16001) || '}/1000000000')::sparsevec AS v
	FROM generate_series(1, 16000) i) t;

-- type modifier
CREATE TABLE sparsevec_typmod (a sparsevec, b sparsevec(3), c sparsevec(1000000000), d sparsevec(2)[]);
SELECT attname, format_type(atttypid, atttypmod), attstorage
FROM pg_attribute WHERE attrelid = 'sparsevec_typmod'::regclass AND attnum > 0 ORDER BY attnum;
INSERT INTO sparsevec_typmod (a, b, d) VALUES ('{1:1}/1', '{1:1,3:3}/3', '{"{1:1}/2","{}/2",NULL}');
INSERT INTO sparsevec_typmod (b) VALUES ('{1:1}/2');
INSERT INTO sparsevec_typmod (d) VALUES ('{"{1:1}/1"}');
INSERT INTO sparsevec_typmod (c) VALUES ('{1:1}/1');
INSERT INTO sparsevec_typmod (a) VALUES (NULL);
SELECT a, b, d, d[2] FROM sparsevec_typmod;
ALTER TABLE sparsevec_typmod ALTER a TYPE sparsevec(2);
ALTER TABLE sparsevec_typmod ALTER a TYPE sparsevec(1);
ALTER TABLE sparsevec_typmod ALTER b TYPE sparsevec;
DROP TABLE sparsevec_typmod;

-- the binary form: int32 dimensions, elements, zero; indices from 0; values
SELECT sparsevec_send('{1:1.5,3:-2}/5'), sparsevec_send('{}/5');

-- the stored form: header, dimensions, elements, zero, indices, values
SELECT v, pg_column_size(v::sparsevec) FROM unnest(ARRAY['{}/5', '{5:1}/5', '{1:1.5,3:2}/1000000000']) v;

-- values come back from a short header, a plain tuple and TOAST
CREATE TABLE sparsevec_toast (id int, v sparsevec);
INSERT INTO sparsevec_toast
SELECT d, (SELECT ('{' || string_agg(i * 7 || ':' || i * d, ',') || '}/1000000')::sparsevec FROM generate_series(1, d) i)
FROM unnest(ARRAY[1, 3, 13, 14, 200, 300, 2000, 16000]) d;
INSERT INTO sparsevec_toast VALUES (0, '{}/1000000');
SELECT id, length(v::text) AS length, v <-> '{}/1000000' AS norm,
	v = (SELECT ('{' || coalesce(string_agg(i * 7 || ':' || i * id, ','), '') || '}/1000000')::sparsevec FROM generate_series(1, id) i) AS same
FROM sparsevec_toast ORDER BY id;
SELECT pg_relation_size(reltoastrelid) > 0 AS toasted FROM pg_class WHERE oid = 'sparsevec_toast'::regclass;
DROP TABLE sparsevec_toast;

-- every function and operator of the type has a comment
SELECT p.oid::regprocedure FROM pg_proc p
WHERE ('sparsevec'::regtype = ANY (proargtypes) OR prorettype = 'sparsevec'::regtype) AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT o.oid::regoperator FROM pg_operator o
WHERE 'sparsevec'::regtype IN (oprleft, oprright) AND obj_description(o.oid, 'pg_operator') IS NULL;
