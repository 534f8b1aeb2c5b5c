"""What calibration measures: its benchmarks, and what each of them counts."""

import numpy as np
import pytest

from allocsim.ground_truth.calibration.benchmark import (
    DISPATCH,
    FROM_MODEL,
    Benchmark,
    faults_in,
    parse_events,
)
from allocsim.ground_truth.calibration.benchmarks import all_benchmarks
from allocsim.ground_truth.calibration.contention import (
    thread_counts,
)
from allocsim.ground_truth.calibration.figures import fault_mismatches
from allocsim.ground_truth.calibration.heap_scripts import (
    NO_CACHE,
    churn,
    consolidation,
    pair,
    released,
    sorting,
)
from allocsim.ground_truth.calibration.measure import (
    SOURCE,
    Measurements,
    Slice,
)
from allocsim.kernel.costs import Event


def test_events_are_read_from_text():
    assert parse_events("munmap + 32 page_released") == {"munmap": 1.0, "page_released": 32.0}
    assert parse_events("2 mremap + mremap") == {"mremap": 3.0}
    assert parse_events("") == {}
    with pytest.raises(ValueError, match="mummap"):
        parse_events("mummap")


@pytest.fixture(scope="module")
def benchmarks() -> list[Benchmark]:
    """All that there are, whatever this machine knows."""
    return all_benchmarks(True)


def test_every_event_that_can_be_measured_is_in_some_benchmark(benchmarks):
    counted = set().union(*(parse_events(b.events) for b in benchmarks if b.events != FROM_MODEL))
    counted |= {"call", "near_access", "far_access"}  # by the model
    counted |= {"irregular", "write", "byte_written", "far_byte_written", "cold_release"}
    counted |= {"fill", "distant_block"}
    counted |= {"shootdown", "interruption", "sleep", "switch", "wake_delay", "waking"}  # contests
    counted |= {"handover", "remote_access", "trap"}  # and the way to a lock
    counted |= {"huge_fault", "huge_page_zeroed", "huge_page_released"}  # by figures
    unknown = {e.name.lower() for e in Event} - counted
    assert unknown == {"major_fault", "page_swapped", "spin_ns"}


def test_names_are_unique_and_every_body_is_in_the_program(benchmarks):
    assert len({b.name for b in benchmarks}) == len(benchmarks)
    source = SOURCE.read_text()
    bodies = {b.body for b in benchmarks if b.script is None}
    assert [body for body in bodies if f"NAMED({body})" not in source] == []


def test_the_model_counts_what_a_script_does():
    cached = pair(64, {}).model_counts()
    assert cached[Event.CALL] == 2
    assert set(cached) == {Event.CALL, Event.NEAR_ACCESS}
    sorted_ = sorting([2048 + 64 * i for i in range(50)]).model_counts()
    assert sorted_[Event.NEAR_ACCESS] + sorted_[Event.FAR_ACCESS] > 5
    assert sorted_[Event.CALL] == pytest.approx(1 / 50)
    assert released(512, 2000).model_counts()[Event.COLD_RELEASE] > 0.5
    various = churn(4096, 20, writes=True).model_counts()
    assert 0.35 < various[Event.WRITE] < 0.5  # a step is a call, and every other one a malloc
    assert 0.1 < various[Event.IRREGULAR] < 5


def test_a_script_is_packed_with_its_timed_part_marked():
    script = pair(64, NO_CACHE)
    rows = np.frombuffer(
        script.packed(), np.dtype([("size", "<i8"), ("slot", "<i4"), ("kind", "<i4")])
    )
    (begin,), (end,) = np.flatnonzero(rows["kind"] == 4), np.flatnonzero(rows["kind"] == 5)
    assert end == len(rows) - 1
    assert end - begin - 1 == len(script.timed)
    assert rows["size"][0] == 64 and rows["kind"][1] == 2


def test_a_script_that_fills_its_blocks_does_so_on_both_sides():
    script = churn(512, 20, writes=True)
    n_mallocs = sum(size > 0 for _, _, size in script.timed)
    counts = Benchmark("filled", "script", 1, FROM_MODEL, "", script).counts()
    assert counts[DISPATCH] == (len(script.timed) + n_mallocs) / script.n_steps
    assert counts["byte_written"] * script.n_steps == sum(size for _, _, size in script.timed)
    assert Event.BYTE_WRITTEN not in churn(512, 20).model_counts()


def test_a_script_in_the_fit_has_the_models_counts_and_the_loops_steps():
    script = pair(64, {})
    counts = Benchmark("pair", "script", 1, FROM_MODEL, "", script).counts()
    assert (counts["call"], counts[DISPATCH]) == (2, 2)


def test_a_script_outside_of_the_fit_still_pays_for_the_loop():
    benchmark = Benchmark("consolidation", "script", 1, "", "", consolidation())
    assert benchmark.counts() == {}
    assert benchmark.dispatches == pytest.approx(1 / 4000)


def test_thread_counts_are_powers_of_two_and_all_cpus():
    assert thread_counts(1) == [1]
    assert thread_counts(6) == [1, 2, 4, 6]
    assert thread_counts(500) == [1, 2, 4, 8, 16]


def test_wrong_numbers_of_faults_are_reported():
    slices = {"fault_32": [Slice(100, 1, 1000, 1000, 3)], "mmap_1": [Slice(100, 1, 1000, 1000, 0)]}
    counts = {"fault_32": {"write_fault": 1.0}, "mmap_1": {"mmap": 1.0}}
    assert faults_in(counts["fault_32"]) == 1
    assert fault_mismatches(counts, Measurements(slices, 1.0)) == [
        "fault_32: 0.03 page faults, expected 1"
    ]
