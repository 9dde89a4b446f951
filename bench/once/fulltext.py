"""bench/once/fulltext.py: bm25 beside GIN with ts_rank, and beside pg_textsearch.

Needs a running server on this machine with the extensions, and psycopg.  Texts are
WordNet's synsets (columns 4 and 5 of --words), or lines of a number, a tab and a text.
Queries are runs of words of --asked, or of texts themselves.  Systems take turns at
each query.  Prints sizes, seconds of builds, milliseconds of the backend's processor
time (LIMIT 10, any of the words; then all rows of conditions), and what inserts and
VACUUM take.  --plot draws the times of LIMIT 10 by the number of words (SVG and PNG).  GIN is on a stored tsvector ("gin") or on the text ("gin_text").
pg_textsearch has names of its own for the same objects, so it needs another database
of the server: --peer.

    bench/once/fulltext.py --words wordnet.tsv.gz --asked wordnet-queries.tsv.gz \\
        --systems bm25,gin,pg_textsearch --peer 'host=/tmp dbname=peer' -- host=/tmp
"""

import argparse
import gzip
import re
import statistics
import time

import psycopg

LENGTHS = (1, 2, 3, 4, 6, 8, 12)
QUERIES = 60
ROUNDS = 7
PHRASES = 1000
INSERTS = 2000
RANK = ("SELECT id FROM docs_{1}, (SELECT replace(plainto_tsquery('english', %(words)s)::text, '&', '|')::tsquery AS q) x"
        " WHERE {0} @@ q ORDER BY ts_rank({0}, q) DESC LIMIT 10")
# of each: definition, best rows, rows of a condition
SYSTEMS = {
    "bm25": (
        "CREATE INDEX ON docs_bm25 USING bm25 (body) WITH (text_config = 'english')",
        "SELECT id FROM docs_bm25 ORDER BY body <@> %(words)s LIMIT 10",
        "SELECT id FROM docs_bm25 WHERE body @@ to_bm25query({})",
    ),
    "bm25_off": (
        "CREATE INDEX ON docs_bm25_off USING bm25 (body) WITH (text_config = 'english', positions = off)",
        "SELECT id FROM docs_bm25_off ORDER BY body <@> %(words)s LIMIT 10",
        "SELECT id FROM docs_bm25_off WHERE body @@ to_bm25query({})",
    ),
    "pg_textsearch": (
        "CREATE INDEX ON docs_pg_textsearch USING bm25 (body) WITH (text_config = 'english')",
        "SELECT id FROM docs_pg_textsearch ORDER BY body <@> %(words)s LIMIT 10",
        None,
    ),
    "gin": (
        "CREATE INDEX ON docs_gin USING gin (v)",
        RANK.format("v", "gin"),
        "SELECT id FROM docs_gin WHERE v @@ {}",
    ),
    "gin_text": (
        "CREATE INDEX ON docs_gin_text USING gin (to_tsvector('english', body))",
        RANK.format("to_tsvector('english', body)", "gin_text"),
        "SELECT id FROM docs_gin_text WHERE to_tsvector('english', body) @@ {}",
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
        self.connection = psycopg.connect(conninfo, autocommit=True, cursor_factory=psycopg.ClientCursor)
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

    def wal(self):
        """Megabytes of WAL that the server has written."""
        return float(self.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")) / 1e6


def read_lines(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f]


def load(backend, system, texts):
    vector = ", v tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED" if system == "gin" else ""
    backend.connection.execute(f"DROP TABLE IF EXISTS docs_{system}")
    backend.connection.execute(f"CREATE TABLE docs_{system} (id int PRIMARY KEY, body text{vector})")
    with backend.connection.cursor().copy(f"COPY docs_{system} (id, body) FROM STDIN") as copy:
        for row in enumerate(texts):
            copy.write_row(row)
    backend.connection.execute(f"VACUUM ANALYZE docs_{system}")


def build(backend, system):
    start, cpu = time.monotonic(), backend.cost(SYSTEMS[system][0])
    seconds = time.monotonic() - start
    size = backend.one("SELECT sum(pg_relation_size(indexrelid))::float8 FROM pg_index"
                       " WHERE indrelid = %s::regclass AND NOT indisprimary", (f"docs_{system}",))
    print(f"{system}: {size / 1e6:.1f} MB, built in {cpu / 1e3:.1f} s of processor time ({seconds:.1f} s)", flush=True)
    backend.connection.execute(f"VACUUM ANALYZE docs_{system}")


def content_words(sentence):
    return list(dict.fromkeys(word for word in re.findall("[a-z]+", sentence.lower()) if len(word) > 3))


def measure(backends, sqls, name, queries, rounds):
    """The least that each query takes, of each system, which take turns.  Returns p50 and p95 of each."""
    shares = {}
    times = {system: [] for system in sqls}
    for words in queries:
        for system, sql in sqls.items():
            times[system].append(min(backends[system].cost(sql, {"words": words}) for _ in range(rounds)))
    for system, all_times in times.items():
        all_times.sort()
        print(f"{name}, {system}: mean {statistics.mean(all_times):.3f} ms, p50 {statistics.median(all_times):.3f} ms,"
              f" p95 {all_times[len(all_times) * 95 // 100]:.3f} ms ({len(all_times)} queries)", flush=True)
        shares[system] = (statistics.median(all_times), all_times[len(all_times) * 95 // 100])
    return shares


def plot(by_words, texts, stem):
    """p50 and p95 of each system against the number of words."""
    labels = {"bm25_off": "bm25, positions = off", "gin": "ts_rank, GIN on a stored tsvector",
              "gin_text": "ts_rank, GIN on to_tsvector(text)"}
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = "piramid"
    figure, panel = plt.subplots(figsize=(8, 4.8))
    for system in next(iter(by_words.values())):
        line, = panel.plot(list(by_words), [shares[system][0] for shares in by_words.values()],
                           marker="o", markersize=4, label=labels.get(system, system))
        panel.plot(list(by_words), [shares[system][1] for shares in by_words.values()],
                   linestyle=":", color=line.get_color())
    panel.set_yscale("log")
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
             if panel.get_ylim()[0] <= tick <= panel.get_ylim()[1]]
    panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.set_xticks(list(by_words))
    panel.set_xlabel("words of the query, any of them")
    panel.set_ylabel("CPU milliseconds of the backend, LIMIT 10")
    panel.set_title(f"{texts:,} texts; the median, and dotted what 95% of the queries stay below", fontsize=10)
    panel.grid(alpha=0.3)
    panel.set_ylim(top=panel.get_ylim()[1] * 6)  # room for the names
    panel.legend(frameon=False, loc="upper left", ncols=2, fontsize=9)
    figure.tight_layout()
    for kind in ("svg", "png"):
        figure.savefig(f"{stem}.{kind}", dpi=110, metadata={"Date": None} if kind == "svg" else None)


def measure_writes(backend, system, texts):
    insert = f"INSERT INTO docs_{system} (id, body) VALUES (%s, %s)"
    wal = backend.wal()
    costs = [backend.cost(insert, (len(texts) + i, text)) for i, text in enumerate(texts[:INSERTS])]
    print(f"{system}: {len(costs)} inserts: {sum(costs):.0f} ms, the longest {max(costs):.1f} ms,"
          f" {backend.wal() - wal:.1f} MB of WAL", flush=True)
    wal = backend.wal()
    with backend.connection.transaction():
        cost = sum(backend.cost(insert, (len(texts) + INSERTS + i, text)) for i, text in enumerate(texts[:INSERTS]))
    print(f"{system}: the same in one transaction: {cost:.0f} ms, {backend.wal() - wal:.1f} MB of WAL", flush=True)
    backend.connection.execute(f"DELETE FROM docs_{system} WHERE id % 10 = 3".replace("%", "%%"), ())
    print(f"{system}: VACUUM of 10%: {backend.cost(f'VACUUM docs_{system}'):.0f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", required=True, help="synsets, or lines of a number and a text")
    parser.add_argument("--asked", help="sentences that queries are made of: column 2")
    parser.add_argument("--systems", default="bm25,bm25_off,gin,gin_text", help=f"some of {','.join(SYSTEMS)}")
    parser.add_argument("--peer", help="the database in which pg_textsearch is")
    parser.add_argument("--plot", metavar="STEM")
    parser.add_argument("conninfo", nargs="*")
    args = parser.parse_args()
    texts = [row[1] if len(row) == 2 else f"{row[3]}: {row[4]}" for row in read_lines(args.words)]
    own = [content_words(text.split(":", 1)[-1]) for text in texts[::max(1, len(texts) // (2 * PHRASES))]]
    asked = [content_words(row[1]) for row in read_lines(args.asked)] if args.asked else own
    systems = args.systems.split(",")
    backends = {system: Backend(args.peer if system == "pg_textsearch" else " ".join(args.conninfo))
                for system in systems}
    for system, backend in backends.items():
        for extension in ["pg_textsearch"] if system == "pg_textsearch" else ["piramid", "piramid_bm25"]:
            backend.connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
        load(backend, system, texts)
        build(backend, system)
    by_words = {}
    for n in LENGTHS:
        queries = [" ".join(words[:n]) for words in asked if len(words) >= n][:QUERIES]
        if len(queries) >= QUERIES // 2:
            by_words[n] = measure(backends, {system: SYSTEMS[system][1] for system in systems}, f"{n} words",
                                  queries, ROUNDS)
    if args.plot:
        plot(by_words, len(texts), args.plot)
    conditions = {system: SYSTEMS[system][2] for system in systems if SYSTEMS[system][2] is not None}
    phrases = [" ".join(words[:2]) for words in own if len(words) > 1][:PHRASES]
    for name, condition in CONDITIONS.items():
        measure(backends, {system: sql.format(condition) for system, sql in conditions.items()}, name, phrases, 2)
    for system, backend in backends.items():
        measure_writes(backend, system, texts)


if __name__ == "__main__":
    main()
