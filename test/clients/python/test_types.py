"""psycopg 3: every type, one way and the other, as text and as binary."""

import numpy as np
import psycopg
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector
from pgvector.psycopg import register_vector

EDGES = np.array([0.0, -0.0, 1e-45, -1e-45, 1.17549435e-38, 3.4028235e38, -3.4028235e38, 1 / 3], np.float32)

VALUES = [
    ("vector", Vector(EDGES)),
    ("halfvec", HalfVector(np.array([0.0, -0.0, 6e-8, 65504, -65504, 1 / 3], np.float16))),
    ("sparsevec", SparseVector({0: 1.5, 7: -2.25, 999_999_999: 3e38}, 1_000_000_000)),
    ("sparsevec", SparseVector({}, 3)),
    ("bit(9)", Bit("101010101")),
]


def bits(value):
    """Equality of floats forgives -0.0; that of their bytes does not."""
    return value.to_binary()


@pytest.mark.parametrize("type_,value", VALUES)
@pytest.mark.parametrize("placeholder", ["%t", "%b"])
@pytest.mark.parametrize("binary", [False, True])
def test_round_trip(conn, type_, value, placeholder, binary):
    found = conn.execute(f"SELECT {placeholder}::{type_}", (value,), binary=binary).fetchone()[0]
    if isinstance(value, Bit):      # pgvector-python leaves bits as psycopg loads them
        found = Bit.from_binary(found) if binary else Bit(found)
    assert bits(found) == bits(value)


def test_example(conn):
    # [docs: table
    conn.execute("CREATE TABLE items (id bigserial PRIMARY KEY, kind int, embedding vector(3))")
    conn.cursor().executemany("INSERT INTO items (kind, embedding) VALUES (%s, %s)",
                              [(1, np.array([1, 2, 3])), (1, np.array([4, 5, 6])), (2, None)])
    conn.execute("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
    found = conn.execute("SELECT id, embedding FROM items WHERE kind = 1 ORDER BY embedding <-> %s LIMIT 5",
                         (np.array([3, 4, 5]),)).fetchall()
    nearest = found[0][1].to_numpy()
    # docs]
    assert [i for i, _ in found] == [2, 1] and (nearest == [4, 5, 6]).all()


def test_connect():
    # [docs: connect
    conn = psycopg.connect(autocommit=True)         # or "postgresql://..."
    conn.execute("CREATE EXTENSION IF NOT EXISTS vector")
    register_vector(conn)
    # docs]
    with conn:
        assert conn.execute("SELECT %s <-> %s", (np.array([0, 3]), np.array([4, 0]))).fetchone() == (5,)


def test_tcp(tcp):
    assert tcp.execute("SELECT '[1,2]'::vector").fetchone() == (Vector([1, 2]),)
    assert tcp.info.host != "" and not tcp.info.host.startswith("/")


def test_numpy_in_and_out(conn):
    array = np.random.default_rng(1).standard_normal(16000).astype(np.float32)
    found = conn.execute("SELECT %b::vector", (array,), binary=True).fetchone()[0]
    assert (found.to_numpy() == array).all()


def test_arrays(conn):
    rows = [Vector([1, 2]), Vector([3, 4])]
    for binary in (False, True):
        assert conn.execute("SELECT %s::vector[]", (rows,), binary=binary).fetchone()[0] == rows
    assert conn.execute("SELECT %s::real[]::vector", ([1.5, 2.0],)).fetchone()[0] == Vector([1.5, 2])
    assert conn.execute("SELECT %s::vector::real[]", (rows[0],)).fetchone()[0] == [1, 2]
    found = conn.execute("SELECT array_agg(v ORDER BY v) FROM unnest(%s::vector[]) v", (rows[::-1],))
    assert found.fetchone()[0] == rows


def test_insert_one_many_null(conn):
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(3), b bit(3))")
    conn.execute("INSERT INTO t VALUES (%s, %s, %s, %s, %s)",
                 (1, Vector([1, 2, 3]), HalfVector([1, 2, 3]), SparseVector([1, 0, 3]), Bit("101")))
    conn.execute("INSERT INTO t VALUES (2)")
    many = [(i, np.full(3, i, np.float32)) for i in range(3, 1000)]
    conn.cursor().executemany("INSERT INTO t (id, v) VALUES (%s, %s)", many)
    assert conn.execute("SELECT count(*), count(v), count(h) FROM t").fetchone() == (999, 998, 1)
    assert conn.execute("SELECT v, h, s, b FROM t WHERE id = 2").fetchone() == (None,) * 4
    assert conn.execute("SELECT v, h, s, b FROM t WHERE id = 1").fetchone() == (
        Vector([1, 2, 3]), HalfVector([1, 2, 3]), SparseVector([1, 0, 3]), "101")
    assert conn.execute("SELECT v FROM t WHERE id = 500").fetchone() == (Vector([500] * 3),)
    assert conn.execute("DELETE FROM t WHERE v <-> %s < 1", (np.full(3, 500.0),)).rowcount == 1
    assert conn.execute("UPDATE t SET v = %s WHERE id = 2", (Vector([0, 0, 1]),)).rowcount == 1
    assert conn.execute("SELECT avg(v), sum(v) FROM t WHERE id <= 2").fetchone() == (
        Vector([0.5, 1, 2]), Vector([1, 2, 4]))


def test_prepared_statement(conn):
    for i in range(12):             # psycopg prepares at the sixth time
        found = conn.execute("SELECT %b::vector <-> %b::vector",
                             (np.array([i, 0.0]), np.array([0.0, 0.0]))).fetchone()[0]
        assert found == i
    assert conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0] >= 1


def test_server_cursor(conn):
    with conn.transaction(), conn.cursor("c", binary=True) as cur:
        cur.execute("SELECT ARRAY[i, i]::vector FROM generate_series(1, 500) i")
        cur.itersize = 7
        assert [row[0] for row in cur] == [Vector([i, i]) for i in range(1, 501)]


def test_pipeline(conn):
    with conn.pipeline():
        cursors = [conn.execute("SELECT %s::vector", (Vector([i]),)) for i in range(50)]
    assert [c.fetchone()[0] for c in cursors] == [Vector([i]) for i in range(50)]


@pytest.mark.parametrize("sql,value,error,text", [
    ("INSERT INTO t VALUES (%b)", Vector([1, 2]), "22000", "expected 3 dimensions, not 2"),
    ("INSERT INTO t VALUES (%t)", Vector([1, 2]), "22000", "expected 3 dimensions, not 2"),
    ("SELECT %b::vector <-> '[1,2,3]'", Vector([1, 2]), "22000", "different vector dimensions 2 and 3"),
    ("SELECT %b::vector", Vector([1, float("nan")]), "22000", "NaN not allowed in vector"),
    ("SELECT %b::vector", Vector([float("inf")]), "22000", "infinite value not allowed in vector"),
    ("SELECT %b::vector", Vector([]), "22000", "vector must have at least 1 dimension"),
    ("SELECT %b::halfvec(2)", HalfVector([1]), "22000", "expected 2 dimensions, not 1"),
    ("SELECT %b::sparsevec(2)", SparseVector({}, 3), "22000", "expected 2 dimensions, not 3"),
    ("SELECT %t::vector", "[1,2", "22P02", "invalid input syntax for type vector"),
    ("SELECT %b::bit(3) <~> B'10'", Bit("101"), "22000", "different bit lengths 3 and 2"),
])
def test_errors(conn, sql, value, error, text):
    conn.execute("CREATE TABLE t (v vector(3))")
    with pytest.raises(psycopg.DataError, match=text) as caught:
        conn.execute(sql, (value,))
    assert caught.value.sqlstate == error
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
