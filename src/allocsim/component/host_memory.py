"""Host memory for pools: reserved, and handed on from one simulation of a process to the next.

To get a page from the host takes several times as long as to clear one. So the memory of a heap
that a simulation no longer needs is kept, as an allocator would, and the next one starts with it.
"""

import mmap
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np

_MAP_NORESERVE = 0x4000
_PAGEMAP = Path("/proc/self/pagemap")
_USED_SHIFT = 62  # proc_pid_pagemap(5): above are "swapped out" and "present"

_given_up: list[tuple[mmap.mmap, int]] = []  # with their bytes to keep, and all that was written
_cleared: list[mmap.mmap] = []


def reserve(n_bytes: int, kept_bytes: int = 0) -> np.ndarray:
    """n_bytes of zeros, as "u1", that the host backs only where they are written.

    With kept_bytes the host memory of the first so many bytes is kept when nothing refers to the
    array any more, for the next request of that length. OSError if there is no address space.
    """
    memory = (_handed_on(n_bytes) if kept_bytes else None) or _mapped(n_bytes)
    array = np.frombuffer(memory, np.uint8)
    if kept_bytes:
        weakref.finalize(array, _give_up, memory, kept_bytes).atexit = False
    return array


def clear() -> None:
    """Clear what has been given up, so that `reserve` need not do it."""
    while True:
        try:  # another thread may be quicker
            memory, kept_bytes = _given_up.pop()
        except IndexError:
            return
        _clear(memory, kept_bytes)
        _cleared.append(memory)


def release() -> None:
    """Give all memory that is kept for the next simulation back to the host."""
    _given_up.clear()
    _cleared.clear()


def _handed_on(n_bytes: int) -> mmap.mmap | None:
    clear()
    with suppress(IndexError):
        memory = _cleared.pop()
        if len(memory) == n_bytes:
            return memory
    return None


def _mapped(n_bytes: int) -> mmap.mmap:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    try:
        memory = mmap.mmap(-1, n_bytes, flags=flags)
    except OSError:
        release()
        memory = mmap.mmap(-1, n_bytes, flags=flags)
    # Huge pages made the sparse tables larger and slower when measured; a heap's words are a tenth
    # faster with them, but where the host has to make room first, runs stall.
    with suppress(OSError):  # a host that has none
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def _give_up(memory: mmap.mmap, kept_bytes: int) -> None:
    kept_bytes = min(kept_bytes, len(memory)) & -mmap.PAGESIZE
    with suppress(OSError):
        _forget(memory, kept_bytes)
        _given_up.append((memory, kept_bytes))


def _clear(memory: mmap.mmap, kept_bytes: int) -> None:
    """Write zeros to the pages of the first kept_bytes that the host has, in memory or swapped."""
    array = np.frombuffer(memory, np.uint8, kept_bytes)
    try:
        with _PAGEMAP.open("rb", buffering=0) as pagemap:
            pagemap.seek(array.ctypes.data // mmap.PAGESIZE * 8)
            entries = np.frombuffer(pagemap.read(kept_bytes // mmap.PAGESIZE * 8), np.uint64)
    except OSError:
        entries = np.zeros(0, np.uint64)
    if len(entries) * mmap.PAGESIZE != kept_bytes:  # a host that does not tell
        _forget(memory, 0)
        return
    used = np.concatenate(([0], entries >> _USED_SHIFT != 0, [0]))
    for start, stop in np.flatnonzero(np.diff(used)).reshape(-1, 2) * mmap.PAGESIZE:
        array[start:stop] = 0


def _forget(memory: mmap.mmap, start: int) -> None:
    """Have the host take back the pages from `start` on: zeros again."""
    if start < len(memory):
        memory.madvise(mmap.MADV_DONTNEED, start, len(memory) - start)
