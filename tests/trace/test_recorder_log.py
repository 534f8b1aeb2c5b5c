"""Reading the recorder's files: threads merged, repeats dropped, mappings cut and joined."""

import struct
from pathlib import Path

import numpy as np

from allocsim.trace.recorder_log import CAPACITY, HEADER_BYTES, Kind, Resident
from allocsim.trace.recorder_mappings import Mappings, Piece, joined, overlap
from allocsim.trace.recorder_process import Process

PAGE = 4096


def packed(order: int, kind: Kind, address: int, size: int = 0, ticks: int = 0) -> bytes:
    """An event as the C library writes it."""
    high = address | ticks >> 24 << 48
    return struct.pack("<4Q", high, size | kind << 48, 1000 + order, order << 24 | ticks % 2**24)


def write_log(path: Path, flushed: list[bytes], buffer: list[bytes]) -> None:
    header = struct.pack("<QQ", 2, len(flushed)).ljust(HEADER_BYTES, b"\0")
    path.write_bytes(header + b"".join(buffer).ljust(CAPACITY * 32, b"\0") + b"".join(flushed))


def process(folder: Path, stopped: int | None = None) -> Process:
    numbers = (1, 2, 0, 0, 0, False, 0, 0, 0, 0, 0, stopped, 0, 0, False, "p", {}, ("p",))
    return Process(folder / "1.0.process", *numbers)


def read(folder: Path, stopped: int | None = None) -> np.ndarray:
    return np.concatenate(list(process(folder, stopped).events()))


def test_fields_are_unpacked(tmp_path: Path) -> None:
    long_call = 2**24 * 5 + 7
    event = packed(9, Kind.MALLOC, 0x7FFF_FFFF_FFF0, 2**40, long_call)
    write_log(tmp_path / "1.0.0.log", [], [packed(8, Kind.THREAD, 3), event])
    found = read(tmp_path)[-1]
    assert (found["kind"], found["thread"], found["order"]) == (Kind.MALLOC, 3, 9)
    assert (found["address"], found["size"]) == (0x7FFF_FFFF_FFF0, 2**40)
    assert (found["entry"], found["ticks"]) == (1009, long_call)


def test_threads_are_merged_by_order(tmp_path: Path) -> None:
    for thread in range(3):
        events = [packed(n, Kind.MALLOC, 16 * n + 16) for n in range(3 + thread, 300, 3)]
        write_log(tmp_path / f"1.0.{thread}.log", [packed(thread, Kind.THREAD, thread)], events)
    found = read(tmp_path)
    assert found["order"].tolist() == list(range(300))
    assert (found["thread"] == found["order"] % 3).all()


def test_a_log_handed_on_changes_its_thread(tmp_path: Path) -> None:
    events = [
        packed(0, Kind.THREAD, 4),
        packed(1, Kind.MALLOC, 16),
        packed(2, Kind.THREAD, 5),
        packed(3, Kind.MALLOC, 32),
    ]
    write_log(tmp_path / "1.0.0.log", events[:1], events[1:])
    assert read(tmp_path)["thread"].tolist() == [4, 4, 5, 5]


def test_events_flushed_but_still_in_the_buffer_count_once(tmp_path: Path) -> None:
    events = [packed(n, Kind.MALLOC, 16 * n + 16) for n in range(CAPACITY)]
    write_log(tmp_path / "1.0.0.log", events, events)
    assert read(tmp_path)["order"].tolist() == list(range(CAPACITY))


def test_slots_never_filled_are_left_out(tmp_path: Path) -> None:
    write_log(tmp_path / "1.0.0.log", [], [packed(0, Kind.MALLOC, 16), bytes(32), bytes(32)])
    assert len(read(tmp_path)) == 1


def test_nothing_counts_after_the_recording_stopped(tmp_path: Path) -> None:
    events = [packed(n, Kind.MALLOC, 16 * n + 16) for n in range(10)]
    write_log(tmp_path / "1.0.0.log", [], events)
    assert read(tmp_path, stopped=6)["order"].max() == 5


def resident(folder: Path, ranges: list[tuple[int, int]]) -> Resident:
    np.array(ranges, "<u8").tofile(folder / "r")
    return Resident(folder / "r")


def test_resident_bytes_of_a_range(tmp_path: Path) -> None:
    pages = resident(tmp_path, [(0x8000, 0x9000), (0x2000, 0x5000)])
    assert pages.bytes_in(0x1000, 0x10000) == 4 * PAGE
    assert pages.bytes_in(0x2800, 0x3000) == 0x800
    assert pages.bytes_in(0x4800, 0x8010) == 0x810
    assert pages.bytes_in(0x5000, 0x8000) == 0
    assert pages.runs_in(0x4000, 0x8800) == [(0x4000, 0x5000), (0x8000, 0x8800)]


def test_many_resident_runs_keep_their_bytes(tmp_path: Path) -> None:
    pages = resident(tmp_path, [(n * 2 * PAGE, (n * 2 + 1) * PAGE) for n in range(1, 101)])
    runs = pages.runs_in(0, 1000 * PAGE)
    assert len(runs) == 16
    assert sum(end - start for start, end in runs) == 100 * PAGE


def test_cutting_the_middle_leaves_both_ends() -> None:
    mappings = Mappings()
    mappings.add(Piece(0, 10 * PAGE, slot=1, base=0, since=5))
    assert mappings.cut(4 * PAGE, 2 * PAGE) == [Piece(4 * PAGE, 6 * PAGE, 1, 0, 5)]
    assert [(piece.start, piece.end) for piece in mappings] == [
        (0, 4 * PAGE),
        (6 * PAGE, 10 * PAGE),
    ]
    assert mappings.cut(4 * PAGE, 2 * PAGE) == []
    assert mappings.has_object(1)
    assert len(mappings.cut(0, 10 * PAGE)) == 2
    assert not mappings.has_object(1)


def test_cutting_takes_whole_pages_of_all_objects() -> None:
    mappings = Mappings()
    mappings.add(Piece(0, 100, slot=1, base=0, since=0))
    mappings.add(Piece(PAGE, 3 * PAGE, slot=2, base=0, since=0))
    assert [(p.slot, p.n_bytes) for p in mappings.cut(0, PAGE + 1)] == [(1, PAGE), (2, PAGE)]
    assert [(p.slot, p.offset) for p in mappings] == [(2, 2 * PAGE)]


def test_neighbours_of_one_object_are_joined() -> None:
    pieces = [Piece(0, 10, 1, 0, 0), Piece(10, 20, 1, 0, 7), Piece(20, 30, 2, 20, 0)]
    assert [(p.slot, p.n_bytes) for p in joined(pieces)] == [(1, 20), (2, 10)]


def test_overlap_counts_from_the_object_s_start() -> None:
    piece = Piece(100, 200, slot=1, base=50, since=0)
    assert overlap(piece, 150, 400) == (100, 50)
    assert overlap(piece, 300, 400)[1] == 0
