"""Drives a policy through a trace's operations: the loop that runs compiled."""

from functools import cache
from typing import Any, ClassVar

from allocsim.component import Array, Part, Pool, host, in_bounds, inline, variant
from allocsim.component.native import is_compiled, prefetch
from allocsim.errors import SimulationError
from allocsim.kernel.backing import PAGE_BYTES
from allocsim.kernel.costs import Event
from allocsim.policy import Policy
from allocsim.run_ahead import MAX_SLOTS, MAX_THREADS, RunAhead
from allocsim.trace import Op

LATER, SOONER, SOONEST = 16, 8, 4  # operations ahead

# The operations as plain integers, which the loop compares fastest in both modes.
MALLOC, CALLOC, REALLOC = int(Op.MALLOC), int(Op.CALLOC), int(Op.REALLOC)
ALIGNED_ALLOC, FREE = int(Op.ALIGNED_ALLOC), int(Op.FREE)
TOUCH, READ, MARK = int(Op.TOUCH), int(Op.READ), int(Op.MARK)
MMAP, MUNMAP, MREMAP, MADVISE = int(Op.MMAP), int(Op.MUNMAP), int(Op.MREMAP), int(Op.MADVISE)
CALL, IRREGULAR = int(Event.CALL), int(Event.IRREGULAR)

MOST_IRREGULAR = 16  # of one call: a long search goes on as it began
SIZE_BITS = 16  # of a word in `blocks`
LARGE = (1 << SIZE_BITS) - 1

N_SAMPLED, N_WALKED = 5, 7  # numbers in a row of `drive_sampled`
MOST_RANGES = 1 << 16  # that walks report before they are evaluated
AFTER_ALL = 1 << 40


class Driver(RunAhead):
    """The program's side: which object lies where, and what the program does with it.

    `blocks` holds each object's address and size in bytes in one word (0 if there is none), which
    halves the memory that it takes: `address << SIZE_BITS | size`. A size that does not fit is in
    `large_sizes`, and LARGE stands for it. `live_bytes` counts the requests of live blocks; the
    program's own mappings are not part of it. With `writing` 0 the program writes nothing.
    """

    interpreted_only: ClassVar[bool] = False
    policy = Part(Policy)
    blocks = Pool("i8", MAX_SLOTS)
    large_sizes = Pool("i8", MAX_SLOTS)
    thread_ps = Pool("i8", MAX_THREADS)  # each thread's clock while another one runs
    usual = Array("i8", len(Op))  # metadata accesses of the last operation of each kind
    effect_ps = 0  # start of the latest operation: a recorded trace keeps its order of effects
    n_ops = 0
    live_bytes = 0
    live_objects = 0
    peak_live_bytes = 0
    live_at_peak_resident_bytes = 0
    seen_peak_pages = 0
    n_sampled = 0  # rows that the last `drive_sampled` wrote
    n_walked = 0
    failed = 0  # requests that the policy could not serve
    own_mapped_bytes = 0  # by the program's own mmap
    writing = 1

    @in_bounds  # as far as `require_sound` has checked
    def drive(
        self, ops, threads, objects, sizes, alignments, written, offsets, args, thinks,
        addresses, faults, start, stop,
    ):  # fmt: skip
        """Run operations start..stop of the columns; returns stop.

        `addresses` and `faults`, if not empty, receive each operation's returned address (0 where
        there is none) and its minor faults, the program's own writes included.
        """
        policy = self.policy
        kernel = policy.kernel
        counts = kernel.counts
        blocks = self.blocks
        thinking = len(thinks) > 0
        reporting = len(addresses) > 0
        looking = 0
        if is_compiled():
            looking = stop - LATER
            self.require_sound(ops, threads, objects, start, stop)
        usual = self.usual
        seen = kernel.accesses
        for i in range(start, stop):
            if i < looking:
                self.look_ahead(objects[i + LATER], objects[i + SOONER], objects[i + SOONEST])
            kernel.op = self.n_ops
            before = kernel.minor_faults
            if threads[i] != policy.thread:
                self.switch(threads[i])
            if thinking:
                kernel.clock_ps += thinks[i] * 1000
            op = ops[i]
            slot = objects[i]
            if op == MALLOC:
                counts[CALL] += 1
                at = policy.malloc(sizes[i])
                kernel.visit(at)
                self.placed(slot, at, sizes[i], written[i])
            elif op == FREE:
                at = 0
                counts[CALL] += 1
                block = blocks[slot]
                if block != 0:
                    size = block & LARGE
                    self.live_bytes -= size if size < LARGE else self.large_sizes[slot]
                    blocks[slot] = 0
                    self.live_objects -= 1
                    kernel.visit(block >> SIZE_BITS)
                    policy.free(block >> SIZE_BITS)
            else:
                at = self.other(op, slot, sizes[i], alignments[i], written[i], offsets[i], args[i])
            accesses = kernel.accesses
            # In eights begun, MOST_IRREGULAR at most; without a branch, which nobody could predict.
            change = accesses - seen - usual[op]
            sign = change >> 63
            over = (((change ^ sign) - sign + 7) >> 3) - MOST_IRREGULAR
            counts[IRREGULAR] += MOST_IRREGULAR + (over & (over >> 63))
            usual[op] = accesses - seen
            seen = accesses
            if kernel.peak_resident_pages != self.seen_peak_pages:
                self.seen_peak_pages = kernel.peak_resident_pages
                self.live_at_peak_resident_bytes = self.live_bytes
            if reporting:
                addresses[i] = at
                faults[i] = kernel.minor_faults - before
            self.n_ops += 1
        return stop

    def drive_sampled(
        self, ops, threads, objects, sizes, alignments, written, offsets, args, thinks,
        addresses, faults, start, stop, due, samples, walks,
    ):  # fmt: skip
        """`drive`, which stops for samples of memory and walks of the heap on the way.

        `due` holds op counts, ascending, after which memory is sampled; ~n also walks the heap.
        `samples` receives rows of N_SAMPLED, `walks` rows of N_WALKED numbers, the last two of
        which are the rows of `policy.ranges` that the walk reported. Returns the next op, which is
        before `stop` only where `policy.ranges` has become too long to go on.
        """
        kernel = self.policy.kernel
        ranges = self.policy.ranges
        ranges.start()
        self.n_sampled = 0
        self.n_walked = 0
        while True:
            at = start + AFTER_ALL
            if self.n_sampled < len(due):
                at = due[self.n_sampled]
                at = start + (at if at >= 0 else ~at) - self.n_ops
            until = min(stop, at)
            if until > start:
                start = self.drive(
                    ops, threads, objects, sizes, alignments, written, offsets, args, thinks,
                    addresses, faults, start, until,
                )  # fmt: skip
            if start < at or self.n_sampled == len(due):
                return start
            row = self.n_sampled * N_SAMPLED
            samples[row] = self.n_ops
            samples[row + 1] = kernel.now_ns()
            samples[row + 2] = self.live_bytes
            samples[row + 3] = kernel.mapped_bytes
            samples[row + 4] = kernel.resident_pages * PAGE_BYTES
            if due[self.n_sampled] < 0:
                self.walk_into(walks, self.n_walked * N_WALKED)
                self.n_walked += 1
            self.n_sampled += 1
            if ranges.n > MOST_RANGES:
                return start

    def walk_into(self, walks, row):
        """Have the policy report its heap behind earlier reports, in sums where it can."""
        ranges = self.policy.ranges
        first = ranges.n
        ranges.used_bytes = 0
        ranges.metadata_bytes = 0
        ranges.summing = 1
        self.policy.walk()
        ranges.summing = 0
        walks[row] = self.n_ops
        walks[row + 1] = self.policy.kernel.now_ns()
        walks[row + 2] = self.live_bytes
        walks[row + 3] = ranges.used_bytes
        walks[row + 4] = ranges.metadata_bytes
        walks[row + 5] = first
        walks[row + 6] = ranges.n

    @in_bounds
    def require_sound(self, ops, threads, objects, start, stop):
        """No slot or thread beyond what there is, since the loop relies on it; marks have no slot.

        Without a branch in the loop, so that it takes no time to speak of.
        """
        if start < 0 or stop > len(ops):
            raise SimulationError("no such operations in a trace of length", len(ops))
        most = min(len(self.blocks), len(self.large_sizes))
        n = 0
        for i in range(start, stop):
            slot = objects[i]
            n += (slot >= most) | ((slot < 0) & (ops[i] != MARK))
            n += (threads[i] < 0) | (threads[i] >= MAX_THREADS)
        if n > 0:
            raise SimulationError("object slot or thread out of range; operations like that:", n)

    @inline
    @in_bounds
    def look_ahead(self, later, sooner, soonest):
        """Have the host fetch what three of the next operations will need, given by their slots.

        First the block's address, then the word before the block, then what the policy knows to be
        needed for freeing it: they lie anywhere, and waiting for them would take longer than the
        rest of a call.
        """
        prefetch(self.blocks, later)
        self.policy.kernel.expect(self.address_or_start(sooner) - 8)
        self.policy.expect_free(self.address_or_start(soonest))

    @inline
    @in_bounds
    def address_or_start(self, slot):
        """Where an object lies or, if there is none (malloc's slots), where the heap starts.

        Without a branch, which nobody could predict.
        """
        at = self.blocks[max(slot, 0)] >> SIZE_BITS
        return at + (self.policy.kernel.start_brk + 16 & (at - 1) >> 63)

    @inline
    @in_bounds
    def address_of(self, slot):
        """Where an object lies; 0 if there is none."""
        return self.blocks[slot] >> SIZE_BITS

    def size_of(self, slot):
        """An object's size in bytes."""
        size = self.blocks[slot] & LARGE
        return size if size < LARGE else self.large_sizes[slot]

    @inline
    @in_bounds
    def hold(self, slot, at, size):
        """The object of that slot, `size` bytes long, lies at the address `at` from now on.

        SimulationError for an address that no program can have.
        """
        if at >> (63 - SIZE_BITS) != 0:
            raise SimulationError("the policy gave a block outside of memory, at", at)
        if size < LARGE:
            self.blocks[slot] = at << SIZE_BITS | size
        else:
            self.blocks[slot] = at << SIZE_BITS | LARGE
            self.large_sizes[slot] = size

    @inline
    @in_bounds
    def placed(self, slot, at, size, written):
        """The policy served a request: note the object, and let the program write to it."""
        if at == 0:
            self.failed += 1
            return
        self.hold(slot, at, size)
        self.live_objects += 1
        self.live_bytes += size
        if self.live_bytes > self.peak_live_bytes:
            self.peak_live_bytes = self.live_bytes
        if written > 0 and self.writing:
            self.policy.kernel.touch(at, written if written < size else size)

    def other(self, op, slot, size, alignment, written, offset, arg):
        """Every operation but malloc and free; returns the address that the call gave."""
        policy = self.policy
        if op == CALLOC:
            policy.kernel.counts[CALL] += 1
            at = policy.calloc(size)
            self.placed(slot, at, size, written)
        elif op == REALLOC:
            policy.kernel.counts[CALL] += 1
            at = self.reallocate(slot, size, written)
        elif op == ALIGNED_ALLOC:
            policy.kernel.counts[CALL] += 1
            at = policy.aligned_alloc(alignment, size)
            self.placed(slot, at, size, written)
        else:
            at = self.access(op, slot, size, offset, arg)
        return at

    def reallocate(self, slot, size, written):
        """realloc, with C's special cases: of nothing it is malloc, to nothing it is free."""
        old = self.address_of(slot)
        old_size = self.size_of(slot)
        if old == 0:
            at = self.policy.malloc(size)
            self.placed(slot, at, size, written)
            return at
        if size > 0:
            at = self.policy.realloc(old, size)
            if at == 0:
                self.failed += 1
                return 0
        else:
            at = 0
            self.policy.free(old)
        self.live_bytes -= old_size
        self.live_objects -= 1
        self.blocks[slot] = 0
        if size > 0:
            self.placed(slot, at, size, written)
        return at

    def access(self, op, slot, size, offset, arg):
        """The program's own doings: touch, read, marks and mappings of its own."""
        kernel = self.policy.kernel
        if op == MARK:
            return 0
        logging = kernel.logging
        kernel.logging = 0  # the log is of the policy's calls
        at = self.access_own(op, slot, size, offset, arg)
        kernel.logging = logging
        return at

    def access_own(self, op, slot, size, offset, arg):
        """See `access`; marks apart."""
        kernel = self.policy.kernel
        base = self.address_of(slot)
        if op == MMAP:
            return self.map_own(slot, size, arg)
        if base == 0:  # the request for this object had failed
            return 0
        at = 0
        if op == TOUCH:
            if size > 0 and self.writing:
                kernel.touch(base + offset, size)
        elif op == READ:
            kernel.read(base + offset, size)
        elif op == MADVISE:
            kernel.madvise(base + offset, size, arg)
        elif op == MREMAP:
            old_size = self.size_of(slot)
            at = kernel.mremap(base, old_size, size, arg)
            if at > 0:
                size = (size + PAGE_BYTES - 1) & -PAGE_BYTES
                self.own_mapped_bytes += size - old_size
                self.hold(slot, at, size)
        elif op == MUNMAP:
            kernel.munmap(base + offset, size)
            left = max(self.size_of(slot) - ((size + PAGE_BYTES - 1) & -PAGE_BYTES), 0)
            self.own_mapped_bytes -= self.size_of(slot) - left
            if left == 0:  # the last of its pages
                self.blocks[slot] = 0
            else:
                self.hold(slot, base, left)
        else:
            raise SimulationError("unknown operation in a trace")
        return at

    def map_own(self, slot, size, protection):
        at = self.policy.kernel.mmap(size, protection)
        if at > 0:
            size = (size + PAGE_BYTES - 1) & -PAGE_BYTES
            self.hold(slot, at, size)
            self.own_mapped_bytes += size
            return at
        self.failed += 1
        return 0

    def switch(self, thread):
        """Another thread runs: its own clock, but never before the previous operation's start."""
        kernel = self.policy.kernel
        now = kernel.now_ps()
        self.thread_ps[self.policy.thread] = now
        self.policy.thread = thread
        kernel.clock_ps += max(self.thread_ps[thread], self.effect_ps) - now
        self.effect_ps = kernel.now_ps()

    def enter(self, thread, clock_ps):
        """Thread `thread` runs from simulated time clock_ps on."""
        self.policy.thread = thread
        self.policy.kernel.clock_ps += clock_ps - self.policy.kernel.now_ps()

    @host
    def live_blocks(self, n_slots):
        """Address and size in bytes of each object that there is in the first n_slots slots."""
        live = [slot for slot in range(n_slots) if self.blocks[slot]]
        return [(self.address_of(slot), self.size_of(slot)) for slot in live]

    def walk(self):
        """Have the policy report its heap; returns the number of ranges."""
        self.policy.ranges.start()
        self.policy.walk()
        return self.policy.ranges.n


def driver_for(policy: type[Policy], **parameters: Any) -> Driver:
    """A driver with a new instance of `policy`; unknown or impossible parameters: InputError."""
    return driver_class(policy)(policy=parameters)  # type: ignore[arg-type]


@cache
def driver_class(policy: type[Policy]) -> type[Driver]:
    """One class for each policy: compiled code belongs to the class."""
    return variant(Driver, f"Driver_{policy.__name__}", policy=Part(policy))  # type: ignore[return-value]
