-- What the hnsw scripts share.  Every table that these functions look at has
-- the columns "id int" and "v", which is of any indexed type.

-- A disabled sort counts as dear, and every query would be compiled.
SET jit = off;

-- The type of column v, but with any number of dimensions.
CREATE OR REPLACE FUNCTION column_type(tab regclass) RETURNS text LANGUAGE sql AS $$
	SELECT replace(format_type(atttypid, -1), 'bit', 'varbit') FROM pg_attribute WHERE attrelid = tab AND attname = 'v'
$$;

-- The nearest rows, one after another, read from the index or not.
CREATE OR REPLACE FUNCTION nearest_any(tab regclass, op text, q text, k int, use_index boolean,
	OUT n bigint, OUT id int, OUT distance float8)
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	query text := format('SELECT row_number() OVER (), x.* FROM
		(SELECT id, (v %1$s $1::%3$s)::float8 FROM %2$s ORDER BY v %1$s $1::%3$s LIMIT $2) AS x', op, tab, column_type(tab));
	line text;
	plan text := '';
BEGIN
	PERFORM set_config('enable_indexscan', use_index::text, true),
		set_config('enable_seqscan', (NOT use_index)::text, true),
		set_config('enable_sort', (NOT use_index)::text, true),
		set_config('enable_bitmapscan', 'off', true);
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query USING q, k LOOP
		plan := plan || line || E'\n';
	END LOOP;
	IF use_index <> (plan ~ 'Index Scan') THEN
		RAISE EXCEPTION 'unexpected plan: %', plan;
	END IF;
	RETURN QUERY EXECUTE query USING q, k;
END $$;

-- What piramid_check says of a table's indexes, but for nodes that searches do not find.
CREATE OR REPLACE FUNCTION unsound(tab regclass) RETURNS text LANGUAGE sql AS $$
	WITH indexes AS MATERIALIZED (
		SELECT indexrelid FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
		WHERE indrelid = tab AND amname IN ('hnsw', 'ivfflat') AND indisvalid
	)
	SELECT string_agg(indexrelid::regclass || ': ' || what, '; ') FROM indexes, piramid_check(indexrelid, true)
	WHERE what !~ 'cannot be reached|nodes at random'
$$;

-- Does the index return what a sequential scan returns, every row once, and
-- at the same distances in the same order?  NULL vectors are not indexed, and
-- neither are zero vectors under <=>.  All of piramid_check with it, but where the
-- same index was looked at before: it costs more than the scan.
CREATE OR REPLACE FUNCTION check_scan_any(tab regclass, op text, q text, k int DEFAULT 1000000, seen boolean DEFAULT false)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	finding text;
	got float8[];
	expected float8[];
	rows int;
	ids int;
	place int;
BEGIN
	SELECT array_agg(x.distance ORDER BY x.n), count(x.id), count(DISTINCT x.id)
	INTO got, rows, ids FROM nearest_any(tab, op, q, k, true) AS x;
	EXECUTE format('SELECT array_agg(d ORDER BY d) FROM (SELECT (v %1$s $1::%3$s)::float8 AS d FROM %2$s
		WHERE v IS NOT NULL AND (%1$L <> ''<=>'' OR split_part(v::text, ''/'', 1) ~ ''[1-9]'')
		ORDER BY 1 LIMIT $2) AS x', op, tab, column_type(tab))
	INTO expected USING q, k;
	IF rows <> coalesce(cardinality(expected), 0) OR ids <> rows THEN
		RETURN format('%s rows, %s different ones, %s expected', rows, ids, cardinality(expected));
	END IF;
	IF got IS DISTINCT FROM expected THEN
		FOR place IN 1 .. rows LOOP
			IF got[place] IS DISTINCT FROM expected[place] THEN
				RETURN format('row %s of %s is at %s, not %s', place, rows, got[place], expected[place]);
			END IF;
		END LOOP;
	END IF;
	IF k = 1000000 AND NOT seen THEN
		finding := unsound(tab);
	END IF;
	RETURN coalesce(finding, format('%s rows as expected', rows));
EXCEPTION WHEN internal_error OR index_corrupted THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- The same for vectors, whose queries may be literals.
CREATE OR REPLACE FUNCTION nearest(tab regclass, op text, q vector, k int, use_index boolean,
	OUT n bigint, OUT id int, OUT distance float8)
RETURNS SETOF record LANGUAGE sql AS $$ SELECT * FROM nearest_any(tab, op, q::text, k, use_index) $$;
CREATE OR REPLACE FUNCTION check_scan(tab regclass, op text, q vector, k int DEFAULT 1000000, seen boolean DEFAULT false)
RETURNS text LANGUAGE sql AS $$ SELECT check_scan_any(tab, op, q::text, k, seen) $$;

-- Do the k nearest rows of some rows' vectors come from the index?  "found", or
-- the recall, if it is less than this share.
CREATE OR REPLACE FUNCTION found(tab regclass, op text, which text, share numeric, k int DEFAULT 10)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	q text;
	worst float8;
	hits numeric := 0;
	wanted int := 0;
BEGIN
	FOR q IN EXECUTE format('SELECT v::text FROM %s WHERE %s', tab, which) LOOP
		SELECT max(x.distance), wanted + count(*) INTO worst, wanted FROM nearest_any(tab, op, q, k, false) AS x;
		hits := hits + (SELECT count(*) FROM nearest_any(tab, op, q, k, true) AS x WHERE x.distance <= worst);
	END LOOP;
	RETURN CASE WHEN hits >= share * wanted AND wanted > 0 THEN 'found' ELSE 'recall ' || round(hits / wanted, 4) END;
END $$;

-- How many of some rows are the nearest of their own vector, by the index?
CREATE OR REPLACE FUNCTION found_themselves(tab regclass, op text, which text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	result bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %1$s AS r WHERE (%3$s) AND '
		'(SELECT t.v %2$s r.v FROM %1$s AS t ORDER BY t.v %2$s r.v LIMIT 1) <= r.v %2$s r.v', tab, op, which) INTO result;
	RETURN result;
END $$;
