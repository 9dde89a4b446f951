# The recall that an index is measured to have: that it is true, that what was measured
# outlives crashes, and that a measurement can be stopped.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Damage;
use Piramid;

my $node = piramid_node('recall', conf => "autovacuum = off\nignore_checksum_failure = on");
load_slices($node);
# Rows as queries tell about as much as queries from outside.
$node->safe_psql('postgres', 'CREATE INDEX slices_v ON slices USING hnsw (v vector_l2_ops)');
my $settings = 'SET hnsw.ef_search = 20;';
my $truth = $node->safe_psql('postgres', "$settings SELECT test.recall('slices', '<->', 'queries')");
my $rows = $node->safe_psql('postgres', "$settings SELECT recall FROM piramid_recall('slices_v', 400)");
my $given = $node->safe_psql('postgres',
	"$settings SELECT recall FROM piramid_recall('slices_v', ARRAY(SELECT v FROM queries))");
cmp_ok(abs($given - $truth), '<', 0.0001, "recall of given queries: $given, by SQL $truth");
cmp_ok(abs($rows - $truth), '<', 0.03, "recall of rows: $rows, of queries $truth");

# A calibration outlives a crash, also a later one.
my $points = q{SELECT string_agg(c::text, ' ') FROM piramid_calibration('slices_v') AS c};
foreach my $what ('first', 'later')
{
	my $found = $node->safe_psql('postgres', q{CHECKPOINT;
		SELECT string_agg(c::text, ' ') FROM piramid_calibrate('slices_v') AS c});
	crash($node);
	is($node->safe_psql('postgres', $points), $found, "the $what calibration is there after a crash");
}
at_least($node->safe_psql('postgres', q{SET hnsw.target_recall = 0.95;
	SELECT recall FROM piramid_recall('slices_v', ARRAY(SELECT v FROM queries))}), 0.935, 'recall asked for: 0.95');

# A measurement can be stopped, and leaves the session as it was.
my $output;
my $script = start_sql($node, q{\set ON_ERROR_STOP 0
	SET application_name = 'measures';
	SELECT recall FROM piramid_recall('slices_v', 10000);
	SELECT recall > 0.5 FROM piramid_recall('slices_v', 10);
	SELECT hit FROM (SELECT id AS hit FROM slices ORDER BY v <-> (SELECT v FROM slices WHERE id = 5) LIMIT 1) AS n;}, \$output);
my $measures = q{FROM pg_stat_activity WHERE application_name = 'measures' AND query LIKE '%10000%' AND state = 'active'};
$node->poll_query_until('postgres', "SELECT count(*) = 1 $measures") or die 'it does not begin';
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) $measures");
$script->finish;
like($output, qr/canceling statement due to user request.*\nt\n5$/s, 'it is cancelled, and another one is not');

# Damage of its page is told, by whoever reads it.
is_sound($node, 'calibrated');
damage_init($node);
read_fields();
my $name = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('slices_v')");
$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;
my $good = $file = slurp_file($name);
my ($block) = blocks_of('RECALL');
ok(defined $block, 'there is a page for it');
sub recall_field { my ($field, $value) = @_; field(start_of($block, 0, 0), "recall.$field", $value) }
my @damages = (
	[ 'of another kind', sub { opaque($block, 'kind', $size{KIND_NODE}) } ],
	[ 'without nodes', sub { recall_field('nodes', 0) } ],
	[ 'with a wide search', sub { recall_field('points[0][0].width', 0xFFFFFFFF) } ],
	[ 'with widths that descend', sub { recall_field('points[0][1].width', 1) } ],
	[ 'without points', sub { recall_field('points[0][0].width', 0) } ],
	[ 'with a recall of NaN', sub { recall_field('points[0][0].recall', 'NaN') } ],
	[ 'past the end', sub { meta('recall', 1000000) } ],
	[ 'that is a node', sub { meta('recall', $block - 1) } ]);
foreach my $damage (@damages)
{
	my ($what, $change) = @$damage;

	$file = $good;
	$change->();
	write_file($name);
	$node->start;
	foreach my $sql (q{SELECT * FROM piramid_calibration('slices_v')},
		q{SET hnsw.target_recall = 0.9; SELECT id FROM slices ORDER BY v <-> (SELECT v FROM slices WHERE id = 5) LIMIT 1})
	{
		fails_like($node, $sql, qr/index "slices_v" has .* at block \d+\n.*HINT:.*REINDEX/, "a calibration $what");
	}
	is($node->safe_psql('postgres', q{SELECT id FROM slices ORDER BY v <-> (SELECT v FROM slices WHERE id = 5) LIMIT 1}), 5,
		"a calibration $what: other scans do not care");
	at_least($node->safe_psql('postgres', q{SELECT count(*) FROM piramid_check('slices_v') WHERE severity = 'error'}), 1,
		"a calibration $what: findings");
	$node->stop;
}

# Without the damage
$file = $good;
write_file($name);
$node->start;
check_and_stop($node);
done_testing();
