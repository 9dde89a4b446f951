#!/usr/bin/env python3
"""Write the vectors of an HDF5 file as int8, as the index build sees them.

usage: quantize.py FILE.hdf5 OUTPUT [ROWS]

Output: uint32 rows, queries, stride; then the rows and the queries, stride
bytes each (dimensions padded with zeros to a multiple of 64).
"""
import sys

import h5py
import numpy as np


def main():
    source, target = sys.argv[1:3]
    with h5py.File(source) as file:
        rows = int(sys.argv[3]) if len(sys.argv) > 3 else len(file["train"])
        train = file["train"][:rows]
        test = file["test"][:]
        angular = file.attrs["distance"] == "angular"

    def normalized(x):
        x = x.astype(np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True) if angular else x

    sample = normalized(train[:: max(1, rows // 10000)])
    centre = sample.mean(axis=0)
    scale = 127 / np.quantile(np.abs(sample - centre), 0.99999)
    stride = (train.shape[1] + 63) // 64 * 64

    def quantized(x):
        out = np.zeros((len(x), stride), np.int8)
        codes = np.rint((normalized(x) - centre) * scale)
        out[:, : x.shape[1]] = np.clip(codes, -127, 127)
        return out

    with open(target, "wb") as out:
        np.array([rows, len(test), stride], np.uint32).tofile(out)
        for start in range(0, rows, 10000):
            quantized(train[start : start + 10000]).tofile(out)
        quantized(test).tofile(out)


main()
