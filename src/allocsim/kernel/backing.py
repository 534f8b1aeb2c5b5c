"""The host memory behind simulated pages: their states, and the words that metadata is made of.

Two windows of the address space are backed: a low one from the program's first segment (heap
included) and a high one with the mapping area. Both are reserved on the host, but only the pages
that metadata is stored in take real memory.
"""

from allocsim.component import Component, Pool, inline
from allocsim.component.native import find, move, zero
from allocsim.errors import SimulationError

PAGE_BYTES = 4096
PAGE_SHIFT = 12
WORDS_PER_PAGE = 512
SPAN_BYTES = 320 << 30
KEPT_BYTES = 256 << 20  # of the low window, where the heap is: see Pool

# Page states, ordered: below ZERO nothing can be read, below WRITTEN nothing written without a
# visit to the kernel; from LAZY on the page is resident.
ABSENT = 0
SWAPPED = 1
SWAPPED_WORDS = 2  # swapped out, and the host page holds simulated words
ZERO = 8  # the shared page of zeros, mapped by a read
LAZY = 9  # MADV_FREE: resident, may be taken back any time
LAZY_WORDS = 10
WRITTEN = 11
WORDS = 12
HEAD = 16  # words lie in its first line only, as where a mapping of its own starts with a header
IN_PLACE = 8  # set in the states in which a load finds the word where the page's other words are
HEAD_BYTES = 64
HEAD_WORDS = HEAD_BYTES >> 3


class Backing(Component):
    """Words and states of pages, both by their place in the windows.

    An address's *offset in the backing* is in bytes: the low window comes first, then the high one.
    `page`, `stop` and `to` are numbers of pages in it.
    """

    words = Pool(
        "i8",
        (SPAN_BYTES >> 3) + (SPAN_BYTES >> PAGE_SHIFT) * HEAD_WORDS,  # see head_of
        kept_bytes=KEPT_BYTES,
    )
    state = Pool("u1", SPAN_BYTES >> PAGE_SHIFT)
    low_base = 0  # first address of the low window
    low_span = 0  # its length in bytes
    high_base = 0  # first address of the high window
    high_shift = 0  # what its addresses are more than their offsets
    span = 0  # length of both in bytes
    task_size = 0  # first address that user mode may not use
    reserved_end = 0  # first address that may be mapped

    @inline
    def locate(self, address):
        """Address -> byte offset in the backing; negative outside of it."""
        if address >= self.high_base:
            at = address - self.high_shift
            return at if at < self.span else -1
        at = address - self.low_base
        return at if at < self.low_span else -1

    @inline
    def offset(self, address):
        """Address -> byte offset in the backing; an error outside of it."""
        at = self.locate(address)
        if at < 0:
            self.outside(address)
        return at

    def outside(self, address):
        """SimulationError that says what kind of address it is."""
        if address < 0 or address >= self.task_size:
            raise SimulationError("segmentation fault: user mode may not use address", address)
        if address < self.reserved_end:
            raise SimulationError("segmentation fault: reserved low range at", address)
        raise SimulationError("segmentation fault: outside the simulated memory at", address)

    # ---- where words are
    @inline
    def head_of(self, at):
        """Where the words of a HEAD page's first line are, from their offset in the backing: behind
        all other words, side by side.

        Most mapped chunks have words in their first line only. A host page for each of them would
        take longer to get and to clear than all the rest that is simulated of such a chunk.
        """
        return self.span + (at >> PAGE_SHIFT) * HEAD_BYTES + (at & (HEAD_BYTES - 1))

    @inline
    def place_of(self, at):
        """Where the word at an offset in the backing really lies, as such an offset."""
        in_first_line = at & (PAGE_BYTES - 1) < HEAD_BYTES
        return self.head_of(at) if in_first_line and self.state[at >> PAGE_SHIFT] == HEAD else at

    def spread(self, page):
        """A HEAD page becomes one that holds words anywhere."""
        head = self.head_of(page << PAGE_SHIFT) >> 3
        move(self.words, head, page * WORDS_PER_PAGE, HEAD_WORDS)
        zero(self.words, head, HEAD_WORDS)
        self.state[page] = WORDS

    # ---- words that go or move
    def forget_words(self, page, stop, state):
        """Clear the words of all pages of [page, stop) in that state."""
        at = find(self.state, page, stop, state)
        while at < stop:
            zero(self.words, at * WORDS_PER_PAGE, WORDS_PER_PAGE)
            at = find(self.state, at + 1, stop, state)

    def forget_heads(self, page, stop):
        """Clear the words of all HEAD pages of [page, stop)."""
        at = find(self.state, page, stop, HEAD)
        while at < stop:
            zero(self.words, self.head_of(at << PAGE_SHIFT) >> 3, HEAD_WORDS)
            at = find(self.state, at + 1, stop, HEAD)

    def spread_all(self, page, stop):
        """Spread all HEAD pages of [page, stop)."""
        at = find(self.state, page, stop, HEAD)
        while at < stop:
            self.spread(at)
            at = find(self.state, at + 1, stop, HEAD)

    def move_words(self, page, stop, to, state):
        """Move the words of all pages of [page, stop) in that state to the pages from `to` on."""
        at = find(self.state, page, stop, state)
        while at < stop:
            from_word = at * WORDS_PER_PAGE
            move(self.words, from_word, (to + at - page) * WORDS_PER_PAGE, WORDS_PER_PAGE)
            zero(self.words, from_word, WORDS_PER_PAGE)
            at = find(self.state, at + 1, stop, state)
