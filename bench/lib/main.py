"""bench/run: see bench/README.md."""

import argparse
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import bars
import measure
import report
import server
import splade
import writes
import yardstick
from column import COLUMNS
from dataset import BitDataset, DenseDataset
from sparse import SparseDataset
from system import EXTENSIONS, System, database_name, note

DEFAULT_EF = "10,20,30,40,60,80,100,150,200,300,400,600"


def memory_mb():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def megabytes(text):
    """A PostgreSQL memory setting in MB."""
    match = re.fullmatch(r"(\d+)\s*(MB|GB)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of MB or GB")
    return int(match[1]) * (1024 if match[2] == "GB" else 1)


def memory_setting(text):
    megabytes(text)
    return text


def numbers(text):
    return [int(n) for n in text.split(",")]


def per_system(texts):
    """[SYSTEM:]VALUE options as (system or None, value) pairs."""
    for text in texts or []:
        head, colon, tail = text.partition(":")
        yield (head, tail) if colon and head in (*EXTENSIONS, *yardstick.LIBRARIES) else (None, text)


def assignments(texts, system):
    """k=v,... of the options that are meant for a system."""
    result = {}
    for name, text in per_system(texts):
        if name in (None, system):
            for pair in filter(None, text.split(",")):
                key, equals, value = pair.partition("=")
                if not equals:
                    raise SystemExit(f"{pair!r}: NAME=VALUE is wanted")
                result[key.strip()] = value.strip()
    return result


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action):
        return super()._get_help_string(action) if action.default else action.help


def parse():
    ram = memory_mb()
    p = argparse.ArgumentParser(prog="bench/run", description="Measures piramid on ann-benchmarks HDF5 files.",
                                formatter_class=Help)
    p.add_argument("files", nargs="*", metavar="FILE.hdf5", help="or splade, a generated sparse set")
    g = p.add_argument_group("what is measured")
    g.add_argument("--systems", default="piramid", help="list of: " + ", ".join(EXTENSIONS))
    g.add_argument("--peer", action="append", choices=[n for n in EXTENSIONS if n != "piramid"], default=[],
                   help="measure this system too, in the same server, taking turns")
    g.add_argument("--yardstick", action="store_true",
                   help="measure hnswlib (or usearch) too: " + yardstick.WHAT)
    g.add_argument("--type", choices=COLUMNS, default="vector",
                   help="of the column: bit holds the signs, sparsevec goes with the data set splade")
    g.add_argument("--rows", type=int, help="index only the first ROWS rows")
    g.add_argument("--dim", type=int,
                   help="derive rows of so many dimensions: the first elements of each row, or for twice as many"
                        " each row followed by the signed square roots of its elements")
    g.add_argument("--k", type=int, default=10)
    g.add_argument("--ef", action="append", metavar="[SYSTEM:]LIST",
                   help=f"values of hnsw.ef_search (default: {DEFAULT_EF})")
    g.add_argument("--enough", type=float, default=0.998, help="a system's sweep ends at this recall")
    g.add_argument("--insert", type=int, metavar="N",
                   help="measure instead: add the 3 N rows that follow --rows, by one INSERT,"
                        " by single ones and by COPY; then UPDATE N rows in another column")
    g.add_argument("--vacuum", action="store_true",
                   help="after --insert: DELETE a tenth, VACUUM")
    g.add_argument("--churn", type=int, metavar="ROUNDS",
                   help="measure instead: recall and size after each of so many rounds in which a"
                        " tenth of the rows is deleted, the table vacuumed, and a tenth inserted")
    g = p.add_argument_group("how")
    g.add_argument("--connections", type=numbers, default="1,2")
    g.add_argument("--rounds", type=int, default=3)
    g.add_argument("--seconds", type=float, default=2.0, help="of each round")
    g.add_argument("--warm", type=float, default=0.3, help="seconds before each round that do not count")
    g.add_argument("--pin", action="store_true",
                   help="keep each connection's client and backend on one CPU")
    g.add_argument("--cold", action="store_true",
                   help="drop the cluster's files from the page cache before each round, and do not prewarm")
    g.add_argument("--client", choices=["qps", "pgbench"], default="qps",
                   help="pgbench is a cross-check: it looks the query up in a table")
    g.add_argument("--index-options", action="append", metavar="[SYSTEM:]NAME=VALUE,...")
    g.add_argument("--set", action="append", metavar="[SYSTEM:]NAME=VALUE,...",
                   help="settings of the sessions that build and search")
    g.add_argument("--parallel-workers", type=int, default=0, help="of CREATE INDEX, besides the leader")
    g.add_argument("--maintenance-work-mem", type=memory_setting, default=f"{ram // 6}MB")
    g.add_argument("--shared-buffers", type=memory_setting, default=f"{ram // 4}MB")
    g.add_argument("--force-index", action="store_true", help="set enable_seqscan = off on all systems")
    g = p.add_argument_group("where")
    g.add_argument("--reuse", action="store_true",
                   help="keep the cluster, and use what an earlier run left in it: tables and peers' indexes")
    g.add_argument("--reuse-index", action="store_true", help="--reuse, and keep piramid's index")
    g.add_argument("--load-only", action="store_true", help="load and build indexes, and measure that alone")
    g.add_argument("--no-index", action="store_true", help="with --load-only: load the tables alone")
    g.add_argument("--serve", action="store_true", help="start the server of --reuse and wait for Enter")
    g.add_argument("--no-build", action="store_true", help="do not compile piramid (only for peers alone)")
    g.add_argument("--chroot", default=str(server.CACHE / "pg17"), help="Debian with PostgreSQL and the peer")
    g.add_argument("--pg-config", help="use this local installation instead of a chroot")
    g.add_argument("--work-dir", help="cluster and build (default: in the cache directory,"
                                      " /var/tmp/piramid-bench with --pg-config)")
    g.add_argument("--out", default=str(server.ROOT / "build/bench"), help="results")
    g.add_argument("--show", metavar="RESULT.json", action="append", default=[],
                   help="only make the tables and the plot of a result again")
    g.add_argument("--overview", metavar="STEM",
                   help="only draw the results named instead of data files side by side, to STEM.svg and STEM.png")
    g.add_argument("--by-cpu", action="store_true",
                   help="--overview by the processor time of the backend (or of the library) instead of the clock's")
    for kind in bars.KINDS:
        g.add_argument(f"--{kind}-bars", metavar="STEM", help=f"the same with bars: {bars.HELP[kind]}")
    o = p.parse_args()
    o.systems = list(dict.fromkeys(o.systems.split(",") + o.peer))
    unknown = set(o.systems) - set(EXTENSIONS)
    if unknown:
        p.error(f"unknown system: {', '.join(unknown)}")
    if not o.files and not o.show and not o.serve:
        p.error("name a data file")
    if isinstance(o.connections, str):
        o.connections = numbers(o.connections)
    if o.yardstick and (1 not in o.connections or o.insert or o.churn):
        p.error("--yardstick is of searches by one connection")
    o.reuse |= o.reuse_index | o.serve
    o.work_dir = o.work_dir or ("/var/tmp/piramid-bench" if o.pg_config else str(server.CACHE / "bench"))
    return o


def server_settings(o):
    return {"shared_buffers": o.shared_buffers, "maintenance_work_mem": o.maintenance_work_mem,
            "max_parallel_maintenance_workers": o.parallel_workers,
            "max_parallel_workers": max(8, o.parallel_workers),
            "max_worker_processes": max(8, o.parallel_workers),
            "max_wal_size": "32GB", "checkpoint_timeout": "1h", "synchronous_commit": "off",
            "autovacuum": "off", "jit": "off", "max_parallel_workers_per_gather": 0,
            "max_connections": 50, "update_process_title": "off"}


def machine(systems):
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    flags = re.search(r"^flags.*", Path("/proc/cpuinfo").read_text(), re.M)
    known = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_vpopcntdq") if flags and f in flags[0].split()]
    version = systems[0].server_version()
    return {"cpu": cpu, "cpu_flags": known, "cores": os.cpu_count(), "memory_gb": round(memory_mb() / 1024, 1),
            "kernel": os.uname().release, "simd": next((s.simd for s in systems if s.simd), None),
            "postgres": " ".join(version.split()[:2]), "postgres_build": version, "commit": commit(),
            "load": [round(os.getloadavg()[0], 2)] * 2}


def commit():
    def git(*args):
        return subprocess.run(["git", "--no-optional-locks", "-C", str(server.ROOT), *args], text=True, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def ef_lists(o, names):
    result = {}
    for name in names:
        chosen = [t for n, t in per_system(o.ef) if n == name] or [t for n, t in per_system(o.ef) if n is None]
        result[name] = sorted(numbers(chosen[-1] if chosen else DEFAULT_EF))
    return result


def describe(o, srv, systems, data):
    with systems[0].connect() as conn:
        settings = dict(conn.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)",
            [["huge_pages", *srv.settings]]).fetchall())
    settings.pop("unix_socket_directories", None)
    return {"dataset": {"name": data.name, "type": data.column.name, "rows": data.rows, "dim": data.dim,
                        "distance": data.distance, "queries": len(data.queries),
                        "derived": getattr(data, "derived", None)},
            "machine": machine(systems), "settings": settings,
            "options": {"k": o.k, "connections": o.connections, "rounds": o.rounds, "seconds": o.seconds,
                        "client": o.client, "pinned": o.pin, "cold": o.cold, "session": {s.name: s.settings for s in systems}},
            "systems": {s.name: {"version": s.version} for s in systems}}


def open_dataset(name, o):
    """A file, or the generated set, as the rows of a column of --type."""
    if (name == "splade") != (o.type == "sparsevec"):
        raise SystemExit(f"{name}: --type sparsevec and the data set splade belong together")
    if name == "splade" and o.dim:
        raise SystemExit("--dim is of files")
    if name == "splade":
        return SparseDataset(name, *splade.generate(), o.rows, o.k)
    return (BitDataset if o.type == "bit" else DenseDataset)(name, o.type, o.rows, o.k, o.dim)


def measure_searches(o, srv, program, systems, data, result):
    for system in systems:
        system.load(data)
    if o.no_index:
        return
    for system in systems:
        keep = o.reuse and (system.name != "piramid" or o.reuse_index)
        build = system.build(data, keep)
        result["systems"][system.name]["build"] = build
        note(f"{system.name}: index {build['index_bytes'] / report.MB:,.0f} MB, built in {build['seconds']:,.1f} s"
             f" ({build['vectors_per_second']:,.0f} vectors/s)" + (", kept" if build["reused"] else ""))
    library = None
    if o.yardstick:
        name = yardstick.installed()
        library = yardstick.Yardstick(data, name, assignments(o.index_options, name))
    if library:
        result["systems"][library.name] = {"version": library.version, "what": yardstick.WHAT, "build": library.build(Path(o.work_dir) / "yardstick" if o.reuse else None)}
    if o.load_only:
        return
    if not o.cold:
        result["warm_bytes"] = measure.prewarm(systems, data, megabytes(o.shared_buffers) << 20)
    bench = measure.Bench(srv, program, data, o)
    result["floor"] = bench.floor()
    points = bench.sweep(systems, ef_lists(o, list(result["systems"])), o.enough, library)
    for name in result["systems"]:
        result["systems"][name]["points"] = points[name]


def measure_writes(o, systems, data, result):
    result["writes"] = {s.name: writes.measure(s, data, o.insert, o.vacuum) for s in systems}


def run_file(o, srv, program, path):
    data = open_dataset(path, o)
    systems = [System(srv, name, o.type, assignments(o.index_options, name), assignments(o.set, name))
               for name in o.systems]
    for system in systems:
        system.prepare()
    result = describe(o, srv, systems, data)
    if o.churn:
        result["churn"] = {s.name: writes.churn(s, data, o.churn) for s in systems}
    elif o.insert:
        measure_writes(o, systems, data, result)
    else:
        measure_searches(o, srv, program, systems, data, result)
    if o.no_index:
        return
    result["machine"]["load"][1] = round(os.getloadavg()[0], 2)
    out = Path(o.out)
    out.mkdir(parents=True, exist_ok=True)
    what = "-churn" if o.churn else "-writes" if o.insert else "-build" if o.load_only else ""
    stem = out / f"{data.name}{what}-{measure.timestamp()}"
    print(report.write(result, stem))
    note(f"wrote {stem}.json and the tables and plot beside it")


def main():
    o = parse()
    if o.overview:
        report.overview(o.files, o.overview, report.by_cpu if o.by_cpu else report.by_wall)
        return
    for kind in bars.KINDS:
        if stem := getattr(o, f"{kind}_bars"):
            bars.draw(kind, o.files, stem)
            return
    for path in o.show:
        print(report.show(path))
    if not o.files and not o.serve:
        return
    if not o.pg_config and os.geteuid() == 0:
        server.enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    installation = server.Installation(o.work_dir, o.pg_config, o.chroot)
    if "piramid" in o.systems and not o.no_build:
        installation.install_piramid()
    program = installation.build_client()
    srv = server.Server(installation, server_settings(o), "cluster" if o.reuse else "once")
    try:
        if not o.reuse:
            srv.remove()
        if not srv.exists():
            srv.create()
        srv.start()
        if o.serve:
            for name in o.systems:
                print(f"psql '{srv.conninfo(database_name(name, o.type))}'")
            input("Enter stops the server. ")
        for path in o.files:
            run_file(o, srv, program, path)
    finally:
        srv.stop()
        if not o.reuse:
            srv.remove()


if __name__ == "__main__":
    main()
