"""Rows per second of the ways to load and to read vectors with psycopg 3.

The server is the one that libpq's environment names (PGHOST, PGDATABASE, ...);
the table is made anew for each way of loading and dropped at the end.
"""

import argparse
import time
from pathlib import Path

import h5py
import numpy as np
import psycopg
from bulk import read_columns, write_columns
from pgvector import Vector
from pgvector.psycopg import register_vector

TABLE = "bulk_rates"


def insert_many(cur, ids, rows):
    cur.executemany(f"INSERT INTO {TABLE} VALUES (%s, %s)", zip(ids.tolist(), rows))


def copy_text(cur, ids, rows):
    with cur.copy(f"COPY {TABLE} FROM STDIN") as copy:
        for row in zip(ids.tolist(), rows):
            copy.write_row(row)


def copy_binary(cur, ids, rows):
    with cur.copy(f"COPY {TABLE} FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int8", "vector"])
        for row in zip(ids.tolist(), rows):
            copy.write_row(row)


def blocks(cur, ids, rows):
    write_columns(cur, f"{TABLE} (id, embedding)", ids, rows)


def to_arrays(rows):
    """What the ways that make an object of each row still have to do."""
    ids, vectors = zip(*rows)
    return np.array(ids), np.stack([v.to_numpy() for v in vectors])


def select_text(cur, dim):
    return to_arrays(cur.execute(f"SELECT id, embedding FROM {TABLE}"))


def select_binary(cur, dim):
    return to_arrays(cur.execute(f"SELECT id, embedding FROM {TABLE}", binary=True))


def read_text(cur, dim):
    with cur.copy(f"COPY {TABLE} TO STDOUT") as copy:
        copy.set_types(["int8", "vector"])
        return to_arrays(copy.rows())


def read_binary(cur, dim):
    with cur.copy(f"COPY {TABLE} TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int8", "vector"])
        return to_arrays(copy.rows())


def read_blocks(cur, dim):
    return read_columns(cur, f"SELECT id, embedding FROM {TABLE}", "i8", ("f4", dim))


# name, way, share of the rows (the slow ones are measured on fewer)
LOADS = [
    ("executemany", insert_many, 10),
    ("COPY, text, row by row", copy_text, 10),
    ("COPY, binary, row by row", copy_binary, 1),
    ("COPY, binary, NumPy blocks", blocks, 1),
]
READS = [
    ("SELECT, text", select_text, 10),
    ("SELECT, binary", select_binary, 10),
    ("COPY, text, row by row", read_text, 10),
    ("COPY, binary, row by row", read_binary, 10),
    ("COPY, binary, NumPy blocks", read_blocks, 1),
]


def server_time(conn):
    """Processor time of a connection's server process, where it is on this machine."""
    if not conn.info.host.startswith("/"):
        return float("nan")
    return int(Path(f"/proc/{conn.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9


class Watch:
    """The fastest of several rounds; apart, the processor time of the client
    and of the server, which other people's load leaves alone."""

    def __init__(self, conn):
        self.clocks = time.perf_counter, time.process_time, lambda: server_time(conn)
        self.best = [float("inf")] * 3

    def __enter__(self):
        self.start = [clock() for clock in self.clocks]

    def __exit__(self, *exception):
        self.best = [min(clock() - start, best) for clock, start, best in zip(self.clocks, self.start, self.best)]

    def line(self, title, rows, dim):
        seconds, client, server = self.best
        print(f"| {title} | {rows:,} | {rows / seconds:,.0f} | {rows * dim * 4 / seconds / 1e6:,.0f} "
              f"| {client / rows * 1e6:.1f} | {server / rows * 1e6:.1f} |", flush=True)


def heading(title):
    print(f"\n| {title} | rows | rows/s | MB/s | client CPU, us per row | server CPU, us per row |\n"
          "|---|---|---|---|---|---|")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="HDF5 with a data set \"train\"; default: random rows")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128, help="of random rows")
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many is printed")
    args = parser.parse_args()

    if args.file:
        with h5py.File(args.file) as data:
            rows = np.asarray(data["train"][:args.rows], dtype=np.float32)
    else:
        rows = np.random.default_rng(0).standard_normal((args.rows, args.dim), dtype=np.float32)
    ids = np.arange(len(rows))
    dim = rows.shape[1]

    with psycopg.connect(autocommit=True) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS piramid")
        register_vector(conn)
        cur = conn.cursor()

        def reset():
            cur.execute(f"DROP TABLE IF EXISTS {TABLE}")
            cur.execute(f"CREATE TABLE {TABLE} (id bigint, embedding vector({dim}))")

        heading("loading")
        for title, way, divisor in LOADS:
            count = max(1, len(rows) // divisor)
            watch = Watch(conn)
            for _ in range(args.rounds):
                reset()
                with watch, conn.transaction():
                    way(cur, ids[:count], rows[:count])
            found = cur.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]
            assert found == count, f"{title}: {found} rows of {count}"
            watch.line(title, count, dim)

        heading("reading")
        for title, way, divisor in READS:
            count = max(1, len(rows) // divisor)
            reset()
            blocks(cur, ids[:count], rows[:count])
            cur.execute(f"VACUUM ANALYZE {TABLE}")
            watch = Watch(conn)
            for _ in range(args.rounds):
                with watch:
                    got_ids, got = way(cur, dim)
            assert (got_ids == ids[:count]).all() and (got == rows[:count]).all(), f"{title}: other rows"
            watch.line(title, count, dim)
        cur.execute(f"DROP TABLE {TABLE}")


if __name__ == "__main__":
    main()
