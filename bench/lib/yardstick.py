"""--yardstick: an HNSW library in this process, on the same rows and queries.

It has no SQL, no transactions, no log and no server, and its index lives as
long as the process.  What a database's index leaves to it is their price.
"""

import json
import time
from importlib import metadata, util
from pathlib import Path

import numpy as np

LIBRARIES = ("hnswlib", "usearch")      # the first that is installed is taken
WHAT = "library in the client's process, index in memory: no SQL, no MVCC, no WAL, no server"
DEFAULTS = {"m": 16, "ef_construction": 64}     # pgvector's
BATCH = 100


def installed():
    return next((name for name in LIBRARIES if util.find_spec(name)), None)


class Hnswlib:
    SPACES = {"<->": "l2", "<=>": "cosine", "<#>": "ip"}

    def __init__(self, operator, dim, options):
        import hnswlib
        self.options = options
        self.index = hnswlib.Index(self.SPACES[operator], dim)

    def build(self, rows, threads):
        self.index.init_index(len(rows), M=self.options["m"], ef_construction=self.options["ef_construction"])
        self.index.add_items(rows, np.arange(len(rows)), num_threads=threads)

    def set_ef(self, ef):
        self.index.set_ef(ef)

    def search(self, queries, k):
        return self.index.knn_query(queries, k, num_threads=1)[0]

    def size(self):
        return self.index.index_file_size()

    def save(self, path):
        self.index.save_index(path)

    def load(self, path):
        self.index.load_index(path)


class Usearch:
    METRICS = {"<->": "l2sq", "<=>": "cos", "<#>": "ip"}

    def __init__(self, operator, dim, options):
        from usearch.index import Index
        self.index = Index(ndim=dim, metric=self.METRICS[operator], dtype="f32", connectivity=options["m"],
                           expansion_add=options["ef_construction"])

    def build(self, rows, threads):
        self.index.add(np.arange(len(rows)), rows, threads=threads)

    def set_ef(self, ef):
        self.index.expansion_search = ef

    def search(self, queries, k):
        return np.atleast_2d(self.index.search(queries, k, threads=1).keys)

    def size(self):
        return self.index.serialized_length

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        self.index.load(path)


class Yardstick:
    """Takes its turns in a sweep as a measure.Runner does."""

    def __init__(self, data, library=None, options=None):
        self.name = library or installed()
        self.options = {key: int((options or {}).get(key, value)) for key, value in DEFAULTS.items()}
        if self.name is None:
            raise SystemExit("--yardstick needs one of the packages of bench/requirements-yardstick.txt")
        if data.column.name not in ("vector", "halfvec"):
            raise SystemExit("--yardstick goes with --type vector and halfvec: the libraries hold floats")
        self.data = data
        self.version = metadata.version(self.name)
        self.queries = data.queries.astype(np.float32)
        self.random = np.random.default_rng(1)
        self.library = None

    def build(self, folder=None):
        """Build by two threads and by one; the latter is searched, and kept
        in the folder for the next run."""
        what = "-".join(map(str, (self.data.table, self.name, self.version, *self.options.values())))
        path = folder and Path(folder) / what
        done = path and Path(f"{path}.json")
        if done and done.exists():
            self.library = self._new()
            self.library.load(str(path))
            return {**json.loads(done.read_text()), "reused": True}
        result = self._build_all()
        if done:
            path.parent.mkdir(exist_ok=True)
            self.library.save(str(path))
            done.write_text(json.dumps(result))
        return result

    def _new(self):
        return (Hnswlib if self.name == "hnswlib" else Usearch)(self.data.operator, self.data.dim, self.options)

    def _build_all(self):
        rows = np.concatenate([part.astype(np.float32) for _, part in self.data.chunks()])
        by_two = self._build(rows, 2)
        return {**self._build(rows, 1), "more": [by_two]}

    def _build(self, rows, threads):
        self.library = self._new()
        start, cpu = time.monotonic(), time.process_time()
        self.library.build(rows, threads)
        seconds = time.monotonic() - start
        return {"seconds": round(seconds, 3), "cpu_seconds": round(time.process_time() - cpu, 3), "wal_bytes": None,
                "vectors_per_second": round(len(rows) / seconds, 1), "index_bytes": self.library.size(),
                "options": {**self.options, "threads": threads},
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
