"""The benchmark itself: small runs of its parts."""

import numpy as np
import pytest

from allocsim.trace import Op, Trace, validated
from benchmarks.speed import pairs, table
from benchmarks.speed.pairs import Case, measure, spread
from benchmarks.speed.streams import Growing, Looped, closed
from benchmarks.speed.traces import LARGE, SMALL, made, recorded


@pytest.mark.slow
@pytest.mark.parametrize("churn", [SMALL, LARGE])
def test_made_traces_are_sound_and_the_same_each_time(churn):
    trace = made(churn, 3_000)
    assert sum(map(len, validated(trace))) == 3_000
    assert trace.content_hash() == made(churn, 3_000).content_hash()
    assert trace.size.max() > 100 * trace.size[trace.size > 0].min()


def test_small_churn_stays_around_its_live_objects():
    trace = made(SMALL, 400_000)
    live = np.cumsum(np.where(trace.op == Op.FREE, -1, 1))
    assert live.min() >= 0
    assert 20_000 < live[200_000:].min() <= live.max() <= SMALL.live + 60


def test_recorded_programs_run_on_one_thread():
    traces = recorded()
    assert {"cc1", "git-pack", "sqlite3"} <= set(traces)
    assert all(trace.n_threads == 1 for trace in traces.values())


def test_a_loop_of_a_closed_trace_is_sound_at_any_length():
    source = Looped(closed(made(SMALL, 1_000)), 7_777)
    assert sum(map(len, validated(source))) == 7_777


def test_a_growing_heap_takes_new_slots():
    trace = Trace.concatenate(Growing(200_000, 72).batches())
    assert trace.object.tolist() == list(range(200_000))


@pytest.mark.slow
def test_a_tiny_case_is_measured_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "SHORTEST_NS", 1)
    case = Case("tiny", made(SMALL, 2_000), "first_fit", most_ratio=(1.5, None))
    nothing, everything = (row.figures() for row in measure(case, rounds=2))
    assert (nothing["written"], everything["written"]) == ("nothing", "all")
    assert nothing["ratio_at_most"] == 1.5
    assert everything["ratio"]["low"] <= everything["ratio"]["median"]
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    machine = {"cpu": "C", "kernel": "Linux 6 #1", "c_library": "glibc", "date": "2026-11-22T"}
    figures = {"start_s": spread([1.0, 2.0, 4.0]), "blocks": 1000}
    results = {"machine": machine, "rounds": 2, "rows": [nothing], "figures": figures}
    table.write_into_document(results, document)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| tiny (2,000 ops) | first_fit | nothing |" in text
    assert "| start_s | 2 (1 to 4) |" in text and "| blocks | 1,000 |" in text
