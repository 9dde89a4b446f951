"""A project with one app: migration, ORM, its exceptions, async."""

import asyncio

import pytest
from django.core.management import call_command
from django.db import DataError, connection, transaction
from django.db.models import Avg, Sum
from django.forms import ModelForm
from pgvector import SparseVector
from pgvector.django import (CosineDistance, HammingDistance, JaccardDistance, L1Distance, L2Distance,
                             MaxInnerProduct)
from pgvector.psycopg import register_vector
from shop.models import Item

ROWS = 1000
QUERY = [7.2, 3.1, 1]
NEAR = [157, 158, 207]


def row(i):
    """A point of a grid."""
    at = [i % 50, i // 50, 1]
    return Item(id=i, kind=i % 10, v=at, h=at, s=SparseVector({0: i}, 3), b=f"{i % 256:08b}", parts=[[i, 0], [0, i]])


@pytest.fixture(scope="module", autouse=True)
def tables():
    call_command("migrate", verbosity=0)
    register_vector(connection.connection)      # for ArrayField: the driver takes arrays apart
    Item.objects.create(id=ROWS)
    for i in range(1, 50):
        row(i).save()
    Item.objects.bulk_create([row(i) for i in range(50, ROWS)], batch_size=200)
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
    yield
    call_command("migrate", "shop", "zero", verbosity=0)
    assert "shop_item" not in connection.introspection.table_names()


@pytest.fixture
def undone():
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_migration_is_complete():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "shop_item")
    assert [i["type"] for i in found.values() if not i["primary_key"]] == ["hnsw"] * 9
    assert found["item_v_l2"]["options"] in (None, ["m=16", "ef_construction=64"])


@pytest.mark.parametrize("distance,index,ids", [
    (L2Distance("v", QUERY), "item_v_l2", NEAR),
    (MaxInnerProduct("v", QUERY), "item_v_ip", [999, 949, 899]),
    (CosineDistance("v", [1, 1.1, 1]), "item_v_cosine", [51, 102, 101]),
    (L1Distance("v", QUERY), "item_v_l1", NEAR),
    (L2Distance("h", QUERY), "item_h_l2", NEAR),
    (L2Distance("s", SparseVector({0: 7.2}, 3)), "item_s_l2", [7, 8, 6]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_search(distance, index, ids):
    query = Item.objects.order_by(distance)[:3]
    assert [item.id for item in query] == ids
    assert f"using {index} on shop_item" in query.explain()


def test_search_bits():
    for distance, index in ((HammingDistance("b", "00000111"), "item_b_hamming"),
                            (JaccardDistance("b", "00000111"), "item_b_jaccard")):
        query = Item.objects.order_by(distance)[:3]
        assert [item.b for item in query] == ["00000111"] * 3
        assert f"using {index} on shop_item" in query.explain()


def test_annotate_filter_exclude():
    query = Item.objects.annotate(distance=L2Distance("v", QUERY))
    assert query.get(id=157).distance == pytest.approx(0.2236068)
    assert query.get(id=ROWS).distance is None
    assert list(query.filter(distance__lt=1).order_by("distance").values_list("id", flat=True)) == NEAR
    # [docs: search
    query = Item.objects.filter(kind=3).order_by(L2Distance("v", QUERY))[:3]
    # docs]
    assert [item.id for item in query] == [153, 203, 103]
    assert list(Item.objects.filter(v__isnull=True).values_list("id", flat=True)) == [ROWS]


def test_values():
    item = Item.objects.get(id=60)
    assert (item.v, item.h, item.s, item.b) == ([10, 1, 1], [10, 1, 1], SparseVector({0: 60}, 3), "00111100")
    assert item.parts == [[60, 0], [0, 60]]
    empty = Item.objects.get(id=ROWS)
    assert (empty.v, empty.h, empty.s, empty.b, empty.parts) == (None,) * 5
    low = Item.objects.filter(id__lte=3)
    assert low.aggregate(Avg("v"), Sum("v")) == {"v__avg": [2, 0, 1], "v__sum": [6, 0, 3]}
    assert Item.objects.get(v=[10, 1, 1]).id == 60


@pytest.mark.usefixtures("undone")
def test_form():
    class ItemForm(ModelForm):
        class Meta:
            model = Item
            fields = ["v"]
    form = ItemForm(data={"v": "[1, 2.5, 3]"}, instance=Item(id=ROWS + 1))
    assert form.is_valid()
    assert Item.objects.get(id=form.save().id).v == [1, 2.5, 3]


@pytest.mark.usefixtures("undone")
def test_change_and_delete():
    query = Item.objects.order_by(L2Distance("v", [-50, 0, 0]))
    Item.objects.filter(id=5).update(v=[-50, 0, 0])
    assert query.first().id == 5
    item = Item.objects.get(id=6)
    item.v = [-50, 0, 0.1]
    item.save()
    assert [item.id for item in query[:2]] == [5, 6]
    Item.objects.filter(id=5).delete()
    assert query.first().id == 6


@pytest.mark.parametrize("values", [
    {"v": [1, 2]}, {"h": [1, 2]}, {"s": SparseVector([1, 2])}, {"v": [1, 2, float("nan")]}])
@pytest.mark.usefixtures("undone")
def test_errors(values):
    with pytest.raises(DataError) as caught, transaction.atomic():
        Item.objects.create(**values)
    assert caught.value.__cause__.sqlstate == "22000"
    with pytest.raises(DataError, match="different vector dimensions"), transaction.atomic():
        list(Item.objects.order_by(L2Distance("v", [1, 2])))
    assert Item.objects.count() == ROWS


def test_async():
    async def search():
        near = Item.objects.order_by(L2Distance("v", QUERY)).values_list("id", flat=True)[:3]
        return [i async for i in near]
    assert asyncio.run(search()) == NEAR
