"""What is counted, and what each count costs.

Cost = counts x unit costs. Counts are exact; unit costs come from a table with the machine, kernel,
date and source of every figure. Inside a run costs are whole picoseconds, so that sums do not
depend on their order.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

from allocsim.component import Array, Component, host, inline


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
    SHOOTDOWN = 22  # a system call has one other CPU, where a thread runs, forget translations
    SLEEP = 23  # a wait for a lock that puts the thread to sleep: CPU time of both sides
    WAKE_DELAY = 24  # from such a lock's release until the sleeper runs; nobody's CPU time
    HUGE_FAULT = 25  # first access to 2 MiB that get a huge page
    HUGE_PAGE_ZEROED = 26  # the kernel's clearing of it
    HUGE_PAGE_RELEASED = 27  # a huge page given back as a whole
    SPIN_NS = 28  # a nanosecond that a thread waits for a lock without giving its CPU up
    AREA_CUT = 29  # munmap leaves two areas of one
    AREA_JOINED = 30  # a new mapping fills a hole: two areas and the mapping become one
    FAR_BYTE_WRITTEN = 31  # what a byte costs more that the program writes to memory out of caches
    FAULT_RUN = 32  # an access that faults: what its first fault costs more than the next ones
    INTERRUPTION = 33  # a running thread is stopped by another one's shootdown
    WAKING = 34  # what of SLEEP whoever wakes the sleeper loses of its own time
    COLD_RELEASE = 35  # a system call gives back pages whose part of the page table no cache holds
    IRREGULAR = 36  # by how far a call's accesses are from those of the last of its kind: in eights
    WRITE = 37  # by the program: a write of another size than its last one, to a power of two
    SWITCH = 38  # what SLEEP is where no CPU is idle when the thread is woken
    PAGE_FLUSHED = 39  # a page that moves or goes, where translations are forgotten one by one
    COLD_PAGE = 40  # what a new page costs more if it is none that was given back a moment ago
    TRAP = 41  # what of a fault passes outside of locks, on the way into the kernel and back
    HANDOVER = 42  # a call takes mmap_lock after a call on another CPU: what it guards moves there
    REMOTE_ACCESS = 43  # load of metadata that another CPU wrote last: its line moves here
    FILL = 44  # by the allocator: a clearing or copy of another size than the last, likewise
    DISTANT_BLOCK = 45  # a call's block lies on a page that calls have not been at lately


N_EVENTS = len(Event)
SYSCALLS = tuple(range(Event.BRK, Event.MPROTECT + 1))
MINOR_FAULTS = (Event.READ_FAULT, Event.WRITE_FAULT, Event.COPY_FAULT, Event.HUGE_FAULT)
PARTS = {
    "allocator_ns": (
        Event.CALL, Event.IRREGULAR, Event.NEAR_ACCESS, Event.FAR_ACCESS, Event.REMOTE_ACCESS,
        Event.LOCK, Event.DISTANT_BLOCK,
    ),
    "syscall_ns": (
        *SYSCALLS, Event.AREA_CUT, Event.AREA_JOINED,
        Event.PAGE_RELEASED, Event.COLD_RELEASE, Event.PAGE_MOVED, Event.PAGE_FLUSHED,
        Event.HUGE_PAGE_RELEASED,
        Event.HANDOVER, Event.SHOOTDOWN, Event.INTERRUPTION,
        Event.SLEEP, Event.SWITCH, Event.SPIN_NS,
    ),
    "fault_ns": (*MINOR_FAULTS, Event.FAULT_RUN, Event.MAJOR_FAULT, Event.PAGE_SWAPPED),
    "zeroing_ns": (
        Event.PAGE_ZEROED, Event.COLD_PAGE, Event.HUGE_PAGE_ZEROED, Event.BYTE_ZEROED,
        Event.FILL,
    ),
    "copying_ns": (Event.BYTE_COPIED,),
    "program_ns": (Event.WRITE, Event.BYTE_WRITTEN, Event.FAR_BYTE_WRITTEN),
}  # fmt: skip
"""CPU time by part: which events each part sums.

A delay belongs to none; neither does what others include: SLEEP includes WAKING, a fault its TRAP.
"""


SHIPPED = Path(__file__).with_name("costs.toml")


@dataclass(frozen=True)
class CostTable:
    """Unit costs in nanoseconds by event, and where they come from.

    low_ns, high_ns: the ends of each figure's 95 % interval; the figure itself where the file has
    none, and when left out. name: the file, or "shipped".
    """

    unit_ns: tuple[float, ...]
    provenance: dict[str, Any]
    low_ns: tuple[float, ...] = ()
    high_ns: tuple[float, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        for ends in ("low_ns", "high_ns"):
            object.__setattr__(self, ends, getattr(self, ends) or self.unit_ns)

    @classmethod
    def free_of_charge(cls) -> "CostTable":
        """A table in which every event costs nothing."""
        return cls((0.0,) * len(Event), {}, name="free of charge")

    @property
    def unit_ps(self) -> tuple[int, ...]:
        return tuple(round(ns * 1000) for ns in self.unit_ns)

    @property
    def is_shipped(self) -> bool:
        """Whether this is the table that stands in where nobody calibrated."""
        return self.name == "shipped"

    @property
    def has_intervals(self) -> bool:
        """Whether the table says how certain its figures are."""
        return any(low < high for low, high in zip(self.low_ns, self.high_ns, strict=True))

    def content_hash(self) -> str:
        """A hash of all figures: two tables with the same hash give the same results."""
        figures = (self.unit_ps, self.low_ns, self.high_ns)
        return hashlib.sha256(json.dumps(figures).encode()).hexdigest()

    def identity(self) -> dict[str, str]:
        """What results say of the table that they used: its name and the hash of its figures."""
        return {"table": self.name, "hash": self.content_hash()}

    def origin(self) -> str:
        """One line for results: which table, from which machine, and what to do about it."""
        machine = self.provenance.get("machine", {})
        known = [str(machine[key]) for key in ("cpu", "kernel", "date") if key in machine]
        text = f"unit costs: {self.name or 'unnamed'} ({', '.join(known) or 'of unknown origin'})"
        if self.is_shipped:
            return f"{text}; not this machine's: see allocsim calibrate"
        return text

    @classmethod
    def load(cls, path: Path | None = None) -> "CostTable":
        """Read a table in TOML; the shipped one by default. InputError names file, line and key."""
        return _shipped() if path is None else _read(path, str(path))


@cache
def _shipped() -> CostTable:
    """Read once: every simulation starts with it."""
    return _read(SHIPPED, "shipped")


def _read(path: Path, name: str) -> CostTable:
    from allocsim.kernel.cost_file import read_cost_file

    content = read_cost_file(path)
    figures = [content.figure(event) for event in Event]
    return CostTable(
        unit_ns=tuple(f.ns for f in figures),
        provenance=content.model_dump(exclude_none=True),
        low_ns=tuple(f.ns if f.low is None else f.low for f in figures),
        high_ns=tuple(f.ns if f.high is None else f.high for f in figures),
        name=name,
    )


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
