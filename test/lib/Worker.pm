# Worker.pm: a worker in SQL, for tests of collections: what it asks of a provider is
# computed, and written down.

package Worker;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT = qw($worker);

# embed(), a vector that tells of which text it is; work(), until nothing is to do; and
# asked, the chunks of which a vector was asked for.
our $worker = q{
	CREATE FUNCTION embed(text text) RETURNS text LANGUAGE sql AS $$
		SELECT format('[%s,%s,%s]', 1 + get_byte(h, 0), get_byte(h, 1), get_byte(h, 2)) FROM sha256(text::bytea) AS h $$;
	CREATE TABLE asked (collection regclass, version int, chunk_id bigint);
	CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
	DECLARE
		c regclass; v int; token uuid; ids bigint[]; texts text[];
	BEGIN
		LOOP
			SELECT min(collection::oid)::regclass, min(version), min(lease_token::text)::uuid, array_agg(chunk_id), array_agg(text)
				INTO c, v, token, ids, texts FROM piramid.claim(items => 7);
			EXIT WHEN ids IS NULL;
			INSERT INTO asked SELECT c, v, unnest(ids);
			COMMIT;
			PERFORM piramid.complete(c, token, ids, ARRAY(SELECT embed(t)::piramid.embedding FROM unnest(texts) WITH ORDINALITY AS u(t, n) ORDER BY n));
			COMMIT;
		END LOOP;
	END $$;
};

1;
