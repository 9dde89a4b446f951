-- Settings, before and after a session has loaded the library: who may store
-- them with a function, a role or a database, and what is refused.
CREATE ROLE regress_settings;
GRANT CREATE ON SCHEMA public TO regress_settings;

-- PostgreSQL defines no setting before the library is loaded: it takes any
-- value, and lets only superusers store one, and those who have been granted it.
\c -
SET ivfflat.probes = 5;
SET hnsw.ef_search = 50;
SHOW ivfflat.probes;
SET ROLE regress_settings;
CREATE FUNCTION early(q vector) RETURNS text LANGUAGE sql SET ivfflat.probes = 10 AS 'SELECT 1';
CREATE FUNCTION early(q vector) RETURNS text LANGUAGE sql SET hnsw.ef_search = 10 AS 'SELECT 1';
ALTER ROLE regress_settings SET hnsw.ef_search = 10;
RESET ROLE;
GRANT SET ON PARAMETER ivfflat.probes, hnsw.ef_search TO regress_settings;
SET ROLE regress_settings;
CREATE FUNCTION early(q vector) RETURNS text LANGUAGE sql SET ivfflat.probes = 10 SET hnsw.ef_search = 10
	AS $$ SELECT concat_ws(' ', vector_dims(q), current_setting('ivfflat.probes'), current_setting('hnsw.ef_search')) $$;
ALTER ROLE regress_settings SET hnsw.ef_search = 10;
RESET ROLE;
REVOKE SET ON PARAMETER ivfflat.probes, hnsw.ef_search FROM regress_settings;
ALTER ROLE regress_settings RESET ALL;

-- What was set before stays when the library is loaded, here in the function.
SELECT early('[1,2,3]');
SHOW ivfflat.probes;
SHOW hnsw.ef_search;

-- Afterwards they are as pgvector's.
RESET ALL;
SHOW ivfflat.probes;
SHOW ivfflat.iterative_scan;
SHOW ivfflat.max_probes;
SET ROLE regress_settings;
CREATE FUNCTION late(q vector) RETURNS text LANGUAGE sql
	SET ivfflat.probes = 20 SET ivfflat.max_probes = 30 SET hnsw.ef_search = 20 SET hnsw.iterative_scan = strict_order
	AS $$ SELECT concat_ws(' ', vector_dims(q), current_setting('ivfflat.probes'), current_setting('ivfflat.max_probes'),
		current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan')) $$;
ALTER FUNCTION late SET ivfflat.iterative_scan = relaxed_order;
ALTER ROLE regress_settings SET ivfflat.probes = 40;
ALTER ROLE regress_settings SET hnsw.ef_search = 40;
SELECT late('[1,2,3]');
SHOW ivfflat.probes;
SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = 'regress_settings'::regrole ORDER BY 1;
RESET ROLE;

-- The stored ones work in a session that has not loaded the library.
\c -
SET ROLE regress_settings;
SELECT late('[1,2,3]');
SHOW ivfflat.probes;
RESET ROLE;

-- Refused, also where the library is loaded after the fact.
SET ivfflat.probes = 0;
SET ivfflat.probes = 32769;
SET ivfflat.max_probes = 0;
SET ivfflat.max_probes = 32769;
SET ivfflat.iterative_scan = strict_order;
SET ivfflat.prbes = 10;
SET hnsw.ef_serch = 10;
CREATE FUNCTION wrong() RETURNS int LANGUAGE sql SET ivfflat.probes = 0 AS 'SELECT 1';
CREATE FUNCTION wrong() RETURNS int LANGUAGE sql SET ivfflat.prbes = 1 AS 'SELECT 1';
\c -
SET ivfflat.probes = 0;
SET ivfflat.prbes = 10;
SELECT '[1]'::vector;
SHOW ivfflat.probes;
SHOW ivfflat.prbes;

DROP FUNCTION early, late;
DROP OWNED BY regress_settings;
DROP ROLE regress_settings;
