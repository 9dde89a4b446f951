# What a hostile user can send: damaged binary messages, values from
# unexpected places, crafted aggregate states; and every distance and
# comparison against plain SQL on random values.
#
# The regression scripts have each error with its message; here are many
# inputs, of which only the outcome is known.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $seed = $ENV{PIRAMID_SEED} || 20260101;
srand($seed);
note "PIRAMID_SEED=$seed";

my $node = piramid_node('hostile');
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $dir = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql(
	'postgres', q{
	CREATE TABLE binaries (vector vector, halfvec halfvec, sparsevec sparsevec);

	-- What a statement comes to: "accepted" or an SQLSTATE.
	CREATE FUNCTION test.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE statement;
		RETURN 'accepted';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;
});

# Binary messages.

sub vector_message { return pack('s>2 (f>)*', @_) }
sub halfvec_message { return pack('s>2 n*', @_) }

# The indices and the values, in that order, follow dim, nnz and unused.
sub sparsevec_message
{
	my ($dim, $nnz, $unused, $indices, $values) = @_;
	return pack('l>3 (l>)* ', $dim, $nnz, $unused, @$indices) . pack('(f>)*', @$values);
}

# The message as the only field of a binary COPY file.
sub copy_file
{
	my ($message) = @_;
	return "PGCOPY\n\xff\r\n\0" . pack('NN', 0, 0) . pack('nN', 1, length $message) . $message . pack('n', 0xffff);
}

# Sends messages to a column, each by itself.  Returns for each the SQLSTATE, or
# what the type sends back in hexadecimal.
sub send_messages
{
	my ($type, @messages) = @_;
	my $script = "\\set VERBOSITY sqlstate\n";
	my ($stdout, $stderr) = ('', '');

	foreach my $i (0 .. $#messages)
	{
		my $file = "$dir/message.$type.$i";
		open(my $handle, '>:raw', $file) or die "$file: $!";
		print $handle copy_file($messages[$i]);
		close($handle);
		$script .= "TRUNCATE binaries;\n\\copy binaries ($type) FROM '$file' (FORMAT binary)\n"
		  . "\\warn end\nSELECT $i, encode(${type}_send($type), 'hex') FROM binaries;\n";
	}
	$node->psql('postgres', $script, stdout => \$stdout, stderr => \$stderr, on_error_stop => 0);

	my @outcome = map { /ERROR: +(\w{5})/ ? $1 : '' } split /^.*\bend\n/m, $stderr;
	foreach my $row (split /\n/, $stdout)
	{
		my ($i, $hex) = split /\|/, $row;
		is($outcome[$i] // '', '', "$type: message $i was stored without an error");
		$outcome[$i] = $hex;
	}
	unlink map { "$dir/message.$type.$_" } 0 .. $#messages;
	return map { $_ // '' } @outcome[ 0 .. $#messages ];
}

# Is this message, which has the length that its head claims, a value?
my %is_value = (
	vector => sub {
		my ($dim, $unused, @x) = unpack('s>2 (f>)*', $_[0]);
		return $unused == 0 && !grep { $_ != $_ || abs($_) == 9**9**9 } @x;
	},
	halfvec => sub {
		my ($dim, $unused, @x) = unpack('s>2 n*', $_[0]);
		return $unused == 0 && !grep { ($_ & 0x7c00) == 0x7c00 } @x;
	},
	sparsevec => sub {
		my ($dim, $nnz, $unused) = unpack('l>3', $_[0]);
		my @index = unpack("l>$nnz", substr($_[0], 12));
		my @x = unpack('(f>)*', substr($_[0], 12 + 4 * $nnz));
		return
			 $unused == 0
		  && $dim <= 1_000_000_000
		  && $nnz <= $dim
		  && !(grep { $_ < 0 || $_ >= $dim } @index)
		  && !(grep { $index[$_] <= $index[ $_ - 1 ] } 1 .. $#index)
		  && !grep { $_ != $_ || abs($_) == 9**9**9 || $_ == 0 } @x;
	});
my %claimed_length = (
	vector => sub { my $dim = unpack('s>', $_[0]); return $dim < 1 ? -1 : 4 + 4 * $dim },
	halfvec => sub { my $dim = unpack('s>', $_[0]); return $dim < 1 ? -1 : 4 + 2 * $dim },
	sparsevec => sub { my ($dim, $nnz) = unpack('l>2', $_[0]); return $dim < 1 || $nnz < 0 ? -1 : 12 + 8 * $nnz });

my %sound = (
	vector => vector_message(3, 0, 1, -2.5, 1e-45),
	halfvec => halfvec_message(3, 0, 0x3c00, 0x8001, 0x7bff),
	sparsevec => sparsevec_message(9, 2, 0, [ 0, 8 ], [ 1.5, -1e30 ]));
my %crafted = (
	vector => [
		vector_message(16000, 0, (1) x 15999), vector_message(16001, 0, (1) x 16001),
		vector_message(32767, 0, (1) x 32767), vector_message(-32768, 0, (1) x 40000),
		vector_message(16000, 0, (1) x 16000)
	],
	halfvec => [
		halfvec_message(16000, 0, (1) x 15999), halfvec_message(16001, 0, (1) x 16001),
		halfvec_message(-1, 0, (1) x 65535), halfvec_message(16000, 0, (1) x 16000)
	],
	sparsevec => [
		sparsevec_message(9, 2, 0, [ 8, 0 ], [ 1, 1 ]), sparsevec_message(9, 2, 0, [ 3, 3 ], [ 1, 1 ]),
		sparsevec_message(9, 3, 0, [ 0, 8, 4 ], [ 1, 1, 1 ]),
		sparsevec_message(9, 1, 0, [9], [1]), sparsevec_message(9, 1, 0, [-1], [1]),
		sparsevec_message(9, 1, 0, [-2147483648], [1]), sparsevec_message(9, 1, 0, [2147483647], [1]),
		sparsevec_message(1, 2, 0, [ 0, 0 ], [ 1, 1 ]), sparsevec_message(9, -1, 0, [], []),
		sparsevec_message(9, -2147483648, 0, [], []), sparsevec_message(1_000_000_000, 2147483647, 0, [0], [1]),
		sparsevec_message(0, 0, 0, [], []), sparsevec_message(-5, 0, 0, [], []),
		sparsevec_message(1_000_000_001, 0, 0, [], []), sparsevec_message(2147483647, 1, 0, [0], [1]),
		sparsevec_message(20000, 16001, 0, [ 0 .. 16000 ], [ (1) x 16001 ]),
		sparsevec_message(20000, 16000, 0, [ 0 .. 15999 ], [ (1) x 15999 ]),
		sparsevec_message(20000, 16000, 0, [ 0 .. 15999 ], [ (1) x 16000 ]),
		sparsevec_message(1_000_000_000, 1, 0, [999_999_999], [1]), sparsevec_message(7, 0, 0, [], [])
	]);

foreach my $type (sort keys %sound)
{
	my $sound = $sound{$type};
	my @messages = ($sound, "$sound\0", $sound . "\0" x 4000, @{ $crafted{$type} });

	push @messages, substr($sound, 0, $_) foreach 0 .. length($sound) - 1;
	# Every byte changed in several ways, and pairs of bytes at random.
	foreach my $i (0 .. length($sound) - 1)
	{
		foreach my $byte (0, 1, 0x7f, 0x80, 0xff, int(rand(256)))
		{
			my $changed = $sound;
			substr($changed, $i, 1) = chr($byte);
			substr($changed, rand(length $sound), 1) = chr(rand(256)) if $byte == 1;
			push @messages, $changed;
		}
	}

	my @outcome = send_messages($type, @messages);
	my ($stored, $refused) = (0, 0);
	foreach my $i (0 .. $#messages)
	{
		my $message = $messages[$i];
		my $hex = unpack('H*', $message);
		my $value = length($message) >= ($type eq 'sparsevec' ? 12 : 4)
		  && length($message) == $claimed_length{$type}->($message)
		  && length($message) <= ($type eq 'vector' ? 64004 : $type eq 'halfvec' ? 32004 : 128012)
		  && $is_value{$type}->($message);

		if ($value) { $stored++ if $outcome[$i] eq $hex }
		else { $refused++ if $outcome[$i] =~ /^(22000|22P03|08P01|54000)$/ }
		next if $value ? $outcome[$i] eq $hex : $outcome[$i] =~ /^(22000|22P03|08P01|54000)$/;
		fail("$type: message $i is " . ($value ? 'a value' : 'none'));
		diag substr($hex, 0, 200) . ' gives ' . substr($outcome[$i], 0, 200);
	}
	is($stored + $refused, scalar @messages, "$type: $stored messages stored as they were, $refused refused");
	cmp_ok($stored, '>=', 4, "$type: sound messages were among them");
}

# Values from unexpected places.

sub outcomes
{
	my ($expected, @statements) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $statement (@statements)
	{
		is($node->safe_psql('postgres', "SELECT test.outcome(\$statement\$ $statement \$statement\$)"),
			$expected, "$expected: $statement");
	}
}

foreach my $type ('vector', 'halfvec', 'sparsevec')
{
	my $most = $type eq 'sparsevec' ? 1_000_000_000 : 16000;
	outcomes('22023', map { "CREATE TABLE typmod (v $type($_))" } 0, -1, $most + 1, -2147483648, 2147483647, '1,2', '1,1,1');
	outcomes('22P02', map { "CREATE TABLE typmod (v $type($_))" } "'a'", "''", "1.5");
	outcomes('22003', map { "CREATE TABLE typmod (v $type($_))" } 2147483648, "'99999999999999999999'");
	outcomes('accepted', map { "CREATE TABLE typmod_$_ (v $type($_)); DROP TABLE typmod_$_" } 1, $most);
	outcomes('2202E', "SELECT ${type}_typmod_in('{{1},{2}}')");
	outcomes('22004', "SELECT ${type}_typmod_in('{NULL}')");

	# Arrays of all kinds that SQL can make.
	outcomes('22000',
		"SELECT array_fill(1, ARRAY[2,2])::$type",
		"SELECT array_fill(1, ARRAY[1,1,1,1,1,1])::$type",
		"SELECT array_fill(1, ARRAY[0])::$type",
		"SELECT '[2:3][-1:0]={{1,2},{3,4}}'::real[]::$type",
		"SELECT ARRAY[1,2]::real[]::$type(3)");
	outcomes('22004',
		"SELECT array_fill(NULL::real, ARRAY[100000])::$type",
		"SELECT array_append(array_fill(1, ARRAY[3000]), NULL)::$type");
	outcomes('54000', "SELECT array_fill(1::real, ARRAY[100000])::$type");
	outcomes('accepted',
		"SELECT '[-2147483648:-2147483646]={1,2,3}'::real[]::$type(3)",
		"SELECT '[2147483645:2147483646]={1,2}'::numeric[]::$type",
		# expanded, sliced, toasted and compressed
		"DO \$\$ DECLARE a real[] := '{1,2}'; BEGIN a[4] := 1; a[3] := 2; PERFORM a::$type(4); END \$\$",
		"SELECT (array_fill(1, ARRAY[5000]))[7:8]::$type(2)",
		"CREATE TEMP TABLE arrays AS SELECT array_fill(1::float8, ARRAY[16000]) AS a; SELECT a::$type FROM arrays; DROP TABLE arrays");

	# The function behind the cast takes any modifier.
	outcomes('22000', map { "SELECT $type('" . ($type eq 'sparsevec' ? '{1:1}/3' : '[1,2,3]') . "'::$type, $_, true)" } 0, 2, -2, 2147483647, -2147483648);
}
outcomes('22000',
	'SELECT \'[1,2,3]\'::vector::halfvec(2)', 'SELECT \'[1,2,3]\'::vector::sparsevec(4)',
	'SELECT \'[1,2,3]\'::halfvec::vector(2)', 'SELECT \'[1,2,3]\'::halfvec::sparsevec(2)',
	'SELECT \'{}/3\'::sparsevec::vector(2)', 'SELECT \'{}/3\'::sparsevec::halfvec(4)');
outcomes('54000',
	'SELECT \'{}/16001\'::sparsevec::vector', 'SELECT \'{1:1}/1000000000\'::sparsevec::vector',
	'SELECT \'{1:1}/1000000000\'::sparsevec::halfvec', 'SELECT \'{}/1000000000\'::sparsevec::vector(3)');
foreach my $type ('vector', 'halfvec')
{
	outcomes('22000', map { "SELECT subvector('[1,2,3]'::$type, $_)" }
		  '-2147483648, 2147483647', '2147483647, -2147483648', '-2147483648, -1', '2147483647, 1', '4, 2147483647', '1, -2147483648');
	is($node->safe_psql('postgres', "SELECT subvector('[1,2,3]'::$type, 3, 2147483647), subvector('[1,2,3]'::$type, -2147483645, 2147483647)"),
		'[3]|[1]', "$type: subvector clips what would overflow");
}

# Aggregates over the support functions, with states that are not theirs.
foreach my $type ('vector', 'halfvec')
{
	my %initial = (
		'{}' => 'XX000', '{{0}}' => 'XX000', '{NULL}' => 'XX000', '{-1}' => 'XX000', '{NaN}' => 'XX000',
		'{Infinity}' => 'XX000', '{0,1}' => '22000', '{1,1,1,1}' => '22000', '{1e308}' => 'accepted',
		'{0}' => 'accepted', '{7}' => 'accepted', '{0,0,0}' => 'accepted', '[-5:-3]={1,2,3}' => 'accepted');
	my $input = "generate_series(1, 3000) AS i, LATERAL (SELECT ('[' || i % 7 || ',' || -i % 5 || ']')::$type AS v) AS x";

	foreach my $initial (sort keys %initial)
	{
		my $outcome = $initial{$initial};
		$node->safe_psql(
			'postgres', qq{
			DROP AGGREGATE IF EXISTS odd ($type), odd_state ($type);
			CREATE AGGREGATE odd ($type) (SFUNC = ${type}_accum, STYPE = double precision[],
				FINALFUNC = ${type}_avg, COMBINEFUNC = ${type}_combine, INITCOND = '$initial', PARALLEL = safe);
			CREATE AGGREGATE odd_state ($type) (SFUNC = ${type}_accum, STYPE = double precision[], INITCOND = '$initial')});
		outcomes($outcome,
			"SELECT odd(v) FROM $input",
			"SELECT odd_state(v) FROM $input",
			"SELECT odd_state(v) OVER (ORDER BY i ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM $input",
			"SELECT i % 10, odd(v), odd_state(v) FROM $input GROUP BY GROUPING SETS ((i % 10), ())");
	}

	# A state that a window function returns is not changed by the next row.
	is($node->safe_psql('postgres', qq{
			DROP AGGREGATE odd_state ($type);
			CREATE AGGREGATE odd_state ($type) (SFUNC = ${type}_accum, STYPE = double precision[], INITCOND = '{0}');
			SELECT array_agg(s[1] ORDER BY i) = array_agg(i::float8 ORDER BY i)
			FROM (SELECT i, odd_state(v) OVER (ORDER BY i) AS s FROM $input) AS t}),
		't', "$type: states of a running aggregate stay apart");
	outcomes('22000', "SELECT ${type}_combine(array_fill(1::float8, ARRAY[1000000]), array_fill(1::float8, ARRAY[999999]))",
		"SELECT ${type}_accum(array_fill(1::float8, ARRAY[1000000]), '[1]')");
	outcomes('54000', "SELECT ${type}_avg(array_fill(1::float8, ARRAY[1000000]))");
}

# Random values against plain SQL.

# Pairs of vectors of some dimension: of several scales, equal, zero, sparse.
sub random_pairs
{
	my ($n) = @_;
	my @rows;

	foreach my $id (1 .. $n)
	{
		my $dim = 1 + int(rand() < 0.1 ? rand(1000) : rand(70));
		my $scale = 10**(rand() < 0.5 ? 0 : int(rand(9)) - 5);
		my $density = rand() < 0.5 ? 1 : rand();
		my @pair;
		foreach my $side (0, 1)
		{
			my $zeros = rand() < 0.03;
			push @pair, [ map { $zeros || rand() > $density ? (rand() < 0.1 ? '-0' : 0) : sprintf('%.6g', $scale * (rand(2) - 1)) } 1 .. $dim ];
		}
		$pair[1] = $pair[0] if rand() < 0.05;
		push @rows, join("\t", $id, map { '{' . join(',', @$_) . '}' } @pair);
	}
	return join("\n", @rows) . "\n";
}

append_to_file("$dir/pairs", random_pairs(3000));
$node->safe_psql(
	'postgres', qq{
	CREATE TABLE pairs (id int, a real[], b real[]);
	COPY pairs FROM '$dir/pairs';
	CREATE TABLE vector_pairs AS SELECT id, a::vector AS a, b::vector AS b FROM pairs;
	CREATE TABLE halfvec_pairs AS SELECT id, a::halfvec AS a, b::halfvec AS b FROM pairs;
	CREATE TABLE sparsevec_pairs AS SELECT id, a::sparsevec AS a, b::sparsevec AS b FROM pairs;

	CREATE VIEW vector_terms AS SELECT id, a, b, a::real[] AS x, b::real[] AS y FROM vector_pairs;
	CREATE VIEW halfvec_terms AS SELECT id, a, b, a::real[] AS x, b::real[] AS y FROM halfvec_pairs;
	CREATE VIEW sparsevec_terms AS
		SELECT id, a, b, a::vector::real[] AS x, b::vector::real[] AS y FROM sparsevec_pairs;
});

my @levels = grep { $node->safe_psql('postgres', "LOAD 'piramid'; SELECT test.outcome('SET LOCAL piramid.simd = $_')") eq 'accepted' }
  ('scalar', 'neon', 'avx2', 'avx512');
cmp_ok(scalar @levels, '>=', 1, "instruction sets: @levels");

# What each distance is, from its exact sums, and the error that summing in
# float may leave: a share of the sum of the terms' sizes.
my %distance = (
	'<->' => [ 'sqrt(l2)', '1e-5 * sqrt(l2) + 1e-22' ],
	'<#>' => [ '-ip', '1e-5 * size + 1e-37' ],
	'<=>' => [ '1 - least(greatest(ip / sqrt(xx * yy), -1), 1)', '1e-5' ],
	'<+>' => [ 'l1', '1e-5 * l1 + 1e-37' ]);
foreach my $type ('vector', 'halfvec', 'sparsevec')
{
	$node->safe_psql(
		'postgres', qq{
		CREATE TABLE ${type}_sums AS SELECT id, a, b, s.*
		FROM ${type}_terms, LATERAL (
			SELECT sum((x - y) ^ 2) AS l2, sum(x * y) AS ip, sum(abs(x * y)) AS size, sum(abs(x - y)) AS l1,
				sum(x ^ 2) AS xx, sum(y ^ 2) AS yy
			FROM (SELECT u::float8 AS x, v::float8 AS y FROM unnest(x, y) AS t(u, v)) AS t) AS s});
	foreach my $level ($type eq 'sparsevec' ? $levels[0] : @levels)
	{
		foreach my $op (sort keys %distance)
		{
			my ($exact, $tolerance) = @{ $distance{$op} };
			my $undefined = $op eq '<=>' ? 'xx = 0 OR yy = 0' : 'false';
			my $wrong = $node->safe_psql(
				'postgres', qq{
				LOAD 'piramid';
				SET piramid.simd = $level;
				SELECT count(*), count(*) FILTER (WHERE NOT good), min(id) FILTER (WHERE NOT good)
				FROM (SELECT id, CASE WHEN $undefined THEN a $op b = 'NaN'
						ELSE abs((a $op b) - ($exact)) <= $tolerance END AS good
					FROM ${type}_sums) AS t});
			is($wrong, '3000|0|', "$type $op, $level: all, wrong, the first wrong one");
		}
	}

	# Comparison is that of the arrays.
	is( $node->safe_psql(
			'postgres', qq{
			SELECT count(*) FROM ${type}_terms AS s JOIN ${type}_terms AS t ON t.id BETWEEN s.id - 3 AND s.id + 3
			WHERE (s.a < t.b) IS DISTINCT FROM (s.x < t.y) OR (s.a <= t.b) IS DISTINCT FROM (s.x <= t.y)
				OR (s.a = t.b) IS DISTINCT FROM (s.x = t.y) OR (s.a <> t.b) IS DISTINCT FROM (s.x <> t.y)
				OR (s.a >= t.b) IS DISTINCT FROM (s.x >= t.y) OR (s.a > t.b) IS DISTINCT FROM (s.x > t.y)
				OR s.a::text::$type <> s.a}),
		0, "$type: comparisons");
}
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FROM (SELECT substring(bits, 1, n) AS a, substring(bits, 700 - n, n) AS b
			FROM (SELECT i % 300 + 1 AS n, (SELECT string_agg(CASE WHEN sin(i * 17.3 + j * j) > (i % 5) / 3.0 - 0.7 THEN '1' ELSE '0' END, '')
					FROM generate_series(1, 700) AS j)::varbit AS bits
				FROM generate_series(1, 600) AS i) AS r) AS p
		WHERE a <~> b <> bit_count(a # b)
			OR abs((a <%> b) - CASE WHEN bit_count(a & b) = 0 THEN 1 ELSE 1 - bit_count(a & b)::float8 / bit_count(a | b) END) > 1e-12}),
	0, 'bit: <~> and <%>');

# Arithmetic.
foreach my $type ('vector', 'halfvec')
{
	foreach my $op ('+', '-')
	{
		is( $node->safe_psql(
				'postgres', qq{
				SELECT count(*) FROM ${type}_terms
				WHERE (a $op b) <> (SELECT array_agg((u::float8 $op v::float8)::real ORDER BY n) FROM unnest(x, y) WITH ORDINALITY AS t(u, v, n))::$type}),
			0, "$type $op");
	}
}

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server never went down');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nor did a session');

check_and_stop($node);
done_testing();
