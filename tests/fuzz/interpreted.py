"""What a fuzzed child does differently: simulations run interpreted, and none of them is long."""

from typing import Any

import allocsim.simulation

MOST_OPS = 3000
MOST_RUNS = 8


def prepare() -> None:
    """Long runs, and a sweep after its first runs, are interrupted as by Ctrl-C: exit code 130."""
    execute, n_runs = allocsim.simulation.execute, 0

    def limited(run: Any, *rest: Any) -> None:
        nonlocal n_runs
        n_runs += 1
        n_ops = run.source.n_ops
        if n_runs > MOST_RUNS or n_ops is None or n_ops > MOST_OPS:
            raise KeyboardInterrupt
        execute(run, *rest)

    allocsim.simulation.execute = limited
    allocsim.simulation.runs_compiled = lambda *_: False
