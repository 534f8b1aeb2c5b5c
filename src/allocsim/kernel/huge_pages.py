"""A kernel with transparent huge pages: faults of 2 MiB, splitting, and khugepaged."""

from allocsim.component import Param, Pool, host
from allocsim.component.native import count, fill
from allocsim.kernel.address_space import PROT_READ_WRITE
from allocsim.kernel.backing import ABSENT, HEAD, PAGE_SHIFT, SPAN_BYTES, WORDS, WRITTEN, ZERO
from allocsim.kernel.costs import Event
from allocsim.kernel.kernel import FREE, HUGE_PAGE_BYTES, Kernel
from allocsim.kernel.layout import Layout

NEVER, MADVISE, ALWAYS = 0, 1, 2
SETTINGS = ("never", "madvise", "always")
"""The settings of /sys/kernel/mm/transparent_hugepage/enabled."""

ADVISE_HUGE, ADVISE_SMALL = 14, 15  # madvise's advice
PAGES = HUGE_PAGE_BYTES >> PAGE_SHIFT
N_PAGES = SPAN_BYTES >> PAGE_SHIFT
NOTHING, HUGE, TABLE = 0, 1, 2  # what a region is mapped by


class HugePageKernel(Kernel):
    """Memory comes in huge pages where the setting and the program's advice allow it.

    A *region* is 2 MiB at a multiple of 2 MiB. A fault in a region that nothing is mapped to and
    that lies in one area as a whole maps all of it at once: a huge page by a write, the huge page
    of zeros by a read. Otherwise the region gets a table of small pages, which it keeps until it
    is dropped or unmapped as a whole. Dropping, moving or protecting a part splits a huge page into
    small ones, which stay. khugepaged (`collapse`) makes huge pages of regions with small ones.
    `mapped_by` tells of each region, at its first page, what it has; `advised` of each page what
    madvise said.

    As Linux 6.18 does it with `defrag` on, and memory in plenty: a huge page is always to be had.
    Not modelled: areas that madvise splits (only their pages know), and the zero-filled parts that
    Linux gives back when it splits a page for MADV_FREE.
    """

    huge_pages = Param(ALWAYS, "", NEVER, ALWAYS, "0: never, 1: where advised, 2: always")
    max_ptes_none = Param(511, "pages", 0, 511, "absent pages of a region that khugepaged accepts")
    mapped_by = Pool("u1", N_PAGES)
    advised = Pool("u1", N_PAGES)
    scanned_to = 0  # the address where khugepaged goes on
    collapsed = 0  # huge pages that khugepaged made

    @host
    def lay_out(self, layout: Layout) -> None:
        """As Kernel.lay_out; what is there at the start is taken to have pages, and so tables."""
        super().lay_out(layout)
        for area in layout.areas:
            for start in range(area.lo & -HUGE_PAGE_BYTES, area.hi, HUGE_PAGE_BYTES):
                if self.locate(start) >= 0:
                    self.mapped_by[self.offset(start) >> PAGE_SHIFT] = TABLE

    # ---- regions
    def first_of(self, page, address):
        """The number of the first page of the region around `address`, which has number `page`."""
        return page - ((address & (HUGE_PAGE_BYTES - 1)) >> PAGE_SHIFT)

    def allows(self, first, address):
        """Whether the region at `address` lies in one area, and may have a huge page."""
        if self.huge_pages == NEVER:
            return False
        slot = self.areas.find(address)
        if slot < 0 or self.areas.hi[slot] < address + HUGE_PAGE_BYTES:
            return False
        inside = self.locate(address + HUGE_PAGE_BYTES - 1) == ((first + PAGES) << PAGE_SHIFT) - 1
        if not inside or self.areas.attributes[slot] != PROT_READ_WRITE:
            return False
        if self.huge_pages == ALWAYS:
            return count(self.advised, first, first + PAGES, ADVISE_SMALL) == 0
        return count(self.advised, first, first + PAGES, ADVISE_HUGE) == PAGES

    def is_empty(self, first, address):
        """Whether a fault at `address`, in the region at page `first`, may get a huge page."""
        start = address & -HUGE_PAGE_BYTES
        if self.locate(start) < 0 or self.mapped_by[first] != NOTHING:
            return False
        return self.allows(first, start)

    def note_table(self, first):
        """The region at page `first`, unless it starts outside, gets or has a table."""
        if first >= 0:
            self.mapped_by[first] = TABLE

    def split(self, address):
        """A huge page of which `address` is inside, but not the start, becomes small ones."""
        start = address & -HUGE_PAGE_BYTES
        if start != address and self.locate(start) >= 0:
            first = self.offset(start) >> PAGE_SHIFT
            if self.mapped_by[first] == HUGE:
                self.mapped_by[first] = TABLE

    def split_ends(self, address, n_bytes):
        """Split what lies across the ends of a range."""
        if n_bytes > 0 and self.in_windows(address, n_bytes):
            self.split(address)
            self.split(address + n_bytes)

    def whole_in(self, address, n_bytes):
        """How many huge pages a range holds, not counting the huge page of zeros."""
        at = (address + HUGE_PAGE_BYTES - 1) & -HUGE_PAGE_BYTES
        n = 0
        while at + HUGE_PAGE_BYTES <= address + n_bytes:
            page = self.offset(at) >> PAGE_SHIFT
            n += self.mapped_by[page] == HUGE and self.state[page] >= WRITTEN
            at += HUGE_PAGE_BYTES
        return n

    # ---- faults
    def fault_huge(self, first):
        """A huge page is mapped to the region at page `first`."""
        self.charge(Event.HUGE_FAULT, 1)
        self.charge(Event.HUGE_PAGE_ZEROED, 1)
        self.minor_faults += 1
        fill(self.state, first, PAGES, WRITTEN)
        self.mapped_by[first] = HUGE
        self.add_resident(PAGES)

    def read_fault(self, page, address):
        first = self.first_of(page, address)
        if self.is_empty(first, address):
            self.area_of(address, 1)
            self.charge(Event.READ_FAULT, 1)
            self.minor_faults += 1
            fill(self.state, first, PAGES, ZERO)
            self.mapped_by[first] = HUGE
        else:
            self.note_table(first)
            super().read_fault(page, address)

    def write_fault(self, page, address):
        first = self.first_of(page, address)
        before = self.state[page]
        if before == ZERO and first >= 0:
            whole = self.mapped_by[first] == HUGE
        else:
            whole = before == ABSENT and self.is_empty(first, address)
        if whole:
            self.area_of(address, 2)
            self.fault_huge(first)
        else:
            if before <= ZERO:
                self.note_table(first)
            super().write_fault(page, address)

    def write_absent(self, page, stop, base):
        address = base + (page << PAGE_SHIFT)
        first = self.first_of(page, address)
        if self.is_empty(first, address):
            self.area_of(address, 2)
            self.fault_huge(first)
            return min(stop, first + PAGES)
        self.note_table(first)
        return super().write_absent(page, min(stop, first + PAGES), base)

    # ---- pages that go or move
    def drop(self, address, n_bytes):
        """As Memory.drop; huge pages that go as a whole are counted apart, not in what it returns.

        The others are split first, so that what is left of them is small pages.
        """
        self.split_ends(address, n_bytes)
        whole = self.whole_in(address, n_bytes)
        self.charge(Event.HUGE_PAGE_RELEASED, whole)
        at = (address + HUGE_PAGE_BYTES - 1) & -HUGE_PAGE_BYTES
        while at + HUGE_PAGE_BYTES <= address + n_bytes:
            self.mapped_by[self.offset(at) >> PAGE_SHIFT] = NOTHING
            at += HUGE_PAGE_BYTES
        return super().drop(address, n_bytes) - whole * PAGES

    def move_pages(self, source, target, n_bytes):
        """As Memory.move_pages; a huge page that stays aligned moves as one."""
        self.split_ends(source, n_bytes)
        whole = 0
        if (source - target) & (HUGE_PAGE_BYTES - 1) == 0:
            whole = self.whole_in(source, n_bytes)
        at = source
        while at < source + n_bytes:
            to = at - source + target
            step = HUGE_PAGE_BYTES - max(at & (HUGE_PAGE_BYTES - 1), to & (HUGE_PAGE_BYTES - 1))
            self.move_mapping(at, to, step == HUGE_PAGE_BYTES)
            at += step
        return super().move_pages(source, target, n_bytes) - whole * (PAGES - 1)

    def move_mapping(self, source, target, whole):
        """What the region around `source` is mapped by is now needed around `target`, too.

        A region that moves as a whole takes it along; else the new one gets a table, which it may
        have no page for.
        """
        old = source & -HUGE_PAGE_BYTES
        new = target & -HUGE_PAGE_BYTES
        if self.locate(old) < 0 or self.locate(new) < 0:
            return
        first = self.offset(old) >> PAGE_SHIFT
        if self.mapped_by[first] != NOTHING:
            self.mapped_by[self.offset(new) >> PAGE_SHIFT] = (
                self.mapped_by[first] if whole else TABLE
            )
            self.mapped_by[first] = NOTHING if whole else TABLE

    # ---- system calls
    def unmap_pages(self, address, length):
        super().unmap_pages(address, length)
        if self.in_windows(address, length):
            fill(self.advised, self.offset(address) >> PAGE_SHIFT, length >> PAGE_SHIFT, 0)
            self.forget_table(address)
            self.forget_table(address + length)

    def forget_table(self, address):
        """A region in which no area is left has no table any more."""
        start = address & -HUGE_PAGE_BYTES
        if self.locate(start) >= 0 and self.areas.is_free(start, start + HUGE_PAGE_BYTES):
            self.mapped_by[self.offset(start) >> PAGE_SHIFT] = NOTHING

    def mprotect(self, address, length, protection):
        self.split_ends(address, length)
        return super().mprotect(address, length, protection)

    def madvise(self, address, length, advice):
        if advice == FREE:
            self.split_ends(address, length)
        result = super().madvise(address, length, advice)
        if result == 0 and (advice in (ADVISE_HUGE, ADVISE_SMALL)):
            n = (length + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT
            fill(self.advised, self.offset(address) >> PAGE_SHIFT, n, advice)
        return result

    # ---- khugepaged
    def collapse(self, n_pages):
        """khugepaged looks at n_pages pages, from where it stopped; how many huge pages it made."""
        made = 0
        areas = 0
        while n_pages > 0 and areas <= self.areas.n_areas:
            cursor = self.areas.first_above(self.scanned_to)
            if cursor == self.areas.end():
                self.scanned_to = 0
                areas += 1
                continue
            slot = self.areas.slot(cursor)
            at = max(self.scanned_to, self.areas.lo[slot])
            at = (at + HUGE_PAGE_BYTES - 1) & -HUGE_PAGE_BYTES
            if at + HUGE_PAGE_BYTES > self.areas.hi[slot] or self.locate(at) < 0:
                self.scanned_to = self.areas.hi[slot]
                areas += 1
                continue
            made += self.collapse_region(self.offset(at) >> PAGE_SHIFT, at)
            self.scanned_to = at + HUGE_PAGE_BYTES
            n_pages -= PAGES
        return made

    def collapse_region(self, first, address):
        """Make a huge page of a region that is fit for one; 1 if it was."""
        if self.mapped_by[first] != TABLE or not self.allows(first, address):
            return 0
        resident = count(self.state, first, first + PAGES, WRITTEN)
        resident += count(self.state, first, first + PAGES, WORDS)
        resident += count(self.state, first, first + PAGES, HEAD)
        none = count(self.state, first, first + PAGES, ABSENT)
        none += count(self.state, first, first + PAGES, ZERO)
        if resident == 0 or none > self.max_ptes_none or resident + none < PAGES:
            return 0
        page = first
        while page < first + PAGES:
            if self.state[page] <= ZERO:
                self.state[page] = WRITTEN
            page += 1
        self.mapped_by[first] = HUGE
        self.collapsed += 1
        self.add_resident(PAGES - resident)
        return 1
