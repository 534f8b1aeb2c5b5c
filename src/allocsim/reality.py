"""Real programs and the real C library, from Python: `record` and `verify`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allocsim.arguments import plain
from allocsim.errors import InputError
from allocsim.runspec import Workload, source_of

if TYPE_CHECKING:
    from allocsim.ground_truth.verdict import Verdict
    from allocsim.trace.recorder_traces import Recording


def record(
    command: Sequence[str | os.PathLike[str]], output: str | Path, *, force: bool = False
) -> "Recording":
    """Run a program and write its memory calls to the trace `output`; see `allocsim record`.

    command: the program and its arguments. force: replace an earlier recording. The recording has
    the program's `exit_code` and the paths of the `traces`. InputError when the program cannot be
    recorded, OutputError when the trace cannot be written.
    """
    from allocsim.trace.recorder import record

    if isinstance(command, str) or not command:
        raise InputError('command: a list, the program and its arguments: ["sort", "numbers.txt"]')
    return record([os.fspath(word) for word in command], Path(output), force=force)


def verify(
    workload: Workload,
    parameters: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    **more_parameters: Any,
) -> "Verdict":
    """Run a workload on the real glibc and on its model, and compare them op by op.

    workload, seed: as in `simulate`. Parameters of the policy `glibc`, for both, are given by name,
    or in `parameters`. The verdict says whether they are `equal`, and where they differ first.
    InputError for wrong parameters, ReplayError where the real library cannot be run.
    """
    from allocsim.experiment.settings import Settings
    from allocsim.ground_truth import verify_command

    values = plain({**(parameters or {}), **more_parameters})
    settings = Settings(tuple(f"{name}={value}" for name, value in values.items()))
    return verify_command.run(source_of(workload, seed), settings)
