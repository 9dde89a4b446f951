-- The tables of types.md and operators.md, from the catalog and its comments:
-- one line for each line of a table, after the table's name and a tab.
-- docs/generate runs it in a database that has the extension.

CREATE TEMP VIEW member AS
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e
		ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
	WHERE e.extname = 'piramid';

SELECT set_config('search_path', quote_ident(nspname) || ', pg_catalog', false)
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'piramid'
\g /dev/null
SELECT '[1]'::vector
\g /dev/null

CREATE FUNCTION pg_temp.code(text) RETURNS text LANGUAGE sql AS
	$$ SELECT '`' || replace($1, '|', '\|') || '`' $$;

-- Several names, each once; the types in the order in which they are introduced.
CREATE FUNCTION pg_temp.codes(names text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(pg_temp.code(name), ', '
		ORDER BY array_position('{vector,halfvec,sparsevec,bit}', split_part(name, '_', 1)), name)
	FROM (SELECT DISTINCT unnest(names) AS name) AS n
$$;

CREATE FUNCTION pg_temp.is_ours(type oid) RETURNS boolean LANGUAGE sql AS
	$$ SELECT $1 IN ('vector'::regtype, 'halfvec'::regtype, 'sparsevec'::regtype, 'bit'::regtype) $$;

-- A function's arguments, with T for any of the types.
CREATE FUNCTION pg_temp.signature(f pg_proc) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s(%s)', f.proname, string_agg(
		CASE WHEN pg_temp.is_ours(a) THEN 'T' ELSE format_type(a, NULL) END, ', ' ORDER BY n))
	FROM unnest(f.proargtypes) WITH ORDINALITY AS a(a, n)
$$;

CREATE TEMP TABLE line (name text, n serial, text text);

INSERT INTO line (name, text) VALUES
	('casts', '| to | from | when |'), ('casts', '|---|---|---|');
INSERT INTO line (name, text)
SELECT 'casts', format('| %s | %s | %s |', pg_temp.code(format_type(casttarget, NULL)),
	pg_temp.codes(array_agg(format_type(castsource, NULL))), kind)
FROM member JOIN pg_cast c ON classid = 'pg_cast'::regclass AND objid = c.oid,
	LATERAL (SELECT CASE castcontext WHEN 'i' THEN 'implicitly, everywhere'
		WHEN 'a' THEN 'on assignment (INSERT, UPDATE), or explicitly' ELSE 'explicitly' END) AS k(kind)
WHERE castsource <> casttarget
GROUP BY casttarget, castcontext, kind
ORDER BY array_position('{vector,halfvec,sparsevec}', format_type(casttarget, NULL)), castcontext DESC;

INSERT INTO line (name, text) VALUES
	('distances', '| operator | result | types | function | operator classes |'), ('distances', '|---|---|---|---|---|');
INSERT INTO line (name, text)
SELECT 'distances', format('| %s | %s | %s | %s | %s |', pg_temp.code(oprname), obj_description(min(o.oid), 'pg_operator'),
	pg_temp.codes(array_agg(format_type(oprleft, NULL))), pg_temp.codes(array_agg(proname::text)),
	pg_temp.codes(array_agg(opcname::text)))
FROM member JOIN pg_operator o ON classid = 'pg_operator'::regclass AND objid = o.oid
	JOIN pg_proc p ON p.oid = oprcode
	JOIN pg_amop ON amopopr = o.oid AND amoppurpose = 'o'
	JOIN pg_opclass ON opcfamily = amopfamily
GROUP BY oprname
ORDER BY min(o.oid);

INSERT INTO line (name, text) VALUES
	('operators', '| operator | result | types | description |'), ('operators', '|---|---|---|---|');
INSERT INTO line (name, text)
SELECT 'operators', format('| %s | %s | %s | %s |', pg_temp.code('T ' || oprname || ' T'),
	pg_temp.code(CASE WHEN oprresult = oprleft THEN 'T' ELSE format_type(oprresult, NULL) END),
	pg_temp.codes(array_agg(format_type(oprleft, NULL))), description)
FROM member JOIN pg_operator o ON classid = 'pg_operator'::regclass AND objid = o.oid,
	obj_description(o.oid, 'pg_operator') AS description
WHERE NOT EXISTS (SELECT FROM pg_amop WHERE amopopr = o.oid AND amoppurpose = 'o')
GROUP BY oprname, oprresult = oprleft, CASE WHEN oprresult = oprleft THEN 'T' ELSE format_type(oprresult, NULL) END, description
ORDER BY array_position('{+,-,*,||,<,<=,=,<>,>=,>}', oprname::text);

-- What a function is there for, if not to be called by name.
CREATE TEMP VIEW function AS
	SELECT p.*, p.oid AS id, pg_temp.signature(p) AS signature, description,
		CASE WHEN prokind = 'a' THEN 'aggregate'
			WHEN prorettype = 'index_am_handler'::regtype THEN 'access methods'
			WHEN description ~ '^hnsw support' THEN 'hnsw operator classes'
			WHEN description ~ '^I/O' THEN 'input and output'
			WHEN description ~ '^implementation of' THEN 'operators'
			WHEN description ~ '^aggregate' THEN 'aggregates'
			WHEN description ~ '^less-equal' THEN 'btree operator classes'
			WHEN EXISTS (SELECT FROM pg_cast WHERE castfunc = p.oid) THEN 'casts'
			ELSE '' END AS use
	FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid,
		obj_description(p.oid, 'pg_proc') AS description;

INSERT INTO line (name, text)
SELECT name, text FROM (VALUES ('functions'), ('aggregates')) AS n(name),
	(VALUES (1, '| function | result | types | description |'), (2, '|---|---|---|---|')) AS h(i, text)
ORDER BY i;
INSERT INTO line (name, text)
SELECT CASE use WHEN '' THEN 'functions' ELSE 'aggregates' END,
	format('| %s | %s | %s | %s |', pg_temp.code(signature), pg_temp.code(result), coalesce(pg_temp.codes(array_agg(type)), ''), description)
FROM (SELECT id, use, signature, description,
		CASE WHEN pg_temp.is_ours(prorettype) AND prorettype = proargtypes[0] THEN 'T' ELSE format_type(prorettype, NULL) END AS result,
		CASE WHEN pg_temp.is_ours(proargtypes[0]) THEN format_type(proargtypes[0], NULL) END AS type
	FROM function WHERE use IN ('', 'aggregate')) AS f
GROUP BY use, signature, result, description
ORDER BY max(type) IS NULL, min(id);

INSERT INTO line (name, text) VALUES
	('support functions', '| for | functions |'), ('support functions', '|---|---|');
INSERT INTO line (name, text)
SELECT 'support functions', format('| %s | %s |', use, pg_temp.codes(array_agg(proname::text)))
FROM function WHERE use NOT IN ('', 'aggregate')
GROUP BY use ORDER BY min(id);

INSERT INTO line (name, text) VALUES
	('operator classes', '| operator class | type | access methods | description |'), ('operator classes', '|---|---|---|---|');
INSERT INTO line (name, text)
SELECT 'operator classes', format('| %s | %s | %s | %s |', pg_temp.code(opcname), pg_temp.code(format_type(opcintype, NULL)),
	string_agg(pg_temp.code(amname) || CASE WHEN opcdefault THEN ' (default)' ELSE '' END, ', ' ORDER BY c.oid),
	regexp_replace(obj_description(min(c.oid), 'pg_opclass'), '<.*>', '`\&`'))
FROM member JOIN pg_opclass c ON classid = 'pg_opclass'::regclass AND objid = c.oid JOIN pg_am ON pg_am.oid = opcmethod
GROUP BY opcname, opcintype
ORDER BY bool_or(amname = 'btree') DESC, min(c.oid);

INSERT INTO line (name, text) VALUES
	('settings', '| setting | type | default | values | what it does |'), ('settings', '|---|---|---|---|---|');
INSERT INTO line (name, text)
SELECT 'settings', format('| %s | %s | %s | %s | %s |', pg_temp.code(name), vartype, boot_val,
	coalesce(array_to_string(enumvals, ', '), min_val || ' to ' || max_val),
	short_desc || coalesce(' ' || extra_desc, '') || CASE context WHEN 'superuser' THEN ' For superusers.' ELSE '' END)
FROM pg_settings WHERE name ~ '^(hnsw|ivfflat|piramid)\.'
ORDER BY split_part(name, '.', 1), name;

SELECT name || E'\t' || text FROM line ORDER BY name, n;
