"""bench/once/sparse.py: bm25 beside hnsw on sparse vectors, by the backend's processor time.

Needs a running server on this machine with the extensions, psycopg and numpy, and what
bench/lib/splade.py --out has written.  Each method has a table of its own; both take turns,
after --block queries each, and each query counts with the least of --rounds.  Prints sizes,
seconds of builds, recall@10 by distance, and microseconds of a query, at each --ef of hnsw;
then what hnsw takes at recall 0.95 over what bm25 takes, between the two --ef around it.

    bench/lib/splade.py --documents 100000 --out /tmp/splade
    bench/once/sparse.py --set /tmp/splade -- host=/tmp
"""

import argparse
import math
import time
from pathlib import Path

from fulltext import Backend

METHODS = {"bm25": "sparsevec_ip_ops", "hnsw": "sparsevec_ip_ops"}
TERMS = 30522
TARGET = 0.95


def load(backend, method, folder):
    execute = backend.connection.execute
    execute(f"DROP TABLE IF EXISTS sparse_{method}")
    execute(f"CREATE TABLE sparse_{method} (id int, embedding sparsevec({TERMS}))")
    copy_in(backend, f"sparse_{method}", folder / "documents.copy")
    start, cpu = time.monotonic(), backend.cost("SELECT 1")
    cpu = backend.cost(f"CREATE INDEX ON sparse_{method} USING {method} (embedding {METHODS[method]})")
    size = backend.one(f"SELECT pg_indexes_size('sparse_{method}')::float8")
    print(f"{method}: {size / 1e6:.1f} MB, built in {cpu / 1e3:.1f} s of processor time"
          f" ({time.monotonic() - start:.1f} s)", flush=True)
    execute(f"VACUUM ANALYZE sparse_{method}")


def copy_in(backend, table, path):
    with backend.connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy, open(path, "rb") as f:
        while block := f.read(1 << 20):
            copy.write(block)


def prepare(backend, method):
    for setting in ("plan_cache_mode = force_generic_plan", "enable_seqscan = off", "max_parallel_workers_per_gather = 0"):
        backend.connection.execute(f"SET {setting}")
    backend.connection.execute(
        f"PREPARE best(int) AS SELECT d.embedding <#> q.embedding FROM (SELECT embedding FROM sparse_queries WHERE id = $1"
        f" OFFSET 0) q, LATERAL (SELECT embedding FROM sparse_{method} ORDER BY embedding <#> q.embedding LIMIT 10) d")
    plan = backend.connection.execute("EXPLAIN EXECUTE best(0)").fetchall()
    if not any(f"sparse_{method}_embedding_idx" in line for line, in plan):
        raise SystemExit(f"{method}: the index is not used")


def ask(backend, query):
    """Microseconds, and distances."""
    start = backend.cpu()
    rows = backend.connection.execute(f"EXECUTE best({query})").fetchall()
    return (backend.cpu() - start) * 1e3, [distance for distance, in rows]


def measure(backends, truth, rounds, block):
    """Of each method: mean of the least times, and recall."""
    times = {method: [math.inf] * len(truth) for method in backends}
    found = dict.fromkeys(backends, 0)
    for start in range(0, len(truth), block):
        for turn in range(rounds):
            for method, backend in backends.items():
                for query, tenth in enumerate(truth[start:start + block], start):
                    cost, distances = ask(backend, query)
                    times[method][query] = min(times[method][query], cost)
                    if turn == 0:
                        found[method] += sum(-distance >= tenth * (1 - 1e-6) for distance in distances)
    return {method: (sum(times[method]) / len(truth), found[method] / len(truth) / 10) for method in backends}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, type=Path, help="folder that bench/lib/splade.py has written")
    parser.add_argument("--ef", default="80,160", help="of hnsw")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--block", type=int, default=1, help="so many queries by one method, then by the other")
    parser.add_argument("--reuse", action="store_true", help="tables and indexes are there")
    parser.add_argument("conninfo", nargs="*")
    args = parser.parse_args()
    truth = []
    with open(args.set / "neighbours.tsv", encoding="ascii") as f:
        for query, place, _, score in (line.split("\t") for line in f):
            if place == "10" and int(query) < args.queries:
                truth.append(float(score))
    backends = {method: Backend(" ".join(args.conninfo)) for method in METHODS}
    if not args.reuse:
        first = backends["bm25"].connection
        first.execute("CREATE EXTENSION IF NOT EXISTS piramid")
        first.execute("CREATE EXTENSION IF NOT EXISTS piramid_bm25")
        first.execute("DROP TABLE IF EXISTS sparse_queries")
        first.execute(f"CREATE TABLE sparse_queries (id int PRIMARY KEY, embedding sparsevec({TERMS}))")
        copy_in(backends["bm25"], "sparse_queries", args.set / "queries.copy")
        for method, backend in backends.items():
            load(backend, method, args.set)
    for method, backend in backends.items():
        prepare(backend, method)
    points = []
    for ef in args.ef.split(","):
        backends["hnsw"].connection.execute(f"SET hnsw.ef_search = {int(ef)}")
        result = measure(backends, truth, args.rounds, args.block)
        points.append((*result["hnsw"], *result["bm25"]))
        print(f"hnsw, ef_search {ef}: recall {result['hnsw'][1]:.4f}, {result['hnsw'][0]:.0f} us;"
              f" bm25: recall {result['bm25'][1]:.4f}, {result['bm25'][0]:.0f} us", flush=True)
    for (low_us, low, low_own, _), (us, recall, own, _) in zip(points, points[1:]):
        if low <= TARGET <= recall:
            share = (TARGET - low) / (recall - low)
            at_target = math.exp(math.log(low_us) * (1 - share) + math.log(us) * share)
            print(f"at recall {TARGET}: hnsw takes {at_target:.0f} us, {at_target * 2 / (low_own + own):.1f} times bm25's")


if __name__ == "__main__":
    main()
