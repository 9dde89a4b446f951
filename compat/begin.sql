-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION vector" to load this file. \quit

-- Where the extension piramid is, its objects serve; the dependency keeps them.
DO $vector$
DECLARE
	schema regnamespace := (SELECT extnamespace FROM pg_catalog.pg_extension WHERE extname = 'piramid');
BEGIN
	IF schema IS NOT NULL THEN
		INSERT INTO pg_catalog.pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
			SELECT 'pg_catalog.pg_extension'::regclass, v.oid, 0, 'pg_catalog.pg_extension'::regclass, p.oid, 0, 'n'
			FROM pg_catalog.pg_extension v, pg_catalog.pg_extension p
			WHERE v.extname = 'vector' AND p.extname = 'piramid';
		IF schema <> current_schema()::regnamespace THEN
			RAISE WARNING 'the types of extension "vector" are those of extension "piramid" in schema %', schema;
		END IF;
		RETURN;
	END IF;
	EXECUTE $piramid$
