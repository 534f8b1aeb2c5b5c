"""Both heaps side by side: the real one is read as it is, and a wrong decision is seen."""

from random import Random

import numpy as np
import pytest
from random_traces import Program

from allocsim.glibc import Glibc
from allocsim.ground_truth.heaps import (
    Chunk,
    HeapView,
    chunks_at,
    first_ops,
    model_view,
    real_view,
    report,
    shape_of,
    structures,
)
from allocsim.ground_truth.held import Unreadable, held
from allocsim.ground_truth.libc_packages import libc_for
from allocsim.ground_truth.modelled import modelled
from allocsim.ground_truth.verify import verify
from allocsim.trace import Op, Trace

HEAP = 0x1000


def view(*chunks: Chunk, **lists: tuple[int, ...]) -> HeapView:
    return HeapView(heaps={HEAP: chunks}, lists=lists)


# ---- the table


def test_what_differs_is_marked_and_what_is_far_away_is_left_out():
    many = [Chunk(HEAP + 32 * i, 32, "used") for i in range(40)]
    other = [*many[:20], Chunk(HEAP + 32 * 20, 64, "free"), *many[22:]]
    lines = report(view(*many), view(*other), focus=[])
    assert lines[0] == "chunks of the heap at 0x1000"
    assert lines[1].split() == ["real", "model"]
    marked = [line.split() for line in lines if line.startswith("≠")]
    assert marked == [
        ["≠", "0x1280", "32", "used", "64", "free"],
        ["≠", "0x12a0", "32", "used", "-"],
    ]
    assert [line.split()[0] for line in lines[2:6]] == ["0x1200", "0x1220", "0x1240", "0x1260"]
    assert len({line.index("used") for line in lines[2:6]}) == 1


def test_the_chunks_around_an_address_are_shown_with_their_lists():
    chunks = [Chunk(HEAP, 64, "used"), Chunk(HEAP + 64, 4096, "free"), Chunk(0x2040, 96, "top")]
    both = view(*chunks, unsorted=(HEAP + 64,), cached=(HEAP,))
    text = "\n".join(report(both, both, focus=[HEAP + 80]))
    assert "64 in cached" in text
    assert "4,096 free, unsorted" in text
    assert "96 top" in text
    assert "≠" not in text


def test_lists_are_shown_from_where_they_differ():
    real = view(unsorted=(16, 32, 48, 64, 80, 96), equal=(16,))
    model = view(unsorted=(16, 32, 48, 64, 112))
    lines = report(real, model, focus=[])
    rows = [line for line in lines if line.startswith("≠")]
    assert "… 0x40 0x50 0x60 (6)" in rows[0] and "… 0x40 0x70 (5)" in rows[0]
    assert rows[1].split() == ["≠", "equal", "0x10", "(1)", "-"]


def test_chunks_with_a_mapping_of_their_own():
    lines = report(HeapView(mapped={0x7000: 8192}), HeapView(), focus=[0x7000])
    assert lines[-1].split() == ["≠", "0x7000", "8,192", "mapped", "-"]


# ---- the real heap


@pytest.fixture(scope="module")
def readable_memory() -> None:
    """Skips where one program must not read another's memory, as in some containers."""
    try:
        with held(Trace.of(op=Op.MALLOC, object=[0], size=[1])):
            pass
    except Unreadable as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("readable_memory")
@pytest.mark.parametrize(
    ("seed", "n_threads", "tunables"),
    [
        (1, 1, {}),
        (2, 4, {}),
        (3, 3, {"arena_max": 2, "mxfast": 160}),
        (4, 1, {"tcache_count": 0}),
        (5, 2, {"tcache_max": 100_000}),
    ],
)
def test_the_real_heap_is_seen_as_the_modelled_one(version, seed, n_threads, tunables):
    """Where the model is equal, every chunk and every list is the same on both sides."""
    trace = Program(Random(seed), n_threads, largest_border=26).trace(1200)
    policy = modelled(trace, {**tunables, "version": version}).driver.policy
    asked = [block - 16 for block in (0x7FFFF0000010, 0x10)]
    with held(trace, tunables, libc=libc_for(str(version))) as process:
        real = real_view(process, shape_of(policy), structures(policy, n_threads), asked)
    model = model_view(policy, n_threads, asked)
    assert real.notes == []
    assert len(real.heaps) >= (2 if n_threads > 1 else 1)
    assert real.heaps == model.heaps
    assert real.lists == model.lists
    assert any("bin" in name for name in real.lists)


@pytest.mark.usefixtures("real_glibc", "readable_memory")
def test_a_mapped_chunk_is_seen():
    trace = Trace.of(op=Op.MALLOC, object=[0], size=[1 << 20])
    policy = modelled(trace, {}).driver.policy
    with held(trace) as process:
        chunk = process.mappings()[-1].low  # the stack: no chunk
        mapped = [m.low for m in process.mappings() if m.high - m.low >= 1 << 20 and not m.name]
        caches = structures(policy, 1)
        found = real_view(process, shape_of(policy), caches, [chunk, *mapped]).mapped
    assert (1 << 20) + 4096 in found.values()


# ---- wrong decisions


class CachesLess(Glibc):
    def cache_room(self, index):
        return max(0, super().cache_room(index) - 1)


class GrowsTooFar(Glibc):
    def growth_bytes(self, need):
        return super().growth_bytes(need) + 8192


class MapsTooMuch(Glibc):
    def should_map(self, need):
        return need >= 65_536


def difference(policy, trace):
    verdict = verify(trace, policy=policy, compiled=False, heaps=True)
    assert not verdict.equal
    return verdict, [line for line in verdict.heaps if line.startswith("≠")]


@pytest.mark.usefixtures("real_glibc", "readable_memory")
def test_a_chunk_taken_from_the_wrong_place_is_shown_on_both_sides():
    trace = Program(Random(3), largest_border=24).trace(1500)
    verdict, marked = difference(CachesLess, trace)
    assert verdict.what == "address"
    for side in (verdict.real, verdict.model):
        chunk = f"{int(side, 16) - 16:#x}"
        assert any(chunk in line and "used" in line for line in marked), chunk
    assert any("bin" in line for line in marked)
    assert "lists of free chunks: first members and number" in verdict.heaps
    assert str(verdict).index(f"op {verdict.op + 1}: ") > str(verdict).index(f"op {verdict.op}: ")


@pytest.mark.usefixtures("real_glibc", "readable_memory")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_heap_that_grows_too_far_has_another_top(n_threads):
    """With threads the first difference comes before the first op: their creation."""
    trace = Trace.of(op=Op.MALLOC, object=range(4), size=100, thread=[0, n_threads - 1, 0, 0])
    verdict, marked = difference(GrowsTooFar, trace)
    assert (verdict.what, verdict.op) == ("syscalls", 0 if n_threads == 1 else -1)
    [top] = marked
    assert top.endswith(" top") and top.count("top") == 2


@pytest.mark.usefixtures("real_glibc", "readable_memory")
def test_a_block_that_is_mapped_on_one_side_only():
    trace = Trace.of(op=Op.MALLOC, object=[0, 1], size=100_000)
    verdict, marked = difference(MapsTooMuch, trace)
    assert verdict.op == 1
    [mapped] = [line for line in marked if line.endswith(" mapped")]
    assert mapped.split()[2] == "-"
    assert f"{int(verdict.real, 16) - 16:#x}" in "".join(marked)


def test_a_shortened_trace_keeps_its_threads():
    trace = Trace.of(op=Op.MALLOC, object=[0, 1, 2], size=8, thread=[0, 0, 5])
    assert first_ops(trace, 1).n_threads == 6


def test_the_chunks_of_an_object_before_and_after_an_op():
    trace = Trace.of(op=[Op.MALLOC, Op.MALLOC, Op.REALLOC], object=[0, 1, 0], size=8)
    real, model = np.array([0x100, 0x200, 0x300]), np.array([0x100, 0x200, 0x400])
    assert chunks_at(trace, 2, real, model) == {0xF0, 0x2F0, 0x3F0}
    assert chunks_at(trace, -1, real, model) == set()


@pytest.mark.usefixtures("real_glibc")
def test_memory_that_must_not_be_read_is_said_to_be_so(monkeypatch):
    def refuse(*_, **__):
        raise Unreadable("the program's memory cannot be read: Operation not permitted")

    monkeypatch.setattr("allocsim.ground_truth.heaps.both.held", refuse)
    verdict = verify(
        Trace.of(op=Op.MALLOC, object=[0], size=[100]),
        policy=GrowsTooFar,
        compiled=False,
        heaps=True,
    )
    assert verdict.what == "syscalls"
    [line] = verdict.heaps
    assert line.startswith("the real heap cannot be shown: ") and "not permitted" in line
