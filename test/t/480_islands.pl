# A group far from all others: paths of links lead to it, but a search does not follow them.
# VACUUM keeps a way for searches, whatever led to the group before; piramid_check tells where
# there is none, and piramid_repair makes one.

use strict;
use warnings;

use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Damage;

use constant { MAINLAND => 2000, ISLAND => 70 };

my $node = piramid_node('islands', conf => "autovacuum = off\nhnsw.ef_search = 100\nignore_checksum_failure = on");
damage_init($node);
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '" . PostgreSQL::Test::Utils::tempdir . "'");

# Links without codes, so that they can be changed in the file.
my ($mainland, $island) = (MAINLAND, ISLAND);
$node->safe_psql(
	'postgres', qq{
	SELECT setseed(0.5);
	CREATE TABLE source AS SELECT n AS id,
		(SELECT array_agg(random() + 30 * (n > $mainland)::int + 0 * i) FROM generate_series(1, 8) AS i)::vector(8) AS v
		FROM generate_series(1, $mainland + $island) AS n});

# How many rows of the island a search for them does not find
sub lost
{
	return $node->safe_psql(
		'postgres', qq{
		SET enable_seqscan = off;
		SELECT count(*) FROM t AS x WHERE id > $mainland AND NOT EXISTS (
			SELECT FROM (SELECT y.id FROM t AS y ORDER BY y.v <+> x.v LIMIT 1) AS z WHERE z.id = x.id)});
}

sub findings { return $node->safe_psql('postgres', q{SELECT severity, what, hint FROM piramid_check('t_v', true)}) }

# ---------------------------------------------------------------------
# An index whose links into the island are chosen
# ---------------------------------------------------------------------

my (%row, %at, @order);	# a node's row and place, by number; rows, those nearest to the island first

# The row of a node, also of an upper one
sub row_of
{
	my ($number) = @_;
	my $at = $at{$number} // die "no node $number";

	$number = field($at{$number}, 'node.below') while (field($at{$number}, 'node.level') > 0);
	return $row{$number};
}

sub is_island { return row_of($_[0]) > MAINLAND }

# Build the index, and read its file.
sub build
{
	$node->safe_psql('postgres', q{
		SET client_min_messages = error;
		DROP TABLE IF EXISTS t;
		CREATE TABLE t AS TABLE source;
		CREATE INDEX t_v ON t USING hnsw (v vector_l1_ops)});
	my %id = map { /\((\d+),(\d+)\)\|(\d+)/ ? ("$1,$2", $3) : () } split /\n/, $node->safe_psql('postgres', 'SELECT ctid, id FROM t');
	@order = split /\n/, $node->safe_psql('postgres', "SELECT id FROM t WHERE id <= $mainland ORDER BY (SELECT sum(x) FROM unnest(v::real[]) AS x) DESC");
	read_fields(take_index('t_v'));
	$file = $built;
	(%row, %at) = ();
	foreach my $at (nodes())
	{
		my ($high, $low, $item) = unpack 'SSS', field($at, 'node.tid');
		$at{ number_of($at) } = $at;
		$row{ number_of($at) } = $id{ ($high * 65536 + $low) . ",$item" } if !field($at, 'node.level');
	}
}

sub set_links_of
{
	my ($at, @links) = @_;
	set_link($at, $_, $links[$_] // 0) foreach 0 .. field($at, 'node.nlinks') - 1;
	field($at, 'node.nlinks', scalar @links);
}

# Take all links into the island out but those to an upper node, if one is given.
sub cut
{
	my ($kept) = @_;

	foreach my $number (grep { !is_island($_) } keys %at)
	{
		my @links = links($at{$number});
		my @left = grep { !is_island($_) || $_ == ($kept // 0) } @links;
		set_links_of($at{$number}, @left) if @left < @links;
	}
}

# A link from a row of the mainland to a node of the island, in place of another one
sub lead
{
	my ($row, $to) = @_;
	my ($number) = grep { ($row{$_} // 0) == $row } keys %at;
	my @links = links($at{$number});

	set_link($at{$number}, $#links, $to);
}

# Nodes of the island: at the base, and above it
sub island_nodes { return grep { is_island($_) && field($at{$_}, 'node.level') == $_[0] } sort { $a <=> $b } keys %at }

# An index in which the island has so many upper nodes, to which "prepare" does something, and
# one link into the island from the row that is farthest: not one that a search follows, but
# so each node can be reached.  Levels are random: tried until it is as it should be.
sub make_island
{
	my ($upper, $prepare) = @_;

	foreach my $try (1 .. 100)
	{
		build();
		next if is_island(meta('entry')) || island_nodes(1) != $upper;
		my $gone = $prepare->() // next;
		my ($to) = grep { $row{$_} != $gone } island_nodes(0);
		lead($order[-1], $to);
		load_index();
		return $gone;
	}
	die 'no such index';
}

# ---------------------------------------------------------------------
# What is found of it
# ---------------------------------------------------------------------

make_island(0, sub { cut(); return 0 });
at_least(lost(), ISLAND - 5, 'rows that a search does not find');
like(findings(), qr/^warning\|searches of width 100 miss \d+ of 400 nodes at random, this one first, and what is near them\|Run SELECT \* FROM piramid_repair/, 'the check tells');
like($node->safe_psql('postgres', q{SELECT * FROM piramid_repair('t_v')}), qr/nodes linked that searches did not find/, 'a repair links them');
is(lost(), 0, 'after a repair, all are found');
is(findings(), '', 'and the check says nothing');

# New rows there, of whose inserts the searches did not find it either: the group is two.
make_island(0, sub { cut(); return 0 });
$node->safe_psql('postgres', q{
	INSERT INTO t SELECT 10000 + n, (SELECT array_agg(30 + random() + 0 * i * n) FROM generate_series(1, 8) AS i)::vector(8)
	FROM generate_series(1, 20) AS n});
at_least(lost(), ISLAND - 5, 'new rows beside it: of the old ones most are not found');
# Some of the old rows are taken for ones that are missed alone, and the sample is random.
my $told = '';
foreach (1 .. 5) { last if ($told = findings()) ne '' }
like($told, qr/^warning\|searches of width 100 miss \d+ of 400 nodes at random, this one first/, 'the check tells');
$node->safe_psql('postgres', "DELETE FROM t WHERE id = $order[-1]; VACUUM (INDEX_CLEANUP on) t");
is(lost(), 0, 'a vacuum of another row: all are found');
is(findings(), '', 'and the check says nothing');

# Does VACUUM look at what is near this node when it dies, wherever it is?  At one in four.
sub is_sampled
{
	my ($h) = @_;

	foreach my $step ([ 16, 0x85ebca6b ], [ 13, 0xc2b2ae35 ], [ 16, 1 ])
	{
		$h ^= $h >> $step->[0];
		$h = ($h * $step->[1]) & 0xffffffff;
	}
	return $h % 4 == 0;
}

# Searches come to it from above, by one node, and its row goes: VACUUM looks there always.
sub one_way_down
{
	my ($above) = grep { !is_sampled(field($at{$_}, 'node.below')) } island_nodes(1);
	return unless $above && grep { my $from = $_; !is_island($from) && grep { $_ == $above } links($at{$from}) } keys %at;
	cut($above);
	return row_of($above);
}
my $gone = make_island(1, \&one_way_down);
is(lost(), 0, 'by an upper node, all are found');
$node->safe_psql('postgres', "DELETE FROM t WHERE id = $gone; VACUUM (INDEX_CLEANUP on) t");
is(lost(), 0, 'its row goes: all are found');
is(findings(), '', 'and the check says nothing');

# The same, with searches while VACUUM is under way, which is slow: wherever it ends, all are found.
sub all_found_during_vacuum
{
	my ($condition, $limit) = @_;
	my $vacuum = start_sql($node, "SET statement_timeout = '${PostgreSQL::Test::Utils::timeout_default}s';
		DELETE FROM t WHERE $condition; SET vacuum_cost_delay = '5ms'; SET vacuum_cost_limit = $limit; VACUUM (INDEX_CLEANUP on) t;");
	my ($searches, $most) = (0, 0);

	$node->poll_query_until('postgres', 'SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum)') or die 'VACUUM does not begin';
	while ($node->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_progress_vacuum'))
	{
		$searches++;
		$most = max($most, lost());
	}
	$vacuum->finish;
	at_least($searches, 5, "searches while VACUUM of $condition is under way");
	is($most, 0, 'all are found by each');
}
$gone = make_island(1, \&one_way_down);
all_found_during_vacuum("id = $gone", 3);

# The nearest rows lead to one of its nodes, and that one's row goes: they lead to another.
$gone = make_island(0, sub {
	my ($target) = grep { !is_sampled($_) } reverse island_nodes(0);
	cut();
	lead($_, $target) foreach @order[ 0 .. 19 ];
	return row_of($target);
});
is(lost(), 0, 'by a node of the base, all are found');
$node->safe_psql('postgres', "DELETE FROM t WHERE id = $gone; VACUUM (INDEX_CLEANUP on) t");
is(lost(), 0, 'its row goes: all are found');
is(findings(), '', 'and the check says nothing');

# All paths lead through one of its nodes.  So many rows go that VACUUM looks only near a sample
# of them, in which that node's is not.
my $target;
$gone = make_island(0, sub {
	($target) = grep { !is_sampled($_) } reverse island_nodes(0);
	cut();
	lead($_, $target) foreach @order[ 0 .. 19 ];
	return row_of($target);
});
lead($order[-1], $target);
load_index();
is(lost(), 0, 'by a node of the base, all are found');
all_found_during_vacuum("id = $gone OR id IN (SELECT id FROM t WHERE id <= $mainland ORDER BY v <+> '[0,0,0,0,0,0,0,0]' LIMIT 510)", 30);
is(findings(), '', 'and the check says nothing');

check_and_stop($node);
done_testing();
