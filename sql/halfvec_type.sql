-- halfvec: text form, rounding to half precision, type modifier, storage

-- text: white space around every token; the shortest text of the float comes back
SELECT '[1,2,3]'::halfvec;
SELECT '[-1,-2.5,3e4]'::halfvec;
SELECT E' \t[ 1\n,  2 ,\r 3\f] \x0b'::halfvec;
SELECT '[+1,.5,5.,1E2,1e+2,1e-2,007,0x10,0x1p-3]'::halfvec;
SELECT '[0.1,0.2,1.23456789,3.14159,1e-5,12345]'::halfvec;

-- eleven bits: integers up to 2048, then even ones, then multiples of 4
SELECT '[2047,2048,2049,2050,2051,4095,4097,4098,4099,65503]'::halfvec;

-- rounded to nearest, ties to even: the middle between two halves and its surroundings
SELECT halfvec_send('[1.00048828125,1.0004882,1.0004884]');
SELECT halfvec_send('[1.00146484375,1.0014648,1.0014649]');
SELECT halfvec_send('[-1.00048828125,-1.0004884,-1.00146484375]');
SELECT halfvec_send('[6.0975552e-5,6.1005354e-5,6.103515625e-5]') AS largest_denormal_middle_smallest_normal;
-- through float4: what lies within half a unit of a float from the middle counts as the middle
SELECT '[1.00048828126,1.00048828131]'::halfvec, '[1.00048828126,1.00048828131]'::vector::halfvec,
	ARRAY[1.00048828126,1.00048828131]::numeric[]::halfvec, ARRAY[1.00048828126,1.00048828131]::float8[]::halfvec;

-- zeros, denormals, limits; what is too small becomes zero of its sign
SELECT '[0,-0,1e-8,-1e-8,1e-46,-1e-400]'::halfvec;
SELECT '[2.98023223876953125e-8,2.980233e-8,-2.980233e-8,5.9604645e-8,8.940696e-8,8.940697e-8]'::halfvec;
SELECT halfvec_send('[2.98023223876953125e-8,2.980233e-8,-2.980233e-8,5.9604645e-8,8.94069671630859375e-8,8.940697e-8]');
SELECT '[65504,-65504,65519,-65519,65519.99,65505]'::halfvec;

-- every half comes back from its text: all bits but those of infinity and NaN
CREATE TABLE halfvec_all AS
SELECT i, CASE WHEN i < 32768 THEN 1 ELSE -1 END::float8 * CASE i >> 10 & 31 WHEN 0 THEN (i & 1023) * 2 ^ (-24) ELSE (1024 + (i & 1023)) * 2 ^ ((i >> 10 & 31) - 25) END AS value
FROM generate_series(0, 65535) i WHERE i >> 10 & 31 < 31;
SELECT count(*),
	count(*) FILTER (WHERE ARRAY[value]::halfvec::real[] <> ARRAY[value]::real[]) AS changed,
	count(*) FILTER (WHERE (ARRAY[value]::halfvec)::text::halfvec <> ARRAY[value]::halfvec) AS changed_as_text,
	count(*) FILTER (WHERE value <> 0 AND halfvec_send(ARRAY[value]::halfvec) <> '\x00010000'::bytea || int2send((CASE WHEN i < 32768 THEN i ELSE i - 65536 END)::int2)) AS wrong_bits
FROM halfvec_all;
-- and the middle between two of them becomes the even one; slightly more or less becomes the nearer
SELECT count(*),
	count(*) FILTER (WHERE ARRAY[m]::halfvec::real[] <> ARRAY[CASE WHEN i % 2 = 0 THEN low ELSE high END]::real[]) AS wrong,
	count(*) FILTER (WHERE ARRAY[m * (1 - 2 ^ (-22))]::halfvec::real[] <> ARRAY[low]::real[]) AS wrong_below,
	count(*) FILTER (WHERE ARRAY[m * (1 + 2 ^ (-22))]::halfvec::real[] <> ARRAY[high]::real[]) AS wrong_above
FROM (SELECT a.i, a.value AS low, b.value AS high, (a.value + b.value) / 2 AS m FROM halfvec_all a JOIN halfvec_all b ON b.i = a.i + 1 WHERE b.i < 32768) t;
DROP TABLE halfvec_all;

-- output ignores extra_float_digits
SET extra_float_digits = -3;
SELECT '[0.1,65504]'::halfvec;
RESET extra_float_digits;

-- type modifier
CREATE TABLE halfvec_typmod (a halfvec, b halfvec(3), c halfvec(16000), d halfvec(2)[]);
SELECT attname, format_type(atttypid, atttypmod), attstorage
FROM pg_attribute WHERE attrelid = 'halfvec_typmod'::regclass AND attnum > 0 ORDER BY attnum;
INSERT INTO halfvec_typmod (a, b, d) VALUES ('[1]', '[1,2,3]', '{"[1,2]","[3,4]",NULL}');
INSERT INTO halfvec_typmod (b) VALUES ('[1,2]');
INSERT INTO halfvec_typmod (d) VALUES ('{"[1]"}');
INSERT INTO halfvec_typmod (c) VALUES ('[1]');
INSERT INTO halfvec_typmod (a) VALUES (NULL);
SELECT a, b, d, d[2] FROM halfvec_typmod;
ALTER TABLE halfvec_typmod ALTER a TYPE halfvec(2);
ALTER TABLE halfvec_typmod ALTER a TYPE halfvec(1);
ALTER TABLE halfvec_typmod ALTER b TYPE halfvec;
DROP TABLE halfvec_typmod;

-- the binary form: int16 dimensions, int16 zero, the halves
SELECT halfvec_send('[1,-2.5]'), halfvec_send('[-0,6e-8,65504]');

-- the stored form: header, dimensions, zero, two bytes per element
SELECT dim, pg_column_size(array_fill(1, ARRAY[dim])::halfvec) FROM (VALUES (1), (3), (16000)) AS d(dim);

-- values come back from a short header, a plain tuple and TOAST
CREATE TABLE halfvec_toast (id int, v halfvec);
INSERT INTO halfvec_toast
SELECT d, (SELECT array_agg(i % 2048 + d % 7)::halfvec FROM generate_series(1, d) i)
FROM unnest(ARRAY[1, 3, 60, 61, 62, 800, 1200, 4000, 16000]) d;
SELECT id, vector_dims(v),
	v = (SELECT array_agg(i % 2048 + id % 7)::halfvec FROM generate_series(1, id) i) AS same,
	length(v::text) AS length
FROM halfvec_toast ORDER BY id;
SELECT pg_relation_size(reltoastrelid) > 0 AS toasted FROM pg_class WHERE oid = 'halfvec_toast'::regclass;
DROP TABLE halfvec_toast;
