-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION piramid_move" to load this file. \quit

-- How a move works, and why, is in compat/README.md.

-- A schema that is there already may have operators that fit better than those of PostgreSQL, and a superuser
-- would call them.
DO $check$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'piramid_move'
			AND pg_catalog.pg_get_userbyid(nspowner) OPERATOR(pg_catalog.<>) current_user) THEN
		RAISE EXCEPTION 'schema "piramid_move" belongs to another role'
			USING ERRCODE = 'insufficient_privilege', HINT = 'Look what it has, and drop it.';
	END IF;
END
$check$;

-- ---------------------------------------------------------------------------
-- the files of an extension
-- ---------------------------------------------------------------------------

-- The text of a file of the server's extension directories, or NULL.
CREATE FUNCTION extension_file(file text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
	share text := (SELECT setting FROM pg_config WHERE name = 'SHAREDIR');
	dir text;
BEGIN
	FOREACH dir IN ARRAY array_remove(
		current_setting('extension_destdir', true) || share		-- Debian's
		|| replace(string_to_array(current_setting('extension_control_path', true), ':')::text,
			'$system', share)::text[]							-- PostgreSQL 18
		|| share, NULL)
	LOOP
		dir := dir || '/extension/' || file;
		IF (pg_stat_file(dir, true)).size IS NOT NULL THEN
			RETURN pg_read_file(dir);
		END IF;
	END LOOP;
	RETURN NULL;
END $$;

-- A string of a control file.
CREATE FUNCTION control(extension name, key text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
	SELECT substring(piramid_move.extension_file(extension || '.control')
		FROM '(?n)^\s*' || key || '\s*=\s*''([^'']*)''')
$$;

-- The statements that CREATE EXTENSION would run, in order.
CREATE FUNCTION statements(extension name) RETURNS TABLE (n bigint, statement text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
	version text := piramid_move.control(extension, 'default_version');
	steps text[];
	script text := '';
	file text;
BEGIN
	-- The shortest way from a version that has a script of its own.
	SELECT string_to_array(path, '--') INTO steps
	FROM (SELECT version AS path UNION ALL
		SELECT p.path FROM pg_extension_update_paths(extension) p
		WHERE p.target = version AND p.path IS NOT NULL) AS way
	WHERE piramid_move.extension_file(format('%s--%s.sql', extension, split_part(path, '--', 1))) IS NOT NULL
	ORDER BY array_length(string_to_array(path, '--'), 1), path LIMIT 1;
	FOR i IN 1 .. coalesce(array_length(steps, 1), 0) LOOP
		file := concat_ws('--', extension, steps[i - 1], steps[i]) || '.sql';
		script := script || piramid_move.extension_file(file) || E'\n';
	END LOOP;

	-- Statements end at the end of a line; comments, psql's lines and the check
	-- for other extensions go.
	script := regexp_replace(script, '(?n)^(--|\\).*$', '', 'g');
	script := regexp_replace(script, '(?w)^DO \$check\$.*?^\$check\$;$', '');
	script := replace(script, 'MODULE_PATHNAME', piramid_move.control(extension, 'module_pathname'));
	IF script ~ '\$\w*\$' THEN
		RAISE EXCEPTION 'the script of extension "%" has quoted bodies', extension;
	END IF;
	RETURN QUERY SELECT ordinality, btrim(part, E' \t\r\n')
		FROM regexp_split_to_table(script, ';\s*\n') WITH ORDINALITY AS part
		WHERE part ~ '\S';
END $$;

-- ---------------------------------------------------------------------------
-- what is there, and what has to be done
-- ---------------------------------------------------------------------------

-- The extensions of this database that could be moved: the library tells what
-- they are, because piramid can also be installed under pgvector's name.
CREATE VIEW source AS
	SELECT e.oid, e.extname, e.extversion, n.nspname AS schema,
		CASE p.probin WHEN '$libdir/vector' THEN 'pgvector' WHEN '$libdir/piramid' THEN 'piramid' END AS product
	FROM pg_catalog.pg_extension e
		JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
		JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND d.refobjid = e.oid AND d.deptype = 'e' AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
		JOIN pg_catalog.pg_proc p ON p.oid = d.objid
	WHERE e.extname IN ('vector', 'piramid') AND p.proname = 'vector_in';

-- The indexes of the access methods that change.
CREATE VIEW vector_index AS
	SELECT c.oid AS index, i.indrelid AS relation, c.relkind, a.oid AS am, a.amname, i.indisvalid AS valid,
		n.nspname AS schema, c.relname AS name, c.reloptions, c.relpersistence, i.indnatts, i.indclass,
		f.atttypid AS type, f.atttypmod AS dimensions
	FROM pg_catalog.pg_index i
		JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_am a ON a.oid = c.relam
		JOIN pg_catalog.pg_attribute f ON f.attrelid = c.oid AND f.attnum = 1
	WHERE a.amname IN ('hnsw', 'ivfflat');

-- The object that a CREATE statement would make, if it is there already.  To be
-- called with the extension's schema as search_path.
CREATE FUNCTION existing(statement text, OUT classid oid, OUT objid oid)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	part text[];
BEGIN
	part := regexp_match(statement, '^CREATE (?:OR REPLACE )?(?:FUNCTION|AGGREGATE) (\w+)(\([^)]*\))');
	IF part IS NOT NULL THEN
		classid := 'pg_proc'::regclass;
		-- Names of arguments, which to_regprocedure does not take, only new functions have.
		IF EXISTS (SELECT FROM pg_proc WHERE proname = part[1]) THEN
			objid := to_regprocedure(part[1] || part[2]);
		END IF;
		RETURN;
	END IF;
	part := regexp_match(statement, '^CREATE TYPE (\w+)');
	IF part IS NOT NULL THEN
		classid := 'pg_type'::regclass;
		objid := to_regtype(part[1]);
		RETURN;
	END IF;
	part := regexp_match(statement, '^CREATE OPERATOR (\S+) \(.*LEFTARG = (\w+), RIGHTARG = (\w+)');
	IF part IS NOT NULL THEN
		classid := 'pg_operator'::regclass;
		objid := to_regoperator(format('%s(%s,%s)', part[1], part[2], part[3]));
		RETURN;
	END IF;
	part := regexp_match(statement, '^CREATE CAST \((.+) AS ([^)]+)\)');
	IF part IS NOT NULL THEN
		classid := 'pg_cast'::regclass;
		objid := (SELECT oid FROM pg_cast
			WHERE castsource = to_regtype(part[1]) AND casttarget = to_regtype(part[2]));
		RETURN;
	END IF;
	part := regexp_match(statement, '^CREATE OPERATOR CLASS (\w+)\s+(?:DEFAULT )?FOR TYPE ([\w\[\]"]+) USING (\w+)');
	IF part IS NOT NULL THEN
		classid := 'pg_opclass'::regclass;
		objid := (SELECT c.oid FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod
			WHERE c.opcname = part[1] AND a.amname = part[3] AND c.opcintype = to_regtype(part[2]));
		RETURN;
	END IF;
	part := regexp_match(statement, '^CREATE OPERATOR FAMILY (\w+) USING (\w+)');
	IF part IS NOT NULL THEN
		classid := 'pg_opfamily'::regclass;
		objid := (SELECT f.oid FROM pg_opfamily f JOIN pg_am a ON a.oid = f.opfmethod
			WHERE f.opfname = part[1] AND a.amname = part[2]);
		RETURN;
	END IF;
	part := regexp_match(statement, '^CREATE ACCESS METHOD (\w+)');
	IF part IS NOT NULL THEN
		classid := 'pg_am'::regclass;
		objid := (SELECT oid FROM pg_am WHERE amname = part[1]);
		RETURN;
	END IF;
	IF statement !~ '^(COMMENT ON|ALTER OPERATOR FAMILY|REVOKE) ' THEN
		RAISE EXCEPTION 'cannot take over the statement: %', statement;
	END IF;
END $$;

-- Why this database cannot be moved to the target; no rows if it can.
CREATE FUNCTION obstacles(target text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
	other text := CASE target WHEN 'piramid' THEN 'pgvector' ELSE 'piramid' END;
	extension name := CASE target WHEN 'piramid' THEN 'piramid' ELSE 'vector' END;
	version text := piramid_move.control(extension, 'default_version');
	library text := piramid_move.control(extension, 'module_pathname');
	source record;
BEGIN
	IF target NOT IN ('piramid', 'pgvector') THEN
		RAISE EXCEPTION 'the target is ''piramid'' or ''pgvector'', not %', quote_literal(target);
	END IF;
	IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
		RETURN NEXT 'only a superuser can move a database';
	END IF;
	SELECT * INTO source FROM piramid_move.source WHERE product = other;
	IF source IS NULL THEN
		RETURN NEXT format('%s is not in this database', other);
		RETURN;
	END IF;
	IF other = 'pgvector' AND source.extversion !~ '^0\.[5-8]\.\d+$' THEN
		RETURN NEXT format('version %s of pgvector is not known: 0.5.0 to 0.8 can be moved', source.extversion);
	END IF;
	IF source.extname <> extension AND EXISTS (SELECT FROM pg_extension WHERE extname = extension) THEN
		RETURN NEXT format('extension "%s" is already there: drop it first', extension);
	END IF;
	IF version IS NULL THEN
		RETURN NEXT format('%s is not installed on this server', target);
	ELSIF target = 'pgvector' AND library <> '$libdir/vector' THEN
		RETURN NEXT 'the files of extension "vector" on this server are piramid''s: uninstall them (make uninstall-vector-compat) and install pgvector';
	ELSIF target = 'pgvector' AND version !~ '^0\.[78]\.\d+$' THEN
		RETURN NEXT format('the server has pgvector %s: 0.7.0 to 0.8 can be moved to', version);
	END IF;
	IF target = 'pgvector' AND (pg_stat_file((SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR')
			|| '/vector.so', true)).size IS NULL THEN
		RETURN NEXT 'pgvector''s library is not on this server';
	END IF;
	RETURN QUERY
		SELECT format('extension "%s" depends on extension "%s"', e.extname, source.extname)
		FROM pg_depend d JOIN pg_extension e ON e.oid = d.objid
		WHERE d.classid = 'pg_extension'::regclass
			AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = source.oid
		UNION ALL
		SELECT format('index %I.%I is on a temporary table of another session', schema, name)
		FROM piramid_move.vector_index JOIN pg_class c ON c.oid = index
		WHERE pg_is_other_temp_schema(c.relnamespace)
		UNION ALL
		SELECT format('%s, of no extension, is on an access method that changes',
			pg_describe_object('pg_opclass'::regclass, c.oid, 0))
		FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod
		WHERE a.amname IN ('hnsw', 'ivfflat') AND NOT EXISTS (SELECT FROM pg_depend d
			WHERE d.classid = 'pg_opclass'::regclass AND d.objid = c.oid AND d.deptype = 'e'
				AND d.refobjid = source.oid);
	IF target = 'pgvector' THEN
		RETURN QUERY
			SELECT format('index %I.%I has %s dimensions, and pgvector indexes at most %s of %s',
				schema, name, dimensions, most, of)
			FROM piramid_move.vector_index JOIN (VALUES ('vector', 2000), ('halfvec', 4000), ('bit', 64000)) AS l(of, most)
				ON of = (SELECT typname FROM pg_type WHERE oid = type) AND dimensions > most
			UNION ALL
			SELECT format('index %I.%I has the option %s, which pgvector lacks', schema, name, option)
			FROM piramid_move.vector_index, unnest(reloptions) AS option
			WHERE split_part(option, '=', 1) <> ALL (CASE amname WHEN 'hnsw'
				THEN ARRAY['m', 'ef_construction'] ELSE ARRAY['lists'] END)
			UNION ALL
			SELECT format('index %I.%I has %s columns, and pgvector indexes one', schema, name, indnatts)
			FROM piramid_move.vector_index WHERE indnatts > 1;
	END IF;
END $$;

-- The object that a CREATE statement makes, in few words.
CREATE FUNCTION title(statement text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
	SELECT coalesce(lower(part[1]) || ' ' || part[2],
		'operator ' || replace(array_to_string(regexp_match(statement,
			'^CREATE OPERATOR (\S+) \(.*LEFTARG = (\w+), RIGHTARG = (\w+)'), ','), ',', ' '))
	FROM regexp_match(statement,
		'^CREATE (OPERATOR CLASS|OPERATOR FAMILY|ACCESS METHOD|FUNCTION|AGGREGATE|CAST|TYPE) ([^(\s]*(?:\s?\([^)]*\))?(?:.*USING \w+)?)') AS part
$$;

-- Everything to be done, in order.
CREATE FUNCTION steps(target text)
RETURNS TABLE (n bigint, action text, classid oid, objid oid, object text, command text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
	source record;
	extension name := CASE target WHEN 'piramid' THEN 'piramid' ELSE 'vector' END;
	kept text[] := '{}';		-- class and object
	member boolean;
BEGIN
	SELECT * INTO source FROM piramid_move.source
	WHERE product = CASE target WHEN 'piramid' THEN 'pgvector' ELSE 'piramid' END;
	PERFORM set_config('search_path', quote_ident(source.schema) || ', pg_temp', true);

	FOR n, command IN SELECT * FROM piramid_move.statements(extension) LOOP
		SELECT * INTO classid, objid FROM piramid_move.existing(command);
		object := coalesce(pg_describe_object(classid, objid, 0),
			piramid_move.title(command));
		member := EXISTS (SELECT FROM pg_depend d WHERE d.classid = steps.classid AND d.objid = steps.objid
			AND d.deptype = 'e' AND d.refobjid = source.oid);
		kept := kept || (classid || ' ' || objid);
		IF classid IS NULL THEN
			action := 'comment';
		ELSIF objid IS NULL THEN
			action := 'create';
		ELSIF NOT member THEN
			action := 'refuse';
			object := object || ' is there, but not part of extension ' || source.extname;
		ELSIF classid = 'pg_proc'::regclass THEN
			action := 'replace';
			command := regexp_replace(command, '^CREATE (OR REPLACE )?', 'CREATE OR REPLACE ');
		ELSIF classid = 'pg_am'::regclass THEN
			action := 'handler';
			command := substring(command FROM 'HANDLER (\w+)');
			-- Operator classes are made with piramid's handler: pgvector's is not called.
			IF target = 'pgvector' THEN
				n := 1000000;
			END IF;
		ELSIF classid = 'pg_opclass'::regclass AND (SELECT a.amname IN ('hnsw', 'ivfflat')
			FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod WHERE c.oid = steps.objid) THEN
			action := 'exchange';
		ELSE
			action := 'keep';
		END IF;
		RETURN NEXT;
	END LOOP;

	-- What the target lacks goes, unless something of the user's depends on it: behind all
	-- statements operator classes, then come pgvector's handlers, then the rest.
	kept := array_remove(kept, NULL);
	action := 'drop';
	command := NULL;
	FOR n, classid, objid IN
		SELECT CASE d.classid WHEN 'pg_opclass'::regclass THEN 500000 ELSE 1000001 END, d.classid, d.objid FROM pg_depend d
		WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = source.oid AND d.deptype = 'e'
			AND d.classid NOT IN ('pg_opfamily'::regclass, 'pg_type'::regclass) AND d.classid || ' ' || d.objid <> ALL (kept)
		ORDER BY array_position(ARRAY['pg_opclass', 'pg_am', 'pg_cast', 'pg_operator', 'pg_proc']::regclass[]::oid[],
			d.classid), d.objid
	LOOP
		object := pg_describe_object(classid, objid, 0);
		RETURN NEXT;
	END LOOP;
	RETURN QUERY
		SELECT steps.n, 'refuse', d.classid, d.objid,
			format('%s depends on %s, which %s lacks', pg_describe_object(d.classid, d.objid, d.objsubid),
				pg_describe_object(d.refclassid, d.refobjid, 0), target), NULL
		FROM pg_depend m JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
		WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = source.oid AND m.deptype = 'e'
			AND m.classid NOT IN ('pg_opfamily'::regclass, 'pg_type'::regclass) AND m.classid || ' ' || m.objid <> ALL (kept)
			AND d.deptype IN ('n', 'a')
			-- Those change or go too.
			AND d.classid NOT IN ('pg_am'::regclass, 'pg_amproc'::regclass, 'pg_amop'::regclass,
				'pg_opclass'::regclass, 'pg_opfamily'::regclass)
			AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid
				AND e.deptype = 'e' AND e.refobjid = source.oid AND e.classid || ' ' || e.objid <> ALL (kept));
END $$;

-- The dry run: what move() would do, or why it would not.  What matters most
-- comes first.
CREATE FUNCTION plan(target text) RETURNS TABLE (action text, object text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
BEGIN
	RETURN QUERY SELECT 'refuse', o FROM piramid_move.obstacles(target) AS o;
	IF NOT EXISTS (SELECT FROM piramid_move.source WHERE product <> target)
		-- The target's files are not there.
		OR piramid_move.control(CASE target WHEN 'piramid' THEN 'piramid' ELSE 'vector' END, 'module_pathname')
			IS DISTINCT FROM (CASE target WHEN 'piramid' THEN '$libdir/piramid' ELSE '$libdir/vector' END) THEN
		RETURN;
	END IF;
	RETURN QUERY
		SELECT p.action, p.object
		FROM (SELECT CASE s.action WHEN 'handler' THEN 'replace' WHEN 'exchange' THEN 'replace' ELSE s.action END,
				s.object, s.n
			FROM (SELECT DISTINCT ON (t.object) * FROM piramid_move.steps(target) AS t
				WHERE t.action <> 'comment' ORDER BY t.object, t.n) AS s
			UNION ALL
			SELECT 'rebuild', format('index %I.%I using %I', schema, name, amname),
				row_number() OVER (ORDER BY schema, name)
			FROM piramid_move.vector_index WHERE relkind = 'i') AS p(action, object, n)
		ORDER BY array_position('{refuse,rebuild,drop,create,replace,keep}'::text[], p.action), p.n;
END $$;

-- What remains to be done after a move; psql runs it with \gexec.
CREATE VIEW reindex AS
	SELECT pg_catalog.format('REINDEX INDEX CONCURRENTLY %I.%I', schema, name) AS command
	FROM piramid_move.vector_index
	WHERE NOT valid AND relkind = 'i' AND name !~ '_ccnew\d*$'
	ORDER BY index;

-- ---------------------------------------------------------------------------
-- the move
-- ---------------------------------------------------------------------------

-- The objects that an extension can have, so that new ones can be told.
CREATE VIEW object AS
	SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::oid AS classid, oid AS objid FROM pg_catalog.pg_proc
	UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid FROM pg_catalog.pg_type
		WHERE oid NOT IN (SELECT typarray FROM pg_catalog.pg_type)
	UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, oid FROM pg_catalog.pg_operator
	UNION ALL SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, oid FROM pg_catalog.pg_cast
	UNION ALL SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass, oid FROM pg_catalog.pg_opclass
	UNION ALL SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, oid FROM pg_catalog.pg_opfamily
	UNION ALL SELECT 'pg_catalog.pg_am'::pg_catalog.regclass, oid FROM pg_catalog.pg_am;

-- ALTER EXTENSION extension ADD or DROP, or just DROP, an object.
CREATE FUNCTION alter_member(prefix text, classid oid, objid oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	object record := pg_identify_object(classid, objid, 0);
BEGIN
	EXECUTE format('%s %s %s', prefix, object.type, object.identity);
END $$;

-- Run a CREATE FUNCTION without loading the library that it names: pgvector's cannot
-- be loaded where piramid's is, and to make a C function is to load its library.
CREATE FUNCTION create_unloaded(statement text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	part text[] := regexp_match(statement,
		'^CREATE (?:OR REPLACE )?FUNCTION (\w+)(\([^)]*\)).*AS ''([^'']+)''(?:, ''(\w+)'')?\s+LANGUAGE C\y');
	built_in text := regexp_replace(statement, 'AS ''[^'']+''(?:, ''\w+'')?\s+LANGUAGE C\y',
		'AS ''pg_backend_pid'' LANGUAGE internal');
BEGIN
	IF part IS NULL THEN
		EXECUTE statement;
		RETURN;
	END IF;
	EXECUTE built_in;
	UPDATE pg_proc SET prolang = (SELECT oid FROM pg_language WHERE lanname = 'c'),
			probin = part[3], prosrc = coalesce(part[4], part[1])
		WHERE oid = to_regprocedure(part[1] || part[2]);
END $$;

-- Let an access method have another handler.
CREATE FUNCTION set_handler(am oid, handler regproc) RETURNS void
LANGUAGE sql SET search_path = pg_catalog AS $$
	UPDATE pg_depend SET refobjid = handler
		WHERE classid = 'pg_am'::regclass AND objid = am
			AND refclassid = 'pg_proc'::regclass AND refobjid = (SELECT amhandler FROM pg_am WHERE oid = am);
	UPDATE pg_am SET amhandler = handler WHERE oid = am;
$$;

-- Make room for an operator class and family of the same names.
CREATE FUNCTION rename_opclass(opclass oid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog AS $$
	UPDATE pg_opfamily SET opfname = 'moved_' || opfname
		WHERE oid = (SELECT opcfamily FROM pg_opclass WHERE oid = opclass);
	UPDATE pg_opclass SET opcname = 'moved_' || opcname, opcdefault = false WHERE oid = opclass;
$$;

-- Let the indexes use the operator class that took the place of another, and
-- hide them from searches and inserts until REINDEX: their files are of the
-- other product.
CREATE FUNCTION exchange_opclass(old oid, new oid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog AS $$
	UPDATE pg_index SET
			indclass = replace(' ' || indclass::text || ' ', ' ' || old || ' ', ' ' || new || ' ')::oidvector,
			indisvalid = indisvalid AND relkind = 'I',
			indisready = indisready AND relkind = 'I'
		FROM pg_class c
		WHERE c.oid = indexrelid AND old = ANY (indclass);
	UPDATE pg_depend SET refobjid = new
		WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_opclass'::regclass AND refobjid = old;
$$;

-- Drop an operator class that was exchanged or that the target lacks, and with
-- its last class the family.
CREATE FUNCTION drop_opfamily(extension name, opclass oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	family oid := (SELECT opcfamily FROM pg_opclass WHERE oid = opclass);
BEGIN
	PERFORM piramid_move.alter_member(format('ALTER EXTENSION %I DROP', extension), 'pg_opclass'::regclass, opclass);
	IF EXISTS (SELECT FROM pg_opclass WHERE opcfamily = family AND oid <> opclass) THEN
		PERFORM piramid_move.alter_member('DROP', 'pg_opclass'::regclass, opclass);
		RETURN;
	END IF;
	PERFORM piramid_move.alter_member(format('ALTER EXTENSION %I DROP', extension), 'pg_opfamily'::regclass, family);
	PERFORM piramid_move.alter_member('DROP', 'pg_opfamily'::regclass, family);
END $$;

-- Move this database.  Returns how many indexes have to be rebuilt, and says
-- how: the statements are in the view "reindex".  (INFO, because the function
-- keeps the notices of its statements to itself.)
CREATE FUNCTION move(target text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog SET client_min_messages = warning AS $$
DECLARE
	reasons text := (SELECT string_agg(o, E'\n') FROM piramid_move.obstacles(target) AS o);
	extension name := CASE target WHEN 'piramid' THEN 'piramid' ELSE 'vector' END;
	source record;
	step record;
	classes oid[];
	objects oid[];
	waiting bigint;
BEGIN
	IF reasons IS NULL THEN
		reasons := (SELECT string_agg(s.object, E'\n') FROM piramid_move.steps(target) AS s WHERE action = 'refuse');
	END IF;
	IF reasons IS NOT NULL THEN
		RAISE EXCEPTION 'this database cannot be moved to %', target
			USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = reasons;
	END IF;
	SELECT * INTO source FROM piramid_move.source WHERE product <> target;

	-- Nobody may look at half of it.  (Materialized views have no such lock.)
	FOR step IN SELECT DISTINCT relation FROM piramid_move.vector_index JOIN pg_class c ON c.oid = relation
			WHERE c.relkind IN ('r', 'p') ORDER BY relation LOOP
		EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', step.relation::regclass);
	END LOOP;

	-- Comments are the target's, if it makes any.
	DELETE FROM pg_description c USING pg_depend d
		WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = source.oid AND d.deptype = 'e'
			AND c.classoid = d.classid AND c.objoid = d.objid;

	SELECT array_agg(o.classid), array_agg(o.objid) INTO classes, objects FROM piramid_move.object AS o;
	FOR step IN SELECT * FROM piramid_move.steps(target) ORDER BY n LOOP
		PERFORM set_config('search_path', quote_ident(source.schema) || ', pg_temp', true);
		CASE step.action
			WHEN 'create', 'replace', 'comment' THEN
				IF target = 'pgvector' THEN
					PERFORM piramid_move.create_unloaded(step.command);
				ELSE
					EXECUTE step.command;
				END IF;
			WHEN 'handler' THEN
				PERFORM piramid_move.set_handler(step.objid, to_regproc(step.command));
			WHEN 'exchange' THEN
				PERFORM piramid_move.rename_opclass(step.objid);
				EXECUTE step.command;
				PERFORM piramid_move.exchange_opclass(step.objid,
					(SELECT e.objid FROM piramid_move.existing(step.command) AS e));
				PERFORM piramid_move.drop_opfamily(source.extname, step.objid);
			WHEN 'drop' THEN
				IF step.classid = 'pg_opclass'::regclass THEN
					PERFORM piramid_move.drop_opfamily(source.extname, step.objid);
					CONTINUE;
				END IF;
				PERFORM piramid_move.alter_member(format('ALTER EXTENSION %I DROP', source.extname), step.classid, step.objid);
				PERFORM piramid_move.alter_member('DROP', step.classid, step.objid);
			ELSE				-- keep
		END CASE;
	END LOOP;

	UPDATE pg_extension SET extname = extension, extversion = piramid_move.control(extension, 'default_version')
		WHERE oid = source.oid;
	EXECUTE format('COMMENT ON EXTENSION %I IS %L', extension, piramid_move.control(extension, 'comment'));
	PERFORM piramid_move.alter_member(format('ALTER EXTENSION %I ADD', extension), new.classid, new.objid)
	FROM (SELECT o.classid, o.objid FROM piramid_move.object AS o
		EXCEPT SELECT * FROM unnest(classes, objects)) AS new;
	waiting := (SELECT count(*) FROM piramid_move.reindex);
	RAISE INFO 'this database has % now; % indexes have to be rebuilt', target, waiting
		USING HINT = CASE WHEN waiting > 0 THEN
			'Until then, searches scan their tables.  Run the statements of the view: SELECT command FROM piramid_move.reindex \gexec'
			ELSE 'Nothing remains to be done.' END;
	RETURN waiting;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA piramid_move FROM PUBLIC;
COMMENT ON FUNCTION plan(text) IS 'dry run: what move() to ''piramid'' or ''pgvector'' would do, or why it refuses';
COMMENT ON FUNCTION move(text) IS 'move this database to ''piramid'' or ''pgvector''; the view reindex has what remains to be done';
COMMENT ON VIEW reindex IS 'statements that rebuild what is not usable after a move';
