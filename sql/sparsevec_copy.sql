-- sparsevec: COPY in text, CSV and binary

CREATE TABLE sparsevec_copy (id int, v sparsevec(3));
COPY sparsevec_copy FROM stdin;
1	{1:1,2:2,3:3}/3
2	 { 3 : 1e-45 , 1 : 1.5 } / 3 
3	\N
4	{}/3
\.
COPY sparsevec_copy FROM stdin (FORMAT csv);
5,"{1:1,3:2}/3"
6,
7,{2:2}/3
\.
COPY sparsevec_copy FROM stdin;
8	{1:1}/4
\.
COPY sparsevec_copy FROM stdin;
8	{9:1,9:1}/4
\.
COPY sparsevec_copy FROM stdin;
8	{1:1
\.
COPY sparsevec_copy FROM stdin (FORMAT csv);
8,{1:1,2:2}/3
\.
COPY sparsevec_copy TO stdout;
COPY sparsevec_copy TO stdout (FORMAT csv);
DROP TABLE sparsevec_copy;

-- Binary: the datum's bytes, wrapped in the format of COPY, go in through
-- printf, so that any bytes can be tried.
CREATE TABLE sparsevec_binary (v sparsevec, v2 sparsevec(2));
CREATE FUNCTION receive(datum bytea, col text DEFAULT 'v') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	file bytea := '\x5047434f50590aff0d0a000000000000000000'::bytea
		|| int2send(1::int2) || int4send(length(datum)) || datum || int2send((-1)::int2);
	octal text := '';
	result text;
BEGIN
	FOR i IN 0 .. length(file) - 1 LOOP
		octal := octal || '\' || get_byte(file, i) / 64 || get_byte(file, i) / 8 % 8 || get_byte(file, i) % 8;
	END LOOP;
	DELETE FROM sparsevec_binary;
	EXECUTE format('COPY sparsevec_binary (%I) FROM PROGRAM %L (FORMAT binary)', col, 'printf ''' || octal || '''');
	EXECUTE format('SELECT %I::text FROM sparsevec_binary', col) INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- what send wrote comes back
SELECT v, receive(sparsevec_send(v::sparsevec)) = v AS same
FROM unnest(ARRAY['{}/1', '{1:1}/1', '{1:1.5,3:2}/5', '{2:1e-45,1000000000:-3.4028235e+38}/1000000000']) v;
SELECT receive(sparsevec_send('{2:1}/2'), 'v2'), receive(sparsevec_send('{2:1}/3'), 'v2');

-- and nothing else: cut off or too long
SELECT datum, receive(datum) FROM unnest(ARRAY[
	'\x', '\x00', '\x00000005', '\x0000000500000000', '\x00000005000000000000', '\x000000050000000000000000', '\x00000005000000000000000000',
	'\x000000050000000100000000', '\x0000000500000001000000000000', '\x00000005000000010000000000000000', '\x00000005000000010000000000000000003f80',
	'\x000000050000000100000000000000003f800000', '\x000000050000000100000000000000003f80000000',
	'\x3b9aca0000003e8000000000', '\x3b9aca0000003e800000000000000000'
]::bytea[]) WITH ORDINALITY AS t(datum, n) ORDER BY n;
-- dimensions, number of elements, what is not used
SELECT datum, receive(datum), receive(datum, 'v2') AS as_2 FROM unnest(ARRAY[
	'\x000000000000000000000000', '\xffffffff0000000000000000', '\x800000000000000000000000', '\x3b9aca000000000000000000', '\x3b9aca010000000000000000', '\x7fffffff0000000000000000',
	'\x00000005ffffffff00000000', '\x000000058000000000000000', '\x000000050000000600000000', '\x0000000500003e8000000000', '\x3b9aca0000003e8100000000', '\x3b9aca007fffffff00000000',
	'\x000000050000000000000001', '\x0000000500000000ffffffff', '\x000000050000000080000000'
]::bytea[]) WITH ORDINALITY AS t(datum, n) ORDER BY n;
-- indices
SELECT datum, receive(datum) FROM unnest(ARRAY[
	'\x000000050000000100000000000000043f800000', '\x000000050000000100000000000000053f800000', '\x000000050000000100000000ffffffff3f800000',
	'\x000000050000000100000000800000003f800000', '\x0000000500000001000000007fffffff3f800000',
	'\x00000005000000020000000000000000000000043f80000040000000', '\x00000005000000020000000000000004000000003f80000040000000',
	'\x00000005000000020000000000000001000000013f80000040000000', '\x0000000500000002000000000000000000000000'
]::bytea[]) WITH ORDINALITY AS t(datum, n) ORDER BY n;
-- values
SELECT datum, receive(datum) FROM unnest(ARRAY[
	'\x0000000500000001000000000000000000000000', '\x0000000500000001000000000000000080000000',
	'\x000000050000000100000000000000007fc00000', '\x00000005000000010000000000000000ffc00000', '\x000000050000000100000000000000007f800001',
	'\x000000050000000100000000000000007f800000', '\x00000005000000010000000000000000ff800000',
	'\x00000005000000020000000000000000000000013f80000000000000',
	'\x0000000500000001000000000000000000000001', '\x000000050000000100000000000000007f7fffff'
]::bytea[]) WITH ORDINALITY AS t(datum, n) ORDER BY n;

DROP FUNCTION receive;
DROP TABLE sparsevec_binary;
