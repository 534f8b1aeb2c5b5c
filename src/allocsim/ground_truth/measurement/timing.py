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
    kept: list[dict[str, list[Timing]]] = [{} for _ in cases]
    for step in range(n_steps):
        turn, place = divmod(step, len(cases))
        case = place if turn % 2 else len(cases) - 1 - place  # no case is always after another
        between()
        for kind in (*writes, "null"):
            timing = _timed(cases[case], kind)
            if turn > 0:
                kept[case].setdefault(kind, []).append(timing)
        progress(step + 1, n_steps)
    return [_net(case, timings) for case, timings in zip(cases, kept, strict=True)]


def _timed(case: Case, kind: str) -> Timing:
    null = kind == "null"
    return time_replay(
        case.stream,
        case.tunables,
        writes="none" if null else kind,  # type: ignore[arg-type]
        null=null,
        free_threads=case.stream.n_threads > 1,
        **case.surroundings,
    )


def _net(case: Case, timings: Mapping[str, Sequence[Timing]]) -> Times:
    """Without the loop's own time, which is that of an undisturbed round."""
    own = {name: _column(timings["null"], name) for name in ("working_ns", "wall_ns")}

    def net(name: str) -> dict[Writes, np.ndarray]:
        return {
            kind: np.maximum(_column(rows, name) - quiet(own[name]), 0.0)  # type: ignore[misc]
            for kind, rows in timings.items()
            if kind != "null"
        }

    return Times(net("working_ns"), net("wall_ns") if case.stream.n_threads > 1 else {})


def _column(timings: Sequence[Timing], name: str) -> np.ndarray:
    return np.array([getattr(timing, name) for timing in timings], float)
