"""Arrow columns of plain values, in less time than a sweep takes: `pa.array` imports pandas."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def integers(values: np.ndarray) -> pa.Array:
    """A column of the array's 64-bit integers."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, _buffer(values, np.int64)])


def texts(values: Sequence[str]) -> pa.Array:
    """A column of strings."""
    encoded = [value.encode() for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in encoded])])
    content = pa.py_buffer(b"".join(encoded))
    return pa.Array.from_buffers(
        pa.large_string(), len(values), [None, _buffer(offsets, np.int64), content]
    ).cast(pa.string())


def numbers(values: Sequence[int | float | None]) -> pa.Array:
    """A column of 64-bit integers, or of floats if one of the values is; None is null."""
    whole = all(isinstance(value, int) for value in values if value is not None)
    kind, dtype = (pa.int64(), np.int64) if whole else (pa.float64(), np.float64)
    plain = [0 if value is None else value for value in values]
    present = np.array([value is not None for value in values], bool)
    valid = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, _buffer(np.array(plain), dtype)])


def lists(rows: pa.Array, lengths: Sequence[int], kind: pa.ListType) -> pa.Array:
    """A column of lists: the rows, cut into pieces of these lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    buffers = [None, _buffer(offsets, np.int32)]
    return pa.Array.from_buffers(kind, len(lengths), buffers, children=[rows])


def _buffer(values: np.ndarray, dtype: type) -> pa.Buffer:
    return pa.py_buffer(np.ascontiguousarray(values, dtype))
