-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION piramid_bm25" to load this file. \quit

-- The names belong to one extension of a database.  Operators are those of pg_catalog by name: this runs
-- as a superuser, and the schema may have others, of whoever made it.
DO $$
DECLARE
	owner text;
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_am WHERE amname OPERATOR(pg_catalog.=) 'bm25') THEN
		SELECT e.extname INTO owner
		FROM pg_catalog.pg_am a
		JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_am'::pg_catalog.regclass
			AND d.objid OPERATOR(pg_catalog.=) a.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
			AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
		JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
		WHERE a.amname OPERATOR(pg_catalog.=) 'bm25';
		RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
			MESSAGE = pg_catalog.format('access method "bm25" exists already, of %s',
				CASE WHEN owner IS NULL THEN 'no extension' ELSE pg_catalog.format('extension "%s"', owner) END),
			HINT = pg_catalog.format('A database has one of them. Drop the other one first: %s.',
				CASE WHEN owner IS NULL THEN 'DROP ACCESS METHOD bm25' ELSE pg_catalog.format('DROP EXTENSION %I', owner) END);
	END IF;
END $$;

-- ===========================================================================
-- Queries
-- ===========================================================================

CREATE TYPE bm25query;

CREATE FUNCTION bm25query_in(cstring) RETURNS bm25query
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_in(cstring) IS 'I/O';

CREATE FUNCTION bm25query_out(bm25query) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_out(bm25query) IS 'I/O';

CREATE TYPE bm25query (
	INPUT = bm25query_in,
	OUTPUT = bm25query_out,
	STORAGE = extended
);
COMMENT ON TYPE bm25query IS 'words, or a tsquery, and the bm25 index whose statistics rank by them';

CREATE FUNCTION to_bm25query(text) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'bm25query_from_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION to_bm25query(text) IS 'a query of free words';

CREATE FUNCTION to_bm25query(text, regclass) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'bm25query_from_text' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION to_bm25query(text, regclass) IS 'a query of free words to this index';

CREATE FUNCTION to_bm25query(tsquery) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'bm25query_from_tsquery' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION to_bm25query(tsquery) IS 'a query of a tsquery';

CREATE FUNCTION to_bm25query(tsquery, regclass) RETURNS bm25query
	AS 'MODULE_PATHNAME', 'bm25query_from_tsquery' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION to_bm25query(tsquery, regclass) IS 'a query of a tsquery to this index';

CREATE FUNCTION bm25query_for_index(bm25query, regclass) RETURNS bm25query
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_for_index(bm25query, regclass) IS 'what the planner makes of a query that names no index';

CREATE FUNCTION bm25query_for_index(bm25query, regclass, integer) RETURNS bm25query
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25query_for_index(bm25query, regclass, integer) IS 'the same, with the number of rows that LIMIT asks for';

CREATE CAST (tsquery AS bm25query) WITH FUNCTION to_bm25query(tsquery) AS IMPLICIT;

-- ===========================================================================
-- Operators
-- ===========================================================================

CREATE FUNCTION bm25_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25_support(internal) IS 'planner support: finds the index that a query is about';

CREATE FUNCTION bm25_score(text, bm25query) RETURNS float8
	AS 'MODULE_PATHNAME', 'bm25_text_score' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1600 SUPPORT bm25_support;
COMMENT ON FUNCTION bm25_score(text, bm25query) IS 'implementation of <@> operator';

CREATE FUNCTION bm25_score(text, text) RETURNS float8
	AS 'MODULE_PATHNAME', 'bm25_unresolved_score' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1600 SUPPORT bm25_support;
COMMENT ON FUNCTION bm25_score(text, text) IS 'implementation of <@> operator';

CREATE FUNCTION bm25_score(tsvector, bm25query) RETURNS float8
	AS 'MODULE_PATHNAME', 'bm25_tsvector_score' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 100 SUPPORT bm25_support;
COMMENT ON FUNCTION bm25_score(tsvector, bm25query) IS 'implementation of <@> operator';

CREATE FUNCTION bm25_score(tsvector, text) RETURNS float8
	AS 'MODULE_PATHNAME', 'bm25_unresolved_score' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 100 SUPPORT bm25_support;
COMMENT ON FUNCTION bm25_score(tsvector, text) IS 'implementation of <@> operator';

CREATE FUNCTION bm25_match(text, bm25query) RETURNS boolean
	AS 'MODULE_PATHNAME', 'bm25_text_match' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1600 SUPPORT bm25_support;
COMMENT ON FUNCTION bm25_match(text, bm25query) IS 'implementation of @@ operator';

-- Of a tsvector.  Were it declared so, 'words' in "tsvector @@ 'words'" might be a tsquery or a bm25query.
CREATE FUNCTION bm25_match(anynonarray, bm25query) RETURNS boolean
	AS 'MODULE_PATHNAME', 'bm25_tsvector_match' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 100 SUPPORT bm25_support;
COMMENT ON FUNCTION bm25_match(anynonarray, bm25query) IS 'implementation of @@ operator';

CREATE OPERATOR <@> (LEFTARG = text, RIGHTARG = bm25query, FUNCTION = bm25_score);
COMMENT ON OPERATOR <@> (text, bm25query) IS 'BM25 score, negative: the best rows have the least';
CREATE OPERATOR <@> (LEFTARG = text, RIGHTARG = text, FUNCTION = bm25_score);
COMMENT ON OPERATOR <@> (text, text) IS 'BM25 score of free words, negative: the best rows have the least';
CREATE OPERATOR <@> (LEFTARG = tsvector, RIGHTARG = bm25query, FUNCTION = bm25_score);
COMMENT ON OPERATOR <@> (tsvector, bm25query) IS 'BM25 score, negative: the best rows have the least';
CREATE OPERATOR <@> (LEFTARG = tsvector, RIGHTARG = text, FUNCTION = bm25_score);
COMMENT ON OPERATOR <@> (tsvector, text) IS 'BM25 score of free words, negative: the best rows have the least';
CREATE OPERATOR @@ (LEFTARG = text, RIGHTARG = bm25query, FUNCTION = bm25_match,
	RESTRICT = contsel, JOIN = contjoinsel);
COMMENT ON OPERATOR @@ (text, bm25query) IS 'matches the tsquery, or has one of the words';
CREATE OPERATOR @@ (LEFTARG = anynonarray, RIGHTARG = bm25query, FUNCTION = bm25_match,
	RESTRICT = contsel, JOIN = contjoinsel);
COMMENT ON OPERATOR @@ (anynonarray, bm25query) IS 'matches the tsquery, or has one of the words';

-- ===========================================================================
-- The access method
-- ===========================================================================

CREATE FUNCTION bm25_handler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON FUNCTION bm25_handler(internal) IS 'bm25 index access method handler';

CREATE ACCESS METHOD bm25 TYPE INDEX HANDLER bm25_handler;
COMMENT ON ACCESS METHOD bm25 IS 'bm25 index access method: ranked search for words';

CREATE OPERATOR CLASS text_bm25_ops DEFAULT FOR TYPE text USING bm25 AS
	OPERATOR 1 <@> (text, bm25query) FOR ORDER BY float_ops,
	OPERATOR 2 @@ (text, bm25query);

CREATE OPERATOR CLASS tsvector_bm25_ops DEFAULT FOR TYPE tsvector USING bm25 AS
	OPERATOR 1 <@> (tsvector, bm25query) FOR ORDER BY float_ops,
	OPERATOR 2 @@ (anynonarray, bm25query),
	OPERATOR 3 pg_catalog.@@ (tsvector, tsquery);

CREATE FUNCTION bm25_sparsevec_type(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bm25_sparsevec_type(internal) IS 'tells that an operator class is one of sparse vectors';

CREATE OPERATOR CLASS sparsevec_ip_ops FOR TYPE sparsevec USING bm25 AS
	OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 bm25_sparsevec_type(internal);
COMMENT ON OPERATOR CLASS sparsevec_ip_ops USING bm25 IS 'negative inner product, <#>';

-- ===========================================================================
-- Looking after an index
-- ===========================================================================

CREATE FUNCTION piramid_bm25_info(index regclass,
	OUT text_config text, OUT k1 real, OUT b real, OUT documents bigint, OUT dead_documents bigint,
	OUT head_documents bigint, OUT average_length float8, OUT segments integer, OUT head_pages bigint,
	OUT pages bigint, OUT positions boolean, OUT position_bytes bigint, OUT free_pages bigint) RETURNS record
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION piramid_bm25_info(regclass) IS 'configuration, counts and pages of a bm25 index';

CREATE FUNCTION piramid_bm25_check(index regclass) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION piramid_bm25_check(regclass) IS 'reads a whole bm25 index, and reports what is broken; the number of its documents';

CREATE FUNCTION piramid_bm25_merge(index regclass) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION piramid_bm25_merge(regclass) IS 'makes one segment of a bm25 index, without dead documents';

CREATE FUNCTION piramid_bm25_terms(index regclass, prefix text DEFAULT '', OUT term text, OUT df bigint)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000 ROWS 10000;
COMMENT ON FUNCTION piramid_bm25_terms(regclass, text) IS 'words of a bm25 index that begin with the prefix, and how many documents have each';

CREATE FUNCTION piramid_bm25_prewarm(index regclass) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION piramid_bm25_prewarm(regclass) IS 'reads a bm25 index into shared buffers; the number of its blocks';

-- ===========================================================================
-- Hybrid search
-- ===========================================================================

-- The statement of piramid_hybrid(): $1 is the query, $2 the embedding.  Objects are
-- named with their schemas, so that it works with any search_path.
CREATE FUNCTION piramid_hybrid_statement(rel regclass, text_column text, vector_column text,
	max_rows integer, method text, weight float8, pool integer, filter text, skip integer, rrf_k integer)
RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	text_score text;
	distance text;
	operator text;
	vector_type pg_catalog.oid;
	vector_name text;
	vector_schema text;
	limits bigint := COALESCE(pool, GREATEST(20, 2 * (max_rows::bigint + skip)));
	source text;
	text_part text;
	vector_part text;
BEGIN
	IF rel IS NULL OR text_column IS NULL OR vector_column IS NULL OR method IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'table, columns and method must not be null';
	END IF;
	IF NOT COALESCE(max_rows >= 0 AND skip >= 0 AND rrf_k >= 0 AND limits > 0 AND weight BETWEEN 0 AND 1, false) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'max_rows, skip, rrf_k, pool or weight is out of range',
			HINT = 'weight is the share of the vector leg, from 0 to 1; pool is at least 1, the others at least 0.';
	END IF;
	IF EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = rel AND relkind = 'v') THEN
		RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
			MESSAGE = pg_catalog.format('%s is a view, whose rows have no tid', rel),
			HINT = 'Name the table, and give the view''s condition as filter.';
	END IF;
	SELECT a.atttypid, t.typname, pg_catalog.quote_ident(n.nspname) INTO vector_type, vector_name, vector_schema
	FROM pg_catalog.pg_attribute a
	JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
	JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
	WHERE a.attrelid = rel AND a.attname = vector_column AND a.attnum > 0 AND NOT a.attisdropped
		AND t.typname IN ('vector', 'halfvec', 'sparsevec');
	IF vector_type IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_column',
			MESSAGE = pg_catalog.format('column "%s" of %s is no vector', vector_column, rel),
			HINT = 'The column''s type must be vector, halfvec or sparsevec.';
	END IF;
	-- by the operator of the column's index, or by cosine distance
	SELECT o.oprname INTO operator
	FROM pg_catalog.pg_index i
	JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
	JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname IN ('hnsw', 'ivfflat', 'bm25')
	JOIN pg_catalog.pg_attribute a ON a.attrelid = rel AND a.attname = vector_column
	JOIN pg_catalog.pg_opclass k ON k.oid = ANY (i.indclass) AND k.opcintype = vector_type
	JOIN pg_catalog.pg_amop f ON f.amopfamily = k.opcfamily AND f.amopstrategy = 1 AND f.amoppurpose = 'o'
	JOIN pg_catalog.pg_operator o ON o.oid = f.amopopr
	WHERE i.indrelid = rel AND a.attnum = ANY (i.indkey) AND i.indisvalid
	ORDER BY i.indexrelid LIMIT 1;
	operator := COALESCE(operator, '<=>');
	SELECT pg_catalog.format('%I OPERATOR(%I.<@>) $1', text_column, n.nspname) INTO text_score
	FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
	WHERE e.extname = 'piramid_bm25';
	distance := pg_catalog.format('%1$I OPERATOR(%2$s.%3$s) $2::%2$s.%4$I', vector_column, vector_schema, operator, vector_name);

	CASE method
		WHEN 'score' THEN
			text_part := 's / NULLIF(min(s) OVER (), 0)';
			-- by the largest size, as products may all be negative
			vector_part := CASE operator WHEN '<=>' THEN '1 - d'
				WHEN '<#>' THEN '- d / NULLIF(max(abs(d)) OVER (), 0)'
				ELSE '1 - CASE WHEN d = 0 THEN 0 ELSE d / max(d) OVER () END' END;
		WHEN 'rrf' THEN
			text_part := pg_catalog.format('1.0 / (%s + text_rank)', rrf_k);
			vector_part := pg_catalog.format('1.0 / (%s + vector_rank)', rrf_k);
		WHEN 'minmax' THEN
			text_part := '(max(s) OVER () - s) / NULLIF(max(s) OVER () - min(s) OVER (), 0)';
			vector_part := '(max(d) OVER () - d) / NULLIF(max(d) OVER () - min(d) OVER (), 0)';
		WHEN 'zscore' THEN
			text_part := '(avg(s) OVER () - s) / NULLIF(stddev_pop(s) OVER (), 0)';
			vector_part := '(avg(d) OVER () - d) / NULLIF(stddev_pop(d) OVER (), 0)';
		WHEN 'dbsf' THEN
			text_part := '0.5 + (avg(s) OVER () - s) / NULLIF(6 * stddev_pop(s) OVER (), 0)';
			vector_part := '0.5 + (avg(d) OVER () - d) / NULLIF(6 * stddev_pop(d) OVER (), 0)';
		ELSE
			RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
				MESSAGE = pg_catalog.format('there is no method "%s"', method),
				HINT = 'Methods are score, rrf, minmax, zscore and dbsf.';
	END CASE;

	-- With its schema, so that no WITH hides it.  Distances that are infinite still make finite scores.
	SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) INTO source
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel;
	RETURN pg_catalog.format($f$
WITH words AS MATERIALIZED (
	SELECT part, tid, s, pg_catalog.row_number() OVER (ORDER BY s, part, tid)::integer AS text_rank
	FROM (SELECT tableoid AS part, ctid AS tid, %2$s AS s FROM %1$s WHERE (%4$s
) ORDER BY %2$s LIMIT %5$s) x WHERE s < 0),
vectors AS MATERIALIZED (
	SELECT part, tid, d, pg_catalog.row_number() OVER (ORDER BY d, part, tid)::integer AS vector_rank
	FROM (SELECT tableoid AS part, ctid AS tid, %3$s AS d FROM %1$s WHERE (%4$s
) ORDER BY %3$s LIMIT %5$s) x WHERE d < 'NaN'),
found AS MATERIALIZED (
	SELECT part, tid, s, d, text_rank, vector_rank FROM words FULL JOIN vectors USING (part, tid)),
scored AS MATERIALIZED (
	SELECT part, tid, text_rank, vector_rank, COALESCE(s, row_s, 0) AS s, COALESCE(d, NULLIF(row_d, 'NaN')) AS distance
	FROM found JOIN (SELECT tableoid AS row_part, ctid AS row_tid, %2$s AS row_s, %3$s AS row_d
		FROM %1$s) AS r ON row_tid = tid AND row_part = part)
SELECT tid, (%9$s * COALESCE(%6$s, 0) + %10$s * COALESCE(%7$s, 0))::float8 AS score,
	0 - s, distance, text_rank, vector_rank, part::pg_catalog.regclass
FROM (SELECT *, CASE WHEN abs(distance) > 1e150 THEN sign(distance) * 1e150 ELSE distance END AS d FROM scored) x
ORDER BY score DESC, part, tid LIMIT %8$s OFFSET %11$s$f$,
		source, text_score, distance, COALESCE(filter, 'true'), limits, text_part, vector_part, max_rows,
		1 - weight, weight, skip);
END $$;
COMMENT ON FUNCTION piramid_hybrid_statement(regclass, text, text, integer, text, float8, integer, text, integer, integer)
	IS 'the statement that piramid_hybrid runs: $1 is the query, $2 the embedding';

-- Without a search path of its own: "filter" is SQL of the caller, and is read as the caller would have it.
CREATE FUNCTION piramid_hybrid(rel regclass, text_column text, query text, vector_column text,
	embedding vector, max_rows integer DEFAULT 10, method text DEFAULT 'score', weight float8 DEFAULT 0.5,
	pool integer DEFAULT NULL, filter text DEFAULT NULL, skip integer DEFAULT 0, rrf_k integer DEFAULT 60)
RETURNS TABLE (tid tid, score float8, text_score float8, distance float8, text_rank integer,
	vector_rank integer, part regclass)
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION piramid_hybrid(regclass, text, text, text, vector, integer, text, float8, integer, text, integer, integer)
	IS 'the best rows by words and by vectors together';

CREATE FUNCTION piramid_hybrid_explain(rel regclass, text_column text, query text, vector_column text,
	embedding vector, max_rows integer DEFAULT 10, method text DEFAULT 'score', weight float8 DEFAULT 0.5,
	pool integer DEFAULT NULL, filter text DEFAULT NULL, skip integer DEFAULT 0, rrf_k integer DEFAULT 60,
	options text DEFAULT 'COSTS OFF')
RETURNS SETOF text LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	statement text;
BEGIN
	EXECUTE (SELECT pg_catalog.format('SELECT %I.piramid_hybrid_statement($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)', n.nspname)
		FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
		WHERE e.extname OPERATOR(pg_catalog.=) 'piramid_bm25')
	INTO statement USING rel, text_column, vector_column, max_rows, method, weight, pool, filter, skip, rrf_k;
	RETURN QUERY EXECUTE pg_catalog.format('EXPLAIN (%s) %s', options, statement) USING query, embedding;
END $$;
COMMENT ON FUNCTION piramid_hybrid_explain(regclass, text, text, text, vector, integer, text, float8, integer, text, integer, integer, text)
	IS 'the plan of piramid_hybrid; options are those of EXPLAIN';
