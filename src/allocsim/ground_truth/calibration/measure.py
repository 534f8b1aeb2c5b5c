"""Runs the benchmarks: rounds of one short slice each, in an order that a seed shuffles.

Interleaving spreads what disturbs the machine over all benchmarks instead of spoiling one.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from allocsim.cbuild import build
from allocsim.errors import AllocsimError
from allocsim.ground_truth.calibration.benchmark import Benchmark
from allocsim.ground_truth.calibration.contention import Contest
from allocsim.ground_truth.start import environment_of

SOURCE = Path(__file__).with_name("calibrate.c")
FLAGS = ("-pthread", "-fno-builtin")
SCRIPT_RUNS = 3
"""A script runs once in each start of the program, so a slice of it takes several."""
_LONGEST_S = 60


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    rounds: to make, unless limit_s have passed. slice_ns: of a slice. most_pages: larger benchmarks
    are left out. warm_pages: touched before the first round. resamples: for the intervals.
    """

    rounds: int
    slice_ns: int
    most_pages: int
    warm_pages: int
    resamples: int
    limit_s: float


THOROUGH = Effort(
    60, 15_000_000, most_pages=1 << 14, warm_pages=1 << 16, resamples=1000, limit_s=130
)
QUICK = Effort(4, 300_000, most_pages=1 << 10, warm_pages=1 << 12, resamples=100, limit_s=6)


@dataclass(frozen=True)
class Slice:
    """What one slice took: sums over its timed sections."""

    repetitions: int
    sections: int
    cpu_ns: int
    wall_ns: int
    faults: int

    def __add__(self, other: "Slice") -> "Slice":
        mine, others = vars(self).values(), vars(other).values()
        return Slice(*(a + b for a, b in zip(mine, others, strict=True)))


Task = Benchmark | Contest


def build_program() -> Path:
    """The program that runs benchmarks; InputError where it cannot be built."""
    return build(SOURCE, flags=FLAGS)


class Bench:
    """The compiled program, and the scripts that it can run."""

    def __init__(self, benchmarks: Sequence[Benchmark], folder: Path) -> None:
        self.program = build_program()
        self.scripts = {b.name: folder / b.name for b in benchmarks if b.script}
        for benchmark in benchmarks:
            if benchmark.script:
                self.scripts[benchmark.name].write_bytes(benchmark.script.packed())

    def warm_up(self, pages: int) -> None:
        """Touch memory, so that the host of a virtual machine provides it before we measure."""
        self._start("warm_up", 0, pages, 1)

    def slice(self, task: Task, slice_ns: int) -> Slice:
        """Measure one benchmark for about slice_ns."""
        if isinstance(task, Contest):
            return self._start(f"threads:{task.body}", slice_ns, task.pages, task.threads)
        if task.script is None:
            return self._start(task.body, slice_ns, task.pages, 1)
        runs = [self._script(task) for _ in range(SCRIPT_RUNS)]
        return sum(runs[1:], start=runs[0])

    def _script(self, task: Benchmark) -> Slice:
        assert task.script is not None
        path = str(self.scripts[task.name])
        took = self._start(task.body, 0, 1, 1, path, tunables=task.script.tunables)
        return Slice(**{**vars(took), "repetitions": task.script.n_steps})

    def _start(
        self, body: str, slice_ns: int, pages: int, threads: int, *more: str,
        tunables: dict[str, int] | None = None,
    ) -> Slice:  # fmt: skip
        command = [str(self.program), body, str(slice_ns), str(pages), str(threads), *more]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=_LONGEST_S,
                env=environment_of(tunables),
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise AllocsimError(f"benchmark {body} did not end within {_LONGEST_S} s") from error
        if ended.returncode != 0:
            reason = ended.stderr.strip() or f"status {ended.returncode}"
            raise AllocsimError(f"benchmark {body} failed: {reason}")
        return Slice(*map(int, ended.stdout.split()))


@contextmanager
def bench_for(benchmarks: Sequence[Benchmark]) -> Iterator[Bench]:
    """A bench whose scripts lie in a temporary folder."""
    with TemporaryDirectory(prefix="allocsim-") as folder:
        yield Bench(benchmarks, Path(folder))


@dataclass(frozen=True)
class Measurements:
    """Slices by name: `slices[name][round]`. All have the same number of rounds."""

    slices: dict[str, list[Slice]]
    seconds: float

    @property
    def rounds(self) -> int:
        return len(next(iter(self.slices.values())))

    def cpu_ns(self, name: str) -> np.ndarray:
        """Processor time of one repetition, by round."""
        return np.array([s.cpu_ns / s.repetitions for s in self.slices[name]])

    def wall_ns(self, name: str) -> np.ndarray:
        """Wall time of one repetition, by round."""
        return np.array([s.wall_ns / s.repetitions for s in self.slices[name]])

    def faults(self, name: str) -> float:
        """Page faults of one repetition."""
        slices = self.slices[name]
        return sum(s.faults for s in slices) / sum(s.repetitions for s in slices)

    def sections(self, name: str) -> float:
        """Timed sections for one repetition."""
        slices = self.slices[name]
        return sum(s.sections for s in slices) / sum(s.repetitions for s in slices)


class Rounds:
    """Measures tasks a slice at a time; every round takes all of them, in an order of its own."""

    def __init__(self, bench: Bench, tasks: Sequence[Task], slice_ns: int, seed: int) -> None:
        self._bench = bench
        self._tasks = tasks
        self._slice_ns = slice_ns
        self._rng = np.random.default_rng(seed)
        self._due: list[Task] = []
        self._found: dict[str, list[Slice]] = {task.name: [] for task in tasks}
        self._started = time.monotonic()

    @property
    def n_tasks(self) -> int:
        """How many slices make a round."""
        return len(self._tasks)

    @property
    def complete(self) -> int:
        """How many rounds are through."""
        return min(map(len, self._found.values()))

    @property
    def slices(self) -> int:
        """How many slices have been measured."""
        return sum(map(len, self._found.values()))

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started

    def advance(self) -> None:
        """Measure the next slice."""
        if not self._due:
            self._due = [self._tasks[i] for i in self._rng.permutation(len(self._tasks))]
        task = self._due.pop()
        self._found[task.name].append(self._bench.slice(task, self._slice_ns))

    def measurements(self) -> Measurements:
        """What was found, once the round that has begun is through."""
        while self._due:
            self.advance()
        return Measurements(self._found, self.seconds)


def make_rounds(rounds: Rounds, effort: Effort, progress: Callable[[int, int], None]) -> None:
    """Make rounds until there are enough or the time is up (but at least two).

    progress: is told slices made and slices to make.
    """
    n_slices = effort.rounds * rounds.n_tasks
    while rounds.complete < effort.rounds:
        if rounds.complete >= 2 and rounds.seconds > effort.limit_s:
            return
        for _ in range(rounds.n_tasks):
            rounds.advance()
            progress(rounds.slices, n_slices)
