-- sparsevec: every error with its SQLSTATE, message and detail

\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all

-- malformed text
SELECT input, error_of(format('SELECT %L::sparsevec', input)) FROM unnest(ARRAY[
	'', ' ', '{', '{ ', '{,', '{1', '{1:', '{1:1', '{1:1,', '{1:1,2', '{1:1,2:', '{1:1,2:2', '{1:1 ',
	'{}', '{1:1}', '{1:1} ', '{1:1}5', '{1:1}x/5', '{1:1}/', '{1:1}/ ', '{1:1}/x', '{1:1}//5', '{1:1}/-', '{1:1}/.5',
	'{1:1}/5x', '{1:1}/5 x', '{1:1}/5.5', '{1:1}/5e1', '{1:1}/5/5', '{1:1}/5}', '{1:1}/0x5', '{9:1}/5x', '{}/0x',
	'{,}/5', '{ , }/5', '{1:1,}/5', '{,1:1}/5', '{1:1,,2:1}/5', '{1:1 2:1}/5', '{1:1;2:1}/5',
	'{1}/5', '{:1}/5', '{:}/5', '{1:}/5', '{1::1}/5', '{a:1}/5', '{1:a}/5', '{1:1a}/5', '{1:1e}/5', '{1:.}/5', '{1:-}/5', '{-:1}/5', '{- 1:1}/5',
	'{1.5:1}/5', '{0x1:1}/5', '{1e0:1}/5', '{1-1}/5', '{1=1}/5', '{"1":1}/5', '{1:"1"}/5', '{null}/5', '{1:NULL}/5',
	'{{1:1}/5', '{{1:1}}/5', '{1:1]/5', '[1,2]', '(1:1)/5', '1:1/5', '/5', '5', 'sparsevec', U&'\00A0{}/5', '{１:1}/5'
]) WITH ORDINALITY AS t(input, n) ORDER BY n;

-- numbers that it cannot hold; what is too small would vanish
SELECT input, error_of(format('SELECT %L::sparsevec', input)) FROM unnest(ARRAY[
	'{1:NaN}/5', '{1:1,2:nan}/5', '{1:-NaN}/5', '{1:nanx}/5', '{9:NaN}/5', '{1:NaN',
	'{1:Infinity}/5', '{1:-inf}/5', '{1:+INFINITY}/5', '{1:infinit}/5',
	'{1:3.4028236e38}/5', '{1:-4e38}/5', '{1:1e39x', '{1:1e400}/5', '{1:340282356779733661637539395458142568448}/5',
	'{1:1e-46}/5', '{1:-1e-46}/5', '{1:1e-400}/5', '{1:0x1p-151}/5', '{9:1e-46}/5', '{1:7.006e-46}/5', '{1:7.007e-46}/5'
]) WITH ORDINALITY AS t(input, n) ORDER BY n;

-- positions and dimensions, also beyond every integer
SELECT input, error_of(format('SELECT %L::sparsevec', input)) FROM unnest(ARRAY[
	'{0:1}/5', '{6:1}/5', '{-1:1}/5', '{1:1,6:1}/5', '{6:1,1:1}/5', '{1000000001:1}/1000000000', '{2147483647:1}/1000000000',
	'{2147483648:1}/5', '{-2147483648:1}/5', '{-2147483649:1}/5', '{4294967297:1}/5', '{18446744073709551617:1}/5', '{-99999999999999999999:1}/5',
	'{1:1,1:2}/5', '{1:1,1:1}/5', '{3:1,2:1,3:1}/5', '{1:1,1:1,9:1}/5', '{0:1,1:1,1:1}/5', '{0:1,0:1}/5', '{9:1,9:1}/5',
	'{}/0', '{1:1}/0', '{}/-1', '{}/-0', '{}/-2147483649', '{}/-99999999999999999999',
	'{}/1000000001', '{9:1}/1000000001', '{}/2147483648', '{}/4294967297', '{}/18446744073709551617'
]) WITH ORDINALITY AS t(input, n) ORDER BY n;

-- number of elements: zeros count, before they are dropped
SELECT error_of($$ SELECT ('{' || string_agg(i || ':1', ',') || '}/16001')::sparsevec FROM generate_series(1, 16001) i $$);
SELECT error_of($$ SELECT ('{' || string_agg(i || ':0', ',') || '}/16001')::sparsevec FROM generate_series(1, 16001) i $$);
SELECT error_of($$ SELECT ('{' || string_agg(i || ':' || i % 2, ',') || '}/16000')::sparsevec FROM generate_series(1, 16000) i $$);
SELECT error_of($$ SELECT ('{' || repeat(',', 1000000))::sparsevec $$);
SELECT error_of($$ SELECT array_fill(1, ARRAY[16001])::sparsevec $$);
SELECT error_of($$ SELECT array_fill(1, ARRAY[16001])::real[]::sparsevec $$);
SELECT error_of($$ SELECT (array_fill(0, ARRAY[16001]) || array_fill(1, ARRAY[16000]))::sparsevec $$);

-- type modifier
SELECT typmod, error_of(format('SELECT NULL::sparsevec(%s)', typmod)) FROM unnest(ARRAY[
	'0', '-1', '1000000000', '1000000001', '2147483647', '1,2', '''a''', '''3'''
]) WITH ORDINALITY AS t(typmod, n) ORDER BY n;
SELECT error_of($$ SELECT sparsevec_typmod_in('{}') $$);
SELECT error_of($$ SELECT sparsevec_typmod_in('{NULL}') $$);
SELECT error_of($$ SELECT '{1:1}/3'::sparsevec(2) $$);
SELECT error_of($$ SELECT '{1:1}/3'::sparsevec::sparsevec(4) $$);

-- operands that do not fit
SELECT op, error_of(format($$ SELECT '{1:1}/2'::sparsevec %s '{1:1}/3' $$, op))
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>', '+', '*']) op;
SELECT f, error_of(format($$ SELECT %I('{1:1}/1000000000'::sparsevec, '{}/999999999') $$, f))
FROM unnest(ARRAY['l2_distance', 'inner_product', 'cosine_distance', 'l1_distance',
	'sparsevec_negative_inner_product', 'sparsevec_l2_squared_distance']) f;

-- casts
SELECT expression, error_of(format('SELECT %s', expression)) FROM unnest(ARRAY[
	$$ '{1:1}/16001'::sparsevec::vector $$, $$ '{1:1}/16001'::sparsevec::halfvec $$,
	$$ '{}/1000000000'::sparsevec::vector $$, $$ '{}/1000000000'::sparsevec::halfvec $$,
	$$ '{1:1}/3'::sparsevec::vector(2) $$, $$ '{1:1}/3'::sparsevec::halfvec(2) $$,
	$$ '[1,2,3]'::vector::sparsevec(2) $$, $$ '[1,2,3]'::halfvec::sparsevec(4) $$,
	$$ '{1:65520}/3'::sparsevec::halfvec $$, $$ '{3:-3.4028235e38}/3'::sparsevec::halfvec $$,
	$$ '{1:1}/3'::sparsevec::real[] $$, $$ '{1:1}/3'::sparsevec::int[] $$,
	$$ ARRAY[1,NULL]::sparsevec $$, $$ '{NULL}'::numeric[]::sparsevec $$, $$ '{{1,2},{3,4}}'::int[]::sparsevec $$,
	$$ '{}'::int[]::sparsevec $$, $$ '{}'::numeric[]::sparsevec(3) $$, $$ ARRAY[1,2]::sparsevec(3) $$,
	$$ '{1,NaN}'::real[]::sparsevec $$, $$ '{Infinity}'::real[]::sparsevec $$, $$ '{NaN}'::double precision[]::sparsevec $$,
	$$ '{1e39}'::double precision[]::sparsevec $$, $$ '{NaN}'::numeric[]::sparsevec $$, $$ '{-Infinity}'::numeric[]::sparsevec $$,
	$$ '{1e39}'::numeric[]::sparsevec $$, $$ ARRAY['a']::text[]::sparsevec $$,
	$$ '{1:1}/2'::sparsevec = ARRAY[1,0] $$, $$ '{1:1}/2'::sparsevec <-> ARRAY[3,4] $$
]) WITH ORDINALITY AS t(expression, n) ORDER BY n;

-- the position is reported for a literal
SELECT '{1:1'::sparsevec;

-- soft errors, where the server has them (since 16), find the same errors
DO $$
DECLARE
	input text;
	valid boolean;
BEGIN
	IF current_setting('server_version_num')::int >= 160000 THEN
		FOREACH input IN ARRAY ARRAY['{1:1}/2', ' { 2 : 1 , 1 : 1 } / 2 ', '{}/2', '{9:0}/2'] LOOP
			EXECUTE 'SELECT pg_input_is_valid($1, ''sparsevec(2)'')' INTO valid USING input;
			ASSERT valid, input;
		END LOOP;
		FOREACH input IN ARRAY ARRAY['', '{', '{}', '{x', '{1', '{1:', '{1:x', '{1:1', '{1:1}', '{1:1}/', '{1:1}/2x', '{1:1}/3', '{1:NaN}/2',
			'{1:inf}/2', '{1:1e39}/2', '{1:1e-46}/2', '{0:1}/2', '{3:1}/2', '{1:1,1:2}/2', '{}/0', '{}/1000000001',
			'{' || repeat('1:1,', 16000) || '1:1}/2'] LOOP
			EXECUTE 'SELECT pg_input_is_valid($1, ''sparsevec(2)'')' INTO valid USING input;
			ASSERT NOT valid, input;
		END LOOP;
	END IF;
END $$;
