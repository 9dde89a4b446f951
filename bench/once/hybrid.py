"""bench/once/hybrid.py: piramid_hybrid() beside its two legs, how good and how long.

Needs a running server on this machine with the extensions, psycopg and h5py.  Rows are
WordNet's synsets: their texts (columns 4 and 5 of --words) and their embeddings ("train"
of --vectors).  Queries are example sentences (--asked) with their embeddings ("test"), of
which each has one relevant row.  Prints the mean of 1 / rank within 10 rows (MRR@10) of
each way, with the paired standard error of its difference from the words alone, then
milliseconds of the backend's processor time: LIMIT 10, the ways in turns at each query,
the least of --rounds.

    bench/once/hybrid.py --words wordnet.tsv.gz --asked wordnet-queries.tsv.gz \\
        --vectors wordnet-384-angular.hdf5 -- host=/tmp
"""

import argparse
import math
import statistics

import h5py
from fulltext import Backend, read_lines

TABLE = "docs_hybrid"
HYBRID = (f"SELECT d.id FROM piramid_hybrid('{TABLE}', 'body', %(words)s, 'embedding', %(vector)s{{}}) h"
          f" JOIN {TABLE} d ON d.ctid = h.tid ORDER BY h.score DESC, d.id")
# how each way is asked for its 10 rows
WAYS = {
    "words": f"SELECT id FROM {TABLE} ORDER BY body <@> %(words)s LIMIT 10",
    "vectors": f"SELECT id FROM {TABLE} ORDER BY embedding <=> %(vector)s LIMIT 10",
    "rrf, pool 50": HYBRID.format(", method => 'rrf', pool => 50"),
    "default": HYBRID.format(""),
}
MORE_WAYS = {
    "rrf": HYBRID.format(", method => 'rrf'"),
    "minmax": HYBRID.format(", method => 'minmax'"),
    "zscore": HYBRID.format(", method => 'zscore'"),
    "dbsf": HYBRID.format(", method => 'dbsf'"),
    "default, pool 50": HYBRID.format(", pool => 50"),
}


def as_text(vector):
    return "[" + ",".join(f"{x:g}" for x in vector) + "]"


def load(backend, texts, vectors):
    connection = backend.connection
    for extension in "piramid", "piramid_bm25":
        connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
    connection.execute(f"CREATE TABLE {TABLE} (id int PRIMARY KEY, body text, embedding vector({vectors.shape[1]}))")
    with connection.cursor().copy(f"COPY {TABLE} FROM STDIN") as copy:
        for i, (text, vector) in enumerate(zip(texts, vectors[:])):
            copy.write_row((i, text, as_text(vector)))
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute(f"CREATE INDEX ON {TABLE} USING bm25 (body) WITH (text_config = 'english')")
    connection.execute(f"CREATE INDEX ON {TABLE} USING hnsw (embedding vector_cosine_ops)")
    connection.execute(f"VACUUM ANALYZE {TABLE}")


def gain(rows, relevant):
    """1 / the rank of the relevant row, 0 if it is not there."""
    return 1 / (rows.index(relevant) + 1) if relevant in rows[:10] else 0


def measure_gains(backend, queries):
    gains = {}
    for way, sql in {**WAYS, **MORE_WAYS}.items():
        gains[way] = [gain([row[0] for row in backend.connection.execute(sql, query).fetchall()], query["relevant"])
                      for query in queries]
        differences = [ours - words for ours, words in zip(gains[way], gains["words"])]
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        print(f"{way}: MRR@10 {statistics.mean(gains[way]):.4f}, to words {statistics.mean(differences):+.4f}"
              f" (standard error {error:.4f})", flush=True)


def measure_costs(backend, queries, rounds):
    costs = {way: [] for way in WAYS}
    for query in queries:
        for way, sql in WAYS.items():
            costs[way].append(min(backend.cost(sql, query) for _ in range(rounds)))
    for way, all_costs in costs.items():
        ordered = sorted(all_costs)
        print(f"{way}: mean {statistics.mean(ordered):.3f} ms, p50 {statistics.median(ordered):.3f} ms,"
              f" p95 {ordered[len(ordered) * 95 // 100]:.3f} ms ({len(ordered)} queries)")
    more = sorted(both - words - vectors
                  for both, words, vectors in zip(costs["default"], costs["words"], costs["vectors"]))
    print(f"default beyond both legs: mean {statistics.mean(more):.3f} ms, p50 {statistics.median(more):.3f} ms,"
          f" p95 {more[len(more) * 95 // 100]:.3f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", required=True, help="synsets")
    parser.add_argument("--asked", required=True, help="sentences: column 2")
    parser.add_argument("--vectors", required=True, help="HDF5: train, test, relevant")
    parser.add_argument("--timed", type=int, default=200, help="queries whose time is taken")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="use the table that is there")
    parser.add_argument("conninfo", nargs="*")
    args = parser.parse_args()
    backend = Backend(" ".join(args.conninfo))
    with h5py.File(args.vectors) as data:
        if not args.keep:
            load(backend, [f"{row[3]}: {row[4]}" for row in read_lines(args.words)], data["train"])
        queries = [{"words": row[1], "vector": as_text(vector), "relevant": int(relevant)}
                   for row, vector, relevant in zip(read_lines(args.asked), data["test"][:], data["relevant"][:])]
    measure_gains(backend, queries)
    measure_costs(backend, queries[:args.timed], args.rounds)


if __name__ == "__main__":
    main()
