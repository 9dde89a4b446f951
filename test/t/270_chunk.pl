# piramid_chunk keeps its law (src/chunk/README.md) on random texts in every kind
# of server encoding, and a small edit changes few chunks.
#
# PIRAMID_CHUNK_INPUTS is the number of random texts of each encoding,
# PIRAMID_CHUNK_SEED (a whole number) chooses others.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $inputs = $ENV{PIRAMID_CHUNK_INPUTS} // 600;
my $seed = $ENV{PIRAMID_CHUNK_SEED} // 1;
my $node = piramid_node('chunk', init => [ extra => [ '--no-locale' ] ]);

my $law = <<'SQL';
-- Texts to be cut, and how
CREATE UNLOGGED TABLE given (i int, body text, strategy text, size int, overlap int, unit text);

-- What of the law their chunks break: each row of a result, then what is left behind the last.
CREATE FUNCTION broken_laws() RETURNS SETOF text LANGUAGE sql AS $$
	WITH cut AS MATERIALIZED (
		SELECT g.*, c.*, lag(c.start, 1, 0) OVER by_ordinal AS began,
			coalesce(max(c.start + c.length - 1) OVER (by_ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS ended,
			CASE unit WHEN 'chars' THEN length(c.text) WHEN 'bytes' THEN octet_length(c.text) ELSE regexp_count(c.text, E'[^ \t\n\r\f\v]+') END AS units
		FROM given AS g, piramid_chunk(body, strategy, size, overlap, unit) WITH ORDINALITY AS c(ordinal, parent, start, length, text, heading_path, nth)
		WINDOW by_ordinal AS (PARTITION BY g.i ORDER BY c.ordinal)),
	broken AS (
		SELECT i, concat_ws(', ', CASE WHEN substr(body, start, length) IS DISTINCT FROM text THEN 'text of ' || ordinal END,
			CASE WHEN length(text) <> length THEN 'length of ' || ordinal END,
			CASE WHEN start <= began OR nth <> ordinal + 1 THEN 'order of ' || ordinal END,
			CASE WHEN translate(substr(body, ended + 1, greatest(start - ended - 1, 0)), E' \t\n\r\f\v', '') <> '' THEN 'not covered before ' || ordinal END,
			CASE WHEN units > size THEN format('%s has %s', ordinal, units) END,
			CASE WHEN parent >= ordinal THEN 'parent of ' || ordinal END) AS what FROM cut
		UNION ALL SELECT g.i, 'not covered at the end' FROM given AS g LEFT JOIN (SELECT i, max(start + length - 1) AS ended FROM cut GROUP BY i) AS e USING (i)
		WHERE translate(substr(body, coalesce(ended, 0) + 1), E' \t\n\r\f\v', '') <> '')
	SELECT format('%s: %s, %s, %s, %s of %s', what, strategy, size, overlap, unit, to_json(body)) FROM broken JOIN given USING (i) WHERE what <> ''
$$;

-- A random text from parts that mean something to the function, and letters.
CREATE FUNCTION random_text(letters text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(string_agg(part[1 + floor(random() * cardinality(part))], ''), '')
	FROM (SELECT letters || letters || ARRAY[' ', ' ', ' ', E'\n', E'\n', E'\n\n', E'\r\n', E'\t', E'\f', '. ', '.', '? ', '! ', ', ',
			'word', 'and', 'Then', 'B', 'xxxxxxxxxxxxxxxxxxxxxxx', '12', '1. ', '- ', E'\n# ', E'\n## T\n', E'\n#### ', E'\n===\n',
			E'\n---\n', '|', E'\n| a | b |\n|---|---|\n| c | d |\n', E'\n```\n', E'\n~~~~\n', '    ', '>', '"', ')', '*']
			AS part) AS p,
		generate_series(1, (CASE WHEN random() < 0.05 THEN 900 ELSE 60 END * random())::int)
$$;

CREATE FUNCTION try_many(n int, seed float8, letters text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setseed(seed);
	WHILE n > 0 LOOP
		TRUNCATE given;
		INSERT INTO given SELECT i, random_text(letters), strategy, size, floor(random() * (size / 2 + 1)), unit
			FROM (SELECT *, CASE WHEN unit = 'bytes' THEN 8 ELSE 1 END + floor(CASE WHEN random() < 0.3 THEN 600 ELSE 40 END * random())::int AS size
				FROM (SELECT i, (ARRAY['fixed', 'recursive', 'markdown', 'sentence'])[1 + floor(random() * 4)] AS strategy,
					(ARRAY['chars', 'words', 'bytes'])[1 + floor(random() * 3)] AS unit FROM generate_series(1, least(n, 2000)) AS i OFFSET 0) AS x OFFSET 0) AS y;
		RETURN QUERY SELECT * FROM broken_laws();
		n := n - 2000;
	END LOOP;
END $$;
SQL

# Letters of each encoding: of as many bytes as its characters have.
my %letters = (
	UTF8 => [ 'UTF8', 'c3a9', 'e4b8ad', 'e38182', 'f09f9880', 'e38082', 'efbc9f', 'e2809d', 'e280a6', 'cc81', 'c2a0' ],
	LATIN1 => [ 'UTF8', 'c3a9', 'c3bc', 'c2a0' ],
	WIN1251 => [ 'UTF8', 'd0b6', 'd0af' ],
	SQL_ASCII => [ 'SQL_ASCII', 'ff', 'e9', 'e3', '80', 'f0', 'c3a9', 'e38082' ],
	EUC_JP => [ 'EUC_JP', 'a4a2', 'b0a1', 'a1a3', '8eb1', '8fb0a1' ],
	EUC_KR => [ 'UTF8', 'ec9588', 'eab080' ],
	EUC_CN => [ 'UTF8', 'e4b8ad', 'e38082' ],
	EUC_TW => [ 'EUC_TW', 'c4e3', '8ea2a1a1' ],
	EUC_JIS_2004 => [ 'UTF8', 'e38182', 'e4b8ad' ],
	MULE_INTERNAL => [ 'EUC_JP', 'a4a2', 'b1a1' ]);
foreach my $encoding (sort keys %letters)
{
	my ($from, @bytes) = @{ $letters{$encoding} };
	my $list = join ', ', map { "convert_from('\\x$_', '$from')" } @bytes;
	my $database = lc $encoding;

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($database, "CREATE EXTENSION piramid; $law");
	is($node->safe_psql($database, "SET client_encoding = SQL_ASCII; SELECT * FROM try_many($inputs, sin($seed), ARRAY[$list]) LIMIT 3"),
		'', "$encoding: the law holds for $inputs texts of seed $seed");
}

# Long texts without a place to cut, and with nothing else.
my @long = ("repeat('x', 900000)", "repeat('a ', 300000)", "repeat(E'a\\n\\n', 200000)", "repeat(chr(233), 300000)",
	"repeat(E'# a\\n', 50000)", "repeat(E'```\\n', 50001)", "repeat(E'.\\n|-|\\n', 50000)", "repeat(' ', 900000)");
foreach my $text (@long)
{
	foreach my $strategy ('recursive', 'markdown')
	{
		my ($least) = split /\|/, $node->safe_psql('utf8', "SELECT coalesce(sum(length), 0) >= length(replace(b.body, ' ', '')) / 2 AND coalesce(max(length), 0) <= 1000
			FROM (SELECT $text) AS b(body), piramid_chunk(b.body, '$strategy') GROUP BY b.body");
		is($least // 'none', $text =~ /' ', 9/ ? 'none' : 't', "$strategy: a long text, $text");
	}
}

# A document of 100 KB of real sentences; a paragraph in it is changed, added or
# removed, or a word added.
load_words($node, 'utf8');
$node->safe_psql(
	'utf8', <<'SQL');
CREATE FUNCTION document(gone int, changed int, added int, word int) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(CASE WHEN n % 12 = 0 THEN format(E'## Part %s\n\n', n / 12) ELSE '' END
		|| CASE WHEN n = changed THEN 'Something else stands here. It says nothing.' ELSE body END
		|| CASE WHEN n = word THEN ' word' ELSE '' END
		|| CASE WHEN n = added THEN E'\n\nA new paragraph. It is not long, but it has two sentences.' ELSE '' END, E'\n\n' ORDER BY n)
	FROM (SELECT id / 3 AS n, string_agg(format('This is number %s of %s. It tells of %s.', id, lexname, md5(id::text)), ' ' ORDER BY id) AS body
		FROM words WHERE id < 1300 GROUP BY 1) AS p WHERE n IS DISTINCT FROM gone
$$;
CREATE FUNCTION new_chunks(edited text, strategy text) RETURNS bigint LANGUAGE sql STABLE AS $$
	SELECT count(*) FROM piramid_chunk(edited, strategy) WHERE text NOT IN
		(SELECT text FROM piramid_chunk(document(NULL, NULL, NULL, NULL), strategy))
$$;
SQL
at_least($node->safe_psql('utf8', 'SELECT length(document(NULL, NULL, NULL, NULL))'), 90000, 'a document of so many characters');
foreach my $strategy ('recursive', 'markdown')
{
	my @edits = ([ 'removed', 'n, NULL, NULL, NULL' ], [ 'changed', 'NULL, n, NULL, NULL' ],
		[ 'added', 'NULL, NULL, n, NULL' ], [ 'a word added', 'NULL, NULL, NULL, n' ]);
	foreach my $edit (@edits)
	{
		my @new = split / /, $node->safe_psql('utf8', "SELECT string_agg(new_chunks(document($edit->[1]), '$strategy')::text, ' ' ORDER BY n)
			FROM generate_series(100, 300, 20) AS n");
		is(scalar(@new), 11, "$strategy, a paragraph $edit->[0]: new chunks are counted");
		is(join(' ', grep { $_ < 1 || $_ > 5 } @new), '', "$strategy, $edit->[0]: new chunks: @new");
	}
}

check_and_stop($node);
done_testing();
