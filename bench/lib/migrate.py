"""bench/run --migrate: time of each way from pgvector to piramid and back.

A table of a data set's rows with three indexes; the ways and their commands
are those of docs/migrate-from-pgvector.md.
"""

import argparse
import os
import signal
import sys
import time

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


class Migration:
    def __init__(self, srv, data):
        self.srv = srv
        self.data = data

    def step(self, name, action, *args):
        """Do it, and print how long it took."""
        start = time.monotonic()
        result = action(*args)
        print(f"| {name} | {time.monotonic() - start:.1f} |", flush=True)
        return result

    def sql(self, database, *statements):
        """In a session of their own; returns the rows of the last one."""
        with self.srv.connect(database) as conn:
            for statement in statements:
                cursor = conn.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def create(self, database):
        self.sql("postgres", f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")

    def load(self, database):
        with self.srv.connect(database) as conn:
            conn.execute("CREATE EXTENSION vector")
            conn.execute(f"CREATE TABLE items (id int PRIMARY KEY, embedding vector({self.data.dim}))")
            with conn.cursor() as cursor, \
                 cursor.copy("COPY items FROM STDIN (FORMAT binary)") as copy:
                for piece in copy_stream(self.data.column, self.data.chunks()):
                    copy.write(piece)
            conn.execute("VACUUM ANALYZE items")

    def shell(self, command, names):
        """In the server's installation, where a dump meets no network."""
        bindir = self.srv.installation.bindir
        variables = [f"{k}={self.srv.conninfo(v, inside=True)}" for k, v in names.items()]
        self.srv.installation.run(["env", f"PATH={bindir}:/usr/bin:/bin", *variables,
                                   "bash", "-e", "-o", "pipefail", "-c", command])

    def digest(self, database):
        return self.sql(database, "SELECT count(*), md5(string_agg(md5(items::text), '' ORDER BY id)) FROM items")

    def recall(self, database, ef_search=None):
        """Recall@10 of each index, by default settings or a width."""
        result = {}
        for name, (_, operator) in INDEXES.items():
            with self.srv.connect(database) as conn:
                conn.execute("SET enable_seqscan = off; SET enable_sort = off")
                if ef_search:
                    conn.execute(f"SET hnsw.ef_search = {ef_search}; SET ivfflat.probes = {ef_search}")
                text = [self.data.column.text(q) for q in self.data.queries]
                query = f"SELECT id FROM items ORDER BY embedding {operator} %s LIMIT {self.data.k}"
                plan = "\n".join(row[0] for row in conn.execute("EXPLAIN " + query, (text[0],)).fetchall())
                if f"using {name} " not in plan:
                    raise SystemExit(f"{name} is not used:\n{plan}")
                found = np.full((len(text), self.data.k), -1)
                for i, q in enumerate(text):
                    ids = [row[0] for row in conn.execute(query, (q,)).fetchall()]
                    found[i, :len(ids)] = ids
                result[name] = self.data.recall(found)
        return result

    def show(self, database, what):
        for ef_search in (None, 100):
            values = ", ".join(f"{name} {value:.3f}" for name, value in self.recall(database, ef_search).items())
            print(f"| recall@10 {what}, {f'ef_search {ef_search}' if ef_search else 'by default'} | {values} |", flush=True)

    def pgvector(self):
        self.create("old")
        self.step("load rows", self.load, "old")
        for name, (definition, _) in INDEXES.items():
            self.step(f"pgvector: CREATE INDEX {name}", self.sql, "old",
                      "SET max_parallel_maintenance_workers = 0", f"CREATE INDEX {name} ON items USING {definition}")
        self.show("old", "of pgvector")

    def restore(self):
        self.create("new")
        dump = self.srv.installation.inside(self.srv.installation.files / "shop.sql")
        self.step("dump", self.shell, f"pg_dump -d \"$OLD\" --no-owner -f {dump}; "
                  f"sed -i -E '/^(CREATE|COMMENT ON) EXTENSION /s/ vector / piramid /' {dump}", {"OLD": "old"})
        self.step("restore, with indexes", self.shell,
                  f"psql -X -q -v ON_ERROR_STOP=1 --single-transaction -d \"$NEW\" -f {dump}", {"NEW": "new"})
        self.show("new", "of piramid, restored")

    def move(self, target):
        before = self.digest("old")
        if target == "piramid":
            self.sql("old", "CREATE EXTENSION piramid_move")
        self.step(f"in place, to {target}: dry run", self.sql, "old", f"SELECT * FROM piramid_move.plan('{target}')")
        self.step(f"in place, to {target}: move", self.sql, "old", f"SELECT piramid_move.move('{target}')")
        for command, in self.sql("old", "SELECT command FROM piramid_move.reindex"):
            self.step(f"in place, to {target}: {command}", self.sql, "old",
                      "SET max_parallel_maintenance_workers = 0", command)
        if self.digest("old") != before or (target == "piramid" and self.digest("new") != before):
            raise SystemExit("the rows are not the same")
        self.show("old", f"of {target}, moved in place")


def main():
    p = argparse.ArgumentParser(prog="bench/run --migrate", description=__doc__)
    p.add_argument("file", metavar="FILE.hdf5", help="with rows of length 1")
    p.add_argument("--rows", type=int, default=100000)
    p.add_argument("--chroot", default=str(server.CACHE / "pg17"))
    p.add_argument("--pg-config")
    p.add_argument("--work-dir")
    o = p.parse_args()
    if not o.pg_config and os.geteuid() == 0:
        server.enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    data = DenseDataset(o.file, rows=o.rows)
    for _, part in data.chunks():
        if abs(np.linalg.norm(part, axis=1) - 1).max() > 1e-3:
            raise SystemExit(f"{o.file}: the rows are not of length 1")
    installation = server.Installation(o.work_dir or str(server.CACHE / "bench-migrate"), o.pg_config, o.chroot)
    installation.install_piramid()
    srv = server.Server(installation, {"shared_buffers": "2GB", "maintenance_work_mem": "2GB", "max_wal_size": "8GB",
                                       "jit": "off", "autovacuum": "off"}, "migrate")
    print(f"{data.rows} x {data.dim}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, "
          f"{time.strftime('%Y-%m-%d')}\n\n| step | s |\n|---|---|")
    try:
        srv.remove()
        srv.create()
        srv.start()
        m = Migration(srv, data)
        m.pgvector()
        m.restore()
        m.move("piramid")
        m.move("pgvector")
        print(f"\nload at the end {os.getloadavg()[0]:.1f}")
    finally:
        srv.stop()
        srv.remove()


if __name__ == "__main__":
    main()
