# Damaged pages: every statement either works or reports a corrupted index with
# its name, a block and a hint; nothing crashes or hangs; REINDEX repairs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('corruption', conf => qq{
autovacuum = off
restart_after_crash = on
ignore_checksum_failure = on
client_min_messages = error
});

# Sizes and places, as hnsw_page.h has them.
use constant { PAGE => 8192, START => 24, SPECIAL => 8176, CHUNK => 128 };
use constant { KIND_CALIBRATION => 2, KIND_NODE => 3, KIND_PART => 4, KIND_TIDS => 5, KIND_KEYS => 9, KIND_KEY_MAP => 10 };
my %meta_field = (
	magic => [ 0, 'L' ], version => [ 4, 'L' ], dim => [ 8, 'S' ], metric => [ 10, 'C' ], own_kind => [ 11, 'C' ],
	degree => [ 16, 'S' ], code_dims => [ 18, 'S' ], code_bits => [ 20, 'C' ], inline_tids => [ 22, 'S' ], key_size => [ 24, 'S' ],
	nodes_per_page => [ 26, 'S' ], pages_per_node => [ 28, 'S' ], node_size => [ 32, 'L' ], calibration => [ 52, 'L' ],
	entry => [ 56, 'L' ], entry_level => [ 60, 'l' ], free_base => [ 64, 'L' ], free_upper => [ 68, 'L' ], free_tids => [ 72, 'L' ],
	column_dim => [ 84, 'L' ], key_columns => [ 88, 'C' ], key_pages => [ 92, 'L' ], key_map => [ 4224, 'L' ]);
my %opaque_field = (
	magic => [ 0, 'L' ], version => [ 4, 'C' ], kind => [ 5, 'C' ], upper => [ 6, 'C' ], listed => [ 7, 'C' ],
	nfree => [ 8, 'S' ], nused => [ 10, 'S' ], next => [ 12, 'L' ]);
my %node_field = (
	flags => [ 0, 'C' ], level => [ 1, 'C' ], nlinks => [ 2, 'S' ], ntids => [ 4, 'S' ], below => [ 8, 'L' ], more_tids => [ 12, 'L' ],
	scale => [ 16, 'f' ], norm => [ 20, 'f' ], own_norm => [ 24, 'f' ], error => [ 28, 'f' ], scale_a => [ 32, 'f' ], scale_b => [ 36, 'f' ]);
my %chunk_field = (owner => [ 0, 'L' ], next => [ 4, 'L' ], ntids => [ 8, 'S' ], sequence => [ 124, 'L' ]);
use constant { NODE_TIDS => 40, CHUNK_TIDS => 10 };		# the first heap TID: block, high half first, and offset

my $file;		# contents of the index
my $nan = unpack 'f', pack('L', 0x7FC00000);

sub field
{
	my ($at, $field, $value) = @_;
	my ($offset, $type) = @$field;
	my $packed = pack $type, $value // 0;
	my $old = unpack $type, substr($file, $at + $offset, length $packed);
	substr($file, $at + $offset, length $packed) = $packed if defined $value;
	return $old;
}

sub meta { my ($name, $value) = @_; return field(START, $meta_field{$name}, $value) }
sub opaque { my ($block, $name, $value) = @_; return field($block * PAGE + SPECIAL, $opaque_field{$name}, $value) }
sub blocks { return length($file) / PAGE }
sub blocks_of { my ($kind) = @_; return grep { opaque($_, 'kind') == $kind } 1 .. blocks() - 1 }

# Places of all used nodes and of all chunks.
sub nodes
{
	my @places;
	foreach my $block (blocks_of(KIND_NODE))
	{
		push @places, map { $block * PAGE + START + $_ * meta('node_size') } 0 .. opaque($block, 'nused') - 1;
	}
	return grep { field($_, $node_field{flags}) } @places;
}

sub chunks
{
	return grep { field($_, $chunk_field{owner}) }
	  map { my $block = $_; map { $block * PAGE + START + $_ * CHUNK } 0 .. opaque($block, 'nused') - 1 } blocks_of(KIND_TIDS);
}

sub links_offset
{
	my $offset = 40 + (6 + meta('key_size')) * meta('inline_tids') + meta('degree') / 8;
	return $offset + (-$offset % 4);
}

sub set_nodes { my ($name, $value) = @_; field($_, $node_field{$name}, $value) foreach nodes() }
sub set_chunks { my ($name, $value) = @_; field($_, $chunk_field{$name}, $value) foreach chunks() }
sub set_pages { my ($kind, $name, $value) = @_; opaque($_, $name, $value) foreach blocks_of($kind) }

sub set_links
{
	my ($link) = @_;
	my $offset = links_offset();
	foreach my $place (nodes())
	{
		next if $offset + 4 * meta('degree') > PAGE - START - 16;
		substr($file, $place + $offset, 4 * meta('degree')) = pack('L', $link) x meta('degree');
	}
}

# Change the first heap TID of some nodes or chunks.
sub set_tids
{
	my ($offset, $block, $item, @places) = @_;
	substr($file, $_ + $offset, 6) = pack('SSS', $block >> 16, $block & 0xFFFF, $item) foreach @places;
}

sub base_nodes { return grep { !field($_, $node_field{level}) } nodes() }

sub zero { my ($block) = @_; substr($file, $block * PAGE, PAGE) = "\0" x PAGE }
sub last_of { my ($kind) = @_; return (blocks_of($kind))[-1] }

my @damage = (
	[ 'an empty metapage', sub { zero(0) } ],
	[ 'an empty node page', sub { zero((blocks_of(KIND_NODE))[0]) } ],
	[ 'no node page but empty ones', sub { zero($_) foreach blocks_of(KIND_NODE) } ],
	[ 'empty continuations', sub { zero($_) foreach blocks_of(KIND_PART) } ],
	[ 'empty pages of TIDs', sub { zero($_) foreach blocks_of(KIND_TIDS) } ],
	[ 'empty calibration', sub { zero($_) foreach blocks_of(KIND_CALIBRATION) } ],
	[ 'pages of another access method', sub { substr($file, $_ * PAGE + 16, 2) = pack('S', PAGE) foreach blocks_of(KIND_NODE) } ],
	[ 'a metapage of another access method', sub { substr($file, 16, 2) = pack('S', PAGE) } ],
	[ 'half of the file', sub { $file = substr($file, 0, int(blocks() / 2) * PAGE) } ],
	[ 'only the metapage', sub { $file = substr($file, 0, PAGE) } ],
	[ 'pages in reverse order', sub {
			my @pages = unpack '(a' . PAGE . ')*', substr($file, PAGE);
			$file = substr($file, 0, PAGE) . join '', reverse @pages;
		} ],
	[ 'another magic number', sub { set_pages(KIND_NODE, 'magic', 1) } ],
	[ 'another version', sub { set_pages(KIND_NODE, 'version', 200) } ],
	[ 'another version of the metapage', sub { meta('version', 2) } ],
	[ 'an impossible kind', sub { set_pages(KIND_NODE, 'kind', 77) } ],
	[ 'metapages everywhere', sub { substr($file, $_ * PAGE, PAGE) = substr($file, 0, PAGE) foreach 1 .. blocks() - 1 } ]);
foreach my $case (
	[ dim => 0, 1, 65535 ], [ metric => 0, 9 ], [ own_kind => 0, 3 ], [ degree => 0, 15, 256, 65520 ],
	[ code_dims => 0, 32, 65504 ], [ code_bits => 0, 3, 255 ], [ inline_tids => 0, 200, 65535 ],
	[ nodes_per_page => 0, 1, 400, 65535 ], [ pages_per_node => 0, 2, 65535 ], [ node_size => 0, 8, 4294967295 ],
	[ calibration => 0, 2, 1000000, 4294967294 ], [ entry => 0, 1, 1000000000, 4294967295 ],
	[ entry_level => -1, 1, 7, 1000000000 ], [ free_base => 0, 1, 1000000, 4294967294 ],
	[ free_upper => 0, 1, 1000000 ], [ free_tids => 0, 1, 1000000 ], [ column_dim => 1, 4294967295 ])
{
	my ($name, @values) = @$case;
	foreach my $value (@values)
	{
		push @damage, [ "metapage: $name $value", sub { meta($name, $value) } ];
	}
}
foreach my $case ([ nused => 0, 65535 ], [ nfree => 1, 65535 ], [ upper => 1, 255 ], [ listed => 255 ], [ next => 0, 1, 1000000 ])
{
	my ($name, @values) = @$case;
	foreach my $value (@values)
	{
		push @damage, [ "pages of nodes: $name $value", sub { set_pages(KIND_NODE, $name, $value) } ];
		push @damage, [ "pages of TIDs: $name $value", sub { set_pages(KIND_TIDS, $name, $value) } ];
	}
}
push @damage, [ 'a list of free nodes in a circle', sub {
		my $block = last_of(KIND_NODE);
		opaque($block, 'next', $block);
		opaque($block, 'nfree', 0);
		opaque($block, 'nused', meta('nodes_per_page'));
		meta('free_base', $block);
	} ];
push @damage, [ 'a list of free TIDs in a circle', sub {
		my $block = last_of(KIND_TIDS) // return;
		opaque($block, 'next', $block);
		opaque($block, 'nfree', 0);
		opaque($block, 'nused', 63);
		meta('free_tids', $block);
	} ];
push @damage, [ 'a full page of upper nodes on the list of base pages', sub {
		my $block = last_of(KIND_NODE);
		opaque($block, 'upper', 1);
		opaque($block, 'listed', 1);
		opaque($block, 'nfree', 0);
		opaque($block, 'nused', meta('nodes_per_page'));
		meta('free_base', $block);
	} ];
push @damage, [ 'a page of TIDs without the free one that it counts', sub {
		my $block = last_of(KIND_TIDS) // return;
		foreach my $place (map { $block * PAGE + START + $_ * CHUNK } 0 .. 62)
		{
			field($place, $chunk_field{owner}) or field($place, $chunk_field{owner}, 1000);
		}
		opaque($block, 'listed', 1);
		opaque($block, 'nfree', 1);
		opaque($block, 'nused', 63);
		meta('free_tids', $block);
	} ];
foreach my $case ([ 0xFFFFFFFF, 1 ], [ 0, 0 ], [ 0, 65535 ])
{
	my ($block, $item) = @$case;
	push @damage, [ "nodes: heap TID ($block,$item)", sub { set_tids(NODE_TIDS, $block, $item, base_nodes()) } ];
}
push @damage, [ 'TIDs: heap TID (4294967295,1)', sub { set_tids(CHUNK_TIDS, 0xFFFFFFFF, 1, chunks()) } ];
foreach my $case (
	[ flags => 0, 3, 255 ], [ level => 1, 200 ], [ nlinks => 0, 65535 ], [ ntids => 0, 65535 ],
	[ below => 0, 63, 1000000000, 4294967295 ], [ more_tids => 63, 1000000000, 4294967295 ],
	[ scale => 0, $nan, -3e38 ], [ norm => $nan, -3e38 ], [ own_norm => $nan, -3e38 ], [ error => $nan, -3e38, 3e38 ],
	[ scale_a => $nan, 3e38 ], [ scale_b => $nan, -3e38 ])
{
	my ($name, @values) = @$case;
	foreach my $value (@values)
	{
		push @damage, [ "nodes: $name $value", sub { set_nodes($name, $value) } ];
	}
}
foreach my $link (0, 1, 1000000000, 4294967294, 4294967295)
{
	push @damage, [ "nodes: links to $link", sub { set_links($link) } ];
}
foreach my $case ([ owner => 1 ], [ next => 63, 4294967295 ], [ ntids => 0, 65535 ], [ sequence => 1 ])
{
	my ($name, @values) = @$case;
	foreach my $value (@values)
	{
		push @damage, [ "TIDs: $name $value", sub { set_chunks($name, $value) } ];
	}
}
push @damage, [ 'TIDs: chains in circles', sub {
		foreach my $place (chunks())
		{
			my $slot = ($place % PAGE - START) / CHUNK;
			field($place, $chunk_field{next}, int($place / PAGE) * 63 + $slot);
		}
	} ];

# What an index with a filter column has besides
my @key_damage = (
	[ 'empty key pages', sub { zero($_) foreach blocks_of(KIND_KEYS) } ],
	[ 'an empty map of key pages', sub { zero($_) foreach blocks_of(KIND_KEY_MAP) } ],
	[ 'states that there are not', sub { substr($file, $_ * PAGE + START, 100) = "\xFF" x 100 foreach blocks_of(KIND_KEYS) } ],
	[ 'entries of other nodes', sub {
			foreach my $block (blocks_of(KIND_KEYS))
			{
				substr($file, $block * PAGE + START, 6000) = reverse substr($file, $block * PAGE + START, 6000);
			}
		} ]);
foreach my $case (
	[ key_size => 0, 6, 65, 65535 ], [ key_columns => 0, 2, 255 ], [ key_pages => 0, 1000000 ],
	[ key_map => 0, 1, 1000000 ], [ inline_tids => 1, 200 ])
{
	my ($name, @values) = @$case;
	foreach my $value (@values)
	{
		push @key_damage, [ "metapage: $name $value", sub { meta($name, $value) } ];
	}
}
foreach my $case ([ nused => 0, 65535 ], [ next => 1, 4294967295 ], [ kind => 8 ])
{
	my ($name, @values) = @$case;
	foreach my $value (@values)
	{
		push @key_damage, [ "key pages: $name $value", sub { set_pages(KIND_KEYS, $name, $value) } ];
	}
}
foreach my $value (1, 1000000)
{
	push @key_damage, [ "maps of key pages: to $value",
		sub { substr($file, $_ * PAGE + START, 40) = pack('L', $value) x 10 foreach blocks_of(KIND_KEY_MAP) } ];
}
push @key_damage, [ 'TIDs: more than there is room for', sub { set_chunks('ntids', 11) } ];

# One statement in a session of its own; what is wrong with its end, or ''.
sub verdict
{
	my ($sql, $name) = @_;
	my $timed_out = 0;
	my ($status, $stdout, $stderr) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET statement_timeout = '10s'; SET enable_seqscan = off;\n$sql",
		timeout => 20, timed_out => \$timed_out);

	return 'hangs' if $timed_out || $stderr =~ /57014/;
	return 'crashes' if $status == 2;
	return '' if $stderr !~ /ERROR|FATAL|PANIC|connection|terminat/;
	return '' if $stderr =~ /XX002: index "t_v_idx" has .* at block \d+.*\n.*HINT:.*REINDEX/;
	# What the executor says of distances that contradict the rows.
	return '' if $stderr =~ /XX000: index returned tuples in wrong order/ && $name =~ /^nodes: (scale|norm|own_norm|error) /;
	# A version that is not ours may be one of a later library.
	return '' if $stderr =~ /0A000: index "t_v_idx" has format version .* at block \d+.*\n.*HINT:.*REINDEX/;
	my ($line) = $stderr =~ /((?:ERROR|FATAL|PANIC|server closed|connection).*)/;
	return $line // $stderr;
}

my @statements = (
	[ 'ten nearest', 'SELECT id FROM t ORDER BY v %s q(7) LIMIT 10' ],
	[ 'all rows', 'SELECT count(*) FROM (SELECT id FROM t ORDER BY v %s q(8) LIMIT 100000) AS x' ],
	[ 'NULL query', 'SELECT count(*) FROM (SELECT id FROM t ORDER BY v %s (SELECT NULL::vector) LIMIT 100000) AS x' ],
	[ 'insert', 'INSERT INTO t SELECT n, q(n) FROM generate_series(2001, 2020) AS n; INSERT INTO t SELECT n, q(5) FROM generate_series(2021, 2045) AS n' ],
	[ 'vacuum', 'DELETE FROM t WHERE id %% 5 = 0; VACUUM (INDEX_CLEANUP on) t' ],
	[ 'insert again', 'INSERT INTO t SELECT n, q(n) FROM generate_series(3001, 3020) AS n' ],
	[ 'info', "SELECT * FROM piramid_hnsw_info('t_v_idx')" ],
	[ 'keys', "SELECT * FROM piramid_hnsw_keys('t_v_idx')" ]);

# name, dimensions, rows, operator class, operator, filter columns, damage
foreach my $shape (
	[ 'codes, several nodes to a page', 3, 300, 'l2', '<->', '', \@damage ],
	[ 'plain links', 3, 300, 'l1', '<+>', '', \@damage ],
	[ 'nodes that span pages', 9000, 25, 'ip', '<#>', '', \@damage ],
	[ 'a filter column', 3, 300, 'l2', '<->', ', id', \@key_damage ])
{
	my ($shape_name, $dim, $rows, $opclass, $op, $filters, $cases) = @$shape;

	$node->safe_psql('postgres', qq{
		CREATE OR REPLACE FUNCTION q(n int) RETURNS vector LANGUAGE sql IMMUTABLE AS
			\$\$ SELECT array_agg(sin(n * 12.9898 + i * (n % 13 + 1)))::vector FROM generate_series(1, $dim) AS i \$\$;
		CREATE TABLE t (id int, v vector($dim));
		INSERT INTO t SELECT n, q(n) FROM generate_series(1, $rows) AS n;
		INSERT INTO t SELECT n, q(5) FROM generate_series(1001, 1060) AS n;
		CREATE TABLE kept AS TABLE t;
		CREATE INDEX t_v_idx ON t USING hnsw (v vector_${opclass}_ops$filters)});
	my $filepath = "SELECT pg_relation_filepath('t_v_idx')";
	my $path = $node->safe_psql('postgres', $filepath);
	foreach my $case (@$cases)
	{
		my ($name, $damage) = @$case;
		my @wrong;

		$node->stop;
		$path = $node->data_dir . "/$path";
		$file = slurp_file($path);
		my $before = $file;
		$damage->();
		open my $handle, '>:raw', $path or die "$path: $!";
		print $handle $file;
		close $handle;
		$node->start;
		if ($file eq $before)
		{
			$path = $node->safe_psql('postgres', $filepath);
			next;
		}
		foreach my $statement (@statements)
		{
			my ($what, $sql) = @$statement;
			my $verdict = verdict(sprintf($sql, $op), $name);
			push @wrong, "$what: $verdict" if $verdict;
			$node->poll_query_until('postgres', 'SELECT true') if $verdict eq 'crashes';
			if ($verdict eq 'hangs')
			{
				$node->stop('immediate');
				$node->start;
			}
		}
		is(join("\n", @wrong), '', "$shape_name, $name");
		$path = $node->safe_psql('postgres', "TRUNCATE t; INSERT INTO t TABLE kept; REINDEX INDEX t_v_idx; $filepath");
	}
	is($node->safe_psql('postgres', "SELECT test.reachable('t', '$op')"), $rows + 60, "$shape_name: REINDEX repairs");
	$node->safe_psql('postgres', 'DROP TABLE t, kept');
}

$node->stop;
done_testing();
