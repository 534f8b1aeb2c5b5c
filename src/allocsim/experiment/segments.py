"""Segments: Parquet files of many run records, a row each. docs/experiments.md describes them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from allocsim.experiment.arrow_columns import integers, lists, numbers, texts
from allocsim.experiment.records import TABLES, Record
from allocsim.trace.pages import check_pages

FORMAT = 3
"""Version of everything in a results folder; another one is not read but computed again."""

_ROWS_TOGETHER = 128
"""Records in a row group: what is read to look at one of them, and lost where a byte is damaged."""

_TEXTS = ("key", "run", "totals", "provenance", "result", "seal")


def _rows_of_integers(names: Sequence[str]) -> pa.DataType:
    fields = [pa.field(name, pa.int64(), nullable=False) for name in names]
    return pa.list_(pa.field("element", pa.struct(fields), nullable=False))


SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in _TEXTS),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("written_ns", pa.int64(), nullable=False),
        *(pa.field(t, _rows_of_integers(names), nullable=False) for t, names in TABLES.items()),
    ],
    metadata={"allocsim.results": str(FORMAT)},
)
_DELTAS = {
    f"{table}.list.element.{name}": "DELTA_BINARY_PACKED"
    for table, names in TABLES.items()
    for name in names
}


def encode_segment(records: Sequence[Record]) -> bytes:
    """The file that holds the records."""
    columns = {name: texts([getattr(record, name) for record in records]) for name in _TEXTS}
    columns["seconds"] = numbers([float(record.seconds) for record in records])
    columns["written_ns"] = numbers([record.written_ns for record in records])
    columns |= {name: _lists([record.tables[name] for record in records]) for name in TABLES}
    return encode_table(pa.Table.from_arrays(list(columns.values()), schema=SCHEMA))


def encode_table(table: pa.Table) -> bytes:
    """The file that holds such a table of records."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=_ROWS_TOGETHER,
        compression="zstd",
        use_dictionary=["run", "provenance"],
        column_encoding=_DELTAS,
        write_statistics=False,
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


class Segment:
    """A segment's file, open for reading.

    Every method raises OSError (Arrow's and the system's) or ValueError where it is damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = pq.ParquetFile(path, page_checksum_verification=True)
        schema = self._file.schema_arrow
        if not schema.equals(SCHEMA) or schema.metadata != SCHEMA.metadata:
            self._file.close()
            raise ValueError(f"{path}: of another format")
        try:
            with path.open("rb") as file:
                check_pages(file, self._file.metadata)
        except ValueError:
            self._file.close()
            raise

    def __enter__(self) -> "Segment":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def n_groups(self) -> int:
        """How many groups its records are in."""
        return int(self._file.num_row_groups)

    def keys(self, group: int) -> list[str]:
        """The keys of the records of one group."""
        return self._file.read_row_group(group, columns=["key"])["key"].to_pylist()

    def records(self, group: int) -> Iterator[Record]:
        """The records of one group, unchecked."""
        [batch] = self._file.read_row_group(group).combine_chunks().to_batches()
        plain = {n: batch[n].to_pylist() for n in (*_TEXTS, "seconds", "written_ns")}
        tables = {name: _split(batch[name]) for name in TABLES}
        for row in range(batch.num_rows):
            values = {name: column[row] for name, column in plain.items()}
            yield Record(**values, tables={name: rows[row] for name, rows in tables.items()})

    def table(self) -> pa.Table:
        """All of it as a table."""
        return self._file.read()


def _lists(tables: list[dict[str, np.ndarray]]) -> pa.Array:
    """One list of rows per table."""
    names = list(tables[0])
    columns = [integers(np.concatenate([table[name] for table in tables])) for name in names]
    fields = [pa.field(name, pa.int64(), nullable=False) for name in names]
    rows = pa.StructArray.from_arrays(columns, fields=fields)
    return lists(rows, [len(table[names[0]]) for table in tables], _rows_of_integers(names))


def _split(lists: pa.ListArray) -> list[dict[str, np.ndarray]]:
    """The columns of each list's rows."""
    ends = lists.offsets.to_numpy()
    rows = lists.values
    columns = {f.name: rows.field(i).to_numpy() for i, f in enumerate(rows.type)}
    return [
        {name: column[start:end] for name, column in columns.items()}
        for start, end in pairwise(ends)
    ]
