"""psycopg 3: every operator against NumPy, every operator class of hnsw."""

import numpy as np
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector

DIM = 16
ROWS = 2000
RNG = np.random.default_rng(7)
DENSE = RNG.integers(-8, 9, (ROWS, DIM)).astype(np.float32)     # exact in every type
DENSE[(DENSE == 0).all(axis=1)] = 1
QUERY = RNG.integers(-8, 9, DIM).astype(np.float32)
BITS = DENSE > 0
QUERY_BITS = QUERY > 0


def dense_distances(operator, x, q):
    x, q = x.astype(float), q.astype(float)
    return {
        "<->": lambda: np.sqrt(((x - q) ** 2).sum(axis=1)),
        "<#>": lambda: -(x @ q),
        "<=>": lambda: 1 - x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q),
        "<+>": lambda: np.abs(x - q).sum(axis=1),
    }[operator]()


def bit_distances(operator, x, q):
    if operator == "<~>":
        return (x != q).sum(axis=1).astype(float)
    return 1 - (x & q).sum(axis=1) / np.maximum((x | q).sum(axis=1), 1)


CASES = [(t, op, f"{t}_{name}_ops", make, DENSE, QUERY, dense_distances)
         for t, make in (("vector", Vector), ("halfvec", HalfVector), ("sparsevec", SparseVector))
         for op, name in (("<->", "l2"), ("<#>", "ip"), ("<=>", "cosine"), ("<+>", "l1"))]
CASES += [("bit", op, f"bit_{name}_ops", Bit, BITS, QUERY_BITS, bit_distances)
          for op, name in (("<~>", "hamming"), ("<%>", "jaccard"))]


@pytest.fixture(params=CASES, ids=[c[2] for c in CASES])
def case(request, conn):
    type_, _, _, make, rows, *_ = request.param
    conn.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {type_}({DIM}))")
    with conn.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", type_])
        for i, row in enumerate(rows):
            copy.write_row((i, make(row)))
        copy.write_row((ROWS, None))
    return request.param


def test_operator(conn, case):
    type_, operator, _, make, rows, query, distances = case
    truth = distances(operator, rows, query)
    operator = operator.replace("%", "%%")
    found = conn.execute(f"SELECT v {operator} %b::{type_}({DIM}) FROM t WHERE v IS NOT NULL ORDER BY id",
                         (make(query),), binary=True).fetchall()
    assert np.allclose(np.array(found)[:, 0], truth, rtol=1e-6, atol=1e-6)
    assert conn.execute(f"SELECT v {operator} %s FROM t WHERE id = %s", (make(query), ROWS)).fetchone() == (None,)


def test_index(conn, case):
    type_, operator, opclass, make, rows, query, distances = case
    conn.execute(f"CREATE INDEX i ON t USING hnsw (v {opclass}) WITH (m = 16, ef_construction = 64)")
    conn.execute("SET enable_seqscan = off")
    search = f"SELECT id, v {operator.replace('%', '%%')} %b::{type_}({DIM}) FROM t ORDER BY 2 LIMIT 10"
    plan = "\n".join(r[0] for r in conn.execute("EXPLAIN " + search, (make(query),)))
    assert "Index Scan using i on t" in plan
    truth = distances(operator, rows, query)
    nearest = np.sort(truth)[:10]
    for _ in range(8):              # the later ones with a prepared statement's generic plan
        found = conn.execute(search, (make(query),), binary=True).fetchall()
        assert len(found) == 10
        got = np.array([d for _, d in found])
        assert (np.diff(got) >= -1e-6).all()
        assert np.allclose(got, truth[[i for i, _ in found]], rtol=1e-5, atol=1e-5)
        assert (got <= nearest[-1] + 1e-5).sum() >= 9           # recall, ties forgiven


def test_filter_and_iterative_scan(conn):
    conn.execute(f"CREATE TABLE t (id int PRIMARY KEY, kind int, v vector({DIM}))")
    conn.cursor().executemany("INSERT INTO t VALUES (%s, %s, %s)",
                              [(i, i % 50, row) for i, row in enumerate(DENSE)])
    conn.execute("CREATE INDEX i ON t USING hnsw (v vector_l2_ops)")
    conn.execute("SET enable_seqscan = off")
    conn.execute("SET hnsw.iterative_scan = strict_order")
    search = "SELECT id FROM t WHERE kind = 3 ORDER BY v <-> %s LIMIT 10"
    assert "using i" in str(conn.execute("EXPLAIN " + search, (QUERY,)).fetchall())
    found = [r[0] for r in conn.execute(search, (QUERY,))]
    assert len(found) == 10 and all(i % 50 == 3 for i in found)
    truth = dense_distances("<->", DENSE, QUERY)
    best = np.sort(truth[3::50])[9]
    assert (truth[found] <= best + 1e-5).sum() >= 9


def test_search_follows_changes(conn):
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, v vector(2))")
    conn.execute("CREATE INDEX i ON t USING hnsw (v vector_l2_ops)")
    conn.execute("SET enable_seqscan = off")

    def nearest():
        return [r[0] for r in conn.execute("SELECT id FROM t ORDER BY v <-> '[0,0]' LIMIT 2")]

    conn.cursor().executemany("INSERT INTO t VALUES (%s, %s)",
                              [(i, Vector([i, i])) for i in range(1, 100)])
    assert nearest() == [1, 2]
    conn.execute("DELETE FROM t WHERE id = 1")
    assert nearest() == [2, 3]
    conn.execute("UPDATE t SET v = %s WHERE id = 50", (Vector([0, 1]),))
    assert nearest() == [50, 2]
    conn.execute("VACUUM t")
    assert nearest() == [50, 2]
