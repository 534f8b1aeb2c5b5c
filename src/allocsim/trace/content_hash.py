"""The identity of a trace: a hash of its columns, whatever the file or the batches."""

import hashlib

import numpy as np

from allocsim.trace.ops import COLUMNS


class ContentHash:
    """Hashes the columns of a trace batch by batch.

    One SHA-256 per column over its values as little-endian numbers of the column's type, then one
    over the names and digests. So batches, encodings and provenance do not matter, only the ops.
    """

    def __init__(self) -> None:
        self._columns = {name: hashlib.sha256() for name in COLUMNS}

    def update(self, columns: dict[str, np.ndarray]) -> None:
        """Add the next ops; `columns` holds every column in its own type."""
        for name, digest in self._columns.items():
            digest.update(columns[name].astype(COLUMNS[name].newbyteorder("<"), copy=False).data)

    def text(self) -> str:
        """The hash of all ops so far, as ``sha256:`` and 64 hexadecimal digits."""
        total = hashlib.sha256()
        for name, digest in self._columns.items():
            total.update(f"{name} {digest.hexdigest()}\n".encode())
        return f"sha256:{total.hexdigest()}"
