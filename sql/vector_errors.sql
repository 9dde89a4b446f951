-- vector: every error with its SQLSTATE, message and detail

\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all

-- malformed text
SELECT input, error_of(format('SELECT %L::vector', input)) FROM unnest(ARRAY[
	'', ' ', '[', '[ ', '[,', '[1', '[1,', '[1,2', '[1 ', '[]', ' [ ] ', '[]x',
	'[,]', '[1,]', '[,1]', '[1,,2]', '[1, ,2]', '[1 2]', '[1,2 3]',
	'[1]]', '[1],', '[1]x', '[1],[2]', '[[1]]', '[1[', '1', '1,2', '{1,2}', '(1)',
	'[a]', '[1a]', '[1,2a]', '[hello,1', '[1e]', '[1e+]', '[1.2.3]', '[.]', '[-]', '[+]', '[e5]', '[--1]',
	'[1;2]', '["1"]', '[null]', '[1,NULL]', '[0x]', '[１]', U&'\00A0[1]', 'vector'
]) WITH ORDINALITY AS t(input, n) ORDER BY n;

-- numbers that a vector cannot hold
SELECT input, error_of(format('SELECT %L::vector', input)) FROM unnest(ARRAY[
	'[NaN]', '[nan,1]', '[1,-NaN]', '[nan(7)]', '[nanx]',
	'[Infinity]', '[1,-inf]', '[+INFINITY]', '[infinit]', '[inf,nan]',
	'[3.4028236e38]', '[-3.4028236e38]', '[34028236e31]', '[-9999999999999999999e22]', '[4e38,1]', '[1, -4e38 ]', '[1e39x', '[1e400]', '[1e99999999999999999999]',
	'[340282356779733661637539395458142568448]'
]) WITH ORDINALITY AS t(input, n) ORDER BY n;

-- number of dimensions
SELECT vector_dims(('[' || repeat('1,', 15999) || '1]')::vector);
SELECT error_of($$ SELECT ('[' || repeat('1,', 16000) || '1]')::vector $$);
SELECT error_of($$ SELECT ('[' || repeat('1,', 1000000))::vector $$);
SELECT error_of($$ SELECT array_fill(1, ARRAY[16001])::vector $$);
SELECT error_of($$ SELECT array_fill(1::real, ARRAY[16000])::vector || '[1]' $$);
SELECT error_of($$ SELECT '[1,2,3]'::vector(2) $$);
SELECT error_of($$ SELECT '[1,2,3]'::vector::vector(4) $$);

-- type modifier
SELECT typmod, error_of(format('SELECT NULL::vector(%s)', typmod)) FROM unnest(ARRAY[
	'0', '-1', '16000', '16001', '2147483647', '1,2', '''a''', '''3'''
]) WITH ORDINALITY AS t(typmod, n) ORDER BY n;
SELECT error_of($$ SELECT vector_typmod_in('{}') $$);
SELECT error_of($$ SELECT vector_typmod_in('{NULL}') $$);
SELECT error_of($$ SELECT vector_typmod_in('{{1,2},{3,4}}') $$);

-- operands that do not fit
SELECT op, error_of(format($$ SELECT '[1,2]'::vector %s '[1]' $$, op))
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>', '+', '-', '*']) op;
SELECT f, error_of(format($$ SELECT %I('[1,2]'::vector, '[1,2,3]') $$, f))
FROM unnest(ARRAY['l2_distance', 'inner_product', 'cosine_distance', 'l1_distance', 'vector_add',
	'vector_negative_inner_product', 'vector_l2_squared_distance', 'vector_spherical_distance']) f;

-- results that do not fit
SELECT expression, error_of(format('SELECT %s', expression)) FROM unnest(ARRAY[
	$$ '[1,3e38]'::vector + '[1,3e38]' $$, $$ '[-3e38]'::vector + '[-3e38]' $$,
	$$ '[-3e38]'::vector - '[3e38]' $$,
	$$ '[1e20]'::vector * '[1e20]' $$, $$ '[1,1e-30]'::vector * '[1,-1e-30]' $$, $$ '[1e-45]'::vector * '[0.1]' $$,
	$$ subvector('[1,2,3]'::vector, 1, 0) $$, $$ subvector('[1,2,3]'::vector, 2, -1) $$,
	$$ subvector('[1,2,3]'::vector, 4, 1) $$, $$ subvector('[1,2,3]'::vector, 0, 1) $$,
	$$ subvector('[1,2,3]'::vector, -2147483648, -2147483648) $$, $$ subvector('[1,2,3]'::vector, 2147483647, 2147483647) $$
]) WITH ORDINALITY AS t(expression, n) ORDER BY n;

-- arrays; they become vectors by assignment only
SELECT expression, error_of(format('SELECT %s', expression)) FROM unnest(ARRAY[
	$$ ARRAY[1,NULL]::vector $$, $$ '{NULL}'::numeric[]::vector $$,
	$$ '{{1,2},{3,4}}'::int[]::vector $$, $$ '{{NULL}}'::real[]::vector $$,
	$$ '{}'::int[]::vector $$, $$ '{}'::numeric[]::vector(3) $$, $$ ARRAY[1,2]::vector(3) $$,
	$$ '{1,NaN}'::real[]::vector $$, $$ '{Infinity}'::real[]::vector $$,
	$$ '{NaN}'::double precision[]::vector $$, $$ '{-Infinity}'::double precision[]::vector $$,
	$$ '{1e39}'::double precision[]::vector $$, $$ '{-1.7e308}'::double precision[]::vector $$,
	$$ '{NaN}'::numeric[]::vector $$, $$ '{Infinity}'::numeric[]::vector $$, $$ '{-Infinity}'::numeric[]::vector $$,
	$$ '{1e39}'::numeric[]::vector $$, $$ '{1,-1e60}'::numeric[]::vector $$,
	$$ '[1,2]'::vector + ARRAY[3,4] $$, $$ '[1,2]'::vector <-> ARRAY[3,4] $$, $$ array_length('[1,2]'::vector, 1) $$,
	$$ ARRAY['a']::text[]::vector $$, $$ '[1,2]'::vector::int[] $$, $$ '[1,2]'::vector::double precision[] $$
]) WITH ORDINALITY AS t(expression, n) ORDER BY n;
SELECT left(error_of($$ SELECT ARRAY[('1e' || 131071)::numeric]::vector $$), 60);

-- avg: the support functions can be called with any array
SELECT expression, error_of(format('SELECT %s', expression)) FROM unnest(ARRAY[
	$$ vector_accum('{}', '[1]') $$, $$ vector_accum('{{1,2}}', '[1]') $$, $$ vector_accum('{NULL}', '[1]') $$,
	$$ vector_accum('{1,NULL}', '[1]') $$, $$ vector_accum('{NaN,1}', '[1]') $$, $$ vector_accum('{-1,1}', '[1]') $$,
	$$ vector_accum('{Infinity,1}', '[1]') $$, $$ vector_accum('{1,2,3}', '[1]') $$, $$ vector_accum('{1,Infinity}', '[1]') $$,
	$$ vector_avg('{}') $$, $$ vector_avg('{{1,2}}') $$, $$ vector_avg('{1,NULL}') $$, $$ vector_avg('{-1,2}') $$,
	$$ vector_avg('{NaN,2}') $$, $$ vector_avg('{Infinity,2}') $$, $$ vector_avg('{1}') $$, $$ vector_avg('{1,NaN}') $$,
	$$ vector_avg('{1,Infinity}') $$, $$ vector_avg('{1,1e39}') $$, $$ vector_avg('{1e-300,1}') $$,
	$$ vector_avg(array_fill(1::double precision, ARRAY[16002])) $$,
	$$ vector_combine('{}', '{0}') $$, $$ vector_combine('{0}', '{}') $$, $$ vector_combine('{1,2}', '{{1,2}}') $$,
	$$ vector_combine('{1,2}', '{NULL,2}') $$, $$ vector_combine('{1,2}', '{1,2,3}') $$, $$ vector_combine('{1,2}', '{1}') $$,
	$$ vector_combine('{1,1.7e308}', '{1,1.7e308}') $$, $$ vector_combine('{1.7e308,1}', '{1.7e308,1}') $$
]) WITH ORDINALITY AS t(expression, n) ORDER BY n;

-- the position is reported for a literal
SELECT '[1,2'::vector;
SELECT 1, '4' < '[1]'::vector;

-- soft errors, where the server has them (since 16), find the same errors
DO $$
DECLARE
	input text;
	valid boolean;
BEGIN
	IF current_setting('server_version_num')::int >= 160000 THEN
		FOREACH input IN ARRAY ARRAY['[1,2]', ' [ 1 , 2 ] '] LOOP
			EXECUTE 'SELECT pg_input_is_valid($1, ''vector(2)'')' INTO valid USING input;
			ASSERT valid, input;
		END LOOP;
		FOREACH input IN ARRAY ARRAY['', '[', '[]', '[1,x]', '[1,2', '[1,2]x', '[1,NaN]', '[1,inf]', '[1,1e39]',
			'[1 2]', '[1]', '[1,2,3]', '[' || repeat('1,', 16000) || '1]'] LOOP
			EXECUTE 'SELECT pg_input_is_valid($1, ''vector(2)'')' INTO valid USING input;
			ASSERT NOT valid, input;
		END LOOP;
	END IF;
END $$;

-- piramid.simd: what the machine lacks is refused, and no machine has both of these
SELECT count(*) >= 1 AS refused, bool_and(e LIKE '22023: invalid value for parameter "piramid.simd": "%" | %no such instructions%') AS explained
FROM unnest(ARRAY['neon', 'avx2']) level, error_of(format('SET LOCAL piramid.simd = %s', level)) e WHERE e <> 'no error';
SELECT split_part(error_of('SET piramid.simd = sse'), ' | ', 1);
SELECT error_of('SET piramid.nothing = 1');
CREATE ROLE regress_piramid_user;
SET ROLE regress_piramid_user;
SET piramid.simd = scalar;
RESET ROLE;
DROP ROLE regress_piramid_user;
