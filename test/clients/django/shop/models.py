from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models.functions import Cast
from pgvector.django import BitField, HalfVectorField, HnswIndex, SparseVectorField, VectorField


class Item(models.Model):
    kind = models.IntegerField(default=0)
    v = VectorField(dimensions=3, null=True, blank=True)
    h = HalfVectorField(dimensions=3, null=True, blank=True)
    s = SparseVectorField(dimensions=3, null=True, blank=True)
    b = BitField(length=8, null=True, blank=True)
    parts = ArrayField(VectorField(dimensions=2), null=True, blank=True)

    class Meta:
        indexes = [
            # [docs: index
            HnswIndex(name="item_v_l2", fields=["v"], m=16, ef_construction=64, opclasses=["vector_l2_ops"]),
            # docs]
            HnswIndex(name="item_v_ip", fields=["v"], opclasses=["vector_ip_ops"]),
            HnswIndex(name="item_v_cosine", fields=["v"], opclasses=["vector_cosine_ops"]),
            HnswIndex(name="item_v_l1", fields=["v"], opclasses=["vector_l1_ops"]),
            HnswIndex(name="item_h_l2", fields=["h"], opclasses=["halfvec_l2_ops"]),
            HnswIndex(name="item_s_l2", fields=["s"], opclasses=["sparsevec_l2_ops"]),
            HnswIndex(name="item_b_hamming", fields=["b"], opclasses=["bit_hamming_ops"]),
            HnswIndex(name="item_b_jaccard", fields=["b"], opclasses=["bit_jaccard_ops"]),
            HnswIndex(OpClass(Cast("v", HalfVectorField(dimensions=3)), name="halfvec_l2_ops"), name="item_half"),
        ]
