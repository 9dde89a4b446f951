# Writers, readers and maintenance at the same time, over all kinds of indexes.  Each
# writer looks for its own row after each of its commits, by its known vector; readers
# look for rows that must be visible, also in snapshots that they keep; others vacuum,
# reindex, check and repair.  Of the kind with filter columns others change these, or
# search by conditions on them.  At the end recall is that of a fresh build.
#
# PIRAMID_STRESS_SECONDS says for how long (5), PIRAMID_STRESS_KINDS of which kinds
# (test/lib/Kinds.pm), PIRAMID_STRESS_FILTERS how many change filter columns and how many
# search by them (1).

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Kinds;

my $seconds = $ENV{PIRAMID_STRESS_SECONDS} || 5;
my @kinds = split /,/, $ENV{PIRAMID_STRESS_KINDS} // 'bits,compact,cosine,impacts,ip,keys,l2,sparse,wide,words';
my $filters = (grep { $_ eq 'keys' } @kinds) ? $ENV{PIRAMID_STRESS_FILTERS} // 1 : 0;
my $node = piramid_node('stress', conf => "autovacuum = on\nautovacuum_naptime = '1s'\ndeadlock_timeout = '100ms'\nlog_error_verbosity = verbose");

create_kinds($node, 500, @kinds);
my $names = join ',', map { "('$_', '$kind{$_}{op}', (SELECT max(id) FROM $_))" } @kinds;
$node->safe_psql(
	'postgres', qq{
	CREATE TABLE kinds (name text, op text, kept bigint);
	INSERT INTO kinds VALUES $names;
	CREATE TABLE until AS SELECT clock_timestamp() + interval '$seconds s' AS t;
	CREATE SEQUENCE numbers START 2000000;
	CREATE SEQUENCE looked;
	} . join('', map { "CREATE SEQUENCE loops_$_ MINVALUE 0 START 0;\n" } 0 .. 6 + 2 * $filters) . qq{
	-- Time is over when each client has got through its loop once, however slow the machine is;
	-- one that never does is not waited for without end.
	CREATE FUNCTION over() RETURNS bool LANGUAGE sql AS '
		SELECT clock_timestamp() > t AND (clock_timestamp() > t + interval ''$PostgreSQL::Test::Utils::timeout_default s''
			OR (SELECT bool_and(is_called) FROM (} . join(' UNION ALL ', map { "SELECT is_called FROM loops_$_" } 0 .. 6 + 2 * $filters) . q{) AS x)) FROM until';

	-- Is the row (id) among the nearest of number n?
	CREATE FUNCTION found(kind kinds, id bigint, n bigint) RETURNS bool LANGUAGE plpgsql AS $$
	DECLARE
		ids bigint[];
	BEGIN
		EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM %I ORDER BY v %2$s own_%1$s(%3$s) LIMIT 5) AS x',
			kind.name, kind.op, n) INTO ids;
		PERFORM nextval('looked');
		RETURN coalesce(id = ANY (ids), false);
	END $$;

	-- A writer's life.  Its numbers are nobody else's, so each row is the only nearest of its own.
	CREATE PROCEDURE writes(client int) LANGUAGE plpgsql AS $$
	DECLARE
		kind kinds;
		first bigint;
		second bigint;
		my bigint;
	BEGIN
		WHILE NOT over() LOOP
			SELECT * INTO kind FROM kinds ORDER BY random() LIMIT 1;
			first := nextval('numbers');
			second := nextval('numbers');
			EXECUTE format('INSERT INTO %I (n, v, a, b) SELECT $1, make_%1$s($1), 0, $2 RETURNING id', kind.name)
				INTO my USING first, 'b' || first % 3;
			COMMIT;
			IF NOT found(kind, my, first) THEN
				RAISE WARNING 'lost after its insert: % % of number %', kind.name, my, first;
			END IF;
			EXECUTE format('UPDATE %I SET a = a + 1 WHERE id = $1', kind.name) USING my;
			COMMIT;
			IF NOT found(kind, my, first) THEN
				RAISE WARNING 'lost after an update of its key: % % of number %', kind.name, my, first;
			END IF;
			EXECUTE format('UPDATE %I SET n = $2, v = make_%1$s($2) WHERE id = $1', kind.name) USING my, second;
			COMMIT;
			IF NOT found(kind, my, second) THEN
				RAISE WARNING 'lost after an update of its vector: % % of number %', kind.name, my, second;
			END IF;
			IF random() < 0.7 THEN
				EXECUTE format('DELETE FROM %I WHERE id = $1', kind.name) USING my;
				COMMIT;
				IF found(kind, my, second) THEN
					RAISE WARNING 'returned after its delete: % %', kind.name, my;
				END IF;
			ELSIF random() < 0.3 THEN
				EXECUTE format('INSERT INTO %I (n, v, a, b) SELECT -1, make_%1$s($1), -1, NULL', kind.name) USING first;
				ROLLBACK;
			END IF;
			PERFORM nextval('loops_' || client);
		END LOOP;
	END $$;

	-- Rows that are there from first to last; now and then all rows of a snapshot, twice.
	CREATE PROCEDURE reads(client int) LANGUAGE plpgsql AS $$
	DECLARE
		kind kinds;
		my record;
		rows bigint[];
		again bigint[];
	BEGIN
		WHILE NOT over() LOOP
			SELECT * INTO kind FROM kinds ORDER BY random() LIMIT 1;
			FOR i IN 1 .. 20 LOOP
				EXECUTE format('SELECT id, n FROM %I WHERE id = $1', kind.name)
					INTO my USING 1 + floor(random() * kind.kept)::bigint;
				-- Rows of number 7 are many.
				IF my.n <> 7 AND NOT found(kind, my.id, my.n) THEN
					RAISE WARNING 'lost: % % of number %', kind.name, my.id, my.n;
				END IF;
			END LOOP;
			COMMIT;
			IF current_setting('transaction_isolation') <> 'read committed' THEN
				FOR i IN 1 .. 2 LOOP
					EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM %I ORDER BY v %s %s LIMIT 1000000) AS x',
						kind.name, kind.op, CASE WHEN kind.name = 'words' THEN '''w1 w2 w3''' ELSE format('make_%I(3)', kind.name) END) INTO again;
					EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM %I OFFSET 0) AS x', kind.name) INTO rows;
					IF again IS DISTINCT FROM rows THEN
						RAISE WARNING 'rows of a snapshot: % of %, index %', cardinality(rows), kind.name, cardinality(again);
					END IF;
				END LOOP;
				COMMIT;
			END IF;
			PERFORM nextval('loops_' || client);
		END LOOP;
	END $$;

	-- Filter columns of rows that stay
	CREATE PROCEDURE changes(client int) LANGUAGE plpgsql AS $$
	DECLARE
		most bigint := (SELECT kept FROM kinds WHERE name = 'keys');
		my bigint;
	BEGIN
		WHILE NOT over() LOOP
			my := 1 + floor(random() * most);
			UPDATE keys SET a = floor(random() * 10), b = nullif('b' || floor(random() * 4), 'b3') WHERE id = my;
			IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
			PERFORM nextval('loops_' || client);
		END LOOP;
	END $$;

	-- The nearest ten, or all rows, that meet a condition, by the index and by the table.
	CREATE PROCEDURE filters(client int) LANGUAGE plpgsql AS $$
	DECLARE
		condition text;
		most int;
		sound bool;
		rows bigint[];
		wanted bigint[];
	BEGIN
		WHILE NOT over() LOOP
			condition := (ARRAY['a = 3', 'a BETWEEN 2 AND 5', 'a IN (1, 7)', 'b = ''b1''', 'b IS NULL', 'a >= 4 AND b = ''b2''', 'a < 0'])[1 + floor(random() * 7)];
			most := CASE WHEN random() < 0.7 THEN 10 ELSE 1000000 END;
			EXECUTE format('SELECT array_agg(id), bool_and(met AND (before <= d) IS NOT FALSE) FROM (
					SELECT *, lag(d) OVER () AS before FROM (SELECT id, v <-> $1 AS d, %1$s AS met FROM keys WHERE %1$s ORDER BY v <-> $1 LIMIT $2) AS x) AS y', condition)
				INTO rows, sound USING make_keys(4000000 + floor(random() * 1000)::bigint), most;
			EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM keys WHERE %s OFFSET 0) AS x', condition) INTO wanted;
			PERFORM nextval('looked');
			IF NOT sound OR NOT rows <@ wanted OR (SELECT count(r) <> count(DISTINCT r) FROM unnest(rows) AS r) THEN
				RAISE WARNING 'out of order, twice or of others: %, LIMIT %', condition, most;
			END IF;
			IF coalesce(cardinality(rows), 0) <> least(most, coalesce(cardinality(wanted), 0)) THEN
				RAISE WARNING 'by a condition: %, LIMIT %: % of %', condition, most, cardinality(rows), cardinality(wanted);
			END IF;
			COMMIT;
			PERFORM nextval('loops_' || client);
		END LOOP;
	END $$;
});

# A client that calls a procedure, again after each deadlock or serialization failure.
my @output = ('') x (7 + 2 * $filters);
my @does;
sub client
{
	my ($number, $isolation, $procedure) = @_;

	$does[$number] = "$procedure, $isolation";
	return start_sql($node, "\\set ON_ERROR_STOP 0\n\\set VERBOSITY verbose\nSET default_transaction_isolation = '$isolation'; SET enable_seqscan = off; SET enable_sort = off; SET bm25.unmatched = on; SET hnsw.ef_search = 100;\n"
		  . "CALL $procedure($number);\n" x 2000, \$output[$number]);
}

# Maintenance, until time is over
sub maintenance
{
	my ($number) = @_;
	my $script = "\\set ON_ERROR_STOP 0\n\\set VERBOSITY verbose\nSET client_min_messages = error;\n";

	foreach my $i (1 .. 20 * $seconds)
	{
		my $name = any(@kinds);
		my $sql = any(
			"VACUUM (INDEX_CLEANUP on) $name", "VACUUM (INDEX_CLEANUP on) $name", "VACUUM (INDEX_CLEANUP on) $name",
			"REINDEX INDEX CONCURRENTLY ${name}_idx", 'CHECKPOINT',
			create_index($name, "${name}_b0", $name, 'CONCURRENTLY') . "; DROP INDEX CONCURRENTLY ${name}_b0",
			"SELECT 'found: ' || f FROM piramid_check('${name}_idx', true) AS f WHERE severity = 'error'",
			is_bm25($name) ? "SELECT piramid_bm25_merge('${name}_idx')" : "SELECT piramid_repair('${name}_idx')");
		$script .= "SELECT over() AS over \\gset\n\\if :over\n\\q\n\\endif\n$sql;\nSELECT nextval('loops_$number') AS n \\gset\n";
	}
	$does[$number] = 'maintenance';
	return start_sql($node, $script, \$output[$number]);
}

srand(1);
my @clients = (
	client(0, 'read committed', 'writes'),
	client(1, 'repeatable read', 'writes'),
	client(2, 'serializable', 'writes'),
	client(3, 'read committed', 'reads'),
	client(4, 'repeatable read', 'reads'),
	maintenance(5), maintenance(6),
	map { (client(5 + 2 * $_, 'read committed', 'changes'), client(6 + 2 * $_, 'repeatable read', 'filters')) } 1 .. $filters);
$_->finish foreach @clients;

my @errors = grep { !/^(40P01|40001|42P07|42704|42P01|55000|55006)|could not open relation with OID/ } join('', @output) =~ /(?:ERROR|FATAL|PANIC):  (.*)/g;
is(join("\n", @errors), '', 'no error but deadlocks and what others have changed');
is(join("\n", grep { /WARNING|^found: / } map { split /\n/ } @output), '', 'each row is found');
note($node->safe_psql('postgres', 'SELECT last_value FROM looked') . ' searches');
# A client that ends at once, or never gets on, would find nothing wrong.
at_least($node->safe_psql('postgres', "SELECT last_value + is_called::int FROM loops_$_"), 1 + int($seconds / 60), "loops of client $_ ($does[$_])") foreach 0 .. $#does;

drop_leftovers($node);
foreach my $name (@kinds)
{
	note($_) foreach split /\n/, $node->safe_psql('postgres', "SELECT f FROM piramid_check('${name}_idx', true) AS f");
	is(wrong_answers($node, $name), '', "$name: index and table agree");
	next if is_bm25($name);
	$node->safe_psql('postgres', "CREATE TABLE queries AS SELECT id, v FROM (SELECT n AS id, make_$name(3000000 + n) AS v FROM generate_series(1, 60) AS n) AS x");
	my $recall = sub { return $node->safe_psql('postgres', "SET client_min_messages = error; SELECT test.recall('$name', '$kind{$name}{op}', 'queries')") };
	my $before = $recall->();
	$node->safe_psql('postgres', "REINDEX INDEX ${name}_idx");
	at_least($before, $recall->() - 0.005, "$name: recall beside a fresh build");
	$node->safe_psql('postgres', 'DROP TABLE queries');
}
check_and_stop($node);
done_testing();
