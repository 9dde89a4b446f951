-- piramid_chunk: what each strategy makes of a text, and what is refused.
\set markdown '# Guide\n\n## Install\nRun make. Then run make install.\n\n| key | meaning |\n|---|---|\n| a | first |\n| b | second |\n| c | third |\n\n```sh\n# no heading\nmake\n```\n\nRemoval\n-------\nRun make uninstall.\n'
CREATE TABLE doc AS SELECT replace(:'markdown', '\n', chr(10)) AS body;

SELECT ordinal, parent, start, length, to_json(text) AS text, heading_path
FROM doc, piramid_chunk(body, 'markdown', 80, 0);
SELECT ordinal, to_json(text) AS text, heading_path FROM doc, piramid_chunk(body, 'markdown', 40, 10);
SELECT ordinal, parent, to_json(text) AS text, heading_path FROM doc, piramid_chunk(body, 'recursive', 60, 0);
SELECT ordinal, to_json(text) AS text FROM doc, piramid_chunk(body, 'sentence', 60, 0);
SELECT ordinal, start, length, to_json(text) AS text FROM piramid_chunk('abcdefghij', 'fixed', 4, 1);
SELECT ordinal, start, length, text FROM piramid_chunk('one two three four five six', 'fixed', 3, 1, 'words');
SELECT ordinal, start, length, text FROM piramid_chunk('Grüße, Größe, Füße', 'fixed', 8, 0, 'bytes');

-- sentences: what ends one
SELECT text FROM piramid_chunk('Dr. J. Smith came, e.g. at 5 p.m. to us. "Really?" he asked. (Yes!) He paid 3.50 in 1999. 中文。日本語！ End', 'sentence', 100, 0);

-- headings: of all forms, and what is none
SELECT ordinal, parent, to_json(text) AS text, heading_path FROM piramid_chunk(
	E'---\ntitle: x\n---\nFront.\n\nA\n===\n\n### B ###\nb\n\n#not\n    # code\n- item\n---\n## C\n# D\n# ', 'markdown', 100, 0);

-- by default: recursive, 1,000 characters, an overlap of a tenth
SELECT count(*), max(length), sum(length) - max(start + length - 1) AS repeated
FROM piramid_chunk(repeat('0123456789 ', 400));
SELECT count(*), max(length) FROM piramid_chunk(repeat('x', 5000), 'recursive', 100);
SELECT body, chunk FROM (VALUES (NULL), (''), (E' \n\t ')) AS v(body), piramid_chunk(body) AS chunk;
SELECT * FROM piramid_chunk('a', NULL, NULL, NULL, NULL);

-- a chunk is its place in the text
SELECT count(*), bool_and(substr(body, start, length) = text) FROM doc, piramid_chunk(body, 'markdown', 20);

SELECT piramid_chunk('a', 'semantic');
SELECT piramid_chunk('a', unit => 'tokens');
SELECT piramid_chunk('a', 'fixed', 0);
SELECT piramid_chunk('a', 'fixed', 7, 0, 'bytes');
SELECT piramid_chunk('a', 'fixed', 10, 6);
SELECT piramid_chunk('a', 'fixed', 10, -1);
SELECT count(*) FROM piramid_chunk('a b', 'fixed', 2147483647, 1073741823);
-- a heading of a megabyte is not copied into each of its chunks
SELECT count(*) > 100 AS many, max(octet_length(heading_path[1])) FROM piramid_chunk('# ' || repeat('ü', 500000), 'markdown');
DROP TABLE doc;
