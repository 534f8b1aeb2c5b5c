"""Simulated memory: the words of metadata at their real addresses."""

import numpy as np

from allocsim.component import Array, host, in_bounds, inline
from allocsim.component.native import prefetch, wrap
from allocsim.errors import SimulationError
from allocsim.kernel.backing import (
    HEAD,
    HEAD_BYTES,
    IN_PLACE,
    PAGE_BYTES,
    PAGE_SHIFT,
    WORDS,
    WRITTEN,
    ZERO,
)
from allocsim.kernel.costs import Event
from allocsim.kernel.pages import Pages

LINES = 512  # the small cache: 32 KiB of 64-byte lines, direct-mapped
LINE_MASK = LINES - 1
VISITED_BITS = 8
VISITED_PAGES = 1 << VISITED_BITS  # of calls' blocks: 1 MiB, direct-mapped by page
DISTANT_BLOCK = int(Event.DISTANT_BLOCK)  # a plain number: every call looks it up


class Memory(Pages):
    """What the allocator itself reads and writes.

    `load`, `store` and their kin have the faults that the same accesses have on Linux, and are
    counted as near or far; `peek` has none and costs nothing. What is called most has locate() for
    the heap written out: a call more would slow interpreted runs down.
    """

    lines = Array("i8", LINES)
    visited = Array("i8", VISITED_PAGES)
    # Loads and stores of metadata, and the far ones of them. They are not in `counts`, because
    # interpreted runs add to an attribute in half the time.
    accesses = 0
    far_accesses = 0

    @host
    def ledger(self) -> np.ndarray:
        """How often each event happened, by its number."""
        counts = np.array(self.counts, np.int64)
        counts[Event.NEAR_ACCESS] = self.accesses - self.far_accesses
        counts[Event.FAR_ACCESS] = self.far_accesses
        return counts

    @inline
    @in_bounds  # locate() has checked the address, and the pools are as large as the windows
    def load(self, address, width=8):
        """The integer of `width` bytes (1, 2, 4: unsigned; 8: signed) at an aligned address."""
        at = address - self.low_base  # locate() by hand for the heap: interpreted calls are slow
        if at >= self.low_span:
            at = self.locate(address)
        if at < 0 or self.state[at >> PAGE_SHIFT] & IN_PLACE == 0 or at & (width - 1):
            at = self.prepare_load(address, width)
        line = address >> 6
        slot = line & LINE_MASK
        self.accesses += 1
        self.far_accesses += self.lines[slot] != line
        self.lines[slot] = line
        word = self.words[at >> 3]
        if width == 8:
            return word
        return (word >> ((at & 7) * 8)) & ((1 << (width * 8)) - 1)

    @inline
    @in_bounds  # locate() has checked the address, and the pools are as large as the windows
    def store(self, address, value, width=8):
        """Write the low `width` bytes of `value` at an aligned address."""
        at = address - self.low_base
        if at >= self.low_span:
            at = self.locate(address)
        if at < 0 or self.state[at >> PAGE_SHIFT] != WORDS or at & (width - 1):
            at = self.prepare_store(address, width)
        line = address >> 6
        slot = line & LINE_MASK
        self.accesses += 1
        self.far_accesses += self.lines[slot] != line
        self.lines[slot] = line
        if width == 8:
            self.words[at >> 3] = value
        else:
            self.store_narrow(at, value, width)

    def prepare_load(self, address, width):
        """Whatever keeps a load off the fast path: a fault, an error, or a word that is not in its
        place. Returns where the word is, as an offset in the backing."""
        at = self.offset(address)
        self.faulted = 0
        if self.state[at >> PAGE_SHIFT] < ZERO:
            self.read_fault(at >> PAGE_SHIFT, address)
        if address & (width - 1):
            self.misaligned(address)
        return self.place_of(at)

    def prepare_store(self, address, width):
        """The same for a store, after which the page holds words."""
        at = self.offset(address)
        page = at >> PAGE_SHIFT
        self.faulted = 0
        if self.state[page] < WRITTEN:
            self.write_fault(page, address)
        if address & (width - 1):
            self.misaligned(address)
        if self.state[page] != WORDS and at & (PAGE_BYTES - 1) < HEAD_BYTES:
            self.state[page] = HEAD
            return self.head_of(at)
        if self.state[page] == HEAD:
            self.spread(page)
        self.state[page] = WORDS
        return at

    @inline
    @in_bounds  # locate() has checked the address, and the pools are as large as the windows
    def pop_link(self, address):
        """Load the word at a multiple of 16 and clear the one behind it.

        It counts as the two accesses it is; their common page and line are looked up once, since
        thread caches do this in every other call.
        """
        at = address - self.low_base
        if at >= self.low_span:
            at = self.locate(address)
        if at < 0 or self.state[at >> PAGE_SHIFT] != WORDS or at & 15:
            word = self.load_called(address)
            self.store_called(address + 8, 0)
            return word
        line = address >> 6  # note_accesses() by hand
        slot = line & LINE_MASK
        self.accesses += 2
        self.far_accesses += self.lines[slot] != line
        self.lines[slot] = line
        self.words[(at >> 3) + 1] = 0
        return self.words[at >> 3]

    @inline
    @in_bounds  # locate() has checked the address, and the pools are as large as the windows
    def push_link(self, address, link, key):
        """Load the word behind a multiple of 16, then store `key` there and `link` before it."""
        at = address - self.low_base
        if at >= self.low_span:
            at = self.locate(address)
        if at < 0 or self.state[at >> PAGE_SHIFT] != WORDS or at & 15:
            self.load_called(address + 8)
            self.store_called(address + 8, key)
            self.store_called(address, link)
        else:
            line = address >> 6  # as above
            slot = line & LINE_MASK
            self.accesses += 3
            self.far_accesses += self.lines[slot] != line
            self.lines[slot] = line
            self.words[(at >> 3) + 1] = key
            self.words[at >> 3] = link

    @inline
    @in_bounds  # locate() has checked the address, and the pools are as large as the windows
    def load_pair(self, address):
        """The words at a multiple of 16 and behind it: two accesses, looked up once."""
        at = address - self.low_base
        if at >= self.low_span:
            at = self.locate(address)
        if at < 0 or self.state[at >> PAGE_SHIFT] & IN_PLACE == 0 or at & 15:
            return self.load_called(address), self.load_called(address + 8)
        self.note_accesses(address, 2)
        return self.words[at >> 3], self.words[(at >> 3) + 1]

    @inline
    @in_bounds  # as above
    def store_pair(self, address, first, second):
        """Write the words at a multiple of 16 and behind it: two accesses, looked up once."""
        at = address - self.low_base
        if at >= self.low_span:
            at = self.locate(address)
        if at < 0 or self.state[at >> PAGE_SHIFT] != WORDS or at & 15:
            self.store_called(address, first)
            self.store_called(address + 8, second)
        else:
            self.note_accesses(address, 2)
            self.words[at >> 3] = first
            self.words[(at >> 3) + 1] = second

    @inline
    @in_bounds
    def note_accesses(self, address, n):
        """Count n accesses to one line: the first may be far.

        Without a branch, because no processor could predict it, and with two additions at fixed
        places: if far or near decided where to add, the next addition would wait for that. What is
        called most has the same lines of its own: a call more would slow interpreted runs down by
        a tenth.
        """
        line = address >> 6
        slot = line & LINE_MASK
        self.accesses += n
        self.far_accesses += self.lines[slot] != line
        self.lines[slot] = line

    @inline
    @in_bounds
    def becomes_near(self, address):
        """Whether an access would be far, after which it would not; to be counted by the caller."""
        line = address >> 6
        slot = line & LINE_MASK
        far = self.lines[slot] != line
        self.lines[slot] = line
        return far

    @inline
    @in_bounds
    def count_accesses(self, n, n_far):
        """Count n accesses, n_far of them far, whose words are known without them.

        Only where a kernel has no EVERY_ACCESS set.
        """
        self.accesses += n
        self.far_accesses += n_far

    @inline
    @in_bounds
    def visit(self, block):
        """A call has to do with that block: count whether its page is one not visited lately.

        The same places of several arenas, which lie 16,384 pages apart, do not meet.
        """
        page = block >> PAGE_SHIFT
        slot = (page ^ (page >> 14)) & (VISITED_PAGES - 1)
        self.counts[DISTANT_BLOCK] += self.visited[slot] != page
        self.visited[slot] = page

    def load_called(self, address):
        """`load`, not inlined: for paths that are rarely taken."""
        return self.load(address)

    def store_called(self, address, value):
        """`store`, not inlined: for paths that are rarely taken."""
        self.store(address, value)

    def store_narrow(self, at, value, width):
        bits = (at & 7) * 8
        mask = ((1 << (width * 8)) - 1) << bits
        self.words[at >> 3] = wrap((self.words[at >> 3] & ~mask) | ((value << bits) & mask))

    def misaligned(self, address):
        raise SimulationError("misaligned access at", address)

    # ---- looking without a trace
    @inline
    def peek(self, address):
        """The 8-byte word at `address`, without fault, cost or check of residency."""
        return self.words[self.place_of(self.offset(address)) >> 3]

    @inline
    def expect(self, address):
        """The word at `address` will be needed soon: have the host fetch it. Changes nothing.

        Outside of both windows it costs time: the host looks for a page that is not there.
        """
        base = self.high_shift if address >= self.high_base else self.low_base
        prefetch(self.words, (address - base) >> 3)

    @inline
    @in_bounds  # locate() has checked the address, and the pools are as large as the windows
    def expect_behind(self, address):
        """The word at `address`, expected before, is a length in bytes with flags in its low bits:
        have the host fetch the word so far behind it. Changes nothing.

        Only where a page of the host holds it: elsewhere to look would have the host get one.
        """
        at = self.locate(address)
        if at >= 0 and self.state[at >> PAGE_SHIFT] == WORDS:
            prefetch(self.words, (at + self.words[at >> 3]) >> 3)
