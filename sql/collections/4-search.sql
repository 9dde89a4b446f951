
-- ===========================================================================
-- Search
-- ===========================================================================

-- Can a condition be one of a column with a type?  An integer has values that other numbers are between: such a
-- condition is one of the documents.
CREATE FUNCTION piramid.is_typed(operator text, value jsonb, typed text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT (operator IN ('$in', '$nin')) = (jsonb_typeof(value) = 'array')
		AND operator IN ('$eq', '$ne', '$gt', '$gte', '$lt', '$lte', '$in', '$nin')
		AND NOT EXISTS (SELECT FROM jsonb_array_elements(CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE jsonb_build_array(value) END) AS e
			WHERE CASE jsonb_typeof(e) WHEN 'number' THEN typed IN ('smallint', 'integer', 'bigint')
					AND (e::text ~ '[.]' OR abs(e::numeric) >= CASE typed WHEN 'smallint' THEN 32768 WHEN 'integer' THEN 2147483648 ELSE 9223372036854775808 END)
				ELSE jsonb_typeof(e) NOT IN ('string', 'boolean') END)
$$;
COMMENT ON FUNCTION piramid.is_typed(text, jsonb, text) IS 'can a filter column of this type be compared with this?';

-- Such a condition, not negated, as SQL.
CREATE FUNCTION piramid.typed_condition(source text, operator text, value jsonb, typed text) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN operator IN ('$in', '$nin') THEN format('%s = ANY (%L::%s[])', source, ARRAY(SELECT jsonb_array_elements_text(value)), typed)
		ELSE format('%s %s %L::%s', source, CASE operator WHEN '$gt' THEN '>' WHEN '$gte' THEN '>=' WHEN '$lt' THEN '<' WHEN '$lte' THEN '<=' ELSE '=' END,
			value #>> '{}', typed) END
$$;
COMMENT ON FUNCTION piramid.typed_condition(text, text, jsonb, text) IS 'a condition on a column with a type';

-- One condition: a field, an operator, a JSON value.  Everything that the caller
-- wrote becomes a literal.
CREATE FUNCTION piramid.condition_sql(c piramid.collection, field text, operator text, value jsonb) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	sign text := CASE operator WHEN '$eq' THEN '=' WHEN '$ne' THEN '=' WHEN '$gt' THEN '>' WHEN '$gte' THEN '>='
		WHEN '$lt' THEN '<' WHEN '$lte' THEN '<=' END;
	source text;
	typed text := piramid.type_sql(c.filter_columns ->> field);
	positive text;
BEGIN
	IF c.attached AND NOT field = ANY (c.metadata_columns) THEN
		RAISE EXCEPTION 'there is no metadata column "%"', field USING ERRCODE = 'undefined_column';
	END IF;
	IF typed IS NOT NULL AND piramid.is_typed(operator, value, typed) THEN
		source := CASE WHEN c.attached THEN format('d.%I', field) ELSE format('(d.metadata ->> %L)::%s', field, typed) END;
		positive := piramid.typed_condition(source, operator, value, typed);
	ELSE
		source := CASE WHEN c.attached THEN format('to_jsonb(d.%I)', field) ELSE format('(d.metadata -> %L)', field) END;
		positive := CASE
			WHEN operator IN ('$eq', '$ne') AND jsonb_typeof(value) = 'null' THEN format('%s IS NOT DISTINCT FROM ''null''', source)
			WHEN operator IN ('$eq', '$ne') AND c.attached THEN format('%s = %L::jsonb', source, value)
			WHEN operator IN ('$eq', '$ne') THEN format('d.metadata @> %L::jsonb AND %s = %L::jsonb', jsonb_build_object(field, value), source, value)
			WHEN sign IS NOT NULL THEN format('jsonb_typeof(%1$s) = %2$L AND %1$s %3$s %4$L::jsonb', source, jsonb_typeof(value), sign, value)
			WHEN operator IN ('$in', '$nin') AND jsonb_typeof(value) = 'array' THEN
				format('%s = ANY (%L::jsonb[])', source, ARRAY(SELECT jsonb_array_elements(value)))
			WHEN operator = '$exists' AND jsonb_typeof(value) = 'boolean' THEN
				format('(%s IS NOT NULL AND %1$s <> ''null'') = %L', source, value)
			WHEN operator = '$contains' AND jsonb_typeof(value) = 'string' THEN
				format('CASE jsonb_typeof(%1$s) WHEN ''string'' THEN strpos(%1$s #>> ''{}'', %2$L) > 0 ELSE %1$s @> %3$L::jsonb END', source, value #>> '{}', value)
			WHEN operator = '$contains' THEN format('%s @> %L::jsonb', source, value)
		END;
	END IF;
	IF positive IS NULL THEN
		RAISE EXCEPTION 'the filter has no operator % for %', to_json(operator), value USING ERRCODE = 'invalid_parameter_value',
			HINT = 'There are $eq, $ne, $gt, $gte, $lt, $lte, $in and $nin (of an array), $exists (of a boolean), $contains, and $and, $or, $not.';
	END IF;
	RETURN format(CASE WHEN operator IN ('$ne', '$nin') THEN '(%s) IS NOT TRUE' ELSE '(%s) IS TRUE' END, positive);
END
$$;
COMMENT ON FUNCTION piramid.condition_sql(piramid.collection, text, text, jsonb) IS 'a condition of a filter as SQL over d, the documents';

CREATE FUNCTION piramid.filter_sql(c piramid.collection, filter jsonb, depth integer) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	parts text[] := '{}';
	e record;
	o record;
BEGIN
	IF jsonb_typeof(filter) <> 'object' OR depth > 20 THEN
		RAISE EXCEPTION 'a filter is an object, with at most 20 levels, not %', left(filter::text, 60)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR e IN SELECT key, value FROM jsonb_each(filter) LOOP
		IF e.key IN ('$and', '$or') AND jsonb_typeof(e.value) = 'array' AND jsonb_array_length(e.value) > 0 THEN
			parts := parts || (SELECT '(' || string_agg(piramid.filter_sql(c, x, depth + 1), CASE e.key WHEN '$and' THEN ' AND ' ELSE ' OR ' END) || ')'
				FROM jsonb_array_elements(e.value) AS x);
		ELSIF e.key = '$not' THEN
			parts := parts || format('(%s) IS NOT TRUE', piramid.filter_sql(c, e.value, depth + 1));
		ELSIF e.key LIKE '$%' OR e.value = '{}' THEN
			RAISE EXCEPTION 'the filter says nothing of a key: %', left(jsonb_build_object(e.key, e.value)::text, 60) USING ERRCODE = 'invalid_parameter_value',
				HINT = 'A key has a value, as {"lang": "en"}, or an operator, as {"year": {"$gt": 2000}}. $and and $or have arrays of filters.';
		ELSIF jsonb_typeof(e.value) = 'object' THEN
			FOR o IN SELECT key, value FROM jsonb_each(e.value) LOOP
				parts := parts || piramid.condition_sql(c, e.key, o.key, o.value);
			END LOOP;
		ELSE
			parts := parts || piramid.condition_sql(c, e.key, '$eq', e.value);
		END IF;
	END LOOP;
	RETURN CASE WHEN parts = '{}' THEN 'true' ELSE array_to_string(parts, ' AND ') END;
END
$$;
COMMENT ON FUNCTION piramid.filter_sql(piramid.collection, jsonb, integer) IS 'a part of a filter as SQL';

CREATE FUNCTION piramid.filter_sql(collection regclass, filter jsonb) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT piramid.filter_sql(c, coalesce(filter, '{}'), 0) FROM piramid.collection AS c WHERE c.documents = collection
$$;
COMMENT ON FUNCTION piramid.filter_sql(regclass, jsonb) IS 'a filter as an SQL condition on d, a row of the documents';

-- The parts of a filter that columns beside the vector, or the chunk, decide, as SQL over their
-- table: they are tested inside the index.  If that is the whole filter, no document is read, unless
-- documents have a row level security of their own.
CREATE FUNCTION piramid.column_filter(c piramid.collection, filter jsonb, tab text, OUT condition text, OUT whole boolean)
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	parts text[] := '{}';
	e record;
	o record;
	sub record;
BEGIN
	whole := c.isolation = 'rls' OR NOT row_security_active(c.documents);
	FOR e IN SELECT key, value FROM jsonb_each(filter) LOOP
		IF e.key = '$and' THEN
			FOR o IN SELECT value FROM jsonb_array_elements(e.value) LOOP
				sub := piramid.column_filter(c, o.value, tab);
				parts := parts || sub.condition;
				whole := whole AND sub.whole;
			END LOOP;
		ELSIF NOT c.filter_columns ? e.key OR e.value = '{}' THEN
			whole := false;
		ELSE
			FOR o IN SELECT key, value FROM jsonb_each(CASE jsonb_typeof(e.value) WHEN 'object' THEN e.value ELSE jsonb_build_object('$eq', e.value) END) LOOP
				IF o.key IN ('$eq', '$gt', '$gte', '$lt', '$lte', '$in') AND piramid.is_typed(o.key, o.value, piramid.type_sql(c.filter_columns ->> e.key)) THEN
					parts := parts || piramid.typed_condition(format('%s.%I', tab, e.key), o.key, o.value, piramid.type_sql(c.filter_columns ->> e.key));
				ELSE
					whole := false;
				END IF;
			END LOOP;
		END IF;
	END LOOP;
	condition := CASE WHEN parts = '{}' THEN 'true' ELSE array_to_string(parts, ' AND ') END;
END
$$;
COMMENT ON FUNCTION piramid.column_filter(piramid.collection, jsonb, text) IS 'the part of a filter that filter columns decide, and whether that is all of it';

-- The words of a query against a chunk, as three SQL expressions: does it match,
-- how well, and by what to sort.  $2 is the query.  A bm25 index on the chunks' text
-- ranks, if there is one; else full text search does.
CREATE FUNCTION piramid.text_match(c piramid.collection, OUT matches text, OUT relevance text, OUT place text, OUT by_bm25 boolean)
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	words text := format('websearch_to_tsquery(%L::regconfig, $2)', c.text_config);
	schema text := piramid.bm25_schema();
	index regclass;
	vector text;
BEGIN
	SELECT i.indexrelid INTO index
	FROM pg_index AS i JOIN pg_class AS r ON r.oid = i.indexrelid JOIN pg_am AS m ON m.oid = r.relam AND m.amname = 'bm25'
		JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'text'
	WHERE i.indrelid = c.chunks AND i.indisvalid AND i.indpred IS NULL AND schema IS NOT NULL
	ORDER BY i.indexrelid LIMIT 1;
	by_bm25 := FOUND;
	IF by_bm25 THEN
		-- By its number: of another name of an index, a statement that is kept is not told.
		words := format('%s.to_bm25query(%s, %L::regclass)', schema, words, index::oid);
		matches := format('c.text OPERATOR(%s.@@) %s', schema, words);
		place := format('c.text OPERATOR(%s.<@>) %s', schema, words);
		relevance := format('- (%s)', place);
	ELSE
		vector := CASE WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.chunks AND attname = 'words') THEN 'c.words'
			ELSE format('to_tsvector(%L::regconfig, c.text)', c.text_config) END;
		matches := format('%s @@ %s', vector, words);
		relevance := format('ts_rank_cd(%s, %s)', vector, words);
		place := format('- %s', relevance);
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.text_match(piramid.collection) IS 'SQL for the words of a query, by bm25 or by full text search';

-- The distance of a vector, v, from that of the query, $1.
CREATE FUNCTION piramid.distance_sql(c piramid.collection) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN format('v.embedding OPERATOR(%1$s.%2$s) $1::%1$s.vector', piramid.vector_schema(),
		CASE c.distance WHEN 'cosine' THEN '<=>' WHEN 'l2' THEN '<->' ELSE '<#>' END);
END
$$;
COMMENT ON FUNCTION piramid.distance_sql(piramid.collection) IS 'SQL for the distance between a vector and the query';

-- The legs of a search, as SQL: chunks by the distance of their vectors ($1), and by the words ($2)
-- in them, "depth" of each.  Numbers of rows stand in the text of the statement, so that plans that are
-- kept know them.
CREATE FUNCTION piramid.leg_by_vector(c piramid.collection, vectors regclass, filter jsonb, depth integer) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	f record := piramid.column_filter(c, filter, 'v');
	place text := piramid.distance_sql(c);
BEGIN
	RETURN format('SELECT x.chunk_id, x.distance, row_number() OVER (ORDER BY x.distance, x.chunk_id) AS rank
		FROM (SELECT v.chunk_id, %s AS distance FROM %s AS v%s WHERE %s ORDER BY %1$s LIMIT %5$s) AS x', place, vectors,
		CASE WHEN NOT f.whole THEN format(' JOIN %s AS c ON c.id = v.chunk_id JOIN %s AS d ON d.%I = c.document_id', c.chunks, c.documents, c.key_column) END,
		CASE WHEN f.whole THEN f.condition ELSE format('%s AND %s', f.condition, piramid.filter_sql(c, filter, 0)) END, depth);
END
$$;
COMMENT ON FUNCTION piramid.leg_by_vector(piramid.collection, regclass, jsonb, integer) IS 'SQL for the nearest chunks of a search';

CREATE FUNCTION piramid.leg_by_text(c piramid.collection, filter jsonb, depth integer) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	f record := piramid.column_filter(c, filter, 'c');
	words record := piramid.text_match(c);
BEGIN
	RETURN format('SELECT x.chunk_id, x.relevance, row_number() OVER (ORDER BY x.relevance DESC, x.chunk_id) AS rank
		FROM (SELECT c.id AS chunk_id, %s AS relevance FROM %s AS c%s WHERE %s AND %s ORDER BY %s LIMIT %s) AS x', words.relevance, c.chunks,
		CASE WHEN NOT f.whole THEN format(' JOIN %s AS d ON d.%I = c.document_id', c.documents, c.key_column) END, words.matches,
		CASE WHEN f.whole THEN f.condition ELSE piramid.filter_sql(c, filter, 0) END, words.place, depth);
END
$$;
COMMENT ON FUNCTION piramid.leg_by_text(piramid.collection, jsonb, integer) IS 'SQL for the chunks of a search with the best words';

-- Both legs of a hybrid, fused by their scores, as piramid_hybrid() does by default: each chunk of either leg has
-- both scores, so that what one index has not found counts, too.  The legs need not look far for that.
CREATE FUNCTION piramid.fused_by_score(c piramid.collection, vectors regclass, filter jsonb, depth integer) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	words record := piramid.text_match(c);
	nearness text := CASE c.distance WHEN 'cosine' THEN '1 - distance' WHEN 'l2' THEN '1 - distance / NULLIF(max(distance) OVER (), 0)'
		-- by the largest size, as products may all be negative
		ELSE '- distance / NULLIF(max(abs(distance)) OVER (), 0)' END;
BEGIN
	depth := greatest(20, 2 * depth);
	RETURN format('SELECT chunk_id, distance, vector_rank, text_rank,
			($3 * coalesce(NULLIF(%s, ''NaN''), 0) + $4 * coalesce(relevance / NULLIF(max(relevance) OVER (), 0), 0)) / coalesce(NULLIF($3 + $4, 0), 1) AS score
		FROM (SELECT found.chunk_id, found.vector_rank, found.text_rank, coalesce(found.relevance, %s) AS relevance, coalesce(found.distance, %s) AS distance
			FROM (SELECT chunk_id, n.distance, n.rank AS vector_rank, t.relevance, t.rank AS text_rank FROM (%s) AS n FULL JOIN (%s) AS t USING (chunk_id)) AS found
				JOIN %s AS c ON c.id = found.chunk_id LEFT JOIN %s AS v ON v.chunk_id = found.chunk_id) AS scored',
		nearness, words.relevance, piramid.distance_sql(c), piramid.leg_by_vector(c, vectors, filter, depth), piramid.leg_by_text(c, filter, depth), c.chunks, vectors);
END
$$;
COMMENT ON FUNCTION piramid.fused_by_score(piramid.collection, regclass, jsonb, integer) IS 'SQL for the chunks of a hybrid search, with scores of both legs';

-- The same by their ranks alone, as scores of full text search have no bounds, and know no other text.
CREATE FUNCTION piramid.fused_by_rank(c piramid.collection, vectors regclass, filter jsonb, depth integer) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	depth := greatest(50, 3 * depth);
	RETURN format('SELECT chunk_id, v.distance, v.rank AS vector_rank, t.rank AS text_rank,
			(coalesce($3 / (60 + v.rank), 0) + coalesce($4 / (60 + t.rank), 0))::float8 AS score
		FROM (%s) AS v FULL JOIN (%s) AS t USING (chunk_id)', piramid.leg_by_vector(c, vectors, filter, depth), piramid.leg_by_text(c, filter, depth));
END
$$;
COMMENT ON FUNCTION piramid.fused_by_rank(piramid.collection, regclass, jsonb, integer) IS 'SQL for the chunks of a hybrid search, with scores by ranks';

-- The legs of a search together: each chunk once, with its score, as SQL.
CREATE FUNCTION piramid.fused_legs(c piramid.collection, way text, vectors regclass, filter jsonb, depth integer) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	nearness text := CASE c.distance WHEN 'cosine' THEN '1 - distance' WHEN 'l2' THEN '1 / (1 + distance)' ELSE '- distance' END;
BEGIN
	RETURN CASE
		WHEN way = 'vector' THEN format('SELECT chunk_id, distance, rank AS vector_rank, NULL::bigint AS text_rank, (%s)::float8 AS score FROM (%s) AS v',
			nearness, piramid.leg_by_vector(c, vectors, filter, depth))
		WHEN way = 'text' THEN format('SELECT chunk_id, NULL::float8 AS distance, NULL::bigint AS vector_rank, rank AS text_rank, relevance::float8 AS score FROM (%s) AS t',
			piramid.leg_by_text(c, filter, depth))
		WHEN (piramid.text_match(c)).by_bm25 THEN piramid.fused_by_score(c, vectors, filter, depth)
		ELSE piramid.fused_by_rank(c, vectors, filter, depth) END;
END
$$;
COMMENT ON FUNCTION piramid.fused_legs(piramid.collection, text, regclass, jsonb, integer) IS 'SQL for the chunks of a search, with scores';

-- A search as SQL: $1 is the vector, $2 the words, $3 and $4 the weights of the legs, $5 the least
-- score, $6 is "expand".  It is kept for other searches with the same arguments: see src/collection.
CREATE FUNCTION piramid.search_sql(collection regclass, vectors regclass, has_query boolean, has_text boolean, mode text, k integer,
	filter jsonb, has_least boolean, expand integer, per_document boolean) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection;
	way text := coalesce(mode, CASE WHEN NOT has_query THEN 'text' WHEN NOT has_text THEN 'vector' ELSE 'hybrid' END);
	depth integer;
	least_score text := CASE WHEN has_least THEN 'score >= $5' ELSE 'true' END;
BEGIN
	IF way NOT IN ('vector', 'text', 'hybrid') OR (way <> 'text' AND NOT has_query) OR (way <> 'vector' AND NOT has_text) THEN
		RAISE EXCEPTION 'search by % has no query, or is not vector, text or hybrid', way USING ERRCODE = 'invalid_parameter_value',
			HINT = 'A vector is "query", words are "query_text".';
	END IF;
	IF k IS NULL OR k NOT BETWEEN 0 AND 10000 OR expand IS NULL OR expand NOT BETWEEN 0 AND 100 THEN
		RAISE EXCEPTION 'k is from 0 to 10000, and expand from 0 to 100' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT * INTO c FROM piramid.collection AS x WHERE x.documents = collection;
	PERFORM piramid.filter_sql(c, coalesce(filter, '{}'), 0);		-- which says what is wrong with it
	-- The search of documents looks further than the rows that it gives; so do the legs of a hybrid.
	depth := k * CASE WHEN per_document THEN 5 ELSE 1 END;
	RETURN format($sql$
		WITH fused AS (%1$s),
		best AS (%2$s)
		SELECT c.document_id::text, c.id, b.score, b.distance, b.vector_rank, b.text_rank, c.text, %3$s,
			c.heading_path, (SELECT p.id FROM %4$s AS p WHERE p.document_id = c.document_id AND p.ordinal = c.parent LIMIT 1), c.page,
			c.start, c.length, %5$s
		FROM (SELECT * FROM best ORDER BY score DESC, distance, chunk_id LIMIT %9$s) AS b
			JOIN %4$s AS c ON c.id = b.chunk_id
			JOIN %6$s AS d ON d.%7$I = c.document_id%8$s
		ORDER BY b.score DESC, b.distance, b.chunk_id
		$sql$, piramid.fused_legs(c, way, vectors, coalesce(filter, '{}'), depth),
		CASE WHEN per_document THEN format('SELECT * FROM (SELECT f.*, row_number() OVER (PARTITION BY c.document_id ORDER BY f.score DESC, f.distance, f.chunk_id) AS place
				FROM fused AS f JOIN %s AS c ON c.id = f.chunk_id WHERE %s) AS r WHERE place = 1', c.chunks, least_score)
			ELSE format('SELECT * FROM fused WHERE %s', least_score) END,
		CASE WHEN expand = 0 THEN 'NULL::text, NULL::text'
			ELSE format('substr(d.%1$I, around.first, c.start - around.first), substr(d.%1$I, c.start + c.length, around.last - c.start - c.length)', c.text_column) END,
		c.chunks,
		CASE WHEN c.attached THEN format('NULL::text, NULL::text, jsonb_build_object(%s)',
				(SELECT string_agg(format('%L, d.%I', m, m), ', ') FROM unnest(c.metadata_columns) AS m))
			ELSE 'd.title, d.uri, d.metadata' END,
		c.documents, c.key_column,
		CASE WHEN expand > 0 THEN format(', LATERAL (SELECT min(n.start) AS first, max(n.start + n.length) AS last FROM %s AS n
			WHERE n.document_id = c.document_id AND n.ordinal BETWEEN c.ordinal - $6 AND c.ordinal + $6) AS around', c.chunks) END, k);
END
$$;
COMMENT ON FUNCTION piramid.search_sql(regclass, regclass, boolean, boolean, text, integer, jsonb, boolean, integer, boolean) IS
	'the statement of a search';

-- It locks tables, and sees what its transaction has changed: so it is not stable.
CREATE FUNCTION piramid.search(collection regclass, query piramid.embedding DEFAULT NULL, query_text text DEFAULT NULL,
	mode text DEFAULT NULL, k integer DEFAULT 10, filter jsonb DEFAULT '{}', min_score double precision DEFAULT NULL,
	weights jsonb DEFAULT '{}', expand integer DEFAULT 0, per_document boolean DEFAULT false)
	RETURNS TABLE (document_id text, chunk_id bigint, score double precision, distance double precision, vector_rank bigint,
		text_rank bigint, text text, before text, after text, heading_path text[], parent_id bigint, page integer,
		start integer, length integer, title text, uri text, metadata jsonb)
	ROWS 10 LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS '$libdir/piramid', 'piramid_collection_search';
COMMENT ON FUNCTION piramid.search(regclass, piramid.embedding, text, text, integer, jsonb, double precision, jsonb, integer, boolean) IS
	'the best chunks for a vector, for words, or for both; with neighbours if that is asked';

-- Several searches at once: each query is an object of arguments of search().
CREATE FUNCTION piramid.search_batch(collection regclass, queries jsonb)
	RETURNS TABLE (query_number integer, document_id text, chunk_id bigint, score double precision, distance double precision, vector_rank bigint,
		text_rank bigint, text text, before text, after text, heading_path text[], parent_id bigint, page integer,
		start integer, length integer, title text, uri text, metadata jsonb)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	q record;
	option text;
BEGIN
	IF jsonb_typeof(queries) IS DISTINCT FROM 'array' OR jsonb_array_length(queries) > 1000 THEN
		RAISE EXCEPTION 'queries are a JSON array of at most 1000 objects' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR q IN SELECT x, n::int FROM jsonb_array_elements(queries) WITH ORDINALITY AS u(x, n) LOOP
		IF jsonb_typeof(q.x) <> 'object' THEN
			RAISE EXCEPTION 'query % is no object', q.n USING ERRCODE = 'invalid_parameter_value';
		END IF;
		FOR option IN SELECT jsonb_object_keys(q.x) EXCEPT SELECT unnest(ARRAY['query', 'query_text', 'mode', 'k', 'filter', 'min_score', 'weights', 'expand', 'per_document']) LOOP
			RAISE EXCEPTION 'query % has an unknown argument %', q.n, to_json(option) USING ERRCODE = 'invalid_parameter_value',
				HINT = 'There are query, query_text, mode, k, filter, min_score, weights, expand and per_document.';
		END LOOP;
		RETURN QUERY SELECT q.n, s.* FROM piramid.search(collection, (q.x ->> 'query')::piramid.embedding, q.x ->> 'query_text', q.x ->> 'mode',
			coalesce((q.x ->> 'k')::int, 10), coalesce(NULLIF(q.x -> 'filter', 'null'), '{}'), (q.x ->> 'min_score')::float8, coalesce(NULLIF(q.x -> 'weights', 'null'), '{}'),
			coalesce((q.x ->> 'expand')::int, 0), coalesce((q.x ->> 'per_document')::boolean, false)) AS s;
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.search_batch(regclass, jsonb) IS 'several searches at once; query_number counts from 1';
