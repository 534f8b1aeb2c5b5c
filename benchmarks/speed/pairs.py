"""Simulated and real time of the same trace, measured in turns."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from allocsim.component import host_memory
from allocsim.driver import driver_for
from allocsim.engine import drive_columns, no_samples
from allocsim.ground_truth import OpStream, packed, time_replay
from allocsim.policy import Policy, load_policy
from allocsim.trace import BATCH_OPS, Trace

RUNS_BEFORE = 3
"""Runs that are not counted, after which kept memory is as it stays."""
SHORTEST_NS = 100_000_000
"""What one measurement should take at least; shorter runs are repeated within it."""


@dataclass(frozen=True)
class Case:
    """One row of the table: a trace, a policy, and the settings that make the real library alike.

    most_ratio: the bar for simulated time / real time, with nothing and with everything written.
    interpreted_ops: how much of it is run interpreted, too.
    """

    name: str
    trace: Trace
    policy: str = "glibc"
    tunables: Mapping[str, int] | None = None
    most_ratio: tuple[float | None, float | None] = (None, None)
    interpreted_ops: int = 100_000


@dataclass
class Row:
    """Nanoseconds of processor time per operation, one figure per round."""

    case: Case
    writing: bool
    compiled: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  # compiled, as the first run of a process
    real: list[float] = field(default_factory=list)
    interpreted: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Simulated / real, round by round."""
        return [ours / theirs for ours, theirs in zip(self.compiled, self.real, strict=True)]

    @property
    def first_ratios(self) -> list[float]:
        """The same for runs that are the first of a process."""
        return [ours / theirs for ours, theirs in zip(self.first, self.real, strict=True)]

    @property
    def bar(self) -> float | None:
        return self.case.most_ratio[self.writing]

    def figures(self) -> dict[str, object]:
        """All of it in plain values."""
        return {
            "trace": self.case.name,
            "policy": self.case.policy,
            "ops": len(self.case.trace),
            "written": "all" if self.writing else "nothing",
            "compiled_ns": spread(self.compiled),
            "first_ns": spread(self.first),
            "real_ns": spread(self.real),
            "ratio": spread(self.ratios),
            "ratio_at_most": self.bar,
            "first_ratio": spread(self.first_ratios),
            "interpreted_ns": spread(self.interpreted),
            "replay_loop_ns": spread(self.loop),
        }


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    figures = np.median(values), min(values), max(values)
    return dict(zip(("median", "low", "high"), (round(float(x), 3) for x in figures), strict=True))


def measure(case: Case, rounds: int) -> list[Row]:
    """Time a case: nothing written, then all written, each `rounds` times in turns."""
    policy = load_policy(case.policy)
    rows = [Row(case, writing) for writing in (False, True)]
    with packed(case.trace) as stream:
        repeats = _repeats(case, stream)
        prefix = case.trace[: case.interpreted_ops]
        for _ in range(RUNS_BEFORE):
            simulated_ns(policy, case.trace, False)
        for number in range(rounds):
            for row in rows:
                _measure_round(row, policy, stream, repeats)
                if number < 3:
                    row.interpreted.append(
                        simulated_ns(policy, prefix, row.writing, compiled=False, fresh=True)
                    )
    return rows


def _measure_round(row: Row, policy: type[Policy], stream: OpStream, repeats: int) -> None:
    simulated = partial(simulated_ns, policy, row.case.trace, row.writing)
    writes = "fill" if row.writing else "none"
    real = partial(time_replay, stream, row.case.tunables, writes=writes)
    row.first.append(_mean(repeats, lambda: simulated(fresh=True)))
    row.real.append(_mean(repeats, lambda: _per_op(real())))
    row.compiled.append(_mean(repeats, simulated))
    row.loop.append(_per_op(time_replay(stream, null=True)))


def _repeats(case: Case, stream: OpStream) -> int:
    shortest = time_replay(stream, case.tunables, writes="none").cpu_ns
    return max(1, SHORTEST_NS // shortest)


def _mean(times: int, measured: Callable[[], float]) -> float:
    return sum(measured() for _ in range(times)) / times


def _per_op(timing) -> float:
    return timing.cpu_ns / timing.ops


def simulated_ns(
    policy: type[Policy], trace: Trace, writing: bool, *, compiled: bool = True, fresh: bool = False
) -> float:
    """Processor time per op of the driver's loop over a trace in memory, by a new policy.

    It includes clearing the memory that the run before gave up; `fresh` starts without any.
    """
    if fresh:
        with host_memory.set_aside():
            return simulated_ns(policy, trace, writing, compiled=compiled)
    started = time.process_time_ns()
    host_memory.clear()
    cleared_ns = time.process_time_ns() - started
    driver = driver_for(policy)
    driver.writing = int(writing)
    batches = [(len(part), drive_columns(part)) for part in trace.batches(BATCH_OPS)]
    if compiled:
        driver.run(
            "drive_sampled", *drive_columns(trace[:0]), 0, 0, *no_samples(), compiled=True
        )  # load the code
    started = time.process_time_ns()
    for n, columns in batches:
        driver.run("drive_sampled", *columns, 0, n, *no_samples(), compiled=compiled)
    driven_ns = time.process_time_ns() - started
    driver.close()
    return (cleared_ns + driven_ns) / len(trace)
