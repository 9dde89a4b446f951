"""An ann-benchmarks HDF5 file: rows, queries, exact neighbours, recall."""

import re
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

# distance attribute -> (operator, operator class)
OPERATORS = {
    "euclidean": ("<->", "vector_l2_ops"),
    "angular": ("<=>", "vector_cosine_ops"),
    "cosine": ("<=>", "vector_cosine_ops"),
    "dot": ("<#>", "vector_ip_ops"),
    "ip": ("<#>", "vector_ip_ops"),
    "inner_product": ("<#>", "vector_ip_ops"),
}

CHUNK = 16384


class Dataset:
    """The first `rows` rows of a file; all of them when `rows` is None."""

    def __init__(self, path, rows=None, k=10):
        self.path = Path(path)
        self.file = h5py.File(path, "r")
        self.train = self.file["train"]
        self.total = self.train.shape[0]
        self.rows = min(rows or self.total, self.total)
        self.dim = self.train.shape[1]
        self.distance = self.file.attrs["distance"]
        if isinstance(self.distance, bytes):
            self.distance = self.distance.decode()
        if self.distance not in OPERATORS:
            raise SystemExit(f"{path}: distance {self.distance!r} is not supported")
        self.operator, self.opclass = OPERATORS[self.distance]
        self.queries = np.asarray(self.file["test"], dtype=np.float32)
        self.k = k
        self.name = self.path.stem
        if self.rows < self.total:
            self.name += f"-{self.rows}"
        self.table = re.sub(r"\W+", "_", self.name.lower())
        self._memory = None
        self._kth = None

    def chunks(self, start=0, stop=None):
        """(number of the first row, float32 rows), a chunk at a time."""
        stop = self.rows if stop is None else stop
        for at in range(start, stop, CHUNK):
            yield at, np.asarray(self.train[at:min(at + CHUNK, stop)], dtype=np.float32)

    def distances(self, query, rows):
        """Distances in double precision, by their definition."""
        q = query.astype(np.float64)
        x = rows.astype(np.float64)
        if self.operator == "<->":
            return np.sqrt(((x - q) ** 2).sum(axis=1))
        product = x @ q
        if self.operator == "<#>":
            return -product
        return 1 - product / (np.linalg.norm(x, axis=1) * np.linalg.norm(q))

    def fetch(self, ids):
        """Rows by number, in any order and with repeats."""
        if self._memory is None:
            # One row from a compressed file costs a chunk of it.
            self._memory = self.train[:self.rows]
        return self._memory[ids].astype(np.float32)

    def truth(self):
        """The k nearest row numbers of every query."""
        name = "neighbors" if self.rows == self.total else f"neighbors_{self.rows}"
        if name in self.file and self.file[name].shape[1] >= self.k:
            return np.asarray(self.file[name][:, :self.k])
        return self._exact()

    def _exact(self):
        """Exact neighbours of a prefix: float32 products, the best of each
        chunk kept; recall recomputes the k-th distance in double precision."""
        nq = len(self.queries)
        spare = self.k + 10
        best = np.empty((nq, 0))
        ids = np.empty((nq, 0), dtype=np.int64)
        q = self.queries
        if self.opclass == "vector_cosine_ops":
            q = q / np.linalg.norm(q, axis=1, keepdims=True)
        for at, x in tqdm(self.chunks(), total=-(-self.rows // CHUNK),
                          desc="exact neighbours", unit="chunk", disable=None):
            if self.opclass == "vector_cosine_ops":
                x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
            key = -(q @ x.T)
            if self.opclass == "vector_l2_ops":
                key = (x ** 2).sum(axis=1) + 2 * key
            best = np.hstack([best, key])
            ids = np.hstack([ids, np.broadcast_to(np.arange(at, at + len(x)), key.shape)])
            if best.shape[1] > spare:
                keep = np.argpartition(best, spare, axis=1)[:, :spare]
                best = np.take_along_axis(best, keep, axis=1)
                ids = np.take_along_axis(ids, keep, axis=1)
        order = np.empty((nq, self.k), dtype=np.int64)
        for i in range(nq):
            exact = self.distances(self.queries[i], self.fetch(ids[i]))
            order[i] = ids[i][np.argsort(exact, kind="stable")[:self.k]]
        return order

    def recall(self, found):
        """Mean share of the k nearest among the ids found (-1: none).

        A row as near as the k-th neighbour counts, whichever of several equal
        ones the file names; a row found twice counts once.
        """
        if self._kth is None:
            self._truth = self.truth()
            self._kth = np.array([
                self.distances(q, self.fetch(t)).max()
                for q, t in zip(self.queries, self._truth)])
        right = 0
        for i, ids in enumerate(found):
            ids = np.unique(ids[ids >= 0])
            certain = np.isin(ids, self._truth[i])
            right += certain.sum()
            if not certain.all():
                far = self.distances(self.queries[i], self.fetch(ids[~certain]))
                right += (far <= self._kth[i] + 1e-6 * abs(self._kth[i])).sum()
        return min(1.0, right / (len(found) * self.k))


def wire_vectors(rows):
    """Rows in the binary format of type vector: int16 dimensions, int16 0,
    float4 elements, in network order."""
    out = np.zeros(len(rows), dtype=[("dim", ">i2"), ("unused", ">i2"),
                                     ("x", ">f4", (rows.shape[1],))])
    out["dim"] = rows.shape[1]
    out["x"] = rows
    return out


def copy_stream(chunks):
    """(first id, rows) pairs as the bytes of COPY (id, embedding) FROM ...
    (FORMAT binary)."""
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for start, rows in chunks:
        vectors = wire_vectors(rows)
        out = np.zeros(len(rows), dtype=[("fields", ">i2"),
                                         ("size1", ">i4"), ("id", ">i4"),
                                         ("size2", ">i4"), ("v", vectors.dtype)])
        out["fields"] = 2
        out["size1"] = 4
        out["id"] = np.arange(start, start + len(rows))
        out["size2"] = vectors.dtype.itemsize
        out["v"] = vectors
        yield out.tobytes()
    yield b"\xff\xff"
