"""One mapped class with every type, the same on every driver."""

import os

import pytest
from pgvector import SparseVector
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR, avg, sum as vector_sum
from sqlalchemy import URL, Index, cast, create_engine, delete, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

ROWS = 1000
QUERY = [7.2, 3.1, 1]


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[int]
    v: Mapped[list[float] | None] = mapped_column(VECTOR(3))
    h: Mapped[list[float] | None] = mapped_column(HALFVEC(3))
    s: Mapped[SparseVector | None] = mapped_column(SPARSEVEC(3))
    b: Mapped[str | None] = mapped_column(BIT(8))
    __table_args__ = tuple(
        Index(f"item_{column}_{ops}", column, postgresql_using="hnsw",
              postgresql_with={"m": 16, "ef_construction": 64},
              postgresql_ops={column: f"{ops}_ops"})
        for column, ops in [("v", "vector_l2"), ("v", "vector_ip"), ("v", "vector_cosine"), ("v", "vector_l1"),
                            ("h", "halfvec_l2"), ("h", "halfvec_cosine"), ("s", "sparsevec_l2"),
                            ("s", "sparsevec_ip"), ("b", "bit_hamming"), ("b", "bit_jaccard")])


# [docs: index
Index("item_half", func.cast(Item.v, HALFVEC(3)).label("half"), postgresql_using="hnsw",
      postgresql_ops={"half": "halfvec_l2_ops"})
Index("item_quantized", func.cast(func.binary_quantize(Item.v), BIT(3)).label("bits"), postgresql_using="hnsw",
      postgresql_ops={"bits": "bit_hamming_ops"})
Index("item_partial", Item.v, postgresql_using="hnsw", postgresql_ops={"v": "vector_l2_ops"},
      postgresql_where=Item.kind == 3)
# docs]


def row(i):
    """A point of a grid."""
    at = [i % 50, i // 50, 1]
    return {"id": i, "kind": i % 10, "v": at, "h": at, "s": SparseVector({0: i}, 3), "b": f"{i % 256:08b}"}


def url(driver):
    user, password = os.environ["PGUSER"], os.environ.get("PGPASSWORD")
    return URL.create(f"postgresql+{driver}", user, password, os.environ["PGTCPHOST"],
                      int(os.environ["PGTCPPORT"]), os.environ["PGDATABASE"])


@pytest.fixture(scope="module", params=["psycopg", "psycopg2", "pg8000"])
def engine(request):
    engine = create_engine(url(request.param))
    with Session(engine) as session:
        session.execute(text("CREATE EXTENSION IF NOT EXISTS piramid"))
        session.commit()
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Item(id=0, kind=0))
        session.add_all(Item(**row(i)) for i in range(1, 100))
        session.commit()
        session.execute(insert(Item), [row(i) for i in range(100, ROWS)])
        session.commit()
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def session(engine):
    with Session(engine) as session:
        session.execute(text("SET enable_seqscan = off"))
        yield session


NEAR = [157, 158, 207]
DISTANCES = [
    (Item.v.l2_distance(QUERY), "item_v_vector_l2", NEAR),
    (Item.v.max_inner_product(QUERY), "item_v_vector_ip", [999, 949, 899]),
    (Item.v.cosine_distance(QUERY), "item_v_vector_cosine", [157, 209, 210]),
    (Item.v.l1_distance(QUERY), "item_v_vector_l1", NEAR),
    (Item.h.l2_distance(QUERY), "item_h_halfvec_l2", NEAR),
    (Item.h.cosine_distance(QUERY), "item_h_halfvec_cosine", [157, 209, 210]),
    (Item.s.l2_distance(SparseVector({0: 7.2}, 3)), "item_s_sparsevec_l2", [7, 8, 6]),
    (Item.s.max_inner_product(SparseVector({0: 7.2}, 3)), "item_s_sparsevec_ip", [999, 998, 997]),
    (cast(Item.v, HALFVEC(3)).l2_distance(QUERY), "item_half", NEAR),
]


@pytest.mark.parametrize("distance,index,ids", DISTANCES, ids=[d[1] for d in DISTANCES])
def test_search(session, distance, index, ids):
    query = select(Item.id).order_by(distance).limit(3)
    assert session.scalars(query).all() == ids
    compiled = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
    plan = session.connection().exec_driver_sql(f"EXPLAIN {compiled}".replace("%", "%%")).scalars().all()
    assert f"using {index}" in "\n".join(plan)


def test_search_bits(session):
    distances = [(Item.b.hamming_distance("00000111"), "item_b_bit_hamming")]
    if session.get_bind().driver != "pg8000":       # it takes no operator with a % in it
        distances.append((Item.b.jaccard_distance("00000111"), "item_b_bit_jaccard"))
    for distance, index in distances:
        query = select(Item.b).order_by(distance).limit(3)
        assert session.scalars(query).all() == ["00000111"] * 3


def test_search_binary_quantized(session):
    """Candidates by their signs, then the exact distance."""
    signs = func.cast(func.binary_quantize(Item.v), BIT(3)).hamming_distance(
        func.binary_quantize(cast([7.2, 3.1, 1], VECTOR(3))))
    near = select(Item).order_by(signs).limit(999).subquery()
    query = select(near.c.id).order_by(near.c.v.l2_distance(QUERY)).limit(2)
    assert session.scalars(query).all() == NEAR[:2]


def test_filter_and_threshold(session):
    # [docs: search
    query = select(Item.id).where(Item.kind == 3).order_by(Item.v.l2_distance(QUERY)).limit(3)
    # docs]
    assert session.scalars(query).all() == [153, 203, 103]
    near = select(Item.id).where(Item.v.l2_distance(QUERY) < 1).order_by(Item.id)
    assert session.scalars(near).all() == NEAR
    assert session.scalars(select(Item.id).where(Item.v.is_(None))).all() == [0]
    assert session.scalar(select(Item.v.l2_distance(QUERY)).where(Item.id == 0)) is None


def test_values(session):
    item = session.get(Item, 3)
    assert (item.v, item.h, item.s, item.b) == ([3, 0, 1], [3, 0, 1], SparseVector({0: 3}, 3), "00000011")
    empty = session.get(Item, 0)
    assert (empty.v, empty.h, empty.s, empty.b) == (None,) * 4
    low = select(Item.v).where(Item.id.between(1, 3)).subquery()
    assert session.scalar(select(avg(low.c.v))) == [2, 0, 1]
    assert session.scalar(select(vector_sum(low.c.v))) == [6, 0, 3]


def test_change_and_delete(session):
    item = session.get(Item, 5)
    item.v = [-50, 0, 0]
    session.flush()
    query = select(Item.id).order_by(Item.v.l2_distance([-50, 0, 0])).limit(1)
    assert session.scalar(query) == 5
    session.execute(delete(Item).where(Item.id == 5))
    assert session.scalar(query) == 50
    session.rollback()


def sqlstate(error):
    error = error.orig
    if hasattr(error, "sqlstate"):
        return error.sqlstate
    return error.pgcode if hasattr(error, "pgcode") else error.args[0]["C"]


@pytest.mark.parametrize("column,value", [
    ("v", [1, 2]), ("h", [1, 2]), ("s", SparseVector([1, 2])), ("v", [1, 2, float("nan")])])
def test_errors(session, column, value):
    session.add(Item(id=ROWS, kind=0, **{column: value}))
    with pytest.raises(DBAPIError) as caught:
        session.flush()
    assert sqlstate(caught.value) == "22000"
    session.rollback()
    with pytest.raises(DBAPIError, match="different vector dimensions 3 and 2") as caught:
        session.execute(select(Item.id).order_by(Item.v.l2_distance([1, 2])))
    assert sqlstate(caught.value) == "22000"


def test_reflection(engine):
    types = {c["name"]: c["type"] for c in inspect(engine).get_columns("item")}
    assert isinstance(types["v"], VECTOR) and isinstance(types["h"], HALFVEC) and isinstance(types["s"], SPARSEVEC)
    found = {i["name"]: i for i in inspect(engine).get_indexes("item")}
    assert len(found) == 13
    assert found["item_v_vector_l2"]["dialect_options"]["postgresql_using"] == "hnsw"


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_async(driver):
    engine = create_async_engine(url(driver))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE EXTENSION IF NOT EXISTS piramid"))
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add_all(Item(**row(i) | {"b": None}) for i in range(300))
        await session.commit()
        for distance, ids in ((Item.v.l2_distance(QUERY), NEAR), (Item.h.l2_distance(QUERY), NEAR),
                              (Item.s.l2_distance(SparseVector({0: 7.2}, 3)), [7, 8, 6])):
            found = await session.scalars(select(Item.id).order_by(distance).limit(3))
            assert found.all() == ids
        assert (await session.get(Item, 9)).v == [9, 0, 1]
        session.add(Item(id=500, kind=0, v=[1]))
        with pytest.raises(DBAPIError, match="expected 3 dimensions, not 1") as caught:
            await session.flush()
        assert sqlstate(caught.value) == "22000"
        await session.rollback()
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()
