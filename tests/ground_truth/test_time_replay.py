"""Timed replays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from allocsim.cbuild import build
from allocsim.ground_truth import ReplayError, packed, replay, time_replay
from allocsim.trace import Op, Trace

MakeChurn = Callable[..., Trace]

BUMP_ALLOCATOR = """
#include <stddef.h>
static char memory[1 << 20] __attribute__((aligned(16)));
static size_t used;
void *malloc(size_t n) { void *p = memory + used; used += (n + 15) & -16ul; return p; }
void free(void *p) { (void)p; }
"""


def test_a_timed_run_does_the_same_work(churn: MakeChurn) -> None:
    trace = churn(20_000)
    truth = replay(trace, {"mmap_threshold": 4096})
    timing = time_replay(trace, {"mmap_threshold": 4096})
    assert timing.ops == len(trace)
    assert timing.minor_faults == truth.minor_faults.sum()
    assert timing.major_faults == 0


def test_without_calls_it_takes_less(churn: MakeChurn) -> None:
    with packed(churn(20_000)) as stream:
        nothing = time_replay(stream, null=True)
        everything = time_replay(stream, {"mmap_threshold": 0})
    assert nothing.ops == everything.ops == 20_000
    assert 0 < nothing.cpu_ns < everything.cpu_ns
    assert nothing.minor_faults == 0


def test_threads_that_take_turns_do_the_same_work_as_in_a_report(churn: MakeChurn) -> None:
    trace = churn(5000, n_threads=3)
    timing = time_replay(trace)
    assert timing.minor_faults == replay(trace).minor_faults.sum()
    assert timing.threads == ()


@pytest.mark.slow
def test_threads_run_freely_but_objects_keep_their_order(churn: MakeChurn) -> None:
    trace = churn(20_000, n_slots=8, n_threads=3)
    timing = time_replay(trace, free_threads=True)
    assert timing.ops == 20_000
    assert timing.minor_faults > 0
    assert len(timing.threads) == 3
    assert all(0 < thread.wall_ns <= timing.wall_ns for thread in timing.threads)
    assert sum(thread.cpu_ns for thread in timing.threads) <= timing.cpu_ns
    assert all(0 <= thread.waiting_ns <= thread.wall_ns for thread in timing.threads)
    assert timing.working_ns == timing.cpu_ns - sum(t.waiting_ns for t in timing.threads)
    nothing = time_replay(trace, free_threads=True, null=True)
    assert (nothing.ops, nothing.minor_faults) == (20_000, 0)


def test_a_timed_run_needs_the_cpus_that_it_is_promised() -> None:
    with pytest.raises(ReplayError, match="fewer CPUs"):
        time_replay(Trace.of(op=Op.MALLOC, object=[0], size=[1]), cpus=100_000)


def test_writes_are_chosen(churn: MakeChurn) -> None:
    with packed(Trace.of(op=Op.MALLOC, object=range(100), size=1 << 20)) as stream:
        faults = [time_replay(stream, writes=w).minor_faults for w in ("none", "written", "fill")]
    assert faults[0] < 200
    assert faults[1] == faults[2] > 100 * 256


def test_another_allocator_by_preloading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOCSIM_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "bump.c"
    source.write_text(BUMP_ALLOCATOR)
    library = build(source, shared=True, flags=("-fno-builtin",))
    trace = Trace.of(op=[Op.MALLOC, Op.FREE, Op.MALLOC], object=0, size=[100, 0, 20])
    truth = replay(trace, environment={"LD_PRELOAD": str(library)})
    assert truth.address[2] - truth.address[0] == 112
    assert time_replay(trace, environment={"LD_PRELOAD": str(library)}).ops == 3


@pytest.mark.slow
def test_without_calls_nothing_of_the_programs_own_is_done_either() -> None:
    ops = [Op.MMAP, Op.READ, Op.TOUCH, Op.MADVISE, Op.MUNMAP]
    trace = Trace.of(op=ops, object=0, size=1 << 20, arg=[3, 0, 0, 4, 0])
    assert time_replay(trace, writes="fill").minor_faults >= 256
    assert time_replay(trace, null=True).minor_faults == 0


@pytest.mark.slow
def test_waiting_for_each_others_objects_is_told_apart_and_keeps_no_cpu() -> None:
    """Thread 1 frees what thread 0 gets, after a block that keeps thread 0 busy."""
    busy, rounds = 64 << 20, 20
    op = [Op.MALLOC, Op.MALLOC, Op.FREE, Op.FREE] * rounds
    size, thread = [busy, 100, 0, 0] * rounds, [0, 0, 1, 0] * rounds
    trace = Trace.of(op=op, object=[0, 1, 1, 0] * rounds, size=size, thread=thread)
    waiter = time_replay(trace, writes="fill", free_threads=True).threads[1]
    assert waiter.waiting_ns > 0.5 * waiter.cpu_ns
    assert waiter.cpu_ns < 0.1 * waiter.wall_ns  # it sleeps


@pytest.mark.slow
def test_no_thread_is_left_asleep() -> None:
    """Objects wander round all threads, so that every operation waits for another thread's."""
    rounds = 2000
    op, size = [Op.MALLOC, Op.FREE] * rounds, [100, 0] * rounds
    thread = [i % 4 for i in range(2 * rounds)]
    for n_objects in (1, 3):
        objects = [i // 2 % n_objects for i in range(2 * rounds)]
        trace = Trace.of(op=op, object=objects, size=size, thread=thread)
        timing = time_replay(trace, free_threads=True)
        assert timing.ops == 2 * rounds
