"""Runs cases for real and in simulation: every trace with every setting, rounds interleaved.

found = validate({"sqlite3": load_workload("sqlite3")}, [Setting("", {}, {})], ...)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from typing import Any

from allocsim.errors import InputError
from allocsim.ground_truth.calibration import (
    THOROUGH,
    Calibration,
    Effort,
    calibrator,
    cost_table,
)
from allocsim.ground_truth.calibration.machine import machine
from allocsim.ground_truth.calibration.measure import Rounds
from allocsim.ground_truth.measurement.allocators import Allocator
from allocsim.ground_truth.measurement.counts import checked_calls, count
from allocsim.ground_truth.measurement.measure import ROUNDS, Measured, case_of
from allocsim.ground_truth.measurement.prediction import predict
from allocsim.ground_truth.measurement.timing import time_cases
from allocsim.ground_truth.opstream import packed
from allocsim.ground_truth.replay import Writes
from allocsim.ground_truth.validation.comparison import Comparison
from allocsim.kernel import CostTable
from allocsim.machine import Machine
from allocsim.policy import Policy, shown_name
from allocsim.trace import TraceSource

MEASURED_BETWEEN = "measured between the rounds"
LEAST_SLICES = 4
"""Of a calibration, before each timing of a case: about 60 ms."""

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
    """All cases, traces in the outer and settings in the inner order.

    calibration: where the unit costs come from, if they were measured between the rounds.
    """

    comparisons: tuple[Comparison, ...]
    allocator: str
    policy: str
    costs: CostTable
    rounds: int
    calibration: Calibration | None = None


def validate(
    traces: Mapping[str, TraceSource],
    settings: Sequence[Setting],
    allocator: Allocator,
    policy: type[Policy],
    costs: CostTable | None,
    *,
    rounds: int = ROUNDS,
    environment: Mapping[str, str] | None = None,
    cpus: int | None = None,
    simulated_machine: Machine | None = None,
    effort: Effort = THOROUGH,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Validation:
    """Measure and simulate all cases. Raises ReplayError, InputError.

    costs: None measures the machine's unit costs between the timings, with the slices of `effort`
    in an order that `seed` decides, so that both meet the machine in the same moods.
    environment, cpus: of the real program; the settings' parameters say the same to the policy.
    simulated_machine: None for one with this machine's huge pages. progress: what is being done,
    how much of it is through, and of how much.
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
        calibrating = stack.enter_context(calibrator(effort, seed)) if costs is None else None
        between = _slices(calibrating.rounds, len(cases)) if calibrating else _nothing
        times = time_cases(cases, rounds, WRITES, lambda d, t: progress("timing", d, t), between)
        calibration = calibrating.calibration() if calibrating else None
    if calibration is not None:
        costs = cost_table(calibration, machine(), MEASURED_BETWEEN)
    assert costs is not None
    predictions = [
        predict(traces[name], policy, setting.parameters, costs, WRITES, simulated_machine)
        for name, setting in _told(order, "simulating", progress)
    ]
    compared = tuple(
        Comparison(name, setting.label, Measured(allocator, *real), predicted)
        for (name, setting), real, predicted in zip(
            order, zip(counts, times, strict=True), predictions, strict=True
        )
    )
    return Validation(compared, allocator.name, shown_name(policy), costs, rounds, calibration)


def _slices(rounds: Rounds, n_cases: int) -> Callable[[], None]:
    """What to measure before each timing of a case: at least a round in each round of cases."""
    n = max(LEAST_SLICES, ceil(rounds.n_tasks / n_cases))

    def measure() -> None:
        for _ in range(n):
            rounds.advance()

    return measure


def _nothing() -> None:
    pass


def _told(
    items: Sequence[Any], what: str, progress: Callable[[str, int, int], None]
) -> Iterator[Any]:
    """The items one by one, each announced."""
    for i, item in enumerate(items):
        progress(what, i, len(items))
        yield item
