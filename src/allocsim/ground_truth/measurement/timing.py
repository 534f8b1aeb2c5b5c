"""Repeated timed replays of several cases, interleaved, so that the machine's moods meet them all.

What the replayer itself takes is timed by replays without calls and subtracted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from allocsim.ground_truth.opstream import OpStream
from allocsim.ground_truth.quiet import QUIET, quiet
from allocsim.ground_truth.replay import Timing, Writes, time_replay
from allocsim.ground_truth.start import Surroundings, Tunables

LOW, HIGH = 0.1, 0.9


@dataclass(frozen=True)
class Band:
    """What an undisturbed round took, or what was predicted; and the range around it.

    low, high: the 10th and 90th percentile of repeated measurements, or an interval's ends.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Band":
        """From the rounds' values, at least one."""
        low, value, high = np.quantile(np.asarray(values, float), [LOW, QUIET, HIGH]).tolist()
        return cls(value, low, high)

    @property
    def spread(self) -> float:
        """The band's width as a share of the value; 0 where that is nothing."""
        return (self.high - self.low) / self.value if self.value > 0 else 0.0


@dataclass(frozen=True)
class Case:
    """A trace with an allocator and its settings: something to be timed."""

    stream: OpStream
    tunables: Tunables = None
    surroundings: Surroundings = field(default_factory=lambda: Surroundings())


@dataclass(frozen=True)
class Times:
    """What a case took, round by round, the replayer's own time subtracted.

    cpu_ns: processor time of user and kernel by what the program writes, without what threads spent
    on waiting for each other's objects. wall_ns: where several threads ran, empty for one thread.
    """

    cpu_ns: Mapping[Writes, np.ndarray]
    wall_ns: Mapping[Writes, np.ndarray]


def time_cases(
    cases: Sequence[Case],
    rounds: int,
    writes: Sequence[Writes],
    progress: Callable[[int, int], None] = lambda done, total: None,
    between: Callable[[], None] = lambda: None,
) -> list[Times]:
    """Time all cases once in each round, after one round that warms machine and caches up.

    Threads run freely. between: called before each timing of a case, for what else is to be
    measured in the same minutes. Raises ReplayError, InputError.
    """
    n_steps = (rounds + 1) * len(cases)
    kept: list[dict[Writes, list[Timing]]] = [{kind: [] for kind in writes} for _ in cases]
    loops: list[list[Timing]] = [[] for _ in cases]
    for step in range(n_steps):
        turn, place = divmod(step, len(cases))
        case = place if turn % 2 else len(cases) - 1 - place  # no case is always after another
        between()
        timings = {kind: _timed(cases[case], kind) for kind in writes}
        loop = _timed(cases[case], "none", null=True)
        if turn > 0:
            for kind, timing in timings.items():
                kept[case][kind].append(timing)
            loops[case].append(loop)
        progress(step + 1, n_steps)
    return [_net(*found) for found in zip(cases, kept, loops, strict=True)]


def _timed(case: Case, writes: Writes, null: bool = False) -> Timing:
    return time_replay(
        case.stream,
        case.tunables,
        writes=writes,
        null=null,
        free_threads=case.stream.n_threads > 1,
        **case.surroundings,
    )


def _net(case: Case, timings: Mapping[Writes, Sequence[Timing]], loops: Sequence[Timing]) -> Times:
    """Without the loop's own time, which is that of an undisturbed round."""

    def net(name: str) -> dict[Writes, np.ndarray]:
        own = quiet(_column(loops, name))
        return {kind: np.maximum(_column(rows, name) - own, 0.0) for kind, rows in timings.items()}

    return Times(net("working_ns"), net("wall_ns") if case.stream.n_threads > 1 else {})


def _column(timings: Sequence[Timing], name: str) -> np.ndarray:
    return np.array([getattr(timing, name) for timing in timings], float)
