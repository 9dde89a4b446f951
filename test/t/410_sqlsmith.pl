# sqlsmith, a generator of random SQL, on tables with indexes of all kinds, as an ordinary user:
# no crash, no error of ours that says "internal", no damage.  Skipped where it is not installed
# (apt-get install sqlsmith).
#
# PIRAMID_SQLSMITH_SECONDS says for how long (150 statements), PIRAMID_SEED with which the random numbers begin.

use strict;
use warnings;

use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Kinds;
use Piramid;

plan skip_all => 'sqlsmith is not installed' if system('sqlsmith --version >/dev/null 2>&1');

my $seconds = $ENV{PIRAMID_SQLSMITH_SECONDS} || 0;
my $seed = $ENV{PIRAMID_SEED} || 1;
my $node = piramid_node('sqlsmith', conf => q{
	restart_after_crash = on
	log_error_verbosity = verbose
	log_line_prefix = '%p '
	temp_file_limit = '100MB'
	work_mem = '1MB'});
my @kinds = sort keys %kind;

create_kinds($node, 60, @kinds);
# A role that owns the tables, and may call what is ours.
$node->safe_psql('postgres', join ";\n", 'CREATE ROLE smith LOGIN', "ALTER ROLE smith SET statement_timeout = '10s'", 'GRANT ALL ON SCHEMA public TO smith',
	'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO smith',
	map { ("ALTER TABLE $_ OWNER TO smith") } @kinds);

# Some statements in any case, as it reads the whole catalog first, and then until time is over.
my $end = time + $seconds;
for (my $run = 0; !$run || time < $end; $run++, $seed++)
{
	my $left = $run ? 'timeout --signal=KILL ' . max(1, $end - time) . 's' : '';
	my $queries = $run ? '' : '--max-queries=150';

	# It ends by itself when it has lost its server.
	system("$left sqlsmith --exclude-catalog $queries --seed=$seed --target='" . $node->connstr('postgres') . " user=smith' >/dev/null 2>&1");
	wait_for_server($node);
}

# What the server has said of our own code: a message is followed by the place in the source.
my %ours = map { s{.*/}{}r => 1 } glob('src/*.[ch] src/*/*.[ch]');
my ($errors, @bad) = (0);
my %said;
foreach my $line (split /\n/, slurp_file($node->logfile))
{
	if ($line =~ /^(\d+) (?:ERROR|FATAL|PANIC):  (\w{5}): (.*)/)
	{
		$errors++;
		$said{$1} = "$2: $3";
		push @bad, $said{$1} if $2 =~ /^XX00[12]/;
	}
	elsif ($line =~ /^(\d+) LOCATION:  (\w+), (\w+\.[ch]):\d+/ && ($said{$1} // '') =~ /^XX000/)
	{
		if ($ours{$3}) { push @bad, "$said{$1} ($2, $3)" }
		else { note("PostgreSQL's own: $said{$1} ($2, $3)") }
	}
}
is(join("\n", @bad), '', 'no internal error of ours');
unlike(slurp_file($node->logfile), qr/TRAP: |was terminated by signal|PANIC: /, 'no crash');
at_least($errors, 20, 'errors, so it has run');
check_and_stop($node);
done_testing();
