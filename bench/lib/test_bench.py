"""What the figures rest on: the truth, the recall, the stream, the ratio."""

import struct
import tempfile
import unittest
from pathlib import Path

import h5py
import numpy as np

import main
import report
from column import COLUMNS, copy_stream, parameter_file
from dataset import BitDataset, DenseDataset
from sparse import SparseDataset, SparseRows


class DatasetTest(unittest.TestCase):
    def make(self, distance, train, test, rows=None, k=2, kind="vector", **more):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "Set-1.hdf5"
        with h5py.File(path, "w") as f:
            f.attrs["distance"] = distance
            f["train"], f["test"] = train, test
            for name, value in more.items():
                f[name] = value
        data = (BitDataset if kind == "bit" else DenseDataset)(path, kind, rows, k)
        self.addCleanup(data.file.close)
        return data

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


class OptionsTest(unittest.TestCase):
    def test_assignments_of_one_system(self):
        given = ["m=8", "pgvector:m=24,ef_construction=200", "a.b=c:d"]
        self.assertEqual(main.assignments(given, "pgvector"),
                         {"m": "24", "ef_construction": "200", "a.b": "c:d"})
        self.assertEqual(main.assignments(given, "piramid"), {"m": "8", "a.b": "c:d"})


if __name__ == "__main__":
    unittest.main()
