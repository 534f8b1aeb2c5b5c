"""Writing trace files: streamed, all or nothing."""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allocsim.errors import AllocsimError, InputError
from allocsim.trace.columns import Trace, TraceSource
from allocsim.trace.content_hash import ContentHash
from allocsim.trace.ops import BATCH_OPS
from allocsim.trace.provenance import Provenance
from allocsim.trace.schema import DELTA_COLUMNS, METADATA_KEY, SCHEMA, Description, to_stored

ROW_GROUP_OPS = 2**18
"""Ops compressed together: bounds the writer's memory to some 20 MB."""


class TraceWriter:
    """Writes a trace file batch by batch; a context manager.

    The file appears under its name when the writer closes without an error; before that, and
    after a failure such as a full disk, nothing is there (or the older file still is). Set
    `provenance` anew at any time before the end, for figures known only then. Batches may have
    any length. Raises AllocsimError when the file cannot be written.

    >>> with TraceWriter("run.parquet", Provenance(program="demo")) as writer:
    ...     writer.append(Trace.of(op=[0, 4], object=[0, 0], size=[100, 0]))
    """

    def __init__(self, path: str | Path, provenance: Provenance | None = None) -> None:
        self.path = Path(path)
        self.provenance = provenance or Provenance()
        self.n_ops = self.n_slots = self.n_threads = 0
        self._hash = ContentHash()
        self._pending: list[pa.RecordBatch] = []
        self._pending_ops = 0
        _check_target(self.path)
        name = f".{self.path.name}.{secrets.token_hex(4)}.tmp"
        self._temporary = self.path.with_name(name)
        self._file = self._attempt(lambda: _open_parquet(self._temporary))

    def append(self, trace: Trace) -> None:
        """Add the next ops."""
        columns = trace.columns()
        self._hash.update(columns)
        self.n_ops += len(trace)
        self.n_slots = max(self.n_slots, trace.n_slots)
        self.n_threads = max(self.n_threads, trace.n_threads)
        self._pending.append(to_stored(columns))
        self._pending_ops += len(trace)
        if self._pending_ops >= ROW_GROUP_OPS:
            self._flush()

    def close(self) -> None:
        """Write what is pending and the description, then give the file its name."""
        self._flush()
        description = Description(
            self.n_ops, self.n_slots, self.n_threads, self._hash.text(), self.provenance
        )
        self._file.add_key_value_metadata({METADATA_KEY: description.to_json()})
        self._attempt(self._file.close)
        self._attempt(lambda: self._temporary.replace(self.path))

    def discard(self) -> None:
        """Give up: nothing stays on disk."""
        with contextlib.suppress(OSError):  # a full disk fails once more here
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "TraceWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.close()
        finally:
            self.discard()

    def _flush(self) -> None:
        """Write the pending ops as row groups of `ROW_GROUP_OPS`."""
        table = pa.Table.from_batches(self._pending, SCHEMA)
        self._pending, self._pending_ops = [], 0
        if table.num_rows:
            self._attempt(lambda: self._file.write_table(table, row_group_size=ROW_GROUP_OPS))

    def _attempt(self, action: Callable[[], Any]) -> Any:
        """Run `action`; what the disk says becomes an AllocsimError, and nothing stays behind."""
        try:
            return action()
        except OSError as error:
            self._temporary.unlink(missing_ok=True)
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise AllocsimError(
                f"{self.path}: cannot write the trace: {reason}; of {self.n_ops} ops nothing was kept"
            ) from error


def write_trace(
    path: str | Path, source: TraceSource | Iterable[Trace], provenance: Provenance | None = None
) -> None:
    """Write all ops of a source, or of batches, to the trace file `path`.

    The provenance is the source's unless given.
    """
    batches = source if isinstance(source, Iterable) else source.batches(BATCH_OPS)
    if provenance is None:
        provenance = getattr(source, "provenance", None)
    with TraceWriter(path, provenance) as writer:
        for batch in batches:
            writer.append(batch)


def _check_target(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not an ordinary file; name a file to write the trace to")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; create it first")


def _open_parquet(path: Path) -> pq.ParquetWriter:
    stored = SCHEMA.names
    return pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        use_dictionary=[name for name in stored if name not in DELTA_COLUMNS],
        column_encoding=dict.fromkeys(DELTA_COLUMNS, "DELTA_BINARY_PACKED"),
        write_statistics=False,
        store_schema=False,
        write_page_checksum=True,
    )
