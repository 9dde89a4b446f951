"""What the figures rest on: the truth, the recall, the stream, the ratio."""

import struct
import tempfile
import unittest
from pathlib import Path

import h5py
import numpy as np

import main
import report
from dataset import Dataset, copy_stream


class DatasetTest(unittest.TestCase):
    def make(self, distance, train, test, rows=None, k=2, **more):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "Set-1.hdf5"
        with h5py.File(path, "w") as f:
            f.attrs["distance"] = distance
            f["train"], f["test"] = train, test
            for name, value in more.items():
                f[name] = value
        data = Dataset(path, rows, k)
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


class CopyStreamTest(unittest.TestCase):
    def test_bytes(self):
        out = b"".join(copy_stream([(7, np.array([[1.5, -2], [0, 4]], dtype=np.float32))]))
        rows = b"".join(struct.pack(">hiii hh ff".replace(" ", ""), 2, 4, i, 12, 2, 0, *v)
                        for i, v in ((7, (1.5, -2)), (8, (0, 4))))
        self.assertEqual(out, b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0) + rows + b"\xff\xff")


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
