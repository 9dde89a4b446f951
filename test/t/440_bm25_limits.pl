# bm25 at its limits: many scans and partitions at once, many words, long ones, large
# documents, little memory and room, cancelled statements, names and queries of any form.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Piramid;

my $node = piramid_node('bm25_limits', conf => "autovacuum = off\nmax_files_per_process = 64");
my $smallest = $node->safe_psql('postgres', "SELECT min_val || unit FROM pg_settings WHERE name = 'maintenance_work_mem'");
sub sql { return $node->safe_psql('postgres', "SET enable_seqscan = off; SET client_min_messages = warning;\n$_[0]") }
sub is_whole { my ($index, $name) = @_; is(sql("SELECT * FROM piramid_check('$index', true)"), '', "$name: the index is whole") }

sql(q{
	CREATE EXTENSION piramid_bm25;
	CREATE TABLE t AS SELECT i AS id, 'all w' || i % 97 || ' x' || i % 7 || ' u' || i AS body FROM generate_series(1, 5000) i;
	CREATE INDEX t_body ON t USING bm25 (body) WITH (text_config = 'simple')});

# Many scans at once in one backend, of one index, which end in any order
is(sql(q{
	CREATE FUNCTION many_scans() RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		cursors refcursor[];
		c refcursor;
		found int;
		wrong int := 0;
	BEGIN
		FOR i IN 1 .. 120 LOOP
			c := NULL;
			OPEN c NO SCROLL FOR EXECUTE format('SELECT id FROM t ORDER BY body <@> %L', 'u' || 37 * i || ' w1');
			cursors[i] := c;
		END LOOP;
		FOR round IN 1 .. 3 LOOP
			FOR i IN 1 .. 120 LOOP
				c := cursors[i];
				FETCH c INTO found;
				wrong := wrong + CASE WHEN round = 1 THEN (found <> 37 * i)::int ELSE (found % 97 <> 1 OR found = 37 * i)::int END;
			END LOOP;
		END LOOP;
		FOR i IN 1 .. 120 LOOP
			c := cursors[1 + i * 7 % 120];
			CLOSE c;
		END LOOP;
		RETURN wrong;
	END $$;
	SELECT many_scans()}), 0, 'many scans at once');

# Many partitions, more than files may be open
sql('CREATE TABLE p (id int, body text) PARTITION BY RANGE (id);'
	. join('', map { my $to = $_ + 50; "CREATE TABLE p_$_ PARTITION OF p FOR VALUES FROM ($_) TO ($to);" } map { 50 * $_ } 0 .. 100)
	. q{INSERT INTO p SELECT * FROM t; CREATE INDEX p_body ON p USING bm25 (body) WITH (text_config = 'simple')});
my $best = 'SELECT array_agg(id) FROM (SELECT id FROM %s ORDER BY body <@> \'w5 x3 u4000\', id LIMIT 20) x';
is(sql(sprintf $best, 'p'), sql(sprintf $best, 't'), 'many partitions: the rows of one table');
is(sql(q{SELECT count(*) FROM p WHERE body @@ to_bm25query('w5 & x3'::tsquery)}), sql(q{SELECT count(*) FROM t WHERE body @@ to_bm25query('w5 & x3'::tsquery)}), 'many partitions: a condition');

# A million different words, by runs in temporary files
sql(q{
	CREATE TABLE words AS SELECT i AS id, (SELECT string_agg('w' || 8 * i + j, ' ') FROM generate_series(0, 7) j) AS body FROM generate_series(0, 124999) i;
	SET maintenance_work_mem = '8MB';
	CREATE INDEX words_body ON words USING bm25 (body) WITH (text_config = 'simple')});
is(sql(q{SELECT count(*), min(df), max(df) FROM piramid_bm25_terms('words_body')}), '1000000|1|1', 'a million words');
is(sql(q{SELECT count(*) FROM generate_series(0, 999999, 4999) n WHERE n / 8 <> (SELECT id FROM words ORDER BY body <@> ('w' || n) LIMIT 1)}), 0, 'each is found');
is_whole('words_body', 'a million words');
# Not enough room for the runs: an error, and nothing is left of it.
fails_like($node, "SET maintenance_work_mem = '1MB'; SET temp_file_limit = '1MB'; CREATE INDEX none ON words USING bm25 (body)",
	qr/temporary file size exceeds temp_file_limit/, 'temp_file_limit');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname = 'none'}), 0, 'temp_file_limit: no index');
is(scalar(() = glob($node->data_dir . '/base/pgsql_tmp/*')), 0, 'temp_file_limit: no file');
sql('DROP TABLE words');

# As many different dimensions, far apart
sql(q{
	CREATE TABLE wide_sparse AS SELECT i AS id, (SELECT '{' || string_agg(1 + 2000 * (8 * i + j) || ':' || 1 + j, ',') || '}/1000000000' FROM generate_series(0, 7) j)::sparsevec(1000000000) AS v
		FROM generate_series(0, 49999) i;
	ALTER TABLE wide_sparse ALTER v TYPE sparsevec(1000000000);
	SET maintenance_work_mem = '4MB';
	CREATE INDEX wide_sparse_v ON wide_sparse USING bm25 (v sparsevec_ip_ops);
	INSERT INTO wide_sparse SELECT 50000 + i, ('{' || 2 + 2000 * i || ':1}/1000000000')::sparsevec FROM generate_series(0, 2999) i});
is(sql(q{SELECT count(*), min(df), max(df) FROM piramid_bm25_terms('wide_sparse_v')}), '403000|1|1', 'many dimensions');
is(sql(q{SELECT count(*) FROM generate_series(0, 399999, 4999) n WHERE n / 8 <> (SELECT id FROM wide_sparse ORDER BY v <#> ('{' || 1 + 2000 * n || ':1}/1000000000')::sparsevec LIMIT 1)}), 0, 'many dimensions: each is found');
is(sql(q{SELECT count(*) FROM generate_series(0, 2999, 499) n WHERE 50000 + n <> (SELECT id FROM wide_sparse ORDER BY v <#> ('{' || 2 + 2000 * n || ':1}/1000000000')::sparsevec LIMIT 1)}), 0, 'many dimensions: new ones, too');
sql(q{SELECT piramid_bm25_merge('wide_sparse_v')});
is_whole('wide_sparse_v', 'many dimensions');
sql('DROP TABLE wide_sparse');

# Words of the greatest length, alike but for their ends, and longer ones, which are left out
sql(q{
	CREATE TABLE long (id int, body text, v tsvector);
	CREATE INDEX long_body ON long USING bm25 (body) WITH (text_config = 'simple');
	CREATE INDEX long_v ON long USING bm25 (v);
	INSERT INTO long SELECT i, w || ' ' || lpad('', 2047, 'y') || i, ('''' || w || '''')::tsvector FROM (SELECT i, rpad('', 2044, 'x') || to_char(i, 'FM000') AS w FROM generate_series(1, 300) i) x});
foreach my $when ('new', 'vacuumed', 'merged', 'built')
{
	sql('VACUUM long') if $when eq 'vacuumed';
	sql(q{SELECT piramid_bm25_merge('long_body'), piramid_bm25_merge('long_v')}) if $when eq 'merged';
	sql('REINDEX TABLE long') if $when eq 'built';
	is(sql(q{SELECT count(*), max(octet_length(term)) FROM piramid_bm25_terms('long_body')}), '300|2047', "long words, $when");
	is(sql(qq{SELECT count(*) FROM generate_series(1, 300) i WHERE i IS DISTINCT FROM (SELECT id FROM long ORDER BY $_ LIMIT 1)}), 0, "long words, $when: each is found, $_")
		foreach q{body <@> (rpad('', 2044, 'x') || to_char(i, 'FM000'))}, q{v <@> (quote_literal(rpad('', 2044, 'x') || to_char(i, 'FM000')))::tsquery};
	is(sql(q{SELECT count(*) FROM long WHERE body @@ to_bm25query((rpad('', 2044, 'x') || '1:*')::tsquery)}), 100, "long words, $when: by prefix");
	is_whole($_, "long words, $when, $_") foreach 'long_body', 'long_v';
}

# Documents of a megabyte and of fifty.  Terms of a large document do not stay in the head,
# where each query reads them.
sql(q{
	CREATE TABLE large (id int, body text);
	CREATE INDEX large_body ON large USING bm25 (body) WITH (text_config = 'simple');
	INSERT INTO large SELECT i, (SELECT string_agg('w' || i * j, ' ') FROM generate_series(1, 800) j) FROM generate_series(1, 60) i});
at_most(sql(q{SELECT head_pages FROM piramid_bm25_info('large_body')}), 16, 'pages of the head, with large documents');
sql('VACUUM large');
is(sql(q{SELECT head_pages FROM piramid_bm25_info('large_body')}), 1, 'pages of the head after VACUUM');
is_whole('large_body', 'large documents');
sql(q{
	INSERT INTO large SELECT 1001, string_agg('mega' || i, ' ') FROM generate_series(1, 100000) i;
	INSERT INTO large SELECT 1050, string_agg(md5(i::text) || md5((-i)::text), ' ') || ' end' FROM generate_series(1, 770000) i});
at_least(sql('SELECT max(octet_length(body)) FROM large'), 50_000_000, 'bytes of a document');
foreach my $when ('new', 'vacuumed', 'merged')
{
	sql('VACUUM large') if $when eq 'vacuumed';
	sql(q{SELECT piramid_bm25_merge('large_body')}) if $when eq 'merged';
	is(sql(q{SELECT id FROM large ORDER BY body <@> 'mega99999' LIMIT 1}), 1001, "a document of a megabyte, $when");
	is(sql(q{SELECT id FROM large ORDER BY body <@> 'end' LIMIT 1}), 1050, "a document of 50 MB, $when");
}
is(sql(q{SELECT piramid_bm25_check('large_body')}), 62, 'a document of 50 MB: the index is whole');
sql('DROP TABLE large');

# After rows are deleted the index counts those that are left, and does not become smaller;
# but as many new rows, in small transactions, mostly go into free pages.
sql(q{
	CREATE TABLE again (id int, body text);
	CREATE FUNCTION words(seed int) RETURNS text LANGUAGE sql IMMUTABLE AS
		$$ SELECT string_agg('w' || (hashint4(seed * 31 + j)::bigint & 1023) * (hashint4(seed * 37 + j)::bigint & 15), ' ') FROM generate_series(1, 9 + seed % 7) j $$;
	INSERT INTO again SELECT i, words(i) FROM generate_series(1, 20000) i;
	CREATE INDEX again_body ON again USING bm25 (body) WITH (text_config = 'simple');
	DELETE FROM again WHERE id % 10 < 3;
	VACUUM again;
	CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
	BEGIN
		FOR k IN 1 .. 60 LOOP
			INSERT INTO again SELECT i, words(i) FROM generate_series(20000 + 100 * k, 20099 + 100 * k) i;
			COMMIT;
		END LOOP;
	END $$});
my $count = q{SELECT documents, dead_documents, round(average_length::numeric, 6) FROM piramid_bm25_info('again_body')};
my $truth = q{SELECT count(*), 0, round(avg(array_length(string_to_array(body, ' '), 1)), 6) FROM again};
is(sql($count), sql($truth), 'statistics after 30% deleted and VACUUM');
my ($pages, $free) = split /\|/, sql(q{SELECT pages, free_pages FROM piramid_bm25_info('again_body')});
at_least($free, int(0.4 * $pages), "free pages, of $pages");
sql('CALL fill()');
my ($later, $still_free) = split /\|/, sql(q{SELECT pages, free_pages FROM piramid_bm25_info('again_body')});
at_most($later, int(1.25 * $pages), "pages after as many rows were inserted, $still_free of them free");
sql('VACUUM again');
is(sql($count), sql($truth), 'statistics after inserts and VACUUM');
is_whole('again_body', 'free pages used again');

# The smallest memory: a bitmap that has no room for each row; builds; merges
sql(q{CREATE TABLE wide AS SELECT i AS id, 'all w' || i % 97 || ' x' || i % 7 || ' u' || i AS body, repeat(md5(i::text), 30) AS rest FROM generate_series(1, 30000) i;
	CREATE INDEX wide_body ON wide USING bm25 (body) WITH (text_config = 'simple')});
is(sql(q{SET work_mem = '64kB'; SET enable_indexscan = off; SELECT count(*) FROM wide WHERE body @@ to_bm25query('(w5 | x3) & !x4'::tsquery)}),
	sql(q{SELECT count(*) FROM wide WHERE to_tsvector('simple', body) @@ '(w5 | x3) & !x4'}), 'work_mem 64kB: a condition');
is(sql(q{SET work_mem = '64kB'; SELECT count(*) FROM (SELECT FROM wide ORDER BY body <@> 'all' LIMIT 20000) x}), 20000, 'work_mem 64kB: many rows in order');
my $build = 'REINDEX INDEX wide_body';
my $info = q{SELECT piramid_bm25_info('wide_body')};
my $same = sql($info);
foreach my $workers (0, 2)
{
	sql("SET maintenance_work_mem = '$smallest'; SET min_parallel_table_scan_size = 0; SET max_parallel_maintenance_workers = $workers; $build");
	is(sql($info), $same, "maintenance_work_mem $smallest, $workers workers: the same index");
}
is(sql(qq{SET maintenance_work_mem = '$smallest'; INSERT INTO wide SELECT id, body FROM wide WHERE id % 3 = 0; DELETE FROM wide WHERE id % 4 = 1; VACUUM wide; SELECT piramid_bm25_merge('wide_body');
	SELECT * FROM piramid_check('wide_body', true)}), '', "maintenance_work_mem $smallest: merges");

# Statements that end in the middle leave everything usable: a build in which a row's
# expression cancels it, searches and conditions that a filter cancels or a timeout ends.
sql(q{
	CREATE FUNCTION cancelled_at(id int, at int, body text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		PERFORM pg_cancel_backend(pg_backend_pid()) WHERE id = at;
		RETURN body;
	END $$});
my $log = -s $node->logfile;
foreach my $at (2, 2502, 30000)
{
	fails_like($node, "SET maintenance_work_mem = '1MB'; CREATE INDEX none ON wide USING bm25 (cancelled_at(id, $at, body))", qr/canceling statement due to user request/, "a build cancelled at row $at");
	fails_like($node, "SET enable_seqscan = off; SELECT count(*) FROM (SELECT FROM wide WHERE cancelled_at(id, $at, body) <> '' ORDER BY body <@> 'all') x", qr/canceling statement due to user request/, "a search cancelled at row $at");
	fails_like($node, "SET enable_seqscan = off; SELECT count(*) FROM wide WHERE body @@ to_bm25query('all') AND cancelled_at(id, $at, body) <> ''", qr/canceling statement due to user request/, "a condition cancelled at row $at");
	fails_like($node, "INSERT INTO wide SELECT $at, cancelled_at(i, 2000, 'fresh') FROM generate_series(1, 3000) i", qr/canceling statement due to user request/, "inserts cancelled, $at");
}
my $stopped = 0;
foreach my $ms (1 .. 12)
{
	foreach my $statement ('SELECT count(*) FROM (SELECT FROM wide ORDER BY body <@> \'all w1 w2 w3 x1 x2 x3\') x', 'SELECT count(*) FROM wide WHERE body @@ to_bm25query(\'all <-> w5\'::tsquery)', $build,
		'SELECT piramid_bm25_merge(\'wide_body\')', 'VACUUM wide', 'SELECT count(*) FROM piramid_check(\'wide_body\', true)')
	{
		my ($status, undef, $stderr) = $node->psql('postgres', "SET enable_seqscan = off;\nSET statement_timeout = $ms;\n$statement");
		like($stderr, qr/canceling statement due to statement timeout/, "$statement, $ms ms") if $status != 0;
		$stopped += $status != 0;
	}
}
note("$stopped statements ended by a timeout");
unlike(slurp_file($node->logfile, $log), qr/leak|PANIC|TRAP|terminated by signal/, 'nothing was left open');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname = 'none'}), 0, 'no index of a cancelled build');
sql('VACUUM wide');
is_whole('wide_body', 'after cancelled statements');

# Names that have to be quoted, and words that look like SQL
my $odd = q{we"ird'; DROP TABLE t; --$$};
(my $ident = $odd) =~ s/"/""/g;
(my $literal = $odd) =~ s/'/''/g;
sql(qq{
	CREATE SCHEMA "$ident";
	CREATE TABLE "$ident"."$ident" (id int, "$ident" text, "v$ident" vector(2));
	INSERT INTO "$ident"."$ident" VALUES (1, 'plum', '[1,0]'), (2, '$literal', '[0,1]'), (3, 'pear', '[1,1]');
	CREATE INDEX "i$ident" ON "$ident"."$ident" USING bm25 ("$ident") WITH (text_config = 'simple');
	CREATE INDEX ON "$ident"."$ident" USING hnsw ("v$ident" vector_cosine_ops)});
my $table = qq{format('%I.%I', '$literal', '$literal')};
my $index = qq{format('%I.%I', '$literal', 'i$literal')};
is(sql(qq{SELECT id FROM "$ident"."$ident" ORDER BY "$ident" <@> '$literal' LIMIT 1}), 2, 'odd names: the index is found');
is(sql(qq{SELECT id FROM "$ident"."$ident" ORDER BY "$ident" <@> to_bm25query('plum', $index) LIMIT 1}), 1, 'odd names: named');
is(sql(qq{SELECT id FROM "$ident"."$ident" ORDER BY "$ident" <@> ($index || ':plum')::bm25query LIMIT 1}), 1, 'odd names: as text');
is(sql(qq{SELECT d.id FROM piramid_hybrid($table, '$literal', '$literal', 'v$literal', '[1,0]', 1, weight => 0, filter => 'id > 0') h
	JOIN "$ident"."$ident" d ON d.ctid = h.tid}), 2, 'odd names: both');
at_least(sql(qq{SELECT count(*) FROM piramid_hybrid_explain($table, '$literal', '$literal', 'v$literal', '[1,0]')}), 3, 'odd names: explained');
is(sql(qq{SELECT count(*) FROM (VALUES ('$literal'), (E'\\\\'' OR true; --'), ('"'), ('\$1'), ('%s%n'), (E'\\t\\n\\x01')) w (q), LATERAL piramid_hybrid($table, '$literal', q, 'v$literal', '[1,0]') h
	WHERE h.score IS NULL OR h.vector_rank IS NULL}), 0, 'words that look like SQL');
is(sql('SELECT count(*) FROM t'), 5000, 'no table is lost');

# Queries of random characters: read, and then the same again as text, or refused.
my ($answered, $refused, $wrong) = split /\|/, sql(q{
	CREATE FUNCTION fuzz(n int) RETURNS TABLE (answered bigint, refused bigint, wrong text) LANGUAGE plpgsql AS $fuzz$
	DECLARE
		signs text[] := ARRAY['a', 'b', 't_body', ' ', ':', '"', '''', '@@ ', '@@', '&', '|', '!', '(', ')', '<->', '<', '>', '*', ':*', ':A', ',', '.', '\\', ';', '--', '$$', E'\n', U&'\00E9', U&'\+01F600', '0', 'public.', 'x'];
		q text;
		again text;
		state text;
	BEGIN
		answered := 0; refused := 0; wrong := '';
		PERFORM setseed(0.42);
		FOR i IN 1 .. n LOOP
			SELECT coalesce(string_agg(signs[1 + floor(random() * array_length(signs, 1))::int], ''), '') INTO q FROM generate_series(1, (random() * 12)::int + i % 2);
			BEGIN
				again := q::bm25query::text;
				IF again::bm25query::text <> again THEN
					wrong := wrong || '<' || q || '>';
				END IF;
				PERFORM id FROM t ORDER BY body <@> q::bm25query LIMIT 1;
				PERFORM id FROM t ORDER BY body <@> q LIMIT 1;
				PERFORM id FROM t WHERE body @@ q::bm25query LIMIT 1;
				PERFORM id FROM t WHERE body @@ to_bm25query(websearch_to_tsquery('simple', q)) LIMIT 1;
				answered := answered + 1;
			EXCEPTION WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
				IF state NOT IN ('42601', '42704', '42809', '42602', '22023', '42P01', '3F000', '42622', '55000', '0A000', '54000') THEN
					wrong := wrong || '<' || q || ' ' || state || ' ' || SQLERRM || '>';
				END IF;
				refused := refused + 1;
			END;
		END LOOP;
		RETURN NEXT;
	END $fuzz$;
	SELECT * FROM fuzz(3000)}), 3;
is($wrong, '', 'random queries');
at_least($answered, 500, 'random queries that were answered');
at_least($refused, 50, 'random queries that were refused');
is_whole('t_body', 'after random queries');
check_and_stop($node);
done_testing();
