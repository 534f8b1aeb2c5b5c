"""Runs of a policy under test."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from allocsim.check.progress import Progress
from allocsim.driver import Driver, driver_for
from allocsim.errors import AllocsimError, SimulationError
from allocsim.machine import Machine
from allocsim.policy import Policy
from allocsim.simulation import Result, simulate
from allocsim.trace import Trace

MAKE_DRIVER = Callable[..., Driver]


@contextmanager
def _as_failures() -> Iterator[None]:
    """What a policy raises outside of operations, in `setup` for example, is a failure, too."""
    try:
        yield
    except AllocsimError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"in {last.name} ({Path(last.filename).name}:{last.lineno})"
        raise SimulationError(f"{place}: {type(error).__name__}: {error}") from error


@dataclass
class Trial:
    """A policy under test, with the settings to test it with."""

    policy: type[Policy]
    parameters: dict[str, Any]
    compiles: bool
    progress: Progress = field(default_factory=Progress)
    machine: Machine = field(default_factory=Machine)

    def run(
        self, trace: Trace, mode: str = "interpreted", limits: dict[str, Any] | None = None,
        make_driver: MAKE_DRIVER = driver_for, walks: int = 2,
    ) -> tuple[Result, np.ndarray]:  # fmt: skip
        """The result of a run, and a row of addresses and one of faults, for each operation."""
        batches: list[np.ndarray] = []
        self.progress.start()
        with _as_failures():
            result = simulate(
                trace, self.policy, parameters=self.parameters, mode=mode,
                machine=self.machine.model_copy(update=limits or {}),
                make_driver=make_driver if mode == "compiled" else self._watching(make_driver),
                samples=2, walks=walks,
                on_ops=lambda addresses, faults: batches.append(np.stack([addresses, faults])),
            )  # fmt: skip
        return result, np.concatenate(batches, axis=1)

    def _watching(self, make_driver: MAKE_DRIVER) -> MAKE_DRIVER:
        return lambda *args, **parameters: self.progress.watch(make_driver(*args, **parameters))
