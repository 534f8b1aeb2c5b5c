"""The compiled loop for threads that meet in simulated time: one of them runs ahead of the others.

Every thread has a queue of operations. `RunAhead.run_ahead` runs a thread from its clock through
operations that touch nothing shared, up to one that made a crossing, or to where others come first.
"""

from allocsim.component import Array, Component, Pool
from allocsim.kernel.pages import MOST_CPUS
from allocsim.trace import Op

MAX_SLOTS = 1 << 30
MAX_THREADS = 64
assert MAX_THREADS <= MOST_CPUS  # of those that there are they use the first ones
QUEUE_OPS = 1 << 17
"""How many operations a thread's queue holds."""

AHEAD_PS = 100_000_000
"""No thread runs further ahead of the others than this, so that samples see them side by side."""

# Why run_ahead() stopped: the queue is empty; operations of other threads on the same object come
# first; one such ended too late; the next operation may touch what is shared; the last one crossed
# into the kernel or took a lock; as many operations as wanted are done, or the thread is far ahead;
# another thread waits for the object of the last one.
EMPTY, BLOCKED, TOO_EARLY, MEETS, CROSSED, PAUSED, WANTED = 0, 1, 2, 3, 4, 5, 6

# Where `report` has what.
CLOCK_PS, N_OPS, N_CROSSINGS, TAIL_PS, SLOT = 0, 1, 2, 3, 4

MALLOC, FREE, MARK = int(Op.MALLOC), int(Op.FREE), int(Op.MARK)
TOUCH, READ = int(Op.TOUCH), int(Op.READ)


class RunAhead(Component):
    """Queues of operations by thread, and the loop that runs them; a mixin of the driver.

    Thread t's queue lies at QUEUE_OPS * t, and `heads` and `tails` say which part of it is left.
    `numbers` tells of each queued operation how many operations on its object come before it;
    `done` how many of an object's are over, and `done_ps` since when. `wanted` marks objects for
    which a thread waits. `report` says how far the last run came, `thread_cpus` where threads run.
    """

    queued_ops = Pool("i8", MAX_THREADS * QUEUE_OPS)
    queued_threads = Pool("i8", MAX_THREADS * QUEUE_OPS)
    queued_objects = Pool("i8", MAX_THREADS * QUEUE_OPS)
    queued_sizes = Pool("i8", MAX_THREADS * QUEUE_OPS)
    queued_alignments = Pool("i8", MAX_THREADS * QUEUE_OPS)
    queued_written = Pool("i8", MAX_THREADS * QUEUE_OPS)
    queued_offsets = Pool("i8", MAX_THREADS * QUEUE_OPS)
    queued_args = Pool("i8", MAX_THREADS * QUEUE_OPS)
    queued_thinks = Pool("i8", MAX_THREADS * QUEUE_OPS)
    numbers = Pool("i8", MAX_THREADS * QUEUE_OPS)
    ran_addresses = Pool("i8", MAX_THREADS * QUEUE_OPS)
    ran_faults = Pool("i8", MAX_THREADS * QUEUE_OPS)
    heads = Array("i8", MAX_THREADS)
    tails = Array("i8", MAX_THREADS)
    done = Pool("i8", MAX_SLOTS)
    done_ps = Pool("i8", MAX_SLOTS)
    wanted = Pool("u1", MAX_SLOTS)
    report = Array("i8", 8)
    thread_cpus = Array("i8", MAX_THREADS)

    def run_ahead(self, thread, clock_ps, until_ps, most_ops):
        """Run operations of `thread`, whose clock is clock_ps; returns why it stopped.

        Until until_ps no other thread acts, so any operation that starts before may run; later
        ones only if they touch nothing shared. At most most_ops operations.
        """
        kernel = self.policy.kernel
        self.enter(thread, clock_ps)
        kernel.run_on(self.thread_cpus[thread])
        kernel.begin_crossings()
        first = self.heads[thread]
        i = first
        stop = min(self.tails[thread], first + most_ops)
        why = EMPTY if stop == self.tails[thread] else PAUSED
        slot = -1
        while i < stop:
            kernel.clock_ps += self.queued_thinks[i] * 1000  # a thought is over before its call
            self.queued_thinks[i] = 0
            now = kernel.now_ps()
            slot = self.queued_objects[i]
            if slot >= 0 and self.done[slot] != self.numbers[i]:
                why = BLOCKED
                break
            if slot >= 0 and self.done_ps[slot] > now:
                why = TOO_EARLY
                break
            if now >= until_ps:
                if now > clock_ps + AHEAD_PS:
                    why = PAUSED
                    break
                if not self.is_private(i, slot):
                    why = MEETS
                    break
            self.run_queued(i)
            i += 1
            if kernel.n_crossings > 0:
                why = CROSSED
                break
            if slot >= 0:
                self.done[slot] += 1
                self.done_ps[slot] = kernel.now_ps()
                if self.wanted[slot]:
                    why = WANTED
                    break
        self.heads[thread] = i
        self.report[CLOCK_PS] = kernel.now_ps()
        self.report[N_OPS] = i - first
        self.report[N_CROSSINGS] = kernel.n_crossings
        self.report[TAIL_PS] = kernel.now_ps() - kernel.told_ps
        self.report[SLOT] = slot
        return why

    def run_queued(self, i):
        """Run the operation at place i of the queues, as any other."""
        self.drive(
            self.queued_ops, self.queued_threads, self.queued_objects, self.queued_sizes,
            self.queued_alignments, self.queued_written, self.queued_offsets, self.queued_args,
            self.queued_thinks, self.ran_addresses, self.ran_faults, i, i + 1,
        )  # fmt: skip

    def drive_until(
        self, ops, threads, objects, sizes, alignments, written, offsets, args, thinks,
        addresses, faults, start, stop, until_ps,
    ):  # fmt: skip
        """`drive`, but only operations that start before until_ps; returns the first that did not.

        A thought is over before its operation starts, so one thought across until_ps is waited for.
        """
        while start < stop and self.policy.kernel.now_ps() < until_ps:
            self.drive(
                ops, threads, objects, sizes, alignments, written, offsets, args, thinks,
                addresses, faults, start, start + 1,
            )  # fmt: skip
            start += 1
        return start

    def collapse(self, n_pages):
        """khugepaged's turn: see `HugePageKernel.collapse`."""
        return self.policy.kernel.collapse(n_pages)

    def is_private(self, i, slot):
        """Whether the operation at place i touches nothing that threads share."""
        op = self.queued_ops[i]
        kernel = self.policy.kernel
        if op == MARK:
            return True
        if op == MALLOC:
            size = self.queued_sizes[i]
            block = self.policy.private_malloc(size)
            written = min(self.queued_written[i], size) if self.writing else 0
            return block != 0 and kernel.is_settled(block, written)
        block = self.address_of(slot)
        if op == FREE:
            return block == 0 or self.policy.private_free(block)
        if op in (TOUCH, READ):
            at = block + self.queued_offsets[i]
            return block == 0 or kernel.is_settled(at, self.queued_sizes[i])
        return False
