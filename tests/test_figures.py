import io
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

from allocsim.errors import InputError, OutputError
from allocsim.experiment import perform
from allocsim.experiment.command import run_command
from allocsim.experiment.manifest import seal_manifest
from allocsim.experiment.results_writer import write_tables
from allocsim.figures.command import draw_figures
from allocsim.figures.parts import PARTS, draw_parts
from allocsim.figures.style import house_style
from allocsim.figures.threads import ACCOUNTS, draw_threads, families
from allocsim.figures.threshold import METRICS, draw_sweep, swept_parameters
from allocsim.figures.timeline import draw_timeline
from allocsim.figures.tradeoff import draw_tradeoff, pareto_front
from allocsim.figures.view import view_of
from allocsim.metrics import THREAD_COLUMNS, WALK_COLUMNS
from allocsim.simulation import Result
from allocsim.trace import Op, Trace, write_trace

pytestmark = pytest.mark.slow

POLICY = """\
from allocsim.component import Param
from allocsim.policy import Policy


class Bump(Policy):
    threshold = Param(4096, unit="bytes", low=0, high=1 << 30)
"""

SPEC = """\
name = "drawn"
repeats = 3

[[policies]]
use = "bump.py"
label = "swept"
grid = { threshold = { from = "4 KiB", to = "4 MiB", factor = 4 } }

[[policies]]
use = "bump.py"
label = "fixed"

[[workloads]]
name = "small"
sizes = { distribution = "choice", sizes = [64] }

[[workloads]]
name = "large"
sizes = { distribution = "choice", sizes = [100_000] }
"""


def made_up(source, _policy, *, parameters, samples, **_options):
    """A result in which memory rises and CPU time falls with the threshold."""
    doublings = np.log2(parameters.get("threshold", 131072)) - 12
    large = source.spec.sizes.largest > 1000
    cpu_ns = (1e6 + 1e8 * large) / (1 + doublings) + 1e4 * source.seed
    shares = np.array([0.4, 0.2, 0.25, 0.1, 0.05])
    resident = 1e6 * (4 + doublings) * np.minimum(1, np.arange(1, samples + 1) / 20)
    return Result(
        totals=dict(zip(PARTS, cpu_ns * shares, strict=True))
        | {
            "cpu_ns": cpu_ns,
            "program_ns": 1e6,
            "resident_peak_bytes": resident.max(),
            "resident_mean_bytes": resident.mean(),
            "jw4": 0.1 * doublings,
            "syscalls": 10,
            "minor_faults": 1000 - 50 * doublings,
            "external_fragmentation": np.nan if doublings == 0 else 0.1 * doublings,
        },
        samples={
            "op": np.arange(samples) * 100,
            "time_ns": np.arange(samples),
            "live_bytes": np.full(samples, 3_000_000),
            "mapped_bytes": (resident * 1.2).astype(int),
            "resident_bytes": resident.astype(int),
        },
        walks={name: np.arange(2) for name in WALK_COLUMNS},
        threads={name: np.arange(1) for name in THREAD_COLUMNS},
        provenance={},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of a made-up experiment: two workloads, a swept policy and a fixed one, 3 seeds."""
    base = tmp_path_factory.mktemp("drawn")
    (base / "bump.py").write_text(POLICY)
    (base / "drawn.toml").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perform, "simulate", made_up)
        console = Console(file=io.StringIO())
        run_command(str(base / "drawn.toml"), base / "out", 1, False, console)
    return base / "out"


@pytest.fixture(scope="module")
def view(folder):
    return view_of(folder)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 5), (2, 3), (3, 4), (4, 1)], [0, 1, 3]),
        ([(2, 2), (1, 1), (3, 3)], [1]),
        ([(1, 1), (1, 1)], [0]),
        ([(1, 2), (1, 1)], [1]),
        ([(float("nan"), 0), (1, float("nan")), (2, 2)], [2]),
        ([], []),
    ],
)
def test_the_front_holds_what_nothing_beats(points, front):
    assert pareto_front(points) == front


@pytest.fixture(scope="module")
def drawn(folder):
    """The files of all figures, in their default place."""
    return draw_figures(folder)


def test_every_figure_is_written_in_every_format(folder, drawn):
    names = ["tradeoff", "cost_by_part", "memory_over_time", "over_threshold"]
    expected = [f"{name}.{suffix}" for name in names for suffix in ("png", "svg", "pdf")]
    assert drawn == [folder / "figures" / name for name in expected]
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for path in drawn:
        assert path.read_bytes().startswith(starts[path.suffix[1:]])


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes(folder, drawn, tmp_path):
    again = draw_figures(folder, tmp_path)
    for one, other in zip(drawn, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_a_file_where_the_figures_should_go_is_told_before_they_are_drawn(folder, monkeypatch):
    monkeypatch.setattr("allocsim.figures.command.house_style", lambda: pytest.fail("drawn"))
    file = next(path for path in folder.iterdir() if path.is_file())
    with pytest.raises(OutputError, match=f"{file.name} is no folder"):
        draw_figures(folder, file)


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible() and axes.axison]


def test_the_tradeoff_has_units_and_a_panel_per_workload(view):
    figure = draw_tradeoff(view)
    panels = visible(figure)
    assert [panel.get_title() for panel in panels] == ["small", "large"]
    assert {panel.get_xlabel() for panel in panels} == {"CPU time of allocator and kernel (ms)"}
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["swept", "fixed", "Pareto front"]


def test_parts_add_up_to_the_cpu_time(view):
    panels = visible(draw_parts(view))
    for (left, right), workload in zip((panels[:2], panels[2:]), ("small", "large"), strict=True):
        assert [t.get_text() for t in left.get_yticklabels()] == [
            "swept, 4 MiB\n(least CPU)",
            "swept, 4 KiB\n(least memory)",
            "fixed",
        ]
        ends = [bar.get_x() + bar.get_width() for bar in left.patches]
        cpu = max(setting.mean("cpu_ns") for setting in view.settings_of(workload))
        assert left.get_title("left") == workload and max(ends) == pytest.approx(cpu)
        shares = [bar.get_x() + bar.get_width() for bar in right.patches]
        assert max(shares) == pytest.approx(1)
    assert [p.get_xlabel() for p in panels[2:]] == ["CPU time (ms)", "share of CPU time"]


def test_the_sweep_has_a_row_per_metric_and_powers_of_two_below(view):
    assert swept_parameters(view) == ["threshold"]
    figure = draw_sweep(view, "threshold")
    assert len(visible(figure)) == len(METRICS) * 2
    bottom = visible(figure)[-1]
    assert bottom.get_xscale() == "log" and bottom.get_xlabel() == "threshold"
    labels = [t.get_text() for t in bottom.get_xticklabels()]
    assert labels == ["4 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB", "4 MiB"]


def test_repeats_give_bands_around_the_curves(view):
    panel = visible(draw_sweep(view, "threshold"))[0]
    band = panel.collections[0].get_paths()[0].vertices
    assert np.ptp(band[:, 1]) > 0
    curve = panel.lines[0].get_ydata()
    assert band[:, 1].min() < curve.min() and band[:, 1].max() > curve.max()


def test_a_policy_far_above_the_curves_is_told_in_words(folder, view):
    far = [
        replace(s, rows=[{**row, "cpu_ns": 1e12} for row in s.rows]) if s.label == "fixed" else s
        for s in view.settings
    ]
    panel = visible(draw_sweep(replace(view, settings=far), "threshold"))[0]
    assert [text.get_text() for text in panel.texts] == ["▲ fixed 1000 s"]
    assert panel.get_ylim()[1] < 1e8


def test_panels_of_a_row_over_time_share_a_scale_that_holds_all(view):
    figure = draw_timeline(view)
    row = visible(figure)[:3]
    assert [panel.get_title() for panel in row] == [
        "swept\n(least CPU)",
        "swept\n(least memory)",
        "fixed",
    ]
    assert len({panel.get_ylim() for panel in row}) == 1
    top = max(line.get_ydata().max() for panel in row for line in panel.lines)
    assert row[0].get_ylim()[1] > top
    assert figure.get_supxlabel() == "operations (thousands)"


def overlaps(figure):
    """Pairs of a legend and an axes that share ink."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    legends = [legend.get_window_extent(renderer) for legend in figure.legends]
    panels = [axes.get_tightbbox(renderer) for axes in visible(figure)]
    return [(a, b) for a in legends for b in panels if a.overlaps(b)]


@pytest.mark.parametrize(
    "draw",
    [draw_tradeoff, draw_parts, draw_timeline, lambda view: draw_sweep(view, "threshold")],
    ids=["tradeoff", "parts", "timeline", "sweep"],
)
def test_no_legend_covers_data(view, draw):
    with house_style():
        assert not overlaps(draw(view))


def test_policies_are_told_apart_without_colour(view):
    looks = view.looks.values()
    assert len({look.marker for look in looks}) == len({str(look.line) for look in looks}) == 2


@pytest.mark.parametrize("trace", [Trace.of([], [], []), Trace.of([Op.MARK], [-1], [0])])
def test_a_workload_that_does_nothing_has_figures(trace, tmp_path):
    write_trace(tmp_path / "nothing.parquet", trace)
    spec = 'name = "nothing"\nworkloads = ["nothing.parquet"]\n[[policies]]\nuse = "bump.py"\n'
    (tmp_path / "bump.py").write_text(POLICY)
    (tmp_path / "nothing.toml").write_text(spec)
    console = Console(file=io.StringIO())
    assert run_command(str(tmp_path / "nothing.toml"), tmp_path / "out", 1, False, console) == 0
    assert draw_tradeoff(view_of(tmp_path / "out")).axes[0].get_xscale() == "linear"
    assert all(path.stat().st_size for path in draw_figures(tmp_path / "out"))


def test_no_results_and_damaged_ones_are_told(tmp_path, folder):
    with pytest.raises(InputError, match="no results there; `allocsim run EXPERIMENT`"):
        draw_figures(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "runs.parquet").write_bytes((folder / "runs.parquet").read_bytes())
    with pytest.raises(InputError, match="missing or damaged; `allocsim run EXPERIMENT`"):
        draw_figures(copy, tmp_path / "figures")
    none_sha256 = write_tables([], copy)
    del manifest["sha256"]
    (copy / "manifest.json").write_bytes(seal_manifest(manifest | {"runs_sha256": none_sha256}))
    with pytest.raises(InputError, match="none of its runs ended well"):
        draw_figures(copy, tmp_path / "figures")


# ---- threads
THREADS = """\
name = "met"
repeats = 2
policies = [{ use = "bump.py", label = "bump" }]

[kernel]
cpus = 2

""" + "\n".join(
    f"""\
[[workloads]]
name = "churn, {n} threads"
threads = {n}
ops = {1000 * n}
sizes = {{ distribution = "choice", sizes = [64] }}
"""
    for n in (1, 2, 4)
)


def met(source, _policy, *, parameters, samples, **_options):
    """A result of threads that spend half of their time waiting when there are four of them."""
    n = source.n_threads
    result = made_up(source, None, parameters=parameters, samples=samples)
    result.totals.update(dict.fromkeys(ACCOUNTS, 0))
    result.totals.update(
        ops=source.n_ops,
        time_ns=1_000_000 * (2 if n == 4 else 1),
        threads_work_ns=1_000_000 * n,
        threads_wait_mmap_lock_ns=1_000_000 * n if n == 4 else 0,
    )
    return result


@pytest.fixture(scope="module")
def threads_folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("threads")
    (base / "bump.py").write_text(POLICY)
    (base / "met.toml").write_text(THREADS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perform, "simulate", met)
        console = Console(file=io.StringIO())
        run_command(str(base / "met.toml"), base / "out", 1, False, console)
    return base / "out"


def test_workloads_that_differ_in_threads_only_are_one_curve(threads_folder, view):
    found = families(view_of(threads_folder))
    assert [(family.name, list(family.workloads)) for family in found] == [("churn", [1, 2, 4])]
    assert families(view) == []


def test_speed_up_and_shares_are_those_of_the_totals(threads_folder):
    with house_style():
        figure = draw_threads(view_of(threads_folder))
    speed_up, shares = figure.axes
    assert list(speed_up.lines[1].get_ydata()) == pytest.approx([1, 2, 2])
    heights = np.array([bar.get_height() for bar in shares.patches]).reshape(len(ACCOUNTS), 3)
    assert heights.sum(axis=0) == pytest.approx([1, 1, 1])
    waits = list(ACCOUNTS).index("threads_wait_mmap_lock_ns")
    assert list(heights[waits]) == pytest.approx([0, 0, 0.5])


def test_the_figure_of_threads_is_among_the_files(threads_folder, tmp_path):
    names = {path.name for path in draw_figures(threads_folder, tmp_path)}
    assert "threads.png" in names
