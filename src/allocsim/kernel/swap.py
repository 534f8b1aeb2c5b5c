"""A kernel with little physical memory: the least recently used pages go out to swap."""

from allocsim.component import Param, Pool, inline
from allocsim.component.native import zero
from allocsim.kernel.backing import (
    ABSENT,
    LAZY,
    PAGE_SHIFT,
    SPAN_BYTES,
    SWAPPED,
    SWAPPED_WORDS,
    WORDS,
    WORDS_PER_PAGE,
    WRITTEN,
    ZERO,
)
from allocsim.kernel.costs import Event
from allocsim.kernel.kernel import Kernel

N_PAGES = SPAN_BYTES >> PAGE_SHIFT


class SwappingKernel(Kernel):
    """At most `memory_pages` pages are resident; coming back from swap is a major fault.

    Resident pages form a list from the most to the least recently used one; each access to a page
    moves it to the front. Pages that MADV_FREE gave up are dropped instead of swapped.

    Not modelled: Linux's approximation of the order by two lists and accessed bits, read-ahead,
    clean copies that stay in swap, and the end of swap space.
    """

    EVERY_ACCESS = 1
    memory_pages = Param(1 << 18, "pages", 2, 1 << 40, "physical memory")
    newer = Pool("i4", N_PAGES + 1)  # of each page, numbered from 1: the one used after it, or 0
    older = Pool("i4", N_PAGES + 1)
    newest = 0
    oldest = 0

    # ---- every access
    @inline
    def load(self, address, width=8):
        self.used(self.offset(address) >> PAGE_SHIFT)
        return super().load(address, width)

    @inline
    def store(self, address, value, width=8):
        self.used(self.offset(address) >> PAGE_SHIFT)
        super().store(address, value, width)

    def pop_link(self, address):
        self.used(self.offset(address) >> PAGE_SHIFT)
        return super().pop_link(address)

    def push_link(self, address, link, key):
        self.used(self.offset(address) >> PAGE_SHIFT)
        super().push_link(address, link, key)

    def load_pair(self, address):
        self.used(self.offset(address) >> PAGE_SHIFT)
        return super().load_pair(address)

    def store_pair(self, address, first, second):
        self.used(self.offset(address) >> PAGE_SHIFT)
        super().store_pair(address, first, second)

    def write_pages(self, address, n_bytes):
        self.used_range(address, n_bytes)
        super().write_pages(address, n_bytes)

    def read(self, address, n_bytes):
        if n_bytes > 0:
            self.used_range(address, n_bytes)
        super().read(address, n_bytes)

    def used_range(self, address, n_bytes):
        page = self.offset(address) >> PAGE_SHIFT
        last = self.offset(address + n_bytes - 1) >> PAGE_SHIFT
        while page <= last:
            self.used(page)
            page += 1

    @inline
    def used(self, page):
        """The page is accessed: if it is resident, it is the most recently used one now."""
        if page + 1 != self.newest and self.state[page] >= LAZY:
            self.leave(page + 1)
            self.enter(page + 1)

    # ---- faults
    def read_fault(self, page, address):
        if self.state[page] == ABSENT:
            super().read_fault(page, address)
        else:
            self.area_of(address, 1)
            self.bring_back(page)

    def write_fault(self, page, address):
        before = self.state[page]
        self.area_of(address, 2)
        if ABSENT < before < ZERO:
            self.bring_back(page)
        elif before >= LAZY:
            super().write_fault(page, address)
        else:
            self.make_room()
            super().write_fault(page, address)
            self.enter(page + 1)

    def write_absent(self, page, stop, base):
        """One page after the other: the first may have to go out for the last."""
        self.area_of(base + (page << PAGE_SHIFT), 2)
        self.make_room()
        following = super().write_absent(page, page + 1, base)
        self.enter(page + 1)
        return following

    def bring_back(self, page):
        """A page that was swapped out is needed again."""
        self.make_room()
        self.charge(Event.MAJOR_FAULT, 1)
        self.state[page] = WORDS if self.state[page] == SWAPPED_WORDS else WRITTEN
        self.add_resident(1)
        self.enter(page + 1)

    def make_room(self):
        """Give up the least recently used pages until another one fits."""
        while self.resident_pages >= self.memory_pages:
            page = self.oldest - 1
            self.leave(page + 1)
            self.resident_pages -= 1
            self.spread_all(page, page + 1)
            if self.state[page] < WRITTEN:
                zero(self.words, page * WORDS_PER_PAGE, WORDS_PER_PAGE)
                self.state[page] = ABSENT
            else:
                self.state[page] = SWAPPED_WORDS if self.state[page] >= WORDS else SWAPPED
                self.charge(Event.PAGE_SWAPPED, 1)

    def plant(self, address, word):
        page = self.offset(address) >> PAGE_SHIFT
        was_out = self.state[page] < ZERO
        super().plant(address, word)
        if was_out:
            self.state[page] = SWAPPED_WORDS

    # ---- pages that go or move
    def drop(self, address, n_bytes):
        page = self.offset(address) >> PAGE_SHIFT
        stop = page + (n_bytes >> PAGE_SHIFT)
        self.forget_words(page, stop, SWAPPED_WORDS)
        while page < stop:
            if self.state[page] >= LAZY:
                self.leave(page + 1)
            page += 1
        return super().drop(address, n_bytes)

    def move_pages(self, source, target, n_bytes):
        page = self.offset(source) >> PAGE_SHIFT
        to = self.offset(target) >> PAGE_SHIFT
        stop = page + (n_bytes >> PAGE_SHIFT)
        self.move_words(page, stop, to, SWAPPED_WORDS)
        while page < stop:
            if self.state[page] >= LAZY:
                self.leave(page + 1)
                self.enter(to + 1)
            page += 1
            to += 1
        return super().move_pages(source, target, n_bytes)

    # ---- the list
    def enter(self, page):
        """Page number + 1 becomes the most recently used one."""
        self.newer[page] = 0
        self.older[page] = self.newest
        if self.newest != 0:
            self.newer[self.newest] = page
        else:
            self.oldest = page
        self.newest = page

    def leave(self, page):
        """Take page number + 1 out of the list."""
        newer = self.newer[page]
        older = self.older[page]
        if newer != 0:
            self.older[newer] = older
        else:
            self.newest = older
        if older != 0:
            self.newer[older] = newer
        else:
            self.oldest = newer
