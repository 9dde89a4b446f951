# Kinds.pm: a table and an index of each kind, and what must hold of them, for tests
# that run the same statements over all kinds.
#
# The table of a kind has its name, and the columns id, n, v, a, b: v is made of the
# number n alone, so that each row's vector is known.  The index is called NAME_idx.

package Kinds;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT = qw(%kind any is_bm25 create_kinds create_table create_index some_rows drop_leftovers wrong_answers);

# type and value of the vectors of number n, index, operator; of what is looked for,
# where that is not the row's own vector, and a query that meets no row in particular.
our %kind = (
	l2 => { type => 'vector(12)', value => 'point(n, 12)', using => 'hnsw (v vector_l2_ops)', op => '<->' },
	cosine => { type => 'halfvec(12)', value => 'point(n, 12)::halfvec', using => 'hnsw (v halfvec_cosine_ops)', op => '<=>' },
	# Of one length, so that each row is the nearest of its own vector.
	ip => { type => 'vector(12)', value => 'l2_normalize(point(n, 12))', using => 'hnsw (v vector_ip_ops)', op => '<#>' },
	l1 => { type => 'vector(6)', value => 'point(n, 6)', using => 'hnsw (v vector_l1_ops) WITH (m = 6)', op => '<+>' },
	bits => { type => 'bit(120)', value => 'binary_quantize(point(n, 120))::bit(120)', using => 'hnsw (v bit_hamming_ops)', op => '<~>' },
	sparse => {
		type => 'sparsevec(500)',
		value => q[(SELECT '{' || string_agg(i * 9 + 1 + abs(hashint8(n % 37 * 31 + i)::bigint) % 9 || ':' || 0.5 + abs(hashint8(n * 37 + i)::bigint) % 1000 / 500.0, ',') || '}/500'
			FROM generate_series(0, 5 + n % 37) AS i)::sparsevec(500)],
		using => 'hnsw (v sparsevec_l2_ops)', op => '<->' },
	# By inner product, of one length, too; in lists of postings
	impacts => {
		type => 'sparsevec(500)',
		value => q[(SELECT l2_normalize(('{' || string_agg(i * 9 + 1 + abs(hashint8(n % 37 * 31 + i)::bigint) % 9 || ':' || 0.5 + abs(hashint8(n * 37 + i)::bigint) % 1000 / 500.0, ',') || '}/500')::sparsevec)
			FROM generate_series(0, 5 + n % 37) AS i)::sparsevec(500)],
		using => 'bm25 (v sparsevec_ip_ops)', op => '<#>' },
	compact => { type => 'vector(40)', value => 'point(n, 40)', using => 'hnsw (v vector_l2_ops) WITH (layout = compact)', op => '<->' },
	keys => { type => 'vector(8)', value => 'point(n, 8)', using => 'hnsw (v vector_l2_ops, a, b)', op => '<->' },
	# A node takes more than one page.
	wide => { type => 'vector(2500)', value => 'point(n, 2500)', using => 'hnsw (v vector_l2_ops)', op => '<->' },
	words => {
		type => 'text',
		value => q[(SELECT 'own' || n || ' ' || string_agg('w' || abs(hashint8(n * 31 + i)::bigint) % (3 + i * i), ' ') FROM generate_series(1, 5 + n % 20) AS i)],
		using => q[bm25 (v) WITH (text_config = 'simple')], op => '<@>', own => q['own' || n], query => q['w1 w2 w3'] });

sub any { return $_[ int(rand(@_)) ] }

# Is its index one of bm25?
sub is_bm25 { return $kind{ $_[0] }{using} =~ /^bm25/ }

# A table of this kind, of another name.
sub create_table { my ($name, $table) = @_; return "CREATE TABLE $table (id serial PRIMARY KEY, n int, v $kind{$name}{type}, a int, b text)" }
sub create_index { my ($name, $index, $table, $how) = @_; return 'CREATE INDEX ' . ($how // '') . " $index ON $table USING $kind{$name}{using}" }

# INSERT of the rows of these numbers; what a is.  The sequence makes the id.
sub some_rows
{
	my ($name, $table, $a, @numbers) = @_;
	return "INSERT INTO $table (n, v, a, b) SELECT n, make_$name(n), $a, 'b' || n % 3 FROM unnest('{" . join(',', @numbers) . "}'::int[]) AS n";
}

# For each kind: make_NAME(n), and own_NAME(n), which looks for it.  A number in ten
# is one of few: rows whose vectors are equal.
sub create_functions
{
	my (@names) = @_;
	return q{
		CREATE FUNCTION point(n bigint, dim int) RETURNS vector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
			SELECT array_agg((hashint8(n % 37 * 1009 + i) + 0.4 * hashint8(n * 16001 + i)) / 2147483648.0)::vector
			FROM generate_series(1, dim) AS i $$;
	} . join '', map {
		my $own = $kind{$_}{own} // "make_$_(n)";
		"CREATE FUNCTION make_$_(n bigint) RETURNS $kind{$_}{type} LANGUAGE sql IMMUTABLE PARALLEL SAFE AS \$\$ SELECT $kind{$_}{value} \$\$;\n"
		  . "CREATE FUNCTION own_$_(n bigint) RETURNS $kind{$_}{type} LANGUAGE sql IMMUTABLE PARALLEL SAFE AS \$\$ SELECT $own \$\$;\n"
	} @names;
}

# Tables and indexes of these kinds, with so many rows: all of them built, some inserted.
sub create_kinds
{
	my ($node, $rows, @names) = @_;
	my $sql = 'CREATE EXTENSION IF NOT EXISTS piramid;' . create_functions(@names);

	$sql .= "CREATE EXTENSION piramid_bm25;\n" if grep { is_bm25($_) } @names;
	foreach my $name (@names)
	{
		my $n = $name eq 'wide' ? int($rows / 20) + 1 : $rows;

		$sql .= create_table($name, $name) . ";\n"
		  . "INSERT INTO $name (n, v, a, b) SELECT n, make_$name(n), n % 5, 'b' || n % 3 FROM generate_series(1, $n) AS n;\n"
		  . create_index($name, "${name}_idx", $name) . ";\n"
		  . some_rows($name, $name, 1, map { $_ % 3 ? 10_000 + $_ : 7 } 1 .. $n / 8) . ";\n";
	}
	$node->safe_psql('postgres', $sql);
}

# Indexes that commands left behind which were killed, or ended by an error
sub drop_leftovers
{
	my ($node) = @_;
	$node->safe_psql('postgres', $_) foreach split /\n/, $node->safe_psql('postgres', q{
		SELECT 'DROP INDEX IF EXISTS ' || indexrelid::regclass FROM pg_index JOIN pg_class c ON c.oid = indexrelid
		WHERE relnamespace = 'public'::regnamespace AND (NOT indisvalid OR relname ~ '_b\d$|_ccnew|_ccold')});
}

# What is wrong with what a table's index says, '' if nothing is: findings of the check,
# rows that it does not return or returns twice, rows that their own vector does not find
# (of one row in $share), distances that are not the rows'.
sub wrong_answers
{
	my ($node, $name, %params) = @_;
	my $table = $params{table} // $name;
	my $index = $params{index} // "${table}_idx";
	my $share = $params{share} // 1;
	my $op = $kind{$name}{op};
	my $query = $kind{$name}{query} // "make_$name(3)";
	my ($status, $stdout, $stderr) = $node->psql($params{database} // 'postgres', qq{
		SET enable_seqscan = off; SET enable_sort = off; SET client_min_messages = error;
		SET hnsw.ef_search = 100; SET bm25.unmatched = on; SET jit = off;
		SELECT 'check: ' || f FROM piramid_check('$index', true) AS f WHERE severity = 'error';
		SELECT 'rows: ' || ARRAY[count(*), count(DISTINCT id), (SELECT count(*) FROM (SELECT id FROM $table OFFSET 0) AS y)]::text
		FROM (SELECT id FROM $table ORDER BY v $op $query LIMIT 10000000) AS x
		HAVING count(*) <> (SELECT count(*) FROM (SELECT id FROM $table OFFSET 0) AS y) OR count(*) <> count(DISTINCT id);
		SELECT 'lost: ' || x.id || ' of number ' || x.n FROM $table AS x, LATERAL (SELECT own_$name(x.n) AS own OFFSET 0) AS o
		WHERE x.id % $share = 0 AND NOT EXISTS (
			SELECT FROM (SELECT y.id, y.v $op own AS d FROM $table AS y ORDER BY y.v $op own LIMIT 10) AS z
			HAVING bool_or(z.id = x.id) OR max(z.d) <= (x.v $op own) AND count(*) = 10);
		SELECT 'not its own vector: ' || id FROM (SELECT id, n, v FROM $table OFFSET 0) AS x
		WHERE id % $share = 0 AND v::text <> make_$name(n)::text;
		SELECT 'uncommitted: ' || count(*) FROM (SELECT a FROM $table ORDER BY v $op $query LIMIT 10000000) AS x WHERE a = -1 HAVING count(*) > 0});

	my @wrong = split /\n/, $stdout;
	push @wrong, "status $status: $stderr" if $status;
	@wrong = (@wrong[ 0 .. 9 ], '... ' . (@wrong - 10) . ' more') if @wrong > 10;
	return join '', map { "$table: $_\n" } @wrong;
}

1;
