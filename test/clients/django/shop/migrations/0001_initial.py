import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.functions
import pgvector.django
from django.db import migrations, models
from pgvector.django import HnswIndex

INDEXES = [
    HnswIndex(name="item_v_l2", fields=["v"], m=16, ef_construction=64, opclasses=["vector_l2_ops"]),
    HnswIndex(name="item_v_ip", fields=["v"], opclasses=["vector_ip_ops"]),
    HnswIndex(name="item_v_cosine", fields=["v"], opclasses=["vector_cosine_ops"]),
    HnswIndex(name="item_v_l1", fields=["v"], opclasses=["vector_l1_ops"]),
    HnswIndex(name="item_h_l2", fields=["h"], opclasses=["halfvec_l2_ops"]),
    HnswIndex(name="item_s_l2", fields=["s"], opclasses=["sparsevec_l2_ops"]),
    HnswIndex(name="item_b_hamming", fields=["b"], opclasses=["bit_hamming_ops"]),
    HnswIndex(name="item_b_jaccard", fields=["b"], opclasses=["bit_jaccard_ops"]),
    HnswIndex(
        django.contrib.postgres.indexes.OpClass(
            django.db.models.functions.Cast("v", pgvector.django.HalfVectorField(dimensions=3)),
            name="halfvec_l2_ops"),
        name="item_half"),
]


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        pgvector.django.VectorExtension(),      # CREATE EXTENSION IF NOT EXISTS vector
        migrations.CreateModel(
            name="Item",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.IntegerField(default=0)),
                ("v", pgvector.django.VectorField(blank=True, dimensions=3, null=True)),
                ("h", pgvector.django.HalfVectorField(blank=True, dimensions=3, null=True)),
                ("s", pgvector.django.SparseVectorField(blank=True, dimensions=3, null=True)),
                ("b", pgvector.django.BitField(blank=True, length=8, null=True)),
                ("parts", django.contrib.postgres.fields.ArrayField(
                    base_field=pgvector.django.VectorField(dimensions=2), blank=True, null=True, size=None)),
            ],
        ),
    ] + [migrations.AddIndex(model_name="item", index=index) for index in INDEXES]
