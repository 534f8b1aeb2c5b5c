"""Calibrates this machine: in one go, or in between what else is timed.

Machines change their speed within minutes, virtual ones by a third. Costs that shall predict other
measurements are therefore best measured in the same minutes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from allocsim.errors import AllocsimError
from allocsim.ground_truth.calibration.benchmark import Benchmark
from allocsim.ground_truth.calibration.benchmarks import all_benchmarks
from allocsim.ground_truth.calibration.contention import contests, thread_counts
from allocsim.ground_truth.calibration.figures import Calibration, figures
from allocsim.ground_truth.calibration.machine import huge_pages_setting
from allocsim.ground_truth.calibration.measure import (
    Bench,
    Effort,
    Rounds,
    Task,
    bench_for,
    make_rounds,
)
from allocsim.platform_support import require_glibc

HUGE_PAGES_ALLOWED = ("always", "madvise")


class Calibrator:
    """A calibration in the making."""

    def __init__(
        self, bench: Bench, benchmarks: Sequence[Benchmark], effort: Effort, seed: int
    ) -> None:
        self._benchmarks = benchmarks
        self._threads = thread_counts()
        self._effort = effort
        self._seed = seed
        tasks: list[Task] = [*benchmarks, *contests(self._threads)]
        self.rounds = Rounds(bench, tasks, effort.slice_ns, seed)

    def calibration(self) -> Calibration:
        """What the rounds say; the one that has begun is completed."""
        found = self.rounds.measurements()
        rng = np.random.default_rng(self._seed)
        return figures(found, self._benchmarks, self._threads, self._effort.resamples, rng)


@contextmanager
def calibrator(effort: Effort, seed: int) -> Iterator[Calibrator]:
    """A calibrator with no round made yet. Raises InputError without a C compiler or Linux."""
    require_glibc("calibrate")
    listed = all_benchmarks(huge_pages_setting() in HUGE_PAGES_ALLOWED)
    benchmarks = [b for b in listed if b.pages <= effort.most_pages]
    with bench_for(benchmarks) as bench:
        known = [b for b in benchmarks if b.events or b.script or _works(bench, b, effort)]
        bench.warm_up(effort.warm_pages)
        yield Calibrator(bench, known, effort, seed)


def calibrate(effort: Effort, seed: int, progress: Callable[[int, int], None]) -> Calibration:
    """Measure this machine in one go. Raises InputError without a C compiler or Linux."""
    with calibrator(effort, seed) as calibrating:
        make_rounds(calibrating.rounds, effort, progress)
        return calibrating.calibration()


def _works(bench: Bench, task: Task, effort: Effort) -> bool:
    """Whether the kernel knows what a benchmark asks for; those outside of the fit can be missed.

    A huge page must come with one fault.
    """
    try:
        took = bench.slice(task, effort.slice_ns)
    except AllocsimError:
        return False
    return not task.name.startswith("huge_fault") or took.faults == took.repetitions
