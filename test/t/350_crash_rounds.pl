# The server or one of its processes killed at a random moment of whatever changes an
# index: CREATE INDEX of all kinds, COPY, INSERT, UPDATE, DELETE, VACUUM, piramid_repair,
# REINDEX CONCURRENTLY.  Afterwards each committed row is there and found by its own
# vector, no other row is returned, and piramid_check finds nothing wrong.
#
# PIRAMID_CRASH_ROUNDS says how many rounds (3), PIRAMID_CRASH_SEED with which the random
# numbers begin (1).

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Kinds;

my $rounds = $ENV{PIRAMID_CRASH_ROUNDS} || 3;
my $seed = $ENV{PIRAMID_CRASH_SEED} // 1;
my $clients = 3;
my @kinds = sort keys %kind;

my $node = piramid_node('crash_rounds', conf => q{
	autovacuum = off
	restart_after_crash = on
	deadlock_timeout = '50ms'
	min_parallel_table_scan_size = 0
	max_wal_size = '256MB'
	checkpoint_timeout = '30s'
	bgwriter_delay = '10ms'
	log_error_verbosity = verbose
});
create_kinds($node, 500, @kinds);
# Large enough for parallel workers, and to be built in parts
$node->safe_psql('postgres', create_table('l2', 'big') . q{;
	INSERT INTO big (n, v, a, b) SELECT n, make_l2(n), n % 5, 'b' || n % 3 FROM generate_series(1, 10500) AS n;
	ALTER TABLE big SET (parallel_workers = 2);} . create_index('l2', 'big_idx', 'big'));

my $directory = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "COPY (SELECT n, v, a, b FROM $_ WHERE id % 9 = 0 LIMIT 60) TO '$directory/$_.copy'") foreach @kinds;

# ---------------------------------------------------------------------
# What clients do.  Rows with id % 4 = 0 may be deleted, all others stay; a = -1 are those
# that are never committed.
# ---------------------------------------------------------------------

# Numbers of new rows: few of one vector, some of vectors that many rows have
sub numbers { return map { rand() < 0.15 ? int(rand(4)) : int(rand(1e6)) } 1 .. any(1, 1, 3, 10, 30) }

my %statement = (
	insert => sub { my ($name, $table) = @_; return map { some_rows($name, $table, 1, numbers()) . " RETURNING 'told $table ' || id" } 1 .. 5 },
	copy => sub { my ($name, $table) = @_; return "COPY $table (n, v, a, b) FROM '$directory/$name.copy'" },
	update => sub { my ($name, $table) = @_; return "UPDATE $table SET n = n + 1, v = make_$name(n + 1) WHERE id % 37 = " . int(rand(37)) },
	key => sub { my ($name, $table) = @_; return "UPDATE $table SET a = abs(a) + 1, b = 'b' || id % 5 WHERE id % 37 = " . int(rand(37)) },
	delete => sub { my ($name, $table) = @_; return "DELETE FROM $table WHERE id % 28 = " . 4 * int(rand(7)) },
	vacuum => sub { my ($name, $table) = @_; return "DELETE FROM $table WHERE id % 20 = " . 4 * int(rand(5)), "VACUUM (INDEX_CLEANUP on) $table" },
	repair => sub { my ($name, $table) = @_; return is_bm25($name) ? "SELECT piramid_bm25_merge('${table}_idx')" : "SELECT * FROM piramid_repair('${table}_idx')" },
	reindex => sub { my ($name, $table) = @_; return "REINDEX INDEX CONCURRENTLY ${table}_idx" },
	build => sub {
		my ($name, $table, $client) = @_;
		my ($index, $how) = ("${table}_b$client", any('', '', 'CONCURRENTLY'));
		return 'SET max_parallel_maintenance_workers = ' . any(0, 2), "SET maintenance_work_mem = '" . any('1MB', '64MB') . "'",
		  create_index($name, $index, $table, $how), "DROP INDEX $index";
	},
	# With wal_level = minimal, nothing of this is logged before the end.
	new => sub {
		my ($name, $table, $client) = @_;
		my $new = "${name}_new$client";
		return "DROP TABLE IF EXISTS $new", 'BEGIN', create_table($name, $new), "COPY $new (n, v, a, b) FROM '$directory/$name.copy'",
		  create_index($name, "${new}_idx", $new), some_rows($name, $new, 1, numbers()), 'COMMIT', some_rows($name, $new, 1, numbers());
	},
	rollback => sub { my ($name, $table) = @_; return 'BEGIN', (map { some_rows($name, $table, -1, numbers()) } 1 .. 4), 'ROLLBACK' },
	savepoint => sub {
		my ($name, $table) = @_;
		return 'BEGIN', some_rows($name, $table, 1, numbers()), 'SAVEPOINT s', some_rows($name, $table, -1, numbers()),
		  'ROLLBACK TO s', some_rows($name, $table, 1, numbers()), 'COMMIT';
	},
	checkpoint => sub { return 'CHECKPOINT' });
my @frequent = qw(insert insert copy update key delete vacuum vacuum build build);

# A client's script; a line of its output tells when it begins a step.
sub script
{
	my ($client, @names) = @_;
	my $script = "\\set ON_ERROR_STOP 0\n\\set VERBOSITY verbose\nSET client_min_messages = error;\n";

	foreach my $step (1 .. 400)
	{
		my $what = any(sort(keys %statement), @frequent);
		my $name = any(@names);
		my $table = $name eq 'l2' && $what =~ /build|insert|vacuum|reindex|copy/ && rand() < 0.6 ? 'big' : $name;

		$script .= "\\warn =$what $table\n" . join('', map { "$_;\n" } $statement{$what}->($name, $table, $client));
	}
	return $script;
}

# Errors that clients may run into, as others work at the same tables or as the server
# ends: deadlocks, objects that are there or not, what cannot go on, connections.
my $expected = qr/^(40P01|42P07|42710|42P01|42704|55P03|55000|55006|57P0[123]|08\w\w\w|25P02|XX000: could not open relation|XX000: cache lookup failed)/;

sub unexpected { my ($output) = @_; return grep { !/$expected/ } $output =~ /(?:ERROR|FATAL|PANIC):  (.*)/g }

# ---------------------------------------------------------------------
# Rounds
# ---------------------------------------------------------------------

# Settings of the server from its next start on
sub settings
{
	my $level = any('minimal', 'replica', 'logical');
	my $images = any('on', 'off');
	# Without images of pages, replay meets empty ones of files that were removed later, and the
	# server's own check takes these for broken.
	my $checked = $images eq 'on' ? any("''", "'all'") : "''";
	my %setting = (
		wal_level => $level,
		max_wal_senders => $level eq 'minimal' ? 0 : 4,
		full_page_writes => $images,
		wal_consistency_checking => $checked,
		shared_buffers => any("'4MB'", "'32MB'"),
		wal_compression => any('off', 'on'));

	$node->append_conf('postgresql.conf', "$_ = $setting{$_}") foreach sort keys %setting;
	return join ', ', map { "$_ $setting{$_}" } sort keys %setting;
}

# Kill one process, and wait until all clients have seen their server end, and it works again.
sub kill_one
{
	my (@handles) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres', q{
		SELECT pid FROM pg_stat_activity
		WHERE pid <> pg_backend_pid() AND backend_type IN ('client backend', 'parallel worker') ORDER BY random() LIMIT 1});

	kill 'KILL', @pids;
	$_->finish foreach @handles;
	wait_for_server($node);
}

# Tables of which a valid index tells
sub tables
{
	return split /\n/, $node->safe_psql('postgres', q{
		SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
			AND EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(relname || '_idx') AND indisvalid) ORDER BY 1});
}

# The rows that a client was told of are there.
sub missing_rows
{
	my (%told) = @_;
	return join '', map {
		my $gone = $node->safe_psql('postgres', "SELECT count(*) FROM unnest('{" . join(',', @{ $told{$_} }) . "}'::bigint[]) AS i WHERE i % 4 <> 0 AND i NOT IN (SELECT id FROM $_)");
		$gone ? "$_: $gone rows whose commit was told are missing\n" : ''
	} sort keys %told;
}

# Of each table, the ids that clients have read: their commit was told.
sub told
{
	my %ids;

	foreach my $output (@_)
	{
		push @{ $ids{$1} }, $2 while $output =~ /^told (\w+) (\d+)$/mg;
	}
	return %ids;
}

# Leftovers of commands that were killed, and tables that have grown
sub tidy
{
	drop_leftovers($node);
	$node->safe_psql('postgres', $_) foreach split /\n/, $node->safe_psql('postgres',
		q{SELECT 'DROP TABLE ' || relname FROM pg_class WHERE relkind = 'r' AND relname ~ '_new\d$'});
	foreach my $table (@kinds, 'big')
	{
		my $name = $table eq 'big' ? 'l2' : $table;
		my $most = $table eq 'big' ? 12000 : $name eq 'wide' ? 80 : 1500;

		$node->safe_psql('postgres', create_index($name, "${table}_idx", $table))
		  unless $node->safe_psql('postgres', "SELECT to_regclass('${table}_idx')");
		$node->safe_psql('postgres', "DELETE FROM $table WHERE id % 3 > 0; VACUUM (INDEX_CLEANUP on) $table")
		  if $table ne 'big' && $node->safe_psql('postgres', "SELECT count(*) FROM $table") > $most;
	}
}

my $settings = 'as created';
my %met;
foreach my $round (1 .. $rounds)
{
	srand($seed * 100_000 + $round);
	my @names = map { any(@kinds) } 1 .. 3;
	my @output = ('') x $clients;
	my $steps = any(3, 6, 12, 25);
	my @handles = map { start_sql($node, script($_, @names), \$output[$_]) } 0 .. $clients - 1;

	# The moment: when a client has begun so many steps, or all have ended.
	wait_until(sub {
		$_->pump_nb foreach grep { $_->pumpable } @handles;
		return (grep { (() = /^=/mg) >= $steps } @output) || !grep { $_->pumpable } @handles;
	}, 'clients at work');
	my @at = map { /.*^=(\w+ \w+)/ms ? $1 : 'nothing' } @output;
	$met{ (split / /)[0] }++ foreach @at;
	my $next = settings();
	my $server = rand() < 0.7;
	if ($server) { crash($node, @handles) } else { kill_one(@handles) }

	my $wrong = join '', map { "error: $_\n" } map { unexpected($_) } @output;
	$wrong .= missing_rows(told(@output));
	# Of tables that nobody has worked at, every tenth time
	my %touched = map { $_ => 1 } @names, (grep { $_ eq 'l2' } @names) ? 'big' : ();
	foreach my $table (tables())
	{
		my ($name) = $table =~ /^([a-z0-9]+?)(?:_new\d)?$/;
		next unless $touched{$name} || $round % 10 == 0 || $round == $rounds;
		$wrong .= wrong_answers($node, $name eq 'big' ? 'l2' : $name, table => $table, share => $name eq 'big' ? 29 : 3);
	}
	is($wrong, '', "round $round of seed $seed: " . ($server ? 'server' : 'process') . ' killed in ' . join(', ', @at) . " ($settings)")
	  or last;
	$settings = $next if $server;
	tidy();
}
note("killed in: " . join ', ', map { "$_ $met{$_}" } sort { $met{$b} <=> $met{$a} } keys %met);
check_and_stop($node);
done_testing();
