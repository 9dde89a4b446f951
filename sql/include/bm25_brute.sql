-- BM25 in plain SQL, as docs/fulltext.md states it: the truth for the index.
-- Every table has the columns "id int" and "body text".

-- Take down the words of a table's rows, to be asked about by brute().
CREATE FUNCTION learn(tab regclass, config regconfig DEFAULT 'english') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE IF EXISTS brute_word, brute_length;
	EXECUTE format('CREATE TEMPORARY TABLE brute_word AS
		SELECT id, lexeme, array_length(positions, 1) AS tf FROM %s, unnest(to_tsvector($1, body))', tab)
		USING config;
	EXECUTE format('CREATE TEMPORARY TABLE brute_length AS
		SELECT d.id, coalesce(sum(tf), 0)::float8 AS len FROM %s d LEFT JOIN brute_word USING (id)
		WHERE body IS NOT NULL GROUP BY 1', tab);
	CREATE INDEX ON brute_word (lexeme);
	CREATE INDEX ON brute_length (id);
	ANALYZE brute_word, brute_length;
END $$;

CREATE FUNCTION brute(query text, config regconfig DEFAULT 'english')
RETURNS TABLE (id int, score float8) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY WITH total AS (SELECT count(*)::float8 AS n, avg(len) AS avg FROM brute_length),
	asked AS (SELECT lexeme, array_length(positions, 1) AS qf FROM unnest(to_tsvector(config, query))),
	found AS (SELECT lexeme, qf, count(*)::float8 AS df FROM brute_word JOIN asked USING (lexeme) GROUP BY 1, 2)
	SELECT id, -sum(qf * ln(1 + (n - df + 0.5) / (df + 0.5)) * (1.2 + 1) * tf
		/ (tf + 1.2 * (1 - 0.75 + 0.75 * len / avg)))
	FROM brute_word JOIN found USING (lexeme) JOIN brute_length USING (id), total
	GROUP BY 1;
END $$;

-- What the index returns, in its order, and what the truth says of it: how many
-- scores differ, how many rows are missing or not among the best.
CREATE FUNCTION wrong(tab regclass, query text, k int)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	got text;
	wrong int;
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true);
	EXECUTE format('SELECT json_agg(x) FROM
		(SELECT id, body <@> %1$L AS score FROM %2$s ORDER BY body <@> %1$L LIMIT %3$s) x', query, tab, k)
	INTO got;
	PERFORM set_config('enable_seqscan', 'on', true);
	WITH got AS (SELECT n, (j->>'id')::int AS id, (j->>'score')::float8 AS score
		FROM json_array_elements(got::json) WITH ORDINALITY x (j, n)),
	truth AS (SELECT *, row_number() OVER (ORDER BY score) AS n FROM brute(query))
	SELECT (SELECT count(*) FROM got FULL JOIN (SELECT * FROM truth WHERE n <= k) t USING (n)
			WHERE (abs(got.score / t.score - 1) <= 1e-5) IS NOT TRUE)
		+ (SELECT count(*) FROM got LEFT JOIN truth USING (id)
			WHERE (abs(got.score / truth.score - 1) <= 1e-5) IS NOT TRUE)
	INTO wrong;
	RETURN wrong;
END $$;
