-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION piramid UPDATE TO '0.3.0'" to load this file. \quit

-- ===========================================================================
-- hnsw: filter columns
-- ===========================================================================

CREATE FUNCTION hnsw_int2_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_int2_key(internal) IS 'hnsw support: filter column of smallint';

CREATE FUNCTION hnsw_int4_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_int4_key(internal) IS 'hnsw support: filter column of integer';

CREATE FUNCTION hnsw_int8_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_int8_key(internal) IS 'hnsw support: filter column of bigint';

CREATE FUNCTION hnsw_bool_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_bool_key(internal) IS 'hnsw support: filter column of boolean';

CREATE FUNCTION hnsw_char_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_char_key(internal) IS 'hnsw support: filter column of "char"';

CREATE FUNCTION hnsw_oid_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_oid_key(internal) IS 'hnsw support: filter column of oid';

CREATE FUNCTION hnsw_float4_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_float4_key(internal) IS 'hnsw support: filter column of real';

CREATE FUNCTION hnsw_float8_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_float8_key(internal) IS 'hnsw support: filter column of double precision';

CREATE FUNCTION hnsw_date_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_date_key(internal) IS 'hnsw support: filter column of date';

CREATE FUNCTION hnsw_time_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_time_key(internal) IS 'hnsw support: filter column of time';

CREATE FUNCTION hnsw_timestamp_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_timestamp_key(internal) IS 'hnsw support: filter column of timestamp';

CREATE FUNCTION hnsw_uuid_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_uuid_key(internal) IS 'hnsw support: filter column of uuid';

CREATE FUNCTION hnsw_enum_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_enum_key(internal) IS 'hnsw support: filter column of enumerations';

CREATE FUNCTION hnsw_text_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_text_key(internal) IS 'hnsw support: filter column of text';

CREATE FUNCTION hnsw_bpchar_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_bpchar_key(internal) IS 'hnsw support: filter column of character(n)';

CREATE FUNCTION hnsw_name_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_name_key(internal) IS 'hnsw support: filter column of name';

CREATE FUNCTION hnsw_numeric_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_numeric_key(internal) IS 'hnsw support: filter column of numeric';

CREATE FUNCTION hnsw_int2_array_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_int2_array_key(internal) IS 'hnsw support: filter column of smallint[]';

CREATE FUNCTION hnsw_int4_array_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_int4_array_key(internal) IS 'hnsw support: filter column of integer[]';

CREATE FUNCTION hnsw_int8_array_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_int8_array_key(internal) IS 'hnsw support: filter column of bigint[]';

CREATE FUNCTION hnsw_text_array_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_text_array_key(internal) IS 'hnsw support: filter column of text[]';

CREATE FUNCTION hnsw_uuid_array_key(internal) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION hnsw_uuid_array_key(internal) IS 'hnsw support: filter column of uuid[]';

CREATE OPERATOR FAMILY integer_key_ops USING hnsw;

CREATE OPERATOR CLASS int2_key_ops
	DEFAULT FOR TYPE int2 USING hnsw FAMILY integer_key_ops AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_int2_key(internal);
COMMENT ON OPERATOR CLASS int2_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS int4_key_ops
	DEFAULT FOR TYPE int4 USING hnsw FAMILY integer_key_ops AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_int4_key(internal);
COMMENT ON OPERATOR CLASS int4_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS int8_key_ops
	DEFAULT FOR TYPE int8 USING hnsw FAMILY integer_key_ops AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_int8_key(internal);
COMMENT ON OPERATOR CLASS int8_key_ops USING hnsw IS 'filter column: comparisons';

ALTER OPERATOR FAMILY integer_key_ops USING hnsw ADD
	OPERATOR 3 < (int2, int4),
	OPERATOR 4 <= (int2, int4),
	OPERATOR 5 = (int2, int4),
	OPERATOR 6 >= (int2, int4),
	OPERATOR 7 > (int2, int4),
	OPERATOR 3 < (int2, int8),
	OPERATOR 4 <= (int2, int8),
	OPERATOR 5 = (int2, int8),
	OPERATOR 6 >= (int2, int8),
	OPERATOR 7 > (int2, int8),
	OPERATOR 3 < (int4, int2),
	OPERATOR 4 <= (int4, int2),
	OPERATOR 5 = (int4, int2),
	OPERATOR 6 >= (int4, int2),
	OPERATOR 7 > (int4, int2),
	OPERATOR 3 < (int4, int8),
	OPERATOR 4 <= (int4, int8),
	OPERATOR 5 = (int4, int8),
	OPERATOR 6 >= (int4, int8),
	OPERATOR 7 > (int4, int8),
	OPERATOR 3 < (int8, int2),
	OPERATOR 4 <= (int8, int2),
	OPERATOR 5 = (int8, int2),
	OPERATOR 6 >= (int8, int2),
	OPERATOR 7 > (int8, int2),
	OPERATOR 3 < (int8, int4),
	OPERATOR 4 <= (int8, int4),
	OPERATOR 5 = (int8, int4),
	OPERATOR 6 >= (int8, int4),
	OPERATOR 7 > (int8, int4);

CREATE OPERATOR FAMILY float_key_ops USING hnsw;

CREATE OPERATOR CLASS float4_key_ops
	DEFAULT FOR TYPE float4 USING hnsw FAMILY float_key_ops AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_float4_key(internal);
COMMENT ON OPERATOR CLASS float4_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS float8_key_ops
	DEFAULT FOR TYPE float8 USING hnsw FAMILY float_key_ops AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_float8_key(internal);
COMMENT ON OPERATOR CLASS float8_key_ops USING hnsw IS 'filter column: comparisons';

ALTER OPERATOR FAMILY float_key_ops USING hnsw ADD
	OPERATOR 3 < (float4, float8),
	OPERATOR 4 <= (float4, float8),
	OPERATOR 5 = (float4, float8),
	OPERATOR 6 >= (float4, float8),
	OPERATOR 7 > (float4, float8),
	OPERATOR 3 < (float8, float4),
	OPERATOR 4 <= (float8, float4),
	OPERATOR 5 = (float8, float4),
	OPERATOR 6 >= (float8, float4),
	OPERATOR 7 > (float8, float4);

CREATE OPERATOR CLASS bool_key_ops
	DEFAULT FOR TYPE bool USING hnsw AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_bool_key(internal);
COMMENT ON OPERATOR CLASS bool_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS char_key_ops
	DEFAULT FOR TYPE "char" USING hnsw AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_char_key(internal);
COMMENT ON OPERATOR CLASS char_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS oid_key_ops
	DEFAULT FOR TYPE oid USING hnsw AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_oid_key(internal);
COMMENT ON OPERATOR CLASS oid_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS date_key_ops
	DEFAULT FOR TYPE date USING hnsw AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_date_key(internal);
COMMENT ON OPERATOR CLASS date_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS time_key_ops
	DEFAULT FOR TYPE time USING hnsw AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_time_key(internal);
COMMENT ON OPERATOR CLASS time_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS timestamp_key_ops
	DEFAULT FOR TYPE timestamp USING hnsw AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_timestamp_key(internal);
COMMENT ON OPERATOR CLASS timestamp_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS timestamptz_key_ops
	DEFAULT FOR TYPE timestamptz USING hnsw AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_timestamp_key(internal);
COMMENT ON OPERATOR CLASS timestamptz_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS uuid_key_ops
	DEFAULT FOR TYPE uuid USING hnsw AS
	OPERATOR 3 <,
	OPERATOR 4 <=,
	OPERATOR 5 =,
	OPERATOR 6 >=,
	OPERATOR 7 >,
	FUNCTION 4 hnsw_uuid_key(internal);
COMMENT ON OPERATOR CLASS uuid_key_ops USING hnsw IS 'filter column: comparisons';

CREATE OPERATOR CLASS enum_key_ops
	DEFAULT FOR TYPE anyenum USING hnsw AS
	OPERATOR 5 = (anyenum, anyenum),
	FUNCTION 4 hnsw_enum_key(internal);
COMMENT ON OPERATOR CLASS enum_key_ops USING hnsw IS 'filter column: equality';

CREATE OPERATOR CLASS text_key_ops
	DEFAULT FOR TYPE text USING hnsw AS
	OPERATOR 5 = (text, text),
	FUNCTION 4 hnsw_text_key(internal);
COMMENT ON OPERATOR CLASS text_key_ops USING hnsw IS 'filter column: equality, by hash';

CREATE OPERATOR CLASS bpchar_key_ops
	DEFAULT FOR TYPE bpchar USING hnsw AS
	OPERATOR 5 = (bpchar, bpchar),
	FUNCTION 4 hnsw_bpchar_key(internal);
COMMENT ON OPERATOR CLASS bpchar_key_ops USING hnsw IS 'filter column: equality, by hash';

CREATE OPERATOR CLASS name_key_ops
	DEFAULT FOR TYPE name USING hnsw AS
	OPERATOR 5 = (name, name),
	OPERATOR 5 = (name, text),
	FUNCTION 4 hnsw_name_key(internal);
COMMENT ON OPERATOR CLASS name_key_ops USING hnsw IS 'filter column: equality, by hash';

CREATE OPERATOR CLASS numeric_key_ops
	DEFAULT FOR TYPE numeric USING hnsw AS
	OPERATOR 5 = (numeric, numeric),
	FUNCTION 4 hnsw_numeric_key(internal);
COMMENT ON OPERATOR CLASS numeric_key_ops USING hnsw IS 'filter column: equality, by hash';

CREATE OPERATOR CLASS int2_array_key_ops
	DEFAULT FOR TYPE int2[] USING hnsw AS
	OPERATOR 5 = (anyarray, anyarray),
	OPERATOR 8 && (anyarray, anyarray),
	OPERATOR 9 @> (anyarray, anyarray),
	FUNCTION 4 hnsw_int2_array_key(internal);
COMMENT ON OPERATOR CLASS int2_array_key_ops USING hnsw IS 'filter column: equality, overlap and containment, by signature';

CREATE OPERATOR CLASS int4_array_key_ops
	DEFAULT FOR TYPE int4[] USING hnsw AS
	OPERATOR 5 = (anyarray, anyarray),
	OPERATOR 8 && (anyarray, anyarray),
	OPERATOR 9 @> (anyarray, anyarray),
	FUNCTION 4 hnsw_int4_array_key(internal);
COMMENT ON OPERATOR CLASS int4_array_key_ops USING hnsw IS 'filter column: equality, overlap and containment, by signature';

CREATE OPERATOR CLASS int8_array_key_ops
	DEFAULT FOR TYPE int8[] USING hnsw AS
	OPERATOR 5 = (anyarray, anyarray),
	OPERATOR 8 && (anyarray, anyarray),
	OPERATOR 9 @> (anyarray, anyarray),
	FUNCTION 4 hnsw_int8_array_key(internal);
COMMENT ON OPERATOR CLASS int8_array_key_ops USING hnsw IS 'filter column: equality, overlap and containment, by signature';

CREATE OPERATOR CLASS text_array_key_ops
	DEFAULT FOR TYPE text[] USING hnsw AS
	OPERATOR 5 = (anyarray, anyarray),
	OPERATOR 8 && (anyarray, anyarray),
	OPERATOR 9 @> (anyarray, anyarray),
	FUNCTION 4 hnsw_text_array_key(internal);
COMMENT ON OPERATOR CLASS text_array_key_ops USING hnsw IS 'filter column: equality, overlap and containment, by signature';

CREATE OPERATOR CLASS uuid_array_key_ops
	DEFAULT FOR TYPE uuid[] USING hnsw AS
	OPERATOR 5 = (anyarray, anyarray),
	OPERATOR 8 && (anyarray, anyarray),
	OPERATOR 9 @> (anyarray, anyarray),
	FUNCTION 4 hnsw_uuid_array_key(internal);
COMMENT ON OPERATOR CLASS uuid_array_key_ops USING hnsw IS 'filter column: equality, overlap and containment, by signature';

-- ===========================================================================
-- hnsw: what key pages say
-- ===========================================================================

CREATE FUNCTION piramid_hnsw_keys(
	index regclass,
	OUT key_columns integer,
	OUT key_size integer,
	OUT key_pages bigint,
	OUT entries bigint,
	OUT exact bigint,
	OUT several bigint,
	OUT unknown bigint,
	OUT absent bigint,
	OUT sketch_bits integer,
	OUT sketches bigint
)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION piramid_hnsw_keys(regclass) IS 'filter columns of an hnsw index, and its key pages; checks that these say what the nodes have';

-- ===========================================================================
-- results
-- ===========================================================================

CREATE FUNCTION piramid_mmr(
	query vector,
	candidates vector[],
	k integer DEFAULT 10,
	lambda double precision DEFAULT 0.5,
	OUT place integer,
	OUT score double precision
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'vector_mmr' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION piramid_mmr(vector, vector[], integer, double precision) IS 'which of an array of candidates are near the query and unlike each other, by maximal marginal relevance';

CREATE FUNCTION piramid_mmr(
	query halfvec,
	candidates halfvec[],
	k integer DEFAULT 10,
	lambda double precision DEFAULT 0.5,
	OUT place integer,
	OUT score double precision
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'halfvec_mmr' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION piramid_mmr(halfvec, halfvec[], integer, double precision) IS 'which of an array of candidates are near the query and unlike each other, by maximal marginal relevance';

CREATE FUNCTION piramid_mmr(
	query sparsevec,
	candidates sparsevec[],
	k integer DEFAULT 10,
	lambda double precision DEFAULT 0.5,
	OUT place integer,
	OUT score double precision
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'sparsevec_mmr' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION piramid_mmr(sparsevec, sparsevec[], integer, double precision) IS 'which of an array of candidates are near the query and unlike each other, by maximal marginal relevance';

-- ===========================================================================
-- texts in chunks
-- ===========================================================================

CREATE FUNCTION piramid_chunk(
	body text,
	strategy text DEFAULT 'recursive',
	size integer DEFAULT 1000,
	overlap integer DEFAULT NULL,
	unit text DEFAULT 'chars',
	OUT ordinal integer,
	OUT parent integer,
	OUT start integer,
	OUT length integer,
	OUT text text,
	OUT heading_path text[]
)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 ROWS 20;
COMMENT ON FUNCTION piramid_chunk(text, text, integer, integer, text) IS 'chunks of a text, with their places in it';

-- ===========================================================================
-- hnsw: what scans do
-- ===========================================================================

CREATE FUNCTION piramid_last_scan(
	OUT index regclass,
	OUT nodes bigint,
	OUT estimates bigint,
	OUT filter_rejects bigint,
	OUT width integer,
	OUT key_pages bigint,
	OUT sketch_pages bigint,
	OUT exact_pass text,
	OUT selectivity double precision,
	OUT rows bigint,
	OUT late_rows bigint,
	OUT bounded boolean
) RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION piramid_last_scan() IS 'what the last scan of an hnsw index in this session did';

-- ===========================================================================
-- hnsw: recall
-- ===========================================================================

CREATE FUNCTION piramid_recall(
	index regclass,
	queries integer DEFAULT 100,
	k integer DEFAULT 10,
	filter text DEFAULT NULL,
	OUT recall double precision,
	OUT low double precision,
	OUT high double precision,
	OUT ms_index double precision,
	OUT ms_exact double precision,
	OUT width integer
)
	AS 'MODULE_PATHNAME', 'piramid_recall_rows' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION piramid_recall(regclass, integer, integer, text) IS 'share of the true nearest rows that an hnsw index finds, asked with rows of the table; reads all of the table';

CREATE FUNCTION piramid_recall(
	index regclass,
	queries anyarray,
	k integer DEFAULT 10,
	filter text DEFAULT NULL,
	OUT recall double precision,
	OUT low double precision,
	OUT high double precision,
	OUT ms_index double precision,
	OUT ms_exact double precision,
	OUT width integer
)
	AS 'MODULE_PATHNAME', 'piramid_recall_queries' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION piramid_recall(regclass, anyarray, integer, text) IS 'the same, asked with an array of queries';

CREATE FUNCTION piramid_calibrate(
	index regclass,
	OUT k integer,
	OUT width integer,
	OUT recall real,
	OUT error real,
	OUT nodes real
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'piramid_calibrate_rows' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION piramid_calibrate(regclass) IS 'measure the recall of an hnsw index by the width of its searches, with rows of the table, for hnsw.target_recall';

CREATE FUNCTION piramid_calibrate(
	index regclass,
	queries anyarray,
	OUT k integer,
	OUT width integer,
	OUT recall real,
	OUT error real,
	OUT nodes real
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'piramid_calibrate_queries' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION piramid_calibrate(regclass, anyarray) IS 'the same, with an array of queries';

CREATE FUNCTION piramid_calibration(
	index regclass,
	OUT k integer,
	OUT width integer,
	OUT recall real,
	OUT error real,
	OUT nodes real
) RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION piramid_calibration(regclass) IS 'what piramid_calibrate has measured of an hnsw index';

CREATE FUNCTION piramid_recommend(
	index regclass,
	target double precision,
	k integer DEFAULT 10,
	OUT ef_search integer,
	OUT recall double precision,
	OUT nodes double precision,
	OUT ms double precision,
	OUT bytes bigint,
	OUT note text
)
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION piramid_recommend(regclass, double precision, integer) IS 'the hnsw.ef_search that a calibrated index needs for a recall, and what a search then costs';

CREATE FUNCTION piramid_within(
	index regclass,
	query anyelement,
	radius double precision,
	filter text DEFAULT NULL,
	OUT tid tid,
	OUT distance double precision
) RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION piramid_within(regclass, anyelement, double precision, text) IS 'places (ctid) of the rows up to a distance from a query, as an hnsw index finds them, and their distances';

-- ===========================================================================
-- Checking and repairing an index
-- ===========================================================================

CREATE FUNCTION piramid_check(
	index regclass,
	heapallindexed boolean DEFAULT false,
	sample double precision DEFAULT 1.0,
	OUT severity text,
	OUT block bigint,
	OUT slot integer,
	OUT what text,
	OUT hint text
)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 10 COST 100000;
COMMENT ON FUNCTION piramid_check(regclass, boolean, double precision) IS 'what is wrong with an index, a row for each finding; reads its pages, and with heapallindexed the table';
REVOKE ALL ON FUNCTION piramid_check(regclass, boolean, double precision) FROM PUBLIC;

CREATE FUNCTION piramid_repair(
	index regclass,
	OUT what text,
	OUT count bigint
)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 10 COST 100000;
COMMENT ON FUNCTION piramid_repair(regclass) IS 'mend what needs no REINDEX of what piramid_check finds; a row for each kind of thing done';
REVOKE ALL ON FUNCTION piramid_repair(regclass) FROM PUBLIC;
