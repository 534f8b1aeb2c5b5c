"""Simulation beside reality: what is compared, how errors are summed up. No absolute times."""

import json
import math
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from allocsim.errors import InputError
from allocsim.experiment.settings import Settings
from allocsim.figures.validation import PANELS, draw_validation
from allocsim.glibc import Glibc, MmapOnly
from allocsim.ground_truth import replay
from allocsim.ground_truth.calibration import QUICK, Calibration
from allocsim.ground_truth.calibration.fit import Estimate
from allocsim.ground_truth.calibration.machine import huge_pages_setting
from allocsim.ground_truth.calibration.noise import noise
from allocsim.ground_truth.measurement import Allocator, Band, find_allocator, prediction
from allocsim.ground_truth.validation import Setting, Validation, command, validate
from allocsim.ground_truth.validation.comparison import Pair, group_of
from allocsim.ground_truth.validation.summary import errors_of, gaps_of, ranking_of
from allocsim.ground_truth.validation.table import table_of
from allocsim.ground_truth.validation.validate import MEASURED_BETWEEN
from allocsim.kernel import CostTable, Event
from allocsim.machine import Machine
from allocsim.simulation import simulate
from allocsim.trace import Op, Trace, write_trace

ALLOCSIM = Path(sys.executable).with_name("allocsim")
PINNED = Setting("mmap_threshold=8K", {"mmap_threshold": 8192}, {"mmap_threshold": 8192})


def exactly(value: float) -> Band:
    return Band(value, value, value)


def small_trace() -> Trace:
    """Blocks that come and go, on both sides of every threshold."""
    number = np.arange(600)
    frees = number % 2 == 1
    return Trace.of(
        op=np.where(frees, Op.FREE, Op.MALLOC),
        object=number // 2 % 5,
        size=np.where(frees, 0, 100 + 7919 * number % 300_000),
    )


# ---- errors


@pytest.mark.parametrize(
    ("measured", "predicted", "error"), [(100, 115, 0.15), (100, 80, -0.2), (0, 0, 0.0)]
)
def test_errors_are_relative_to_what_was_measured(measured, predicted, error):
    assert Pair(exactly(measured), exactly(predicted)).error == pytest.approx(error)


def test_what_was_predicted_of_nothing_has_no_error():
    assert math.isnan(Pair(exactly(0), exactly(5)).error)


def test_traces_are_split_by_their_names_alone():
    groups = [group_of(f"trace {i}") for i in range(3000)]
    assert groups == [group_of(f"trace {i}") for i in range(3000)]
    assert 0.3 < groups.count("fitting") / 3000 < 0.37


@dataclass
class Case:
    """A comparison of one figure, f."""

    trace: str
    setting: str
    measured: float
    predicted: float

    def pairs(self):
        noisy = Band(self.measured, 0.9 * self.measured, 1.1 * self.measured)
        return {"f": Pair(noisy, exactly(self.predicted))}


CASES = [
    Case("a", "", 100, 110),
    Case("a", "x", 1000, 1210),
    Case("a", "y", 120, 100),
    Case("b", "", 100, 80),
    Case("b", "x", 200, 60),
]


def test_errors_over_cases():
    errors = errors_of(CASES, "f")
    assert errors.n == 5
    assert errors.median == pytest.approx(0.2)
    assert errors.worst == pytest.approx(0.7)
    assert errors.noise == pytest.approx(0.2)
    assert errors_of([], "f") is None


def test_settings_are_multiples_of_the_defaults():
    gaps = gaps_of(CASES, "f")
    assert [gap.trace + gap.setting for gap in gaps] == ["ax", "ay", "bx"]
    assert [gap.measured for gap in gaps] == [10, 1.2, 2]
    assert [gap.predicted for gap in gaps] == pytest.approx([11, 1 / 1.1, 0.75])
    assert gaps[0].error == pytest.approx(0.1)


def test_only_clear_differences_are_ranked():
    """a: x is dearer than both others; its default and y are too near. b: wrong."""
    ranking = ranking_of(CASES, "f")
    assert (ranking.right, ranking.pairs) == (2, 3)


# ---- both worlds


@pytest.fixture(scope="module")
def found() -> Validation:
    glibc = find_allocator("glibc")
    traces = {"one": small_trace(), "two": small_trace()[:300]}
    if replay(small_trace()[:1]).libc != "2.36":
        pytest.skip("the C library is not the modelled one")
    settings = [Setting("", {}, {}), PINNED]
    return validate(traces, settings, glibc, Glibc, CostTable.load(), rounds=2)


def test_counts_and_memory_over_time_are_equal(found: Validation):
    assert [(c.trace, c.setting) for c in found.comparisons] == [
        (trace, setting) for trace in ("one", "two") for setting in ("", "mmap_threshold=8K")
    ]
    for case in found.comparisons:
        for name in ("syscalls", "minor_faults", "resident_mean_bytes", "resident_end_bytes"):
            assert case.pairs()[name].error == 0, name
        assert case.memory_gap_bytes() == 0
        assert len(case.predicted.samples["op"]) > 200


def test_cpu_time_is_that_of_all_and_of_allocator_and_kernel_alone(found: Validation):
    for case in found.comparisons:
        pairs = case.pairs()
        for side in ("measured", "predicted"):
            everything, alone = (getattr(pairs[f"cpu_ns.{k}"], side) for k in ("fill", "none"))
            assert everything.value > alone.value > 0, side
            assert alone.low <= alone.value <= alone.high


@pytest.mark.parametrize(
    ("setting", "hugetlb", "huge_pages"),
    [
        ("never", 1, "never"),
        ("unknown", 1, "never"),
        ("madvise", 0, "never"),
        ("madvise", 1, "madvise"),
        ("always", 0, "always"),
    ],
)
def test_huge_pages_are_simulated_as_the_machine_has_them(
    monkeypatch, setting, hugetlb, huge_pages
):
    monkeypatch.setattr(prediction, "huge_pages_setting", lambda: setting)
    assert prediction.huge_pages_here({"hugetlb": hugetlb}) == huge_pages


def test_a_machine_that_says_nothing_of_huge_pages_has_those_of_this_one(monkeypatch):
    monkeypatch.setattr(prediction, "huge_pages_setting", lambda: "always")
    trace = Trace.of(op=[Op.MALLOC], object=[0], size=[8 << 20])

    def faults(**machine):
        costs, on = CostTable.load(), Machine(**machine)
        found = prediction.predict(trace, Glibc, {}, costs, ("fill",), on)
        return found.totals["minor_faults"]

    assert faults() == faults(cpus=2) == faults(huge_pages="always") < 1000
    assert faults(huge_pages="never") == faults(memory_bytes=64 << 20) > 2000


def test_huge_pages_that_glibc_asks_for():
    if huge_pages_setting() != "madvise":
        pytest.skip("huge pages are not for those who ask here")
    trace = Trace.of(op=Op.MALLOC, object=[0, 1, 2], size=5 << 20)
    asking = Setting("hugetlb=1", {"hugetlb": 1}, {"hugetlb": 1})
    costs = CostTable.load()
    [case] = validate(
        {"t": trace}, [asking], find_allocator("glibc"), Glibc, costs, rounds=1
    ).comparisons
    faults = case.pairs()["minor_faults"]
    assert faults.measured.value < 3 * 5 * 256  # small pages would be as many
    assert faults.error == 0


def test_a_wrong_policy_is_seen():
    glibc = find_allocator("glibc")
    wrong = validate(
        {"one": small_trace()}, [Setting("", {}, {})], glibc, MmapOnly, CostTable.load(), rounds=1
    )
    [case] = wrong.comparisons
    assert case.pairs()["syscalls"].error > 0.1
    assert case.memory_gap_bytes() > 0


class Slices:
    """A calibrator that measures nothing, and finds that brk takes 7 ns."""

    n_tasks = 3

    def __init__(self) -> None:
        self.rounds, self.made = self, 0

    def advance(self) -> None:
        self.made += 1

    def calibration(self) -> Calibration:
        costs = {"brk": Estimate(7.0, 6.0, 8.0)}
        quiet = noise({"brk": np.ones(4)})
        return Calibration(costs, {}, [1], {}, quiet, [], rounds=1, seconds=1.0)


def test_unit_costs_found_between_the_timings_price_the_simulation(monkeypatch):
    slices = Slices()
    module = import_module("allocsim.ground_truth.validation.validate")
    monkeypatch.setattr(module, "calibrator", lambda *_: nullcontext(slices))
    found = validate(
        {"one": small_trace()}, [PINNED], find_allocator("glibc"), MmapOnly, None, rounds=2
    )
    assert slices.made >= 2 * module.LEAST_SLICES  # before each timing
    assert found.calibration == slices.calibration()
    assert MEASURED_BETWEEN in found.costs.origin()
    brk = [costs[Event.BRK] for costs in (found.costs.low_ns, found.costs.unit_ns)]
    assert brk == [6.0, 7.0]


@pytest.mark.slow
@pytest.mark.full
def test_unit_costs_are_measured_between_the_timings_where_none_are_given(tmp_path):
    glibc = find_allocator("glibc")
    settings = [Setting("", {"mmap_threshold": 8192}, {"mmap_threshold": 8192})]
    found = validate(
        {"one": small_trace()}, settings, glibc, MmapOnly, None, rounds=1, effort=QUICK
    )
    assert found.calibration is not None and found.calibration.rounds >= 1
    assert MEASURED_BETWEEN in found.costs.origin()
    assert found.costs.has_intervals
    (path,) = command.write_costs(found, tmp_path)
    assert CostTable.load(path).content_hash() == found.costs.content_hash()


def test_costs_that_were_given_are_not_written(found: Validation, tmp_path):
    assert command.write_costs(found, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_threads_of_a_recording_run_beside_each_other_but_are_counted_in_order():
    n = 80
    thread, frees = np.arange(n) % 2, np.arange(n) // 2 % 2 == 1
    trace = Trace.of(
        op=np.where(frees, Op.FREE, Op.MALLOC),
        object=thread,
        thread=thread,
        size=np.where(frees, 0, 400_000),
    )
    found = prediction.predict(trace, Glibc, {"mmap_threshold": 65536}, CostTable.load(), ("fill",))
    assert 0 < found.wall_ns["fill"] < 0.8 * found.cpu_ns["fill"].value
    ordered = simulate(prediction.BackToBack(trace), Glibc, parameters={"mmap_threshold": 65536})
    assert found.totals["minor_faults"] == ordered.totals["minor_faults"]
    alone = prediction.predict(small_trace(), Glibc, {}, CostTable.load(), ("fill",))
    assert alone.wall_ns == {}


def test_the_text_has_each_case_and_the_table_that_was_used(found: Validation):
    text = table_of(found)
    assert sum(line.startswith("one, mmap_threshold=8K ") for line in text) == 3
    assert sum(" against default: measured " in line for line in text) == 4
    [counts] = [i for i, line in enumerate(text) if line.startswith("measured, and error")]
    assert all(line.split().count("=") == 4 for line in text[counts + 1 : counts + 5])
    assert text[-1].startswith("unit costs: shipped")


def test_the_json_holds_errors_noise_and_both_memories(found: Validation):
    plain = json.loads(json.dumps(command.as_plain(found)))
    assert plain["costs"] == {"table": "shipped", "hash": CostTable.load().content_hash()}
    case = plain["cases"][1]
    assert case["group"] == group_of("one")
    assert set(case["figures"]["cpu_ns.none"]) == {"measured", "predicted", "error", "noise"}
    assert (
        case["measured"]["samples"]["resident_bytes"]
        == (case["predicted"]["samples"]["resident_bytes"])
    )
    assert plain["summary"]["cpu_ns.fill"]["against_default"][0]["setting"] == "mmap_threshold=8K"


def test_the_figure_has_a_point_for_each_case_and_covers_none(found: Validation):
    figure = draw_validation(found)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    for axes, (name, *_) in zip(figure.axes, PANELS, strict=True):
        drawn = sorted(bars.lines[0].get_xdata()[0] for bars in axes.containers)
        scale = 2**20 if name.endswith("bytes") else 1e6
        real = sorted(c.pairs()[name].measured.value / scale for c in found.comparisons)
        assert drawn == pytest.approx(real)
        assert not axes.get_window_extent().overlaps(legend)
        assert axes.get_xlim() == axes.get_ylim()


# ---- what was asked for


def test_settings_come_beside_the_defaults():
    request = command.ValidateRequest(
        workloads=("t",),
        settings=Settings(pairs=("mmap_threshold=64K",), variables=("MALLOC_ARENA_MAX=2",), cpus=3),
        against=("top_pad=0,mmap_max=0",),
    )
    base = {"version": 2.36, "arena_max": 2, "cpus": 3}
    found = command._settings(request, Allocator("glibc-2.36"), Glibc)
    assert found == [
        Setting("", {}, base),
        Setting("mmap_threshold=64K", {"mmap_threshold": 65536}, base | {"mmap_threshold": 65536}),
        Setting(
            "top_pad=0 mmap_max=0",
            {"top_pad": 0, "mmap_max": 0},
            base | {"top_pad": 0, "mmap_max": 0},
        ),
    ]


@pytest.mark.parametrize(
    ("allocator", "message"),
    [("jemalloc", "name a policy with --policy"), ("glibc-2.20", "glibc 2.20 has no model")],
)
def test_an_allocator_without_a_model_is_refused(allocator, message):
    with pytest.raises(InputError) as caught:
        policy = command._policy_for(Allocator(allocator), "")
        command._settings(command.ValidateRequest(("t",)), Allocator(allocator), policy)
    assert message in str(caught.value)


@pytest.mark.slow
@pytest.mark.full
def test_the_command(tmp_path):
    write_trace(tmp_path / "t.parquet", small_trace())

    def run(*options):
        options = ("validate", "t.parquet", "--policy", "mmap_only", "--rounds", "1", *options)
        return subprocess.run(
            [ALLOCSIM, *options], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = run("--json", "-o", "drawn", "--against", "mmap_threshold=64K")
    assert done.returncode == 0, done.stderr
    assert [case["setting"] for case in json.loads(done.stdout)["cases"]] == [
        "",
        "mmap_threshold=64K",
    ]
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["costs.toml", "validation.pdf", "validation.png", "validation.svg"]
    assert "rounds in" in done.stderr  # how good the unit costs are
    done = run("--against", "mmap_treshold=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'mmap_threshold'?" in done.stderr
