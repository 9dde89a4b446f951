"""What the figures rest on: the truth, the recall, the stream, the ratio."""

import json
import struct
import tempfile
import unittest
from importlib import util
from pathlib import Path

import h5py
import numpy as np

import bars
import main
import photographs
import report
import yardstick
from column import COLUMNS, copy_stream, parameter_file
from dataset import BitDataset, DenseDataset, derive
from sparse import SparseDataset, SparseRows


class FileTest(unittest.TestCase):
    """Makes files."""

    def make(self, distance, train, test, **options):
        """A data set with these vectors, and with the truth that options call neighbors."""
        truth = {name: options.pop(name) for name in list(options) if name.startswith("neighbors")}
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "Set-1.hdf5"
        with h5py.File(path, "w") as f:
            f.attrs["distance"] = distance
            f["train"], f["test"] = train, test
            for name, value in truth.items():
                f[name] = value
        data = (BitDataset if options.get("kind") == "bit" else DenseDataset)(path, **{"k": 2, **options})
        if not options.get("dim"):
            self.addCleanup(data.file.close)
        return data


class DatasetTest(FileTest):
    def test_exact_neighbours_of_a_prefix(self):
        grid = np.stack(np.meshgrid(np.arange(1, 30), np.arange(1, 30)), -1).reshape(-1, 2)
        for kind, dtype in (("euclidean", np.uint8), ("angular", np.float16), ("dot", np.float32)):
            train = (grid * [1, 1.7]).astype(dtype)
            test = np.array([[3, 8], [20, 1], [29, 31]], dtype=dtype)
            data = self.make(kind, train, test, rows=500, k=5)
            for query, found in zip(data.queries, data.truth()):
                far = np.sort(data.distances(query, train[:500].astype(np.float32)))[:5]
                got = data.distances(query, train[found].astype(np.float32))
                np.testing.assert_allclose(got, far, rtol=1e-12)
                self.assertEqual(len(set(found.tolist())), 5)

    def test_the_file_names_the_neighbours_of_a_prefix(self):
        data = self.make("euclidean", np.eye(4), np.eye(4)[:1], rows=3, neighbors_3=[[2, 1]],
                         neighbors=[[0, 1]])
        self.assertEqual(data.truth().tolist(), [[2, 1]])
        self.assertEqual(data.table, "set_1_3")

    def test_recall(self):
        # Rows 1 to 4 are equally far from the query; 5 is farther.
        train = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0], [2, 0]], dtype=np.float32)
        data = self.make("euclidean", train, np.zeros((1, 2)), neighbors=[[0, 1]])
        for found, recall in (([0, 1], 1), ([0, 4], 1), ([4, 3], 1), ([0, 5], .5), ([0, 0], .5),
                              ([5, -1], 0), ([-1, -1], 0)):
            self.assertEqual(data.recall(np.array([found])), recall, found)

    def test_derived_dimensions(self):
        train = np.array([[3, 4, 0, 5], [0, -4, 9, 0], [1, 1, 1, 1]], dtype=np.float16)
        half = self.make("angular", train, train[:1], k=1, dim=2, neighbors=[[2]])
        np.testing.assert_allclose(half.fetch([0, 1]), [[.6, .8], [0, -1]], rtol=1e-6)
        self.assertEqual(derive(np.zeros((1, 4)), 8, "<=>")[0].tolist(), [[0] * 8])
        self.assertEqual((half.table, half.dim, half.truth().tolist()), ("set_1_2d", 2, [[0]]))
        self.assertIn("first 2 of the 4", half.derived)
        double = self.make("angular", train, train[:1], rows=2, k=1, dim=8)
        row = double.fetch([1])[0]
        np.testing.assert_allclose(row[:4], train[1] / np.sqrt(2 * 97), rtol=1e-6)
        np.testing.assert_allclose(row[4:], np.array([0, -2, 3, 0]) / np.sqrt(2 * 13), rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(double.fetch([0, 1]), axis=1), 1, rtol=1e-6)
        self.assertEqual((double.name, double.truth().tolist()), ("Set-1-8d-2", [[0]]))
        # L2 keeps the lengths, both halves alike.
        plain = self.make("euclidean", train, train[:1], dim=8).fetch([1])[0]
        np.testing.assert_allclose([np.linalg.norm(plain[:4]), np.linalg.norm(plain[4:])], np.sqrt(97), rtol=1e-6)
        self.assertEqual(self.make("euclidean", train, train[:1], dim=1).fetch([1]).tolist(), [[0]])
        for dim in (-1, 4, 5, 9):
            with self.assertRaises(SystemExit):
                self.make("angular", train, train, dim=dim)

    def test_unknown_distance(self):
        with self.assertRaises(SystemExit):
            self.make("jaccard", np.eye(2), np.eye(2))

    def test_halfvec_has_its_own_truth(self):
        # binary16 does not tell the first two rows apart, and rounds the third up.
        train = np.array([[2048.2], [2048.9], [2051], [3000]], dtype=np.float32)
        data = self.make("euclidean", train, np.array([[2052]], dtype=np.float32), k=1, kind="halfvec",
                         neighbors=[[3]])
        self.assertEqual((data.opclass, data.table), ("halfvec_l2_ops", "set_1_halfvec"))
        self.assertEqual(data.truth().tolist(), [[2]])
        rows = next(data.chunks())[1]
        self.assertEqual((rows.dtype, rows.ravel().tolist()), (np.float16, [2048, 2048, 2052, 3000]))
        self.assertEqual(data.recall(np.array([[3]])), 0)
        exact = self.make("euclidean", train.astype(np.float16), np.ones((1, 1), np.uint8), k=1, kind="halfvec",
                          neighbors=[[3]])
        self.assertEqual(exact.truth().tolist(), [[3]])

    def test_bits(self):
        random = np.random.default_rng(1)
        for dim in (8, 72, 384):
            train, test = (random.standard_normal((n, dim)).astype(np.float32) for n in (700, 3))
            train[:, 0] = 0
            data = self.make("angular", train, test, k=5, kind="bit", neighbors=np.zeros((3, 5), int))
            self.assertEqual((data.operator, data.opclass, data.distance), ("<~>", "bit_hamming_ops", "hamming"))
            far = ((train > 0) != (test[:, None] > 0)).sum(axis=2)
            for query, one, found in zip(data.queries, far, data.truth()):
                self.assertEqual(one[found].tolist(), sorted(one)[:5])
                np.testing.assert_array_equal(data.distances(query, data.fetch(np.arange(700))), one)
            # Any five rows that are as near as the fifth are right.
            fifth = np.sort(far, axis=1)[:, 4:5]
            self.assertEqual(data.recall(np.array([np.flatnonzero(r)[-5:] for r in far <= fifth])), 1)
            self.assertEqual(data.recall(np.argsort(far, axis=1)[:, -5:]), 0)


class SparseTest(unittest.TestCase):
    def test_exact_neighbours_and_recall(self):
        random = np.random.default_rng(2)

        def sparse(n):
            dense = np.where(random.random((n, 40)) < .2, random.integers(1, 5, (n, 40)), 0).astype(np.float32)
            dense[1] = 0
            at, indices = dense.nonzero()
            starts = np.searchsorted(at, np.arange(n + 1))
            return dense, SparseRows(starts, indices, dense[at, indices], 40)

        (x, train), (q, queries) = sparse(300), sparse(4)
        data = SparseDataset("Sparse", train, queries, rows=200, k=5)
        self.assertEqual((data.table, data.opclass), ("sparse_200", "sparsevec_ip_ops"))
        products = q @ x[:200].T
        for product, query, found in zip(products, queries, data.truth()):
            self.assertEqual(product[found].tolist(), sorted(product)[:-6:-1])
            np.testing.assert_allclose(data.distances(query, train[:200]), -product)
        self.assertEqual(data.recall(data.truth()), 1)
        # Equal scores are equally right, and missing rows are wrong.
        self.assertEqual(data.recall(np.argsort(-products, axis=1)[:, :5]), 1)
        self.assertEqual(data.recall(np.full((4, 5), -1)), 0)
        some = train.take(np.array([7, 1, 7]))
        self.assertEqual([len(r.indices) for r in some], [(x[i] != 0).sum() for i in (7, 1, 7)])
        np.testing.assert_array_equal(some[2].values, x[7][x[7] != 0])
        self.assertEqual([(at, len(part)) for at, part in data.chunks(150)], [(150, 50)])


class WireTest(unittest.TestCase):
    def test_copy_stream(self):
        chunk = 7, np.array([[1.5, -2], [0, 4]], dtype=np.float32)
        out = b"".join(copy_stream(COLUMNS["vector"], [chunk]))
        rows = b"".join(struct.pack(">hiii hh ff".replace(" ", ""), 2, 4, i, 12, 2, 0, *v)
                        for i, v in ((7, (1.5, -2)), (8, (0, 4))))
        self.assertEqual(out, b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0) + rows + b"\xff\xff")

    def check(self, kind, rows, *wanted, text):
        column = COLUMNS[kind]
        self.assertEqual(column.wire(rows), list(wanted))
        self.assertEqual([column.text(row) for row in rows], text)
        self.assertEqual(parameter_file(column, rows),
                         b"".join(struct.pack(">i", len(w)) + w for w in wanted))

    def test_halfvec(self):
        self.check("halfvec", np.array([[1.5, -2]], dtype=np.float16), struct.pack(">hhee", 2, 0, 1.5, -2),
                   text=["[1.5,-2.0]"])

    def test_bit(self):
        self.check("bit", np.packbits([[1, 1] + [0] * 13 + [1]], axis=1), struct.pack(">iBB", 16, 0xC0, 1),
                   text=["1100000000000001"])

    def test_sparsevec(self):
        self.check("sparsevec", SparseRows([0, 2, 2, 3], [0, 8, 3], [.5, 2, -1], 9),
                   struct.pack(">iiiiiff", 9, 2, 0, 0, 8, .5, 2), struct.pack(">iii", 9, 0, 0),
                   struct.pack(">iiiif", 9, 1, 0, 3, -1), text=["{1:0.5,9:2.0}/9", "{}/9", "{4:-1.0}/9"])


class RatioTest(unittest.TestCase):
    @staticmethod
    def points(*pairs):
        return [{"ef": i, "recall": r, "connections": {1: {"qps": q}}} for i, (r, q) in enumerate(pairs)]

    def test_log_linear_between_points(self):
        points = self.points((0.9, 10000), (0.98, 100))
        rate, exact = report.rate_at(points, 1, 0.94)
        self.assertAlmostEqual(rate, 1000)
        self.assertTrue(exact)
        self.assertAlmostEqual(report.rate_at(points, 1, 0.98)[0], 100)

    def test_outside(self):
        points = self.points((0.9, 10000), (0.98, 100))
        self.assertEqual(report.rate_at(points, 1, 0.5), (10000, False))
        self.assertEqual(report.rate_at(points, 1, 0.99), (None, True))

    def test_a_beaten_point_is_left_out(self):
        points = self.points((0.9, 100), (0.95, 1000), (0.98, 100))
        self.assertEqual(report.rate_at(points, 1, 0.9), (1000, False))

    def test_a_bound_of_the_peer_gives_no_ratio(self):
        result = {"options": {"connections": [1]},
                  "systems": {"ours": {"points": self.points((0.96, 5000), (0.999, 1000))},
                              "peer": {"points": self.points((0.92, 500), (0.999, 100))}}}
        rows = {r["recall"]: r for r in report.ratios(result)}
        self.assertIsNone(rows[0.90]["ratio"]["peer"])
        self.assertGreater(rows[0.95]["ratio"]["peer"], 5)
        self.assertTrue(rows[0.95]["bound"]["ours"])
        self.assertIn(">= ", report.ratio_table({**result, "ratios": list(rows.values())}))


class YardstickTest(FileTest):
    """A real index of each library that is installed, on every distance."""

    def check(self, library):
        if not util.find_spec(library):
            self.skipTest(f"{library} is not installed")
        random = np.random.default_rng(3)
        train, test = (random.standard_normal((n, 24)).astype(np.float32) * random.uniform(.5, 2, (n, 1))
                       for n in (900, 20))
        for distance in ("euclidean", "angular", "dot"):
            with self.subTest(distance):
                data = self.make(distance, train, test.astype(np.float32), rows=600, k=5)
                mine = yardstick.Yardstick(data, library, {"m": "8", "layout": "compact"})
                build = mine.build()
                self.assertEqual(build["options"], {"m": 8, "ef_construction": 64, "threads": 1})
                self.assertEqual([b["options"]["threads"] for b in (build, *build["more"])], [1, 2])
                self.assertGreater(build["index_bytes"], 600 * 24 * 4)
                recall = [mine.point(ef)["recall"] for ef in (5, 600)]
                self.assertLess(recall[0], recall[1])
                self.assertGreater(recall[1], 0.99)
                self.assertEqual((mine.serves(1), mine.serves(2)), (True, False))
                self.assertGreater(mine.time(1, 600, 0, 0)["qps"], 0)

    def check_kept(self, library):
        if not util.find_spec(library):
            self.skipTest(f"{library} is not installed")
        train = np.random.default_rng(4).standard_normal((300, 8)).astype(np.float32)
        data = self.make("angular", train, train[:5], k=3)
        with tempfile.TemporaryDirectory() as folder:
            first, again = (yardstick.Yardstick(data, library) for _ in range(2))
            built = first.build(Path(folder) / "kept")
            self.assertEqual(again.build(Path(folder) / "kept"), {**built, "reused": True})
            self.assertEqual(again.point(200)["recall"], 1)
            self.assertEqual(first.point(200), again.point(200))

    def test_hnswlib(self):
        self.check("hnswlib")
        self.check_kept("hnswlib")

    def test_usearch(self):
        self.check("usearch")
        self.check_kept("usearch")

    def test_no_bits(self):
        data = self.make("angular", np.eye(8), np.eye(8), kind="bit")
        with self.assertRaises(SystemExit):
            yardstick.Yardstick(data, "hnswlib")

    def test_tables_of_one_connection_beside_two(self):
        measured = {"qps": 1000, "p50_ms": 1, "p99_ms": 2, "cpu_us": 900}
        build = {"seconds": 2, "cpu_seconds": 2, "vectors_per_second": 500, "index_bytes": 1 << 20, "wal_bytes": None,
                 "options": {"threads": 1}}
        systems = {
            "ours": {"version": "1", "build": {**build, "wal_bytes": 1 << 20, "options": {}},
                     "points": [{"ef": ef, "recall": r, "pages": 9, "connections": {2: measured, 1: measured}}
                                for ef, r in ((10, .9), (20, .99))]},
            "library": {"version": "2", "what": "library", "build": {**build, "more": [{**build, "options": {"threads": 2}}]},
                        "points": [{"ef": ef, "recall": r, "pages": None, "connections": {
                            1: {"qps": 4000, "p50_ms": None, "p99_ms": None, "cpu_us": 225}}}
                            for ef, r in ((10, .9), (20, .99))]}}
        result = {"dataset": {"name": "Set", "rows": 1000, "dim": 2, "distance": "euclidean"}, "systems": systems,
                  "options": {"k": 10, "connections": [2, 1]}}
        result["ratios"] = rows = report.ratios(result)
        self.assertEqual([r["ratio"]["library"] for r in rows if r["recall"] == .99], [None, .25])
        self.assertIn("| library | 10 | 0.9000 | - | - | - | 4,000 | - | - | 225 | - |", report.sweep_table(result))
        self.assertIn("| library | threads 2 | 2.0 |", report.build_table(result))
        self.assertIn("in memory, no server", report.label("library", systems["library"]))
        with tempfile.TemporaryDirectory() as folder:
            report.plot(result, f"{folder}/plot")
            svg = Path(f"{folder}/plot.svg").read_text()
            self.assertEqual(svg.count("<svg"), 1)


class BarsTest(unittest.TestCase):
    @staticmethod
    def result(dim=2, kind="vector", workers=0, **sizes):
        build = {"seconds": 3, "cpu_seconds": 4, "parallel_workers": workers, "maintenance_work_mem": "64MB", "options": {}}
        return {"dataset": {"name": "Set", "type": kind, "rows": 100, "dim": dim, "distance": "euclidean"},
                "systems": {n: {"version": "1", "build": {**build, "index_bytes": size}} for n, size in sizes.items()}}

    def test_builds(self):
        wall, cpu = bars.builds([self.result(piramid=1, pgvector=1), self.result(workers=1, piramid=1)])
        self.assertEqual(set(cpu.values.values()), {4})
        self.assertEqual(wall.values, {("1 process\n64MB", "piramid"): 3, ("1 process\n64MB", "pgvector"): 3,
                                        ("2 processes\n64MB", "piramid"): 3})

    def test_sizes(self):
        compact = self.result(dim=9, piramid=200)
        compact["systems"]["piramid"]["build"]["options"] = {"layout": "compact"}
        vector, half = bars.sizes([self.result(kind="halfvec", piramid=50), compact,
                                   self.result(dim=9, piramid=600, pgvector=500), self.result(pgvector=100)])
        self.assertEqual(vector.values, {("2", "pgvector"): 1, ("9", "piramid, compact"): 2, ("9", "piramid"): 6,
                                         ("9", "pgvector"): 5})
        self.assertEqual((half.title, half.values), ("halfvec: size of the index, by dimensions", {("2", "piramid"): .5}))

    def test_writes(self):
        step = {"seconds": 2, "wal_bytes": 3 << 20}
        result = self.result(piramid=1)
        result["writes"] = {"piramid": {"count": 10, "rows": 100, "insert": step, "vacuum": step}}
        seconds, wal = bars.steps([result])
        self.assertEqual(seconds.values, {("insert", "piramid"): 2, ("vacuum", "piramid"): 2})
        self.assertEqual(wal.values, {("insert", "piramid"): 3, ("vacuum", "piramid"): 3})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "result.json"
            path.write_text(json.dumps(result))
            for kind in ("build", "size", "write"):
                bars.draw(kind, [path, path], f"{folder}/{kind}")
                self.assertGreater((Path(folder) / f"{kind}.png").stat().st_size, 1000)
                self.assertIn("</svg>", (Path(folder) / f"{kind}.svg").read_text())


class OptionsTest(unittest.TestCase):
    def test_assignments_of_one_system(self):
        given = ["m=8", "pgvector:m=24,ef_construction=200", "a.b=c:d"]
        self.assertEqual(main.assignments(given, "pgvector"),
                         {"m": "24", "ef_construction": "200", "a.b": "c:d"})
        self.assertEqual(main.assignments(given, "piramid"), {"m": "8", "a.b": "c:d"})
        self.assertEqual(main.assignments([*given, "hnswlib:m=9"], "hnswlib"), {"m": "9", "a.b": "c:d"})
        self.assertEqual(main.assignments([*given, "hnswlib:m=9"], "piramid"), {"m": "8", "a.b": "c:d"})


class PhotographsTest(unittest.TestCase):
    def test_unique(self):
        rows = np.random.default_rng(1).integers(0, 256, (500, 128), dtype=np.uint8)
        mixed = np.concatenate([rows, rows[::3], rows[7:8]])
        self.assertEqual(photographs.unique(mixed).tolist(), rows.tolist())

    def test_the_largest_of_several_sizes(self):
        with tempfile.TemporaryDirectory() as folder:
            files = {"a/1x1.jpg": 5, "a/20x10.jpg": 9, "a/view.jpg": 1, "b/1x1.PNG": 2, "b/text.txt": 3}
            for name, size in files.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(bytes(size))
            found = [str(path.relative_to(folder)) for path in photographs.images(Path(folder))]
        self.assertEqual(found, ["a/20x10.jpg", "a/view.jpg", "b/1x1.PNG"])


if __name__ == "__main__":
    unittest.main()
