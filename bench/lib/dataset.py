"""Data sets of dense rows: rows, queries, exact neighbours, recall."""

import re
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from column import COLUMNS, METRICS

CHUNK = 16384


def derive(rows, dim, operator):
    """Rows with another number of elements, and how they were made: the first
    `dim`, or for twice as many each row followed by the signed square roots of
    its elements, both halves of equal length.  Angular rows get length 1."""
    rows = np.asarray(rows, dtype=np.float32)
    had = rows.shape[1]

    def unit(x):
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)

    if dim == 2 * had:
        roots = unit(np.sign(rows) * np.sqrt(np.abs(rows))) * np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.hstack([rows, roots])
        how = f"all {had:,} elements of the file's rows, then their signed square roots"
    elif 0 < dim < had:
        rows = rows[:, :dim]
        how = f"the first {dim:,} of the {had:,} elements of the file's rows"
    else:
        raise SystemExit(f"--dim of these rows can be less than {had} or {2 * had}")
    if operator == "<=>":
        return unit(rows), how + ", at length 1"
    return rows, how


class Dataset:
    """What all sets share.  A subclass has `queries`, chunks(), fetch(),
    distances() and truth()."""

    def __init__(self, kind, stem, distance, total, rows, dim, k):
        if distance not in METRICS:
            raise SystemExit(f"{stem}: distance {distance!r} is not supported")
        self.column = COLUMNS[kind]
        self.distance = distance
        self.operator, suffix = METRICS[distance]
        self.opclass = f"{kind}_{suffix}"
        self.total = total
        self.rows = min(rows or total, total)
        self.dim = dim
        self.k = k
        self.stem = stem
        self.name = stem
        if kind not in ("vector", "sparsevec"):
            self.name += f"-{kind}"
        if self.rows < self.total:
            self.name += f"-{self.rows}"
        self.table = re.sub(r"\W+", "_", self.name.lower())
        self._kth = None

    def recall(self, found):
        """Mean share of the k nearest among the ids found (-1: none).

        A row as near as the k-th neighbour counts, whichever of several equal
        ones the truth names; a row found twice counts once.
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


class DenseDataset(Dataset):
    """A file with the rows as vector or halfvec, rounded to its precision."""

    def __init__(self, path, kind="vector", rows=None, k=10, dim=None):
        path = Path(path)
        self.file = h5py.File(path, "r")
        self.derived = None
        stem = path.stem
        distance = self.file.attrs["distance"]
        if isinstance(distance, bytes):
            distance = distance.decode()
        if distance not in METRICS:
            raise SystemExit(f"{path}: distance {distance!r} is not supported")
        if dim:
            with self.file as file:
                parts = {part: derive(file[part], dim, METRICS[distance][0]) for part in ("train", "test")}
            # No neighbours: they are others now.
            self.file = {part: rows for part, (rows, _) in parts.items()}
            self.derived = parts["train"][1]
            stem += f"-{dim}d"
        self.train = self.file["train"]
        super().__init__(kind, stem, self.metric(distance), self.train.shape[0], rows, self.train.shape[1], k)
        self.queries = self.convert(self.file["test"])
        self._memory = None

    def metric(self, distance):
        return distance

    def convert(self, rows):
        """Rows of the file as the column holds them."""
        return np.asarray(rows, dtype=np.float32).astype(self.column.dtype)

    def chunks(self, start=0, stop=None):
        """(number of the first row, rows), a chunk at a time."""
        stop = self.rows if stop is None else stop
        for at in range(start, stop, CHUNK):
            yield at, self.convert(self.train[at:min(at + CHUNK, stop)])

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

    def keys(self, rows):
        """Of every query (a row) and row (a column), in float32: a number that
        orders as the distance does."""
        x = rows.astype(np.float32)
        if self.operator == "<=>":
            x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
        key = -(self.queries.astype(np.float32) @ x.T)
        if self.operator == "<->":
            key = (x ** 2).sum(axis=1) + 2 * key
        return key

    def fetch(self, ids):
        """Rows by number, in any order and with repeats."""
        if self._memory is None:
            # One row from a compressed file costs a chunk of it.
            self._memory = self.train[:self.rows]
        return self.convert(self._memory[ids])

    def truth(self):
        """The k nearest row numbers of every query."""
        name = "neighbors" if self.rows == self.total else f"neighbors_{self.rows}"
        if self.holds_all() and name in self.file and self.file[name].shape[1] >= self.k:
            return np.asarray(self.file[name][:, :self.k])
        return self._exact()

    def holds_all(self):
        """Whether the column rounds nothing, so that the file's truth holds."""
        return all(np.can_cast(self.file[part].dtype, self.column.dtype) or self.column.name == "vector"
                   for part in ("train", "test"))

    def _exact(self):
        """Exact neighbours: the best keys of each chunk are kept, then ordered
        by the distance in double precision."""
        nq = len(self.queries)
        spare = self.k + 10
        best = np.empty((nq, 0))
        ids = np.empty((nq, 0), dtype=np.int64)
        for at, x in tqdm(self.chunks(), total=-(-self.rows // CHUNK),
                          desc="exact neighbours", unit="chunk", disable=None):
            key = self.keys(x)
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


class BitDataset(DenseDataset):
    """A file's rows as bits: 1 where the element is positive, as
    binary_quantize() does.  The distance is Hamming's, whatever the file says."""

    def __init__(self, path, kind="bit", rows=None, k=10, dim=None):
        super().__init__(path, kind, rows, k, dim)
        if self.dim % 8:
            raise SystemExit(f"{path}: {self.dim} dimensions are no whole number of bytes")

    def metric(self, distance):
        return "hamming"

    def convert(self, rows):
        return np.packbits(np.asarray(rows) > 0, axis=-1)

    def distances(self, query, rows):
        return np.bitwise_count(rows ^ query).sum(axis=1, dtype=np.int64)

    def keys(self, rows):
        def words(x):
            return np.pad(x, ((0, 0), (0, -x.shape[1] % 8))).view(np.uint64)
        x = words(rows)
        return np.stack([np.bitwise_count(x ^ q).sum(axis=1, dtype=np.int32) for q in words(self.queries)])

    def holds_all(self):
        return False
