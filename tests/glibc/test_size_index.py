"""The index of sizes finds what a walk along the rings would find, and costs the same."""

from random import Random

import numpy as np
import pytest
from random_traces import Program

from allocsim.driver import driver_for
from allocsim.engine import drive_columns, no_samples
from allocsim.glibc import Glibc
from allocsim.glibc.chunks import N_BINS, NEXT_SIZE, SIZE, large_bin
from allocsim.glibc.size_index import INDEXED_BYTES
from allocsim.kernel.kernel import Kernel
from allocsim.policy import with_kernel
from allocsim.trace import Op, Trace


class Walked(Kernel):
    """A kernel where every access is made."""

    EVERY_ACCESS = 1


def large_churn(seed: int, n: int) -> Trace:
    """Blocks of 1 KiB to 300 KiB come and go, some sizes often."""
    random = Random(seed)
    ops, slots, sizes, live = [], [], [], []
    for slot in range(n):
        often = random.randrange(1024, 6000, 512)
        any_scale = int(2 ** random.uniform(10, 18.2))
        size = random.choice((often, random.randrange(1000, 12_000), any_scale))
        ops.append(Op.MALLOC)
        slots.append(slot)
        sizes.append(size)
        live.append(slot)
        while len(live) > 300 or (live and random.random() < 0.45):
            ops.append(Op.FREE)
            slots.append(live.pop(random.randrange(len(live))))
            sizes.append(0)
    return Trace.of(op=ops, object=slots, size=sizes)


def driven(policy, trace: Trace, compiled: bool = False, **parameters):
    """The driver after a trace, and each op's address and faults."""
    driver = driver_for(policy, **parameters)
    threads = int(trace.thread.max()) + 1
    if threads > 1:
        driver.policy.start_threads(threads)
    columns = list(drive_columns(trace))
    addresses, faults = (np.zeros(len(trace), np.int64) for _ in range(2))
    columns[-2:] = addresses, faults
    driver.run("drive_sampled", *columns, 0, len(trace), *no_samples(), compiled=compiled)
    return driver, addresses, faults


def require_equal_with_walks(trace: Trace, compiled: bool = False, **parameters):
    found, *ours = driven(Glibc, trace, compiled, **parameters)
    walked, *theirs = driven(with_kernel(Glibc, Walked), trace, compiled, **parameters)
    assert list(found.policy.kernel.ledger()) == list(walked.policy.kernel.ledger())
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_index_costs_and_finds_what_walks_do(seed):
    driver = require_equal_with_walks(large_churn(seed, 4000), mmap_threshold=1 << 20)
    assert driver.policy.kernel.accesses > 0


@pytest.mark.slow
def test_so_it_does_compiled():
    require_equal_with_walks(large_churn(9, 30_000), compiled=True, mmap_threshold=1 << 20)


@pytest.mark.parametrize(("seed", "threads", "version"), [(1, 1, 2.36), (2, 3, 2.36), (3, 2, 2.43)])
def test_so_it_does_in_any_program(seed, threads, version):
    trace = Program(Random(seed), threads, largest_border=30).trace(2500)
    require_equal_with_walks(trace, version=version)


def rings(arena) -> dict[int, int]:
    """Each size that a large bin has and the index could hold, and the chunk that stands for it."""
    found = {}
    for index in range(64, N_BINS - 1):
        first = chunk = arena.heads[2 * index]
        while chunk != index:
            size = arena.kernel.peek(chunk + SIZE) & -8
            if size < INDEXED_BYTES:
                found[size] = chunk
            chunk = arena.kernel.peek(chunk + NEXT_SIZE)
            if chunk == first:
                break
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_index_holds_what_the_rings_do(seed):
    driver, *_ = driven(Glibc, large_churn(seed, 3000), mmap_threshold=1 << 20)
    arena = driver.policy.arenas[0]
    expected = rings(arena)
    index = arena.sizes
    sizes = [at for at in range(0, INDEXED_BYTES, 16) if index.sizes[at >> 9] >> (at >> 4 & 31) & 1]
    assert {size: index.chunks[size >> 4] for size in sizes} == expected
    assert len(expected) > 20


def test_large_bins_have_five_spacings():
    """Each bin starts at a multiple of its spacing or, where that changes, at most right there."""
    size = range(1024, 1 << 20, 16)
    borders = [at for at in size[1:] if large_bin(at) != large_bin(at - 16)]
    assert borders == [
        *range(1088, 3136, 64), 3136,
        *range(3584, 10_752, 512), 10_752,
        *range(12_288, 45_056, 4096),
        *range(65_536, 163_840, 32_768), 163_840,
        *range(262_144, 524_288, 262_144), 524_288,
    ]  # fmt: skip
    assert [large_bin(at) for at in (size[0], *borders)] == [*range(64, 127)]
