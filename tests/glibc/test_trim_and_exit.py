"""malloc_trim, and what the end of a thread does, are equal to the real glibc's.

Traces have no such ops; marks stand for them.
"""

from random import Random

import numpy as np
import pytest
from random_traces import Program, random_tunables

from allocsim.errors import InputError
from allocsim.ground_truth import MarkedCall, replay
from allocsim.ground_truth.libc_packages import libc_for
from allocsim.ground_truth.verify import verify
from allocsim.trace import Op, Trace

TRIM, EXIT = 1, 2
MARKS = {TRIM: MarkedCall.MALLOC_TRIM, EXIT: MarkedCall.THREAD_EXIT}
PADS = (0, 0, 1, 4096, 100_000, 1 << 20)


def with_marks(trace: Trace, random: Random, trims: int, exits: int) -> Trace:
    """The trace with so many calls at random places; ops of a thread that is gone go to another."""
    alive = list(range(trace.n_threads))
    places = [*[TRIM] * trims, *[EXIT] * exits]
    due = dict(zip(random.sample(range(len(trace)), len(places)), places, strict=True))
    parts = []
    for i in range(len(trace)):
        columns = {name: column[i : i + 1] for name, column in trace.columns().items()}
        if trace.thread[i] not in alive:
            columns["thread"] = np.array([random.choice(alive)])
        parts.append(Trace(**columns))
        if i in due:
            thread, size = random.choice(alive), random.choice(PADS) if due[i] == TRIM else 0
            parts.append(mark(due[i], thread, size))
            if due[i] == EXIT:
                alive.remove(thread)
    return Trace.concatenate(parts)


def mark(number: int, thread: int = 0, size: int = 0) -> Trace:
    return Trace.of(op=Op.MARK, object=-1, size=size, thread=thread, arg=number)


def assert_equal(trace: Trace, tunables: dict[str, int], version: float) -> None:
    parameters = {**tunables, "version": version}
    verdict = verify(trace, parameters, compiled=False, heaps=True, marks=MARKS)
    assert verdict.equal, f"{tunables}: {verdict}"


@pytest.mark.parametrize("seed", range(6))
def test_trims_in_a_program_with_one_thread(version, seed):
    random = Random(seed)
    tunables = random_tunables(random)
    program = Program(random, largest_border=random.choice([18, 26, 30]))
    assert_equal(with_marks(program.trace(800), random, trims=12, exits=0), tunables, version)


@pytest.mark.parametrize("seed", range(8))
def test_threads_that_trim_and_end(version, seed):
    random = Random(100 + seed)
    n_threads, tunables = random.choice([2, 3, 8, 16]), random_tunables(random)
    program = Program(random, n_threads, largest_border=random.choice([18, 26, 30]))
    trace = with_marks(program.trace(1000), random, trims=6, exits=n_threads - 1)
    assert_equal(trace, tunables, version)


def test_an_arena_whose_threads_have_ended_serves_the_next_thread(version):
    """Thread 1 has its first call after the end of thread 0, and gets that one's arena."""
    first, second = (Trace.of(op=Op.MALLOC, object=i, size=100, thread=i) for i in (0, 1))
    trace = Trace.concatenate([first, mark(EXIT, 0), second])
    addresses = replay(trace, marks=MARKS, libc=libc_for(str(version))).address
    assert addresses[0] >> 26 == addresses[2] >> 26
    assert_equal(trace, {}, version)


def test_trimming_gives_back_pages_in_the_midst_of_a_heap(version):
    trace = Trace.concatenate(
        [
            Trace.of(op=Op.MALLOC, object=[0, 1], size=100_000),
            Trace.of(op=Op.FREE, object=[0], size=0),
            mark(TRIM, size=4096),
            mark(TRIM, size=4096),
        ]
    )
    truth = replay(trace, {"top_pad": 0}, marks=MARKS, libc=libc_for(str(version)))
    assert truth.address[3:].tolist() == [1, 1]
    assert truth.syscalls.name[truth.syscalls.op == 3].tolist() == ["madvise"]
    assert_equal(trace, {"top_pad": 0}, version)


@pytest.mark.usefixtures("real_glibc")
def test_other_marks_do_nothing():
    trace = Trace.concatenate([Trace.of(op=Op.MALLOC, object=[0], size=[8]), mark(7)])
    assert len(replay(trace, marks=MARKS).syscalls) == len(replay(trace).syscalls)


@pytest.mark.usefixtures("real_glibc")
def test_the_only_thread_cannot_end():
    with pytest.raises(InputError, match="only thread"):
        replay(mark(EXIT), marks=MARKS)
