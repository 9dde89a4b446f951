"""bench/once/hybrid.py: piramid_hybrid() beside its two legs, how good and how long.

Needs a running server on this machine with the extensions, psycopg and h5py.  Each query
has one relevant row.  Two corpora:

- WordNet's synsets: their texts (columns 4 and 5 of --words) and their embeddings ("train"
  of --vectors).  Queries are example sentences (--asked) with their embeddings ("test").
- sections of the kernel's documentation under a directory (--sections), and their headings
  as queries (sections.py).  If the file --vectors is not there, it is made with the
  built-in model in the directory --model: in the virtual environment of server/install.

Prints the mean of 1 / rank within 10 rows (MRR@10) of each way, of all queries, of the even
and of the odd ones, with the paired standard error of its difference from the better leg;
then milliseconds of the backend's processor time: LIMIT 10, the ways in turns at each query,
the least of --rounds.

    bench/once/hybrid.py --words wordnet.tsv.gz --asked wordnet-queries.tsv.gz \\
        --vectors wordnet-384-angular.hdf5 -- host=/tmp
    bench/once/hybrid.py --sections linux-doc-6.1/Documentation \\
        --model /opt/piramid/share/piramid/all-MiniLM-L6-v2 --vectors kernel.hdf5 -- host=/tmp
"""

import argparse
import math
import os
import statistics

import h5py
import sections
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


def paired(ours, theirs):
    differences = [a - b for a, b in zip(ours, theirs)]
    return f"{statistics.mean(differences):+.4f} ({statistics.stdev(differences) / math.sqrt(len(differences)):.4f})"


def measure_gains(backend, queries):
    gains = {}
    for way, sql in {**WAYS, **MORE_WAYS}.items():
        gains[way] = [gain([row[0] for row in backend.connection.execute(sql, query).fetchall()], query["relevant"])
                      for query in queries]
    better = max(("words", "vectors"), key=lambda way: statistics.mean(gains[way]))
    rrf = gains["rrf, pool 50"]
    print(f"{len(queries)} queries: MRR@10 of all, even, odd; to {better} (paired standard error); to rrf, pool 50; times rrf")
    for way, ours in gains.items():
        print(f"{way}: {statistics.mean(ours):.4f}, {statistics.mean(ours[::2]):.4f}, {statistics.mean(ours[1::2]):.4f};"
              f" {paired(ours, gains[better])}, halves {paired(ours[::2], gains[better][::2])},"
              f" {paired(ours[1::2], gains[better][1::2])}; {paired(ours, rrf)};"
              f" {statistics.mean(ours) / statistics.mean(rrf):.3f}", flush=True)


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


def read_corpus(args):
    """The texts of the rows, and those of the queries."""
    if not args.sections:
        return ([f"{row[3]}: {row[4]}" for row in read_lines(args.words)],
                [row[1] for row in read_lines(args.asked)])
    rows = sections.read_sections(args.sections)
    queries = sections.asked(rows)
    if not os.path.exists(args.vectors):
        sections.write_vectors(args.vectors, args.model, rows, queries)
    return [text for _, text in rows], [title for _, title in queries]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", help="synsets")
    parser.add_argument("--asked", help="sentences: column 2")
    parser.add_argument("--sections", help="the kernel's documentation, in place of both")
    parser.add_argument("--model", help="the built-in model's directory")
    parser.add_argument("--vectors", required=True, help="HDF5: train, test, relevant")
    parser.add_argument("--timed", type=int, default=200, help="queries whose time is taken")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="use the table that is there")
    parser.add_argument("conninfo", nargs="*")
    args = parser.parse_args()
    if not args.sections and not (args.words and args.asked):
        parser.error("--words and --asked, or --sections")
    texts, asked = read_corpus(args)
    backend = Backend(" ".join(args.conninfo))
    with h5py.File(args.vectors) as data:
        if not args.keep:
            load(backend, texts, data["train"])
        queries = [{"words": text, "vector": as_text(vector), "relevant": int(relevant)}
                   for text, vector, relevant in zip(asked, data["test"][:], data["relevant"][:])]
    measure_gains(backend, queries)
    measure_costs(backend, queries[:args.timed], args.rounds)


if __name__ == "__main__":
    main()
