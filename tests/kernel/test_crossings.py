"""What a kernel notes of the calls and faults of an operation, row by row."""

import pytest

from allocsim.driver import driver_for
from allocsim.kernel import Event, Kernel
from allocsim.kernel.costs import CostTable
from allocsim.kernel.crossings import (
    BEFORE_PS,
    COUNT,
    FAULT,
    FLUSH,
    FLUSHES,
    FLUSHES_SHARED,
    HI,
    HOLD_PS,
    KIND,
    LO,
    LOCKED,
    NO_FLUSH,
    READER,
    SHARED_PS,
    UNLOCKED,
    WIDTH,
    WRITER,
    meeting_kernel,
)
from allocsim.kernel.kernel import DONTNEED
from allocsim.kernel.swap import SwappingKernel
from allocsim.policy import Policy, with_kernel

PAGE = 4096
PS = dict(zip(Event, CostTable.load().unit_ps, strict=True))


@pytest.fixture
def kernel():
    made = meeting_kernel(Kernel)()
    made.begin_crossings()
    return made


def rows(kernel):
    """The crossings so far, and a clean slate."""
    flat = kernel.crossings[: kernel.n_crossings * WIDTH].tolist()
    kernel.begin_crossings()
    return [flat[at : at + WIDTH] for at in range(0, len(flat), WIDTH)]


def test_a_call_is_one_writer_that_holds_for_its_price(kernel):
    address = kernel.mmap(8 * PAGE)
    (row,) = rows(kernel)
    assert (row[KIND], row[BEFORE_PS], row[HOLD_PS]) == (WRITER, 0, PS[Event.MMAP])
    assert (row[LO], row[HI]) == (address, address + 8 * PAGE)


def test_a_neighbour_that_merges_is_part_of_the_area_that_is_locked(kernel):
    upper = kernel.mmap(PAGE)
    lower = kernel.mmap(PAGE)
    assert lower == upper - PAGE
    assert rows(kernel)[-1][LO : HI + 1] == [lower, upper + PAGE]


def test_user_mode_between_crossings_is_told_with_the_next_one(kernel):
    address = kernel.mmap(PAGE)
    kernel.store(address, 1)
    kernel.load(address)
    kernel.munmap(address, PAGE)
    _, fault, unmap = rows(kernel)
    accesses = PS[Event.FAR_ACCESS] + PS[Event.NEAR_ACCESS]
    assert fault[BEFORE_PS] == 0
    assert unmap[BEFORE_PS] == accesses


def test_faults_in_a_row_are_one_row_with_their_number(kernel):
    run_ps = kernel.costs.unit_ps[Event.FAULT_RUN] = 500_000
    address = kernel.mmap(8 * PAGE)
    rows(kernel)
    kernel.touch(address, 5 * PAGE)
    (row,) = rows(kernel)
    each = PS[Event.WRITE_FAULT] + PS[Event.PAGE_ZEROED] + PS[Event.COLD_PAGE]
    assert (row[KIND], row[COUNT], row[HOLD_PS]) == (FAULT, 5, 5 * each + run_ps)
    assert (row[LO], row[HI]) == (address, address + 5 * PAGE)
    kernel.read(address + 5 * PAGE, 3 * PAGE)  # one by one: the first, and the others as one
    first, others = rows(kernel)
    assert (first[COUNT], first[HOLD_PS]) == (1, PS[Event.READ_FAULT] + run_ps)
    assert (others[COUNT], others[HOLD_PS]) == (2, 2 * PS[Event.READ_FAULT])


def test_before_area_locks_a_fault_reads_mmap_lock(kernel):
    kernel.vma_locks = 0
    kernel.touch(kernel.mmap(PAGE), PAGE)
    assert rows(kernel)[1][KIND] == READER


def test_pages_are_released_as_a_reader(kernel):
    address = kernel.mmap(4 * PAGE)
    kernel.touch(address, 3 * PAGE)
    rows(kernel)
    kernel.munmap(address, 4 * PAGE)
    (row,) = rows(kernel)
    assert row[SHARED_PS] == 3 * (PS[Event.PAGE_RELEASED] + PS[Event.PAGE_FLUSHED])
    assert row[HOLD_PS] == PS[Event.MUNMAP] + row[SHARED_PS]
    assert row[FLUSH] == FLUSHES_SHARED


def test_what_had_no_pages_needs_no_shootdown(kernel):
    kernel.munmap(kernel.mmap(PAGE), PAGE)
    kernel.brk(kernel.start_brk + PAGE)
    kernel.brk(kernel.start_brk)
    assert [row[FLUSH] for row in rows(kernel)] == [NO_FLUSH] * 4


@pytest.mark.parametrize(
    ("call", "flush"),
    [
        (lambda k, a: k.madvise(a, PAGE, DONTNEED), FLUSHES),
        (lambda k, a: k.mprotect(a, PAGE, 0), FLUSHES),
        (lambda k, a: k.mprotect(a, PAGE, 3), NO_FLUSH),
        (lambda k, a: k.mremap(a, PAGE, 3 * PAGE), FLUSHES),
        (lambda k, a: k.mremap(a, 2 * PAGE, PAGE), NO_FLUSH),
    ],
)
def test_shootdowns_of_the_other_calls(kernel, call, flush):
    address = kernel.mmap(2 * PAGE)
    kernel.mmap(PAGE)
    kernel.touch(address, PAGE)
    rows(kernel)
    call(kernel, address)
    assert rows(kernel)[-1][FLUSH] == flush


def test_madvise_reads_mmap_lock(kernel):
    address = kernel.mmap(PAGE)
    rows(kernel)
    kernel.madvise(address, PAGE, DONTNEED)
    assert [row[KIND] for row in rows(kernel)] == [READER]


def test_locks_are_rows_with_their_number_and_trylock_sees_who_holds_one(kernel):
    kernel.lock(7)
    kernel.unlock(7)
    assert [(row[KIND], row[COUNT]) for row in rows(kernel)] == [(LOCKED, 7), (UNLOCKED, 7)]
    kernel.free_at_ps[7] = 1 << 62
    assert not kernel.trylock(7)
    assert kernel.trylock(8)
    assert [(row[KIND], row[COUNT]) for row in rows(kernel)] == [(LOCKED, 8)]


def test_all_of_the_time_is_in_the_rows_and_the_tail():
    kernel = meeting_kernel(SwappingKernel)(memory_pages=4)
    kernel.begin_crossings()
    address = kernel.mmap(16 * PAGE)
    kernel.touch(address, 9 * PAGE)
    kernel.read(address, 16 * PAGE)
    kernel.store(address, 5)
    kernel.munmap(address, 16 * PAGE)
    tail = kernel.now_ps() - kernel.told_ps
    assert sum(row[BEFORE_PS] + row[HOLD_PS] for row in rows(kernel)) + tail == kernel.now_ps()


@pytest.mark.parametrize("seed", range(3))
def test_what_glibc_calls_private_makes_no_crossing_and_gives_the_block_that_it_said(seed):
    import random

    from allocsim.policy import load_policy

    driver = driver_for(with_kernel(load_policy("glibc"), meeting_kernel(Kernel)))
    policy, kernel, rng = driver.policy, driver.policy.kernel, random.Random(seed)
    live, private = [], 0
    for _ in range(4000):
        kernel.begin_crossings()
        if live and rng.random() < 0.5:
            block = live.pop(rng.randrange(len(live)))
            expected = policy.private_free(block)
            policy.free(block)
        else:
            size = rng.choice([8, 100, 500, 1030, 1040, 5000, 200_000])
            block = policy.private_malloc(size)
            expected = block != 0
            live.append(policy.malloc(size))
            assert block in (0, live[-1])
        private += bool(expected)
        assert kernel.n_crossings == 0 or not expected
    assert private > 500


def test_by_default_nothing_is_private():
    policy = with_kernel(Policy, meeting_kernel(Kernel))()
    assert policy.private_malloc(100) == 0
    assert not policy.private_free(4096)
