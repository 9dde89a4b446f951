
-- ===========================================================================
-- Metadata that fit a schema: the parts of JSON Schema that need no network
-- ===========================================================================

-- A schema whose every word is understood: what would be passed over in silence is refused.
CREATE FUNCTION piramid.check_schema(schema jsonb, place text DEFAULT 'schema') RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	e record;
	sub record;
	wrong boolean;
BEGIN
	IF schema IS NULL OR jsonb_typeof(schema) = 'boolean' THEN
		RETURN;
	ELSIF jsonb_typeof(schema) <> 'object' THEN
		RAISE EXCEPTION '%: a schema is an object, true or false', place USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR e IN SELECT key, value, jsonb_typeof(value) AS kind FROM jsonb_each(schema) LOOP
		wrong := CASE
			WHEN e.key = 'type' THEN e.value = '[]' OR NOT (CASE e.kind WHEN 'array' THEN e.value ELSE jsonb_build_array(e.value) END
				<@ '["object", "array", "string", "number", "integer", "boolean", "null"]')
			WHEN e.key = 'properties' THEN e.kind <> 'object'
			WHEN e.key = 'required' THEN jsonb_path_exists(e.value, 'strict $ ? (@.type() != "array" || exists(@[*] ? (@.type() != "string")))')
			WHEN e.key = 'enum' THEN e.kind <> 'array'
			WHEN e.key IN ('minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems') THEN e.kind <> 'number'
			WHEN e.key IN ('pattern', 'title', 'description', '$schema') THEN e.kind <> 'string'
			WHEN e.key IN ('additionalProperties', 'items') THEN e.kind NOT IN ('object', 'boolean')
			WHEN e.key IN ('const', 'default', 'examples') THEN false
			ELSE true END;
		IF wrong THEN
			RAISE EXCEPTION '%: "%" is not understood, or not with this value', place, e.key USING ERRCODE = 'invalid_parameter_value',
				HINT = 'There are type, properties, required, additionalProperties, enum, const, minimum, maximum, minLength, maxLength, '
					'pattern, items, minItems, maxItems, title, description, default and examples.';
		END IF;
		IF e.key = 'pattern' THEN
			PERFORM '' ~ (e.value #>> '{}');
		ELSIF e.key IN ('additionalProperties', 'items') THEN
			PERFORM piramid.check_schema(e.value, format('%s.%s', place, e.key));
		ELSIF e.key = 'properties' THEN
			FOR sub IN SELECT key, value FROM jsonb_each(e.value) LOOP
				PERFORM piramid.check_schema(sub.value, format('%s.%s', place, sub.key));
			END LOOP;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION piramid.check_schema(jsonb, text) IS 'refuses a schema of metadata that would not be understood';

CREATE FUNCTION piramid.schema_error(schema jsonb, value jsonb, place text DEFAULT 'metadata') RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	kind text := jsonb_typeof(value);
	types jsonb := CASE jsonb_typeof(schema -> 'type') WHEN 'array' THEN schema -> 'type' WHEN 'string' THEN jsonb_build_array(schema -> 'type') END;
	size numeric := CASE kind WHEN 'number' THEN value::numeric WHEN 'string' THEN length(value #>> '{}') WHEN 'array' THEN jsonb_array_length(value) END;
	least text := CASE kind WHEN 'number' THEN 'minimum' WHEN 'string' THEN 'minLength' ELSE 'minItems' END;
	most text := CASE kind WHEN 'number' THEN 'maximum' WHEN 'string' THEN 'maxLength' ELSE 'maxItems' END;
	e record;
	found text;
BEGIN
	IF schema IS NULL OR schema = 'true' THEN		-- which is not to visit each value of a deep one
		RETURN NULL;
	ELSIF schema = 'false' THEN
		RETURN format('%s is not allowed', place);
	ELSIF NOT (types ? kind OR (types ? 'integer' AND kind = 'number' AND value::numeric % 1 = 0)) THEN
		RETURN format('%s is of type %s, not %s', place, kind, (SELECT string_agg(t, ' or ') FROM jsonb_array_elements_text(types) AS t));
	ELSIF (schema ? 'enum' AND NOT EXISTS (SELECT FROM jsonb_array_elements(schema -> 'enum') AS u(x) WHERE u.x = schema_error.value)) OR schema -> 'const' <> value THEN
		RETURN format('%s is none of the values allowed', place);
	ELSIF size < (schema ->> least)::numeric OR size > (schema ->> most)::numeric THEN
		RETURN format('%s breaks %s', place, concat_ws(' or ', least || ' ' || (schema ->> least), most || ' ' || (schema ->> most)));
	ELSIF kind = 'string' AND NOT value #>> '{}' ~ (schema ->> 'pattern') THEN
		RETURN format('%s does not match the pattern %s', place, schema ->> 'pattern');
	ELSIF kind = 'array' AND schema ? 'items' THEN
		FOR e IN SELECT x, n - 1 AS n FROM jsonb_array_elements(value) WITH ORDINALITY AS u(x, n) LOOP
			found := piramid.schema_error(schema -> 'items', e.x, format('%s[%s]', place, e.n));
			EXIT WHEN found IS NOT NULL;
		END LOOP;
	ELSIF kind = 'object' THEN
		SELECT format('%s.%s is missing', place, r) INTO found FROM jsonb_array_elements_text(schema -> 'required') AS u(r) WHERE NOT value ? r LIMIT 1;
		IF found IS NULL THEN
			FOR e IN SELECT key, u.value AS x FROM jsonb_each(value) AS u LOOP
				found := piramid.schema_error(coalesce(schema #> ARRAY['properties', e.key], schema -> 'additionalProperties'), e.x, format('%s.%s', place, e.key));
				EXIT WHEN found IS NOT NULL;
			END LOOP;
		END IF;
	END IF;
	RETURN found;
END
$$;
COMMENT ON FUNCTION piramid.schema_error(jsonb, jsonb, text) IS 'the first reason why a value does not fit a JSON Schema; NULL if it does';

CREATE FUNCTION piramid.check_metadata() RETURNS trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found text := piramid.schema_error((SELECT c.metadata_schema FROM piramid.collection AS c WHERE c.documents = TG_RELID), NEW.metadata);
BEGIN
	IF found IS NOT NULL THEN
		RAISE EXCEPTION 'a document of "%" does not fit its metadata_schema: %', TG_RELID::regclass, found USING ERRCODE = 'check_violation',
			HINT = 'piramid.collection has the schema; piramid.alter_collection() changes it.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION piramid.check_metadata() IS 'trigger: the metadata of a document fit the collection''s schema';

-- Another schema, or none: all documents that exist have to fit it.
CREATE FUNCTION piramid.change_schema(c piramid.collection) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id bigint;
	found text;
BEGIN
	IF c.attached THEN
		RAISE EXCEPTION '"%" is a table of its own', c.documents USING ERRCODE = 'wrong_object_type',
			HINT = 'Its columns have types, and may have CHECK constraints.';
	END IF;
	PERFORM piramid.check_schema(c.metadata_schema);
	EXECUTE format('ALTER TABLE %s %s TRIGGER piramid_metadata', c.documents, CASE WHEN c.metadata_schema IS NULL THEN 'DISABLE' ELSE 'ENABLE' END);
	EXECUTE format('SELECT d.id, e FROM %s AS d, piramid.schema_error($1, d.metadata) AS e WHERE e IS NOT NULL LIMIT 1', c.documents)
		INTO id, found USING c.metadata_schema;
	IF found IS NOT NULL THEN
		RAISE EXCEPTION 'document % of "%" does not fit this metadata_schema: %', id, c.documents, found USING ERRCODE = 'check_violation';
	END IF;
END
$$;
COMMENT ON FUNCTION piramid.change_schema(piramid.collection) IS 'changes the schema of a collection''s metadata';
