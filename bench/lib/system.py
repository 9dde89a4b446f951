"""One system under test: its database, table, index and settings."""

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import psycopg
from psycopg import sql
from tqdm import tqdm

from column import copy_stream
from server import ROOT

EXTENSIONS = {"piramid": "piramid", "pgvector": "vector"}


def database_name(system, kind):
    """A database for each type of column: work on one leaves the others' tables alone."""
    return system if kind == "vector" else f"{system}_{kind}"


def cpu_seconds(pid):
    """Time that a process has been on a CPU; None where nobody says."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


def ended_children_seconds(pid):
    """Processor time of the children of a process that have ended; 0 where nobody says."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0


class Spent:
    """What happens in a session between `with` and its end: seconds, the
    seconds of those that its backend had a CPU, and WAL of the cluster."""

    def __init__(self, conn):
        self.conn = conn

    def _wal(self):
        return self.conn.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()[0]

    def __enter__(self):
        self.conn.execute("CHECKPOINT")
        self._before = self._wal(), cpu_seconds(self.conn.info.backend_pid), time.monotonic()
        return self

    def __exit__(self, *exception):
        if exception[0]:
            return      # the session may be at its statement yet
        wal, cpu, start = self._before
        self.seconds = round(time.monotonic() - start, 3)
        self.cpu_seconds = cpu and round(cpu_seconds(self.conn.info.backend_pid) - cpu, 3)
        self.wal_bytes = int(self._wal() - wal)

    def result(self):
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "wal_bytes": self.wal_bytes}


class System:
    """Databases of its own in the common server."""

    def __init__(self, server, name, kind, index_options, settings):
        self.server = server
        self.name = name
        self.database = database_name(name, kind)
        self.extension = EXTENSIONS[name]
        self.index_options = index_options      # {"m": "16", ...}
        self.settings = settings                # {"hnsw.ef_search": ..., ...}

    def connect(self):
        return self.server.connect(self.database)

    def _script_digest(self):
        """What a loaded table depends on: our own type may change from run
        to run, a peer's does not."""
        if self.name != "piramid":
            return ""
        digest = hashlib.sha256()
        for path in sorted(ROOT.glob("sql/piramid--*.sql")) + [ROOT / "piramid.control"]:
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def prepare(self):
        """Create the database, or take the one that an earlier run left."""
        digest = self._script_digest()
        with self.server.connect("postgres") as conn:
            if not conn.execute("SELECT FROM pg_available_extensions WHERE name = %s",
                                [self.extension]).fetchall():
                raise SystemExit(f"{self.name}: this PostgreSQL has no extension {self.extension!r};"
                                 f" Debian's package for the peer: postgresql-17-pgvector")
            row = conn.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database"
                               " WHERE datname = %s", [self.database]).fetchone()
            if row is None or row[0] != digest and digest:
                database = sql.Identifier(self.database)
                conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
                conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(database))
                with self.connect() as mine:
                    mine.execute(f"CREATE EXTENSION {self.extension}")
                    mine.execute("CREATE EXTENSION pg_prewarm")
                    mine.execute("CREATE TABLE bench_done (what text PRIMARY KEY, result jsonb)")
                conn.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    database, sql.Literal(digest or "bench/run")))
        with self.connect() as conn:
            self.version = conn.execute("SELECT extversion FROM pg_extension WHERE extname = %s",
                                        [self.extension]).fetchone()[0]
            self.simd = None
            if self.name == "piramid":
                try:
                    self.simd = conn.execute("SELECT piramid_simd()").fetchone()[0]
                except psycopg.Error:
                    pass

    def _done(self, conn, what):
        row = conn.execute("SELECT result FROM bench_done WHERE what = %s", [what]).fetchone()
        return row and row[0]

    def _record(self, conn, what, result):
        conn.execute("INSERT INTO bench_done VALUES (%s, %s) ON CONFLICT (what)"
                     " DO UPDATE SET result = excluded.result", [what, json.dumps(result)])

    def load(self, data):
        """The table and the queries, by binary COPY; once per data set."""
        with self.connect() as conn:
            if self._done(conn, f"table {data.table}"):
                return
            self.create_table(conn, data.table, data)
            start = time.monotonic()
            self.copy(conn, data.table, data.column, data.chunks(), data.rows, f"{self.name}: load {data.name}")
            self.create_table(conn, f"{data.table}_queries", data)
            self.copy(conn, f"{data.table}_queries", data.column, [(0, data.queries)], len(data.queries))
            conn.execute(f"ALTER TABLE {data.table}_queries ADD PRIMARY KEY (id)")
            conn.execute(f"VACUUM ANALYZE {data.table}, {data.table}_queries")
            self._record(conn, f"table {data.table}",
                         {"rows": data.rows, "seconds": round(time.monotonic() - start, 2)})

    @staticmethod
    def create_table(conn, table, data):
        conn.execute(f"DROP TABLE IF EXISTS {table}")
        conn.execute(f"CREATE TABLE {table} (id int4 NOT NULL,"
                     f" embedding {data.column.declare(data.dim)} NOT NULL)")

    @staticmethod
    def copy(conn, table, column, chunks, rows, label=None):
        with tqdm(total=rows, desc=label, unit="row", unit_scale=True,
                  disable=True if label is None else None) as bar, \
             conn.cursor() as cursor, \
             cursor.copy(f"COPY {table} (id, embedding) FROM STDIN (FORMAT binary)") as copy:
            def counted():
                for start, part in chunks:
                    bar.n = start + len(part)
                    bar.refresh()
                    yield start, part
            for piece in copy_stream(column, counted()):
                copy.write(piece)

    def index_name(self, table):
        return f"{table}_hnsw"

    def _index_key(self, data):
        options = ",".join(f"{k}={v}" for k, v in sorted(self.index_options.items()))
        return f"index {data.table} {options}"

    def build(self, data, keep):
        """Build the index, or keep the one that is there with these options."""
        with self.connect() as conn:
            done = self._done(conn, self._index_key(data))
            if keep and done and self._valid_index(conn, data.table):
                return {**done, "reused": True}
            conn.execute(f"DROP INDEX IF EXISTS {self.index_name(data.table)}")
            conn.execute("DELETE FROM bench_done WHERE starts_with(what, %s)", [f"index {data.table} "])
            result = self.create_index(conn, data.table, data.opclass, data.rows)
            self._record(conn, self._index_key(data), result)
            return {**result, "reused": False}

    def _valid_index(self, conn, table):
        return conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)",
                            [self.index_name(table)]).fetchone() == (True,)

    def create_index(self, conn, table, opclass, rows):
        options = ", ".join(f"{k} = {v}" for k, v in self.index_options.items())
        statement = (f"CREATE INDEX {self.index_name(table)} ON {table}"
                     f" USING hnsw (embedding {opclass})" + (f" WITH ({options})" if options else ""))
        self.apply_settings(conn)
        # The rows are in memory for both, whoever loaded them last.
        self.prewarm(conn, table, index=False)
        before = ended_children_seconds(self.server.pid())
        with Spent(conn) as spent:
            self._execute_showing_progress(conn, statement, f"{self.name}: {table}")
        # The workers of the build, whose end the statement waited for.
        of_workers = ended_children_seconds(self.server.pid()) - before
        workers = int(conn.execute("SHOW max_parallel_maintenance_workers").fetchone()[0])
        size = conn.execute("SELECT pg_relation_size(%s::regclass)", [self.index_name(table)]).fetchone()[0]
        return {**spent.result(),
                "cpu_seconds": spent.cpu_seconds and round(spent.cpu_seconds + (of_workers if workers else 0), 3),
                "vectors_per_second": round(rows / spent.seconds, 1),
                "index_bytes": size,
                "options": self.index_options,
                "version": self.version,
                "parallel_workers": workers,
                "maintenance_work_mem": conn.execute("SHOW maintenance_work_mem").fetchone()[0],
                "when": time.strftime("%Y-%m-%d %H:%M")}

    def _execute_showing_progress(self, conn, statement, label):
        failure = []

        def work():
            try:
                conn.execute(statement)
            except psycopg.Error as error:
                failure.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        with self.connect() as watch, tqdm(desc=label, unit="", unit_scale=True, disable=None) as bar:
            thread.join(0.2)
            while thread.is_alive():
                row = watch.execute(
                    "SELECT phase, greatest(tuples_total, blocks_total),"
                    " CASE WHEN tuples_total >= blocks_total THEN tuples_done ELSE blocks_done END,"
                    " CASE WHEN tuples_total >= blocks_total THEN 'row' ELSE 'page' END"
                    " FROM pg_stat_progress_create_index WHERE pid = %s",
                    [conn.info.backend_pid]).fetchone()
                if row:
                    bar.set_description(f"{label}: {row[0]}", refresh=False)
                    bar.total, bar.n, bar.unit = row[1] or None, row[2], row[3]
                    bar.refresh()
                thread.join(0.5)
        if failure:
            raise SystemExit(f"{self.name}: {statement}\n{failure[0]}")

    def apply_settings(self, conn):
        for name, value in self.settings.items():
            conn.execute("SELECT set_config(%s, %s, false)", [name, value])

    @staticmethod
    def prewarm(conn, table, index=True):
        """Read the table, its TOAST table and the index into shared buffers."""
        return conn.execute(
            "WITH rels AS (SELECT oid FROM pg_class WHERE oid = %(t)s::regclass UNION ALL"
            " SELECT reltoastrelid FROM pg_class WHERE oid = %(t)s::regclass AND reltoastrelid <> 0"
            " UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = %(t)s::regclass AND %(i)s)"
            " SELECT sum(pg_prewarm(oid)) * current_setting('block_size')::int FROM rels",
            {"t": table, "i": index}).fetchone()[0]

    def query(self, data):
        return (f"SELECT id FROM {data.table} ORDER BY embedding {data.operator} $1::{data.column.cast}"
                f" LIMIT {data.k}")

    def check_plan(self, conn, data):
        """Refuse to time anything but the index."""
        conn.execute("DEALLOCATE ALL")
        conn.execute(f"PREPARE bench ({data.column.cast}) AS {self.query(data)}")
        plan = conn.execute(f"EXPLAIN EXECUTE bench ('{data.column.text(data.queries[0])}')").fetchall()
        if not any(self.index_name(data.table) in line for (line,) in plan):
            text = "\n".join(line for (line,) in plan)
            raise SystemExit(f"{self.name}: the planner does not use the index"
                             f" (--force-index disables the alternative):\n{text[:2000]}")

    def server_version(self):
        with self.connect() as conn:
            return conn.execute("SELECT version()").fetchone()[0]


def note(text):
    print(text, file=sys.stderr)
