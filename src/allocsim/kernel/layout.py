"""Where a process's segments lie: Linux's address-space layouts, and the maps of real processes."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from allocsim.errors import InputError, printable
from allocsim.input_files import read_text

MIB = 1 << 20
STACK_GUARD_BYTES = 256 * 4096
_MMAP_MIN_ADDRESS = 0x10000  # vm.mmap_min_addr
_MAX_MAPS_BYTES = 32 << 20
"""Room for several times as many areas as Linux allows a process by default."""
ANONYMOUS, FILE, STACK, BRK_HEAP = 0, 1, 2, 3
"""Kinds of area; only anonymous ones merge, and Linux's brk heap counts as anonymous too."""


@dataclass(frozen=True)
class Area:
    """One segment at the start: [lo, hi) in bytes, protection bits (1 read, 2 write, 4 execute)."""

    lo: int
    hi: int
    protection: int
    kind: int
    name: str


@dataclass(frozen=True)
class Layout:
    """The address space at the program's start; addresses in bytes."""

    bits: int
    task_size: int  # first address beyond user space
    start_brk: int
    mmap_base: int  # top of the mapping area (top-down) or its bottom (legacy)
    top_down: bool
    areas: tuple[Area, ...] = field(default_factory=tuple)
    reserved_end: int = _MMAP_MIN_ADDRESS
    stack_limit_bytes: int = 8 * MIB
    heap_mapped: bool = False  # the maps were taken when there was a heap, and threads had stacks

    @classmethod
    def standard(
        cls, bits: int = 64, legacy: bool = False, stack_limit_bytes: int = 8 * MIB
    ) -> "Layout":
        """A small program's layout without address randomisation.

        The mapping area starts `stack limit + guard` below the stack's top, at least 128 MiB and at
        most 5/6 of user space (Linux, arch/x86/mm/mmap.c, mmap_base); the legacy one goes upward
        from a third of user space.
        """
        if bits not in (32, 64):
            raise InputError(f"an address space has 32 or 64 bits, not {bits}")
        task_size = 0x7FFF_FFFF_F000 if bits == 64 else 0xC000_0000
        if not 4096 <= stack_limit_bytes < task_size:
            raise InputError(
                f"a stack limit is from 4096 bytes to the user space, not {stack_limit_bytes}"
            )
        gap = min(max(stack_limit_bytes + STACK_GUARD_BYTES, 128 * MIB), task_size // 6 * 5)
        base = _page_up(task_size // 3) if legacy else task_size - (gap & -4096)
        text = 0x5555_5555_4000 if bits == 64 else 0x0804_8000
        segments = _program(text, bits) + _libraries(base, legacy) + [_stack(task_size)]
        return cls(
            bits=bits,
            task_size=task_size,
            start_brk=text + 0x5000,
            mmap_base=base,
            top_down=not legacy,
            areas=tuple(sorted(segments, key=lambda area: area.lo)),
            stack_limit_bytes=stack_limit_bytes,
        )

    @classmethod
    def from_maps(cls, text: str, start_brk: int | None = None, source: str = "maps") -> "Layout":
        """The layout of a real 64-bit process from the text of its /proc/PID/maps.

        `start_brk` defaults to the start of [heap], or else to the page after the program's own
        segments. The heap's area itself is left out: the simulated program makes its own. An
        address beyond the heap's start up to its end is taken for the present break: [heap] tells
        where it started.
        InputError names the line that cannot be read, or a heap above all mappings.
        """
        areas, heap, heap_end = _parse_maps(text, source)
        if not areas:
            raise InputError(f"{source}: no mappings; give the content of /proc/PID/maps")
        if start_brk is not None and heap is not None and heap < start_brk <= heap_end:
            start_brk = heap
        standard = cls.standard()
        if start_brk is not None and not _MMAP_MIN_ADDRESS <= start_brk < standard.task_size:
            raise InputError(
                f"{source}: no heap can start at {start_brk:#x}; user space is from "
                f"{_MMAP_MIN_ADDRESS:#x} to {standard.task_size:#x}"
            )
        program_end = max(
            (a.hi for a in areas if a.hi < 0x7000_0000_0000), default=standard.start_brk
        )
        start = start_brk if start_brk is not None else heap or program_end
        if all(area.lo < start for area in areas):
            raise InputError(
                f"{source}: no mapping above the heap, which starts at {start:#x}; "
                "a process has its stack there"
            )
        return cls(
            bits=64,
            task_size=standard.task_size,
            start_brk=start,
            mmap_base=standard.mmap_base,
            top_down=True,
            areas=tuple(areas),
            heap_mapped=heap is not None,
        )

    @classmethod
    def from_maps_file(cls, path: Path, start_brk: int | None = None) -> "Layout":
        """`from_maps` of a file."""
        return cls.from_maps(read_text(path, _MAX_MAPS_BYTES), start_brk, printable(path))


def _page_up(address: int) -> int:
    return (address + 4095) & -4096


def _program(text: int, bits: int) -> list[Area]:
    return [
        Area(text, text + 0x2000, 5, FILE, "text"),
        Area(text + 0x2000, text + 0x3000, 1, FILE, "read-only data"),
        Area(text + 0x3000, text + 0x4000, 3, FILE, "data"),
        Area(text + 0x4000, text + 0x5000, 3, FILE, "BSS"),
    ]


def _libraries(base: int, legacy: bool) -> list[Area]:
    size = 0x236000  # libc, its data and the loader of a small C program
    lo = base if legacy else base - size
    return [Area(lo, lo + size, 5, FILE, "libraries and shared memory")]


def _stack(task_size: int) -> Area:
    return Area(task_size - 0x21000, task_size, 3, STACK, "stack")


_LINE = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ (\d+)\s*(.*)"
)


def _parse_maps(text: str, source: str) -> tuple[list[Area], int | None, int]:
    """The areas of a maps text without the heap, and where the heap starts and ends."""
    areas: list[Area] = []
    heap, heap_end = None, 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise InputError(f"{source}:{number}: not a line of /proc/PID/maps: {line[:60]!r}")
        lo, hi, name = int(found[1], 16), int(found[2], 16), found[8]
        if name == "[heap]":
            heap, heap_end = lo, hi
        elif hi <= 0x7FFF_FFFF_F000:  # [vsyscall] lies in the kernel's half
            if lo % 4096 or hi % 4096:
                raise InputError(f"{source}:{number}: {line[:40]!r} is no range of whole pages")
            if lo >= hi or (areas and lo < areas[-1].hi):
                raise InputError(f"{source}:{number}: {line[:40]!r} overlaps or is out of order")
            areas.append(Area(lo, hi, _protection(found), _kind(found, name), name or "anonymous"))
    return areas, heap, heap_end


def _protection(found: re.Match[str]) -> int:
    return (found[3] == "r") * 1 + (found[4] == "w") * 2 + (found[5] == "x") * 4


def _kind(found: re.Match[str], name: str) -> int:
    if name == "[stack]":
        return STACK
    private_anonymous = found[6] == "p" and found[7] == "0" and not name
    return ANONYMOUS if private_anonymous else FILE
