"""The file format: Parquet columns, their encodings, and the description in the footer.

Format 1 stores every logical column under its name, but for one: instead of `written` a file holds
`unwritten`, the bytes of a block that the program leaves alone, because that is mostly 0 where
`written` repeats `size`.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from allocsim.trace.ops import COLUMNS, default_written
from allocsim.trace.provenance import Provenance

FORMAT_VERSION = 1
METADATA_KEY = b"allocsim.trace"
MAX_THREADS = 2**22
"""Linux numbers no more threads than this (PID_MAX_LIMIT)."""
SPARE_SLOTS = 2**20
"""How far slot numbers may exceed the number of ops: more would only make us allocate memory."""

SCHEMA = pa.schema(
    [
        pa.field("unwritten" if name == "written" else name, pa.from_numpy_dtype(dtype), False)
        for name, dtype in COLUMNS.items()
    ]
)

ENCODINGS = {
    "object": "BYTE_STREAM_SPLIT",
    "size": "BYTE_STREAM_SPLIT",
    "think_ns": "BYTE_STREAM_SPLIT",
    "time_ns": "DELTA_BINARY_PACKED",
}
"""What measured smallest on recorded programs; the other columns repeat few values: a dictionary.

`time_ns` grows steadily, so neighbours differ little. Elsewhere values recur, which differences of
neighbours would hide from zstd; bytes of equal weight side by side show it.
"""


@dataclass(frozen=True)
class Description:
    """What the footer of a trace file says about it."""

    n_ops: int
    n_slots: int
    n_threads: int
    content_hash: str
    provenance: Provenance

    def to_json(self) -> bytes:
        """The text of the footer's entry `METADATA_KEY`."""
        values = {"format_version": FORMAT_VERSION, **vars(self)}
        return json.dumps({**values, "provenance": self.provenance.to_dict()}).encode("ascii")

    @classmethod
    def from_json(cls, text: bytes) -> "Description":
        """Read the entry back; raises ValueError with a reason when it cannot be right."""
        values = _parse(text)
        version = _count(values, "format_version")
        if version > FORMAT_VERSION:
            raise ValueError(
                f"trace format {version} is newer than {FORMAT_VERSION}, the newest that this "
                "allocsim reads; update allocsim"
            )
        content_hash = values.get("content_hash")
        if not isinstance(content_hash, str):
            raise ValueError("its description has no content_hash")
        counts = {name: _count(values, name) for name in ("n_ops", "n_slots", "n_threads")}
        provenance = Provenance.from_dict(values.get("provenance"))
        return cls(**counts, content_hash=content_hash, provenance=provenance)

    def check_sizes(self, n_rows: int) -> None:
        """Raise ValueError unless the counts, which memory is allocated by, fit `n_rows`."""
        if self.n_ops != n_rows:
            raise ValueError(f"its description says {self.n_ops} ops, but it has {n_rows} rows")
        limits = {"n_slots": min(n_rows + SPARE_SLOTS, 2**31), "n_threads": MAX_THREADS}
        for name, limit in limits.items():
            if (count := getattr(self, name)) > limit:
                raise ValueError(f"{name} is {count}, more than {limit}, the most for {n_rows} ops")


def _parse(text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("its description is not JSON") from None
    if not isinstance(values, dict):
        raise ValueError("its description is not a JSON object")
    return values


def _count(values: dict[str, Any], name: str) -> int:
    count = values.get(name)
    if type(count) is not int or not 0 <= count < 2**62:
        raise ValueError(f"its description has no valid {name}: {count!r:.40}")
    return count


def to_stored(columns: dict[str, np.ndarray]) -> pa.RecordBatch:
    """The columns of a batch as a file holds them."""
    unwritten = default_written(columns["op"], columns["size"]) - columns["written"]
    stored = {**columns, "written": unwritten}
    return pa.record_batch([pa.array(column) for column in stored.values()], schema=SCHEMA)


def _elements(column: pa.Array, dtype: Any) -> np.ndarray:
    """The elements of a column without nulls; `to_numpy` would load pandas."""
    if column.null_count:
        raise ValueError("it has values missing")
    _, content = column.buffers()
    if content is None:
        return np.zeros(0, dtype)
    return np.frombuffer(content, dtype)[column.offset : column.offset + len(column)]


def from_stored(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """The columns of a batch, from what a file holds; no copies but `written`."""
    named = zip(COLUMNS.items(), batch.columns, strict=True)
    columns = {name: _elements(column, dtype) for (name, dtype), column in named}
    unwritten = columns["written"]
    columns["written"] = default_written(columns["op"], columns["size"]) - unwritten
    return columns
