-- halfvec: COPY in text, CSV and binary

CREATE TABLE halfvec_copy (id int, v halfvec(3));
COPY halfvec_copy FROM stdin;
1	[1,2,3]
2	 [ 1.5 , -2 , 6e-8 ] 
3	\N
\.
COPY halfvec_copy FROM stdin (FORMAT csv);
4,"[1,2,3]"
5,
\.
COPY halfvec_copy FROM stdin;
6	[1,2]
\.
COPY halfvec_copy FROM stdin;
6	[1,2,3
\.
COPY halfvec_copy FROM stdin (FORMAT csv);
6,[1,2,3]
\.
COPY halfvec_copy FROM stdin (FORMAT csv);
6,"[1,NaN,3]"
\.
COPY halfvec_copy TO stdout;
COPY halfvec_copy TO stdout (FORMAT csv);
DROP TABLE halfvec_copy;

-- Binary: the datum's bytes, wrapped in the format of COPY, go in through
-- printf, so that any bytes can be tried.
CREATE TABLE halfvec_binary (n serial, v halfvec, v2 halfvec(2));
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
	DELETE FROM halfvec_binary;
	EXECUTE format('COPY halfvec_binary (%I) FROM PROGRAM %L (FORMAT binary)', col, 'printf ''' || octal || '''');
	EXECUTE format('SELECT %I::text FROM halfvec_binary', col) INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- what send wrote comes back
SELECT v, receive(halfvec_send(v::halfvec)) = v AS same
FROM unnest(ARRAY['[1]', '[1,2,3]', '[-0,5.9604645e-08,-65504]', '[0.25,0.5,0.099975586,1025]']) v;
SELECT receive(halfvec_send('[1,2]'), 'v2'), receive(halfvec_send('[1,2,3]'), 'v2');

-- and nothing else
SELECT datum, receive(datum) FROM unnest(ARRAY[
	'\x', '\x00', '\x0001', '\x000100', '\x00010000', '\x000100003c', '\x000100003c00', '\x000100003c0000', '\x000100003c003c00', '\x000100003f800000',
	'\x0002', '\x00020000', '\x000200003c00',
	'\x00000000', '\x000000003c00', '\xffff0000', '\xffff00003c00', '\x80000000', '\x3e810000', '\x7fff0000', '\x3e800000',
	'\x000100013c00', '\x00017fff3c00', '\x0001ffff3c00', '\x000180003c00',
	'\x000100007e00', '\x00010000fe00', '\x000100007c01', '\x000100007c00', '\x00010000fc00', '\x000200003c007e00',
	'\x000100008000', '\x000100000001', '\x0001000003ff', '\x000100000400', '\x000100007bff', '\x00010000fbff'
]::bytea[]) WITH ORDINALITY AS t(datum, n) ORDER BY n;

DROP FUNCTION receive;
DROP TABLE halfvec_binary;
