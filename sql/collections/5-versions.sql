
-- ===========================================================================
-- Versions: another model, while the old one answers
-- ===========================================================================

-- Chunks without a vector and without a job get a job: for a new version, and
-- where one began while a chunk was being written.  Those of one call are locked
-- against changes until its end, so a worker takes a few thousand at once.
CREATE FUNCTION piramid.queue_missing(collection regclass, most bigint DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true);
	v record;
	n bigint;
	total bigint := 0;
BEGIN
	FOR v IN SELECT x.version, x.vectors FROM piramid.version AS x WHERE x.documents = collection AND x.state <> 'retired' LOOP
		EXECUTE format('INSERT INTO %1$s (chunk_id, version, tenant, tokens)
			SELECT c.id, $1, c.tenant, 1 + octet_length(c.text) / 3 FROM %2$s AS c
			WHERE c.text <> '''' AND NOT EXISTS (SELECT FROM %3$s AS v WHERE v.chunk_id = c.id)
				AND NOT EXISTS (SELECT FROM %1$s AS j WHERE j.chunk_id = c.id AND j.version = $1)
			LIMIT $2 ON CONFLICT DO NOTHING', c.jobs, c.chunks, v.vectors)
			USING v.version, most - total;
		GET DIAGNOSTICS n = ROW_COUNT;
		total := total + n;
	END LOOP;
	NOTIFY piramid_job;
	RETURN total;
END
$$;
COMMENT ON FUNCTION piramid.queue_missing(regclass, bigint) IS 'queue chunks that have neither a vector nor a job, at most so many; returns their number';

-- The table alone: the worker queues what it lacks, a part at a time, since what is
-- queued is locked until the transaction ends.
CREATE FUNCTION piramid.set_model(collection regclass, model text) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	number integer;
BEGIN
	-- A foreign key locks the table that it refers to.
	PERFORM piramid.lock_tables(ARRAY[c.chunks], current_setting('lock_timeout')::interval, lock_mode => 'SHARE ROW EXCLUSIVE');
	PERFORM piramid.fit_chunking('{"size": 1000}' || c.chunking, model);		-- which warns
	number := piramid.make_version(c, model, 'building');
	NOTIFY piramid_job, 'sweep';
	RETURN number;
END
$$;
COMMENT ON FUNCTION piramid.set_model(regclass, text) IS
	'begin a version with another model; searches use the active one until promote()';

-- What vectors have cost, and what those that are missing will: by the model's price, and the tokens that claim()
-- counts.  Nothing is written down for it, so vectors that are gone are not in it.
CREATE FUNCTION piramid.embedding_cost(collection regclass) RETURNS TABLE (version integer, model text, tokens bigint, cost numeric,
		missing_tokens bigint, missing_cost numeric)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	v record;
BEGIN
	FOR v IN SELECT x.version AS number, x.vectors, m.name, m.price_per_mtok / 1000000 AS price FROM piramid.version AS x JOIN piramid.model AS m ON m.name = x.model
			WHERE x.documents = c.documents ORDER BY x.version LOOP
		RETURN QUERY EXECUTE format('SELECT $1, $2, x.has, trim_scale(x.has * $3), x.lacks, trim_scale(x.lacks * $3) FROM (
			SELECT coalesce(sum(t) FILTER (WHERE v.chunk_id IS NOT NULL), 0)::bigint AS has, coalesce(sum(t) FILTER (WHERE v.chunk_id IS NULL), 0)::bigint AS lacks
			FROM %s AS c CROSS JOIN LATERAL (SELECT 1 + octet_length(c.text) / 3 AS t) AS u LEFT JOIN %s AS v ON v.chunk_id = c.id WHERE c.text <> '''') AS x', c.chunks, v.vectors)
			USING v.number, v.name, v.price;
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.embedding_cost(regclass) IS 'tokens, and their price, of the vectors that each version has, and of those that it lacks; an estimate';

-- Does the current user see all rows of a collection, or some of them only?
CREATE FUNCTION piramid.sees_all(c piramid.collection) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT NOT row_security_active(c.chunks) OR EXISTS (SELECT FROM pg_policy, unnest(polroles) AS role
		WHERE polrelid = c.chunks AND polname LIKE 'piramid\_work\_%' AND pg_has_role(current_user, role, 'USAGE'))
$$;
COMMENT ON FUNCTION piramid.sees_all(piramid.collection) IS 'does row level security leave all chunks to the current user?';

-- Where writers never pause, some chunks always wait for their vectors: "most_missing" lets so many.
CREATE FUNCTION piramid.promote(collection regclass, version integer, most_missing bigint DEFAULT 0) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	tab regclass := (SELECT vectors FROM piramid.version AS v WHERE v.documents = collection AND v.version = promote.version);
	missing bigint;
BEGIN
	IF tab IS NULL THEN
		RAISE EXCEPTION 'collection "%" has no version %', collection, version USING ERRCODE = 'undefined_object';
	ELSIF NOT piramid.sees_all(c) THEN
		RAISE EXCEPTION 'row level security hides chunks that may have no vector of version %', version USING ERRCODE = 'insufficient_privilege',
			HINT = 'Let the worker promote: piramid.alter_collection(..., ''{"auto_promote": true}'').';
	END IF;
	EXECUTE format('SELECT count(*) FROM %s AS c WHERE NOT EXISTS (SELECT FROM %s AS v WHERE v.chunk_id = c.id)', c.chunks, tab) INTO missing;
	IF missing > greatest(most_missing, 0) THEN
		RAISE EXCEPTION '% chunks have no vector of version % yet', missing, version USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'piramid.collection_status tells how far it is. Those without text are yours to store, by piramid.upsert_vectors(..., version).';
	ELSIF EXISTS (SELECT FROM pg_index WHERE indrelid = tab AND NOT indisvalid) THEN
		RAISE EXCEPTION 'an index of version % is not valid', version USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('REINDEX TABLE %s;', tab);
	END IF;
	UPDATE piramid.version AS v SET state = 'retired' WHERE v.documents = collection AND v.state = 'active' AND v.version <> promote.version;
	UPDATE piramid.version AS v SET state = 'active' WHERE v.documents = collection AND v.version = promote.version AND v.state <> 'active';
END
$$;
COMMENT ON FUNCTION piramid.promote(regclass, integer, bigint) IS
	'let searches use this version, which must have a vector of every chunk, but for so many';

-- What workers do now and then.  Collections that they cannot open now, or must not, or whose tables
-- their owner has broken, are passed over: these errors are a collection's, and others are not to wait for it.
CREATE FUNCTION piramid.sweep(most bigint DEFAULT 5000) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	tab regclass;
	done bigint := 0;
BEGIN
	FOR tab IN SELECT DISTINCT x.documents FROM piramid.version AS x JOIN piramid.collection AS y USING (documents)
			WHERE piramid.works_for(x.documents, x.vectors) AND has_table_privilege(y.jobs, 'INSERT') LOOP
		BEGIN
			PERFORM piramid.open_collection(tab, plain => true, wait => false);
			done := done + piramid.queue_missing(tab, most - done);
		EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR integrity_constraint_violation OR object_not_in_prerequisite_state THEN
			CONTINUE;
		END;
	END LOOP;
	RETURN done;
END
$$;
COMMENT ON FUNCTION piramid.sweep(bigint) IS 'for workers: queues chunks that have no job, in all collections, at most so many; returns their number';

-- The newest version, if it has a vector for every chunk.
CREATE FUNCTION piramid.promote_finished() RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v record;
	c piramid.collection;
	busy boolean;
	n integer := 0;
BEGIN
	FOR v IN SELECT DISTINCT ON (x.documents) x.* FROM piramid.version AS x JOIN piramid.collection AS y USING (documents)
			WHERE y.auto_promote ORDER BY x.documents, x.version DESC LOOP
		CONTINUE WHEN v.state <> 'building' OR NOT piramid.works_for(v.documents, v.vectors);
		BEGIN
			c := piramid.open_collection(v.documents, plain => true, wait => false);
			EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE version = $1)', c.jobs) INTO busy USING v.version;
			CONTINUE WHEN busy;
			PERFORM piramid.promote(v.documents, v.version);
			n := n + 1;
		EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR integrity_constraint_violation OR object_not_in_prerequisite_state THEN
			CONTINUE;
		END;
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.promote_finished() IS 'for workers: promotes versions that are complete, where auto_promote says so; returns their number';

CREATE FUNCTION piramid.drop_version(collection regclass, version integer) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	tab regclass := (SELECT vectors FROM piramid.version AS v
		WHERE v.documents = collection AND v.version = drop_version.version AND v.state <> 'active');
BEGIN
	IF tab IS NOT NULL THEN
		-- Dropping a table locks the one that it refers to.
		PERFORM piramid.lock_tables(ARRAY[c.chunks, c.jobs, tab], current_setting('lock_timeout')::interval);
	END IF;
	-- After the tables, as a worker that promotes does it
	DELETE FROM piramid.version AS v WHERE v.documents = collection AND v.version = drop_version.version AND v.state <> 'active';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'collection "%" has no version % that could be dropped', collection, version
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'The active version goes with drop_collection().';
	END IF;
	EXECUTE format('DELETE FROM %s WHERE version = $1', c.jobs) USING version;
	EXECUTE format('DROP TABLE %s', tab);
END
$$;
COMMENT ON FUNCTION piramid.drop_version(regclass, integer) IS 'drop a version that is not active, its vectors and jobs';

CREATE FUNCTION piramid.check_vectors(c piramid.collection, vectors piramid.embedding[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	zero bigint := 0;
BEGIN
	IF c.distance = 'cosine' THEN
		EXECUTE format('SELECT count(*) FROM unnest($1) AS e WHERE %s.vector_norm(e) = 0', piramid.vector_schema()) INTO zero USING vectors;
	END IF;
	IF zero > 0 THEN
		RAISE EXCEPTION '% vectors are zero, which the cosine distance does not find', zero USING ERRCODE = 'data_exception';
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.check_vectors(piramid.collection, piramid.embedding[]) IS 'refuses vectors that a search could not find';

-- Vectors made elsewhere, each with the text that it was made of: what is stored
-- belongs to chunks of exactly this text.
CREATE FUNCTION piramid.import_vectors(collection regclass, texts text[], vectors piramid.embedding[], version integer DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	v piramid.version;
	n bigint;
BEGIN
	SELECT * INTO v FROM piramid.version AS x WHERE x.documents = collection
		AND CASE WHEN import_vectors.version IS NULL THEN x.state = 'active' ELSE x.version = import_vectors.version END;
	IF NOT FOUND OR cardinality(texts) IS DISTINCT FROM cardinality(vectors) THEN
		RAISE EXCEPTION 'there is no version %, or there are not as many texts as vectors', version USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM piramid.check_vectors(c, vectors);
	-- The lock is that of complete(): filter columns do not change before the vectors can be seen.
	EXECUTE format('WITH given AS (SELECT DISTINCT ON (hash) piramid.hash_of(t) AS hash, e FROM unnest($1, $2) AS u(t, e) ORDER BY hash),
		locked AS MATERIALIZED (SELECT * FROM %4$s WHERE hash IN (SELECT hash FROM given) ORDER BY id FOR SHARE),
		stored AS (INSERT INTO %1$s (chunk_id, tenant%2$s, embedding)
			SELECT c.id, c.tenant%3$s, g.e FROM locked AS c JOIN given AS g USING (hash) ON CONFLICT DO NOTHING RETURNING chunk_id),
		done AS (DELETE FROM %5$s AS j USING stored WHERE j.chunk_id = stored.chunk_id AND j.version = $3)
		SELECT count(*) FROM stored', v.vectors,
		(SELECT string_agg(format(', %I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f),
		(SELECT string_agg(format(', c.%I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f), c.chunks, c.jobs)
		INTO n USING texts, vectors, v.version;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.import_vectors(regclass, text[], piramid.embedding[], integer) IS
	'store vectors that exist, for the chunks of these texts; returns the number stored';

-- Documents of which the caller has the vectors: each is one chunk.  A document with this
-- external_id is changed.
CREATE FUNCTION piramid.upsert_vectors(collection regclass, ids text[], vectors piramid.embedding[], metadata jsonb[] DEFAULT NULL,
	texts text[] DEFAULT NULL, version integer DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	v piramid.version;
	names text := coalesce((SELECT string_agg(format(', %I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f), '');
	keys bigint[];
	n bigint;
BEGIN
	SELECT * INTO v FROM piramid.version AS x WHERE x.documents = collection
		AND CASE WHEN upsert_vectors.version IS NULL THEN x.state = 'active' ELSE x.version = upsert_vectors.version END;
	IF v IS NULL OR c.attached OR piramid.is_deferred(c.chunking) THEN
		RAISE EXCEPTION 'collection "%" has no version %, or is a table of its own, or is cut later', collection, version USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF cardinality(ids) IS DISTINCT FROM cardinality(vectors) OR cardinality(metadata) <> cardinality(ids) OR cardinality(texts) <> cardinality(ids)
			OR cardinality(ids) <> (SELECT count(DISTINCT i) FROM unnest(ids) AS i) OR array_position(vectors, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'ids, vectors, metadata and texts are arrays of one length, ids are different, and no id or vector is NULL'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM piramid.check_vectors(c, vectors);
	EXECUTE format('WITH put AS (INSERT INTO %s AS d (external_id, metadata, body)
			SELECT i, coalesce(m, ''{}''), b FROM unnest($1, $2, $3) AS u(i, m, b) ORDER BY i
			ON CONFLICT (tenant, external_id) DO UPDATE SET updated_at = now(),
				metadata = CASE WHEN $2 IS NULL THEN d.metadata ELSE excluded.metadata END, body = CASE WHEN $3 IS NULL THEN d.body ELSE excluded.body END
			RETURNING id, external_id)
		SELECT array_agg(p.id ORDER BY u.n) FROM put AS p JOIN unnest($1) WITH ORDINALITY AS u(i, n) ON u.i = p.external_id', c.documents)
		INTO keys USING ids, metadata, texts;
	-- A document without text has an empty chunk, to which the vector belongs.
	EXECUTE format('INSERT INTO %1$s (document_id, tenant, ordinal, start, length, text, hash, heading_path%2$s)
		SELECT d.id, d.tenant, 0, 1, 0, '''', sha256(''''), ''{}''%3$s FROM %4$s AS d
		WHERE d.id = ANY ($1) AND NOT EXISTS (SELECT FROM %1$s AS x WHERE x.document_id = d.id)',
		c.chunks, names, piramid.filter_values(c), c.documents) USING keys;
	PERFORM piramid.check_quota(c, keys::text[]);
	EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE document_id = ANY ($1) GROUP BY document_id HAVING count(*) > 1) AS x', c.chunks) INTO n USING keys;
	IF n > 0 THEN
		RAISE EXCEPTION '% of these documents have several chunks, and one vector', n USING ERRCODE = 'data_exception',
			HINT = 'A larger "size" of chunking makes one of each; piramid.import_vectors() takes a vector for each chunk.';
	END IF;
	EXECUTE format('WITH locked AS MATERIALIZED (SELECT * FROM %4$s WHERE document_id = ANY ($1) ORDER BY id FOR SHARE),
		done AS (DELETE FROM %5$s AS j USING locked WHERE j.chunk_id = locked.id AND j.version = $3)
		INSERT INTO %1$s (chunk_id, tenant%2$s, embedding)
		SELECT l.id, l.tenant%3$s, u.e FROM locked AS l JOIN unnest($1, $2) AS u(key, e) ON u.key = l.document_id
		ON CONFLICT (chunk_id) DO UPDATE SET embedding = excluded.embedding',
		v.vectors, names, (SELECT string_agg(format(', l.%I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f), c.chunks, c.jobs)
		USING keys, vectors, v.version;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.upsert_vectors(regclass, text[], piramid.embedding[], jsonb[], text[], integer) IS
	'store documents, one chunk each, with vectors that the caller has; returns their number';
