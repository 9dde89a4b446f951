
-- ===========================================================================
-- Search
-- ===========================================================================

-- One condition: a field, an operator, a JSON value.  Everything that the caller
-- wrote becomes a literal.
CREATE FUNCTION piramid.condition_sql(c piramid.collection, field text, operator text, value jsonb) RETURNS text
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	sign text := CASE operator WHEN '$eq' THEN '=' WHEN '$ne' THEN '=' WHEN '$gt' THEN '>' WHEN '$gte' THEN '>='
		WHEN '$lt' THEN '<' WHEN '$lte' THEN '<=' END;
	source text;
	typed text := c.filter_columns ->> field;
	positive text;
BEGIN
	IF c.attached AND NOT field = ANY (c.metadata_columns) THEN
		RAISE EXCEPTION 'there is no metadata column "%"', field USING ERRCODE = 'undefined_column';
	END IF;
	IF typed IS NOT NULL AND operator IN ('$eq', '$ne', '$gt', '$gte', '$lt', '$lte') AND jsonb_typeof(value) <> 'null' THEN
		positive := format('d.%I %s %L::%s', field, sign, value #>> '{}', typed::regtype);
		IF NOT c.attached THEN
			positive := format('(d.metadata ->> %L)::%s %s %L::%s', field, typed::regtype, sign, value #>> '{}', typed::regtype);
		END IF;
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
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
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
		ELSIF e.key LIKE '$%' THEN
			parts := parts || piramid.condition_sql(c, NULL, e.key, e.value);
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
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT piramid.filter_sql(c, coalesce(filter, '{}'), 0) FROM piramid.collection AS c WHERE c.documents = collection
$$;
COMMENT ON FUNCTION piramid.filter_sql(regclass, jsonb) IS 'a filter as an SQL condition on d, a row of the documents';

-- The parts of a filter that columns beside the vector decide, as SQL over v.
-- They are tested inside the index; the whole filter is tested on the document.
CREATE FUNCTION piramid.index_filter_sql(c piramid.collection, filter jsonb) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(string_agg(format(' AND v.%I %s %L::%s', f.key,
			CASE o.key WHEN '$gt' THEN '>' WHEN '$gte' THEN '>=' WHEN '$lt' THEN '<' WHEN '$lte' THEN '<=' ELSE '=' END,
			o.value #>> '{}', (c.filter_columns ->> f.key)::regtype), ''), '')
	FROM jsonb_each(filter) AS f,
		jsonb_each(CASE jsonb_typeof(f.value) WHEN 'object' THEN f.value ELSE jsonb_build_object('$eq', f.value) END) AS o
	WHERE c.filter_columns ? f.key AND o.key IN ('$eq', '$gt', '$gte', '$lt', '$lte') AND jsonb_typeof(o.value) IN ('string', 'number', 'boolean')
$$;
COMMENT ON FUNCTION piramid.index_filter_sql(piramid.collection, jsonb) IS 'the part of a filter that the index of vectors can test';

-- The words of a query against a chunk, as three SQL expressions: does it match,
-- how well, and by what to sort.  $2 is the query.  A bm25 index on the chunks' text
-- ranks, if there is one; else full text search does.
CREATE FUNCTION piramid.text_match(c piramid.collection, OUT matches text, OUT relevance text, OUT place text)
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
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
	IF FOUND THEN
		words := format('%s.to_bm25query(%s, %L::regclass)', schema, words, index);
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

CREATE FUNCTION piramid.search(collection regclass, query piramid.embedding DEFAULT NULL, query_text text DEFAULT NULL,
	mode text DEFAULT NULL, k integer DEFAULT 10, filter jsonb DEFAULT '{}', min_score double precision DEFAULT NULL,
	weights jsonb DEFAULT '{}', expand integer DEFAULT 0, per_document boolean DEFAULT false)
	RETURNS TABLE (document_id text, chunk_id bigint, score double precision, distance double precision, vector_rank bigint,
		text_rank bigint, text text, before text, after text, heading_path text[], parent_id bigint, page integer,
		start integer, length integer, title text, uri text, metadata jsonb)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c piramid.collection := piramid.open_collection(collection);
	vectors regclass;
	dims integer;
	given integer;
	condition text := piramid.filter_sql(collection, filter);
	way text := coalesce(mode, CASE WHEN query IS NULL THEN 'text' WHEN query_text IS NULL THEN 'vector' ELSE 'hybrid' END);
	sign text := CASE c.distance WHEN 'cosine' THEN '<=>' WHEN 'l2' THEN '<->' ELSE '<#>' END;
	words record := piramid.text_match(c);
	depth integer;
	join_documents text;
BEGIN
	IF way NOT IN ('vector', 'text', 'hybrid') OR (way <> 'text' AND query IS NULL) OR (way <> 'vector' AND query_text IS NULL) THEN
		RAISE EXCEPTION 'search by % has no query, or is not vector, text or hybrid', way USING ERRCODE = 'invalid_parameter_value',
			HINT = 'A vector is "query", words are "query_text".';
	END IF;
	IF k IS NULL OR k NOT BETWEEN 0 AND 10000 OR expand IS NULL OR expand NOT BETWEEN 0 AND 100 THEN
		RAISE EXCEPTION 'k is from 0 to 10000, and expand from 0 to 100' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT v.vectors, m.dims INTO vectors, dims FROM piramid.version AS v JOIN piramid.model AS m ON m.name = v.model
	WHERE v.documents = collection AND v.state = 'active';
	EXECUTE format('SELECT %s.vector_dims($1)', piramid.vector_schema()) INTO given USING query;
	IF given <> dims THEN
		RAISE EXCEPTION 'the query has % dimensions, and the vectors of "%" have %', given, collection, dims
			USING ERRCODE = 'data_exception', HINT = 'Embed it with the model of the active version.';
	END IF;
	-- Legs of a hybrid, and of documents, look further than the rows that they give.
	depth := k * CASE WHEN per_document THEN 5 ELSE 1 END;
	IF way = 'hybrid' THEN
		depth := greatest(3 * depth, 50);
	END IF;
	join_documents := CASE condition WHEN 'true' THEN '' ELSE format('JOIN %s AS d ON d.%I = c.document_id', c.documents, c.key_column) END;
	RETURN QUERY EXECUTE format($sql$
		WITH by_vector AS (
			SELECT x.chunk_id, x.distance, row_number() OVER (ORDER BY x.distance, x.chunk_id) AS rank
			FROM (SELECT v.chunk_id, v.embedding OPERATOR(%1$s.%2$s) $1::%1$s.vector AS distance
				FROM %3$s AS v %4$s WHERE %5$s%6$s
				ORDER BY v.embedding OPERATOR(%1$s.%2$s) $1::%1$s.vector LIMIT $3) AS x
			WHERE $4),
		by_text AS (
			SELECT x.chunk_id, x.relevance, row_number() OVER (ORDER BY x.relevance DESC, x.chunk_id) AS rank
			FROM (SELECT c.id AS chunk_id, %7$s AS relevance
				FROM %8$s AS c %9$s WHERE %15$s AND %5$s ORDER BY %16$s LIMIT $3) AS x
			WHERE $5),
		fused AS (
			SELECT chunk_id, v.distance, v.rank AS vector_rank, t.rank AS text_rank,
				CASE WHEN $4 AND $5 THEN coalesce($6 / (60 + v.rank), 0) + coalesce($7 / (60 + t.rank), 0)
					WHEN $5 THEN t.relevance
					ELSE %10$s END::float8 AS score
			FROM by_vector AS v FULL JOIN by_text AS t USING (chunk_id)),
		best AS (
			SELECT f.*, c.document_id AS key, row_number() OVER (PARTITION BY CASE WHEN $8 THEN c.document_id::text ELSE c.id::text END
				ORDER BY f.score DESC, f.distance, f.chunk_id) AS place
			FROM fused AS f JOIN %8$s AS c ON c.id = f.chunk_id
			WHERE $9 IS NULL OR f.score >= $9)
		SELECT c.document_id::text, c.id, b.score, b.distance, b.vector_rank, b.text_rank, c.text,
			CASE WHEN $10 > 0 THEN substr(d.%11$I, around.first, c.start - around.first) END,
			CASE WHEN $10 > 0 THEN substr(d.%11$I, c.start + c.length, around.last - c.start - c.length) END,
			c.heading_path, (SELECT p.id FROM %8$s AS p WHERE p.document_id = c.document_id AND p.ordinal = c.parent LIMIT 1), c.page,
			c.start, c.length, %12$s
		FROM (SELECT * FROM best WHERE place = 1 ORDER BY score DESC, distance, chunk_id LIMIT $11) AS b
			JOIN %8$s AS c ON c.id = b.chunk_id
			JOIN %13$s AS d ON d.%14$I = c.document_id,
			LATERAL (SELECT min(n.start) AS first, max(n.start + n.length) AS last FROM %8$s AS n
				WHERE n.document_id = c.document_id AND n.ordinal BETWEEN c.ordinal - $10 AND c.ordinal + $10) AS around
		ORDER BY b.score DESC, b.distance, b.chunk_id
		$sql$, piramid.vector_schema(), sign, vectors,
		CASE condition WHEN 'true' THEN '' ELSE format('JOIN %s AS c ON c.id = v.chunk_id ', c.chunks) || join_documents END,
		condition, piramid.index_filter_sql(c, filter), words.relevance, c.chunks, join_documents,
		CASE c.distance WHEN 'cosine' THEN '1 - v.distance' WHEN 'l2' THEN '1 / (1 + v.distance)' ELSE '- v.distance' END,
		c.text_column,
		CASE WHEN c.attached THEN format('NULL::text, NULL::text, jsonb_build_object(%s)',
				(SELECT string_agg(format('%L, d.%I', m, m), ', ') FROM unnest(c.metadata_columns) AS m))
			ELSE 'd.title, d.uri, d.metadata' END,
		c.documents, c.key_column, words.matches, words.place)
	USING query, query_text, depth, way <> 'text', way <> 'vector', coalesce((weights ->> 'vector')::float8, 1),
		coalesce((weights ->> 'text')::float8, 1), per_document, min_score, expand, k;
END
$$;
COMMENT ON FUNCTION piramid.search(regclass, piramid.embedding, text, text, integer, jsonb, double precision, jsonb, integer, boolean) IS
	'the best chunks for a vector, for words, or for both; with neighbours if that is asked';
