# piramid_check names each kind of damage, with the block, and piramid_repair mends
# what its hint says.  Of a sound index it reports nothing: beside clients that change
# rows and vacuum, and after them.
#
# By version: what it reads of the server's tables.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Damage;

my $node = piramid_node('check', conf => "autovacuum = off\nignore_checksum_failure = on");
damage_init($node);
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '" . PostgreSQL::Test::Utils::tempdir . "'");

# Overflow links, free slots, upper nodes, chunks of heap TIDs, key pages
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION point(n int) RETURNS vector LANGUAGE sql IMMUTABLE AS
		$$ SELECT array_agg(sin(n * 12.9898 + i * (n % 13 + 1)))::vector FROM generate_series(1, 16) AS i $$;
	CREATE TABLE t (id int, v vector(16), a int);
	INSERT INTO t SELECT n, point(n), n % 5 FROM generate_series(1, 900) AS n;
	INSERT INTO t SELECT n, point(5), n % 3 FROM generate_series(1001, 1160) AS n;
	CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops, a) WITH (m = 8);
	DELETE FROM t WHERE id % 10 = 3;
	VACUUM t;
	CHECKPOINT;
	INSERT INTO t SELECT n, point(n), n % 5 FROM generate_series(2001, 2040) AS n;
	INSERT INTO t VALUES (3000, NULL, 1);
	CHECKPOINT;
});

read_fields(take_index('t_idx'));

# severity|block|slot|what|hint, a line for each finding
sub findings { return $node->safe_psql('postgres', "SELECT * FROM piramid_check('$index', true)") }

sub number { my ($bits) = @_; return unpack('f', pack('L', $bits)) }
my ($nan, $infinite) = (number(0x7FC00000), number(0x7F800000));

# An entry of a map
sub map_entry { my ($block, $i) = @_; return start_of($block, $i, 4) }

# What is damaged; what the check says; the damage, which returns the block that is
# named; and whether a repair mends it.
my @damage = (
	[ 'an empty page of nodes', qr/a link to node \d+, where there is no node of its level.*REINDEX/, sub { zero((blocks_of('NODE'))[0]); undef }, 0 ],
	[ 'an empty page of TIDs', qr/an empty page.*REINDEX/, sub { my $b = last_of('TIDS'); zero($b); $b }, 0 ],
	[ 'an empty map', qr/an empty page, where a map should be/, sub { my $b = last_of('KEY_MAP'); zero($b); $b }, 0 ],
	[ 'a page of another block', qr/a page of block \d+/, sub {
			my ($x, $y) = blocks_of('NODE');
			substr($file, $y * $size{PAGE}, $size{PAGE}) = substr($file, $x * $size{PAGE}, $size{PAGE});
			$y }, 0 ],
	[ 'another version', qr/format version 9/, sub { my ($b) = blocks_of('NODE'); opaque($b, 'version', 9); opaque($b, 'magic', opaque($b, 'magic')); $b }, 0 ],
	[ 'an unknown kind', qr/a page of an unknown kind/, sub { my ($b) = blocks_of('NODE'); opaque($b, 'kind', 77); $b }, 0 ],
	[ 'a broken metapage', qr/an impossible metapage/, sub { meta('degree', 15); 0 }, 0 ],
	[ 'another metric than the operator class has', qr/an impossible metapage/, sub { meta('metric', meta('metric') == 1 ? 4 : 1); 0 }, 0 ],
	[ 'a count of free slots', qr/free slots where the page counts 7/, sub { my ($b) = blocks_of('NODE'); opaque($b, 'nfree', 7); $b }, 1 ],
	[ 'a page that left its list', qr/free slots on no list.*repair/, sub { my $b = block_of(free_slot()); opaque($b, 'listed', 0); $b }, 1 ],
	[ 'a list that ends too soon', qr/free slots on no list.*repair/, sub { meta('free_node[0]', 4294967295); undef }, 1 ],
	[ 'a list in a circle', qr/comes back to a page.*repair/, sub { my $b = meta('free_node[0]'); opaque($b, 'next', $b); $b }, 1 ],
	[ 'a list to a page of another kind', qr/broken list of free slots: a page of the wrong kind/, sub { my ($b) = blocks_of('TIDS'); meta('free_node[0]', $b); $b }, 1 ],
	[ 'a list past the end', qr/broken list of free slots: a link past its end/, sub { meta('free_tids', 1000000); 1000000 }, 1 ],
	[ 'a level', qr/a node of level 3 on a page of base nodes/, sub { my ($n) = base_nodes(); field($n, 'node.level', 3); block_of($n) }, 0 ],
	[ 'flags', qr/an impossible node/, sub { my ($n) = base_nodes(); field($n, 'node.flags', 0x81); block_of($n) }, 0 ],
	[ 'a count of links', qr/an impossible node/, sub { my ($n) = base_nodes(); field($n, 'node.nlinks', 1000); block_of($n) }, 0 ],
	[ 'a link to itself', qr/a link from a node to itself.*repair/, sub { my ($n) = base_nodes(); set_link($n, 2, number_of($n)); block_of($n) }, 1 ],
	[ 'a link twice', qr/two links from a node to another.*repair/, sub { my ($n) = base_nodes(); set_link($n, 2, (links($n))[0]); block_of($n) }, 1 ],
	[ 'a link to none', qr/a link to no node.*repair/, sub { my ($n) = base_nodes(); set_link($n, 0, 0); block_of($n) }, 1 ],
	[ 'a link to a free slot', qr/a link to node \d+, where there is no node of its level.*repair/, sub { my ($n) = base_nodes(); set_link($n, 1, number_of(free_slot())); block_of($n) }, 1 ],
	[ 'a link to an upper node', qr/a link to node \d+, where there is no node of its level.*repair/, sub { my ($n) = base_nodes(); set_link($n, 1, number_of((upper_nodes())[0])); block_of($n) }, 1 ],
	[ 'a link past the end', qr/a link to node \d+, where there is no node of its level.*REINDEX/, sub { my ($n) = base_nodes(); set_link($n, 1, 1000000); block_of($n) }, 0 ],
	[ 'links of an upper node', qr/a link to node \d+, where there is no node of its level.*repair/, sub { my ($n) = upper_nodes(); set_link($n, 0, number_of((base_nodes())[0])); block_of($n) }, 1 ],
	[ 'no node below', qr/an upper node without a node below.*repair/, sub { my $n = (upper_nodes())[-1]; field($n, 'node.below', number_of(free_slot())); block_of($n) }, 1 ],
	[ 'another node below', qr/an upper node of another vector than the node below/, sub { my ($n) = grep { field($_, 'node.level') == 1 } upper_nodes(); my ($x) = grep { $_ != field($n, 'node.below') } map { number_of($_) } base_nodes(); field($n, 'node.below', $x); block_of($n) }, 0 ],
	[ 'a vector that is no number', qr/an impossible vector/, sub { my ($n) = base_nodes(); field($n, 'node.scale', $nan); block_of($n) }, 0 ],
	[ 'a length', qr/a vector of another length than its node says/, sub { my ($n) = base_nodes(); field($n, 'node.own_norm', 1000); block_of($n) }, 0 ],
	[ 'two vectors', qr/another vector than the row, which is \(\d+,\d+\) of the table/, sub {
			my @n = base_nodes();
			my $x = bytes($n[0], 'node.own', $size{OWN_SIZE});
			set_bytes($n[0], 'node.own', bytes($n[1], 'node.own', $size{OWN_SIZE}));
			set_bytes($n[1], 'node.own', $x);
			block_of($n[0]) }, 0 ],
	[ 'codes', qr/a code that leads away from its neighbour/, sub { my ($n) = base_nodes(); set_bytes($n, 'node.codes', ~bytes($n, 'node.codes', 16 * ($size{OVERFLOW_SIZE} - $size{OVERFLOW_HEAD}))); block_of($n) }, 0 ],
	[ 'factors', qr/a link of another length than its vectors tell/, sub { my ($n) = base_nodes(); field($n, 'node.scale_b', 100 * field($n, 'node.scale_b')); block_of($n) }, 0 ],
	[ 'an impossible TID', qr/an impossible heap TID/, sub { my ($n) = base_nodes(); set_tids('node.tid', 0, 0, $n); block_of($n) }, 0 ],
	[ 'a TID past the end', qr/a heap TID past the end of the table/, sub { my ($n) = base_nodes(); set_tids('node.tid', 1000000, 1, $n); block_of($n) }, 0 ],
	[ 'a TID of another row', qr/another vector than the row|other keys than the row/, sub { my @n = base_nodes(); field($n[0], 'node.tid', field($n[1], 'node.tid')); block_of($n[0]) }, 0 ],
	[ 'a TID twice', qr/the row \(\d+,\d+\) of the table a second time/, sub { my @n = base_nodes(); field($n[0], 'node.tid', field($n[1], 'node.tid')); undef }, 0 ],
	# The second rows are kept from first to last.
	[ 'many TIDs twice', qr/the row \(\d+,\d+\) of the table a second time/, sub { my @n = base_nodes(); field($n[ 2 * $_ + 1 ], 'node.tid', field($n[ 2 * $_ ], 'node.tid')) foreach 0 .. $#n / 2 - 1; undef }, 0 ],
	[ 'a row that is missing', qr/^error\|\|\|the row \(\d+,\d+\) of the table is not in the index.*REINDEX/m, sub { my ($n) = base_nodes(); field($n, 'node.ntids', 0); undef }, 0 ],
	[ 'the owner of a chunk', qr/TIDs of another node in a node's chain/, sub { my ($c) = chunks(); field($c, 'chunk.owner', 1); block_of($c) }, 0 ],
	[ 'the order of a chain', qr/a list of TIDs in the wrong order/, sub { set_chunks('sequence', 1); block_of((chunks())[0]) }, 0 ],
	[ 'a chain past the end', qr/a link past its end/, sub { field($_, 'chunk.next', 4000000000) foreach chunks(); int(4000000000 / $size{CHUNKS}) }, 0 ],
	[ 'a lost chain', qr/a chunk of heap TIDs that no node has.*repair/, sub { my ($c) = chunks(); set_nodes('more_tids', 0); block_of($c) }, 0 ],
	[ 'the entry point', qr/an entry point that is no node.*repair/, sub { meta('entry', number_of(free_slot())); 0 }, 1 ],
	[ 'its level', qr/an entry point of another level than its node.*repair/, sub { meta('entry_level', 5); 0 }, 1 ],
	[ 'no entry point', qr/no entry point.*repair/, sub { meta('entry', 0); 0 }, 1 ],
	[ 'an entry of a key page', qr/a node with other keys than its key page says.*repair/, sub { my ($n) = base_nodes(); substr($file, key_entry($n, 2), 4) = pack('L', 99); block_of($n) }, 1 ],
	[ 'an entry that hides a node', qr/a node that its key page says there is not.*repair/, sub { my ($n) = base_nodes(); substr($file, key_entry($n, 0), 1) = "\x03"; block_of($n) }, 1 ],
	[ 'an impossible entry', qr/an impossible entry of a key page.*repair/, sub { my ($n) = base_nodes(); my $at = key_entry($n, 0); substr($file, $at, 1) = "\x77"; block_of($at) }, 1 ],
	[ 'a key of a row', qr/other keys than the row, which is/, sub { my ($n) = base_nodes(); set_bytes($n, 'node.keys', "\x01\x01"); block_of($n) }, 0 ],
	[ 'a page that no map leads to', qr/a page that no map leads to/, sub { my $b = last_of('OVERFLOW'); opaque($b, 'next', 100); $b }, 0 ],
	[ 'a map to another page', qr/a map that leads to block 4000000: a link past its end/, sub {
			my $b = last_of('OVERFLOW_MAP');
			my ($i) = grep { unpack('L', substr($file, start_of($b, $_, 4), 4)) } 0 .. 2000;
			substr($file, start_of($b, $i, 4), 4) = pack('L', 4000000);
			$b }, 0 ],
	[ 'a count of pages', qr/a wrong count of pages of overflow links/, sub { meta('overflow_pages', 99); 0 }, 0 ],
	[ 'an overflow link to none', qr/an overflow link from or to what is no base node.*repair/, sub { my $b = last_of('OVERFLOW'); substr($file, overflow_link($b, 0), 4) = pack('L', number_of(free_slot())); $b }, 1 ],
	[ 'an overflow link twice', qr/two overflow links from a node to another.*repair/, sub {
			my $b = last_of('OVERFLOW');
			substr($file, overflow_link($b, 1), 4) = substr($file, overflow_link($b, 0), 4);
			substr($file, start_of($b, 0, 0) + 2, 2) = substr($file, start_of($b, 0, 0), 2);
			$b }, 1 ],
	[ 'a chain in a circle', qr/an endless list of TIDs/, sub { set_chunks('sequence', 0); field($_, 'chunk.next', chunk_number($_)) foreach chunks(); undef }, 0 ],
	[ 'a chunk that is too full', qr/an impossible list of TIDs/, sub { my ($c) = chunks(); field($c, 'chunk.ntids', 200); block_of($c) }, 0 ],
	[ 'factors that are no numbers', qr/a link whose factors are no numbers/, sub { my ($n) = base_nodes(); field($n, 'node.scale_a', $infinite); block_of($n) }, 0 ],
	[ 'factors of other codes', qr/a link whose factors do not fit its code/, sub { my ($n) = base_nodes(); field($n, 'node.scale_a', 1000 * field($n, 'node.scale_a')); block_of($n) }, 0 ],
	[ 'an element that is no number', qr/a vector with an element that is no number/, sub { my ($n) = base_nodes(); set_bytes($n, 'node.own', pack('S', 0x7E00)); block_of($n) }, 0 ],
	[ 'an overflow link to itself', qr/an overflow link from a node to itself.*repair/, sub {
			my $b = last_of('OVERFLOW');
			my $origin = unpack('S', substr($file, start_of($b, 0, 0), 2));
			my $slots = meta('nodes_per_page');
			substr($file, overflow_link($b, 0), 4) = pack('L', (opaque($b, 'next') * $size{GROUP_BLOCKS} + int($origin / $slots)) * $slots + $origin % $slots);
			$b }, 1 ],
	[ 'an overflow link elsewhere', qr/an overflow link of another group.*repair/, sub { my $b = last_of('OVERFLOW'); substr($file, start_of($b, 0, 0), 2) = pack('S', 65535); $b }, 1 ],
	[ 'a page in two places of a map', qr/a map that leads to block \d+: a page of another number/, sub {
			my $b = last_of('OVERFLOW_MAP');
			my ($i) = grep { unpack('L', substr($file, map_entry($b, $_), 4)) } 0 .. 2000;
			substr($file, map_entry($b, $i + 1), 4) = substr($file, map_entry($b, $i), 4);
			$b }, 0 ],
	[ 'a count of key pages', qr/a wrong count of pages of keys/, sub { meta('key_pages', 99); 0 }, 0 ],
	[ 'a count of sketch pages', qr/a wrong count of pages of sketches/, sub { meta('sketch_pages', 99); 0 }, 0 ],
	[ 'a listed page that says it is not', qr/a page on a list of free slots that does not say so.*repair/, sub { my $b = meta('free_node[0]'); opaque($b, 'listed', 0); $b }, 1 ],
	[ 'a page on the list of upper nodes', qr/a page on the wrong list of free slots.*repair/, sub { my $b = meta('free_node[0]'); meta('free_node[1]', $b); $b }, 1 ],
	[ 'pages of the mean in a circle', qr/an endless chain of pages/, sub { my ($b) = blocks_of('MEAN'); opaque($b, 'next', $b); $b }, 0 ],
	[ 'a count of slots that is too small', qr/a node behind those in use/, sub { my ($b) = blocks_of('NODE'); opaque($b, 'nused', opaque($b, 'nused') - 1); $b }, 0 ],
	[ 'a count of slots that is too large', qr/a wrong count of slots/, sub { my ($b) = blocks_of('NODE'); opaque($b, 'nused', 200); $b }, 0 ],
	[ 'a count of chunks', qr/a wrong count of slots/, sub { my ($b) = blocks_of('TIDS'); opaque($b, 'nused', 2000); $b }, 0 ],
	[ 'a count of entries', qr/a wrong count of entries/, sub { my $b = last_of('OVERFLOW'); opaque($b, 'nused', 60000); $b }, 0 ],
	[ 'an older version', qr/a page of another version than the index/, sub { my ($b) = blocks_of('NODE'); opaque($b, 'version', 2); opaque($b, 'magic', $size{MAGIC}); $b }, 0 ],
	[ 'a mark of a list', qr/a wrong mark of a list of free slots.*repair/, sub { my ($b) = blocks_of('NODE'); opaque($b, 'listed', 7); $b }, 1 ],
	[ 'where a page begins', qr/an impossible page header/, sub { my ($b) = blocks_of('NODE'); substr($file, $b * $size{PAGE} + $size{PD_LOWER}, 2) = pack('S', 0); $b }, 0 ],
	[ 'a page of upper TIDs', qr/an impossible page header/, sub { my ($b) = blocks_of('TIDS'); opaque($b, 'upper', 1); $b }, 0 ],
	[ 'where a page ends', qr/nodes behind the end of the page/, sub { my ($b) = blocks_of('NODE'); substr($file, $b * $size{PAGE} + $size{PD_LOWER}, 2) = pack('S', $size{START}); $b }, 0 ],
	[ 'a base node above another', qr/an impossible base node/, sub { my ($n) = base_nodes(); field($n, 'node.below', 5); block_of($n) }, 0 ],
	[ 'an upper node with rows', qr/an impossible upper node/, sub { my ($n) = upper_nodes(); field($n, 'node.ntids', 1); block_of($n) }, 0 ],
	[ 'a row without a vector', qr/an entry of a row that does not belong there, which is \(\d+,\d+\) of the table/, sub {
			my ($n) = base_nodes();
			my ($block, $item) = $node->safe_psql('postgres', 'SELECT ctid FROM t WHERE v IS NULL') =~ /(\d+),(\d+)/;
			set_tids('node.tid', $block, $item, $n);
			block_of($n) }, 0 ],
	[ 'too many faults', qr/^error\|\|\|\d+ further findings are left out\|Run REINDEX/m, sub { set_links(1_000_000); undef }, 0 ],
	[ 'no links', qr/^warning.* nodes, this one first, cannot be reached from the entry point; searches of width 40 find 0 of.*repair/m, sub { field($_, 'node.nlinks', 0) foreach base_nodes(); opaque($_, 'nused', 0) foreach blocks_of('OVERFLOW'); undef }, 1 ],
	[ 'no links, and too many', qr/^error.*an impossible node/m, sub { field($_, 'node.nlinks', 0) foreach base_nodes(); field((base_nodes())[-1], 'node.nlinks', 32768); opaque($_, 'nused', 0) foreach blocks_of('OVERFLOW'); block_of((base_nodes())[-1]) } ]);

# Damage the file; the check says so, and names the block.
sub damaged
{
	my ($name, $finding, $damage) = @_;

	$file = $built;
	my $block = $damage->();
	isnt($file, $built, "$name: damaged") or return;
	load_index();
	my $found = findings();
	like($found, $finding, $name);
	like($found, qr/^(error|warning)\|$block\|/m, "$name: block $block") if defined $block;
}

is(findings(), '', 'sound');
foreach my $case (@damage)
{
	my ($name, $finding, $damage, $mended) = @$case;

	damaged($name, $finding, $damage);
	next unless $mended;
	my ($status, $done, $error) = $node->psql('postgres', "SELECT * FROM piramid_repair('t_idx')");
	like($done, qr/./, "$name: repaired") or diag($error);
	is(findings(), '', "$name: nothing is left");
	is($node->safe_psql('postgres', "SELECT test.reachable('t')"), $node->safe_psql('postgres', 'SELECT count(v) FROM t'), "$name: all rows");
}
# A sample reads other blocks each time: it finds what is wrong in many blocks at once, and
# what is wrong in one in the end.  It says nothing of a sound one.
sub sampled { return $node->safe_psql('postgres', "SELECT * FROM piramid_check('t_idx', sample => $_[0])") }
$file = $built;
set_pages('NODE', 'kind', 77);
load_index();
like(sampled(0.2), qr/^error\|\d+\|\|a page of an unknown kind/m, 'a sample of many damaged pages');
$file = $built;
my $damaged = last_of('NODE');
opaque($damaged, 'kind', 77);
load_index();
my $samples = 1;
$samples++ while ($samples < 200 && sampled(0.3) !~ /^error\|$damaged\|/m);
at_most($samples, 199, 'samples until the damaged page is in one');
$file = $built;
load_index();
is(join('', map { sampled(0.3) } 1 .. 10), '', 'samples of the index as it was');
is(findings(), '', 'the index as it was');

# What other kinds of indexes have, and t's has not
$node->safe_psql('postgres', q{
	CREATE TABLE kinds AS SELECT n AS id, binary_quantize(point(n))::bit(12) AS bits,
		('{' || n % 50 + 1 || ':' || n || ',' || n % 50 + 60 || ':1}/200')::sparsevec(200) AS sparse,
		(SELECT array_agg(x) FROM unnest(point(n)::real[]) AS x, generate_series(1, 160))::vector(2560) AS wide
		FROM generate_series(1, 60) AS n;
	ALTER TABLE kinds ALTER bits TYPE bit(12), ALTER sparse TYPE sparsevec(200), ALTER wide TYPE vector(2560);
	CREATE INDEX bits_idx ON kinds USING hnsw (bits bit_hamming_ops);
	CREATE INDEX sparse_idx ON kinds USING hnsw (sparse sparsevec_l2_ops);
	CREATE INDEX wide_idx ON kinds USING hnsw (wide vector_l2_ops);
	CREATE TABLE measured AS SELECT id, v FROM t WHERE v IS NOT NULL LIMIT 300;
	ALTER TABLE measured ALTER v TYPE vector(16);
	CREATE INDEX recall_idx ON measured USING hnsw (v vector_l2_ops);
	SELECT piramid_calibrate('recall_idx')});
foreach my $case (
	[ 'bits_idx', 'bits that are too many', qr/bits behind its vector/, sub { my ($n) = base_nodes(); set_bytes($n, 'node.own', "\xff\xff"); block_of($n) } ],
	[ 'sparse_idx', 'positions of a sparse vector', qr/a sparse vector with impossible positions/, sub { my ($n) = base_nodes(); set_bytes($n, 'node.own', pack('S', 199)); block_of($n) } ],
	[ 'sparse_idx', 'a position past the end', qr/a sparse vector with impossible positions/, sub { my ($n) = base_nodes(); set_bytes($n, 'node.own', pack('S', 65000)); block_of($n) } ],
	[ 'sparse_idx', 'elements of a sparse vector', qr/an impossible vector/, sub { my ($n) = base_nodes(); field($n, 'node.nnz', 60000); block_of($n) } ],
	[ 'wide_idx', 'a part of a node', qr/a node whose pages are not there: an empty page/, sub { my ($b) = blocks_of('PART'); zero($b); undef } ],
	[ 'recall_idx', 'a recall above 1', qr/an impossible recall/, sub { my $b = last_of('RECALL'); field(start_of($b, 0, 0), 'recall.points[0][0].recall', 2); $b } ],
	[ 'recall_idx', 'a lost page of recall', qr/a page that nothing leads to/, sub { meta('recall', 0); last_of('RECALL') } ])
{
	my ($damaged, @case) = @$case;

	read_fields(take_index($damaged)) if $damaged ne $index;
	damaged(@case);
	$file = $built;
	load_index();
	is(findings(), '', "$case[0]: the index as it was");
}

# Positions past the end are no reason to write there: VACUUM makes queries of nodes.  (What is
# there is seldom missed, but by a build with sanitizers.)
read_fields(take_index('sparse_idx'));
$file = $built;
set_bytes($_, 'node.own', pack('S', 65000)) foreach base_nodes();
load_index();
$node->safe_psql('postgres', 'DELETE FROM kinds WHERE id % 3 = 1; VACUUM (INDEX_CLEANUP on) kinds');
like(findings(), qr/a sparse vector with impossible positions/, 'positions past the end: VACUUM, and a check');
$node->safe_psql('postgres', 'REINDEX TABLE kinds');
read_fields(take_index('t_idx'));

# A node of a level that there is not does not become the entry point.
$node->safe_psql('postgres', 'ALTER INDEX t_idx SET TABLESPACE pg_default');
read_fields(take_index('t_idx'));
$file = $built;
my $entry = meta('entry');
my ($entry_at) = grep { number_of($_) == $entry } nodes();
my $base_at = $entry_at;
($base_at) = grep { number_of($_) == field($base_at, 'node.below') } nodes() while (field($base_at, 'node.level'));
my ($high, $low, $item) = unpack('SSS', bytes($base_at, 'node.tid', 6));
field((grep { $_ != $base_at } base_nodes())[0], 'node.level', 200);
load_index();
$node->psql('postgres', 'DELETE FROM t WHERE ctid = \'(' . ($high << 16 | $low) . ",$item)'; VACUUM (INDEX_CLEANUP on) t");
my (undef, $point, $said) = $node->psql('postgres', "SELECT entry_point FROM piramid_hnsw_info('t_idx')");
like("$point$said", qr/^\d+$/, 'an entry point');
unlike(findings(), qr/metapage/, 'an impossible level, and VACUUM');
$node->safe_psql('postgres', 'REINDEX INDEX t_idx');

# A search that passes over the row that it was made from has a place for just one such node.
$node->safe_psql('postgres', 'ALTER INDEX recall_idx SET TABLESPACE pg_default');
read_fields(take_index('recall_idx'));
$file = $built;
my ($first, @others) = base_nodes();
foreach my $at (@others[ 0 .. 29 ])
{
	field($at, "node.$_", field($first, "node.$_")) foreach qw(scale norm own_norm);
	set_bytes($at, 'node.own', bytes($first, 'node.own', $size{OWN_SIZE}));
}
load_index();
my (undef, $recall, $stderr) = $node->psql('postgres', "SET hnsw.ef_search = 1; SELECT recall <= 1 FROM piramid_recall('recall_idx', 1000, 1)");
like($recall . $stderr, qr/^t$|index "recall_idx" has/, 'nodes of equal vectors');
$node->safe_psql('postgres', 'REINDEX INDEX recall_idx; ALTER INDEX t_idx SET TABLESPACE pg_default');
read_fields(take_index('t_idx'));

# Cancelled, wherever it is: it ends, holds nothing, and the next one works.
my ($cancelled, $ended) = (0, 0);
foreach my $step (1 .. 60)
{
	my ($status, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET statement_timeout = " . int(1 + $step * $step / 50) . "; SELECT * FROM piramid_check('t_idx', true)");
	if ($status == 0) { $ended++ }
	elsif ($stderr =~ /ERROR:  57014/) { $cancelled++ }
	else { fail("cancelled: $stderr") }
	last if $ended > 3;
}
at_least($cancelled, 1, 'checks that were cancelled');
is(findings(), '', 'after checks that were cancelled');
unlike(slurp_file($node->logfile), qr/leak/, 'nothing was left pinned or locked');

# Rows that are nobody's near neighbours: CREATE INDEX and VACUUM lead to them all the same.
$node->safe_psql('postgres', q{
	SELECT setseed(0.7);
	CREATE TABLE far AS SELECT n AS id, (SELECT '{' || string_agg(k || ':' || (random() * 9 + 0.1)::numeric(6, 2), ',') || '}/5000'
		FROM (SELECT DISTINCT (random() * 4998)::int + 1 AS k FROM generate_series(1, 25) WHERE n > 0) AS x)::sparsevec(5000) AS v
		FROM generate_series(1, 1000) AS n});
foreach my $class ('sparsevec_l2_ops', 'sparsevec_ip_ops')
{
	$node->safe_psql('postgres', "CREATE INDEX far_idx ON far USING hnsw (v $class)");
	is($node->safe_psql('postgres', "SELECT * FROM piramid_check('far_idx', true)"), '', "$class: all nodes can be reached");
	$node->safe_psql('postgres', 'DELETE FROM far WHERE id % 10 = 1; VACUUM far');
	is($node->safe_psql('postgres', "SELECT * FROM piramid_check('far_idx', true)"), '', "$class: also after VACUUM");
	$node->safe_psql('postgres', 'DROP INDEX far_idx');
}

# Beside clients, and after them
$node->safe_psql('postgres', 'CREATE SEQUENCE next START 10000');
my @clients = map {
	my $seed = $_;
	start_sql($node, join('', map {
				my $n = $seed * 1000 + $_ * 7;
				"INSERT INTO t SELECT nextval('next'), point($n % 300), $n % 5;\n"
				  . "UPDATE t SET a = a + 1 WHERE id = $n % 900;\nDELETE FROM t WHERE id IN ($n % 1100, $n % 2030);\n"
				  . "BEGIN; INSERT INTO t SELECT -$n, point($n), 1; ROLLBACK;\n"
			} 1 .. 250));
} 1 .. 2;
push @clients, start_sql($node, "VACUUM (INDEX_CLEANUP on) t;\n" x 25);
my $checks = 0;
my $found = '';
do
{
	$found .= join('', grep { !/$not_found/ } findings());
	$checks++;
	$_->pump_nb foreach grep { $_->pumpable } @clients;
} while ($found eq '' && grep { $_->pumpable } @clients);
$_->finish foreach @clients;
is($found, '', 'beside clients');
note("$checks checks");
is_sound($node, 'after clients');
isnt($node->safe_psql('postgres', "SELECT count(*) FROM piramid_repair('t_idx')"), 'none', 'a repair of a sound index');

check_and_stop($node);
done_testing();
