"""A few operations that show a policy breaking a rule."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from allocsim.check import workloads
from allocsim.check.isolation import Ended, Limits, in_child
from allocsim.check.rules import watched_run
from allocsim.check.trial import Trial
from allocsim.policy import Policy
from allocsim.trace import Op, Trace

SEARCH_S = 8.0
LIMITS = Limits(op_s=5.0, total_s=2 * SEARCH_S)


def few_ops(policy: type[Policy]) -> tuple[str, Trace] | None:
    """The rule of the referee that a policy breaks first, and a short trace in which it does.

    The trace is as short as a search of SEARCH_S seconds makes it, and rarely the shortest there
    is. None if no rule is broken, or nothing comes of the search.
    """
    trial = Trial(policy, {}, compiles=False)
    for trace in (workloads.mixed(), workloads.large()):
        found = in_child(partial(_failing_rows, trial, trace), trial.progress, LIMITS)
        if found and not isinstance(found, Ended):
            rule, rows = found
            return rule, trace[np.array(rows)]  # type: ignore[index]
    return None


def _failing_rows(trial: Trial, trace: Trace) -> tuple[str, list[int]] | None:
    """The rule that is broken first, and rows of the trace with which it is; None if none is."""
    deadline = time.monotonic() + SEARCH_S

    def first_broken(rows: list[int]) -> str:
        fouls, _ = watched_run(trial, trace[np.array(rows, int)], None)  # type: ignore[index]
        return next(iter(fouls), "")

    rows = list(range(len(trace)))
    rule = first_broken(rows)
    if not rule:
        return None

    def fails(rows: list[int]) -> bool:
        return first_broken(rows) == rule

    rows = _shortest_prefix(rows, fails)
    size = max(len(rows) // 2, 1)
    while size and time.monotonic() < deadline:
        shorter = _without_pieces(trace, rows, size, fails, deadline)
        size = min(size, len(shorter) // 2) if len(shorter) < len(rows) else size // 2
        rows = shorter
    return rule, rows


def _shortest_prefix(rows: list[int], fails: Callable[[list[int]], bool]) -> list[int]:
    low, high = 0, len(rows)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(rows[:middle]) else (middle, high)
    return rows[:high]


def _without_pieces(
    trace: Trace,
    rows: list[int],
    size: int,
    fails: Callable[[list[int]], bool],
    deadline: float,
) -> list[int]:
    """The rows without all pieces of `size` rows that are not needed."""
    start = 0
    while start < len(rows) and time.monotonic() < deadline:
        shorter = _possible(trace, rows[:start] + rows[start + size :])
        if shorter and fails(shorter):
            rows = shorter
        else:
            start += size
    return rows


def _possible(trace: Trace, rows: list[int]) -> list[int]:
    """The rows that a program could make: none that frees nothing, or loses a block."""
    live: set[int] = set()
    possible = []
    for row in rows:
        op, slot = int(trace.op[row]), int(trace.object[row])
        if op in (Op.MALLOC, Op.CALLOC, Op.ALIGNED_ALLOC):
            if slot in live:
                continue
            live.add(slot)
        elif op == Op.REALLOC:
            live.add(slot)
        elif slot not in live:
            continue
        elif op == Op.FREE:
            live.discard(slot)
        possible.append(row)
    return possible
