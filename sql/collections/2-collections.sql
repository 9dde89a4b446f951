
-- ===========================================================================
-- Collections
-- ===========================================================================

-- The name of a table that belongs to a collection, quoted: schema.docs_chunk
CREATE FUNCTION piramid.name_of(documents regclass, suffix text) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('%I.%I', nspname, (SELECT max(left(relname, n) COLLATE "C") FROM generate_series(1, 63) AS n
			WHERE octet_length(left(relname, n)) + octet_length(suffix) <= 63) || suffix)
	FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE c.oid = documents
$$;
COMMENT ON FUNCTION piramid.name_of(regclass, text) IS 'name of a further table of a collection';

-- to_regtype() fails at what cannot be a name, and from PostgreSQL 16 on takes a number for an OID.
CREATE FUNCTION piramid.type_named(name text) RETURNS regtype
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN CASE WHEN name !~ '^\s*[0-9-]+\s*$' THEN to_regtype(name) END;
EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception THEN
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION piramid.type_named(text) IS 'the type of a name; NULL if there is none';

-- Without a length: "character" would be one of a single character.
CREATE FUNCTION piramid.type_sql(name text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN format_type(name::regtype, -1);
END
$$;
COMMENT ON FUNCTION piramid.type_sql(text) IS 'the type of a filter column as SQL, of any length';

-- What is copied from documents needs no constraints of a domain, which would refuse NULL where there is no value,
-- and be somebody's code for a worker.
CREATE FUNCTION piramid.base_type(type oid, modifier integer) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE b AS (SELECT base_type.type, base_type.modifier AS mod UNION ALL SELECT typbasetype, typtypmod FROM b JOIN pg_type ON oid = b.type WHERE typtype = 'd')
	SELECT format_type(b.type, b.mod) FROM b JOIN pg_type ON oid = b.type WHERE typtype <> 'd'
$$;
COMMENT ON FUNCTION piramid.base_type(oid, integer) IS 'the type that a domain is of; another type is that itself';

CREATE FUNCTION piramid.check_options(chunking jsonb, filter_columns jsonb, index_options jsonb) RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	option text;
	value jsonb;
BEGIN
	IF jsonb_typeof(chunking) IS DISTINCT FROM 'object' OR jsonb_typeof(filter_columns) IS DISTINCT FROM 'object' OR jsonb_typeof(index_options) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'chunking, filter_columns and index_options are JSON objects' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR option IN SELECT jsonb_object_keys(chunking) EXCEPT SELECT unnest(ARRAY['strategy', 'size', 'overlap', 'unit', 'deferred', 'percentile']) LOOP
		RAISE EXCEPTION 'there is no option "%" of chunking', option
			USING ERRCODE = 'invalid_parameter_value', HINT = 'There are strategy, size, overlap, unit, deferred and percentile.';
	END LOOP;
	IF jsonb_typeof(chunking -> 'deferred') <> 'boolean' OR (chunking ->> 'strategy' = 'semantic' AND (chunking ->> 'deferred' = 'false'
				OR chunking ->> 'unit' <> 'chars' OR chunking ? 'overlap')) OR NOT (chunking ->> 'percentile')::float8 BETWEEN 0 AND 100
			OR (chunking ? 'percentile' AND chunking ->> 'strategy' IS DISTINCT FROM 'semantic') THEN
		RAISE EXCEPTION '"deferred" is true or false; the strategy semantic has size, in characters, and percentile, from 0 to 100, and is always deferred'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR option, value IN SELECT * FROM jsonb_each(chunking) AS e WHERE e.key IN ('size', 'overlap') AND e.value <> 'null' LOOP
		IF jsonb_typeof(value) <> 'number' OR NOT (value::numeric BETWEEN 0 AND 2147483647 AND value::numeric % 1 = 0) THEN
			RAISE EXCEPTION '"%" of chunking is a whole number, not %', option, value USING ERRCODE = 'invalid_parameter_value';
		END IF;
	END LOOP;
	FOR option, value IN SELECT * FROM jsonb_each(filter_columns) LOOP
		IF option = '' OR jsonb_typeof(value) <> 'string' OR piramid.type_named(value #>> '{}') IS NULL THEN
			RAISE EXCEPTION 'the filter column "%" has no type of the name %', option, value
				USING ERRCODE = 'invalid_parameter_value', HINT = 'filter_columns are an object of names and types, as {"lang": "text"}. A type of your own has its schema before its name.';
		END IF;
	END LOOP;
	FOR option IN SELECT jsonb_object_keys(index_options) EXCEPT SELECT unnest(ARRAY['m', 'ef_construction', 'layout']) LOOP
		RAISE EXCEPTION 'there is no option "%" of the index', option
			USING ERRCODE = 'invalid_parameter_value', HINT = 'There are m, ef_construction and layout.';
	END LOOP;
	FOR option IN SELECT jsonb_object_keys(filter_columns) INTERSECT SELECT unnest(ARRAY['chunk_id', 'tenant', 'embedding', 'id',
			'document_id', 'ordinal', 'parent', 'start', 'length', 'text', 'hash', 'heading_path', 'page', 'words']) LOOP
		RAISE EXCEPTION 'a filter column cannot have the name "%"', option
			USING ERRCODE = 'invalid_parameter_value';
	END LOOP;
	EXECUTE format('SELECT count(*) FROM %s.piramid_chunk(''a'', $1, ($2 ->> ''size'')::int, ($2 ->> ''overlap'')::int, $2 ->> ''unit'')',
		piramid.vector_schema()) USING replace(chunking ->> 'strategy', 'semantic', 'sentence'), chunking;
END
$$;
COMMENT ON FUNCTION piramid.check_options(jsonb, jsonb, jsonb) IS 'refuses options of a collection that nothing understands';

-- The chunking of a collection with this model: a size that the model takes, if none is given.  How many tokens a
-- text has, its provider alone knows: three characters for one are few in most languages, and four are usual
-- in English, which is when somebody has to be told.  No text is cut off to fit: what is too long is given up.
CREATE FUNCTION piramid.fit_chunking(chunking jsonb, model text) RETURNS jsonb
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	most bigint := (SELECT m.max_tokens FROM piramid.model AS m WHERE m.name = fit_chunking.model);
	words boolean := chunking ->> 'unit' IS NOT DISTINCT FROM 'words';
	fits bigint := CASE WHEN words THEN greatest(most * 3 / 4, 1) ELSE greatest(most * 3, 8) END;
BEGIN
	IF jsonb_typeof(chunking) = 'object' AND chunking ->> 'size' IS NULL AND fits < 1000 THEN
		RETURN chunking || jsonb_build_object('size', fits);
	ELSIF (chunking ->> 'size')::numeric > (CASE WHEN words THEN most ELSE most * 4 END) THEN
		RAISE WARNING 'chunks of % % have more tokens than the model "%" takes, which are %', chunking ->> 'size', coalesce(chunking ->> 'unit', 'chars'), model, most
			USING HINT = format('Set "size" of chunking to %s at most. Chunks that are too long are given up, with the error of the model''s provider.', fits);
	END IF;
	RETURN chunking;
END
$$;
COMMENT ON FUNCTION piramid.fit_chunking(jsonb, text) IS 'chunking with a size that a model takes, or a warning that it takes no such chunks';

-- The name of a text search configuration, by which the registry knows it, as the index of words does.
CREATE FUNCTION piramid.config_name(config regconfig) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('%I.%I', nspname, cfgname) FROM pg_ts_config JOIN pg_namespace AS n ON n.oid = cfgnamespace WHERE pg_ts_config.oid = config
$$;
COMMENT ON FUNCTION piramid.config_name(regconfig) IS 'name of a text search configuration, with its schema';

-- Are documents cut later, by piramid.cut() or by a worker, and not by whoever writes them?
CREATE FUNCTION piramid.is_deferred(chunking jsonb) RETURNS boolean
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN coalesce((chunking ->> 'deferred')::boolean, chunking ->> 'strategy' = 'semantic', false);
END
$$;
COMMENT ON FUNCTION piramid.is_deferred(jsonb) IS 'does this chunking leave documents to a worker?';

-- The schema of piramid_bm25, quoted; NULL where that is not installed.
CREATE FUNCTION piramid.bm25_schema() RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace WHERE extname = 'piramid_bm25');
END
$$;
COMMENT ON FUNCTION piramid.bm25_schema() IS 'schema of the extension piramid_bm25, quoted; NULL if there is none';

-- A name for a table of a collection.  Those of a collection whose documents were dropped, by DROP TABLE ... CASCADE, go;
-- but for what remains of a table of somebody's own, whose rows may come again, and whose vectors have cost something.
CREATE FUNCTION piramid.free_name(name text) RETURNS text
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	tab regclass := to_regclass(name);
	orphan record;
BEGIN
	IF tab IS NOT NULL THEN
		SELECT c.documents, c.attached INTO orphan FROM piramid.collection AS c
		WHERE (tab IN (c.chunks, c.jobs, c.uncut) OR EXISTS (SELECT FROM piramid.version AS v WHERE v.documents = c.documents AND v.vectors = tab))
			AND NOT EXISTS (SELECT FROM pg_class WHERE oid = c.documents);
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is a table "%" already', name USING ERRCODE = 'duplicate_table',
				HINT = 'A collection "docs" makes tables docs_chunk, docs_job, docs_uncut, docs_v1 and so on. Rename or drop yours.';
		ELSIF orphan.attached THEN
			RAISE EXCEPTION 'table "%" is what remains of a collection whose table of documents was dropped', name USING ERRCODE = 'duplicate_table',
				HINT = format('SELECT piramid.drop_collection(%s); drops its chunks and vectors. To take the vectors over, rename its tables first: piramid.import_vectors() takes vectors by their texts.',
					orphan.documents::oid);
		END IF;
		RAISE NOTICE 'dropping what remains of a collection whose documents were dropped: table "%" and others', name;
		PERFORM piramid.drop_collection(orphan.documents);
	END IF;
	RETURN name;
END
$$;
COMMENT ON FUNCTION piramid.free_name(text) IS 'this name for a table, which no other has';

-- The tables of chunks and jobs, with what keeps them true.  A chunk's text never
-- changes: a vector of it cannot become stale.
CREATE FUNCTION piramid.make_tables(c piramid.collection, key_type text) RETURNS piramid.collection
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	chunks text := piramid.name_of(c.documents, '_chunk');
	jobs text := piramid.name_of(c.documents, '_job');
	columns text := coalesce((SELECT string_agg(format(', %I %s', key, piramid.type_sql(value)), '' ORDER BY key) FROM jsonb_each_text(c.filter_columns)), '');
BEGIN
	IF c.distance IS NULL OR c.distance NOT IN ('cosine', 'l2', 'ip') OR c.isolation IS NULL OR c.isolation NOT IN ('none', 'rls') THEN
		RAISE EXCEPTION 'the distance is cosine, l2 or ip, and the isolation none or rls' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF (SELECT relpersistence = 't' FROM pg_class WHERE oid = c.documents) THEN
		RAISE EXCEPTION 'a temporary table cannot be a collection' USING ERRCODE = 'wrong_object_type';
	END IF;
	PERFORM piramid.free_name(chunks), piramid.free_name(jobs);
	EXECUTE format('CREATE TABLE %s (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			document_id %s NOT NULL%s,
			tenant text NOT NULL,
			ordinal integer NOT NULL,
			parent integer,
			start integer NOT NULL,
			length integer NOT NULL,
			text text NOT NULL,
			hash bytea NOT NULL,
			heading_path text[] NOT NULL,
			page integer%s)',
		chunks, key_type, CASE WHEN NOT c.attached THEN format(' REFERENCES %s ON DELETE CASCADE', c.documents) END, columns);
	EXECUTE format('CREATE INDEX ON %s (document_id, ordinal)', chunks);
	EXECUTE format('CREATE INDEX ON %s (hash)', chunks);
	IF piramid.bm25_schema() IS NOT NULL THEN
		EXECUTE format('CREATE INDEX ON %s USING bm25 (text) WITH (text_config = %L)', chunks, c.text_config);
	ELSE
		EXECUTE format('ALTER TABLE %s ADD words tsvector GENERATED ALWAYS AS (to_tsvector(%L::regconfig, text)) STORED', chunks, c.text_config);
		EXECUTE format('CREATE INDEX ON %s USING gin (words)', chunks);
	END IF;
	EXECUTE format('CREATE TABLE %s (
			chunk_id bigint REFERENCES %s ON DELETE CASCADE,
			version integer,
			tenant text NOT NULL,
			tokens integer NOT NULL,
			due timestamptz NOT NULL DEFAULT now(),
			attempts integer NOT NULL DEFAULT 0,
			lease uuid,
			lease_until timestamptz,
			failed boolean NOT NULL DEFAULT false,
			error text,
			created_at timestamptz NOT NULL DEFAULT now(),
			lost integer NOT NULL DEFAULT 0,
			PRIMARY KEY (chunk_id, version))', jobs, chunks);
	-- In the order of claim(): after a large load all are due at the same moment.  However many were given up, it reads none.
	EXECUTE format('CREATE INDEX ON %s (version, failed, due, chunk_id)', jobs);
	EXECUTE format('CREATE INDEX ON %s (lease)', jobs);
	c.chunks := chunks;
	c.jobs := jobs;
	IF piramid.is_deferred(c.chunking) THEN
		c := piramid.make_uncut(c, key_type);
	END IF;
	INSERT INTO piramid.collection SELECT c.*;
	EXECUTE format('CREATE TRIGGER piramid_keep BEFORE UPDATE OF id, document_id, text, hash ON %s
		FOR EACH ROW EXECUTE FUNCTION piramid.keep_chunk()', chunks);
	EXECUTE format('CREATE TRIGGER piramid_queue AFTER INSERT ON %s REFERENCING NEW TABLE AS added
		FOR EACH STATEMENT EXECUTE FUNCTION piramid.queue_chunks()', chunks);
	IF c.isolation = 'rls' THEN
		PERFORM piramid.isolate(c.chunks), piramid.isolate(c.jobs);
		IF NOT c.attached THEN
			PERFORM piramid.isolate(c.documents);
		END IF;
	END IF;
	RETURN c;
END
$$;
COMMENT ON FUNCTION piramid.make_tables(piramid.collection, text) IS 'makes the tables of chunks and jobs of a collection';

-- The table of documents that are still to be cut.  Whoever changes a document writes
-- its row here first, and whoever cuts it deletes the row: so they wait for each
-- other, and no chunk of an older text comes back.  New documents of one statement, which
-- nobody else can have, wait together in a row: spread() gives each a row before they are cut.
CREATE FUNCTION piramid.make_uncut(c piramid.collection, key_type text) RETURNS piramid.collection
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	uncut text := piramid.name_of(c.documents, '_uncut');
BEGIN
	IF c.isolation <> 'none' THEN
		RAISE EXCEPTION 'documents of tenants are cut when they are written' USING ERRCODE = 'feature_not_supported',
			HINT = 'Leave out "deferred", and the strategy semantic.';
	END IF;
	PERFORM piramid.free_name(uncut);
	EXECUTE format('CREATE TABLE %1$s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, document_id %2$s UNIQUE, documents %2$s[],
		queued_at timestamptz NOT NULL DEFAULT now(), lease uuid, lease_until timestamptz, error text, lost integer)', uncut, key_type);
	-- To compress a thousand keys takes longer than to write the row.
	EXECUTE format('ALTER TABLE %s ALTER documents SET STORAGE EXTERNAL', uncut);
	c.uncut := uncut;
	RETURN c;
END
$$;
COMMENT ON FUNCTION piramid.make_uncut(piramid.collection, text) IS 'makes the table of documents that wait to be cut';

-- A tenant sees its own rows, also if it is the owner.
CREATE FUNCTION piramid.isolate(tab regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tab);
	EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tab);
	EXECUTE format('CREATE POLICY piramid_tenant ON %s USING (tenant = current_setting(''piramid.tenant'', true))', tab);
END
$$;
COMMENT ON FUNCTION piramid.isolate(regclass) IS 'row level security by the setting piramid.tenant';

-- What roles may do with one table, they may do with another.
CREATE FUNCTION piramid.copy_grants(one regclass, other regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS role
			FROM pg_class, aclexplode(relacl) WHERE oid = one AND grantee <> relowner LOOP
		EXECUTE format('GRANT %s ON %s TO %s', r.privilege_type, other, r.role);
	END LOOP;
	FOR r IN SELECT polname, role::regrole FROM pg_policy, unnest(polroles) AS role WHERE polrelid = one AND polname LIKE 'piramid\_work\_%' LOOP
		EXECUTE format('CREATE POLICY %I ON %s TO %s USING (true)', r.polname, other, r.role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.copy_grants(regclass, regclass) IS 'gives the roles of one table of vectors the same rights on another';

-- The table of a version's vectors, and the version's row.
CREATE FUNCTION piramid.make_version(c piramid.collection, model text, state text) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	m piramid.model;
	number integer := 1 + coalesce((SELECT max(v.version) FROM piramid.version AS v WHERE v.documents = c.documents), 0);
	made text := piramid.name_of(c.documents, '_v' || number);
	schema text := piramid.vector_schema();
	filters text[] := ARRAY(SELECT jsonb_object_keys(c.filter_columns) ORDER BY 1);
BEGIN
	SELECT * INTO m FROM piramid.model WHERE name = make_version.model;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no model "%"', model USING ERRCODE = 'undefined_object',
			HINT = 'piramid.register_model() makes one known; "piramid-server init" does so for the built-in "local-minilm".';
	END IF;
	PERFORM piramid.free_name(made);
	EXECUTE format('CREATE TABLE %s (chunk_id bigint PRIMARY KEY REFERENCES %s ON DELETE CASCADE, tenant text NOT NULL%s, embedding %s.vector(%s) NOT NULL)',
		made, c.chunks, (SELECT string_agg(format(', %I %s', f, piramid.type_sql(c.filter_columns ->> f)), '' ORDER BY f) FROM unnest(filters) AS f), schema, m.dims);
	IF c.isolation = 'rls' THEN
		PERFORM piramid.isolate(made::regclass);
		filters := array_prepend('tenant', filters);
	END IF;
	EXECUTE format('CREATE INDEX ON %s USING hnsw (embedding %s.vector_%s_ops%s)%s', made, schema, c.distance,
		(SELECT string_agg(format(', %I', f), '' ORDER BY n) FROM unnest(filters) WITH ORDINALITY AS u(f, n)),
		(SELECT ' WITH (' || string_agg(format('%I = %L', key, value), ', ') || ')' FROM jsonb_each_text(c.index_options)));
	INSERT INTO piramid.version (documents, version, vectors, model, state)
	VALUES (c.documents, number, made::regclass, model, make_version.state);
	PERFORM piramid.copy_grants(v.vectors, made::regclass)
	FROM piramid.version AS v WHERE v.documents = c.documents AND v.version < number ORDER BY v.version DESC LIMIT 1;
	RETURN number;
END
$$;
COMMENT ON FUNCTION piramid.make_version(piramid.collection, text, text) IS 'makes the table and the index of a version of embeddings';

-- One step for all rows of a statement, but for a table with partitions, or one that is a partition:
-- a statement that names the one does not call the other's trigger of statements, and does call that of rows.
CREATE FUNCTION piramid.follow_inserts(tab regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF (SELECT relkind = 'p' OR relispartition FROM pg_class WHERE oid = tab) THEN
		EXECUTE format('CREATE TRIGGER piramid_insert AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION piramid.document_changed()', tab);
	ELSE
		EXECUTE format('CREATE TRIGGER piramid_insert AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION piramid.documents_added()', tab);
		EXECUTE format('CREATE TRIGGER piramid_inserted AFTER INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION piramid.documents_added()', tab);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.follow_inserts(regclass) IS 'makes the triggers for new documents';

CREATE FUNCTION piramid.create_collection(name text, model text DEFAULT 'local-minilm', distance text DEFAULT 'cosine', chunking jsonb DEFAULT '{}',
	filter_columns jsonb DEFAULT '{}', isolation text DEFAULT 'none', text_config regconfig DEFAULT 'pg_catalog.english',
	index_options jsonb DEFAULT '{}', schema name DEFAULT current_schema, metadata_schema jsonb DEFAULT NULL) RETURNS regclass
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	documents text := quote_ident(schema) || '.' || quote_ident(name);
	tenant text := CASE isolation WHEN 'rls' THEN 'NULLIF(current_setting(''piramid.tenant'', true), '''')' ELSE '''''' END;
BEGIN
	IF coalesce(name, '') = '' OR coalesce(schema, '') = '' THEN
		RAISE EXCEPTION 'a collection has a name, and a schema' USING ERRCODE = 'invalid_name';
	END IF;
	PERFORM piramid.check_options(chunking, filter_columns, index_options), piramid.check_schema(metadata_schema);
	chunking := piramid.fit_chunking(chunking, model);
	EXECUTE format('CREATE TABLE %s (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			external_id text,
			tenant text NOT NULL DEFAULT %s,
			title text,
			uri text,
			mime text,
			body text,
			metadata jsonb NOT NULL DEFAULT ''{}'',
			created_at timestamptz NOT NULL DEFAULT now(),
			updated_at timestamptz NOT NULL DEFAULT now(),
			UNIQUE (tenant, external_id))', documents, tenant);
	EXECUTE format('CREATE INDEX ON %s USING gin (metadata jsonb_path_ops)', documents);
	c := ROW(documents::regclass, NULL, NULL, false, 'id', 'body', '{metadata}', distance, chunking, filter_columns,
		piramid.config_name(text_config), index_options, isolation, metadata_schema, false, NULL, NULL, NULL, NULL, now());
	c := piramid.make_tables(c, 'bigint');
	PERFORM piramid.make_version(c, model, 'active');
	PERFORM piramid.follow_inserts(c.documents);
	EXECUTE format('CREATE TRIGGER piramid_update AFTER UPDATE OF body, tenant, metadata ON %s
		FOR EACH ROW EXECUTE FUNCTION piramid.document_changed()', documents);
	EXECUTE format('CREATE TRIGGER piramid_metadata BEFORE INSERT OR UPDATE OF metadata ON %s
		FOR EACH ROW EXECUTE FUNCTION piramid.check_metadata()', documents);
	EXECUTE format('ALTER TABLE %s %s TRIGGER piramid_metadata', documents, CASE WHEN metadata_schema IS NULL THEN 'DISABLE' ELSE 'ENABLE' END);
	RETURN c.documents;
END
$$;
COMMENT ON FUNCTION piramid.create_collection(text, text, text, jsonb, jsonb, text, regconfig, jsonb, name, jsonb) IS
	'make a collection: ordinary tables of documents, chunks, jobs and vectors, which the caller owns';

CREATE FUNCTION piramid.attach_collection(source regclass, text_column name, model text DEFAULT 'local-minilm', metadata_columns name[] DEFAULT '{}',
	distance text DEFAULT 'cosine', chunking jsonb DEFAULT '{}', filter_columns name[] DEFAULT '{}',
	text_config regconfig DEFAULT 'pg_catalog.english', index_options jsonb DEFAULT '{}') RETURNS regclass
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	key record;
	wanted name;
	types jsonb := '{}';
	watched text;
BEGIN
	IF (SELECT relkind NOT IN ('r', 'p') FROM pg_class WHERE oid = source) THEN
		RAISE EXCEPTION '"%" is no table', source USING ERRCODE = 'wrong_object_type', HINT = 'Triggers follow rows of tables only.';
	ELSIF EXISTS (SELECT FROM pg_inherits JOIN pg_class AS r ON r.oid = inhrelid WHERE inhparent = source AND NOT relispartition) THEN
		RAISE EXCEPTION 'table "%" has children that inherit from it', source USING ERRCODE = 'wrong_object_type',
			HINT = 'No trigger follows their rows. Partitions can be followed, and each child can be a collection.';
	END IF;
	SELECT attname, piramid.base_type(atttypid, atttypmod) AS type INTO key
	FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
	WHERE indrelid = source AND indisprimary AND indnkeyatts = 1;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table "%" has no primary key of one column', source USING ERRCODE = 'invalid_table_definition',
			HINT = 'A column that is GENERATED ALWAYS AS (...) STORED can be made of several.';
	ELSIF key.type LIKE '%[]' THEN
		RAISE EXCEPTION 'the key of table "%" is an array', source USING ERRCODE = 'invalid_table_definition';
	END IF;
	FOREACH wanted IN ARRAY ARRAY[text_column] || metadata_columns || filter_columns LOOP
		IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = source AND attname = wanted AND attnum > 0 AND NOT attisdropped) THEN
			RAISE EXCEPTION 'table "%" has no column "%"', source, wanted USING ERRCODE = 'undefined_column';
		END IF;
	END LOOP;
	-- Triggers do not see their values.
	SELECT attname INTO wanted FROM pg_attribute WHERE attrelid = source AND attname = ANY (ARRAY[text_column] || filter_columns) AND attgenerated = 'v';
	IF FOUND THEN
		RAISE EXCEPTION 'column "%" of table "%" is VIRTUAL', wanted, source USING ERRCODE = 'wrong_object_type',
			HINT = 'A column that is GENERATED ALWAYS AS (...) STORED can be followed.';
	END IF;
	-- Else each INSERT would fail.
	IF NOT EXISTS (SELECT FROM pg_attribute JOIN pg_type AS y ON y.oid = atttypid WHERE attrelid = source AND attname = text_column AND (typcategory = 'S'
			OR EXISTS (SELECT FROM pg_cast WHERE castsource = atttypid AND casttarget = 'text'::regtype AND castcontext = 'i'))) THEN
		RAISE EXCEPTION 'column "%" of table "%" is no text', text_column, source USING ERRCODE = 'datatype_mismatch',
			HINT = 'A column that is GENERATED ALWAYS AS (...) STORED can have its text.';
	END IF;
	IF EXISTS (SELECT FROM piramid.collection AS x WHERE x.documents = source
			OR x.documents IN (SELECT relid FROM pg_partition_ancestors(source) UNION ALL SELECT relid FROM pg_partition_tree(source))) THEN
		RAISE EXCEPTION 'table "%" is a collection already, or a part of one, or has a part that is one', source USING ERRCODE = 'duplicate_object',
			HINT = 'A text that is put together of several columns can be one that is GENERATED ALWAYS AS (...) STORED.';
	END IF;
	SELECT coalesce(jsonb_object_agg(attname, piramid.base_type(atttypid, NULL)), '{}') INTO types
	FROM pg_attribute WHERE attrelid = source AND attname = ANY (filter_columns);
	PERFORM piramid.check_options(chunking, types, index_options);
	chunking := piramid.fit_chunking(chunking, model);
	c := ROW(source, NULL, NULL, true, key.attname, text_column,
		ARRAY(SELECT unnest(metadata_columns) UNION SELECT unnest(filter_columns)), distance, chunking, types,
		piramid.config_name(text_config), index_options, 'none', NULL, false, NULL, NULL, NULL, NULL, now());
	c := piramid.make_tables(c, key.type);
	PERFORM piramid.make_version(c, model, 'active');
	-- Those of a collection that the registry has lost
	FOR wanted IN SELECT tgname FROM pg_trigger WHERE tgrelid = source AND tgparentid = 0
			AND tgfoid IN ('piramid.documents_added'::regproc, 'piramid.document_changed'::regproc, 'piramid.documents_truncated'::regproc) LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', wanted, source);
	END LOOP;
	SELECT string_agg(DISTINCT quote_ident(column_name), ', ') INTO watched
	FROM unnest(ARRAY[key.attname, text_column] || filter_columns) AS column_name;
	PERFORM piramid.follow_inserts(source);
	EXECUTE format('CREATE TRIGGER piramid_update AFTER UPDATE OF %s ON %s FOR EACH ROW EXECUTE FUNCTION piramid.document_changed()', watched, source);
	EXECUTE format('CREATE TRIGGER piramid_delete AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION piramid.document_changed()', source);
	EXECUTE format('CREATE TRIGGER piramid_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION piramid.documents_truncated()', source);
	PERFORM piramid.rechunk_all(source);
	RETURN source;
END
$$;
COMMENT ON FUNCTION piramid.attach_collection(regclass, name, text, name[], text, jsonb, name[], regconfig, jsonb) IS
	'make a collection of a table that exists, whose rows triggers follow';

-- Locks tables that others use, in moments of at most so many milliseconds: whoever holds one of them, and
-- wants another, gets it, and whoever comes meanwhile waits no longer.  "patience" is the caller's lock_timeout;
-- 0 has no end.  Moments grow, since many writers take long to let all go, and end before a deadlock would.
CREATE FUNCTION piramid.lock_tables(tabs regclass[], patience interval, longest integer DEFAULT 90, lock_mode text DEFAULT 'ACCESS EXCLUSIVE')
	RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
	tab regclass;
	moment integer := 50;
	most integer := least(longest, (extract(epoch FROM current_setting('deadlock_timeout')::interval) * 500)::integer);
	began timestamptz := clock_timestamp();
BEGIN
	LOOP
		BEGIN
			FOR tab IN SELECT t FROM unnest(tabs) WITH ORDINALITY AS u(t, n) WHERE EXISTS (SELECT FROM pg_class WHERE oid = t) ORDER BY n LOOP
				EXECUTE format('LOCK TABLE ONLY %s IN %s MODE', tab, lock_mode);
			END LOOP;
			RETURN;
		EXCEPTION WHEN lock_not_available THEN
			-- With the error, the locks of this moment are gone.
			IF patience > interval '0' AND clock_timestamp() > began + patience THEN
				RAISE;
			END IF;
		END;
		moment := greatest(least(moment + 10, most), 1);
		PERFORM set_config('lock_timeout', moment::text, true);
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.lock_tables(regclass[], interval, integer, text) IS 'locks tables without a long queue behind the lock';

CREATE FUNCTION piramid.drop_collection(collection regclass, keep_documents boolean DEFAULT true) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	vectors regclass[];
	tab regclass;
	t text;
BEGIN
	-- As alter_collection() does: the row before the tables.
	PERFORM FROM piramid.collection AS x WHERE x.documents = collection FOR UPDATE;
	c := piramid.open_collection(collection);
	vectors := ARRAY(SELECT v.vectors FROM piramid.version AS v WHERE v.documents = c.documents ORDER BY v.version);
	PERFORM piramid.lock_tables(ARRAY[c.documents] || ARRAY(SELECT relid FROM pg_partition_tree(c.documents) WHERE relid <> c.documents)
		|| ARRAY[c.chunks, c.jobs, c.uncut] || vectors, current_setting('lock_timeout')::interval, longest => 500);
	-- One that was begun while this waited
	vectors := ARRAY(SELECT v.vectors FROM piramid.version AS v WHERE v.documents = c.documents ORDER BY v.version);
	FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = c.documents AND tgparentid = 0
			AND tgname IN ('piramid_insert', 'piramid_inserted', 'piramid_update', 'piramid_delete', 'piramid_truncate', 'piramid_metadata') LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t, c.documents);
	END LOOP;
	-- Some may be gone.
	FOR tab IN SELECT r.oid FROM unnest(vectors || ARRAY[c.jobs, c.chunks, c.uncut]) WITH ORDINALITY AS u(oid, n) JOIN pg_class AS r ON r.oid = u.oid ORDER BY n LOOP
		EXECUTE format('DROP TABLE %s', tab);
	END LOOP;
	DELETE FROM piramid.version AS v WHERE v.documents = c.documents;
	DELETE FROM piramid.collection AS x WHERE x.documents = c.documents;
	IF NOT (keep_documents OR c.attached) AND EXISTS (SELECT FROM pg_class WHERE oid = c.documents) THEN
		EXECUTE format('DROP TABLE %s', c.documents);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.drop_collection(regclass, boolean) IS
	'drop the chunks, jobs and vectors of a collection, and the documents if that is asked; an attached table stays';

-- A worker sees the rows of all tenants.  To say so again, as GRANT may be said, changes nothing.
CREATE FUNCTION piramid.see_all(tab regclass, role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = tab AND polname LIKE 'piramid\_work\_%' AND role = ANY (polroles)) THEN
		EXECUTE format('CREATE POLICY %I ON %s TO %s USING (true)', 'piramid_work_' || role::oid, tab, role);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.see_all(regclass, regrole) IS 'row level security leaves all rows to the role of a worker';

-- What a role needs to search, to write documents, or to embed.
CREATE FUNCTION piramid.grant_collection(collection regclass, role regrole, what text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	tab regclass;
BEGIN
	IF what IS NULL OR what NOT IN ('read', 'write', 'work') THEN
		RAISE EXCEPTION 'what is granted is read, write or work, not "%"', what USING ERRCODE = 'invalid_parameter_value';
	END IF;
	EXECUTE format('GRANT SELECT ON %s, %s%s TO %s', c.chunks, c.jobs, ', ' || c.uncut::text, role);
	IF c.uncut IS NOT NULL AND what <> 'read' THEN
		-- A worker that cuts documents reads them, and writes chunks.
		EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO %s', c.uncut, role);
		EXECUTE format('GRANT INSERT, DELETE ON %s TO %s', c.chunks, role);
	END IF;
	IF what <> 'work' OR c.uncut IS NOT NULL THEN
		EXECUTE format('GRANT SELECT ON %s TO %s', c.documents, role);
	END IF;
	IF what = 'write' THEN
		EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s, %s TO %s', c.documents, c.chunks, role);
		-- For refilter()
		EXECUTE format('GRANT INSERT, UPDATE (tenant) ON %s TO %s', c.jobs, role);
	ELSIF what = 'work' THEN
		-- For the locks of complete() and open_collection(); texts a trigger protects.
		EXECUTE format('GRANT UPDATE ON %s TO %s', c.chunks, role);
		EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO %s', c.jobs, role);
		IF c.isolation = 'rls' THEN
			PERFORM piramid.see_all(c.chunks, role), piramid.see_all(c.jobs, role);
		END IF;
	END IF;
	FOR tab IN SELECT vectors FROM piramid.version AS v WHERE v.documents = c.documents LOOP
		EXECUTE format('GRANT SELECT%s ON %s TO %s', CASE what WHEN 'work' THEN ', INSERT, DELETE' WHEN 'write' THEN ', UPDATE' END, tab, role);
		IF what = 'work' AND c.isolation = 'rls' THEN
			PERFORM piramid.see_all(tab, role);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.grant_collection(regclass, regrole, text) IS
	'let a role search a collection (read), write its documents (write), or embed its chunks (work)';

CREATE FUNCTION piramid.set_quota(collection regclass, max_documents bigint DEFAULT NULL, max_chunks bigint DEFAULT NULL,
	max_bytes bigint DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF piramid.is_deferred((piramid.open_collection(collection)).chunking) AND (max_chunks IS NOT NULL OR max_bytes IS NOT NULL) THEN
		RAISE EXCEPTION 'chunks of "%" are made later, so only its documents can be limited', collection USING ERRCODE = 'feature_not_supported';
	END IF;
	IF least(max_documents, max_chunks, max_bytes) < 0 THEN
		RAISE EXCEPTION 'a quota is not negative' USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL is no limit.';
	END IF;
	UPDATE piramid.collection AS c SET max_documents = set_quota.max_documents, max_chunks = set_quota.max_chunks, max_bytes = set_quota.max_bytes
	WHERE c.documents = collection;
END
$$;
COMMENT ON FUNCTION piramid.set_quota(regclass, bigint, bigint, bigint) IS
	'the most documents, chunks, and bytes of chunks that each tenant of a collection may have; NULL: no limit';

-- Chunks of documents that somebody does not see would go, or stay as they are.
CREATE FUNCTION piramid.refuse_hidden(c piramid.collection) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF row_security_active(c.documents) THEN
		RAISE EXCEPTION 'row level security hides documents of "%", which are to be cut again, or tested', c.documents
			USING ERRCODE = 'insufficient_privilege', HINT = 'A role with BYPASSRLS, and the rights of the owner, changes this.';
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.refuse_hidden(piramid.collection) IS 'fails if row level security may hide documents from the current user';

-- What may change in a collection that exists.
CREATE FUNCTION piramid.alter_collection(collection regclass, changes jsonb) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	option text;
	was jsonb;
	had regclass;
	r record;
BEGIN
	-- Of two at once, one changes what the other has made of it.
	PERFORM FROM piramid.collection AS x WHERE x.documents = alter_collection.collection FOR UPDATE;
	c := piramid.open_collection(collection);
	was := c.chunking;
	had := c.uncut;
	IF jsonb_typeof(changes) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'changes of a collection are a JSON object' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR option IN SELECT jsonb_object_keys(changes) EXCEPT SELECT unnest(ARRAY['chunking', 'metadata_schema', 'auto_promote', 'index_options']) LOOP
		RAISE EXCEPTION '"%" of a collection cannot be changed', option USING ERRCODE = 'invalid_parameter_value',
			HINT = 'chunking, metadata_schema, auto_promote and index_options (of later versions) can; piramid.set_model() begins another model.';
	END LOOP;
	IF jsonb_typeof(changes -> 'auto_promote') <> 'boolean' THEN
		RAISE EXCEPTION '"auto_promote" is true or false' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF changes ? 'chunking' OR changes -> 'metadata_schema' <> 'null' THEN
		PERFORM piramid.refuse_hidden(c);
	END IF;
	c.auto_promote := coalesce((changes ->> 'auto_promote')::boolean, c.auto_promote);
	IF changes ? 'chunking' THEN
		-- for the model that takes the least
		c.chunking := piramid.fit_chunking(changes -> 'chunking', (SELECT m.name FROM piramid.version AS v JOIN piramid.model AS m ON m.name = v.model
			WHERE v.documents = c.documents AND v.state <> 'retired' ORDER BY m.max_tokens LIMIT 1));
	END IF;
	c.index_options := coalesce(changes -> 'index_options', c.index_options);
	PERFORM piramid.check_options(c.chunking, c.filter_columns, c.index_options);
	IF piramid.is_deferred(c.chunking) AND c.uncut IS NULL THEN
		IF c.max_chunks IS NOT NULL OR c.max_bytes IS NOT NULL THEN
			RAISE EXCEPTION 'a limit of chunks or bytes needs documents that are cut when they are written' USING ERRCODE = 'feature_not_supported';
		END IF;
		c := piramid.make_uncut(c, piramid.key_type(c));
	END IF;
	IF changes ? 'metadata_schema' THEN
		c.metadata_schema := NULLIF(changes -> 'metadata_schema', 'null');
		PERFORM piramid.change_schema(c);
	END IF;
	UPDATE piramid.collection AS x SET chunking = c.chunking, metadata_schema = c.metadata_schema, auto_promote = c.auto_promote,
		index_options = c.index_options, uncut = c.uncut
	WHERE x.documents = c.documents;
	IF c.uncut IS DISTINCT FROM had THEN
		FOR r IN SELECT DISTINCT a.grantee, CASE WHEN a.privilege_type = 'UPDATE' THEN 'work' WHEN w.grantee IS NOT NULL THEN 'write' ELSE 'read' END AS what
				FROM pg_class AS j CROSS JOIN LATERAL aclexplode(j.relacl) AS a
					LEFT JOIN (SELECT x.grantee FROM pg_class AS t, aclexplode(t.relacl) AS x WHERE t.oid = c.documents AND x.privilege_type = 'INSERT') AS w
						ON w.grantee = a.grantee AND a.privilege_type = 'INSERT'
				WHERE j.oid = c.jobs AND a.grantee NOT IN (0, j.relowner) LOOP
			PERFORM piramid.grant_collection(collection, r.grantee::regrole, r.what);
		END LOOP;
	END IF;
	IF c.chunking <> was THEN
		PERFORM piramid.rechunk_all(collection);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.alter_collection(regclass, jsonb) IS
	'change chunking (all documents are cut again), metadata_schema, auto_promote, or index_options of later versions';
