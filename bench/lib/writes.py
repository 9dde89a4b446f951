"""Writes on an index: INSERT, COPY, UPDATE of another column, DELETE, VACUUM,
once each and in many rounds.

They run in a table of their own, which has a primary key and a second indexed
column as a user's would, and which is dropped afterwards.
"""

import numpy as np

from system import Spent, note

# Ways to add rows; each takes its own.
WAYS = ("insert", "statements", "copy")
STEPS = (*WAYS, "update", "vacuum")


class Writes:
    """The table, indexed with the rows of `data`, and `count` more rows for
    each of `ways` in a staging table."""

    def __init__(self, system, data, ways, count):
        if data.rows + ways * count > data.total:
            raise SystemExit(f"{data.stem} has no {ways} times {count} rows after"
                             f" the first {data.rows}; use --rows")
        self.system, self.data, self.count = system, data, count
        self.next = data.rows
        self.table = f"{data.table}_writes"
        self.staged = f"{data.table}_staged"
        last = data.rows + ways * count
        self.conn = conn = system.connect()
        for name in (self.table, self.staged):
            system.create_table(conn, name, data)
        conn.execute(f"ALTER TABLE {self.table} ADD PRIMARY KEY (id),"
                     f" ADD category int4 DEFAULT 0 NOT NULL")
        conn.execute(f"CREATE INDEX ON {self.table} (category)")
        system.copy(conn, self.table, data.column, data.chunks(), data.rows, f"{system.name}: load {self.table}")
        system.copy(conn, self.staged, data.column, data.chunks(data.rows, last), last - data.rows)
        conn.execute(f"VACUUM ANALYZE {self.table}, {self.staged}")
        self.build = system.create_index(conn, self.table, data.opclass, data.rows)
        system.prewarm(conn, self.table)
        system.prewarm(conn, self.staged)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for name in (self.table, self.staged):
            self.conn.execute(f"DROP TABLE {name}")
        self.conn.close()

    def step(self, name, work):
        """Seconds, CPU and WAL of a statement, or of a function."""
        note(f"{self.system.name}: {name}")
        with Spent(self.conn) as spent:
            if callable(work):
                work()
            else:
                self.conn.execute(work)
        return spent.result()

    def add(self, way):
        """The next `count` rows, by one INSERT, by an INSERT for each in one
        transaction, or by COPY."""
        first, last = self.next, self.next + self.count
        self.next = last
        rows = f"SELECT id, embedding FROM {self.staged} WHERE id >= {first} AND id < {last}"
        if way == "insert":
            return self.step(way, f"INSERT INTO {self.table} {rows}")
        if way == "statements":
            return self.step(way, f"DO $$ DECLARE r record; BEGIN FOR r IN {rows} LOOP"
                                  f" INSERT INTO {self.table} VALUES (r.id, r.embedding); END LOOP; END $$")
        data = self.data
        return self.step(way, lambda: self.system.copy(
            self.conn, self.table, data.column, data.chunks(first, last), self.count))

    def index_bytes(self):
        return self.conn.execute("SELECT pg_relation_size(%s::regclass)",
                                 [self.system.index_name(self.table)]).fetchone()[0]


def measure(system, data, count, vacuum):
    """Index the rows of `data`, insert `count` more in each way, update as
    many in the other column; with `vacuum`, then delete a tenth and VACUUM."""
    with Writes(system, data, len(WAYS), count) as w:
        result = {"rows": data.rows, "count": count, "build": w.build}
        for way in WAYS:
            result[way] = w.add(way)
        result["update"] = w.step("update", f"UPDATE {w.table} SET category = 1 WHERE id < {count}")
        if vacuum:
            w.conn.execute(f"DELETE FROM {w.table} WHERE id % 10 = 3")
            result["vacuum"] = w.step("vacuum", f"VACUUM (PARALLEL 0) {w.table}")
        result["index_bytes"] = w.index_bytes()
        result["recall"] = recall(w.conn, system, data, w.table, (40, 100))
    return result


def recall(conn, system, data, table, widths, queries=100):
    """Recall of the changed index against an exact scan of the same table."""
    conn.execute("SELECT set_config('max_parallel_workers_per_gather', '0', false)")
    statement = (f"SELECT embedding {data.operator} %s::{data.column.cast} AS d FROM {table}"
                 f" ORDER BY d LIMIT {data.k}")
    texts = [data.column.text(query) for query in data.queries[:queries]]

    def distances(text):
        return np.array([d for (d,) in conn.execute(statement, [text])])

    conn.execute("SET enable_indexscan = off")
    exact = [distances(text).max() for text in texts]
    conn.execute("SET enable_indexscan = on")
    conn.execute("SET enable_seqscan = off")
    result = {}
    for ef in widths:
        conn.execute("SELECT set_config('hnsw.ef_search', %s, false)", [str(ef)])
        right = sum((distances(text) <= kth + 1e-6 * abs(kth)).sum() for text, kth in zip(texts, exact))
        result[ef] = round(right / (len(texts) * data.k), 4)
    conn.execute("RESET ALL")
    return result


def churn(system, data, rounds, share=0.1, widths=(40, 100), queries=500):
    """Again and again delete a share of the rows, VACUUM, and insert as many
    others; then build the index anew, for comparison.  Recall, index size and
    what each step took after every round, the first of which is the build."""
    count = int(data.rows * share)
    with Writes(system, data, rounds, count) as w:
        def state(**steps):
            return {"index_bytes": w.index_bytes(), **steps,
                    "recall": recall(w.conn, system, data, w.table, widths, queries)}

        points = [state(build=w.build)]
        for number in range(rounds):
            # Any rows: by a hash that differs from round to round.
            w.conn.execute(f"DELETE FROM {w.table} WHERE id IN (SELECT id FROM {w.table}"
                           f" ORDER BY hashint4extended(id, {number}) LIMIT {count})")
            points.append(state(vacuum=w.step("vacuum", f"VACUUM (PARALLEL 0) {w.table}"),
                                insert=w.add("insert")))
            note(f"{system.name}: round {number + 1}: {points[-1]}")
        w.conn.execute(f"REINDEX INDEX {system.index_name(w.table)}")
        return {"rows": data.rows, "count": count, "rounds": points, "fresh": state()}
