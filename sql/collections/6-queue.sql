
-- ===========================================================================
-- The queue: functions for workers, in any language
-- ===========================================================================

-- A batch for one call of one provider.  Collections are looked at in random order,
-- so that none waits behind another.  No transaction stays open during the call: the lease
-- does what a lock would do, and expires if the worker dies.
CREATE FUNCTION piramid.claim(items integer DEFAULT NULL, tokens integer DEFAULT NULL, lease interval DEFAULT '2 min',
	providers text[] DEFAULT NULL)
	RETURNS TABLE (collection regclass, version integer, provider text, model_id text, dims integer, lease_token uuid, chunk_id bigint, text text)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v record;
	c piramid.collection;
	n bigint;
	token uuid := gen_random_uuid();
BEGIN
	FOR v IN SELECT x.documents, x.version AS number, m.* FROM piramid.version AS x JOIN piramid.model AS m ON m.name = x.model
			JOIN piramid.collection AS y USING (documents)
			WHERE x.state <> 'retired' AND has_table_privilege(y.jobs, 'UPDATE') AND has_table_privilege(x.vectors, 'INSERT')
				AND (providers IS NULL OR m.provider = ANY (providers))
				AND NOT EXISTS (SELECT FROM piramid.pause AS p WHERE p.worker = current_user::regrole AND p.provider = m.provider AND p.until > clock_timestamp())
			ORDER BY random() LOOP
		BEGIN
			-- An owner's lock must not stop the worker of others.
			c := piramid.open_collection(v.documents, plain => true, wait => false);
		EXCEPTION WHEN insufficient_privilege OR lock_not_available THEN
			CONTINUE;
		END;
		-- Several may take rows at once; the token, not the order, says whose they are.
		EXECUTE format('WITH due AS (
				SELECT j.chunk_id, j.version, sum(j.tokens) OVER (ORDER BY j.due, j.chunk_id) - j.tokens AS before
				FROM (SELECT * FROM %1$s WHERE version = $1 AND NOT failed AND due <= clock_timestamp()
						AND (lease IS NULL OR lease_until <= clock_timestamp())
					ORDER BY due, chunk_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS j)
			UPDATE %1$s AS j SET lease = $3, lease_until = clock_timestamp() + $4, attempts = attempts + 1
			FROM due WHERE j.chunk_id = due.chunk_id AND j.version = due.version AND (due.before < $5 OR due.before = 0)', c.jobs)
			USING v.number, least(items, v.batch_items), token, coalesce(lease, '2 min'), least(tokens, v.batch_tokens);
		GET DIAGNOSTICS n = ROW_COUNT;
		IF n > 0 THEN
			RETURN QUERY EXECUTE format('SELECT $1, $2, $3, $4, $5, $6, x.id, $7 || x.text
				FROM %s AS j JOIN %s AS x ON x.id = j.chunk_id WHERE j.lease = $6 ORDER BY x.id', c.jobs, c.chunks)
				USING c.documents, v.number, v.provider, v.model_id, v.dims, token, v.document_prefix;
			RETURN;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.claim(integer, integer, interval, text[]) IS
	'a batch of texts to embed, under a lease; no rows if there is nothing to do';

-- Chunks that are being changed or deleted are left: what they become is queued
-- by whoever changes them.  Rows whose lease has gone to another are left, too.
CREATE FUNCTION piramid.complete(collection regclass, lease_token uuid, chunk_ids bigint[], vectors piramid.embedding[]) RETURNS integer
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true);
	tab regclass;
	stored integer;
BEGIN
	IF cardinality(chunk_ids) IS DISTINCT FROM cardinality(vectors) OR array_position(vectors, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'there are % chunks and % vectors', cardinality(chunk_ids), cardinality(vectors) USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM piramid.check_vectors(c, vectors);
	EXECUTE format('SELECT v.vectors FROM piramid.version AS v JOIN %s AS j USING (version) WHERE v.documents = $1 AND j.lease = $2 LIMIT 1', c.jobs)
		INTO tab USING collection, lease_token;
	IF tab IS NULL THEN
		RETURN 0;
	END IF;
	EXECUTE format('WITH locked AS MATERIALIZED (SELECT * FROM %1$s WHERE id = ANY ($1) FOR SHARE SKIP LOCKED),
		done AS (DELETE FROM %2$s AS j USING locked WHERE j.chunk_id = locked.id AND j.lease = $3 RETURNING j.chunk_id)
		INSERT INTO %3$s (chunk_id, tenant%4$s, embedding)
		SELECT l.id, l.tenant%5$s, u.e FROM unnest($1, $2) AS u(id, e) JOIN done ON done.chunk_id = u.id JOIN locked AS l ON l.id = u.id
		ON CONFLICT DO NOTHING', c.chunks, c.jobs, tab,
		(SELECT string_agg(format(', %I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f),
		(SELECT string_agg(format(', l.%I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f))
		USING chunk_ids, vectors, lease_token;
	GET DIAGNOSTICS stored = ROW_COUNT;
	EXECUTE format('UPDATE %1$s AS j SET lease = NULL, lease_until = NULL, attempts = j.attempts - 1
		FROM (SELECT chunk_id, version FROM %1$s WHERE lease = $1 AND chunk_id = ANY ($2) FOR UPDATE SKIP LOCKED) AS left_over
		WHERE j.chunk_id = left_over.chunk_id AND j.version = left_over.version', c.jobs) USING lease_token, chunk_ids;
	RETURN stored;
END
$$;
COMMENT ON FUNCTION piramid.complete(regclass, uuid, bigint[], piramid.embedding[]) IS
	'store the vectors of a lease; returns how many: not those of chunks that have changed meanwhile';

CREATE FUNCTION piramid.heartbeat(collection regclass, lease_token uuid, lease interval DEFAULT '2 min') RETURNS integer
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true);
	n integer;
BEGIN
	EXECUTE format('UPDATE %s SET lease_until = clock_timestamp() + $2 WHERE lease = $1', c.jobs) USING lease_token, coalesce(lease, '2 min');
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.heartbeat(regclass, uuid, interval) IS 'a lease begins anew; returns how many jobs it still has';

CREATE FUNCTION piramid.fail(collection regclass, lease_token uuid, error text, scope text DEFAULT 'item', chunk_ids bigint[] DEFAULT NULL,
	retry_after interval DEFAULT NULL, max_attempts integer DEFAULT 5) RETURNS integer
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true);
	name text;
	n integer;
BEGIN
	IF scope IS NULL OR scope NOT IN ('provider', 'batch', 'item') THEN
		RAISE EXCEPTION 'what fails is a provider, a batch or an item, not "%"', scope USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF scope = 'provider' THEN
		EXECUTE format('SELECT m.provider FROM %s AS j JOIN piramid.version AS v ON v.documents = $1 AND v.version = j.version
			JOIN piramid.model AS m ON m.name = v.model WHERE j.lease = $2 LIMIT 1', c.jobs) INTO name USING collection, lease_token;
		INSERT INTO piramid.pause AS p (provider, until, error)
		SELECT name, clock_timestamp() + coalesce(retry_after, interval '10 s'), left(fail.error, 500) WHERE name IS NOT NULL
		ON CONFLICT (worker, provider) DO UPDATE SET until = greatest(p.until, excluded.until), error = excluded.error;
	END IF;
	-- Only an item's own fault counts against it.
	EXECUTE format('UPDATE %s SET lease = NULL, lease_until = NULL, error = left($2, 500),
			attempts = attempts - CASE WHEN $3 THEN 0 ELSE 1 END,
			failed = $3 AND attempts >= $5,
			due = CASE WHEN $3 THEN clock_timestamp() + coalesce($6, least(interval ''5 min'', interval ''1 s'' * 2 ^ attempts)) ELSE due END
		WHERE lease = $1 AND ($4 IS NULL OR chunk_id = ANY ($4))', c.jobs)
		USING lease_token, error, scope = 'item', chunk_ids, max_attempts, retry_after;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.fail(regclass, uuid, text, text, bigint[], interval, integer) IS
	'give jobs of a lease back: the provider failed and is paused, the batch was too big, or the items are at fault';

CREATE FUNCTION piramid.requeue_failed(collection regclass) RETURNS integer
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true);
	n integer;
BEGIN
	EXECUTE format('UPDATE %s SET failed = false, attempts = 0, due = now() WHERE failed', c.jobs);
	GET DIAGNOSTICS n = ROW_COUNT;
	NOTIFY piramid_job;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.requeue_failed(regclass) IS 'try jobs again that were given up; returns their number';
