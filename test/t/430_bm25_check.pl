# piramid_check with heapallindexed tells where a bm25 index and the texts of the rows disagree,
# though each page is sound by itself: words, how often they occur, places, lengths, rows.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Damage;
use Piramid;

my $node = piramid_node('bm25_check', conf => "autovacuum = off\nignore_checksum_failure = on");
damage_init($node);
read_fields();

# Each word begins with a letter of its own, so that the dictionary has the whole of it.
$node->safe_psql('postgres', q{
	CREATE EXTENSION piramid_bm25;
	CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple);
	CREATE TABLE t (id int, body text, v tsvector);
	INSERT INTO t VALUES (1, 'apple bear cat'), (2, 'bear dog zebraone cat zebraone'), (3, 'elk fox goat hen ibis jay kite');
	UPDATE t SET v = to_tsvector('simple', body);
	VACUUM FULL t;
	CREATE INDEX places ON t USING bm25 (body) WITH (text_config = 'public.mine');
	CREATE INDEX plain ON t USING bm25 (body) WITH (text_config = 'public.mine', positions = off);
	CREATE INDEX weights ON t USING bm25 (v);
	INSERT INTO t VALUES (4, 'cat headword', to_tsvector('simple', 'cat headword')), (5, NULL, NULL), (6, '', '')});

sub findings { my ($index) = @_; return $node->safe_psql('postgres', "SELECT what, hint FROM piramid_check('$index', true)") }

my %good;
my %path = map { $_ => $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$_')") } qw(places plain weights);
foreach my $index (sort keys %path)
{
	is(findings($index), '', "$index: sound");
}
$node->stop;
$good{$_} = slurp_file($path{$_}) foreach keys %path;

my $start = $size{START};
my $page = $size{PAGE};
# The index, what the check says, and the damage: what stands in the file and what replaces it.
# Of the dictionary's entry of a word that one row has: df, form, bytes; the gap to the
# document with a bit for "more than once"; how much more often than twice.
my @damage = (
	[ 'places', 'a word', qr/^other words than row \(0,2\) has, or not as often\|Run REINDEX INDEX CONCURRENTLY public.places\.$/, qr/zebraone(?=\x01\x00)/, 'zebratwo' ],
	[ 'weights', 'a word of a tsvector', qr/^other words than row \(0,2\)[^\n]*$/, qr/zebraone(?=\x01\x00)/, 'zebratwo' ],
	[ 'plain', 'how often', qr/^other words than row \(0,2\)[^\n]*$/, qr/zebraone\x01\x00\x02\x03\x00/, "zebraone\x01\x00\x02\x03\x01" ],
	[ 'plain', 'once instead of twice', qr/^other words than row \(0,2\)[^\n]*$/, qr/zebraone\x01\x00\x02\x03\x00/, "zebraone\x01\x00\x02\x03\x02" ],
	[ 'plain', 'the document', qr/^other words than row \(0,1\)[^\n]*\nother words than row \(0,2\)[^\n]*$/, qr/zebraone\x01\x00\x02\x03/, "zebraone\x01\x00\x02\x01" ],
	[ 'plain', 'lengths', qr/^a document of 5 words for row \(0,1\), which has 3\|[^\n]*\na document of 3 words for row \(0,2\), which has 5\|[^\n]*$/,
		qr/\x03\x05\x07(?=\0{100})/, "\x05\x03\x07" ],
	# apple bear bear cat cat dog ...: the first and the last word stand where they did.
	[ 'places', 'places', qr/^words in other places than in row \(0,1\)\|[^\n]*$/, qr/\x01\x02\x01\x03\x04(?=\x02)/, "\x01\x04\x01\x03\x04" ],
	[ 'plain', 'the row', qr/^a document of 5 words for row \(0,1\)[^\n]*\nother words than row \(0,1\)[^\n]*\nthe row \(0,1\) of the table a second time\|[^\n]*\nthe row \(0,2\) of the table is not in the index\|[^\n]*$/,
		qr/\0\0\0\0\x01\0\0\0\0\0\x02\0(?=\0\0\0\0\x03\0)/, "\0\0\0\0\x01\0\0\0\0\0\x01\0" ],
	[ 'places', 'a word of a new row', qr/^other words than row \(0,4\)[^\n]*$/, qr/headword/, 'headwird' ],
	[ 'plain', 'the length of a new row', qr/a broken record of a document/, qr/\x02\0\0\0(?=\x02\0\0\0.{4}\x03cat)/s, "\x03\0\0\0" ]);

foreach my $case (@damage)
{
	my ($index, $name, $finding, $from, $to) = @$case;
	my $bytes = $good{$index};
	is($bytes =~ s/$from/$to/g, 1, "$index, $name: damaged in one place") or next;
	$file = $bytes;
	write_file($path{$index});
	$node->start;
	like(findings($index), $finding, "$index, $name");
	is($node->safe_psql('postgres', "SELECT count(*) FROM piramid_check('$index', false)"), 0, "$index, $name: the index alone is sound")
	  unless $name =~ /length of a new/;
	$node->stop;
	$file = $good{$index};
	write_file($path{$index});
}

# A configuration that makes other words than when the index was built; what REINDEX mends.
$node->start;
is(findings($_), '', "$_: sound again") foreach sort keys %path;
$node->safe_psql('postgres', 'ALTER TEXT SEARCH CONFIGURATION mine DROP MAPPING FOR asciiword');
like(findings('places'), qr/^a document of 3 words for row \(0,1\), which has 0\|/, 'another configuration');
is(findings('weights'), '', 'a tsvector has no configuration');
$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY places');
is(findings('places'), '', 'REINDEX');

# More documents than prints of them fit into memory: in several rounds, with the same result.
$node->safe_psql('postgres', q{
	CREATE TABLE many AS SELECT i AS id, 'w' || i % 100 || ' x' || i % 7 AS body FROM generate_series(1, 140000) i;
	CREATE INDEX many_body ON many USING bm25 (body) WITH (text_config = 'public.mine')});
my $many = q{SET maintenance_work_mem = '1MB'; SELECT count(*) FROM piramid_check('many_body', true)};
is($node->safe_psql('postgres', $many), 0, 'many documents');
$node->safe_psql('postgres', 'ALTER TEXT SEARCH CONFIGURATION mine ALTER MAPPING FOR numword WITH english_stem');
is($node->safe_psql('postgres', $many), 0, 'many documents, words that stay the same');
$node->safe_psql('postgres', 'ALTER TEXT SEARCH CONFIGURATION mine DROP MAPPING FOR numword');
at_least($node->safe_psql('postgres', $many), 100, 'many documents of other words');
# no closing check: the indexes differ from their tables, as was meant
$node->stop;
done_testing();
