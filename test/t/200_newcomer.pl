# What a newcomer's machine may lack: each script says what is missing and what
# to do, instead of failing in silence or in a compiler's words.

use strict;
use warnings;

use Cwd qw(getcwd);
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $source = getcwd;
my $scratch = PostgreSQL::Test::Utils::tempdir;
my $pg_config = `which pg_config`;
chomp $pg_config;

# A directory of programs to put in front of PATH, or in its place.
sub programs
{
	my ($name, %script) = @_;
	my $dir = "$scratch/$name";

	mkdir $dir or die $!;
	foreach my $program (sort keys %script)
	{
		append_to_file("$dir/$program", "#!/bin/sh\n$script{$program}\n");
		chmod 0755, "$dir/$program";
	}
	return $dir;
}

# Everything that the scripts call, but for sudo and what is given.
sub machine
{
	my ($name, %script) = @_;
	my $dir = programs($name, %script);

	foreach my $program (qw(bash sh env cat cut dirname find flock grep head id ls mkdir mktemp nproc realpath rm rmdir sed sort tail tar tee touch tr wc))
	{
		my $path = `which $program`;
		chomp $path;
		symlink($path, "$dir/$program") unless -e "$dir/$program";
	}
	return $dir;
}

# A terminal of its own, as it were: it can be interrupted with all that it runs.
sub session
{
	POSIX::setsid();
	$SIG{INT} = 'DEFAULT';
}

# run COMMAND...: its status, and all that it prints.
sub run
{
	my ($path, @command) = @_;
	my $output = '';
	local $ENV{PATH} = $path;
	local $ENV{PG_CONFIG};
	delete $ENV{PG_CONFIG};

	IPC::Run::run(\@command, '<', \'', '>&', \$output, init => \&session);
	return ($? >> 8, $output);
}

# Functions of test/lib/machine.sh, on a machine without PostgreSQL.
sub shell
{
	my ($path, $commands) = @_;
	return run($path, '/bin/bash', '-c', "set -euo pipefail; . test/lib/machine.sh; find_pg_config() { return 1; }; $commands");
}

my $packages = 'echo "Depends: postgresql-17"';
my $apt = machine('no_sudo', 'apt-get' => 'echo unused; exit 1', 'apt-cache' => $packages, 'dpkg-query' => 'exit 1');
my ($status, $output) = shell($apt, 'best=17; packaged_pg() { echo 17; }; need_postgres');
is($status, 1, 'no sudo, no PostgreSQL: it ends');
like($output, qr/there is no sudo.*apt-get install postgresql-17 postgresql-server-dev-17 build-essential/s,
	'and names the packages to ask for');
unlike($output, qr/unused/, 'having tried nothing');
($status, $output) = shell($apt, 'packaged_pg() { :; }; need_postgres');
is($status, 1, 'no sudo, no package lists: it ends');
like($output, qr/no package of PostgreSQL is known here.*postgresql-server-dev-all build-essential/s, 'and says what to install');

my %online = (sudo => 'exec "$@"', 'dpkg-query' => 'exit 1', 'apt-cache' => $packages);
my $offline = machine('offline', %online,
	'apt-get' => 'case "$*" in *Error-Mode=any*update*) echo "Err:1 mirror"; echo "Temporary failure resolving mirror"; exit 100;; esac; exit 0');
($status, $output) = shell($offline, 'packaged_pg() { :; }; need_postgres');
is($status, 1, 'no network: it ends');
like($output, qr/is there no network\?.*Temporary failure resolving mirror.*no package of PostgreSQL is known/s,
	'saying so, with what apt said');
is(() = $output =~ /Temporary failure/g, 1, 'once');

my $install = machine('install', %online,
	'apt-get' => 'case "$*" in *--assume-no*) echo "0 upgraded, 3 newly installed, 0 to remove"; echo "Need to get 12 MB of archives.";;
		*install*) echo "Get:1 x"; echo "Unpacking x"; echo "Setting up x";; esac');
($status, $output) = shell($install, 'apt_install x');
is($status, 0, 'packages are installed');
is($output, "installing x\n  packages: 3\n  download: 12 MB\n...\n", 'not in silence');
my $broken = machine('broken', %online, 'apt-get' => 'case "$*" in *-y*) echo "E: held packages"; exit 100;; esac');
($status, $output) = shell($broken, 'apt_install x');
is($status, 1, 'packages that cannot be installed: it ends');
like($output, qr/E: held packages\n.*could not install x/s, 'with what apt said');

my $full = machine('full', tar => 'cat >/dev/null; echo "tar: ./a: Cannot write: No space left on device" >&2; echo "tar: ./b: the same" >&2; exit 2');
($status, $output) = shell($full, "copy_source test/lib $scratch/copy");
is($status, 1, 'a full disk: it ends');
like($output, qr/cannot copy the sources to \S+:\ntar: .\/a: Cannot write: No space left on device\n$/, 'with one line of tar');

# The Makefile and PG_CONFIG.
sub make { return run($ENV{PATH}, 'make', '-s', @_) }
sub fake { return programs($_[0], pg_config => $_[1]) . '/pg_config' }

($status, $output) = make("PG_CONFIG=$scratch/nothing", 'all');
ok($status != 0, 'PG_CONFIG that is not there');
like($output, qr/"\S+nothing" is not the pg_config of a PostgreSQL server.*postgresql-server-dev-NN/, 'is told with the package');
($status, $output) = make('PG_CONFIG=' . fake('nonsense', 'echo hello'), 'all');
like($output, qr/is not the pg_config/, 'PG_CONFIG that is something else');
($status, $output) = make('PG_CONFIG=' . fake('old', 'echo PostgreSQL 14.3'), 'all');
like($output, qr/is of PostgreSQL 14, and piramid needs 15, 16, 17 or 18/, 'a version that is too old');
($status, $output) = make('PG_CONFIG=' . fake('bare', 'case $1 in --version) echo PostgreSQL 16.2;; *) echo /nothing;; esac'), 'all');
ok($status != 0, 'a server without headers');
like($output, qr/has no server headers\. Install postgresql-server-dev-16/, 'is told with the package');
($status, $output) = make('PG_CONFIG=pg_config', 'build/server');
is($status, 0, 'a server to build for');
my $before = slurp_file('build/server');
my $other = fake('other', qq{case \$1 in --version) echo PostgreSQL 17.99;; *) exec $pg_config "\$@";; esac});
make('PG_CONFIG=pg_config', 'build/server');
is(slurp_file('build/server'), $before, 'the same again');
my ($database) = (run($ENV{PATH}, 'make', '-np', 'PG_CONFIG=pg_config', 'all'))[1];
like($database, qr{^src/piramid\.o:.* build/server\b}m, 'objects are of one server');
make("PG_CONFIG=$other", 'build/server');
isnt(slurp_file('build/server'), $before, 'and not up to date for another');
make('PG_CONFIG=pg_config', 'build/server');
is(slurp_file('build/server'), $before, 'nor afterwards for the first');

# bench/quickstart, interrupted while it builds, and cleaned.
my $home = "$scratch/fixed/home";
mkdir "$scratch/fixed" or die $!;
my $interrupt = programs('interrupt', make => 'kill -INT 0');
{
	local $ENV{PIRAMID_HOME} = $home;
	my $path = "$interrupt:$ENV{PATH}";

	($status, $output) = run($path, 'bench/quickstart');
	is($status, 130, 'quickstart, interrupted');
	like($output, qr/interrupted\n"bench\/quickstart" goes on where this run has stopped/, 'says what comes next');
	unlike($output, qr/failed/, 'and not that something failed');
	ok(-e "$home/.piramid-quickstart", 'what it has made is there');
	chmod 0555, "$scratch/fixed";
	($status, $output) = run($path, 'bench/quickstart', 'clean');
	is($status, 0, 'clean, where the directory itself must stay');
	like($output, qr/emptied \S+home, which cannot be removed/, 'says so');
	is_deeply([ glob("$home/* $home/.p*") ], [], 'and leaves nothing in it');
	chmod 0755, "$scratch/fixed";
	($status, $output) = run($path, 'bench/quickstart', 'clean');
	like($output, qr/nothing of bench\/quickstart/, 'clean again');
}

# bench/quickstart from beginning to end, where what it would build is there.
my ($installed) = slurp_file($ENV{TEMP_CONFIG}) =~ m{'(\S+?)/usr/\S+:\$libdir'};
SKIP:
{
	skip 'piramid is installed in the system', 1 unless $installed;
	my $ready = programs('ready', make => qq{for a; do case \$a in DESTDIR=*) mkdir -p "\${a#DESTDIR=}"; cp -a $installed/. "\${a#DESTDIR=}";; esac; done});
	my $path = "$ready:$ENV{PATH}";
	my $home = PostgreSQL::Test::Utils::tempdir_short . '/q';
	local $ENV{PIRAMID_HOME} = $home;
	my $sql = sub {
		my ($database, $text) = @_;
		my ($status, $output) = run($path, 'psql', '-XAtq', '-h', $home, '-U', 'postgres', '-d', $database, '-c', $text);
		chomp $output;
		return $output;
	};
	my $runs = sub { return -e "$home/data/postmaster.pid" ? 1 : 0 };
	# Start it, and interrupt it once it builds the index.
	my $interrupt = sub {
		my $output = '';
		local $ENV{PATH} = $path;
		my $run = IPC::Run::start([ 'bench/quickstart' ], '<', \'', '>&', \$output, init => \&session);
		# psql fails until the server runs.
		wait_until(
			sub {
				$run->pump_nb;
				return $sql->('wordnet', q{SELECT pid FROM pg_stat_activity
					WHERE application_name = 'quickstart' AND state = 'active' AND query LIKE 'CREATE INDEX%'}) =~ /^\d+$/;
			},
			'quickstart to build the index');
		kill 'INT', -$run->{KIDS}[0]{PID};
		$run->finish;
		return ($run->full_result(0) >> 8, $output);
	};

	($status, $output) = run($path, 'bench/quickstart');
	is($status, 0, 'quickstart') or diag($output);
	like($output, qr/recall\@10 of the index over 100 searches: (1\.000|0\.9\d\d)\n/, 'it measures');
	is($sql->('wordnet', 'SELECT count(*) FROM synset'), 4106, 'it has loaded the rows');
	$sql->('postgres', 'DROP DATABASE wordnet');
	$sql->('postgres', 'CREATE DATABASE wordnet');
	$sql->('wordnet', "CREATE EXTENSION piramid VERSION '0.1.0'");
	($status, $output) = run($path, 'bench/quickstart');
	is($status, 0, 'quickstart with a database of an older version');
	my ($version) = slurp_file('piramid.control') =~ /^default_version = '(.*)'$/m;
	is($sql->('wordnet', q{SELECT extversion FROM pg_extension WHERE extname = 'piramid'}), $version, 'which it brings up to date');
	is(join("\n", grep { !/$not_found/ } split /\n/, $sql->('wordnet', $check_all)), '', 'and its index is sound');

	$sql->('wordnet', q{DROP INDEX synset_embedding_idx});
	$sql->('wordnet', q{CREATE FUNCTION hang() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN LOOP END LOOP; END'});
	$sql->('wordnet', q{CREATE EVENT TRIGGER hang ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION hang()});
	($status, $output) = $interrupt->();
	is($status, 130, 'interrupted while it builds the index, in a server that ran before');
	like($output, qr/interrupted\n.*"bench/s, 'it says so');
	is($runs->(), 1, 'the server goes on');
	is($sql->('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'quickstart'}), 0, 'the build does not');
	run($path, 'bench/quickstart', 'stop');
	is($runs->(), 0, 'stop');
	($status, $output) = $interrupt->();
	is($status, 130, 'interrupted in a server that it has started');
	like($output, qr/the private server has been stopped/, 'it says so');
	is($runs->(), 0, 'and it has');
	($status, $output) = run($path, 'bench/quickstart', 'clean');
	ok(!-e $home, 'clean');
}

done_testing();
