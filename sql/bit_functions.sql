-- bit: Hamming and Jaccard distances

SELECT hamming_distance(B'111', B'111'), hamming_distance(B'111', B'110'), B'111' <~> B'100', B'111' <~> B'000', B'0' <~> B'1';
SELECT jaccard_distance(B'1111', B'1111'), jaccard_distance(B'1111', B'1110'), B'1111' <%> B'1100', B'1110' <%> B'0111', B'1010' <%> B'0101';

-- nothing in common: 1, even if nothing is set at all
SELECT B'1111' <%> B'0000', B'0000' <%> B'1111', B'0000' <%> B'0000', B'1100' <%> B'0011';

-- bits beyond the last one in a byte do not count
SELECT B'111111111' <~> B'000000000', B'111111111' <%> B'100000000', ~B'000' <~> B'111', ~B'000' <%> B'111', B'1010'::bit(9) <~> B'101000001';

-- no bits; casts from integer, varbit and binary_quantize
SELECT ''::varbit <~> ''::varbit, ''::varbit <%> ''::varbit;
SELECT 5::bit(8) <~> 6::bit(8), B'101'::varbit <~> B'110'::varbit, binary_quantize('[1,-1,1]'::vector) <~> B'100', binary_quantize('[1,-1,1]'::vector) <%> B'100';

-- different lengths
\getenv abs_srcdir PG_ABS_SRCDIR
\set error_of :abs_srcdir '/sql/include/error_of.sql'
\set ECHO none
\i :error_of
\set ECHO all
SELECT expression, error_of(format('SELECT %s', expression)) FROM unnest(ARRAY[
	$$ hamming_distance(B'111', B'00') $$, $$ jaccard_distance(B'111', B'00') $$, $$ B'1' <~> B'10' $$, $$ B'1' <%> B'10' $$,
	$$ B'1' <~> ''::varbit $$, $$ B'10000000'::bit(8) <%> B'10000000'::bit(7) $$, $$ '101' <~> '11' $$, $$ '101' <%> 5 $$
]) WITH ORDINALITY AS t(expression, n) ORDER BY n;
SELECT NULL::bit(3) <~> B'101' IS NULL, B'101' <%> NULL IS NULL;

-- every length, against counts by SQL; with the machine's best instructions and with the scalar code
CREATE TABLE bit_pairs AS
SELECT n, (SELECT string_agg((i * i % 11 < 5)::int::text, '' ORDER BY i) FROM generate_series(n, 2 * n) i)::varbit AS a,
	(SELECT string_agg((i * 5 % 13 < 6)::int::text, '' ORDER BY i) FROM generate_series(n, 2 * n) i)::varbit AS b
FROM (SELECT generate_series(0, 700) UNION SELECT unnest(ARRAY[1023, 2047, 4094, 4095, 4096, 16000])) t(n);
CREATE VIEW bit_wrong AS
SELECT n FROM bit_pairs
WHERE hamming_distance(a, b) <> length(replace((a # b)::text, '0', ''))
	OR jaccard_distance(a, b) <> 1 - length(replace((a & b)::text, '0', '')) / greatest(length(replace((a | b)::text, '0', '')), 1)::float8
	OR a <~> a <> 0 OR a <~> ~a <> length(a) OR a <%> ~a <> 1 OR a <~> b <> b <~> a OR a <%> b <> b <%> a;
SELECT count(*), max(length(a)), sum(a <~> b) FROM bit_pairs;
SELECT count(*) FROM bit_wrong;
SET piramid.simd = scalar;
SELECT count(*) FROM bit_wrong;
RESET piramid.simd;
DROP VIEW bit_wrong;
DROP TABLE bit_pairs;

-- long ones, from TOAST
CREATE TABLE bit_long AS SELECT repeat('110', 400000)::varbit AS a, repeat('011', 400000)::varbit AS b;
SELECT a <~> b, a <%> b FROM bit_long;
DROP TABLE bit_long;
