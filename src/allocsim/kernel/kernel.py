"""The modelled kernel: the system calls that allocators make, placed and failing as on Linux."""

from allocsim.component import Array, Pool, host
from allocsim.kernel.address_space import EFAULT, EINVAL, ENOMEM, PROT_READ_WRITE
from allocsim.kernel.backing import (
    HEAD_WORDS,
    LAZY,
    PAGE_BYTES,
    PAGE_SHIFT,
    WORDS_PER_PAGE,
    WRITTEN,
)
from allocsim.kernel.costs import Event
from allocsim.kernel.layout import Layout
from allocsim.kernel.memory import Memory

HUGE_PAGE_BYTES = 2 << 20
DONTNEED, FREE = 4, 8  # madvise's advice
MAX_LOCKS = 256
LOG_COLUMNS = 9  # op, system call's number, six arguments, result
SYS_MMAP, SYS_MPROTECT, SYS_MUNMAP, SYS_BRK, SYS_MREMAP, SYS_MADVISE = 9, 10, 11, 12, 25, 28
MAP_PRIVATE_ANONYMOUS, MREMAP_MAYMOVE, NO_FILE = 0x22, 1, 0xFFFFFFFF


class Kernel(Memory):
    """Memory with system calls. Failing calls return a negative errno, as the real ones do.

    Not modelled: files and shared mappings, the stack's growth, NUMA; a page that is present stays
    accessible after mprotect takes its rights away.
    """

    MEETING = 0  # whether threads wait for each other's locks: see crossings.py
    EVERY_ACCESS = 0  # whether an access does more than being counted: 1 where load() is overridden
    log = Pool("i8", LOG_COLUMNS << 26)
    free_at_ps = Array("i8", MAX_LOCKS)  # when each lock becomes free
    start_brk = 0
    break_ = 0
    mmap_base = 0
    top_down = 1
    mapped_bytes = 0
    peak_mapped_bytes = 0
    limit_as_bytes = 1 << 62  # RLIMIT_AS
    limit_data_bytes = 1 << 62  # RLIMIT_DATA
    limit_map_count = 65530  # vm.max_map_count
    overcommit_bytes = 1 << 62  # a single request beyond RAM and swap is refused (heuristic mode)
    start_bytes = 0  # what the program had mapped at the start
    waited_ps = 0  # for locks
    logging = 0
    n_logged = 0
    op = 0  # the operation in progress

    @host
    def setup(self):
        self.lay_out(Layout.standard())

    @host
    def lay_out(self, layout: Layout) -> None:
        """Give the address space its segments; before the first operation only."""
        self.areas.clear()
        for area in layout.areas:
            self.areas.insert(self.areas.end(), area.lo, area.hi, area.protection | area.kind << 3)
        self.start_brk = self.break_ = layout.start_brk
        self.mmap_base, self.top_down = layout.mmap_base, int(layout.top_down)
        self.task_size, self.reserved_end = layout.task_size, layout.reserved_end
        self.start_bytes = sum(area.hi - area.lo for area in layout.areas)
        self._back(layout)

    @host
    def _back(self, layout: Layout) -> None:
        """Choose the two backed windows: a fifth for program and heap, the rest for mappings."""
        n_pages = min(len(self.words) // (WORDS_PER_PAGE + HEAD_WORDS), len(self.state))
        self.span = n_pages * PAGE_BYTES
        self.low_span = (self.span // 5) & -PAGE_BYTES
        if layout.bits == 32:
            self.low_base, self.high_base = 0, layout.task_size
            self.low_span = self.span = min(self.span, layout.task_size)
        else:
            # A mapping far below the heap (the replayer has one) is not the program's to use.
            lowest = layout.start_brk - self.low_span // 2
            self.low_base = min(area.lo for area in layout.areas if area.lo >= lowest)
            top = layout.mmap_base + self.span - self.low_span
            self.high_base = min(top, layout.task_size) - (self.span - self.low_span)
        self.high_shift = self.high_base - self.low_span

    # ---- time
    def user_ps(self):
        """The price of all that happened in user mode so far."""
        c = self.costs
        return (
            c.price_ps(Event.NEAR_ACCESS, self.accesses - self.far_accesses)
            + c.price_ps(Event.FAR_ACCESS, self.far_accesses)
            + c.price_ps(Event.CALL, self.counts[Event.CALL])
            + c.price_ps(Event.IRREGULAR, self.counts[Event.IRREGULAR])
            + c.price_ps(Event.BYTE_ZEROED, self.counts[Event.BYTE_ZEROED])
            + c.price_ps(Event.BYTE_COPIED, self.counts[Event.BYTE_COPIED])
            + c.price_ps(Event.FILL, self.counts[Event.FILL])
            + c.price_ps(Event.DISTANT_BLOCK, self.counts[Event.DISTANT_BLOCK])
            + c.price_ps(Event.WRITE, self.counts[Event.WRITE])
            + c.price_ps(Event.BYTE_WRITTEN, self.counts[Event.BYTE_WRITTEN])
            + c.price_ps(Event.FAR_BYTE_WRITTEN, self.counts[Event.FAR_BYTE_WRITTEN])
        )

    def now_ps(self):
        """Simulated time of the calling thread, in picoseconds."""
        return self.clock_ps + self.user_ps()

    def now_ns(self):
        """Simulated time of the calling thread, in nanoseconds."""
        return self.now_ps() // 1000

    # ---- system calls
    def record(self, number, a0, a1, a2, a3, a4, a5, result):
        """Log one system call; its result is passed through."""
        if self.logging:
            at = self.n_logged * LOG_COLUMNS
            self.log[at] = self.op
            self.log[at + 1] = number
            self.log[at + 2] = a0
            self.log[at + 3] = a1
            self.log[at + 4] = a2
            self.log[at + 5] = a3
            self.log[at + 6] = a4
            self.log[at + 7] = a5
            self.log[at + 8] = result
            self.n_logged += 1
        return result

    def brk(self, end):
        """Move the program break to `end`; returns the break then (the old one on failure)."""
        old = self.break_
        if end >= self.start_brk:
            old_top = (old + PAGE_BYTES - 1) & -PAGE_BYTES
            new_top = (end + PAGE_BYTES - 1) & -PAGE_BYTES
            if new_top < old_top:
                self.charge(Event.BRK_SHRINK, 1)
                self.unmap_pages(new_top, old_top - new_top)
                self.break_ = end
            elif self.may_grow_heap(old_top, new_top, end):
                self.charge(Event.BRK, 1)
                if new_top > old_top:
                    self.areas.map(old_top, new_top, PROT_READ_WRITE)
                    self.add_mapped(new_top - old_top)
                self.break_ = end
            else:
                self.charge(Event.BRK, 1)
        else:
            self.charge(Event.BRK, 1)
        return self.record(SYS_BRK, end, 0, 0, 0, 0, 0, self.break_)

    def may_grow_heap(self, old_top, new_top, end):
        """Linux keeps a page free above the heap; limits and the backed window end it too."""
        if new_top == old_top:
            return True
        return (
            end - self.start_brk <= self.limit_data_bytes
            and self.within_limits(new_top - old_top)
            and new_top - self.low_base <= self.low_span
            and self.areas.is_free(old_top, new_top + PAGE_BYTES)
        )

    def sbrk(self, increment):
        """Move the break by `increment` bytes; returns the old break, or a negative errno."""
        old = self.break_
        if increment == 0:
            return old
        return old if self.brk(old + increment) == old + increment else ENOMEM

    def mmap(self, length, protection=3, hint=0, flags=MAP_PRIVATE_ANONYMOUS):
        """Map private anonymous memory where Linux would; its address or a negative errno."""
        self.charge(Event.MMAP, 1)
        result = self.place(hint, length, protection)
        return self.record(SYS_MMAP, hint, length, protection, flags, NO_FILE, 0, result)

    def place(self, hint, length, protection):
        if length <= 0:
            return EINVAL
        length = (length + PAGE_BYTES - 1) & -PAGE_BYTES
        if length > self.overcommit_bytes or not self.within_limits(length):
            return ENOMEM
        address = self.gap(hint & -PAGE_BYTES, length)
        if address >= 0:
            before = self.areas.n_areas
            self.areas.map(address, address + length, protection)
            if self.areas.n_areas < before:
                self.charge(Event.AREA_JOINED, 1)
            self.add_mapped(length)
        return address

    def gap(self, hint, length):
        """Where a mapping goes: the hint if it is free, else by search.

        Since Linux 6.7 a length that is a multiple of 2 MiB is placed so that huge pages fit: the
        search asks for 2 MiB more and aligns the result, for mmap and mremap alike.
        """
        if hint > 0:
            hint = max(hint, self.reserved_end)
        if hint > 0 and self.in_windows(hint, length) and self.areas.is_free(hint, hint + length):
            return hint
        if hint <= 0 and length % HUGE_PAGE_BYTES == 0:
            address = self.search(length + HUGE_PAGE_BYTES)
            if address >= 0:
                slack = -address % HUGE_PAGE_BYTES
                if slack == 0 and self.top_down:
                    return address + HUGE_PAGE_BYTES
                return address + slack
        return self.search(length)

    def in_windows(self, address, length):
        low = address >= self.low_base and address + length <= self.low_base + self.low_span
        high = address >= self.high_base and address + length - self.high_shift <= self.span
        return low or high

    def search(self, length):
        """First fit, down from the top of the mapping area, or up from its bottom if legacy."""
        if not self.top_down:
            ceiling = min(self.task_size, self.high_shift + self.span)
            if self.high_base >= self.task_size:
                ceiling = self.task_size
            return self.areas.lowest_gap(length, self.mmap_base, ceiling)
        floor = self.high_base if self.high_base < self.task_size else self.reserved_end
        return self.areas.highest_gap(length, floor, self.mmap_base)

    def munmap(self, address, length):
        """Unmap a range, whether it was mapped or not; returns 0 or a negative errno."""
        self.charge(Event.MUNMAP, 1)
        return self.record(SYS_MUNMAP, address, length, 0, 0, 0, 0, self.unmap(address, length))

    def unmap(self, address, length):
        if address & (PAGE_BYTES - 1) or length <= 0 or address + length > self.task_size:
            return EINVAL
        length = (length + PAGE_BYTES - 1) & -PAGE_BYTES
        more = self.areas.splits(address, address + length)
        if more > 0:
            if self.areas.n_areas + more > self.limit_map_count:
                return ENOMEM
            self.charge(Event.AREA_CUT, 1)
        self.unmap_pages(address, length)
        return 0

    def unmap_pages(self, address, length):
        """Remove areas and pages of a page-aligned range."""
        self.areas.unmap(address, address + length)
        self.mapped_bytes -= self.areas.unmapped_bytes
        if self.in_windows(address, length):
            self.give_back(address, length)

    def mremap(self, address, old_length, new_length, may_move=1):
        """Resize a mapping, moving its pages if needed; returns its address or a negative errno."""
        self.charge(Event.MREMAP, 1)
        result = self.resize(address, old_length, new_length, may_move)
        flags = MREMAP_MAYMOVE if may_move else 0
        return self.record(SYS_MREMAP, address, old_length, new_length, flags, 0, 0, result)

    def resize(self, address, old_length, new_length, may_move):
        old_length = (old_length + PAGE_BYTES - 1) & -PAGE_BYTES
        new_length = (new_length + PAGE_BYTES - 1) & -PAGE_BYTES
        slot = self.areas.find(address)
        if address & (PAGE_BYTES - 1) or new_length <= 0 or old_length <= 0:
            return EINVAL
        if slot < 0 or self.areas.hi[slot] < address + old_length:
            return EFAULT
        if new_length <= old_length:
            if new_length < old_length:
                self.unmap_pages(address + new_length, old_length - new_length)
            return address
        if not self.within_limits(new_length - old_length):
            return ENOMEM
        protection = self.areas.attributes[slot] & 7
        end = address + old_length
        if self.areas.hi[slot] == end and self.grows_in_place(end, address + new_length):
            self.areas.map(end, address + new_length, protection)
            self.add_mapped(new_length - old_length)
            return address
        return self.move(address, old_length, new_length, protection) if may_move else ENOMEM

    def grows_in_place(self, end, new_end):
        in_window = self.in_windows(end, new_end - end)
        return in_window and self.areas.is_free(end, new_end)

    def move(self, address, old_length, new_length, protection):
        """Move a mapping to a new place; returns it, or a negative errno."""
        if self.areas.n_areas + 3 > self.limit_map_count:
            return ENOMEM
        target = self.gap(0, new_length)
        if target < 0:
            return target
        self.areas.map(target, target + new_length, protection)
        self.add_mapped(new_length)
        moved = self.move_pages(address, target, old_length)
        self.charge(Event.PAGE_MOVED, moved)
        self.flush(moved)
        self.unmap_pages(address, old_length)
        return target

    def mprotect(self, address, length, protection):
        """Change a range's protection; returns 0 or a negative errno."""
        self.charge(Event.MPROTECT, 1)
        end = (address + length + PAGE_BYTES - 1) & -PAGE_BYTES
        result = 0
        if address & (PAGE_BYTES - 1):
            result = EINVAL
        elif not self.areas.covers(address, end) or self.areas.n_areas + 2 > self.limit_map_count:
            result = ENOMEM
        elif length > 0:
            self.areas.protect(address, end, protection)
        return self.record(SYS_MPROTECT, address, length, protection, 0, 0, 0, result)

    def madvise(self, address, length, advice):
        """DONTNEED drops a range's pages, FREE lets the kernel take them; 0 or a negative errno."""
        self.charge(Event.MADVISE, 1)
        end = (address + length + PAGE_BYTES - 1) & -PAGE_BYTES
        result = 0
        if address & (PAGE_BYTES - 1):
            result = EINVAL
        elif not self.areas.covers(address, end):
            result = ENOMEM
        elif advice == DONTNEED:
            self.give_back(address, end - address)
        elif advice == FREE:
            self.make_lazy(address, end)
        return self.record(SYS_MADVISE, address, length, advice, 0, 0, 0, result)

    def make_lazy(self, address, end):
        """Resident pages of [address, end) may be taken back; a write keeps them."""
        page = self.offset(address) >> PAGE_SHIFT
        stop = page + ((end - address) >> PAGE_SHIFT)
        self.spread_all(page, stop)
        while page < stop:
            if self.state[page] >= WRITTEN:
                self.state[page] -= WRITTEN - LAZY
            page += 1

    # ---- limits
    def within_limits(self, n_bytes):
        """Whether n_bytes more may be mapped."""
        return (
            self.start_bytes + self.mapped_bytes + n_bytes <= self.limit_as_bytes
            and self.areas.n_areas <= self.limit_map_count
        )

    def add_mapped(self, n_bytes):
        self.mapped_bytes += n_bytes
        if self.mapped_bytes > self.peak_mapped_bytes:
            self.peak_mapped_bytes = self.mapped_bytes

    # ---- locks
    def lock(self, number):
        """Take lock `number`, waiting in simulated time while another thread holds it."""
        self.charge(Event.LOCK, 1)
        wait = self.free_at_ps[number] - self.now_ps()
        if wait > 0:
            self.waited_ps += wait
            self.clock_ps += wait

    def trylock(self, number):
        """Take lock `number` if nobody holds it; whether it was taken."""
        self.charge(Event.LOCK, 1)
        return not self.is_locked(number)

    def is_locked(self, number):
        """Whether another thread holds lock `number`."""
        return self.free_at_ps[number] > self.now_ps()

    def unlock(self, number):
        """Give lock `number` back."""
        self.free_at_ps[number] = self.now_ps()
