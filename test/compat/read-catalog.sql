-- What an extension that brings the type vector offers in SQL, one line for
-- each object: kind, identity, properties, separated by tabs.  Read from the
-- catalog, except for index options, which no catalog knows: for those, CREATE
-- INDEX is tried with values that must be refused.
--
--   psql -XAtq -v ON_ERROR_STOP=1 -f read-catalog.sql

-- Names come unqualified, and the library is loaded, so that its settings show.
SELECT set_config('search_path',
		(SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
		 WHERE extname IN ('vector', 'piramid') ORDER BY extname LIMIT 1) || ', pg_catalog', false)
\g /dev/null
SELECT '[1]'::vector
\g /dev/null
SET client_min_messages = warning;

CREATE TEMP VIEW member AS
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e
		ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
	WHERE e.extname IN ('vector', 'piramid');

CREATE TEMP TABLE line (kind text, identity text, properties text);

INSERT INTO line
SELECT CASE prokind WHEN 'f' THEN 'function' WHEN 'a' THEN 'aggregate' ELSE prokind::text END,
	p.oid::regprocedure,
	concat_ws('; ', 'returns ' || CASE WHEN proretset THEN 'setof ' ELSE '' END || format_type(prorettype, NULL),
		CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
		CASE WHEN proisstrict THEN 'strict' ELSE 'called on null' END,
		'parallel ' || CASE proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END,
		'cost ' || procost,
		CASE WHEN proleakproof THEN 'leakproof' END,
		CASE WHEN prosecdef THEN 'security definer' END,
		CASE WHEN prosupport <> 0 THEN 'support ' || prosupport::regproc END,
		'transition ' || aggtransfn::regproc,
		'state ' || format_type(aggtranstype, NULL),
		'final ' || nullif(aggfinalfn, 0)::regproc,
		'combine ' || nullif(aggcombinefn, 0)::regproc,
		'serial ' || nullif(aggserialfn, 0)::regproc,
		'initial ' || agginitval,
		'sort operator ' || nullif(aggsortop, 0)::regoperator)
FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid
	LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid;

INSERT INTO line
SELECT 'type', format_type(oid, NULL),
	concat_ws('; ', 'input ' || typinput, 'output ' || typoutput, 'receive ' || typreceive, 'send ' || typsend,
		'typmod in ' || nullif(typmodin, 0)::regproc, 'typmod out ' || nullif(typmodout, 0)::regproc,
		'analyze ' || nullif(typanalyze, 0)::regproc, 'subscript ' || nullif(typsubscript, 0)::regproc,
		'length ' || typlen, CASE WHEN typbyval THEN 'by value' ELSE 'by reference' END,
		'alignment ' || typalign::text, 'storage ' || typstorage::text, 'category ' || typcategory::text,
		CASE WHEN typispreferred THEN 'preferred' END, 'delimiter ' || typdelim::text)
FROM member JOIN pg_type ON classid = 'pg_type'::regclass AND objid = oid
WHERE typcategory <> 'A';	-- array types are members since 17

INSERT INTO line
SELECT 'cast', format('%s as %s', format_type(castsource, NULL), format_type(casttarget, NULL)),
	concat_ws('; ', coalesce(nullif(castfunc, 0)::regprocedure::text, 'method ' || castmethod::text),
		CASE castcontext WHEN 'i' THEN 'implicit' WHEN 'a' THEN 'assignment' ELSE 'explicit' END)
FROM member JOIN pg_cast c ON classid = 'pg_cast'::regclass AND objid = c.oid;

INSERT INTO line
SELECT 'operator', o.oid::regoperator,
	concat_ws('; ', 'returns ' || format_type(oprresult, NULL), oprcode::oid::regprocedure,
		'commutator ' || nullif(oprcom, 0)::regoperator, 'negator ' || nullif(oprnegate, 0)::regoperator,
		'restrict ' || nullif(oprrest, 0)::regproc, 'join ' || nullif(oprjoin, 0)::regproc,
		CASE WHEN oprcanhash THEN 'hashes' END, CASE WHEN oprcanmerge THEN 'merges' END)
FROM member JOIN pg_operator o ON classid = 'pg_operator'::regclass AND objid = o.oid;

INSERT INTO line
SELECT 'access method', amname, CASE amtype WHEN 'i' THEN 'index' ELSE 'table' END
FROM member JOIN pg_am ON classid = 'pg_am'::regclass AND objid = oid;

INSERT INTO line
SELECT 'operator family', format('%s using %s', opfname, amname), ''
FROM member JOIN pg_opfamily f ON classid = 'pg_opfamily'::regclass AND objid = f.oid
	JOIN pg_am ON pg_am.oid = opfmethod;

INSERT INTO line
SELECT 'operator class', format('%s using %s', opcname, amname),
	concat_ws('; ', 'for ' || format_type(opcintype, NULL), 'family ' || opfname,
		CASE WHEN opcdefault THEN 'default' END, 'stores ' || format_type(nullif(opckeytype, 0), NULL),
		(SELECT string_agg(format('%s %s for %s', amopstrategy, amopopr::regoperator,
					CASE amoppurpose WHEN 'o' THEN 'order by ' || (SELECT opfname FROM pg_opfamily s WHERE s.oid = amopsortfamily)
						ELSE 'search' END), '; ' ORDER BY amopstrategy)
		 FROM pg_amop WHERE amopfamily = f.oid AND amoplefttype = opcintype AND amoprighttype = opcintype))
FROM member JOIN pg_opclass c ON classid = 'pg_opclass'::regclass AND objid = c.oid
	JOIN pg_opfamily f ON f.oid = opcfamily JOIN pg_am ON pg_am.oid = opcmethod;

INSERT INTO line
SELECT 'support functions', format('%s using %s', opcname, amname),
	string_agg(amprocnum || ' ' || amproc::oid::regprocedure, '; ' ORDER BY amprocnum)
FROM member JOIN pg_opclass c ON classid = 'pg_opclass'::regclass AND objid = c.oid
	JOIN pg_am ON pg_am.oid = opcmethod
	JOIN pg_amproc ON amprocfamily = opcfamily AND amproclefttype = opcintype AND amprocrighttype = opcintype
GROUP BY 2;

INSERT INTO line
SELECT 'setting', name,
	concat_ws('; ', vartype, 'default ' || boot_val, 'from ' || min_val || ' to ' || max_val,
		'one of ' || array_to_string(enumvals, ', '), 'unit ' || unit, 'context ' || context)
FROM pg_settings WHERE name ~ '^(hnsw|ivfflat|vector|piramid)\.';

-- Ranges of index options, as the error tells them.  The defaults of hnsw show
-- in what "ef_construction is at least 2 * m" refuses when only one is given.
CREATE TEMP TABLE t (v vector(3));

CREATE FUNCTION pg_temp.accepts(method text, options text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE INDEX i ON t USING %s (v vector_l2_ops) WITH (%s)', method, options);
	DROP INDEX i;
EXCEPTION WHEN undefined_object THEN
	detail := NULL;
	WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	detail := coalesce(nullif(detail, ''), SQLERRM);
END $$;

INSERT INTO line
SELECT 'index option', format('%s using %s', name, method),
	concat_ws('; ', regexp_replace(detail, '.*"(.*)" and "(.*)".*', 'from \1 to \2'), 'default ' || CASE
		WHEN name = 'm' THEN (SELECT min(i) / 2 FROM generate_series(4, 200) i
			WHERE pg_temp.accepts(method, format('ef_construction = %s', i)) IS NULL)
		WHEN name = 'ef_construction' THEN (SELECT max(i) * 2 FROM generate_series(2, 100) i
			WHERE pg_temp.accepts(method, format('m = %s', i)) IS NULL)
	END)
FROM (VALUES ('hnsw', 'm'), ('hnsw', 'ef_construction'), ('ivfflat', 'lists')) AS o(method, name),
	pg_temp.accepts(method, format('%s = -1', name))
WHERE detail IS NOT NULL;

SELECT concat_ws(E'\t', kind, identity, properties) FROM line
ORDER BY kind COLLATE "C", identity COLLATE "C";
