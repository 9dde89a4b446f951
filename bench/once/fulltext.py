"""bench/once/fulltext.py: bm25 beside GIN with ts_rank, on WordNet's definitions.

Needs a running server with the extensions, and psycopg.  Prints sizes, seconds of
builds, milliseconds of the backend's processor time of queries (the best of three;
LIMIT 10, any of the words; then all rows of conditions), and what inserts and VACUUM
take.  GIN is on a stored tsvector ("gin") or on the text ("gin_text").  The processor
time is read from /proc, so the server has to be on this machine.

    bench/once/fulltext.py --words wordnet.tsv.gz --asked wordnet-queries.tsv.gz -- host=/tmp port=5432
"""

import argparse
import gzip
import re
import statistics
import time

import psycopg

LENGTHS = (1, 2, 3, 4, 6, 8)
QUERIES = 60
PHRASES = 1000
RANK = ("SELECT id FROM docs, (SELECT replace(plainto_tsquery('english', %(words)s)::text, '&', '|')::tsquery AS q) x"
        " WHERE {0} @@ q ORDER BY ts_rank({0}, q) DESC LIMIT 10")
# of each: definition, best rows, rows of a condition
SYSTEMS = {
    "bm25": (
        "CREATE INDEX docs_bm25 ON docs USING bm25 (body) WITH (text_config = 'english')",
        "SELECT id FROM docs ORDER BY body <@> %(words)s LIMIT 10",
        "SELECT id FROM docs WHERE body @@ to_bm25query({})",
    ),
    "bm25_off": (
        "CREATE INDEX docs_bm25_off ON docs USING bm25 (body) WITH (text_config = 'english', positions = off)",
        "SELECT id FROM docs ORDER BY body <@> %(words)s LIMIT 10",
        "SELECT id FROM docs WHERE body @@ to_bm25query({})",
    ),
    "gin": (
        "CREATE INDEX docs_gin ON docs USING gin (v)",
        RANK.format("v"),
        "SELECT id FROM docs WHERE v @@ {}",
    ),
    "gin_text": (
        "CREATE INDEX docs_gin_text ON docs USING gin (to_tsvector('english', body))",
        RANK.format("to_tsvector('english', body)"),
        "SELECT id FROM docs WHERE to_tsvector('english', body) @@ {}",
    ),
}
CONDITIONS = {
    "phrase": "phraseto_tsquery('english', %(words)s)",
    "both words": "plainto_tsquery('english', %(words)s)",
    "either word": "replace(plainto_tsquery('english', %(words)s)::text, '&', '|')::tsquery",
}


class Backend:
    """A connection, and what its server process has used."""

    def __init__(self, conninfo):
        self.connection = psycopg.connect(conninfo, autocommit=True)
        self.pid = self.one("SELECT pg_backend_pid()")

    def one(self, sql, values=None):
        return self.connection.execute(sql, values).fetchone()[0]

    def cpu(self):
        with open(f"/proc/{self.pid}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[0]) / 1e6

    def cost(self, sql, values=None):
        """Milliseconds of processor time."""
        start = self.cpu()
        cursor = self.connection.execute(sql, values)
        if cursor.description:
            cursor.fetchall()
        return self.cpu() - start


def read_rows(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f]


def load(backend, rows):
    backend.connection.execute("DROP TABLE IF EXISTS docs")
    backend.connection.execute(
        "CREATE TABLE docs (id int PRIMARY KEY, body text,"
        " v tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED)")
    with backend.connection.cursor().copy("COPY docs (id, body) FROM STDIN") as copy:
        for i, row in enumerate(rows):
            copy.write_row((i, f"{row[3]}: {row[4]}"))
    backend.connection.execute("VACUUM ANALYZE docs")


def content_words(sentence):
    return [word for word in re.findall("[a-z]+", sentence.lower()) if len(word) > 3]


def measure_queries(backend, sql, asked):
    for n in LENGTHS:
        queries = [" ".join(words[:n]) for words in asked if len(words) >= n][:QUERIES]
        if len(queries) < QUERIES // 2:
            continue
        times = sorted(min(backend.cost(sql, {"words": q}) for _ in range(3)) for q in queries)
        print(f"  {n} words: p50 {statistics.median(times):.2f} ms, p95 {times[len(times) * 95 // 100]:.2f} ms"
              f" ({len(queries)} queries)", flush=True)


def measure_conditions(backend, sql, rows):
    """Phrases are two words side by side in definitions, of rows all over the table."""
    phrases = [" ".join(words[:2]) for words in (content_words(row[4]) for row in rows[::len(rows) // (2 * PHRASES)])
               if len(words) > 1][:PHRASES]
    for name, condition in CONDITIONS.items():
        times = sorted(min(backend.cost(sql.format(condition), {"words": q}) for _ in range(2)) for q in phrases)
        print(f"  {name}: mean {statistics.mean(times):.3f} ms, p50 {statistics.median(times):.3f} ms,"
              f" p95 {times[len(times) * 95 // 100]:.3f} ms ({len(phrases)} queries)", flush=True)


def measure_writes(backend, rows):
    start = backend.one("SELECT pg_current_wal_insert_lsn()")
    cpu = sum(backend.cost("INSERT INTO docs VALUES (%s, %s)", (1000000 + i, f"{row[3]}: {row[4]}"))
              for i, row in enumerate(rows[:2000]))
    wal = float(backend.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", (start,)))
    backend.connection.execute("DELETE FROM docs WHERE id %% 10 = 3", ())
    print(f"  2,000 inserts: {cpu:.0f} ms, {wal / 1e6:.1f} MB of WAL; VACUUM of 10%: {backend.cost('VACUUM docs'):.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", required=True, help="synsets: columns 4 and 5 are words and definition")
    parser.add_argument("--asked", required=True, help="example sentences: column 2")
    parser.add_argument("--systems", default="bm25,bm25_off,gin,gin_text")
    parser.add_argument("conninfo", nargs="*")
    args = parser.parse_args()
    rows = read_rows(args.words)
    asked = [content_words(row[1]) for row in read_rows(args.asked)]
    backend = Backend(" ".join(args.conninfo))
    for extension in ("piramid", "piramid_bm25"):
        backend.connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    for system in args.systems.split(","):
        load(backend, rows)
        definition, sql, condition = SYSTEMS[system]
        start = time.monotonic()
        cpu = backend.cost(definition)
        size = backend.one("SELECT pg_relation_size(%s::regclass)", (f"docs_{system}",))
        print(f"{system}: {size / 1e6:.1f} MB, built in {cpu / 1e3:.1f} s of processor time"
              f" ({time.monotonic() - start:.1f} s)", flush=True)
        backend.connection.execute("VACUUM ANALYZE docs")
        measure_queries(backend, sql, asked)
        measure_conditions(backend, condition, rows)
        measure_writes(backend, rows)


if __name__ == "__main__":
    main()
