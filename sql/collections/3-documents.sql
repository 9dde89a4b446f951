
-- ===========================================================================
-- Documents to chunks, chunks to jobs
-- ===========================================================================

CREATE FUNCTION piramid.hash_of(text text) RETURNS bytea
	LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT sha256(convert_to(text, getdatabaseencoding()))
$$;
COMMENT ON FUNCTION piramid.hash_of(text) IS 'what chunks of the same text have in common';

-- The values of the filter columns of a document, as a list of SQL expressions
-- over d, its row.
CREATE FUNCTION piramid.filter_values(c piramid.collection) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT coalesce(string_agg(CASE WHEN c.attached THEN format(', d.%I', key)
			ELSE format(', (d.metadata ->> %L)::%s', key, piramid.type_sql(value)) END, '' ORDER BY key), '')
		FROM jsonb_each_text(c.filter_columns));
END
$$;
COMMENT ON FUNCTION piramid.filter_values(piramid.collection) IS 'expressions for the filter columns of a document';

CREATE FUNCTION piramid.key_type(c piramid.collection) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = c.chunks AND attname = 'document_id');
END
$$;
COMMENT ON FUNCTION piramid.key_type(piramid.collection) IS 'type of the key of a collection''s documents';

-- The chunks of documents as SQL over d, the documents: cut by piramid_chunk() with
-- the options $2, or where $3 and $4, starts and lengths, say.
CREATE FUNCTION piramid.cuts(c piramid.collection, given boolean) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN CASE WHEN given THEN format('LATERAL (SELECT (n - 1)::int AS ordinal, NULL::int AS parent, start, length, substr(d.%I, start, length) AS text,
			''{}''::text[] AS heading_path FROM unnest($3, $4) WITH ORDINALITY AS u(start, length, n))', c.text_column)
		ELSE format('%s.piramid_chunk(d.%I, $2 ->> ''strategy'', ($2 ->> ''size'')::int, ($2 ->> ''overlap'')::int, $2 ->> ''unit'')',
			piramid.vector_schema(), c.text_column) END;
END
$$;
COMMENT ON FUNCTION piramid.cuts(piramid.collection, boolean) IS 'SQL for the chunks of a document';

-- Give documents the chunks of their texts.  Chunks whose text is still there keep
-- their row, and so their vectors; only their place is written again.
CREATE FUNCTION piramid.rechunk(c piramid.collection, keys text[], starts integer[] DEFAULT NULL, lengths integer[] DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	names text := coalesce((SELECT string_agg(format(', %I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f), '');
	gone bigint[];
	moved jsonb;
BEGIN
	-- New chunks first: their foreign key locks the documents at the end of this statement, before any old chunk is locked.
	-- Whoever deletes a document goes the same way, from the document to its chunks, so that neither waits for the other.
	SELECT t.gone, t.moved INTO gone, moved FROM piramid.query(format($sql$
		WITH cut AS MATERIALIZED (
			SELECT d.%3$I AS key, x.*, sha256(convert_to(x.text, getdatabaseencoding())) AS hash,
				row_number() OVER (PARTITION BY d.%3$I, x.text ORDER BY x.ordinal) AS n
			FROM %1$s AS d, %2$s AS x
			WHERE d.%3$I = ANY ($1::%4$s[])),
		old AS MATERIALIZED (
			SELECT o.document_id AS key, o.id, o.hash, o.ordinal, o.parent, o.start, o.length, o.heading_path, o.text = '' AS empty, row_number() OVER (PARTITION BY o.document_id, o.hash ORDER BY o.ordinal, o.id) AS n
			FROM %5$s AS o WHERE o.document_id = ANY ($1::%4$s[])),
		kept AS MATERIALIZED (
			SELECT old.id, (cut.ordinal, cut.parent, cut.start, cut.length, cut.heading_path)
					IS DISTINCT FROM (old.ordinal, old.parent, old.start, old.length, old.heading_path) AS moved,
				cut.ordinal, cut.parent, cut.start, cut.length, cut.heading_path
			FROM old JOIN cut USING (key, hash, n)),
		added AS (
			INSERT INTO %5$s (document_id, tenant, ordinal, parent, start, length, text, hash, heading_path%6$s)
			SELECT d.%3$I, %7$s, cut.ordinal, cut.parent, cut.start, cut.length, cut.text, cut.hash, cut.heading_path%8$s
			FROM cut JOIN %1$s AS d ON d.%3$I = cut.key
			WHERE NOT EXISTS (SELECT FROM old WHERE old.key = cut.key AND old.hash = cut.hash AND old.n = cut.n)
			ORDER BY cut.key, cut.ordinal)
		-- An empty chunk has the vector that upsert_vectors() stored for a document without text.
		SELECT (SELECT array_agg(old.id) FROM old WHERE old.id NOT IN (SELECT id FROM kept) AND (NOT old.empty OR old.key IN (SELECT key FROM cut))),
			(SELECT jsonb_agg(kept) FROM kept WHERE kept.moved)
		$sql$, c.documents, piramid.cuts(c, starts IS NOT NULL), c.key_column, piramid.key_type(c), c.chunks, names,
		CASE WHEN c.attached THEN '''''' ELSE 'd.tenant' END, piramid.filter_values(c)),
		keys, c.chunking, starts, lengths) AS t(gone bigint[], moved jsonb);
	IF gone IS NOT NULL OR moved IS NOT NULL THEN
		PERFORM piramid.execute(format('WITH gone AS (DELETE FROM %1$s WHERE id = ANY ($1))
			UPDATE %1$s AS m SET ordinal = k.ordinal, parent = k.parent, start = k.start, length = k.length, heading_path = k.heading_path
			FROM jsonb_to_recordset($2) AS k(id bigint, ordinal integer, parent integer, start integer, length integer, heading_path text[])
			WHERE m.id = k.id', c.chunks), gone, moved);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.rechunk(piramid.collection, text[], integer[], integer[]) IS 'cuts the texts of documents into chunks again';

-- The same for documents that have no chunks, as new ones.
CREATE FUNCTION piramid.chunk_new(c piramid.collection, keys text[]) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN piramid.execute(format($sql$
		INSERT INTO %1$s (document_id, tenant, ordinal, parent, start, length, text, hash, heading_path%2$s)
		SELECT d.%3$I, %4$s, x.ordinal, x.parent, x.start, x.length, x.text, sha256(convert_to(x.text, getdatabaseencoding())), x.heading_path%5$s
		FROM %6$s AS d, %7$s AS x
		WHERE d.%3$I = ANY ($1::%8$s[]) AND NOT EXISTS (SELECT FROM %1$s AS o WHERE o.document_id = d.%3$I)
		$sql$, c.chunks, coalesce((SELECT string_agg(format(', %I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f), ''),
		c.key_column, CASE WHEN c.attached THEN '''''' ELSE 'd.tenant' END, piramid.filter_values(c), c.documents, piramid.cuts(c, false), piramid.key_type(c)),
		keys, c.chunking);
END
$$;
COMMENT ON FUNCTION piramid.chunk_new(piramid.collection, text[]) IS 'cuts the texts of new documents into chunks';

-- Cut all documents of a collection again, as after a change of "chunking"; and
-- what has no document any more goes.  Writers wait: the text of a document that somebody changes
-- or deletes meanwhile would be cut as it was, and stay.
CREATE FUNCTION piramid.rechunk_all(collection regclass) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	keys text[];
	n bigint := 0;
BEGIN
	-- As alter_collection() does it: the row before the tables.  Who has an older snapshot will see that it has changed.
	IF piramid.owns(collection) THEN
		UPDATE piramid.collection AS x SET attached = x.attached WHERE x.documents = rechunk_all.collection;
	END IF;
	c := piramid.open_collection(collection);
	PERFORM piramid.refuse_hidden(c);
	PERFORM piramid.lock_tables(ARRAY[c.documents] || ARRAY(SELECT relid FROM pg_partition_tree(c.documents) WHERE relid <> c.documents) || c.uncut,
		current_setting('lock_timeout')::interval, lock_mode => 'SHARE ROW EXCLUSIVE');
	EXECUTE format('DELETE FROM %s AS x WHERE NOT EXISTS (SELECT FROM %s AS d WHERE d.%I = x.document_id)', c.chunks, c.documents, c.key_column);
	FOR keys IN EXECUTE format('SELECT array_agg(key) FROM (SELECT %I::text AS key, row_number() OVER () AS n FROM %s) AS d GROUP BY n / 100', c.key_column, c.documents) LOOP
		IF piramid.is_deferred(c.chunking) THEN
			PERFORM piramid.queue_documents(c, keys);
		ELSE
			PERFORM piramid.rechunk(c, keys);
		END IF;
		n := n + cardinality(keys);
	END LOOP;
	IF NOT piramid.is_deferred(c.chunking) AND c.uncut IS NOT NULL THEN
		EXECUTE format('DELETE FROM %s', c.uncut);
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.rechunk_all(regclass) IS 'cut the texts of all documents again; returns their number';

-- What fails if documents ($1) do not fit the filter columns, as SQL; NULL if all fit.
CREATE FUNCTION piramid.filter_check(collection regclass) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT format('SELECT count(ROW(d.id%s)) FROM %s AS d WHERE d.id = ANY ($1::bigint[])', piramid.filter_values(c), c.documents)
		FROM piramid.collection AS c WHERE c.documents = collection
			AND EXISTS (SELECT FROM jsonb_each_text(c.filter_columns) WHERE value::regtype <> 'text'::regtype));
END
$$;
COMMENT ON FUNCTION piramid.filter_check(regclass) IS 'SQL that fails if documents do not fit the filter columns';

-- Values that do not fit the filter columns fail when a document is written, also if it is cut later.
CREATE FUNCTION piramid.check_filters(c piramid.collection, keys text[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- Columns of an attached table have their types.
	IF NOT c.attached AND c.filter_columns <> '{}' THEN
		PERFORM piramid.execute(s, keys) FROM piramid.filter_check(c.documents) AS s WHERE s IS NOT NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.check_filters(piramid.collection, text[]) IS 'fails if documents do not fit the filter columns';

-- A snapshot may hide chunks that were stored since: what waited to be cut, and is gone, makes this fail.
CREATE FUNCTION piramid.see_cuts(c piramid.collection, keys text[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	EXECUTE format('SELECT FROM %1$s WHERE document_id = ANY ($1::%2$s[]) OR (document_id IS NULL AND documents && $1::%2$s[]) FOR SHARE',
		c.uncut, piramid.key_type(c)) USING keys;
END
$$;
COMMENT ON FUNCTION piramid.see_cuts(piramid.collection, text[]) IS 'fails if documents were cut since the snapshot that the transaction keeps';

-- Documents that wait to be cut.  If somebody has them already, that was of an older text.
CREATE FUNCTION piramid.queue_documents(c piramid.collection, keys text[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM piramid.check_filters(c, keys);
	IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
		PERFORM piramid.see_cuts(c, keys);
	END IF;
	PERFORM piramid.execute(format('INSERT INTO %s (document_id) SELECT DISTINCT k FROM unnest($1::%s[]) AS k
		ON CONFLICT (document_id) DO UPDATE SET lease = NULL, lease_until = NULL, error = NULL, lost = NULL', c.uncut, piramid.key_type(c)), keys);
	NOTIFY piramid_job;
END
$$;
COMMENT ON FUNCTION piramid.queue_documents(piramid.collection, text[]) IS 'documents are to be cut later';

-- The same for new ones, of which there are at most a thousand, in one row.
CREATE FUNCTION piramid.queue_new(c piramid.collection, keys text[]) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT c.attached AND c.filter_columns <> '{}' THEN
		PERFORM piramid.check_filters(c, keys);
	END IF;
	NOTIFY piramid_job;
	RETURN piramid.execute(format('INSERT INTO %s (documents) VALUES ($1::%s[])', c.uncut,
		CASE WHEN c.attached THEN piramid.key_type(c) ELSE 'bigint' END), keys);
END
$$;
COMMENT ON FUNCTION piramid.queue_new(piramid.collection, text[]) IS 'new documents are to be cut later';

CREATE FUNCTION piramid.check_snapshot(tab regclass, begun boolean DEFAULT false) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS '$libdir/piramid', 'piramid_check_snapshot';
COMMENT ON FUNCTION piramid.check_snapshot(regclass, boolean) IS 'fails if a collection has changed since the snapshot that the transaction keeps, or a version was begun';

-- Columns of a table may have new names, or be gone, as their owner likes.
CREATE FUNCTION piramid.lost_columns(c piramid.collection, to_show boolean DEFAULT false) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT string_agg(DISTINCT quote_ident(n), ', ')
		FROM unnest(ARRAY[c.key_column, c.text_column] || CASE WHEN to_show OR NOT c.attached THEN c.metadata_columns ELSE ARRAY(SELECT jsonb_object_keys(c.filter_columns))::name[] END) AS n
		WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.documents AND attname = n AND attnum > 0 AND NOT attisdropped));
END
$$;
COMMENT ON FUNCTION piramid.lost_columns(piramid.collection, boolean) IS 'columns that a collection needs, also to show them, and its table has not; NULL if there are none';

CREATE FUNCTION piramid.refuse_lost(c piramid.collection) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	lost text := piramid.lost_columns(c);
BEGIN
	IF lost IS NOT NULL THEN
		RAISE EXCEPTION 'the collection "%" needs a column %, which its table has not', c.documents, lost USING ERRCODE = 'undefined_column',
			HINT = 'If it was renamed, tell the collection, by key_column, text_column or filter_columns of piramid.collection, or rename it back.';
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.refuse_lost(piramid.collection) IS 'fails if a table has lost columns that its collection needs';

-- The collection of a table with a trigger, which may be a partition.
CREATE FUNCTION piramid.collection_of(tab regclass) RETURNS piramid.collection
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
BEGIN
	IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
		PERFORM piramid.check_snapshot(tab);
	END IF;
	SELECT * INTO c FROM piramid.collection AS x WHERE x.documents = tab;
	IF NOT FOUND THEN
		SELECT * INTO c FROM piramid.collection AS x WHERE x.documents IN (SELECT relid FROM pg_partition_ancestors(tab));
	END IF;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'the collection of table "%" is not known', tab
			USING ERRCODE = 'undefined_object', HINT = 'A dump of some schemas lacks its rows of piramid.collection and piramid.version: copy them. '
				'If it is to be a collection no more, drop its triggers with names that begin with piramid_.';
	ELSIF has_table_privilege(c.chunks, 'SELECT') IS NULL OR has_table_privilege(c.jobs, 'SELECT') IS NULL
			OR (c.uncut IS NOT NULL AND has_table_privilege(c.uncut, 'SELECT') IS NULL) THEN
		-- Of a table that is gone nobody has, or lacks, a right.
		RAISE EXCEPTION 'a table of the collection "%" is gone', c.documents USING ERRCODE = 'undefined_table',
			HINT = format('SELECT piramid.drop_collection(%L); drops the others, and keeps the documents.', c.documents);
	END IF;
	RETURN c;
END
$$;
COMMENT ON FUNCTION piramid.collection_of(regclass) IS 'the collection of a table, or of a table that it is a partition of';

-- No more documents, chunks and bytes than the quota, for each tenant of these
-- documents.  Writers for a tenant wait for each other, so that each counts what
-- the others have written; a snapshot of before would not show that.  Only what has a limit is counted, and
-- chunks of a tenant that has few are found by its documents.
CREATE FUNCTION piramid.check_quota(c piramid.collection, keys text[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t text;
	documents bigint;
	chunks bigint;
	bytes bigint;
	all_documents float8 := (SELECT reltuples FROM pg_class WHERE oid = c.documents);
BEGIN
	IF c.max_documents IS NULL AND c.max_chunks IS NULL AND c.max_bytes IS NULL THEN
		RETURN;
	END IF;
	IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
		RAISE EXCEPTION 'a collection with a quota is written in transactions of the level READ COMMITTED'
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	FOR t IN EXECUTE format('SELECT DISTINCT %s COLLATE "C" FROM %s AS d WHERE d.%I = ANY ($1::%s[]) ORDER BY 1',
			CASE WHEN c.attached THEN '''''::text' ELSE 'd.tenant' END, c.documents, c.key_column, piramid.key_type(c)) USING keys LOOP
		PERFORM pg_advisory_xact_lock(hashtextextended(t, c.chunks::oid::bigint));
		IF c.max_documents IS NOT NULL OR NOT c.attached THEN
			EXECUTE format('SELECT count(*) FROM %s%s', c.documents, CASE WHEN NOT c.attached THEN ' WHERE tenant = $1' END) INTO documents USING t;
		END IF;
		IF c.max_chunks IS NOT NULL OR c.max_bytes IS NOT NULL THEN
			EXECUTE format('SELECT count(*), coalesce(sum(octet_length(x.text)), 0) FROM %s AS x%s', c.chunks,
				CASE WHEN documents * 4 < all_documents THEN format(' JOIN %s AS d ON d.%I = x.document_id WHERE d.tenant = $1', c.documents, c.key_column)
					ELSE ' WHERE x.tenant = $1' END) INTO chunks, bytes USING t;
		END IF;
		IF documents > c.max_documents OR chunks > c.max_chunks OR bytes > c.max_bytes THEN
			RAISE EXCEPTION 'collection "%" is full: %', c.documents, concat_ws(', ', documents || ' documents of at most ' || c.max_documents,
				chunks || ' chunks of at most ' || c.max_chunks, bytes || ' bytes of at most ' || c.max_bytes)
				USING ERRCODE = 'program_limit_exceeded', HINT = 'piramid.set_quota() sets the limits.';
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.check_quota(piramid.collection, text[]) IS 'fails if a tenant of these documents has more than its quota';

CREATE FUNCTION piramid.cut_added(tab regclass, keys text[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.collection_of(tab);
	n bigint;
BEGIN
	IF c.attached THEN
		PERFORM piramid.refuse_lost(c);
	END IF;
	n := CASE WHEN piramid.is_deferred(c.chunking) THEN piramid.queue_new(c, keys) ELSE piramid.chunk_new(c, keys) END;
	IF c.max_documents IS NOT NULL OR c.max_chunks IS NOT NULL OR c.max_bytes IS NOT NULL THEN
		PERFORM piramid.check_quota(c, keys);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.cut_added(regclass, text[]) IS 'the part of documents_added() that does more than to queue them';

-- For each row, then for the statement: up to a thousand keys are kept, then the documents are queued for
-- later, or cut by cut_added().
CREATE FUNCTION piramid.documents_added() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS '$libdir/piramid', 'piramid_documents_added';
COMMENT ON FUNCTION piramid.documents_added() IS 'trigger: new documents are cut into chunks, or queued';

-- Whoever cuts this document now is waited for, so that its chunks are seen next, and nobody does so until this
-- transaction ends.  Nothing is queued by that: the document is not to be cut for it.
CREATE FUNCTION piramid.hold_document(c piramid.collection, key text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	made boolean;
BEGIN
	IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
		PERFORM piramid.see_cuts(c, ARRAY[key]);
	END IF;
	SELECT t.made INTO made FROM piramid.query(format('INSERT INTO %s (document_id) VALUES ($1::%s)
		ON CONFLICT (document_id) DO UPDATE SET document_id = excluded.document_id RETURNING xmax = 0', c.uncut, piramid.key_type(c)), key) AS t(made boolean);
	IF made THEN
		PERFORM piramid.execute(format('DELETE FROM %s WHERE document_id = $1::%s', c.uncut, piramid.key_type(c)), key);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.hold_document(piramid.collection, text) IS 'keeps a document from being cut until the transaction ends';

CREATE FUNCTION piramid.document_changed() RETURNS trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.collection_of(TG_RELID);
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
	same_key boolean := was ->> c.key_column IS NOT DISTINCT FROM is_now ->> c.key_column;
	same_text boolean := same_key AND was ->> c.text_column IS NOT DISTINCT FROM is_now ->> c.text_column;
	deferred boolean := piramid.is_deferred(c.chunking);
	gone bigint;
BEGIN
	IF NOT coalesce(is_now, was) ?& (ARRAY[c.key_column] || CASE WHEN TG_OP <> 'DELETE' THEN ARRAY[c.text_column]
			|| CASE WHEN c.attached AND c.filter_columns <> '{}' THEN ARRAY(SELECT jsonb_object_keys(c.filter_columns))::name[] END END)::text[] THEN
		PERFORM piramid.refuse_lost(c);
	END IF;
	IF TG_OP <> 'INSERT' AND NOT same_key THEN
		-- Whoever cuts it now is waited for, so that its chunks are seen here.
		IF deferred THEN
			PERFORM piramid.queue_documents(c, ARRAY[was ->> c.key_column]);
		END IF;
		EXECUTE format('DELETE FROM %s WHERE document_id = $1::%s AND NOT EXISTS (SELECT FROM %s AS d WHERE d.%I = $1::%2$s)',
			c.chunks, piramid.key_type(c), c.documents, c.key_column) USING was ->> c.key_column;
		GET DIAGNOSTICS gone = ROW_COUNT;
		-- Another row may have this key, if the statement exchanges keys, or moves rows to another partition.
		IF gone = 0 THEN
			PERFORM piramid.follow_text(c, was ->> c.key_column), piramid.refilter(c, was ->> c.key_column);
		END IF;
	END IF;
	IF TG_OP <> 'DELETE' THEN
		IF NOT same_text THEN
			IF deferred THEN
				PERFORM piramid.queue_documents(c, ARRAY[is_now ->> c.key_column]);
			END IF;
			PERFORM piramid.follow_text(c, is_now ->> c.key_column);
		ELSIF deferred THEN
			PERFORM piramid.check_filters(c, ARRAY[is_now ->> c.key_column]);
			IF was ->> 'tenant' <> is_now ->> 'tenant' OR EXISTS (SELECT FROM jsonb_object_keys(c.filter_columns) AS f
					WHERE CASE WHEN c.attached THEN was ELSE was -> 'metadata' END -> f IS DISTINCT FROM
						CASE WHEN c.attached THEN is_now ELSE is_now -> 'metadata' END -> f) THEN
				PERFORM piramid.hold_document(c, is_now ->> c.key_column);
			END IF;
		END IF;
		IF TG_OP = 'UPDATE' THEN
			PERFORM piramid.refilter(c, is_now ->> c.key_column);
		END IF;
		-- When all chunks are the tenant's.  Another text is no further document.
		IF was IS NULL OR was ->> 'tenant' <> is_now ->> 'tenant' OR (NOT same_text AND (c.max_chunks IS NOT NULL OR c.max_bytes IS NOT NULL)) THEN
			PERFORM piramid.check_quota(c, ARRAY[is_now ->> c.key_column]);
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION piramid.document_changed() IS 'trigger: the chunks of a document follow its text';

CREATE FUNCTION piramid.places(body text, texts text[]) RETURNS integer[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS '$libdir/piramid', 'piramid_places';
COMMENT ON FUNCTION piramid.places(text, text[]) IS 'where in a text each of these first begins, in characters; 0 if nowhere';

-- Until a changed document is cut again, its chunks are those of before that its text still has.
CREATE FUNCTION piramid.keep_found(c piramid.collection, key text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM piramid.execute(format('WITH here AS MATERIALIZED (
			SELECT u.id, coalesce(u.start, 0) AS start
			FROM %3$s AS d, LATERAL (SELECT array_agg(x.id) AS ids, array_agg(x.text) AS texts FROM %2$s AS x WHERE x.document_id = d.%4$I) AS x,
				unnest(x.ids, piramid.places(d.%1$I, x.texts)) AS u(id, start)
			WHERE d.%4$I = $1::%5$s),
		gone AS (DELETE FROM %2$s AS x USING here WHERE x.id = here.id AND here.start = 0)
		UPDATE %2$s AS x SET start = here.start FROM here WHERE x.id = here.id AND here.start > 0 AND x.start <> here.start',
		c.text_column, c.chunks, c.documents, c.key_column, piramid.key_type(c)), key);
END
$$;
COMMENT ON FUNCTION piramid.keep_found(piramid.collection, text) IS 'drops the chunks that the text of a changed document no longer has';

CREATE FUNCTION piramid.follow_text(c piramid.collection, key text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF piramid.is_deferred(c.chunking) THEN
		PERFORM piramid.keep_found(c, key);
	ELSE
		PERFORM piramid.rechunk(c, ARRAY[key]);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.follow_text(piramid.collection, text) IS 'chunks of a changed document, now, or until it is cut again';

-- The tenant and the filter columns of a document, in its chunks and their vectors.
CREATE FUNCTION piramid.refilter(c piramid.collection, key text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	names text := concat('tenant', (SELECT string_agg(format(', %I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f));
	ours text := concat('x.tenant', (SELECT string_agg(format(', x.%I', f), '' ORDER BY f) FROM jsonb_object_keys(c.filter_columns) AS f));
	source text := concat(CASE WHEN c.attached THEN '''''' ELSE 'd.tenant' END, piramid.filter_values(c));
	tab regclass;
	changed bigint;
BEGIN
	EXECUTE format('UPDATE %1$s AS x SET (%2$s) = ROW(%3$s) FROM %4$s AS d
		WHERE d.%5$I = $1::%6$s AND x.document_id = d.%5$I AND ROW(%7$s) IS DISTINCT FROM ROW(%3$s)',
		c.chunks, names, source, c.documents, c.key_column, piramid.key_type(c), ours) USING key;
	GET DIAGNOSTICS changed = ROW_COUNT;
	IF changed > 0 THEN
		-- A snapshot may hide vectors that were stored since: their jobs, which are gone, make this fail.
		IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
			-- Nor does it show a version that was begun since, which may have vectors.
			PERFORM piramid.check_snapshot(c.documents, begun => true);
			EXECUTE format('SELECT FROM %s AS j JOIN %s AS x ON x.id = j.chunk_id WHERE x.document_id = $1::%s FOR SHARE OF j',
				c.jobs, c.chunks, piramid.key_type(c)) USING key;
		END IF;
		EXECUTE format('UPDATE %s AS j SET tenant = x.tenant FROM %s AS x WHERE x.document_id = $1::%s AND j.chunk_id = x.id AND j.tenant <> x.tenant',
			c.jobs, c.chunks, piramid.key_type(c)) USING key;
		FOR tab IN SELECT vectors FROM piramid.version AS v WHERE v.documents = c.documents AND has_table_privilege(vectors, 'SELECT') IS NOT NULL LOOP
			EXECUTE format('UPDATE %1$s AS y SET (%2$s) = ROW(%3$s) FROM %4$s AS x
				WHERE x.document_id = $1::%5$s AND y.chunk_id = x.id', tab, names, ours, c.chunks, piramid.key_type(c)) USING key;
		END LOOP;
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.refilter(piramid.collection, text) IS 'writes a document''s filter columns into its chunks and vectors';

CREATE FUNCTION piramid.documents_truncated() RETURNS trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.collection_of(TG_RELID);
BEGIN
	EXECUTE format('DELETE FROM %s AS x WHERE NOT EXISTS (SELECT FROM %s AS d WHERE d.%I = x.document_id)', c.chunks, c.documents, c.key_column);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION piramid.documents_truncated() IS 'trigger: no chunks without a document';

CREATE FUNCTION piramid.keep_chunk() RETURNS trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RAISE EXCEPTION 'the text of a chunk does not change' USING ERRCODE = 'object_not_in_prerequisite_state',
		HINT = 'Change the document: its chunks follow.';
END
$$;
COMMENT ON FUNCTION piramid.keep_chunk() IS 'trigger: a chunk keeps its text, so that vectors of it stay true';

CREATE FUNCTION piramid.queue_chunks() RETURNS trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
BEGIN
	SELECT * INTO c FROM piramid.collection AS x WHERE x.chunks = TG_RELID;
	IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
		PERFORM piramid.check_snapshot(c.documents);
	END IF;
	EXECUTE format('INSERT INTO %s (chunk_id, version, tenant, tokens)
		SELECT a.id, v.version, a.tenant, 1 + octet_length(a.text) / 3 FROM added AS a, piramid.version AS v
		WHERE v.documents = $1 AND v.state <> ''retired'' AND a.text <> '''' ON CONFLICT DO NOTHING', c.jobs) USING c.documents;
	NOTIFY piramid_job;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION piramid.queue_chunks() IS 'trigger: new chunks are to be embedded';

CREATE FUNCTION piramid.add_document(collection regclass, body text, title text DEFAULT NULL, uri text DEFAULT NULL,
	metadata jsonb DEFAULT '{}', external_id text DEFAULT NULL, mime text DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	id bigint;
BEGIN
	IF c.attached THEN
		RAISE EXCEPTION '"%" is a table of its own', collection USING ERRCODE = 'wrong_object_type',
			HINT = 'INSERT into the table: its triggers do the rest.';
	END IF;
	EXECUTE format('INSERT INTO %s AS d (body, title, uri, metadata, external_id, mime) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant, external_id) DO UPDATE SET body = $1, title = $2, uri = $3, metadata = $4, mime = $6, updated_at = now()
		RETURNING id', c.documents) INTO id USING body, title, uri, metadata, external_id, mime;
	RETURN id;
END
$$;
COMMENT ON FUNCTION piramid.add_document(regclass, text, text, text, jsonb, text, text) IS
	'add a document, or change the one with this external_id; returns its id';

CREATE FUNCTION piramid.get_document(collection regclass, id text, with_chunks boolean DEFAULT false) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	document jsonb;
	chunks jsonb;
BEGIN
	EXECUTE format('SELECT to_jsonb(d) FROM %s AS d WHERE d.%I = $1::%s', c.documents, c.key_column, piramid.key_type(c)) INTO document USING id;
	IF with_chunks AND document IS NOT NULL THEN
		EXECUTE format('SELECT coalesce(jsonb_agg(jsonb_build_object(''id'', x.id, ''ordinal'', x.ordinal, ''start'', x.start,
				''length'', x.length, ''text'', x.text, ''heading_path'', x.heading_path, ''page'', x.page) ORDER BY x.ordinal), ''[]'')
			FROM %s AS x WHERE x.document_id = $1::%s', c.chunks, piramid.key_type(c)) INTO chunks USING id;
		document := document || jsonb_build_object('chunks', chunks);
	END IF;
	RETURN document;
END
$$;
COMMENT ON FUNCTION piramid.get_document(regclass, text, boolean) IS 'a document as JSON, with its chunks if that is asked; NULL if there is none';

CREATE FUNCTION piramid.delete_document(collection regclass, id text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	n bigint;
BEGIN
	EXECUTE format('DELETE FROM %s AS d WHERE d.%I = $1::%s', c.documents, c.key_column, piramid.key_type(c)) USING id;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n > 0;
END
$$;
COMMENT ON FUNCTION piramid.delete_document(regclass, text) IS 'delete a document; false if there is none';

CREATE FUNCTION piramid.delete_documents(collection regclass, filter jsonb) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	n bigint;
BEGIN
	IF filter IS NULL THEN
		RAISE EXCEPTION 'a filter is an object, not NULL' USING ERRCODE = 'null_value_not_allowed', HINT = 'All documents pass ''{}''.';
	END IF;
	EXECUTE format('DELETE FROM %s AS d WHERE %s', c.documents, piramid.filter_sql(collection, filter));
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION piramid.delete_documents(regclass, jsonb) IS 'delete the documents that pass a filter; returns their number';
