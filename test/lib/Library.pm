# Library.pm: a database "library" with collections of each kind, for tests of what copies
# and moves it: what is embedded, what waits, what a worker has.  The copy finds the same,
# and its life goes on.

package Library;

use strict;
use warnings;

use Exporter qw(import);
use Worker;

our @EXPORT = qw(create_library $registry $searches $life $lived);

# Collections in a database of their own: words by full text search, with a configuration
# of a user, and by bm25; chunks that wait, that a worker has, documents that are to be cut.
sub create_library
{
	my ($node) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE library TEMPLATE template0');
	$node->safe_psql('library', q{
		CREATE EXTENSION piramid;
		CREATE EXTENSION piramid_collections;
		CREATE TEXT SEARCH CONFIGURATION public."Plain" (COPY = simple);
		SELECT piramid.register_model('three', 'fake', 'm-3', 3, 100);
		SELECT piramid.create_collection('docs', 'three', text_config => 'public."Plain"', filter_columns => '{"lang": "text"}', chunking => '{"size": 40, "overlap": 0}');
		CREATE EXTENSION piramid_bm25;
		SELECT piramid.create_collection('ranked', 'three');
		SELECT piramid.create_collection('late', 'three', chunking => '{"deferred": true}');
		CREATE TABLE items (id int PRIMARY KEY, body text);
		SELECT piramid.attach_collection('items', 'body', 'three');
		INSERT INTO docs (body, metadata) SELECT format('This is document %s. It is short. It has three sentences.', n), jsonb_build_object('lang', n % 3) FROM generate_series(1, 20) AS n;
		INSERT INTO ranked (body) SELECT format('This is document %s.', n) FROM generate_series(1, 20) AS n;
		INSERT INTO items SELECT n, format('This is item %s.', n) FROM generate_series(1, 3) AS n;} . $worker . q{
		CALL work();
		INSERT INTO docs (body) VALUES ('This text is leased.');
		CREATE TABLE leased AS SELECT * FROM piramid.claim(lease => '1 day');
		INSERT INTO asked SELECT collection, version, chunk_id FROM leased;
		INSERT INTO docs (body) VALUES ('This text waits.');
		INSERT INTO late (body) VALUES ('This document is to be cut.')});
}

our $registry = q{
	SELECT to_jsonb(c)::text FROM piramid.collection AS c UNION ALL SELECT to_jsonb(v)::text FROM piramid.version AS v UNION ALL SELECT to_jsonb(m)::text FROM piramid.model AS m
	UNION ALL SELECT to_jsonb(s)::text FROM (SELECT collection, chunks, embedded, pending, leased, uncut, index_valid FROM piramid.collection_status) AS s ORDER BY 1};
our $searches = q{
	SELECT 'vector', string_agg(chunk_id::text, ' ') FROM piramid.search('docs', '[9,9,9]', filter => '{"lang": 1}')
	UNION ALL SELECT 'words', string_agg(chunk_id::text, ' ') FROM piramid.search('docs', query_text => 'document')
	UNION ALL SELECT 'both', string_agg(chunk_id::text, ' ') FROM piramid.search('docs', '[9,9,9]', 'document', filter => '{"lang": 1}')
	UNION ALL SELECT 'bm25', string_agg(chunk_id::text, ' ') FROM piramid.search('ranked', query_text => 'document')
	UNION ALL SELECT 'both, by bm25', string_agg(chunk_id::text, ' ') FROM piramid.search('ranked', '[9,9,9]', 'document')
	UNION ALL SELECT 'items', string_agg(document_id::text, ' ') FROM piramid.search('items', '[9,9,9]')};

# The old server's lease is completed; documents change, come and go, and are cut.
our $life = q{
	SELECT piramid.complete(collection, lease_token, ARRAY[chunk_id], ARRAY[embed(text)::piramid.embedding]) FROM leased;
	UPDATE docs SET body = body || ' And a fourth.' WHERE id = 3;
	DELETE FROM docs WHERE id = 4;
	INSERT INTO ranked (body) VALUES ('A novel document.');
	UPDATE items SET body = 'This is another item.' WHERE id = 1;
	DELETE FROM items WHERE id = 2;
	SELECT piramid.cut_documents(), piramid.sweep();
	CALL work();
	SELECT bool_and(coverage = 1 AND uncut = 0) FROM piramid.collection_status;
	SELECT count(*), count(DISTINCT (collection, version, chunk_id)) FROM asked;
	SELECT count(*) FROM (SELECT id, text, embedding FROM docs_chunk LEFT JOIN docs_v1 ON chunk_id = id UNION ALL SELECT id, text, embedding FROM ranked_chunk LEFT JOIN ranked_v1 ON chunk_id = id
		UNION ALL SELECT id, text, embedding FROM items_chunk LEFT JOIN items_v1 ON chunk_id = id UNION ALL SELECT id, text, embedding FROM late_chunk LEFT JOIN late_v1 ON chunk_id = id) AS x
		WHERE embedding::text IS DISTINCT FROM embed(text);
	SELECT text FROM piramid.search('docs', query_text => 'fourth') UNION ALL SELECT text FROM piramid.search('late', query_text => 'cut')
		UNION ALL SELECT text FROM piramid.search('ranked', query_text => 'novel') UNION ALL SELECT text FROM piramid.search('items', query_text => 'another')};

# What it returns: all have vectors, which are of their texts, and none was asked for twice.
our $lived = "1\n1|0\nt\n70|70\n0\nIt has three sentences. And a fourth.\nThis document is to be cut.\nA novel document.\nThis is another item.";

1;
