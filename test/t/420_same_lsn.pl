# A standby, and a standby of that one, answer as the primary does at the same place in the WAL,
# also in the middle of a vacuum that they replay; and so they do after the first is promoted.
#
# PIRAMID_LSN_COMPARISONS says how many times in the middle of a vacuum (10).
# By version, on 18: WAL and replay.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Damage;
use Kinds;
use Piramid;

my $comparisons = $ENV{PIRAMID_LSN_COMPARISONS} || 10;
my @kinds = qw(bits compact impacts keys l2 sparse words);
my $primary = piramid_node('primary',
	init => [ allows_streaming => 1 ],
	# A vacuum naps: how often is said below.
	conf => "autovacuum = off\nwal_keep_size = '1GB'\nvacuum_cost_delay = '60ms'\nmax_standby_streaming_delay = -1");
create_kinds($primary, 600, @kinds);
$primary->backup('base');

my @standbys;
foreach my $name ('standby', 'cascade')
{
	my $standby = PostgreSQL::Test::Cluster->new($name);
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->enable_streaming($standbys[0]) if @standbys;
	$standby->start;
	push @standbys, $standby;
}

# Ids and distances of the nearest rows, of all kinds
my $answers = join ' UNION ALL ', map {
	my $query = $kind{$_}{query} // "make_$_(3000000 + i)";
	my $where = $_ eq 'keys' ? 'WHERE a = 2' : '';
	"SELECT '$_', json_agg(x)::text FROM generate_series(1, 3) AS i, LATERAL (SELECT id, v $kind{$_}{op} $query AS d FROM $_ $where ORDER BY v $kind{$_}{op} $query LIMIT 15) AS x"
} @kinds;

my $settings = 'SET enable_seqscan = off; SET enable_sort = off;';

# The place in the WAL, and the answers there; nothing if it was another one afterwards, or if
# whoever was stopped has what this needs.
sub sample
{
	my ($node, $lsn, $first) = @_;
	my $timed_out = 0;
	my ($status, $stdout) = $node->psql('postgres', "$settings $first SELECT $lsn(); $answers; SELECT $lsn();",
		timeout => $PostgreSQL::Test::Utils::timeout_default / 6, timed_out => \$timed_out);
	my ($before, @answers) = split /\n/, $stdout // '';
	my $after = pop @answers // '';

	die "status $status" if $status && !$timed_out;
	return !$timed_out && $before eq $after ? ($before, join("\n", @answers)) : ();
}

my ($round, $same, $logged, $output, $client) = (0, 0, '', '');
my (%met, @differ);
my $until = time + $PostgreSQL::Test::Utils::timeout_default + 10 * $comparisons;
while ($same < $comparisons * @standbys && !@differ && time < $until)
{
	# Rows go and come, all kinds are vacuumed.
	if (!$client || !$client->pumpable)
	{
		$client->finish if $client;
		$round++;
		$client = start_sql($primary, join ";\n", (map {
			("DELETE FROM $_ WHERE id % 9 = " . $round % 9, some_rows($_, $_, 1, map { 100 * $round + $_ } 1 .. 60),
			'SET vacuum_cost_limit = ' . any(60, 250, 1000), "VACUUM (INDEX_CLEANUP on) $_") } @kinds), \$output);
	}
	$client->pump_nb;

	# It is stopped in a nap, in which it holds nothing that others need; a commit flushes what it
	# has logged.
	my ($vacuum, $where, $now) = split /\|/, $primary->safe_psql('postgres', q{
		SELECT pid, relid::regclass || ', ' || phase, pg_current_wal_insert_lsn()
		FROM pg_stat_progress_vacuum JOIN pg_stat_activity USING (pid) WHERE wait_event = 'VacuumDelay'});
	next unless $vacuum && $now ne $logged && kill 'STOP', $vacuum;
	# One that went on before it was stopped may stand in a commit that is logged and not yet done.
	my ($lsn, $expected);
	($lsn, $expected) = sample($primary, 'pg_current_wal_insert_lsn', 'DO $$ BEGIN PERFORM pg_current_xact_id(); END $$;')
	  if $primary->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $vacuum") eq 'VacuumDelay';
	foreach my $i (0 .. $#standbys)
	{
		$lsn // last;
		$standbys[$i]->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'") or die 'no replay';
		my ($there, $got) = sample($standbys[$i], 'pg_last_wal_replay_lsn', '');
		# A snapshot of the primary's transactions may have been logged meanwhile.
		next if ($there // '') ne $lsn;
		$same++;
		$met{$where}++;
		push @differ, "$lsn, $where, " . $standbys[$i]->name . ": $got\nprimary: $expected" if $got ne $expected;
	}
	# Without a change by the vacuum there is nothing new to compare.
	$logged = $lsn // '';
	kill 'CONT', $vacuum;
}
# Enough is compared: the rest is vacuumed without naps.
sub without_naps { my ($node) = @_; $node->safe_psql('postgres', $_) foreach 'ALTER SYSTEM SET vacuum_cost_delay = 0', 'SELECT pg_reload_conf()'; }
without_naps($primary);
$client->finish;
is($output, '', 'rows change, and are vacuumed');
is(join("\n", @differ), '', 'in the middle of vacuums, at the same place');
at_least($same, $comparisons, "comparisons, in $round rounds");
note(join ', ', map { "$_ $met{$_}" } sort keys %met);

sub same_answers
{
	my ($from, $name, @to) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $lsn = $from->lsn('insert');
	my $expected = $from->safe_psql('postgres', "$settings $answers");

	foreach my $to (@to)
	{
		$to->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'") or die 'no replay';
		is($to->safe_psql('postgres', "$settings $answers"), $expected, "$name: " . $to->name);
	}
}
same_answers($primary, 'after vacuums', @standbys);
is(join('', map { wrong_answers($standbys[1], $_, share => 7) } @kinds), '', 'the standby of a standby: its indexes');

# The first becomes a primary, and the second follows it.
check_and_stop($primary);
$standbys[0]->promote;
without_naps($standbys[0]);
$standbys[0]->safe_psql('postgres', $_) foreach map { ("DELETE FROM $_ WHERE id % 8 = 1", "VACUUM (INDEX_CLEANUP on) $_", some_rows($_, $_, 1, 9000 .. 9060)) } @kinds;
same_answers($standbys[0], 'promoted', $standbys[1]);
is(join('', map { wrong_answers($standbys[1], $_, share => 7) } @kinds), '', 'promoted: the indexes of the other');

# A standby's own damage is found there, where nobody can write.
my $path = $standbys[1]->data_dir . '/' . $standbys[1]->safe_psql('postgres', "SELECT pg_relation_filepath('l2_idx')");
is_sound($standbys[1], 'a standby');
# It must not replay what has written the page.
$standbys[0]->safe_psql('postgres', 'CHECKPOINT');
$standbys[0]->wait_for_catchup($standbys[1], 'replay', $standbys[0]->lsn('insert'));
$standbys[1]->safe_psql('postgres', 'CHECKPOINT');
$standbys[1]->stop;
damage_init($standbys[0]);
read_fields($path);
$file = slurp_file($path);
my $damaged = last_of('NODE');
opaque($damaged, 'kind', 77);
write_file($path);
$standbys[1]->start;
like($standbys[1]->safe_psql('postgres', "SELECT * FROM piramid_check('l2_idx')"),
	# A server with checksums, as those of 18 are, finds it before.
	qr/^error\|($damaged\|\|a page of an unknown kind|\|\|invalid page in block $damaged )/m, 'a damaged standby: piramid_check finds it');
$standbys[1]->stop;
check_and_stop($standbys[0]);
done_testing();
