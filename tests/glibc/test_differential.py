"""The model is equal to the real glibc: addresses, system calls, faults, pages, mallinfo2."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_traces import ALIGNMENTS, AROUND, BORDERS, TUNABLES, Program, random_tunables

from allocsim.glibc import BrkOnly, Glibc, MmapOnly
from allocsim.ground_truth.verify import verify
from allocsim.trace import Op, Trace
from allocsim.trace.text import read_csv
from allocsim.trace.thread_numbers import ThreadNumbers

REGRESSIONS = sorted((Path(__file__).parent.parent / "regressions").glob("*.csv"))

sizes = st.builds(lambda b, d: b + d, st.sampled_from(BORDERS[:28]), st.sampled_from(AROUND))
news = st.tuples(
    st.sampled_from([Op.MALLOC, Op.CALLOC, Op.REALLOC, Op.ALIGNED_ALLOC]),
    sizes,
    st.sampled_from(ALIGNMENTS[:10]),
    st.booleans(),
)
uses = st.tuples(st.sampled_from([Op.FREE, Op.FREE, Op.REALLOC]), sizes)
steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), news, uses), max_size=60)
tunables = st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in TUNABLES.items()})


def trace_of(steps: list, n_threads: int) -> Trace:
    """Each step takes an object: one that is live is used, one that is not is made."""
    live: set[int] = set()
    rows = []
    for slot, thread, (op, size, alignment, writes), (use, new_size) in steps:
        if slot in live:
            op, size, writes = use, new_size if use == Op.REALLOC else 0, False
            live -= {slot} if op == Op.FREE else set()
        else:
            live.add(slot)
        alignment = alignment if op == Op.ALIGNED_ALLOC else 0
        rows.append((op, slot, size, alignment, size * writes, thread % n_threads))
    op, slot, size, alignment, written, thread = zip(*rows, strict=True)
    return Trace.of(
        op=op, object=slot, size=size, alignment=alignment, written=written, thread=thread
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps.filter(len), st.integers(1, 3), tunables)
def test_short_sequences(version, steps, n_threads, tunables):
    parameters = {**tunables, "version": version}
    verdict = verify(trace_of(steps, n_threads), parameters, compiled=False)
    assert verdict.equal, str(verdict)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(version, seed):
    random = Random(seed)
    n_threads, tunables = random.choice([1, 1, 2, 16]), random_tunables(random)
    program = Program(random, n_threads, largest_border=random.choice([18, 26, 30]))
    verdict = verify(program.trace(1500), {**tunables, "version": version}, compiled=False)
    assert verdict.equal, f"{tunables}: {verdict}"


@pytest.mark.usefixtures("real_glibc")
@pytest.mark.parametrize(("policy", "tunables"), [
    (MmapOnly, {"mmap_threshold": 0, "mmap_max": 2**31 - 1}),
    (BrkOnly, {"mmap_max": 0}),
])  # fmt: skip
def test_mmap_only_and_brk_only_are_settings(policy, tunables):
    trace = Program(Random(7), largest_border=30).trace(1500)
    assert verify(trace, tunables, compiled=False).equal
    verdict = verify(trace, tunables, policy=policy, compiled=False)
    assert verdict.equal, str(verdict)


@pytest.mark.slow
def test_compiled_is_equal_too(version):
    verdict = verify(Program(Random(3), largest_border=30).trace(100_000), {"version": version})
    assert verdict.equal, str(verdict)


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_regressions(version, path):
    settings_file = path.with_suffix(".json")
    tunables = json.loads(settings_file.read_text()) if settings_file.exists() else {}
    trace = Trace.concatenate(read_csv(str(path), ThreadNumbers()))
    verdict = verify(trace, {**tunables, "version": version}, compiled=False)
    assert verdict.equal, str(verdict)


@pytest.mark.usefixtures("real_glibc")
def test_a_wrong_model_is_told_with_the_op():
    trace = Trace.of(op=[Op.MALLOC] * 40, object=np.arange(40), size=[5000] * 40)
    verdict = verify(trace, {"top_pad": 0}, policy=ForgetsToPad, compiled=False)
    assert not verdict.equal
    assert verdict.what == "syscalls"
    assert "brk(" in verdict.real
    assert [line.split(":")[0] for line in verdict.context].count(f"op {verdict.op}") == 1


def test_the_difference_that_comes_first_is_told():
    """A heap that is not given back shows in a system call first, then in missing faults."""
    op = [Op.MALLOC] * 4 + [Op.FREE] * 4 + [Op.MALLOC] * 4
    trace = Trace.of(op=op, object=[0, 1, 2, 3] * 3, size=[100_000 * (o == Op.MALLOC) for o in op])
    verdict = verify(trace, policy=NeverTrims, compiled=False)
    assert verdict.what == "syscalls"
    assert 4 <= verdict.op < 8
    assert verdict.model == "no further system call"


class NeverTrims(Glibc):
    def should_trim(self, top_bytes):
        return False


class ForgetsToPad(BrkOnly):
    def growth_bytes(self, need):
        return super().growth_bytes(need) + 8192
