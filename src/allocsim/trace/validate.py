"""Refuses traces that make no sense, with the row and the reason."""

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from allocsim.errors import InputError
from allocsim.trace import rules
from allocsim.trace.columns import Trace, TraceSource
from allocsim.trace.compiled import Loop
from allocsim.trace.ops import BATCH_OPS, OP_LABELS
from allocsim.trace.slots import Slots


class Validator:
    """Checks a trace batch by batch.

    Every row must obey the rules of its op, and the ops of each slot must make sense in their
    order. `name` is the file, for messages. Rows count from 0, as ops do in results; a text file
    whose first op is on `first_line` is told by its lines. Objects and threads must be below
    `n_slots` and `n_threads`. `slots` is the state after the ops so far.
    """

    def __init__(
        self,
        name: str,
        n_slots: int = 2**31,
        n_threads: int = 2**31,
        *,
        first_line: int | None = None,
    ) -> None:
        self.name = name
        self.first_line = first_line
        self.slots = Slots()
        self.checked_ops = 0
        self._find_broken = Loop(rules.first_broken)
        self._ranges = {
            "op": (0, len(OP_LABELS), f"ops are 0 (malloc) to {len(OP_LABELS) - 1} (madvise)"),
            "thread": (0, n_threads, f"the trace has threads 0 to {n_threads - 1}"),
            "object": (-1, n_slots, f"the trace has slots 0 to {n_slots - 1}"),
            "time_ns": (0, 2**63, "times are not negative"),
            "think_ns": (0, 2**63, "times are not negative"),
        }

    def check(self, trace: Trace) -> None:
        """Check the next ops; raises InputError at the first row that is wrong."""
        problems = [self._outside(trace, name) for name in self._ranges]
        rows = min((row for row, _ in filter(None, problems)), default=len(trace))
        row = self._find_broken(*_columns(trace[:rows]), rules.LOW, rules.HIGH)
        if row >= 0:
            problems, rows = [(row, rules.explain(trace, row))], row
        try:
            row = self.slots.apply(trace[:rows])
        except MemoryError:
            raise InputError(f"{self.name}: no memory for {trace.n_slots} slots") from None
        if row >= 0:
            problems = [(row, self.slots.explain(trace, row))]
        if found := min(filter(None, problems), default=None):
            self._refuse(*found)
        self.checked_ops += len(trace)

    def _outside(self, trace: Trace, name: str) -> tuple[int, str] | None:
        """The first row whose column `name` is out of range, with the reason."""
        column = getattr(trace, name)
        low, end, right = self._ranges[name]
        if not len(column) or (column.min() >= low and int(column.max()) < end):
            return None
        row = int(np.argmax((column < low) | (column > end - 1)))
        what = "unknown op" if name == "op" else name
        return row, f"{what} {column[row]}; {right}"

    def _refuse(self, row: int, reason: str) -> NoReturn:
        op = self.checked_ops + row
        where = f" row {op}" if self.first_line is None else f"{self.first_line + op}"
        raise InputError(f"{self.name}:{where}: {reason}")


def validated(source: TraceSource, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
    """The batches of `source`, each checked before it is given out.

    Raises InputError with the file (for a `TraceFile`), the row and the reason. Takes 25 bytes of
    memory for each slot in use.
    """
    name = str(getattr(source, "path", "trace"))
    validator = Validator(name, source.n_slots, source.n_threads)
    for batch in source.batches(batch_ops):
        validator.check(batch)
        yield batch


def _columns(trace: Trace) -> tuple[np.ndarray, ...]:
    """The columns that `rules.first_broken` takes."""
    names = ("op", "object", "size", "alignment", "written", "offset", "arg")
    return tuple(getattr(trace, name) for name in names)
