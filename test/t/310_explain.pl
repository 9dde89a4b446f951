# EXPLAIN shows what a scan did.
#
# By version: on PostgreSQL 18.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('explain', conf => 'autovacuum = off');
load_words($node);
$node->safe_psql('postgres', 'CREATE INDEX ON words USING hnsw (v vector_cosine_ops, lexname)');
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');

# In a new session: planning has loaded the library by the time EXPLAIN prints.
my $query = q{SELECT n.id FROM words AS w CROSS JOIN LATERAL (
	SELECT id FROM words WHERE lexname = w.lexname ORDER BY v <=> w.v LIMIT 5) AS n WHERE w.id IN (1, 2)};
my $force = 'SET enable_seqscan = off; SET enable_sort = off;';
my $text = $node->safe_psql('postgres', "$force EXPLAIN (ANALYZE, COSTS off) $query");
if ($version >= 180000)
{
	like($text, qr/Nodes Visited: \d+\n.*Key Pages: \d+\n/s, 'EXPLAIN (ANALYZE) tells what a scan did');
	unlike($text, qr/Late Rows: 0|Bounded/, 'but not what it did not');
	my $json = $node->safe_psql('postgres', "$force EXPLAIN (ANALYZE, FORMAT json) $query");
	like($json, qr/"Index Filter Rejects": \d+.*"Exact Pass": "\w+".*"Sampled Selectivity": 0\.\d+.*"Bounded": false/s,
		'in JSON it has all fields');
	unlike($node->safe_psql('postgres', "$force EXPLAIN $query"), qr/Nodes Visited/, 'without ANALYZE it has none');
}
else
{
	unlike($text, qr/Nodes Visited/, 'EXPLAIN (ANALYZE) is as it was');
}

check_and_stop($node);
done_testing();
