"""A kernel that notes each operation's crossings, so that threads can wait for each other.

A *crossing* is a point where a thread enters the kernel or needs a lock. What an operation does is
decided at once; its crossings tell in which order and for how long it needs which lock, and the
engine plays them in simulated time.
"""

from functools import cache

from allocsim.component import Array, Component, Pool, inline
from allocsim.kernel.backing import PAGE_BYTES, PAGE_SHIFT, WRITTEN
from allocsim.kernel.costs import Event
from allocsim.kernel.kernel import DONTNEED, FREE, MAP_PRIVATE_ANONYMOUS, Kernel

# The columns of a crossing.
KIND, BEFORE_PS, HOLD_PS, COUNT, SHARED_PS, LO, HI, FLUSH, WIDTH = 0, 1, 2, 3, 4, 5, 6, 7, 8

# Kinds of crossings: mmap_lock as a writer or reader, a fault under the lock of its area alone, a
# lock of the policy's (COUNT is its number) taken or given back.
WRITER, READER, FAULT, LOCKED, UNLOCKED = 0, 1, 2, 3, 4

# What FLUSH says of a shootdown: none is due; one while the caller holds mmap_lock as it took it;
# one in the end, when it holds it as a reader.
NO_FLUSH, FLUSHES, FLUSHES_SHARED = 0, 1, 2

OWNED_LINES = 1 << 15  # of a CPU's caches: 2 MiB of 64-byte lines, direct-mapped
SHARED = 255  # instead of the number of a CPU: several have read it since it was written


class Crossings(Component):
    """What a kernel's calls and faults mean to other threads; a mixin for `Kernel` and subclasses.

    `crossings` has a row of WIDTH numbers for each: KIND; BEFORE_PS, user time since the one
    before; HOLD_PS, time in the kernel; COUNT, faults in a row that HOLD_PS is divided among (0 for
    a call), or a lock's number; SHARED_PS, how much of the end of HOLD_PS a writer holds the lock
    as a reader (munmap and a shrinking brk release pages so); LO and HI, the area whose own lock a
    writer takes, or the pages of the faults; FLUSH, whether other CPUs must forget translations of
    pages that the call takes away, a shootdown. HOLD_PS is without it: only the engine knows which
    other CPUs run threads of the process by then.

    With `vma_locks` 0 faults take mmap_lock as readers, as they did before Linux 6.4.
    """

    MEETING = 1
    EVERY_ACCESS = 1
    crossings = Pool("i8", WIDTH << 22)
    n_crossings = 0
    told_ps = 0  # up to when the crossings account for the thread's time
    vma_locks = 1
    owners = Array("i8", OWNED_LINES)  # of the lines that meet here: which was used last, and where

    def begin_crossings(self):
        """What follows is a new operation's."""
        self.n_crossings = 0
        self.told_ps = self.now_ps()

    def note(self, kind, start_ps, count, shared_ps, lo, hi, flush=NO_FLUSH):
        """The thread was in the kernel, or at a lock, from start_ps until now."""
        at = self.n_crossings * WIDTH
        now = self.now_ps()
        self.crossings[at + KIND] = kind
        self.crossings[at + BEFORE_PS] = start_ps - self.told_ps
        self.crossings[at + HOLD_PS] = now - start_ps
        self.crossings[at + COUNT] = count
        self.crossings[at + SHARED_PS] = shared_ps
        self.crossings[at + LO] = lo
        self.crossings[at + HI] = hi
        self.crossings[at + FLUSH] = flush
        self.n_crossings += 1
        self.told_ps = now

    # ---- lines of metadata that move from CPU to CPU
    def user_ps(self):
        remote = self.counts[Event.REMOTE_ACCESS]
        return super().user_ps() + self.costs.price_ps(Event.REMOTE_ACCESS, remote)

    @inline
    def load(self, address, width=8):
        self.fetch(address)
        return super().load(address, width)

    @inline
    def store(self, address, value, width=8):
        self.own(address)
        super().store(address, value, width)

    @inline
    def load_pair(self, address):
        self.fetch(address)
        return super().load_pair(address)

    @inline
    def store_pair(self, address, first, second):
        self.own(address)
        super().store_pair(address, first, second)

    @inline
    def pop_link(self, address):
        self.fetch(address)
        self.own(address)
        return super().pop_link(address)

    @inline
    def push_link(self, address, link, key):
        self.fetch(address)
        self.own(address)
        super().push_link(address, link, key)

    @inline
    def own(self, address):
        """The CPU writes to the line at `address`; no program waits for that."""
        line = address >> 6
        self.owners[line & (OWNED_LINES - 1)] = line << 8 | self.cpu

    @inline
    def fetch(self, address):
        """The CPU reads the line at `address`, which another one may have written last."""
        line = address >> 6
        owner = self.owners[line & (OWNED_LINES - 1)]
        if owner >> 8 == line and owner & 255 != self.cpu and owner & 255 != SHARED:
            self.counts[Event.REMOTE_ACCESS] += 1
            self.owners[line & (OWNED_LINES - 1)] = line << 8 | SHARED

    # ---- system calls
    def released(self):
        """How many pages calls took from their places so far, huge ones counting as one."""
        small = self.counts[Event.PAGE_RELEASED] + self.counts[Event.PAGE_MOVED]
        return small + self.counts[Event.HUGE_PAGE_RELEASED]

    def note_writer(self, start_ps, slot_lo, slot_hi, taken):
        """A call that changed areas ends; it released and flushed `taken` pages as a reader."""
        shared = self.costs.price_ps(Event.PAGE_RELEASED, taken)
        shared += self.costs.price_ps(Event.PAGE_FLUSHED, self.flushed_singly(taken))
        flush = FLUSHES_SHARED if taken else NO_FLUSH
        self.note(WRITER, start_ps, 0, shared, slot_lo, slot_hi, flush)

    def area_lo(self, address):
        """Where the area at `address` starts, or 0."""
        slot = self.areas.find(address)
        return self.areas.lo[slot] if slot >= 0 else 0

    def area_hi(self, address):
        """Where the area at `address` ends, or 0."""
        slot = self.areas.find(address)
        return self.areas.hi[slot] if slot >= 0 else 0

    def brk(self, end):
        start = self.now_ps()
        before = self.released()
        top = (max(self.break_, end) + PAGE_BYTES - 1) & -PAGE_BYTES
        lo = self.area_lo(self.break_ - 1)
        result = super().brk(end)
        self.note_writer(start, lo, top, self.released() - before)
        return result

    def mmap(self, length, protection=3, hint=0, flags=MAP_PRIVATE_ANONYMOUS):
        start = self.now_ps()
        result = super().mmap(length, protection, hint, flags)
        self.note_writer(start, self.area_lo(result), self.area_hi(result), 0)
        return result

    def munmap(self, address, length):
        start = self.now_ps()
        before = self.released()
        lo = self.area_lo(address)
        hi = self.area_hi(address)
        result = super().munmap(address, length)
        self.note_writer(start, lo, hi, self.released() - before)
        return result

    def mremap(self, address, old_length, new_length, may_move=1):
        start = self.now_ps()
        before = self.released()
        lo = self.area_lo(address)
        hi = self.area_hi(address)
        result = super().mremap(address, old_length, new_length, may_move)
        flush = FLUSHES if self.released() > before else NO_FLUSH
        self.note(WRITER, start, 0, 0, lo, hi, flush)
        return result

    def mprotect(self, address, length, protection):
        start = self.now_ps()
        slot = self.areas.find(address)
        taken = 0
        if slot >= 0 and protection & 2 == 0 and self.areas.attributes[slot] & 2:
            taken = self.resident_in(address, (length + PAGE_BYTES - 1) & -PAGE_BYTES)
        lo = self.area_lo(address)
        hi = self.area_hi(address)
        result = super().mprotect(address, length, protection)
        self.note(WRITER, start, 0, 0, lo, hi, FLUSHES if taken else NO_FLUSH)
        return result

    def madvise(self, address, length, advice):
        start = self.now_ps()
        before = self.released()
        result = super().madvise(address, length, advice)
        taken = self.released() - before
        if advice == FREE and result == 0:
            taken = self.resident_in(address, (length + PAGE_BYTES - 1) & -PAGE_BYTES)
        flush = FLUSHES if taken and advice in (DONTNEED, FREE) else NO_FLUSH
        self.note(READER, start, 0, 0, 0, 0, flush)
        return result

    # ---- faults
    def note_faults(self, start_ps, n, address):
        """n faults on pages in a row, the first at `address`, begun at start_ps."""
        now = self.now_ps()
        if now == start_ps:  # a page that was lazily free is kept: no visit to the kernel
            return
        at = (self.n_crossings - 1) * WIDTH
        page = address & -PAGE_BYTES
        kind = FAULT if self.vma_locks else READER
        if (
            start_ps == self.told_ps
            and self.n_crossings > 0
            and self.crossings[at + KIND] == kind
            and self.crossings[at + HI] == page
            and self.crossings[at + HOLD_PS] * n == (now - start_ps) * self.crossings[at + COUNT]
        ):
            self.crossings[at + HOLD_PS] += now - start_ps
            self.crossings[at + COUNT] += n
            self.crossings[at + HI] = page + n * PAGE_BYTES
            self.told_ps = now
        else:
            self.note(kind, start_ps, n, 0, page, page + n * PAGE_BYTES)

    def read_fault(self, page, address):
        start = self.now_ps()
        super().read_fault(page, address)
        self.note_faults(start, 1, address)

    def write_fault(self, page, address):
        start = self.now_ps()
        super().write_fault(page, address)
        self.note_faults(start, 1, address)

    def write_absent(self, page, stop, base):
        start = self.now_ps()
        before = self.minor_faults
        following = super().write_absent(page, stop, base)
        self.note_faults(start, self.minor_faults - before, base + (page << PAGE_SHIFT))
        return following

    def is_settled(self, address, n_bytes):
        """Whether the program may write n_bytes at `address` without any visit to the kernel."""
        if n_bytes <= 0:
            return True
        page = self.offset(address) >> PAGE_SHIFT
        last = self.offset(address + n_bytes - 1) >> PAGE_SHIFT
        while page <= last:
            if self.state[page] < WRITTEN:
                return False
            page += 1
        return True

    # ---- the policy's locks
    def lock(self, number):
        """Take lock `number`; the engine lets the thread wait for it."""
        self.charge(Event.LOCK, 1)
        self.note(LOCKED, self.now_ps(), number, 0, 0, 0)

    def trylock(self, number):
        """Take lock `number` unless another thread held it when the operation started."""
        self.charge(Event.LOCK, 1)
        if self.is_locked(number):
            return False
        self.note(LOCKED, self.now_ps(), number, 0, 0, 0)
        return True

    def unlock(self, number):
        """Give lock `number` back."""
        self.note(UNLOCKED, self.now_ps(), number, 0, 0, 0)


@cache
def meeting_kernel(kernel: type[Kernel]) -> type[Kernel]:
    """The kernel class that notes crossings and otherwise is `kernel`."""
    import types

    return types.new_class(
        f"Meeting{kernel.__name__}",
        (Crossings, kernel),
        exec_body=lambda ns: ns.update(__module__=__name__, __doc__=kernel.__doc__),
    )
