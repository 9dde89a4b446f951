# Damaged pages: every statement either works or reports a corrupted index with
# its name, a block and a hint; nothing crashes or hangs; REINDEX repairs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Damage;

my $node = piramid_node('corruption', conf => qq{
autovacuum = off
restart_after_crash = on
ignore_checksum_failure = on
client_min_messages = error
});

damage_init($node);
my $nan = unpack 'f', pack('L', 0x7FC00000);

my @damage = (
	[ 'an empty metapage', sub { zero(0) } ],
	[ 'an empty node page', sub { zero((blocks_of('NODE'))[0]) } ],
	[ 'no node page but empty ones', sub { zero($_) foreach blocks_of('NODE') } ],
	[ 'empty continuations', sub { zero($_) foreach blocks_of('PART') } ],
	[ 'empty pages of TIDs', sub { zero($_) foreach blocks_of('TIDS') } ],
	[ 'empty mean', sub { zero($_) foreach blocks_of('MEAN') } ],
	[ 'pages of another access method', sub { set_special($_) foreach blocks_of('NODE') } ],
	[ 'a metapage of another access method', sub { set_special(0) } ],
	[ 'half of the file', sub { $file = substr($file, 0, int(blocks() / 2) * $size{PAGE}) } ],
	[ 'only the metapage', sub { $file = substr($file, 0, $size{PAGE}) } ],
	[ 'pages in reverse order', sub {
			my @pages = unpack "(a$size{PAGE})*", substr($file, $size{PAGE});
			$file = substr($file, 0, $size{PAGE}) . join '', reverse @pages;
		} ],
	[ 'another magic number', sub { set_pages('NODE', 'magic', 1) } ],
	[ 'another version', sub { set_pages('NODE', 'version', 200) } ],
	[ 'another version of the metapage', sub { meta('version', 2) } ],
	[ 'an impossible kind', sub { set_pages('NODE', 'kind', 77) } ],
	[ 'metapages everywhere', sub { substr($file, $_ * $size{PAGE}, $size{PAGE}) = substr($file, 0, $size{PAGE}) foreach 1 .. blocks() - 1 } ]);
foreach my $case (
	[ dim => 0, 1, 65535 ], [ metric => 0, 1 .. 6, 9 ], [ own_kind => 0, 3 ], [ degree => 0, 15, 256, 65520 ],
	[ code_dims => 0, 32, 65504 ], [ code_bits => 0, 3, 255 ], [ inline_tids => 0, 200, 65535 ],
	[ m => 0, 1, 65535 ], [ ef_construction => 0, 1, 65535 ], [ index_size => 0, 65535 ], [ elements => 0, 8, 4294967295 ],
	[ norm => $nan, -1, 3e38 ], [ projection => 0, 1, 4294967295 ], [ overflow_pages => 0, 1, 4294967295 ],
	[ recall => 1, 4294967295 ], [ nodes_per_page => 0, 1, 400, 65535 ], [ pages_per_node => 0, 2, 65535 ], [ node_size => 0, 8, 4294967295 ],
	[ mean => 0, 2, 1000000, 4294967294 ], [ entry => 0, 1, 1000000000, 4294967295 ],
	[ entry_level => -1, 1, 7, 1000000000 ], [ 'free_node[0]' => 0, 1, 1000000, 4294967294 ],
	[ 'free_node[1]' => 0, 1, 1000000 ], [ free_tids => 0, 1, 1000000 ], [ column_dim => 1, 4294967295 ])
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
		push @damage, [ "pages of nodes: $name $value", sub { set_pages('NODE', $name, $value) } ];
		push @damage, [ "pages of TIDs: $name $value", sub { set_pages('TIDS', $name, $value) } ];
	}
}
push @damage, [ 'a list of free nodes in a circle', sub {
		my $block = last_of('NODE');
		opaque($block, 'next', $block);
		opaque($block, 'nfree', 0);
		opaque($block, 'nused', meta('nodes_per_page'));
		meta('free_node[0]', $block);
	} ];
push @damage, [ 'a list of free TIDs in a circle', sub {
		my $block = last_of('TIDS') // return;
		opaque($block, 'next', $block);
		opaque($block, 'nfree', 0);
		opaque($block, 'nused', $size{CHUNKS});
		meta('free_tids', $block);
	} ];
push @damage, [ 'a full page of upper nodes on the list of base pages', sub {
		my $block = last_of('NODE');
		opaque($block, 'upper', 1);
		opaque($block, 'listed', 1);
		opaque($block, 'nfree', 0);
		opaque($block, 'nused', meta('nodes_per_page'));
		meta('free_node[0]', $block);
	} ];
push @damage, [ 'a page of TIDs without the free one that it counts', sub {
		my $block = last_of('TIDS') // return;
		foreach my $place (map { start_of($block, $_, $size{CHUNK}) } 0 .. $size{CHUNKS} - 1)
		{
			field($place, 'chunk.owner') or field($place, 'chunk.owner', 1000);
		}
		opaque($block, 'listed', 1);
		opaque($block, 'nfree', 1);
		opaque($block, 'nused', $size{CHUNKS});
		meta('free_tids', $block);
	} ];
foreach my $case ([ 0xFFFFFFFF, 1 ], [ 0, 0 ], [ 0, 65535 ])
{
	my ($block, $item) = @$case;
	push @damage, [ "nodes: heap TID ($block,$item)", sub { set_tids('node.tid', $block, $item, base_nodes()) } ];
}
push @damage, [ 'TIDs: heap TID (4294967295,1)', sub { set_tids('chunk.tids[0]', 0xFFFFFFFF, 1, chunks()) } ];
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
			my $slot = ($place % $size{PAGE} - $size{START}) / $size{CHUNK};
			field($place, 'chunk.next', int($place / $size{PAGE}) * $size{CHUNKS} + $slot);
		}
	} ];

# What an index with a filter column has besides
sub set_contents { my ($kind, $contents) = @_; substr($file, start_of($_, 0, 0), length $contents) = $contents foreach blocks_of($kind) }
my @key_damage = (
	[ 'empty key pages', sub { zero($_) foreach blocks_of('KEYS') } ],
	[ 'an empty map of key pages', sub { zero($_) foreach blocks_of('KEY_MAP') } ],
	[ 'states that there are not', sub { set_contents('KEYS', "\xFF" x 100) } ],
	[ 'entries of other nodes', sub {
			foreach my $place (map { start_of($_, 0, 0) } blocks_of('KEYS'))
			{
				substr($file, $place, $size{KEY_ENTRIES}) = reverse substr($file, $place, $size{KEY_ENTRIES});
			}
		} ],
	[ 'TIDs: more than there is room for', sub { set_chunks('ntids', $size{CHUNK_TIDS} + 1) } ]);
foreach my $case (
	[ key_size => 0, 6, 65, 65535 ], [ key_columns => 0, 2, 255 ], [ key_pages => 0, 1000000 ],
	[ sketch_bits => 32, 255 ], [ sketch_projection => 1 ], [ sketch_pages => 1 ],
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
		push @key_damage, [ "key pages: $name $value", sub { set_pages('KEYS', $name, $value) } ];
	}
}
foreach my $value (1, 1000000)
{
	push @key_damage, [ "maps of key pages: to $value", sub { set_contents('KEY_MAP', pack('L', $value) x 10) } ];
}

# What is wrong with an error that a statement ended with, or ''.
sub complaint
{
	my ($error, $damage) = @_;

	return 'hangs' if $error =~ /57014/;
	return '' if $error !~ /ERROR|FATAL|PANIC|connection|terminat/;
	return '' if $error =~ /XX002: index "t_v_idx" has .* at block \d+.*\n.*HINT:.*REINDEX/;
	# What the executor says of distances that contradict the rows.
	return '' if $error =~ /XX000: index returned tuples in wrong order/ && $damage =~ /^nodes: (scale|norm|own_norm|error) /;
	# A version that is not ours may be one of a later library.
	return '' if $error =~ /0A000: index "t_v_idx" has format version .* at block \d+.*\n.*HINT:.*REINDEX/;
	my ($line) = $error =~ /((?:ERROR|FATAL|PANIC|server closed|connection).*)/;
	return $line // $error;
}

my @statements = (
	[ 'ten nearest', 'SELECT id FROM t ORDER BY v %s (SELECT v FROM more WHERE id = 7) LIMIT 10' ],
	[ 'all rows', 'SELECT count(*) FROM (SELECT id FROM t ORDER BY v %s (SELECT v FROM more WHERE id = 8) LIMIT 100000) AS x' ],
	[ 'NULL query', 'SELECT count(*) FROM (SELECT id FROM t ORDER BY v %s (SELECT NULL::vector) LIMIT 100000) AS x' ],
	[ 'insert', 'INSERT INTO t SELECT id, v FROM more WHERE id BETWEEN 2001 AND 2045' ],
	[ 'vacuum', 'DELETE FROM t WHERE id %% 5 = 0; VACUUM (INDEX_CLEANUP on) t' ],
	[ 'insert again', 'INSERT INTO t SELECT id, v FROM more WHERE id BETWEEN 3001 AND 3020' ],
	[ 'info', "SELECT * FROM piramid_hnsw_info('t_v_idx')" ],
	[ 'keys', "SELECT * FROM piramid_hnsw_keys('t_v_idx')" ]);

# The table as it was, row for row in the same places; its index is a new file,
# which the caller fills.  Returns the file.
my $restore = q{
	TRUNCATE t;
	UPDATE pg_index SET indisready = false WHERE indexrelid = 't_v_idx'::regclass;
	INSERT INTO t TABLE kept;
	UPDATE pg_index SET indisready = true WHERE indexrelid = 't_v_idx'::regclass;
	CHECKPOINT;
	SELECT '=file ' || pg_relation_filepath('t_v_idx');
};

# Everything after a damage, each statement in a session of its own, and then
# the table as it was.  The index moves to another tablespace before: nothing of the
# copy is in shared buffers.
sub script
{
	my ($op, $tablespace) = @_;
	my $script = "\\set VERBOSITY verbose\n\\warn =move\nALTER INDEX t_v_idx SET TABLESPACE $tablespace;\n";

	foreach my $statement (@statements)
	{
		my ($what, $sql) = @$statement;
		$script .= "\\connect\n\\warn =$what\nSET statement_timeout = '10s'; SET enable_seqscan = off;\n" . sprintf($sql, $op) . ";\n";
	}
	return "$script\\connect\n\\warn =restore\n$restore";
}

# Run it.  Returns what was wrong, and the new file of the index.
sub verdict
{
	my ($script, $damage) = @_;
	my $timed_out = 0;
	my ($status, $stdout, $stderr) = $node->psql('postgres', $script, on_error_stop => 0, timeout => 120, timed_out => \$timed_out);
	my @wrong;
	my $what = 'nothing';

	foreach my $line (split /^(?==|psql:)/m, $stderr)
	{
		if ($line =~ /^=(.*)/) { $what = $1; next }
		my $complaint = complaint($line, $damage);
		push @wrong, "$what: $complaint" if $complaint;
	}
	push @wrong, "$what: hangs" if $timed_out;
	push @wrong, "$what: crashes" if $status == 2;
	return (\@wrong, $stdout =~ /^=file (.*)/m) if $stdout =~ /^=file/m;
	push @wrong, 'no new file' unless @wrong;
	if ($timed_out)
	{
		$node->stop('immediate');
		$node->start;
	}
	wait_for_server($node);
	return (\@wrong, $node->safe_psql('postgres', $restore) =~ /^=file (.*)/m);
}

$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '" . PostgreSQL::Test::Utils::tempdir . "'");

# name, dimensions, rows, operator class, operator, filter columns, damage
foreach my $shape (
	[ 'codes, several nodes to a page', 3, 300, 'l2', '<->', '', \@damage ],
	[ 'plain links', 3, 300, 'l1', '<+>', '', \@damage ],
	[ 'nodes that span pages', 9000, 25, 'ip', '<#>', '', \@damage ],
	[ 'a filter column', 3, 300, 'l2', '<->', ', id', \@key_damage ])
{
	my ($shape_name, $dim, $rows, $opclass, $op, $filters, $cases) = @$shape;
	my @tablespaces = ('elsewhere', 'pg_default');

	$node->safe_psql('postgres', qq{
		CREATE OR REPLACE FUNCTION q(n int) RETURNS vector LANGUAGE sql IMMUTABLE AS
			\$\$ SELECT array_agg(sin(n * 12.9898 + i * (n % 13 + 1)))::vector FROM generate_series(1, $dim) AS i \$\$;
		CREATE TABLE kept (id int, v vector($dim));
		INSERT INTO kept SELECT n, q(n) FROM generate_series(1, $rows) AS n;
		INSERT INTO kept SELECT n, q(5) FROM generate_series(1001, 1060) AS n;
		-- queries, and rows to insert
		CREATE TABLE more AS SELECT n AS id, q(CASE WHEN n BETWEEN 2021 AND 2045 THEN 5 ELSE n END) AS v
			FROM unnest(ARRAY[7, 8] || ARRAY(SELECT generate_series(2001, 2045)) || ARRAY(SELECT generate_series(3001, 3020))) AS n;
		CREATE TABLE t AS TABLE kept;
		CREATE INDEX t_v_idx ON t USING hnsw (v vector_${opclass}_ops$filters);
		CHECKPOINT});
	my $path = $node->safe_psql('postgres', "SELECT pg_relation_filepath('t_v_idx')");
	my $built = slurp_file($node->data_dir . "/$path");
	read_fields($node->data_dir . "/$path");
	foreach my $case (@$cases)
	{
		my ($name, $damage) = @$case;

		$file = $built;
		$damage->();
		next if $file eq $built;
		write_file($node->data_dir . "/$path");
		(my $wrong, $path) = verdict(script($op, $tablespaces[0]), $name);
		is(join("\n", @$wrong), '', "$shape_name, $name");
		@tablespaces = reverse @tablespaces;
	}
	zero($_) foreach 0 .. blocks() - 1;
	write_file($node->data_dir . "/$path");
	is($node->safe_psql('postgres', "ALTER INDEX t_v_idx SET TABLESPACE $tablespaces[0]; REINDEX INDEX t_v_idx; SELECT test.reachable('t', '$op')"),
		$rows + 60, "$shape_name: REINDEX repairs");
	is_sound($node, "$shape_name, after REINDEX");
	$node->safe_psql('postgres', 'DROP TABLE t, kept, more');
}

# Each damaged index was repaired, and found sound, before it went.
check_and_stop($node);
done_testing();
