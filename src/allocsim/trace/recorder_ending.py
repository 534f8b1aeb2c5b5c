"""What `record` itself knows of a recording: a small file among the logs, so that they suffice for
the traces, even if `record` is killed.

The file gets its room before the program runs: a disk that is full afterwards still takes it.
"""

import json
import os
import resource
import secrets
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from allocsim.errors import InputError

NAME = "ending.json"
ROOM_BYTES = 1024


@dataclass(frozen=True)
class Ending:
    """The recording `recording` (a random name) of the program `pid`, and how that ended.

    wait_status: as of wait(2); the figures after it are those of its resource usage. None while the
    program runs, and for good if `record` was killed before it. ticks_per_ns: the recorder's clock
    against real time.
    """

    recording: str
    pid: int
    ticks_per_ns: float
    wait_status: int | None = None
    peak_kib: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    cpu_ns: int = 0

    def at_end(
        self, wait_status: int, usage: resource.struct_rusage, ticks_per_ns: float
    ) -> "Ending":
        """The same, with what wait4(2) returned."""
        return replace(
            self,
            ticks_per_ns=ticks_per_ns,
            wait_status=wait_status,
            peak_kib=usage.ru_maxrss,
            minor_faults=usage.ru_minflt,
            major_faults=usage.ru_majflt,
            cpu_ns=int((usage.ru_utime + usage.ru_stime) * 1e9),
        )

    @property
    def exit_code(self) -> int:
        """The program's, or 128 + n if signal n ended it; 0 if nobody knows."""
        code = os.waitstatus_to_exitcode(self.wait_status or 0)
        return code if code >= 0 else 128 - code

    def save(self, folder: Path) -> None:
        """Write it into the room that `reserve` made among the logs in `folder`."""
        with (folder / NAME).open("r+b") as file:
            file.write(json.dumps(asdict(self)).encode().ljust(ROOM_BYTES))


def reserve(folder: Path) -> str:
    """Make room for an ending among the logs in `folder`; returns a name for the recording."""
    (folder / NAME).write_bytes(b" " * ROOM_BYTES)
    return secrets.token_hex(8)


def read_ending(folder: Path) -> Ending:
    """The ending among the logs in `folder`; InputError if it holds no recording, or one that its
    program is still adding to."""
    try:
        text = (folder / NAME).read_text(encoding="utf-8").strip()
        if not text:
            raise InputError(
                f"{folder}: the recording has no start: allocsim was killed as the program began; "
                "record it once more"
            )
        ending = _from_json(json.loads(text))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{folder}: not a folder that `allocsim record` kept; it says which one it keeps"
        ) from None
    if ending.wait_status is None and _still_runs(ending.pid, folder):
        raise InputError(
            f"{folder}: the program still runs (process {ending.pid}); "
            "convert its recording when it has ended"
        )
    return ending


def _from_json(values: dict[str, object]) -> Ending:
    """Raises ValueError or TypeError for what `save` did not write."""
    ending = Ending(**{f.name: values[f.name] for f in fields(Ending) if f.name in values})  # type: ignore[arg-type]
    known = (int, float, type(None))
    numbers = [value for name, value in asdict(ending).items() if name != "recording"]
    if not isinstance(ending.recording, str) or not all(type(n) in known for n in numbers):
        raise ValueError
    if not ending.ticks_per_ns > 0:
        raise ValueError
    return ending


def _still_runs(pid: int, folder: Path) -> bool:
    """Whether that process exists and was started to be recorded into `folder`."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return os.fsencode(folder.absolute()) in environment
