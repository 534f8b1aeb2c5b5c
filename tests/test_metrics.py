"""Each metric against a case small enough to work out by hand."""

import math

import numpy as np
import pytest

from allocsim import metrics
from allocsim.kernel.costs import N_EVENTS, CostTable, Event
from allocsim.policy import Kind

FREE, USED, METADATA, TOP = Kind.FREE, Kind.USED, Kind.METADATA, Kind.TOP


def state(*ranges: tuple[int, int, int]) -> dict[str, int]:
    address, size, kind = (np.array(column, np.int64) for column in zip(*ranges, strict=True))
    return only(metrics.heap_states(address * 0, address, size, kind.astype(np.uint8), 1))


def only(states: dict[str, np.ndarray]) -> dict[str, int]:
    """The numbers of the only walk."""
    return {name: column.item() for name, column in states.items()}


def test_adjacent_free_ranges_are_one_hole():
    heap = state((0, 32, USED), (32, 64, FREE), (96, 16, FREE), (112, 32, USED), (144, 48, FREE),
                 (192, 16, USED))  # fmt: skip
    assert heap["holes"] == 2
    assert heap["largest_hole_bytes"] == 80
    assert heap["free_bytes"] == 128
    assert heap["used_bytes"] == 80


def test_free_memory_up_to_the_top_is_no_hole():
    heap = state((0, 32, USED), (32, 64, FREE), (96, 16, USED), (112, 48, FREE), (160, 1000, TOP))
    assert heap["holes"] == 1
    assert heap["free_bytes"] == 64
    assert heap["top_bytes"] == 1048


def test_free_ranges_that_do_not_touch_are_two_holes():
    assert state((0, 32, FREE), (48, 32, FREE), (96, 8, METADATA))["holes"] == 2


def test_the_last_report_of_an_address_counts_and_order_does_not_matter():
    heap = state((64, 32, USED), (0, 64, USED), (64, 32, FREE))
    assert (heap["used_bytes"], heap["free_bytes"]) == (64, 32)


def test_walks_are_evaluated_side_by_side():
    """Ranges that adjoin by address but belong to two walks are two holes."""
    walk = np.array([0, 1, 1, 0])
    address, size = np.array([0, 64, 0, 200]), np.array([64, 32, 16, 8])
    heap = metrics.heap_states(walk, address, size, np.array([FREE, FREE, USED, USED]), 3)
    assert heap["holes"].tolist() == [1, 1, 0]
    assert heap["free_bytes"].tolist() == [64, 32, 0]
    assert heap["used_bytes"].tolist() == [8, 16, 0]


def test_an_empty_walk_is_an_empty_heap():
    nothing = np.zeros(0, np.int64)
    heap = only(metrics.heap_states(nothing, nothing, nothing, nothing.astype(np.uint8), 1))
    assert set(heap.values()) == {0}


def test_fragmentation_is_the_mean_over_the_walks_where_it_is_defined():
    walks = {
        "live_bytes": np.array([50, 0, 90]),
        "used_bytes": np.array([100, 0, 100]),
        "free_bytes": np.array([100, 0, 0]),
        "largest_hole_bytes": np.array([25, 0, 0]),
    }
    result = metrics.fragmentation(walks)
    assert result["internal_fragmentation"] == pytest.approx((0.5 + 0.1) / 2)
    assert result["external_fragmentation"] == pytest.approx(0.75)


def test_johnstone_and_wilsons_measures():
    samples = {"live_bytes": np.array([100, 200, 50]), "resident_bytes": np.array([150, 220, 300])}
    result = metrics.johnstone_wilson(samples, peak_live=200, peak_resident=300, live_then=50)
    assert result["jw1"] == pytest.approx((1.5 + 1.1 + 6) / 3 - 1)
    assert result["jw2"] == pytest.approx(0.1)
    assert result["jw3"] == pytest.approx(5)
    assert result["jw4"] == pytest.approx(0.5)


def test_nothing_live_gives_nan_not_an_error():
    samples = {"live_bytes": np.array([0]), "resident_bytes": np.array([4096])}
    result = metrics.johnstone_wilson(samples, 0, 4096, 0)
    assert all(math.isnan(value) for value in result.values())


def test_cpu_time_is_counts_times_unit_costs():
    counts = np.zeros(N_EVENTS, np.int64)
    counts[Event.MMAP], counts[Event.WRITE_FAULT], counts[Event.BYTE_WRITTEN] = 3, 5, 10_000
    unit_ps = CostTable.load().unit_ps
    parts = metrics.cpu_parts_ns(counts, unit_ps)
    assert parts["syscall_ns"] == 3 * unit_ps[Event.MMAP] // 1000
    assert parts["fault_ns"] == 5 * unit_ps[Event.WRITE_FAULT] // 1000
    assert parts["program_ns"] == 10_000 * unit_ps[Event.BYTE_WRITTEN] // 1000
    assert parts["cpu_ns"] == parts["syscall_ns"] + parts["fault_ns"]


def test_every_event_belongs_to_exactly_one_part():
    events = [event for part in metrics.PARTS.values() for event in part]
    # a delay is nobody's CPU time; that of waking is part of SLEEP, that of a trap of its fault
    assert sorted([*events, Event.WAKE_DELAY, Event.WAKING, Event.TRAP]) == list(Event)


@pytest.mark.parametrize(
    "event",
    [Event.MUNMAP, Event.AREA_CUT, Event.AREA_JOINED, Event.WRITE_FAULT, Event.FAULT_RUN,
     Event.PAGE_ZEROED, Event.HUGE_PAGE_ZEROED],
)  # fmt: skip
def test_what_a_lone_thread_has_the_kernel_do_is_time_in_the_kernel(event):
    counts = np.zeros(N_EVENTS, np.int64)
    counts[[event, Event.CALL]] = 3, 4
    ledger = {"counts": counts, "unit_ps": [2000] * N_EVENTS, "time_ns": 100}
    table = metrics.lone_thread(ledger, 1)
    assert (table["kernel_ns"].tolist(), table["work_ns"].tolist()) == ([6], [94])


def test_growing_and_shrinking_the_heap_are_both_brk_calls():
    counts = np.zeros(N_EVENTS, np.int64)
    counts[Event.BRK], counts[Event.BRK_SHRINK], counts[Event.MUNMAP] = 4, 2, 1
    result = metrics.syscall_counts(counts)
    assert (result["brk_calls"], result["munmap_calls"], result["syscalls"]) == (6, 1, 7)


def test_cpu_intervals_add_independent_errors_as_squares_up_and_down_apart():
    unit, low, high = (np.ones(N_EVENTS) * ns for ns in (10.0, 9.0, 12.0))
    table = CostTable(tuple(unit), {}, tuple(low), tuple(high))
    counts = np.zeros(N_EVENTS, np.int64)
    counts[Event.MMAP], counts[Event.MUNMAP], counts[Event.BYTE_WRITTEN] = 3, 4, 1000
    found = metrics.cpu_interval_ns(counts, table)
    assert found["syscall_ns"] == pytest.approx((70 - 5, 70 + 10))
    assert found["cpu_ns"] == found["syscall_ns"]  # what the program writes is apart
    assert found["program_ns"] == pytest.approx((9000, 12_000))
    assert found["fault_ns"] == (0, 0)


def test_a_table_without_intervals_gives_intervals_of_no_width():
    counts = np.arange(N_EVENTS, dtype=np.int64)
    table = CostTable(tuple(range(N_EVENTS)), {})
    parts = metrics.cpu_parts_ns(counts, table.unit_ps)
    for name, (low, high) in metrics.cpu_interval_ns(counts, table).items():
        assert low == high == pytest.approx(parts[name])
