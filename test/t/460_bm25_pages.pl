# piramid_check names each kind of damage of a bm25 index, and that REINDEX mends it; of the
# index as it was it says nothing.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Damage;
use Piramid;

my $node = piramid_node('bm25_pages', conf => "autovacuum = off\nignore_checksum_failure = on");
damage_init($node);
read_fields();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '" . PostgreSQL::Test::Utils::tempdir . "'");

# One segment, with a list in blocks (of "all", and of the dimension 1), several pages of
# terms, words that have a letter of their own; two pages of the head; free runs.
$node->safe_psql('postgres', q{
	CREATE EXTENSION piramid_bm25;
	CREATE TABLE t (id int, body text, weights sparsevec(1000));
	INSERT INTO t SELECT n, 'all own' || md5(n::text) || CASE WHEN n % 3 = 0 THEN ' all' ELSE '' END,
		('{1:' || 1 + n % 7 || ',' || n % 900 + 3 || ':2}/1000')::sparsevec FROM generate_series(1, 900) AS n;
	INSERT INTO t VALUES (1001, 'xylophone zebraone yellow', '{2:3}/1000'), (1002, NULL, NULL);
	CREATE INDEX words_idx ON t USING bm25 (body) WITH (text_config = 'simple');
	CREATE INDEX weights_idx ON t USING bm25 (weights sparsevec_ip_ops);
	DELETE FROM t WHERE id <= 2;
	VACUUM t;
	SELECT piramid_bm25_merge('words_idx'), piramid_bm25_merge('weights_idx');
	INSERT INTO t SELECT n, 'all new' || n || repeat(' more' || n, 20), ('{1:3,' || n - 2000 || ':1,' || n - 1900 || ':1}/1000')::sparsevec
		FROM generate_series(2002, 2200) AS n});

sub findings { return $node->safe_psql('postgres', "SELECT severity, block, what, hint FROM piramid_check('$index', true)") }

# Places of pages' contents by their kind, and of the segment in the metapage
sub end_of { my ($block, $name, $value) = @_; return field($block * $size{PAGE} + $size{BM25_SPECIAL}, "bm25.$name", $value) }
sub pages { my ($kind) = @_; return grep { end_of($_, 'magic') == $size{BM25_MAGIC} && end_of($_, 'kind') == $size{"BM25_$kind"} } 0 .. blocks() - 1 }
sub start { my ($block) = @_; return start_of($block, 0, 0) }
sub bm25_meta { my ($name, $value) = @_; return field(start(0), "bm25meta.$name", $value) }
sub segment { my ($name, $value) = @_; return field(start(0) + $size{BM25_SEGMENTS}, "segment.$name", $value) }

# Change a number of the segment, and the average length with it.
sub set_lengths { my ($name, $more) = @_; segment($name, segment($name) + $more); segment('avglen', segment('sumlen') / segment('ndocs')) }
sub in_page { my ($block, $name, $value) = @_; field(start($block), $name, $value) }

# The segment's page of this kind: of those that are free by now, there are more.
sub page_of
{
	my ($kind, $n) = @_;
	my $segment = (pages('SEGMENT'))[-1];
	my $generation = (sort { $b <=> $a } map { end_of($_, 'generation') } pages('SEGMENT'))[0];
	return (grep { end_of($_, 'generation') == $generation } pages($kind))[ $n // 0 ];
}

# The heads of blocks of the list of more than 128 documents: gap_bits and bound are bytes
# in a row, and each block but the last has a count of 127.
sub block_head
{
	my $at = start(page_of('POSTINGS'));
	$at += 1 until substr($file, $at + 11, 1) eq "\x7f" && substr($file, $at + 23, 1) eq "\x7f" && unpack('L', substr($file, $at + 4, 4)) == 0;
	return $at;
}

# Change bytes of the last page of terms, "skip" behind the end of where they are found.
sub in_terms
{
	my ($found, $skip, $new) = @_;
	my $at = start(page_of('LEAVES', -1));

	substr($file, $at, $size{BM25_SPECIAL} - $size{START}) =~ $found or die "not there: $found";
	substr($file, $at + $+[0] + $skip, length $new) = $new;
}

my $nan = unpack('f', pack('L', 0x7FC00000));
my %damage = (
	words_idx => [
		[ 'an empty page', qr/an empty page/, sub { zero(page_of('LEAVES')) } ],
		[ 'a foreign page', qr/a foreign page/, sub { end_of(page_of('LEAVES'), 'magic', 1) } ],
		[ 'another version', qr/format version 9/, sub { my $b = page_of('LEAVES'); substr($file, $b * $size{PAGE} + $size{BM25_SPECIAL} + 4, 2) = pack('S', 9) } ],
		[ 'another kind', qr/a page of the wrong kind/, sub { end_of(page_of('LEAVES'), 'kind', $size{BM25_TIDS}) } ],
		[ 'another generation', qr/a page of another generation/, sub { end_of(page_of('LEAVES'), 'generation', 1) } ],
		[ 'a number of segments', qr/a wrong number of segments/, sub { bm25_meta('nsegments', 1000) } ],
		[ 'a value of the metapage', qr/an impossible value/, sub { bm25_meta('k1', $nan) } ],
		[ 'a width of lengths', qr/an impossible segment/, sub { segment('width', 3) } ],
		[ 'a number of documents', qr/a stream of the wrong size/, sub { set_lengths('ndocs', -1) } ],
		[ 'a sum of lengths', qr/wrong lengths of documents/, sub { set_lengths('sumlen', 1) } ],
		[ 'another sum of lengths', qr/an impossible segment/, sub { segment('sumlen', segment('sumlen') + 1000) } ],
		[ 'an average length', qr/an impossible segment/, sub { segment('avglen', 1e-40) } ],
		[ 'more dead documents than there are', qr/an impossible segment/, sub { segment('ndead', segment('ndocs') + 1) } ],
		[ 'a later generation than the next', qr/an impossible segment/, sub { field(start(0) + $size{BM25_SEGMENTS}, 'segment.generation', 1_000_000) } ],
		[ 'flags of sparse vectors', qr/an impossible value/, sub { bm25_meta('flags', $size{BM25_IMPACTS}); segment('flags', $size{BM25_IMPACTS}) } ],
		[ 'where the special space begins', qr/a foreign page/, sub { substr($file, page_of('LEAVES') * $size{PAGE} + $size{PD_LOWER}, 6) = pack('SSS', 0, 8, 8) } ],
		[ 'a number of dead documents', qr/a wrong number of dead documents/, sub { segment('ndead', 7) } ],
		[ 'a number of terms', qr/a wrong number of terms/, sub { segment('nterms', segment('nterms') + 1) } ],
		[ 'a number of free runs', qr/a wrong number of free runs/, sub { in_page((pages('FREE'))[0], 'free.nruns', 60000) } ],
		[ 'a free run past the end', qr/a link past its end/, sub { in_page((pages('FREE'))[0], 'free.runs[0].run.first', 4_000_000) } ],
		[ 'a free run that is lost', qr/a lost page/, sub { in_page((pages('FREE'))[0], 'free.nruns', 0) } ],
		[ 'a number of extents', qr/a broken list of blocks/, sub { in_page(page_of('SEGMENT'), 'streams.nextents[BM25_LENGTHS]', 60000) } ],
		[ 'bytes of a stream', qr/a broken list of blocks/, sub { in_page(page_of('SEGMENT'), 'streams.bytes[BM25_LENGTHS]', 1_000_000) } ],
		[ 'the end of a stream', qr/a place past the end of a stream/, sub { in_page(page_of('SEGMENT'), 'streams.bytes[BM25_POSTINGS]', 1) } ],
		[ 'a page of no terms', qr/a broken page of terms/, sub { in_page(page_of('LEAVES'), 'dictionary.count', 0) } ],
		[ 'the first page of terms', qr/a broken page of terms/, sub { in_page(page_of('INNER'), 'dictionary.first_leaf', 1000) } ],
		[ 'a first page of terms behind the last', qr/a broken page of terms/, sub {
				my $bytes = field(start(page_of('SEGMENT')), 'streams.bytes[BM25_LEAVES]');
				in_page(page_of('INNER'), 'dictionary.first_leaf', $bytes / $size{BM25_SPACE}) } ],
		[ 'where terms are', qr/a term that is not found/, sub { my $at = start(page_of('INNER')); substr($file, $at, $size{BM25_SPECIAL} - $size{START}) =~ s/own[0-9a-f]/aaaa/g } ],
		[ 'order of terms', qr/terms out of order/, sub { in_terms(qr/xylophone/, -9, 'aylophone') } ],
		[ 'no postings', qr/a wrong number of postings/, sub { in_terms(qr/zebraone/, 0, "\0") } ],
		[ 'a list', qr/a broken list of postings/, sub { in_terms(qr/zebraone\x01\x00.[\x80-\xff]/s, 0, "\x7f") } ],
		[ 'bits of gaps', qr/a broken list of postings/, sub { field(block_head(), 'block.gap_bits', 40) } ],
		[ 'a bound', qr/a wrong bound of a block/, sub { field(block_head(), 'block.bound', 0) } ],
		[ 'a frequency', qr/a posting that its document is too short for/, sub {
				my $at = start(page_of('LENGTHS')) + segment('ndocs') - 1;
				set_lengths('sumlen', -ord(substr($file, $at, 1)));
				substr($file, $at, 1) = "\0" } ],
		[ 'positions', qr/broken positions of words/, sub { my $at = start(page_of('POSITIONS')); substr($file, $at, 2) = "\xff\xff" } ],
		[ 'a heap TID', qr/an impossible heap TID/, sub { substr($file, start(page_of('TIDS')) + 6, 6) = "\0" x 6 } ],
		[ 'a row without a text', qr/a document for row \(\d+,\d+\), which should have none/, sub {
				my ($block, $item) = $node->safe_psql('postgres', 'SELECT ctid FROM t WHERE body IS NULL') =~ /(\d+),(\d+)/;
				substr($file, start(page_of('TIDS')) + 6, 6) = pack('SSS', $block >> 16, $block & 0xffff, $item) } ],
		[ 'the first page of the head', qr/a link past its end/, sub { bm25_meta('head_first', 0x80000007) } ],
		[ 'the chain of the head', qr/a broken chain of new documents/, sub { my ($b) = grep { field(start($_), 'head.next') == 4294967295 } pages('HEAD'); end_of($b, 'generation', 1) } ],
		[ 'a page of the head', qr/a broken page of new documents/, sub { my ($b) = grep { field(start($_), 'head.next') == 4294967295 } pages('HEAD'); in_page($b, 'head.used', 60000) } ] ],
	weights_idx => [
		[ 'dimensions', qr/an impossible value/, sub { bm25_meta('dim', 999) } ],
		[ 'a lower greatest impact', qr/a broken impact/, sub { greatest(-1) } ],
		[ 'a higher greatest impact', qr/a wrong bound of a list/, sub { greatest(1) } ] ]);

# Lower or raise the greatest impact of a dimension that one document has: shared and further
# bytes, the dimension's last byte, df, form, bytes, the posting (the gap; its impact, less
# two), the greatest.  The impact of 2.0 has two bytes as a varint.
sub greatest
{
	my ($by) = @_;
	my $at = start(page_of('LEAVES'));
	my $page = substr($file, $at, $size{BM25_SPECIAL} - $size{START});

	$page =~ /\x03\x01.\x01\x00.[\x80-\xff]*[\x00-\x7f][\x80-\xff][\x00-\x7f]([\x81-\xfe])[\x00-\x7f]/s or die 'no list';
	substr($file, $at + $-[1], 1) = chr(ord($1) + $by);
}

foreach my $name (sort keys %damage)
{
	take_index($name);
	is(findings(), '', "$name: sound");
	foreach my $case (@{ $damage{$name} })
	{
		my ($what, $finding, $damage) = @$case;

		$file = $built;
		$damage->();
		isnt($file, $built, "$name, $what: damaged") or next;
		load_index();
		like(findings(), qr/^error\|\d*\|[^\n]*$finding.*REINDEX/m, "$name, $what");
	}
	$file = $built;
	load_index();
	is(findings(), '', "$name: the index as it was");
}

# Where the metapage counts no dead documents, scans return the rows that have taken their places.
$node->safe_psql('postgres', q{
	DELETE FROM t WHERE id BETWEEN 10 AND 20;
	VACUUM (INDEX_CLEANUP on) t;
	INSERT INTO t SELECT n, 'newer' || n, '{9:3}/1000' FROM generate_series(2301, 2330) AS n});
foreach my $name (sort keys %damage)
{
	$node->safe_psql('postgres', "ALTER INDEX $name SET TABLESPACE pg_default");
	take_index($name);
	is(findings(), '', "$name: sound, with dead documents");
	$file = $built;
	segment('ndead', 0);
	load_index();
	like(findings(), qr/other words than row \(\d+,\d+\) has/, "$name, no dead documents");
	$file = $built;
	load_index();
}

# What a statement says of the index as it is damaged; the table has a row more then.
sub damaged_says
{
	my ($what, $finding, $damage, @statements) = @_;

	$file = $built;
	$damage->();
	load_index();
	foreach my $statement (@statements)
	{
		my (undef, undef, $stderr) = $node->psql('postgres', "SET enable_seqscan = off; $statement");
		like($stderr, qr/ERROR:  index "$index" has $finding at block \d+/, "$index: $what");
	}
}

# Documents of the head with a word that occurs no time, or with positions that have no end
sub in_head
{
	my ($found, $new) = @_;
	my ($block) = grep { field(start($_), 'head.next') == 4294967295 } pages('HEAD');
	my $at = start($block);

	substr($file, $at, $size{BM25_SPECIAL} - $size{START}) =~ $found or die "not there: $found";
	substr($file, $at + $-[0], length $new) = $new;
}

# What is written must not go by such numbers.
$node->safe_psql('postgres', 'ALTER INDEX words_idx SET TABLESPACE pg_default');
take_index('words_idx');
damaged_says('a word that occurs no time', 'a broken record of a document', sub { in_head(qr/newer2330\x01/, "newer2330\0") },
	"SELECT piramid_bm25_merge('words_idx')");
damaged_says('a free page that is the last one', 'a free page that is in use', sub { bm25_meta('spare[0].first', bm25_meta('head_last')); bm25_meta('spare[0].pages', 1) },
	"INSERT INTO t SELECT n, 'all new' || n || repeat(' more' || n, 90) FROM generate_series(3000, 3100) AS n");
damaged_says('a heap TID past the end', 'a heap TID past the end of the table', sub { substr($file, start(page_of('TIDS')) + 6, 6) = pack('SSS', 0, 60000, 1) },
	"SELECT id FROM t ORDER BY body <@> 'all' LIMIT 1000");
damaged_says('a heap TID of no heap', 'an impossible heap TID', sub { substr($file, start(page_of('TIDS')) + 6, 6) = pack('SSS', 0, 0, 2000) },
	"SET enable_indexscan = off; SELECT count(*) FROM t WHERE body @@ to_bm25query('all'::tsquery)");

# Where no merge comes to its end, there are more and more segments.
damaged_says('too many segments', 'too many segments', sub { in_page(page_of('SEGMENT'), 'streams.bytes[BM25_POSTINGS]', 1) }, q{
	DO $$ BEGIN
		FOR n IN 1 .. 110 LOOP
			INSERT INTO t VALUES (5000 + n, 'more');
			BEGIN PERFORM piramid_bm25_merge('words_idx'); EXCEPTION WHEN index_corrupted THEN NULL; END;
		END LOOP;
	END $$;
	SELECT piramid_bm25_merge('words_idx')});
$node->safe_psql('postgres', 'REINDEX INDEX words_idx; REINDEX INDEX weights_idx');

# VACUUM asks which rows are dead.
$node->safe_psql('postgres', 'ALTER INDEX words_idx SET TABLESPACE pg_default');
take_index('words_idx');
damaged_says('a heap TID', 'an impossible heap TID', sub { substr($file, start(page_of('TIDS')) + 6, 6) = "\0" x 6 },
	'DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t); VACUUM (INDEX_CLEANUP on) t');
$node->safe_psql('postgres', 'REINDEX INDEX words_idx; VACUUM (INDEX_CLEANUP on) t');

check_and_stop($node);
done_testing();
