-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION vector" to load this file. \quit

-- Where the extension piramid is, its objects serve; the dependency keeps them.  Operators are those of
-- pg_catalog by name: this runs as a superuser, and the schema may have others, of whoever made it.
DO $vector$
DECLARE
	schema pg_catalog.regnamespace := (SELECT extnamespace FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'piramid');
BEGIN
	IF schema IS NOT NULL THEN
		INSERT INTO pg_catalog.pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
			SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, v.oid, 0, 'pg_catalog.pg_extension'::pg_catalog.regclass, p.oid, 0, 'n'
			FROM pg_catalog.pg_extension v, pg_catalog.pg_extension p
			WHERE v.extname OPERATOR(pg_catalog.=) 'vector' AND p.extname OPERATOR(pg_catalog.=) 'piramid';
		IF schema::pg_catalog.oid OPERATOR(pg_catalog.<>) pg_catalog.current_schema()::pg_catalog.regnamespace::pg_catalog.oid THEN
			RAISE WARNING 'the types of extension "vector" are those of extension "piramid" in schema %', schema;
		END IF;
		RETURN;
	END IF;
	EXECUTE $piramid$
