"""The types of the measured column: SQL names, wire formats, text."""

import struct

import numpy as np

# distance attribute of a file -> (operator, end of the name of the operator class)
METRICS = {
    "euclidean": ("<->", "l2_ops"),
    "angular": ("<=>", "cosine_ops"),
    "cosine": ("<=>", "cosine_ops"),
    "dot": ("<#>", "ip_ops"),
    "ip": ("<#>", "ip_ops"),
    "inner_product": ("<#>", "ip_ops"),
    "hamming": ("<~>", "hamming_ops"),
}


class Column:
    """A type that may stand in the column `embedding`."""

    def __init__(self, name):
        self.name = name
        # Without the quotes, bit would mean bit(1).
        self.cast = f'"{name}"'

    def declare(self, dim):
        return f"{self.name}({dim})"


class FloatColumn(Column):
    """vector and halfvec: rows are matrices of `dtype`."""

    def __init__(self, name, dtype):
        super().__init__(name)
        self.dtype = np.dtype(dtype)

    def wire(self, rows):
        """int16 dimensions, int16 0, the elements; all in network order."""
        out = np.zeros(len(rows), dtype=[("dim", ">i2"), ("unused", ">i2"),
                                         ("x", self.dtype.newbyteorder(">"), (rows.shape[1],))])
        out["dim"] = rows.shape[1]
        out["x"] = rows
        return pieces(out)

    def text(self, row):
        return "[" + ",".join(map(str, row.tolist())) + "]"


class BitColumn(Column):
    """bit: rows are bytes, the first bit the highest, and all of them count."""

    def wire(self, rows):
        """int32 bits, then the bytes."""
        out = np.zeros(len(rows), dtype=[("bits", ">i4"), ("x", "u1", (rows.shape[1],))])
        out["bits"] = rows.shape[1] * 8
        out["x"] = rows
        return pieces(out)

    def text(self, row):
        return "".join(map(str, np.unpackbits(row)))


class SparseColumn(Column):
    """sparsevec: rows are SparseRows."""

    def wire(self, rows):
        """int32 dimensions, int32 elements, int32 0, the indices from 0 as
        int32, the values as float4."""
        indices = rows.indices.astype(">i4")
        values = rows.values.astype(">f4")
        return [struct.pack(">iii", rows.dim, stop - start, 0)
                + indices[start:stop].tobytes() + values[start:stop].tobytes()
                for start, stop in zip(rows.starts[:-1].tolist(), rows.starts[1:].tolist())]

    def text(self, row):
        pairs = zip(row.indices.tolist(), row.values.tolist())
        return "{" + ",".join(f"{i + 1}:{v}" for i, v in pairs) + f"}}/{row.dim}"


COLUMNS = {column.name: column for column in (
    FloatColumn("vector", np.float32), FloatColumn("halfvec", np.float16),
    BitColumn("bit"), SparseColumn("sparsevec"))}


def pieces(records):
    """The bytes of each record of an array."""
    data = records.tobytes()
    size = records.dtype.itemsize
    return [data[at:at + size] for at in range(0, len(data), size)]


def copy_stream(column, chunks):
    """(first id, rows) pairs as the bytes of COPY (id, embedding) FROM ...
    (FORMAT binary)."""
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for start, rows in chunks:
        yield b"".join(struct.pack(">hiii", 2, 4, id, len(value)) + value
                       for id, value in enumerate(column.wire(rows), start))
    yield b"\xff\xff"


def parameter_file(column, rows):
    """Parameters for lib/qps.c: the length of each, then its bytes."""
    return b"".join(struct.pack(">i", len(value)) + value for value in column.wire(rows))
