"""Tables as columns: arrays by name for computing, Arrow for everything else."""

import html
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_UNITS = {"bytes": "B", "ns": "ns", "ps": "ps", "pages": "pages"}
_SHOWN_ROWS = 10


def unit_of(name: str) -> str:
    """The unit that a column's name ends in: `B` for `live_bytes`; "" for plain numbers."""
    return _UNITS.get(name.rpartition("_")[2], "")


class ColumnTable(Mapping[str, np.ndarray]):
    """Columns of equal length, by name, in order.

    `table["live_bytes"]` is an array. `table.to_arrow()` is an Arrow table whose fields carry the
    unit of each column; pandas and polars take the table itself: `table.to_pandas()`,
    `polars.DataFrame(table)`.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns = {name: np.asarray(column) for name, column in columns.items()}
        if len({len(column) for column in self._columns.values()}) > 1:
            raise ValueError("the columns of a table have one length")

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def n_rows(self) -> int:
        """The length of every column."""
        return len(next(iter(self._columns.values()), ()))

    def to_arrow(self) -> "pa.Table":
        """The table in Arrow; the metadata of a field holds its `unit`."""
        import pyarrow as pa

        arrays = [pa.array(column) for column in self._columns.values()]
        fields = [
            pa.field(name, array.type, metadata={"unit": unit} if (unit := unit_of(name)) else None)
            for name, array in zip(self._columns, arrays, strict=True)
        ]
        return pa.table(arrays, schema=pa.schema(fields))

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame; pandas must be installed."""
        return self.to_arrow().to_pandas()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Arrow's interface for other libraries."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        rows = [[name, *map(str, self._shown(name))] for name in self]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i])
                for i, cell in enumerate(row)
            )
            for row in rows
        ]
        return "\n".join([f"{self.n_rows} rows x {len(self)} columns", *lines])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self)
        columns = [self._shown(name) for name in self]
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in zip(*columns, strict=True)
        )
        caption = f"<caption>{self.n_rows:,} rows</caption>"
        return f"<table>{caption}<tr>{head}</tr>{rows}</table>"

    def _shown(self, name: str) -> list[Any]:
        """The first and the last values of a column, "…" for those between."""
        column = self._columns[name]
        if len(column) <= _SHOWN_ROWS:
            return column.tolist()
        half = _SHOWN_ROWS // 2
        return [*column[:half].tolist(), "…", *column[-half:].tolist()]
