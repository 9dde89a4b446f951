# A streaming standby returns exactly what its primary returns, and replayed
# pages are equal to the primary's, byte for byte.
#
# By version: WAL and replay.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $primary = piramid_node(
	'primary',
	init => [ allows_streaming => 1 ],
	# Replay compares every page with the primary's, and stops if they differ.
	conf => "wal_consistency_checking = 'all'\nwal_keep_size = '1GB'\nautovacuum = off");
load_slices($primary);
$primary->safe_psql(
	'postgres', q{
	CREATE TABLE t AS SELECT * FROM slices WHERE id < 3000;
	CREATE INDEX t_idx ON t USING hnsw (v vector_l2_ops);
});

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# The same answers, rows and distances, on both.
my $answers = q{
	SELECT q.id, x.id, x.distance FROM queries q, LATERAL
		test.nearest('%s', '%s', q.v, 20, true) AS x WHERE q.id <= 6000};

sub same_answers
{
	my ($table, $op, $name) = @_;
	my $query = sprintf($answers, $table, $op);

	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	my $expected = $primary->safe_psql('postgres', $query);
	ok($expected eq $standby->safe_psql('postgres', $query), $name);
	isnt($expected, '', "$name: there are some");
}

same_answers('t', '<->', 'the base backup');

$primary->safe_psql('postgres', 'INSERT INTO t SELECT * FROM slices WHERE id BETWEEN 3000 AND 4500');
same_answers('t', '<->', 'inserts');

$primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 4 = 1');
same_answers('t', '<->', 'deletes');

$primary->safe_psql('postgres', 'VACUUM t');
same_answers('t', '<->', 'vacuum');

$primary->safe_psql('postgres',
	'INSERT INTO t SELECT * FROM slices WHERE id % 4 = 1 AND id < 4500; UPDATE t SET id = -id WHERE id % 10 = 0');
same_answers('t', '<->', 'inserts into freed places, updates');

$primary->safe_psql('postgres',
	'CREATE TABLE late AS SELECT id, v FROM words; CREATE INDEX ON late USING hnsw (v vector_cosine_ops)');
$primary->safe_psql('postgres', 'INSERT INTO queries SELECT id, v FROM queries WHERE false');
$answers =~ s/q\.id <= 6000/q.id <= 100/;
$answers =~ s/queries q/late q/;
same_answers('late', '<=>', 'an index built after the backup');

$primary->safe_psql('postgres', 'REINDEX TABLE late');
same_answers('late', '<=>', 'REINDEX');

$primary->safe_psql('postgres', 'DELETE FROM late; VACUUM late');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($standby->safe_psql('postgres', "SELECT test.reachable('late', '<=>')"),
	0, 'everything deleted: nothing on the standby');

# The standby becomes a primary and goes on.
check_and_stop($primary);
$standby->promote;
$standby->safe_psql('postgres', 'INSERT INTO t SELECT * FROM slices WHERE id BETWEEN 4501 AND 6000');
is_consistent($standby, 't', 'inserts after promotion');
$standby->safe_psql('postgres', 'DELETE FROM t WHERE id % 5 = 2; VACUUM t');
is_consistent($standby, 't', 'vacuum after promotion');

check_and_stop($standby);
done_testing();
