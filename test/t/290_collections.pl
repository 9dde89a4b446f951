# Collections under both names of the extension, in dumps, and among roles that do
# not trust each other.
#
# By version, on 18: what dumps and locks do.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Move;
use Piramid;
use Worker;

my $node = piramid_node('collections');

# What the extension needs, and says so.
$node->safe_psql('postgres', 'CREATE DATABASE bare TEMPLATE template0');
my ($status, $out, $error) = $node->psql('bare', 'CREATE EXTENSION piramid_collections');
like($error, qr/this database has no piramid 0.3.0 or later.*CREATE EXTENSION piramid/s, 'without piramid: told what to do');
($status, $out, $error) = $node->psql('bare', "CREATE EXTENSION piramid VERSION '0.2.0'; CREATE EXTENSION piramid_collections");
like($error, qr/ALTER EXTENSION piramid UPDATE/, 'with an older one, too');

# Everything is pinned and described, and nothing runs with others' rights.
$node->safe_psql('postgres', 'CREATE EXTENSION piramid_collections');
is($node->safe_psql('postgres', q{
	SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_depend AS d ON objid = p.oid AND classid = 'pg_proc'::regclass AND d.deptype = 'e'
	WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'piramid_collections')
		AND (prosecdef OR NOT coalesce(proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}')}),
	'piramid.documents_added()', 'every function but one has a fixed search path, and all have the rights of their caller');

# That one, in C, looks up no name without its schema, but in statements that get a path: what stands in front
# in the path is not called, nor what fits better than what PostgreSQL has.
is($node->safe_psql('postgres', q{
	SELECT piramid.register_model('path', 'fake', 'm', 3, 100);
	SELECT piramid.create_collection('pathed', 'path', chunking => '{"deferred": true}', filter_columns => '{"n": "integer", "d": "date"}');
	CREATE TABLE keyed (id varchar(20) PRIMARY KEY, body text);
	SELECT piramid.attach_collection('keyed', 'body', 'path', chunking => '{"deferred": true}');
	CREATE SCHEMA trap;
	CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE FUNCTION trap.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE FUNCTION trap."varchar"(varchar, int, boolean) RETURNS varchar LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE FUNCTION trap.eq(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.eq);
	CREATE FUNCTION trap.eq8(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE OPERATOR trap.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.eq8);
	CREATE FUNCTION trap.counted(bigint, record) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE AGGREGATE trap.count(record) (SFUNC = trap.counted, STYPE = bigint, INITCOND = '0');
	CREATE FUNCTION trap.get(jsonb, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	CREATE OPERATOR trap.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = trap.get);
	CREATE DOMAIN trap.date AS pg_catalog.date CHECK (false);
	CREATE TABLE trap.collection (LIKE piramid.collection);
	CREATE TABLE trap.pathed_uncut (LIKE public.pathed_uncut);
	CREATE FUNCTION trap.cut_added(regclass, text[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
	SET search_path = trap, pg_catalog, public;
	INSERT INTO public.pathed (body, metadata) VALUES ('a', '{"n": 1}'), ('b', '{"d": "2020-01-01"}');
	INSERT INTO public.keyed VALUES ('x', 'a');
	SET search_path = public, trap;
	INSERT INTO pathed (body) VALUES ('d');
	RESET search_path;
	INSERT INTO pathed (body) VALUES ('c');
	SELECT string_agg(documents::text, ' ' ORDER BY id) FROM pathed_uncut;
	SELECT string_agg(documents::text, ' ' ORDER BY id) FROM keyed_uncut;
	SELECT count(*) FROM trap.pathed_uncut;
	SELECT piramid.drop_collection('pathed', keep_documents => false), piramid.drop_collection('keyed');
	DROP SCHEMA trap CASCADE; DROP TABLE keyed; DELETE FROM piramid.model}) =~ s/^\n|pathed\n|keyed\n|\n\|$//gr, "{1,2} {3} {4}\n{x}\n0", 'and it does not need one');
is($node->safe_psql('postgres', q{
	SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_depend AS d ON objid = p.oid AND classid = 'pg_proc'::regclass AND d.deptype = 'e'
	WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'piramid_collections') AND (provolatile = 'v') <> (proparallel = 'u')}),
	'', 'what only reads may do so in parallel');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid JOIN pg_depend AS d ON objid = c.oid AND classid = 'pg_class'::regclass AND d.deptype = 'e'
	WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'piramid_collections') AND relkind = 'r' AND attnum > 0
		AND (SELECT coalesce(e.typname, y.typname) FROM pg_type AS y LEFT JOIN pg_type AS e ON e.oid = y.typelem WHERE y.oid = atttypid) IN
			('regproc', 'regprocedure', 'regoper', 'regoperator', 'regconfig', 'regdictionary', 'regcollation', 'regnamespace')}),
	0, 'no column of a type that pg_upgrade refuses');
is($node->safe_psql('postgres', q{
	SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
	WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'piramid_collections') AND deptype = 'e'
		AND (classid = 'pg_proc'::regclass OR (classid = 'pg_class'::regclass AND
			(SELECT relkind IN ('r', 'v') FROM pg_class WHERE oid = objid)))
		AND obj_description(objid, classid::regclass::name) IS NULL}),
	'', 'every function, table and view has a comment');

# From 18 on, columns that are generated when they are read have no value in triggers.
SKIP: {
	skip 'no virtual columns before PostgreSQL 18', 1 if $node->pg_version < 18;
	like(($node->psql('postgres', q{SELECT piramid.register_model('path', 'fake', 'm', 3, 100);
		CREATE TABLE virtual (id int PRIMARY KEY, title text, body text GENERATED ALWAYS AS ('About ' || title));
		SELECT piramid.attach_collection('virtual', 'body', 'path')}))[2], qr/column "body" of table "public.virtual" is VIRTUAL.*STORED/s, 'a virtual column is refused');
	$node->safe_psql('postgres', q{DELETE FROM piramid.model; DROP TABLE virtual});
}

# A collection, and its search, for any database: extensions in other schemas.
my $make = q{
	SELECT piramid.register_model('three', 'fake', 'm-3', 3, 100);
	SELECT piramid.create_collection('docs', 'three', filter_columns => '{"lang": "text"}', chunking => '{"size": 40, "overlap": 0}');
	SELECT piramid.add_document('docs', format('This is document %s. It is short. It has three sentences.', n), metadata => jsonb_build_object('lang', n % 3))
	FROM generate_series(1, 20) AS n;
	CREATE TABLE items (id int PRIMARY KEY, body text);
	INSERT INTO items VALUES (1, 'An item.');
	SELECT piramid.attach_collection('items', 'body', 'three');
	SELECT piramid.create_collection('late', 'three', chunking => '{"deferred": true}', metadata_schema => '{"required": ["a"]}');
	SELECT piramid.alter_collection('late', '{"auto_promote": true}'), piramid.set_quota('late', max_documents => 1);
	INSERT INTO late (body, metadata) VALUES ('A late text.', '{"a": 1}');};
my $state = q{
	SELECT (SELECT string_agg(format('%s %s %s', c.id, c.text, c.lang), E'\n' ORDER BY c.id) FROM docs_chunk AS c),
		(SELECT string_agg(format('%s %s', v.chunk_id, v.embedding), E'\n' ORDER BY v.chunk_id) FROM docs_v1 AS v),
		(SELECT string_agg(format('%s %s %s %s', collection, version, state, embedded), E'\n' ORDER BY collection::text) FROM piramid.collection_status),
		(SELECT string_agg(to_jsonb(c)::text, E'\n' ORDER BY documents::text) FROM piramid.collection AS c)};
my $answers = q{SELECT string_agg(chunk_id::text, ' ') FROM piramid.search('docs', '[9,9,9]', 'document', filter => '{"lang": 1}')};
# A document changes, one comes, one goes; what is queued is embedded.
my $life = q{
	UPDATE docs SET body = body || ' And a fourth.' WHERE id = 3;
	DELETE FROM docs WHERE id = 4;
	INSERT INTO docs (body) VALUES ('A further document.');
	UPDATE items SET body = 'Another item.';
	CALL work();
	SELECT bool_and(coverage = 1), sum(embedded) FROM piramid.collection_status;
	SELECT count(*) FROM docs_chunk LEFT JOIN docs_v1 ON chunk_id = id WHERE embedding::text IS DISTINCT FROM embed(text)};

my ($destdir, $files) = compat_directory($node);
my @databases = ([ piramid => 'CREATE SCHEMA ext; CREATE EXTENSION piramid SCHEMA ext' ],
	[ piramid_bm25 => 'CREATE EXTENSION piramid; CREATE SCHEMA words; CREATE EXTENSION piramid_bm25 SCHEMA words' ]);
if ($destdir)
{
	my ($ok) = follow('install-compat', DESTDIR => $destdir, PG_CONFIG => 'pg_config', FORCE => '');
	ok($ok, 'the extension vector is installed');
	$node->append_conf('postgresql.conf', compat_conf($node, $destdir));
	$node->restart;
	push @databases, [ vector => 'CREATE EXTENSION vector' ];
}
my $dir = PostgreSQL::Test::Utils::tempdir;
foreach my $case (@databases)
{
	my ($name, $create) = @$case;

	$node->safe_psql('postgres', $_) foreach "CREATE DATABASE $name TEMPLATE template0", "CREATE DATABASE back_$name TEMPLATE template0";
	$node->safe_psql($name, "$create; CREATE EXTENSION piramid_collections; $make");
	$node->safe_psql($name, "$worker CALL work();");
	is($node->safe_psql($name, 'SELECT bool_and(coverage = 1), sum(chunks) FROM piramid.collection_status'), 't|41', "$name: all is embedded");
	my ($before, $found) = ($node->safe_psql($name, $state), $node->safe_psql($name, $answers));
	unlike($found, qr/^$/, "$name: a search finds");

	# Dumped and restored, all goes on, also where a table is gone.
	$node->safe_psql($name, "SELECT piramid.create_collection('gone', 'three'); DROP TABLE gone CASCADE");
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$name", '-d', $node->connstr($name) ], "$name: a dump");
	$node->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', $node->connstr("back_$name"), "$dir/$name" ], "$name: restored");
	is($node->safe_psql("back_$name", $state), $before, "$name: the same chunks, vectors and versions");
	is($node->safe_psql("back_$name", $answers), $found, "$name: the same answers");
	is($node->safe_psql("back_$name", $life), $node->safe_psql($name, $life), "$name: and the same life goes on");
	like(($node->psql("back_$name", q{INSERT INTO late (body) VALUES ('x')}))[2], qr/metadata.a is missing/, "$name: with the schema");
	like(($node->psql("back_$name", q{INSERT INTO late (body, metadata) VALUES ('x', '{"a": 1}')}))[2], qr/2 documents of at most 1/, "$name: with the quota");
	is($node->safe_psql("back_$name", q{SELECT piramid.cut('late'); SELECT text FROM late_chunk}), "1\nA late text.", "$name: and with what was still to be cut");
	like($node->safe_psql($name, 'SELECT count(*) FROM piramid.health() WHERE NOT ok AND check_name <> \'tables\''), qr/^0$/, "$name: healthy");
	($status, $out, $error) = $node->psql($name, "DROP EXTENSION $name");
	like($error, qr/depends on/, "$name: stays while it is needed");
}

# A dump of one schema lacks the registry: that is told, and what docs/collections.md copies makes it whole.
$node->safe_psql('piramid', q{CREATE SCHEMA part; SELECT piramid.create_collection('alone', 'three', schema => 'part'); INSERT INTO part.alone (body) VALUES ('A text.')});
$node->command_ok([ 'pg_dump', '-n', 'part', '-f', "$dir/part.sql", '-d', $node->connstr('piramid') ], 'a dump of one schema');
$node->safe_psql('postgres', 'CREATE DATABASE part TEMPLATE template0');
$node->safe_psql('part', 'CREATE SCHEMA ext; CREATE EXTENSION piramid SCHEMA ext; CREATE EXTENSION piramid_collections');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/part.sql", '-d', $node->connstr('part') ], 'restored');
like(($node->psql('part', q{INSERT INTO part.alone (body) VALUES ('x')}))[2], qr/is not known.*copy them/s, 'without the registry: told what to do');
foreach my $table ('model', 'collection', 'version')
{
	my $which = $table eq 'model' ? '' : q{WHERE documents = 'part.alone'::regclass};
	append_to_file("$dir/$table.copy", $node->safe_psql('piramid', "COPY (SELECT * FROM piramid.$table $which) TO STDOUT") . "\n");
	$node->safe_psql('part', "COPY piramid.$table FROM '$dir/$table.copy'");
}
is($node->safe_psql('part', q{INSERT INTO part.alone (body) VALUES ('Another text.');
	SELECT text FROM piramid.search('part.alone', query_text => 'text') ORDER BY 1; SELECT count(*) FROM piramid.claim(); SELECT count(*) FROM piramid.health() WHERE NOT ok}),
	"A text.\nAnother text.\n2\n0", 'with it, all goes on');

# The extensions are trusted: their scripts run as a superuser in a schema of whoever creates them, and
# call no operator that fits better there than those of PostgreSQL.
$node->safe_psql('postgres', 'CREATE ROLE trapper LOGIN');
my $trap = join ' ', map {
	my ($op, $left, $right) = @$_;
	my $function = "trap.f_${left}_$right";
	(qq{CREATE FUNCTION $function($left, $right) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN RAISE WARNING 'trapped %', current_user; RETURN true; END \$\$;},
		"CREATE OPERATOR trap.$op (LEFTARG = $left, RIGHTARG = $right, FUNCTION = $function);")
} [ '=', 'oid', 'regclass' ], [ '<>', 'regnamespace', 'regnamespace' ], [ '=', 'name', 'text' ], [ '=', 'oid', 'regtype' ], [ '=', 'oid', 'regproc' ];
foreach my $case ([ 'piramid' ], [ 'piramid_bm25', 'CREATE EXTENSION piramid' ],
	[ 'piramid_bm25', 'CREATE EXTENSION piramid; CREATE ACCESS METHOD bm25 TYPE INDEX HANDLER bthandler', qr/access method "bm25" exists already, of no extension.*DROP ACCESS METHOD bm25\./s ],
	[ 'piramid_collections', 'CREATE EXTENSION piramid' ], $destdir ? ([ 'vector' ], [ 'vector', 'CREATE EXTENSION piramid' ]) : ())
{
	my ($extension, $before, $refused) = @$case;
	my $schema = $extension eq 'piramid_collections' ? 'piramid' : 'trap';
	my $name = join ' after ', $extension, $before // ();
	my $mine = $trap =~ s/\btrap\./$schema./gr;

	$node->safe_psql('postgres', $_) foreach 'DROP DATABASE IF EXISTS trapped', 'CREATE DATABASE trapped OWNER trapper TEMPLATE template0';
	$node->safe_psql('trapped', $before) if $before;
	($status, $out, $error) = $node->psql('trapped', "CREATE SCHEMA $schema; $mine CREATE EXTENSION $extension SCHEMA $schema", extra_params => [ '-U', 'trapper' ]);
	unlike($error, qr/trapped/, "$name: no operator of its creator is called");
	if ($refused) { like($error, $refused, "$name: refused") }
	else { is($status, 0, "$name: created") or diag($error) }
}
like(($node->psql('trapped', 'CREATE SCHEMA piramid_move AUTHORIZATION trapper; CREATE EXTENSION piramid_move'))[2],
	qr/schema "piramid_move" belongs to another role/, 'piramid_move: not in a schema of somebody else');
$node->safe_psql('postgres', $_) foreach 'DROP DATABASE trapped', 'DROP ROLE trapper';

# Roles: an owner, a reader, a writer, a worker, a stranger.
$node->safe_psql('postgres', q{
	CREATE ROLE alice LOGIN; CREATE ROLE mallory LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE writer LOGIN; CREATE ROLE worker LOGIN; CREATE ROLE stranger LOGIN;
	CREATE SCHEMA alice AUTHORIZATION alice; CREATE SCHEMA mallory AUTHORIZATION mallory;
	GRANT USAGE ON SCHEMA alice, mallory TO PUBLIC});

# A statement of a role; what it returns, or its error.
sub as
{
	my ($role, $sql) = @_;
	my ($status, $out, $error) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return $status == 0 ? $out : $error =~ s/^psql:.*?ERROR:/ERROR:/r;
}
sub is_refused
{
	my ($role, $sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like(as($role, $sql), qr/ERROR:.*(permission denied|must be owner|belongs to another role|may run code)/, $name // "$role: $sql");
}
foreach my $role (qw(alice mallory))
{
	as($role, "SELECT piramid.register_model('$role', '$role', 'm', 3, 100);
		SELECT piramid.create_collection('docs', '$role', schema => '$role');
		SELECT piramid.grant_collection('$role.docs', 'worker', 'work')");
	is(as($role, "SELECT piramid.add_document('$role.docs', 'The secret of $role.')"), 1, "$role has a collection");
}
as('alice', q{SELECT piramid.grant_collection('alice.docs', 'reader', 'read'), piramid.grant_collection('alice.docs', 'writer', 'write')});
is_refused($_, q{SELECT * FROM piramid.search('alice.docs', query_text => 'secret')}) foreach qw(stranger mallory worker);
is_refused($_, q{SELECT piramid.add_document('alice.docs', 'x')}) foreach qw(stranger mallory reader worker);
is_refused($_, q{SELECT piramid.delete_documents('alice.docs', '{}')}) foreach qw(stranger mallory reader worker);
is_refused($_, q{SELECT piramid.set_model('alice.docs', 'mallory')}) foreach qw(stranger mallory reader writer worker);
is_refused($_, q{SELECT piramid.drop_collection('alice.docs')}) foreach qw(stranger mallory reader writer worker);
is_refused($_, q{SELECT piramid.grant_collection('alice.docs', current_user::regrole, 'read')}) foreach qw(mallory);
is_refused($_, q{SELECT piramid.import_vectors('alice.docs', '{x}', '{"[1,2,3]"}')}) foreach qw(stranger mallory reader);
is_refused($_, q{UPDATE piramid.collection SET chunks = 'mallory.docs_chunk' WHERE documents = 'alice.docs'::regclass}) foreach qw(mallory writer worker);
is_refused($_, q{DELETE FROM piramid.version WHERE documents = 'alice.docs'::regclass}) foreach qw(mallory worker);
is_refused($_, q{INSERT INTO piramid.version VALUES ('alice.docs', 7, 'mallory.docs_chunk', 'mallory', 'building')}) foreach qw(mallory);
is_refused($_, q{UPDATE piramid.version SET vectors = 'alice.docs_chunk' WHERE documents = 'mallory.docs'::regclass}) foreach qw(mallory);
is_refused($_, q{UPDATE piramid.model SET dims = 4 WHERE name = 'alice'}) foreach qw(mallory worker);
is_refused($_, q{INSERT INTO piramid.pause VALUES ('worker', 'alice', 'infinity')}) foreach qw(mallory);

# A collection whose tables are broken, which hides no other from those who look at all.
unlike(as('mallory', q{CREATE VIEW mallory.v AS SELECT 1 AS id; GRANT SELECT ON mallory.v TO PUBLIC;
	UPDATE piramid.collection SET chunks = 'mallory.v' WHERE documents = 'mallory.docs'::regclass}), qr/ERROR/, 'mallory breaks a collection');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT collection::text, ' ') FROM piramid.collection_status}), 'alice.docs', 'the others keep their status');
like(($node->psql('postgres', q{SELECT * FROM piramid.search('mallory.docs', query_text => 'a')}))[2],
	qr/mallory.v" may run code of its owner/, 'a superuser searches in no view of another owner');
unlike(as('mallory', q{UPDATE piramid.collection SET chunks = 'mallory.docs_chunk' WHERE documents = 'mallory.docs'::regclass; DROP VIEW mallory.v}), qr/ERROR/, 'and mends it');
my $move = q{UPDATE piramid.version SET documents = 'mallory.%1$s' WHERE documents = 'mallory.%2$s'::regclass;
	UPDATE piramid.collection SET documents = 'mallory.%1$s' WHERE documents = 'mallory.%2$s'::regclass};
unlike(as('mallory', 'CREATE VIEW mallory.d AS SELECT * FROM mallory.docs; GRANT SELECT ON mallory.d TO PUBLIC;' . sprintf($move, 'd', 'docs')),
	qr/ERROR/, 'mallory has a view of documents');
like(as('stranger', q{SELECT * FROM piramid.search('mallory.d', query_text => 'a')}), qr/mallory.d" may run code of its owner/, 'in which nobody else searches');
unlike(as('mallory', sprintf($move, 'docs', 'd') . '; DROP VIEW mallory.d'), qr/ERROR/, 'and mends it');
is_refused('worker', q{UPDATE alice.docs_chunk SET length = 1; SELECT * FROM alice.docs}, 'a worker reads no documents');
is(as('stranger', 'SELECT count(*) FROM piramid.collection_status'), 0, 'a stranger sees no status');
is(as('stranger', 'SELECT count(*) FROM piramid.claim()'), 0, 'and has nothing to embed');
is(as('reader', q{SELECT text FROM piramid.search('alice.docs', query_text => 'secret')}), 'The secret of alice.', 'a reader searches');
is_refused($_, q{SELECT piramid.delete_document('alice.docs', '1')}) foreach qw(stranger mallory reader worker);
is_refused($_, q{SELECT * FROM piramid.embedding_cost('alice.docs')}) foreach qw(stranger mallory);
is(as($_->[0], q{SELECT string_agg(format('%s %s', collection, model), ' ') FROM piramid.list_collections()}), $_->[1], "collections for $_->[0]")
	foreach [ stranger => '' ], [ worker => '' ], [ reader => 'alice.docs alice' ], [ alice => 'docs alice' ], [ mallory => 'docs mallory' ];

# What a provider said, which may be a text of somebody, the worker keeps to itself.
foreach my $said ('Something.', 'The secret of alice is too long.')
{
	unlike(as('worker', "SELECT piramid.pause_provider('p', '$said', '1 hour')"), qr/ERROR/, 'a worker leaves a provider alone');
}
is_refused($_, 'SELECT error FROM piramid.pause') foreach qw(stranger mallory alice);
is_refused('stranger', 'SELECT to_jsonb(p) FROM piramid.pause AS p');
is(as($_, 'SELECT worker, provider, until > now(), error FROM piramid.paused'), 'worker|p|t|', "$_ sees that it does") foreach qw(stranger mallory alice);
is(as('worker', 'SELECT error FROM piramid.paused'), 'The secret of alice is too long.', 'and the worker why');
unlike(as('worker', q{DELETE FROM piramid.pause WHERE provider = 'p'}), qr/ERROR/, 'and no longer');
is(as('writer', q{SELECT piramid.add_document('alice.docs', 'A further document.', external_id => 'w') > 1;
	UPDATE alice.docs SET body = 'Another one.', metadata = '{"a": 1}' WHERE external_id = 'w'}), 't', 'a writer writes');

# The worker has rights on both collections.  Mallory's tables shall not use them.
$node->safe_psql('postgres', 'CREATE TABLE public.taken (by text, what text); GRANT ALL ON public.taken TO PUBLIC; GRANT CREATE ON SCHEMA public TO mallory');
as('mallory', q{
	CREATE FUNCTION mallory.steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO public.taken SELECT current_user, text FROM alice.docs_chunk; RETURN NEW; END $$;
	CREATE FUNCTION mallory.take() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
		IF has_table_privilege('alice.docs_chunk', 'SELECT') THEN
			INSERT INTO public.taken SELECT current_user, text FROM alice.docs_chunk;
		END IF;
		RETURN true; END $$;
	CREATE FUNCTION mallory.steal(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN mallory.take(); END $$;});
my @traps = ([ 'a trigger', 'CREATE TRIGGER t BEFORE INSERT ON mallory.docs_v1 FOR EACH ROW EXECUTE FUNCTION mallory.steal()', 'DROP TRIGGER t ON mallory.docs_v1' ],
	[ 'a trigger of jobs', 'CREATE TRIGGER t BEFORE UPDATE ON mallory.docs_job FOR EACH STATEMENT EXECUTE FUNCTION mallory.steal()', 'DROP TRIGGER t ON mallory.docs_job' ],
	[ 'a policy', q{ALTER TABLE mallory.docs_chunk ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON mallory.docs_chunk USING (mallory.steal(text))},
		'DROP POLICY p ON mallory.docs_chunk; ALTER TABLE mallory.docs_chunk DISABLE ROW LEVEL SECURITY' ],
	[ 'a check', 'ALTER TABLE mallory.docs_v1 ADD CONSTRAINT k CHECK (mallory.steal(tenant))', 'ALTER TABLE mallory.docs_v1 DROP CONSTRAINT k' ],
	[ 'an index', 'CREATE INDEX i ON mallory.docs_v1 (mallory.steal(tenant))', 'DROP INDEX mallory.i' ],
	[ 'a default', q{ALTER TABLE mallory.docs_v1 ADD d boolean DEFAULT mallory.take()}, 'ALTER TABLE mallory.docs_v1 DROP d' ],
	[ 'a partial index', q{CREATE INDEX i ON mallory.docs_job (version) WHERE mallory.steal(error)}, 'DROP INDEX mallory.i' ],
	[ 'a trigger that calls by its condition', q{CREATE TRIGGER t BEFORE INSERT ON mallory.docs_v1 FOR EACH ROW WHEN (mallory.steal(NEW.tenant) AND false) EXECUTE FUNCTION piramid.keep_chunk()},
		'DROP TRIGGER t ON mallory.docs_v1' ],
	[ 'a trigger of piramid in another place', 'CREATE TRIGGER t AFTER DELETE ON mallory.docs_job FOR EACH ROW EXECUTE FUNCTION piramid.document_changed()', 'DROP TRIGGER t ON mallory.docs_job' ],
	[ 'a trigger where the worker cannot read', 'REVOKE SELECT ON mallory.docs_v1 FROM worker; CREATE TRIGGER t BEFORE INSERT ON mallory.docs_v1 FOR EACH ROW EXECUTE FUNCTION mallory.steal()',
		'DROP TRIGGER t ON mallory.docs_v1; GRANT SELECT ON mallory.docs_v1 TO worker' ],
	[ 'a table that goes with the jobs', q{CREATE TABLE mallory.e (c bigint, v int, FOREIGN KEY (c, v) REFERENCES mallory.docs_job ON DELETE CASCADE);
		CREATE TRIGGER t AFTER DELETE ON mallory.e FOR EACH ROW EXECUTE FUNCTION mallory.steal(); INSERT INTO mallory.e SELECT chunk_id, version FROM mallory.docs_job}, 'DROP TABLE mallory.e' ],
	[ 'statistics', q{CREATE STATISTICS mallory.s ON (mallory.steal('x')::text || text), tenant FROM mallory.docs_chunk}, 'DROP STATISTICS mallory.s' ],
	[ 'an array of a domain', 'CREATE DOMAIN mallory.d AS text CHECK (mallory.take()); ALTER TABLE mallory.docs_v1 ADD d mallory.d[]', 'ALTER TABLE mallory.docs_v1 DROP d; DROP DOMAIN mallory.d' ]);
foreach my $trap (@traps)
{
	my ($what, $set, $unset) = @$trap;

	unlike(as('mallory', $set), qr/ERROR/, "mallory makes $what");
	$node->safe_psql('postgres', 'DELETE FROM taken');
	is(as('worker', q{SELECT DISTINCT collection FROM piramid.claim(); SELECT DISTINCT collection FROM piramid.claim(); UPDATE alice.docs_job SET lease = NULL}),
		'alice.docs', "$what: the worker serves alice only");
	is_refused('worker', q{SELECT piramid.complete('mallory.docs', gen_random_uuid(), '{1}', '{"[1,1,1]"}')}, "$what: and stores nothing");
	is(as('worker', q{SELECT string_agg(DISTINCT collection::text, ' ') FROM piramid.collection_status}),
		'alice.docs', "$what: and reads the status of alice's only");
	is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT collection::text, ' ') FROM piramid.collection_status}),
		'alice.docs', "$what: nor does a superuser");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM taken WHERE by IN ('worker', 'postgres')}), 0, "$what: nothing is taken");
	unlike(as('mallory', $unset), qr/ERROR/, "without $what");
}

# Nor shall documents that the worker is to cut: by a cast of their type, a policy, or a child.
unlike(as('mallory', q{
	CREATE TYPE mallory.y AS (t text);
	CREATE FUNCTION mallory.cast(mallory.y[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.take(); RETURN 'x'; END $$;
	CREATE CAST (mallory.y[] AS text) WITH FUNCTION mallory.cast(mallory.y[]) AS IMPLICIT;
	CREATE TABLE mallory.later (id int PRIMARY KEY, body mallory.y[]);
	SELECT piramid.attach_collection('mallory.later', 'body', 'mallory', chunking => '{"deferred": true}');
	SELECT piramid.grant_collection('mallory.later', 'worker', 'work');
	INSERT INTO mallory.later VALUES (1, ARRAY[ROW('x')]::mallory.y[])}), qr/ERROR/, 'mallory makes a cast');
is(as('worker', 'SELECT piramid.cut_documents()'), 0, 'a cast: the worker cuts nothing');
unlike(as('mallory', q{
	SELECT piramid.drop_collection('mallory.later');
	DROP TABLE mallory.later;
	CREATE TABLE mallory.later (id int PRIMARY KEY, body text);
	SELECT piramid.attach_collection('mallory.later', 'body', 'mallory', chunking => '{"deferred": true}');
	SELECT piramid.grant_collection('mallory.later', 'worker', 'work');
	INSERT INTO mallory.later VALUES (1, 'x');
	ALTER TABLE mallory.later ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON mallory.later USING (mallory.steal(body))}), qr/ERROR/, 'mallory makes a policy of documents');
is(as('worker', 'SELECT piramid.cut_documents()'), 0, 'a policy of documents: the worker cuts nothing');
unlike(as('mallory', 'DROP POLICY p ON mallory.later; CREATE POLICY p ON mallory.later USING (true)'), qr/ERROR/, 'mallory makes a plain policy');
is(as('worker', 'SELECT piramid.cut_documents()'), 1, 'then the worker cuts');
@traps = ([ 'an index', q{CREATE INDEX i ON mallory.later ((mallory.steal('x')::text || body))}, 'DROP INDEX mallory.i' ],
	[ 'statistics', q{CREATE STATISTICS mallory.s ON (mallory.steal('x')::text || body), id FROM mallory.later}, 'DROP STATISTICS mallory.s' ],
	[ 'a check', q{ALTER TABLE mallory.later ADD CONSTRAINT k CHECK (mallory.steal('x'))}, 'ALTER TABLE mallory.later DROP CONSTRAINT k' ],
	[ 'a type of a filter', q{CREATE DOMAIN mallory.d AS text CHECK (mallory.take());
		UPDATE piramid.collection SET filter_columns = '{"a": "mallory.d"}' WHERE documents = 'mallory.later'::regclass},
		q{UPDATE piramid.collection SET filter_columns = '{}' WHERE documents = 'mallory.later'::regclass}]);
foreach my $trap (@traps)
{
	my ($what, $set, $unset) = @$trap;

	unlike(as('mallory', "UPDATE mallory.later SET body = body || '.'; $set"), qr/ERROR/, "mallory makes $what of documents");
	is(as('worker', 'SELECT piramid.cut_documents()'), 0, "$what of documents: the worker cuts nothing");
	unlike(as('mallory', $unset), qr/ERROR/, "without $what");
	is(as('worker', 'SELECT piramid.cut_documents()'), 1, 'then the worker cuts');
}
unlike(as('mallory', q{CREATE INDEX ON mallory.later (lower(body)) WHERE length(body) > 1; ALTER TABLE mallory.later ADD CHECK (id > 0);
	UPDATE mallory.later SET body = 'y'}), qr/ERROR/, 'functions of PostgreSQL');
is(as('worker', 'SELECT piramid.cut_documents()'), 1, 'hinder no worker');
is($node->safe_psql('postgres', q{SELECT count(*) FROM taken WHERE by = 'worker'}), 0, 'nothing is taken');
unlike(as('mallory', q{SELECT piramid.drop_collection('mallory.later'); DROP TABLE mallory.later}), qr/ERROR/, 'and goes');

is(as('worker', q{SELECT string_agg(DISTINCT collection::text, ' ') FROM (SELECT collection FROM piramid.claim() UNION ALL SELECT collection FROM piramid.claim()) AS c}),
	'alice.docs mallory.docs', 'then the worker serves both');

# Tenants
$node->safe_psql('postgres', q{GRANT CREATE ON SCHEMA public TO alice});
is(as('alice', q{
	SELECT piramid.create_collection('shared', 'alice', isolation => 'rls', schema => 'alice');
	SELECT piramid.grant_collection('alice.shared', 'writer', 'write'), piramid.grant_collection('alice.shared', 'worker', 'work')}), "shared\n|", 'a collection of tenants');
foreach my $tenant (qw(a b))
{
	is(as('writer', "SET piramid.tenant = $tenant; SELECT piramid.add_document('alice.shared', 'A text of $tenant.', external_id => 'same') > 0"), 't', "tenant $tenant writes");
}
my $texts = q{SELECT string_agg(text, ' ') FROM piramid.search('alice.shared', query_text => 'text')};
foreach my $role (qw(writer alice))
{
	is(as($role, "SET piramid.tenant = a; $texts"), 'A text of a.', "$role sees the tenant's rows");
	is(as($role, $texts), '', "$role sees none without a tenant");
	is(as($role, q{SET piramid.tenant = a; SELECT count(*) FROM alice.shared, alice.shared_chunk}), 1, "$role: in tables, too");
}
is(as($_, q{SET piramid.tenant = a; SELECT count(*) FROM alice.shared_job}), 1, "$_ sees the tenant's jobs only") foreach qw(writer alice);
is_refused('worker', q{UPDATE piramid.version SET state = 'retired' WHERE documents = 'alice.shared'::regclass}, 'a worker does not promote where the owner has not said so');
like(as('alice', q{SET piramid.tenant = a; SELECT piramid.set_model('alice.shared', 'alice'); SELECT piramid.promote('alice.shared', 2)}), qr/row level security hides/, 'nor does who sees a part only');
like(as('writer', q{SET piramid.tenant = a; INSERT INTO alice.shared (tenant, body) VALUES ('b', 'x')}), qr/row-level security/, 'no rows for another tenant');
is(as('worker', q{SELECT string_agg(text, ' ' ORDER BY text) FROM piramid.claim(providers => '{alice}') WHERE collection = 'alice.shared'::regclass}) || 'none',
	'A text of a. A text of b.', 'a worker embeds for all tenants') or diag(as('worker', 'SELECT * FROM piramid.claim()'));

check_and_stop($node);
done_testing();
