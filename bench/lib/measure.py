"""Queries per second over a sweep of hnsw.ef_search, systems taking turns."""

import json
import os
import re
import statistics
import sys
import time

import numpy as np
from tqdm import tqdm

from column import parameter_file
from system import note


class Client:
    """A running qps: its connections stay open from point to point."""

    def __init__(self, server, program, database, connections, query, k, params="-"):
        self.process = server.installation.popen(
            [program, server.conninfo(database, inside=True), connections, params, k, query])

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the client ended after: {command}")
        return json.loads(line)

    def sql(self, statement):
        self.ask(f"sql {statement}")

    def prepare(self, settings, pin):
        for name, value in settings.items():
            self.sql(set_statement(name, value))
        if pin:
            self.ask("pin")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def set_statement(name, value):
    return f"SELECT set_config('{name}', '{value}', false)"


class Runner:
    """What is asked of one system: clients by number of connections."""

    def __init__(self, system, data, bench):
        self.system = system
        self.data = data
        self.bench = bench
        self.ids = system.server.installation.files / f"ids.{system.name}"
        self.session = system.connect()
        self.settings = {**system.settings, **bench.session}
        for name, value in self.settings.items():
            self.session.execute(set_statement(name, value))
        self.clients = {}
        for connections in sorted({1, *bench.connections}):
            client = Client(system.server, bench.program, system.database, connections,
                            system.query(data), data.k, bench.params)
            client.prepare(self.settings, bench.pin)
            self.clients[connections] = client

    def serves(self, connections):
        return connections in self.clients

    def time(self, connections, ef, warm, seconds):
        if self.bench.client == "pgbench":
            return self.bench.pgbench(self, connections, ef)
        return self.clients[connections].ask(f"time {warm} {seconds}")

    def _pages(self):
        """Index pages that all sessions have asked for so far."""
        return self.session.execute(
            "SELECT idx_blks_hit + idx_blks_read FROM pg_statio_user_indexes WHERE indexrelid = %s::regclass",
            [self.system.index_name(self.data.table)]).fetchone()[0]

    def warm_up(self, ef):
        """Ask all queries once, through each connection: what a first scan does
        once (caches of the catalog, of the projection, of where pages are) is
        then done, and no point of the sweep pays for it."""
        inside = self.system.server.installation.inside(self.ids)
        for client in self.clients.values():
            client.sql(set_statement("hnsw.ef_search", ef))
            client.ask(f"pass {inside}")

    def point(self, ef):
        """Set ef_search; returns recall and index pages per query there."""
        statement = set_statement("hnsw.ef_search", ef)
        self.session.execute(statement)
        for client in self.clients.values():
            client.sql(statement)
        self.system.check_plan(self.session, self.data)
        inside = self.system.server.installation.inside(self.ids)
        flush = "SELECT pg_stat_force_next_flush()"
        self.clients[1].sql(flush)
        before = self._pages()
        self.clients[1].ask(f"pass {inside}")
        self.clients[1].sql(flush)
        pages = self._pages() - before
        found = np.fromfile(self.ids, dtype=np.int32).reshape(-1, self.data.k)
        return {"recall": round(self.data.recall(found), 5), "pages": round(pages / len(found), 1)}

    def close(self):
        for client in self.clients.values():
            client.close()
        self.session.close()


class Bench:
    """The options of a sweep that all systems share."""

    def __init__(self, server, program, data, options):
        self.server = server
        self.program = program
        self.data = data
        self.connections = options.connections
        self.rounds = options.rounds
        self.seconds = options.seconds
        self.warm = options.warm
        self.client = options.client
        self.pin = options.pin
        self.cold = options.cold
        self.session = {"plan_cache_mode": "force_generic_plan"}
        if options.force_index:
            self.session["enable_seqscan"] = "off"
        files = server.installation.files
        (files / "queries").write_bytes(parameter_file(data.column, data.queries))
        self.params = server.installation.inside(files / "queries")

    def floor(self):
        """An empty query: what no system can beat through this client."""
        result = {}
        for connections in self.connections:
            client = Client(self.server, self.program, "postgres", connections, "SELECT 1", 0)
            client.prepare({}, self.pin)
            result[connections] = self._time(client, self.rounds)
            client.close()
        return result

    def _time(self, client, rounds):
        return combine([client.ask(f"time {self.warm} {self.seconds}") for _ in range(rounds)])

    def sweep(self, systems, efs, enough, library=None):
        """Points of every system, and of a yardstick.Yardstick beside them:
        {name: [{ef, recall, connections}]}.

        At each step the systems take turns within every round, so that
        whatever else the machine does falls on all of them.  A system is done
        when its list is, or when its recall is `enough`.
        """
        runners = {s.name: Runner(s, self.data, self) for s in systems}
        if library:
            runners[library.name] = library
        points = {name: [] for name in runners}
        if self.cold:
            with systems[0].connect() as conn:
                conn.execute("CHECKPOINT")
        else:
            for system in systems:
                runners[system.name].warm_up(max(efs[system.name]))
        steps = max(len(efs[name]) for name in runners)
        bar = tqdm(total=sum(len(efs[name]) for name in runners), desc="sweep", unit="point", disable=None)
        for step in range(steps):
            turn = {}
            for name, runner in runners.items():
                if step < len(efs[name]) and not (points[name] and points[name][-1]["recall"] >= enough):
                    ef = efs[name][step]
                    turn[name] = {"ef": ef, **runner.point(ef), "connections": {}}
            for connections in self.connections:
                rounds = {name: [] for name in turn if runners[name].serves(connections)}
                for _ in range(self.rounds):
                    for name in rounds:
                        rounds[name].append(self._once(runners[name], connections, turn[name]["ef"]))
                for name in rounds:
                    turn[name]["connections"][connections] = combine(rounds[name])
            for name, point in turn.items():
                points[name].append(point)
                first = next(iter(point["connections"].values()))
                tqdm.write(f"{name:9} ef_search {point['ef']:4}  recall {point['recall']:.4f}"
                           f"  {first['qps']:9.1f} queries/s  {point['pages'] or 0:7.1f} pages"
                           f"  {first['cpu_us'] or 0:7.1f} us CPU", file=sys.stderr)
            bar.update(len(turn))
        bar.close()
        for runner in runners.values():
            runner.close()
        return points

    def _once(self, runner, connections, ef):
        if self.cold:
            drop_cached(self.server.data / "base")
        return runner.time(connections, ef, self.warm, self.seconds)

    def pgbench(self, runner, connections, ef):
        """The cross-check: the query vector comes from a table, by its key."""
        data = runner.data
        files = self.server.installation.files
        script = files / "pgbench.sql"
        script.write_text(
            f"\\set i random(0, {len(data.queries) - 1})\n"
            f"SELECT id FROM {data.table} ORDER BY embedding {data.operator}"
            f" (SELECT embedding FROM {data.table}_queries WHERE id = :i) LIMIT {data.k};\n")
        options = {**runner.settings, "hnsw.ef_search": ef}
        inside = self.server.installation.inside(script)
        command = [f"{self.server.installation.bindir}/pgbench", "-n", "-M", "prepared", "-c", connections,
                   "-j", connections, "-f", inside, "-h",
                   self.server.installation.inside(self.server.socket), "-U", "postgres"]
        env = ["env", "PGOPTIONS=" + " ".join(f"-c {k}={v}" for k, v in options.items())]
        out = self.server.installation.run(
            [*env, *command, "-T", max(1, round(self.seconds)), runner.system.database])
        rate = float(re.search(r"tps = ([\d.]+)", out).group(1))
        latency = float(re.search(r"latency average = ([\d.]+)", out).group(1))
        return {"qps": rate, "p50_ms": latency, "p99_ms": None, "cpu_us": None}


def drop_cached(directory):
    """Drop files from the page cache; a CHECKPOINT has written them."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def combine(rounds):
    """The median of each figure, and every round's rate."""
    result = {}
    for key in ("qps", "p50_ms", "p99_ms", "cpu_us"):
        values = [r[key] for r in rounds if r[key] is not None]
        result[key] = round(statistics.median(values), 4) if values else None
    result["rounds"] = [r["qps"] for r in rounds]
    return result


def prewarm(systems, data, shared_buffers):
    total = 0
    for system in systems:
        with system.connect() as conn:
            total += int(system.prewarm(conn, data.table))
    if total > 0.95 * shared_buffers:
        note(f"note: {total >> 20} MB of tables and indexes do not fit in shared_buffers")
    return total


def timestamp():
    return time.strftime("%Y%m%d-%H%M%S")
