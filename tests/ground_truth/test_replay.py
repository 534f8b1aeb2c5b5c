"""What the real C library does on small traces whose outcome is known."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from allocsim.errors import InputError
from allocsim.ground_truth import GroundTruth, ReplayError, environment_of, replay
from allocsim.trace import Op, Trace

MakeChurn = Callable[..., Trace]
PAGE = 4096
MIB = 1 << 20
ENOMEM = 12


def assert_equal(one: GroundTruth, other: GroundTruth) -> None:
    np.testing.assert_array_equal(one.address, other.address)
    np.testing.assert_array_equal(one.minor_faults, other.minor_faults)
    assert one.syscalls is not None and other.syscalls is not None
    assert one.syscalls.table().equals(other.syscalls.table())
    for name in ("start_maps", "end_maps", "start_brk", "end_brk", "mallinfo2", "resident_pages"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.heap_resident_pages == other.heap_resident_pages


def syscalls(truth: GroundTruth) -> list[tuple[int, str]]:
    assert truth.syscalls is not None
    return list(zip(truth.syscalls.op.tolist(), truth.syscalls.name.tolist(), strict=True))


@pytest.mark.parametrize(("size", "name"), [(131_048, "brk"), (131_056, "mmap")])
def test_the_mmap_threshold_is_where_it_is_documented(size: int, name: str) -> None:
    """The first block leaves the heap's top too small for the second."""
    truth = replay(Trace.of(op=Op.MALLOC, object=[0, 1], size=[9_000, size]))
    assert syscalls(truth) == [(0, "brk"), (1, name)]
    assert (truth.address[1] < truth.end_brk) == (name == "brk")


def test_syscalls_have_their_arguments_and_results() -> None:
    truth = replay(Trace.of(op=[Op.MALLOC, Op.FREE], object=[0, 0], size=[MIB, 0]))
    table = truth.syscalls.table().to_pylist()[-2:]
    mapped, unmapped = (list(row.values()) for row in table)
    at = int(truth.address[0]) - 16
    assert mapped == [0, "mmap", 0, MIB + PAGE, 3, 0x22, 0xFFFFFFFF, 0, at]
    assert unmapped == [1, "munmap", at, MIB + PAGE, 0, 0, 0, 0, 0]


def test_faults_are_those_of_the_call_and_of_the_programs_writes() -> None:
    ops = [Op.MALLOC, Op.MALLOC, Op.MALLOC, Op.TOUCH, Op.READ]
    written = [1, 0, MIB, 0, 0]
    trace = Trace.of(
        op=ops, object=[0, 1, 2, 1, 1], size=[1, MIB, MIB, MIB // 2, MIB], written=written
    )
    truth = replay(trace)
    # Op 1 touches the page of the chunk's header only; op 3 half of the rest, op 4 what remains.
    assert truth.minor_faults[1:].tolist() == [1, 257, 128, 128]
    assert replay(trace, writes="none").minor_faults[1:].tolist() == [1, 1, 0, 256]
    assert replay(trace, writes="fill").minor_faults[1:].tolist() == [1, 257, 128, 128]


def test_a_write_after_a_read_faults_again() -> None:
    trace = Trace.of(
        op=[Op.MMAP, Op.READ, Op.TOUCH, Op.TOUCH], object=0, size=10 * PAGE, arg=[3, 0, 0, 0]
    )
    truth = replay(trace)
    assert truth.minor_faults.tolist() == [0, 10, 10, 0]


def test_resident_pages_are_those_that_were_written() -> None:
    truth = replay(Trace.of(op=Op.MALLOC, object=range(50), size=50_000))
    assert truth.heap_resident_pages == truth.minor_faults.sum()
    assert truth.resident_pages - truth.start_resident_pages == truth.heap_resident_pages


def test_realloc_of_an_empty_slot_and_to_nothing() -> None:
    truth = replay(Trace.of(op=Op.REALLOC, object=0, size=[100, 0, 100]))
    assert truth.address[0] == truth.address[2] != 0
    assert truth.address[1] == 0


def test_a_failed_request_returns_0_and_leaves_the_block() -> None:
    ops = [Op.MALLOC, Op.REALLOC, Op.REALLOC, Op.MALLOC, Op.TOUCH, Op.FREE]
    truth = replay(Trace.of(op=ops, object=[0, 0, 0, 1, 1, 0], size=[100, 2**47, 50, 2**47, 10, 0]))
    assert truth.address.tolist() == [*truth.address[:1], 0, *truth.address[:1], 0, 0, 0]
    assert -ENOMEM in truth.syscalls.result


def test_alignment_is_passed_on() -> None:
    powers = 2 ** np.arange(4, 21)
    truth = replay(Trace.of(op=Op.ALIGNED_ALLOC, object=range(17), size=100, alignment=powers))
    assert not np.any(truth.address % powers.astype(np.uint64))


def test_the_programs_own_mappings_are_made_but_not_reported() -> None:
    ops = [Op.MMAP, Op.TOUCH, Op.MUNMAP, Op.MADVISE, Op.TOUCH, Op.MREMAP, Op.TOUCH, Op.MUNMAP]
    trace = Trace.of(
        op=ops,
        object=0,
        size=np.array([10, 10, 2, 4, 8, 300, 300, 300]) * PAGE,
        offset=np.array([0, 0, 0, 2, 2, 0, 2, 2]) * PAGE,
        arg=[3, 0, 0, 4, 0, 1, 0, 0],
    )
    truth = replay(trace)
    assert truth.minor_faults.tolist() == [0, 10, 0, 0, 4, 0, 292, 0]
    assert truth.address.nonzero()[0].tolist() == [0, 5]
    assert len(truth.syscalls) == 0
    assert truth.end_maps == truth.start_maps


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("tunables", [None, {"mmap_threshold": 0}, {"tcache_count": 0}])
def test_every_run_is_the_same(
    churn: MakeChurn, n_threads: int, tunables: dict[str, int] | None
) -> None:
    trace = churn(3000, n_threads=n_threads)
    first = replay(trace, tunables)
    assert len(first) == 3000
    assert_equal(first, replay(trace, tunables))
    unobserved = replay(trace, tunables, syscalls=False)
    assert unobserved.syscalls is None
    np.testing.assert_array_equal(first.address, unobserved.address)
    np.testing.assert_array_equal(first.minor_faults, unobserved.minor_faults)


def test_streams_longer_than_a_batch(churn: MakeChurn) -> None:
    short = churn(30_000)
    long = Trace.concatenate([short, Trace.of(op=Op.MARK, object=[-1] * 40_000, size=0)])
    truth = replay(long)
    assert len(truth) == 70_000
    np.testing.assert_array_equal(truth.address[:30_000], replay(short).address)
    assert not truth.address[30_000:].any() and not truth.minor_faults[30_000:].any()


def test_an_empty_trace() -> None:
    truth = replay(Trace.of(op=[], object=[], size=[]))
    assert len(truth) == len(truth.syscalls) == 0
    assert truth.table().column_names == ["op", "address", "minor_faults"]


def test_threads_have_arenas_of_their_own() -> None:
    trace = Trace.of(op=Op.MALLOC, object=range(6), size=100, thread=[0, 1, 2, 0, 1, 2])
    truth = replay(trace, {"arena_max": 8})
    heaps = truth.address // (64 << 20)
    assert len(set(heaps.tolist())) == 3
    assert heaps[:3].tolist() == heaps[3:].tolist()
    creating = [name for op, name in syscalls(truth) if op == -1]
    assert creating == ["mmap", "mprotect", "brk"] + ["mmap", "mprotect"] * 2
    assert truth.syscalls.thread.tolist()[:7] == [-1] * 7
    assert "[heap]" in truth.start_maps


def test_ways_to_set_tunables() -> None:
    trace = Trace.of(op=Op.MALLOC, object=range(3), size=70_000)
    one = replay(trace, {"mmap_threshold": 65536})
    # The first block still fits what the heap got for the thread cache.
    assert syscalls(one) == [(0, "brk"), (1, "mmap"), (2, "mmap")]
    assert_equal(one, replay(trace, "glibc.malloc.mmap_threshold=65536"))
    variable = {"MALLOC_MMAP_THRESHOLD_": "65536"}
    assert len(replay(trace, environment=variable).syscalls) == len(one.syscalls)
    assert environment_of({"a": 1, "glibc.x.b": 2}, {"C": "3"}) == {
        "GLIBC_TUNABLES": "glibc.malloc.a=1:glibc.x.b=2",
        "C": "3",
    }


def test_another_folders_c_library_is_used(tmp_path: Path) -> None:
    trace = Trace.of(op=[Op.MALLOC], object=[0], size=[1])
    ours = replay(trace)
    for name in ("libc.so.6", "ld-linux-x86-64.so.2"):
        [path] = {line.split()[-1] for line in ours.start_maps.splitlines() if line.endswith(name)}
        (tmp_path / "lib").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "lib" / name)
    theirs = replay(trace, libc=tmp_path)
    assert str(tmp_path / "lib/libc.so.6") in theirs.start_maps
    assert theirs.libc == ours.libc
    with pytest.raises(InputError, match="no ld-linux"):
        replay(trace, libc=tmp_path / "none")


def test_the_number_of_cpus_decides_on_the_number_of_arenas() -> None:
    trace = Trace.of(op=Op.MALLOC, object=range(20), size=100, thread=range(20))
    truths = [replay(trace, cpus=cpus) for cpus in (1, 4)]
    assert [truth.cpus for truth in truths] == [1, 4]
    arenas = [len(set((truth.address // (64 << 20)).tolist())) for truth in truths]
    assert arenas[0] < 12 and arenas[1] == 20


def test_a_crash_names_the_op() -> None:
    trace = Trace.of(op=[Op.MALLOC, Op.TOUCH], object=0, size=[10, 10], offset=[0, 2**46])
    with pytest.raises(ReplayError, match="op 1 of signal 11"):
        replay(trace)


def test_what_the_c_library_detects_is_told() -> None:
    """The program writes over the size of the next chunk."""
    ops = [Op.MALLOC, Op.MALLOC, Op.TOUCH, Op.FREE]
    trace = Trace.of(op=ops, object=[0, 1, 0, 1], size=[24, 5000, 1, 0], offset=[0, 0, 24, 0])
    with pytest.raises(ReplayError, match=r"(?s)free.*op 3 of signal 6"):
        replay(trace)


def test_a_source_that_fails_stops_the_replay() -> None:
    class Failing(Trace):
        def batches(self, batch_ops: int = 65536) -> Iterator[Trace]:
            yield self
            raise InputError("row 7: wrong")

    with pytest.raises(InputError, match="row 7"):
        replay(Failing.of(op=[Op.MALLOC], object=[0], size=[1]))
