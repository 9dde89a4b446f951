
-- ===========================================================================
-- Versions: another model, while the old one answers
-- ===========================================================================

-- Chunks without a vector and without a job get a job: for a new version, and
-- where one began while a chunk was being written.
CREATE FUNCTION piramid.queue_missing(collection regclass) RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true);
	v record;
	n bigint;
	total bigint := 0;
BEGIN
	FOR v IN SELECT x.version, x.vectors FROM piramid.version AS x WHERE x.documents = collection AND x.state <> 'retired' LOOP
		EXECUTE format('INSERT INTO %s (chunk_id, version, tokens)
			SELECT c.id, $1, 1 + octet_length(c.text) / 3 FROM %s AS c
			WHERE NOT EXISTS (SELECT FROM %s AS v WHERE v.chunk_id = c.id) ON CONFLICT DO NOTHING', c.jobs, c.chunks, v.vectors)
			USING v.version;
		GET DIAGNOSTICS n = ROW_COUNT;
		total := total + n;
	END LOOP;
	NOTIFY piramid_job;
	RETURN total;
END
$$;
COMMENT ON FUNCTION piramid.queue_missing(regclass) IS 'queue chunks that have neither a vector nor a job; returns their number';

CREATE FUNCTION piramid.set_model(collection regclass, model text) RETURNS integer
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	number integer := piramid.make_version(c, model, 'building');
BEGIN
	PERFORM piramid.queue_missing(collection);
	RETURN number;
END
$$;
COMMENT ON FUNCTION piramid.set_model(regclass, text) IS
	'begin a version with another model; searches use the active one until promote()';

CREATE FUNCTION piramid.promote(collection regclass, version integer) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	tab regclass := (SELECT vectors FROM piramid.version AS v WHERE v.documents = collection AND v.version = promote.version);
	missing bigint;
BEGIN
	IF tab IS NULL THEN
		RAISE EXCEPTION 'collection "%" has no version %', collection, version USING ERRCODE = 'undefined_object';
	END IF;
	EXECUTE format('SELECT count(*) FROM %s AS c WHERE NOT EXISTS (SELECT FROM %s AS v WHERE v.chunk_id = c.id)', c.chunks, tab) INTO missing;
	IF missing > 0 THEN
		RAISE EXCEPTION '% chunks have no vector of version % yet', missing, version USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'piramid.collection_status tells how far it is.';
	END IF;
	UPDATE piramid.version AS v SET state = 'retired' WHERE v.documents = collection AND v.state = 'active';
	UPDATE piramid.version AS v SET state = 'active' WHERE v.documents = collection AND v.version = promote.version;
END
$$;
COMMENT ON FUNCTION piramid.promote(regclass, integer) IS 'let searches use this version, which must have a vector of every chunk';

CREATE FUNCTION piramid.drop_version(collection regclass, version integer) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	tab regclass;
BEGIN
	DELETE FROM piramid.version AS v WHERE v.documents = collection AND v.version = drop_version.version AND v.state <> 'active'
		RETURNING vectors INTO tab;
	IF tab IS NULL THEN
		RAISE EXCEPTION 'collection "%" has no version % that could be dropped', collection, version
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'The active version goes with drop_collection().';
	END IF;
	EXECUTE format('DELETE FROM %s WHERE version = $1', c.jobs) USING version;
	EXECUTE format('DROP TABLE %s', tab);
END
$$;
COMMENT ON FUNCTION piramid.drop_version(regclass, integer) IS 'drop a version that is not active, its vectors and jobs';

CREATE FUNCTION piramid.check_vectors(c piramid.collection, vectors piramid.embedding[]) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
