"""What is counted, and what each count costs.

Cost = counts x unit costs. Counts are exact; unit costs come from a table with the machine, kernel,
date and source of every figure. Inside a run costs are whole picoseconds, so that sums do not depend
on their order.
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from allocsim.component import Array, Component, host, inline
from allocsim.errors import InputError


class Event(IntEnum):
    """One kind of thing that costs time. The ledger holds a count of each."""

    BRK = 0  # calls that grow the heap or leave it
    BRK_SHRINK = 1
    MMAP = 2
    MUNMAP = 3
    MREMAP = 4
    MADVISE = 5
    MPROTECT = 6
    PAGE_RELEASED = 7  # resident pages given back by a system call
    PAGE_MOVED = 8  # resident pages whose entries mremap moves
    READ_FAULT = 9  # first access is a read: the shared page of zeros is mapped
    WRITE_FAULT = 10  # first access is a write: a page of its own
    COPY_FAULT = 11  # a write to the page of zeros
    MAJOR_FAULT = 12  # the page comes back from swap
    PAGE_SWAPPED = 13  # the page goes out to swap
    PAGE_ZEROED = 14  # the kernel's clearing of a new page, apart from the rest of the fault
    CALL = 15  # a call into the allocator
    NEAR_ACCESS = 16  # load or store of metadata that the small cache holds
    FAR_ACCESS = 17  # load or store of metadata that it does not hold
    BYTE_ZEROED = 18  # by the allocator (calloc)
    BYTE_COPIED = 19  # by the allocator (realloc)
    BYTE_WRITTEN = 20  # by the program itself
    LOCK = 21  # taking and giving back a lock that nobody holds


N_EVENTS = len(Event)
SYSCALLS = tuple(range(Event.BRK, Event.MPROTECT + 1))
MINOR_FAULTS = (Event.READ_FAULT, Event.WRITE_FAULT, Event.COPY_FAULT)
PARTS = {
    "allocator_ns": (Event.CALL, Event.NEAR_ACCESS, Event.FAR_ACCESS, Event.LOCK),
    "syscall_ns": (*SYSCALLS, Event.PAGE_RELEASED, Event.PAGE_MOVED),
    "fault_ns": (*MINOR_FAULTS, Event.MAJOR_FAULT, Event.PAGE_SWAPPED),
    "zeroing_ns": (Event.PAGE_ZEROED, Event.BYTE_ZEROED),
    "copying_ns": (Event.BYTE_COPIED,),
    "program_ns": (Event.BYTE_WRITTEN,),
}
"""CPU time by part: which events each part sums."""


@dataclass(frozen=True)
class CostTable:
    """Unit costs in nanoseconds by event, and where they come from."""

    unit_ns: tuple[float, ...]
    provenance: dict[str, Any]

    @property
    def unit_ps(self) -> tuple[int, ...]:
        return tuple(round(ns * 1000) for ns in self.unit_ns)

    def content_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.unit_ps).encode()).hexdigest()

    @classmethod
    def load(cls, path: Path | None = None) -> "CostTable":
        """Read a table in TOML; the shipped one by default. InputError names file and key."""
        path = path or Path(__file__).with_name("costs.toml")
        try:
            content = tomllib.loads(path.read_text())
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; give the path of a cost table") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a TOML file: {error}") from error
        entries = content.get("costs")
        if not isinstance(entries, dict):
            raise InputError(f"{path}: no table [costs.<event>]; see the shipped costs.toml")
        _check_names(path, entries)
        return cls(tuple(_figure(path, e, entries) for e in Event), content)


def _check_names(path: Path, entries: dict[str, Any]) -> None:
    known = {e.name.lower() for e in Event}
    for problem, names in (("unknown", set(entries) - known), ("missing", known - set(entries))):
        if names:
            raise InputError(f"{path}: {problem} in [costs]: {', '.join(sorted(names))}")


def _figure(path: Path, event: Event, entries: dict[str, Any]) -> float:
    entry = entries[event.name.lower()]
    ns = entry.get("ns") if isinstance(entry, dict) else None
    if isinstance(ns, bool) or not isinstance(ns, (int, float)) or not 0 <= ns <= 1e9:
        raise InputError(
            f"{path}: costs.{event.name.lower()}.ns is {ns!r}; a number from 0 to 1e9 is needed"
        )
    return float(ns)


class Costs(Component):
    """The cost model inside a run: one method decides what an event costs."""

    unit_ps = Array("i8", N_EVENTS)

    @host
    def setup(self):
        self.use(CostTable.load())

    @host
    def use(self, table: CostTable) -> None:
        """Take the unit costs of `table`; before the first operation only."""
        for event, ps in enumerate(table.unit_ps):
            self.unit_ps[event] = ps

    @inline
    def price_ps(self, event, n):
        """Picoseconds that n events of one kind take."""
        return self.unit_ps[event] * n
