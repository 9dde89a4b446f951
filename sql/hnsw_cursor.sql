-- hnsw: cursors that are read on have all rows, once and in order, though nobody knew how many would be taken
SET jit = off;
SET enable_seqscan = off;
SET enable_sort = off;
SET enable_bitmapscan = off;
SELECT setseed(0.3);

-- vectors without structure, of which searches miss many; and groups far from each other
CREATE TABLE rows (id int, kind int, even vector(64), grouped vector(8));
INSERT INTO rows SELECT i, i % 5, (SELECT array_agg(random()) FROM generate_series(1, 64) WHERE i > 0)::vector,
		(SELECT array_agg(sin(i % 60 * x * 7.1) + random() / 50) FROM generate_series(1, 8) AS x)::vector
	FROM generate_series(1, 3000) AS i;
CREATE FUNCTION q(n int, which text) RETURNS vector LANGUAGE plpgsql AS $$
DECLARE
	v vector;
BEGIN
	EXECUTE format('SELECT %s FROM rows WHERE id = %s', which, n) INTO v;
	RETURN v;
END $$;

-- How many rows a cursor moves over, "step" at a time for some steps, and then all that are left; and back.
CREATE FUNCTION moved(query text, step int, steps int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	c refcursor;
	n bigint;
	forward bigint := 0;
BEGIN
	OPEN c SCROLL FOR EXECUTE query;
	FOR i IN 1 .. steps LOOP
		MOVE FORWARD step FROM c;
		GET DIAGNOSTICS n = ROW_COUNT;
		forward := forward + n;
	END LOOP;
	MOVE FORWARD ALL FROM c;
	GET DIAGNOSTICS n = ROW_COUNT;
	forward := forward + n;
	MOVE BACKWARD ALL FROM c;
	GET DIAGNOSTICS n = ROW_COUNT;
	CLOSE c;
	IF n <> forward THEN
		RAISE EXCEPTION '% rows forward, % back', forward, n;
	END IF;
	RETURN forward;
END $$;

-- The same by a loop, which takes rows by and by; "wrong" are those that come out of order.
CREATE FUNCTION looped(query text, OUT rows bigint, OUT wrong bigint, OUT ids int[], OUT most float8) LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	wrong := 0;
	ids := '{}';
	most := '-infinity';
	FOR r IN EXECUTE query LOOP
		ids := ids || r.id;
		wrong := wrong + (r.d < most)::int;
		most := greatest(most, r.d);
	END LOOP;
	rows := (SELECT count(DISTINCT id) FROM unnest(ids) AS id);
END $$;

-- Of 5 queries each: rows of cursors that take 10 at first and then all, or all in tens, and of a loop
CREATE FUNCTION read_on(which text, op text, condition text, OUT ten_and_all bigint, OUT tens bigint, OUT looped bigint, OUT wrong bigint)
LANGUAGE sql AS $$
	SELECT sum(moved(query, 10, 1)), sum(moved(query, 10, 310)), sum(l.rows), sum(l.wrong)
	FROM generate_series(1, 3000, 600) AS n, LATERAL (SELECT format('SELECT id, %1$s %2$s %3$L AS d FROM rows WHERE %4$s ORDER BY %1$s %2$s %3$L',
		which, op, q(n, which), condition) AS query OFFSET 0) AS x, looped(query) AS l
$$;

CREATE FUNCTION read_all() RETURNS TABLE (index text, condition text, ten_and_all bigint, tens bigint, looped bigint, wrong bigint)
LANGUAGE plpgsql AS $$
DECLARE
	definition text;
	which text;
	op text;
BEGIN
	FOR definition, which, op IN VALUES
		('(even vector_l2_ops, kind)', 'even', '<->'),
		('(even vector_ip_ops, kind)', 'even', '<#>'),
		('(grouped vector_l1_ops, kind)', 'grouped', '<+>'),
		('(even vector_cosine_ops, kind) WITH (layout = compact)', 'even', '<=>')
	LOOP
		EXECUTE 'CREATE INDEX rows_idx ON rows USING hnsw ' || definition;
		FOREACH condition IN ARRAY ARRAY['kind = 3', 'id % 5 = 3', 'true'] LOOP
			index := definition;
			SELECT * INTO ten_and_all, tens, looped, wrong FROM read_on(which, op, condition);
			RETURN NEXT;
		END LOOP;
		DROP INDEX rows_idx;
	END LOOP;
END $$;
SELECT * FROM read_all();

-- nodes of other keys and dead rows do not matter
CREATE INDEX rows_idx ON rows USING hnsw (even vector_l2_ops, kind);
UPDATE rows SET kind = kind + 1 WHERE id % 3 = 0;
DELETE FROM rows WHERE id % 7 = 0;
SELECT 5 * count(*) AS rows FROM rows WHERE kind + 0 = 3;
SELECT * FROM read_on('even', '<->', 'kind = 3');

-- A sweep puts in order what is asked for, and more as it is taken.
CREATE INDEX ON rows USING hnsw (grouped vector_l2_ops);
SELECT n, l.rows, l.wrong, l.same FROM unnest(ARRAY[1, 999, 1000, 1001, 1100, 2999, 4000]) AS n,
	LATERAL (SELECT format('SELECT id, grouped <-> %1$L AS d FROM rows ORDER BY grouped <-> %1$L LIMIT %2$s', q((SELECT max(id) FROM rows), 'grouped'), n) AS query OFFSET 0) AS x,
	LATERAL (SELECT o.*, NOT EXISTS (SELECT FROM rows WHERE grouped <-> q((SELECT max(id) FROM rows), 'grouped') < o.most AND NOT id = ANY (o.ids)) AS same FROM looped(query) AS o) AS l;
-- A condition of which the planner expects a third of the rows, and a thirtieth is
SELECT l.rows, l.wrong FROM looped(format('SELECT id, grouped <-> %1$L AS d FROM rows WHERE id * 7 %% 3000 > 2900 ORDER BY grouped <-> %1$L LIMIT 60', q((SELECT max(id) FROM rows), 'grouped'))) AS l;

DROP TABLE rows;
DROP FUNCTION q, moved, looped, read_on, read_all;
