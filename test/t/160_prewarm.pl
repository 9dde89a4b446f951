# Reading an index into shared buffers, and searching one that is not there.
#
# By version: buffers and reading ahead.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('prewarm', conf => "shared_buffers = '64MB'\nautovacuum = off");
load_slices($node);
$node->safe_psql('postgres', 'CREATE INDEX slices_v ON slices USING hnsw (v vector_l2_ops)');

my $search = 'SELECT array_agg(id) FROM (SELECT id FROM slices ORDER BY v <-> (SELECT v FROM queries LIMIT 1) LIMIT 50) q';

# Blocks of the index that a search reads from outside shared buffers.
sub blocks_read
{
	return $node->safe_psql(
		'postgres', "$search;
		SELECT pg_stat_force_next_flush();
		SELECT idx_blks_read FROM pg_statio_user_indexes WHERE indexrelname = 'slices_v'") =~ s/.*\n//sr;
}

sub restart
{
	$node->safe_psql('postgres', 'SELECT pg_stat_reset()');
	$node->restart;
}

my $warm = $node->safe_psql('postgres', $search);
foreach my $concurrency (0, 1, 16)
{
	restart();
	is($node->safe_psql('postgres', "SET effective_io_concurrency = $concurrency; $search"),
		$warm, "a cold search with effective_io_concurrency $concurrency finds the same rows");
}

restart();
cmp_ok(blocks_read(), '>', 10, 'a search after a restart reads pages');

restart();
is( $node->safe_psql('postgres', "SELECT piramid_prewarm('slices_v')"),
	$node->safe_psql('postgres', "SELECT pg_relation_size('slices_v') / current_setting('block_size')::int"),
	'all blocks are read');
my $before = $node->safe_psql('postgres', "SELECT idx_blks_read FROM pg_statio_user_indexes WHERE indexrelname = 'slices_v'");
is(blocks_read(), $before, 'and the search that follows reads none');

# Where the index does not fit, the rest of the buffers are spared.
$node->append_conf('postgresql.conf', "shared_buffers = '1MB'");
$node->restart;
is($node->safe_psql('postgres', "SELECT piramid_prewarm('slices_v')"), 112, 'seven eighths of the buffers');
is($node->safe_psql('postgres', "SET effective_io_concurrency = 16; $search"), $warm,
	'and a search through few buffers finds the same rows');

check_and_stop($node);
done_testing();
