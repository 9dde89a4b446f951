
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

-- Counted where the table is small, never analyzed, or shows each role other rows.
CREATE FUNCTION piramid.estimated_rows(tab regclass) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	n bigint;
BEGIN
	SELECT reltuples::float8 / relpages * pages INTO n
	FROM pg_class, LATERAL (SELECT pg_relation_size(oid) / current_setting('block_size')::int AS pages OFFSET 0) AS x
	WHERE oid = tab AND relpages > 0 AND reltuples >= 0 AND pages >= 64 AND NOT row_security_active(oid);
	IF n IS NULL THEN
		EXECUTE format('SELECT count(*) FROM %s', tab) INTO n;
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.estimated_rows(regclass) IS 'how many rows a table has, as the planner estimates it; a small one''s are counted';

-- All from one statement, and so of one moment: else a document that is cut meanwhile would be in none of the numbers.
-- Each vector has its chunk, by a foreign key, so both are counted by themselves, unless policies show them differently.
-- Without "counted", what waits, or was given up, is exact, as only the queue is read for it; chunks are estimated.
CREATE FUNCTION piramid.version_status(documents regclass, version integer, counted boolean DEFAULT true, OUT chunks bigint, OUT embedded bigint,
	OUT pending bigint, OUT leased bigint, OUT failed bigint, OUT oldest_pending interval, OUT last_error text, OUT uncut bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	tab regclass;
	waiting bigint;
	uncut_failed bigint;
BEGIN
	c := piramid.open_collection(documents);
	tab := (SELECT v.vectors FROM piramid.version AS v WHERE v.documents = c.documents AND v.version = version_status.version);
	-- Who looks at all collections must not run code of their owners: see open_collection().
	IF EXISTS (SELECT FROM pg_class AS r WHERE r.oid IN (c.chunks, c.jobs, c.uncut, tab) AND relowner <> current_user::regrole AND NOT piramid.is_plain(r.oid)) THEN
		RETURN;
	END IF;
	SELECT t.* INTO chunks, embedded, waiting, leased, failed, oldest_pending, last_error, uncut, uncut_failed FROM piramid.query(format('
		SELECT n.*, j.waiting, j.leased, j.failed, greatest(now() - j.since, now() - u.since), coalesce(j.error, u.error), u.waiting, u.failed
		FROM (%s) AS n(chunks, embedded), (SELECT count(*) FILTER (WHERE NOT failed), count(*) FILTER (WHERE lease_until > now()),
				count(*) FILTER (WHERE failed), min(created_at) FILTER (WHERE NOT failed), (array_agg(error ORDER BY due DESC) FILTER (WHERE error IS NOT NULL))[1]
			FROM %s WHERE version = $1) AS j(waiting, leased, failed, since, error), (%s) AS u(waiting, failed, since, error)',
		CASE WHEN NOT counted THEN 'SELECT NULL::bigint, NULL::bigint'
			WHEN row_security_active(c.chunks) OR row_security_active(tab) THEN format('SELECT count(*), count(v.chunk_id) FROM %s AS c LEFT JOIN %s AS v ON v.chunk_id = c.id', c.chunks, tab)
			ELSE format('SELECT (SELECT count(*) FROM %s), (SELECT count(*) FROM %s)', c.chunks, tab) END,
		c.jobs,
		CASE WHEN has_table_privilege(c.uncut, 'SELECT') THEN format('SELECT count(DISTINCT k) FILTER (WHERE error IS NULL), count(error), min(queued_at) FILTER (WHERE error IS NULL), min(error)
			FROM %s AS q, unnest(coalesce(q.documents, ARRAY[q.document_id])) AS k', c.uncut)
			ELSE format('SELECT %s::bigint, 0::bigint, NULL::timestamptz, NULL::text', CASE WHEN c.uncut IS NULL THEN '0' ELSE 'NULL' END) END), version)
		AS t(chunks bigint, embedded bigint, waiting bigint, leased bigint, failed bigint, since interval, error text, uncut bigint, uncut_failed bigint);
	IF counted THEN
		pending := chunks - embedded - failed;
	ELSE
		pending := waiting;
		chunks := greatest(piramid.estimated_rows(c.chunks), waiting + failed);
		embedded := chunks - waiting - failed;
	END IF;
	failed := failed + uncut_failed;
EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR object_not_in_prerequisite_state THEN
	-- Tables that their owner has broken hide no other collection.
	chunks := NULL;
END
$$;
COMMENT ON FUNCTION piramid.version_status(regclass, integer, boolean) IS 'how far the embeddings of a version are; chunks counted, or estimated';

CREATE VIEW piramid.readable_version WITH (security_invoker) AS
	SELECT c.documents AS collection, v.version, v.state, v.model, m.provider, c.chunks, v.vectors,
		(SELECT max(p.until) FROM piramid.pause AS p WHERE p.provider = m.provider AND p.until > now()) AS paused_until,
		NOT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indrelid = v.vectors AND NOT indisvalid) AS index_valid
	FROM piramid.collection AS c JOIN piramid.version AS v USING (documents) JOIN piramid.model AS m ON m.name = v.model
	WHERE CASE WHEN pg_catalog.to_regclass(c.chunks::text) IS NOT NULL
		THEN pg_catalog.has_table_privilege(c.chunks, 'SELECT') AND pg_catalog.has_table_privilege(c.jobs, 'SELECT')
			AND pg_catalog.has_table_privilege(v.vectors, 'SELECT') END;
COMMENT ON VIEW piramid.readable_version IS 'versions of collections that the current user may read';

CREATE VIEW piramid.collection_status WITH (security_invoker) AS
	SELECT r.collection, r.version, r.state, r.model, r.provider, s.chunks, s.embedded,
		CASE WHEN s.chunks = 0 THEN 1 ELSE round(s.embedded::numeric / s.chunks, 6) END AS coverage,
		s.pending, s.leased, s.failed, s.oldest_pending, s.last_error, s.uncut, r.paused_until,
		pg_catalog.pg_total_relation_size(r.chunks) AS chunk_bytes, pg_catalog.pg_total_relation_size(r.vectors) AS vector_bytes, r.index_valid
	FROM piramid.readable_version AS r, LATERAL piramid.version_status(r.collection, r.version) AS s
	WHERE s.chunks IS NOT NULL;
COMMENT ON VIEW piramid.collection_status IS 'collections that the current user may read: how far their embeddings are, versions, sizes';

-- To be read every few seconds, also with a hundred collections and millions of chunks: these are estimated, but where a
-- version is built, whose chunks may have no job yet.  Coverage is 1 only if nothing waits.
CREATE VIEW piramid.metrics WITH (security_invoker) AS
	SELECT m.name, 'gauge' AS kind, m.help,
		pg_catalog.jsonb_build_object('collection', r.collection::text, 'version', r.version, 'model', r.model, 'state', r.state) AS labels, m.value
	FROM piramid.readable_version AS r, LATERAL piramid.version_status(r.collection, r.version, r.state <> 'active') AS s, LATERAL (VALUES
		('piramid_chunks_estimate', 'Chunks of a collection, estimated where there are many', s.chunks::float8),
		('piramid_embedded_chunks_estimate', 'Chunks with a vector, estimated where there are many', s.embedded),
		('piramid_coverage_ratio', 'Share of chunks with a vector: 1 only if none waits', CASE WHEN s.chunks = 0 THEN 1 ELSE s.embedded / s.chunks::float8 END),
		('piramid_uncut_documents', 'Documents that wait to be cut', s.uncut),
		('piramid_pending_jobs', 'Chunks that wait for a vector', s.pending),
		('piramid_leased_jobs', 'Chunks that a worker has', s.leased),
		('piramid_failed_jobs', 'Chunks that were given up', s.failed),
		('piramid_oldest_pending_seconds', 'Age of the oldest chunk that waits', coalesce(extract(epoch FROM s.oldest_pending), 0)),
		('piramid_provider_paused_seconds', 'How long the provider is still left alone', coalesce(greatest(extract(epoch FROM r.paused_until - now()), 0), 0)),
		('piramid_chunk_bytes', 'Size of chunks, with indexes', pg_catalog.pg_total_relation_size(r.chunks)),
		('piramid_vector_bytes', 'Size of vectors, with indexes', pg_catalog.pg_total_relation_size(r.vectors)),
		('piramid_index_valid', 'Is the index of vectors valid?', CASE WHEN r.index_valid THEN 1 ELSE 0 END)) AS m(name, help, value)
	WHERE m.value IS NOT NULL AND s.chunks IS NOT NULL;
COMMENT ON VIEW piramid.metrics IS 'numbers for monitoring, in the shape that Prometheus has';

CREATE FUNCTION piramid.health(stale_after interval DEFAULT '1 hour') RETURNS TABLE (check_name text, ok boolean, detail text)
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
	-- The queue tells what is wrong: nothing is counted.
	WITH s AS MATERIALIZED (SELECT r.*, s.failed, s.last_error, s.pending, s.uncut, s.oldest_pending
		FROM piramid.readable_version AS r, LATERAL piramid.version_status(r.collection, r.version, false) AS s WHERE s.chunks IS NOT NULL)
	SELECT 'tables', count(*) = 0, string_agg(format('tables of collection %1$s are gone: SELECT piramid.drop_collection(%1$s) drops the others', c.documents::oid), '; ')
	FROM piramid.collection AS c
	WHERE EXISTS (SELECT FROM unnest(ARRAY[c.documents, c.chunks, c.jobs, c.uncut]) AS t WHERE t IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class WHERE oid = t))
	UNION ALL SELECT 'columns', count(*) = 0, string_agg(format('%s has no column %s', c.documents, lost), '; ')
	FROM piramid.collection AS c JOIN pg_class AS r ON r.oid = c.documents, piramid.lost_columns(c, true) AS lost WHERE lost IS NOT NULL
	-- A trigger goes with a column that is dropped, and comes back with no ENABLE.
	UNION ALL SELECT 'triggers', count(*) = 0, string_agg(format('%s: the trigger %s is gone, or disabled', c.documents, name), '; ')
	FROM piramid.collection AS c JOIN pg_class AS r ON r.oid = c.documents,
		unnest(ARRAY['piramid_insert', 'piramid_update'] || CASE WHEN c.attached THEN ARRAY['piramid_delete', 'piramid_truncate'] END) AS name
	WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.documents AND tgname = name AND tgenabled IN ('O', 'A'))
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

GRANT SELECT ON piramid.readable_version, piramid.collection_status, piramid.metrics TO PUBLIC;
