"""Runs cases for real and in simulation: every trace with every setting, rounds interleaved.

found = validate({"sqlite3": load_workload("sqlite3")}, [Setting("", {}, {})], ...)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from allocsim.errors import InputError
from allocsim.ground_truth.measurement.allocators import Allocator
from allocsim.ground_truth.measurement.counts import checked_calls, count
from allocsim.ground_truth.measurement.measure import ROUNDS, Measured, case_of
from allocsim.ground_truth.measurement.prediction import predict
from allocsim.ground_truth.measurement.timing import time_cases
from allocsim.ground_truth.opstream import packed
from allocsim.ground_truth.replay import Writes
from allocsim.ground_truth.validation.comparison import Comparison
from allocsim.kernel import CostTable
from allocsim.policy import Policy
from allocsim.trace import TraceSource

WRITES: tuple[Writes, ...] = ("fill", "none")
"""All that the program does; and allocator and kernel alone."""


@dataclass(frozen=True)
class Setting:
    """The same setting for both worlds: what the real allocator is told, and the policy.

    label: "" for the defaults, which others are compared with.
    """

    label: str
    tunables: Mapping[str, int]
    parameters: Mapping[str, int | float]


@dataclass(frozen=True)
class Validation:
    """All cases, traces in the outer and settings in the inner order."""

    comparisons: tuple[Comparison, ...]
    allocator: str
    policy: str
    costs: CostTable
    rounds: int


def validate(
    traces: Mapping[str, TraceSource],
    settings: Sequence[Setting],
    allocator: Allocator,
    policy: type[Policy],
    costs: CostTable,
    *,
    rounds: int = ROUNDS,
    environment: Mapping[str, str] | None = None,
    cpus: int | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Validation:
    """Measure and simulate all cases. Raises ReplayError, InputError.

    environment, cpus: of the real program; the settings' parameters say the same to the policy.
    progress: what is being done, how much of it is through, and of how much.
    """
    if rounds < 1 or not traces:
        raise InputError("at least one trace and one round are needed")
    own_calls = {name: checked_calls(source) for name, source in traces.items()}
    order = [(name, setting) for name in traces for setting in settings]
    with ExitStack() as stack:
        streams = {name: stack.enter_context(packed(source)) for name, source in traces.items()}
        cases = [case_of(streams[n], allocator, s.tunables, environment, cpus) for n, s in order]
        pairs = list(zip(order, cases, strict=True))
        counts = [
            count(case, own_calls[name]) for (name, _), case in _told(pairs, "observing", progress)
        ]
        times = time_cases(cases, rounds, WRITES, lambda d, t: progress("timing", d, t))
    predictions = [
        predict(traces[name], policy, setting.parameters, costs, WRITES)
        for name, setting in _told(order, "simulating", progress)
    ]
    compared = [
        Comparison(name, setting.label, Measured(allocator, *real), predicted)
        for (name, setting), real, predicted in zip(
            order, zip(counts, times, strict=True), predictions, strict=True
        )
    ]
    return Validation(tuple(compared), allocator.name, policy.__name__, costs, rounds)


def _told(
    items: Sequence[Any], what: str, progress: Callable[[str, int, int], None]
) -> Iterator[Any]:
    """The items one by one, each announced."""
    for i, item in enumerate(items):
        progress(what, i, len(items))
        yield item
