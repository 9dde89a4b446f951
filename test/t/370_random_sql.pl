# Random tables, indexes, changes, settings and queries, compared with what a sequential
# scan says: rows in order, none twice, none that does not match, none missing, and
# not too many farther ones in place of near ones.  What differs is made smaller, and
# printed as a script with its seed.
#
# PIRAMID_SQL_CASES says how many tables (10), or PIRAMID_SQL_SECONDS for how long there are
# further ones, PIRAMID_SQL_FIRST with which to begin (1), PIRAMID_SQL_QUERIES how many queries
# of each (24), PIRAMID_SQL_SEED with which the random numbers begin (1).

use strict;
use warnings;

use List::Util qw(max min shuffle sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;
use Kinds;

my $cases = $ENV{PIRAMID_SQL_CASES} || 10;
my $first = $ENV{PIRAMID_SQL_FIRST} || 1;
my $until = $ENV{PIRAMID_SQL_SECONDS} ? time + $ENV{PIRAMID_SQL_SECONDS} : undef;
my $queries = $ENV{PIRAMID_SQL_QUERIES} || 24;
my $seed = $ENV{PIRAMID_SQL_SEED} // 1;
my $node = piramid_node('random_sql', conf => "autovacuum = off\nmin_parallel_table_scan_size = 0");

create_kinds($node, 8, 'l2');
$node->safe_psql('postgres', q{
	CREATE FUNCTION times(v vector, b float8) RETURNS vector LANGUAGE sql IMMUTABLE AS
		'SELECT array_agg(x * b)::vector FROM unnest(v::real[]) AS x'});

my %metrics = (
	vector => { l2 => '<->', cosine => '<=>', ip => '<#>', l1 => '<+>' },
	halfvec => { l2 => '<->', cosine => '<=>', ip => '<#>', l1 => '<+>' },
	sparsevec => { l2 => '<->', cosine => '<=>', ip => '<#>', l1 => '<+>' },
	bit => { hamming => '<~>', jaccard => '<%>' });

# ---------------------------------------------------------------------
# A case: a table, and how it came to be
# ---------------------------------------------------------------------

# A vector of number n: mostly of groups, sometimes of what is rare.
sub value
{
	my ($case, $n, $style) = @_;
	my $d = $case->{dim};
	my $v = {
		groups => "point($n, $d)",
		copies => "point($n % 7, $d)",
		grid => "(SELECT array_agg(hashint8($n * 31 + i) % 3)::vector FROM generate_series(1, $d) AS i)",
		lengths => "times(point($n, $d), 10 ^ (hashint8($n) % 30 / 10.0))",
		small => "times(point($n, $d), 1e-4)",
		zero => "array_fill(0, ARRAY[$d])::vector",
		null => 'NULL::vector' }->{$style};

	return "binary_quantize($v)::bit($d)" if $case->{type} eq 'bit';
	return "$v\::$case->{type}($d)";
}

sub some_values
{
	my ($case, $style, $rows) = @_;
	my $from = $case->{rows} + 1;
	$case->{rows} += $rows;
	return "INSERT INTO t SELECT n, " . value($case, 'n', $style) . ", nullif(n % $case->{a}, 0), 'b' || n % $case->{b}, "
	  . "hashint8(n) % 1000 / 10.0, n % 3 = 0, ARRAY[n % 5, n % 11]::int[] FROM generate_series($from\::bigint, $case->{rows}) AS n";
}

sub random_index
{
	my ($case) = @_;
	my $on = $case->{expression} ? "(v::$case->{type_indexed}($case->{dim}))" : 'v';
	my @columns = ("$on $case->{type_indexed}_$case->{metric}_ops", grep { $case->{key}{$_} } qw(a b c e tags));
	my @with = ('m = ' . any(4, 8, 16, 16), 'ef_construction = ' . any(40, 64, 100));

	push @with, 'layout = compact' if $case->{compact};
	return 'SET max_parallel_maintenance_workers = ' . any(0, 2) . "; SET maintenance_work_mem = '" . any('1MB', '64MB') . "'; "
	  . 'CREATE INDEX t_idx ON t USING hnsw (' . join(', ', shuffle @columns) . ') WITH (' . join(', ', @with) . ')'
	  . ($case->{partial} ? ' WHERE a > 1' : '');
}

sub random_change
{
	my ($case) = @_;
	my $to = 1 + int(rand($case->{rows}));
	return any(
		some_values($case, any(qw(groups copies grid lengths)), any(1, 20, 200)),
		'DELETE FROM t WHERE id % ' . any(2, 3, 7) . ' = 1',
		'DELETE FROM t WHERE id % 3 = 0; VACUUM (INDEX_CLEANUP on) t',
		"UPDATE t SET a = a + 1 WHERE id < $to",
		"UPDATE t SET v = " . value($case, '(id + 1)', 'groups') . " WHERE id % 5 = 2",
		"BEGIN; " . some_values($case, 'groups', 100) . "; ROLLBACK",
		'VACUUM (INDEX_CLEANUP on) t', 'REINDEX INDEX t_idx', 'ANALYZE t');
}

sub random_case
{
	my $type = any(qw(vector vector vector halfvec sparsevec bit));
	my $metric = any(sort keys %{ $metrics{$type} });
	my %case = (
		type => $type, type_indexed => $type, metric => $metric, op => $metrics{$type}{$metric},
		dim => any(1, 2, 3, 8, 16, 16, 64, 200, 700), a => any(2, 5, 50), b => any(2, 30), rows => 0,
		partial => rand() < 0.1,
		key => { map { $_ => rand() < 0.4 } qw(a b c e tags) });

	$case{key} = {} if rand() < 0.4;
	$case{compact} = $type =~ /vector|halfvec/ && $type ne 'sparsevec' && $metric ne 'l1' && rand() < 0.25;
	@case{qw(type_indexed expression)} = ('halfvec', 1) if $type eq 'vector' && rand() < 0.15;
	my @setup = map { some_values(\%case, $_, any(20, 150, 400)) } map { any(qw(groups groups groups copies grid lengths small)) } 1 .. any(1, 2, 4);
	push @setup, some_values(\%case, 'zero', 3) if rand() < 0.4;
	push @setup, some_values(\%case, 'null', 3) if rand() < 0.4;
	splice @setup, int(rand(@setup + 1)), 0, random_index(\%case);
	push @setup, map { random_change(\%case) } 1 .. any(0, 0, 2, 5);
	@{ $case{setup} } = ("CREATE TABLE t (id int, v $type($case{dim}), a int, b text, c float8, e bool, tags int[])", @setup, 'ANALYZE t');
	return \%case;
}

# ---------------------------------------------------------------------
# Queries
# ---------------------------------------------------------------------

sub random_condition
{
	my ($case) = @_;
	my $number = int(rand($case->{a} + 1));
	return any(
		"s.a = $number", "s.a IN ($number, " . ($number + 1) . ', NULL)', "s.a BETWEEN $number AND " . ($number + any(0, 3)),
		"s.a > $number", 's.a IS NULL', 's.a IS NOT NULL',
		"s.b = 'b" . int(rand($case->{b})) . "'", "s.b = ANY ('{b0,b1,x}')", "s.b > 'b1'", "s.b <> 'b0'",
		's.c < ' . (rand(220) - 110), 's.c >= ' . (rand(220) - 110), 's.e', 'NOT s.e', 's.e IS NULL',
		's.tags && ARRAY[' . int(rand(12)) . ']', 's.tags @> ARRAY[' . int(rand(5)) . ',' . int(rand(11)) . ']',
		's.id % ' . any(2, 10, 100) . ' = 1', "(s.a = $number OR s.b = 'b1')", 'false');
}

# form; what ORDER BY has; conditions; limit; settings
sub random_query
{
	my ($case) = @_;
	my %query = (
		form => any(qw(plain plain plain plain cursor lateral prepared)),
		number => int(rand(1.2 * $case->{rows})), limit => any(1, 5, 10, 10, 50, 300, 100000), offset => any(0, 0, 0, 7),
		conditions => [ map { random_condition($case) } 1 .. any(0, 0, 1, 1, 2) ],
		set => {
			'hnsw.ef_search' => any(40, 40, 40, 100, 10, 1),
			'hnsw.iterative_scan' => any(qw(off off strict_order)),
			work_mem => any("'4MB'", "'64kB'"),
			enable_sort => any(qw(on off)),
			'hnsw.target_recall' => any(0, 0, 0.9) });

	push @{ $query{conditions} }, 's.a > 1' if $case->{partial};
	$query{style} = any(qw(row row groups grid zero null));
	$query{within} = rand() < 0.15 ? int(rand($case->{rows})) : undef;
	return \%query;
}

# What is indexed, of the table t by one of its names
sub indexed { my ($case, $table) = @_; return $case->{expression} ? "($table.v::$case->{type_indexed}($case->{dim}))" : "$table.v" }

# As SQL: with the index, or for the truth. Rows are group, id, distance, and whether the
# index has them.
sub sql
{
	my ($case, $query, $truth) = @_;
	my $lateral = $query->{form} eq 'lateral';
	my ($column, $number) = (indexed($case, 's'), $query->{number});
	my $of_row = sub { return '(SELECT ' . indexed($case, 'u') . " FROM t AS u WHERE id = $_[0] ORDER BY ctid LIMIT 1)" };
	my $q = $lateral ? indexed($case, 'o') : $query->{style} eq 'row' ? $of_row->($number) : value($case, $number, $query->{style});
	$q .= "::$case->{type_indexed}($case->{dim})" if $case->{expression};
	my $distance = "$column $case->{op} $q";
	my @conditions = @{ $query->{conditions} };

	push @conditions, "($distance) < (SELECT " . $of_row->($query->{within}) . " $case->{op} $q)" if defined $query->{within} && !$lateral;
	my $where = @conditions ? ' WHERE ' . join(' AND ', @conditions) : '';
	my $there = 's.v IS NOT NULL' . ($case->{metric} eq 'cosine' ? " AND ($column $case->{op} $column) <> 'NaN'" : '');
	my $limit = $truth ? '' : " LIMIT $query->{limit}" . ($query->{offset} ? " OFFSET $query->{offset}" : '');
	my $select = 'SELECT ' . ($lateral ? 'o.id' : '0') . " AS g, s.id, $distance AS d, $there AS there FROM t AS s$where ORDER BY $distance";

	return "SELECT x.* FROM (SELECT DISTINCT ON (id) id, v FROM t WHERE id % 97 = 5 AND v IS NOT NULL ORDER BY id, ctid) AS o, LATERAL ($select$limit) AS x" if $lateral;
	return $select if $truth;
	return "BEGIN; DECLARE cur CURSOR FOR $select; FETCH $query->{limit} FROM cur; FETCH $query->{limit} FROM cur; COMMIT" if $query->{form} eq 'cursor';
	return "SET plan_cache_mode = force_generic_plan; PREPARE p AS $select$limit; EXECUTE p; DEALLOCATE p; RESET plan_cache_mode" if $query->{form} eq 'prepared';
	return $select . $limit;
}

# ---------------------------------------------------------------------
# Running and comparing
# ---------------------------------------------------------------------

# Each query's rows, late rows and error.
sub answers
{
	my ($case, $truth, @queries) = @_;
	my $script = "\\set ON_ERROR_STOP 0\nSET client_min_messages = debug1; SET statement_timeout = '60s';\n"
	  . ($truth ? 'SET enable_indexscan = off; SET enable_bitmapscan = off;' : 'SET enable_seqscan = off;') . "\n";

	foreach my $i (0 .. $#queries)
	{
		$script .= join '', map { "SET $_ = $queries[$i]{set}{$_}; " } sort keys %{ $queries[$i]{set} } unless $truth;
		$script .= "\n\\echo =$i\n\\warn =$i\n" . sql($case, $queries[$i], $truth) . ";\nROLLBACK;\n";
	}
	my ($stdout, $stderr) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$stdout, '2>', \$stderr);
	my %rows = map { /^(\d+)\n(.*)/s ? ($1 => $2) : () } split /^=/m, $stdout;
	my %said = map { /^(\d+)\n(.*)/s ? ($1 => $2) : () } split /^=/m, $stderr;
	return map {
		my $said = $said{$_} // 'ERROR:  no answer';
		{
			rows => [ map { [ split /\|/, $_, -1 ] } split /\n/, $rows{$_} // '' ],
			late => sum0($said =~ /left out (\d+) rows/g),
			error => join(' ', $said =~ /((?:ERROR|FATAL|PANIC):  .*|connection .*lost)/g)
		}
	} 0 .. $#queries;
}

# Distances as numbers, NaN and NULL last
sub number { my ($d) = @_; return $d eq '' ? 9e307 : $d eq 'NaN' ? 8e307 : $d eq 'Infinity' ? 7e307 : $d + 0 }

# What differs, and how many of the rows are the nearest ones and how many should be.
sub compare
{
	my ($query, $got, $truth) = @_;
	my (%wanted, %distance, %seen, %last, %n, %hits);

	return "errors differ: $got->{error} and $truth->{error}" if $got->{error} ne $truth->{error};
	return '' if $got->{error};
	foreach my $row (@{ $truth->{rows} })
	{
		my ($g, $id, $d, $there) = @$row;
		$distance{"$g $id"}{$d}++;
		push @{ $wanted{$g} }, number($d) if $there eq 't';
	}
	my $skip = $query->{form} eq 'cursor' ? 0 : $query->{offset};
	my $limit = $query->{form} eq 'cursor' ? 2 * $query->{limit} : $query->{limit};
	foreach my $row (@{ $got->{rows} })
	{
		my ($g, $id, $d) = @$row;
		return "row $id at $d is no answer" unless $distance{"$g $id"}{$d};
		return "row $id twice" if ++$seen{"$g $id $d"} > $distance{"$g $id"}{$d};
		return "row $id at $d after one at $last{$g}" if number($d) < ($last{$g} // -9e307);
		$last{$g} = number($d);
		my $k = min($skip + $limit, scalar @{ $wanted{$g} // [] });
		$hits{$g}++ if $k && $last{$g} <= $wanted{$g}[ $k - 1 ];
		$n{$g}++;
	}
	my ($hits, $of) = (0, 0);
	foreach my $g (keys %wanted)
	{
		my $most = max(0, min($limit, @{ $wanted{$g} } - $skip));
		return 'only ' . ($n{$g} // 0) . " rows of $most, $got->{late} late" if ($n{$g} // 0) + $got->{late} < $most;
		$hits += min($most, $hits{$g} // 0);
		$of += $most;
	}
	@{$query}{qw(hits of)} = ($hits, $of);
	return '';
}

sub set_up
{
	my ($case) = @_;
	my $script = join '', map { "$_;\n" } 'SET client_min_messages = error', 'DROP TABLE IF EXISTS t', @{ $case->{setup} };
	my $said = '';
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$script, '>&', \$said);
	return $said;
}

# Leave out of a case and a query what can be left out while they still differ.
sub minimize
{
	my ($case, $query) = @_;
	my $differs = sub {
		my ($c, $q) = @_;
		return '' if set_up($c) ne '';
		my ($got) = answers($c, 0, $q);
		my ($truth) = answers($c, 1, $q);
		return compare($q, $got, $truth);
	};
	my $what = $differs->($case, $query) or return 'differs no more when it is run again';

	for (my $i = $#{ $case->{setup} }; $i > 0; $i--)
	{
		my %less = (%$case, setup => [ @{ $case->{setup} }[ grep { $_ != $i } 0 .. $#{ $case->{setup} } ] ]);
		$case = \%less if $less{setup}[0] && $differs->(\%less, $query);
	}
	foreach my $i (reverse 0 .. $#{ $query->{conditions} })
	{
		my %less = (%$query, conditions => [ @{ $query->{conditions} }[ grep { $_ != $i } 0 .. $#{ $query->{conditions} } ] ]);
		$query = \%less if $differs->($case, \%less);
	}
	foreach my $name (keys %{ $query->{set} })
	{
		my %less = (%$query, set => { map { $_ => $query->{set}{$_} } grep { $_ ne $name } keys %{ $query->{set} } });
		$query = \%less if $differs->($case, \%less);
	}
	return join "\n", $differs->($case, $query), (map { "$_;" } @{ $case->{setup} }),
	  'SET enable_seqscan = off;', (map { "SET $_ = $query->{set}{$_};" } sort keys %{ $query->{set} }), sql($case, $query, 0) . ';';
}

my ($n, $hits, $of, $failed) = (0, 0, 0, 0);
for (my $number = $first; $until ? time < $until : $number < $first + $cases; $number++)
{
	srand($seed * 100_000 + $number);
	my $case = random_case();
	my $name = "case $number of seed $seed: $case->{type_indexed}($case->{dim}) by $case->{metric}" . ($case->{compact} ? ', compact' : '');
	my @queries = map { random_query($case) } 1 .. $queries;
	my $said = set_up($case);

	is($said, '', "$name, set up") or diag(join ";\n", @{ $case->{setup} });
	my @got = answers($case, 0, @queries);
	my @truth = answers($case, 1, @queries);
	my @wrong;
	my ($case_hits, $case_of) = (0, 0);
	foreach my $i (0 .. $#queries)
	{
		my $what = compare($queries[$i], $got[$i], $truth[$i]);
		push @wrong, "$what\n" . minimize($case, $queries[$i]) if $what && @wrong < 2;
		$n++;
		next if $what || !defined $queries[$i]{of} || $queries[$i]{set}{'hnsw.ef_search'} < 40;
		$case_hits += $queries[$i]{hits};
		$case_of += $queries[$i]{of};
	}
	is(join("\n", @wrong), '', "$name, $queries queries");
	if ($case_of >= 50)
	{
		# Four bits of rows of all lengths tell products less well.
		my $uneven = grep { /10 \^/ } @{ $case->{setup} };
		my $least = $case->{compact} && $case->{metric} eq 'ip' && $uneven ? 0.8 : 0.9;

		at_least($case_hits / $case_of, $least, "$name: of the $case_of nearest rows, found")
		  or diag(join ";\n", @{ $case->{setup} });
	}
	$hits += $case_hits;
	$of += $case_of;
	last if @wrong && ++$failed > 5;
}
note("$n queries");
at_least($hits / max($of, 1), 0.95, 'of the nearest rows, found') unless $cases == 1;
check_and_stop($node);
done_testing();
