"""Which arena serves a thread: creating, sharing and handing them on."""

from allocsim.component import Part, Parts, PerThread, Pool, in_bounds, inline
from allocsim.glibc.arena import Arena
from allocsim.glibc.chunks import IN_OTHER_ARENA, PAGE_MASK, SIZE
from allocsim.glibc.heaps import DESCRIPTION_BYTES, HEAP_BYTES, NO_ACCESS, READ_WRITE, Heaps
from allocsim.glibc.mapped_chunks import MappedChunks
from allocsim.glibc.tcache import KEY, NO_ARENA, ThreadCache

MAX_ARENAS = 66  # one for each thread that a run may have, the main one, and one to spare
ARENAS_PER_CPU = 8
MAIN_THREAD = 63  # the thread that creates the others where a trace has several; it runs no op
STACK_BYTES = 0x801000  # of a thread: 8 MiB and a guard page
STACK_FLAGS = 0x20022
GUARD_INSTALL = 102  # advice to the kernel
THREAD_VECTOR_BYTES = 272  # what creating a thread allocates: its table of thread-local storage


class Arenas(MappedChunks):
    """The arenas, numbered in the order of their creation; 0 is the main one.

    They form a ring, newest first behind the main one. Each has a lock of its number, which counts
    only where threads meet in simulated time.
    """

    tcache = PerThread(ThreadCache)
    arenas = Parts(Arena, n=MAX_ARENAS)
    heaps = Part(Heaps)
    threaded = 0  # a second thread has been created
    n_arenas = 1
    arena_limit = 0  # 0: not known yet
    next_to_share = 0
    regions = Pool("i8", 1 << 20, for_walk=True)  # where the main arena's pieces of memory start
    n_regions = 0
    free_arena = NO_ARENA  # first of those whose threads have all ended

    def start_threads(self, n, with_stacks=1):
        """Create n threads, which make the trace's calls, before the first operation.

        It leaves in the main arena what the creation of threads allocates; `with_stacks` also maps
        their stacks.
        """
        thread = self.thread
        self.thread = MAIN_THREAD
        self.tcache.arena = 0
        self.arenas[0].attached_threads = 1
        i = 0
        while i < n:
            if with_stacks:
                self.map_stack()
            self.calloc(THREAD_VECTOR_BYTES)
            self.threaded = 1
            i += 1
        self.thread = thread

    def map_stack(self):
        """A thread's stack, its lowest page out of bounds."""
        if self.stacks_have_guards:
            stack = self.kernel.mmap(STACK_BYTES, READ_WRITE, 0, STACK_FLAGS)
            self.kernel.madvise(stack, PAGE_MASK + 1, GUARD_INSTALL)
        else:
            stack = self.kernel.mmap(STACK_BYTES, NO_ACCESS, 0, STACK_FLAGS)
            self.kernel.mprotect(stack + PAGE_MASK + 1, STACK_BYTES - PAGE_MASK - 1, READ_WRITE)

    # ---- locks
    @inline
    def enter(self, number):
        """Take an arena's lock."""
        if self.kernel.MEETING:
            self.kernel.lock(number)

    @inline
    def leave(self, number):
        """Give an arena's lock back."""
        if self.kernel.MEETING:
            self.kernel.unlock(number)

    # ---- the thread cache
    @inline
    @in_bounds
    def take_cached(self, index):
        """The block on top of a stack of the thread cache, which is not empty."""
        cache = self.tcache
        block = cache.heads[index]
        cache.heads[index] = self.kernel.pop_link(block)
        cache.counts[index] -= 1
        return block

    @inline
    @in_bounds
    def put_cached(self, block, index):
        """Put a block on a stack of the thread cache, after a look at its key."""
        cache = self.tcache
        self.kernel.push_link(block, cache.heads[index], KEY)
        cache.heads[index] = block
        cache.counts[index] += 1

    @inline
    def stash(self, block, index):
        """Put a block that was free already on a stack of the thread cache."""
        cache = self.tcache
        self.kernel.store(block + SIZE, KEY)
        self.kernel.store(block, cache.heads[index])
        cache.heads[index] = block
        cache.counts[index] += 1

    def note_region(self, start):
        """The main arena's top continues in a new piece of memory."""
        self.regions[self.n_regions] = start
        self.n_regions += 1

    def arena_of(self, chunk, word):
        """The number of a chunk's arena, which its heap knows."""
        return self.kernel.load(chunk & -HEAP_BYTES) if word & IN_OTHER_ARENA else 0

    def own_arena(self, request):
        """The number of the arena that serves the calling thread, or NO_ARENA."""
        if not self.threaded:
            return 0
        if self.tcache.arena == NO_ARENA:
            return self.choose_arena(request, NO_ARENA)
        return self.tcache.arena

    def other_arena(self, request, number):
        """Where to try again when arena `number` had no memory, or NO_ARENA."""
        if not self.threaded or number == NO_ARENA:
            return NO_ARENA
        return 0 if number != 0 else self.choose_arena(request, 0)

    def choose_arena(self, request, avoid):
        """Attach the calling thread to a free arena, a new one, or one to share."""
        number = self.free_arena
        if number != NO_ARENA:
            self.free_arena = self.arenas[number].after_free
            self.attach(number)
            return number
        if self.arena_limit == 0:
            self.arena_limit = self.limit_of_arenas()
        if self.arena_limit == 0 or self.n_arenas < self.arena_limit:
            return self.new_arena(request)
        return self.shared_arena(avoid)

    def limit_of_arenas(self):
        """The most arenas there may be; 0 while there are too few to ask."""
        if self.arena_max > 0:
            return min(self.arena_max, MAX_ARENAS)
        if self.n_arenas > self.arena_test:
            return min(ARENAS_PER_CPU * self.cpus, MAX_ARENAS)
        return 0

    def new_arena(self, request):
        """Create an arena for the calling thread; its number, or NO_ARENA without memory."""
        own_bytes = DESCRIPTION_BYTES + self.arena_state_bytes + 16
        heap = self.heaps.make(own_bytes + request, self.top_pad_bytes)
        if heap == 0:  # the request may be too large for any heap; then it will be mapped
            heap = self.heaps.make(own_bytes, self.top_pad_bytes)
        if heap == 0:
            return NO_ARENA
        number = self.n_arenas
        self.n_arenas += 1
        arena = self.arenas[number]
        arena.start_in(heap, number)
        arena.after = self.arenas[0].after
        self.arenas[0].after = number
        self.attach(number)
        return number

    def shared_arena(self, avoid):
        """The next arena in turn that is not busy."""
        number = self.next_to_share
        while self.is_busy(number):
            number = self.arenas[number].after
            if number == self.next_to_share:
                break
        if number == avoid:
            number = self.arenas[number].after
        self.forget_free(number)
        self.attach(number)
        self.next_to_share = self.arenas[number].after
        return number

    def is_busy(self, number):
        """Whether a thread that looks for an arena to share passes over this one."""
        return self.kernel.MEETING != 0 and self.kernel.is_locked(number)

    def attach(self, number):
        """The calling thread uses this arena from now on."""
        if self.tcache.arena != NO_ARENA:
            self.arenas[self.tcache.arena].attached_threads -= 1
        self.arenas[number].attached_threads += 1
        self.tcache.arena = number

    def forget_free(self, number):
        """An arena is used again: take it off the list of free ones."""
        at = self.free_arena
        if at == number:
            self.free_arena = self.arenas[number].after_free
            return
        while at != NO_ARENA:
            following = self.arenas[at].after_free
            if following == number:
                self.arenas[at].after_free = self.arenas[number].after_free
                return
            at = following

    def leave_arena(self):
        """The calling thread ends: an arena without threads goes to the next thread that starts."""
        number = self.tcache.arena
        self.tcache.arena = NO_ARENA
        if number != NO_ARENA:
            arena = self.arenas[number]
            arena.attached_threads -= 1
            if arena.attached_threads == 0:
                arena.after_free = self.free_arena
                self.free_arena = number
