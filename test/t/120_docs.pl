# The documentation tells what there is: its tables are those that the catalog
# gives, every object is named, and every ```sql block runs and returns what the
# "-->" lines after a statement say.

use strict;
use warnings;

use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('docs', conf => 'autovacuum = off');

# The tables, written again into copies, stay what they are.
my $copies = PostgreSQL::Test::Utils::tempdir();
my @files = glob 'docs/*.md';
copy($_, $copies) foreach @files;
$node->command_ok([ 'docs/generate', $copies, '-d', $node->connstr('postgres') ], 'docs/generate runs');
foreach my $file (@files)
{
	my ($name) = $file =~ m{([^/]+)$};
	ok(slurp_file("$copies/$name") eq slurp_file($file), "$file: tables are up to date")
	  or diag("run: docs/generate docs -d DATABASE\n", `diff $file $copies/$name`);
}

# Whatever a user can name is named.
my $text = slurp_file('docs/types.md') . slurp_file('docs/operators.md');
$text =~ s/\\\|/|/g;
my @names = split /\n/, $node->safe_psql(
	'postgres', q{
	SELECT DISTINCT name FROM pg_depend AS d, LATERAL (
		SELECT proname FROM pg_proc WHERE classid = 'pg_proc'::regclass AND oid = objid
		UNION ALL SELECT typname FROM pg_type WHERE classid = 'pg_type'::regclass AND oid = objid AND typcategory <> 'A'
		UNION ALL SELECT oprname FROM pg_operator WHERE classid = 'pg_operator'::regclass AND oid = objid
		UNION ALL SELECT opcname FROM pg_opclass WHERE classid = 'pg_opclass'::regclass AND oid = objid
		UNION ALL SELECT amname FROM pg_am WHERE classid = 'pg_am'::regclass AND oid = objid) AS n(name)
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'piramid')
	ORDER BY name});
my @unnamed = grep { $text !~ /`(T )?\Q$_\E( T|\(.*?\))?`/ } @names;
cmp_ok(scalar(@names), '>', 30, 'the extension has objects');
is("@unnamed", '', 'every function, type, operator, operator class and access method is documented');

my @columns = split /\n/, $node->safe_psql('postgres', q{
	SELECT unnest(proargnames[2:]) FROM pg_proc WHERE proname = 'piramid_hnsw_info'});
@unnamed = grep { $text !~ /^\|.*`$_`.*\|.*\|$/m } @columns;
cmp_ok(scalar(@columns), '>', 10, 'piramid_hnsw_info has columns');
is("@unnamed", '', 'all of which are documented');

# Everything that has a comment, and users call, says what it is.
is( $node->safe_psql(
		'postgres', q{
		SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'piramid')
			AND classid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_am'::regclass)
			AND obj_description(objid, classid::regclass::name) IS NULL ORDER BY 1}),
	'', 'every object has a comment');

# The examples, file by file in an empty database.
foreach my $file (qw(
	README.md
	docs/types.md
	docs/operators.md
	docs/filtering.md
	docs/results.md
	docs/recall.md
	docs/chunking.md
	docs/fulltext.md
	docs/sparse.md
	docs/hybrid.md
	docs/collections.md
	docs/embedding.md
	docs/durability.md
	docs/performance.md))
{
	my $n = 0;
	(my $database = $file) =~ s/\W/_/g;
	my $said = '';
	my $sql = '';

	my $page = slurp_file($file);
	while ($page =~ /^```sql\n(.*?)^```$/msg)
	{
		my $block = $1;
		$n++;
		$said .= "$1\n" while $block =~ /^--> (.*)$/mg;
		# Of a block without stated results, no output is compared.
		$sql .= $block =~ /^--> /m ? "\\o\n$block" : "\\o /dev/null\n$block";
	}
	cmp_ok($n, '>', 0, "$file: has examples");
	$node->safe_psql('postgres', qq{CREATE DATABASE "$database"});
	my ($status, $stdout, $stderr) = $node->psql($database, $sql, on_error_die => 0);
	is($status, 0, "$file: the $n blocks run") or diag($stderr);
	is("$stdout\n", $said =~ /\S/ ? $said : "\n", "$file: they return what is said");
}

check_and_stop($node);
done_testing();
