"""Writing trace files: streamed, checked, all or nothing."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from allocsim.errors import InputError
from allocsim.outputs import AtomicFile
from allocsim.trace.columns import Trace, TraceSource
from allocsim.trace.content_hash import ContentHash
from allocsim.trace.provenance import Provenance
from allocsim.trace.schema import ENCODINGS, METADATA_KEY, SCHEMA, Description, to_stored
from allocsim.trace.validate import Validator

ROW_GROUP_OPS = 2**18
"""Ops compressed together: bounds the writer's memory to some 20 MB."""


class TraceWriter:
    """Writes a trace file batch by batch; a context manager.

    The file appears under its name when the writer closes without an error; before that, and
    after a failure such as a full disk, nothing is there (or the older file still is). Set
    `provenance` anew at any time before the end, for figures known only then. Batches may have
    any length. Ops are checked as by `validated`; pass a `validator` whose messages name where
    they come from. Raises InputError for ops that make no sense, OutputError when the file
    cannot be written.

    >>> with TraceWriter("run.parquet", Provenance(program="demo")) as writer:
    ...     writer.append(Trace.of(op=[0, 4], object=[0, 0], size=[100, 0]))
    """

    def __init__(
        self,
        path: str | Path,
        provenance: Provenance | None = None,
        *,
        validator: Validator | None = None,
    ) -> None:
        self.provenance = provenance or Provenance()
        self.n_ops = self.n_slots = self.n_threads = 0
        self._hash = ContentHash()
        self._validator = validator or Validator(str(path))
        self._pending: list[pa.RecordBatch] = []
        self._pending_ops = 0
        self._target = AtomicFile(path)
        with self._target.writing():
            self._file = _open_parquet(self._target.temporary)

    def append(self, trace: Trace) -> None:
        """Add the next ops."""
        self._validator.check(trace)
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
        try:
            description.check_sizes(self.n_ops)
        except ValueError as error:
            raise InputError(f"{self._validator.name}: {error}; number from 0") from None
        with self._target.writing():
            self._file.add_key_value_metadata({METADATA_KEY: description.to_json()})
            self._file.close()
        self._target.commit()

    def discard(self) -> None:
        """Give up: nothing stays on disk."""
        with contextlib.suppress(OSError):  # a full disk fails once more here
            self._file.close()
        self._target.discard()

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
        with self._target.writing():
            self._file.write_table(table, row_group_size=ROW_GROUP_OPS)


def write_trace(
    path: str | Path, source: TraceSource | Iterable[Trace], provenance: Provenance | None = None
) -> None:
    """Write all ops of a source, or of batches, to the trace file `path`.

    The provenance is the source's unless given.
    """
    batches = source if isinstance(source, Iterable) else source.batches()
    if provenance is None:
        provenance = getattr(source, "provenance", None)
    with TraceWriter(path, provenance) as writer:
        for batch in batches:
            writer.append(batch)


def _open_parquet(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        compression_level=6,  # 5 % smaller than 1, as quick to read
        use_dictionary=[name for name in SCHEMA.names if name not in ENCODINGS],
        column_encoding=ENCODINGS,
        write_statistics=False,
        store_schema=False,
        write_page_checksum=True,
    )
