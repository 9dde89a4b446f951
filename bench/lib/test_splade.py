"""The generated sparse set: its form, its truth, its files."""

import struct
import tempfile
import unittest
from pathlib import Path

import numpy as np

import splade
from sparse import SparseDataset


def dense(rows):
    out = np.zeros((len(rows), rows.dim))
    out[rows.rows_of_elements(), rows.indices] = rows.values
    return out


class SpladeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = SparseDataset("splade", *splade.generate(2500, 60, seed=7), k=10)
        cls.truth = cls.data.truth()
        cls.products = dense(cls.data.queries) @ dense(cls.data.train).T

    def test_the_same_for_a_seed(self):
        for same, seed in ((True, 7), (False, 8)):
            again = splade.generate(2500, 60, seed)
            for a, b in zip((self.data.train, self.data.queries), again):
                self.assertEqual(same, all(np.array_equal(getattr(a, name), getattr(b, name))
                                           for name in ("starts", "indices", "values")))

    def test_form(self):
        for rows, n, (mean, low, high) in ((self.data.train, 2500, splade.DOCUMENT_TERMS),
                                           (self.data.queries, 60, splade.QUERY_TERMS)):
            self.assertEqual(len(rows), n)
            sizes = np.diff(rows.starts)
            self.assertAlmostEqual(sizes.mean() / mean, 1, delta=0.1)
            self.assertGreater(sizes.min(), low * 0.8)
            self.assertLessEqual(sizes.max(), high)
            self.assertTrue((rows.values > 0).all() and (rows.values < 4).all())
            self.assertTrue((rows.indices >= 0).all() and (rows.indices < splade.DIM).all())
            same_row = np.diff(rows.rows_of_elements()) == 0
            self.assertTrue((np.diff(rows.indices)[same_row] > 0).all())

    def test_frequencies_fall_as_a_power(self):
        count = np.sort(np.bincount(self.data.train.indices, minlength=splade.DIM))[::-1] / 2500
        self.assertGreater(count[0], 0.5)
        self.assertTrue(0.01 < count[99] < 0.1)
        self.assertTrue(0.0005 < count[9999] < 0.01)

    def test_truth_is_exact(self):
        best = np.sort(self.products, axis=1)[:, :-11:-1]
        np.testing.assert_allclose(np.take_along_axis(self.products, self.truth, axis=1), best, rtol=1e-12)

    def test_neighbours_stand_out(self):
        tenth = np.take_along_axis(self.products, self.truth[:, 9:], axis=1)
        self.assertGreater((tenth[:, 0] / self.products.mean(axis=1)).mean(), 4)
        self.assertGreater(np.mean(tenth[:, 0] > np.quantile(self.products, 0.99, axis=1)), 0.9)

    def test_small_sets(self):
        rows, queries = splade.generate(1, 3, seed=1)
        self.assertEqual((len(rows), len(queries)), (1, 3))

    def test_keep_heaviest(self):
        rows, terms, weights = (np.array(a) for a in zip(
            (0, 5, 1.0), (0, 3, 2.0), (0, 5, 3.0), (0, 9, 0.5), (0, 7, 0.0),
            (2, 4, 1.0), (2, 2, 1.0), (2, 4, 0.5)))
        kept = splade.keep_heaviest(rows, terms, weights, np.array([2, 5, 5]))
        self.assertEqual(list(zip(*(a.tolist() for a in kept))),
                         [(0, 3, 2.0), (0, 5, 3.0), (2, 2, 1.0), (2, 4, 1.0)])

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            splade.write(self.data, self.truth, folder, "binary")
            splade.write(self.data, self.truth, folder, "text")
            for name, rows in (("documents", self.data.train), ("queries", self.data.queries)):
                data = (folder / f"{name}.copy").read_bytes()
                lines = (folder / f"{name}.tsv").read_text().splitlines()
                at = 19
                self.assertEqual(len(lines), len(rows))
                for i, row in enumerate(rows):
                    n = len(row.indices)
                    self.assertEqual(struct.unpack_from(">hiiiiii", data, at),
                                     (2, 4, i, 12 + 8 * n, splade.DIM, n, 0))
                    np.testing.assert_array_equal(np.frombuffer(data, ">i4", n, at + 26), row.indices)
                    np.testing.assert_array_equal(np.frombuffer(data, ">f4", n, at + 26 + 4 * n), row.values)
                    at += 26 + 8 * n
                    id, text = lines[i].split("\t")
                    pairs = dict(p.split(":") for p in text[1:text.index("}")].split(","))
                    self.assertEqual((int(id), text[text.index("}"):]), (i, f"}}/{splade.DIM}"))
                    self.assertEqual({int(k) - 1: np.float32(v) for k, v in pairs.items()},
                                     dict(zip(row.indices.tolist(), row.values)))
                self.assertEqual(data[at:], b"\xff\xff")
            found = [line.split("\t") for line in (folder / "neighbours.tsv").read_text().splitlines()]
            self.assertEqual([int(f[2]) for f in found], self.truth.ravel().tolist())
            scores = np.array([float(f[3]) for f in found]).reshape(self.truth.shape)
            self.assertTrue((np.diff(scores, axis=1) <= 0).all())


if __name__ == "__main__":
    unittest.main()
