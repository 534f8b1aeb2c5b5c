"""Host memory for pools: reserved, and handed on from one simulation of a process to the next.

To get a page from the host takes several times as long as to clear one. So the memory of a heap
that a simulation no longer needs is kept, as an allocator would, and the next one starts with it.
"""

import mmap
import os
import platform
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_LINUX = platform.system() == "Linux"
_MAP_NORESERVE = 0x4000 if _LINUX else 0  # others reserve nothing in any case
_PAGEMAP = Path("/proc/self/pagemap")
_USED_SHIFT = 62  # proc_pid_pagemap(5): above are "swapped out" and "present"
_MADV_COLLAPSE = 25  # Linux 6.1; the mmap module of Python 3.11 has no name for it
_HUGE_BYTES = 2 << 20
_MOSTLY = 0.5  # of a huge page's pages
_USES_TO_JOIN = 2
_MOST_KEPT = os.cpu_count() or 1  # simulations may run at the same time


@dataclass
class _Memory:
    """What `reserve` gives out; at the end of its use the first kept_bytes stay as they are."""

    mapping: mmap.mmap
    kept_bytes: int
    uses: int = 0
    joined: set[int] = field(default_factory=set)  # offsets of huge pages
    idle: set[int] = field(default_factory=set)  # and of blocks that the last use has left at zero
    joins: bool = True  # until the host refuses one


_in_use: dict[int, _Memory] = {}  # by the address of the array
_given_up: list[_Memory] = []  # with all that was written
_cleared: list[_Memory] = []


def reserve(n_bytes: int, kept_bytes: int = 0) -> np.ndarray:
    """n_bytes of zeros, as "u1", that the host backs only where they are written.

    With kept_bytes the host memory of the first so many bytes is kept when nothing refers to the
    array any more, for the next request of that length; on Linux, as other systems' madvise does
    not clear pages. OSError if there is no address space.
    """
    kept_bytes = min(kept_bytes, n_bytes) & -mmap.PAGESIZE if _LINUX else 0
    memory = _handed_on(n_bytes, kept_bytes) if kept_bytes else None
    memory = memory or _Memory(_mapped(n_bytes), kept_bytes)
    array = np.frombuffer(memory.mapping, np.uint8)
    memory.uses += 1
    _in_use[array.ctypes.data] = memory
    weakref.finalize(array, _end_use, array.ctypes.data, memory).atexit = False
    return array


def recycle(array: np.ndarray) -> None:
    """Make the whole of an array that `reserve` gave zeros, for its next use."""
    memory = _in_use[array.ctypes.data]
    memory.uses += 1
    _forget(memory, memory.kept_bytes, len(memory.mapping))
    if memory.kept_bytes:
        _clear(memory)


def give_back(array: np.ndarray) -> None:
    """Have the host take back all memory of an array that `reserve` gave: zeros."""
    _forget(_in_use[array.ctypes.data], 0, len(array))


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


@contextmanager
def set_aside() -> Iterator[None]:
    """Within, `reserve` gets all memory from the host, as in a new process.

    What is kept is afterwards as it was: not cleared, if it was not.
    """
    given_up, cleared = _given_up[:], _cleared[:]
    release()
    try:
        yield
    finally:
        release()
        _given_up.extend(given_up)
        _cleared.extend(cleared)


def _handed_on(n_bytes: int, kept_bytes: int) -> _Memory | None:
    """Memory of that kind, if there is any; what else lies on top of it is released."""
    clear()
    with suppress(IndexError):
        while True:
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
    if _LINUX:
        with suppress(OSError):  # a host that has none
            mapping.madvise(mmap.MADV_NOHUGEPAGE)
    return mapping


def _end_use(address: int, memory: _Memory) -> None:
    del _in_use[address]
    if not memory.kept_bytes:
        return
    if len(_given_up) + len(_cleared) >= _MOST_KEPT:
        return
    with suppress(OSError):
        _forget(memory, memory.kept_bytes, len(memory.mapping))
        _given_up.append(memory)


def _forget(memory: _Memory, start: int, stop: int) -> None:
    """Have the host take back a part: zeros again."""
    if start < stop:
        memory.mapping.madvise(mmap.MADV_DONTNEED, start, stop - start)


def _clear(memory: _Memory) -> None:
    """Make the kept part zeros; the host takes back what two uses have left at zero.

    Only pages that the host has are read: it would have to map others, too.
    """
    array = np.frombuffer(memory.mapping, np.uint8, memory.kept_bytes)
    used = _used_pages(array)
    if used is None:
        _forget(memory, 0, len(array))
        return
    first = -array.ctypes.data % _HUGE_BYTES
    used_bytes: dict[int, int] = {}  # of each block, by its offset
    busy = set()
    for start, stop in _runs(used, first // mmap.PAGESIZE):
        block = (start - first) // _HUGE_BYTES * _HUGE_BYTES + first
        used_bytes[block] = used_bytes.get(block, 0) + stop - start
        run = array[start:stop]
        if block in busy or run.view(bool).any():  # stops at the first that is not 0
            run.fill(0)
            busy.add(block)
    for block, n_bytes in used_bytes.items():
        if block in busy:
            memory.idle.discard(block)
            if n_bytes >= _MOSTLY * _HUGE_BYTES:
                _join(memory, block)
        elif block in memory.idle:
            _forget(memory, max(0, block), min(block + _HUGE_BYTES, len(array)))
            memory.idle.discard(block)
            memory.joined.discard(block)
        else:
            memory.idle.add(block)


def _used_pages(array: np.ndarray) -> np.ndarray | None:
    """Which pages of an array the host has, in memory or swapped out; None if it does not tell."""
    n = len(array) // mmap.PAGESIZE
    try:
        with _PAGEMAP.open("rb", buffering=0) as pagemap:
            pagemap.seek(array.ctypes.data // mmap.PAGESIZE * 8)
            entries = np.frombuffer(pagemap.read(n * 8), np.uint64)
    except OSError:
        return None
    return entries >> _USED_SHIFT != 0 if len(entries) == n else None


def _runs(used: np.ndarray, first: int) -> list[tuple[int, int]]:
    """Start and end, in bytes, of each run of used pages; it ends where a block does.

    Blocks of the size of a huge page start at page `first`.
    """
    edge = np.zeros(len(used) + 1, bool)
    edge[first :: _HUGE_BYTES // mmap.PAGESIZE] = True
    before, after = np.append(False, used), np.append(used, False)
    starts = np.flatnonzero(after & (~before | edge)) * mmap.PAGESIZE
    stops = np.flatnonzero(before & (~after | edge)) * mmap.PAGESIZE
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _join(memory: _Memory, at: int) -> None:
    """Have the host make a huge page: a large heap waits for page walks a tenth of the time.

    It takes as long as several runs gain by it, so only for memory that is used again and again.
    """
    inside = 0 <= at <= memory.kept_bytes - _HUGE_BYTES
    if memory.uses < _USES_TO_JOIN or not memory.joins or at in memory.joined or not inside:
        return
    try:
        memory.mapping.madvise(mmap.MADV_HUGEPAGE, at, _HUGE_BYTES)
        memory.mapping.madvise(_MADV_COLLAPSE, at, _HUGE_BYTES)
        memory.joined.add(at)
    except OSError:  # a host that has none, or no room for one
        memory.joins = False
