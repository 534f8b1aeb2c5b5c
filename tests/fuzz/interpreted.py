"""What a fuzzed child does differently: simulations run interpreted, and nothing takes long."""

from collections.abc import Callable
from typing import Any

import allocsim.ground_truth.measurement.timing
import allocsim.simulation

MOST_OPS = 3000
MOST_RUNS = 8
MOST_REPLAYS = 60


def prepare() -> None:
    """Long runs, and what follows the first runs, are interrupted as by Ctrl-C: exit code 130."""
    simulation, timing = allocsim.simulation, allocsim.ground_truth.measurement.timing
    simulation.execute = _at_most(MOST_RUNS, _unless_long(simulation.execute))
    simulation.runs_compiled = lambda *_: False
    timing.time_replay = _at_most(MOST_REPLAYS, timing.time_replay)


def _unless_long(execute: Callable[..., None]) -> Callable[..., None]:
    def limited(run: Any, *rest: Any) -> None:
        if run.source.n_ops is None or run.source.n_ops > MOST_OPS:
            raise KeyboardInterrupt
        execute(run, *rest)

    return limited


def _at_most(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    left = calls

    def limited(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return limited
