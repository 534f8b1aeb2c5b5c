"""Host memory for pools: reserved, and handed on from one simulation of a process to the next.

To get a page from the host takes several times as long as to clear one. So the memory of a heap
that a simulation no longer needs is kept, as an allocator would, and the next one starts with it.
"""

import mmap
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_MAP_NORESERVE = 0x4000
_PAGEMAP = Path("/proc/self/pagemap")
_USED_SHIFT = 62  # proc_pid_pagemap(5): above are "swapped out" and "present"
_MADV_COLLAPSE = 25  # Linux 6.1; the mmap module of Python 3.11 has no name for it
_HUGE_BYTES = 2 << 20
_MOSTLY = 0.5  # of a huge page's pages


@dataclass
class _Memory:
    """What `reserve` gives out; at the end of its use the first kept_bytes stay as they are."""

    mapping: mmap.mmap
    kept_bytes: int
    joined: set[int] = field(default_factory=set)  # offsets of huge pages


_given_up: list[_Memory] = []  # with all that was written
_cleared: list[_Memory] = []


def reserve(n_bytes: int, kept_bytes: int = 0) -> np.ndarray:
    """n_bytes of zeros, as "u1", that the host backs only where they are written.

    With kept_bytes the host memory of the first so many bytes is kept when nothing refers to the
    array any more, for the next request of that length. OSError if there is no address space.
    """
    kept_bytes = min(kept_bytes, n_bytes) & -mmap.PAGESIZE
    memory = _handed_on(n_bytes, kept_bytes) if kept_bytes else None
    memory = memory or _Memory(_mapped(n_bytes), kept_bytes)
    array = np.frombuffer(memory.mapping, np.uint8)
    if kept_bytes:
        weakref.finalize(array, _give_up, memory).atexit = False
    return array


def clear() -> None:
    """Clear what has been given up, so that `reserve` need not do it."""
    while True:
        try:  # another thread may be quicker
            memory = _given_up.pop()
        except IndexError:
            return
        _clear(memory)
        _cleared.append(memory)


def release() -> None:
    """Give all memory that is kept for the next simulation back to the host."""
    _given_up.clear()
    _cleared.clear()


def _handed_on(n_bytes: int, kept_bytes: int) -> _Memory | None:
    clear()
    with suppress(IndexError):
        memory = _cleared.pop()
        if (len(memory.mapping), memory.kept_bytes) == (n_bytes, kept_bytes):
            return memory
    return None


def _mapped(n_bytes: int) -> mmap.mmap:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    try:
        mapping = mmap.mmap(-1, n_bytes, flags=flags)
    except OSError:
        release()
        mapping = mmap.mmap(-1, n_bytes, flags=flags)
    # Huge pages from the start made the sparse tables larger and slower when measured, and stall
    # a run where the host has to make room first.
    with suppress(OSError):  # a host that has none
        mapping.madvise(mmap.MADV_NOHUGEPAGE)
    return mapping


def _give_up(memory: _Memory) -> None:
    with suppress(OSError):
        _forget(memory.mapping, memory.kept_bytes)
        _given_up.append(memory)


def _forget(mapping: mmap.mmap, start: int) -> None:
    """Have the host take back the pages from `start` on: zeros again."""
    if start < len(mapping):
        mapping.madvise(mmap.MADV_DONTNEED, start, len(mapping) - start)


def _clear(memory: _Memory) -> None:
    """Write zeros to the kept pages that the host has, in memory or swapped out."""
    array = np.frombuffer(memory.mapping, np.uint8, memory.kept_bytes)
    try:
        with _PAGEMAP.open("rb", buffering=0) as pagemap:
            pagemap.seek(array.ctypes.data // mmap.PAGESIZE * 8)
            entries = np.frombuffer(pagemap.read(len(array) // mmap.PAGESIZE * 8), np.uint64)
    except OSError:
        entries = np.zeros(0, np.uint64)
    if len(entries) * mmap.PAGESIZE != len(array):  # a host that does not tell
        _forget(memory.mapping, 0)
        return
    used = entries >> _USED_SHIFT != 0
    edges = np.flatnonzero(np.diff(np.concatenate(([0], used, [0]))))
    for start, stop in edges.reshape(-1, 2) * mmap.PAGESIZE:
        array[start:stop] = 0
    _join(memory, used, -array.ctypes.data % _HUGE_BYTES)


def _join(memory: _Memory, used: np.ndarray, first: int) -> None:
    """Have the host make huge pages from offset `first` on where most pages are used.

    A large heap waits for page walks a tenth of the time.
    """
    n = _HUGE_BYTES // mmap.PAGESIZE
    used = used[first // mmap.PAGESIZE :]
    used = used[: len(used) // n * n].reshape(-1, n)
    for at in (np.flatnonzero(used.mean(axis=1) >= _MOSTLY) * _HUGE_BYTES + first).tolist():
        if at not in memory.joined:
            with suppress(OSError):  # a host that has none, or no room for one
                memory.mapping.madvise(mmap.MADV_HUGEPAGE, at, _HUGE_BYTES)
                memory.mapping.madvise(_MADV_COLLAPSE, at, _HUGE_BYTES)
                memory.joined.add(at)
