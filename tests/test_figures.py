import io
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from allocsim.errors import InputError, OutputError, SimulationError
from allocsim.experiment.command import run_command
from allocsim.experiment.execution import execute
from allocsim.experiment.manifest import seal_manifest
from allocsim.experiment.results_writer import write_tables
from allocsim.figures.axes import parameter_scale
from allocsim.figures.command import draw_figures
from allocsim.figures.measurement import draw_measurement
from allocsim.figures.parts import PARTS, draw_parts
from allocsim.figures.style import dots_per_inch, house_style
from allocsim.figures.threads import ACCOUNTS, draw_threads, families
from allocsim.figures.threshold import METRICS, MOST_CURVES, draw_sweep, swept_parameters
from allocsim.figures.timeline import draw_timeline
from allocsim.figures.tradeoff import draw_tradeoff, pareto_front
from allocsim.figures.view import view_of
from allocsim.ground_truth.measurement import Band
from allocsim.ground_truth.measurement.table import Column
from allocsim.metrics import THREAD_COLUMNS, WALK_COLUMNS
from allocsim.simulation import Result
from allocsim.trace import Op, Trace, write_trace

pytestmark = pytest.mark.slow

POLICY = """\
from allocsim.component import Param
from allocsim.policy import Policy


class Bump(Policy):
    threshold = Param(4096, unit="bytes", low=0, high=1 << 30)

    def malloc(self, size):
        return self.kernel.sbrk((size + 15) // 16 * 16)

    def free(self, address):
        pass
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


def replace_engine(patch, simulate):
    """Has `simulate` make the results of an experiment's runs."""

    def run_spec(spec, _observers):
        options = {"parameters": spec.parameters, "samples": spec.samples}
        return simulate(spec.source(), spec.policy, **options)

    patch.setattr(execute, "run_spec", run_spec)
    patch.setattr(execute, "needs_process", lambda run, threads_from_ops: False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of a made-up experiment: two workloads, a swept policy and a fixed one, 3 seeds."""
    base = tmp_path_factory.mktemp("drawn")
    (base / "bump.py").write_text(POLICY)
    (base / "drawn.toml").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        replace_engine(patch, made_up)
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
    assert notes(panel) == ["▲ fixed 1000 s"]
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
    labels = {panel.get_xlabel() for panel in visible(figure)[-3:]}
    assert labels == {"operations (thousands)"}


def notes(panel):
    """The lines written into a panel."""
    return [line for text in panel.texts for line in text.get_text().splitlines()]


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


# ---- odd experiments
HOSTILE = (
    "[/x]",
    "$x_$ $y$",
    "two\nlines\x1b",
    "\u202egnp \u4e2d",
    "a" * 10_000,
    "a" * 9_999 + "b",
)
WORKLOAD = """
[[workloads]]
name = {name}
ops = {ops}
sizes = {{ distribution = "choice", sizes = [64] }}
"""


def results_of(base, policies, workloads=("small", "large"), simulate=made_up, first_ops=1000):
    """The folder with results of an experiment with these policies (TOML)."""
    (base / "bump.py").write_text(
        POLICY.replace("    threshold", "    pad = Param(0)\n    threshold", 1)
    )
    counts = [first_ops, *[1000] * len(workloads)]
    spec = "".join(
        WORKLOAD.format(name=json.dumps(name), ops=ops)
        for name, ops in zip(workloads, counts, strict=False)
    )
    (base / "odd.toml").write_text(f'name = "odd"\n{policies}\n{spec}')
    with pytest.MonkeyPatch.context() as patch:
        replace_engine(patch, simulate)
        run_command(str(base / "odd.toml"), base / "out", 1, False, Console(file=io.StringIO()))
    return base / "out"


def texts(figure):
    """All texts of a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_names_are_text_and_short_in_every_figure(tmp_path):
    entries = [f'{{ use = "bump.py", label = {json.dumps(label)} }}' for label in HOSTILE]
    folder = results_of(tmp_path, f"policies = [{', '.join(entries)}]", ("$w_$", "w" * 10_000))
    with house_style():
        view = view_of(folder)
        assert len(set(view.names.values())) == len(view.names)
        for draw in (draw_tradeoff, draw_parts, draw_timeline):
            figure = draw(view)
            words = " ".join(texts(figure))
            assert "$x_$ $y$" in words and r"two\nlines\x1b" in words and r"\u4e2d" in words
            assert max(map(len, texts(figure))) < 100
            figure.draw_without_rendering()  # a formula that is none would be an error here


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0, 1, 10, 100], "symlog"),
        ([0, 4096, 8192, 16384], "symlog"),
        ([0, 4, 8, 12], "linear"),
        ([100, 200, 300], "linear"),
        ([-5, 0, 50], "linear"),
        ([4096, 8192, 16384], "log"),
        ([1, 3, 500], "log"),
        ([1, 3, 4], "linear"),
        ([0, 0.5], "linear"),
    ],
)
def test_equal_steps_are_linear_and_equal_factors_logarithmic(values, scale):
    assert parameter_scale(values) == scale


@pytest.mark.parametrize("values", [[0, 1, 10, 100, 1000], [0, 25, 50, 75, 100]])
def test_a_swept_zero_has_a_place_of_its_own(tmp_path, values):
    grid = f"policies = [{{ use = 'bump.py', grid = {{ pad = {values} }} }}]"
    with house_style():
        figure = draw_sweep(view_of(results_of(tmp_path, grid)), "pad")
    panel = visible(figure)[-1]
    figure.draw_without_rendering()
    places = panel.transAxes.inverted().transform(
        panel.transData.transform([(value, 0) for value in values])
    )[:, 0]
    assert places[0] > 0 and places[-1] < 1 and np.diff(places).min() > 0.1
    assert [label.get_text() for label in panel.get_xticklabels()] == list(map(str, values))


def test_two_swept_parameters_give_curves_that_the_legend_tells_apart(tmp_path):
    grid = "policies = ['bump.py']\n[grid]\npad = [0, 1, 2]\nthreshold = [4096, 16384, 65536]"
    with house_style():
        figure = draw_sweep(view_of(results_of(tmp_path, grid)), "threshold")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["bump", "pad=0", "pad=1", "pad=2"]
    lines = visible(figure)[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == len(lines) == 3
    handles = figure.legends[0].legend_handles[1:]
    assert [h.get_color() for h in handles] == [line.get_color() for line in lines]


def test_more_curves_than_can_be_told_apart_are_thinned_out_and_counted(tmp_path):
    axes = f"pad = {list(range(20))}\nthreshold = [4096, 8192, 16384]"
    grid = f"policies = ['bump.py']\n[grid]\n{axes}"
    with house_style():
        figure = draw_sweep(view_of(results_of(tmp_path, grid)), "threshold")
    assert len(visible(figure)[0].lines) == MOST_CURVES
    assert f"bump: {MOST_CURVES} of 20 curves drawn" in texts(figure)


def test_policies_swept_over_something_else_are_named(tmp_path):
    policies = """policies = [
        { use = 'bump.py', label = 'one', grid = { threshold = [4096, 8192, 16384] } },
        { use = 'bump.py', label = 'other', grid = { pad = [1, 2, 3] } },
    ]"""
    with house_style():
        figure = draw_sweep(view_of(results_of(tmp_path, policies)), "threshold")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one"]
    assert "Not drawn, since other parameters were swept: other" in texts(figure)


def no_walk(source, policy, **options):
    """A result of a policy whose walk() reports nothing."""
    result = made_up(source, policy, **options)
    unknown = {"external_fragmentation": np.nan, "internal_fragmentation": np.nan}
    result.totals.update(unknown, live_peak_bytes=1)
    return result


def test_a_policy_without_a_walk_is_named(tmp_path):
    grid = "policies = [{ use = 'bump.py', grid = { threshold = [4096, 8192, 16384] } }]"
    with house_style():
        figure = draw_sweep(view_of(results_of(tmp_path, grid, simulate=no_walk)), "threshold")
    panels = visible(figure)
    assert notes(panels[0]) == [] and notes(panels[4]) == ["walk() reports nothing: bump"]


def reserving(source, policy, **options):
    """A result of a policy that reserves a TiB of addresses and uses some MB."""
    result = made_up(source, policy, **options)
    result.samples["mapped_bytes"] = np.full(options["samples"], 1 << 40)
    return result


def test_reserved_addresses_do_not_flatten_resident_memory(tmp_path):
    view = view_of(results_of(tmp_path, "policies = ['bump.py']", simulate=reserving))
    with house_style():
        panel = visible(draw_timeline(view))[0]
    peak = max(line.get_ydata().max() for line in panel.lines)
    assert peak < panel.get_ylim()[1] < 1.5 * peak
    assert "mapped: 1 TiB at peak" in notes(panel)


def nothing_done(source, policy, **options):
    """The result of a workload without operations; of any other as ever."""
    result = made_up(source, policy, **options)
    if source.seed == 1 and source.spec.ops == 1:
        result.totals.update(dict.fromkeys(result.totals, 0), jw4=np.nan)
        result.samples.update({name: np.zeros(0, int) for name in result.samples})
    return result


def test_a_workload_of_no_operations_costs_the_others_nothing(tmp_path):
    policies = "policies = [{ use = 'bump.py', grid = { threshold = [1024, 4096, 8192] } }]\n"
    view = view_of(results_of(tmp_path, policies, simulate=nothing_done, first_ops=1))
    with house_style():
        figures = [draw(view) for draw in (draw_tradeoff, draw_parts, draw_timeline)]
        figures.append(draw_sweep(view, "threshold"))
        for figure in figures:
            figure.draw_without_rendering()
    panels = visible(figures[0])
    assert "nothing was live: no ratio" in notes(panels[0])
    assert len(panels[1].collections) > 1


def some_fail(source, policy, *, parameters, **options):
    """A result, or a failure where the threshold is 7, and everywhere on the large workload."""
    if parameters.get("threshold") == 7 and (parameters.get("pad") or source.spec.ops == 1000):
        raise SimulationError("no")
    return made_up(source, policy, parameters=parameters, **options)


def test_failed_runs_are_named_and_cost_the_others_nothing(tmp_path):
    policies = """policies = [
        'bump.py',
        { use = 'bump.py', label = 'sometimes', parameters = { threshold = 7 } },
        { use = 'bump.py', label = 'never', parameters = { threshold = 7, pad = 1 } },
    ]"""
    view = view_of(results_of(tmp_path, policies, simulate=some_fail, first_ops=9))
    with house_style():
        timeline, tradeoff = draw_timeline(view), draw_tradeoff(view)
        draw_parts(view).draw_without_rendering()
    assert [notes(panel)[-1:] for panel in visible(timeline)] == [[], [], [], ["no results"]]
    assert notes(visible(tradeoff)[1]) == ["no results: sometimes"]
    assert "No results, all runs failed: never" in texts(tradeoff)


def test_figures_of_very_many_panels_are_drawn_coarser():
    assert dots_per_inch(Figure(figsize=(8, 6))) == 160
    wide = Figure(figsize=(2000, 10))
    assert dots_per_inch(wide) * 2000 < 1 << 16


def column(name, peak, cpu_ns, simulated=False):
    band = Band(cpu_ns, cpu_ns * 0.9, cpu_ns * 1.1)
    samples = {"op": np.arange(5), "resident_bytes": np.linspace(0, peak, 5)}
    return Column(name, {"fill": band}, {}, {"resident_peak_bytes": peak}, samples, simulated)


@pytest.mark.parametrize("cpu_ns", [[5e6, 5.1e6], [1e6, 9e7], [0, 0]])
def test_no_marker_is_cut_at_the_upper_ends(cpu_ns):
    columns = [column("$a$", 200 << 20, cpu_ns[0]), column("b" * 300, 201 << 20, cpu_ns[1], True)]
    with house_style():
        figure = draw_measurement("some/[path]$", columns)
        figure.draw_without_rendering()
    panel = figure.axes[0]
    box = panel.get_window_extent()
    for line in panel.lines:
        points = panel.transData.transform(line.get_xydata())
        assert (points[:, 0] < box.x1 - 5).all() and (points[:, 1] < box.y1 - 5).all()
    assert "some/[path]$" in texts(figure)


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
        replace_engine(patch, met)
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
