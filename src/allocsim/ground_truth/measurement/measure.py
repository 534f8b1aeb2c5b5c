"""Real allocators on one trace: calls, faults, resident memory, CPU time over interleaved rounds.

measured = measure(load_workload("sqlite3"), [find_allocator("jemalloc")], rounds=15)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from allocsim.errors import InputError
from allocsim.ground_truth.measurement.allocators import Allocator
from allocsim.ground_truth.measurement.counts import Counts, checked_calls, count
from allocsim.ground_truth.measurement.table import WRITES, Column
from allocsim.ground_truth.measurement.timing import Band, Case, Times, time_cases
from allocsim.ground_truth.opstream import OpStream, packed
from allocsim.ground_truth.replay import Writes
from allocsim.ground_truth.start import Surroundings, Tunables
from allocsim.trace import TraceSource

ROUNDS = 15


@dataclass(frozen=True)
class Measured:
    """One real allocator on one trace."""

    allocator: Allocator
    counts: Counts
    times: Times

    def column(self) -> Column:
        """Its figures for a table."""
        cpu = {kind: Band.of(values) for kind, values in self.times.cpu_ns.items()}
        wall = {kind: Band.of(values) for kind, values in self.times.wall_ns.items()}
        return Column(self.allocator.name, cpu, wall, self.counts.totals, self.counts.samples)

    def as_json(self) -> dict[str, Any]:
        """All figures, those of each round too."""
        return {
            "allocator": self.allocator.name,
            "library": self.allocator.library,
            "totals": self.counts.totals,
            "cpu_ns": _bands_and_rounds(self.times.cpu_ns),
            "wall_ns": _bands_and_rounds(self.times.wall_ns),
            "samples": {name: values.tolist() for name, values in self.counts.samples.items()},
        }


def _bands_and_rounds(times: Mapping[Writes, np.ndarray]) -> dict[str, Any]:
    """By what the program writes: the figure, 10th and 90th percentile, and each round's value."""
    return {
        k: {**asdict(Band.of(values)), "rounds": values.tolist()} for k, values in times.items()
    }


def measure(
    source: TraceSource,
    allocators: Sequence[Allocator],
    *,
    rounds: int = ROUNDS,
    writes: Sequence[Writes] = WRITES,
    tunables: Tunables = None,
    environment: Mapping[str, str] | None = None,
    cpus: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Run `source` on each allocator, by turns.

    tunables are for those that are glibc, environment for all. With several threads each runs as
    fast as it can. Raises ReplayError, InputError.
    """
    if rounds < 1:
        raise InputError("at least one round is needed")
    own_calls = checked_calls(source)
    with packed(source) as stream:
        cases = [case_of(stream, each, tunables, environment, cpus) for each in allocators]
        counts = [count(case, own_calls) for case in cases]
        times = time_cases(cases, rounds, writes, progress)
    return [Measured(*found) for found in zip(allocators, counts, times, strict=True)]


def case_of(
    stream: OpStream,
    allocator: Allocator,
    tunables: Tunables,
    environment: Mapping[str, str] | None,
    cpus: int | None,
) -> Case:
    """What is replayed for an allocator."""
    around = Surroundings(**allocator.with_environment(environment or {}))
    if cpus is not None:
        around["cpus"] = cpus
    return Case(stream, tunables if allocator.is_glibc else None, around)
