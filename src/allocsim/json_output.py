"""Results as JSON, in one shape for all commands.

An object with `allocsim` (the version), `command`, and what the command found. Numbers that are
undefined (nan) or infinite are null.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import allocsim
from allocsim.outputs import AtomicFile


@dataclass(frozen=True)
class JsonOutput:
    """Where a command writes its results as JSON: standard output, a file, both or neither."""

    to_stdout: bool = False
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.file is not None:
            AtomicFile(self.file).discard()  # an impossible one is refused before the work

    @property
    def replaces_text(self) -> bool:
        """Whether standard output is JSON, so that nothing else may go there."""
        return self.to_stdout

    def write(self, command: str, found: dict[str, Any]) -> None:
        """Write what `command` found, where that was asked for."""
        if not self.to_stdout and self.file is None:
            return
        text = json.dumps(
            json_ready({"allocsim": allocsim.__version__, "command": command, **found}),
            indent=2,
            allow_nan=False,
        )
        if self.file is not None:
            AtomicFile(self.file).write_text(text + "\n")
        if self.to_stdout:
            print(text)


def json_ready(value: Any) -> Any:
    """The value with NumPy's numbers and arrays as Python's, and undefined numbers as null."""
    match value:
        case dict():
            return {str(key): json_ready(inner) for key, inner in value.items()}
        case list() | tuple():
            return [json_ready(inner) for inner in value]
        case np.ndarray():
            return json_ready(value.tolist())
        case np.generic():
            return json_ready(value.item())
        case float() if not math.isfinite(value):
            return None
    return value
