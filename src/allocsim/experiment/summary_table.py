"""Lays out the summary of an experiment: a table where it fits, several narrow ones elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_GAP = 2


@dataclass(frozen=True)
class Line:
    """One setting: names, its parameters as `name=value`, why it is shown, a cell per metric."""

    workload: str
    policy: str
    parameters: list[str]
    reason: str
    cells: list[str]


@dataclass(frozen=True)
class SummaryTable:
    """All lines, at any width; nothing inside a cell is torn: half a number is a wrong one.

    metrics: the names of the cells. parameter: the only one that varies, if there is just one.
    """

    lines: list[Line]
    metrics: Sequence[str]
    parameter: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, or where the console is too narrow for it blocks of some of its columns."""
        table = self._table()
        needed = Measurement.get(console, options.update(max_width=10_000), table).maximum
        if needed <= options.max_width:
            yield table
        else:
            yield from self._blocks(options.max_width)

    def _table(self) -> Table:
        table = _bare_table()
        for name in ("workload", "policy", self.parameter or "setting"):
            table.add_column(name, no_wrap=True)
        for name in self.metrics:
            table.add_column(name, justify="right", no_wrap=True)
        for line, is_first in zip(self.lines, self._begins_workload(), strict=True):
            if is_first and table.row_count:
                table.add_row()
            values = [each.removeprefix(f"{self.parameter}=") for each in line.parameters]
            setting = " ".join(_words(values, line.reason))
            name = line.workload if is_first else ""
            table.add_row(*map(Text, (name, line.policy, setting, *line.cells)))
        return table

    def _begins_workload(self) -> list[bool]:
        before = ["", *(line.workload for line in self.lines)]
        return [line.workload != last for line, last in zip(self.lines, before, strict=False)]

    def _blocks(self, width: int) -> Iterator[Table]:
        """For each workload as many tables below each other as its columns need."""
        for _, group in groupby(self.lines, lambda line: line.workload):
            lines = list(group)
            if lines[0] is not self.lines[0]:
                yield _bare_table()  # a blank line
            names = [_name(line, width // 2) for line in lines]
            room = width - max(cell_len(part) for name in names for part in name.split("\n"))
            for columns in self._columns_that_fit(lines, room):
                yield self._block(lines, names, columns)

    def _columns_that_fit(self, lines: list[Line], room: int) -> Iterator[list[int]]:
        """The numbers of the columns of each table, one at least."""
        columns: list[int] = []
        left = room
        for i, metric in enumerate(self.metrics):
            needed = _GAP + max(map(cell_len, [metric, *(line.cells[i] for line in lines)]))
            if columns and needed > left:
                yield columns
                columns, left = [], room
            columns.append(i)
            left -= needed
        yield columns

    def _block(self, lines: list[Line], names: list[str], columns: list[int]) -> Table:
        table = _bare_table()
        table.add_column(Text(lines[0].workload), no_wrap=True)
        for i in columns:
            table.add_column(self.metrics[i], justify="right", no_wrap=True)
        for line, name in zip(lines, names, strict=True):
            table.add_row(Text(name), *(Text(line.cells[i]) for i in columns))
        return table


def _bare_table() -> Table:
    return Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))


def _name(line: Line, width: int) -> str:
    """Policy, parameters and reason, in lines of about `width`."""
    return "\n  ".join(_filled([line.policy, *_words(line.parameters, line.reason)], width - 2))


def _words(parameters: list[str], reason: str) -> list[str]:
    return [*parameters, *([f"({reason})"] if reason else [])]


def _filled(words: list[str], width: int) -> list[str]:
    """The words in lines of at most `width`, none of them torn."""
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1]) + 2 + cell_len(word) <= width:
            lines[-1] += f"  {word}"
        else:
            lines.append(word)
    return lines
