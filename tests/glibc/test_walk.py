"""walk() tells the truth about the heap, and looking changes nothing."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from random_traces import Program

from allocsim.driver import driver_for
from allocsim.glibc import Glibc, MmapOnly
from allocsim.policy import Kind


def driven(policy, n_threads, **parameters):
    """A driver after a random program of 1500 ops."""
    trace = Program(Random(5), n_threads, largest_border=30).trace(1500)
    driver = driver_for(policy, **parameters)
    if n_threads > 1:
        driver.policy.start_threads(n_threads)
    none = np.empty(0, np.int64)
    columns = list(trace.columns().values())[:8]
    driver.run("drive", *columns, none, none, none, 0, len(trace))
    return driver, trace.n_slots


def ranges_of(driver):
    """What walk() reports, in order."""
    driver.run("walk")
    return driver.policy.ranges.listed()


@pytest.mark.parametrize(
    ("policy", "n_threads", "parameters"),
    [
        (Glibc, 1, {}),
        (Glibc, 3, {}),
        (Glibc, 1, {"mxfast": 160, "tcache_count": 2}),
        (Glibc, 2, {"tcache_count": 0, "mmap_max": 0}),
        (Glibc, 3, {"version": 2.41}),
        (Glibc, 1, {"version": 2.43}),
        (Glibc, 3, {"version": 2.43, "tcache_max": 100_000}),
        (MmapOnly, 1, {}),
        (MmapOnly, 1, {"version": 2.43, "tcache_max": 100_000}),
    ],
)
def test_used_ranges_are_the_live_blocks(policy, n_threads, parameters):
    driver, n_slots = driven(policy, n_threads, **parameters)
    ranges = ranges_of(driver)
    for (address, size, _), (following, *_) in pairwise(ranges):
        assert address + size <= following
    used = {address: size for address, size, kind in ranges if kind == Kind.USED}
    live = dict(driver.live_blocks(n_slots))
    assert all(used[address] >= size for address, size in live.items())
    made_with_threads = n_threads if n_threads > 1 else 0
    assert len(used) == len(live) + made_with_threads


def test_looking_changes_nothing():
    driver, _ = driven(Glibc, 2)
    kernel = driver.policy.kernel
    before = (kernel.accesses, kernel.minor_faults, kernel.clock_ps)
    first, numbers = ranges_of(driver), driver.policy.mallinfo2()
    assert (kernel.accesses, kernel.minor_faults, kernel.clock_ps) == before
    assert ranges_of(driver) == first
    assert driver.policy.mallinfo2() == numbers


def test_malloc_trim_gives_the_pages_of_holes_back():
    driver, _ = driven(Glibc, 1, trim_threshold=2**30, mmap_max=0)
    kernel, policy = driver.policy.kernel, driver.policy
    resident = kernel.resident_pages
    info = policy.mallinfo2()
    assert policy.malloc_trim(0) == 1
    assert kernel.resident_pages < resident
    assert policy.mallinfo2()["uordblks"] == info["uordblks"]


def test_a_thread_that_ends_hands_its_arena_on():
    driver, _ = driven(Glibc, 2)
    policy = driver.policy
    policy.thread = 1
    arena = policy.tcache.arena
    policy.thread_exit()
    policy.thread = 5
    policy.malloc(100)
    assert policy.tcache.arena == arena
