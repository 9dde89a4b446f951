-- vector: COPY in text, CSV and binary

CREATE TABLE vector_copy (id int, v vector(3));
COPY vector_copy FROM stdin;
1	[1,2,3]
2	 [ 1.5 , -2 , 1e-45 ] 
3	\N
\.
COPY vector_copy FROM stdin (FORMAT csv);
4,"[1,2,3]"
5,
\.
COPY vector_copy FROM stdin;
6	[1,2]
\.
COPY vector_copy FROM stdin;
6	[1,2,3
\.
COPY vector_copy FROM stdin (FORMAT csv);
6,[1,2,3]
\.
COPY vector_copy FROM stdin (FORMAT csv);
6,"[1,NaN,3]"
\.
COPY vector_copy TO stdout;
COPY vector_copy TO stdout (FORMAT csv);
DROP TABLE vector_copy;

-- Binary: the datum's bytes, wrapped in the format of COPY, go in through
-- printf, so that any bytes can be tried.
CREATE TABLE vector_binary (n serial, v vector, v2 vector(2));
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
	DELETE FROM vector_binary;
	EXECUTE format('COPY vector_binary (%I) FROM PROGRAM %L (FORMAT binary)', col, 'printf ''' || octal || '''');
	EXECUTE format('SELECT %I::text FROM vector_binary', col) INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- what send wrote comes back
SELECT v, receive(vector_send(v::vector)) = v AS same
FROM unnest(ARRAY['[1]', '[1,2,3]', '[-0,1e-45,-3.4028235e+38]', '[0.1,0.2,0.3,0.4,0.5]']) v;
SELECT receive(vector_send('[1,2]'), 'v2'), receive(vector_send('[1,2,3]'), 'v2');

-- and nothing else
SELECT datum, receive(datum) FROM unnest(ARRAY[
	'\x', '\x00', '\x0001', '\x000100', '\x00010000', '\x000100003f', '\x000100003f8000', '\x000100003f80000000', '\x000100003f8000003f800000',
	'\x0002', '\x00020000', '\x000200003f800000',
	'\x00000000', '\x000000003f800000', '\xffff0000', '\xffff00003f800000', '\x80000000', '\x3e810000', '\x7fff0000', '\x3e800000',
	'\x000100013f800000', '\x00017fff3f800000', '\x0001ffff3f800000', '\x000180003f800000',
	'\x000100007fc00000', '\x00010000ffc00000', '\x000100007f800001', '\x000100007f800000', '\x00010000ff800000',
	'\x000200003f8000007fc00000',
	'\x0001000080000000', '\x0001000000000001', '\x000100007f7fffff'
]::bytea[]) WITH ORDINALITY AS t(datum, n) ORDER BY n;

DROP FUNCTION receive;
DROP TABLE vector_binary;
