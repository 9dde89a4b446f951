# Damage.pm: what tests share that read or damage the file of an index.
#
# $file has the contents of the file, which the functions read and change;
# test/lib/hnsw_fields.c tells where things are.

package Damage;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Utils;

our @EXPORT = qw(
  %size %place $file $index $built damage_init read_fields write_file take_index load_index
  field start_of meta opaque blocks blocks_of nodes chunks base_nodes
  set_nodes set_chunks set_pages set_links set_tids set_special zero last_of
  links set_link block_of number_of chunk_number upper_nodes bytes set_bytes free_slot key_entry overflow_link
);

# Sizes and kinds, and places of fields with their types, as the compiler lays
# them out for the index of a file.
our (%size, %place);
our $file;		# contents of the index
our ($index, $built);	# the index at hand, and its file as it was built
my ($node, $path, $fields_program, @tablespaces);

sub damage_init
{
	($node) = @_;
	$fields_program = PostgreSQL::Test::Utils::tempdir() . '/hnsw_fields';
	# What assertions call is the server's.
	system_or_bail('cc', '-O2', '-DExceptionalCondition(...)=abort()', '-Isrc', '-isystem', $node->config_data('--includedir-server'), '-o', $fields_program,
		'test/lib/hnsw_fields.c', 'src/hnsw/layout.c', 'src/hnsw/metric.c', 'src/quant/rotation.c', '-lm');
}

# Of the index in a file; without one, what all indexes have in common.
sub read_fields
{
	my @path = @_;
	my ($stdout, $stderr) = run_command([ $fields_program, @path ]);
	foreach my $line (split /\n/, $stdout)
	{
		my ($name, $offset, $type) = split / /, $line;
		if ($type) { $place{$name} = [ $offset, $type ] }
		else { $size{$name} = $offset }
	}
}

sub field
{
	my ($at, $name, $value) = @_;
	my ($offset, $type) = @{ $place{$name} // die "no field $name" };
	my $packed = pack $type, $value // 0;
	my $old = unpack $type, substr($file, $at + $offset, length $packed);
	substr($file, $at + $offset, length $packed) = $packed if defined $value;
	return $old;
}

sub start_of { my ($block, $slot, $step) = @_; return $block * $size{PAGE} + $size{START} + $slot * $step }
sub meta { my ($name, $value) = @_; return field($size{START}, "meta.$name", $value) }
sub opaque { my ($block, $name, $value) = @_; return field($block * $size{PAGE} + $size{SPECIAL}, "opaque.$name", $value) }
sub blocks { return length($file) / $size{PAGE} }
sub blocks_of { my ($kind) = @_; return grep { opaque($_, 'kind') == $size{"KIND_$kind"} } 1 .. blocks() - 1 }

# Places of all used nodes and of all chunks.
sub nodes
{
	my @places;
	foreach my $block (blocks_of('NODE'))
	{
		push @places, map { start_of($block, $_, meta('node_size')) } 0 .. opaque($block, 'nused') - 1;
	}
	return grep { field($_, 'node.flags') } @places;
}

sub chunks
{
	return grep { field($_, 'chunk.owner') }
	  map { my $block = $_; map { start_of($block, $_, $size{CHUNK}) } 0 .. opaque($block, 'nused') - 1 } blocks_of('TIDS');
}

sub set_nodes { my ($name, $value) = @_; field($_, "node.$name", $value) foreach nodes() }
sub set_chunks { my ($name, $value) = @_; field($_, "chunk.$name", $value) foreach chunks() }
sub set_pages { my ($kind, $name, $value) = @_; opaque($_, $name, $value) foreach blocks_of($kind) }

sub set_links
{
	my ($link) = @_;
	my $offset = $place{'node.links'}[0];
	my $bytes = 4 * meta('degree');
	return if $offset + $bytes > $size{SPECIAL} - $size{START};
	substr($file, $_ + $offset, $bytes) = pack('L', $link) x meta('degree') foreach nodes();
}

# Change the first heap TID of some nodes or chunks: the block, high half first,
# and the offset.
sub set_tids
{
	my ($field, $block, $item, @places) = @_;
	field($_, $field, pack('SSS', $block >> 16, $block & 0xFFFF, $item)) foreach @places;
}

sub base_nodes { return grep { !field($_, 'node.level') } nodes() }

sub zero { my ($block) = @_; substr($file, $block * $size{PAGE}, $size{PAGE}) = "\0" x $size{PAGE} }
sub last_of { my ($kind) = @_; return (blocks_of($kind))[-1] }
sub set_special { my ($block) = @_; substr($file, $block * $size{PAGE} + $size{PD_SPECIAL}, 2) = pack('S', $size{PAGE}) }

sub links { my ($at) = @_; return unpack 'L*', substr($file, $at + $place{'node.links'}[0], 4 * field($at, 'node.nlinks')) }
sub set_link { my ($at, $i, $to) = @_; substr($file, $at + $place{'node.links'}[0] + 4 * $i, 4) = pack('L', $to) }
sub block_of { my ($at) = @_; return int($at / $size{PAGE}) }
sub number_of { my ($at) = @_; return block_of($at) * meta('nodes_per_page') + ($at % $size{PAGE} - $size{START}) / meta('node_size') }
sub chunk_number { my ($at) = @_; return block_of($at) * $size{CHUNKS} + ($at % $size{PAGE} - $size{START}) / $size{CHUNK} }
sub upper_nodes { return grep { field($_, 'node.level') } nodes() }
sub bytes { my ($at, $name, $n) = @_; return substr($file, $at + $place{$name}[0], $n) }
sub set_bytes { my ($at, $name, $new) = @_; substr($file, $at + $place{$name}[0], length $new) = $new }

# A slot of base nodes that was freed
sub free_slot
{
	foreach my $block (grep { !opaque($_, 'upper') && opaque($_, 'nfree') } blocks_of('NODE'))
	{
		foreach my $slot (0 .. opaque($block, 'nused') - 1)
		{
			my $at = start_of($block, $slot, meta('node_size'));
			return $at unless field($at, 'node.flags');
		}
	}
	die 'no free slot';
}

# Where the entry of a base node is, the null flags and the first value of its key
sub key_entry
{
	my ($at, $part) = @_;
	my $number = number_of($at);
	my ($page) = grep { opaque($_, 'next') == int($number / $size{KEY_ENTRIES}) } blocks_of('KEYS');
	my $i = $number % $size{KEY_ENTRIES};
	return start_of($page, 0, 0) + ($part == 0 ? $i : $part == 1 ? $size{KEY_ENTRIES} + $i : 2 * $size{KEY_ENTRIES} + 4 * $i);
}

sub overflow_link { my ($block, $i) = @_; return start_of($block, 0, 0) + 2 * $size{OVERFLOW_LINKS} + $i * $size{OVERFLOW_SIZE} }

# Take an index to be damaged; returns where its file is.
sub take_index
{
	($index) = @_;
	@tablespaces = ('elsewhere', 'pg_default');
	$node->safe_psql('postgres', 'CHECKPOINT');
	$path = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$index')");
	$built = slurp_file($path);
	return $path;
}

# Put its file, as it is damaged, where the server has nothing of it in memory; nor must it
# have anything to write.  The test has made the tablespace "elsewhere".
sub load_index
{
	$node->safe_psql('postgres', 'CHECKPOINT');
	write_file($path);
	$path = $node->data_dir . '/' . $node->safe_psql('postgres',
		"ALTER INDEX $index SET TABLESPACE $tablespaces[0]; SELECT pg_relation_filepath('$index')");
	@tablespaces = reverse @tablespaces;
}

sub write_file
{
	my ($path) = @_;
	open my $handle, '>:raw', $path or die "$path: $!";
	print $handle $file;
	close $handle;
}

1;
