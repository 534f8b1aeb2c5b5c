"""Where brk fails, the model is equal to the real glibc, which continues the heap by mmap."""

from pathlib import Path
from random import Random

import pytest
from random_traces import Program

from allocsim.cbuild import build
from allocsim.ground_truth import replay
from allocsim.ground_truth.libc_packages import libc_for
from allocsim.ground_truth.verify import verify

BLOCK_HEAP = Path(__file__).with_name("programs") / "block_heap.c"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tunables", [{}, {"mmap_max": 0}, {"mmap_max": 2, "hugetlb": 1}], ids=str)
def test_equal_where_the_heap_cannot_grow(version, tunables, seed):
    environment = {"LD_PRELOAD": str(build(BLOCK_HEAP, shared=True))}
    random = Random(seed)
    trace = Program(random, random.choice([1, 1, 3]), largest_border=30, light=True).trace(1500)
    parameters = {**tunables, "version": version}
    verdict = verify(trace, parameters, compiled=False, environment=environment)
    assert verdict.equal, str(verdict)


def test_brk_does_fail(version):
    environment = {"LD_PRELOAD": str(build(BLOCK_HEAP, shared=True))}
    trace = Program(Random(0), largest_border=30, light=True).trace(1500)
    calls = replay(
        trace, {"mmap_max": 0}, environment=environment, libc=libc_for(str(version))
    ).syscalls
    brk = calls.name == "brk"
    assert (calls.result[brk] < calls.arguments[brk, 0].astype(int)).any()
    assert (calls.name == "mmap").any()
