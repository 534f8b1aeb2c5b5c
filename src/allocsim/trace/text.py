"""Traces as CSV: a header with the names of the columns, then one line per op.

Columns after `size` may be missing, and their cells empty: `written` is then `size` for
allocations, everything else 0. Ops go by their names, such as ``aligned_alloc``. Threads may have
any numbers, such as Linux's thread ids. The file may be compressed with gzip or zstd.
"""

import difflib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from allocsim.errors import InputError, printable
from allocsim.outputs import AtomicFile
from allocsim.trace.columns import Trace, TraceSource
from allocsim.trace.csv_bytes import Utf8Bytes, name_of, opened
from allocsim.trace.files import open_trace
from allocsim.trace.ops import BATCH_OPS, COLUMNS, OP_LABELS, default_written
from allocsim.trace.provenance import Provenance
from allocsim.trace.thread_numbers import ThreadNumbers
from allocsim.trace.validate import Validator, validated
from allocsim.trace.writer import TraceWriter, write_trace

REQUIRED = ("op", "thread", "object", "size")
FIRST_LINE = 2
"""The line of the first op; the header is line 1."""

HEADER = ",".join(COLUMNS)


def import_csv(source: str, target: Path, program: str = "", notes: str = "") -> str:
    """Make the trace file `target` from the CSV file `source` (``-``: standard input).

    `program` and `notes` go into the provenance. Threads are numbered anew where the file's numbers
    leave gaps; the text returned says so. Raises InputError as ``FILE:LINE: reason`` for whatever
    is wrong.
    """
    validator = Validator(name_of(source), first_line=FIRST_LINE)
    notes = notes or f"imported from {name_of(source)}"
    provenance = Provenance(program=program, notes=notes, written_source="given")
    threads = ThreadNumbers()
    with TraceWriter(target, provenance, validator=validator) as writer:
        for trace in read_csv(source, threads):
            writer.append(trace)
        if note := threads.note():
            writer.provenance = replace(provenance, notes=f"{notes}; {note}")
    if (given := threads.given()) is not None:
        _renumber(target, given)
    return note


def _renumber(target: Path, numbers: np.ndarray) -> None:
    """Write the trace file anew, with thread `n` as `numbers[n]`.

    Only the whole file shows that its own numbers have no gaps and can stay.
    """
    file = open_trace(target)
    batches = (replace(trace, thread=numbers[trace.thread]) for trace in file.batches())
    write_trace(target, batches, file.provenance)


def export_csv(source: str, target: str) -> None:
    """Write the trace file `source` to the CSV file `target` (``-``: standard output)."""
    trace = open_trace(source)
    if target == "-":
        _write(trace, sys.stdout.buffer)
        return
    file = AtomicFile(target)
    try:
        with file.writing(), file.temporary.open("wb") as sink:
            _write(trace, sink)
        file.commit()
    finally:
        file.discard()


def read_csv(source: str, threads: ThreadNumbers) -> Iterator[Trace]:
    """The ops of a CSV file (``-``: standard input) in batches, not yet checked for sense.

    Their threads are those of `threads`, which learns the new ones.
    """
    name = name_of(source)
    with opened(source) as stream:
        line = FIRST_LINE
        for batch in _Reader(name, stream):
            yield _parse(batch, name, line, threads)
            line += batch.num_rows


class _Reader:
    """The lines of a CSV file as batches of strings; says on which line reading fails."""

    def __init__(self, name: str, stream: Utf8Bytes) -> None:
        self.name = name
        self._misfit: csv.InvalidRow | None = None
        self._lines = 0
        self._batches = self._open(stream)
        _check_header(name, self._batches.schema.names)
        self._lines = 1

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                batch = self._batches.read_next_batch()
            except StopIteration:
                return
            except pa.ArrowInvalid as error:
                raise self._failure(error) from None
            self._lines += batch.num_rows
            yield batch

    def _open(self, stream: Utf8Bytes) -> csv.CSVStreamingReader:
        try:
            return csv.open_csv(
                stream,
                csv.ReadOptions(use_threads=False),
                csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=self._note),
                csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string())),
            )
        except pa.ArrowInvalid as error:
            raise self._failure(error) from None

    def _note(self, row: csv.InvalidRow) -> str:
        self._misfit = row
        return "error"

    def _failure(self, error: pa.ArrowInvalid) -> InputError:
        if (row := self._misfit) is not None:
            cells = f"{row.actual_columns} cells where the header has {row.expected_columns}"
            text = printable(row.text[:60])
            return InputError(f"{self.name}:{row.number}: {cells}: {text:.80}")
        reason = str(error).splitlines()[0]
        return InputError(
            f"{self.name}:{self._lines + 1}: from here on not CSV text: {printable(reason):.200}"
        )


def _check_header(name: str, found: list[str]) -> None:
    for column in found:
        if column not in COLUMNS:
            near = _suggest(column, list(COLUMNS))
            raise InputError(f"{name}:1: unknown column {column!r:.40}{near}; right is {HEADER}")
        if found.count(column) > 1:
            raise InputError(f"{name}:1: column {column} is there twice")
    for column in REQUIRED:
        if column not in found:
            raise InputError(f"{name}:1: column {column} is missing; right is {HEADER}")


def _parse(batch: pa.RecordBatch, name: str, line: int, threads: ThreadNumbers) -> Trace:
    """A batch of strings whose first row is on `line`, as a trace."""
    # Line breaks within quotes stay, and are refused: lines are counted by rows.
    trimmed = (pc.utf8_trim(batch[column], " \t") for column in batch.schema.names)
    cells = dict(zip(batch.schema.names, trimmed, strict=True))
    columns = {"op": _ops(cells.pop("op"), name, line)}
    absent = np.zeros(batch.num_rows, np.int64)
    for column in REQUIRED[1:]:
        columns[column], empty = _numbers(column, cells.pop(column), name, line)
        if empty.any():
            raise InputError(f"{name}:{line + int(empty.argmax())}: column {column} is empty")
    columns["thread"] = _numbered(columns["thread"], name, line, threads)
    columns["written"] = default_written(columns["op"], columns["size"])
    for column in (column for column in COLUMNS if column not in columns or column == "written"):
        if column in cells:
            numbers, empty = _numbers(column, cells[column], name, line)
            columns[column] = np.where(empty, columns.get(column, 0), numbers)
    columns = {column: columns.get(column, absent) for column in COLUMNS}
    return Trace(**columns, provenance=Provenance())


def _numbered(ids: np.ndarray, name: str, line: int, threads: ThreadNumbers) -> np.ndarray:
    if (negative := ids < 0).any():
        row = int(negative.argmax())
        raise InputError(f"{name}:{line + row}: thread {ids[row]}; threads are not negative")
    try:
        return threads.number(ids)
    except InputError as error:
        raise InputError(f"{name}:{line + len(ids) - 1}: {error}") from None


def _ops(cells: pa.Array, name: str, line: int) -> np.ndarray:
    numbers = pc.index_in(cells, value_set=pa.array(OP_LABELS))
    if numbers.null_count:
        row = pc.index(pc.is_null(numbers), True).as_py()
        word = cells[row].as_py()
        near = _suggest(word, list(OP_LABELS))
        what = f"unknown op {word!r:.40}{near}" if word else "no op"
        raise InputError(f"{name}:{line + row}: {what}; ops are {', '.join(OP_LABELS)}")
    return numbers.to_numpy()


def _numbers(column: str, cells: pa.Array, name: str, line: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells as numbers of the column's type, 0 for empty ones; and a mask of the empty.

    Threads may have names of 64 bits, such as those of pthread_self.
    """
    empty = pc.equal(cells, "")
    cells = pc.if_else(empty, "0", cells)
    kind = pa.int64() if column == "thread" else pa.from_numpy_dtype(COLUMNS[column])
    if not _fits(cells, kind):
        row = _first_wrong(cells, kind)
        word = cells[row].as_py()
        raise InputError(
            f"{name}:{line + row}: column {column}: {word!r:.40} is not a whole number ({kind})"
        )
    return pc.cast(cells, kind).to_numpy(), empty.to_numpy(zero_copy_only=False)


def _fits(cells: pa.Array, kind: pa.DataType) -> bool:
    try:
        pc.cast(cells, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _first_wrong(cells: pa.Array, kind: pa.DataType) -> int:
    """The first cell that does not fit `kind`, when there is one: by halving."""
    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(cells[low:middle], kind):
            low = middle
        else:
            high = middle
    return low


def _suggest(word: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(word.lower(), allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _write(source: TraceSource, sink: BinaryIO) -> None:
    sink.write(f"{HEADER}\n".encode())
    labels = np.array(OP_LABELS)
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    for trace in validated(source, BATCH_OPS):
        columns = {**trace.columns(), "op": labels[trace.op]}
        csv.write_csv(pa.table(columns), sink, options)
