"""How a recorded program ended: a small file among its logs, so that they suffice for its traces.

The file gets its room before the program runs: a disk that is full afterwards still takes it.
"""

import json
import os
import resource
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from allocsim.errors import InputError

NAME = "ending.json"
ROOM_BYTES = 1024


@dataclass(frozen=True)
class Ending:
    """The end of the program `pid`, as its parent saw it.

    wait_status: as of wait(2); the other figures are those of its resource usage. ticks_per_ns: the
    recorder's clock against real time.
    """

    pid: int
    wait_status: int
    peak_kib: int
    minor_faults: int
    major_faults: int
    cpu_ns: int
    ticks_per_ns: float

    @classmethod
    def of(
        cls, pid: int, wait_status: int, usage: resource.struct_rusage, ticks_per_ns: float
    ) -> "Ending":
        """From what wait4(2) returned."""
        return cls(
            pid=pid,
            wait_status=wait_status,
            peak_kib=usage.ru_maxrss,
            minor_faults=usage.ru_minflt,
            major_faults=usage.ru_majflt,
            cpu_ns=int((usage.ru_utime + usage.ru_stime) * 1e9),
            ticks_per_ns=ticks_per_ns,
        )

    @property
    def exit_code(self) -> int:
        """The program's, or 128 + n if signal n ended it."""
        code = os.waitstatus_to_exitcode(self.wait_status)
        return code if code >= 0 else 128 - code

    def save(self, folder: Path) -> None:
        """Write it into the room that `reserve` made among the logs in `folder`."""
        with (folder / NAME).open("r+b") as file:
            file.write(json.dumps(asdict(self)).encode())


def reserve(folder: Path) -> None:
    """Make room for an ending among the logs in `folder`."""
    (folder / NAME).write_bytes(b" " * ROOM_BYTES)


def read_ending(folder: Path) -> Ending:
    """The ending among the logs in `folder`; InputError if it holds no recording, or no end."""
    try:
        text = (folder / NAME).read_text(encoding="utf-8").strip()
        if not text:
            raise InputError(
                f"{folder}: the recording has no end: allocsim was killed before the program; "
                "record it once more"
            )
        known = {field.name for field in fields(Ending)}
        return Ending(**{name: value for name, value in json.loads(text).items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(
            f"{folder}: not a folder that `allocsim record` kept; it says which one it keeps"
        ) from None
