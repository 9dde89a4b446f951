# Random damage of the files of all kinds of indexes: bits, words, pages, ends of files, with
# data checksums and without.  Every statement works, or reports a corrupted index with its
# name, a block and a hint; nothing crashes or hangs.  Where a scan returns a row twice, out of
# order, or that does not match, piramid_check finds something.
#
# PIRAMID_DAMAGE_MUTATIONS says how many (1,000), PIRAMID_DAMAGE_FIRST with which to begin (0), so
# that many can run in parts, PIRAMID_DAMAGE_SEED with which the random numbers begin (1), and
# PIRAMID_DAMAGE_SHAPES of which of the shapes below, with a comma between (all).

use strict;
use warnings;

use List::Util qw(min max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Damage qw(damage_init read_fields %size %place);
use Piramid;

my $first = $ENV{PIRAMID_DAMAGE_FIRST} // 0;
my $end = $first + ($ENV{PIRAMID_DAMAGE_MUTATIONS} || 1000);
# Statements that take longer hang; slow builds are given more time.
my $patience = int($PostgreSQL::Test::Utils::timeout_default / 6);
my $seed = $ENV{PIRAMID_DAMAGE_SEED} // 1;
my $copies = 12;

# name => column, an expression for row n, operator class, operator, columns beside; method
my %shape = (
	codes => [ 'vector(24)', 'point(n, 24)', 'vector_l2_ops', '<->', '' ],
	half => [ 'halfvec(24)', 'point(n, 24)::halfvec', 'halfvec_cosine_ops', '<=>', '' ],
	compact => [ 'vector(160)', 'point(n, 160)', 'vector_l2_ops', '<->', ') WITH (layout = compact' ],
	plain => [ 'vector(8)', 'point(n, 8)', 'vector_l1_ops', '<+>', '' ],
	keys => [ 'vector(8)', 'point(n, 8)', 'vector_ip_ops', '<#>', ', a, b' ],
	long => [ 'vector(5000)', 'point(n, 5000)', 'vector_l2_ops', '<->', '' ],
	bits => [ 'bit(120)', "(SELECT string_agg(((n * i * 2654435761) >> 13 & 1)::text, '') FROM generate_series(1, 120) AS i)::bit(120)", 'bit_hamming_ops', '<~>', '' ],
	sparse => [ 'sparsevec(5000)', "(SELECT '{' || string_agg(n % 97 * 40 + i * 7 || ':' || (1 + sin(n * i))::real, ',') || '}/5000' FROM generate_series(1, 20) AS i)::sparsevec", 'sparsevec_l2_ops', '<->', '' ],
	words => [ 'text', "(SELECT string_agg('w' || (n * i * 7919 + i) % (i * 9 + 5), ' ') || CASE WHEN n % 50 = 5 THEN repeat(' long', 4000) ELSE '' END FROM generate_series(1, 60) AS i)",
		'text_bm25_ops', '<@>', '', 'bm25' ],
	# One dimension that each row has, so that its list has blocks, and some of negative weights
	impacts => [ 'sparsevec(9000)', "(SELECT '{1:' || 1 + n % 9 || ',' || string_agg(n % 97 * 40 + i * 7 + 1 || ':' || (0.6 + sin(n * i))::real, ',') || ',' || 8000 + n % 3 || ':1}/9000' FROM generate_series(1, 20) AS i)::sparsevec",
		'sparsevec_ip_ops', '<#>', '', 'bm25' ]);
my %chosen = map { $_ => 1 } split /,/, $ENV{PIRAMID_DAMAGE_SHAPES} // join ',', keys %shape;
delete @shape{ grep { !$chosen{$_} } keys %shape };

my $node = piramid_node('damage', conf => "autovacuum = off\nrestart_after_crash = on\nmax_parallel_maintenance_workers = 0");
$node->safe_psql('postgres', q{
	CREATE EXTENSION piramid_bm25;
	CREATE FUNCTION point(n bigint, dim int) RETURNS vector LANGUAGE sql IMMUTABLE AS
		$$ SELECT array_agg(sin(n * 12.9898 + i * (n % 13 + 1)))::vector FROM generate_series(1, dim) AS i $$});
my $create = '';
foreach my $name (sort keys %shape)
{
	my ($type, $value, $class, $op, $more, $method) = (@{ $shape{$name} }, 'hnsw');
	my $rows = $name eq 'long' ? 12 : 120;

	$create .= qq{
		CREATE TABLE $name (id int, v $type, a int, b text);
		INSERT INTO $name SELECT n, $value, n % 4, 'b' || n % 3 FROM generate_series(1, $rows) AS n;
		INSERT INTO $name SELECT 1000 + i, v, i % 2, b FROM $name, generate_series(1, 60) AS i WHERE id = 5;
		CREATE TABLE ${name}_more AS SELECT n AS id, $value AS v, n % 4 AS a, 'b' AS b
			FROM generate_series(2001, 2008 + 12 * ($rows / 120)) AS n;
	};
	$create .= qq{
		CREATE TABLE ${name}_$_ AS TABLE $name;
		CREATE INDEX ${name}_${_}_idx ON ${name}_$_ USING $method (v $class$more);
	} foreach 1 .. $copies;
}
$node->safe_psql('postgres', $create);

# Overflow links, free slots
$node->safe_psql('postgres', join ";\n", 'CHECKPOINT',
	map { my $name = $_; map { ("INSERT INTO ${name}_$_ TABLE ${name}_more", "DELETE FROM ${name}_$_ WHERE id % 7 = 3", "VACUUM ${name}_$_") } 1 .. $copies } sort keys %shape);
my %file = map { split /\|/ } split /\n/, $node->safe_psql('postgres',
	q{SELECT relname, pg_relation_filepath(oid) FROM pg_class WHERE relname ~ '_\d+_idx$'});
cmp_ok(scalar(keys %file), '==', $copies * keys %shape, 'indexes');
damage_init($node);
read_fields();
my ($page, $start, $special) = @size{qw(PAGE START SPECIAL)};
at_least($node->safe_psql('postgres', "SELECT piramid_overflow_links('codes_1_idx')"), 1, 'overflow links') if $shape{codes};
is_sound($node, 'before damage');
$node->stop;

my $data = $node->data_dir;
my @pristine = map { PostgreSQL::Test::Utils::tempdir() . "/pristine_$_" } 0, 1;
system_or_bail('cp', '-a', $data, $_) foreach @pristine;
# From 18 on servers have them unless told otherwise.
my ($checksums) = run_command([ 'pg_controldata', $data ]);
$checksums = $checksums =~ /^Data page checksum version: *0$/m ? 0 : 1;
system_or_bail('pg_checksums', '--no-sync', $checksums ? '--disable' : '--enable', '-D', $pristine[ 1 - $checksums ]);

# ---------------------------------------------------------------------
# Damage
# ---------------------------------------------------------------------

my @words = (0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fc00000, 0x7f800000, 0xff800000);

sub any { return $_[ int(rand(@_)) ] }

# A number that means something, as 1, 2 or 4 bytes
sub word
{
	my ($blocks) = @_;
	my $value = any(@words, int(rand($blocks)), int(rand($blocks * 8)), int(rand(4294967296)));
	return any(pack('C', $value & 0xff), pack('S', $value & 0xffff), pack('L', $value), pack('L', $value));
}

sub put { my ($file, $at, $bytes) = @_; substr($$file, $at, length $bytes) = $bytes if $at + length $bytes <= length $$file }

# The kind of a block's page
sub kind_of
{
	my ($file, $block) = @_;
	my $read = sub { my ($at, $type) = @{ $place{ $_[0] } }; return unpack("x$at $type", substr($$file, $block * $page + $special, $page - $special)) };
	return $read->('bm25.magic') == $size{BM25_MAGIC} ? 'words ' . $read->('bm25.kind') : $read->('opaque.kind');
}

# Kinds of pages: each is as likely to be hit as another.
sub any_block
{
	my ($file) = @_;
	my $blocks = length($$file) / $page;
	my %of;

	push @{ $of{ $_ ? kind_of($file, $_) : 1 } }, $_ foreach 0 .. $blocks - 1;
	return rand() < 0.75 ? any(@{ $of{ any(sort keys %of) } }) : int(rand($blocks));
}

my %damage = (
	bits => sub { my ($file) = @_; put($file, $_, chr(ord(substr($$file, $_, 1)) ^ 1 << rand(8))) foreach map { any_block($file) * $page + int(rand($page)) } 1 .. any(1, 1, 2, 8, 64) },
	words => sub { my ($file) = @_; put($file, any_block($file) * $page + 2 * int(rand($page / 2)), word(length($$file) / $page)) foreach 1 .. any(1, 1, 4, 32) },
	header => sub { my ($file) = @_; put($file, any_block($file) * $page + int(rand($start)), chr(rand(256))) },
	special => sub { my ($file) = @_; put($file, any_block($file) * $page + $special + int(rand($page - $special)), chr(any(0, 1, 2, 63, 64, 255, rand(256)))) foreach 1 .. any(1, 1, 2) },
	meta => sub { my ($file) = @_; put($file, $start + int(rand($size{META} + 12)), chr(any(0, 1, 2, 3, 255, rand(256)))) foreach 1 .. any(1, 1, 2) },
	zero => sub { my ($file) = @_; put($file, any_block($file) * $page, "\0" x $page) },
	half => sub { my ($file) = @_; my $from = any(512, 1024, 4096); put($file, any_block($file) * $page + $from, "\0" x ($page - $from)) },
	noise => sub { my ($file) = @_; my $n = any(4, 16, 64, 512, 2000); put($file, any_block($file) * $page + $start + int(rand($special - $start - $n)), join '', map { chr(rand(256)) } 1 .. $n) },
	copy => sub { my ($file) = @_; put($file, any_block($file) * $page, substr($$file, any_block($file) * $page, $page)) },
	swap => sub {
		my ($file) = @_;
		my ($x, $y) = map { $page * any_block($file) } 1, 2;
		my $old = substr($$file, $x, $page);
		put($file, $x, substr($$file, $y, $page));
		put($file, $y, $old);
	},
	cut => sub { my ($file) = @_; $$file = substr($$file, 0, rand() < 0.8 ? $page * int(rand(length($$file) / $page)) : int(rand(length $$file))) },
	nodes => sub {
		my ($file) = @_;
		my $size = kind_of($file, 0) =~ /^words/ ? 64 : unpack('L', substr($$file, $start + $place{'meta.node_size'}[0], 4));
		my @blocks = grep { kind_of($file, $_) =~ /^$size{KIND_NODE}$|^words/ } 1 .. length($$file) / $page - 1;
		foreach (1 .. any(1, 1, 5, 50))
		{
			my $slot = $size < $special - $start ? int(rand(int(($special - $start) / $size))) : 0;
			put($file, any(@blocks) * $page + $start + $slot * $size + any(0, 1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44 + rand(80)), word(length($$file) / $page));
		}
	},
	field => sub {
		my ($file) = @_;
		my $at = any(12, 14, 16, 24, 28, 32, 36, 40, 56, map { $special + $_ } 4 .. 12);
		my $word = word(length($$file) / $page);
		my $kind = any(map { kind_of($file, $_) } 0 .. length($$file) / $page - 1);
		foreach my $block (0 .. length($$file) / $page - 1)
		{
			put($file, $block * $page + $at, $word) if kind_of($file, $block) eq $kind;
		}
	});

# ---------------------------------------------------------------------
# Statements
# ---------------------------------------------------------------------

# A scan, whose rows are looked at: which come twice, come before a nearer one, or do not match.
# The conditions are asked once more of the rows themselves.
sub rows_of
{
	my ($table, $condition, $distance, $limit) = @_;
	my ($order, $d) = $distance ? ("ORDER BY $distance", $distance) : ('', '0');

	return qq{SELECT 'wrong: ' || array[twice, early, others]::text FROM (
		SELECT count(*) - count(DISTINCT id) AS twice, count(*) FILTER (WHERE d < before) AS early,
			count(*) FILTER (WHERE matches IS NOT TRUE) AS others
		FROM (SELECT *, lag(d) OVER (ORDER BY r) AS before
			FROM (SELECT *, row_number() OVER () AS r
				FROM (SELECT id, $d AS d, $condition AS matches FROM $table WHERE $condition $order LIMIT $limit) AS x) AS y) AS z) AS w
	WHERE twice + early + others > 0};
}

sub script
{
	my ($index) = @_;
	my ($name, $table) = $index =~ /^((.*)_\d+)_idx$/ ? ($2, $1) : die;
	my $op = $shape{$name}[3];
	my $distance = "v $op (SELECT v FROM $name WHERE id = 7)";
	my $words = $op eq '<@>';
	my $bm25 = ($shape{$name}[5] // '') eq 'bm25';
	my $all = rows_of($table, 'true', $distance, 100000);
	my $check = "SELECT 'found: ' || count(*) FROM piramid_check('$index', true)";

	return join '', "\\connect\n\\echo =mutation $index\n\\warn =mutation $index\n",
	  "SET statement_timeout = '${patience}s'; SET enable_seqscan = off; SET enable_sort = off; SET client_min_messages = error;\n",
	  map { "\\echo =$_->[0]\n\\warn =$_->[0]\n$_->[1];\n" } (
		[ 'ten nearest', rows_of($table, 'true', $distance, 10) ],
		[ 'all rows', $all ],
		[ 'some rows', rows_of($table, "(a = 1 AND b = 'b1')", $distance, 1000) ],
		$bm25 ? (
			[ 'info', "SELECT count(*) FROM piramid_bm25_info('$index')" ],
			[ 'terms', "SELECT count(*) FROM piramid_bm25_terms('$index')" ]) : (),
		$words ? (
			[ 'phrase', rows_of($table, "(v @@ to_bm25query('w5 <-> w1 | long <-> long'::tsquery))", '', 1000) ],
			[ 'prefix', rows_of($table, "(v @@ to_bm25query('w1:* & !w2'::tsquery))", '', 1000) ]) : (),
		$bm25 ? () : (
			[ 'info', "SELECT count(*) FROM piramid_hnsw_info('$index')" ],
			[ 'keys', "SELECT count(*) FROM piramid_hnsw_keys('$index')" ],
			[ 'prewarm', "SELECT piramid_prewarm('$index')" ]),
		[ 'check', $check ],
		[ 'insert', "INSERT INTO $table SELECT id + 10000, v, 7, b FROM ${name}_more" ],
		[ 'insert again', "INSERT INTO $table SELECT i + 20000, v, i, b FROM $name, generate_series(1, 25) AS i WHERE id = 5" ],
		[ 'vacuum', "DELETE FROM $table WHERE id % 5 = 0; VACUUM (INDEX_CLEANUP on) $table" ],
		[ 'repair', "SELECT count(*) FROM piramid_repair('$index')" ],
		$bm25 ? [ 'merge', "SELECT piramid_bm25_merge('$index')" ] : (),
		[ 'all rows again', $all ],
		[ 'check again', $check ]);
}

# What is wrong with what a statement has said, or ''.
sub complaint
{
	my ($said, $index) = @_;

	return 'hangs' if $said =~ /57014/;
	return '' if $said !~ /ERROR|FATAL|PANIC|connection|terminat/;
	return '' if $said =~ /XX002: index "$index" has .* at block \d+.*\n.*HINT:.*REINDEX/;
	# docs/durability.md has these exceptions.  PostgreSQL's own, of a page that it read or an
	# executor that sees distances contradict (then piramid_check finds something, see below)
	return '' if $said =~ /XX001: (invalid page in block|could not read block) \d+ /;
	return '' if $said =~ /XX000: index returned tuples in wrong order/;
	# A damaged name may be of a configuration that there was once.
	return '' if $said =~ /42704: the index's text search configuration .* does not exist any more/;
	# A version that is not ours may be one of a later library.
	return '' if $said =~ /0A000: index "$index" has format version .* at block \d+.*\n.*HINT:.*REINDEX/;
	return $said;
}

# What a mutation's statements have said, by statement; the two arguments are all that psql has
# printed, answers and errors.  Returns {index}{statement}{rows, error}.
sub by_statement
{
	my (%text) = @_;
	my %said;

	foreach my $kind (keys %text)
	{
		my ($index, $statement) = ('', '');
		foreach my $part (split /^(?==|psql:)/m, $text{$kind})
		{
			if ($part =~ /^=mutation (.*)/) { ($index, $statement) = ($1, 'connect') }
			elsif ($part =~ s/^=(.*)\n//) { $statement = $1 }
			$said{$index}{$statement}{$kind} .= $part;
		}
	}
	return %said;
}

# Wrong answers of which piramid_check, right after them, found nothing
sub unseen
{
	my (%said) = @_;
	my @unseen;

	foreach my $check ('check', 'check again')
	{
		next if ($said{$check}{rows} // '') !~ /found: 0/;
		my @before = $check eq 'check' ? ('ten nearest', 'all rows', 'some rows', 'phrase', 'prefix') : 'all rows again';
		push @unseen, map { "$_: $1, and $check finds nothing" if (($said{$_}{rows} // '') . ($said{$_}{error} // '')) =~ /(wrong.*)/ } @before;
	}
	return grep { $_ } @unseen;
}

my @files = sort keys %file;
my ($changed, $noticed, $twice, $done) = (0, 0, 0, $first);
my @wrong;
while ($done < $end && @wrong < 20)
{
	my %what;
	my $script = "\\set VERBOSITY verbose\n";
	my $batch = int($done / @files);

	system_or_bail('rm', '-rf', $data);
	system_or_bail('cp', '-a', $pristine[ $batch % 2 ], $data);
	for (; $done < $end && int($done / @files) == $batch; $done++)
	{
		my $index = $files[ $done % @files ];
		srand($seed * 1_000_000 + $done);
		my $old = slurp_file("$data/$file{$index}");
		my $new = $old;
		my $kind = any(sort keys %damage);
		$damage{$kind}->(\$new);
		next if $new eq $old;
		$changed++;
		append_to_file("$data/$file{$index}.new", $new);
		rename "$data/$file{$index}.new", "$data/$file{$index}" or die;
		$what{$index} = "mutation $done ($kind" . ($batch % 2 ? ', checksums)' : ')');
		$script .= script($index);
	}
	$node->start;
	my $timed_out = 0;
	my ($status, $stdout, $stderr) = $node->psql('postgres', $script, on_error_stop => 0, timeout => 20 * $patience, timed_out => \$timed_out);
	my %said = by_statement(rows => $stdout, error => $stderr);
	foreach my $index (sort keys %what)
	{
		foreach my $statement (sort keys %{ $said{$index} })
		{
			my ($rows, $error) = map { $said{$index}{$statement}{$_} // '' } qw(rows error);
			push @wrong, map { "$what{$index}, $index, $statement: $_" } grep { $_ } map { complaint($_, $index) } split /^(?=psql:)/m, $error;
			$twice++ if $rows =~ /wrong/;
			$noticed++ if $statement eq 'check' && $rows =~ /found: [1-9]/;
		}
		push @wrong, map { "$what{$index}, $index, $_" } unseen(%{ $said{$index} });
	}
	my ($last) = $stderr =~ /.*^(=.*)/ms;
	push @wrong, "batch $batch, after $last: " . ($timed_out ? 'hangs' : "status $status") if $status || $timed_out;
	$node->stop('immediate');
	last if $status || $timed_out;
}
is(join("\n", @wrong), '', ($done - $first) . " mutations from $first, seed $seed");
note("$changed changed a file; piramid_check names $noticed; $twice wrong answers, which it names");
at_least($noticed, $changed / 4, 'damages that piramid_check names');

# Without the damage.
system_or_bail('rm', '-rf', $data);
system_or_bail('cp', '-a', $pristine[1], $data);
$node->start;
check_and_stop($node);
done_testing();
