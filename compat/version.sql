-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION vector UPDATE" to load this file. \quit

-- All versions of this extension have the same objects; but pgvector's, where
-- its database has met our files, are not those.
DO $vector$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_depend d
				ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
			JOIN pg_catalog.pg_extension e
				ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) e.oid
			WHERE e.extname OPERATOR(pg_catalog.=) 'vector' AND p.probin OPERATOR(pg_catalog.<>) 'MODULE_PATHNAME') THEN
		RAISE EXCEPTION 'extension "vector" of this database is pgvector'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'See docs/migrate-from-pgvector.md: the extension piramid_move moves it.';
	END IF;
END
$vector$;
