"""PGVectorStore, and the older PGVector, with an hnsw index."""

import os

import psycopg
import pytest
from index_use import prefer_indexes, was_used
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_postgres import Column, PGEngine, PGVector, PGVectorStore
from langchain_postgres.v2.indexes import DistanceStrategy, HNSWIndex, HNSWQueryOptions
from sqlalchemy.exc import DBAPIError, StatementError

URL = "postgresql+psycopg://{PGUSER}:{PGPASSWORD}@{PGTCPHOST}:{PGTCPPORT}/{PGDATABASE}".format(
    **{"PGPASSWORD": "unused"} | os.environ)
SIZE = 64
EMBEDDING = DeterministicFakeEmbedding(size=SIZE)       # equal texts, equal vectors
SHORTER = DeterministicFakeEmbedding(size=SIZE - 1)
DOCUMENTS = [Document(page_content=f"text {i}", metadata={"page": i, "kind": f"k{i % 5}"}) for i in range(300)]
IDS = [f"00000000-0000-0000-0000-{i:012d}" for i in range(300)]


@pytest.fixture(scope="module", autouse=True)
def indexes():
    prefer_indexes()


@pytest.fixture
def engine():
    engine = PGEngine.from_connection_string(URL)
    # [docs: table
    engine.init_vectorstore_table("docs", SIZE, metadata_columns=[
        Column("kind", "TEXT"), Column("page", "INTEGER")])
    # docs]
    yield engine
    engine.drop_table("docs")
    engine._run_as_sync(engine.close())


def make_store(engine):
    return PGVectorStore.create_sync(engine, EMBEDDING, "docs", metadata_columns=["kind", "page"])


DISTANCES = [(DistanceStrategy.EUCLIDEAN, "vector_l2_ops"),
             (DistanceStrategy.COSINE_DISTANCE, "vector_cosine_ops"),
             (DistanceStrategy.INNER_PRODUCT, "vector_ip_ops")]


@pytest.mark.parametrize("distance,opclass", DISTANCES, ids=[d[1] for d in DISTANCES])
def test_store(engine, distance, opclass):
    # [docs: store
    store = PGVectorStore.create_sync(
        engine, EMBEDDING, "docs", metadata_columns=["kind", "page"],
        distance_strategy=distance, index_query_options=HNSWQueryOptions(ef_search=100))
    store.add_documents(DOCUMENTS, ids=IDS)
    store.apply_vector_index(HNSWIndex(name="docs_hnsw", distance_strategy=distance, m=16, ef_construction=64))
    found = store.similarity_search_with_score("text 7", k=3, filter={"kind": "k2"})
    # docs]
    assert store.is_valid_index("docs_hnsw")
    with psycopg.connect() as conn:
        definition = conn.execute("SELECT pg_get_indexdef('docs_hnsw'::regclass)").fetchone()[0]
    assert f"USING hnsw (embedding {opclass})" in definition
    assert len(found) == 3 and all(document.metadata["kind"] == "k2" for document, _ in found)
    first, score = found[0]
    assert (first.page_content, first.metadata, first.id) == (
        DOCUMENTS[7].page_content, DOCUMENTS[7].metadata, IDS[7])
    norm = sum(x * x for x in EMBEDDING.embed_query("text 7"))
    product = opclass == "vector_ip_ops"        # the score is not negative there
    assert score == pytest.approx(norm if product else 0, abs=1e-4)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=product)

    assert [d.page_content for d in store.similarity_search("text 7", k=1)] == ["text 7"]
    assert len(store.max_marginal_relevance_search("text 7", k=3)) == 3
    assert [d.metadata["page"] for d in store.similarity_search(
        "text 7", k=9, filter={"$and": [{"page": {"$gte": 5}}, {"page": {"$lt": 8}}, {"kind": {"$ne": "k0"}}]})
    ][0] == 7
    assert [d.page_content for d in store.get_by_ids([IDS[9]])] == ["text 9"]
    store.delete(IDS[:8])
    assert store.similarity_search("text 7", k=1)[0].page_content != "text 7"


def test_store_uses_index(engine):
    store = make_store(engine)
    store.add_documents(DOCUMENTS)
    store.apply_vector_index(HNSWIndex(name="docs_hnsw"))
    assert store.similarity_search("text 7", k=1)[0].page_content == "text 7"
    engine._run_as_sync(engine.close())     # a backend that ends reports what it did
    assert was_used("docs_hnsw")


def test_store_errors(engine):
    store = make_store(engine)
    with pytest.raises(DBAPIError, match=f"expected {SIZE} dimensions, not {SIZE - 1}") as caught:
        store.add_embeddings(["a"], [SHORTER.embed_query("a")])
    assert caught.value.orig.sqlstate == "22000"
    store.add_texts(["a"])
    with pytest.raises(DBAPIError, match=f"different vector dimensions {SIZE} and {SIZE - 1}") as caught:
        store.similarity_search_by_vector(SHORTER.embed_query("a"))
    assert caught.value.orig.sqlstate == "22000"


@pytest.mark.parametrize("strategy", ["l2", "cosine", "inner"])
def test_older_store(strategy):
    store = PGVector(EMBEDDING, connection=URL, collection_name="older", embedding_length=SIZE,
                     distance_strategy=strategy, pre_delete_collection=True)
    store.add_documents(DOCUMENTS, ids=IDS)
    found = store.similarity_search("text 7", k=3, filter={"kind": {"$in": ["k2", "k3"]}})
    assert found[0].page_content == "text 7" and len(found) == 3
    assert all(d.metadata["kind"] in ("k2", "k3") for d in found)
    store.delete(IDS[:8])
    assert store.similarity_search("text 7", k=1)[0].page_content != "text 7"
    with pytest.raises(StatementError, match=f"expected {SIZE} dimensions, not 2"):
        store.similarity_search_by_vector([1, 2])       # noticed before it is sent
    store.drop_tables()
