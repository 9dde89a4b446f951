"""Writes on an index: INSERT, UPDATE of another column, DELETE and VACUUM.

They run in a table of their own, which has a primary key and a second indexed
column as a user's would, and which is dropped afterwards.
"""

import numpy as np

from system import Spent, note


def measure(system, data, count, vacuum):
    """Index the rows of `data`, insert `count` more; with `vacuum`, then
    update as many in the other column, delete a tenth and VACUUM."""
    first = data.rows
    if first + count > data.total:
        raise SystemExit(f"--insert {count}: {data.stem} has no {count} rows after"
                         f" the first {first}; use --rows")
    table = f"{data.table}_writes"
    staged = f"{data.table}_staged"
    with system.connect() as conn:
        for name in (table, staged):
            system.create_table(conn, name, data)
        conn.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id), ADD category int4 DEFAULT 0 NOT NULL")
        conn.execute(f"CREATE INDEX ON {table} (category)")
        system.copy(conn, table, data.column, data.chunks(), first, f"{system.name}: load {table}")
        system.copy(conn, staged, data.column, data.chunks(first, first + count), count)
        conn.execute(f"VACUUM ANALYZE {table}, {staged}")
        build = system.create_index(conn, table, data.opclass, first)
        result = {"rows": first, "count": count, "build": build}
        system.prewarm(conn, table)
        system.prewarm(conn, staged)

        def step(name, statement):
            note(f"{system.name}: {name}")
            with Spent(conn) as spent:
                conn.execute(statement)
            result[name] = spent.result()

        step("insert", f"INSERT INTO {table} SELECT id, embedding FROM {staged}")
        if vacuum:
            step("update", f"UPDATE {table} SET category = 1 WHERE id < {count}")
            conn.execute(f"DELETE FROM {table} WHERE id % 10 = 3")
            step("vacuum", f"VACUUM {table}")
        result["index_bytes"] = conn.execute("SELECT pg_relation_size(%s::regclass)",
                                             [system.index_name(table)]).fetchone()[0]
        result["recall"] = {ef: recall(conn, system, data, table, ef) for ef in (40, 100)}
        for name in (table, staged):
            conn.execute(f"DROP TABLE {name}")
    return result


def recall(conn, system, data, table, ef, queries=100):
    """Recall of the changed index against an exact scan of the same table."""
    right = 0
    conn.execute("SELECT set_config('hnsw.ef_search', %s, false)", [str(ef)])
    conn.execute("SELECT set_config('max_parallel_workers_per_gather', '0', false)")
    statement = (f"SELECT embedding {data.operator} %s::{data.column.cast} AS d FROM {table}"
                 f" ORDER BY d LIMIT {data.k}")
    for query in data.queries[:queries]:
        text = data.column.text(query)
        found = {}
        for kind, off, on in (("exact", "enable_indexscan", "enable_seqscan"),
                              ("index", "enable_seqscan", "enable_indexscan")):
            conn.execute(f"SET {off} = off")
            conn.execute(f"SET {on} = on")
            found[kind] = np.array([d for (d,) in conn.execute(statement, [text])])
        kth = found["exact"].max()
        right += (found["index"] <= kth + 1e-6 * abs(kth)).sum()
    conn.execute("RESET ALL")
    return round(right / (queries * data.k), 4)
