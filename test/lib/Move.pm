# Move.pm: what the tests of moving from pgvector and back share: a database
# such as its users have, servers with the compatibility extension, and the
# commands of docs/migrate-from-pgvector.md.

package Move;

use strict;
use warnings;

use Cwd qw(abs_path getcwd);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

our @EXPORT = qw(
  pgvector_version without_extension create_shop contents index_definitions answers_well
  follow compat_directory compat_conf members
);

my $source = abs_path(dirname(__FILE__) . '/../..');

# The version of pgvector that this server has, or nothing if it has none, or
# one without halfvec and sparsevec.
sub pgvector_version
{
	my ($node) = @_;
	my $version = $node->safe_psql('postgres',
		"SELECT default_version FROM pg_available_extensions WHERE name = 'vector'");
	return $version =~ /^0\.(\d+)\./ && $1 >= 7 ? $version : undef;
}

# A running server, with nothing in its databases.
sub without_extension
{
	my ($name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', 'jit = off');
	$node->append_conf('postgresql.conf', $conf) if $conf;
	$node->start;
	return $node;
}

# A database with all types and index kinds, and what can depend on them.
sub create_shop
{
	my ($node, $database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION vector WITH SCHEMA public');
	load_words($node, $database);
	$node->safe_psql(
		$database, q{
		-- pgvector builds each index of them several times
		DELETE FROM words WHERE id > 2000;
		ALTER TABLE words ADD h halfvec(384), ADD s sparsevec(384), ADD b bit(384);
		UPDATE words SET h = v::halfvec, s = v::sparsevec, b = binary_quantize(v)::bit(384);
		VACUUM ANALYZE words;
		CREATE INDEX by_cosine ON words USING hnsw (v vector_cosine_ops) WITH (m = 20, ef_construction = 100);
		CREATE INDEX by_l2 ON words USING hnsw (v vector_l2_ops);
		CREATE INDEX by_lists ON words USING ivfflat (v vector_ip_ops) WITH (lists = 20);
		CREATE INDEX by_half ON words USING hnsw (h halfvec_l2_ops);
		CREATE INDEX by_half_lists ON words USING ivfflat (h halfvec_cosine_ops) WITH (lists = 20);
		CREATE INDEX by_sparse ON words USING hnsw (s sparsevec_cosine_ops);
		CREATE INDEX by_bits ON words USING hnsw (b bit_hamming_ops);
		CREATE INDEX by_part ON words USING hnsw ((subvector(v, 1, 100)::vector(100)) vector_l2_ops) WHERE id < 1000;
		CREATE INDEX by_value ON words (v);
		COMMENT ON INDEX by_cosine IS 'the one that everybody uses';
		CREATE TABLE parts (id int, v vector(3) DEFAULT '[1,2,3]', norm float8 GENERATED ALWAYS AS (vector_norm(v)) STORED,
			CHECK (vector_dims(v) = 3)) PARTITION BY RANGE (id);
		CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
		CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
		CREATE INDEX parts_v ON parts USING hnsw (v vector_l2_ops);
		INSERT INTO parts SELECT i, ARRAY[i, i % 7, 1]::vector FROM generate_series(1, 199) AS i;
		CREATE VIEW far AS SELECT id, v <=> '[1,0,0]' AS distance FROM parts WHERE v <-> '[1,2,3]' > 10;
		CREATE FUNCTION nearest(q vector) RETURNS int LANGUAGE sql STABLE AS
			'SELECT id FROM words ORDER BY v <=> q LIMIT 1';
		CREATE MATERIALIZED VIEW first AS SELECT id, v FROM words WHERE id <= 500;
		CREATE INDEX first_v ON first USING hnsw (v vector_l2_ops);
	});
}

# All rows, as text.
sub contents
{
	my ($node, $database) = @_;
	return $node->safe_psql(
		$database, q{
		SELECT count(*), md5(string_agg(words::text, ' ' ORDER BY id)) FROM words
		UNION ALL SELECT count(*), md5(string_agg(parts::text, ' ' ORDER BY id)) FROM parts
		UNION ALL SELECT count(*), md5(string_agg(far::text, ' ' ORDER BY id)) FROM far
		UNION ALL SELECT count(*), md5(string_agg(first::text, ' ' ORDER BY id)) FROM first});
}

sub index_definitions
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, q{
		SELECT indexdef, obj_description(indexname::regclass, 'pg_class') FROM pg_indexes
		WHERE schemaname = 'public' ORDER BY indexdef});
}

# Every index is used, and finds nearly all that an exact search finds.
sub answers_well
{
	my ($node, $database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %search = (
		by_cosine => 'v <=>', by_l2 => 'v <->', by_lists => 'v <#>', by_half => 'h <->',
		by_half_lists => 'h <=>', by_sparse => 's <=>', by_bits => 'b <~>');

	foreach my $index (sort keys %search)
	{
		my ($column, $op) = split / /, $search{$index};
		my $query = "SELECT id FROM words ORDER BY $column $op (SELECT $column FROM words WHERE id = 1) LIMIT 10";
		# pgvector's ivfflat searches few lists by default.
		my $set = "SET hnsw.ef_search = 100; SET ivfflat.probes = 10;";

		like($node->safe_psql($database, "SET enable_sort = off; EXPLAIN $query"),
			qr/Index Scan using $index /, "$name: $index is used");
		at_least($node->safe_psql(
				$database, qq{
			CREATE TEMP TABLE wrong (n int);
			$set
			DO \$\$
			DECLARE
				q record;
				worst float8;
				found int;
			BEGIN
				FOR q IN SELECT $column AS x FROM words WHERE id % 100 = 3 LOOP
					SET LOCAL enable_indexscan = off;
					SET LOCAL enable_sort = on;
					SELECT max(d) INTO worst FROM (SELECT ($column $op q.x) AS d FROM words ORDER BY $column $op q.x LIMIT 10) AS t;
					SET LOCAL enable_indexscan = on;
					SET LOCAL enable_sort = off;
					SELECT count(*) INTO found FROM (SELECT ($column $op q.x) AS d FROM words ORDER BY $column $op q.x LIMIT 10) AS t
					WHERE d <= worst + 1e-6 * abs(worst);
					INSERT INTO wrong VALUES (found);
				END LOOP;
			END \$\$;
			SELECT round(avg(n) / 10, 4) FROM wrong}),
			0.97, "$name: recall of $index");
	}
	is($node->safe_psql($database, 'SELECT nearest(v) FROM words WHERE id = 77'), 77, "$name: a function that searches");
	is($node->safe_psql($database,
			"SET enable_seqscan = off; SELECT id FROM parts ORDER BY v <-> '[150,3,1]' LIMIT 1"),
		150, "$name: partitions");
}

# Run one of the command blocks of the documentation, as it stands there.
# Returns whether it succeeded, and what it printed.
sub follow
{
	my ($block, %environment) = @_;
	my $text = slurp_file("$source/docs/migrate-from-pgvector.md");
	my $output = '';

	$text =~ /^```sh \Q$block\E\n(.*?)^```$/ms or die "the documentation has no commands \"$block\"";
	my $commands = $1;
	my $old = getcwd();
	chdir($environment{directory} // $source) or die $!;
	local @ENV{ keys %environment } = values %environment;
	my $ok = IPC::Run::run([ 'bash', '-e', '-o', 'pipefail', '-c', $commands ], '<', \'', '>&', \$output);
	chdir($old);
	note($output) unless $ok;
	return ($ok, $output);
}

# compat_directory NODE: a copy of the files in which the server finds
# piramid, as a DESTDIR to install into.  Nothing where piramid is installed
# in the system.
sub compat_directory
{
	my ($node) = @_;
	my $share = $node->config_data('--sharedir');
	my $path = $node->safe_psql('postgres',
		"SELECT concat(current_setting('extension_destdir', true), current_setting('extension_control_path', true))");
	$path =~ s/:.*//;
	$path =~ s/\Q$share\E$//;
	return undef unless $path =~ m{^/} && -e "$path$share/extension/piramid.control";

	my $directory = PostgreSQL::Test::Utils::tempdir;
	my $library = $node->config_data('--pkglibdir');
	make_path("$directory$share/extension", "$directory$library");
	system_or_bail('cp', '-a', "$path$share/extension/.", "$directory$share/extension/");
	system_or_bail('cp', '-a', "$path$library/.", "$directory$library/");
	return ($directory, "$directory$share/extension");
}

# Settings with which a server finds extensions there.
sub compat_conf
{
	my ($node, $directory) = @_;
	my $share = $node->config_data('--sharedir');
	my $library = $node->config_data('--pkglibdir');
	return ($node->safe_psql('postgres',
			"SELECT count(*) FROM pg_settings WHERE name = 'extension_control_path'")
		? "extension_control_path = '$directory$share:\$system'\n"
		: "extension_destdir = '$directory'\n")
	  . "dynamic_library_path = '$directory$library:\$libdir'\n";
}

# What an extension is made of, with all that depends on each other in it.
sub members
{
	my ($node, $database) = @_;
	return $node->safe_psql(
		$database, q{
		CREATE TEMP VIEW member AS SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e
			ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
			WHERE extname IN ('vector', 'piramid');
		SELECT pg_describe_object(classid, objid, 0), prosrc, probin, amhandler, opcdefault,
			obj_description(objid, classid::regclass::name)
		FROM member LEFT JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
			LEFT JOIN pg_am a ON classid = 'pg_am'::regclass AND a.oid = objid
			LEFT JOIN pg_opclass c ON classid = 'pg_opclass'::regclass AND c.oid = objid
		ORDER BY 1;
		SELECT pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, 0), d.deptype
		FROM pg_depend d JOIN member m ON d.refclassid = m.classid AND d.refobjid = m.objid
		WHERE (d.classid, d.objid) IN (TABLE member)
			OR d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass, 'pg_extension'::regclass)
		ORDER BY 1, 2, 3;
		SELECT extname, nspname, extrelocatable, obj_description(e.oid, 'pg_extension')
		FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname IN ('vector', 'piramid')});
}

1;
