"""Vectors between NumPy and a table, a block of rows at a time.

    from bulk import read_columns, write_columns

    with conn.cursor() as cur:
        write_columns(cur, "items (id, embedding)", ids, embeddings)
        ids, embeddings = read_columns(
            cur, "SELECT id, embedding FROM items ORDER BY id", "i8", ("f4", 128))

Both speak the binary format of COPY.  Rows of one type and one dimension are
equally long in it, so a block of rows is one structured array: NumPy turns
the bytes of all its numbers at once, and Python handles no single vector.

    array or dtype          column
    int16, int32, int64     smallint, integer, bigint
    float32, float64        real, double precision
    float32[n], float16[n]  vector(n), halfvec(n)
    bool[n]                 bit(n)

Columns must not hold NULL: such a row is shorter.
"""

import itertools

import numpy as np

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)    # no flags, no extension
TRAILER = b"\xff\xff"
BLOCK = 1 << 16                                 # bytes: what a cache near the core holds


def _field(dtype):
    """A column in the wire format: its length, then what it holds."""
    base, shape = dtype.subdtype or (dtype, ())
    if not shape:
        content = [("value", base.newbyteorder(">"))]
    elif len(shape) != 1:
        raise ValueError("a column has one or two dimensions")
    elif base.kind == "f" and base.itemsize in (2, 4):
        content = [("dim", ">i2"), ("unused", ">i2"), ("value", base.newbyteorder(">"), shape)]
    elif base.kind == "b":
        content = [("dim", ">i4"), ("value", "u1", (-(-shape[0] // 8),))]
    else:
        raise ValueError(f"no type of column for {base}{list(shape)}")
    return np.dtype([("size", ">i4")] + content)


def _row(dtypes):
    return np.dtype([("fields", ">i2")] +
                    [(f"column{i}", _field(d)) for i, d in enumerate(dtypes)])


def write_columns(cursor, target, *columns):
    """COPY arrays of equal length into "table (column, ...)"."""
    columns = [np.asarray(c) for c in columns]
    if len({len(c) for c in columns}) != 1:
        raise ValueError("columns differ in length")
    dtypes = [np.dtype((c.dtype, c.shape[1:])) for c in columns]
    row = _row(dtypes)
    step = max(1, BLOCK // row.itemsize)
    block = np.zeros(min(step, len(columns[0])), row)
    block["fields"] = len(columns)
    for i, dtype in enumerate(dtypes):
        field = block[f"column{i}"]
        field["size"] = field.dtype.itemsize - 4
        if dtype.shape:
            field["dim"] = dtype.shape[0]
    with cursor.copy(f"COPY {target} FROM STDIN (FORMAT binary)") as copy:
        copy.write(SIGNATURE)
        for start in range(0, len(columns[0]), step):
            part = block[:len(columns[0]) - start]
            for i, column in enumerate(columns):
                values = column[start:start + step]
                if dtypes[i].base == bool and dtypes[i].shape:
                    values = np.packbits(values, axis=1)
                part[f"column{i}"]["value"] = values
            copy.write(part.tobytes())
        copy.write(TRAILER)


def read_columns(cursor, query, *dtypes):
    """The columns of a query as arrays: NumPy's dtypes, or (dtype, n)."""
    return [np.concatenate(column) for column in zip(*read_blocks(cursor, query, *dtypes))]


def read_blocks(cursor, query, *dtypes):
    """The same, some hundred rows at a time, for what does not fit into memory."""
    dtypes = [np.dtype(d) for d in dtypes]
    row = _row(dtypes)
    step = max(1, BLOCK // row.itemsize)
    with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
        messages = iter(copy)       # one row each, the first after the signature
        pending = bytes(next(messages))
        if not pending.startswith(SIGNATURE):
            raise ValueError("not the binary format of COPY that this module reads")
        pending = pending[len(SIGNATURE):]
        while True:
            data = b"".join(itertools.chain([pending], itertools.islice(messages, step)))
            if not data:
                break
            pending = b""
            if data.endswith(TRAILER) and len(data) % row.itemsize == len(TRAILER):
                data = data[:-len(TRAILER)]
            yield _parse(data, row, dtypes)


def _parse(data, row, dtypes):
    if len(data) % row.itemsize:
        raise ValueError("rows differ in length from what the dtypes say (NULL, or another type)")
    block = np.frombuffer(data, row)
    if (block["fields"] != len(dtypes)).any():
        raise ValueError("the query has another number of columns")
    columns = []
    for i, dtype in enumerate(dtypes):
        field = block[f"column{i}"]
        if (field["size"] != field.dtype.itemsize - 4).any():
            raise ValueError(f"column {i + 1} holds NULL or another type")
        if dtype.shape and (field["dim"] != dtype.shape[0]).any():
            raise ValueError(f"column {i + 1} has other dimensions")
        values = field["value"]
        if dtype.shape and dtype.base == bool:
            values = np.unpackbits(values, axis=1, count=dtype.shape[0])
        columns.append(values.astype(dtype.base))
    return columns
