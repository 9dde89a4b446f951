
-- ===========================================================================
-- Status, metrics, health
-- ===========================================================================

CREATE FUNCTION piramid.list_collections() RETURNS TABLE (collection regclass, attached boolean, filter_columns jsonb, isolation text, distance text,
		version integer, model text, provider text, dims integer, query_prefix text)
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT c.documents, c.attached, c.filter_columns, c.isolation, c.distance, v.version, v.model, m.provider, m.dims, m.query_prefix
	FROM piramid.collection AS c LEFT JOIN piramid.version AS v ON v.documents = c.documents AND v.state = 'active' LEFT JOIN piramid.model AS m ON m.name = v.model
	WHERE has_table_privilege(c.documents, 'SELECT') AND has_table_privilege(c.chunks, 'SELECT')
	ORDER BY c.documents::text
$$;
COMMENT ON FUNCTION piramid.list_collections() IS 'collections that the current user may search, and the model that embeds queries of them';

CREATE FUNCTION piramid.version_status(documents regclass, version integer, OUT chunks bigint, OUT embedded bigint,
	OUT pending bigint, OUT leased bigint, OUT failed bigint, OUT oldest_pending interval, OUT last_error text, OUT uncut bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	tab regclass;
BEGIN
	c := piramid.open_collection(documents);
	tab := (SELECT v.vectors FROM piramid.version AS v WHERE v.documents = c.documents AND v.version = version_status.version);
	-- Who looks at all collections must not run code of their owners: see open_collection().
	IF EXISTS (SELECT FROM pg_class AS r WHERE r.oid IN (c.chunks, c.jobs, c.uncut, tab) AND relowner <> current_user::regrole AND NOT piramid.is_plain(r.oid)) THEN
		RETURN;
	END IF;
	EXECUTE format('SELECT count(*), count(v.chunk_id) FROM %s AS c LEFT JOIN %s AS v ON v.chunk_id = c.id', c.chunks, tab) INTO chunks, embedded;
	EXECUTE format('SELECT count(*) FILTER (WHERE lease_until > now()), count(*) FILTER (WHERE failed), now() - min(created_at) FILTER (WHERE NOT failed),
			(array_agg(error ORDER BY due DESC) FILTER (WHERE error IS NOT NULL))[1]
		FROM %s WHERE version = $1', c.jobs) INTO leased, failed, oldest_pending, last_error USING version;
	pending := chunks - embedded - failed;
	uncut := CASE WHEN c.uncut IS NULL THEN 0 END;
	IF has_table_privilege(c.uncut, 'SELECT') THEN
		EXECUTE format('SELECT count(DISTINCT k) FILTER (WHERE error IS NULL), greatest($1, now() - min(queued_at) FILTER (WHERE error IS NULL)), $2 + count(error), coalesce($3, min(error))
			FROM %s AS u, unnest(coalesce(u.documents, ARRAY[u.document_id])) AS k', c.uncut) INTO uncut, oldest_pending, failed, last_error USING oldest_pending, failed, last_error;
	END IF;
EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR object_not_in_prerequisite_state THEN
	-- Tables that their owner has broken hide no other collection.
	chunks := NULL;
END
$$;
COMMENT ON FUNCTION piramid.version_status(regclass, integer) IS 'how far the embeddings of a version are';

CREATE VIEW piramid.collection_status WITH (security_invoker) AS
	SELECT c.documents AS collection, v.version, v.state, v.model, m.provider, s.chunks, s.embedded,
		CASE WHEN s.chunks = 0 THEN 1 ELSE round(s.embedded::numeric / s.chunks, 6) END AS coverage,
		s.pending, s.leased, s.failed, s.oldest_pending, s.last_error, s.uncut,
		(SELECT max(p.until) FROM piramid.pause AS p WHERE p.provider = m.provider AND p.until > now()) AS paused_until,
		pg_catalog.pg_total_relation_size(c.chunks) AS chunk_bytes, pg_catalog.pg_total_relation_size(v.vectors) AS vector_bytes,
		NOT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indrelid = v.vectors AND NOT indisvalid) AS index_valid
	FROM piramid.collection AS c JOIN piramid.version AS v USING (documents) JOIN piramid.model AS m ON m.name = v.model,
		LATERAL piramid.version_status(c.documents, v.version) AS s
	WHERE CASE WHEN pg_catalog.to_regclass(c.chunks::text) IS NOT NULL
		THEN pg_catalog.has_table_privilege(c.chunks, 'SELECT') AND pg_catalog.has_table_privilege(c.jobs, 'SELECT')
			AND pg_catalog.has_table_privilege(v.vectors, 'SELECT') END
		AND s.chunks IS NOT NULL;
COMMENT ON VIEW piramid.collection_status IS 'collections that the current user may read: how far their embeddings are, versions, sizes';

CREATE VIEW piramid.metrics WITH (security_invoker) AS
	SELECT m.name, 'gauge' AS kind, m.help,
		pg_catalog.jsonb_build_object('collection', s.collection::text, 'version', s.version, 'model', s.model, 'state', s.state) AS labels, m.value
	FROM piramid.collection_status AS s, LATERAL (VALUES
		('piramid_chunks', 'Chunks of a collection', s.chunks::float8),
		('piramid_embedded_chunks', 'Chunks with a vector', s.embedded),
		('piramid_coverage_ratio', 'Share of chunks with a vector', s.coverage),
		('piramid_uncut_documents', 'Documents that wait to be cut', s.uncut),
		('piramid_pending_jobs', 'Chunks that wait for a vector', s.pending),
		('piramid_leased_jobs', 'Chunks that a worker has', s.leased),
		('piramid_failed_jobs', 'Chunks that were given up', s.failed),
		('piramid_oldest_pending_seconds', 'Age of the oldest chunk that waits', coalesce(extract(epoch FROM s.oldest_pending), 0)),
		('piramid_provider_paused_seconds', 'How long the provider is still left alone', coalesce(greatest(extract(epoch FROM s.paused_until - now()), 0), 0)),
		('piramid_chunk_bytes', 'Size of chunks, with indexes', s.chunk_bytes),
		('piramid_vector_bytes', 'Size of vectors, with indexes', s.vector_bytes),
		('piramid_index_valid', 'Is the index of vectors valid?', CASE WHEN s.index_valid THEN 1 ELSE 0 END)) AS m(name, help, value)
	WHERE m.value IS NOT NULL;
COMMENT ON VIEW piramid.metrics IS 'numbers for monitoring, in the shape that Prometheus has';

CREATE FUNCTION piramid.health(stale_after interval DEFAULT '1 hour') RETURNS TABLE (check_name text, ok boolean, detail text)
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
	WITH s AS MATERIALIZED (SELECT * FROM piramid.collection_status)
	SELECT 'tables', count(*) = 0, string_agg(format('the tables of collection %s are gone', c.documents::oid), '; ')
	FROM piramid.collection AS c
	WHERE EXISTS (SELECT FROM unnest(ARRAY[c.documents, c.chunks, c.jobs, c.uncut]) AS t WHERE t IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class WHERE oid = t))
	UNION ALL SELECT 'jobs', count(*) = 0, string_agg(format('%s, version %s: %s given up: %s', collection, version, failed, last_error), '; ')
	FROM s WHERE failed > 0
	UNION ALL SELECT 'workers', count(*) = 0, string_agg(format('%s, version %s: %s wait, the oldest since %s', collection, version, pending + coalesce(uncut, 0), oldest_pending), '; ')
	FROM s WHERE pending + coalesce(uncut, 0) > 0 AND oldest_pending > stale_after AND state <> 'retired'
	UNION ALL SELECT 'providers', count(*) = 0, string_agg(DISTINCT format('%s is paused until %s', provider, paused_until), '; ')
	FROM s WHERE paused_until IS NOT NULL
	UNION ALL SELECT 'indexes', count(*) = 0, string_agg(format('%s, version %s: the index is not valid', collection, version), '; ')
	FROM s WHERE NOT index_valid
$$;
COMMENT ON FUNCTION piramid.health(interval) IS 'what is wrong with the collections that the current user may read';

GRANT SELECT ON piramid.collection_status, piramid.metrics TO PUBLIC;
