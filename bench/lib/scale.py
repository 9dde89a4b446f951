"""bench/scale: an index of ten million rows, from CREATE INDEX to piramid_check; see bench/README.md."""

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

import main as bench
import measure
import photographs
import report
import server
from dataset import DenseDataset
from system import Spent, System, note

INSERTED = 10000        # rows, by each of two ways
DELETED = 100           # one row in so many
EF = "10,20,40,60,80,100,150,200"
GB = 1 << 30


def parse():
    mine = argparse.ArgumentParser(prog="bench/scale", add_help=False)
    mine.add_argument("--rows", type=int, default=10_000_000)
    mine.add_argument("--peer-rows", type=lambda text: bench.numbers(text) if text else [],
                      default=[1_000_000, 2_000_000],
                      help="sizes at which pgvector is measured, too (empty: none)")
    mine.add_argument("--layouts", default="default,compact")
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__, mine.format_help(), "and options of bench/run:", sep="\n\n")
    own, rest = mine.parse_known_args()
    given = sys.argv[:]
    sys.argv[1:] = ["--parallel-workers", "1", "--connections", "1", "--seconds", "1", "--ef", EF, *rest, "photographs"]
    theirs = bench.parse()
    sys.argv = given        # with which a mount namespace starts over
    return own, theirs


class Memory:
    """The most memory that the server's processes had between `with` and its end, beside shared
    buffers: their own pages, and what parallel workers share."""

    def __init__(self, srv):
        self.postmaster = srv.pid()
        self.done = threading.Event()
        self.most = 0

    def _processes(self):
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children")
        return [self.postmaster, *map(int, children.read_text().split())]

    def _sample(self):
        total = sum(f.stat().st_blocks * 512 for f in Path("/dev/shm").glob("PostgreSQL.*"))
        for pid in self._processes():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))
        self.most = max(self.most, total)

    def _watch(self):
        while not self.done.wait(0.2):
            try:
                self._sample()
            except OSError:
                pass

    def __enter__(self):
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def spent(conn, work):
    with Spent(conn) as s:
        work() if callable(work) else conn.execute(work)
    return s.result()


def write(system, data):
    """Rows inserted by COPY and by statements, one in DELETED deleted, VACUUM; and what they found."""
    table, column, result = data.table, data.column, {}
    with system.connect() as conn:
        first, last = data.rows, data.rows + INSERTED
        note(f"{system.name}: writes")
        result["copy"] = spent(conn, lambda: system.copy(conn, table, column, data.chunks(first, last), INSERTED))
        conn.execute("CREATE TEMP TABLE staged (LIKE " + table + ")")
        system.copy(conn, "staged", column, data.chunks(last, last + INSERTED), INSERTED)
        result["statements"] = spent(
            conn, "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM staged LOOP"
                  f" INSERT INTO {table} VALUES (r.id, r.embedding); END LOOP; END $$")
        conn.execute(f"DELETE FROM {table} WHERE id % {DELETED} = 3")
        result["vacuum"] = spent(conn, f"VACUUM (PARALLEL 0) {table}")
        result["found"] = found(conn, data, np.arange(first, last, INSERTED // 1000))
    return result


def found(conn, data, ids):
    """The share of rows that their own vector finds."""
    conn.execute("SET enable_seqscan = off")
    right = 0
    for i in ids:
        row = data.convert(data.train[int(i):int(i) + 1])[0]
        right += conn.execute(f"SELECT embedding {data.operator} %(v)s::{data.column.cast} FROM {data.table}"
                              f" ORDER BY embedding {data.operator} %(v)s::{data.column.cast} LIMIT 1",
                              {"v": data.column.text(row)}).fetchone() == (0,)
    return right / len(ids)


def check(system, data):
    """Seconds of piramid_check without and with the table, and what it finds."""
    result = {}
    with system.connect() as conn:
        for heap in (False, True):
            note(f"{system.name}: piramid_check" + (" with the table" if heap else ""))
            start = time.monotonic()
            rows = conn.execute("SELECT severity, what FROM piramid_check(%s, %s)",
                                [system.index_name(data.table), heap]).fetchall()
            result["with table" if heap else "index"] = {"seconds": round(time.monotonic() - start, 1),
                                                        "findings": [" ".join(map(str, row)) for row in rows]}
    return result


def measure_one(o, srv, program, system, data):
    system.prepare()
    start = time.monotonic()
    system.load(data)
    result = {"system": system.name, "rows": data.rows, "options": system.index_options, "version": system.version,
              "load_seconds": round(time.monotonic() - start, 1)}
    with Memory(srv) as memory:
        result["build"] = system.build(data, False)
    result["build_memory_bytes"] = memory.most
    note(f"{system.name}: {data.rows:,} rows, index {result['build']['index_bytes'] / GB:.1f} GB,"
         f" built in {result['build']['seconds']:,.0f} s with {memory.most / GB:.1f} GB of memory")
    measure.prewarm([system], data, bench.megabytes(o.shared_buffers) << 20)
    sweep = measure.Bench(srv, program, data, o)
    result["points"] = sweep.sweep([system], bench.ef_lists(o, [system.name]), o.enough)[system.name]
    result["writes"] = write(system, data)
    if system.name == "piramid":
        result["check"] = check(system, data)
    with system.connect() as conn:
        conn.execute(f"DROP TABLE {data.table}, {data.table}_queries; DELETE FROM bench_done")
    return result


def tables(results):
    head = ["rows", "system", "load s", "build s", "CPU s", "memory GB", "index GB", "ef_search", "recall@10", "p50 ms", "p99 ms",
            "queries/s", "CPU us", "pages"]
    rows = []
    for r in results:
        b = r["build"]
        name = report.series(r["system"], r["options"])
        first = [f"{r['rows']:,}", name, report.number(r["load_seconds"], 0), report.number(b["seconds"], 0), report.number(b["cpu_seconds"], 0),
                 report.number(r["build_memory_bytes"] / GB, 1), report.number(b["index_bytes"] / GB, 2)]
        for p in r["points"]:
            m = next(iter(p["connections"].values()))
            rows.append(first + [p["ef"], f"{p['recall']:.4f}", report.number(m["p50_ms"], 2), report.number(m["p99_ms"], 2),
                                 report.number(m["qps"], 0), report.number(m["cpu_us"], 0), report.number(p["pages"], 0)])
            first = [""] * len(first)
    text = report.table(head, rows)
    rows = []
    for r in results:
        w, c = r["writes"], r.get("check")
        steps = [f"{report.number(w[step]['seconds'], 1)} ({report.number(w[step]['cpu_seconds'], 1)})" for step in ("copy", "statements", "vacuum")]
        checks = [f"{c[what]['seconds']}, {len(c[what]['findings'])}" for what in ("index", "with table")] if c else ["-", "-"]
        rows.append([f"{r['rows']:,}", report.series(r["system"], r["options"]), *steps, f"{w['found']:.4f}", *checks])
    return text + "\n" + report.table(
        ["rows", "system", f"{INSERTED:,} by COPY, s (CPU s)", f"{INSERTED:,} by INSERT", f"VACUUM after 1 in {DELETED} deleted",
         "inserted rows found", "piramid_check, s, findings", "with the table"], rows)


def save(o, settings, results):
    """After each step: a run of hours that ends early has shown what it has."""
    out = Path(o.out)
    out.mkdir(parents=True, exist_ok=True)
    stem = out / f"scale-{settings['when']}"
    Path(f"{stem}.json").write_text(json.dumps({**settings, "results": results}, indent=1) + "\n")
    text = tables(results)
    Path(f"{stem}.md").write_text(text)
    return text, stem


def main():
    own, o = parse()
    if not o.pg_config and os.geteuid() == 0:
        server.enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    Path(o.work_dir).mkdir(parents=True, exist_ok=True)
    smaller = [n for n in own.peer_rows if n < own.rows]
    path = photographs.file_for(o.work_dir, own.rows, 2 * INSERTED, smaller)
    installation = server.Installation(o.work_dir, o.pg_config, o.chroot)
    if not o.no_build:
        installation.install_piramid()
    program = installation.build_client()
    srv = server.Server(installation, bench.server_settings(o), "scale")
    runs = [(n, name, {}) for n in smaller for name in ("piramid", "pgvector")]
    runs += [(own.rows, "piramid", {} if layout == "default" else {"layout": layout}) for layout in own.layouts.split(",")]
    settings, results = {"when": measure.timestamp(), "settings": dict(srv.settings)}, []
    try:
        srv.remove()
        srv.create()
        srv.start()
        for rows, name, options in runs:
            data = DenseDataset(path, rows=rows)
            system = System(srv, name, "vector", options, bench.assignments(o.set, name))
            results.append(measure_one(o, srv, program, system, data))
            settings["machine"] = bench.machine([system]) if name == "piramid" else settings["machine"]
            text, stem = save(o, settings, results)
            print(text)
        note(f"wrote {stem}.json and .md")
    finally:
        srv.stop()
        srv.remove()


if __name__ == "__main__":
    main()
