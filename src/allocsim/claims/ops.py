"""Ops written as lines of text: the few calls that a claim is about, loops included.

malloc 0 131048                    object 0, 131,048 bytes, all written
malloc 0 1MiB unwritten            the program writes nothing to it yet
free 0..9                          objects 0 to 9, in turn
touch 0 1 at 500000                write one byte, 500,000 bytes from the object's start
malloc 0..9 8000; malloc 10..19 24 in turn: 0, 10, 1, 11, …
100 x malloc 0 16KiB; free 0       again and again
9 x free 0..9 then malloc 0..9 64  all frees, then all mallocs, nine times
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from allocsim.quantity import parse_quantity
from allocsim.strict_toml import shortened
from allocsim.trace import ALLOCATIONS, Op, Trace
from allocsim.trace.ops import MAX_SIZE_BYTES

_OPS = {
    op.label: op for op in (Op.MALLOC, Op.CALLOC, Op.REALLOC, Op.FREE, Op.TOUCH, Op.READ)
}  # fmt: skip
_SIZE = r"[0-9][0-9._]*(?: ?[KMGT](?:iB)?)?"
_CALL = re.compile(
    rf"(?P<op>[a-z]+) (?P<first>[0-9]+)(?:\.\.(?P<last>[0-9]+))?(?: (?P<size>{_SIZE}))?"
    rf"(?: at (?P<offset>{_SIZE}))?(?P<unwritten> unwritten)?"
)
_TIMES = re.compile(r"([0-9]+) x (.*)")

_MOST_OPS = _MOST_OBJECTS = 10**6

Row = tuple[Op, int, int, int, int]
"""Op, object, size, bytes written, offset."""


@dataclass(frozen=True)
class _Call:
    """One call, for a range of objects."""

    op: Op
    objects: range
    size: int
    written: int
    offset: int

    def row(self, i: int) -> Row:
        """The call for the i-th object; a single object is taken again and again."""
        chosen = self.objects[i] if len(self.objects) > 1 else self.objects[0]
        return self.op, chosen, self.size, self.written, self.offset


def rows_of(line: str) -> Iterator[Row]:
    """The ops of one line; ValueError says what cannot be understood."""
    times, groups = _times(line)
    for _ in range(times):
        for group in groups:
            for i in range(max(len(call.objects) for call in group)):
                yield from (call.row(i) for call in group)


def trace_of(lines: Iterable[str]) -> Trace:
    """The ops of all lines as one trace."""
    rows = np.array([row for line in lines for row in rows_of(line)], np.int64).reshape(-1, 5)
    op, objects, size, written, offset = rows.T
    return Trace.of(op=op, object=objects, size=size, written=written, offset=offset)


def _times(line: str) -> tuple[int, list[list[_Call]]]:
    match = _TIMES.fullmatch(line.strip())
    times, rest = (int(match[1]), match[2]) if match else (1, line)
    groups = [[_call(text) for text in part.split(";")] for part in rest.split(" then ")]
    for group in groups:
        lengths = {len(call.objects) for call in group} - {1}
        if len(lengths) > 1:
            raise ValueError(
                f"'{shortened(line)}': ranges that go in turn must be of the same length"
            )
    n_ops = times * sum(max(len(call.objects) for call in group) for group in groups)
    if n_ops > _MOST_OPS:
        raise ValueError(f"'{shortened(line)}' makes more than {_MOST_OPS:,} ops")
    return times, groups


def _call(text: str) -> _Call:
    match = _CALL.fullmatch(" ".join(text.split()))
    op = _OPS.get(match["op"]) if match else None
    if match is None or op is None:
        raise ValueError(
            f"'{shortened(text.strip())}' is no op; write {', '.join(_OPS)}, an object or a range "
            "of them, and the size: 'malloc 0..9 16KiB'"
        )
    if (match["size"] is None) != (op == Op.FREE):
        wrong = "free takes no size" if match["size"] else "the size is missing"
        raise ValueError(f"'{shortened(text.strip())}': {wrong}")
    first = int(match["first"])
    size = _bytes(match["size"])
    written = size if op in ALLOCATIONS and not match["unwritten"] else 0
    objects = range(first, int(match["last"] or first) + 1)
    if objects and objects[-1] >= _MOST_OBJECTS:
        raise ValueError(f"'{shortened(text)}': objects are numbers below {_MOST_OBJECTS:,}")
    if not objects:
        raise ValueError(f"'{shortened(text.strip())}': the range of objects is empty")
    return _Call(op, objects, size, written, _bytes(match["offset"]))


def _bytes(text: str | None) -> int:
    size = 0 if text is None else int(parse_quantity(text))
    if size > MAX_SIZE_BYTES:
        raise ValueError(f"'{text}' is more than a process can address")
    return size
