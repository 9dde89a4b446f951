# What a statement meets when a resource ends: shared memory, a disk, temporary files, address
# space, and many cursors at once.  It works or is refused with the error of that resource;
# the index is as before, piramid_check finds nothing wrong, and the server lives on.

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Kinds;
use Piramid;

my $node = piramid_node('resources', conf => "autovacuum = off\nmin_parallel_table_scan_size = 0\nmax_parallel_workers_per_gather = 0\nshared_buffers = '16MB'");
my @kinds = qw(l2 compact keys sparse words);
create_kinds($node, 800, @kinds);
$node->safe_psql('postgres', create_table('l2', 'big') . q{;
	ALTER TABLE big SET (parallel_workers = 2);
	INSERT INTO big (n, v, a, b) SELECT n, make_l2(n), n % 5, 'b' FROM generate_series(1, 11000) AS n});
my $started = sub { return $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()') };

# A statement works, or ends with this SQLSTATE.  Returns the SQLSTATE, '' if it worked.
sub ends_with
{
	my ($sql, $state, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($status, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET client_min_messages = error;\n$sql");
	my ($got) = $stderr =~ /ERROR:  (\w{5})/;

	ok($status == 0 || $status == 3 && ($got // '') =~ /^(?:$state)$/, $name . ($got ? ": $got" : ': works')) or diag("status $status: $stderr");
	return $got // '';
}

sub as_before
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(join('', map { wrong_answers($node, $_, share => 7) } @kinds), '', "$name: indexes are as before");
	is($node->safe_psql('postgres', q{SELECT string_agg(relname, ' ') FROM pg_class WHERE relname ~ '^big_' AND relkind = 'i'}), 'big_pkey', "$name: big has no other index");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()'), 0, "$name: no temporary file is left");
}

# ---------------------------------------------------------------------
# Temporary files
# ---------------------------------------------------------------------

my $limited = "SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 0; SET work_mem = '64kB'; SET temp_file_limit = '100kB';";
is(ends_with("$limited " . create_index('l2', 'big_idx', 'big'), '53400', 'temp_file_limit, a build in parts'), '53400', 'which needs more');
ends_with("$limited REINDEX INDEX l2_idx", '53400', 'temp_file_limit, REINDEX');
ends_with("$limited SET enable_seqscan = off; SELECT count(*) FROM (SELECT id FROM l2 ORDER BY v <-> make_l2(3) LIMIT 100000) AS x", '53400', 'temp_file_limit, a scan of all rows');
as_before('temp_file_limit');

# ---------------------------------------------------------------------
# Cursors
# ---------------------------------------------------------------------

my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM l2');
is($node->safe_psql('postgres', qq{
	SET enable_seqscan = off; SET enable_sort = off;
	BEGIN;
	CREATE TEMP TABLE got (cursor int, n int, id bigint);
	DO \$\$
	DECLARE
		c refcursor;
		my bigint;
	BEGIN
		FOR i IN 1 .. 1000 LOOP
			c := 'c' || i;
			IF i % 5 = 0 THEN
				OPEN c FOR SELECT id FROM words ORDER BY v <@> 'w1 w2 w3';
			ELSE
				OPEN c FOR SELECT id FROM l2 ORDER BY v <-> make_l2(3000000 + i);
			END IF;
		END LOOP;
		-- Each goes on where it stands, in turn.
		FOR step IN 1 .. 4 LOOP
			FOR i IN 1 .. 1000 LOOP
				c := 'c' || i;
				FETCH c INTO my;
				INSERT INTO got VALUES (i, step, my);
			END LOOP;
		END LOOP;
	END \$\$;
	SELECT count(*), count(DISTINCT (cursor, id)), count(*) FILTER (WHERE id IS NULL) FROM got;
	COMMIT}), '4000|4000|0', '1,000 cursors at once: four rows of each');

# ---------------------------------------------------------------------
# Address space
# ---------------------------------------------------------------------

# What a session of this server takes that has used the indexes, and so much more
sub with_address_space
{
	my ($more, $sub) = @_;
	my ($pid) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my $session = $node->background_psql('postgres');
	my $backend = $session->query_safe("SET enable_seqscan = off; SELECT count(*) FROM (SELECT id FROM l2 ORDER BY v <-> make_l2(3) LIMIT 1) AS x; SELECT pg_backend_pid()");
	$backend =~ s/.*\n//s;
	my ($kilobytes) = slurp_file("/proc/$backend/status") =~ /^VmSize:\s+(\d+) kB/m;
	$session->quit;

	return 0 if $kilobytes > 1e9;	# a sanitizer's
	system_or_bail('prlimit', "--pid=$pid", '--as=' . ($kilobytes + 1024 * $more) * 1024 . ':');
	$sub->();
	system_or_bail('prlimit', "--pid=$pid", '--as=unlimited:');
	return 1;
}

my $start = $started->();
SKIP:
{
	skip 'no prlimit here', 1 if system('prlimit --pid=$$ >/dev/null 2>&1');
	foreach my $more (1, 8)
	{
		my $room = '53200|53000|54000';
		with_address_space($more, sub {
			ends_with("SET maintenance_work_mem = '1GB'; " . create_index('l2', 'big_idx', 'big') . '; DROP INDEX big_idx', $room, "$more MB more, CREATE INDEX");
			ends_with("SET max_parallel_maintenance_workers = 0; " . create_index('l2', 'big_idx', 'big') . '; DROP INDEX big_idx', $room, "$more MB more, CREATE INDEX by one process");
			foreach my $name (@kinds)
			{
				my $query = $kind{$name}{query} // "make_$name(3)";
				ends_with("SET enable_seqscan = off; SET work_mem = '1GB'; SELECT count(*) FROM (SELECT id FROM $name ORDER BY v $kind{$name}{op} $query LIMIT 100000) AS x", $room, "$more MB more, a scan of $name");
				ends_with("BEGIN; " . some_rows($name, $name, 1, 1 .. 30) . "; ROLLBACK; DELETE FROM $name WHERE id % 100 = $more; VACUUM (INDEX_CLEANUP on) $name", $room, "$more MB more, writes to $name");
				ends_with("SELECT * FROM piramid_check('${name}_idx', true)", $room, "$more MB more, a check of $name");
			}
		}) or skip 'this server takes as much address space as there is', 1;
	}
}
drop_leftovers($node);
as_before('address space');
is($started->(), $start, 'the server has not started again');

# Fill the disk, but for less than 300 kB.
sub fill
{
	my $filled = 0;

	$node->safe_psql('postgres', 'CREATE TABLE filler (t text) TABLESPACE small');
	$filled++ until ends_with("INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 300)", '53100', "a disk is filled, $filled") || $filled > 50;
}

# ---------------------------------------------------------------------
# Shared memory and disks: small ones, which only this server sees
# ---------------------------------------------------------------------

my $small = PostgreSQL::Test::Utils::tempdir();
my @unshare = qw(unshare --user --mount --map-current-user --keep-caps bash -c);
my $mounts = "mount -t tmpfs -o size=2m tmpfs /dev/shm && mount -t tmpfs -o size=3m tmpfs $small";
SKIP:
{
	skip 'a user may mount nothing here', 1 if system(@unshare, "($mounts) 2>/dev/null");
	$node->stop;
	$node->append_conf('postgresql.conf', "dynamic_shared_memory_type = posix\nmin_dynamic_shared_memory = 0\nmax_parallel_maintenance_workers = 2");
	my $log = $node->logfile;
	system_or_bail(@unshare, "$mounts && exec pg_ctl -w -D '" . $node->data_dir . "' -l '$log' start");
	$node->_update_pid(1);
	$start = $started->();

	my ($status, $stdout, $stderr) = $node->psql('postgres', "SET maintenance_work_mem = '256MB'; " . create_index('l2', 'big_idx', 'big'));
	is($status, 0, 'a small /dev/shm: a build by a team');
	like($stderr, qr{/dev/shm has room for}, 'says why it was one process');
	ends_with('DROP INDEX IF EXISTS big_idx', '', 'and what it has made');
	ends_with("SET maintenance_work_mem = '1MB'; " . create_index('l2', 'big_idx', 'big'), '53100', 'a small /dev/shm, a build in parts');
	ends_with('DROP INDEX IF EXISTS big_idx', '', 'and what it has made');
	as_before('a small /dev/shm');

	$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$small'");
	is(ends_with('SET max_parallel_maintenance_workers = 0; ' . create_index('l2', 'big_idx', 'big') . ' TABLESPACE small', '53100', 'a full disk, a build'), '53100', 'which needs more');
	fill();
	is(ends_with("SET max_parallel_maintenance_workers = 0; SET maintenance_work_mem = '1MB'; SET temp_tablespaces = small; " . create_index('l2', 'big_idx', 'big'),
			'53100', 'a full disk, temporary files of a build in parts'), '53100', 'which needs them');
	$node->safe_psql('postgres', 'DROP TABLE filler');
	as_before('a full disk');
	foreach my $name (qw(compact keys words))
	{
		my $n = 0;

		$node->safe_psql('postgres', "DROP INDEX ${name}_idx; " . create_index($name, "${name}_idx", $name) . ' TABLESPACE small');
		fill();
		# Rows until the disk is full; those of a statement that failed are not there.
		while ($n < 200 && !ends_with(some_rows($name, $name, 1, map { 100_000 + 600 * $n + $_ } 1 .. 600), '53100', "$name, rows $n")) { $n++ }
		at_most($n, 199, "$name: the disk was full after so many statements");
		is(wrong_answers($node, $name, share => 7), '', "$name, a full disk: every row that was committed, and no other");
		ends_with("DELETE FROM $name WHERE id % 2 = 0; VACUUM (INDEX_CLEANUP on) $name", '53100', "$name, a full disk: VACUUM");
		ends_with(some_rows($name, $name, 1, 1 .. 10), '53100', "$name, a full disk: rows in what was freed");
		is(wrong_answers($node, $name, share => 7), '', "$name, a full disk, vacuumed");
		$node->safe_psql('postgres', "ALTER INDEX ${name}_idx SET TABLESPACE pg_default; DROP TABLE filler");
	}
	$node->safe_psql('postgres', 'DROP TABLESPACE small');
	as_before('disks');
	is($started->(), $start, 'the server has not started again');
}
check_and_stop($node);
done_testing();
