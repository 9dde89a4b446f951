"""bench/run --migrate: time of the ways from pgvector to piramid and back.

A table of a data set's rows with three indexes goes by dump and restore, under
pgvector's name, and in place, there and back.  The commands are run as they
stand in docs/migrate-from-pgvector.md.  It ends with an error if a row is
another afterwards, an index is not used, or its recall is below 0.97.
"""

import argparse
import os
import re
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

import server
from column import copy_stream
from dataset import DenseDataset

# name: definition, operator.  The rows have length 1, so that all three
# distances have the same nearest neighbours.
INDEXES = {
    "by_cosine": ("hnsw (embedding vector_cosine_ops)", "<=>"),
    "by_l2": ("hnsw (embedding vector_l2_ops)", "<->"),
    "by_lists": ("ivfflat (embedding vector_ip_ops) WITH (lists = 100)", "<#>"),
}
# Wide enough for either product; of the lists, all.
WIDE = "SET hnsw.ef_search = 100; SET ivfflat.probes = 100"
LEAST_RECALL = 0.97
QUERIES = 300


class Migration:
    def __init__(self, srv, data):
        self.srv = srv
        self.data = data
        self.guide = (server.ROOT / "docs/migrate-from-pgvector.md").read_text()
        self.dumps = srv.installation.files / "dumps"
        self.digest = None

    def cpu_seconds(self):
        """Of the server, its ended processes included, and of the programs run
        here; other people's load leaves it alone."""
        total = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        server = (self.srv.data / "postmaster.pid").read_text().split()[0]
        for pid in *Path(f"/proc/{server}/task/{server}/children").read_text().split(), server:
            try:
                times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]
            except FileNotFoundError:       # it has ended: the server's own times have it now
                continue
            total += sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        return total

    def step(self, name, action, *args, **more):
        """Do it, and print how long it took."""
        start, cpu = time.monotonic(), self.cpu_seconds()
        action(*args, **more)
        print(f"| {name} | {time.monotonic() - start:.1f} s | {self.cpu_seconds() - cpu:.1f} s |", flush=True)

    def follow(self, block, directory=None, user="postgres", **variables):
        """The documentation's commands of that name, where the server is."""
        installation = self.srv.installation
        commands = re.search(rf"^```sh {block}\n(.*?)^```$", self.guide, re.M | re.S)[1]
        variables["PATH"] = f"{installation.bindir}:/usr/bin:/bin"
        installation.run(["env", "-C", installation.inside(directory or self.dumps),
                          *(f"{name}={value}" for name, value in variables.items()),
                          "bash", "-e", "-o", "pipefail", "-c", commands], user)

    def at(self, database):
        """What the commands connect to."""
        return self.srv.conninfo(database, inside=True)

    def sql(self, database, *statements):
        """In a session of their own; returns the rows of the last one."""
        with self.srv.connect(database) as conn:
            for statement in statements:
                cursor = conn.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def create(self, database):
        self.sql("postgres", f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")

    def load(self):
        with self.srv.connect("shop") as conn:
            conn.execute("CREATE EXTENSION vector")
            conn.execute(f"CREATE TABLE items (id int PRIMARY KEY, embedding vector({self.data.dim}))")
            with conn.cursor() as cursor, \
                 cursor.copy("COPY items FROM STDIN (FORMAT binary)") as copy:
                for piece in copy_stream(self.data.column, self.data.chunks()):
                    copy.write(piece)
            conn.execute("VACUUM ANALYZE items")

    def index(self):
        self.sql("shop", "SET maintenance_work_mem = '1GB'",
                 *(f"CREATE INDEX {name} ON items USING {definition}" for name, (definition, _) in INDEXES.items()))

    def recall(self, database, name, settings):
        """Recall@10 of one index."""
        with self.srv.connect(database) as conn:
            conn.execute("SET enable_seqscan = off; SET enable_sort = off; " + settings)
            text = [self.data.column.text(q) for q in self.data.queries[:QUERIES]]
            query = f"SELECT id FROM items ORDER BY embedding {INDEXES[name][1]} %s LIMIT {self.data.k}"
            plan = "\n".join(row[0] for row in conn.execute("EXPLAIN " + query, (text[0],)).fetchall())
            if f"using {name} " not in plan:
                raise SystemExit(f"{name} is not used:\n{plan}")
            found = np.full((len(text), self.data.k), -1)
            for i, q in enumerate(text):
                ids = [row[0] for row in conn.execute(query, (q,)).fetchall()]
                found[i, :len(ids)] = ids
        return self.data.recall(found)

    def check(self, database, library):
        """The same rows, by the right library, and what the indexes find."""
        found = self.sql(database, "SELECT DISTINCT probin FROM pg_proc WHERE probin LIKE '$libdir/%' AND proname = 'vector_in'")
        if found != [(f"$libdir/{library}",)]:
            raise SystemExit(f"{database} has {found}, not {library}")
        digest = self.sql(database, "SELECT count(*), md5(string_agg(md5(items::text), '' ORDER BY id)) FROM items")
        if digest[0][0] != self.data.rows or digest != (self.digest or digest):
            raise SystemExit(f"{database}: the rows are not the same: {digest}, before {self.digest}")
        self.digest = digest
        for width, settings in (("by default", ""), ("wider", WIDE)):
            values = [self.recall(database, name, settings) for name in INDEXES]
            print(f"| rows the same; recall@10 {width} | {' / '.join(f'{value:.3f}' for value in values)} | |", flush=True)
        if min(values) < LEAST_RECALL:
            raise SystemExit(f"{database}: a recall is below {LEAST_RECALL}")

    def pgvector(self):
        self.create("shop")
        self.step("pgvector: load", self.load)
        self.step("pgvector: create three indexes", self.index)
        self.check("shop", "vector")

    def by_dump(self):
        self.create("new")
        self.step("dump", self.follow, "dump", OLD=self.at("shop"))
        self.step("restore", self.follow, "restore", NEW=self.at("new"))
        self.check("new", "piramid")
        self.create("back")
        self.step("back: dump and restore", self.follow, "dump-back", NEW=self.at("new"), BACK=self.at("back"))
        self.check("back", "vector")

    def by_name(self):
        """pgvector's package is there: its files stand aside meanwhile."""
        build = self.srv.installation.files / "build"
        make = {"directory": build, "user": "root", "PG_CONFIG": self.srv.installation.pg_config}
        self.create("new")
        self.follow("install-compat", FORCE=1, **make)
        try:
            self.step("under pgvector's name: dump and restore", self.follow, "restore-unchanged",
                      OLD=self.at("shop"), NEW=self.at("new"))
            self.check("new", "piramid")
        finally:
            self.srv.installation.run(["make", "-C", self.srv.installation.inside(build), f"PG_CONFIG={make['PG_CONFIG']}",
                                       "uninstall-vector-compat"], "root")
        self.create("back")
        self.step("under pgvector's name, back: dump and restore", self.follow, "restore-back",
                  NEW=self.at("new"), BACK=self.at("back"))
        self.check("back", "vector")

    def in_place(self):
        db = self.at("shop")
        self.follow("prepare", DB=db)
        self.step("in place: dry run", self.follow, "plan", DB=db)
        self.step("in place: move", self.follow, "move", DB=db)
        self.step("in place: rebuild, beside reads and writes", self.follow, "rebuild", DB=db)
        self.follow("check", DB=db)
        self.check("shop", "piramid")
        self.step("in place, back: move and rebuild", self.follow, "back", DB=db)
        self.check("shop", "vector")
        self.sql("shop", "DROP EXTENSION piramid_move")

    def run(self, ways):
        shutil.rmtree(self.dumps, ignore_errors=True)
        self.srv.remove()
        try:
            self.srv.installation.run(["mkdir", self.srv.installation.inside(self.dumps)])
            self.srv.create()
            self.srv.start()
            print("| step | | CPU |\n|---|---|---|")
            self.pgvector()
            for way in ways:
                way(self)
        finally:
            self.srv.remove()
            shutil.rmtree(self.dumps, ignore_errors=True)


WAYS = {"dump": Migration.by_dump, "name": Migration.by_name, "place": Migration.in_place}


def main():
    p = argparse.ArgumentParser(prog="bench/run --migrate", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", metavar="FILE.hdf5", help="with rows of length 1")
    p.add_argument("--rows", type=int, default=100000)
    p.add_argument("--ways", default=",".join(WAYS), help="some of these (default: %(default)s)")
    p.add_argument("--chroot", default=str(server.CACHE / "pg17"))
    p.add_argument("--pg-config")
    p.add_argument("--work-dir")
    o = p.parse_args()
    ways = o.ways.split(",")
    if not set(ways) <= set(WAYS):
        p.error(f"--ways takes some of {', '.join(WAYS)}")
    if not o.pg_config and os.geteuid() == 0:
        server.enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    data = DenseDataset(o.file, rows=o.rows)
    for _, part in data.chunks():
        if abs(np.linalg.norm(part, axis=1) - 1).max() > 1e-3:
            raise SystemExit(f"{o.file}: the rows are not of length 1")
    installation = server.Installation(o.work_dir or str(server.CACHE / "bench-migrate"), o.pg_config, o.chroot)
    installation.install_piramid()
    srv = server.Server(installation, {"shared_buffers": "2GB", "max_wal_size": "8GB", "jit": "off", "autovacuum": "off"},
                        "migrate")
    print(f"{data.rows} x {data.dim}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}; "
          f"recalls of {', '.join(INDEXES)}\n", flush=True)
    Migration(srv, data).run([WAYS[way] for way in ways])
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
