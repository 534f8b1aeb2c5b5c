"""The pages of one address space: their faults, and a ledger of counts."""

from allocsim.component import Array, Part, in_bounds, inline
from allocsim.component.native import count, fill, ilog2, move
from allocsim.errors import SimulationError
from allocsim.kernel.address_space import VmaTable
from allocsim.kernel.backing import (
    ABSENT,
    HEAD,
    LAZY,
    LAZY_WORDS,
    PAGE_BYTES,
    PAGE_SHIFT,
    WORDS,
    WRITTEN,
    ZERO,
    Backing,
)
from allocsim.kernel.costs import N_EVENTS, Costs, Event

WRITE = int(Event.WRITE)  # plain numbers: looked up in every call that writes
BYTE_WRITTEN = int(Event.BYTE_WRITTEN)
FAR_BYTE_WRITTEN = int(Event.FAR_BYTE_WRITTEN)
RECENT_BITS = 10
RECENT_PAGES = 1 << RECENT_BITS  # the large cache: 4 MiB, direct-mapped by page
KEPT_BITS = 12
KEPT_PAGES = 1 << KEPT_BITS  # the last cache: 16 MiB, where the kernel clears pages fast
TABLE_LINE_SHIFT = 15  # eight pages, whose entries in the page table share a cache line
TABLE_LINES = 16  # of the page table, held by a direct-mapped cache
FREE_PAGES = 512  # of a CPU: those that the kernel got back there last and hands out first
MOST_CPUS = 64  # that threads of one program run on
CPU_SHIFT = 32  # a CPU's number stands above all numbers of pages
MOST_FLUSHED = 33  # pages; beyond, a CPU forgets all its translations at once
POISON = 0x6B6B6B6B6B6B6B6B
POISONED_WORDS = 16


class Pages(Backing):
    """Which pages there are, what the program and the allocator do to their bytes, and the faults.

    Addresses and lengths are in bytes. `touch`, `read`, `zero` and `copy` have the faults that the
    same accesses have on Linux.
    """

    areas = Part(VmaTable)
    costs = Part(Costs)
    counts = Array("i8", N_EVENTS)  # near and far accesses are counted apart: see ledger()
    cpu = 0  # where the program runs, see run_on()
    mark = 1  # what marks of this CPU in `recent` are more than the page's number
    recent = Array("i8", RECENT_PAGES)  # of the pages that meet here: which was written last, where
    kept = Array("i8", KEPT_PAGES)  # the same of the last cache
    table_lines = Array("i8", TABLE_LINES)  # of the lines that meet here: which was used last
    minor_faults = 0
    faulted = 0  # the access in progress has had a fault
    written_class = 0  # of the program's latest write, and the allocator's clearing or copy: the
    filled_class = 0  # logarithm of its size
    free_pages = Array("u1", MOST_CPUS * FREE_PAGES)  # stacks without bottom: whether they are hot
    free_tops = Array("i8", MOST_CPUS)  # their heights, if nothing were lost
    n_free_pages = Array("i8", MOST_CPUS)
    resident_pages = 0
    peak_resident_pages = 0
    clock_ps = 0  # see Kernel.now_ps
    poison = 0  # checked mode: what the program writes destroys the words that lay there

    def run_on(self, cpu):
        """The program runs on that CPU now, below MOST_CPUS: it has its own caches and free pages.

        With one thread it is always the first.
        """
        self.cpu = cpu
        self.mark = 1 + (cpu << CPU_SHIFT)

    @inline
    def charge(self, event, n):
        """Count n events and let the clock pass by their price."""
        self.counts[event] += n
        self.clock_ps += self.costs.price_ps(event, n)

    # ---- bytes: only residency changes
    @inline
    def touch(self, address, n_bytes):
        """The program writes n_bytes at `address`."""
        size_class = ilog2(n_bytes | 1)
        self.counts[WRITE] += size_class != self.written_class
        self.written_class = size_class
        self.counts[BYTE_WRITTEN] += n_bytes
        page = address >> PAGE_SHIFT
        one_page = (address & (PAGE_BYTES - 1)) + n_bytes <= PAGE_BYTES
        # is_recent() by hand: a call more would slow interpreted runs down
        if (
            not one_page
            or self.recent[page & (RECENT_PAGES - 1)] != (page >> RECENT_BITS) + self.mark
        ):
            self.note_far(address, n_bytes)
        self.write_pages(address, n_bytes)
        if self.poison:
            self.spoil(address, n_bytes)

    def note_far(self, address, n_bytes):
        """Count which of the bytes that the program is to write no cache holds.

        Those are in pages that it has not written for long; those of absent pages are none of them,
        since the kernel will just have cleared them.
        """
        end = address + n_bytes
        at = self.offset(address) >> PAGE_SHIFT
        self.offset(end - 1)
        while address < end:
            page = address >> PAGE_SHIFT
            following = min(end, (page + 1) << PAGE_SHIFT)
            if not self.is_recent(page):
                self.note_recent(page, 1)
                if self.state[at] >= LAZY:
                    self.counts[FAR_BYTE_WRITTEN] += following - address
            address = following
            at += 1

    def zero(self, address, n_bytes):
        """The allocator clears n_bytes at `address`."""
        self.counts[Event.BYTE_ZEROED] += n_bytes
        if n_bytes > 0:
            self.note_fill(n_bytes)
            self.write_pages(address, n_bytes)

    def copy(self, target, source, n_bytes):
        """The allocator copies n_bytes of the program's data."""
        self.counts[Event.BYTE_COPIED] += n_bytes
        if n_bytes > 0:
            self.note_fill(n_bytes)
            self.read(source, n_bytes)
            self.write_pages(target, n_bytes)

    def note_fill(self, n_bytes):
        """Count a clearing or copy of another size, to a power of two, than the last."""
        size_class = ilog2(n_bytes)
        self.counts[Event.FILL] += size_class != self.filled_class
        self.filled_class = size_class

    @inline
    @in_bounds  # as above
    def write_pages(self, address, n_bytes):
        """Make every page of [address, address + n_bytes) written; n_bytes > 0."""
        at = address - self.low_base  # locate() by hand for the heap: interpreted calls are slow
        if at >= self.low_span:
            at = self.locate(address)
        one_page = (address & (PAGE_BYTES - 1)) + n_bytes <= PAGE_BYTES
        if at < 0 or not one_page or self.state[at >> PAGE_SHIFT] < WRITTEN:
            self.write_many(address, n_bytes)

    def write_many(self, address, n_bytes):
        """`write_pages` where there is more to do than to look at one page."""
        self.faulted = 0
        page = self.offset(address) >> PAGE_SHIFT
        stop = (self.offset(address + n_bytes - 1) >> PAGE_SHIFT) + 1
        base = (address & -PAGE_BYTES) - page * PAGE_BYTES
        while page < stop:
            if self.state[page] == ABSENT:
                page = self.write_absent(page, stop, base)
            else:
                if self.state[page] < WRITTEN:
                    self.write_fault(page, base + page * PAGE_BYTES)
                page += 1

    def write_absent(self, page, stop, base):
        """First writes to a run of absent pages, all at once; returns the page after the run."""
        slot = self.area_of(base + page * PAGE_BYTES, 2)
        end = min(stop, (self.areas.hi[slot] - base) >> PAGE_SHIFT)
        last = page + 1
        while last < end and self.state[last] == ABSENT:
            last += 1
        n = last - page
        self.charge_faults(Event.WRITE_FAULT, n)
        self.clear_new(n)
        self.note_table_lines(base + page * PAGE_BYTES, n * PAGE_BYTES)
        fill(self.state, page, n, WRITTEN)
        highest = (base >> PAGE_SHIFT) + last - 1
        if not self.is_recent(highest):
            self.note_recent(highest + 1 - n, n)  # touch() has noted all that it writes
        self.add_resident(n)
        return last

    def read(self, address, n_bytes):
        """Somebody reads n_bytes at `address`: absent pages map the page of zeros."""
        if n_bytes <= 0:
            return
        self.faulted = 0
        page = self.offset(address) >> PAGE_SHIFT
        last = self.offset(address + n_bytes - 1) >> PAGE_SHIFT
        base = (address & -PAGE_BYTES) - page * PAGE_BYTES
        while page <= last:
            if self.state[page] < ZERO:
                self.read_fault(page, base + page * PAGE_BYTES)
            page += 1

    def spoil(self, address, n_bytes):
        """Overwrite the first and last whole words of what the program wrote."""
        first = (address + 7) & -8
        last = (address + n_bytes) & -8
        at = first
        while at < last:
            if at == first + 8 * POISONED_WORDS and last - at > 8 * POISONED_WORDS:
                at = last - 8 * POISONED_WORDS
            self.plant(at, POISON)
            at += 8

    def plant(self, address, word):
        """What the program wrote to an aligned address: no fault and no cost of its own."""
        at = self.offset(address)
        page = at >> PAGE_SHIFT
        if self.state[page] == HEAD:
            self.spread(page)
        self.state[page] = WORDS
        self.words[at >> 3] = word

    # ---- faults
    def area_of(self, address, protection):
        """The slot of the area at `address`; a segmentation fault unless it allows the access."""
        slot = self.areas.find(address)
        if slot < 0 or not self.areas.attributes[slot] & protection:
            if address < self.reserved_end:
                self.outside(address)
            raise SimulationError("segmentation fault at", address)
        return slot

    def read_fault(self, page, address):
        """The page (absent so far) becomes readable: the page of zeros is mapped."""
        self.area_of(address, 1)
        self.charge_faults(Event.READ_FAULT, 1)
        self.note_table_lines(address, 1)
        self.state[page] = ZERO

    def write_fault(self, page, address):
        """The page becomes writable."""
        before = self.state[page]
        self.area_of(address, 2)
        self.state[page] = WRITTEN
        if LAZY <= before < WRITTEN:
            self.state[page] = before + (WRITTEN - LAZY)
            return
        self.charge_faults(Event.COPY_FAULT if before == ZERO else Event.WRITE_FAULT, 1)
        self.clear_new(1)
        self.note_table_lines(address, 1)
        self.note_recent(address >> PAGE_SHIFT, 1)
        self.add_resident(1)

    def charge_faults(self, event, n):
        """Count n minor faults of one kind; the first of an access has a price of its own."""
        self.charge(event, n)
        self.minor_faults += n
        if self.faulted == 0:
            self.faulted = 1
            self.charge(Event.FAULT_RUN, 1)

    def clear_new(self, n):
        """The kernel clears n free pages, first those that it got back last."""
        self.charge(Event.PAGE_ZEROED, n)
        cold = n
        at = self.free_tops[self.cpu]
        bottom = at - min(n, self.n_free_pages[self.cpu])
        self.n_free_pages[self.cpu] -= at - bottom
        while at > bottom:
            at -= 1
            cold -= self.free_pages[self.cpu * FREE_PAGES + (at & (FREE_PAGES - 1))]
        self.free_tops[self.cpu] = at
        self.charge(Event.COLD_PAGE, cold)

    def note_free(self, page, n):
        """The kernel has got n pages back, the first given by its number in the address space."""
        at = self.free_tops[self.cpu]
        i = max(0, n - FREE_PAGES)
        while i < n:
            slot = self.cpu * FREE_PAGES + (at & (FREE_PAGES - 1))
            mark = ((page + i) >> KEPT_BITS) + self.mark
            self.free_pages[slot] = self.kept[(page + i) & (KEPT_PAGES - 1)] == mark
            at += 1
            i += 1
        self.free_tops[self.cpu] = at
        self.n_free_pages[self.cpu] = min(self.n_free_pages[self.cpu] + n, FREE_PAGES)

    @inline
    def is_recent(self, page):
        """Whether the CPU's caches hold the page, given by its number in the address space."""
        return self.recent[page & (RECENT_PAGES - 1)] == (page >> RECENT_BITS) + self.mark

    def note_recent(self, page, n):
        """The CPU's caches hold n pages now, the first given by its number in the address space."""
        number = page + max(0, n - KEPT_PAGES)
        while number < page + n:
            self.recent[number & (RECENT_PAGES - 1)] = (number >> RECENT_BITS) + self.mark
            self.kept[number & (KEPT_PAGES - 1)] = (number >> KEPT_BITS) + self.mark
            number += 1

    def add_resident(self, n):
        self.resident_pages += n
        if self.resident_pages > self.peak_resident_pages:
            self.peak_resident_pages = self.resident_pages

    # ---- pages that go back to the kernel
    def give_back(self, address, n_bytes):
        """A system call takes the pages of a page-aligned range away.

        Where only some of them are resident, the first ones stand for those.
        """
        n = self.drop(address, n_bytes)
        self.charge(Event.PAGE_RELEASED, n)
        self.flush(n)
        if n > 0:
            self.note_free(address >> PAGE_SHIFT, n)
            line = address >> TABLE_LINE_SHIFT
            if self.table_lines[line & (TABLE_LINES - 1)] != line:
                self.charge(Event.COLD_RELEASE, 1)
            self.note_table_lines(address, n_bytes)

    def flush(self, n):
        """The CPU forgets the translations of n pages that a call takes from their places."""
        self.charge(Event.PAGE_FLUSHED, self.flushed_singly(n))

    @inline
    def flushed_singly(self, n):
        """How many of n pages' translations are forgotten one by one: all, or none if it is cheaper
        to forget whatever the CPU has.

        The limit is Linux's tlb_single_page_flush_ceiling (Documentation/arch/x86/tlb.rst).
        """
        return n if n <= MOST_FLUSHED else 0

    def note_table_lines(self, address, n_bytes):
        """The kernel changes the page table's entries for a range of pages."""
        line = address >> TABLE_LINE_SHIFT
        last = (address + n_bytes - 1) >> TABLE_LINE_SHIFT
        line = max(line, last - TABLE_LINES + 1)
        while line <= last:
            self.table_lines[line & (TABLE_LINES - 1)] = line
            line += 1

    def drop(self, address, n_bytes):
        """Forget the pages of a page-aligned range; returns how many of them were resident."""
        page = self.offset(address) >> PAGE_SHIFT
        stop = page + (n_bytes >> PAGE_SHIFT)
        resident = self.resident_in(address, n_bytes)
        self.forget_words(page, stop, WORDS)
        self.forget_words(page, stop, LAZY_WORDS)
        self.forget_heads(page, stop)
        fill(self.state, page, stop - page, ABSENT)
        self.resident_pages -= resident
        return resident

    def resident_in(self, address, n_bytes):
        """How many pages of a page-aligned range are resident."""
        page = self.offset(address) >> PAGE_SHIFT
        stop = page + (n_bytes >> PAGE_SHIFT)
        return (
            count(self.state, page, stop, WORDS)
            + count(self.state, page, stop, HEAD)
            + count(self.state, page, stop, WRITTEN)
            + count(self.state, page, stop, LAZY_WORDS)
            + count(self.state, page, stop, LAZY)
        )

    def move_pages(self, source, target, n_bytes):
        """Move pages with their states and words; returns how many were resident."""
        resident = self.resident_in(source, n_bytes)
        page = self.offset(source) >> PAGE_SHIFT
        to = self.offset(target) >> PAGE_SHIFT
        n = n_bytes >> PAGE_SHIFT
        self.spread_all(page, page + n)
        self.move_words(page, page + n, to, WORDS)
        self.move_words(page, page + n, to, LAZY_WORDS)
        move(self.state, page, to, n)
        fill(self.state, page, n, ABSENT)
        return resident
