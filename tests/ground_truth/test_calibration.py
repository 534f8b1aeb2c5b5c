"""Calibration: the fit against known units, the file, the run. No test looks at absolute times."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest

from allocsim.errors import AllocsimError
from allocsim.ground_truth.calibration import QUICK, Calibration, command, cost_file
from allocsim.ground_truth.calibration.benchmark import (
    SECTION,
    Benchmark,
)
from allocsim.ground_truth.calibration.contention import (
    INTERRUPTIONS,
    KEEPING,
    PASSING,
    SWITCHING,
    TURNS,
    WAKING,
    contests,
    figures,
    prices,
)
from allocsim.ground_truth.calibration.figures import StepFigure
from allocsim.ground_truth.calibration.fit import Estimate, fit, solve
from allocsim.ground_truth.calibration.measure import (
    Bench,
    Effort,
    Measurements,
    Rounds,
    Slice,
    make_rounds,
)
from allocsim.ground_truth.calibration.noise import NOISE_LIMIT, noise
from allocsim.ground_truth.calibration.passed_blocks import remote_accesses_per_call
from allocsim.kernel.costs import CostTable, Event

UNITS = {"munmap": 3000.0, "page_released": 300.0, "madvise": 700.0, "lock": 5.0, SECTION: 600.0}
COUNTS = {
    "munmap": {"munmap": 1, SECTION: 0.1},
    "munmap_again": {"munmap": 1, SECTION: 0.5},
    "munmap_32": {"munmap": 1, "page_released": 32, SECTION: 1},
    "munmap_256": {"munmap": 1, "page_released": 256, SECTION: 1},
    "madvise": {"madvise": 1, SECTION: 0.1},
    "madvise_32": {"madvise": 1, "page_released": 32, SECTION: 1},
    "madvise_8": {"madvise": 1, "page_released": 8, SECTION: 1},
    "lock": {"lock": 1},
    "lock_again": {"lock": 2},
    "clock": {SECTION: 1},
    "clock_again": {SECTION: 2},
}


def true_ns(row: dict[str, float]) -> float:
    return sum(n * UNITS[name] for name, n in row.items())


def noisy_times(spread: float, rounds: int = 30, seed: int = 5) -> dict[str, np.ndarray]:
    """A quarter of the rounds is faster than the true units say, the others slower."""
    rng = np.random.default_rng(seed)
    middle = 0.6745 * spread  # of the logarithm, whose lower quartile is then 0
    return {n: true_ns(row) * rng.lognormal(middle, spread, rounds) for n, row in COUNTS.items()}


# ---- the fit
def test_the_fit_finds_the_units_that_made_the_times():
    found = fit(COUNTS, noisy_times(0.0), np.random.default_rng(1), resamples=20)
    for name, ns in UNITS.items():
        assert found.unknowns[name].ns == pytest.approx(ns, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_hold_the_true_units_and_are_no_wider_than_the_noise_makes_them(seed):
    times = noisy_times(0.2, seed=seed)
    found = fit(COUNTS, times, np.random.default_rng(1), resamples=300).unknowns
    inside = [e.low_ns <= UNITS[name] <= e.high_ns for name, e in found.items()]
    assert sum(inside) >= len(UNITS) - 1  # each holds it in 95 of 100 cases
    widths = [(e.high_ns - e.low_ns) / e.ns for e in found.values()]
    assert min(widths) > 0.02
    assert max(widths) < 0.8


def test_a_machine_that_is_slow_most_of_the_time_has_the_units_of_its_quiet_rounds():
    rng = np.random.default_rng(3)
    slow = 1 + 0.5 * (rng.random((len(COUNTS), 40)) < 0.6)
    times = {name: true_ns(COUNTS[name]) * slow[i] for i, name in enumerate(COUNTS)}
    found = fit(COUNTS, times, np.random.default_rng(1), resamples=20).unknowns
    assert found["munmap"].ns == pytest.approx(UNITS["munmap"], rel=1e-3)


def test_benchmarks_that_contradict_each_other_meet_in_the_middle_and_widen_the_interval():
    counts = {"small": {"write_fault": 1}, "large": {"write_fault": 1}}
    times = {"small": np.full(9, 1000.0), "large": np.full(9, 4000.0)}
    found = fit(counts, times, np.random.default_rng(1), 100).unknowns["write_fault"]
    assert found.ns == pytest.approx(2000, rel=1e-3)
    assert found.low_ns < 1100 and found.high_ns > 3900


def test_units_are_never_negative():
    design = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert solve(design, np.array([1000.0, 900.0])).min() >= 0


def test_a_benchmark_without_time_or_events_is_refused():
    with pytest.raises(ValueError, match="must take time"):
        solve(np.eye(2), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="count something"):
        solve(np.array([[1.0], [0.0]]), np.array([1.0, 1.0]))


# ---- noise
def test_a_quiet_machine_is_not_called_noisy_and_a_noisy_one_is():
    quiet, loud = noise(noisy_times(NOISE_LIMIT / 10)), noise(noisy_times(NOISE_LIMIT))
    assert not quiet.noisy and loud.noisy
    assert quiet.typical == pytest.approx(NOISE_LIMIT / 10 * 2.56, rel=0.4)


def test_one_disturbed_benchmark_is_named_but_does_not_condemn_the_machine():
    times = noisy_times(0.01) | {"lock": np.array([1.0, 1.0, 5.0, 5.0] * 5)}
    found = noise(times)
    assert not found.noisy
    assert found.worst_name == "lock" and found.worst > 1


def test_noise_and_strange_faults_are_said(calibration):
    (rounds, verdict, fitted, warning) = command.remarks(calibration)
    assert rounds.startswith("30 rounds")
    assert verdict.startswith("noisy machine") and calibration.noise.worst_name in verdict
    assert "%" in fitted
    assert warning == "warning: fault_32: 0 page faults, expected 1"


# ---- rounds
class FakeBench(Bench):
    """Notes what is asked for, and takes no time but what it is told to."""

    def __init__(self, pause_s: float = 0.0):
        self.asked: list[str] = []
        self.pause_s = pause_s

    def warm_up(self, pages: int) -> None:
        self.asked.append("warm_up")

    def slice(self, task, slice_ns: int) -> Slice:
        self.asked.append(task.name)
        time.sleep(self.pause_s)
        return Slice(10, 1, 1000, 2000, 0)


TASKS = [Benchmark(name, name, 1, "", "") for name in "abcdefgh"]
EFFORT = Effort(5, 1, most_pages=1, warm_pages=1, resamples=1, limit_s=100)


def measure(bench, effort, seed, progress=lambda *_: None) -> Measurements:
    rounds = Rounds(bench, TASKS, effort.slice_ns, seed)
    make_rounds(rounds, effort, progress)
    return rounds.measurements()


def test_each_round_has_every_benchmark_in_an_order_of_its_own():
    bench, told = FakeBench(), []
    found = measure(bench, EFFORT, 3, lambda *numbers: told.append(numbers))
    rounds = [tuple(bench.asked[8 * i : 8 + 8 * i]) for i in range(5)]
    assert all(sorted(each) == list("abcdefgh") for each in rounds)
    assert len(set(rounds)) > 1
    assert told[0] == (1, 40) and told[-1] == (40, 40)
    assert found.rounds == 5
    assert found.cpu_ns("a").tolist() == [100.0] * 5 and found.wall_ns("a")[0] == 200


def test_memory_is_touched_before_the_first_round(monkeypatch):
    bench = FakeBench()
    calibrator = import_module("allocsim.ground_truth.calibration.calibrator")
    monkeypatch.setattr(calibrator, "all_benchmarks", lambda _: TASKS)
    monkeypatch.setattr(calibrator, "bench_for", lambda _: nullcontext(bench))
    monkeypatch.setattr(calibrator, "_works", lambda *_: True)
    with calibrator.calibrator(EFFORT, 1) as calibrating:
        calibrating.rounds.advance()
    assert bench.asked[0] == "warm_up" and len(bench.asked) == 2


def test_the_seed_decides_the_order():
    orders = []
    for seed in (1, 1, 2):
        bench = FakeBench()
        measure(bench, EFFORT, seed)
        orders.append(bench.asked)
    assert orders[0] == orders[1] != orders[2]


def test_rounds_end_when_the_time_is_up():
    short = Effort(500, 1, most_pages=1, warm_pages=1, resamples=1, limit_s=0.01)
    assert measure(FakeBench(0.005), short, 1).rounds == 2


def test_a_round_that_has_begun_is_completed():
    rounds = Rounds(FakeBench(), TASKS, 1, 1)
    for _ in range(11):
        rounds.advance()
    assert (rounds.slices, rounds.complete) == (11, 1)
    assert rounds.measurements().rounds == 2
    assert rounds.slices == 16


# ---- the file
@pytest.fixture
def calibration() -> Calibration:
    """A made-up calibration of a noisy machine with two CPUs."""
    times = noisy_times(0.3)
    fitted = fit(COUNTS, times, np.random.default_rng(1), resamples=50)
    figure = Estimate(200.0, 150.0, 300.0)
    return Calibration(
        costs={n: e for n, e in fitted.unknowns.items() if n != SECTION},
        steps={
            "munmap": StepFigure('what "it" does: \u2026', figure, 250.0),
            **{f"huge_{n}": StepFigure("", figure, None) for n in ("fault", "munmap", "clear")},
        },
        threads=[1, 2],
        contention=figures([1, 2], lambda _: figure, lambda _: figure),
        noise=noise(times),
        mismatches=["fault_32: 0 page faults, expected 1"],
        rounds=30,
        seconds=12.0,
    )


def test_what_is_written_is_read_back(calibration, tmp_path):
    about = {"cpu": "a \\ b", "load_average": [0.5, 1.0, 2.0], "mitigations": {"spectre": "none"}}
    path = tmp_path / "costs.toml"
    path.write_text(cost_file(calibration, about, CostTable.load()), encoding="utf-8")
    table = CostTable.load(path)
    for name, estimate in calibration.costs.items():
        at = Event[name.upper()]
        got = (table.low_ns[at], table.unit_ns[at], table.high_ns[at])
        assert got == pytest.approx((estimate.low_ns, estimate.ns, estimate.high_ns), rel=1e-3)
    assert table.unit_ns[Event.BRK] == CostTable.load().unit_ns[Event.BRK]
    content = table.provenance
    assert content["machine"] == about
    assert content["costs"]["brk"]["source"].startswith("assumed")
    assert content["calibration"]["noisy"] is True
    assert content["steps"]["munmap"]["what"] == 'what "it" does: \u2026'
    assert content["contention"]["fault"]["wall_high_ns"] == [300.0, 300.0]
    assert content["huge_pages"]["clear"]["ns"] == 200.0


def test_an_interrupted_calibration_leaves_no_file(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "calibrate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        command.calibrate_command(tmp_path / "costs.toml", True, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_benchmark_is_named(tmp_path):
    with pytest.raises(AllocsimError, match=r"no_such_thing failed: .*no benchmark no_such_thing"):
        Bench([], tmp_path).slice(Benchmark("x", "no_such_thing", 1, "", ""), 1)


def test_what_threads_cost_each_other_comes_from_contests_of_two():
    cpu = {"drop_page_running:1": 100.0, "drop_page_running:2": 350.0, TURNS.name: 15.0}
    cpu |= {INTERRUPTIONS.name: 70.0, SWITCHING.name: 5.0, "fault_256": 90.0, "populate": 60.0}
    cpu |= {KEEPING.name: 20.0, PASSING.name: 20.0 + 50.0 * remote_accesses_per_call()}
    wall = {TURNS.name: 80.0, WAKING.name: 9.0, "mmap_munmap:1": 100.0, "mmap_munmap:2": 360.0}
    found = prices(
        [1, 2],
        lambda name: np.full(5, cpu[name]),
        lambda name: np.full(5, wall[name]),
        np.random.default_rng(1),
    )
    ns = {name: estimate.ns for name, estimate in found.items()}
    assert ns == {
        "shootdown": 250.0, "interruption": 70.0, "sleep": 15.0, "switch": 5.0,
        "wake_delay": 40.0, "waking": 9.0, "handover": 40.0, "remote_access": 50.0, "trap": 30.0,
    }  # fmt: skip
    assert prices([1], lambda _: np.zeros(5), lambda _: np.zeros(5), np.random.default_rng(1)) == {}


# ---- for real
CLI = "from allocsim.cli import main; main()"


@pytest.fixture(scope="module")
def measured() -> Calibration:
    return command.calibrate(QUICK, 1, lambda *_: None)


@pytest.mark.slow
@pytest.mark.full
def test_a_real_run_prices_every_event_and_finds_what_must_be_dearer(measured):
    steps = {name: step.measured.ns for name, step in measured.steps.items()}
    cheap_first = [
        ("munmap_256", "munmap_written_256"),
        ("brk_shrink", "brk_shrink_written"),
        ("madvise_absent", "madvise_written_256"),
        ("madvise_written_32", "madvise_written_256"),
        ("null_syscall", "mmap_munmap"),
        ("null_syscall", "fault_256"),
        ("thread_cache_pair", "sort_large"),
        ("thread_cache_pair", "mmap_write_munmap_49"),
    ]
    assert [(a, b) for a, b in cheap_first if not steps[a] < steps[b]] == []
    unknown = {"major_fault", "page_swapped", "spin_ns"}
    if "huge_fault" not in steps:  # the machine does not allow huge pages
        unknown |= {"huge_fault", "huge_page_zeroed", "huge_page_released"}
    assert set(measured.costs) == {e.name.lower() for e in Event} - unknown
    assert measured.mismatches == []


@pytest.mark.slow
def test_a_real_run_tells_every_contest_and_every_interval_in_order(measured):
    kinds = {c.kind for c in contests(measured.threads)} - {
        c.kind for c in (TURNS, SWITCHING, WAKING, PASSING, INTERRUPTIONS)
    }
    assert set(measured.contention) == kinds
    for kind in measured.contention.values():
        assert len(kind["wall_ns"]) == len(measured.threads)
        assert min(kind["wall_ns"] + kind["cpu_ns"]) > 0
    for estimate in measured.costs.values():
        ends = (estimate.low_ns, estimate.ns, estimate.high_ns)
        assert all(a <= b for a, b in pairwise(ends))


@pytest.mark.slow
def test_ctrl_c_ends_the_command_without_a_file(tmp_path):
    # What a build starts in the background inherits that Ctrl-C is ignored.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    process = subprocess.Popen(
        [sys.executable, "-c", heeds + CLI, "calibrate", "-o", "costs.toml"],
        cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    time.sleep(4)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.decode().splitlines()[-1] == "interrupted"
    assert list(tmp_path.iterdir()) == []
