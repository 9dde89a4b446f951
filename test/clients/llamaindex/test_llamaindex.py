"""PGVectorStore alone and below a VectorStoreIndex."""

import hashlib
import os

import psycopg
import pytest
from index_use import prefer_indexes, was_used
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import (FilterCondition, FilterOperator, MetadataFilter, MetadataFilters,
                                            VectorStoreQuery)
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.vector_stores.postgres import PGVectorStore
from sqlalchemy.exc import DBAPIError

SIZE = 32
ROWS = 300


class HashEmbedding(BaseEmbedding):
    """Equal texts, equal vectors; others have about a right angle."""

    def _get_text_embedding(self, text):
        return [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()]

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query):
        return self._get_text_embedding(query)


def embedding(text):
    return HashEmbedding().get_text_embedding(text)


def node(i, **options):
    return TextNode(id_=f"node-{i}", text=f"text {i}", embedding=embedding(f"text {i}"),
                    metadata={"page": i, "kind": f"k{i % 5}", "tags": [f"t{i % 3}", "all"]} | ({} if i % 2 else {"even": "yes"}),
                    relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"document-{i // 100}")}, **options)


def query(text, **options):
    return VectorStoreQuery(query_embedding=embedding(text), query_str=text, similarity_top_k=3, **options)


@pytest.fixture(scope="module", autouse=True)
def indexes():
    prefer_indexes()


def make_store(table, distance="vector_cosine_ops", **options):
    # [docs: store
    store = PGVectorStore.from_params(
        host=os.environ["PGTCPHOST"], port=os.environ["PGTCPPORT"], database=os.environ["PGDATABASE"],
        user=os.environ["PGUSER"], password=os.environ.get("PGPASSWORD"), table_name=table, embed_dim=SIZE,
        hnsw_kwargs={"hnsw_m": 16, "hnsw_ef_construction": 64, "hnsw_ef_search": 100,
                     "hnsw_dist_method": distance}, **options)
    # docs]
    store.initialization_fail_on_error = True       # else a failure is a warning, and a sequential scan
    return store


@pytest.fixture(scope="module", params=[
    {}, {"use_jsonb": True, "use_halfvec": True, "distance": "halfvec_cosine_ops"},
    {"hybrid_search": True, "text_search_config": "english"}], ids=["vector", "halfvec", "hybrid"])
def store(request):
    store = make_store(f"items{request.param_index}", **request.param)
    store.add([node(i) for i in range(ROWS)])
    return store


def test_table(store):
    type_ = "halfvec" if store.use_halfvec else "vector"
    with psycopg.connect() as conn:
        definition = conn.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s",
                                  (f"data_{store.table_name}_embedding_idx",)).fetchone()[0]
        column = conn.execute("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'embedding' "
                              "AND attrelid = %s::regclass", (f"data_{store.table_name}",)).fetchone()[0]
    assert column == f"{type_}({SIZE})"
    assert f"USING hnsw (embedding {type_}_cosine_ops) WITH (m='16', ef_construction='64')" in definition


def test_search(store):
    found = store.query(query("text 7"))
    assert found.ids[0] == "node-7" and len(found.ids) == 3
    assert found.similarities[0] == pytest.approx(1, abs=1e-3)
    assert found.similarities == sorted(found.similarities, reverse=True)
    first = found.nodes[0]
    assert (first.text, first.metadata, first.ref_doc_id) == (
        "text 7", {"page": 7, "kind": "k2", "tags": ["t1", "all"]}, "document-0")


async def test_search_async(store):
    found = await store.aquery(query("text 8"))
    assert found.ids[0] == "node-8" and len(found.ids) == 3


def test_max_marginal_relevance(store):
    found = store.query(query("text 7", mode=VectorStoreQueryMode.MMR), mmr_threshold=0.5)
    assert found.ids[0] == "node-7" and len(found.ids) == 3


@pytest.mark.parametrize("key,value,operator,wanted", [
    ("kind", "k2", FilterOperator.EQ, lambda m: m["kind"] == "k2"),
    ("kind", "k2", FilterOperator.NE, lambda m: m["kind"] != "k2"),
    ("kind", ["k1", "k4"], FilterOperator.IN, lambda m: m["kind"] in ("k1", "k4")),
    ("kind", ["k1", "k4"], FilterOperator.NIN, lambda m: m["kind"] not in ("k1", "k4")),
    ("page", 250, FilterOperator.GT, lambda m: m["page"] > 250),
    ("page", 250, FilterOperator.GTE, lambda m: m["page"] >= 250),
    ("page", 4, FilterOperator.LT, lambda m: m["page"] < 4),
    ("page", 4, FilterOperator.LTE, lambda m: m["page"] <= 4),
    ("tags", "t1", FilterOperator.CONTAINS, lambda m: "t1" in m["tags"]),
    ("tags", ["t1", "t2"], FilterOperator.ANY, lambda m: "t0" not in m["tags"]),
    ("tags", ["t1", "all"], FilterOperator.ALL, lambda m: "t1" in m["tags"]),
    ("kind", "k3", FilterOperator.TEXT_MATCH, lambda m: m["kind"] == "k3"),
    ("kind", "K3", FilterOperator.TEXT_MATCH_INSENSITIVE, lambda m: m["kind"] == "k3"),
    ("even", None, FilterOperator.IS_EMPTY, lambda m: "even" not in m),
], ids=lambda value: value.name if isinstance(value, FilterOperator) else "")
def test_filter(store, key, value, operator, wanted):
    filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
    found = store.query(query("text 7", filters=filters))
    assert len(found.nodes) == 3 and all(wanted(n.metadata) for n in found.nodes)
    if wanted(node(7).metadata):
        assert found.ids[0] == "node-7"


def test_filters_combined(store):
    filters = MetadataFilters(condition=FilterCondition.OR, filters=[
        MetadataFilter(key="page", value=7), MetadataFilter(key="page", value=9)])
    assert set(store.query(query("text 9", filters=filters)).ids) == {"node-9", "node-7"}


def test_hybrid(store):
    if not store.hybrid_search:
        pytest.skip("this store has no text search")
    found = store.query(query("text 7", mode=VectorStoreQueryMode.HYBRID, sparse_top_k=3))
    assert found.ids[0] == "node-7" and "node-7" in found.ids
    found = store.query(VectorStoreQuery(query_str="7", similarity_top_k=3, mode=VectorStoreQueryMode.SPARSE))
    assert found.ids == ["node-7"]


def test_get_and_delete(store):
    assert [n.node_id for n in store.get_nodes(["node-11"])] == ["node-11"]
    assert store.get_nodes(["node-11"])[0].embedding == pytest.approx(embedding("text 11"), rel=1e-3)
    store.delete_nodes(["node-11"])
    assert store.query(query("text 11")).ids[0] != "node-11"
    store.delete("document-1")
    assert not {f"node-{i}" for i in range(100, 200)} & set(store.query(query("text 150")).ids)
    store.add([node(11)] + [node(i) for i in range(100, 200)])
    assert store.query(query("text 150")).ids[0] == "node-150"


@pytest.mark.parametrize("operation", ["add", "query"])
def test_errors(store, operation):
    with pytest.raises(Exception) as caught:
        if operation == "add":
            store.add([TextNode(text="a", embedding=[1.0, 2.0])])
        else:
            store.query(VectorStoreQuery(query_embedding=[1.0, 2.0], similarity_top_k=1))
    assert isinstance(caught.value, DBAPIError) and caught.value.orig.pgcode == "22000"
    assert store.query(query("text 7")).ids[0] == "node-7"


async def test_index_was_used(store):
    store._engine.dispose()         # a backend that ends reports what it did
    await store._async_engine.dispose()
    assert was_used(f"data_{store.table_name}_embedding_idx")


def test_vector_store_index():
    store = make_store("whole")
    # [docs: index
    index = VectorStoreIndex([], storage_context=StorageContext.from_defaults(vector_store=store),
                             embed_model=HashEmbedding())
    index.insert_nodes([node(i) for i in range(50)])
    found = index.as_retriever(similarity_top_k=2).retrieve("text 7")
    # docs]
    assert [n.node.node_id for n in found][0] == "node-7" and found[0].score == pytest.approx(1)
    index.delete_nodes(["node-7"])
    assert index.as_retriever(similarity_top_k=2).retrieve("text 7")[0].node.node_id != "node-7"
    store.clear()
    assert index.as_retriever(similarity_top_k=2).retrieve("text 8") == []
