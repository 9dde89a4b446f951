# Unlogged tables: empty and working after a crash, because the init fork is
# right and in WAL itself; whole after a clean restart.
#
# By version: WAL, init forks and recovery.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('unlogged', init => [ allows_streaming => 1 ]);
load_words($node);
my $fill = 'INSERT INTO u SELECT id, v FROM words WHERE id <= 1000';

$node->safe_psql('postgres', "CHECKPOINT; CREATE UNLOGGED TABLE u (id int, v vector(384));
	CREATE INDEX u_idx ON u USING hnsw (v vector_l2_ops)");
my $fork = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('u_idx')") . '_init';
ok(-s $fork, 'there is an init fork');

# No checkpoint since: the init fork has to come from WAL.
$node->safe_psql('postgres', $fill);
is_consistent($node, 'u', 'filled');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM u'), 0, 'empty after a crash');
is($node->safe_psql('postgres', "SELECT test.reachable('u')"), 0, 'and so is the index');
$node->safe_psql('postgres', $fill);
is_consistent($node, 'u', 'filled again after a crash');

$node->safe_psql('postgres', 'DELETE FROM u WHERE id % 2 = 0; VACUUM u');
$node->restart;
is($node->safe_psql('postgres', 'SELECT count(*) FROM u'), 500, 'kept by a clean restart');
is_consistent($node, 'u', 'after a clean restart');

# Built over rows, not filled by inserts.
$node->safe_psql('postgres', 'REINDEX INDEX u_idx');
is_consistent($node, 'u', 'REINDEX');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "SELECT test.reachable('u')"), 0, 'empty after a crash after REINDEX');

# To and from logged.
$node->safe_psql('postgres', "$fill; ALTER TABLE u SET LOGGED");
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM u'), 1000, 'logged: kept by a crash');
is_consistent($node, 'u', 'logged, after a crash');
$node->safe_psql('postgres', 'ALTER TABLE u SET UNLOGGED');
is_consistent($node, 'u', 'unlogged again');

# A standby has nothing but the init fork, and works once promoted.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('unlogged_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
check_and_stop($node);
$standby->promote;
is($standby->safe_psql('postgres', "SELECT test.reachable('u')"), 0, 'empty on a promoted standby');
$standby->safe_psql('postgres', $fill);
is_consistent($standby, 'u', 'filled on a promoted standby');

# Temporary tables come and go with the session.
is( $standby->safe_psql(
		'postgres', q{
		CREATE TEMP TABLE temporary (id int, v vector(384));
		CREATE INDEX ON temporary USING hnsw (v vector_l2_ops);
		INSERT INTO temporary SELECT id, v FROM words WHERE id <= 500;
		SELECT test.reachable('temporary');
		TRUNCATE temporary;
		SELECT test.reachable('temporary');
	}), "500\n0", 'temporary table');

check_and_stop($standby);
done_testing();
