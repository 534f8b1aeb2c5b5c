"""Reads what the recorder's C library left: `recorder_log.h` defines the formats.

A process leaves one file that describes it (`recorder_process`), a log for each of its threads that
ran at the same time, and, if it ended by itself, the list of its resident pages.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

import numpy as np

LOG_VERSION = 2
CAPACITY = 4096
HEADER_BYTES = 4096
MOST_RUNS = 16
"""Ranges of resident pages told apart in one mapping."""
MERGED_EVENTS = 2**16
"""Events in memory at once while the logs of all threads are merged, unless there are very many."""
FEWEST_READ = 256
"""Events read at once of each log, at least: with very many logs it takes more memory."""

_RAW = np.dtype([("address", "<u8"), ("what", "<u8"), ("entry", "<u8"), ("order", "<u8")])
_FLUSHED_OFFSET = HEADER_BYTES + CAPACITY * _RAW.itemsize
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
_NO_EVENTS = np.empty(0, EVENT)


class Resident:
    """The resident pages of a process's private memory at its end, as ranges of addresses."""

    def __init__(self, path: Path) -> None:
        bounds = np.fromfile(path, "<u8").astype(np.int64)
        ranges = bounds[: len(bounds) // 2 * 2].reshape(-1, 2)
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


def merged_events(logs: list[Path]) -> Iterator[np.ndarray]:
    """All events of the logs of one process, as arrays of `EVENT`, in order.

    No file stays open: a process may have more logs than this one may have descriptors.
    """
    chunk = max(FEWEST_READ, MERGED_EVENTS // max(1, len(logs)))
    yield from _merged([_thread_events(path, chunk) for path in logs])


def _thread_events(path: Path, chunk: int) -> Iterator[np.ndarray]:
    """The events of one log in the order they were written, at most `chunk` at a time.

    A process killed between appending its buffer and emptying it leaves those events twice; the
    second time they are left out.
    """
    thread, last_flushed = 0, -1
    for offset, n_events in _parts(_n_flushed(path), chunk):
        raw = np.frombuffer(_whole_events(_read(path, offset, n_events * _RAW.itemsize)), _RAW)
        events = _unpack(raw, thread)
        is_buffer = offset < _FLUSHED_OFFSET
        if is_buffer and not len(events):
            return  # it is filled from its start
        if is_buffer:
            events = events[events["order"] > last_flushed]
        if len(events):
            thread = int(events["thread"][-1])
            last_flushed = last_flushed if is_buffer else int(events["order"].max())
            yield events


def _read(path: Path, offset: int, n_bytes: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(n_bytes)


def _n_flushed(path: Path) -> int | None:
    """How many events of the log lie behind its buffer; None if it never got its header."""
    header = _read(path, 0, 16) if path.is_file() else b""
    if len(header) < 16:
        return None
    version, n_flushed = struct.unpack("<QQ", header)
    n_there = max(0, path.stat().st_size - _FLUSHED_OFFSET) // _RAW.itemsize
    return min(n_flushed, n_there) if version == LOG_VERSION else None


def _parts(n_flushed: int | None, chunk: int) -> Iterator[tuple[int, int]]:
    """Where events lie: (offset in bytes, number); what was flushed first, then the buffer."""
    if n_flushed is None:
        return
    for first, count in ((_FLUSHED_OFFSET, n_flushed), (HEADER_BYTES, CAPACITY)):
        for start in range(0, count, chunk):
            yield first + start * _RAW.itemsize, min(chunk, count - start)


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


class _Head:
    """The next events of one log, and whether they are its last."""

    def __init__(self, log: Iterator[np.ndarray]) -> None:
        self._log = log
        self.events = next(log, _NO_EVENTS)
        self._following = next(log, None)

    @property
    def first(self) -> int:
        """The lowest order number of the events to come."""
        return int(self.events["order"].min())

    @property
    def complete_to(self) -> float:
        """Up to this order number all events of the log are here."""
        return np.inf if self._following is None else int(self.events["order"].max())

    def take(self, end: float) -> np.ndarray:
        """Take out the events up to the order number `end`."""
        is_taken = self.events["order"] <= end
        taken, self.events = self.events[is_taken], self.events[~is_taken]
        if not len(self.events) and self._following is not None:
            self.events, self._following = self._following, next(self._log, None)
        return taken


def _merged(logs: list[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Events of several logs in one order, holding at most two chunks of each log."""
    heads = [head for log in logs if len((head := _Head(log)).events)]
    firsts = {head: head.first for head in heads}
    ends = {head: head.complete_to for head in heads}
    while firsts:
        end = min(ends.values())
        ready = [head for head, first in firsts.items() if first <= end]
        together = np.concatenate([head.take(end) for head in ready])
        for head in ready:
            del firsts[head], ends[head]
            if len(head.events):
                firsts[head], ends[head] = head.first, head.complete_to
        yield together[together["order"].argsort(kind="stable")]
