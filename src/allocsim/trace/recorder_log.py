"""Reads what the recorder's C library left: `recorder_log.h` defines the formats.

A process leaves one file that describes it, a log for each of its threads that ran at the same
time, and, if it ended by itself, the list of its resident pages.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

LOG_VERSION = 1
CAPACITY = 4096
HEADER_BYTES = 4096
NAME_BYTES = 1024
MOST_RUNS = 16
"""Ranges of resident pages told apart in one mapping."""
MERGED_EVENTS = 2**16
"""Events in memory at once while the logs of all threads are merged."""

_RAW = np.dtype([("address", "<u8"), ("what", "<u8"), ("entry", "<u8"), ("order", "<u8")])
_LOW_48 = np.uint64(2**48 - 1)


class Kind(IntEnum):
    """What an event tells; see the enumeration in `recorder_log.h`."""

    NOTHING = 0
    THREAD = 1
    MALLOC = 2
    CALLOC = 3
    ALIGNED = 4
    FREE = 5
    REALLOC_BEGIN = 6
    REALLOC_END = 7
    MMAP = 8
    MUNMAP = 9
    MREMAP_BEGIN = 10
    MREMAP_END = 11
    MADVISE = 12
    RESIDENT = 13


EVENT = np.dtype(
    [
        ("kind", np.uint8),
        ("detail", np.uint8),
        ("thread", np.int32),
        ("address", np.int64),
        ("size", np.int64),
        ("entry", np.int64),
        ("ticks", np.int64),
        ("order", np.int64),
    ]
)
"""One event, unpacked; `ticks` is what the call took."""


@dataclass(frozen=True)
class Process:
    """One program run by one process, as described by its file `path`.

    Times are in ticks of the recorder's clock, memory in KiB; `file_kib` is what of the resident
    memory at the end belongs to files, such as code. `has_ended` tells whether the
    figures at its end are known; `stopped` is the order number from which on events may be
    missing, because the disk was full, or None.
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
    other_mappings: int
    allocator_is_foreign: bool
    program: str
    arguments: tuple[str, ...]

    @property
    def faults_before(self) -> int:
        """Minor faults of the programs that the process ran before this one."""
        is_first = self.path.suffixes[0] == ".0"
        return 0 if is_first else self.start_faults

    def logs(self) -> list[Path]:
        """The files with its threads' events."""
        return sorted(self.path.parent.glob(f"{self.path.stem}.*.log"))

    def resident(self) -> "Resident | None":
        """What was resident at its end, if it ended by itself."""
        path = self.path.with_suffix(".resident")
        return Resident(path) if self.has_ended and path.exists() else None

    def events(self) -> Iterator[np.ndarray]:
        """All its events, as arrays of `EVENT`, in order."""
        paths = self.logs()
        chunk = max(CAPACITY, MERGED_EVENTS // max(1, len(paths)))
        for events in _merged([_thread_events(path, chunk) for path in paths]):
            if self.stopped is None:
                yield events
            else:
                yield events[events["order"] < self.stopped]


def read_processes(folder: Path) -> list[Process]:
    """All processes that left a file in `folder`, by the time they started."""
    found = (_read_process(path) for path in folder.glob("*.process"))
    return sorted((p for p in found if p is not None), key=lambda p: (p.start_ticks, p.path.name))


def _read_process(path: Path) -> Process | None:
    """None if the process was killed before it could describe itself."""
    data = path.read_bytes()
    numbers = struct.unpack_from("<15Q", data)
    if len(data) != HEADER_BYTES or numbers[0] != LOG_VERSION:
        return None
    text_at = 15 * 8
    program = data[text_at : text_at + NAME_BYTES].split(b"\0")[0]
    arguments = data[text_at + NAME_BYTES :].rstrip(b"\0").split(b"\0")
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
        other_mappings=numbers[13],
        allocator_is_foreign=bool(numbers[14]),
        program=program.decode(errors="replace"),
        arguments=tuple(text.decode(errors="replace") for text in arguments),
    )


class Resident:
    """The resident pages of a process's private memory at its end, as ranges of addresses."""

    def __init__(self, path: Path) -> None:
        ranges = np.fromfile(path, "<u8").astype(np.int64).reshape(-1, 2)
        ranges = ranges[ranges[:, 0].argsort()]
        self._start, self._end = ranges[:, 0], ranges[:, 1]
        self._before = np.concatenate(([0], np.cumsum(self._end - self._start)))

    def bytes_in(self, start: int, end: int) -> int:
        """How many bytes from address `start` up to `end` lie in resident pages."""
        return self._bytes_below(end) - self._bytes_below(start)

    def runs_in(self, start: int, end: int) -> list[tuple[int, int]]:
        """The resident parts of that range, as (start, end); of many, the last stands for more."""
        first = int(np.searchsorted(self._end, start, "right"))
        last = int(np.searchsorted(self._start, end, "left"))
        pairs = zip(self._start[first:last].tolist(), self._end[first:last].tolist(), strict=True)
        runs = [(max(run_start, start), min(run_end, end)) for run_start, run_end in pairs]
        if len(runs) <= MOST_RUNS:
            return runs
        kept, rest = runs[: MOST_RUNS - 1], runs[MOST_RUNS - 1 :]
        rest_bytes = sum(run_end - run_start for run_start, run_end in rest)
        return [*kept, (rest[0][0], rest[0][0] + rest_bytes)]

    def _bytes_below(self, address: int) -> int:
        index = int(np.searchsorted(self._start, address, "right"))
        if index == 0:
            return 0
        excess = max(0, int(self._end[index - 1]) - address)
        return int(self._before[index]) - excess


def _thread_events(path: Path, chunk: int) -> Iterator[np.ndarray]:
    """The events of one log in the order they were written, at most `chunk` at a time.

    A process killed between appending its buffer and emptying it leaves those events twice; the
    second time they are left out.
    """
    thread, last_order = 0, -1
    with path.open("rb") as file:
        header = file.read(16)
        if len(header) < 16:
            return
        version, n_flushed = struct.unpack("<QQ", header)
        if version != LOG_VERSION:
            return
        for offset, n_events in _parts(n_flushed, chunk):
            file.seek(offset)
            raw = np.frombuffer(_whole_events(file.read(n_events * _RAW.itemsize)), _RAW)
            events = _unpack(raw, thread)
            if offset == HEADER_BYTES:
                events = events[events["order"] > last_order]
            if len(events):
                thread, last_order = int(events["thread"][-1]), int(events["order"].max())
                yield events


def _parts(n_flushed: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Where events lie: (offset in bytes, number); what was flushed first, then the buffer."""
    first = HEADER_BYTES + CAPACITY * _RAW.itemsize
    for start in range(0, n_flushed, chunk):
        yield first + start * _RAW.itemsize, min(chunk, n_flushed - start)
    yield HEADER_BYTES, CAPACITY


def _whole_events(data: bytes) -> bytes:
    return data[: len(data) // _RAW.itemsize * _RAW.itemsize]


def _unpack(raw: np.ndarray, thread: int) -> np.ndarray:
    """Events from their packed form; `thread` owned the log before the first of them."""
    kind = (raw["what"] >> np.uint64(48)) & np.uint64(0xFF)
    raw, kind = raw[kind != Kind.NOTHING], kind[kind != Kind.NOTHING]
    events = np.empty(len(raw), EVENT)
    events["kind"] = kind
    events["detail"] = raw["what"] >> np.uint64(56)
    events["size"] = raw["what"] & _LOW_48
    events["address"] = raw["address"] & _LOW_48
    events["entry"] = raw["entry"]
    high = raw["address"] >> np.uint64(48) << np.uint64(24)
    events["ticks"] = high | (raw["order"] & np.uint64(0xFFFFFF))
    events["order"] = raw["order"] >> np.uint64(24)
    events["thread"] = _owners(events, thread)
    return events


def _owners(events: np.ndarray, thread: int) -> np.ndarray:
    """The thread of each event: that of the last event of kind THREAD."""
    changes = np.flatnonzero(events["kind"] == Kind.THREAD)
    owners = np.concatenate(([thread], events["address"][changes]))
    return owners[np.searchsorted(changes, np.arange(len(events)), "right")]


def _merged(logs: list[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Events of several logs in one order, holding at most one chunk of each log."""
    heads = [(log, events) for log in logs if (events := next(log, None)) is not None]
    while heads:
        # Up to here nothing more can come: each log's later events have later numbers.
        safe = min(int(events["order"].max()) for _, events in heads)
        ready = [events[events["order"] <= safe] for _, events in heads]
        heads = [_advance(log, events[events["order"] > safe]) for log, events in heads]
        heads = [(log, events) for log, events in heads if len(events)]
        together = np.concatenate(ready)
        yield together[together["order"].argsort(kind="stable")]


def _advance(
    log: Iterator[np.ndarray], rest: np.ndarray
) -> tuple[Iterator[np.ndarray], np.ndarray]:
    """The log and its next events: what is left of its chunk, else its next chunk."""
    return log, rest if len(rest) else next(log, rest)
