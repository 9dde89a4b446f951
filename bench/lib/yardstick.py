"""--yardstick: an HNSW library in this process, on the same rows and queries.

It has no SQL, no transactions, no log and no server, and its index lives as
long as the process.  What a database's index leaves to it is their price.
"""

import time
from importlib import metadata, util

import numpy as np

LIBRARIES = ("hnswlib", "usearch")      # the first that is installed is taken
WHAT = "library in the client's process, index in memory: no SQL, no MVCC, no WAL, no server"
M, EF_CONSTRUCTION = 16, 64             # pgvector's defaults
BATCH = 100


def installed():
    return next((name for name in LIBRARIES if util.find_spec(name)), None)


class Hnswlib:
    SPACES = {"<->": "l2", "<=>": "cosine", "<#>": "ip"}

    def __init__(self, operator, rows, threads):
        import hnswlib
        self.index = hnswlib.Index(self.SPACES[operator], rows.shape[1])
        self.index.init_index(len(rows), M=M, ef_construction=EF_CONSTRUCTION)
        self.index.add_items(rows, np.arange(len(rows)), num_threads=threads)

    def set_ef(self, ef):
        self.index.set_ef(ef)

    def search(self, queries, k):
        return self.index.knn_query(queries, k, num_threads=1)[0]

    def size(self):
        return self.index.index_file_size()


class Usearch:
    METRICS = {"<->": "l2sq", "<=>": "cos", "<#>": "ip"}

    def __init__(self, operator, rows, threads):
        from usearch.index import Index
        self.index = Index(ndim=rows.shape[1], metric=self.METRICS[operator], dtype="f32", connectivity=M,
                           expansion_add=EF_CONSTRUCTION)
        self.index.add(np.arange(len(rows)), rows, threads=threads)

    def set_ef(self, ef):
        self.index.expansion_search = ef

    def search(self, queries, k):
        return np.atleast_2d(self.index.search(queries, k, threads=1).keys)

    def size(self):
        return self.index.serialized_length


class Yardstick:
    """Takes its turns in a sweep as a measure.Runner does."""

    def __init__(self, data, library=None):
        self.name = library or installed()
        if self.name is None:
            raise SystemExit("--yardstick needs one of the packages of bench/requirements-yardstick.txt")
        if data.column.name not in ("vector", "halfvec"):
            raise SystemExit("--yardstick goes with --type vector and halfvec: the libraries hold floats")
        self.data = data
        self.version = metadata.version(self.name)
        self.queries = data.queries.astype(np.float32)
        self.random = np.random.default_rng(1)
        self.library = None

    def build(self):
        """Build by two threads and by one; the latter is searched."""
        rows = np.concatenate([part.astype(np.float32) for _, part in self.data.chunks()])
        by_two = self._build(rows, 2)
        return {**self._build(rows, 1), "more": [by_two]}

    def _build(self, rows, threads):
        self.library = None
        start, cpu = time.monotonic(), time.process_time()
        self.library = (Hnswlib if self.name == "hnswlib" else Usearch)(self.data.operator, rows, threads)
        seconds = time.monotonic() - start
        return {"seconds": round(seconds, 3), "cpu_seconds": round(time.process_time() - cpu, 3), "wal_bytes": None,
                "vectors_per_second": round(len(rows) / seconds, 1), "index_bytes": self.library.size(),
                "options": {"m": M, "ef_construction": EF_CONSTRUCTION, "threads": threads},
                "version": self.version, "when": time.strftime("%Y-%m-%d %H:%M"), "reused": False}

    def serves(self, connections):
        return connections == 1

    def point(self, ef):
        self.library.set_ef(ef)
        found = self.library.search(self.queries, self.data.k).astype(np.int64)
        return {"recall": round(self.data.recall(found), 5), "pages": None}

    def time(self, connections, ef, warm, seconds):
        """Queries in any order, so many in a call that calling costs nothing."""
        self._ask(warm)
        asked, spent, cpu = self._ask(seconds)
        return {"qps": round(asked / spent, 2), "p50_ms": None, "p99_ms": None, "cpu_us": round(cpu / asked * 1e6, 3)}

    def _ask(self, seconds):
        asked, start, cpu = 0, time.monotonic(), time.process_time()
        while (spent := time.monotonic() - start) < seconds or not asked:
            self.library.search(self.queries[self.random.integers(len(self.queries), size=BATCH)], self.data.k)
            asked += BATCH
        return asked, spent, time.process_time() - cpu

    def close(self):
        self.library = None
