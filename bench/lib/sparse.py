"""The sparse set: rows in compressed form, exact scores by an inverted index."""

import numpy as np

from dataset import CHUNK, Dataset


class SparseRows:
    """Row i has elements starts[i] to starts[i + 1] of indices and values."""

    def __init__(self, starts, indices, values, dim):
        self.starts = np.asarray(starts, dtype=np.int64)
        self.indices = np.asarray(indices, dtype=np.int32)
        self.values = np.asarray(values, dtype=np.float32)
        self.dim = dim

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, what):
        """The rows of a slice, or one row as SparseRows of length 1."""
        if not isinstance(what, slice):
            what = slice(what, what + 1)
        first, last, _ = what.indices(len(self))
        starts = self.starts[first:last + 1]
        part = slice(starts[0], starts[-1])
        return SparseRows(starts - starts[0], self.indices[part], self.values[part], self.dim)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def take(self, ids):
        """Rows by number, in any order and with repeats."""
        sizes = np.diff(self.starts)[ids]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        at = np.repeat(self.starts[ids] - starts[:-1], sizes) + np.arange(starts[-1])
        return SparseRows(starts, self.indices[at], self.values[at], self.dim)

    def rows_of_elements(self):
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


class SparseDataset(Dataset):
    """Sparse rows and queries under the inner product."""

    def __init__(self, stem, train, queries, rows=None, k=10):
        super().__init__("sparsevec", stem, "dot", len(train), rows, train.dim, k)
        self.train = train
        self.queries = queries

    def chunks(self, start=0, stop=None):
        """(number of the first row, rows), a chunk at a time."""
        stop = self.rows if stop is None else stop
        for at in range(start, stop, CHUNK):
            yield at, self.train[at:min(at + CHUNK, stop)]

    def distances(self, query, rows):
        """Distances in double precision, by their definition."""
        q = np.zeros(self.dim)
        q[query.indices] = query.values
        return -np.bincount(rows.rows_of_elements(), q[rows.indices] * rows.values, len(rows))

    def fetch(self, ids):
        return self.train.take(ids)

    def truth(self):
        """The k nearest row numbers of every query: the products are summed
        dimension by dimension, in double precision."""
        train = self.train[:self.rows]
        order = np.argsort(train.indices, kind="stable")
        rows = train.rows_of_elements()[order]
        values = train.values[order].astype(np.float64)
        begin = np.searchsorted(train.indices[order], np.arange(self.dim + 1))
        nearest = np.empty((len(self.queries), self.k), dtype=np.int64)
        for i, query in enumerate(self.queries):
            scores = np.zeros(self.rows)
            for index, weight in zip(query.indices.tolist(), query.values.tolist()):
                part = slice(begin[index], begin[index + 1])
                scores[rows[part]] += weight * values[part]
            best = np.argpartition(-scores, self.k - 1)[:self.k]
            nearest[i] = best[np.argsort(-scores[best], kind="stable")]
        return nearest
