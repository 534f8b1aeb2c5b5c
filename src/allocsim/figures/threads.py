"""What threads do to each other: speed-up by their number, and what their time goes into."""

from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, PercentFormatter

from allocsim.experiment.statistics import confidence_interval
from allocsim.experiment.summary import Setting
from allocsim.figures.style import GREY, PALETTE, figure_names, grid_of_axes, note_below
from allocsim.figures.view import View, by_label
from allocsim.metrics import ratio

ACCOUNTS = {
    "threads_work_ns": ("user mode", ""),
    "threads_kernel_ns": ("kernel", "////"),
    "threads_wait_mmap_lock_ns": ("waits for mmap_lock", "...."),
    "threads_wait_locks_ns": ("waits for arena locks", "xxxx"),
    "threads_wait_cpu_ns": ("waits for a CPU", "----"),
    "threads_wait_objects_ns": ("waits for objects", "\\\\\\\\"),
}


@dataclass(frozen=True)
class Family:
    """Workloads that differ only in their numbers of threads and operations: by threads."""

    name: str
    workloads: dict[int, str]


def families(view: View) -> list[Family]:
    """The families with at least two members, in the experiment's order."""
    groups: dict[str, dict[int, str]] = {}
    for name in view.workloads:
        spec = dict(view.results.manifest["workloads"][name])
        if "threads" in spec:
            threads = spec.pop("threads")
            for free in ("ops", "description"):
                spec.pop(free, None)
            groups.setdefault(repr(spec), {})[threads] = name
    return [
        Family(_common_name(list(group.values())), dict(sorted(group.items())))
        for group in groups.values()
        if len(group) > 1
    ]


def _common_name(names: list[str]) -> str:
    """What all names begin with, less a number that some share, and what joins it."""
    short = min(names, key=len)
    n = 0
    while n < len(short) and len({name[n] for name in names}) == 1:
        n += 1
    return short[:n].rstrip(" ,-_0123456789") or names[0]


def draw_threads(view: View) -> Figure:
    """A row per family: on the left the speed-up, then for each policy what the time goes into.

    Speed-up is operations per simulated second against those with the fewest threads. Of a swept
    policy there is no bar: only policies with one setting are drawn.
    """
    found = families(view)
    names = figure_names(family.name for family in found)
    labels = [label for label, group in by_label(view.settings).items() if _is_plain(group, found)]
    figure, axes = grid_of_axes(len(found), 1 + len(labels), width=2.6, height=2.2)
    for row, family in zip(axes, found, strict=True):
        settings = {label: _settings(view, family, label) for label in labels}
        _draw_speed_up(row[0], view, family, settings)
        for panel, label in zip(row[1:], labels, strict=True):
            _draw_shares(panel, settings[label])
            panel.set_title(fill(view.name(label), 24), fontsize="medium")
        row[0].set_title(names[family.name], loc="left")
    for panel in axes[-1]:
        panel.set_xlabel("threads")
    _add_legends(figure, view, labels)
    rest = [label for label in view.labels if label not in labels]
    left_out = f"Not drawn, swept or with failed runs: {view.listed(rest)}"
    note_below(figure, [*([left_out] if rest else []), *view.failed()])
    return figure


def _is_plain(group: list[Setting], found: list[Family]) -> bool:
    """Whether a policy has one setting for each workload of the families."""
    members = [name for family in found for name in family.workloads.values()]
    seen = [setting.workload for setting in group]
    return all(seen.count(name) == 1 for name in members)


def _settings(view: View, family: Family, label: str) -> dict[int, Setting]:
    by_name = {s.workload: s for s in view.settings if s.label == label}
    return {threads: by_name[name] for threads, name in family.workloads.items()}


def _draw_speed_up(
    axes: Axes, view: View, family: Family, settings: dict[str, dict[int, Setting]]
) -> None:
    counts = list(family.workloads)
    axes.plot(counts, [n / counts[0] for n in counts], color=GREY, ls=(0, (1, 1.5)), lw=1)
    for label, by_threads in settings.items():
        look = view.looks[label]
        base = _rates(by_threads[counts[0]]).mean()
        intervals = [confidence_interval(list(_rates(by_threads[n]) / base)) for n in counts]
        low, high = [i.low for i in intervals], [i.high for i in intervals]
        axes.fill_between(counts, low, high, color=look.colour, alpha=0.25, lw=0)
        axes.plot(
            counts, [i.mean for i in intervals], color=look.colour, marker=look.marker, ms=4,
            ls=look.line,
        )  # fmt: skip
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        scale("log", base=2)
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xticks(counts)
    axes.minorticks_off()
    axes.set_ylabel("speed-up (times)")


def _rates(setting: Setting) -> np.ndarray:
    """Operations per simulated second, by repeat."""
    return np.array([ratio(row["ops"], row["time_ns"]) * 1e9 for row in setting.rows])


def _draw_shares(axes: Axes, by_threads: dict[int, Setting]) -> None:
    places = np.arange(len(by_threads))
    sums = np.array([[s.mean(account) for account in ACCOUNTS] for s in by_threads.values()])
    totals, bottom = sums.sum(axis=1), np.zeros(len(places))
    for i, (_, hatch) in enumerate(ACCOUNTS.values()):
        heights = sums[:, i] / np.where(totals > 0, totals, 1)
        axes.bar(
            places, heights, 0.8, bottom, color=_colour(i), hatch=hatch, edgecolor="white", lw=0.4
        )
        bottom += heights
    axes.set_xticks(places, [str(n) for n in by_threads])
    axes.set_ylim(0, 1)
    axes.grid(False, axis="x")
    axes.set_ylabel("share of the threads' time")
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _colour(i: int) -> Any:
    return PALETTE[i]


def _add_legends(figure: Figure, view: View, labels: list[str]) -> None:
    handles: list[Any] = []
    for label in labels:
        look = view.looks[label]
        handles.append(
            Line2D(
                [],
                [],
                color=look.colour,
                marker=look.marker,
                ms=4,
                ls=look.line,
                label=view.name(label),
            )
        )
    handles.append(Line2D([], [], color=GREY, ls=(0, (1, 1.5)), lw=1, label="linear"))
    for i, (words, hatch) in enumerate(ACCOUNTS.values()):
        handles.append(Patch(facecolor=_colour(i), hatch=hatch, edgecolor="white", label=words))
    figure.legend(handles=handles, loc="outside right upper", fontsize="small")
