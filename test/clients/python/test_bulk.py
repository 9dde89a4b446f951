"""Bulk load and bulk read: COPY row by row, and bulk.py's blocks of rows."""

import numpy as np
import psycopg
import pytest
from bulk import read_blocks, read_columns, write_columns
from pgvector import Bit, HalfVector, SparseVector, Vector

RNG = np.random.default_rng(3)
ROWS = 5000         # several blocks


def test_copy_binary_rows(conn):
    conn.execute("CREATE TABLE t (id bigint, v vector(3), h halfvec(3), s sparsevec(5), b bit(3), a vector[])")
    rows = [(i, Vector([i, 0.5, -i]), HalfVector([i, 0.5, -i]), SparseVector({1: i, 4: 1}, 5), Bit("101"),
             [Vector([i]), Vector([i, i])]) for i in range(1, 300)]
    types = ["int8", "vector", "halfvec", "sparsevec", "bit", "vector[]"]
    with conn.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
        copy.write_row((300,) + (None,) * 5)
    with conn.cursor().copy("COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(types)
        found = list(copy.rows())
    assert found.pop() == (300,) + (None,) * 5
    assert [r[:4] + (Bit.from_binary(r[4]), r[5]) for r in found] == rows


def test_copy_text_rows(conn):
    conn.execute("CREATE TABLE t (id bigint, v vector(3), h halfvec(3), s sparsevec(5))")
    row = (1, Vector([0.1, 1e-20, 3e38]), HalfVector([0.1, 1, 2]), SparseVector({4: 0.1}, 5))
    with conn.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write_row(row)
        copy.write_row((2, None, None, None))
    with conn.cursor().copy("COPY t TO STDOUT") as copy:
        copy.set_types(["int8", "vector", "halfvec", "sparsevec"])
        found = list(copy.rows())
    assert found[0][:3] == row[:3]
    assert np.float32(found[0][3].values()[0]) == np.float32(0.1)
    assert found[1] == (2, None, None, None)


@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_blocks(conn, rows):
    columns = [
        np.arange(rows), RNG.standard_normal(rows),
        RNG.standard_normal((rows, 128)).astype(np.float32),
        RNG.standard_normal((rows, 77)).astype(np.float16),
        RNG.random((rows, 13)) < 0.5,
    ]
    conn.execute("CREATE TABLE t (id bigint, x float8, v vector(128), h halfvec(77), b bit(13))")
    with conn.cursor() as cur:
        write_columns(cur, "t (id, x, v, h, b)", *columns)
        found = read_columns(cur, "SELECT * FROM t ORDER BY id", "i8", "f8",
                             ("f4", 128), ("f2", 77), (bool, 13))
        assert sum(len(i) for i, in read_blocks(cur, "SELECT id FROM t", "i8")) == rows
    for before, after in zip(columns, found, strict=True):
        assert before.dtype == after.dtype and before.tobytes() == after.tobytes()
    if rows:                        # not only our own reader finds them
        row = conn.execute("SELECT v, h, b FROM t WHERE id = %s", (rows - 1,)).fetchone()
        assert (row[0].to_numpy() == columns[2][-1]).all()
        assert (row[1].to_numpy() == columns[3][-1]).all()
        assert row[2] == "".join("01"[i] for i in columns[4][-1].astype(int))


def test_blocks_example(conn):
    conn.execute("CREATE TABLE items (id bigint, embedding vector(128))")
    ids, embeddings = np.arange(ROWS), RNG.standard_normal((ROWS, 128)).astype(np.float32)
    # [docs: blocks
    with conn.cursor() as cur:
        write_columns(cur, "items (id, embedding)", ids, embeddings)
        new_ids, new_embeddings = read_columns(
            cur, "SELECT id, embedding FROM items ORDER BY id", "i8", ("f4", 128))
    # docs]
    assert (new_ids == ids).all() and (new_embeddings == embeddings).all()


def test_copy_example(conn):
    conn.execute("CREATE TABLE items (id bigint, embedding vector(128))")
    embeddings = RNG.standard_normal((20, 128)).astype(np.float32)
    # [docs: rows
    with conn.cursor().copy("COPY items (id, embedding) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int8", "vector"])
        for row in enumerate(embeddings):
            copy.write_row(row)
    # docs]
    assert conn.execute("SELECT embedding FROM items WHERE id = 19").fetchone() == (Vector(embeddings[19]),)


def test_blocks_convert(conn):
    """Other orders of bytes and of elements, and slices."""
    conn.execute("CREATE TABLE t (id int, v vector(4))")
    rows = np.asfortranarray(RNG.standard_normal((100, 8)).astype(">f4"))[::2, ::2]
    with conn.cursor() as cur:
        write_columns(cur, "t", np.arange(50, dtype=">i4"), rows)
        (found,) = read_columns(cur, "SELECT v FROM t ORDER BY id", ("f4", 4))
    assert (found == rows).all()


def test_blocks_refuse(conn):
    conn.execute("CREATE TABLE t (id int, v vector(4))")
    conn.execute("INSERT INTO t VALUES (1, '[1,2,3,4]'), (2, NULL)")
    with conn.cursor() as cur:
        with pytest.raises(ValueError, match="NULL"):
            read_columns(cur, "SELECT id, v FROM t", "i4", ("f4", 4))
        with pytest.raises(ValueError, match="another type"):
            read_columns(cur, "SELECT v FROM t WHERE id = 1", ("f4", 5))
        with pytest.raises(ValueError, match="differ in length"):
            write_columns(cur, "t", np.arange(2), np.zeros((1, 4), "f4"))
        for bad in (np.full((3, 4), np.nan, "f4"), np.zeros((3, 5), "f4")):
            with pytest.raises(psycopg.DataError) as caught:
                write_columns(cur, "t", np.arange(3, dtype="i4"), bad)
            assert caught.value.sqlstate == "22000"
        assert cur.execute("SELECT count(*) FROM t").fetchone() == (2,)


@pytest.mark.parametrize("wire", [
    bytes([0, 3, 0, 0]) + bytes(8),                 # fewer elements than it says
    bytes([0, 1, 0, 0]) + bytes(8),                 # more
    bytes([0, 1, 0, 7]) + bytes(4),                 # the unused field is used
    bytes([0xff, 0xff, 0, 0]),                      # negative
    bytes([0x7f, 0xff, 0, 0]) + bytes(4 * 0x7fff),  # over the limit
    b"",
])
def test_malformed_binary(conn, wire):
    conn.execute("CREATE TABLE t (v vector)")
    stream = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\1" + len(wire).to_bytes(4, "big") + wire + b"\xff\xff"
    with pytest.raises(psycopg.Error) as caught:
        with conn.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.write(stream)
    assert caught.value.sqlstate in ("22000", "22P03", "08P01", "54000")
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
