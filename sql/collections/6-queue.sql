
-- ===========================================================================
-- The queue: functions for workers, in any language
-- ===========================================================================

-- A batch for one call of one provider.  Collections are looked at in random order,
-- so that none waits behind another.  No transaction stays open during the call: the lease
-- does what a lock would do, and expires if the worker dies.
-- A text on which workers die would go from one to the next for ever.  So leases that ended by themselves
-- are counted: after two the text comes alone, so that others of its batch are not taken for it, and after
-- "max_lost" it is given up.  What a worker gives back it has survived, and counts elsewhere: see fail().
CREATE FUNCTION piramid.claim(items integer DEFAULT NULL, tokens integer DEFAULT NULL, lease interval DEFAULT '2 min',
	providers text[] DEFAULT NULL, max_lost integer DEFAULT 5)
	RETURNS TABLE (collection regclass, version integer, provider text, model_id text, dims integer, lease_token uuid, chunk_id bigint, text text)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
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
			-- An owner's lock, or broken table, must not stop the worker of others.
			c := piramid.open_collection(v.documents, plain => true, wait => false);
			LOOP
				-- Several may take rows at once; the token, not the order, says whose they are.
				EXECUTE format('WITH due AS (
						SELECT j.chunk_id, j.version, j.now_lost, j.now_lost >= $6 AS dead,
							sum(j.tokens) OVER others - j.tokens AS before, bool_or(j.now_lost >= 2) OVER others AS suspect
						FROM (SELECT *, lost + (lease IS NOT NULL)::int AS now_lost FROM %1$s WHERE version = $1 AND NOT failed AND due <= $7
								AND (lease IS NULL OR lease_until <= clock_timestamp())
							ORDER BY due, chunk_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS j
						WINDOW others AS (PARTITION BY j.now_lost >= $6 ORDER BY j.due, j.chunk_id))
					UPDATE %1$s AS j SET lease = CASE WHEN NOT dead THEN $3 END, lease_until = CASE WHEN NOT dead THEN clock_timestamp() + $4 END,
						attempts = attempts + (NOT dead)::int - (lease IS NOT NULL)::int, lost = now_lost, failed = dead,
						error = CASE WHEN dead THEN format(''a worker died or hung with this text %%s times: its lease ended by itself'', now_lost) ELSE error END
					FROM due WHERE j.chunk_id = due.chunk_id AND j.version = due.version
						AND (dead OR due.before = 0 OR (due.before < $5 AND NOT suspect))', c.jobs)
					USING v.number, least(items, v.batch_items), token, coalesce(lease, '2 min'), least(tokens, v.batch_tokens), greatest(max_lost, 1), clock_timestamp();
				GET DIAGNOSTICS n = ROW_COUNT;
				EXIT WHEN n = 0;
				RETURN QUERY EXECUTE format('SELECT $1, $2, $3, $4, $5, $6, x.id, $7 || x.text
					FROM %s AS j JOIN %s AS x ON x.id = j.chunk_id WHERE j.lease = $6 ORDER BY x.id', c.jobs, c.chunks)
					USING c.documents, v.number, v.provider, v.model_id, v.dims, token, v.document_prefix;
				IF FOUND THEN
					RETURN;
				END IF;
			END LOOP;
		EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR integrity_constraint_violation OR object_not_in_prerequisite_state THEN
			CONTINUE;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.claim(integer, integer, interval, text[], integer) IS
	'a batch of texts to embed, under a lease; no rows if there is nothing to do';

-- Chunks that are being changed or deleted are left: what they become is queued
-- by whoever changes them.  Rows whose lease has gone to another are left, too.
-- If somebody has locked a table, this fails at once: to be tried again under the same
-- lease, after what there is to do for others.
CREATE FUNCTION piramid.complete(collection regclass, lease_token uuid, chunk_ids bigint[], vectors piramid.embedding[]) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true, wait => false);
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
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true, wait => false);
	n integer;
BEGIN
	-- A job that somebody deletes, with others in another order, is not waited for.
	EXECUTE format('UPDATE %1$s AS j SET lease_until = clock_timestamp() + $2
		FROM (SELECT chunk_id, version FROM %1$s WHERE lease = $1 FOR UPDATE SKIP LOCKED) AS x
		WHERE j.chunk_id = x.chunk_id AND j.version = x.version', c.jobs) USING lease_token, coalesce(lease, '2 min');
	EXECUTE format('SELECT count(*) FROM %s WHERE lease = $1', c.jobs) INTO n USING lease_token;
	IF n = 0 AND c.uncut IS NOT NULL AND has_table_privilege(c.uncut, 'UPDATE') THEN
		EXECUTE format('UPDATE %s SET lease_until = clock_timestamp() + $2 WHERE lease = $1', c.uncut) USING lease_token, coalesce(lease, '2 min');
		GET DIAGNOSTICS n = ROW_COUNT;
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.heartbeat(regclass, uuid, interval) IS 'a lease begins anew; returns how many jobs, or documents, it still has';

CREATE FUNCTION piramid.pause_provider(name text, error text, retry_after interval DEFAULT NULL) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO piramid.pause AS p (provider, until, error)
	SELECT name, clock_timestamp() + coalesce(retry_after, interval '10 s'), left(pause_provider.error, 500) WHERE name IS NOT NULL
	ON CONFLICT (worker, provider) DO UPDATE SET until = greatest(p.until, clock_timestamp() + coalesce(retry_after, interval '10 s')), error = left(pause_provider.error, 500)
$$;
COMMENT ON FUNCTION piramid.pause_provider(text, text, interval) IS 'let the current role''s workers leave a provider alone for a while';

CREATE FUNCTION piramid.fail(collection regclass, lease_token uuid, error text, scope text DEFAULT 'item', chunk_ids bigint[] DEFAULT NULL,
	retry_after interval DEFAULT NULL, max_attempts integer DEFAULT 5) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true, wait => false);
	name text;
	n integer;
BEGIN
	IF scope IS NULL OR scope NOT IN ('provider', 'batch', 'item') THEN
		RAISE EXCEPTION 'what fails is a provider, a batch or an item, not "%"', scope USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF scope = 'provider' THEN
		EXECUTE format('SELECT m.provider FROM %s AS j JOIN piramid.version AS v ON v.documents = $1 AND v.version = j.version
			JOIN piramid.model AS m ON m.name = v.model WHERE j.lease = $2 LIMIT 1', c.jobs) INTO name USING collection, lease_token;
		PERFORM piramid.pause_provider(name, fail.error, retry_after);
	END IF;
	-- Only an item's own fault counts against it.  A job that somebody deletes, with others in another order, is not waited for.
	EXECUTE format('UPDATE %1$s AS j SET lease = NULL, lease_until = NULL, error = left($2, 500),
			attempts = attempts - CASE WHEN $3 THEN 0 ELSE 1 END,
			failed = $3 AND attempts >= $5,
			due = CASE WHEN $3 THEN clock_timestamp() + coalesce($6, least(interval ''5 min'', interval ''1 s'' * 2 ^ attempts)) ELSE due END
		FROM (SELECT chunk_id, version FROM %1$s WHERE lease = $1 AND ($4 IS NULL OR chunk_id = ANY ($4)) FOR UPDATE SKIP LOCKED) AS x
		WHERE j.chunk_id = x.chunk_id AND j.version = x.version', c.jobs)
		USING lease_token, error, scope = 'item', chunk_ids, max_attempts, retry_after;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.fail(regclass, uuid, text, text, bigint[], interval, integer) IS
	'give jobs of a lease back: the provider failed and is paused, the batch was too big, or the items are at fault';

CREATE FUNCTION piramid.requeue_failed(collection regclass) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true);
	n integer;
BEGIN
	EXECUTE format('UPDATE %s SET failed = false, attempts = 0, lost = 0, due = now() WHERE failed', c.jobs);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF c.uncut IS NOT NULL THEN
		EXECUTE format('WITH again AS (UPDATE %s SET error = NULL, lost = NULL WHERE error IS NOT NULL RETURNING 1) SELECT $1 + count(*) FROM again', c.uncut) INTO n USING n;
	END IF;
	NOTIFY piramid_job;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.requeue_failed(regclass) IS 'try jobs, and documents to be cut, again that were given up; returns their number';

-- ===========================================================================
-- Documents that are cut later
-- ===========================================================================

-- Has planning a statement that reads this table, or its partitions, functions of a user to compute?
CREATE FUNCTION piramid.plans_code(tab regclass) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	WITH t AS MATERIALIZED (SELECT tab AS oid UNION SELECT relid FROM pg_partition_tree(tab)),
	parts AS (SELECT 'pg_class'::regclass AS class, t.oid::oid FROM t
		UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index JOIN t ON indrelid = t.oid
		UNION ALL SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint AS k JOIN t ON conrelid = t.oid
		UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext AS s JOIN t ON stxrelid = t.oid)
	SELECT EXISTS (SELECT FROM parts JOIN pg_depend AS d ON d.classid = parts.class AND d.objid = parts.oid
		WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND NOT EXISTS (SELECT FROM pg_depend AS e
			WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e'))
$$;
COMMENT ON FUNCTION piramid.plans_code(regclass) IS 'have indexes, checks, statistics or keys of partitions functions that no extension made?';

-- Reading documents of another owner must run no code of that owner: a policy, a view, a cast, an index.
CREATE FUNCTION piramid.open_documents(collection regclass) RETURNS piramid.collection
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true, wait => false);
	now_is piramid.collection;
BEGIN
	-- Whoever alters the collection waits for the locks of this now.  What has changed before they were there is seen here.
	LOOP
		SELECT * INTO now_is FROM piramid.collection AS x WHERE x.documents = c.documents;
		EXIT WHEN now_is IS NOT DISTINCT FROM c;
		c := piramid.open_collection(collection, plain => true, wait => false);
	END LOOP;
	EXECUTE format('LOCK TABLE ONLY %s IN ACCESS SHARE MODE NOWAIT', c.documents);
	IF c.attached THEN
		PERFORM piramid.refuse_lost(c);
	END IF;
	IF (SELECT relowner <> current_user::regrole AND (relkind NOT IN ('r', 'p') OR NOT piramid.policies_plain(oid) OR piramid.plans_code(oid)
			OR EXISTS (SELECT FROM jsonb_each_text(c.filter_columns) WHERE NOT piramid.is_base(value::regtype))
			OR EXISTS (SELECT FROM pg_inherits WHERE inhparent = oid AND relkind = 'r')
			OR EXISTS (SELECT FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = atttypid
				WHERE attrelid = c.documents AND typnamespace <> 'pg_catalog'::regnamespace
					AND attname = ANY (ARRAY[c.key_column, c.text_column, 'metadata', 'tenant'] || ARRAY(SELECT jsonb_object_keys(c.filter_columns))::name[])))
		FROM pg_class WHERE oid = c.documents) THEN
		RAISE EXCEPTION 'table "%" may run code of its owner', c.documents USING ERRCODE = 'insufficient_privilege',
			HINT = 'It is a view, or has a policy, a child, a type, or a function in an index, check or statistics, that piramid did not make. Let the owner do this.';
	END IF;
	RETURN c;
END
$$;
COMMENT ON FUNCTION piramid.open_documents(regclass) IS 'the row of a collection, for workers that read its documents';

-- Cuts documents that were taken from the waiting ones.  One that cannot be cut, as its text does
-- not fit an index, waits with its error until it changes: others are not to wait for it.
CREATE FUNCTION piramid.cut_taken(c piramid.collection, keys text[], starts integer[] DEFAULT NULL, lengths integer[] DEFAULT NULL) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	key text;
	here boolean;
	n integer := 0;
BEGIN
	PERFORM piramid.rechunk(c, keys, starts, lengths);
	RETURN cardinality(keys);
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
	IF cardinality(keys) > 1 THEN
		FOREACH key IN ARRAY keys LOOP
			n := n + piramid.cut_taken(c, ARRAY[key]);
		END LOOP;
	ELSE
		-- One that somebody has deleted meanwhile needs nothing.
		EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %I = $1::%s)', c.documents, c.key_column, piramid.key_type(c)) INTO here USING keys[1];
		IF here THEN
			RAISE WARNING 'document % of "%" cannot be cut: %', keys[1], c.documents, SQLERRM;
			EXECUTE format('INSERT INTO %s (document_id, error) VALUES ($1::%s, $2)', c.uncut, piramid.key_type(c)) USING keys[1], left(SQLERRM, 500);
		END IF;
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.cut_taken(piramid.collection, text[], integer[], integer[]) IS 'cuts documents; those that cannot be cut keep the error; returns the number of the others';

-- Gives new documents that wait together a row each, until there are so many of them.  Whoever does so waits
-- for those who change one of them; in order of their keys, so that two do not wait for each other.
CREATE FUNCTION piramid.spread(c piramid.collection, most integer) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN piramid.execute(format('WITH taken AS (DELETE FROM %1$s AS u USING (SELECT id, sum(cardinality(y.documents)) OVER (ORDER BY id) - cardinality(y.documents) AS before
				FROM (SELECT id, documents FROM %1$s WHERE document_id IS NULL LIMIT $1 FOR UPDATE SKIP LOCKED) AS y) AS x
			WHERE u.id = x.id AND ($1 IS NULL OR x.before < $1) RETURNING u.documents, u.queued_at)
		INSERT INTO %1$s (document_id, queued_at) SELECT k, min(t.queued_at) FROM taken AS t, unnest(t.documents) AS k GROUP BY k ORDER BY k
		ON CONFLICT (document_id) DO UPDATE SET lease = NULL, lease_until = NULL, error = NULL, lost = NULL', c.uncut), most);
END
$$;
COMMENT ON FUNCTION piramid.spread(piramid.collection, integer) IS 'gives new documents that wait together a row each';

-- One attempt, as long as lock_timeout lets it wait.
CREATE FUNCTION piramid.cut_waiting(c piramid.collection, documents integer) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	keys text[];
BEGIN
	IF c.chunking ->> 'strategy' = 'semantic' THEN
		RAISE EXCEPTION 'only a worker can cut the documents of "%" by their meaning', c.documents USING ERRCODE = 'object_not_in_prerequisite_state';
	ELSIF c.uncut IS NOT NULL THEN
		PERFORM piramid.spread(c, cut_waiting.documents);
		SELECT t.keys INTO keys FROM piramid.query(format('WITH taken AS (DELETE FROM %1$s AS u
				USING (SELECT id FROM %1$s WHERE document_id IS NOT NULL AND error IS NULL LIMIT $1 FOR UPDATE SKIP LOCKED) AS x
				WHERE u.id = x.id RETURNING u.document_id::text AS key)
			SELECT array_agg(key) FROM taken', c.uncut), cut_waiting.documents) AS t(keys text[]);
	END IF;
	RETURN CASE WHEN keys IS NULL THEN 0 ELSE piramid.cut_taken(c, keys) END;
END
$$;
COMMENT ON FUNCTION piramid.cut_waiting(piramid.collection, integer) IS 'cuts documents that wait for it, or fails if somebody holds one for too long';

-- Whoever changes several documents may hold one that this waits for, and want one that this has taken.  So all is given
-- back after a moment, before PostgreSQL would end either of them, and tried again, after as long a time without any
-- lock: so there is mostly no circle when others look for one.  "patience" is the caller's lock_timeout.
CREATE FUNCTION piramid.cut_patiently(c piramid.collection, documents integer, patience interval) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
	began timestamptz := clock_timestamp();
	moment interval := least(interval '100 ms', current_setting('deadlock_timeout')::interval / 2, NULLIF(patience, interval '0'));
	tried timestamptz;
BEGIN
	PERFORM set_config('lock_timeout', greatest(extract(epoch FROM moment) * 1000, 1)::integer::text, true);
	LOOP
		tried := clock_timestamp();
		BEGIN
			RETURN piramid.cut_waiting(c, documents);
		EXCEPTION WHEN lock_not_available THEN
			IF patience > interval '0' AND clock_timestamp() > began + patience THEN
				RAISE;
			END IF;
		END;
		PERFORM pg_sleep_for(least(clock_timestamp() - tried, interval '1 s'));
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.cut_patiently(piramid.collection, integer, interval) IS 'cuts documents that wait for it, in a circle with nobody';

CREATE FUNCTION piramid.cut(collection regclass, documents integer DEFAULT 100) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN piramid.cut_patiently(piramid.open_documents(collection), documents, current_setting('lock_timeout')::interval);
END
$$;
COMMENT ON FUNCTION piramid.cut(regclass, integer) IS 'cut documents that wait for it, at most so many; returns their number';

-- Some documents of each collection that the current user may cut; others are passed over.  So are those where
-- somebody holds a document: no other collection waits for the end of that transaction, and where both hold what
-- the other wants, this gives up, before PostgreSQL ends either of them.
CREATE FUNCTION piramid.cut_documents(documents integer DEFAULT 100) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '300ms' AS $$
DECLARE
	tab regclass;
	n integer := 0;
BEGIN
	FOR tab IN SELECT c.documents FROM piramid.collection AS c
			WHERE c.uncut IS NOT NULL AND c.chunking ->> 'strategy' IS DISTINCT FROM 'semantic' AND has_table_privilege(c.uncut, 'DELETE')
				AND has_table_privilege(c.documents, 'SELECT') AND has_table_privilege(c.chunks, 'INSERT') ORDER BY random() LOOP
		BEGIN
			n := n + piramid.cut_waiting(piramid.open_documents(tab), cut_documents.documents);
		EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR integrity_constraint_violation OR object_not_in_prerequisite_state THEN
			CONTINUE;
		END;
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.cut_documents(integer) IS 'for workers: cut documents that wait for it, in all collections';

-- A document that is to be cut where its meaning changes: its sentences, for a worker to embed and compare.
-- One with which workers die is given up, as claim() does it.  Nobody is waited for, as in cut_documents().
CREATE FUNCTION piramid.claim_document(lease interval DEFAULT '10 min', providers text[] DEFAULT NULL, max_lost integer DEFAULT 5)
	RETURNS TABLE (collection regclass, provider text, model_id text, lease_token uuid, document_id text, size integer, percentile float8,
		starts integer[], lengths integer[], sentences text[])
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '300ms' AS $$
DECLARE
	v record;
	c piramid.collection;
	key text;
	token uuid := gen_random_uuid();
BEGIN
	FOR v IN SELECT y.documents, m.* FROM piramid.collection AS y JOIN piramid.version AS x USING (documents) JOIN piramid.model AS m ON m.name = x.model
			WHERE x.state = 'active' AND y.uncut IS NOT NULL AND y.chunking ->> 'strategy' = 'semantic' AND has_table_privilege(y.uncut, 'DELETE')
				AND has_table_privilege(y.documents, 'SELECT') AND has_table_privilege(y.chunks, 'INSERT')
				AND (providers IS NULL OR m.provider = ANY (providers))
				AND NOT EXISTS (SELECT FROM piramid.pause AS p WHERE p.worker = current_user::regrole AND p.provider = m.provider AND p.until > clock_timestamp())
			ORDER BY random() LOOP
		BEGIN
			c := piramid.open_documents(v.documents);
			PERFORM piramid.spread(c, 1);
			EXECUTE format('UPDATE %1$s SET error = format(''a worker died or hung with this document %%s times: its lease ended by itself'', lost + 1), lease = NULL, lease_until = NULL
				WHERE id IN (SELECT id FROM %1$s WHERE lost >= $1 - 1 AND error IS NULL AND lease_until <= clock_timestamp() FOR UPDATE SKIP LOCKED)', c.uncut)
				USING greatest(max_lost, 1);
			EXECUTE format('UPDATE %1$s AS u SET lease = $1, lease_until = clock_timestamp() + $2, lost = coalesce(lost, 0) + (lease IS NOT NULL)::int
				FROM (SELECT id FROM %1$s WHERE document_id IS NOT NULL AND error IS NULL AND (lease IS NULL OR lease_until <= clock_timestamp()) LIMIT 1 FOR UPDATE SKIP LOCKED) AS x
				WHERE u.id = x.id RETURNING u.document_id::text', c.uncut) INTO key USING token, coalesce(lease, '10 min');
			IF key IS NOT NULL THEN
				RETURN QUERY EXECUTE format('SELECT $1, $2, $3, $4, $5, $6, $7, coalesce(array_agg(x.start ORDER BY x.ordinal), ''{}''),
						coalesce(array_agg(x.length ORDER BY x.ordinal), ''{}''), coalesce(array_agg($8 || x.text ORDER BY x.ordinal), ''{}'')
					FROM %s AS d, %s.piramid_chunk(d.%I, ''sentence'', $6, 0) AS x WHERE d.%I = $5::%s', c.documents, piramid.vector_schema(),
					c.text_column, c.key_column, piramid.key_type(c))
					USING c.documents, v.provider, v.model_id, token, key, coalesce((c.chunking ->> 'size')::int, 1000),
						coalesce((c.chunking ->> 'percentile')::float8, 90), v.document_prefix;
				RETURN;
			END IF;
		EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR integrity_constraint_violation OR object_not_in_prerequisite_state THEN
			CONTINUE;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.claim_document(interval, text[], integer) IS 'a document to be cut by the meaning of its sentences, under a lease; no row if there is none';

-- If the document has changed since, its lease is gone, and it waits to be cut again.
CREATE FUNCTION piramid.complete_document(collection regclass, lease_token uuid, starts integer[], lengths integer[]) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_documents(collection);
	key text;
	size integer;
BEGIN
	IF c.uncut IS NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('DELETE FROM %s WHERE lease = $1 RETURNING document_id::text', c.uncut) INTO key USING lease_token;
	IF key IS NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('SELECT length(d.%I) FROM %s AS d WHERE d.%I = $1::%s', c.text_column, c.documents, c.key_column, piramid.key_type(c)) INTO size USING key;
	IF size IS NULL THEN		-- no document, or no text
		starts := '{}';
		lengths := '{}';
	END IF;
	IF EXISTS (SELECT FROM unnest(starts, lengths) AS u(s, n) WHERE (s >= 1 AND n >= 1 AND s <= size - n + 1) IS NOT TRUE) THEN
		RAISE EXCEPTION 'chunks begin and end inside the text, which has % characters', size USING ERRCODE = 'invalid_parameter_value';
	END IF;
	RETURN piramid.cut_taken(c, ARRAY[key], coalesce(starts, '{}'), coalesce(lengths, '{}')) = 1;
END
$$;
COMMENT ON FUNCTION piramid.complete_document(regclass, uuid, integer[], integer[]) IS 'cut the document of a lease where these say; false if the lease is gone, or the document cannot be cut';

CREATE FUNCTION piramid.release_document(collection regclass, lease_token uuid, error text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection, plain => true, wait => false);
BEGIN
	IF c.uncut IS NOT NULL THEN
		EXECUTE format('UPDATE %s SET lease = NULL, lease_until = NULL, error = left($2, 500) WHERE lease = $1', c.uncut) USING lease_token, release_document.error;
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.release_document(regclass, uuid, text) IS
	'give the document of a lease back; with an error, it waits until it changes, or requeue_failed()';
