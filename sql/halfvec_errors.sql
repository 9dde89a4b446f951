-- halfvec: every error with its SQLSTATE, message and detail

\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all

-- malformed text
SELECT input, error_of(format('SELECT %L::halfvec', input)) FROM unnest(ARRAY[
	'', ' ', '[', '[ ', '[,', '[1', '[1,', '[1,2', '[1 ', '[]', ' [ ] ', '[]x',
	'[,]', '[1,]', '[,1]', '[1,,2]', '[1, ,2]', '[1 2]', '[1,2 3]',
	'[1]]', '[1],', '[1]x', '[1],[2]', '[[1]]', '[1[', '1', '1,2', '{1,2}', '(1)',
	'[a]', '[1a]', '[1,2a]', '[hello,1', '[1e]', '[1e+]', '[1.2.3]', '[.]', '[-]', '[+]', '[e5]', '[--1]',
	'[1;2]', '["1"]', '[null]', '[1,NULL]', '[0x]', '[１]', U&'\00A0[1]', 'halfvec'
]) WITH ORDINALITY AS t(input, n) ORDER BY n;

-- numbers that a halfvec cannot hold
SELECT input, error_of(format('SELECT %L::halfvec', input)) FROM unnest(ARRAY[
	'[NaN]', '[nan,1]', '[1,-NaN]', '[nan(7)]', '[nanx]',
	'[Infinity]', '[1,-inf]', '[+INFINITY]', '[infinit]', '[inf,nan]',
	'[65519.99]', '[65520]', '[-65520]', '[65536]', '[6552e1]', '[0xFFF0]', '[1e5,1]', '[1, -4e38 ]', '[1e5x', '[1e39]', '[-1e400]', '[1e99999999999999999999]'
]) WITH ORDINALITY AS t(input, n) ORDER BY n;

-- number of dimensions
SELECT vector_dims(('[' || repeat('1,', 15999) || '1]')::halfvec);
SELECT error_of($$ SELECT ('[' || repeat('1,', 16000) || '1]')::halfvec $$);
SELECT error_of($$ SELECT ('[' || repeat('1,', 1000000))::halfvec $$);
SELECT error_of($$ SELECT array_fill(1, ARRAY[16001])::halfvec $$);
SELECT error_of($$ SELECT array_fill(1::real, ARRAY[16000])::halfvec || '[1]' $$);
SELECT error_of($$ SELECT '[1,2,3]'::halfvec(2) $$);
SELECT error_of($$ SELECT '[1,2,3]'::halfvec::halfvec(4) $$);

-- type modifier
SELECT typmod, error_of(format('SELECT NULL::halfvec(%s)', typmod)) FROM unnest(ARRAY[
	'0', '-1', '16000', '16001', '2147483647', '1,2', '''a''', '''3'''
]) WITH ORDINALITY AS t(typmod, n) ORDER BY n;
SELECT error_of($$ SELECT halfvec_typmod_in('{}') $$);
SELECT error_of($$ SELECT halfvec_typmod_in('{NULL}') $$);
SELECT error_of($$ SELECT halfvec_typmod_in('{{1,2},{3,4}}') $$);

-- operands that do not fit
SELECT op, error_of(format($$ SELECT '[1,2]'::halfvec %s '[1]' $$, op))
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>', '+', '-', '*']) op;
SELECT f, error_of(format($$ SELECT %I('[1,2]'::halfvec, '[1,2,3]') $$, f))
FROM unnest(ARRAY['l2_distance', 'inner_product', 'cosine_distance', 'l1_distance', 'halfvec_add',
	'halfvec_negative_inner_product', 'halfvec_l2_squared_distance', 'halfvec_spherical_distance']) f;

-- results that do not fit
SELECT expression, error_of(format('SELECT %s', expression)) FROM unnest(ARRAY[
	$$ '[1,65504]'::halfvec + '[1,16]' $$, $$ '[65504]'::halfvec + '[15]' $$, $$ '[-65504]'::halfvec + '[-65504]' $$,
	$$ '[-65504]'::halfvec - '[16]' $$, $$ '[65504]'::halfvec - '[-15]' $$,
	$$ '[256]'::halfvec * '[256]' $$, $$ '[256]'::halfvec * '[255.75]' $$,
	$$ '[1,1e-4]'::halfvec * '[1,-1e-4]' $$, $$ '[6e-8]'::halfvec * '[0.5]' $$, $$ '[6e-8]'::halfvec * '[0.51]' $$, $$ '[0,1e-4]'::halfvec * '[1e-4,0]' $$,
	$$ subvector('[1,2,3]'::halfvec, 1, 0) $$, $$ subvector('[1,2,3]'::halfvec, 2, -1) $$,
	$$ subvector('[1,2,3]'::halfvec, 4, 1) $$, $$ subvector('[1,2,3]'::halfvec, 0, 1) $$,
	$$ subvector('[1,2,3]'::halfvec, -2147483648, -2147483648) $$, $$ subvector('[1,2,3]'::halfvec, 2147483647, 2147483647) $$
]) WITH ORDINALITY AS t(expression, n) ORDER BY n;

-- arrays; they become halfvecs by assignment only
SELECT expression, error_of(format('SELECT %s', expression)) FROM unnest(ARRAY[
	$$ ARRAY[1,NULL]::halfvec $$, $$ '{NULL}'::numeric[]::halfvec $$,
	$$ '{{1,2},{3,4}}'::int[]::halfvec $$, $$ '{{NULL}}'::real[]::halfvec $$,
	$$ '{}'::int[]::halfvec $$, $$ '{}'::numeric[]::halfvec(3) $$, $$ ARRAY[1,2]::halfvec(3) $$,
	$$ '{1,NaN}'::real[]::halfvec $$, $$ '{Infinity}'::real[]::halfvec $$,
	$$ '{NaN}'::double precision[]::halfvec $$, $$ '{-Infinity}'::double precision[]::halfvec $$,
	$$ '{65520}'::int[]::halfvec $$, $$ '{1,-2147483648}'::int[]::halfvec $$, $$ '{65520}'::real[]::halfvec $$, $$ '{65519.996}'::real[]::halfvec $$,
	$$ '{-3.4028235e38}'::real[]::halfvec $$, $$ '{65520}'::double precision[]::halfvec $$, $$ '{1e39}'::double precision[]::halfvec $$,
	$$ '[1,65520]'::vector::halfvec $$, $$ '[-3.4028235e38]'::vector::halfvec $$, $$ '[1,2]'::vector::halfvec(3) $$, $$ '[1,2]'::halfvec::vector(3) $$,
	$$ '{NaN}'::numeric[]::halfvec $$, $$ '{Infinity}'::numeric[]::halfvec $$, $$ '{-Infinity}'::numeric[]::halfvec $$,
	$$ '{65520}'::numeric[]::halfvec $$, $$ '{1,-1e60}'::numeric[]::halfvec $$,
	$$ '[1,2]'::halfvec + ARRAY[3,4] $$, $$ '[1,2]'::halfvec <-> ARRAY[3,4] $$, $$ array_length('[1,2]'::halfvec, 1) $$,
	$$ ARRAY['a']::text[]::halfvec $$, $$ '[1,2]'::halfvec::int[] $$, $$ '[1,2]'::halfvec::double precision[] $$
]) WITH ORDINALITY AS t(expression, n) ORDER BY n;
SELECT left(error_of($$ SELECT ARRAY[('1e' || 131071)::numeric]::halfvec $$), 60);

-- avg: the support functions can be called with any array
SELECT expression, error_of(format('SELECT %s', expression)) FROM unnest(ARRAY[
	$$ halfvec_accum('{}', '[1]') $$, $$ halfvec_accum('{{1,2}}', '[1]') $$, $$ halfvec_accum('{NULL}', '[1]') $$,
	$$ halfvec_accum('{1,NULL}', '[1]') $$, $$ halfvec_accum('{NaN,1}', '[1]') $$, $$ halfvec_accum('{-1,1}', '[1]') $$,
	$$ halfvec_accum('{Infinity,1}', '[1]') $$, $$ halfvec_accum('{1,2,3}', '[1]') $$, $$ halfvec_accum('{1,Infinity}', '[1]') $$,
	$$ halfvec_avg('{}') $$, $$ halfvec_avg('{{1,2}}') $$, $$ halfvec_avg('{1,NULL}') $$, $$ halfvec_avg('{-1,2}') $$,
	$$ halfvec_avg('{NaN,2}') $$, $$ halfvec_avg('{Infinity,2}') $$, $$ halfvec_avg('{1}') $$, $$ halfvec_avg('{1,NaN}') $$,
	$$ halfvec_avg('{1,Infinity}') $$, $$ halfvec_avg('{1,65520}') $$, $$ halfvec_avg('{2,-131040}') $$, $$ halfvec_avg('{1e-300,1}') $$,
	$$ halfvec_avg(array_fill(1::double precision, ARRAY[16002])) $$,
	$$ halfvec_combine('{}', '{0}') $$, $$ halfvec_combine('{0}', '{}') $$, $$ halfvec_combine('{1,2}', '{{1,2}}') $$,
	$$ halfvec_combine('{1,2}', '{NULL,2}') $$, $$ halfvec_combine('{1,2}', '{1,2,3}') $$, $$ halfvec_combine('{1,2}', '{1}') $$,
	$$ halfvec_combine('{1,1.7e308}', '{1,1.7e308}') $$, $$ halfvec_combine('{1.7e308,1}', '{1.7e308,1}') $$
]) WITH ORDINALITY AS t(expression, n) ORDER BY n;

-- the position is reported for a literal
SELECT '[1,2'::halfvec;
SELECT 1, '4' < '[1]'::halfvec;

-- soft errors, where the server has them (since 16), find the same errors
DO $$
DECLARE
	input text;
	valid boolean;
BEGIN
	IF current_setting('server_version_num')::int >= 160000 THEN
		FOREACH input IN ARRAY ARRAY['[1,2]', ' [ 1 , 2 ] '] LOOP
			EXECUTE 'SELECT pg_input_is_valid($1, ''halfvec(2)'')' INTO valid USING input;
			ASSERT valid, input;
		END LOOP;
		FOREACH input IN ARRAY ARRAY['', '[', '[]', '[1,x]', '[1,2', '[1,2]x', '[1,NaN]', '[1,inf]', '[1,65520]', '[1,1e39]',
			'[1 2]', '[1]', '[1,2,3]', '[' || repeat('1,', 16000) || '1]'] LOOP
			EXECUTE 'SELECT pg_input_is_valid($1, ''halfvec(2)'')' INTO valid USING input;
			ASSERT NOT valid, input;
		END LOOP;
	END IF;
END $$;
