"""What every row of a trace must obey on its own, whatever came before it."""

from typing import Any, NamedTuple

import numpy as np

from allocsim.trace.columns import Trace
from allocsim.trace.ops import MAX_SIZE_BYTES, Op

NOTHING = (0, 0)
BYTES = (0, MAX_SIZE_BYTES)
SOME_BYTES = (1, MAX_SIZE_BYTES)


class Limits(NamedTuple):
    """The smallest and largest value that an op takes in each column."""

    object: tuple[int, int] = (0, 2**31 - 1)
    size: tuple[int, int] = BYTES
    alignment: tuple[int, int] = NOTHING
    offset: tuple[int, int] = NOTHING
    arg: tuple[int, int] = NOTHING


LIMITS: dict[Op, Limits] = {
    Op.MALLOC: Limits(),
    Op.CALLOC: Limits(),
    Op.REALLOC: Limits(),
    Op.ALIGNED_ALLOC: Limits(alignment=SOME_BYTES),
    Op.FREE: Limits(size=NOTHING),
    Op.TOUCH: Limits(offset=BYTES),
    Op.READ: Limits(offset=BYTES),
    Op.MARK: Limits(object=(-1, -1), size=NOTHING, arg=(-(2**63), 2**63 - 1)),
    Op.MMAP: Limits(size=SOME_BYTES, arg=(0, 7)),
    Op.MUNMAP: Limits(size=SOME_BYTES, offset=BYTES),
    Op.MREMAP: Limits(size=SOME_BYTES, arg=(0, 1)),
    Op.MADVISE: Limits(offset=BYTES, arg=(0, 2**31 - 1)),
}

LOW = np.array([[low for low, _ in LIMITS[op]] for op in Op])
HIGH = np.array([[high for _, high in LIMITS[op]] for op in Op])
_WRITES_UP_TO = int(Op.ALIGNED_ALLOC)


def first_broken(
    op: Any, object: Any, size: Any, alignment: Any, written: Any, offset: Any, arg: Any,
    low: Any, high: Any,
) -> int:  # fmt: skip
    """The first row outside the limits of its op, or -1; `low` and `high` are `LOW` and `HIGH`.

    Beyond the limits, `written` is at most the size of an allocation and 0 for other ops, and an
    alignment is a power of two. Runs as plain Python on memory views or compiled on arrays.
    """
    for row in range(len(op)):
        what = op[row]
        most = size[row] if what <= _WRITES_UP_TO else 0
        if (
            not low[what, 0] <= object[row] <= high[what, 0]
            or not low[what, 1] <= size[row] <= high[what, 1]
            or not low[what, 2] <= alignment[row] <= high[what, 2]
            or not low[what, 3] <= offset[row] <= high[what, 3]
            or not low[what, 4] <= arg[row] <= high[what, 4]
            or not 0 <= written[row] <= most
            or alignment[row] & (alignment[row] - 1) != 0
        ):
            return row
    return -1


def explain(trace: Trace, row: int) -> str:
    """Why `row`, which `first_broken` found in `trace`, is wrong."""
    values = {name: int(column[row]) for name, column in trace.columns().items()}
    op = Op(values["op"])
    for name, (low, high) in LIMITS[op]._asdict().items():
        if not low <= values[name] <= high:
            return _explain_limit(op, name, values[name], low, high)
    if not 0 <= values["written"] <= (values["size"] if op <= _WRITES_UP_TO else 0):
        return (
            f"{op.label} of {values['size']} bytes with {values['written']} written; "
            "right is 0 to size for allocations, 0 for other ops"
        )
    return f"{op.label} with alignment {values['alignment']}; it must be a power of two"


def _explain_limit(op: Op, name: str, value: int, low: int, high: int) -> str:
    allowed = f"it must be {low}" if low == high else f"right is {low} to {high}"
    if name == "size" and value < 0:
        return f"{op.label} with negative size {value}; {allowed}"
    if value > MAX_SIZE_BYTES:
        return f"{op.label} with absurd {name} {value}; {allowed}"
    return f"{op.label} with {name} {value}; {allowed}"
