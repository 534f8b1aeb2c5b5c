"""Reading trace files: streamed, and trusting nothing that they say."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

from allocsim.errors import InputError
from allocsim.input_files import check_input, open_input
from allocsim.trace.columns import Trace
from allocsim.trace.content_hash import ContentHash
from allocsim.trace.ops import BATCH_OPS
from allocsim.trace.pages import check_pages
from allocsim.trace.provenance import Provenance
from allocsim.trace.schema import METADATA_KEY, SCHEMA, Description, from_stored

T = TypeVar("T")


class TraceFile:
    """A trace on disk, a `TraceSource`. Opening reads only the footer; ops are streamed.

    Raises InputError, with the file and the reason, for whatever is not a sound trace file. The
    ops themselves are checked by `validated`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as file:
            self._description = self._attempt(lambda: _describe(file))
            self._check_pages(file.metadata)
        self.size_bytes = self.path.stat().st_size

    @property
    def n_ops(self) -> int:
        """Number of ops."""
        return self._description.n_ops

    @property
    def n_slots(self) -> int:
        """Every object is below this number, or `validated` refuses the trace."""
        return self._description.n_slots

    @property
    def n_threads(self) -> int:
        """Every thread is below this number, or `validated` refuses the trace."""
        return self._description.n_threads

    @property
    def provenance(self) -> Provenance:
        """Where the trace comes from."""
        return self._description.provenance

    def content_hash(self) -> str:
        """The identity of the ops as the file states it; `verify` compares it with the ops."""
        return self._description.content_hash

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        """The ops in order, at most `batch_ops` at a time, whatever the length of the file."""
        with self._open() as file:
            stream = self._attempt(lambda: file.iter_batches(batch_ops))
            rows = 0
            while (batch := self._attempt(lambda: next(stream, None))) is not None:
                columns = from_stored(batch)
                rows += batch.num_rows
                yield Trace(**columns, provenance=self.provenance)
        if rows != self.n_ops:
            raise InputError(f"{self.path}: {rows} rows can be read of {self.n_ops}; copy it again")

    def read(self) -> Trace:
        """All ops at once, in memory: 65 bytes each."""
        return Trace.concatenate(self.batches(), self.provenance)

    def verify(self) -> None:
        """Read everything and raise InputError if the ops are not those of the content hash."""
        digest = ContentHash()
        for batch in self.batches():
            digest.update(batch.columns())
        if digest.text() != self.content_hash():
            raise InputError(
                f"{self.path}: the ops hash to {digest.text()}, the file says "
                f"{self.content_hash()}; it was altered: copy or record it again"
            )

    def _open(self) -> pq.ParquetFile:
        check_input(self.path)
        # Without pre_buffer, pages are read as they are needed and memory stays flat.
        return self._attempt(
            lambda: pq.ParquetFile(
                self.path, pre_buffer=False, buffer_size=2**16, page_checksum_verification=True
            )
        )

    def _check_pages(self, metadata: pq.FileMetaData) -> None:
        with open_input(self.path) as file:
            self._attempt(lambda: check_pages(file, metadata))

    def _attempt(self, action: Callable[[], T]) -> T:
        """Run `action`; whatever Arrow or the system says becomes an InputError with the file."""
        try:
            return action()
        except InputError:
            raise
        except (FileNotFoundError, PermissionError) as error:
            raise InputError(f"{self.path}: cannot read: {os.strerror(error.errno or 0)}") from None
        except (OSError, ValueError, KeyError, MemoryError, NotImplementedError) as error:
            reason = _first_line(error)
            raise InputError(f"{self.path}: not a sound trace file: {reason}") from error


def open_trace(path: str | Path) -> TraceFile:
    """The trace file `path`, ready for streaming."""
    return TraceFile(path)


def _describe(file: pq.ParquetFile) -> Description:
    """Check the footer and give the description in it; raises ValueError with a reason."""
    metadata = file.metadata
    entries = metadata.metadata or {}
    if METADATA_KEY not in entries:
        raise ValueError("a Parquet file, but not of allocsim; import other formats first")
    description = Description.from_json(entries[METADATA_KEY])
    if not file.schema_arrow.equals(SCHEMA):
        found = ", ".join(f"{field.name} {field.type}" for field in file.schema_arrow)
        raise ValueError(f"its columns are not those of format 1: {found:.300}")
    rows = sum(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
    if rows != metadata.num_rows:
        raise ValueError(f"its row groups hold {rows} rows, its footer says {metadata.num_rows}")
    description.check_sizes(metadata.num_rows)
    return description


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
