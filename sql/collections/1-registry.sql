-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION piramid_collections" to load this file. \quit

-- Whoever made the schema may have put things into it.
SET LOCAL search_path = pg_catalog, pg_temp;

-- ===========================================================================
-- The types and functions of piramid, in whichever schema and under whichever of
-- its two names they are
-- ===========================================================================

-- The domain gives functions a type that is found without a search path.  The
-- dependency makes a dump create piramid first.
DO $check$
DECLARE
	base record;
BEGIN
	SELECT e.oid AS extension, t.oid::regtype AS type INTO base
	FROM pg_catalog.pg_extension AS e
		JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND d.refobjid = e.oid AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.deptype = 'e'
		JOIN pg_catalog.pg_type AS t ON t.oid = d.objid AND t.typname = 'vector'
		JOIN pg_catalog.pg_proc AS p ON p.pronamespace = t.typnamespace AND p.proname = 'piramid_chunk'
		JOIN pg_catalog.pg_depend AS m ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid
			AND m.refobjid = e.oid AND m.deptype = 'e'
	WHERE e.extname IN ('piramid', 'vector');
	IF NOT FOUND THEN
		RAISE EXCEPTION 'this database has no piramid 0.3.0 or later'
			USING ERRCODE = 'undefined_object',
				HINT = 'CREATE EXTENSION piramid; or, where it is older, ALTER EXTENSION piramid UPDATE;';
	END IF;
	EXECUTE pg_catalog.format('CREATE DOMAIN piramid.embedding AS %s', base.type);
	INSERT INTO pg_catalog.pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
		SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid, 0,
			'pg_catalog.pg_extension'::pg_catalog.regclass, base.extension, 0, 'n'
		FROM pg_catalog.pg_extension AS e WHERE e.extname = 'piramid_collections';
END
$check$;
COMMENT ON DOMAIN piramid.embedding IS 'the type vector of piramid, in whichever schema that is';

CREATE FUNCTION piramid.vector_schema() RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = (SELECT typnamespace FROM pg_type
		WHERE oid = (SELECT typbasetype FROM pg_type WHERE oid = 'piramid.embedding'::regtype)));
END
$$;
COMMENT ON FUNCTION piramid.vector_schema() IS 'schema of the types and functions of piramid, quoted';

-- EXECUTE without its price: the plan of a statement is kept for its text.
CREATE FUNCTION piramid.query(statement text, VARIADIC arguments "any") RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS '$libdir/piramid', 'piramid_statement_query';
COMMENT ON FUNCTION piramid.query(text, "any") IS 'the rows of a statement, which is planned once in a while';
CREATE FUNCTION piramid.execute(statement text, VARIADIC arguments "any") RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS '$libdir/piramid', 'piramid_statement_execute';
COMMENT ON FUNCTION piramid.execute(text, "any") IS 'executes a statement, which is planned once in a while; returns the number of its rows';

-- ===========================================================================
-- The registry: what everybody may read, and the owner of a thing may change
-- ===========================================================================

CREATE TABLE piramid.model (
	name text PRIMARY KEY,
	provider text NOT NULL,
	model_id text NOT NULL,
	dims integer NOT NULL CHECK (dims BETWEEN 1 AND 16000),
	max_tokens integer NOT NULL CHECK (max_tokens > 0),
	batch_items integer NOT NULL DEFAULT 128 CHECK (batch_items > 0),
	batch_tokens integer NOT NULL DEFAULT 100000 CHECK (batch_tokens > 0),
	document_prefix text NOT NULL DEFAULT '',
	query_prefix text NOT NULL DEFAULT '',
	price_per_mtok numeric NOT NULL DEFAULT 0 CHECK (price_per_mtok >= 0),
	owner regrole NOT NULL DEFAULT current_user::regrole
);
COMMENT ON TABLE piramid.model IS 'embedding models; a provider is a name that the worker''s configuration explains';

-- regclass columns are dumped as names, so that they fit after a restore; pg_upgrade, which
-- keeps OIDs of tables, types and roles, refuses tables with columns of the other types of
-- this kind, as regconfig.  There are no foreign keys: pg_restore loads the tables of an extension in any order.
CREATE TABLE piramid.collection (
	documents regclass PRIMARY KEY,
	chunks regclass NOT NULL UNIQUE,
	jobs regclass NOT NULL UNIQUE,
	attached boolean NOT NULL,
	key_column name NOT NULL,
	text_column name NOT NULL,
	metadata_columns name[] NOT NULL DEFAULT '{}',
	distance text NOT NULL CHECK (distance IN ('cosine', 'l2', 'ip')),
	chunking jsonb NOT NULL,
	filter_columns jsonb NOT NULL,
	text_config text NOT NULL,
	index_options jsonb NOT NULL,
	isolation text NOT NULL CHECK (isolation IN ('none', 'rls')),
	metadata_schema jsonb,
	auto_promote boolean NOT NULL DEFAULT false,
	uncut regclass UNIQUE,
	max_documents bigint CHECK (max_documents >= 0),
	max_chunks bigint CHECK (max_chunks >= 0),
	max_bytes bigint CHECK (max_bytes >= 0),
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE piramid.collection IS 'collections: tables of documents, with the tables of their chunks and jobs';

CREATE TABLE piramid.version (
	documents regclass NOT NULL,
	version integer NOT NULL,
	vectors regclass NOT NULL UNIQUE,
	model text NOT NULL,
	state text NOT NULL CHECK (state IN ('building', 'active', 'retired')),
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (documents, version)
);
CREATE UNIQUE INDEX version_active ON piramid.version (documents) WHERE state = 'active';
COMMENT ON TABLE piramid.version IS 'versions of a collection''s embeddings, each in a table of its own';

-- Each worker's role keeps its own: none can stop another.
CREATE TABLE piramid.pause (
	worker regrole NOT NULL DEFAULT current_user::regrole,
	provider text NOT NULL,
	until timestamptz NOT NULL,
	error text,
	PRIMARY KEY (worker, provider)
);
COMMENT ON TABLE piramid.pause IS 'providers that a worker leaves alone for a while';

SELECT pg_catalog.pg_extension_config_dump('piramid.model', '');
-- Rows about tables that were dropped without drop_collection() stay behind.
SELECT pg_catalog.pg_extension_config_dump('piramid.collection',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = documents) AND EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = chunks) AND EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = jobs) AND (uncut IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = uncut))');
SELECT pg_catalog.pg_extension_config_dump('piramid.version',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = documents) AND EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = vectors)');

-- Does the current user own this table, as a member of its owner?
CREATE FUNCTION piramid.owns(tab regclass) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = tab), false)
$$;
COMMENT ON FUNCTION piramid.owns(regclass) IS 'does the current user have the rights of the table''s owner?';

-- Has the current user what a worker needs to store vectors in this table?
CREATE FUNCTION piramid.works_for(collection regclass, vectors regclass) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT has_table_privilege(c.jobs, 'UPDATE') AND has_table_privilege(works_for.vectors, 'INSERT')
		FROM piramid.collection AS c WHERE c.documents = collection), false)
$$;
COMMENT ON FUNCTION piramid.works_for(regclass, regclass) IS 'may the current user store vectors of this version of a collection?';

-- Rows of the registry that the current user may write: about tables, models and
-- pauses that are the user's.  A worker may promote where the owner has said so.
-- Rows about tables that are gone are anybody's to delete.  (Policies would keep owners of databases from dumping and restoring.)
CREATE FUNCTION piramid.check_registry() RETURNS trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	r jsonb;
	tab text;
	mine boolean := true;
	changeable CONSTANT text[] := '{provider, max_tokens, batch_items, batch_tokens, query_prefix, price_per_mtok, owner}';
BEGIN
	FOREACH r IN ARRAY ARRAY[CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END] LOOP
		CONTINUE WHEN r IS NULL;
		IF r ? 'documents' THEN
			FOREACH tab IN ARRAY ARRAY[r ->> 'documents', r ->> 'chunks', r ->> 'jobs', r ->> 'uncut', r ->> 'vectors'] LOOP
				CONTINUE WHEN tab IS NULL
					OR (TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(tab)));
				mine := mine AND piramid.owns(to_regclass(tab));
			END LOOP;
		ELSE
			-- What belonged to a role that was dropped is the owner's of the database.
			mine := mine AND pg_has_role(current_user, coalesce((SELECT oid FROM pg_roles WHERE oid::regrole::text = coalesce(r ->> 'owner', r ->> 'worker')),
				(SELECT datdba FROM pg_database WHERE datname = current_database())), 'USAGE');
		END IF;
	END LOOP;
	IF mine IS NOT TRUE AND TG_TABLE_NAME = 'version' AND TG_OP = 'UPDATE' THEN
		mine := to_jsonb(OLD) - 'state' = to_jsonb(NEW) - 'state'
			AND (to_jsonb(OLD) ->> 'state', to_jsonb(NEW) ->> 'state') IN (('building', 'active'), ('active', 'retired'))
			AND piramid.works_for((r ->> 'documents')::regclass, (r ->> 'vectors')::regclass)
			AND (SELECT c.auto_promote FROM piramid.collection AS c WHERE c.documents = (r ->> 'documents')::regclass);
	END IF;
	IF mine IS NOT TRUE THEN
		RAISE EXCEPTION 'permission denied: this row of piramid.% belongs to another role', TG_TABLE_NAME
			USING ERRCODE = 'insufficient_privilege';
	END IF;
	-- What vectors are made by stays: else those of two models would meet.  "r" is the new row, or NULL.
	IF TG_TABLE_NAME = 'model' AND TG_OP <> 'INSERT' AND (to_jsonb(OLD) - changeable) IS DISTINCT FROM (r - changeable)
			AND EXISTS (SELECT FROM piramid.version WHERE model = to_jsonb(OLD) ->> 'name') THEN
		RAISE EXCEPTION 'the model "%" is in use', to_jsonb(OLD) ->> 'name' USING ERRCODE = 'foreign_key_violation',
			HINT = 'Register another model, and piramid.set_model().';
	END IF;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION piramid.check_registry() IS 'trigger: rows of the registry are written by the owners of what they are about';

DO $triggers$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['model', 'collection', 'version', 'pause'] LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER check_registry BEFORE INSERT OR UPDATE OR DELETE ON piramid.%I
			FOR EACH ROW EXECUTE FUNCTION piramid.check_registry()', t);
		-- A provider's answer may quote texts: it is the worker's, see the view "paused".
		EXECUTE pg_catalog.format('GRANT SELECT%s, INSERT, UPDATE, DELETE ON piramid.%I TO PUBLIC', CASE t WHEN 'pause' THEN ' (worker, provider, until)' END, t);
	END LOOP;
END
$triggers$;
CREATE VIEW piramid.paused WITH (security_barrier) AS
	SELECT worker, provider, until, CASE WHEN pg_catalog.pg_has_role(current_user, worker, 'USAGE') THEN error END AS error FROM piramid.pause;
COMMENT ON VIEW piramid.paused IS 'providers that are left alone; why, members of the worker''s role may read';
GRANT SELECT ON piramid.paused TO PUBLIC;
GRANT USAGE ON SCHEMA piramid TO PUBLIC;

-- A type that no user made, or an array of one: domains have checks, and others have casts.
CREATE FUNCTION piramid.is_base(type regtype) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT NOT EXISTS (SELECT FROM pg_type AS y LEFT JOIN pg_type AS e ON e.oid = y.typelem
		WHERE y.oid = is_base.type AND (y.typtype <> 'b' OR e.typtype <> 'b'))
$$;
COMMENT ON FUNCTION piramid.is_base(regtype) IS 'does a value of this type run no code of a user?';

-- The policies that a collection has, and no others: those run code of their table's owner.
CREATE FUNCTION piramid.policies_plain(tab regclass) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = tab
		AND (coalesce(pg_get_expr(polqual, tab), 'true') || coalesce(pg_get_expr(polwithcheck, tab), 'true')) !~
			'^(true|\(tenant = current_setting\(''piramid.tenant''::text, true\)\)){2}$')
$$;
COMMENT ON FUNCTION piramid.policies_plain(regclass) IS 'has this table only policies that piramid made?';

-- A table that runs nobody's code when others read and write it: no view, no
-- triggers, policies, checks, defaults, indexes but those that a collection has.
-- Who deletes a row also calls triggers of the tables that refer to it, so only tables of the
-- collection may.  Plans compute constant parts of indexes and statistics.
CREATE FUNCTION piramid.is_plain(tab regclass) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT relkind = 'r' AND NOT relhasrules AND reloftype = 0
		AND NOT EXISTS (SELECT FROM pg_inherits WHERE tab IN (inhrelid, inhparent))
		AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE tgrelid = tab AND NOT tgisinternal AND (tgqual IS NOT NULL
			OR CASE tgfoid::regproc::text WHEN 'piramid.keep_chunk' THEN false
				-- It writes to the jobs of the collection that has these chunks.
				WHEN 'piramid.queue_chunks' THEN EXISTS (SELECT FROM piramid.version WHERE vectors = tab)
					OR EXISTS (SELECT FROM piramid.collection WHERE tab IN (jobs, uncut))
				ELSE true END))
		AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE confrelid = tab
			AND NOT EXISTS (SELECT FROM piramid.collection AS c LEFT JOIN piramid.version AS v USING (documents)
				WHERE c.chunks = tab AND k.conrelid IN (c.jobs, v.vectors)))
		AND NOT EXISTS (SELECT FROM pg_statistic_ext WHERE stxrelid = tab AND stxexprs IS NOT NULL)
		AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = tab AND contype = 'c')
		AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = tab AND (indexprs IS NOT NULL OR indpred IS NOT NULL))
		AND piramid.policies_plain(tab)
		AND NOT EXISTS (SELECT FROM pg_attrdef WHERE adrelid = tab AND pg_get_expr(adbin, tab) !~
			'^(now\(\)|''[a-z{}]*''::[a-z]+|0|false|to_tsvector\(''[a-z_.]+''::regconfig, text\))$')
		AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = tab AND attnum > 0 AND NOT attisdropped AND NOT piramid.is_base(atttypid))
	FROM pg_class WHERE oid = tab
$$;
COMMENT ON FUNCTION piramid.is_plain(regclass) IS 'does reading and writing this table run no code of its owner?';

-- The collection.  Tables of another role have to be tables; if "plain" is asked,
-- by functions for workers, they have to be plain, and the lock keeps them so.
-- Without "wait", a lock of somebody else is an error at once.
CREATE FUNCTION piramid.open_collection(documents regclass, plain boolean DEFAULT false, wait boolean DEFAULT true) RETURNS piramid.collection
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	tab regclass;
	owner regrole;
BEGIN
	SELECT * INTO c FROM piramid.collection AS x WHERE x.documents = open_collection.documents;
	IF NOT FOUND THEN
		RAISE EXCEPTION '"%" is no collection', open_collection.documents
			USING ERRCODE = 'undefined_table', HINT = 'piramid.create_collection() and piramid.attach_collection() make one.';
	END IF;
	FOREACH tab IN ARRAY ARRAY[c.chunks, c.jobs, c.uncut] || ARRAY(SELECT v.vectors FROM piramid.version AS v WHERE v.documents = c.documents) LOOP
		SELECT relowner INTO owner FROM pg_class WHERE oid = tab;
		CONTINUE WHEN NOT FOUND OR (owner = current_user::regrole AND wait) OR NOT (plain OR has_table_privilege(tab, 'SELECT'));
		EXECUTE format('LOCK TABLE ONLY %s IN %s MODE%s', tab, CASE WHEN plain THEN 'ROW EXCLUSIVE' ELSE 'ACCESS SHARE' END,
			CASE WHEN NOT wait THEN ' NOWAIT' END);
		IF owner <> current_user::regrole AND (CASE WHEN plain THEN NOT piramid.is_plain(tab) ELSE (SELECT relkind <> 'r' FROM pg_class WHERE oid = tab) END) THEN
			RAISE EXCEPTION 'table "%" may run code of its owner', tab
				USING ERRCODE = 'insufficient_privilege',
					HINT = 'It has a trigger, policy, check, default or index that piramid did not make. Let the owner do this.';
		END IF;
	END LOOP;
	RETURN c;
END
$$;
COMMENT ON FUNCTION piramid.open_collection(regclass, boolean, boolean) IS 'the row of a collection, for functions that use its tables';

CREATE FUNCTION piramid.register_model(name text, provider text, model_id text, dims integer, max_tokens integer,
	document_prefix text DEFAULT '', query_prefix text DEFAULT '', price_per_mtok numeric DEFAULT 0,
	batch_items integer DEFAULT 128, batch_tokens integer DEFAULT 100000) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO piramid.model (name, provider, model_id, dims, max_tokens, document_prefix, query_prefix, price_per_mtok, batch_items, batch_tokens)
	VALUES (name, provider, model_id, dims, max_tokens, document_prefix, query_prefix, price_per_mtok, batch_items, batch_tokens)
$$;
COMMENT ON FUNCTION piramid.register_model(text, text, text, integer, integer, text, text, numeric, integer, integer) IS
	'make an embedding model known, under a name for collections';
