"""The processes of a recording, as each described itself: `recorder_log.h` defines the format."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from allocsim.trace.recorder_log import HEADER_BYTES, LOG_VERSION, Resident, merged_events

NAME_BYTES = 1024
_N_NUMBERS = 16


@dataclass(frozen=True)
class Process:
    """One program run by one process, as described by its file `path`.

    Times are in ticks of the recorder's clock, memory in KiB; `file_kib` is what of the resident
    memory at the end belongs to files, such as code. `has_ended` tells whether the figures at its
    end are known; `stopped` is the order number from which on events may be missing, or None, and
    `stop_error` the errno that stopped the recording. `environment` has the variables that C
    libraries' allocators read. `is_first` is False if the process had run another program before.
    """

    path: Path
    pid: int
    parent: int
    start_ticks: int
    start_faults: int
    start_peak_kib: int
    has_ended: bool
    peak_kib: int
    file_kib: int
    minor_faults: int
    major_faults: int
    cpu_ns: int
    stopped: int | None
    stop_error: int
    other_mappings: int
    allocator_is_foreign: bool
    program: str
    environment: dict[str, str]
    arguments: tuple[str, ...]
    is_first: bool = True

    @property
    def faults_before(self) -> int:
        """Minor faults of the programs that the process ran before this one."""
        return 0 if self.is_first else self.start_faults

    @property
    def name(self) -> str:
        """The program's, without its folder."""
        return Path(self.program).name or "unknown"

    def logs(self) -> list[Path]:
        """The files with its threads' events; those after a change of user lie deeper."""
        own = self.path.parent.glob(f"{self.path.stem}.*.log")
        return sorted([*own, *self.path.parent.glob(f"**/of.{self.path.stem}.*.log")])

    def resident(self) -> Resident | None:
        """What was resident at its end, if it ended by itself."""
        deeper = self.path.parent.glob(f"**/of.{self.path.stem}.resident")
        paths = [self.path.with_suffix(".resident"), *deeper]
        found = [path for path in paths if path.is_file()]
        return Resident(found[-1]) if self.has_ended and found else None

    def events(self) -> Iterator[np.ndarray]:
        """All its events, as arrays of `EVENT`, in order."""
        for events in merged_events(self.logs()):
            if self.stopped is None:
                yield events
            else:
                yield events[events["order"] < self.stopped]


def read_processes(folder: Path) -> tuple[list[Process], list[Path]]:
    """All processes that left a file in `folder`, by the time they started, and the files of those
    that were killed, or found no room, before they could describe themselves."""
    found: list[Process] = []
    unfinished: list[Path] = []
    for path in sorted(folder.glob("**/*.process")):
        process = _read_process(path)
        if process is None:
            unfinished.append(path)
        else:
            found.append(process)
    found.sort(key=lambda process: (process.start_ticks, process.path.name))
    firsts = {process.pid: process for process in reversed(found)}
    return [replace(p, is_first=firsts[p.pid] is p) for p in found], unfinished


def _read_process(path: Path) -> Process | None:
    data = path.read_bytes() if path.is_file() else b""
    if len(data) != HEADER_BYTES:
        return None
    numbers = struct.unpack_from(f"<{_N_NUMBERS}Q", data)
    if numbers[0] != LOG_VERSION:
        return None
    text = data[_N_NUMBERS * 8 :]
    return Process(
        path=path,
        pid=numbers[1],
        parent=numbers[2],
        start_ticks=numbers[3],
        start_faults=numbers[4],
        start_peak_kib=numbers[5],
        has_ended=bool(numbers[6]),
        peak_kib=numbers[7],
        file_kib=numbers[8],
        minor_faults=numbers[9],
        major_faults=numbers[10],
        cpu_ns=numbers[11],
        stopped=numbers[12] - 1 if numbers[12] else None,
        stop_error=numbers[13],
        other_mappings=numbers[14],
        allocator_is_foreign=bool(numbers[15]),
        program=text[:NAME_BYTES].split(b"\0")[0].decode(errors="replace"),
        environment=_variables(text[NAME_BYTES : 2 * NAME_BYTES]),
        arguments=_texts(text[2 * NAME_BYTES :]),
    )


def _texts(data: bytes) -> tuple[str, ...]:
    return tuple(text.decode(errors="replace") for text in data.rstrip(b"\0").split(b"\0"))


def _variables(data: bytes) -> dict[str, str]:
    entries = (text.partition("=") for text in _texts(data))
    return {name: value for name, sign, value in entries if sign}
