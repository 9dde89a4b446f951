# What happens between two changes that belong together: at each injection point of the
# library, a statement is cancelled, terminated, ended by a crash of the server, or waits while
# others change and search the same index.  It ends with the error of that, or works; the index
# is as before, VACUUM or piramid_repair finds all that was left, and the statement works when
# it is run again.
#
# Needs a server since 17 that was configured with --enable-injection-points, and its module
# injection_points (test/README.md); so CI leaves it out.
#
# PIRAMID_POINTS is a regular expression: only points whose names match it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Damage;
use Kinds;
use Piramid;

my $module = '/extension/injection_points.control';
plan skip_all => 'this server has no injection points'
  unless grep { -e "$_$module" } run_command([ 'pg_config', '--sharedir' ]);

my $only = $ENV{PIRAMID_POINTS} // '.';
my @kinds = qw(keys l2 bits wide axes words);
# Each row is on an axis of its own, as far from all others: nobody's near neighbour.
$kind{axes} = { type => 'bit(2000)', value => q[set_bit(repeat('0', 2000)::bit(2000), (n % 2000)::int, 1)],
	using => 'hnsw (v bit_jaccard_ops) WITH (m = 2, ef_construction = 4)', op => '<%>' };
my $node = piramid_node('points', conf => q{
	autovacuum = off
	min_parallel_table_scan_size = 0
	max_wal_size = '1GB'
	ignore_checksum_failure = on
	log_error_verbosity = verbose
});
damage_init($node);
read_fields();
create_kinds($node, 40, @kinds);
$node->safe_psql('postgres', q{
	CREATE EXTENSION injection_points;
	-- Many words, most of its own
	CREATE FUNCTION large(n int) RETURNS text LANGUAGE sql AS
		$$ SELECT make_words(n) || string_agg(' x' || n || 'y' || i, '') FROM generate_series(1, 4000) AS i $$});
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '" . PostgreSQL::Test::Utils::tempdir . "'");

# ---------------------------------------------------------------------
# Statements
# ---------------------------------------------------------------------

my $next = 100_000;
sub new_numbers { my ($n) = @_; $next += $n; return $next - $n + 1 .. $next }

# INSERT of new rows, or of many of one number; a = -1 if they are not to be committed
sub insert { my ($n, @numbers) = @_; return sub { my ($kind, $a) = @_; return some_rows($kind, 't', $a, @numbers ? (@numbers) x $n : new_numbers($n)) } }
sub sql { my ($sql) = @_; return sub { return $sql } }

my $vacuum = 'VACUUM (INDEX_CLEANUP on, PARALLEL 0) t';
my $repair = "SELECT count(*) FROM piramid_repair('t_idx')";
my $merge = "SELECT piramid_bm25_merge('t_idx')";
# Rows of one number, most of which are in chunks: all are dead but some that have one key, or all
my $equal = 'INSERT INTO t (n, v, a, b) SELECT 7, make_keys(7), i % 3, NULL FROM generate_series(1, 60) AS i; DELETE FROM t WHERE n = 7 AND (a <> 1 OR b IS NOT NULL OR id % 2 = 0)';
my $all_equal = 'INSERT INTO t (n, v, a, b) SELECT 9, make_keys(9), 1, NULL FROM generate_series(1, 60); DELETE FROM t WHERE n = 9';
my $one = "DELETE FROM t WHERE n = 7; REINDEX INDEX t_idx; INSERT INTO t (n, v, a, b) SELECT 7, make_keys(7), 1, ''";
# New rows, most of which are deleted at once, or all rows
my $some = 'DELETE FROM t WHERE n > 100000 AND n % 3 > 0';
my $all = 'DELETE FROM t';
my $texts = some_rows('words', 't', 1, 20_001 .. 20_300);
my $build = sub { my ($kind, $a, $how) = @_; return create_index($kind, 't_b1', 't', $how) };
my $concurrently = sub { return $build->(@_[ 0, 1 ], 'CONCURRENTLY') };
my $parallel = sub { return 'SET max_parallel_maintenance_workers = 2; ALTER TABLE t SET (parallel_workers = 2); ' . $build->(@_) };
my $large = sub { return "INSERT INTO t (n, v, a) VALUES (3, large(3), $_[1])" };
# Free slots, chunks and upper nodes, beside the overflow links of new rows, for what is damaged
my $all_kinds = "INSERT INTO t (n, v, a, b) SELECT n, make_keys(n), n % 5, 'b' FROM generate_series(30001, 30200) AS n; $equal; DELETE FROM t WHERE n % 10 = 3; $vacuum";

# Damages that piramid_repair mends
my %damage = (
	list => sub { meta('free_node[0]', 4294967295) },
	entry => sub { meta('entry', 0) },
	stale => sub { my ($n) = base_nodes(); set_link($n, 1, number_of(free_slot())) },
	orphan => sub { my ($n) = upper_nodes(); field($n, 'node.below', number_of(free_slot())) },
	key => sub { my ($n) = base_nodes(); substr($file, key_entry($n, 0), 1) = "\x03" },
	overflow => sub { my $b = last_of('OVERFLOW'); substr($file, overflow_link($b, 0), 4) = pack('L', number_of(free_slot())) },
	links => sub { field($_, 'node.nlinks', 0) foreach base_nodes(); opaque($_, 'nused', 0) foreach blocks_of('OVERFLOW') });

# Of each point: the kind of index, the statement, and what differs: "new", so many rows
# since a checkpoint, and "before", statements, come before that; "held", pages are locked there, so that no cancel is heard; "rows", so many
# more of the table; "empty", an interrupted extension may leave empty pages behind that
# nobody uses; "alone", the table is locked; "failed", a point at which the statement has
# failed before; "after", a point at which the statement waits first, while another works.
my @cases = (
	[ 'hnsw-insert-node', 'keys', insert(1) ],
	[ 'hnsw-insert-unlinked', 'keys', insert(1) ],
	[ 'hnsw-insert-linked', 'l2', insert(60) ],
	[ 'hnsw-insert-upper', 'l2', insert(400) ],
	[ 'hnsw-insert-entry', 'keys', insert(1), before => 'TRUNCATE t' ],
	[ 'hnsw-insert-again', 'keys', insert(1), before => 'TRUNCATE t', after => 'hnsw-insert-entry' ],
	[ 'hnsw-insert-noted', 'keys', insert(1, 7) ],
	[ 'hnsw-insert-added', 'keys', insert(1, 7) ],
	[ 'hnsw-overflow-stored', 'l2', insert(5), before => 'CHECKPOINT' ],
	(map { my $kind = $_; map { [ "hnsw-overflow-$_", $kind, insert(900), before => 'CHECKPOINT' ] } qw(moving moved) } qw(l2 bits)),
	[ 'hnsw-force-adopt', 'axes', insert(120), before => 'TRUNCATE t' ],
	[ 'hnsw-extended', 'l2', insert(200), held => 1 ],
	[ 'hnsw-extended', 'keys', insert(60, 7), before => $one, held => 1 ],
	[ 'hnsw-extended', 'wide', insert(3), held => 1, empty => 1 ],
	[ 'hnsw-map-made', 'l2', insert(5), before => 'REINDEX INDEX t_idx; CHECKPOINT' ],
	[ 'hnsw-map-made', 'keys', insert(1), before => 'TRUNCATE t' ],
	[ 'hnsw-node-part', 'wide', insert(2), held => 1 ],
	(map { [ "hnsw-vacuum-$_", 'keys', sql($vacuum), before => $equal ] } qw(chunk chunks key)),
	(map { [ "hnsw-vacuum-$_", 'keys', sql($vacuum), new => 40, before => $some ] } qw(died cleaned marked secured relinked repaired reached released)),
	[ 'hnsw-vacuum-overflow', 'l2', sql($vacuum), new => 40, before => $some ],
	[ 'hnsw-vacuum-entry', 'l2', sql($vacuum), new => 40, before => $all ],
	[ 'hnsw-release-chunk', 'keys', sql($vacuum), before => $all_equal ],
	(map { my ($point, $damage) = @$_; [ "hnsw-$point", 'keys', sql($repair), new => 40, before => $all_kinds, damage => $damage{$damage} ] }
		[qw(repair-cleared list)], [qw(repair-relisted list)], [qw(repair-entry entry)], [qw(repair-stale stale)],
		[qw(repair-orphan orphan)], [qw(repair-key key)], [qw(repair-overflow overflow)], [qw(vacuum-lost links)]),
	(map { [ "hnsw-build-$_", 'keys', $build, alone => 1 ] } qw(loaded graph page written logged reach)),
	[ 'hnsw-build-duplicate', 'keys', $build, before => $equal, alone => 1 ],
	[ 'hnsw-build-logged', 'l2', $concurrently ],
	(map { [ "hnsw-build-$_", 'l2', $parallel, rows => 10_500, alone => 1 ] } qw(team worker graph page)),
	[ 'bm25-insert-overflow', 'words', $large, held => 1 ],
	[ 'bm25-insert-extended', 'words', insert(600), held => 1 ],
	[ 'bm25-insert-full', 'words', insert(3000) ],
	(map { [ "bm25-seal-$_", 'words', sql($vacuum), before => $texts ] } qw(closed begun written)),
	(map { [ "bm25-merge-$_", 'words', sql($merge), before => $texts ] } qw(begun written)),
	(map { [ "bm25-vacuum-$_", 'words', sql($vacuum), new => 40, before => "$merge; $some" ] } qw(marked counted)),
	[ 'bm25-vacuum-recovered', 'words', sql($vacuum), before => $texts, failed => 'bm25-seal-written' ],
	(map { [ "bm25-build-$_", 'words', $build, alone => 1 ] } qw(collected written)),
	[ 'bm25-build-worker', 'words', $parallel, alone => 1 ]);

# ---------------------------------------------------------------------
# What happens at a point
# ---------------------------------------------------------------------

sub query { return $node->safe_psql('postgres', @_) }
sub attach { my ($point, $action) = @_; query("SELECT injection_points_attach('piramid-$point', '$action')") }
sub detach { my ($point) = @_; query("SELECT injection_points_detach('piramid-$point')") }
sub wake { my ($point) = @_; query("SELECT injection_points_wakeup('piramid-$point')") }

# Wait until a process is at the point, or the statement has ended; returns the processes there.
sub wait_at
{
	my ($point, $handle) = @_;
	my @pids;

	wait_until(sub {
		$handle->pump_nb if $handle->pumpable;
		@pids = split /\n/, query("SELECT pid FROM pg_stat_activity WHERE wait_event = 'piramid-$point'");
		return @pids || !$handle->pumpable;
	}, $point);
	return @pids;
}

# Start a statement, and have it wait at the case's point.  Returns its handle and the
# processes there.
sub start_until
{
	my ($case, $sql, $output) = @_;
	my ($point, $kind, undef, %how) = @$case;
	my $first = $how{after} // $point;

	attach($first, 'wait');
	my $handle = start_sql($node, "\\set VERBOSITY sqlstate\nSET client_min_messages = error;\n$sql;\n", $output);
	my @pids = wait_at($first, $handle);
	detach($first);
	if ($how{after} && @pids)
	{
		query(some_rows($kind, 't', 1, new_numbers(1)));
		attach($point, 'wait');
		wake($first);
		@pids = wait_at($point, $handle);
		detach($point);
	}
	return ($handle, @pids);
}

# What others do meanwhile; they may have to wait for the statement.
sub start_others
{
	my ($kind) = @_;
	my $op = $kind{$kind}{op};
	my $query = $kind{$kind}{query} // "make_$kind(5)";
	my $search = "SET enable_seqscan = off; SELECT id FROM t ORDER BY v $op $query LIMIT 20";
	my @scripts = (
		join(";\n", some_rows($kind, 't', 1, new_numbers(3), 7, 9), $search, 'UPDATE t SET a = a + 1 WHERE id % 7 = 1', $search),
		# Equal to rows that are being removed
		join(";\n", "INSERT INTO t (n, v, a, b) SELECT n, make_$kind(n), 2, NULL FROM generate_series(3, 24, 3) AS n", 'DELETE FROM t WHERE id % 11 = 1', $search),
		"$vacuum; $search", "SELECT count(*) FROM piramid_check('t_idx', true) WHERE severity = 'error' HAVING count(*) > 0");
	my @output = ('') x @scripts;
	my @handles = map { start_sql($node, "SET application_name = 'other';\nSET client_min_messages = error;\n$scripts[$_];\n", \$output[$_]) } 0 .. $#scripts;

	wait_until(sub {
		$_->pump_nb foreach grep { $_->pumpable } @handles;
		my $left = grep { $_->pumpable } @handles;
		return !$left || $left <= query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'other' AND wait_event_type IN ('Lock', 'LWLock', 'BufferPin', 'Buffer')");
	}, 'others');
	return (\@handles, \@output);
}

# Each returns what the statement said, and undef if it did not come to the point.
my %happens = (
	cancel => sub {
		my ($case, $sql) = @_;
		my $output = '';
		my ($handle, @pids) = start_until($case, $sql, \$output);

		# A parallel worker is not cancelled, but its leader.
		query("SELECT pg_cancel_backend(coalesce(leader_pid, pid)) FROM pg_stat_activity WHERE pid = $_") foreach @pids;
		$handle->finish;
		return @pids ? $output : undef;
	},
	terminate => sub {
		my ($case, $sql) = @_;
		my $output = '';
		my ($handle, @pids) = start_until($case, $sql, \$output);

		query("SELECT pg_terminate_backend($_)") foreach @pids;
		$handle->finish;
		return @pids ? $output : undef;
	},
	error => sub {
		my ($case, $sql) = @_;

		attach($case->[0], 'error');
		my ($status, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET client_min_messages = error;\n$sql");
		detach($case->[0]);
		return $status ? $stderr : undef;
	},
	others => sub {
		my ($case, $sql) = @_;
		my $output = '';
		my ($handle, @pids) = start_until($case, $sql, \$output);
		my ($others, $said) = start_others($case->[1]);

		wake($case->[0]) foreach @pids;
		$_->finish foreach $handle, @$others;
		return @pids ? join("\n", grep { /ERROR|FATAL|^\d+$/m && !/^(\d+\n)*$/ } $output, @$said) : undef;
	},
	kill => sub {
		my ($case, $sql) = @_;
		my $output = '';
		my ($handle, @pids) = start_until($case, $sql, \$output);

		# What was logged so far is on disk, as if it had been a busy server.
		query("SELECT pg_logical_emit_message(true, 'piramid', 'flush')");
		crash($node, $handle);
		return @pids ? '' : undef;
	});
my %said = (cancel => qr/ERROR: +57014/, terminate => qr/57P01|server closed the connection/, error => qr/XX000: error triggered for injection point/,
	others => qr/^$/, kill => qr/^$/);

# ---------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------

# Findings of the check, but for nodes that inserts may leave behind
sub findings { my ($index) = @_; return join "\n", grep { !/$not_found/ } split /\n/, query("SELECT severity, what FROM piramid_check('$index', true)") }

sub path { return $node->data_dir . '/' . query("SELECT pg_relation_filepath('t_idx')") }

# Pages of the index's file that are empty
sub empty_pages
{
	query('CHECKPOINT');
	$file = slurp_file(path());
	return grep { substr($file, $_ * $size{PAGE}, $size{PAGE}) !~ /[^\0]/ } 0 .. blocks() - 1;
}

# Of a bm25 index after VACUUM, whose head has no large records then: empty pages, and those
# of large records, which are neither free nor the head's spare ones.
sub lost_pages
{
	my @pages = empty_pages();
	my @runs = unpack 'L4', substr($file, $size{START} + $place{'bm25meta.spare[0].first'}[0], 16);
	my $runs = field(start_of(1, 0, 0), 'free.nruns');
	my %free;

	push @runs, (unpack 'L4', substr($file, start_of(1, 0, 0) + $size{BM25_RUNS} + 16 * $_, 16))[ 0, 1 ] foreach 0 .. $runs - 1;
	while (my ($first, $n) = splice @runs, 0, 2)
	{
		$free{$_} = 1 foreach $first .. $first + $n - 1;
	}
	push @pages, grep { field($_ * $size{PAGE} + $size{BM25_SPECIAL}, 'bm25.kind') == $size{BM25_OVERFLOW} } 0 .. blocks() - 1;
	return grep { !$free{$_} } @pages;
}

# After VACUUM, no page is empty or nobody's, and no document is counted that is dead.
sub has_all_counted
{
	my ($kind, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	if ($kind ne 'words')
	{
		is(join(' ', empty_pages()), '', "$name: no empty page");
		return;
	}
	is(join(' ', lost_pages()), '', "$name: each block is somebody's");
	is(query("SELECT documents - dead_documents FROM piramid_bm25_info('t_idx')"), query('SELECT count(*) FROM t'), "$name: counted documents");
}

# Damage the file where the server has nothing of it in memory.
my @tablespaces = ('elsewhere', 'pg_default');
sub damage
{
	my ($how) = @_;
	query('CHECKPOINT');
	my $path = path();
	read_fields($path);
	$file = slurp_file($path);
	$how->();
	write_file($path);
	query("ALTER INDEX t_idx SET TABLESPACE $tablespaces[0]");
	@tablespaces = reverse @tablespaces;
}

sub is_as_it_should
{
	my ($kind, $name, @index) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(wrong_answers($node, $kind, table => 't', share => query('SELECT count(*) / 300 + 1 FROM t'), @index), '', $name);
}

sub create
{
	my ($kind, $rows) = @_;

	drop_leftovers($node);
	query('DROP TABLE IF EXISTS t; ' . create_table($kind, 't') . ";INSERT INTO t (n, v, a, b) SELECT n, v, a, b FROM $kind;" . create_index($kind, 't_idx', 't') . ';'
	  . ($rows ? "INSERT INTO t (n, v, a, b) SELECT n, make_$kind(n), 0, NULL FROM generate_series(20001, 20000 + $rows) AS n" : some_rows($kind, 't', 1, 3, 5, 7, 7, 20_001 .. 20_020)));
	@tablespaces = ('elsewhere', 'pg_default');
}

sub actions
{
	my (%how) = @_;
	return $how{held} ? qw(error kill) : $how{alone} ? qw(cancel terminate kill) : qw(others cancel terminate kill);
}

foreach my $case (grep { $_->[0] =~ /$only/ } @cases)
{
	my ($point, $kind, $statement, %how) = @$case;

	create($kind, $how{rows});
	foreach my $action (actions(%how))
	{
		my $name = "$point of $kind, $action";

		query($_) foreach $how{new} ? ('CHECKPOINT', some_rows($kind, 't', 1, new_numbers($how{new}))) : (), grep { /\S/ } split /;/, $how{before} // '';
		$happens{error}->([ $how{failed}, $kind ], $statement->($kind, -1)) if $how{failed};
		damage($how{damage}) if $how{damage};
		my $said = $happens{$action}->($case, $statement->($kind, $action eq 'others' ? 1 : -1));
		if (!defined $said)
		{
			fail("$name: the statement does not come there");
			last;
		}
		like($said, $said{$action}, "$name: the error");
		drop_leftovers($node) unless $action eq 'others';
		# Damaged until the repair comes to its end
		is_as_it_should($kind, "$name: answers") unless $how{damage} && $action ne 'others';
		query($vacuum);
		is(findings('t_idx'), '', "$name: VACUUM finds what was left") unless $how{damage} && $action ne 'others';
		has_all_counted($kind, $name) unless $how{empty};

		query('DROP INDEX IF EXISTS t_b1');
		my $again = $statement->($kind, 1);
		my ($status, $stdout, $stderr) = $node->psql('postgres', "SET client_min_messages = error; $again");
		is($status, 0, "$name: once more") or diag($stderr);
		query('DELETE FROM t WHERE v = large(3)') if $again =~ /large/;
		is(findings('t_idx'), '', "$name: repaired") if $how{damage};
		is_as_it_should($kind, "$name: answers then", $again =~ /t_b1/ ? (index => 't_b1') : ());
		query('DROP INDEX IF EXISTS t_b1');
	}
}

check_and_stop($node);
done_testing();
