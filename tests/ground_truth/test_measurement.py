"""Measuring real allocators: what is counted, how rounds are interleaved, what is told when one is
missing. No absolute times."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from allocsim.cbuild import build
from allocsim.errors import InputError
from allocsim.figures.measurement import draw_measurement
from allocsim.glibc import Glibc
from allocsim.ground_truth import Timing, packed, replay
from allocsim.ground_truth.measurement import Band, find_allocator, measure, timing
from allocsim.ground_truth.measurement import allocators as known
from allocsim.ground_truth.measurement.counts import count
from allocsim.ground_truth.measurement.table import Column, show_band, table_of
from allocsim.ground_truth.measurement.timing import ENOUGH_NS, Case, time_cases
from allocsim.simulation import simulate
from allocsim.trace import Op, Trace, write_trace

MakeChurn = Callable[..., Trace]
ALLOCSIM = Path(sys.executable).with_name("allocsim")

BUMP_ALLOCATOR = """
#include <stddef.h>
static char memory[1 << 22] __attribute__((aligned(4096)));
static size_t used;
void *malloc(size_t n) { void *p = memory + used; used += (n + 15) & -16ul; return p; }
void free(void *p) { (void)p; }
"""


def pairs(n_ops: int, n_threads: int = 1) -> Trace:
    """malloc and free by turns, of sizes on both sides of the mmap threshold."""
    number = np.arange(n_ops)
    frees = number % 2 == 1
    return Trace.of(
        op=np.where(frees, Op.FREE, Op.MALLOC),
        object=number // 2 % 7,
        size=np.where(frees, 0, 1000 + 7919 * number % 200_000),
        thread=number // 2 % 7 % n_threads,
    )


# ---- which allocators there are


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jmalloc", "did you mean 'jemalloc'?"),
        ("best", "known: glibc, glibc-VERSION, jemalloc"),
        ("./nowhere.so", "no such file"),
        ("glibc-1.0", "1.0"),
    ],
)
def test_what_is_no_allocator_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        find_allocator(name)
    assert message in str(caught.value)


def test_a_missing_allocator_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_loadable", lambda: "")
    with pytest.raises(InputError, match=r"apt install libmimalloc2\.0"):
        find_allocator("mimalloc")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="apt install musl-tools"):
        find_allocator("musl")


def test_a_library_is_found_where_the_loader_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = (
        "\tlibjemalloc.so.2 (libc6) => /lib/i386-linux-gnu/libjemalloc.so.2\n"
        "\tlibjemalloc.so.2 (libc6,x86-64) => /opt/libjemalloc.so.2\n"
    )
    monkeypatch.setattr(known, "_loadable", lambda: listing)
    found = find_allocator("jemalloc")
    assert found.library == "/opt/libjemalloc.so.2"
    assert found.with_environment({"A": "1"})["environment"] == {
        "LD_PRELOAD": "/opt/libjemalloc.so.2",
        "A": "1",
    }


# ---- counts


def test_counts_are_those_of_the_replay(churn: MakeChurn) -> None:
    trace = churn(3000)
    truth = replay(trace, {"mmap_threshold": 8192})
    with packed(trace) as stream:
        counts = count(Case(stream, {"mmap_threshold": 8192}), {}, samples=30)
    assert counts.totals["syscalls"] == len(truth.syscalls)
    assert counts.totals["munmap_calls"] == (truth.syscalls.name == "munmap").sum() > 0
    assert counts.totals["minor_faults"] == truth.minor_faults.sum()
    grown = truth.resident_pages - truth.start_resident_pages
    assert counts.totals["resident_end_bytes"] == grown * 4096
    assert counts.samples["op"].tolist() == list(range(100, 3001, 100))
    assert counts.samples["resident_bytes"][-1] == grown * 4096
    assert counts.totals["resident_peak_bytes"] == counts.samples["resident_bytes"].max()


def test_memory_over_time_is_what_the_ops_make_it() -> None:
    """Two blocks of 100 pages with a mapping each come, and go again."""
    size = 100 * 4096 - 16
    trace = Trace.of(
        op=[Op.MALLOC] * 2 + [Op.FREE] * 2, object=[0, 1, 0, 1], size=[size] * 2 + [0] * 2
    )
    with packed(trace) as stream:
        samples = count(Case(stream, {"mmap_threshold": 0}), {}, samples=4).samples
    pages = samples["resident_bytes"] // 4096
    assert np.diff(pages).tolist() == [100, -100, -100]


def test_the_programs_own_calls_count_as_the_simulation_counts_them() -> None:
    trace = Trace.of(
        op=[Op.MMAP, Op.MALLOC, Op.MADVISE, Op.MUNMAP],
        object=[0, 1, 0, 0],
        size=[8192, 1 << 20, 4096, 8192],
        arg=[3, 0, 4, 0],
    )
    [found] = measure(trace, [find_allocator("glibc")], rounds=1)
    simulated = simulate(trace, Glibc, mode="interpreted").totals
    assert found.counts.totals["mmap_calls"] == 2
    for name in ("syscalls", "brk_calls", "mmap_calls", "munmap_calls", "madvise_calls"):
        assert found.counts.totals[name] == simulated[name], name


# ---- rounds
LONG_NS = ENOUGH_NS  # so long that nothing is repeated


def test_rounds_are_interleaved_and_the_loops_own_time_is_subtracted(
    monkeypatch: pytest.MonkeyPatch, churn: MakeChurn
) -> None:
    made = []

    def fake(stream, tunables, *, writes, null, **others):
        made.append((tunables, "null" if null else writes))
        ns = LONG_NS * (10 if null else 100 + len(made))
        return Timing(1, ns, ns, 0, 0)

    monkeypatch.setattr(timing, "time_replay", fake)
    with packed(churn(10)) as stream:
        one, two = time_cases([Case(stream, "one"), Case(stream, "two")], 3, ("fill", "none"))
    assert len(made) == 4 * 2 * 3  # a round to warm up, three that count
    assert [name for name, kind in made if kind == "null"] == [
        *("two", "one"), *("one", "two"), *("two", "one"), *("one", "two"),
    ]  # fmt: skip
    fill = (one.cpu_ns["fill"] / LONG_NS).tolist()
    assert fill == [100 + 7 - 10, 100 + 16 - 10, 100 + 19 - 10]
    assert len(two.cpu_ns["none"]) == 3
    assert one.wall_ns == {}


def test_short_replays_are_repeated_and_their_median_counts(
    monkeypatch: pytest.MonkeyPatch, churn: MakeChurn
) -> None:
    took = iter([9, 1, 2, 7, 3, *[0] * 5] * 2 + [30, 10, 20, 0, 0, 0, 0, 0] * 2)

    def fake(*others, **named):
        return Timing(1, ns := 1_000_000 * next(took), ns, 0, 0)

    monkeypatch.setattr(timing, "time_replay", fake)
    with packed(churn(10)) as stream:
        [few] = time_cases([Case(stream)], 1, ("none",))  # five of them take 22 ms
        [enough] = time_cases([Case(stream)], 1, ("none",))  # three take 60 ms
    assert few.cpu_ns["none"].tolist() == [3_000_000]
    assert enough.cpu_ns["none"].tolist() == [20_000_000]


def test_threads_have_wall_times_too() -> None:
    [found] = measure(pairs(2000, n_threads=2), [find_allocator("glibc")], rounds=2)
    assert set(found.times.wall_ns) == {"fill", "written", "none"}
    assert (found.times.wall_ns["fill"] > 0).all()


def test_a_band_is_the_quiet_rounds_and_most_of_what_lies_around() -> None:
    band = Band.of(range(101))
    assert (band.value, band.low, band.high, band.spread) == (25, 10, 90, 3.2)
    assert Band(0, 0, 0).spread == 0


# ---- the whole


def test_another_allocator_by_its_path(tmp_path: Path) -> None:
    source = tmp_path / "bump.c"
    source.write_text(BUMP_ALLOCATOR)
    library = build(source, shared=True, flags=("-fno-builtin",))
    trace = Trace.of(op=[Op.MALLOC, Op.FREE] * 10, object=0, size=[200_000, 0] * 10)
    allocators = [find_allocator("glibc"), find_allocator(str(library))]
    glibc, bump = measure(trace, allocators, rounds=1, tunables={"mmap_threshold": 65_536})
    assert glibc.counts.totals["mmap_calls"] == 10
    assert bump.counts.totals["syscalls"] == 0
    assert bump.counts.totals["minor_faults"] >= 10 * 48


def test_what_has_no_malloc_is_not_taken_for_an_allocator(tmp_path: Path) -> None:
    text, library = tmp_path / "text.so", tmp_path / "other.c"
    text.write_text("no library")
    library.write_text("int other(void) { return 1; }\n")
    for path in (build(library, shared=True), text):
        with pytest.raises(InputError, match=r"no malloc in it that the loader takes"):
            find_allocator(str(path))


def test_a_trace_without_ops_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^trace: no ops; there is nothing to measure$"):
        measure(Trace.of(op=[], object=[], size=[]), [find_allocator("glibc")], rounds=1)


def test_a_trace_that_does_nothing_is_measured() -> None:
    mark = Trace.of(op=Op.MARK, object=[-1], size=[0])
    [found] = measure(mark, [find_allocator("glibc")], rounds=1)
    assert (found.counts.totals["ops"], found.counts.totals["syscalls"]) == (1, 0)


def test_musl_is_measured_by_its_own_loader() -> None:
    if shutil.which("musl-gcc") is None:
        pytest.skip("musl-gcc is not installed (Debian: apt install musl-tools)")
    musl = find_allocator("musl")
    trace = Trace.of(op=[Op.MALLOC, Op.FREE], object=0, size=[1 << 20, 0])
    [found] = measure(trace, [musl], rounds=1)
    assert (found.counts.totals["mmap_calls"], found.counts.totals["munmap_calls"]) == (1, 1)


def test_ops_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="row 0: free of slot 0"):
        measure(Trace.of(op=Op.FREE, object=[0], size=[0]), [find_allocator("glibc")], rounds=1)


def test_the_table_is_aligned_and_has_all_columns() -> None:
    totals = dict.fromkeys(
        (
            *("syscalls", "brk_calls", "mmap_calls", "munmap_calls", "mremap_calls"),
            *("mprotect_calls", "madvise_calls", "minor_faults", "resident_peak_bytes"),
            *("resident_mean_bytes", "resident_end_bytes"),
        ),
        1234,
    )
    column = Column("glibc", {"fill": Band(1e6, 9e5, 1.1e6)}, {}, totals)
    lines = table_of("t, 9 ops", [column, column])
    assert lines[0].split() == ["t,", "9", "ops", "glibc", "glibc"]
    assert lines[1].endswith("1 ms ±10%  1 ms ±10%")
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["system", "calls", "1,234", "1,234"]


def test_what_the_loop_hides_is_said_to_be_below_noise() -> None:
    assert show_band(Band(0, 0, 5)) == "below noise"


def test_the_figure_shows_real_ones_filled_and_simulated_ones_hollow() -> None:
    totals = {"resident_peak_bytes": 3 << 20}
    samples = {"op": np.array([1, 2, 3]), "resident_bytes": np.array([1, 2, 3]) << 20}
    cpu = {"fill": Band(2e6, 1e6, 4e6)}
    columns = [
        Column("real", cpu, {}, totals, samples),
        Column("made up", cpu, {}, totals, samples, simulated=True),
    ]
    figure = draw_measurement("t", columns)
    figure.draw_without_rendering()
    tradeoff, memory = figure.axes
    points = [bars.lines[0] for bars in tradeoff.containers]
    assert [point.get_markerfacecolor() == "white" for point in points] == [False, True]
    assert points[0].get_xdata().tolist() == [2]
    assert [line.get_linestyle() for line in memory.lines] == ["-", "--"]
    legend = figure.legends[0].get_window_extent()
    assert not any(axes.get_window_extent().overlaps(legend) for axes in figure.axes)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.parquet", pairs(500))

    def run(*options: str) -> str:
        command = [ALLOCSIM, "measure", "t.parquet", "--rounds", "2", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    text = run("--policy", "best_fit", "--set", "mmap_threshold=64K")
    assert text.splitlines()[0].split()[:3] == ["t.parquet,", "500", "ops"]
    assert "best_fit (simulated)" in text and "unit costs: shipped" in text
    found = json.loads(run("--policy", "glibc", "--environment", "MALLOC_TOP_PAD_=0", "--json"))
    [measured], [simulated] = found["measured"], found["simulated"]
    for name in ("syscalls", "minor_faults", "brk_calls"):
        assert measured["totals"][name] == simulated["totals"][name], name
    assert len(measured["cpu_ns"]["none"]["rounds"]) == found["rounds"] == 2
    assert found["costs"]["table"] == "shipped" and len(found["costs"]["hash"]) == 64
    assert simulated["cpu_ns"]["fill"]["low"] <= simulated["cpu_ns"]["fill"]["value"]
