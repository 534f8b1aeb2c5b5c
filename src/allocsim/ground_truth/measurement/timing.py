"""Repeated timed replays of several cases, interleaved, so that the machine's moods meet them all.

What the replayer itself takes is timed by replays without calls and subtracted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from allocsim.ground_truth.opstream import OpStream
from allocsim.ground_truth.quiet import QUIET, quiet
from allocsim.ground_truth.replay import Writes, time_replay
from allocsim.ground_truth.start import Surroundings, Tunables

LOW, HIGH = 0.1, 0.9
ENOUGH_NS, MOST_REPLAYS = 50_000_000, 5
"""A replay is repeated within a round until it took so long in all, or so often."""


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
    kept: list[dict[Writes, list[np.ndarray]]] = [{kind: [] for kind in writes} for _ in cases]
    loops: list[list[np.ndarray]] = [[] for _ in cases]
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


def _timed(case: Case, writes: Writes, null: bool = False) -> np.ndarray:
    """Processor time without waiting, and wall time, in nanoseconds, of one round.

    The median of several replays where they are short: what one of a few milliseconds takes depends
    on where its pages happen to lie and what the caches held before.
    """
    taken: list[tuple[int, int]] = []
    while len(taken) < MOST_REPLAYS and sum(wall for _, wall in taken) < ENOUGH_NS:
        timing = time_replay(
            case.stream,
            case.tunables,
            writes=writes,
            null=null,
            free_threads=case.stream.n_threads > 1,
            **case.surroundings,
        )
        taken.append((timing.working_ns, timing.wall_ns))
    return np.median(taken, axis=0)


def _net(
    case: Case, timings: Mapping[Writes, Sequence[np.ndarray]], loops: Sequence[np.ndarray]
) -> Times:
    """Without the loop's own time, which is that of an undisturbed round."""
    own_cpu, own_wall = quiet(np.transpose(loops))
    cpu = {kind: np.transpose(rows)[0] - own_cpu for kind, rows in timings.items()}
    wall = {kind: np.transpose(rows)[1] - own_wall for kind, rows in timings.items()}
    net = [{k: np.maximum(v, 0.0) for k, v in each.items()} for each in (cpu, wall)]
    return Times(net[0], net[1] if case.stream.n_threads > 1 else {})
