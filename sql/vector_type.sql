-- vector: text form, type modifier, storage

-- the library is the extension's
SELECT piramid_version() = extversion AS same_version FROM pg_extension WHERE extname = 'piramid';

-- text: white space around every token; the shortest text comes back
SELECT '[1,2,3]'::vector;
SELECT '[-1,-2.5,3e10]'::vector;
SELECT E' \t[ 1\n,  2 ,\r 3\f] \x0b'::vector;
SELECT '[+1,.5,5.,1E2,1e+2,1e-2,007,0x10,0x1p-3]'::vector;
SELECT '[0.1,0.10000000149011612,1.23456789,123456789,1e6,1e-5]'::vector;

-- zeros, denormals, limits; what is too small becomes zero of its sign
SELECT '[0,-0,1e-46,-1e-46,1e-400,-1e-400]'::vector;
SELECT '[1e-45,1.4e-45,-1e-45,1.1754943e-38,1.1754942e-38]'::vector;
SELECT '[3.4028235e38,-3.4028235e38,3.40282356e38,34028235e31,340282346638528859811704183484516925440]'::vector;

-- rounded once, to nearest, ties to even: midpoints of floats and their surroundings
SELECT '[16777217,16777219,16777217.0000000001,9007199254740993]'::vector;
SELECT vector_send('[1.000000059604644775390625,1.00000005960464477,1.00000005960464478]');
SELECT vector_send('[1.00000017881393432617187499,1.00000017881393432617187500,1.00000017881393432617187501]');
SELECT '[0.30000000000000004,1234567890123456789,12345678901234567890,1234567890123456789012345678901234567]'::vector;
SELECT '[1e22,1e-22,1e23,1e-23,123456789e22,123456789e-22,0e999,0.000000000000000000000000000001]'::vector;

-- output ignores extra_float_digits
SET extra_float_digits = -3;
SELECT '[0.1234567891,1e38]'::vector;
RESET extra_float_digits;

-- type modifier
CREATE TABLE vector_typmod (a vector, b vector(3), c vector(16000), d vector(2)[]);
SELECT attname, format_type(atttypid, atttypmod), attstorage
FROM pg_attribute WHERE attrelid = 'vector_typmod'::regclass AND attnum > 0 ORDER BY attnum;
INSERT INTO vector_typmod (a, b, d) VALUES ('[1]', '[1,2,3]', '{"[1,2]","[3,4]",NULL}');
INSERT INTO vector_typmod (b) VALUES ('[1,2]');
INSERT INTO vector_typmod (d) VALUES ('{"[1]"}');
INSERT INTO vector_typmod (c) VALUES ('[1]');
INSERT INTO vector_typmod (a) VALUES (NULL);
SELECT a, b, d, d[2] FROM vector_typmod;
ALTER TABLE vector_typmod ALTER a TYPE vector(2);
ALTER TABLE vector_typmod ALTER a TYPE vector(1);
ALTER TABLE vector_typmod ALTER b TYPE vector;
DROP TABLE vector_typmod;

-- the binary form: int16 dimensions, int16 zero, the floats
SELECT vector_send('[1,-2.5]'), vector_send('[-0,1e-45,3.4028235e38]');

-- the stored form: header, dimensions, zero, floats
SELECT dim, pg_column_size(array_fill(1, ARRAY[dim])::vector) FROM (VALUES (1), (3), (16000)) AS d(dim);

-- values come back from a short header, a plain tuple and TOAST
CREATE TABLE vector_toast (id int, v vector);
INSERT INTO vector_toast
SELECT d, (SELECT array_agg(i * d)::vector FROM generate_series(1, d) i)
FROM unnest(ARRAY[1, 3, 30, 31, 400, 600, 2000, 16000]) d;
SELECT id, vector_dims(v),
	v = (SELECT array_agg(i * id)::vector FROM generate_series(1, id) i) AS same,
	length(v::text) AS length
FROM vector_toast ORDER BY id;
SELECT pg_relation_size(reltoastrelid) > 0 AS toasted FROM pg_class WHERE oid = 'vector_toast'::regclass;
DROP TABLE vector_toast;

-- every function and operator that users call has a comment
SELECT p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'piramid')
	AND obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1;
SELECT o.oid::regoperator FROM pg_depend d JOIN pg_operator o ON o.oid = d.objid
WHERE d.classid = 'pg_operator'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'piramid')
	AND obj_description(o.oid, 'pg_operator') IS NULL ORDER BY 1;
