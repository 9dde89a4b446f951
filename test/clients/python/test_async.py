"""psycopg 3 and asyncpg, asynchronous."""

import asyncio

import asyncpg
import numpy as np
import pgvector.asyncpg
import psycopg
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector
from pgvector.psycopg import register_vector_async
from psycopg_pool import AsyncConnectionPool

ROW = (1, Vector([1, 2, 3]), HalfVector([1, 2, 3]), SparseVector([1, 0, 3]))
TABLE = "CREATE TEMP TABLE t (id int, v vector(3), h halfvec(3), s sparsevec(3))"


@pytest.mark.asyncio
async def test_psycopg():
    async with await psycopg.AsyncConnection.connect(autocommit=True) as conn:
        await register_vector_async(conn)
        await conn.execute(TABLE)
        async with conn.cursor(binary=True) as cur:
            async with cur.copy("COPY t FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "vector", "halfvec", "sparsevec"])
                await copy.write_row(ROW)
            await cur.executemany("INSERT INTO t (id, v) VALUES (%s, %s)",
                                  [(i, np.full(3, i, np.float32)) for i in range(2, 50)])
            await cur.execute("SELECT * FROM t WHERE id = 1")
            assert await cur.fetchone() == ROW
            await cur.execute("SELECT id FROM t ORDER BY v <-> %s LIMIT 2", (Vector([7, 7, 7.1]),))
            assert await cur.fetchall() == [(7,), (8,)]
            with pytest.raises(psycopg.DataError) as caught:
                await cur.execute("INSERT INTO t (v) VALUES (%s)", (Vector([1]),))
            assert caught.value.sqlstate == "22000"


@pytest.mark.asyncio
async def test_psycopg_pool():
    async with AsyncConnectionPool(min_size=2, configure=register_vector_async, open=False) as pool:
        async def one(i):
            async with pool.connection() as conn:
                cur = await conn.execute("SELECT %s::vector", (Vector([i]),))
                return (await cur.fetchone())[0]
        found = await asyncio.gather(*map(one, range(20)))
    assert found == [Vector([i]) for i in range(20)]


@pytest.mark.asyncio
async def test_asyncpg():
    conn = await asyncpg.connect()
    try:
        await pgvector.asyncpg.register_vector(conn)
        await conn.execute(TABLE)
        rows = [ROW] + [(i, Vector([i] * 3), None, None) for i in range(2, 50)]
        await conn.copy_records_to_table("t", records=rows)
        assert [tuple(r) for r in await conn.fetch("SELECT * FROM t ORDER BY id")] == rows
        await conn.executemany("INSERT INTO t (id, v) VALUES ($1, $2)", [(100, np.array([9, 9, 9.0]))])
        found = await conn.fetch("SELECT id FROM t ORDER BY v <-> $1 LIMIT 2", Vector([100, 100, 100]))
        assert [r["id"] for r in found] == [49, 48]
        assert await conn.fetchval("SELECT $1::bit(3) <~> B'111'", asyncpg.BitString("101")) == 1
        with pytest.raises(asyncpg.DataError, match="expected 3 dimensions, not 1") as caught:
            await conn.execute("INSERT INTO t (v) VALUES ($1)", Vector([1]))
        assert caught.value.sqlstate == "22000"
    finally:
        await conn.close()
